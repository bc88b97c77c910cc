"""On-policy training where the environment runs on the host: it plays there, and everything else is compiled.

Iteration i of a seed plays from the key (seed, i) alone: every copy is reset by a seed drawn from it, and the
policies draw their actions from it. So a run goes on exactly as it would have, if the environment is the
same again after a reset with the same seed.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from latent_reward.agents import ppo
from latent_reward.envs.pettingzoo import HostWorld, ParallelEnv
from latent_reward.envs.recorder import Book, collect
from latent_reward.errors import LareError
from latent_reward.training import team_learner as core
from latent_reward.training.rollout import Rollout
from latent_reward.training.team_learner import Measures, TeamLearner, TeamState
from latent_reward.types import Keys


class HostTeams:
    """Copies of the environment, as many for each seed as it plays episodes at a time."""

    def __init__(self, learner: TeamLearner):
        """Nothing is open yet."""
        assert isinstance(learner.world, HostWorld)
        self.learner, self.world = learner, learner.world
        self._envs: list[ParallelEnv] = []

    def advance(
        self, states: tuple[TeamState, ...], keys: Keys, start: int, stop: int
    ) -> tuple[tuple[TeamState, ...], tuple[Measures, ...]]:
        """Iterations ``start`` to ``stop`` of every seed, and the measures of the last one."""
        measures = ()
        for index in range(start, stop):
            k_play, k_learn = _split(keys, index)
            rollouts = self._play(states, k_play, self.learner.episodes)
            states, measures = core.learn_from(self.learner, states, rollouts, k_learn, jnp.int32(index))
        return states, measures

    def evaluate(
        self, states: tuple[TeamState, ...], keys: Keys, episodes: int
    ) -> tuple[tuple[Float[np.ndarray, "seed episode"], None], ...]:
        """Returns of each team in ``episodes`` episodes, actions drawn from the policies; nothing is won here."""
        rollouts = self._play(states, keys, episodes)
        return tuple((np.asarray(each.reward).sum(axis=(1, 3)), None) for each in rollouts)

    def watch(self, states: tuple[TeamState, ...], keys: Keys) -> list[np.ndarray]:
        """Frames of one episode of one seed.

        Raises:
            LareError: the environment has no pictures.
        """
        try:
            env = self.world.make("rgb_array")
        except TypeError as error:
            raise LareError(
                f"video: {self.world.name} takes no render_mode ({error}); choose another environment"
            ) from error
        frames = []
        try:
            self._episodes(states, keys, [env], lambda: frames.append(env.render()))
        finally:
            env.close()
        if any(np.shape(frame)[2:] != (3,) for frame in frames):
            raise LareError(
                f"video: {self.world.name} draws no picture as rgb_array; choose another environment"
            )
        return frames

    def close(self) -> None:
        """Close every copy."""
        for env in self._envs:
            env.close()
        self._envs = []

    def _play(self, states: tuple[TeamState, ...], keys: Keys, episodes: int) -> tuple[Rollout, ...]:
        wanted = len(keys) * episodes
        while len(self._envs) < wanted:
            self._envs.append(self.world.make(None))
        return self._episodes(states, keys, self._envs[:wanted])

    def _episodes(
        self,
        states: tuple[TeamState, ...],
        keys: Keys,
        envs: list[ParallelEnv],
        look: Callable[[], Any] = lambda: None,
    ) -> tuple[Rollout, ...]:
        """One episode in each copy, dealt evenly to the seeds; ``look`` is called before each step."""
        seeds, episodes = len(keys), len(envs) // len(keys)
        k_reset, k_act = _split(keys, 0)
        resets = jax.vmap(lambda key: jax.random.bits(key, (episodes,)) >> 1)(k_reset)
        policies = tuple(state._replace(decomposer=None, replay=None) for state in states)

        def choose(step: int, observations: tuple[np.ndarray, ...]):
            look()
            seen = tuple(each.reshape(seeds, episodes, *each.shape[1:]) for each in observations)
            chosen = act(self.learner, policies, seen, k_act, np.int32(step))
            flat = partial(np.reshape, shape=(len(envs), -1))
            return [(flat(action), flat(log_probability)) for action, log_probability in chosen]

        books = collect(self.world, envs, np.asarray(resets).reshape(-1).tolist(), choose)
        return tuple(_rollout(book, seeds) for book in books)


@partial(jax.jit, static_argnums=0)
def act(
    learner: TeamLearner,
    states: tuple[TeamState, ...],
    observations: tuple[Float[Array, "seed episode agent observation"], ...],
    keys: Keys,
    step: Int[Array, ""],
) -> tuple[tuple[Int[Array, "seed episode agent"], Float[Array, "seed episode agent"]], ...]:
    """What every agent of every copy does, and the log-probability of that, from the policies of their seeds."""

    def one(states, observations, key):
        drawn = jax.random.split(jax.random.fold_in(key, step), len(observations))
        return tuple(map(ppo.act, core.actors(learner, states), observations, drawn))

    return jax.vmap(one)(states, observations, keys)


def _split(keys: Keys, index: int) -> tuple[Keys, Keys]:
    """Two keys of each seed for iteration ``index``."""
    both = jax.vmap(lambda key: jax.random.split(jax.random.fold_in(key, index)))(keys)
    return both[:, 0], both[:, 1]


def _rollout(book: Book, seeds: int) -> Rollout:
    """A team's books with the seeds apart and leading."""

    def apart(array: np.ndarray) -> jax.Array:
        time, copies, *rest = array.shape
        return jnp.asarray(np.moveaxis(array.reshape(time, seeds, copies // seeds, *rest), 1, 0))

    return Rollout(*map(apart, book), available=None, won=None)
