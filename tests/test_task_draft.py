"""``lare task init``: a draft has what the environment knows, and is refused until a person has written the rest."""

import gymnasium
import numpy as np
import pytest
import yaml

from latent_reward import cli
from latent_reward.errors import LareError
from latent_reward.task.check import check_task
from latent_reward.task.draft import LONGEST, draft_task, write_draft
from latent_reward.task.load import load_task
from latent_reward.task.open import make_env, open_world


@pytest.fixture(scope="module")
def of_every_kind():
    """An id for each kind of space that somebody may have."""
    box = gymnasium.spaces.Box
    kinds = {
        "wide": (box(-np.inf, np.inf, (LONGEST + 1,)), box(-1, 1, (1,))),
        "picture": (box(0, 255, (4, 4), np.uint8), box(-1, 1, (1,))),
        "parts": (gymnasium.spaces.Dict(a=box(-1, 1, (1,))), box(-1, 1, (1,))),
        "buttons": (box(-1, 1, (1,)), gymnasium.spaces.MultiBinary(3)),
        "unbounded": (box(-1, 1, (1,)), box(-np.inf, np.inf, (1,))),
        "odd": (
            box(np.array([0.1, -np.inf, -3.4e38], np.float32), np.array([1 / 3, 5, 3.4e38], np.float32)),
            box(np.float32(-0.7), np.float32(0.7), (2,)),
        ),
    }

    def maker(observation, action):
        class Kind(gymnasium.Env):
            observation_space, action_space = observation, action

        return Kind

    for name, spaces in kinds.items():
        gymnasium.register(f"kind/{name}-v0", entry_point=maker(*spaces))
    yield
    for name in kinds:
        del gymnasium.registry[f"kind/{name}-v0"]


def filled(text):
    """A draft as a hurried user completes it."""
    for what in ("a short name", "a text", "FILL IN"):
        text = text.replace(what, "something")
    return text


