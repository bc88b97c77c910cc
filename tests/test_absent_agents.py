"""Rewards that agents are paid while they are absent: none is lost, whatever pays them and whatever reads them."""

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import parallel_envs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import latent_reward as lr
from latent_reward.credit.reference import redistribute
from latent_reward.data import episodes as data
from latent_reward.data.spaces import Discrete
from latent_reward.envs.base import HostWorld, Outcome, Team, World
from latent_reward.envs.recorder import collect
from latent_reward.envs.rollout import play

RULES = ("dense", "episodic", "uniform")
STEPS, AGENTS = 7, 3

paid_while_there = jax.jit(data.paid_while_there)
paid_by = jax.jit(redistribute, static_argnums=0)


def moved(reward, mask):
    """The rewards of one episode where they count, in a loop."""
    found = np.zeros(reward.shape)
    last = max((step for step in range(len(mask)) if mask[step].any()), default=None)
    for step, agent in np.ndindex(reward.shape):
        there = np.flatnonzero(mask[:, agent])
        before = there[there <= step]
        if len(there):
            found[before[-1] if len(before) else there[0], agent] += reward[step, agent]
        elif last is not None:
            found[last, mask[last]] += reward[step, agent] / mask[last].sum()
    return found


@st.composite
def teams(draw):
    """Rewards and who is there: agents leave, come late, come back or never come, and so may all of them."""
    random = np.random.default_rng(draw(st.integers(0, 10**6)))
    mask = random.random((4, STEPS, AGENTS)) < draw(st.sampled_from([0.1, 0.5, 0.9]))
    kind = draw(st.sampled_from(["any", "leave", "late", "one", "nobody"]))
    if kind == "leave":
        mask = np.logical_and.accumulate(mask, axis=1)
    if kind == "late":
        mask = np.logical_or.accumulate(mask, axis=1)
    if kind == "one":
        mask[:, :, 1:] = False
    if kind == "nobody":
        mask[0] = False
    return random.normal(size=mask.shape).astype(np.float32), mask


@settings(deadline=None, max_examples=60)
@given(team=teams())
def test_a_reward_counts_at_the_step_that_the_rule_names(team):
    reward, mask = team
    found = np.asarray(paid_while_there(reward, mask))
    np.testing.assert_allclose(found, np.stack([*map(moved, reward, mask)]), rtol=1e-4, atol=1e-5)
    assert (found[~mask] == 0).all()
    there = mask.any(axis=(1, 2))
    total = reward.sum(axis=(1, 2), dtype=np.float64)
    np.testing.assert_allclose(found.sum(axis=(1, 2))[there], total[there], rtol=1e-3, atol=1e-4)


@settings(deadline=None, max_examples=40)
@given(team=teams(), rule=st.sampled_from(RULES))
def test_every_reference_pays_the_whole_return(team, rule):
    reward, mask = team
    credit = np.asarray(paid_by(rule, paid_while_there(reward, mask), mask))
    there = mask.any(axis=(1, 2))
    total = reward.sum(axis=(1, 2), dtype=np.float64)
    np.testing.assert_allclose(credit.sum(axis=(1, 2))[there], total[there], rtol=1e-3, atol=1e-4)
    assert (credit[~mask] == 0).all()


def test_rewards_stay_as_they_are_where_everybody_is_there():
    reward = np.random.default_rng(0).normal(size=(3, STEPS, AGENTS)).astype(np.float32)
    mask = np.broadcast_to((np.arange(STEPS) < np.array([[7], [3], [1]]))[:, :, None], reward.shape)
    np.testing.assert_array_equal(
        paid_while_there(np.where(mask, reward, 0), mask), np.where(mask, reward, 0)
    )


