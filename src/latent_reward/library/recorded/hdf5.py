"""Episodes in HDF5, in the layout of Minari: groups ``episode_0``, ``episode_1``, … with arrays.

``observations``  ``(T + 1, o)``; teams ``(T + 1, agents, o)``
``actions``       ``(T, a)``, or ``(T,)`` whole numbers; of teams with agents
``rewards``       ``(T,)``, of teams ``(T, agents)``: the return is their sum, and only this sum is fitted to
``terminations``  ``(T,)``, optional: false where a time limit cut the episode

A file may come from anywhere. Links to other files are refused, and no array is made before its size was compared with
what the file stores.
"""

import re
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from latent_reward.errors import LareError, one_line
from latent_reward.files import replacing
from latent_reward.library.episode import Episode
from latent_reward.library.recorded import Recorded
from latent_reward.reading import damaged

MAIN = Path("data") / "main_data.hdf5"
_MOST_EXPANDED = 200  # times as large as the file; recorded numbers do not compress better
_SMALL = 1 << 24  # bytes that may be expanded to from any file


def read_hdf5(path: Path) -> Recorded:
    """The episodes of an HDF5 file.

    Raises:
        LareError: naming the file, the array, what is wrong with it and the remedy; or h5py is not installed.
    """
    return Recorded(_episodes(path), partial(_write, path))


def read_folder(folder: Path) -> Recorded:
    """The episodes of a Minari data set, which is a folder; written again as a whole folder.

    Raises:
        LareError: as :func:`read_hdf5`.
    """
    return Recorded(_episodes(folder / MAIN), partial(_write_folder, folder))


def _open(path: Path, mode: str) -> Any:
    try:
        import h5py
    except ImportError as error:
        raise LareError(
            f'{path}: reading it needs h5py; run `pip install "latent-reward[minari]"`, or give an .npz file'
        ) from error
    try:
        return h5py.File(path, mode)
    except OSError as error:
        raise LareError(f"{path}: it cannot be read as HDF5 ({one_line(error)}); write it again") from error


def _episodes(path: Path) -> list[Episode]:
    with _open(path, "r") as file, damaged(f"{path}: it", "write it again"):
        room = _Room(max(_SMALL, _MOST_EXPANDED * path.stat().st_size))
        return [_episode(path, file, name, room) for name in _names(path, file)]


def _names(path: Path, file: Any) -> list[str]:
    """Names of the episodes, by number."""
    numbers = sorted(int(name[8:]) for name in file if re.fullmatch(r"episode_\d{1,9}", name))
    if not numbers:
        found = ", ".join(list(file)[:5]) or "nothing"
        raise LareError(
            f"{path}: there are no groups episode_0, episode_1, … but {found}; use Minari's layout"
        )
    return [f"episode_{number}" for number in numbers]


@dataclass
class _Room:
    """How many bytes may still be read."""

    left: int


def _episode(path: Path, file: Any, name: str, room: _Room) -> Episode:
    group = _hard(path, file, name)
    observations, actions, rewards = (
        _array(path, group, f"{name}/{key}", room) for key in ("observations", "actions", "rewards")
    )
    steps = len(rewards)
    for key, array, rows in (("observations", observations, steps + 1), ("actions", actions, steps)):
        if len(array) != rows:
            raise LareError(
                f"{path}: {name}/{key} has {len(array)} rows, and {rows} belong to {steps} rewards; correct the episode"
            )
    ends = np.ones(1, bool)
    if "terminations" in group:
        ends = _array(path, group, f"{name}/terminations", room).astype(bool)
        if not len(ends):
            raise LareError(f"{path}: {name}/terminations is empty; give one value per step")
    total = float(rewards.astype(np.float64).sum())
    return Episode(observations, actions, total, bool(ends[-1]), rewards)


def _hard(path: Path, group: Any, name: str) -> Any:
    """A member of a group, unless it is in another place or file."""
    import h5py

    key = name.rpartition("/")[2]
    if key not in group:
        raise LareError(f"{path}: {name} is missing; add it")
    if not isinstance(group.get(key, getlink=True), h5py.HardLink):
        raise LareError(f"{path}: {name} is a link to another place; store the array itself")
    return group[key]


def _array(path: Path, group: Any, name: str, room: _Room) -> np.ndarray:
    import h5py

    found = _hard(path, group, name)
    if not isinstance(found, h5py.Dataset):
        raise LareError(
            f"{path}: {name} is a group of arrays ({', '.join(list(found)[:5])}); flatten observations and actions to "
            "one array first"
        )
    if found.is_virtual or found.external:
        raise LareError(f"{path}: {name} is stored in another file; store the array itself")
    if found.dtype.kind not in "biuf" or found.ndim < 1:
        raise LareError(
            f"{path}: {name} has the type {found.dtype} and the shape {found.shape}; give numbers"
        )
    wanted, stored = found.size * found.dtype.itemsize, found.id.get_storage_size()
    room.left -= wanted
    if room.left < 0 or (wanted and not stored):
        raise LareError(
            f"{path}: {name} should have {wanted:,} bytes, and {stored:,} are stored; write it again"
        )
    array = found[()]
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        row = int(np.argwhere(~np.isfinite(array))[0][0])
        raise LareError(
            f"{path}: {name} has a number that is not finite in row {row}; correct or remove the episode"
        )
    return array


def _write(path: Path, out: Path, rewards: Sequence[np.ndarray]) -> None:
    """A copy of the file with other rewards."""
    try:
        with replacing(out) as draft:
            _replace_rewards(path, draft, rewards)
    except OSError as error:
        raise LareError(f"out: cannot write {out}: {error}; choose another path or free space") from error


def _write_folder(folder: Path, out: Path, rewards: Sequence[np.ndarray]) -> None:
    """A copy of the folder with other rewards, made beside its place and then put there."""
    if out.exists():
        raise LareError(f"out: {out} exists already; choose another path")
    try:
        with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as made:
            draft = Path(made) / "set"
            shutil.copytree(
                folder, draft, ignore=lambda _, names: [each for each in names if each == MAIN.name]
            )
            _replace_rewards(folder / MAIN, draft / MAIN, rewards)
            draft.rename(out)
    except (OSError, shutil.Error) as error:
        raise LareError(f"out: cannot write {out}: {error}; choose another path or free space") from error


def _replace_rewards(path: Path, draft: Path, rewards: Sequence[np.ndarray]) -> None:
    shutil.copyfile(path, draft)
    with _open(draft, "r+") as file:
        for name, each in zip(_names(path, file), rewards, strict=True):
            group = file[name]
            kept = dict(group["rewards"].attrs)
            del group["rewards"]
            made = group.create_dataset("rewards", data=each.astype(np.float64))
            made.attrs.update(kept)
