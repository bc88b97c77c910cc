"""Rows in a random order, cheaply enough for every epoch."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from latent_reward.types import Key

# Coprime to the number of rows, so that a stride visits each row once; times any number of rows below 2³¹.
_PRIMES = tuple(n for n in range(101, 1000) if all(n % d for d in range(2, 32)))


def stride_shuffle(key: Key, shuffled: Int[Array, " row"]) -> Int[Array, " row"]:
    """The same rows in another order: every s-th of them from a random one on, s a random prime.

    Sorting random numbers in every epoch, which is how rows are permuted here, took a quarter of an update.
    """
    count = len(shuffled)
    k_stride, k_start = jax.random.split(key)
    strides = np.array([prime for prime in _PRIMES if count % prime], np.int32)
    stride = jax.random.choice(k_stride, strides)
    start = jax.random.randint(k_start, (), 0, count)
    return shuffled[(start + stride * jnp.arange(count)) % count]
