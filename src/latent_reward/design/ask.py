"""What is asked of a language model, what comes back, and how many questions are asked at once."""

import math
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from latent_reward.errors import LareError

KEYS = ("Understand", "Analyze", "Functions")
Kind = Literal[
    "refused",  # the model or a content filter declined
    "truncated",  # cut off at the limit of tokens
    "empty",  # no choice, or one without text
    "malformed",  # the server's answer is not a chat completion
    "busy",  # 429
    "server",  # 5xx and 408, 409
    "timeout",
    "disconnected",
    "unreachable",
    "rejected",  # the request, the key or the model is wrong: asking again cannot help
]


@dataclass(frozen=True)
class Message:
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True)
class Request:
    """One question: a conversation so far, and which answer to it is wanted.

    ``draw`` and ``index`` (which candidate) tell apart answers to the same messages; a record never shares a
    reply between two of them. ``keys`` are the texts of the JSON object that the answer should be. The
    ``purpose`` is a word for the ledger and for messages and changes nothing else.
    """

    messages: tuple[Message, ...]
    temperature: float | int = 1.0
    draw: int = 0
    index: int = 0
    purpose: str = "candidate"
    keys: tuple[str, ...] = KEYS

    def __post_init__(self):
        """Raises LareError for a temperature no server takes, or for no messages."""
        if not (math.isfinite(self.temperature) and 0 <= self.temperature <= 2):
            raise LareError(f"temperature: {self.temperature} is outside 0 to 2; give one between them")
        if not self.messages:
            raise LareError("messages: there are none; a request needs at least one")


@dataclass(frozen=True)
class Reply:
    """The text a model wrote, and what it took.

    ``model`` is the name the server reports. ``cost`` is in US dollars, None where no price is known.
    ``estimated`` says that the server reported no usage and the tokens are an upper estimate.
    """

    text: str
    model: str
    prompt_tokens: int
    completion_tokens: int
    estimated: bool = False
    cost: float | None = None
    cached: bool = False


class ModelError(LareError):
    """No usable answer from the model: what kind of failure, and one line with the remedy."""

    def __init__(self, kind: Kind, message: str):
        """Keep the kind, so that a caller can count failures or ask in other words."""
        super().__init__(message)
        self.kind: Kind = kind


Ask = Callable[[Request], Reply]


def ask_all(ask: Ask, requests: Sequence[Request], workers: int = 4) -> list[Reply | LareError]:
    """Asks all requests, ``workers`` at a time, and returns the answers in their order.

    A failure is returned in its place, so that one lost candidate does not take the others with it. Ctrl-C
    leaves at once: the threads are daemons, nobody waits for a slow server.

    Raises:
        LareError: ``workers`` is below 1.
    """
    if workers < 1:
        raise LareError(f"workers: {workers} is below 1; ask at least one question at a time")
    waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
    answered: queue.SimpleQueue[tuple[int, Reply | BaseException]] = queue.SimpleQueue()
    left = threading.Event()

    def work() -> None:
        while not left.is_set():
            try:
                place = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                answered.put((place, ask(requests[place])))
            except BaseException as error:  # raised again where the caller waits, if it is not a failed call
                answered.put((place, error))

    for place in range(len(requests)):
        waiting.put(place)
    for _ in range(min(workers, len(requests))):
        threading.Thread(target=work, name="lare-ask", daemon=True).start()
    answers: dict[int, Reply | LareError] = {}
    try:
        while len(answers) < len(requests):
            place, answer = answered.get()
            if isinstance(answer, BaseException) and not isinstance(answer, LareError):
                raise answer
            answers[place] = answer
    finally:
        left.set()
    return [answers[place] for place in range(len(requests))]
