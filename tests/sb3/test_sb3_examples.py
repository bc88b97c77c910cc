"""The examples and the snippets of docs/stable_baselines3.md run, with few steps."""

import inspect
import re
import runpy
import sys
from pathlib import Path

import pytest

pytest.importorskip("stable_baselines3", reason="stable_baselines3 is not installed (extra `sb3`)")

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/stable_baselines3.md").read_text("utf-8")


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
    runpy.run_path(str(ROOT / "examples" / name), run_name="__main__")
    assert "explained_variance" in capsys.readouterr().out


def test_the_snippets_of_the_page_run(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    scope = {}
    for block in blocks:
        shorter = block.replace("learn(20_000)", "learn(150)").replace("learn(200_000)", "learn(512)")
        exec(shorter.replace("learn(500)", "learn(150)").replace("n_steps=256", "n_steps=64"), scope)
    assert len(blocks) == 4
    assert scope["credit"].episodes == 8 + 3  # of PPO, and of the saved model


def test_settings_on_the_page_have_these_defaults():
    from latent_reward.adapters.sb3 import CreditReplayBuffer, CreditVecEnv

    rows = re.findall(r"^\| `(\w+)` \| (\S+) \|", PAGE, re.MULTILINE)
    assert len(rows) == 4
    for each in (CreditReplayBuffer, CreditVecEnv):
        parameters = inspect.signature(each).parameters
        for name, default in rows[: None if each is CreditReplayBuffer else 3]:
            assert str(parameters[name].default) == default
