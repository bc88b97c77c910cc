"""The second line of defence: code that got past the language is run in the locked child, and can do no
harm.
"""

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from latent_reward.errors import LareError
from latent_reward.sealing.lock import sandbox
from latent_reward.sealing.lock.sandbox import Limits, run

linux = pytest.mark.skipif(sys.platform != "linux", reason="the kernel locks exist on Linux only")
QUICK = Limits(wall_s=20, cpu_s=10)


def unguarded(code: str, folder, **options) -> subprocess.CompletedProcess:
    """The same code in an ordinary Python."""
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        **options,
    )


def locked(code: str, limits: Limits = QUICK) -> str:
    """Runs code in the child with the language's guard off; returns what stopped it."""
    with pytest.raises(LareError) as caught:
        run("builtins:exec", code, limits)
    return str(caught.value)


def test_a_child_answers():
    outcome = run("builtins:len", [1, 2, 3], QUICK)
    assert outcome.result == 3
    if sys.platform == "linux":
        assert outcome.warnings == ()


@linux
def test_reading_outside_is_stopped(tmp_path):
    (tmp_path / "secret").write_text("sesame")
    code = f"raise ValueError(open({str(tmp_path / 'secret')!r}).read())"
    assert "sesame" in unguarded(code, tmp_path).stderr
    message = locked(code)
    assert "PermissionError" in message
    assert "sesame" not in message


@linux
def test_listing_a_folder_is_stopped(tmp_path):
    code = f"import os; raise ValueError(os.listdir({str(tmp_path.parent)!r}))"
    assert tmp_path.name in unguarded(code, tmp_path).stderr
    assert "PermissionError" in locked(code)


@linux
@pytest.mark.parametrize(
    "action",
    [
        "open({path!r}, 'w').write('x')",
        "__import__('os').mkdir({path!r})",
        "__import__('os').symlink('/etc', {path!r})",
        "__import__('os').open({path!r}, 64 | 2)",
        "__import__('sqlite3').connect({path!r}).execute('create table t (a)')",
    ],
)
def test_writing_is_stopped(action, tmp_path):
    path = tmp_path / "made"
    code = action.format(path=str(path))
    assert unguarded(code, tmp_path).returncode == 0
    assert os.path.lexists(path)
    path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    assert "Error" in locked(code)
    assert not os.path.lexists(path)


@linux
@pytest.mark.parametrize(
    "action",
    [
        "import socket; socket.socket()",
        "import socket; socket.socket(socket.AF_UNIX)",
        "import socket; socket.socketpair()",
        "import os; os.fork() or os._exit(0)",
        "import os; os.posix_spawn('/bin/true', ['true'], {})",
        "import os; os.execv('/bin/true', ['true'])",
        "import subprocess; subprocess.run(['/bin/true'], check=True)",
        "import os; os.kill(os.getppid(), 0)",
        "import os; os.memfd_create('x')",
        "import ctypes; assert ctypes.CDLL(None).ptrace(0, 0, 0, 0) == 0",
        "import os; os.chmod('.', 0o777)",
    ],
)
def test_processes_sockets_and_signals_are_stopped(action, tmp_path):
    assert unguarded(action, tmp_path).returncode == 0
    assert "Error" in locked(action)


@linux
def test_limits_cannot_be_raised_from_inside():
    locked("import resource; resource.setrlimit(resource.RLIMIT_CPU, (99, 99))")
    locked("import resource; resource.prlimit(0, resource.RLIMIT_DATA, (-1, -1))")


WORKER = """
import socket, threading
ready, results = threading.Event(), []

def attempt():
    ready.wait()
    try:
        socket.socket()
        results.append("opened")
    except PermissionError:
        results.append("refused")

thread = threading.Thread(target=attempt)

def warm_up():
    socket.socket().close()
    thread.start()

def work(payload):
    ready.set()
    thread.join()
    return results
"""


