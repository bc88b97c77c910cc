"""A run: one training, one folder, with everything needed to read it, use it and resume it.

``config.json``             the configuration, every default spelled out
``task.yaml``, ``encoder/``     copies, so that the folder stands on its own
``metrics.jsonl``           one line per seed, team and evaluation; ``tensorboard/`` holds the same numbers
``checkpoint.safetensors``  the state to resume from, replaced atomically
``history.jsonl``           one line each time that it was started, resumed, extended, stopped, or failed
``learning_curve.png``      returns and credit quality so far
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, SupportsIndex, cast

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Num

from latent_reward import checkpoint
from latent_reward.agents.base import EpisodeAgent, ReplayAgent
from latent_reward.compilation import use_compilation_cache
from latent_reward.data.episodes import Played
from latent_reward.data.spaces import Discrete
from latent_reward.device import bytes_of, require_memory
from latent_reward.encoder.encoder import Encoder
from latent_reward.envs.base import Environment, Team, World
from latent_reward.envs.hosted import on_host
from latent_reward.envs.rollout import play
from latent_reward.errors import LareError, require_paths, require_positive
from latent_reward.library.credit import Credit
from latent_reward.library.where import Where
from latent_reward.reading import damaged
from latent_reward.report.log import read_metrics
from latent_reward.report.video import write_video
from latent_reward.rng import OnPolicyPurpose, keys_for
from latent_reward.sealing.open import open_encoder
from latent_reward.task.bare import BareTask, read_any_task, team_names
from latent_reward.task.open import open_environment
from latent_reward.task.task import AnyTask
from latent_reward.training import from_episodes, from_replay
from latent_reward.training.callbacks import OnEpisode
from latent_reward.training.config import CHECKPOINT, RunConfig, read_config
from latent_reward.training.learner import State, TeamLearner, team_learners
from latent_reward.training.off_policy import DeterministicPlayer, OffPolicy, replay_learner
from latent_reward.training.on_policy import OnPolicy, episode_learner, sampling_player
from latent_reward.training.players import Player
from latent_reward.types import Key

Training = OffPolicy | OnPolicy


@dataclass(frozen=True, eq=False)
class Run:
    """A finished or interrupted run, read from its folder; every array lives on the default device.

    Attributes:
        folder: the folder.
        config: the configuration.
        task: the task, or the environment if it has no words.
        encoders: the encoder of each team; None for methods without one.
        env: the object or the function that the environment was given as; None if the task can open it.
    """

    folder: Path
    config: RunConfig
    task: AnyTask | BareTask
    encoders: tuple[Encoder | None, ...]
    env: Any = None

    @cached_property
    def metrics(self) -> list[dict]:
        """Every logged line, oldest first."""
        return read_metrics(self.folder)

    @property
    def finished(self) -> bool:
        """Whether it has been trained to its last round, and evaluated there.

        Raises:
            LareError: the checkpoint is missing or damaged.
        """
        plan, header = self.config.plan, checkpoint.read(self.folder / CHECKPOINT).header
        done = header.get("step" if plan.experience.kind == "replay" else "iteration", 0)
        return done >= plan.rounds and evaluated(self.folder, header.get("step", self._steps(done)))

    def _steps(self, iterations: int) -> int:
        """Environment steps of each seed in as many iterations, every episode counted in full."""
        return iterations * self.world.horizon * getattr(self.config.plan.experience, "episodes", 1)

    @cached_property
    def world(self) -> Environment:
        """The environment of the task.

        Raises:
            LareError: it was given from Python and has to be given again.
        """
        return open_environment(self.task, self.env)

    @cached_property
    def teams(self) -> tuple[str, ...]:
        """Names of the teams; a single agent is the team ``agent``."""
        return tuple(team.name for team in self.world.teams)

    @cached_property
    def _learners(self) -> tuple[TeamLearner, ...]:
        config = self.config
        return team_learners(
            self.world, config.method.credit, config.plan.agent, self.encoders, config.feedback
        )

    @cached_property
    def _states(self) -> tuple[State, ...]:
        """Every seed's teams as trained so far, without the stored episodes."""
        with damaged(f"run: {self.folder}", "restore its files or start a new run"):
            shapes = tuple(shape._replace(buffer=None) for shape in _shapes(self.config, self._learners))
        return checkpoint.restored(shapes, "state", checkpoint.read(self.folder / CHECKPOINT))

    def proxy_reward(
        self,
        observation: Float[np.ndarray, "batch observation"],
        action: Num[np.ndarray, "batch *action"],
        next_observation: Float[np.ndarray, "batch observation"],
        *,
        seed: int | None = None,
        team: str | None = None,
    ) -> Float[np.ndarray, " batch"]:
        """The reward r̂ of steps of single agents as the method gives it, NumPy in and NumPy out.

        ``seed`` and ``team`` pick one of several; the first by default.

        Raises:
            LareError: the method has no reward for single steps, or the run has no such seed or team.
        """
        return self._credit(seed, team, agents=1).reward(observation, action, next_observation)

    @property
    def credit(self) -> Credit:
        """The credit that the run has learned, for any other trainer; of the first seed and team.

        It has no stored episodes: add your own and ``fit`` to go on learning.
        """
        return self.credit_of()

    def credit_of(self, *, seed: int | None = None, team: str | None = None) -> Credit:
        """The credit that one seed of a team has learned, as :attr:`credit`.

        Raises:
            LareError: the run has no such seed or team.
        """
        return self._credit(seed, team)

    def _credit(self, seed: int | None, team: str | None, agents: int | None = None) -> Credit:
        learner, state = self._pick(seed, team)
        number = 0 if team is None else self.teams.index(team)
        spec, task = learner.credit, self.task
        description = None if isinstance(task, BareTask) else task.descriptions[number]
        where = Where(
            description.name if description else task.name,
            spec.observation_size,
            learner.spec.actions,
            agents or spec.agents,
            spec.horizon,
            description,
        )
        chosen = self.config.seeds[self.config.index_of(seed)] % (1 << 32)
        return Credit.trained(where, self.config.method, spec.encoder, state.credit, seed=chosen)

    def latent_weights(self, *, seed: int | None = None, team: str | None = None) -> dict[str, float]:
        """The reward that the returns assign to each latent, per standard deviation, the largest first.

        These are the weights of the latents themselves, without what other columns contribute; empty if the method is
        not solved or reads no latents.

        Raises:
            LareError: the run has no such seed or team.
        """
        learner, state = self._pick(seed, team)
        return learner.method.latent_weights(learner.credit, state.credit)

    def act(
        self,
        observation: Float[np.ndarray, "*batch observation"],
        *,
        available: Bool[np.ndarray, "*batch action"] | None = None,
        seed: int | None = None,
        team: str | None = None,
    ) -> Num[np.ndarray, "..."]:
        """The policy's best action for each observation: without exploration, the most probable one.

        ``available`` has the actions to choose from. It is needed where agents cannot always choose every action.

        Raises:
            LareError: the run has no such seed or team, or ``available`` is missing, does not fit, or allows nothing.
        """
        learner, state = self._pick(seed, team)
        given, size = np.asarray(observation), learner.spec.observation_size
        if given.dtype.kind not in "biuf" or given.shape[-1:] != (size,) or not np.isfinite(given).all():
            raise LareError(
                f"observation: {given.dtype} of shape {given.shape} is not possible; give {size} finite numbers per row"
            )
        place = self.world.teams[0 if team is None else self.teams.index(team)]
        seen = jnp.asarray(given, jnp.float32)
        restricted = place.masked or getattr(self.world, "available", None) is not None
        choices = _choices(place, seen.shape[:-1], available, restricted)
        if learner.agent.learns_from == "replay":
            agent = cast(ReplayAgent, learner.agent)
            return np.asarray(agent.act(learner.spec, agent.actor(state.agent), seen, None))
        agent = cast(EpisodeAgent, learner.agent)
        return np.asarray(agent.best(learner.spec, agent.actor(learner.spec, state.agent), seen, choices))

    def evaluate(self, episodes: SupportsIndex = 10) -> dict[str, Float[np.ndarray, "seed episode"]]:
        """True returns of each team in ``episodes`` seeded episodes of each seed.

        Continuous actions are the policy's best, without exploration; discrete ones are drawn from it, as in training.

        Raises:
            LareError: ``episodes`` is below 1.
        """
        require_positive(episodes=episodes)
        with self._player() as player:
            results = player.evaluate(self._states, int(episodes), final=True)
        return {name: returns for name, (returns, _) in zip(self.teams, results, strict=True)}

    def play(self, episodes: SupportsIndex, *, seed: int | None = None) -> tuple[Played, ...]:
        """Seeded episodes of a compiled world, with actions drawn from the policies, for each team.

        Raises:
            LareError: the run has no such seed, its agents learn from replay, its environment is not a compiled
                world, or ``episodes`` is below 1.
        """
        require_positive(episodes=episodes)
        world = self.world
        if not isinstance(world, World) or self.config.plan.experience.kind == "replay":
            raise LareError(
                f"task: {self.task.name} plays on the host; step its environment with run.act instead"
            )
        count = int(episodes)
        states, key = self._of_seed(seed, OnPolicyPurpose.PLAY)
        learner = episode_learner(self._learners, self.config.plan)
        return jax.jit(lambda key: play(world, from_episodes.policies(learner, states), key, count))(key)

    def film(self, path: Path, *, seed: int | None = None) -> Path:
        """Write one seeded episode as an MP4 file.

        Raises:
            LareError: frames cannot be rendered on this machine or the file cannot be written.
        """
        require_paths(path=path)
        with self._player() as player:
            return write_video(path, lambda: player.frames(self._states, self.config.index_of(seed)))

    @contextmanager
    def _player(self) -> Iterator[Player]:
        """A player of the run's policies, closed at the end."""
        player = make_player(self.config, self._learners, self.world)
        try:
            yield player
        finally:
            player.close()

    def _of_seed(self, seed: int | None, purpose: OnPolicyPurpose) -> tuple[tuple[State, ...], Key]:
        """The teams of one seed, and a key of its own for ``purpose``."""
        index = self.config.index_of(seed)
        states = jax.tree.map(lambda leaf: leaf[index], self._states)
        return states, keys_for(self.config.seeds, purpose)[index]

    def _pick(self, seed: int | None, team: str | None) -> tuple[TeamLearner, State]:
        if team is not None and team not in self.teams:
            raise LareError(f"team: the run has no team {team!r}, only {', '.join(self.teams)}")
        number, index = 0 if team is None else self.teams.index(team), self.config.index_of(seed)
        return self._learners[number], jax.tree.map(lambda leaf: leaf[index], self._states[number])


