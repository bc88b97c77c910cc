"""Environments that fail: one line with step, episode and seed, nothing that was learned is lost, and runs go on."""

import json
import os
import re
import subprocess
import sys

import broken_envs
import jax
import numpy as np
import pytest
from broken_envs import LIMIT, Bots, NoSeed, Old, OnlyObservations, point
from filelock import FileLock
from gymnasium.wrappers import TimeLimit
from safetensors.numpy import load_file

import latent_reward as lr
from latent_reward.training.folder import history

pytestmark = pytest.mark.usefixtures("compile_fast")

QUICK = {
    "steps": 40, "warmup": 12, "evaluate_every": 20, "evaluation_episodes": 2, "checkpoint_every": 1000,
    "batch_size": 8, "agent": {"hidden": (4,)}, "quiet": True,
}  # fmt: skip
TEAMS = {
    "iterations": 4, "episodes": 3, "first_updates": 2, "updates": 1, "evaluate_every": 2, "evaluation_episodes": 2,
    "checkpoint_every": 1000, "agent": {"hidden": (4,), "epochs": 1, "minibatch": 8}, "quiet": True,
}  # fmt: skip


def one_line(caught):
    text = str(caught.value)
    assert "\n" not in text
    return text


def numbers(run):
    return [{key: each for key, each in row.items() if key != "steps_per_second"} for row in run.metrics]


SINGLE = [
    ("raises", r"env: Point raised RuntimeError \(simulator lost its connection\) at step 5 of episode 1 \(seed 7\)"),
    ("exits", r"env: Point raised SystemExit \(3\) at step 5 of episode 1 \(seed 7\)"),
    ("mute error", r"env: Point raised Mute at step 5 of episode 1 \(seed 7\)"),
    ("short", r"observation: Point gave agent an observation of shape \(2,\) where its space says \(3,\) at step 5 of"),
    ("column", r"of shape \(3, 1\) where its space says \(3,\) at step 5 of episode 1 \(seed 7\)"),
    ("text", r"observation: Point gave 'here' to agent at step 5 of episode 1"),
    ("nothing", r"observation: Point gave None to agent at step 5 of episode 1"),
    ("ragged", r"observation: Point gave \[1.0, \[2.0, 3.0\], 4.0\] to agent at step 5 of episode 1"),
    ("nan observation", r"observation: Point gave array\(\[nan.* to agent at step 5 of episode 1"),
    ("huge observation", r"observation: Point gave array\(\[1.e\+39.* to agent at step 5 of episode 1"),
    ("four values", r"raised ValueError \(not enough values to unpack.*of Gymnasium \(observation, reward, t"),
    ("rewards", r"reward: Point gave array\(\[.*, 0\..*\]\) to agent at step 5 of episode 1 \(seed 7\)"),
    ("no reward", r"reward: Point gave None to agent at step 5 of episode 1"),
    ("nan reward", r"reward: Point gave nan to agent at step 5"),
    ("huge reward", r"reward: Point gave 1e\+300 to agent at step 5"),
    ("words", r"reward: Point gave 'much' to agent at step 5"),
    ("mask", r"action_mask: Point gave agent an action mask, and its actions are continuous"),
]  # fmt: skip


class Second(broken_envs.Point):
    """Breaks in its second episode."""

    def __init__(self, how):
        super().__init__("", 5)
        self.kind, self.begun = how, 0

    def reset(self, *, seed=None, options=None):
        self.how, self.begun = self.kind if self.begun else "", self.begun + 1
        return super().reset(seed=seed)


@pytest.mark.parametrize(("how", "message"), SINGLE)
def test_every_breach_of_one_agent_is_one_line_and_saved_first(how, message, tmp_path):
    env = TimeLimit(Second(how), LIMIT)
    with pytest.raises(lr.LareError) as caught:
        lr.train(env, "rrd-unbiased", out=tmp_path / "run", seed=7, **QUICK)
    text = one_line(caught).replace("Second", "Point")
    assert re.search(message, text), text
    # A result that is wrong is seen after its step, an error in it.
    assert re.search(
        r"saved at step \d+: the same command, or `lare train --resume .*run`, goes on$", text
    ), text
    assert (tmp_path / "run" / "checkpoint.safetensors").exists()
    assert history(tmp_path / "run")[-1]["event"] == "failed"


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("reset raises", r"^env: Point raised FileNotFoundError \(prices.csv is missing\) in reset at step 0 of"),
        ("reset without info", r"from reset, of Gymnasium \(observation, info\)|2 are due"),
        ("short", r"of shape \(2,\) where its space says \(3,\) at step 0 of episode 0 \(seed 0\)"),
    ],
)  # fmt: skip
def test_what_fails_at_once_leaves_nothing_behind(how, message, tmp_path):
    with pytest.raises(lr.LareError, match=message) as caught:
        lr.train(point(how), "rrd-unbiased", out=tmp_path / "run", **QUICK)
    one_line(caught)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("how", ["reward array", "reward column", "no info", "outside"])
