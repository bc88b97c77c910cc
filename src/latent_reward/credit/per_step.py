"""Return decomposition with a decoder that reads one step at a time: LaRe, RD and RRD.

1. ``observe`` an episode when it ends: fold its features and return into the running moments.
2. ``update`` the decoder f, a network, on a window of stored episodes.
3. ``reward`` decodes features whenever rewards are needed; they are never stored.
"""

from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from latent_reward.credit.base import CreditSpec, Metrics, Share
from latent_reward.credit.decoder import Batch, Decoder, draw_batch, init_decoder, observe, unit
from latent_reward.credit.features import Kind, NetworkMethod
from latent_reward.credit.losses import full_sum_loss, subset_loss
from latent_reward.data.buffer import Buffer
from latent_reward.data.episodes import Episodes, team_mean
from latent_reward.data.moments import standardise
from latent_reward.encoder.view import View
from latent_reward.errors import require_choice
from latent_reward.networks import MLP, init_mlp
from latent_reward.optimisers import adam
from latent_reward.types import EpisodeFeatures, Key, Scalar

Loss = Literal["rd", "rrd", "rrd-unbiased"]

_BLOCK_ROWS = 1024  # rows of a gradient at a time: activations then stay in the processor's cache


@dataclass(frozen=True)
class PerStep(NetworkMethod):
    """r̂ = f(z) of single steps, fitted so that its sum over an episode explains the return.

    Attributes:
        input: what the decoder reads: ``latent`` (the encoder's output), ``raw`` (o, a, o − o′) or ``next`` (o′).
        loss: ``rd`` sums over whole episodes, ``rrd`` over a random subset, ``rrd-unbiased`` corrects for it.
        view: what the encoder reads: the ``current`` observation o, the ``next`` one o′, or ``both``.
            An encoder whose source names ``next_observation`` itself always gets o and o′ as they are.
        subset: K, steps per episode in a random subset.
        batch_steps: steps per update; divided by K (or the horizon) it gives the episodes.
        hidden: widths of the hidden layers.
        learning_rate: Adam's step size.
        standardise: whether features are standardised by their running moments.
        scale_returns: whether targets R/L are divided by their root mean square over the first episodes.
        weight_decay: weight of ½‖ψ‖² beside the loss.
        agents: whether ``each`` agent of a team gets its own proxy reward, or all of them their ``mean``.
    """

    input: Kind
    loss: Loss
    view: View = "next"
    subset: int = 64
    batch_steps: int = 256
    hidden: tuple[int, ...] = (256, 256)
    learning_rate: float = 3e-4
    standardise: bool = True
    scale_returns: bool = True
    weight_decay: float = 0.0
    agents: Share = "each"
    kind: Literal["per-step"] = "per-step"

    def __post_init__(self):
        """Raise a :class:`~latent_reward.errors.LareError` for a setting that does not exist."""
        for name, choices in (("input", Kind), ("loss", Loss), ("view", View), ("agents", Share)):
            require_choice(name, getattr(self, name), choices)

    def init(self, spec: CreditSpec, key: Key) -> Decoder:
        """A fresh decoder."""
        size = self.feature_size(spec)
        return init_decoder(init_mlp(key, (size, *self.hidden, 1)), size)

    def observe(self, state: Decoder, features: EpisodeFeatures, episodes: Episodes) -> Decoder:
        """Fold finished episodes into the running moments."""
        return observe(state, features, episodes)

    def draw(self, spec: CreditSpec, key: Key, buffer: Buffer) -> Batch:
        """Stored episodes at random, whole or a random subset of the steps of each."""
        subset = None if self.loss == "rd" else min(self.subset, spec.horizon)
        episodes = max(1, self.batch_steps // (subset or spec.horizon))
        return draw_batch(self, spec, key, buffer, episodes=episodes, subset=subset)

    def update(self, spec: CreditSpec, state: Decoder, drawn: Batch) -> tuple[Decoder, Metrics]:
        """One Adam step of the network; ``decoder_loss`` is the loss before it.

        Gradients are summed over blocks of episodes: the same step, from arrays that stay in the processor's cache.
        """

        def loss(network: MLP, part: Batch) -> Scalar:
            rewards = jnp.where(part.mask, self._decode(state, network, part.features), 0.0)
            mask, returns = part.mask.any(axis=2), part.returns / self.reward_unit(state)
            if self.loss == "rd":
                return full_sum_loss(rewards, mask, returns)
            return subset_loss(rewards, mask, returns, part.lengths, unbiased=self.loss == "rrd-unbiased")

        value, gradient = _in_blocks(jax.value_and_grad(loss), state.network, drawn)
        if self.weight_decay:
            gradient = jax.tree.map(lambda g, w: g + self.weight_decay * w, gradient, state.network)
        network, optimiser = adam(state.network, gradient, state.optimiser, self.learning_rate)
        return state._replace(network=network, optimiser=optimiser), {"decoder_loss": value}

    def reward(
        self,
        state: Decoder,
        features: Float[Array, "*batch agent feature"],
        mask: Bool[Array, "*batch agent"],
    ) -> Float[Array, "*batch agent"]:
        """r̂ = f(z) in the environment's units; with ``agents`` "mean" every agent gets the team's average."""
        proxy = self._decode(state, state.network, features) * self.reward_unit(state)
        proxy = jnp.where(mask, proxy, 0.0)
        return proxy if self.agents == "each" else team_mean(proxy, mask)

    def reward_unit(self, state: Decoder) -> Scalar:
        """Size of one unit of the network's output: that of :mod:`latent_reward.data.unit`, or 1."""
        return unit(state) if self.scale_returns else jnp.ones(())

    def _decode(
        self, state: Decoder, network: MLP, features: Float[Array, "*batch feature"]
    ) -> Float[Array, "*batch"]:
        """f(z) in units of ``reward_unit``, of standardised features if the method standardises."""
        inputs = standardise(state.features, features) if self.standardise else features
        return network(inputs)[..., 0]


def _in_blocks(slope, network: MLP, batch: Batch):
    """The mean over all episodes of ``slope``, a function of the network and a part of the batch."""
    episodes, steps, agents = batch.mask.shape
    block = block_size(episodes, steps * agents)
    if block == episodes:
        return slope(network, batch)
    count = episodes // block
    parts = jax.tree.map(lambda leaf: leaf.reshape(count, block, *leaf.shape[1:]), batch)
    add = lambda total, part: (jax.tree.map(jnp.add, total, slope(network, part)), None)  # noqa: E731
    zero = (jnp.zeros(()), jax.tree.map(jnp.zeros_like, network))
    return jax.tree.map(lambda leaf: leaf / count, jax.lax.scan(add, zero, parts)[0])


def block_size(episodes: int, rows: int) -> int:
    """The most episodes of ``rows`` rows each that fit into a block and divide ``episodes``."""
    return max(
        size
        for size in range(1, episodes + 1)
        if episodes % size == 0 and size * rows <= max(rows, _BLOCK_ROWS)
    )
