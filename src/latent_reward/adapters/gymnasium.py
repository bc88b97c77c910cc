"""A Gymnasium environment whose rewards are learned from its returns, for any trainer that steps one."""

from typing import Any

import gymnasium
import numpy as np

from latent_reward.errors import LareError, require_count, require_positive
from latent_reward.library.credit import Credit
from latent_reward.library.episode import Episode


class CreditWrapper(gymnasium.Wrapper):
    """Replaces the reward of each step by the current credit, and learns from every finished episode.

    >>> credit = lr.Credit(observation_space=env.observation_space, ...)        # doctest: +SKIP
    >>> env = CreditWrapper(env, credit, fit_every=5, updates=100)              # doctest: +SKIP

    The trainer sees learned rewards only. ``info["true_reward"]`` keeps the environment's own reward of each step, and
    ``info["true_return"]`` the sum of them at the end of an episode. Only this sum is learned from. Until the first fit
    rewards say little, so let the trainer collect a few episodes first. A trainer that stores rewards keeps old ones;
    ask ``credit.reward`` again for the current ones.

    Args:
        env: an environment with flat observations.
        credit: what assigns the rewards; one credit may serve several copies of the environment.
        fit_every: episodes between two fits.
        updates: updates of each fit; 0 leaves fitting to you.

    Raises:
        LareError: the spaces of the environment are not those of the credit, or its method has no reward of single
            steps.
    """

    def __init__(self, env: gymnasium.Env, credit: Credit, *, fit_every: int = 1, updates: int = 100):
        """See the class."""
        super().__init__(env)
        require_positive(fit_every=fit_every)
        require_count(0, updates=updates)
        require_steps(credit)
        require_spaces(credit, "the environment", env.observation_space, env.action_space, agents=1)
        self.credit, self.fit_every, self.updates = credit, fit_every, updates
        self._observations: list[np.ndarray] = []
        self._actions: list[np.ndarray] = []
        self._rewards: list[float] = []

    def reset(self, **arguments: Any) -> tuple[Any, dict[str, Any]]:
        """Begin an episode; one that was not finished is forgotten, since its return is not known."""
        observation, info = self.env.reset(**arguments)
        self._observations, self._actions, self._rewards = [np.array(observation, np.float32)], [], []
        return observation, info

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """One step, with the learned reward in the place of the environment's.

        Raises:
            LareError: the episode is longer than the credit's horizon, or a number is not finite.
        """
        if not self._observations:
            raise LareError("step: the episode is over or has not begun; reset the environment first")
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._observations.append(np.array(observation, np.float32))
        self._actions.append(np.array(action))
        self._rewards.append(float(np.asarray(reward).item()))
        require_horizon(self.credit, len(self._actions))
        before, after = self._observations[-2:]
        learned = self.credit.reward(before[None], self._actions[-1][None], after[None], [bool(terminated)])
        info = {**info, "true_reward": self._rewards[-1]}
        if terminated or truncated:
            info["true_return"] = sum(self._rewards)
            self._finish(info["true_return"], bool(terminated))
        return observation, float(learned[0]), bool(terminated), bool(truncated), info

    def _finish(self, total: float, terminated: bool) -> None:
        episode = Episode(
            np.stack(self._observations), np.stack(self._actions), total, terminated, np.array(self._rewards)
        )
        self._observations = []
        learn(self.credit, episode, self.fit_every, self.updates)


def learn(credit: Credit, episode: Episode, fit_every: int, updates: int) -> None:
    """Add a finished episode, and fit if so many episodes have been added."""
    credit.add(episode)
    if updates and credit.episodes % fit_every == 0:
        credit.fit(updates)


def require_steps(credit: Credit) -> None:
    """Raise unless the method gives a reward while the episode is still going on.

    Raises:
        LareError: naming the method.
    """
    if not credit.method.credit.stepwise:
        raise LareError(
            f"method: {credit.method.name} has no reward for single steps, which a trainer asks for; choose a method "
            "such as lare or rrd-unbiased"
        )


def require_spaces(credit: Credit, name: str, observation: Any, action: Any, agents: int) -> None:
    """Raise unless the spaces of an agent are those of the credit.

    Raises:
        LareError: naming both sides.
    """
    where = credit.where
    discrete = isinstance(action, gymnasium.spaces.Discrete) and int(action.start) == 0
    have = (
        observation.shape if isinstance(observation, gymnasium.spaces.Box) else type(observation).__name__,
        int(action.n)
        if discrete
        else action.shape
        if isinstance(action, gymnasium.spaces.Box)
        else str(action),
        agents,
    )
    actions = where.actions.shape or where.actions.size
    need = ((where.observation_size,), actions, where.agents)
    if have != need:
        raise LareError(
            f"credit: {name} has observations of shape {have[0]}, actions {have[1]} and {have[2]} agents; the credit "
            f"has {need[0]}, {need[1]} and {need[2]}. Make the credit from these spaces, or flatten observations first"
        )


def require_horizon(credit: Credit, steps: int) -> None:
    """Raise if an episode has become too long.

    Raises:
        LareError: naming the credit's horizon.
    """
    if steps > credit.where.horizon:
        raise LareError(
            f"horizon: the episode is longer than the {credit.where.horizon} steps of the credit; give it a longer "
            "horizon, or limit the environment with gymnasium.wrappers.TimeLimit"
        )
