"""Updates of parameters: Adam, and the moving average of target networks."""

from typing import TypeVar

import jax
import optax

from latent_reward.types import Scalar

Parameters = TypeVar("Parameters")


def polyak(target, online, rate: float):
    """Move every array of ``target`` by ``rate`` towards ``online`` (exponential moving average)."""
    return jax.tree.map(lambda slow, fast: slow + rate * (fast - slow), target, online)


def init_adam(parameters) -> optax.OptState:
    """Adam's initial state for a pytree of parameters."""
    return optax.adam(0.0).init(parameters)


def adam(
    parameters: Parameters, gradient: Parameters, state: optax.OptState, rate: float | Scalar
) -> tuple[Parameters, optax.OptState]:
    """One step of Adam (Kingma and Ba 2015, arXiv 1412.6980) down ``gradient`` with step size ``rate``."""
    step, state = optax.adam(rate).update(gradient, state)  # pyright: ignore[reportArgumentType]
    return optax.apply_updates(parameters, step), state  # pyright: ignore
