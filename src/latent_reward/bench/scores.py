"""Scores of what a method pays against what is true, each a number per seed; NaN where a score makes no sense."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Shaped

from latent_reward.bench import exact
from latent_reward.bench.fit import Fitted
from latent_reward.bench.record import REFERENCE, Recorded, behaviours
from latent_reward.bench.world import World

Score = Float[np.ndarray, " seed"]
_EQUAL = 1e-5  # of their size: float32 numbers that differ by less count as equal


@dataclass(frozen=True, eq=False)
class Case:
    """Held-out episodes of a world, and what a method pays there; arrays are ``[seed, …]``.

    Attributes:
        world: the world.
        proxy: reward of the method for each step and agent.
        truth: credit that each of them deserves.
        mask: which steps exist.
        ended: which steps ended the episode of their own.
        returns: of each episode.
        table: reward of the method for each transition.
        predicts: whether the rewards are made without the return of their own episode.
    """

    world: World
    proxy: Float[np.ndarray, "seed episode time agent"]
    truth: Float[np.ndarray, "seed episode time agent"]
    mask: Bool[np.ndarray, "seed episode time agent"]
    ended: Bool[np.ndarray, "seed episode time agent"]
    returns: Float[np.ndarray, "seed episode"]
    table: Float[np.ndarray, "seed transition agent"]
    predicts: bool


def make_case(world: World, recorded: Recorded, fitted: Fitted, predicts: bool) -> Case:
    """The part of the recorded episodes that was held out, with the rewards of a method."""
    first = recorded.mask.shape[1] - fitted.held_out.shape[1]
    played = recorded.episodes
    mask, ended, returns = (
        np.asarray(each)[:, first:] for each in (played.mask, played.terminated, played.returns)
    )
    truth = recorded.truth[:, first:]
    return Case(world, fitted.held_out, truth, mask, ended, returns.astype(float), fitted.table, predicts)


def correlation(case: Case) -> Score:
    """Pearson correlation of the rewards with the truth over all steps; 0 for equal rewards."""
    return _correlation(case.proxy, case.truth, case.mask)


def slope(case: Case) -> Score:
    """b of the line truth = a + b · reward that fits best: 1 is right; NaN for equal rewards."""
    x, y = _centred(case.proxy, case.mask), _centred(case.truth, case.mask)
    spread = _sum(x * x)
    flat = _flat(spread, case.proxy, case.mask)
    return np.where(flat, np.nan, _sum(x * y) / np.where(flat, 1.0, spread))


def bias(case: Case) -> Score:
    """Mean of reward less truth in standard deviations of the truth: 0 is right. Advantages leave the level open."""
    return _offset(case, case.mask)


def termination(case: Case) -> Score:
    """The same over the steps that ended the episode: what is not seen there, or seen too much."""
    return _offset(case, case.ended)


def agents(case: Case) -> Score:
    """Correlation of rewards with the truth within each step of a team, both less the mean of its agents."""
    if case.world.agents == 1:
        return np.full(len(case.proxy), np.nan)
    within = lambda values: values - values.mean(axis=-1, keepdims=True)  # noqa: E731
    size = np.abs(case.proxy).max(axis=(1, 2, 3), keepdims=True)
    proxy = within(case.proxy)
    proxy = np.where(np.abs(proxy) > _EQUAL * size, proxy, 0.0)
    return _correlation(proxy, within(case.truth), case.mask)


def ranking(case: Case) -> Score:
    """Kendall's τ within episodes: of two steps, how much more often they are in the right order than in the wrong one.

    Pairs with equal truth do not count; pairs with equal rewards count as neither.
    """
    found = []
    for proxy, truth, mask in zip(case.proxy, case.truth, case.mask, strict=True):
        flat = [each.reshape(len(each), -1) for each in (proxy, truth, mask)]
        right = both = 0
        signs = []
        for values in flat[:2]:
            values = values / max(np.abs(np.where(flat[2], values, 0.0)).max(), 1e-30)
            gap = values[:, :, None] - values[:, None, :]
            signs.append(np.sign(np.where(np.abs(gap) > _EQUAL, gap, 0.0)))
        pair = flat[2][:, :, None] & flat[2][:, None, :] & (signs[1] != 0)
        right, both = (signs[0] * signs[1])[pair].sum(), pair.sum()
        found.append(right / both if both else np.nan)
    return np.array(found)


def gradient(case: Case) -> Score:
    """Cosine of the policy gradient that the rewards imply and the true one, at a policy little better than random."""
    policy = behaviours(case.world)[REFERENCE]
    true = exact.true_gradient(case.world, policy).ravel()
    size = np.abs(case.table).max(axis=(1, 2), keepdims=True)
    implied = exact.gradient(case.world, policy, case.table / np.where(size > 0, size, 1.0))
    implied = implied.reshape(len(size), -1)
    length = np.linalg.norm(implied, axis=1)
    small = length <= _EQUAL * case.world.horizon
    return np.where(small, 0.0, implied @ true / np.where(small, 1.0, length) / np.linalg.norm(true))


def explained(case: Case) -> Score:
    """1 − Var(R − Σ r̂)/Var(R) of held-out returns; NaN where rewards are made of them."""
    if not case.predicts:
        return np.full(len(case.proxy), np.nan)
    rest = case.returns - np.where(case.mask, case.proxy, 0.0).sum(axis=(2, 3))
    return 1.0 - rest.var(axis=1) / case.returns.var(axis=1)


def planned(case: Case) -> Score:
    """Return of the plan that is best for the rewards: 1 is the best there is, 0 that of random actions."""
    world = case.world
    best = exact.expected_return(world, exact.plan(world, world.reward.sum(axis=1)[None]))
    random = exact.expected_return(world, exact.plan(world, np.zeros((1, len(world.source)))))
    reached = exact.expected_return(world, exact.plan(world, case.table.sum(axis=-1)))
    return (reached - random) / (best - random)


SCORES: dict[str, Callable[[Case], Score]] = {
    "correlation": correlation,
    "slope": slope,
    "bias": bias,
    "termination": termination,
    "agents": agents,
    "ranking": ranking,
    "gradient": gradient,
    "explained": explained,
    "planned": planned,
}
"""Every score by its name."""


def _sum(values: Shaped[np.ndarray, "seed episode time agent"]) -> Shaped[np.ndarray, " seed"]:
    return values.sum(axis=(1, 2, 3))


def _centred(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Less their mean over all steps of a seed; 0 outside the mask."""
    mean = _sum(np.where(mask, values, 0.0)) / _sum(mask)
    return np.where(mask, values - mean[:, None, None, None], 0.0)


def _flat(spread: Score, values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Whether values differ by rounding only; ``spread`` is the sum of their centred squares."""
    return spread <= _EQUAL**2 * _sum(np.where(mask, values, 0.0) ** 2)


def _correlation(proxy: np.ndarray, truth: np.ndarray, mask: np.ndarray) -> Score:
    x, y = _centred(proxy, mask), _centred(truth, mask)
    x_spread, y_spread = _sum(x * x), _sum(y * y)
    flat = _flat(x_spread, proxy, mask)
    return np.where(flat, 0.0, _sum(x * y) / np.sqrt(np.where(flat, 1.0, x_spread) * y_spread))


def _offset(case: Case, mask: np.ndarray) -> Score:
    count = _sum(mask)
    if case.world.truth != "reward":
        return np.full(len(count), np.nan)
    unit = np.sqrt(_sum(_centred(case.truth, case.mask) ** 2) / _sum(case.mask))
    off = _sum(np.where(mask, case.proxy - case.truth, 0.0)) / np.maximum(count, 1)
    return np.where(count > 0, off / unit, np.nan)
