"""The names that a source can see: the allowed part of NumPy, by NumPy itself or over JAX's values.

Both rooms hold the words of :mod:`latent_reward.sealing.language.vocabulary` and nothing else. No function takes a text
that is not one of its words.
"""

import builtins
import math
import operator
from collections.abc import Callable
from functools import cache
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from latent_reward.sealing.language import vocabulary as words
from latent_reward.sealing.language.vocabulary import LOOP_BUDGET
from latent_reward.sealing.trace.arrays import (
    ROW_BY_ROW,
    SELECTED,
    Array,
    Selected,
    apply,
    is_static,
    unwrap,
    wrap,
)

_REDUCED_BY = {"add": "sum", "multiply": "prod", "maximum": "max", "minimum": "min", "logical_and": "all",
               "logical_or": "any"}  # fmt: skip
_IN_MATH = {"pow": "power", "acos": "arccos", "asin": "arcsin", "atan": "arctan", "atan2": "arctan2",
            "acosh": "arccosh", "asinh": "arcsinh", "atanh": "arctanh", "dist": "hypot"}  # fmt: skip


_SAME = {"amin": "min", "amax": "max", "around": "round", "absolute": "abs", "fix": "trunc",
         "asanyarray": "asarray", "ascontiguousarray": "asarray"}  # fmt: skip


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


def plain_names(steps: int = LOOP_BUDGET) -> dict[str, Any]:
    """Everything a source can see when NumPy runs it. ``steps``: those that its loops may take in all."""
    tools = {name: getattr(np, name) for name in words.CONSTANTS | words.DTYPES}
    tools |= {name: _only_words(name, getattr(np, name)) for name in words.FUNCTIONS - words.EMPTY.keys()}
    tools |= {name: tools[other] for name, other in words.EMPTY.items()}
    tools["linalg"] = SimpleNamespace(norm=_only_words("norm", np.linalg.norm))
    for name in words.REDUCING:
        tools[name].reduce = getattr(np, name).reduce
    return _scope(tools, {name: getattr(math, name) for name in words.MATH}, {}, steps)


def _warm_up() -> None:
    """Calls the methods that NumPy imports at their first call: no source could, without ``__import__``."""
    numbers = np.ones((2, 2))
    for name in ("sum", "mean", "min", "max", "std", "var", "prod", "any", "all"):
        getattr(numbers, name)()
    numbers.clip(0.0, 1.0)


_warm_up()


def traced_names() -> dict[str, Any]:
    """Everything a source can see when it is traced: the same names, over :class:`Array`."""
    return _scope(*_traced_tools(), LOOP_BUDGET)


@cache  # a source is traced once for every way through it, and only what it may loop is counted anew
def _traced_tools() -> tuple[dict, dict, dict]:
    tools: dict[str, Any] = {name: getattr(np, name) for name in words.CONSTANTS}
    # JAX's integers and floats have 32 bits.
    tools |= {name: getattr(np, _NARROW.get(name, name)) for name in words.DTYPES}
    tools["ndarray"] = Array
    tools |= {name: _lifted(name) for name in words.FUNCTIONS - words.EMPTY.keys()}
    tools |= {name: tools[other] for name, other in words.EMPTY.items()}
    tools["asarray"] = tools["asanyarray"] = tools["ascontiguousarray"] = _same_array(tools["array"])
    tools["linalg"] = SimpleNamespace(norm=_lifted("linalg.norm"))
    for name in words.REDUCING:
        tools[name].reduce = _over_first_axis(tools[_REDUCED_BY[name]])
    plain = {name: _lifted_math(name, tools) for name in words.MATH}
    own = {"float": _float, "int": _int, "bool": _bool, "min": _least(min, jnp.minimum),
           "max": _least(max, jnp.maximum)}  # fmt: skip
    return tools, plain, own


_NARROW = {"float64": "float32", "int64": "int32"}


def _scope(tools: dict, plain_math: dict, own: dict, steps: int) -> dict[str, Any]:
    seen = {name: getattr(builtins, name) for name in words.BUILTINS | words.ERRORS}
    seen |= {"range": Steps(steps), "len": _length, **own}
    return {"__builtins__": seen, "np": SimpleNamespace(**tools), "math": SimpleNamespace(**plain_math)}


