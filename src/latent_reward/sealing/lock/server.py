"""The warm process from which locked children start: it has imported JAX, which takes most of a check's time.

Run by :mod:`latent_reward.sealing.lock.sandbox` as ``python -I server.py``. For each request it forks a supervisor,
which forks the child that locks itself and works (:mod:`latent_reward.sealing.lock.locked`). The supervisor ends the
child when time is up or nobody waits any more. Nothing of a request reaches this process but open files and a
deadline, so nothing can pass from one child to the next.

To fork is safe while there is one thread. JAX starts its threads with its first computation, hence in the child.
"""

import contextlib
import gc
import importlib
import json
import os
import select
import signal
import socket
import struct
import sys
import time
import types
import warnings

DEADLINE = struct.Struct("d")  # seconds of the monotonic clock, which all processes of a machine share
FILES = 4  # request, reply, errors and the pipe for the child's status
STOPPED = "stopped"  # the status of a child that was out of time
IDLE_S = 300.0
_LOOK_EVERY_MS = 10


def use_package(folder: str, name: str) -> None:
    """Makes ``name`` importable without running its ``__init__``, which would load the trainers."""
    package = types.ModuleType(name)
    package.__path__ = [folder]
    sys.modules[name] = package


def warm(module_name: str) -> None:
    """Imports what the children need; ``prepare`` of that module may do more, but start no thread."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = importlib.import_module(module_name)
        getattr(module, "prepare", lambda: None)()
    gc.collect()
    gc.freeze()  # the pages of these objects stay shared with the children


def threads() -> int:
    """The threads of this process, as far as the system tells."""
    try:
        return len(os.listdir("/proc/self/task"))
    except OSError:
        return 1


def serve(requests: socket.socket) -> None:
    """Starts a supervisor for each request, until the other end closes or is idle for long."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # supervisors are not waited for
    requests.settimeout(IDLE_S)
    while True:
        try:
            message, files, _, _ = socket.recv_fds(requests, DEADLINE.size, FILES)
        except TimeoutError:
            return
        if len(message) < DEADLINE.size:
            return
        if os.fork() == 0:
            requests.close()
            _supervise(DEADLINE.unpack(message)[0], *files)
        for file in files:
            os.close(file)


def _supervise(deadline: float, request: int, reply: int, errors: int, status: int) -> None:
    """Starts the child and reports how it ended: its exit status, or ``STOPPED``. Never returns."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    child = os.fork()
    if child == 0:
        os.close(status)
        _become_child(request, reply, errors)
    reader_left = select.poll()
    reader_left.register(status, 0)  # reports an error once the other end is closed
    ended, code = os.waitpid(child, os.WNOHANG)
    while not ended and time.monotonic() < deadline and not reader_left.poll(_LOOK_EVERY_MS):
        ended, code = os.waitpid(child, os.WNOHANG)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child, signal.SIGKILL)  # the child leads a group of its own
    if not ended:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    said = str(os.waitstatus_to_exitcode(code)) if ended else STOPPED
    with contextlib.suppress(OSError):
        os.write(status, said.encode())
    os._exit(0)


def _become_child(request: int, reply: int, errors: int) -> None:
    """Takes the three files as its standard ones, closes all others, and works. Never returns."""
    try:
        os.setsid()
        for number, file in enumerate((request, reply, errors)):
            os.dup2(file, number)
        os.closerange(3, 256)
        from latent_reward.sealing.lock import locked

        locked.main()
    except BaseException as error:
        os.write(2, f"{type(error).__name__}: {error}".encode()[:1000])
    finally:
        os._exit(1)


def main() -> None:
    """Reads its set-up from the command line and serves the socket that is its standard input."""
    setup = json.loads(sys.argv[1])
    sys.path[:] = setup["path"]
    for name, folder in setup["packages"].items():
        use_package(folder, name)
    if setup["warm"]:
        warm(setup["warm"])
        if threads() > 1:  # a library has threads of its own: then each child imports for itself
            cold = json.dumps({**setup, "warm": None})
            os.execv(sys.executable, [sys.executable, "-I", "-B", __file__, cold])
    importlib.import_module("latent_reward.sealing.lock.locked")
    serve(socket.socket(fileno=0))


if __name__ == "__main__":
    main()
