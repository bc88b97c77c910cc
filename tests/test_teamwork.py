"""Rewards of teams that count more than an agent's own: against NumPy, hand-stepped worlds, and what is refused."""

import json
from dataclasses import replace
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from probe_world import line

from latent_reward.agents.base import AgentSpec
from latent_reward.agents.ppo import PPO
from latent_reward.credit.base import CreditSpec
from latent_reward.credit.methods import Recipe, find_method
from latent_reward.credit.reference import Reference
from latent_reward.credit.solved import Solved
from latent_reward.data.spaces import Continuous, Discrete
from latent_reward.envs.base import HostWorld, Outcome, Team, World
from latent_reward.envs.rollout import play, play_idle
from latent_reward.envs.worlds import find_world
from latent_reward.errors import LareError
from latent_reward.training import from_episodes as core
from latent_reward.training.learner import TeamLearner, team_learners
from latent_reward.training.on_policy import OnPolicy, episode_learner
from latent_reward.training.plan import Fresh, make_plan
from latent_reward.training.prepare import prepare
from latent_reward.training.teamwork import require_teamwork, shared, team_reward, with_effects

pytestmark = pytest.mark.usefixtures("compile_fast")

STEPS, STAY, RIGHT = 4, 1, 2
LINEAR = find_method("linear", "episodes").credit
assert isinstance(LINEAR, Solved)


@cache  # worlds are told apart by identity, and programs are compiled for a world
def corridor(agents=3, teams=1, mortal=False):
    """Agents who bump into each other: r_i = −#{j ≠ i: x_j = x_i}. They see where they and the others are.

    Steps are noisy, from their key: everybody is moved by the same draw. If ``mortal``, who is bumped into dies.
    """
    everyone = agents * teams

    def reset(key):
        start = jnp.arange(everyone) + jax.random.randint(key, (), 0, 2)
        return start.astype(float), jnp.ones(everyone, bool)

    def observe(state):
        place, _ = state
        return tuple(jnp.split(jnp.stack([place, place.sum() - place], axis=1), teams))

    def step(state, action, key):
        place, living = state
        place = place + jnp.where(living, action - 1.0, 0.0) + jax.random.randint(key, (), 0, 2)
        same = (place[:, None] == place) & living[:, None] & living
        bumps = same.sum(axis=1) - living
        after = living & (bumps == 0) if mortal else living
        return Outcome((place, after), -bumps.astype(float), ~after.any())

    members = tuple(Team(f"walkers{index}", agents, 2, Discrete(3), idle=STAY) for index in range(teams))
    alive = (lambda state: state[1]) if mortal else None
    return World(
        "corridor", members, reset, observe, step, lambda state: np.zeros((8, 8, 3)), STEPS, alive=alive
    )


def at_random(seen, key, available):
    """A policy that answers to what the others do, and is not the same for all agents."""
    drawn = jax.random.randint(key, seen.shape[:2], 0, 3)
    return (drawn + seen[..., 1].astype(int)) % 3, jnp.zeros(seen.shape[:2])


def also_at_random(seen, key, available):
    """The same, but agent 1 does something else."""
    action, log_probability = at_random(seen, key, available)
    return action.at[:, 1].set((action[:, 1] + 1) % 3), log_probability


def into_another(seen, key, available):
    """Agent 0 walks right into agent 1 and stays there, and nobody else moves."""
    first = seen[:, 0, 0] == seen[:, 1, 0] - 1
    still = jnp.full(seen.shape[:2], STAY)
    return still.at[:, 0].set(jnp.where(first, RIGHT, STAY)), jnp.zeros(seen.shape[:2])


POLICIES = (at_random, also_at_random, into_another)


def dense(world):
    """The learner of a team of a world with its true rewards."""
    team = world.teams[0]
    spec = CreditSpec(team.observation_size, team.actions.size, team.agents, world.horizon)
    return TeamLearner(Reference("dense"), spec, PPO(), AgentSpec(team.observation_size, team.actions))


def lived(world, policy, key, team=0):
    """Six episodes of a team, those without each of its agents, and counterfactual credit from true rewards."""
    return _lived(world, POLICIES.index(policy), key, team)


