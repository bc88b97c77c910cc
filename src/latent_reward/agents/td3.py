"""TD3 (Fujimoto, van Hoof and Meger 2018, arXiv 1802.09477) as pure functions.

Every step, with a reward r that the caller decodes from stored features:
    1. the target is y = r/u + γ (1 − terminated) min_j Q̄_j(o′, π̄(o′) + clipped noise); all but r is ``bootstrap``;
    2. both critics take one Adam step on (Q_j(o, a) − y)²: ``update_critics``.
Every second step:
    3. the actor takes one Adam step on −Q_1(o, π(o)); all targets move by τ: ``update_actor``.
Time limits are not terminations: the target bootstraps through them.

DDPG (Lillicrap et al. 2016, arXiv 1509.02971) is the same with one critic, an actor that is updated at every step, and
no noise on target actions. As in TD3's paper it explores with independent noise rather than an Ornstein–Uhlenbeck
process.

u is the unit of reward (:mod:`latent_reward.data.unit`), and networks read observations in units of their standard
deviation so far, so that it does not matter in what units an environment pays and shows; step sizes and initial values
are those of numbers near 1.
"""

from dataclasses import dataclass
from functools import partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float

from latent_reward.agents.base import Actor, AgentSpec, Metrics, ReplayAgent, read, saw
from latent_reward.agents.critics import descend, init_critics, values
from latent_reward.agents.policies import action_range
from latent_reward.data.episodes import Episodes
from latent_reward.data.moments import Moments, init_moments
from latent_reward.data.unit import init_unit, measure_unit, unit_of
from latent_reward.errors import require_positive
from latent_reward.networks import MLP, init_mlp
from latent_reward.optimisers import adam, init_adam, polyak
from latent_reward.types import Actions, Key, Observations, Scalar, Scalars

_SATURATED = 3.0  # tanh is 0.995 there


class TD3State(NamedTuple):
    """Networks, optimisers, moments of observations and of R/L. Critics are one MLP with a leading axis."""

    actor: MLP
    critics: MLP
    target_actor: MLP
    target_critics: MLP
    actor_optimiser: optax.OptState
    critic_optimiser: optax.OptState
    seen: Moments | None
    mean_reward: Moments


