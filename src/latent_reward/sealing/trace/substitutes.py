"""NumPy's functions as JAX has them, under NumPy's own names of arguments.

A few are written here: those that JAX lacks, and those for which it calls a library or a loop that a sealed program
cannot contain.
"""

import functools
import inspect
import operator
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from latent_reward.sealing.language import vocabulary as words
from latent_reward.sealing.trace.arrays import is_static

MAX_MATRIX = 4
# Hints about memory, which change no value.
_HINTS = ("order", "subok", "copy", "casting", "optimize", "kind")


def by_name(name: str) -> Callable:
    """The function over JAX's values that does what NumPy's function of that name does."""
    return _named_as_in_numpy(name, _OWN.get(name) or operator.attrgetter(_SAME.get(name, name))(jnp))


def numpy_arguments(name: str) -> tuple[str, ...]:
    """The names of the arguments that NumPy's function takes by position."""
    function = operator.attrgetter(name)(np)
    if isinstance(function, np.ufunc):
        return ("x1", "x2")[: function.nin] if function.nin > 1 else ("x",)
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return ()
    return tuple(each.name for each in parameters if each.kind <= each.POSITIONAL_OR_KEYWORD)


@functools.cache
def _keywords_of(function: Callable) -> frozenset[str]:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return frozenset()
    return frozenset(
        each.name for each in parameters if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)
    )


def _named_as_in_numpy(name: str, function: Callable) -> Callable:
    """The function, which JAX gives other names of arguments, or takes by position only."""
    known, places = _keywords_of(function), numpy_arguments(name)
    universal = isinstance(operator.attrgetter(name)(np), np.ufunc)

    def call(*arguments: Any, **keywords: Any) -> Any:
        given = list(arguments)
        for place in places[len(given) :]:
            if place not in keywords or place in known:
                break
            given.append(keywords.pop(place))
        if name in _LISTS_ARE_ARRAYS:
            given, keywords = (
                list(map(_array, given)),
                {key: _array(value) for key, value in keywords.items()},
            )
        dtype = keywords.pop("dtype", None) if universal else None
        keywords = {key: value for key, value in keywords.items() if key in known or key not in _HINTS}
        result = function(*given, **keywords)
        return result if dtype is None else result.astype(jax.dtypes.canonicalize_dtype(dtype))

    return call


# JAX takes no lists for arrays. NumPy does; in other functions a list is one of arrays, or a shape.
_LISTS_ARE_ARRAYS = words.NUMERIC | {
    "take",
    "take_along_axis",
    "isin",
    "append",
    "insert",
    "repeat",
    "linalg.norm",
}


def _array(value: Any) -> Any:
    return (np.asarray if is_static(value) else jnp.asarray)(value) if isinstance(value, list) else value


_SAME = {
    "fix": "trunc",
    "asanyarray": "asarray",
    "ascontiguousarray": "asarray",
    "linalg.vecdot": "vecdot",
    "linalg.cross": "cross",
}  # names that JAX lacks


def _clip(a: Any, a_min: Any = None, a_max: Any = None, *, min: Any = None, max: Any = None) -> jax.Array:
    low, high = (a_min if min is None else min), (a_max if max is None else max)
    return jnp.clip(jnp.asarray(a), low, high)


def _piecewise(x: Any, condlist: Any, funclist: Sequence) -> jax.Array:
    x = jnp.asarray(x)
    conditions = [condlist] if getattr(condlist, "ndim", None) == x.ndim else list(condlist)
    result = jnp.zeros_like(x)
    if len(funclist) == len(conditions) + 1:  # the last is for wherever no condition holds
        result = jnp.broadcast_to(_piece(funclist[-1], x), x.shape)
    elif len(funclist) != len(conditions):
        raise ValueError("np.piecewise takes one function for each condition, and perhaps one more")
    for condition, function in zip(conditions, funclist, strict=False):
        result = jnp.where(condition, _piece(function, x), result)
    return result.astype(x.dtype)


def _piece(function: Any, x: jax.Array) -> jax.Array:
    return jnp.asarray(function(x) if callable(function) else function, x.dtype)


# JAX has the next ones as composite operations, which are not arithmetic to whoever reads a program.


def _float(x: Any) -> jax.Array:
    x = jnp.asarray(x)
    return x if jnp.issubdtype(x.dtype, jnp.floating) else x.astype(jnp.float32)


def _arcsin(x: Any) -> jax.Array:
    x = _float(x)
    return jnp.arctan2(x, jnp.sqrt((1 - x) * (1 + x)))


def _arccos(x: Any) -> jax.Array:
    x = _float(x)
    return jnp.arctan2(jnp.sqrt((1 - x) * (1 + x)), x)


def _sinh(x: Any) -> jax.Array:
    """(m + m / (m + 1)) / 2 with m = eˣ − 1, which is exact near 0, and eˣ⁻ˡⁿ² where the rest does not count."""
    x = _float(x)
    size = jnp.abs(x)
    near = jnp.expm1(jnp.minimum(size, 10.0))
    return jnp.sign(x) * jnp.where(size < 10.0, (near + near / (near + 1)) / 2, jnp.exp(size - _LN_2))


