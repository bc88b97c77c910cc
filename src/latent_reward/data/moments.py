"""Running mean and variance of a stream of rows, updated block by block."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from latent_reward.types import Scalar


class Moments(NamedTuple):
    """How many rows were seen, and the mean and the sum of squared deviations of each feature."""

    rows: Scalar
    mean: Float[Array, " feature"]
    spread: Float[Array, " feature"]


def init_moments(size: int) -> Moments:
    """Moments before the first row, for ``size`` features."""
    return Moments(jnp.zeros(()), jnp.zeros(size), jnp.zeros(size))


def merge(moments: Moments, rows: Float[Array, "row feature"], mask: Bool[Array, " row"]) -> Moments:
    """Add the rows whose mask is true, without cancellation (Chan, Golub and LeVeque 1979)."""
    here = mask[:, None]
    count = mask.sum().astype(rows.dtype)
    mean = jnp.where(here, rows, 0.0).sum(0) / jnp.maximum(count, 1.0)
    spread = (jnp.where(here, rows - mean, 0.0) ** 2).sum(0)
    total = moments.rows + count
    share = count / jnp.maximum(total, 1.0)
    delta = mean - moments.mean
    return Moments(
        total,
        moments.mean + share * delta,
        moments.spread + spread + moments.rows * share * delta**2,
    )


def standardise(moments: Moments, x: Float[Array, "*batch feature"]) -> Float[Array, "*batch feature"]:
    """Shift and scale features to mean 0 and variance 1 over the rows so far, and clip them to ±10.

    A feature that has been constant is 0, and before the first row all are.
    """
    return jnp.clip((x - moments.mean) * inverse(deviation(moments)), -10.0, 10.0)


def deviation(moments: Moments) -> Float[Array, " feature"]:
    """Standard deviation of each feature over the rows so far; 0 where it is within the rounding error of the mean."""
    variance = moments.spread / jnp.maximum(moments.rows, 1.0)
    varies = variance > 1e-11 * moments.mean**2
    return jnp.where(varies, jnp.sqrt(jnp.where(varies, variance, 1.0)), 0.0)


def inverse(scale: Float[Array, "*any"]) -> Float[Array, "*any"]:
    """1 / ``scale``, and 0 where it is 0, so that what has never varied counts for nothing."""
    return jnp.where(scale > 0, 1.0 / jnp.where(scale > 0, scale, 1.0), 0.0)
