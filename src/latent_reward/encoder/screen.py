"""Read an encoder's program, and refuse one that could do more than arithmetic on any number of rows."""

import math
import re
import warnings

import jax
from jax import export
from jax.interpreters import mlir
from jaxlib.mlir import ir

from latent_reward.encoder.card import CARD, Card
from latent_reward.errors import LareError

PROGRAM = "program.stablehlo"
MAX_PROGRAM = 1 << 20
PLATFORMS = ("cpu", "cuda", "rocm", "tpu")  # which every program is compiled for
# Operations of one call, with those of the functions that it calls. A program of MAX_PROGRAM bytes has fewer, but
# functions that call functions twice are soon more than any compiler ends with.
MAX_OPERATIONS = 100_000
# Numbers in one array, rows not counted. A constant of a few bytes can stand for any number of equal numbers, and the
# compiler may hold them all.
MAX_NUMBERS = 1 << 20

_ASSERTION = "shape_assertion"  # JAX's own test that all arguments have the same number of rows
_DIALECTS = {"stablehlo", "chlo", "func", "builtin"}
# What could reach the host or another device, give another answer each time, or never end.
_FORBIDDEN = {
    "infeed", "outfeed", "send", "recv", "rng", "rng_bit_generator", "while", "reduce_scatter",
    "partition_id", "replica_id", "composite",
}  # fmt: skip


