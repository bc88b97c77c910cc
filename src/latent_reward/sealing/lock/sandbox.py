"""Run one function in a process that can neither read, write, connect nor last.

The parent's half: it starts :mod:`latent_reward.sealing.lock.locked` with an empty environment in an empty
folder, ends its whole process group when time is up, and treats the reply as hostile: bounded in size,
parsed as JSON, nothing else.
"""

import contextlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import sysconfig
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from latent_reward.errors import LareError

_LOCKED = Path(__file__).with_name("locked.py")
_PACKAGE = _LOCKED.parents[2]
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
    """What a child may use: wall-clock and processor seconds, megabytes of memory and of reply."""

    wall_s: float | int = 90
    cpu_s: int = 60
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
    outside. If the worker's module has a function ``warm_up``, it is called before the last lock closes.

    Raises:
        LareError: the child raised, ran out of time or memory, or replied with nothing readable.
    """
    limits = limits or Limits()
    request = {
        "worker": worker,
        "payload": payload,
        "limits": asdict(limits),
        "path": _import_path(),
        "packages": {"latent_reward": str(_PACKAGE)},
        "readable": _readable_paths(),
    }
    # Files, not pipes: a resource limit bounds their size, and no reader can be blocked or flooded.
    with (
        tempfile.TemporaryDirectory(prefix="lare-") as folder,
        tempfile.TemporaryFile() as stdin,
        tempfile.TemporaryFile() as reply,
        tempfile.TemporaryFile() as errors,
    ):
        stdin.write(json.dumps(request).encode())
        stdin.seek(0)
        status = _run_child(folder, stdin, reply, errors, limits)
        return _read_reply(status, _contents(reply, limits), _contents(errors, limits), limits)


def _run_child(folder: str, stdin, reply, errors, limits: Limits) -> int | None:
    """Returns the exit status, or None if time ran out. No process of the group outlives this call."""
    environment = {"HOME": folder, "TMPDIR": folder, **_ENVIRONMENT}
    command = [sys.executable, "-I", "-B", str(_LOCKED)]
    process = subprocess.Popen(command, stdin=stdin, stdout=reply, stderr=errors, cwd=folder, env=environment,
                               start_new_session=True)  # fmt: skip
    try:
        return process.wait(limits.wall_s)
    except subprocess.TimeoutExpired:
        return None
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _contents(file, limits: Limits) -> str:
    file.seek(0)
    return file.read(limits.reply_mb << 20).decode("utf-8", "replace")


def _read_reply(status: int | None, text: str, errors: str, limits: Limits) -> Outcome:
    if status is None or status in (-signal.SIGXCPU, -signal.SIGKILL):
        raise LareError(
            f"the locked process was stopped after {limits.wall_s:g} s (processor: {limits.cpu_s} s); "
            "write a shorter computation without large loops"
        )
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
