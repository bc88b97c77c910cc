"""Differences between servers with the same protocol, and the meaning of their errors.

Pure functions: the arguments of a call, which of them an error is about, how long to wait before a retry, and the
error in one line for the user.
"""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from latent_reward.design.llm.ask import Failure, ModelError, Request

FORMS = ("json_schema", "json_object with schema", "json_object", "text")
_LONGEST_WAIT = 60.0
_FENCE_PLEASE = (
    "\n\nAnswer with one JSON object with the texts {keys}, in a fenced block that starts with ```json."
)


@dataclass(frozen=True)
class Dialect:
    """What one server accepts; it starts with the most specific form and drops what is refused."""

    form: str = FORMS[0]
    limit: str = "max_tokens"
    temperature: bool = True

    def arguments(self, model: str, request: Request, max_tokens: int) -> dict[str, Any]:
        """The arguments of a chat completion in this dialect."""
        messages = [asdict(each) for each in request.messages]
        arguments = {"model": model, "messages": messages, self.limit: max_tokens}
        if self.temperature:
            arguments["temperature"] = request.temperature
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

    def without(self, complaint: str, param: str | None) -> "Dialect | None":
        """The dialect to try after a rejected request; None if the error is about something else."""
        about = param or complaint
        if re.search(r"response_format|json_schema|json_object", about) and self.form != FORMS[-1]:
            return replace(self, form=FORMS[FORMS.index(self.form) + 1])
        if re.search(r"max_(completion_)?tokens", about) and not _too_long(complaint):
            other = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}[self.limit]
            return replace(self, limit=other)
        if "temperature" in about and self.temperature:
            return replace(self, temperature=False)
        return None


def printable(text: str) -> str:
    """The text without lone surrogates, which JSON can hold but a UTF-8 file cannot."""
    return text.encode("utf-8", "replace").decode("utf-8")


def retry_after(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """The seconds to wait according to ``Retry-After`` (seconds or a date), at most a minute."""
    value = headers.get("retry-after")
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            then = parsedate_to_datetime(value)
        except ValueError:
            return None
        then = then if then.tzinfo else then.replace(tzinfo=UTC)
        seconds = (then - (now or datetime.now(UTC))).total_seconds()
    return min(max(seconds, 0.0), _LONGEST_WAIT) if seconds == seconds else None


def redact(text: str, key: str | None) -> str:
    """The text on one line of bounded length, without the key."""
    text = " ".join(text.split())
    return (text.replace(key, "[key]") if key else text)[:500]


def status_error(
    status: int, complaint: str, code: str | None, model: str, place: str, variable: str | None
) -> ModelError:
    """The error for an HTTP status; ``complaint`` is redacted, ``variable`` is the one the key was read from."""
    said = f"{place} answered {status}: {complaint}" if complaint else f"{place} answered {status}"
    kind: Failure = "rejected"
    if status == 401 and variable is None:
        remedy = "name the environment variable that holds the key of this server"
    elif status == 401:
        remedy = f"put a valid key for this server into the environment variable {variable}"
    elif status == 403:
        remedy = f"the key may not use {model!r}; allow it at the provider or use another model"
    elif code in ("content_filter", "content_policy_violation"):
        kind, remedy = "refused", "rephrase the task or use another model"
    elif status == 404:
        remedy = f"check the model {model!r} and the base URL (it usually ends in /v1), which lists models in /models"
    elif status == 429 and code in ("insufficient_quota", "billing_hard_limit_reached"):
        remedy = "the account has no credit left; add some at the provider"
    elif status == 429:
        kind, remedy = "busy", "try again later or ask fewer questions at a time"
    elif status >= 500 or status in (408, 409, 425):
        kind, remedy = "server", "try again later"
    elif _too_long(complaint):
        remedy = "conversation and answer exceed the model's context; allow fewer tokens per answer"
    else:
        remedy = "check the model and the base URL"
    return ModelError(kind, f"{said}; {remedy}")


def _too_long(complaint: str) -> bool:
    pattern = r"context.{0,20}(length|window|size)|maximum context|too long"
    return re.search(pattern, complaint, re.IGNORECASE) is not None
