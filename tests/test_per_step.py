"""Decoders of single steps: known rewards are recovered from returns, in any unit and at any length of episode."""

import inspect
import re
from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latent_reward.credit.base import CreditSpec
from latent_reward.credit.direct import Direct
from latent_reward.credit.methods import METHODS, find_method
from latent_reward.credit.per_step import Batch, PerStep
from latent_reward.credit.reference import Reference, redistribute
from latent_reward.data.buffer import draw_steps
from latent_reward.data.episodes import Episodes
from latent_reward.data.moments import init_moments, merge, standardise
from latent_reward.data.unit import UNIT_EPISODES
from latent_reward.errors import LareError

EPISODES, HORIZON, SUBSET = 512, 24, 8
METHOD = PerStep("next", "rd", hidden=(64, 64), learning_rate=3e-3)
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


def spec_of(features):
    """Where a method works that is given so many features of each step."""
    return CreditSpec(features, 1, 1, HORIZON)


def observe(method, state, features, mask, total):
    """One episode of one agent."""
    shape = (1, len(mask), 1)
    episodes = Episodes(
        jnp.full((1, len(mask) + 1, 1, 1), jnp.nan),  # whatever it reads of these would show
        jnp.full((*shape, 1), jnp.nan),
        mask.reshape(shape),
        jnp.zeros(shape, bool),
        total[None],
        jnp.full(shape, jnp.nan),
    )
    return method.observe(state, features[None, :, None], episodes)


def fresh(method, features):
    return method.init(spec_of(features), jax.random.key(0))


def proxy_of(method, state, features):
    """The reward of every step, of one agent that is always there."""
    features = jnp.asarray(features)[..., None, :]
    return method.reward(state, features, jnp.ones(features.shape[:-1], bool))[..., 0]


@partial(jax.jit, static_argnames=("method", "updates"))
def fit(method, features, mask, lengths, returns, *, updates):
    """Observe all episodes, then train on batches of 32 of them."""
    spec = spec_of(features.shape[-1])
    state, _ = jax.lax.scan(
        lambda state, episode: (observe(method, state, *episode), None),
        fresh(method, features.shape[-1]),
        (features, mask, returns),
    )

    def one(state, key):
        k_episode, k_step = jax.random.split(key)
        drawn = jax.random.randint(k_episode, (32,), 0, len(features))
        steps, real = jnp.broadcast_to(jnp.arange(HORIZON), (32, HORIZON)), mask[drawn]
        if method.loss != "rd":
            steps, real = draw_steps(k_step, lengths[drawn], HORIZON, SUBSET)
        rows = features[drawn[:, None], jnp.where(real, steps, 0)][:, :, None]
        batch = Batch(rows, real[:, :, None], returns[drawn], lengths[drawn])
        state, measured = method.update(spec, state, batch)
        return state, measured["decoder_loss"]

    return jax.lax.scan(one, state, jax.random.split(jax.random.key(1), updates))


@pytest.mark.parametrize("truth", TRUTHS)
@pytest.mark.parametrize("loss", ["rd", "rrd", "rrd-unbiased"])
def test_known_rewards_are_recovered_from_returns(loss, truth):
    features, mask, lengths, rewards = episodes(truth)
    method = replace(METHOD, loss=loss)
    state, losses = fit(method, features, mask, lengths, rewards.sum(axis=1), updates=1500)
    held_out, mask, _, rewards = episodes(truth, seed=1)
    proxy = np.asarray(proxy_of(method, state, held_out))
    assert np.corrcoef(proxy[mask], rewards[mask])[0, 1] > 0.98
    assert np.mean(losses[-100:]) < np.mean(losses[:20])
    if loss != "rrd":  # the biased loss shrinks rewards towards their mean, the others find their size
        assert np.std(proxy[mask]) == pytest.approx(np.std(rewards[mask]), rel=0.1)


def test_the_unit_of_reward_scales_proxy_rewards_and_changes_nothing_else():
    features, mask, lengths, rewards = episodes("nonlinear")
    returns, method = rewards.sum(axis=1), replace(METHOD, scale_returns=True)
    small, small_loss = fit(method, features, mask, lengths, returns, updates=40)
    large, large_loss = fit(method, features, mask, lengths, 1000.0 * returns, updates=40)
    np.testing.assert_allclose(large_loss, small_loss, rtol=1e-3)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-4), large.network, small.network)
    jax.tree.map(np.testing.assert_array_equal, large.features, small.features)
    proxies = [proxy_of(method, state, features) for state in (small, large)]
    np.testing.assert_allclose(proxies[1], 1000.0 * proxies[0], rtol=1e-2, atol=0.5)


