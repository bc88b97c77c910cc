"""The command line ``lare``: one function per command, one line per mistake.

Modules are imported inside the commands, so that ``lare --help`` and ``lare tasks`` answer at once.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from rich.console import Console
from rich.table import Table
from tyro.conf import OmitArgPrefixes, Positional, arg
from tyro.extras import SubcommandApp

from latent_reward.types import LareError

app = SubcommandApp()
_out = Console(highlight=False, soft_wrap=True)

TaskName = Annotated[str, arg(metavar="TASK")]
Folder = Annotated[Path, arg(metavar="RUN")]


@app.command
def tasks() -> None:
    """List the built-in tasks: environment, sizes, and what is wanted."""
    from latent_reward.encoders import bundled_draws
    from latent_reward.task import load_task, task_names

    table = Table("task", "observation", "action", "steps", "encoders", "goal", box=None)
    for name in task_names():
        task = load_task(name)
        numbers = (task.observation_size, task.action_size, task.max_steps, len(bundled_draws(name)))
        table.add_row(name, *map(str, numbers), " ".join(task.goal["plain"].split()))
    _out.print(table)
    _out.print(
        "\nA task file of your own works in the same place: `lare check MyTask.yaml` tells what is missing."
    )


@app.command
def methods() -> None:
    """List the ways to assign credit that `lare train --method` knows."""
    from latent_reward.credit.methods import METHODS

    table = Table("method", "what it does", box=None)
    for method in METHODS.values():
        table.add_row(method.name, method.summary)
    _out.print(table)


@app.command
def encoders() -> None:
    """List the bundled encoders: their latents, for each task and draw."""
    from latent_reward.encoder import load
    from latent_reward.encoders import bundled_draws, bundled_folder, bundled_tasks

    table = Table("task", "draw", "latents", box=None)
    for name in bundled_tasks():
        for draw in bundled_draws(name):
            latents = load(bundled_folder(name, draw)).latent_names
            table.add_row(name, str(draw), ", ".join(latents))
    _out.print(table)


@app.command
def check(
    file: Positional[Annotated[Path, arg(metavar="FILE")]],
    *,
    task: Annotated[str | None, arg(metavar="TASK")] = None,
    out: Annotated[Path | None, arg(metavar="DIR")] = None,
) -> None:
    """Check a task file against its environment, or seal an encoder's source and print every check.

    Exit status 1, with the reasons, if anything is wrong.

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
    from latent_reward.task import load_task
    from latent_reward.task_check import check_task

    problems = check_task(file)
    for problem in problems:
        _out.print(str(problem), markup=False)
    if problems:
        raise SystemExit(1)
    task = load_task(file)
    _out.print(
        f"{file}: fits {task.env_id}: {task.observation_size} observations, {task.action_size} actions, "
        f"{task.max_steps} steps",
        markup=False,
    )


def _check_source(file: Path, name: str | None, out: Path | None) -> None:
    from latent_reward.design import verify
    from latent_reward.encoder import save
    from latent_reward.task import load_task

    if name is None:
        raise LareError("task: a source is checked for a task; add `--task TASK` (`lare tasks` lists them)")
    task = load_task(name)
    try:
        source = file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise LareError(f"file: cannot read {file}: {error}; give the path of a Python source") from error
    report = verify.check(source, task)
    for each in report.checks:
        _out.print(f"{'passed' if each.passed else 'FAILED'}  {each.name}: {each.detail}", markup=False)
    if not report.passed:
        raise SystemExit(1)
    if out is not None:
        save(verify.encoder_of(report, source, task, provenance=f"sealed from {file.name}"), out)
        _out.print(f"sealed: {out}; train with `lare train {name} --encoder {out}`", markup=False)


