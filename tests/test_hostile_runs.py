"""A run folder is data: whatever is wrong with a file of it is a single line, and nothing it names runs."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import yaml
from hostile import (
    DEEP,
    MARK,
    MODULE,
    NOT_JSON,
    edited,
    refused,
)
from safetensors import safe_open
from safetensors.numpy import save_file

import latent_reward as lr
from latent_reward import checkpoint, cli
from latent_reward.library.store import STATE
from latent_reward.report.log import read_metrics


@pytest.fixture(scope="module")
def trained(tmp_path_factory, compile_fast):
    """A run of a few steps; tests damage copies of it."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    settings = {"steps": np.int64(60), "warmup": 40, "evaluate_every": 30, "evaluation_episodes": 1}
    small = lr.TD3(hidden=(8,))
    lr.train(
        "Pendulum-v1", method="linear", out=folder, seed=np.int64(3), agent=small, quiet=True, **settings
    )
    return folder


@pytest.fixture
def run(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "run")


def test_whole_numbers_of_numpy_are_whole_numbers(trained):
    config = json.loads((trained / "config.json").read_text())["config"]
    assert config["seeds"] == [3]
    assert config["plan"]["rounds"] == 60
    assert lr.load_run(trained).evaluate(np.int32(1))["agent"].shape == (1, 1)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        *((name, ...) for name in ("format", "config", "versions", "config.seeds", "config.plan.agent.kind",
                                   "config.method.credit.kind", "config.plan.rounds", "config.task")),
        ("format", "3"), ("format", 5), ("surprise", 1), ("versions", []), ("versions.jax", 3), ("config", []),
        ("config.surprise", 1), ("config.plan.surprise", 1), ("config.plan.agent.surprise", 1),
        ("config.method.credit.surprise", 1), ("config.seeds", []), ("config.seeds", [0, 0]), ("config.seeds", [-1]),
        ("config.seeds", ["3"]), ("config.seeds", [3.0]), ("config.seeds", [True]), ("config.seeds", 3),
        ("config.seeds", [1 << 70]), ("config.seeds", list(range(2000))), ("config.task", "../x"), ("config.task", 3),
        ("config.encoder", 3), ("config.encoder", "a\x1b"), ("config.method.name", "../../x"),
        ("config.method", "lare"),
        ("config.method.credit.kind", "x"), ("config.plan.rounds", 60.5), ("config.plan.rounds", "60"),
        ("config.plan.rounds", 0), ("config.plan.rounds", -1), ("config.plan.rounds", 1 << 40),
        ("config.plan.rounds", True), ("config.plan.evaluate_every", 0), ("config.plan.agent.discount", "0.9"),
        ("config.plan.agent.discount", None), ("config.plan.agent.learning_rate", -1.0),
        ("config.plan.agent.hidden", [0]), ("config.plan.agent.hidden", [10**9]), ("config.plan.agent.hidden", 8),
        ("config.plan.agent.hidden", [8.0]), ("config.plan.experience.batch_size", 0), ("config.plan.experience", {}),
        ("config.plan.experience.buffer_size", 1 << 60), ("config.plan.experience.kind", "x"),
    ],
)  # fmt: skip
def test_a_configuration_with_one_wrong_value_is_refused(place, value, run):
    path = run / "config.json"
    path.write_text(json.dumps(edited(json.loads(path.read_text()), place, value)))
    with pytest.raises(lr.LareError, match=r"^run: ") as caught:
        lr.load_run(run)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", [*NOT_JSON, b"null", b"[]", b"3", b"{}"], ids=lambda each: repr(each[:12]))
def test_a_configuration_that_is_none_is_refused(text, run, capsys):
    (run / "config.json").write_bytes(text)
    assert "run: " in refused(capsys, "evaluate", run)


