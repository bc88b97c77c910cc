"""Draft a task file: sizes, bounds and time limit come from the environment, the words are left to the user."""

import importlib.util
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import yaml

from latent_reward.envs.gym import inspect_env, open_env
from latent_reward.envs.named import name_module
from latent_reward.envs.pettingzoo import Kind, find_kinds, find_maker, opened, time_limit
from latent_reward.errors import LareError, disk_errors, shown
from latent_reward.files import as_file_name
from latent_reward.task.fields import Part
from latent_reward.task.load import FILL_IN

# Longest vector with one line per index; a longer one starts as one block, which the user splits into fields.
LONGEST = 64
_UNKNOWN = 1e6  # a bound of at least this size means that there is none


def draft_task(env_id: str, module: str | None = None, env_kwargs: Mapping[str, Any] | None = None) -> str:
    """The text of a task file for a live environment, with its sizes, bounds, time limit and teams filled in.

    What only a person knows begins with ``FILL IN``; the file is not accepted until that is replaced.
    LareError if there is no such environment, or its spaces cannot be used.

    Args:
        env_id: a Gymnasium id such as ``Id-v0`` or ``module:Id-v0``, or a parallel environment of PettingZoo,
            ``package.module`` or ``module:function``.
        module: the module whose import registers the environment, or that has the function.
        env_kwargs: arguments of the environment, which are written into the file.
    """
    for name, text in (("env", env_id), ("import", module or "")):
        if not isinstance(text, str):
            raise LareError(f"{name}: {shown(text)} is no text; write a name")
    if env_kwargs is not None and not isinstance(env_kwargs, Mapping):
        raise LareError(f"env_kwargs: {shown(env_kwargs)} is no mapping; give arguments by name")
    if module and ":" in env_id:
        raise LareError(f"env: {env_id} names its module already; leave --import out")
    full = f"{module}:{env_id}" if module else env_id
    name_module(full)
    kwargs = dict(env_kwargs or {})
    lines = _draft_teams(full, kwargs) if is_pettingzoo(full) else _draft_one(full, kwargs)
    return "\n".join(lines) + "\n"


def is_pettingzoo(name: str) -> bool:
    """Whether ``name`` has the form of a PettingZoo environment: ``package.module`` or ``module:function``.

    A registered Gymnasium id or a name such as ``Name-v0`` has not; a single word has if it is a module.
    """
    module, _, function = name.partition(":")
    words = [*module.split("."), *([function] if ":" in name else [])]
    if name in gymnasium.registry or not all(word.isidentifier() for word in words):
        return False
    return len(words) > 1 or importlib.util.find_spec(name) is not None


def task_name(env_id: str) -> str:
    """The name of the task of an environment: the last part of its id, with characters allowed in a file name."""
    last = env_id.rpartition(":")[2]
    return as_file_name(last.rpartition(".")[2] if is_pettingzoo(env_id) else last)


def write_draft(text: str, path: Path) -> None:
    """Write a new file; LareError if it exists already or cannot be written."""
    if path.exists():
        raise LareError(f"out: {path} exists already; give another name with --out")
    with (
        disk_errors(f"out: cannot write {path}", "give another --out"),
        path.open("x", encoding="utf-8") as file,
    ):
        file.write(text)


def _draft_one(name: str, kwargs: dict[str, Any]) -> Iterator[str]:
    observation, action, limit = inspect_env(open_env(name, env_kwargs=kwargs))
    yield from _head(name, "env", kwargs, limit)
    yield from _goal()
    yield from _fields("observation", observation.low, observation.high)
    yield from _fields("action", action.low, action.high)


def _draft_teams(name: str, kwargs: dict[str, Any]) -> Iterator[str]:
    with opened(name, find_maker(name, kwargs)) as env:
        kinds, limit = find_kinds(name, env), time_limit(env)
    yield from _head(name, "pettingzoo", kwargs, limit)
    yield "# A team shares one return. Agents with the same spaces, whose names differ only in a number, are put into"
    yield "# one team here. Split a team whose members play against each other."
    yield "teams:"
    for kind in kinds:
        yield from (f"  {line}" for line in _team(kind, alone=len(kinds) == 1))


def _team(kind: Kind, alone: bool) -> Iterator[str]:
    yield f"- name: {kind.name}"
    yield f"  agents: {kind.agents}"
    if not alone:
        yield f"  members: {_flow(list(kind.members))}"
    body = [
        *_goal(),
        *_fields("observation", kind.low, kind.high),
        "action:  # one line for each choice",
        *(
            f"  - {{index: {i}, name: {FILL_IN}, low: 0, high: 1, "
            f"meaning: '{FILL_IN}: what the agent does if this is 1'}}"
            for i in range(kind.actions)
        ),
    ]
    yield from (f"  {line}" for line in body)


def _head(name: str, key: str, kwargs: dict[str, Any], limit: int | None) -> Iterator[str]:
    yield f"# A draft by `lare task init {name}`. Replace every {FILL_IN}; then run `lare check` to compare it with"
    yield "# the environment. Say what the sign of a number means and where zero is: a language model that writes an"
    yield "# encoder knows only these words."
    yield f"name: {task_name(name)}"
    yield f"{key}: {name}"
    if kwargs:
        yield f"env_kwargs: {_flow(kwargs)}"
    yield f"max_steps: {limit or repr(f'{FILL_IN}: after how many steps an episode is cut')}"


def _goal() -> Iterator[str]:
    """Both wordings of the goal."""
    yield "goal:"
    yield f"  plain: '{FILL_IN}: what is wanted, without saying what is rewarded'"
    yield f"  paper: '{FILL_IN}: the same again, or a second wording that may say more about what is rewarded'"


def _fields(part: Part, lows: np.ndarray, highs: np.ndarray) -> Iterator[str]:
    yield f"{part}:"
    if len(lows) > LONGEST:
        yield (
            f"  - {{index: 0, count: {len(lows)}, name: {FILL_IN}, unit: '-', "
            f"meaning: '{FILL_IN}: what these numbers are; split the block into fields'}}"
        )
        return
    for index, (low, high) in enumerate(zip(lows, highs, strict=True)):
        bounds = "".join(
            f", {name}: {np.format_float_positional(bound, trim='-')}"
            for name, bound in (("low", low), ("high", high))
            if abs(bound) < _UNKNOWN
        )
        yield (
            f"  - {{index: {index}, name: {FILL_IN}, unit: '-'{bounds}, "
            f"meaning: '{FILL_IN}: what the number is, its sign, and where zero is'}}"
        )


def _flow(data: Any) -> str:
    """Plain data as YAML on one line."""
    return yaml.safe_dump(data, default_flow_style=True, sort_keys=False, width=10**6).strip()
