"""The fixed policies that prey follow in predator–prey: small perceptrons, learned in competitive predator–prey."""

from collections.abc import Callable
from pathlib import Path

import jax.numpy as jnp
from jaxtyping import Array, Float
from safetensors.numpy import load_file

FOLDER = Path(__file__).parent / "prey_policies"


def load_prey(name: str) -> Callable[[Float[Array, "prey observation"]], Float[Array, "prey action"]]:
    """The policy of the prey in the world ``name``: observations to logits, two tanh layers between."""
    tensors = load_file(FOLDER / f"{name}.safetensors")
    layers = [(tensors[f"weight.{layer}"], tensors[f"bias.{layer}"]) for layer in range(len(tensors) // 2)]

    def policy(observation: Float[Array, "prey observation"]) -> Float[Array, "prey action"]:
        rows = observation
        for weight, bias in layers[:-1]:
            rows = jnp.tanh(rows @ weight + bias)
        return rows @ layers[-1][0] + layers[-1][1]

    return policy
