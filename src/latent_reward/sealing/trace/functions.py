"""NumPy's functions and methods, and a few of Python's, over :class:`latent_reward.sealing.trace.arrays.Array`."""

import math
import operator
from collections.abc import Callable
from functools import partial, reduce
from typing import Any

import jax.numpy as jnp
import numpy as np

from latent_reward.sealing.language import vocabulary as words
from latent_reward.sealing.trace import substitutes
from latent_reward.sealing.trace.arrays import (
    ROW_BY_ROW,
    SELECTED,
    Array,
    Selected,
    apply,
    cast,
    is_static,
    unwrap,
    wrap,
)
from latent_reward.sealing.trace.bounds import measured

NARROW = {
    "float64": "float32",
    "double": "float32",
    "int64": "int32",
    "int_": "int32",
    "intp": "int32",
}  # JAX's numbers have 32 bits
_REDUCED_BY = {"add.reduce": "sum", "multiply.reduce": "prod", "maximum.reduce": "max", "minimum.reduce": "min",
               "logical_and.reduce": "all", "logical_or.reduce": "any"}  # fmt: skip
_IN_MATH = {"pow": "power", "acos": "arccos", "asin": "arcsin", "atan": "arctan", "atan2": "arctan2",
            "acosh": "arccosh", "asinh": "arcsinh", "atanh": "arctanh"}  # fmt: skip
_RESHAPES = frozenset("reshape ravel squeeze expand_dims atleast_1d atleast_2d atleast_3d".split())  # noqa: SIM905
_OWN_INVERSE = frozenset(("swapaxes", "flip", "fliplr", "flipud"))
_READ_ONLY = frozenset(("moveaxis", "diagonal", "broadcast_to"))


# --- functions of np ---


def by_numpy(name: str) -> Callable:
    """The NumPy function of that name, which takes no text but the words of the language."""
    return _only_words(name, operator.attrgetter(name)(np))


def by_jax(name: str) -> Callable:
    """The NumPy function of that name: NumPy's on constants, which have 64 bits there, else JAX's."""
    on_constants, else_by_jax = _both(name)

    def call(*arguments, **keywords):
        known = is_static((*arguments, *keywords.values()))
        return (on_constants if known else else_by_jax)(*arguments, **keywords)

    return _only_words(name, call)


def _both(name: str) -> tuple[Callable, Callable]:
    return operator.attrgetter(name)(np), substitutes.by_name(name)


def _only_words(name: str, function: Callable) -> Callable:
    def call(*arguments, **keywords):
        _check_texts(name, arguments, keywords)
        return measured(function(*arguments, **keywords))

    return call


def _check_texts(name: str, arguments: tuple, keywords: dict) -> None:
    for position, value in enumerate((*arguments, *keywords.values())):
        einsum = name == "einsum" and position == 0
        if isinstance(value, str) and not einsum and value not in words.STRINGS:
            raise TypeError(f"np.{name} takes no text such as {value[:40]!r}; pass numbers only")


def lifted(name: str) -> Callable:
    """The NumPy function of that name over :class:`Array`: NumPy's on constants, else JAX's."""
    if name.endswith(".reduce"):
        return _over_first_axis(lifted(_REDUCED_BY[name]))
    on_constants, else_by_jax = _both(name)
    stacks = name in words.NUMERIC or name == "linalg.norm"

    def call(*arguments, **keywords):
        if "out" in keywords:
            return _into(call, keywords.pop("out"), keywords.pop("where", True), arguments, keywords)
        if any(isinstance(value, Selected) for value in arguments):
            return _of_selected(name, else_by_jax, arguments, keywords)
        rest, keywords = _plain(arguments[1:]), {key: _plain(value) for key, value in keywords.items()}
        view = _view(name, arguments, rest, keywords)
        if view is not None:
            return view
        given = (*_plain(arguments[:1]), *rest)
        if is_static((*given, *keywords.values())):
            return wrap(measured(on_constants(*given, **keywords)))
        if stacks:  # NumPy makes an array of a list of arrays, and of a tuple in the first place
            given = [
                jnp.asarray(each) if isinstance(each, list if place else list | tuple) else each
                for place, each in enumerate(given)
            ]
        return wrap(else_by_jax(*given, **keywords))

    return _only_words(name, call)


def _plain(value: Any) -> Any:
    """Unwrapped, with the types that stand for NumPy's own."""
    if callable(value):
        if isinstance(value, type) or value in _TYPES:
            return _TYPES.get(value, value)
        return lambda *values: unwrap(value(*map(wrap, values)))
    if isinstance(value, list | tuple):
        return type(value)(map(_plain, value))
    return unwrap(value)


def _into(function: Callable, out: Any, where: Any, arguments: tuple, keywords: dict) -> Any:
    """``function(..., out=out, where=where)``: ``out`` with the result where ``where`` holds."""
    result = function(*arguments, **keywords)
    if out is None or (isinstance(out, tuple) and out == (None,)):
        return result
    (out,) = out if isinstance(out, tuple) else (out,)
    if not isinstance(out, Array):
        raise TypeError("out must be an array")
    new, chosen = unwrap(result), unwrap(where)
    if chosen is not True:
        new = jnp.where(jnp.asarray(chosen), new, out.value)
    if np.shape(new) != out.shape:
        new = jnp.broadcast_to(new, out.shape)
    out.store(cast(new, out.dtype))
    return out


