"""CreditReplayBuffer inside the algorithms of Stable-Baselines3 and SBX."""

import warnings

import gymnasium
import numpy as np
import pytest

pytest.importorskip("stable_baselines3", reason="stable_baselines3 is not installed (extra `sb3`)")

with warnings.catch_warnings():  # of the packages that it imports
    warnings.simplefilter("ignore")
    import sbx

from probe_env import HIGH, HORIZON, LOW, ProbeEnv
from stable_baselines3 import DQN, SAC, TD3
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecNormalize

import latent_reward as lr
from latent_reward.adapters.sb3 import CreditReplayBuffer


def make_credit(kind=lr.Credit, **settings):
    spaces = {"observation_space": ProbeEnv.observation_space, "action_space": ProbeEnv.action_space}
    return kind(**{"horizon": HORIZON, "method": "rrd-unbiased", **spaces, **settings})


class Listening(lr.Credit):
    """Keeps what it is given."""

    def __init__(self, **settings):
        self.heard, self.fitted = [], []
        super().__init__(**settings)

    def add(self, *episodes):
        self.heard += episodes
        super().add(*episodes)

    def fit(self, updates=1):
        self.fitted.append(updates)
        return super().fit(updates)


def make_model(env, credit, algorithm=SAC, policy_kwargs=None, **settings):
    settings = {"replay_buffer_kwargs": {"credit": credit, "fit_first": 3, **settings}}
    small = {"learning_starts": 10, "batch_size": 16, "buffer_size": 500, "seed": 0, "device": "cpu"}
    small["policy_kwargs"] = {"net_arch": [8], **(policy_kwargs or {})}
    return algorithm("MlpPolicy", env, replay_buffer_class=CreditReplayBuffer, **small, **settings)


def in_units(scaled):
    """Written down from the definition: −1 is the lower bound, 1 the upper."""
    return LOW + (np.asarray(scaled) + 1) / 2 * (HIGH - LOW)


def same(episode, told):
    assert episode.ret == told["ret"]
    assert episode.terminated == told["terminated"]
    assert episode.rewards is None
    np.testing.assert_array_equal(episode.observations, told["observations"])
    np.testing.assert_allclose(episode.actions, told["actions"], atol=1e-5)


@pytest.fixture(scope="module")
def trained():
    """Two environments, 100 steps of SAC."""
    venv = make_vec_env(ProbeEnv, n_envs=2)
    credit = make_credit(Listening)
    model = make_model(venv, credit)
    model.learn(200)
    return model, credit, [env.unwrapped for env in venv.envs]


def test_rewards_of_a_batch_are_the_credit_of_its_raw_steps(trained):
    model, credit, _ = trained
    batch = model.replay_buffer.sample(32)
    actions = in_units(batch.actions)
    expected = credit.reward(batch.observations.numpy(), actions, batch.next_observations.numpy())
    assert batch.rewards.shape == (32, 1)
    np.testing.assert_allclose(batch.rewards.numpy()[:, 0], expected, rtol=1e-5, atol=1e-6)
    assert expected.std() > 0
    assert not model.replay_buffer.rewards.any()


def test_episodes_arrive_as_the_environments_played_them(trained):
    _, credit, envs = trained
    assert credit.episodes == len(credit.heard) == sum(len(env.told) for env in envs) > 30
    for env in envs:
        heard = [
            episode
            for episode in credit.heard
            if any(np.array_equal(episode.observations, told["observations"]) for told in env.told)
        ]
        assert len(heard) == len(env.told)
        for episode, told in zip(heard, env.told, strict=True):
            same(episode, told)
    assert {len(episode) for episode in credit.heard} == {4, 7}


def test_steps_that_a_time_limit_ended_are_not_done(trained):
    model, _, _ = trained
    batch = model.replay_buffer.sample(200)
    last = batch.next_observations[:, 1].numpy()
    long = batch.next_observations[:, 0].numpy() % 2 == 0
    np.testing.assert_array_equal(batch.dones.numpy()[:, 0], (last == 4) & ~long)


def test_a_step_counts_as_terminated_only_where_the_episode_ended_of_its_own(trained):
    model, _, _ = trained
    buffer = model.replay_buffer
    after = buffer.next_observations[: buffer.pos]
    np.testing.assert_array_equal(
        buffer.terminated[: buffer.pos], (after[..., 1] == 4) & (after[..., 0] % 2 == 1)
    )


def test_only_the_return_reaches_the_credit():
    rewards = []
    for paid in ("first", "last"):
        credit = make_credit()
        model = make_model(ProbeEnv(paid), credit)
        model.learn(60)
        rewards.append(model.replay_buffer.sample(64).rewards.numpy())
        assert credit.episodes > 8
    np.testing.assert_array_equal(*rewards)


def test_rewards_are_zero_until_an_episode_has_ended():
    credit = make_credit()
    buffer = make_model(ProbeEnv(), credit).replay_buffer
    step = {"obs": np.zeros((1, 3)), "next_obs": np.zeros((1, 3)), "action": np.zeros((1, 2))}
    buffer.add(**step, reward=np.ones(1), done=np.zeros(1, bool), infos=[{}])
    assert not buffer.sample(8).rewards.any()
    buffer.add(**step, reward=np.ones(1), done=np.ones(1, bool), infos=[{}])
    assert credit.episodes == 1
    assert buffer.sample(8).rewards.all()


