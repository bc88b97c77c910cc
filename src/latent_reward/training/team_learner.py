"""The compiled half of on-policy training: every iteration of every seed, and evaluation.

One iteration, for each team:
    1. play whole episodes in parallel worlds with the present policy;
    2. predict their returns (nothing has been fitted to them yet: a held-out prediction), encode their steps
       once, store them;
    3. update the decoder on stored episodes;
    4. give every step and agent its proxy reward and update the policy on the episodes just played.
"""

from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from latent_reward.agents import ppo
from latent_reward.credit import decompose
from latent_reward.credit.features import feature_size, step_features
from latent_reward.credit.methods import Credit, Direct, Fixed, Learned
from latent_reward.encoder.encoder import Encoder
from latent_reward.envs.base import World
from latent_reward.envs.pettingzoo import HostWorld
from latent_reward.training import team_replay
from latent_reward.training.plan import Fitting
from latent_reward.training.rollout import Rollout, play
from latent_reward.training.seeds import over_seeds
from latent_reward.training.team_replay import TeamReplay
from latent_reward.types import AgentMask, EpisodeFeatures, EpisodeRewards, Key, Keys, Scalar

_BLOCK_ROWS = (
    1024  # rows of a decoder's gradient at a time: its activations then stay in the processor's cache
)


@dataclass(frozen=True)
class TeamLearner:
    """What stays fixed while a run trains, static in ``jax.jit``: equal ones share their compiled programs.

    Attributes:
        world: where the teams act.
        credit: the method's way to assign credit, the same for every team.
        encoders: φ of each team; None for methods without latents.
        agent: PPO's hyper-parameters.
        iterations: of the whole training.
        episodes: episodes per iteration.
        fitting: when and on what decoders are fitted.
    """

    world: World | HostWorld
    credit: Credit
    encoders: tuple[Encoder | None, ...]
    agent: ppo.PPOConfig
    iterations: int
    episodes: int
    fitting: Fitting = field(default_factory=Fitting)


class TeamState(NamedTuple):
    """Everything that learning changes in one team."""

    agent: ppo.PPO
    decomposer: decompose.Decomposer | None
    replay: TeamReplay | None


class Measures(NamedTuple):
    """What an iteration shows of one team; ``credit`` has a row of ``monitor``'s sums for each episode."""

    decoder_loss: Scalar
    policy_loss: Scalar
    value_loss: Scalar
    entropy: Scalar
    training_return: Scalar
    credit: Float[Array, "episode 8"]


def init(learner: TeamLearner, keys: Keys) -> tuple[TeamState, ...]:
    """Fresh state of every team for each of ``keys``, committed to its device."""
    return jax.device_put(_init_all(learner, keys), jax.devices()[0])


@partial(jax.jit, static_argnums=0)
def _init_all(learner: TeamLearner, keys: Keys) -> tuple[TeamState, ...]:
    return over_seeds(partial(_init, learner), keys, apart=True)


def _init(learner: TeamLearner, key: Key) -> tuple[TeamState, ...]:
    states = []
    for index, (team, encoder) in enumerate(zip(learner.world.teams, learner.encoders, strict=True)):
        k_agent, k_credit = jax.random.split(jax.random.fold_in(key, index))
        agent = ppo.init(k_agent, learner.agent, team.observation_size, learner.world.actions)
        decomposer = replay = None
        if isinstance(learner.credit, Learned):
            size = feature_size(learner.credit, encoder, team.observation_size, learner.world.actions)
            decomposer = decompose.init(k_credit, learner.credit, size)
            shape = (learner.world.horizon, team.agents, size)
            replay = team_replay.init(learner.fitting.buffer_episodes, learner.episodes, shape)
        states.append(TeamState(agent, decomposer, replay))
    return tuple(states)


@partial(jax.jit, static_argnums=0, donate_argnums=1)
def advance(
    learner: TeamLearner,
    states: tuple[TeamState, ...],
    keys: Keys,
    start: Int[Array, ""],
    stop: Int[Array, ""],
) -> tuple[tuple[TeamState, ...], tuple[Measures, ...]]:
    """Iterations ``start`` to ``stop`` of every seed, and the measures of the last one."""

    def one(states, key):
        def iteration(index, carry):
            return iterate(learner, carry[0], jax.random.fold_in(key, index), index)

        shape = jax.eval_shape(partial(iteration, start), (states, None))[1]
        nothing = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shape)
        return jax.lax.fori_loop(start, stop, iteration, (states, nothing))

    return over_seeds(one, states, keys, apart=True)


