"""TD3 against NumPy, the rules it is known for, and problems whose answer is known."""

from dataclasses import replace
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array

from latent_reward.agents import td3
from latent_reward.agents.base import AgentSpec
from latent_reward.agents.td3 import DDPG, TD3
from latent_reward.data.spaces import Continuous, Discrete
from latent_reward.errors import LareError
from latent_reward.networks import init_mlp
from latent_reward.optimisers import adam, init_adam, polyak

LOW, HIGH = np.array([-1.0, 2.0], np.float32), np.array([3.0, 2.5], np.float32)
MIDDLE, HALF_WIDTH = (LOW + HIGH) / 2, (HIGH - LOW) / 2
SPEC = AgentSpec(3, Continuous(tuple(LOW.tolist()), tuple(HIGH.tolist())))
AGENT = TD3(hidden=(16,), learning_rate=1e-3, standardise=False)
QUIET = TD3(hidden=(16,), target_noise=0.0, standardise=False)


initialise = jax.jit(lambda key, agent: agent.init(SPEC, key), static_argnums=1)


def fresh(agent=AGENT, seed=0):
    """An agent whose targets differ from the networks they follow."""
    state = initialise(jax.random.key(seed), agent)
    other = initialise(jax.random.key(seed + 100), agent)
    return state._replace(target_actor=other.actor, target_critics=other.critics)


class Batch(NamedTuple):
    """Transitions, with what is drawn for target actions."""

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
    reward = random.normal(size=rows).astype(np.float32)
    noise = random.normal(size=(rows, 2)).astype(np.float32)
    return Batch(*map(jnp.asarray, (o, action, reward, o_next, random.random(rows) < 0.3, noise)))


def targets(state, agent, batch, spec=SPEC):
    """The target of both critics; the unit of reward is 1 before the first episode."""
    value = agent.bootstrap(spec, state, batch.next_observation, batch.terminated, batch.noise)
    return batch.reward + value


def learn(state, batch, agent, update_actor, spec=SPEC):
    """One update of everything, or of the critics alone; the loss is that of the critics."""
    value = agent.bootstrap(spec, state, batch.next_observation, batch.terminated, batch.noise)
    state, measured = agent.update_critics(state, batch.observation, batch.action, batch.reward, value)
    if update_actor:
        state = agent.update_actor(spec, state, batch.observation, jax.random.key(0))
    return state, measured["critic_loss"]


update = jax.jit(learn, static_argnums=(2, 3))


def policy(actor, observation, agent=AGENT):
    """What the agent does without noise."""
    return agent.act(SPEC, actor, jnp.asarray(observation), None)


def forward(net, x, head=None):
    """A ReLU perceptron in NumPy; ``head`` picks one of an ensemble."""
    layers = [
        (w if head is None else w[head], b if head is None else b[head]) for w, b in zip(*net, strict=True)
    ]
    for index, (weight, bias) in enumerate(layers):
        x = x @ np.asarray(weight, np.float64) + np.asarray(bias, np.float64)
        x = np.maximum(x, 0) if index < len(layers) - 1 else x
    return x


def parts(net):
    return net.weights, net.biases


def reference_targets(state, agent, batch):
    action = (LOW + HIGH) / 2 + (HIGH - LOW) / 2 * np.tanh(
        forward(parts(state.target_actor), batch.next_observation)
    )
    x = np.concatenate([batch.next_observation, action], axis=1)
    q = np.min([forward(parts(state.target_critics), x, head)[:, 0] for head in (0, 1)], axis=0)
    return np.asarray(batch.reward) + agent.discount * np.where(batch.terminated, 0.0, q)


