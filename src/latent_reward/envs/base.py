"""The two kinds of environment: a compiled world of teams, and a Python environment on the host.

One agent is a team of one. A :class:`World` is a few pure functions that compile together with the agents that learn
in it. A :class:`HostWorld` makes copies of a Python environment with PettingZoo's parallel interface. Training,
evaluation and video accept either.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Array, Bool, Float, Num

from latent_reward.data.spaces import ActionSpace, Discrete
from latent_reward.errors import LareError, shown
from latent_reward.types import Key

State = Any  # a pytree of arrays, of one world
ParallelEnv = Any  # PettingZoo's parallel interface; PettingZoo itself is not needed


@dataclass(frozen=True)
class Team:
    """Learning agents with one shared return, and networks that fit the widest observation and the most actions."""

    name: str  # what its members are called, in the plural
    agents: int  # how many they are
    observation_size: int  # length of each one's observation
    actions: ActionSpace  # what each of them can do
    masked: bool = False  # whether it is declared that an agent cannot always choose every action
    idle: int | tuple[float, ...] | None = None  # the action that does nothing, always available; None: none

    def __post_init__(self):
        """Raise if ``idle`` is not one of the actions."""
        idle, actions = self.idle, self.actions
        if isinstance(actions, Discrete):
            possible = idle is None or (isinstance(idle, int) and 0 <= idle < actions.size)
            wanted = f"a whole number from 0 to {actions.size - 1}"
        else:
            fits = isinstance(idle, tuple) and len(idle) == actions.size
            possible = idle is None or (fits and all(np.clip(idle, actions.low, actions.high) == idle))
            wanted = f"{actions.size} numbers within the bounds of the actions"
        if not possible:
            raise LareError(f"idle: {shown(idle)} is no action of the {self.name}; give {wanted}")


class Outcome(NamedTuple):
    """The result of a step; each agent of every team has a reward of its own."""

    state: State
    reward: Float[Array, " agent"]  # also of those who are not alive: give them 0 unless they are paid
    terminated: Bool[Array, ""]


@dataclass(frozen=True, eq=False)
class World:
    """A compiled environment, static under ``jax.jit``; two of them are equal if they are the same object.

    All functions are pure and act on one copy of the world; map them with ``jax.vmap`` for many. The agent axis holds
    the agents of all teams, in the order of the teams.
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
        """Raise if there is no team, or one without agents."""
        if not self.teams or min(team.agents for team in self.teams) < 1:
            what = "a team without agents" if self.teams else "no team"
            raise LareError(f"teams: the world {self.name} has {what}; give it teams of at least one agent")


@dataclass(frozen=True, eq=False)
class HostWorld:
    """Copies of a Python environment with the interface of PettingZoo's parallel environments, hashed by identity."""

    name: str  # what the task calls the environment
    teams: tuple[Team, ...]
    members: tuple[tuple[str, ...], ...]  # the environment's own names of each team's agents
    first_action: tuple[int, ...]  # what it calls the first action of each team, where actions are discrete
    make: Callable[[str | None], ParallelEnv]  # a fresh copy, for a render mode or None
    horizon: int  # steps after which an episode is cut
    observation_sizes: tuple[tuple[int, ...], ...] = ()  # of each member, where they differ within a team
    action_counts: tuple[tuple[int, ...], ...] = ()  # likewise
    noise: tuple[np.ndarray, ...] = ()  # standard deviations, for each team, of what is added to what it sees

    def __post_init__(self):
        """Spell out what every member sees and does; by default it is what the team says."""
        if not self.observation_sizes:
            sizes = tuple((team.observation_size,) * team.agents for team in self.teams)
            object.__setattr__(self, "observation_sizes", sizes)
        if not self.action_counts:
            counts = tuple((team.actions.size,) * team.agents for team in self.teams)
            object.__setattr__(self, "action_counts", counts)


Environment = World | HostWorld


def members(world: Environment) -> tuple[slice, ...]:
    """The slice of each team on an axis of all agents."""
    ends = np.cumsum([0, *(team.agents for team in world.teams)]).tolist()
    return tuple(slice(begin, end) for begin, end in pairwise(ends))


def close(env: ParallelEnv) -> None:
    """Close an environment; one that fails at that, or cannot be closed, harms nobody any more."""
    with suppress(Exception):
        env.close()
