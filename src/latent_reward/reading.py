"""Reading what others wrote: JSON and YAML with limits, one strict schema per file, and errors that say where.

A file may come from anywhere. It is data: nothing in it is executed, expanded or converted. Whatever is wrong with it
is a :class:`LareError` that names the file, the place in it, the value and the remedy.
"""

import json
import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, TypeVar

import pydantic
import yaml

from latent_reward.errors import MOST, LareError, one_line, shown
from latent_reward.files import harmful_character, is_file_name, to_json

T = TypeVar("T")

MAX_BYTES = 1 << 20
_MAX_ROWS_BYTES = 1 << 30  # of a file that grows by a line at a time
"""Of a file that people write. A file of recorded text may be longer, and names its own limit."""
MAX_DEPTH = 40
"""Brackets or indentations inside each other."""
_MAX_DIGITS = 100
_YAML_ONLY = {"merge", "timestamp", "value"}  # what YAML reads into plain words and JSON does not have


def _file_name(value: str) -> str:
    if not is_file_name(value):
        raise ValueError("not a name for a file; use letters, digits, and . _ - between them")
    return value


def _path_name(value: str) -> str:
    for part in value.split("/", 1):
        _file_name(part)
    return value


def _printable(value: str) -> str:
    if found := harmful_character(value):
        raise ValueError(f"{found!r} cannot be printed; remove it")
    return value


NoControls = pydantic.AfterValidator(_printable)
Printable = Annotated[str, NoControls]
"""A text that does nothing to the terminal that shows it: no control characters but line breaks and tabs."""
FileName = Annotated[str, pydantic.AfterValidator(_file_name)]
"""A text that is safe as the name of a file or folder: see :func:`~latent_reward.files.is_file_name`."""
PathName = Annotated[str, pydantic.AfterValidator(_path_name)]
"""A :data:`FileName`, or two of them with a slash between, such as a task and its team."""
Count = Annotated[int, pydantic.Field(ge=0, le=MOST)]
"""A whole number from 0 up."""
Positive = Annotated[int, pydantic.Field(ge=1, le=MOST)]
"""A whole number from 1 up."""


class FormatError(LareError):
    """A text that is not what it should be: the line at fault if it is known, what is wrong, and the remedy."""

    def __init__(self, message: str, remedy: str, line: int | None = None):
        """Keep the parts, so that a reader can add the name of the file to them."""
        super().__init__(f"{'' if line is None else f'line {line}: '}{message}; {remedy}")
        self.message, self.remedy, self.line = message, remedy, line


@contextmanager
def damaged(what: str, remedy: str) -> Iterator[None]:
    """Raise LareError, ``what`` with the reason and the remedy, for anything that a reader fails with in the block.

    A LareError passes as it is.
    """
    try:
        yield
    except LareError:
        raise
    except Exception as error:  # readers of other libraries raise many kinds on damaged files
        reason = one_line(error) or type(error).__name__
        raise LareError(f"{what} is damaged ({reason}); {remedy}") from error


def read_bytes(path: Path, limit: int = MAX_BYTES) -> bytes:
    """The content of a file.

    Raises:
        LareError: it is missing, no regular file, larger than ``limit``, or cannot be read.
    """
    try:
        if not path.is_file():  # a pipe or a device might never end
            why = "it is no file" if path.exists() else "there is no such file"
            raise LareError(f"cannot read {path} ({why}); check the path")
        with path.open("rb") as file:
            content = file.read(limit + 1)
    except (OSError, ValueError) as error:  # ValueError: a path with a null character
        reason = getattr(error, "strerror", None) or one_line(error)
        raise LareError(f"cannot read {path} ({reason}); check the path and its permissions") from error
    if len(content) > limit:
        raise LareError(f"{path} has more than {limit:,} bytes, too many for such a file; restore it")
    return content


def read_text(path: Path, limit: int = MAX_BYTES) -> str:
    """The text of a file in UTF-8; LareError as :func:`read_bytes`, and if it is not UTF-8."""
    content = read_bytes(path, limit)
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise LareError(f"{path}:{line}: the text is not UTF-8; save it in UTF-8") from error


