"""The walk-through of docs/own_environment.md, command by command, in a copy of the example."""

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

import latent_reward as lr
from latent_reward.encoder.encoder import load

pytestmark = pytest.mark.usefixtures("compile_fast")

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "examples" / "own_environment"
QUICK = (
    "--steps 240 --warmup 120 --evaluate-every 120 --evaluation-episodes 1 --batch-size 32 --out run --quiet"
)


def commands():
    page = (ROOT / "docs" / "own_environment.md").read_text("utf-8")
    first, *rest = page.split("```")[1].strip().splitlines()
    assert first == "cd examples/own_environment"
    return {line.split()[1]: line for line in rest}


def run(folder, line, status=0):
    words = [sys.executable, "-m", "latent_reward.cli", *line.split()[1:]]
    source = str(ROOT / "src")
    result = subprocess.run(
        words, cwd=folder, capture_output=True, text=True, timeout=250, check=False,
        env={name: value for name, value in os.environ.items() if "API_KEY" not in name}
        | {"PYTHONPATH": source, "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    assert result.returncode == status, result.stdout + result.stderr
    return " ".join((result.stdout + result.stderr).split())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A copy of the example in which the first three commands were given."""
    place = tmp_path_factory.mktemp("example") / "own_environment"
    shutil.copytree(EXAMPLE, place, ignore=shutil.ignore_patterns("__pycache__"))
    assert list(commands()) == ["task", "check", "design", "train"]
    assert "written: draft.yaml" in run(place, commands()["task"])
    assert "fits canal:Canal-v0: 3 observations, 1 actions, 100 steps" in run(place, commands()["check"])
    assert "1: passed" in run(place, commands()["design"])
    return place


def test_the_finished_file_is_the_draft_with_its_words_filled_in(folder):
    drafted, finished = (
        yaml.safe_load((folder / name).read_text("utf-8")) for name in ("draft.yaml", "Canal-v0.yaml")
    )
    written = "FILL IN"
    assert written in json.dumps(drafted)
    assert written not in json.dumps(finished)
    for key in ("name", "env", "max_steps"):
        assert drafted[key] == finished[key]
    for part in ("observation", "action"):
        numbers = [[each.get(key) for key in ("index", "low", "high")] for each in finished[part]]
        assert [[each.get(key) for key in ("index", "low", "high")] for each in drafted[part]] == numbers
    assert "draft.yaml:8: goal: plain and paper are still to be filled in" in run(
        folder, "lare check draft.yaml", status=1
    )


def test_the_recorded_answer_becomes_an_encoder_that_computes_what_it_says(folder):
    encoder = load(folder / "canal-encoder")
    assert encoder.latent_names == ("nearness", "rest", "moored", "approach", "balance")
    rows = np.random.default_rng(0).uniform(-2, 2, (20, 4)).astype(np.float32)
    x, v, current, thrust = rows.T
    expected = [
        -np.abs(x) / 3, -np.abs(v) / 2, np.exp(-4 * x**2 - 4 * v**2), -np.sign(x) * v / 2, -((thrust + current) ** 2),
    ]  # fmt: skip
    np.testing.assert_allclose(encoder.encode(rows[:, :3], rows[:, 3:]), np.stack(expected, 1), atol=1e-5)
    assert encoder.card.explanations[0] == "How near the berth is."
    assert encoder.card.hygiene == ()


def test_the_encoder_trains_an_agent_in_the_environment_that_the_module_registers(folder, monkeypatch):
    line = commands()["train"].split(" --steps")[0]
    run(folder, f"{line} {QUICK}")
    monkeypatch.syspath_prepend(folder)
    lr.allow_import("canal")
    trained = lr.load_run(folder / "run")
    assert trained.config.encoder == "canal-encoder"
    assert np.isfinite(trained.metrics[-1]["critic_loss"])
    reward = trained.proxy_reward(np.zeros((2, 3)), np.zeros((2, 1)), np.ones((2, 3)))
    assert reward.shape == (2,)
    del gymnasium.registry["Canal-v0"], sys.modules["canal"]
