"""Seconds that `lare design` takes outside of the language model: five candidates, a merge, all checks and scores.

    python benchmarks/design_overhead.py [TASK] [--select merge] [--seconds-per-reply 0]

The model is a script on loopback that answers at once with the bundled encoders, through the real client. With
`--seconds-per-reply` it takes its time, as a model does; episodes are played meanwhile.
"""

import argparse
import http.server
import json
import resource
import tempfile
import threading
import time
from itertools import cycle
from typing import get_args

from latent_reward.design.dialogue import Select
from latent_reward.design.llm.client import Server
from latent_reward.design.make import design_encoder
from latent_reward.encoder.bundled import bundled_draws, bundled_folder


class Model(http.server.BaseHTTPRequestHandler):
    """Answers every request with the next of the replies."""

    replies = cycle([""])
    seconds = 0.0
    lock = threading.Lock()

    def do_POST(self):
        """One chat completion."""
        self.rfile.read(int(self.headers["Content-Length"]))
        time.sleep(self.seconds)
        with self.lock:
            message = {"role": "assistant", "content": next(self.replies)}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        body = json.dumps({"id": "1", "object": "chat.completion", "created": 0, "model": "script",
                           "choices": [choice]}).encode()  # fmt: skip
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Nothing."""


def main() -> None:
    """Print the seconds of one design, and those of them that the model took."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("task", nargs="?", default="HalfCheetah-v5")
    parser.add_argument("--select", default="merge", choices=get_args(Select))
    parser.add_argument("--seconds-per-reply", type=float, default=0.0)
    arguments = parser.parse_args()
    folders = [bundled_folder(arguments.task, draw) for draw in bundled_draws(arguments.task)]
    Model.replies = cycle([(folder / "reply.json").read_text("utf-8") for folder in folders])
    Model.seconds = arguments.seconds_per_reply
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Model)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        encoder = design_encoder(
            arguments.task,
            model=Server("script", url),
            out=f"{folder}/encoder",
            select=arguments.select,
            say=lambda text: print(f"{time.perf_counter() - start:6.2f} s  {text}"),
            on_judged=lambda each: print(f"{time.perf_counter() - start:6.2f} s  {each.name}: judged"),
        )
        total = time.perf_counter() - start
    processor = sum(resource.getrusage(who).ru_utime + resource.getrusage(who).ru_stime
                    for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))  # fmt: skip
    rounds = 2 if arguments.select == "merge" else 1
    model = rounds * arguments.seconds_per_reply
    print(f"{encoder!r}\n{total:.1f} s in all, {total - model:.1f} s outside the model; "
          f"{processor:.1f} s of processor time, start and imports included")  # fmt: skip
    server.shutdown()


if __name__ == "__main__":
    main()
