"""TAR²: a share of the return for every step and agent (Kapoor et al. 2025, arXiv 2502.04864).

Scores ``c_ti > 0`` come from attention over time and agents and from the end of the episode, and are fitted by ``(|R|
− Σ_t Σ_i c_ti)²``. The reward is a share of the return, ``r_ti = R · w_t · w_ti`` with ``w_t = Σ_i c_ti / Σ_t Σ_i
c_ti`` and ``w_ti = c_ti / Σ_i c_ti``. So rewards sum to the return exactly, whatever was learned, and all have its
sign.

What the abstract and the introduction say could be read, and the released code; the equations and the
hyper-parameters of the paper could not be established. The code holds three variants. Its latest one regresses
unbounded scores and turns them into shares by subtracting the smallest of an episode and of a step, so that where
returns are negative the best step pays most; an earlier one has positive scores with the sign of the return, as here.
Not taken over: a second head of weight 0.05 that predicts actions from the past, which latents do not hold.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from latent_reward.credit.losses import full_sum_loss
from latent_reward.credit.sequence.attention import Stack, init_stack, read_steps, require_shares
from latent_reward.credit.sequence.base import EpisodeNetwork
from latent_reward.networks import MLP, init_mlp
from latent_reward.types import AgentMask, EpisodeFeatures, EpisodeRewards, Key, Returns, Scalar


class Network(NamedTuple):
    """Blocks over time and agents, and a head with a score for each sign of the return."""

    stack: Stack
    head: MLP


@dataclass(frozen=True)
class TAR2(EpisodeNetwork):
    """Settings.

    Attributes:
        width: numbers of a token.
        heads: of attention; each reads an equal part of the width.
        layers: blocks over time, and as many over agents.
    """

    width: int = 32
    heads: int = 4
    layers: int = 2
    kind: Literal["tar2"] = "tar2"

    def __post_init__(self):
        """Raise a :class:`~latent_reward.errors.LareError` if heads cannot share the width."""
        require_shares(self.width, self.heads)

    @property
    def told(self) -> bool:
        """Rewards are shares of the return."""
        return True

    def init(self, key: Key, *, size: int, horizon: int, agents: int) -> Network:
        """Fresh parameters."""
        k_stack, k_head = jax.random.split(key)
        stack = init_stack(
            k_stack, size=size, horizon=horizon, width=self.width, heads=self.heads,
            time=self.layers, agents=self.layers,
        )  # fmt: skip
        return Network(stack, init_mlp(k_head, (2 * self.width, self.width, 2)))

    def loss(
        self, network: Network, features: EpisodeFeatures, mask: AgentMask, returns: Returns, key: Key
    ) -> Scalar:
        """((|R| − Σ_t Σ_i c_ti) / L)²."""
        scores = self.scores(network, features, mask, returns)
        return full_sum_loss(scores, mask.any(axis=2), jnp.abs(returns))

    def credit(
        self, network: Network, features: EpisodeFeatures, mask: AgentMask, returns: Returns | None
    ) -> EpisodeRewards:
        """R · w_t · w_ti."""
        assert returns is not None
        return shares(self.scores(network, features, mask, returns), mask) * returns[:, None, None]

    def scores(
        self, network: Network, features: EpisodeFeatures, mask: AgentMask, returns: Returns
    ) -> EpisodeRewards:
        """c of every step and agent, by the head for the sign of the return; 0 where the mask is false."""
        tokens = read_steps(network.stack, features, mask)
        end = jnp.broadcast_to(last(tokens, mask)[:, None, None], tokens.shape)
        both = jax.nn.softplus(network.head(jnp.concatenate([tokens, end], axis=-1)))
        chosen = jnp.where(returns[:, None, None] < 0, both[..., 0], both[..., 1])
        return jnp.where(mask, chosen, 0.0)


def shares(scores: EpisodeRewards, mask: AgentMask) -> EpisodeRewards:
    """w_t · w_ti = c_ti / Σ_t Σ_i c_ti, equal parts where all scores are 0; 0 where the mask is false."""
    most = scores.max(axis=(1, 2), keepdims=True)
    scores = jnp.where(most > 0, scores / jnp.where(most > 0, most, 1.0), 1.0)
    scores = jnp.where(mask, scores, 0.0)
    return scores / jnp.maximum(scores.sum(axis=(1, 2), keepdims=True), 1.0)


def last(tokens: Float[Array, "episode time agent width"], mask: AgentMask) -> Float[Array, "episode width"]:
    """The mean over agents of the last step of each that was there at all."""
    count, steps = mask.shape[1], jnp.arange(mask.shape[1])[:, None]
    place = jnp.where(mask, steps, -1).max(axis=1)
    chosen = jnp.clip(place, 0, count - 1)[:, None, :, None]
    ends = jnp.take_along_axis(tokens, chosen, axis=1)[:, 0]
    there = place >= 0
    total = jnp.where(there[..., None], ends, 0.0).sum(axis=1)
    return total / jnp.maximum(there.sum(axis=1), 1)[:, None]
