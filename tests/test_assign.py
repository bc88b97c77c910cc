"""Per-step rewards of recorded episodes, and how far held-out returns say they can be trusted."""

import gymnasium
import numpy as np
import pytest
import recorded_episodes

import latent_reward as lr
from latent_reward.credit import metrics
from latent_reward.library import assign, trust

BOX, TWO = gymnasium.spaces.Box(-1.0, 1.0, (2,)), gymnasium.spaces.Discrete(2)
SPACES = {"observation_space": 3, "action_space": BOX}


def truth(episodes):
    return np.concatenate([np.asarray(each.rewards).ravel() for each in episodes])


def test_rewards_are_found_from_returns_alone():
    recorded = recorded_episodes.episodes(40, vary=15)
    silent = recorded_episodes.episodes(40, vary=15, rewards=False)
    settings = SPACES | {"encoder": recorded_episodes.encoder()}
    found = lr.assign(silent, **settings)
    assert [each.shape for each in found] == [(len(each),) for each in recorded]
    assert np.corrcoef(np.concatenate(found), truth(recorded))[0, 1] > 0.98
    again = lr.assign(recorded, **settings)
    for first, second in zip(found, again, strict=True):
        np.testing.assert_array_equal(first, second)  # the same seed, and rewards are not read
    found[0][:] = 0.0


def test_teams_get_a_reward_for_each_agent():
    recorded = recorded_episodes.episodes(30, agents=2, discrete=True)
    found = lr.assign(
        recorded, observation_space=3, action_space=TWO, encoder=recorded_episodes.encoder(), updates=5
    )
    assert found[0].shape == (20, 2)
    assert np.corrcoef(np.concatenate(found).ravel(), truth(recorded))[0, 1] > 0.9


def test_references():
    recorded = recorded_episodes.episodes(3, vary=9, rewards=False)
    for name in ("episodic", "uniform"):
        found = lr.assign(recorded, method=name, **SPACES)
        np.testing.assert_allclose([each.sum() for each in found], [each.ret for each in recorded], rtol=1e-4)
    assert (lr.assign(recorded, method="episodic", **SPACES)[0][:-1] == 0).all()
    with pytest.raises(lr.LareError, match="episode 0 has no rewards"):
        lr.assign(recorded, method="dense", **SPACES)
    known = recorded_episodes.episodes(3)
    np.testing.assert_allclose(
        lr.assign(known, method="dense", **SPACES)[2], known[2].rewards, rtol=1e-5, atol=1e-6
    )


def test_updates_are_those_that_explain_held_out_returns_best(monkeypatch):
    recorded = recorded_episodes.episodes(20)
    setup = assign.prepare(recorded, encoder=recorded_episodes.encoder(), **SPACES)
    errors = iter([5.0, 3.0, 4.0, 2.0, 2.0, 2.0, 2.0, 2.0, 0.0])

    def sums(setup, state, numbers):
        assert list(numbers) == [4, 9, 14, 19]
        rows, true = np.zeros((4, 6)), setup.returns[[4, 9, 14, 19]]
        rows[:, 1] = true + next(errors)
        return rows

    monkeypatch.setattr(assign, "sums", sums)
    monkeypatch.setattr(assign, "ROUND", 1)
    assert assign.choose_updates(setup, 0) == 3  # the first of the smallest; it stops before the last
    assert next(errors) == 0.0


@pytest.mark.parametrize(
    ("episodes", "arguments", "message"),
    [
        ([], {}, "there are none"),
        (recorded_episodes.episodes(2), {"updates": 0}, "updates"),
        (recorded_episodes.episodes(2), {"observation_space": 4}, "episode 0: observations"),
        (recorded_episodes.episodes(2), {"observation_space": None}, "give a task"),
        (recorded_episodes.episodes(2), {"method": "none"}, "method"),
    ],
)
def test_what_does_not_fit_is_refused(episodes, arguments, message):
    with pytest.raises(lr.LareError, match=message):
        lr.assign(episodes, **SPACES | {"method": "rrd"} | arguments)


def measured(recorded, updates=1, **settings):
    given = SPACES | {"encoder": recorded_episodes.encoder()} | settings
    return trust.measure(assign.prepare(recorded, **given), updates, 0)


def test_returns_that_are_explained_are_trusted():
    found = measured(recorded_episodes.episodes(40, vary=10))
    assert found.problem == ""
    assert found.explained > 0.95 > found.by_length
    assert found.correlation > 0.95


def test_returns_of_noise_are_not():
    recorded = recorded_episodes.episodes(40, vary=10, noise=lambda random, length: random.normal())
    found = measured(recorded)
    assert found.explained < 0.2
    assert "no better than a constant" in found.problem


def test_returns_of_the_length_alone_are_not():
    recorded = recorded_episodes.episodes(40, vary=20, noise=lambda random, length: length + random.normal())
    found = measured(recorded)
    assert found.by_length > 0.9
    assert "length of the episodes alone" in found.problem


def test_equal_and_few_returns_say_nothing():
    equal = measured(recorded_episodes.episodes(12, noise=lambda random, length: 3.0))
    assert "all 12 returns so far are equal: nothing to assign yet (each is 3)" in equal.problem
    assert np.isnan(equal.explained)
    assert "only 4 episodes" in measured(recorded_episodes.episodes(4)).problem


def test_a_line_through_the_length_is_least_squares():
    random = np.random.default_rng(0)
    x, y = random.normal(size=(2, 9))
    np.testing.assert_allclose(metrics.line(x, y, x[:3]), np.polyval(np.polyfit(x, y, 1), x[:3]))
    np.testing.assert_allclose(metrics.line(np.ones(9), y, x[:2]), [y.mean()] * 2)
