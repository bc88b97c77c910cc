"""YAML with line numbers, so that a mistake can be shown where it was written."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

Location = tuple[int | str, ...]

FILL_IN = "FILL IN"
"""How a text begins that a draft leaves to the user."""


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
    """A YAML file as plain data, with the syntax tree that has the line of every part.

    ``findings`` are errors of YAML itself: broken syntax and repeated keys.
    """

    file: str
    data: Any = None
    root: yaml.Node | None = None
    findings: tuple[Finding, ...] = ()

    def finding(self, location: Location, message: str, remedy: str) -> Finding:
        """A mistake in the part at ``location``, with its line."""
        return Finding(self.file, self.line(location), field_name(location), message, remedy)

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
    """Read ``path``; a file that is not YAML becomes a document without data and with a finding."""
    text = path.read_text(encoding="utf-8")
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        repeated = tuple(_repeated_keys(path.name, root)) if root else ()
        return Document(path.name, yaml.safe_load(text), root, repeated)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        what = getattr(error, "problem", None) or str(error)
        broken = Finding(
            path.name,
            None if mark is None else mark.line + 1,
            "",
            f"not valid YAML: {what}",
            "correct the syntax (check indentation, colons and quotes around this line)",
        )
        return Document(path.name, findings=(broken,))


def unfilled(document: Document, data: Any, location: Location = ()) -> Iterator[Finding]:
    """The texts in ``data`` that a draft left to be filled in: one finding for all those of one mapping."""
    items = enumerate(data) if isinstance(data, list) else data.items() if isinstance(data, dict) else ()
    left: dict[str, str] = {}
    for key, value in items:
        if isinstance(value, str) and value.startswith(FILL_IN):
            left[str(key)] = value.removeprefix(FILL_IN).strip(" :")
        else:
            yield from unfilled(document, value, (*location, key))
    if left:
        yield Finding(
            document.file,
            document.line((*location, next(iter(left)))),
            field_name(location),
            f"{' and '.join(left)} {'is' if len(left) == 1 else 'are'} still to be filled in",
            "write " + (", ".join(dict.fromkeys(filter(None, left.values()))) or "a text"),
        )


def field_name(location: Location) -> str:
    """A location in text form: ``observation[3].unit``."""
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


def _repeated_keys(file: str, node: yaml.Node, location: Location = ()) -> Iterator[Finding]:
    """Keys given twice, of which YAML silently keeps the last."""
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for key, value in node.value:
            here = (*location, key.value)
            if key.value in seen:
                line = key.start_mark.line + 1
                yield Finding(file, line, field_name(here), "this key is given twice", "keep one of the two")
            seen.add(key.value)
            yield from _repeated_keys(file, value, here)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield from _repeated_keys(file, value, (*location, index))
