"""A task: an environment together with its description in words.

A task is data. It lives in a YAML file that names the environment, says what is wanted and gives one
*field* per index of the observation and of the action, so that somebody who has never seen the
environment could judge a step from the numbers alone. The tasks that come with the package are files of
the same format (``latent_reward/tasks/*.yaml``); :func:`~latent_reward.task_check.check_task` compares any
of them with the live environment.
"""

import difflib
import importlib
import json
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import field
from pathlib import Path
from typing import Annotated, Any, Literal

import gymnasium
import numpy as np
import pydantic
from pydantic.dataclasses import dataclass

from latent_reward._yaml import Document, Location, Problem, field_name, read_document
from latent_reward.types import LareError

Text = Annotated[str, pydantic.StringConstraints(min_length=1, strip_whitespace=True)]
Variant = Literal["plain", "paper"]
Part = Literal["observation", "action"]
VARIANTS: tuple[Variant, ...] = ("plain", "paper")

_FOLDER = Path(__file__).parent / "tasks"
_STRICT = pydantic.ConfigDict(strict=True, extra="forbid")


@dataclass(frozen=True, config=_STRICT)
class Field:
    """What one index of an observation or action holds, or a block of ``count`` indices from ``index`` on.

    ``low`` and ``high`` bound the values and stay ``None`` where no bound is known.
    """

    index: Annotated[int, pydantic.Field(ge=0)]
    name: Text
    meaning: Text
    unit: Text = "-"
    low: pydantic.FiniteFloat | None = None
    high: pydantic.FiniteFloat | None = None
    count: Annotated[int, pydantic.Field(ge=1)] = 1

    @pydantic.model_validator(mode="after")
    def _ordered(self) -> "Field":
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"low {self.low:g} is above high {self.high:g}")
        return self

    @property
    def indices(self) -> range:
        """The indices this field describes."""
        return range(self.index, self.index + self.count)


def default_role() -> str:
    """The role instruction that every task uses unless it brings its own."""
    return (_FOLDER / "role.txt").read_text(encoding="utf-8").strip()


@dataclass(frozen=True, config=_STRICT)
class Task:
    """An environment, its time limit, its goal in words and the meaning of all its numbers.

    ``goal`` has two variants: ``plain`` says what is wanted and betrays no term of the hidden reward,
    ``paper`` is as informative as the task texts of the published experiments. ``role`` tells a language
    model what to write.
    """

    name: Text
    env_id: Annotated[Text, pydantic.Field(validation_alias=pydantic.AliasChoices("env", "env_id"))]
    max_steps: Annotated[int, pydantic.Field(ge=1)]
    goal: dict[Variant, Text]
    observation: Annotated[tuple[Field, ...], pydantic.Field(min_length=1)]
    action: tuple[Field, ...]
    env_kwargs: dict[str, Any] = field(default_factory=dict)
    role: Text = field(default_factory=default_role)

    @property
    def observation_size(self) -> int:
        """Number of observation indices the fields describe."""
        return _size(self.observation)

    @property
    def action_size(self) -> int:
        """Number of action indices the fields describe."""
        return _size(self.action)

    @property
    def observation_low(self) -> np.ndarray:
        """Smallest value of each observation index, float32, ``-inf`` where unknown."""
        return _bounds(self.observation)[0]

    @property
    def observation_high(self) -> np.ndarray:
        """Largest value of each observation index, float32, ``inf`` where unknown."""
        return _bounds(self.observation)[1]

    @property
    def action_low(self) -> np.ndarray:
        """Smallest value of each action index, float32, ``-inf`` where unknown."""
        return _bounds(self.action)[0]

    @property
    def action_high(self) -> np.ndarray:
        """Largest value of each action index, float32, ``inf`` where unknown."""
        return _bounds(self.action)[1]

    def describe(self, part: Part) -> str:
        """The observation form or the action form as text for a prompt: one line per field."""
        fields = self.observation if part == "observation" else self.action
        head = f"{part}: array of shape (batch_size, {_size(fields)})"
        return "\n".join([head, *(_describe(part, each) for each in sorted(fields, key=lambda f: f.index))])


