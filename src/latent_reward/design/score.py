"""Score an encoder before any agent is trained: can its latents explain the returns of recorded episodes?

Return decomposition fits R = Σ_t f(z_t). With a linear f this is a regression of the return on the sums of the
latents; cross-validated, it measures how much of the return they can explain. Only returns are used, never the reward
of a step.

Latents are computed under the view that ``lare`` trains on. Where that is both o and o′, z_t has two columns per
latent: the regression uses the sums of all columns, a figure of one latent pools its two (see :func:`score_latents`).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations

import jax.numpy as jnp
import numpy as np
from scipy.stats import rankdata

from latent_reward.design.play import Recorded
from latent_reward.encoder.encoder import Encoder
from latent_reward.encoder.view import View, latents
from latent_reward.envs.worlds import WORLDS
from latent_reward.task.task import AnyTask, Task, TeamTask

FOLDS = 5
MIN_EPISODES = 10
DUPLICATE = 0.99
WEAK = 0.9
JUMPY = 0.5
_PENALTIES = (1e-8, 1e-6, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
_CHUNK = 2048  # rows per call: one size, so that one program is compiled
_PROBE_ROWS = 512

Latents = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""Observations, actions and next observations to latents: [step, latent] or [step, o or o′, latent]."""


@dataclass(frozen=True)
class LatentScore:
    """One latent on the recorded steps."""

    name: str
    mean: float
    std: float
    rank: float  # Spearman correlation of its sum over an episode with the return
    noise: float  # root mean square change under 1 % of noise in every input, over its standard deviation
    reads: tuple[str, ...]  # the fields that it depends on


@dataclass(frozen=True)
class Score:
    """How well an encoder's latents explain the returns of recorded episodes; R² is NaN for too few episodes."""

    r2: float  # cross-validated, of the return from summed latents and length; NaN if it never varies
    r2_length: float  # the same from the length alone, without any latent
    rank: float  # Spearman correlation of the cross-validated predictions with the returns
    condition: float  # condition number of the standardised latents; large if they are collinear
    duplicates: tuple[tuple[str, str], ...]  # whose correlation over all steps exceeds 0.99 in size
    constant: tuple[str, ...]  # latents that never change
    unused: tuple[str, ...]  # fields that no latent depends on
    latents: tuple[LatentScore, ...]
    episodes: int


def warnings(found: Score) -> tuple[str, ...]:
    """What the user should know before training on the encoder, one line each."""
    lines = []
    if math.isnan(found.r2):
        lines.append(
            f"nothing could be scored on {found.episodes} episodes: there are fewer than {MIN_EPISODES}, or all "
            "returns are equal"
        )
    elif found.r2 < WEAK:
        share, length = max(found.r2, 0.0), max(found.r2_length, 0.0)
        against = "no more than" if found.r2 < found.r2_length + 0.05 else "beside"
        lines.append(
            f"the latents explain {share:.2f} of the return, {against} the {length:.2f} that the length of an "
            "episode explains: they miss something that the return depends on, or it is far from linear in them"
        )
    lines += [f"{one} and {two} repeat each other" for one, two in found.duplicates]
    lines += [f"{name} never changed" for name in found.constant]
    lines += [
        f"{each.name} jumps: 1 % of noise in its inputs moves it by {each.noise:.0%} of its spread"
        for each in found.latents
        if each.noise > JUMPY
    ]
    return tuple(lines)


def training_view(task: AnyTask) -> View:
    """The view that ``lare`` trains on by default: both observations for one agent, the next one for a team."""
    team = isinstance(task, TeamTask) or task.env_id.partition("/")[0] in WORLDS
    return "next" if team else "both"


def viewed(encoder: Encoder, view: View) -> Latents:
    """The latents of any number of steps under ``view``: [step, 1, latent], or [step, 2, latent] for o and o′."""

    def apply(observation: np.ndarray, action: np.ndarray, following: np.ndarray) -> np.ndarray:
        parts = []
        for start in range(0, len(action), _CHUNK):
            rows = [part[start : start + _CHUNK] for part in (observation, action, following)]
            count = len(rows[1])
            full = [jnp.asarray(np.pad(part, ((0, _CHUNK - count), (0, 0)), mode="edge")) for part in rows]
            parts.append(np.asarray(latents(encoder, view, *full))[:count])
        return np.concatenate(parts).reshape(len(action), -1, len(encoder.latent_names))

    return apply


def score(encoder: Encoder, episodes: Recorded, task: Task, view: View) -> Score:
    """Score an encoder of ``task`` on recorded episodes, with the view that it will be trained under."""
    function = viewed(encoder, view)
    values = function(episodes.observation, episodes.action, episodes.next_observation)
    return score_latents(values, encoder.latent_names, episodes, _reads(function, episodes, task))


