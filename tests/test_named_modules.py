"""No file imports a module or calls a function that nobody named, and none writes elsewhere."""

import json
import sys
from pathlib import Path

import gymnasium
import pytest
from hostile import MARK, MODULE, PENDULUM, everything, refused, team_task

import latent_reward as lr
from latent_reward import cli
from latent_reward.files import as_file_name, is_file_name
from latent_reward.task.check import check_task


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with a module that leaves a mark when it runs, as the current one."""
    monkeypatch.chdir(tmp_path)
    Path("stranger.py").write_text(MODULE)
    yield tmp_path
    for name in ("stranger", "mine", "beside", "packed", "packed.inner"):
        sys.modules.pop(name, None)
    for name in ("Stranger-v0", "Mine-v0"):
        gymnasium.registry.pop(name, None)


# ---------------------------------------------------------------- names


@pytest.mark.parametrize("name", ["HalfCheetah-v5", "my task", "größe", "a.b_c-1", "0..4", "x" * 100])
def test_a_name_that_is_safe(name):
    assert is_file_name(name)


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../x", "a/b", "a\\b", "/etc", "-rf", ".hidden", "a\n", "a\0", " a", "a ", "a.", "con", "NUL.txt",
     "a:b", "a*", "$HOME", "~", "a\x1b", "\ud800", "x" * 101, "\u202ea", "a;b"],
)  # fmt: skip
def test_a_name_that_is_not(name):
    assert not is_file_name(name)
    assert is_file_name(as_file_name(name))


@pytest.mark.parametrize("name", ["../../../x", "/tmp/x", "..", "a/b", "a\\..\\b", ".x", "-x", "a\x1b[2J"])
def test_no_task_writes_outside_the_folder_of_runs(name, tmp_path, monkeypatch, capsys):
    (tmp_path / "inner").mkdir()
    monkeypatch.chdir(tmp_path / "inner")
    document = dict(PENDULUM, name=name)
    Path("t.yaml").write_text(json.dumps(document), "utf-8")
    before = everything(tmp_path)
    for words in (["check", "t.yaml"], ["train", "t.yaml", "--method", "linear", "--steps", "10"]):
        assert "name" in refused(capsys, *words)
    assert everything(tmp_path) == before
    with pytest.raises(lr.LareError, match="name"):
        lr.train("Pendulum-v1", method={"name": name, "kind": "solved", "groups": ["raw"]})
    with pytest.raises(lr.LareError, match="method"):
        lr.Recipe(name, lr.find_method("linear", "replay").credit)


# ---------------------------------------------------------------- what a file may lead to

COMMANDS = (["check"], ["train", "--method", "rrd-unbiased"], ["design", "--model", "m", "--out", "out"])


@pytest.mark.parametrize("command", COMMANDS, ids=lambda each: each[0])
@pytest.mark.parametrize(
    ("name", "kwargs"),
    [
        ("os:system", {"command": f"touch {MARK}"}),
        ("posix:system", {"command": f"touch {MARK}"}),
        ("subprocess:run", {"args": ["touch", MARK]}),
        ("builtins:exec", {}),
        ("importlib:import_module", {"name": "stranger"}),
        ("yaml:unsafe_load", {"stream": f"!!python/object/apply:os.system ['touch {MARK}']"}),
        ("latent_reward.cli:main", {"argv": ["tasks"]}),
        ("stranger:make", {}),
        ("stranger", {}),
        ("stranger:system", {"command": f"touch {MARK}"}),
        ("pettingzoo.utils.conversions:aec_to_parallel", {}),
        ("numpy.testing:runstring", {"astr": "import stranger", "dict": {}}),
        ("__main__:main", {}),
        ("..:x", {}),
        ("stranger.make:x", {}),
        ("a b:c", {}),
        ("", {}),
    ],
)
def test_no_task_file_imports_or_calls_what_nobody_named(command, name, kwargs, here, capsys):
    Path("t.yaml").write_text(json.dumps(team_task(name, **kwargs)), "utf-8")
    head, *rest = command
    refused(capsys, head, "t.yaml", *rest)
    assert not Path(MARK).exists()
    assert not Path("runs").exists()


@pytest.mark.parametrize("command", COMMANDS, ids=lambda each: each[0])
@pytest.mark.parametrize(
    "env", ["stranger:Stranger-v0", "os:x", "antigravity:X-v0", "GymV26Environment-v0", "a:b:c"]
)
def test_no_task_file_imports_a_module_that_nobody_named(command, env, here, capsys):
    Path("t.yaml").write_text(json.dumps({**PENDULUM, "env": env}), "utf-8")
    head, *rest = command
    line = refused(capsys, head, "t.yaml", *rest)
    assert not Path(MARK).exists()
    if env.startswith("stranger"):
        assert "--import stranger" in line


def test_a_module_that_is_named_is_imported(here, capsys):
    Path("t.yaml").write_text(json.dumps({**PENDULUM, "env": "stranger:Stranger-v0"}), "utf-8")
    cli.main(["check", "t.yaml", "--import", "stranger"])
    assert "fits stranger:Stranger-v0" in capsys.readouterr().out
    assert Path(MARK).read_text() == "imported"
    assert "--import stranger" in refused(capsys, "check", "t.yaml")  # naming it once is for one command


@pytest.mark.parametrize("name", ["stranger:system", "stranger:open", "stranger:gymnasium", "stranger:MARK"])
def test_what_is_in_a_named_module_and_makes_no_environment_is_not_called(name, here, capsys):
    Path("t.yaml").write_text(json.dumps(team_task(name, command="touch called")), "utf-8")
    assert "pettingzoo" in refused(capsys, "check", "t.yaml", "--import", "stranger")
    assert not Path("called").exists()


def test_the_standard_library_holds_no_environment_whoever_names_it(here, capsys):
    Path("t.yaml").write_text(json.dumps(team_task("subprocess:run", args=["touch", MARK])), "utf-8")
    assert "is no environment" in refused(capsys, "check", "t.yaml", "--import", "subprocess")
    assert not Path(MARK).exists()


@pytest.mark.parametrize("module", ["no_such_module", "a b", "", "../x", "stranger; rm", "broken", "quits"])
def test_a_module_that_cannot_be_imported_is_one_line(module, here, capsys):
    Path("broken.py").write_text("1 / 0")
    Path("quits.py").write_text("import sys; sys.exit(3)")
    Path("t.yaml").write_text(json.dumps(PENDULUM), "utf-8")
    assert "import: " in refused(capsys, "check", "t.yaml", "--import", module)


def test_a_file_of_settings_names_no_module_and_no_other_folder(here, capsys):
    for settings, said in (
        ({"task": "stranger:Stranger-v0", "method": "linear"}, "--import stranger"),
        ({"task": "Pendulum-v1", "method": "linear", "out": "../elsewhere"}, "out"),
        ({"task": "Pendulum-v1", "method": "linear", "out": "/elsewhere"}, "out"),
    ):
        Path("c.yaml").write_text(json.dumps(settings), "utf-8")
        assert said in refused(capsys, "train", "--config", "c.yaml", "--steps", 10)
    assert not Path(MARK).exists()


def test_what_is_written_on_the_command_line_is_named_by_that(here, capsys):
    cli.main(["task", "init", "stranger:Stranger-v0", "--out", "draft.yaml"])
    assert "`lare check draft.yaml --import stranger`" in " ".join(capsys.readouterr().out.split())


def test_in_python_a_module_that_was_imported_is_named_by_that(here, monkeypatch):
    monkeypatch.syspath_prepend(here)
    task = team_task("stranger:make")
    Path("t.yaml").write_text(json.dumps(task), "utf-8")
    assert "--import stranger" in str(check_task("t.yaml")[0])
    assert not Path(MARK).exists()
    __import__("stranger")
    assert "called" not in Path(MARK).read_text()
    assert "has no possible_agents" in str(check_task("t.yaml")[0])  # it was called, and made nothing
    assert "called" in Path(MARK).read_text()
    for name in ("os:system", "yaml:unsafe_load", "numpy.testing:runstring", "stranger:system"):
        Path("t.yaml").write_text(json.dumps(team_task(name, command="touch more")), "utf-8")
        assert check_task("t.yaml")
    assert not Path("more").exists()


def test_a_named_module_brings_the_modules_that_it_imports_and_no_others(here, capsys):
    Path("mine.py").write_text(
        "import beside\nimport optional_package_nobody_has\n" + MODULE.replace("Stranger", "Mine")
    )
    Path("beside.py").write_text("import packed.inner\n")
    Path("packed").mkdir()
    Path("packed/__init__.py").write_text("")
    Path("packed/inner.py").write_text("import json\n")
    for name in ("torch", "optional_other"):
        Path(f"{name}.py").write_text("open('other', 'w')")
    Path("mine.py").write_text(
        Path("mine.py").read_text().replace("import optional_package_nobody_has\n", "")
    )
    Path("t.yaml").write_text(json.dumps({**PENDULUM, "env": "mine:Mine-v0"}), "utf-8")
    cli.main(["check", "t.yaml", "--import", "mine"])
    assert "fits mine:Mine-v0" in capsys.readouterr().out
    assert {"mine", "beside", "packed.inner"} <= set(sys.modules)
    assert not Path("other").exists()
