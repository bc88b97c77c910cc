"""What the documents say is true of the code: commands, options, names, examples, links, versions."""

import contextlib
import dataclasses
import importlib.util
import io
import re
import tomllib
from functools import cache, partial
from itertools import pairwise
from pathlib import Path

import jax
import numpy as np
import pytest
import yaml

import latent_reward as lr
from latent_reward import cli
from latent_reward.agents.base import AgentSpec
from latent_reward.agents.ppo import PPO
from latent_reward.agents.sac import SAC
from latent_reward.credit.methods import METHODS
from latent_reward.credit.metrics import METRICS
from latent_reward.data.episodes import Episodes, Played
from latent_reward.data.spaces import Continuous, Discrete
from latent_reward.encoder.encoder import load, save
from latent_reward.report.evaluation import Report
from latent_reward.sealing.verify import check, encoder_of
from latent_reward.task.check import check_task

ROOT = Path(__file__).parents[1]
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text("utf-8")
    for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
}
RESULTS = (ROOT / "docs/results/README.md").read_text("utf-8")


def blocks(page, language):
    """The fenced blocks of one language in a page."""
    return re.findall(rf"^```{language}\n(.*?)^```", PAGES[page], re.MULTILINE | re.DOTALL)


def named_commands():
    """(page, words) for each `lare …` in a block of commands or between backticks."""
    for page, text in PAGES.items():
        found = [line for block in blocks(page, "") for line in block.splitlines()]
        found += re.findall(
            r"`(lare [^`]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
        )
        for line in found:
            command = re.search(r"(?:^|/)lare ([a-z].*)", line.split("#")[0])
            if command:
                yield pytest.param(command[1].split(), id=f"{page}: {command[0]}")


@cache
def help_of(*words):
    text = io.StringIO()
    with contextlib.redirect_stdout(text), pytest.raises(SystemExit):
        cli.main([*words, "--help"])
    return text.getvalue()


def subcommands(*words):
    """Names of the commands inside ``lare WORDS``, and the one it stands for without a further word."""
    text = help_of(*words)
    names = re.search(r"^usage:[^{]*\[-h\] \[?\{([a-z,-]+)\}", text)
    default = re.search(r"\(default: ([a-z-]+)\)", text)
    return names[1].split(",") if names else [], default[1] if names and default else None


def command_in(words):
    """The words of ``words`` that name a command, however deep it is nested."""
    path = []
    while subcommands(*path)[0]:
        names, default = subcommands(*path)
        if words[len(path) : len(path) + 1] and words[len(path)] in names:
            path.append(words[len(path)])
        else:
            return tuple(path) if default else None
    return tuple(path)


def every_command(*words):
    names, default = subcommands(*words)
    if default or not names:
        yield words
    for name in names:
        if name != default:
            yield from every_command(*words, name)


def commands_of(path):
    return [
        line for line in (ROOT / path).read_text("utf-8").splitlines() if line.startswith("python3 -m venv")
    ]


def test_the_readme_has_two_commands_and_the_second_is_what_is_tested_first():
    train, test = commands_of("README.md")
    assert train.endswith(".venv/bin/lare train")
    (adapters,) = commands_of("docs/stable_baselines3.md")
    assert commands_of(".ci/run") == [test, adapters]
    assert commands_of("CONTRIBUTING.md") == [test]
    assert "python scripts/fuzz --minutes 1\n" in (ROOT / ".ci/run").read_text(
        "utf-8"
    )  # docs/security.md says so
    for script in (".ci/run", "scripts/test"):
        assert (ROOT / script).stat().st_mode & 0o111, f"{script} is not executable"


@pytest.mark.parametrize("words", list(named_commands()))
def test_a_named_command_and_its_options_exist(words):
    command = command_in(words)
    assert command, f"there is no such command: lare {' '.join(words)}"
    options = [word.partition("=")[0] for word in words if word.startswith("--")]
    known = set(re.findall(r"--[a-z][a-z-]*", help_of(*command)))
    assert set(options) <= known
    for option, value in pairwise(words):
        if option == "--method" and value.islower():
            assert value in METHODS


def test_every_command_is_in_the_documents():
    commands = set(every_command())
    assert {("tasks",), ("encoders",), ("train",)} <= commands
    named = {command_in(words) for each in named_commands() for words in each.values}
    assert commands - named == set()


def test_options_of_the_benchmarks_exist():
    named = re.findall(r"python (benchmarks/\w+\.py)([^#\n`]*)", "\n".join(PAGES.values()))
    assert named
    for path, options in named:
        source = (ROOT / path).read_text("utf-8")
        for option in re.findall(r"--[a-z-]+", options):
            assert f'"{option}"' in source, f"{path} has no {option}"


@pytest.mark.parametrize("page", [*PAGES, "docs/results/README.md"])
def test_links_lead_somewhere(page):
    here = (ROOT / page).parent
    for target in re.findall(r"\]\(([^)]+)\)", PAGES.get(page, RESULTS)):
        if "://" not in target:
            path, _, anchor = target.partition("#")
            assert (here / path).exists(), target
            headings = (
                re.findall(r"^#+ (.*)", (here / path).read_text("utf-8"), re.MULTILINE) if anchor else []
            )
            assert not anchor or anchor in [heading.lower().replace(" ", "-") for heading in headings]


