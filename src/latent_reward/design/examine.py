"""The worker in the locked child: trace a checked source, export it, and test what it computes.

A source is run twice, by NumPy and by JAX, with only the names of :mod:`latent_reward.design.vocabulary`
in sight. What comes out is data: the exported program, the names of the latents, and one line for each
check.
"""

import base64
import re
import traceback
import warnings
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import export

from latent_reward.design import vocabulary
from latent_reward.design.language import SourceError, parse
from latent_reward.design.program import Program
from latent_reward.design.vocabulary import ARGUMENTS, ENTRY

PLATFORMS = ("cpu", "cuda", "rocm", "tpu")
MAX_PROGRAM = 1 << 20
TOLERANCE = 1e-4
RANDOM_ROWS = 1024
_PLACE = "<encoder>"

Rows = tuple[np.ndarray, ...]  # observation, action, next observation


class CheckError(Exception):
    """A check that failed so that the later ones cannot be made."""


def warm_up() -> None:
    """Starts JAX's threads and imports what tracing and export need, before the last lock closes."""
    # Programs carry no paths of the machine that sealed them; the same source gives the same bytes.
    jax.config.update("jax_traceback_in_locations_limit", 0)
    shapes = _symbolic_shapes({"observation_size": 2, "action_size": 1})
    program = export.export(jax.jit(lambda o, a, n: jnp.linalg.norm(o - n, axis=1, keepdims=True) + a))(
        *shapes
    )
    rows = [np.ones((2, size), np.float32) for size in (2, 1, 2)]
    np.asarray(jax.jit(program.call)(*rows))


def examine(payload: dict) -> dict:
    """Checks one source.

    ``payload`` has ``source``, ``observation_size``, ``action_size`` and the four lists of bounds.
    Returns ``checks`` (name, passed, detail), and, as far as it got, ``latent_names`` and the base64
    ``program``.
    """
    report: dict[str, Any] = {"checks": []}

    def note(name: str, problem: str | None, detail: str = "") -> None:
        report["checks"].append([name, problem is None, problem or detail])

    try:
        program = parse(payload["source"])
    except SourceError as error:
        note("language", str(error))
        return report
    note("language", None, "numeric language only")
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            _examine_program(program, payload, report, note)
    except CheckError as error:
        note(*error.args)
    return report


def _examine_program(program: Program, payload: dict, report: dict, note: Callable) -> None:
    random = _random_rows(payload)
    extreme = _extreme_rows(payload)
    columns, latent_names, remark = _run_numpy(program, random)
    note("runs", None, remark or "returns one column per factor")
    exported = _export(program, payload, latent_names)
    serialised = bytes(exported.serialize())
    size = len(serialised)
    note(
        "size",
        f"the program takes {size} bytes; write fewer unrolled steps" if size > MAX_PROGRAM else None,
        f"{size} bytes",
    )
    report |= {"latent_names": latent_names, "program": base64.b64encode(serialised).decode()}

    call = jax.jit(exported.call)

    def evaluate(rows: Rows) -> np.ndarray:
        return np.asarray(call(*rows))

    everything = tuple(np.concatenate(parts) for parts in zip(random, extreme, strict=True))
    values = evaluate(everything)
    usual = values[: len(random[0])]
    note(
        "finite",
        _not_finite(values, everything, latent_names),
        f"{len(values)} rows, extreme ones among them",
    )
    note("deterministic", _different(values, evaluate(everything), latent_names, 0.0), "same rows, same bits")
    mixed = _rows_mixed(evaluate, everything, values, latent_names)
    note("rows independent", mixed, "no row depends on another")
    if mixed is None:  # else NumPy, which saw fewer rows, must differ
        note(
            "agrees with NumPy", _different(usual, columns, latent_names, TOLERANCE), f"within {TOLERANCE:g}"
        )
    note("varies", _constant(usual, latent_names), "no factor is constant")
    note("distinct", _duplicates(usual, latent_names), "no factor is a multiple of another")


