"""Seal the bundled encoders again from their replies: ``python scripts/seal_bundled.py [TASK …]``.

``reply.json`` is what a person edits; ``source.py``, ``program.stablehlo`` and ``card.json`` beside it follow from it,
and so does ``SHA256SUMS``, by which the bundled programs are known. Run this after a reply, a task file or the format
of sealed encoders has changed.
"""

import hashlib
import json
import sys

from latent_reward.encoder.bundled import bundled_draws, bundled_folder, bundled_tasks
from latent_reward.encoder.encoder import save
from latent_reward.encoder.known import SUMS
from latent_reward.encoder.screen import PROGRAM
from latent_reward.files import write_text
from latent_reward.sealing.verify import seal
from latent_reward.task.load import load_task
from latent_reward.task.task import Task


def seal_bundled(task: Task, draw: int) -> None:
    """Check and compile one reply, and put the sealed files beside it."""
    folder = bundled_folder(task.name, draw)
    reply = json.loads((folder / "reply.json").read_text(encoding="utf-8"))
    encoder = seal(
        reply["Functions"],
        task,
        provenance="written for this project",
        draw=draw,
        goal="paper",
    )
    save(encoder, folder)
    print(f"{task.name} {draw}: {', '.join(encoder.latent_names)}", flush=True)


def list_digests() -> None:
    """Write the digests of all bundled programs, as ``sha256sum`` does."""
    programs = sorted(SUMS.parent.rglob(PROGRAM))
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in programs]
    lines = [
        f"{digest}  {path.relative_to(SUMS.parent).as_posix()}\n"
        for digest, path in zip(digests, programs, strict=True)
    ]
    write_text(SUMS, "".join(lines))


if __name__ == "__main__":
    for name in sys.argv[1:] or bundled_tasks():
        for description in load_task(name).descriptions:
            for number in bundled_draws(description.name):
                seal_bundled(description, number)
    list_digests()
