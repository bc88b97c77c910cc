"""Critics of agents that learn from replay: one or several networks Q_j(o, a), as one MLP with a leading axis."""

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float
from jaxtyping import Key as TypedKey

from latent_reward.agents.base import AgentSpec
from latent_reward.networks import MLP, init_mlp
from latent_reward.optimisers import adam
from latent_reward.types import Actions, Observations, Scalar, Scalars


def init_critics(keys: TypedKey[Array, " critic"], spec: AgentSpec, hidden: tuple[int, ...]) -> MLP:
    """A fresh critic for each of ``keys``."""
    sizes = (spec.observation_size + spec.actions.size, *hidden, 1)
    return jax.vmap(lambda key: init_mlp(key, sizes))(keys)


def values(
    critics: MLP,
    observation: Float[Array, "*batch observation"],
    action: Float[Array, "*batch action"],
) -> Float[Array, "critic *batch"]:
    """Q_j of each row, for every critic j."""
    rows = jnp.concatenate([observation, action], axis=-1)
    return jax.vmap(MLP.__call__, in_axes=(0, None))(critics, rows)[..., 0]


def descend(
    critics: MLP,
    optimiser: optax.OptState,
    observation: Observations,
    action: Actions,
    target: Scalars,
    rate: float,
) -> tuple[MLP, optax.OptState, Scalar]:
    """One Adam step of all critics on (Q_j(o, a) − target)²; the loss before the step is summed over critics."""

    def loss_of(critics: MLP) -> Scalar:
        error = values(critics, observation, action) - target
        return (error**2).mean(axis=1).sum()

    loss, gradient = jax.value_and_grad(loss_of)(critics)
    critics, optimiser = adam(critics, gradient, optimiser, rate)
    return critics, optimiser, loss
