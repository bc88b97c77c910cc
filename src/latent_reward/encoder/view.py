"""The observation that an encoder is applied to: the one before a step, the one after it, or both."""

from typing import Literal

import jax.numpy as jnp

from latent_reward.encoder.encoder import Encoder
from latent_reward.types import Actions, Latents, Observations

View = Literal["current", "next", "both"]


def applies_twice(encoder: Encoder, view: View) -> bool:
    """Whether φ is applied to both o and o′: the view asks for it, and φ does not read o′ itself."""
    return view == "both" and not encoder.needs_next_observation


def latents(
    encoder: Encoder, view: View, observation: Observations, action: Actions, next_observation: Observations
) -> Latents:
    """The latents of each step under ``view``: φ(o, a), φ(o′, a), or [φ(o, a), φ(o′, a)].

    An encoder that reads the next observation itself gives φ(o, a, o′) under every view.
    """
    if encoder.needs_next_observation or view == "current":
        return encoder.encode(observation, action, next_observation)
    after = encoder.encode(next_observation, action, next_observation)
    if view == "next":
        return after
    before = encoder.encode(observation, action, next_observation)
    return jnp.concatenate([before, after], axis=-1)


def latent_size(encoder: Encoder, view: View) -> int:
    """Number of columns that :func:`latents` returns."""
    return len(encoder.latent_names) * (2 if applies_twice(encoder, view) else 1)
