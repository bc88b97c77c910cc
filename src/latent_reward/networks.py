"""The multilayer perceptron that every learned part is made of."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from latent_reward.types import Key


class MLP(eqx.Module):
    """ReLU perceptron on any number of leading axes; no activation after the last layer.

    Weights are stored ``[fan_in, fan_out]`` so that a batch is one matrix product per layer,
    and a whole ensemble (twin critics, seeds) is the same object with a leading axis.
    """

    weights: tuple[Float[Array, "*ensemble _ _"], ...]
    biases: tuple[Float[Array, "*ensemble _"], ...]

    def __call__(self, x: Float[Array, "*batch fan_in"]) -> Float[Array, "*batch fan_out"]:
        """Map ``[..., fan_in]`` to ``[..., fan_out]``."""
        *hidden, last = zip(self.weights, self.biases, strict=True)
        rows = x.reshape(-1, x.shape[-1])  # one matrix product per layer, however many axes lead
        for weight, bias in hidden:
            rows = jax.nn.relu(rows @ weight + bias)
        rows = rows @ last[0] + last[1]
        return rows.reshape(*x.shape[:-1], rows.shape[-1])


def init_mlp(key: Key, sizes: tuple[int, ...]) -> MLP:
    """Draw an MLP with layer widths ``sizes``, weights and biases from U(±1/√fan_in).

    This is the initialisation of the networks in the published experiments (PyTorch's default),
    kept so that learning curves compare.
    """

    shapes = tuple(zip(sizes[:-1], sizes[1:], strict=True))
    counts = [(fan_in + 1) * fan_out for fan_in, fan_out in shapes]
    # One draw for the whole network: random generation is what takes longest to compile.
    blocks = jnp.split(jax.random.uniform(key, (sum(counts),), minval=-1.0, maxval=1.0), np.cumsum(counts)[:-1])
    layers = [
        fan_in**-0.5 * block.reshape(fan_in + 1, fan_out)
        for block, (fan_in, fan_out) in zip(blocks, shapes, strict=True)
    ]
    return MLP(tuple(layer[:-1] for layer in layers), tuple(layer[-1] for layer in layers))


def polyak(target, online, rate: float):
    """Move every array of ``target`` by ``rate`` towards ``online`` (exponential moving average)."""
    return jax.tree.map(lambda slow, fast: slow + rate * (fast - slow), target, online)


def all_finite(tree) -> Bool[Array, ""]:
    """Whether every number in a pytree of arrays is finite."""
    leaves = [jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(eqx.filter(tree, eqx.is_inexact_array))]
    return jnp.stack(leaves).all()
