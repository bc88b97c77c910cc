"""Least squares of returns on groups of columns, each group with a penalty of its own, chosen by the evidence.

If rewards were r = Σ_g w_g·x_g + b, every episode of L steps would be one linear equation,
R/L = Σ_g w_g·(Σ x_g)/L + b. The weights of group g have the prior N(0, σ²ρ_g), in units of each column's standard
deviation over single steps and of the size of the group's equations; R/L has errors N(0, σ²). With X_g the centred
equations of the group in these units and y the centred R/L, y ~ N(0, σ²A) with A = I + Σ_g ρ_g X_g X_gᵀ. The ρ_g are
the most likely ones (MacKay 1992, "Bayesian interpolation"). As a fixed point, each ρ_g is multiplied by
yᵀA⁻¹X_gX_gᵀA⁻¹y / (σ² tr A⁻¹X_gX_gᵀ), which is 1 at a maximum. A group that the returns do not need is switched off by
itself: its ρ_g goes to the smallest one allowed. The weights are w_g = ρ_g X_gᵀA⁻¹y.

There are as many unknowns as equations, of which the newest ``EQUATIONS`` are kept.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from latent_reward.types import AgentMask, EpisodeFeatures, Returns, Scalar

EQUATIONS = 128  # the newest episodes that weights are solved from
_SWEEPS = 20  # of the fixed point, from the last solution on
_LEAST, _MOST = 1e-8, 1e4  # ρ of a group that is switched off, and the largest that single precision can take
_RESTART = 1e-2  # the least ρ that a solution starts from


class Equations(NamedTuple):
    """The newest equations in a ring, and the solution; ``episodes`` counts all there ever were.

    Attributes:
        sums: (Σ x)/L of each column.
        pairs: n/L, the number of agents at a step.
        target: R/L.
        weight: w, in the environment's units.
        bias: b.
        prior: ρ of each group.
        episodes: equations so far.
    """

    sums: Float[Array, "equation column"]
    pairs: Float[Array, " equation"]
    target: Float[Array, " equation"]
    weight: Float[Array, " column"]
    bias: Scalar
    prior: Float[Array, " group"]
    episodes: Scalar


def init_equations(groups: tuple[int, ...]) -> Equations:
    """No equations yet; every weight is 0. ``groups`` has the number of columns of each group."""
    zero, columns = jnp.zeros(()), sum(groups)
    return Equations(
        jnp.zeros((EQUATIONS, columns)),
        jnp.zeros(EQUATIONS),
        jnp.zeros(EQUATIONS),
        jnp.zeros(columns),
        zero,
        jnp.ones(len(groups)),
        zero,
    )


def add_equations(
    equations: Equations, columns: EpisodeFeatures, mask: AgentMask, returns: Returns
) -> Equations:
    """Store one equation per episode over the oldest ones. An episode whose mask is all false adds nothing."""
    length = mask.any(axis=2).sum(axis=1)
    exists = length > 0
    scale = 1.0 / jnp.maximum(length, 1)
    summed = jnp.where(mask[..., None], columns, 0.0).sum(axis=(1, 2)) * scale[:, None]
    order = equations.episodes.astype(int) + jnp.cumsum(exists) - 1
    newest = order >= order[-1] + 1 - EQUATIONS  # of more episodes than fit, the last ones
    place = jnp.where(exists & newest, order % EQUATIONS, EQUATIONS)
    write = lambda array, values: array.at[place].set(values, mode="drop")  # noqa: E731
    return equations._replace(
        sums=write(equations.sums, summed),
        pairs=write(equations.pairs, mask.sum(axis=(1, 2)) * scale),
        target=write(equations.target, returns * scale),
        episodes=equations.episodes + exists.sum(),
    )


def solve(
    equations: Equations,
    groups: tuple[int, ...],
    mean: Float[Array, " column"],
    spread: Float[Array, " column"],
) -> Equations:
    """The weights of the most likely priors, by a fixed point that goes on from the last ones.

    Args:
        equations: what is known.
        groups: columns of each group, in their order.
        mean: of each column over single steps.
        spread: its standard deviation; a column with 0 gets no weight.
    """
    exists = jnp.arange(EQUATIONS) < equations.episodes
    count = jnp.maximum(exists.sum(), 1)
    unit = jnp.where(spread > 0, 1.0 / jnp.maximum(spread, 1e-30), 0.0)
    rows = (equations.sums - equations.pairs[:, None] * mean) * unit
    rows = _centred(rows, exists, count)
    target = _centred(equations.target[:, None], exists, count)[:, 0]
    size = jnp.sqrt((target**2).sum() / count)
    y = target / jnp.where(size > 0, size, 1.0)
    parts = jnp.split(rows, np.cumsum(groups)[:-1], axis=1)
    sizes = [(part**2).sum() / count for part in parts]
    parts = [part / jnp.sqrt(jnp.where(size > 0, size, 1.0)) for part, size in zip(parts, sizes, strict=True)]
    kernels = jnp.stack([part @ part.T for part in parts])
    freedom = jnp.maximum(count - 1.0, 1.0)

    def factor(prior):
        matrix = jnp.eye(EQUATIONS) + jnp.tensordot(prior, kernels, 1)
        lower = jnp.linalg.cholesky(matrix)
        return lower, jax.scipy.linalg.cho_solve((lower, True), y)

    def sweep(_, prior):
        lower, dual = factor(prior)
        inverse = jax.scipy.linalg.cho_solve((lower, True), jnp.eye(EQUATIONS))
        explained = jnp.einsum("i,gij,j->g", dual, kernels, dual) / jnp.maximum(y @ dual / freedom, 1e-12)
        expected = jnp.einsum("ij,gij->g", inverse, kernels)
        return jnp.clip(prior * (explained + 1e-9) / (expected + 1e-9), _LEAST, _MOST)

    # from a floor, since a group that was switched off would take long to come back
    prior = jax.lax.fori_loop(0, _SWEEPS, sweep, jnp.maximum(equations.prior, _RESTART))
    _, dual = factor(prior)
    scales = [1.0 / jnp.sqrt(jnp.where(each > 0, each, 1.0)) for each in sizes]
    solved = [p * s * (part.T @ dual) for p, s, part in zip(prior, scales, parts, strict=True)]
    weight = size * unit * jnp.concatenate(solved)
    weight = jnp.where((equations.episodes > 1) & (size > 0), weight, 0.0)
    level = jnp.where(exists, equations.target - equations.sums @ weight, 0.0).sum()
    bias = level / jnp.maximum(jnp.where(exists, equations.pairs, 0.0).sum(), 1e-12)
    return equations._replace(weight=weight, bias=bias, prior=prior)


def _centred(
    rows: Float[Array, "equation column"], exists: Array, count: Array
) -> Float[Array, "equation column"]:
    """Rows less their mean; 0 where there is none."""
    rows = jnp.where(exists[:, None], rows, 0.0)
    return jnp.where(exists[:, None], rows - rows.sum(axis=0) / count, 0.0)
