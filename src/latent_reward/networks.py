"""The multilayer perceptron that every learned part is made of."""

import equinox as eqx
import jax
import jax.numpy as jnp
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

    def layer(key, fan_in, fan_out):
        bound = fan_in**-0.5
        k_weight, k_bias = jax.random.split(key)
        return (
            jax.random.uniform(k_weight, (fan_in, fan_out), minval=-bound, maxval=bound),
            jax.random.uniform(k_bias, (fan_out,), minval=-bound, maxval=bound),
        )

    keys = jax.random.split(key, len(sizes) - 1)
    weights, biases = zip(*map(layer, keys, sizes[:-1], sizes[1:]), strict=True)
    return MLP(weights, biases)


def polyak(target, online, rate: float):
    """Move every array of ``target`` by ``rate`` towards ``online`` (exponential moving average)."""
    return jax.tree.map(lambda slow, fast: slow + rate * (fast - slow), target, online)


def all_finite(tree) -> Bool[Array, ""]:
    """Whether every number in a pytree of arrays is finite."""
    leaves = [jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(eqx.filter(tree, eqx.is_inexact_array))]
    return jnp.stack(leaves).all()
