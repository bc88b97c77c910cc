"""The examples run, with few steps."""

import runpy
import sys
from pathlib import Path

import pytest

pytest.importorskip("stable_baselines3", reason="stable_baselines3 is not installed (extra `sb3`)")

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize(
    "command",
    [
        "sb3_sac.py --steps 200",
        "sb3_ppo.py --steps 256 --envs 2 --rollout 64",
        "cleanrl_td3.py --total-timesteps 300 --learning-starts 150",
    ],
)
def test_an_example_runs(command, monkeypatch, capsys):
    name, *options = command.split()
    monkeypatch.setattr(sys, "argv", [name, *options])
    runpy.run_path(str(EXAMPLES / name), run_name="__main__")
    assert "explained_variance" in capsys.readouterr().out