@partial(jax.jit, static_argnums=(0, 3))
def _lived(world, number, key, team):
    policy = lambda seen, key, available: jax.lax.switch(number, POLICIES, seen, key, available)  # noqa: E731
    setting = (world, [policy] * len(world.teams), key, 6)
    learner, without = dense(world), partial(play_idle, *setting, team)
    episodes = play(*setting)[team].episodes
    again = jax.lax.map(without, jnp.arange(world.teams[team].agents))
    decoded = lambda each: learner.method.reward(None, learner.features(each), each.mask)  # noqa: E731
    compared = lambda agent: decoded(without(agent))  # noqa: E731
    credit = team_reward(Fresh(counterfactual="idle"), decoded(episodes), episodes.mask, compared)
    return jax.tree.map(jnp.asarray, (episodes, again, credit))


def by_hand(world, key, episodes, team, agent):
    """The episodes in which an agent does nothing, one state and step at a time: observations, actions, rewards."""
    step, policy = jax.jit(world.step), jax.jit(at_random)
    k_reset, k_steps = jax.random.split(key)
    states = [world.reset(each) for each in jax.random.split(k_reset, episodes)]
    look = lambda: [np.stack(each) for each in zip(*map(world.observe, states), strict=True)]  # noqa: E731
    seen, done, paid = [look()], [], []
    for k_step in jax.random.split(k_steps, world.horizon):
        k_world, *k_teams = jax.random.split(k_step, 1 + len(world.teams))
        chosen = [np.array(policy(each, key, None)[0]) for each, key in zip(seen[-1], k_teams, strict=True)]
        chosen[team][:, agent] = STAY
        actions, keys = np.concatenate(chosen, axis=1), jax.random.split(k_world, episodes)
        outcomes = [step(*each) for each in zip(states, actions, keys, strict=True)]
        states = [each.state for each in outcomes]
        seen.append(look())
        done.append(chosen[team])
        paid.append(np.stack([each.reward for each in outcomes]))
    seen = [each[team] for each in seen]
    own = slice(team * world.teams[0].agents, (team + 1) * world.teams[0].agents)
    return np.stack(seen, axis=1), np.stack(done, axis=1), np.stack(paid, axis=1)[..., own]


def test_an_episode_without_an_agent_is_the_world_stepped_by_hand_with_its_actions_replaced():
    world, key = corridor(2, teams=2), jax.random.key(3)
    played, again, _ = lived(world, at_random, key, team=1)
    for agent in range(2):
        seen, done, paid = by_hand(world, key, 6, 1, agent)
        np.testing.assert_array_equal(again.observation[agent], seen)
        np.testing.assert_array_equal(again.action[agent], done)
        np.testing.assert_array_equal(again.hidden_reward[agent], paid)
        np.testing.assert_array_equal(again.returns[agent], paid.sum(axis=(1, 2)))
    assert (again.action[0][..., 1] != played.action[..., 1]).any()  # the others answer to what they see


def test_nothing_that_an_agent_does_changes_what_it_is_compared_with():
    one, two = (lived(corridor(), policy, jax.random.key(0)) for policy in (at_random, also_at_random))
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a[1], b[1]), one[1], two[1])
    assert (one[0].action != two[0].action).any()


def test_whoever_walks_into_another_pays_both_halves():
    played, _, credit = lived(corridor(), into_another, jax.random.key(1))
    np.testing.assert_array_equal(played.hidden_reward, np.broadcast_to([-1.0, -1.0, 0.0], (6, STEPS, 3)))
    np.testing.assert_array_equal(credit, np.broadcast_to([-2.0, -1.0, 0.0], (6, STEPS, 3)))


def test_what_the_dead_still_cause_is_theirs():
    """With deaths: the credit of each agent sums to the difference of what the team earned."""
    played, again, credit = lived(corridor(4, mortal=True), at_random, jax.random.key(2))
    assert not np.asarray(played.mask).all()
    own, theirs = (np.asarray(each.hidden_reward).sum(axis=-2) for each in (played, again))
    for agent in range(4):
        expected = own.sum(axis=1) - theirs[agent][:, np.arange(4) != agent].sum(axis=1)
        np.testing.assert_allclose(np.asarray(credit)[:, :, agent].sum(axis=1), expected, atol=1e-5)
    assert not np.asarray(credit)[~np.asarray(played.mask)].any()


