"""Which programs this installation knows: those that it sealed or checked itself, and the bundled ones.

The native reader of programs trusts its input: a damaged program can end the process. So only a known program is read
in the user's process; any other is tried in a locked process first (:mod:`latent_reward.sealing.admit`) and is known
from then on. What is known is kept in the user's cache folder, as one file per program. It holds a keyed digest, so
that a file which somebody else put there counts for nothing; the key is in the user's data folder.
"""

import contextlib
import functools
import hashlib
import hmac
import os
import secrets
import stat
import tempfile
from pathlib import Path
from typing import NamedTuple

import jax
from platformdirs import user_cache_path, user_data_path

from latent_reward import files

SWITCH = "LARE_KNOWN_PROGRAMS"
SUMS = (
    Path(__file__).parent / "bundled" / "SHA256SUMS"
)  # one line per bundled program, as sha256sum writes it
_CHECKS = 1  # raised when the checks of foreign programs become stricter, so that they are made again
_KEY_BYTES = 32

_of_this_process: set[str] = set()


class _Places(NamedTuple):
    key: Path
    marks: Path


def is_known(program: bytes) -> bool:
    """Whether a program may be read in this process."""
    digest = hashlib.sha256(program).hexdigest()
    if digest in _of_this_process or digest in bundled_digests() or _is_marked(digest):
        _of_this_process.add(digest)
        return True
    return False


def remember(program: bytes) -> None:
    """Take a program as known from now on, also in later processes if the user's folders can be written to."""
    digest = hashlib.sha256(program).hexdigest()
    if is_known(program):
        return
    _of_this_process.add(digest)
    places = _places()
    key = places and (_read_key(places.key) or _new_key(places.key))
    if places and key:
        with contextlib.suppress(OSError):  # then it is only checked again
            places.marks.mkdir(parents=True, exist_ok=True, mode=0o700)
            files.write_text(places.marks / digest, _mark(key, digest))


@functools.cache
def bundled_digests() -> frozenset[str]:
    """The digests of the programs that come with the package."""
    try:
        return frozenset(line.split()[0] for line in SUMS.read_text(encoding="ascii").splitlines())
    except OSError:
        return frozenset()


def _places() -> _Places | None:
    """Where the key and the marks are; ``LARE_KNOWN_PROGRAMS`` names another folder, or is ``off``."""
    chosen = os.environ.get(SWITCH, "")
    if chosen == "off":
        return None
    try:
        data = Path(chosen) if chosen else user_data_path("latent-reward")
        cache = Path(chosen) if chosen else user_cache_path("latent-reward")
    except (OSError, RuntimeError):  # no home
        return None
    return _Places(data / "seal.key", cache / "programs")


def _is_marked(digest: str) -> bool:
    places = _places()
    key = places and _read_key(places.key)
    if not places or not key:
        return False
    try:
        with (places.marks / digest).open("rb") as file:
            return hmac.compare_digest(file.read(2 * _KEY_BYTES + 1), _mark(key, digest).encode())
    except OSError:
        return False


def _mark(key: bytes, digest: str) -> str:
    """The keyed digest of a program, for the reader of this version of JAX."""
    return hmac.new(key, f"{digest} {jax.__version__} {_CHECKS}".encode(), hashlib.sha256).hexdigest()


def _read_key(path: Path) -> bytes | None:
    """The key, or None unless it is whole, the user's own and readable by nobody else."""
    try:
        with path.open("rb") as file:
            found, key = os.fstat(file.fileno()), file.read(_KEY_BYTES + 1)
    except OSError:
        return None
    private = not hasattr(os, "getuid") or (
        found.st_uid == os.getuid() and not stat.S_IMODE(found.st_mode) & 0o077
    )
    return key if private and len(key) == _KEY_BYTES else None


def _new_key(path: Path) -> bytes | None:
    """Make a key that only its owner can read; if another process makes one at the same time, either may stay."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle, draft = tempfile.mkstemp(prefix=".seal-", dir=path.parent)  # readable by its owner alone
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(secrets.token_bytes(_KEY_BYTES))
            os.replace(draft, path)
        except OSError:
            os.unlink(draft)
            raise
    except OSError:
        return None
    return _read_key(path)
