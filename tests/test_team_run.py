"""Runs of teams: the folder, going on after a stop, using what was learned, and what users are told."""

import os
import re
import signal
from pathlib import Path

import imageio_ffmpeg
import jax
import numpy as np
import pytest
from safetensors.numpy import load_file

import latent_reward as lr
from latent_reward import cli
from latent_reward.agents.ppo import PPO
from latent_reward.agents.td3 import TD3
from latent_reward.credit.methods import METHODS
from latent_reward.encoder.bundled import bundled_folder
from latent_reward.training import on_policy
from latent_reward.training.on_policy import OnPolicy
from latent_reward.training.run import Run

SETTINGS = {
    "agent": PPO(hidden=(16,), epochs=2),
    "first_updates": 10,
    "updates": 2,
    "buffer_episodes": 12,
    "iterations": 5,
    "episodes": 4,
    "evaluate_every": 2,
    "evaluation_episodes": 3,
    "checkpoint_every": 3,
}
STEPS = 4 * 25
LOGGED = {
    "seed", "team", "step", "episodes", "return_mean", "return_std", "win_rate", "training_return", "decoder_loss",
    "policy_loss", "value_loss", "entropy", "explained_variance", "credit_correlation", "proxy_spread",
    "explained_beyond_length", "return_slope", "credit_slope", "credit_bias", "credit_uncertainty",
    "steps_per_second", "warning",
}  # fmt: skip


pytestmark = pytest.mark.usefixtures("compile_fast")


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    return lr.train(
        "cn-6", seed=(0, 1), out=tmp_path_factory.mktemp("runs") / "whole", quiet=True, **SETTINGS
    )


def numbers(run):
    return [{key: value for key, value in row.items() if key != "steps_per_second"} for row in run.metrics]


def test_a_run_folder_stands_on_its_own(reference):
    names = {path.name for path in reference.folder.iterdir()}
    expected = {"config.json", "task.yaml", "encoder", "metrics.jsonl", "checkpoint.safetensors"}
    assert names == expected | {"tensorboard", "learning_curve.png", "history.jsonl", "run.lock"}
    assert all(set(row) == LOGGED for row in reference.metrics)
    page = (Path(__file__).parents[1] / "docs" / "metrics.md").read_text("utf-8")
    assert [name for name in sorted(LOGGED) if f"`{name}`" not in page] == []
    seen = [(row["step"], row["seed"], row["team"]) for row in reference.metrics]
    assert seen == [(count * STEPS, seed, "") for count in (2, 4, 5) for seed in (0, 1)]
    assert reference.metrics[0]["win_rate"] is None  # nothing is won in this world
    assert {path.name for path in (reference.folder / "tensorboard").iterdir()} == {"seed0", "seed1"}
    again = lr.load_run(reference.folder)
    assert isinstance(again, Run)
    assert (again.config, again.task, again.encoders) == (
        reference.config,
        lr.load_task("cn-6"),
        reference.encoders,
    )