@pytest.mark.parametrize(
    ("settings", "fitted"),
    [
        ({"updates_per_step": 2.0, "fit_first": 0}, [8, 14, 8]),
        ({"updates_per_step": 0.3, "fit_first": 0}, [2, 3, 2]),
        ({"updates_per_step": 2.0, "fit_first": 0, "max_updates": 9}, [8, 9, 8]),
        ({"updates_per_step": 1.0, "fit_first": 6}, [6, 7, 6]),
        ({"updates_per_step": 1.0, "fit_first": 0, "max_updates": 0}, []),
    ],
)
def test_updates_follow_the_settings(settings, fitted):
    credit = make_credit(Listening)
    make_model(ProbeEnv(), credit, **settings).learn(16)
    assert credit.fitted == fitted


def test_a_trained_credit_can_be_left_as_it_is(trained):
    _, credit, _ = trained
    before = credit.episodes, credit.updates
    model = make_model(ProbeEnv(), credit, updates_per_step=0.0)
    model.learn(20)
    assert (credit.episodes, credit.updates) == before
    assert model.replay_buffer.sample(8).rewards.all()


def test_a_credit_that_a_run_has_trained_needs_no_episodes(monkeypatch):
    credit = make_credit()  # one without episodes, as those of runs are
    monkeypatch.setattr(credit, "reward", lambda observation, *_: np.full(len(observation), 7.0))
    model = make_model(ProbeEnv(), credit, updates_per_step=0.0)
    model.learn(20)
    assert credit.episodes == 0
    assert (model.replay_buffer.sample(8).rewards == 7).all()


def test_steps_before_a_reset_are_dropped():
    credit, env = make_credit(Listening), ProbeEnv()
    model = make_model(env, credit)
    model.learn(6)  # 4 and 2 steps
    model.learn(7)  # begins with a reset; the third episode has 4 steps
    for episode, told in zip(credit.heard, env.told, strict=True):
        same(episode, told)
    assert [len(episode) for episode in credit.heard] == [4, 4]


def test_vec_normalize_changes_the_batch_and_not_what_credit_sees():
    credit = make_credit(Listening)
    inside = make_vec_env(ProbeEnv)
    venv = VecNormalize(inside)
    model = make_model(venv, credit)
    model.learn(60)
    for episode, told in zip(credit.heard, inside.envs[0].unwrapped.told, strict=True):
        np.testing.assert_allclose(episode.observations, told["observations"], atol=1e-4)
        assert episode.ret == told["ret"]
    np.random.seed(0)  # noqa: NPY002 - the generator that the library samples with
    raw = model.replay_buffer.sample(16)
    np.random.seed(0)  # noqa: NPY002
    normal = model.replay_buffer.sample(16, env=venv)
    np.testing.assert_allclose(
        normal.observations, venv.normalize_obs(raw.observations.numpy()), rtol=1e-5, atol=1e-6
    )
    np.testing.assert_allclose(normal.rewards, venv.normalize_reward(raw.rewards.numpy()), rtol=1e-5)


@pytest.mark.parametrize("algorithm", [TD3, sbx.SAC, sbx.TD3])
def test_other_algorithms_train(algorithm):
    credit = make_credit()
    model = make_model(ProbeEnv(), credit, algorithm)
    model.learn(300)
    assert credit.episodes > 50
    assert model.num_timesteps == 300


def test_discrete_actions_arrive_as_whole_numbers():
    env = gymnasium.make("CartPole-v1")
    credit = Listening(
        observation_space=env.observation_space, action_space=env.action_space, horizon=500, method="rrd"
    )
    model = make_model(env, credit, DQN)
    model.learn(100)
    assert credit.episodes > 1
    for episode in credit.heard:
        assert set(episode.actions) <= {0, 1}
        assert episode.ret == len(episode)
    assert model.replay_buffer.sample(8).rewards.all()


def test_saved_models_and_buffers_take_their_credit_along(tmp_path):
    credit = make_credit()
    model = make_model(ProbeEnv(), credit)
    model.learn(30)
    model.save(tmp_path / "model")
    model.save_replay_buffer(tmp_path / "buffer")
    batch = [np.asarray(each) for each in model.replay_buffer.sample(8)[:3]]
    step = batch[0], in_units(batch[1]), batch[2]
    expected = credit.reward(*step)

    loaded = SAC.load(tmp_path / "model", env=ProbeEnv(), device="cpu")
    assert loaded.replay_buffer.size() == 0
    np.testing.assert_array_equal(loaded.replay_buffer.credit.reward(*step), expected)
    loaded.load_replay_buffer(tmp_path / "buffer")
    assert loaded.replay_buffer.size() == 30
    np.testing.assert_array_equal(loaded.replay_buffer.credit.reward(*step), expected)
    loaded.learn(30, reset_num_timesteps=False)
    assert loaded.replay_buffer.credit.episodes > credit.episodes

    credit.save(tmp_path / "credit")
    other = {"credit": lr.Credit.load(tmp_path / "credit"), "updates_per_step": 0.0}
    loaded = SAC.load(tmp_path / "model", device="cpu", custom_objects={"replay_buffer_kwargs": other})
    assert loaded.replay_buffer.credit is other["credit"]
