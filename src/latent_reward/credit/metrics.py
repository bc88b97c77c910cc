"""How well credit explains what was paid, measured on episodes before anything is fitted to them.

Each episode is summed up in one row of ``Sums``; a metric is a function of the rows of the last episodes. To add one,
write the function and give it a line in ``METRICS``: it is then logged and listed with the others.

Nothing here depends on the unit of the reward: every threshold is relative to the numbers that it judges.
"""

from collections.abc import Callable, Iterator, Mapping
from types import ModuleType
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

Sums = Float[np.ndarray, "_ 6"]
"""Of each episode: steps (of a team those of every agent), Σp, Σr, Σp², Σr², Σpr of proxy p and true reward r."""

COLUMNS = 6
DOCUMENT = "docs/what_returns_tell.md"
_SOME_EPISODES = 5  # enough to call returns equal
_ENOUGH_EPISODES = 10  # enough to judge a prediction of them
_ROUNDING = 1e-6  # sums of float32 numbers differ by this part without being different
_FLAT = 1e-3  # a standard deviation of less than this part of the root mean square is none
_LITTLE = 0.1  # an explained variance below this is near 0
_MOST = 0.8  # with more than this explained, a latent that earns nothing need not earn anything
_WRONG_SCALE = 2.0  # a slope beyond this factor from 1 is far from it
_ALIGNED = 0.7  # from this correlation on, it is the scale alone that is wrong
_UNCERTAIN = 0.5  # share of the variance of rewards that is not known
_IDLE = 1e-3  # a latent with less than this part of the largest weight earns nothing


def episode_sums(
    proxy: Float[Any, "episode time agent"],
    truth: Float[Any, "episode time agent"],
    mask: Bool[Any, "episode time agent"],
    xp: ModuleType = np,
) -> Any:
    """The row of each episode, summed over its steps and agents, with ``numpy`` or ``jax.numpy``."""
    p, r = xp.where(mask, proxy, 0.0), xp.where(mask, truth, 0.0)
    sums = (mask, p, r, p * p, r * r, p * r)
    return xp.stack([each.sum(axis=(1, 2)).astype(p.dtype) for each in sums], axis=1)


def init_window(episodes: int = 20) -> Sums:
    """Rows of the last episodes, none seen yet (NaN)."""
    return np.full((episodes, COLUMNS), np.nan)


def is_window(array: np.ndarray) -> bool:
    """Whether an array of a file can be rows of the last episodes."""
    return (
        array.ndim == 2
        and array.shape[1] == COLUMNS
        and 0 < len(array) <= 1000
        and array.dtype == np.float64
        and not np.isinf(array).any()
    )


def push(window: Sums, rows: Sums) -> Sums:
    """Append rows and drop as many of the oldest."""
    return np.vstack([window, rows])[len(rows) :]


def seen(window: Sums) -> Sums:
    """The rows of episodes that were seen."""
    return window[~np.isnan(window[:, 0])].astype(np.float64)


def explained_variance(rows: Sums) -> float:
    """1 − Var(R − Σ r̂)/Var(R) of held-out returns: 1 is perfect, 0 is as good as a constant; NaN if R never varies."""
    return _explained(rows, rows[:, 2])


def explained_beyond_length(rows: Sums) -> float:
    """1 − Var(R − Σ r̂)/Var(R − a − b n), with the line through (n, R) that fits best; n counts steps (and agents).

    0 is as good as the length of the episodes. It is ``explained_variance`` if lengths never vary, and NaN if they
    leave nothing to be explained.
    """
    return _explained(rows, _beyond_length(rows))


def return_slope(rows: Sums) -> float:
    """Slope of the line through (Σ r̂, R) of held-out episodes: 1 is right; NaN if Σ r̂ never varies."""
    predicted, total = rows[:, 1], rows[:, 2]
    if not _varies(predicted, predicted):
        return np.nan
    return float(np.cov(predicted, total, bias=True)[0, 1] / np.var(predicted))


def credit_correlation(rows: Sums) -> float:
    """Pearson correlation of r̂ with the hidden true reward over all steps; NaN if either never varies."""
    _, variance, covariance = _moments(rows)
    return float(covariance / np.sqrt(variance.prod())) if variance.all() else np.nan


def credit_slope(rows: Sums) -> float:
    """b of the line r = a + b r̂ that fits best over all steps: 1 is right; NaN if r̂ never varies."""
    _, variance, covariance = _moments(rows)
    return float(covariance / variance[0]) if variance[0] else np.nan


def credit_bias(rows: Sums) -> float:
    """Mean of r̂ − r over all steps, in standard deviations of r: 0 is right; NaN if r never varies."""
    mean, variance, _ = _moments(rows)
    return float((mean[0] - mean[1]) / np.sqrt(variance[1])) if variance[1] else np.nan


def proxy_spread(rows: Sums) -> float:
    """Standard deviation of r̂ over all steps, relative to its root mean square."""
    n, sp, _, spp = rows.sum(axis=0)[:4]
    return float(np.sqrt(max(spp / n - (sp / n) ** 2, 0.0) / (spp / n))) if spp > 0 else 0.0


METRICS: dict[str, Callable[[Sums], float]] = {
    "explained_variance": explained_variance,
    "explained_beyond_length": explained_beyond_length,
    "return_slope": return_slope,
    "credit_correlation": credit_correlation,
    "credit_slope": credit_slope,
    "credit_bias": credit_bias,
    "proxy_spread": proxy_spread,
}


