"""The references every method is compared with: fixed rules that redistribute the hidden rewards."""

from dataclasses import dataclass
from typing import Any, Literal

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from latent_reward.credit.base import CreditSpec, Method
from latent_reward.data.episodes import Episodes, last_step
from latent_reward.errors import require_choice
from latent_reward.types import AgentMask, EpisodeFeatures, EpisodeRewards

Rule = Literal["dense", "episodic", "uniform"]


@dataclass(frozen=True)
class Reference(Method):
    """A rule with nothing to learn: ``dense`` r_t, ``episodic`` R at the last step, ``uniform`` R/L."""

    rule: Rule
    kind: Literal["reference"] = "reference"

    def __post_init__(self):
        """Raise a :class:`~latent_reward.errors.LareError` for a rule that does not exist."""
        require_choice("rule", self.rule, Rule)

    @property
    def reference(self) -> bool:
        """It reads the hidden rewards."""
        return True

    @property
    def needs_step_rewards(self) -> bool:
        """``dense`` is the reward of each step; the other rules redistribute the return."""
        return self.rule == "dense"

    def feature_size(self, spec: CreditSpec) -> int:
        """The reward."""
        return 1

    def features(
        self, spec: CreditSpec, episodes: Episodes, action: Float[Array, "episode time agent action"]
    ) -> EpisodeFeatures:
        """The reward by the rule, which never changes."""
        return redistribute(self.rule, episodes.hidden_reward, episodes.mask)[..., None]

    def reward(
        self,
        state: Any,
        features: Float[Array, "*batch agent feature"],
        mask: Bool[Array, "*batch agent"],
    ) -> Float[Array, "*batch agent"]:
        """The stored reward."""
        return features[..., 0]


def redistribute(rule: Rule, rewards: EpisodeRewards, mask: AgentMask) -> EpisodeRewards:
    """Reward of each step and agent by a rule, from the hidden rewards of finished episodes.

    ``dense`` returns them. ``episodic`` puts their sum R on the last step, in equal parts for the agents that
    are there; ``uniform`` gives every step of every agent the same.
    """
    rewards = jnp.where(mask, rewards, 0.0)
    if rule == "dense":
        return rewards
    if rule == "episodic":
        last = jnp.arange(rewards.shape[1]) == last_step(mask)[:, None]
        mask = mask & last[..., None]
    total, count = (each.sum(axis=(1, 2), keepdims=True) for each in (rewards, mask))
    return jnp.where(mask, total / jnp.maximum(count, 1), 0.0)
