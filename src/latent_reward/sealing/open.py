"""Open sealed encoders: read them from their folders, or compile them again where this JAX cannot read them."""

import dataclasses
from pathlib import Path

import jax

from latent_reward.encoder.bundled import bundled_folder
from latent_reward.encoder.card import Card
from latent_reward.encoder.encoder import Encoder, load, read_files
from latent_reward.errors import LareError
from latent_reward.sealing.verify import check, encoder_of
from latent_reward.task.task import AnyTask


def open_encoder(folder: str | Path) -> Encoder:
    """Reads an encoder and verifies it, as :func:`latent_reward.encoder.encoder.load` does.

    If another version of JAX sealed it and this one cannot read the program, the source is compiled again,
    through the same sandbox and checks as a new one. The folder stays as it is.

    Raises:
        LareError: naming the file, the problem and the remedy.
    """
    try:
        return load(folder)
    except LareError:
        card, source, _ = read_files(folder)  # raises again what is wrong with the files
        # Another JAX may lay the program out differently: then it cannot be read, or reads as nonsense.
        if card.versions.get("jax") == jax.__version__:
            raise
        return _sealed_again(source, card)


def load_encoder(task: AnyTask, draw: int = 0) -> Encoder:
    """The encoder bundled for a built-in task; ``draw`` picks one of several independent ones.

    A world with several teams has one encoder for each: give one of its ``descriptions``.

    Raises:
        LareError: nothing is bundled for the task, or it has no such draw, or it has several teams.
    """
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
