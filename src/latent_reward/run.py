"""A run: one training, one folder, everything needed to read it, use it and go on with it.

``config.json``             what was asked for, every default spelled out
``task.yaml``, ``encoder/``     copies, so that the folder stands on its own
``metrics.jsonl``           one line per seed and evaluation; ``tensorboard/`` holds the same numbers
``checkpoint.safetensors``  the state to go on from, replaced atomically
``learning_curve.png``      returns and credit quality so far
"""

import dataclasses
import json
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from importlib.metadata import version
from pathlib import Path

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pydantic
import yaml
from jaxtyping import Float

from latent_reward import encoder as encoders
from latent_reward.agents import td3
from latent_reward.credit import decompose
from latent_reward.credit.methods import Fixed, Learned, Method, find_method
from latent_reward.encoder import Encoder
from latent_reward.encoders import bundled_folder
from latent_reward.report.curves import draw_run
from latent_reward.report.log import Log, read_metrics
from latent_reward.report.progress import Progress
from latent_reward.task import Task, load_task, make_env
from latent_reward.train import checkpoint
from latent_reward.train import learner as core
from latent_reward.train.learner import Learner
from latent_reward.train.off_policy import OffPolicy, Schedule, derive, play
from latent_reward.types import LareError

CONFIG, CHECKPOINT = "config.json", "checkpoint.safetensors"


@dataclass(frozen=True)
class RunConfig:
    """What a run was asked to do; ``config.json`` is this, with every default spelled out.

    Attributes:
        task: name of the task.
        method: the recipe with all of its settings.
        seeds: seeds that train in lockstep, each with its own environment.
        steps: environment steps per seed.
        encoder: where the encoder came from (a bundled draw or a folder); None for methods without one.
        schedule: warm-up, evaluation and checkpoint intervals.
        agent: TD3's hyper-parameters.
        batch_size: transitions per agent update.
        buffer_size: transitions kept for replay.
    """

    task: str
    method: Method
    seeds: tuple[int, ...] = (0,)
    steps: int = 100_000
    encoder: str | None = None
    schedule: Schedule = Schedule()
    agent: td3.TD3Config = td3.TD3Config()
    batch_size: int = 256
    buffer_size: int = 1_000_000

    def __post_init__(self):
        """Refuse numbers that cannot be meant."""
        whole = {
            "steps": self.steps,
            "batch_size": self.batch_size,
            "buffer_size": self.buffer_size,
            "evaluate_every": self.schedule.evaluate_every,
            "evaluation_episodes": self.schedule.evaluation_episodes,
            "checkpoint_every": self.schedule.checkpoint_every,
        }
        for name, value in whole.items():
            if value < 1:
                raise LareError(f"{name}: {value} is not possible; give a whole number of at least 1")
        if self.schedule.warmup < 0:
            raise LareError(f"warmup: {self.schedule.warmup} is negative; give 0 or more steps")
        if not self.seeds or min(self.seeds) < 0 or len(set(self.seeds)) < len(self.seeds):
            raise LareError(f"seeds: {self.seeds} must be different whole numbers from 0 up, at least one")

    def to_json(self) -> str:
        """The configuration as JSON text."""
        return json.dumps(dataclasses.asdict(self), indent=1)


def train(
    task: Task | str,
    method: Method | str = "lare",
    *,
    encoder: Encoder | str | Path | None = None,
    draw: int = 0,
    seed: int | Sequence[int] = 0,
    steps: int = 100_000,
    out: str | Path | None = None,
    schedule: Schedule | None = None,
    agent: td3.TD3Config | None = None,
    batch_size: int = 256,
    buffer_size: int = 1_000_000,
    quiet: bool = False,
) -> "Run":
    """Train an agent that sees one return per episode, and return the finished run.

    Args:
        task: a task, the name of a built-in one, or the path of a task file.
        method: how credit is assigned: a name that ``lare methods`` lists, or a recipe of your own.
        encoder: an encoder or its folder; None takes the bundled one of ``draw``.
        draw: which bundled encoder.
        seed: one seed, or several that train in lockstep.
        steps: environment steps per seed.
        out: the run folder; None is ``runs/<task>/<method>/<seeds>``.
        schedule: warm-up and intervals.
        agent: TD3's hyper-parameters.
        batch_size: transitions per agent update.
        buffer_size: transitions kept for replay.
        quiet: print nothing.

    Raises:
        LareError: something asked for does not exist or does not fit; nothing was trained then.
    """
    task = load_task(task) if isinstance(task, str) else task
    method = find_method(method) if isinstance(method, str) else method
    chosen, origin = _choose_encoder(task, method, encoder, draw)
    config = RunConfig(
        task=task.name,
        method=method,
        seeds=(seed,) if isinstance(seed, int) else tuple(seed),
        steps=steps,
        encoder=origin,
        schedule=schedule or Schedule(),
        agent=agent or td3.TD3Config(),
        batch_size=batch_size,
        buffer_size=buffer_size,
    )
    folder = Path(out) if out else Path("runs") / task.name / method.name / _spell(config.seeds)
    training = _prepare(task, config, chosen)
    try:
        _create(folder, task, config, chosen)
        _train(folder, config, training, quiet)
    finally:
        training.close()
    return load_run(folder)


