"""Task files, cards and replies are data: whatever is wrong with one is a single line."""

import json
import os
import shutil
from pathlib import Path

import pytest
from hostile import (
    FIELD,
    NOT_JSON,
    NOT_YAML,
    PENDULUM,
    edited,
    refused,
)

import latent_reward as lr
from latent_reward.design.llm import record
from latent_reward.design.llm.ask import Message, Reply, Request
from latent_reward.encoder.bundled import bundled_folder
from latent_reward.encoder.card import from_json
from latent_reward.reading import parse_json, parse_yaml
from latent_reward.task.bare import read_any_task
from latent_reward.task.check import check_task


@pytest.mark.parametrize("text", NOT_JSON, ids=lambda each: repr(each[:12]))
def test_json_that_is_none_is_one_line(text):
    with pytest.raises(lr.LareError) as caught:
        parse_json(text, "it", "restore it")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("text", NOT_YAML, ids=lambda each: repr(each[:12]))
def test_yaml_that_is_none_is_one_line(text):
    with pytest.raises(lr.LareError) as caught:
        parse_yaml(text, "it")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_plain_yaml_is_read_as_it_stands():
    text = "a: 1\nb: [true, null, 1.5, x]\nc: {d: '2', <<: 3, e: 2020-01-01}\n"
    assert parse_yaml(text, "it") == {
        "a": 1, "b": [True, None, 1.5, "x"], "c": {"d": "2", "<<": 3, "e": "2020-01-01"},
    }  # fmt: skip
    assert parse_yaml("", "it") is None


# ---------------------------------------------------------------- task files


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("name", 3), ("name", None), ("name", ...), ("env", ["x"]), ("env", ...), ("env", ""), ("max_steps", "200"),
        ("max_steps", 200.0), ("max_steps", True), ("max_steps", 0), ("max_steps", 1 << 40), ("max_steps", -1),
        ("goal", "up"), ("goal.plain", 3), ("goal.third", "x"), ("goal.plain", "a\x1b[2J"), ("observation", []),
        ("observation", {}), ("observation.0", []), ("observation.0.index", -1), ("observation.0.index", 1 << 30),
        ("observation.0.count", 1 << 30), ("observation.0.low", "0"), ("observation.0.low", 3), ("surprise", 1),
        ("observation.0.surprise", 1), ("action.0.high", -3), ("env_kwargs", []), ("env_kwargs", "x"),
        ("env_kwargs", {"no_such": 1}), ("env_kwargs", {"id": "x"}), ("env_kwargs", {"max_episode_steps": 1}),
    ],
)  # fmt: skip
def test_a_task_file_with_one_wrong_value_is_found_out(place, value, tmp_path):
    path = tmp_path / "t.yaml"
    path.write_text(
        json.dumps(edited(PENDULUM | {"observation": [{**FIELD, "count": 3, "high": 1}]}, place, value))
    )
    found = check_task(path)
    assert found
    assert all("\n" not in str(each) for each in found)
    if not place.startswith("env_kwargs"):
        with pytest.raises(lr.LareError):
            lr.load_task(path)


