"""The commands ``train`` and ``evaluate``."""

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from latent_reward.cli.common import RunFolder, TaskName, print_weights, screen
from latent_reward.errors import LareError


def train(
    task: Positional[TaskName] = "HalfCheetah-v5",
    *,
    method: str = "lare",
    seeds: Annotated[str, arg(aliases=("--seed",), metavar="N|A..B|A,B,…")] = "0",
    steps: int | None = None,
    iterations: int | None = None,
    encoder: Annotated[Path | None, arg(metavar="DIR")] = None,
    draw: int = 0,
    out: Annotated[Path | None, arg(metavar="DIR")] = None,
    warmup: int | None = None,
    episodes: int | None = None,
    evaluate_every: int | None = None,
    evaluation_episodes: int | None = None,
    checkpoint_every: int | None = None,
    batch_size: int | None = None,
    buffer_size: int | None = None,
    resume: Annotated[Path | None, arg(metavar="RUN")] = None,
    quiet: bool = False,
) -> None:
    """Train an agent, or teams of agents, from the return of each episode, with credit assigned by METHOD.

    Without arguments: HalfCheetah-v5 for 100,000 steps with the bundled latent-reward encoder. One agent trains
    step by step, teams in iterations of whole episodes; a setting of the other kind is refused.
    Ctrl-C saves before it stops; `lare train --resume RUN` continues with the same numbers.

    Args:
        task: a built-in task (`lare tasks`) or the path of a task file.
        method: how credit is assigned (`lare methods`).
        seeds: one seed, or several that train in one program: 0..4 or 0,2,5.
        steps: for one agent: environment steps per seed (100,000).
        iterations: for teams: iterations per seed (1,000).
        encoder: folder of an encoder (several teams: of a folder for each); the bundled one of DRAW by default.
        draw: number of the bundled encoder (unrelated to the seed).
        out: the run folder; runs/TASK/METHOD/SEEDS by default.
        warmup: for one agent: steps with random actions before learning starts (10,000).
        episodes: for teams: episodes per iteration (82).
        evaluate_every: steps (5,000) or iterations (10) between evaluations.
        evaluation_episodes: episodes per evaluation (10, teams 50), the same ones every time.
        checkpoint_every: steps (25,000) or iterations (100) between checkpoints.
        batch_size: for one agent: transitions per update (256).
        buffer_size: for one agent: transitions kept for replay (1,000,000).
        resume: continue this run with its own settings.
        quiet: print nothing.
    """
    from latent_reward.training import train as trainer

    settings = {
        "steps": steps,
        "iterations": iterations,
        "warmup": warmup,
        "episodes": episodes,
        "evaluate_every": evaluate_every,
        "evaluation_episodes": evaluation_episodes,
        "checkpoint_every": checkpoint_every,
        "batch_size": batch_size,
        "buffer_size": buffer_size,
    }
    if resume is not None:
        run = trainer.resume(resume, quiet=quiet)
    else:
        given = {name: value for name, value in settings.items() if value is not None}
        run = trainer.train(
            task, method, encoder=encoder, draw=draw, seed=parse_seeds(seeds), out=out, quiet=quiet, **given
        )
    if not quiet:
        screen.print(f"done: {run.folder} (learning_curve.png, metrics.jsonl, tensorboard/)", markup=False)


def evaluate(run: Positional[RunFolder], *, episodes: int = 10, video: bool = False) -> None:
    """Play episodes with a trained policy; print their true returns and the reward assigned to each latent.

    Args:
        run: the folder of a run.
        episodes: episodes per seed, the same ones every time.
        video: also write one episode per seed as an MP4 file into the run folder.
    """
    from latent_reward.training.run import load_run

    trained = load_run(run)
    returns = trained.evaluate(episodes)
    for index, seed in enumerate(trained.config.seeds):
        for team, each in ((team, found[index]) for team, found in returns.items()):
            whose = f"seed {seed} {team}" if len(returns) > 1 else f"seed {seed}"
            screen.print(
                f"{whose}: return {each.mean():,.2f} ± {each.std():,.2f} over {episodes} "
                f"episodes ({each.min():,.2f} to {each.max():,.2f})"
            )
            print_weights(trained.latent_weights(seed=seed, team=team))
        if video:
            path = trained.film(run / f"seed{seed}.mp4", seed=seed)
            screen.print(f"seed {seed}: {path}", markup=False)


def parse_seeds(text: str) -> tuple[int, ...]:
    """Seeds from text: ``3``, ``0..4`` (both ends included) or ``0,2,5``.

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
