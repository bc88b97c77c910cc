"""The decomposer: a per-step decoder f with its optimiser, as init / update / proxy.

1. ``observe`` an episode when it ends: fold its features and return into the running moments.
2. ``update`` the decoder on a window of stored episodes.
3. ``proxy`` decodes features to rewards; always at sampling time, never stored.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float

from latent_reward.credit.losses import full_sum_loss, subset_loss
from latent_reward.credit.methods import Learned
from latent_reward.credit.statistics import Moments, init_moments, merge, standardise
from latent_reward.networks import MLP, adam, init_adam, init_mlp
from latent_reward.types import EpisodeFeatures, EpisodeMask, Key, Lengths, Returns, Scalar

UNIT_EPISODES = 10  # episodes from which the unit of reward is measured


class Decomposer(NamedTuple):
    """State of a learned method: decoder, optimiser, and moments of its inputs and targets."""

    decoder: MLP
    optimiser: optax.OptState
    features: Moments
    mean_reward: Moments


class Window(NamedTuple):
    """Steps of stored episodes to fit on: all of each episode, or a random subset."""

    features: EpisodeFeatures
    mask: EpisodeMask
    returns: Returns
    lengths: Lengths


def init(key: Key, config: Learned, feature_size: int) -> Decomposer:
    """A fresh decoder for features of ``feature_size`` numbers."""
    decoder = init_mlp(key, (feature_size, *config.hidden, 1))
    return Decomposer(decoder, init_adam(decoder), init_moments(feature_size), init_moments(1))


def observe(
    state: Decomposer, features: Float[Array, "time feature"], mask: Bool[Array, " time"], total: Scalar
) -> Decomposer:
    """Fold one finished episode (features, return ``total``) into the running moments.

    An episode whose mask is all false changes nothing.
    """
    length = mask.sum()
    mean_reward = (total / jnp.maximum(length, 1))[None, None]
    measures = (length > 0) & (state.mean_reward.count < UNIT_EPISODES)
    return state._replace(
        features=merge(state.features, features, mask),
        mean_reward=merge(state.mean_reward, mean_reward, measures[None]),
    )


def reward_unit(state: Decomposer, config: Learned) -> Scalar:
    """Size of one unit of decoder output: the root mean square of R/L over the first episodes, or 1.

    It is measured once. If it went on growing with the returns, every proxy reward would grow with it, and the
    agent would chase a moving target.
    """
    if not config.scale_returns:
        return jnp.ones(())
    moments = state.mean_reward
    square = moments.mean[0] ** 2 + moments.spread[0] / jnp.maximum(moments.count, 1.0)
    return jnp.where(square > 1e-12, jnp.sqrt(jnp.maximum(square, 1e-12)), 1.0)


def decode(
    decoder: MLP, state: Decomposer, config: Learned, features: Float[Array, "*batch feature"]
) -> Float[Array, "*batch"]:
    """f(z) in units of ``reward_unit``, with the standardisation of ``state``."""
    inputs = standardise(state.features, features) if config.standardise else features
    return decoder(inputs)[..., 0]


def proxy(
    state: Decomposer, config: Learned, features: Float[Array, "*batch feature"]
) -> Float[Array, "*batch"]:
    """The proxy reward r̂ = f(z), in the units of the environment's reward."""
    return decode(state.decoder, state, config, features) * reward_unit(state, config)


def update(state: Decomposer, config: Learned, window: Window) -> tuple[Decomposer, Scalar]:
    """One Adam step on a window; returns the new state and the loss before the step."""
    returns = window.returns / reward_unit(state, config)

    def loss(decoder: MLP) -> Scalar:
        rewards = decode(decoder, state, config, window.features)
        if config.loss == "rd":
            return full_sum_loss(rewards, window.mask, returns)
        return subset_loss(
            rewards, window.mask, returns, window.lengths, unbiased=config.loss == "rrd-unbiased"
        )

    value, gradient = jax.value_and_grad(loss)(state.decoder)
    decoder, optimiser = adam(state.decoder, gradient, state.optimiser, config.learning_rate)
    return state._replace(decoder=decoder, optimiser=optimiser), value


def fixed_credit(
    rule: str, rewards: Float[Array, " time"], mask: Bool[Array, " time"]
) -> Float[Array, " time"]:
    """Per-step reward of a reference method, from the hidden rewards of one finished episode.

    ``dense`` returns them, ``episodic`` puts their sum on the last step, ``uniform`` gives each step R/L.
    """
    rewards = jnp.where(mask, rewards, 0.0)
    if rule == "dense":
        return rewards
    total, length = rewards.sum(), mask.sum()
    if rule == "uniform":
        return jnp.where(mask, total / jnp.maximum(length, 1), 0.0)
    return jnp.where(jnp.arange(len(rewards)) == length - 1, total, 0.0)
