"""Particle worlds out of what tells them apart: teams, bodies, the start, what is seen and what is paid."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from latent_reward.envs.base import Outcome, Team, World
from latent_reward.envs.particle.physics import Bodies, Particles, advance, control, worlds_last
from latent_reward.envs.particle.render import draw
from latent_reward.types import Key


def particle_world(
    name: str,
    teams: tuple[Team, ...],
    bodies: Bodies,  # the learned agents first
    start: Callable[[Key, Key], tuple[Float[Array, "agent 2"], Float[Array, "landmark 2"]]],
    observe: Callable[[Particles], tuple[Float[Array, "agent observation *world"], ...]],
    reward: Callable[[Particles], Float[Array, "agent *world"]],
    picture: tuple[dict[str, int], np.ndarray, float, float],  # what ``draw`` takes after the state
    others: Callable[[Particles, Key], Int[Array, " other"]] | None = None,
) -> World:
    """A world in which everyone starts at rest and no episode ends before its time.

    ``start`` takes a key for agents and one for landmarks; ``reward`` is that of the new state, and that of agents who
    do not learn is left out; ``others`` gives the actions of these.
    """
    learned = sum(team.agents for team in teams)

    def reset(key: Key) -> Particles:
        position, landmark = start(*jax.random.split(key))
        return Particles(position, jnp.zeros_like(position), landmark)

    @worlds_last
    def move(state: Particles, action: Int[Array, "agent *world"]):
        state = advance(bodies, state, control(bodies, action))
        return state, reward(state)[:learned]

    def step(state: Particles, action: Int[Array, " agent"], key: Key) -> Outcome:
        if others is not None:
            action = jnp.concatenate([action, others(state, key).astype(action.dtype)])
        return Outcome(*move(state, action), jnp.zeros((), bool))

    return World(name, teams, reset, worlds_last(observe), step, lambda state: draw(state, *picture))
