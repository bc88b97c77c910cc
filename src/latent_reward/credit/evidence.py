"""Least squares of returns on groups of columns, each group with a penalty of its own, chosen by the evidence.

If rewards were r = Σ_g w_g·x_g + b, every episode of L steps would be one linear equation,
R/L = Σ_g w_g·(Σ x_g)/L + b. The weights of group g have the prior N(0, σ²ρ_g), in units of each column's standard
deviation over single steps and of the size of the group's equations; R/L has errors N(0, σ²). With X_g the centred
equations of the group in these units and y the centred R/L, y ~ N(0, σ²A) with A = I + Σ_g ρ_g X_g X_gᵀ. The ρ_g are
the most likely ones (MacKay 1992, "Bayesian interpolation") under the prior p(ρ) ∝ (1 + ρ)^−½, without which a dozen
returns are explained by groups that have nothing to do with them. As a fixed point, each ρ_g is multiplied by
yᵀA⁻¹X_gX_gᵀA⁻¹y / σ²(tr A⁻¹X_gX_gᵀ + 1/(1 + ρ_g)), which is 1 at a maximum. A group that the returns do not need is
switched off by itself: its ρ_g goes to the smallest one allowed. The weights are w_g = ρ_g X_gᵀA⁻¹y, and their
posterior has the covariance σ²(D − D Xᵀ A⁻¹ X D) with the ρ_g of all columns on the diagonal of D.

A model that is a little wrong explains a few returns exactly with effects that do not exist, of whatever varies least
between episodes, such as actions. So N equations are explained to within 3/N of their size by columns that nobody
chose (ρ_g ≤ N²/10), and exactly only by those that somebody did.

Solutions that explain the returns equally well follow one another as returns come in, and an agent cannot follow
credit that jumps. So the weights are a mean of this solution and the weights before it, which have a share of
½(n/N)² if they knew n of the N equations.

There are as many unknowns as equations, of which the newest ``EQUATIONS`` are kept.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from latent_reward.data.moments import inverse
from latent_reward.types import AgentMask, Returns, Scalar

EQUATIONS = 256  # the newest episodes that weights are solved from
_FEW = 64  # while there are at most so many, the matrices have this size, and ρ is sought from two starts
_SWEEPS = 10  # of the fixed point at most; it goes on with the next solution
_SETTLED = 0.1  # of −2 log-likelihood per unit of log ρ: less ends the sweeps
_LEAST, _MOST = 1e-8, 1e4  # ρ of a group that is switched off, and the largest that single precision can take
_KNOWN = 0.1  # ρ of a group that is not exact is at most so much times the square of the number of equations
_OLD = 0.5  # share of the weights before, had they known as many equations
_DOUBT = 1.0  # −2 log of the prior of ρ is so many times log(1 + ρ)
_BACK = 1e-2  # the least ρ that goes on from the last solution, so that a group can come back
_HIGH = 1e2  # ρ of a second start: with few equations, what explains them all is often not found from below


class Columns(NamedTuple):
    """A group of columns: how many there are, and whether few equations may be explained exactly by them."""

    number: int
    exact: bool = False


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
        solved: how many there were when they were solved last.
    """

    sums: Float[Array, "equation column"]
    pairs: Float[Array, " equation"]
    target: Float[Array, " equation"]
    weight: Float[Array, " column"]
    bias: Scalar
    prior: Float[Array, " group"]
    episodes: Scalar
    solved: Scalar


def init_equations(groups: tuple[Columns, ...]) -> Equations:
    """No equations yet; every weight is 0."""
    zero, columns = jnp.zeros(()), sum(group.number for group in groups)
    return Equations(
        jnp.zeros((EQUATIONS, columns)),
        jnp.zeros(EQUATIONS),
        jnp.zeros(EQUATIONS),
        jnp.zeros(columns),
        zero,
        jnp.ones(len(groups)),
        zero,
        zero,
    )


def add_equations(
    equations: Equations,
    columns: Sequence[Float[Array, "episode time agent _"]],
    mask: AgentMask,
    returns: Returns,
) -> Equations:
    """Store one equation per episode over the oldest ones. An episode whose mask is all false adds nothing.

    ``columns`` has one array for each group, so that they need not be copied into one. They must be finite even at
    steps that the mask leaves out.
    """
    length = mask.any(axis=2).sum(axis=1)
    exists = length > 0
    scale = 1.0 / jnp.maximum(length, 1)
    there = mask.astype(jnp.float32)  # a product sums several times as fast as a sum over two axes
    parts = [jnp.einsum("eta,etac->ec", there, part) for part in columns]
    summed = jnp.concatenate(parts, axis=-1) * scale[:, None]
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


