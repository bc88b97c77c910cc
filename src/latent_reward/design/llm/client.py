"""The client of a language model on any server with OpenAI's chat protocol.

A question is sent in the most specific form that works with the server, and retried where that can help. Each call is
counted against the budget before it and written into the ledger after it. The key is read from the environment and
never appears in a message, the ledger or a record.
"""

import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from latent_reward.design.llm.answer import Answer, read_completion
from latent_reward.design.llm.ask import Ask, Failure, ModelError, Reply, Request
from latent_reward.design.llm.budget import Budget, Ledger, Usage, estimate, estimate_text
from latent_reward.design.llm.diagnose import connection_error, unusable
from latent_reward.design.llm.forms import Outcome, Search
from latent_reward.design.llm.server import KEY_VARIABLE, OPENAI, Address, Server, address_of
from latent_reward.design.llm.transport import http_client, moved_to, within
from latent_reward.design.llm.wire import Dialect, can_be_simpler, redact, retry_after, status_error
from latent_reward.design.reply import read_reply
from latent_reward.errors import LareError, extra_needed

# Retries of a failed call. A wrong key, model or request stays wrong.
_RETRIES: dict[Failure, int] = {
    "busy": 5, "server": 4, "disconnected": 3, "timeout": 2, "unreachable": 2, "malformed": 2, "empty": 2,
    "refused": 1, "truncated": 1, "unbounded": 0, "rejected": 0,
}  # fmt: skip
_AT_ONCE: tuple[Failure, ...] = ("empty", "refused", "truncated")  # the server works: no need to wait
# Failures that may have been charged.
_BILLED: tuple[Failure, ...] = ("timeout", "disconnected", "malformed", "unbounded")
_LONGEST_BACK_OFF = 30.0
_LONGEST_WAIT = 60.0
_LONGEST_CONNECT = 15.0
_LONGEST_ANSWER = 4  # in units of the time without data
_SHORTEST_SECRET = 8  # a shorter key is a placeholder such as EMPTY, which may occur in an answer
_EXCERPT = 2000


def connect(
    server: Server,
    budget: Budget | None = None,
    ledger: Ledger | None = None,
    *,
    sleep: Callable[[float], object] = time.sleep,
    say: Callable[[str], object] = lambda text: None,
) -> Ask:
    """A thread-safe function that asks the model of ``server``; LareError if its settings cannot work.

    It raises BudgetError before a call that could exceed a limit, and ModelError when retries are used up or cannot
    help. ``say`` is called with what the user should know: that a form of answer does not work with this server, or
    that the key travels unencrypted.
    """
    address = address_of(server)
    with extra_needed("model: asking one", "design"):
        import openai  # its import takes a second

    if address.exposed:
        say(
            f"warning: the key in {address.variable} is sent unencrypted to {address.place}; use https if you can"
        )
    client = openai.OpenAI(
        api_key=address.key or "none",
        base_url=address.place,
        max_retries=0,
        http_client=http_client(
            _LONGEST_ANSWER * server.timeout_s,
            patience=openai.Timeout(server.timeout_s, connect=min(server.timeout_s, _LONGEST_CONNECT)),
            all_headers=address.variable == KEY_VARIABLE,
        ),
    )
    # OpenAI's newer models accept only the newer name; many other servers ignore it and would not limit the answer.
    limit = "max_completion_tokens" if address.place == OPENAI else "max_tokens"
    dialect = Dialect(limit=limit, effort=server.reasoning_effort)
    return _Session(client, server, address, budget or Budget(), ledger, sleep, say, dialect).ask


