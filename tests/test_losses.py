"""Losses of return decomposition against a loop in NumPy, and the identities they are named for."""

from itertools import combinations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from latent_reward.credit.losses import full_sum_loss, subset_loss
from latent_reward.data.buffer import draw_steps

GARBAGE = (0.0, 1e6, -1e30, np.inf, -np.inf, np.nan)
KINDS = ("rd", "rrd", "rrd-unbiased")


def evaluate(kind, proxy, count, returns, lengths):
    """The loss of the package on ``count[b]`` leading steps of each episode."""
    mask = jnp.arange(proxy.shape[1]) < jnp.asarray(count)[:, None]
    if kind == "rd":
        return full_sum_loss(proxy, mask, returns)
    return subset_loss(proxy, mask, returns, lengths, unbiased=kind == "rrd-unbiased")


evaluate_jit = jax.jit(evaluate, static_argnums=0)
gradient_jit = jax.jit(jax.grad(evaluate, argnums=1), static_argnums=0)


def reference(kind, proxy, count, returns, lengths):
    """The same in plain loops and double precision."""
    losses = []
    for rewards, n, R, L in zip(np.asarray(proxy, np.float64), count, returns, lengths, strict=True):
        team = [sum(rewards[t]) for t in range(n)]
        loss = (sum(team) / n - R / L) ** 2
        if kind == "rrd-unbiased" and n > 1:
            loss -= (1 - n / L) * np.var(team, ddof=1) / n
        losses.append(loss)
    return sum(losses) / len(losses)


def example(kind, seed=0, agents=3, slots=6):
    """Random episodes: whole ones for ``rd``, up to ``slots`` steps out of more for the others."""
    random = np.random.default_rng(seed)
    proxy = random.normal(size=(5, slots, agents)).astype(np.float32)
    lengths = np.array([1, 3, 6, 11, 40])
    if kind == "rd":
        lengths = np.array([1, 3, 6, 6, 2])
    returns = random.normal(scale=4.0, size=5).astype(np.float32)
    return proxy, np.minimum(lengths, slots), returns, lengths


@pytest.mark.parametrize("agents", [1, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_a_loss_equals_its_definition(kind, agents):
    arguments = example(kind, agents=agents)
    assert evaluate_jit(kind, *arguments) == pytest.approx(reference(kind, *arguments), rel=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_gradient_equals_the_finite_difference_of_the_definition(kind):
    proxy, *rest = example(kind)
    expected = np.zeros(proxy.shape)
    for index in np.ndindex(*proxy.shape):  # exact for a quadratic, whatever the step
        up, down = proxy.astype(np.float64), proxy.astype(np.float64)
        up[index] += 0.5
        down[index] -= 0.5
        expected[index] = reference(kind, up, *rest) - reference(kind, down, *rest)
    np.testing.assert_allclose(gradient_jit(kind, proxy, *rest), expected, rtol=1e-4, atol=1e-5)


@settings(deadline=None, max_examples=40)
@given(kind=st.sampled_from(KINDS), seed=st.integers(0, 99), garbage=st.sampled_from(GARBAGE), data=st.data())
def test_padding_never_changes_a_loss_or_a_gradient(kind, seed, garbage, data):
    proxy, _, returns, _ = example(kind, seed)
    lengths = np.array(data.draw(st.lists(st.integers(1, 6 if kind == "rd" else 20), min_size=5, max_size=5)))
    count = np.minimum(lengths, 6)
    padding = np.arange(6) >= count[:, None]
    filled = np.where(padding[:, :, None], np.float32(garbage), proxy)
    rest = (count, returns, lengths)
    assert evaluate_jit(kind, filled, *rest) == evaluate_jit(kind, proxy, *rest)
    gradient = np.asarray(gradient_jit(kind, filled, *rest))
    np.testing.assert_array_equal(gradient, gradient_jit(kind, proxy, *rest))
    assert np.isfinite(gradient).all()
    assert (gradient[padding] == 0).all()


@pytest.mark.parametrize(("L", "K"), [(6, 2), (6, 3), (7, 6)])
def test_over_all_subsets_the_unbiased_loss_is_rd_and_the_biased_one_exceeds_it_by_the_variance(L, K):
    random = np.random.default_rng(L * K)
    proxy = jnp.asarray(random.normal(size=(1, L, 2)), jnp.float32)
    subsets = np.array(list(combinations(range(L), K)))
    everything = jnp.ones((len(subsets), K), bool)
    returns, lengths = jnp.full(len(subsets), 2.5), jnp.full(len(subsets), L)

    def averaged(proxy, unbiased):
        return subset_loss(proxy[0, subsets], everything, returns, lengths, unbiased=unbiased)

    def whole(proxy):
        return full_sum_loss(proxy, jnp.ones((1, L), bool), returns[:1])

    means = np.asarray(proxy[0]).sum(axis=1)[subsets].mean(axis=1)
    assert float(averaged(proxy, True)) == pytest.approx(float(whole(proxy)), rel=1e-5, abs=1e-5)
    assert np.var(means) > 0.01
    assert float(averaged(proxy, False)) == pytest.approx(float(whole(proxy)) + np.var(means), rel=1e-5)
    unbiased, exact = jax.grad(averaged)(proxy, True), jax.grad(whole)(proxy)
    np.testing.assert_allclose(unbiased, exact, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", ["rrd", "rrd-unbiased"])
def test_a_subset_no_smaller_than_the_episode_gives_rd_exactly(kind):
    arguments = example("rd")
    assert evaluate_jit(kind, *arguments) == pytest.approx(float(evaluate_jit("rd", *arguments)), rel=1e-6)
    expected = gradient_jit("rd", *arguments)
    np.testing.assert_allclose(gradient_jit(kind, *arguments), expected, rtol=1e-5, atol=1e-7)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**31 - 1), lengths=st.lists(st.integers(1, 10), min_size=8, max_size=8))
def test_drawn_steps_are_distinct_steps_of_the_episode_and_all_of_them_where_it_is_short(seed, lengths):
    steps, mask = draw_steps(jax.random.key(seed), jnp.array(lengths), 10, 4)
    for drawn, real, length in zip(np.asarray(steps), np.asarray(mask), lengths, strict=True):
        chosen = drawn[real]
        assert len(set(chosen)) == len(chosen) == min(4, length)
        assert set(chosen) <= set(range(length))


def test_every_subset_of_steps_is_drawn_equally_often():
    steps, mask = draw_steps(jax.random.key(0), jnp.full(20_000, 6), 9, 3)
    assert mask.all()
    _, counts = np.unique(np.sort(np.asarray(steps), axis=1), axis=0, return_counts=True)
    assert len(counts) == 20
    assert stats.chisquare(counts).pvalue > 1e-4