@dataclass(frozen=True)
class TD3(ReplayAgent):
    """Hyper-parameters; the defaults are those of the published experiments unless said otherwise.

    Attributes:
        discount: γ.
        polyak: τ, the step of the target networks.
        exploration_noise: standard deviation of the noise on actions, in units of the action range.
        target_noise: the same for target actions.
        target_noise_clip: limit of the target noise.
        critics: how many critics there are; the smallest value counts.
        policy_delay: critic updates per actor update.
        learning_rate: Adam's step size of actor and critics.
        hidden: widths of the hidden layers.
        standardise: whether networks read standardised observations (published: no).
        saturation: weight of the loss Σ (|z| − 3)₊² on the actor's outputs z before tanh (published: 0). In single
            precision the slope of tanh is 0 beyond 9, and an actor that got there would stay.
    """

    discount: float = 0.99
    polyak: float = 0.005
    exploration_noise: float = 0.1
    target_noise: float = 0.2
    target_noise_clip: float = 0.5
    critics: int = 2
    policy_delay: int = 2
    learning_rate: float = 3e-4
    hidden: tuple[int, ...] = (256, 256)
    standardise: bool = True
    saturation: float = 0.01
    kind: Literal["td3", "ddpg"] = "td3"

    def __post_init__(self):
        """Raise a :class:`~latent_reward.errors.LareError` for counts below 1."""
        require_positive(critics=self.critics, policy_delay=self.policy_delay)

    def init(self, spec: AgentSpec, key: Key) -> TD3State:
        """Fresh networks; targets start equal to the networks they follow.

        Raises:
            LareError: the actions are not continuous.
        """
        action_range(spec.actions, self.kind.upper())
        k_actor, *k_critics = jax.random.split(key, 1 + self.critics)
        actor = init_mlp(k_actor, (spec.observation_size, *self.hidden, spec.actions.size))
        critics = init_critics(jnp.stack(k_critics), spec, self.hidden)
        copy = lambda tree: jax.tree.map(jnp.copy, tree)  # noqa: E731 - donated buffers must not alias
        return TD3State(
            actor,
            critics,
            copy(actor),
            copy(critics),
            init_adam(actor),
            init_adam(critics),
            init_moments(spec.observation_size) if self.standardise else None,
            init_unit(),
        )

    def observe(self, state: TD3State, episodes: Episodes) -> TD3State:
        """Measure the unit of reward on the first episodes that pay anything, and those of observations on all."""
        return state._replace(
            seen=saw(state.seen, episodes), mean_reward=measure_unit(state.mean_reward, episodes)
        )

    def actor(self, state: TD3State) -> Actor:
        """The network of π, and the units in which it reads."""
        return Actor(state.actor, state.seen)

    def act(
        self,
        spec: AgentSpec,
        actor: Actor,
        observation: Float[Array, "*batch observation"],
        noise: Float[Array, "*batch action"] | None,
    ) -> Float[Array, "*batch action"]:
        """π(o), plus ``noise`` in units of ``exploration_noise``, clipped to the action range."""
        actions = action_range(spec.actions)
        chosen = actions.squash(actor(observation))
        return chosen if noise is None else actions.disturb(chosen, self.exploration_noise * noise)

    def bootstrap(
        self,
        spec: AgentSpec,
        state: TD3State,
        next_observation: Float[Array, "*batch observation"],
        terminated: Bool[Array, "*batch"],
        noise: Float[Array, "*batch action"],
    ) -> Float[Array, "*batch"]:
        """γ (1 − terminated) min_j Q̄_j(o′, ã).

        ã is the target policy's action with ``noise`` in units of ``target_noise``, clipped. It depends on target
        networks only, which ``update_actor`` alone moves.
        """
        actions, limit = action_range(spec.actions), self.target_noise_clip
        noise = jnp.clip(self.target_noise * noise, -limit, limit)
        seen = read(state.seen, next_observation)
        smoothed = actions.disturb(actions.squash(state.target_actor(seen)), noise)
        value = values(state.target_critics, seen, smoothed).min(axis=0)
        return self.discount * jnp.where(terminated, 0.0, value)

    def update_critics(
        self, state: TD3State, observation: Observations, action: Actions, reward: Scalars, later: Scalars
    ) -> tuple[TD3State, Metrics]:
        """One Adam step of all critics on (Q_j(o, a) − y)², with y = r/u plus ``bootstrap``.

        ``critic_loss`` is the loss in units of u², summed over critics, before the step.
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
        return state._replace(critics=critics, critic_optimiser=optimiser), {"critic_loss": loss}

    def update_actor(self, spec: AgentSpec, state: TD3State, observation: Observations, key: Key) -> TD3State:
        """One Adam step of the actor on −Q_1(o, π(o)) plus ``saturation``, and one Polyak step of all targets."""
        actions, seen = action_range(spec.actions), read(state.seen, observation)
        first_critic: MLP = jax.tree.map(lambda leaf: leaf[0], state.critics)

        def loss_of(actor: MLP) -> Scalar:
            pushed = actor(seen)
            value = first_critic(jnp.concatenate([seen, actions.squash(pushed)], axis=-1)).mean()
            beyond = (jax.nn.relu(jnp.abs(pushed) - _SATURATED) ** 2).sum(axis=-1).mean()
            return self.saturation * beyond - value

        gradient = jax.grad(loss_of)(state.actor)
        actor, optimiser = adam(state.actor, gradient, state.actor_optimiser, self.learning_rate)
        return state._replace(
            actor=actor,
            actor_optimiser=optimiser,
            target_actor=polyak(state.target_actor, actor, self.polyak),
            target_critics=polyak(state.target_critics, state.critics, self.polyak),
        )


DDPG = partial(TD3, critics=1, policy_delay=1, target_noise=0.0, kind="ddpg")
"""The hyper-parameters of DDPG; the others are those of TD3, so that the two differ in nothing else."""
