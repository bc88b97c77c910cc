"""Making a run: from a task and a method to a finished folder, and on from where one was stopped."""

import dataclasses
import json
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import pydantic
import yaml

from latent_reward import encoder as encoders
from latent_reward.agents import td3
from latent_reward.credit.methods import Direct, Fixed, Learned, Method, find_method
from latent_reward.encoder import Encoder
from latent_reward.encoders import bundled_folder
from latent_reward.report.curves import draw_run
from latent_reward.report.log import Log
from latent_reward.report.progress import Progress
from latent_reward.run import CHECKPOINT, CONFIG, Run, RunConfig, build_learner, load_run, spell_seeds
from latent_reward.task import AnyTask, Task, TeamTask, load_task, make_env
from latent_reward.training import checkpoint
from latent_reward.training.interrupt import Interrupt
from latent_reward.training.off_policy import OffPolicy, Schedule
from latent_reward.types import LareError


def train(
    task: AnyTask | str,
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
) -> Run:
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
    if isinstance(task, TeamTask):
        raise LareError(f"task: {task.name} is a world of teams, which cannot be trained on")
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
    folder = Path(out) if out else Path("runs") / task.name / method.name / spell_seeds(config.seeds)
    training = _prepare(task, config, chosen)
    try:
        _create(folder, task, config, chosen)
        _train(folder, config, training, quiet)
    finally:
        training.close()
    return load_run(folder)


def resume(folder: str | Path, *, quiet: bool = False) -> Run:
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


def _choose_encoder(
    task: Task, method: Method, encoder: Encoder | str | Path | None, draw: int
) -> tuple[Encoder | None, str | None]:
    """The encoder a method needs, checked against the task, and where it came from."""
    credit = method.credit
    if isinstance(credit, Fixed) or (isinstance(credit, Learned) and credit.features == "raw"):
        if encoder is not None:
            raise LareError(f"encoder: the method {method.name} reads no latents; leave --encoder out")
        return None, None
    one_latent = f"design one with `lare design {task.name} --reward` and pass its folder with --encoder"
    if encoder is None and isinstance(credit, Direct):
        raise LareError(
            f"encoder: {method.name} needs an encoder with one latent, and none is bundled; {one_latent}"
        )
    if encoder is None:
        chosen, origin = encoders.load(bundled_folder(task.name, draw)), f"bundled draw {draw}"
    elif isinstance(encoder, Encoder):
        chosen, origin = encoder, f"given, source {encoder.card.source_sha256[:12]}"
    else:
        chosen, origin = encoders.load(Path(encoder)), str(encoder)
    encoders.check_fits(chosen, task)
    if isinstance(credit, Direct) and len(chosen.latent_names) != 1:
        raise LareError(
            f"encoder: {method.name} needs an encoder with one latent, this has {len(chosen.latent_names)}; "
            + one_latent
        )
    return chosen, origin


def _prepare(task: Task, config: RunConfig, encoder: Encoder | None) -> OffPolicy:
    learner = build_learner(config, task, encoder)
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

    with (
        Log(folder, config.seeds, training.step) as log,
        Progress(training.step, steps, quiet) as progress,
        Interrupt() as interrupt,
    ):
        progress.say(
            f"{config.task}: {steps:,} steps, method {config.method.name}, encoder {config.encoder or 'none'}, "
            f"seeds {spell_seeds(config.seeds)}, into {folder}; Ctrl-C saves and stops"
        )
        while training.step < steps:
            training.advance()
            progress.step(training.step)
            last = training.step == steps
            if last or training.step % schedule.evaluate_every == 0:
                reports = training.evaluate()
                log.write(reports)
                progress.show(reports)
            if last or interrupt.asked or training.step % schedule.checkpoint_every == 0:
                save()
            if interrupt.asked and not last:
                progress.say(
                    f"stopped and saved at step {training.step:,}: `lare train --resume {folder}` goes on"
                )
                raise KeyboardInterrupt
