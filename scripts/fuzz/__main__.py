"""Hostile and broken inputs by the thousand: nothing may crash, hang, end in a traceback or disagree with NumPy.

    python scripts/fuzz --minutes 60                          # every kind in turn
    python scripts/fuzz --minutes 1 --kinds program reply     # some of them
    python scripts/fuzz --again fuzz-failures/reply-1a2b3c4d   # one kept input again

Inputs are drawn by Hypothesis, which also shrinks what fails; the smallest one is kept as a file. They are tried in a
process of their own, because some are meant to kill it. The exit status is 1 if anything failed.
"""

import argparse
import hashlib
import itertools
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Flaky
from hypothesis.strategies import SearchStrategy
from inputs import strategies
from process import FAILURES, LONGEST, Worker
from rich.console import Console
from rich.table import Table
from trials import TRIALS, train_small_run

_INPUTS, _SECONDS = 60, 20.0  # at most, of one kind before the next kind's turn, whichever ends first


class FailedError(AssertionError):
    """An input that did what none may do; Hypothesis catches it and looks for a smaller one."""


def fuzz_slice(
    kind: str,
    inputs: SearchStrategy[bytes],
    worker: Worker,
    number: int,
    seconds: float,
    counts: Counter,
    out: Path,
) -> None:
    """Try inputs of one kind for some seconds at most; keep the smallest that fails for each reason."""
    smallest: dict[str, bytes] = {}
    end = time.monotonic() + seconds

    @seed(number)
    @settings(
        max_examples=_INPUTS,
        deadline=None,
        database=None,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink),
    )
    @given(inputs)
    def attempt(data: bytes) -> None:
        if time.monotonic() > end:
            return
        verdict, reason = worker.attempt(kind, data)
        counts[kind, verdict] += 1
        if verdict in FAILURES:
            old = smallest.get(reason)
            smallest[reason] = data if old is None else min(old, data, key=len)
            raise FailedError(reason)

    try:
        attempt()
    except (FailedError, Flaky):  # what hangs only now and then is kept, too
        for reason, data in smallest.items():
            out.mkdir(parents=True, exist_ok=True)
            path = out / f"{kind}-{hashlib.sha256(data).hexdigest()[:8]}"
            path.write_bytes(data)
            print(f"{path}: {reason}", flush=True)


def table_of(kinds: list[str], counts: Counter, seconds: float) -> Table:
    """How many inputs of each kind were tried, and how they ended."""
    verdicts = ("accepted", "refused", *FAILURES)
    table = Table(title=f"{sum(counts.values()):,} inputs in {seconds / 60:.1f} minutes")
    table.add_column("kind")
    for name in ("inputs", *verdicts):
        table.add_column(name, justify="right")
    for kind in kinds:
        found = [counts[kind, verdict] for verdict in verdicts]
        table.add_row(kind, *(f"{each:,}" for each in (sum(found), *found)))
    return table


def main() -> int:
    """Fuzz for as long as was asked, print the counts, and return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--kinds", nargs="+", default=list(TRIALS), choices=list(TRIALS))
    parser.add_argument("--seed", type=int, default=0, help="the same seed draws the same inputs")
    parser.add_argument("--out", type=Path, default=Path("fuzz-failures"))
    parser.add_argument("--again", type=Path, help="a kept input to try again")
    arguments = parser.parse_args()
    if not arguments.minutes > 0:
        parser.error(f"--minutes: {arguments.minutes} is no time; give more than 0")
    with tempfile.TemporaryDirectory() as folder, Worker(Path(folder)) as worker:
        run = train_small_run(Path(folder))
        if arguments.again:
            verdict, reason = worker.attempt(
                arguments.again.name.rpartition("-")[0], arguments.again.read_bytes()
            )
            print(f"{verdict}: {reason}")
            return int(verdict in FAILURES)
        drawn = strategies(run)
        start, counts = time.monotonic(), Counter()
        end = start + 60 * arguments.minutes
        turn = min(_SECONDS, 60 * arguments.minutes / len(arguments.kinds))  # so that each kind has one
        for number, kind in zip(
            itertools.count(arguments.seed * 1_000_000), itertools.cycle(arguments.kinds)
        ):
            seconds = min(turn, end - time.monotonic())
            fuzz_slice(kind, drawn[kind], worker, number, seconds, counts, arguments.out)
            if time.monotonic() > end:
                break
        Console(width=110).print(table_of(arguments.kinds, counts, time.monotonic() - start))
        print(f"hang: longer than {LONGEST} s; slowest input {worker.slowest:.1f} s")
    return int(any(counts[kind, verdict] for kind in arguments.kinds for verdict in FAILURES))


if __name__ == "__main__":
    sys.exit(main())
