"""Independent PPO (Schulman et al. 2017, arXiv 1707.06347; de Witt et al. 2020, arXiv 2011.09533), pure functions.

Each agent of a team acts and learns on its own observation; actor and critic are shared by the team. With
episodes of proxy rewards:
    1. advantages A by GAE(λ); the end of an episode is a true end, so nothing is bootstrapped there;
    2. value targets A + V, in units of the returns' running root mean square (``ReturnScale``);
    3. epochs over shuffled minibatches: one Adam step each on
       −E[min(ρA, clip(ρ, 1 ± ε)A)] − c_H·E[H(π)] + c_V·E[max(h(y − V), h(y − V_clipped))],
       ρ = π(a|o)/π_old(a|o), h Huber's loss, E the mean over rows that exist.
Step size and ε fall linearly over the training; the last update still has a share of both (``anneal``).
Arrays are time first here: ``[time, episode, agent, …]``.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, Num

from latent_reward.agents.base import Actor, AgentSpec, EpisodeAgent, Metrics, read
from latent_reward.agents.policies import GaussianMLP, policy_of
from latent_reward.data.episodes import Played
from latent_reward.data.moments import Moments, init_moments, merge
from latent_reward.data.shuffle import stride_shuffle
from latent_reward.data.spaces import Continuous
from latent_reward.errors import require_positive
from latent_reward.networks import MLP, init_orthogonal
from latent_reward.optimisers import adam, init_adam
from latent_reward.types import EpisodeRewards, Key, Scalar

_SCALE_RATE = 0.05  # share of the newest iteration in the scale of returns


class Networks(NamedTuple):
    """Actor (logits, or means and log deviations) and critic (one value) of a team."""

    actor: MLP | GaussianMLP
    critic: MLP


class ReturnScale(NamedTuple):
    """Moving average of squared returns to go, and the sum of its weights so far."""

    square: Scalar
    weight: Scalar


class PPOState(NamedTuple):
    """State of a team's agents. All weights are one vector: one fused Adam step instead of one per layer.

    ``seen`` has the moments of all observations, by which networks read them; None: as they are.
    """

    parameters: Float[Array, " parameter"]
    optimiser: optax.OptState
    scale: ReturnScale
    seen: Moments | None


class Rows(NamedTuple):
    """The data of an iteration: one row per step and agent; rows with a false mask change nothing.

    ``available`` is None where every action always is.
    """

    observation: Float[Array, "row observation"]
    elapsed: Float[Array, " row"]
    action: Num[Array, "row *action"]
    log_probability: Float[Array, " row"]
    value: Float[Array, " row"]
    advantage: Float[Array, " row"]
    target: Float[Array, " row"]
    mask: Bool[Array, " row"]
    available: Bool[Array, "row action"] | None


@dataclass(frozen=True)
class PPO(EpisodeAgent):
    """Hyper-parameters; the defaults are those of the published experiments unless said otherwise.

    Attributes:
        discount: γ.
        gae_lambda: λ.
        learning_rate: Adam's step size in the first iteration; it falls linearly.
        clip: ε in the first iteration; it falls with the step size.
        min_clip_fraction: the share of ``clip`` at which it stops falling (published: 0, which stops learning).
        value_clip: how far V may move from the value at collection; None: any distance.
        huber: where the value loss turns from quadratic to linear.
        entropy_weight: c_H.
        value_weight: c_V.
        gradient_norm: longest gradient of a step.
        epochs: passes over the collected steps.
        minibatch: rows (step and agent) per Adam step.
        hidden: widths of the hidden layers of actor and critic.
        critic_sees_time: whether V also reads the share of the episode that is over (published: no). With a
            fixed horizon and γ = 1 the value of a state depends on it.
        bootstrap: whether to bootstrap with V(o_T) where the horizon cuts an episode.
        standardise: whether networks read standardised observations (published: no).
    """

    discount: float = 1.0
    gae_lambda: float = 0.95
    learning_rate: float = 1e-4
    clip: float = 0.5
    min_clip_fraction: float = 0.1
    value_clip: float | None = 0.5
    huber: float = 10.0
    entropy_weight: float = 0.01
    value_weight: float = 0.5
    gradient_norm: float = 10.0
    epochs: int = 10
    minibatch: int = 128
    hidden: tuple[int, ...] = (64, 64)
    critic_sees_time: bool = True
    bootstrap: bool = False
    standardise: bool = True
    kind: Literal["ppo"] = "ppo"

    def __post_init__(self):
        """Raise a :class:`~latent_reward.errors.LareError` for counts below 1."""
        require_positive(epochs=self.epochs, minibatch=self.minibatch)

    def init(self, spec: AgentSpec, key: Key) -> PPOState:
        """Fresh networks; the first policy is nearly uniform."""
        parameters, _ = ravel_pytree(self._init_networks(spec, key))
        return PPOState(
            parameters,
            init_adam(parameters),
            ReturnScale(jnp.zeros(()), jnp.zeros(())),
            init_moments(spec.observation_size) if self.standardise else None,
        )

    def networks(self, spec: AgentSpec, parameters: Float[Array, " parameter"]) -> Networks:
        """Actor and critic, cut out of the vector of all weights."""
        shapes = jax.eval_shape(lambda: self._init_networks(spec, jax.random.key(0)))
        leaves, structure = jax.tree.flatten(shapes)
        ends = [0]
        for leaf in leaves:
            ends.append(ends[-1] + leaf.size)
        parts = [
            parameters[begin:end].reshape(leaf.shape)
            for (begin, end), leaf in zip(pairwise(ends), leaves, strict=True)
        ]
        return jax.tree.unflatten(structure, parts)

    def _init_networks(self, spec: AgentSpec, key: Key) -> Networks:
        k_actor, k_critic = jax.random.split(key)
        seen = spec.observation_size + self.critic_sees_time
        actor = init_orthogonal(k_actor, (spec.observation_size, *self.hidden, spec.actions.size), 0.01)
        if isinstance(spec.actions, Continuous):
            actor = GaussianMLP(actor, jnp.zeros(spec.actions.size))
        return Networks(actor, init_orthogonal(k_critic, (seen, *self.hidden, 1), 1.0))

    def actor(self, spec: AgentSpec, state: PPOState) -> Actor:
        """The network of π, and the units in which it reads."""
        return Actor(self.networks(spec, state.parameters).actor, state.seen)

    def act(
        self,
        spec: AgentSpec,
        actor: Actor,
        observation: Float[Array, "*batch observation"],
        key: Key,
        available: Bool[Array, "*batch action"] | None = None,
    ) -> tuple[Num[Array, "..."], Float[Array, "*batch"]]:
        """An action drawn from π(·|o), and its log-probability."""
        policy = policy_of(spec.actions, actor(observation), available)
        action = policy.sample(key)
        return action, policy.log_probability(action)

    def best(
        self,
        spec: AgentSpec,
        actor: Actor,
        observation: Float[Array, "*batch observation"],
        available: Bool[Array, "*batch action"] | None = None,
    ) -> Num[Array, "..."]:
        """The most probable of the available actions, or that of the means."""
        return policy_of(spec.actions, actor(observation), available).best()

    def learn(
        self,
        spec: AgentSpec,
        state: PPOState,
        played: Played,
        reward: EpisodeRewards,
        key: Key,
        remaining: Scalar,
    ) -> tuple[PPOState, Metrics]:
        """All epochs on fresh episodes with the given reward of each step and agent."""
        time_first = lambda tree: jax.tree.map(lambda leaf: leaf.swapaxes(0, 1), tree)  # noqa: E731
        episodes = played.episodes
        observation, action, mask, cut, reward, log_probability, available = time_first(
            (
                episodes.observation,
                episodes.action,
                episodes.mask,
                episodes.cut,
                reward,
                played.log_probability,
                played.available,
            )
        )
        scale, size = update_return_scale(state.scale, self.returns_to_go(reward), mask)
        horizon = len(reward)
        observed = jnp.where(_observed(mask, cut)[..., None], observation, 0.0)
        observation = read(state.seen, observed)  # as when these episodes were played
        if state.seen is not None:
            rows = observed[:-1].reshape(-1, observed.shape[-1])
            state = state._replace(seen=merge(state.seen, rows, mask.reshape(-1)))
        elapsed = jnp.broadcast_to((jnp.arange(horizon + 1) / horizon)[:, None, None], observation.shape[:-1])
        values = self.value(self.networks(spec, state.parameters).critic, observation, elapsed)
        continues = jnp.concatenate([mask[1:], jnp.zeros_like(mask[:1])])
        advantage = self.advantages(reward / size, values, continues | (cut & self.bootstrap), continues)
        rows = Rows(
            observation[:-1],
            elapsed[:-1],
            jnp.where(mask.reshape(*mask.shape, *[1] * (action.ndim - mask.ndim)), action, 0),
            jnp.where(mask, log_probability, 0.0),
            values[:-1],
            standardise_advantage(advantage, mask),
            advantage + values[:-1],
            mask,
            available,
        )
        rows = jax.tree.map(lambda leaf: leaf.reshape(mask.size, *leaf.shape[3:]), rows)
        return self.update(spec, state._replace(scale=scale), rows, key, remaining)

    def value(
        self,
        critic: MLP,
        observation: Float[Array, "*batch observation"],
        elapsed: Float[Array, "*batch"],
    ) -> Float[Array, "*batch"]:
        """V(o), in units of the returns; ``elapsed`` is the share of the episode that is over."""
        if self.critic_sees_time:
            observation = jnp.concatenate([observation, elapsed[..., None]], axis=-1)
        return critic(observation)[..., 0]

    def advantages(
        self,
        reward: Float[Array, "time *batch"],
        values: Float[Array, "time_after *batch"],
        counts: Bool[Array, "time *batch"],
        continues: Bool[Array, "time *batch"],
    ) -> Float[Array, "time *batch"]:
        """Generalised advantage estimates (Schulman et al. 2016, arXiv 1506.02438).

        δ_t = r_t + γ c_t V_{t+1} − V_t and A_t = δ_t + γ λ d_t A_{t+1}.

        Args:
            reward: r_t.
            values: V_t of every step and, as the last entry, V_T of what follows the last one.
            counts: c_t, whether V_{t+1} still counts after step t: also where an episode is cut.
            continues: d_t, whether there is a step t + 1.
        """
        delta = reward + self.discount * counts * values[1:] - values[:-1]
        follows = self.discount * continues

        def back(later, step):
            delta, follows = step
            now = delta + self.gae_lambda * follows * later
            return now, now

        return jax.lax.scan(back, jnp.zeros_like(reward[0]), (delta, follows), reverse=True)[1]

    def returns_to_go(self, reward: Float[Array, "time *batch"]) -> Float[Array, "time *batch"]:
        """G_t = Σ_k γ^k r_{t+k}; rewards after the end of an episode must be 0."""

        def back(later, reward):
            now = reward + self.discount * later
            return now, now

        return jax.lax.scan(back, jnp.zeros_like(reward[0]), reward, reverse=True)[1]

    def anneal(self, remaining: Scalar) -> tuple[Scalar, Scalar]:
        """Step size and ε with a share ``remaining`` of all iterations still to come, this one included."""
        return self.learning_rate * remaining, self.clip * jnp.maximum(remaining, self.min_clip_fraction)

    def losses(
        self, spec: AgentSpec, nets: Networks, rows: Rows, clip: Scalar
    ) -> tuple[Scalar, Scalar, Scalar]:
        """Policy loss, value loss and entropy of a minibatch: means over the rows whose mask is true."""
        weight = rows.mask / jnp.maximum(rows.mask.sum(), 1)
        policy = policy_of(spec.actions, nets.actor(rows.observation), rows.available)
        change = policy.log_probability(rows.action) - rows.log_probability
        ratio = jnp.exp(jnp.where(rows.mask, change, 0.0))
        gain = jnp.minimum(ratio * rows.advantage, jnp.clip(ratio, 1.0 - clip, 1.0 + clip) * rows.advantage)
        now = self.value(nets.critic, rows.observation, rows.elapsed)
        error = optax.losses.huber_loss(now, rows.target, delta=self.huber)
        if self.value_clip is not None:
            near = rows.value + jnp.clip(now - rows.value, -self.value_clip, self.value_clip)
            error = jnp.maximum(error, optax.losses.huber_loss(near, rows.target, delta=self.huber))
        return -(weight @ gain), weight @ error, weight @ policy.entropy()

    def update(
        self, spec: AgentSpec, state: PPOState, rows: Rows, key: Key, remaining: Scalar
    ) -> tuple[PPOState, Metrics]:
        """All epochs on the rows of one iteration; the metrics are the means of ``losses``.

        Every epoch shuffles the rows and leaves out those that fill no minibatch.
        """
        rate, clip = self.anneal(remaining)
        minibatch = min(self.minibatch, len(rows.mask))
        count = len(rows.mask) // minibatch

        def objective(nets: Networks, part: Rows):
            policy, value, entropy = self.losses(spec, nets, part, clip)
            total = policy + self.value_weight * value - self.entropy_weight * entropy
            return total, {"policy_loss": policy, "value_loss": value, "entropy": entropy}

        def step(carry, part: Rows):
            parameters, optimiser = carry
            nets = self.networks(spec, parameters)
            gradient, measures = jax.grad(objective, has_aux=True)(nets, part)
            gradient = ravel_pytree(gradient)[0]
            length = jnp.sqrt(gradient @ gradient)
            gradient = gradient * jnp.minimum(1.0, self.gradient_norm / jnp.maximum(length, 1e-9))
            return adam(parameters, gradient, optimiser, rate), measures

        def epoch(carry, key):
            order = stride_shuffle(key, shuffled)[: count * minibatch]
            parts = jax.tree.map(lambda leaf: leaf[order].reshape(count, minibatch, *leaf.shape[1:]), rows)
            return jax.lax.scan(step, carry, parts)

        k_shuffle, *k_epochs = jax.random.split(key, self.epochs + 1)
        shuffled = jax.random.permutation(k_shuffle, len(rows.mask))
        keys = jnp.stack(k_epochs)
        (parameters, optimiser), measures = jax.lax.scan(epoch, (state.parameters, state.optimiser), keys)
        return state._replace(parameters=parameters, optimiser=optimiser), jax.tree.map(jnp.mean, measures)


def _observed(
    mask: Bool[Array, "time episode agent"], cut: Bool[Array, "time episode agent"]
) -> Bool[Array, "time_after episode agent"]:
    """Where an observation is real and needed: before a step that exists, and after a cut."""
    none = jnp.zeros_like(mask[:1])
    return jnp.concatenate([mask, none]) | jnp.concatenate([none, cut])


def update_return_scale(
    scale: ReturnScale, returns: Float[Array, "*batch"], mask: Bool[Array, "*batch"]
) -> tuple[ReturnScale, Scalar]:
    """The scale of returns after one more iteration, and its size: the moving root mean square of G, or 1.

    Rewards are divided by it, so that value targets have a size near 1 whatever an environment pays; the
    advantages are standardised anyway.
    """
    square = jnp.where(mask, returns**2, 0.0).sum() / jnp.maximum(mask.sum(), 1)
    scale = ReturnScale(
        scale.square + _SCALE_RATE * (square - scale.square),
        scale.weight + _SCALE_RATE * (1.0 - scale.weight),
    )
    mean = scale.square / scale.weight
    return scale, jnp.where(mean > 0, jnp.sqrt(jnp.where(mean > 0, mean, 1.0)), 1.0)


def standardise_advantage(
    advantage: Float[Array, "*batch"], mask: Bool[Array, "*batch"]
) -> Float[Array, "*batch"]:
    """Mean 0 and variance 1 over the rows that exist; 0 elsewhere."""
    count = jnp.maximum(mask.sum(), 1)
    centred = jnp.where(mask, advantage - jnp.where(mask, advantage, 0.0).sum() / count, 0.0)
    return centred / (jnp.sqrt((centred**2).sum() / count) + 1e-8)
