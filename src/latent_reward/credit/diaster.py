"""Diaster: rewards of sub-trajectories, whose differences are those of steps (Lin et al. 2024, arXiv 2312.10642).

1. A recurrent network F reads a sub-trajectory. Cut at a random step c, an episode is two of them: ``(R − F(x_1 …
   x_c) − F(x_{c+1} … x_L))²``, with c from 1 to L, where nothing is left behind the cut.
2. A network f of single steps is fitted to differences of prefixes, ``(f(x_t) − d_t)²`` with ``d_t = F(x_1 … x_t) −
   F(x_1 … x_{t−1})`` and R in the place of the last F. The reward of a step is f.

F is in units of the longest episode, T times the unit of rewards; d_t and f are in units of rewards. In a team, each
agent has a trajectory of its own: F sums over agents, f is shared, and what R adds to the last F is split equally.

The authors' code divides returns by 10, for one task by 500; here the unit is measured. It adds noise of a learned
size to F, which the squared error drives to its floor; here there is none. Every 1,000 updates of the policy it takes
as many steps with F, a cut for all 64 episodes at once, as an episode is long, and then as many with f. Here one step
with F on a few episodes, each with a cut of its own, alternates with a few steps with f, as often as ``batch_steps``
allow; one scan reads both sides of the cut.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax
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
from latent_reward.credit.sequence.gru import GRU, init_gru, scan_gru
from latent_reward.data.buffer import Buffer
from latent_reward.data.episodes import Episodes
from latent_reward.encoder.view import View
from latent_reward.networks import MLP, init_mlp
from latent_reward.optimisers import adam, init_adam
from latent_reward.types import AgentMask, EpisodeFeatures, EpisodeRewards, Key, Returns, Scalar


class Whole(NamedTuple):
    """F: a recurrent unit, and the reward of its hidden state."""

    unit: GRU
    head: MLP


class State(NamedTuple):
    """f with the moments of its inputs and of returns; F and its optimiser; updates asked for, and the last loss."""

    decoder: Decoder
    whole: Whole
    optimiser: optax.OptState
    updates: Int[Array, ""]
    loss: Scalar


class Drawn(NamedTuple):
    """Whole episodes, the cut of each from 1 to L, and the rows of their steps that each step with f reads."""

    batch: Batch
    cut: Int[Array, " episode"]
    rows: Int[Array, "round row"]


@dataclass(frozen=True)
class Diaster(NetworkMethod):
    """r̂ = f(x) of single steps, fitted to differences of the rewards of sub-trajectories.

    Attributes:
        input: what both networks read: ``latent`` (the encoder's output), ``raw`` (o, a, o − o′) or ``next`` (o′).
        view: what the encoder reads: the ``current`` observation o, the ``next`` one o′, or ``both``.
        width: numbers of the recurrent network's state.
        hidden: widths of the hidden layers of f.
        episodes: episodes in each step with F.
        batch_steps: steps that F reads per update on average; if the episodes are longer, updates are left out.
        rounds: steps with f after each with F.
        batch_rows: steps of agents in each step with f.
        learning_rate: Adam's step size for both.
    """

    input: Kind = "raw"
    view: View = "next"
    width: int = 64
    hidden: tuple[int, ...] = (256, 256)
    episodes: int = 4
    batch_steps: int = 256
    rounds: int = 4
    batch_rows: int = 256
    learning_rate: float = 1e-3
    kind: Literal["diaster"] = "diaster"

    def init(self, spec: CreditSpec, key: Key) -> State:
        """Fresh networks."""
        size, (k_step, k_unit, k_head) = self.feature_size(spec), jax.random.split(key, 3)
        whole = Whole(init_gru(k_unit, size, self.width), init_mlp(k_head, (self.width, 1)))
        decoder = init_decoder(init_mlp(k_step, (size, *self.hidden, 1)), size)
        return State(decoder, whole, init_adam(whole), jnp.zeros((), jnp.int32), jnp.zeros(()))

    def observe(self, state: State, features: EpisodeFeatures, episodes: Episodes) -> State:
        """Fold finished episodes into the running moments."""
        return state._replace(decoder=observe(state.decoder, features, episodes))

    def draw(self, spec: CreditSpec, key: Key, buffer: Buffer) -> Drawn:
        """Whole stored episodes, cuts and rows, all at random."""
        k_batch, k_cut, k_rows = jax.random.split(key, 3)
        batch = draw_batch(self, spec, k_batch, buffer, episodes=self.episodes, subset=None)
        cut = jax.random.randint(k_cut, (self.episodes,), 1, batch.lengths + 1)
        rows = jax.random.randint(k_rows, (self.rounds, self.batch_rows), 0, jnp.maximum(batch.mask.sum(), 1))
        return Drawn(batch, cut, rows)

    def update(self, spec: CreditSpec, state: State, drawn: Drawn) -> tuple[State, Metrics]:
        """A step with F and some with f if they are due; ``decoder_loss`` is the last loss of F before one."""
        batch, decoder = drawn.batch, state.decoder
        read = inputs(decoder, batch.features, batch.mask)
        returns = batch.returns / (unit(decoder) * spec.horizon)

        def turn(carry: State) -> State:
            value, slope = jax.value_and_grad(cut_loss)(carry.whole, read, batch.mask, returns, drawn.cut)
            whole, optimiser = adam(carry.whole, slope, carry.optimiser, self.learning_rate)
            target = spec.horizon * differences(prefixes(whole, read, batch.mask), batch.mask, returns)
            decoder = self._regress(carry.decoder, read, target, batch.mask, drawn.rows)
            return State(decoder, whole, optimiser, carry.updates, value)

        period = period_of(self.episodes * spec.horizon, self.batch_steps)
        state = every(period, state.updates, turn, state)
        return state._replace(updates=state.updates + 1), {"decoder_loss": state.loss}

    def reward(
        self,
        state: State,
        features: Float[Array, "*batch agent feature"],
        mask: Bool[Array, "*batch agent"],
    ) -> Float[Array, "*batch agent"]:
        """f in the environment's units."""
        found = state.decoder.network(inputs(state.decoder, features, mask))[..., 0]
        return jnp.where(mask, found, 0.0) * unit(state.decoder)

    def _regress(
        self,
        decoder: Decoder,
        features: EpisodeFeatures,
        target: EpisodeRewards,
        mask: AgentMask,
        rows: Int[Array, "round row"],
    ) -> Decoder:
        """A step with f for each round of rows, which are numbers of the steps and agents that exist."""
        flat, target = features.reshape(-1, features.shape[-1]), target.reshape(-1)
        exists = jnp.nonzero(mask.reshape(-1), size=mask.size, fill_value=0)[0]

        def one(decoder: Decoder, chosen: Int[Array, " row"]) -> tuple[Decoder, None]:
            place = exists[chosen]
            read, wanted = flat[place], target[place]
            return descend(
                decoder, lambda network: jnp.mean((network(read)[:, 0] - wanted) ** 2), self.learning_rate
            )[0], None

        return jax.lax.scan(one, decoder, rows)[0]


def cut_loss(
    whole: Whole, features: EpisodeFeatures, mask: AgentMask, returns: Returns, cut: Int[Array, " episode"]
) -> Scalar:
    """mean_b (R_b − Σ_i F_i(first ``cut`` steps) − Σ_i F_i(rest))²; an agent without steps on a side adds nothing."""
    steps = jnp.arange(mask.shape[1])
    before = (steps < cut[:, None])[:, :, None]
    hidden = _scan(whole.unit, features, mask, (steps == cut[:, None])[:, :, None])
    ends = jnp.stack(
        [jnp.take_along_axis(hidden, (cut - 1)[:, None, None, None], axis=1)[:, 0], hidden[:, -1]], 1
    )
    there = jnp.stack([(mask & before).any(axis=1), (mask & ~before).any(axis=1)], 1)
    total = jnp.where(there, whole.head(ends)[..., 0], 0.0).sum(axis=(1, 2))
    return jnp.mean((returns - total) ** 2)


def prefixes(whole: Whole, features: EpisodeFeatures, mask: AgentMask) -> EpisodeRewards:
    """F of the steps so far of each agent; 0 before its first, and as it was where the agent is absent."""
    value = whole.head(_scan(whole.unit, features, mask, None))[..., 0]
    return jnp.where(jnp.cumsum(mask, axis=1) > 0, value, 0.0)


def differences(prefix: EpisodeRewards, mask: AgentMask, returns: Returns) -> EpisodeRewards:
    """What each step adds to F; what F misses of the return goes in equal parts to the last steps of the agents."""
    agents = mask.any(axis=1)
    left = mask & (jnp.cumsum(mask, axis=1) == mask.sum(axis=1, keepdims=True))
    missing = (returns - jnp.where(agents, prefix[:, -1], 0.0).sum(axis=1)) / jnp.maximum(
        agents.sum(axis=1), 1
    )
    added = jnp.diff(prefix, axis=1, prepend=0.0) + jnp.where(left, missing[:, None, None], 0.0)
    return jnp.where(mask, added, 0.0)


def _scan(
    gru: GRU, features: EpisodeFeatures, mask: AgentMask, fresh: Bool[Array, "episode time 1"] | None
) -> Float[Array, "episode time agent width"]:
    """The hidden state of the trajectory of each agent."""
    episodes, time, agents = mask.shape
    by_agent = lambda leaf: jnp.swapaxes(leaf, 1, 2).reshape(episodes * agents, time, *leaf.shape[3:])  # noqa: E731
    restart = None if fresh is None else by_agent(jnp.broadcast_to(fresh, mask.shape))
    hidden = scan_gru(gru, by_agent(features), by_agent(mask), restart)
    return jnp.swapaxes(hidden.reshape(episodes, agents, time, -1), 1, 2)
