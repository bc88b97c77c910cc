"""A method on recorded episodes of every seed: fitted, and asked for the reward of every transition of the world.

All methods take the same way, one compiled program per method and shape of world, with seeds as its leading axis.
"""

import time
from dataclasses import dataclass, fields, replace
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from latent_reward.bench.record import Recorded, every_transition
from latent_reward.bench.world import World
from latent_reward.credit.base import CreditSpec, Method
from latent_reward.credit.methods import Entry
from latent_reward.data import buffer as ring
from latent_reward.data.episodes import Episodes
from latent_reward.data.spaces import Discrete
from latent_reward.encoder.card import Space
from latent_reward.encoder.encoder import Encoder
from latent_reward.encoder.from_function import encoder_from_function
from latent_reward.library import core
from latent_reward.library.core import Core
from latent_reward.types import Key

CHUNK = 16  # episodes that a method sees at a time
ROWS = 512  # transitions are filled up to a multiple of this, so that worlds share compiled programs
SMALL = {
    "hidden": (32, 32),
    "width": 16,
    "subset": 4,
    "episodes": 8,
    "batch_steps": 104,
    "learning_rate": 3e-3,
}
"""Networks for worlds of a few dozen states: what is shipped is made for a hundred thousand times as many steps."""
_LONG_UPDATES = ("per-episode", "diaster")
_SHARE = 5


@dataclass(frozen=True)
class Plan:
    """How much is recorded and fitted.

    Attributes:
        episodes: to be fitted to, per seed.
        held_out: to be judged on, per seed.
        updates: of networks; a fifth of them of those that read whole episodes, which take far longer for each.
        shipped: whether networks have their own sizes rather than :data:`SMALL`.
    """

    episodes: int = 64
    held_out: int = 64
    updates: int = 500
    shipped: bool = False


class Fitted(NamedTuple):
    """What a method pays, per seed.

    Attributes:
        held_out: on held-out episodes.
        table: for each transition of the world and agent.
        seconds: of fitting and decoding, per seed, without compilation.
    """

    held_out: Float[np.ndarray, "seed episode time agent"]
    table: Float[np.ndarray, "seed transition agent"]
    seconds: float


def settings_for(entry: Entry, world: World) -> Method | None:
    """The settings of a method for a world, None if it has none for its number of agents."""
    return entry.settings("episodes" if world.agents > 1 else "replay")


def refusal(entry: Entry, world: World) -> str:
    """In words why a method cannot take part in a world; empty if it can."""
    method = settings_for(entry, world)
    if method is None:
        return "has no settings for teams" if world.agents > 1 else "has no settings for one agent"
    if method.latents == "one" and len(world.latent_names) != 1:
        return f"needs an encoder with one latent, and worlds have {len(world.latent_names)}"
    return method.refusal(_spec(world, None))


def small(method: Any) -> Any:
    """The method with the settings of :data:`SMALL` that it has, also those of a network inside it."""
    known = {each.name for each in fields(method)}
    changes: dict[str, Any] = {name: value for name, value in SMALL.items() if name in known}
    if "network" in known:
        changes["network"] = small(method.network)
    return replace(method, **changes)


def _spec(world: World, encoder: Encoder | None) -> CreditSpec:
    agents, actions, horizon, size = world.shape
    return CreditSpec(size, actions, agents, horizon, encoder)


@cache
def _encoder(function: Any, names: tuple[str, ...], size: int, actions: int) -> Encoder:
    return encoder_from_function(function, names).bind(Space.unbounded(size, actions))


@cache
def _stand_in(count: int, size: int, actions: int) -> Encoder:
    """An encoder of so many latents. Programs get latents that are computed, so they need to know only how many."""

    def function(observation: Any, action: Any) -> Any:
        return jnp.repeat(observation[:, :1], count, axis=1)

    return _encoder(function, tuple(map(str, range(count))), size, actions)


