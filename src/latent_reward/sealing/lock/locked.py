"""The locked child process: it gives up every power, then runs one function.

Forked by :mod:`latent_reward.sealing.lock.server`; it reads a request from standard input, one line of JSON about
the work and then the payload, and writes one JSON reply to standard output.

The order matters. Resource limits and Landlock (files, network) come first, while there is one thread,
because Landlock binds only the calling thread and those it starts later, and JAX starts many. Then the
worker module is warmed up, which starts those threads. Then seccomp is applied to all of them at once
(TSYNC). Only then is the payload read, which holds the text that a model wrote.
"""

import contextlib
import ctypes
import importlib
import json
import os
import platform
import random
import resource
import struct
import sys

# Landlock's numbers, from <linux/landlock.h>.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_EXECUTE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 2, 1 << 3
_FILE_RIGHTS_BY_ABI = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}
_NET_RIGHTS, _SCOPES = 0b11, 0b11  # bind and connect; abstract sockets and signals

_PR_SET_NO_NEW_PRIVS = 38
_SECCOMP_MODE_FILTER, _SECCOMP_TSYNC = 1, 1

# Number of each permitted system call as (x86_64, aarch64); None where the machine has no such call.
_HARMLESS = {
    "read": (0, 63), "write": (1, 64), "close": (3, 57), "fstat": (5, 80), "lseek": (8, 62),
    "mprotect": (10, 226), "munmap": (11, 215), "brk": (12, 214), "mremap": (25, 216),
    "rt_sigaction": (13, 134), "rt_sigprocmask": (14, 135), "rt_sigreturn": (15, 139),
    "sigaltstack": (131, 132), "pread64": (17, 67), "readv": (19, 65), "writev": (20, 66),
    "madvise": (28, 233), "mincore": (27, 232), "dup": (32, 23), "getcwd": (79, 17),
    "newfstatat": (262, 79), "statx": (332, 291), "readlinkat": (267, 78), "faccessat": (269, 48),
    "faccessat2": (439, 439), "getdents64": (217, 61), "getpid": (39, 172), "gettid": (186, 178),
    "getppid": (110, 173), "getuid": (102, 174), "geteuid": (107, 175), "getgid": (104, 176),
    "getegid": (108, 177), "sched_yield": (24, 124), "sched_getaffinity": (204, 123),
    "sched_getparam": (143, 121), "sched_getscheduler": (145, 120), "futex": (202, 98),
    "set_robust_list": (273, 99), "get_robust_list": (274, 100), "rseq": (334, 293),
    "membarrier": (324, 283), "clock_gettime": (228, 113), "clock_getres": (229, 114),
    "gettimeofday": (96, 169), "nanosleep": (35, 101), "clock_nanosleep": (230, 115),
    "times": (100, 153), "getrusage": (98, 165), "sysinfo": (99, 179), "uname": (63, 160),
    "getrandom": (318, 278), "exit": (60, 93), "exit_group": (231, 94), "restart_syscall": (219, 128),
    "ppoll": (271, 73), "getcpu": (309, 168), "set_tid_address": (218, 96), "stat": (4, None),
    "lstat": (6, None), "access": (21, None), "readlink": (89, None), "poll": (7, None),
    "time": (201, None),
}  # fmt: skip
_CLONE, _OPENAT, _OPEN, _MMAP = (56, 220), (257, 56), (2, None), (9, 222)
_TGKILL, _PRCTL, _PRLIMIT, _IOCTL, _FCNTL = (234, 131), (157, 167), (302, 261), (16, 29), (72, 25)
_SECCOMP = (317, 277)
_ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
_NEW_CALLS = 424  # calls from here on are reported as absent, so that the C library falls back on older ones
_CLONE_THREAD, _WRITING = 0x10000, os.O_ACCMODE | os.O_CREAT | os.O_TRUNC
# What RLIMIT_DATA does not count: shared mappings, and stacks that grow.
_MAP_SHARED, _MAP_GROWSDOWN = 0x01, 0x100
_PR_SET_NAME, _PR_SET_VMA, _TCGETS = 15, 0x53564D41, 0x5401
_DESCRIPTOR_FLAGS = (0, 1, 2, 3, 1030)  # duplicate, read and set flags; not: whom to signal

_CORES = 4

_libc = ctypes.CDLL(None, use_errno=True)


