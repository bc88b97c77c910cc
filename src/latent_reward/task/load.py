"""Find a task by its name or path and read its file; every mistake in a file is reported with its line."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pydantic
import yaml

from latent_reward.errors import LareError, did_you_mean, shown
from latent_reward.files import is_file_name
from latent_reward.reading import FormatError, compose_yaml, plain, read_text
from latent_reward.task.fields import VARIANTS, Field
from latent_reward.task.task import AnyTask, Task, Team, TeamTask

Location = tuple[int | str, ...]

FILL_IN = "FILL IN"
"""How a text begins that a draft leaves to the user."""
_FOLDER = Path(__file__).parent
_SCHEMA, _TEAM_SCHEMA = pydantic.TypeAdapter(Task), pydantic.TypeAdapter(TeamTask)


@dataclass(frozen=True)
class Finding:
    """One mistake in a task: where it is, what is wrong and how to fix it."""

    file: str
    line: int | None
    field: str
    message: str
    remedy: str

    def __str__(self) -> str:
        """Render as ``file:line: field: message; remedy``, the form editors make clickable."""
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        field = f"{self.field}: " if self.field else ""
        return f"{place}: {field}{self.message}; {self.remedy}"


@dataclass(frozen=True)
class Document:
    """A YAML file as plain data, with the line of each of its parts.

    ``findings`` are errors of YAML itself, repeated keys, and texts that a draft left to be filled in.
    """

    file: str
    data: Any = None
    lines: dict[Location, int] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()

    def finding(self, location: Location, message: str, remedy: str) -> Finding:
        """A mistake in the part at ``location``, with its line, or that of the nearest enclosing part there is."""
        around = (location[:length] for length in range(len(location), -1, -1))
        line = next((self.lines[place] for place in around if place in self.lines), None)
        return Finding(self.file, line, field_name(location), message, remedy)


def task_names() -> tuple[str, ...]:
    """Names of the built-in tasks, sorted."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.yaml")))


def task_path(name_or_path: str | Path) -> Path:
    """The YAML file of a built-in task or of a path; LareError if there is no such task or file."""
    if not isinstance(name_or_path, str | Path):
        raise LareError(
            f"task: {shown(name_or_path)} is no name and no path; give the name of a task or its file"
        )
    text = str(name_or_path)
    if text in task_names():
        return _FOLDER / f"{text}.yaml"
    path = Path(name_or_path)
    if "\0" not in text and path.is_file():
        return path
    if path.suffix in (".yaml", ".yml"):
        raise LareError(f"task: no file {text!r}; check the path, or run `lare tasks` for the built-in tasks")
    raise LareError(
        f"task: no built-in task is named {text!r}{did_you_mean(text, task_names())}; "
        "run `lare tasks` for all of them, or give the path of a task file that ends in .yaml"
    )


def load_task(name_or_path: str | Path) -> AnyTask:
    """Load a built-in task by name, or a task file by its path; LareError shows the first mistake in it.

    >>> load_task("Reacher-v5").max_steps
    50
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
    """
    return find_description(str(name_or_path))[1]


def find_description(task: AnyTask | str) -> tuple[AnyTask, Task]:
    """A task, and the description of one agent in it.

    LareError if there is no such task or team, or there are several teams and none is named.
    """
    team, whole = "", task
    if isinstance(task, str):
        name, _, team = task.rpartition("/")
        if not name or "\0" in task or Path(task).exists():
            name, team = task, ""
        whole = load_task(name)
    if not isinstance(whole, Task | TeamTask):
        raise LareError(f"task: {shown(task)} is no task; give one, its name, or the path of its file")
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
    document = _read_document(task_path(task))
    data, found = document.data, list(document.findings)
    if found:
        return None, _by_line(found), document
    of_teams = isinstance(data, dict) and not data.keys().isdisjoint(("teams", "world", "pettingzoo"))
    if isinstance(data, dict) and isinstance(data.get("name"), str) and not is_file_name(data["name"]):
        message = f"{shown(data['name'])} is not safe as the name of a folder"
        return (
            None,
            [document.finding(("name",), message, "use letters, digits, and . _ - between them")],
            document,
        )
    try:
        # JSON is the strict mode that still reads lists as tuples and mappings as dataclasses.
        parsed = (_TEAM_SCHEMA if of_teams else _SCHEMA).validate_json(json.dumps(data))
    except pydantic.ValidationError as error:
        return None, _by_line([_explain(document, detail, of_teams) for detail in error.errors()]), document
    for index, each in enumerate(parsed.descriptions):
        place: Location = ("teams", index) if of_teams else ()
        for variant in [name for name in VARIANTS if name not in each.goal]:
            message, remedy = (
                f"the goal variant {variant!r} is missing",
                f"add `{variant}:` with the goal in words",
            )
            found.append(document.finding((*place, "goal", variant), message, remedy))
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
        what = f"a {type(value).__name__}" if isinstance(value, dict | list) else shown(value)
        message, remedy = f"{what} does not fit", detail["msg"][0].lower() + detail["msg"][1:]
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


def _read_document(path: Path) -> Document:
    """Read ``path``; a file that is not YAML becomes a document without data and with a finding.

    LareError if it cannot be read, or is no text.
    """
    text, data = read_text(path), None
    try:
        root = compose_yaml(text)
    except FormatError as error:
        return Document(
            path.name, findings=(Finding(path.name, error.line, "", error.message, error.remedy),)
        )
    lines: dict[Location, int] = {}
    findings: list[Finding] = []
    twice: set[Location] = set()  # keys of which YAML silently keeps the last, and all that is inside them
    blank: dict[
        Location, dict[str, tuple[int, str]]
    ] = {}  # what is to be filled in, by the mapping around it
    for place, line, node in _parts(root, (), root.start_mark.line + 1) if root else ():
        if place in lines:
            repeated = Finding(
                path.name, line, field_name(place), "this key is given twice", "keep one of the two"
            )
            findings += [] if place[:-1] in twice else [repeated]
            twice.add(place)
        lines.setdefault(place, line)
        if place and isinstance(node, yaml.ScalarNode) and node.value.startswith(FILL_IN):
            wanted = node.value.removeprefix(FILL_IN).strip(" :")
            blank.setdefault(place[:-1], {})[str(place[-1])] = line, wanted
    for place, left in blank.items():
        numbers, wanted = zip(*left.values(), strict=True)
        message = f"{' and '.join(left)} {'is' if len(left) == 1 else 'are'} still to be filled in"
        remedy = "write " + (", ".join(dict.fromkeys(filter(None, wanted))) or "a text")
        findings.append(Finding(path.name, numbers[0], field_name(place), message, remedy))
    try:
        data = plain(root) if root and not findings else None
    except FormatError as error:
        findings.append(Finding(path.name, error.line, "", error.message, error.remedy))
    return Document(path.name, data, lines, tuple(findings))


def field_name(location: Location) -> str:
    """A location in text form: ``observation[3].unit``."""
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in location).removeprefix(".")


def _parts(node: yaml.Node, place: Location, line: int) -> Iterator[tuple[Location, int, yaml.Node]]:
    """Every part of a document from the outside in, with its place and its line."""
    yield place, line, node
    if isinstance(node, yaml.SequenceNode):
        for index, child in enumerate(node.value):
            yield from _parts(child, (*place, index), child.start_mark.line + 1)
    elif isinstance(node, yaml.MappingNode):
        for key, child in node.value:
            name = key.value if isinstance(key, yaml.ScalarNode) else "?"
            yield from _parts(child, (*place, name), key.start_mark.line + 1)
