"""SMAX: battles of small armies (Rutherford et al. 2023, arXiv 2311.10090), from the package ``jaxmarl``.

A team of allies fights units that follow a fixed heuristic. Both act every half second. A side loses with its last
unit, and the allies also lose at the time limit. The team receives the share of the enemy's health that it takes, and
1 for a victory, so the largest return is 2. The reward of a step is divided among the allies that acted in it, so that
the sum over agents is the return even if some of them die.
"""

import contextlib
import io
import sys
from collections.abc import Iterator
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from latent_reward.data.spaces import Discrete
from latent_reward.envs.base import Outcome, Team, World
from latent_reward.envs.particle.physics import Particles
from latent_reward.envs.particle.render import draw
from latent_reward.errors import TaskError
from latent_reward.types import Key

HORIZON = 100
MAPS = ("3m", "2s3z", "5m_vs_6m")
_OUT_OF_SIGHT = 1e3  # where the dead are drawn: nowhere near the arena


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the notices of an import to itself, and the streams of the caller as they were.

    On import, ``jaxmarl`` prints what it did not find, after it has put the process's own streams in place of
    those that are there.
    """
    silence, own = io.StringIO(), sys.__stdout__
    sys.__stdout__ = silence  # pyright: ignore[reportConstantRedefinition]
    try:
        with contextlib.redirect_stdout(silence), contextlib.redirect_stderr(sys.stderr):
            yield
    finally:
        sys.__stdout__ = own  # pyright: ignore[reportConstantRedefinition]


def battle(map_name: str) -> Any:
    """The environment of a map, from ``jaxmarl``; TaskError if that is not installed or does not fit this JAX."""
    try:
        with _quiet():
            from jaxmarl.environments.smax import (  # pyright: ignore[reportMissingImports]
                HeuristicEnemySMAX,
                map_name_to_scenario,
            )
    except ImportError as error:
        message = f"smax-{map_name} needs the package jaxmarl ({error})"
        raise TaskError("world", message, 'install it with `pip install "latent-reward[smax]"`') from error
    return HeuristicEnemySMAX(scenario=map_name_to_scenario(map_name), max_steps=HORIZON)


def smax(map_name: str) -> World:
    """The world of a map: ``3m``, ``2s3z`` or ``5m_vs_6m``."""
    env = battle(map_name)
    names, enemies = env.agents, env.num_enemies
    allies = len(names)
    stop = env.num_ally_actions - enemies - 1  # the last action before those that attack an enemy

    def living(state) -> Bool[Array, " agent"]:
        return state.state.unit_alive[:allies]

    def over(state) -> Bool[Array, ""]:
        return ~living(state).any() | ~state.state.unit_alive[allies:].any()

    def won(state) -> Bool[Array, ""]:
        return living(state).any() & ~state.state.unit_alive[allies:].any()

    def observe(state) -> tuple[Float[Array, "agent observation"]]:
        seen = env.get_obs(state)
        return (jnp.stack([seen[name] for name in names]),)

    def available(state) -> Bool[Array, "agent action"]:
        masks = env.get_avail_actions(state)
        return jnp.stack([masks[name] for name in names]).astype(bool)

    def step(state, action: Int[Array, " agent"], key: Key) -> Outcome:
        acting = living(state)
        chosen = {name: action[index] for index, name in enumerate(names)}
        _, after, paid, _, _ = env.step_env(key, state, chosen)
        earns = acting & ~over(state)  # or a victory would be paid at every step after it
        share = jnp.where(earns, paid[names[0]] / jnp.maximum(acting.sum(), 1), 0.0)
        return Outcome(after, share, over(after))

    def render(state) -> np.ndarray:
        units = state.state
        centre = np.array([env.map_width, env.map_height]) / 2
        place = np.asarray(units.unit_positions) - centre
        place = np.where(np.asarray(units.unit_alive)[:, None], place, _OUT_OF_SIGHT)
        radius = np.asarray(env.unit_type_radiuses)[np.asarray(units.unit_types)]
        shown: Any = Particles(place, np.zeros_like(place), np.zeros((0, 2)))  # pyright: ignore
        return draw(shown, {"allies": allies, "enemies": enemies}, radius, 0.0, env.map_width / 3)

    return World(
        f"smax-{map_name}",
        (Team("allies", allies, env.obs_size, Discrete(env.num_ally_actions), idle=stop),),
        lambda key: env.reset(key)[1],
        observe,
        step,
        render,
        horizon=HORIZON,
        available=available,
        alive=living,
        won=won,
    )
