"""IRCR, VIB and LRR: what they pay and what they minimise, in NumPy; the best episodes of a buffer."""

from functools import cache

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import latent_reward as lr
from latent_reward.credit.base import CreditSpec
from latent_reward.credit.decoder import every, period_of
from latent_reward.credit.ircr import IRCR
from latent_reward.credit.lrr import LRR, likelihood_loss
from latent_reward.credit.methods import METHODS, Recipe
from latent_reward.credit.vib import VIB, divergence, encode
from latent_reward.data import buffer as ring
from latent_reward.data.episodes import Episodes
from latent_reward.errors import LareError

pytestmark = pytest.mark.usefixtures("compile_fast")

TIME, AGENTS = 5, 2
SPEC = CreditSpec(1, 1, AGENTS, TIME)
ACTIONS = gymnasium.spaces.Box(-1.0, 1.0, (1,))


def played(returns, lengths, agents=AGENTS):
    """Episodes of which only the return and who was there may be read; the last agent misses the first step."""
    mask = np.broadcast_to(
        (np.arange(TIME) < np.array(lengths)[:, None])[..., None], (len(lengths), TIME, agents)
    )
    mask = mask.copy()
    if agents > 1:
        mask[:, 0, -1] = False
    nothing = jnp.full((len(lengths), TIME + 1, agents, 1), jnp.nan)
    return Episodes(
        nothing, nothing[:, 1:], jnp.asarray(mask), jnp.zeros(mask.shape, bool),
        jnp.asarray(returns, jnp.float32), nothing[:, 1:, :, 0],
    )  # fmt: skip


def guided(*blocks):
    """The rewards of IRCR of the first block, after each block was seen."""
    method, found = IRCR(), []
    state, first = method.init(SPEC, jax.random.key(0)), None
    for block in blocks:
        features = method.features(SPEC, block, block.action)
        state = method.observe(state, features, block)
        first = first or (features, block.mask)
        found.append(np.asarray(method.reward(state, *first)))
    return found


def test_guidance_goes_from_0_for_the_worst_episode_to_1_for_the_best_and_moves_with_the_extremes():
    block, better = played([4.0, -9.0, 3.0], [5, 5, 2]), played([36.0], [5])
    mean = np.array([4 / 9, -1.0, 1.0])  # per step and agent: nine, nine and three were there
    unit = np.sqrt(np.mean(np.array([4 / 5, -9 / 5, 3 / 2]) ** 2))
    now, later = guided(block, better)
    mask = np.asarray(block.mask)
    for index, each in enumerate(mean):
        np.testing.assert_allclose(now[index][mask[index]], unit * (each + 1) / 2, rtol=1e-5)
    wider = np.sqrt(np.mean(np.array([4 / 5, -9 / 5, 3 / 2, 36 / 5]) ** 2))
    np.testing.assert_allclose(later[0][mask[0]], wider * (4 / 9 + 1) / 5, rtol=1e-5)
    assert not now[0][~mask[0]].any()


def test_guidance_is_0_as_long_as_all_returns_are_equal_and_an_empty_episode_changes_nothing():
    equal = played([5.0, 5.0], [3, 3])
    nobody = played([777.0], [0])
    for rewards in guided(equal, nobody):
        assert not rewards.any()


def test_guidance_needs_the_return_and_is_refused_for_loose_steps():
    for method in ("ircr", "tar2"):
        credit = lr.Credit(observation_space=2, action_space=ACTIONS, horizon=3, method=method)
        with pytest.raises(
            LareError, match=rf"^method: {method} has no reward for single steps; use episode_rewards"
        ):
            credit.reward(np.zeros((1, 2)), np.zeros((1, 1)), np.zeros((1, 2)))


def test_half_of_a_batch_comes_from_the_best_episodes():
    insert = jax.jit(ring.insert)
    buffer = ring.init(40, TIME, 1, features=1)
    returns, lengths = np.array([3.0, 9.0, -1.0, 5.0, 8.0, 8.5]), np.array([5, 1, 5, 2, 5, 3])
    block = played(returns, lengths, agents=1)
    features = jnp.broadcast_to(block.returns[:, None, None, None], (6, TIME, 1, 1))
    features = features + jnp.arange(TIME)[:, None, None] / 100  # return and step
    for index in range(6):
        one = jax.tree.map(lambda leaf, index=index: leaf[index : index + 1], block)
        buffer = insert(buffer, one, None, features[index : index + 1])
    draw = jax.jit(ring.sample_best, static_argnums=(2, 3))
    rows = np.asarray(draw(buffer, jax.random.key(0), 3000, 2).features)[:, 0, 0]
    values, counts = np.unique(rows.round(2), return_counts=True)
    np.testing.assert_allclose(values, [8.5, 8.51, 8.52, 9.0], rtol=1e-5)
    np.testing.assert_allclose(counts, [500, 500, 500, 1500], atol=120)
    everything = np.asarray(draw(buffer, jax.random.key(0), 500, 99).features)
    assert everything.min() < 0  # fewer are stored than were asked for
    once = insert(ring.init(40, TIME, 1, features=1), block, None, features)
    assert np.isin(np.asarray(draw(once, jax.random.key(1), 50, 1).features).round(2), 9.0).all()