def resume(folder: str | Path, *, quiet: bool = False) -> "Run":
    """Go on with a run that was stopped, to the same numbers as if it had not been.

    Raises:
        LareError: the folder holds no run, its checkpoint is missing or damaged, or ``config.json`` was changed.
    """
    run = load_run(folder)
    training = _prepare(run.task, run.config, run.encoder)
    try:
        checkpoint.restore(run.folder / CHECKPOINT, training, run.config.to_json())
        _train(run.folder, run.config, training, quiet)
    finally:
        training.close()
    return load_run(folder)


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
        with _environment(self.task) as env:
            return _learner(self.config, self.task, env, self.encoder)

    @cached_property
    def _state(self) -> tuple:
        """Actor and decomposer of every seed, as trained so far."""
        keys = jax.random.split(jax.random.key(0), len(self.config.seeds))
        shape = jax.eval_shape(partial(core.init, self._learner), keys)
        return checkpoint.restore_part(self.folder / CHECKPOINT, (shape.agent.actor, shape.decomposer))

    def proxy_reward(
        self,
        observation: Float[np.ndarray, "batch observation"],
        action: Float[np.ndarray, "batch action"],
        next_observation: Float[np.ndarray, "batch observation"],
        *,
        seed: int | None = None,
    ) -> Float[np.ndarray, " batch"]:
        """The learned reward r̂ of each step, NumPy in and NumPy out, for any other trainer.

        ``seed`` picks one of several seeds; the first by default.

        Raises:
            LareError: the method learns no reward, or the run has no such seed.
        """
        credit = self.config.method.credit
        if not isinstance(credit, Learned):
            raise LareError(
                f"method: {self.config.method.name} learns no proxy reward; use a run of a learned method"
            )
        index = self._index(seed)
        state = jax.tree.map(lambda leaf: leaf[index], self._state[1])
        rows = (np.asarray(each, np.float32) for each in (observation, action, next_observation))
        features = core.step_features(self._learner, *map(jnp.asarray, rows))
        return np.asarray(decompose.proxy(state, credit, features))

    def act(
        self, observation: Float[np.ndarray, "*batch observation"], *, seed: int | None = None
    ) -> Float[np.ndarray, "*batch action"]:
        """The trained policy's deterministic action for each observation."""
        index = self._index(seed)
        actor = jax.tree.map(lambda leaf: leaf[index], self._state[0])
        return np.asarray(td3.policy(actor, self._learner.actions, jnp.asarray(observation, jnp.float32)))

    def evaluate(self, episodes: int = 10) -> Float[np.ndarray, "seed episode"]:
        """True returns of the deterministic policy in ``episodes`` seeded episodes of each seed."""
        envs = [[make_env(self.task) for _ in range(episodes)] for _ in self.config.seeds]
        seeds = [[derive(seed, _FINAL, episode) for episode in range(episodes)] for seed in self.config.seeds]
        try:
            return play(self._learner, self._state[0], envs, seeds)
        finally:
            for env in (env for row in envs for env in row):
                env.close()

    def _index(self, seed: int | None) -> int:
        seeds = self.config.seeds
        if seed is not None and seed not in seeds:
            raise LareError(f"seed: the run has no seed {seed}, only {', '.join(map(str, seeds))}")
        return 0 if seed is None else seeds.index(seed)


_FINAL = 3


def load_run(folder: str | Path) -> Run:
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
    encoder = encoders.load(folder / "encoder") if config.encoder else None
    return Run(folder, config, load_task(folder / "task.yaml"), encoder)