def _call(number: int, *arguments: object) -> int:
    """A system call; whole registers are passed, so that no half of one is left to chance."""
    wide = [ctypes.c_long(value) if isinstance(value, int) else value for value in arguments]
    return _libc.syscall(ctypes.c_long(number), *wide)


def _failed(what: str) -> OSError:
    return OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")


def limit_resources(limits: dict) -> None:
    """Bounds processor time, memory and written bytes; ``limits`` has ``cpu_s``, ``memory_mb``,
    ``reply_mb``.
    """
    caps = {
        "RLIMIT_CORE": 0,
        "RLIMIT_CPU": limits["cpu_s"],  # at the limit SIGXCPU, a second later SIGKILL
        "RLIMIT_FSIZE": limits["reply_mb"] << 20,
        "RLIMIT_DATA": limits["memory_mb"] << 20,
        "RLIMIT_AS": (limits["memory_mb"] << 20) * 4,  # JAX maps far more than it touches
        "RLIMIT_NOFILE": 256,
    }
    for name, value in caps.items():
        kind = getattr(resource, name, None)
        if kind is None:
            continue
        try:
            resource.setrlimit(kind, (value, value + 1 if name == "RLIMIT_CPU" else value))
        except (ValueError, OSError):  # macOS refuses some of them; the wall clock still ends the process
            continue
    if hasattr(os, "sched_setaffinity"):
        # A few cores to choose from, though it computes on one at a time: pinned to a single one the child
        # starves behind a training that is busy there, and on a machine of many JAX would start many threads.
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, random.sample(cores, min(len(cores), _CORES)))


def forbid_files_and_network(readable: list[str]) -> str | None:
    """Applies Landlock: only ``readable`` can be read, nothing written, no port bound or connected.

    Returns None if applied, else why not.
    """
    abi = _call(_CREATE_RULESET, None, 0, 1)
    if abi < 1:
        return "this kernel has no Landlock, so reading files was not blocked by the kernel"
    rights = next(
        _FILE_RIGHTS_BY_ABI[known] for known in sorted(_FILE_RIGHTS_BY_ABI, reverse=True) if known <= abi
    )
    fields = [rights] + ([_NET_RIGHTS] if abi >= 4 else []) + ([_SCOPES] if abi >= 6 else [])
    ruleset = struct.pack(f"={len(fields)}Q", *fields)
    descriptor = _call(_CREATE_RULESET, ruleset, len(ruleset), 0)
    if descriptor < 0:
        raise _failed("landlock_create_ruleset")
    for path in readable:
        try:
            target = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            continue  # a path that this system does not have needs no permission
        allowed = _EXECUTE | _READ_FILE | (_READ_DIR if os.path.isdir(path) else 0)
        rule = struct.pack("=Qi", allowed, target)
        failed = _call(_ADD_RULE, descriptor, 1, rule, 0)
        os.close(target)
        if failed:
            raise _failed(f"landlock_add_rule for {path}")
    if _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise _failed("prctl(no_new_privs)")
    if _call(_RESTRICT_SELF, descriptor, 0):
        raise _failed("landlock_restrict_self")
    os.close(descriptor)
    return None


class _Filter:
    """A classic BPF program over ``struct seccomp_data``, written as a chain of ``if call == n`` blocks."""

    ALLOW, KILL = 0x7FFF0000, 0x80000000
    REFUSE, ABSENT = 0x00050000 | 1, 0x00050000 | 38  # EPERM, ENOSYS

    def __init__(self, column: int, architecture: int):
        self.column = column
        self.code = bytearray()
        self._load(4)
        self._jump(0x15, architecture, 1, 0)
        self._return(self.KILL)
        self._load(0)

    def _jump(self, code: int, value: int, true: int, false: int) -> None:
        self.code += struct.pack("=HBBI", code, true, false, value)

    def _load(self, offset: int) -> None:
        self._jump(0x20, offset, 0, 0)

    def _return(self, action: int) -> None:
        self._jump(0x06, action, 0, 0)

    def allow(self, call: tuple[int, int | None]) -> None:
        """Permits a call whatever its arguments."""
        number = call[self.column]
        if number is not None:
            self._jump(0x15, number, 0, 1)
            self._return(self.ALLOW)

    def allow_if(self, call: tuple[int, int | None], argument: int, test: int, *values: int) -> None:
        """Permits a call if the low half of one argument passes ``test``, a BPF jump, for any value."""
        number = call[self.column]
        if number is None:
            return
        self._jump(0x15, number, 0, len(values) * 2 + 2)
        self._load(16 + 8 * argument)
        for value in values:
            self._jump(test, value, 0, 1)
            self._return(self.ALLOW)
        self._return(self.REFUSE)

    def allow_unless_set(self, call: tuple[int, int | None], argument: int, mask: int) -> None:
        """Permits a call if none of the bits of ``mask`` is set in one argument."""
        number = call[self.column]
        if number is None:
            return
        self._jump(0x15, number, 0, 4)
        self._load(16 + 8 * argument)
        self._jump(0x45, mask, 1, 0)
        self._return(self.ALLOW)
        self._return(self.REFUSE)

    def finish(self) -> bytes:
        """Everything else: too new a call is absent, an old one refused."""
        self._jump(0x35, _NEW_CALLS, 0, 1)
        self._return(self.ABSENT)
        self._return(self.REFUSE)
        return bytes(self.code)


