"""Open sealed encoders: read them from their folders, or compile them again where this JAX cannot read them."""

import dataclasses
from pathlib import Path
from typing import SupportsIndex

import jax

from latent_reward.encoder.bundled import bundled_folder, bundled_tasks
from latent_reward.encoder.card import CARD, Card
from latent_reward.encoder.encoder import Encoder, read_files
from latent_reward.encoder.from_function import PROVENANCE
from latent_reward.errors import LareError, did_you_mean, require_count, require_paths, shown
from latent_reward.sealing.admit import admit
from latent_reward.sealing.verify import check, encoder_of
from latent_reward.task.load import load_description
from latent_reward.task.task import AnyTask, Task, TeamTask


def open_encoder(folder: str | Path) -> Encoder:
    """Reads an encoder and verifies it: files present, hashes as on the card, program screened.

    A program that was neither sealed nor checked here before is tried in a locked process first. If another version
    of JAX sealed it and this one cannot read the program, the source is compiled again, through the same sandbox and
    checks as a new one. The folder stays as it is.

    Raises:
        LareError: naming the file, the problem and the remedy.
    """
    card, source, program = read_files(folder)
    try:
        admit(program, card)
        return Encoder(card, source, program)
    except LareError as error:
        # Another JAX may lay the program out differently: then it cannot be read, or reads as nonsense.
        if card.versions.get("jax") == jax.__version__:
            raise LareError(f"{folder}: {error}") from None
        if card.provenance == PROVENANCE:
            raise LareError(
                f"{folder}: it was made from a Python function under JAX {card.versions.get('jax')}, and this is JAX "
                f"{jax.__version__}; make it again with encoder_from_function"
            ) from None
        return _sealed_again(source, card)


def load_encoder(task: AnyTask | str | Path, draw: SupportsIndex = 0) -> Encoder:
    """An encoder: the one bundled for a task, or the one in a folder.

    Args:
        task: a task, the name of a built-in one, the path of a task file, or the folder of an encoder. A world with
            several teams has one encoder for each: give one of its ``descriptions``, or its name (``TASK/TEAM``).
        draw: which of the task's bundled encoders, independent answers to the same prompt.

    >>> load_encoder("Reacher-v5").latent_names[:2]
    ('nearness', 'precision')

    Raises:
        LareError: nothing is bundled for the task, or it has no such draw, or it has several teams, or the folder holds
            no encoder.
    """
    require_count(0, draw=draw)
    draw = int(draw)
    if isinstance(task, str | Path):
        require_paths(encoder=task)
        folder = Path(task)
        if (folder / CARD).is_file():
            if draw:
                raise LareError(f"draw: {folder} is one encoder and has no draws; leave draw out")
            return open_encoder(folder)
        if folder.is_dir():
            raise LareError(f"encoder: {folder} holds no encoder ({CARD} is missing); give the folder of one")
        if str(task).partition("/")[0] not in bundled_tasks() and folder.suffix not in (".yaml", ".yml"):
            raise LareError(
                f"encoder: {str(task)!r} is neither the folder of an encoder nor a task with bundled ones"
                f"{did_you_mean(str(task), bundled_tasks())}; choose from {', '.join(bundled_tasks())}"
            )
        return open_encoder(bundled_folder(load_description(task).name, draw))
    if not isinstance(task, Task | TeamTask):
        raise LareError(
            f"encoder: {shown(task)} is no task and no folder; give a task, its name, or a folder"
        )
    first, *others = task.descriptions
    if others:
        raise LareError(
            f"task: {task.name} has an encoder for each of its teams; give one of task.descriptions "
            f"({', '.join(each.name for each in task.descriptions)})"
        )
    return open_encoder(bundled_folder(first.name, draw))


def _sealed_again(source: str, card: Card) -> Encoder:
    """Compiles a source for this version of JAX. What the card says about its origin is kept."""
    report = check(source, card.orders.shuffle(card.space) if card.orders else card.space)
    fresh = encoder_of(report, source, card.space).card
    renewed = ("program_sha256", "created", "versions", "checks", "warnings")
    now = {name: getattr(fresh, name) for name in renewed}
    return Encoder(dataclasses.replace(card, **now), source, report.program)
