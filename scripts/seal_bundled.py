"""Seal the bundled encoders again from their replies: ``python scripts/seal_bundled.py [TASK …]``.

``reply.json`` is what a person edits; ``source.py``, ``program.stablehlo`` and ``card.json`` beside it follow
from it. Run this after a reply, a task file or the format of sealed encoders has changed.
"""

import json
import shutil
import sys
import tempfile
from pathlib import Path

from latent_reward.design.verify import seal
from latent_reward.encoder import CARD, PROGRAM, SOURCE, save
from latent_reward.encoders import bundled_draws, bundled_folder, bundled_tasks
from latent_reward.task import load_task


def seal_bundled(task_name: str, draw: int) -> None:
    """Check and compile one reply, and put the sealed files beside it."""
    folder = bundled_folder(task_name, draw)
    reply = json.loads((folder / "reply.json").read_text(encoding="utf-8"))
    encoder = seal(
        reply["Functions"],
        load_task(task_name),
        explanations=reply.get("Factors"),
        provenance="written for this project",
        draw=draw,
        goal="paper",
    )
    # Saving replaces a whole folder, and this one also holds the reply.
    with tempfile.TemporaryDirectory() as scratch:
        sealed = save(encoder, Path(scratch) / "encoder")
        for name in (SOURCE, PROGRAM, CARD):
            shutil.copy(sealed / name, folder / name)
    print(f"{task_name} {draw}: {', '.join(encoder.latent_names)}", flush=True)


if __name__ == "__main__":
    for name in sys.argv[1:] or bundled_tasks():
        for number in bundled_draws(name):
            seal_bundled(name, number)
