"""Run one function in a process that can neither read, write, connect nor last.

The parent's half: it keeps one warm process (:mod:`latent_reward.sealing.lock.server`) with an empty environment in
an empty folder, from which each call gets a child of its own, and it treats the child's reply as hostile: bounded
in size, parsed as JSON, nothing else.
"""

import atexit
import importlib.util
import json
import os
import select
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from latent_reward.errors import LareError
from latent_reward.sealing.lock.server import DEADLINE, STOPPED

_SERVER = Path(__file__).with_name("server.py")
_PACKAGE = _SERVER.parents[2]
_WARM = "latent_reward.sealing.examine"  # the worker that most calls name
_LIBRARIES = ("jax", "jaxlib", "numpy", "ml_dtypes", "opt_einsum", "scipy", "jaxtyping", "flatbuffers")
_SYSTEM = (
    "/lib", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache", "/proc/self", "/proc/cpuinfo",
    "/proc/meminfo", "/proc/stat", "/sys/devices/system/cpu", "/sys/devices/system/node", "/sys/fs/cgroup",
    "/dev/null", "/dev/urandom",
)  # fmt: skip
_ENVIRONMENT = {
    "LC_ALL": "C.UTF-8",
    "JAX_PLATFORMS": "cpu",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "NPROC": "1",  # XLA's pools have one thread each, however many cores there are
    "TF_CPP_MIN_LOG_LEVEL": "3",
    # The checks run a program five times: compiling it quickly matters, running it fast does not.
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false --xla_backend_optimization_level=0",
}


@dataclass(frozen=True)
class Limits:
    """What a child may use: wall-clock and processor seconds, megabytes of memory and of reply.

    The wall clock runs from the call, so it includes the start of the first child's parent.
    """

    wall_s: float | int = 17
    cpu_s: int = 15
    memory_mb: int = 2048
    reply_mb: int = 8


@dataclass(frozen=True)
class Outcome:
    """What a locked child returned, and which locks this system could not give it."""

    result: Any
    warnings: tuple[str, ...]


def run(worker: str, payload: Any, limits: Limits | None = None) -> Outcome:
    """Calls ``worker`` (``"module:function"``) on ``payload`` in a locked child and returns what it returned.

    The name of the worker is always written in this package's own code; only the payload may come from
    outside. If the worker's module has a function ``warm_up``, it is called before the last lock closes. Calls may be
    made from several threads at once.

    Raises:
        LareError: the child raised, ran out of time or memory, or replied with nothing readable.
    """
    if not hasattr(os, "fork"):
        raise LareError("sealing: this system cannot lock a process; seal on Linux or macOS")
    limits = limits or Limits()
    deadline = time.monotonic() + limits.wall_s
    work = {
        "worker": worker,
        "limits": asdict(limits),
        "path": _import_path(),
        "readable": _readable_paths(),
    }
    # Files, not pipes: a resource limit bounds their size, and no reader can be blocked or flooded.
    with (
        tempfile.TemporaryFile() as request,
        tempfile.TemporaryFile() as reply,
        tempfile.TemporaryFile() as errors,
    ):
        request.write(f"{json.dumps(work)}\n{json.dumps(payload)}".encode())
        request.seek(0)
        status = _status_of_child(deadline, [request.fileno(), reply.fileno(), errors.fileno()])
        return _read_reply(status, _contents(reply, limits), _contents(errors, limits), limits)


# --- the warm process ---


