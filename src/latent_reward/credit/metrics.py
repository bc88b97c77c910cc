"""How well credit explains what was paid, measured on episodes before anything is fitted to them.

Each episode is summed up in one row of ``Sums``; a metric is a function of the rows of the last episodes. To add one,
write the function and give it a line in ``METRICS``: it is then logged, drawn and listed with the others.
"""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

Sums = Float[np.ndarray, "_ 6"]
"""Of each episode: steps, Σp, Σr, Σp², Σr², Σpr of proxy p and true reward r."""

ENOUGH_EPISODES = 10  # fewer say nothing about the credit
COLUMNS = 6


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


def push(window: Sums, rows: Sums) -> Sums:
    """Append rows and drop as many of the oldest."""
    return np.vstack([window, rows])[len(rows) :]


def seen(window: Sums) -> Sums:
    """The rows of episodes that were seen."""
    return window[~np.isnan(window[:, 0])].astype(np.float64)


def explained_variance(rows: Sums) -> float:
    """1 − Var(R − Σ r̂)/Var(R) of held-out returns: 1 is perfect, 0 is as good as a constant; NaN if R never varies."""
    predicted, total = rows[:, 1], rows[:, 2]
    return float(1.0 - np.var(total - predicted) / np.var(total)) if np.var(total) > 0 else np.nan


def credit_correlation(rows: Sums) -> float:
    """Pearson correlation of r̂ with the hidden true reward over all steps; NaN if either never varies."""
    n, sp, sr, spp, srr, spr = rows.sum(axis=0)
    var_p, var_r = spp / n - (sp / n) ** 2, srr / n - (sr / n) ** 2
    tiny_p, tiny_r = 1e-10 * (spp / n) + 1e-30, 1e-10 * (srr / n) + 1e-30
    if not (var_p > tiny_p and var_r > tiny_r):
        return np.nan
    return float((spr / n - sp * sr / n**2) / np.sqrt(var_p * var_r))


def proxy_spread(rows: Sums) -> float:
    """Standard deviation of r̂ over all steps, relative to its root mean square."""
    n, sp, _, spp = rows.sum(axis=0)[:4]
    return float(np.sqrt(max(spp / n - (sp / n) ** 2, 0.0) / (spp / n))) if spp > 0 else 0.0


METRICS: dict[str, Callable[[Sums], float]] = {
    "explained_variance": explained_variance,
    "credit_correlation": credit_correlation,
    "proxy_spread": proxy_spread,
}


def measure(window: Sums) -> dict[str, float]:
    """Every metric over the episodes seen; NaN with fewer than two."""
    rows = seen(window)
    return {name: metric(rows) if len(rows) > 1 else np.nan for name, metric in METRICS.items()}


def warning(window: Sums) -> str:
    """A sentence when credit assignment is failing, empty when it is not.

    It uses only what is known outside of experiments: held-out returns and the proxy, never the true reward.
    """
    rows = seen(window)
    if len(rows) < ENOUGH_EPISODES:
        return ""
    remedy = "try another --method, or another --draw of the encoder if it reads latents"
    if proxy_spread(rows) < 1e-3:
        return (
            "credit: the decoder gives every step the same reward, so it says nothing beyond the mean; "
            + remedy
        )
    explained = explained_variance(rows)
    if explained < 0.0:
        return (
            "credit: the proxy rewards explain held-out returns worse than a constant would (explained variance "
            f"{explained:.2f}); if this persists, the decoder's input does not determine the return: {remedy}"
        )
    return ""
