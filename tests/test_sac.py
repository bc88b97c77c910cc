"""SAC against NumPy, the rules it is known for, and problems whose answer is known."""

from functools import partial
from types import SimpleNamespace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array
from test_td3 import forward, parts, same

from latent_reward.agents.base import AgentSpec
from latent_reward.agents.critics import values
from latent_reward.agents.sac import SAC
from latent_reward.data.spaces import Continuous, Discrete
from latent_reward.errors import LareError
from latent_reward.networks import MLP

LOW, HIGH = np.array([-1.0, 2.0]), np.array([3.0, 2.5])
MIDDLE, HALF_WIDTH = (LOW + HIGH) / 2, (HIGH - LOW) / 2
SPEC = AgentSpec(3, Continuous(tuple(LOW.tolist()), tuple(HIGH.tolist())))
AGENT = SAC(hidden=(16,), learning_rate=1e-3, temperature=0.3, standardise=False)

pytestmark = pytest.mark.usefixtures("compile_fast")

initialise = jax.jit(lambda key, agent: agent.init(SPEC, key), static_argnums=1)
bootstrap = jax.jit(lambda state, batch: AGENT.bootstrap(SPEC, state, *batch[3:]))
improve = jax.jit(lambda state, observation, key: AGENT.update_actor(SPEC, state, observation, key))


def fresh(agent=AGENT, seed=0):
    """An agent whose target critics differ from the critics."""
    state, other = (initialise(jax.random.key(each), agent) for each in (seed, seed + 100))
    return state._replace(target_critics=other.critics)


class Batch(NamedTuple):
    """Transitions, with what is drawn for next actions."""

    observation: Array
    action: Array
    reward: Array
    next_observation: Array
    terminated: Array
    noise: Array


def transitions(seed=0, rows=32):
    random = np.random.default_rng(seed)
    o, o_next = random.normal(size=(2, rows, 3)).astype(np.float32)
    action = random.uniform(LOW, HIGH, (rows, 2)).astype(np.float32)
    reward, noise = (random.normal(size=shape).astype(np.float32) for shape in ((rows,), (rows, 2)))
    return Batch(*map(jnp.asarray, (o, action, reward, o_next, random.random(rows) < 0.3, noise)))


def drawn(actor, observation, noise):
    """Actions and log-probabilities in double precision, one number at a time."""
    actions, chances = [], []
    for o, each in zip(np.asarray(observation, np.float64), np.asarray(noise, np.float64), strict=True):
        output = forward(parts(actor), o)
        action, chance = [], 0.0
        for mean, pushed, e, middle, half in zip(
            output[:2], output[2:], each, MIDDLE, HALF_WIDTH, strict=True
        ):
            deviation = np.exp(-5.0 + 3.5 * (np.tanh(pushed) + 1.0))
            u = np.tanh(mean + deviation * e)
            chance += -0.5 * e**2 - np.log(deviation * np.sqrt(2 * np.pi)) - np.log(1 - u**2)
            action.append(middle + half * u)
        actions.append(action)
        chances.append(chance)
    return np.array(actions), np.array(chances)


def least(critics, observation, action):
    x = np.concatenate([observation, action], axis=1)
    return np.min([forward(parts(critics), x, head)[:, 0] for head in (0, 1)], axis=0)


@partial(jax.jit, static_argnums=(2,), static_argnames=("update_actor", "spec"))
def learn(state, batch, agent, key=None, *, update_actor=True, spec=SPEC):
    """One update; the measures are those of the critics."""
    key = jax.random.key(0) if key is None else key
    later = agent.bootstrap(spec, state, batch.next_observation, batch.terminated, batch.noise)
    state, measured = agent.update_critics(state, batch.observation, batch.action, batch.reward, later)
    if update_actor:
        state = agent.update_actor(spec, state, batch.observation, key)
    return state, measured


