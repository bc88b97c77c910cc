"""Score an encoder before any agent is trained: can its latents explain the returns of recorded episodes?

Return decomposition fits R = Σ_t f(z_t). With a linear f that is a regression of the return on the sums of
the latents, which needs no training: cross-validated, it tells how much of the return the latents could
carry. Only returns are used, never the reward of a step.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from latent_reward.design.episodes import Episodes
from latent_reward.encoder.encoder import Encoder
from latent_reward.task.task import Task

FOLDS = 5
MIN_EPISODES = 10
DUPLICATE = 0.99
WEAK = 0.9
JUMPY = 0.5
_PENALTIES = (1e-8, 1e-6, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
_CHUNK = 2048  # rows per call: one size, so that one program is compiled
_PROBE_ROWS = 512

Latents = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class LatentScore:
    """One latent on the recorded steps.

    ``rank`` is the Spearman correlation of its sum over an episode with the return, ``noise`` how far 1 %
    of noise in every input moves it, as a share of its standard deviation; ``reads`` names the fields it
    depends on.
    """

    name: str
    mean: float
    std: float
    rank: float
    noise: float
    reads: tuple[str, ...]


@dataclass(frozen=True)
class Score:
    """How well an encoder's latents explain the returns of recorded episodes.

    Attributes:
        r2: cross-validated R² of the return from the summed latents and the length; NaN if all returns are
            alike or there are too few episodes.
        r2_length: the same from the length alone: what no latent deserves credit for.
        rank: Spearman correlation of the cross-validated predictions with the returns.
        condition: condition number of the standardised latents; large if they repeat one another.
        duplicates: pairs of latents whose correlation over all steps exceeds 0.99 in size.
        constant: latents that never changed.
        unused: fields that no latent depends on.
        latents: one entry per latent.
    """

    r2: float
    r2_length: float
    rank: float
    condition: float
    duplicates: tuple[tuple[str, str], ...]
    constant: tuple[str, ...]
    unused: tuple[str, ...]
    latents: tuple[LatentScore, ...]
    episodes: int


def warnings(found: Score) -> tuple[str, ...]:
    """What a person should know of a score before anything is trained on the encoder; one line each."""
    lines = []
    if math.isnan(found.r2):
        lines.append(
            f"nothing could be scored on {found.episodes} episodes: there are fewer than {MIN_EPISODES}, or all "
            "returns are alike"
        )
    elif found.r2 < WEAK:
        share, length = max(found.r2, 0.0), max(found.r2_length, 0.0)
        against = "no more than" if found.r2 < found.r2_length + 0.05 else "beside"
        lines.append(
            f"the latents explain {share:.2f} of the return, {against} the {length:.2f} that the length of an "
            "episode explains: they miss something that it depends on, or it is far from linear in them"
        )
    lines += [f"{one} and {two} repeat each other" for one, two in found.duplicates]
    lines += [f"{name} never changed" for name in found.constant]
    lines += [
        f"{each.name} jumps: 1 % of noise in its inputs moves it by {each.noise:.0%} of its spread"
        for each in found.latents
        if each.noise > JUMPY
    ]
    return tuple(lines)


def apply(encoder: Encoder) -> Latents:
    """The latents after each step; an encoder that names ``next_observation`` gets the step as it is.

    ``lare`` of one agent looks before each step too: summed over an episode the two differ at its ends only.
    """
    both = encoder.needs_next_observation

    def latents(observation: np.ndarray, action: np.ndarray, following: np.ndarray) -> np.ndarray:
        first = observation if both else following
        parts = []
        for start in range(0, len(first), _CHUNK):
            rows = [part[start : start + _CHUNK] for part in (first, action, following)]
            count = len(rows[0])
            full = [np.pad(part, ((0, _CHUNK - count), (0, 0)), mode="edge") for part in rows]
            parts.append(np.asarray(encoder.encode(*full))[:count])
        return np.concatenate(parts)

    return latents


def score(encoder: Encoder, episodes: Episodes, task: Task) -> Score:
    """Scores an encoder of ``task`` on recorded episodes."""
    function = apply(encoder)
    values = function(episodes.observation, episodes.action, episodes.next_observation)
    return score_latents(values, encoder.latent_names, episodes, _reads(function, episodes, task))


def score_latents(
    values: np.ndarray,
    names: tuple[str, ...],
    episodes: Episodes,
    probe: tuple[dict[str, np.ndarray], np.ndarray] | None = None,
) -> Score:
    """Scores latents [step, latent]; ``probe`` is what :func:`_reads` found out about the inputs."""
    influence, noise = probe or ({}, np.full(len(names), math.nan))
    sums, returns = episodes.sums(values), episodes.returns
    lengths = episodes.lengths[:, None].astype(np.float64)
    predicted = out_of_fold(np.concatenate([sums, lengths], axis=1), returns)
    by_length = out_of_fold(lengths, returns)
    spread = values.astype(np.float64).std(axis=0)
    constant = spread <= 1e-7 * np.abs(values).max(axis=0, initial=0.0)
    condition, duplicates = redundancy(values, names, constant)
    latents = tuple(
        LatentScore(
            name,
            float(values[:, i].mean(dtype=np.float64)),
            float(spread[i]),
            spearman(sums[:, i], returns),
            float(noise[i]),
            tuple(field for field, moved in influence.items() if moved[i]),
        )
        for i, name in enumerate(names)
    )
    return Score(
        r2=explained(predicted, returns),
        r2_length=explained(by_length, returns),
        rank=spearman(predicted, returns),
        condition=condition,
        duplicates=duplicates,
        constant=tuple(name for name, flat in zip(names, constant, strict=True) if flat),
        unused=tuple(field for field, moved in influence.items() if not moved.any()),
        latents=latents,
        episodes=len(returns),
    )


def out_of_fold(features: np.ndarray, returns: np.ndarray) -> np.ndarray:
    """Predicts each episode's return by a ridge regression on the other folds: [episode].

    Features are standardised and the penalty λ is chosen by leave-one-out error within the training folds:
    w = (XᵀX + λnI)⁻¹Xᵀ(R − mean R). NaN throughout with fewer than ``MIN_EPISODES`` episodes.
    """
    count = len(returns)
    predicted = np.full(count, math.nan)
    if count < MIN_EPISODES:
        return predicted
    order = np.random.default_rng(0).permutation(count)
    for held_out in np.array_split(order, FOLDS):
        training = np.setdiff1d(order, held_out)
        centre, spread = features[training].mean(axis=0), features[training].std(axis=0)
        used = spread > 1e-9 * np.maximum(np.abs(centre), 1e-30)
        scaled = (features[:, used] - centre[used]) / spread[used]
        mean = returns[training].mean()
        weights = _ridge(scaled[training], returns[training] - mean)
        predicted[held_out] = scaled[held_out] @ weights + mean
    return predicted


def _ridge(features: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The weights of the penalty with the least leave-one-out error e / (1 − h), h the leverage."""
    count = len(target)
    left, values, right = np.linalg.svd(features, full_matrices=False)
    best, weights = math.inf, np.zeros(features.shape[1])
    for penalty in _PENALTIES:
        shrink = values**2 / (values**2 + penalty * count)
        fitted = left @ (shrink * (left.T @ target))
        leverage = np.minimum(1 / count + (left**2) @ shrink, 1 - 1e-6)
        error = float(np.mean(((target - fitted) / (1 - leverage)) ** 2))
        if error < best:
            scaled = values / (values**2 + penalty * count)
            best, weights = error, right.T @ (scaled * (left.T @ target))
    return weights