def _over_first_axis(function: Callable) -> Callable:
    def reduce(value, axis=0, keepdims=False):
        return function(value, axis=axis, keepdims=keepdims)

    return reduce


def _length(value: Any) -> Any:
    """``len`` that also works where the number of rows is a symbol."""
    return value.shape[0] if hasattr(value, "shape") else len(value)


def _check_texts(name: str, arguments: tuple, keywords: dict) -> None:
    for position, value in enumerate((*arguments, *keywords.values())):
        einsum = name == "einsum" and position == 0
        if isinstance(value, str) and not einsum and value not in words.STRINGS:
            raise TypeError(f"np.{name} takes no text such as {value[:40]!r}; pass numbers only")


def _only_words(name: str, function: Callable) -> Callable:
    def call(*arguments, **keywords):
        _check_texts(name, arguments, keywords)
        return function(*arguments, **keywords)

    return call


# --- NumPy's functions over traced arrays ---


def _lifted(name: str) -> Callable:
    """The NumPy function of that name: by NumPy on constants, else by JAX."""
    by_numpy, by_jax = (operator.attrgetter(_SAME.get(name, name))(module) for module in (np, jnp))

    def call(*arguments, **keywords):
        _check_texts(name, arguments, keywords)
        if any(isinstance(value, Selected) for value in arguments):
            return _of_selected(name, by_jax, arguments, keywords)
        view = _view(name, arguments, keywords)
        if view is not None:
            return view
        arguments, keywords = _plain(arguments), {key: _plain(value) for key, value in keywords.items()}
        if is_static((*arguments, *keywords.values())):
            return wrap(by_numpy(*arguments, **keywords))
        if name in words.NUMERIC or name == "linalg.norm":
            # NumPy makes an array of a list of arrays, and of a tuple in the first place.
            arguments = tuple(
                jnp.asarray(value)
                if isinstance(value, list) or (isinstance(value, tuple) and not place)
                else value
                for place, value in enumerate(arguments)
            )
        if name == "clip":
            return wrap(_clip(*arguments, **keywords))
        return wrap(by_jax(*arguments, **keywords))

    return call


def _plain(value: Any) -> Any:
    """Unwrapped, with the types that stand for NumPy's own."""
    if callable(value):
        return _TYPES.get(value, value)
    if isinstance(value, list | tuple):
        return type(value)(map(_plain, value))
    return unwrap(value)


def _clip(x: Any, a_min: Any = None, a_max: Any = None, *, min: Any = None, max: Any = None) -> Any:
    low, high = (a_min if min is None else min), (a_max if max is None else max)
    return jnp.clip(jnp.asarray(x), low, high)


def _same_array(copy: Callable) -> Callable:
    def asarray(value, dtype=None):
        if isinstance(value, Array) and (dtype is None or np.dtype(_plain(dtype)) == value.dtype):
            return value
        return copy(value) if dtype is None else copy(value, dtype=dtype)

    return asarray


def _of_selected(name: str, function: Callable, arguments: tuple, keywords: dict) -> Any:
    """Element by element, or within each row, it makes no difference which rows are selected."""
    first = arguments[0]
    within_rows = isinstance(first, Selected) and first.mask.ndim == 1 and keywords.get("axis") in (1, -1)
    if not within_rows and name not in words.ELEMENTWISE:
        raise TypeError(SELECTED)
    return apply(lambda *values: function(*values, **keywords), *arguments)


_RESHAPES = frozenset(
    {"reshape", "ravel", "squeeze", "expand_dims", "atleast_1d", "atleast_2d", "atleast_3d"}
)
_OWN_INVERSE = frozenset({"swapaxes", "flip", "fliplr", "flipud"})
_READ_ONLY = frozenset({"moveaxis", "diagonal", "broadcast_to"})


def _view(name: str, arguments: tuple, keywords: dict) -> Array | None:
    """The view that NumPy would return, or None where it returns a copy."""
    if not arguments or not isinstance(arguments[0], Array):
        return None
    whole, rest = arguments[0], _plain(arguments[1:])
    keywords = {key: _plain(value) for key, value in keywords.items()}

    def cut(value: Any) -> Any:
        module = np if is_static((value, rest, *keywords.values())) else jnp
        return getattr(module, name)(value, *rest, **keywords)

    if name in _RESHAPES:
        view = Array(None, whole, cut, lambda old, new: new.reshape(old.shape))
        view.contiguous = whole.contiguous
        return view if _keeps_layout(whole, view) else Array(view.value)
    if name in _OWN_INVERSE:
        return Array(None, whole, cut, lambda old, new: cut(new))
    if name == "transpose":
        axes = rest[0] if rest else keywords.get("axes")
        return Array(None, whole, cut, lambda old, new: _transposed_back(new, axes))
    return Array(None, whole, cut, None) if name in _READ_ONLY else None


