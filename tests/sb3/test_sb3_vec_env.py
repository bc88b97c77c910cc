"""CreditVecEnv around the environments of PPO and A2C."""

import numpy as np
import pytest

pytest.importorskip("stable_baselines3", reason="stable_baselines3 is not installed (extra `sb3`)")

from probe_env import HIGH, LOW, ProbeEnv
from stable_baselines3 import A2C, PPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor, VecNormalize
from test_sb3_buffer import Listening, make_credit, same

from latent_reward.adapters.sb3 import CreditVecEnv


def play(venv, steps):
    """Random steps: observations, actions, rewards, dones and infos of each."""
    rng = np.random.default_rng(0)
    before = venv.reset()
    for _ in range(steps):
        actions = rng.uniform(LOW, HIGH, (venv.num_envs, 2)).astype(np.float32)
        after, reward, done, infos = venv.step(actions)
        yield before, actions, after, reward, done, infos
        before = after


def test_rewards_are_the_credit_and_the_true_ones_are_in_infos():
    credit, asked = make_credit(Listening), []
    venv = CreditVecEnv(make_vec_env(ProbeEnv, n_envs=2), credit, fit_first=1)
    reward_of = credit.reward
    credit.reward = lambda *step: asked.append((step, reward_of(*step))) or asked[-1][1]
    envs = [env.unwrapped for env in venv.unwrapped.envs]
    paid = np.zeros(2)
    for number, (before, actions, after, reward, done, infos) in enumerate(play(venv, 40)):
        if number < 4:
            assert not reward.any()
            assert not asked
        else:
            (observation, action, reached, terminated), expected = asked[-1]
            np.testing.assert_array_equal(reward, expected)
            np.testing.assert_array_equal(observation, before)
            np.testing.assert_array_equal(action, actions)
            for env in range(2):
                true = infos[env]["terminal_observation"] if done[env] else after[env]
                np.testing.assert_array_equal(reached[env], true)
                assert terminated[env] == (done[env] and not infos[env]["TimeLimit.truncated"])
        paid += [info["true_reward"] for info in infos]
    np.testing.assert_array_equal(paid, [sum(told["ret"] for told in env.told) for env in envs])
    for number in range(2):  # both environments end their episodes in the same steps
        for episode, told in zip(credit.heard[number::2], envs[number].told, strict=True):
            same(episode, told)


def test_episode_statistics_inside_stay_true():
    for inside in (make_vec_env(ProbeEnv), VecMonitor(DummyVecEnv([ProbeEnv]))):
        venv = CreditVecEnv(inside, make_credit(), fit_first=1)
        (env,) = venv.get_attr("unwrapped")
        returns = [infos[0]["episode"]["r"] for *_, done, infos in play(venv, 30) if done[0]]
        assert returns == [told["ret"] for told in env.told]


def test_a_reset_drops_the_steps_before_it():
    credit = make_credit(Listening)
    venv = CreditVecEnv(make_vec_env(ProbeEnv), credit, fit_first=1)
    (env,) = venv.get_attr("unwrapped")
    for steps in (6, 5):
        list(play(venv, steps))
    for episode, told in zip(credit.heard, env.told, strict=True):
        same(episode, told)
    assert len(credit.heard) == 2


@pytest.mark.parametrize("algorithm", [PPO, A2C])
def test_algorithms_train_with_normalised_observations(algorithm):
    credit = make_credit()
    venv = VecNormalize(CreditVecEnv(make_vec_env(ProbeEnv, n_envs=2), credit))
    model = algorithm("MlpPolicy", venv, n_steps=32, policy_kwargs={"net_arch": [8]}, device="cpu", seed=0)
    before = [value.clone() for value in model.policy.parameters()]
    model.learn(128)
    assert credit.episodes > 20
    assert any((value != old).any() for value, old in zip(model.policy.parameters(), before, strict=True))
    assert {info["r"] for info in model.ep_info_buffer} <= {0.0, 1.0, 2.0, 3.0, 4.0}
