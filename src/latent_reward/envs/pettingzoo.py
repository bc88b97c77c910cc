"""Teams in any parallel environment of PettingZoo, on the host.

PettingZoo itself is not imported: an environment depends on it, or implements its interface by hand.
"""

import importlib
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, NamedTuple, cast

import gymnasium
import numpy as np

from latent_reward.data.spaces import Discrete
from latent_reward.envs.base import HostWorld, ParallelEnv, Team, close
from latent_reward.envs.named import require_maker, require_named
from latent_reward.envs.spaces import described, mask_problem, parts_of
from latent_reward.errors import ANY_FAILURE, TaskError, named, one_line

_KEY = "pettingzoo"


Make = Callable[[str | None], ParallelEnv]
"""Makes a copy of an environment, for a render mode or None."""


def host_world(
    name: str, kwargs: Mapping[str, Any], groups: Mapping[str, Sequence[str]], horizon: int
) -> HostWorld:
    """The world of an environment that is known by its name; see :func:`world_of`.

    Args:
        name: ``package.module``, which has a ``parallel_env``, or ``module:function``.
        kwargs: arguments of that function.
        groups: names or patterns of each team's agents.
        horizon: steps after which an episode is cut.
    """
    return world_of(name, find_maker(name, kwargs), groups, horizon)


def world_of(name: str, make: Make, groups: Mapping[str, Sequence[str]], horizon: int) -> HostWorld:
    """The world of an environment whose agents are grouped into teams; TaskError says what does not fit.

    Args:
        name: what the environment is called in messages.
        make: makes a copy of it.
        groups: names of each team's agents, or patterns such as ``adversary_*``. A lone team may give none: it has all
            agents.
        horizon: steps after which an episode is cut.
    """
    with opened(name, make) as env:
        members = _share_out(name, [str(each) for each in env.possible_agents], groups)
        spaces = [[_spaces(name, env, each) for each in agents] for agents in members]
    for team, agents, each in zip(groups, members, spaces, strict=True):
        _require_one_start(name, team, agents, each)
    sizes = tuple(tuple(each.box.shape[0] for each in team) for team in spaces)
    counts = tuple(tuple(int(each.discrete.n) for each in team) for team in spaces)
    teams = tuple(
        Team(
            team,
            len(each),
            max(size),
            Discrete(max(count)),
            len(set(count)) > 1 or any(one.masked for one in each),
        )
        for team, each, size, count in zip(groups, spaces, sizes, counts, strict=True)
    )
    first = tuple(int(team[0].discrete.start) for team in spaces)
    return HostWorld(name, teams, members, first, make, horizon, sizes, counts)


@dataclass(frozen=True)
class Kind:
    """Agents that could be a team, whose ``name`` is what their names have in common.

    ``members`` are their names, or one pattern that fits them and nobody else. ``low`` and ``high`` bound each index of
    their observations; each of them has ``actions`` actions.
    """

    name: str
    members: tuple[str, ...]
    agents: int
    low: np.ndarray
    high: np.ndarray
    actions: int


def find_kinds(name: str, env: ParallelEnv) -> tuple[Kind, ...]:
    """The agents of ``env``, grouped by their spaces and by the part of their names before the number.

    TaskError if an observation or an action cannot be used.
    """
    everybody = [str(each) for each in env.possible_agents]
    alike: dict[tuple, list[str]] = {}
    spaces: dict[str, Spaces] = {}
    for agent in everybody:
        box, discrete, _ = spaces[agent] = _spaces(name, env, agent)
        numbered = re.fullmatch(r"(.*?)\d+", agent)
        key = (numbered[1] if numbered else "", box.shape, int(discrete.n), int(discrete.start))
        alike.setdefault(key, []).append(agent)
    kinds: dict[str, Kind] = {}
    for (stem, _, actions, _), members in alike.items():
        called = _team_name(stem, kinds)
        boxes = [spaces[each].box for each in members]
        pattern = f"{stem}*"
        only = [each for each in everybody if fnmatchcase(each, pattern)] == members
        kinds[called] = Kind(
            name=called,
            members=(pattern,) if stem and only else tuple(members),
            agents=len(members),
            low=np.min([box.low for box in boxes], axis=0),
            high=np.max([box.high for box in boxes], axis=0),
            actions=actions,
        )
    return tuple(kinds.values())


def time_limit(env: ParallelEnv) -> int | None:
    """Steps after which ``env`` itself cuts an episode, if it has an attribute ``max_cycles``."""
    limit = getattr(getattr(env, "unwrapped", env), "max_cycles", None)
    return limit if isinstance(limit, int) and limit > 0 else None


@contextmanager
def opened(name: str, make: Make) -> Iterator[ParallelEnv]:
    """A copy of an environment, checked to be a parallel one with agents, and closed at the end.

    TaskError if it cannot be made, or it is not a parallel one.
    """
    env = make(None)
    try:
        _check_parallel(name, env)
        yield env
    finally:
        close(env)


