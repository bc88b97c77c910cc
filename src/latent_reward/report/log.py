"""Metrics on disk, as JSON Lines and as TensorBoard events; both survive a kill and a resume."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Protocol, runtime_checkable

import pydantic
from tensorboardX import SummaryWriter

from latent_reward.errors import disk_errors
from latent_reward.files import to_json, write_text
from latent_reward.reading import Printable, read_rows
from latent_reward.report.evaluation import Report

METRICS = "metrics.jsonl"


@runtime_checkable
class Logger(Protocol):
    """Whatever keeps the reports of a run."""

    def write(self, reports: Sequence[Report]) -> None:
        """Keep the reports of one evaluation, one for each seed and team."""
        ...

    def close(self) -> None:
        """Nothing more is written."""
        ...


class Row(pydantic.BaseModel, extra="allow", strict=True):
    """A line of the metrics: what every report has, and any further numbers by name; null where one is not known."""

    __pydantic_extra__: dict[str, float | None] = pydantic.Field(init=False)  # pyright: ignore
    seed: Annotated[int, pydantic.Field(ge=0, lt=1 << 32)]
    step: Annotated[int, pydantic.Field(ge=0)]
    team: Printable = ""
    warning: Printable = ""


class Log:
    """Appends reports to ``metrics.jsonl`` and to ``tensorboard/seed<N>``, of teams ``tensorboard/seed<N>-<team>``."""

    def __init__(self, folder: Path, step: int):
        """Open the log of a run that stands at ``step``; what was logged after it is dropped."""
        self._path, self._step = folder / METRICS, step
        self._writers: dict[str, SummaryWriter] = {}
        with disk_errors(f"out: cannot write {self._path}", "make the run folder writable"):
            rows = [row for row in read_metrics(folder) if row["step"] <= step]
            write_text(self._path, "".join(to_json(row) + "\n" for row in rows))
            self._file = self._path.open("a", encoding="utf-8")

    def write(self, reports: Sequence[Report]) -> None:
        """Log one report per seed and team; they are on disk when this returns."""
        remedy = "free space, then resume from the last checkpoint"
        with disk_errors(f"metrics: cannot write {self._path}", remedy):
            for report in reports:
                row = report.row()
                self._file.write(to_json(row) + "\n")
                whose = report.label
                if whose not in self._writers:
                    place = str(self._path.parent / "tensorboard" / whose)
                    self._writers[whose] = SummaryWriter(place, purge_step=self._step + 1)
                for name, value in report.numbers().items():
                    self._writers[whose].add_scalar(name, value, report.step)
                self._writers[whose].flush()
            self._file.flush()
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the files."""
        self._file.close()
        for writer in self._writers.values():
            writer.close()


def read_metrics(folder: Path) -> list[dict]:
    """Every complete line of a run's metrics, oldest first; a line cut short by a kill is left out.

    Raises:
        LareError: a line is not one of metrics.
    """
    return read_rows(folder / METRICS, Row, "metrics", "remove the line, or restore the file")
