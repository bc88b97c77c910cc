"""PPO with vectors of actions: losses against NumPy, and what must not matter does not."""

from dataclasses import replace
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from test_ppo import forward

from latent_reward.agents.base import Actor, AgentSpec
from latent_reward.agents.policies import GaussianMLP
from latent_reward.agents.ppo import PPO, Rows, standardise_advantage
from latent_reward.data.episodes import Episodes, Played
from latent_reward.data.spaces import Continuous

pytestmark = pytest.mark.usefixtures("compile_fast")

LOW, HIGH = np.array([-1.0, 2.0]), np.array([3.0, 2.5])
MIDDLE, HALF_WIDTH = (LOW + HIGH) / 2, (HIGH - LOW) / 2
SPEC = AgentSpec(3, Continuous(tuple(LOW.tolist()), tuple(HIGH.tolist())))
AGENT = PPO(hidden=(16, 16), critic_sees_time=False, standardise=False, value_clip=None)

LOSSES = jax.jit(lambda nets, rows, clip: AGENT.losses(SPEC, nets, rows, clip))
INIT = jax.jit(lambda key: AGENT.init(SPEC, key))


def networks(seed=0):
    """Networks with deviations of their own, whose ratios leave the clipping range."""
    nets = AGENT.networks(SPEC, INIT(jax.random.key(seed)).parameters)
    nets = jax.tree.map(lambda leaf: 2.0 * leaf, nets)
    return nets._replace(actor=nets.actor._replace(log_deviation=jnp.array([-0.4, 0.3])))


def make_rows(count=20, seed=0):
    random = np.random.default_rng(seed)
    draw = lambda *shape: random.normal(size=shape).astype(np.float32)  # noqa: E731
    action = (MIDDLE + HALF_WIDTH * np.tanh(draw(count, 2))).astype(np.float32)
    action[0], action[1] = LOW, HIGH
    chances = random.uniform(-3, 0, count).astype(np.float32)
    mask = random.random(count) < 0.6
    mask[:2] = True
    return Rows(
        draw(count, 3), random.random(count).astype(np.float32), action, chances, draw(count), draw(count),
        draw(count), mask, None,
    )  # fmt: skip


def chance(actor, x, action):
    """log π of tanh of a Gaussian, in units in which the range is from −1 to 1."""
    total = 0.0
    for mean, log_deviation, each, middle, half in zip(
        forward(actor.mean, x),
        np.asarray(actor.log_deviation, np.float64),
        action,
        MIDDLE,
        HALF_WIDTH,
        strict=True,
    ):
        u = np.clip((np.float64(each) - middle) / half, -1 + 1e-6, 1 - 1e-6)
        z, deviation = np.arctanh(u), np.exp(log_deviation)
        total += (
            -0.5 * ((z - mean) / deviation) ** 2 - np.log(deviation * np.sqrt(2 * np.pi)) - np.log(1 - u**2)
        )
    return total


def entropy(actor, x):
    """By a sum over a fine grid."""
    grid = np.linspace(-12.0, 12.0, 4001)
    total = 0.0
    for mean, log_deviation in zip(
        forward(actor.mean, x), np.asarray(actor.log_deviation, np.float64), strict=True
    ):
        deviation = np.exp(log_deviation)
        p = np.exp(-0.5 * ((grid - mean) / deviation) ** 2) / np.sqrt(2 * np.pi) / deviation
        slope = np.log(4.0) - 2 * np.logaddexp(grid, -grid)
        total += -((np.log(p + 1e-300) - slope) * p).sum() * (grid[1] - grid[0])
    return total


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_losses_are_those_of_the_definition(seed):
    nets, rows, clip = networks(seed), make_rows(seed=seed), 0.2
    policy, worth, entropies = [], [], []
    for i in np.flatnonzero(rows.mask):
        x = rows.observation[i].astype(np.float64)
        ratio = np.exp(chance(nets.actor, x, rows.action[i]) - rows.log_probability[i])
        a = rows.advantage[i]
        policy.append(-min(ratio * a, min(max(ratio, 1 - clip), 1 + clip) * a))
        entropies.append(entropy(nets.actor, x))
        worth.append(0.5 * (rows.target[i] - forward(nets.critic, x)[0]) ** 2)
    found = LOSSES(nets, jax.tree.map(jnp.asarray, rows), jnp.float32(clip))
    np.testing.assert_allclose(found, [np.mean(policy), np.mean(worth), np.mean(entropies)], rtol=3e-3)


def test_what_was_just_drawn_has_a_ratio_of_1():
    actor, observation = networks().actor, jax.random.normal(jax.random.key(0), (500, 3))
    action, chances = AGENT.act(SPEC, Actor(actor, None), 3 * observation, jax.random.key(1))
    assert ((action >= jnp.asarray(LOW)) & (action <= jnp.asarray(HIGH))).all()
    zero = jnp.zeros(500)
    rows = Rows(3 * observation, zero, action, chances, zero, jnp.ones(500), zero, jnp.ones(500, bool), None)
    assert LOSSES(networks(), rows, jnp.float32(0.2))[0] == pytest.approx(-1.0, abs=1e-5)


