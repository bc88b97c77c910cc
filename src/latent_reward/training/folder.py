"""The folder of a run while it is trained: one process at a time, and a history of what happened to it.

``run.lock``       held by the process that trains; the system releases it when that process ends, however it ends
``history.jsonl``  one line for each time that the run was started, resumed, extended, stopped, or failed
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from latent_reward.errors import LareError, disk_errors
from latent_reward.files import to_json

LOCK, HISTORY = "run.lock", "history.jsonl"
Event = Literal["started", "resumed", "extended", "stopped", "failed", "finished"]


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Make a run folder if there is none, and keep other processes from training in it inside the block.

    Raises:
        LareError: another process trains in it, or it cannot be written.
    """
    remedy = "choose another with --out"
    with disk_errors(f"out: cannot write the run folder {folder}", remedy):
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / LOCK, timeout=0)
        try:
            lock.acquire()
        except Timeout:
            raise LareError(
                f"out: the run in {folder} is being trained by process {_trainer(folder)}; wait for it or stop it, or "
                "choose another folder with --out"
            ) from None
    try:
        yield
    finally:
        lock.release()


def note(folder: Path, event: Event, *, step: int, rounds: int, **facts: Any) -> None:
    """Add a line to the history of a run, which is at ``step`` of a training of ``rounds``.

    Raises:
        LareError: it cannot be written.
    """
    now = datetime.now(UTC).isoformat(timespec="seconds")
    line = {"time": now, "event": event, "step": step, "rounds": rounds, "process": os.getpid(), **facts}
    path = folder / HISTORY
    with (
        disk_errors(f"history: cannot write {path}", "make the run folder writable"),
        path.open("a+b") as file,
    ):
        cut = file.tell() > 0 and _last_byte(path) != b"\n"  # a kill may have cut the last line short
        file.write(b"\n" * cut + f"{to_json(line)}\n".encode())
        file.flush()
        os.fsync(file.fileno())


def history(folder: Path) -> list[dict[str, Any]]:
    """What happened to a run, oldest first; lines that cannot be read are left out."""
    try:
        lines = (folder / HISTORY).read_bytes().splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        try:
            event = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(event, dict):
            found.append(event)
    return found


def lengths(folder: Path) -> set[Any]:
    """The lengths that a run had in its history, in rounds."""
    return {event.get(key) for event in history(folder) for key in ("rounds", "before")} - {None}


def _trainer(folder: Path) -> str:
    """The number of the process that wrote the last line of the history."""
    events = history(folder)
    return str(events[-1].get("process", "of an unknown number")) if events else "of an unknown number"


def _last_byte(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read()