def score_latents(
    values: np.ndarray,
    names: tuple[str, ...],
    episodes: Recorded,
    probe: tuple[dict[str, np.ndarray], np.ndarray] | None = None,
) -> Score:
    """Score latents [step, latent] or [step, o or o′, latent]; ``probe`` is the result of :func:`_reads`.

    The regression has a column for each latent of each observation. Mean, spread and correlations of a latent pool
    its values at o and o′; its rank is that of their sum over the episode.
    """
    influence, noise = probe or ({}, np.full(len(names), math.nan))
    columns, pooled = values.reshape(len(values), -1), values.reshape(-1, len(names))
    sums, returns = episodes.sums(columns), episodes.returns
    lengths = episodes.lengths[:, None].astype(np.float64)
    predicted = out_of_fold(np.concatenate([sums, lengths], axis=1), returns)
    by_length = out_of_fold(lengths, returns)
    totals = sums.reshape(len(sums), -1, len(names)).sum(axis=1)
    spread = pooled.astype(np.float64).std(axis=0)
    constant = spread <= 1e-7 * np.abs(pooled).max(axis=0, initial=0.0)
    condition, duplicates = redundancy(pooled, names, constant)
    means = pooled.mean(axis=0, dtype=np.float64)
    reads = [tuple(field for field, moved in influence.items() if moved[i]) for i in range(len(names))]
    ranks = [spearman(total, returns) for total in totals.T]
    each = map(LatentScore, names, means.tolist(), spread.tolist(), ranks, noise.tolist(), reads)
    return Score(
        r2=explained(predicted, returns),
        r2_length=explained(by_length, returns),
        rank=spearman(predicted, returns),
        condition=condition,
        duplicates=duplicates,
        constant=tuple(name for name, flat in zip(names, constant, strict=True) if flat),
        unused=tuple(field for field, moved in influence.items() if not moved.any()),
        latents=tuple(each),
        episodes=len(returns),
    )


def out_of_fold(features: np.ndarray, returns: np.ndarray) -> np.ndarray:
    """Predict each episode's return by a ridge regression on the other folds: [episode].

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
    """R² = 1 − Σ(R − R̂)² / Σ(R − mean R)²; NaN if all returns are equal."""
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
    """Correlations between the columns of [step, latent]; those of a constant column are 0."""
    table = values.astype(np.float64)
    table -= table.mean(axis=0)
    spread = table.std(axis=0)
    table /= np.where(spread > 0, spread, np.inf)
    return table.T @ table / len(table)


def redundancy(
    values: np.ndarray, names: tuple[str, ...], constant: np.ndarray
) -> tuple[float, tuple[tuple[str, str], ...]]:
    """The condition number of the standardised latents that vary, and the pairs correlated above ``DUPLICATE``.

    The condition number is the largest singular value over the smallest: √(λ_max / λ_min) of the
    correlations.
    """
    matrix = correlations(values)
    varying = np.flatnonzero(~constant)
    if not len(varying):
        return math.nan, ()
    spectrum = np.linalg.eigvalsh(matrix[np.ix_(varying, varying)])
    condition = math.sqrt(spectrum[-1] / max(spectrum[0], 1e-16))
    pairs = [pair for pair in combinations(varying, 2) if abs(matrix[pair]) > DUPLICATE]
    return condition, tuple((names[first], names[second]) for first, second in pairs)


def _reads(function: Latents, episodes: Recorded, task: Task) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Which latents change when one field is shuffled over the steps, {field: [latent]}, and the root mean square
    change of each under 1 % of noise in all inputs, divided by its standard deviation.
    """
    inputs = episodes.sample(_PROBE_ROWS)
    generator = np.random.default_rng(1)

    def pooled(*rows: np.ndarray) -> np.ndarray:
        values = function(*rows)
        return values.reshape(-1, values.shape[-1]).astype(np.float64)

    base = pooled(*inputs)
    influence: dict[str, np.ndarray] = {}
    for part, fields in (("observation", task.observation), ("action", task.action)):
        for each in fields:
            block = slice(each.indices.start, each.indices.stop)
            order = generator.permutation(len(inputs[1]))
            rows = [table.copy() for table in inputs]
            for table in (rows[1],) if part == "action" else (rows[0], rows[2]):
                # The noise shows that a field is used even if it hardly varies under random behaviour.
                table[:, block] = table[order, block] + generator.normal(0, 0.1, table[:, block].shape)
            influence[f"{part}: {each.name}"] = np.any(pooled(*rows) != base, axis=0)
    noisy = [
        table + 0.01 * table.std(axis=0) * generator.normal(size=table.shape).astype(np.float32)
        for table in inputs
    ]
    moved = np.sqrt(np.mean((pooled(*noisy) - base) ** 2, axis=0))
    spread = base.std(axis=0)
    return influence, np.divide(moved, spread, out=np.full(len(moved), math.nan), where=spread > 0)
