"""The report of one evaluation, which is logged, printed and drawn."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Report:
    """The results of one evaluation, for one team of one seed.

    Attributes:
        seed: the seed.
        team: name of the team; empty where there is only one.
        step: environment steps so far.
        episodes: episodes so far.
        return_mean: mean return of the evaluation episodes.
        return_std: their standard deviation.
        win_rate: share of the evaluation episodes won; NaN if the environment has no winner.
        training_return: return of the last training episodes.
        losses: losses of the agent and the decoder, by name.
        credit: the metrics of credit, by name.
        steps_per_second: environment steps of each seed per second since the last report.
        warning: what is wrong with the credit; empty if nothing is.
    """

    seed: int
    team: str
    step: int
    episodes: int
    return_mean: float
    return_std: float
    win_rate: float
    training_return: float
    losses: dict[str, float]
    credit: dict[str, float]
    steps_per_second: float
    warning: str

    @property
    def who(self) -> str:
        """The seed and the team, as text."""
        return f"seed {self.seed} {self.team}".rstrip()

    def row(self) -> dict[str, Any]:
        """All numbers by their names in ``metrics.jsonl``."""
        fields = dict(vars(self))
        losses, credit, speed, warning = (
            fields.pop(name) for name in ("losses", "credit", "steps_per_second", "warning")
        )
        return {**fields, **losses, **credit, "steps_per_second": speed, "warning": warning}
