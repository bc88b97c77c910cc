"""Credit in a folder: ``credit.safetensors`` and the encoder, without pickle, written whole or not at all."""

from pathlib import Path
from typing import Annotated, Any, NamedTuple

import jax
import numpy as np
import pydantic

from latent_reward import checkpoint
from latent_reward.credit import metrics
from latent_reward.credit.methods import Recipe
from latent_reward.data.buffer import Buffer, trimmed
from latent_reward.data.spaces import Continuous, Discrete
from latent_reward.encoder.encoder import Encoder, save
from latent_reward.errors import LareError
from latent_reward.files import to_json
from latent_reward.library.core import Core, init_buffer, init_state, make_core
from latent_reward.library.where import Where, require_fit
from latent_reward.reading import Count, Positive, damaged, exactly, parse_json
from latent_reward.sealing.open import open_encoder

STATE, ENCODER, FORMAT = "credit.safetensors", "encoder", 1
_REMEDY = "restore the file, or save the credit again"


class Card(pydantic.BaseModel, extra="forbid", strict=True, frozen=True):
    """What a saved credit is of; part of its file, as JSON."""

    format: Annotated[int, pydantic.Field(ge=FORMAT, le=FORMAT)]
    method: Recipe
    name: Annotated[str, pydantic.StringConstraints(max_length=200)]
    observation_size: Positive
    actions: Discrete | Continuous
    agents: Positive
    horizon: Positive
    capacity: Positive
    seed: Annotated[int, pydantic.Field(ge=0, lt=1 << 32)]
    encoder: str | None


class Learned(NamedTuple):
    """What changes while credit learns.

    Attributes:
        state: what the method has learned.
        buffer: the stored episodes.
        window: sums of the last episodes, for the quality.
        episodes: episodes that were added.
        updates: updates that were made.
    """

    state: Any
    buffer: Buffer
    window: metrics.Sums
    episodes: int
    updates: int


class Saved(NamedTuple):
    """Everything that a folder holds."""

    where: Where
    method: Recipe
    encoder: Encoder | None
    capacity: int
    seed: int
    learned: Learned


