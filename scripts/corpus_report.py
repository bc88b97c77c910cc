"""How many of the replies in tests/corpus become encoders as they are: ``python scripts/corpus_report.py``.

Each reply goes the whole way, as one from a model does: read, checked, compiled in the locked process. Printed
are the share of the correct replies that pass, by style, and what is said of those that do not.
"""

from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace

import yaml

from latent_reward.design.reply import read_reply
from latent_reward.sealing.verify import check
from latent_reward.task.load import load_task

FOLDER = Path(__file__).parents[1] / "tests" / "corpus"
PARTICLES = SimpleNamespace(observation_size=18, action_size=5)


def main() -> None:
    """Check every reply and print the table."""
    index = yaml.safe_load((FOLDER / "index.yaml").read_text(encoding="utf-8"))
    passed: dict[str, list[bool]] = defaultdict(list)
    refused = wrong = 0
    for name, row in index.items():
        task = PARTICLES if row["task"] == "particles" else load_task(row["task"])
        report = check(read_reply((FOLDER / f"{name}.txt").read_text(encoding="utf-8"))["Functions"], task)
        if "refused" in row:
            wrong += 1
            refused += not report.passed
            continue
        for style in ("(total)", *row["styles"]):
            passed[style].append(report.passed)
        if not report.passed:
            print(f"{name}: {report}", flush=True)
    for style, results in sorted(passed.items()):
        print(f"{style:24} {sum(results):3} of {len(results):3}")
    print(f"incorrect, refused       {refused:3} of {wrong:3}")


if __name__ == "__main__":
    main()
