"""The multilayer perceptron used by all agents and decoders."""

from itertools import pairwise
from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from latent_reward.types import Key


class MLP(eqx.Module):
    """Multilayer perceptron with ReLU or tanh on any number of leading axes; the last layer is linear.

    Weights are stored ``[fan_in, fan_out]``, so that a batch is one matrix product per layer. An ensemble (twin
    critics, seeds) is the same object with a leading axis.
    """

    weights: tuple[Float[Array, "*ensemble _ _"], ...]
    biases: tuple[Float[Array, "*ensemble _"], ...]
    activation: Literal["relu", "tanh"] = eqx.field(static=True, default="relu")

    def __call__(self, x: Float[Array, "*batch fan_in"]) -> Float[Array, "*batch fan_out"]:
        """Map ``[..., fan_in]`` to ``[..., fan_out]``."""
        activation = jnp.tanh if self.activation == "tanh" else jax.nn.relu
        *hidden, last = zip(self.weights, self.biases, strict=True)
        rows = x.reshape(-1, x.shape[-1])  # one matrix product per layer, however many axes lead
        for weight, bias in hidden:
            rows = activation(rows @ weight + bias)
        rows = rows @ last[0] + last[1]
        return rows.reshape(*x.shape[:-1], rows.shape[-1])


def init_mlp(key: Key, sizes: tuple[int, ...]) -> MLP:
    """Draw an MLP with layer widths ``sizes``, weights and biases from U(±1/√fan_in).

    This is PyTorch's default and that of the published experiments, so that learning curves are comparable.
    """
    shapes = tuple(pairwise(sizes))
    counts = [(fan_in + 1) * fan_out for fan_in, fan_out in shapes]
    # One draw for the whole network: random generation is what takes longest to compile.
    drawn = jax.random.uniform(key, (sum(counts),), minval=-1.0, maxval=1.0)
    blocks = jnp.split(drawn, np.cumsum(counts)[:-1])
    layers = [
        fan_in**-0.5 * block.reshape(fan_in + 1, fan_out)
        for block, (fan_in, fan_out) in zip(blocks, shapes, strict=True)
    ]
    return MLP(tuple(layer[:-1] for layer in layers), tuple(layer[-1] for layer in layers))


def init_orthogonal(key: Key, sizes: tuple[int, ...], head_gain: float) -> MLP:
    """Draw a tanh MLP with orthogonal weights (gain 1, the last layer ``head_gain``) and biases of 0.

    Saxe et al. 2014, arXiv 1312.6120. With a small ``head_gain`` the first policy is nearly uniform.
    """
    shapes = tuple(pairwise(sizes))
    gains = (1.0,) * (len(shapes) - 1) + (head_gain,)
    weights = tuple(
        jax.nn.initializers.orthogonal(gain)(k, shape)
        for k, shape, gain in zip(jax.random.split(key, len(shapes)), shapes, gains, strict=True)
    )
    return MLP(weights, tuple(jnp.zeros(fan_out) for _, fan_out in shapes), "tanh")
