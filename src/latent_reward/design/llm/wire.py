"""Differences between servers with the same protocol, and the meaning of their errors.

Pure functions: the arguments of a call, what to leave out after a refusal, how long to wait before a retry, and the
error in one line for the user.
"""

import math
import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from latent_reward.design.llm.ask import Failure, ModelError, Request

FORMS = ("json_schema", "json_object with schema", "json_object", "text")
_FENCE_PLEASE = (
    "\n\nAnswer with one JSON object with the texts {keys}, in a fenced block that starts with ```json."
)
_LIMITS = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}
_ABOUT_FORM = re.compile(r"response_format|json_schema|json_object|grammar", re.IGNORECASE)
_TITLE = re.compile(r"<title[^>]*>(.*?)</title", re.IGNORECASE | re.DOTALL)
# Codes of errors that are not about the request's form: nothing that could be left out would help.
_ELSEWHERE = ("content_filter", "content_policy_violation", "context_length_exceeded", "model_not_found")
_FILTERED = _ELSEWHERE[:2]


@dataclass(frozen=True)
class Dialect:
    """What one server accepts; it starts with the most specific form and drops what fails.

    ``effort`` is the reasoning effort that is asked for, None for none.
    """

    form: str = FORMS[0]
    limit: str = "max_tokens"
    temperature: bool = True
    effort: str | None = None

    def arguments(self, model: str, request: Request, max_tokens: int) -> dict[str, Any]:
        """The arguments of a chat completion in this dialect."""
        messages = [asdict(each) for each in request.messages]
        arguments = {"model": model, "messages": messages, self.limit: max_tokens}
        if self.temperature:
            arguments["temperature"] = request.temperature
        if self.effort is not None:
            arguments["reasoning_effort"] = self.effort
        schema = {
            "type": "object",
            "properties": {key: {"type": "string"} for key in request.keys},
            "required": list(request.keys),
            "additionalProperties": False,
        }
        if self.form == "json_schema":
            described = {"name": "reply", "strict": True, "schema": schema}
            arguments["response_format"] = {"type": "json_schema", "json_schema": described}
        elif self.form == "json_object with schema":
            # Not a key of the client library, so it cannot be a typed argument.
            arguments["extra_body"] = {"response_format": {"type": "json_object", "schema": schema}}
        elif self.form == "json_object":
            arguments["response_format"] = {"type": "json_object"}
        else:
            messages[-1]["content"] += _FENCE_PLEASE.format(keys=", ".join(request.keys))
        return arguments

    def lower(self, *, paid: bool = False) -> "Dialect | None":
        """The dialect with the next lower form; None if the form is plain text.

        After a failure that is ``paid`` for, the second form is skipped: it is the grammar of the first one.
        """
        if self.form == FORMS[-1]:
            return None
        place = FORMS.index(self.form) + 1
        return replace(self, form=FORMS[2 if paid and place == 1 else place])

    def simpler(self, start: "Dialect", complaint: str, param: str | None) -> "Iterator[Dialect]":
        """The dialects to try after a refused request, the most promising first; ``start`` was the first one tried.

        What ``param`` or the complaint names comes before the rest, but a server need not say what it dislikes: all
        that can be left out is tried, first the effort alone, then the form.
        """
        about, lower = param or complaint, self.lower()
        others = replace(self, limit=_LIMITS[self.limit])
        silent = replace(self, effort=None) if self.effort is not None else None
        fixed = replace(self, temperature=False) if self.temperature else None
        if "reasoning" in about or "effort" in about:
            yield from filter(None, [silent])
        if _ABOUT_FORM.search(about):
            yield from filter(None, [lower])
        if re.search(r"max_(completion_)?tokens", about) and not _too_long(complaint):
            yield others
        if "temperature" in about:
            yield from filter(None, [fixed])
        # Without the effort only at both ends. In between it is sent again, since it was not the reason.
        ends = silent if self.form in (start.form, FORMS[-1]) else None
        yield from filter(None, [ends, lower and replace(lower, effort=start.effort), lower, fixed, others])

    def merged(self, start: "Dialect", found: "Dialect") -> "Dialect":
        """This dialect with what a question found out that began with ``start`` and ended with ``found``."""
        return Dialect(
            max(self.form, found.form, key=FORMS.index) if found.form != start.form else self.form,
            found.limit if found.limit != start.limit else self.limit,
            self.temperature and found.temperature,
            None if found.effort is None else self.effort,
        )


