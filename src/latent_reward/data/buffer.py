"""Episode replay on the device: whole episodes in rings, sampled by transition or by episode.

Three rings have a counter each that only grows: of steps, of the observations that they see, and of episodes. An
episode of L steps takes L consecutive steps and L + 1 consecutive frames, its observations o_0 … o_L, so that o′ of a
step is the frame after that of o, and each observation is stored once. The episodes before episode e have one frame
more than steps each, so step n, counted from the first ever stored, sees frame n + e. Every look-up is O(1), and
sampling is exactly uniform at any episode length.

The oldest episodes leave whole when a ring is full. The newest ``capacity`` steps stay whatever the lengths of their
episodes: the rings have room for episodes of one step, and for one more episode at the full horizon.
All functions are pure and have no seed axis; ``jax.vmap`` adds it.
"""

from collections.abc import Callable
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
    """The rings and the counters of what was ever stored; number n of a ring of length N is at n mod N.

    Attributes:
        steps: the ring of steps, but for observations: ``observation`` is the ring of frames, and ``next_observation``
            is None.
        frame: where each step's o is in the ring of frames; None if observations are not kept.
        start: of each episode, the number of its first step.
        length: of each episode, its steps.
        returns: of each episode, R.
        oldest_transition: number of the oldest step that is still there.
        newest_transition: number of the next step.
        oldest_episode: number of the oldest episode that is still there.
        newest_episode: number of the next episode.
    """

    steps: Rows
    frame: Int[Array, " step"] | None
    start: Int[Array, " slot"]
    length: Int[Array, " slot"]
    returns: Float[Array, " slot"]
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
    """An empty buffer that keeps the newest ``capacity`` steps, and less than one episode more.

    Args:
        capacity: steps to keep.
        horizon: longest episode T.
        agents: agents of the team.
        observation: numbers per observation; 0 keeps none.
        action: numbers per action; 0 keeps none.
        features: stored features per step and agent; 0 keeps none.
        reward: whether the reward of each step is stored.
        episodes: how many episodes are kept at most; None: as many as there are steps.
    """
    rows = capacity + horizon - 1
    slots = episodes or rows
    zero = jnp.zeros((), jnp.int32)

    def column(size: int, count: int = rows):
        return jnp.zeros((count, agents, size)) if size else None

    return Buffer(
        steps=Rows(
            observation=column(observation, rows + min(rows, slots)),
            action=column(action),
            next_observation=None,
            features=column(features),
            reward=jnp.zeros((rows, agents)) if reward else None,
            mask=jnp.zeros((rows, agents), bool),
            terminated=jnp.zeros((rows, agents), bool),
        ),
        frame=jnp.zeros(rows, jnp.int32) if observation else None,
        start=jnp.zeros(slots, jnp.int32),
        length=jnp.zeros(slots, jnp.int32),
        returns=jnp.zeros(slots),
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
    fits = count <= len(buffer.start) and count * horizon <= len(buffer.steps.mask)
    assert fits, f"{count} episodes at once could overwrite each other"
    lengths, kept = episodes.lengths, buffer.steps
    exists = lengths > 0
    start = buffer.newest_transition + jnp.cumsum(lengths) - lengths
    number = buffer.newest_episode + jnp.cumsum(exists) - exists
    step, frame = (jnp.arange(size) for size in (horizon, episodes.observation.shape[1]))
    row = _place(start[:, None] + step, step < lengths[:, None], len(kept.mask))
    slot = _place(number, exists, len(buffer.start))
    seen_at = seen = None
    if kept.observation is not None:
        first, there = (start + number)[:, None], (frame <= lengths[:, None]) & exists[:, None]
        seen_at = _place(first + frame, there, len(kept.observation))
        seen = (first + step) % len(kept.observation)

    def write(array: Any, index: Any, values: Any) -> Any:
        if array is None:
            return None
        values = values.reshape(-1, *values.shape[index.ndim :])
        return array.at[index.reshape(-1)].set(values, mode="drop")

    after = buffer._replace(
        newest_transition=buffer.newest_transition + lengths.sum(),
        newest_episode=buffer.newest_episode + exists.sum(),
    )
    oldest_transition, oldest_episode = _oldest(after)
    return after._replace(
        steps=Rows(
            observation=write(kept.observation, seen_at, episodes.observation),
            action=write(kept.action, row, action),
            next_observation=None,
            features=write(kept.features, row, features),
            reward=write(kept.reward, row, reward),
            mask=write(kept.mask, row, episodes.mask),
            terminated=write(kept.terminated, row, episodes.terminated),
        ),
        frame=write(buffer.frame, row, seen),
        start=write(buffer.start, slot, start),
        length=write(buffer.length, slot, lengths),
        returns=write(buffer.returns, slot, episodes.returns),
        oldest_transition=oldest_transition,
        oldest_episode=oldest_episode,
    )


def _place(number: Int[Array, "*any"], exists: Bool[Array, "*any"], ring: int) -> Int[Array, "*any"]:
    """Where number n of a ring is; out of bounds, so that the write is dropped, for what does not exist."""
    return jnp.where(exists, number % ring, ring)


def _oldest(buffer: Buffer) -> tuple[Int[Array, ""], Int[Array, ""]]:
    """The oldest transition and episode that can stay, now that the newest ones are counted and not yet written."""

    def is_full(carry):
        transition, episode = carry
        steps, episodes = buffer.newest_transition - transition, buffer.newest_episode - episode
        return (steps > len(buffer.steps.mask)) | (episodes > len(buffer.start))

    def evict(carry):
        transition, episode = carry
        return transition + buffer.length[episode % len(buffer.start)], episode + 1

    return jax.lax.while_loop(is_full, evict, (buffer.oldest_transition, buffer.oldest_episode))


def size(buffer: Buffer) -> Int[Array, ""]:
    """Transitions that can be sampled now."""
    return buffer.newest_transition - buffer.oldest_transition


def read(buffer: Buffer, row: Int[Array, "*batch"]) -> Rows:
    """The steps in ``row`` of the ring; what nobody uses of them is not gathered in a compiled program."""
    kept = buffer.steps
    rows: Rows = jax.tree.map(lambda column: column[row], kept._replace(observation=None))
    if kept.observation is None or buffer.frame is None:
        return rows
    frame = buffer.frame[row]
    after = (frame + 1) % len(kept.observation)
    return rows._replace(observation=kept.observation[frame], next_observation=kept.observation[after])


def sample(buffer: Buffer, key: Key, count: int) -> Rows:
    """Draw ``count`` stored transitions uniformly, with replacement."""
    drawn = jax.random.randint(key, (count,), buffer.oldest_transition, buffer.newest_transition)
    return read(buffer, drawn % len(buffer.steps.mask))


def sample_best(buffer: Buffer, key: Key, count: int, best: int) -> Rows:
    """Draw ``count`` transitions of the ``best`` stored episodes with the highest returns: an episode, then a step."""
    k_episode, k_step = jax.random.split(key)
    slots, stored = len(buffer.start), buffer.newest_episode - buffer.oldest_episode
    age = (buffer.newest_episode - 1 - jnp.arange(slots)) % slots
    ranked = jax.lax.top_k(jnp.where(age < stored, buffer.returns, -jnp.inf), min(best, slots))[1]
    slot = ranked[jax.random.randint(k_episode, (count,), 0, jnp.clip(stored, 1, len(ranked)))]
    share = jax.random.uniform(k_step, (count,))
    step = jnp.minimum((share * buffer.length[slot]).astype(jnp.int32), buffer.length[slot] - 1)
    return read(buffer, buffer.start[slot] + step)


def sample_window(buffer: Buffer, key: Key, *, episodes: int, subset: int | None, horizon: int) -> Window:
    """Draw whole episodes uniformly, and ``subset`` distinct steps of each (all steps where it is None).

    Only the drawn rows are gathered: a subset of 64 never touches the other 936 steps of an episode.
    """
    k_episode, k_step = jax.random.split(key)
    drawn = jax.random.randint(k_episode, (episodes,), buffer.oldest_episode, buffer.newest_episode)
    slot = drawn % len(buffer.start)
    if subset is None or subset >= horizon:
        return whole_episodes(buffer, slot, horizon)[0]
    steps, exists = draw_steps(k_step, buffer.length[slot], horizon, subset)
    return _window(buffer, slot, steps, exists)[0]


def whole_episodes(
    buffer: Buffer, slot: Int[Array, " episode"], horizon: int
) -> tuple[Window, Int[Array, "episode time"]]:
    """All steps of the episodes in ``slot``, padded to the horizon, and the row that each step is in."""
    steps = jnp.broadcast_to(jnp.arange(horizon), (len(slot), horizon))
    return _window(buffer, slot, steps, steps < buffer.length[slot][:, None])


def _window(
    buffer: Buffer,
    slot: Int[Array, " episode"],
    steps: Int[Array, "episode step"],
    exists: Bool[Array, "episode step"],
) -> tuple[Window, Int[Array, "episode step"]]:
    """These steps of the episodes in ``slot``, and the row that each of them is in."""
    row = (buffer.start[slot][:, None] + jnp.where(exists, steps, 0)) % len(buffer.steps.mask)
    rows = read(buffer, row)
    return Window(rows, rows.mask & exists[:, :, None], buffer.returns[slot], buffer.length[slot]), row


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


def moved(buffer: Buffer, larger: Buffer) -> Buffer:
    """The same episodes in ``larger``, an empty buffer; no episode must have left the old one yet."""
    return jax.tree.map(
        lambda new, old: new.at[: len(old)].set(old) if new.ndim else old,
        larger,
        buffer,
    )


def trimmed(buffer: Buffer) -> Buffer:
    """The buffers of several seeds, ``[seed, …]``, without the places that none has ever written.

    They are zeros, and a checkpoint need not hold them.
    """
    transitions, episodes = np.asarray(buffer.newest_transition), np.asarray(buffer.newest_episode)
    steps, slots = int(transitions.max()), int(episodes.max())
    frames = int((transitions + episodes).max())
    cut = lambda leaf, count=steps: None if leaf is None else np.asarray(leaf)[:, :count]  # noqa: E731
    return buffer._replace(
        steps=jax.tree.map(cut, buffer.steps)._replace(observation=cut(buffer.steps.observation, frames)),
        frame=cut(buffer.frame),
        start=cut(buffer.start, slots),
        length=cut(buffer.length, slots),
        returns=cut(buffer.returns, slots),
    )


def as_long_as(buffer: Buffer, saved: Callable[[str], np.ndarray]) -> Buffer:
    """An empty buffer of several seeds with rings as long as those of a saved one, where these have gone round.

    The buffer of a training that was made longer is larger than the saved one. Places are found by their number modulo
    the length of the ring, so only a ring that has not gone round yet can grow.

    Args:
        buffer: the empty one.
        saved: an array of the saved one by its name, such as ``.steps.mask``, with the places that were ever written.
    """
    steps, episodes = saved(".newest_transition"), saved(".newest_episode")
    written = {
        ".steps.observation": steps + episodes,
        **dict.fromkeys((".start", ".length", ".returns"), episodes),
    }

    def sized(path: Any, leaf: Any) -> Any:
        name = jax.tree_util.keystr(path)
        shape = saved(name).shape
        shorter = (
            leaf.ndim > 1
            and shape[:1] + shape[2:] == leaf.shape[:1] + leaf.shape[2:]
            and shape[1] < leaf.shape[1]
        )
        went_round = shorter and written.get(name, steps).max(initial=0) > shape[1]
        return jax.device_put(np.zeros(shape, leaf.dtype), leaf.sharding) if went_round else leaf

    return jax.tree_util.tree_map_with_path(sized, buffer)
