"""A run of teams: the same folder as that of one agent, with an encoder for each team where there are several."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from latent_reward.agents import ppo
from latent_reward.config import CHECKPOINT, RunConfig
from latent_reward.credit import decompose
from latent_reward.credit.features import step_features
from latent_reward.credit.methods import Direct, Fixed
from latent_reward.encoder.encoder import Encoder
from latent_reward.envs.pettingzoo import HostWorld
from latent_reward.errors import LareError, require_positive
from latent_reward.report.log import read_metrics
from latent_reward.report.video import write_video
from latent_reward.sealing.open import open_encoder
from latent_reward.task.check import check_task
from latent_reward.task.task import TeamTask, open_world
from latent_reward.training import checkpoint
from latent_reward.training import team_learner as core
from latent_reward.training.host_teams import HostTeams
from latent_reward.training.on_policy import purpose_keys
from latent_reward.training.plan import OnPolicyPlan
from latent_reward.training.rollout import Rollout, play, watch
from latent_reward.training.team_learner import TeamLearner, TeamState
from latent_reward.types import Key

_FINAL, _FILM, _PLAY = 3, 4, 5  # random numbers apart from those of training and its evaluations
_FRAMES_PER_SECOND = 10  # particle worlds move in steps of 0.1 s


@dataclass(frozen=True, eq=False)
class TeamRun:
    """A finished or interrupted run, read from its folder; every array lives on the default device."""

    folder: Path
    config: RunConfig
    task: TeamTask
    encoders: tuple[Encoder | None, ...]

    @cached_property
    def metrics(self) -> list[dict]:
        """Every logged line, oldest first."""
        return read_metrics(self.folder)

    @cached_property
    def _learner(self) -> TeamLearner:
        return build_team_learner(self.config, self.task, self.encoders)

    @cached_property
    def _states(self) -> tuple[TeamState, ...]:
        """Every seed's teams as trained so far, without the stored episodes."""
        keys = jax.random.split(jax.random.key(0), len(self.config.seeds))
        shapes = jax.eval_shape(partial(core.init, self._learner), keys)
        shapes = tuple(shape._replace(replay=None) for shape in shapes)
        return checkpoint.restored(shapes, "state", checkpoint.read(self.folder / CHECKPOINT))

    def proxy_reward(
        self,
        observation: Float[np.ndarray, "batch observation"],
        action: Int[np.ndarray, " batch"],
        next_observation: Float[np.ndarray, "batch observation"],
        *,
        seed: int | None = None,
        team: str | None = None,
    ) -> Float[np.ndarray, " batch"]:
        """The reward r̂ of steps of single agents as the method gives it, NumPy in and NumPy out, for any other trainer.

        ``seed`` and ``team`` pick one of several; the first by default.

        Raises:
            LareError: the method learns no reward, or the run has no such seed or team.
        """
        credit = self.config.method.credit
        if isinstance(credit, Fixed):
            raise LareError(
                f"method: {self.config.method.name} learns no proxy reward; use a run of a learned method"
            )
        number, state = self._pick(seed, team)
        rows = (
            jnp.asarray(observation, jnp.float32),
            jax.nn.one_hot(jnp.asarray(action), self._learner.world.actions),
            jnp.asarray(next_observation, jnp.float32),
        )
        features = step_features(credit, self.encoders[number], *rows)
        if isinstance(credit, Direct):
            return np.asarray(features[:, 0])
        assert state.decomposer is not None
        return np.asarray(decompose.proxy(state.decomposer, credit, features))

    def latent_worth(self, *, seed: int | None = None, team: str | None = None) -> dict[str, float]:
        """What the returns of its team say each latent is worth, as :meth:`latent_reward.Run.latent_worth` has it.

        Raises:
            LareError: the method has no linear part, or the run has no such seed or team.
        """
        number, state = self._pick(seed, team)
        encoder = self.encoders[number]
        return decompose.latent_worth(state.decomposer, encoder.latent_names if encoder else ())

    def act(
        self,
        observation: Float[np.ndarray, "*batch observation"],
        *,
        seed: int | None = None,
        team: str | None = None,
    ) -> Int[np.ndarray, "*batch"]:
        """The most probable action of an agent for each observation."""
        number, state = self._pick(seed, team)
        actor = core.networks(self._learner, number, state).actor
        return np.asarray(ppo.log_policy(actor, jnp.asarray(observation, jnp.float32)).argmax(axis=-1))

    def evaluate(self, episodes: int = 50) -> dict[str, Float[np.ndarray, "seed episode"]]:
        """True returns of each team in ``episodes`` seeded episodes of each seed, actions drawn from the policy.

        Raises:
            LareError: ``episodes`` is below 1.
        """
        require_positive(episodes=episodes)
        keys = purpose_keys(self.config.seeds, _FINAL)
        with self._host() as host:
            look = host.evaluate if host else partial(core.evaluate, self._learner)
            played = look(self._states, keys, episodes)
        names = [team.name for team in self.task.teams]
        return {name: np.asarray(returns) for name, (returns, _) in zip(names, played, strict=True)}

    def play(self, episodes: int, *, seed: int | None = None) -> tuple[Rollout, ...]:
        """Seeded episodes, actions drawn from the policies: what each team saw and did, and its true rewards.

        Raises:
            LareError: the run has no such seed, its environment is not a compiled world, or ``episodes`` is below 1.
        """
        require_positive(episodes=episodes)
        if isinstance(self._learner.world, HostWorld):
            raise LareError(
                f"task: {self.task.name} plays on the host; step its environment with run.act instead"
            )
        states, key = self._of_seed(seed, _PLAY)
        actors = core.actors(self._learner, states)
        return jax.jit(play, static_argnums=(0, 3))(self._learner.world, actors, key, episodes)

    def film(self, path: Path, *, seed: int | None = None) -> Path:
        """Write one seeded episode as an MP4 file.

        Raises:
            LareError: the file cannot be written.
        """
        states, key = self._of_seed(seed, _FILM)
        world = self._learner.world
        if isinstance(world, HostWorld):
            one = jax.tree.map(lambda leaf: leaf[None], states)
            return write_video(path, HostTeams(self._learner).watch(one, key[None]), _FRAMES_PER_SECOND)
        seen, steps = jax.jit(watch, static_argnums=0)(world, core.actors(self._learner, states), key)
        moments = jax.tree.map(np.asarray, seen)
        frames = [
            world.render(jax.tree.map(lambda leaf, t=t: leaf[t], moments)) for t in range(int(steps) + 1)
        ]
        return write_video(path, frames, _FRAMES_PER_SECOND)

    @contextmanager
    def _host(self) -> Iterator[HostTeams | None]:
        """Who plays where the environment runs on the host."""
        host = HostTeams(self._learner) if isinstance(self._learner.world, HostWorld) else None
        try:
            yield host
        finally:
            if host:
                host.close()

    def _of_seed(self, seed: int | None, purpose: int) -> tuple[tuple[TeamState, ...], Key]:
        """The teams of one seed, and a key of its own for ``purpose``."""
        index = self.config.index_of(seed)
        states = jax.tree.map(lambda leaf: leaf[index], self._states)
        return states, purpose_keys(self.config.seeds, purpose)[index]

    def _pick(self, seed: int | None, team: str | None) -> tuple[int, TeamState]:
        names = [each.name for each in self.task.teams]
        if team is not None and team not in names:
            raise LareError(f"team: the run has no team {team!r}, only {', '.join(names)}")
        number, index = 0 if team is None else names.index(team), self.config.index_of(seed)
        return number, jax.tree.map(lambda leaf: leaf[index], self._states[number])