def read_program(program: bytes) -> export.Exported:
    """Deserialises a program. The reader trusts its input: give it known programs only, outside a locked process.

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
        raise _unreadable(error) from None


def screen(exported: export.Exported, card: Card) -> None:
    """Refuses a program that could do more than arithmetic, or that does not fit its card.

    Raises:
        LareError: naming what was found.
    """
    if exported.ordered_effects or exported.unordered_effects or exported.nr_devices != 1:
        raise LareError(f"{PROGRAM} has side effects or spans devices; design the encoder again")
    if exported.has_vjp():  # a second program, which nobody screened
        raise LareError(f"{PROGRAM} carries a gradient; design the encoder again")
    missing = [name for name in PLATFORMS if name not in exported.platforms]
    if missing or exported.disabled_safety_checks:
        raise LareError(
            f"{PROGRAM} is compiled for {', '.join(exported.platforms) or 'no platform'} without "
            f"{', '.join(missing) or 'all safety checks'}; an encoder must run on every platform, so seal its source "
            "again"
        )
    _require_signature(exported, card)
    try:
        with mlir.make_ir_context():
            text = exported.mlir_module()
            problem = _too_large_array(text) or _problem_of(ir.Module.parse(text))
    except Exception as error:
        raise _unreadable(error) from None
    if problem:
        raise LareError(f"{PROGRAM} {problem}; design it again")


def _unreadable(error: Exception) -> LareError:
    reason = f"{type(error).__name__}: {error}".split("\n")[0][:200]
    return LareError(f"JAX {jax.__version__} cannot read {PROGRAM} ({reason}); seal its source again")


def _require_signature(exported: export.Exported, card: Card) -> None:
    """Three arrays of any number of rows, one of latents; and orders that are permutations."""
    shapes = tuple(
        (str(aval.dtype), tuple(map(str, aval.shape))) for aval in (*exported.in_avals, *exported.out_avals)
    )
    sizes = (card.observation_size, card.action_size, card.observation_size, len(card.latent_names))
    batch = shapes[0][1][0] if shapes and shapes[0][1] else ""
    expected = tuple(("float32", (batch, str(size))) for size in sizes)
    trees = (exported.in_tree, exported.out_tree)
    plain = (jax.tree.structure(((0, 0, 0), {})), jax.tree.structure(0))
    if shapes != expected or not batch.isidentifier() or trees != plain:
        raise LareError(
            f"{PROGRAM} has the signature {shapes}, its card says {expected}; the folder mixes files of two "
            "encoders, design it again"
        )
    for name, size in (("observation", card.observation_size), ("action", card.action_size)):
        if card.orders and sorted(getattr(card.orders, name)) != list(range(size)):
            raise LareError(
                f"{CARD}: the order of the {name} is not a permutation of its columns; design the encoder again"
            )


def _too_large_array(text: str) -> str | None:
    for sizes in set(re.findall(r"tensor<((?:[0-9?]+x)+)", text)):
        numbers = math.prod(int(size) for size in sizes.split("x") if size.isdigit())
        if numbers > MAX_NUMBERS:
            return f"has an array of {numbers:,} numbers, at most {MAX_NUMBERS:,} are allowed"
    return None


def _problem_of(module: ir.Module) -> str | None:
    """What is not arithmetic (calls out of the program, open-ended loops), or is endless or too much of it."""
    functions = {ir.StringAttr(each.attributes["sym_name"]).value: each for each in module.body.operations
                 if each.operation.name == "func.func"}  # fmt: skip
    foreign: set[str] = set()
    calls: dict[str, list[str]] = {name: [] for name in functions}
    sizes = dict.fromkeys(functions, 0)
    asks = False

    def look(operation, inside: str):
        nonlocal asks
        name = operation.name
        dialect, _, kind = name.partition(".")
        sizes[inside] += 1
        if name == "stablehlo.custom_call":
            target = ir.StringAttr(operation.attributes["call_target_name"]).value
            if target != _ASSERTION:
                foreign.add(f"{name} to {target}")
            asks |= target == _ASSERTION and not _compares_numbers_of_rows(operation)
        elif name == "func.call":
            calls[inside].append(ir.FlatSymbolRefAttr(operation.attributes["callee"]).value)
        elif dialect not in _DIALECTS or kind in _FORBIDDEN or kind.startswith(("all_", "collective_")):
            foreign.add(name)
        return ir.WalkResult.ADVANCE

    for each in module.body.operations:
        name = each.operation.name
        if name != "func.func":
            foreign.add(name)
    for name, function in functions.items():
        function.operation.walk(lambda operation, name=name: look(operation, name))
    if foreign:
        return f"contains {', '.join(sorted(foreign))}, which no encoder needs"
    if asks:
        return "asks for certain numbers of rows, and an encoder takes any"
    if _operations("main", sizes, calls) > MAX_OPERATIONS:
        return f"has more than {MAX_OPERATIONS} operations in a call, or calls itself"
    return None


def _operations(function: str, sizes: dict[str, int], calls: dict[str, list[str]]) -> int:
    """Operations of a call of ``function``, those of its callees included; more than allowed if it calls itself."""
    known: dict[str, int | None] = {}

    def total(name: str) -> int:
        if name not in known:
            known[name] = None  # until it is known: whoever asks before is called by it
            count = sizes.get(name, 0)
            for callee in calls.get(name, ()):
                count += total(callee)
                if count > MAX_OPERATIONS:
                    break
            known[name] = min(count, MAX_OPERATIONS + 1)
        found = known[name]
        return MAX_OPERATIONS + 1 if found is None else found

    return total(function)


def _compares_numbers_of_rows(assertion) -> bool:
    """Whether an assertion is one of those that JAX makes for ``(b, size)``: b ≥ 1, and arguments of equal b."""
    if not assertion.operands:
        return False
    compare = assertion.operands[0].owner
    if isinstance(compare, ir.Block) or compare.name != "stablehlo.compare":
        return False
    direction, (left, right) = str(compare.attributes["comparison_direction"]), compare.operands
    if " EQ" in direction:
        return _is_number_of_rows(left) and _is_number_of_rows(right)
    constant = right.owner
    return (
        " GE" in direction
        and _is_number_of_rows(left)
        and not isinstance(constant, ir.Block)
        and constant.name == "stablehlo.constant"
        and str(constant.attributes["value"]).startswith("dense<1>")
    )


def _is_number_of_rows(value) -> bool:
    """Whether a value is the size of the first axis of an argument."""
    size = value.owner
    if isinstance(size, ir.Block) or size.name != "stablehlo.get_dimension_size":
        return False
    (array,), axis = size.operands, ir.IntegerAttr(size.attributes["dimension"]).value
    shaped = ir.RankedTensorType(array.type)
    return isinstance(array.owner, ir.Block) and axis == 0 and shaped.rank == 2 and shaped.is_dynamic_dim(0)
