"""One episode as an MP4 file."""

import math
import os
import re
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from numbers import Real
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from latent_reward.errors import ANY_FAILURE, LareError, disk_errors, extra_needed, one_line
from latent_reward.files import replacing
from latent_reward.report.pictures import Picture, as_pictures

_DEFAULT_RATE = 10.0  # pictures per second of an environment that does not say
_RATES = (0.1, 1000.0)
_GRAPHICS = {"mujoco", "OpenGL", "glfw", "pyglet"}  # what fails where there is no screen


def write_video(path: Path, draw: Callable[[], tuple[Sequence[Any], Any]]) -> Path:
    """Write the pictures that ``draw`` gives, with their number per second, as an MP4 file.

    Pictures may be of any kind that :func:`latent_reward.report.pictures.as_pictures` takes. The file is replaced at
    once, and only if every picture can be read back from the new one.

    Raises:
        LareError: a package is missing, the environment draws no pictures or not on this machine, or the file cannot be
            written.
    """
    with extra_needed("video: it", "video"):
        import imageio_ffmpeg
        import PIL  # noqa: F401
    if sys.platform == "linux" and not os.environ.get("DISPLAY"):
        os.environ.setdefault("MUJOCO_GL", "egl")  # draws without a screen
    with render_errors("the environment"), warnings.catch_warnings():
        # Gymnasium complains about kinds of pictures that are converted or refused here.
        warnings.filterwarnings("ignore", category=UserWarning, module=r"gymnasium\.")
        drawn, fps = draw()
    rate, pictures = frame_rate(fps), as_pictures(drawn)
    path = Path(path)
    with disk_errors(f"video: cannot write {path}", "make its folder writable"), replacing(path) as draft:
        try:
            _encode(draft, pictures, rate)
            written, _ = imageio_ffmpeg.count_frames_and_secs(str(draft))
        except (OSError, RuntimeError) as error:  # of the encoder, which is a process of its own
            raise LareError(
                f"video: the encoder failed for {path} ({one_line(error)}); free space on the disk, or reinstall "
                "imageio-ffmpeg"
            ) from error
        if written != len(pictures):
            raise LareError(
                f"video: the encoder wrote {written} of {len(pictures)} pictures to {path}; free space on the disk, or "
                "reinstall imageio-ffmpeg"
            )
    return path


def frame_rate(given: Any) -> float:
    """Pictures per second as ``metadata["render_fps"]`` gives them; 10 where that is None.

    Raises:
        LareError: it is no number from 0.1 to 1000.
    """
    if given is None:
        return _DEFAULT_RATE
    least, most = _RATES
    rate = float(given) if isinstance(given, Real) and not isinstance(given, bool) else math.nan
    if not least <= rate <= most:
        raise LareError(
            f"video: the environment asks for {given!r} pictures per second; set metadata['render_fps'] to a number "
            f"from {least:g} to {most:g}"
        )
    return rate


def picture_mode(name: str, offered: Any) -> str:
    """The render mode that gives pictures, of those in ``metadata["render_modes"]``; ``rgb_array`` where none is named.

    Raises:
        LareError: there are others only.
    """
    modes = [str(mode) for mode in offered] if isinstance(offered, list | tuple | set) else []
    for mode in ("rgb_array", "rgb_array_list"):
        if mode in modes or not modes:
            return mode
    raise LareError(
        f"video: {name} offers no render mode with pictures, only {', '.join(modes)}; choose an environment that has "
        "rgb_array, or add it to this one"
    )


@contextmanager
def render_errors(what: str) -> Iterator[None]:
    """Raise LareError with the remedy that fits for whatever goes wrong in drawing ``what``: a stranger's code."""
    try:
        yield
    except LareError:
        raise
    except (ModuleNotFoundError, gymnasium.error.DependencyNotInstalled) as error:
        cause = error if isinstance(error, ModuleNotFoundError) else error.__cause__
        package = getattr(cause, "name", None) or "a package"
        command = re.search(r"pip install [^`\n]*[^`\n .]", f"{error}")
        remedy = f"run `{command[0]}`" if command else f"install {package}"
        raise LareError(f"video: drawing {what} needs {package}, which is not installed; {remedy}") from error
    except ANY_FAILURE as error:
        said = f"{type(error).__name__}: {one_line(error)}"
        if _lacks_a_screen(error):
            raise LareError(
                f"video: {what} could not be drawn here ({said}); install EGL or OSMesa and set MUJOCO_GL=egl or "
                "MUJOCO_GL=osmesa"
            ) from error
        raise LareError(
            f"video: {what} failed while it was drawn ({said}); correct its render method"
        ) from error


def _lacks_a_screen(error: BaseException) -> bool:
    modules = {
        part
        for frame, _ in traceback.walk_tb(error.__traceback__)
        for part in frame.f_globals.get("__name__", "").split(".")
    }
    return bool(_GRAPHICS & modules) or "display" in f"{error}".lower()


def _encode(path: Path, pictures: Sequence[Picture], rate: float) -> None:
    import imageio_ffmpeg

    height, width = pictures[0].shape[:2]
    with warnings.catch_warnings():
        # The encoder is a process of its own that replaces itself at once: no lock of JAX's threads is inherited.
        warnings.filterwarnings("ignore", r".*os\.fork\(\)", RuntimeWarning)
        writer = imageio_ffmpeg.write_frames(
            str(path),
            (width, height),
            fps=rate,  # pyright: ignore[reportArgumentType] - it takes any number
            macro_block_size=2,
            ffmpeg_log_level="quiet",
            output_params=["-f", "mp4"],
        )
        writer.send(None)
    try:
        for picture in pictures:
            writer.send(np.ascontiguousarray(picture))
    finally:
        writer.close()