def test_without_scaling_of_returns_the_unit_is_one():
    state = observe(METHOD, fresh(METHOD, 2), jnp.ones((3, 2)), jnp.ones(3, bool), jnp.asarray(3000.0))
    assert replace(METHOD, scale_returns=False).reward_unit(state) == 1.0
    assert replace(METHOD, scale_returns=True).reward_unit(state) == pytest.approx(1000.0)


def test_the_unit_is_measured_on_the_first_episodes_only():
    method = replace(METHOD, scale_returns=True)
    state = fresh(method, 2)
    for number in range(2 * UNIT_EPISODES):
        total = 6.0 if number < UNIT_EPISODES else 6e6
        state = observe(method, state, jnp.ones((3, 2)), jnp.ones(3, bool), jnp.asarray(total))
    assert method.reward_unit(state) == pytest.approx(2.0)


def test_an_episode_of_no_steps_is_not_observed():
    method = METHOD
    mask = jnp.array([True, True, False])
    state = observe(method, fresh(method, 2), jnp.ones((3, 2)), mask, jnp.asarray(4.0))
    again = observe(method, state, jnp.full((3, 2), 9.0), jnp.zeros(3, bool), jnp.asarray(99.0))
    jax.tree.map(np.testing.assert_array_equal, again, state)


# ---------------------------------------------------------------- settings


@pytest.fixture
def _unchecked():
    """Without the type checks of the tests, which would refuse what a user may well write."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.mark.usefixtures("_unchecked")
@pytest.mark.parametrize(
    ("field", "value", "near"),
    [
        ("input", "latents", "latent"),
        ("loss", "rrd-unbiassed", "rrd-unbiased"),
        ("view", "curent", "current"),
        ("agents", "eac", "each"),
    ],
)
def test_a_setting_that_does_not_exist_is_refused_with_its_near_misses(field, value, near):
    settings = {"input": "next", "loss": "rd", field: value}
    with pytest.raises(
        LareError, match=rf"^{field}: '{value}' does not exist \(did you mean {near}\?\); choose"
    ):
        PerStep(**settings)
    with pytest.raises(LareError, match=rf"^{field}: 'zzz' does not exist; choose from "):
        replace(PerStep("next", "rd"), **{field: "zzz"})


@pytest.mark.usefixtures("_unchecked")
def test_the_other_methods_refuse_a_setting_that_does_not_exist_too():
    with pytest.raises(LareError, match=r"^rule: 'uniforms' does not exist \(did you mean uniform\?\)"):
        Reference("uniforms")
    with pytest.raises(LareError, match=r"^view: 'both' does not exist; choose from current, next$"):
        Direct("both")


@pytest.mark.parametrize("experience", ["replay", "episodes"])
def test_every_method_has_its_own_name_and_a_misspelt_one_is_met_with_a_suggestion(experience):
    named = {name: entry.settings(experience) for name, entry in METHODS.items()}
    there = {name: credit for name, credit in named.items() if credit is not None}
    assert all(find_method(name, experience).name == name for name in there)
    assert all(find_method(name, experience).credit == credit for name, credit in there.items())
    assert {each.rule for each in there.values() if isinstance(each, Reference)} == {
        "dense",
        "episodic",
        "uniform",
    }
    with pytest.raises(LareError, match=r"^method: .*'rrd-unbiassed' \(did you mean rrd-unbiased") as refused:
        find_method("rrd-unbiassed", experience)
    assert all(name in str(refused.value) for name in there)
    for name in METHODS.keys() - there.keys():
        with pytest.raises(LareError, match=rf"^method: {name} is for "):
            find_method(name, experience)
    for value in (None, 3, ["lare"], Reference("dense")):
        with pytest.raises(LareError, match=rf"^method: {re.escape(repr(value))} is no method; give a name"):
            inspect.unwrap(find_method)(value, experience)  # past the type checks of the tests
    assert find_method(find_method("dense", experience), experience) == find_method("dense", experience)


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
    assert moments.rows == len(kept)
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


paid_by = jax.jit(redistribute, static_argnums=0)


@pytest.mark.parametrize("rule", ["dense", "episodic", "uniform"])
@settings(deadline=None, max_examples=20)
@given(length=st.integers(1, 12), seed=st.integers(0, 99))
def test_a_reference_sums_to_the_return_and_credits_no_padding(rule, length, seed):
    rewards = np.random.default_rng(seed).normal(size=12).astype(np.float32)
    mask = np.arange(12) < length
    credit = np.asarray(paid_by(rule, rewards[None, :, None], mask[None, :, None]))[0, :, 0]
    total = rewards[:length].sum()
    assert credit.sum() == pytest.approx(total, rel=1e-4, abs=1e-5)
    assert (credit[length:] == 0).all()
    expected = {
        "dense": rewards[:length],
        "episodic": np.r_[np.zeros(length - 1), total],
        "uniform": np.full(length, total / length),
    }
    np.testing.assert_allclose(credit[:length], expected[rule], rtol=1e-4, atol=1e-5)
