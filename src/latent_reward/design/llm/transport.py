"""The HTTP client below the client library: bounded in size and time, and faithful to one server.

The library reads a body of any size for any time, follows redirects to other hosts and sends whatever headers the
environment names. Everything here is done in ``send``, the one public method through which it makes each request.
"""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

from latent_reward.design.llm.ask import ModelError
from latent_reward.errors import LareError

MAX_BYTES = 10_000_000  # an answer takes about 10,000
_MAX_HOPS = 5
# Sent to a server that is not the one OPENAI_API_KEY belongs to, beside those that the library uses itself. It adds
# what OPENAI_ORG_ID, OPENAI_PROJECT_ID and OPENAI_CUSTOM_HEADERS hold, which is nobody else's business.
_OWN = "x-stainless-"
_HEADERS = ("host", "accept", "authorization", "connection", "content-type", "content-length", "user-agent")
_CHANGED = ("content-encoding", "content-length", "transfer-encoding")

Result = TypeVar("Result")


def http_client(total_s: float | int, *, patience: Any, all_headers: bool) -> Any:
    """A client for ``openai.OpenAI(http_client=…)``.

    ``total_s`` is the most that a response may take, ``patience`` the time-outs of the library; ``all_headers``: send
    also the headers that the environment adds. Raises LareError for a proxy in the environment that cannot be used.
    """
    import openai

    class Client(openai.DefaultHttpxClient):
        def send(self, request: Any, *, stream: bool = False, **settings: Any) -> Any:
            """The whole response; redirects are followed at the same origin only."""
            end = time.monotonic() + total_s
            if not all_headers:
                for name in list(request.headers):
                    if name.lower() not in _HEADERS and not name.lower().startswith(_OWN):
                        del request.headers[name]
            request.headers["Accept-Encoding"] = "identity"  # there is no bomb in what is not compressed
            settings["follow_redirects"] = False
            for _ in range(_MAX_HOPS):
                response = super().send(request, stream=True, **settings)
                following = response.next_request
                if following is None or not _same_origin(following, request):
                    return _whole(response, end)
                response.close()
                request = following
            raise ModelError("rejected", "the server redirects in circles; give the right --base-url")

    try:
        return Client(timeout=patience)
    except (ValueError, ImportError) as error:
        raise LareError(
            f"proxy: the one in the environment cannot be used ({type(error).__name__}); correct HTTP_PROXY, "
            "HTTPS_PROXY or ALL_PROXY, or unset them"
        ) from None


def within(seconds: float | int, work: Callable[[], Result]) -> Result:
    """What ``work`` returns or raises; ModelError if it has not ended in time, and it goes on in a daemon thread.

    Time-outs of the library count from byte to byte, and a server that sends one now and then never meets them.
    """
    future: Future[Result] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # raised again in the caller's thread
            future.set_exception(error)

    threading.Thread(target=run, name="lare-call", daemon=True).start()
    try:
        return future.result(seconds)
    except TimeoutError:
        if future.done():
            raise
        raise _endless(seconds) from None


def moved_to(location: str) -> str:
    """Where a redirect points, without what may be secret in it."""
    try:
        parts = urlsplit(location)
        return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
    except ValueError:
        return "another place"


def _whole(response: Any, end: float) -> Any:
    """The response with its body, decoded; ModelError if that is too large or too slow."""
    if "," in response.headers.get("content-encoding", ""):
        response.close()
        raise ModelError("malformed", "the server compressed its answer twice; use another server")
    body = bytearray()
    try:
        for chunk in response.iter_bytes():
            body += chunk
            if len(body) > MAX_BYTES:
                raise ModelError(
                    "unbounded",
                    f"the server sent more than {MAX_BYTES // 1_000_000} MB for one answer; check --base-url, or use "
                    "another server",
                )
            if time.monotonic() > end:
                raise _endless(None)
    finally:
        response.close()
    headers = [pair for pair in response.headers.multi_items() if pair[0].lower() not in _CHANGED]
    return type(response)(
        response.status_code, headers=headers, content=bytes(body), request=response.request
    )


def _endless(seconds: float | int | None) -> ModelError:
    after = "in time" if seconds is None else f"within {seconds:g} s"
    return ModelError(
        "unbounded",
        f"the server did not end its answer {after}; give it more time with --timeout, lower --max-tokens, or use "
        "another server",
    )


def _same_origin(following: Any, request: Any) -> bool:
    """Whether a redirect stays on the server and keeps the method; one that turns POST into GET leads nowhere."""
    one, other = following.url, request.url
    kept = following.method == request.method
    return kept and (one.scheme, one.host, one.port) == (other.scheme, other.host, other.port)
