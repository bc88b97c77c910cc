"""Runs: what a folder holds, that a stopped run goes on to the same numbers, and what users are told."""

import dataclasses
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import gymnasium
import numpy as np
import pydantic
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

import latent_reward as lr
from latent_reward import checkpoint, cli
from latent_reward.agents.ppo import PPO
from latent_reward.agents.td3 import TD3
from latent_reward.credit.methods import METHODS, find_method
from latent_reward.credit.solved import Solved
from latent_reward.encoder.bundled import bundled_folder
from latent_reward.sealing.verify import seal
from latent_reward.training.config import FORMAT, RunConfig, spell_seeds
from latent_reward.training.plan import make_plan
from latent_reward.training.run import make_training

pytestmark = pytest.mark.usefixtures("compile_fast")

SCHEDULE = {"warmup": 60, "evaluate_every": 60, "evaluation_episodes": 2, "checkpoint_every": 70}
SETTINGS = [
    "--warmup", "60", "--evaluate-every", "60", "--evaluation-episodes", "2", "--checkpoint-every", "70",
    "--batch-size", "32",
]  # fmt: skip
LOGGED = {
    "seed", "team", "step", "episodes", "return_mean", "return_std", "win_rate", "training_return", "decoder_loss",
    "critic_loss", "explained_variance", "credit_correlation", "proxy_spread",
    "explained_beyond_length", "return_slope", "credit_slope", "credit_bias", "credit_uncertainty",
    "steps_per_second", "warning",
}  # fmt: skip
STEPS = 185  # not a multiple of the episode length, of evaluations or of checkpoints


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "reference"
    return lr.train("Reacher-v5", out=folder, steps=STEPS, batch_size=32, **SCHEDULE, quiet=True)


@pytest.fixture(scope="module")
def transitions():
    env = lr.make_env(lr.load_task("Reacher-v5"))
    env.action_space.seed(0)
    observations = [env.reset(seed=0)[0]]
    actions = [env.action_space.sample() for _ in range(20)]
    observations += [env.step(action)[0] for action in actions]
    env.close()
    return np.array(observations[:-1]), np.array(actions), np.array(observations[1:])


def lare(*words, **kwargs):
    command = [sys.executable, "-m", "latent_reward.cli", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, check=False, **kwargs)


def numbers(folder):
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in row.items() if key != "steps_per_second"} for row in rows]


def test_a_run_folder_stands_on_its_own(reference):
    names = {path.name for path in reference.folder.iterdir()}
    expected = {"config.json", "task.yaml", "encoder", "metrics.jsonl", "checkpoint.safetensors"}
    assert names == expected | {"tensorboard", "learning_curve.png", "history.jsonl", "run.lock"}
    events = [json.loads(line) for line in (reference.folder / "history.jsonl").read_text().splitlines()]
    assert [(each["event"], each["step"]) for each in events] == [("started", 0), ("finished", 185)]
    assert all(set(row) == LOGGED for row in reference.metrics)
    page = (Path(__file__).parents[1] / "docs" / "metrics.md").read_text("utf-8")
    assert [name for name in sorted(LOGGED) if f"`{name}`" not in page] == []
    assert {row["team"] for row in reference.metrics} == {""}
    assert json.loads((reference.folder / "config.json").read_text())["format"] == FORMAT
    assert [row["step"] for row in reference.metrics] == [60, 120, 180, 185]
    assert list((reference.folder / "tensorboard" / "seed0").iterdir())
    assert (reference.folder / "learning_curve.png").read_bytes().startswith(b"\x89PNG")
    again = lr.load_run(reference.folder)
    assert again.config == reference.config
    assert again.task == reference.task == lr.load_task("Reacher-v5")
    assert again.encoders == reference.encoders == (lr.load_encoder(again.task),)
    assert again.teams == ("agent",)


def test_the_proxy_reward_reads_numpy_and_decodes_latents_row_by_row(reference, transitions):
    rewards = reference.proxy_reward(*transitions)
    assert isinstance(rewards, np.ndarray)
    assert rewards.shape == (20,)
    assert rewards.std() > 0
    single = [reference.proxy_reward(*(rows[i : i + 1] for rows in transitions))[0] for i in range(20)]
    np.testing.assert_allclose(rewards, single, rtol=1e-5, atol=1e-6)


def test_what_the_latents_are_worth_is_told_by_name(reference):
    worth = reference.latent_weights()
    assert set(worth) == set(reference.encoders[0].latent_names)
    sizes = [abs(value) for value in worth.values()]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > 0