# --- the two executions ---


def _function(program: Program, module: Any) -> Callable:
    """The source's function over ``module``; it takes a dictionary of the three arrays."""
    scope = vocabulary.names(module)
    exec(compile(program.tree, _PLACE, "exec"), scope)  # the tree is checked and the process locked
    entry = scope[ENTRY]
    return lambda arrays: entry(*(arrays[name] for name in program.arguments))


def _explained(error: BaseException) -> str:
    """An exception in the source as one line: its place, its text and, where known, the remedy."""
    places = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == _PLACE]
    text = str(error).strip().split("\n")[0][:300]
    kind = type(error).__name__
    remedy = ""
    if isinstance(error, jax.errors.TracerBoolConversionError) or "truth value" in text:
        text, remedy = (
            "one truth value is needed but there is one per row",
            "write np.where(condition, a, b), & and |",
        )
    elif isinstance(error, jax.errors.NonConcreteBooleanIndexError):
        text, remedy = "rows are selected by a condition", "write np.where(condition, a, b)"
    elif isinstance(error, jax.errors.ConcretizationTypeError | jax.errors.TracerArrayConversionError):
        text, remedy = "a value of the arrays is used as a constant", "compute with arrays only"
    elif "symbolic" in text or ("dimension" in text.lower() and "Inconclusive" in kind):
        remedy = "let any number of rows pass: take sizes from observation.shape[0]"
    line = f"line {places[-1]}: " if places else ""
    return f"{line}{kind}: {text}" + (f"; {remedy}" if remedy else "")


def _call(program: Program, module: Any, arrays: dict, name: str) -> Any:
    try:
        return _function(program, module)(arrays)
    except Exception as error:
        raise CheckError(name, _explained(error)) from None


def _run_numpy(program: Program, rows: Rows) -> tuple[np.ndarray, list[str], str]:
    """The latents of ``rows`` by NumPy, their names, and a remark on what was converted."""
    for part in rows:
        part.flags.writeable = False
    result = _call(program, np, dict(zip(ARGUMENTS, rows, strict=True)), "runs")
    keys = [str(key) for key in result] if isinstance(result, dict) else None
    factors = list(result.values()) if isinstance(result, dict) else result
    if not isinstance(factors, list | tuple) or not factors:
        raise CheckError(
            "runs", f"returns {type(result).__name__}; return a list of arrays of shape (batch, 1)"
        )
    names = _latent_names(keys if keys is not None else program.latent_names, len(factors))
    problems, remarks, columns = [], [], []
    for name, factor in zip(names, factors, strict=True):
        array = np.asarray(factor)
        if array.dtype.kind not in "fiub":
            problems.append(f"{name} has values of type {array.dtype}; return floats")
        elif array.shape == (len(rows[0]),):
            remarks.append(f"{name} had shape (batch,)")
        elif array.shape != (len(rows[0]), 1):
            shape = str(array.shape).replace(str(len(rows[0])), "batch")
            problems.append(
                f"{name} has shape {shape} instead of (batch, 1); use keepdims=True or x[:, i:i+1]"
            )
        if array.dtype.kind in "iub":
            remarks.append(f"{name} was {array.dtype}, made float")
        columns.append(array)
    if problems:
        raise CheckError("runs", "; ".join(problems))
    return (
        np.concatenate([c.reshape(-1, 1).astype(np.float32) for c in columns], axis=1),
        names,
        "; ".join(remarks),
    )


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


def _symbolic_shapes(sizes: dict) -> list[jax.ShapeDtypeStruct]:
    scope = export.SymbolicScope()
    widths = (sizes["observation_size"], sizes["action_size"], sizes["observation_size"])
    return [
        jax.ShapeDtypeStruct(export.symbolic_shape(f"b, {width}", scope=scope), jnp.float32)
        for width in widths
    ]


