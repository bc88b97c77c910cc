"""How episodes are played before any agent is trained: a different kind of random behaviour in each.

Together the behaviours visit more states, and earn more different returns, than uniform actions alone.
"""

from collections.abc import Callable, Iterator

import gymnasium
import numpy as np

from latent_reward.envs.base import World
from latent_reward.envs.pettingzoo import HostWorld

Policy = Callable[[np.ndarray], np.ndarray]

BEHAVIOURS = ("uniform", "held", "smooth", "biased", "gentle", "linear")
TEAM_BEHAVIOURS = ("uniform", "held", "biased", "own bias")
_BLOCK = 128


def behaviour(
    number: int, space: gymnasium.Space, observation_size: int, generator: np.random.Generator
) -> tuple[str, Policy]:
    """The behaviour of one episode with continuous actions: its name, and the function from observation to action.

    In turn: uniform actions; one uniform action held for some steps; smooth noise; noise around a constant;
    uniform actions scaled down; a random linear function of the observation.
    """
    assert isinstance(space, gymnasium.spaces.Box)
    low = np.where(np.isfinite(space.low), space.low, -1.0)
    high = np.where(np.isfinite(space.high), space.high, 1.0)

    def scaled(unit: np.ndarray) -> np.ndarray:
        inside = np.minimum(np.maximum(unit, -1), 1)
        return (low + (inside + 1) / 2 * (high - low)).astype(space.dtype)

    kind = BEHAVIOURS[number % len(BEHAVIOURS)]
    if kind == "linear":
        weights = generator.normal(size=(len(low), observation_size)) / np.sqrt(observation_size)
        noise = (row for block in _blocks("gentle", len(low), generator, 0.1) for row in block)
        return kind, lambda observation: scaled(
            np.tanh(weights @ np.minimum(np.maximum(observation, -5), 5)) + next(noise)
        )
    # Many steps at once: drawn one by one they take a fifth of the time of a fast simulator.
    actions = (action for block in _blocks(kind, len(low), generator) for action in scaled(block))
    return kind, lambda observation: next(actions)


def team_actions(world: World | HostWorld, seed: int, number: int) -> np.ndarray:
    """The discrete action of every agent at every step of one episode: [time, agent].

    In turn: uniform actions; one action held for some steps; preferences over the actions that all agents share;
    preferences of each agent's own.
    """
    generator = np.random.default_rng([seed, number])
    shape = (world.horizon, world.agents)
    kind = TEAM_BEHAVIOURS[number % len(TEAM_BEHAVIOURS)]
    if kind in ("uniform", "held"):
        chosen = generator.integers(world.actions, size=shape, dtype=np.int32)
        return chosen[np.arange(len(chosen)) // generator.integers(2, 10)] if kind == "held" else chosen
    agents = world.agents if kind == "own bias" else 1
    preferences = 2 * generator.normal(size=(1, agents, world.actions))
    return (preferences + generator.gumbel(size=(*shape, world.actions))).argmax(axis=-1).astype(np.int32)


def _blocks(
    kind: str, size: int, generator: np.random.Generator, scale: float | None = None
) -> Iterator[np.ndarray]:
    """Endless blocks [step, action], between −1 and 1, of a behaviour that does not depend on observations."""
    hold = int(generator.integers(2, 20))
    keep = generator.uniform(0.7, 0.98)
    bias = generator.uniform(-1, 1, size)
    scale = generator.uniform(0, 0.5) if scale is None else scale
    last = generator.uniform(-1, 1, size)
    while True:
        fresh = generator.uniform(-1, 1, (_BLOCK, size))
        if kind == "held":
            yield fresh.repeat(hold, axis=0)
        elif kind == "smooth":
            for row in fresh:
                row *= np.sqrt(1 - keep**2)
                row += keep * last
                last = row
            yield fresh
        elif kind == "biased":
            yield bias + 0.3 * fresh
        else:
            yield fresh * (scale if kind == "gentle" else 1.0)
