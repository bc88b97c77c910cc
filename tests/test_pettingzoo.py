"""PettingZoo environments: what is noted of their episodes, and each way in which they do not fit a task."""

import re
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from latent_reward.data.spaces import Discrete
from latent_reward.envs import named
from latent_reward.envs.pettingzoo import host_world
from latent_reward.envs.recorder import collect
from latent_reward.errors import LareError
from latent_reward.sealing.verify import check
from latent_reward.task.check import check_task
from latent_reward.task.load import load_description, load_task
from latent_reward.task.open import open_world

PAGE = (Path(__file__).parents[1] / "docs" / "own_teams.md").read_text("utf-8")
TASK, SOURCE = (re.search(rf"^```{each}\n(.*?)^```", PAGE, re.M | re.S)[1] for each in ("yaml", "python"))


@pytest.fixture(autouse=True)
def beside_the_tests(monkeypatch):
    monkeypatch.syspath_prepend(__file__.rpartition("/")[0])
    monkeypatch.setattr(named, "_named", {"parallel_envs", "no_such_module"})


def world(groups=None, horizon=6, **kwargs):
    return host_world("parallel_envs:countdown", kwargs, groups or {"agents": ()}, horizon)


def play(host, copies=2, action=1):
    """Every agent always takes ``action``, with a log-probability that tells the step; arrays ``[copy, time, …]``."""

    def choose(step, observations, available):
        shapes = [each.shape[:2] for each in observations]
        return [(np.full(shape, action), np.full(shape, -float(step))) for shape in shapes]

    return collect(host, [host.make(None) for _ in range(copies)], range(copies), choose)


def cut(book):
    """Where the time of an agent ran out."""
    return np.asarray(jax.tree.map(jnp.asarray, book).episodes().cut)


def test_a_life_is_noted_until_its_end_and_nothing_after():
    (book,) = play(world(lives=(4, 2)))
    there = np.array([[1, 1], [1, 1], [1, 0], [1, 0], [0, 0], [0, 0]], bool)
    for copy in range(2):
        np.testing.assert_array_equal(book.mask[copy], there)
        np.testing.assert_array_equal(book.reward[copy], np.where(there, 2.0, 0.0))
    assert {tuple(place) for place in np.argwhere(book.terminated[0])} == {(3, 0), (1, 1)}
    assert not cut(book).any()
    np.testing.assert_array_equal(book.total, 2.0 * there.sum())
    np.testing.assert_array_equal(jax.tree.map(jnp.asarray, book).episodes().returns, book.total)
    # What the second agent saw: its start, what its two actions led to, nothing then.
    np.testing.assert_array_equal(book.observation[0, :4, 1], [[1, 0, 0], [1, 1, 1], [1, 2, 1], [0, 0, 0]])
    np.testing.assert_array_equal(book.log_probability[0, :4, 0], [0, -1, -2, -3])


def test_what_is_truncated_is_cut_and_so_is_the_time_limit():
    (book,) = play(world(lives=(4, 2), ends="truncated"))
    assert {tuple(place) for place in np.argwhere(cut(book)[0])} == {(3, 0), (1, 1)}
    (book,) = play(world(lives=(9, 3), horizon=5))
    assert {tuple(place) for place in np.argwhere(cut(book)[0])} == {(4, 0)}
    assert book.mask[0, :, 0].all()
    assert not book.terminated[0, :, 0].any()
    (book,) = play(world(lives=(5, 3), horizon=5))
    assert not cut(book).any()


def test_an_agent_that_comes_late_is_there_from_then_on():
    (book,) = play(world(lives=(4, 3), late=(1,)))
    np.testing.assert_array_equal(book.mask[0, :, 1], [False, True, True, False, False, False])
    np.testing.assert_array_equal(book.observation[0, 1, 1], [1, 1, 0])
    np.testing.assert_array_equal(book.reward[0, :, 1], [0, 2, 2, 0, 0, 0])


def test_teams_are_named_by_patterns_and_actions_may_start_anywhere():
    host = world({"first": ("agent_[01]",), "second": ("agent_2",)}, lives=(3, 3, 2), start=5)
    assert [(team.name, team.agents, team.observation_size) for team in host.teams] == [
        ("first", 2, 3),
        ("second", 1, 3),
    ]
    first, second = play(host)
    assert first.mask.shape == (2, 6, 2)
    np.testing.assert_array_equal(second.reward[0, :3, 0], [7, 7, 0])  # 1 + (5 + 1)
    np.testing.assert_array_equal(first.observation[0, 1], [[0, 1, 6], [1, 1, 6]])


def test_teams_may_have_different_numbers_of_actions():
    """Each team's actions are counted from the environment's own first one."""
    host = world({"few": ("agent_0",), "many": ("agent_1",)}, lives=(2, 2), actions=(2, 6), start=3)
    assert [team.actions for team in host.teams] == [Discrete(2), Discrete(6)]
    assert host.first_action == (3, 3)
    env = host.make(None)
    pick = lambda step, seen, available: [(np.array([[each]]), np.zeros((1, 1))) for each in (1, 5)]  # noqa: E731
    few, many = collect(host, [env], (0,), pick)
    np.testing.assert_array_equal(few.reward[0, :2, 0], [5, 5])  # 1 + (3 + 1)
    np.testing.assert_array_equal(many.reward[0, :2, 0], [9, 9])
    assert (few.action[0, :2, 0].tolist(), many.action[0, :2, 0].tolist()) == ([1, 1], [5, 5])


