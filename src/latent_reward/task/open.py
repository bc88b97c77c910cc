"""Open the environment of a task: of one agent in Gymnasium, of teams in a compiled world or in PettingZoo."""

from collections.abc import Iterator
from typing import Any

import gymnasium
import numpy as np

from latent_reward.envs.base import Environment, HostWorld, Team, World
from latent_reward.envs.gym import open_env
from latent_reward.envs.pettingzoo import host_world
from latent_reward.envs.single import single_world
from latent_reward.envs.worlds import find_world
from latent_reward.errors import LareError, shown
from latent_reward.task.bare import BareTask
from latent_reward.task.load import Location, field_name
from latent_reward.task.task import AnyTask, Task, TeamTask


def make_env(task: Task, *, render_mode: str | None = None) -> gymnasium.Env[np.ndarray, np.ndarray]:
    """Create the environment of ``task`` with its time limit; TaskError as :func:`.open_env` raises it."""
    if not isinstance(task, Task):
        raise LareError(f"task: {shown(task)} is no task of one agent; give what lr.load_task returns")
    return open_env(
        task.env_id, max_episode_steps=task.max_steps, render_mode=render_mode, env_kwargs=task.env_kwargs
    )


def open_environment(task: AnyTask | BareTask, given: Any = None) -> Environment:
    """The environment of ``task``, of whatever kind; LareError if there is none or the task does not fit it.

    ``given`` is that of a bare task that was made from an object or a function.
    """
    if isinstance(task, BareTask):
        return task.open(given)
    if given is not None:
        raise LareError(f"env: the task {task.name} opens its own environment; leave env out")
    if isinstance(task, Task):
        make = lambda mode: make_env(task, render_mode=mode)  # noqa: E731
        world = single_world(task.env_id, make, task.max_steps)
    else:
        world = open_world(task)
        for place, message, remedy in team_mismatches(task, world):
            raise LareError(f"task: {field_name(place)}: {message}; {remedy}")
    for description, team in zip(task.descriptions, world.teams, strict=True):
        require_fit(description, team)
    return world


def require_fit(task: Task, team: Team) -> None:
    """Raise LareError, with the sizes of both, if the fields of a task are not those of an agent of ``team``."""
    described, found = (task.observation_size, task.action_size), (team.observation_size, team.actions.size)
    if described != found:
        raise LareError(
            f"task: {task.name} describes {described[0]} observations and {described[1]} actions, its environment "
            f"has {found[0]} and {found[1]}; run `lare check` on the task file"
        )


def team_mismatches(task: TeamTask, world: Environment) -> Iterator[tuple[Location, str, str]]:
    """Where the teams of ``task`` are not those of ``world``: the place in the task, what is wrong, the remedy."""
    if task.max_steps != world.horizon:
        message = f"{task.max_steps} steps, but an episode of {world.name} has {world.horizon}"
        yield ("max_steps",), message, f"write {world.horizon}"
    if [team.name for team in task.teams] != [team.name for team in world.teams]:
        names = ", ".join(team.name for team in world.teams)
        yield ("teams",), f"the teams of {world.name} are {names}", "describe these, in this order"
        return
    for index, (team, real) in enumerate(zip(task.teams, world.teams, strict=True)):
        if team.agents != real.agents:
            message = f"{team.agents}, but {world.name} has {real.agents} {real.name}"
            yield ("teams", index, "agents"), message, f"write {real.agents}"


def open_world(task: TeamTask) -> World | HostWorld:
    """The compiled world, or the PettingZoo environment on the host, in which the teams of ``task`` act.

    TaskError if there is none of that name, or its agents do not fit the teams.
    """
    if task.world:
        return find_world(task.world)
    groups = {team.name: team.members for team in task.teams}
    return host_world(task.pettingzoo, task.env_kwargs, groups, task.max_steps)
