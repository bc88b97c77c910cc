"""``lare design`` as a person meets it: one command, its tables, one line per mistake, and a kill in the middle."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time

import pytest
from model_server import encoder_reply, reply, serve
from parallel_envs import countdown_document

from latent_reward.cli import main
from latent_reward.encoder.encoder import load

NEAR = """import numpy as np
def evaluation_func(observation, action):
    # Distance to the target, the smaller the better.
    closeness = -np.sqrt(np.sum(np.clip(observation[:, 8:10], -9, 9) ** 2, axis=1, keepdims=True) + 1e-6)
    effort = -np.sum(np.clip(action, -1, 1) ** 2, axis=1, keepdims=True)
    return [closeness, effort]
"""


@pytest.fixture(autouse=True)
def no_environment(monkeypatch):
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "LARE_PRICES", "HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


def words(out, server, *more):
    return ["design", "Reacher-v5", "--model", "m", "--out", str(out), "--base-url", server.url,
            "--episodes", "20", *more]  # fmt: skip


def test_a_design_prints_its_answers_scores_and_latents(tmp_path, capsys):
    script = [reply("No idea.", usage=(10, 5)), encoder_reply(NEAR, usage=(30, 20))]
    with serve(*script) as server:
        main(words(tmp_path, server, "--n", "1"))
    printed = capsys.readouterr()
    assert printed.err == ""
    assert "\x1b" not in printed.out  # plain where there is no terminal
    assert "1: FAILED  reply: " in printed.out
    assert "repair 1: answered (20 tokens)" in printed.out
    (row,) = [line for line in printed.out.splitlines() if line.strip().startswith("closeness")]
    assert "fingertip_x - target_x," in row
    assert "Distance to the target," in row
    score = load(tmp_path).card.score
    (table,) = [line for line in printed.out.splitlines() if line.strip().startswith("repair-1 ")]
    assert f"{score['r2']:.3f}" in table
    assert "warning" not in printed.out
    assert score["warnings"] == []
    assert f"sealed repair-1: {tmp_path} (2 answers, 40 + 25 tokens)" in printed.out

    with pytest.raises(SystemExit) as stopped:
        main(words(tmp_path, server))
    assert stopped.value.code == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_a_failure_is_one_line_and_status_1(tmp_path, capsys):
    with serve(encoder_reply("no code at all")) as server, pytest.raises(SystemExit) as stopped:
        main(words(tmp_path / "out", server, "--n", "2", "--protocol", "paper"))
    assert stopped.value.code == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("lare: model: no answer of m passed its checks after 5 repairs")
    assert str(tmp_path / "out" / "candidates") in line


PAID = """def evaluation_func(observation, action):
    # What the action pays.
    pay = action[:, 1:2] + 2 * action[:, 2:3]
    # How far the life has gone.
    age = np.tanh(observation[:, 1:2])
    return [pay, age]
"""
# Finite on every row that is made up, but not where a life is three steps old.
NEVER_AT_THREE = PAID.replace("np.tanh(observation[:, 1:2])", "1.0 / (observation[:, 1:2] - 3.0)")


def test_a_team_in_pettingzoo_is_designed_for_end_to_end(tmp_path, capsys, monkeypatch):
    """The answer is tried on steps that were played, sent back, repaired and scored by the team's return."""
    monkeypatch.syspath_prepend(__file__.rpartition("/")[0])
    file, out = tmp_path / "teams.yaml", tmp_path / "encoders" / "first"
    teams = {"first": ("agent_0", "agent_1"), "second": ("agent_2",)}
    file.write_text(json.dumps(countdown_document(teams=teams, lives=(4, 2, 3))))
    with serve(encoder_reply(NEVER_AT_THREE), encoder_reply(PAID)) as server:
        line = words(out, server, "--n", "1", "--import", "parallel_envs")
        main([line[0], f"{file}/first", *line[2:]])
    printed = " ".join(capsys.readouterr().out.split())
    assert "1: FAILED live steps: age is inf" in printed
    assert "age is inf in" in server.requests[1]["messages"][2]["content"]
    then = f"lare train {file} --import parallel_envs --encoder {out.parent}"
    assert f"design one for each team of countdown, then `{then}`" in printed
    encoder = load(out)
    assert (encoder.card.task, encoder.latent_names) == ("countdown/first", ("pay", "age"))
    assert encoder.card.score["episodes"] == 20
    assert encoder.card.score["r2"] > 0.99  # 1 + action is paid, in lives of fixed length
    assert dict(encoder.card.checks)["live steps"] == "finite on 120 steps of the environment"  # 20 of 4 + 2
    with pytest.raises(SystemExit):
        main(["design", str(file), *line[2:]])
    assert "names no team; write countdown/first or countdown/second" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform == "win32", reason="nothing can be sealed there")
def test_killed_while_the_model_writes_it_goes_on_without_asking_again(tmp_path):
    """SIGKILL while the answer to the merge is awaited; the second run asks for the merge alone."""

    def slow_merge(body):
        return encoder_reply(NEAR, delay=0 if len(body["messages"]) == 1 else 600)

    with serve(slow_merge) as server:
        command = [sys.executable, "-m", "latent_reward.cli", *words(tmp_path, server, "--n", "2")]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True, env=os.environ)
        try:
            end = time.monotonic() + 200
            while len(server.requests) < 3 and time.monotonic() < end and process.poll() is None:
                time.sleep(0.1)
            assert len(server.requests) == 3
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    assert len(json.loads((tmp_path / "dialogue.json").read_text())) == 2
    assert not (tmp_path / "card.json").exists()
    with serve(encoder_reply(NEAR)) as server:
        main(words(tmp_path, server, "--n", "2"))
    assert len(server.requests) == 1
    assert len(server.requests[0]["messages"]) == 5
    assert load(tmp_path).latent_names == ("closeness", "effort")
