"""A REINFORCE loop of your own on CartPole that is told one score per episode; run: python gymnasium_loop.py

The policy learns from the rewards that ``CreditWrapper`` assigns to single steps; the loop itself is as usual.
"""

import sys

import gymnasium
import numpy as np

import latent_reward as lr
from latent_reward.adapters.gymnasium import CreditWrapper


def main(episodes: int = 300) -> list[float]:
    """Train for so many episodes; returns the true score of each."""
    env = gymnasium.make("CartPole-v1", max_episode_steps=200)
    credit = lr.Credit(
        observation_space=env.observation_space,
        action_space=env.action_space,
        horizon=200,
        method="rrd-unbiased",
    )
    env = CreditWrapper(env, credit, fit_every=5, updates=50)
    random, weights, scores = np.random.default_rng(0), np.zeros((4, 2)), []
    for episode in range(episodes):
        observation, _ = env.reset(seed=episode)
        slopes, rewards, over = [], [], False
        while not over:
            chances = np.exp(observation @ weights)
            chances /= chances.sum()
            action = int(random.random() < chances[1])
            slopes.append(np.outer(observation, np.eye(2)[action] - chances))
            observation, reward, terminated, truncated, info = env.step(action)
            rewards.append(reward)  # learned; the true one is in info["true_reward"]
            over = terminated or truncated
        scores.append(info["true_return"])
        to_go = np.cumsum(rewards[::-1])[::-1]
        weights += 0.02 * sum(g * s for g, s in zip(to_go, slopes, strict=True)) / len(to_go)
    print(f"score of the first and last 50 episodes: {np.mean(scores[:50]):.0f}, {np.mean(scores[-50:]):.0f}")
    print(f"held-out scores explained: {credit.quality['explained_variance']:.2f}")
    return scores


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
