"""The worker in the locked child: compile a checked source, and test what the program computes.

A source is run by NumPy and traced by JAX, with only the names of :mod:`latent_reward.sealing.language.vocabulary`
in sight. The result is data: the exported program, the names of the latents, and one line for each check.
"""

import base64
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import export

from latent_reward.encoder.card import ARGUMENTS
from latent_reward.encoder.screen import MAX_PROGRAM
from latent_reward.sealing.language.parse import Program, SourceError, parse
from latent_reward.sealing.trace.execute import (
    CheckError,
    Rows,
    compile_directly,
    compile_rows,
    run_numpy,
    symbolic_shapes,
)

TOLERANCE = 1e-4
RANDOM_ROWS = 1024
FEWER_ROWS, ROWS_ALONE = 64, 4

Evaluate = Callable[[Rows], np.ndarray]


def prepare() -> None:
    """Traces once without computing: what JAX imports and keeps for that is then there in every forked child."""
    jax.eval_shape(_distance, *symbolic_shapes({"observation_size": 2, "action_size": 1}))


def warm_up() -> None:
    """Starts JAX's threads and imports what tracing and export need, before the last lock closes."""
    # Programs carry no paths of the machine that sealed them; the same source gives the same bytes.
    jax.config.update("jax_traceback_in_locations_limit", 0)
    shapes = symbolic_shapes({"observation_size": 2, "action_size": 1})
    _evaluator(export.export(jax.jit(_distance))(*shapes))(
        tuple(np.ones((2, size), np.float32) for size in (2, 1, 2))
    )


def _distance(observation: jax.Array, action: jax.Array, following: jax.Array) -> jax.Array:
    return jnp.linalg.norm(observation - following, axis=1, keepdims=True) + action


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
        note("language", None, "numeric language only")
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            _examine_program(program, payload, report, note)
    except SourceError as error:
        note("language", str(error))
    except CheckError as error:
        note(*error.args)
    return report


def _examine_program(program: Program, payload: dict, report: dict, note: Callable) -> None:
    random = _random_rows(payload)
    rows = tuple(np.concatenate(parts) for parts in zip(random, _extreme_rows(payload), strict=True))
    columns, names, remark = run_numpy(program, random)
    note("runs", None, remark or "returns one column per factor")
    exported, evaluate = _compiled(program, payload, random, columns)
    serialised = bytes(exported.serialize())
    size = f"{len(serialised)} bytes"
    large = f"the program takes {size}; write fewer unrolled steps" if len(serialised) > MAX_PROGRAM else None
    note("size", large, size)
    report |= {"latent_names": names, "program": base64.b64encode(serialised).decode()}

    values = evaluate(rows)
    usual = values[:RANDOM_ROWS]
    note("finite", _not_finite(values, rows, names), f"{len(values)} rows, extreme ones among them")
    note("deterministic", _different(values, evaluate(rows), names, 0.0), "same rows, same bits")
    mixed = _rows_mixed(program, random, columns, names)
    note("rows independent", mixed, "no row depends on another")
    if mixed is None:  # else NumPy must differ
        note("agrees with NumPy", _different(usual, columns, names, TOLERANCE), f"within {TOLERANCE:g}")
    note("varies", _constant(usual, names), "no factor is constant")
    note("distinct", _duplicates(usual, names), "no factor is a multiple of another")


def _compiled(
    program: Program, payload: dict, rows: Rows, columns: np.ndarray
) -> tuple[export.Exported, Evaluate]:
    """The compiled source: with JAX's own arrays if that gives NumPy's ``columns``, else with the imitation."""
    with suppress(Exception):
        exported = compile_directly(program, payload)
        evaluate = _evaluator(exported)
        if _different(evaluate(rows), columns, [""] * columns.shape[1], TOLERANCE) is None:
            return exported, evaluate
    exported = compile_rows(program, payload)
    return exported, _evaluator(exported)


def _evaluator(exported: export.Exported) -> Evaluate:
    call = jax.jit(exported.call)
    return lambda rows: np.asarray(call(*rows))


# --- the inputs ---


def _fields(payload: dict, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper bounds of each field."""
    low, high = (np.array(payload[f"{kind}_{side}"], np.float64) for side in ("low", "high"))
    return np.where(np.isnan(low), -np.inf, low), np.where(np.isnan(high), np.inf, high)


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
    sizes = np.array([0.0, 1e-30, -1e-30, 1e-6, 1.0, -1.0, 1e3, -1e3, 1e6, -1e6])[:, None]
    rows = {}
    for kind in ("observation", "action"):
        low, high = _fields(payload, kind)
        signs = sizes * generator.choice([-1.0, 1.0], size=(len(sizes), len(low)))
        sparse = signs * (generator.uniform(size=signs.shape) < 0.3)
        even = sizes * np.ones(len(low))
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


def _rows_mixed(program: Program, rows: Rows, values: np.ndarray, names: list[str]) -> str | None:
    """Runs the source by NumPy for some rows in another order, and for single ones: no row's latents may move.

    The compiled program cannot mix rows; here the reason is found for which it differs from a source that does.
    """
    order = np.random.default_rng(2).permutation(min(len(values), FEWER_ROWS))
    problem = _different(_by_numpy(program, rows, order), values[order], names, TOLERANCE)
    for row in order[:ROWS_ALONE]:
        with suppress(CheckError):  # a source that drops axes of length one may need two rows
            alone = _by_numpy(program, rows, row[None])
            problem = problem or _different(alone, values[row[None]], names, TOLERANCE)
    return (
        f"rows influence one another: {problem}; reduce over axis=1, never over the batch (axis=0)"
        if problem
        else None
    )


def _by_numpy(program: Program, rows: Rows, chosen: np.ndarray) -> np.ndarray:
    return run_numpy(program, tuple(part[chosen] for part in rows))[0]


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
