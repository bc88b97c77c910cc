"""Which layer refuses each hostile source of the tests, and how long that takes: ``python scripts/hostile_report.py``.

A layer is the first check that fails: ``language`` before anything runs, ``runs`` and ``traces`` where a bound is
met, ``sandbox`` where the locked process is ended by its limits, and else the check that was not passed. Words after
the command select sources by name.
"""

import sys
import time
from collections import Counter, defaultdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from test_hostile import SOURCES, TASK

from latent_reward.sealing.verify import check


def main() -> None:
    """Checks every source and prints a table by class."""
    layers: dict[str, Counter] = defaultdict(Counter)
    slowest, accepted = (0.0, ""), []
    for name, source in SOURCES.items():
        if len(sys.argv) > 1 and not any(word in name for word in sys.argv[1:]):
            continue
        start = time.monotonic()
        report = check(source, TASK)
        slowest = max(slowest, (time.monotonic() - start, name))
        if report.failures:
            layers[name.split(" / ")[0]][report.failures[0].name] += 1
        else:
            accepted.append(name)
    for kind, count in layers.items():
        print(
            f"{kind:12} {sum(count.values()):3}  " + ", ".join(f"{layer} {n}" for layer, n in count.items())
        )
    print(f"refused: {sum(map(Counter.total, layers.values()))}; accepted: {accepted or 'none'}")
    print(f"slowest: {slowest[0]:.1f} s ({slowest[1]})")


if __name__ == "__main__":
    main()