def parse_json(text: str | bytes, what: str, remedy: str) -> Any:
    """JSON as plain data: no key twice, no NaN, no infinity, no endless nesting.

    Args:
        text: the JSON.
        what: what it is called in messages.
        remedy: what to do if it is not JSON.

    Raises:
        LareError: with the reason.
    """
    try:
        data = json.loads(
            text.decode("utf-8") if isinstance(text, bytes) else text,
            object_pairs_hook=_pairs,
            parse_constant=_finite,
            parse_float=_finite,
            parse_int=_whole,
        )
        _require_shallow(data)
    except RecursionError as error:
        raise LareError(f"{what}: brackets inside each other are too many; {remedy}") from error
    except FormatError as error:
        raise LareError(f"{what}: {error.message}; {remedy}") from error
    except ValueError as error:
        raise LareError(f"{what}: it is not JSON ({one_line(error)}); {remedy}") from error
    return data


def read_rows(path: Path, schema: Any, what: str, remedy: str) -> list[dict[str, Any]]:
    """Every complete line of JSON Lines, of which each fits ``schema``; a last one that a kill cut short is left out.

    Args:
        path: the file; without one there are no rows.
        schema: a class or a type that pydantic understands.
        what: what it is called in messages.
        remedy: what to do if a line does not fit.

    Raises:
        LareError: naming the line, or the file cannot be read.
    """
    if not path.exists():
        return []
    whole, _, _ = read_text(path, _MAX_ROWS_BYTES).rpartition("\n")
    rows = []
    for number, line in enumerate(whole.split("\n") if whole else (), 1):
        place = f"{what}: {path}:{number}"
        row = parse_json(line, place, remedy)
        validated(schema, row, place, remedy)
        rows.append(row)
    return rows


def parse_yaml(text: str, what: str) -> Any:
    """YAML as plain data; see :func:`compose_yaml` for what is refused. None for an empty text.

    Raises:
        LareError: ``what`` with the line, the reason and the remedy.
    """
    try:
        root = compose_yaml(text)
        return None if root is None else plain(root)
    except FormatError as error:
        line = f":{error.line}" if error.line and "\n" in text.strip() else ""
        raise LareError(f"{what}{line}: {error.message}; {error.remedy}") from error


