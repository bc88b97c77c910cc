"""Read the texts that were asked for from the text that a model wrote.

Models answer in prose, in fences, with line breaks inside strings, with slips in their JSON, or with drafts before the
final object; all of these are read. The source inside is checked elsewhere.
"""

import json
import re
from collections.abc import Iterator, Sequence

from latent_reward.design.lenient import fenced, is_program, lenient_texts, names_source, slip
from latent_reward.design.llm.answer import split_thoughts
from latent_reward.design.llm.ask import KEYS
from latent_reward.design.llm.wire import printable
from latent_reward.errors import LareError

_LONGEST = 400_000  # characters; an encoder takes about 3,000
_MOST_EFFORT = 4_000_000  # characters scanned without finding an object


def read_reply(text: str, keys: Sequence[str] = KEYS) -> dict[str, str]:
    """The texts named ``keys`` from a reply; the last of them, the source, must be present and not empty.

    The last JSON object with a source is used, also if it has slips that leave no doubt about the source. Without
    one, the last fenced block with a function definition, or the whole reply if it is Python, is the source, and the
    other texts are empty. LareError if there is none of these, with the place where the JSON breaks, or if the reply
    is too long.
    """
    if len(text) > _LONGEST:
        raise LareError(
            f"reply: it has {len(text):,} characters, more than {_LONGEST:,}; ask for a short answer"
        )
    thoughts, answer = split_thoughts(text)
    final = answer if answer.strip() else thoughts
    found, end = None, 0
    for item, after in _objects(final):
        texts = _texts(item, keys)
        if texts:
            found, end = texts, after
    later = lenient_texts(final[end:], keys)
    drafted = found is not None and later is None and names_source(final[end:], keys)
    found = None if drafted else later or found or _unquoted(final, keys)
    if found is None and not drafted:
        sources = [body for body in fenced(final) if re.search(r"^[ \t]*def \w+", body, re.MULTILINE)]
        sources = [body for body in sources if not body.lstrip().startswith("{")]
        sources = sources or [final] * is_program(final)
        found = {**dict.fromkeys(keys, ""), keys[-1]: sources[-1]} if sources else None
    if found is None:
        raise LareError(
            f"reply: {slip(final[end:], keys)}; answer with one JSON object with the texts {', '.join(keys)}"
        )
    return found


def _objects(text: str) -> Iterator[tuple[object, int]]:
    """Every JSON object in a text and where it ends, in order, each followed by those directly inside it.

    Control characters inside strings are accepted. The search ends after a bounded effort, as in a text of braces.
    """
    decoder = json.JSONDecoder(strict=False)
    start, effort = text.find("{"), 0
    while start >= 0 and effort < _MOST_EFFORT:
        try:
            item, start = decoder.raw_decode(text, start)
            yield from ((each, start) for each in (item, *item.values()))
        except json.JSONDecodeError as error:
            effort += 1_000 + error.pos - start
            start += 1
        except (
            RecursionError,
            ValueError,
        ):  # nested too deeply, or a number of more digits than Python reads
            effort += 100_000
            start += 1
        start = text.find("{", start)


def _unquoted(text: str, keys: Sequence[str]) -> dict[str, str] | None:
    """The texts in a reply that is a JSON string with the object in it."""
    try:
        inner = json.loads(text.strip(), strict=False)
    except (ValueError, RecursionError):
        return None
    objects = _objects(inner) if isinstance(inner, str) else iter(())
    return next((texts for item, _ in objects if (texts := _texts(item, keys))), None)


def _texts(item: object, keys: Sequence[str]) -> dict[str, str] | None:
    """The texts of an object; keys in any case, a list of lines as one text; None without a source."""
    if not isinstance(item, dict):
        return None
    given = {str(key).strip().lower(): value for key, value in item.items()}
    texts = {key: _text(given.get(key.lower())) for key in keys}
    source = texts[keys[-1]]
    texts[keys[-1]] = next(fenced(source), source)
    return texts if texts[keys[-1]].strip() else None


def _text(value: object) -> str:
    """A text, or the texts in a list or an object joined by line breaks."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        value = "\n".join(each for each in value if isinstance(each, str))
    return printable(value) if isinstance(value, str) else ""
