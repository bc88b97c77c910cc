"""The linear part of a decoder: weights against NumPy's, from few episodes, at any length, and none where none hold."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from latent_reward.credit.base import CreditSpec
from latent_reward.credit.linear import add_episodes, init_linear, predict
from latent_reward.credit.methods import find_method
from latent_reward.credit.per_step import Batch
from latent_reward.data.episodes import Episodes
from latent_reward.sealing.verify import seal

WEIGHTS, BIAS = np.array([3.0, -0.5, 0.0]), 0.7
add = jax.jit(add_episodes)


def team_episodes(count, seed=0, *, agents=2, horizon=6, scale=(1.0, 10.0, 0.1)):
    """Latents ``[episode, time, agent, latent]``, which agents are there, and the rewards that are hidden."""
    random = np.random.default_rng(seed)
    level = random.normal(size=(count, 1, 1, 3))
    features = ((level + random.normal(size=(count, horizon, agents, 3))) * scale).astype(np.float32)
    mask = np.arange(horizon)[:, None] < random.integers(1, horizon + 1, (count, 1, agents))
    rewards = np.where(mask, features @ WEIGHTS + BIAS, 0.0).astype(np.float32)
    features[~mask] = np.nan  # read by mistake, it would show
    return features, mask, rewards


def fit(features, mask, returns, *, at_a_time=1):
    """All episodes in turn."""
    linear, spread = init_linear(3), np.nanstd(features, axis=(0, 1, 2))
    for start in range(0, len(returns), at_a_time):
        part = slice(start, start + at_a_time)
        linear = add(linear, features[part], mask[part], returns[part], spread)
    return linear


def numpy_fit(features, mask, returns):
    """The same from the normal equations in float64: ridge regression, the penalty by the likelihood of the returns."""
    length = mask.any(axis=2).sum(axis=1)
    z = np.where(mask[..., None], features, 0.0).sum(axis=(1, 2), dtype=np.float64) / length[:, None]
    share, y = mask.sum(axis=(1, 2)) / length, returns.astype(np.float64) / length
    away = np.eye(len(y)) - np.outer(share, share) / (share @ share)
    x, rest = away @ z / np.nanstd(features, axis=(0, 1, 2)), away @ y
    penalties, surprise = np.geomspace(1e-6, 1e4, 41), []
    for penalty in penalties:
        covariance = x @ x.T / penalty + np.eye(len(y))
        explained = rest @ np.linalg.solve(covariance, rest)
        surprise.append((len(y) - 1) * np.log(explained) + np.linalg.slogdet(covariance)[1])
    penalty = penalties[np.array(surprise) <= min(surprise) + 2].max()
    weight = np.linalg.solve(x.T @ x + penalty * np.eye(3), x.T @ rest) / np.nanstd(features, axis=(0, 1, 2))
    return weight, share @ (y - z @ weight) / (share @ share)


@pytest.mark.parametrize("noise", [0.0, 0.3, 30.0])
def test_weights_and_bias_are_those_of_numpy(noise):
    features, mask, rewards = team_episodes(30)
    returns = rewards.sum(axis=(1, 2)) + noise * np.random.default_rng(1).normal(size=30).astype(np.float32)
    linear = fit(features, mask, returns)
    weight, bias = numpy_fit(features, mask, returns)
    np.testing.assert_allclose(linear.weight, weight, rtol=2e-3, atol=2e-3)
    np.testing.assert_allclose(linear.bias, bias, rtol=2e-3, atol=2e-3)


def test_a_dozen_returns_tell_the_rewards_of_steps_and_agents():
    features, mask, rewards = team_episodes(12)
    linear = fit(features, mask, rewards.sum(axis=(1, 2)))
    held_out, mask, rewards = team_episodes(20, seed=1)
    proxy = np.asarray(predict(linear, jnp.asarray(held_out)))
    np.testing.assert_allclose(proxy[mask], rewards[mask], atol=0.05)


def test_episodes_may_come_one_by_one_or_together_and_an_empty_one_adds_nothing():
    features, mask, rewards = team_episodes(20)
    returns = rewards.sum(axis=(1, 2))
    together, apart = fit(features, mask, returns, at_a_time=20), fit(features, mask, returns)
    np.testing.assert_allclose(together.weight, apart.weight, rtol=1e-3, atol=1e-3)
    spread = np.nanstd(features, axis=(0, 1, 2))
    again = add(apart, features[:1], np.zeros_like(mask[:1]), np.float32([5.0]), spread)
    assert again.episodes == 20
    np.testing.assert_allclose(again.weight, apart.weight, rtol=1e-4, atol=1e-4)


def test_returns_that_no_linear_function_explains_get_small_weights():
    features, mask, rewards = team_episodes(20)
    returns = np.random.default_rng(2).normal(size=20).astype(np.float32) * 10
    spread = np.nanstd(features, axis=(0, 1, 2))
    told, untold = fit(features, mask, rewards.sum(axis=(1, 2))), fit(features, mask, returns)
    assert np.linalg.norm(untold.weight * spread) < 0.2 * np.linalg.norm(told.weight * spread)


def test_a_latent_that_never_moves_gets_no_weight_and_no_episode_gives_none():
    features, mask, rewards = team_episodes(12)
    features[..., 2] = 4.0
    linear = add(init_linear(3), features, mask, rewards.sum(axis=(1, 2)), np.float32([1.0, 10.0, 0.0]))
    assert linear.weight[2] == 0
    assert np.isfinite(linear.weight).all()
    two = add(init_linear(3), features[:2], mask[:2], np.float32([6.0, -3.0]), np.ones(3, np.float32))
    np.testing.assert_allclose(two.weight, 0.0, atol=0.01)  # two returns can be had in too many ways
    one = add(init_linear(3), features[:1], mask[:1], np.float32([6.0]), np.ones(3, np.float32))
    np.testing.assert_array_equal(one.weight, 0.0)
    assert np.isfinite(one.bias)


SOURCE = """
def evaluation_func(observation, action):
    return [observation[:, 0:1], observation[:, 1:2], observation[:, 2:3]]
