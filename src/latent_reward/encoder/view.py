"""Where an encoder looks: at the observation before a step, after it, or at both."""

from typing import Literal

import jax
import jax.numpy as jnp

from latent_reward.encoder.encoder import Encoder
from latent_reward.types import Actions, Latents, Observations

View = Literal["current", "next", "both"]


def applies_twice(encoder: Encoder, view: View) -> bool:
    """Whether φ is applied to o and to o′: the view asks for both, and φ does not read o′ by itself."""
    return view == "both" and not encoder.needs_next_observation


def latent_size(encoder: Encoder, view: View) -> int:
    """Numbers per step that :func:`latents` gives."""
    return len(encoder.latent_names) * (2 if applies_twice(encoder, view) else 1)


def latents(
    encoder: Encoder, view: View, observation: Observations, action: Actions, next_observation: Observations
) -> Latents | jax.Array:
    """φ of each step, with the observation of the view in the place of o.

    An encoder whose source names ``next_observation`` always gets o and o′ as they are. For ``both`` the columns of o
    come first, then those of o′.
    """
    if encoder.needs_next_observation or view == "current":
        return encoder.encode(observation, action, next_observation)
    after = encoder.encode(next_observation, action, next_observation)
    if view == "next":
        return after
    return jnp.concatenate([encoder.encode(observation, action, next_observation), after], axis=-1)
