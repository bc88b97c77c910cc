"""A method, an agent and a metric that are written here alone go through the training loops as they are."""

from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from latent_reward.agents.base import ReplayAgent
from latent_reward.agents.ppo import PPO
from latent_reward.agents.td3 import TD3
from latent_reward.credit import metrics
from latent_reward.credit.base import Method
from latent_reward.credit.reference import Reference
from latent_reward.data import buffer as ring
from latent_reward.data.spaces import Discrete
from latent_reward.envs.base import Outcome, Team, World
from latent_reward.envs.single import single_world
from latent_reward.report.log import Log, read_metrics
from latent_reward.rng import OnPolicyPurpose, keys_for
from latent_reward.training import from_episodes, from_replay
from latent_reward.training.learner import team_learners
from latent_reward.training.off_policy import OffPolicy, replay_learner
from latent_reward.training.on_policy import OnPolicy, episode_learner
from latent_reward.training.plan import Fresh, Plan, Replay

HORIZON = 6


@pytest.fixture(scope="module", autouse=True)
def _compile_fast():
    """Most of the time goes into compiling programs that run for a moment; leave them unoptimised."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


# ---------------------------------------------------------------- a method that reads whole episodes


class Scale(NamedTuple):
    """What is learned, and how many episodes were seen."""

    value: Any
    episodes: Any


@dataclass(frozen=True)
class TimesMean(Method):
    """r = s·z·z̄, with z the place that a step leads to, z̄ its mean over the episode and s learned."""

    rate: float = 0.1
    kind: str = "times-mean"

    @property
    def reads(self):
        return "episode"

    @property
    def learns(self):
        return True

    def init(self, spec, key):
        return Scale(jnp.ones(()), jnp.zeros(()))

    def feature_size(self, spec):
        return 1

    def features(self, spec, episodes, action):
        return episodes.after[..., :1]

    def observe(self, state, features, episodes):
        return state._replace(episodes=state.episodes + (episodes.lengths > 0).sum())

    def draw(self, spec, key, buffer):
        return ring.sample_window(buffer, key, episodes=4, subset=None, horizon=spec.horizon)

    def update(self, spec, state, drawn):
        """A part of the way to the least squares of the returns that were drawn."""
        unscaled = self.reward(Scale(1.0, 0), drawn.rows.features, drawn.mask).sum(axis=(1, 2))
        best = (unscaled @ drawn.returns) / jnp.maximum(unscaled @ unscaled, 1e-6)
        loss = jnp.mean((state.value * unscaled - drawn.returns) ** 2)
        return state._replace(value=state.value + self.rate * (best - state.value)), {"decoder_loss": loss}

    def reward(self, state, features, mask):
        z = jnp.where(mask, features[..., 0], 0.0)
        mean = z.sum(axis=(1, 2)) / jnp.maximum(mask.sum(axis=(1, 2)), 1)
        return state.value * z * mean[:, None, None]


def rewards_in_numpy(features, mask, scale):
    """The same, one episode at a time, for steps ``[step, agent]`` that are there."""
    z = np.where(mask, features, 0.0).astype(np.float64)
    return scale * z * z.sum() / mask.sum()


# ---------------------------------------------------------------- an agent


class Linear(NamedTuple):
    """Weights of the policy and of the value."""

    actor: Any
    critic: Any


@dataclass(frozen=True)
class LinearPolicy(ReplayAgent):
    """a = w·(o, 1), clipped, up the gradient of Q = θ·(o, a, o·a, a², 1), which learns by temporal differences."""

    rate: float = 0.02
    discount: float = 0.8
    noise: float = 0.5
    policy_delay: int = 1
    kind: str = "linear"

    def init(self, spec, key):
        seen, done = spec.observation_size, spec.actions.size
        return Linear(jnp.zeros((seen + 1, done)), jnp.zeros(seen + 2 * done + seen * done + 1))

    def actor(self, state):
        return state.actor

    def act(self, spec, actor, observation, noise):
        action = observation @ actor[:-1] + actor[-1]
        if noise is not None:
            action = action + self.noise * noise
        return jnp.clip(action, *map(jnp.asarray, (spec.actions.low, spec.actions.high)))

    def _value(self, critic, observation, action):
        products = (observation[..., :, None] * action[..., None, :]).reshape(*observation.shape[:-1], -1)
        one = jnp.ones_like(action[..., :1])
        return jnp.concatenate([observation, action, products, action**2, one], axis=-1) @ critic

    def bootstrap(self, spec, state, next_observation, terminated, noise):
        action = self.act(spec, state.actor, next_observation, None)
        value = self._value(state.critic, next_observation, action)
        return self.discount * jnp.where(terminated, 0.0, value)

    def update_critics(self, state, observation, action, reward, value):
        target = reward + value

        def loss_of(critic):
            return ((self._value(critic, observation, action) - target) ** 2).mean()

        loss, slope = jax.value_and_grad(loss_of)(state.critic)
        return state._replace(critic=state.critic - 2 * self.rate * slope), {"critic_loss": loss}

    def update_actor(self, spec, state, observation, key):
        def value_of(actor):
            action = observation @ actor[:-1] + actor[-1]
            return self._value(state.critic, observation, action).mean()

        return state._replace(actor=state.actor + self.rate * jax.grad(value_of)(state.actor))


# ---------------------------------------------------------------- where they are tried


class Walk(gymnasium.Env):
    """Push a point; at every step the sum of all pay so far is twice (Σ z)²/n: what ``TimesMean`` can explain.

    Args:
        wall: the episode is terminated beyond this distance from 0.
        goal: paid is −|z − goal| instead, if it is a number.
    """

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (1,), np.float32)
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)

    def __init__(self, wall=np.inf, goal=None):
        self.wall, self.goal = wall, goal

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place, self.count, self.sum, self.paid = self.np_random.uniform(-0.5, 0.5), 0, 0.0, 0.0
        return np.array([self.place], np.float32), {}

    def step(self, action):
        self.place, self.count = self.place + 0.3 * float(action[0]), self.count + 1
        self.sum += self.place
        due = 2.0 * self.sum**2 / self.count
        reward, self.paid = due - self.paid, due
        if self.goal is not None:
            reward = -abs(self.place - self.goal)
        over = abs(self.place) > self.wall
        return np.array([self.place], np.float32), reward, over, self.count == HORIZON, {}


def walkers():
    """Two agents in a compiled world, paid by the same rule as in ``Walk``; it ends at 0.8."""

    def reset(key):
        return jax.random.uniform(key, (2,), minval=-0.5, maxval=0.5), jnp.zeros(()), jnp.zeros(())

    def step(state, action, key):
        place, total, count = state
        place = place + 0.25 * (action - 1.0)
        after, number = total + place.sum(), count + 2
        due = 2.0 * after**2 / number - jnp.where(count > 0, 2.0 * total**2 / jnp.maximum(count, 1), 0.0)
        over = jnp.abs(place[0]) > 0.8
        return Outcome((place, after, number), jnp.full(2, due / 2), over)

    observe = lambda state: (state[0][:, None],)  # noqa: E731
    render = lambda state: np.zeros((16, 16, 3), np.uint8)  # noqa: E731
    return World("walkers", (Team("walkers", 2, 1, Discrete(3)),), reset, observe, step, render, HORIZON)


TD3_AGENT = TD3(hidden=(8,))


def off_policy(method, agent=TD3_AGENT, seeds=(0,), refresh_episodes=64, **env):
    """A training in ``Walk`` at its first step."""
    world = single_world("walk", lambda mode: Walk(**env), HORIZON)
    experience = Replay(warmup=12, batch_size=16, buffer_size=60, refresh_episodes=refresh_episodes)
    plan = Plan(rounds=1000, experience=experience, evaluation_episodes=3)
    learner = replay_learner(team_learners(world, method, agent, (None,)), plan)
    return OffPolicy(learner, plan, seeds, world)


def steps(training, count):
    for _ in range(count):
        training.advance()
    return training


def stored_episodes(buffer, seed):
    """Features, mask and stored reward of each live episode of a seed, ``[step, agent, …]``."""
    one = jax.tree.map(lambda leaf: np.asarray(leaf)[seed], buffer)
    for number in range(int(one.oldest_episode), int(one.newest_episode)):
        slot = number % len(one.start)
        here = slice(one.start[slot], one.start[slot] + one.length[slot])
        reward = None if one.steps.reward is None else one.steps.reward[here]
        yield one.steps.features[here, :, 0], one.steps.mask[here], reward


# ---------------------------------------------------------------- training from replay


@pytest.mark.parametrize("wall", [np.inf, 0.6])
def test_stored_rewards_are_those_of_the_method_as_it_is_when_an_episode_ends(wall):
    training = off_policy(TimesMean(), seeds=(0, 1), wall=wall)
    checked = 0
    for _ in range(40):
        before = [slot.episodes for slot in training.slots]
        training.advance()
        if [slot.episodes for slot in training.slots] == before:
            continue
        for seed in (0, 1):
            scale = float(training.state.credit.value[seed])
            for features, mask, reward in stored_episodes(training.state.buffer, seed):
                np.testing.assert_allclose(
                    reward, rewards_in_numpy(features, mask, scale), rtol=1e-4, atol=1e-5
                )
                checked += 1
    training.close()
    assert checked > 20
    assert training.state.credit.episodes.tolist() == [slot.episodes for slot in training.slots]
    assert (np.abs(training.state.credit.value - 1.0) > 0.1).all()


def test_a_method_of_whole_episodes_learns_and_explains_held_out_returns():
    training = steps(off_policy(TimesMean(), wall=0.6), 120)
    (report,) = training.evaluate()
    training.close()
    assert training.state.credit.value[0] == pytest.approx(2.0, rel=1e-3)  # the factor that Walk pays
    assert report.credit["explained_variance"] > 0.95
    assert report.losses["decoder_loss"] < 1e-3
    assert np.isfinite(report.losses["critic_loss"])


def test_rewards_are_refreshed_a_few_episodes_at_a_time_in_turn():
    training = steps(off_policy(TimesMean(), refresh_episodes=3), 5 * HORIZON)
    training.close()
    learner, buffer = training.learner, training.state.buffer
    old = [reward for *_, reward in stored_episodes(buffer, 0)]
    assert len(old) == 5
    credit = training.state.credit._replace(value=jnp.full(1, 7.0))
    for first, fresh in ((0, {0, 1, 2}), (3, {0, 1, 2, 3, 4})):
        buffer = from_replay.refresh(learner, credit, buffer, np.int32(first))
        for number, (features, mask, reward) in enumerate(stored_episodes(buffer, 0)):
            expected = rewards_in_numpy(features, mask, 7.0) if number in fresh else old[number]
            np.testing.assert_allclose(reward, expected, rtol=1e-4, atol=1e-5)


def test_critics_learn_from_the_stored_rewards():
    """Without a bootstrapped value and with a critic of zeros, the loss is the mean of r² over the batch."""
    training = steps(off_policy(TimesMean(), LinearPolicy(discount=0.0)), 13)
    learner, state = training.learner, jax.tree.map(jnp.array, training.state)
    training.close()
    keys, (step, count) = jax.random.split(jax.random.key(0), 1), np.int32([7, 1])
    drawn = jax.random.split(jax.random.fold_in(keys[0], step), 3)[1]
    one = jax.tree.map(lambda leaf: leaf[0], state.buffer)
    rewards = np.asarray(ring.sample(one, drawn, learner.batch_size).reward)
    assert rewards.std() > 0
    fresh = jax.tree.map(jnp.zeros_like, state.agent)
    given = (fresh, state.credit, state.buffer, keys, step, count, np.bool_(False))
    _, credit, losses = from_replay.update(learner, *given)
    assert losses["critic_loss"][0] == pytest.approx((rewards**2).mean(), rel=1e-5)
    assert credit.value[0] != training.state.credit.value[0]  # fitted, but not yet what is stored


def test_a_resumed_training_goes_on_to_the_same_numbers(tmp_path):
    make = partial(off_policy, TimesMean(), seeds=(0, 1), wall=0.6)
    through = steps(make(), 45)
    half = steps(make(), 22)
    half.save(tmp_path / "checkpoint", "{}")
    resumed = make()
    resumed.restore(tmp_path / "checkpoint", "{}")
    steps(resumed, 23)
    for training in (through, resumed):
        training.flush_updates()
    jax.tree.map(np.testing.assert_array_equal, resumed.state, through.state)
    for training in (through, half, resumed):
        training.close()


def test_an_agent_with_no_delay_learns_to_reach_the_goal():
    training = off_policy(Reference("dense"), LinearPolicy(), goal=1.0)
    (before,) = training.evaluate()
    steps(training, 400)
    (after,) = training.evaluate()
    training.close()
    assert (np.abs(training.state.agent.actor) > 0.01).any()
    assert np.isfinite(after.losses["critic_loss"])
    assert before.return_mean < -4.5  # it stands still
    assert after.return_mean > before.return_mean + 2.0


# ---------------------------------------------------------------- training from episodes


def on_policy(method, updates=5):
    """A training of ``walkers`` before its first iteration."""
    world = walkers()
    agent = PPO(hidden=(8,), epochs=1, minibatch=64)
    experience = Fresh(episodes=16, first_updates=updates, updates=updates, buffer_episodes=64)
    plan = Plan(rounds=12, agent=agent, experience=experience, evaluation_episodes=4)
    learner = episode_learner(team_learners(world, method, agent, (None,)), plan)
    return OnPolicy(learner, plan, (0,), world)


def test_a_method_of_whole_episodes_pays_a_team():
    training = on_policy(TimesMean(rate=0.5))
    keys = keys_for((0,), OnPolicyPurpose.TRAIN)
    given = (training.world, training.states, keys, jnp.int32(0), jnp.int32(1))
    states, (measures,) = from_episodes.advance(training.learner, *given)
    rows = np.asarray(measures.credit)[0]
    episodes = list(stored_episodes(states[0].buffer, 0))
    assert len(episodes) == 16 == states[0].credit.episodes[0]
    assert len({len(mask) for _, mask, _ in episodes}) > 1
    for row, (features, mask, _) in zip(rows, episodes, strict=True):
        held_out = rewards_in_numpy(features, mask, 1.0)  # before anything was fitted
        np.testing.assert_allclose(row[[0, 1]], [mask.sum(), held_out.sum()], rtol=1e-4)
        np.testing.assert_allclose(row[2], 2.0 * row[1], rtol=1e-3, atol=1e-4)  # what the world paid
    assert states[0].credit.value[0] == pytest.approx(2.0 - 0.5**5, rel=1e-3)


def test_a_method_of_whole_episodes_trains_a_team_and_explains_held_out_returns():
    training = on_policy(TimesMean(rate=0.5))
    before = np.array(training.states[0].agent.parameters)
    training.advance(10 * training.steps_per_round)
    (report,) = training.evaluate()
    training.close()
    assert not np.array_equal(training.states[0].agent.parameters, before)
    assert report.credit["explained_variance"] > 0.99
    assert report.losses["decoder_loss"] < 1e-3
    assert np.isfinite([report.losses["value_loss"], report.return_mean]).all()


# ---------------------------------------------------------------- a metric


def mean_reward(rows):
    """Mean of r̂ over all steps."""
    return float(rows[:, 1].sum() / rows[:, 0].sum())


def test_a_metric_is_a_function_and_a_line_and_is_reported_and_logged(tmp_path, monkeypatch):
    monkeypatch.setitem(metrics.METRICS, "mean_reward", mean_reward)
    alone, team = steps(off_policy(TimesMean()), 2 * HORIZON), on_policy(Reference("dense"))
    team.advance(team.steps_per_round)
    reports = [training.evaluate()[0] for training in (alone, team)]
    with closing(Log(tmp_path, 0)) as log:
        log.write(reports)
    rewards = [rewards_in_numpy(*each[:2], 1.0) for each in stored_episodes(alone.state.buffer, 0)]
    expected = np.concatenate(rewards).mean()  # nothing is fitted before the warm-up ends
    assert reports[0].row()["mean_reward"] == pytest.approx(expected, rel=1e-4)
    assert np.isfinite(reports[1].row()["mean_reward"])
    assert [row["mean_reward"] for row in read_metrics(tmp_path)] == [
        report.row()["mean_reward"] for report in reports
    ]
    for training in (alone, team):
        training.close()


# ---------------------------------------------------------------- what the protocols ask for


def test_everything_that_names_a_protocol_as_its_base_is_one():
    assert isinstance(TimesMean(), Method)
    assert isinstance(LinearPolicy(), ReplayAgent)
    assert not isinstance(LinearPolicy(), Method)
    assert TimesMean().latents == "none"
    assert hash(TimesMean()) == hash(TimesMean())
