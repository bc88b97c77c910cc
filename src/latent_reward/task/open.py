"""Open the environment of a task: of one agent in Gymnasium, of teams in a compiled world or in PettingZoo."""

import gymnasium
import numpy as np

from latent_reward.envs.base import World
from latent_reward.envs.gym import open_env
from latent_reward.envs.pettingzoo import HostWorld, host_world
from latent_reward.envs.worlds import find_world
from latent_reward.task.task import Task, TeamTask


def make_env(task: Task, *, render_mode: str | None = None) -> gymnasium.Env[np.ndarray, np.ndarray]:
    """Create the environment of ``task`` with the task's time limit.

    Raises:
        TaskError: as :func:`~latent_reward.envs.gym.open_env` does.
    """
    return open_env(
        task.env_id, max_episode_steps=task.max_steps, render_mode=render_mode, env_kwargs=task.env_kwargs
    )


def open_world(task: TeamTask) -> World | HostWorld:
    """The compiled world, or the PettingZoo environment on the host, in which the teams of ``task`` act.

    Raises:
        LareError: there is none of that name, or its agents do not fit the teams.
    """
    if task.world:
        return find_world(task.world)
    groups = {team.name: team.members for team in task.teams}
    return host_world(task.pettingzoo, task.env_kwargs, groups, task.max_steps)
