"""A gated recurrent unit that reads sequences step by step and can start afresh in between (Cho et al. 2014)."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from latent_reward.networks import MLP, init_mlp
from latent_reward.types import Key


class GRU(NamedTuple):
    """What the input and what the hidden state adds to the update gate, the reset gate and the candidate."""

    read: MLP
    recur: MLP


def init_gru(key: Key, size: int, width: int) -> GRU:
    """Draw a unit of ``width`` numbers that reads ``size``."""
    k_read, k_recur = jax.random.split(key)
    return GRU(init_mlp(k_read, (size, 3 * width)), init_mlp(k_recur, (width, 3 * width)))


def scan_gru(
    gru: GRU,
    features: Float[Array, "row time feature"],
    mask: Bool[Array, "row time"],
    fresh: Bool[Array, "row time"] | None = None,
) -> Float[Array, "row time width"]:
    """The hidden state after each step. It stays where the mask is false, and is 0 before a step that is ``fresh``."""
    width = gru.recur.biases[0].shape[0] // 3
    # what the input adds is one product for all steps; only the rest has to wait for the step before
    read = jnp.swapaxes(gru.read(features), 0, 1)

    def step(hidden, now):
        added, there, restart = now
        if restart is not None:
            hidden = jnp.where(restart[:, None], 0.0, hidden)
        a, b = added, gru.recur(hidden)
        update = jax.nn.sigmoid(a[:, :width] + b[:, :width])
        reset = jax.nn.sigmoid(a[:, width : 2 * width] + b[:, width : 2 * width])
        candidate = jnp.tanh(a[:, 2 * width :] + reset * b[:, 2 * width :])
        after = jnp.where(there[:, None], update * hidden + (1.0 - update) * candidate, hidden)
        return after, after

    start = jnp.zeros((features.shape[0], width))
    now = (read, mask.T, None if fresh is None else fresh.T)
    return jnp.swapaxes(jax.lax.scan(step, start, now)[1], 0, 1)
