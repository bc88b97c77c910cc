"""Videos: frames of one seeded episode in a file that players understand."""

import gymnasium
import imageio_ffmpeg
import numpy as np
import pytest

from latent_reward.data.spaces import Continuous
from latent_reward.envs.base import HostWorld, Team
from latent_reward.envs.single import SingleAgent
from latent_reward.errors import LareError
from latent_reward.report.video import write_video
from latent_reward.training.players import Copies


class Screen(gymnasium.Env):
    """Stands in for an environment that renders; the machine that runs the tests may have no renderer."""

    metadata = {"render_fps": 25}  # noqa: RUF012

    closed = False

    def reset(self, *, seed=None, options=None):
        self.left, self.seed = 5, seed
        return np.zeros(2), {}

    def step(self, action):
        self.left -= 1
        return np.zeros(2), 0.0, False, self.left == 0, {}

    def render(self):
        return np.full((64, 96, 3), 40 * self.left, np.uint8)

    def close(self):
        self.closed = True


def copies(make):
    team = Team("agent", 1, 2, Continuous((-1.0, -1.0), (1.0, 1.0)))
    return Copies(HostWorld("screen", (team,), (("agent",),), (0,), make, 100))


def still(step, observations):
    return [(np.zeros((1, 1, 2), np.float32), np.zeros((1, 1), np.float32))]


def film(make, path):
    return write_video(path, lambda: copies(make).film(3, still))


def test_every_frame_of_the_episode_is_in_the_file(tmp_path):
    screen = Screen()
    path = film(lambda mode: SingleAgent(screen), tmp_path / "episode.mp4")
    frames, seconds = imageio_ffmpeg.count_frames_and_secs(str(path))
    assert frames == 6  # before each of the five steps, and after the last
    assert seconds == pytest.approx(6 / 25, abs=0.05)
    assert (screen.seed, screen.closed) == (3, True)


def test_a_machine_without_a_renderer_is_told_what_to_install(tmp_path):
    screen = Screen()
    screen.render = lambda: 1 / 0
    with pytest.raises(LareError, match=r"^video: .*ZeroDivisionError.*MUJOCO_GL"):
        film(lambda mode: SingleAgent(screen), tmp_path / "episode.mp4")
    assert screen.closed

    def broken(mode):
        raise RuntimeError("no display")

    with pytest.raises(LareError, match=r"no display.*MUJOCO_GL"):
        film(broken, tmp_path / "episode.mp4")
    assert not (tmp_path / "episode.mp4").exists()


@pytest.mark.parametrize("drawn", [None, "text", np.zeros((4, 4))])
def test_an_environment_that_draws_no_picture_is_refused(drawn, tmp_path):
    screen = Screen()
    screen.render = lambda: drawn
    with pytest.raises(LareError, match=r"^video: screen draws no picture as rgb_array; choose another"):
        film(lambda mode: SingleAgent(screen), tmp_path / "episode.mp4")


def test_an_environment_without_a_render_mode_is_refused(tmp_path):
    def fixed(mode=None, /):
        if mode is not None:
            raise TypeError("unexpected keyword")
        return SingleAgent(Screen())

    with pytest.raises(LareError, match=r"^video: screen takes no render_mode \(unexpected keyword\)"):
        film(fixed, tmp_path / "episode.mp4")


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path):
    with pytest.raises(LareError, match=r"^video: cannot write .*nowhere"):
        film(lambda mode: SingleAgent(Screen()), tmp_path / "nowhere" / "episode.mp4")
