"""The off-policy loop on a toy environment: every method trains, every run repeats, nothing hidden leaks."""

from dataclasses import dataclass, replace

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from kinds import every_method

from latent_reward.agents.base import AgentSpec
from latent_reward.agents.td3 import TD3
from latent_reward.credit.base import CreditSpec
from latent_reward.credit.features import step_features
from latent_reward.credit.methods import METHODS, PerStep
from latent_reward.data.spaces import Continuous
from latent_reward.envs.single import single_world
from latent_reward.errors import LareError
from latent_reward.sealing.verify import seal
from latent_reward.training import from_replay as core
from latent_reward.training.from_replay import ReplayLearner
from latent_reward.training.learner import TeamLearner
from latent_reward.training.off_policy import OffPolicy, replay_learner
from latent_reward.training.plan import make_plan

pytestmark = pytest.mark.usefixtures("compile_fast")

HORIZON = 10
SOURCE = """
def evaluation_func(observation, action):
    distance = np.abs(observation[:, 0:1] - 1.0)
    effort = np.square(action)
    return [distance, effort]
"""


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


@pytest.fixture(scope="session")
def one_latent():
    return seal(SOURCE.replace(", effort]", "]"), Sizes())


def credit_of(name):
    return METHODS[name].replay


def make_learner(credit, encoder=None, policy_delay=2, agents=1):
    if isinstance(credit, PerStep):
        credit = replace(credit, hidden=(8,), batch_steps=32, subset=4)
    encoder = None if credit.latents == "none" else encoder
    actions = Continuous((-1.0,), (1.0,))
    team = TeamLearner(
        credit,
        CreditSpec(2, 1, agents, HORIZON, encoder),
        TD3(hidden=(8,), policy_delay=policy_delay),
        AgentSpec(2, actions),
    )
    return ReplayLearner(team, batch_size=16, capacity=60, refresh_episodes=2)


def world(**env):
    return single_world("Slide-v0", lambda mode: Slide(**env), HORIZON)


def trained(learner, seeds=(0,), steps=36, warmup=22, **env):
    """A training after so many steps; updates begin after the warm-up."""
    plan = make_plan(learner.agent, {"warmup": warmup, "evaluation_episodes": 2})
    training = OffPolicy(learner, plan, seeds, world(**env))
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
    return make_learner(credit_of("lare"), encoder)


@pytest.mark.parametrize("name", every_method("replay"))
def test_every_method_trains(name, encoder, one_latent):
    encoder = one_latent if credit_of(name).latents == "one" else encoder
    learner = make_learner(credit_of(name), encoder, policy_delay=1)  # half as much to compile
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
    method = learner.team.method
    assert np.isfinite(report.losses["decoder_loss"]) == method.draws
    measured = (report.losses["critic_loss"], report.return_mean, report.credit["explained_variance"])
    assert np.isfinite(measured).all()
    assert (report.step, report.episodes) == (26, 2)
    assert (report.seed, report.team) == (0, "")
    if name == "dense":
        assert report.credit["credit_correlation"] == pytest.approx(1.0)
    stored = training.state.buffer.steps
    # single steps are decoded whenever a reward is needed; the rewards of whole episodes are stored
    assert (stored.reward is None) == (method.reads == "step")
    size = method.feature_size(learner.team.credit) - method.derived_size(learner.team.credit)
    assert size == (0 if stored.features is None else stored.features.shape[-1])


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
        training.flush_updates()
        left += not np.array_equal(before, training.state.agent.critics.weights[0])
    assert left == 6  # every second step, but for the one at which an episode ends
    at_once = trained(lare)
    at_once.flush_updates()
    assert same(training, at_once)


