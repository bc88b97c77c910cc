"""A parallel environment of PettingZoo whose rewards are learned from the return of its agents, as one team.

PettingZoo itself is not imported: the environment depends on it, or implements its interface by hand.
"""

from typing import Any

import numpy as np

from latent_reward.adapters.gymnasium import learn, require_horizon, require_spaces, require_steps
from latent_reward.data.spaces import Discrete
from latent_reward.errors import LareError, require_count, require_positive
from latent_reward.library.credit import Credit
from latent_reward.library.episode import Episode


class ParallelCreditWrapper:
    """Replaces the rewards of all agents by the current credit, and learns from every finished episode.

    >>> credit = lr.Credit("cn-6")                                              # doctest: +SKIP
    >>> env = ParallelCreditWrapper(parallel_env, credit, updates=50)           # doctest: +SKIP

    All agents form one team, in the order of ``possible_agents``; their return is the sum of all their rewards. The
    trainer sees learned rewards only. ``infos[agent]["true_reward"]`` keeps the environment's own, and the infos of the
    last step have the team's ``"true_return"``. Agents may leave early or come late. Everything else is that of the
    environment.

    Args:
        env: a parallel environment whose agents have the same spaces, flat observations among them.
        credit: what assigns the rewards.
        fit_every: episodes between two fits.
        updates: updates of each fit; 0 leaves fitting to you.

    Raises:
        LareError: agents differ, their spaces are not those of the credit, or its method has no reward of single steps.
    """

    def __init__(self, env: Any, credit: Credit, *, fit_every: int = 1, updates: int = 50):
        """See the class."""
        require_positive(fit_every=fit_every)
        require_count(0, updates=updates)
        require_steps(credit)
        self.env, self.credit, self.fit_every, self.updates = env, credit, fit_every, updates
        self._names = list(env.possible_agents)
        for name in self._names:
            spaces = env.observation_space(name), env.action_space(name)
            require_spaces(credit, str(name), *spaces, agents=len(self._names))
        self._observations: list[np.ndarray] = []
        self._actions: list[np.ndarray] = []
        self._rewards: list[np.ndarray] = []
        self._alive: list[np.ndarray] = []

    def __getattr__(self, name: str) -> Any:
        """Everything else is the environment's."""
        if name in ("env", "credit"):
            raise AttributeError(name)
        return getattr(self.env, name)

    def reset(self, seed: int | None = None, options: dict | None = None) -> tuple[dict, dict]:
        """Begin an episode; one that was not finished is forgotten, since its return is not known."""
        observations, infos = self.env.reset(seed=seed, options=options)
        nothing = np.zeros((len(self._names), self.credit.where.observation_size), np.float32)
        self._observations, self._actions, self._rewards, self._alive = [nothing], [], [], []
        self._observations[0] = self._seen(observations)
        return observations, infos

    def step(self, actions: dict) -> tuple[dict, dict, dict, dict, dict]:
        """One step, with learned rewards in the place of the environment's.

        Raises:
            LareError: the episode is longer than the credit's horizon, or a number is not finite.
        """
        if not self._observations:
            raise LareError("step: the episode is over or has not begun; reset the environment first")
        before = list(self.env.agents)
        observations, rewards, terminations, truncations, infos = self.env.step(actions)
        self._observations.append(self._seen(observations))
        self._alive.append(np.array([name in before for name in self._names]))
        self._rewards.append(np.array([float(rewards.get(name, 0.0)) for name in self._names]))
        self._actions.append(self._acted(actions))
        require_horizon(self.credit, len(self._actions))
        ended = np.array([bool(terminations.get(name, False)) for name in self._names])
        learned = self.credit.reward(
            self._observations[-2][None], self._actions[-1][None], self._observations[-1][None], ended[None]
        )[0]
        paid = {name: float(learned[self._names.index(name)]) for name in rewards}
        infos = {name: {**infos.get(name, {}), "true_reward": float(rewards[name])} for name in rewards}
        if not self.env.agents or all(
            terminations.get(n, False) or truncations.get(n, False) for n in before
        ):
            total = float(np.sum(self._rewards))
            for each in infos.values():
                each["true_return"] = total
            self._finish(total, bool(ended[self._alive[-1]].all()))
        return observations, paid, terminations, truncations, infos

    def _finish(self, total: float, terminated: bool) -> None:
        observations, actions = np.stack(self._observations), np.stack(self._actions)
        rewards, alive = np.stack(self._rewards), np.stack(self._alive)
        episode = Episode(observations, actions, total, terminated, rewards, alive)
        self._observations = []
        learn(self.credit, episode, self.fit_every, self.updates)

    def _seen(self, observations: dict) -> np.ndarray:
        """The observations of all agents; an agent that is not there keeps its last one."""
        rows = self._observations[-1].copy()
        for place, name in enumerate(self._names):
            if name in observations:
                rows[place] = np.asarray(observations[name], np.float32)
        return rows

    def _acted(self, actions: dict) -> np.ndarray:
        """The actions of all agents; 0 for those that are not there."""
        shape = self.credit.where.actions.shape
        rows = np.zeros((len(self._names), *shape), np.float32)
        for place, name in enumerate(self._names):
            if name in actions:
                rows[place] = np.asarray(actions[name])
        return rows.astype(np.int64) if isinstance(self.credit.where.actions, Discrete) else rows