def test_actions_stay_in_bounds_and_evaluation_repeats(reference, transitions):
    actions = reference.act(transitions[0])
    assert actions.shape == (20, 2)
    assert np.abs(actions).max() <= 1
    returns = reference.evaluate(2)
    assert {team: each.shape for team, each in returns.items()} == {"agent": (1, 2)}
    np.testing.assert_array_equal(returns["agent"], reference.evaluate(2)["agent"])
    with pytest.raises(lr.LareError, match=r"episodes: 0 is not possible"):
        reference.evaluate(0)
    with pytest.raises(lr.LareError, match=r"no team 'prey', only agent"):
        reference.act(transitions[0], team="prey")
    with pytest.raises(
        lr.LareError, match=r"Reacher-v5 plays on the host; step its environment with run\.act"
    ):
        reference.play(2)


def start(folder):
    words = ["train", "Reacher-v5", "--steps", str(STEPS), *SETTINGS, "--out", str(folder)]
    return subprocess.Popen(
        [sys.executable, "-m", "latent_reward.cli", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("signal_number", [signal.SIGKILL, signal.SIGINT])
def test_a_stopped_run_goes_on_to_the_same_numbers(reference, tmp_path, signal_number):
    folder = tmp_path / "stopped"
    process = start(folder)
    deadline = time.monotonic() + 200
    while not (folder / "checkpoint.safetensors").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal_number)
    output, errors = process.communicate(timeout=60)
    if signal_number == signal.SIGINT and process.returncode != 0:  # 0: it was faster than the signal
        assert process.returncode == 130
        assert "lare train --resume" in output
        assert "Traceback" not in errors
    resumed = lr.resume(folder, quiet=True)
    assert numbers(folder) == numbers(reference.folder)
    ours, theirs = (load_file(run.folder / "checkpoint.safetensors") for run in (resumed, reference))
    assert ours.keys() == theirs.keys()
    for name, array in theirs.items():
        np.testing.assert_array_equal(ours[name], array, err_msg=name)


def test_resuming_refuses_another_configuration(reference, tmp_path):
    assert "keeps its configuration" in lare("train", "--resume", reference.folder, "--warmup", "3").stderr
    for words in (["--steps", "100"], ["--iterations", "300"]):
        assert "new total" in lare("train", "--resume", reference.folder, *words).stderr
    folder = tmp_path / "edited"
    shutil.copytree(reference.folder, folder)
    text = (folder / "config.json").read_text()
    (folder / "config.json").write_text(text.replace('"discount": 0.99', '"discount": 0.9'))
    with pytest.raises(lr.LareError, match=r"^plan\.agent\.discount: .*0\.99.*0\.9;.*start a new run"):
        lr.resume(folder, quiet=True)


def test_a_metrics_line_cut_short_by_a_kill_is_dropped(reference, tmp_path):
    folder = tmp_path / "cut"
    shutil.copytree(reference.folder, folder)
    whole = (folder / "metrics.jsonl").read_text()
    (folder / "metrics.jsonl").write_text(whole + '{"seed": 0, "st')
    assert lr.load_run(folder).metrics == reference.metrics
    lr.resume(folder, quiet=True)
    assert (folder / "metrics.jsonl").read_text() == whole


def test_damaged_files_are_named(reference, tmp_path):
    folder = tmp_path / "damaged"
    shutil.copytree(reference.folder, folder)
    (folder / "checkpoint.safetensors").write_bytes(b"not a checkpoint")
    with pytest.raises(lr.LareError, match=r"checkpoint: .* is damaged"):
        lr.resume(folder, quiet=True)
    (folder / "checkpoint.safetensors").unlink()
    with pytest.raises(lr.LareError, match="does not exist"):
        lr.load_run(folder).act(np.zeros(10))
    (folder / "config.json").write_text("{")
    with pytest.raises(lr.LareError, match=r"config\.json is damaged"):
        lr.load_run(folder)


def test_a_run_of_an_earlier_format_is_refused_in_one_line(reference, tmp_path, capsys):
    folder = tmp_path / "earlier"
    shutil.copytree(reference.folder, folder)
    path = folder / "config.json"
    stored = json.loads(path.read_text())
    for change in ({}, {"format": FORMAT - 1}):
        path.write_text(json.dumps({key: stored[key] for key in ("config", "versions")} | change))
        for use in (lr.load_run, lr.resume):
            with pytest.raises(
                lr.LareError, match=r"^run: .*written by another version.*; start a new run$"
            ) as error:
                use(folder)
            assert "\n" not in str(error.value)
    for words in (["evaluate", str(folder)], ["train", "--resume", str(folder)]):
        with pytest.raises(SystemExit) as stopped:
            cli.main(words)
        assert stopped.value.code == 1
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert "another version" in line
    path.write_text(json.dumps(stored))
    shutil.copy(reference.folder / "checkpoint.safetensors", folder / "whole")
    with safe_open(folder / "whole", framework="numpy") as file:
        arrays, metadata = {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118
    header = json.loads(metadata["header"]) | {"format": checkpoint.FORMAT - 1}
    save_file(arrays, folder / "checkpoint.safetensors", metadata | {"header": json.dumps(header)})
    with pytest.raises(
        lr.LareError, match=r"^checkpoint: .*another version of latent-reward \(format 2, this one"
    ):
        lr.resume(folder, quiet=True)


def test_a_full_disk_leaves_the_last_checkpoint(reference, tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    path.write_bytes(b"the last good one")
    training = make_training(reference.config, reference.world, reference.encoders)
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limit[1]))
    try:
        with pytest.raises(lr.LareError, match="free space"):
            training.save(path, reference.config.to_json())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        training.close()
    assert path.read_bytes() == b"the last good one"
    assert os.listdir(tmp_path) == ["checkpoint.safetensors"]


def test_a_run_is_never_overwritten(reference, tmp_path):
    with pytest.raises(lr.LareError, match="holds a run already"):
        lr.train("Reacher-v5", out=reference.folder, steps=10, quiet=True)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(lr.LareError, match="before its first checkpoint; remove the folder"):
        lr.train("Reacher-v5", out=tmp_path, steps=10, quiet=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("Reacher-v6",),
            r"no task and no installed environment is called 'Reacher-v6' \(did you mean Reacher-v",
        ),
        (("Reacher-v5", "lair"), r"there is no 'lair' \(did you mean lare"),
    ],
)
def test_unknown_names_are_met_with_near_ones(arguments, message, tmp_path):
    with pytest.raises(lr.LareError, match=message):
        lr.train(*arguments, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"draw": 99}, r"no bundled draw 99, only 0, 1, 2"),
        ({"encoder": bundled_folder("HalfCheetah-v5", 0)}, r"encoder of HalfCheetah-v5"),
        ({"encoder": "nowhere"}, r"nowhere"),
        ({"method": "rd", "encoder": bundled_folder("Reacher-v5", 0)}, r"reads no latents"),
        ({"steps": 0}, r"steps: 0"),
        ({"batch_size": 0}, r"batch_size: 0"),
        ({"seed": ()}, r"seeds"),
        ({"seed": (1, 1)}, r"seeds"),
        ({"evaluate_every": 0}, r"evaluate_every: 0"),
        ({"evaluation_episodes": 0}, r"evaluation_episodes: 0"),
        ({"checkpoint_every": 0}, r"checkpoint_every: 0"),
        ({"refresh_episodes": 0}, r"refresh_episodes: 0"),
        ({"agent": PPO()}, r"steps: ppo learns from whole episodes and has no such setting"),
        ({"warmup": -1}, r"warmup: -1"),
        ({"iterations": 3}, r"iterations: td3 learns from single steps and has no such setting; .*steps"),
        ({"schedule": None}, r"schedule: .* has no such setting; choose from .*warmup"),
        ({"out": "/dev/null/run"}, r"cannot write the run folder"),
    ],
)
def test_what_does_not_fit_is_refused_before_training(settings, message, tmp_path):
    with pytest.raises(lr.LareError, match=message):
        lr.train("Reacher-v5", **{"out": tmp_path / "run", "steps": 100, "quiet": True} | settings)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("agent", "message"),
    [
        (
            TD3,
            r"^agent: .*TD3.* is no agent; give one, its kind, or a mapping of settings$",
        ),
        (3, r"^agent: 3 is no agent"),
        ("ppo-2", r"^agent.kind: there is no 'ppo-2' \(did you mean ppo\?\)"),
        (
            {"kind": "sac", "polyac": 0.1},
            r"^agent.polyac: there is no such setting \(did you mean polyak\?\)",
        ),
    ],
)
def test_what_is_no_agent_is_refused_before_training(agent, message, tmp_path):
    with pytest.raises(lr.LareError, match=message):
        lr.train("Reacher-v5", "dense", agent=agent, out=tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


class Discrete(gymnasium.Env):
    def __init__(self, render_mode=None):
        self.render_mode = render_mode

    observation_space = gymnasium.spaces.Box(-1, 1, (2,))
    action_space = gymnasium.spaces.Discrete(2)


class Unbounded(gymnasium.Env):
    def __init__(self, render_mode=None):
        self.render_mode = render_mode

    observation_space = gymnasium.spaces.Box(-1, 1, (2,))
    action_space = gymnasium.spaces.Box(-np.inf, np.inf, (1,))


@pytest.mark.parametrize(
    ("env", "message"),
    [
        (Discrete, "only a Box"),
        (Unbounded, "has no bounds"),
        (None, "describes 2 observations and 2 actions, its environment has 10 and 2; run"),
    ],
)
def test_environments_that_cannot_be_used_say_why(env, message, tmp_path):
    task = lr.load_task("Reacher-v5")
    if env is not None:
        gymnasium.register("Odd-v0", env)
        fields = {"observation": task.observation[:2], "action": task.action[:1]}
        task = dataclasses.replace(task, env_id="Odd-v0", **fields)
    else:
        task = dataclasses.replace(task, observation=task.observation[:2])
    try:
        with pytest.raises(lr.LareError, match=message):
            lr.train(task, "rd", out=tmp_path / "run", quiet=True)
    finally:
        gymnasium.registry.pop("Odd-v0", None)


def test_reference_methods_learn_no_reward(tmp_path):
    task = lr.load_task("Reacher-v5")
    run = lr.train(task, "uniform", out=tmp_path / "run", steps=60, quiet=True, seed=(0, 3), **SCHEDULE)
    assert run.encoders == (None,)
    assert {row["seed"] for row in run.metrics} == {0, 3}
    assert run.evaluate(2)["agent"].shape == (2, 2)
    assert not np.array_equal(run.act(np.zeros(10), seed=0), run.act(np.zeros(10), seed=3))
    with pytest.raises(lr.LareError, match="no seed 1, only 0, 3"):
        run.act(np.zeros(10), seed=1)
    with pytest.raises(lr.LareError, match="method: uniform has no reward for single steps"):
        run.proxy_reward(np.zeros((1, 10)), np.zeros((1, 2)), np.zeros((1, 10)))
    assert run.latent_weights() == {}


def test_a_direct_reward_is_the_one_latent_and_needs_just_one(tmp_path, transitions):
    task = lr.load_task("Reacher-v5")
    with pytest.raises(
        lr.LareError, match=r"none is bundled; design one with `lare design Reacher-v5 --reward"
    ):
        lr.train(task, "llm-reward", out=tmp_path / "run")
    with pytest.raises(lr.LareError, match=r"with one latent, this has 5; design one with .*--reward"):
        lr.train(task, "llm-reward", encoder=lr.load_encoder(task), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    source = "def evaluation_func(observation, action):\n    reward = -np.abs(observation[:, 8:9])\n    return [reward]"
    run = lr.train(
        task,
        "llm-reward",
        encoder=seal(source, task),
        out=tmp_path / "run",
        steps=70,
        quiet=True,
        **SCHEDULE,
    )
    again = lr.load_run(run.folder)
    assert again.config.method == find_method("llm-reward", "replay")
    np.testing.assert_allclose(again.proxy_reward(*transitions), -np.abs(transitions[2][:, 8]), rtol=1e-6)
    assert again.metrics[-1]["decoder_loss"] is None
    assert np.isfinite(again.metrics[-1]["critic_loss"])


BOTH = [
    (name, experience)
    for name, entry in METHODS.items()
    for experience in ("replay", "episodes")
    if entry.settings(experience) is not None
]


@pytest.mark.parametrize(("name", "experience"), BOTH)
def test_every_method_survives_the_configuration_file(name, experience):
    plan = make_plan(TD3() if experience == "replay" else PPO(), {"evaluate_every": 3})
    config = RunConfig("Reacher-v5", find_method(name, experience), plan=plan)
    stored = json.loads(config.to_json())
    again = pydantic.TypeAdapter(RunConfig).validate_python(stored)
    assert again == config
    assert type(again.plan.agent) is type(plan.agent)
    assert type(again.plan.experience) is type(plan.experience)


def test_seeds_are_spelled_briefly():
    assert [spell_seeds(seeds) for seeds in ((3,), (0, 1), (0, 1, 2), (0, 2, 5))] == [
        "3",
        "0,1",
        "0..2",
        "0,2,5",
    ]


def test_a_configuration_is_written_with_every_default():
    config = json.loads(RunConfig("Reacher-v5", find_method("lare", "replay")).to_json())
    assert config["plan"]["agent"]["polyak"] == 0.005
    assert config["method"]["credit"]["view"] == "both"
    assert set(config["method"]["credit"]) == {field.name for field in dataclasses.fields(Solved)}


@pytest.mark.parametrize(
    "words",
    [
        ("train", "Nowhere-v0"),
        ("train", "Reacher-v5", "--method", "nothing"),
        ("train", "Reacher-v5", "--seeds", "one"),
        ("train", "--resume", "nowhere"),
        ("evaluate", "nowhere"),
        ("check", "nowhere.yaml"),
        ("check", "nowhere.py", "--task", "Reacher-v5"),
        ("check", "nowhere.py"),
    ],
)
def test_a_mistake_is_one_line_and_status_1(words, tmp_path):
    result = lare(*words, cwd=tmp_path)
    assert result.returncode == 1
    lines = (result.stdout + result.stderr).strip().splitlines()
    assert len(lines) == 1, result.stderr
    assert re.search(r";|\(", lines[0])  # a remedy follows the reason
