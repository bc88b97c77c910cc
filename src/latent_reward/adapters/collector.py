"""Steps of parallel environments become episodes of a credit, which is fitted as they end."""

import copyreg
import math
import tempfile
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from latent_reward.adapters.gymnasium import require_steps
from latent_reward.data.spaces import Continuous, Discrete
from latent_reward.errors import LareError
from latent_reward.library.credit import Credit
from latent_reward.library.episode import Episode

_FIRST = 10  # episodes that `fit_first` holds for


class Collector:
    """Collects each environment's steps, adds finished episodes to the credit and fits it to them.

    Of the rewards of an episode only their sum is kept.

    Args:
        credit: what learns.
        envs: environments that step together.
        updates_per_step: updates of the credit per step of a finished episode. 0 leaves the credit as it is: episodes
            are neither added nor fitted.
        max_updates: most updates at a time, however long the episodes were.
        fit_first: fewest updates after each of the first ten episodes, which are soon used but hardly fitted.

    Raises:
        LareError: a number is negative or not finite.
    """

    def __init__(
        self,
        credit: Credit,
        envs: int,
        updates_per_step: float = 1.0,
        max_updates: int = 1000,
        fit_first: int = 100,
    ):
        """See the class."""
        settings = {
            "updates_per_step": updates_per_step,
            "max_updates": max_updates,
            "fit_first": fit_first,
        }
        for name, value in settings.items():
            if not 0 <= value < math.inf:
                raise LareError(f"{name}: {value} is not possible; give a number of at least 0")
        self.credit = credit
        self.updates_per_step, self.max_updates, self.fit_first = updates_per_step, max_updates, fit_first
        self._open = [_Steps() for _ in range(envs)]

    def add(
        self,
        observation: np.ndarray,
        action: np.ndarray,
        next_observation: np.ndarray,
        reward: np.ndarray,
        done: np.ndarray,
        terminated: np.ndarray,
    ) -> None:
        """Take one step of every environment; arrays have a leading axis of environments.

        If an environment's observation is not the one that its last step led to, it was reset in the meantime. The
        steps before have no return then, and are dropped.

        Args:
            observation: before the step, ``(env, o)``.
            action: in the environment's units, ``(env, a)``; ``(env,)`` where actions are discrete.
            next_observation: after the step, also if the episode ended with it, ``(env, o)``.
            reward: of the environment, ``(env,)``.
            done: whether the episode ended with the step, ``(env,)``.
            terminated: whether it ended of its own rather than by a time limit, ``(env,)``.

        Raises:
            LareError: an episode has more steps than the credit's horizon, or a number that is not finite.
        """
        if self.updates_per_step == 0:
            return
        finished = []
        for env, steps in enumerate(self._open):
            last = steps.observations[-1] if steps.actions else observation[env]
            if not np.array_equal(last, observation[env], equal_nan=True):
                steps = self._open[env] = _Steps()
            steps.add(observation[env], action[env], next_observation[env], float(reward[env]))
            if len(steps.actions) > self.credit.where.horizon:
                raise LareError(
                    f"horizon: an episode goes on after {self.credit.where.horizon} steps, the most that the credit "
                    "was made for; make it with a longer `horizon`"
                )
            if done[env]:
                finished.append(steps.episode(bool(terminated[env])))
                self._open[env] = _Steps()
        if finished:
            self._fit(finished)

    def forget(self) -> None:
        """Drop the steps of unfinished episodes, because the environments were reset."""
        self._open = [_Steps() for _ in self._open]

    def reward(
        self,
        observation: np.ndarray,
        action: np.ndarray,
        next_observation: np.ndarray,
        terminated: np.ndarray,
    ) -> np.ndarray:
        """The present credit of each step, ``(batch,)``; zeros as long as there is no episode to learn from."""
        if self.updates_per_step and not self.credit.episodes:
            return np.zeros(len(observation), np.float32)
        return self.credit.reward(observation, action, next_observation, terminated).astype(np.float32)

    def _fit(self, finished: list[Episode]) -> None:
        self.credit.add(*finished)
        updates = math.ceil(self.updates_per_step * sum(map(len, finished)))
        if self.credit.episodes <= _FIRST:
            updates = max(updates, self.fit_first)
        if updates := min(updates, self.max_updates):
            self.credit.fit(updates)


