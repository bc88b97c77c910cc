"""The worker in the locked child: read a program that nobody here sealed, screen it, and try it on a few rows.

Whatever a damaged or hostile program does to the native reader and the compiler, it does it here. What it costs is
taken from the compiler, for one row and for a great many, before a row is computed.
"""

import base64
import dataclasses
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np
from jax import export

from latent_reward.encoder.card import Card, Space
from latent_reward.encoder.screen import PROGRAM, read_program, screen
from latent_reward.errors import LareError, one_line

# What one row may cost. The largest bundled encoder takes 2 kB and 2,000 operations a row. A batch of 8,000 rows, which
# a replay or a PPO iteration encodes at once, stays below 512 MiB at this limit, and takes a core some seconds.
MAX_BYTES = 1 << 16
MAX_WORK = 1 << 20
# For so many rows the compiler is asked. What grows with the square of the rows is far above its limit here.
_MANY = 1 << 20
_SIZES, _ALONE = (3, 256), 7  # rows that are computed at once, and one by one
_TOLERANCE = 1e-4
# Bytes of stack: what is read with so little cannot run out of the 8 MiB that a process usually has.
_STACK = 2 << 20


def warm_up() -> None:
    """Starts JAX's threads and imports what reading and compiling need, before the last lock closes."""
    scope = export.SymbolicScope()
    shapes = [jax.ShapeDtypeStruct(export.symbolic_shape("b, 2", scope=scope), jnp.float32)] * 3
    distance = jax.jit(lambda o, a, n: jnp.linalg.norm(o - n, axis=1, keepdims=True) + a)
    exported = read_program(bytes(export.export(distance)(*shapes).serialize()))
    exported.mlir_module()
    np.asarray(jax.jit(exported.call)(*[np.ones((2, 2), np.float32)] * 3))


def try_each(payloads: list[dict]) -> list[str]:
    """What is wrong with each program, as one line, or an empty string.

    A payload has the base64 ``program``, ``observation_size``, ``action_size`` and ``latents``, their number.
    """
    threading.stack_size(_STACK)
    with ThreadPoolExecutor(1) as pool:  # in a thread, whose stack is small
        return list(pool.map(_problem, payloads))


def _problem(payload: dict) -> str:
    sizes = payload["observation_size"], payload["action_size"]
    names = tuple(map(str, range(payload["latents"])))
    card = Card("", "", Space.unbounded(*sizes), names, names, (), "", "")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            exported = read_program(base64.b64decode(payload["program"]))
            screen(exported, card)
            for variant in _of_each_platform(exported):
                _try(variant, (*sizes, sizes[0]), len(names))
    except LareError as error:
        return str(error)
    except Exception as error:  # JAX and its compiler raise many kinds
        reason = f"{type(error).__name__}: {one_line(error)}"
        return f"{PROGRAM} cannot be loaded safely ({reason}); seal it again from its source"
    return ""


def _of_each_platform(exported: export.Exported) -> list[export.Exported]:
    """The program, and if it may tell platforms apart, what each would get, to be tried on this processor."""
    if "stablehlo.case" not in exported.mlir_module():
        return [exported]
    names = [name for name in exported.platforms if name != "cpu"]
    places = range(len(exported.platforms))
    return [
        dataclasses.replace(exported, platforms=(*names[:place], "cpu", *names[place:])) for place in places
    ]


def _try(exported: export.Exported, widths: tuple[int, ...], latents: int) -> None:
    call = jax.jit(exported.call)

    def compiled(count: int) -> jax.stages.Compiled:
        return call.lower(*(jax.ShapeDtypeStruct((count, width), jnp.float32) for width in widths)).compile()

    single = compiled(1)
    require_cheap(single, 1)
    require_cheap(compiled(_MANY), _MANY)
    generator = np.random.default_rng(0)
    rows = [generator.normal(size=(max(_SIZES), width)).astype(np.float32) for width in widths]
    alone = np.concatenate([single(*(part[i : i + 1] for part in rows)) for i in range(_ALONE)])
    for count in _SIZES:
        values = np.asarray(compiled(count)(*(part[:count] for part in rows)))
        if values.shape != (count, latents) or values.dtype != np.float32:
            raise LareError(
                f"{PROGRAM} gives {values.shape} numbers of {values.dtype} for {count} rows; seal its source again"
            )
        if not np.allclose(values[:_ALONE], alone[:count], _TOLERANCE, _TOLERANCE, equal_nan=True):
            raise LareError(
                f"{PROGRAM} gives a row other latents when {count} rows are computed at once; rows must not influence "
                "one another, so seal its source again"
            )


def require_cheap(compiled: jax.stages.Compiled, count: int) -> None:
    """Raise if the compiler reports that each of ``count`` rows takes too much memory or too many operations.

    Raises:
        LareError: with the figures.
    """
    memory, cost = compiled.memory_analysis(), compiled.cost_analysis() or {}
    cost = cost[0] if isinstance(cost, list) else cost
    taken = (memory.temp_size_in_bytes + memory.output_size_in_bytes) / count if memory else 0.0
    done = (cost.get("flops", 0.0) + cost.get("transcendentals", 0.0)) / count
    if not taken <= MAX_BYTES or not done <= MAX_WORK:  # also refuses what is not a number
        raise LareError(
            f"{PROGRAM} takes {taken:,.0f} bytes and {done:,.0f} operations for each of {count:,} rows, at most "
            f"{MAX_BYTES:,} and {MAX_WORK:,} are allowed; write a smaller computation and seal it again"
        )
