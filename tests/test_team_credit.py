"""Credit for teams: the same decomposition over steps and agents, and who is not there does not count."""

from dataclasses import replace
from functools import partial
from itertools import combinations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from latent_reward.credit import per_step
from latent_reward.credit.base import CreditSpec
from latent_reward.credit.losses import full_sum_loss, subset_loss
from latent_reward.credit.methods import METHODS, find_method
from latent_reward.credit.per_step import Batch, PerStep, block_size
from latent_reward.credit.reference import redistribute
from latent_reward.data.episodes import Episodes
from latent_reward.errors import LareError

METHOD = PerStep("next", "rd", hidden=(8,), learning_rate=1e-2)
EPISODES, TIME, AGENTS, FEATURES = 12, 6, 3, 4
SPEC = CreditSpec(FEATURES, 1, AGENTS, TIME)


def make_batch(seed=0, agents=AGENTS):
    """Episodes of different lengths, in which agents come and go; returns of their own."""
    random = np.random.default_rng(seed)
    lengths = random.integers(2, TIME + 1, EPISODES)
    mask = (np.arange(TIME) < lengths[:, None])[:, :, None] & (random.random((EPISODES, TIME, agents)) < 0.8)
    mask[:, :, 0] = np.arange(TIME) < lengths[:, None]
    features = random.normal(size=(EPISODES, TIME, agents, FEATURES)).astype(np.float32)
    returns = random.normal(size=EPISODES).astype(np.float32)
    return Batch(*map(jnp.asarray, (features, mask, returns, lengths)))


def close(one, other):
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6), one, other)


@partial(jax.jit, static_argnums=0)
def update(method, state, batch):
    """The new state and the loss before the step."""
    state, measured = method.update(SPEC, state, batch)
    return state, measured["decoder_loss"]


def observe(method, state, batch):
    """The state after episodes of which only who was there and the return may be read."""
    mask = batch.mask
    nothing = jnp.full((*mask.shape, 1), jnp.nan)
    after = jnp.concatenate([nothing, nothing[:, :1]], axis=1)
    episodes = Episodes(after, nothing, mask, jnp.zeros_like(mask), batch.returns, nothing[..., 0])
    return method.observe(state, batch.features, episodes)


def fresh(method=METHOD):
    return method.init(SPEC, jax.random.key(0))


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
    method, batch = replace(METHOD, loss=loss), make_batch()
    state = fresh(method)
    garbage = jnp.where(batch.mask[..., None], batch.features, 1e6)
    padded = Batch(
        jnp.concatenate([garbage, jnp.full((EPISODES, TIME, 2, FEATURES), 1e6)], axis=2),
        jnp.concatenate([batch.mask, jnp.zeros((EPISODES, TIME, 2), bool)], axis=2),
        batch.returns,
        batch.lengths,
    )
    close(update(method, state, batch), update(method, state, padded))
    close(*(observe(method, state, each) for each in (batch, padded)))


def test_the_sum_that_is_fitted_runs_over_those_who_are_there():
    batch, state = make_batch(), fresh()
    proxy = np.asarray(METHOD.reward(state, batch.features, jnp.ones_like(batch.mask)))
    total = np.where(batch.mask, proxy, 0).sum(axis=(1, 2))
    expected = np.mean(((total - batch.returns) / batch.lengths) ** 2)
    assert float(update(METHOD, state, batch)[1]) == pytest.approx(float(expected), rel=1e-4)


@pytest.mark.parametrize("block", [1, 4, 12])
def test_a_gradient_in_blocks_is_the_same_gradient(block, monkeypatch):
    batch, method = make_batch(), replace(METHOD, weight_decay=1e-2)
    state, rows = fresh(method), TIME * AGENTS
    assert block_size(EPISODES, rows) == EPISODES
    whole = method.update(SPEC, state, batch)
    monkeypatch.setattr(per_step, "_BLOCK_ROWS", block * rows)
    assert block_size(EPISODES, rows) == block
    close(method.update(SPEC, state, batch), whole)


