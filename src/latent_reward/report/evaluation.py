"""The report of one evaluation, which is logged, printed and drawn."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Report:
    """What one team of one seed shows at one evaluation."""

    seed: int
    team: str  # empty where there is only one
    step: int  # environment steps so far
    episodes: int  # episodes so far
    return_mean: float  # of the evaluation episodes
    return_std: float  # of the same
    win_rate: float  # share of the evaluation episodes won; NaN where nothing is won
    training_return: float  # of the last training episodes
    losses: dict[str, float]  # what learning shows, by name
    credit: dict[str, float]  # the metrics of credit, by name
    steps_per_second: float  # environment steps of each seed since the last report
    warning: str  # what is wrong with the credit, or nothing

    @property
    def who(self) -> str:
        """The seed and the team, as text."""
        return f"seed {self.seed} {self.team}".rstrip()

    @property
    def label(self) -> str:
        """The seed and the team as one word: ``seed0`` or ``seed0-prey``."""
        return f"seed{self.seed}-{self.team}" if self.team else f"seed{self.seed}"

    def row(self) -> dict[str, Any]:
        """All numbers by their names in ``metrics.jsonl``."""
        row: dict[str, Any] = {}
        for name, value in vars(self).items():
            row |= value if name in ("losses", "credit") else {name: value}
        return row

    def numbers(self) -> dict[str, float]:
        """The finite numbers of ``row``, as loggers draw them over steps."""
        return {
            name: float(value)
            for name, value in self.row().items()
            if name not in ("seed", "step") and isinstance(value, int | float) and math.isfinite(value)
        }


def last_rows(rows: Sequence[Mapping[str, Any]]) -> dict[tuple[int, str], Mapping[str, Any]]:
    """The last of logged rows of each seed and team."""
    return {(row["seed"], row.get("team", "")): row for row in rows}


def credit_summary(row: Mapping[str, Any]) -> list[str]:
    """What a logged row says about credit: a line of numbers, ``-`` where one is not known, and a line per warning."""

    def number(name: str) -> str:
        value = row.get(name)
        return "-" if value is None or value != value else f"{value:.2f}"

    measured = (
        f"held-out returns explained {number('explained_variance')} (beyond length "
        f"{number('explained_beyond_length')}, slope {number('return_slope')}); credit correlation "
        f"{number('credit_correlation')}, slope {number('credit_slope')}, bias {number('credit_bias')}; "
        f"uncertainty {number('credit_uncertainty')}"
    )
    return [measured, *(row.get("warning") or "").splitlines()]
