"""Run a checked source: by NumPy, and by JAX to compile it.

NumPy runs the source as it stands, with assignments in place and all, and its numbers are what the compiled
program must reproduce. JAX traces it with its own arrays or with arrays that imitate NumPy's. The result is the program
of one row, mapped over the rows, so that no row can influence another. A trace of all rows at once takes its place,
because it is faster, where it is proved to keep the rows apart.
"""

import ast
import re
import traceback
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import export

from latent_reward.encoder.card import ARGUMENTS
from latent_reward.encoder.rows import mapped_over_rows, rows_stay_apart
from latent_reward.encoder.screen import PLATFORMS
from latent_reward.sealing.language.parse import Program
from latent_reward.sealing.language.vocabulary import ENTRY
from latent_reward.sealing.trace import choices, toolbox
from latent_reward.sealing.trace.arrays import ROW_BY_ROW, SELECTED, Array, unwrap, wrap
from latent_reward.sealing.trace.paths import every_path

_PLACE = "<encoder>"
_FEW = 8

Rows = tuple[np.ndarray, ...]  # observation, action, next observation


class CheckError(Exception):
    """A check that failed so that the later ones cannot be made."""


def run_numpy(program: Program, rows: Rows) -> tuple[np.ndarray, list[str], str]:
    """The latents of ``rows`` by NumPy, their names, and a remark on what was converted.

    Raises:
        CheckError: the source fails, or returns something else than one column per factor.
    """
    count = len(rows[0])
    _check_repeated(program, tuple(part[:_FEW] for part in rows))
    result = _evaluated(program, rows, toolbox.plain_names(max(1, count)))
    known = [str(key) for key in result] if isinstance(result, dict) else program.latent_names
    if isinstance(result, np.ndarray) and (result.ndim != 2 or result.shape[0] != count or not result.size):
        raise CheckError("runs", f"returns an array of shape {_shape(result, count)}; "
                                 "return a list of arrays of shape (batch, 1)")  # fmt: skip
    factors = _factors(result)
    if not factors:
        raise CheckError(
            "runs", f"returns {type(result).__name__}; return a list of arrays of shape (batch, 1)"
        )
    names = _latent_names(known, len(factors))
    problems, remarks, columns = [], [], []
    for name, factor in zip(names, factors, strict=True):
        array = np.asarray(factor)
        if array.dtype.kind not in "fiub":
            problems.append(f"{name} has values of type {array.dtype}; return floats")
        elif array.shape == (count,):
            remarks.append(f"{name} had shape (batch,)")
        elif array.shape != (count, 1):
            problems.append(f"{name} has shape {_shape(array, count)} instead of (batch, 1); "
                            "use keepdims=True or x[:, i:i+1]")  # fmt: skip
        if array.dtype.kind in "iub":
            remarks.append(f"{name} was {array.dtype}, made float")
        columns.append(array)
    if problems:
        raise CheckError("runs", "; ".join(problems))
    table = np.concatenate([c.reshape(-1, 1).astype(np.float32) for c in columns], axis=1)
    return table, names, "; ".join(remarks)


def _evaluated(program: Program, rows: Rows, scope: dict) -> Any:
    copies = {name: part.copy() for name, part in zip(ARGUMENTS, rows, strict=True)}  # it may assign to them
    return _call(program, program.plain, scope, copies, "runs")


def _check_repeated(program: Program, rows: Rows) -> None:
    """Calls the source twice with a few rows, by which what takes too long is found soon, and what is remembered.

    Raises:
        CheckError: the source fails, or the second call returns something else.
    """
    scope = toolbox.plain_names(2 * max(1, len(rows[0])))
    first = _evaluated(program, rows, scope)
    known: dict[str, np.ndarray] = dict(zip(ARGUMENTS, rows, strict=True))
    copies = (known[name].copy() for name in program.arguments)
    try:
        second = scope[ENTRY](*copies)
    except Exception as error:
        raise CheckError("runs", f"the second call fails: {_explained(error)}") from None
    one, two = (value if isinstance(value, list | tuple) else _items(value) for value in (first, second))
    same = len(one) == len(two) and all(map(_equal, one, two))
    if not same:
        raise CheckError(
            "runs", f"{ENTRY} returns something else when it is called again; keep nothing between calls"
        )


def _items(value: Any) -> list:
    return list(value.values()) if isinstance(value, dict) else [value]


def _equal(one: Any, two: Any) -> bool:
    """Whether two arrays are the same, of whatever shape and type a wrong source may return."""
    try:
        return np.array_equal(one, two, equal_nan=np.asarray(one).dtype.kind == "f")
    except (TypeError, ValueError):
        return True  # what is no array is refused next


def compile_directly(program: Program, sizes: dict) -> export.Exported:
    """As :func:`compile_rows`, with JAX's own arrays.

    These never change, so they are as good as NumPy's where nothing is assigned in place: ``x += 1`` would make
    a new array, of which another name of ``x`` knows nothing. A source that may do so is left to the imitation.

    Raises:
        Exception: of any kind: it assigns in place, or JAX does not take what NumPy takes.
    """
    if any(map(_assigns_in_place, ast.walk(program.plain))):
        raise TypeError("an assignment in place")
    return _export(directly(program), mapped_over_rows(directly(program)), sizes)


def _assigns_in_place(node: ast.AST) -> bool:
    """Whether an array may change; what has a key in quotes is a dictionary."""
    match node:
        case ast.AugAssign() | ast.Attribute(attr="fill") | ast.keyword(arg="out"):
            return True
        case ast.Subscript(slice=ast.Constant(value=str())):
            return False
        case ast.Subscript(ctx=ast.Store()):
            return True
    return False