@pytest.mark.parametrize(("episodes", "rows", "block"), [(32, 75, 8), (4, 64, 4), (7, 200, 1), (3, 5000, 1)])
def test_a_block_divides_the_episodes_and_has_as_many_rows_as_fit(episodes, rows, block):
    assert block_size(episodes, rows) == block
    assert block * rows <= max(rows, 1024)


def test_weight_decay_pulls_weights_towards_zero():
    """Where the returns are met already, only the decay has a gradient, and Adam's first step follows its sign."""
    method, batch = replace(METHOD, weight_decay=1e-5), make_batch()
    state = fresh(method)
    total = method.reward(state, batch.features, batch.mask).sum(axis=(1, 2))
    after, loss = update(method, state, batch._replace(returns=total))
    assert float(loss) < 1e-10
    before, moved = (np.concatenate([np.ravel(x) for x in each.network.weights]) for each in (state, after))
    large = np.abs(before) > 0.1
    assert large.sum() > 10
    assert (np.sign(moved - before)[large] == -np.sign(before)[large]).mean() > 0.9


def test_reference_methods_pay_a_team_what_it_earned():
    random = np.random.default_rng(0)
    batch = make_batch()
    hidden = random.normal(size=batch.mask.shape).astype(np.float32)
    garbage = jnp.where(batch.mask, hidden, jnp.nan)  # read by mistake, it would show
    of_all = {
        rule: np.asarray(redistribute(rule, garbage, batch.mask)) for rule in ("dense", "episodic", "uniform")
    }
    for episode in range(EPISODES):
        mask = np.asarray(batch.mask[episode])
        rewards = np.where(mask, hidden[episode], 0.0)
        paid = {rule: credit[episode] for rule, credit in of_all.items()}
        for credit in paid.values():
            assert credit.sum() == pytest.approx(rewards.sum(), abs=1e-4)
            assert (credit[~mask] == 0).all()
        np.testing.assert_array_equal(paid["dense"], rewards)
        last = int(batch.lengths[episode]) - 1
        assert (paid["episodic"][:last] == 0).all()
        assert len(set(paid["episodic"][last][mask[last]])) == 1
        assert len(set(paid["uniform"][mask])) == 1


def test_without_agents_everybody_is_paid_the_average():
    batch, state = make_batch(), fresh()
    mask = np.asarray(batch.mask)
    proxy = np.asarray(METHOD.reward(state, batch.features, jnp.ones_like(batch.mask)))
    each, mean = (
        np.asarray(method.reward(state, batch.features, batch.mask))
        for method in (METHOD, replace(METHOD, agents="mean"))
    )
    np.testing.assert_array_equal(each, np.where(mask, proxy, 0))
    for episode, step in np.ndindex(mask.shape[:2]):
        here = mask[episode, step]
        if here.any():
            np.testing.assert_allclose(
                mean[episode, step, here], proxy[episode, step, here].mean(), rtol=1e-4, atol=1e-6
            )
    np.testing.assert_allclose(mean.sum(axis=2), each.sum(axis=2), rtol=1e-3, atol=1e-5)


def test_teams_have_their_own_recipes_under_the_same_names():
    network = find_method("lare-rd", "episodes").credit
    assert network.hidden == (64,) * 4
    assert (
        find_method("rrd-unbiased", "episodes").credit.subset < 25
    )  # fewer than an episode of the published worlds
    assert find_method("lare", "replay").credit != find_method("lare", "episodes").credit
    only_teams = {name for name, entry in METHODS.items() if entry.replay is None}
    assert only_teams == {"lare-no-agents"}
    with pytest.raises(LareError, match=r"'lare-no-agent' \(did you mean lare-no-agents"):
        find_method("lare-no-agent", "episodes")
    with pytest.raises(LareError, match=r"lare-no-agents is for agents that learn from whole episodes"):
        find_method("lare-no-agents", "replay")
