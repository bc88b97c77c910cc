"""The compiled part of off-policy training: agent, credit and buffer of every seed, and their updates.

``store`` runs when an episode ends. It computes the features of the episode, predicts its rewards before anything is
fitted to it (a held-out prediction), and stores it. ``update`` is all learning from one update of the actor to the
next, in one program: for each step one update of the decoder on stored episodes, the rewards of a batch of transitions
decoded from their features, and one update of the critics on them; then one of the actor.
Every array has a leading seed axis; one seed is an axis of length one.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from latent_reward.agents.base import ReplayAgent
from latent_reward.credit.broken import Broken
from latent_reward.credit.features import features_of
from latent_reward.credit.uncertainty import latest_uncertainty
from latent_reward.data import buffer as ring
from latent_reward.data.buffer import Buffer, Rows
from latent_reward.device import commit
from latent_reward.envs.recorder import EpisodeArrays
from latent_reward.training.learner import State, TeamLearner
from latent_reward.training.seeds import over_seeds
from latent_reward.types import Key, Keys


@dataclass(frozen=True)
class ReplayLearner:
    """The fixed part of a run, static in ``jax.jit``: equal ones share their compiled programs.

    Attributes:
        team: the learner of the one team.
        batch_size: transitions per update.
        capacity: transitions that the buffer keeps.
        refresh_episodes: stored episodes whose rewards are decoded again whenever one ends.
    """

    team: TeamLearner
    batch_size: int
    capacity: int
    refresh_episodes: int = 64

    @property
    def agent(self) -> ReplayAgent:
        """The agent of the team."""
        return cast(ReplayAgent, self.team.agent)

    @property
    def stored_features(self) -> int:
        """How many of the features are stored; the others are derived from the stored steps."""
        method, spec = self.team.method, self.team.credit
        return method.feature_size(spec) - method.derived_size(spec)


class Batch(NamedTuple):
    """Transitions drawn at random, one row per agent, with the features and the stored reward of their steps."""

    observation: Float[Array, "batch observation"]
    action: Float[Array, "batch action"]
    next_observation: Float[Array, "batch observation"]
    terminated: Bool[Array, " batch"]
    mask: Bool[Array, "step agent"]
    features: Float[Array, "step agent feature"]
    reward: Float[Array, "step agent"] | None


def init(learner: ReplayLearner, keys: Keys) -> State:
    """Fresh state for each of ``keys``."""
    return commit(_init(learner, keys))


@partial(jax.jit, static_argnums=0)
def _init(learner: ReplayLearner, keys: Keys) -> State:
    team = learner.team

    def one(key):
        k_agent, k_credit = jax.random.split(key)
        buffer = ring.init(
            learner.capacity,
            team.credit.horizon,
            team.credit.agents,
            observation=team.credit.observation_size,
            action=team.credit.action_size,
            features=learner.stored_features,
            reward=team.method.reads == "episode",
        )
        return State(
            learner.agent.init(team.spec, k_agent),
            team.method.init(team.credit, k_credit),
            buffer,
            team.feedback.init(),
        )

    return jax.vmap(one)(keys)


@partial(jax.jit, static_argnums=0)
def broken_latents(learner: ReplayLearner, played: EpisodeArrays) -> Broken | None:
    """For each seed the first latent of its episode that is not finite: looked for before the episode is stored."""
    team = learner.team

    def one(played: EpisodeArrays) -> Broken | None:
        episodes = jax.tree.map(lambda leaf: leaf[None], played).episodes()
        return team.broken_latent(episodes, team.features(episodes))

    return over_seeds(one, played) if team.latent_names else None


@partial(jax.jit, static_argnums=0, donate_argnums=1)
def store(
    learner: ReplayLearner, state: State, played: EpisodeArrays, keys: Keys
) -> tuple[State, Float[Array, "seed time agent"]]:
    """Store one finished episode per seed (an empty mask: none) and give the reward of each of its steps.

    The rewards are those *before* anything was fitted to this episode. ``keys`` are read where noise is told.
    """
    team = learner.team

    def one(state: State, played: EpisodeArrays, key: Key):
        assert state.buffer is not None
        episodes, told = team.tell(jax.tree.map(lambda leaf: leaf[None], played).episodes(), state.told, key)
        features = team.features(episodes)
        reward = team.method.reward(state.credit, features, episodes.mask)
        credit = team.method.observe(state.credit, features, episodes)
        stored = team.method.reward(credit, features, episodes.mask)
        buffer = ring.insert(
            state.buffer, episodes, team.numbers(episodes), features[..., : learner.stored_features], stored
        )
        after = State(learner.agent.observe(state.agent, episodes), credit, buffer, told)
        return after, team.feedback.join(reward, played.mask.shape[0])[0]

    return over_seeds(one, state, played, keys)


@partial(jax.jit, static_argnums=0)
def uncertainty(learner: ReplayLearner, state: State) -> Float[Array, " seed"]:
    """How uncertain the credit of each seed's newest episode is."""
    method, spec = learner.team.method, learner.team.credit

    def one(credit, buffer):
        return latest_uncertainty(method, spec, credit, buffer)

    return over_seeds(one, state.credit, state.buffer)


@partial(jax.jit, static_argnums=0, donate_argnums=2)
def refresh(learner: ReplayLearner, credit: Any, buffer: Buffer, first: Int[Array, ""]) -> Buffer:
    """Decode the rewards of some stored episodes again, beginning with number ``first`` of a cycle through all."""
    team = learner.team

    def one(credit, buffer):
        count = jnp.maximum(buffer.newest_episode - buffer.oldest_episode, 1)
        turn = (first + jnp.arange(learner.refresh_episodes)) % count
        slot = (buffer.oldest_episode + turn) % len(buffer.start)
        window, row = ring.whole_episodes(buffer, slot, team.credit.horizon)
        reward = team.method.reward(credit, features_of(team.method, team.credit, window.rows), window.mask)
        return ring.write_reward(buffer, row, window.mask, reward)

    return jax.vmap(one)(credit, buffer)


