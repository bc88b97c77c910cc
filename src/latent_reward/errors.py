"""The one error a user sees, and the helpers that word it."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from numbers import Integral
from typing import Any, get_args


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
    """Raise if a count is not a whole number of at least ``least``.

    Raises:
        LareError: naming the first such count.
    """
    for name, count in counts.items():
        if isinstance(count, bool) or not isinstance(count, Integral) or count < least:
            raise LareError(f"{name}: {count!r} is not possible; give a whole number of at least {least}")


def require_positive(**counts: Any) -> None:
    """Raise if a count is not a whole number of at least 1."""
    require_count(1, **counts)


def require_choice(name: str, value: Any, choices: Any) -> Any:
    """Return ``value``; raise if it is none of ``choices``, a ``Literal``.

    Raises:
        LareError: naming the field, the value, near misses and all choices.
    """
    known = get_args(choices)
    if value not in known:
        raise LareError(
            f"{name}: {value!r} does not exist{did_you_mean(str(value), known)}; choose from {', '.join(known)}"
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


def one_line(error: BaseException) -> str:
    """What an error of another library says, on one line of at most 200 characters, without pydantic's appendix."""
    try:
        text = f"{error}"
    except Exception:  # a stranger's error may fail in any way, too
        text = ""
    return " ".join(text.partition(" [type=")[0].split())[:200]


def named(error: BaseException) -> str:
    """The kind of an error, and in brackets what it says, on one line."""
    text = one_line(error)
    return f"{type(error).__name__} ({text})" if text else type(error).__name__