def _export(program: Program, payload: dict, names: list[str]) -> export.Exported:
    """Traces the source for any number of rows: three float32 arrays in, one column per latent out."""

    def encode(observation, action, next_observation):
        arrays = dict(zip(ARGUMENTS, (observation, action, next_observation), strict=True))
        result = _call(program, jnp, arrays, "traces")
        factors = result.values() if isinstance(result, dict) else result
        columns = [jnp.asarray(factor, jnp.float32).reshape(-1, 1) for factor in factors]
        # A factor that ignores its arguments has fewer rows; the check of constants will name it.
        columns = [jnp.broadcast_to(column, (observation.shape[0], 1)) for column in columns]
        return jnp.concatenate(columns, axis=1)

    try:
        return export.export(jax.jit(encode), platforms=PLATFORMS)(*_symbolic_shapes(payload))
    except CheckError:
        raise
    except Exception as error:
        raise CheckError(
            "traces", f"cannot be compiled for any number of rows: {_explained(error)}"
        ) from None


# --- the inputs ---


def _fields(payload: dict, kind: str) -> tuple[np.ndarray, np.ndarray]:
    size = payload[f"{kind}_size"]
    bounds = (payload[f"{kind}_low"], payload[f"{kind}_high"])
    low, high = (np.array([np.nan if x is None else x for x in bound], np.float64) for bound in bounds)
    return np.where(np.isnan(low), -np.inf, low).reshape(size), np.where(
        np.isnan(high), np.inf, high
    ).reshape(size)


def _draw(
    generator: np.random.Generator, low: np.ndarray, high: np.ndarray, scales: np.ndarray
) -> np.ndarray:
    """Uniform where a field has both bounds, else normal times the row's scale, clipped."""
    rows, size = len(scales), len(low)
    bounded = np.isfinite(low) & np.isfinite(high) & (high - low < 1e6)
    share = generator.uniform(size=(rows, size))
    uniform = np.where(bounded, low, 0) + share * np.where(bounded, high - np.where(bounded, low, 0), 0)
    normal = generator.normal(size=(rows, size)) * scales[:, None]
    return np.where(bounded, uniform, np.clip(normal, low, high)).astype(np.float32)


def _random_rows(payload: dict) -> Rows:
    """Ordinary rows of several scales; half of the next observations are a small step away."""
    generator = np.random.default_rng(0)
    scales = np.resize([1.0, 0.1, 1.0, 3.0], RANDOM_ROWS)
    low, high = _fields(payload, "observation")
    observation = _draw(generator, low, high, scales)
    unrelated = _draw(generator, low, high, scales)
    step = observation + 0.05 * generator.normal(size=observation.shape) * scales[:, None]
    near = np.clip(step, low, high).astype(np.float32)
    following = np.where(np.arange(RANDOM_ROWS)[:, None] % 8 < 4, near, unrelated)
    return observation, _draw(generator, *_fields(payload, "action"), scales), following


def _extreme_rows(payload: dict) -> Rows:
    """Zeros, tiny and huge values, signs mixed, all within the declared bounds."""
    generator = np.random.default_rng(1)
    sizes = [0.0, 1e-30, -1e-30, 1e-6, 1.0, -1.0, 1e3, -1e3, 1e6, -1e6]
    rows = {}
    for kind in ("observation", "action"):
        low, high = _fields(payload, kind)
        even = np.array(sizes)[:, None] * np.ones(len(low))
        signs = np.array(sizes)[:, None] * generator.choice([-1.0, 1.0], size=(len(sizes), len(low)))
        sparse = signs * (generator.uniform(size=signs.shape) < 0.3)
        rows[kind] = np.clip(np.concatenate([even, signs, sparse]), low, high).astype(np.float32)
    return rows["observation"], rows["action"], np.roll(rows["observation"], 1, axis=0).copy()


# --- the checks: each returns None or what is wrong, with the offending values ---


