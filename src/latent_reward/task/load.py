"""Find a task by its name or path and read its file; every mistake in a file is reported with its line."""

import json
from pathlib import Path
from typing import Any

import pydantic

from latent_reward.errors import LareError, did_you_mean
from latent_reward.task.document import Document, Finding, Location, read_document, unfilled
from latent_reward.task.fields import VARIANTS, Field
from latent_reward.task.task import AnyTask, Task, Team, TeamTask

_FOLDER = Path(__file__).parent
_SCHEMA, _TEAM_SCHEMA = pydantic.TypeAdapter(Task), pydantic.TypeAdapter(TeamTask)


def task_names() -> tuple[str, ...]:
    """Names of the built-in tasks, sorted."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.yaml")))


def task_path(name_or_path: str | Path) -> Path:
    """The YAML file of a built-in task or of a path.

    Raises:
        LareError: there is no such task or file.
    """
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

    Raises:
        LareError: there is no such task, or its file has mistakes; the first one is shown.
    """
    task, findings, _ = read_task(name_or_path)
    if task is not None:
        return task
    more = len(findings) - 1
    raise LareError(f"{findings[0]}{f' (and {more} more: run `lare check {name_or_path}`)' if more else ''}")


def load_description(name_or_path: str | Path) -> Task:
    """The task of one agent: a single-agent task, or that of a team (``cp-6/prey`` if there are several teams).

    >>> load_description("Reacher-v5").observation_size
    10

    Raises:
        LareError: there is no such task or team, or there are several teams and none is named.
    """
    return find_description(str(name_or_path))[1]


def find_description(task: AnyTask | str) -> tuple[AnyTask, Task]:
    """A task, and the description of one agent in it; raises as :func:`load_description` does."""
    team, whole = "", task
    if isinstance(task, str):
        name, _, team = task.rpartition("/")
        if not name or Path(task).exists():
            name, team = task, ""
        whole = load_task(name)
    assert not isinstance(whole, str)
    for each in whole.descriptions:
        if each.name.endswith(f"/{team}") if team else len(whole.descriptions) == 1:
            return whole, each
    names = " or ".join(each.name for each in whole.descriptions)
    raise LareError(f"task: {str(task) if team else whole.name!r} names no team; write {names}")


def read_task(task: AnyTask | str | Path) -> tuple[AnyTask | None, list[Finding], Document]:
    """A task (None if its file has mistakes), the mistakes, and the document that has the line of each part.

    A task that is given as an object has no file and so a document without lines.
    """
    if isinstance(task, Task | TeamTask):
        return task, [], Document(task.name)
    document = read_document(task_path(task))
    found = [*document.findings, *unfilled(document, document.data)]
    if found:
        return None, _by_line(found), document
    data = document.data
    of_teams = isinstance(data, dict) and not data.keys().isdisjoint(("teams", "world", "pettingzoo"))
    try:
        # JSON is the strict mode that still reads lists as tuples and mappings as dataclasses.
        parsed = (_TEAM_SCHEMA if of_teams else _SCHEMA).validate_json(json.dumps(data, default=str))
    except pydantic.ValidationError as error:
        return None, _by_line([_explain(document, detail, of_teams) for detail in error.errors()]), document
    for index, each in enumerate(parsed.descriptions):
        place: Location = ("teams", index) if of_teams else ()
        found += [
            document.finding(
                (*place, "goal", variant),
                f"the goal variant {variant!r} is missing",
                f"add `{variant}:` with the goal in words",
            )
            for variant in VARIANTS
            if variant not in each.goal
        ]
    return None if found else parsed, _by_line(found), document


def _by_line(findings: list[Finding]) -> list[Finding]:
    return sorted(findings, key=lambda each: each.line or 0)


def _explain(document: Document, detail: Any, of_teams: bool) -> Finding:
    """A validation error of pydantic as a finding with its line and a remedy."""
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
        message, remedy = "a team task needs at least one team", "add `- name:`, `agents:` and so on"
    elif kind == "too_short":
        message, remedy = "there are no fields", "add one field for every index"
    elif kind == "value_error":
        message, remedy = str(detail["ctx"]["error"]), "correct the values"
    else:
        shown = f"a {type(value).__name__}" if isinstance(value, dict | list) else repr(value)
        message, remedy = f"{shown} does not fit", detail["msg"][0].lower() + detail["msg"][1:]
    return document.finding(location, message, remedy)


def _keys(parent: Location, of_teams: bool) -> tuple[str, ...]:
    """The keys allowed inside the part at ``parent``."""
    if not parent:
        whole = TeamTask if of_teams else Task
        return tuple("env" if name == "env_id" else name for name in whole.__dataclass_fields__)
    if parent[-1] == "goal":
        return VARIANTS
    if len(parent) == 2 and parent[0] == "teams":
        return tuple(Team.__dataclass_fields__)
    return tuple(Field.__dataclass_fields__)
