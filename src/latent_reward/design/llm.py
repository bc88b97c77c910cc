"""The one place that talks to a language model: any server with OpenAI's chat protocol.

A question is asked in the best form the server takes, again where that can help, counted against the budget
before each call and written into the ledger after it. The key comes from the environment and stays in the
client: no message, ledger or record can hold it.
"""

import math
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

from latent_reward.design.ask import Ask, Kind, ModelError, Reply, Request
from latent_reward.design.budget import Budget, Ledger, Usage, estimate, estimate_text
from latent_reward.design.reply import printable
from latent_reward.design.wire import Dialect, redact, retry_after, status_error
from latent_reward.errors import LareError

KEY_VARIABLE = "OPENAI_API_KEY"
URL_VARIABLE = "OPENAI_BASE_URL"
OPENAI = "https://api.openai.com/v1"

# How often a failed call is made again. A key, a model or a request that is wrong stays wrong.
_RETRIES: dict[Kind, int] = {
    "busy": 5, "server": 4, "disconnected": 3, "timeout": 2, "unreachable": 2, "malformed": 2, "empty": 2,
    "refused": 1, "truncated": 1, "rejected": 0,
}  # fmt: skip
_AT_ONCE: tuple[Kind, ...] = ("empty", "refused", "truncated")  # the server is well: no need to wait
_LONGEST_BACK_OFF = 30.0
_LONGEST_CONNECT = 15.0
_SHORTEST_SECRET = 8  # a shorter key is a placeholder such as EMPTY, a word that an answer may well contain


@dataclass(frozen=True)
class Server:
    """A model and where it is served.

    Without ``base_url`` that is what ``OPENAI_BASE_URL`` names, or OpenAI, and the key is in ``OPENAI_API_KEY``.
    To any other server a key is sent only from the variable that ``key_variable`` names, so that the key of
    one provider never reaches another. ``timeout_s`` bounds the silence of the server, ``max_tokens`` an answer.
    """

    model: str
    base_url: str | None = None
    key_variable: str | None = None
    max_tokens: int = 4096
    timeout_s: float | int = 300


def connect(
    server: Server,
    budget: Budget | None = None,
    ledger: Ledger | None = None,
    *,
    sleep: Callable[[float], object] = time.sleep,
) -> Ask:
    """A function that asks the model of ``server``; several threads may call it.

    It raises BudgetError before a call that could cross a limit, and ModelError once retries are used up or
    cannot help.

    Raises:
        LareError: the model, the URL or a number is not usable, or the key is missing.
    """
    place, key, variable = _checked(server)
    import openai  # takes a second, and nothing but this needs it

    patience = openai.Timeout(server.timeout_s, connect=min(server.timeout_s, _LONGEST_CONNECT))
    client = openai.OpenAI(api_key=key or "none", base_url=place, max_retries=0, timeout=patience)
    # OpenAI's newer models know only the newer word; of the others, many ignore it and would write without end.
    limit = "max_completion_tokens" if place == OPENAI else "max_tokens"
    session = _Session(client, server, place, key, variable, budget or Budget(), ledger, Dialect(limit=limit))
    return lambda request: _ask(session, request, sleep)


@dataclass
class _Session:
    """What all calls to one server share; only the dialect changes, as it is learned."""

    client: Any
    server: Server
    place: str
    key: str | None = field(repr=False)
    variable: str | None
    budget: Budget
    ledger: Ledger | None
    dialect: Dialect
    learning: threading.Lock = field(default_factory=threading.Lock)

    def replace(self, refused: Dialect, other: Dialect) -> Dialect:
        """Gives up ``refused``, unless another thread already has; returns what to try now."""
        with self.learning:
            if self.dialect == refused:
                self.dialect = other
            return self.dialect


@dataclass(frozen=True)
class _Outcome:
    """How one call ended: what it used, and a text or an error."""

    name: Kind | Literal["ok", "interrupted"]
    used: Usage
    estimated: bool = False
    text: str = ""
    model: str = ""
    error: ModelError | None = None
    wait: float | None = None


def _ask(session: _Session, request: Request, sleep: Callable[[float], object]) -> Reply:
    failures: Counter[Kind] = Counter()
    while True:
        outcome = _call(session, request)
        error = outcome.error
        if error is None:
            return Reply(
                text=outcome.text,
                model=outcome.model,
                prompt_tokens=outcome.used.prompt_tokens,
                completion_tokens=outcome.used.completion_tokens,
                estimated=outcome.estimated,
                cost=session.budget.cost(outcome.used),
            )
        failures[error.kind] += 1
        if failures[error.kind] > _RETRIES[error.kind]:
            raise error
        if error.kind not in _AT_ONCE:
            sleep(_back_off(failures.total()) if outcome.wait is None else outcome.wait)


