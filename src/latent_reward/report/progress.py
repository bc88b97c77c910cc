"""The display of a run in progress: a live bar on a terminal, plain lines elsewhere."""

import re
from collections.abc import Sequence

from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from latent_reward.report.evaluation import Report
from latent_reward.report.screen import Screen


class Progress:
    """Shows steps, time left, and one line per evaluation; with ``quiet`` nothing at all."""

    def __init__(self, step: int, steps: int, quiet: bool):
        """Start at ``step`` of ``steps``."""
        console = Screen(quiet=quiet)
        self._bar = Bar(
            TextColumn("step"),
            MofNCompleteColumn(),
            BarColumn(),
            TextColumn("{task.fields[speed]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            disable=quiet or not console.is_terminal,
            refresh_per_second=4,
        )
        self._steps, self._every, self._shown = steps, max(1, steps // 1000), step
        self._task = self._bar.add_task("", total=steps, completed=step, speed="")
        self._said: set[tuple[str, str]] = set()

    def step(self, step: int) -> None:
        """Move the bar; cheap enough to call at every step."""
        if step >= self._shown + self._every or step == self._steps:
            self._bar.update(self._task, completed=step)
            self._shown = step

    def show(self, reports: Sequence[Report]) -> None:
        """Print one line per seed and team; each warning is printed once, whatever its numbers."""
        speed = reports[0].steps_per_second
        self._bar.update(self._task, speed=f"{speed:.0f}/s")
        for report in reports:
            self.say(
                f"step {report.step:>9,}  {report.who}  return {report.return_mean:>10,.2f} "
                f"± {report.return_std:,.2f}  returns explained {_share(report.credit['explained_variance'])}  "
                f"credit correlation {_share(report.credit['credit_correlation'])}  {speed:.0f} steps/s"
            )
            for line in report.warning.splitlines():
                key = report.who, re.sub(r"\d+", "", line.partition("(")[0])
                if key not in self._said:
                    self._said.add(key)
                    self.say(f"{report.who}: {line}")

    def say(self, text: str) -> None:
        """Print one line above the bar."""
        self._bar.console.print(text)

    def __enter__(self) -> "Progress":
        """Start the live display."""
        self._bar.start()
        return self

    def __exit__(self, *_) -> None:
        """Stop the live display."""
        self._bar.stop()


def _share(value: float) -> str:
    return "  -  " if value != value else f"{value:5.2f}"
