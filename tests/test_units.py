"""No decision depends on the unit of reward, of an observation or of a latent, except in the published settings."""

from functools import cache

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from kinds import every_method

import latent_reward as lr
from latent_reward.agents.base import AgentSpec
from latent_reward.credit.methods import METHODS
from latent_reward.data.episodes import Episodes
from latent_reward.data.spaces import Continuous

pytestmark = pytest.mark.usefixtures("compile_fast")

LEARNED = [name for name, entry in METHODS.items() if entry.replay is not None and entry.replay.learns]
FREE = [name for name in LEARNED if not name.endswith("-paper")]
ACTIONS = gymnasium.spaces.Box(-1.0, 1.0, (1,))


def recorded(unit=1.0, scale=1.0, count=14, steps=12):
    """Episodes whose reward is −|o′₀| + o′₁ − a² in ``unit``, with observations in another scale."""
    random = np.random.default_rng(0)
    episodes = []
    for _ in range(count):
        observation = random.normal(size=(steps + 1, 2)) + random.normal(size=2)
        action = random.uniform(-1, 1, (steps, 1))
        reward = -np.abs(observation[1:, 0]) + observation[1:, 1] - action[:, 0] ** 2
        episodes.append(lr.Episode(scale * observation, action, float(unit * reward.sum())))
    return episodes


@cache
def credit_of(method, unit=1.0, scale=1.0, latent=1.0):
    """The rewards of all recorded steps, after a few updates."""
    encoder = None
    if METHODS[method].replay.latents == "any":
        encoder = lr.encoder_from_function(
            lambda o, a, n: latent / scale * jnp.stack([n[:, 0], jnp.abs(n[:, 1])], axis=-1), ("one", "two")
        )
    credit = lr.Credit(
        observation_space=2, action_space=ACTIONS, horizon=12, method=method, encoder=encoder, seed=1
    )
    episodes = recorded(unit, scale)
    credit.add(*episodes)
    credit.fit(20)
    return np.concatenate([credit.episode_rewards(each) for each in episodes])


@pytest.mark.parametrize("unit", [1e-8, 1e8])
@pytest.mark.parametrize("method", every_method("replay", FREE))
def test_credit_is_the_same_in_any_unit_of_reward(method, unit):
    one, other = credit_of(method), credit_of(method, unit=unit) / unit
    assert np.std(one) > 0
    np.testing.assert_allclose(other, one, rtol=2e-2, atol=2e-2 * np.std(one))


@pytest.mark.parametrize("scale", [1e-4, 1e4])
@pytest.mark.parametrize("method", every_method("replay", FREE))
def test_credit_is_the_same_in_any_unit_of_observations_and_latents(method, scale):
    one, other = credit_of(method), credit_of(method, scale=scale, latent=1 / scale)
    np.testing.assert_allclose(other, one, rtol=2e-2, atol=2e-2 * np.std(one))


@pytest.mark.parametrize(("paid", "shown"), [(1e-8, 1.0), (1e8, 1.0), (1.0, 1e-4), (1.0, 1e4)])
@pytest.mark.parametrize("kind", [lr.TD3, lr.DDPG, lr.SAC])
def test_an_agent_learns_the_same_in_any_unit_of_reward_and_observation(kind, paid, shown):
    agent, spec = kind(hidden=(8,)), AgentSpec(2, Continuous((-1.0,), (1.0,)))
    units = np.array([1.0, shown], np.float32)

    @jax.jit
    def trained(paid, units):
        """Networks after a few updates, and what the agent does."""
        random = np.random.default_rng(0)
        draw = lambda *shape: jnp.asarray(random.normal(size=shape), jnp.float32)  # noqa: E731
        state, mask = agent.init(spec, jax.random.key(0)), jnp.ones((3, 4, 1), bool)
        reward = paid * draw(3, 4, 1)
        played = Episodes(
            (draw(3, 5, 1, 2) + 1) * units, draw(3, 4, 1, 1), mask, ~mask, reward.sum(axis=(1, 2)), reward
        )
        state = agent.observe(state, played)
        for number in range(6):
            observation, after = draw(16, 2) * units, draw(16, 2) * units
            later = agent.bootstrap(spec, state, after, jnp.zeros(16, bool), draw(16, 1))
            state, _ = agent.update_critics(state, observation, jnp.tanh(draw(16, 1)), paid * draw(16), later)
            state = agent.update_actor(spec, state, observation, jax.random.key(number))
        return (state.actor, state.critics), agent.act(spec, agent.actor(state), draw(9, 2) * units, None)

    one, other = trained(1.0, 1.0), trained(paid, units)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5), one, other)
