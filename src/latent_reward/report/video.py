"""One episode as an MP4 file."""

import os
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import imageio_ffmpeg
import numpy as np

from latent_reward.errors import LareError
from latent_reward.task.open import make_env
from latent_reward.task.task import Task


def record(task: Task, act: Callable[[np.ndarray], np.ndarray], path: Path, *, seed: int = 0) -> Path:
    """Play one seeded episode with ``act`` (observation to action) and write its frames to ``path``.

    Raises:
        LareError: frames cannot be rendered on this machine or the file cannot be written.
    """
    if sys.platform == "linux" and not os.environ.get("DISPLAY"):
        os.environ.setdefault("MUJOCO_GL", "egl")  # draws without a screen
    try:
        env = make_env(task, render_mode="rgb_array")
        try:
            frames = _play(env, act, seed)
        finally:
            env.close()
    except LareError:
        raise
    except Exception as error:  # the renderer's own errors have no common type
        raise LareError(
            f"video: {task.env_id} could not be rendered here ({type(error).__name__}: {error}); "
            "install EGL or OSMesa and set MUJOCO_GL=egl or MUJOCO_GL=osmesa"
        ) from error
    return write_video(path, frames, env.metadata.get("render_fps", 30))


def write_video(path: Path, frames: Sequence[np.ndarray], fps: int) -> Path:
    """Write frames ``[height, width, 3]`` as an MP4 file.

    Raises:
        LareError: the file cannot be written.
    """
    try:
        _write(path, frames, fps)
    except OSError as error:
        raise LareError(f"video: cannot write {path}: {error}; make the run folder writable") from error
    return path


def _write(path: Path, frames: Sequence[np.ndarray], fps: int) -> None:
    height, width = frames[0].shape[:2]
    writer = imageio_ffmpeg.write_frames(str(path), (width, height), fps=fps, macro_block_size=8)
    with warnings.catch_warnings():
        # The encoder is a process of its own that replaces itself at once: no lock of JAX's threads is inherited.
        warnings.filterwarnings("ignore", r".*os\.fork\(\)", RuntimeWarning)
        writer.send(None)
    for frame in frames:
        writer.send(np.ascontiguousarray(frame))
    writer.close()


def _play(env, act: Callable[[np.ndarray], np.ndarray], seed: int) -> list[np.ndarray]:
    observation, _ = env.reset(seed=seed)
    frames, over = [env.render()], False
    while not over:
        observation, _, terminated, truncated, _ = env.step(act(np.asarray(observation, np.float32)))
        frames.append(env.render())
        over = terminated or truncated
    return frames