def asarray(value: Any, dtype: Any = None) -> Any:
    """The array itself if it has the type, else a copy."""
    if isinstance(value, Array) and (dtype is None or np.dtype(_plain(dtype)) == value.dtype):
        return value
    return _array(value) if dtype is None else _array(value, dtype=dtype)


_array = lifted("array")


def _over_first_axis(function: Callable) -> Callable:
    def reduce(value, axis=0, keepdims=False):
        return function(value, axis=axis, keepdims=keepdims)

    return reduce


def _of_selected(name: str, function: Callable, arguments: tuple, keywords: dict) -> Any:
    """Element by element, or within each row, it makes no difference which rows are selected."""
    first = arguments[0]
    within_rows = isinstance(first, Selected) and first.mask.ndim == 1 and keywords.get("axis") in (1, -1)
    if not within_rows and name not in words.ELEMENTWISE:
        raise TypeError(SELECTED)
    function = partial(function, **keywords)
    return apply(function, function, *arguments)


def _view(name: str, arguments: tuple, rest: tuple, keywords: dict) -> Array | None:
    """The view that NumPy would return, or None where it returns a copy."""
    if not arguments or not isinstance(arguments[0], Array):
        return None
    whole = arguments[0]

    def cut(value: Any) -> Any:
        module = np if is_static((value, rest, *keywords.values())) else jnp
        return getattr(module, name)(value, *rest, **keywords)

    if name in _RESHAPES:
        view = Array(None, whole, cut, lambda old, new: new.reshape(old.shape))
        view.contiguous = whole.contiguous
        # The same memory: of a whole array, or where only axes of size one change.
        same = whole.contiguous or [n for n in whole.shape if n != 1] == [n for n in view.shape if n != 1]
        return view if same else Array(view.value)
    if name in _OWN_INVERSE:
        return Array(None, whole, cut, lambda old, new: cut(new))
    if name == "transpose":
        axes = rest[0] if rest else keywords.get("axes")
        back = None if axes is None else tuple(int(i) for i in np.argsort(axes))
        return Array(None, whole, cut, lambda old, new: new.transpose(back))
    return Array(None, whole, cut, None) if name in _READ_ONLY else None


# --- methods of arrays ---


def method(owner: Any, name: str, *arguments: Any, **keywords: Any) -> Any:
    """``owner.name(...)``: an array's method is NumPy's function of that name, but for a few."""
    if isinstance(owner, Array):
        match name:
            case "copy":
                return Array(owner.value)
            case "flatten":
                return Array(owner.value.reshape(-1))
            case "item":
                return wrap(owner.value.reshape(()))
            case "astype":
                dtype = np.dtype(_plain(arguments[0] if arguments else keywords["dtype"]))
                return Array(owner.value.astype(NARROW.get(dtype.name, dtype.name)))
            case "fill":
                owner[...] = arguments[0]
                return None
            case "reshape" | "transpose" if arguments and not isinstance(arguments[0], tuple | list):
                arguments = (arguments,)
    if isinstance(owner, Array | Selected) and name in _METHODS:
        return _METHODS[name](owner, *arguments, **keywords)
    return getattr(owner, name)(*arguments, **keywords)


_METHODS = {name: lifted(name) for name in words.ARRAY_METHODS & words.FUNCTIONS}


# --- Python's own functions ---


def _number(by_python: Callable, dtype: Any) -> Callable:
    """``float``, ``int`` or ``bool``, whose results stay traced."""

    def call(value: Any = 0) -> Any:
        value = unwrap(value)
        if is_static(value):
            return by_python(value)
        if value.size != 1:
            raise TypeError("only arrays of one element can be converted to a number; use arrays as they are")
        return wrap(jnp.asarray(value).reshape(()).astype(dtype))

    return call


def _extreme(by_python: Callable, of_two: Callable) -> Callable:
    """``min`` or ``max`` of numbers, some of them traced."""

    def call(*values, **keywords):
        items = list(values[0]) if len(values) == 1 else list(values)
        if keywords or is_static([unwrap(item) for item in items]):
            return by_python(*values, **keywords) if len(values) > 1 else by_python(items, **keywords)
        if any(isinstance(item, Array) and item.size != 1 for item in items):
            raise TypeError(ROW_BY_ROW)
        first, *rest = map(unwrap, items)
        return wrap(reduce(of_two, rest, jnp.asarray(first)))

    return call


BUILTINS = {"float": _number(float, jnp.float32), "int": _number(int, jnp.int32), "bool": _number(bool, jnp.bool_),
            "min": _extreme(min, jnp.minimum), "max": _extreme(max, jnp.maximum)}  # fmt: skip
_TYPES: dict[Any, type] = {
    BUILTINS["float"]: float,
    BUILTINS["int"]: int,
    BUILTINS["bool"]: bool,
}  # as dtypes


def lifted_math(name: str) -> Any:
    """A function of ``math``: by itself on constants, else NumPy's counterpart."""
    by_python = getattr(math, name)
    if not callable(by_python):
        return by_python
    by_array = lifted(_IN_MATH.get(name, name))

    def call(*values):
        if is_static([unwrap(value) for value in values]):
            return by_python(*map(unwrap, values))
        if any(isinstance(value, Array) and value.size != 1 for value in values):
            raise TypeError("math takes one number; write np instead of math")
        return wrap(jnp.asarray(unwrap(by_array(*values))).reshape(()))

    return call