def _back_off(failures: int) -> float:
    """Seconds: 1, 2, 4, … up to 30, shortened by chance to as little as half, so that threads spread out."""
    return min(_LONGEST_BACK_OFF, 2.0 ** (failures - 1)) * random.uniform(0.5, 1.0)


def _call(session: _Session, request: Request) -> _Outcome:
    """One call within the budget, and its line in the ledger. An interrupted one counts in full."""
    asked = estimate(request.messages, request.keys)
    most = Usage(asked, session.server.max_tokens, 1)
    session.budget.reserve(most)
    outcome, started = _Outcome("interrupted", most, estimated=True), time.monotonic()
    try:
        outcome = _attempt(session, request, most)
    finally:
        session.budget.settle(most, outcome.used)
        if session.ledger is not None:
            session.ledger.write(
                purpose=request.purpose, draw=request.draw, index=request.index, model=session.server.model,
                prompt_tokens=outcome.used.prompt_tokens, completion_tokens=outcome.used.completion_tokens,
                estimated=outcome.estimated, cost=session.budget.cost(outcome.used), cached=False,
                outcome=outcome.name, seconds=round(time.monotonic() - started, 3), form=session.dialect.form,
                temperature=request.temperature if session.dialect.temperature else None,
            )  # fmt: skip
    return outcome


def _attempt(session: _Session, request: Request, most: Usage) -> _Outcome:
    """Sends the question and judges what comes back.

    What the server refuses or fails to answer is free. If the line broke or time ran out after sending, the
    server may have charged for it, so the whole reservation counts.
    """
    import openai

    try:
        answer = _send(session, request)
    except (openai.OpenAIError, ValueError) as problem:
        error, billed = _explain(session, problem)
        used = most if billed else Usage(calls=1)
        response = getattr(problem, "response", None)
        wait = None if response is None else retry_after(response.headers)
        return _Outcome(error.kind, used, estimated=billed, error=error, wait=wait)
    text, error = _text(session, answer)
    used, estimated = _usage(answer, most, text)
    if error is not None:
        return _Outcome(error.kind, used, estimated, error=error)
    model = getattr(answer, "model", None)
    name = redact(model, session.key) if isinstance(model, str) and model else session.server.model
    return _Outcome("ok", used, estimated, text, name)


def _send(session: _Session, request: Request) -> Any:
    """The answer as the client library reads it, after giving up whatever the server does not take."""
    import openai

    dialect, refused = session.dialect, set()
    while True:
        arguments = dialect.arguments(session.server.model, request, session.server.max_tokens)
        try:
            return session.client.chat.completions.create(**arguments)
        except openai.APIStatusError as error:
            refused.add(dialect)
            other = None
            if error.status_code in (400, 422, 500, 501):
                param = getattr(error, "param", None)
                other = dialect.without(f"{error.body}", param if isinstance(param, str) else None)
                if error.status_code >= 500 and other and other.form == dialect.form:
                    other = None  # some servers break on a form they do not know, none on a number
            if other is None or other in refused:
                raise
            dialect = session.replace(dialect, other)


def _explain(session: _Session, problem: Exception) -> tuple[ModelError, bool]:
    """The error for the user, and whether the server may have charged for the call."""
    import openai

    place, seconds = session.place, session.server.timeout_s
    if isinstance(problem, openai.APIStatusError):
        error = status_error(
            problem.status_code,
            redact(_complaint(problem), session.key),
            getattr(problem, "code", None),
            model=session.server.model,
            place=place,
            variable=session.variable,
        )
        return error, False
    cause = type(problem.__cause__).__name__
    if isinstance(problem, openai.APIConnectionError) and cause in ("ConnectError", "ConnectTimeout"):
        return _failure(
            "unreachable", f"cannot connect to {place}; is the server up, and is the base URL right?"
        ), False
    if isinstance(problem, openai.APITimeoutError):
        remedy = "give it more time or ask for fewer tokens"
        return _failure("timeout", f"{place} was silent for {seconds:g} s; {remedy}"), True
    if isinstance(problem, openai.APIConnectionError):
        return _failure(
            "disconnected", f"{place} broke the connection before it had answered; try again later"
        ), True
    said = redact(f"{problem}", session.key)
    return _failure("malformed", f"{place} answered with no chat completion ({said}); {_URL_REMEDY}"), True


