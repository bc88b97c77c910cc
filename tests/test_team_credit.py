"""Credit for teams: the same decomposition over steps and agents, and who is not there does not count."""

from dataclasses import replace
from functools import partial
from itertools import combinations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from latent_reward.credit.decompose import Window, allocate, fixed_credit

from latent_reward.credit import decompose
from latent_reward.credit.losses import full_sum_loss, subset_loss
from latent_reward.credit.methods import METHODS, TEAM_METHODS, Learned, find_method
from latent_reward.errors import LareError

CONFIG = Learned("latent", "rd", hidden=(8,), learning_rate=1e-2)
EPISODES, TIME, AGENTS, FEATURES = 12, 6, 3, 4


def make_window(seed=0, agents=AGENTS):
    """Episodes of different lengths, in which agents come and go; returns of their own."""
    random = np.random.default_rng(seed)
    lengths = random.integers(2, TIME + 1, EPISODES)
    mask = (np.arange(TIME) < lengths[:, None])[:, :, None] & (random.random((EPISODES, TIME, agents)) < 0.8)
    mask[:, :, 0] = np.arange(TIME) < lengths[:, None]
    features = random.normal(size=(EPISODES, TIME, agents, FEATURES)).astype(np.float32)
    returns = random.normal(size=EPISODES).astype(np.float32)
    return Window(*map(jnp.asarray, (features, mask, returns, lengths)))


def close(one, other):
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6), one, other)


update = jax.jit(decompose.update, static_argnums=1, static_argnames="block")


def test_the_team_subset_is_corrected_by_the_variance_of_the_sum_over_agents():
    """Averaged over all subsets, the unbiased loss is the full one; the biased one exceeds it."""
    random = np.random.default_rng(0)
    proxy = jnp.asarray(random.normal(size=(1, TIME, AGENTS)), jnp.float32)
    returns, lengths = jnp.asarray([2.0]), jnp.asarray([TIME])
    full = full_sum_loss(proxy, jnp.ones((1, TIME), bool), returns)
    for unbiased in (True, False):
        values = [
            float(
                subset_loss(
                    proxy[:, list(steps)], jnp.ones((1, 3), bool), returns, lengths, unbiased=unbiased
                )
            )
            for steps in combinations(range(TIME), 3)
        ]
        if unbiased:
            assert np.mean(values) == pytest.approx(float(full), rel=1e-4)
        else:
            assert np.mean(values) > float(full) + 0.01


@pytest.mark.parametrize("loss", ["rd", "rrd-unbiased"])
def test_agents_that_are_not_there_change_nothing(loss):
    config, window = replace(CONFIG, loss=loss), make_window()
    state = decompose.init(jax.random.key(0), config, FEATURES)
    garbage = jnp.where(window.mask[..., None], window.features, 1e6)
    padded = Window(
        jnp.concatenate([garbage, jnp.full((EPISODES, TIME, 2, FEATURES), 1e6)], axis=2),
        jnp.concatenate([window.mask, jnp.zeros((EPISODES, TIME, 2), bool)], axis=2),
        window.returns,
        window.lengths,
    )
    close(update(state, config, window), update(state, config, padded))
    observed = [decompose.observe(state, each.features, each.mask, each.returns) for each in (window, padded)]
    close(*observed)


def test_the_sum_that_is_fitted_runs_over_those_who_are_there():
    window = make_window()
    state = decompose.init(jax.random.key(0), CONFIG, FEATURES)
    proxy = np.asarray(decompose.proxy(state, CONFIG, window.features))
    total = np.where(window.mask, proxy, 0).sum(axis=(1, 2))
    expected = np.mean(((total - window.returns) / window.lengths) ** 2)
    assert float(update(state, CONFIG, window)[1]) == pytest.approx(float(expected), rel=1e-4)


@pytest.mark.parametrize("block", [1, 4, 12])
def test_a_gradient_in_blocks_is_the_same_gradient(block):
    window, config = make_window(), replace(CONFIG, weight_decay=1e-2)
    state = decompose.init(jax.random.key(0), config, FEATURES)
    close(update(state, config, window, block=block), update(state, config, window))


def test_weight_decay_pulls_weights_towards_zero():
    """Where the returns are met already, only the decay has a gradient, and Adam's first step follows its sign."""
    config, window = replace(CONFIG, weight_decay=1e-5), make_window()
    state = decompose.init(jax.random.key(0), config, FEATURES)
    total = jnp.where(window.mask, decompose.proxy(state, config, window.features), 0.0).sum(axis=(1, 2))
    after, loss = update(state, config, window._replace(returns=total))
    assert float(loss) < 1e-10
    before, moved = (np.concatenate([np.ravel(x) for x in each.decoder.weights]) for each in (state, after))
    large = np.abs(before) > 0.1
    assert large.sum() > 10
    assert (np.sign(moved - before)[large] == -np.sign(before)[large]).mean() > 0.9


def test_reference_methods_pay_a_team_what_it_earned():
    random = np.random.default_rng(0)
    window = make_window()
    for episode in range(EPISODES):
        mask = np.asarray(window.mask[episode])
        rewards = np.where(mask, random.normal(size=(TIME, AGENTS)), 0.0).astype(np.float32)
        paid = {
            rule: np.asarray(fixed_credit(rule, jnp.asarray(rewards), jnp.asarray(mask)))
            for rule in ("dense", "episodic", "uniform")
        }
        for credit in paid.values():
            assert credit.sum() == pytest.approx(rewards.sum(), abs=1e-4)
            assert (credit[~mask] == 0).all()
        np.testing.assert_array_equal(paid["dense"], rewards)
        last = int(window.lengths[episode]) - 1
        assert (paid["episodic"][:last] == 0).all()
        assert len(set(paid["episodic"][last][mask[last]])) == 1
        assert len(set(paid["uniform"][mask])) == 1


def test_without_agents_everybody_is_paid_the_average():
    random = np.random.default_rng(0)
    mask = np.asarray(make_window().mask)
    proxy = random.normal(size=mask.shape).astype(np.float32)
    each = np.asarray(allocate(CONFIG, jnp.asarray(proxy), jnp.asarray(mask)))
    mean = np.asarray(allocate(replace(CONFIG, agents="mean"), jnp.asarray(proxy), jnp.asarray(mask)))
    np.testing.assert_array_equal(each, np.where(mask, proxy, 0))
    for episode, step in np.ndindex(mask.shape[:2]):
        here = mask[episode, step]
        if here.any():
            np.testing.assert_allclose(
                mean[episode, step, here], proxy[episode, step, here].mean(), rtol=1e-4, atol=1e-6
            )
    np.testing.assert_allclose(mean.sum(axis=2), each.sum(axis=2), rtol=1e-3, atol=1e-5)


def test_teams_have_their_own_recipes_under_the_same_names():
    assert set(TEAM_METHODS) - {"lare-no-agents"} <= set(METHODS)
    lare = find_method("lare", of_teams=True).credit
    assert lare.hidden == (64,) * 4
    assert lare.subset >= 25  # whole episodes of the published worlds: RD exactly
    assert find_method("lare").credit != lare
    with pytest.raises(LareError, match=r"'lare-no-agent' for teams; did you mean lare-no-agents"):
        find_method("lare-no-agent", of_teams=True)
