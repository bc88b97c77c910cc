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
from typing import Any
from urllib.parse import urlsplit

from latent_reward.design.llm.ask import Ask, Failure, ModelError, Reply, Request
from latent_reward.design.llm.budget import Budget, Ledger, Usage, estimate, estimate_text
from latent_reward.design.llm.wire import Dialect, printable, redact, retry_after, status_error
from latent_reward.errors import LareError, extra_needed, require_positive

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
    """A thread-safe function that asks the model of ``server``; LareError if its settings cannot work.

    It raises BudgetError before a call that could exceed a limit, and ModelError when retries are used up or cannot
    help.
    """
    place, key, variable = _checked(server)
    with extra_needed("model: asking one", "design"):
        import openai  # its import takes a second

    patience = openai.Timeout(server.timeout_s, connect=min(server.timeout_s, _LONGEST_CONNECT))
    client = openai.OpenAI(api_key=key or "none", base_url=place, max_retries=0, timeout=patience)
    # OpenAI's newer models accept only the newer name; many other servers ignore it and would not limit the answer.
    dialect = Dialect(limit="max_completion_tokens" if place == OPENAI else "max_tokens")
    return _Session(client, server, place, key, variable, budget or Budget(), ledger, sleep, dialect).ask


@dataclass
class _Session:
    """What all calls to one server share; only the dialect changes."""

    client: Any
    server: Server
    place: str
    key: str | None = field(repr=False)
    variable: str | None
    budget: Budget
    ledger: Ledger | None
    sleep: Callable[[float], object]
    dialect: Dialect
    learning: threading.Lock = field(default_factory=threading.Lock)

    def ask(self, request: Request) -> Reply:
        """The answer to a question, with the retries that each failure allows."""
        failures: Counter[Failure] = Counter()
        while True:
            reply, error, wait = self._call(request)
            if error is None:
                return reply
            failures[error.kind] += 1
            if failures[error.kind] > _RETRIES[error.kind]:
                raise error
            if error.kind not in _AT_ONCE:
                # 1, 2, 4, … up to 30 seconds, times a random factor, so that threads spread out
                back_off = min(_LONGEST_BACK_OFF, 2.0 ** (failures.total() - 1)) * random.uniform(0.5, 1.0)
                self.sleep(back_off if wait is None else wait)

    def _call(self, request: Request) -> "_Outcome":
        """One call within the budget, and its line in the ledger. An interrupted call counts in full."""
        most = Usage(estimate(request.messages, request.keys), self.server.max_tokens, 1)
        self.budget.reserve(most)
        reply, outcome, started = self._reply(most, estimated=True), "interrupted", time.monotonic()
        try:
            reply, error, wait = self._attempt(request, most)
            outcome = error.kind if error else "ok"
            return reply, error, wait
        finally:
            self.budget.settle(most, Usage(reply.prompt_tokens, reply.completion_tokens, 1))
            if self.ledger is not None:
                self.ledger.write(
                    request,
                    self.server.model,
                    reply,
                    outcome,
                    seconds=round(time.monotonic() - started, 3),
                    form=self.dialect.form,
                    temperature=request.temperature if self.dialect.temperature else None,
                )

    def _attempt(self, request: Request, most: Usage) -> "_Outcome":
        """Send the question and interpret the response.

        A refused or failed request is free. If the connection broke or timed out after sending, the server may have
        charged for it, so the whole reservation counts.
        """
        import openai

        try:
            answer = self._send(request)
        except (openai.OpenAIError, ValueError) as problem:
            error = self._explain(problem)
            response = getattr(problem, "response", None)
            wait = None if response is None else retry_after(response.headers)
            billed = error.kind in _BILLED
            return self._reply(most if billed else Usage(), estimated=billed), error, wait
        text, error = self._text(answer)
        usage, model = getattr(answer, "usage", None), getattr(answer, "model", None)
        counts: list[Any] = [getattr(usage, name, None) for name in ("prompt_tokens", "completion_tokens")]
        known = all(type(count) is int and count >= 0 for count in counts) and sum(counts) > 0
        used = Usage(*counts) if known else Usage(most.prompt_tokens, estimate_text(text))
        name = redact(model, self.key) if isinstance(model, str) and model else self.server.model
        return self._reply(used, estimated=not known, text=text, model=name), error, None

    def _reply(self, used: Usage, *, estimated: bool, text: str = "", model: str = "") -> Reply:
        cost = self.budget.cost(used)
        return Reply(text, model, used.prompt_tokens, used.completion_tokens, estimated, cost)

    def _send(self, request: Request) -> Any:
        """The completion as the client library returns it, in the first dialect that the server accepts."""
        import openai

        dialect, refused = self.dialect, set()
        while True:
            arguments = dialect.arguments(self.server.model, request, self.server.max_tokens)
            try:
                return self.client.chat.completions.create(**arguments)
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
                with self.learning:
                    if self.dialect == dialect:  # else another thread has learned from its own refusal
                        self.dialect = other
                    dialect = self.dialect

    def _explain(self, problem: Exception) -> ModelError:
        """The error for the user."""
        import openai

        place = self.place
        if isinstance(problem, openai.APIStatusError):
            body: Any = problem.body
            message = body.get("message") if isinstance(body, dict) else None
            complaint = redact(message if isinstance(message, str) else f"{body or ''}", self.key)
            code, model = getattr(problem, "code", None), self.server.model
            return status_error(problem.status_code, complaint, code, model, place, self.variable)
        if not isinstance(problem, openai.APIConnectionError):
            said = redact(f"{problem}", self.key)
            return ModelError(
                "malformed", f"{place} answered with no chat completion ({said}); {_URL_REMEDY}"
            )
        if type(problem.__cause__).__name__ in ("ConnectError", "ConnectTimeout"):
            message = f"cannot connect to {place}; is the server up, and is the base URL right?"
            return ModelError("unreachable", message)
        if isinstance(problem, openai.APITimeoutError):
            seconds = f"{self.server.timeout_s:g} s"
            remedy = "give it more time or ask for fewer tokens"
            return ModelError("timeout", f"{place} sent nothing for {seconds}; {remedy}")
        return ModelError(
            "disconnected", f"{place} broke the connection before it had answered; try again later"
        )

    def _text(self, answer: Any) -> tuple[str, ModelError | None]:
        """The text of an answer, and the error that keeps it from being used."""
        name, choices = self.server.model, getattr(answer, "choices", "")
        if not isinstance(choices, list | None):
            message = f"{self.place} answered with no chat completion; {_URL_REMEDY}"
            return "", ModelError("malformed", message)
        if not choices:
            said = redact(f"{getattr(answer, 'error', None) or ''}", self.key)
            detail = f" ({said})" if said else ""
            return "", ModelError("empty", f"{name} sent no choice{detail}; ask again or use another model")
        message, reason = getattr(choices[0], "message", None), getattr(choices[0], "finish_reason", None)
        text, refusal = _content(getattr(message, "content", None)), getattr(message, "refusal", None)
        if self.key and len(self.key) >= _SHORTEST_SECRET:
            text = text.replace(self.key, "[key]")
        error = None
        if refusal or reason == "content_filter":
            said = redact(f"{refusal}", self.key)[:200] if refusal else "stopped by a content filter"
            error = ModelError("refused", f"{name} refused ({said}); rephrase the task or use another model")
        elif reason == "length":
            limit = f"{self.server.max_tokens} tokens; allow more per answer"
            error = ModelError("truncated", f"the answer of {name} was cut off at {limit}")
        elif not text.strip():
            error = ModelError("empty", f"{name} sent an empty answer; ask again or use another model")
        return text, error


_Outcome = tuple[Reply, ModelError | None, float | None]
"""What a call cost and maybe answered, its failure, and how many seconds the server asks to wait."""


def _content(content: Any) -> str:
    """The text of a message: a string, or the text parts of a list (other parts are reasoning and images)."""
    if isinstance(content, list):
        parts = [part for part in content if isinstance(part, dict) and part.get("type") == "text"]
        content = "".join(part["text"] for part in parts if isinstance(part.get("text"), str))
    return printable(content) if isinstance(content, str) else ""


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
