"""Episodes in a NumPy archive: rows of all episodes one after the other.

``observation``  ``(Σ (T + 1), o)``: before each step and after the last of each episode; teams ``(…, agents, o)``
``action``       ``(Σ T, a)``, or ``(Σ T,)`` whole numbers; of teams with agents
``length``       ``(episodes,)``: T of each
``return``       ``(episodes,)``
``terminated``   ``(episodes,)``, optional: false where a time limit cut the episode
``reward``       ``(Σ T,)``, of teams ``(Σ T, agents)``, optional: true rewards to measure against

A file may come from anywhere. Nothing in it is unpickled, and no array is made before its size was compared with the
size of the file.
"""

import io
import shutil
import zipfile
import zlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from tokenize import TokenError

import numpy as np
from numpy.lib import format as npy

from latent_reward.errors import LareError, one_line
from latent_reward.files import replacing
from latent_reward.library.episode import Episode
from latent_reward.library.recorded import Recorded

_KEYS = ("observation", "action", "length", "return")
_OPTIONAL = ("terminated", "reward")
_MOST_EXPANDED = 200  # times as large as the file; recorded numbers do not compress better
_SMALL = 1 << 24  # bytes that may be expanded to from any file


def read_npz(path: Path, time_limit: int | None) -> Recorded:
    """The episodes of a NumPy archive.

    Args:
        path: the file.
        time_limit: where ``terminated`` is missing, episodes of this length were cut and shorter ones terminated; None:
            the longest were cut.

    Raises:
        LareError: naming the file, the key, what is wrong with it and the remedy.
    """
    arrays = _arrays(path)
    for key in _KEYS:
        if key not in arrays:
            raise LareError(
                f"{path}: the key {key!r} is missing (there are {', '.join(sorted(arrays)) or 'none'}); add it"
            )
    lengths = _lengths(path, arrays["length"])
    count, steps = len(lengths), int(lengths.sum())
    expected = {
        "observation": (steps + count, "one row before each step and one after the last, of each episode"),
        "action": (steps, "one row per step"),
        "return": (count, "one number per episode"),
        "terminated": (count, "one value per episode"),
        "reward": (steps, "one row per step"),
    }
    for key, (rows, what) in expected.items():
        if key in arrays and (arrays[key].ndim < 1 or len(arrays[key]) != rows):
            raise LareError(
                f"{path}: {key} has the shape {arrays[key].shape}, and the lengths ask for {rows} rows ({what}); "
                "correct one of the two"
            )
    for key in ("return", "terminated"):
        if key in arrays and arrays[key].ndim != 1:
            raise LareError(f"{path}: {key} has the shape {arrays[key].shape}; give {expected[key][1]}")
    longest = int(lengths.max()) if time_limit is None else time_limit
    terminated = arrays["terminated"].astype(bool) if "terminated" in arrays else lengths < longest
    ends = np.cumsum(lengths)
    episodes = []
    for number, (end, length) in enumerate(zip(ends, lengths, strict=True)):
        step, row = slice(end - length, end), slice(end - length + number, end + number + 1)
        episodes.append(
            Episode(
                arrays["observation"][row],
                arrays["action"][step],
                float(arrays["return"][number]),
                bool(terminated[number]),
                arrays["reward"][step] if "reward" in arrays else None,
            )
        )
    return Recorded(episodes, partial(_write, path))


def _lengths(path: Path, array: np.ndarray) -> np.ndarray:
    if array.ndim != 1 or not array.size or array.dtype.kind not in "iuf":
        raise LareError(
            f"{path}: length has the shape {array.shape} and the type {array.dtype}; give one whole number per episode"
        )
    if (array < 1).any() or (array != np.floor(array)).any() or (array > 1 << 40).any():
        raise LareError(
            f"{path}: length has values that are no number of steps; leave out episodes without any"
        )
    return array.astype(np.int64)


def _arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays that are read, by name."""
    try:
        size = path.stat().st_size
        with zipfile.ZipFile(path) as archive:
            members = {each.filename: each for each in archive.infolist()}
            wanted = [key for key in (*_KEYS, *_OPTIONAL) if f"{key}.npy" in members]
            total = sum(members[f"{key}.npy"].file_size for key in wanted)
            if total > max(_SMALL, _MOST_EXPANDED * size):
                raise LareError(
                    f"{path}: it says it holds {total:,} bytes in a file of {size:,}; write it again"
                )
            return {key: _member(path, archive, members[f"{key}.npy"], key) for key in wanted}
    except (OSError, zipfile.BadZipFile, EOFError, RuntimeError, NotImplementedError) as error:
        raise LareError(
            f"{path}: it cannot be read as a NumPy archive ({one_line(error)}); write it with np.savez"
        ) from error


def _member(path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo, key: str) -> np.ndarray:
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise LareError(f"{path}: {key} is compressed in an unusual way; write the file with np.savez")
    try:
        with archive.open(member) as file:
            head = file.read(min(member.file_size, 1 << 16))
            stream = io.BytesIO(head)
            version = npy.read_magic(stream)
            read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}[version]
            shape, fortran, dtype = read(stream)
            if dtype.hasobject or dtype.kind not in "biuf":
                raise LareError(f"{path}: {key} is of type {dtype}; give numbers")
            count = int(np.prod([int(each) for each in shape], dtype=object)) if shape else 1
            bytes_ = count * dtype.itemsize
            found = member.file_size - stream.tell()
            if min(shape, default=0) < 0 or bytes_ != found:
                raise LareError(
                    f"{path}: {key} should have {bytes_:,} bytes and has {found:,}; it was cut short or changed, so "
                    "write it again"
                )
            content = head[stream.tell() :] + file.read()
    except (ValueError, KeyError, zipfile.BadZipFile, zipfile.LargeZipFile, OSError, EOFError) as error:
        raise LareError(f"{path}: {key} is no NumPy array ({one_line(error)}); write it again") from error
    except (
        zlib.error,
        SyntaxError,
        TokenError,
        TypeError,
        RecursionError,
        MemoryError,
        OverflowError,
    ) as error:
        raise LareError(f"{path}: {key} is damaged ({one_line(error)}); write it again") from error
    array = np.frombuffer(content, dtype).reshape(shape, order="F" if fortran else "C")
    _require_finite(path, key, array)
    return array


def _require_finite(path: Path, key: str, array: np.ndarray) -> None:
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        row = int(np.argwhere(~np.isfinite(array))[0][0]) if array.ndim else 0
        raise LareError(
            f"{path}: {key} has a number that is not finite in row {row}; correct it or leave it out"
        )


def _write(path: Path, out: Path, rewards: Sequence[np.ndarray]) -> None:
    """Everything that ``path`` has, as it is, and the rewards."""
    try:
        with (
            replacing(out) as draft,
            zipfile.ZipFile(path) as old,
            zipfile.ZipFile(draft, "w", zipfile.ZIP_DEFLATED) as new,
        ):
            for member in old.infolist():
                if member.filename != "reward.npy" and member.filename.endswith(".npy"):
                    with (
                        old.open(member) as source,
                        new.open(member.filename, "w", force_zip64=True) as target,
                    ):
                        shutil.copyfileobj(source, target, 1 << 20)
            with new.open("reward.npy", "w", force_zip64=True) as target:
                npy.write_array(target, np.concatenate(rewards), allow_pickle=False)
    except OSError as error:
        raise LareError(f"out: cannot write {out}: {error}; choose another path or free space") from error
    except (zipfile.BadZipFile, zlib.error, RuntimeError) as error:
        raise LareError(
            f"{path}: another key of it cannot be copied ({error}); write the file again"
        ) from error
