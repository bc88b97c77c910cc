"""Latents that are not finite stop a training where they appear, with their name, their place and their inputs."""

import re

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.spaces import Box

import latent_reward as lr
from latent_reward.credit.broken import Broken, earlier, explain, first_broken
from latent_reward.data.episodes import Episodes

pytestmark = pytest.mark.usefixtures("compile_fast")


def episodes(count=3, steps=4, agents=2, size=3):
    """Episodes of numbers that tell where they stand."""
    shape = (count, steps, agents)
    observation = np.arange(count * (steps + 1) * agents * size, dtype=np.float32)
    there = np.ones(shape, bool)
    return Episodes(
        observation.reshape(count, steps + 1, agents, size),
        np.arange(count * steps * agents, dtype=np.float32).reshape(*shape, 1),
        there,
        ~there,
        np.zeros(count, np.float32),
        np.zeros(shape, np.float32),
    )


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_the_first_number_that_is_not_finite_is_found_with_its_inputs(value):
    played = episodes()
    features = np.zeros((3, 4, 2, 5), np.float32)
    played = jax.tree.map(jnp.asarray, played)
    assert not first_broken(jnp.asarray(features), played, played.action).found
    features[2, 0, 0, 0] = features[1, 3, 1, 4] = value
    found = jax.jit(first_broken)(jnp.asarray(features), played, played.action)
    assert found.found
    assert [int(part) for part in found[1:5]] == [1, 3, 1, 4]
    np.testing.assert_equal(np.asarray(found.value), np.float32(value))
    np.testing.assert_array_equal(found.observation, played.observation[1, 3, 1])
    np.testing.assert_array_equal(found.next_observation, played.observation[1, 4, 1])
    np.testing.assert_array_equal(found.action, played.action[1, 3, 1])


def one(found: bool, episode: int) -> Broken:
    zero, row = jnp.int32(0), jnp.zeros(2)
    return Broken(jnp.array(found), jnp.int32(episode), zero, zero, zero, jnp.float32(0), row, row, row)


def test_the_earlier_of_two_is_kept():
    assert [int(earlier(one(*a), one(*b)).episode) for a, b in (
        (((True, 1)), (True, 2)), ((True, 1), (False, 0)), ((False, 0), (True, 2)),
    )] == [1, 1, 2]  # fmt: skip


def test_an_observation_that_is_not_finite_is_the_environments_fault():
    broken = one(True, 3)._replace(next_observation=np.array([1.0, np.nan]))
    assert re.search(
        r"next observation of step 0 is \[ ?1\. +nan\].*environment", explain(broken, ["x"], "episode 3")
    )


def logarithm(o, a, after):
    return jnp.concatenate([after[:, :1], jnp.log(1.0 - jnp.abs(after[:, 1:2]))], axis=1)


def test_replay_training_names_latent_step_episode_and_seed(tmp_path):
    """After 2 steps of episode 1 an observation shows a number at which the second latent is infinite."""

    class Line(gymnasium.Env):
        def __init__(self):
            self.observation_space, self.action_space = (
                Box(-9, 9, (2,), np.float32),
                Box(-1, 1, (1,), np.float32),
            )
            self.episodes, self.steps = -1, 0

        def _seen(self):
            return np.array([0.5, 1.0 if (self.episodes, self.steps) == (1, 3) else 0.25], np.float32)

        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            self.episodes, self.steps = self.episodes + 1, 0
            return self._seen(), {}

        def step(self, action):
            self.steps += 1
            return self._seen(), 1.0, False, self.steps == 5, {}

    few = {"steps": 20, "warmup": 10, "batch_size": 4, "evaluate_every": 20, "evaluation_episodes": 1}
    encoder = lr.encoder_from_function(logarithm, ["place", "room"])
    with pytest.raises(lr.LareError) as caught:
        lr.train(Line, encoder=encoder, seed=7, max_steps=5, out=tmp_path / "run", quiet=True, **few)
    said = str(caught.value)
    assert "episode 1 of seed 7: the latent room is not finite at step 2" in said, said
    assert re.search(
        r"it is -inf for observation \[0\.5 +0\.25\], action \[.*\], next observation \[0\.5 +1\. *\]", said
    )
    assert "\n" not in said


def test_training_in_a_compiled_world_does_so_too(tmp_path):
    encoder = lr.encoder_from_function(lambda o, a, after: jnp.log(after[:, :2]), ["x", "y"])
    few = {"iterations": 2, "episodes": 2, "evaluate_every": 2, "evaluation_episodes": 1}
    said = r"episode \d of seed 0: the latent [xy] is not finite at step \d+ \(it is (nan|-inf) for observation \["
    with pytest.raises(lr.LareError, match=said):
        lr.train("cn-6", encoder=encoder, out=tmp_path / "run", quiet=True, **few)
