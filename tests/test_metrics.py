"""Measures of credit against NumPy, and warnings: what each is about, in any unit of the reward."""

import jax.numpy as jnp
import numpy as np
import pytest

from latent_reward.credit import metrics


def noted(pairs, window=20):
    """The rows of the last episodes, from the proxy and the true reward of each of their steps."""
    rows = metrics.init_window(window)
    for proxy, reward in pairs:
        proxy, reward = (np.asarray(each, np.float32)[None, :, None] for each in (proxy, reward))
        sums = metrics.episode_sums(proxy.astype(np.float64), reward.astype(np.float64), proxy < np.inf)
        rows = metrics.push(rows, sums)
    return rows


def test_metrics_agree_with_numpy_on_the_last_episodes():
    random = np.random.default_rng(0)
    pairs = []
    for length in random.integers(2, 30, 12):
        reward = 100.0 + random.normal(size=length)
        pairs.append((0.7 * reward + random.normal(size=length), reward))
    measured = metrics.measure(noted(pairs, window=8))
    p, r = (np.concatenate(column) for column in zip(*pairs[-8:], strict=True))
    totals = np.array([(each[0].sum(), each[1].sum()) for each in pairs[-8:]])
    assert measured["credit_correlation"] == pytest.approx(np.corrcoef(p, r)[0, 1], rel=1e-3)
    predicted, paid = totals.T
    assert measured["explained_variance"] == pytest.approx(
        1 - np.var(paid - predicted) / np.var(paid), rel=1e-3
    )
    lengths = [len(each[0]) for each in pairs[-8:]]
    rest = paid - np.polyval(np.polyfit(lengths, paid, 1), lengths)
    beyond = 1 - np.var(paid - predicted) / np.var(rest)
    assert measured["explained_beyond_length"] == pytest.approx(beyond, rel=1e-3)
    assert measured["return_slope"] == pytest.approx(np.polyfit(predicted, paid, 1)[0], rel=1e-3)
    assert measured["credit_slope"] == pytest.approx(np.polyfit(p, r, 1)[0], rel=1e-3)
    assert measured["credit_bias"] == pytest.approx((p - r).mean() / r.std(), rel=1e-3)
    assert measured["proxy_spread"] == pytest.approx(p.std() / np.sqrt((p**2).mean()), rel=1e-3)


@pytest.mark.parametrize("xp", [np, jnp])
def test_the_sums_of_an_episode_run_over_the_steps_and_agents_that_are_there(xp):
    random = np.random.default_rng(0)
    proxy, truth = random.normal(size=(2, 4, 6, 3)).astype(np.float32)
    mask = random.random((4, 6, 3)) < 0.6
    rows = metrics.episode_sums(*(xp.where(mask, each, xp.nan) for each in (proxy, truth)), mask, xp)
    for row, p, r, here in zip(np.asarray(rows), proxy, truth, mask, strict=True):
        p, r = p[here].astype(np.float64), r[here].astype(np.float64)
        expected = [here.sum(), p.sum(), r.sum(), p @ p, r @ r, p @ r]
        np.testing.assert_allclose(row, expected, rtol=1e-4, atol=1e-5)


def test_a_window_drops_as_many_of_the_oldest_as_it_gains():
    rows = np.arange(30.0).reshape(5, 6)
    window = metrics.push(metrics.init_window(4), rows[:1])
    np.testing.assert_array_equal(metrics.seen(window), rows[:1])
    window = metrics.push(metrics.push(window, rows[1:2]), rows[2:])
    np.testing.assert_array_equal(metrics.seen(window), rows[1:])


def test_perfect_credit_scores_one_and_a_constant_shift_keeps_the_correlation():
    reward = [[1.0, 2.0, 4.0], [0.0, 3.0], [5.0, 1.0, 1.0, 0.0]]
    perfect = metrics.measure(noted(zip(reward, reward, strict=True)))
    assert perfect["explained_variance"] == pytest.approx(1.0)
    assert perfect["credit_correlation"] == pytest.approx(1.0)
    shifted = metrics.measure(noted([(np.array(each) + 50.0, each) for each in reward]))
    assert shifted["credit_correlation"] == pytest.approx(1.0)
    assert shifted["explained_variance"] < 0.0


def test_what_is_not_known_is_nan():
    one = noted([([1.0, 2.0], [1.0, 2.0])])
    assert np.isnan(list(metrics.measure(one).values())).all()
    assert metrics.warning(one, {}) == ""
    same_return = metrics.measure(noted([([1.0, 2.0], [1.0, 2.0]), ([2.0, 1.0], [2.0, 1.0])]))
    assert np.isnan(same_return["explained_variance"])
    assert same_return["credit_correlation"] == pytest.approx(1.0)
    flat = metrics.measure(noted([([0.1, 0.1], [1.0, 2.0]), ([0.1], [3.0])]))
    assert np.isnan(flat["credit_correlation"])
    assert flat["proxy_spread"] < 1e-6
    unpaid = metrics.measure(noted([([1.0, 2.0], [0.0, 0.0]), ([3.0], [0.0])]))
    assert np.isnan(unpaid["credit_correlation"])


