"""Encoders: latent rewards of an observation and an action, as a sealed program.

An encoder is a folder of three files: ``source.py``, the text it came from (kept to be read, never run
here); ``program.stablehlo``, that text compiled for any number of rows by :mod:`jax.export`;
``card.json``, where it came from and what was checked. Only the program runs, and a program can do
arithmetic and nothing else: it is screened for calls into the host before it is accepted.
"""

import dataclasses
import hashlib
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from latent_reward.encoder import known
from latent_reward.encoder.card import ARGUMENTS, CARD, Card, Orders, from_json, to_json
from latent_reward.encoder.screen import MAX_PROGRAM, PROGRAM, read_program, screen
from latent_reward.encoder.selection import ALL_LATENTS, Selection, junk_latents, require_known
from latent_reward.errors import LareError
from latent_reward.files import replacing

SOURCE = "source.py"
_MAX_TEXT = 1 << 17  # bytes of a card or a source


@jax.tree_util.register_static
@dataclass(frozen=True, eq=False, repr=False)
class Encoder:
    """Named latents and the sealed program that computes them.

    It can be closed over or passed as an argument under ``jit``, ``scan`` and ``vmap``; it has no
    parameters and no gradient. Two encoders are equal if their programs and cards are.

    Raises:
        LareError: on construction, if the program is not known to this installation (see
            :mod:`latent_reward.encoder.known`), cannot be read, calls the host, or does not fit the card.
    """

    card: Card
    source: str
    program: bytes
    _apply: Callable = field(init=False)

    def __post_init__(self):
        """Reads and screens the program, if it may be read in this process."""
        if not known.is_known(self.program):
            raise LareError(f"{PROGRAM} was not sealed or checked here; open its folder with load_encoder")
        exported = read_program(self.program)
        screen(exported, self.card)
        call = exported.call if self.card.orders is None else _reordered(exported.call, self.card.orders)
        if self.card.selection != ALL_LATENTS:
            call = _selected(call, self.card)
        object.__setattr__(self, "_apply", jax.jit(_with_vmap(call)))

    @property
    def latent_names(self) -> tuple[str, ...]:
        """One name per column of the result."""
        return self.card.selection.names(self.card.latent_names)

    @property
    def needs_next_observation(self) -> bool:
        """Whether the source reads the observation that follows the action."""
        return "next_observation" in self.card.arguments

    def encode(self, observation, action, next_observation=None) -> jax.Array:
        """Computes the latents of each row.

        It is compiled once for each number of rows, so rows of varying number are best padded to a few
        sizes; no row influences another.

        Args:
            observation: [batch, observation]
            action: [batch, action]
            next_observation: [batch, observation]; may be left out if the source does not read it

        Returns:
            [batch, latent] in float32.

        Raises:
            LareError: a shape is wrong, the batch is empty, or the next observation is missing.
        """
        if next_observation is None:
            if self.needs_next_observation:
                raise LareError("this encoder reads next_observation; pass it as the third argument")
            next_observation = observation
        rows = [jnp.asarray(value, jnp.float32) for value in (observation, action, next_observation)]
        sizes = (self.card.observation_size, self.card.action_size, self.card.observation_size)
        for name, value, size in zip(ARGUMENTS, rows, sizes, strict=True):
            if (
                value.ndim != 2
                or value.shape[1] != size
                or value.shape[0] != rows[0].shape[0]
                or value.shape[0] == 0
            ):
                raise LareError(
                    f"{name} has shape {value.shape}, the encoder of {self.card.task} takes "
                    f"({rows[0].shape[0] or 1}, {size}); pass one row per step and one column per field"
                )
        return self._apply(*rows)

    def __eq__(self, other: object) -> bool:
        """Same program and same card."""
        return isinstance(other, Encoder) and (self.program, self.card) == (other.program, other.card)

    def __hash__(self) -> int:
        """By source and program."""
        return hash((self.card.source_sha256, self.card.program_sha256))

    def __repr__(self) -> str:
        """Names the task and the latents."""
        return f"Encoder({self.card.task}: {', '.join(self.latent_names)})"


def with_card(encoder: Encoder, **fields: Any) -> Encoder:
    """The same program with some fields of its card replaced."""
    return dataclasses.replace(encoder, card=dataclasses.replace(encoder.card, **fields))


def select_latents(encoders: Sequence[Encoder], selection: Selection) -> tuple[Encoder, ...]:
    """The encoders of all teams with some of their latents, and junk; this takes the place of an earlier selection.

    Raises:
        LareError: no encoder has a latent of that name, or one of them would have none left.
    """
    require_known(selection, [each.card.latent_names for each in encoders])
    return tuple(with_card(each, selection=selection) for each in encoders)