def measure(window: Sums, uncertainty: float = np.nan) -> dict[str, float]:
    """Every metric over the episodes seen, NaN with fewer than two; ``uncertainty`` is measured elsewhere."""
    rows = seen(window)
    with np.errstate(invalid="ignore"):  # a proxy that is not finite makes NaN, about which `warning` speaks
        found = {name: metric(rows) if len(rows) > 1 else np.nan for name, metric in METRICS.items()}
    return {**found, "credit_uncertainty": float(uncertainty)}


def line(x: np.ndarray, y: np.ndarray, at: np.ndarray) -> np.ndarray:
    """The least-squares line through ``(x, y)``, at other places; the mean if x never varies."""
    x, at = np.asarray(x, float), np.asarray(at, float)
    spread = np.var(x)
    slope = np.mean((x - x.mean()) * (y - y.mean())) / spread if spread > 0 else 0.0
    return y.mean() + slope * (at - x.mean())


def warning(window: Sums, latent_weights: Mapping[str, float], uncertainty: float = np.nan) -> str:
    """Why the credit should not be trusted and what to do, one line for each reason; empty if there is none.

    It uses only what is known outside of experiments: held-out returns, the proxy, the reward per standard deviation
    of each latent (empty where that is not known), and how uncertain the proxy is (NaN where that is not known), never
    the true reward. A line whose words before the first bracket are the same is the same warning, with other numbers.
    """
    rows = seen(window)
    told = f"all {len(rows)} returns so far" if len(rows) < len(window) else f"the last {len(rows)} returns"
    return "\n".join(f"credit: {each}" for each in _doubts(rows, told, latent_weights, uncertainty))


def _doubts(rows: Sums, told: str, latent_weights: Mapping[str, float], uncertainty: float) -> Iterator[str]:
    """The first thing that is wrong with the prediction of returns, latents that earn nothing, and uncertainty."""
    remedy = "try another --method, or another --draw of the encoder if it reads latents"
    if len(rows) < _SOME_EPISODES:
        return
    if not np.isfinite(rows[:, :4]).all():
        yield f"the proxy rewards are not finite numbers; {remedy}"
        return
    total, rest = rows[:, 2], _beyond_length(rows)
    if not _varies(total, total):
        yield (
            f"{told} are equal: nothing to assign yet (each is {total[0]:g}); explore more, or vary how episodes "
            f"start, until returns differ ({DOCUMENT})"
        )
        return
    if len(rows) < _ENOUGH_EPISODES:
        return
    found = measure(rows)
    explained, slope = found["explained_beyond_length"], found["return_slope"]
    aligned = abs(np.corrcoef(rows[:, 1], total)[0, 1]) if np.isfinite(slope) else 0.0
    if not _varies(rest, total):
        yield (
            "the length of an episode determines its return, so all that returns say is that every step earns the "
            f"same; if that is not so, score what happens in the episode ({DOCUMENT})"
        )
        return
    if found["proxy_spread"] < _FLAT:
        yield f"the decoder gives every step the same reward, so it says nothing beyond the mean; {remedy}"
    elif aligned > _ALIGNED and not 1 / _WRONG_SCALE <= slope <= _WRONG_SCALE:
        yield (
            f"the proxy rewards have the wrong scale (a return is {slope:.2f} times their sum, plus a constant); if "
            "this persists, use more updates for a network, or a method that is solved, such as lare or linear"
        )
    elif explained < _LITTLE:
        than = "a constant does" if np.ptp(rows[:, 0]) == 0 else "the length of the episodes does"
        yield (
            f"the proxy rewards explain held-out returns worse than {than}, or hardly better ({explained:.2f} of the "
            "variance that is left); if this persists, the decoder's input does not determine the return, or chance "
            f"does: {remedy} ({DOCUMENT})"
        )
    if uncertainty > _UNCERTAIN:
        yield (
            f"too few returns to tell which steps earned them ({uncertainty:.0%} of the rewards' variance is not "
            f"known); add episodes that differ more, or latents that say more ({DOCUMENT})"
        )
    largest = max(map(abs, latent_weights.values()), default=0.0)
    idle = [name for name, weight in latent_weights.items() if abs(weight) < _IDLE * largest]
    if idle and not explained > _MOST:
        yield (
            f"some latents earn nothing ({', '.join(idle)}), and returns are not fully explained; "
            "if these latents matter, episodes have to differ more in them, or they say the same as others "
            f"({DOCUMENT})"
        )


def _varies(values: np.ndarray, size: np.ndarray) -> bool:
    """Whether values differ by more than rounding of numbers of the given ``size``."""
    return bool(np.ptp(values) > _ROUNDING * np.abs(size).max())


def _beyond_length(rows: Sums) -> np.ndarray:
    """What the best line through length leaves of each return."""
    return rows[:, 2] - line(rows[:, 0], rows[:, 2], rows[:, 0])


def _explained(rows: Sums, left: np.ndarray) -> float:
    """1 − Var(R − Σ r̂)/Var(left); NaN if nothing is left."""
    total = rows[:, 2]
    return float(1.0 - np.var(total - rows[:, 1]) / np.var(left)) if _varies(left, total) else np.nan


def _moments(rows: Sums) -> tuple[np.ndarray, np.ndarray, float]:
    """Means and variances of r̂ and r over all steps, and their covariance; a variance of 0 if one never varies."""
    n, sp, sr, spp, srr, spr = rows.sum(axis=0)
    mean, square = np.array([sp, sr]) / n, np.array([spp, srr]) / n
    variance = square - mean**2
    return mean, np.where(variance > _FLAT**2 * square, variance, 0.0), spr / n - mean.prod()
