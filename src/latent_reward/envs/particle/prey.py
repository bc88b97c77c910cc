"""The fixed policies that prey follow in predator–prey: small perceptrons, learned by scripts/train_prey.py."""

from pathlib import Path

import jax
import jax.numpy as jnp
from safetensors.numpy import load_file

from latent_reward.networks import MLP

FOLDER = Path(__file__).parent / "prey_policies"


def load_prey(name: str) -> MLP:
    """The policy of the prey in the world ``name``: what one sees to the logits of its actions."""
    tensors = load_file(FOLDER / f"{name}.safetensors")
    layers = range(len(tensors) // 2)
    with jax.ensure_compile_time_eval():  # a world may be found for the first time while a caller is traced
        weights, biases = (
            tuple(jnp.asarray(tensors[f"{kind}.{layer}"]) for layer in layers) for kind in ("weight", "bias")
        )
    return MLP(weights, biases, "tanh")
