"""The whole benchmark: every method in every world, in worker processes, with what is finished on disk."""

import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pydantic

from latent_reward.bench.fit import CHUNK, Plan, fit, refusal, settings_for
from latent_reward.bench.named import find_entry, find_world, short_name
from latent_reward.bench.record import record
from latent_reward.bench.scores import SCORES, make_case
from latent_reward.errors import (
    ANY_FAILURE,
    LareError,
    disk_errors,
    one_line,
    require_count,
    require_positive,
)
from latent_reward.files import to_json, write_text
from latent_reward.reading import Count, Printable, read_rows

Row = dict[str, Any]
"""The scores of one method in one world with one seed; ``seed`` is None where it cannot take part."""

MOST_SEEDS, MOST_EPISODES, MOST_UPDATES = 1_000, 10_000, 1_000_000


class StoredRow(pydantic.BaseModel, extra="allow", strict=True):
    """A line of ``bench.jsonl``: the cell, the plan, and scores by name; null where one is not known."""

    __pydantic_extra__: dict[str, float | None] = pydantic.Field(init=False)  # pyright: ignore
    world: Printable
    method: Printable
    seed: Annotated[int, pydantic.Field(ge=0, lt=MOST_SEEDS)] | None
    episodes: Count
    held_out: Count
    updates: Count
    shipped: bool
    reason: Printable = ""


# Compilation takes longer than the work: without the compiler's optimisation both together take half the time.
_ONE_CORE = "--xla_cpu_multi_thread_eigen=false --xla_backend_optimization_level=0"


@dataclass(frozen=True)
class Job:
    """One method in worlds of one shape, which share its compiled program."""

    method: str
    worlds: tuple[str, ...]
    seeds: int
    plan: Plan


def check(plan: Plan, seeds: int) -> None:
    """Raise unless a study can be made of these numbers.

    Raises:
        LareError: naming the number.
    """
    require_positive(seeds=seeds, updates=plan.updates)
    require_count(4, episodes=plan.episodes, held_out=plan.held_out)
    bounds = {"seeds": (seeds, MOST_SEEDS), "updates": (plan.updates, MOST_UPDATES)}
    bounds |= {name: (getattr(plan, name), MOST_EPISODES) for name in ("episodes", "held_out")}
    for name, (count, most) in bounds.items():
        if count > most:
            raise LareError(f"{name}: {count:,} are too many; give at most {most:,}")
    if plan.episodes % min(CHUNK, plan.episodes):
        raise LareError(f"episodes: {plan.episodes} is no multiple of {CHUNK}; methods see {CHUNK} at a time")


def run(
    methods: tuple[str, ...],
    worlds: tuple[str, ...],
    seeds: int,
    plan: Plan,
    path: Path,
    workers: int,
    tell: Callable[[str], None] = lambda text: None,
) -> list[Row]:
    """The rows of every method, world and seed; those that ``path`` has already are not computed again.

    Args:
        methods: their names.
        worlds: their names.
        seeds: how many; they are 0, 1, ….
        plan: how much is recorded and fitted.
        path: JSON Lines, one row each, to which finished jobs are added.
        workers: processes; 1 works in this one.
        tell: gets a line for each finished job.

    Raises:
        LareError: a name does not exist, a number is not possible, or the file cannot be written.
    """
    check(plan, seeds)
    require_positive(workers=workers)
    for names in (methods, worlds):
        if len({*map(short_name, names)}) < len(names):
            raise LareError(f"methods, worlds: {', '.join(names)} has a name twice; give each one once")
    for method in methods:
        find_entry(method, shipped=plan.shipped)
    shapes = {world: find_world(world).shape for world in worlds}
    wanted = {(short_name(method), short_name(world)) for method in methods for world in worlds}
    with disk_errors(f"out: {path} cannot be used", "choose another folder"):
        remedy = "remove the line, or choose another folder"
        stored = read_rows(path, StoredRow, "out", remedy)
        write_text(
            path, "".join(f"{to_json(row)}\n" for row in stored)
        )  # without a line that a kill cut short
        kept = [row for row in stored if (row["method"], row["world"]) in wanted]
        rows = _finished(kept, seeds, plan)
        done = {(row["method"], row["world"]) for row in rows}
        jobs = []
        for method in methods:
            missing = [each for each in worlds if (short_name(method), short_name(each)) not in done]
            for shape in dict.fromkeys(shapes[each] for each in missing):
                jobs.append(
                    Job(method, tuple(each for each in missing if shapes[each] == shape), seeds, plan)
                )
        with path.open("a", encoding="utf-8") as file:
            for number, (job, found) in enumerate(_results(jobs, workers), 1):
                file.writelines(f"{to_json(row)}\n" for row in found)
                file.flush()
                rows += found
                tell(f"{number} of {len(jobs)}: {job.method} in {', '.join(job.worlds)}")
    columns, lines = ([short_name(name) for name in names] for names in (worlds, methods))
    return sorted(
        rows,
        key=lambda row: (columns.index(row["world"]), lines.index(row["method"]), row["seed"] or 0),
    )


