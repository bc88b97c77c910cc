"""NumPy's arrays over JAX's values: what a source sees while it is traced.

JAX's arrays never change; NumPy's are assigned to in place, and a slice of one is a window on it. An
:class:`Array` holds a value and replaces it when it is assigned to; a view holds its parent, how to cut the
view out of the parent's value and how to put it back. So ``y = x[:, 0]; y += 1`` changes ``x``, as it does in
NumPy. What depends on constants alone is computed by NumPy itself and stays a constant.

Where NumPy's memory layout decides whether there is a view or a copy, this may guess wrong; the result is
then not what NumPy computes, which the check against NumPy finds.
"""

import operator
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

# Answers a question about one row (see latent_reward.sealing.trace.paths); None where all rows are traced at once.
decide: ContextVar[Callable[[jax.Array], bool] | None] = ContextVar("decide", default=None)

ROW_BY_ROW = "one truth value is needed but there is one per row"
SELECTED = "an operation on rows selected by a condition"


class _Operators(NDArrayOperatorsMixin):
    """Python's operators, each by the JAX function with the name of its NumPy function."""

    __slots__ = ()

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *values: Any, out: Any = None) -> Any:
        """Computes ``values[0] + values[1]`` and the like; ``out`` is there for ``values[0] += values[1]``."""
        result = apply(ufunc, getattr(jnp, ufunc.__name__), *values)
        return result if out is None else self.assigned(result)

    def assigned(self, result: Any) -> Any:
        """What ``self`` is after ``self += other``."""
        return result


class Array(_Operators):
    """An array that can be assigned to in place, and views of it.

    ``parent``, ``get`` and ``put`` make a view: ``get(parent value)`` is its value, ``put(parent value, its
    new value)`` the parent's new value.
    """

    __slots__ = ("_cached", "_get", "_parent", "_put", "_value", "_version", "contiguous")

    def __init__(self, value: Any, parent: "Array | None" = None, get: Any = None, put: Any = None):
        """A whole array, or a view of ``parent``."""
        self._value, self._version = value, 0
        self._parent, self._get, self._put = parent, get, put
        self._cached: tuple[int, Any] | None = None
        self.contiguous = parent is None  # then any reshape of it is a view

    @property
    def version(self) -> int:
        """How often what this shows was assigned to."""
        return self._version if self._parent is None else self._parent.version

    @property
    def value(self) -> Any:
        """The present value: a JAX array, or a NumPy array where it is constant."""
        if self._parent is None:
            return self._value
        version = self.version
        if self._cached is None or self._cached[0] != version:
            self._cached = (version, self._get(self._parent.value))
        return self._cached[1]

    def store(self, value: Any) -> None:
        """Replaces the value, in the parent too."""
        if self._parent is None:
            self._value, self._version = value, self._version + 1
        elif self._put is None:
            raise TypeError("an array is changed through a view of it; change a .copy()")
        else:
            self._parent.store(self._put(self._parent.value, value))

    def assigned(self, result: Any) -> Any:
        """Stores the result of ``self += other``."""
        if self.ndim == 0:  # NumPy's scalars do not change
            return result
        value = unwrap(result)
        if value.shape != self.shape:
            raise ValueError(f"an array of shape {self.shape} cannot become one of shape {value.shape}")
        self.store(cast(value, self.dtype))
        return self

    @property
    def shape(self) -> tuple:
        """Sizes; the number of rows may be a symbol."""
        return self.value.shape

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return self.value.ndim

    @property
    def size(self) -> Any:
        """Number of elements."""
        return self.value.size

    @property
    def dtype(self) -> Any:
        """Type of the elements."""
        return self.value.dtype

    @property
    def T(self) -> "Array":  # noqa: N802
        """The transposed view."""
        return Array(None, self, operator.attrgetter("T"), lambda whole, part: part.T)

    def __getitem__(self, index: Any) -> Any:
        """A view for slices, a copy for anything richer, as in NumPy."""
        index, value = _indices(index), self.value
        if _selects(index):
            return Selected(value[_behind(index)], index[0])
        if not _is_basic(index):
            return wrap((value if is_static((value, index)) else jnp.asarray(value))[index])
        view = Array(None, self, lambda whole: whole[index], lambda whole, part: put(whole, index, part))
        forward = all(not isinstance(part, slice) or part.step in (None, 1) for part in index)
        view.contiguous = self.contiguous and view.shape == self.shape and forward
        return wrap(view.value) if view.ndim == 0 else view

    def __setitem__(self, index: Any, new: Any) -> None:
        """Assigns in place."""
        self.store(put(self.value, _indices(index), new))

    def __iter__(self) -> Iterator:
        """Over the first axis."""
        if not isinstance(self.shape[0], int):
            raise TypeError("rows are visited one by one; compute all rows at once with array expressions")
        return (self[index] for index in range(self.shape[0]))

    def __bool__(self) -> bool:
        """Of a constant; of a single traced value only while each row is traced alone."""
        value = self.value
        if is_static(value):
            return bool(value)
        ask = decide.get()
        if value.size != 1 or ask is None:
            raise TypeError(ROW_BY_ROW)
        return ask(value.reshape(()) != 0)

    def __int__(self) -> int:
        """Of a constant."""
        return int(self.constant())

    def __index__(self) -> int:
        """Of a constant."""
        return operator.index(self.constant())

    def __float__(self) -> float:
        """Of a constant."""
        return float(self.constant())

    def constant(self) -> Any:
        """The value if it is known while tracing.

        Raises:
            TypeError: it is not.
        """
        if is_static(self.value):
            return self.value
        raise TypeError("a value of the arrays is used as a constant; compute with arrays only")

    def __round__(self, digits: int = 0) -> "Array":
        """Python's ``round``."""
        return wrap(jnp.round(self.value, digits or 0))


