"""A task file to be completed: what the environment itself knows is filled in, the words are left to the user."""

import importlib.util
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import yaml

from latent_reward.envs.pettingzoo import Kind, find_kinds, opened, time_limit
from latent_reward.errors import LareError
from latent_reward.task.document import FILL_IN
from latent_reward.task.fields import Part
from latent_reward.task.task import open_env

LONGEST = (
    64  # indices that get a line each; a longer vector starts as one block, to be split where it makes sense
)
_UNKNOWN = 1e6  # a bound beyond is none


def draft_task(env_id: str, module: str | None = None, env_kwargs: Mapping[str, Any] | None = None) -> str:
    """The text of a task file for a live environment: sizes, bounds and time limit filled in, and who is a team.

    What only a person knows begins with ``FILL IN``, and the file is refused until that is gone.

    Args:
        env_id: a Gymnasium id, perhaps ``module:Id-v0``; or a parallel environment of PettingZoo,
            ``package.module`` or ``module:function``.
        module: the module whose import registers it, or that has the function.
        env_kwargs: arguments of the environment, which the file then gives too.

    Raises:
        LareError: there is no such environment, or what its agents see and do cannot be used.
    """
    if module and ":" in env_id:
        raise LareError(f"env: {env_id} names its module already; leave --import out")
    full = f"{module}:{env_id}" if module else env_id
    kwargs = dict(env_kwargs or {})
    return _draft_teams(full, kwargs) if of_pettingzoo(full) else _draft_one(full, kwargs)


def of_pettingzoo(name: str) -> bool:
    """Whether an environment is named as one of PettingZoo: ``package.module`` or ``module:function``.

    What Gymnasium has registered, or calls ``Name-v0``, is none; a lone word is one if it is a module.
    """
    module, _, function = name.partition(":")
    words = [*module.split("."), *([function] if ":" in name else [])]
    if name in gymnasium.registry or not all(word.isidentifier() for word in words):
        return False
    return len(words) > 1 or importlib.util.find_spec(name) is not None


def task_name(env_id: str) -> str:
    """The name of a task for an environment: the last part of its id or name, fit for a file."""
    last = env_id.rpartition(":")[2]
    return re.sub(r"[^\w.-]", "-", last.rpartition(".")[2] if of_pettingzoo(env_id) else last)


def write_draft(text: str, path: Path) -> None:
    """Write a new file; raises :class:`LareError` if there is one already, or it cannot be written."""
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise LareError(
            f"out: {path} exists already and is not replaced; give another name with --out"
        ) from None
    except OSError as error:
        raise LareError(
            f"out: cannot write {path} ({error.strerror}); choose another place with --out"
        ) from None


def _draft_one(name: str, kwargs: dict[str, Any]) -> str:
    env = open_env(name, env_kwargs=kwargs)
    observation, action = env.observation_space, env.action_space
    limit = gymnasium.spec(env.spec.id).max_episode_steps if env.spec else None
    env.close()
    assert isinstance(observation, gymnasium.spaces.Box)
    assert isinstance(action, gymnasium.spaces.Box)
    if not (np.isfinite(action.low).all() and np.isfinite(action.high).all()):
        raise LareError(
            f"env: the action space of {name} has no bounds; give its Box a low and a high, "
            "so that it is known how far an action can go"
        )
    lines = [
        *_head(name, "env", kwargs, limit),
        *_goal("plain"),
        *_fields("observation", observation.low, observation.high),
        *_fields("action", action.low, action.high),
    ]
    return "\n".join(lines) + "\n"


def _draft_teams(name: str, kwargs: dict[str, Any]) -> str:
    with opened(name, kwargs) as env:
        kinds, limit = find_kinds(name, env), time_limit(env)
    lines = [
        *_head(name, "pettingzoo", kwargs, limit),
        "# A team shares one return. Agents of one kind are put together here: those that see and act alike and",
        "# whose names differ only in a number. Split a kind whose members play against each other.",
        "teams:",
        *(f"  {line}" for kind in kinds for line in _team(kind, alone=len(kinds) == 1)),
    ]
    return "\n".join(lines) + "\n"


def _team(kind: Kind, alone: bool) -> Iterator[str]:
    yield f"- name: {kind.name}"
    yield f"  agents: {kind.agents}"
    if not alone:
        yield f"  members: {_flow(list(kind.members))}"
    body = [
        *_goal(kind.name),
        *_fields("observation", kind.low, kind.high),
        "action:  # one line for each choice",
        *(
            f"  - {{index: {index}, name: {FILL_IN}, low: 0, high: 1, "
            f"meaning: '{FILL_IN}: what the agent does if this is 1'}}"
            for index in range(kind.actions)
        ),
    ]
    yield from (f"  {line}" for line in body)


def _head(name: str, key: str, kwargs: dict[str, Any], limit: int | None) -> Iterator[str]:
    yield f"# A draft of `lare task init {name}`. Fill in every {FILL_IN}; then `lare check` compares it with the"
    yield "# environment. Say what the sign of a number means and where zero is: whoever writes an encoder has"
    yield "# nothing but these words."
    yield f"name: {task_name(name)}"
    yield f"{key}: {name}"
    if kwargs:
        yield f"env_kwargs: {_flow(kwargs)}"
    yield f"max_steps: {limit or repr(f'{FILL_IN}: after how many steps an episode is cut')}"


def _goal(anchor: str) -> Iterator[str]:
    """Both wordings; YAML refers to the first one by ``anchor``, which is unique in the file."""
    yield "goal:"
    yield f"  plain: &{anchor} '{FILL_IN}: what is wanted, without saying what is paid for it'"
    yield f"  paper: *{anchor}  # or a second wording, which tells more about what counts"


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
            f", {name}: {_number(bound)}"
            for name, bound in (("low", low), ("high", high))
            if abs(bound) < _UNKNOWN
        )
        yield (
            f"  - {{index: {index}, name: {FILL_IN}, unit: '-'{bounds}, "
            f"meaning: '{FILL_IN}: what the number is, its sign, and where zero is'}}"
        )


def _number(value: np.floating | np.integer) -> str:
    return np.format_float_positional(value, trim="-")


def _flow(data: Any) -> str:
    """Plain data as YAML on one line."""
    return yaml.safe_dump(data, default_flow_style=True, sort_keys=False, width=10**6).strip()
