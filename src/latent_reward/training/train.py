"""Train a run from a task and a method to a finished folder, or resume one that was stopped."""

import platform
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from numbers import Integral
from pathlib import Path
from typing import Any

import pydantic
import yaml

from latent_reward.agents.registry import default_agent
from latent_reward.compilation import use_compilation_cache
from latent_reward.credit.methods import Recipe, find_method
from latent_reward.encoder.bundled import bundled_folder
from latent_reward.encoder.card import Space
from latent_reward.encoder.encoder import Encoder, check_fits, save
from latent_reward.encoder.from_function import FunctionEncoder
from latent_reward.errors import LareError
from latent_reward.files import to_json, write_text
from latent_reward.library.where import AnyEncoder
from latent_reward.report.curves import can_draw, draw_run
from latent_reward.report.log import Log
from latent_reward.report.progress import Progress
from latent_reward.sealing.open import open_encoder
from latent_reward.task.load import load_task
from latent_reward.task.open import open_environment
from latent_reward.task.task import AnyTask
from latent_reward.training.config import CHECKPOINT, CONFIG, FORMAT, RunConfig, spell_seeds
from latent_reward.training.interrupt import Interrupt
from latent_reward.training.plan import make_plan
from latent_reward.training.run import Run, Training, encoder_folders, load_run, make_training


def train(
    task: AnyTask | str,
    method: Recipe | str = "lare",
    *,
    encoder: AnyEncoder | None = None,
    draw: int = 0,
    seed: int | Sequence[int] = 0,
    out: str | Path | None = None,
    quiet: bool = False,
    **settings: Any,
) -> Run:
    """Train agents that see one return per episode, and return the finished run.

    Args:
        task: a task, the name of a built-in one, or the path of a task file.
        method: the name of a method (``lare methods`` lists them), or a method of your own.
        encoder: an encoder, its folder, or a function (:func:`latent_reward.encoder_from_function`); None takes the
            bundled one of ``draw``. For a task with several teams, a folder with one encoder under the name of each.
        draw: number of the bundled encoder.
        seed: one seed, or several that train in lockstep.
        out: the run folder; None is ``runs/<task>/<method>/<seeds>``.
        quiet: print nothing.
        settings: fields of the plan and of its experience, such as ``steps`` for one agent or ``iterations`` for teams,
            and ``agent``: see :mod:`latent_reward.training.plan`.

    Raises:
        LareError: an argument does not exist or does not fit; nothing is trained then.
    """
    use_compilation_cache()
    task = load_task(task) if isinstance(task, str) else task
    world = open_environment(task)
    plan = make_plan(default_agent(world.teams[0].actions), settings)
    if isinstance(method, str):
        method = find_method(method, plan.agent.learns_from)
    chosen, origin = _choose_encoders(task, method, encoder, draw)
    seeds = tuple(int(each) for each in ((seed,) if isinstance(seed, int | Integral) else seed))
    config = RunConfig(task.name, method, seeds, origin, plan)
    config.require_readable()
    folder = Path(out) if out else Path("runs") / task.name / method.name / spell_seeds(seeds)
    training = make_training(config, world, chosen)
    try:
        _create(folder, task, config, chosen)
        _train(folder, config, training, quiet)
    finally:
        training.close()
    return load_run(folder)


def resume(folder: str | Path, *, quiet: bool = False) -> Run:
    """Continue a run that was stopped, with the same numbers as if it had not been.

    Raises:
        LareError: the folder holds no run, its checkpoint is missing or damaged, or ``config.json`` was changed.
    """
    run = load_run(folder)
    training = make_training(run.config, run.world, run.encoders)
    try:
        training.restore(run.folder / CHECKPOINT, run.config.to_json())
        _train(run.folder, run.config, training, quiet)
    finally:
        training.close()
    return load_run(folder)