@pytest.mark.parametrize(
    "change",
    [
        {"env": "stranger:Stranger-v0"}, {"env": "os:system"}, {"env": ""}, {"name": "../x"}, {"max_steps": 1 << 40},
        {"max_steps": "200"}, {"surprise": 1}, {"teams": {"../x": ["a"]}}, {"spaces": ["other"]}, {"kind": "x"},
        {"spaces": 3}, {"env": "stranger", "teams": {"a": ["a"]}},
    ],
    ids=str,
)  # fmt: skip
def test_the_task_of_a_run_is_a_file_like_any_other(change, run, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("stranger.py").write_text(MODULE)
    path = run / "task.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **change}))
    line = refused(capsys, "evaluate", run)
    assert refused(capsys, "train", "--resume", run) == line
    assert not Path(MARK).exists()
    if "stranger:" in str(change):
        assert "--import stranger" in line


ROWS = ["null", "[]", "3", "{}", '{"seed": 0}', '{"seed": "0", "step": 1}', '{"seed": 0, "step": -1}', "x",
        '{"seed": 0, "step": 1, "a": "x"}', '{"seed": 0, "step": 1, "a": []}', '{"seed": 0, "step": 1, "team": 3}',
        '{"seed": 0, "step": 1, "warning": "\\u001b[2J"}', '{"seed": 0, "step": 1e99}', '{"seed": 0, "step": NaN}',
        "[" * DEEP]  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda each: each[:40])
def test_metrics_that_are_none_are_refused(row, run, capsys):
    path = run / "metrics.jsonl"
    text = path.read_text()
    path.write_text(f"{text}{row}\n{text}")
    with pytest.raises(lr.LareError, match=r"^metrics: .*metrics\.jsonl:3: "):
        read_metrics(run)
    assert "metrics: " in refused(capsys, "evaluate", run)


def test_a_last_line_that_was_cut_short_is_left_out(run):
    path = run / "metrics.jsonl"
    text = path.read_text()
    path.write_text(text + text[:20])
    assert len(read_metrics(run)) == len(text.splitlines())