def _cosh(x: Any) -> jax.Array:
    size = jnp.abs(_float(x))
    return jnp.exp(size - _LN_2) + jnp.exp(-size - _LN_2)


def _arcsinh(x: Any) -> jax.Array:
    x = _float(x)
    size = jnp.abs(x)
    square = jnp.minimum(size, _HUGE) ** 2
    near = jnp.log1p(size + square / (1 + jnp.sqrt(1 + square)))
    return jnp.sign(x) * jnp.where(size < _HUGE, near, jnp.log(size) + _LN_2)


def _arccosh(x: Any) -> jax.Array:
    x = _float(x)
    above = jnp.minimum(x, _HUGE) - 1
    return jnp.where(x < _HUGE, jnp.log1p(above + jnp.sqrt(above) * jnp.sqrt(above + 2)), jnp.log(x) + _LN_2)


def _arctanh(x: Any) -> jax.Array:
    x = _float(x)
    size = jnp.abs(x)
    return jnp.sign(x) * jnp.log1p(2 * size / (1 - size)) / 2


def _partition(a: Any, kth: Any, axis: int = -1) -> jax.Array:
    return jnp.sort(jnp.asarray(a), axis=axis)


_LN_2, _HUGE = float(np.log(2.0)), 1e10


def _searchsorted(a: Any, v: Any, side: str = "left") -> jax.Array:
    edges, values = jnp.asarray(a), jnp.asarray(v)[..., None]
    return ((edges < values) if side == "left" else (edges <= values)).sum(axis=-1)


def _digitize(x: Any, bins: Any, right: bool = False) -> jax.Array:
    if not is_static(bins):
        raise TypeError("np.digitize takes constant bins")
    bins, side = np.asarray(bins), "left" if right else "right"
    if np.all(np.diff(bins) >= 0):
        return _searchsorted(bins, x, side)
    if np.all(np.diff(bins) <= 0):
        return len(bins) - _searchsorted(bins[::-1], x, side)
    raise ValueError("bins must be monotonically increasing or decreasing")


def _interp(x: Any, xp: Any, fp: Any, left: Any = None, right: Any = None) -> jax.Array:
    x, xp, fp = jnp.asarray(x), jnp.asarray(xp, jnp.float32), jnp.asarray(fp, jnp.float32)
    last = jnp.clip(_searchsorted(xp, x, "right"), 1, len(xp) - 1)
    start, width = xp[last - 1], xp[last] - xp[last - 1]
    inside = fp[last - 1] + (x - start) * ((fp[last] - fp[last - 1]) / jnp.where(width == 0, 1.0, width))
    below = jnp.where(x < xp[0], fp[0] if left is None else left, inside)
    return jnp.where(x > xp[-1], fp[-1] if right is None else right, below)


def _small(a: Any, name: str) -> jax.Array:
    """A square matrix that is written out element by element."""
    matrix = jnp.asarray(a)
    if matrix.ndim < 2 or matrix.shape[-1] != matrix.shape[-2]:
        raise ValueError("last 2 dimensions of the array must be square")
    if not 0 < matrix.shape[-1] <= MAX_MATRIX:
        raise ValueError(f"np.linalg.{name} takes matrices of at most {MAX_MATRIX} rows; write a smaller one")
    return matrix.astype(jnp.float32)


def _minor(matrix: jax.Array, row: int, column: int) -> jax.Array:
    rows, columns = (
        np.array([n for n in range(matrix.shape[-1]) if n != out], np.int32) for out in (row, column)
    )
    return matrix[..., rows, :][..., columns]


def _det(a: Any) -> jax.Array:
    matrix = _small(a, "det")
    if matrix.shape[-1] == 1:
        return matrix[..., 0, 0]
    terms = [
        (-1) ** column * matrix[..., 0, column] * _det(_minor(matrix, 0, column))
        for column in range(matrix.shape[-1])
    ]
    return functools.reduce(operator.add, terms)


def _inv(a: Any) -> jax.Array:
    matrix = _small(a, "inv")
    size = matrix.shape[-1]
    if size == 1:
        return 1.0 / matrix
    rows = [
        jnp.stack([(-1) ** (i + j) * _det(_minor(matrix, j, i)) for j in range(size)], axis=-1)
        for i in range(size)
    ]
    return jnp.stack(rows, axis=-2) / _det(matrix)[..., None, None]


def _solve(a: Any, b: Any) -> jax.Array:
    inverse, b = _inv(_small(a, "solve")), jnp.asarray(b, jnp.float32)
    return (inverse @ b[:, None])[..., 0] if b.ndim == 1 else inverse @ b


_OWN: dict[str, Callable] = {
    "clip": _clip, "piecewise": _piecewise, "searchsorted": _searchsorted, "digitize": _digitize,
    "interp": _interp, "linalg.det": _det, "linalg.inv": _inv, "linalg.solve": _solve,
    "finfo": np.finfo, "iinfo": np.iinfo, "arcsin": _arcsin, "arccos": _arccos, "sinh": _sinh, "cosh": _cosh,
    "arcsinh": _arcsinh, "arccosh": _arccosh, "arctanh": _arctanh, "partition": _partition,
}  # fmt: skip
