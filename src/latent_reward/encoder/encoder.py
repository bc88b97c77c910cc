"""Encoders: latent rewards of an observation and an action, as a sealed program.

An encoder is a folder of three files: ``source.py``, the text it came from (kept to be read, never run
here); ``program.stablehlo``, that text compiled for any number of rows by :mod:`jax.export`;
``card.json``, where it came from and what was checked. Only the program runs, and a program can do
arithmetic and nothing else: it is screened for calls into the host before it is accepted.
"""

import dataclasses
import hashlib
import os
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import export
from jax.interpreters import mlir
from jaxlib.mlir import ir

from latent_reward.encoder.card import Card, Orders, Space
from latent_reward.encoder.card import from_json as card_from_json
from latent_reward.encoder.card import to_json as card_to_json
from latent_reward.errors import LareError

__all__ = ["Card", "Encoder", "Orders", "Space", "check_fits", "load", "save", "with_card"]

SOURCE, PROGRAM, CARD = "source.py", "program.stablehlo", "card.json"
ARGUMENTS = ("observation", "action", "next_observation")
MAX_PROGRAM = 1 << 20
MAX_SOURCE = 1 << 17

# JAX's own test that all arguments have the same number of rows; it computes nothing and calls nobody.
_HARMLESS_CALLS = {"shape_assertion"}
_DIALECTS = {"stablehlo", "chlo", "func", "builtin"}
# What could reach the host or another device, give another answer each time, or never end.
_FORBIDDEN = {
    "infeed", "outfeed", "send", "recv", "rng", "rng_bit_generator", "while", "reduce_scatter",
    "partition_id", "replica_id",
}  # fmt: skip


@jax.tree_util.register_static
@dataclass(frozen=True, eq=False, repr=False)
class Encoder:
    """Named latents and the sealed program that computes them.

    It can be closed over or passed as an argument under ``jit``, ``scan`` and ``vmap``; it has no
    parameters and no gradient. Two encoders are equal if their programs and cards are.

    Raises:
        LareError: on construction, if the program cannot be read, calls the host, or does not fit the card.
    """

    card: Card
    source: str
    program: bytes
    _apply: Callable = field(init=False)

    def __post_init__(self):
        """Reads and screens the program."""
        exported = read_program(self.program)
        screen(exported, self.card)
        call = exported.call if self.card.orders is None else _reordered(exported.call, self.card.orders)
        object.__setattr__(self, "_apply", jax.jit(_with_vmap(call)))

    @property
    def latent_names(self) -> tuple[str, ...]:
        """One name per column of the result."""
        return self.card.latent_names

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
                or not len(value)
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


