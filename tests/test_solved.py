"""Credit that is solved: against NumPy, in any unit, with groups that are switched off when they are not needed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from latent_reward.credit.base import CreditSpec
from latent_reward.credit.evidence import EQUATIONS, add_equations, init_equations, solve
from latent_reward.credit.solved import Solved
from latent_reward.data.episodes import Episodes
from latent_reward.errors import LareError

GROUPS = (2, 3)


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


def solved(columns, mask, returns):
    rows = columns[mask]
    known = add_equations(
        init_equations(GROUPS), *map(jnp.asarray, (columns, mask)), jnp.asarray(returns, jnp.float32)
    )
    return solve(
        known, GROUPS, jnp.asarray(rows.mean(axis=0)), jnp.asarray(rows.std(axis=0)), jnp.array(True)
    )


def surprise(prior, parts, y):
    """−2 log-likelihood of y ~ N(0, σ²(I + Σ ρ XXᵀ)) at its best σ², but for constants."""
    matrix = np.eye(len(y)) + sum(p * part @ part.T for p, part in zip(prior, parts, strict=True))
    return (len(y) - 1) * np.log(y @ np.linalg.solve(matrix, y)) + np.linalg.slogdet(matrix)[1]


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
    mask[3] = False
    state = init_equations(GROUPS)
    whole = add_equations(state, *map(jnp.asarray, (columns, mask)), jnp.asarray(returns, jnp.float32))
    for index in range(len(returns)):
        each = (jnp.asarray(part[index : index + 1]) for part in (columns, mask))
        state = add_equations(state, *each, jnp.asarray(returns[index : index + 1], jnp.float32))
    assert float(state.episodes) == float(whole.episodes) == EQUATIONS + 6
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), state, whole)


def test_equal_returns_give_no_weights():
    columns, mask, returns, _ = played(12)
    found = solved(columns, mask, np.full_like(returns, 0.0))
    assert not np.asarray(found.weight).any()
    assert float(found.bias) == 0.0


@pytest.mark.parametrize("groups", [("raw", "termination"), ("raw", "termination", "raw-waves"), ("raw-waves",)])
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
    assert correlation > (0.5 if groups == ("raw-waves",) else 0.97)


def test_settings_that_do_not_exist_are_refused():
    for groups in ((), ("raw", "raw")):
        with pytest.raises(LareError, match=r"^groups: .*different"):
            Solved(groups)
