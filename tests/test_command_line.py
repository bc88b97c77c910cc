"""Settings from a file, from --set and from options; dry runs; output for programs; what is refused, in one line."""

import json

import pytest
import yaml

from latent_reward import cli
from latent_reward.cli.settings import combine, read_assignments, read_config
from latent_reward.credit.methods import METHODS, Recipe
from latent_reward.credit.per_step import PerStep
from latent_reward.credit.solved import Solved
from latent_reward.task.load import task_names
from latent_reward.training.prepare import prepare

pytestmark = pytest.mark.usefixtures("compile_fast")

SMALL = ["--max-steps", "6", "--set", "agent.hidden=[4]", "--evaluation-episodes", "1", "--quiet"]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def lare(capsys, *words):
    """Exit status, output and errors; a traceback fails the test."""
    status = 0
    try:
        cli.main(list(map(str, words)))
    except SystemExit as stop:
        status = stop.code or 0
    shown = capsys.readouterr()
    return status, shown.out, shown.err


def dry(capsys, *words):
    status, out, err = lare(capsys, "train", *words, "--dry-run", "--json")
    assert (status, err) == (0, "")
    return json.loads(out)["config"]


def test_a_file_goes_before_defaults_set_before_the_file_and_options_before_both(capsys, tmp_path):
    path = tmp_path / "settings.yaml"
    path.write_text(
        "task: Pendulum-v1\nmethod: {name: rrd, hidden: [16, 16]}\nsteps: 60\nwarmup: 30\nbatch_size: 8\n"
        "agent: {learning_rate: 1e-3}\nseeds: [2, 4]\n"
    )
    wanted = [
        "--config",
        path,
        "--set",
        "steps=50",
        "--set",
        "warmup=20",
        "--set",
        "agent.hidden=[8]",
        "--steps",
        40,
    ]
    found = dry(capsys, *wanted)
    assert found["task"] == "Pendulum-v1"
    assert found["seeds"] == [2, 4]
    plan, credit = found["plan"], found["method"]["credit"]
    assert (plan["rounds"], plan["experience"]["warmup"], plan["experience"]["batch_size"]) == (40, 20, 8)
    assert (plan["agent"]["learning_rate"], plan["agent"]["hidden"]) == (1e-3, [8])
    assert (credit["hidden"], credit["loss"], credit["subset"]) == ([16, 16], "rrd", 64)
    other = dry(capsys, *wanted, "--method", "rd", "--set", "method.subset=5", "--seed", 1)
    assert (other["method"]["name"], other["method"]["credit"]["subset"]) == ("rd", 5)
    assert other["method"]["credit"]["hidden"] == [256, 256]  # those of the file are for another method
    assert other["seeds"] == [1]
    assert list(tmp_path.iterdir()) == [path]  # a dry run writes nothing


def test_what_a_dry_run_prints_is_a_file_of_settings(capsys, tmp_path):
    words = ["train", "Pendulum-v1", "--method", "linear", *SMALL, "--steps", 30, "--dry-run"]
    _, text, _ = lare(capsys, *words)
    assert text.startswith("# nothing is wrong; this would be trained into runs/Pendulum-v1/linear/0\n")
    assert yaml.safe_load(text)["max_steps"] == 6
    (tmp_path / "printed.yaml").write_text(text)
    (tmp_path / "printed.json").write_text(lare(capsys, *words, "--json")[1])
    for name in ("printed.yaml", "printed.json"):
        assert lare(capsys, "train", "--config", name, "--dry-run")[1] == text


def test_the_configuration_of_a_run_repeats_it(capsys, tmp_path):
    steps = ["--steps", 14, "--warmup", 7, "--set", "batch_size=4"]
    status, out, _ = lare(
        capsys, "train", "Pendulum-v1", "--method", "linear", *SMALL, *steps, "--out", "a", "--json"
    )
    assert status == 0
    assert json.loads(out)["folder"] == "a"
    assert [row["step"] for row in json.loads(out)["metrics"]] == [14]
    assert lare(capsys, "train", "--config", "a/config.json", "--out", "b", "--quiet") == (0, "", "")
    first, second = ((tmp_path / name / "config.json").read_text() for name in "ab")
    assert first == second
    status, out, _ = lare(capsys, "evaluate", "b", "--episodes", 2, "--json")
    (row,) = json.loads(out)
    assert (row["seed"], row["team"], len(row["returns"])) == (0, "", 2)
    assert row["mean"] == pytest.approx(sum(row["returns"]) / 2)
    for extra in (["Pendulum-v1"], ["--draw", 0], ["--set", "steps=3"], ["--config", "x"], ["--dry-run"]):
        status, out, err = lare(capsys, "train", *extra, "--resume", "a")
        assert (status, out) == (1, "")
        assert "a resumed run keeps its configuration; leave " in err
    assert lare(capsys, "train", "--resume", "a", "--quiet") == (0, "", "")


