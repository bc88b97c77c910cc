"""`lare check` plays: every breach is named once, with its place, and what harms nobody is a warning."""

import json
import re

import broken_envs
import gymnasium
import numpy as np
import pytest
from broken_envs import LIMIT, Bots, NoSeed, Old, OnlyObservations, Point, point

from latent_reward import cli
from latent_reward.envs.pettingzoo import find_kinds, world_of
from latent_reward.envs.single import single_world
from latent_reward.envs.trial import try_out


def trial_of(make):
    if (isinstance(make, type) and issubclass(make, Bots)) or isinstance(make(), Bots):
        return try_out(world_of("bots", lambda mode: make(), {"all": ()}, LIMIT))
    return try_out(single_world("Point", lambda mode: make(), LIMIT))


def found(make):
    trial = trial_of(make)
    lines = [(f"{each.breach.part}: {each.breach.message}", each.warning) for each in trial.found]
    assert not any("\n" in line for line, _ in lines)
    return [line for line, warned in lines if not warned], [line for line, warned in lines if warned]


@pytest.mark.parametrize("make", [point(), point(choices=3), Bots])
def test_what_breaks_nothing_is_told_nothing(make):
    assert found(make) == ([], [])
    trial = trial_of(make)
    assert (trial.episodes, trial.steps) == (3, 3 * LIMIT)


SINGLE = {
    "raises": r"^env: raised RuntimeError \(simulator lost its connection\) at step 4 of episode 0 \(seed 0\)",
    "exits": r"^env: raised SystemExit \(3\) at step 4",
    "mute error": r"^env: raised Mute at step 4",
    "reset raises": r"^env: raised FileNotFoundError \(prices.csv is missing\) in reset at step 0 of episode 0",
    "reset without info": r"unpack|2 are due",
    "four values": r"^env: raised ValueError \(not enough values to unpack",
    "short": r"^observation: .*shape \(2,\) where its space says \(3,\) at step 4 of episode 0 .*more like it",
    "column": r"^observation: .*shape \(3, 1\) where its space says \(3,\) at step 4",
    "text": r"^observation: gave 'here' to agent at step 4",
    "nothing": r"^observation: gave None to agent at step 4",
    "nan observation": r"^observation: gave array\(\[nan",
    "outside": r"^observation: gave agent \S+ at index 0, outside of -10 to 10 at step 4",
    "rewards": r"^reward: gave array\(.* to agent at step 4",
    "no reward": r"^reward: gave None to agent at step 4",
    "nan reward": r"^reward: gave nan to agent at step 4",
    "words": r"^reward: gave 'much' to agent at step 4",
    "no info": r"^info: gave agent None as info",
    "mask": r"^action_mask: gave agent an action mask, and its actions are continuous",
}


@pytest.mark.parametrize("how", SINGLE)
def test_breaches_of_one_agent_are_named(how):
    problems, _ = found(point(how, 4))
    assert any(re.search(SINGLE[how], line) for line in problems), problems


TEAM = {
    "raises": r"^env: raised RuntimeError .* at step 4 of episode 0",
    "nobody": r"^agents: has nobody in its agents after reset",
    "list of rewards": r"^step: gave a list as rewards where a mapping from agents is due at step 4",
    "forgets an observation": r"^observation: gave None to bot_1 at step 5",
    "forgets a reward": r"^reward: gave None to bot_1 at step 4",
    "never leaves": r"^agents: lists bot_1 in its agents after it terminated at step 4",
    "leaves without an end": r"^agents: took bot_1 out of its agents without an end at step 4",
    "pays the dead": r"^rewards: gave rewards to bot_9, which did not act at step 4",
    "no infos": r"^infos: gave a NoneType as infos",
    "flags": r"^terminated: gave bot_0 array\(\[ True, False\]\)",
    "a mask of zeros": r"^action_mask: gave bot_0 a mask that allows no action",
    "a long mask": r"^action_mask: gave bot_0 the mask array",
}


@pytest.mark.parametrize("how", TEAM)
def test_breaches_of_a_team_are_named(how):
    problems, _ = found(lambda: Bots(how, 4))
    assert any(re.search(TEAM[how], line) for line in problems), problems


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (NoSeed, r"^env: raised TypeError \(.*'seed'\) in reset"),
        (Old, r"^step: gave 4 values where 5 are due"),
        (OnlyObservations, r"^reset: gave a dict where 2 are due"),
    ],
)
def test_old_forms_are_named(make, message):
    problems, _ = found(make)
    assert any(re.search(message, line) for line in problems), problems