def _choose_encoders(
    task: AnyTask, method: Recipe, encoder: AnyEncoder | None, draw: int
) -> tuple[tuple[Encoder | None, ...], str | None]:
    """The encoder of each team for a method, checked against the task, and where they came from."""
    descriptions, wanted = task.descriptions, method.credit.latents
    if wanted == "none":
        if encoder is not None:
            raise LareError(f"encoder: the method {method.name} reads no latents; leave --encoder out")
        return (None,) * len(descriptions), None
    one_latent = f"design one with `lare design {task.name} --reward` and pass its folder with --encoder"
    if encoder is None and wanted == "one":
        raise LareError(
            f"encoder: {method.name} needs an encoder with one latent, and none is bundled; {one_latent}"
        )
    if encoder is None:
        chosen = tuple(open_encoder(bundled_folder(each.name, draw)) for each in descriptions)
        origin = f"bundled draw {draw}"
    elif isinstance(encoder, Encoder | FunctionEncoder):
        first, *others = descriptions
        if others:
            raise LareError(f"encoder: {task.name} needs one for each team; give a folder with all of them")
        if isinstance(encoder, FunctionEncoder):
            encoder = encoder.bind(Space.of(first), first.name, first.env_id)
        chosen, origin = (encoder,), f"given, source {encoder.card.source_sha256[:12]}"
    else:
        chosen, origin = tuple(map(open_encoder, encoder_folders(Path(encoder), task))), str(encoder)
    for each, description in zip(chosen, descriptions, strict=True):
        check_fits(each, description)
        if wanted == "one" and len(each.latent_names) != 1:
            raise LareError(
                f"encoder: {method.name} needs an encoder with one latent, this has {len(each.latent_names)}; "
                + one_latent
            )
    return chosen, origin


def _create(folder: Path, task: AnyTask, config: RunConfig, chosen: tuple[Encoder | None, ...]) -> None:
    """Lay out a new run folder; raise if it holds a run already."""
    if (folder / CONFIG).exists() and not (folder / CHECKPOINT).exists():
        raise LareError(
            f"out: {folder} holds a run that stopped before its first checkpoint; remove the folder, or choose "
            "another with --out"
        )
    if (folder / CONFIG).exists():
        raise LareError(
            f"out: {folder} holds a run already; continue it with `lare train --resume {folder}`, "
            "or choose another folder with --out"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        fields = pydantic.TypeAdapter(type(task)).dump_python(task, mode="json")
        write_text(
            folder / "task.yaml", yaml.safe_dump(fields, sort_keys=False, allow_unicode=True, width=100)
        )
        for encoder, place in zip(chosen, encoder_folders(folder / "encoder", task), strict=True):
            if encoder is not None:
                save(encoder, place)
        stored = {"format": FORMAT, "config": config, "versions": _versions()}
        write_text(folder / CONFIG, to_json(stored, indent=1) + "\n")
    except OSError as error:
        raise LareError(
            f"out: cannot write the run folder {folder}: {error}; choose another with --out"
        ) from error


def _versions() -> dict[str, str]:
    """Versions of Python and of the packages that shape the numbers, as far as they are installed."""
    versions = {"python": platform.python_version()}
    for name in ("latent-reward", "jax", "gymnasium", "mujoco", "numpy"):
        with suppress(PackageNotFoundError):
            versions[name] = version(name)
    return versions


def _train(folder: Path, config: RunConfig, training: Training, quiet: bool) -> None:
    """Train to the last step, logging and saving on the way; Ctrl-C saves before it stops."""
    plan = config.plan
    steps, evaluate_every, checkpoint_every = (
        training.steps_per_round * rounds
        for rounds in (plan.rounds, plan.evaluate_every, plan.checkpoint_every)
    )

    drawing = can_draw()

    def save() -> None:
        training.save(folder / CHECKPOINT, config.to_json())
        if drawing:
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
        if not drawing:
            progress.say(
                'no learning curve is drawn without matplotlib; run `pip install "latent-reward[plot]"`'
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
                    f"stopped and saved at step {training.step:,}: continue with `lare train --resume {folder}`"
                )
                raise KeyboardInterrupt
