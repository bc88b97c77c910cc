"""VIB: a learned bottleneck in the place of an encoder's latents (Alemi et al. 2017, arXiv 1612.00410).

``z ~ N(μ(x), σ(x)²)`` and ``r̂ = f(z)``, fitted by the loss of random subsets plus ``β KL(N(μ, σ²) ‖ N(0, 1))``, the
mean over the steps and agents of the batch. It is what LaRe is without a language model: a few numbers that keep what
matters, but learned from returns alone.

z is drawn in the fit, and is μ when rewards are decoded; the code released with LaRe draws it then as well. That code
does not divide inputs and returns by anything, and for teams weighs KL by 1 beside a loss that is not divided by L².
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from latent_reward.credit.base import CreditSpec, Metrics
from latent_reward.credit.decoder import (
    Batch,
    Decoder,
    descend,
    draw_batch,
    init_decoder,
    inputs,
    observe,
    unit,
)
from latent_reward.credit.features import Kind, NetworkMethod
from latent_reward.credit.losses import subset_loss
from latent_reward.data.buffer import Buffer
from latent_reward.data.episodes import Episodes
from latent_reward.encoder.view import View
from latent_reward.errors import require_choice
from latent_reward.networks import MLP, init_mlp
from latent_reward.types import AgentMask, EpisodeFeatures, Key, Scalar


class Network(NamedTuple):
    """x to (μ, log σ²), and z to the reward."""

    encoder: MLP
    head: MLP


class Drawn(NamedTuple):
    """Steps, and the standard normal noise of their z."""

    batch: Batch
    noise: Float[Array, "episode step agent latent"]


Inputs = Literal["raw", "next"]


@dataclass(frozen=True)
class VIB(NetworkMethod):
    """r̂ = f(z) of single steps, with z a bottleneck that is learned.

    Attributes:
        input: what the encoder reads: ``raw`` (o, a, o − o′) or ``next`` (o′).
        latent: numbers of z.
        kl: β, weight of the divergence of z from the standard normal distribution.
        subset: K, steps per episode in a random subset; shorter episodes are read whole.
        batch_steps: steps per update; divided by K (or the horizon) it gives the episodes.
        hidden: widths of the hidden layers of both networks.
        learning_rate: Adam's step size.
        view: ``next``; it has no meaning, since no encoder is read.
    """

    input: Kind = "raw"
    latent: int = 8
    kl: float = 5e-3
    subset: int = 64
    batch_steps: int = 256
    hidden: tuple[int, ...] = (128, 128)
    learning_rate: float = 3e-4
    view: View = "next"
    kind: Literal["vib"] = "vib"

    def __post_init__(self):
        """Raise a :class:`~latent_reward.errors.LareError` for an input that does not exist, or for a view."""
        require_choice("input", self.input, Inputs)
        require_choice("view", self.view, Literal["next"])

    def init(self, spec: CreditSpec, key: Key) -> Decoder:
        """Fresh networks."""
        size, (k_encoder, k_head) = self.feature_size(spec), jax.random.split(key)
        encoder = init_mlp(k_encoder, (size, *self.hidden, 2 * self.latent))
        return init_decoder(Network(encoder, init_mlp(k_head, (self.latent, *self.hidden, 1))), size)

    def observe(self, state: Decoder, features: EpisodeFeatures, episodes: Episodes) -> Decoder:
        """Fold finished episodes into the running moments."""
        return observe(state, features, episodes)

    def draw(self, spec: CreditSpec, key: Key, buffer: Buffer) -> Drawn:
        """Stored episodes at random, whole or a random subset of the steps of each, and noise."""
        k_batch, k_noise = jax.random.split(key)
        subset = min(self.subset, spec.horizon)
        episodes = max(1, self.batch_steps // subset)
        batch = draw_batch(self, spec, k_batch, buffer, episodes=episodes, subset=subset)
        shape = (*batch.mask.shape, self.latent)
        # drawn in one long row: the same numbers, of which the compiler makes wide instructions
        noise = jax.random.normal(k_noise, (batch.mask.size * self.latent,)).reshape(shape)
        return Drawn(batch, noise)

    def update(self, spec: CreditSpec, state: Decoder, drawn: Drawn) -> tuple[Decoder, Metrics]:
        """One Adam step of both networks; ``decoder_loss`` is the loss before it."""
        batch = drawn.batch
        read, returns = inputs(state, batch.features, batch.mask), batch.returns / unit(state)

        def loss(network: Network) -> Scalar:
            mean, log_variance = encode(network, read)
            rewards = network.head(mean + jnp.exp(0.5 * log_variance) * drawn.noise)[..., 0]
            rewards, steps = jnp.where(batch.mask, rewards, 0.0), batch.mask.any(axis=2)
            explained = subset_loss(rewards, steps, returns, batch.lengths, unbiased=False)
            return explained + self.kl * divergence(mean, log_variance, batch.mask)

        state, value = descend(state, loss, self.learning_rate)
        return state, {"decoder_loss": value}

    def reward(
        self,
        state: Decoder,
        features: Float[Array, "*batch agent feature"],
        mask: Bool[Array, "*batch agent"],
    ) -> Float[Array, "*batch agent"]:
        """f(μ) in the environment's units."""
        mean, _ = encode(state.network, inputs(state, features, mask))
        return jnp.where(mask, state.network.head(mean)[..., 0], 0.0) * unit(state)


def encode(
    network: Network, features: Float[Array, "*batch feature"]
) -> tuple[Float[Array, "*batch latent"], Float[Array, "*batch latent"]]:
    """μ and log σ², the latter between −10 and 4."""
    mean, log_variance = jnp.split(network.encoder(features), 2, axis=-1)
    return mean, jnp.clip(log_variance, -10.0, 4.0)


def divergence(
    mean: Float[Array, "episode step agent latent"],
    log_variance: Float[Array, "episode step agent latent"],
    mask: AgentMask,
) -> Scalar:
    """KL(N(μ, σ²) ‖ N(0, 1)) = ½ Σ_k (μ_k² + σ_k² − log σ_k² − 1), the mean over the agents and steps that exist."""
    each = 0.5 * (mean**2 + jnp.exp(log_variance) - log_variance - 1.0).sum(axis=-1)
    return jnp.where(mask, each, 0.0).sum() / jnp.maximum(mask.sum(), 1)