def _choices(team: Team, batch: tuple[int, ...], available: Any, restricted: bool) -> jax.Array | None:
    """The actions that agents of a team can choose from, checked; None: all, which is refused if ``restricted``."""
    if available is None:
        if restricted:
            raise LareError(
                f"available: the {team.name} cannot always choose every action; give the mask of each observation"
            )
        return None
    found, shape = np.asarray(available), (*batch, team.actions.size)
    if not isinstance(team.actions, Discrete) or found.shape != shape:
        raise LareError(
            f"available: a mask of shape {found.shape} does not fit; discrete actions need {shape}"
        )
    if not found.astype(bool).any(axis=-1).all():
        raise LareError("available: a mask allows no action; allow at least one for each observation")
    return jnp.asarray(found, bool)


def make_player(config: RunConfig, teams: tuple[TeamLearner, ...], world: Environment) -> Player:
    """The player for the policies of a run."""
    if config.plan.experience.kind == "replay":
        return DeterministicPlayer(replay_learner(teams, config.plan), config.seeds, on_host(world))
    return sampling_player(episode_learner(teams, config.plan), config.seeds, world)


def make_training(
    config: RunConfig,
    world: Environment,
    encoders: Sequence[Encoder | None],
    on_episode: OnEpisode | None = None,
) -> Training:
    """A new training, before its first step; ``on_episode`` is called at the end of each training episode.

    Raises:
        LareError: the agent cannot be trained in this environment.
    """
    plan = config.plan
    teams = team_learners(world, config.method.credit, plan.agent, tuple(encoders), config.feedback)
    _require_memory(config, teams, world)
    if plan.experience.kind == "replay":
        return OffPolicy(replay_learner(teams, plan), plan, config.seeds, on_host(world), on_episode)
    return OnPolicy(episode_learner(teams, plan), plan, config.seeds, world, on_episode)


