"""Decomposition: known rewards are recovered from returns, in any unit and at any length of episode."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from latent_reward.credit.decompose import Window, fixed_credit
from latent_reward.credit.monitor import CreditQuality, credit_quality, init_monitor, note_episode, verdict
from latent_reward.credit.statistics import init_moments, merge, standardise

from latent_reward.credit import decompose
from latent_reward.credit.losses import draw_steps
from latent_reward.credit.methods import METHODS, Fixed, Learned, find_method
from latent_reward.errors import LareError

EPISODES, HORIZON, SUBSET = 512, 24, 8
CONFIG = Learned("latent", "rd", hidden=(64, 64), learning_rate=3e-3)
TRUTHS = {
    "linear": lambda x: 2.0 * x[..., 0] - 1.0 * x[..., 1] + 0.5,
    "nonlinear": lambda x: np.tanh(2.0 * x[..., 0]) + x[..., 1] ** 2 - 1.0 * (x[..., 2] > 0),
}


def episodes(truth, seed=0):
    """Episodes of varying length with the features of each step, its hidden reward, and the return."""
    random = np.random.default_rng(seed)
    level = random.normal(size=(EPISODES, 1, 4))
    features = (level + random.normal(size=(EPISODES, HORIZON, 4))).astype(np.float32)
    lengths = random.integers(3, HORIZON + 1, EPISODES)
    mask = np.arange(HORIZON) < lengths[:, None]
    rewards = np.where(mask, TRUTHS[truth](features), 0.0).astype(np.float32)
    features[~mask] = 777.0  # read by mistake, it would show
    return features, mask, lengths, rewards


def observe(state, features, mask, total):
    """One episode of one agent."""
    return decompose.observe(state, features[None, :, None], mask[None, :, None], total[None])


@partial(jax.jit, static_argnames=("config", "updates"))
def fit(config, features, mask, lengths, returns, *, updates):
    """Observe all episodes, then train on windows of 32 of them."""
    state = decompose.init(jax.random.key(0), config, features.shape[-1])
    state, _ = jax.lax.scan(
        lambda state, episode: (observe(state, *episode), None), state, (features, mask, returns)
    )

    def one(state, key):
        k_episode, k_step = jax.random.split(key)
        drawn = jax.random.randint(k_episode, (32,), 0, len(features))
        steps, real = jnp.broadcast_to(jnp.arange(HORIZON), (32, HORIZON)), mask[drawn]
        if config.loss != "rd":
            steps, real = draw_steps(k_step, lengths[drawn], HORIZON, SUBSET)
        rows = features[drawn[:, None], jnp.where(real, steps, 0)][:, :, None]
        window = Window(rows, real[:, :, None], returns[drawn], lengths[drawn])
        return decompose.update(state, config, window)

    return jax.lax.scan(one, state, jax.random.split(jax.random.key(1), updates))


@pytest.mark.parametrize("truth", TRUTHS)
@pytest.mark.parametrize("loss", ["rd", "rrd", "rrd-unbiased"])
def test_known_rewards_are_recovered_from_returns(loss, truth):
    features, mask, lengths, rewards = episodes(truth)
    config = replace(CONFIG, loss=loss)
    state, losses = fit(config, features, mask, lengths, rewards.sum(axis=1), updates=1500)
    held_out, mask, _, rewards = episodes(truth, seed=1)
    proxy = np.asarray(decompose.proxy(state, config, jnp.asarray(held_out)))
    assert np.corrcoef(proxy[mask], rewards[mask])[0, 1] > 0.98
    assert np.mean(losses[-100:]) < np.mean(losses[:20])
    if loss != "rrd":  # the biased loss shrinks rewards towards their mean, the others find their size
        assert np.std(proxy[mask]) == pytest.approx(np.std(rewards[mask]), rel=0.1)


def test_the_unit_of_reward_scales_proxy_rewards_and_changes_nothing_else():
    features, mask, lengths, rewards = episodes("nonlinear")
    returns, config = rewards.sum(axis=1), replace(CONFIG, scale_returns=True)
    small, small_loss = fit(config, features, mask, lengths, returns, updates=40)
    large, large_loss = fit(config, features, mask, lengths, 1000.0 * returns, updates=40)
    np.testing.assert_allclose(large_loss, small_loss, rtol=1e-3)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-4), large.decoder, small.decoder)
    jax.tree.map(np.testing.assert_array_equal, large.features, small.features)
    proxies = [decompose.proxy(state, config, jnp.asarray(features)) for state in (small, large)]
    np.testing.assert_allclose(proxies[1], 1000.0 * proxies[0], rtol=1e-2, atol=0.5)


def test_without_scaling_of_returns_the_unit_is_one():
    state = decompose.init(jax.random.key(0), CONFIG, 2)
    state = observe(state, jnp.ones((3, 2)), jnp.ones(3, bool), jnp.asarray(3000.0))
    assert decompose.reward_unit(state, replace(CONFIG, scale_returns=False)) == 1.0
    assert decompose.reward_unit(state, replace(CONFIG, scale_returns=True)) == pytest.approx(1000.0)


def test_the_unit_is_measured_on_the_first_episodes_only():
    config = replace(CONFIG, scale_returns=True)
    state = decompose.init(jax.random.key(0), config, 2)
    for number in range(2 * decompose.UNIT_EPISODES):
        total = 6.0 if number < decompose.UNIT_EPISODES else 6e6
        state = observe(state, jnp.ones((3, 2)), jnp.ones(3, bool), jnp.asarray(total))
    assert decompose.reward_unit(state, config) == pytest.approx(2.0)


def test_an_episode_of_no_steps_is_not_observed():
    state = decompose.init(jax.random.key(0), CONFIG, 2)
    state = observe(state, jnp.ones((3, 2)), jnp.array([True, True, False]), jnp.asarray(4.0))
    again = observe(state, jnp.full((3, 2), 9.0), jnp.zeros(3, bool), jnp.asarray(99.0))
    jax.tree.map(np.testing.assert_array_equal, again, state)


# ---------------------------------------------------------------- moments

merge_jit = jax.jit(merge)


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 999),
    masks=st.lists(st.lists(st.booleans(), min_size=7, max_size=7), min_size=1, max_size=6),
    offset=st.sampled_from([0.0, 300.0]),
    order=st.randoms(use_true_random=False),
)
def test_merged_moments_are_those_of_all_rows_together_in_any_order(seed, masks, offset, order):
    random = np.random.default_rng(seed)
    blocks = [(offset + random.normal(size=(7, 2))).astype(np.float32) for _ in masks]
    kept = np.concatenate([block[mask] for block, mask in zip(blocks, masks, strict=True)])
    pairs = list(zip(blocks, masks, strict=True))
    order.shuffle(pairs)
    moments = init_moments(2)
    for block, mask in pairs:
        garbage = np.where(np.array(mask)[:, None], block, np.float32(np.nan))
        moments = merge_jit(moments, garbage, np.array(mask))
    assert moments.count == len(kept)
    if len(kept):
        np.testing.assert_allclose(moments.mean, kept.mean(axis=0, dtype=np.float64), rtol=1e-5, atol=1e-5)
        spread = len(kept) * kept.var(axis=0, dtype=np.float64)
        np.testing.assert_allclose(moments.spread, spread, rtol=1e-3, atol=1e-4)


def test_standardised_features_have_mean_zero_and_variance_one_and_stay_within_ten():
    rows = jnp.asarray(np.random.default_rng(0).normal([5.0, -300.0], [0.01, 40.0], (500, 2)), jnp.float32)
    moments = merge(init_moments(2), rows, jnp.ones(500, bool))
    scaled = standardise(moments, rows)
    np.testing.assert_allclose(scaled.mean(axis=0), 0.0, atol=1e-3)
    np.testing.assert_allclose(scaled.std(axis=0), 1.0, rtol=1e-3)
    np.testing.assert_array_equal(standardise(moments, jnp.array([1e9, -1e9])), [10.0, -10.0])


@pytest.mark.parametrize("constant", [0.0, 0.3, 1000.1, -123456.7])
def test_a_feature_that_never_moves_stays_near_zero(constant):
    moments, rows = init_moments(1), jnp.full((1000, 1), constant)
    for _ in range(20):
        moments = merge_jit(moments, rows, jnp.ones(1000, bool))
    assert abs(float(standardise(moments, rows)[0, 0])) < 0.1


# ---------------------------------------------------------------- reference methods


@pytest.mark.parametrize("rule", ["dense", "episodic", "uniform"])
@settings(deadline=None, max_examples=20)
@given(length=st.integers(1, 12), seed=st.integers(0, 99))
def test_fixed_credit_sums_to_the_return_and_credits_no_padding(rule, length, seed):
    rewards = np.random.default_rng(seed).normal(size=12).astype(np.float32)
    mask = np.arange(12) < length
    credit = np.asarray(fixed_credit(rule, jnp.asarray(rewards)[:, None], jnp.asarray(mask)[:, None]))[:, 0]
    total = rewards[:length].sum()
    assert credit.sum() == pytest.approx(total, rel=1e-4, abs=1e-5)
    assert (credit[length:] == 0).all()
    expected = {
        "dense": rewards[:length],
        "episodic": np.r_[np.zeros(length - 1), total],
        "uniform": np.full(length, total / length),
    }
    np.testing.assert_allclose(credit[:length], expected[rule], rtol=1e-4, atol=1e-5)


def test_every_method_is_listed_under_its_own_name_and_a_misspelt_one_is_met_with_a_suggestion():
    assert all(find_method(name).name == name for name in METHODS)
    assert {m.credit.rule for m in METHODS.values() if isinstance(m.credit, Fixed)} == {
        "dense",
        "episodic",
        "uniform",
    }
    with pytest.raises(LareError, match="rrd-unbiased"):
        find_method("rrd-unbiassed")


# ---------------------------------------------------------------- the monitor


def noted(pairs, window=20):
    monitor = init_monitor(window)
    for proxy, reward in pairs:
        monitor = note_episode(monitor, np.asarray(proxy, np.float32), np.asarray(reward, np.float32))
    return credit_quality(monitor)


def test_the_monitor_agrees_with_numpy_on_the_last_episodes():
    random = np.random.default_rng(0)
    pairs = []
    for length in random.integers(2, 30, 12):
        reward = 100.0 + random.normal(size=length)
        pairs.append((0.7 * reward + random.normal(size=length), reward))
    quality = noted(pairs, window=8)
    p, r = (np.concatenate(column) for column in zip(*pairs[-8:], strict=True))
    totals = np.array([(each[0].sum(), each[1].sum()) for each in pairs[-8:]])
    assert quality.correlation == pytest.approx(np.corrcoef(p, r)[0, 1], rel=1e-3)
    explained = 1 - np.var(totals[:, 1] - totals[:, 0]) / np.var(totals[:, 1])
    assert quality.explained_variance == pytest.approx(explained, rel=1e-3)
    assert quality.spread == pytest.approx(p.std() / np.sqrt((p**2).mean()), rel=1e-3)


def test_perfect_credit_scores_one_and_a_constant_shift_keeps_the_correlation():
    reward = [[1.0, 2.0, 4.0], [0.0, 3.0], [5.0, 1.0, 1.0, 0.0]]
    perfect = noted(zip(reward, reward, strict=True))
    assert perfect.explained_variance == pytest.approx(1.0)
    assert perfect.correlation == pytest.approx(1.0)
    shifted = noted([(np.array(each) + 50.0, each) for each in reward])
    assert shifted.correlation == pytest.approx(1.0)
    assert shifted.explained_variance < 0.0


def test_what_cannot_be_told_is_nan():
    nothing = noted([([1.0, 2.0], [1.0, 2.0])])
    assert np.isnan([nothing.explained_variance, nothing.correlation, nothing.spread]).all()
    assert verdict(nothing) == ""
    same_return = noted([([1.0, 2.0], [1.0, 2.0]), ([2.0, 1.0], [2.0, 1.0])])
    assert np.isnan(same_return.explained_variance)
    assert same_return.correlation == pytest.approx(1.0)
    flat = noted([([0.1, 0.1], [1.0, 2.0]), ([0.1], [3.0])])
    assert np.isnan(flat.correlation)
    assert flat.spread < 1e-6
    unpaid = noted([([1.0, 2.0], [0.0, 0.0]), ([3.0], [0.0])])
    assert np.isnan(unpaid.correlation)


def test_the_verdict_speaks_only_of_what_fails():
    assert verdict(CreditQuality(20, 0.9, 0.0, 0.5)) == ""
    assert verdict(CreditQuality(20, 0.0, np.nan, 0.5)) == ""
    assert verdict(CreditQuality(20, np.nan, np.nan, 0.5)) == ""
    assert "same reward" in verdict(CreditQuality(20, 0.9, 1.0, 1e-4))
    assert verdict(CreditQuality(9, -0.25, 0.9, 0.5)) == ""
    worse = verdict(CreditQuality(20, -0.25, 0.9, 0.5))
    assert "-0.25" in worse
    assert "worse than a constant" in worse
