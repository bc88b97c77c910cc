"""Play episodes of any task to score encoders on; of the rewards only the return of each episode is used."""

import threading
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from latent_reward.data.episodes import Episodes, team_return
from latent_reward.data.spaces import Continuous
from latent_reward.design.behaviour import BEHAVIOURS, TEAM_BEHAVIOURS, behaviour, team_actions
from latent_reward.design.episodes import Recorded, Recording, as_rows
from latent_reward.envs.base import HostWorld, ParallelEnv, World, members
from latent_reward.envs.recorder import EpisodeArrays, collect
from latent_reward.envs.worlds import WORLDS, find_world
from latent_reward.errors import LareError
from latent_reward.task.load import find_description
from latent_reward.task.open import open_environment, require_fit
from latent_reward.task.task import AnyTask


def prepare(task: AnyTask | str, recording: Recording | None = None) -> Callable[[threading.Event], Recorded]:
    """Create the environment of a task, and return the function that plays its episodes until an event is set.

    ``task`` is anything that :func:`~latent_reward.task.load.find_description` accepts, but for a team of PettingZoo
    the whole task is needed, not only its description. The returned function may run in another thread; creating an
    environment may not.

    Raises:
        LareError: the environment cannot be created or does not fit the task. The function it returns raises it if an
            observation or a reward is not finite, or nobody of the team acts.
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
    """Play episodes of the task's environment, each with one of several behaviours in turn.

    The same recording gives the same episodes, unless its time limit ends it.

    Raises:
        LareError: as :func:`prepare`.
    """
    return prepare(task, recording)(threading.Event())


def _play_on_host(
    world: HostWorld, env: ParallelEnv, place: int, recording: Recording, stop: threading.Event
) -> Recorded:
    """Episodes one after the other in one copy, which is closed in the end."""
    played: list[EpisodeArrays] = []
    steps, end = 0, time.monotonic() + recording.seconds
    continuous = isinstance(world.teams[place].actions, Continuous)
    episode = _continuous_episode if continuous else _discrete_episode
    try:
        for number in range(recording.episodes):
            if number and (steps >= recording.steps or time.monotonic() > end or stop.is_set()):
                break
            played.append(episode(world, env, recording.seed, number)[place])
            steps += int(played[-1].mask.sum())
    finally:
        if callable(getattr(env, "close", None)):
            env.close()
    if not steps:
        raise LareError(
            f"pettingzoo: nobody of the team {world.teams[place].name} acts in {len(played)} episodes of "
            f"{world.name}; fix the environment or the team's members"
        )
    parts = [each.episodes()._replace(returns=each.total) for each in played]  # in double precision
    kinds = BEHAVIOURS if continuous else TEAM_BEHAVIOURS
    names = [kinds[number % len(kinds)] for number in range(len(played))]
    return as_rows(parts, world.teams[place].actions, names)


def _continuous_episode(
    world: HostWorld, env: ParallelEnv, seed: int, number: int
) -> tuple[EpisodeArrays, ...]:
    (team,) = world.teams
    assert isinstance(team.actions, Continuous)
    generator = np.random.default_rng([seed, number])
    _, policy = behaviour(number, team.actions, team.observation_size, generator)

    def choose(step: int, observations: tuple[np.ndarray, ...]) -> list[tuple[np.ndarray, np.ndarray]]:
        return [(policy(observations[0][0, 0])[None, None], np.zeros((1, 1), np.float32))]

    return collect(world, [env], [int(generator.integers(2**31))], choose)


def _discrete_episode(
    world: HostWorld, env: ParallelEnv, seed: int, number: int
) -> tuple[EpisodeArrays, ...]:
    chosen = team_actions(world, seed, number)

    def choose(step: int, observations: tuple[np.ndarray, ...]) -> list[tuple[np.ndarray, np.ndarray]]:
        parts = (chosen[step][None, team] for team in members(world))
        return [(actions, np.zeros(actions.shape, np.float32)) for actions in parts]

    return collect(world, [env], [int(np.random.default_rng([seed, number, 1]).integers(2**31))], choose)


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

    state, running = reset(keys), np.ones(count, bool)
    seen, steps = [np.asarray(observe(state)[place])], []
    for moment in range(world.horizon):
        if stop.is_set() or not running.any():
            break
        mask = np.repeat(running[:, None], team.agents, axis=1)
        if alive is not None:
            mask &= np.asarray(alive(state))[:, seats]
        state, reward, terminated = step(state, chosen[moment], fold_in(keys, moment + 1))
        paid = running[:, None] * np.asarray(reward)[:, seats]
        seen.append(np.asarray(observe(state)[place]))
        steps.append((chosen[moment][:, seats], mask, paid))
        running = running & ~np.asarray(terminated)
    observation = np.stack(seen, axis=1)
    action, mask, paid = (np.stack(each, axis=1) for each in zip(*steps, strict=True))
    observation, action, mask, paid = map(jnp.asarray, (observation, action, mask, paid))
    part = Episodes(observation, action, mask, mask, team_return(paid, jnp.ones_like(mask)), paid)
    names = [TEAM_BEHAVIOURS[number % len(TEAM_BEHAVIOURS)] for number in range(count)]
    return as_rows([part], team.actions, names)
