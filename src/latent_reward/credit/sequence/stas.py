"""STAS: causal attention over time, then Shapley attention over agents (Chen et al. 2024, arXiv 2304.07520).

``h = time blocks(W x + p)`` of each agent, ``g_i = 1/M Σ_m attention of agent i to a random coalition C_m ∋ i``, and
``r̂_ti = v·g_ti + b``, fitted by ``(R − Σ_t Σ_i r̂_ti)²``. With several levels (STAS-ML), a block over time and one
over agents take turns, and v reads the outputs of all levels.

The released code differs. It shuffles the identities of the agents in every pass and keeps dropout of 0.5 and random
coalitions when it relabels; here an agent is its place in the team, there is no dropout, and rewards are the mean
over fixed coalitions. It masks time with agents and episodes in another order than the data, which is wrong where
lengths differ. Its residual connections add the output of attention twice and the input once before a normalisation;
here they are the usual ones. It has a matrix of queries for each agent; here an agent is told apart by its embedding.
It is 128 wide with three blocks over time; here 32 with two, which one processor core can afford.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from latent_reward.credit.losses import full_sum_loss
from latent_reward.credit.sequence.attention import (
    Stack,
    embed,
    init_stack,
    normalise,
    over_agents,
    over_time,
    require_shares,
)
from latent_reward.credit.sequence.base import EpisodeNetwork
from latent_reward.networks import MLP, init_mlp
from latent_reward.types import AgentMask, EpisodeFeatures, EpisodeRewards, Key, Returns, Scalar

_FIXED = 16  # coalitions that rewards are decoded with: eight, and the same with all other agents exchanged


class Network(NamedTuple):
    """Blocks over time and agents, the embedding of each place in the team, and the reward of what comes out."""

    stack: Stack
    identity: Float[Array, "agent width"]
    head: MLP


@dataclass(frozen=True)
class STAS(EpisodeNetwork):
    """Settings.

    Attributes:
        levels: whether blocks over time and agents take turns and all their outputs are read (STAS-ML).
        width: numbers of a token.
        heads: of attention; each reads an equal part of the width.
        layers: blocks over time, and over agents with ``levels``; without, there is one over agents.
        coalitions: M, random coalitions in each update.
    """

    levels: bool = False
    width: int = 32
    heads: int = 4
    layers: int = 2
    coalitions: int = 5
    kind: Literal["stas"] = "stas"

    def __post_init__(self):
        """Raise a :class:`~latent_reward.errors.LareError` if heads cannot share the width."""
        require_shares(self.width, self.heads)

    def init(self, key: Key, *, size: int, horizon: int, agents: int) -> Network:
        """Fresh parameters."""
        k_stack, k_identity, k_head = jax.random.split(key, 3)
        stack = init_stack(
            k_stack, size=size, horizon=horizon, width=self.width, heads=self.heads,
            time=self.layers, agents=self.layers if self.levels else 1,
        )  # fmt: skip
        identity = 0.1 * jax.random.normal(k_identity, (agents, self.width))
        outputs = self.layers if self.levels else 1
        return Network(stack, identity, init_mlp(k_head, (outputs * self.width, 1)))

    def loss(
        self, network: Network, features: EpisodeFeatures, mask: AgentMask, returns: Returns, key: Key
    ) -> Scalar:
        """((R − Σ_t Σ_i r̂_ti) / L)², with coalitions that hold each other agent with probability ½."""
        count = mask.shape[2]
        others = jax.random.bernoulli(key, shape=(self.coalitions, count, count))
        rewards = self._decode(network, features, mask, others | jnp.eye(count, dtype=bool))
        return full_sum_loss(rewards, mask.any(axis=2), returns)

    def credit(
        self, network: Network, features: EpisodeFeatures, mask: AgentMask, returns: Returns | None
    ) -> EpisodeRewards:
        """r̂ with the same coalitions every time."""
        return self._decode(network, features, mask, jnp.asarray(fixed_coalitions(mask.shape[2])))

    def _decode(
        self,
        network: Network,
        features: EpisodeFeatures,
        mask: AgentMask,
        coalitions: Bool[Array, "coalition agent agent"],
    ) -> EpisodeRewards:
        stack, tokens, outputs = network.stack, embed(network.stack, features), []
        for level, block in enumerate(stack.time):
            tokens = over_time(block, tokens, mask)
            if self.levels or block is stack.time[-1]:
                agents = stack.agents[level if self.levels else 0]
                tokens = over_agents(agents, tokens + network.identity, mask, coalitions)
                outputs.append(normalise(tokens))
        rewards = network.head(jnp.concatenate(outputs, axis=-1))[..., 0]
        return jnp.where(mask, rewards, 0.0)


def fixed_coalitions(agents: int) -> Bool[np.ndarray, "coalition agent agent"]:
    """For each agent the same coalitions every time; every other agent is in half of them."""
    drawn = np.random.default_rng(0).random((_FIXED // 2, agents, agents)) < 0.5
    return np.concatenate([drawn, ~drawn]) | np.eye(agents, dtype=bool)
