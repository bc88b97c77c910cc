"""Learning curves of every method on the same tasks: the experiments behind ``docs/results``.

    python benchmarks/learning.py run --workers 2 --out results      # goes on where it stopped
    python benchmarks/learning.py report --out results               # curves and tables into docs/results

One process and one thread per run; the seeds of a team's runs share one. A run that was killed is resumed; a
finished one is left alone. Where a finished run's folder is gone, a report takes its figures from the last report.
"""

import argparse
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from latent_reward.report.curves import PANELS, draw_curve, save_figure, series
from latent_reward.report.log import read_metrics
from latent_reward.training.config import spell_seeds

ALL = ("dense", "lare", "gp", "linear", "rrd-unbiased", "rd", "uniform", "episodic")
ITERATION = 82 * 25  # steps of an iteration: episodes times their length
COLOURS = {
    "dense": "black", "lare": "tab:red", "gp": "tab:orange", "linear": "tab:brown",
    "rrd-unbiased": "tab:blue", "rd": "tab:cyan", "uniform": "tab:green", "episodic": "tab:gray",
}  # fmt: skip


@dataclass(frozen=True)
class Experiment:
    """One task, its methods and seeds, and the length of a run: steps, or iterations where a team learns.

    ``warm_up`` counts the steps of random actions, which no figure counts.
    """

    task: str
    methods: tuple[str, ...]
    seeds: tuple[int, ...]
    length: tuple[str, int]
    evaluation_episodes: int = 10
    warm_up: int = 10_000

    @property
    def steps(self) -> int:
        """Environment steps of one seed."""
        unit, count = self.length
        return count if unit == "steps" else count * ITERATION

    @property
    def groups(self) -> list[tuple[int, ...]]:
        """Seeds that train in one process."""
        return [self.seeds] if self.length[0] == "iterations" else [(seed,) for seed in self.seeds]


def teams(task: str) -> Experiment:
    """A world at the paper's budget."""
    return Experiment(task, ALL, (0, 1, 2), ("iterations", 1_000), 50, 0)


EXPERIMENTS = (
    Experiment("Reacher-v5", ALL, (0, 1, 2), ("steps", 50_000)),
    Experiment("HalfCheetah-v5", ALL, (0, 1), ("steps", 100_000)),
    Experiment("HumanoidStandup-v5", ("dense", "lare", "rrd-unbiased"), (0, 1), ("steps", 50_000), 5),
    teams("cn-6"),
    teams("pp-6"),
    teams("area"),
)


def folder(out: Path, task: str, method: str, seeds: tuple[int, ...]) -> Path:
    """Where one run lives."""
    return out / task / method / spell_seeds(seeds)


def train(out: Path, experiment: Experiment, method: str, seeds: tuple[int, ...]) -> None:
    """Start or resume one run in a process of its own, on one thread."""
    target = folder(out, experiment.task, method, seeds)
    rows = read_metrics(target)
    if rows and rows[-1]["step"] >= experiment.steps:
        return
    command = [sys.executable, "-m", "latent_reward.cli", "train"]
    if (target / "checkpoint.safetensors").exists():
        command += ["--resume", str(target)]
    else:
        if target.exists():
            for name in ("config.json", "metrics.jsonl"):
                (target / name).unlink(missing_ok=True)
        command += [
            experiment.task, "--method", method, "--seeds", spell_seeds(seeds),
            f"--{experiment.length[0]}", str(experiment.length[1]),
            "--evaluation-episodes", str(experiment.evaluation_episodes), "--out", str(target),
        ]  # fmt: skip
    threads = {
        "OMP_NUM_THREADS": "1",
        "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
        "JAX_PLATFORMS": "cpu",
        "JAX_CPU_ENABLE_ASYNC_DISPATCH": "false",
    }
    log = out / f"{experiment.task}-{method}-{target.name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a") as file:
        subprocess.run(command, env={**os.environ, **threads}, stdout=file, stderr=file, check=False)
    print(log.stem, "done" if read_metrics(target) else "FAILED", flush=True)


def run(out: Path, workers: int, tasks: list[str], methods: list[str], seeds: list[int]) -> None:
    """Train everything that is selected and not finished, first seeds first."""
    jobs = [
        (experiment, method, group)
        for rank in range(3)
        for experiment in EXPERIMENTS
        if not tasks or experiment.task in tasks
        for method in (methods or experiment.methods)
        if method in experiment.methods
        for group in experiment.groups[rank : rank + 1]
        if not seeds or set(group) & set(seeds)
    ]
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(lambda job: train(out, *job), jobs))


