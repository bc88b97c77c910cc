"""Learning curves, drawn from logged metrics."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from latent_reward.files import replacing
from latent_reward.report.log import read_metrics

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CURVE = "learning_curve.png"
PANELS = {
    "return_mean": "evaluation return",
    "explained_variance": "held-out returns explained",
    "credit_correlation": "credit correlation",
}


def can_draw() -> bool:
    """Whether matplotlib is installed; it is optional."""
    return find_spec("matplotlib") is not None


def series(rows: Sequence[dict], field: str) -> tuple[np.ndarray, np.ndarray]:
    """Steps ``[time]`` and values ``[seed, time]`` of one metric; NaN where nothing was logged."""
    steps = np.array(sorted({row["step"] for row in rows}))
    seeds = sorted({row["seed"] for row in rows})
    values = np.full((len(seeds), len(steps)), np.nan)
    for row in rows:
        if row[field] is not None:
            values[seeds.index(row["seed"]), np.searchsorted(steps, row["step"])] = row[field]
    return steps, values


def draw_curve(
    axes: "Axes", steps: np.ndarray, values: np.ndarray, label: str, colour: str | None = None
) -> None:
    """Draw the mean over seeds as a line, and each seed as a thin one."""
    seen = ~np.isnan(values).all(axis=0)
    if not seen.any():
        return
    mean = np.nanmean(values[:, seen], axis=0)
    (line,) = axes.plot(steps[seen], mean, label=label, color=colour, linewidth=2)
    if len(values) > 1:
        for row in values:
            axes.plot(steps, row, color=line.get_color(), linewidth=0.7, alpha=0.4)


def draw_run(folder: Path, task: str, method: str) -> None:
    """Draw ``learning_curve.png`` of a run from its metrics, if there are any."""
    from matplotlib.figure import Figure

    rows = read_metrics(folder)
    if not rows:
        return
    teams = list(dict.fromkeys(row.get("team", "") for row in rows))
    figure = Figure(figsize=(12, 3.6), layout="constrained")
    for axes, (field, title) in zip(figure.subplots(1, len(PANELS)), PANELS.items(), strict=True):
        for team in teams:
            of_team = [row for row in rows if row.get("team", "") == team]
            draw_curve(axes, *series(of_team, field), label=team or method)
        axes.set(title=title, xlabel="environment steps")
        if field != "return_mean":
            axes.set_ylim(-1.05, 1.05)
        axes.grid(alpha=0.3)
        if len(teams) > 1 and axes.lines:
            axes.legend()
    figure.suptitle(f"{task}: {method}")
    save_figure(figure, folder / CURVE)


def save_figure(figure: "Figure", path: Path) -> None:
    """Write a picture atomically."""
    with replacing(path) as draft:
        figure.savefig(draft, dpi=110)
