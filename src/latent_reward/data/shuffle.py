"""Rows in a random order, cheaply enough for every epoch."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from latent_reward.types import Key

# Coprime to the number of rows, so that a stride visits each row once. There are enough of them for any number of rows.
_PRIMES = tuple(n for n in range(101, 1000) if all(n % d for d in range(2, 32)))
_MOST_ROWS = 1 << 29  # three times as many still fit into 32 bits


def stride_shuffle(key: Key, shuffled: Int[Array, " row"]) -> Int[Array, " row"]:
    """The same rows in another order: every s-th of them from a random one on, s a random prime.

    Sorting random numbers in every epoch, which is how rows are permuted here, took a quarter of an update. There are
    at most 2²⁹ rows.
    """
    count = len(shuffled)
    assert count <= _MOST_ROWS, f"{count} rows are too many for 32 bits"
    k_stride, k_start = jax.random.split(key)
    strides = np.array([prime for prime in _PRIMES if count % prime], np.int32)
    stride = jax.random.choice(k_stride, strides)
    start = jax.random.randint(k_start, (), 0, count)
    return shuffled[visited(jnp.arange(count), start, stride, count)]


def visited(
    turn: Int[Array, " turn"], start: Int[Array, ""], stride: Int[Array, ""], count: int
) -> Int[Array, " turn"]:
    """(``start`` + ``stride`` · ``turn``) mod ``count``, exact in 32 bits although the product may not fit into them.

    The number of rounds, ⌊``stride`` · ``turn`` / ``count``⌋, is known from a product in single precision up to one
    round. The difference of the two products is then between −``count`` and 2 ``count``, and right although both wrap.

    Args:
        turn: which of the visits, from 0 to ``count`` − 1.
        start: the row of the first visit.
        stride: rows from one visit to the next, below 1000.
        count: rows, at most 2²⁹.
    """
    rounds = (turn * (stride / count)).astype(jnp.int32)
    return (start + (stride * turn - count * rounds)) % count
