"""Commands that look and change nothing: tasks, methods, encoders; and ``check``."""

from pathlib import Path
from typing import Annotated

from rich.table import Table
from tyro.conf import Positional, arg

from latent_reward.cli.common import screen
from latent_reward.errors import LareError


def tasks() -> None:
    """List the built-in tasks: environment, sizes, and what is wanted."""
    from latent_reward.encoder.bundled import bundled_draws
    from latent_reward.task.load import load_task, task_names

    table = Table("task", "observation", "action", "steps", "encoders", "goal", box=None)
    for task in (each for name in task_names() for each in load_task(name).descriptions):
        numbers = (task.observation_size, task.action_size, task.max_steps, len(bundled_draws(task.name)))
        table.add_row(task.name, *map(str, numbers), " ".join(task.goal["plain"].split()))
    screen.print(table)
    screen.print(
        "\nA task file of your own works in the same place: `lare check MyTask.yaml` tells what is missing."
    )


def methods() -> None:
    """List the ways to assign credit that `lare train --method` knows."""
    from latent_reward.credit.methods import METHODS

    table = Table("method", "one agent", "teams", "what it does", box=None)
    for name, entry in METHODS.items():
        known = ("yes" if each else "-" for each in (entry.replay, entry.episodes))
        table.add_row(name, *known, entry.summary)
    screen.print(table)


def list_encoders() -> None:
    """List the bundled encoders: their latents, for each task and draw."""
    from latent_reward.encoder.bundled import bundled_draws, bundled_folder
    from latent_reward.sealing.open import open_encoder
    from latent_reward.task.load import load_task, task_names

    table = Table("task", "draw", "latents", box=None)
    for name in (each.name for task in task_names() for each in load_task(task).descriptions):
        for draw in bundled_draws(name):
            latents = open_encoder(bundled_folder(name, draw)).latent_names
            table.add_row(name, str(draw), ", ".join(latents))
    screen.print(table)


def check(
    file: Positional[Annotated[Path, arg(metavar="FILE")]],
    *,
    task: Annotated[str | None, arg(metavar="TASK")] = None,
    out: Annotated[Path | None, arg(metavar="DIR")] = None,
) -> None:
    """Check a task file against its environment, or seal an encoder's source and print every check.

    Exit status 1, with the reasons, if anything is wrong. A text that gives the reward away is a warning only.

    Args:
        file: a task file (.yaml), or the source of an encoder (.py).
        task: for a source: the task whose observation and action it reads.
        out: for a source: write the sealed encoder into this folder, for `lare train --encoder`.
    """
    if file.suffix == ".py":
        _check_source(file, task, out)
    elif task or out:
        raise LareError(
            f"file: {file} is no source (.py); --task and --out belong to sources, so leave them out"
        )
    else:
        _check_task(file)


def _check_task(file: Path) -> None:
    from latent_reward.task.check import check_task
    from latent_reward.task.leakage import leaks
    from latent_reward.task.load import load_task

    problems = check_task(file)
    for problem in problems:
        screen.print(str(problem))
    if problems:
        raise SystemExit(1)
    for task in load_task(file).descriptions:
        screen.print(
            f"{file}: fits {task.env_id}: {task.observation_size} observations, {task.action_size} actions, "
            f"{task.max_steps} steps"
        )
    for leak in leaks(file):
        screen.print(f"warning: {leak}")


def _check_source(file: Path, name: str | None, out: Path | None) -> None:
    from latent_reward.encoder.encoder import save
    from latent_reward.sealing import verify
    from latent_reward.task.load import load_description

    if name is None:
        raise LareError("task: a source is checked for a task; add `--task TASK` (`lare tasks` lists them)")
    task = load_description(name)
    try:
        source = file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise LareError(f"file: cannot read {file}: {error}; give the path of a Python source") from error
    report = verify.check(source, task)
    for each in report.checks:
        screen.print(f"{'passed' if each.passed else 'FAILED'}  {each.name}: {each.detail}")
    if not report.passed:
        raise SystemExit(1)
    if out is not None:
        save(verify.encoder_of(report, source, task, provenance=f"sealed from {file.name}"), out)
        screen.print(f"sealed: {out}; train with `lare train {name} --encoder {out}`")
