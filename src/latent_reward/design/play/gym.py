"""Play episodes of one agent in a Gymnasium environment."""

import threading
from collections.abc import Callable

import gymnasium
import numpy as np

from latent_reward.design.behaviour import behaviour
from latent_reward.design.episodes import Episodes, Played, Recording, record_episodes
from latent_reward.errors import LareError
from latent_reward.task.open import make_env
from latent_reward.task.task import Task


def prepare(task: Task, recording: Recording) -> Callable[[threading.Event], Episodes]:
    """Create the environment, and return the function that plays its episodes and closes it.

    Raises:
        LareError: the environment cannot be created or does not fit the task.
    """
    env = make_env(task)
    for part, space, size in (
        ("observation", env.observation_space, task.observation_size),
        ("action", env.action_space, task.action_size),
    ):
        if space.shape != (size,):
            env.close()
            raise LareError(
                f"{part}: {task.env_id} has {space.shape}, the fields of {task.name} describe {size}; "
                "run `lare check` on the task file"
            )

    def play(stop: threading.Event) -> Episodes:
        try:
            return record_episodes(lambda n: _episode(env, task, recording.seed, n), recording, stop)
        finally:
            env.close()

    return play


def _episode(env: gymnasium.Env[np.ndarray, np.ndarray], task: Task, seed: int, number: int) -> Played:
    generator = np.random.default_rng([seed, number])
    name, policy = behaviour(number, env.action_space, task.observation_size, generator)
    observation, _ = env.reset(seed=int(generator.integers(2**31)))
    steps, total, over = [], 0.0, False
    while not over:
        action = policy(observation)
        following, reward, terminated, truncated, _ = env.step(action)
        steps.append((observation, action, following))
        total += float(reward)
        observation, over = following, terminated or truncated
    if not np.isfinite(total):
        raise LareError(f"env: an episode of {task.env_id} has the return {total}; correct the environment")
    before, actions, after = (np.asarray(part, np.float32) for part in zip(*steps, strict=True))
    if not (np.isfinite(before).all() and np.isfinite(after).all()):
        raise LareError(f"env: {task.env_id} gave an observation that is not finite; correct the environment")
    return Played(before, actions, after, total, len(steps), name)
