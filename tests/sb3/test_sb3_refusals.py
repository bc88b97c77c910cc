"""What cannot work is refused with the field, the value and the remedy."""

import importlib
import sys

import gymnasium
import numpy as np
import pytest

pytest.importorskip("stable_baselines3", reason="stable_baselines3 is not installed (extra `sb3`)")

from probe_env import HORIZON, ProbeEnv
from stable_baselines3 import SAC
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecNormalize
from test_sb3_buffer import make_credit, make_model

import latent_reward as lr
from latent_reward.adapters import sb3
from latent_reward.adapters.sb3 import CreditReplayBuffer, CreditVecEnv


def other(name, **spaces):
    """A class of environments like the probe, with other spaces."""
    return type(name, (ProbeEnv,), spaces)


Box = gymnasium.spaces.Box
SPACES = {
    "it is for 3 observation fields, and the environment has 4": other(
        "Wide", observation_space=Box(-1, 1, (4,))
    ),
    "it is for 2 action fields, and the environment has 3 action": other(
        "Long", action_space=Box(-1, 1, (3,))
    ),
    "it is for actions from": other("Scaled", action_space=Box(-1, 1, (2,))),
    r"observation_space: Discrete\(3\) cannot be used": other(
        "Choice", observation_space=gymnasium.spaces.Discrete(3)
    ),
    r"observation_space: Box\(.*2, 2.*flatten": other("Picture", observation_space=Box(-1, 1, (2, 2))),
    "it is for 2 action fields, and the environment has one of 2 actions": other(
        "Buttons", action_space=gymnasium.spaces.Discrete(2)
    ),
    r"the environment has Discrete\(2, start=1\)": other(
        "Floors", action_space=gymnasium.spaces.Discrete(2, start=1)
    ),
    "the environment has MultiBinary": other("Switches", action_space=gymnasium.spaces.MultiBinary(2)),
}


@pytest.mark.parametrize("message", SPACES)
def test_spaces_that_do_not_fit(message):
    env, credit = SPACES[message](), make_credit()
    with pytest.raises(lr.LareError, match=message):
        CreditReplayBuffer(10, env.observation_space, env.action_space, credit=credit)
    with pytest.raises(lr.LareError, match=message):
        CreditVecEnv(make_vec_env(SPACES[message]), credit)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "dense"}, "method: dense has no reward for single steps"),
        ({"method": "uniform"}, "method: uniform has no reward for single steps"),
        ({"agents": 2, "action_space": gymnasium.spaces.Discrete(2)}, "agents: the credit is of a team of 2"),
    ],
)
def test_credits_without_a_reward_for_single_steps(settings, message):
    with pytest.raises(lr.LareError, match=message):
        make_model(ProbeEnv(), make_credit(**settings))


def test_a_method_that_reads_whole_episodes():
    with pytest.raises(lr.LareError, match="method: stas has no reward for single steps"):
        CreditVecEnv(make_vec_env(ProbeEnv), make_credit(method="stas"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"updates_per_step": -1.0}, "updates_per_step: -1.0 is not possible"),
        ({"max_updates": -1}, "max_updates: -1 is not possible"),
        ({"fit_first": -5}, "fit_first: -5 is not possible"),
        ({"updates_per_step": np.inf}, "updates_per_step: inf is not possible"),
    ],
)
def test_settings_that_are_not_possible(settings, message):
    with pytest.raises(lr.LareError, match=message):
        make_model(ProbeEnv(), make_credit(), **settings)


def test_no_credit_and_something_else():
    with pytest.raises(lr.LareError, match="credit: it is missing; give replay_buffer_kwargs"):
        SAC("MlpPolicy", ProbeEnv(), replay_buffer_class=CreditReplayBuffer)
    with pytest.raises(lr.LareError, match="credit: str is not possible; give a Credit"):
        make_model(ProbeEnv(), "Reacher-v5")


def test_memory_cannot_be_optimised():
    with pytest.raises(lr.LareError, match=r"optimize_memory_usage: .*leave it out"):
        CreditReplayBuffer(
            10,
            ProbeEnv.observation_space,
            ProbeEnv.action_space,
            optimize_memory_usage=True,
            credit=make_credit(),
        )


def test_an_environment_alone_and_normalised_ones():
    with pytest.raises(lr.LareError, match="venv: ProbeEnv is not possible; make a VecEnv"):
        CreditVecEnv(ProbeEnv(), make_credit())
    with pytest.raises(lr.LareError, match="venv: VecNormalize inside"):
        CreditVecEnv(VecNormalize(make_vec_env(ProbeEnv)), make_credit())


def test_an_episode_beyond_the_horizon():
    model = make_model(ProbeEnv(), make_credit(horizon=HORIZON - 1))
    with pytest.raises(lr.LareError, match="horizon: an episode goes on after 6 steps"):
        model.learn(20)


@pytest.mark.parametrize(
    ("seen", "paid", "message"),
    [(0.0, np.nan, "its return is nan"), (np.nan, 0.0, "episode 0: observations")],
)
def test_numbers_that_are_not_finite(seen, paid, message):
    buffer = make_model(ProbeEnv(), make_credit()).replay_buffer
    step = {"obs": np.full((1, 3), seen), "next_obs": np.full((1, 3), seen), "action": np.zeros((1, 2))}
    buffer.add(**step, reward=np.array([paid]), done=np.zeros(1, bool), infos=[{}])
    with pytest.raises(lr.LareError, match=message):
        buffer.add(**step, reward=np.array([paid]), done=np.ones(1, bool), infos=[{}])


def test_the_package_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "stable_baselines3.common.buffers", None)
    with pytest.raises(lr.LareError, match=r'needs the package stable_baselines3 .*"latent-reward\[sb3\]"'):
        importlib.reload(sb3)