def printable(text: str) -> str:
    """The text without characters that a terminal obeys or a file cannot hold.

    Left out are control characters but for tabs and line breaks, and the marks that change the direction of writing;
    lone surrogates, which JSON can hold, become question marks.
    """
    text = text.encode("utf-8", "replace").decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")
    if text.isascii() and text.replace("\n", "").replace("\t", "").isprintable():
        return text
    return "".join(
        each for each in text if each in "\n\t" or unicodedata.category(each) not in ("Cc", "Cf", "Zl", "Zp")
    )


def retry_after(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """The seconds to wait according to ``Retry-After`` (seconds or a date), None if it says nothing."""
    value = headers.get("retry-after")
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            then = parsedate_to_datetime(value)
            then = then if then.tzinfo else then.replace(tzinfo=UTC)
            seconds = (then - (now or datetime.now(UTC))).total_seconds()
        except (ValueError, TypeError, OverflowError, IndexError):
            return None
    return None if math.isnan(seconds) else max(seconds, 0.0)


def redact(text: str, key: str | None) -> str:
    """The text on one line of bounded length, without the key; of a page of HTML only the title."""
    start = text[:1000].lstrip().lower()
    if start.startswith(("<!doctype", "<html")):
        title = _TITLE.search(text[:20_000])
        text = f"a page of HTML ({title[1] if title else 'without a title'})"
    text = printable(text[:100_000])
    text = " ".join((text.replace(key, "[key]") if key else text).split())
    return text if len(text) <= 500 else text[:500] + "…"


def status_error(
    status: int, complaint: str, code: object, model: str, place: str, variable: str | None
) -> ModelError:
    """The error for an HTTP status; ``complaint`` is redacted, ``variable`` is the one the key was read from."""
    said = f"{place} answered {status}: {complaint}" if complaint else f"{place} answered {status}"
    kind: Failure = "rejected"
    if status == 401 and variable is None:
        remedy = "name the environment variable that holds the key of this server, with --key-variable"
    elif status == 401:
        remedy = f"put a valid key for this server into the environment variable {variable}"
    elif status == 402 or (status == 429 and code in ("insufficient_quota", "billing_hard_limit_reached")):
        remedy = "the account has no credit left; add some at the provider"
    elif status == 403:
        remedy = f"the key may not use {model!r}; allow it at the provider or use another --model"
    elif code in _FILTERED:
        kind, remedy = "refused", "rephrase the task or use another model"
    elif status in (404, 405):
        remedy = (
            f"check --model {model!r} and --base-url (it usually ends in /v1), which lists models in /models"
        )
    elif status == 429:
        kind, remedy = "busy", "run the same command later, or ask for fewer candidates at a time (--n)"
    elif (status >= 500 and status != 501) or status in (408, 409, 425):
        kind, remedy = "server", "try again later"
    elif status == 413 or code == "context_length_exceeded" or _too_long(complaint):
        remedy = "question and answer exceed the model's context; lower --max-tokens or use a longer context"
    else:
        remedy = "check --model and --base-url"
    return ModelError(kind, f"{said}; {remedy}")


def can_be_simpler(status: int | None, code: object) -> bool:
    """Whether a status says that the server refuses the request for its form or a parameter: nothing was generated."""
    return status in (400, 422, 501) and code not in _ELSEWHERE


def _too_long(complaint: str) -> bool:
    pattern = r"context.{0,20}(length|window|size)|maximum context|too long"
    return re.search(pattern, complaint, re.IGNORECASE) is not None
