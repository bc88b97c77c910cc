"""SAC (Haarnoja et al. 2018, arXiv 1812.05905) as pure functions.

Every step, with a reward r that the caller decodes from stored features:
    1. the target is y = r/u + γ (1 − terminated) (min_j Q̄_j(o′, ã) − α log π(ã|o′)), ã ~ π(·|o′); all but r is
       ``bootstrap``;
    2. both critics take one Adam step on (Q_j(o, a) − y)²: ``update_critics``;
    3. the actor takes one Adam step on α log π(ã|o) − min_j Q_j(o, ã), ã ~ π(·|o), the temperature α one on
       −log α (log π(ã|o) + H̄), and the target critics move by τ: ``update_actor``.
Time limits are not terminations: the target bootstraps through them.

u is the unit of reward (:mod:`latent_reward.data.unit`), so that the temperature, which weighs entropy against reward,
begins and moves alike whatever an environment or a decoder pays. Actions of π are tanh of a Gaussian, and their
entropy is that in units in which every range is from −1 to 1 (:mod:`latent_reward.agents.policies`). Networks read
observations in units of their standard deviation so far.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float

from latent_reward.agents.base import Actor, AgentSpec, Metrics, ReplayAgent, read, saw
from latent_reward.agents.critics import descend, init_critics, values
from latent_reward.agents.policies import SquashedGaussian, action_range
from latent_reward.data.episodes import Episodes
from latent_reward.data.moments import Moments, init_moments
from latent_reward.data.unit import init_unit, measure_unit, unit_of
from latent_reward.errors import LareError, require_positive
from latent_reward.networks import MLP, init_mlp
from latent_reward.optimisers import adam, init_adam, polyak
from latent_reward.types import Actions, Key, Observations, Scalar, Scalars

_CRITICS = 2
_LOG_DEVIATION = (-5.0, 2.0)  # of z before tanh: the least and the greatest


class SACState(NamedTuple):
    """Networks, log α, optimisers, moments of observations and of R/L. Critics are one MLP with a leading axis."""

    actor: MLP
    critics: MLP
    target_critics: MLP
    log_temperature: Scalar
    actor_optimiser: optax.OptState
    critic_optimiser: optax.OptState
    temperature_optimiser: optax.OptState
    seen: Moments | None
    mean_reward: Moments


@dataclass(frozen=True)
class SAC(ReplayAgent):
    """Hyper-parameters; the defaults are those of the publication unless said otherwise.

    Attributes:
        discount: γ.
        polyak: τ, the step of the target critics.
        temperature: α before the first update.
        target_entropy: −H̄ per number of an action.
        policy_delay: critic updates per update of actor, temperature and targets.
        learning_rate: Adam's step size of actor, critics and log α.
        hidden: widths of the hidden layers.
        standardise: whether networks read standardised observations (published: no).
    """

    discount: float = 0.99
    polyak: float = 0.005
    temperature: float = 1.0
    target_entropy: float = 1.0
    policy_delay: int = 1
    learning_rate: float = 3e-4
    hidden: tuple[int, ...] = (256, 256)
    standardise: bool = True
    kind: Literal["sac"] = "sac"

    def __post_init__(self):
        """Raise a :class:`~latent_reward.errors.LareError` for numbers that make no sense."""
        require_positive(policy_delay=self.policy_delay)
        if not self.temperature > 0:
            raise LareError(f"temperature: {self.temperature} is not possible; give a number above 0")

    def init(self, spec: AgentSpec, key: Key) -> SACState:
        """Fresh networks; target critics start equal to the critics.

        Raises:
            LareError: the actions are not continuous.
        """
        action_range(spec.actions, "SAC")
        k_actor, *k_critics = jax.random.split(key, 1 + _CRITICS)
        actor = init_mlp(k_actor, (spec.observation_size, *self.hidden, 2 * spec.actions.size))
        critics = init_critics(jnp.stack(k_critics), spec, self.hidden)
        log_temperature = jnp.log(jnp.asarray(self.temperature, jnp.float32))
        return SACState(
            actor,
            critics,
            jax.tree.map(jnp.copy, critics),  # donated buffers must not alias
            log_temperature,
            init_adam(actor),
            init_adam(critics),
            init_adam(log_temperature),
            init_moments(spec.observation_size) if self.standardise else None,
            init_unit(),
        )

    def observe(self, state: SACState, episodes: Episodes) -> SACState:
        """Measure the unit of reward on the first episodes that pay anything, and those of observations on all."""
        return state._replace(
            seen=saw(state.seen, episodes), mean_reward=measure_unit(state.mean_reward, episodes)
        )

    def actor(self, state: SACState) -> Actor:
        """The network of π, and the units in which it reads."""
        return Actor(state.actor, state.seen)

    def act(
        self,
        spec: AgentSpec,
        actor: Actor,
        observation: Float[Array, "*batch observation"],
        noise: Float[Array, "*batch action"] | None,
    ) -> Float[Array, "*batch action"]:
        """An action of π(·|o) drawn with ``noise``; without it, that of the means."""
        policy = policy_at(spec, actor(observation))
        return policy.best() if noise is None else policy.draw(noise)[0]

    def bootstrap(
        self,
        spec: AgentSpec,
        state: SACState,
        next_observation: Float[Array, "*batch observation"],
        terminated: Bool[Array, "*batch"],
        noise: Float[Array, "*batch action"],
    ) -> Float[Array, "*batch"]:
        """γ (1 − terminated) (min_j Q̄_j(o′, ã) − α log π(ã|o′)), with ã drawn with ``noise``.

        It depends on what ``update_actor`` alone moves.
        """
        seen = read(state.seen, next_observation)
        action, log_probability = policy_at(spec, state.actor(seen)).draw(noise)
        value = values(state.target_critics, seen, action).min(axis=0)
        soft = value - jnp.exp(state.log_temperature) * log_probability
        return self.discount * jnp.where(terminated, 0.0, soft)

    def update_critics(
        self, state: SACState, observation: Observations, action: Actions, reward: Scalars, later: Scalars
    ) -> tuple[SACState, Metrics]:
        """One Adam step of both critics on (Q_j(o, a) − y)², with y = r/u plus ``bootstrap``.

        ``critic_loss`` is the loss in units of u², summed over critics, before the step; ``temperature`` is α.
        """
        target = reward / unit_of(state.mean_reward) + later
        critics, optimiser, loss = descend(
            state.critics,
            state.critic_optimiser,
            read(state.seen, observation),
            action,
            target,
            self.learning_rate,
        )
        measures = {"critic_loss": loss, "temperature": jnp.exp(state.log_temperature)}
        return state._replace(critics=critics, critic_optimiser=optimiser), measures

    def update_actor(self, spec: AgentSpec, state: SACState, observation: Observations, key: Key) -> SACState:
        """One Adam step of actor and temperature, and one Polyak step of the target critics."""
        seen, temperature = read(state.seen, observation), jnp.exp(state.log_temperature)
        noise = jax.random.normal(key, (len(seen), spec.actions.size))

        def loss_of(actor: MLP) -> tuple[Scalar, Scalar]:
            action, log_probability = policy_at(spec, actor(seen)).draw(noise)
            value = values(state.critics, seen, action).min(axis=0)
            return (temperature * log_probability - value).mean(), log_probability.mean()

        gradient, log_probability = jax.grad(loss_of, has_aux=True)(state.actor)
        actor, actor_optimiser = adam(state.actor, gradient, state.actor_optimiser, self.learning_rate)
        # the slope of −log α (log π + H̄): α falls while the entropy is above H̄
        slope = self.target_entropy * spec.actions.size - log_probability
        log_temperature, temperature_optimiser = adam(
            state.log_temperature, slope, state.temperature_optimiser, self.learning_rate
        )
        return state._replace(
            actor=actor,
            log_temperature=log_temperature,
            target_critics=polyak(state.target_critics, state.critics, self.polyak),
            actor_optimiser=actor_optimiser,
            temperature_optimiser=temperature_optimiser,
        )


def policy_at(spec: AgentSpec, output: Float[Array, "*batch output"]) -> SquashedGaussian:
    """π(·|o) from what the actor's network gives: means, and what bounds of the log deviation are reached by tanh."""
    mean, pushed = jnp.split(output, 2, axis=-1)
    low, high = _LOG_DEVIATION
    log_deviation = low + 0.5 * (high - low) * (jnp.tanh(pushed) + 1.0)
    return SquashedGaussian(action_range(spec.actions), mean, log_deviation)
