"""The cost of calls, and a limit that is never exceeded: reserve before a call, settle after it."""

import math
import os
import re
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import pydantic

from latent_reward.design.llm.ask import Message, Reply, Request
from latent_reward.errors import LareError, disk_errors
from latent_reward.files import to_json
from latent_reward.reading import parse_yaml, read_text, validated

PRICES_VARIABLE = "LARE_PRICES"
_PRICES = Path(__file__).with_name("prices.yaml")
_SNAPSHOT = re.compile(r"-\d{4}-\d{2}-\d{2}$")
_Dollars = Annotated[float, pydantic.Field(ge=0, lt=1e6, allow_inf_nan=False)]


@pydantic.dataclasses.dataclass(frozen=True, config=pydantic.ConfigDict(extra="forbid"))
class Price:
    """US dollars per million tokens."""

    input: _Dollars
    output: _Dollars


@dataclass(frozen=True)
class Usage:
    """Tokens of prompts and completions, and the number of ``calls`` that used them."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    calls: int = 0

    @property
    def tokens(self) -> int:
        """Prompt and completion tokens together."""
        return self.prompt_tokens + self.completion_tokens

    def plus(self, other: "Usage", sign: int = 1) -> "Usage":
        """The sum, or with ``sign=-1`` the difference."""
        return Usage(**{name: value + sign * getattr(other, name) for name, value in asdict(self).items()})


class BudgetError(LareError):
    """The next call could exceed a limit, so it is not made."""


class Budget:
    """Limits on the tokens and the money of all calls together; safe to share between threads.

    A call reserves the most it can use and afterwards settles what it did use. A reservation that does not fit only
    because of other calls in flight waits for them.
    """

    def __init__(
        self, tokens: int | None = None, dollars: float | int | None = None, price: Price | None = None
    ):
        """None means no limit. LareError if a limit is not a number from 0 on, or money is limited without a price."""
        for name, limit in (("tokens", tokens), ("dollars", dollars)):
            if limit is not None and not (math.isfinite(limit) and limit >= 0):
                raise LareError(f"{name}: the limit {limit} is not a number of at least 0; correct it")
        if dollars is not None and price is None:
            raise LareError(
                f"dollars: a limit in money needs the model's price, which no table has; add it to a file "
                f"(`NAME: {{input: 2.5, output: 10}}`, US dollars per million tokens, 0 for a local model) "
                f"and name the file in {PRICES_VARIABLE}"
            )
        self.tokens, self.dollars, self.price = tokens, dollars, price
        self.used = Usage()
        self._reserved = Usage()
        self._changed = threading.Condition()

    def reserve(self, most: Usage) -> None:
        """Reserve ``most`` for one call, or raise BudgetError; every reservation must be settled."""
        with self._changed:
            while self._exceeds(self.used.plus(self._reserved).plus(most)):
                reason = self._exceeds(self.used.plus(most))
                if reason:
                    raise BudgetError(reason)
                self._changed.wait()
            self._reserved = self._reserved.plus(most)

    def settle(self, most: Usage, used: Usage) -> None:
        """Release a reservation and count what was used instead."""
        with self._changed:
            self._reserved = self._reserved.plus(most, -1)
            self.used = self.used.plus(used)
            self._changed.notify_all()

    def cost(self, usage: Usage) -> float | None:
        """The cost of ``usage`` in US dollars, None without a price."""
        if self.price is None:
            return None
        return (self.price.input * usage.prompt_tokens + self.price.output * usage.completion_tokens) / 1e6

    def _exceeds(self, after: Usage) -> str | None:
        cost = self.cost(after) or 0.0
        if self.tokens is not None and after.tokens > self.tokens:
            return (
                f"tokens: the next call could use {after.tokens - self.used.tokens:,} tokens, but "
                f"{self.tokens - self.used.tokens:,} of {self.tokens:,} are left; raise the limit of tokens, "
                "lower --max-tokens or ask for fewer candidates"
            )
        if self.dollars is not None and cost > self.dollars:
            spent = self.cost(self.used) or 0.0
            return (
                f"dollars: the next call could cost {cost - spent:.4f} $, but {self.dollars - spent:.4f} of "
                f"{self.dollars:g} $ are left; raise the limit of money or choose a cheaper model"
            )
        return None


def estimate(messages: Sequence[Message], keys: Sequence[str] = ()) -> int:
    """An upper estimate of the tokens of a prompt: one per two bytes, plus what a server adds to each message.

    Common tokenizers need one token per three to four characters of English or code.
    """
    return (
        64 + sum(16 + estimate_text(each.content) for each in messages) + sum(16 + len(key) for key in keys)
    )


def estimate_text(text: str) -> int:
    """An upper estimate of the tokens of a text: one per two bytes."""
    return -(-len(text.encode("utf-8", "replace")) // 2)


def price_of(model: str, path: Path | None = None) -> Price | None:
    """The price of a model: from ``path`` or the file that ``LARE_PRICES`` names, else from the package's table.

    A dated name (``gpt-4o-2024-08-06``) without a row has the price of the undated one. Raises LareError for a table
    that cannot be read or has a row that is not a price.
    """
    named = path or os.environ.get(PRICES_VARIABLE)
    for table in ([_read_prices(Path(named))] if named else []) + [_read_prices(_PRICES)]:
        for name in (model, _SNAPSHOT.sub("", model)):
            if name in table:
                return table[name]
    return None


def _read_prices(path: Path) -> dict[str, Price]:
    try:
        return validated(dict[str, Price], parse_yaml(read_text(path), str(path)) or {}, "it", "correct it")
    except LareError as error:
        raise LareError(
            f"prices: {path} is not a table of prices ({str(error).partition(';')[0]}); write one row per model, "
            "`NAME: {input: 2.5, output: 10}`, in US dollars per million tokens"
        ) from None


class Ledger:
    """A file with one JSON line per call; safe to share between threads. LareError if it cannot be written."""

    def __init__(self, path: Path):
        """Append to ``path``, whose folder is created if necessary. What is there is kept and never read."""
        self.path = path
        self._lock = threading.Lock()
        if path.exists() and not path.is_file():
            raise LareError(f"ledger: {path} is no file; remove it, or choose another folder")
        with disk_errors(f"ledger: cannot write {path}", "choose another folder"):
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("ab+") as file:
                # A last line that was cut off, as when the disk was full, stays a line of its own.
                if file.tell() and file.seek(-1, os.SEEK_END) is not None and file.read(1) != b"\n":
                    file.write(b"\n")

    def write(self, request: Request, model: str, reply: Reply, outcome: str, **more: Any) -> None:
        """Add one line: the time, the question, the model, what the answer cost, and ``more``."""
        asked = {name: getattr(request, name) for name in ("purpose", "draw", "index")}
        names = ("prompt_tokens", "completion_tokens", "estimated", "cost", "cached")
        cost = {name: getattr(reply, name) for name in names}
        time = datetime.now(UTC).isoformat(timespec="milliseconds")
        entry = {"time": time, **asked, "model": model, **cost, "outcome": outcome, **more}
        with (
            disk_errors(f"ledger: cannot write {self.path}", "make room"),
            self._lock,
            self.path.open("a", encoding="utf-8") as file,
        ):
            file.write(to_json(entry) + "\n")