@dataclass
class _Session:
    """What all calls to one server share; only the dialect changes."""

    client: Any
    server: Server
    address: Address
    budget: Budget
    ledger: Ledger | None
    sleep: Callable[[float], object]
    say: Callable[[str], object]
    dialect: Dialect
    learning: threading.Lock = field(default_factory=threading.Lock)

    def ask(self, request: Request) -> Reply:
        """The answer to a question, in the first dialect that works, with the retries that each failure allows."""
        search = Search(self.dialect, self.dialect)
        failures: Counter[Failure] = Counter()
        reason = ""
        while True:
            outcome = self._call(request, search)
            error = outcome.error
            if error is None:
                self._learn(search, reason, unreadable=outcome.doubtful)
                return outcome.reply
            if search.advance(outcome, self.dialect):
                reason = reason or error.said
                failures[error.kind] += outcome.doubtful  # it was paid for
                continue
            failures[error.kind] += 1
            if failures[error.kind] > _RETRIES[error.kind]:
                raise error
            if outcome.wait is not None and outcome.wait > _LONGEST_WAIT * _RETRIES["busy"]:
                raise ModelError(error.kind, f"{error.said} (the server asks to wait {outcome.wait:.0f} s)")
            if error.kind not in _AT_ONCE:
                # 1, 2, 4, … up to 30 seconds, times a random factor, so that threads spread out
                back_off = min(_LONGEST_BACK_OFF, 2.0 ** (failures.total() - 1)) * random.uniform(0.5, 1.0)
                self.sleep(back_off if outcome.wait is None else min(outcome.wait, _LONGEST_WAIT))

    def _learn(self, search: Search, reason: str, *, unreadable: bool) -> None:
        """Remember what works for the rest of the design, and say once what does not."""
        start, found = search.start, search.dialect
        if unreadable:
            found = found.lower(paid=True) or found
            reason = reason or "the answer is not what the form demands"
        if found == start:
            return
        with self.learning:
            before, self.dialect = self.dialect, self.dialect.merged(start, found)
            after = self.dialect
        place = self.address.place
        cause = reason.partition("; ")[0].removeprefix(f"{place} ")[:200]
        if after.form != before.form:
            self.say(
                f"{place}: answers in the form {before.form} fail ({cause}); from now on the form is {after.form}"
            )
        if after.effort != before.effort:
            self.say(f"{place}: a reasoning effort is refused ({cause}); from now on it is left out")

    def _call(self, request: Request, search: Search) -> Outcome:
        """One call within the budget, and its line in the ledger. An interrupted call counts in full."""
        dialect, first = search.dialect, search.start.form
        most = Usage(estimate(request.messages, request.keys), self.server.max_tokens, 1)
        self.budget.reserve(most)
        started, word = time.monotonic(), "interrupted"
        outcome = Outcome(self._reply(most, estimated=True))
        try:
            outcome = self._attempt(request, dialect, most)
            word = outcome.error.kind if outcome.error else "ok"
            return outcome
        finally:
            reply = outcome.reply
            self.budget.settle(most, Usage(reply.prompt_tokens, reply.completion_tokens, 1))
            if self.ledger is not None:
                more = {"instead_of": first} if dialect.form != first else {}
                more |= {"excerpt": outcome.excerpt[:_EXCERPT]} if outcome.excerpt else {}
                self.ledger.write(
                    request,
                    self.server.model,
                    reply,
                    word,
                    seconds=round(time.monotonic() - started, 3),
                    form=dialect.form,
                    temperature=request.temperature if dialect.temperature else None,
                    **more,
                )

    def _attempt(self, request: Request, dialect: Dialect, most: Usage) -> Outcome:
        """Send the question and interpret the response.

        A refused or failed request is free. If the connection broke or timed out after sending, the server may have
        charged for it, so the whole reservation counts.
        """
        import openai

        arguments = dialect.arguments(self.server.model, request, self.server.max_tokens)
        try:
            body = within(
                _LONGEST_ANSWER * self.server.timeout_s,
                lambda: (
                    self.client.chat.completions.with_raw_response.create(**arguments).http_response.content
                ),
            )
            answer = read_completion(body)
        except openai.APIStatusError as problem:
            return self._of_status(problem)
        except ModelError as error:
            return self._failed(error, most)
        except openai.OpenAIError as problem:
            cause = problem.__cause__
            error = (
                cause
                if isinstance(cause, ModelError)
                else connection_error(problem, self.server, self.address)
            )
            return self._failed(error, most)
        except ValueError as problem:
            return self._failed(self._malformed(redact(f"{problem}", self.address.key)), most)
        return self._of_answer(request, dialect, answer, most)

    def _of_status(self, problem: Any) -> Outcome:
        """The outcome of a response with a status that is an error."""
        body, code, status = problem.body, getattr(problem, "code", None), problem.status_code
        said = body.get("message") if isinstance(body, dict) else None
        complaint = redact(said if isinstance(said, str) else f"{body or ''}"[:20_000], self.address.key)
        if 300 <= status < 400:
            place = redact(moved_to(problem.response.headers.get("location", "")), self.address.key)
            message = (
                f"{self.address.place} redirects to {place}, where no key is sent; give the right --base-url"
            )
            return Outcome(self._reply(Usage()), ModelError("rejected", message))
        param = getattr(problem, "param", None)
        full = redact(f"{body}"[:20_000], self.address.key)
        return self._refusal(status, complaint, code, (full, param if isinstance(param, str) else None),
                             retry_after(problem.response.headers))  # fmt: skip

    def _refusal(
        self,
        status: int,
        complaint: str,
        code: object,
        refused: tuple[str, str | None],
        wait: float | None = None,
    ) -> Outcome:
        address = self.address
        error = status_error(status, complaint, code, self.server.model, address.place, address.variable)
        simpler = can_be_simpler(status, code)
        return Outcome(self._reply(Usage()), error, status, wait, refused if simpler else None)

    def _failed(self, error: ModelError, most: Usage) -> Outcome:
        billed = error.kind in _BILLED
        return Outcome(self._reply(most if billed else Usage(), estimated=billed), error)

    def _malformed(self, what: str) -> ModelError:
        remedy = "check that --base-url is that of an OpenAI-compatible server (it usually ends in /v1)"
        return ModelError(
            "malformed", f"{self.address.place} answered with no chat completion ({what}); {remedy}"
        )

    def _of_answer(self, request: Request, dialect: Dialect, answer: Answer, most: Usage) -> Outcome:
        """The outcome of a chat completion: its text, or why that cannot be used."""
        key = self.address.key
        if not answer.choice and answer.code is not None:
            complaint = redact(answer.complaint, key)
            return self._refusal(answer.code, complaint, None, (complaint, None))
        text, thoughts = answer.text, answer.thoughts
        if (
            not text.strip()
            and _readable(thoughts, request)
            and (not answer.cut or _complete(thoughts, request))
        ):
            text, thoughts = thoughts, ""
        if key and len(key) >= _SHORTEST_SECRET:
            text = text.replace(key, "[key]")
        written = most.completion_tokens if answer.cut else estimate_text(answer.text + answer.thoughts)
        used = Usage(*answer.usage) if answer.usage else Usage(most.prompt_tokens, written)
        reply = self._reply(used, estimated=answer.usage is None, text=text, model=redact(answer.model, key))
        answer = replace(answer, text=text, thoughts=thoughts, refusal=redact(answer.refusal, key)[:200],
                         complaint=redact(answer.complaint, key))  # fmt: skip
        error = unusable(answer, self.server, complete=_complete(text, request))
        if error is None:
            constrained = dialect.lower() is not None
            return Outcome(reply, doubtful=constrained and not _readable(text, request))
        doubtful = error.kind in ("empty", "truncated") and not (answer.cut and thoughts.strip())
        return Outcome(reply, error, doubtful=doubtful, excerpt=text.strip())

    def _reply(self, used: Usage, *, estimated: bool = False, text: str = "", model: str = "") -> Reply:
        cost = self.budget.cost(used)
        name = model or (self.server.model if text else "")
        return Reply(text, name, used.prompt_tokens, used.completion_tokens, estimated, cost)


def _readable(text: str, request: Request) -> bool:
    """Whether the texts that were asked for can be read from ``text``."""
    try:
        read_reply(text, request.keys)
    except LareError:
        return False
    return True


def _complete(text: str, request: Request) -> bool:
    """Whether a text that was cut off had ended before, as where a grammar adds blanks up to the limit."""
    stripped = text.strip()
    if stripped.endswith("```") and stripped.count("```") > 1:
        return _readable(text, request)
    try:
        item = json.loads(stripped[max(stripped.find("{"), 0) :], strict=False)
    except (ValueError, RecursionError):
        return False
    return isinstance(item, dict) and request.keys[-1] in item and _readable(text, request)
