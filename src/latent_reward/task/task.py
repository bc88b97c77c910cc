"""A task: an environment together with its description in words.

A task is data. It lives in a YAML file that names the environment, says what is wanted and gives one
*field* per index of the observation and of the action, so that somebody who has never seen the
environment could judge a step from the numbers alone. The tasks that come with the package are files of
the same format (``latent_reward/task/*.yaml``); :func:`~latent_reward.task.check.check_task` compares any
of them with the live environment.
"""

import difflib
import importlib
import json
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import field
from pathlib import Path
from typing import Annotated, Any

import gymnasium
import numpy as np
import pydantic
from pydantic.dataclasses import dataclass

from latent_reward.envs.base import World
from latent_reward.envs.pettingzoo import HostWorld, host_world
from latent_reward.envs.worlds import find_world
from latent_reward.errors import LareError, TaskError
from latent_reward.task import fields
from latent_reward.task.document import Document, Location, Problem, field_name, read_document, unfilled
from latent_reward.task.fields import STRICT, VARIANTS, Field, Part, Text, Variant

_FOLDER = Path(__file__).parent


def default_role() -> str:
    """The role instruction that every task uses unless it brings its own."""
    return (_FOLDER / "role.txt").read_text(encoding="utf-8").strip()


@dataclass(frozen=True, config=STRICT)
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
        return fields.size(self.observation)

    @property
    def action_size(self) -> int:
        """Number of action indices the fields describe."""
        return fields.size(self.action)

    @property
    def observation_low(self) -> np.ndarray:
        """Smallest value of each observation index, float32, ``-inf`` where unknown."""
        return fields.bounds(self.observation)[0]

    @property
    def observation_high(self) -> np.ndarray:
        """Largest value of each observation index, float32, ``inf`` where unknown."""
        return fields.bounds(self.observation)[1]

    @property
    def action_low(self) -> np.ndarray:
        """Smallest value of each action index, float32, ``-inf`` where unknown."""
        return fields.bounds(self.action)[0]

    @property
    def action_high(self) -> np.ndarray:
        """Largest value of each action index, float32, ``inf`` where unknown."""
        return fields.bounds(self.action)[1]

    def describe(self, part: Part) -> str:
        """The observation form or the action form as text for a prompt: one line per field."""
        return fields.describe(part, self.observation if part == "observation" else self.action)

    @property
    def descriptions(self) -> "tuple[Task, ...]":
        """What is described: the one agent, which is the task itself."""
        return (self,)


@dataclass(frozen=True, config=STRICT)
class Team:
    """Agents that see and act alike and share one return: how many, their goal, and what one of them sees and does.

    An action is one of several: ``action`` has one field for each, which is 1 for the chosen one and else 0.
    ``members`` are the agents' names in a PettingZoo environment, or patterns such as ``adversary_*``.
    """

    name: Annotated[str, pydantic.StringConstraints(pattern=r"^[a-z][a-z0-9_-]*$")]
    agents: Annotated[int, pydantic.Field(ge=1)]
    goal: dict[Variant, Text]
    observation: Annotated[tuple[Field, ...], pydantic.Field(min_length=1)]
    action: Annotated[tuple[Field, ...], pydantic.Field(min_length=1)]
    members: tuple[Text, ...] = ()
    role: Text = field(default_factory=default_role)


@dataclass(frozen=True, config=STRICT)
class TeamTask:
    """One or more teams of learning agents, each described on its own, in a compiled world or in PettingZoo."""

    name: Text
    max_steps: Annotated[int, pydantic.Field(ge=1)]
    teams: Annotated[tuple[Team, ...], pydantic.Field(min_length=1)]
    world: str = ""
    pettingzoo: str = ""
    env_kwargs: dict[str, Any] = field(default_factory=dict)

    @pydantic.model_validator(mode="after")
    def _coherent(self) -> "TeamTask":
        names = [team.name for team in self.teams]
        if len(set(names)) < len(names):
            raise ValueError("two teams have the same name")
        if bool(self.world) == bool(self.pettingzoo):
            raise ValueError(
                "teams act in a `world` or in a `pettingzoo` environment: exactly one of the two"
            )
        if self.world and (self.env_kwargs or any(team.members for team in self.teams)):
            raise ValueError("env_kwargs and members belong to a `pettingzoo` environment, not to a `world`")
        return self

    @property
    def descriptions(self) -> tuple[Task, ...]:
        """Each team as the task of one of its agents: what an encoder is designed for.

        A team that is not the only one has its name behind a slash: ``name``, ``name/team``.
        """
        suffixes = [f"/{team.name}" if len(self.teams) > 1 else "" for team in self.teams]
        return tuple(
            Task(
                name=self.name + suffix,
                env_id=f"{self.world or self.pettingzoo}{suffix}",
                max_steps=self.max_steps,
                goal=team.goal,
                observation=team.observation,
                action=team.action,
                role=team.role,
            )
            for team, suffix in zip(self.teams, suffixes, strict=True)
        )