@pytest.mark.parametrize(
    ("groups", "kwargs", "message"),
    [
        ({"a": ("agent_0",)}, {}, r"members: agent_1 of .* is in no team; put every agent in one team"),
        ({"a": ("agent_*",), "b": ("agent_1",)}, {}, r"members: agent_1 is in the teams a and b"),
        ({"a": ("agent_0",), "b": ()}, {}, r"members: the team b does not say .*agent_0, agent_1"),
        ({"a": ("wolf_*",)}, {}, r"members: no agent of .* is called 'wolf_\*'; choose from agent_0"),
        ({"a": ()}, {"broken": "image"}, r"is a Box of shape \(4, 4\); .*flat vectors"),
        ({"a": ()}, {"broken": "continuous"}, r"is a Box; teams choose among a few; discretise it"),
        ({"a": ()}, {"depth": 2}, r"env_kwargs: .* refuses \{'depth': 2\}"),
        ({"a": ()}, {"lives": ()}, r"has no agents"),
    ],
)
def test_agents_that_do_not_fit_the_teams_are_refused(groups, kwargs, message):
    with pytest.raises(LareError, match=message):
        world(groups, **kwargs)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("parallel_envs:takes_turns", r"AEC environment, whose agents take turns; name its parallel_env"),
        ("parallel_envs:no_environment", r"has no possible_agents, reset, step"),
        ("parallel_envs:nothing", r"has no function 'nothing'; write `module:function`"),
        ("parallel_envs", r"has no function 'parallel_env'"),
        ("no_such_module", r"'no_such_module' cannot be imported \(No module.*install it"),
        (".relative", r"does not begin with the name of a module"),
    ],
)
def test_what_is_no_parallel_environment_is_refused(name, message):
    with pytest.raises(LareError, match=message) as caught:
        host_world(name, {}, {"a": ()}, 5)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ("observation", r"observation: .*nan.* to agent_0 at step 2 of an episode; .* correct"),
        ("reward", r"reward: .*inf.* to agent_0 at step 1"),
        ("stranger", r"has the agent 'nobody', which is not among its possible_agents"),
        ("silent", r"observation: .* gave None to agent_0 at step 1"),
    ],
)
def test_a_broken_episode_stops_with_where_it_broke(broken, message):
    with pytest.raises(LareError, match=message):
        play(world(broken=broken))


# ---------------------------------------------------------------- task files


def write(tmp_path, *edits):
    text = TASK
    for old, new in edits:
        assert old in text
        text = text.replace(old, new, 1)
    path = tmp_path / "spread.yaml"
    path.write_text(text)
    return path


def test_a_task_file_names_a_parallel_environment(tmp_path):
    path = write(tmp_path)
    assert check_task(path) == []
    task = load_task(path)
    assert load_description(path).env_id == "mpe2.simple_spread_v3"
    host = open_world(task)
    assert [(team.agents, team.actions, host.horizon) for team in host.teams] == [(3, Discrete(5), 25)]
    assert host.members == (("agent_0", "agent_1", "agent_2"),)


def test_the_encoder_of_the_documents_passes_every_check(tmp_path):
    report = check(SOURCE, load_description(write(tmp_path)))
    assert report.passed, str(report)


@pytest.mark.parametrize(
    ("edit", "field", "message"),
    [
        (("agents: 3", "agents: 4"), "teams[0].agents", "has 3 agents"),
        (
            ("{index: 14, count: 4", "{index: 14, count: 3"),
            "teams[0].observation",
            "index 17 of the 18-dimensional",
        ),
        (
            ("{index: 4, name: push +y", "{index: 5, name: push +y"),
            "teams[0].action[4]",
            "outside the 5-dimensional",
        ),
        (("mpe2.simple", "mpe3.simple"), "pettingzoo", "would import the module mpe3"),
        (("{N: 3}", "{M: 3}"), "env_kwargs", "refuses {'M': 3}"),
        (("{N: 3}", "{N: 3, continuous_actions: true}"), "pettingzoo", "teams choose among a few"),
        (("agents: 3", "agents: 3\n    members: [wolf]"), "members", "no agent of"),
        (("max_steps: 25", "max_steps: 25\nworld: cn-6"), "", "exactly one of the two"),
        (("pettingzoo: mpe2.simple_spread_v3", "world: cn-6"), "", "belong to a `pettingzoo` environment"),
        (("pettingzoo:", "petingzoo:"), "petingzoo", "did you mean pettingzoo"),
    ],
)
def test_each_mistake_in_a_task_file_is_found(tmp_path, edit, field, message):
    problems = check_task(write(tmp_path, edit))
    assert any(each.field == field and message in each.message for each in problems), problems


def test_rollouts_repeat_the_environment_itself(tmp_path):
    """The books against mpe2 stepped by hand with the same actions."""
    host = open_world(load_task(write(tmp_path)))
    rng = np.random.default_rng(0)
    plan = rng.integers(0, 5, (25, 2, 3))
    (book,) = collect(
        host, [host.make(None) for _ in range(2)], (7, 8), lambda t, *_: [(plan[t], np.zeros((2, 3)))]
    )
    for copy, seed in enumerate((7, 8)):
        env = sys.modules["mpe2.simple_spread_v3"].parallel_env(N=3)
        seen, _ = env.reset(seed=seed)
        for t in range(25):
            np.testing.assert_array_equal(book.observation[copy, t], list(seen.values()))
            seen, paid, *_ = env.step(dict(zip(env.agents, map(int, plan[t, copy]), strict=True)))
            np.testing.assert_allclose(book.reward[copy, t], list(paid.values()), rtol=1e-6)
        np.testing.assert_array_equal(book.observation[copy, 25], list(seen.values()))
    assert book.mask.all()
    assert (cut(book) == (np.arange(25) == 24)[None, :, None]).all()
