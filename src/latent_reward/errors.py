"""The one error a user sees, and the helpers that word it."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from numbers import Integral, Real
from pathlib import Path
from typing import Any, get_args

MOST = (1 << 31) - 1
"""The largest count that is used anywhere."""


ANY_FAILURE = (Exception, SystemExit)
"""What code of the user's or of a stranger may raise, ``sys.exit()`` included; Ctrl-C is none of it."""


class LareError(Exception):
    """A mistake that a user can correct: the message names the field, the value and the remedy.

    The command line prints it as one line and exits with status 1; no traceback is shown.
    """


class TaskError(LareError):
    """A task that does not fit its environment: the field at fault, what is wrong and the remedy."""

    def __init__(self, field: str, message: str, remedy: str):
        """Keep the three parts, so that a checker can add the line to them."""
        super().__init__(f"{field}: {message}; {remedy}")
        self.field, self.message, self.remedy = field, message, remedy


class BrokenEnvironmentError(LareError):
    """An environment that raised an error or broke its interface: what it did, where in which episode, the remedy."""

    def __init__(self, message: str, remedy: str):
        """Keep both parts, so that a caller can say what became of its work before the remedy."""
        super().__init__(f"{message}; {remedy}")
        self.message, self.remedy = message, remedy


def require_count(least: int, **counts: Any) -> None:
    """Raise if a count is not a whole number from ``least`` to 2³¹ − 1; whole numbers of NumPy are whole numbers.

    Raises:
        LareError: naming the first such count.
    """
    for name, count in counts.items():
        if isinstance(count, bool) or not isinstance(count, Integral) or int(count) < least:
            raise LareError(
                f"{name}: {shown(count)} is not possible; give a whole number of at least {least}"
            )
        if int(count) > MOST:
            raise LareError(f"{name}: {shown(count)} is too large; give a whole number of at most {MOST}")


def require_positive(**counts: Any) -> None:
    """Raise if a count is not a whole number of at least 1."""
    require_count(1, **counts)


def require_fraction(**numbers: Any) -> None:
    """Raise if a number is not one from 0 to 1; numbers of NumPy are numbers."""
    for name, number in numbers.items():
        if isinstance(number, bool) or not isinstance(number, Real) or not 0 <= float(number) <= 1:
            raise LareError(f"{name}: {shown(number)} is not possible; give a number from 0 to 1")


def require_seed(seed: Any) -> int:
    """A seed as a number of Python; raise if it is not a whole number from 0 to 2³² − 1."""
    if isinstance(seed, bool) or not isinstance(seed, Integral) or not 0 <= int(seed) < 1 << 32:
        raise LareError(f"seed: {shown(seed)} is not possible; give a whole number from 0 to 2³² − 1")
    return int(seed)


def require_flags(**flags: Any) -> None:
    """Raise if a flag is neither true nor false."""
    for name, flag in flags.items():
        if not isinstance(flag, bool):
            raise LareError(f"{name}: {shown(flag)} is not possible; give True or False")


def require_paths(**paths: Any) -> None:
    """Raise if a path is neither a text that can be one nor a ``Path``."""
    for name, path in paths.items():
        if not isinstance(path, str | Path) or path == "" or "\0" in str(path):
            raise LareError(f"{name}: {shown(path)} is no path; give a text or a pathlib.Path")


def require_functions(**functions: Any) -> None:
    """Raise if a function cannot be called and is not None."""
    for name, function in functions.items():
        if function is not None and not callable(function):
            raise LareError(f"{name}: {shown(function)} cannot be called; give a function, or leave it out")


def require_choice(name: str, value: Any, choices: Any) -> Any:
    """Return ``value``; raise if it is none of ``choices``, a ``Literal``.

    Raises:
        LareError: naming the field, the value, near misses and all choices.
    """
    known = get_args(choices)
    if not isinstance(value, str) or value not in known:
        raise LareError(
            f"{name}: {shown(value)} does not exist{did_you_mean(str(value), known)}; choose from {', '.join(known)}"
        )
    return value


def did_you_mean(value: str, known: Iterable[str]) -> str:
    """`` (did you mean A or B?)`` with the known values closest to ``value``, or an empty string."""
    close = get_close_matches(value, list(known), n=3, cutoff=0.6)
    return f" (did you mean {' or '.join(close)}?)" if close else ""


@contextmanager
def disk_errors(what: str, remedy: str) -> Iterator[None]:
    """Raise LareError, ``what`` with the reason and the remedy, for an OSError inside the block."""
    try:
        yield
    except OSError as error:
        raise LareError(f"{what} ({error.strerror or error}); {remedy}") from error


@contextmanager
def extra_needed(what: str, extra: str) -> Iterator[None]:
    """Raise LareError that names the extra to install if a module cannot be imported inside the block."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise LareError(
            f'{what} needs {error.name}, which is not installed; run `pip install "latent-reward[{extra}]"`'
        ) from error


def shown(value: Any, most: int = 60) -> str:
    """``repr(value)`` on one line, cut where it is long; for values that came from outside."""
    try:
        text = " ".join(repr(value).split())
    except ANY_FAILURE:  # a stranger's class, or a number with more digits than Python prints
        text = f"a {type(value).__name__}"
    return text if len(text) <= most else f"{text[:most]}…"


def one_line(error: BaseException) -> str:
    """What an error of another library says, on one line of at most 200 characters, without pydantic's appendix."""
    try:
        text = f"{error}"
    except ANY_FAILURE:  # a stranger's error may fail in any way, too
        text = ""
    return " ".join(text.partition(" [type=")[0].split())[:200]


def named(error: BaseException) -> str:
    """The kind of an error, and in brackets what it says, on one line."""
    text = one_line(error)
    return f"{type(error).__name__} ({text})" if text else type(error).__name__