def test_what_harms_nobody_trains(how, tmp_path):
    run = lr.train(point(how), "rrd-unbiased", out=tmp_path / "run", **QUICK)
    if how in ("reward array", "no info"):
        plain = lr.train(point(), "rrd-unbiased", out=tmp_path / "plain", **QUICK)
        assert numbers(run) == numbers(plain)


TEAM = [
    ("raises", r"env: bots raised RuntimeError .* at step 4 of episode 0 \(seed 3\)"),
    ("list of rewards", r"step: bots gave a list as rewards where a mapping from agents is due at step 4 of episode 0"),
    ("forgets an observation", r"observation: bots gave None to bot_1 at step 5 of episode 0 \(seed 3\)"),
    ("forgets a reward", r"reward: bots gave None to bot_1 at step 4 of episode 0"),
    ("never leaves", r"agents: bots lists bot_1 in its agents after it terminated at step 4 of"),
    ("flags", r"terminated: bots gave bot_0 array\(\[ True, False\]\) at step 4"),
    ("a mask of zeros", r"action_mask: bots gave bot_0 a mask that allows no action at step 5 of episode 0 \(seed 3\)"),
    ("a long mask", r"action_mask: bots gave bot_0 the mask .*; a mask has 3 zeros or ones"),
    ("nobody", r"agents: bots has nobody in its agents after reset at step 0 of episode 0 \(seed 3\)"),
]  # fmt: skip


@pytest.mark.parametrize(("how", "message"), TEAM)
def test_every_breach_of_a_team_is_one_line_and_saved_first(how, message, tmp_path):
    with pytest.raises(lr.LareError, match=message) as caught:
        lr.train(lambda: Bots(how, 4), "rrd-unbiased", out=tmp_path / "run", seed=3, **TEAMS)
    assert "Everything learned is saved at step 0" in one_line(caught)
    assert (tmp_path / "run" / "checkpoint.safetensors").exists()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (NoSeed, r"raised TypeError \(.*'seed'\) in reset .*; let reset take seed=None and options=None"),
        (
            Old,
            r"step: bots gave 4 values where 5 are due at step 0 of .*return \(observations, rewards, terminations",
        ),
        (OnlyObservations, r"reset: bots gave a dict where 2 are due"),
    ],
)
def test_old_forms_of_results_are_named(make, message, tmp_path):
    with pytest.raises(lr.LareError, match=message) as caught:
        lr.train(make, "rrd-unbiased", out=tmp_path / "run", **TEAMS)
    one_line(caught)


def test_spaces_that_are_not_functions_are_named():
    with pytest.raises(
        lr.LareError, match=r"observation_space of bots is a Box, not a function of the agent; write"
    ):
        lr.train(lambda: Bots("spaces are not functions"), "rrd-unbiased", **TEAMS)


@pytest.mark.parametrize("how", ["rewards in arrays", "pays the dead", "no infos", "leaves without an end"])
def test_what_harms_no_team_trains(how, tmp_path):
    lr.train(lambda: Bots(how, 4), "rrd-unbiased", out=tmp_path / "run", **TEAMS)


# ---------------------------------------------------------------- going on


@pytest.mark.parametrize("at", [1, 13, 26, 35, 41, 60, 88])
def test_the_same_call_goes_on_to_the_same_numbers(at, tmp_path):
    """Wherever a simulator fails once, in training or in an evaluation, nothing is lost and nothing is done twice."""
    whole = lr.train(point(), "rrd-unbiased", out=tmp_path / "whole", seed=(0, 5), **QUICK)
    broken_envs.COUNT["steps"] = 0
    env, folder = point("raises once", at), tmp_path / "run"
    with pytest.raises(lr.LareError, match="simulator lost its connection"):
        lr.train(env, "rrd-unbiased", out=folder, seed=(0, 5), **QUICK)
    run = lr.train(env, "rrd-unbiased", out=folder, seed=(0, 5), **QUICK)
    ours, theirs = ([{**row, **dict.fromkeys(LOST, 0)} for row in numbers(each)] for each in (run, whole))
    assert ours == theirs
    ours, theirs = (load_file(each.folder / "checkpoint.safetensors") for each in (run, whole))
    assert ours.keys() == theirs.keys()
    for name, array in theirs.items():
        np.testing.assert_array_equal(ours[name], array, err_msg=name)
    with pytest.raises(
        lr.LareError, match=r"holds a run already, which is finished; extend it with .*--steps N"
    ):
        lr.train(env, "rrd-unbiased", out=folder, seed=(0, 5), **QUICK)