def _not_finite(values: np.ndarray, rows: Rows, names: list[str]) -> str | None:
    problems = []
    for index, name in enumerate(names):
        bad = np.flatnonzero(~np.isfinite(values[:, index]))
        if len(bad):
            row = bad[0]
            inputs = ", ".join(
                f"{argument} {np.array2string(part[row][:8], precision=3)}{'…' if part.shape[1] > 8 else ''}"
                for argument, part in zip(ARGUMENTS, rows, strict=True)
            )
            problems.append(
                f"{name} is {values[row, index]} in {len(bad)} of {len(values)} rows, as at {inputs}"
            )
    remedy = (
        "; guard divisions and roots with a small constant, and np.clip what goes into exp or a high power"
    )
    return "; ".join(problems) + remedy if problems else None


def _different(first: np.ndarray, second: np.ndarray, names: list[str], tolerance: float) -> str | None:
    """Where two tables differ by more than ``tolerance`` of the value, or of the column's usual size."""
    problems = []
    for index, name in enumerate(names):
        one, two = first[:, index].astype(np.float64), second[:, index].astype(np.float64)
        both = np.isfinite(one) & np.isfinite(two)
        usual = np.median(np.abs(one[both])) if both.any() else 0.0
        allowed = tolerance * (np.maximum(np.abs(one), np.abs(two)) + usual)
        gap = np.where(both, np.abs(one - two), 0.0)
        unequal = np.flatnonzero(np.where(both, gap > allowed, one.astype(str) != two.astype(str)))
        if len(unequal):
            row = unequal[np.argmax(gap[unequal])]
            problems.append(
                f"{name} is {one[row]:.7g} and {two[row]:.7g} in row {row} ({len(unequal)} rows differ)"
            )
    return "; ".join(problems) or None


def _rows_mixed(evaluate: Callable, rows: Rows, values: np.ndarray, names: list[str]) -> str | None:
    """Shuffles the rows, replaces half of them, and takes one alone: no other row's latents may move."""
    count = len(values)
    order = np.random.default_rng(2).permutation(count)
    shuffled = _different(evaluate(tuple(part[order] for part in rows)), values[order], names, 1e-5)
    odd = np.arange(count) % 2 == 1
    replaced = tuple(
        np.where(odd[:, None], part[::-1] * 0.5 + 0.25, part).astype(np.float32) for part in rows
    )
    others = _different(evaluate(replaced)[~odd], values[~odd], names, 1e-5)
    alone = _different(evaluate(tuple(part[3:4] for part in rows)), values[3:4], names, 1e-5)
    problem = shuffled or others or alone
    return (
        f"rows influence one another: {problem}; reduce over axis=1, never over the batch (axis=0)"
        if problem
        else None
    )


def _constant(values: np.ndarray, names: list[str]) -> str | None:
    spread = np.ptp(np.nan_to_num(values.astype(np.float64)), axis=0)
    size = np.max(np.abs(np.nan_to_num(values.astype(np.float64))), axis=0)
    flat = [
        f"{name} is always {values[0, i]:.6g}" for i, name in enumerate(names) if spread[i] <= 1e-9 * size[i]
    ]
    return "; ".join(flat) + "; drop it or make it depend on the arguments" if flat else None


def _duplicates(values: np.ndarray, names: list[str]) -> str | None:
    """Pairs that are equal up to a factor and a constant: to a learner they are the same."""
    table = np.nan_to_num(values.astype(np.float64))
    centred = table - table.mean(axis=0)
    centred /= np.maximum(np.sqrt(np.mean(centred**2, axis=0)), 1e-300)
    problems = []
    for first in range(len(names)):
        for second in range(first + 1, len(names)):
            slope = np.mean(centred[:, first] * centred[:, second])
            residual = np.sqrt(np.mean((centred[:, second] - slope * centred[:, first]) ** 2))
            if abs(slope) > 0.5 and residual < 1e-5:
                sign = "" if slope > 0 else "minus "
                problems.append(f"{names[second]} is {sign}a multiple of {names[first]} (plus a constant)")
    return "; ".join(problems) + "; keep one of each pair" if problems else None
