"""The on-policy loop on a world whose rewards are known: credit is recovered, runs repeat, nothing hidden leaks."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from probe_world import HORIZON, SOURCE, Sizes, line

from latent_reward.agents.ppo import PPOConfig
from latent_reward.credit.features import reads_latents
from latent_reward.credit.methods import TEAM_METHODS, Direct, Fixed, Learned
from latent_reward.errors import LareError
from latent_reward.sealing.verify import seal
from latent_reward.training import on_policy
from latent_reward.training import team_learner as core
from latent_reward.training.on_policy import OnPolicy, steps_per_iteration
from latent_reward.training.plan import Fitting, TeamSchedule
from latent_reward.training.team_learner import TeamLearner

EPISODES = 12
CHECKPOINT = "checkpoint.safetensors"


@pytest.fixture(scope="module", autouse=True)
def _compile_fast():
    """Most of the time goes into compiling programs that run for a moment; leave them unoptimised."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture(scope="session")
def encoder():
    return seal(SOURCE, Sizes())


def make(*arguments, seeds=(0,), **settings):
    return start(make_learner(*arguments, **settings), seeds)


def start(learner, seeds=(0,)):
    return OnPolicy(learner, TeamSchedule(evaluation_episodes=6), seeds)


def make_learner(encoder, method="lare", iterations=6, agent=None, **odd):
    credit = TEAM_METHODS[method].credit
    if isinstance(credit, Learned):
        credit = replace(credit, hidden=(16,), learning_rate=1e-2, batch_steps=16 * HORIZON, subset=4)
    world = line(**odd)
    latent = reads_latents(credit)
    return TeamLearner(
        world=world,
        credit=credit,
        encoders=(encoder if latent else None,) * len(world.teams),
        agent=agent or PPOConfig(hidden=(8,), epochs=2, learning_rate=3e-3),
        iterations=iterations,
        episodes=EPISODES,
        fitting=Fitting(first_updates=20, updates=10, buffer_episodes=4 * EPISODES),
    )


def run(training, iterations):
    training.advance(training.step + iterations * steps_per_iteration(training.learner))
    return training


def arrays(training):
    return jax.tree.map(np.asarray, training.states)


def same(one, other):
    jax.tree.map(np.testing.assert_array_equal, one, other)


def test_credit_of_each_agent_is_recovered_from_the_returns_of_the_team_and_helps(encoder, monkeypatch):
    monkeypatch.setattr(on_policy, "_PER_CALL", 40)
    agent = PPOConfig(hidden=(16,), learning_rate=1e-2, epochs=4, minibatch=32)
    training = make(encoder, iterations=80, agent=agent)
    (before,) = run(training, 1).evaluate()
    (after,) = run(training, 40).evaluate()
    assert after.credit_correlation > 0.95
    assert after.explained_variance > 0.8
    assert after.return_mean > before.return_mean + 5  # from about −17; the best is about −7
    assert (before.step, after.step) == (EPISODES * HORIZON, 41 * EPISODES * HORIZON)
    assert after.warning == ""


@pytest.mark.parametrize("method", TEAM_METHODS)
def test_every_method_learns_and_only_dense_is_told_more_than_returns(encoder, method):
    """What a team earns is moved to one agent and the last step: only a method that looks at rewards can tell."""
    if isinstance(TEAM_METHODS[method].credit, Direct):
        encoder = seal(SOURCE.replace(", side]", "]"), Sizes())
    learner = make_learner(encoder, method)
    (state,) = core._init(learner, jax.random.key(0))
    actors = core.actors(learner, (state,))
    (rollout,) = jax.jit(core.play, static_argnums=(0, 3))(learner.world, actors, jax.random.key(0), EPISODES)

    @jax.jit
    def learn(state, reward):
        return core.learn(
            learner, 0, state, rollout._replace(reward=reward), jax.random.key(1), jnp.int32(0)
        )[0]

    moved = jnp.zeros_like(rollout.reward).at[-1, :, 0].set(rollout.returns)
    plain, told_late = (jax.tree.map(np.asarray, learn(state, each)) for each in (rollout.reward, moved))
    assert (plain.agent.parameters != state.agent.parameters).any()
    for leaf in jax.tree.leaves(plain):
        assert np.isfinite(leaf).all()
    if TEAM_METHODS[method].credit == Fixed("dense"):
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
    assert ours[1] == theirs[0]
    assert ours[0].return_mean != ours[1].return_mean
    again = [replace(each, steps_per_second=0.0) for each in both.evaluate()]
    assert again == ours


