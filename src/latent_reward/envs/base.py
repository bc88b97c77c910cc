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
    """Learned agents that see alike and share one return."""

    name: str  # what its members are called, in the plural
    agents: int  # how many they are
    observation_size: int  # length of each one's observation
    actions: ActionSpace  # what each of them can do


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
    """

    name: str  # under which ``find_world`` finds it
    teams: tuple[Team, ...]
    reset: Callable[[Key], State]
    observe: Callable[[State], tuple[Float[Array, "agent observation"], ...]]  # one for each team
    step: Callable[[State, Num[Array, "agent *action"], Key], Outcome]  # with the actions of all agents
    render: Callable[[State], np.ndarray]  # of a state on the host, [height, width, 3]
    horizon: int = 25  # steps of an episode, if none terminates before
    available: Callable[[State], Bool[Array, "agent action"]] | None = None  # to each agent; None: always all
    alive: Callable[[State], Bool[Array, " agent"]] | None = None  # who still acts; None: always all
    won: Callable[[State], Bool[Array, ""]] | None = None  # by the end; None: nothing is won here

    def __post_init__(self):
        """Raise if a team has no agents."""
        if not self.teams or min(team.agents for team in self.teams) < 1:
            raise LareError(
                f"teams: the world {self.name} has an empty team; give every team at least one agent"
            )


@dataclass(frozen=True, eq=False)
class HostWorld:
    """Copies of a Python environment with the interface of PettingZoo's parallel environments, hashed by identity."""

    name: str  # what the task calls the environment
    teams: tuple[Team, ...]
    members: tuple[tuple[str, ...], ...]  # the environment's own names of each team's agents
    first_action: tuple[int, ...]  # what it calls the first action of each team, where actions are discrete
    make: Callable[[str | None], ParallelEnv]  # a fresh copy, for a render mode or None
    horizon: int  # steps after which an episode is cut


Environment = World | HostWorld


def members(world: Environment) -> tuple[slice, ...]:
    """Where each team stands on an axis of all agents."""
    ends = np.cumsum([0, *(team.agents for team in world.teams)]).tolist()
    return tuple(slice(begin, end) for begin, end in pairwise(ends))
