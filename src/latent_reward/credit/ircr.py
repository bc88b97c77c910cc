"""IRCR: every step of an episode is paid how good the episode was (Gangwani, Zhou and Peng 2020, arXiv 2010.12718).

``g = (R/L − min) / (max − min)`` with the extremes of R/L over all episodes so far: from 0 for every step of the
worst episode to 1 for the best. Nothing is fitted. Half of each batch from replay comes from the ten best stored
episodes.

The features of a step are R/L, which never changes; the extremes move, so rewards are decoded when they are needed.
The code released with LaRe cannot be called, and divides 0 by 0 as long as all returns are equal; here g is 0 then.
It takes the extremes over the episodes that are still stored, and keeps the ten best in a buffer of their own. In a
team R/L is the return per step and agent. Rewards are g in measured units, so that they have the unit of the
environment's.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from latent_reward.credit.base import CreditSpec, Method
from latent_reward.data.episodes import Episodes
from latent_reward.data.moments import Moments
from latent_reward.data.unit import init_unit, measure_unit, unit_of
from latent_reward.types import EpisodeFeatures, Key, Scalar


class Extremes(NamedTuple):
    """The least and the largest R/L so far, and the unit of rewards."""

    least: Scalar
    most: Scalar
    mean_reward: Moments


@dataclass(frozen=True)
class IRCR(Method):
    """Guidance rewards.

    Attributes:
        best: from how many of the best stored episodes half of each batch from replay is drawn; 0: none.
    """

    best: int = 10
    kind: Literal["ircr"] = "ircr"

    @property
    def told(self) -> bool:
        """Rewards are made of the return."""
        return True

    @property
    def best_episodes(self) -> int:
        """How many episodes half of each batch comes from."""
        return self.best

    def init(self, spec: CreditSpec, key: Key) -> Extremes:
        """Nothing was seen."""
        return Extremes(jnp.full((), jnp.inf), jnp.full((), -jnp.inf), init_unit())

    def feature_size(self, spec: CreditSpec) -> int:
        """R/L."""
        return 1

    def features(
        self, spec: CreditSpec, episodes: Episodes, action: Float[Array, "episode time agent action"]
    ) -> EpisodeFeatures:
        """R/L of the episode of each step."""
        count = jnp.maximum(episodes.mask.sum(axis=(1, 2)), 1)
        each = jnp.where(episodes.mask, (episodes.returns / count)[:, None, None], 0.0)
        return each[..., None]

    def observe(self, state: Extremes, features: EpisodeFeatures, episodes: Episodes) -> Extremes:
        """Move the extremes."""
        seen, value = episodes.mask, features[..., 0]
        return Extremes(
            jnp.minimum(state.least, jnp.where(seen, value, jnp.inf).min()),
            jnp.maximum(state.most, jnp.where(seen, value, -jnp.inf).max()),
            measure_unit(state.mean_reward, episodes),
        )

    def reward(
        self,
        state: Extremes,
        features: Float[Array, "*batch agent feature"],
        mask: Bool[Array, "*batch agent"],
    ) -> Float[Array, "*batch agent"]:
        """g in measured units; 0 as long as all returns are equal."""
        differ = state.most > state.least
        least, span = (
            jnp.where(differ, each, other)
            for each, other in ((state.least, 0.0), (state.most - state.least, 1.0))
        )
        guidance = jnp.where(mask & differ, (features[..., 0] - least) / span, 0.0)
        return guidance * unit_of(state.mean_reward)
