"""The command ``bench``: every method in worlds whose credit is known exactly."""

import os
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import FlagCreatePairsOff, arg

from latent_reward.cli.common import print_rows, screen
from latent_reward.errors import disk_errors
from latent_reward.report.screen import Screen

if TYPE_CHECKING:
    from latent_reward.bench.fit import Plan


def bench(
    *,
    methods: tuple[str, ...] = (),
    worlds: tuple[str, ...] = (),
    seeds: int = 30,
    episodes: int = 64,
    held_out: int = 64,
    updates: int = 500,
    shipped: FlagCreatePairsOff[bool] = False,
    out: Annotated[Path, arg(metavar="OUT")] = Path("bench"),
    workers: int | None = None,
) -> None:
    """Compare methods in tiny worlds in which the credit of every step is known exactly.

    All methods get the same recorded episodes. Scores are how well they find the true credit, explain held-out
    returns, point the policy gradient, and what the best plan for their rewards is truly paid. OUT gets bench.jsonl
    with one line per cell and seed, bench.md, and bench.png if matplotlib is installed. Cells that bench.jsonl has
    already are not computed again.

    Args:
        methods: which ones (`lare methods`), or FILE.py:NAME with a method of your own; by default all but stas-ml and
            the variants of attention and recurrence on latents, which are slow.
        worlds: which ones, or FILE.py:NAME with a world of your own; all by default.
        seeds: how many, each with its own episodes.
        episodes: to fit to, per seed; a multiple of 16.
        held_out: episodes to judge on, per seed.
        updates: of networks; those that read whole episodes make a fifth as many.
        shipped: use networks in the sizes of `lare train`; by default they are as small as the worlds.
        out: the folder for the results.
        workers: processes; as many as there are cores by default.
    """
    from latent_reward.bench import study, table
    from latent_reward.bench.fit import Plan
    from latent_reward.bench.named import DEFAULT
    from latent_reward.bench.worlds import WORLDS
    from latent_reward.compilation import use_compilation_cache

    use_compilation_cache()
    with disk_errors(f"out: {out} cannot be made", "choose another folder"):
        out.mkdir(parents=True, exist_ok=True)
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    plan = Plan(episodes, held_out, updates, shipped)
    rows = study.run(
        methods or DEFAULT,
        worlds or tuple(WORLDS),
        seeds,
        plan,
        out / "bench.jsonl",
        count if workers is None else workers,
        Screen(stderr=True).print,
    )
    found = table.make_table(rows)
    table.write(out, found, _command(plan, seeds, methods=methods, worlds=worlds))
    print_rows(table.overview(found), as_json=False)
    if find_spec("matplotlib") is not None:
        table.draw(out / "bench.png", found)
    screen.print(f"\nwritten: {out}")


def _command(plan: "Plan", seeds: int, **names: tuple[str, ...]) -> str:
    """The command that makes the same table."""
    from latent_reward.bench.fit import Plan

    words = ["lare bench"]
    words += [f"--{name} {' '.join(each)}" for name, each in names.items() if each]
    words.append(f"--seeds {seeds}")
    for name, value in asdict(plan).items():
        option = f"--{name.replace('_', '-')}"
        words += [option if value is True else f"{option} {value}"] if value != getattr(Plan(), name) else []
    return " ".join(words)
