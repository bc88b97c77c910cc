"""What a study shows: means with intervals, as Markdown and as a picture."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.stats
from jaxtyping import Float

from latent_reward.bench.scores import SCORES
from latent_reward.bench.study import Row
from latent_reward.files import replacing, write_text

_RESAMPLES = 1000
_DRAWN = ("correlation", "gradient", "planned")
HEADINGS = {
    "correlation": "Correlation of rewards with true credit, step by step; 1 is right, 0 is no better than a constant",
    "slope": "Slope of true credit on rewards; 1 is right",
    "bias": "Mean of reward less true credit, in standard deviations of true credit; 0 is right",
    "termination": "The same at steps that end the episode",
    "agents": "Correlation within each step of a team: who earned it",
    "ranking": "Kendall's τ of steps within an episode; 1 is right, 0 is chance",
    "gradient": "Cosine of the policy gradient that rewards imply and the true one; 1 is right",
    "explained": "Held-out returns explained; 1 is all, 0 is no better than a constant",
    "planned": "Return of the best plan for the rewards; 1 is the best there is, 0 is random",
    "seconds": "Seconds per seed to fit and decode, without compilation",
}
_OVERVIEW = ("correlation", "ranking", "agents", "gradient", "explained", "planned", "seconds")


@dataclass(frozen=True, eq=False)
class Table:
    """Scores of every cell.

    Attributes:
        methods: names of the rows.
        worlds: names of the columns.
        values: of each score; NaN where there is none.
        reasons: why a method does not take part in a world.
    """

    methods: list[str]
    worlds: list[str]
    values: dict[str, Float[np.ndarray, "method world seed"]]
    reasons: dict[tuple[str, str], str]


def make_table(rows: list[Row]) -> Table:
    """The scores of rows as arrays."""
    methods = list(dict.fromkeys(row["method"] for row in rows))
    worlds = list(dict.fromkeys(row["world"] for row in rows))
    seeds = 1 + max((row["seed"] or 0 for row in rows), default=0)
    values = {name: np.full((len(methods), len(worlds), seeds), np.nan) for name in (*SCORES, "seconds")}
    reasons = {}
    for row in rows:
        method, world = row["method"], row["world"]
        if row["seed"] is None:
            reasons[method, world] = row["reason"]
            continue
        place = methods.index(method), worlds.index(world), row["seed"]
        for name, array in values.items():
            array[place] = np.nan if row[name] is None else row[name]
    return Table(methods, worlds, values, reasons)


def interval(values: Float[np.ndarray, "*cell seed"]) -> tuple[np.ndarray, np.ndarray]:
    """The mean over seeds and half the width of its 95 % interval (percentile bootstrap); NaN without two seeds."""
    mean, known = _mean(values), np.isfinite(values)
    half = np.full(mean.shape, np.nan)
    for place in zip(*np.nonzero(known.sum(axis=-1) > 1), strict=True):
        seen = values[place][known[place]]
        if np.ptp(seen) == 0:
            half[place] = 0.0
            continue
        bounds = scipy.stats.bootstrap(
            (seen,), np.mean, n_resamples=_RESAMPLES, method="percentile", rng=np.random.default_rng(0)
        ).confidence_interval
        half[place] = (bounds.high - bounds.low) / 2
    return mean, half


def overview(table: Table) -> list[dict[str, str]]:
    """A row per method: the mean of each score over the worlds in which it takes part.

    A score below −1 counts as −1: returns that are predicted in the wrong unit would hide everything else.
    """
    rows = [{"method": name} for name in table.methods]
    for name in _OVERVIEW:
        by_seed = _mean(np.maximum(np.moveaxis(table.values[name], 1, -1), -1.0))
        for row, mean, half in zip(rows, *interval(by_seed), strict=True):
            row[name] = _number(mean, half)
    taken = [sum((method, world) not in table.reasons for world in table.worlds) for method in table.methods]
    for row, count in zip(rows, taken, strict=True):
        row["worlds"] = str(count)
    return rows


def markdown(table: Table, command: str) -> str:
    """The whole table, with the command that made it."""
    seeds = next(iter(table.values.values())).shape[-1]
    lines = [
        f"`{command}`",
        "",
        f"{len(table.methods)} methods, {len(table.worlds)} worlds, {seeds} seeds. Means over seeds, with half of the "
        "95 % interval (bootstrap over seeds).",
        "",
        "## Means over worlds",
        "",
        "Numbers below −1 count as −1.",
        "",
        *_lines(overview(table)),
    ]
    for name, heading in HEADINGS.items():
        if not np.isfinite(table.values[name]).any():
            continue
        mean, half = interval(table.values[name])
        used = [place for place in range(len(table.worlds)) if np.isfinite(mean[:, place]).any()]
        rows = [
            {"method": method, **{table.worlds[at]: _number(mean[place, at], half[place, at]) for at in used}}
            for place, method in enumerate(table.methods)
        ]
        lines += ["", f"## {name.capitalize()}", "", f"{heading}.", "", *_lines(rows)]
    if table.reasons:
        lines += ["", "## Who does not take part", ""]
        for (method, reason), worlds in _grouped(table.reasons).items():
            lines.append(f"- `{method}` {reason}: {', '.join(worlds)}")
    return "\n".join(lines) + "\n"


def write(folder: Path, table: Table, command: str) -> None:
    """Write ``bench.md`` into a folder."""
    write_text(folder / "bench.md", markdown(table, command))


def draw(path: Path, table: Table) -> None:
    """Draw methods × worlds for three scores, in colours that do not depend on telling red from green."""
    from matplotlib.figure import Figure

    rows, columns = len(table.methods), len(table.worlds)
    size = (2.6 + 0.46 * columns, len(_DRAWN) * (1.5 + 0.22 * rows))
    figure = Figure(figsize=size, layout="constrained")
    for axes, name in zip(figure.subplots(len(_DRAWN), 1, squeeze=False)[:, 0], _DRAWN, strict=True):
        mean = _mean(table.values[name])
        image = axes.imshow(np.ma.masked_invalid(mean), cmap="cividis", vmin=0.0, vmax=1.0, aspect="auto")
        axes.set_facecolor("0.85")
        for place, value in np.ndenumerate(mean):
            if np.isfinite(value):
                colour = "black" if value > 0.5 else "white"
                axes.text(*place[::-1], f"{value:.2f}", ha="center", va="center", fontsize=6, color=colour)
        axes.set_xticks(range(columns), table.worlds, rotation=60, ha="right", fontsize=7)
        axes.set_yticks(range(rows), table.methods, fontsize=7)
        axes.set_title(HEADINGS[name], fontsize=8)
        figure.colorbar(image, ax=axes, fraction=0.02)
    with replacing(path) as draft:
        figure.savefig(draft, dpi=110)


def _mean(values: Float[np.ndarray, "*cell value"]) -> Float[np.ndarray, "*cell"]:
    """Mean of the numbers that are finite, over the last axis; NaN if none is."""
    known = np.isfinite(values)
    count = known.sum(axis=-1)
    return np.where(known, values, 0.0).sum(axis=-1) / np.where(count, count, np.nan)


def _number(mean: float, half: float) -> str:
    if not np.isfinite(mean):
        return "–"
    digits = 2 if abs(mean) < 100 else 0
    shown = f"{mean:.{digits}f}".replace("-", "−")
    return shown if not np.isfinite(half) else f"{shown} ±{half:.{digits}f}"


def _lines(rows: list[dict[str, str]]) -> list[str]:
    names = list(rows[0])
    head = [f"| {' | '.join(names)} |", f"| -- |{' --: |' * (len(names) - 1)}"]
    return head + [f"| `{row['method']}` | {' | '.join(row[each] for each in names[1:])} |" for row in rows]


def _grouped(reasons: dict[tuple[str, str], str]) -> dict[tuple[str, str], list[str]]:
    found: dict[tuple[str, str], list[str]] = {}
    for (method, world), reason in reasons.items():
        found.setdefault((method, reason), []).append(world)
    return found
