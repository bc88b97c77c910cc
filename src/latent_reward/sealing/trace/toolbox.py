"""The names that a source can see: the allowed part of NumPy, by NumPy itself or over JAX's values.

All of them are words of :mod:`latent_reward.sealing.language.vocabulary`. No function takes a text that is not one
of its words.
"""

import builtins
import math
from collections.abc import Callable
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np

from latent_reward.sealing.language import vocabulary as words
from latent_reward.sealing.trace import bounds, functions
from latent_reward.sealing.trace.arrays import Array


def plain_names(rows: int = 1) -> dict[str, Any]:
    """Everything a source can see when NumPy runs it for so many rows."""
    return _scope(*_tools(functions.by_numpy), rows)


def jax_names() -> dict[str, Any]:
    """The same for JAX's own arrays, which cannot be assigned to."""
    return _scope(*_tools(functions.by_jax))


def traced_names() -> dict[str, Any]:
    """The same over :class:`latent_reward.sealing.trace.arrays.Array`, which behaves as NumPy's arrays do."""
    return _scope(*_imitated_tools())


@cache  # a source is traced once for every way through it, and only its steps are counted again
def _tools(function: Callable[[str], Any]) -> tuple[dict, dict, dict]:
    narrow = {} if function is functions.by_numpy else functions.NARROW
    tools: dict[str, Any] = {name: getattr(np, name) for name in words.CONSTANTS}
    tools |= {name: getattr(np, narrow.get(name, name)) for name in words.DTYPES}
    tools |= {name: function(name) for name in words.FUNCTIONS - words.EMPTY.keys()}
    for name in words.REDUCING:
        tools[name].reduce = function(f"{name}.reduce")
    tools["linalg"] = SimpleNamespace(**{name: function(f"linalg.{name}") for name in words.LINALG})
    return tools, {name: getattr(math, name) for name in words.MATH}, {}


@cache
def _imitated_tools() -> tuple[dict, dict, dict]:
    tools, _, _ = _tools(functions.lifted)
    same = dict.fromkeys(("asarray", "asanyarray", "ascontiguousarray"), functions.asarray)
    tools = tools | same | {"ndarray": Array}
    return tools, {name: functions.lifted_math(name) for name in words.MATH}, functions.BUILTINS


def _scope(tools: dict, of_math: dict, own: dict, rows: int = 1) -> dict[str, Any]:
    budget = bounds.Budget(rows)
    tools = tools | {name: tools[other] for name, other in words.EMPTY.items()}
    seen = {name: getattr(builtins, name) for name in words.BUILTINS | words.ERRORS} | own
    seen |= {name: bounds.bounded(seen[name]) for name in ("list", "tuple", "dict", "sorted", "sum")}
    seen |= {"range": budget.range, "len": _length, "pow": bounds.power} | bounds.names(budget)
    return {"__builtins__": seen, "np": SimpleNamespace(**tools), "math": SimpleNamespace(**of_math)}


def _length(value: Any) -> Any:
    """``len`` that also works where the number of rows is a symbol."""
    return value.shape[0] if hasattr(value, "shape") else len(value)


def _warm_up() -> None:
    """Calls the methods that NumPy imports at their first call: no source could, without ``__import__``."""
    numbers = np.ones((2, 2))
    for name in ("sum", "mean", "min", "max", "std", "var", "prod", "any", "all"):
        getattr(numbers, name)()
    numbers.clip(0.0, 1.0)


_warm_up()
