"""Seal the bundled encoders again from their replies: ``python scripts/seal_bundled.py [TASK …]``.

``reply.json`` is what a person edits; ``source.py``, ``program.stablehlo`` and ``card.json`` beside it follow
from it. Run this after a reply, a task file or the format of sealed encoders has changed.
"""

import json
import sys

from latent_reward.encoder.bundled import bundled_draws, bundled_folder, bundled_tasks
from latent_reward.encoder.encoder import save
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


if __name__ == "__main__":
    for name in sys.argv[1:] or bundled_tasks():
        for description in load_task(name).descriptions:
            for number in bundled_draws(description.name):
                seal_bundled(description, number)
