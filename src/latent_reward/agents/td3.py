"""TD3 (Fujimoto, van Hoof and Meger 2018, arXiv 1802.09477) as three pure functions.

Every step:
    1. the reward is decoded afresh from stored features (the caller does that);
    2. y = r + γ (1 − terminated) min_j Q̄_j(o′, π̄(o′) + clipped noise);
    3. both critics take one Adam step on (Q_j(o, a) − y)².
Every second step:
    4. the actor takes one Adam step on −Q_1(o, π(o)); all targets move by τ.
Time limits are not terminations: the target bootstraps through them.
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float

from latent_reward.networks import MLP, adam, init_adam, init_mlp, polyak
from latent_reward.types import Actions, Key, Observations, Scalar, Scalars


@dataclass(frozen=True)
class TD3Config:
    """Hyper-parameters; the defaults are those of the published experiments.

    Attributes:
        discount: γ.
        polyak: τ, the step of the target networks.
        exploration_noise: standard deviation of the noise on actions, in units of the action range.
        target_noise: the same for target actions.
        target_noise_clip: limit of the target noise.
        policy_delay: critic updates per actor update.
        learning_rate: Adam's step size of actor and critics.
        hidden: widths of the hidden layers.
    """

    discount: float = 0.99
    polyak: float = 0.005
    exploration_noise: float = 0.1
    target_noise: float = 0.2
    target_noise_clip: float = 0.5
    policy_delay: int = 2
    learning_rate: float = 3e-4
    hidden: tuple[int, ...] = (256, 256)


class ActionRange(NamedTuple):
    """Middle and half-width of the box of actions: a = middle + half_width · u, u ∈ [−1, 1]."""

    middle: Float[Array, " action"]
    half_width: Float[Array, " action"]


class TD3(NamedTuple):
    """State of the agent. Critics are one MLP with a leading axis of two."""

    actor: MLP
    critics: MLP
    target_actor: MLP
    target_critics: MLP
    actor_optimiser: optax.OptState
    critic_optimiser: optax.OptState


class Transitions(NamedTuple):
    """What one update learns from; ``reward`` is the proxy reward."""

    observation: Observations
    action: Actions
    reward: Scalars
    next_observation: Observations
    terminated: Bool[Array, " batch"]


def init(key: Key, config: TD3Config, observation_size: int, action_size: int) -> TD3:
    """Fresh networks; targets start equal to the networks they follow."""
    k_actor, *k_critics = jax.random.split(key, 3)
    actor = init_mlp(k_actor, (observation_size, *config.hidden, action_size))
    sizes = (observation_size + action_size, *config.hidden, 1)
    critics = jax.vmap(lambda k: init_mlp(k, sizes))(jnp.stack(k_critics))
    copy = lambda tree: jax.tree.map(jnp.copy, tree)  # noqa: E731 - donated buffers must not alias
    return TD3(
        actor,
        critics,
        copy(actor),
        copy(critics),
        init_adam(actor),
        init_adam(critics),
    )


def policy(
    actor: MLP, actions: ActionRange, observation: Float[Array, "*batch observation"]
) -> Float[Array, "*batch action"]:
    """The deterministic action π(o), inside the action range."""
    return actions.middle + actions.half_width * jnp.tanh(actor(observation))


def act(
    actor: MLP,
    config: TD3Config,
    actions: ActionRange,
    observation: Float[Array, "*batch observation"],
    key: Key,
) -> Float[Array, "*batch action"]:
    """π(o) plus Gaussian exploration noise, clipped to the action range."""
    action = policy(actor, actions, observation)
    noise = config.exploration_noise * jax.random.normal(key, action.shape)
    low, high = actions.middle - actions.half_width, actions.middle + actions.half_width
    return jnp.clip(action + noise * actions.half_width, low, high)


def values(critics: MLP, observation: Observations, action: Actions) -> Float[Array, "critic batch"]:
    """Q_1 and Q_2 of each row."""
    return jax.vmap(MLP.__call__, in_axes=(0, None))(
        critics, jnp.concatenate([observation, action], axis=-1)
    )[..., 0]


def targets(state: TD3, config: TD3Config, actions: ActionRange, batch: Transitions, key: Key) -> Scalars:
    """y = r + γ (1 − terminated) min_j Q̄_j(o′, ã), ã the smoothed target action."""
    action = policy(state.target_actor, actions, batch.next_observation)
    noise = config.target_noise * jax.random.normal(key, action.shape)
    noise = jnp.clip(noise, -config.target_noise_clip, config.target_noise_clip) * actions.half_width
    low, high = actions.middle - actions.half_width, actions.middle + actions.half_width
    smoothed = jnp.clip(action + noise, low, high)
    bootstrap = values(state.target_critics, batch.next_observation, smoothed).min(axis=0)
    return batch.reward + config.discount * jnp.where(batch.terminated, 0.0, bootstrap)


def update(
    state: TD3,
    config: TD3Config,
    actions: ActionRange,
    batch: Transitions,
    key: Key,
    *,
    update_actor: bool,
) -> tuple[TD3, Scalar]:
    """One critic step, and where ``update_actor`` (static) also one of the actor and targets.

    Returns the new state and the critic loss before the step.
    """
    target = targets(state, config, actions, batch, key)

    def critic_loss(critics: MLP) -> Scalar:
        error = values(critics, batch.observation, batch.action) - target
        return (error**2).mean(axis=1).sum()

    loss, gradient = jax.value_and_grad(critic_loss)(state.critics)
    critics, critic_optimiser = adam(state.critics, gradient, state.critic_optimiser, config.learning_rate)
    state = state._replace(critics=critics, critic_optimiser=critic_optimiser)
    if not update_actor:
        return state, loss

    first_critic: MLP = jax.tree.map(lambda leaf: leaf[0], critics)

    def actor_loss(actor: MLP) -> Scalar:
        action = policy(actor, actions, batch.observation)
        return -first_critic(jnp.concatenate([batch.observation, action], axis=-1)).mean()

    gradient = jax.grad(actor_loss)(state.actor)
    actor, actor_optimiser = adam(state.actor, gradient, state.actor_optimiser, config.learning_rate)
    return state._replace(
        actor=actor,
        actor_optimiser=actor_optimiser,
        target_actor=polyak(state.target_actor, actor, config.polyak),
        target_critics=polyak(state.target_critics, critics, config.polyak),
    ), loss