@pytest.mark.parametrize(
    "text",
    [*NOT_YAML, "", "- a", "3", "x", "null", "a: b", "teams: 3", "kind: bare"],
    ids=lambda each: repr(each[:12]),
)
def test_a_task_file_that_is_none_is_one_line(text, tmp_path):
    path = tmp_path / "t.yaml"
    path.write_text(text)
    for read in (lr.load_task, read_any_task, lr.load_encoder):
        with pytest.raises(lr.LareError) as caught:
            read(path)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content", [b"name: \xff", b"\x80" * 10, b"\xff\xfe" + "name: x".encode("utf-16-le"), bytes(range(256))]
)
def test_bytes_that_are_no_text_are_one_line(content, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("t.yaml", "c.json", "s.py"):
        Path(name).write_bytes(content)
    refused(capsys, "check", "t.yaml")
    refused(capsys, "train", "t.yaml")
    refused(capsys, "train", "--config", "c.json")


def test_what_is_no_regular_file_is_not_read(tmp_path, capsys):
    (tmp_path / "folder.yaml").mkdir()
    os.mkfifo(tmp_path / "pipe.yaml")
    for name in ("folder.yaml", "pipe.yaml", "none.yaml"):
        refused(capsys, "check", tmp_path / name)
        refused(capsys, "train", "--config", tmp_path / name)
        refused(capsys, "evaluate", tmp_path / name)


# ---------------------------------------------------------------- cards

CARD = json.loads((bundled_folder("HalfCheetah-v5", 0) / "card.json").read_text())


@pytest.mark.parametrize(
    ("place", "value"),
    [
        *((name, ...) for name in ("task", "space", "latent_names", "arguments", "source_sha256", "format")),
        *((name, value) for name in ("task", "env_id", "goal", "created", "model")
          for value in (3, None, [], {}, "a\x1b")),
        ("task", "../../x"), ("task", "a/b/c"), ("surprise", 1), ("space.surprise", 1), ("format", "1"),
        ("format", 2),
        ("format", True), ("space", []), ("space.observation_size", "17"), ("space.observation_size", 17.0),
        ("space.observation_size", -1), ("space.observation_size", 0), ("space.observation_size", 1 << 62),
        ("space.action_size", 5), ("space.action_low", [-1.0] * 5),
        ("space.action_low", [-1.0] * 7), ("space.action_low", ["-1"] * 6), ("space.action_low", [2.0] * 6),
        ("space.action_low", "abcdef"), ("space.action_low", ...), ("latent_names", []), ("latent_names", "abc"),
        ("latent_names.0", "torque_cost"), ("latent_names.0", ""), ("latent_names.0", " "), ("latent_names.0", 3),
        ("latent_names.0", "a\nb"), ("latent_names.0", "a\x1b[31m"), ("latent_names.0", "a\x00"),
        ("latent_names.0", "\u202ea"), ("latent_names.0", "x" * 300), ("latent_names.0", ...), ("explanations", []),
        ("explanations.0", 3), ("arguments", ["action", "reward"]), ("arguments", ["action", "action"]),
        ("arguments", "action"), ("source_sha256", "x"), ("source_sha256", "A" * 64),
        ("program_sha256", 64 * "0" + "\n"),
        ("draw", -1), ("draw", 0.5), ("draw", "0"), ("draw", 1 << 70), ("versions", {"jax": 3}), ("versions", []),
        ("checks", [["a"]]), ("checks", [["a", "b", "c"]]), ("checks", [[1, 2]]), ("checks", "x"), ("warnings", [1]),
        ("protocol", []), ("usage", "x"), ("score", []), ("score", {"latents": 3}), ("score", {"latents": [3]}),
        ("score", {"latents": [{}]}), ("score", {"latents": [{"name": 3}]}), ("score", {"warnings": "x"}),
        ("score", {"x\x1b": 1}), ("hygiene", [None]), ("orders", {}), ("orders", {"observation": [0], "action": [0]}),
        ("orders", {"observation": [99] * 17, "action": [0, 1, 2, 3, 4, 5]}), ("provenance", "\x1b]0;x\x07"),
    ],
)  # fmt: skip
def test_a_card_with_one_wrong_value_is_refused(place, value):
    with pytest.raises(lr.LareError, match=r"^folder/card\.json ") as caught:
        from_json(json.dumps(edited(CARD, place, value)).encode(), Path("folder/card.json"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text", [*NOT_JSON, b"null", b"[]", b"3", b'"x"', b"{}"], ids=lambda each: repr(each[:12])
)
def test_a_card_that_is_none_is_refused(text, tmp_path):
    folder = shutil.copytree(bundled_folder("HalfCheetah-v5", 0), tmp_path / "encoder")
    (folder / "card.json").write_bytes(text)
    with pytest.raises(lr.LareError, match=r"card\.json"):
        lr.load_encoder(folder)


def test_the_card_itself_is_read():
    assert from_json(json.dumps(CARD).encode(), Path("card.json")).latent_names == tuple(CARD["latent_names"])


# ---------------------------------------------------------------- replies

REQUEST = Request((Message("user", "hello"),))


def stored(folder):
    path = record.write(folder, REQUEST, "m", Reply("text", "m", 1, 2))
    return path, json.loads(path.read_text())


def replayed(folder):
    """The reply of the record; nobody is asked."""
    return record.recorded(None, "m", folder)(REQUEST).text


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("reply.text", 3), ("reply.prompt_tokens", -1), ("reply.prompt_tokens", 1.5), ("reply.prompt_tokens", "1"),
        ("reply.completion_tokens", 1 << 80), ("reply.estimated", 1), ("reply.surprise", 1), ("reply.model", ...),
        ("reply", []), ("question", []), ("question.draw", 3), ("digest", "x"), ("digest", ...), ("surprise", 1),
    ],
)  # fmt: skip
def test_a_reply_that_was_edited_is_an_error_and_is_not_paid_for_again(place, value, tmp_path):
    path, content = stored(tmp_path)
    assert replayed(tmp_path) == "text"
    content = edited(content, place, value)
    if place.startswith("reply."):
        content["digest"] = record._digest(content["reply"])
    path.write_text(json.dumps(content))
    with pytest.raises(lr.LareError, match=r"is damaged or was edited .*; restore it, or delete it"):
        replayed(tmp_path)


@pytest.mark.parametrize("text", [*NOT_JSON, b"null", b"[]"], ids=lambda each: repr(each[:12]))
def test_a_reply_that_is_no_json_is_an_error_too(text, tmp_path):
    path, _ = stored(tmp_path)
    path.write_bytes(text)
    with pytest.raises(lr.LareError, match="is damaged or was edited"):
        replayed(tmp_path)
