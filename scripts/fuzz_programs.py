"""Flip bits of bundled programs and open them: ``python scripts/fuzz_programs.py [FLIPS] [SEED]``.

Each damaged program is put into an encoder's folder whose card has its new digest, as an attacker would, and opened by
an installation that knows none of them. It must be refused by a LareError or give an encoder that computes. Printed are
the counts; what breaks the rule is kept in ``fuzz-programs/``.
"""

import collections
import contextlib
import dataclasses
import hashlib
import os
import sys
import time
from pathlib import Path

import numpy as np

os.environ["LARE_KNOWN_PROGRAMS"] = "off"

from latent_reward.encoder.bundled import bundled_folder
from latent_reward.encoder.card import Card
from latent_reward.encoder.encoder import Encoder, read_files
from latent_reward.errors import LareError
from latent_reward.sealing.admit import admit

TASKS = ("HalfCheetah-v5", "Reacher-v5", "cn-30", "area", "competitive-pp/prey")
KEPT = Path("fuzz-programs")
SLOW_S = 30  # a program that hangs is stopped before
ALLOWED = ("works", "refused")


def flipped(program: bytes, generator: np.random.Generator) -> tuple[bytes, int, int]:
    """A program with one bit flipped, and which."""
    byte, bit = int(generator.integers(len(program))), int(generator.integers(8))
    changed = bytearray(program)
    changed[byte] ^= 1 << bit
    return bytes(changed), byte, bit


def outcome(card: Card, source: str, program: bytes) -> str:
    """What becomes of a damaged program: ``refused …``, ``works``, or how it breaks the rule."""
    begun = time.monotonic()
    card = dataclasses.replace(card, program_sha256=hashlib.sha256(program).hexdigest())
    try:
        admit(program, card)
        encoder = Encoder(card, source, program)
        sizes = card.observation_size, card.action_size, card.observation_size
        rows = [np.random.default_rng(0).normal(size=(5, size)) for size in sizes]
        found = "works" if np.asarray(encoder.encode(*rows)).shape == (5, len(card.latent_names)) else "SHAPE"
    except LareError as error:
        said = str(error)
        locked = "locked process" in said
        found = "refused after a crash, a hang or a limit" if locked else "refused with a reason"
        found = found if "\n" not in said else "SEVERAL LINES"
    except Exception as error:
        found = f"TRACEBACK {type(error).__name__}"
    return found if time.monotonic() - begun < SLOW_S else f"SLOW, {found}"


def main(flips: int, seed: int) -> int:
    """Flip ``flips`` bits, spread over the tasks; returns how many broke the rule. Ctrl-C ends it with the counts."""
    generator = np.random.default_rng(seed)
    files = [read_files(bundled_folder(task, 0)) for task in TASKS]
    counts: collections.Counter[str] = collections.Counter()
    with contextlib.suppress(KeyboardInterrupt):
        for number in range(flips):
            card, source, program = files[number % len(files)]
            damaged, byte, bit = flipped(program, generator)
            found = outcome(card, source, damaged)
            counts[found] += 1
            if not found.startswith(ALLOWED):
                KEPT.mkdir(exist_ok=True)
                (KEPT / f"{card.task.replace('/', '-')}-{byte}-{bit}.stablehlo").write_bytes(damaged)
                print(f"{card.task}, byte {byte}, bit {bit}: {found}", flush=True)
    for name, count in counts.most_common():
        print(f"{name:45} {count:5}", flush=True)
    return sum(count for name, count in counts.items() if not name.startswith(ALLOWED))


if __name__ == "__main__":
    given = [int(text) for text in sys.argv[1:]]
    sys.exit(min(1, main(*given, *(300, 0)[len(given) :])))
