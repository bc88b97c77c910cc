"""Read the texts that were asked for from the text that a model wrote.

Models answer in prose, in fences, with line breaks inside strings, or with drafts before the final object; all of
these are read. The source inside is checked elsewhere.
"""

import json
import re
from collections.abc import Iterator, Sequence

from latent_reward.design.llm.ask import KEYS
from latent_reward.design.llm.wire import printable
from latent_reward.errors import LareError

_LONGEST = 400_000  # characters; an encoder takes about 3,000
_MOST_EFFORT = 4_000_000  # characters scanned without finding an object
_FENCE = re.compile(r"^[ \t]*```[ \t]*([\w+-]*)[^\n]*\n(.*?)(?:^[ \t]*```|\Z)", re.MULTILINE | re.DOTALL)
_TRIPLE = re.compile(r'"""(.*?)"""', re.DOTALL)


def read_reply(text: str, keys: Sequence[str] = KEYS) -> dict[str, str]:
    """The texts named ``keys`` from a reply; the last of them, the source, must be present and not empty.

    The last JSON object with a source is used. Without one, the last fenced block with a function definition is the
    source, and the other texts are empty. LareError if there is neither, or the reply is too long.
    """
    if len(text) > _LONGEST:
        raise LareError(
            f"reply: it has {len(text):,} characters, more than {_LONGEST:,}; ask for a short answer"
        )
    final = text.rpartition("</think>")[2]
    found = None
    for item in _objects(final):
        found = _texts(item, keys) or found
    if found is None:
        quoted = _TRIPLE.sub(lambda triple: json.dumps(triple[1]), final)
        found = next((_texts(item, keys) for item in _objects(quoted)), None)
    if found is None:
        sources = [
            body for _, body in _FENCE.findall(final) if re.search(r"^[ \t]*def \w+", body, re.MULTILINE)
        ]
        found = {**dict.fromkeys(keys, ""), keys[-1]: sources[-1]} if sources else None
    if found is None:
        start = printable(" ".join(text.split())[:80])
        raise LareError(
            f"reply: no JSON object with the text {keys[-1]!r} in it (it starts {start!r}); "
            f"answer with one JSON object with the texts {', '.join(keys)}"
        )
    return found


def _objects(text: str) -> Iterator[object]:
    """Every JSON object in a text, in order, each followed by those directly inside it.

    Control characters inside strings are accepted. The search ends after a bounded effort, as in a text of braces.
    """
    decoder = json.JSONDecoder(strict=False)
    start, effort = text.find("{"), 0
    while start >= 0 and effort < _MOST_EFFORT:
        try:
            item, start = decoder.raw_decode(text, start)
            yield item
            yield from item.values()
        except json.JSONDecodeError as error:
            effort += 1_000 + error.pos - start
            start += 1
        except RecursionError:
            effort += 100_000
            start += 1
        start = text.find("{", start)


def _texts(item: object, keys: Sequence[str]) -> dict[str, str] | None:
    """The texts of an object; keys in any case, a list of lines as one text; None without a source."""
    if not isinstance(item, dict):
        return None
    given = {str(key).strip().lower(): value for key, value in item.items()}
    texts = {key: _text(given.get(key.lower())) for key in keys}
    source = texts[keys[-1]]
    fenced = _FENCE.search(source)
    texts[keys[-1]] = fenced[2] if fenced else source
    return texts if texts[keys[-1]].strip() else None


def _text(value: object) -> str:
    """A text, or the texts in a list or an object joined by line breaks."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        value = "\n".join(each for each in value if isinstance(each, str))
    return printable(value) if isinstance(value, str) else ""
