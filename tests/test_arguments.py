"""Arguments are checked before anything is done: whatever is wrong with one is a single line."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from wrong_arguments import CALLS

import latent_reward as lr


@pytest.fixture(scope="module")
def trained(tmp_path_factory, compile_fast):
    """A run of a few steps whose counts are numbers of NumPy."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    counts = {"steps": 60, "warmup": 40, "evaluate_every": 30, "evaluation_episodes": 1, "seed": 3}
    numbers = {name: np.int64(count) for name, count in counts.items()}
    agent = lr.TD3(hidden=(8,), learning_rate=float(np.float32(1e-3)))
    lr.train("Pendulum-v1", method="linear", out=folder, agent=agent, quiet=True, **numbers)
    return folder


@pytest.fixture(scope="module")
def outcome(trained, tmp_path_factory):
    """What each call raised in a program without type checks at run time."""
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("wrong_arguments.py")), str(trained)],
        cwd=tmp_path_factory.mktemp("empty"), capture_output=True, text=True, timeout=280,
        env={**os.environ, "PYTHONPATH": str(Path(lr.__file__).parents[1])},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("number", range(len(CALLS)), ids=lambda number: CALLS[number][0])
def test_a_wrong_argument_is_one_line_that_names_it(number, outcome):
    kind, message = outcome["raised"][number]
    assert kind in ("LareError", "TaskError"), message
    assert "\n" not in message
    assert message.startswith(CALLS[number][1])


def test_no_wrong_call_left_anything_behind(outcome):
    assert outcome["written"] == []


def test_whole_numbers_of_numpy_are_whole_numbers(trained):
    config = json.loads((trained / "config.json").read_text())["config"]
    assert config["seeds"] == [3]
    assert config["plan"]["rounds"] == 60
    assert lr.load_run(trained).evaluate(np.int32(1))["agent"].shape == (1, 1)


def test_a_name_loads_a_bundled_encoder():
    task = lr.load_task("HalfCheetah-v5")
    assert lr.load_encoder("HalfCheetah-v5") == lr.load_encoder(task, draw=np.int64(0))