class TaskError(LareError):
    """A task that does not fit its environment: the field at fault, what is wrong and the remedy."""

    def __init__(self, field: str, message: str, remedy: str):
        """Keep the three parts, so that a checker can add the line to them."""
        super().__init__(f"{field}: {message}; {remedy}")
        self.field, self.message, self.remedy = field, message, remedy


def task_names() -> tuple[str, ...]:
    """Names of the built-in tasks, sorted."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.yaml")))


def task_path(name_or_path: str | Path) -> Path:
    """The YAML file of a built-in task or of a path; raises :class:`LareError` if there is none."""
    text = str(name_or_path)
    if text in task_names():
        return _FOLDER / f"{text}.yaml"
    path = Path(name_or_path)
    if path.is_file():
        return path
    if path.suffix in (".yaml", ".yml"):
        raise LareError(f"task: no file {text!r}; check the path, or run `lare tasks` for the built-in tasks")
    raise LareError(
        f"task: no built-in task is named {text!r}{did_you_mean(text, task_names())}; "
        "run `lare tasks` for all of them, or give the path of a task file that ends in .yaml"
    )


def load_task(name_or_path: str | Path) -> Task:
    """Load a built-in task by name, or a task file by its path.

    >>> load_task("Reacher-v5").observation_size
    10
    """
    path = task_path(name_or_path)
    task, problems = parse_task(read_document(path))
    if task is not None:
        return task
    rest = f" (and {len(problems) - 1} more: run `lare check {path}`)" if len(problems) > 1 else ""
    raise LareError(f"{problems[0]}{rest}")


def parse_task(document: Document) -> tuple[Task | None, list[Problem]]:
    """The task in a document, or the reasons why the document does not hold one."""
    problems = list(document.problems)
    if not problems:
        try:
            # JSON is the strict mode that still reads lists as tuples and mappings as dataclasses.
            task = _SCHEMA.validate_json(json.dumps(document.data, default=str))
            problems = [
                Problem(
                    document.file,
                    document.line(("goal",)),
                    f"goal.{variant}",
                    f"the goal variant {variant!r} is missing",
                    f"add `{variant}:` with the goal in words",
                )
                for variant in VARIANTS
                if variant not in task.goal
            ]
            if not problems:
                return task, []
        except pydantic.ValidationError as error:
            problems = [_explain(document, detail) for detail in error.errors()]
    return None, sorted(problems, key=lambda problem: problem.line or 0)


def make_env(task: Task, *, render_mode: str | None = None) -> gymnasium.Env[np.ndarray, np.ndarray]:
    """Create the environment of ``task`` with the task's time limit.

    Refuses environments whose observation or action is not a flat vector of real numbers. Older revisions
    (the v4 tasks) are wanted here on purpose, so the notice that a newer one exists is not shown.
    """
    with _quiet():
        try:
            env = gymnasium.make(
                task.env_id, max_episode_steps=task.max_steps, render_mode=render_mode, **task.env_kwargs
            )
        except (gymnasium.error.UnregisteredEnv, ModuleNotFoundError) as error:
            close = did_you_mean(task.env_id, gymnasium.registry)
            raise TaskError(
                "env",
                f"no environment is registered as {task.env_id!r}{close}",
                "correct the id, install the package that provides it, or write `package:Id-v0` to import "
                "that package first",
            ) from error
        except (gymnasium.error.Error, ImportError) as error:
            message = f"{task.env_id} cannot be created: {str(error).rstrip('.')}"
            raise TaskError("env", message, "choose another environment or install what it needs") from error
        except TypeError as error:
            raise TaskError(
                "env_kwargs", f"{task.env_id} refuses {task.env_kwargs} ({error})", "correct the arguments"
            ) from error
    for part, space in (("observation", env.observation_space), ("action", env.action_space)):
        if not isinstance(space, gymnasium.spaces.Box) or len(space.shape) != 1:
            env.close()
            kind = type(space).__name__ + (f" of shape {space.shape}" if space.shape else "")
            raise TaskError(
                "env",
                f"the {part} space of {task.env_id} is a {kind}; only a Box with one axis can be used",
                "choose an environment with continuous vectors, or wrap this one and register the result",
            )
    return env


def did_you_mean(value: str, known: Iterable[str]) -> str:
    """`` (did you mean …?)`` with the known values closest to ``value``, or nothing."""
    close = difflib.get_close_matches(value, list(known), n=3, cutoff=0.6)
    return f" (did you mean {' or '.join(close)}?)" if close else ""


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence two notices that no user can act on, and only those two.

    Gymnasium announces a newer revision of the environment; MuJoCo finds a deprecated attribute in the
    robot model that Gymnasium ships, and would write that into a log file in the working directory.
    """
    mujoco: Any = importlib.import_module("mujoco")  # its type stubs lack the two functions used here

    def forward(message: str) -> None:
        if "settotalmass" not in message:
            warnings.warn(f"MuJoCo: {message}", stacklevel=2)

    before = mujoco.get_mju_user_warning()
    mujoco.set_mju_user_warning(forward)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r".*The environment .* is out of date", DeprecationWarning)
            yield
    finally:
        mujoco.set_mju_user_warning(before)


