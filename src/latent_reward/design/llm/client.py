"""The client of a language model on any server with OpenAI's chat protocol.

A question is sent in the most specific form that the server accepts and retried where that can help. Each call is
counted against the budget before it and written into the ledger after it. The key is read from the environment and
never appears in a message, the ledger or a record.
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

from latent_reward.design.llm.ask import Ask, Failure, ModelError, Reply, Request
from latent_reward.design.llm.budget import Budget, Ledger, Usage, estimate, estimate_text
from latent_reward.design.llm.wire import Dialect, printable, redact, retry_after, status_error
from latent_reward.errors import LareError, require_positive

KEY_VARIABLE = "OPENAI_API_KEY"
URL_VARIABLE = "OPENAI_BASE_URL"
OPENAI = "https://api.openai.com/v1"

# Retries of a failed call. A wrong key, model or request stays wrong.
_RETRIES: dict[Failure, int] = {
    "busy": 5, "server": 4, "disconnected": 3, "timeout": 2, "unreachable": 2, "malformed": 2, "empty": 2,
    "refused": 1, "truncated": 1, "rejected": 0,
}  # fmt: skip
_AT_ONCE: tuple[Failure, ...] = ("empty", "refused", "truncated")  # the server works: no need to wait
_BILLED: tuple[Failure, ...] = ("timeout", "disconnected", "malformed")  # failures that may have been charged
_URL_REMEDY = "check that the base URL is that of an OpenAI-compatible server (it usually ends in /v1)"
_LONGEST_BACK_OFF = 30.0
_LONGEST_CONNECT = 15.0
_SHORTEST_SECRET = 8  # a shorter key is a placeholder such as EMPTY, which may occur in an answer


@dataclass(frozen=True)
class Server:
    """A model and the server that has it.

    Without ``base_url`` it is the one in ``OPENAI_BASE_URL``, or OpenAI, and the key is in ``OPENAI_API_KEY``. Any
    other server gets a key only from the variable that ``key_variable`` names, so that the key of one provider
    never reaches another. ``timeout_s`` limits the time without data, ``max_tokens`` the length of an answer.
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
    """A thread-safe function that asks the model of ``server``.

    It raises BudgetError before a call that could exceed a limit, and ModelError when retries are used up or cannot
    help.

    Raises:
        LareError: the model, the URL or a number is not usable, or the key is missing.
    """
    place, key, variable = _checked(server)
    import openai  # its import takes a second

    patience = openai.Timeout(server.timeout_s, connect=min(server.timeout_s, _LONGEST_CONNECT))
    client = openai.OpenAI(api_key=key or "none", base_url=place, max_retries=0, timeout=patience)
    # OpenAI's newer models accept only the newer name; many other servers ignore it and would not limit the answer.
    limit = "max_completion_tokens" if place == OPENAI else "max_tokens"
    session = _Session(client, server, place, key, variable, budget or Budget(), ledger, Dialect(limit=limit))
    return lambda request: _ask(session, request, sleep)


@dataclass
class _Session:
    """State that all calls to one server share; only the dialect changes."""

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
        """Replace the dialect ``refused``, unless another thread already has; returns the one to try now."""
        with self.learning:
            if self.dialect == refused:
                self.dialect = other
            return self.dialect


@dataclass(frozen=True)
class _Outcome:
    """The result of one call: its usage, and a text or an error."""

    name: Failure | Literal["ok", "interrupted"]
    used: Usage
    estimated: bool = False
    text: str = ""
    model: str = ""
    error: ModelError | None = None
    wait: float | None = None


def _ask(session: _Session, request: Request, sleep: Callable[[float], object]) -> Reply:
    failures: Counter[Failure] = Counter()
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
    """Seconds before a retry: 1, 2, 4, … up to 30, times a random factor of 0.5 to 1, so that threads spread out."""
    return min(_LONGEST_BACK_OFF, 2.0 ** (failures - 1)) * random.uniform(0.5, 1.0)


def _call(session: _Session, request: Request) -> _Outcome:
    """One call within the budget, and its line in the ledger. An interrupted call counts in full."""
    most = Usage(estimate(request.messages, request.keys), session.server.max_tokens, 1)
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
    """Send the question and interpret the response.

    A refused or failed request is free. If the connection broke or timed out after sending, the server may have
    charged for it, so the whole reservation counts.
    """
    import openai

    try:
        answer = _send(session, request)
    except (openai.OpenAIError, ValueError) as problem:
        error = _explain(session, problem)
        billed = error.kind in _BILLED
        response = getattr(problem, "response", None)
        wait = None if response is None else retry_after(response.headers)
        return _Outcome(
            error.kind, most if billed else Usage(calls=1), estimated=billed, error=error, wait=wait
        )
    text, error = _text(session, answer)
    used, estimated = _usage(answer, most, text)
    model = getattr(answer, "model", None)
    name = redact(model, session.key) if isinstance(model, str) and model else session.server.model
    return _Outcome(error.kind if error else "ok", used, estimated, text, name, error)


