"""Environments of many agents that run on the host: any parallel environment of PettingZoo.

PettingZoo itself is not needed here: an environment brings it along, or keeps to its interface by hand.
"""

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import gymnasium

from latent_reward.envs.world import Team
from latent_reward.types import TaskError

ParallelEnv = Any
_KEY = "pettingzoo"


@dataclass(frozen=True, eq=False)
class HostWorld:
    """What training has to know of a parallel environment; hashed by identity, as a compiled ``World`` is.

    Attributes:
        name: what the task calls the environment.
        teams: the learned agents.
        members: the environment's own names of each team's agents.
        first_action: what the environment calls the first action of each team.
        make: a fresh copy of the environment; it takes a render mode or None.
        actions: how many actions an agent has.
        horizon: steps after which an episode is cut.
    """

    name: str
    teams: tuple[Team, ...]
    members: tuple[tuple[str, ...], ...]
    first_action: tuple[int, ...]
    make: Callable[[str | None], ParallelEnv]
    actions: int
    horizon: int

    @property
    def agents(self) -> int:
        """Learned agents of all teams."""
        return sum(team.agents for team in self.teams)

    @property
    def places(self) -> dict[str, tuple[int, int]]:
        """Team and number in the team of each of the environment's agents."""
        return {name: (team, i) for team, names in enumerate(self.members) for i, name in enumerate(names)}


def host_world(
    name: str, kwargs: Mapping[str, Any], groups: Mapping[str, Sequence[str]], horizon: int
) -> HostWorld:
    """The world of an environment whose agents are grouped into teams.

    Args:
        name: ``package.module``, which has a ``parallel_env``, or ``module:function``.
        kwargs: arguments of that function.
        groups: names of each team's agents, or patterns such as ``adversary_*``; none: every agent, which
            only a lone team can be.
        horizon: steps after which an episode is cut.

    Raises:
        TaskError: there is no such environment, it is not a parallel one, or its agents do not fit the teams.
    """
    build = _find(name)

    def make(render_mode: str | None = None) -> ParallelEnv:
        return build(**kwargs, **({} if render_mode is None else {"render_mode": render_mode}))

    try:
        env = make()
    except (TypeError, AssertionError, ValueError) as error:
        raise TaskError(
            "env_kwargs", f"{name} refuses {dict(kwargs)} ({error})", "correct the arguments"
        ) from error
    try:
        _check_parallel(name, env)
        members = _share_out(name, [str(each) for each in env.possible_agents], groups)
        teams, first, actions = [], [], set()
        for team, agents in zip(groups, members, strict=True):
            size, discrete = _spaces(name, env, team, agents)
            teams.append(Team(team, len(agents), size))
            first.append(int(discrete.start))
            actions.add(int(discrete.n))
    finally:
        if callable(getattr(env, "close", None)):
            env.close()
    if len(actions) > 1:
        raise TaskError(
            _KEY,
            f"the teams of {name} have {' and '.join(map(str, sorted(actions)))} actions",
            "wrap the environment so that all have as many",
        )
    return HostWorld(name, tuple(teams), members, tuple(first), make, actions.pop(), horizon)


def _find(name: str) -> Callable[..., ParallelEnv]:
    """The function that makes the environment called ``name``."""
    module_name, _, function = name.partition(":")
    try:
        module = importlib.import_module(module_name)
    except (ImportError, TypeError, ValueError) as error:
        raise TaskError(
            _KEY,
            f"{module_name!r} cannot be imported ({error})",
            "install it, or run the command in the folder that holds it",
        ) from error
    made = getattr(module, function or "parallel_env", None)
    if callable(made):
        return made
    if not function and callable(getattr(module, "env", None)):
        raise TaskError(
            _KEY,
            f"{name} has an AEC environment and no parallel_env",
            "its agents take turns, which cannot be trained; choose a parallel environment",
        )
    raise TaskError(
        _KEY,
        f"{module_name} has no function {function or 'parallel_env'!r}",
        "write `module:function`, naming the function that makes the environment",
    )


def _check_parallel(name: str, env: ParallelEnv) -> None:
    if hasattr(env, "agent_iter"):
        raise TaskError(
            _KEY,
            f"{name} is an AEC environment, whose agents take turns",
            "name its parallel_env, or wrap it with pettingzoo.utils.conversions.aec_to_parallel",
        )
    wanted = ("possible_agents", "reset", "step", "observation_space", "action_space")
    missing = [each for each in wanted if not hasattr(env, each)]
    if missing:
        raise TaskError(
            _KEY,
            f"what {name} makes has no {', '.join(missing)}",
            "name a function that makes a PettingZoo parallel environment",
        )
    if not env.possible_agents:
        raise TaskError(_KEY, f"{name} has no agents", "choose an environment with at least one")


def _share_out(
    name: str, agents: list[str], groups: Mapping[str, Sequence[str]]
) -> tuple[tuple[str, ...], ...]:
    """The agents of each team, in the environment's order; every agent is in exactly one."""
    if len(groups) == 1 and not any(groups.values()):
        return (tuple(agents),)
    owner: dict[str, str] = {}
    for team, patterns in groups.items():
        if not patterns:
            message = f"the team {team} does not say which of the agents are in it"
            raise TaskError("members", message, f"list names or patterns from {', '.join(agents)}")
        for pattern in patterns:
            found = [each for each in agents if fnmatchcase(each, pattern)]
            if not found:
                message = f"no agent of {name} is called {pattern!r}"
                raise TaskError("members", message, f"choose from {', '.join(agents)}")
            for each in found:
                if owner.setdefault(each, team) != team:
                    message = f"{each} is in the teams {owner[each]} and {team}"
                    raise TaskError("members", message, "put every agent in one team")
    left = [each for each in agents if each not in owner]
    if left:
        message = f"{', '.join(left)} of {name} {'is' if len(left) == 1 else 'are'} in no team"
        raise TaskError("members", message, "put every agent in one team")
    return tuple(tuple(each for each in agents if owner[each] == team) for team in groups)


def _spaces(
    name: str, env: ParallelEnv, team: str, agents: Sequence[str]
) -> tuple[int, gymnasium.spaces.Discrete]:
    """Length of an observation, and the actions, which all agents of a team must share."""
    seen = {each: env.observation_space(each) for each in agents}
    acts = {each: env.action_space(each) for each in agents}
    for each in agents:
        box, discrete = seen[each], acts[each]
        if not isinstance(box, gymnasium.spaces.Box) or len(box.shape) != 1:
            kind = type(box).__name__ + (f" of shape {box.shape}" if box.shape else "")
            message = f"the observation of {each} in {name} is a {kind}; only a Box with one axis can be used"
            raise TaskError(_KEY, message, "wrap the environment so that observations are flat vectors")
        if not isinstance(discrete, gymnasium.spaces.Discrete):
            message = (
                f"the action of {each} in {name} is a {type(discrete).__name__}; teams choose among a few"
            )
            remedy = "discretise it: wrap the environment so that each action is one of a few vectors"
            raise TaskError(_KEY, message, remedy)
    first = agents[0]
    for each in agents[1:]:
        if (seen[each].shape, acts[each]) != (seen[first].shape, acts[first]):
            message = (
                f"{first} and {each} of the team {team} differ: observations of {seen[first].shape[0]} and "
                f"{seen[each].shape[0]} numbers, {acts[first].n} and {acts[each].n} actions"
            )
            raise TaskError("teams", message, "put agents that see and act alike in a team")
    return seen[first].shape[0], acts[first]
