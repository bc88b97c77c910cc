"""``lare credit``: recorded episodes in three formats, what is printed and written, and files from strangers."""

import io
import pickle
import zipfile

import numpy as np
import pytest
import recorded_episodes

from latent_reward import cli
from latent_reward.library.recorded.find import read_data

pytestmark = pytest.mark.usefixtures("compile_fast")

h5py = pytest.importorskip("h5py")


def archive(path, episodes, **replaced):
    arrays = {
        "observation": np.concatenate([each.observations for each in episodes]),
        "action": np.concatenate([each.actions for each in episodes]),
        "length": np.array([len(each) for each in episodes]),
        "return": np.array([each.ret for each in episodes]),
        "reward": np.concatenate([each.rewards for each in episodes]),
    }
    arrays = {name: each for name, each in (arrays | replaced).items() if each is not None}
    np.savez_compressed(path, **arrays)
    return path


def minari(path, episodes):
    with h5py.File(path, "w") as file:
        for number, each in enumerate(episodes):
            group = file.create_group(f"episode_{number}")
            group.attrs["seed"] = number
            for name, array in (
                ("observations", each.observations),
                ("actions", each.actions),
                ("rewards", each.rewards),
                ("terminations", np.zeros(len(each), bool)),
                ("truncations", np.arange(len(each)) == len(each) - 1),
            ):
                group.create_dataset(name, data=array)
    return path


def lare(capsys, *words):
    """Exit status and what was printed; a traceback fails the test."""
    status = 0
    try:
        cli.main(["credit", *map(str, words)])
    except SystemExit as stop:
        status = stop.code or 0
    shown = capsys.readouterr()
    return status, shown.out, shown.err


@pytest.fixture(scope="module")
def linear():
    """Episodes of which raw return decomposition explains the returns after few updates."""
    return recorded_episodes.episodes(60, steps=3, vary=3)


RRD = ("--method", "rd", "--updates", "700")


def test_an_archive_gets_rewards(tmp_path, capsys, linear):
    data = archive(tmp_path / "in.npz", linear, note=np.array([1.0, 2.0]))
    before = data.read_bytes()
    status, shown, error = lare(capsys, data, *RRD, "--out", tmp_path / "out.npz")
    assert (status, error) == (0, "")
    assert "60 episodes" in shown
    assert "held-out returns explained by rd" in shown
    assert "correlation with the true rewards" in shown
    with np.load(tmp_path / "out.npz", allow_pickle=False) as found, np.load(data) as old:
        assert set(found) == set(old)
        assert found["reward"].shape == old["reward"].shape
        assert np.corrcoef(found["reward"], old["reward"])[0, 1] > 0.7
        for name in set(old) - {"reward"}:
            np.testing.assert_array_equal(found[name], old[name])
    assert data.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.npz", "out.npz"]


def test_hdf5_and_minari_folders_get_rewards(tmp_path, capsys, linear, monkeypatch):
    data = minari(tmp_path / "in.hdf5", linear)
    status, _, error = lare(capsys, data, *RRD, "--out", tmp_path / "out.hdf5")
    assert (status, error) == (0, "")
    folder = tmp_path / "root" / "mine" / "push-v0"
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "main_data.hdf5").write_bytes(data.read_bytes())
    (folder / "data" / "metadata.json").write_text("{}")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "root"))
    status, _, error = lare(capsys, "mine/push-v0", *RRD, "--out", tmp_path / "set")
    assert (status, error) == (0, "")
    assert (tmp_path / "set" / "data" / "metadata.json").read_text() == "{}"
    with (
        h5py.File(tmp_path / "out.hdf5") as first,
        h5py.File(tmp_path / "set" / "data" / "main_data.hdf5") as second,
        h5py.File(data) as old,
    ):
        assert set(first) == set(old)
        for number, each in enumerate(linear):
            name = f"episode_{number}"
            np.testing.assert_array_equal(first[name]["rewards"][()], second[name]["rewards"][()])
            assert len(first[name]["rewards"]) == len(each)
            assert not np.allclose(first[name]["rewards"][()], each.rewards)
            np.testing.assert_array_equal(first[name]["actions"][()], each.actions)
            assert first[name].attrs["seed"] == number


def test_it_refuses_to_pretend(tmp_path, capsys):
    noise = recorded_episodes.episodes(20, noise=lambda random, length: random.normal())
    data, out = archive(tmp_path / "in.npz", noise, reward=None), tmp_path / "out.npz"
    status, _, error = lare(capsys, data, "--method", "rd", "--updates", "5", "--out", out)
    assert status == 1
    assert "held-out returns are not explained" in error
    assert error.count("\n") == 1
    assert not out.exists()
    status, shown, _ = lare(capsys, data, "--method", "rd", "--updates", "5", "--out", out, "--force")
    assert status == 0
    assert "written all the same, though held-out returns are not explained" in shown
    assert np.load(out)["reward"].shape == (400,)


