"""What keeps a source from running long or growing large, whether NumPy runs it or it is traced.

One budget counts the iterations of all loops and comprehensions and the calls of all helpers. Whole numbers, lists
and texts, which Python lets grow without end, are measured where they are computed.
"""

import operator
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import numpy as np

from latent_reward.sealing.language import vocabulary as words
from latent_reward.sealing.trace.arrays import Array, is_static, unwrap

_MAX_BITS = 63
_MAX_TEXT = 200
_WHOLE = (int, bool)
_SEQUENCES = (list, tuple, dict)
_TEXTS = (str, bytes)


class Budget:
    """Steps that a source may take in all: iterations of loops, and calls of helpers."""

    def __init__(self, rows: int = 1):
        """``LOOP_BUDGET`` steps for each of so many rows."""
        self.rows = rows
        self.allowed = self.left = words.LOOP_BUDGET * rows

    def step(self, value: Any = None) -> Any:
        """Counts one step and returns ``value``.

        Raises:
            ValueError: the budget is used up.
        """
        self.left -= 1
        if self.left < 0:
            most = f"{words.LOOP_BUDGET} steps{' for each row' if self.rows > 1 else ''}"
            raise ValueError(f"loops and helpers take more than {most} in all; use array expressions")
        return value

    def each(self, values: Iterable) -> Iterator:
        """The values one by one, each of which is a step."""
        for value in values:
            self.step()
            yield value

    def range(self, *bounds: Any) -> range:
        """``range`` with bounds that are known and no more steps than are allowed."""
        if any(isinstance(bound, float) or not is_static(unwrap(bound)) for bound in bounds):
            raise TypeError("a loop needs a constant bound; compute all rows at once with array expressions")
        steps = range(*map(operator.index, bounds))
        if abs(steps.stop - steps.start) >= 1 << 40 or len(steps) > self.allowed:
            self.left = 0
            self.step()
        return steps


def names(budget: Budget) -> dict[str, Callable]:
    """The functions that :mod:`latent_reward.sealing.language.rewrite` calls, by names that no source can write."""
    return {
        "__step__": budget.step, "__each__": budget.each, "__binary__": binary, "__operand__": operand,
        "__entry__": entry, "__short__": short, "__text__": printable, "__isinstance__": is_instance,
    }  # fmt: skip


def measured(value: Any) -> Any:
    """The value, if it is not too large.

    Raises:
        ValueError: a whole number of more than 63 bits, a long list or a large array.
    """
    kind = type(value)
    if kind is int:
        if value.bit_length() > _MAX_BITS:
            raise ValueError(f"a whole number beyond 2 to the power of {_MAX_BITS}; compute with floats")
    elif kind in _SEQUENCES:
        short(value)
    elif kind is np.ndarray and value.size > words.MAX_SIZE:
        raise ValueError(f"an array of {value.size} numbers, more than {words.MAX_SIZE}; use smaller arrays")
    return value


def short(value: Any) -> Any:
    """The value, if it has no more items than a list may have."""
    if isinstance(value, (*_SEQUENCES, range, np.ndarray)) and len(value) > words.MAX_LENGTH:
        raise ValueError(f"a list of {len(value)} items, more than {words.MAX_LENGTH}; use arrays")
    return value


def binary(name: str, left: Any, right: Any) -> Any:
    """``left + right`` and the like, for the operator's name."""
    operand(name, left, right)
    return measured(_OPERATORS[name](left, right))


def operand(name: str, left: Any, right: Any) -> Any:
    """``right``, if the result of the operation cannot be much larger than what it is computed from.

    Raises:
        ValueError: it would be.
        TypeError: one side is a text.
    """
    first, second = type(left), type(right)
    if first in _TEXTS or second in _TEXTS:
        raise TypeError("a text is computed with; compute with numbers only")
    if first in _WHOLE and second in _WHOLE:
        if name == "pow" and right > 0 and (abs(int(left)).bit_length() - 1) * right >= _MAX_BITS:
            raise ValueError(f"a whole number beyond 2 to the power of {_MAX_BITS}; compute with floats")
        if name in ("add", "sub", "mul"):
            measured(_OPERATORS[name](left, right))
    elif name == "mul" and (first in _SEQUENCES or second in _SEQUENCES):
        items, times = (left, right) if first in _SEQUENCES else (right, left)
        if isinstance(times, int | np.integer) and len(items) * int(times) > words.MAX_LENGTH:
            raise ValueError(f"a list of more than {words.MAX_LENGTH} items; use np.zeros or np.full")
    elif name == "add" and {first, second} <= set(_SEQUENCES) and len(left) + len(right) > words.MAX_LENGTH:
        raise ValueError(f"a list of more than {words.MAX_LENGTH} items; use arrays")
    return right


def entry(owner: Any, read: Callable) -> Any:
    """What ``read`` gives if ``owner`` is a list or a dictionary; nothing of an array."""
    return read() if type(owner) in _SEQUENCES else None


_OPERATORS: dict[str, Callable] = {
    "add": operator.add, "sub": operator.sub, "mul": operator.mul, "truediv": operator.truediv,
    "floordiv": operator.floordiv, "mod": operator.mod, "pow": operator.pow, "matmul": operator.matmul,
    "and": operator.and_, "or": operator.or_, "xor": operator.xor,
}  # fmt: skip


def printable(value: Any) -> Any:
    """A number or a short text, which can stand in an f-string."""
    if isinstance(value, Array) and is_static(value.value) and value.size == 1:
        value = value.value.item()
    if isinstance(value, str) and len(value) <= _MAX_TEXT:
        return value
    if value is None or isinstance(value, int | float | np.number | np.bool_):
        return value
    raise TypeError("an f-string takes numbers and short names only")


def is_instance(value: Any, *kinds: str) -> bool:
    """``isinstance`` for types by their names; a traced array is one of NumPy's."""
    return isinstance(value, tuple(kind for name in kinds for kind in _KINDS[name]))


_KINDS: dict[str, tuple[type, ...]] = {
    **{kind.__name__: (kind,) for kind in (list, tuple, dict, float, int, bool)},
    **{f"np.{kind.__name__}": (kind,) for kind in (np.generic, np.number, np.floating, np.integer)},
    **{f"np.{kind.__name__}": (kind,) for kind in (np.float32, np.float64)},
    "np.ndarray": (np.ndarray, Array, jax.Array),
}


def bounded(function: Callable) -> Callable:
    """A function of Python that takes lists of ordinary length and returns values of ordinary size."""

    def call(*arguments: Any, **keywords: Any) -> Any:
        return measured(function(*map(short, arguments), **keywords))

    return call


def power(base: Any, exponent: Any) -> Any:
    """Python's ``pow``."""
    return binary("pow", base, exponent)
