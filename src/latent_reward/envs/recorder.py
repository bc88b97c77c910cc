"""Record episodes of an environment on the host, in arrays that are filled step by step."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from latent_reward.data.episodes import Episodes, team_return
from latent_reward.data.spaces import Discrete
from latent_reward.envs.base import HostWorld, ParallelEnv
from latent_reward.errors import LareError

Choose = Callable[[int, tuple[np.ndarray, ...]], Sequence[tuple[np.ndarray, np.ndarray]]]
"""Number of the step and each team's observations ``[copy, agent, observation]`` to actions and log-probabilities."""


class EpisodeArrays(NamedTuple):
    """Episodes of one team, one per copy of an environment, filled step by step: ``[copy, time, agent, …]``.

    ``total`` is the sum of all rewards in double precision. Whatever lies beyond the end of an episode is undefined
    except for ``mask`` and ``reward``.
    """

    observation: np.ndarray
    action: np.ndarray
    log_probability: np.ndarray
    reward: np.ndarray
    mask: np.ndarray
    terminated: np.ndarray
    total: np.ndarray

    def episodes(self) -> Episodes:
        """The same as what credit and agents read."""
        arrays: Any = self  # of NumPy, which JAX takes for its own
        returns = team_return(jnp.asarray(self.reward), jnp.asarray(self.mask))
        return Episodes(
            arrays.observation, arrays.action, arrays.mask, arrays.terminated, returns, arrays.reward
        )


def blank(world: HostWorld, team: int, copies: int) -> EpisodeArrays:
    """Arrays for one episode of a team in each of ``copies``."""
    kind = world.teams[team]
    shape = (copies, world.horizon, kind.agents)
    return EpisodeArrays(
        np.zeros((copies, world.horizon + 1, kind.agents, kind.observation_size), np.float32),
        np.zeros((*shape, *kind.actions.shape), kind.actions.dtype),
        np.zeros(shape, np.float32),
        np.zeros(shape, np.float32),
        np.zeros(shape, bool),
        np.zeros(shape, bool),
        np.zeros(copies),
    )


def collect(
    world: HostWorld, envs: Sequence[ParallelEnv], seeds: Sequence[int], choose: Choose
) -> tuple[EpisodeArrays, ...]:
    """Play one episode in each copy, reset by its seed, and record every team's.

    LareError if an environment breaks its interface, or a number is not finite.
    """
    arrays = tuple(blank(world, team, len(envs)) for team in range(len(world.teams)))
    recorders = [Recorder(world, env, copy, arrays) for copy, env in enumerate(envs)]
    running = [recorder.begin(seed) for recorder, seed in zip(recorders, seeds, strict=True)]
    for step in range(world.horizon):
        if not any(running):
            break
        chosen = choose(step, tuple(each.observation[:, step] for each in arrays))
        for each, (_, log_probability) in zip(arrays, chosen, strict=True):
            each.log_probability[:, step] = log_probability
        running = [
            continues and recorder.step([action[recorder.copy] for action, _ in chosen])
            for recorder, continues in zip(recorders, running, strict=True)
        ]
    return arrays


class Recorder:
    """Plays one copy of an environment and fills its row of the arrays.

    An agent is there (``mask``) at a step if the environment lists it before that step; at other steps nothing is
    recorded for it. An episode that reaches the horizon is cut.
    """

    def __init__(self, world: HostWorld, env: ParallelEnv, copy: int, arrays: tuple[EpisodeArrays, ...]):
        """Nothing is played yet."""
        self.world, self.env, self.copy, self.arrays = world, env, copy, arrays
        self._places = {name: (t, i) for t, names in enumerate(world.members) for i, name in enumerate(names)}
        self.steps = 0
        self._where = ""

    def begin(self, seed: int, where: str = "of an episode") -> bool:
        """Reset the copy and return whether any agent is there. ``where`` names the episode in errors."""
        self.steps, self._where = 0, where
        for each in self.arrays:
            each.mask[self.copy], each.terminated[self.copy] = False, False
            each.reward[self.copy], each.total[self.copy] = 0.0, 0.0
        seen, _ = self.env.reset(seed=seed)
        self._observe(self.env.agents, seen)
        return bool(self.env.agents)

    def step(self, chosen: Sequence[np.ndarray]) -> bool:
        """Take each team's actions ``[agent, …]`` and return whether the episode continues."""
        there = list(self.env.agents)
        actions, step = {}, self.steps
        for agent in there:
            team, number = self._place(agent)
            arrays, action = self.arrays[team], chosen[team][number]
            arrays.mask[self.copy, step, number] = True
            arrays.action[self.copy, step, number] = action
            discrete = isinstance(self.world.teams[team].actions, Discrete)
            actions[agent] = int(action) + self.world.first_action[team] if discrete else action
        seen, paid, terminated, _, _ = self.env.step(actions)
        left = list(self.env.agents)
        for agent in there:
            team, number = self._place(agent)
            arrays = self.arrays[team]
            arrays.reward[self.copy, step, number] = self._finite(paid, "reward", agent)
            arrays.total[self.copy] += float(paid[agent])
            arrays.terminated[self.copy, step, number] = bool(terminated.get(agent, False))
        self.steps += 1
        self._observe([*there, *(agent for agent in left if agent not in there)], seen)
        return bool(left) and self.steps < self.world.horizon

    def _observe(self, agents: Sequence, seen: dict) -> None:
        for agent in agents:
            team, number = self._place(agent)
            row = self.arrays[team].observation[self.copy, self.steps, number]
            row[:] = self._finite(seen, "observation", agent)

    def _place(self, agent) -> tuple[int, int]:
        if str(agent) not in self._places:
            raise LareError(
                f"pettingzoo: {self.world.name} has the agent {str(agent)!r}, which is not among its possible_agents; "
                "correct the environment"
            )
        return self._places[str(agent)]

    def _finite(self, values: dict, what: str, agent) -> np.ndarray:
        value = values.get(agent)
        try:
            stored = np.asarray(value, np.float32)
        except (TypeError, ValueError):
            stored = np.array(np.nan, np.float32)
        if not np.isfinite(stored).all():
            raise LareError(
                f"{what}: {self.world.name} gave {value!r} to {agent} at step {self.steps} {self._where}; every {what} "
                "of an agent that is there must be a finite number, so correct the environment"
            )
        return stored
