"""The last episodes of a team as its decoder sees them: features, who was there, and the return."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from latent_reward.credit.decompose import Window
from latent_reward.credit.losses import draw_steps
from latent_reward.types import AgentMask, EpisodeFeatures, Key, Returns


class TeamReplay(NamedTuple):
    """A ring of whole episodes, written in blocks of one iteration; ``stored`` counts all there ever were."""

    features: Float[Array, "slot time agent feature"]
    mask: Bool[Array, "slot time agent"]
    returns: Float[Array, " slot"]
    stored: Int[Array, ""]


def init(capacity: int, block: int, shape: tuple[int, int, int]) -> TeamReplay:
    """An empty ring of at most ``capacity`` episodes (but one block) of ``shape`` (time, agent, feature)."""
    slots = max(1, capacity // block) * block
    return TeamReplay(
        jnp.zeros((slots, *shape)),
        jnp.zeros((slots, *shape[:2]), bool),
        jnp.zeros(slots),
        jnp.zeros((), jnp.int32),
    )


def insert(replay: TeamReplay, features: EpisodeFeatures, mask: AgentMask, returns: Returns) -> TeamReplay:
    """Store a block of episodes over the oldest; every block has the size that ``init`` was told."""
    begin = replay.stored % len(replay.returns)
    write = jax.lax.dynamic_update_slice_in_dim
    return TeamReplay(
        write(replay.features, jnp.where(mask[..., None], features, 0.0), begin, 0),
        write(replay.mask, mask, begin, 0),
        write(replay.returns, returns, begin, 0),
        replay.stored + len(returns),
    )


def sample_window(replay: TeamReplay, key: Key, *, episodes: int, subset: int | None) -> Window:
    """Draw stored episodes uniformly, with replacement, and ``subset`` distinct steps of each (None: all)."""
    k_episode, k_step = jax.random.split(key)
    slots, horizon = replay.mask.shape[:2]
    drawn = jax.random.randint(k_episode, (episodes,), 0, jnp.minimum(replay.stored, slots))
    lengths = replay.mask[drawn].any(axis=2).sum(axis=1)
    if subset is None or subset >= horizon:
        return Window(replay.features[drawn], replay.mask[drawn], replay.returns[drawn], lengths)
    steps, exists = draw_steps(k_step, lengths, horizon, subset)
    place = (drawn[:, None], jnp.where(exists, steps, 0))
    mask = replay.mask[place] & exists[:, :, None]
    return Window(replay.features[place], mask, replay.returns[drawn], lengths)
