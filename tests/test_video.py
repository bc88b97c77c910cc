"""Videos: frames of one seeded episode in a file that players understand."""

import imageio_ffmpeg
import numpy as np
import pytest

from latent_reward.errors import LareError
from latent_reward.report import video
from latent_reward.report.video import record
from latent_reward.task.load import load_task


class Screen:
    """Stands in for an environment that renders; the machine that runs the tests may have no renderer."""

    metadata = {"render_fps": 25}  # noqa: RUF012

    def reset(self, seed):
        self.left = 5
        return np.zeros(2), {}

    def step(self, action):
        self.left -= 1
        return np.zeros(2), 0.0, False, self.left == 0, {}

    def render(self):
        return np.full((64, 96, 3), 40 * self.left, np.uint8)

    def close(self):
        pass


def test_every_frame_of_the_episode_is_in_the_file(monkeypatch, tmp_path):
    monkeypatch.setattr(video, "make_env", lambda task, render_mode: Screen())
    path = record(load_task("Reacher-v5"), lambda observation: np.zeros(2), tmp_path / "episode.mp4")
    frames, seconds = imageio_ffmpeg.count_frames_and_secs(str(path))
    assert frames == 6
    assert seconds == pytest.approx(6 / 25, abs=0.05)


def test_a_machine_without_a_renderer_is_told_what_to_install(monkeypatch, tmp_path):
    def broken(task, render_mode):
        raise RuntimeError("no display")

    monkeypatch.setattr(video, "make_env", broken)
    with pytest.raises(LareError, match="MUJOCO_GL"):
        record(load_task("Reacher-v5"), lambda observation: np.zeros(2), tmp_path / "episode.mp4")
