"""Credit that is solved rather than learned: no step size, no unit, no network, and with or without latents.

The reward of a step is linear in groups of columns: the latents of an encoder, the raw step (o, a, a², o′), whether
the step terminated the agent, and random Fourier features of the latents and of the raw step, with which it is a
Gaussian process (Rahimi and Recht 2007, "Random features for large-scale kernel machines"). The weights of each group
have a penalty of their own, all chosen by the evidence (:mod:`latent_reward.credit.evidence`), so that a group that is
not needed is switched off, and one that carries what latents miss is switched on.
"""

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from latent_reward.credit.base import CreditSpec, Method, Share
from latent_reward.credit.evidence import (
    EQUATIONS,
    Equations,
    add_equations,
    init_equations,
    posterior_deviation,
    solve,
)
from latent_reward.credit.features import step_features
from latent_reward.data.episodes import Episodes, team_mean
from latent_reward.data.moments import Moments, deviation, init_moments, merge
from latent_reward.encoder.view import View, latent_size
from latent_reward.errors import LareError, require_choice
from latent_reward.types import EpisodeFeatures, Key

Group = Literal["latent", "latent-waves", "raw", "raw-waves", "termination"]

# Random features read one number of a step, two, or all of them, at a length scale of so much times √(numbers / 4).
# What is a sum of functions of few numbers is found from fewer returns than what is not.
_KERNELS = ((1, 3.0), (2, 3.0), (None, 4.0))
_WAVES = {"latent-waves": 32, "raw-waves": 96}  # random features of each kind
_COSINE = (0.99999966, -19.7390322, 64.9300124, -85.2851589, 58.8478853, -21.1581068)  # of x², for |x| ≤ ½
_SETTLED = 10  # episodes after which the units of random features stay as they are


class Waves(NamedTuple):
    """Frequencies and phases of random features, in turns."""

    frequencies: Float[Array, "read wave"]
    phases: Float[Array, " wave"]


class Parts(NamedTuple):
    """What is read of a step, in this order, or something of each of these: latents, termination, (o, a, a², o′)."""

    latent: Any
    termination: Any
    raw: Any


class Solution(NamedTuple):
    """State of the method.

    Attributes:
        moments: of each part of a step.
        settled: the same over the first episodes only; random features are in these units.
        waves: of each group of random features.
        equations: what is solved, and the solution.
    """

    moments: Parts
    settled: Parts
    waves: dict[str, Waves]
    equations: Equations


