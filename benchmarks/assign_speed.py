"""How long ``lr.assign`` takes for recorded episodes, and how right its rewards are.

    python benchmarks/assign_speed.py --methods lare linear gp --save episodes.npz

Records ``--episodes`` of HalfCheetah-v5 by random linear policies with random noise, from standing still to crawling,
and prints for each method the seconds of ``lr.assign``, compiling included, and the correlation of its rewards with
the true ones over all steps. ``--save`` writes the episodes as ``lare credit`` reads them.
"""

import argparse
import time
from pathlib import Path

import gymnasium
import numpy as np

import latent_reward as lr

TASK = "HalfCheetah-v5"


def record(count: int) -> list[lr.Episode]:
    """Episodes of random linear policies with random noise."""
    env, random, episodes = gymnasium.make(TASK), np.random.default_rng(0), []
    size, width = env.observation_space.shape[0], env.action_space.shape[0]
    for number in range(count):
        gains = random.normal(size=(width, size)) * random.uniform(0.0, 1.0)
        noise = random.uniform(0.0, 1.0)
        seen, acted, paid, over = [env.reset(seed=number)[0]], [], [], False
        while not over:
            action = np.clip(np.tanh(gains @ seen[-1]) + noise * random.normal(size=width), -1.0, 1.0)
            observation, reward, terminated, truncated, _ = env.step(action)
            seen.append(observation)
            acted.append(action)
            paid.append(reward)
            over = terminated or truncated
        rewards = np.array(paid)
        episodes.append(
            lr.Episode(
                np.array(seen), np.array(acted), float(rewards.sum()), terminated=False, rewards=rewards
            )
        )
    return episodes


def save(episodes: list[lr.Episode], path: Path) -> None:
    """Write the episodes as one archive."""
    np.savez(
        path,
        observation=np.concatenate([each.observations for each in episodes]),
        action=np.concatenate([each.actions for each in episodes]),
        reward=np.concatenate([each.rewards for each in episodes]),
        length=[len(each) for each in episodes],
        **{"return": [each.ret for each in episodes]},
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--episodes", type=int, default=200)
    parser.add_argument("--methods", nargs="+", default=["lare", "linear", "gp"])
    parser.add_argument("--save", type=Path)
    arguments = parser.parse_args()
    recorded = record(arguments.episodes)
    if arguments.save:
        save(recorded, arguments.save)
    truth = np.concatenate([each.rewards for each in recorded])
    for method in arguments.methods:
        began = time.perf_counter()
        rewards = lr.assign(recorded, task=TASK, method=method)
        seconds = time.perf_counter() - began
        correlation = np.corrcoef(np.concatenate(rewards), truth)[0, 1]
        print(
            f"{method:14} {seconds:6.1f} s   correlation with the true rewards {correlation:.3f}", flush=True
        )
