"""Making a run: from a task and a method to a finished folder, and on from where one was stopped."""

import dataclasses
import json
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pydantic
import yaml

from latent_reward.config import CHECKPOINT, CONFIG, RunConfig, spell_seeds
from latent_reward.credit.features import reads_latents
from latent_reward.credit.methods import Direct, Method, find_method
from latent_reward.encoder import encoder as encoders
from latent_reward.encoder.bundled import bundled_folder
from latent_reward.encoder.encoder import Encoder
from latent_reward.errors import LareError
from latent_reward.report.curves import draw_run
from latent_reward.report.log import Log
from latent_reward.report.progress import Progress
from latent_reward.run import Run, build_learner, load_run
from latent_reward.sealing.open import open_encoder
from latent_reward.task.task import AnyTask, Task, TeamTask, load_task, make_env
from latent_reward.team_run import TeamRun, build_team_learner, team_folders
from latent_reward.training.interrupt import Interrupt
from latent_reward.training.off_policy import OffPolicy
from latent_reward.training.on_policy import OnPolicy
from latent_reward.training.plan import OffPolicyPlan, OnPolicyPlan, make_plan

Training = OffPolicy | OnPolicy


def train(
    task: AnyTask | str,
    method: Method | str = "lare",
    *,
    encoder: Encoder | str | Path | None = None,
    draw: int = 0,
    seed: int | Sequence[int] = 0,
    out: str | Path | None = None,
    quiet: bool = False,
    **settings: Any,
) -> Run | TeamRun:
    """Train an agent, or teams of agents, that see one return per episode, and return the finished run.

    Args:
        task: a task, the name of a built-in one, or the path of a task file.
        method: how credit is assigned: a name that ``lare methods`` lists, or a recipe of your own.
        encoder: an encoder or its folder; None takes the bundled one of ``draw``. For a world with several
            teams, a folder with one encoder under the name of each.
        draw: which bundled encoder.
        seed: one seed, or several that train in lockstep.
        out: the run folder; None is ``runs/<task>/<method>/<seeds>``.
        quiet: print nothing.
        settings: fields of the plan or of its schedule, such as ``steps`` for one agent or ``iterations``
            for teams: see :mod:`latent_reward.training.plan`.

    Raises:
        LareError: something asked for does not exist or does not fit; nothing was trained then.
    """
    task = load_task(task) if isinstance(task, str) else task
    of_teams = isinstance(task, TeamTask)
    method = find_method(method, of_teams=of_teams) if isinstance(method, str) else method
    chosen, origin = _choose_encoders(task, method, encoder, draw)
    config = RunConfig(
        task=task.name,
        method=method,
        seeds=(seed,) if isinstance(seed, int) else tuple(seed),
        encoder=origin,
        plan=make_plan(task.name, of_teams, settings),
    )
    folder = Path(out) if out else Path("runs") / task.name / method.name / spell_seeds(config.seeds)
    training = _prepare(task, config, chosen)
    try:
        _create(folder, task, config, chosen)
        _train(folder, task, config, training, quiet)
    finally:
        training.close()
    return load_run(folder)


def resume(folder: str | Path, *, quiet: bool = False) -> Run | TeamRun:
    """Go on with a run that was stopped, to the same numbers as if it had not been.

    Raises:
        LareError: the folder holds no run, its checkpoint is missing or damaged, or ``config.json`` was changed.
    """
    run = load_run(folder)
    chosen = run.encoders if isinstance(run, TeamRun) else (run.encoder,)
    training = _prepare(run.task, run.config, chosen)
    try:
        training.restore(run.folder / CHECKPOINT, run.config.to_json())
        _train(run.folder, run.task, run.config, training, quiet)
    finally:
        training.close()
    return load_run(folder)


def _choose_encoders(
    task: AnyTask, method: Method, encoder: Encoder | str | Path | None, draw: int
) -> tuple[tuple[Encoder | None, ...], str | None]:
    """The encoder a method needs for each team, checked against the task, and where they came from."""
    descriptions = task.descriptions
    if not reads_latents(method.credit):
        if encoder is not None:
            raise LareError(f"encoder: the method {method.name} reads no latents; leave --encoder out")
        return (None,) * len(descriptions), None
    one_latent = f"design one with `lare design {task.name} --reward` and pass its folder with --encoder"
    if encoder is None and isinstance(method.credit, Direct):
        raise LareError(
            f"encoder: {method.name} needs an encoder with one latent, and none is bundled; {one_latent}"
        )
    if encoder is None:
        chosen = tuple(open_encoder(bundled_folder(each.name, draw)) for each in descriptions)
        origin = f"bundled draw {draw}"
    elif isinstance(encoder, Encoder):
        if len(descriptions) > 1:
            raise LareError(f"encoder: {task.name} needs one for each team; give a folder with all of them")
        chosen, origin = (encoder,), f"given, source {encoder.card.source_sha256[:12]}"
    else:
        folders = (Path(encoder),) if isinstance(task, Task) else team_folders(Path(encoder), task)
        chosen, origin = tuple(map(open_encoder, folders)), str(encoder)
    for each, description in zip(chosen, descriptions, strict=True):
        encoders.check_fits(each, description)
        if isinstance(method.credit, Direct) and len(each.latent_names) != 1:
            raise LareError(
                f"encoder: {method.name} needs an encoder with one latent, this has {len(each.latent_names)}; "
                + one_latent
            )
    return chosen, origin


