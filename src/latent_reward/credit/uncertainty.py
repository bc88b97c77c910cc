"""How uncertain credit is by its own account, in one number for metrics and warnings."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Bool, Float

from latent_reward.credit.base import CreditSpec, Method
from latent_reward.credit.features import features_of
from latent_reward.data.buffer import Buffer, whole_episodes
from latent_reward.types import Scalar


def uncertainty(
    method: Method,
    state: Any,
    features: Float[Any, "episode time agent feature"],
    mask: Bool[Any, "episode time agent"],
) -> Scalar:
    """The share of the rewards' variance that the method does not know: Σσ² / (Σσ² + Σ(r̂ − mean r̂)²) over all steps.

    If the standard deviations σ are right, r̂ correlates with the true reward with √(1 − this). NaN if the method has
    no standard deviations, or if everything is 0.
    """
    deviation = method.deviation(state, features, mask)
    if deviation is None:
        return jnp.full((), jnp.nan)
    reward = method.reward(state, features, mask)
    centred = jnp.where(mask, reward - reward.sum() / jnp.maximum(mask.sum(), 1), 0.0)
    known, unknown = (centred**2).sum(), jnp.where(mask, deviation**2, 0.0).sum()
    return jnp.where(jnp.isinf(unknown), 1.0, unknown / (known + unknown))


def latest_uncertainty(method: Method, spec: CreditSpec, state: Any, buffer: Buffer) -> Scalar:
    """The :func:`uncertainty` of the newest stored episode; NaN if there is none."""
    slot = (buffer.newest_episode - 1)[None] % len(buffer.start)
    window, _ = whole_episodes(buffer, slot, spec.horizon)
    share = uncertainty(method, state, features_of(method, spec, window.rows), window.mask)
    return jnp.where(buffer.newest_episode > buffer.oldest_episode, share, jnp.nan)