def test_the_snippet_of_the_readme_runs(tmp_path, monkeypatch):
    snippet, own = blocks("README.md", "python")
    shorter = snippet.replace("HalfCheetah-v5", "Reacher-v5").replace("steps=200_000", "steps=60, quiet=True")
    assert "steps=60" in shorter
    monkeypatch.chdir(tmp_path)
    rows = {"observation": (3, 10), "action": (3, 2), "next_observation": (3, 10)}
    scope = {name: np.zeros(shape, np.float32) for name, shape in rows.items()}
    exec(shorter, scope)
    assert scope["reward"].shape == (3,)
    assert scope["run"].folder == Path("runs/Reacher-v5/lare/0")
    assert [name for name in scope["run"].metrics[0] if f"`{name}`" not in PAGES["docs/metrics.md"]] == []
    random = np.random.default_rng(0)
    scope |= {
        "observations": random.normal(size=(51, 10)),
        "actions": random.normal(size=(50, 2)),
        "ret": -9.0,
    }
    scope["episodes"] = [lr.Episode(scope["observations"], scope["actions"], -9.0)]
    exec(own.replace("HalfCheetah-v5", "Reacher-v5"), scope)
    assert scope["reward"].shape == (3,)
    assert scope["rewards"][0].shape == (50,)


@pytest.fixture(scope="module")
def pendulum(tmp_path_factory):
    """The task file of docs/tasks.md."""
    (text,) = blocks("docs/tasks.md", "yaml")
    path = tmp_path_factory.mktemp("docs") / "Pendulum-v1.yaml"
    path.write_text(text, "utf-8")
    return path


def test_the_example_task_fits_its_environment(pendulum):
    assert check_task(pendulum) == []


def test_the_example_encoder_passes_every_check(pendulum, tmp_path):
    (source,) = blocks("docs/encoders.md", "python")
    task = lr.load_task(str(pendulum))
    report = check(source, task)
    assert report.passed, str(report)
    for name in [each.name for each in report.checks]:
        assert f"| {name} |" in PAGES["docs/encoders.md"]
    assert load(save(encoder_of(report, source, task), tmp_path)).latent_names == report.latent_names


@pytest.mark.parametrize("page", PAGES)
def test_python_names_what_exists(page):
    for block in blocks(page, "python"):
        row = re.match(r'"[^"]', block)  # of a table: part of a dictionary
        tree = compile(f"{{{block}}}" if row else block, page, "exec")
        assert tree is not None
        for name in re.findall(r"\blr\.(\w+)", block):
            assert hasattr(lr, name), name
        for line in re.findall(r"^from latent_reward\S* import .*", block, re.MULTILINE):
            if ".adapters.sb3 " not in line or importlib.util.find_spec("stable_baselines3"):
                exec(line, {})


@pytest.mark.parametrize("page", ["README.md", "docs/methods.md"])
def test_every_method_is_described(page):
    assert [name for name in METHODS if f"`{name}`" not in PAGES[page]] == []


def losses_of_agents():
    """Names of what the agents report of their learning."""
    key, row = jax.random.key(0), jax.ShapeDtypeStruct((3, 1), np.float32)
    spec, agent = AgentSpec(1, Continuous((-1.0,), (1.0,))), SAC(hidden=(2,))
    state = jax.eval_shape(partial(agent.init, spec), key)
    each = jax.ShapeDtypeStruct((3,), np.float32)
    yield from jax.eval_shape(agent.update_critics, state, row, row, each, each)[1]

    def learn(key):
        real, true = np.zeros((1, 2, 1), np.float32), np.ones((1, 2, 1), bool)
        seen, acted = np.zeros((1, 3, 1, 1), np.float32), np.zeros((1, 2, 1), np.int32)
        episodes = Episodes(
            *map(jax.numpy.asarray, (seen, acted, true, ~true, np.zeros(1, np.float32), real))
        )
        spec, agent = AgentSpec(1, Discrete(2)), PPO(hidden=(2,), minibatch=2)
        played = Played(episodes, jax.numpy.asarray(real), None, None)
        reward, remaining = jax.numpy.asarray(real), jax.numpy.ones(())
        return agent.learn(spec, agent.init(spec, key), played, reward, key, remaining)[1]

    yield from jax.eval_shape(learn, key)


def test_every_metric_is_described():
    page = PAGES["docs/metrics.md"]
    names = {each.name for each in dataclasses.fields(Report)} - {"losses", "credit"}
    names |= {"decoder_loss", *losses_of_agents(), *METRICS}
    assert {"critic_loss", "value_loss", "explained_variance", "return_mean"} <= names
    assert [name for name in sorted(names) if f"`{name}`" not in page] == []


def test_the_results_in_the_readme_are_those_of_the_report():
    table = (ROOT / "docs/results/overview.md").read_text("utf-8").splitlines()
    assert len(table) > 3
    assert [line for line in table if line not in PAGES["README.md"].splitlines()] == []


def test_version_and_paper_agree_everywhere():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    assert re.search(r"^## \[(.*?)\]", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)[1] == version
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert citation["version"] == version
    (paper,) = citation["references"]
    plain = PAGES["README.md"].replace("{", "").replace("}", "")
    assert paper["title"] in plain
    for author in paper["authors"]:
        assert f"{author['family-names']}, {author['given-names']}" in plain