def test_a_run_plays_episodes_whose_rewards_follow_from_what_is_seen(reference):
    (played,), (again,), (other,) = reference.play(3), reference.play(3, seed=0), reference.play(3, seed=1)
    after = np.asarray(played.episodes.after)
    assert after.shape == (3, 25, 6, 26)
    landmarks, others = after[..., 4:16].reshape(3, 25, 6, 6, 2), after[..., 16:].reshape(3, 25, 6, 5, 2)
    away = np.linalg.norm(landmarks, axis=-1).min(axis=-1)
    touching = (np.linalg.norm(others, axis=-1) < 0.3).sum(axis=-1)
    paid = played.episodes.hidden_reward
    np.testing.assert_allclose(paid, -away - touching, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(played.episodes.returns, paid.sum(axis=(1, 2)), rtol=1e-5)
    jax.tree.map(np.testing.assert_array_equal, played, again)
    assert not np.array_equal(played.episodes.action, other.episodes.action)


def test_a_run_that_is_interrupted_and_then_killed_goes_on_to_the_same_numbers(
    reference, tmp_path, monkeypatch
):
    """Ctrl-C in the second iteration saves there; the next one dies in the fifth, two after its checkpoint."""
    monkeypatch.setattr(on_policy, "_PER_CALL", 1)
    plain = OnPolicy.advance

    class Killed(BaseException):
        pass

    def interrupted(training, until):
        plain(training, until)
        if training.iteration == 2:
            os.kill(os.getpid(), signal.SIGINT)

    def killed(training, until):
        if training.iteration == 4:
            raise Killed
        plain(training, until)

    folder = tmp_path / "stopped"
    monkeypatch.setattr(OnPolicy, "advance", interrupted)
    with pytest.raises(KeyboardInterrupt):
        lr.train("cn-6", seed=(0, 1), out=folder, quiet=True, **SETTINGS)
    monkeypatch.setattr(OnPolicy, "advance", killed)
    with pytest.raises(Killed):
        lr.resume(folder, quiet=True)
    monkeypatch.setattr(OnPolicy, "advance", plain)
    resumed = lr.resume(folder, quiet=True)
    assert numbers(resumed) == numbers(reference)
    ours, theirs = (load_file(run.folder / "checkpoint.safetensors") for run in (resumed, reference))
    assert ours.keys() == theirs.keys()
    for name, array in theirs.items():
        np.testing.assert_array_equal(ours[name], array, err_msg=name)


def test_what_was_learned_can_be_used(reference):
    random = np.random.default_rng(0)
    before, after = random.normal(size=(2, 20, 26)).astype(np.float32)
    action = random.integers(0, 5, 20)
    rewards = reference.proxy_reward(before, action, after)
    assert rewards.shape == (20,)
    assert rewards.std() > 0
    assert (rewards != reference.proxy_reward(before, action, after, seed=1)).any()
    single = [
        reference.proxy_reward(before[i : i + 1], action[i : i + 1], after[i : i + 1])[0] for i in (0, 7)
    ]
    np.testing.assert_allclose(rewards[[0, 7]], single, rtol=1e-5, atol=1e-6)
    assert set(reference.latent_weights(team="agents")) == set(reference.encoders[0].latent_names)
    assert set(reference.act(after, team="agents")) <= set(range(5))
    with pytest.raises(lr.LareError, match="no team 'prey', only agents"):
        reference.act(after, team="prey")
    with pytest.raises(lr.LareError, match="no seed 7, only 0, 1"):
        reference.act(after, seed=7)


def test_evaluation_repeats_and_a_film_shows_every_step(reference, capsys):
    returns = reference.evaluate(3)["agents"]
    assert returns.shape == (2, 3)
    np.testing.assert_array_equal(returns, reference.evaluate(3)["agents"])
    for ask in (reference.evaluate, reference.play):
        with pytest.raises(lr.LareError, match=r"episodes: 0 is not possible"):
            ask(0)
    cli.main(["evaluate", str(reference.folder), "--episodes", "3", "--video"])
    shown = capsys.readouterr().out
    assert f"seed 1: return {returns[1].mean():,.2f}" in shown
    assert "held-out returns explained" in shown
    assert "credit correlation" in shown
    assert imageio_ffmpeg.count_frames_and_secs(str(reference.folder / "seed0.mp4"))[0] == 26


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": 100}, r"^steps: ppo learns from whole episodes and has no such setting; .*iterations"),
        ({"buffer_size": 100}, r"^buffer_size: ppo learns from whole episodes"),
        ({"iterations": 0}, r"^iterations: 0"),
        ({"first_updates": -1}, r"^first_updates: -1 is not possible"),
        ({"buffer_episodes": 0}, r"^buffer_episodes: 0"),
        ({"agent": TD3()}, r"^agent: td3 trains a single agent; train teams with ppo"),
        (
            {"method": "lare-paper"},
            r"lare-paper is for agents that learn from replay .*; choose from lare, lare-rd",
        ),
        ({"draw": 99}, r"no bundled draw 99"),
        ({"encoder": bundled_folder("Reacher-v5", 0)}, r"encoder of Reacher-v5"),
        ({"method": "dense", "encoder": bundled_folder("cn-6", 0)}, r"reads no latents"),
        ({"method": "llm-reward", "encoder": bundled_folder("cn-6", 0)}, r"one latent, this has"),
    ],
)
def test_what_does_not_fit_is_refused_before_training(settings, message, tmp_path):
    with pytest.raises(lr.LareError, match=message):
        lr.train("cn-6", **{"out": tmp_path / "run", "quiet": True} | settings)
    assert not (tmp_path / "run").exists()


def test_an_option_of_the_other_kind_of_task_is_one_line(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for words in (["cn-6", "--steps", "5"], ["Reacher-v5", "--iterations", "5"]):
        with pytest.raises(SystemExit) as stopped:
            cli.main(["train", *words])
        assert stopped.value.code == 1
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert words[1].strip("-") in line
    assert not list(tmp_path.iterdir())


def test_a_world_with_several_teams_has_an_encoder_and_a_line_for_each(tmp_path):
    settings = SETTINGS | {"iterations": 1, "episodes": 2}
    run = lr.train("competitive-pp", out=tmp_path / "run", quiet=True, **settings)
    names = [team.name for team in run.task.teams]
    assert len(names) == 2
    assert [row["team"] for row in run.metrics] == names
    assert sorted(path.name for path in (run.folder / "encoder").iterdir()) == sorted(names)
    assert set(run.evaluate(2)) == set(names)
    assert [encoder.card.task for encoder in run.encoders] == [f"competitive-pp/{name}" for name in names]


def test_every_method_is_listed_with_who_can_use_it(capsys):
    cli.main(["methods"])
    shown = capsys.readouterr().out
    for name, entry in METHODS.items():
        one, teams = ("-" if each is None else "yes" for each in (entry.replay, entry.episodes))
        assert re.search(rf"^ *{name} +{one} +{teams} +{entry.summary[:10]}", shown, re.MULTILINE), name