_URL_REMEDY = "check that the base URL is that of an OpenAI-compatible server (it usually ends in /v1)"


def _failure(kind: Kind, message: str) -> ModelError:
    return ModelError(kind, f"model: {message}")


def _complaint(problem: Any) -> str:
    body = problem.body
    message = body.get("message") if isinstance(body, dict) else None
    return message if isinstance(message, str) else f"{body or ''}"


def _text(session: _Session, answer: Any) -> tuple[str, ModelError | None]:
    """The text of an answer, or why there is none."""
    name, place = session.server.model, session.place
    choices = getattr(answer, "choices", "")
    if not isinstance(choices, list | None):
        return "", _failure("malformed", f"{place} answered with no chat completion; {_URL_REMEDY}")
    if not choices:
        said = redact(f"{getattr(answer, 'error', None) or ''}", session.key)
        detail = f" ({said})" if said else ""
        return "", _failure("empty", f"{name} sent no choice{detail}; ask again or use another model")
    message, reason = getattr(choices[0], "message", None), getattr(choices[0], "finish_reason", None)
    text, refusal = _content(getattr(message, "content", None)), getattr(message, "refusal", None)
    if session.key and len(session.key) >= _SHORTEST_SECRET:
        text = text.replace(session.key, "[key]")
    if refusal or reason == "content_filter":
        said = redact(f"{refusal}", session.key)[:200] if refusal else "stopped by a content filter"
        return text, _failure(
            "refused", f"{name} refused ({said}); say the task in other words or use another model"
        )
    if reason == "length":
        limit = session.server.max_tokens
        return text, _failure(
            "truncated", f"the answer of {name} was cut off at {limit} tokens; allow more per answer"
        )
    if not text.strip():
        return "", _failure("empty", f"{name} sent an empty answer; ask again or use another model")
    return text, None


def _content(content: Any) -> str:
    """The text of a message: itself, or the text parts of a list (the others are thoughts and pictures)."""
    if isinstance(content, list):
        parts = [part for part in content if isinstance(part, dict) and part.get("type") == "text"]
        content = "".join(part["text"] for part in parts if isinstance(part.get("text"), str))
    return printable(content) if isinstance(content, str) else ""


def _usage(answer: Any, most: Usage, text: str) -> tuple[Usage, bool]:
    """The tokens the server reports, or an upper estimate and True."""
    usage = getattr(answer, "usage", None)
    prompt, completion = getattr(usage, "prompt_tokens", None), getattr(usage, "completion_tokens", None)
    if type(prompt) is int and type(completion) is int and min(prompt, completion) >= 0 < prompt + completion:
        return Usage(prompt, completion, 1), False
    return Usage(most.prompt_tokens, estimate_text(text), 1), True


def _checked(server: Server) -> tuple[str, str | None, str | None]:
    """Base URL, key, and the variable that holds the key; raises LareError for what cannot work."""
    if not server.model.strip():
        raise LareError("model: the name is empty; give the name the server knows the model by")
    if server.max_tokens < 1:
        raise LareError(f"max_tokens: {server.max_tokens} leaves no room for an answer; give at least 1")
    if not (math.isfinite(server.timeout_s) and server.timeout_s > 0):
        raise LareError(f"timeout_s: {server.timeout_s} is no time to wait; give seconds above 0")
    place = (server.base_url or os.environ.get(URL_VARIABLE) or OPENAI).rstrip("/")
    try:
        parts = urlsplit(place)
        usable = parts.scheme in ("http", "https") and parts.hostname and (parts.port or True)
    except ValueError:
        usable, parts = False, None
    if parts is not None and (parts.username or parts.password or parts.query):
        raise LareError(
            "base_url: it holds a user, password or query; put the key into an environment variable"
        )
    if not usable:
        raise LareError(f"base_url: {place!r} is no address; give one such as http://localhost:8000/v1")
    variable = server.key_variable or (KEY_VARIABLE if server.base_url is None or place == OPENAI else None)
    key = os.environ.get(variable, "").strip() if variable else ""
    if not key and (server.key_variable or place == OPENAI):
        raise LareError(
            f"key: the environment variable {variable} is not set; put the key for {place} into it"
        )
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise LareError(f"key: {variable} holds blanks or characters no key has; copy the key again")
    return place, key or None, variable
