"""The same as :mod:`latent_reward.design.episodes` for one team of a PettingZoo environment, one episode at a time."""

import threading
import time

import numpy as np

from latent_reward.design.episodes import Episodes, Plan
from latent_reward.design.world_episodes import BEHAVIOURS, episode_actions
from latent_reward.envs.pettingzoo import HostWorld, ParallelEnv
from latent_reward.envs.recorder import EpisodeArrays, collect
from latent_reward.errors import LareError


def play(world: HostWorld, place: int, env: ParallelEnv, plan: Plan, stop: threading.Event) -> Episodes:
    """Plays episodes in ``env``, closes it, and returns the rows of the team at ``place``.

    A row is one step of one agent that is there; the return is the sum over the rows of an episode, and its
    length the steps at which anybody of the team is there.

    Raises:
        LareError: the environment breaks its interface, a number is not finite, or nobody of the team acts.
    """
    books: list[EpisodeArrays] = []
    rows, end = 0, time.monotonic() + plan.seconds
    try:
        for number in range(plan.episodes):
            if number and (rows >= plan.steps or time.monotonic() > end or stop.is_set()):
                break
            books.append(_episode(world, env, plan.seed, number)[place])
            rows += int(books[-1].mask.sum())
    finally:
        if callable(getattr(env, "close", None)):
            env.close()
    if not rows:
        raise LareError(
            f"pettingzoo: nobody of the team {world.teams[place].name} acts in {len(books)} episodes of "
            f"{world.name}; mend the environment or the team's members"
        )
    masks = [book.mask[:, 0] for book in books]
    return Episodes(
        np.concatenate([book.observation[:-1, 0][mask] for book, mask in zip(books, masks, strict=True)]),
        np.eye(world.actions, dtype=np.float32)[
            np.concatenate([book.action[:, 0][mask] for book, mask in zip(books, masks, strict=True)])
        ],
        np.concatenate([book.observation[1:, 0][mask] for book, mask in zip(books, masks, strict=True)]),
        np.repeat(np.arange(len(books)), [int(mask.sum()) for mask in masks]),
        np.array([book.reward.sum(dtype=np.float64) for book in books]),
        np.array([int(mask.any(axis=1).sum()) for mask in masks]),
        tuple(BEHAVIOURS[number % len(BEHAVIOURS)] for number in range(len(books))),
    )


def _episode(world: HostWorld, env: ParallelEnv, seed: int, number: int) -> tuple[EpisodeArrays, ...]:
    """What every team goes through in one episode, which its number and the seed determine."""
    chosen = episode_actions(world, seed, number)
    ends = np.cumsum([team.agents for team in world.teams])[:-1]

    def choose(step: int, observations: tuple[np.ndarray, ...]) -> list[tuple[np.ndarray, np.ndarray]]:
        parts = np.split(chosen[step][None], ends, axis=1)
        return [(actions, np.zeros(actions.shape, np.float32)) for actions in parts]

    reset = int(np.random.default_rng([seed, number, 1]).integers(2**31))
    return collect(world, [env], [reset], choose)
