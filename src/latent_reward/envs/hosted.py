"""A compiled world as an environment on the host, for loops that take one step at a time."""

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import jax
import numpy as np

from latent_reward.envs.base import Environment, HostWorld, World
from latent_reward.envs.contract import MASK


@cache
def _compiled(world: World) -> tuple[Callable, Callable, Callable, Callable | None]:
    """``reset``, ``observe``, ``step`` and ``available`` of a world, compiled once for all of its copies."""
    available = world.available and jax.jit(world.available)
    return jax.jit(world.reset), jax.jit(world.observe), jax.jit(world.step), available


def on_host(world: Environment) -> HostWorld:
    """The world itself if it runs on the host, or one whose copies step the compiled world."""
    if isinstance(world, HostWorld):
        return world
    members = tuple(tuple(f"{team.name}_{i}" for i in range(team.agents)) for team in world.teams)
    make = partial(SteppedWorld, world, [name for names in members for name in names])
    return HostWorld(world.name, world.teams, members, (0,) * len(members), make, world.horizon)


class SteppedWorld:
    """One copy of a compiled world with the parallel interface; every agent stays until the episode ends."""

    metadata = {"render_fps": 10}  # noqa: RUF012

    def __init__(self, world: World, names: list[str], render_mode: str | None = None):
        """There are no agents before the first reset."""
        self.world, self.possible_agents, self.agents = world, names, list[str]()
        self._reset, self._observe, self._step, self._available = _compiled(world)

    def reset(self, seed: int | None = None) -> tuple[dict, dict]:
        """Start an episode that depends on the seed alone."""
        self._key, reset = jax.random.split(jax.random.key(seed or 0))
        self._state, self._steps, self.agents = self._reset(reset), 0, list(self.possible_agents)
        return self._seen(), self._infos()

    def step(self, actions: dict[str, Any]) -> tuple[dict, dict, dict, dict, dict]:
        """Take the actions of all agents."""
        there, key = self.agents, jax.random.fold_in(self._key, self._steps)
        chosen = np.stack([actions[name] for name in there])
        self._state, reward, over = self._step(self._state, chosen, key)
        self._steps += 1
        terminated, truncated = bool(over), self._steps >= self.world.horizon
        if terminated or truncated:
            self.agents = []
        paid = dict(zip(there, np.asarray(reward), strict=True))
        ends = (dict.fromkeys(there, terminated), dict.fromkeys(there, truncated))
        return self._seen(), paid, *ends, self._infos()

    def render(self) -> np.ndarray:
        """A frame."""
        return self.world.render(jax.tree.map(np.asarray, self._state))

    def close(self) -> None:
        """Nothing is open."""

    def _infos(self) -> dict[str, dict[str, np.ndarray]]:
        """The mask of each agent's actions, if there is one."""
        if self._available is None:
            return {name: {} for name in self.possible_agents}
        masks = np.asarray(self._available(self._state))
        return {name: {MASK: mask} for name, mask in zip(self.possible_agents, masks, strict=True)}

    def _seen(self) -> dict[str, np.ndarray]:
        rows = [row for each in self._observe(self._state) for row in np.asarray(each)]
        return dict(zip(self.possible_agents, rows, strict=True))
