"""The off-policy loop on a toy environment: every method trains, every run repeats, nothing hidden leaks."""

from dataclasses import replace
from functools import partial

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from latent_reward.agents.td3 import ActionRange, TD3Config
from latent_reward.credit.features import step_features
from latent_reward.credit.methods import METHODS, Direct, Learned
from latent_reward.errors import LareError
from latent_reward.sealing.verify import seal
from latent_reward.training import learner as core
from latent_reward.training.learner import Learner
from latent_reward.training.off_policy import OffPolicy
from latent_reward.training.plan import Schedule

HORIZON = 10
SOURCE = """
def evaluation_func(observation, action):
    distance = np.abs(observation[:, 0:1] - 1.0)
    effort = np.square(action)
    return [distance, effort]
"""


@pytest.fixture(scope="module", autouse=True)
def _compile_fast():
    """Most of the time goes into compiling programs that run for a moment; leave them unoptimised."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


class Slide(gymnasium.Env):
    """Push a point to 1. Rewards are multiples of 1/64, so that sums are exact in any order.

    Args:
        limit: the episode is cut after so many steps.
        wall: the episode is terminated beyond this distance from 0.
        late: whether everything is paid at the last step.
        spoil: which of ``observation`` and ``reward`` becomes NaN at the 13th step.
    """

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float32)
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)

    def __init__(self, limit=HORIZON, wall=np.inf, late=False, spoil=""):
        self.limit, self.wall, self.late, self.spoil = limit, wall, late, spoil
        self.taken = 0

    def _observe(self):
        spoilt = self.spoil == "observation" and self.taken == 13
        return np.array([np.nan if spoilt else self.place, self.count / 10], np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place, self.count, self.owed = self.np_random.uniform(-0.5, 0.5), 0, 0.0
        return self._observe(), {}

    def step(self, action):
        self.taken += 1
        self.count += 1
        self.place += 0.3 * float(action[0])
        reward = -round(64 * abs(self.place - 1.0)) / 64
        terminated, truncated = abs(self.place) > self.wall, self.count == self.limit
        if self.late:
            self.owed += reward
            reward = self.owed if terminated or truncated else 0.0
        if self.spoil == "reward" and self.taken == 13:
            reward = np.nan
        return self._observe(), reward, terminated, truncated, {}


class Sizes:
    """What sealing an encoder needs to know of a task."""

    name, env_id, observation_size, action_size = "Slide", "Slide-v0", 2, 1


@pytest.fixture(scope="session")
def encoder():
    return seal(SOURCE, Sizes())


def make_learner(credit, encoder=None, policy_delay=2):
    latent = isinstance(credit, Direct) or (isinstance(credit, Learned) and credit.features == "latent")
    if isinstance(credit, Learned):
        credit = replace(credit, hidden=(8,), batch_steps=32, subset=4)
    return Learner(
        credit=credit,
        encoder=encoder if latent else None,
        agent=TD3Config(hidden=(8,), policy_delay=policy_delay),
        actions=ActionRange(jnp.zeros(1), jnp.ones(1)),
        observation_size=2,
        action_size=1,
        horizon=HORIZON,
        batch_size=16,
        capacity=60,
    )


def trained(learner, seeds=(0,), steps=36, warmup=22, **env):
    """A training after so many steps; updates begin after the warm-up."""
    schedule = Schedule(warmup=warmup, evaluation_episodes=2)
    training = OffPolicy(learner, schedule, seeds, partial(Slide, **env))
    for _ in range(steps):
        training.advance()
    return training


def arrays(training, index=0):
    """All numbers of one seed."""
    return [np.asarray(leaf)[index] for leaf in jax.tree.leaves(training.state)]


def same(a, b, index_a=0, index_b=0):
    pairs = zip(arrays(a, index_a), arrays(b, index_b), strict=True)
    return all(np.array_equal(x, y) for x, y in pairs)


@pytest.fixture(scope="session")
def lare(encoder):
    """One learner for all tests of the loop itself, so that it is compiled once."""
    return make_learner(METHODS["lare"].credit, encoder)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_trains(name, encoder):
    learner = make_learner(METHODS[name].credit, encoder, policy_delay=1)  # half as much to compile
    training = trained(learner, warmup=22, steps=24)
    before = jax.tree.map(np.array, training.state.agent)
    training.advance()
    training.advance()
    for part in ("actor", "critics", "target_actor", "target_critics"):
        old, new = getattr(before, part), getattr(training.state.agent, part)
        assert not np.array_equal(old.weights[0], new.weights[0]), part
    assert all(np.isfinite(leaf).all() for leaf in arrays(training))
    (report,) = training.evaluate()
    training.close()
    learned = isinstance(METHODS[name].credit, Learned)
    assert np.isfinite(report.decoder_loss) == learned
    assert np.isfinite([report.critic_loss, report.return_mean, report.explained_variance]).all()
    assert (report.step, report.episodes) == (26, 2)
    if name == "dense":
        assert report.credit_correlation == pytest.approx(1.0)
    stored = training.state.replay
    assert stored.reward.shape[-1] == (0 if learned else 1)
    assert stored.features.shape[-1] == learner.latent_size


@pytest.mark.parametrize("env", [{}, {"wall": 0.55}])
def test_the_same_seed_repeats_bit_by_bit_and_another_seed_differs(lare, env):
    first = trained(lare, **env)
    assert same(first, trained(lare, **env))
    assert not same(first, trained(lare, seeds=(1,), **env))


def test_updates_made_at_once_equal_updates_left_for_the_actors_turn(lare):
    training, left = trained(lare, steps=22), 0
    for _ in range(22, 36):
        training.advance()
        before = np.array(training.state.agent.critics.weights[0])
        training.settle()
        left += not np.array_equal(before, training.state.agent.critics.weights[0])
    assert left == 6  # every second step, but for the one at which an episode ends
    at_once = trained(lare)
    at_once.settle()
    assert same(training, at_once)


@pytest.mark.parametrize("env", [{}, {"wall": 0.55}])
def test_two_seeds_in_lockstep_equal_two_single_runs(lare, env):
    together = trained(lare, seeds=(3, 4), **env)
    if env:  # the seeds' episodes end at different times
        assert not np.array_equal(*np.asarray(together.state.replay.length))
    for index, seed in enumerate((3, 4)):
        alone = trained(lare, seeds=(seed,), **env)
        assert alone.tracks[0].episodes == together.tracks[index].episodes
        for one, other in zip(arrays(alone), arrays(together, index), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_nothing_is_compiled_anew_once_training_is_under_way(lare):
    functions = (core.update, core.explore, core.absorb, core.exploit)
    training = trained(lare, steps=40, wall=0.55)
    training.evaluate()
    before = [function._cache_size() for function in functions]
    for _ in range(30):
        training.advance()
    training.evaluate()
    assert [function._cache_size() for function in functions] == before


def test_a_learned_method_sees_the_return_and_never_when_it_was_paid(lare):
    spread, late = trained(lare, wall=0.55), trained(lare, wall=0.55, late=True)
    assert same(spread, late)
    assert np.asarray(spread.state.decomposer.mean_reward.count)[0] == spread.tracks[0].episodes > 2
    assert not np.array_equal(spread.tracks[0].monitor, late.tracks[0].monitor, equal_nan=True)


def test_a_reference_method_sees_when_it_was_paid():
    learner = make_learner(METHODS["dense"].credit)
    assert not same(trained(learner), trained(learner, late=True))


def test_a_direct_reward_is_the_encoders_whatever_is_paid(encoder):
    learner = make_learner(METHODS["llm-reward"].credit, encoder)
    training = trained(learner, steps=20)
    assert same(training, trained(learner, steps=20, late=True))
    replay = training.state.replay
    start = int(replay.start[0, 0])
    after = np.asarray(replay.observation)[0, start + 1 : start + 1 + HORIZON, 0]
    stored = np.asarray(replay.reward)[0, start : start + HORIZON, 0]
    np.testing.assert_allclose(
        stored, np.abs(after - 1.0), rtol=1e-6
    )  # the first latent, of the next observation


def test_termination_reaches_the_replay_and_a_time_limit_does_not(lare):
    cut, ended = (trained(lare, steps=20, **env).state.replay for env in ({}, {"wall": 0.55}))
    assert not np.asarray(cut.terminal).any()
    terminal, length = np.asarray(ended.terminal)[0], np.asarray(ended.length)[0]
    start, episodes = np.asarray(ended.start)[0], int(ended.newest_episode[0])
    short = [start[i] + length[i] - 1 for i in range(episodes) if length[i] < HORIZON]
    assert len(short) > 0
    assert terminal[short].all()


def test_nothing_is_learned_before_the_warm_up_or_the_first_whole_episode(lare):
    fresh = trained(lare, steps=0).state.agent
    for training in (trained(lare, steps=22, warmup=22), trained(lare, steps=10, warmup=0)):
        jax.tree.map(np.testing.assert_array_equal, training.state.agent, fresh)
        (report,) = training.evaluate()
        assert np.isnan(report.critic_loss)
        assert report.warning == "" or training.step > 0


def test_evaluation_disturbs_nothing_and_repeats(lare):
    quiet, watched = trained(lare), trained(lare, steps=24)
    first = watched.evaluate()
    again = watched.evaluate()
    assert [each.return_mean for each in first] == [each.return_mean for each in again]
    for _ in range(12):
        watched.advance()
    assert same(quiet, watched)


def test_held_out_credit_is_what_the_monitor_sees(lare):
    training = trained(lare, steps=20)
    rewards = [
        float(np.asarray(training.state.replay.total)[0, episode])
        for episode in range(training.tracks[0].episodes)
    ]
    seen = training.tracks[0].monitor[-len(rewards) :]
    np.testing.assert_allclose(seen[:, 6], rewards, rtol=1e-5)
    assert training.tracks[0].training_return == pytest.approx(rewards[-1], rel=1e-5)


@pytest.mark.parametrize("part", ["observation", "reward"])
def test_a_number_that_is_not_finite_is_refused_by_name(lare, part):
    with pytest.raises(LareError, match=rf"^{part}: .*nan.*episode 1 \(seed 0\)"):
        trained(lare, steps=20, spoil=part)


def test_an_environment_that_outlives_the_time_limit_is_refused(lare):
    with pytest.raises(LareError, match=r"^max_steps: .*past 10 steps"):
        trained(lare, steps=20, limit=11)
    trained(lare, steps=20, limit=7)


@pytest.mark.parametrize("view", ["current", "next", "both"])
def test_the_encoder_looks_where_the_method_says(encoder, view):
    credit = replace(METHODS["lare"].credit, view=view)
    learner = make_learner(credit, encoder)
    o, o_next = jnp.array([[0.0, 0.0], [3.0, 0.1]]), jnp.array([[1.5, 0.1], [1.0, 0.2]])
    action = jnp.array([[0.5], [-1.0]])
    features = step_features(learner.credit, learner.encoder, o, action, o_next)
    now, then = np.array([[1.0, 0.25], [2.0, 1.0]]), np.array([[0.5, 0.25], [0.0, 1.0]])
    expected = {"current": now, "next": then, "both": np.concatenate([now, then], axis=1)}[view]
    np.testing.assert_allclose(features, expected, rtol=1e-6)
    assert learner.latent_size == expected.shape[1]