def test_effects_are_differences_of_the_others_and_outlast_an_agent():
    random = np.random.default_rng(0)
    mask = np.ones((2, 5, 3), bool)
    mask[0, 3:, 1] = False  # agent 1 leaves after three steps
    reward = np.where(mask, random.normal(size=mask.shape), 0.0).astype(np.float32)
    without = random.normal(size=(3, *mask.shape)).astype(np.float32)
    expected = reward.astype(float)
    for agent in range(3):
        for time in range(5):
            effect = np.zeros(2)
            for other in {0, 1, 2} - {agent}:
                effect += reward[:, time, other] - without[agent, :, time, other]
            for episode in range(2):
                last = np.flatnonzero(mask[episode, :, agent]).max()
                expected[episode, min(time, last), agent] += effect[episode]
    found = with_effects(jnp.asarray(reward), jnp.asarray(mask), lambda agent: jnp.asarray(without)[agent])
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    assert not np.asarray(found)[~mask].any()


def test_shared_rewards_are_mixed_with_the_mean_of_those_who_are_there():
    random = np.random.default_rng(1)
    mask = random.random((3, 4, 5)) < 0.7
    mask[0, 0] = False
    reward = np.where(mask, random.normal(size=mask.shape), 0.0).astype(np.float32)
    for share in (0.25, 1.0):
        expected = np.zeros(reward.shape)
        for place in np.ndindex(3, 4):
            there = mask[place]
            if there.any():
                mean = reward[place][there].mean()
                expected[place][there] = (1 - share) * reward[place][there] + share * mean
        found = np.asarray(shared(jnp.asarray(reward), jnp.asarray(mask), share))
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(found.sum(), reward.sum(), rtol=1e-4)


def test_switched_off_the_reward_is_that_of_the_method_and_nothing_is_played_again():
    def never(agent):
        raise AssertionError("played again")

    reward = jnp.ones((2, 3, 4))
    assert team_reward(Fresh(), reward, jnp.ones(reward.shape, bool), never) is reward


def training(world, **settings):
    plan = make_plan(PPO(hidden=(4,), epochs=1), {"iterations": 4, "episodes": 6, **settings})
    teams = team_learners(world, Reference("dense"), plan.agent, (None,) * len(world.teams))
    return OnPolicy(episode_learner(teams, plan), plan, (0,), world)


def advanced(loop, iterations):
    loop.advance(loop.step + iterations * loop.steps_per_round)
    return loop


def test_a_run_goes_on_to_the_same_numbers(tmp_path):
    compared = partial(training, corridor(), counterfactual="idle")
    whole = advanced(compared(), 3)
    advanced(compared(), 1).save(tmp_path / "saved.safetensors", "{}")
    resumed = compared()
    resumed.restore(tmp_path / "saved.safetensors", "{}")
    jax.tree.map(np.testing.assert_array_equal, advanced(resumed, 2).states, whole.states)


def test_each_team_is_compared_with_episodes_of_its_own():
    """Six predators and two prey: rewards of another team, or of none, do not fit, which shows without compiling."""
    loop = training(find_world("competitive-pp"), counterfactual="idle")
    given = loop.learner, loop.world, loop.states, loop._keys, jnp.int32(0), jnp.int32(1)
    states, _ = jax.eval_shape(partial(core.advance, *given[:2]), *given[2:])
    shapes = lambda tree: jax.tree.map(jnp.shape, tree)  # noqa: E731
    assert shapes(states) == shapes(loop.states)


HOST = HostWorld(
    "there", (Team("walkers", 2, 2, Discrete(3), idle=0),), (("a", "b"),), (0,), lambda mode: None, 8
)
UNABLE = replace(corridor(), teams=(Team("walkers", 3, 2, Discrete(3)),))
MEAN = Recipe("own", replace(LINEAR, agents="mean"))


