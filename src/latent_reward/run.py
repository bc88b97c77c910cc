"""A run of one agent: one training, one folder, everything needed to read it, use it and go on with it.

``config.json``             what was asked for, every default spelled out
``task.yaml``, ``encoder/``     copies, so that the folder stands on its own
``metrics.jsonl``           one line per seed and evaluation; ``tensorboard/`` holds the same numbers
``checkpoint.safetensors``  the state to go on from, replaced atomically
``learning_curve.png``      returns and credit quality so far
"""

import json
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pydantic
from jaxtyping import Float

from latent_reward.agents import td3
from latent_reward.config import CHECKPOINT, CONFIG, RunConfig
from latent_reward.credit import decompose
from latent_reward.credit.features import step_features
from latent_reward.credit.methods import Direct, Fixed
from latent_reward.encoder.encoder import Encoder
from latent_reward.errors import LareError, require_positive
from latent_reward.report.log import read_metrics
from latent_reward.report.video import record
from latent_reward.sealing.open import open_encoder
from latent_reward.task.task import Task, load_task, make_env
from latent_reward.team_run import TeamRun, load_team_encoders
from latent_reward.training import checkpoint
from latent_reward.training import learner as core
from latent_reward.training.learner import Learner
from latent_reward.training.off_policy import derive, play
from latent_reward.training.plan import OffPolicyPlan

_FINAL = 3  # seeds of final evaluations differ from those of resets, warm-up and training evaluations


@dataclass(frozen=True, eq=False)
class Run:
    """A finished or interrupted run, read from its folder; every array lives on the default device."""

    folder: Path
    config: RunConfig
    task: Task
    encoder: Encoder | None

    @cached_property
    def metrics(self) -> list[dict]:
        """Every logged line, oldest first."""
        return read_metrics(self.folder)

    @cached_property
    def _learner(self) -> Learner:
        return build_learner(self.config, self.task, self.encoder)

    @cached_property
    def _state(self) -> tuple:
        """Actor and decomposer of every seed, as trained so far."""
        keys = jax.random.split(jax.random.key(0), len(self.config.seeds))
        shape = jax.eval_shape(partial(core.init, self._learner), keys)
        stored = checkpoint.read(self.folder / CHECKPOINT)
        return (
            checkpoint.restored(shape.agent.actor, "state.agent.actor", stored),
            checkpoint.restored(shape.decomposer, "state.decomposer", stored),
        )

    def proxy_reward(
        self,
        observation: Float[np.ndarray, "batch observation"],
        action: Float[np.ndarray, "batch action"],
        next_observation: Float[np.ndarray, "batch observation"],
        *,
        seed: int | None = None,
    ) -> Float[np.ndarray, " batch"]:
        """The reward r̂ of each step as the method gives it, NumPy in and NumPy out, for any other trainer.

        ``seed`` picks one of several seeds; the first by default.

        Raises:
            LareError: the method learns no reward, or the run has no such seed.
        """
        credit = self.config.method.credit
        if isinstance(credit, Fixed):
            raise LareError(
                f"method: {self.config.method.name} learns no proxy reward; use a run of a learned method"
            )
        index = self.config.index_of(seed)
        rows = (np.asarray(each, np.float32) for each in (observation, action, next_observation))
        features = step_features(credit, self.encoder, *map(jnp.asarray, rows))
        if isinstance(credit, Direct):
            return np.asarray(features[:, 0])
        state = jax.tree.map(lambda leaf: leaf[index], self._state[1])
        return np.asarray(decompose.proxy(state, credit, features))

    def latent_worth(self, *, seed: int | None = None) -> dict[str, float]:
        """What the returns say each latent is worth: reward per standard deviation, the greatest first.

        It is the linear part of the decoder, without what the network adds. ``seed`` picks one of several.

        Raises:
            LareError: the method has no linear part, or the run has no such seed.
        """
        index = self.config.index_of(seed)
        state = jax.tree.map(lambda leaf: leaf[index], self._state[1])
        return decompose.latent_worth(state, self.encoder.latent_names if self.encoder else ())

    def act(
        self, observation: Float[np.ndarray, "*batch observation"], *, seed: int | None = None
    ) -> Float[np.ndarray, "*batch action"]:
        """The trained policy's deterministic action for each observation."""
        index = self.config.index_of(seed)
        actor = jax.tree.map(lambda leaf: leaf[index], self._state[0])
        return np.asarray(td3.policy(actor, self._learner.actions, jnp.asarray(observation, jnp.float32)))

    def evaluate(self, episodes: int = 10) -> Float[np.ndarray, "seed episode"]:
        """True returns of the deterministic policy in ``episodes`` seeded episodes of each seed.

        Raises:
            LareError: ``episodes`` is below 1.
        """
        require_positive(episodes=episodes)
        envs = [[make_env(self.task) for _ in range(episodes)] for _ in self.config.seeds]
        seeds = [[derive(seed, _FINAL, episode) for episode in range(episodes)] for seed in self.config.seeds]
        try:
            return play(self._learner, self._state[0], envs, seeds)
        finally:
            for env in (env for row in envs for env in row):
                env.close()

    def film(self, path: Path, *, seed: int | None = None) -> Path:
        """Write one seeded episode of the deterministic policy as an MP4 file.

        Raises:
            LareError: frames cannot be rendered on this machine or the file cannot be written.
        """
        return record(self.task, lambda observation: self.act(observation, seed=seed), path)


