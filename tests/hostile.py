"""Helpers of the tests that mistreat files: what is wrong, and commands that end in one line."""

import json
from pathlib import Path

import pytest

from latent_reward import cli

DEEP = 100_000
LAUGHS = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
)
NOT_JSON = [
    b"", b"{", b"[1,]", b"\xff\xfe{}", b"{'a': 1}", b"NaN", b"[Infinity]", b"-Infinity", b"1e999", b'{"a":1,"a":2}',
    b"[" * DEEP, b'{"a":' * DEEP, b"[" * 60 + b"]" * 60, b"1" * 5000, b'"\x00"', b"\x00", b"1 2",
]  # fmt: skip
NOT_YAML = [
    "a: [", "a: b: c", "&a [*a]", "a: &x 1\nb: *x", LAUGHS, "[" * DEEP, "- " * 500 + "x", "{a: " * DEEP, "a: .inf",
    "a: .nan", "a: 1.0e+999", "a: " + "9" * 5000, "a: 0x" + "f" * 5000, "a: 1\na: 2", "[a]: 1", "{a: 1}: 2",
    "a: !!python/object/apply:os.system [id]", "a: !!binary aGk=", "a: !x 1", "a: \x00", "a: \x1b", "? - x\n: 1",
    "1: a", "on: a", "~: a", "a: 1\n---\nb: 2", "a: '" + "x" * (1 << 20) + "'", "%YAML 9.9\n---\na", "\t- a",
]  # fmt: skip

FIELD = {"index": 0, "name": "x", "meaning": "a number"}
PENDULUM = {
    "name": "swing",
    "env": "Pendulum-v1",
    "max_steps": 200,
    "goal": {"plain": "up", "paper": "up"},
    "observation": [{**FIELD, "count": 3}],
    "action": [{**FIELD, "low": -2, "high": 2}],
}
MARK = "ran"
MODULE = f"""
import pathlib

import gymnasium
pathlib.Path({MARK!r}).write_text("imported")
gymnasium.register("Stranger-v0", entry_point="gymnasium.envs.classic_control.pendulum:PendulumEnv",
                   max_episode_steps=200)

def make(**kwargs):
    pathlib.Path({MARK!r}).write_text("called")

from os import system
"""


def team_task(name, /, **kwargs):
    """What a task file of a team in the environment ``name`` holds."""
    team = {
        "name": "agents",
        "agents": 1,
        "goal": PENDULUM["goal"],
        "observation": [FIELD],
        "action": [FIELD],
    }
    return {"name": "crew", "pettingzoo": name, "env_kwargs": kwargs, "max_steps": 5, "teams": [team]}


def everything(folder):
    """Every path in a folder."""
    return sorted(str(path) for path in Path(folder).rglob("*"))


def refused(capsys, *words):
    """The line that a command ends with."""
    with pytest.raises(SystemExit) as end:
        cli.main([str(word) for word in words])
    out, err = capsys.readouterr()
    assert end.value.code == 1, err
    assert "Traceback" not in err
    assert len((out + err).splitlines()) == 1, out + err
    return out + err


def edited(document, place, value):
    """A copy of plain data with another value at a place such as ``space.low.0``; none there if it is ``...``."""
    copy = json.loads(json.dumps(document))
    *path, last = place.split(".")
    inside = copy
    for part in path:
        inside = inside[int(part) if isinstance(inside, list) else part]
    if value is ...:
        del inside[int(last) if isinstance(inside, list) else last]
    else:
        inside[int(last) if isinstance(inside, list) else last] = value
    return copy
