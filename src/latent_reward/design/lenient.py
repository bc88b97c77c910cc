"""Read a source from an object that is nearly JSON: where it begins and ends is known by what stands around it.

Models forget a comma or a brace, write Python's quotes, comments or line breaks into JSON, and leave quotes inside the
source as they are. Libraries that repair JSON guess where such a text ends, and json-repair (0.64) ends a source in an
object with a trailing comma at its first ``[:, 0:1]``. Here nothing is guessed: a reading counts only if a quote that
is followed by the end of the value closes it, and if all that lies between is a Python program with a function.
"""

import ast
import json
import re
from collections.abc import Iterator, Sequence

from latent_reward.design.llm.wire import printable

_LONGEST_SOURCE = 60_000
_MOST_READINGS = 60  # programs that are parsed for one reply
_FENCE = re.compile(r"^[ \t]*(```|~~~)[ \t]*([\w+-]*)[^\n]*\n(.*?)(?:^[ \t]*\1|\Z)", re.MULTILINE | re.DOTALL)
_OPENING = re.compile(r"""[rRuUbBfF]{0,2}(\"""|'''|```[ \t]*[\w+-]*[ \t]*\n|["'`“‘])""")
_CLOSING = {"“": "”", "‘": "’"}
_COMMENT = r"(?://[^\n]*|\#[^\n]*|/\*(?:[^*]|\*(?!/))*\*/)"
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.DOTALL)
_PLAIN = {"n": "\n", "t": "\t", "r": "\n", "b": "", "f": "", "\n": ""} | {sign: sign for sign in "\"'/\\`"}
_LITERAL = re.compile(r'"((?:[^"\\]|\\.)*)"|\'((?:[^\'\\]|\\.)*)\'', re.DOTALL)
_JOIN = re.compile(r"""(?:["']\\n["']\s*\.\s*join\s*\(\s*)?[\[(]?\s*""")
_BETWEEN = re.compile(r"[\s+,\\]*")


def lenient_texts(text: str, keys: Sequence[str]) -> dict[str, str] | None:
    """The texts named ``keys`` of the last object with a readable source, the last of the keys; None without one.

    Only the source is certain; the other texts are what stands between their key and the next one.
    """
    readings = _Readings(keys)
    for marker in reversed(list(_marker(keys[-1:]).finditer(text))[-8:]):
        source = readings.source(text[marker.end() :])
        if source is not None:
            others = {key: _between(text, key, keys) for key in keys[:-1]}
            return {**others, keys[-1]: source}
    return None


def names_source(text: str, keys: Sequence[str]) -> bool:
    """Whether the last of ``keys`` stands in the text as the key of an object."""
    return any(match[0][0] in "\"'`“‘" for match in _marker(keys[-1:]).finditer(text))


def fenced(text: str) -> Iterator[str]:
    """What the fenced blocks of a text hold, in order."""
    return (match[3] for match in _FENCE.finditer(text))


def is_program(text: str) -> bool:
    """Whether a text is Python with a function, as far as its grammar shows."""
    if len(text) > _LONGEST_SOURCE or "def " not in text:
        return False
    try:
        # What an escape means does not matter here, and unknown ones would warn.
        tree = ast.parse(re.sub(r"\\[^\n]", "xx", text))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return any(isinstance(node, ast.FunctionDef) for node in tree.body)


def slip(text: str, keys: Sequence[str]) -> str:
    """What keeps the source from being read, with the position where JSON breaks if there is any."""
    markers = list(_marker(keys).finditer(text))
    start = text.rfind("{", 0, markers[0].start() + 1) if markers else text.find("{")
    if markers and start < 0:
        start = markers[0].start()
    if start >= 0:
        try:
            json.JSONDecoder(strict=False).raw_decode(text, start)
        except json.JSONDecodeError as error:
            near = printable(" ".join(text[max(start, error.pos - 25) : error.pos + 25].split()))
            return (
                f"its JSON breaks at line {error.lineno}, column {error.colno} ({error.msg}, near {near!r}); escape "
                "line breaks and quotes inside the texts"
            )
        except (RecursionError, ValueError):
            pass
    begins = printable(" ".join(text[:2000].split())[:80])
    return f"no JSON object with the text {keys[-1]!r} in it (it starts {begins!r})"


