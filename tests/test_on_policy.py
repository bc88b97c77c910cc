"""The on-policy loop on a world whose rewards are known: credit is recovered, runs repeat, nothing hidden leaks."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from kinds import every_method
from probe_world import HORIZON, SOURCE, Sizes, line

from latent_reward.agents.ppo import PPO
from latent_reward.credit.methods import METHODS, PerStep, Reference
from latent_reward.credit.per_step import block_size
from latent_reward.data.spaces import Discrete
from latent_reward.envs.rollout import play
from latent_reward.errors import LareError
from latent_reward.sealing.verify import seal
from latent_reward.training import from_episodes as core
from latent_reward.training import on_policy
from latent_reward.training.learner import team_learners
from latent_reward.training.on_policy import OnPolicy, episode_learner
from latent_reward.training.plan import make_plan

pytestmark = pytest.mark.usefixtures("compile_fast")

EPISODES = 12
CHECKPOINT = "checkpoint.safetensors"


@pytest.fixture(scope="session")
def encoder():
    return seal(SOURCE, Sizes())


def credit_of(name):
    return METHODS[name].episodes


def make(encoder, method="lare", iterations=6, agent=None, seeds=(0,), **odd):
    """A training in the world ``line(**odd)``."""
    credit = credit_of(method)
    if isinstance(credit, PerStep):
        credit = replace(credit, hidden=(16,), learning_rate=1e-2, batch_steps=16 * HORIZON, subset=4)
    world = line(**odd)
    plan = make_plan(
        agent or PPO(hidden=(8,), epochs=2, learning_rate=3e-3),
        {
            "iterations": iterations, "episodes": EPISODES, "first_updates": 20, "updates": 10,
            "buffer_episodes": 4 * EPISODES, "evaluation_episodes": 6,
        },
    )  # fmt: skip
    encoders = (None if credit.latents == "none" else encoder,) * len(world.teams)
    teams = team_learners(world, credit, plan.agent, encoders)
    return OnPolicy(episode_learner(teams, plan), plan, seeds, world)


def run(training, iterations):
    training.advance(training.step + iterations * training.steps_per_round)
    return training


def played(training, episodes, key=0):
    """Episodes of the first seed's policies, one entry per team."""
    states = jax.tree.map(lambda leaf: leaf[0], training.states)
    learner, world = training.learner, training.world
    return jax.jit(lambda key: play(world, core.policies(learner, states), key, episodes))(
        jax.random.key(key)
    )


def arrays(training):
    return jax.tree.map(np.asarray, training.states)


def same(one, other):
    jax.tree.map(np.testing.assert_array_equal, one, other)


@pytest.mark.slow
def test_credit_of_each_agent_is_recovered_from_the_returns_of_the_team_and_helps(encoder, monkeypatch):
    monkeypatch.setattr(on_policy, "_PER_CALL", 40)
    agent = PPO(hidden=(16,), learning_rate=1e-2, epochs=4, minibatch=32)
    training = make(encoder, iterations=80, agent=agent)
    (before,) = run(training, 1).evaluate()
    (after,) = run(training, 40).evaluate()
    assert after.credit["credit_correlation"] > 0.95
    assert after.credit["explained_variance"] > 0.8
    assert after.return_mean > before.return_mean + 5  # from about −17; the best is about −7
    assert (before.step, after.step) == (EPISODES * HORIZON, 41 * EPISODES * HORIZON)
    assert after.warning == ""


@pytest.mark.parametrize("method", every_method("episodes"))
def test_every_method_learns_and_only_dense_is_told_more_than_returns(encoder, method):
    """What a team earns is moved to one agent and the last step: only a method that looks at rewards can tell."""
    credit = credit_of(method)
    training = make(
        seal(SOURCE.replace(", side]", "]"), Sizes()) if credit.latents == "one" else encoder, method
    )
    learner, (state,) = training.learner, jax.tree.map(lambda leaf: leaf[0], training.states)
    (first,) = played(training, EPISODES)

    @jax.jit
    def learn(state, reward):
        rewarded = first._replace(episodes=first.episodes._replace(hidden_reward=reward))
        key, told = jax.random.key(1), jnp.array(True)
        return core._learn(learner, learner.teams[0], state, rewarded, key, jnp.int32(0), told)[0]

    reward = first.episodes.hidden_reward
    np.testing.assert_array_equal(reward.sum(axis=(1, 2)), first.episodes.returns)
    moved = jnp.zeros_like(reward).at[:, -1, 0].set(first.episodes.returns)
    plain, told_late = (jax.tree.map(np.asarray, learn(state, each)) for each in (reward, moved))
    assert (plain.agent.parameters != state.agent.parameters).any()
    for leaf in jax.tree.leaves(plain):
        assert np.isfinite(leaf).all()
    if credit == Reference("dense"):
        assert (plain.agent.parameters != told_late.agent.parameters).any()
    else:
        same(plain, told_late)


