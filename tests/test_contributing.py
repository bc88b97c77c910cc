"""The worked examples of CONTRIBUTING.md: put into a copy of the package as it says, they train in the real loops."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

import latent_reward
from latent_reward.credit.base import CreditSpec

PAGE = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text("utf-8")

# Trains with every example, in a process of its own: the copy of the package is imported there.
SCRIPT = '''
import json

import numpy as np

import latent_reward as lr
from latent_reward.agents.ppo import PPO
from latent_reward.agents.registry import AGENTS
from latent_reward.sealing.verify import seal
from latent_reward.task.check import check_task

SOURCE = """
def evaluation_func(observation, action):
    return [np.abs(observation[:, 0:1]), np.square(action)]
"""
replay = dict(steps=80, warmup=30, batch_size=8, evaluate_every=30, evaluation_episodes=1, refresh_episodes=2)
fresh = dict(iterations=2, episodes=3, first_updates=2, updates=1, evaluate_every=1, evaluation_episodes=2)
push = lr.load_task("push")
encoder = seal(SOURCE, push.descriptions[0])
team = dict(agent=PPO(hidden=(8,), epochs=1, minibatch=225), **fresh)
runs = {
    "in-context": ("push", "in-context", replay),
    "lare-in-context": ("push", "lare-in-context", dict(encoder=encoder, **replay)),
    "team": ("cn-6", "in-context", team),
    "dpg": ("push", "dense", dict(agent=AGENTS["dpg"](hidden=(8,)), **replay)),
}
found = {"mistakes": [str(each) for each in check_task("push")]}
for name, (task, method, settings) in runs.items():
    run = lr.train(task, method, seed=(0, 1), out=f"runs/{name}", quiet=True, **settings)
    again = lr.load_run(run.folder)
    returns = again.evaluate(2)
    found[name] = {
        "agent": again.config.plan.agent.kind,
        "method": again.config.method.credit.kind,
        "rows": run.metrics,
        "returns": {team: each.tolist() for team, each in returns.items()},
    }
print(json.dumps(found))
'''


def blocks(heading, language="python"):
    """The fenced blocks of one language below a heading, up to the next one."""
    (text,) = re.findall(rf"^#+ {heading}\n(.*?)(?=^#+ [A-Z]|\Z)", PAGE, re.MULTILINE | re.DOTALL)
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def edit(path, *, imports="", union="", before="", table="", row=""):
    """Do to a file what the text says: import a name, extend a union, add a function or a row of a table."""
    text = path.read_text("utf-8")
    if union:
        name, new = union.partition(" =")[0], union.strip()
        (old,) = re.findall(rf"^{name} = .*", text, re.MULTILINE)
        added = imports.split()[-1]
        assert new.replace(f" | {added}", "") == old, f"the union {name} is no longer that of CONTRIBUTING.md"
        text = text.replace(old, new)
    start = re.search(rf"^{table}: .*= {{", text, re.MULTILINE)
    text = text[: start.start()] + before + text[start.start() : start.end()] + row + text[start.end() :]
    first = re.search(r"^(from|import) ", text, re.MULTILINE).start()
    path.write_text(text[:first] + imports + text[first:], "utf-8")


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """A copy of the package with every example in its place."""
    folder = tmp_path_factory.mktemp("contributing")
    root = folder / "src" / "latent_reward"
    shutil.copytree(Path(latent_reward.__file__).parent, root, ignore=shutil.ignore_patterns("__pycache__"))

    method, union, row = blocks("Add a method")
    (latents,) = blocks("Latents with the network of another method")
    (root / "credit" / "in_context.py").write_text(method, "utf-8")
    imports = "from latent_reward.credit.in_context import InContext\n"
    edit(root / "credit" / "methods.py", imports=imports, union=union, table="METHODS", row=row + latents)

    agent, union, row = blocks("Add an agent")
    (root / "agents" / "dpg.py").write_text(agent, "utf-8")
    imports = "from latent_reward.agents.dpg import DPG\n"
    edit(root / "agents" / "registry.py", imports=imports, union=union, table="AGENTS", row=row)

    metric, row = blocks("Add a metric of credit")
    edit(root / "credit" / "metrics.py", before=metric, table="METRICS", row=row)

    world, row = blocks("Add a compiled environment")
    (root / "envs" / "push.py").write_text(world, "utf-8")
    imports = "from latent_reward.envs.push import push\n"
    edit(root / "envs" / "worlds.py", imports=imports, table="WORLDS", row=row)
    (text,) = blocks("Add a compiled environment", "yaml")
    (root / "task" / "push.yaml").write_text(text, "utf-8")
    return folder


@pytest.fixture(scope="module")
def trained(package):
    """What the script found; programs that run for a moment are not optimised."""
    environment = os.environ | {
        "PYTHONPATH": str(package / "src"),
        "LARE_COMPILATION_CACHE": "off",
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "true",
    }
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        cwd=package,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("name", ["in-context", "lare-in-context", "team"])
def test_the_method_learns_and_its_run_can_be_read(trained, name):
    found = trained[name]
    assert found["method"] == "in-context"
    last = [row for row in found["rows"] if row["step"] == found["rows"][-1]["step"]]
    assert [row["seed"] for row in last] == [0, 1]
    for row in last:
        assert np.isfinite([row["decoder_loss"], row["explained_variance"], row["return_mean"]]).all()
    assert np.isfinite(np.array(list(found["returns"].values()))).all()


def test_the_agent_learns_and_its_run_can_be_read(trained):
    found = trained["dpg"]
    assert found["agent"] == "dpg"
    losses = [row["critic_loss"] for row in found["rows"] if row["step"] > 60]
    assert losses
    assert np.isfinite(losses).all()
    assert (np.array(found["returns"]["agent"]) < 0).all()


def test_the_metric_is_logged(trained):
    errors = [row["return_error"] for row in trained["in-context"]["rows"] if row["step"] > 60]
    assert errors
    assert (np.array(errors) > 0).all()
    assert trained["dpg"]["rows"][-1]["return_error"] == pytest.approx(0.0, abs=1e-4)  # `dense` explains all


def test_the_environment_fits_its_task(trained):
    assert trained["mistakes"] == []
    assert trained["in-context"]["agent"] == "td3"


def loaded(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def test_the_method_reads_the_mean_of_the_episode_and_nothing_outside_the_mask(package):
    made = loaded(package / "src" / "latent_reward" / "credit" / "in_context.py")
    method, spec = made.InContext(hidden=(8,)), CreditSpec(1, 1, 2, 4)
    state = method.init(spec, jax.random.key(0))
    features = np.random.default_rng(0).normal(size=(2, 4, 2, method.feature_size(spec))).astype(np.float32)
    mask = np.ones((2, 4, 2), bool)
    mask[0, 3], mask[1, :, 1] = False, False
    features[~mask] = np.nan
    found = np.asarray(method.reward(state, features, mask))
    assert (found[~mask] == 0).all()
    (w1, w2), (b1, b2) = state.network.weights, state.network.biases
    for episode in range(2):
        there = features[episode][mask[episode]]
        rows = np.concatenate([there, np.broadcast_to(there.mean(axis=0), there.shape)], axis=1)
        expected = (np.maximum(rows @ w1 + b1, 0) @ w2 + b2)[:, 0]
        np.testing.assert_allclose(found[episode][mask[episode]], expected, rtol=1e-5, atol=1e-6)
    gradient = jax.grad(lambda network: made.decode(network, features, mask).sum())(state.network)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


def test_the_environment_pays_the_distance_and_draws_it(package):
    world = loaded(package / "src" / "latent_reward" / "envs" / "push.py").push()
    place = np.array([[0.5]], np.float32)
    after = world.step(place, np.array([[-1.0]], np.float32), jax.random.key(0))
    np.testing.assert_allclose(np.asarray(after.reward), [-0.4], rtol=1e-6)
    assert not after.terminated
    frame = world.render(place)
    assert frame.shape == (64, 64, 3)
    assert frame[32, 40].tolist() == [255, 255, 255]