def explained(predicted: np.ndarray, returns: np.ndarray) -> float:
    """R² = 1 − Σ(R − R̂)² / Σ(R − mean R)²; NaN if the returns are all alike."""
    total = float(np.sum((returns - returns.mean()) ** 2))
    if total <= 1e-18 * max(1.0, float(np.sum(returns**2))):
        return math.nan
    return 1 - float(np.sum((returns - predicted) ** 2)) / total


def spearman(first: np.ndarray, second: np.ndarray) -> float:
    """Correlation of the ranks, ties averaged; NaN if one side is constant or not finite."""
    if not (np.isfinite(first).all() and np.isfinite(second).all()) or len(first) < 3:
        return math.nan
    one, two = (rankdata(side) - (len(first) + 1) / 2 for side in (first, second))
    size = math.sqrt(float(one @ one) * float(two @ two))
    return float(one @ two) / size if size else math.nan


def correlations(values: np.ndarray) -> np.ndarray:
    """Correlations between the columns of [step, latent]; a constant column has none (zero)."""
    table = values.astype(np.float64)
    table -= table.mean(axis=0)
    spread = table.std(axis=0)
    table /= np.where(spread > 0, spread, np.inf)
    return table.T @ table / len(table)


def redundancy(
    values: np.ndarray, names: tuple[str, ...], constant: np.ndarray
) -> tuple[float, tuple[tuple[str, str], ...]]:
    """The condition number of the standardised latents that vary, and the pairs that repeat each other.

    The condition number is the largest singular value over the smallest: √(λ_max / λ_min) of the
    correlations.
    """
    matrix = correlations(values)
    varying = np.flatnonzero(~constant)
    if not len(varying):
        return math.nan, ()
    spectrum = np.linalg.eigvalsh(matrix[np.ix_(varying, varying)])
    condition = math.sqrt(spectrum[-1] / max(spectrum[0], 1e-16))
    pairs = tuple(
        (names[first], names[second])
        for place, first in enumerate(varying)
        for second in varying[place + 1 :]
        if abs(matrix[first, second]) > DUPLICATE
    )
    return condition, pairs


def _reads(function: Latents, episodes: Episodes, task: Task) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Which latents move when one field is shuffled over the steps: {field: [latent]}; and how far 1 % of
    noise in all inputs moves each, as a share of its standard deviation.
    """
    observation, action, following = episodes.sample(_PROBE_ROWS)
    generator = np.random.default_rng(1)
    base = function(observation, action, following)
    influence: dict[str, np.ndarray] = {}
    for part, fields in (("observation", task.observation), ("action", task.action)):
        for each in fields:
            block = slice(each.indices.start, each.indices.stop)
            order = generator.permutation(len(action))
            rows = [observation.copy(), action.copy(), following.copy()]
            for table in (rows[1],) if part == "action" else (rows[0], rows[2]):
                # A field that hardly varies under random behaviour must not pass for unused.
                table[:, block] = table[order, block] + generator.normal(0, 0.1, table[:, block].shape)
            influence[f"{part}: {each.name}"] = np.any(function(*rows) != base, axis=0)
    noisy = [
        table + 0.01 * table.std(axis=0) * generator.normal(size=table.shape).astype(np.float32)
        for table in (observation, action, following)
    ]
    moved = np.sqrt(np.mean((function(*noisy) - base).astype(np.float64) ** 2, axis=0))
    spread = base.astype(np.float64).std(axis=0)
    return influence, np.divide(moved, spread, out=np.full(len(moved), math.nan), where=spread > 0)
