"""Files that are written whole or not at all, and JSON without NaN."""

import dataclasses
import json
import math
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Integral, Real
from pathlib import Path
from typing import Any

_FILE_NAME = re.compile(r"\w(?:[\w.+=, -]{0,98}[\w+=-])?")
_DEVICES = re.compile(
    r"(?:con|prn|aux|nul|com\d|lpt\d)(?:\..*)?", re.IGNORECASE
)  # names that Windows reserves
# Control characters except tab and line feed, halves of characters, and marks that reverse the direction of a text.
_HARMFUL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069]")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path`` that takes its place when the block ends without an error.

    The content reaches the disk before it is renamed, so that after a crash either the old file or the new one is
    there. On an error the temporary file is removed and ``path`` keeps what it had.
    """
    handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    draft = Path(name)
    try:
        draft.chmod(0o666 & ~_umask())  # mkstemp's files are private; this one is as any other new file
        yield draft
        with draft.open("rb") as file:
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def write_bytes(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path`` atomically."""
    with replacing(path) as draft:
        draft.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    """Write ``text`` to ``path`` in UTF-8, atomically."""
    write_bytes(path, text.encode())


def to_json(value: Any, indent: int | None = None) -> str:
    """``value`` as JSON. Dataclasses become objects; NaN and infinities, which JSON does not have, become null."""
    return json.dumps(_plain(value), indent=indent, ensure_ascii=False, allow_nan=False)


def harmful_character(text: str) -> str | None:
    """The first character of a text that does something to the terminal it is shown on, or no file can hold."""
    found = _HARMFUL.search(text)
    return found and found[0]


def printable(text: str) -> str:
    """The text with a replacement character for each that :func:`harmful_character` finds."""
    return _HARMFUL.sub("\N{REPLACEMENT CHARACTER}", text.replace("\r\n", "\n"))


def is_file_name(name: str) -> bool:
    """Whether a text is safe as the name of one file or folder, on any system and in any command.

    It has at most 100 characters: letters, digits, and ``. _ - + = ,`` or a space between them. It does not begin with
    a dot or a dash, so it is neither hidden, nor an option, nor a way to another folder.
    """
    fits = _FILE_NAME.fullmatch(name) is not None and _DEVICES.fullmatch(name) is None
    return fits and len(name.encode("utf-8", "replace")) <= 200


def as_file_name(text: str) -> str:
    """The file name that is most like ``text``: other characters become dashes.

    >>> as_file_name("../my env")
    'my-env'
    """
    name = re.sub(r"[^\w.-]", "-", text)[:48].strip(".-") or "unnamed"
    return name if is_file_name(name) else f"env-{name}"


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {each.name: _plain(getattr(value, each.name)) for each in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, Real) and not isinstance(value, int | float):  # a number of NumPy
        value = int(value) if isinstance(value, Integral) else float(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