def _system_call_filter(column: int, architecture: int) -> bytes:
    equal, any_bit = 0x15, 0x45
    program = _Filter(column, architecture)
    for call in _HARMLESS.values():
        program.allow(call)
    program.allow_if(_CLONE, 0, any_bit, _CLONE_THREAD)  # threads, never processes
    program.allow_unless_set(_OPENAT, 2, _WRITING)
    program.allow_unless_set(_OPEN, 1, _WRITING)
    program.allow_unless_set(_MMAP, 3, _MAP_SHARED | _MAP_GROWSDOWN)
    program.allow_if(_TGKILL, 0, equal, os.getpid())
    program.allow_if(_PRCTL, 0, equal, _PR_SET_NAME, _PR_SET_VMA)
    program.allow_unless_set(_PRLIMIT, 2, 0xFFFFFFFF)  # reading a limit; setting one passes a pointer
    program.allow_if(_IOCTL, 1, equal, _TCGETS)
    program.allow_if(_FCNTL, 1, equal, *_DESCRIPTOR_FLAGS)
    return program.finish()


def forbid_system_calls() -> str | None:
    """Applies the seccomp filter to every thread. Returns None if applied, else why not."""
    machine = platform.machine()
    if machine not in _ARCHITECTURES:
        return f"no system-call filter is known for {machine}"
    column, architecture = _ARCHITECTURES[machine]
    program = _system_call_filter(column, architecture)
    code = ctypes.create_string_buffer(program, len(program))

    class Program(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ushort), ("code", ctypes.c_void_p)]

    header = Program(len(program) // 8, ctypes.cast(code, ctypes.c_void_p))
    if _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise _failed("prctl(no_new_privs)")
    failed = _call(_SECCOMP[column], _SECCOMP_MODE_FILTER, _SECCOMP_TSYNC, ctypes.byref(header))
    if failed > 0:
        raise OSError(f"seccomp could not bind thread {failed}")
    if failed < 0:
        if ctypes.get_errno() in (22, 38):
            return "this kernel has no seccomp filter, so system calls were not blocked"
        raise _failed("seccomp")
    return None


def _forbid_processes() -> str:
    """Where there is neither Landlock nor seccomp, at least no process can be started."""
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
    return f"on {sys.platform} only resource limits bind the child; files and network were not blocked"


def main() -> None:
    """Reads the request, locks the process, runs the worker, writes the reply. Never returns."""
    request = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115  (ends with the process)
    reply = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever prints must not mix with the reply
    work = json.loads(request.readline())
    sys.path[:] = work["path"]
    warnings = []
    limit_resources(work["limits"])
    if sys.platform == "linux":
        warnings.append(forbid_files_and_network(work["readable"]))
    module_name, function_name = work["worker"].split(":")
    module = importlib.import_module(module_name)
    if hasattr(module, "warm_up"):
        module.warm_up()
    warnings.append(forbid_system_calls() if sys.platform == "linux" else _forbid_processes())
    answer: dict = {"warnings": [warning for warning in warnings if warning]}
    try:
        answer["result"] = getattr(module, function_name)(json.loads(request.read()))
    except BaseException as error:  # reported to the parent, which decides
        answer["error"] = f"{type(error).__name__}: {error}"[:4000]
    reply.write(json.dumps(answer))
    reply.close()
    os._exit(0)  # no exit handler is worth running in a process that can do nothing