def test_equal_returns_are_refused(tmp_path, capsys):
    data = archive(tmp_path / "in.npz", recorded_episodes.episodes(20, noise=lambda *_: -1.0))
    status, _, error = lare(capsys, data, "--method", "rrd", "--out", tmp_path / "out.npz")
    assert status == 1
    assert "all 20 returns so far are equal: nothing to assign yet (each is -1)" in error


def test_a_task_brings_its_encoder(tmp_path, capsys):
    random = np.random.default_rng(0)
    length, count = 50, 12
    seen = random.normal(size=(count * (length + 1), 10))
    seen *= np.repeat(random.uniform(0.2, 2.0, count), length + 1)[:, None]
    after = np.concatenate([np.arange(length) + 1 + (length + 1) * each for each in range(count)])
    reward = -np.hypot(seen[after, 8], seen[after, 9])
    arrays = {
        "observation": seen,
        "action": random.normal(size=(count * length, 2)),
        "length": np.full(count, length),
        "return": reward.reshape(count, length).sum(axis=1),
    }
    np.savez(tmp_path / "in.npz", **arrays)
    out = tmp_path / "out.npz"
    status, shown, error = lare(
        capsys, tmp_path / "in.npz", "--task", "Reacher-v5", "--updates", "50", "--out", out
    )
    assert (status, error) == (0, "")
    assert "reward per standard deviation: nearness" in shown
    assert np.corrcoef(np.load(out)["reward"], reward)[0, 1] > 0.9


@pytest.mark.parametrize("name", ["episodic", "uniform", "dense"])
def test_references_are_written_without_a_measure(tmp_path, capsys, linear, name):
    data = archive(tmp_path / "in.npz", linear)
    status, shown, _ = lare(capsys, data, "--method", name, "--out", tmp_path / "out.npz")
    assert status == 0
    assert "spreads the return itself" in shown


def test_teams_and_discrete_actions(tmp_path, capsys):
    recorded = recorded_episodes.episodes(12, agents=2, discrete=True, steps=5)
    data = archive(tmp_path / "in.npz", recorded)
    out = tmp_path / "out.npz"
    status, *_ = lare(capsys, data, "--method", "rrd", "--updates", "2", "--out", out, "--force")
    assert status == 0
    assert np.load(out)["reward"].shape == (60, 2)


def test_episodes_that_were_cut_are_known_by_their_length(tmp_path):
    recorded = recorded_episodes.episodes(10, steps=3, vary=4)
    data = archive(tmp_path / "in.npz", recorded)
    longest = max(map(len, recorded))
    found = read_data(data, None).episodes
    assert [each.terminated for each in found] == [len(each) < longest for each in found]
    assert all(each.terminated for each in read_data(data, 100).episodes)
    told = archive(tmp_path / "told.npz", recorded, terminated=np.arange(10) % 2)
    assert [each.terminated for each in read_data(told, None).episodes] == [False, True] * 5


def test_out_is_never_data(tmp_path, capsys, linear):
    data = archive(tmp_path / "in.npz", linear)
    before = data.read_bytes()
    (tmp_path / "link.npz").symlink_to(data)
    for out in (data, tmp_path / "link.npz", tmp_path, tmp_path / "none" / "out.npz"):
        status, _, error = lare(capsys, data, *RRD, "--out", out)
        assert (status, error.count("\n")) == (1, 1)
        assert error.startswith("lare: out: ")
    assert data.read_bytes() == before


def npy(header, content=b"", magic=b"\x93NUMPY\x01\x00"):
    return magic + len(header).to_bytes(2, "little") + header + content


def member(path, name, content, base):
    """The archive ``base`` with another content of one member."""
    with zipfile.ZipFile(base) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for each in old.namelist():
            if each != name:
                new.writestr(each, old.read(each))
        new.writestr(name, content)


def pickled():
    stream = io.BytesIO()
    np.save(stream, np.array([object], dtype=object), allow_pickle=True)
    return stream.getvalue()


ARCHIVES = {
    "observation missing": {"observation": None},
    "return missing": {"return": None},
    "lengths do not fit": {"length": np.full(60, 3)},
    "length 0": {"length": np.zeros(60, int)},
    "lengths are huge": {"length": np.full(60, 2**40)},
    "lengths are text": {"length": np.array(["a"] * 60)},
    "lengths are halves": {"length": np.full(60, 3.5)},
    "nan in observation": {"observation": np.full((318, 3), np.nan)},
    "inf in return": {"return": np.full(60, np.inf)},
    "returns too few": {"return": np.ones(59)},
    "a return of two": {"return": np.ones((60, 2))},
    "reward too short": {"reward": np.ones(3)},
    "complex": {"return": np.ones(60, complex)},
    "no numbers": {"observation": np.array(3.0)},
    "terminated": {"terminated": np.ones((60, 2))},
}


@pytest.mark.parametrize("name", ARCHIVES)
def test_a_wrong_archive_gives_one_line_that_names_file_and_key(tmp_path, capsys, linear, name):
    data = archive(tmp_path / "in.npz", linear, **ARCHIVES[name])
    status, _, error = lare(capsys, data, *RRD, "--out", tmp_path / "out.npz")
    assert status == 1
    assert error.count("\n") == 1, error
    assert "in.npz" in error
    assert next(iter(ARCHIVES[name])) in error
    assert not (tmp_path / "out.npz").exists()


