"""LRR: likelihood reward redistribution, with a variance for every step (Xiao and Jiao 2025, arXiv 2503.17409).

The reward of a step is N(μ(x), σ(x)²). What the return leaves for a step is the return without the others, ``y_t = R
− Σ_{s≠t} μ_s``, and ``−Σ_t log N(y_t; μ_t, σ_t²)`` is minimised. Since ``y_t − μ_t`` is the same error ``R − Σ_s
μ_s`` for all steps of an episode, that is

    Σ_t [ (R − Σ_s μ_s)² / 2σ_t² + log σ_t ],

the squared error of return decomposition weighted by how certain its steps are; with one fixed σ it is that loss.

Only the abstract and summaries of the paper could be read, and no code was found. They say: a parametric distribution
per step, leave-one-out with the entire trajectory, and the squared error as the special case. Whether the others
enter by their means (as here) or by samples, whether they are held fixed in the gradient (here they are not), and all
hyper-parameters could not be established. The error is divided by L here, so that one step size serves any horizon; σ
is then the error of the mean reward of an episode, not of a single reward, and is not shown as uncertainty.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from latent_reward.credit.base import CreditSpec, Metrics
from latent_reward.credit.decoder import (
    Batch,
    Decoder,
    descend,
    draw_batch,
    every,
    init_decoder,
    inputs,
    observe,
    period_of,
    unit,
)
from latent_reward.credit.features import Kind, NetworkMethod
from latent_reward.data.buffer import Buffer
from latent_reward.data.episodes import Episodes
from latent_reward.encoder.view import View
from latent_reward.networks import MLP, init_mlp
from latent_reward.types import AgentMask, EpisodeFeatures, EpisodeRewards, Key, Lengths, Returns, Scalar

_MOST_LOG = 3.0  # σ stays between e⁻³ and e³ units of reward


class State(NamedTuple):
    """The network, how many updates were asked for, and the last loss."""

    decoder: Decoder
    updates: Int[Array, ""]
    loss: Scalar


@dataclass(frozen=True)
class LRR(NetworkMethod):
    """r̂ = μ(x) of single steps, the mean of a normal distribution that is fitted by maximum likelihood.

    Attributes:
        input: what the network reads: ``latent`` (the encoder's output), ``raw`` (o, a, o − o′) or ``next`` (o′).
        view: what the encoder reads: the ``current`` observation o, the ``next`` one o′, or ``both``.
        batch_steps: steps per update. Divided by the horizon it gives the episodes; a longer episode is read whole,
            but then only in some of the updates.
        hidden: widths of the hidden layers.
        learning_rate: Adam's step size.
    """

    input: Kind = "raw"
    view: View = "next"
    batch_steps: int = 256
    hidden: tuple[int, ...] = (128, 128)
    learning_rate: float = 3e-4
    kind: Literal["lrr"] = "lrr"

    def init(self, spec: CreditSpec, key: Key) -> State:
        """A fresh network."""
        size = self.feature_size(spec)
        decoder = init_decoder(init_mlp(key, (size, *self.hidden, 2)), size)
        return State(decoder, jnp.zeros((), jnp.int32), jnp.zeros(()))

    def observe(self, state: State, features: EpisodeFeatures, episodes: Episodes) -> State:
        """Fold finished episodes into the running moments."""
        return state._replace(decoder=observe(state.decoder, features, episodes))

    def draw(self, spec: CreditSpec, key: Key, buffer: Buffer) -> Batch:
        """Whole stored episodes at random."""
        return draw_batch(self, spec, key, buffer, episodes=self._episodes(spec), subset=None)

    def update(self, spec: CreditSpec, state: State, drawn: Batch) -> tuple[State, Metrics]:
        """One Adam step of the network if one is due; ``decoder_loss`` is the last loss before one."""
        decoder = state.decoder
        read, returns = inputs(decoder, drawn.features, drawn.mask), drawn.returns / unit(decoder)

        def loss(network: MLP) -> Scalar:
            mean, log_deviation = distribution(network, read)
            return likelihood_loss(mean, log_deviation, drawn.mask, returns, drawn.lengths)

        def turn(carry: tuple[Decoder, Scalar]) -> tuple[Decoder, Scalar]:
            return descend(carry[0], loss, self.learning_rate)

        period = period_of(self._episodes(spec) * spec.horizon, self.batch_steps)
        decoder, value = every(period, state.updates, turn, (decoder, state.loss))
        return State(decoder, state.updates + 1, value), {"decoder_loss": value}

    def reward(
        self,
        state: State,
        features: Float[Array, "*batch agent feature"],
        mask: Bool[Array, "*batch agent"],
    ) -> Float[Array, "*batch agent"]:
        """μ in the environment's units."""
        decoder = state.decoder
        mean, _ = distribution(decoder.network, inputs(decoder, features, mask))
        return jnp.where(mask, mean, 0.0) * unit(decoder)

    def _episodes(self, spec: CreditSpec) -> int:
        return max(1, self.batch_steps // spec.horizon)


def distribution(
    network: MLP, features: Float[Array, "*batch feature"]
) -> tuple[Float[Array, "*batch"], Float[Array, "*batch"]]:
    """μ and log σ."""
    found = network(features)
    return found[..., 0], _MOST_LOG * jnp.tanh(found[..., 1] / _MOST_LOG)


def likelihood_loss(
    mean: EpisodeRewards, log_deviation: EpisodeRewards, mask: AgentMask, returns: Returns, lengths: Lengths
) -> Scalar:
    """mean_b mean_{t,i} [e_b²/2σ_bti² + log σ_bti] where ``mask`` is true, with e_b = (R_b − Σ_t Σ_i μ_bti) / L_b."""
    error = (returns - jnp.where(mask, mean, 0.0).sum(axis=(1, 2))) / jnp.maximum(lengths, 1)
    log_deviation = jnp.where(mask, log_deviation, 0.0)
    each = 0.5 * error[:, None, None] ** 2 * jnp.exp(-2.0 * log_deviation) + log_deviation
    return (jnp.where(mask, each, 0.0).sum(axis=(1, 2)) / jnp.maximum(mask.sum(axis=(1, 2)), 1)).mean()