def _selected(call: Callable, card: Card) -> Callable:
    """Some columns of the latents, and junk, which depends on o′ only if the source reads it."""
    kept = np.asarray(card.selection.columns(card.latent_names), int)
    count, read = card.selection.junk, len(ARGUMENTS) if ARGUMENTS[2] in card.arguments else 2

    def apply(*rows):
        return jnp.concatenate([call(*rows)[:, kept], junk_latents(*rows[:read], count=count)], axis=1)

    return apply


def _reordered(call: Callable, orders: Orders) -> Callable:
    """Puts the task's columns where a source that was written for shuffled fields looks for them."""
    observed, acted = np.asarray(orders.observation), np.asarray(orders.action)

    def apply(observation, action, next_observation):
        return call(observation[:, observed], action[:, acted], next_observation[:, observed])

    return apply


def _with_vmap(call: Callable) -> Callable:
    """Gives an exported call a rule for ``vmap``: rows are independent, so a mapped axis is more rows."""

    @jax.custom_batching.custom_vmap
    def apply(observation, action, next_observation):
        return call(observation, action, next_observation)

    @apply.def_vmap
    def fold(size, batched, *arguments):  # pyright: ignore[reportUnusedFunction]
        whole = [
            value if is_batched else jnp.broadcast_to(value, (size, *value.shape))
            for value, is_batched in zip(arguments, batched, strict=True)
        ]
        latents = apply(*(value.reshape(-1, value.shape[-1]) for value in whole))
        return latents.reshape(size, -1, latents.shape[-1]), True

    return apply


def save(encoder: Encoder, folder: str | Path) -> Path:
    """Writes the three files and returns the folder. An encoder already there is replaced; other files are kept.

    All three are written before the first takes its place, and the card takes its place last: its hashes tell
    if the others were left half replaced.

    Raises:
        LareError: the folder cannot be written.
    """
    folder = Path(folder)
    card = to_json(encoder.card).encode()
    contents = {CARD: card, PROGRAM: encoder.program, SOURCE: encoder.source.encode()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as drafts:  # which ends with the last that was entered
            for name, content in contents.items():
                drafts.enter_context(replacing(folder / name)).write_bytes(content)
    except OSError as error:
        raise LareError(
            f"cannot write the encoder to {folder} ({error.strerror}); choose a writable folder"
        ) from error
    return folder


def load(folder: str | Path) -> Encoder:
    """Reads an encoder and verifies it: files present, hashes as on the card, program known and screened.

    :func:`latent_reward.sealing.open.open_encoder` opens those of others, too: it checks their programs first, and
    compiles the source again where another version of JAX wrote the program.

    Raises:
        LareError: naming the file, the problem and the remedy.
    """
    card, source, program = read_files(folder)
    try:
        return Encoder(card, source, program)
    except LareError as error:
        raise LareError(f"{folder}: {error}") from None


def read_files(folder: str | Path) -> tuple[Card, str, bytes]:
    """The card, the source and the program in a folder, with their hashes verified; the program is not read.

    Raises:
        LareError: naming the file, the problem and the remedy.
    """
    folder = Path(folder)
    card = from_json(_read(folder / CARD, _MAX_TEXT), folder / CARD)
    contents = []
    for name, limit, expected in (
        (SOURCE, _MAX_TEXT, card.source_sha256),
        (PROGRAM, MAX_PROGRAM, card.program_sha256),
    ):
        content = _read(folder / name, limit)
        if hashlib.sha256(content).hexdigest() != expected:
            raise LareError(
                f"{folder / name} was changed after it was sealed; restore it or seal the source again"
            )
        contents.append(content)
    return card, contents[0].decode(errors="replace"), contents[1]


def _read(path: Path, limit: int) -> bytes:
    try:
        if path.stat().st_size > limit:
            raise LareError(f"{path} has more than {limit} bytes, too many for an encoder; restore it")
        return path.read_bytes()
    except OSError as error:
        raise LareError(f"cannot read {path} ({error.strerror}); give the folder of an encoder") from None


def check_fits(encoder: Encoder, task: Any) -> None:
    """Refuses an encoder made for another environment.

    ``task`` has ``name``, ``env_id``, ``observation_size`` and ``action_size``.

    Raises:
        LareError: naming both sides.
    """
    card = encoder.card
    remedy = f"use an encoder of {task.name}, or design one for it"
    if card.task == task.name:  # perhaps with more agents, each of which sees more
        remedy = "it was made for another form of this task, so design or seal one for this form"
    for what in ("observation_size", "action_size", "env_id"):
        have, need = getattr(card, what), getattr(task, what)
        if have != need:
            raise LareError(f"the encoder of {card.task} has {what} {have}, {task.name} has {need}; {remedy}")
