"""One recorded episode, checked, and padded to what credit reads."""

from collections.abc import Sequence
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np

from latent_reward.data.episodes import Episodes
from latent_reward.data.spaces import ActionSpace
from latent_reward.errors import LareError


@dataclass(frozen=True, eq=False)
class Episode:
    """One episode of T steps, as it was recorded.

    Attributes:
        observations: before each step and after the last, ``(T + 1, o)``; of a team ``(T + 1, agents, o)``.
        actions: ``(T, a)``, or ``(T,)`` whole numbers where actions are discrete; of a team with agents after time.
        ret: the return, one number; of a team it is the return of all its agents together.
        terminated: whether the episode came to an end of its own, rather than being cut by a time limit.
        rewards: the true reward of each step, ``(T,)`` or ``(T, agents)``, if it is known. It is measured against and
            never fitted, except by the reference methods.
    """

    observations: np.ndarray
    actions: np.ndarray
    ret: float
    terminated: bool = True
    rewards: np.ndarray | None = None

    def __len__(self) -> int:
        """T, the number of steps."""
        return len(self.actions)


def as_episodes(
    recorded: Sequence[Episode], horizon: int, agents: int, observation_size: int, actions: ActionSpace
) -> Episodes:
    """Recorded episodes padded to ``horizon``, ``[episode, time, agent, …]``.

    Raises:
        LareError: naming the episode and the array that is of the wrong shape, or has a number that is not finite.
    """
    count = len(recorded)
    seen = np.zeros((count, horizon + 1, agents, observation_size), np.float32)
    acted = np.zeros((count, horizon, agents, *actions.shape), actions.dtype)
    mask, ended = (np.zeros((count, horizon, agents), bool) for _ in range(2))
    paid = np.zeros((count, horizon, agents), np.float32)
    for number, each in enumerate(recorded):
        steps = len(each)
        if not 0 < steps <= horizon:
            raise LareError(
                f"episode {number}: it has {steps} steps, and from 1 to {horizon} are possible; give a longer `horizon`"
            )
        place = f"episode {number}"
        seen[number, : steps + 1] = _shaped(
            place, "observations", each.observations, (steps + 1, agents, observation_size)
        )
        acted[number, :steps] = _shaped(place, "actions", each.actions, (steps, agents, *actions.shape))
        if each.rewards is not None:
            paid[number, :steps] = _shaped(place, "rewards", each.rewards, (steps, agents))
        if not np.isfinite(np.float32(each.ret)):
            raise LareError(f"{place}: its return is {each.ret}; it must be a finite number")
        mask[number, :steps] = True
        ended[number, steps - 1] = each.terminated
    returns = np.array([each.ret for each in recorded], np.float32)
    seen, acted, mask, ended, returns, paid = map(jnp.asarray, (seen, acted, mask, ended, returns, paid))
    return Episodes(seen, acted, mask, ended, returns, paid)


def _shaped(place: str, name: str, value: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """``value`` with an axis of agents, checked against ``shape``, which has one."""
    array = np.asarray(value)
    alone = (shape[0], *shape[2:]) if shape[1] == 1 else None
    if array.shape == alone:
        array = array.reshape(shape)
    if array.shape != shape:
        raise LareError(f"{place}: {name} have the shape {array.shape}, and {alone or shape} is expected")
    if array.dtype.kind not in "biuf" or not np.isfinite(array).all():
        raise LareError(f"{place}: {name} must be finite numbers; correct or leave out the episode")
    return array