def _keeps_layout(whole: Array, view: Array) -> bool:
    """Whether a reshape shows the same memory: of a whole array, or when only axes of size one change."""
    return whole.contiguous or [n for n in whole.shape if n != 1] == [n for n in view.shape if n != 1]


def _transposed_back(value: Any, axes: Any) -> Any:
    return value.T if axes is None else value.transpose(tuple(int(i) for i in np.argsort(axes)))


def _method(name: str) -> Callable:
    """An array's method is the function of that name; a few take their arguments in another way."""

    def call(self, *arguments, **keywords):
        if name in ("reshape", "transpose") and arguments and not isinstance(arguments[0], tuple | list):
            arguments = (arguments,)
        if name in ("flatten", "copy"):
            return Array(self.value.reshape(-1) if name == "flatten" else self.value)
        if name == "astype":
            dtype = np.dtype(_plain(arguments[0] if arguments else keywords["dtype"]))
            return Array(self.value.astype(_NARROW.get(dtype.name, dtype.name)))
        if name == "item":
            return wrap(self.value.reshape(()))
        if name == "fill":
            self[...] = arguments[0]
            return None
        return _METHODS[name](self, *arguments, **keywords)

    return call


_METHODS = {name: _lifted(name) for name in words.ARRAY_METHODS & words.FUNCTIONS}
for _name in words.ARRAY_METHODS:
    setattr(Array, _name, _method(_name))
for _name in _METHODS:
    setattr(Selected, _name, _METHODS[_name])


# --- Python's own functions over traced arrays ---


def _of_one(value: Any, dtype: Any) -> Array:
    if value.size != 1:
        raise TypeError("only arrays of one element can be converted to a number; use arrays as they are")
    return wrap(jnp.asarray(value).reshape(()).astype(dtype))


def _float(value: Any = 0.0) -> Any:
    value = unwrap(value)
    return float(value) if is_static(value) else _of_one(value, jnp.float32)


def _int(value: Any = 0) -> Any:
    value = unwrap(value)
    return int(value) if is_static(value) else _of_one(value, jnp.int32)


def _bool(value: Any = False) -> Any:
    value = unwrap(value)
    return bool(value) if is_static(value) else _of_one(value, jnp.bool_)


_TYPES: dict[Any, type] = {_float: float, _int: int, _bool: bool}  # as element types they mean Python's


def _least(by_python: Callable, by_jax: Callable) -> Callable:
    """``min`` or ``max`` of numbers, some of them traced."""

    def call(*values, **keywords):
        items = list(values[0]) if len(values) == 1 else list(values)
        if keywords or is_static([unwrap(item) for item in items]):
            return by_python(*values, **keywords) if len(values) > 1 else by_python(items, **keywords)
        if any(isinstance(item, Array) and item.size != 1 for item in items):
            raise TypeError(ROW_BY_ROW)
        result = jnp.asarray(unwrap(items[0]))
        for item in items[1:]:
            result = by_jax(result, unwrap(item))
        return wrap(result)

    return call


def _lifted_math(name: str, tools: dict) -> Any:
    """A function of ``math``: by itself on constants, else NumPy's counterpart."""
    by_python = getattr(math, name)
    if not callable(by_python):
        return by_python

    def call(*values):
        if is_static([unwrap(value) for value in values]):
            return by_python(*map(unwrap, values))
        if any(isinstance(value, Array) and value.size != 1 for value in values):
            raise TypeError("math takes one number; write np instead of math")
        return wrap(jnp.asarray(unwrap(tools[_IN_MATH.get(name, name)](*values))).reshape(()))

    return call


def as_value(value: Any) -> jax.Array:
    """What a source returned for one latent, as JAX's array."""
    return jnp.asarray(unwrap(value), jnp.float32)