def build_team_learner(
    config: RunConfig, task: TeamTask, encoders: tuple[Encoder | None, ...]
) -> TeamLearner:
    """What stays fixed while ``config`` trains, read off the task and its world.

    Raises:
        LareError: there is no such world, or the task does not fit it.
    """
    assert isinstance(config.plan, OnPolicyPlan)
    for problem in check_task(task):
        raise LareError(f"task: {problem}")
    return TeamLearner(
        world=open_world(task),
        credit=config.method.credit,
        encoders=encoders,
        agent=config.plan.agent,
        iterations=config.plan.iterations,
        episodes=config.plan.episodes,
        fitting=config.plan.fitting,
    )


def team_folders(folder: Path, task: TeamTask) -> tuple[Path, ...]:
    """Where in ``folder`` the encoder of each team is: there itself for a lone team, else under its name."""
    if len(task.teams) == 1:
        return (folder,)
    return tuple(folder / team.name for team in task.teams)


def load_team_encoders(folder: Path, config: RunConfig, task: TeamTask) -> tuple[Encoder | None, ...]:
    """The encoders that a run folder keeps, one per team; None for methods without latents."""
    if config.encoder is None:
        return (None,) * len(task.teams)
    return tuple(open_encoder(each) for each in team_folders(folder, task))