LOST = (
    "critic_loss",
    "decoder_loss",
)  # of the last update before a failure in an evaluation, which is not saved


@pytest.mark.parametrize("at", [20, 60, 80, 120])
def test_a_team_goes_on_to_the_same_numbers(at, tmp_path):
    class Fails(Bots):
        def step(self, actions):
            broken_envs.COUNT["steps"] += 1
            if broken_envs.COUNT["steps"] == at:
                raise RuntimeError("simulator lost its connection")
            return super().step(actions)

    whole = lr.train(Bots, "rrd-unbiased", out=tmp_path / "whole", **TEAMS)
    broken_envs.COUNT["steps"] = 0
    with pytest.raises(
        lr.LareError, match=r"simulator lost its connection.*of (evaluation )?episode \d+ \(seed 0\)"
    ):
        lr.train(Fails, "rrd-unbiased", out=tmp_path / "run", **TEAMS)
    run = lr.resume(tmp_path / "run", env=Fails, quiet=True)
    assert [(row["step"], row["return_mean"]) for row in run.metrics] == [
        (row["step"], row["return_mean"]) for row in whole.metrics
    ]
    jax.tree.map(np.testing.assert_array_equal, run._states[0].agent, whole._states[0].agent)


def test_ctrl_c_in_a_simulator_that_hangs_saves(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        lr.train(point("interrupted", 5), "rrd-unbiased", out=tmp_path / "run", **QUICK)
    assert history(tmp_path / "run")[-1] == {**history(tmp_path / "run")[-1], "event": "stopped", "step": 5}
    run = lr.resume(tmp_path / "run", env=point(), quiet=True)
    assert numbers(run) == numbers(lr.train(point(), "rrd-unbiased", out=tmp_path / "whole", **QUICK))


def test_a_run_that_stopped_before_its_first_checkpoint_starts_again(tmp_path):
    first = lr.train(point(), "linear", out=tmp_path / "run", **QUICK)
    (tmp_path / "run" / "checkpoint.safetensors").unlink()
    with pytest.raises(
        lr.LareError, match=r"before its first checkpoint, so start it again with the command"
    ):
        lr.resume(tmp_path / "run", env=point(), quiet=True)
    with pytest.raises(
        lr.LareError, match=r"before its first checkpoint \(plan\.rounds is 40 and not 41\); remove"
    ):
        lr.train(point(), "linear", out=tmp_path / "run", **QUICK | {"steps": 41})
    again = lr.train(point(), "linear", out=tmp_path / "run", **QUICK)
    assert numbers(again) == numbers(first)


def test_another_run_is_never_overwritten(tmp_path):
    lr.train(point(), "linear", out=tmp_path / "run", **QUICK)
    with pytest.raises(
        lr.LareError, match=r"holds a run already \(method\.name is 'linear' and not 'gp'\); continue"
    ):
        lr.train(point(), "gp", out=tmp_path / "run", **QUICK)


def test_one_process_at_a_time_trains_in_a_folder(tmp_path):
    run = lr.train(point(), "linear", out=tmp_path / "run", **QUICK)
    code = (
        "import sys, time; from pathlib import Path; from latent_reward.training.folder import claimed, note\n"
        "folder = Path(sys.argv[1])\n"
        "with claimed(folder):\n"
        "    note(folder, 'resumed', step=1, rounds=40); print('mine', flush=True); time.sleep(60)"
    )
    other = subprocess.Popen([sys.executable, "-c", code, str(run.folder)], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout.readline().strip() == "mine"
        with pytest.raises(
            lr.LareError, match=rf"is being trained by process {other.pid}; wait for it or stop it"
        ):
            lr.resume(run.folder, env=point(), steps=60, quiet=True)
    finally:
        other.kill()  # as a crash would
        other.communicate()
    assert lr.resume(run.folder, env=point(), steps=60, quiet=True).metrics[-1]["step"] == 60


# ---------------------------------------------------------------- what does not repeat itself, and what is extended


def test_what_does_not_repeat_itself_resumes_without_its_unfinished_episode(tmp_path):
    env = point("unrepeatable")
    lr.train(env, "linear", out=tmp_path / "run", **QUICK | {"steps": 29})
    with pytest.raises(
        lr.LareError, match=r"did not repeat the 5 steps .*\(seed 0\).*add --drop-unfinished"
    ) as caught:
        lr.resume(tmp_path / "run", env=env, steps=40, quiet=True)
    one_line(caught)
    assert json.loads((tmp_path / "run" / "config.json").read_text())["config"]["plan"]["rounds"] == 29
    run = lr.resume(tmp_path / "run", env=env, steps=40, drop_unfinished=True, quiet=True)
    assert [row["step"] for row in run.metrics] == [20, 29, 40]
    # 3 whole episodes of 8 steps; the fourth began again at step 29 and ended at 37.
    assert run.metrics[-1]["episodes"] == 4


@pytest.mark.parametrize("buffer_size", [1000, 10])
def test_an_extended_run_is_as_one_that_was_longer_from_the_start(buffer_size, tmp_path):
    settings = QUICK | {"buffer_size": buffer_size}
    long = lr.train(point(), "rrd-unbiased", out=tmp_path / "long", **settings | {"steps": 60})
    short = lr.train(point(), "rrd-unbiased", out=tmp_path / "short", **settings | {"steps": 35})
    assert short.config.plan.rounds == 35
    run = lr.resume(short.folder, env=point(), steps=60, quiet=True)
    assert run.config == long.config
    assert [row for row in numbers(run) if row["step"] != 35] == numbers(long)
    ours, theirs = (load_file(each.folder / "checkpoint.safetensors") for each in (run, long))
    for name, array in theirs.items():
        np.testing.assert_array_equal(ours[name], array, err_msg=name)
    (extended,) = [event for event in history(run.folder) if event["event"] == "extended"]
    assert (extended["step"], extended["before"], extended["rounds"]) == (35, 35, 60)


def test_a_team_run_is_extended_in_iterations(tmp_path):
    lr.train(Bots, "rrd-unbiased", out=tmp_path / "run", **TEAMS)
    with pytest.raises(lr.LareError, match=r"^steps: ppo trains for iterations; write --iterations N"):
        lr.resume(tmp_path / "run", env=Bots, steps=9, quiet=True)
    with pytest.raises(lr.LareError, match=r"^iterations: a run of 4 iterations cannot be cut to 3"):
        lr.resume(tmp_path / "run", env=Bots, iterations=3, quiet=True)
    run = lr.resume(tmp_path / "run", env=Bots, iterations=6, quiet=True)
    assert [row["step"] for row in run.metrics] == [3 * LIMIT * each for each in (2, 4, 6)]
    assert run.config.plan.rounds == 6


def test_a_kill_while_a_run_is_extended_leaves_one_that_goes_on(tmp_path, monkeypatch):
    lr.train(point(), "linear", out=tmp_path / "run", **QUICK)

    def killed(*_):
        raise MemoryError("killed here")

    for name in ("_write_config", "_train"):
        with monkeypatch.context() as patch:
            patch.setattr(f"latent_reward.training.train.{name}", killed)
            with pytest.raises(MemoryError):
                lr.resume(tmp_path / "run", env=point(), steps=60, quiet=True)
    # The configuration says 60 now, and the checkpoint still 40.
    run = lr.resume(tmp_path / "run", env=point(), quiet=True)
    assert [row["step"] for row in run.metrics] == [20, 40, 60]


def test_a_length_that_was_only_edited_is_refused(tmp_path):
    run = lr.train(point(), "linear", out=tmp_path / "run", **QUICK)
    path = run.folder / "config.json"
    path.write_text(path.read_text().replace('"rounds": 40', '"rounds": 60'))
    (run.folder / "history.jsonl").unlink()
    with pytest.raises(lr.LareError, match=r"^plan\.rounds: the run was trained with 40, not with 60"):
        lr.resume(run.folder, env=point(), quiet=True)


def test_a_process_that_is_gone_leaves_no_lock(tmp_path):
    code = (
        "import os, sys, broken_envs, latent_reward as lr\n"
        "class Dies(broken_envs.Point):\n"
        "    def step(self, action):\n"
        "        if self.t == 3: os._exit(9)\n"
        "        return super().step(action)\n"
        "from gymnasium.wrappers import TimeLimit\n"
        f"lr.train(lambda: TimeLimit(Dies(), {LIMIT}), 'linear', out=sys.argv[1], **{QUICK})"
    )
    place = os.path.dirname(__file__)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([place, *filter(None, sys.path)])}
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "run")], env=environment, check=False)
    assert done.returncode == 9
    with FileLock(tmp_path / "run" / "run.lock", timeout=0):
        assert history(tmp_path / "run")[-1]["event"] == "started"
