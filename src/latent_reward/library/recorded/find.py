"""Find recorded episodes by the path of a file or folder, or by the id of a Minari data set."""

import os
from pathlib import Path

from latent_reward.errors import LareError
from latent_reward.library.recorded import Recorded
from latent_reward.library.recorded.hdf5 import MAIN, read_folder, read_hdf5
from latent_reward.library.recorded.npz import read_npz


def find_data(name: str) -> Path:
    """The file or folder of recorded episodes: a path, or the id of a data set that Minari has downloaded.

    Raises:
        LareError: there is none, or it is stored in a format that cannot be read.
    """
    path = Path(name)
    if not path.exists():
        path = _minari_root() / name
        if not name or path == _minari_root() or not path.is_dir():
            raise LareError(
                f"data: there is no file or folder {name!r}, and no Minari data set of this name in {_minari_root()}; "
                f"check the path, or run `minari download {name}`"
            )
    if path.is_dir() and not (path / MAIN).is_file():
        raise LareError(
            f"data: {path} has no {MAIN}; give the folder of a Minari data set that is stored as HDF5, or a file"
        )
    return path


def read_data(path: Path, time_limit: int | None) -> Recorded:
    """The episodes at a path that :func:`find_data` found.

    ``time_limit`` tells cut episodes in files that do not say which were: see :func:`~.npz.read_npz`.

    Raises:
        LareError: naming the file, the array, what is wrong with it and the remedy.
    """
    if path.is_dir():
        return read_folder(path)
    try:
        with path.open("rb") as file:
            start = file.read(8)
    except OSError as error:
        raise LareError(f"data: cannot read {path}: {error}; check its permissions") from error
    if start == b"\x89HDF\r\n\x1a\n":
        return read_hdf5(path)
    if start.startswith(b"PK"):
        return read_npz(path, time_limit)
    raise LareError(f"data: {path} is neither a NumPy archive (.npz) nor HDF5; convert it to one of these")


def _minari_root() -> Path:
    return Path(os.environ.get("MINARI_DATASETS_PATH") or Path.home() / ".minari" / "datasets")
