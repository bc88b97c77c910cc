"""What credit computes, compiled: store episodes, fit, and decode rewards, as pure functions."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from latent_reward.credit.base import CreditSpec, Method
from latent_reward.credit.broken import explain, first_broken
from latent_reward.credit.reference import redistribute
from latent_reward.credit.uncertainty import latest_uncertainty
from latent_reward.data import buffer as ring
from latent_reward.data.buffer import Buffer
from latent_reward.data.episodes import Episodes
from latent_reward.data.spaces import ActionSpace
from latent_reward.device import require_memory
from latent_reward.encoder.encoder import Encoder
from latent_reward.errors import LareError
from latent_reward.library.where import Where
from latent_reward.types import EpisodeFeatures, EpisodeRewards, Key


@dataclass(frozen=True)
class Core:
    """The fixed part of credit, static in ``jax.jit``: equal ones share their compiled programs."""

    method: Method
    spec: CreditSpec
    actions: ActionSpace


def make_core(where: Where, method: Method, encoder: Encoder | None) -> Core:
    """The fixed part of credit for an agent, a method and its encoder."""
    spec = CreditSpec(where.observation_size, where.actions.size, where.agents, where.horizon, encoder)
    return Core(method, spec, where.actions)


def init_state(core: Core, key: Key) -> Any:
    """What the method has learned before the first episode."""
    return core.method.init(core.spec, key)


def init_buffer(core: Core, capacity: int, episodes: int | None = None) -> Buffer:
    """An empty buffer for ``capacity`` steps, which keeps the features of each step and nothing else.

    Raises:
        LareError: it would not fit into the memory of this machine.
    """
    spec = core.spec
    make = partial(
        ring.init,
        capacity,
        spec.horizon,
        spec.agents,
        features=core.method.feature_size(spec),
        episodes=episodes,
    )
    rows = capacity + spec.horizon
    wanted = rows * (spec.agents * (4 * core.method.feature_size(spec) + 2) + 12)
    require_memory(wanted, "capacity", "give a smaller capacity or horizon")
    return make()


@partial(jax.jit, static_argnums=0)
def encode(core: Core, episodes: Episodes) -> EpisodeFeatures:
    """What the method reads of each step; 0 for agents that are absent."""
    method, mask = core.method, episodes.mask
    if method.reference and not method.needs_step_rewards:  # these need no more than the return
        even = redistribute("uniform", jnp.ones(mask.shape), mask)
        paid = even * (episodes.returns / jnp.maximum(even.sum(axis=(1, 2)), 1.0))[:, None, None]
        episodes = episodes._replace(hidden_reward=paid)
    found = method.features(core.spec, episodes, core.actions.as_numbers(episodes.action))
    return jnp.where(mask[..., None], found, 0.0)


def require_finite(core: Core, episodes: Episodes, features: EpisodeFeatures, numbers: Sequence[int]) -> None:
    """Raise if the encoder gives a number that is not finite: a method could not forget it again.

    Raises:
        LareError: naming the episode by its number, the step, the latent and what it was computed from.
    """
    if not np.isfinite(np.asarray(features)).all():
        broken = first_broken(features, episodes, core.actions.as_numbers(episodes.action))
        names = core.spec.encoder.latent_names if core.spec.encoder else ()
        raise LareError(explain(broken, names, f"episode {numbers[int(broken.episode)]}"))


@partial(jax.jit, static_argnums=0, donate_argnums=(1, 2))
def store(
    core: Core, state: Any, buffer: Buffer, episodes: Episodes, features: EpisodeFeatures
) -> tuple[Any, Buffer, EpisodeRewards]:
    """Store episodes; returns their rewards as they were before anything was fitted to them, too."""
    before = core.method.reward(state, features, episodes.mask)
    state = core.method.observe(state, features, episodes)
    return state, ring.insert(buffer, episodes, None, features), before


@partial(jax.jit, static_argnums=0, donate_argnums=1)
def fit(
    core: Core, state: Any, buffer: Buffer, key: Key, first: Int[Array, ""], count: Int[Array, ""]
) -> tuple[Any, dict[str, Float[Array, ""]]]:
    """Updates number ``first`` to ``first + count − 1``, and what the last one shows."""

    def update(number, carry):
        drawn = core.method.draw(core.spec, jax.random.fold_in(key, number), buffer)
        return core.method.update(core.spec, carry[0], drawn)

    shapes = jax.eval_shape(partial(update, 0), (state, {}))[1]
    nothing = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    return jax.lax.fori_loop(first, first + count, update, (state, nothing))


@partial(jax.jit, static_argnums=0)
def uncertainty(core: Core, state: Any, buffer: Buffer) -> Float[Array, ""]:
    """How uncertain the rewards of the newest stored episode are, as a share of their variance."""
    return latest_uncertainty(core.method, core.spec, state, buffer)


@partial(jax.jit, static_argnums=0)
def decode(core: Core, state: Any, episodes: Episodes) -> EpisodeRewards:
    """The reward of every step of whole episodes, or of loose steps as episodes of length one."""
    return core.method.reward(state, encode(core, episodes), episodes.mask)


@partial(jax.jit, static_argnums=0)
def deviation(core: Core, state: Any, episodes: Episodes) -> EpisodeRewards | None:
    """How uncertain the rewards of :func:`decode` are, as standard deviations; None if the method does not know."""
    return core.method.deviation(state, encode(core, episodes), episodes.mask)
