"""Recorded episodes whose rewards are known functions of the step, for tests of credit without an agent."""

import numpy as np

import latent_reward as lr


def pay(after, action):
    """The reward of a step: linear in o′ and a, so that a linear decoder can find it."""
    return 2.0 * after[..., 0] - 0.5 * after[..., 1] + action[..., 0]


def episodes(count, *, steps=20, agents=0, discrete=False, rewards=True, seed=0, vary=0, noise=None):
    """Episodes with 3 observations and 2 actions; ``vary`` more steps at most, and a shift of each episode."""
    random = np.random.default_rng(seed)
    team = (agents,) if agents else ()
    found = []
    for _ in range(count):
        length = steps + (int(random.integers(vary + 1)) if vary else 0)
        seen = random.normal(size=(length + 1, *team, 3)) + random.normal(size=3)
        if discrete:
            action = random.integers(2, size=(length, *team))
            acted = np.eye(2)[action]
        else:
            action = acted = random.normal(size=(length, *team, 2))
        paid = pay(seen[1:], acted)
        total = paid.sum() if noise is None else noise(random, length)
        found.append(lr.Episode(seen, action, total, False, paid if rewards else None))
    return found


def encoder():
    """Latents that carry the reward, and one that does not."""
    import jax.numpy as jnp

    def latents(observation, action, after):
        return jnp.concatenate([after[:, :2], action[:, :1], jnp.sin(observation[:, 2:])], axis=-1)

    return lr.encoder_from_function(latents, ["x", "y", "push", "noise"])
