"""Cooperative navigation (CN): as many agents as landmarks, each rewarded for being near one."""

import numpy as np
from jaxtyping import Array, Float

from latent_reward.envs.base import Team, World
from latent_reward.envs.particle import physics as particle
from latent_reward.envs.particle.physics import Bodies, Particles
from latent_reward.envs.particle.world import particle_world

SIZE = 0.15
HALF_WIDTH = {6: 1.5, 15: 2.2, 30: 3.0}
LANDMARK_DISTANCE = 4.5 * SIZE
SEEN_LANDMARKS, SEEN_AGENTS = 6, 5


def bodies(agents: int) -> Bodies:
    """Discs of one size, which pass over landmarks and have no top speed."""
    return Bodies(np.full(agents, 5.0), np.where(np.eye(agents, dtype=bool), -1.0, 2 * SIZE))


def observe(state: Particles) -> Float[Array, "agent observation *world"]:
    """Own velocity and position; the nearest landmarks and the nearest others, as seen from here."""
    landmarks = particle.between(state.position, state.landmark)
    others = particle.between(state.position, state.position)
    return particle.rows(
        state.velocity,
        state.position,
        particle.pick(landmarks, particle.nearest(landmarks, SEEN_LANDMARKS)),
        particle.pick(others, particle.nearest(others, SEEN_AGENTS, skip_self=True)),
        like=state.position,
    )


def reward(state: Particles) -> Float[Array, "agent *world"]:
    """r_i = −min_l |x_i − l| − #{j ≠ i: |x_i − x_j| < 2 · size}."""
    to_landmark = particle.distances(particle.between(state.position, state.landmark)).min(axis=1)
    apart = particle.distances(particle.between(state.position, state.position))
    return -to_landmark - ((apart < 2 * SIZE).sum(axis=1) - 1)


def cn(agents: int) -> World:
    """The world of 6, 15 or 30 agents."""
    half_width, size = HALF_WIDTH[agents], 4 + 2 * (SEEN_LANDMARKS + SEEN_AGENTS)
    return particle_world(
        f"cn-{agents}",
        (Team("agents", agents, size, particle.MOVES, idle=particle.STAY),),
        bodies(agents),
        lambda agent, landmark: (
            particle.scatter(agent, agents, half_width),
            particle.scatter_apart(landmark, agents, half_width, LANDMARK_DISTANCE),
        ),
        lambda state: (observe(state),),
        reward,
        ({"agents": agents}, np.full(agents, SIZE), 0.05, half_width),
    )
