"""Play episodes of one team in a compiled world, all episodes at once."""

import threading
from collections.abc import Callable

import jax
import numpy as np

from latent_reward.design.behaviour import TEAM_BEHAVIOURS, team_actions
from latent_reward.design.episodes import Episodes, Recording
from latent_reward.envs.base import World
from latent_reward.envs.worlds import find_world
from latent_reward.errors import LareError
from latent_reward.task.task import Task


def prepare(task: Task, recording: Recording) -> Callable[[threading.Event], Episodes]:
    """Find the compiled world and the team of a task, and return the function that plays its episodes.

    A row is one step of one agent; the return is the sum over the steps and agents of the team, and
    ``recording.steps`` limits the rows. Actions are one-hot, as the encoder reads them.

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
    return lambda stop: _play(world, place, recording, stop)


def _play(world: World, place: int, recording: Recording, stop: threading.Event) -> Episodes:
    first, agents = sum(team.agents for team in world.teams[:place]), world.teams[place].agents
    members = slice(first, first + agents)
    count = max(1, min(recording.episodes, -(-recording.steps // (agents * world.horizon))))
    keys = jax.random.split(jax.random.key(recording.seed), count)
    chosen = np.stack([team_actions(world, recording.seed, number) for number in range(count)], axis=1)
    one_hot = np.eye(world.actions, dtype=np.float32)
    reset, observe, step = (
        jax.jit(jax.vmap(function)) for function in (world.reset, world.observe, world.step)
    )
    fold_in = jax.jit(jax.vmap(jax.random.fold_in, in_axes=(0, None)))
    alive = jax.jit(jax.vmap(world.alive)) if world.alive else None

    state, rows = reset(keys), []
    running, returns, lengths = np.ones(count, bool), np.zeros(count), np.zeros(count, int)
    now = np.asarray(observe(state)[place])
    for time in range(world.horizon):
        if stop.is_set() or not running.any():
            break
        mask = np.repeat(running[:, None], agents, axis=1)  # [episode, agent]
        if alive is not None:
            mask &= np.asarray(alive(state))[:, members]
        state, reward, terminated = step(state, chosen[time], fold_in(keys, time + 1))
        after = np.asarray(observe(state)[place])
        rows.append((now[mask], one_hot[chosen[time][:, members][mask]], after[mask], np.nonzero(mask)[0]))
        returns += running * np.asarray(reward, float)[:, members].sum(axis=1)
        lengths += running
        running &= ~np.asarray(terminated)
        now = after
    before, actions, following, owner = map(np.concatenate, zip(*rows, strict=True))
    return Episodes(
        before.astype(np.float32),
        actions,
        following.astype(np.float32),
        owner,
        returns,
        lengths,
        tuple(TEAM_BEHAVIOURS[number % len(TEAM_BEHAVIOURS)] for number in range(count)),
    )