# ---------------------------------------------------------------- recorded episodes


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("spoilt", [False, True])
def test_recorded_episodes_pay_absent_agents_too(rule, spoilt):
    random = np.random.default_rng(1)
    space = {
        "observation_space": gymnasium.spaces.Box(-9, 9, (2,)),
        "action_space": gymnasium.spaces.Discrete(3),
    }
    credit = lr.Credit(**space, horizon=STEPS, agents=AGENTS, method=rule)
    for length in (STEPS, 4, 1):
        alive = np.ones((length, AGENTS), bool)
        alive[1:, 1] = alive[: length // 2, 2] = False
        reward = random.normal(size=(length, AGENTS))
        paid = reward.copy()
        if spoilt:  # nobody knows what an absent agent is paid, so it is nothing
            paid[~alive], reward[~alive] = np.nan, 0.0
        seen, acted = random.normal(size=(length + 1, AGENTS, 2)), random.integers(3, size=(length, AGENTS))
        episode = lr.Episode(seen, acted, reward.sum(), True, paid, alive)
        found = credit.episode_rewards(episode)
        assert found.sum() == pytest.approx(reward.sum(), rel=1e-4, abs=1e-5)
        assert (found[~alive] == 0).all()
        if rule == "dense":
            np.testing.assert_allclose(found, moved(reward, alive), rtol=1e-4, atol=1e-5)
        credit.add(episode)
    assert credit.episodes == 3


# ---------------------------------------------------------------- environments


@pytest.mark.parametrize("late", [(), (1,), (0,)])
@pytest.mark.parametrize("lives", [(4, 2), (2, 6), (3, 3)])
def test_an_environment_on_the_host_that_pays_the_absent(lives, late):
    make = lambda mode: parallel_envs.Countdown(lives, late=late, pension=10.0)  # noqa: E731
    names = ("agent_0", "agent_1")
    world = HostWorld("countdown", (Team("agent", 2, 3, Discrete(3)),), (names,), (0,), make, 8)
    choose = lambda step, seen, available: [(np.full((1, 2), 1), np.zeros((1, 2), np.float32))]  # noqa: E731
    (arrays,) = collect(world, [make(None)], [0], choose)
    episodes = arrays.episodes()
    steps = max(lives)
    mask = np.asarray(arrays.mask[0])
    reward = np.where(np.arange(8)[:, None] < steps, np.where(mask, 2.0, 10.0), 0.0)
    assert arrays.total[0] == reward.sum() == episodes.returns[0]
    np.testing.assert_allclose(episodes.hidden_reward[0], moved(reward, mask), rtol=1e-6)
    assert not np.asarray(episodes.terminated[0])[~mask].any()
    assert episodes.lengths[0] == steps


def leaving(lives):
    """A compiled world whose agents leave after so many steps of their own; everybody is paid 1, 2, … all along."""
    lives = jnp.asarray(lives)

    def step(state, action, key):
        return Outcome(state + 1, 1.0 + jnp.arange(len(lives)) + state, state + 1 >= lives.max())

    return World(
        "leaving",
        (Team("agent", len(lives), 1, Discrete(2)),),
        lambda key: jnp.zeros(()),
        lambda state: (jnp.full((len(lives), 1), state),),
        step,
        lambda state: np.zeros((8, 8, 3), np.uint8),
        horizon=STEPS,
        alive=lambda state: state < lives,
    )


@pytest.mark.parametrize("lives", [(5, 2, 1), (3, 0, 3), (9, 1, 4)])
def test_a_compiled_world_that_pays_the_dead(lives):
    def policy(seen, key, choices):
        return jnp.zeros(seen.shape[:2], jnp.int32), jnp.zeros(seen.shape[:2])

    (played,) = jax.jit(lambda key: play(leaving(lives), (policy,), key, 2))(jax.random.key(0))
    number = np.arange(STEPS)[:, None]
    mask = number < np.array(lives)
    reward = np.where(number < max(lives), 1.0 + np.arange(len(lives)) + number, 0.0)
    np.testing.assert_array_equal(played.episodes.mask[0], mask)
    assert played.episodes.returns.tolist() == [reward.sum()] * 2
    np.testing.assert_allclose(played.episodes.hidden_reward[0], moved(reward, mask), rtol=1e-6)


def test_a_team_that_is_away_for_a_while_has_all_its_steps():
    mask = np.zeros((1, 5, 2), bool)
    mask[0, 0, 0] = mask[0, 3, 1] = True
    blank = jnp.zeros((1, 5, 2))
    episodes = data.Episodes(
        jnp.zeros((1, 6, 2, 1)), blank, jnp.asarray(mask), blank > 0, jnp.zeros(1), blank
    )
    assert episodes.lengths.tolist() == [4]
    assert np.asarray(paid_by("episodic", np.where(mask, 3.0, 0.0), mask))[0, 3].tolist() == [0.0, 6.0]
