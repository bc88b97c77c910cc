"""Whole episodes of a compiled world, many side by side, in one loop."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Num

from latent_reward.data.episodes import Episodes, Played, paid_while_there, team_return
from latent_reward.envs.base import State, World, members
from latent_reward.types import Key

Policy = Callable[
    [Float[Array, "episode agent observation"], Key, Bool[Array, "episode agent action"] | None],
    tuple[Num[Array, "episode agent *action"], Float[Array, "episode agent"]],
]
"""Observations of a team, a key and the available actions to actions and their log-probabilities."""


def play(world: World, policies: Sequence[Policy], key: Key, episodes: int) -> tuple[Played, ...]:
    """Play ``episodes`` whole episodes; every agent draws its actions from the policy of its team.

    The state of a terminated world is kept and its steps are masked, so shapes are fixed.
    """
    return _play(world, policies, key, episodes, lambda state: ())[0]


def play_idle(
    world: World,
    policies: Sequence[Policy],
    key: Key,
    episodes: int,
    team: int,
    agent: Int[Array, ""],
) -> Episodes:
    """What the team would have lived through in the episodes of :func:`play` if one agent had done nothing.

    The random numbers are those of ``play`` with the same key. All others, of every team, follow their policies, so
    they also answer to what is different. What comes out does not depend on any action of that agent.

    Args:
        world: a world whose team has an ``idle`` action.
        policies: the policy of each team.
        key: as for :func:`play`.
        episodes: as for :func:`play`.
        team: position of the team in the world.
        agent: position of the agent in the team.
    """
    idle = jnp.asarray(world.teams[team].idle)

    def policy(seen, key, available):
        action, log_probability = policies[team](seen, key, available)
        return action.at[:, agent].set(idle.astype(action.dtype)), log_probability

    return play(world, [*policies[:team], policy, *policies[team + 1 :]], key, episodes)[team].episodes


def watch(world: World, policies: Sequence[Policy], key: Key) -> tuple[State, Int[Array, ""]]:
    """The states of one episode, stacked along time with the first one first, and how many steps it has."""
    played, states = _play(world, policies, key, 1, lambda state: state)
    running = jnp.concatenate([each.episodes.mask[0] for each in played], axis=1).any(axis=1)
    return jax.tree.map(lambda leaf: leaf[:, 0], states), running.sum()


def _play(
    world: World, policies: Sequence[Policy], key: Key, episodes: int, look: Callable[[State], Any]
) -> tuple[tuple[Played, ...], Any]:
    """The episodes of every team, and the values of ``look`` before each step and after the last."""
    k_reset, k_steps = jax.random.split(key)
    teams, agents = members(world), sum(team.agents for team in world.teams)
    start = jax.vmap(world.reset)(jax.random.split(k_reset, episodes))

    def step(carry, key):
        state, running = carry
        k_world, *k_teams = jax.random.split(key, 1 + len(teams))
        observations = jax.vmap(world.observe)(state)
        available = None if world.available is None else jax.vmap(world.available)(state)
        choices = [None if available is None else available[:, team] for team in teams]
        given = zip(policies, observations, k_teams, choices, strict=True)
        chosen = [policy(seen, key, choice) for policy, seen, key, choice in given]
        there = jnp.ones((episodes, agents), bool)
        if world.alive is not None:
            there = jax.vmap(world.alive)(state)
        action = jnp.concatenate([each[0] for each in chosen], axis=1)
        after = jax.vmap(world.step)(state, action, jax.random.split(k_world, episodes))
        reward = jnp.where(running[:, None], after.reward, 0.0)
        over = running & after.terminated
        seen = (observations, chosen, choices, reward, there & running[:, None], over, look(state))
        state = jax.tree.map(partial(_keep, running), after.state, state)
        return (state, running & ~after.terminated), seen

    (end, _), (observations, chosen, choices, reward, there, over, looks) = jax.lax.scan(
        step, (start, jnp.ones(episodes, bool)), jax.random.split(k_steps, world.horizon)
    )
    last = jax.vmap(world.observe)(end)
    looks = jax.tree.map(lambda leaves, leaf: jnp.concatenate([leaves, leaf[None]]), looks, look(end))
    follows = jnp.concatenate([there[1:], jnp.zeros_like(there[:1])])
    early = (jnp.arange(world.horizon) < world.horizon - 1)[:, None]
    gone = ~jax.vmap(world.alive)(end) if world.alive else jnp.zeros_like(there[0])
    terminated = there & ~follows & ((over | early)[..., None] | gone)

    # the loop stacks time first; everything else reads episodes first
    observations, chosen, choices, there, terminated, reward = jax.tree.map(
        lambda leaf: leaf.swapaxes(0, 1), (observations, chosen, choices, there, terminated, reward)
    )
    won = None if world.won is None else jax.vmap(world.won)(end)

    def played(index: int, team: slice) -> Played:
        seen = jnp.concatenate([observations[index], last[index][:, None]], axis=1)
        mask, paid, (action, log_probability) = there[..., team], reward[..., team], chosen[index]
        if world.alive is not None:
            paid = paid_while_there(paid, mask)
        record = Episodes(seen, action, mask, terminated[..., team], team_return(paid, mask), paid)
        return Played(record, log_probability, choices[index], won)

    return tuple(played(index, team) for index, team in enumerate(teams)), looks


def _keep(running: Bool[Array, " episode"], after: Array, before: Array) -> Array:
    return jnp.where(running.reshape(-1, *[1] * (after.ndim - 1)), after, before)
