"""The names that a source can see: the allowed part of NumPy, by NumPy itself or over JAX's values.

All of them are words of :mod:`latent_reward.sealing.language.vocabulary`. No function takes a text that is not one
of its words.
"""

import builtins
import math
import operator
from collections.abc import Callable
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np

from latent_reward.sealing.language import vocabulary as words
from latent_reward.sealing.trace import functions
from latent_reward.sealing.trace.arrays import Array, is_static, unwrap


class Steps:
    """``range`` with a budget over the whole evaluation, so that no loop can run long."""

    def __init__(self, steps: int):
        """``steps``: of all loops together."""
        self.allowed = self.left = steps

    def __call__(self, *bounds: Any) -> range:
        """``range`` with bounds that are known."""
        if any(isinstance(bound, float) or not is_static(unwrap(bound)) for bound in bounds):
            raise TypeError("a loop needs a constant bound; compute all rows at once with array expressions")
        steps = range(*map(operator.index, bounds))
        self.left -= len(steps) if abs(steps.stop - steps.start) < 1 << 40 else self.left + 1
        if self.left < 0:
            raise ValueError(f"the loops take more than {self.allowed} steps in all; use array expressions")
        return steps


def plain_names(steps: int = words.LOOP_BUDGET) -> dict[str, Any]:
    """Everything a source can see when NumPy runs it. ``steps``: those that its loops may take in all."""
    return _scope(*_tools(functions.by_numpy), steps)


def jax_names() -> dict[str, Any]:
    """The same for JAX's own arrays, which cannot be assigned to."""
    return _scope(*_tools(functions.by_jax), words.LOOP_BUDGET)


def traced_names() -> dict[str, Any]:
    """The same over :class:`latent_reward.sealing.trace.arrays.Array`, which behaves as NumPy's arrays do."""
    return _scope(*_imitated_tools(), words.LOOP_BUDGET)


@cache  # a source is traced once for every way through it, and only the steps of its loops are counted again
def _tools(function: Callable[[str], Any]) -> tuple[dict, dict, dict]:
    narrow = {} if function is functions.by_numpy else functions.NARROW
    tools: dict[str, Any] = {name: getattr(np, name) for name in words.CONSTANTS}
    tools |= {name: getattr(np, narrow.get(name, name)) for name in words.DTYPES}
    tools |= {name: function(name) for name in words.FUNCTIONS - words.EMPTY.keys()}
    for name in words.REDUCING:
        tools[name].reduce = function(f"{name}.reduce")
    tools["linalg"] = SimpleNamespace(norm=function("linalg.norm"))
    return tools, {name: getattr(math, name) for name in words.MATH}, {}


@cache
def _imitated_tools() -> tuple[dict, dict, dict]:
    tools, _, _ = _tools(functions.lifted)
    same = dict.fromkeys(("asarray", "asanyarray", "ascontiguousarray"), functions.asarray)
    tools = tools | same | {"ndarray": Array}
    return tools, {name: functions.lifted_math(name) for name in words.MATH}, functions.BUILTINS


def _scope(tools: dict, of_math: dict, own: dict, steps: int) -> dict[str, Any]:
    tools = tools | {name: tools[other] for name, other in words.EMPTY.items()}
    seen = {name: getattr(builtins, name) for name in words.BUILTINS | words.ERRORS}
    seen |= {"range": Steps(steps), "len": _length, **own}
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
