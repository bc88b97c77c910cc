"""The commands ``train`` and ``evaluate``."""

from pathlib import Path
from typing import Annotated, TypedDict, Unpack

from tyro.conf import Positional, arg

from latent_reward.cli.common import TaskName, print_credit, print_weights, screen
from latent_reward.errors import LareError


class Settings(TypedDict, total=False):
    """Settings of training; what is left out has the default of the kind of agent."""

    steps: int
    """for one agent: environment steps per seed (100,000)."""
    iterations: int
    """for teams: iterations per seed (1,000)."""
    warmup: int
    """for one agent: steps with random actions before learning starts (10,000)."""
    episodes: int
    """for teams: episodes per iteration (82)."""
    evaluate_every: int
    """steps (5,000) or iterations (10) between evaluations."""
    evaluation_episodes: int
    """episodes per evaluation (10; of teams 50), the same ones every time."""
    checkpoint_every: int
    """steps (25,000) or iterations (100) between checkpoints."""
    batch_size: int
    """for one agent: transitions per update (256)."""
    buffer_size: int
    """for one agent: transitions kept for replay (1,000,000)."""


def train(
    task: Positional[TaskName] = "HalfCheetah-v5",
    *,
    method: str = "lare",
    seeds: Annotated[str, arg(aliases=("--seed",), metavar="N|A..B|A,B,…")] = "0",
    encoder: Annotated[Path | None, arg(metavar="DIR")] = None,
    draw: int = 0,
    out: Annotated[Path | None, arg(metavar="DIR")] = None,
    resume: Annotated[Path | None, arg(metavar="RUN")] = None,
    quiet: bool = False,
    **settings: Unpack[Settings],
) -> None:
    """Train an agent, or teams of agents, from the return of each episode, with credit assigned by METHOD.

    Without arguments: HalfCheetah-v5 for 100,000 steps with the bundled latent-reward encoder. One agent trains
    step by step, teams in iterations of whole episodes; a setting of the other kind is refused.
    Ctrl-C saves before it stops; `lare train --resume RUN` continues with the same numbers.

    Args:
        task: a built-in task (`lare tasks`) or the path of a task file.
        method: how credit is assigned (`lare methods`).
        seeds: one seed, or several that train side by side in one program: 0..4 or 0,2,5.
        encoder: folder of an encoder (several teams: with one under each name); the bundled one of DRAW by default.
        draw: which bundled encoder (an axis of its own: not the seed).
        out: the run folder; runs/TASK/METHOD/SEEDS by default.
        resume: go on with this run; every other setting comes from it.
        quiet: print nothing.
    """
    from latent_reward.report.evaluation import last_rows
    from latent_reward.training import train as trainer

    if resume is not None:
        run = trainer.resume(resume, quiet=quiet)
    else:
        seed = parse_seeds(seeds)
        run = trainer.train(
            task, method, encoder=encoder, draw=draw, seed=seed, out=out, quiet=quiet, **settings
        )
    if not quiet:
        for (seed_done, team), row in last_rows(run.metrics).items():
            screen.print(f"seed {seed_done} {team}".rstrip() + ":")
            print_credit(row)
        written = [name for name in ("learning_curve.png", "metrics.jsonl") if (run.folder / name).exists()]
        screen.print(f"done: {run.folder} ({', '.join(written)}, tensorboard/)")


def evaluate(
    run: Positional[Annotated[Path, arg(metavar="RUN")]], *, episodes: int = 10, video: bool = False
) -> None:
    """Play episodes with a trained policy; print their true returns and what each latent turned out to be worth.

    Args:
        run: the folder of a run.
        episodes: episodes per seed, the same ones every time.
        video: also write one episode per seed as an MP4 file into the run folder.
    """
    from latent_reward.report.evaluation import last_rows
    from latent_reward.training.run import load_run

    trained = load_run(run)
    measured = last_rows(trained.metrics)
    returns = trained.evaluate(episodes)
    for index, seed in enumerate(trained.config.seeds):
        for team, each in ((team, found[index]) for team, found in returns.items()):
            whose = f"seed {seed} {team}" if len(returns) > 1 else f"seed {seed}"
            screen.print(
                f"{whose}: return {each.mean():,.2f} ± {each.std():,.2f} over {episodes} "
                f"episodes ({each.min():,.2f} to {each.max():,.2f})"
            )
            if row := measured.get((seed, team if len(returns) > 1 else "")):
                print_credit(row)
            print_weights(trained.latent_weights(seed=seed, team=team))
        if video:
            path = trained.film(run / f"seed{seed}.mp4", seed=seed)
            screen.print(f"seed {seed}: {path}")


def parse_seeds(text: str) -> tuple[int, ...]:
    """Seeds in words: ``3``, ``0..4`` (both ends included) or ``0,2,5``; LareError for anything else.

    >>> parse_seeds("0..2")
    (0, 1, 2)
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
