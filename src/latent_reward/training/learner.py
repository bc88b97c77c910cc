"""The compiled half of off-policy training: agent, decomposer and replay of every seed, and what moves them.

``absorb`` runs when an episode ends: predict its return (nothing has been fitted to it yet, so this is a
held-out prediction), encode its steps once, store it. ``update`` is all learning from one update of the actor to
the next, in one program. For each step that means one decoder step on stored episodes, rewards decoded afresh for a
batch of transitions and one step of the critics on them; then the actor's.
Every array has a leading seed axis; one seed is an axis of length one.
"""

from dataclasses import dataclass, fields
from functools import cached_property, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from latent_reward.agents import td3
from latent_reward.credit import decompose
from latent_reward.credit.features import feature_size, raw_features, step_features
from latent_reward.credit.methods import Credit, Direct, Fixed, Learned
from latent_reward.encoder.encoder import Encoder
from latent_reward.networks import MLP
from latent_reward.training import replay as ring
from latent_reward.training.replay import Episode, Replay
from latent_reward.training.seeds import over_seeds
from latent_reward.types import Key, Keys


@dataclass(frozen=True, eq=False)
class Learner:
    """What stays fixed while a run trains, static in ``jax.jit``: equal ones share their compiled programs.

    Attributes:
        credit: the method's way to assign credit.
        encoder: φ, for methods that read latents.
        agent: TD3's hyper-parameters.
        actions: the action range.
        observation_size: numbers per observation.
        action_size: numbers per action.
        horizon: longest episode.
        batch_size: transitions per agent update.
        capacity: transitions the replay keeps.
    """

    credit: Credit
    encoder: Encoder | None
    agent: td3.TD3Config
    actions: td3.ActionRange
    observation_size: int
    action_size: int
    horizon: int
    batch_size: int
    capacity: int

    @cached_property
    def _value(self) -> tuple:
        """All fields as plain values: arrays, which the range of actions has, are not hashable."""
        bounds = tuple(tuple(np.asarray(each).tolist()) for each in self.actions)
        return (*(getattr(self, each.name) for each in fields(self) if each.name != "actions"), bounds)

    def __eq__(self, other: object) -> bool:
        """Same values."""
        return isinstance(other, Learner) and self._value == other._value

    def __hash__(self) -> int:
        """By value."""
        return hash(self._value)

    @property
    def latent_size(self) -> int:
        """Stored numbers per step: the encoder's latents; nothing where features follow from the step itself."""
        if isinstance(self.credit, Learned) and self.credit.features != "raw":
            return self.feature_size
        return 0

    @property
    def feature_size(self) -> int:
        """Numbers per step that the decoder reads."""
        assert isinstance(self.credit, Learned)
        return feature_size(self.credit, self.encoder, self.observation_size, self.action_size)


class State(NamedTuple):
    """Everything that learning changes."""

    agent: td3.TD3
    decomposer: decompose.Decomposer | None
    replay: Replay


def init(learner: Learner, keys: Keys) -> State:
    """Fresh state for each of ``keys``, committed to its device as every later state is: so nothing compiles twice."""
    return jax.device_put(_init(learner, keys), jax.devices()[0])


@partial(jax.jit, static_argnums=0)
def _init(learner: Learner, keys: Keys) -> State:
    def one(key):
        k_agent, k_credit = jax.random.split(key)
        agent = td3.init(k_agent, learner.agent, learner.observation_size, learner.action_size)
        decomposer = None
        if isinstance(learner.credit, Learned):
            decomposer = decompose.init(k_credit, learner.credit, learner.feature_size)
        stores_rewards = not isinstance(learner.credit, Learned)
        replay = ring.init(
            learner.capacity,
            learner.horizon,
            learner.observation_size,
            learner.action_size,
            learner.latent_size,
            stores_rewards,
        )
        return State(agent, decomposer, replay)

    return jax.vmap(one)(keys)


@partial(jax.jit, static_argnums=0, donate_argnums=(1, 2))
def absorb(
    learner: Learner, decomposer: Any, replay: Replay, episode: Episode
) -> tuple[Any, Replay, Float[Array, "seed time"]]:
    """Store one finished episode per seed (length 0: none) and give its per-step credit.

    For a learned method the credit is the proxy reward *before* anything was fitted to this episode; for a
    direct one the encoder's latent, for a reference method the rule's reward: both never change, so that they
    are stored.
    """

    def one(decomposer, replay, episode):
        mask, nothing = episode.mask, jnp.zeros((learner.horizon, 0))
        if isinstance(learner.credit, Fixed):
            credit = decompose.fixed_credit(learner.credit.rule, episode.reward[:, None], mask[:, None])[:, 0]
            return decomposer, ring.insert(replay, episode, nothing, credit[:, None]), credit
        observation = episode.observation
        features = step_features(
            learner.credit, learner.encoder, observation[:-1], episode.action, observation[1:]
        )
        if isinstance(learner.credit, Direct):
            credit = jnp.where(mask, features[:, 0], 0.0)
            return decomposer, ring.insert(replay, episode, nothing, credit[:, None]), credit
        credit = jnp.where(mask, decompose.proxy(decomposer, learner.credit, features), 0.0)
        decomposer = decompose.observe(
            decomposer, features[None, :, None], mask[None, :, None], episode.total[None]
        )
        stored = features if learner.latent_size else nothing
        return decomposer, ring.insert(replay, episode, stored, nothing), credit

    return jax.vmap(one)(decomposer, replay, episode)


