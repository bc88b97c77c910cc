"""Why a call failed, in one line with the option that helps: connections, and answers that hold nothing usable."""

import socket
import ssl
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from latent_reward.design.llm.answer import Answer
from latent_reward.design.llm.ask import ModelError
from latent_reward.design.llm.server import Address, Server


def connection_error(problem: Exception, server: Server, address: Address) -> ModelError:
    """The error for a connection that could not be made, broke, or stayed silent."""
    import openai

    place = address.place
    causes = list(_causes(problem))
    if isinstance(problem, openai.APIConnectionError):
        if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes):
            remedy = "correct --base-url, or name the authority of its certificate in SSL_CERT_FILE"
            return ModelError("rejected", f"the certificate of {place} is not valid for it; {remedy}")
        if any(isinstance(cause, ssl.SSLError) for cause in causes):
            message = f"{place} does not speak TLS; write http:// if the server is a local one"
            return ModelError("rejected", message)
        if any(isinstance(cause, socket.gaierror) for cause in causes):
            host = urlsplit(place).hostname
            return ModelError(
                "unreachable", f"there is no address for {host!r}; check --base-url and the network"
            )
        if any(type(cause).__name__ in ("ConnectError", "ConnectTimeout", "ProxyError") for cause in causes):
            message = f"cannot connect to {place}; is the server up, and is the base URL right?"
            return ModelError("unreachable", message)
        if isinstance(problem, openai.APITimeoutError):
            remedy = "give it more time with --timeout, or lower --max-tokens"
            return ModelError("timeout", f"{place} sent nothing for {server.timeout_s:g} s; {remedy}")
    return ModelError("disconnected", f"{place} broke the connection before it had answered; try again later")


def unusable(answer: Answer, server: Server, *, complete: bool) -> ModelError | None:
    """Why the text of an answer cannot be used, None if it can; ``complete``: all of it is there, though cut off."""
    name, limit = server.model, f"{server.max_tokens:,} tokens"
    if not answer.choice:
        detail = f" ({answer.complaint})" if answer.complaint else ""
        return ModelError("empty", f"{name} sent no choice{detail}; ask again or use another model")
    if answer.refusal or answer.filtered:
        said = answer.refusal or "stopped by a content filter"
        return ModelError("refused", f"{name} refused ({said}); rephrase the task or use another model")
    blank = not answer.text.strip()
    if answer.cut and not complete:
        if blank and answer.thoughts.strip():
            what = f"{name} spent all {limit} on thinking"
            remedy = "raise --max-tokens, or lower --reasoning-effort"
        elif blank:
            what, remedy = (
                f"{name} sent only blanks up to the limit of {limit}",
                "use another server or model",
            )
            remedy = "raise --max-tokens, or use another server or model"
        else:
            what, remedy = f"the answer of {name} was cut off at {limit}", "raise --max-tokens"
        return ModelError("truncated", f"{what}; {remedy}")
    if blank and answer.thoughts.strip():
        return ModelError(
            "empty",
            f"{name} only thought and sent no answer; lower --reasoning-effort (such as low or none), raise "
            "--max-tokens, or use another model",
        )
    if blank:
        return ModelError("empty", f"{name} sent an empty answer; ask again or use another model")
    return None


def _causes(error: BaseException | Any) -> Iterator[BaseException]:
    """An error and everything that led to it."""
    seen = 0
    while error is not None and seen < 20:
        yield error
        error, seen = error.__cause__ or error.__context__, seen + 1
