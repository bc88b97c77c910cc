"""Credit that is solved rather than learned: no step size, no unit, no network, and with or without latents.

The reward of a step is linear in groups of columns: the latents of an encoder, the raw step (o, a, a², o′), whether
the step terminated the agent, and random hinges of the latents and of the raw step, with which it is a Gaussian
process (Rahimi and Recht 2007, "Random features for large-scale kernel machines", and 2008, "Weighted sums of random
kitchen sinks"). The weights of each group have a penalty of their own, all chosen by the evidence
(:mod:`latent_reward.credit.evidence`), so that a group that is not needed is switched off, and one that carries what
latents miss is switched on.
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
    Columns,
    Equations,
    add_equations,
    init_equations,
    posterior_deviation,
    solve,
)
from latent_reward.credit.features import step_features
from latent_reward.data.episodes import Episodes, team_mean
from latent_reward.data.moments import deviation, init_moments, inverse, merge
from latent_reward.encoder.view import View, latent_size
from latent_reward.errors import LareError, require_choice
from latent_reward.types import EpisodeFeatures, Key

Group = Literal["latent", "latent-hinges", "raw", "raw-hinges", "termination"]

_READ = (
    1,
    2,
    None,
)  # a hinge reads one number of a step, two, or all: sums of functions of few are found first
_HINGES = {"latent-hinges": 32, "raw-hinges": 96}  # of each of these kinds
_REACH = 2.0  # hinges bend within so many standard deviations of the mean, and are straight beyond
_ACTION_SHARE = 1 / 3  # the prior of what an action itself is worth, beside the prior of where it leads
_SETTLED = 10  # episodes after which the units of hinges stay as they are


class Hinges(NamedTuple):
    """Directions of length 1 and thresholds of random hinges."""

    directions: Float[Array, "read hinge"]
    thresholds: Float[Array, " hinge"]


class Parts(NamedTuple):
    """What is read of a step, in this order, or something of each of these: latents, termination, (o, a, a², o′)."""

    latent: Any
    termination: Any
    raw: Any


class Solution(NamedTuple):
    """State of the method.

    Attributes:
        moments: of each part of a step.
        settled: the same over the first episodes only; hinges are in these units.
        shares: of each part, what the prior of its columns' weights is multiplied by.
        hinges: of each group of hinges.
        equations: what is solved, and the solution.
    """

    moments: Parts
    settled: Parts
    shares: Parts
    hinges: dict[str, Hinges]
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
        """Nothing is known; the hinges are drawn."""
        sizes = self._sizes(spec)
        hinges = {
            group: _draw_hinges(jax.random.fold_in(key, number), getattr(sizes, _part(group)), count)
            for number, (group, count) in enumerate(_HINGES.items())
            if group in self.groups
        }
        moments = Parts(*map(init_moments, sizes))
        where, itself = np.ones(spec.observation_size), np.full(2 * spec.action_size, _ACTION_SHARE)
        step = jnp.asarray(np.concatenate([where, itself, where]), jnp.float32)
        shares = Parts(jnp.ones(sizes.latent), jnp.ones(1), step)
        return Solution(moments, moments, shares, hinges, init_equations(self._groups(moments)))

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
        return len(_READ) * _HINGES[group] if group in _HINGES else len(getattr(moments, group).mean)

    def _groups(self, moments: Parts) -> tuple[Columns, ...]:
        """The columns of each group that is solved; hinges are one group for each kind."""
        groups: list[Columns] = []
        for group in self.groups:
            width = self._width(moments, group)
            if group in _HINGES:
                groups += [Columns(width // len(_READ))] * len(_READ)
            else:
                groups.append(Columns(width, exact=group == "latent"))
        return tuple(groups)

    def _units(self, state: Solution) -> tuple[Float[Array, " column"], Float[Array, " column"]]:
        """Mean and unit of each column: its standard deviation over single steps by its share, or 1 for hinges."""
        means, units = [], []
        for group in self.groups:
            if group in _HINGES:
                width = self._width(state.moments, group)
                means.append(jnp.zeros(width))
                units.append(jnp.ones(width))
            else:
                moments = getattr(state.moments, group)
                means.append(moments.mean)
                units.append(deviation(moments) / getattr(state.shares, group))
        return jnp.concatenate(means), jnp.concatenate(units)

    def _columns(
        self, state: Solution, features: Float[Array, "*batch feature"]
    ) -> list[Float[Array, "*batch _"]]:
        """The columns of each group."""
        parts = _split(state, features)

        def columns(group: Group) -> Float[Array, "*batch _"]:
            part = getattr(parts, _part(group))
            if group not in _HINGES:
                return part
            settled, share = getattr(state.settled, _part(group)), getattr(state.shares, _part(group))
            inputs = (part - settled.mean) * inverse(deviation(settled)) * share
            return bend(state.hinges[group], inputs)

        return [columns(group) for group in self.groups]


def _part(group: Group) -> str:
    """The part of a step that a group of columns is made of."""
    return group.removesuffix("-hinges")


def _split(state: Solution, features: Float[Array, "*batch feature"]) -> Parts:
    """The parts of what was read of a step."""
    sizes = [len(moments.mean) for moments in state.moments]
    return Parts(*jnp.split(features, np.cumsum(sizes)[:-1], axis=-1))


def _draw_hinges(key: Key, size: int, count: int) -> Hinges:
    """Random hinges over ``size`` numbers, ``count`` for each kind of ``_READ``."""
    k_thresholds, *keys = jax.random.split(key, 1 + len(_READ))
    directions = []
    for each, read in zip(keys, _READ, strict=True):
        k_direction, k_chosen = jax.random.split(each)
        ranks = jax.random.uniform(k_chosen, (size, count)).argsort(axis=0).argsort(axis=0)
        drawn = jax.random.normal(k_direction, (size, count)) * (ranks < (read or size))
        directions.append(drawn / jnp.maximum(jnp.linalg.norm(drawn, axis=0), 1e-12))
    thresholds = jax.random.uniform(k_thresholds, (count * len(_READ),), minval=-_REACH, maxval=_REACH)
    return Hinges(jnp.concatenate(directions, axis=1), thresholds)


def bend(hinges: Hinges, read: Float[Array, "*batch read"]) -> Float[Array, "*batch hinge"]:
    """max(0, νᵀx − c) for each direction ν and threshold c."""
    return jax.nn.relu(read @ hinges.directions - hinges.thresholds)
