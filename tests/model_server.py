"""A model server on loopback whose every answer a test writes.

    with serve(reply("..."), status(429, "slow down", {"Retry-After": "3"})) as server:
        ask = connect(Server("some-model", server.url))

Each request takes the next behaviour of the script; the last one is repeated. A behaviour is a function of the
request's body that returns what to do, so a test can also answer by what it was asked.
"""

import contextlib
import http.server
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

HELLO = '{"Functions": "hello"}'  # the shortest text with a source in it


@dataclass(frozen=True)
class Answer:
    """One HTTP answer; ``cut`` closes the line after so many bytes of the body, ``delay`` waits first.

    A ``body`` of bytes or text is sent as it is, anything else as JSON. ``endless``: the body is sent again and again
    with so many seconds between, until the client hangs up.
    """

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    cut: int | None = None
    endless: float | None = None


Behaviour = Answer | Callable[[dict], Answer]


def reply(
    content: Any,
    *,
    usage: Any = (100, 50),
    finish_reason: str = "stop",
    refusal: str | None = None,
    model: str = "served-model",
    delay: float = 0.0,
    cut: int | None = None,
    **more: Any,
) -> Answer:
    """A chat completion with this text; ``more`` goes into the message."""
    message = {"role": "assistant", "content": content, "refusal": refusal, **more}
    body = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 0,
        "model": model,
        "choices": [{"index": 0, "message": message, "finish_reason": finish_reason}],
    }
    if isinstance(usage, tuple):
        body["usage"] = {
            "prompt_tokens": usage[0], "completion_tokens": usage[1], "total_tokens": sum(usage),
        }  # fmt: skip
    elif usage is not None:
        body["usage"] = usage
    return Answer(body=body, delay=delay, cut=cut)


def encoder_reply(
    source: str, understand: str = "A task.", analyze: str = "Good and bad.", **options
) -> Answer:
    """A chat completion with the JSON object that an encoder's reply is."""
    texts = {"Understand": understand, "Analyze": analyze, "Functions": source}
    return reply(json.dumps(texts), **options)


def status(number: int, message: str = "", headers: dict[str, str] | None = None, **error: Any) -> Answer:
    """An error in OpenAI's form."""
    return Answer(number, {"error": {"message": message, **error}}, headers or {})


class ModelServer:
    """The requests it was sent (bodies, and headers in lower case), and the address."""

    def __init__(self, script: tuple[Behaviour, ...]):
        self.script = script
        self.requests: list[dict] = []
        self.headers: list[dict[str, str]] = []
        self.most_at_once = 0
        self._busy = 0
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._http = _Http(("127.0.0.1", 0), _handler(self))
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}/v1"

    def next_answer(self, path: str, body: dict, headers: dict[str, str]) -> Answer:
        if path != "/v1/chat/completions":
            return status(404, f"no such path: {path}")
        with self._lock:
            behaviour = self.script[min(len(self.requests), len(self.script) - 1)]
            self.requests.append(body)
            self.headers.append(headers)
        return behaviour if isinstance(behaviour, Answer) else behaviour(body)

    @contextlib.contextmanager
    def counted(self) -> Iterator[None]:
        with self._lock:
            self._busy += 1
            self.most_at_once = max(self.most_at_once, self._busy)
        try:
            yield
        finally:
            with self._lock:
                self._busy -= 1

    @property
    def stopped(self) -> bool:
        """Whether the test is over."""
        return self._stopped.is_set()

    def wait(self, seconds: float) -> None:
        """Wait, but not beyond the end of the test."""
        self._stopped.wait(seconds)

    def __enter__(self) -> "ModelServer":
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._stopped.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


def serve(*script: Behaviour) -> ModelServer:
    """A server for a ``with`` block that answers by the script."""
    return ModelServer(script)


class _Http(http.server.ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request, client_address):
        """A client that hangs up is part of the play."""


def _handler(server: ModelServer):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            headers = {name.lower(): value for name, value in self.headers.items()}
            with server.counted():
                answer = server.next_answer(self.path, body, headers)
                if answer.delay:
                    server.wait(answer.delay)
            content = answer.body
            if not isinstance(content, bytes):
                content = (content if isinstance(content, str) else json.dumps(content)).encode()
            self.send_response(answer.status)
            headers = {"Content-Type": "application/json", **answer.headers}
            if answer.endless is None:
                headers["Content-Length"] = str(len(content))
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content if answer.cut is None else content[: answer.cut])
            while answer.endless is not None and not server.stopped:
                server.wait(answer.endless)
                self.wfile.write(content)

        def log_message(self, *_):
            """Tests print what they need."""

    return Handler
