"""One episode as an MP4 file."""

import os
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from latent_reward.errors import LareError, disk_errors, extra_needed


def write_video(path: Path, draw: Callable[[], tuple[Sequence[Any], Any]]) -> Path:
    """Write the frames ``[height, width, 3]`` that ``draw`` gives, with their number per second, as an MP4 file.

    LareError if a package for it is missing, frames cannot be rendered on this machine or the file cannot be written.
    """
    with extra_needed("video: it", "video"):
        import imageio_ffmpeg
    if sys.platform == "linux" and not os.environ.get("DISPLAY"):
        os.environ.setdefault("MUJOCO_GL", "egl")  # draws without a screen
    try:
        frames, fps = draw()
    except LareError:
        raise
    except Exception as error:  # the renderer's own errors have no common type
        raise LareError(
            f"video: the environment could not be rendered here ({type(error).__name__}: {error}); "
            "install EGL or OSMesa and set MUJOCO_GL=egl or MUJOCO_GL=osmesa"
        ) from error
    height, width = frames[0].shape[:2]
    with disk_errors(f"video: cannot write {path}", "make the run folder writable"):
        path.write_bytes(b"")  # fails where the encoder, a process of its own, would only complain
        writer = imageio_ffmpeg.write_frames(str(path), (width, height), fps=fps, macro_block_size=8)
        with warnings.catch_warnings():
            # The encoder is a process of its own that replaces itself at once: no lock of JAX's threads is inherited.
            warnings.filterwarnings("ignore", r".*os\.fork\(\)", RuntimeWarning)
            writer.send(None)
        for frame in frames:
            writer.send(np.ascontiguousarray(frame))
        writer.close()
    return path