def find_maker(name: str, kwargs: Mapping[str, Any]) -> Make:
    """What makes copies of the environment called ``name``.

    TaskError if there is none, nobody named its module, what is called makes no environment, or when that fails.
    """
    module_name, function = require_named(_KEY, name), name.partition(":")[2]
    try:
        module = importlib.import_module(module_name)
    except (ImportError, TypeError, ValueError) as error:
        message = f"{module_name!r} cannot be imported ({one_line(error)})"
        raise TaskError(
            _KEY, message, "install it, or run the command in the folder that holds it"
        ) from error
    except ANY_FAILURE as error:  # a stranger's code may fail in any way
        message = f"{module_name!r} fails with {type(error).__name__} on import ({one_line(error)})"
        raise TaskError(_KEY, message, "fix the module") from error
    build = getattr(module, function or "parallel_env", None)
    if not callable(build):
        if not function and callable(getattr(module, "env", None)):
            remedy = "its agents take turns, which cannot be trained; choose a parallel environment"
            raise TaskError(_KEY, f"{name} has an AEC environment and no parallel_env", remedy)
        remedy = "write `module:function`, naming the function that makes the environment"
        raise TaskError(_KEY, f"{module_name} has no function {function or 'parallel_env'!r}", remedy)
    require_maker(_KEY, name, build)

    def make(mode: str | None) -> ParallelEnv:
        if mode is not None:
            return build(**kwargs, render_mode=mode)
        try:
            return build(**kwargs)
        except (TypeError, AssertionError, ValueError) as error:
            message = f"{name} refuses {dict(kwargs)} ({one_line(error)})"
            raise TaskError("env_kwargs", message, "correct the arguments") from error
        except ANY_FAILURE as error:  # a stranger's code may fail in any way
            message = f"{name} fails with {type(error).__name__} ({one_line(error)})"
            raise TaskError(_KEY, message, "fix the function that makes the environment") from error

    return make


def _check_parallel(name: str, env: ParallelEnv) -> None:
    if hasattr(env, "agent_iter"):
        remedy = "name its parallel_env, or wrap it with pettingzoo.utils.conversions.aec_to_parallel"
        raise TaskError(_KEY, f"{name} is an AEC environment, whose agents take turns", remedy)
    wanted = ("possible_agents", "reset", "step", "observation_space", "action_space")
    missing = [each for each in wanted if not hasattr(env, each)]
    if missing:
        remedy = "name a function that makes a PettingZoo parallel environment"
        raise TaskError(_KEY, f"what {name} makes has no {', '.join(missing)}", remedy)
    try:
        names = [str(each) for each in env.possible_agents]
    except ANY_FAILURE as error:  # a stranger's code may fail in any way
        raise TaskError(_KEY, f"possible_agents of {name} raised {named(error)}", "make it a list") from error
    if not names:
        raise TaskError(_KEY, f"{name} has no agents", "choose an environment with at least one")
    if len(set(names)) < len(names):
        message = f"two agents of {name} have the same name among {', '.join(names)}"
        raise TaskError(_KEY, message, "name every agent once in possible_agents")


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


class Spaces(NamedTuple):
    """What an agent sees and does, and whether a mask lies beside its observation."""

    box: gymnasium.spaces.Box
    discrete: gymnasium.spaces.Discrete
    masked: bool


def _spaces(name: str, env: ParallelEnv, agent: str) -> Spaces:
    """The spaces of an agent; raise unless they are a vector, perhaps with a mask, and a discrete choice."""
    key = next(each for each in env.possible_agents if str(each) == agent)
    whole, discrete = (_space(name, env, part, key) for part in ("observation_space", "action_space"))
    box, mask = parts_of(whole)
    if not isinstance(box, gymnasium.spaces.Box) or len(box.shape) != 1:
        message = f"the observation of {agent} in {name} is a {described(box)}; only a Box with one axis can be used"
        remedy = "wrap the environment so that observations are flat vectors"
        if isinstance(box, gymnasium.spaces.Dict):
            remedy += ", alone or as 'observation' beside an 'action_mask'"
        raise TaskError(_KEY, message, remedy)
    if not isinstance(discrete, gymnasium.spaces.Discrete):
        message = f"the action of {agent} in {name} is a {type(discrete).__name__}; teams choose among a few"
        remedy = "discretise it: wrap the environment so that each action is one of a few vectors"
        raise TaskError(_KEY, message, remedy)
    problem = mask_problem(mask, discrete)
    if problem:
        raise TaskError(
            _KEY, f"{agent} in {name} {problem}", "give the mask one entry for each of its actions"
        )
    return Spaces(box, discrete, mask is not None)


def _space(name: str, env: ParallelEnv, part: str, key: Any) -> gymnasium.Space:
    function = getattr(env, part)
    if not callable(function):
        message = f"{part} of {name} is a {type(function).__name__}, not a function of the agent"
        raise TaskError(_KEY, message, f"write `def {part}(self, agent)`, which returns the agent's space")
    try:
        return cast(gymnasium.Space, function(key))
    except ANY_FAILURE as error:  # a stranger's code may fail in any way
        raise TaskError(_KEY, f"{part} of {name} raised {named(error)}", "fix the environment") from error


def _require_one_start(name: str, team: str, agents: Sequence[str], spaces: Sequence[Spaces]) -> None:
    """Raise unless the actions of a team are counted from the same number."""
    for agent, each in zip(agents, spaces, strict=True):
        starts = int(spaces[0].discrete.start), int(each.discrete.start)
        if starts[0] != starts[1]:
            pair = f"{agents[0]} and {agent} of the team {team} in {name}"
            message = f"{pair} count their actions from {starts[0]} and {starts[1]}"
            raise TaskError("teams", message, "put agents that count alike in a team")


def _team_name(stem: str, taken: Collection[str]) -> str:
    """A name for a team whose agents are called ``stem`` and a number."""
    plain = re.sub(r"[^a-z0-9_-]+", "-", stem.lower()).strip("-_") or "agents"
    plain = plain if plain[0].isalpha() else f"team-{plain}"
    names = (plain, *(f"{plain}-{count}" for count in range(2, len(taken) + 2)))
    return next(each for each in names if each not in taken)