@partial(jax.jit, static_argnums=(0, 3))
def evaluate(
    learner: TeamLearner, states: tuple[TeamState, ...], keys: Keys, episodes: int
) -> tuple[tuple[Float[Array, "seed episode"], Bool[Array, "seed episode"] | None], ...]:
    """Returns of each team in ``episodes`` episodes, and whether it won; actions are drawn from the policies."""

    world = learner.world
    assert isinstance(world, World)

    def one(states, key):
        rollouts = play(world, actors(learner, states), key, episodes)
        return tuple((rollout.returns, rollout.won) for rollout in rollouts)

    return over_seeds(one, states, keys, apart=True)


def actors(learner: TeamLearner, states: tuple[TeamState, ...]) -> tuple:
    """The policy of each team."""
    return tuple(networks(learner, index, state).actor for index, state in enumerate(states))


def networks(learner: TeamLearner, index: int, state: TeamState):
    """Actor and critic of one team of one seed."""
    size = learner.world.teams[index].observation_size
    return ppo.networks(state.agent.parameters, learner.agent, size, learner.world.actions)


def iterate(
    learner: TeamLearner, states: tuple[TeamState, ...], key: Key, index: Int[Array, ""]
) -> tuple[tuple[TeamState, ...], tuple[Measures, ...]]:
    """One iteration, number ``index``: all teams play together, and each learns from its own return."""
    k_play, k_learn = jax.random.split(key)
    assert isinstance(learner.world, World)
    rollouts = play(learner.world, actors(learner, states), k_play, learner.episodes)
    return _learn_all(learner, states, rollouts, k_learn, index)


@partial(jax.jit, static_argnums=0, donate_argnums=1)
def learn_from(
    learner: TeamLearner,
    states: tuple[TeamState, ...],
    rollouts: tuple[Rollout, ...],
    keys: Keys,
    index: Int[Array, ""],
) -> tuple[tuple[TeamState, ...], tuple[Measures, ...]]:
    """What iteration ``index`` of every seed learns from episodes that were played elsewhere; all lead with seeds."""

    def one(states, rollouts, key):
        return _learn_all(learner, states, rollouts, key, index)

    return over_seeds(one, states, rollouts, keys, apart=True)


def _learn_all(
    learner: TeamLearner,
    states: tuple[TeamState, ...],
    rollouts: tuple[Rollout, ...],
    key: Key,
    index: Int[Array, ""],
) -> tuple[tuple[TeamState, ...], tuple[Measures, ...]]:
    learnt = [
        learn(learner, number, state, rollout, jax.random.fold_in(key, number), index)
        for number, (state, rollout) in enumerate(zip(states, rollouts, strict=True))
    ]
    after, measures = zip(*learnt, strict=True)
    return after, measures


def learn(
    learner: TeamLearner, team: int, state: TeamState, rollout: Rollout, key: Key, index: Int[Array, ""]
) -> tuple[TeamState, Measures]:
    """What one team learns from the episodes it has played: credit first, then the policy."""
    k_credit, k_agent = jax.random.split(key)
    mask = rollout.mask.swapaxes(0, 1)
    truth = rollout.reward.swapaxes(0, 1)
    if isinstance(learner.credit, Fixed):
        rule = partial(decompose.fixed_credit, learner.credit.rule)
        before = reward = jax.vmap(rule)(truth, mask)
        loss = jnp.zeros(())
    elif isinstance(learner.credit, Direct):
        before = reward = jnp.where(mask, _features(learner, team, rollout)[..., 0], 0.0)
        loss = jnp.zeros(())
    else:
        assert state.decomposer is not None and state.replay is not None  # noqa: PT018
        features = _features(learner, team, rollout)
        before = decompose.proxy(state.decomposer, learner.credit, features)
        decomposer = decompose.observe(state.decomposer, features, mask, rollout.returns)
        replay = team_replay.insert(state.replay, features, mask, rollout.returns)
        decomposer, loss = _fit(learner, decomposer, replay, k_credit, index)
        state = state._replace(decomposer=decomposer, replay=replay)
        reward = decompose.proxy(decomposer, learner.credit, features)
        before, reward = (decompose.allocate(learner.credit, each, mask) for each in (before, reward))
    remaining = 1.0 - index / learner.iterations
    agent, measured = _improve(learner, team, state, rollout, reward, k_agent, remaining)
    sums = credit_sums(before, truth, mask)
    return state._replace(agent=agent), Measures(loss, *measured, rollout.returns.mean(), sums)