def compose_yaml(text: str) -> yaml.Node | None:
    """The tree of a YAML text. Aliases, anchors and tags are refused: what is written is all there is.

    Raises:
        FormatError: the text is not YAML, too long, too deep, or uses one of these.
    """
    if len(text) > MAX_BYTES:
        raise FormatError(f"the text has more than {MAX_BYTES:,} characters", "split it")
    try:
        depth = 0
        for event in yaml.parse(text, Loader=_Loader):
            line = event.start_mark.line + 1
            if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
                raise FormatError("anchors (&) and aliases (*) are not read", "write the value again", line)
            if getattr(event, "tag", None):
                raise FormatError(f"tags ({event.tag}) are not read", "write the value without", line)
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > MAX_DEPTH:
                raise FormatError(
                    "lists or mappings inside each other are too many", "write it flatter", line
                )
        return yaml.compose(text, Loader=_Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        what = getattr(error, "problem", None) or one_line(error)
        remedy = "correct the syntax (check indentation, colons and quotes around this line)"
        raise FormatError(
            f"not valid YAML: {what}", remedy, None if mark is None else mark.line + 1
        ) from None


def to_yaml(value: Any) -> str:
    """Plain data as YAML that :func:`parse_yaml` reads: what is the same in two places is written twice."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


def plain(node: yaml.Node) -> Any:
    """A tree of YAML as plain data: mappings with texts as keys, lists, texts, finite numbers, true, false and null.

    Raises:
        FormatError: a key is given twice or is no text, or a number is not finite.
    """
    line = node.start_mark.line + 1
    if isinstance(node, yaml.SequenceNode):
        return [plain(each) for each in node.value]
    if isinstance(node, yaml.MappingNode):
        found: dict[str, Any] = {}
        for key, value in node.value:
            name, where = plain(key), key.start_mark.line + 1
            if not isinstance(name, str):
                raise FormatError(f"the key {shown(name)} is no text", "put it in quotes", where)
            if name in found:
                raise FormatError(f"the key {shown(name)} is given twice", "keep one of the two", where)
            found[name] = plain(value)
        return found
    try:
        if node.tag == "tag:yaml.org,2002:int" and len(node.value) > _MAX_DIGITS:
            raise ValueError("it has too many digits")
        value = _LOADER.construct_object(node)
    except (ValueError, ArithmeticError, yaml.YAMLError) as error:
        message = f"{shown(node.value)} is no number that can be used ({one_line(error)})"
        raise FormatError(message, "correct it", line) from None
    if isinstance(value, float) and not math.isfinite(value):
        raise FormatError(f"{node.value} is no finite number", "write a finite one, or leave it out", line)
    return value


def validated(schema: Any, data: Any, what: str, remedy: str) -> Any:
    """Plain data as a value of ``schema``, in the strict sense: a number as a text is no number, 5.0 no count.

    Args:
        schema: a class or a type that pydantic understands.
        data: what :func:`parse_json` or :func:`plain` returned.
        what: what it is called in messages.
        remedy: what to do if it does not fit.

    Raises:
        LareError: naming the first field that does not fit and its value.
    """
    try:
        return pydantic.TypeAdapter(schema).validate_json(json.dumps(data), strict=True)
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise LareError(f"{what}: {_explain(place, first)}; {remedy}") from None
    except LareError as error:  # of a class that checks its own values
        raise LareError(f"{what}: {error.args[0].partition(';')[0]}; {remedy}") from None


def exactly(schema: Any, data: Any, what: str, remedy: str) -> Any:
    """As :func:`validated`, for a file that spells out every default: each field is there, and no other.

    Raises:
        LareError: naming the first field that does not fit, is missing or is not known.
    """
    found = validated(schema, data, what, remedy)
    difference = _difference(data, json.loads(to_json(_as_fields(found))))
    if difference:
        raise LareError(f"{what}: {difference}; {remedy}")
    return found


def _as_fields(value: Any) -> Any:
    return dict(value) if isinstance(value, pydantic.BaseModel) else value


def _explain(place: str, detail: Any) -> str:
    """A validation error of pydantic in a few words."""
    name = place or "the whole"
    if detail["type"] == "missing":
        return f"{name} is missing"
    if detail["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        return f"{name} is not known"
    message = str(detail.get("ctx", {}).get("error") or detail["msg"])
    return f"{name} is {shown(detail['input'])} ({message[0].lower()}{message[1:]})"


def _difference(given: Any, known: Any, place: str = "") -> str:
    """Where plain data is not what was read from it, in words; empty if it is."""
    if isinstance(given, dict) and isinstance(known, dict):
        for key in {**given, **known}:
            inside = f"{place}.{key}" if place else str(key)
            if key not in known:
                return f"{inside} is not known"
            if key not in given:
                return f"{inside} is missing"
            if found := _difference(given[key], known[key], inside):
                return found
        return ""
    if isinstance(given, list) and isinstance(known, list) and len(given) == len(known):
        pairs = enumerate(zip(given, known, strict=True))
        return next((found for n, pair in pairs if (found := _difference(*pair, f"{place}.{n}"))), "")
    same = given == known and isinstance(given, bool) == isinstance(known, bool)
    return "" if same else f"{place} is {shown(given)}, which is read as {shown(known)}"


class _Loader(yaml.SafeLoader):
    """The safe loader without dates, merged mappings and other words that mean something else than they say."""

    yaml_implicit_resolvers = {  # noqa: RUF012
        first: [each for each in pairs if each[0].rpartition(":")[2] not in _YAML_ONLY]
        for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


_LOADER: Any = _Loader("")


def _pairs(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise FormatError(f"the key {shown(key)} is given twice", "keep one of the two")
        found[key] = value
    return found


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise FormatError(f"{text[:40]} is no finite number", "write a finite one")
    return value


def _whole(text: str) -> int:
    if len(text) > _MAX_DIGITS:
        raise FormatError(f"{text[:40]}… has too many digits", "write a smaller number")
    return int(text)


def _require_shallow(data: Any) -> None:
    """Raise if containers are too deep inside each other; without recursion."""
    level = [data]
    for _ in range(MAX_DEPTH + 1):
        level = [
            inner
            for each in level
            if isinstance(each, dict | list)
            for inner in (each.values() if isinstance(each, dict) else each)
        ]
        if not level:
            return
    raise FormatError("brackets inside each other are too many", "write it flatter")