def _send(session: _Session, request: Request) -> Any:
    """The completion as the client library returns it, in the first dialect that the server accepts."""
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
                    other = None  # some servers fail on an unknown form, none on a number
            if other is None or other in refused:
                raise
            dialect = session.replace(dialect, other)


def _explain(session: _Session, problem: Exception) -> ModelError:
    """The error for the user."""
    import openai

    place = session.place
    if isinstance(problem, openai.APIStatusError):
        body: Any = problem.body
        message = body.get("message") if isinstance(body, dict) else None
        complaint = redact(message if isinstance(message, str) else f"{body or ''}", session.key)
        code = getattr(problem, "code", None)
        model, variable = session.server.model, session.variable
        return status_error(problem.status_code, complaint, code, model=model, place=place, variable=variable)
    if not isinstance(problem, openai.APIConnectionError):
        said = redact(f"{problem}", session.key)
        return ModelError("malformed", f"{place} answered with no chat completion ({said}); {_URL_REMEDY}")
    if type(problem.__cause__).__name__ in ("ConnectError", "ConnectTimeout"):
        message = f"cannot connect to {place}; is the server up, and is the base URL right?"
        return ModelError("unreachable", message)
    if isinstance(problem, openai.APITimeoutError):
        seconds = f"{session.server.timeout_s:g} s"
        return ModelError(
            "timeout", f"{place} sent nothing for {seconds}; give it more time or ask for fewer tokens"
        )
    return ModelError("disconnected", f"{place} broke the connection before it had answered; try again later")


def _text(session: _Session, answer: Any) -> tuple[str, ModelError | None]:
    """The text of an answer, and the error that keeps it from being used."""
    name, error = session.server.model, None
    choices = getattr(answer, "choices", "")
    if not isinstance(choices, list | None):
        return "", ModelError("malformed", f"{session.place} answered with no chat completion; {_URL_REMEDY}")
    if not choices:
        said = redact(f"{getattr(answer, 'error', None) or ''}", session.key)
        detail = f" ({said})" if said else ""
        return "", ModelError("empty", f"{name} sent no choice{detail}; ask again or use another model")
    message, reason = getattr(choices[0], "message", None), getattr(choices[0], "finish_reason", None)
    text, refusal = _content(getattr(message, "content", None)), getattr(message, "refusal", None)
    if session.key and len(session.key) >= _SHORTEST_SECRET:
        text = text.replace(session.key, "[key]")
    if refusal or reason == "content_filter":
        said = redact(f"{refusal}", session.key)[:200] if refusal else "stopped by a content filter"
        error = ModelError("refused", f"{name} refused ({said}); rephrase the task or use another model")
    elif reason == "length":
        limit = session.server.max_tokens
        error = ModelError(
            "truncated", f"the answer of {name} was cut off at {limit} tokens; allow more per answer"
        )
    elif not text.strip():
        error = ModelError("empty", f"{name} sent an empty answer; ask again or use another model")
    return text, error


def _content(content: Any) -> str:
    """The text of a message: a string, or the text parts of a list (other parts are reasoning and images)."""
    if isinstance(content, list):
        parts = [part for part in content if isinstance(part, dict) and part.get("type") == "text"]
        content = "".join(part["text"] for part in parts if isinstance(part.get("text"), str))
    return printable(content) if isinstance(content, str) else ""


def _usage(answer: Any, most: Usage, text: str) -> tuple[Usage, bool]:
    """The tokens that the server reports and False, or an upper estimate and True."""
    usage = getattr(answer, "usage", None)
    prompt, completion = getattr(usage, "prompt_tokens", None), getattr(usage, "completion_tokens", None)
    if type(prompt) is int and type(completion) is int and min(prompt, completion) >= 0 < prompt + completion:
        return Usage(prompt, completion, 1), False
    return Usage(most.prompt_tokens, estimate_text(text), 1), True


def _checked(server: Server) -> tuple[str, str | None, str | None]:
    """Base URL, key, and the variable that holds the key; raises LareError for unusable settings."""
    if not server.model.strip():
        raise LareError("model: the name is empty; give the name the server knows the model by")
    require_positive(max_tokens=server.max_tokens)
    if not (math.isfinite(server.timeout_s) and server.timeout_s > 0):
        raise LareError(f"timeout_s: {server.timeout_s} is not a positive number of seconds; give one")
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
        raise LareError(f"base_url: {place!r} is not a URL; give one such as http://localhost:8000/v1")
    variable = server.key_variable or (KEY_VARIABLE if server.base_url is None or place == OPENAI else None)
    key = os.environ.get(variable, "").strip() if variable else ""
    if not key and (server.key_variable or place == OPENAI):
        raise LareError(
            f"key: the environment variable {variable} is not set; put the key for {place} into it"
        )
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise LareError(f"key: {variable} holds blanks or characters that no key has; copy the key again")
    return place, key or None, variable