AnyTask = Task | TeamTask


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


def load_task(name_or_path: str | Path) -> AnyTask:
    """Load a built-in task by name, or a task file by its path.

    >>> load_task("Reacher-v5").max_steps
    50
    """
    path = task_path(name_or_path)
    task, problems = parse_task(read_document(path))
    if task is not None:
        return task
    rest = f" (and {len(problems) - 1} more: run `lare check {path}`)" if len(problems) > 1 else ""
    raise LareError(f"{problems[0]}{rest}")


def load_description(name_or_path: str | Path) -> Task:
    """The task of one agent: a single-agent task, or a team's (``cp-6/prey`` if there are several).

    >>> load_description("Reacher-v5").observation_size
    10

    Raises:
        LareError: there is no such task or team, or there are several teams and none was named.
    """
    return find_description(str(name_or_path))[1]


def find_description(task: AnyTask | str) -> tuple[AnyTask, Task]:
    """A task and the one agent that is meant in it; raises as :func:`load_description` does."""
    name, _, team = task.rpartition("/") if isinstance(task, str) else ("", "", "")
    if isinstance(task, str) and (not name or Path(task).exists()):
        name, team = task, ""
    whole = load_task(name) if isinstance(task, str) else task
    for each in whole.descriptions:
        if each.name.endswith(f"/{team}") if team else len(whole.descriptions) == 1:
            return whole, each
    names = " or ".join(each.name for each in whole.descriptions)
    raise LareError(f"task: {str(task) if team else whole.name!r} names no team; write {names}")


def parse_task(document: Document) -> tuple[AnyTask | None, list[Problem]]:
    """The task in a document, or the reasons why the document does not hold one."""
    problems = [*document.problems, *unfilled(document)]
    if not problems:
        of_teams = isinstance(document.data, dict) and not document.data.keys().isdisjoint(
            ("teams", "world", "pettingzoo")
        )
        try:
            # JSON is the strict mode that still reads lists as tuples and mappings as dataclasses.
            task = (_TEAM_SCHEMA if of_teams else _SCHEMA).validate_json(
                json.dumps(document.data, default=str)
            )
            problems = [
                Problem(
                    document.file,
                    document.line((*place, "goal")),
                    field_name((*place, "goal", variant)),
                    f"the goal variant {variant!r} is missing",
                    f"add `{variant}:` with the goal in words",
                )
                for index, each in enumerate(task.descriptions)
                for place in [("teams", index) if of_teams else ()]
                for variant in VARIANTS
                if variant not in each.goal
            ]
            if not problems:
                return task, []
        except pydantic.ValidationError as error:
            problems = [_explain(document, detail, of_teams) for detail in error.errors()]
    return None, sorted(problems, key=lambda problem: problem.line or 0)


def open_world(task: TeamTask) -> World | HostWorld:
    """Where the teams of ``task`` act: a compiled world, or a PettingZoo environment on the host.

    Raises:
        LareError: there is none of that name, or its agents do not fit the teams.
    """
    if task.world:
        return find_world(task.world)
    groups = {team.name: team.members for team in task.teams}
    return host_world(task.pettingzoo, task.env_kwargs, groups, task.max_steps)


def make_env(task: Task, *, render_mode: str | None = None) -> gymnasium.Env[np.ndarray, np.ndarray]:
    """Create the environment of ``task`` with the task's time limit; raises as :func:`open_env` does."""
    return open_env(
        task.env_id, max_episode_steps=task.max_steps, render_mode=render_mode, env_kwargs=task.env_kwargs
    )