def evaluated(folder: Path, step: int) -> bool:
    """Whether the metrics of a run have an evaluation at ``step``."""
    return any(row.get("step") == step for row in read_metrics(folder))


def saved_rounds(path: Path) -> Any:
    """The length of the training that a checkpoint was written in; None if it says none.

    Raises:
        LareError: the checkpoint is missing or damaged.
    """
    try:
        return json.loads(checkpoint.read(path).config)["plan"]["rounds"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None  # restoring says what is wrong


def _shapes(config: RunConfig, teams: tuple[TeamLearner, ...]) -> tuple[State, ...]:
    """The shapes of the state of each team, for all seeds; nothing is computed."""
    keys, plan = jax.random.split(jax.random.key(0), len(config.seeds)), config.plan
    if plan.experience.kind == "replay":
        return (jax.eval_shape(partial(from_replay.init, replay_learner(teams, plan)), keys),)
    return jax.eval_shape(partial(from_episodes.init, episode_learner(teams, plan)), keys)


def _require_memory(config: RunConfig, teams: tuple[TeamLearner, ...], world: Environment) -> None:
    """Raise if the state of the learners and the episodes that are played at a time need more memory than there is."""
    remedy = "give smaller buffers or networks, fewer seeds or a smaller max_steps"
    plan, copies = config.plan, len(config.seeds)
    with damaged("settings: the sizes that they ask for", remedy):
        wanted = bytes_of(_shapes(config, teams))
    if plan.experience.kind == "episodes":
        copies *= plan.experience.episodes * (1 if plan.experience.counterfactual == "none" else 2)
    numbers = sum(team.agents * (team.observation_size + team.actions.size + 6) for team in world.teams)
    require_memory(wanted + 4 * copies * (world.horizon + 1) * numbers, "settings", remedy)


def load_run(folder: str | Path, *, env: Any = None) -> Run:
    """Read a run from its folder; arrays are loaded when they are first used.

    Args:
        folder: the folder of the run.
        env: the environment or the function, of a run that was trained in one: the folder cannot make it.

    Raises:
        LareError: the folder does not hold a run, or a file of it is damaged.
    """
    require_paths(folder=folder)
    use_compilation_cache()
    folder = Path(folder)
    config = read_config(folder)
    task = read_any_task(folder / "task.yaml")
    places = encoder_folders(folder / "encoder", task)
    encoders = tuple(open_encoder(place) for place in places) if config.encoder else (None,) * len(places)
    return Run(folder, config, task, encoders, env)


def encoder_folders(folder: Path, task: AnyTask | BareTask) -> tuple[Path, ...]:
    """The folder of each team's encoder: ``folder`` itself for a lone team, else its subfolder of the team's name."""
    names = team_names(task)
    return (folder,) if len(names) == 1 else tuple(folder / name for name in names)
