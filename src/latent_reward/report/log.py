"""Metrics on disk, as JSON Lines and as TensorBoard events; both survive a kill and a resume."""

import json
import math
import os
from collections.abc import Sequence
from pathlib import Path

from tensorboardX import SummaryWriter

from latent_reward.errors import LareError
from latent_reward.files import to_json, write_text
from latent_reward.report.evaluation import Report

METRICS = "metrics.jsonl"


class Log:
    """Appends reports to ``metrics.jsonl`` and to ``tensorboard/seed<N>``, of teams ``tensorboard/seed<N>-<team>``."""

    def __init__(self, folder: Path, step: int):
        """Open the log of a run at ``step``; lines logged after that step are dropped."""
        self._path = folder / METRICS
        try:
            _keep_until(self._path, step)
            self._file = self._path.open("a", encoding="utf-8")
            self._writers: dict[str, SummaryWriter] = {}
            self._step = step
        except OSError as error:
            raise LareError(
                f"out: cannot write {self._path}: {error}; make the run folder writable"
            ) from error

    def write(self, reports: Sequence[Report]) -> None:
        """Log one report per seed and team; they are on disk when this returns."""
        try:
            for report in reports:
                row = report.row()
                self._file.write(to_json(row) + "\n")
                writer = self._writer(report)
                for name, value in row.items():
                    if (
                        isinstance(value, int | float)
                        and math.isfinite(value)
                        and name not in ("seed", "step")
                    ):
                        writer.add_scalar(name, value, report.step)
                writer.flush()
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise LareError(
                f"metrics: cannot write {self._path}: {error}; free space, then resume from the last checkpoint"
            ) from error

    def _writer(self, report: Report) -> SummaryWriter:
        name = report.who.replace("seed ", "seed").replace(" ", "-")
        if name not in self._writers:
            place = str(self._path.parent / "tensorboard" / name)
            self._writers[name] = SummaryWriter(place, purge_step=self._step + 1)
        return self._writers[name]

    def __enter__(self) -> "Log":
        """The log itself."""
        return self

    def __exit__(self, *_) -> None:
        """Close the files."""
        self._file.close()
        for writer in self._writers.values():
            writer.close()


def read_metrics(folder: Path) -> list[dict]:
    """Every complete line of a run's metrics, oldest first; a line cut short by a kill is left out."""
    try:
        lines = (folder / METRICS).read_text("utf-8").splitlines()
    except OSError:
        return []
    rows = []
    for line in lines:
        try:
            rows.append(json.loads(line))
        except ValueError:
            break
    return rows


def _keep_until(path: Path, step: int) -> None:
    rows = [row for row in read_metrics(path.parent) if row["step"] <= step]
    write_text(path, "".join(to_json(row) + "\n" for row in rows))
