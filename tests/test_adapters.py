"""Environments whose rewards are learned: what the trainer sees, what is kept, and the examples."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import gymnasium
import numpy as np
import pytest

import latent_reward as lr
from latent_reward.adapters.gymnasium import CreditWrapper
from latent_reward.adapters.pettingzoo import ParallelCreditWrapper

EXAMPLES = Path(__file__).parents[1] / "examples" / "own_loop"


class Push(gymnasium.Env):
    """Pays the action; five steps."""

    observation_space = gymnasium.spaces.Box(-1, 1, (2,))
    action_space = gymnasium.spaces.Discrete(3)

    def __init__(self, steps=5):
        self.steps, self.step_number = steps, 0

    def reset(self, *, seed=None, options=None):
        self.step_number = 0
        return np.zeros(2, np.float32), {}

    def step(self, action):
        self.step_number += 1
        over = self.step_number == self.steps
        return np.full(2, self.step_number, np.float32), float(action), False, over, {"own": 1}


def credit(**settings):
    given = {
        "observation_space": 2,
        "action_space": gymnasium.spaces.Discrete(3),
        "horizon": 5,
        "method": "rrd",
    }
    return lr.Credit(**given | settings)


def test_the_trainer_sees_learned_rewards_and_the_true_ones_are_kept():
    assigner = credit()
    env = CreditWrapper(Push(), assigner, fit_every=2, updates=3)
    for episode in range(4):
        env.reset()
        for step in range(5):
            before = np.full(2, step, np.float32)
            expected = assigner.reward([before], [2], [before + 1])[0]
            _, reward, terminated, truncated, info = env.step(2)
            assert reward == pytest.approx(expected, rel=1e-6)
            assert (info["own"], info["true_reward"]) == (1, 2.0)
            assert ("true_return" in info) == truncated == (step == 4)
            assert not terminated
        assert info["true_return"] == 10.0
        assert (assigner.episodes, assigner.updates) == (episode + 1, 3 * ((episode + 1) // 2))
    assert np.isnan(assigner.quality["explained_variance"])  # every return is 10
    with pytest.raises(lr.LareError, match="reset the environment"):
        env.step(0)


def test_an_unfinished_episode_is_forgotten():
    assigner = credit()
    env = CreditWrapper(Push(), assigner, updates=0)
    env.reset()
    env.step(1)
    env.reset()
    for _ in range(5):
        env.step(1)
    assert (assigner.episodes, assigner.updates) == (1, 0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"observation_space": 3}, r"\(3,\)"),
        ({"action_space": gymnasium.spaces.Discrete(2)}, "actions 3"),
        ({"agents": 2}, "2. Make the credit"),
        ({"method": "uniform"}, "method: uniform has no reward for single steps"),
    ],
)
def test_a_credit_that_does_not_fit_is_refused(settings, message):
    with pytest.raises(lr.LareError, match=message):
        CreditWrapper(Push(), credit(**settings))


def test_an_episode_that_is_too_long_is_named():
    env = CreditWrapper(Push(steps=9), credit())
    env.reset()
    for _ in range(5):
        env.step(0)
    with pytest.raises(lr.LareError, match="longer than the 5 steps"):
        env.step(0)


class Pair:
    """Two agents of PettingZoo's parallel interface; the second leaves after two steps."""

    possible_agents = ("a", "b")
    metadata = {"name": "pair"}  # noqa: RUF012

    def observation_space(self, agent):
        return gymnasium.spaces.Box(-1, 1, (2,))

    def action_space(self, agent):
        return gymnasium.spaces.Discrete(3)

    def reset(self, seed=None, options=None):
        self.agents, self.number = ["a", "b"], 0
        return {name: np.zeros(2, np.float32) for name in self.agents}, {name: {} for name in self.agents}

    def step(self, actions):
        self.number += 1
        there = list(self.agents)
        over = {name: self.number == (4 if name == "a" else 2) for name in there}
        seen = {name: np.full(2, self.number, np.float32) for name in there}
        self.agents = [name for name in there if not over[name]]
        never = dict.fromkeys(there, False)
        return seen, {name: float(actions[name]) for name in there}, over, never, {name: {} for name in there}


def test_a_team_sees_learned_rewards_and_agents_may_leave():
    assigner = credit(agents=2)
    env = ParallelCreditWrapper(Pair(), assigner, updates=2)
    assert env.metadata == {"name": "pair"}
    env.reset(seed=0)
    infos = {}
    while env.agents:
        there = list(env.agents)
        _, paid, _, _, infos = env.step({name: 1 if name == "a" else 2 for name in there})
        assert set(paid) == set(there) == set(infos)
        assert infos["a"]["true_reward"] == 1.0
    assert infos["a"]["true_return"] == 4 + 2 * 2
    assert (assigner.episodes, assigner.updates) == (1, 2)
    stored = assigner._buffer
    np.testing.assert_array_equal(np.asarray(stored.steps.mask)[:4], [[1, 1], [1, 1], [1, 0], [1, 0]])
    np.testing.assert_array_equal(np.asarray(stored.steps.terminated)[:4], [[0, 0], [0, 1], [0, 0], [1, 0]])
    assert float(stored.returns[0]) == 8.0


def test_they_are_imported_without_any_trainer():
    script = (
        "import sys, latent_reward.adapters.gymnasium, latent_reward.adapters.pettingzoo\n"
        "print([each for each in ('stable_baselines3', 'pettingzoo', 'torch', 'mujoco') if each in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", ["gymnasium_loop", "pettingzoo_loop"])
def test_the_examples_run(name, capsys):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    scores = example.main(12)
    assert len(scores) == 12
    assert np.isfinite(scores).all()
    assert "held-out scores explained" in capsys.readouterr().out