class Selected(_Operators):
    """``x[mask]`` before it is known how many rows that is: all rows, and the mask that chose them.

    What is computed element by element can be computed for all; it is assigned to the same places again.
    """

    __slots__ = ("full", "mask")

    def __init__(self, full: Any, mask: Any):
        """Keeps both."""
        self.full, self.mask = full, mask

    def __getitem__(self, index: Any) -> "Selected":
        """Columns of the selected rows."""
        index = _indices(index)
        every_row = index and isinstance(index[0], slice) and index[0] == slice(None)
        if every_row and self.mask.ndim == 1:
            return Selected(self.full[index], self.mask)
        raise TypeError(SELECTED)

    def refuse(self, *_: Any) -> Any:
        """The number of rows is not known."""
        raise TypeError(SELECTED)

    __getattr__ = __iter__ = __bool__ = refuse


# --- values in and out ---


def wrap(value: Any) -> Any:
    """Arrays become :class:`Array`, also inside lists and tuples; NumPy's scalars stay as they are."""
    if isinstance(value, jax.Array | np.ndarray):
        return Array(value)
    if isinstance(value, list | tuple):
        return type(value)(map(wrap, value)) if type(value) in (list, tuple) else tuple(map(wrap, value))
    return value


def unwrap(value: Any) -> Any:
    """The reverse of :func:`wrap`."""
    if isinstance(value, Array):
        return value.value
    if isinstance(value, Selected):
        raise TypeError(SELECTED)
    if type(value) in (list, tuple):
        return type(value)(map(unwrap, value))
    if isinstance(value, slice):
        return slice(unwrap(value.start), unwrap(value.stop), unwrap(value.step))
    return value


def cast(value: Any, dtype: Any) -> Any:
    """A value with elements of another type, as far as JAX has it."""
    return value.astype(dtype if isinstance(value, np.ndarray) else jax.dtypes.canonicalize_dtype(dtype))