def same(a, b):
    return all(np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


def test_targets_and_critic_loss_equal_their_definition():
    state, batch = fresh(QUIET), transitions()
    y = reference_targets(state, QUIET, batch)
    got = targets(state, QUIET, batch)
    np.testing.assert_allclose(got, y, rtol=1e-4, atol=1e-5)
    x = np.concatenate([batch.observation, batch.action], axis=1)
    q = np.array([forward(parts(state.critics), x, head)[:, 0] for head in (0, 1)])
    np.testing.assert_allclose(
        td3.values(state.critics, batch.observation, batch.action), q, rtol=1e-4, atol=1e-5
    )
    y = targets(state, AGENT, batch)
    _, loss = update(state, batch, AGENT, False)
    assert float(loss) == pytest.approx(float(((q - y) ** 2).mean(axis=1).sum()), rel=1e-4)


def test_termination_stops_the_bootstrap_and_nothing_else_does():
    state, batch = fresh(QUIET), transitions()
    over = batch._replace(terminated=jnp.ones(32, bool))
    running = batch._replace(terminated=jnp.zeros(32, bool))
    np.testing.assert_array_equal(targets(state, QUIET, over), batch.reward)
    rest = targets(state, QUIET, running) - batch.reward
    assert (jnp.abs(rest) > 1e-4).all()


def test_target_actions_are_smoothed_by_clipped_noise_inside_the_action_range():
    # critics without hidden layers whose value is the first action: the bootstrap shows the smoothed action
    agent = TD3(hidden=(), discount=1.0, target_noise=10.0, target_noise_clip=0.25, standardise=False)
    state = initialise(jax.random.key(0), agent)
    weight = jnp.zeros((2, 5, 1)).at[:, 3].set(1.0)
    critics = type(state.critics)((weight,), (jnp.zeros((2, 1)),))
    still = jax.tree.map(jnp.zeros_like, state.target_actor)
    state = state._replace(target_critics=critics, target_actor=still)
    batch = transitions(rows=500)._replace(reward=jnp.zeros(500), terminated=jnp.zeros(500, bool))
    smoothed = np.asarray(targets(state, agent, batch))
    middle, half = 1.0, 2.0
    assert smoothed.min() == pytest.approx(middle - 0.25 * half)
    assert smoothed.max() == pytest.approx(middle + 0.25 * half)
    at_the_edge = jax.tree.map(lambda leaf: jnp.full_like(leaf, 0.0), state.target_actor)
    at_the_edge = type(still)(at_the_edge.weights, (jnp.full(2, 50.0),))
    smoothed = targets(state._replace(target_actor=at_the_edge), agent, batch)
    assert float(smoothed.max()) == pytest.approx(HIGH[0])
    assert float(smoothed.min()) == pytest.approx(HIGH[0] - 0.25 * half)


def test_actor_and_targets_move_only_when_told_to():
    state, batch = fresh(), transitions()
    critic_only, _ = update(state, batch, AGENT, False)
    unmoved = ("actor", "actor_optimiser", "target_actor", "target_critics")
    assert all(same(getattr(critic_only, name), getattr(state, name)) for name in unmoved)
    assert not same(critic_only.critics, state.critics)
    everything, _ = update(state, batch, AGENT, True)
    assert not any(same(getattr(everything, name), getattr(state, name)) for name in unmoved)
    assert same(everything.critics, critic_only.critics)


def test_targets_follow_by_the_polyak_rate():
    state, batch = fresh(), transitions()
    new, _ = update(state, batch, AGENT, True)
    for slow, before, fast in (
        (new.target_actor, state.target_actor, new.actor),
        (new.target_critics, state.target_critics, new.critics),
    ):
        expected = jax.tree.map(lambda b, f: 0.995 * b + 0.005 * f, before, fast)
        jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6), slow, expected)
        jax.tree.map(np.testing.assert_array_equal, polyak(before, fast, 0.0), before)


def test_the_actor_climbs_the_first_critic():
    state, batch = fresh(), transitions()

    def value(actor):
        action = policy(actor, batch.observation)
        return float(td3.values(new.critics, batch.observation, action)[0].mean())

    new, _ = update(state, batch, AGENT, True)
    assert value(AGENT.actor(new)) > value(AGENT.actor(state))


def test_a_fresh_agent_has_two_different_critics_and_targets_equal_to_what_they_follow():
    state = initialise(jax.random.key(0), AGENT)
    assert all(not np.array_equal(leaf[0], leaf[1]) for leaf in jax.tree.leaves(state.critics))
    assert same(state.target_critics, state.critics)
    assert same(state.target_actor, state.actor)


@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_actions_stay_inside_an_asymmetric_box_and_reach_its_edges(scale):
    agent = TD3(hidden=(16,), exploration_noise=2.0, standardise=False)
    actor = agent.actor(jax.tree.map(lambda leaf: scale * leaf, initialise(jax.random.key(1), agent)))
    observation = jax.random.normal(jax.random.key(2), (500, 3))
    noise = jax.random.normal(jax.random.key(3), (500, 2))
    noisy = np.asarray(agent.act(SPEC, actor, observation, noise))
    for action in (noisy, np.asarray(policy(actor, observation, agent))):
        assert (action >= LOW - 1e-6).all()
        assert (action <= HIGH + 1e-6).all()
    np.testing.assert_allclose(noisy.min(axis=0), LOW, atol=1e-6)
    np.testing.assert_allclose(noisy.max(axis=0), HIGH, atol=1e-6)


def test_exploration_noise_is_in_units_of_the_action_range():
    agent = TD3(hidden=(), exploration_noise=0.1, standardise=False)
    actor = jax.tree.map(jnp.zeros_like, agent.actor(initialise(jax.random.key(0), agent)))
    noise = jax.random.normal(jax.random.key(3), (5000, 2))
    noisy = np.asarray(agent.act(SPEC, actor, jnp.zeros((5000, 3)), noise))
    np.testing.assert_allclose(noisy.mean(axis=0), MIDDLE, atol=0.02)
    np.testing.assert_allclose(noisy.std(axis=0), 0.1 * HALF_WIDTH, rtol=0.05)


