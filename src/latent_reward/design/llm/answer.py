"""What a chat completion says: text, thoughts, refusal, usage. Nothing in it is taken on trust."""

import json
import re
from dataclasses import dataclass
from typing import Any

from latent_reward.design.llm.wire import printable

_MOST_TOKENS = 100_000_000  # a larger count of one call is a mistake of the server
_CUT = ("length", "max_tokens", "model_length")
_FILTERED = ("content_filter", "safety")
# The tags of DeepSeek, Qwen and others, of Mistral, Kimi and gpt-oss.
_THOUGHT = re.compile(
    r"</(?:think|thinking|thought|reasoning)>|\[/THINK\]|◁/think▷|<\|channel\|>final<\|message\|>",
    re.IGNORECASE,
)
_THINKING = re.compile(
    r"\s*(?:<(?:think|thinking|thought|reasoning)>|\[THINK\]|◁think▷|<\|channel\|>analysis)", re.IGNORECASE
)


@dataclass(frozen=True)
class Answer:
    """One completion. ``usage`` is None where the server reports none that can be true."""

    text: str = ""
    thoughts: str = ""
    refusal: str = ""
    cut: bool = False  # at the limit of tokens
    filtered: bool = False
    model: str = ""
    usage: tuple[int, int] | None = None
    choice: bool = False  # whether there was any
    complaint: str = ""  # an error in a response of status 200
    code: int | None = None  # the status that it should have had


def read_completion(body: bytes) -> Answer:
    """The answer in the body of a response; ValueError, in one line, if it is no chat completion."""
    try:
        return _read(json.loads(body.decode("utf-8", "replace")))
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _read(content: Any) -> Answer:
    if not isinstance(content, dict):
        raise ValueError("not a JSON object")
    choices = content.get("choices") or []
    if not isinstance(choices, list):
        raise ValueError("its choices are no list")
    model = content.get("model")
    complaint, code = _complaint(content.get("error"))
    answer = {
        "model": printable(model) if isinstance(model, str) else "",
        "usage": _usage(content.get("usage")),
        "complaint": complaint,
        "code": code,
    }
    choice = next((each for each in choices if isinstance(each, dict)), None)
    message = choice.get("message") if choice else None
    if choice is None or not isinstance(message, dict):
        return Answer(**answer, choice=bool(choices))
    reason = str(choice.get("finish_reason") or "").lower()
    thoughts, text = split_thoughts(_parts(message.get("content"), ("text", "output_text")))
    inside = _parts(message.get("content"), ("thinking", "reasoning"))
    beside = [_parts(message.get(name), None) for name in ("reasoning", "reasoning_content")]
    refusal = message.get("refusal") or _parts(message.get("content"), ("refusal",))
    return Answer(
        text,
        "\n".join(each for each in dict.fromkeys((thoughts, inside, *beside)) if each.strip()),
        printable(refusal) if isinstance(refusal, str) else "",
        reason in _CUT,
        reason in _FILTERED,
        choice=True,
        **answer,
    )


def split_thoughts(text: str) -> tuple[str, str]:
    """What a model thought between tags, and what it then answered.

    The opening tag may be missing, since some servers put it into the prompt; so may the closing one where the answer
    was cut off, and then all of it is thought.
    """
    closings = list(_THOUGHT.finditer(text))
    if closings:
        return text[: closings[-1].start()], text[closings[-1].end() :]
    return (text, "") if _THINKING.match(text) else ("", text)


def _parts(content: Any, kinds: tuple[str, ...] | None) -> str:
    """A text, or the texts of those parts of a list that are of one of ``kinds`` (of any kind if None)."""
    if isinstance(content, str):
        return printable(content) if kinds is None or "text" in kinds else ""
    if not isinstance(content, list):
        return ""
    texts = []
    for part in content:
        if isinstance(part, dict) and (kinds is None or part.get("type") in kinds):
            found = (part.get(name) for name in ("text", "thinking", "reasoning", "refusal"))
            texts += [_parts(each, None) for each in found if each][:1]
    return "".join(texts)


def _usage(usage: Any) -> tuple[int, int] | None:
    if not isinstance(usage, dict):
        return None
    counts = (usage.get("prompt_tokens"), usage.get("completion_tokens"))
    if all(type(count) is int and 0 <= count <= _MOST_TOKENS for count in counts) and any(counts):
        return counts[0], counts[1]  # pyright: ignore[reportReturnType]  # both are whole numbers
    return None


def _complaint(error: Any) -> tuple[str, int | None]:
    """What an ``error`` beside or in place of the choices says, and the status that stands in it."""
    if not error:
        return "", None
    said = error.get("message") if isinstance(error, dict) else error
    code = error.get("code") if isinstance(error, dict) else None
    status = code if type(code) is int and 400 <= code < 600 else None
    return (said if isinstance(said, str) else "an error without a message"), status