def compile_rows(program: Program, sizes: dict) -> export.Exported:
    """The program for any number of rows: three float32 arrays in, one column per latent out.

    Raises:
        CheckError: it cannot be traced, with the place and the remedy.
    """
    try:
        return _export(all_rows(program), row_by_row(program), sizes)
    except CheckError:
        raise
    except Exception as error:
        problem = f"cannot be compiled for any number of rows: {_explained(error)}"
        raise CheckError("traces", problem) from None


def _export(whole: Callable, by_row: Callable, sizes: dict) -> export.Exported:
    """Exports ``whole``, all rows at once, if it is proved to keep them apart, else ``by_row``."""
    shapes = symbolic_shapes(sizes)
    with suppress(Exception):  # by row it meets the error again, unless several rows were the reason
        function = jax.jit(whole)
        if rows_stay_apart(function.trace(*shapes).jaxpr):
            return export.export(function, platforms=PLATFORMS)(*shapes)
    return export.export(jax.jit(by_row), platforms=PLATFORMS)(*shapes)


def symbolic_shapes(sizes: dict) -> list[jax.ShapeDtypeStruct]:
    """The three arguments, for any number of rows."""
    scope = export.SymbolicScope()
    widths = (sizes["observation_size"], sizes["action_size"], sizes["observation_size"])
    return [
        jax.ShapeDtypeStruct(export.symbolic_shape(f"b, {width}", scope=scope), jnp.float32)
        for width in widths
    ]


def directly(program: Program) -> Callable:
    """Traces all rows at once, with JAX's own arrays."""

    def encode(observation: jax.Array, action: jax.Array, next_observation: jax.Array) -> jax.Array:
        return _table(program, program.plain, toolbox.jax_names(), (observation, action, next_observation))

    return encode


def all_rows(program: Program) -> Callable:
    """Traces all rows at once, with arrays that imitate NumPy's."""

    def encode(observation: jax.Array, action: jax.Array, next_observation: jax.Array) -> jax.Array:
        rows = map(wrap, (observation, action, next_observation))
        return _table(program, program.tree, toolbox.traced_names() | choices.names(), rows)

    return encode


def row_by_row(program: Program) -> Callable:
    """Traces one row along every path, and maps that over the rows."""

    def encode(*row: jax.Array) -> jax.Array:
        return every_path(lambda: all_rows(program)(*row))

    return mapped_over_rows(encode)


def _table(program: Program, tree: ast.Module, scope: dict, rows: Iterable) -> jax.Array:
    """One column per latent, for all rows at once."""
    arrays = dict(zip(ARGUMENTS, rows, strict=True))
    count = arrays["observation"].shape[0]
    factors = _factors(_call(program, tree, scope, arrays, "traces"))
    columns = [jnp.asarray(unwrap(factor), jnp.float32).reshape(-1, 1) for factor in factors]
    # A factor that ignores its arguments has fewer rows; the check of constants will name it.
    return jnp.concatenate([jnp.broadcast_to(column, (count, 1)) for column in columns], axis=1)


def _factors(result: Any) -> list:
    """The latents in what a source returned; a table has one in each column."""
    if isinstance(result, dict):
        return list(result.values())
    if isinstance(result, Array | np.ndarray | jax.Array):
        return [result[:, index] for index in range(result.shape[1])]
    return list(result) if isinstance(result, list | tuple) else []


def _shape(array: np.ndarray, rows: int) -> str:
    return str(array.shape).replace(str(rows), "batch")


def _call(program: Program, tree: Any, scope: dict, arrays: dict, check: str) -> Any:
    try:
        exec(compile(tree, _PLACE, "exec"), scope)  # the tree is checked and the process locked
        return scope[ENTRY](*(arrays[name] for name in program.arguments))
    except Exception as error:
        raise CheckError(check, _explained(error)) from None


_REMEDIES = {
    ROW_BY_ROW: "write np.where(condition, a, b), & and |",
    SELECTED: "write np.where(condition, a, b) with arrays of all rows",
}


def _explained(error: BaseException) -> str:
    """An exception in the source as one line: its place, its text and, where known, the remedy."""
    places = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == _PLACE]
    text = str(error).strip().split("\n")[0][:300]
    kind = type(error).__name__
    remedy = _REMEDIES.get(text, "")
    if isinstance(error, jax.errors.TracerBoolConversionError) or "truth value" in text:
        text, remedy = ROW_BY_ROW, _REMEDIES[ROW_BY_ROW]
    elif isinstance(error, jax.errors.NonConcreteBooleanIndexError):
        text, remedy = "rows are selected by a condition", "write np.where(condition, a, b)"
    elif isinstance(error, jax.errors.ConcretizationTypeError | jax.errors.TracerArrayConversionError):
        text, remedy = "a value of the arrays is used as a constant", "compute with arrays only"
    elif isinstance(error, NameError):
        remedy = "compute it from the arguments of the function"
    elif "symbolic" in text or ("dimension" in text.lower() and "Inconclusive" in kind):
        remedy = "let any number of rows pass: take sizes from observation.shape[0]"
    line = f"line {places[-1]}: " if places else ""
    return f"{line}{kind}: {text}" + (f"; {remedy}" if remedy else "")


def _latent_names(known: Any, count: int) -> list[str]:
    """One unique name per latent; ``latent_i`` where the source has none."""
    if len(known) != count:
        known = [None] * count
    names: list[str] = []
    for index, name in enumerate(known):
        cleaned = re.sub(r"[^A-Za-z0-9_ ./%-]", "_", name or "").strip()[:60]
        cleaned = cleaned if re.match(r"[A-Za-z]", cleaned) else f"latent_{index}"
        copies = 2
        unique = cleaned
        while unique in names:
            unique, copies = f"{cleaned}_{copies}", copies + 1
        names.append(unique)
    return names
