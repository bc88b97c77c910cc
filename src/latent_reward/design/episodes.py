"""Episodes of random and mixed behaviour: what encoders are scored on before any agent is trained.

Only this module, and for teams :mod:`latent_reward.design.world_episodes` and
:mod:`latent_reward.design.host_episodes`, touch an environment. They use of the rewards only their sum over each
episode.
"""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import gymnasium
import numpy as np

from latent_reward.envs.pettingzoo import HostWorld
from latent_reward.envs.worlds import WORLDS
from latent_reward.errors import LareError
from latent_reward.task.check import check_task
from latent_reward.task.load import find_description
from latent_reward.task.open import make_env, open_world
from latent_reward.task.task import AnyTask, Task, TeamTask

Policy = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Plan:
    """How many episodes are collected: ``episodes``, but no more than ``steps`` in all and ``seconds`` of
    wall clock, whichever ends first. An episode that was begun is finished.
    """

    episodes: int = 200
    steps: int = 50_000
    seconds: float | int = 60
    seed: int = 0


@dataclass(frozen=True)
class Episodes:
    """Steps as rows, and the return of the episode that each belongs to.

    ``observation``, ``action`` and ``next_observation`` are [step, feature] in float32; ``episode`` [step]
    numbers the episode; ``returns`` and ``lengths`` are [episode].
    """

    observation: np.ndarray
    action: np.ndarray
    next_observation: np.ndarray
    episode: np.ndarray
    returns: np.ndarray
    lengths: np.ndarray
    behaviours: tuple[str, ...] = ()

    def sums(self, values: np.ndarray) -> np.ndarray:
        """Adds [step, latent] over each episode: [episode, latent] in float64."""
        total = np.zeros((len(self.returns), values.shape[1]))
        np.add.at(total, self.episode, values.astype(np.float64))
        return total

    def sample(self, rows: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """``rows`` steps drawn without replacement (or all there are): observation, action, next one."""
        generator = np.random.default_rng(seed)
        chosen = np.sort(generator.permutation(len(self.episode))[:rows])
        return self.observation[chosen], self.action[chosen], self.next_observation[chosen]


def prepare(task: AnyTask | str, plan: Plan | None = None) -> Callable[[threading.Event], Episodes]:
    """Creates the environment of a task now, and returns what collects its episodes until an event is set.

    ``task`` is one as :func:`~latent_reward.task.find_description` takes it; a description alone does not
    tell where a team of PettingZoo acts. The second half may run in another thread; creating an environment
    may not.

    Raises:
        LareError: the environment cannot be created or does not fit the task. The function it returns
            raises it if an observation or a reward is not finite.
    """
    whole, task = find_description(task)
    plan = plan or Plan()
    if isinstance(whole, TeamTask) and whole.pettingzoo:
        return _prepare_host(whole, whole.descriptions.index(task), plan)
    if task.env_id.partition("/")[0] in WORLDS:
        from latent_reward.design.world_episodes import prepare_world

        return prepare_world(task, plan)
    env = make_env(task)
    for part, space, size in (
        ("observation", env.observation_space, task.observation_size),
        ("action", env.action_space, task.action_size),
    ):
        if space.shape != (size,):
            env.close()
            raise LareError(
                f"{part}: {task.env_id} has {space.shape}, the fields of {task.name} describe {size}; "
                "run `lare check` on the task file"
            )
    return lambda stop: _collect(env, task, plan, stop)


def _prepare_host(task: TeamTask, place: int, plan: Plan) -> Callable[[threading.Event], Episodes]:
    from latent_reward.design.host_episodes import play

    for problem in check_task(task):
        raise LareError(f"task: {problem}")
    world = open_world(task)
    assert isinstance(world, HostWorld)
    env = world.make(None)
    return lambda stop: play(world, place, env, plan, stop)


def collect(task: AnyTask | str, plan: Plan | None = None) -> Episodes:
    """Plays episodes of the task's environment, each with one of several behaviours in turn.

    The same plan gives the same episodes, unless its seconds end it.

    Raises:
        LareError: as :func:`prepare`.
    """
    return prepare(task, plan)(threading.Event())


def _collect(
    env: gymnasium.Env[np.ndarray, np.ndarray], task: Task, plan: Plan, stop: threading.Event
) -> Episodes:
    observations, actions, following, owner, returns, lengths, names = [], [], [], [], [], [], []
    end = time.monotonic() + plan.seconds
    try:
        for number in range(plan.episodes):
            if number and (len(owner) >= plan.steps or time.monotonic() > end or stop.is_set()):
                break
            generator = np.random.default_rng([plan.seed, number])
            name, policy = behaviour(number, env.action_space, task.observation_size, generator)
            total = steps = 0
            for before, action, reward, after in _play(env, policy, int(generator.integers(2**31))):
                observations.append(before)
                actions.append(action)
                following.append(after)
                total, steps = total + reward, steps + 1
            if not np.isfinite(total):
                raise LareError(
                    f"env: an episode of {task.env_id} has the return {total}; correct the environment"
                )
            owner += [number] * steps
            returns.append(total)
            lengths.append(steps)
            names.append(name)
    finally:
        env.close()
    recorded = Episodes(
        np.asarray(observations, np.float32),
        np.asarray(actions, np.float32),
        np.asarray(following, np.float32),
        np.asarray(owner),
        np.asarray(returns, float),
        np.asarray(lengths),
        tuple(names),
    )
    if not all(np.isfinite(part).all() for part in (recorded.observation, recorded.next_observation)):
        raise LareError(f"env: {task.env_id} gave an observation that is not finite; correct the environment")
    return recorded


def _play(env: gymnasium.Env, policy: Policy, seed: int) -> Iterator[tuple]:
    """One episode, step by step: observation, action, reward, next observation."""
    observation, _ = env.reset(seed=seed)
    while True:
        action = policy(observation)
        following, reward, terminated, truncated, _ = env.step(action)
        yield observation, action, float(reward), following
        if terminated or truncated:
            return
        observation = following


_BLOCK = 128
BEHAVIOURS = ("uniform", "held", "smooth", "biased", "gentle", "linear")


def behaviour(
    number: int, space: gymnasium.Space, observation_size: int, generator: np.random.Generator
) -> tuple[str, Policy]:
    """The behaviour of one episode: its name, and the function from observation to action.

    In turn: uniform actions; one uniform action held for some steps; smooth noise; noise around a constant;
    uniform actions scaled down; a random linear function of the observation. Together they visit more, and
    earn more different returns, than uniform actions alone.
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


def _blocks(
    kind: str, size: int, generator: np.random.Generator, scale: float | None = None
) -> Iterator[np.ndarray]:
    """Actions of one behaviour that does not look at observations, on the scale of −1 to 1: [step, action]
    for ever.
    """
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
