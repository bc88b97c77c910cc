"""AREL: attention over time and agents for one reward per step (Xiao et al. 2022, arXiv 2201.04612).

``h = blocks over time and agents in turn (W x + p)`` and ``r̂_t = Σ_i v·h_ti + b``, fitted by ``(R − Σ_t r̂_t)² + ω
Var_t(r̂_t)`` with ω = 20. All agents of a step share r̂_t equally, so that rewards still sum to what was fitted.

Here both terms are divided by L². The code released with LaRe scrambles steps and agents of the rewards before the
policy sees them, and pays r̂_t to each agent. Its heads are as wide as the token each; here they share it. Its last
layers have no activation between them, so that they are one linear layer, as here.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from latent_reward.credit.losses import full_sum_loss
from latent_reward.credit.sequence.attention import Stack, init_stack, read_steps, require_shares
from latent_reward.credit.sequence.base import EpisodeNetwork
from latent_reward.data.episodes import team_mean
from latent_reward.networks import MLP, init_mlp
from latent_reward.types import (
    AgentMask,
    EpisodeFeatures,
    EpisodeMask,
    EpisodeRewards,
    Key,
    Returns,
    Scalar,
)


class Network(NamedTuple):
    """Blocks over time and agents, and what each agent adds to the reward of a step."""

    stack: Stack
    head: MLP


@dataclass(frozen=True)
class AREL(EpisodeNetwork):
    """Settings.

    Attributes:
        width: numbers of a token.
        heads: of attention; each reads an equal part of the width.
        layers: blocks over time, and as many over agents.
        variance: ω, weight of the variance of rewards over the steps of an episode.
    """

    width: int = 32
    heads: int = 4
    layers: int = 2
    variance: float = 20.0
    kind: Literal["arel"] = "arel"

    def __post_init__(self):
        """Raise a :class:`~latent_reward.errors.LareError` if heads cannot share the width."""
        require_shares(self.width, self.heads)

    def init(self, key: Key, *, size: int, horizon: int, agents: int) -> Network:
        """Fresh parameters."""
        k_stack, k_head = jax.random.split(key)
        stack = init_stack(
            k_stack, size=size, horizon=horizon, width=self.width, heads=self.heads,
            time=self.layers, agents=self.layers,
        )  # fmt: skip
        return Network(stack, init_mlp(k_head, (self.width, 1)))

    def loss(
        self, network: Network, features: EpisodeFeatures, mask: AgentMask, returns: Returns, key: Key
    ) -> Scalar:
        """((R − Σ_t r̂_t) / L)² + ω Var_t(r̂_t) / L²."""
        rewards, steps = self.credit(network, features, mask, None), mask.any(axis=2)
        return full_sum_loss(rewards, steps, returns) + self.variance * scaled_variance(rewards, steps)

    def credit(
        self, network: Network, features: EpisodeFeatures, mask: AgentMask, returns: Returns | None
    ) -> EpisodeRewards:
        """r̂_t in equal parts for the agents of the step."""
        rewards = network.head(read_steps(network.stack, features, mask))[..., 0]
        return team_mean(jnp.where(mask, rewards, 0.0), mask)


def scaled_variance(rewards: EpisodeRewards, mask: EpisodeMask) -> Scalar:
    """mean_b Var_t(Σ_i r̂_ti) / L_b², over the steps where ``mask`` is true."""
    length = mask.sum(axis=1)
    team = jnp.where(mask, rewards.sum(axis=2), 0.0)
    centred = jnp.where(mask, team - (team.sum(axis=1) / length)[:, None], 0.0)
    return jnp.mean((centred**2).sum(axis=1) / length**3)