def _prepare(task: AnyTask, config: RunConfig, chosen: tuple[Encoder | None, ...]) -> Training:
    if isinstance(task, Task):
        assert isinstance(config.plan, OffPolicyPlan)
        learner = build_learner(config, task, chosen[0])
        return OffPolicy(learner, config.plan.schedule, config.seeds, lambda: make_env(task))
    assert isinstance(config.plan, OnPolicyPlan)
    return OnPolicy(build_team_learner(config, task, chosen), config.plan.schedule, config.seeds)


def _create(folder: Path, task: AnyTask, config: RunConfig, chosen: tuple[Encoder | None, ...]) -> None:
    """Lay out a new run folder; refuse one that holds a run already."""
    if (folder / CONFIG).exists() and not (folder / CHECKPOINT).exists():
        raise LareError(
            f"out: {folder} holds a run that stopped before its first checkpoint; remove the folder, or choose "
            "another with --out"
        )
    if (folder / CONFIG).exists():
        raise LareError(
            f"out: {folder} holds a run already; go on with it by `lare train --resume {folder}`, "
            "or choose another folder with --out"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        fields = pydantic.TypeAdapter(type(task)).dump_python(task, mode="json")
        (folder / "task.yaml").write_text(
            yaml.safe_dump(fields, sort_keys=False, allow_unicode=True, width=100), "utf-8"
        )
        places = (folder / "encoder",) if isinstance(task, Task) else team_folders(folder / "encoder", task)
        for encoder, place in zip(chosen, places, strict=True):
            if encoder is not None:
                encoders.save(encoder, place)
        packages = ("latent-reward", "jax", "gymnasium", "mujoco", "numpy")
        versions = {"python": platform.python_version(), **{name: version(name) for name in packages}}
        stored = {"config": dataclasses.asdict(config), "versions": versions}
        (folder / CONFIG).write_text(json.dumps(stored, indent=1) + "\n", "utf-8")
    except OSError as error:
        raise LareError(
            f"out: cannot write the run folder {folder}: {error}; choose another with --out"
        ) from error


def _train(folder: Path, task: AnyTask, config: RunConfig, training: Training, quiet: bool) -> None:
    """Train to the last step, logging and saving on the way; Ctrl-C saves before it stops."""
    steps, evaluate_every, checkpoint_every = _milestones(task, config)

    def save() -> None:
        training.save(folder / CHECKPOINT, config.to_json())
        draw_run(folder, config.task, config.method.name)

    with (
        Log(folder, training.step) as log,
        Progress(training.step, steps, quiet) as progress,
        Interrupt() as interrupt,
    ):
        progress.say(
            f"{config.task}: {steps:,} steps, method {config.method.name}, encoder {config.encoder or 'none'}, "
            f"seeds {spell_seeds(config.seeds)}, into {folder}; Ctrl-C saves and stops"
        )
        while training.step < steps:
            ahead = (training.step // every * every + every for every in (evaluate_every, checkpoint_every))
            training.advance(min(steps, *ahead))
            progress.step(training.step)
            last = training.step == steps
            if last or training.step % evaluate_every == 0:
                reports = training.evaluate()
                log.write(reports)
                progress.show(reports)
            if last or interrupt.asked or training.step % checkpoint_every == 0:
                save()
            if interrupt.asked and not last:
                progress.say(
                    f"stopped and saved at step {training.step:,}: `lare train --resume {folder}` goes on"
                )
                raise KeyboardInterrupt


def _milestones(task: AnyTask, config: RunConfig) -> tuple[int, int, int]:
    """Steps in all, between evaluations and between checkpoints."""
    plan = config.plan
    match plan:
        case OffPolicyPlan():
            return plan.steps, plan.schedule.evaluate_every, plan.schedule.checkpoint_every
        case OnPolicyPlan():
            each = plan.episodes * task.max_steps
            counts = (plan.iterations, plan.schedule.evaluate_every, plan.schedule.checkpoint_every)
            return tuple(each * count for count in counts)  # pyright: ignore[reportReturnType]
