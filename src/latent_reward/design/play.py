"""Play episodes of any task to score encoders on; of the rewards only the return of each episode is used.

No agent is trained yet: each episode has a different kind of random behaviour. Together they visit more states, and
earn more different returns, than uniform actions alone.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from latent_reward.data.episodes import Episodes, team_return
from latent_reward.data.spaces import ActionSpace, Continuous
from latent_reward.envs.base import Environment, HostWorld, ParallelEnv, World, close, members
from latent_reward.envs.recorder import EpisodeArrays, collect
from latent_reward.envs.worlds import WORLDS, find_world
from latent_reward.errors import LareError
from latent_reward.task.load import find_description
from latent_reward.task.open import open_environment, require_fit
from latent_reward.task.task import AnyTask

Policy = Callable[[np.ndarray], np.ndarray]

BEHAVIOURS = ("uniform", "held", "smooth", "biased", "gentle", "linear")
TEAM_BEHAVIOURS = ("uniform", "held", "biased", "own bias")
_BLOCK = 128


@dataclass(frozen=True)
class Recording:
    """How much is recorded: at most ``episodes``, ``steps`` in all and ``seconds`` of wall clock.

    The first of the three limits that is reached ends the recording; the episode under way is finished.
    """

    episodes: int = 200
    steps: int = 50_000
    seconds: float | int = 60
    seed: int = 0


@dataclass(frozen=True)
class Recorded:
    """The steps of one team's episodes as rows, and the return of the episode that each belongs to.

    A row is one step of one agent that is there. ``observation``, ``action`` (as numbers) and ``next_observation``
    are [step, feature] in float32; ``episode`` [step] numbers the episode; ``returns`` and ``lengths`` are [episode].
    """

    observation: np.ndarray
    action: np.ndarray
    next_observation: np.ndarray
    episode: np.ndarray
    returns: np.ndarray
    lengths: np.ndarray
    behaviours: tuple[str, ...] = ()

    def sums(self, values: np.ndarray) -> np.ndarray:
        """The sum of [step, latent] over each episode: [episode, latent] in float64."""
        total = np.zeros((len(self.returns), values.shape[1]))
        np.add.at(total, self.episode, values.astype(np.float64))
        return total

    def sample(self, rows: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """``rows`` steps drawn without replacement (or all there are): observation, action, next observation."""
        generator = np.random.default_rng(seed)
        chosen = np.sort(generator.permutation(len(self.episode))[:rows])
        return self.observation[chosen], self.action[chosen], self.next_observation[chosen]


def prepare(task: AnyTask | str, recording: Recording | None = None) -> Callable[[threading.Event], Recorded]:
    """Create the environment of a task, and return the function that plays its episodes until an event is set.

    ``task`` is anything that :func:`~latent_reward.task.load.find_description` accepts, but for a team of PettingZoo
    the whole task is needed, not only its description. The returned function may run in another thread; creating an
    environment may not. Raises LareError if the environment cannot be created or does not fit the task; the returned
    function raises it if an observation or a reward is not finite, or nobody of the team acts.
    """
    whole, described = find_description(task)
    recording = recording or Recording()
    name, _, team = described.env_id.partition("/")
    if name in WORLDS:  # also for the description of a team alone
        world = find_world(name)
        place = next((i for i, each in enumerate(world.teams) if team in ("", each.name)), 0)
        require_fit(described, world.teams[place])
    else:
        world, place = open_environment(whole), whole.descriptions.index(described)
    if isinstance(world, World):
        return lambda stop: _play_compiled(world, place, recording, stop)
    env = world.make(None)
    return lambda stop: _play_on_host(world, env, place, recording, stop)


def collect_episodes(task: AnyTask | str, recording: Recording | None = None) -> Recorded:
    """Play episodes of the task's environment, each with one of several behaviours in turn; see :func:`prepare`.

    The same recording gives the same episodes, unless its time limit ends it.
    """
    return prepare(task, recording)(threading.Event())


def _play_on_host(
    world: HostWorld, env: ParallelEnv, place: int, recording: Recording, stop: threading.Event
) -> Recorded:
    """Episodes one after the other in one copy, which is closed in the end."""
    played: list[EpisodeArrays] = []
    steps, end = 0, time.monotonic() + recording.seconds
    try:
        for number in range(recording.episodes):
            if number and (steps >= recording.steps or time.monotonic() > end or stop.is_set()):
                break
            played.append(_episode(world, env, recording.seed, number)[place])
            steps += int(played[-1].mask.sum())
    finally:
        close(env)
    team = world.teams[place]
    if not steps:
        raise LareError(
            f"pettingzoo: nobody of the team {team.name} acts in {len(played)} episodes of {world.name}; "
            "fix the environment or the team's members"
        )
    parts = [each.episodes()._replace(returns=each.total) for each in played]  # in double precision
    return _rows(parts, team.actions)


def _episode(world: HostWorld, env: ParallelEnv, seed: int, number: int) -> tuple[EpisodeArrays, ...]:
    """One episode of every team; where actions are continuous, there is one team of one agent."""
    generator, team = np.random.default_rng([seed, number]), world.teams[0]
    if isinstance(team.actions, Continuous):
        _, policy = behaviour(number, team.actions, team.observation_size, generator)
        act = lambda step, observations, _: [policy(observations[0][0, 0])[None, None]]  # noqa: E731
    else:
        chosen, generator = team_actions(world, seed, number), np.random.default_rng([seed, number, 1])
        act = lambda step, _, available: [  # noqa: E731
            allowed(chosen[step][None, team], mask)
            for team, mask in zip(members(world), available, strict=True)
        ]

    def choose(
        step: int, observations: tuple[np.ndarray, ...], available: tuple[np.ndarray | None, ...]
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        return [(each, np.zeros(each.shape[:2], np.float32)) for each in act(step, observations, available)]

    return collect(world, [env], [int(generator.integers(2**31))], choose)


def _play_compiled(world: World, place: int, recording: Recording, stop: threading.Event) -> Recorded:
    """All episodes side by side; ``recording.steps`` limits the rows."""
    team, seats = world.teams[place], members(world)[place]
    count = max(1, min(recording.episodes, -(-recording.steps // (team.agents * world.horizon))))
    keys = jax.random.split(jax.random.key(recording.seed), count)
    chosen = np.stack([team_actions(world, recording.seed, number) for number in range(count)], axis=1)
    reset, observe, step = (
        jax.jit(jax.vmap(function)) for function in (world.reset, world.observe, world.step)
    )
    fold_in = jax.jit(jax.vmap(jax.random.fold_in, in_axes=(0, None)))
    alive = jax.jit(jax.vmap(world.alive)) if world.alive else None
    available = jax.jit(jax.vmap(world.available)) if world.available else None

    state, running = reset(keys), np.ones(count, bool)
    seen, steps = [np.asarray(observe(state)[place])], []
    for moment in range(world.horizon):
        if stop.is_set() or not running.any():
            break
        mask = np.repeat(running[:, None], team.agents, axis=1)
        if alive is not None:
            mask &= np.asarray(alive(state))[:, seats]
        if available is not None:
            chosen[moment] = allowed(chosen[moment], np.asarray(available(state)))
        state, reward, terminated = step(state, chosen[moment], fold_in(keys, moment + 1))
        paid = running[:, None] * np.asarray(reward)[:, seats]
        seen.append(np.asarray(observe(state)[place]))
        steps.append((chosen[moment][:, seats], mask, paid))
        running = running & ~np.asarray(terminated)
    observation = np.stack(seen, axis=1)
    action, mask, paid = (np.stack(each, axis=1) for each in zip(*steps, strict=True))
    observation, action, mask, paid = map(jnp.asarray, (observation, action, mask, paid))
    part = Episodes(observation, action, mask, mask, team_return(paid, jnp.ones_like(mask)), paid)
    return _rows([part], team.actions)


def _rows(parts: Sequence[Episodes], actions: ActionSpace) -> Recorded:
    """Episodes with NumPy arrays, in their order, as one table."""
    masks = [np.asarray(part.mask) for part in parts]
    before, action, after = (
        np.concatenate([np.asarray(each)[mask] for each, mask in zip(arrays, masks, strict=True)])
        for arrays in zip(
            *((p.observation[:, :-1], p.action, p.observation[:, 1:]) for p in parts), strict=True
        )
    )
    per_episode = np.concatenate([mask.sum(axis=(1, 2)) for mask in masks])
    kinds = BEHAVIOURS if isinstance(actions, Continuous) else TEAM_BEHAVIOURS
    return Recorded(
        before.astype(np.float32),
        np.asarray(actions.as_numbers(jnp.asarray(action)), np.float32),
        after.astype(np.float32),
        np.repeat(np.arange(len(per_episode)), per_episode),
        np.concatenate([np.asarray(part.returns, float) for part in parts]),
        np.concatenate([mask.any(axis=2).sum(axis=1) for mask in masks]),
        tuple(kinds[number % len(kinds)] for number in range(len(per_episode))),
    )


def behaviour(
    number: int, actions: Continuous, observation_size: int, generator: np.random.Generator
) -> tuple[str, Policy]:
    """The behaviour of one episode with continuous actions: its name, and the function from observation to action.

    In turn: uniform actions; one uniform action held for some steps; smooth noise; noise around a constant;
    uniform actions scaled down; a random linear function of the observation.
    """
    low, high = (np.asarray(bound, np.float32) for bound in (actions.low, actions.high))

    def scaled(unit: np.ndarray) -> np.ndarray:
        inside = np.minimum(np.maximum(unit, -1), 1)
        return (low + (inside + 1) / 2 * (high - low)).astype(np.float32)

    kind = BEHAVIOURS[number % len(BEHAVIOURS)]
    if kind == "linear":
        weights = generator.normal(size=(len(low), observation_size)) / np.sqrt(observation_size)
        noise = (row for block in _blocks("gentle", len(low), generator, 0.1) for row in block)
        return kind, lambda observation: scaled(
            np.tanh(weights @ np.minimum(np.maximum(observation, -5), 5)) + next(noise)
        )
    # Many steps at once: drawn one by one they take a fifth of the time of a fast simulator.
    stream = (action for block in _blocks(kind, len(low), generator) for action in scaled(block))
    return kind, lambda observation: next(stream)


def team_actions(world: Environment, seed: int, number: int) -> np.ndarray:
    """The discrete action of every agent at every step of one episode: [time, agent].

    In turn: uniform actions; one action held for some steps; preferences over the actions that all agents share;
    preferences of each agent's own.
    """
    generator = np.random.default_rng([seed, number])
    counts = np.repeat([team.actions.size for team in world.teams], [team.agents for team in world.teams])
    shape, most = (world.horizon, len(counts)), int(counts.max())
    kind = TEAM_BEHAVIOURS[number % len(TEAM_BEHAVIOURS)]
    if kind in ("uniform", "held"):
        choices = most if (counts == most).all() else counts
        chosen = generator.integers(choices, size=shape, dtype=np.int32)
        return chosen[np.arange(len(chosen)) // generator.integers(2, 10)] if kind == "held" else chosen
    agents = len(counts) if kind == "own bias" else 1
    preferences = 2 * generator.normal(size=(1, agents, most)) + generator.gumbel(size=(*shape, most))
    return np.where(np.arange(most) < counts[:, None], preferences, -np.inf).argmax(axis=-1).astype(np.int32)


def allowed(action: np.ndarray, available: np.ndarray | None) -> np.ndarray:
    """Each action, or where it is not available the next one that is: ``[…]`` and ``[…, action]``."""
    if available is None:
        return action
    count = available.shape[-1]
    distance = (np.arange(count) - action[..., None]) % count
    return np.where(available, distance, count).argmin(axis=-1).astype(action.dtype)


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
