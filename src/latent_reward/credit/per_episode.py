"""Return decomposition with a network that reads whole episodes: STAS, AREL and TAR².

A network over all steps and agents of an episode (:mod:`latent_reward.credit.sequence`) is fitted to whole stored
episodes. It sees inputs in units of their standard deviation, and rewards in the measured unit of
:mod:`latent_reward.data.unit`.
"""

from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple

import jax
import jax.numpy as jnp
import pydantic
from jaxtyping import Array, Float

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
from latent_reward.credit.features import Kind, NetworkMethod, feature_size, step_features
from latent_reward.credit.sequence.arel import AREL
from latent_reward.credit.sequence.stas import STAS
from latent_reward.credit.sequence.tar2 import TAR2
from latent_reward.data.buffer import Buffer
from latent_reward.data.episodes import Episodes
from latent_reward.encoder.view import View
from latent_reward.types import AgentMask, EpisodeFeatures, EpisodeRewards, Key

LONGEST = 256
"""Steps of an episode that attention can afford: its cost grows with their square."""

Network = Annotated[STAS | AREL | TAR2, pydantic.Field(discriminator="kind")]


class Drawn(NamedTuple):
    """Whole episodes, and a key for what is random in the loss of a network."""

    batch: Batch
    key: Key


@dataclass(frozen=True)
class PerEpisode(NetworkMethod):
    """r̂ = f(x_1 … x_L), a network of all that happened in an episode.

    Attributes:
        network: what the network is, and its loss.
        input: what it reads of a step: ``latent`` (the encoder's output), ``raw`` (o, a, o − o′) or ``next`` (o′).
        view: what the encoder reads: the ``current`` observation o, the ``next`` one o′, or ``both``.
        batch_steps: steps per update; divided by the horizon it gives the episodes.
        learning_rate: Adam's step size.
    """

    network: Network
    input: Kind = "raw"
    view: View = "next"
    batch_steps: int = 400
    learning_rate: float = 1e-3
    kind: Literal["per-episode"] = "per-episode"

    @property
    def reads(self) -> Literal["episode"]:
        """Rewards depend on the whole episode."""
        return "episode"

    @property
    def told(self) -> bool:
        """Whether rewards are made of the return."""
        return self.network.told

    def refusal(self, spec: CreditSpec) -> str:
        """Attention over very long episodes costs too much."""
        if spec.horizon <= LONGEST:
            return ""
        return (
            f"lets every step look at every other, which is too slow for episodes of {spec.horizon} steps (at most "
            f"{LONGEST}); choose a method that reads single steps, such as lare or rrd-unbiased, or diaster"
        )

    def init(self, spec: CreditSpec, key: Key) -> Decoder:
        """A fresh network."""
        size = feature_size(self.input, self.view, spec)
        network = self.network.init(key, size=size, horizon=spec.horizon, agents=spec.agents)
        return init_decoder(network, size)

    def feature_size(self, spec: CreditSpec) -> int:
        """Numbers that the network reads of a step, and the return if it is told."""
        return self.told + feature_size(self.input, self.view, spec)

    def features(
        self, spec: CreditSpec, episodes: Episodes, action: Float[Array, "episode time agent action"]
    ) -> EpisodeFeatures:
        """What the network reads of each step and agent; a network that is told has the return first."""
        found = step_features(self.input, self.view, spec, episodes.before, action, episodes.after)
        if not self.told:
            return found
        total = jnp.broadcast_to(episodes.returns[:, None, None, None], (*found.shape[:-1], 1))
        return jnp.concatenate([total, found], axis=-1)

    def observe(self, state: Decoder, features: EpisodeFeatures, episodes: Episodes) -> Decoder:
        """Fold finished episodes into the running moments."""
        return observe(state, self._read(features), episodes)

    def draw(self, spec: CreditSpec, key: Key, buffer: Buffer) -> Drawn:
        """Whole stored episodes at random."""
        k_batch, k_loss = jax.random.split(key)
        episodes = max(1, self.batch_steps // spec.horizon)
        return Drawn(draw_batch(self, spec, k_batch, buffer, episodes=episodes, subset=None), k_loss)

    def update(self, spec: CreditSpec, state: Decoder, drawn: Drawn) -> tuple[Decoder, Metrics]:
        """One Adam step of the network; ``decoder_loss`` is the loss before it."""
        batch = drawn.batch
        read, returns = inputs(state, self._read(batch.features), batch.mask), batch.returns / unit(state)
        state, value = descend(
            state,
            lambda network: self.network.loss(network, read, batch.mask, returns, drawn.key),
            self.learning_rate,
        )
        return state, {"decoder_loss": value}

    def reward(self, state: Decoder, features: EpisodeFeatures, mask: AgentMask) -> EpisodeRewards:
        """r̂ of every step and agent in the environment's units."""
        read, size = inputs(state, self._read(features), mask), unit(state)
        returns = None
        if self.told:
            first = jnp.where(mask, features[..., 0], 0.0)
            returns = (first.sum(axis=(1, 2)) / jnp.maximum(mask.sum(axis=(1, 2)), 1)) / size
        return self.network.credit(state.network, read, mask, returns) * size

    def _read(self, features: EpisodeFeatures) -> Float[Array, "episode time agent read"]:
        """The features without the return."""
        return features[..., int(self.told) :]
