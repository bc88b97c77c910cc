"""The same as :mod:`latent_reward.design.episodes` for one team of a compiled world, all episodes at once."""

import threading
from collections.abc import Callable

import jax
import numpy as np

from latent_reward.design.episodes import Episodes, Plan
from latent_reward.envs.base import World
from latent_reward.envs.pettingzoo import HostWorld
from latent_reward.envs.worlds import find_world
from latent_reward.errors import LareError
from latent_reward.task.task import Task

BEHAVIOURS = ("uniform", "held", "biased", "own bias")


def prepare_world(task: Task, plan: Plan) -> Callable[[threading.Event], Episodes]:
    """Finds the compiled world and the team of a task, and returns what plays its episodes.

    A row is one step of one agent; the return is the sum over the steps and agents of the team, and
    ``plan.steps`` bounds the rows. Actions are recorded as the encoder sees them: 1 for the chosen one, else 0.

    Raises:
        LareError: there is no such world, or the task does not fit it.
    """
    name, _, team_name = task.env_id.partition("/")
    world = find_world(name)
    place = next((at for at, team in enumerate(world.teams) if team_name in ("", team.name)), None)
    if place is None or (task.observation_size, task.action_size) != (
        world.teams[place].observation_size,
        world.actions,
    ):
        raise LareError(f"world: {task.name} does not fit {task.env_id}; run `lare check` on the task file")
    return lambda stop: _collect(world, place, plan, stop)


def _collect(world: World, place: int, plan: Plan, stop: threading.Event) -> Episodes:
    before = sum(team.agents for team in world.teams[:place])
    members = slice(before, before + world.teams[place].agents)
    size = world.teams[place].agents * world.horizon
    count = max(1, min(plan.episodes, -(-plan.steps // size)))
    keys = jax.random.split(jax.random.key(plan.seed), count)
    chosen = actions_of(world, count, plan.seed)
    reset, observe, step = (
        jax.jit(jax.vmap(function)) for function in (world.reset, world.observe, world.step)
    )
    later = jax.jit(jax.vmap(jax.random.fold_in, in_axes=(0, None)))
    acting = jax.jit(jax.vmap(world.alive)) if world.alive else None

    state = reset(keys)
    going, observations, actions, following, kept = np.ones(count, bool), [], [], [], []
    returns, lengths = np.zeros(count), np.zeros(count, int)
    now = np.asarray(observe(state)[place])
    for time in range(world.horizon):
        if stop.is_set() or not going.any():
            break
        rows = np.repeat(going[:, None], world.teams[place].agents, axis=1)
        if acting is not None:
            rows &= np.asarray(acting(state))[:, members]
        state, reward, terminated = step(state, chosen[time], later(keys, time + 1))
        after = np.asarray(observe(state)[place])
        observations.append(now)
        actions.append(np.eye(world.actions, dtype=np.float32)[chosen[time][:, members]])
        following.append(after)
        kept.append(rows)
        returns += going * np.asarray(reward, float)[:, members].sum(axis=1)
        lengths += going
        going &= ~np.asarray(terminated)
        now = after
    mask = np.stack(kept)
    owner = np.broadcast_to(np.arange(count)[:, None], mask.shape[1:])[None].repeat(len(mask), axis=0)
    return Episodes(
        np.stack(observations)[mask].astype(np.float32),
        np.stack(actions)[mask],
        np.stack(following)[mask].astype(np.float32),
        owner[mask],
        returns,
        lengths,
        tuple(BEHAVIOURS[number % len(BEHAVIOURS)] for number in range(count)),
    )


def actions_of(world: World, count: int, seed: int) -> np.ndarray:
    """The action of every agent at every step, [time, episode, agent], in ``count`` episodes."""
    return np.stack([episode_actions(world, seed, number) for number in range(count)], axis=1)


def episode_actions(world: World | HostWorld, seed: int, number: int) -> np.ndarray:
    """The action of every agent at every step of one episode, [time, agent], by four behaviours in turn.

    Uniform; one action held for some steps; one preference over the actions that all agents share; a
    preference of each agent's own.
    """
    generator = np.random.default_rng([seed, number])
    shape = (world.horizon, world.agents)
    kind = BEHAVIOURS[number % len(BEHAVIOURS)]
    if kind in ("uniform", "held"):
        chosen = generator.integers(world.actions, size=shape, dtype=np.int32)
        return chosen[np.arange(len(chosen)) // generator.integers(2, 10)] if kind == "held" else chosen
    agents = world.agents if kind == "own bias" else 1
    likes = 2 * generator.normal(size=(1, agents, world.actions))
    return (likes + generator.gumbel(size=(*shape, world.actions))).argmax(axis=-1).astype(np.int32)
