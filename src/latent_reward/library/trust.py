"""How far to trust credit: returns of episodes that were held out, against simpler explanations of them."""

from dataclasses import dataclass

import numpy as np

from latent_reward.credit import metrics
from latent_reward.library.assign import HOLD_OUT, Setup, fitted, sums

_ENOUGH = 10  # episodes; fewer say nothing
_FORCE = "or write the rewards nevertheless with --force"
_CHANCE = 1.64  # standard errors; 5 of 100 useless fits look better than this


@dataclass(frozen=True)
class Trust:
    """How well returns of held-out episodes are explained; NaN where nothing can be said.

    Attributes:
        explained: 1 − Σ(R − Σ r̂)² / Σ(R − R̄)², R̄ the mean of the other episodes: 1 is perfect, 0 is a constant.
        by_length: the same for a straight line through return and length.
        correlation: of r̂ with the true reward over all held-out steps.
        slope: of the true reward as a straight line of r̂ there; 1 is right.
        bias: mean of r̂ less the true reward there, in its standard deviations.
        problem: why the rewards should not be used, and what to do; empty if nothing speaks against them.
    """

    explained: float
    by_length: float
    correlation: float
    slope: float
    bias: float
    problem: str


def measure(setup: Setup, updates: int, seed: int) -> Trust:
    """Hold out each fifth of the episodes in turn, fit to the others with ``updates``, and predict its returns.

    A method that learns nothing from returns, such as ``llm-reward``, is scaled to the returns of the others first. The
    references spread the return itself, and so do methods that are told it; nothing is measured then.
    """
    credit, true = setup.method.credit, setup.returns
    if credit.reference or credit.told:
        return _unknown("")
    count = len(true)
    if count > 1 and np.ptp(true) == 0:
        return _unknown(
            f"all {count} returns so far are equal: nothing to assign yet (each is {true[0]:g}); record episodes that "
            f"differ, {_FORCE}"
        )
    if count < _ENOUGH:
        return _unknown(
            f"there are only {count} episodes, and at least {_ENOUGH} are needed to tell if returns are explained; "
            f"record more, {_FORCE}"
        )
    rows = np.zeros((count, metrics.COLUMNS))
    constant, line, predicted = np.zeros(count), np.zeros(count), np.zeros(count)
    fold_of = np.arange(count) % HOLD_OUT
    for fold in range(HOLD_OUT):
        held, others = np.flatnonzero(fold_of == fold), np.flatnonzero(fold_of != fold)
        state = fitted(setup, others, updates, seed)
        rows[held] = sums(setup, state, held)
        predicted[held] = rows[held, 1]
        if not credit.learns:
            predicted[held] = metrics.line(sums(setup, state, others)[:, 1], true[others], rows[held, 1])
        constant[held] = true[others].mean()
        line[held] = metrics.line(setup.lengths[others], true[others], setup.lengths[held])
    errors = [(each - true) ** 2 for each in (predicted, constant, line)]
    explained, by_length = (1.0 - each.sum() / errors[1].sum() for each in (errors[0], errors[2]))
    known = rows[~np.isnan(rows[:, 4])]
    correlation = slope = bias = np.nan
    if len(known):
        correlation, slope, bias = (
            metrics.credit_correlation(known),
            metrics.credit_slope(known),
            metrics.credit_bias(known),
        )
    problem = _problem(explained, by_length, errors, setup.method.name)
    return Trust(float(explained), float(by_length), correlation, slope, bias, problem)


def _problem(explained: float, by_length: float, errors: list[np.ndarray], method: str) -> str:
    remedy = (
        "try another --method or another encoder, or record more episodes of policies that differ; --force writes the "
        "rewards nevertheless"
    )
    if explained <= 0 or not _better(errors[0], errors[1]):
        return (
            f"held-out returns are not explained by {method} (explained variance {explained:.2f}, no better than a "
            f"constant); {remedy}"
        )
    if explained <= by_length or not _better(errors[0], errors[2]):
        return (
            f"held-out returns are explained no better by {method} ({explained:.2f}) than by the length of the "
            f"episodes alone ({by_length:.2f}), so the rewards say nothing about single steps; {remedy}"
        )
    return ""


def _better(errors: np.ndarray, than: np.ndarray) -> bool:
    """Whether errors are smaller by more than chance, episode by episode."""
    gain = than - errors
    return bool(gain.mean() > _CHANCE * gain.std(ddof=1) / np.sqrt(len(gain)))


def _unknown(problem: str) -> Trust:
    return Trust(np.nan, np.nan, np.nan, np.nan, np.nan, problem)
