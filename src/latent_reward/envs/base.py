"""What a compiled world of many agents is: a few pure functions of its state."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Array, Bool, Float, Int

from latent_reward.errors import LareError
from latent_reward.types import Key

State = Any  # a pytree of arrays, of one world


@dataclass(frozen=True)
class Team:
    """Learned agents that see alike and share one return.

    Attributes:
        name: what its members are called, in the plural.
        agents: how many they are.
        observation_size: length of each one's observation.
    """

    name: str
    agents: int
    observation_size: int


class Outcome(NamedTuple):
    """What a step leads to; each agent of every team has a reward of its own."""

    state: State
    reward: Float[Array, " agent"]
    terminated: Bool[Array, ""]


@dataclass(frozen=True, eq=False)
class World:
    """One kind of world, static under ``jax.jit``; two of them are equal if they are the same object.

    All functions are of one world and pure; who wants many maps them with ``jax.vmap``. The agent axis is
    that of all teams in their order.

    Attributes:
        name: under which ``find_world`` finds it.
        teams: the learned agents.
        reset: key to state.
        observe: state to one array ``[agent, observation]`` per team.
        step: (state, action of every agent, key) to outcome.
        render: state, on the host, to a frame ``[height, width, 3]``.
        actions: how many actions there are.
        horizon: steps of an episode, if none terminates before.
        available: state to the actions that each agent may choose from (None: always all).
        alive: state to the agents that still act (None: always all).
        won: state at the end of an episode to whether the team has won (None: nothing is won here).
    """

    name: str
    teams: tuple[Team, ...]
    reset: Callable[[Key], State]
    observe: Callable[[State], tuple[Float[Array, "agent observation"], ...]]
    step: Callable[[State, Int[Array, " agent"], Key], Outcome]
    render: Callable[[State], np.ndarray]
    actions: int = 5
    horizon: int = 25
    available: Callable[[State], Bool[Array, "agent action"]] | None = None
    alive: Callable[[State], Bool[Array, " agent"]] | None = None
    won: Callable[[State], Bool[Array, ""]] | None = None

    def __post_init__(self):
        """Refuses a world in which nobody learns."""
        if not self.teams or min(team.agents for team in self.teams) < 1:
            raise LareError(
                f"teams: the world {self.name} has no learned agents; give every team at least one"
            )

    @property
    def agents(self) -> int:
        """Learned agents of all teams."""
        return sum(team.agents for team in self.teams)
