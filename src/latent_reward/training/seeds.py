"""Seeds are a leading axis of every array: how a function of one seed becomes one of all."""

from collections.abc import Callable
from typing import Any

import jax


def over_seeds(function: Callable, *arguments: Any, apart: bool = False) -> Any:
    """Map ``function`` over the leading axis of all ``arguments``.

    A lone seed is no batch: its matrix products are faster without the axis. Several run side by side, or, where
    ``apart``, on a processor one after the other: a batch of small products takes longer there than the products
    one by one, but each seed's arrays are copied into its turn.
    """
    if len(jax.tree.leaves(arguments)[0]) == 1:
        alone = function(*jax.tree.map(lambda leaf: leaf[0], arguments))
        return jax.tree.map(lambda leaf: leaf[None], alone)
    if apart and jax.default_backend() == "cpu":
        return jax.lax.map(lambda each: function(*each), arguments)
    return jax.vmap(function)(*arguments)
