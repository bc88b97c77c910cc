"""Recorded episodes in files: NumPy archives, and HDF5 in the layout of Minari."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from latent_reward.library.episode import Episode


class Recorded(NamedTuple):
    """The episodes of a file, and how to write it again with their rewards.

    Attributes:
        episodes: the episodes, in the order of the file.
        write: writes ``(out, rewards)``: the data with these rewards, in the same format, atomically.
    """

    episodes: list[Episode]
    write: Callable[[Path, Sequence[np.ndarray]], None]