@pytest.mark.parametrize(
    "make", [point("reward array"), point("reward column"), lambda: Bots("rewards in arrays")]
)
def test_an_array_of_one_number_is_a_number(make):
    assert found(make) == ([], [])


@pytest.mark.parametrize("how", ["unrepeatable", "carries over"])
def test_what_does_not_repeat_itself_is_a_warning_that_says_what_it_costs(how):
    problems, (warning,) = found(point(how))
    assert problems == []
    assert re.search(
        r"does not repeat itself\. (A second|The same) copy.* gave other observations at step 0", warning
    )
    assert "resumed with --drop-unfinished, without its unfinished episode" in warning


def test_all_breaches_are_told_not_only_the_first():
    class Several(Point):
        def step(self, action):
            seen, _, *rest = super().step(action)
            return seen[:2], np.nan, *rest[:2], None

    problems, _ = found(lambda: gymnasium.wrappers.TimeLimit(Several(), LIMIT))
    assert {line.partition(":")[0] for line in problems} >= {"observation", "reward", "info"}


def test_gymnasiums_own_checker_has_its_say():
    class Unseeded(gymnasium.Env):
        observation_space, action_space = Point.observation_space, Point.action_space

        def reset(self, *, seed=None):  # no options
            super().reset(seed=seed)
            return np.zeros(3, np.float32), {}

        def step(self, action):
            return np.zeros(3, np.float32), 0.0, False, False, {}

    problems, _ = found(lambda: gymnasium.wrappers.TimeLimit(Unseeded(), LIMIT))
    assert any(re.search(r"^gymnasium: refuses it: .*`options`", line) for line in problems), problems


def test_pettingzoos_own_checker_has_its_say():
    pettingzoo = pytest.importorskip("pettingzoo")

    class Shared(Bots, pettingzoo.ParallelEnv):
        """Bots that subclass PettingZoo's own class; a space of its own for each call is refused there."""

    problems, _ = found(Shared)
    assert any(
        "pettingzoo: refuses it: observation_space should return the exact same" in line for line in problems
    )


def test_environments_of_mpe2_pass():
    from latent_reward.envs.pettingzoo import find_maker

    name = "mpe2.simple_speaker_listener_v4"
    make = find_maker(name, {"max_cycles": 5})
    groups = {kind.name: kind.members for kind in find_kinds(name, make(None))}
    problems = [each for each in try_out(world_of(name, make, groups, 5)).found if not each.warning]
    assert problems == []


TASK = """
name: odd
env: broken_envs:Odd-v0
max_steps: 8
goal: {plain: stay, paper: stay}
observation: [{index: 0, count: 3, name: place, meaning: where it is}]
action: [{index: 0, count: 2, name: push, meaning: how it is pushed}]
"""


@pytest.mark.parametrize(("how", "status"), [("", 0), ("short", 1), ("unrepeatable", 0), ("nan reward", 1)])
def test_the_command_says_it_and_its_status_too(how, status, tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(__file__.rpartition("/")[0])
    gymnasium.register("Odd-v0", lambda: broken_envs.Point(how, 4), max_episode_steps=LIMIT)
    path = tmp_path / "odd.yaml"
    path.write_text(TASK)
    try:
        named = ["check", str(path), "--import", "broken_envs"]
        for words in (named, [*named, "--json"]):
            code = 0
            try:
                cli.main(words)
            except SystemExit as stopped:
                code = stopped.code
            assert code == status
        (*lines,) = capsys.readouterr().out.splitlines()
    finally:
        del gymnasium.registry["Odd-v0"]
    report = json.loads("\n".join(lines[lines.index("{") :]))
    told = "\n".join(lines[: lines.index("{")])
    assert report["passed"] == (status == 0)
    assert bool(report["problems"]) == bool(status)
    assert ("played 3 episodes of random actions, 24 steps: no breach" in told) == (status == 0)
    if how == "unrepeatable":
        assert "warning: odd.yaml:3: env: seed: does not repeat itself" in told
    if how == "short":
        assert re.search(r"odd\.yaml:3: env: observation: gave agent an observation of shape \(2,\)", told)