def read_program(program: bytes) -> export.Exported:
    """Deserialises a program.

    Raises:
        LareError: it is too large, or this version of JAX cannot read it.
    """
    if len(program) > MAX_PROGRAM:
        raise LareError(
            f"{PROGRAM} has {len(program)} bytes, at most {MAX_PROGRAM} are read; design the encoder anew"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return export.deserialize(bytearray(program))
    except Exception as error:  # the reader raises many kinds, depending on which byte it stumbles over
        reason = f"{type(error).__name__}: {error}".split("\n")[0][:200]
        raise LareError(
            f"JAX {jax.__version__} cannot read {PROGRAM} ({reason}); seal its source again"
        ) from None


def screen(exported: export.Exported, card: Card) -> None:
    """Refuses a program that could do more than arithmetic, or that does not fit its card.

    Raises:
        LareError: naming what was found.
    """
    if exported.ordered_effects or exported.unordered_effects or exported.nr_devices != 1:
        raise LareError(f"{PROGRAM} has side effects or spans devices; design the encoder anew")
    if exported.has_vjp():  # a second program, which nobody screened
        raise LareError(f"{PROGRAM} carries a gradient; design the encoder anew")
    _screen_operations(exported)
    shapes = tuple(
        (str(aval.dtype), tuple(map(str, aval.shape))) for aval in (*exported.in_avals, *exported.out_avals)
    )
    sizes = (card.observation_size, card.action_size, card.observation_size, len(card.latent_names))
    batch = shapes[0][1][0] if shapes and shapes[0][1] else ""
    expected = tuple(("float32", (batch, str(size))) for size in sizes)
    if shapes != expected or batch.isdigit():
        raise LareError(
            f"{PROGRAM} has the signature {shapes}, its card says {expected}; the folder mixes files of two "
            "encoders, design it anew"
        )
    for name, size in (("observation", card.observation_size), ("action", card.action_size)):
        if card.orders and sorted(getattr(card.orders, name)) != list(range(size)):
            raise LareError(f"{CARD} names an order of the {name} that is none; design the encoder anew")


def _screen_operations(exported: export.Exported) -> None:
    """Lets arithmetic pass: no call out of the program, no open-ended loop."""
    foreign: set[str] = set()

    def look(operation):
        name = operation.name
        dialect, _, kind = name.partition(".")
        if name == "stablehlo.custom_call":
            target = ir.StringAttr(operation.attributes["call_target_name"]).value
            if target not in _HARMLESS_CALLS:
                foreign.add(f"{name} to {target}")
        elif dialect not in _DIALECTS or kind in _FORBIDDEN or kind.startswith(("all_", "collective_")):
            foreign.add(name)
        return ir.WalkResult.ADVANCE

    with mlir.make_ir_context():
        ir.Module.parse(exported.mlir_module()).operation.walk(look)
    if foreign:
        raise LareError(
            f"{PROGRAM} contains {', '.join(sorted(foreign))}, which no encoder needs; design it anew"
        )


def save(encoder: Encoder, folder: str | Path) -> Path:
    """Writes the three files and returns the folder. An encoder already there is replaced; other files
    are kept.

    Each file appears whole or not at all, and the card last: its hashes tell if the others were left half
    replaced.

    Raises:
        LareError: the folder cannot be written.
    """
    folder = Path(folder)
    contents = {
        SOURCE: encoder.source.encode(),
        PROGRAM: encoder.program,
        CARD: card_to_json(encoder.card).encode(),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".draft-", dir=folder) as draft:
            for name, content in contents.items():
                (Path(draft) / name).write_bytes(content)
            for name in contents:
                os.replace(Path(draft) / name, folder / name)
    except OSError as error:
        raise LareError(
            f"cannot write the encoder to {folder} ({error.strerror}); choose a writable folder"
        ) from error
    return folder


def load(folder: str | Path, *, reseal: bool = True) -> Encoder:
    """Reads an encoder and verifies it: files present, hashes as on the card, program screened.

    A program that this version of JAX cannot read is compiled again from its source, through the same
    sandbox and checks as a new one, unless ``reseal`` is false.

    Raises:
        LareError: naming the file, the problem and the remedy.
    """
    folder = Path(folder)
    card = card_from_json(_read(folder, CARD, MAX_SOURCE), folder / CARD)
    source = _read(folder, SOURCE, MAX_SOURCE)
    program = _read(folder, PROGRAM, MAX_PROGRAM)
    for name, content, expected in (
        (SOURCE, source, card.source_sha256),
        (PROGRAM, program, card.program_sha256),
    ):
        if hashlib.sha256(content).hexdigest() != expected:
            raise LareError(
                f"{folder / name} was changed after it was sealed; restore it or seal the source again"
            )
    try:
        return Encoder(card, source.decode(errors="replace"), program)
    except LareError as error:
        # Another JAX may lay the file out differently: then it fails to be read, or reads as nonsense.
        if reseal and card.versions.get("jax") != jax.__version__:
            return _reseal(source.decode(errors="replace"), card)
        raise LareError(f"{folder}: {error}") from None


def _reseal(source: str, card: Card) -> Encoder:
    """Compiles a source for this version of JAX.

    The only place where anything outside ``design`` reaches into it, and only when an old program has
    become unreadable: hence the import here.
    """
    from latent_reward.sealing.verify import check, encoder_of

    report = check(source, card.orders.shuffle(card.space) if card.orders else card.space)
    fresh = encoder_of(report, source, card.space).card
    renewed = ("program_sha256", "created", "versions", "checks", "warnings")
    now = {name: getattr(fresh, name) for name in renewed}
    return Encoder(dataclasses.replace(card, **now), source, report.program)


def check_fits(encoder: Encoder, task: Any) -> None:
    """Refuses an encoder made for another environment.

    ``task`` has ``name``, ``env_id``, ``observation_size`` and ``action_size``.

    Raises:
        LareError: naming both sides.
    """
    card = encoder.card
    remedy = f"use an encoder of {task.name}, or design one for it"
    if card.task == task.name:  # the same in name: perhaps with more agents, of which each sees more
        remedy = "it was made for another form of this task, so design or seal one for this form"
    for what in ("observation_size", "action_size", "env_id"):
        have, need = getattr(card, what), getattr(task, what)
        if have != need:
            raise LareError(f"the encoder of {card.task} has {what} {have}, {task.name} has {need}; {remedy}")


def _read(folder: Path, name: str, limit: int) -> bytes:
    path = folder / name
    try:
        if path.stat().st_size > limit:
            raise LareError(f"{path} is larger than {limit} bytes, so it is no encoder's; restore it")
        return path.read_bytes()
    except OSError as error:
        raise LareError(f"cannot read {path} ({error.strerror}); give the folder of an encoder") from None
