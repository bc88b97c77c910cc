"""Predator–prey (PP): slow predators learn to catch fast prey among obstacles.

In PP the prey follow a fixed policy and only predators learn; in competitive PP both teams learn.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from latent_reward.envs.base import Team, World
from latent_reward.envs.particle import physics as particle
from latent_reward.envs.particle.physics import Bodies, Particles
from latent_reward.envs.particle.prey import load_prey
from latent_reward.envs.particle.world import particle_world

CATCH = 10.0
DISTANCE_WEIGHT = 0.1
WALL = 0.9

Prey = Callable[[Float[Array, "prey observation"]], Float[Array, "prey action"]]  # logits of each action


@dataclass(frozen=True)
class Sight:
    """How many of its nearest landmarks, predators and prey an agent sees."""

    landmarks: int
    predators: int
    prey: int

    @property
    def size(self) -> int:
        """Length of an observation: own velocity and position, offsets, velocities of the prey."""
        return 4 + 2 * self.landmarks + 2 * self.predators + 4 * self.prey


@dataclass(frozen=True)
class Scale:
    """How many there are of each kind, how large they are, and where they start."""

    predators: int
    prey: int
    landmarks: int
    half_width: float
    predator_size: float
    prey_size: float
    landmark_size: float
    sight: Sight

    @property
    def catch_distance(self) -> float:
        """Prey nearer than this is caught."""
        return self.predator_size + self.prey_size

    @property
    def groups(self) -> dict[str, int]:
        """Name and number of each kind of agent."""
        return {"predators": self.predators, "prey": self.prey}


SCALES = {
    6: Scale(6, 2, 3, 1.5, 0.075, 0.05, 0.2, Sight(3, 5, 2)),
    15: Scale(15, 5, 5, 1.0, 0.02, 0.01, 0.1, Sight(3, 6, 3)),
    30: Scale(30, 10, 10, 1.0, 0.01, 0.005, 0.05, Sight(5, 6, 5)),
}
COMPETITIVE_SIGHT = Sight(3, 5, 1)  # of predators and of prey; of prey in PP too


def bodies(scale: Scale) -> Bodies:
    """Predators first, then prey; every pair repels at two predators' radii, obstacles included."""
    agents = scale.predators + scale.prey
    per_agent = lambda predator, prey: np.repeat([predator, prey], [scale.predators, scale.prey])  # noqa: E731
    distance = 2 * scale.predator_size
    return Bodies(
        per_agent(3.0, 4.0),
        np.where(np.eye(agents, dtype=bool), -1.0, distance),
        np.full((agents, scale.landmarks), distance),
        per_agent(1.0, 1.3),
    )


def observe(
    scale: Scale, sight: Sight, state: Particles, *, prey: bool
) -> Float[Array, "agent observation *world"]:
    """The observation of each predator, or of each ``prey``.

    Own velocity and position; offsets of the nearest landmarks, predators and (other) prey, nearest first;
    the velocities of those prey.
    """
    predators, preys = slice(None, scale.predators), slice(scale.predators, None)
    own = preys if prey else predators
    position, velocity = state.position[own], state.velocity[own]
    landmarks = particle.between(position, state.landmark)
    hunters = particle.between(position, state.position[predators])
    hunted = particle.between(position, state.position[preys])
    near_hunted = particle.nearest(hunted, sight.prey, skip_self=prey)
    hunted_velocity = state.velocity[None, preys]
    return particle.rows(
        velocity,
        position,
        particle.pick(landmarks, particle.nearest(landmarks, sight.landmarks)),
        particle.pick(hunters, particle.nearest(hunters, sight.predators, skip_self=not prey)),
        particle.pick(hunted, near_hunted),
        particle.pick(particle.Offset(hunted_velocity[:, :, 0], hunted_velocity[:, :, 1]), near_hunted),
        like=position,
    )


def reward(scale: Scale, state: Particles, *, walled: bool = False) -> Float[Array, "agent *world"]:
    """Of predators and prey, from the distances d between them.

    Predators: −0.1 min_prey d + 10 #{prey: d < catch distance}. Prey: −10 #{predators: d < catch distance}, if
    ``walled`` less their :func:`wall_penalty`.
    """
    distance = particle.distances(
        particle.between(state.position[: scale.predators], state.position[scale.predators :])
    )
    caught = distance < scale.catch_distance
    predators = CATCH * caught.sum(axis=1) - DISTANCE_WEIGHT * distance.min(axis=1)
    prey = -CATCH * caught.sum(axis=0)
    if walled:
        prey = prey - wall_penalty(state.position[scale.predators :])
    return jnp.concatenate([predators, prey])


def wall_penalty(position: Float[Array, "agent 2 *world"]) -> Float[Array, "agent *world"]:
    """Σ over both axes of 0 if |x| < 0.9, 10 (|x| − 0.9) if |x| < 1, else min(exp(2|x| − 2), 10)."""
    x = jnp.abs(position)
    beyond = jnp.exp(jnp.minimum(2 * x - 2, np.log(10.0)))
    return jnp.where(x < WALL, 0.0, jnp.where(x < 1.0, 10 * (x - WALL), beyond)).sum(axis=1)


def pp(agents: int, prey: Prey | None = None) -> World:
    """Six, 15 or 30 predators learn; prey draw their actions from a fixed policy.

    ``prey`` takes what each prey sees, as in competitive PP, to the logits of its actions; None: the policy that comes
    with the package.
    """
    scale, policy = SCALES[agents], prey or load_prey(f"pp-{agents}")
    prey_sees = particle.worlds_last(lambda state: observe(scale, COMPETITIVE_SIGHT, state, prey=True))
    return _hunt(
        f"pp-{agents}",
        scale,
        (Team("predators", scale.predators, scale.sight.size, particle.MOVES, idle=particle.STAY),),
        lambda state: (observe(scale, scale.sight, state, prey=False),),
        others=lambda state, key: jax.random.categorical(key, policy(prey_sees(state))),
    )


def competitive_pp(agents: int = 6, *, walled: bool = False) -> World:
    """Both predators, six as published or ``agents``, and prey learn; the two teams' returns are separate.

    If ``walled``, prey lose :func:`wall_penalty`, without which they do best to run away for ever.
    """
    scale, sight = SCALES[agents], COMPETITIVE_SIGHT
    return _hunt(
        "competitive-pp" + f"-{agents}" * (agents != 6) + "-walled" * walled,
        scale,
        tuple(Team(*team, sight.size, particle.MOVES, idle=particle.STAY) for team in scale.groups.items()),
        lambda state: tuple(observe(scale, sight, state, prey=prey) for prey in (False, True)),
        walled,
    )


def _hunt(
    name: str, scale: Scale, teams: tuple[Team, ...], observe: Any, walled: bool = False, others: Any = None
) -> World:
    sizes = np.repeat([scale.predator_size, scale.prey_size], [scale.predators, scale.prey])
    return particle_world(
        name,
        teams,
        bodies(scale),
        lambda agent, landmark: (
            particle.scatter(agent, scale.predators + scale.prey, scale.half_width),
            particle.scatter(landmark, scale.landmarks, scale.half_width - 0.1),
        ),
        observe,
        lambda state: reward(scale, state, walled=walled),
        (scale.groups, sizes, scale.landmark_size, scale.half_width),
        others,
    )