class System(NamedTuple):
    """The equations in the units in which they are solved: y ~ N(0, σ²(I + Σ_g ρ_g K_g)), K_g = X_g X_gᵀ.

    Attributes:
        rows: X of all groups.
        kernels: K of each group.
        y: centred R/L in units of ``size``.
        size: root mean square of centred R/L.
        scale: what a weight is multiplied by to be in units of 1 / columns.
        number: equations there are.
    """

    rows: Float[Array, "equation column"]
    kernels: Float[Array, "group equation equation"]
    y: Float[Array, " equation"]
    size: Scalar
    scale: Float[Array, " column"]
    number: Scalar


def solve(
    equations: Equations,
    groups: tuple[Columns, ...],
    mean: Float[Array, " column"],
    spread: Float[Array, " column"],
    due: Bool[Array, ""],
) -> Equations:
    """The weights of the most likely priors, by a fixed point that goes on from the last ones.

    Args:
        equations: what is known.
        groups: the groups, in the order of the columns.
        mean: of each column over single steps.
        spread: its unit, as a rule its standard deviation; a column with 0 gets no weight.
        due: whether there is anything to do.
    """
    few = equations.episodes <= _FEW
    for rows, now in ((_FEW, few), (EQUATIONS, ~few)):
        equations = jax.lax.fori_loop(
            0,
            (due & now).astype(int),
            # A loop of at most one turn: with several seeds, both sides of a branch would run. Without the barrier the
            # compiler moves what does not change out of the loop, and it would run even if nothing is due.
            lambda _, known, rows=rows: _solve(
                jax.lax.optimization_barrier(known), groups, mean, spread, rows
            ),
            equations,
        )
    return equations


def _solve(
    equations: Equations,
    groups: tuple[Columns, ...],
    mean: Float[Array, " column"],
    spread: Float[Array, " column"],
    rows: int,
) -> Equations:
    """:func:`solve` on the first ``rows`` equations."""
    system = make_system(equations, groups, mean, spread, rows)
    climbs = [(jnp.maximum(equations.prior, _BACK), _DOUBT, False)]
    if rows == _FEW:
        climbs += [
            (jnp.full(len(groups), _HIGH), 0.0, False),  # at once, the doubt would hide the maximum
            (jnp.zeros(len(groups)), _DOUBT, True),  # goes on from there
        ]

    def climb(before, chosen):
        start, doubt, goes_on = chosen
        prior = _climb(system, groups, jnp.where(goes_on, before, start), doubt)
        lower, dual = _factor(system, prior)
        return prior, (prior, dual, _surprise(system, lower, dual) + _DOUBT * jnp.log1p(prior).sum())

    chosen = tuple(jnp.stack([jnp.asarray(each) for each in column]) for column in zip(*climbs, strict=True))
    _, (priors, duals, surprises) = jax.lax.scan(climb, jnp.zeros(len(groups)), chosen)
    best = jnp.where(surprises[0] <= surprises[-1], 0, len(climbs) - 1)
    prior, dual = priors[best], duals[best]
    weight = system.size * system.scale * _by_column(prior, groups) * (system.rows.T @ dual)
    weight = jnp.where((equations.episodes > 1) & (system.size > 0), weight, 0.0)
    old = _OLD * (equations.solved / jnp.maximum(equations.episodes, 1.0)) ** 2
    weight = old * equations.weight + (1.0 - old) * weight
    exists = jnp.arange(EQUATIONS) < equations.episodes
    level = jnp.where(exists, equations.target - equations.sums @ weight, 0.0).sum()
    bias = level / jnp.maximum(jnp.where(exists, equations.pairs, 0.0).sum(), 1e-12)
    return equations._replace(weight=weight, bias=bias, prior=prior, solved=equations.episodes)


def _climb(
    system: System, groups: tuple[Columns, ...], start: Float[Array, " group"], doubt: Scalar
) -> Float[Array, " group"]:
    """The fixed point from ``start`` on, until no ρ matters any more or for a limited number of sweeps.

    The prior of ρ is (1 + ρ)^(−``doubt``/2).
    """
    flat = system.kernels.reshape(len(start), -1)
    limit = jnp.clip(_KNOWN * system.number**2, 1.0, _MOST)
    most = jnp.where(np.array([group.exact for group in groups]), _MOST, limit)

    def sweep(carry):
        number, prior, _ = carry
        lower, dual = _factor(system, prior)
        precision = jax.scipy.linalg.cho_solve((lower, True), jnp.eye(len(system.y)))
        explained = ((system.kernels @ dual) @ dual) / _noise(system, dual)
        expected = flat @ precision.reshape(-1) + doubt / (1.0 + prior)
        after = jnp.clip(prior * (explained + 1e-9) / (expected + 1e-9), _LEAST, most)
        moves = (after != prior) & (jnp.abs(prior * (explained - expected)) > _SETTLED)
        return number + 1, after, moves.any()

    def goes_on(carry):
        number, _, moves = carry
        return moves & (number < _SWEEPS)

    return jax.lax.while_loop(goes_on, sweep, (0, start, jnp.array(True)))[1]