def test_the_target_of_the_critics_equals_its_definition():
    state, batch = fresh(), transitions()
    action, chance = drawn(state.actor, batch.next_observation, batch.noise)
    soft = least(state.target_critics, batch.next_observation, action) - 0.3 * chance
    expected = np.where(batch.terminated, 0.0, 0.99 * soft)
    found = bootstrap(state, batch)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)
    assert (np.abs(0.3 * chance) > 1e-2).any()
    x = np.concatenate([batch.observation, batch.action], axis=1)
    q = np.array([forward(parts(state.critics), x, head)[:, 0] for head in (0, 1)])
    _, measured = learn(state, batch, AGENT, update_actor=False)
    loss = ((q - (np.asarray(batch.reward) + expected)) ** 2).mean(axis=1).sum()
    assert float(measured["critic_loss"]) == pytest.approx(loss, rel=1e-3)
    assert float(measured["temperature"]) == pytest.approx(0.3)


def test_the_actor_and_the_temperature_descend_their_losses():
    """The first step of Adam has the sign of the slope, which finite differences of the definition give."""
    state, batch, key = fresh(), transitions(), jax.random.key(7)
    noise = np.asarray(jax.random.normal(key, (32, 2)))

    def loss(actor):
        action, chance = drawn(actor, batch.observation, noise)
        return (0.3 * chance - least(state.critics, batch.observation, action)).mean()

    new = improve(state, batch.observation, key)
    for layer, row in ((0, 0), (1, 3)):
        for column in (0, 1, 2, 3):
            slope = 0.0
            for sign in (1, -1):
                weights = [np.asarray(each, np.float64) for each in state.actor.weights]
                weights[layer][row, column] += sign * 1e-5
                biases = [np.asarray(each, np.float64) for each in state.actor.biases]
                slope += sign * loss(SimpleNamespace(weights=weights, biases=biases)) / 2e-5
            moved = (new.actor.weights[layer] - state.actor.weights[layer])[row, column]
            if abs(slope) > 1e-3:
                assert float(moved) == pytest.approx(-1e-3 * np.sign(slope), rel=0.02), (layer, row, column)
    _, chance = drawn(state.actor, batch.observation, noise)
    entropy = -chance.mean()
    moved = float(new.log_temperature - state.log_temperature)
    assert abs(entropy + 2.0) > 1e-2  # H̄ is −2 for two numbers
    assert moved == pytest.approx(-1e-3 * np.sign(entropy + 2.0), rel=1e-2)


@pytest.mark.parametrize("above", [True, False])
def test_the_temperature_falls_while_the_entropy_is_above_its_target(above):
    state, batch = fresh(), transitions()
    narrow = state.actor.biases[-1].at[2:].set(0.6 if above else -3.0)
    state = state._replace(actor=MLP(state.actor.weights, (state.actor.biases[0], narrow)))
    new = improve(state, batch.observation, jax.random.key(0))
    assert bool(new.log_temperature < state.log_temperature) is above


def test_the_bootstrap_depends_on_nothing_that_the_critics_change():
    state, batch = fresh(), transitions()
    moved, _ = learn(state, batch, AGENT, update_actor=False)
    assert not same(moved.critics, state.critics)
    np.testing.assert_array_equal(bootstrap(moved, batch), bootstrap(state, batch))
    everything, _ = learn(state, batch, AGENT)
    assert not np.array_equal(bootstrap(everything, batch), bootstrap(state, batch))


def test_target_critics_follow_by_the_polyak_rate():
    state, batch = fresh(), transitions()
    new, _ = learn(state, batch, AGENT)
    expected = jax.tree.map(lambda b, f: 0.995 * b + 0.005 * f, state.target_critics, new.critics)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6), new.target_critics, expected)


def test_an_agent_explores_by_its_policy_and_is_judged_by_its_means():
    state, observation = fresh(), np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
    noise = np.random.default_rng(1).normal(size=(7, 2)).astype(np.float32)
    act = lambda noise: AGENT.act(SPEC, AGENT.actor(state), jnp.asarray(observation), noise)  # noqa: E731
    expected, _ = drawn(state.actor, observation, noise)
    np.testing.assert_allclose(act(jnp.asarray(noise)), expected, rtol=1e-4, atol=1e-5)
    means = MIDDLE + HALF_WIDTH * np.tanh(forward(parts(state.actor), observation)[:, :2])
    np.testing.assert_allclose(act(None), means, rtol=1e-4, atol=1e-5)