class _Readings:
    """Reads the source at the start of a text, with a bounded effort for all attempts together."""

    def __init__(self, keys: Sequence[str]):
        self.left = _MOST_READINGS
        names = "|".join(map(re.escape, keys))
        following = rf"(?:[}}\])]|(?P<nothing>\Z)|```|~~~|[\"'`“]?(?:{names})[\"'`”]?\s*:)"
        self.after = re.compile(rf"\s*(?:,\s*)?(?:{_COMMENT}\s*)*{following}", re.IGNORECASE)

    def source(self, text: str) -> str | None:
        """The source that ``text`` begins with, right after its key; None if that is in doubt."""
        opening = _OPENING.match(text)
        if opening:
            mark = opening[1].rstrip()[:3] if opening[1].startswith("```") else opening[1]
            body, closing = text[opening.end() :], _CLOSING.get(mark, mark)
            ends = [match.start() for match in re.finditer(re.escape(closing), body[:_LONGEST_SOURCE])]
            for end in reversed(ends):  # the longest first, so that nothing is cut off
                after = self.after.match(body, end + len(closing)) if self.left > 0 else None
                for reading in _decoded(body[:end], raw_first=len(mark) == 3) if after else ():
                    self.left -= 1
                    if is_program(reading) and not (after and _in_doubt(reading, after)):
                        return reading
        return self._joined(text[:_LONGEST_SOURCE]) or self._literal(text[:_LONGEST_SOURCE])

    def _literal(self, text: str) -> str | None:
        """A single string of sound JSON, whatever it holds: that it is no valid Python is for the checks to say."""
        literal = _LITERAL.match(text)
        if literal is None or literal[1] is None or not self._ends(text, literal.end()):
            return None
        return _unescaped(literal[1]) if "def " in literal[1] else None

    def _joined(self, text: str) -> str | None:
        """The source in a list of lines, or in literals that are added or stand side by side."""
        start = _JOIN.match(text)
        position, pieces = start.end() if start else 0, []
        while literal := _LITERAL.match(text, position):
            pieces.append(_unescaped(literal[1] if literal[1] is not None else literal[2]))
            between = _BETWEEN.match(text, literal.end())
            position = between.end() if between else literal.end()
        glue = "" if any(piece.endswith("\n") for piece in pieces) else "\n"
        source = glue.join(pieces)
        self.left -= 1
        whole = len(pieces) > 1 and self._ends(text, position)
        return source if whole and is_program(source) else None

    def _ends(self, text: str, position: int) -> bool:
        """Whether a value ends at ``position`` because something else begins, not because the text is over."""
        after = self.after.match(text, position)
        return after is not None and after["nothing"] is None


def _decoded(body: str, *, raw_first: bool) -> Iterator[str]:
    """What may stand between two quotes: with the escapes of JSON, or as it is."""
    readings = [_unescaped(body), printable(body)]
    for reading in reversed(readings) if raw_first else readings:
        yield next(fenced(reading), reading)


def _in_doubt(source: str, after: re.Match[str]) -> bool:
    """Whether a program may have been cut off: nothing follows its quote, which may stand in a comment or a string."""
    last = source.rstrip().rpartition("\n")[2]
    return after["nothing"] is not None and ("#" in last or last.endswith(('"', "'")))


def _plain(escape: re.Match[str]) -> str:
    sign = escape[1]
    return chr(int(sign[1:], 16)) if len(sign) == 5 else _PLAIN.get(sign, escape[0])


def _unescaped(text: str) -> str:
    """The text with the escapes of JSON decoded, and unknown ones left as they are."""
    decoded = _ESCAPE.sub(_plain, text)
    return printable(decoded.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))


def _marker(keys: Sequence[str]) -> re.Pattern[str]:
    """Finds each of ``keys`` as a key: quoted in any way or not at all, and followed by a colon."""
    names = "|".join(map(re.escape, keys))
    return re.compile(rf"(?<![\w.])[\"'`“‘]?(?:{names})[\"'`”’]?\s*:\s*", re.IGNORECASE)


def _between(text: str, key: str, keys: Sequence[str]) -> str:
    start = _marker([key]).search(text)
    if start is None:
        return ""
    following = _marker(keys).search(text, start.end())
    between = text[start.end() : following.start() if following else None].strip(" \t\n,{}")
    quoted = len(between) > 1 and between[0] in "\"'`“"
    return _unescaped(between[1:-1] if quoted else between)