def test_the_divergence_is_that_of_normal_distributions():
    random = np.random.default_rng(0)
    mean, log_variance = random.normal(size=(2, 3, TIME, AGENTS, 4)).astype(np.float32)
    mask = random.random((3, TIME, AGENTS)) < 0.6
    mean[~mask] = 1e3
    drawn = random.normal(size=(20_000, 4))
    each = []
    for mu, log in zip(mean[mask], log_variance[mask], strict=True):
        z = mu + np.exp(log / 2) * drawn
        each.append(np.mean((stats.norm.logpdf(z, mu, np.exp(log / 2)) - stats.norm.logpdf(z)).sum(axis=1)))
    assert jax.jit(divergence)(mean, log_variance, mask) == pytest.approx(np.mean(each), rel=0.02)


def test_vib_draws_in_the_fit_and_decodes_the_mean():
    method = VIB("next", latent=3, hidden=(8,), kl=0.0)
    state = method.init(SPEC, jax.random.key(0))
    features = jnp.asarray(np.random.default_rng(0).normal(size=(2, TIME, AGENTS, 1)), jnp.float32)
    mask = jnp.ones((2, TIME, AGENTS), bool)
    fresh = state._replace(features=state.features._replace(rows=jnp.ones(()), spread=jnp.ones(1)))
    one, other = (np.asarray(method.reward(fresh, features, mask)) for _ in range(2))
    np.testing.assert_array_equal(one, other)
    mean, _ = encode(state.network, features)
    np.testing.assert_allclose(one, state.network.head(mean)[..., 0], rtol=1e-5)
    buffer = ring.init(40, TIME, AGENTS, features=1)
    block = played([1.0, 2.0], [TIME, TIME])
    buffer = ring.insert(buffer, block, None, features)
    noises = [np.asarray(method.draw(SPEC, jax.random.key(key), buffer).noise) for key in range(2)]
    assert noises[0].shape[1:] == (TIME, AGENTS, 3)
    assert np.std(noises[0]) == pytest.approx(1.0, abs=0.1)
    assert (noises[0] != noises[1]).all()


def test_the_likelihood_of_what_others_leave_of_the_return():
    random = np.random.default_rng(0)
    mean, log = random.normal(size=(2, 4, TIME, AGENTS)).astype(np.float32)
    lengths = np.array([1, 3, 5, 4])
    mask = (np.arange(TIME) < lengths[:, None])[..., None] & (random.random((4, TIME, AGENTS)) < 0.7)
    mask[:, :, 0] = np.arange(TIME) < lengths[:, None]
    returns = random.normal(size=4).astype(np.float32)
    mean[~mask], log[~mask] = 1e6, np.nan
    found = []
    for mu, spread, there, total, length in zip(mean, log, mask, returns, lengths, strict=True):
        mu, spread = mu[there].astype(float) / length, np.exp(spread[there].astype(float))
        each = []
        for step, (own, sigma) in enumerate(zip(mu, spread, strict=True)):
            left = total / length - np.delete(mu, step).sum()
            each.append(-stats.norm.logpdf(left, own, sigma) - 0.5 * np.log(2 * np.pi))
        found.append(np.mean(each))
    value, slope = jax.jit(jax.value_and_grad(likelihood_loss, argnums=(0, 1)))(
        mean, log, mask, returns, lengths
    )
    assert value == pytest.approx(np.mean(found), rel=1e-4)
    assert all(np.isfinite(each).all() and not np.asarray(each)[~mask].any() for each in slope)


def test_long_episodes_are_read_whole_but_less_often():
    assert [period_of(steps, 256) for steps in (1, 256, 257, 1000, 4000)] == [1, 1, 2, 4, 16]
    count = jax.jit(
        jax.vmap(lambda number: every(3, number, lambda seen: seen + 1, jnp.zeros((), jnp.int32)))
    )
    np.testing.assert_array_equal(count(jnp.arange(7)), [1, 0, 0, 1, 0, 0, 1])


@cache
def recorded(unit=1.0):
    """Episodes of different length whose reward is −|o′₀ − o′₁|, and that reward."""
    random = np.random.default_rng(0)
    seen = [random.normal(size=(steps + 1, 2)) + random.normal(size=2) for steps in random.integers(1, 7, 96)]
    paid = [-np.abs(each[1:, 0] - each[1:, 1]) for each in seen]
    episodes = [
        lr.Episode(each, np.zeros((len(each) - 1, 1)), float(unit * reward.sum()))
        for each, reward in zip(seen, paid, strict=True)
    ]
    return episodes, np.concatenate(paid)


@pytest.mark.parametrize(("name", "least"), [("vib", 0.7), ("lrr", 0.7), ("ircr", 0.3)])
def test_a_known_reward_is_recovered_better_than_by_chance(name, least):
    small = {
        "vib": VIB("next", hidden=(16,), learning_rate=5e-3),
        "lrr": LRR("next", hidden=(16,), learning_rate=5e-3),
        "ircr": METHODS["ircr"].replay,
    }[name]
    episodes, paid = recorded()
    credit = lr.Credit(observation_space=2, action_space=ACTIONS, horizon=6, method=Recipe(name, small))
    credit.add(*episodes)
    credit.fit(400)
    rewards = np.concatenate([credit.episode_rewards(each) for each in episodes])
    assert np.corrcoef(rewards, paid)[0, 1] > least


def test_guidance_is_the_same_in_any_unit_of_reward():
    found = []
    for unit in (1.0, 1e6):
        credit = lr.Credit(observation_space=2, action_space=ACTIONS, horizon=6, method="ircr")
        episodes, _ = recorded(unit)
        credit.add(*episodes)
        found.append(np.concatenate([credit.episode_rewards(each) for each in episodes]) / unit)
    np.testing.assert_allclose(*found, rtol=1e-4)