def test_what_cannot_be_is_refused():
    with pytest.raises(LareError, match=r"^agent: SAC needs continuous actions.*use PPO"):
        AGENT.init(AgentSpec(3, Discrete(4)), jax.random.key(0))
    with pytest.raises(LareError, match=r"^temperature: 0.0 is not possible; give a number above 0"):
        SAC(temperature=0.0)
    with pytest.raises(LareError, match=r"^policy_delay: 0"):
        SAC(policy_delay=0)


# ---------------------------------------------------------------- problems with a known answer


WIDE = AgentSpec(3, Continuous((-1.0, -0.5), (3.0, 1.5)))
WIDE_MIDDLE, WIDE_HALF_WIDTH = jnp.array([1.0, 0.5]), jnp.array([2.0, 1.0])
BEST = np.array([0.0, 0.8], np.float32)


@partial(jax.jit, static_argnums=(1, 2))
def solve(batch, agent, hold=False):
    """Train on the same transitions over and over, and perhaps hold the temperature."""

    def one(state, key):
        k_noise, k_actor = jax.random.split(key)
        now = batch._replace(noise=jax.random.normal(k_noise, batch.noise.shape))
        learned = learn(state, now, agent, k_actor, spec=WIDE)[0]
        return learned._replace(log_temperature=state.log_temperature) if hold else learned, None

    state = agent.init(WIDE, jax.random.key(0))
    return jax.lax.scan(one, state, jax.random.split(jax.random.key(1), 1500))[0]


def problem(reward, terminated):
    """Random actions in the first state, which follows itself; the reward is a function of the action."""
    action = WIDE_MIDDLE + WIDE_HALF_WIDTH * jax.random.uniform(jax.random.key(2), (256, 2), minval=-1.0)
    state = jax.nn.one_hot(jnp.zeros(256, int), 3)
    reward = jnp.broadcast_to(reward(action), 256).astype(jnp.float32)
    return Batch(state, action, reward, state, jnp.full(256, terminated), jnp.zeros((256, 2)))


def test_a_bandit_is_solved_with_the_entropy_that_was_asked_for():
    agent = SAC(hidden=(32, 32), learning_rate=3e-3, polyak=0.05, temperature=0.1, standardise=False)
    state = solve(problem(lambda a: -(((a - BEST) / WIDE_HALF_WIDTH) ** 2).sum(axis=1), True), agent)
    actor, here = agent.actor(state), jnp.eye(3)[0]
    action = agent.act(WIDE, actor, here, None)
    assert (jnp.abs(action - BEST) / WIDE_HALF_WIDTH < 0.15).all()
    # the best policy is exp(−|u − u*|²/α): of entropy −1 per number it is nearly N(u*, exp(−2)/2πe)
    noise = jax.random.normal(jax.random.key(5), (4000, 2))
    spread = agent.act(WIDE, actor, jnp.broadcast_to(here, (4000, 3)), noise)
    expected = np.exp(-1.0) / np.sqrt(2 * np.pi * np.e)
    np.testing.assert_allclose((spread / WIDE_HALF_WIDTH).std(axis=0), expected, rtol=0.15)


def test_a_state_that_nothing_ends_is_worth_the_discounted_sum_of_rewards_and_entropies():
    agent = SAC(
        hidden=(32, 32), learning_rate=3e-3, polyak=0.05, discount=0.5, temperature=0.2, standardise=False
    )
    state = solve(problem(lambda _: jnp.ones(()), False), agent, True)
    # no action is better than another, so the best policy is uniform, and its entropy in [−1, 1]² is 2 log 2
    expected = (1.0 + 0.5 * 0.2 * 2 * np.log(2.0)) / (1.0 - 0.5)
    found = values(state.critics, jnp.eye(3)[:1], WIDE_MIDDLE[None])
    np.testing.assert_allclose(found, expected, atol=0.05)
