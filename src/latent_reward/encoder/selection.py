"""Which latents of an encoder are used: an encoder with fewer of them, or with junk beside them.

This is for ablations. What an encoder is worth without a latent shows what that latent adds, and junk shows what a
method does with latents that say nothing.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, UInt32

from latent_reward.errors import LareError, did_you_mean, require_count, shown

MOST_JUNK = 1_000
_GOLDEN = 0x9E3779B9  # 2³² divided by the golden ratio: multiples of it are spread evenly


@dataclass(frozen=True)
class Selection:
    """Which latents of an encoder are used, by name; they stay in the encoder's order.

    Attributes:
        only: the latents that are used; empty: all.
        without: latents that are left out.
        junk: how many junk latents follow (:func:`junk_latents`).
    """

    only: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    junk: int = 0

    def __post_init__(self):
        """Raise a :class:`~latent_reward.errors.LareError` for a number of junk latents that is not possible."""
        require_count(0, junk=self.junk)
        if self.junk > MOST_JUNK:
            raise LareError(f"junk: {self.junk} is too large; give a whole number of at most {MOST_JUNK}")

    def columns(self, names: Sequence[str]) -> tuple[int, ...]:
        """Which of the encoder's latents are used."""
        return tuple(
            place
            for place, name in enumerate(names)
            if (name in self.only or not self.only) and name not in self.without
        )

    def names(self, names: Sequence[str]) -> tuple[str, ...]:
        """The names of the latents that are used, and of the junk: ``junk_1``, ``junk_2`` and so on."""
        junk = (f"junk_{number}" for number in range(1, self.junk + 1))
        return (*(names[place] for place in self.columns(names)), *junk)

    def __str__(self) -> str:
        """The selection in words; empty if all latents are used and nothing else."""
        parts = (
            f"only {', '.join(self.only)}" if self.only else "",
            f"without {', '.join(self.without)}" if self.without else "",
            f"{self.junk} junk" if self.junk else "",
        )
        return "; ".join(filter(None, parts))


ALL_LATENTS = Selection()
AnySelection = Selection | Mapping[str, Any] | Iterable[str] | None
"""What can be given as a selection: see :func:`as_selection`."""


def as_selection(value: AnySelection) -> Selection:
    """A selection, from itself, from names (a text has commas between them), from a mapping of its fields, or None.

    Raises:
        LareError: it is none of these, a name is given twice, or there is no such field.
    """
    if value is None or isinstance(value, Selection):
        return value or ALL_LATENTS
    if isinstance(value, str) or not isinstance(value, Mapping):
        value = {"only": value}
    known = [each.name for each in fields(Selection)]
    for name in value:
        if name not in known:
            near = did_you_mean(str(name), known)
            raise LareError(f"latents.{name}: there is no such setting{near}; choose from {', '.join(known)}")
    try:
        names = {name: _names(name, value[name]) for name in ("only", "without") if name in value}
        return Selection(**{**value, **names})
    except LareError as error:
        raise LareError(f"latents.{error}") from None


def _names(field: str, value: Any) -> tuple[str, ...]:
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, Iterable) or isinstance(parts, bytes | Mapping):
        raise LareError(f"{field}: {shown(value)} is no list of names; give names with commas between them")
    found = tuple(str(each).strip() for each in parts)
    if "" in found or len(set(found)) < len(found):
        raise LareError(f"{field}: {shown(value)} has a name that is empty or there twice; give each once")
    return found


def require_known(selection: Selection, encoders: Sequence[Sequence[str]]) -> None:
    """Raise unless the selection fits encoders with latents of these names, one encoder for each team.

    Raises:
        LareError: no encoder has a latent of a name, one of them would have no latents left, or a latent is called as
            junk is.
    """
    known = list(dict.fromkeys(name for names in encoders for name in names))
    for field in ("only", "without"):
        for name in getattr(selection, field):
            if name not in known:
                near = did_you_mean(name, known)
                raise LareError(
                    f"latents.{field}: there is no latent {shown(name)}{near}; choose from {', '.join(known)}"
                )
    for names in encoders:
        used = selection.names(names)
        if not used:
            raise LareError(f"latents: {selection} leaves none of {', '.join(names)}; keep at least one")
        if len(set(used)) < len(used):
            raise LareError("latents.junk: the encoder has a latent that is called as junk is; rename it")


def junk_latents(*rows: Float[Array, "batch _"], count: int) -> Float[Array, "batch junk"]:
    """Latents that say nothing: uniform noise of mean 0 and variance 1, the same whenever a row is the same.

    Each is a hash of all bits of the row with a seed, the number of the junk latent. So two rows that differ in
    anything have independent values, and none depends on anything else.
    """
    row = jnp.concatenate(rows, axis=1)
    bits = jax.lax.bitcast_convert_type(row, jnp.uint32)
    place = jnp.arange(1, row.shape[1] + 1, dtype=jnp.uint32) * jnp.uint32(_GOLDEN)

    def one(seed: UInt32[Array, ""]) -> Float[Array, " batch"]:
        mixed = _mix(bits ^ _mix(place + _mix(seed)))
        value = _mix(mixed.sum(axis=1, dtype=jnp.uint32)) >> 8  # 24 bits, as many as a float32 holds
        return (value.astype(jnp.float32) / (1 << 24) - 0.5) * jnp.sqrt(12.0)

    return jax.vmap(one, out_axes=1)(jnp.arange(count, dtype=jnp.uint32))


def _mix(bits: UInt32[Array, "*any"]) -> UInt32[Array, "*any"]:
    """The finaliser of MurmurHash3 (Appleby): every bit of the result depends on every bit of the input."""
    bits = (bits ^ (bits >> 16)) * jnp.uint32(0x85EBCA6B)
    bits = (bits ^ (bits >> 13)) * jnp.uint32(0xC2B2AE35)
    return bits ^ (bits >> 16)