def test_rows_that_do_not_exist_change_neither_losses_nor_gradients():
    rows = make_rows()

    def total(nets, rows):
        return sum(AGENT.losses(SPEC, nets, rows, jnp.float32(0.2)))

    spoil = lambda leaf: np.where(rows.mask.reshape(-1, *[1] * (leaf.ndim - 1)), leaf, leaf.dtype.type(50))  # noqa: E731
    spoilt = jax.tree.map(lambda leaf: leaf if leaf.dtype == bool else spoil(leaf), rows)
    slopes = jax.jit(jax.value_and_grad(total))
    one, two = (slopes(networks(), each) for each in (rows, spoilt))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), one, two)


def test_a_fresh_policy_is_near_the_middle_and_wide():
    state = INIT(jax.random.key(0))
    nets = AGENT.networks(SPEC, state.parameters)
    assert isinstance(nets.actor, GaussianMLP)
    np.testing.assert_array_equal(ravel_pytree(nets)[0], state.parameters)
    observation = jax.random.normal(jax.random.key(1), (2000, 3))
    best = AGENT.best(SPEC, AGENT.actor(SPEC, state), observation)
    assert (jnp.abs(best - MIDDLE) < 0.1 * HALF_WIDTH).all()
    drawn, _ = AGENT.act(SPEC, AGENT.actor(SPEC, state), observation, jax.random.key(2))
    np.testing.assert_allclose(
        (drawn - MIDDLE).std(axis=0) / HALF_WIDTH, 0.63, atol=0.05
    )  # of tanh of N(0, 1)


def test_updates_find_the_best_action_of_each_context():
    """A bandit: in context x the action tanh x₀ pays best; what is learned holds in contexts never seen."""
    agent = replace(AGENT, learning_rate=3e-3, epochs=4, minibatch=64, entropy_weight=0.0)
    spec = AgentSpec(3, Continuous((-2.0,), (2.0,)))
    best = lambda observation: 2 * jnp.tanh(observation[:, :1])  # noqa: E731

    @jax.jit
    def iteration(state, key):
        k_x, k_act, k_learn = jax.random.split(key, 3)
        observation = jax.random.normal(k_x, (300, 3))
        nets = agent.networks(spec, state.parameters)
        action, chances = agent.act(spec, Actor(nets.actor, None), observation, k_act)
        reward = -((action - best(observation)) ** 2).sum(axis=1)
        value = agent.value(nets.critic, observation, jnp.zeros(300))
        mask = jnp.ones(300, bool)
        advantage = standardise_advantage(reward - value, mask)
        rows = Rows(observation, jnp.zeros(300), action, chances, value, advantage, reward, mask, None)
        return agent.update(spec, state, rows, k_learn, jnp.float32(1.0))[0]

    state = jax.jit(lambda key: agent.init(spec, key))(jax.random.key(0))
    for number in range(60):
        state = iteration(state, jax.random.key(number))
    observation = jax.random.normal(jax.random.key(1000), (300, 3))
    error = agent.best(spec, agent.actor(spec, state), observation) - best(observation)
    assert float(jnp.abs(error).mean()) < 0.3


def played_episodes(units=1.0, shown=1.0, moved=1.0, spoil=0.0):
    """Four episodes, of which ``spoil`` is whatever follows their ends; everything in units of its own."""
    random = np.random.default_rng(0)
    mask = np.arange(5)[None, :, None] < np.array([5, 3, 4, 1])[:, None, None]
    observation = random.normal(size=(4, 6, 1, 3)) * shown
    action = np.tanh(random.normal(size=(4, 5, 1, 2))) * HALF_WIDTH + MIDDLE
    action = np.where(mask[..., None], moved * action, spoil)
    chances = np.where(mask, random.uniform(-2, -1, mask.shape), spoil)
    reward = np.where(mask, random.normal(size=mask.shape), 0.0) * units
    single = lambda array: jnp.asarray(array, jnp.float32)  # noqa: E731
    record = Episodes(
        single(observation), single(action), jnp.asarray(mask), jnp.asarray(mask & False),
        single(reward.sum(axis=(1, 2))), single(reward),
    )  # fmt: skip
    return Played(record, single(chances), None, None), single(reward)


@partial(jax.jit, static_argnums=0)
def improved(spec, played, reward):
    """What the agent does after three iterations, and how it has learned."""
    agent = PPO(hidden=(8,), epochs=2, minibatch=8, bootstrap=True, discount=0.9)

    def iteration(state, key):
        return agent.learn(spec, state, played, reward, key, jnp.float32(1.0))

    keys = jax.random.split(jax.random.key(1), 3)
    state, measured = jax.lax.scan(iteration, agent.init(spec, jax.random.key(0)), keys)
    return agent.best(spec, agent.actor(spec, state), played.episodes.observation), measured


@cache
def learned(moved=1.0, **settings):
    """What the agent does after a few iterations, in units of the action's range."""
    spec = AgentSpec(3, Continuous(tuple((moved * LOW).tolist()), tuple((moved * HIGH).tolist())))
    action, measured = improved(spec, *played_episodes(moved=moved, **settings))
    assert all(np.isfinite(each).all() for each in measured.values())
    return action / moved


@pytest.mark.parametrize(
    "settings",
    [{"units": 1e-6}, {"units": 1e6}, {"shown": 1e-4}, {"shown": 1e4}, {"moved": 1e-3}, {"moved": 1e3}],
)
def test_nothing_depends_on_the_units_of_rewards_observations_and_actions(settings):
    np.testing.assert_allclose(learned(**settings), learned(), rtol=2e-3, atol=2e-4)


def test_whatever_lies_beyond_the_end_of_an_episode_changes_nothing():
    np.testing.assert_array_equal(learned(spoil=np.nan), learned())
