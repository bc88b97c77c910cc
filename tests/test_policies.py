"""Distributions of actions against numerical integration and loops in double precision."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from latent_reward.agents.policies import (
    Categorical,
    GaussianMLP,
    SquashedGaussian,
    action_range,
    log_slope,
    policy_of,
)
from latent_reward.data.spaces import Continuous, Discrete
from latent_reward.errors import LareError
from latent_reward.networks import init_mlp

pytestmark = pytest.mark.usefixtures("compile_fast")

LOW, HIGH = np.array([-1.0, 2.0]), np.array([3.0, 2.5])
SPACE = Continuous(tuple(LOW.tolist()), tuple(HIGH.tolist()))
MIDDLE, HALF_WIDTH = (LOW + HIGH) / 2, (HIGH - LOW) / 2
MEAN, LOG_DEVIATION = np.array([0.7, -1.2]), np.array([-0.3, 0.4])


def gaussian(space=SPACE, mean=MEAN, log_deviation=LOG_DEVIATION):
    return policy_of(
        space, jnp.concatenate([jnp.asarray(mean), jnp.asarray(log_deviation)], dtype=jnp.float32)
    )


def density(u, mean=MEAN, log_deviation=LOG_DEVIATION):
    """The density of u = tanh z, of each number of an action: by the change of variables, in double precision."""
    z, deviation = np.arctanh(u), np.exp(log_deviation)
    return np.exp(-0.5 * ((z - mean) / deviation) ** 2) / (np.sqrt(2 * np.pi) * deviation) / (1 - u**2)


def test_the_probability_of_an_action_is_that_of_the_definition_and_integrates_to_1():
    grid = np.tanh(np.linspace(-7.0, 7.0, 4001))
    middle, width = (grid[1:] + grid[:-1]) / 2, np.diff(grid)
    first = MIDDLE + HALF_WIDTH * np.stack([middle, np.full_like(middle, 0.25)], axis=1)
    found = np.exp(gaussian().log_probability(jnp.asarray(first, jnp.float32)))
    other = density(np.array([0.0, 0.25]))[1]
    np.testing.assert_allclose(found, density(middle[:, None])[:, 0] * other, rtol=5e-3, atol=1e-5)
    assert (found * width).sum() == pytest.approx(other, rel=2e-3)


def test_what_is_drawn_has_the_probability_that_is_said_of_it():
    policy, key = gaussian(), jax.random.key(0)
    noise = jax.random.normal(key, (1000, 2))
    action, log_probability = policy.draw(noise)
    z = MEAN + np.exp(LOG_DEVIATION) * np.asarray(noise, np.float64)
    np.testing.assert_allclose(action, MIDDLE + HALF_WIDTH * np.tanh(z), rtol=1e-5, atol=1e-5)
    expected = np.log(density(np.tanh(z))).sum(axis=1)
    np.testing.assert_allclose(log_probability, expected, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(policy.log_probability(action), log_probability, rtol=1e-2, atol=1e-2)


def test_the_entropy_is_minus_the_mean_log_probability():
    policy = gaussian()
    _, log_probability = policy.draw(jax.random.normal(jax.random.key(0), (200_000, 2)))
    assert policy.entropy() == pytest.approx(-float(log_probability.mean()), abs=0.01)
    grid = np.tanh(np.linspace(-9.0, 9.0, 20_001))
    u, width = (grid[1:] + grid[:-1]) / 2, np.diff(grid)
    p = density(u[:, None])
    assert policy.entropy() == pytest.approx(-(p * np.log(p) * width[:, None]).sum(), abs=2e-3)


def summed(mean, log_deviation):
    """Something of everything that a policy tells, and actions drawn from it."""
    policy = gaussian(mean=jnp.full(2, mean), log_deviation=jnp.full(2, log_deviation))
    action, log_probability = policy.draw(jax.random.normal(jax.random.key(0), (50, 2)))
    again = policy.log_probability(jax.lax.stop_gradient(action))
    return log_probability.sum() + again.sum() + policy.entropy() + action.sum(), action


SUMMED = jax.jit(jax.value_and_grad(summed, (0, 1), has_aux=True))


@pytest.mark.parametrize("mean", [0.0, 9.0, -50.0, 1e4])
@pytest.mark.parametrize("log_deviation", [-5.0, 0.0, 2.0])
def test_actions_at_the_edge_have_finite_probabilities_and_slopes(mean, log_deviation):
    (value, action), slopes = SUMMED(mean, log_deviation)
    assert np.isfinite([value, *slopes]).all()
    assert ((action >= jnp.asarray(LOW)) & (action <= jnp.asarray(HIGH))).all()


@pytest.mark.parametrize("unit", [1e-6, 1.0, 1e6])
def test_neither_probability_nor_entropy_depends_on_the_units_of_the_actions(unit):
    other = Continuous(tuple((unit * LOW).tolist()), tuple((unit * HIGH).tolist()))
    noise = jax.random.normal(jax.random.key(0), (50, 2))
    one, scaled = gaussian(), gaussian(other)
    np.testing.assert_allclose(scaled.draw(noise)[0], unit * one.draw(noise)[0], rtol=1e-4)
    np.testing.assert_allclose(
        scaled.log_probability(scaled.draw(noise)[0]),
        one.log_probability(one.draw(noise)[0]),
        rtol=1e-3,
        atol=5e-3,
    )
    assert scaled.entropy() == pytest.approx(float(one.entropy()))


def test_an_action_that_cannot_vary_and_one_with_huge_bounds_are_finite():
    largest = float(np.finfo(np.float32).max)
    policy = gaussian(Continuous((1.0, -largest), (1.0, largest)))
    action, log_probability = policy.draw(jax.random.normal(jax.random.key(0), (20, 2)))
    assert (action[:, 0] == 1.0).all()
    assert np.isfinite(action).all()
    assert np.isfinite(log_probability).all()
    assert np.isfinite(policy.log_probability(action)).all()


def test_the_slope_of_tanh_is_known_where_tanh_is_1():
    z = np.array([-100.0, -12.0, -1.0, 0.0, 0.5, 9.0, 60.0])
    expected = np.log(4.0) - 2 * np.logaddexp(z, -z)  # 1 − tanh² = 4 / (e^z + e^−z)²
    np.testing.assert_allclose(log_slope(jnp.asarray(z, jnp.float32)), expected, rtol=1e-5, atol=1e-6)


def test_the_best_action_is_that_of_the_means():
    np.testing.assert_allclose(gaussian().best(), MIDDLE + HALF_WIDTH * np.tanh(MEAN), rtol=1e-5)


def test_deviations_of_a_gaussian_network_are_the_same_for_every_observation():
    network = GaussianMLP(init_mlp(jax.random.key(0), (3, 4, 2)), jnp.asarray(LOG_DEVIATION, jnp.float32))
    observation = jax.random.normal(jax.random.key(1), (5, 7, 3))
    policy = policy_of(SPACE, network(observation))
    assert isinstance(policy, SquashedGaussian)
    np.testing.assert_array_equal(policy.mean, network.mean(observation))
    np.testing.assert_allclose(policy.log_deviation, np.broadcast_to(LOG_DEVIATION, (5, 7, 2)), rtol=1e-6)


def test_choices_have_the_probabilities_of_their_logits():
    logits, available = np.array([[1.0, 2.0, 0.5], [0.0, 0.0, 3.0]]), np.array([[1, 1, 0], [1, 1, 1]], bool)
    policy = policy_of(Discrete(3), jnp.asarray(logits, jnp.float32), jnp.asarray(available))
    assert isinstance(policy, Categorical)
    weight = np.where(available, np.exp(logits), 0.0)
    p = weight / weight.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(
        np.exp(policy.log_probability(jnp.array([1, 2]))), [p[0, 1], p[1, 2]], rtol=1e-5
    )
    entropy = -np.sum(p * np.log(np.where(p > 0, p, 1.0)), axis=1)
    np.testing.assert_allclose(policy.entropy(), entropy, rtol=1e-5)
    np.testing.assert_array_equal(policy.best(), [1, 2])


def test_choices_have_no_range():
    with pytest.raises(
        LareError, match=r"^agent: SAC needs continuous actions, and these are discrete; use PPO$"
    ):
        action_range(Discrete(3), "SAC")
