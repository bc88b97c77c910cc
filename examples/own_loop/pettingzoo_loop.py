"""A REINFORCE loop of your own on a PettingZoo team that is told one score per episode.

Run `python pettingzoo_loop.py`; it needs mpe2. The three agents share a linear policy.
Each learns from the reward that the team's score assigns to it.
"""

import sys

import numpy as np
from mpe2 import simple_spread_v3

import latent_reward as lr
from latent_reward.adapters.pettingzoo import ParallelCreditWrapper


def main(episodes: int = 200) -> list[float]:
    """Train for so many episodes; returns the true score of each."""
    env = simple_spread_v3.parallel_env(N=3, max_cycles=25)
    name = env.possible_agents[0]
    space, actions = env.observation_space(name), env.action_space(name)
    credit = lr.Credit(
        observation_space=space, action_space=actions, horizon=25, agents=3, method="rrd-unbiased"
    )
    env = ParallelCreditWrapper(env, credit, fit_every=10, updates=50)
    random, weights, scores = np.random.default_rng(0), np.zeros((space.shape[0], int(actions.n))), []
    for episode in range(episodes):
        observations, _ = env.reset(seed=episode)
        slopes, rewards, infos = [], [], {}
        while env.agents:
            seen = np.stack([observations[each] for each in env.possible_agents])
            chances = np.exp(seen @ weights)
            chances /= chances.sum(axis=1, keepdims=True)
            chosen = (random.random((3, 1)) > chances.cumsum(axis=1)).sum(axis=1).clip(max=actions.n - 1)
            slopes.append(seen[:, :, None] * (np.eye(actions.n)[chosen] - chances)[:, None])
            given = {each: int(action) for each, action in zip(env.possible_agents, chosen, strict=True)}
            observations, paid, _, _, infos = env.step(given)
            rewards.append([paid[each] for each in env.possible_agents])  # learned, one for each agent
        scores.append(infos[name]["true_return"])
        to_go = np.cumsum(rewards[::-1], axis=0)[::-1]
        to_go = (to_go - to_go.mean(axis=1, keepdims=True))[
            :, :, None, None
        ]  # compared with the other agents
        weights += 0.01 * (to_go * np.array(slopes)).mean(axis=(0, 1))
    print(f"score of the first and last 50 episodes: {np.mean(scores[:50]):.0f}, {np.mean(scores[-50:]):.0f}")
    print(f"held-out scores explained: {credit.quality['explained_variance']:.2f}")
    return scores


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