def test_a_run_with_an_encoder_of_its_own_is_repeated_from_its_copies(tmp_path):
    folder = tmp_path / "run"
    (folder / "encoder").mkdir(parents=True)
    (folder / "task.yaml").touch()
    for origin, expected in (
        ("bundled draw 2", {"draw": 2}),
        ("enc", {"encoder": str(folder / "encoder")}),
        ("given, source 0123", {"encoder": str(folder / "encoder")}),
        (None, {"encoder": None}),
    ):
        stored = {"format": 3, "config": {"task": "X", "encoder": origin}, "versions": {}}
        (folder / "config.json").write_text(json.dumps(stored))
        assert read_config(folder / "config.json") == {"task": str(folder / "task.yaml"), **expected}


def test_all_spellings_of_a_setting_are_one():
    short = read_assignments(["agent.hidden=[8, 8]", "method.loss=rd", "warmup=3", "steps=9"])
    long = read_assignments(
        ["plan.agent.hidden=[8, 8]", "method.credit.loss=rd", "plan.experience.warmup=3", "plan.rounds=9",
         "experience.kind=replay"]
    )  # fmt: skip
    assert short == long == {"agent": {"hidden": [8, 8]}, "method": {"loss": "rd"}, "warmup": 3, "steps": 9}
    assert read_assignments(["agent=ppo", "plan.rounds=9", "seed=0..2"]) == {
        "agent": {"kind": "ppo"}, "iterations": 9, "seed": (0, 1, 2)
    }  # fmt: skip
    assert read_assignments(["plan.agent.hidden=[8]", "agent.polyak=0.1"]) == {
        "agent": {"hidden": [8], "polyak": 0.1}
    }
    assert combine({"agent": {"kind": "td3", "polyak": 0.1}}, {"agent": {"kind": "ppo", "epochs": 2}}) == {
        "agent": {"kind": "ppo", "epochs": 2}
    }