@partial(jax.jit, static_argnums=0, donate_argnums=(1, 2))
def update(
    learner: ReplayLearner,
    agent: Any,
    credit: Any,
    buffer: Buffer,
    keys: Keys,
    first: Int[Array, ""],
    count: Int[Array, ""],
    update_actor: Bool[Array, ""],
) -> tuple[Any, Any, dict[str, Float[Array, " seed"]]]:
    """The updates of steps ``first`` to ``first + count − 1`` for every seed.

    Each is one of the decoder and the critics; where ``update_actor``, one of the actor and the targets follows the
    last. ``count`` is at most ``policy_delay``, so that target networks stand still and all values of the batches can
    be bootstrapped in one pass. However the same steps are divided into calls, they give the same numbers.
    """
    team, policy = learner.team, learner.agent

    def one(agent, credit, buffer, key):
        steps = first + jnp.arange(policy.policy_delay)
        drawn, windows, noise = jax.vmap(partial(_draw, learner, buffer, key))(steps)
        value = policy.bootstrap(team.spec, agent, drawn.next_observation, drawn.terminated, noise)

        def step(index, carry):
            agent, credit, _ = carry
            batch, window = jax.tree.map(lambda leaf: leaf[index], (drawn, windows))
            credit, fitted = team.method.update(team.credit, credit, window)
            reward = batch.reward
            if reward is None:
                reward = team.method.reward(credit, batch.features, batch.mask)
            agent, learned = policy.update_critics(
                agent, batch.observation, batch.action, reward.reshape(-1), value[index]
            )
            return agent, credit, {**fitted, **learned}

        shapes = jax.eval_shape(partial(step, 0), (agent, credit, {}))[2]
        losses = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
        agent, credit, losses = jax.lax.fori_loop(0, count, step, (agent, credit, losses))
        # a loop of at most one turn: in contrast to a branch it leaves the arrays where they are
        last, k_actor = drawn.observation[count - 1], jax.random.fold_in(key, first + count - 1)
        turn = lambda _, agent: policy.update_actor(team.spec, agent, last, k_actor)  # noqa: E731
        agent = jax.lax.fori_loop(0, update_actor.astype(jnp.int32), turn, agent)
        return agent, credit, losses

    return over_seeds(one, agent, credit, buffer, keys)


def _draw(
    learner: ReplayLearner, buffer: Buffer, key: Key, step: Int[Array, ""]
) -> tuple[Batch, Any, Float[Array, "batch action"]]:
    """The random draws of one step's update: transitions, the decoder's data, noise of target actions."""
    team = learner.team
    k_window, k_batch, k_noise = jax.random.split(jax.random.fold_in(key, step), 3)
    rows = _sample(learner, buffer, k_batch)
    by_agent = lambda leaf: leaf.reshape(-1, *leaf.shape[2:])  # noqa: E731
    batch = Batch(
        by_agent(rows.observation),
        by_agent(rows.action),
        by_agent(rows.next_observation),
        by_agent(rows.terminated),
        rows.mask,
        features_of(team.method, team.credit, rows),
        rows.reward,
    )
    # drawn in one long row: the same numbers, of which the compiler makes wide instructions
    noise = jax.random.normal(k_noise, (batch.action.size,)).reshape(batch.action.shape)
    return batch, team.method.draw(team.credit, k_window, buffer), noise


def _sample(learner: ReplayLearner, buffer: Buffer, key: Key) -> Rows:
    """A batch of transitions: all at random, or half of them from the best episodes for a method that wants it so."""
    best, count = learner.team.method.best_episodes, learner.batch_size // 2
    if not best:
        return ring.sample(buffer, key, learner.batch_size)
    k_any, k_best = jax.random.split(key)
    both = (
        ring.sample(buffer, k_any, learner.batch_size - count),
        ring.sample_best(buffer, k_best, count, best),
    )
    return jax.tree.map(lambda *parts: jnp.concatenate(parts), *both)


@partial(jax.jit, static_argnums=0)
def exploration(
    learner: ReplayLearner, keys: Keys, steps: Int[Array, " step"]
) -> Float[Array, "step seed agent action"]:
    """Noise from N(0, 1) for the actions of ``steps``, many at a time: one by one it costs more than the policy."""
    shape = (learner.team.credit.agents, learner.team.credit.action_size)

    def one(key, step):
        return jax.random.normal(jax.random.fold_in(key, step), (shape[0] * shape[1],)).reshape(shape)

    return jax.vmap(jax.vmap(one, (0, None)), (None, 0))(keys, steps)


@partial(jax.jit, static_argnums=0)
def explore(
    learner: ReplayLearner,
    actor: Any,
    observation: Float[Array, "seed agent observation"],
    noise: Float[Array, "seed agent action"],
) -> Float[Array, "seed agent action"]:
    """The action each seed takes: its policy plus exploration noise."""
    return over_seeds(partial(learner.agent.act, learner.team.spec), actor, observation, noise)


@partial(jax.jit, static_argnums=0)
def exploit(
    learner: ReplayLearner, actor: Any, observation: Float[Array, "seed env agent observation"]
) -> Float[Array, "seed env agent action"]:
    """The deterministic action of each seed's policy in each of its evaluation environments."""

    def one(actor, observation):
        return learner.agent.act(learner.team.spec, actor, observation, None)

    return jax.vmap(one)(actor, observation)
