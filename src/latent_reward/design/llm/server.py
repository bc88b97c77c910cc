"""Which model on which server: the settings, and the address and key that they stand for."""

import ipaddress
import math
import os
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from latent_reward.design.llm.wire import printable
from latent_reward.errors import LareError, require_positive

KEY_VARIABLE = "OPENAI_API_KEY"
URL_VARIABLE = "OPENAI_BASE_URL"
OPENAI = "https://api.openai.com/v1"


@dataclass(frozen=True)
class Server:
    """A model and the server that has it.

    Without ``base_url`` it is the one in ``OPENAI_BASE_URL``, or OpenAI, and the key is in ``OPENAI_API_KEY``. Any
    other server gets a key only from the variable that ``key_variable`` names, so that the key of one provider
    never reaches another. ``max_tokens`` limits the length of an answer, thoughts included. ``timeout_s`` limits the
    time without data; an answer that has not ended after four times as long is given up. ``reasoning_effort`` is
    passed on as it is (``low``, ``high``, …), and left out where the server refuses it.
    """

    model: str
    base_url: str | None = None
    key_variable: str | None = None
    max_tokens: int = 4096
    timeout_s: float | int = 300
    reasoning_effort: str | None = None

    def __post_init__(self):
        """Raise LareError for settings that cannot work with any server."""
        if not self.model.strip():
            raise LareError("model: the name is empty; give the name the server knows the model by")
        for name in ("model", "reasoning_effort"):
            value = getattr(self, name)
            if value is not None and (not value.isprintable() or printable(value) != value):
                raise LareError(f"{name}: {value!r} has characters that cannot be printed; leave them out")
        if self.reasoning_effort is not None and not self.reasoning_effort.strip():
            raise LareError("reasoning_effort: it is empty; give one such as low, or leave it out")
        require_positive(max_tokens=self.max_tokens)
        if not (math.isfinite(self.timeout_s) and self.timeout_s > 0):
            raise LareError(f"timeout_s: {self.timeout_s} is not a positive number of seconds; give one")


@dataclass(frozen=True)
class Address:
    """The base URL of a server, its key, and the environment variable that holds the key."""

    place: str
    key: str | None = field(repr=False)
    variable: str | None

    @property
    def exposed(self) -> bool:
        """Whether the key travels unencrypted to another machine."""
        parts = urlsplit(self.place)
        return self.key is not None and parts.scheme == "http" and not _loopback(parts.hostname or "")


def address_of(server: Server) -> Address:
    """The address and the key; LareError for a URL or a key that cannot be used, without quoting a secret."""
    place = server.base_url or os.environ.get(URL_VARIABLE) or OPENAI
    if any(sign in place for sign in "@?#"):
        raise LareError(
            "base_url: it holds a user, password, query or fragment; put the key into an environment variable "
            "and name that with --key-variable"
        )
    if not _usable(place):
        raise LareError(f"base_url: {place!r} is not a URL; give one such as http://localhost:8000/v1")
    place, variable = place.rstrip("/"), server.key_variable
    if variable is None and (server.base_url is None or place == OPENAI):
        variable = KEY_VARIABLE
    if variable is not None and not variable.isidentifier():
        # What was given may be the key itself, so it is not repeated.
        raise LareError(
            "key_variable: this is not the name of an environment variable; put the key into a variable, and give "
            "the name of that"
        )
    key = os.environ.get(variable, "").strip() if variable else ""
    if not key and (server.key_variable or place == OPENAI):
        raise LareError(
            f"key: the environment variable {variable} is not set; put the key for {place} into it"
        )
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise LareError(f"key: {variable} holds blanks or characters that no key has; copy the key again")
    return Address(place, key or None, variable)


def _usable(place: str) -> bool:
    try:
        parts = urlsplit(place)
        named = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    return named and place.isprintable() and " " not in place


def _loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