def test_an_agent_does_what_its_actor_says_in_numpy():
    state, observation = fresh(), np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
    expected = MIDDLE + HALF_WIDTH * np.tanh(forward(parts(state.actor), observation))
    np.testing.assert_allclose(policy(AGENT.actor(state), observation), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", [TD3, DDPG])
def test_discrete_actions_are_refused(kind):
    spec, name = AgentSpec(3, Discrete(4)), kind().kind.upper()
    with pytest.raises(LareError, match=rf"^agent: {name} needs continuous actions.*use PPO"):
        kind().init(spec, jax.random.key(0))


# ---------------------------------------------------------------- DDPG


def test_ddpg_has_one_critic_no_noise_on_targets_and_an_actor_that_learns_at_every_step():
    agent = DDPG(hidden=(16,), standardise=False)
    assert (agent.kind, agent.policy_delay, agent.critics) == ("ddpg", 1, 1)
    assert agent == replace(
        TD3(hidden=(16,), standardise=False), kind="ddpg", policy_delay=1, critics=1, target_noise=0.0
    )
    state, batch = fresh(agent), transitions()
    assert {len(leaf) for leaf in jax.tree.leaves(state.critics)} == {1}
    action = MIDDLE + HALF_WIDTH * np.tanh(forward(parts(state.target_actor), batch.next_observation))
    x = np.concatenate([batch.next_observation, action], axis=1)
    after = np.where(batch.terminated, 0.0, forward(parts(state.target_critics), x, 0)[:, 0])
    y = np.asarray(batch.reward) + 0.99 * after
    np.testing.assert_allclose(targets(state, agent, batch), y, rtol=1e-4, atol=1e-5)
    q = forward(parts(state.critics), np.concatenate([batch.observation, batch.action], axis=1), 0)[:, 0]
    _, loss = update(state, batch, agent, True)
    assert float(loss) == pytest.approx(float(((q - y) ** 2).mean()), rel=1e-4)


@pytest.mark.parametrize("name", ["critics", "policy_delay"])
def test_a_count_below_one_is_refused(name):
    with pytest.raises(LareError, match=rf"^{name}: 0 is not possible"):
        TD3(**{name: 0})


# ---------------------------------------------------------------- determinism


def train(key, mapped=lambda function: function, updates=8):
    """A short training on rewards drawn from one key, or from many with ``jax.vmap``."""

    def step(state, key, number):
        key = jax.random.fold_in(key, number)
        batch = transitions()
        batch = batch._replace(reward=batch.reward + jax.random.normal(key, batch.reward.shape))
        batch = batch._replace(noise=jax.random.normal(key, batch.noise.shape))
        return update(state, batch, AGENT, True)[0]

    state = mapped(lambda k: initialise(k, AGENT))(key)
    for number in range(updates):
        state = mapped(partial(step, number=number))(state, key)
    return state


def test_the_same_key_gives_the_same_agent_and_another_key_another():
    assert same(train(jax.random.key(3)), train(jax.random.key(3)))
    assert not same(train(jax.random.key(3)), train(jax.random.key(4)))


def test_two_seeds_side_by_side_equal_two_single_runs():
    keys = jax.random.split(jax.random.key(5), 2)
    together = train(keys, jax.vmap)
    for index in (0, 1):
        one = jax.tree.map(lambda leaf, index=index: leaf[index], together)
        jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-5), one, train(keys[index]))


# ---------------------------------------------------------------- problems with a known answer


FAST = TD3(hidden=(32, 32), learning_rate=3e-3, discount=0.5, polyak=0.05, standardise=False)
WIDE = AgentSpec(3, Continuous((-1.0, -0.5), (3.0, 1.5)))
WIDE_MIDDLE, WIDE_HALF_WIDTH = jnp.array([1.0, 0.5]), jnp.array([2.0, 1.0])
BEST = np.array([0.0, 0.8], np.float32)


@jax.jit
def solve(batch):
    """Train on the same transitions over and over."""

    def one(state, key):
        batch_now = batch._replace(noise=jax.random.normal(key, batch.noise.shape))
        return learn(state, batch_now, FAST, True, WIDE)[0], None

    state = FAST.init(WIDE, jax.random.key(0))
    return jax.lax.scan(one, state, jax.random.split(jax.random.key(1), 600))[0]


