"""Whole episodes of an environment on the host, several copies side by side, one compiled choice per step."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from latent_reward.envs.pettingzoo import HostWorld, ParallelEnv
from latent_reward.errors import LareError

Choose = Callable[[int, tuple[np.ndarray, ...]], Sequence[tuple[np.ndarray, np.ndarray]]]
"""Number of the step and each team's observations ``[copy, agent, observation]`` to actions and log-probabilities."""


class Book(NamedTuple):
    """What a team goes through, time first: the arrays of a ``Rollout``, filled in as the episodes go."""

    observation: np.ndarray
    action: np.ndarray
    log_probability: np.ndarray
    reward: np.ndarray
    mask: np.ndarray
    cut: np.ndarray


def collect(
    world: HostWorld, envs: Sequence[ParallelEnv], seeds: Sequence[int], choose: Choose
) -> tuple[Book, ...]:
    """Play one episode in each copy, reset by its seed, and note what every team goes through.

    An agent is there (``mask``) at a step if the environment lists it before that step; whatever is said of
    it otherwise is not noted. ``cut`` marks its last step if it was not terminated there.

    Raises:
        LareError: an environment breaks its interface, or a number is not finite.
    """
    books = tuple(_blank(world, team, len(envs)) for team in range(len(world.teams)))
    diaries = [_Diary(world, env, copy, books) for copy, env in enumerate(envs)]
    running = [diary.begin(seed) for diary, seed in zip(diaries, seeds, strict=True)]
    for step in range(world.horizon):
        if not any(running):
            break
        chosen = choose(step, tuple(book.observation[step] for book in books))
        for book, (action, log_probability) in zip(books, chosen, strict=True):
            book.action[step], book.log_probability[step] = action, log_probability
        running = [goes_on and diary.step(step) for diary, goes_on in zip(diaries, running, strict=True)]
    return books


def _blank(world: HostWorld, team: int, copies: int) -> Book:
    size = world.teams[team].observation_size
    shape = (world.horizon, copies, world.teams[team].agents)
    return Book(
        np.zeros((world.horizon + 1, *shape[1:], size), np.float32),
        np.zeros(shape, np.int32),
        np.zeros(shape, np.float32),
        np.zeros(shape, np.float32),
        np.zeros(shape, bool),
        np.zeros(shape, bool),
    )


class _Diary:
    """One copy and where its agents stand in the books."""

    def __init__(self, world: HostWorld, env: ParallelEnv, copy: int, books: tuple[Book, ...]):
        self.world, self.env, self.copy, self.books = world, env, copy, books
        self.places = world.places

    def begin(self, seed: int) -> bool:
        """Reset the copy; says whether anybody is there."""
        seen, _ = self.env.reset(seed=seed)
        self._see(0, self.env.agents, seen)
        return bool(self.env.agents)

    def step(self, step: int) -> bool:
        """Take the noted actions of all who are there; says whether anybody is left."""
        there = list(self.env.agents)
        actions = {}
        for agent in there:
            team, number = self._place(agent)
            self.books[team].mask[step, self.copy, number] = True
            action = int(self.books[team].action[step, self.copy, number])
            actions[agent] = action + self.world.first_action[team]
        seen, paid, terminated, truncated, _ = self.env.step(actions)
        left = list(self.env.agents)
        for agent in there:
            team, number = self._place(agent)
            here = (step, self.copy, number)
            self.books[team].reward[here] = self._finite(paid, "reward", agent, step)
            over = terminated.get(agent, False) or truncated.get(agent, False) or agent not in left
            at_the_end = over or step + 1 == self.world.horizon
            self.books[team].cut[here] = at_the_end and not terminated.get(agent, False)
        self._see(step + 1, [*there, *(agent for agent in left if agent not in there)], seen)
        return bool(left)

    def _see(self, step: int, agents: Sequence, seen: dict) -> None:
        for agent in agents:
            team, number = self._place(agent)
            row = self.books[team].observation[step, self.copy, number]
            row[:] = self._finite(seen, "observation", agent, step)

    def _place(self, agent) -> tuple[int, int]:
        try:
            return self.places[str(agent)]
        except KeyError:
            raise LareError(
                f"pettingzoo: {self.world.name} has the agent {str(agent)!r}, which is not among its possible_agents; "
                "mend the environment"
            ) from None

    def _finite(self, values: dict, what: str, agent, step: int) -> np.ndarray:
        value = values.get(agent)
        try:
            stored = np.asarray(value, np.float32)
        except (TypeError, ValueError):
            stored = np.array(np.nan, np.float32)
        if not np.isfinite(stored).all():
            raise LareError(
                f"{what}: {self.world.name} gave {value!r} to {agent} at step {step} of an episode; every {what} of "
                "an agent that is there must be a finite number, so mend the environment"
            )
        return stored