def finished(out: Path, docs: Path, experiment: Experiment) -> dict[str, list[dict]]:
    """Metrics of every finished run by method: from its folder, or from ``docs`` where an earlier report kept them."""
    kept = docs / f"{experiment.task}.jsonl"
    lines = kept.read_text("utf-8").splitlines() if kept.exists() else []
    reported = [json.loads(line) for line in lines]

    def of_seeds(method: str, seeds: tuple[int, ...]) -> list[dict]:
        rows = read_metrics(folder(out, experiment.task, method, seeds))
        if rows and rows[-1]["step"] >= experiment.steps:
            return [{"method": method, **row} for row in rows]
        return [row for row in reported if row["method"] == method and row["seed"] in seeds]

    rows = {
        method: [row for seeds in experiment.groups for row in of_seeds(method, seeds)]
        for method in experiment.methods
    }
    return {method: each for method, each in rows.items() if each}


def report(out: Path, docs: Path) -> None:
    """Draw one picture and one Markdown table per task, and one table of all; unfinished runs are left out."""
    docs.mkdir(parents=True, exist_ok=True)
    found = {experiment: finished(out, docs, experiment) for experiment in EXPERIMENTS}
    found = {experiment: rows for experiment, rows in found.items() if rows}
    (docs / "overview.md").write_text("\n".join([*overview(found), ""]), "utf-8")
    for experiment, rows in found.items():
        figure = Figure(figsize=(13, 4), layout="constrained")
        for axes, (field, title) in zip(figure.subplots(1, len(PANELS)), PANELS.items(), strict=True):
            for method, each in rows.items():
                learns = field == "return_mean" or method not in ("dense", "uniform", "episodic")
                if learns:
                    draw_curve(axes, *series(each, field), label=method, colour=COLOURS[method])
            axes.set(title=title, xlabel="environment steps")
            if field != "return_mean":
                axes.set_ylim(-1.05, 1.05)
            axes.grid(alpha=0.3)
        figure.axes[0].legend(fontsize=8)
        figure.suptitle(experiment.task)
        save_figure(figure, docs / f"{experiment.task}.png")
        table = [*_table(experiment, rows), ""]
        (docs / f"{experiment.task}.md").write_text("\n".join(table), "utf-8")
        print("\n".join(table))
        lines = [json.dumps(row) for each in rows.values() for row in each]
        (docs / f"{experiment.task}.jsonl").write_text("\n".join(lines) + "\n", "utf-8")


def overview(found: dict[Experiment, dict[str, list[dict]]]) -> list[str]:
    """Mean return at the end by method and task, a Markdown table."""
    heads = [f"{each.task}, {each.length[1]:,} {each.length[0]}" for each in found]
    lines = [f"| return at the end | {' | '.join(heads)} |", "| -- |" + " -: |" * len(heads)]
    lines.append(f"| seeds | {' | '.join(str(len(each.seeds)) for each in found)} |")
    for method in ALL:
        cells = []
        for experiment, rows in found.items():
            if method not in rows:
                cells.append("–")
                continue
            final = np.array([row["return_mean"] for row in rows[method] if row["step"] >= experiment.steps])
            few = "" if len(final) == len(experiment.seeds) else f" ({len(final)})"
            cells.append(f"{_number(final.mean(), final)}{few}")
        lines.append(f"| `{method}` | {' | '.join(cells)} |")
    return lines


def _table(experiment: Experiment, rows: dict[str, list[dict]]) -> list[str]:
    half, end = experiment.steps // 2, experiment.steps
    lines = [
        f"| {experiment.task} | seeds | return at {half:,} | return at {end:,} | mean over training | "
        "returns explained | credit correlation |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for method, each in rows.items():
        steps, returns = series(each, "return_mean")
        complete = ~np.isnan(returns[:, -1]) & (steps[-1] >= end)
        cells = [_spread(returns[:, steps == at]) for at in (half, end)]
        learning = returns[:, steps > experiment.warm_up]
        cells.append(_spread(np.nanmean(learning, axis=1)))
        for field in ("explained_variance", "credit_correlation"):
            values = series(each, field)[1][:, steps > experiment.warm_up]
            cells.append(_spread(np.nanmean(values, axis=1)) if np.isfinite(values).any() else "-")
        lines.append(f"| `{method}` | {int(complete.sum())} | {' | '.join(cells)} |")
    return lines


def _spread(values: np.ndarray) -> str:
    values = values[np.isfinite(values)]
    if not len(values):
        return "-"
    mean, low, high = (_number(value, values) for value in (values.mean(), values.min(), values.max()))
    return f"{mean} ({low} to {high})"


def _number(value: float, values: np.ndarray) -> str:
    """``value`` as precisely as ``values`` deserve."""
    return f"{value:,.{0 if np.abs(values).max() >= 100 else 2}f}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("action", choices=("run", "report"))
    parser.add_argument("--out", type=Path, default=Path("results"))
    parser.add_argument("--docs", type=Path, default=Path("docs/results"))
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--tasks", nargs="*", default=[])
    parser.add_argument("--methods", nargs="*", default=[])
    parser.add_argument("--seeds", nargs="*", type=int, default=[])
    arguments = parser.parse_args()
    if arguments.action == "run":
        run(arguments.out, arguments.workers, arguments.tasks, arguments.methods, arguments.seeds)
    else:
        report(arguments.out, arguments.docs)