@pytest.mark.parametrize("env", [{}, {"wall": 0.55}])
def test_two_seeds_in_lockstep_equal_two_single_runs(lare, env):
    together = trained(lare, seeds=(3, 4), **env)
    if env:  # the seeds' episodes end at different times
        assert not np.array_equal(*np.asarray(together.state.buffer.length))
    for index, seed in enumerate((3, 4)):
        alone = trained(lare, seeds=(seed,), **env)
        assert alone.slots[0].episodes == together.slots[index].episodes
        for one, other in zip(arrays(alone), arrays(together, index), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_nothing_is_compiled_anew_once_training_is_under_way(lare):
    functions = (core.update, core.explore, core.store, core.exploit)
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
    assert np.asarray(spread.state.credit.equations.episodes)[0] == spread.slots[0].episodes > 2
    assert not np.array_equal(spread.slots[0].window, late.slots[0].window, equal_nan=True)


def test_a_reference_method_sees_when_it_was_paid():
    learner = make_learner(credit_of("dense"))
    assert not same(trained(learner), trained(learner, late=True))


def test_a_direct_reward_is_the_encoders_whatever_is_paid(one_latent):
    learner = make_learner(credit_of("llm-reward"), one_latent)
    training = trained(learner, steps=20)
    assert same(training, trained(learner, steps=20, late=True))
    buffer = training.state.buffer
    start = int(buffer.start[0, 0])
    after = buffer.steps.observation[0, start + 1 : start + 1 + HORIZON, 0, 0]
    stored, mask = (leaf[0, start : start + HORIZON] for leaf in (buffer.steps.features, buffer.steps.mask))
    reward = learner.team.method.reward(training.state.credit, stored, mask)[:, 0]
    np.testing.assert_allclose(reward, np.abs(after - 1.0), rtol=1e-6)  # the latent of o′


def test_termination_reaches_the_buffer_and_a_time_limit_does_not(lare):
    cut, ended = (trained(lare, steps=20, **env).state.buffer for env in ({}, {"wall": 0.55}))
    assert not np.asarray(cut.steps.terminated).any()
    terminated, length = np.asarray(ended.steps.terminated)[0, :, 0], np.asarray(ended.length)[0]
    start, episodes = np.asarray(ended.start)[0], int(ended.newest_episode[0])
    short = [start[i] + length[i] - 1 for i in range(episodes) if length[i] < HORIZON]
    assert len(short) > 0
    assert terminated[short].all()
    assert terminated.sum() == len(short)


def test_nothing_is_learned_before_the_warm_up_or_the_first_whole_episode(lare):
    fresh = trained(lare, steps=0).state.agent
    for training in (trained(lare, steps=22, warmup=22), trained(lare, steps=10, warmup=0)):
        agent = training.state.agent._replace(
            mean_reward=fresh.mean_reward, seen=fresh.seen
        )  # measured before
        jax.tree.map(np.testing.assert_array_equal, agent, fresh)
        (report,) = training.evaluate()
        assert np.isnan(report.losses["critic_loss"])
        assert report.warning == "" or training.step > 0


def test_evaluation_disturbs_nothing_and_repeats(lare):
    quiet, watched = trained(lare), trained(lare, steps=24)
    first = watched.evaluate()
    again = watched.evaluate()
    assert [each.return_mean for each in first] == [each.return_mean for each in again]
    for _ in range(12):
        watched.advance()
    assert same(quiet, watched)


def test_held_out_credit_is_what_the_metrics_see(lare):
    training = trained(lare, steps=20)
    (slot,), returns = training.slots, np.asarray(training.state.buffer.returns)[0]
    seen = slot.window[-slot.episodes :]
    np.testing.assert_array_equal(seen[:, 0], HORIZON)
    np.testing.assert_allclose(seen[:, 2], returns[: slot.episodes], rtol=1e-5)
    assert slot.training_return == pytest.approx(returns[slot.episodes - 1], rel=1e-5)
    assert np.isnan(slot.window[: -slot.episodes]).all()
    # The first episode was predicted by a decoder that had seen nothing, which stands at 0.
    assert seen[0, 1] == 0.0
    assert seen[1, 1] != 0.0


@pytest.mark.parametrize("part", ["observation", "reward"])
def test_a_number_that_is_not_finite_is_refused_by_name(lare, part):
    with pytest.raises(LareError, match=rf"^{part}: .*nan.*episode 1 \(seed 0\)"):
        trained(lare, steps=20, spoil=part)


@pytest.mark.parametrize(("limit", "length"), [(11, HORIZON), (7, 7)])
def test_an_episode_is_cut_at_the_horizon_or_at_a_limit_before_it(lare, limit, length):
    training = trained(lare, steps=22, limit=limit)
    (slot,), buffer = training.slots, training.state.buffer
    assert slot.episodes == 22 // length
    np.testing.assert_array_equal(buffer.length[0, : slot.episodes], length)
    assert not np.asarray(buffer.steps.terminated).any()
    (report,) = training.evaluate()
    assert -2 * length < report.return_mean < 0


@dataclass(frozen=True)
class Ageing(PerStep):
    """Reads whole episodes, and gives every step the number of episodes that were seen: so rewards show their age."""

    @property
    def reads(self):
        return "episode"

    def reward(self, state, features, mask):
        assert features.ndim == 4
        assert features.shape[1] == mask.shape[1] == HORIZON
        return jnp.where(mask, state.mean_reward.rows, 0.0)


@pytest.mark.parametrize("method", ["rd", "lare-rd"])
def test_rewards_of_a_method_that_reads_episodes_are_stored_and_decoded_again_in_turn(encoder, method):
    learner = make_learner(Ageing(**vars(credit_of(method)) | {"kind": "per-step"}), encoder)
    training = trained(learner, steps=5 * HORIZON)
    buffer = training.state.buffer
    assert int(buffer.newest_episode[0] - buffer.oldest_episode[0]) == 5
    ages = np.array(
        [buffer.steps.reward[0, row : row + HORIZON, 0] for row in np.asarray(buffer.start)[0, :5]]
    )
    assert (ages == ages[:, :1]).all()
    # Stored at its own age; then two of all there are, whenever one ends: 0 and 1; then 2 and 3; 0 and 1 of four …
    expected = np.zeros(5)
    for ended in range(5):
        expected[ended] = ended + 1
        for turn in range(2):
            expected[(ended * 2 + turn) % (ended + 1)] = ended + 1
    np.testing.assert_array_equal(ages[:, 0], expected)
    assert all(np.isfinite(leaf).all() for leaf in arrays(training))


def test_more_than_one_agent_is_refused(encoder):
    learner = make_learner(credit_of("rd"), agents=2)
    with pytest.raises(LareError, match=r"^agent: td3 trains a single agent; train teams with ppo"):
        replay_learner((learner.team,), make_plan(learner.agent, {}))


def test_an_environment_that_does_not_repeat_itself_cannot_be_resumed(lare, tmp_path):
    training = trained(lare, steps=24)
    training.save(tmp_path / "checkpoint.safetensors", "{}")
    again = trained(lare, steps=0)
    again.restore(tmp_path / "checkpoint.safetensors", "{}")
    np.testing.assert_array_equal(again.slots[0].observation, training.slots[0].observation)
    again.slots[0].recorder.env.env.np_random  # noqa: B018 - seeded by the reset
    for slot in again.slots:
        slot.reset = lambda slot=slot: slot.recorder.begin(99)
    with pytest.raises(
        LareError, match=r"^resume: Slide-v0 did not repeat the \d+ steps .*add --drop-unfinished"
    ):
        again.restore(tmp_path / "checkpoint.safetensors", "{}")


@pytest.mark.parametrize("view", ["current", "next", "both"])
def test_the_encoder_looks_where_the_method_says(encoder, view):
    spec = CreditSpec(2, 1, 1, HORIZON, encoder)
    method = replace(credit_of("lare-rd"), view=view)
    o, o_next = jnp.array([[0.0, 0.0], [3.0, 0.1]]), jnp.array([[1.5, 0.1], [1.0, 0.2]])
    action = jnp.array([[0.5], [-1.0]])
    features = step_features(method.input, method.view, spec, o, action, o_next)
    now, then = np.array([[1.0, 0.25], [2.0, 1.0]]), np.array([[0.5, 0.25], [0.0, 1.0]])
    expected = {"current": now, "next": then, "both": np.concatenate([now, then], axis=1)}[view]
    np.testing.assert_allclose(features, expected, rtol=1e-6)
    assert method.feature_size(spec) == expected.shape[1]
