"""Credit that is solved rather than learned: no step size, no unit, no network, and with or without latents.

The reward of a step is linear in groups of columns: latents of an encoder, the raw step (o, a, a², o′), whether the
step terminated the agent, and random Fourier features of the standardised step, with which it is a Gaussian process
(Rahimi and Recht 2007, "Random features for large-scale kernel machines") at four length scales. The weights of each
group have a penalty of their own, all chosen by the evidence (:mod:`latent_reward.credit.evidence`), so that a group
that is not needed is switched off.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from latent_reward.credit.base import CreditSpec, Method
from latent_reward.credit.evidence import Equations, add_equations, init_equations, solve
from latent_reward.credit.features import step_features
from latent_reward.credit.moments import Moments, deviation, init_moments, merge, standardise
from latent_reward.data.episodes import Episodes
from latent_reward.encoder.view import View, latent_size
from latent_reward.errors import LareError, require_choice
from latent_reward.types import EpisodeFeatures, Key

Group = Literal["latent", "raw", "termination", "random"]

_SCALES = (1.0, 2.0, 4.0, 8.0)  # length scales of random features, times √(D/4) for D numbers per step
_WAVES = 96  # random features of each length scale
_SETTLED = 10  # episodes after which the units of random features stay as they are


class Solution(NamedTuple):
    """State of the method.

    Attributes:
        moments: of what is read of a step.
        settled: the moments of the first episodes, in whose units random features are.
        frequencies: of random features.
        phases: of random features.
        columns: moments of all columns.
        equations: what is solved, and the solution.
    """

    moments: Moments
    settled: Moments
    frequencies: Float[Array, "read wave"]
    phases: Float[Array, " wave"]
    columns: Moments
    equations: Equations


@dataclass(frozen=True)
class Solved(Method):
    """r̂ = Σ_g w_g·x_g + b, with the weights that explain the returns of the newest episodes best.

    Attributes:
        groups: which columns there are.
        view: where the encoder looks, if latents are among them.
        every: episodes after which the equations are solved again; the first 32 are solved at once.
    """

    groups: tuple[Group, ...]
    view: View = "both"
    every: int = 8
    kind: Literal["solved"] = "solved"

    def __post_init__(self):
        """Raise a :class:`~latent_reward.errors.LareError` for a group that does not exist."""
        if not self.groups or len(set(self.groups)) < len(self.groups):
            raise LareError(f"groups: {self.groups} must be different groups, at least one")
        for group in self.groups:
            require_choice("groups", group, Group)
        require_choice("view", self.view, View)

    @property
    def latents(self) -> Literal["none", "any"]:
        """Whether latents are among the groups."""
        return "any" if "latent" in self.groups else "none"

    @property
    def learns(self) -> bool:
        """Weights are fitted to returns."""
        return True

    def init(self, spec: CreditSpec, key: Key) -> Solution:
        """Nothing is known; the frequencies of random features are drawn."""
        read = 2 * (spec.observation_size + spec.action_size)
        k_frequencies, k_phases = jax.random.split(key)
        lengths = np.repeat(np.array(_SCALES) * np.sqrt(read / 4), _WAVES).astype(np.float32)
        waves = len(lengths) if "random" in self.groups else 0
        frequencies = jax.random.normal(k_frequencies, (read, waves)) / lengths[:waves]
        phases = jax.random.uniform(k_phases, (waves,), maxval=2 * np.pi)
        sizes = self._sizes(self._latents(spec), read)
        moments = init_moments(self.feature_size(spec))
        return Solution(
            moments,
            moments,
            frequencies,
            phases,
            init_moments(sum(sizes)),
            init_equations(sizes),
        )

    def feature_size(self, spec: CreditSpec) -> int:
        """Latents, termination, and (o, a, a², o′)."""
        return self._latents(spec) + 1 + self.derived_size(spec)

    def derived_size(self, spec: CreditSpec) -> int:
        """(o, a, a², o′)."""
        return 2 * (spec.observation_size + spec.action_size)

    def features(
        self, spec: CreditSpec, episodes: Episodes, action: Float[Array, "episode time agent action"]
    ) -> EpisodeFeatures:
        """Latents, whether the step terminated the agent, and (o, a, a², o′)."""
        ended = episodes.terminated[..., None].astype(jnp.float32)
        parts = [ended, self.derive(episodes.before, action, episodes.after)]
        if "latent" in self.groups:
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
        """Add the equations of finished episodes, and solve them."""
        rows, mask = features.reshape(-1, features.shape[-1]), episodes.mask.reshape(-1)
        moments = merge(state.moments, rows, mask)
        known = state.equations.episodes
        settled = jax.tree.map(lambda new, old: jnp.where(known < _SETTLED, new, old), moments, state.settled)
        state = state._replace(moments=moments, settled=settled)
        columns = self._columns(state, features)
        spread = merge(state.columns, columns.reshape(-1, columns.shape[-1]), mask)
        equations = add_equations(state.equations, columns, episodes.mask, episodes.returns)
        read = len(state.frequencies)
        groups = self._sizes(features.shape[-1] - 1 - read, read)
        now = equations.episodes
        due = (now != known) & ((now <= 32) | (now // self.every != known // self.every))
        equations = jax.lax.cond(
            due,
            lambda known: solve(known, groups, spread.mean, deviation(spread)),
            lambda known: known,
            equations,
        )
        return state._replace(columns=spread, equations=equations)

    def reward(
        self,
        state: Solution,
        features: Float[Array, "*batch agent feature"],
        mask: Bool[Array, "*batch agent"],
    ) -> Float[Array, "*batch agent"]:
        """Σ_g w_g·x_g + b."""
        reward = self._columns(state, features) @ state.equations.weight + state.equations.bias
        return jnp.where(mask, reward, 0.0)

    def latent_weights(self, spec: CreditSpec, state: Solution) -> dict[str, float]:
        """Reward per standard deviation of each latent, the largest first; both looks at it together."""
        if spec.encoder is None:
            return {}
        count, names = self._latents(spec), spec.encoder.latent_names
        values = np.asarray(state.equations.weight[:count] * deviation(state.columns)[:count])
        total = values.reshape(-1, len(names)).sum(axis=0)
        return {names[index]: float(total[index]) for index in np.argsort(-np.abs(total))}

    def _latents(self, spec: CreditSpec) -> int:
        if "latent" not in self.groups:
            return 0
        assert spec.encoder is not None
        return latent_size(spec.encoder, self.view)

    def _sizes(self, latents: int, read: int) -> tuple[int, ...]:
        """Columns of each group that is solved; random features are one group for each length scale."""
        sizes = {
            "latent": (latents,),
            "raw": (read,),
            "termination": (1,),
            "random": (_WAVES,) * len(_SCALES),
        }
        return tuple(size for group, each in sizes.items() if group in self.groups for size in each)

    def _columns(
        self, state: Solution, features: Float[Array, "*batch feature"]
    ) -> Float[Array, "*batch column"]:
        """The columns of all groups, in the order of ``_sizes``."""
        read = len(state.frequencies)
        latents, ended, step = jnp.split(
            features, (features.shape[-1] - read - 1, features.shape[-1] - read), axis=-1
        )
        columns = {"latent": lambda: latents, "raw": lambda: step, "termination": lambda: ended}
        columns["random"] = lambda: self._waves(state, step)
        return jnp.concatenate([make() for group, make in columns.items() if group in self.groups], axis=-1)

    def _waves(self, state: Solution, step: Float[Array, "*batch read"]) -> Float[Array, "*batch wave"]:
        """Random Fourier features of steps in the units of the first episodes."""
        read = len(state.frequencies)
        settled = Moments(state.settled.rows, state.settled.mean[-read:], state.settled.spread[-read:])
        return np.sqrt(2 / _WAVES) * jnp.cos(standardise(settled, step) @ state.frequencies + state.phases)
