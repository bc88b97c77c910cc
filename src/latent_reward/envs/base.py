"""What an environment is: teams of agents in a world that compiles, or in one that runs on the host.

One agent is a team of one. A :class:`World` is a few pure functions, compiled together with whoever learns in it; a
:class:`HostWorld` makes copies of a Python environment with PettingZoo's parallel interface. Whatever trains, evaluates
or films takes either.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Array, Bool, Float, Num

from latent_reward.data.spaces import ActionSpace
from latent_reward.errors import LareError
from latent_reward.types import Key

State = Any  # a pytree of arrays, of one world
ParallelEnv = Any  # PettingZoo's parallel interface; PettingZoo itself is not needed


@dataclass(frozen=True)
class Team:
    """Learned agents that see alike and share one return.

    Attributes:
        name: what its members are called, in the plural.
        agents: how many they are.
        observation_size: length of each one's observation.
        actions: what each of them can do.
    """

    name: str
    agents: int
    observation_size: int
    actions: ActionSpace


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
        horizon: steps of an episode, if none terminates before.
        available: state to the actions that each agent may choose from (None: always all).
        alive: state to the agents that still act (None: always all).
        won: state at the end of an episode to whether the team has won (None: nothing is won here).
    """

    name: str
    teams: tuple[Team, ...]
    reset: Callable[[Key], State]
    observe: Callable[[State], tuple[Float[Array, "agent observation"], ...]]
    step: Callable[[State, Num[Array, "agent *action"], Key], Outcome]
    render: Callable[[State], np.ndarray]
    horizon: int = 25
    available: Callable[[State], Bool[Array, "agent action"]] | None = None
    alive: Callable[[State], Bool[Array, " agent"]] | None = None
    won: Callable[[State], Bool[Array, ""]] | None = None

    def __post_init__(self):
        """Raise if there is no team, or one without agents."""
        if not self.teams or min(team.agents for team in self.teams) < 1:
            what = "a team without agents" if self.teams else "no team"
            raise LareError(f"teams: the world {self.name} has {what}; give it teams of at least one agent")


@dataclass(frozen=True, eq=False)
class HostWorld:
    """Copies of a Python environment with the interface of PettingZoo's parallel environments, hashed by identity.

    Attributes:
        name: what the task calls the environment.
        teams: the learned agents.
        members: the environment's own names of each team's agents.
        first_action: what the environment calls the first action of each team, where actions are discrete.
        make: a fresh copy of the environment; it takes a render mode or None.
        horizon: steps after which an episode is cut.
    """

    name: str
    teams: tuple[Team, ...]
    members: tuple[tuple[str, ...], ...]
    first_action: tuple[int, ...]
    make: Callable[[str | None], ParallelEnv]
    horizon: int


Environment = World | HostWorld


def members(world: Environment) -> tuple[slice, ...]:
    """Where each team stands on an axis of all agents."""
    ends = np.cumsum([0, *(team.agents for team in world.teams)]).tolist()
    return tuple(slice(begin, end) for begin, end in pairwise(ends))
