"""Recorded episodes: what behaviours from random to good did in a world, for every seed at once."""

from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Bool, Float, Int

from latent_reward.bench import exact
from latent_reward.bench.exact import Policy
from latent_reward.bench.world import World
from latent_reward.data.episodes import Episodes

BEHAVIOURS = (0.0, 0.5, 1.0, 2.0)
"""Sharpness of the policies that take turns, episode by episode; gradients are those of the second."""
REFERENCE = 1


class Recorded(NamedTuple):
    """Episodes of every seed, padded to the horizon.

    Attributes:
        transition: number of the transition of each step; undefined outside the mask.
        mask: whether the episode goes on.
        truth: the credit that each step and agent truly deserves, 0 outside the mask.
        episodes: the same as methods get it; the leading axis counts seeds, the next one episodes.
    """

    transition: Int[np.ndarray, "seed episode time"]
    mask: Bool[np.ndarray, "seed episode time"]
    truth: Float[np.ndarray, "seed episode time agent"]
    episodes: Episodes


def behaviours(world: World) -> list[Policy]:
    """The policies that take turns."""
    return [exact.softened(world, each) for each in BEHAVIOURS]


def record(world: World, seeds: list[int], episodes: int) -> Recorded:
    """Play ``episodes`` episodes per seed; a seed gives the same ones whatever the others are."""
    parts = [_play(world, np.random.default_rng([seed, 0]), episodes) for seed in seeds]
    transition, mask, truth, *arrays = map(np.stack, zip(*parts, strict=True))
    played = Episodes(*jax.device_put(tuple(arrays)))
    return Recorded(transition, mask, truth, played)


def _play(world: World, random: np.random.Generator, count: int) -> tuple[np.ndarray, ...]:
    policies = behaviours(world)
    turn = np.arange(count) % len(policies)
    chances = np.array([exact.joint(world, each) for each in policies]).cumsum(axis=-1)
    order = np.lexsort((world.source * len(world.choices) + world.action,))
    reached = world.probability[order].cumsum()
    row = (world.source * len(world.choices) + world.action)[order]
    state = random.choice(world.states, size=count, p=world.start)
    going = np.ones(count, bool)
    states: list[Any] = [state]
    actions: list[Any] = []
    transitions: list[Any] = []
    masks: list[Any] = []
    for _ in range(world.horizon):
        action = (random.random((count, 1)) > chances[turn, state]).sum(axis=1)
        action = np.minimum(action, len(world.choices) - 1)
        first = np.searchsorted(row, np.where(going, state * len(world.choices) + action, row[0]))
        before = np.where(first > 0, reached[first - 1], 0.0)
        drawn = before + random.random(count) * (1 - 1e-9)
        found = order[np.minimum(np.searchsorted(reached, drawn, side="right"), len(order) - 1)]
        state = np.where(going, world.target[found], state)
        states.append(state)
        actions.append(action)
        transitions.append(found)
        masks.append(going)
        going = going & ~world.over[found]
    state, action, transition, mask = (
        np.stack(each, axis=1) for each in (states, actions, transitions, masks)
    )
    there = mask[..., None]
    paid = world.reward[transition] + world.noise * random.normal(size=(*mask.shape, world.agents))
    paid = np.where(there, paid, 0.0)
    if world.truth == "reward":
        truth = world.reward[transition]
    else:
        gains = np.array([exact.advantages(world, each) for each in policies])
        truth = gains[turn[:, None], np.arange(world.horizon), state[:, :-1], action]
    seen = world.observation[state]
    if world.distractors:
        drawn = random.normal(size=(*seen.shape[:-1], world.distractors))
        seen = np.concatenate([seen, drawn], axis=-1)
    own = np.repeat(there, world.agents, axis=-1)
    return (
        transition,
        mask,
        np.where(there, truth, 0.0),
        seen.astype(np.float32),
        world.choices[action].astype(np.int32),
        own,
        own & world.over[transition][..., None],
        paid.sum(axis=(1, 2)).astype(np.float32),
        paid.astype(np.float32),
    )


def every_transition(world: World, rows: int) -> Episodes:
    """Every transition as an episode of one step, filled up to ``rows`` with empty ones; distractors are at their mean.

    The hidden reward is the mean reward, and the return its sum.
    """
    count = len(world.source)
    seen = np.stack([world.observation[world.source], world.observation[world.target]], axis=1)
    seen = np.pad(seen, ((0, rows - count), (0, 0), (0, 0), (0, world.distractors)))
    fill = lambda array: np.pad(array, ((0, rows - count), *((0, 0),) * (array.ndim - 1)))  # noqa: E731
    mask = np.ones((count, 1, world.agents), bool)
    arrays = (
        seen.astype(np.float32),
        fill(world.choices[world.action][:, None].astype(np.int32)),
        fill(mask),
        fill(mask & world.over[:, None, None]),
        fill(world.reward.sum(axis=1).astype(np.float32)),
        fill(world.reward[:, None].astype(np.float32)),
    )
    return Episodes(*jax.device_put(arrays))