def _choose_encoder(
    task: Task, method: Method, encoder: Encoder | str | Path | None, draw: int
) -> tuple[Encoder | None, str | None]:
    """The encoder a method needs, checked against the task, and where it came from."""
    if isinstance(method.credit, Fixed) or method.credit.features == "raw":
        if encoder is not None:
            raise LareError(f"encoder: the method {method.name} reads no latents; leave --encoder out")
        return None, None
    if encoder is None:
        chosen, origin = encoders.load(bundled_folder(task.name, draw)), f"bundled draw {draw}"
    elif isinstance(encoder, Encoder):
        chosen, origin = encoder, f"given, source {encoder.card.source_sha256[:12]}"
    else:
        chosen, origin = encoders.load(Path(encoder)), str(encoder)
    encoders.check_fits(chosen, task)
    return chosen, origin


def _learner(config: RunConfig, task: Task, env: gymnasium.Env, encoder: Encoder | None) -> Learner:
    space = env.action_space
    assert isinstance(space, gymnasium.spaces.Box)
    if not np.all(np.isfinite(space.low) & np.isfinite(space.high)):
        raise LareError(
            f"env: the action space of {task.env_id} has no bounds; wrap it with gymnasium's RescaleAction or ClipAction"
        )
    low, high = jnp.asarray(space.low, jnp.float32), jnp.asarray(space.high, jnp.float32)
    return Learner(
        credit=config.method.credit,
        encoder=encoder,
        agent=config.agent,
        actions=td3.ActionRange((low + high) / 2, (high - low) / 2),
        observation_size=task.observation_size,
        action_size=task.action_size,
        horizon=task.max_steps,
        batch_size=config.batch_size,
        capacity=min(config.buffer_size, max(config.steps, task.max_steps)),
    )


def _environment(task: Task):
    """A context with the task's environment, after checking that its spaces have the described sizes."""
    env = make_env(task)
    found = (*(env.observation_space.shape or ()), *(env.action_space.shape or ()))
    if found != (task.observation_size, task.action_size):
        env.close()
        raise LareError(
            f"task: {task.name} describes {task.observation_size} observations and {task.action_size} actions, "
            f"its environment has {found[0]} and {found[1]}; run `lare check` on the task file"
        )
    return env


def _prepare(task: Task, config: RunConfig, encoder: Encoder | None) -> OffPolicy:
    with _environment(task) as env:
        learner = _learner(config, task, env, encoder)
    return OffPolicy(learner, config.schedule, config.seeds, lambda: make_env(task))


def _create(folder: Path, task: Task, config: RunConfig, encoder: Encoder | None) -> None:
    """Lay out a new run folder; refuse one that holds a run already."""
    if (folder / CONFIG).exists():
        raise LareError(
            f"out: {folder} holds a run already; go on with it by `lare train --resume {folder}`, "
            "or choose another folder with --out"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        fields = pydantic.TypeAdapter(Task).dump_python(task, mode="json")
        (folder / "task.yaml").write_text(
            yaml.safe_dump(fields, sort_keys=False, allow_unicode=True, width=100), "utf-8"
        )
        if encoder is not None:
            encoders.save(encoder, folder / "encoder")
        packages = ("latent-reward", "jax", "gymnasium", "mujoco", "numpy")
        versions = {"python": platform.python_version(), **{name: version(name) for name in packages}}
        stored = {"config": dataclasses.asdict(config), "versions": versions}
        (folder / CONFIG).write_text(json.dumps(stored, indent=1) + "\n", "utf-8")
    except OSError as error:
        raise LareError(
            f"out: cannot write the run folder {folder}: {error}; choose another with --out"
        ) from error


def _train(folder: Path, config: RunConfig, training: OffPolicy, quiet: bool) -> None:
    """Train to the last step, logging and saving on the way; Ctrl-C saves before it stops."""
    schedule, steps = config.schedule, config.steps

    def save() -> None:
        checkpoint.save(folder / CHECKPOINT, training, config.to_json())
        draw_run(folder, config.task, config.method.name)

    with Log(folder, config.seeds, training.step) as log, Progress(training.step, steps, quiet) as progress:
        try:
            while training.step < steps:
                training.advance()
                progress.step(training.step)
                last = training.step == steps
                if last or training.step % schedule.evaluate_every == 0:
                    reports = training.evaluate()
                    log.write(reports)
                    progress.show(reports)
                if last or training.step % schedule.checkpoint_every == 0:
                    save()
        except KeyboardInterrupt:
            progress.say(f"stopping: saving step {training.step}")
            save()
            raise


def _spell(seeds: tuple[int, ...]) -> str:
    """``0..4`` for consecutive seeds, ``0,2,5`` otherwise; also the name of a default run folder."""
    if len(seeds) > 2 and seeds == tuple(range(seeds[0], seeds[-1] + 1)):
        return f"{seeds[0]}..{seeds[-1]}"
    return ",".join(map(str, seeds))
