"""Read an encoder's program, and refuse one that could do more than arithmetic."""

import warnings

import jax
from jax import export
from jax.interpreters import mlir
from jaxlib.mlir import ir

from latent_reward.encoder.card import CARD, Card
from latent_reward.errors import LareError

PROGRAM = "program.stablehlo"
MAX_PROGRAM = 1 << 20

# JAX's own test that all arguments have the same number of rows; it computes nothing and calls nobody.
_HARMLESS_CALLS = {"shape_assertion"}
_DIALECTS = {"stablehlo", "chlo", "func", "builtin"}
# What could reach the host or another device, give another answer each time, or never end.
_FORBIDDEN = {
    "infeed", "outfeed", "send", "recv", "rng", "rng_bit_generator", "while", "reduce_scatter",
    "partition_id", "replica_id",
}  # fmt: skip


def read_program(program: bytes) -> export.Exported:
    """Deserialises a program.

    Raises:
        LareError: it is too large, or this version of JAX cannot read it.
    """
    if len(program) > MAX_PROGRAM:
        raise LareError(
            f"{PROGRAM} has {len(program)} bytes, at most {MAX_PROGRAM} are read; design the encoder again"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return export.deserialize(bytearray(program))
    except Exception as error:  # the reader raises many kinds, depending on the byte at which it fails
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
        raise LareError(f"{PROGRAM} has side effects or spans devices; design the encoder again")
    if exported.has_vjp():  # a second program, which nobody screened
        raise LareError(f"{PROGRAM} carries a gradient; design the encoder again")
    foreign = _foreign_operations(exported)
    if foreign:
        raise LareError(f"{PROGRAM} contains {', '.join(foreign)}, which no encoder needs; design it again")
    shapes = tuple(
        (str(aval.dtype), tuple(map(str, aval.shape))) for aval in (*exported.in_avals, *exported.out_avals)
    )
    sizes = (card.observation_size, card.action_size, card.observation_size, len(card.latent_names))
    batch = shapes[0][1][0] if shapes and shapes[0][1] else ""
    expected = tuple(("float32", (batch, str(size))) for size in sizes)
    if shapes != expected or batch.isdigit():
        raise LareError(
            f"{PROGRAM} has the signature {shapes}, its card says {expected}; the folder mixes files of two "
            "encoders, design it again"
        )
    for name, size in (("observation", card.observation_size), ("action", card.action_size)):
        if card.orders and sorted(getattr(card.orders, name)) != list(range(size)):
            raise LareError(
                f"{CARD}: the order of the {name} is not a permutation of its columns; design the encoder again"
            )


def _foreign_operations(exported: export.Exported) -> list[str]:
    """What is not arithmetic: calls out of the program, open-ended loops."""
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
    return sorted(foreign)