def test_a_method_of_your_own_name_comes_with_all_its_settings():
    credit = {"kind": "per-step", "input": "raw", "loss": "rd", "hidden": [3]}
    recipe = prepare("Reacher-v5", {"name": "mine", **credit}).config.method
    assert recipe == Recipe("mine", PerStep("raw", "rd", hidden=(3,)))
    other = prepare("Reacher-v5", {"name": "lare", "kind": "solved", "groups": ["raw"]}).config.method
    assert other == Recipe("lare", Solved(("raw",)))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--set foo", r"set: 'foo' is no assignment; write it as in --set agent.learning_rate=1e-3"),
        ("--set a.=3", r"set: 'a.=3' is no assignment"),
        ("--set a=[", r"set: 'a=[': not valid YAML: "),
        ("--set steps=1 --set steps.x=2", r"set: steps is given a value and settings of its own"),
        ("--set agnet.hidden=1", r"agnet: td3 learns from single steps and has no such setting (did you mean agent?)"),
        ("--set first_updates=1", r"first_updates: td3 learns from single steps and has no such setting"),
        ("--set agent.learning_rte=1", r"agent.learning_rte: there is no such setting (did you mean learning_rate?)"),
        ("--set agent.learning_rate=fast", r"agent.learning_rate: 'fast' does not fit: input should be a valid number"),
        ("--set agent.learning_rate=-1", r"agent.learning_rate: -1.0 is not possible; give a value like 0.0003"),
        ("--set agent.learning_rate=.nan", r"set: 'agent.learning_rate=.nan': .nan is no finite number"),
        ("--set agent.hidden=true", r"agent.hidden: True is not possible; give a value like [256, 256]"),
        ("--set agent.hidden=64", r"agent.hidden: 64 does not fit: input should be a valid tuple"),
        ("--set agent.hidden=[64,0]", r"agent.hidden: [64, 0] is not possible"),
        ("--set agent=dqn", r"agent.kind: there is no 'dqn'; choose from td3, ddpg, sac, ppo"),
        ("--agent sacc", r"agent.kind: there is no 'sacc' (did you mean sac?)"),
        ("--agent sac --iterations 3", r"iterations: sac learns from single steps and has no such setting"),
        ("--agent ppo --warmup 3", r"warmup: ppo learns from whole episodes and has no such setting"),
        ("--agent sac --set agent.policy_noise=1", r"agent.policy_noise: there is no such setting"),
        ("--agent sac --set agent.temperature=0", r"agent.temperature: 0.0 is not possible; give a number above 0"),
        ("--agent ppo --method lare-rrd", r"method: lare-rrd is for agents that learn from replay (td3, sac, ddpg)"),
        ("--agent sac --method lare-no-agents", r"method: lare-no-agents is for agents that learn from whole episodes"),
        ("--agent ppo --resume run", r"agent: a resumed run keeps its configuration; leave --agent out"),
        ("--set agent=[1]", r"agent: [1] is no mapping; write settings of it, such as agent.NAME=VALUE"),
        ("--method rrd --set method.loss=rr", r"method.loss: 'rr' does not fit: input should be 'rd', 'rrd'"),
        ("--set method.name=lair", r"method: there is no 'lair' (did you mean lare"),
        ("--set method.name=3", r"method.name: 3 is no name"),
        ("--set steps=many", r"steps: 'many' is not possible; give a whole number"),
        ("--set steps=true", r"steps: True is not possible"),
        ("--set rounds=3", r"rounds: 3 of what is not known; write steps, or iterations of whole episodes"),
        ("--set seeds=x", r"seeds: 'x' is not understood"),
        ("--set task=3", r"task: 3 is no text"),
        ("--set encoder=3", r"encoder: 3 is no text"),
        ("--set draw=x", r"draw: 'x' is not possible; give a whole number"),
        ("--config none.yaml", r"config: cannot read none.yaml (there is no such file)"),
        ("--config list.yaml", r"config: list.yaml is not a mapping"),
        ("--config broken.yaml", r"config: broken.yaml: not valid YAML"),
        ("--config run.json", r"config: 3 is no mapping"),
        ("CartPole-v1", r"encoder: lare reads latents, and CartPole-v1 has no task with an encoder"),
        ("CartPole-v1 --method gp --agent sac", r"agent: SAC needs continuous actions, and these are discrete"),
        ("cn-6 --set agent=td3", r"agent: td3 trains a single agent; train teams with ppo"),
        ("cn-6 --agent ddpg", r"agent: ddpg trains a single agent; train teams with ppo"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_before_any_work_is_done(words, message, capsys, tmp_path):
    files = {"list.yaml": "- a", "broken.yaml": "a: [", "run.json": '{"config": 3}'}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    status, out, err = lare(capsys, "train", *words.split())
    assert (status, out) == (1, "")
    assert len(err.splitlines()) == 1
    assert message in err
    assert {path.name for path in tmp_path.iterdir()} == set(files)


def test_lists_are_also_for_programs(capsys):
    tasks, methods, encoders = (
        json.loads(lare(capsys, name, "--json")[1]) for name in ("tasks", "methods", "encoders")
    )
    assert set(task_names()) - {each["task"].partition("/")[0] for each in tasks} == set()
    assert [each["method"] for each in methods] == list(METHODS)
    assert methods[0] == {
        "method": "lare", "one_agent": True, "teams": True, "what_it_does": METHODS["lare"].summary
    }  # fmt: skip
    assert {("Reacher-v5", draw) for draw in range(3)} <= {(each["task"], each["draw"]) for each in encoders}
    shown = json.loads(lare(capsys, "encoders", "show", "Reacher-v5", "--json")[1])
    assert shown["card"]["task"] == "Reacher-v5"
    assert "def evaluation_func" in shown["source"]


def test_checks_are_also_for_programs(capsys, tmp_path):
    source = tmp_path / "source.py"
    for text, passed in (
        ("def evaluation_func(observation, action):\n    return [action[:, :1]]", True),
        ("x", False),
    ):
        source.write_text(text)
        status, out, _ = lare(capsys, "check", source, "--task", "Reacher-v5", "--out", "enc", "--json")
        found = json.loads(out)
        assert (status, found["passed"]) == (0 if passed else 1, passed)
        assert found["sealed"] == ("enc" if passed else None)
        assert set(found["checks"][0]) >= {"name", "passed", "detail"}
    (tmp_path / "task.yaml").write_text("name: x\n")
    status, out, _ = lare(capsys, "check", "task.yaml", "--json")
    assert status == 1
    assert set(json.loads(out)["problems"][0]) == {"file", "line", "field", "message", "remedy"}


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_completion_is_printed(shell, capsys):
    status, out, _ = lare(capsys, "--tyro-print-completion", shell)
    assert status == 0
    assert "lare" in out
    assert "--dry-run" in out
