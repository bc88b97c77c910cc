"""Check the way from a question to a recorded reply against a model server that is running, or start one.

    python scripts/local_model.py --model NAME --base-url http://localhost:8080/v1
    python scripts/local_model.py --gguf FILE.gguf [--python INTERPRETER_WITH_XLLAMACPP]

It asks for two small objects side by side, then shows which form of answer the server takes, the tokens it
reports, what could be read, that a replay gives the same texts, and that a limit stops the next call. A tiny
model may well write nothing readable; that is shown and is no failure of the way.
"""

import argparse
import contextlib
import json
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from latent_reward.design.llm.ask import Message, Reply, Request, ask_all
from latent_reward.design.llm.budget import Budget, BudgetError, Ledger, Price
from latent_reward.design.llm.client import Server, connect
from latent_reward.design.llm.record import recorded
from latent_reward.design.reply import read_reply
from latent_reward.errors import LareError

QUESTION = (
    "Answer with a JSON object with the texts Understand, Analyze and Functions. Functions holds a short Python "
    "function `evaluation_func(observation, action)` that returns [observation[:, 0:1]]."
)

SERVER = """
import signal, sys, xllamacpp
settings = xllamacpp.CommonParams()
settings.model.path, settings.hostnames, settings.port = sys.argv[1], ["127.0.0.1"], int(sys.argv[2])
settings.n_ctx, settings.n_parallel, settings.cpuparams.n_threads = 4096, 2, 1
server = xllamacpp.Server(settings)
signal.pause()
"""


@contextlib.contextmanager
def llama_server(python: str, gguf: Path, patience_s: float = 120) -> Iterator[str]:
    """llama.cpp's server on loopback, from the package xllamacpp; yields its base URL once it answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}/v1"
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen([python, "-c", SERVER, str(gguf), str(port)], stdout=log, stderr=log)
        try:
            end = time.monotonic() + patience_s
            while not answers(url):
                if process.poll() is not None or time.monotonic() > end:
                    log.seek(0)
                    raise SystemExit(f"the server did not start:\n{log.read()[-2000:]}")
                time.sleep(0.5)
            yield url
        finally:
            process.terminate()
            process.wait()


def answers(url: str) -> bool:
    """Whether a server lists its models."""
    try:
        with urllib.request.urlopen(f"{url}/models", timeout=5) as response:
            return response.status == 200
    except (urllib.error.URLError, OSError):
        return False


def check(server: Server, folder: Path) -> None:
    """Asks, reads, replays and stops; prints what happened. Raises if the way is broken."""
    ledger = Ledger(folder / "ledger.jsonl")
    budget = Budget(tokens=100_000, price=Price(0, 0))
    requests = [Request((Message("user", QUESTION),), index=index) for index in range(2)]
    ask = recorded(connect(server, budget, ledger), server.model, folder / "record", ledger=ledger)
    replies = ask_all(ask, requests, workers=2)
    for entry in map(json.loads, ledger.path.read_text("utf-8").splitlines()):
        print(json.dumps(entry))
    for reply in replies:
        print(outcome(reply))
    texts = [reply.text for reply in replies if isinstance(reply, Reply)]
    if not texts:
        raise SystemExit("no reply")
    replay = recorded(None, server.model, folder / "record")
    kept = [request for request, reply in zip(requests, replies, strict=True) if isinstance(reply, Reply)]
    assert [replay(request).text for request in kept] == texts
    print(f"replay: {len(texts)} of {len(requests)} replies, the same texts")
    before = budget.used
    try:
        connect(server, Budget(tokens=server.max_tokens), ledger)(requests[0])
    except BudgetError as stopped:
        print(f"limit: {stopped}")
    else:
        raise SystemExit("the limit did not stop the call")
    print(f"used: {before}")


def outcome(reply: Reply | LareError) -> str:
    """One line about a reply: what could be read of it."""
    if isinstance(reply, LareError):
        return f"failed: {reply}"
    try:
        return f"read: {read_reply(reply.text)['Functions']!r}"
    except LareError as unread:
        return f"not read: {unread}"


def main() -> None:
    """Parse the words and check."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="local")
    parser.add_argument("--base-url")
    parser.add_argument("--key-variable")
    parser.add_argument("--gguf", type=Path)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--max-tokens", type=int, default=300)
    words = parser.parse_args()
    if (words.base_url is None) == (words.gguf is None):
        parser.error("give --base-url or --gguf")
    start = (
        contextlib.nullcontext(words.base_url)
        if words.gguf is None
        else llama_server(words.python, words.gguf)
    )
    with start as url, tempfile.TemporaryDirectory() as folder:
        check(Server(words.model, url, words.key_variable, words.max_tokens), Path(folder))


if __name__ == "__main__":
    main()
