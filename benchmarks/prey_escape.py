"""How well do the prey that come with predator–prey escape? Beside prey that stand still, or move at random.

``python benchmarks/prey_escape.py`` lets predators run at their nearest prey, each along the axis on which it is
farther away, and prints catches (steps in contact with a predator, counted for each predator) per prey and episode.
"""

import jax
import jax.numpy as jnp
import numpy as np

from latent_reward.envs.particle.predator_prey import COMPETITIVE_SIGHT, SCALES, competitive_pp
from latent_reward.envs.particle.prey import load_prey

EPISODES = 1000


def chase(observation):
    """The actions of predators that see ``observation``."""
    nearest = 4 + 2 * COMPETITIVE_SIGHT.landmarks + 2 * COMPETITIVE_SIGHT.predators
    x, y = observation[:, nearest], observation[:, nearest + 1]
    return jnp.where(jnp.abs(x) > jnp.abs(y), jnp.where(x < 0, 1, 2), jnp.where(y < 0, 3, 4))


def escape(agents: int, prey) -> tuple[float, float, float]:
    """Mean of catches, its standard error, and the share of steps that prey spend out of sight.

    Out of sight is beyond twice the half-width of the square in which everyone starts.
    """
    world, scale = competitive_pp(agents), SCALES[agents]

    def step(state, key):
        predators, preys = world.observe(state)
        fled = jax.random.categorical(key, prey(preys))
        outcome = world.step(state, jnp.concatenate([chase(predators), fled]), key)
        away = jnp.abs(outcome.state.position[scale.predators :]).max(axis=1) > 2 * scale.half_width
        return outcome.state, (-outcome.reward[scale.predators :].mean() / 10, away.mean())

    def episode(key):
        k_reset, k_steps = jax.random.split(key)
        caught, away = jax.lax.scan(step, world.reset(k_reset), jax.random.split(k_steps, world.horizon))[1]
        return caught.sum(), away.mean()

    caught, away = jax.jit(jax.vmap(episode))(jax.random.split(jax.random.key(0), EPISODES))
    caught = np.asarray(caught)
    return float(caught.mean()), float(caught.std() / np.sqrt(EPISODES)), float(away.mean())


def main() -> None:
    """Measure and print."""
    print("| predators | prey | catches per prey and episode | out of sight |\n| --- | --- | --- | --- |")
    for agents in SCALES:
        policies = {
            "stand still": lambda seen: jnp.where(jnp.arange(5) == 0, 0.0, -jnp.inf) + 0.0 * seen[:, :1],
            "at random": lambda seen: jnp.zeros((len(seen), 5)),
            "trained": load_prey(f"pp-{agents}"),
        }
        for name, policy in policies.items():
            caught, error, away = escape(agents, policy)
            print(f"| {agents} | {name} | {caught:.2f} ± {error:.2f} | {100 * away:.1f} % |")


if __name__ == "__main__":
    main()