def open_env(
    env_id: str,
    *,
    max_episode_steps: int | None = None,
    render_mode: str | None = None,
    env_kwargs: Mapping[str, Any] | None = None,
) -> gymnasium.Env[np.ndarray, np.ndarray]:
    """Create an environment, with the time limit that it is registered with by default.

    Older revisions (the v4 tasks) are wanted here on purpose, so the notice that a newer one exists is not
    shown.

    Raises:
        TaskError: there is none, or its observation or action is not a flat vector of real numbers.
    """
    kwargs = dict(env_kwargs or {})
    if render_mode is not None:  # an environment without pictures need not know the word
        kwargs["render_mode"] = render_mode
    with _quiet():
        try:
            env = gymnasium.make(env_id, max_episode_steps=max_episode_steps, **kwargs)
        except ModuleNotFoundError as error:
            raise TaskError(
                "env",
                f"{env_id} needs the module {error.name or env_id.rpartition(':')[0]!r}, which cannot be imported",
                "install it, or run the command in the folder that holds it",
            ) from error
        except gymnasium.error.UnregisteredEnv as error:
            close = did_you_mean(env_id, gymnasium.registry)
            raise TaskError(
                "env",
                f"no environment is registered as {env_id!r}{close}",
                "correct the id, install the package that provides it, or write `package:Id-v0` to import "
                "that package first",
            ) from error
        except TypeError as error:
            raise TaskError(
                "env_kwargs", f"{env_id} refuses {kwargs} ({error})", "correct the arguments"
            ) from error
        except Exception as error:  # a stranger's code may fail in any way
            message = f"{env_id} cannot be created: {' '.join(str(error).split()).rstrip('.') or repr(error)}"
            raise TaskError("env", message, "choose another environment or install what it needs") from error
    remedies = {
        "observation": "wrap it with gymnasium's FlattenObservation and register the result",
        "action": "choose an environment whose actions are continuous vectors, or wrap this one and register it",
    }
    for part, space in (("observation", env.observation_space), ("action", env.action_space)):
        if not isinstance(space, gymnasium.spaces.Box) or len(space.shape) != 1:
            env.close()
            kind = type(space).__name__ + (f" of shape {space.shape}" if space.shape else "")
            message = f"the {part} space of {env_id} is a {kind}; only a Box with one axis can be used"
            raise TaskError("env", message, remedies[part])
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


_SCHEMA, _TEAM_SCHEMA = pydantic.TypeAdapter(Task), pydantic.TypeAdapter(TeamTask)


def _explain(document: Document, detail: Any, of_teams: bool) -> Problem:
    """Turn one validation error into a problem with its line and a remedy."""
    location: Location = tuple(key for key in detail["loc"] if key != "[key]")
    kind, value = detail["type"], detail["input"]
    name = str(location[-1]) if location else ""
    known = _keys(location[:-1], of_teams)
    if kind in ("extra_forbidden", "unexpected_keyword_argument") or (kind, name) == ("literal_error", name):
        message = f"unknown key {name!r}{did_you_mean(name, known)}"
        remedy = f"remove it or use one of: {', '.join(known)}"
    elif kind == "missing":
        message, remedy = f"the key {name!r} is missing", f"add `{name}:`"
    elif kind == "string_too_short" or (kind == "string_type" and value is None):
        message, remedy = "the text is empty", "write a text"
    elif location == ("teams",) and kind in ("too_short", "tuple_type"):
        message, remedy = "nobody learns here", "describe at least one team: `- name:`, `agents:` and so on"
    elif kind == "too_short":
        message, remedy = "nothing is described", "add one field for every index"
    elif kind == "value_error":
        message, remedy = str(detail["ctx"]["error"]), "correct the values"
    else:
        shown = f"a {type(value).__name__}" if isinstance(value, dict | list) else repr(value)
        message, remedy = f"{shown} does not fit", detail["msg"][0].lower() + detail["msg"][1:]
    return Problem(document.file, document.line(location), field_name(location), message, remedy)


def _keys(parent: Location, of_teams: bool) -> tuple[str, ...]:
    """The keys that may stand inside the part at ``parent``."""
    if not parent:
        whole = TeamTask if of_teams else Task
        return tuple("env" if name == "env_id" else name for name in whole.__dataclass_fields__)
    if parent[-1] == "goal":
        return VARIANTS
    if len(parent) == 2 and parent[0] == "teams":
        return tuple(Team.__dataclass_fields__)
    return tuple(Field.__dataclass_fields__)
