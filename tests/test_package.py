"""The public names of the package: found, listed, and imported late."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import latent_reward as lr
from latent_reward import cli


def test_every_public_name_is_there_and_listed():
    assert set(lr.__all__) <= set(dir(lr))
    for name in lr.__all__:
        assert getattr(lr, name) is not None
    with pytest.raises(AttributeError, match="nothing_of_this_name"):
        lr.nothing_of_this_name  # noqa: B018


def test_the_version_is_that_of_the_project(capsys):
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text("utf-8"))["project"]
    assert lr.__version__ == project["version"]
    cli.main(["--version"])
    assert capsys.readouterr().out == f"lare {project['version']}\n"


def test_it_is_typed():
    assert (Path(lr.__file__).parent / "py.typed").is_file()


def test_importing_the_package_imports_nothing_slow():
    script = "import sys, latent_reward; print(sorted({'jax', 'numpy', 'gymnasium'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