@partial(jax.jit, static_argnums=0, donate_argnums=(1, 2))
def update(
    learner: Learner,
    agent: td3.TD3,
    decomposer: Any,
    replay: Replay,
    keys: Keys,
    first: Int[Array, ""],
    count: Int[Array, ""],
    update_actor: Bool[Array, ""],
) -> tuple[td3.TD3, Any, dict[str, Float[Array, " seed"]]]:
    """The updates of steps ``first`` to ``first + count − 1`` for every seed.

    Each is one of the decoder and the critics; where ``update_actor``, one of the actor and the targets follows the
    last. ``count`` is at most ``policy_delay``, so that target networks stand still and all values of the batches can
    be bootstrapped in one pass. However the same steps are divided into calls, they give the same numbers.
    """
    credit, config = learner.credit, learner.agent

    def one(agent, decomposer, replay, key):
        drawn, windows, noise = jax.vmap(partial(_draw, learner, replay, key))(
            first + jnp.arange(config.policy_delay)
        )
        value = td3.bootstrap(agent, config, learner.actions, drawn.next_observation, drawn.terminated, noise)

        def step(index, carry):
            agent, decomposer, losses = carry
            batch, window = jax.tree.map(lambda leaf: leaf[index], (drawn, windows))
            if isinstance(credit, Learned):
                decomposer, losses["decoder_loss"] = decompose.update(decomposer, credit, window)
                features = batch.features
                if learner.latent_size == 0:
                    features = raw_features(batch.observation, batch.action, batch.next_observation)
                reward = decompose.proxy(decomposer, credit, features)
            else:
                reward = batch.reward[:, 0]
            agent, losses["critic_loss"] = td3.update_critics(
                agent, config, batch.observation, batch.action, reward + value[index]
            )
            return agent, decomposer, losses

        names = ("decoder_loss", "critic_loss") if isinstance(credit, Learned) else ("critic_loss",)
        losses = {name: jnp.zeros(()) for name in names}
        agent, decomposer, losses = jax.lax.fori_loop(0, count, step, (agent, decomposer, losses))
        # a loop of at most one turn: in contrast to a branch it leaves the arrays where they are
        last = drawn.observation[count - 1]
        turn = lambda _, agent: td3.update_actor(agent, config, learner.actions, last)  # noqa: E731
        agent = jax.lax.fori_loop(0, update_actor.astype(jnp.int32), turn, agent)
        return agent, decomposer, losses

    return over_seeds(one, agent, decomposer, replay, keys)


def _draw(learner: Learner, replay: Replay, key: Key, step: Int[Array, ""]) -> tuple[Any, Any, Array]:
    """What the update of one step draws: transitions, a window for the decoder, noise of target actions."""
    credit = learner.credit
    k_window, k_batch, k_noise = jax.random.split(jax.random.fold_in(key, step), 3)
    batch = ring.sample(replay, k_batch, learner.batch_size)
    # drawn in one long row: the same numbers, of which the compiler makes wide instructions
    noise = jax.random.normal(k_noise, (batch.action.size,)).reshape(batch.action.shape)
    if not isinstance(credit, Learned):
        return batch, None, noise
    subset = None if credit.loss == "rd" else min(credit.subset, learner.horizon)
    window = ring.sample_window(
        replay,
        k_window,
        episodes=max(1, credit.batch_steps // (subset or learner.horizon)),
        subset=subset,
        horizon=learner.horizon,
        raw=learner.latent_size == 0,
    )
    return batch, window, noise


@partial(jax.jit, static_argnums=0)
def exploration(learner: Learner, keys: Keys, steps: Int[Array, " step"]) -> Float[Array, "step seed action"]:
    """Noise from N(0, 1) for the actions of ``steps``, many at a time: one by one it costs more than the policy."""

    def one(key, step):
        return jax.random.normal(jax.random.fold_in(key, step), (learner.action_size,))

    return jax.vmap(jax.vmap(one, (0, None)), (None, 0))(keys, steps)


@partial(jax.jit, static_argnums=0)
def explore(
    learner: Learner,
    actor: MLP,
    observation: Float[Array, "seed observation"],
    noise: Float[Array, "seed action"],
) -> Float[Array, "seed action"]:
    """The action each seed takes: its policy plus exploration noise."""

    def one(actor, observation, noise):
        return td3.act(actor, learner.agent, learner.actions, observation, noise)

    return over_seeds(one, actor, observation, noise)


@partial(jax.jit, static_argnums=0)
def exploit(
    learner: Learner, actor: MLP, observation: Float[Array, "seed env observation"]
) -> Float[Array, "seed env action"]:
    """The deterministic action of each seed's policy in each of its evaluation environments."""
    return jax.vmap(partial(td3.policy, actions=learner.actions))(actor, observation=observation)