def test_a_seed_trains_to_the_same_numbers_alone_and_among_others(encoder):
    both = run(make(encoder, seeds=(3, 1)), 2)
    alone = run(make(encoder, seeds=(1,)), 2)
    same(jax.tree.map(lambda leaf: leaf[1:], arrays(both)), arrays(alone))
    ours, theirs = (
        [replace(each, steps_per_second=0.0) for each in training.evaluate()] for training in (both, alone)
    )
    assert repr(ours[1]) == repr(theirs[0])  # numbers that are not known differ from themselves
    assert ours[0].return_mean != ours[1].return_mean
    again = [replace(each, steps_per_second=0.0) for each in both.evaluate()]
    assert repr(again) == repr(ours)


def test_a_restored_run_goes_on_to_the_same_numbers(encoder, tmp_path):
    whole, half, other = (make(encoder, seeds=(0, 1)) for _ in range(3))
    run(whole, 3)
    run(half, 1).save(tmp_path / CHECKPOINT, '{"a": {"b": 1}}')
    other.restore(tmp_path / CHECKPOINT, '{"a": {"b": 1}}')
    assert other.iteration == 1
    same(arrays(run(other, 2)), arrays(whole))
    with pytest.raises(LareError, match=r"^a\.b: the run was trained with 1, not with 2"):
        other.restore(tmp_path / CHECKPOINT, '{"a": {"b": 2}}')


def test_agents_that_never_live_and_what_they_see_leave_no_trace(encoder):
    training = run(make(encoder, "lare-rd", agents=4, dead=2), 2)
    for leaf in jax.tree.leaves(arrays(training)):
        assert np.isfinite(leaf).all()
    (state,) = training.states
    mask = np.asarray(state.buffer.steps.mask)[0, : 2 * EPISODES * HORIZON]
    assert mask[:, :2].all()
    assert not mask[:, 2:].any()
    features = np.asarray(state.buffer.steps.features)[0]
    assert features[:, :2].any()
    assert (features[:, 2:] == 0).all()


def test_an_episode_that_terminates_is_over(encoder):
    training = make(encoder, wall=0.6, forbidden=True)
    ((episodes, _, available, won),) = played(training, 40)
    assert won is None
    place = np.asarray(episodes.observation)[:, 1:, 0, 0]
    beyond = np.abs(place) > 0.6
    ended = beyond.any(axis=1)
    assert 0.2 < ended.mean() < 1
    first = np.where(ended, beyond.argmax(axis=1), HORIZON)
    running = np.arange(HORIZON) <= first[:, None]
    np.testing.assert_array_equal(episodes.mask, np.repeat(running[:, :, None], 3, axis=2))
    np.testing.assert_array_equal(episodes.lengths, np.minimum(first + 1, HORIZON))
    last = np.arange(HORIZON) == first[:, None]
    np.testing.assert_array_equal(episodes.terminated, np.repeat(last[:, :, None], 3, axis=2))
    cut = np.asarray(episodes.cut)
    np.testing.assert_array_equal(cut[:, -1].all(axis=1), ~ended)
    assert not cut[:, :-1].any()
    assert (np.asarray(episodes.hidden_reward)[~np.asarray(episodes.mask)] == 0).all()
    down, above = np.asarray(episodes.action) == 1, np.asarray(episodes.before)[..., 0] > 0
    assert not (down & above).any()
    np.testing.assert_array_equal(available[..., 1], ~above)
    run(training, 2)
    for leaf in jax.tree.leaves(arrays(training)):
        assert np.isfinite(leaf).all()


def test_two_teams_have_returns_decoders_and_policies_of_their_own(encoder):
    training = run(make(encoder, "lare-rd", teams=2), 2)
    first, second = training.evaluate()
    assert (first.team, second.team) == ("team0", "team1")
    assert first.return_mean < 0 < second.return_mean  # they are paid opposite things
    assert (first.who, second.who) == ("seed 0 team0", "seed 0 team1")
    one, other = arrays(training)
    assert (one.agent.parameters != other.agent.parameters).any()
    assert (one.buffer.returns < 0).any()
    assert (other.buffer.returns > 0).any()


def test_rewards_that_are_not_finite_stop_the_training():
    training = run(make(None, "dense", paid=np.nan, agent=PPO(hidden=(8,), epochs=1)), 1)
    with pytest.raises(
        LareError, match=r"^reward: line paid the team0 nan per episode up to step 96; .*correct"
    ):
        training.evaluate()


def test_blocks_divide_the_episodes_and_fit_the_cache():
    assert block_size(256, 150) == 4
    assert block_size(256, 5000) == 1
    assert block_size(1, 10) == 1
    for episodes, rows in ((82, 100), (97, 100), (640, 60)):
        block = block_size(episodes, rows)
        assert episodes % block == 0
        assert block * rows <= 1024


def test_teams_may_have_different_numbers_of_actions(encoder):
    """The second team cannot go up: its policy has two outputs, and the world reads all actions in one row."""
    training = make(encoder, teams=2)
    first, second = line(teams=2).teams
    world = replace(training.world, teams=(first, replace(second, actions=Discrete(2))))
    plan = training.plan
    teams = team_learners(world, credit_of("rd"), plan.agent, (None, None))
    training = run(OnPolicy(episode_learner(teams, plan), plan, (0,), world), 2)
    one, other = (np.asarray(each.episodes.action) for each in played(training, 20))
    assert set(one.flat) == {0, 1, 2}
    assert set(other.flat) == {0, 1}
    assert [np.isfinite(report.return_mean) for report in training.evaluate()] == [True, True]
