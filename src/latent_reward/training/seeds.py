"""Seeds are a leading axis of every array: map a function of one seed over all seeds."""

from collections.abc import Callable
from typing import Any

import jax


def over_seeds(function: Callable, *arguments: Any, apart: bool = False) -> Any:
    """Map ``function`` over the leading axis of all ``arguments``.

    A lone seed is not batched: its matrix products are faster without the axis. Several seeds run as one batch. With
    ``apart`` they run one after the other on a processor, where a batch of small products takes longer than the
    products one by one; each seed's arrays are then copied for its turn.
    """
    if len(jax.tree.leaves(arguments)[0]) == 1:
        alone = function(*jax.tree.map(lambda leaf: leaf[0], arguments))
        return jax.tree.map(lambda leaf: leaf[None], alone)
    if apart and jax.default_backend() == "cpu":
        return jax.lax.map(lambda each: function(*each), arguments)
    return jax.vmap(function)(*arguments)
