"""How well credit explains what was paid: measured on episodes before anything is fitted to them."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

ENOUGH_EPISODES = 10  # fewer say nothing about the credit
_COLUMNS = 8  # steps, Σp, Σr, Σp², Σr², Σpr, return, predicted return


@dataclass(frozen=True)
class CreditQuality:
    """Quality of credit over the last episodes; NaN where it cannot be told yet.

    Attributes:
        episodes: how many episodes it is measured on.
        explained_variance: 1 − Var(R − Σ r̂)/Var(R) of held-out returns: 1 is perfect, 0 is a constant.
        correlation: Pearson correlation of r̂ with the hidden true reward over all steps.
        spread: standard deviation of r̂ over all steps, relative to its root mean square.
    """

    episodes: int
    explained_variance: float
    correlation: float
    spread: float


def init_monitor(window: int = 20) -> Float[np.ndarray, "episode 8"]:
    """Sums over the last ``window`` episodes, none seen yet (rows of NaN)."""
    return np.full((window, _COLUMNS), np.nan)


def note_episode(
    monitor: Float[np.ndarray, "episode 8"],
    proxy: Float[np.ndarray, " time"],
    reward: Float[np.ndarray, " time"],
) -> Float[np.ndarray, "episode 8"]:
    """Push one episode (proxy and hidden true reward of each of its steps), drop the oldest."""
    p, r = proxy.astype(np.float64), reward.astype(np.float64)
    row = [len(p), p.sum(), r.sum(), p @ p, r @ r, p @ r, r.sum(), p.sum()]
    return np.vstack([monitor[1:], row])


def credit_quality(monitor: Float[np.ndarray, "episode 8"]) -> CreditQuality:
    """Explained variance of returns, step-wise correlation and spread over the noted episodes."""
    seen = monitor[~np.isnan(monitor[:, 0])]
    if len(seen) < 2:
        return CreditQuality(len(seen), np.nan, np.nan, np.nan)
    n, sp, sr, spp, srr, spr = seen[:, :6].sum(axis=0)
    var_p, var_r = spp / n - (sp / n) ** 2, srr / n - (sr / n) ** 2
    covariance = spr / n - sp * sr / n**2
    tiny_p, tiny_r = 1e-10 * (spp / n) + 1e-30, 1e-10 * (srr / n) + 1e-30
    correlation = covariance / np.sqrt(var_p * var_r) if var_p > tiny_p and var_r > tiny_r else np.nan
    total, predicted = seen[:, 6], seen[:, 7]
    explained = 1.0 - np.var(total - predicted) / np.var(total) if np.var(total) > 0 else np.nan
    spread = np.sqrt(max(var_p, 0.0) / (spp / n)) if spp > 0 else 0.0
    return CreditQuality(len(seen), float(explained), float(correlation), float(spread))


def verdict(quality: CreditQuality) -> str:
    """A sentence when credit assignment is failing, empty when it is not.

    It uses only what an agent in the field has: held-out returns and the proxy itself, never the true reward.
    """
    if quality.episodes < ENOUGH_EPISODES:
        return ""
    if quality.spread < 1e-3:
        return (
            "credit: the decoder gives every step the same reward, so it says nothing beyond the mean; "
            "try another --method, or another --draw of the encoder if it reads latents"
        )
    if quality.explained_variance < 0.0:
        return (
            f"credit: the proxy rewards explain held-out returns worse than a constant would "
            f"(explained variance {quality.explained_variance:.2f}); if this persists, what the decoder reads does not "
            "tell the return: try another --method, or another --draw of the encoder if it reads latents"
        )
    return ""