MEMBERS = {
    "pickle": pickled(),
    "raw pickle": pickle.dumps([1]),
    "empty": b"",
    "huge": npy(b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000000,), }\n"),
    "negative": npy(b"{'descr': '<f8', 'fortran_order': False, 'shape': (-1,), }\n"),
    "code": npy(b"{'descr': __import__('os').system('true'), 'fortran_order': False, 'shape': (1,), }\n"),
    "unclosed": npy(b"{'descr': '<f8', 'fortran_order': False, 'shape': (1,\n"),
    "version": npy(b"{}", magic=b"\x93NUMPY\x09\x00"),
    "trailing": npy(b"{'descr': '<f8', 'fortran_order': False, 'shape': (1,), }\n", b"\0" * 20),
}


@pytest.mark.parametrize("name", MEMBERS)
def test_a_hostile_member_gives_one_line(tmp_path, capsys, linear, name):
    base = archive(tmp_path / "base.npz", linear)
    member(tmp_path / "in.npz", "return.npy", MEMBERS[name], base)
    status, _, error = lare(capsys, tmp_path / "in.npz", *RRD, "--out", tmp_path / "out.npz")
    assert (status, error.count("\n")) == (1, 1), error
    assert "return" in error


@pytest.mark.parametrize("content", [b"", b"PK", b"PK\x03\x04 and so on", b"text", b"\x89HDF\r\n\x1a\n rest"])
def test_a_file_of_another_kind_gives_one_line(tmp_path, capsys, content):
    (tmp_path / "in.npz").write_bytes(content)
    status, _, error = lare(capsys, tmp_path / "in.npz", *RRD, "--out", tmp_path / "out.npz")
    assert (status, error.count("\n")) == (1, 1), error
    assert "in.npz" in error


def test_a_bomb_is_not_expanded(tmp_path, capsys, linear):
    data = archive(tmp_path / "in.npz", linear, observation=np.zeros((30_000_000,)))
    status, _, error = lare(capsys, data, *RRD, "--out", tmp_path / "out.npz")
    assert (status, error.count("\n")) == (1, 1)
    assert "240,0" in error


def relink(file):
    del file["episode_1"]["rewards"]
    file["episode_1"]["rewards"] = h5py.ExternalLink("/etc/hostname", "x")


def external(file):
    del file["episode_1"]["rewards"]
    file["episode_1"].create_dataset("rewards", (4,), "u1", external=[("/etc/hostname", 0, 4)])


def sparse(file):
    del file["episode_1"]["observations"]
    file["episode_1"].create_dataset("observations", (10**12, 3), "f8", chunks=(1000, 3))


def grouped(file):
    del file["episode_1"]["observations"]
    file["episode_1"].create_group("observations").create_dataset("position", data=[1.0])


def replaced(name, value):
    def change(file):
        del file["episode_1"][name]
        if value is not None:
            file["episode_1"][name] = value

    return change


LAYOUTS = {
    "link": relink,
    "external": external,
    "sparse": sparse,
    "group": grouped,
    "missing": replaced("actions", None),
    "text": replaced("rewards", "text"),
    "short": replaced("observations", np.ones((2, 3))),
    "nan": replaced("rewards", [np.nan] * 4),
    "scalar": replaced("actions", 3.0),
    "no ends": replaced("terminations", np.zeros(0, bool)),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_wrong_hdf5_file_gives_one_line_that_names_the_array(tmp_path, capsys, linear, name):
    data = minari(tmp_path / "in.hdf5", linear[:3])
    with h5py.File(data, "r+") as file:
        LAYOUTS[name](file)
    status, _, error = lare(capsys, data, *RRD, "--out", tmp_path / "out.hdf5")
    assert (status, error.count("\n")) == (1, 1), error
    assert "in.hdf5: episode_1/" in error


def test_an_hdf5_file_of_another_layout_gives_one_line(tmp_path, capsys):
    with h5py.File(tmp_path / "in.hdf5", "w") as file:
        file["observations"] = [1.0]
    status, _, error = lare(capsys, tmp_path / "in.hdf5", *RRD, "--out", tmp_path / "out.hdf5")
    assert (status, error.count("\n")) == (1, 1)
    assert "no groups episode_0" in error


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("none.npz", *RRD), "no file or folder"),
        (("..", *RRD), "main_data.hdf5"),
        (("in.npz",), "give an encoder, or choose a method"),
        (("in.npz", "--task", "HalfCheetah-v5"), "observations"),
        (("in.npz", "--task", "Nothing-v0"), "no built-in task"),
        (("in.npz", "--method", "rrd", "--updates", "0"), "updates"),
    ],
)
def test_arguments_that_do_not_fit(tmp_path, capsys, linear, monkeypatch, words, message):
    archive(tmp_path / "in.npz", linear)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "sets"))
    status, _, error = lare(capsys, *words, "--out", "out.npz")
    assert (status, error.count("\n")) == (1, 1), error
    assert message in error