"""


class Sizes:
    """What sealing an encoder needs to know of a task."""

    name, env_id, observation_size, action_size = "probe", "probe", 3, 1


@pytest.fixture(scope="module")
def spec():
    """One agent whose three latents are what it observes."""
    return CreditSpec(3, 1, 1, 6, seal(SOURCE, Sizes()))


def as_episodes(features, mask, returns):
    """Episodes of which only who is there and the return may be read."""
    nothing = jnp.full((*mask.shape, 1), jnp.nan)
    after = jnp.concatenate([nothing, nothing[:, :1]], axis=1)
    return Episodes(after, nothing, mask, jnp.zeros_like(mask), returns, nothing[..., 0])


def test_the_network_starts_silent_above_the_linear_part_and_learns_what_it_leaves(spec):
    method = replace(find_method("lare", "replay").credit, view="current")
    features, mask, _ = team_episodes(200, agents=1, scale=(1.0, 1.0, 1.0))
    features, mask = jnp.nan_to_num(features), jnp.asarray(mask)
    rewards = np.where(mask, np.abs(features[..., 0]) + features[..., 1], 0.0)
    returns = jnp.asarray(rewards.sum(axis=(1, 2)), jnp.float32)
    state = method.init(spec, jax.random.key(0))
    state = method.observe(state, features, as_episodes(features, mask, returns))
    assert state.linear is not None

    def proxy(state):
        return method.reward(state, features, jnp.ones_like(mask))

    np.testing.assert_allclose(proxy(state), predict(state.linear, features), rtol=1e-5, atol=1e-5)
    batch = Batch(features, mask, returns, mask.any(axis=2).sum(axis=1))

    def error(state):
        return np.square(np.where(mask, np.asarray(proxy(state)) - rewards, 0.0)).mean()

    learn = lambda state, _: (method.update(spec, state, batch)[0], None)  # noqa: E731
    learnt = jax.jit(lambda state: jax.lax.scan(learn, state, length=500)[0])(state)
    np.testing.assert_array_equal(learnt.linear.weight, state.linear.weight)
    assert error(learnt) < 0.5 * error(state)


def test_weights_of_latents_are_rewards_per_standard_deviation_the_largest_first(spec):
    method = find_method(
        "lare", "replay"
    ).credit  # looks at o and at o′, so that every latent has two columns
    features, mask, _ = team_episodes(40, agents=1, scale=(1.0, 10.0, 0.1))
    features, mask = (
        jnp.nan_to_num(jnp.concatenate([features, features[..., ::-1]], axis=-1)),
        jnp.asarray(mask),
    )
    rewards = np.where(mask, features @ np.array([0.5, 0.0, -3.0, 0.0, 0.2, 0.0]), 0.0)
    returns = jnp.asarray(rewards.sum(axis=(1, 2)), jnp.float32)
    state = method.init(spec, jax.random.key(0))
    assert set(method.latent_weights(spec, state).values()) == {0.0}
    state = method.observe(state, features, as_episodes(features, mask, returns))
    found = method.latent_weights(spec, state)
    deviation = np.asarray(features)[np.asarray(mask)].std(axis=0)
    each = np.asarray(state.linear.weight) * deviation
    expected = dict(zip(spec.encoder.latent_names, each[:3] + each[3:], strict=True))
    assert found == pytest.approx(expected, rel=1e-3, abs=1e-5)
    sizes = np.abs(list(found.values()))
    assert (np.diff(sizes) <= 0).all()
    assert sizes[0] > sizes[1]
    assert replace(method, linear=False).latent_weights(spec, state._replace(linear=None)) == {}