@dataclass(frozen=True)
class Solved(Method):
    """r̂ = Σ_g w_g·x_g + b, with the weights that explain the returns of the newest episodes best.

    Attributes:
        groups: which columns there are.
        view: where the encoder looks, if latents are among them.
        agents: whether ``each`` agent of a team gets its own reward, or all of them their ``mean``.
    """

    groups: tuple[Group, ...]
    view: View = "both"
    agents: Share = "each"
    kind: Literal["solved"] = "solved"

    def __post_init__(self):
        """Raise a :class:`~latent_reward.errors.LareError` for a group that does not exist."""
        if not self.groups or len(set(self.groups)) < len(self.groups):
            raise LareError(f"groups: {self.groups} must be different groups, at least one")
        for group in self.groups:
            require_choice("groups", group, Group)
        require_choice("view", self.view, View)
        require_choice("agents", self.agents, Share)

    @property
    def latents(self) -> Literal["none", "any"]:
        """Whether latents are read."""
        return "any" if "latent" in map(_part, self.groups) else "none"

    @property
    def learns(self) -> bool:
        """Weights are fitted to returns."""
        return True

    def init(self, spec: CreditSpec, key: Key) -> Solution:
        """Nothing is known; the frequencies of random features are drawn."""
        sizes = self._sizes(spec)
        waves = {
            group: _draw_waves(jax.random.fold_in(key, number), getattr(sizes, _part(group)), count)
            for number, (group, count) in enumerate(_WAVES.items())
            if group in self.groups
        }
        moments = Parts(*map(init_moments, sizes))
        return Solution(moments, moments, waves, init_equations(self._groups(moments)))

    def feature_size(self, spec: CreditSpec) -> int:
        """Latents, termination, and (o, a, a², o′)."""
        return sum(self._sizes(spec))

    def derived_size(self, spec: CreditSpec) -> int:
        """(o, a, a², o′)."""
        return self._sizes(spec).raw

    def features(
        self, spec: CreditSpec, episodes: Episodes, action: Float[Array, "episode time agent action"]
    ) -> EpisodeFeatures:
        """Latents, whether the step terminated the agent, and (o, a, a², o′)."""
        ended = episodes.terminated[..., None].astype(jnp.float32)
        parts = [ended, self.derive(episodes.before, action, episodes.after)]
        if self.latents == "any":
            parts.insert(0, step_features("latent", self.view, spec, episodes.before, action, episodes.after))
        return jnp.concatenate(parts, axis=-1)

    def derive(
        self,
        observation: Float[Array, "*batch agent observation"],
        action: Float[Array, "*batch agent action"],
        next_observation: Float[Array, "*batch agent observation"],
    ) -> Float[Array, "*batch agent feature"]:
        """(o, a, a², o′)."""
        return jnp.concatenate([observation, action, action**2, next_observation], axis=-1)

    def observe(self, state: Solution, features: EpisodeFeatures, episodes: Episodes) -> Solution:
        """Add the equations of finished episodes, and solve them when they have grown by an eighth."""
        mask, known = episodes.mask.reshape(-1), state.equations.episodes
        parts = _split(state, features)
        fold = lambda old, part: merge(old, part.reshape(len(mask), part.shape[-1]), mask)  # noqa: E731
        moments = Parts(*map(fold, state.moments, parts))
        settled = jax.tree.map(lambda new, old: jnp.where(known < _SETTLED, new, old), moments, state.settled)
        state = state._replace(moments=moments, settled=settled)
        columns = self._columns(state, features)
        equations = add_equations(state.equations, columns, episodes.mask, episodes.returns)
        fresh = equations.episodes - equations.solved
        due = fresh >= jnp.clip(equations.solved // 8, 1, EQUATIONS)
        equations = solve(equations, self._groups(moments), *self._units(state), due)
        return state._replace(equations=equations)

    def reward(
        self,
        state: Solution,
        features: Float[Array, "*batch agent feature"],
        mask: Bool[Array, "*batch agent"],
    ) -> Float[Array, "*batch agent"]:
        """Σ_g w_g·x_g + b; with ``agents`` "mean" every agent gets the team's average."""
        columns = self._columns(state, features)
        ends = np.cumsum([part.shape[-1] for part in columns])[:-1]
        weights = jnp.split(state.equations.weight, ends)
        earned = sum(part @ weight for part, weight in zip(columns, weights, strict=True))
        reward = jnp.where(mask, earned + state.equations.bias, 0.0)
        return reward if self.agents == "each" else team_mean(reward, mask)

    def deviation(
        self,
        state: Solution,
        features: Float[Array, "*batch agent feature"],
        mask: Bool[Array, "*batch agent"],
    ) -> Float[Array, "*batch agent"]:
        """The posterior standard deviation of each reward; with ``agents`` "mean" that of the team's average."""
        columns = jnp.concatenate(self._columns(state, features), axis=-1)
        if self.agents == "mean":
            there = jnp.where(mask[..., None], columns, 0.0).sum(axis=-2, keepdims=True)
            columns = there / jnp.maximum(mask.sum(axis=-1)[..., None, None], 1)
            columns = jnp.broadcast_to(columns, (*features.shape[:-1], columns.shape[-1]))
        found = posterior_deviation(
            state.equations, self._groups(state.moments), *self._units(state), columns
        )
        return jnp.where(mask, found, 0.0)

    def latent_weights(self, spec: CreditSpec, state: Solution) -> dict[str, float]:
        """Reward per standard deviation of each latent, the largest first; both looks at it together."""
        if spec.encoder is None or "latent" not in self.groups:
            return {}
        names, before = spec.encoder.latent_names, self.groups[: self.groups.index("latent")]
        start = sum(self._width(state.moments, group) for group in before)
        weights = state.equations.weight[start : start + len(state.moments.latent.mean)]
        values = np.asarray(weights * deviation(state.moments.latent))
        total = values.reshape(-1, len(names)).sum(axis=0)
        return {names[index]: float(total[index]) for index in np.argsort(-np.abs(total))}

    def _sizes(self, spec: CreditSpec) -> Parts:
        """Numbers that are read of a step."""
        latents = 0
        if self.latents == "any":
            assert spec.encoder is not None
            latents = latent_size(spec.encoder, self.view)
        return Parts(latents, 1, 2 * (spec.observation_size + spec.action_size))

    def _width(self, moments: Parts, group: Group) -> int:
        """Columns of a group."""
        return len(_KERNELS) * _WAVES[group] if group in _WAVES else len(getattr(moments, group).mean)

    def _groups(self, moments: Parts) -> tuple[int, ...]:
        """Columns of each group that is solved; random features are one group for each kernel."""
        widths = ((group, self._width(moments, group)) for group in self.groups)
        return tuple(
            each
            for group, width in widths
            for each in ((width // len(_KERNELS),) * len(_KERNELS) if group in _WAVES else (width,))
        )

    def _units(self, state: Solution) -> tuple[Float[Array, " column"], Float[Array, " column"]]:
        """Mean and standard deviation of each column over single steps; random features have the unit 1."""
        means, spreads = [], []
        for group in self.groups:
            if group in _WAVES:
                width = self._width(state.moments, group)
                means.append(jnp.zeros(width))
                spreads.append(jnp.ones(width))
            else:
                means.append(getattr(state.moments, group).mean)
                spreads.append(deviation(getattr(state.moments, group)))
        return jnp.concatenate(means), jnp.concatenate(spreads)

    def _columns(
        self, state: Solution, features: Float[Array, "*batch feature"]
    ) -> list[Float[Array, "*batch _"]]:
        """The columns of each group."""
        parts = _split(state, features)

        def columns(group: Group) -> Float[Array, "*batch _"]:
            part = getattr(parts, _part(group))
            if group not in _WAVES:
                return part
            return _waves(state.waves[group], getattr(state.settled, _part(group)), part)

        return [columns(group) for group in self.groups]


def _part(group: Group) -> str:
    """The part of a step that a group of columns is made of."""
    return group.removesuffix("-waves")


def _split(state: Solution, features: Float[Array, "*batch feature"]) -> Parts:
    """The parts of what was read of a step."""
    sizes = [len(moments.mean) for moments in state.moments]
    return Parts(*jnp.split(features, np.cumsum(sizes)[:-1], axis=-1))


def _draw_waves(key: Key, size: int, count: int) -> Waves:
    """Random frequencies of Gaussian kernels over ``size`` numbers, ``count`` for each of ``_KERNELS``."""
    frequencies = []
    k_phases, *keys = jax.random.split(key, 1 + len(_KERNELS))
    for each, (order, length) in zip(keys, _KERNELS, strict=True):
        k_frequency, k_chosen = jax.random.split(each)
        read = min(order or size, size)
        ranks = jax.random.uniform(k_chosen, (size, count)).argsort(axis=0).argsort(axis=0)
        drawn = jax.random.normal(k_frequency, (size, count)) / (2 * np.pi * length * np.sqrt(read / 4))
        frequencies.append(jnp.where(ranks < read, drawn, 0.0))
    phases = jax.random.uniform(k_phases, (count * len(_KERNELS),))
    return Waves(jnp.concatenate(frequencies, axis=1), phases)


def _waves(waves: Waves, units: Moments, read: Float[Array, "*batch read"]) -> Float[Array, "*batch wave"]:
    """Random Fourier features √2 cos 2π(νᵀx + φ) of x in the units of the first episodes."""
    scale = deviation(units)
    inputs = jnp.where(scale > 0, (read - units.mean) / jnp.where(scale > 0, scale, 1.0), 0.0)
    return np.float32(np.sqrt(2)) * cosine(inputs @ waves.frequencies + waves.phases)


def cosine(turns: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
    """cos 2πx to within 1e-6, by a polynomial of the least largest error; five times as fast as ``jnp.cos``."""
    square = (turns - jnp.round(turns)) ** 2
    value = jnp.full_like(square, _COSINE[-1])
    for coefficient in _COSINE[-2::-1]:
        value = value * square + coefficient
    return value
