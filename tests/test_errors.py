"""The one error for users and its wording, and files that are written whole or not at all."""

import json
import math
import os
import stat
from dataclasses import dataclass
from typing import Any, Literal

import pytest

from latent_reward.errors import LareError, TaskError, did_you_mean, require_choice, require_positive
from latent_reward.files import replacing, to_json, write_bytes, write_text

# ---------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("value", "known", "expected"),
    [
        ("latnet", ("latent", "raw", "both"), " (did you mean latent?)"),
        ("rrd-unbias", ("rd", "rrd-unbiased"), " (did you mean rrd-unbiased?)"),
        ("zzz", ("latent", "raw"), ""),
        ("anything", (), ""),
        ("", ("latent",), ""),
    ],
)
def test_near_misses_are_suggested_and_far_ones_are_not(value, known, expected):
    assert did_you_mean(value, known) == expected


def test_at_most_three_near_misses_are_named_the_nearest_first():
    known = {f"method-{letter}": None for letter in "abcde"}  # any iterable of names will do
    assert did_you_mean("method-c", known).startswith(" (did you mean method-c or ")
    assert did_you_mean("method-x", known).count("method-") == 3


def test_a_value_must_be_one_of_the_choices():
    choices = Literal["rd", "rrd", "rrd-unbiased"]
    for value in ("rd", "rrd", "rrd-unbiased"):
        require_choice("loss", value, choices)
    with pytest.raises(LareError) as refused:
        require_choice("loss", "rrd-unbiassed", choices)
    assert str(refused.value) == (
        "loss: 'rrd-unbiassed' does not exist (did you mean rrd-unbiased?); choose from rd, rrd, rrd-unbiased"
    )


@pytest.mark.parametrize("value", ["RD", "", None, 3, ["rd"]])
def test_whatever_is_none_of_the_choices_is_refused_by_name(value):
    with pytest.raises(LareError, match=r"^loss: .* does not exist.*; choose from rd, rrd$") as refused:
        require_choice("loss", value, Literal["rd", "rrd"])
    assert repr(value) in str(refused.value)


def test_the_first_count_below_one_is_named():
    require_positive(steps=1, episodes=10**9)
    with pytest.raises(LareError, match=r"^episodes: 0 is not possible; give a whole number of at least 1$"):
        require_positive(steps=1, episodes=0, horizon=-1)


def test_an_error_of_a_task_keeps_its_parts():
    error = TaskError("env", "it does not exist", "correct it")
    assert isinstance(error, LareError)
    assert str(error) == "env: it does not exist; correct it"
    assert (error.field, error.message, error.remedy) == ("env", "it does not exist", "correct it")


# ---------------------------------------------------------------- files


def write_half(path, error):
    with replacing(path) as draft:
        draft.write_text("half of the n")
        raise error


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_leaves_the_old_file_and_no_other(tmp_path, error):
    path = tmp_path / "run.json"
    path.write_text("old")
    with pytest.raises(error):
        write_half(path, error())
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_leaves_no_file_where_there_was_none(tmp_path):
    with pytest.raises(OSError, match="disk"):
        write_half(tmp_path / "new.txt", OSError("the disk is full"))
    assert list(tmp_path.iterdir()) == []


def test_the_new_content_takes_the_place_of_the_old_when_it_is_complete(tmp_path):
    path = tmp_path / "run.json"
    path.write_text("old")
    with replacing(path) as draft:
        assert draft.parent == path.parent  # a rename must not cross file systems
        assert draft.suffix == path.suffix
        draft.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    write_text(path, "grüße\n")
    assert path.read_bytes() == "grüße\n".encode()
    write_bytes(path, b"\x00\r\n")
    assert path.read_bytes() == b"\x00\r\n"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(os.name != "posix", reason="permissions are those of POSIX")
def test_a_written_file_has_the_permissions_of_any_other_new_file(tmp_path):
    before = os.umask(0o027)
    try:
        write_text(tmp_path / "file", "text")
        assert os.umask(0o027) == 0o027  # and the mask is what it was
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640


@dataclass(frozen=True)
class Inner:
    rate: float
    names: tuple[str, ...]


@dataclass(frozen=True)
class Outer:
    inner: Inner
    kind: Any = None


def test_numbers_that_json_does_not_have_become_null_at_any_depth():
    value = {"a": math.nan, "b": [math.inf, 1.5, {"c": -math.inf}], "d": (0, True, None, "é")}
    text = to_json(value)
    expected = {"a": None, "b": [None, 1.5, {"c": None}], "d": [0, True, None, "é"]}
    refuse = pytest.fail  # called for NaN, Infinity and -Infinity
    assert json.loads(text, parse_constant=refuse) == expected
    assert "é" in text


def test_dataclasses_become_objects_in_the_order_of_their_fields():
    value = Outer(Inner(math.nan, ("x", "y")), kind=[Inner(0.5, ())])
    text = to_json(value)
    expected = {"inner": {"rate": None, "names": ["x", "y"]}, "kind": [{"rate": 0.5, "names": []}]}
    assert json.loads(text) == expected
    assert text.index("inner") < text.index("kind")
    assert to_json({"a": 1}, indent=1) == '{\n "a": 1\n}'