class _Server:
    """The process from which children start, and its end of the socket over which they are asked for."""

    def __init__(self):
        self.owner = os.getpid()
        self.folder = tempfile.TemporaryDirectory(prefix="lare-")
        self.log = tempfile.TemporaryFile()  # noqa: SIM115  (closed in `end`)
        self.requests, theirs = socket.socketpair()
        setup = {
            "path": _import_path(),
            "packages": {"latent_reward": str(_PACKAGE)},
            "warm": _WARM if sys.platform == "linux" else None,  # elsewhere libraries may not survive a fork
        }
        command = [sys.executable, "-I", "-B", str(_SERVER), json.dumps(setup)]
        environment = {"HOME": self.folder.name, "TMPDIR": self.folder.name, **_ENVIRONMENT}
        self.process = subprocess.Popen(command, stdin=theirs.fileno(), stdout=self.log, stderr=self.log,
                                        cwd=self.folder.name, env=environment, start_new_session=True)  # fmt: skip
        theirs.close()

    def status_of_child(self, deadline: float, files: list[int]) -> str:
        """Starts a child with these files and returns its exit status, ``"stopped"``, or nothing."""
        reader, writer = os.pipe()
        try:
            try:
                socket.send_fds(self.requests, [DEADLINE.pack(deadline)], [*files, writer])
            except OSError:
                return ""
            finally:
                os.close(writer)
            patience = max(0.0, deadline - time.monotonic()) + _GRACE_S
            answered, _, _ = select.select([reader], [], [], patience)
            return os.read(reader, 64).decode("ascii", "replace") if answered else STOPPED
        finally:
            os.close(reader)

    def last_words(self) -> str:
        """The last line that the process wrote."""
        self.log.seek(0)
        lines = self.log.read(1 << 16).decode("utf-8", "replace").strip().splitlines()
        return lines[-1][:500] if lines else "it wrote no message"

    def end(self) -> None:
        """Ends the process; it has no children that anybody waits for."""
        self.requests.close()
        if self.owner == os.getpid():  # else it belongs to the process that this one was forked from
            self.process.kill()
            self.process.wait()
            self.folder.cleanup()
        self.log.close()


_GRACE_S = 2.0
_servers: list[_Server] = []  # none or one
_servers_change = threading.Lock()


def _server() -> _Server:
    """The warm process, started if there is none."""
    with _servers_change:
        if _servers and _servers[0].owner != os.getpid():
            _servers.pop().end()
        if not _servers:
            _servers.append(_Server())
        return _servers[0]


def _discard(server: _Server) -> None:
    with _servers_change:
        if server in _servers:
            _servers.remove(server)
            server.end()


@atexit.register
def end() -> None:
    """Ends the warm process, if there is one; the next call starts another."""
    for server in list(_servers):
        _discard(server)


def _status_of_child(deadline: float, files: list[int]) -> str:
    """How a child that works on these files ended. A server that is gone (it ends when idle) is replaced once."""
    server = _server()
    status = server.status_of_child(deadline, files)
    if not status:
        _discard(server)
        server = _server()
        status = server.status_of_child(deadline, files)
    if not status:
        words = server.last_words()
        _discard(server)
        raise LareError(f"the locked process could not be started: {words}")
    return status


# --- the reply ---


def _contents(file, limits: Limits) -> str:
    file.seek(0)
    return file.read(limits.reply_mb << 20).decode("utf-8", "replace")


def _read_reply(status: str, text: str, errors: str, limits: Limits) -> Outcome:
    problems = {
        STOPPED: f"was stopped after {limits.wall_s:g} s; {_SHORTER}",
        str(-signal.SIGXCPU): f"used its {limits.cpu_s} s of processor time; {_SHORTER}",
        str(-signal.SIGKILL): f"was killed, for want of memory or processor time; {_SHORTER}",
    }
    if status in problems:
        raise LareError(f"the locked process {problems[status]}")
    try:
        answer = json.loads(text)
        warnings = tuple(str(warning)[:300] for warning in answer["warnings"][:4])
        error, result = answer.get("error"), answer.get("result")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        last = (errors.strip().splitlines() or ["it wrote no message"])[-1][:500]
        raise LareError(f"the locked process ended with status {status} and no reply: {last}") from None
    if error is not None:
        raise LareError(f"the locked process refused or failed: {str(error)[:4000]}")
    return Outcome(result, warnings)


_SHORTER = "write a shorter computation without large loops"


def _library_folders() -> list[str]:
    """The folders that hold Python's own library and the few packages which the child imports."""
    folders = [sysconfig.get_paths()[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    for name in _LIBRARIES:
        found = importlib.util.find_spec(name)
        if found and found.origin:
            folders.append(str(Path(found.origin).resolve().parents[1]))
    return list(dict.fromkeys(folders))


def _import_path() -> list[str]:
    own = [entry for entry in sys.path if entry.startswith(sys.base_prefix)]  # zipped and native modules too
    return list(dict.fromkeys([*own, *_library_folders()]))


def _readable_paths() -> list[str]:
    library = str(Path(sys.base_prefix) / "lib")
    return list(dict.fromkeys([*_library_folders(), *_import_path(), library, str(_PACKAGE), *_SYSTEM]))