@linux
def test_threads_started_before_the_last_lock_are_bound_too(tmp_path, monkeypatch):
    # JAX's own threads are such: they start in the warm-up, when sockets can still be opened.
    (tmp_path / "early.py").write_text(WORKER)
    paths, readable = sandbox._import_path(), sandbox._readable_paths()
    monkeypatch.setattr(sandbox, "_import_path", lambda: [*paths, str(tmp_path)])
    monkeypatch.setattr(sandbox, "_readable_paths", lambda: [*readable, str(tmp_path)])
    assert run("early:work", None, QUICK).result == ["refused"]


def test_the_environment_is_scrubbed(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-sesame")
    code = "import os; raise ValueError(dict(os.environ))"
    assert "sk-sesame" in unguarded(code, tmp_path).stderr
    assert "sesame" not in locked(code)


def test_an_endless_loop_is_ended_by_the_clock():
    start = time.monotonic()
    assert "stopped after 2 s" in locked("while True: pass", Limits(wall_s=2, cpu_s=10))
    assert time.monotonic() - start < 10


def test_an_endless_loop_is_ended_by_processor_time():
    assert "used its 1 s of processor time" in locked("while True: pass", Limits(wall_s=20, cpu_s=1))


def test_a_memory_bomb_is_ended_by_the_limit(tmp_path):
    code = "x = b'a' * (3 << 30); raise ValueError('allocated')"
    assert "MemoryError" in locked(code)


@linux
@pytest.mark.parametrize(
    "flags", ["MAP_SHARED | mmap.MAP_ANONYMOUS", "MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x100"]
)
def test_memory_outside_the_limit_cannot_be_mapped(flags, tmp_path):
    # Neither shared mappings nor stacks that grow count as data, which the limit bounds.
    code = f"import mmap; mmap.mmap(-1, 1 << 20, flags=mmap.{flags})"
    assert unguarded(code, tmp_path).returncode == 0
    assert "PermissionError" in locked(code)


def test_nothing_passes_from_one_child_to_the_next():
    first = locked("import sys; sys.left_behind = 1; raise ValueError(sys.left_behind)")
    second = locked("import sys; raise ValueError(getattr(sys, 'left_behind', 'nothing'))")
    assert "ValueError: 1" in first
    assert "ValueError: nothing" in second


def test_a_warm_process_that_is_gone_is_replaced():
    run("builtins:len", [], QUICK)
    (server,) = sandbox._servers
    server.process.kill()
    server.process.wait()
    assert run("builtins:len", [1], QUICK).result == 1
    assert sandbox._servers != [server]


@linux
def test_the_warm_process_has_one_thread_so_that_it_can_fork():
    run("latent_reward.sealing.examine:examine", {"source": "1"}, Limits())
    (server,) = sandbox._servers
    assert len(os.listdir(f"/proc/{server.process.pid}/task")) == 1


def test_calls_from_several_threads_do_not_meet():
    with ThreadPoolExecutor(4) as pool:
        outcomes = pool.map(lambda count: run("builtins:len", [0] * count, QUICK).result, range(12))
    assert list(outcomes) == list(range(12))


def test_a_flood_of_output_is_ended_by_the_limit():
    code = "import os\nwhile True: os.write(1, b'a' * (1 << 20))"
    assert "OSError" in locked(code, Limits(wall_s=20, cpu_s=10, reply_mb=2))


@pytest.mark.parametrize(
    "reply", ["b''", "b'null'", "b'[1]'", "b'{'", "b'[' * 100000", r"b'\xff'", "b'{\"warnings\": 3}'"]
)
def test_a_hostile_reply_is_no_more_than_an_error(reply):
    # The reply's descriptor is the lowest free one after the standard three; write there and leave at once.
    code = (
        "import os\n"
        "for descriptor in range(3, 8):\n"
        f"    try: os.write(descriptor, {reply})\n"
        "    except OSError: pass\n"
        "os._exit(0)"
    )
    assert "no reply" in locked(code)


def test_the_child_sees_only_libraries():
    readable = sandbox._readable_paths()
    home = os.path.expanduser("~")
    for path in readable:
        assert path not in ("/", home, "/etc", "/home", "/root", "/tmp", "/var")