@pytest.mark.parametrize(
    ("world", "method", "settings", "message"),
    [
        (HOST, "linear", {"counterfactual": "idle"}, "counterfactual: idle needs a compiled world, .*there runs in"),
        (UNABLE, "linear", {"counterfactual": "idle"}, "needs an action that does nothing, and the walkers of corr"),
        (line(1), "linear", {"counterfactual": "idle"}, "counterfactual: idle is for teams, and line has no team"),
        (line(1), "linear", {"share": 0.5}, "share: 0.5 is for teams, and line has no team of several; leave it out"),
        (line(), MEAN, {"share": 0.5}, "share: 0.5 changes nothing, because own pays every agent the mean"),
        (line(), "linear", {"share": 0.5, "counterfactual": "idle"}, "share: 0.5 beside counterfactual idle would pay"),
        *((line(), name, {"counterfactual": "idle"}, f"counterfactual: {name} makes rewards of the return")
          for name in ("ircr", "tar2", "episodic", "uniform")),
    ],
)  # fmt: skip
def test_a_combination_that_makes_no_sense_is_refused(world, method, settings, message):
    with pytest.raises(LareError, match=message):
        require_teamwork(world, find_method(method, "episodes"), Fresh(**settings))


def test_what_makes_sense_is_not_refused():
    for method in ("lare", "linear", "dense", "rrd", "stas"):
        require_teamwork(line(), find_method(method, "episodes"), Fresh(counterfactual="idle"))
    for method in ("lare", "ircr", "episodic"):
        require_teamwork(HOST, find_method(method, "episodes"), Fresh(share=1.0))
    require_teamwork(line(1), find_method("linear", "episodes"), Fresh())
    assert all(find_world(name).teams[0].idle == 0 for name in ("cn-6", "pp-6", "competitive-pp", "area"))


@pytest.mark.parametrize(
    ("task", "settings", "message"),
    [
        ("cn-6", {"share": 1.5}, r"^share: 1.5 is not possible; give a number from 0 to 1"),
        ("cn-6", {"share": "half"}, r"^share: 'half' is not possible"),
        ("cn-6", {"share": float("nan")}, r"^share: nan is not possible"),
        ("cn-6", {"share": True}, r"^share: True is not possible"),
        (
            "cn-6",
            {"counterfactual": "idel"},
            r"^counterfactual: 'idel' does not exist \(did you mean idle\?\)",
        ),
        ("cn-6", {"counterfactual": None}, r"^counterfactual: None does not exist"),
        ("Reacher-v5", {"share": 0.5}, r"^share: td3 learns from single steps and has no such setting"),
        (
            "Reacher-v5",
            {"share": 0.5, "agent": "ppo"},
            r"^share: 0.5 is for teams, and Reacher-v5 has no team",
        ),
    ],
)
def test_a_setting_is_checked_before_anything_runs(task, settings, message):
    with pytest.raises(LareError, match=message):
        prepare(task, "linear", **settings)


def test_the_settings_are_in_the_configuration():
    def found(**settings):
        config = prepare("cn-6", **settings).config
        stored = json.loads(config.to_json())["plan"]["experience"]
        return stored["share"], stored["counterfactual"]

    assert found() == (0.0, "none")
    assert found(share=np.float32(0.5)) == (0.5, "none")
    assert found(share=1) == (1.0, "none")
    assert found(counterfactual="idle") == (0.0, "idle")


@pytest.mark.parametrize("idle", [3, -1, (0.0,)])
def test_doing_nothing_is_one_of_the_actions(idle):
    with pytest.raises(
        LareError, match=r"idle: .* is no action of the walkers; give a whole number from 0 to 2"
    ):
        Team("walkers", 2, 1, Discrete(3), idle=idle)
    with pytest.raises(LareError, match=r"give 2 numbers within the bounds of the actions"):
        Team("walkers", 2, 1, Continuous((-1.0, 0.5), (1.0, 1.0)), idle=(0.0, 0.0))
    assert Team("walkers", 2, 1, Continuous((-1.0,), (1.0,)), idle=(0.0,)).idle == (0.0,)
