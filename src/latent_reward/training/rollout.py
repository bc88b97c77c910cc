"""Whole episodes of a world of teams, many side by side, in one compiled loop."""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from latent_reward.agents import ppo
from latent_reward.envs.base import State, World
from latent_reward.networks import MLP
from latent_reward.types import Key


class Rollout(NamedTuple):
    """Episodes of one team, time first.

    Attributes:
        observation: before each step, and after the last.
        action: what each agent chose.
        log_probability: of that choice.
        reward: the true reward of each agent; 0 once the episode is over. Hidden from learning.
        mask: whether the agent is there: the episode has not ended, and the agent lives.
        cut: whether the agent's time ended here without an end of its own: at the horizon, or where a host
            environment truncates.
        available: the actions each agent could choose from; None: always all.
        won: whether the team has won; None: nothing is won in this world.
    """

    observation: Float[Array, "time_after episode agent observation"]
    action: Int[Array, "time episode agent"]
    log_probability: Float[Array, "time episode agent"]
    reward: Float[Array, "time episode agent"]
    mask: Bool[Array, "time episode agent"]
    cut: Bool[Array, "time episode agent"]
    available: Bool[Array, "time episode agent action"] | None
    won: Bool[Array, " episode"] | None

    @property
    def returns(self) -> Float[Array, " episode"]:
        """The team's return of each episode: the sum over its steps and agents."""
        return self.reward.sum(axis=(0, 2))


def members(world: World) -> tuple[slice, ...]:
    """Where each team stands on the agent axis of the world."""
    ends = [0]
    for team in world.teams:
        ends.append(ends[-1] + team.agents)
    return tuple(slice(begin, end) for begin, end in pairwise(ends))


def play(world: World, actors: Sequence[MLP], key: Key, episodes: int) -> tuple[Rollout, ...]:
    """Play ``episodes`` whole episodes, every agent drawing its actions from the policy of its team.

    A world that has terminated stands still, and its steps are masked: shapes do not depend on luck.
    """
    return _play(world, actors, key, episodes, lambda state: ())[0]


def watch(world: World, actors: Sequence[MLP], key: Key) -> tuple[State, Int[Array, ""]]:
    """The states of one episode, stacked along time with the first one first, and how many steps it has."""
    rollouts, states = _play(world, actors, key, 1, lambda state: state)
    running = jnp.concatenate([rollout.mask[:, 0] for rollout in rollouts], axis=1).any(axis=1)
    return jax.tree.map(lambda leaf: leaf[:, 0], states), running.sum()


def _play(
    world: World, actors: Sequence[MLP], key: Key, episodes: int, look: Callable[[State], Any]
) -> tuple[tuple[Rollout, ...], Any]:
    """The rollouts, and what ``look`` sees of the worlds before each step and after the last."""
    k_reset, k_steps = jax.random.split(key)
    teams = members(world)
    start = jax.vmap(world.reset)(jax.random.split(k_reset, episodes))

    def step(carry, key):
        state, running = carry
        k_world, *k_teams = jax.random.split(key, 1 + len(teams))
        observations = jax.vmap(world.observe)(state)
        available = None if world.available is None else jax.vmap(world.available)(state)
        choices = [None if available is None else available[:, team] for team in teams]
        chosen = [ppo.act(*given) for given in zip(actors, observations, k_teams, choices, strict=True)]
        there = jnp.ones((episodes, world.agents), bool)
        if world.alive is not None:
            there = jax.vmap(world.alive)(state)
        action = jnp.concatenate([each[0] for each in chosen], axis=1)
        after = jax.vmap(world.step)(state, action, jax.random.split(k_world, episodes))
        reward = jnp.where(running[:, None], after.reward, 0.0)
        seen = (observations, chosen, choices, reward, there & running[:, None], look(state))
        state = jax.tree.map(partial(_keep, running), after.state, state)
        return (state, running & ~after.terminated), seen

    (end, running), (observations, chosen, choices, reward, there, looks) = jax.lax.scan(
        step, (start, jnp.ones(episodes, bool)), jax.random.split(k_steps, world.horizon)
    )
    last = jax.vmap(world.observe)(end)
    looks = jax.tree.map(lambda leaves, leaf: jnp.concatenate([leaves, leaf[None]]), looks, look(end))
    rollouts = tuple(
        Rollout(
            observation=jnp.concatenate([observations[index], last[index][None]]),
            action=chosen[index][0],
            log_probability=chosen[index][1],
            reward=reward[:, :, team],
            mask=there[:, :, team],
            cut=there[:, :, team]
            & running[:, None]
            & (jnp.arange(world.horizon) == world.horizon - 1)[:, None, None],
            available=choices[index],
            won=None if world.won is None else jax.vmap(world.won)(end),
        )
        for index, team in enumerate(teams)
    )
    return rollouts, looks


def _keep(running: Bool[Array, " episode"], after: Array, before: Array) -> Array:
    return jnp.where(running.reshape(-1, *[1] * (after.ndim - 1)), after, before)