def test_a_restored_run_goes_on_to_the_same_numbers(encoder, tmp_path):
    learner = make_learner(encoder)
    whole, half, other = (start(learner, (0, 1)) for _ in range(3))
    run(whole, 3)
    run(half, 1).save(tmp_path / CHECKPOINT, '{"a": {"b": 1}}')
    other.restore(tmp_path / CHECKPOINT, '{"a": {"b": 1}}')
    assert other.iteration == 1
    same(arrays(run(other, 2)), arrays(whole))
    with pytest.raises(LareError, match=r"^a\.b: the run was trained with 1, and 2"):
        other.restore(tmp_path / CHECKPOINT, '{"a": {"b": 2}}')


def test_agents_that_never_live_and_what_they_see_leave_no_trace(encoder):
    training = run(make(encoder, agents=4, dead=2), 2)
    for leaf in jax.tree.leaves(arrays(training)):
        assert np.isfinite(leaf).all()
    (state,) = training.states
    mask = np.asarray(state.replay.mask)[0, : 2 * EPISODES]
    assert mask[:, :, :2].all()
    assert not mask[:, :, 2:].any()
    assert (np.asarray(state.replay.features)[0][:, :, 2:] == 0).all()


def one_seed(training):
    return jax.tree.map(lambda leaf: leaf[0], training.states)


def test_an_episode_that_terminates_is_over(encoder):
    training = make(encoder, wall=0.6, forbidden=True)
    rollout = jax.jit(core.play, static_argnums=(0, 3))(
        training.learner.world, core.actors(training.learner, one_seed(training)), jax.random.key(0), 40
    )[0]
    place = np.asarray(rollout.observation)[1:, :, 0, 0]
    beyond = np.abs(place) > 0.6
    assert 0.2 < beyond.any(axis=0).mean() < 1
    first = np.where(beyond.any(axis=0), beyond.argmax(axis=0), HORIZON)
    running = np.arange(HORIZON)[:, None] <= first
    np.testing.assert_array_equal(rollout.mask, np.repeat(running[:, :, None], 3, axis=2))
    cut = np.asarray(rollout.cut)
    np.testing.assert_array_equal(cut[-1].all(axis=1), ~beyond.any(axis=0))
    assert not cut[:-1].any()
    assert (np.asarray(rollout.reward)[~np.asarray(rollout.mask)] == 0).all()
    down = np.asarray(rollout.action) == 1
    assert not (down & (np.asarray(rollout.observation)[:-1, :, :, 0] > 0)).any()
    run(training, 2)
    for leaf in jax.tree.leaves(arrays(training)):
        assert np.isfinite(leaf).all()


def test_two_teams_have_returns_decoders_and_policies_of_their_own(encoder):
    training = run(make(encoder, teams=2), 2)
    first, second = training.evaluate()
    assert (first.team, second.team) == ("team0", "team1")
    assert first.return_mean < 0 < second.return_mean  # they are paid opposite things
    assert (first.who, second.who) == ("seed 0 team0", "seed 0 team1")
    one, other = arrays(training)
    assert (one.agent.parameters != other.agent.parameters).any()
    assert (one.replay.returns < 0).any()
    assert (other.replay.returns > 0).any()


def test_rewards_that_are_not_finite_stop_the_training():
    training = run(make(None, "dense", paid=np.nan, agent=PPOConfig(hidden=(8,), epochs=1)), 1)
    with pytest.raises(
        LareError, match=r"^reward: line paid the team0 nan per episode up to step 96; .*mend"
    ):
        training.evaluate()


def test_blocks_divide_the_episodes_and_fit_the_cache():
    assert core.block_size(256, 150) == 4
    assert core.block_size(256, 5000) == 1
    assert core.block_size(1, 10) == 1
    for episodes, rows in ((82, 100), (97, 100), (640, 60)):
        block = core.block_size(episodes, rows)
        assert episodes % block == 0
        assert block * rows <= 1024
