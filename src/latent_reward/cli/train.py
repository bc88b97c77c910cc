"""Commands around a run: ``train`` and ``evaluate``."""

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from latent_reward.cli.common import RunFolder, TaskName, screen
from latent_reward.types import LareError


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
        screen.print(f"done: {run.folder} (learning_curve.png, metrics.jsonl, tensorboard/)", markup=False)


def evaluate(run: Positional[RunFolder], *, episodes: int = 10, video: bool = False) -> None:
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
        screen.print(
            f"seed {seed}: return {returns.mean():,.2f} ± {returns.std():,.2f} over {episodes} episodes "
            f"({returns.min():,.2f} to {returns.max():,.2f})"
        )
        if video:
            path = record(
                trained.task, lambda o, seed=seed: trained.act(o, seed=seed), run / f"seed{seed}.mp4"
            )
            screen.print(f"seed {seed}: {path}", markup=False)


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
