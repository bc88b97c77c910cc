"""The physics that all particle worlds share, after Lowe et al. 2017, arXiv 1706.02275.

Discs in a plane without walls, steps of 0.1:
    v ← 0.75 v + 0.1 (control + contact), cut to the disc's top speed;
    x ← x + 0.1 v.
Two discs at a distance d push each other apart with 100 k log(1 + exp((d_min − d) / k)), k = 0.001.

In every function the axes of mapped worlds come last, so that vector instructions of a processor work on several
worlds. ``worlds_last`` arranges this for ``jax.vmap``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from latent_reward.data.spaces import Discrete
from latent_reward.types import Key

TIME_STEP = 0.1
DAMPING = 0.25
CONTACT_FORCE = 100.0
CONTACT_MARGIN = 1e-3

F = TypeVar("F", bound=Callable)


MOVES = Discrete(5)  # none, −x, +x, −y, +y
STAY = 0  # the first of them


class Particles(NamedTuple):
    """State of a particle world: agents, moved by the physics, and landmarks, which stay."""

    position: Float[Array, "agent 2 *world"]
    velocity: Float[Array, "agent 2 *world"]
    landmark: Float[Array, "landmark 2 *world"]


class Offset(NamedTuple):
    """The offset from each point here to each point there; x and y are separate because that is faster."""

    x: Float[Array, "here there *world"]
    y: Float[Array, "here there *world"]


@dataclass(frozen=True, eq=False)
class Bodies:
    """What the physics has to know of the agents; without ``landmark_contact`` they pass over landmarks.

    A contact is the d_min of a pair, far below zero if they pass through each other.
    """

    acceleration: Float[np.ndarray, " agent"]  # force of a discrete action
    contact: Float[np.ndarray, "agent agent"]
    landmark_contact: Float[np.ndarray, "agent landmark"] | None = None
    top_speed: Float[np.ndarray, " agent"] | None = None  # None: no limit


def worlds_last(function: F) -> F:
    """The same function of arrays, but ``jax.vmap`` over its first axes puts the mapped axis last inside.

    For functions whose arrays, of arguments and results, may have any number of axes at the end.
    """
    mapped = jax.custom_batching.custom_vmap(function)

    @mapped.def_vmap
    def many(size, is_mapped, *arguments):
        last = lambda leaf, moved: (  # noqa: E731
            jnp.moveaxis(leaf, 0, -1) if moved else jnp.broadcast_to(leaf[..., None], (*leaf.shape, size))
        )
        result = function(*jax.tree.map(last, arguments, tuple(is_mapped)))
        first = jax.tree.map(lambda leaf: jnp.moveaxis(leaf, -1, 0), result)
        return first, jax.tree.map(lambda _: True, first)

    return mapped  # pyright: ignore[reportReturnType]


def _constant(values: np.ndarray, like: Array) -> np.ndarray:
    """Give ``values`` axes of length one at the end, as many as ``like`` has more."""
    return values.reshape(values.shape + (1,) * (like.ndim - values.ndim)).astype(np.float32)


def control(bodies: Bodies, action: Int[Array, "agent *world"]) -> Float[Array, "agent 2 *world"]:
    """The force of the actions none, −x, +x, −y, +y."""
    along = lambda low, high: (action == high).astype(float) - (action == low)  # noqa: E731
    force = jnp.stack([along(1, 2), along(3, 4)], axis=1)
    return force * _constant(bodies.acceleration, force)


def between(here: Float[Array, "here 2 *world"], there: Float[Array, "there 2 *world"]) -> Offset:
    """Where each point there is, seen from each point here."""
    return Offset(there[None, :, 0] - here[:, None, 0], there[None, :, 1] - here[:, None, 1])


def distances(offset: Offset) -> Float[Array, "here there *world"]:
    """How far that is."""
    return jnp.sqrt(offset.x**2 + offset.y**2)


def contact(
    offset: Offset, contact_distance: Float[np.ndarray, "here there"]
) -> Float[Array, "here 2 *world"]:
    """Sum of what the others push each agent with; discs at one point push each other nowhere."""
    distance = distances(offset)
    overlap = (_constant(contact_distance, distance) - distance) / CONTACT_MARGIN
    softened = jnp.maximum(overlap, 0.0) + jnp.log(1.0 + jnp.exp(-jnp.abs(overlap)))
    push = -CONTACT_FORCE * CONTACT_MARGIN * softened / jnp.maximum(distance, 1e-9)
    return jnp.stack([(push * offset.x).sum(axis=1), (push * offset.y).sum(axis=1)], axis=1)


def advance(bodies: Bodies, state: Particles, force: Float[Array, "agent 2 *world"]) -> Particles:
    """One step of the physics under the agents' own ``force``."""
    position, velocity, landmark = state
    force = force + contact(between(position, position), bodies.contact)
    if bodies.landmark_contact is not None:
        force = force + contact(between(position, landmark), bodies.landmark_contact)
    velocity = (1.0 - DAMPING) * velocity + TIME_STEP * force
    if bodies.top_speed is not None:
        speed = jnp.sqrt(velocity[:, 0] ** 2 + velocity[:, 1] ** 2)
        cut = _constant(bodies.top_speed, speed) / jnp.maximum(speed, 1e-9)
        velocity = velocity * jnp.minimum(1.0, cut)[:, None]
    return Particles(position + TIME_STEP * velocity, velocity, landmark)


