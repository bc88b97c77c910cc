"""Triangle area: three agents span the largest triangle they can while they keep off three obstacles."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from latent_reward.envs.base import Team, World
from latent_reward.envs.particle import physics as particle
from latent_reward.envs.particle.physics import Bodies, Particles
from latent_reward.envs.particle.world import particle_world

AGENTS, LANDMARKS = 3, 3
SIZE, LANDMARK_SIZE = 0.15, 0.4
START, HALF_WIDTH = 0.2, 1.5
AREA_WEIGHT = 0.1

BODIES = Bodies(
    np.full(AGENTS, 5.0),
    np.where(np.eye(AGENTS, dtype=bool), -1.0, 2 * SIZE),
    np.full((AGENTS, LANDMARKS), SIZE + LANDMARK_SIZE),
)


def observe(state: Particles) -> Float[Array, "agent 14 *world"]:
    """Own velocity and position; the landmarks in their order; the two others, the one further left first."""
    position, velocity, landmark = state
    after = np.add.outer(np.arange(AGENTS), [1, 2]) % AGENTS
    one, two = (position[after[:, which]] - position for which in (0, 1))
    left = (one[:, 0] < two[:, 0]) | ((one[:, 0] == two[:, 0]) & (one[:, 1] <= two[:, 1]))
    others = jnp.where(left[:, None], one, two), jnp.where(left[:, None], two, one)
    return particle.rows(velocity, position, landmark[None] - position[:, None], *others, like=position)


def area(corners: Float[Array, "3 2 *world"]) -> Float[Array, "*world"]:
    """|(b − a) × (c − a)| / 2: zero, and never the root of a negative, where the corners are in line."""
    b, c = corners[1] - corners[0], corners[2] - corners[0]
    return jnp.abs(b[0] * c[1] - b[1] * c[0]) / 2


def reward(state: Particles) -> Float[Array, "3 *world"]:
    """To each agent the same Σ_i [0.1 area − #{landmarks: |x_i − l| < size + landmark size}]."""
    distance = particle.distances(particle.between(state.position, state.landmark))
    touching = (distance < SIZE + LANDMARK_SIZE).sum(axis=(0, 1))
    shared = AGENTS * AREA_WEIGHT * area(state.position) - touching
    return jnp.broadcast_to(shared, (AGENTS, *shared.shape))


def triangle() -> World:
    """The world of three agents."""
    return particle_world(
        "area",
        (Team("agents", AGENTS, 14, particle.MOVES, idle=particle.STAY),),
        BODIES,
        lambda agent, landmark: (
            particle.scatter(agent, AGENTS, START),
            particle.scatter(landmark, LANDMARKS, HALF_WIDTH),
        ),
        lambda state: (observe(state),),
        reward,
        ({"agents": AGENTS}, np.full(AGENTS, SIZE), LANDMARK_SIZE, HALF_WIDTH),
    )