def rewritten(path, change):
    """Write a checkpoint again, with ``change(arrays, metadata)``."""
    with safe_open(path, "numpy") as file:
        arrays, metadata = {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118
    change(arrays, metadata)
    save_file(arrays, path, metadata or None)


def header(**changes):
    def change(_, metadata):
        found = json.loads(metadata["header"])
        found |= changes
        metadata["header"] = json.dumps({name: value for name, value in found.items() if value is not ...})

    return change


def array(part, value):
    def change(arrays, _):
        name = next(name for name in sorted(arrays) if part in name)
        arrays[name] = value(arrays[name])

    return change


BOX = gymnasium.spaces.Box(-1, 1, (1,))
DAMAGE = {
    "no metadata": lambda _, metadata: metadata.clear(),
    "no header": lambda _, metadata: metadata.pop("header"),
    "no configuration": lambda _, metadata: metadata.pop("config"),
    "nested header": lambda _, metadata: metadata.update(header="[" * DEEP),
    "header of nothing": lambda _, metadata: metadata.update(header="null"),
    "another configuration": lambda _, metadata: metadata.update(config="{}"),
    "a list as configuration": lambda _, metadata: metadata.update(config="[]"),
    "no step": header(step=...),
    "half a step": header(step=1.5),
    "a step in words": header(step="60"),
    "a negative step": header(step=-1),
    "another format": header(format=99),
    "a format in words": header(format="3"),
    "no slots": header(slots=...),
    "an empty list of slots": header(slots=[]),
    "a slot of another seed": header(slots=[[7, 1, 0.0]]),
    "a slot of texts": header(slots=[["3", "1", "0"]]),
    "a slot too short": header(slots=[[3, 1]]),
    "no arrays": lambda arrays, _: arrays.clear(),
    "NaN in the actor": array("actor", lambda each: np.full_like(each, np.nan)),
    "infinity in the actor": array("actor", lambda each: np.full_like(each, np.inf)),
    "another shape": array("actor", lambda each: np.zeros((*each.shape, 2), each.dtype)),
    "another type": array("actor", lambda each: each.astype(np.float64)),
    "whole numbers": array("actor", lambda each: each.astype(np.int32)),
    "a scalar as window": array("window", lambda each: np.zeros(())),
    "a window of other columns": array("window", lambda each: np.zeros((20, 2))),
    "NaN in an action": array("'action'", lambda each: np.full_like(each, np.nan)),
    "actions of another shape": array("'action'", lambda each: np.zeros((3, 9), np.float32)),
    "too many actions": array("'action'", lambda each: np.zeros((500, *each.shape[1:]), np.float32)),
    "an observation of another shape": array("'observation'", lambda each: np.zeros((1, 9), np.float32)),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_checkpoint_that_was_changed_is_refused(damage, run):
    rewritten(run / "checkpoint.safetensors", DAMAGE[damage])
    with pytest.raises(lr.LareError) as caught:
        lr.resume(run, quiet=True)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [b"", b"\x00" * 8, b"\xff" * 8, b"\xff" * 100, b"8" + b"\x00" * 7 + b"{}", b"{" * 1000,
    (1 << 62).to_bytes(8, "little")],
    ids=repr,
)  # fmt: skip
def test_a_checkpoint_that_is_none_is_refused(content, run, capsys):
    (run / "checkpoint.safetensors").write_bytes(content)
    assert "checkpoint: " in refused(capsys, "evaluate", run)
    assert "checkpoint: " in refused(capsys, "train", "--resume", run)


def test_a_folder_in_place_of_a_file_is_refused(run, capsys):
    for name in ("checkpoint.safetensors", "metrics.jsonl", "task.yaml", "config.json"):
        (run / name).unlink()
        (run / name).mkdir()
        refused(capsys, "evaluate", run)


def test_the_copy_that_nobody_damaged_goes_on(run, capsys):
    cli.main(["evaluate", str(run), "--episodes", "1"])
    assert "seed 3: return" in capsys.readouterr().out
    assert lr.resume(run, quiet=True).metrics == lr.load_run(run).metrics


@pytest.mark.parametrize(
    "damage",
    [header(updates=-1), header(rows=1 << 40), header(episodes="1"), header(slots=...), DAMAGE["no metadata"],
     DAMAGE["no configuration"], DAMAGE["nested header"], DAMAGE["no arrays"], DAMAGE["a scalar as window"]],
)  # fmt: skip
def test_a_saved_credit_that_was_changed_is_refused(damage, tmp_path):
    credit = lr.Credit(observation_space=2, action_space=BOX, horizon=5, method="linear")
    credit.add(lr.Episode(np.zeros((4, 2)), np.zeros((3, 1)), np.float32(1)))
    credit.save(tmp_path / "credit")
    assert lr.Credit.load(tmp_path / "credit").episodes == 1
    rewritten(tmp_path / "credit" / STATE, damage)
    with pytest.raises(lr.LareError):
        lr.Credit.load(tmp_path / "credit")


def test_counters_are_written_as_json_without_nan(tmp_path):
    checkpoint.write(tmp_path / "c", {"a": np.zeros(1)}, {"last": float("nan")}, "{}")
    assert checkpoint.read(tmp_path / "c").header["last"] is None


def test_nothing_that_lies_in_the_current_folder_runs(run, tmp_path):
    place = tmp_path / "current"
    place.mkdir()
    for name in (
        "torch",
        "libtpu",
        "tyro",
        "rich",
        "yaml",
        "numpy",
        "jax",
        "gymnasium",
        "tensorboardX",
        "boto3",
    ):
        (place / f"{name}.py").write_text(f"open({str(place / MARK)!r}, 'a').write({name!r})")
    source = str(Path(lr.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-m", "latent_reward.cli", "evaluate", str(run), "--episodes", "1"],
        cwd=place, capture_output=True, text=True, timeout=200,
        env={**os.environ, "PYTHONPATH": f"{source}{os.pathsep}{os.pathsep}."},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert not (place / MARK).exists(), (place / MARK).read_text()