def write(folder: Path, saved: Saved) -> None:
    """Write a credit into a folder. A credit that was there is replaced.

    Raises:
        LareError: the folder cannot be written.
    """
    where, learned = saved.where, saved.learned
    card = {
        "format": FORMAT,
        "method": saved.method,
        "name": where.name,
        "observation_size": where.observation_size,
        "actions": where.actions,
        "agents": where.agents,
        "horizon": where.horizon,
        "capacity": saved.capacity,
        "seed": saved.seed,
        "encoder": None if saved.encoder is None else saved.encoder.card.program_sha256,
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LareError(f"path: cannot write {folder}: {error}; choose another") from error
    if saved.encoder is not None:
        save(saved.encoder, folder / ENCODER)
    arrays = checkpoint.named((learned.state, trimmed(_one_seed(learned.buffer))), "credit")
    arrays |= checkpoint.named((learned.window,), "window")
    header = {
        "episodes": learned.episodes,
        "updates": learned.updates,
        "rows": len(learned.buffer.steps.mask),
        "slots": len(learned.buffer.start),
    }
    checkpoint.write(folder / STATE, arrays, header, to_json(card))


def read(folder: Path) -> Saved:
    """Read a credit from its folder.

    Raises:
        LareError: the folder holds no credit, or a file of it is damaged or from another version.
    """
    path = folder / STATE
    if not path.is_file():
        raise LareError(f"path: {folder} holds no credit ({STATE} is missing); give the folder of one")
    stored = checkpoint.read(path, remedy=_REMEDY)
    card = _card(path, stored.config)
    where = Where(card.name, card.observation_size, card.actions, card.agents, card.horizon)
    encoder = None
    if card.method.credit.latents != "none":
        encoder = open_encoder(folder / ENCODER)
        if encoder.card.program_sha256 != card.encoder:
            raise LareError(f"path: {folder / ENCODER} is not the encoder of this credit; {_REMEDY}")
        require_fit(encoder, where, card.method)
    core = make_core(where, card.method.credit, encoder)
    learned = _learned(path, core, card, stored)
    return Saved(where, card.method, encoder, card.capacity, card.seed, learned)


def _card(path: Path, text: str) -> Card:
    """The card, every field of which must be there and nothing else."""
    what = f"path: {path} was written by another version of latent-reward, or is damaged"
    given = parse_json(text, what, _REMEDY)
    card = exactly(Card, given, what, "save the credit again")
    if isinstance(card.actions, Continuous) and len(card.actions.low) != len(card.actions.high):
        raise LareError(f"path: {path} is damaged (actions); {_REMEDY}")
    if card.actions.size < 1 or not _counts(given["method"]):
        raise LareError(f"path: {path} is damaged (a setting is no count); {_REMEDY}")
    return card


def _counts(settings: Any) -> bool:
    """Whether every whole number among the settings could be a count."""
    if isinstance(settings, dict | list):
        return all(map(_counts, settings.values() if isinstance(settings, dict) else settings))
    return not isinstance(settings, int) or 0 <= settings < 1 << 31


def _learned(path: Path, core: Core, card: Card, stored: checkpoint.Stored) -> Learned:
    """The arrays and counters, checked against each other before anything large is made."""

    episodes, updates, rows, slots = (
        stored.value(name, Count) for name in ("episodes", "updates", "rows", "slots")
    )
    with damaged(f"path: {path}: settings of the method", _REMEDY):
        shapes = jax.eval_shape(lambda: init_state(core, jax.random.key(0)))
    (state,) = checkpoint.restored((shapes,), "credit", stored)
    kept = first_capacity(card.capacity, card.horizon)
    while kept + card.horizon - 1 < rows and kept < card.capacity:
        kept = min(2 * kept, card.capacity)  # as it grew
    buffer = init_buffer(core, kept)
    if (len(buffer.steps.mask), len(buffer.start)) != (rows, slots):
        raise LareError(f"path: {path} is damaged ({rows} rows of {slots} episodes); {_REMEDY}")
    _, found = checkpoint.restored((None, _one_seed(buffer)), "credit", stored)
    buffer = jax.tree.map(lambda leaf: leaf[0], found)
    _check_buffer(path, buffer, card.horizon)
    (window,) = checkpoint.arrays((np.zeros(0),), "window", stored)
    if not metrics.is_window(window):
        raise LareError(f"path: {path} is damaged (window); {_REMEDY}")
    return Learned(state, buffer, window, episodes, updates)


def _check_buffer(path: Path, buffer: Buffer, horizon: int) -> None:
    """Raise unless the episodes that are there follow each other in the ring of steps."""
    start, length = (np.asarray(each, np.int64) for each in (buffer.start, buffer.length))
    oldest, newest, first, last = (
        int(each)
        for each in (
            buffer.oldest_transition,
            buffer.newest_transition,
            buffer.oldest_episode,
            buffer.newest_episode,
        )
    )
    fine = 0 <= oldest <= newest <= oldest + len(buffer.steps.mask) and 0 <= first <= last <= first + len(
        start
    )
    if fine:
        stored = np.arange(first, last) % len(start)
        ends = oldest + np.cumsum([0, *length[stored]])
        inside = (length >= 0) & (length <= horizon)
        fine = inside.all() and np.array_equal([*start[stored], newest], ends)
    if not fine:
        raise LareError(f"path: {path} is damaged (places of stored episodes); {_REMEDY}")


def first_capacity(capacity: int, horizon: int) -> int:
    """Steps that the buffer is made for at first."""
    return min(capacity, max(1 << 14, 4 * horizon))


def _one_seed(buffer: Buffer) -> Buffer:
    """With a leading axis, as the functions for several seeds expect."""
    return jax.tree.map(lambda leaf: leaf[None], buffer)
