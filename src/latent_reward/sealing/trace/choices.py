"""What :mod:`latent_reward.sealing.language.rewrite` puts in the place of conditions and of method calls.

Of a condition on a traced value both branches are computed, and ``where`` takes one. A condition that is known
while tracing takes its branch and leaves the other alone, as in Python; so does one for whose branches there is no
``where``, by way of :mod:`latent_reward.sealing.trace.paths`.
"""

import operator
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from latent_reward.sealing.trace.arrays import (
    ROW_BY_ROW,
    SELECTED,
    Array,
    Selected,
    cast,
    decide,
    is_static,
    unwrap,
    wrap,
)
from latent_reward.sealing.trace.functions import method

_UNSET = object()  # a variable that the branch taken does not have


def names() -> dict[str, Callable]:
    """The functions, by names that no source can write."""
    return {
        "__choose__": _choose, "__keep__": _keep, "__assign__": _assign, "__augment__": _augment,
        "__both__": _both, "__either__": _either, "__not__": _not, "__slice__": slice, "__method__": method,
    }  # fmt: skip


def _is_known(condition: Any) -> bool:
    """Whether it is a constant.

    Raises:
        TypeError: it is one value for each row, and rows are not traced alone.
    """
    if isinstance(condition, Selected):
        raise TypeError(SELECTED)
    if not isinstance(condition, Array) or is_static(condition.value):
        return True
    if condition.value.size != 1 or decide.get() is None:
        raise TypeError(ROW_BY_ROW)
    return False


def _where(condition: Array, yes: Any, no: Any) -> Any:
    """One of two numbers or arrays of equal shape; for anything else the path divides."""
    if yes is _UNSET or no is _UNSET:
        return no if yes is _UNSET else yes
    if all(isinstance(value, Array | int | float | np.number | np.bool_) for value in (yes, no)):
        first, second = unwrap(yes), unwrap(no)
        if np.shape(first) == np.shape(second):
            return wrap(jnp.where(condition.value.reshape(()) != 0, first, second))
    return yes if condition else no


def _choose(condition: Any, yes: Callable, no: Callable) -> Any:
    """``yes() if condition else no()``."""
    if _is_known(condition):
        return yes() if condition else no()
    return _where(condition, yes(), no())


def _keep(variable: Callable) -> Any:
    """The variable's value, if it has one by now."""
    try:
        return variable()
    except NameError:
        return _UNSET


def _assign(condition: Any, target: Any, index: Any, value: Callable) -> None:
    """``if condition: target[index] = value()``."""
    if not _is_known(condition) and isinstance(target, Array):
        target[index] = _where(condition, _like(target[index], value()), target[index])
    elif condition:
        target[index] = value()


def _like(place: Any, value: Any) -> Any:
    """A value in the shape and type of the place it is assigned to."""
    if not isinstance(place, Array):
        return value
    new = cast(jnp.asarray(unwrap(value)), place.dtype)
    return wrap(jnp.broadcast_to(new.reshape(()) if new.size == 1 else new, place.shape))


def _augment(condition: Any, name: str, target: Callable, value: Callable) -> Any:
    """``if condition: target += value()``, in place where NumPy would; returns the target."""
    in_place = getattr(operator, name)
    if _is_known(condition):
        return in_place(target(), value()) if condition else _keep(target)
    old = target()
    if isinstance(old, Array) and old.ndim:
        old.store(unwrap(_where(condition, in_place(Array(old.value), value()), old)))
        return old
    if isinstance(old, list | dict):
        return in_place(old, value()) if condition else old
    return _where(condition, in_place(old, value()), old)


def _both(first: Any, second: Callable) -> Any:
    """``first and second()``."""
    return first and second() if _is_known(first) else _logical(jnp.logical_and, first, second())


def _either(first: Any, second: Callable) -> Any:
    """``first or second()``."""
    return first or second() if _is_known(first) else _logical(jnp.logical_or, first, second())


def _logical(function: Callable, *sides: Any) -> Any:
    return wrap(function(*(jnp.reshape(unwrap(side), ()) for side in sides)))


def _not(value: Any) -> Any:
    """``not value``."""
    return not value if _is_known(value) else _logical(jnp.logical_not, value)
