"""Worlds small enough to know everything about: agents on a line who should stand at 1."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np

from latent_reward.data.spaces import Continuous, Discrete
from latent_reward.envs.base import Outcome, Team, World

HORIZON = 8
SOURCE = """
def evaluation_func(observation, action):
    distance = np.abs(observation[:, 0:1] - 1.0)
    side = observation[:, 1:2]
    return [distance, side]
"""


class Sizes:
    """What sealing an encoder needs to know of the task."""

    name, env_id, observation_size, action_size = "line", "line", 2, 3


def rewards_of(place):
    """r_i = −|x_i − 1| in multiples of 1/64, so that sums are exact in any order."""
    return -jnp.round(64 * jnp.abs(place - 1.0)) / 64


@cache  # worlds are told apart by identity, and programs are compiled for a world
def line(agents=3, teams=1, dead=0, wall=np.inf, forbidden=False, paid=1.0):
    """The world, and what can be odd about it.

    Args:
        agents: per team.
        teams: all but the first are paid the opposite.
        dead: so many of the last agents never live, and see nothing but NaN.
        wall: the episode terminates when the first agent is farther from 0.
        forbidden: whether the action 1 (down) is not available to agents above 0.
        paid: what the rewards are multiplied by.
    """
    everyone = agents * teams

    def reset(key):
        return (jax.random.uniform(key, (everyone,), minval=-0.5, maxval=0.5),)

    def observe(state):
        seen = jnp.stack([state[0], jnp.sign(state[0])], axis=1)
        seen = jnp.where((jnp.arange(everyone) < everyone - dead)[:, None], seen, jnp.nan)
        return tuple(jnp.split(seen, teams))

    def step(state, action, key):
        (place,) = state
        place = place + 0.25 * ((action == 2).astype(float) - (action == 1))
        reward = paid * rewards_of(place) * jnp.repeat(jnp.where(jnp.arange(teams) == 0, 1.0, -1.0), agents)
        terminated = jnp.abs(place[0]) > wall
        return Outcome((place,), reward, terminated)

    def available(state):
        down = state[0] <= 0
        return jnp.stack([jnp.ones_like(down), down, jnp.ones_like(down)], axis=1)

    return World(
        "line",
        tuple(Team(f"team{index}", agents, 2, Discrete(3), idle=0) for index in range(teams)),
        reset,
        observe,
        step,
        lambda state: np.zeros((16, 16, 3), np.uint8),
        horizon=HORIZON,
        available=available if forbidden else None,
        alive=(lambda state: jnp.arange(everyone) < everyone - dead) if dead else None,
    )


class PushSizes:
    """The same of the world with one agent."""

    name, env_id, observation_size, action_size = "push", "push", 2, 1


@cache
def push(wall=np.inf):
    """One agent whose action is a number: how hard it pushes itself. Steps are noisy, from their key.

    Args:
        wall: the episode terminates when it is farther from 0.
    """

    def reset(key):
        return jax.random.uniform(key, (1,), minval=-0.5, maxval=0.5), jnp.zeros(())

    def observe(state):
        place, count = state
        return (jnp.stack([place, count[None] / HORIZON], axis=1),)

    def step(state, action, key):
        place, count = state
        place = place + 0.3 * action[:, 0] + 0.05 * jax.random.normal(key, (1,))
        return Outcome((place, count + 1), rewards_of(place), jnp.abs(place[0]) > wall)

    def render(state):
        assert isinstance(state[0], np.ndarray)
        return np.full((16, 16, 3), 10 * int(state[1]), np.uint8)

    team = Team("pushers", 1, 2, Continuous((-1.0,), (1.0,)))
    return World("push", (team,), reset, observe, step, render, horizon=HORIZON)
