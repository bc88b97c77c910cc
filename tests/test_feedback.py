"""What learners are told: bags, thresholds and noise are what NumPy says, and a resumed run draws the same noise."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from probe_world import HORIZON, line, push

from latent_reward.agents.ppo import PPO
from latent_reward.agents.td3 import TD3
from latent_reward.credit import metrics
from latent_reward.credit.methods import METHODS
from latent_reward.credit.reference import redistribute
from latent_reward.data.episodes import Episodes
from latent_reward.data.feedback import EPISODE_RETURNS, Feedback
from latent_reward.data.moments import init_moments
from latent_reward.envs.hosted import on_host
from latent_reward.envs.noise import observation_scales, with_noise
from latent_reward.envs.recorder import collect
from latent_reward.errors import LareError
from latent_reward.training.learner import team_learners
from latent_reward.training.off_policy import OffPolicy, replay_learner
from latent_reward.training.on_policy import OnPolicy, episode_learner
from latent_reward.training.plan import make_plan
from latent_reward.training.prepare import prepare

pytestmark = pytest.mark.usefixtures("compile_fast")

LENGTHS, STEPS = (10, 7, 4, 1, 0), 10
COPIES = 20
CHECKPOINT = "checkpoint.safetensors"


@pytest.fixture(scope="module")
def episodes():
    """Two agents; the last one is gone in the second half, and the second episode has terminated."""
    random, count = np.random.default_rng(0), len(LENGTHS)
    mask = np.repeat(np.arange(STEPS) < np.array(LENGTHS)[:, None], 2).reshape(count, STEPS, 2)
    mask[:, 5:, 1] = False
    terminated = np.zeros_like(mask)
    terminated[1, 6, 0] = True
    reward = np.where(mask, random.normal(size=mask.shape), 0.0).astype(np.float32)
    seen = random.normal(size=(count, STEPS + 1, 2, 3)).astype(np.float32)
    action = random.normal(size=(*mask.shape, 1)).astype(np.float32)
    arrays = (seen, action, mask, terminated, reward.sum(axis=(1, 2)), reward)
    return Episodes(*map(jnp.asarray, arrays))


def tell(feedback, episodes, told=None, dense=False):
    """What is told, in NumPy; the random key is 3."""
    compiled = jax.jit(lambda given, told: feedback.tell(given, told, jax.random.key(3), dense=dense)[0])
    return jax.tree.map(np.asarray, compiled(episodes, told))


@pytest.mark.parametrize("size", [1, 4, 99])
def test_bags_are_the_steps_of_episodes_cut_out(episodes, size):
    feedback = Feedback(every=size)
    bags = tell(feedback, episodes)
    size, count = min(size, STEPS), feedback.bags(STEPS)
    assert (feedback.horizon(STEPS), count) == (size, -(-STEPS // size))
    assert bags.mask.shape == (len(LENGTHS) * count, size, 2)
    whole = jax.tree.map(np.asarray, episodes)
    for number in range(len(LENGTHS)):
        for bag in range(count):
            begin, place = bag * size, number * count + bag
            length = max(0, min(LENGTHS[number] - begin, size, STEPS - begin))
            inside = slice(begin, begin + length)
            assert bags.mask[place].any(axis=1).sum() == length
            for name in ("action", "mask", "terminated", "hidden_reward"):
                np.testing.assert_array_equal(
                    getattr(bags, name)[place, :length], getattr(whole, name)[number, inside]
                )
            if length:  # with the observation that follows the last step
                frames = whole.observation[number, begin : begin + length + 1]
                np.testing.assert_array_equal(bags.observation[place, : length + 1], frames)
            assert not bags.mask[place, length:].any()
            paid = whole.hidden_reward[number, inside][whole.mask[number, inside]]
            assert bags.returns[place] == pytest.approx(paid.sum(), abs=1e-5)
    np.testing.assert_array_equal(feedback.join(jnp.asarray(bags.hidden_reward), STEPS), whole.hidden_reward)


def test_by_default_episodes_are_told_as_they_are(episodes):
    told, moments = EPISODE_RETURNS.tell(episodes, EPISODE_RETURNS.init(), jax.random.key(0))
    assert told is episodes
    assert moments is None
    assert str(EPISODE_RETURNS) == ""


def test_a_threshold_leaves_success_and_no_hidden_rewards(episodes):
    feedback = Feedback(every=5, threshold=-0.5)
    bags, told = tell(Feedback(every=5), episodes), tell(feedback, episodes)
    exists = bags.mask.any(axis=(1, 2))
    expected = np.where(exists & (bags.returns > -0.5), 100.0, 0.0)
    assert set(expected[exists]) == {0.0, 100.0}
    np.testing.assert_array_equal(told.returns, expected)
    np.testing.assert_allclose(told.hidden_reward.sum(axis=(1, 2)), expected, rtol=1e-6)
    for place in np.flatnonzero(exists):
        assert len(set(told.hidden_reward[place][bags.mask[place]])) == 1
    truth = tell(feedback, episodes, dense=True)
    np.testing.assert_array_equal(truth.hidden_reward, bags.hidden_reward)
    np.testing.assert_array_equal(truth.returns, bags.returns)


def test_noise_has_the_scale_of_what_was_told(episodes):
    feedback, key = Feedback(return_noise=0.5), jax.random.key(3)
    before = np.array([3.0, -1.0, 2.5])
    moments = init_moments(1)._replace(
        rows=jnp.array(3.0), mean=jnp.array([before.mean()]), spread=jnp.array([3 * before.var()])
    )
    told, after = feedback.tell(episodes, moments, key)
    true = np.asarray(episodes.returns)[:4]  # the fifth has no steps
    everything = np.concatenate([before, true])
    noise = 0.5 * everything.std() * np.asarray(jax.random.normal(key, (5,)))[:4]
    np.testing.assert_allclose(told.returns, [*(true + noise), 0.0], rtol=1e-5)
    assert float(after.rows) == 7
    np.testing.assert_allclose(after.mean, [everything.mean()], rtol=1e-5)
    first, _ = feedback.tell(jax.tree.map(lambda leaf: leaf[:1], episodes), feedback.init(), key)
    np.testing.assert_array_equal(first.returns, episodes.returns[:1])  # of one number no scale is known


@pytest.mark.parametrize(
    ("feedback", "message"),
    [
        ({"evry": 3}, r"feedback\.evry: there is no such setting \(did you mean every\?\)"),
        ({"every": 0}, r"feedback\.every: 0 is not possible; give a whole number of at least 1"),
        ({"every": True}, r"feedback\.every: True is not possible"),
        ({"every": 2.5}, r"feedback\.every: 2\.5 does not fit"),
        ({"threshold": float("nan")}, r"feedback\.threshold: nan is not possible"),
        ({"return_noise": -0.1}, r"feedback\.return_noise: -0\.1 is not possible"),
        ({"observation_noise": float("inf")}, r"feedback\.observation_noise: inf is not possible"),
        ({"threshold": "much"}, r"feedback\.threshold: 'much' does not fit"),
    ],
)
def test_wrong_feedback_is_refused_on_one_line(feedback, message):
    with pytest.raises(LareError, match=f"^{message}") as caught:
        prepare("Reacher-v5", feedback=feedback)
    assert "\n" not in str(caught.value)


def test_a_configuration_keeps_feedback_and_short_bags_let_long_episodes_in():
    config = prepare("Reacher-v5", feedback={"every": 5, "threshold": -20}).config
    assert config.feedback == Feedback(every=5, threshold=-20.0)
    assert config.ablations == "feedback every 5; threshold -20"
    with pytest.raises(LareError, match="method: arel"):
        prepare("HalfCheetah-v5", "arel")
    assert prepare("HalfCheetah-v5", "arel", feedback={"every": 100}).config.feedback.every == 100


# ---------------------------------------------------------------- in the loops


def off_policy(feedback, method="uniform", steps=40, seeds=(0, 7)):
    """TD3 in a world with termination, whose steps are noisy."""
    credit, agent, world = METHODS[method].replay, TD3(hidden=(8,)), push(wall=0.9)
    plan = make_plan(agent, {"steps": steps, "warmup": 12, "batch_size": 16, "evaluation_episodes": 2})
    learner = replay_learner(team_learners(world, credit, agent, (None,), feedback), plan)
    return OffPolicy(learner, plan, seeds, on_host(world))


def on_policy(feedback, method="rrd", world=None):
    credit, agent, world = METHODS[method].episodes, PPO(hidden=(8,), epochs=1), world or line(wall=0.6)
    credit = credit if method != "rrd" else type(credit)("next", "rrd", hidden=(8,), subset=2, batch_steps=32)
    sizes = {"iterations": 4, "episodes": 6, "buffer_episodes": 12, "first_updates": 2, "updates": 1}
    plan = make_plan(agent, {**sizes, "evaluation_episodes": 4})
    learner = episode_learner(team_learners(world, credit, agent, (None,), feedback), plan)
    return OnPolicy(learner, plan, (7,), world)


def leaves(tree):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]


def same(one, other):
    return all(np.array_equal(a, b) for a, b in zip(leaves(one), leaves(other), strict=True))


NOISY = Feedback(every=3, return_noise=0.5, observation_noise=0.2)


def test_a_resumed_run_off_policy_draws_the_same_noise(tmp_path):
    whole, stopped, again = (off_policy(NOISY, seeds=(7,)) for _ in range(3))
    for _ in range(40):
        whole.advance()
    for _ in range(29):
        stopped.advance()
    stopped.save(tmp_path / CHECKPOINT, "{}")
    again.restore(tmp_path / CHECKPOINT, "{}")
    assert again.arrays.observation[:, 0].any()
    for _ in range(11):
        again.advance()
    whole.flush_updates()
    again.flush_updates()
    assert same(whole.states, again.states)
    # what is stored are bags of at most three steps, without gaps, and nothing but the last of an episode terminates
    buffer = jax.tree.map(lambda leaf: np.asarray(leaf)[0], whole.state.buffer)
    count = int(buffer.newest_episode)
    assert count > whole.slots[0].episodes > 2
    assert set(buffer.length[:count]) <= {1, 2, 3}
    ended = np.flatnonzero(buffer.steps.terminated[:, 0])
    assert set(ended) <= set(buffer.start[:count] + buffer.length[:count] - 1)
    for training in (whole, stopped, again):
        training.close()


@pytest.mark.slow
def test_a_resumed_run_on_policy_draws_the_same_noise(tmp_path):
    whole, stopped, again = (on_policy(NOISY) for _ in range(3))
    for training, iterations in ((whole, 4), (stopped, 2)):
        training.advance(iterations * training.steps_per_round)
    stopped.save(tmp_path / CHECKPOINT, "{}")
    again.restore(tmp_path / CHECKPOINT, "{}")
    again.advance(4 * again.steps_per_round)
    assert same(whole.states, again.states)


def test_evaluations_are_true():
    """A policy that has learned nothing is judged the same, whatever learners are told."""
    hard = Feedback(every=3, threshold=0.0, return_noise=1.0, observation_noise=1.0)
    true, noisy = (on_policy(feedback, "dense") for feedback in (EPISODE_RETURNS, hard))
    for one, other in zip(true.evaluate(), noisy.evaluate(), strict=True):
        assert one.return_mean == other.return_mean


def test_the_rewards_of_bags_are_measured_at_their_steps():
    training = off_policy(Feedback(every=3), "dense", seeds=(0,))
    for _ in range(12):  # of the warm-up: nothing is learned
        training.advance()
    window = metrics.seen(training.slots[0].window)
    assert len(window) == training.slots[0].episodes > 0
    assert metrics.credit_correlation(window) == pytest.approx(1.0)
    training.close()


@pytest.mark.parametrize("world", [line(dead=0), on_host(push())], ids=["compiled", "host"])
def test_noise_has_the_scale_of_random_play(world):
    (scale,) = observation_scales(world)
    noisy = with_noise(world, 0.5)
    assert with_noise(world, 0.0) is world
    stages = []
    for each in (world, noisy):
        hosted = on_host(each)
        shape = (COPIES, world.teams[0].agents, *world.teams[0].actions.shape)
        nothing = np.zeros(shape, world.teams[0].actions.dtype), np.zeros(shape[:2], np.float32)
        envs = [hosted.make(None) for _ in range(COPIES)]
        stages.append(
            [collect(hosted, envs, range(COPIES), lambda *_, n=nothing: [n])[0].observation for _ in range(2)]
        )
    (clean, _), (seen, again) = stages
    np.testing.assert_array_equal(seen, again)  # of the same reset the same noise
    noise = (seen - clean).reshape(-1, len(scale))
    np.testing.assert_allclose(noise.std(axis=0), 0.5 * scale, rtol=0.25)
    assert np.abs(np.corrcoef(noise[1:, 0], noise[:-1, 0])[0, 1]) < 0.3


def test_scales_are_the_deviations_of_what_is_seen():
    scale = observation_scales(push())[0]
    assert scale.shape == (2,)
    # the second number is the share of the episode that is over
    np.testing.assert_allclose(scale[1], (np.arange(HORIZON) / HORIZON).std(), rtol=1e-5)


def test_references_spread_what_is_told(episodes):
    told = tell(Feedback(threshold=-0.5), episodes)
    for rule in ("episodic", "uniform"):
        paid = redistribute(rule, jnp.asarray(told.hidden_reward), jnp.asarray(told.mask))
        np.testing.assert_allclose(np.asarray(paid).sum(axis=(1, 2)), told.returns, rtol=1e-5)