@app.command
def train(
    task: Positional[TaskName] = "HalfCheetah-v5",
    *,
    method: str = "lare",
    seeds: Annotated[str, arg(aliases=("--seed",), metavar="N|A..B|A,B,…")] = "0",
    steps: int = 100_000,
    encoder: Annotated[Path | None, arg(metavar="DIR")] = None,
    draw: int = 0,
    out: Annotated[Path | None, arg(metavar="DIR")] = None,
    warmup: int = 10_000,
    evaluate_every: int = 5_000,
    evaluation_episodes: int = 10,
    checkpoint_every: int = 25_000,
    batch_size: int = 256,
    buffer_size: int = 1_000_000,
    resume: Annotated[Path | None, arg(metavar="RUN")] = None,
    quiet: bool = False,
) -> None:
    """Train an agent that is told one return per episode, with credit assigned by METHOD.

    Without arguments: HalfCheetah-v5 for 100,000 steps with the bundled latent-reward encoder.
    Ctrl-C saves first; `lare train --resume RUN` goes on to the same numbers.

    Args:
        task: a built-in task (`lare tasks`) or the path of a task file.
        method: how credit is assigned (`lare methods`).
        seeds: one seed, or several that train side by side in one program: 0..4 or 0,2,5.
        steps: environment steps per seed.
        encoder: folder of an encoder; the bundled one of DRAW by default.
        draw: which bundled encoder (an axis of its own: not the seed).
        out: the run folder; runs/TASK/METHOD/SEEDS by default.
        warmup: steps with random actions before learning starts.
        evaluate_every: steps between evaluations.
        evaluation_episodes: episodes per evaluation, the same ones every time.
        checkpoint_every: steps between checkpoints.
        batch_size: transitions per update of the agent.
        buffer_size: transitions kept for replay.
        resume: go on with this run; every other setting comes from it.
        quiet: print nothing.
    """
    from latent_reward import trainer
    from latent_reward.training.off_policy import Schedule

    if resume is not None:
        run = trainer.resume(resume, quiet=quiet)
    else:
        run = trainer.train(
            task,
            method,
            encoder=encoder,
            draw=draw,
            seed=parse_seeds(seeds),
            steps=steps,
            out=out,
            schedule=Schedule(warmup, evaluate_every, evaluation_episodes, checkpoint_every),
            batch_size=batch_size,
            buffer_size=buffer_size,
            quiet=quiet,
        )
    if not quiet:
        _out.print(f"done: {run.folder} (learning_curve.png, metrics.jsonl, tensorboard/)", markup=False)


@app.command
def evaluate(run: Positional[Folder], *, episodes: int = 10, video: bool = False) -> None:
    """Play episodes with a trained policy and print their true returns.

    Args:
        run: the folder of a run.
        episodes: episodes per seed, the same ones every time.
        video: also write one episode per seed as an MP4 file into the run folder.
    """
    from latent_reward.report.video import record
    from latent_reward.run import load_run

    trained = load_run(run)
    for seed, returns in zip(trained.config.seeds, trained.evaluate(episodes), strict=True):
        _out.print(
            f"seed {seed}: return {returns.mean():,.2f} ± {returns.std():,.2f} over {episodes} episodes "
            f"({returns.min():,.2f} to {returns.max():,.2f})"
        )
        if video:
            path = record(
                trained.task, lambda o, seed=seed: trained.act(o, seed=seed), run / f"seed{seed}.mp4"
            )
            _out.print(f"seed {seed}: {path}", markup=False)


def parse_seeds(text: str) -> tuple[int, ...]:
    """Seeds in words: ``3``, ``0..4`` (both ends included) or ``0,2,5``.

    >>> parse_seeds("0..2")
    (0, 1, 2)

    Raises:
        LareError: the text is none of these.
    """
    first, dots, last = text.partition("..")
    try:
        seeds = tuple(range(int(first), int(last) + 1)) if dots else tuple(map(int, text.split(",")))
    except ValueError:
        seeds = ()
    if not seeds:
        raise LareError(
            f"seeds: {text!r} is not understood; write one seed (3), a range (0..4) or a list (0,2,5)"
        )
    return seeds


def _refuse_settings_on_resume(argv: Sequence[str]) -> None:
    """A resumed run keeps its configuration, so a setting beside ``--resume`` must be a misunderstanding."""
    flags = [word.partition("=")[0] for word in argv if word.startswith("--")]
    others = [flag for flag in flags if flag not in ("--resume", "--quiet", "--no-quiet", "--help")]
    if "--resume" in flags and others:
        raise LareError(
            f"{others[0].lstrip('-')}: a resumed run keeps its configuration; leave {', '.join(others)} out, "
            "or start a new run without --resume"
        )


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point of ``lare``."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        _refuse_settings_on_resume(words)
        app.cli(
            args=words,
            prog="lare",
            description="Credit assignment for reinforcement learning from episode returns.",
            config=(OmitArgPrefixes,),
        )
    except LareError as error:
        Console(stderr=True, highlight=False, soft_wrap=True).print(f"lare: {error}", markup=False)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None


if __name__ == "__main__":
    main()
