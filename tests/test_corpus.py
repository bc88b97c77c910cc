"""Replies as models write them: the correct ones become encoders as they are, and compute what NumPy does.

Most are checked in the locked process alone; a few go the whole way.
"""

import base64
import functools
import re
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest
import yaml

from latent_reward.design.reply import read_reply
from latent_reward.encoder.card import Space
from latent_reward.encoder.screen import read_program
from latent_reward.sealing.language.parse import parse
from latent_reward.sealing.lock import sandbox
from latent_reward.sealing.verify import check, payload_of
from latent_reward.task.load import load_task

FOLDER = Path(__file__).parent / "corpus"
INDEX = yaml.safe_load((FOLDER / "index.yaml").read_text())
CORRECT = [name for name, row in INDEX.items() if "refused" not in row]
SEALED = [name for name in CORRECT if "unsupported" not in INDEX[name]]
REFUSED = [name for name in INDEX if name not in SEALED]
PARTICLES = SimpleNamespace(observation_size=18, action_size=5)
AT_ONCE = 8
TOLERANCE = 1e-5  # of a value, or of its column's usual size


@functools.cache
def source_of(name):
    return read_reply((FOLDER / f"{name}.txt").read_text())["Functions"]


@functools.cache
def task_of(name):
    task = INDEX[name]["task"]
    return PARTICLES if task == "particles" else load_task(task)


def examined(names):
    """What the locked child reports of each."""
    payloads = [payload_of(source_of(name), Space.of(task_of(name))) for name in names]
    return [sandbox.run("latent_reward.sealing.examine:examine", payload).result for payload in payloads]


def rows(space, count=200):
    """Ordinary numbers, and some ten times as large."""
    generator = np.random.default_rng(7)
    scale = np.where(np.arange(count) % 4 == 0, 10.0, 1.0)[:, None]
    sizes = (space.observation_size, space.action_size, space.observation_size)
    observation, action, following = (generator.normal(size=(count, size)) for size in sizes)
    return np.float32(observation * scale), np.float32(np.clip(action, -1, 1)), np.float32(following * scale)


def as_numpy(name, arrays):
    """The reply's function run as the Python that it is, in double precision; all its columns."""
    scope: dict = {}
    exec(source_of(name), scope)  # the corpus is ours
    arguments = parse(source_of(name)).arguments
    known = dict(zip(("observation", "action", "next_observation"), arrays, strict=True))
    result = scope["evaluation_func"](*(known[each].astype(np.float64) for each in arguments))
    columns = list(result.values()) if isinstance(result, dict) else result
    if isinstance(columns, np.ndarray):
        return columns
    return np.concatenate([np.asarray(column, np.float64).reshape(-1, 1) for column in columns], axis=1)


def assert_agrees(name, program):
    arrays = rows(task_of(name))
    ours, plain = np.asarray(jax.jit(read_program(program).call)(*arrays)), as_numpy(name, arrays)
    assert ours.shape == plain.shape
    size = np.abs(plain) + np.median(np.abs(plain), axis=0)
    gap = np.abs(ours - plain) / np.maximum(size, 1e-30)
    assert gap.max() <= TOLERANCE, f"{name}: {gap.max(axis=0)}"


def test_the_corpus_is_large_and_nearly_all_of_it_is_in_the_language():
    files = {path.stem for path in FOLDER.glob("*.txt")}
    assert files == set(INDEX)
    assert len(INDEX) >= 60
    assert len(SEALED) >= 0.9 * len(CORRECT)


@pytest.mark.parametrize("first", range(0, len(SEALED), AT_ONCE))
def test_correct_replies_pass_every_check_and_agree_with_numpy(first):
    names = SEALED[first : first + AT_ONCE]
    for name, report in zip(names, examined(names), strict=True):
        failed = [(check, detail) for check, passed, detail in report["checks"] if not passed]
        assert not failed, f"{name}: {failed}"
        assert_agrees(name, base64.b64decode(report["program"]))


@pytest.mark.parametrize("name", ["walker-rows-append", "particles-arange", "cheetah-row-norm"])
def test_some_go_the_whole_way(name):
    report = check(source_of(name), task_of(name))
    assert report.passed, str(report)
    assert_agrees(name, report.program)


def test_the_others_are_refused_with_a_place_and_a_remedy():
    for name, report in zip(REFUSED, examined(REFUSED), strict=True):
        said = "\n".join(detail for _, passed, detail in report["checks"] if not passed)
        row = INDEX[name]
        assert row.get("refused", row.get("unsupported")) in said, f"{name}: {said}"
        a_place = re.search(r"line \d+: ", said) or re.match(
            r"(rows influence.*: )?\w+ (is|has shape) ", said
        )
        assert a_place, f"{name}: {said}"
        assert re.search(r"; \w+", said), f"{name}: {said}"