def fit(method: Method, world: World, recorded: Recorded, seeds: list[int], plan: Plan) -> Fitted:
    """Fit a method to the first ``plan.episodes`` episodes of each seed, and decode the others and every transition."""
    _, actions, _, size = world.shape
    reads = method.latents != "none"
    encoder = _encoder(world.latents, world.latent_names, size, actions) if reads else None
    stand_in = _stand_in(len(world.latent_names), size, actions) if reads else None
    fixed = Core(method, _spec(world, stand_in), Discrete(actions))
    own = Core(method, _spec(world, encoder), Discrete(actions))
    table = every_transition(world, -(-len(world.source) // ROWS) * ROWS)
    played = recorded.episodes
    flat = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), played)
    features = core.encode(own, flat).reshape(*played.mask.shape, -1)
    arguments = Arguments(
        jax.vmap(partial(jax.random.fold_in, jax.random.key(0)))(jnp.asarray(seeds)),
        played,
        features,
        table,
        core.encode(own, table),
    )
    leaves, structure = jax.tree.flatten(arguments)
    program = _compiled(fixed, plan, structure, tuple((leaf.shape, leaf.dtype) for leaf in leaves))
    begin = time.perf_counter()
    trained, held_out, rewards = jax.tree.map(np.asarray, program(arguments))
    seconds = (time.perf_counter() - begin) / len(seeds)
    by_transition = rewards[:, : len(world.source), 0].astype(float)
    if not (method.stepwise or method.needs_step_rewards):
        by_transition = _mean_by_transition(world, recorded, trained.astype(float))
    return Fitted(held_out.astype(float), by_transition, seconds)


class Arguments(NamedTuple):
    """What a compiled program gets; ``keys``, ``played`` and ``features`` have a leading axis of seeds."""

    keys: Any
    played: Episodes
    features: Float[Array, "seed episode time agent feature"]
    table: Episodes
    table_features: Float[Array, "transition 1 agent feature"]


@cache
def _compiled(fixed: Core, plan: Plan, structure: Any, shapes: tuple[Any, ...]) -> Any:
    """The program for arguments of these shapes, compiled ahead so that compilation is not measured."""
    arguments = structure.unflatten([jax.ShapeDtypeStruct(*each) for each in shapes])
    axes = Arguments(0, 0, 0, None, None)  # pyright: ignore[reportArgumentType]
    learn = jax.vmap(partial(_learn, fixed, plan), in_axes=(axes,))
    return jax.jit(learn).lower(arguments).compile()


def _learn(fixed: Core, plan: Plan, given: Arguments) -> tuple[Array, Array, Array]:
    """The rewards of one seed's own episodes, of its held-out ones and of every transition."""
    method, spec, count = fixed.method, fixed.spec, plan.episodes
    own, held_out = (
        jax.tree.map(lambda leaf, part=part: leaf[part], (given.features, given.played))
        for part in (slice(None, count), slice(count, None))
    )
    k_state, k_updates = jax.random.split(given.keys)
    chunks = jax.tree.map(lambda leaf: leaf.reshape(-1, min(CHUNK, count), *leaf.shape[1:]), own)
    observe = lambda state, chunk: (method.observe(state, *chunk), None)  # noqa: E731
    state, _ = jax.lax.scan(observe, method.init(spec, k_state), chunks)
    if method.draws:
        slow = getattr(method, "kind", "") in _LONG_UPDATES
        updates = max(1, plan.updates // _SHARE) if slow else plan.updates
        state = _fit(fixed, state, own, k_updates, updates)
    reward = lambda part: method.reward(state, part[0], part[1].mask)  # noqa: E731
    return reward(own), reward(held_out), reward((given.table_features, given.table))


def _fit(fixed: Core, state: Any, own: tuple[Array, Episodes], key: Key, updates: int) -> Any:
    """The state after so many updates on episodes that are stored as they are elsewhere."""
    features, episodes = own
    count, horizon, agents = episodes.mask.shape
    buffer = ring.init(count * horizon, horizon, agents, features=features.shape[-1], episodes=count)
    buffer = ring.insert(buffer, episodes, None, features)

    def update(number: Any, state: Any) -> Any:
        drawn = fixed.method.draw(fixed.spec, jax.random.fold_in(key, number), buffer)
        return fixed.method.update(fixed.spec, state, drawn)[0]

    return jax.lax.fori_loop(0, updates, update, state)


def _mean_by_transition(
    world: World, recorded: Recorded, rewards: Float[np.ndarray, "seed episode time agent"]
) -> Float[np.ndarray, "seed transition agent"]:
    """What a method that reads whole episodes paid for each transition on average; for unseen ones its mean reward."""
    seeds, episodes = rewards.shape[:2]
    mask, size = recorded.mask[:, :episodes], len(world.source)
    found = np.empty((seeds, size, world.agents))
    for seed in range(seeds):
        seen = recorded.transition[seed, :episodes][mask[seed]]
        paid = rewards[seed][mask[seed]]
        count = np.bincount(seen, minlength=size)
        for agent in range(world.agents):
            total = np.bincount(seen, paid[:, agent], minlength=size)
            found[seed, :, agent] = np.where(count, total / np.maximum(count, 1), paid[:, agent].mean())
    return found
