"""How many sources are checked per second: each in a process that starts from nothing, or from the warm one.

    python benchmarks/seal_speed.py [--sources 6] [--rounds 3]

Both are timed in the same run, in turns, on the sources of the bundled encoders. Sources are checked one after the
other.
"""

import argparse
import time

from latent_reward.encoder.encoder import Encoder
from latent_reward.sealing.lock import sandbox
from latent_reward.sealing.open import load_encoder
from latent_reward.sealing.verify import check

TASKS = ("HalfCheetah-v5", "Reacher-v5")


def main() -> None:
    """Prints checks per second with a cold start, with the warm process, and their ratio."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sources", type=int, default=6, help="sources in each round")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each kind")
    options = parser.parse_args()
    encoders = [load_encoder(task, draw) for task in TASKS for draw in range(3)][: options.sources]
    cold = warm = 0.0
    for _ in range(options.rounds):
        cold += seconds(encoders, cold_start=True)
        warm += seconds(encoders, cold_start=False)
    count = options.rounds * len(encoders)
    print(f"cold: {count / cold:.2f} checks/s, {cold / count:.2f} s each")
    print(f"warm: {count / warm:.2f} checks/s, {warm / count:.2f} s each")
    print(f"ratio: {cold / warm:.2f}")


def seconds(encoders: list[Encoder], *, cold_start: bool) -> float:
    """Wall-clock time of checking the source of each."""
    check(encoders[0].source, encoders[0].card.space)
    start = time.perf_counter()
    for encoder in encoders:
        if cold_start:
            sandbox.end()
        report = check(encoder.source, encoder.card.space)
        if not report.passed:
            raise SystemExit(f"a bundled source is refused: {report}")
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