def problem(here, after, reward, terminated):
    """Random actions in the given states; the reward is a function of the action."""
    action = WIDE_MIDDLE + WIDE_HALF_WIDTH * jax.random.uniform(jax.random.key(2), (256, 2), minval=-1.0)
    states = [jax.nn.one_hot(jnp.broadcast_to(jnp.asarray(index), 256), 3) for index in (here, after)]
    reward = jnp.broadcast_to(reward(action), 256).astype(jnp.float32)
    over = jnp.broadcast_to(jnp.asarray(terminated), 256)
    return Batch(states[0], action, reward, states[1], over, jnp.zeros((256, 2)))


def test_a_bandit_with_a_known_best_action_is_solved():
    def reward(action):
        return -(((action - BEST) / WIDE_HALF_WIDTH) ** 2).sum(axis=1)

    state = solve(problem(0, 0, reward, True))
    action = FAST.act(WIDE, FAST.actor(state), jnp.eye(3)[0], None)
    assert (jnp.abs(action - BEST) / WIDE_HALF_WIDTH < 0.1).all()


def test_a_chain_of_two_steps_has_its_known_values():
    second = np.arange(256) % 2 == 1
    state = solve(problem(second.astype(int), 1, lambda _: 1.0 + second, second))
    values = td3.values(state.critics, jnp.eye(3)[:2], jnp.broadcast_to(WIDE_MIDDLE, (2, 2)))
    np.testing.assert_allclose(values, [[1.0 + 0.5 * 2.0, 2.0]] * 2, atol=0.1)


def test_a_state_that_time_limits_cut_but_nothing_ends_is_worth_the_discounted_sum():
    state = solve(problem(0, 0, lambda _: jnp.ones(()), False))
    values = td3.values(state.critics, jnp.eye(3)[:1], WIDE_MIDDLE[None])
    np.testing.assert_allclose(values, 1.0 / (1.0 - 0.5), atol=0.1)


# ---------------------------------------------------------------- networks


def test_a_perceptron_equals_numpy_on_any_leading_axes():
    net = init_mlp(jax.random.key(0), (4, 7, 5, 2))
    x = np.random.default_rng(0).normal(size=(3, 6, 4)).astype(np.float32)
    np.testing.assert_allclose(net(jnp.asarray(x)), forward(parts(net), x), rtol=1e-4, atol=1e-5)
    for weight, bias, fan_in in zip(*parts(net), (4, 7, 5), strict=True):
        assert float(jnp.abs(weight).max()) <= fan_in**-0.5
        assert float(jnp.abs(bias).max()) <= fan_in**-0.5


# ---------------------------------------------------------------- optimisers


def test_a_step_of_adam_is_that_of_the_definition():
    random = np.random.default_rng(0)
    parameters = {
        "a": random.normal(size=3).astype(np.float32),
        "b": random.normal(size=(2, 2)).astype(np.float32),
    }
    state = init_adam(parameters)
    expected = jax.tree.map(np.float64, parameters)
    first, second = (jax.tree.map(np.zeros_like, expected) for _ in range(2))
    for step in range(1, 6):
        gradient = jax.tree.map(lambda leaf: random.normal(size=leaf.shape).astype(np.float32), parameters)
        parameters, state = adam(parameters, gradient, state, 0.01 * step)
        for name, slope in gradient.items():
            first[name] = 0.9 * first[name] + 0.1 * slope
            second[name] = 0.999 * second[name] + 0.001 * np.float64(slope) ** 2
            size = np.sqrt(second[name] / (1 - 0.999**step)) + 1e-8
            expected[name] = expected[name] - 0.01 * step * first[name] / (1 - 0.9**step) / size
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6), parameters, expected)


def test_a_saturated_actor_finds_its_way_back():
    """At z = 30 the slope of tanh is 0 in single precision; only ``saturation`` moves the actor then."""

    def drawn_back(agent):
        state, rows = agent.init(WIDE, jax.random.key(0)), jnp.eye(3)
        last = state.actor.biases[-1].at[:].set(30.0)
        state = state._replace(actor=replace(state.actor, biases=(*state.actor.biases[:-1], last)))
        before = state.actor(rows)
        for number in range(20):
            state = agent.update_actor(WIDE, state, rows, jax.random.key(number))
        return float((before - state.actor(rows)).min())

    assert drawn_back(replace(FAST, saturation=0.0)) == 0.0
    assert drawn_back(FAST) > 0.1


def test_inside_the_range_saturation_changes_nothing():
    state, rows = FAST.init(WIDE, jax.random.key(0)), jnp.eye(3)
    assert float(jnp.abs(state.actor(rows)).max()) < 3.0
    found = [
        agent.update_actor(WIDE, state, rows, jax.random.key(0))
        for agent in (FAST, replace(FAST, saturation=0.0))
    ]
    assert same(*found)
