"""PPO: estimates and losses against their definitions in NumPy, and what must not matter does not."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.flatten_util import ravel_pytree

from latent_reward.agents import ppo
from latent_reward.agents.ppo import PPOConfig, Rows

CONFIG = PPOConfig(hidden=(16, 16), critic_sees_time=False)
SIZE, ACTIONS = 3, 4


def networks(config=CONFIG, seed=0):
    state = ppo.init(jax.random.key(seed), config, SIZE, ACTIONS)
    return ppo.networks(state.parameters, config, SIZE, ACTIONS)


def make_rows(count=20, seed=0, available=True):
    random = np.random.default_rng(seed)
    choices = random.random((count, ACTIONS)) < 0.7
    choices[:, 0] = True
    action = np.array([random.choice(np.flatnonzero(row)) for row in choices])
    return Rows(
        observation=random.normal(size=(count, SIZE)).astype(np.float32),
        elapsed=random.random(count).astype(np.float32),
        action=action,
        log_probability=random.uniform(-2, -0.5, count).astype(np.float32),
        value=random.normal(size=count).astype(np.float32),
        advantage=random.normal(size=count).astype(np.float32),
        target=(15 * random.normal(size=count)).astype(np.float32),
        mask=random.random(count) < 0.6,
        available=choices if available else None,
    )


def forward(mlp, x):
    """A perceptron with tanh, in float64."""
    *hidden, last = [
        (np.asarray(w, np.float64), np.asarray(b, np.float64))
        for w, b in zip(mlp.weights, mlp.biases, strict=True)
    ]
    for weight, bias in hidden:
        x = np.tanh(x @ weight + bias)
    return x @ last[0] + last[1]


def expected_losses(nets, config, rows, clip):
    """The losses of every row that exists, one row at a time."""
    policy, worth, entropy = [], [], []

    def huber(error):
        size = abs(error)
        return 0.5 * size**2 if size <= config.huber else config.huber * (size - 0.5 * config.huber)

    for i in np.flatnonzero(rows.mask):
        x = rows.observation[i].astype(np.float64)
        logits = forward(nets.actor, x)
        allowed = range(ACTIONS) if rows.available is None else np.flatnonzero(rows.available[i])
        weights = {a: np.exp(logits[a]) for a in allowed}
        p = {a: weight / sum(weights.values()) for a, weight in weights.items()}
        ratio = p[int(rows.action[i])] / np.exp(rows.log_probability[i])
        a = rows.advantage[i]
        policy.append(-min(ratio * a, min(max(ratio, 1 - clip), 1 + clip) * a))
        entropy.append(-sum(each * np.log(each) for each in p.values()))
        v = forward(nets.critic, x)[0]
        near = rows.value[i] + min(max(v - rows.value[i], -config.value_clip), config.value_clip)
        worth.append(max(huber(rows.target[i] - v), huber(rows.target[i] - near)))
    return np.mean(policy), np.mean(worth), np.mean(entropy)


@pytest.mark.parametrize("available", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_losses_are_those_of_the_definition(seed, available):
    # Larger weights than a fresh policy has, so that ratios leave the clipping range.
    nets = jax.tree.map(lambda leaf: 2.0 * leaf, networks(seed=seed))
    rows = make_rows(seed=seed, available=available)
    found = ppo.losses(nets, CONFIG, jax.tree.map(jnp.asarray, rows), jnp.float32(0.2))
    np.testing.assert_allclose(found, expected_losses(nets, CONFIG, rows, 0.2), rtol=2e-4)


def test_rows_that_do_not_exist_change_neither_losses_nor_gradients():
    rows = make_rows()

    def total(nets, rows):
        return sum(ppo.losses(nets, CONFIG, jax.tree.map(jnp.asarray, rows), jnp.float32(0.2)))

    def spoil(leaf):
        if leaf.dtype.kind == "b":
            return leaf
        here = rows.mask.reshape(-1, *[1] * (leaf.ndim - 1))
        return np.where(here, leaf, np.asarray(3, leaf.dtype))

    spoilt = jax.tree.map(spoil, rows)
    spoilt = spoilt._replace(available=rows.available | (~rows.mask)[:, None])
    one, two = (jax.value_and_grad(total)(networks(), each) for each in (rows, spoilt))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), one, two)


def test_unavailable_actions_are_never_taken_and_have_no_gradient_problem():
    nets = networks()
    observation = jax.random.normal(jax.random.key(1), (500, SIZE))
    available = jax.random.bernoulli(jax.random.key(2), 0.4, (500, ACTIONS)).at[:, 1].set(True)
    action, log_probability = ppo.act(nets.actor, observation, jax.random.key(3), available)
    assert available[jnp.arange(500), action].all()
    log_probabilities = ppo.log_policy(nets.actor, observation, available)
    np.testing.assert_array_equal(log_probability, log_probabilities[jnp.arange(500), action])
    np.testing.assert_allclose(jnp.exp(log_probabilities).sum(axis=1), 1.0, rtol=1e-5)
    assert (jnp.exp(log_probabilities)[~available] == 0).all()


@pytest.mark.parametrize("discount", [1.0, 0.9])
def test_advantages_are_the_discounted_sums_of_the_definition(discount):
    config = replace(CONFIG, discount=discount)
    random = np.random.default_rng(0)
    time, batch = 7, 5
    reward, values = random.normal(size=(time, batch)), random.normal(size=(time + 1, batch))
    goes_on = random.random((time, batch)) < 0.8
    goes_on[-1] = [True, False, True, False, False]
    expected = np.zeros((time, batch))
    for b in range(batch):
        for t in range(time):
            weight = 1.0
            for k in range(t, time):
                delta = reward[k, b] + discount * goes_on[k, b] * values[k + 1, b] - values[k, b]
                expected[t, b] += weight * delta
                weight *= discount * config.gae_lambda
                if not goes_on[k, b]:
                    break
    found = ppo.advantages(
        config, jnp.asarray(reward, jnp.float32), jnp.asarray(values, jnp.float32), jnp.asarray(goes_on)
    )
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    to_go = [sum(discount**k * reward[t + k] for k in range(time - t)) for t in range(time)]
    found = ppo.returns_to_go(config, jnp.asarray(reward, jnp.float32))
    np.testing.assert_allclose(found, to_go, rtol=1e-4, atol=1e-5)


def test_the_unit_is_a_moving_root_mean_square_of_what_exists():
    random = np.random.default_rng(0)
    unit = ppo.Unit(jnp.zeros(()), jnp.zeros(()))
    squares = []
    for _ in range(4):
        returns, mask = random.normal(3.0, 2.0, (6, 5)), random.random((6, 5)) < 0.5
        squares.append((returns[mask] ** 2).mean())
        spoilt = np.where(mask, returns, 1e9).astype(np.float32)
        unit, size = ppo.grow_unit(unit, jnp.asarray(spoilt), jnp.asarray(mask))
    weights = 0.95 ** np.arange(3, -1, -1)
    assert size == pytest.approx(np.sqrt(np.average(squares, weights=weights)), rel=1e-4)
    assert ppo.grow_unit(unit, jnp.zeros((2, 2)), jnp.zeros((2, 2), bool))[1] > 0


def test_standardised_advantages_have_mean_0_and_variance_1_where_rows_exist():
    random = np.random.default_rng(0)
    advantage, mask = random.normal(5.0, 3.0, 200).astype(np.float32), random.random(200) < 0.5
    found = np.asarray(ppo.standardise(jnp.asarray(advantage), jnp.asarray(mask)))
    real = advantage[mask]
    np.testing.assert_allclose(found[mask], (real - real.mean()) / real.std(), rtol=1e-3, atol=1e-4)
    assert (found[~mask] == 0).all()


deal = jax.jit(ppo.deal)


@settings(deadline=None, max_examples=20)
@given(count=st.sampled_from([1, 2, 128, 101 * 103, 300, 12_300]), seed=st.integers(0, 2**31 - 1))
def test_dealt_rows_are_all_rows_once(count, seed):
    shuffled = jnp.asarray(np.random.default_rng(seed).permutation(count))
    np.testing.assert_array_equal(np.sort(deal(jax.random.key(seed), shuffled)), np.arange(count))


def test_step_size_and_clipping_fall_but_never_to_nothing():
    iterations = 50
    remaining = 1.0 - np.arange(iterations) / iterations
    rate, clip = np.array([ppo.shrink(CONFIG, jnp.float32(each)) for each in remaining]).T
    assert (rate[0], clip[0]) == pytest.approx((CONFIG.learning_rate, CONFIG.clip))
    assert rate[-1] == pytest.approx(CONFIG.learning_rate / iterations, rel=1e-3)
    assert clip[-1] == pytest.approx(CONFIG.least_clip * CONFIG.clip)
    assert (np.diff(rate) < 0).all()


def test_networks_are_cut_out_of_the_vector_as_they_were_put_in():
    nets = networks()
    parameters = ppo.init(jax.random.key(0), CONFIG, SIZE, ACTIONS).parameters
    np.testing.assert_array_equal(ravel_pytree(nets)[0], parameters)
    for mlp, head in ((nets.actor, 0.01), (nets.critic, 1.0)):
        for weight, gain in zip(mlp.weights, (1.0, 1.0, head), strict=True):
            short = weight @ weight.T if weight.shape[0] < weight.shape[1] else weight.T @ weight
            np.testing.assert_allclose(short, gain**2 * np.eye(len(short)), atol=1e-5)


def test_the_critic_reads_time_only_if_asked_to():
    rows = make_rows()
    observation, elapsed = jnp.asarray(rows.observation), jnp.asarray(rows.elapsed)
    for sees in (False, True):
        config = replace(CONFIG, critic_sees_time=sees)
        state = ppo.init(jax.random.key(0), config, SIZE, ACTIONS)
        critic = ppo.networks(state.parameters, config, SIZE, ACTIONS).critic
        now, later = (ppo.value(critic, config, observation, each) for each in (elapsed, elapsed + 1.0))
        assert bool((now != later).any()) is sees


def test_updates_find_the_better_action_of_each_context():
    """A bandit: in context x the action sign(x) pays; what is learned generalises to contexts never seen."""
    config = replace(CONFIG, learning_rate=3e-3, epochs=4, minibatch=64)
    state = ppo.init(jax.random.key(0), config, SIZE, ACTIONS)

    @jax.jit
    def iteration(state, key):
        k_x, k_act, k_learn = jax.random.split(key, 3)
        observation = jax.random.normal(k_x, (300, SIZE))
        nets = ppo.networks(state.parameters, config, SIZE, ACTIONS)
        action, log_probability = ppo.act(nets.actor, observation, k_act)
        reward = (action == jnp.where(observation[:, 0] > 0, 2, 0)).astype(float)
        value = ppo.value(nets.critic, config, observation, jnp.zeros(300))
        mask = jnp.ones(300, bool)
        advantage = ppo.standardise(reward - value, mask)
        rows = Rows(
            observation, jnp.zeros(300), action, log_probability, value, advantage, reward, mask, None
        )
        return ppo.update(state, config, rows, ACTIONS, k_learn, jnp.float32(1.0))[0], reward.mean()

    rewards = []
    for number in range(30):
        state, reward = iteration(state, jax.random.key(number))
        rewards.append(float(reward))
    assert rewards[0] < 0.4
    assert np.mean(rewards[-3:]) > 0.9