_SCHEMA = pydantic.TypeAdapter(Task)


def _size(fields: tuple[Field, ...]) -> int:
    return max((each.indices.stop for each in fields), default=0)


def _bounds(fields: tuple[Field, ...]) -> tuple[np.ndarray, np.ndarray]:
    low = np.full(_size(fields), -np.inf, np.float32)
    high = np.full(_size(fields), np.inf, np.float32)
    for each in fields:
        block = slice(each.indices.start, each.indices.stop)
        low[block] = -np.inf if each.low is None else each.low
        high[block] = np.inf if each.high is None else each.high
    return low, high


def _describe(part: str, each: Field) -> str:
    place = str(each.index) if each.count == 1 else f"{each.index}:{each.indices.stop}"
    low, high = (
        word if value is None else f"{value:g}" for word, value in (("-inf", each.low), ("inf", each.high))
    )
    bounds = "" if each.low is None and each.high is None else f", from {low} to {high}"
    unit = "no unit" if each.unit == "-" else each.unit
    return f"- {part}[:, {place}] {each.name} ({unit}{bounds}): {each.meaning}"


def _explain(document: Document, detail: Any) -> Problem:
    """Turn one validation error into a problem with its line and a remedy."""
    location: Location = tuple(key for key in detail["loc"] if key != "[key]")
    kind, value = detail["type"], detail["input"]
    name = str(location[-1]) if location else ""
    known = _keys(location[:-1])
    if kind in ("extra_forbidden", "unexpected_keyword_argument") or (kind, name) == ("literal_error", name):
        message = f"unknown key {name!r}{did_you_mean(name, known)}"
        remedy = f"remove it or use one of: {', '.join(known)}"
    elif kind == "missing":
        message, remedy = f"the key {name!r} is missing", f"add `{name}:`"
    elif kind == "string_too_short" or (kind == "string_type" and value is None):
        message, remedy = "the text is empty", "write a text"
    elif kind == "too_short":
        message, remedy = "nothing is described", "add one field for every index"
    elif kind == "value_error":
        message, remedy = str(detail["ctx"]["error"]), "correct the values"
    else:
        shown = f"a {type(value).__name__}" if isinstance(value, dict | list) else repr(value)
        message, remedy = f"{shown} does not fit", detail["msg"][0].lower() + detail["msg"][1:]
    return Problem(document.file, document.line(location), field_name(location), message, remedy)


def _keys(parent: Location) -> tuple[str, ...]:
    """The keys that may stand inside the part at ``parent``."""
    if not parent:
        return tuple("env" if name == "env_id" else name for name in Task.__dataclass_fields__)
    if parent == ("goal",):
        return VARIANTS
    return tuple(Field.__dataclass_fields__)
