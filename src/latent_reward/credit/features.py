"""What a decoder reads of a step: the encoder's latents, or the step itself."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from latent_reward.credit.methods import Credit, Direct, Learned
from latent_reward.encoder.encoder import Encoder
from latent_reward.types import Actions, Latents, Observations, Rows


def raw_features(
    observation: Float[Array, "*batch observation"],
    action: Float[Array, "*batch action"],
    next_observation: Float[Array, "*batch observation"],
) -> Float[Array, "*batch feature"]:
    """(o, a, o − o′), what return decomposition without latents reads (Ren et al. 2022)."""
    return jnp.concatenate([observation, action, observation - next_observation], axis=-1)


def reads_latents(credit: Credit) -> bool:
    """Whether a method needs an encoder."""
    return isinstance(credit, Direct) or (isinstance(credit, Learned) and credit.features == "latent")


def looks_twice(credit: Learned, encoder: Encoder) -> bool:
    """Whether φ is applied to o and to o′: asked for, and not already done by φ itself."""
    return credit.view == "both" and not encoder.needs_next_observation


def encode(
    credit: Learned | Direct,
    encoder: Encoder,
    observation: Observations,
    action: Actions,
    next_observation: Observations,
) -> Latents:
    """φ of each step, with the observation that ``credit.view`` puts before it."""
    if encoder.needs_next_observation or credit.view == "current":
        return encoder.encode(observation, action, next_observation)
    after = encoder.encode(next_observation, action, next_observation)
    if credit.view == "next":
        return after
    return jnp.concatenate([encoder.encode(observation, action, next_observation), after], axis=-1)


def step_features(
    credit: Learned | Direct,
    encoder: Encoder | None,
    observation: Observations,
    action: Actions,
    next_observation: Observations,
) -> Rows:
    """What the decoder reads of each step, or the one latent that is the reward.

    A discrete action comes as one number per choice, 1 for the chosen.
    """
    match credit:
        case Learned(features="raw"):
            return raw_features(observation, action, next_observation)
        case Learned(features="next"):
            return next_observation
    assert encoder is not None
    return encode(credit, encoder, observation, action, next_observation)


def feature_size(credit: Learned, encoder: Encoder | None, observation_size: int, action_size: int) -> int:
    """Numbers per step that ``step_features`` gives."""
    match credit.features:
        case "latent":
            assert encoder is not None
            return len(encoder.latent_names) * (2 if looks_twice(credit, encoder) else 1)
        case "raw":
            return 2 * observation_size + action_size
        case "next":
            return observation_size
