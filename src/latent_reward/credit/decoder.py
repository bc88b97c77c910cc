"""What all fitted networks share: their state, the data of an update, running moments and steps of Adam."""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int

from latent_reward.credit.base import CreditSpec, Method
from latent_reward.credit.features import features_of
from latent_reward.data.buffer import Buffer, sample_window
from latent_reward.data.episodes import Episodes
from latent_reward.data.moments import Moments, init_moments, merge, standardise
from latent_reward.data.unit import init_unit, measure_unit, unit_of
from latent_reward.optimisers import adam, init_adam
from latent_reward.types import AgentMask, EpisodeFeatures, Key, Lengths, Returns, Scalar

Carry = TypeVar("Carry")


class Decoder(NamedTuple):
    """State of a fitted network: network and optimiser, and the moments of its inputs and targets."""

    network: Any
    optimiser: optax.OptState
    features: Moments
    mean_reward: Moments


class Batch(NamedTuple):
    """The data of one update: steps ``[episode, step, agent, feature]``, and the returns of whole episodes."""

    features: EpisodeFeatures
    mask: AgentMask
    returns: Returns
    lengths: Lengths


def init_decoder(network: Any, size: int) -> Decoder:
    """The state before the first episode of a network that reads ``size`` features of a step."""
    return Decoder(network, init_adam(network), init_moments(size), init_unit())


def observe(state: Decoder, features: EpisodeFeatures, episodes: Episodes) -> Decoder:
    """Fold finished episodes into the running moments."""
    rows, mask = features.reshape(-1, features.shape[-1]), episodes.mask.reshape(-1)
    return state._replace(
        features=merge(state.features, rows, mask),
        mean_reward=measure_unit(state.mean_reward, episodes),
    )


def draw_batch(
    method: Method, spec: CreditSpec, key: Key, buffer: Buffer, *, episodes: int, subset: int | None
) -> Batch:
    """Stored episodes at random, whole or a random subset of the steps of each."""
    window = sample_window(buffer, key, episodes=episodes, subset=subset, horizon=spec.horizon)
    return Batch(features_of(method, spec, window.rows), window.mask, window.returns, window.lengths)


def inputs(
    state: Decoder, features: Float[Array, "*batch feature"], mask: Bool[Array, "*batch"]
) -> Float[Array, "*batch feature"]:
    """Features in units of their standard deviation, and 0 where the mask is false."""
    return jnp.where(mask[..., None], standardise(state.features, features), 0.0)


def unit(state: Decoder) -> Scalar:
    """The reward that one unit of the network's output stands for."""
    return unit_of(state.mean_reward)


def descend(state: Decoder, loss: Callable[[Any], Scalar], rate: float) -> tuple[Decoder, Scalar]:
    """One step of Adam down ``loss``, a function of the network, and its value before the step."""
    value, gradient = jax.value_and_grad(loss)(state.network)
    network, optimiser = adam(state.network, gradient, state.optimiser, rate)
    return state._replace(network=network, optimiser=optimiser), value


def every(period: int, number: Int[Array, ""], turn: Callable[[Carry], Carry], carry: Carry) -> Carry:
    """``turn`` of the carry if ``number`` is a multiple of ``period``, and otherwise the carry as it is.

    It is a loop of at most one turn. In contrast to a branch, it costs nothing when it is not due, for several seeds
    at once, too.
    """
    if period == 1:
        return turn(carry)
    due = (number % period == 0).astype(jnp.int32)
    return jax.lax.fori_loop(0, due, lambda _, each: turn(each), carry)


def period_of(steps: int, batch_steps: int) -> int:
    """In how many updates so many steps are read once, if ``batch_steps`` are to be read per update on average."""
    return max(1, -(-steps // batch_steps))