def nearest(offset: Offset, count: int, *, skip_self: bool = False) -> Int[Array, "here count *world"]:
    """Indices of the ``count`` nearest there of each here, nearest first, of equals the first.

    ``count`` times the least of what is left: for a handful, sorting takes several times as long.
    """
    far = offset.x**2 + offset.y**2
    if skip_self:
        far = jnp.where(_constant(np.eye(len(far)), far) > 0, jnp.inf, far)
    index = jax.lax.broadcasted_iota(jnp.int32, far.shape, 1)
    found = []
    for _ in range(count):
        least = far.min(axis=1, keepdims=True)
        found.append(jnp.where(far == least, index, far.shape[1]).min(axis=1, keepdims=True))
        far = jnp.where(index == found[-1], jnp.inf, far)
    return jnp.concatenate(found, axis=1)


def pick(offset: Offset, index: Int[Array, "here count *world"]) -> Float[Array, "here count 2 *world"]:
    """Of each row the entries at its indices."""
    return jnp.stack([jnp.take_along_axis(part, index, axis=1) for part in offset], axis=2)


def rows(
    *parts: Float[Array, "agent ..."], like: Float[Array, "agent 2 *world"]
) -> Float[Array, "agent observation *world"]:
    """All parts concatenated into one row per agent; ``like`` has the axes of worlds."""
    worlds = like.shape[2:]
    return jnp.concatenate([part.reshape(len(part), -1, *worlds) for part in parts], axis=1)


def scatter(key: Key, count: int, half_width: float) -> Float[Array, "{count} 2"]:
    """Points drawn uniformly from the square [−half_width, half_width]²."""
    return jax.random.uniform(key, (count, 2), minval=-half_width, maxval=half_width)


def scatter_apart(key: Key, count: int, half_width: float, distance: float) -> Float[Array, "{count} 2"]:
    """Points of a square, each drawn uniformly from where it is at least ``distance`` from those before it.

    Candidates are drawn one after the other and kept if they are far enough from all that were kept.
    """

    def propose(carry):
        key, kept, number = carry
        key, draw = jax.random.split(key)
        candidate = scatter(draw, 1, half_width)[0]
        far = ((kept - candidate) ** 2).sum(axis=-1) >= distance**2
        fits = (far | (jnp.arange(count) >= number)).all() & (number < count)
        kept = jnp.where((fits & (jnp.arange(count) == number))[:, None], candidate, kept)
        return key, kept, number + fits

    start = (key, jnp.zeros((count, 2)), jnp.int32(0))
    return jax.lax.while_loop(lambda carry: carry[2] < count, propose, start)[1]