def _noise(system: System, dual: Float[Array, " equation"]) -> Scalar:
    """σ² at its most likely, in units of ``size``²; one of the equations has gone into the bias."""
    return jnp.maximum(system.y @ dual / jnp.maximum(system.number - 1.0, 1.0), 1e-12)


def _surprise(
    system: System, lower: Float[Array, "equation equation"], dual: Float[Array, " equation"]
) -> Scalar:
    """−2 log-likelihood at the most likely σ², but for constants."""
    return (system.number - 1.0) * jnp.log(_noise(system, dual)) + 2.0 * jnp.log(jnp.diagonal(lower)).sum()


def make_system(
    equations: Equations,
    groups: tuple[Columns, ...],
    mean: Float[Array, " column"],
    spread: Float[Array, " column"],
    size: int = EQUATIONS,
) -> System:
    """The first ``size`` equations in the units in which they are solved; other arguments as for :func:`solve`."""
    exists = jnp.arange(size) < equations.episodes
    count = jnp.maximum(exists.sum(), 1)
    unit = inverse(spread)
    rows = _centred((equations.sums - equations.pairs[:, None] * mean)[:size] * unit, exists, count)
    target = _centred(equations.target[:size, None], exists, count)[:, 0]
    root = jnp.sqrt((target**2).sum() / count)
    ends = np.cumsum([group.number for group in groups])[:-1]
    sizes = jnp.stack([jnp.sqrt((part**2).sum() / count) for part in jnp.split(rows, ends, axis=1)])
    scale = _by_column(1.0 / jnp.where(sizes > 0, sizes, 1.0), groups)
    rows = rows * scale
    kernels = jnp.stack([part @ part.T for part in jnp.split(rows, ends, axis=1)])
    return System(rows, kernels, target / jnp.where(root > 0, root, 1.0), root, unit * scale, count)


def _factor(
    system: System, prior: Float[Array, " group"]
) -> tuple[Float[Array, "equation equation"], Float[Array, " equation"]]:
    """The Cholesky factor of A, and A⁻¹y."""
    matrix = jnp.eye(len(system.y)) + jnp.tensordot(prior, system.kernels, 1)
    lower = jnp.linalg.cholesky(matrix)
    return lower, jax.scipy.linalg.cho_solve((lower, True), system.y)


def _by_column(values: Float[Array, " group"], groups: tuple[Columns, ...]) -> Float[Array, " column"]:
    """The value of each column's group."""
    numbers = np.array([group.number for group in groups])
    return jnp.repeat(values, numbers, total_repeat_length=sum(numbers))


def _centred(
    rows: Float[Array, "equation column"], exists: Array, count: Array
) -> Float[Array, "equation column"]:
    """Rows less their mean; 0 where there is none."""
    rows = jnp.where(exists[:, None], rows, 0.0)
    return jnp.where(exists[:, None], rows - rows.sum(axis=0) / count, 0.0)


def posterior_deviation(
    equations: Equations,
    groups: tuple[Columns, ...],
    mean: Float[Array, " column"],
    spread: Float[Array, " column"],
    columns: Float[Array, "*batch column"],
) -> Float[Array, "*batch"]:
    """The standard deviation of w·x + b for each x of ``columns``; infinite before there are two equations.

    With v the distance of x from the mean of all steps in the equations, in their units, its square is
    σ²(vᵀDv − vᵀDXᵀA⁻¹XDv), and σ²/N for the level. The errors of R/L, of size σ, are not in it.
    """
    system = make_system(equations, groups, mean, spread)
    lower, dual = _factor(system, equations.prior)
    exists = jnp.arange(EQUATIONS) < equations.episodes
    pairs = jnp.maximum(jnp.where(exists, equations.pairs, 0.0).sum(), 1e-12)
    middle = jnp.where(exists[:, None], equations.sums, 0.0).sum(axis=0) / pairs
    distance = (columns - middle) * system.scale
    prior = _by_column(equations.prior, groups)
    seen = (distance * prior) @ system.rows.T
    known = jax.scipy.linalg.solve_triangular(lower, seen.reshape(-1, EQUATIONS).T, lower=True)
    known = (known**2).sum(axis=0).reshape(seen.shape[:-1])
    unknown = jnp.maximum((distance**2) @ prior - known, 0.0)
    level = system.number / pairs**2
    found = system.size * jnp.sqrt(_noise(system, dual) * (unknown + level))
    return jnp.where(equations.episodes > 1, found, jnp.inf)
