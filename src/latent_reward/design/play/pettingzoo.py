"""Play episodes of one team in a PettingZoo environment, one episode at a time."""

import threading
from collections.abc import Callable

import numpy as np

from latent_reward.design.behaviour import TEAM_BEHAVIOURS, team_actions
from latent_reward.design.episodes import Episodes, Played, Recording, record_episodes
from latent_reward.envs.pettingzoo import HostWorld, ParallelEnv
from latent_reward.envs.recorder import collect
from latent_reward.errors import LareError
from latent_reward.task.check import check_task
from latent_reward.task.open import open_world
from latent_reward.task.task import TeamTask


def prepare(task: TeamTask, place: int, recording: Recording) -> Callable[[threading.Event], Episodes]:
    """Create the environment, and return the function that plays episodes of the team at ``place`` and closes it.

    A row is one step of one agent that is present; the return is the sum over the rows of an episode, and its length
    the number of steps at which any agent of the team is present.

    Raises:
        LareError: the environment does not fit the task. The function it returns raises it if the environment breaks
            its interface, a number is not finite, or no agent of the team acts.
    """
    for finding in check_task(task):
        raise LareError(f"task: {finding}")
    world = open_world(task)
    assert isinstance(world, HostWorld)
    env = world.make(None)

    def play(stop: threading.Event) -> Episodes:
        try:
            episodes = record_episodes(
                lambda n: _episode(world, place, env, recording.seed, n), recording, stop
            )
        finally:
            if callable(getattr(env, "close", None)):
                env.close()
        if not len(episodes.episode):
            raise LareError(
                f"pettingzoo: no agent of the team {world.teams[place].name} acts in {len(episodes.returns)} "
                f"episodes of {world.name}; fix the environment or the team's members"
            )
        return episodes

    return play


def _episode(world: HostWorld, place: int, env: ParallelEnv, seed: int, number: int) -> Played:
    chosen = team_actions(world, seed, number)
    ends = np.cumsum([team.agents for team in world.teams])[:-1]

    def choose(step: int, observations: tuple[np.ndarray, ...]) -> list[tuple[np.ndarray, np.ndarray]]:
        parts = np.split(chosen[step][None], ends, axis=1)
        return [(actions, np.zeros(actions.shape, np.float32)) for actions in parts]

    reset = int(np.random.default_rng([seed, number, 1]).integers(2**31))
    team = collect(world, [env], [reset], choose)[place]
    mask = team.mask[:, 0]
    return Played(
        team.observation[:-1, 0][mask],
        np.eye(world.actions, dtype=np.float32)[team.action[:, 0][mask]],
        team.observation[1:, 0][mask],
        float(team.reward.sum(dtype=np.float64)),
        int(mask.any(axis=1).sum()),
        TEAM_BEHAVIOURS[number % len(TEAM_BEHAVIOURS)],
    )
