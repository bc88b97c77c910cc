"""The best linear decoder, solved instead of learned: Bayesian least squares of returns on summed features.

If rewards were r = w·z + b, every episode of L steps would be one linear equation,
R/L = w·(Σ z)/L + b·n/L, sums over its n pairs of step and agent. A dozen episodes determine half a dozen weights,
where gradient descent on the same loss needs many times as many: sums of episodes that look alike point in nearly
the same direction, and descent is slow along all others.

How far to trust them follows from the episodes themselves. With weights w_j ~ N(0, τ²/s_j²), s_j the standard
deviation of feature j in single steps, and errors of R/L ~ N(0, σ²), the ratio λ = σ²/τ² is chosen by the likelihood
of the returns (MacKay 1992, "Bayesian interpolation"): the largest λ that is nearly as likely as the best one. Where no
linear function explains the returns, or there are too few of them, λ is large and w near 0.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from latent_reward.types import AgentMask, EpisodeFeatures, Returns, Scalar

_PENALTIES = np.geomspace(1e-6, 1e4, 41, dtype=np.float32)  # λ is chosen among these
# λ is the largest penalty within 2 of the minimum −2 log-likelihood. With two returns every penalty is.
_TOLERANCE = 2.0


class Linear(NamedTuple):
    """Weights and bias, and the triangular QR factor of all equations so far.

    The columns of ``factor`` are n/L, (Σ z)/L and R/L. Its rows say all that the equations say, in as many rows as
    columns, and rounding hurts it less than sums of products, which square the condition number.
    """

    weight: Float[Array, " feature"]
    bias: Scalar
    factor: Float[Array, "column column"]
    episodes: Scalar


def init_linear(size: int) -> Linear:
    """No equations yet; every weight is 0."""
    zero = jnp.zeros(())
    return Linear(jnp.zeros(size), zero, jnp.zeros((size + 2, size + 2)), zero)


def predict(linear: Linear, features: Float[Array, "*batch feature"]) -> Float[Array, "*batch"]:
    """w·z + b, in the units of the environment's reward."""
    return features @ linear.weight + linear.bias


def add_episodes(
    linear: Linear,
    features: EpisodeFeatures,
    mask: AgentMask,
    returns: Returns,
    spread: Float[Array, " feature"],
) -> Linear:
    """Add one equation per episode and solve all of them again. An episode whose mask is all false adds nothing.

    Args:
        linear: the equations so far.
        features: z of each step and agent.
        mask: which of them exist.
        returns: R of each episode.
        spread: s, the standard deviation of each feature over single steps; a feature with 0 gets no weight.
    """
    length = mask.any(axis=2).sum(axis=1)
    exists = length > 0
    summed = jnp.where(mask[..., None], features, 0.0).sum(axis=(1, 2))
    rows = jnp.column_stack([mask.sum(axis=(1, 2)), summed, returns]) / jnp.maximum(length, 1)[:, None]
    rows = jnp.where(exists[:, None], rows, 0.0)
    factor = jnp.linalg.qr(jnp.concatenate([linear.factor, rows]), mode="r")
    episodes = linear.episodes + exists.sum()
    weight, bias = solve(factor, episodes, spread)
    return Linear(weight, bias, factor, episodes)


def solve(
    factor: Float[Array, "column column"], episodes: Scalar, spread: Float[Array, " feature"]
) -> tuple[Float[Array, " feature"], Scalar]:
    """Weights and bias at the largest λ within ``_TOLERANCE`` of the best; the bias is not penalised.

    Below its first row the factor belongs to the equations without the bias, so that the weights are solved there,
    in units of ``spread``: X = U diag(d) Vᵀ, c = Uᵀy, w = V diag(d/(d² + λ)) c. Minus twice the logarithm of the
    likelihood, σ² at its best, is m log(e + Σ c²λ/(d² + λ)) + Σ log(1 + d²/λ), with e the squared rest that no weights
    explain and m one less than the number of equations.
    """
    scale = jnp.where(spread > 0, 1.0 / jnp.maximum(spread, 1e-12), 0.0)
    left, d, right = jnp.linalg.svd(factor[1:-1, 1:-1] * scale)
    c = left.T @ factor[1:-1, -1]
    size = jnp.abs(factor[:, -1]).max()
    rest = factor[-1, -1] ** 2 + (1e-6 * size) ** 2  # what float32 cannot tell from 0
    freedom = jnp.maximum(episodes - 1.0, 1.0)
    shrunk = _PENALTIES[:, None] / (d**2 + _PENALTIES[:, None])
    surprise = freedom * jnp.log(rest + (c**2 * shrunk).sum(axis=1) + 1e-30) - jnp.log(shrunk).sum(axis=1)
    penalty = jnp.where(surprise <= surprise.min() + _TOLERANCE, _PENALTIES, 0.0).max()
    weight = (right.T @ (d / (d**2 + penalty) * c)) * scale
    weight = jnp.where(episodes > 1, weight, 0.0)
    share = factor[0, 0]
    bias = (factor[0, -1] - factor[0, 1:-1] @ weight) / jnp.where(share == 0, 1.0, share)
    return weight, bias
