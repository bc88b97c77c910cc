"""A process that tries inputs and may die of them."""

import multiprocessing
import resource
import time
import traceback
from multiprocessing.connection import Connection
from pathlib import Path

FAILURES = ("crash", "hang", "traceback", "disagreement")
LONGEST = 20.0  # seconds that an input may take
_MEMORY = 6 << 30  # bytes of data; an input that needs more ends in a MemoryError, which is a traceback


class Worker:
    """The process, started again whenever an input has killed it. ``slowest`` is the longest time of an input."""

    def __init__(self, folder: Path):
        """Start the process, which writes to ``folder``."""
        self.folder, self.slowest = folder, 0.0
        self._start()

    def __enter__(self):
        """The worker itself."""
        return self

    def __exit__(self, *_):
        """Stop the process."""
        self._stop()

    def attempt(self, kind: str, data: bytes) -> tuple[str, str]:
        """How an input of a kind ends, ``accepted``, ``refused`` or one of ``FAILURES``, and why."""
        self._pipe.send((kind, data))
        start = time.monotonic()
        try:
            if not self._pipe.poll(LONGEST):
                self._restart()
                return "hang", f"no answer within {LONGEST} s"
            verdict, reason = self._pipe.recv()
        except (EOFError, ConnectionResetError):
            self._process.join()
            code = self._process.exitcode
            self._restart()
            return "crash", f"the process ended with status {code}"
        self.slowest = max(self.slowest, time.monotonic() - start)
        return verdict, reason

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, other = context.Pipe()
        self._process = context.Process(target=_serve, args=(other, self.folder))
        self._process.start()
        other.close()
        self._pipe.recv()  # it is ready

    def _stop(self) -> None:
        self._process.kill()
        self._process.join()
        self._pipe.close()

    def _restart(self) -> None:
        self._stop()
        self._start()


def _serve(pipe: Connection, folder: Path) -> None:
    from trials import TRIALS, DisagreementError

    from latent_reward.errors import LareError
    from latent_reward.sealing.lock.sandbox import Limits, run

    resource.setrlimit(resource.RLIMIT_DATA, (_MEMORY, _MEMORY))
    run(
        "builtins:len", [], Limits(wall_s=120)
    )  # starts the process that locked children come from, once for all
    pipe.send("ready")
    while True:
        kind, data = pipe.recv()
        try:
            TRIALS[kind](data, folder)
            answer = ("accepted", "")
        except LareError as error:
            answer = ("refused", str(error))
        except DisagreementError as error:
            answer = ("disagreement", str(error))
        except Exception as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            answer = ("traceback", f"{type(error).__name__} in {place.name}, {place.filename}:{place.lineno}")
        pipe.send(answer)