def recorded(kind, episodes=20, unit=1.0):
    """Rows of episodes in float32, of a kind of credit that is right or wrong in one way."""
    random = np.random.default_rng(0)
    rows = metrics.init_window(episodes)
    for _ in range(episodes):
        length = 8 if kind == "one length" else random.integers(4, 12)
        r = random.normal(size=(1, length, 1)) + 0.3
        if kind in ("equal", "only length"):
            r = np.full_like(r, 1.0 if kind == "only length" else 1.5 / length)
        p = r + 0.1 * random.normal(size=r.shape)
        if kind == "flat":
            p = np.full_like(r, 0.3)
        if kind in ("unrelated", "one length"):
            p = random.normal(size=r.shape)
        if kind == "length alone":
            r, p = r + 5.0, p * 0 + 5.3 + 0.1 * random.normal(size=r.shape)
        if kind == "small":
            p = r / 3
        if kind == "large":
            p = 3 * r
        p, r = (jnp.asarray(unit * each, jnp.float32) for each in (p, r))
        rows = metrics.push(rows, np.asarray(metrics.episode_sums(p, r, p < np.inf, jnp)))
    return rows


WARNINGS = {
    "right": "",
    "equal": "the last 20 returns are equal: nothing to assign yet (each is",
    "only length": "determines its return",
    "flat": "same reward",
    "unrelated": "than the length",
    "one length": "than a constant",
    "length alone": "than the length",
    "small": "wrong scale (a return is 3.00",
    "large": "wrong scale (a return is 0.33",
}


@pytest.mark.parametrize("unit", [1e-8, 1.0, 3e3, 1e8])
@pytest.mark.parametrize("kind", WARNINGS)
def test_a_warning_says_what_is_wrong_in_any_unit(kind, unit):
    said = metrics.warning(recorded(kind, unit=unit), {})
    assert (WARNINGS[kind] in said) if WARNINGS[kind] else said == ""
    assert len(said.splitlines()) == bool(WARNINGS[kind])
    found, plain = metrics.measure(recorded(kind, unit=unit)), metrics.measure(recorded(kind))
    for name, value in found.items():
        assert value == pytest.approx(plain[name], rel=1e-2, abs=1e-3, nan_ok=True), name


def test_a_proxy_that_is_not_finite_is_named():
    rows = recorded("right")
    for value in (np.nan, np.inf):
        rows[3, 1] = value
        assert "not finite" in metrics.warning(rows, {})
        assert np.isnan(metrics.measure(rows)["explained_variance"])


def test_credit_that_knows_little_says_so():
    rows = recorded("right")
    assert metrics.measure(rows, 0.7)["credit_uncertainty"] == 0.7
    assert "too few returns to tell which steps earned them (70%" in metrics.warning(rows, {}, 0.7)
    assert metrics.warning(rows, {}, 0.3) == ""
    assert metrics.warning(recorded("right", 9), {}, 0.7) == ""


def test_length_is_taken_off_only_where_it_varies():
    same = metrics.measure(recorded("one length"))
    assert same["explained_beyond_length"] == pytest.approx(same["explained_variance"])
    found = metrics.measure(recorded("length alone"))
    assert found["explained_variance"] > 0.9
    assert found["explained_beyond_length"] < 0.1
    assert np.isnan(metrics.measure(recorded("only length"))["explained_beyond_length"])


def test_few_episodes_are_not_judged_but_equal_returns_are_told_early():
    assert metrics.warning(metrics.init_window(), {}) == ""
    assert metrics.warning(recorded("unrelated", 9), {}) == ""
    assert metrics.warning(recorded("equal", 4), {}) == ""
    assert metrics.warning(recorded("equal", 5), {}).startswith(
        "credit: the last 5 returns are equal: nothing to"
    )
    said = metrics.warning(metrics.push(metrics.init_window(), recorded("equal", 5)), {})
    assert said.startswith("credit: all 5 returns so far are equal: nothing to assign yet (each is 1.5); ")


def test_idle_latents_are_named_relative_to_the_largest():
    for unit in (1e-8, 1.0, 1e8):
        weights = {"speed": 0.4 * unit, "tilt": -0.1 * unit, "noise": 1e-6 * unit}
        _, idle = metrics.warning(recorded("unrelated"), weights).splitlines()
        assert "some latents earn nothing (noise)" in idle
        assert metrics.warning(recorded("right"), weights) == ""  # it need not earn anything
    for weights in ({"speed": 0.4, "tilt": -0.1}, {"speed": 0.0}):
        assert "earn nothing" not in metrics.warning(recorded("unrelated"), weights)


@pytest.mark.parametrize("kind", WARNINGS)
def test_a_warning_never_reads_the_true_rewards_of_steps(kind):
    rows = recorded(kind)
    hidden = rows.copy()
    hidden[:, 4:] = np.nan
    assert metrics.warning(hidden, {}) == metrics.warning(rows, {})
