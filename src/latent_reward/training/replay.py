"""Episode replay on the device: whole episodes in a ring, sampled by transition or by episode.

An episode of L steps takes L + 1 consecutive rows: o_0 … o_L, each stored once, since o′ of a step is the
next row; actions, features and fixed credit stand in the rows of the step they belong to. A ring of row
numbers makes the t-th oldest transition an O(1) look-up, so sampling is exactly uniform at any episode length.
All functions are pure and have no seed axis; ``jax.vmap`` adds it.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from latent_reward.credit.decompose import Window
from latent_reward.credit.features import raw_features
from latent_reward.credit.losses import draw_steps
from latent_reward.types import Key, Scalar


class Episode(NamedTuple):
    """One finished episode, padded to the horizon T; ``length`` 0 means there is none."""

    observation: Float[Array, "time_plus_one observation"]
    action: Float[Array, "time action"]
    reward: Float[Array, " time"]
    terminated: Bool[Array, ""]
    length: Int[Array, ""]

    @property
    def mask(self) -> Bool[Array, " time"]:
        """True at the steps that were taken."""
        return jnp.arange(self.action.shape[0]) < self.length

    @property
    def total(self) -> Scalar:
        """The return: the one number a method that learns credit may see."""
        return jnp.where(self.mask, self.reward, 0.0).sum()


class Replay(NamedTuple):
    """Rows, the ring of transitions, the ring of episodes, and counters that only grow."""

    observation: Float[Array, "row observation"]
    action: Float[Array, "row action"]
    features: Float[Array, "row feature"]
    reward: Float[Array, "row fixed"]
    terminal: Bool[Array, " row"]
    row_of: Int[Array, " transition"]
    start: Int[Array, " episode"]
    length: Int[Array, " episode"]
    total: Float[Array, " episode"]
    head: Int[Array, ""]
    oldest_transition: Int[Array, ""]
    newest_transition: Int[Array, ""]
    oldest_episode: Int[Array, ""]
    newest_episode: Int[Array, ""]


class Batch(NamedTuple):
    """Transitions drawn at random: (o, a, o′), stored features, fixed credit, and true termination."""

    observation: Float[Array, "batch observation"]
    action: Float[Array, "batch action"]
    next_observation: Float[Array, "batch observation"]
    features: Float[Array, "batch feature"]
    reward: Float[Array, "batch fixed"]
    terminated: Bool[Array, " batch"]


def init(capacity: int, horizon: int, observation: int, action: int, features: int, fixed: bool) -> Replay:
    """An empty replay that holds at least ``capacity`` transitions of episodes at the full horizon.

    Args:
        capacity: transitions to keep.
        horizon: longest episode T.
        observation: numbers per observation.
        action: numbers per action.
        features: numbers per stored latent row; 0 stores none.
        fixed: whether a reward per step is stored (by a reference or a direct method).
    """
    rows = (-(-capacity // horizon) + 1) * (horizon + 1)
    episodes = max(16, min(rows // 2, 8 * (rows // (horizon + 1))))
    zero = jnp.zeros((), jnp.int32)
    return Replay(
        observation=jnp.zeros((rows, observation)),
        action=jnp.zeros((rows, action)),
        features=jnp.zeros((rows, features)),
        reward=jnp.zeros((rows, int(fixed))),
        terminal=jnp.zeros(rows, bool),
        row_of=jnp.zeros(rows, jnp.int32),
        start=jnp.zeros(episodes, jnp.int32),
        length=jnp.zeros(episodes, jnp.int32),
        total=jnp.zeros(episodes),
        head=zero,
        oldest_transition=zero,
        newest_transition=zero,
        oldest_episode=zero,
        newest_episode=zero,
    )


def _make_room(
    replay: Replay, length: Int[Array, ""]
) -> tuple[Int[Array, ""], Int[Array, ""], Int[Array, ""]]:
    """First row for an episode of ``length`` steps, and the oldest transition and episode that stay.

    Episodes never straddle the end of the rows: where one would, the tail is skipped. Oldest episodes
    leave until none overlaps the new rows and the episode ring has a free slot.
    """
    rows, slots = replay.observation.shape[0], replay.start.shape[0]
    wraps = replay.head + length + 1 > rows
    start = jnp.where(wraps, 0, replay.head)
    end = start + length + 1

    def in_the_way(carry):
        _, episode = carry
        slot = episode % slots
        first, last = replay.start[slot], replay.start[slot] + replay.length[slot]
        overlaps = (first < end) & (last >= start) | (wraps & (first >= replay.head))
        full = replay.newest_episode - episode >= slots
        return (length > 0) & (episode < replay.newest_episode) & (overlaps | full)

    def evict(carry):
        transition, episode = carry
        return transition + replay.length[episode % slots], episode + 1

    oldest = (replay.oldest_transition, replay.oldest_episode)
    transition, episode = jax.lax.while_loop(in_the_way, evict, oldest)
    return start, transition, episode


def insert(
    replay: Replay,
    episode: Episode,
    features: Float[Array, "time feature"],
    reward: Float[Array, "time fixed"],
) -> Replay:
    """Append an episode, overwriting the oldest ones; one of length 0 changes nothing."""
    rows, slots = replay.observation.shape[0], replay.start.shape[0]
    transitions = replay.row_of.shape[0]
    length = episode.length
    start, oldest_transition, oldest_episode = _make_room(replay, length)
    steps = jnp.arange(episode.action.shape[0])
    nowhere = max(rows, transitions)  # out of bounds: the write is dropped
    row = jnp.where(steps < length, start + steps, nowhere)
    ring = jnp.where(steps < length, (replay.newest_transition + steps) % transitions, nowhere)
    frames = jnp.arange(episode.observation.shape[0])
    frame = jnp.where((frames <= length) & (length > 0), start + frames, nowhere)
    exists = length > 0
    slot = jnp.where(exists, replay.newest_episode % slots, slots)

    def write(array, index, values):
        return array.at[index].set(values, mode="drop")

    return Replay(
        observation=write(replay.observation, frame, episode.observation),
        action=write(replay.action, row, episode.action),
        features=write(replay.features, row, features),
        reward=write(replay.reward, row, reward),
        terminal=write(replay.terminal, row, episode.terminated & (steps == length - 1)),
        row_of=write(replay.row_of, ring, row),
        start=write(replay.start, slot, start),
        length=write(replay.length, slot, length),
        total=write(replay.total, slot, episode.total),
        head=jnp.where(exists, start + length + 1, replay.head),
        oldest_transition=oldest_transition,
        newest_transition=replay.newest_transition + length,
        oldest_episode=oldest_episode,
        newest_episode=replay.newest_episode + exists,
    )


def size(replay: Replay) -> Int[Array, ""]:
    """Transitions that can be sampled now."""
    return replay.newest_transition - replay.oldest_transition


def sample(replay: Replay, key: Key, count: int) -> Batch:
    """Draw ``count`` stored transitions uniformly, with replacement."""
    drawn = jax.random.randint(key, (count,), replay.oldest_transition, replay.newest_transition)
    row = replay.row_of[drawn % replay.row_of.shape[0]]
    return Batch(
        observation=replay.observation[row],
        action=replay.action[row],
        next_observation=replay.observation[row + 1],
        features=replay.features[row],
        reward=replay.reward[row],
        terminated=replay.terminal[row],
    )


def sample_window(
    replay: Replay, key: Key, *, episodes: int, subset: int | None, horizon: int, raw: bool
) -> Window:
    """Draw whole episodes uniformly, and ``subset`` distinct steps of each (all steps where it is None).

    Only the drawn rows are gathered: a subset of 64 never touches the other 936 steps of an episode.
    """
    k_episode, k_step = jax.random.split(key)
    drawn = jax.random.randint(k_episode, (episodes,), replay.oldest_episode, replay.newest_episode)
    slot = drawn % replay.start.shape[0]
    lengths = replay.length[slot]
    if subset is None or subset >= horizon:
        steps = jnp.broadcast_to(jnp.arange(horizon), (episodes, horizon))
        mask = steps < lengths[:, None]
    else:
        steps, mask = draw_steps(k_step, lengths, horizon, subset)
    row = replay.start[slot][:, None] + jnp.where(mask, steps, 0)
    if raw:
        features = raw_features(replay.observation[row], replay.action[row], replay.observation[row + 1])
    else:
        features = replay.features[row]
    return Window(features[:, :, None, :], mask[:, :, None], replay.total[slot], lengths)


def written(replay: Replay) -> dict[str, int]:
    """Which fields of a replay (of several seeds) have rows that no seed has ever written, and how many have been."""
    rows = {"row_of": int(np.max(replay.newest_transition))}
    if int(np.max(replay.oldest_episode)) == 0:
        filled = int(np.max(replay.head))
        rows |= dict.fromkeys(("observation", "action", "features", "reward", "terminal"), filled)
    return rows
