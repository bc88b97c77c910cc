"""What a training tells its caller: episodes, evaluations, checkpoints, and loggers beside its own log."""

import sys
import types

import gymnasium
import pytest
import test_any_environment as small

import latent_reward as lr
from latent_reward.report.log import Log, Logger
from latent_reward.report.wandb import WandbLog

pytestmark = pytest.mark.usefixtures("compile_fast")

QUICK, TEAMS, STEPS = small.QUICK, small.TEAMS, small.STEPS


class Kept:
    def __init__(self, fails=False):
        self.written, self.closed, self.fails = [], 0, fails

    def write(self, reports):
        if self.fails:
            raise RuntimeError("no connection")
        self.written += [report.row() for report in reports]

    def close(self):
        self.closed += 1


def test_every_episode_evaluation_and_checkpoint_is_told(tmp_path):
    ends, reports, saved, logger = [], [], [], Kept()
    run = lr.train(
        small.limited, "linear", out=tmp_path / "run", seed=(0, 3), on_episode=ends.append,
        on_evaluation=reports.extend, on_checkpoint=saved.append, loggers=[logger], **QUICK,
    )  # fmt: skip
    assert [(end.seed, end.episode, end.step, end.length) for end in ends] == [
        (seed, episode, (episode + 1) * STEPS, STEPS) for episode in range(4) for seed in (0, 3)
    ]
    assert {end.team for end in ends} == {""}
    last = {end.seed: end.ret for end in ends}
    assert [row["training_return"] for row in run.metrics[-2:]] == pytest.approx([last[0], last[3]])
    assert [(report.seed, report.step) for report in reports] == [(0, 13), (3, 13), (0, 26), (3, 26)]
    assert [each.step for each in saved] == [13, 26]
    assert saved[0].path == run.folder / "checkpoint.safetensors"
    assert [row["return_mean"] for row in logger.written] == [row["return_mean"] for row in run.metrics]
    assert logger.closed == 1


@pytest.mark.parametrize("env", ["cn-6", "host"])
def test_agents_that_learn_from_whole_episodes_tell_each_of_them(env, tmp_path):
    ends = []
    task = (lambda: small.limited(choices=3)) if env == "host" else env
    horizon = STEPS if env == "host" else 25
    seeds = (0, 1) if env == "host" else (1,)
    told, silent = (
        lr.train(task, "uniform", out=tmp_path / name, seed=seeds, on_episode=call, **TEAMS)
        for name, call in (("told", ends.append), ("silent", None))
    )
    assert small.numbers(told) == small.numbers(silent)
    assert [(end.step, end.seed, end.episode) for end in ends] == [
        ((turn + 1) * 3 * horizon, seed, 3 * turn + number)
        for turn in range(2)
        for seed in seeds
        for number in range(3)
    ]
    assert {end.length for end in ends} == {horizon}
    of_last = [end.ret for end in ends if end.seed == 1][-3:]
    assert told.metrics[-1]["training_return"] == pytest.approx(sum(of_last) / 3, rel=1e-5)


@pytest.mark.parametrize("what", ["on_episode", "on_evaluation", "on_checkpoint", "loggers"])
def test_an_error_of_a_callback_ends_the_training_which_can_be_resumed(what, tmp_path):
    whole = lr.train(small.limited, "linear", out=tmp_path / "whole", **QUICK)
    seen = []

    def fail_later(told):
        seen.append(told)
        if len(seen) == (4 if what == "on_episode" else 2):
            raise RuntimeError("enough")

    logger = Kept()
    logger.write = fail_later
    with pytest.raises(RuntimeError, match="enough"):
        lr.train(
            small.limited, "linear", out=tmp_path / "run", **QUICK,
            **{what: [logger] if what == "loggers" else fail_later},
        )  # fmt: skip
    assert logger.closed == (what == "loggers")
    ends = []
    resumed = lr.resume(tmp_path / "run", env=small.limited, quiet=True, on_episode=ends.append)
    assert small.numbers(resumed) == small.numbers(whole)
    assert [end.episode for end in ends] == ([2, 3] if what != "on_checkpoint" else [])


def fake_wandb(monkeypatch, fails=False):
    calls = []

    def init(**options):
        if fails:
            raise ValueError("api_key not configured")
        calls.append(("init", options))
        log = lambda numbers, step: calls.append(("log", numbers, step))  # noqa: E731
        return types.SimpleNamespace(log=log, finish=lambda: calls.append(("finish",)))

    monkeypatch.setitem(sys.modules, "wandb", types.SimpleNamespace(init=init))
    return calls


def test_weights_and_biases_gets_finite_numbers_by_seed_and_step(tmp_path, monkeypatch):
    calls = fake_wandb(monkeypatch)
    log = WandbLog("credit", config={"a": 1}, mode="offline")
    assert isinstance(log, Logger)
    assert issubclass(Log, Logger)
    run = lr.train(small.limited, "linear", out=tmp_path / "run", seed=(0, 1), loggers=[log], **QUICK)
    assert calls[0] == ("init", {"project": "credit", "config": {"a": 1}, "mode": "offline"})
    assert [each[0] for each in calls] == ["init", "log", "log", "finish"]
    _, numbers, step = calls[2]
    assert step == 26
    assert numbers["seed1/return_mean"] == run.metrics[-1]["return_mean"]
    assert "seed1/win_rate" not in numbers  # NaN


def test_without_wandb_or_a_key_the_error_says_what_to_do(monkeypatch):
    fake_wandb(monkeypatch, fails=True)
    with pytest.raises(
        lr.LareError, match=r"^wandb: no run can be started in 'p' \(api_key not.*`wandb login`"
    ):
        WandbLog("p")
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(lr.LareError, match=r"^wandb: it cannot be imported .*latent-reward\[wandb\]"):
        WandbLog("p")


def test_the_command_line_logs_to_weights_and_biases(tmp_path, monkeypatch):
    from latent_reward import cli

    calls = fake_wandb(monkeypatch)
    gymnasium.register("any/Slide-v0", small.Slide, max_episode_steps=STEPS)
    words = (
        "train any/Slide-v0 --method linear --wandb credit --steps 26 --warmup 12 --evaluate-every 13 --quiet "
        "--evaluation-episodes 2 --batch-size 8 --set agent.hidden=[4]"
    )
    try:
        cli.main([*words.split(), "--out", str(tmp_path / "run")])
    finally:
        del gymnasium.registry["any/Slide-v0"]
    assert calls[0][1]["name"] == str(tmp_path / "run")
    assert calls[0][1]["config"]["method"]["name"] == "linear"
    assert [each[0] for each in calls] == ["init", "log", "log", "finish"]
    assert "wandb" not in (tmp_path / "run" / "config.json").read_text()