def test_a_filled_draft_fits_the_environment_exactly(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(filled(draft_task("Pendulum-v1")), "utf-8")
    assert check_task(path) == []
    task, env = load_task(path), gymnasium.make("Pendulum-v1")
    for part in ("observation", "action"):
        space = getattr(env, f"{part}_space")
        np.testing.assert_array_equal(getattr(task, f"{part}_low"), space.low)
        np.testing.assert_array_equal(getattr(task, f"{part}_high"), space.high)
    assert (task.name, task.env_id, task.max_steps) == ("Pendulum-v1", "Pendulum-v1", 200)
    assert set(task.goal) == {"plain", "paper"}


def test_an_unfilled_draft_is_refused_line_by_line(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(draft_task("Pendulum-v1"), "utf-8")
    lines = path.read_text("utf-8").splitlines()
    problems = check_task(path)
    assert [each.field for each in problems] == [
        "goal",
        *(f"observation[{i}]" for i in range(3)),
        "action[0]",
    ]
    for each in problems:
        assert "FILL IN" in lines[each.line - 1]
        assert "still to be filled in" in each.message
        assert each.remedy.startswith("write what ")
    with pytest.raises(LareError, match=r"mine\.yaml:8: goal: .*and 4 more"):
        load_task(path)
    nearly = filled(draft_task("Pendulum-v1")).replace("name: something", "name: FILL IN", 1)
    path.write_text(nearly, "utf-8")
    (problem,) = check_task(path)
    assert (problem.field, problem.remedy) == ("observation[0]", "write a text")


def test_odd_bounds_and_a_missing_time_limit(of_every_kind, tmp_path):
    text = draft_task("kind/odd-v0")
    drafted = yaml.safe_load(text)
    assert drafted["name"] == "kind-odd-v0"
    assert drafted["max_steps"].startswith("FILL IN")
    path = tmp_path / "mine.yaml"
    path.write_text(text, "utf-8")
    assert check_task(path)[0].message == "max_steps is still to be filled in"
    path.write_text(filled(text.replace(repr(drafted["max_steps"]), "50")), "utf-8")
    assert check_task(path) == []
    task = load_task(path)
    np.testing.assert_array_equal(task.observation_low, np.float32([0.1, -np.inf, -np.inf]))
    np.testing.assert_array_equal(task.observation_high, np.float32([1 / 3, 5, np.inf]))
    np.testing.assert_array_equal(task.action_high, make_env(task).action_space.high)


def test_a_long_vector_starts_as_one_block(of_every_kind, tmp_path):
    text = draft_task("kind/wide-v0").replace("'FILL IN: after how many steps an episode is cut'", "9")
    path = tmp_path / "mine.yaml"
    path.write_text(filled(text), "utf-8")
    assert check_task(path) == []
    assert [each.count for each in load_task(path).observation] == [LONGEST + 1]


@pytest.mark.parametrize(
    ("env_id", "message"),
    [
        (
            "kind/picture-v0",
            "observation space of kind/picture-v0 is a Box of shape (4, 4).*FlattenObservation",
        ),
        ("kind/parts-v0", "observation space of kind/parts-v0 is a Dict.*FlattenObservation"),
        ("kind/buttons-v0", "action space of kind/buttons-v0 is a MultiBinary.*continuous"),
        ("kind/unbounded-v0", "has no bounds; give its Box"),
        ("CartPole-v1", "is a Discrete.*continuous vectors"),
        ("Pendulm-v1", "did you mean Pendulum-v1"),
        ("no_such_module:Thing-v0", "module 'no_such_module', which cannot be imported; .*in the folder"),
        ("a:b:c", "'a:b:c' cannot be used"),
    ],
)
def test_what_cannot_be_a_task_is_refused_with_a_remedy(of_every_kind, env_id, message):
    with pytest.raises(LareError, match=message.replace("(4, 4)", r"\(4, 4\)")):
        draft_task(env_id)


def test_a_module_is_named_once():
    with pytest.raises(LareError, match="leave --import out"):
        draft_task("canal:Canal-v0", "canal")


def test_an_existing_file_is_never_replaced(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [*cli.sys.path])
    cli.main(["task", "init", "Pendulum-v1"])
    assert "written: Pendulum-v1.yaml" in capsys.readouterr().out
    assert (tmp_path / "Pendulum-v1.yaml").read_text("utf-8") == draft_task("Pendulum-v1")
    (tmp_path / "Pendulum-v1.yaml").write_text("hours of work", "utf-8")
    with pytest.raises(SystemExit) as end:
        cli.main(["task", "init", "Pendulum-v1"])
    assert end.value.code == 1
    assert "exists already" in capsys.readouterr().err
    assert (tmp_path / "Pendulum-v1.yaml").read_text("utf-8") == "hours of work"
    with pytest.raises(LareError, match="out: cannot write"):
        write_draft("", tmp_path / "no" / "such" / "folder.yaml")


# ---------------------------------------------------------------- teams in PettingZoo


@pytest.fixture
def beside_the_tests(monkeypatch):
    monkeypatch.syspath_prepend(__file__.rpartition("/")[0])


def test_a_filled_draft_of_teams_fits_the_environment(tmp_path):
    path = tmp_path / "tag.yaml"
    path.write_text(draft_task("mpe2.simple_tag_v3", env_kwargs={"num_adversaries": 2}), "utf-8")
    unfilled = check_task(path)
    assert [each.field for each in unfilled][:2] == ["teams[0].goal", "teams[0].observation[0]"]
    assert {each.field for each in unfilled} >= {"teams[1].goal", "teams[1].action[4]"}
    path.write_text(filled(path.read_text("utf-8")), "utf-8")
    assert check_task(path) == []
    task = load_task(path)
    assert (task.name, task.max_steps, task.env_kwargs) == ("simple_tag_v3", 25, {"num_adversaries": 2})
    assert [(each.name, each.members) for each in task.teams] == [
        ("adversary", ("adversary_*",)),
        ("agent", ("agent_*",)),
    ]
    adversaries, prey = open_world(task).teams
    assert (adversaries.agents, adversaries.observation_size) == (2, 14)
    assert (prey.agents, prey.observation_size) == (1, 12)


@pytest.mark.parametrize(
    ("names", "teams"),
    [
        (["red_0", "blue_0", "red_1"], {"red": ["red_*"], "blue": ["blue_*"]}),  # the names say otherwise
        (["alice", "bob", "wide"], {"agents": ["alice", "bob"], "agents-2": ["wide"]}),  # the spaces do
        (["Elk 1", "Elk 2", "Elk calf"], {"elk": ["Elk 1", "Elk 2"], "agents": ["Elk calf"]}),
        ([1, 2, 30], {"agents": []}),
    ],
)
def test_teams_are_who_sees_and_acts_alike_and_is_called_alike(beside_the_tests, tmp_path, names, teams):
    text = draft_task("named", "parallel_envs", {"names": names})
    assert {each["name"]: each.get("members", []) for each in yaml.safe_load(text)["teams"]} == teams
    path = tmp_path / "named.yaml"
    path.write_text(filled(text).replace("'something: after how many steps an episode is cut'", "9"), "utf-8")
    assert check_task(path) == []
    low = load_task(path).teams[0].observation[0].low
    assert low == (-1 if names == [1, 2, 30] else 0)  # the lowest of all its members


@pytest.mark.parametrize(
    ("name", "kwargs", "message"),
    [
        ("parallel_envs:takes_turns", {}, "AEC environment, whose agents take turns; name its parallel_env"),
        ("parallel_envs:countdwn", {}, "has no function 'countdwn'; write `module:function`"),
        ("parallel_envs", {}, "has no function 'parallel_env'"),
        ("no_such.module", {}, "'no_such.module' cannot be imported"),
        ("parallel_envs:no_environment", {}, "has no possible_agents"),
        ("parallel_envs:countdown", {"broken": "image"}, "only a Box with one axis"),
        ("parallel_envs:countdown", {"broken": "continuous"}, "teams choose among a few; discretise it"),
        ("parallel_envs:countdown", {"broken": "parts"}, "fails with RuntimeError .no parts left.; fix"),
        ("parallel_envs:countdown", {"depth": 1}, "env_kwargs: .* refuses {'depth': 1}"),
    ],
)
def test_what_cannot_be_a_task_of_teams_is_refused(beside_the_tests, name, kwargs, message):
    with pytest.raises(LareError, match=message) as caught:
        draft_task(name, env_kwargs=kwargs)
    assert "\n" not in str(caught.value)


def test_agents_with_different_numbers_of_actions_become_teams():
    teams = yaml.safe_load(draft_task("mpe2.simple_speaker_listener_v4"))["teams"]
    assert sorted(sum(each.get("count", 1) for each in team["action"]) for team in teams) == [3, 5]


def test_arguments_on_the_command_line_are_a_mapping(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [*cli.sys.path])
    cli.main(["task", "init", "mpe2.simple_spread_v3", "--env-kwargs", "{N: 2}"])
    (team,) = yaml.safe_load((tmp_path / "simple_spread_v3.yaml").read_text("utf-8"))["teams"]
    assert (team["agents"], "members" in team) == (2, False)
    for wrong in ("3", "{N", "{1: 2}"):
        with pytest.raises(SystemExit):
            cli.main(["task", "init", "mpe2.simple_spread_v3", "--env-kwargs", wrong])
        assert "env-kwargs" in capsys.readouterr().err