def work(job: Job) -> list[Row]:
    """The rows of one job.

    Raises:
        LareError: a method of the user's own fails.
    """
    entry, rows = find_entry(job.method, shipped=job.plan.shipped), []
    seeds = list(range(job.seeds))
    for name in job.worlds:
        world = find_world(name)
        head = {"world": short_name(name), "method": short_name(job.method)}
        method, reason = settings_for(entry, world), refusal(entry, world)
        if method is None or reason:
            rows.append({**head, "seed": None, "reason": reason, **asdict(job.plan)})
            continue
        recorded = record(world, seeds, job.plan.episodes + job.plan.held_out)
        try:
            fitted = fit(method, world, recorded, seeds, job.plan)
        except LareError:
            raise
        except ANY_FAILURE as error:
            raise LareError(
                f"methods: {job.method} fails in {name} with {type(error).__name__} ({one_line(error)})"
            ) from error
        case = make_case(world, recorded, fitted, predicts=not (method.told or method.reference))
        scores = {score: compute(case) for score, compute in SCORES.items()}
        for place, seed in enumerate(seeds):
            found = {score: _short(values[place]) for score, values in scores.items()}
            rows.append(
                {**head, "seed": seed, **found, "seconds": _short(fitted.seconds), **asdict(job.plan)}
            )
    return rows


def _short(value: float) -> float | None:
    """Five digits, and None for NaN."""
    return float(f"{value:.5g}") if np.isfinite(value) else None


def _results(jobs: list[Job], workers: int) -> Iterator[tuple[Job, list[Row]]]:
    """Finished jobs, in the order in which they finish."""
    if workers == 1 or len(jobs) < 2:
        for job in jobs:
            yield job, work(job)
        return
    with _one_core_each(), ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        waiting = {pool.submit(work, job): job for job in jobs}
        try:
            for each in as_completed(waiting):
                yield waiting[each], each.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


@contextmanager
def _one_core_each() -> Iterator[None]:
    """Processes that start in this block use one core each, and no accelerator."""
    before = dict(os.environ)
    os.environ["XLA_FLAGS"] = f"{before.get('XLA_FLAGS', '')} {_ONE_CORE}".strip()
    os.environ["JAX_PLATFORMS"] = "cpu"
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _finished(rows: list[Row], seeds: int, plan: Plan) -> list[Row]:
    """The rows of cells that have every seed, made by the same plan."""
    cells: dict[tuple[str, str], dict[int | None, Row]] = {}
    for row in rows:
        if all(row.get(name) == value for name, value in asdict(plan).items()):
            cells.setdefault((row["method"], row["world"]), {})[row["seed"]] = row
    found = []
    for cell in cells.values():
        if None in cell:
            found.append(cell[None])
        elif all(seed in cell for seed in range(seeds)):
            found += [cell[seed] for seed in range(seeds)]
    return found
