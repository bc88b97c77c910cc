"""Episode replay on the device: whole episodes in a ring, sampled by transition or by episode.

An episode of L steps takes L + 1 consecutive rows: observations o_0 … o_L are stored once, since o′ of a step is in
the next row; everything else of a step is in the row of the step. A ring of row numbers makes the t-th oldest
transition an O(1) look-up, so sampling is exactly uniform at any episode length.
All functions are pure and have no seed axis; ``jax.vmap`` adds it.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from latent_reward.data.episodes import Episodes
from latent_reward.types import AgentMask, EpisodeFeatures, EpisodeRewards, Key, Lengths, Returns


class Rows(NamedTuple):
    """Steps with any leading axes; what a buffer does not keep is None.

    Attributes:
        observation: o.
        action: a, as numbers.
        next_observation: o′.
        features: what credit stored of the step.
        reward: the reward that credit assigned to the step last, for methods that read whole episodes.
        mask: which agents are there.
        terminated: whether an agent's life ended with the step.
    """

    observation: Float[Array, "*batch agent observation"] | None
    action: Float[Array, "*batch agent action"] | None
    next_observation: Float[Array, "*batch agent observation"] | None
    features: Float[Array, "*batch agent feature"] | None
    reward: Float[Array, "*batch agent"] | None
    mask: Bool[Array, "*batch agent"]
    terminated: Bool[Array, "*batch agent"]


class Window(NamedTuple):
    """Steps of stored episodes: all of each episode, or a random subset, ``[episode, step, agent, …]``.

    ``lengths`` are those of whole episodes.
    """

    rows: Rows
    mask: AgentMask
    returns: Returns
    lengths: Lengths


class Buffer(NamedTuple):
    """Rows, the ring of transitions, the ring of episodes, and counters that only grow.

    ``steps.next_observation`` is always None: it is the observation of the next row.
    """

    steps: Rows
    row_of: Int[Array, " transition"]
    start: Int[Array, " slot"]
    length: Int[Array, " slot"]
    returns: Float[Array, " slot"]
    head: Int[Array, ""]
    oldest_transition: Int[Array, ""]
    newest_transition: Int[Array, ""]
    oldest_episode: Int[Array, ""]
    newest_episode: Int[Array, ""]


def init(
    capacity: int,
    horizon: int,
    agents: int,
    *,
    observation: int = 0,
    action: int = 0,
    features: int = 0,
    reward: bool = False,
    episodes: int | None = None,
) -> Buffer:
    """An empty buffer that holds at least ``capacity`` steps of episodes at the full horizon.

    Args:
        capacity: steps to keep.
        horizon: longest episode T.
        agents: agents of the team.
        observation: numbers per observation; 0 keeps none.
        action: numbers per action; 0 keeps none.
        features: stored features per step and agent; 0 keeps none.
        reward: whether the reward of each step is stored.
        episodes: how many episodes are kept at most; None: as many as fit.
    """
    whole = -(-capacity // horizon)
    rows = (whole + 1) * (horizon + 1)
    slots = episodes or max(16, min(rows // 2, 8 * (rows // (horizon + 1))))
    zero = jnp.zeros((), jnp.int32)

    def column(size: int):
        return jnp.zeros((rows, agents, size)) if size else None

    return Buffer(
        steps=Rows(
            observation=column(observation),
            action=column(action),
            next_observation=None,
            features=column(features),
            reward=jnp.zeros((rows, agents)) if reward else None,
            mask=jnp.zeros((rows, agents), bool),
            terminated=jnp.zeros((rows, agents), bool),
        ),
        row_of=jnp.zeros(rows, jnp.int32),
        start=jnp.zeros(slots, jnp.int32),
        length=jnp.zeros(slots, jnp.int32),
        returns=jnp.zeros(slots),
        head=zero,
        oldest_transition=zero,
        newest_transition=zero,
        oldest_episode=zero,
        newest_episode=zero,
    )


def insert(
    buffer: Buffer,
    episodes: Episodes,
    action: Float[Array, "episode time agent action"] | None,
    features: EpisodeFeatures | None,
    reward: EpisodeRewards | None = None,
) -> Buffer:
    """Append episodes in their order, over the oldest ones; one of length 0 changes nothing.

    ``action`` has the actions as numbers. What the buffer does not keep may be None and is ignored otherwise. At most
    as many episodes can be appended at once as the buffer is sure to hold.
    """
    count, horizon = episodes.mask.shape[:2]
    fits = count <= len(buffer.start) and (count + 1) * (horizon + 1) <= len(buffer.row_of)
    assert fits, f"{count} episodes at once could overwrite each other"
    lengths, kept = episodes.lengths, buffer.steps
    start, head, oldest_transition, oldest_episode = _make_room(buffer, lengths)
    rows, slots, ring = len(kept.mask), len(buffer.start), len(buffer.row_of)
    steps, frames = (jnp.arange(size) for size in (episodes.mask.shape[1], episodes.observation.shape[1]))
    nowhere = max(rows, ring)  # out of bounds: the write is dropped
    exists = lengths > 0
    here = steps < lengths[:, None]
    row = jnp.where(here, start[:, None] + steps, nowhere)
    frame = jnp.where((frames <= lengths[:, None]) & exists[:, None], start[:, None] + frames, nowhere)
    before = jnp.cumsum(lengths) - lengths
    transition = jnp.where(here, (buffer.newest_transition + before[:, None] + steps) % ring, nowhere)
    slot = jnp.where(exists, (buffer.newest_episode + jnp.cumsum(exists) - 1) % slots, slots)

    def write(array: Any, index: Array, values: Any) -> Any:
        if array is None:
            return None
        values = values.reshape(-1, *values.shape[index.ndim :])
        return array.at[index.reshape(-1)].set(values, mode="drop")

    return Buffer(
        steps=Rows(
            observation=write(kept.observation, frame, episodes.observation),
            action=write(kept.action, row, action),
            next_observation=None,
            features=write(kept.features, row, features),
            reward=write(kept.reward, row, reward),
            mask=write(kept.mask, row, episodes.mask),
            terminated=write(kept.terminated, row, episodes.terminated),
        ),
        row_of=write(buffer.row_of, transition, row),
        start=write(buffer.start, slot, start),
        length=write(buffer.length, slot, lengths),
        returns=write(buffer.returns, slot, episodes.returns),
        head=head,
        oldest_transition=oldest_transition,
        newest_transition=buffer.newest_transition + lengths.sum(),
        oldest_episode=oldest_episode,
        newest_episode=buffer.newest_episode + exists.sum(),
    )


def _make_room(
    buffer: Buffer, lengths: Lengths
) -> tuple[Int[Array, " episode"], Int[Array, ""], Int[Array, ""], Int[Array, ""]]:
    """First row of each new episode, the next free row, and the oldest transition and episode that stay.

    Episodes never straddle the end of the rows: where one would, the tail is skipped. The oldest episodes leave
    until none overlaps the new rows and the ring of episodes has free slots.
    """
    rows, slots = len(buffer.steps.mask), len(buffer.start)

    def place(head, length):
        wraps = head + length + 1 > rows
        start = jnp.where(wraps, 0, head)
        return jnp.where(length > 0, start + length + 1, head), (start, wraps & (length > 0))

    head, (start, wraps) = jax.lax.scan(place, buffer.head, lengths)
    end, exists = start + lengths + 1, lengths > 0
    newest = buffer.newest_episode + exists.sum()

    def in_the_way(carry):
        _, episode = carry
        slot = episode % slots
        first, last = buffer.start[slot], buffer.start[slot] + buffer.length[slot]
        overlaps = (exists & (first < end) & (last >= start)).any() | (wraps.any() & (first >= buffer.head))
        return (episode < buffer.newest_episode) & exists.any() & (overlaps | (newest - episode > slots))

    def evict(carry):
        transition, episode = carry
        return transition + buffer.length[episode % slots], episode + 1

    oldest = (buffer.oldest_transition, buffer.oldest_episode)
    transition, episode = jax.lax.while_loop(in_the_way, evict, oldest)
    return start, head, transition, episode


def size(buffer: Buffer) -> Int[Array, ""]:
    """Transitions that can be sampled now."""
    return buffer.newest_transition - buffer.oldest_transition


def read(buffer: Buffer, row: Int[Array, "*batch"]) -> Rows:
    """The steps in ``row``; what nobody uses of them is not gathered in a compiled program."""
    rows: Rows = jax.tree.map(lambda column: column[row], buffer.steps)
    if buffer.steps.observation is None:
        return rows
    return rows._replace(next_observation=buffer.steps.observation[row + 1])


def sample(buffer: Buffer, key: Key, count: int) -> Rows:
    """Draw ``count`` stored transitions uniformly, with replacement."""
    drawn = jax.random.randint(key, (count,), buffer.oldest_transition, buffer.newest_transition)
    return read(buffer, buffer.row_of[drawn % len(buffer.row_of)])


def sample_window(buffer: Buffer, key: Key, *, episodes: int, subset: int | None, horizon: int) -> Window:
    """Draw whole episodes uniformly, and ``subset`` distinct steps of each (all steps where it is None).

    Only the drawn rows are gathered: a subset of 64 never touches the other 936 steps of an episode.
    """
    k_episode, k_step = jax.random.split(key)
    drawn = jax.random.randint(k_episode, (episodes,), buffer.oldest_episode, buffer.newest_episode)
    slot = drawn % len(buffer.start)
    if subset is None or subset >= horizon:
        return whole_episodes(buffer, slot, horizon)[0]
    lengths = buffer.length[slot]
    steps, exists = draw_steps(k_step, lengths, horizon, subset)
    rows = read(buffer, buffer.start[slot][:, None] + jnp.where(exists, steps, 0))
    return Window(rows, rows.mask & exists[:, :, None], buffer.returns[slot], lengths)


def whole_episodes(
    buffer: Buffer, slot: Int[Array, " episode"], horizon: int
) -> tuple[Window, Int[Array, "episode time"]]:
    """All steps of the episodes in ``slot``, padded to the horizon, and the row that each step is in."""
    lengths = buffer.length[slot]
    steps = jnp.broadcast_to(jnp.arange(horizon), (len(slot), horizon))
    exists = steps < lengths[:, None]
    row = buffer.start[slot][:, None] + jnp.where(exists, steps, 0)
    rows = read(buffer, row)
    return Window(rows, rows.mask & exists[:, :, None], buffer.returns[slot], lengths), row


def write_reward(
    buffer: Buffer, row: Int[Array, "episode time"], mask: AgentMask, reward: EpisodeRewards
) -> Buffer:
    """Replace the stored reward of the steps in ``row`` where any agent is there."""
    assert buffer.steps.reward is not None
    place = jnp.where(mask.any(axis=2), row, len(buffer.steps.mask))
    return buffer._replace(
        steps=buffer.steps._replace(reward=buffer.steps.reward.at[place].set(reward, mode="drop"))
    )


def draw_steps(
    key: Key, lengths: Lengths, horizon: int, count: int
) -> tuple[Int[Array, "episode step"], Bool[Array, "episode step"]]:
    """Draw ``count`` distinct steps of each episode, uniformly; all of its steps where it is shorter.

    Args:
        key: random key.
        lengths: L of each episode, at most ``horizon``.
        horizon: the longest possible episode (static).
        count: K, at most ``horizon`` (static).

    Returns:
        Steps ``[episode, K]`` and the mask of those that exist.
    """
    exists: Bool[Array, "episode horizon"] = jnp.arange(horizon) < lengths[:, None]
    score: Float[Array, "episode horizon"] = jax.random.uniform(key, exists.shape)
    _, steps = jax.lax.top_k(jnp.where(exists, score, -1.0), count)
    return steps, jnp.arange(count) < lengths[:, None]


def grown(buffer: Buffer) -> Buffer:
    """The same buffer with twice the rows and slots; no episode must have left it yet."""
    double = lambda leaf: jnp.concatenate([leaf, jnp.zeros_like(leaf)])  # noqa: E731
    return buffer._replace(
        steps=jax.tree.map(double, buffer.steps),
        row_of=double(buffer.row_of),
        start=double(buffer.start),
        length=double(buffer.length),
        returns=double(buffer.returns),
    )


def trimmed(buffer: Buffer) -> Buffer:
    """The buffers of several seeds, ``[seed, …]``, without the rows and slots that none has ever written.

    They are zeros, and a checkpoint need not hold them.
    """
    whole = int(np.max(buffer.oldest_episode)) > 0
    rows = buffer.row_of.shape[1] if whole else int(np.max(buffer.head))
    slots = buffer.start.shape[1] if whole else int(np.max(buffer.newest_episode))
    cut = lambda count: lambda leaf: np.asarray(leaf)[:, :count]  # noqa: E731
    return buffer._replace(
        steps=jax.tree.map(cut(rows), buffer.steps),
        row_of=cut(rows)(buffer.row_of),
        start=cut(slots)(buffer.start),
        length=cut(slots)(buffer.length),
        returns=cut(slots)(buffer.returns),
    )