def _features(learner: TeamLearner, team: int, rollout: Rollout) -> EpisodeFeatures:
    """What the decoder reads of every step and agent, ``[episode, time, agent, feature]``."""
    assert not isinstance(learner.credit, Fixed)
    seen = rollout.observation.swapaxes(0, 1)
    action = jax.nn.one_hot(rollout.action.swapaxes(0, 1), learner.world.actions)
    rows = (each.reshape(-1, each.shape[-1]) for each in (seen[:, :-1], action, seen[:, 1:]))
    features = step_features(learner.credit, learner.encoders[team], *rows)
    return features.reshape(*action.shape[:-1], -1)


def _fit(
    learner: TeamLearner,
    decomposer: decompose.Decomposer,
    replay: TeamReplay,
    key: Key,
    index: Int[Array, ""],
) -> tuple[decompose.Decomposer, Scalar]:
    """This iteration's decoder updates; returns the loss before the last one."""
    credit = learner.credit
    assert isinstance(credit, Learned)
    horizon, agents = replay.mask.shape[1:]
    subset = None if credit.loss == "rd" else min(credit.subset, horizon)
    episodes = max(1, credit.batch_steps // (subset or horizon))
    block = block_size(episodes, (subset or horizon) * agents)

    def update(number, carry):
        window = team_replay.sample_window(
            replay, jax.random.fold_in(key, number), episodes=episodes, subset=subset
        )
        return decompose.update(carry[0], credit, window, block=block)

    count = jnp.where(index == 0, learner.fitting.first_updates, learner.fitting.updates)
    return jax.lax.fori_loop(0, count, update, (decomposer, jnp.zeros(())))


def block_size(episodes: int, rows: int) -> int:
    """The most episodes of ``rows`` rows each that fit into a block and divide ``episodes``."""
    return max(
        size
        for size in range(1, episodes + 1)
        if episodes % size == 0 and size * rows <= max(rows, _BLOCK_ROWS)
    )


def _improve(
    learner: TeamLearner,
    team: int,
    state: TeamState,
    rollout: Rollout,
    reward: EpisodeRewards,
    key: Key,
    remaining: Scalar,
) -> tuple[ppo.PPO, tuple[Scalar, Scalar, Scalar]]:
    """PPO on the episodes just played, with the given reward of each step and agent."""
    config = learner.agent
    reward, mask = reward.swapaxes(0, 1), rollout.mask
    unit, size = ppo.grow_unit(state.agent.unit, ppo.returns_to_go(config, reward), mask)
    horizon = len(reward)
    observation = jnp.where(_there(rollout)[..., None], rollout.observation, 0.0)
    elapsed = jnp.broadcast_to((jnp.arange(horizon + 1) / horizon)[:, None, None], observation.shape[:-1])
    values = ppo.value(networks(learner, team, state).critic, config, observation, elapsed)
    goes_on = jnp.concatenate([mask[1:], jnp.zeros_like(mask[:1])]) | (rollout.cut & config.bootstrap)
    advantage = ppo.advantages(config, reward / size, values, goes_on)
    rows = ppo.Rows(
        observation[:-1],
        elapsed[:-1],
        rollout.action,
        jnp.where(mask, rollout.log_probability, 0.0),
        values[:-1],
        ppo.standardise(advantage, mask),
        advantage + values[:-1],
        mask,
        rollout.available,
    )
    rows = jax.tree.map(lambda leaf: leaf.reshape(mask.size, *leaf.shape[3:]), rows)
    agent = state.agent._replace(unit=unit)
    return ppo.update(agent, config, rows, learner.world.actions, key, remaining)


def _there(rollout: Rollout):
    """Where an observation is real and is asked for: before a step that is, and where an agent's time was cut."""
    none = jnp.zeros_like(rollout.mask[:1])
    return jnp.concatenate([rollout.mask, none]) | jnp.concatenate([none, rollout.cut])


def credit_sums(proxy: EpisodeRewards, truth: EpisodeRewards, mask: AgentMask) -> Float[Array, "episode 8"]:
    """The sums of ``credit.monitor`` for each episode, over its steps and agents."""
    p, r = jnp.where(mask, proxy, 0.0), jnp.where(mask, truth, 0.0)
    sums = (mask, p, r, p * p, r * r, p * r, truth, p)
    return jnp.stack([each.sum(axis=(1, 2)).astype(p.dtype) for each in sums], axis=1)
