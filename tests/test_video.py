"""Videos: frames of one seeded episode in a file that players understand."""

import builtins
import subprocess

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


def still(step, observations, available):
    return [(np.zeros((1, 1, 2), np.float32), np.zeros((1, 1), np.float32))]


def film(make, path):
    return write_video(path, lambda: copies(make).film(3, still))


def screen(render=None, **metadata):
    """An environment whose ``render`` is this function, called with the number of steps left."""
    env = Screen()
    env.metadata = {"render_fps": 25, "render_modes": ["rgb_array"], **metadata}
    if render is not None:
        env.render = lambda: render(env.left)
    return env


def decoded(path):
    """All pictures of a file, ``[picture, height, width, 3]``."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(path), "-fps_mode", "passthrough"]
    rest = subprocess.run(
        [*command, "-f", "image2pipe", "-c:v", "ppm", "-"], capture_output=True, check=True
    ).stdout
    pictures = []
    while rest:
        _, size, _, rest = rest.split(b"\n", 3)
        width, height = map(int, size.split())
        picture, rest = rest[: 3 * width * height], rest[3 * width * height :]
        pictures.append(np.frombuffer(picture, np.uint8).reshape(height, width, 3))
    return np.stack(pictures)


def flat(colour, height=64, width=96, dtype=np.uint8):
    return np.full((height, width, len(colour)), colour, dtype)


def test_every_frame_of_the_episode_is_in_the_file(tmp_path):
    screen = Screen()
    path = film(lambda mode: SingleAgent(screen), tmp_path / "episode.mp4")
    frames, seconds = imageio_ffmpeg.count_frames_and_secs(str(path))
    assert frames == 6  # before each of the five steps, and after the last
    assert seconds == pytest.approx(6 / 25, abs=0.05)
    assert (screen.seed, screen.closed) == (3, True)


LEVELS = [20, 60, 100, 140, 180, 220]  # of grey, by the number of steps left
KINDS = {
    "uint8": lambda left: flat([LEVELS[left]] * 3),
    "float to 1": lambda left: flat([LEVELS[left] / 255] * 3, dtype=np.float32),
    "float to 255": lambda left: flat([LEVELS[left]] * 3, dtype=np.float64),
    "float of half precision": lambda left: flat([LEVELS[left] / 255] * 3, dtype=np.float16),
    "long integers": lambda left: flat([LEVELS[left]] * 3, dtype=np.int64),
    "grey": lambda left: flat([LEVELS[left]])[:, :, 0],
    "grey with a channel": lambda left: flat([LEVELS[left]]),
    "grey floats": lambda left: flat([LEVELS[left] / 255], dtype=np.float32)[:, :, 0],
    "opaque": lambda left: flat([LEVELS[left]] * 3 + [255]),
    "transparent over white": lambda left: flat([0, 0, 0, 255 - LEVELS[left]]),
    "transparent floats": lambda left: flat([0, 0, 0, 1 - LEVELS[left] / 255], dtype=np.float32),
    "nested lists": lambda left: flat([LEVELS[left]] * 3, 8, 6).tolist(),
    "a list of one": lambda left: [flat([LEVELS[left]] * 3)],
    "a tuple of one": lambda left: (flat([LEVELS[left]] * 3),),
    "odd sides": lambda left: flat([LEVELS[left]] * 3, 63, 95),
    "one pixel": lambda left: flat([LEVELS[left]] * 3, 1, 1),
    "not contiguous": lambda left: flat([LEVELS[left]] * 3)[::-2, ::3],
}


@pytest.mark.parametrize("kind", KINDS)
def test_pictures_of_any_kind_are_shown_as_they_are(kind, tmp_path):
    draw = KINDS[kind]
    path = film(lambda mode: SingleAgent(screen(draw)), tmp_path / "episode.mp4")
    shown = decoded(path)
    first = draw(0)
    height, width = np.shape(first[0] if kind.endswith("of one") else first)[:2]
    assert shown.shape == (6, height + height % 2, width + width % 2, 3)
    expected = np.broadcast_to(np.array(LEVELS[::-1])[:, None, None, None], shown.shape)
    np.testing.assert_allclose(shown, expected, atol=6)


def test_black_and_white_pictures_and_an_empty_list_between_full_ones(tmp_path):
    draw = lambda left: [] if left % 2 else [flat([left == 4] * 3, dtype=bool)] * 2  # noqa: E731
    shown = decoded(film(lambda mode: SingleAgent(screen(draw)), tmp_path / "episode.mp4"))
    np.testing.assert_allclose(shown.mean(axis=(1, 2, 3)), [255, 255, 0, 0, 0, 0], atol=6)


def test_dark_pictures_among_floats_to_255_stay_dark(tmp_path):
    draw = lambda left: flat([1.0 if left > 2 else 200.0] * 3, dtype=np.float32)  # noqa: E731
    shown = decoded(film(lambda mode: SingleAgent(screen(draw)), tmp_path / "episode.mp4"))
    np.testing.assert_allclose(shown.mean(axis=(1, 2, 3)), [1, 1, 1, 200, 200, 200], atol=6)


@pytest.mark.parametrize(("height", "width"), [(32, 48), (128, 192), (64, 48), (33, 47), (1, 1), (64, 97)])
def test_pictures_of_another_size_are_fitted_into_the_first(height, width, tmp_path):
    draw = lambda left: flat([200, 100, 50], *(64, 96) if left == 5 else (height, width))  # noqa: E731
    shown = decoded(film(lambda mode: SingleAgent(screen(draw)), tmp_path / "episode.mp4"))
    assert shown.shape == (6, 64, 96, 3)
    np.testing.assert_allclose(shown[1:, 32, 48], np.broadcast_to([200, 100, 50], (5, 3)), atol=12)
    there = (shown[1] > 30).all(axis=-1).mean()  # the rest is black
    assert there == pytest.approx(min(height / width * 1.5, width / height / 1.5), abs=0.1)


def test_an_environment_that_draws_into_one_array_shows_each_picture(tmp_path):
    canvas = flat([0, 0, 0])

    def draw(left):
        canvas[:] = LEVELS[left]
        return canvas

    shown = decoded(film(lambda mode: SingleAgent(screen(draw)), tmp_path / "episode.mp4"))
    np.testing.assert_allclose(shown.mean(axis=(1, 2, 3)), LEVELS[::-1], atol=6)


@pytest.mark.parametrize(
    "modes", [["rgb_array_list"], ["human", "rgb_array"], ("ansi", "rgb_array_list"), None]
)
def test_the_mode_that_gives_pictures_is_asked_for(modes, tmp_path):
    asked = []

    def make(mode):
        asked.append(mode)
        return SingleAgent(screen(render_modes=modes))

    film(make, tmp_path / "episode.mp4")
    assert asked == [None, "rgb_array_list" if modes and "rgb_array" not in modes else "rgb_array"]


@pytest.mark.parametrize("rate", [0.5, 1, 24000 / 1001, 25, np.float32(30.0), np.int64(60), 1000, None])
def test_every_rate_gives_every_picture_once(rate, tmp_path):
    path = film(lambda mode: SingleAgent(screen(render_fps=rate)), tmp_path / "episode.mp4")
    frames, seconds = imageio_ffmpeg.count_frames_and_secs(str(path))
    assert frames == 6 == len(decoded(path))
    assert seconds == pytest.approx(6 / float(rate or 10), rel=0.1, abs=0.02)


REFUSED = {
    "nothing": (None, "picture 2 of the environment is None"),
    "text": ("+--+", "picture 2 of the environment is a str"),
    "bytes": (b"+--+", "is a bytes without numbers"),
    "an object": (object(), "is a object without numbers"),
    "a dictionary": ({"picture": 1}, "is a dict without numbers"),
    "rows of different lengths": ([[[1, 2], [1]], [[1], [2]]], "is a list, which is no array"),
    "a number": (7, r"is an array of shape \(\)"),
    "a row": (np.zeros(4), r"is an array of shape \(4,\)"),
    "two channels": (np.zeros((8, 8, 2)), r"is an array of shape \(8, 8, 2\)"),
    "channels first": (np.zeros((3, 8, 8)), r"is an array of shape \(3, 8, 8\)"),
    "four axes": (np.zeros((1, 8, 8, 3)), r"is an array of shape \(1, 8, 8, 3\)"),
    "empty": (np.zeros((0, 8, 3)), r"is empty, an array of shape \(0, 8, 3\)"),
    "empty and grey": (np.zeros((8, 0)), r"is empty, an array of shape \(8, 0\)"),
    "NaN": (np.full((8, 8, 3), np.nan), "has values that are not finite"),
    "infinite": (np.full((8, 8), np.inf, np.float32), "has values that are not finite"),
    "negative": (np.full((8, 8, 3), -1), "has values from -1 to -1"),
    "too bright": (np.full((8, 8, 3), 65535, np.uint16), "has values from 65535 to 65535"),
    "complex": (np.ones((8, 8, 3), complex), "is a ndarray without numbers"),
    "too large": (np.zeros((2, 10_000), np.uint8), "has 10000 × 2 pixels"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_picture_is_refused_and_no_file_is_written(kind, tmp_path):
    drawn, message = REFUSED[kind]
    path = tmp_path / "episode.mp4"
    path.write_bytes(b"an older video")
    env = screen(lambda left: drawn if left == 3 else flat([9, 9, 9]))
    with pytest.raises(LareError, match=r"^video: picture 2 of the environment .*; \w") as error:
        film(lambda mode: SingleAgent(env), path)
    assert error.match(message)
    assert "\n" not in str(error.value)
    assert env.closed
    assert [each.name for each in tmp_path.iterdir()] == ["episode.mp4"]
    assert path.read_bytes() == b"an older video"


def test_an_environment_that_returns_no_pictures_at_all_is_refused(tmp_path):
    with pytest.raises(LareError, match=r"^video: the environment returned no pictures; let render"):
        film(lambda mode: SingleAgent(screen(lambda left: [])), tmp_path / "episode.mp4")


@pytest.mark.parametrize("rate", [0, 0.0, -5, 1e-9, 1e9, np.nan, np.inf, "fast", True, [25]])
def test_a_rate_that_no_video_has_is_refused_before_anything_is_drawn(rate, tmp_path):
    env = screen(lambda left: pytest.fail("it is drawn"), render_fps=rate)
    with pytest.raises(
        LareError, match=r"^video: .* asks for .* pictures per second; set metadata\['render_fps'\]"
    ):
        film(lambda mode: SingleAgent(env), tmp_path / "episode.mp4")
    assert env.closed
    assert not list(tmp_path.iterdir())


def test_an_environment_without_pictures_among_its_render_modes_is_refused(tmp_path):
    with pytest.raises(
        LareError, match=r"^video: screen offers no render mode with pictures, only human, ansi; "
    ):
        film(lambda mode: SingleAgent(screen(render_modes=["human", "ansi"])), tmp_path / "episode.mp4")


def test_an_environment_without_a_render_mode_is_refused(tmp_path):
    def fixed(mode=None, /):
        if mode is not None:
            raise TypeError("unexpected keyword")
        return SingleAgent(Screen())

    with pytest.raises(
        LareError, match=r"^video: screen takes no render_mode \(unexpected keyword\), so it draws"
    ):
        film(fixed, tmp_path / "episode.mp4")


def test_a_missing_package_is_named_with_the_command_that_installs_it(tmp_path):
    def depends(left):
        try:
            import nothing_here  # pyright: ignore[reportMissingImports]
        except ImportError as error:
            told = 'nothing_here is not installed, run `pip install "gymnasium[classic-control]"`'
            raise gymnasium.error.DependencyNotInstalled(told) from error
        return nothing_here

    def imports(left):
        import nothing_here  # pyright: ignore[reportMissingImports]

        return nothing_here

    for render, remedy in (
        (depends, r'run `pip install "gymnasium\[classic-control\]"`$'),
        (imports, r"install nothing_here$"),
    ):
        env = screen(render)
        with pytest.raises(
            LareError, match=rf"^video: drawing screen needs nothing_here, which .*; {remedy}"
        ):
            film(lambda mode, env=env: SingleAgent(env), tmp_path / "episode.mp4")
        assert env.closed


@pytest.mark.parametrize("package", ["imageio_ffmpeg", "PIL"])
def test_a_missing_encoder_is_named_with_the_extra_that_has_it(package, tmp_path, monkeypatch):
    importing = builtins.__import__

    def without(name, *arguments, **more):
        if name == package:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return importing(name, *arguments, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(
        LareError, match=rf'^video: it needs {package}, .*pip install "latent-reward\[video\]"'
    ):
        film(lambda mode: SingleAgent(screen()), tmp_path / "episode.mp4")


def test_a_render_method_that_fails_is_to_be_corrected(tmp_path):
    env = screen(lambda left: 1 / 0)
    with pytest.raises(
        LareError, match=r"^video: screen failed .*ZeroDivisionError: .*; correct its render method$"
    ):
        film(lambda mode: SingleAgent(env), tmp_path / "episode.mp4")
    assert env.closed


def test_a_machine_without_a_screen_is_told_what_to_install(tmp_path):
    def broken(mode):
        if mode is None:
            return SingleAgent(screen())
        raise RuntimeError("no display")

    with pytest.raises(LareError, match=r"no display.*MUJOCO_GL"):
        film(broken, tmp_path / "episode.mp4")
    assert not (tmp_path / "episode.mp4").exists()


@pytest.mark.parametrize("fault", ["fewer pictures", "no file", "a broken pipe"])
def test_a_file_is_reported_only_if_all_of_it_can_be_read(fault, tmp_path, monkeypatch):
    def writer(path, *arguments, **more):
        whole = encode(path, *arguments, **more)
        whole.send(None)
        yield
        for number in range(10):
            picture = yield
            if fault == "a broken pipe" and number == 2:
                raise OSError("broken pipe\nFFMPEG COMMAND")
            if fault == "fewer pictures" and number < 3:
                whole.send(picture)

    encode = imageio_ffmpeg.write_frames
    monkeypatch.setattr(imageio_ffmpeg, "write_frames", writer)
    with pytest.raises(LareError, match=r"^video: the encoder (failed|wrote 3 of 6)") as error:
        film(lambda mode: SingleAgent(screen()), tmp_path / "episode.mp4")
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["episode.mp4", "episode.gif", "episode"])
def test_a_file_of_any_name_is_an_mp4_file(name, tmp_path):
    path = film(lambda mode: SingleAgent(screen()), tmp_path / name)
    assert path.read_bytes()[4:8] == b"ftyp"
    assert len(decoded(path)) == 6


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path):
    with pytest.raises(LareError, match=r"^video: cannot write .*nowhere"):
        film(lambda mode: SingleAgent(Screen()), tmp_path / "nowhere" / "episode.mp4")
