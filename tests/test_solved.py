"""Credit that is solved: against NumPy, in any unit, with groups that are switched off when they are not needed."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import latent_reward as lr
from latent_reward.credit.base import CreditSpec
from latent_reward.credit.evidence import (
    EQUATIONS,
    Columns,
    add_equations,
    init_equations,
    posterior_deviation,
    solve,
)
from latent_reward.credit.solved import Solved, _draw_hinges, bend
from latent_reward.data.episodes import Episodes
from latent_reward.encoder.card import Space
from latent_reward.errors import LareError

GROUPS = (Columns(2, exact=True), Columns(3, exact=True))
SPACE = Space.unbounded(2, 1)


def played(
    count, seed=0, steps=20, unit=1.0, weights=(1.0, -2.0, 0.0, 0.0, 0.0), scales=(1.0, 5.0, 1.0, 0.1, 3.0)
):
    """Columns of random steps whose means differ between episodes, their mask, returns and true rewards."""
    random = np.random.default_rng(seed)
    columns = random.normal(size=(count, steps, 1, 5)) + random.normal(size=(count, 1, 1, 5))
    columns *= np.array(scales)
    lengths = random.integers(steps // 2, steps + 1, count)
    mask = (np.arange(steps) < lengths[:, None])[..., None]
    reward = unit * np.where(mask, columns @ np.array(weights) + 0.5, 0.0)
    return columns.astype(np.float32), mask, reward.sum(axis=(1, 2)), reward


def solved(columns, mask, returns, groups=GROUPS):
    rows = columns[mask]
    known = add_equations(
        init_equations(groups), [jnp.asarray(columns)], jnp.asarray(mask), jnp.asarray(returns, jnp.float32)
    )
    return solve(
        known, groups, jnp.asarray(rows.mean(axis=0)), jnp.asarray(rows.std(axis=0)), jnp.array(True)
    )


def surprise(prior, parts, y):
    """−2 log of the likelihood of y ~ N(0, σ²(I + Σ ρ XXᵀ)) at its best σ² and of the prior of ρ, but for constants."""
    matrix = np.eye(len(y)) + sum(p * part @ part.T for p, part in zip(prior, parts, strict=True))
    likelihood = (len(y) - 1) * np.log(y @ np.linalg.solve(matrix, y)) + np.linalg.slogdet(matrix)[1]
    return likelihood + np.log1p(prior).sum()


def test_the_priors_are_the_most_likely_ones_and_the_weights_follow_from_them():
    columns, mask, returns, _ = played(40, weights=(1.0, -0.3, 0.2, 1.0, -0.1))
    returns = returns + np.random.default_rng(1).normal(size=40) * 5.0
    found = solved(columns, mask, returns)
    length = mask.sum(axis=(1, 2))
    spread = columns[mask].std(axis=0)
    rows = np.where(mask[..., None], columns, 0.0).sum(axis=(1, 2)) / length[:, None]
    rows = (rows - rows.mean(axis=0)) / spread
    y = returns / length
    y = y - y.mean()
    parts = [part / np.sqrt((part**2).sum() / 40) for part in np.split(rows, [2], axis=1)]
    sizes = [np.sqrt((part**2).sum() / 40) for part in np.split(rows, [2], axis=1)]
    prior = np.asarray(found.prior, float)
    best = surprise(prior, parts, y)
    for group in range(2):
        for factor in (0.5, 2.0):
            other = prior.copy()
            other[group] *= factor
            assert surprise(other, parts, y) > best - 0.05
    matrix = np.eye(40) + sum(p * part @ part.T for p, part in zip(prior, parts, strict=True))
    dual = np.linalg.solve(matrix, y)
    weight = (
        np.concatenate([p * part.T @ dual / s for p, part, s in zip(prior, parts, sizes, strict=True)])
        / spread
    )
    np.testing.assert_allclose(found.weight, weight, rtol=2e-2, atol=1e-3)


def test_what_is_linear_is_found_and_a_group_that_is_not_needed_is_switched_off():
    columns, mask, returns, reward = played(30)
    found = solved(columns, mask, returns)
    proxy = columns @ np.asarray(found.weight) + float(found.bias)
    assert np.corrcoef(proxy[mask], reward[mask])[0, 1] > 0.999
    assert found.prior[1] < 1e-3 * found.prior[0]
    np.testing.assert_allclose(found.weight, (1.0, -2.0, 0.0, 0.0, 0.0), atol=0.05)


@pytest.mark.parametrize("unit", [1e-8, 1e-3, 1e8])
def test_rewards_in_another_unit_give_the_same_credit_in_that_unit(unit):
    columns, mask, returns, _ = played(30)
    one, other = solved(columns, mask, returns), solved(columns, mask, unit * returns)
    np.testing.assert_allclose(np.asarray(other.weight) / unit, one.weight, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(other.prior, one.prior, rtol=1e-2)


def test_the_newest_equations_are_kept_and_padding_adds_none():
    columns, mask, returns, _ = played(EQUATIONS + 7)
    columns, mask = jnp.asarray(columns), jnp.asarray(mask)
    mask = mask.at[3].set(False)
    state = init_equations(GROUPS)
    whole = add_equations(state, [columns], mask, jnp.asarray(returns, jnp.float32))
    for index in range(len(returns)):
        now = slice(index, index + 1)
        paid = jnp.asarray(returns[now], jnp.float32)
        state = add_equations(state, [columns[now]], mask[now], paid)
    assert float(state.episodes) == float(whole.episodes) == EQUATIONS + 6
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), state, whole)


def test_equal_returns_give_no_weights():
    columns, mask, returns, _ = played(12)
    found = solved(columns, mask, np.full_like(returns, 0.0))
    assert not np.asarray(found.weight).any()
    assert float(found.bias) == 0.0


@pytest.mark.parametrize(
    "groups", [("raw", "termination"), ("raw", "termination", "raw-hinges"), ("raw-hinges",)]
)
def test_a_method_of_groups_explains_returns_that_it_has_not_seen(groups):
    """The reward is linear in o′ and a², and ending early costs 5."""
    spec, method = CreditSpec(2, 1, 1, 12), Solved(groups)
    random = np.random.default_rng(0)
    state = method.init(spec, jax.random.key(0))
    proxies, truths = [], []
    observe = jax.jit(method.observe)
    for number in range(60):
        steps = int(random.integers(6, 13))
        observation = random.normal(size=(1, 13, 1, 2)).astype(np.float32) + random.normal(size=(1, 1, 1, 2))
        action = random.uniform(-1, 1, (1, 12, 1, 1))
        mask = (np.arange(12) < steps)[None, :, None]
        ended = mask & (np.arange(12) == steps - 1)[None, :, None] & (steps < 12)
        reward = np.where(mask, observation[:, 1:, :, 0] - action[..., 0] ** 2 - 5.0 * ended, 0.0)
        arrays = [jnp.asarray(each, jnp.float32) for each in (observation, action)]
        episodes = Episodes(
            *arrays,
            jnp.asarray(mask),
            jnp.asarray(ended),
            jnp.asarray(reward.sum(axis=(1, 2)), jnp.float32),
            None,
        )
        features = method.features(spec, episodes, episodes.action)
        assert features.shape[-1] == method.feature_size(spec)
        np.testing.assert_array_equal(
            features[..., -method.derived_size(spec) :],
            method.derive(episodes.before, episodes.action, episodes.after),
        )
        if number >= 50:
            proxies.append(np.asarray(method.reward(state, features, episodes.mask))[mask])
            truths.append(reward[mask])
        state = observe(state, features, episodes)
    correlation = np.corrcoef(np.concatenate(proxies), np.concatenate(truths))[0, 1]
    assert correlation > (0.5 if groups == ("raw-hinges",) else 0.97)


def test_settings_that_do_not_exist_are_refused():
    for groups in ((), ("raw", "raw")):
        with pytest.raises(LareError, match=r"^groups: .*different"):
            Solved(groups)


def test_the_posterior_is_that_of_bayesian_least_squares():
    columns, mask, returns, _ = played(40)
    returns = returns + np.random.default_rng(1).normal(size=40) * 5.0
    found, rows = solved(columns, mask, returns), columns[mask]
    mean, spread = rows.mean(axis=0), rows.std(axis=0)
    length = mask.sum(axis=(1, 2))
    sums = np.where(mask[..., None], columns, 0.0).sum(axis=(1, 2)) / length[:, None]
    middle = sums.mean(axis=0)
    x = (sums - middle) / spread
    sizes = [np.sqrt((part**2).sum() / 40) for part in np.split(x, [2], axis=1)]
    prior = np.repeat(np.asarray(found.prior, float) / np.square(sizes), (2, 3))
    y = returns / length - (returns / length).mean()
    noise = y @ np.linalg.solve(np.eye(40) + (x * prior) @ x.T, y) / 39
    covariance = noise * np.linalg.inv(x.T @ x + np.diag(1 / prior))
    asked = rows[:50]
    distance = (asked - middle) / spread
    expected = np.sqrt(np.einsum("ni,ij,nj->n", distance, covariance, distance) + noise / 40)
    measured = posterior_deviation(found, GROUPS, jnp.asarray(mean), jnp.asarray(spread), jnp.asarray(asked))
    np.testing.assert_allclose(measured, expected, rtol=2e-2)


@pytest.mark.slow
def test_the_posterior_is_calibrated_on_rewards_that_are_linear():
    """Returns have noise, and 68 % of the true rewards are within one standard deviation, give or take."""
    inside = []
    for seed in range(20):
        columns, mask, returns, reward = played(30, seed=seed, weights=(1.0, -2.0, 0.3, 1.0, -0.1))
        returns = returns + np.random.default_rng(seed).normal(size=30) * 3.0
        found, rows = solved(columns, mask, returns), columns[mask]
        units = jnp.asarray(rows.mean(axis=0)), jnp.asarray(rows.std(axis=0))
        deviation = np.asarray(posterior_deviation(found, GROUPS, *units, jnp.asarray(rows)))
        error = rows @ np.asarray(found.weight) + float(found.bias) - reward[mask]
        inside.append(np.mean(np.abs(error) <= deviation))
    assert 0.5 < np.mean(inside) < 0.85


def test_few_equations_are_not_explained_exactly_by_columns_that_nobody_chose():
    """With returns that any column explains alone, the share of noise is that of the limit on ρ."""
    columns, mask, returns, _ = played(20, weights=(2.0, 0.0, 0.0, 0.0, 0.0))
    for exact in (True, False):
        groups = (Columns(2, exact), Columns(3))
        found = solved(columns, mask, returns, groups=groups)
        assert (float(found.prior[0]) > 1000) == exact
        assert exact or float(found.prior[0]) == pytest.approx(0.1 * 20**2)


def test_hinges_are_straight_beyond_their_reach():
    """Between their thresholds they bend; a sum of them goes on as a straight line far from what was seen."""
    hinges = _draw_hinges(jax.random.key(0), 4, 50)
    lengths = np.linalg.norm(hinges.directions, axis=0)
    np.testing.assert_allclose(lengths, 1.0, rtol=1e-5)
    assert [
        int((np.asarray(part) != 0).sum(axis=0).max()) for part in np.split(hinges.directions, 3, axis=1)
    ] == [1, 2, 4]
    line = np.linspace(-30, 30, 121, dtype=np.float32)[:, None] * np.ones(4, np.float32)
    bent = np.abs(np.diff(bend(hinges, jnp.asarray(line))[:, :50], n=2, axis=0))  # those that read one number
    assert bent[np.abs(line[1:-1, 0]) > 2.5].max() < 1e-4 < 0.01 < bent.max(axis=0).min()


def test_what_latents_miss_is_carried_by_raw_columns_and_latents_are_weighted():
    """The latent of the encoder is noise; the reward is linear in o′. The same with a latent that is the reward."""
    groups = ("latent", "latent-hinges", "raw", "raw-hinges", "termination")
    for index, least in ((0, 0.97), (1, 0.999)):
        encoder = lr.encoder_from_function(lambda o, a, n, at=index: n[:, at : at + 1], ("seen",)).bind(SPACE)
        spec, method = CreditSpec(2, 1, 1, 12, encoder), Solved(groups)
        state, random = method.init(spec, jax.random.key(0)), np.random.default_rng(0)
        observation = random.normal(size=(40, 13, 1, 2)) + random.normal(size=(40, 1, 1, 2))
        arrays = (
            jnp.asarray(observation, jnp.float32),
            jnp.asarray(random.uniform(-1, 1, (40, 12, 1, 1)), jnp.float32),
        )
        mask, reward = jnp.ones((40, 12, 1), bool), arrays[0][:, 1:, :, 1]
        episodes = Episodes(*arrays, mask, ~mask, reward.sum(axis=(1, 2)), reward)
        features = method.features(spec, episodes, episodes.action)
        state = jax.jit(method.observe)(state, features, episodes)
        proxy = method.reward(state, features, mask)
        assert np.corrcoef(np.ravel(proxy), np.ravel(reward))[0, 1] > least
        weight = method.latent_weights(spec, state)["seen"]
        assert weight == pytest.approx(float(np.std(reward)) if index else 0.0, abs=0.1)


def test_the_mean_of_a_team_is_shared_by_those_who_are_there():
    spec, method = CreditSpec(2, 1, 3, 4), Solved(("raw",), agents="mean")
    state = method.init(spec, jax.random.key(0))
    state = state._replace(equations=state.equations._replace(weight=jnp.arange(6.0), bias=jnp.ones(())))
    features = jax.random.normal(jax.random.key(1), (5, 4, 3, method.feature_size(spec)))
    mask = jnp.asarray(np.random.default_rng(0).random((5, 4, 3)) < 0.6)
    each = np.where(mask, replace(method, agents="each").reward(state, features, mask), 0.0)
    count = np.maximum(np.asarray(mask).sum(axis=-1, keepdims=True), 1)
    expected = np.where(mask, each.sum(axis=-1, keepdims=True) / count, 0.0)
    np.testing.assert_allclose(method.reward(state, features, mask), expected, rtol=1e-5)


def test_a_shared_mean_is_as_uncertain_as_the_mean():
    """It is below the mean of what each is uncertain by, and the same where all agents do the same."""
    spec, method = CreditSpec(2, 1, 3, 12), Solved(("raw",), agents="mean")
    random = np.random.default_rng(0)
    arrays = (random.normal(size=shape).astype(np.float32) for shape in ((9, 13, 3, 2), (9, 12, 3, 1)))
    mask = jnp.ones((9, 12, 3), bool)
    episodes = Episodes(
        *map(jnp.asarray, arrays), mask, ~mask, jnp.asarray(random.normal(size=9), jnp.float32), None
    )
    features = method.features(spec, episodes, episodes.action)
    state = method.observe(method.init(spec, jax.random.key(0)), features, episodes)
    each = replace(method, agents="each").deviation(state, features, mask)
    shared = method.deviation(state, features, mask)
    assert (np.asarray(shared) <= np.asarray(each).mean(axis=-1, keepdims=True) * 1.001).all()
    alike = jnp.broadcast_to(features[:, :, :1], features.shape)
    np.testing.assert_allclose(
        method.deviation(state, alike, mask),
        replace(method, agents="each").deviation(state, alike, mask),
        rtol=1e-3,
    )
