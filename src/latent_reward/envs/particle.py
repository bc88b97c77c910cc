"""The physics that all particle worlds share, after Lowe et al. 2017, arXiv 1706.02275.

Discs in a plane without walls, steps of 0.1:
    v ← 0.75 v + 0.1 (control + contact), cut to the disc's top speed;
    x ← x + 0.1 v.
Two discs at a distance d push each other apart with 100 k log(1 + exp((d_min − d) / k)), k = 0.001.
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from latent_reward.types import Key

TIME_STEP = 0.1
DAMPING = 0.25
CONTACT_FORCE = 100.0
CONTACT_MARGIN = 1e-3

Points = Float[Array, "point 2"]


class Particles(NamedTuple):
    """State of a particle world: agents, moved by the physics, and landmarks, which stay."""

    position: Float[Array, "agent 2"]
    velocity: Float[Array, "agent 2"]
    landmark: Float[Array, "landmark 2"]


@dataclass(frozen=True, eq=False)
class Bodies:
    """What the physics has to know of the agents.

    Attributes:
        acceleration: force of a discrete action, per agent.
        contact: d_min of each agent with each agent.
        landmark_contact: d_min of each agent with each landmark; None: agents pass over them.
        top_speed: per agent; None: no limit.
    """

    acceleration: np.ndarray
    contact: np.ndarray
    landmark_contact: np.ndarray | None = None
    top_speed: np.ndarray | None = None


def control(bodies: Bodies, action: Int[Array, " agent"]) -> Float[Array, "agent 2"]:
    """The force of the actions none, −x, +x, −y, +y."""
    along = lambda low, high: (action == high).astype(float) - (action == low)  # noqa: E731
    unit = jnp.stack([along(1, 2), along(3, 4)], axis=-1)
    return unit * bodies.acceleration[:, None]


def between(here: Float[Array, "here 2"], there: Float[Array, "there 2"]) -> Float[Array, "here there 2"]:
    """Where each point there is, seen from each point here."""
    return there[None] - here[:, None]


def length(vector: Float[Array, "*batch 2"]) -> Float[Array, "*batch"]:
    """Euclidean length."""
    return jnp.sqrt((vector**2).sum(axis=-1))


def contact(
    offset: Float[Array, "agent other 2"], contact_distance: Float[np.ndarray, "agent other"]
) -> Float[Array, "agent 2"]:
    """Sum of what the others push each agent with; discs at one point push each other nowhere."""
    distance = length(offset)
    overlap = (contact_distance - distance) / CONTACT_MARGIN
    softened = jnp.maximum(overlap, 0.0) + jnp.log(1.0 + jnp.exp(-jnp.abs(overlap)))
    push = CONTACT_FORCE * CONTACT_MARGIN * softened / jnp.maximum(distance, 1e-9)
    return -(push[..., None] * offset).sum(axis=1)


def advance(bodies: Bodies, state: Particles, force: Float[Array, "agent 2"]) -> Particles:
    """One step of the physics under the agents' own ``force``."""
    position, velocity, landmark = state
    force = force + contact(between(position, position), bodies.contact)
    if bodies.landmark_contact is not None:
        force = force + contact(between(position, landmark), bodies.landmark_contact)
    velocity = (1.0 - DAMPING) * velocity + TIME_STEP * force
    if bodies.top_speed is not None:
        speed = length(velocity)
        velocity = velocity * jnp.minimum(1.0, bodies.top_speed / jnp.maximum(speed, 1e-9))[:, None]
    return Particles(position + TIME_STEP * velocity, velocity, landmark)


def nearest(
    offset: Float[Array, "agent other 2"], count: int, *, skip_self: bool = False
) -> Int[Array, "agent count"]:
    """Indices of the ``count`` nearest others of each agent, nearest first."""
    distance = length(offset)
    if skip_self:
        distance = jnp.where(np.eye(len(distance), dtype=bool), jnp.inf, distance)
    return jax.lax.top_k(-distance, count)[1]


def pick(
    offset: Float[Array, "agent other 2"], index: Int[Array, "agent count"]
) -> Float[Array, "agent count 2"]:
    """Of each agent's row, the entries at its indices."""
    return jnp.take_along_axis(offset, index[..., None], axis=1)


def scatter(key: Key, count: int, half_width: float) -> Points:
    """Points drawn uniformly from the square [−half_width, half_width]²."""
    return jax.random.uniform(key, (count, 2), minval=-half_width, maxval=half_width)


def scatter_apart(key: Key, count: int, half_width: float, distance: float) -> Points:
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