class _Steps:
    """An unfinished episode of one environment."""

    def __init__(self):
        self.observations: list[np.ndarray] = []  # one more than actions
        self.actions: list[np.ndarray] = []
        self.ret = 0.0

    def add(self, observation: Any, action: Any, next_observation: Any, reward: float) -> None:
        """Keep copies of one step."""
        if not self.observations:
            self.observations.append(np.array(observation))
        self.observations.append(np.array(next_observation))
        self.actions.append(np.array(action))
        self.ret += reward

    def episode(self, terminated: bool) -> Episode:
        """All steps as a finished episode."""
        return Episode(np.stack(self.observations), np.stack(self.actions), self.ret, terminated)


def check_credit(credit: Any, observation_space: Any, action_space: Any) -> Credit:
    """``credit``, if it can give a reward for loose steps in these spaces.

    Raises:
        LareError: it is no credit, its method reads whole episodes or true rewards, or a space is of another size,
            kind or range.
    """
    if not isinstance(credit, Credit):
        raise LareError(f"credit: {type(credit).__name__} is not possible; give a Credit")
    require_steps(credit)
    where = credit.where
    if where.agents != 1:
        raise LareError(f"agents: the credit is of a team of {where.agents}; make one for a single agent")
    if not isinstance(observation_space, gymnasium.spaces.Box) or len(observation_space.shape) != 1:
        raise LareError(
            f"observation_space: {observation_space} cannot be used; flatten the observations into a Box with one axis"
        )
    if observation_space.shape[0] != where.observation_size:
        raise LareError(
            f"credit: it is for {where.observation_size} observation fields, and the environment has "
            f"{observation_space.shape[0]}; make the credit for this environment"
        )
    have, need = _actions(where.actions), _actions(action_space)
    if have != need:
        raise LareError(
            f"credit: it is for {have}, and the environment has {need}; make the credit for this environment"
        )
    if isinstance(action_space, gymnasium.spaces.Box) and isinstance(where.actions, Continuous):
        most = np.finfo(np.float32).max
        bounds = np.clip([action_space.low, action_space.high], -most, most)
        if not np.allclose(bounds, [where.actions.low, where.actions.high]):
            raise LareError(
                f"credit: it is for actions from {list(where.actions.low)} to {list(where.actions.high)}, and those "
                f"of the environment go from {action_space.low.tolist()} to {action_space.high.tolist()}; leave out "
                "wrappers that rescale actions, or make the credit for this environment"
            )
    return credit


def _actions(space: Any) -> str:
    """Actions in words: kind and size."""
    if isinstance(space, Discrete):
        return f"one of {space.size} actions"
    if isinstance(space, gymnasium.spaces.Discrete) and space.start == 0:
        return f"one of {int(space.n)} actions"
    if isinstance(space, Continuous):
        return f"{space.size} action fields"
    if isinstance(space, gymnasium.spaces.Box) and len(space.shape) == 1:
        return f"{space.shape[0]} action fields"
    return f"{space}"


# Trainers that save themselves with pickle take their credit along, as the files that `Credit.save` writes.


def _pack(credit: Credit) -> tuple[Any, tuple[dict[str, bytes]]]:
    with tempfile.TemporaryDirectory() as name:
        folder = credit.save(name)
        found = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        return _unpack, ({path.relative_to(folder).as_posix(): path.read_bytes() for path in found},)


def _unpack(files: dict[str, bytes]) -> Credit:
    with tempfile.TemporaryDirectory() as name:
        for path, content in files.items():
            target = Path(name, path)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        return Credit.load(name)


copyreg.pickle(Credit, _pack)  # pyright: ignore[reportArgumentType] - typeshed wants a plain tuple