def load_run(folder: str | Path) -> Run | TeamRun:
    """Read a run from its folder; arrays are loaded when they are first used.

    Raises:
        LareError: the folder does not hold a run, or a file of it is damaged.
    """
    folder = Path(folder)
    path = folder / CONFIG
    try:
        stored = json.loads(path.read_text("utf-8"))
        config = pydantic.TypeAdapter(RunConfig).validate_python(stored["config"])
    except OSError as error:
        raise LareError(
            f"run: {folder} holds no run ({path.name} is missing); give the folder that `lare train` wrote"
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise LareError(f"run: {path} is damaged: {reason}; restore the file or start a new run") from error
    task = load_task(folder / "task.yaml")
    if isinstance(task, Task):
        return Run(folder, config, task, open_encoder(folder / "encoder") if config.encoder else None)
    return TeamRun(folder, config, task, load_team_encoders(folder / "encoder", config, task))


def build_learner(config: RunConfig, task: Task, encoder: Encoder | None) -> Learner:
    """What stays fixed while ``config`` trains, read off the task and its live environment.

    Raises:
        LareError: the environment is missing or its spaces do not fit the task.
    """
    assert isinstance(config.plan, OffPolicyPlan)
    plan, env = config.plan, make_env(task)
    space, found = env.action_space, (env.observation_space.shape, env.action_space.shape)
    env.close()
    assert isinstance(space, gymnasium.spaces.Box)  # make_env refuses any other
    if found != ((task.observation_size,), (task.action_size,)):
        raise LareError(
            f"task: {task.name} describes {task.observation_size} observations and {task.action_size} actions, "
            f"its environment has shapes {found[0]} and {found[1]}; run `lare check` on the task file"
        )
    if not np.all(np.isfinite(space.low) & np.isfinite(space.high)):
        raise LareError(
            f"env: the action space of {task.env_id} has no bounds; wrap it with gymnasium's RescaleAction"
        )
    low, high = jnp.asarray(space.low, jnp.float32), jnp.asarray(space.high, jnp.float32)
    return Learner(
        credit=config.method.credit,
        encoder=encoder,
        agent=plan.agent,
        actions=td3.ActionRange((low + high) / 2, (high - low) / 2),
        observation_size=task.observation_size,
        action_size=task.action_size,
        horizon=task.max_steps,
        batch_size=plan.batch_size,
        capacity=min(plan.buffer_size, max(plan.steps, task.max_steps)),
    )
