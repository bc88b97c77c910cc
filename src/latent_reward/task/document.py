"""YAML that remembers its line numbers, so a mistake can be shown where it was written."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

Location = tuple[int | str, ...]

FILL_IN = "FILL IN"
"""How a text begins that a draft leaves to the user."""


@dataclass(frozen=True)
class Problem:
    """One mistake in a file: where it stands, what is wrong and how to mend it."""

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
    """A YAML file as plain data, with the syntax tree that knows the line of every part.

    ``problems`` holds what YAML itself objects to: broken syntax and keys given twice.
    """

    file: str
    data: Any
    root: yaml.Node | None
    problems: tuple[Problem, ...] = ()

    def line(self, location: Location) -> int | None:
        """Line of the part at ``location``, or of its nearest enclosing part if it is absent."""
        if self.root is None:
            return None
        node, line = self.root, self.root.start_mark.line + 1
        for key in location:
            found = _child(node, key)
            if found is None:
                break
            node, line = found
        return line


def read_document(path: Path) -> Document:
    """Read ``path``; a file that is not YAML becomes a document without data and with a problem."""
    text = path.read_text(encoding="utf-8")
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        repeated = tuple(_repeated_keys(path.name, root)) if root else ()
        return Document(path.name, yaml.safe_load(text), root, repeated)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        what = getattr(error, "problem", None) or str(error)
        problem = Problem(
            path.name,
            None if mark is None else mark.line + 1,
            "",
            f"not valid YAML: {what}",
            "correct the syntax (check indentation, colons and quotes around this line)",
        )
        return Document(path.name, None, None, (problem,))


def unfilled(document: Document) -> list[Problem]:
    """The texts that a draft left to be filled in: one problem for all those of one mapping."""
    return list(_unfilled(document, document.data, ()))


def _unfilled(document: Document, data: Any, location: Location) -> Iterator[Problem]:
    items = enumerate(data) if isinstance(data, list) else data.items() if isinstance(data, dict) else ()
    left: dict[str, str] = {}
    for key, value in items:
        if isinstance(value, str) and value.startswith(FILL_IN):
            left[str(key)] = value.removeprefix(FILL_IN).strip(" :")
        else:
            yield from _unfilled(document, value, (*location, key))
    if left:
        verb = "is" if len(left) == 1 else "are"
        yield Problem(
            document.file,
            document.line((*location, next(iter(left)))),
            field_name(location),
            f"{' and '.join(left)} {verb} still to be filled in",
            "write " + (", ".join(dict.fromkeys(filter(None, left.values()))) or "a text"),
        )


def field_name(location: Location) -> str:
    """Write a location the way a reader would: ``observation[3].unit``."""
    name = ""
    for key in location:
        name += f"[{key}]" if isinstance(key, int) else f".{key}" if name else key
    return name


def _child(node: yaml.Node, key: int | str) -> tuple[yaml.Node, int] | None:
    if isinstance(node, yaml.SequenceNode) and isinstance(key, int) and key < len(node.value):
        child = node.value[key]
        return child, child.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        for name, value in node.value:
            if name.value == str(key):
                return value, name.start_mark.line + 1
    return None


def _repeated_keys(file: str, node: yaml.Node, location: Location = ()) -> Iterable[Problem]:
    """YAML keeps the last of two equal keys in silence; here the second one is a problem."""
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for key, value in node.value:
            if key.value in seen:
                name = field_name((*location, key.value))
                yield Problem(
                    file, key.start_mark.line + 1, name, "this key is given twice", "keep one of the two"
                )
            seen.add(key.value)
            yield from _repeated_keys(file, value, (*location, key.value))
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield from _repeated_keys(file, value, (*location, index))