def is_static(value: Any) -> bool:
    """Whether a value is known while tracing: no traced array and no symbolic size in it."""
    if isinstance(value, list | tuple):
        return all(map(is_static, value))
    if isinstance(value, slice):
        return is_static((value.start, value.stop, value.step))
    return not isinstance(value, jax.Array) and not jax.export.is_symbolic_dim(value)


# --- indexing ---


def _indices(index: Any) -> tuple:
    """An index as JAX wants it: a tuple, its lists as arrays."""
    index = unwrap(index)
    return tuple(map(_operand, index if isinstance(index, tuple) else (index,)))


def _is_basic(index: tuple) -> bool:
    """Whether NumPy makes a view: there are only slices, whole numbers and new axes."""
    basic = int | np.integer | slice | type(None) | type(Ellipsis)
    return all(isinstance(part, basic) and not isinstance(part, bool) for part in index)


def _is_mask(index: Any) -> bool:
    return isinstance(index, jax.Array | np.ndarray) and index.dtype == bool


def _selects(index: tuple) -> bool:
    """Whether a traced mask comes first."""
    return bool(index) and _is_mask(index[0]) and not is_static(index[0])


def _behind(index: tuple) -> tuple:
    """``(mask, 0)`` selects rows of ``x[:, 0]``."""
    if len(index) == 1:
        return ()
    if index[0].ndim != 1 or not _is_basic(index[1:]):
        raise TypeError(SELECTED)
    return (slice(None), *index[1:])


def put(whole: Any, index: Any, new: Any) -> Any:
    """``whole`` after ``whole[index] = new``, as a new value of the same type."""
    if _selects(index) or (isinstance(new, Selected) and len(index) == 1 and _is_mask(index[0])):
        columns = _behind(index)
        changed = _masked(whole[columns], index[0], new)
        return put(whole, columns, changed) if columns else changed
    new = unwrap(new)
    if is_static((whole, index, new)):
        copy = np.array(whole)
        copy[index] = new
        return copy
    whole = jnp.asarray(whole)
    new = jnp.asarray(new).astype(whole.dtype)
    spare = new.ndim - whole[index].ndim
    if spare > 0 and all(size == 1 for size in new.shape[:spare]):  # NumPy drops such axes
        new = new.reshape(new.shape[spare:])
    return whole.at[index].set(new)


def _masked(whole: Any, mask: Any, new: Any) -> Any:
    """``whole`` after ``whole[mask] = new``; a new value for each selected place must be :class:`Selected`."""
    whole = jnp.asarray(whole)
    chosen = mask.reshape(mask.shape + (1,) * (whole.ndim - mask.ndim))
    if isinstance(new, Selected):
        new = jnp.asarray(new.full)
        new = new.reshape(new.shape + (1,) * (whole.ndim - new.ndim)) if new.ndim < whole.ndim else new
    else:
        new = jnp.asarray(unwrap(new))
        if new.ndim > whole.ndim - mask.ndim and new.size != 1:
            raise TypeError("values for selected rows; write x = np.where(condition, values, x)")
    return jnp.where(chosen, new.astype(whole.dtype), whole)


# --- element by element ---


def _operand(value: Any) -> Any:
    """A list as an array."""
    return (np.asarray if is_static(value) else jnp.asarray)(value) if isinstance(value, list) else value


def apply(by_numpy: Callable, by_jax: Callable, *values: Any) -> Any:
    """An element-wise function of values as they are, by NumPy on constants; of selected rows, on all rows."""
    masks = [value.mask for value in values if isinstance(value, Selected)]
    if masks:
        if any(not isinstance(value, Selected) and np.ndim(unwrap(value)) for value in values):
            raise TypeError(SELECTED)
        full = [value.full if isinstance(value, Selected) else unwrap(value) for value in values]
        return Selected(by_jax(*map(jnp.asarray, full)), masks[0])
    operands = [_operand(unwrap(value)) for value in values]
    return wrap((by_numpy if is_static(operands) else by_jax)(*operands))
