"""Recorded episodes and loose steps: checked, and put into the arrays that credit reads."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, SupportsFloat

import jax
import numpy as np

from latent_reward.data.episodes import Episodes, paid_while_there
from latent_reward.data.spaces import Discrete
from latent_reward.errors import LareError, one_line
from latent_reward.library.where import Where

_paid_while_there = jax.jit(paid_while_there)


@dataclass(frozen=True, eq=False)
class Episode:
    """One episode of T steps, as it was recorded. Arrays may be of any numeric type, or lists.

    Attributes:
        observations: before each step and after the last, ``(T + 1, o)``; of a team ``(T + 1, agents, o)``.
        actions: ``(T, a)``, or ``(T,)`` whole numbers where actions are discrete; of a team with agents after time.
        ret: the return, one number; of a team it is the return of all its agents together.
        terminated: whether the episode came to an end of its own, rather than being cut by a time limit.
        rewards: the true reward of each step, ``(T,)`` or ``(T, agents)``, if it is known. It is measured against and
            never fitted, except by the reference ``dense``.
        alive: of a team, which agents are there at each step, ``(T, agents)``; all of them by default. What an absent
            agent sees and does is ignored; what it is paid counts at the last step before at which it was there.
    """

    observations: Any
    actions: Any
    ret: SupportsFloat
    terminated: bool | np.bool_ = True
    rewards: Any = None
    alive: Any = None

    def __len__(self) -> int:
        """T, the number of steps."""
        return len(self.actions)


def as_episodes(recorded: Sequence[Episode], where: Where, numbers: Sequence[int] | None = None) -> Episodes:
    """Recorded episodes padded to the horizon, ``[episode, time, agent, …]``.

    Args:
        recorded: the episodes.
        where: the sizes that they must have.
        numbers: what they are called in messages; 0, 1, … by default.

    Raises:
        LareError: naming the episode and the array that is of the wrong shape, or has a number that is not finite.
    """
    count, horizon, agents = len(recorded), where.horizon, where.agents
    seen = np.zeros((count, horizon + 1, agents, where.observation_size), np.float32)
    acted = np.zeros((count, horizon, agents, *where.actions.shape), where.actions.dtype)
    mask, ended = (np.zeros((count, horizon, agents), bool) for _ in range(2))
    paid = np.zeros((count, horizon, agents), np.float32)
    returns = np.zeros(count, np.float32)
    for number, each in enumerate(recorded):
        place = f"episode {number if numbers is None else numbers[number]}"
        if not isinstance(each, Episode):
            raise LareError(f"{place}: it is a {type(each).__name__}; give an Episode, each by itself")
        actions = _array(f"{place}: actions", each.actions)
        steps = len(actions) if actions.ndim else 0
        if not 0 < steps <= horizon:
            raise LareError(
                f"{place}: it has {steps} steps, and from 1 to {horizon} are possible; give a longer `horizon`"
            )
        there = np.ones((steps, agents), bool)
        if each.alive is not None:
            there = _shaped(f"{place}: alive", each.alive, (steps, agents)).astype(bool)
            if not there.any(axis=1).all():
                raise LareError(
                    f"{place}: alive says that nobody is there at some step; end the episode before it"
                )
        sees = np.concatenate([there[:1], there])  # before its first step, and after each
        sees[:-1] |= there
        seen[number, : steps + 1] = _shaped(
            f"{place}: observations", each.observations, (steps + 1, agents, where.observation_size), sees
        )
        acted[number, :steps] = _acted(f"{place}: actions", actions, steps, where, there)
        if each.rewards is not None:
            rewards = _array(f"{place}: rewards", each.rewards)
            given = there | np.isfinite(rewards.reshape(there.shape)) if rewards.size == there.size else there
            paid[number, :steps] = _shaped(f"{place}: rewards", rewards, (steps, agents), given)
        with np.errstate(over="ignore"):
            total = _array(f"{place}: ret", each.ret).astype(np.float32)
        if total.size != 1 or not np.isfinite(total).all():
            raise LareError(f"{place}: its return is {each.ret}; it must be one finite number")
        returns[number] = total.item()
        mask[number, :steps] = there
        last = there & ~np.concatenate([there[1:], np.zeros((1, agents), bool)])
        ended[number, :steps] = last
        ended[number, steps - 1] &= bool(each.terminated)
    if paid[~mask].any():
        paid = np.asarray(_paid_while_there(paid, mask))
    return _episodes(jax.device_put((seen, acted, mask, ended, returns, paid)))


def as_steps(
    where: Where, observation: Any, action: Any, next_observation: Any, terminated: Any = None
) -> tuple[Episodes, int]:
    """Loose steps as episodes of length one, and how many they are.

    They are padded to a power of two, so that few sizes are compiled, and left to NumPy: a compiled program takes them
    to the device in less time.

    Raises:
        LareError: a shape is wrong, or a number is not finite.
    """
    arrays = [
        _array(name, value)
        for name, value in (
            ("observation", observation),
            ("action", action),
            ("next_observation", next_observation),
        )
    ]
    count = len(arrays[0]) if arrays[0].ndim else 1
    size = (count, where.agents, where.observation_size)
    before, after = _rows("observation", arrays[0], size), _rows("next_observation", arrays[2], size)
    acted = np.zeros((count, where.agents, *where.actions.shape), where.actions.dtype)
    if count or arrays[1].size:
        acted = _acted("action", arrays[1], count, where)
    padded = 1 << max(count - 1, 0).bit_length()
    ended = np.zeros((padded, 1, where.agents), bool)
    if terminated is not None:
        over = _array("terminated", terminated)
        if over.shape not in ((count,), (count, 1), (count, where.agents)):
            raise LareError(
                f"terminated: it has the shape {over.shape}; give one value for each of {count} rows"
            )
        ended[:count, 0] = over.reshape(count, -1).astype(bool)

    seen = np.zeros((padded, 2, *before.shape[1:]), np.float32)
    seen[:count, 0], seen[:count, 1] = before, after
    done = np.zeros((padded, 1, *acted.shape[1:]), acted.dtype)
    done[:count, 0] = acted
    nothing = np.zeros(ended.shape, np.float32)
    arrays = (seen, done, np.ones(ended.shape, bool), ended, nothing[:, 0, 0], nothing)
    return _episodes(arrays), count


def _episodes(arrays: Sequence[Any]) -> Episodes:
    return Episodes(*arrays)


def _rows(name: str, array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return np.zeros(shape, np.float32) if not shape[0] and not array.size else _shaped(name, array, shape)


def _acted(
    name: str, value: np.ndarray, count: int, where: Where, there: np.ndarray | None = None
) -> np.ndarray:
    """Actions of ``count`` steps with an axis of agents, as they are stored."""
    array = _shaped(name, value, (count, where.agents, *where.actions.shape), there)
    if isinstance(where.actions, Discrete):
        wrong = (array < 0) | (array >= where.actions.size) | (array != np.floor(array))
        if wrong.any():
            raise LareError(
                f"{name}: {array[wrong][0]:g} is no action; they are whole numbers from 0 to {where.actions.size - 1}"
            )
    return array.astype(where.actions.dtype)


def _array(name: str, value: Any) -> np.ndarray:
    """``value`` as an array of numbers."""
    try:
        array = np.asarray(value)
    except (ValueError, TypeError) as error:  # rows of different lengths
        raise LareError(f"{name}: it is no array ({one_line(error)})") from error
    if array.dtype.kind not in "biuf":
        raise LareError(f"{name}: it is of type {array.dtype}, and numbers are expected")
    return array


def _shaped(name: str, value: Any, shape: tuple[int, ...], there: np.ndarray | None = None) -> np.ndarray:
    """``value`` in single precision with an axis of agents, checked against ``shape``, which has one.

    Where ``there`` is false it is 0, whatever was given.
    """
    array = _array(name, value)
    alone = (shape[0], *shape[2:]) if shape[1] == 1 else None
    if array.shape == alone:
        array = array.reshape(shape)
    if array.shape != shape:
        raise LareError(f"{name}: the shape is {array.shape}, and {alone or shape} is expected")
    with np.errstate(over="ignore"):
        array = array.astype(np.float32)
    if there is not None:
        array = np.where(there.reshape(*there.shape, *(1,) * (array.ndim - 2)), array, 0.0)
    if not np.isfinite(array).all():
        first = np.argwhere(~np.isfinite(array))[0]
        raise LareError(
            f"{name}: row {first[0]} has a number that is not finite in single precision; correct it or leave it out"
        )
    return array
