"""Environments whose agents observe noise: every number that is seen, plus noise of its own scale."""

import dataclasses
from functools import lru_cache
from typing import overload

import jax
import jax.numpy as jnp
import numpy as np

from latent_reward.data.spaces import Continuous
from latent_reward.envs.base import Environment, HostWorld, Outcome, World, close
from latent_reward.envs.hosted import on_host
from latent_reward.envs.recorder import collect
from latent_reward.rng import HostPurpose, seed_for
from latent_reward.types import Key

# Scales are measured in random play, which ends with the first of these.
_EPISODES, _STEPS = 10, 2_000


@overload
def with_noise(world: HostWorld, noise: float) -> HostWorld:
    """An environment on the host stays one."""


@overload
def with_noise(world: Environment, noise: float) -> Environment:
    """Any environment."""


@lru_cache(maxsize=16)
def with_noise(world: Environment, noise: float) -> Environment:
    """The environment with noise on every observation, of a standard deviation of ``noise`` times that in random play.

    Without noise it is the environment itself. The noise of a step depends on what the episode was reset with and on
    the number of the step, so an episode that is played again looks the same. Rewards are not changed. The same
    environment is returned again, because programs are compiled for a world.

    Raises:
        BrokenEnvironmentError: the environment fails in random play.
    """
    if not noise:
        return world
    scales = tuple(noise * scale for scale in observation_scales(world))
    if isinstance(world, HostWorld):
        return dataclasses.replace(world, noise=scales)
    return _noisy(world, scales)


def observation_scales(world: Environment) -> tuple[np.ndarray, ...]:
    """Of each team the standard deviation of every number that its agents observe in random play.

    Ten episodes are played, or as many as have 2,000 steps, always the same ones.
    """
    hosted, seen = on_host(world), [[] for _ in world.teams]
    env, steps = hosted.make(None), 0
    try:
        for number in range(_EPISODES):
            if steps >= _STEPS:
                break
            seed = seed_for(0, HostPurpose.OBSERVATION_SCALE, number)
            played = collect(hosted, [env], [seed], _random_play(hosted, seed))
            for rows, each in zip(seen, played, strict=True):
                rows.append(each.observation[:, :-1][each.mask])
            steps += max(int(each.mask.any(axis=2).sum()) for each in played)
    finally:
        close(env)
    return tuple(
        np.concatenate(rows).astype(np.float64).std(axis=0).astype(np.float32)
        if sum(map(len, rows))
        else np.zeros(team.observation_size, np.float32)
        for rows, team in zip(seen, world.teams, strict=True)
    )


def _random_play(world: HostWorld, seed: int):
    """Actions drawn uniformly among those that are available."""
    random = np.random.default_rng(seed)

    def choose(step: int, observations: tuple[np.ndarray, ...], available: tuple[np.ndarray | None, ...]):
        chosen = []
        for team, seen, allowed in zip(world.teams, observations, available, strict=True):
            if isinstance(team.actions, Continuous):
                low, high = (np.asarray(bound, np.float32) for bound in (team.actions.low, team.actions.high))
                action = random.uniform(low, high, (*seen.shape[:2], len(low))).astype(np.float32)
            else:
                assert allowed is not None
                action = np.where(allowed, random.random(allowed.shape), -1.0).argmax(axis=-1)
            chosen.append((action, np.zeros(seen.shape[:2], np.float32)))
        return chosen

    return choose


def _noisy(world: World, scales: tuple[np.ndarray, ...]) -> World:
    """A compiled world whose state has the key of the noise that is seen in it beside the world's own."""

    def reset(key: Key):
        return world.reset(key), jax.random.fold_in(key, int(HostPurpose.OBSERVATION_NOISE))

    def observe(state):
        inside, key = state
        seen = zip(world.observe(inside), jax.random.split(key, len(scales)), scales, strict=True)
        return tuple(each + jax.random.normal(k, each.shape) * jnp.asarray(scale) for each, k, scale in seen)

    def step(state, action, key: Key) -> Outcome:
        after = world.step(state[0], action, key)
        return after._replace(state=(after.state, jax.random.fold_in(state[1], 0)))

    def inner(function):
        return None if function is None else lambda state: function(state[0])

    return dataclasses.replace(
        world,
        reset=reset,
        observe=observe,
        step=step,
        render=lambda state: world.render(state[0]),
        available=inner(world.available),
        alive=inner(world.alive),
        won=inner(world.won),
    )
