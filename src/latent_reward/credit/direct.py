"""The encoder's single latent as the reward: nothing to learn, no return needed."""

from dataclasses import dataclass
from typing import Any, Literal

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from latent_reward.credit.base import CreditSpec, Method
from latent_reward.credit.features import step_features
from latent_reward.data.episodes import Episodes
from latent_reward.errors import require_choice
from latent_reward.types import EpisodeFeatures

Look = Literal["current", "next"]


@dataclass(frozen=True)
class Direct(Method):
    """r = φ, with the observation of ``view`` before φ: the reward as a language model wrote it."""

    view: Look = "next"
    kind: Literal["direct"] = "direct"

    def __post_init__(self):
        """Raise a :class:`~latent_reward.errors.LareError` for a view that does not exist."""
        require_choice("view", self.view, Look)

    @property
    def latents(self) -> Literal["one"]:
        """The encoder must have exactly one."""
        return "one"

    def feature_size(self, spec: CreditSpec) -> int:
        """The latent."""
        return 1

    def features(
        self, spec: CreditSpec, episodes: Episodes, action: Float[Array, "episode time agent action"]
    ) -> EpisodeFeatures:
        """φ of each step."""
        return step_features("latent", self.view, spec, episodes.before, action, episodes.after)

    def reward(
        self,
        state: Any,
        features: Float[Array, "*batch agent feature"],
        mask: Bool[Array, "*batch agent"],
    ) -> Float[Array, "*batch agent"]:
        """The latent itself."""
        return jnp.where(mask, features[..., 0], 0.0)
