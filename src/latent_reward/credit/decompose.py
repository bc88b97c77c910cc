"""The decomposer: a per-step decoder f with its optimiser, as init / update / proxy.

1. ``observe`` an episode when it ends: fold its features and return into the running moments and, where the
   method has one, into the linear part of f, which is solved at once.
2. ``update`` the network of f on a window of stored episodes; it learns what the linear part leaves over.
3. ``proxy`` decodes features to rewards; always at sampling time, never stored.
"""

from dataclasses import replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float

from latent_reward.credit.linear import Linear, add_episodes, init_linear, predict
from latent_reward.credit.losses import full_sum_loss, subset_loss
from latent_reward.credit.methods import Learned
from latent_reward.credit.statistics import Moments, deviation, init_moments, merge, standardise
from latent_reward.errors import LareError
from latent_reward.networks import MLP, adam, init_adam, init_mlp
from latent_reward.types import AgentMask, EpisodeFeatures, EpisodeRewards, Key, Lengths, Returns, Scalar

UNIT_EPISODES = 10  # episodes from which the unit of reward is measured


class Decomposer(NamedTuple):
    """State of a learned method: decoder, optimiser, moments of its inputs and targets, and the linear part if any."""

    decoder: MLP
    optimiser: optax.OptState
    features: Moments
    mean_reward: Moments
    linear: Linear | None


class Window(NamedTuple):
    """Steps of stored episodes to fit on: all of each episode, or a random subset.

    ``mask`` says which agents are there at which step; ``lengths`` are those of whole episodes.
    """

    features: EpisodeFeatures
    mask: AgentMask
    returns: Returns
    lengths: Lengths


def init(key: Key, config: Learned, feature_size: int) -> Decomposer:
    """A fresh decoder for features of ``feature_size`` numbers; above a linear part its network starts at 0."""
    decoder = init_mlp(key, (feature_size, *config.hidden, 1))
    linear = None
    if config.linear:
        linear = init_linear(feature_size)
        weights, biases = (
            (*layers[:-1], jnp.zeros_like(layers[-1])) for layers in (decoder.weights, decoder.biases)
        )
        decoder = replace(decoder, weights=weights, biases=biases)
    return Decomposer(decoder, init_adam(decoder), init_moments(feature_size), init_moments(1), linear)


def observe(state: Decomposer, features: EpisodeFeatures, mask: AgentMask, returns: Returns) -> Decomposer:
    """Fold finished episodes into the running moments. One whose mask is all false changes nothing."""
    length = mask.any(axis=2).sum(axis=1)
    mean_reward = (returns / jnp.maximum(length, 1))[:, None]
    measures = (length > 0) & (state.mean_reward.count < UNIT_EPISODES)
    moments = merge(state.features, features.reshape(-1, features.shape[-1]), mask.reshape(-1))
    linear = state.linear
    if linear is not None:
        linear = add_episodes(linear, features, mask, returns, deviation(moments))
    return state._replace(
        features=moments, mean_reward=merge(state.mean_reward, mean_reward, measures), linear=linear
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
    """f(z) in units of ``reward_unit``, with the standardisation and the linear part of ``state``."""
    inputs = standardise(state.features, features) if config.standardise else features
    output = decoder(inputs)[..., 0]
    if state.linear is None:
        return output
    return output + predict(state.linear, features) / reward_unit(state, config)


def proxy(
    state: Decomposer, config: Learned, features: Float[Array, "*batch feature"]
) -> Float[Array, "*batch"]:
    """The proxy reward r̂ = f(z), in the units of the environment's reward."""
    return decode(state.decoder, state, config, features) * reward_unit(state, config)


def latent_worth(state: Decomposer | None, names: tuple[str, ...]) -> dict[str, float]:
    """Reward that one standard deviation of each latent adds by the linear part, the greatest first.

    Of an encoder that is applied to o and to o′ it is the sum of both.

    Raises:
        LareError: the method has no linear part.
    """
    if state is None or state.linear is None:
        raise LareError(
            "method: it has no linear part, which would tell what a latent is worth; use a run of lare"
        )
    values = np.asarray(state.linear.weight * deviation(state.features))
    total = values.reshape(-1, len(names)).sum(axis=0)
    return {names[index]: float(total[index]) for index in np.argsort(-np.abs(total))}


def allocate(credit: Learned, proxy: EpisodeRewards, mask: AgentMask) -> EpisodeRewards:
    """What each agent is paid: its own proxy reward, or with ``credit.agents`` "mean" that of the team's average."""
    proxy = jnp.where(mask, proxy, 0.0)
    if credit.agents == "each":
        return proxy
    mean = proxy.sum(axis=2, keepdims=True) / jnp.maximum(mask.sum(axis=2, keepdims=True), 1)
    return jnp.where(mask, mean, 0.0)


def update(
    state: Decomposer, config: Learned, window: Window, *, block: int | None = None
) -> tuple[Decomposer, Scalar]:
    """One Adam step on a window; returns the new state and the loss before the step.

    With ``block``, which must divide the number of episodes, gradients are summed over blocks of so many
    episodes: the same step, from arrays that stay in the processor's cache.
    """

    def loss(decoder: MLP, part: Window) -> Scalar:
        rewards = jnp.where(part.mask, decode(decoder, state, config, part.features), 0.0)
        mask, returns = part.mask.any(axis=2), part.returns / reward_unit(state, config)
        if config.loss == "rd":
            return full_sum_loss(rewards, mask, returns)
        return subset_loss(rewards, mask, returns, part.lengths, unbiased=config.loss == "rrd-unbiased")

    slope = jax.value_and_grad(loss)
    if block is None:
        value, gradient = slope(state.decoder, window)
    else:
        count = len(window.returns) // block
        parts = jax.tree.map(lambda leaf: leaf.reshape(count, block, *leaf.shape[1:]), window)
        add = lambda total, part: (jax.tree.map(jnp.add, total, slope(state.decoder, part)), None)  # noqa: E731
        zero = (jnp.zeros(()), jax.tree.map(jnp.zeros_like, state.decoder))
        value, gradient = jax.tree.map(lambda leaf: leaf / count, jax.lax.scan(add, zero, parts)[0])
    if config.weight_decay:
        gradient = jax.tree.map(lambda g, w: g + config.weight_decay * w, gradient, state.decoder)
    decoder, optimiser = adam(state.decoder, gradient, state.optimiser, config.learning_rate)
    return state._replace(decoder=decoder, optimiser=optimiser), value


def fixed_credit(
    rule: str, rewards: Float[Array, "time agent"], mask: Bool[Array, "time agent"]
) -> Float[Array, "time agent"]:
    """Reward of each step and agent by a reference method, from the hidden rewards of one finished episode.

    ``dense`` returns them. ``episodic`` puts their sum R on the last step, in equal parts for the agents that
    are there; ``uniform`` gives every step of every agent the same.
    """
    rewards = jnp.where(mask, rewards, 0.0)
    if rule == "dense":
        return rewards
    if rule == "episodic":
        steps = mask.any(axis=1)
        last = jnp.arange(len(rewards)) == steps.sum() - 1
        mask = mask & last[:, None]
    return jnp.where(mask, rewards.sum() / jnp.maximum(mask.sum(), 1), 0.0)
