"""Questions to a language model, its replies, and asking several questions in parallel."""

import math
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, wait
from dataclasses import dataclass
from typing import Literal

from latent_reward.errors import LareError, require_positive

KEYS = ("Understand", "Analyze", "Functions")
Failure = Literal[
    "refused",  # the model or a content filter declined
    "truncated",  # cut off at the limit of tokens
    "empty",  # no choice, or one without text
    "malformed",  # the server's answer is not a chat completion
    "unbounded",  # it is too large, or does not end
    "busy",  # 429
    "server",  # 5xx and 408, 409
    "timeout",
    "disconnected",
    "unreachable",
    "rejected",  # the request, the key or the model is wrong: a retry cannot help
]


@dataclass(frozen=True)
class Message:
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True)
class Request:
    """One question: a conversation so far, and which of several independent answers to it is meant.

    ``draw`` and ``index`` (of the candidate) distinguish answers to the same messages; a record never shares a
    reply between two of them. ``keys`` are the keys of the JSON object that the answer should be. ``purpose`` is
    only for the ledger and for messages.
    """

    messages: tuple[Message, ...]
    temperature: float | int = 1.0
    draw: int = 0
    index: int = 0
    purpose: str = "candidate"
    keys: tuple[str, ...] = KEYS

    def __post_init__(self):
        """Raise LareError for a temperature that no server accepts, or for no messages."""
        check_temperature(self.temperature)
        if not self.messages:
            raise LareError("messages: there are none; a request needs at least one")


def check_temperature(temperature: float | int) -> None:
    """Raise LareError unless the temperature is a number between 0 and 2."""
    if not (math.isfinite(temperature) and 0 <= temperature <= 2):
        raise LareError(f"temperature: {temperature} is outside 0 to 2; choose a number between")


@dataclass(frozen=True)
class Reply:
    """The text a model wrote, and its cost.

    ``model`` is the name the server reports. ``cost`` is in US dollars, None where no price is known.
    ``estimated``: the server reported no usage, and the token counts are an upper estimate.
    """

    text: str
    model: str
    prompt_tokens: int
    completion_tokens: int
    estimated: bool = False
    cost: float | None = None
    cached: bool = False


class ModelError(LareError):
    """No usable answer from the model: the kind of failure, and one line with the remedy."""

    def __init__(self, kind: Failure, message: str):
        """Keep the kind, so that a caller can count failures or change the question, and the message itself."""
        super().__init__(f"model: {message}")
        self.kind: Failure = kind
        self.said = message


Ask = Callable[[Request], Reply]


def ask_all(ask: Ask, requests: Sequence[Request], workers: int = 4) -> list[Reply | LareError]:
    """Ask all requests, ``workers`` (at least 1) at a time, and return the answers in their order.

    A failure is returned in its place, so that one lost candidate does not lose the others. Ctrl-C takes effect at
    once: the threads are daemons, so no thread waits for a slow server.
    """
    require_positive(workers=workers)
    places, stopped = threading.Semaphore(workers), threading.Event()

    def work(request: Request, future: Future[Reply | LareError]) -> None:
        with places:
            if stopped.is_set():
                return
            try:
                future.set_result(ask(request))
            except LareError as error:
                future.set_result(error)
            except BaseException as error:  # raised again in the caller's thread
                future.set_exception(error)

    futures: list[Future[Reply | LareError]] = [Future() for _ in requests]
    for pair in zip(requests, futures, strict=True):
        threading.Thread(target=work, args=pair, name="lare-ask", daemon=True).start()
    try:
        done, _ = wait(futures, return_when=FIRST_EXCEPTION)
        for future in done:
            future.result()
        return [future.result() for future in futures]
    finally:
        stopped.set()
