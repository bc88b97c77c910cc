"""Encoders in everyday style are sealed as they are, and compute what plain NumPy does."""

import base64
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from latent_reward.encoder.card import Card, Space
from latent_reward.encoder.screen import read_program, screen
from latent_reward.sealing.language.parse import parse
from latent_reward.sealing.lock import sandbox
from latent_reward.sealing.verify import payload_of

TEXT = (Path(__file__).parent / "corpus" / "everyday.sources").read_text(encoding="utf-8")
SOURCES = dict(part.split("\n", 1) for part in TEXT.split("=== ")[1:])
SPACE = Space.of(SimpleNamespace(observation_size=17, action_size=6))
TOLERANCE = 1e-4  # of a value, or of its column's usual size


def rows(count=200):
    """Ordinary numbers, in no row all of them small."""
    generator = np.random.default_rng(7)
    sizes = (SPACE.observation_size, SPACE.action_size, SPACE.observation_size)
    return tuple(np.float32(generator.normal(size=(count, size))) for size in sizes)


def by_python(source, arrays):
    """The columns of the function run as the Python that it is, in double precision."""
    scope: dict = {"__name__": "encoder"}
    exec(source, scope)  # the corpus is ours
    known = dict(zip(("observation", "action", "next_observation"), arrays, strict=True))
    result = scope["evaluation_func"](*(known[name].astype(np.float64) for name in parse(source).arguments))
    if isinstance(result, np.ndarray):
        return result
    columns = result.values() if isinstance(result, dict) else result
    return np.concatenate([np.asarray(column, np.float64).reshape(-1, 1) for column in columns], axis=1)


def test_there_are_many():
    assert len(SOURCES) >= 60


@pytest.mark.parametrize("name", SOURCES)
def test_everyday_sources_are_sealed_and_agree_with_numpy(name):
    source = SOURCES[name]
    report = sandbox.run("latent_reward.sealing.examine:examine", payload_of(source, SPACE)).result
    failed = [(check, detail) for check, passed, detail in report["checks"] if not passed]
    assert not failed, f"{name}: {failed}"
    arrays = rows()
    program = read_program(base64.b64decode(report["program"]))
    names = tuple(report["latent_names"])
    screen(program, Card("", "", SPACE, names, ("",) * len(names), parse(source).arguments, "", ""))
    ours, plain = np.asarray(jax.jit(program.call)(*arrays)), by_python(source, arrays)
    assert ours.shape == plain.shape
    gap = np.abs(ours - plain) / (np.abs(plain) + np.median(np.abs(plain), axis=0) + 1e-30)
    assert np.mean(gap > TOLERANCE) < 0.002, (
        f"{name}: {gap.max(axis=0)}"
    )  # floats may fall on two sides of a step
