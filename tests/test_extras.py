"""The core works without its extras, and everything learns on the device that was chosen."""

import os
import subprocess
import sys
import textwrap

import pytest

import latent_reward as lr
from latent_reward.errors import extra_needed
from latent_reward.report import curves

pytestmark = pytest.mark.usefixtures("compile_fast")

# Not PyTorch: SciPy and tensorboardX look for it themselves, and stumble over an entry that is None.
OPTIONAL = ("mujoco", "openai", "matplotlib", "imageio_ffmpeg", "imageio", "stable_baselines3", "sbx", "h5py",
            "minari", "jaxmarl")  # fmt: skip
BLOCK = f"import sys\nsys.modules.update(dict.fromkeys({OPTIONAL}))\n"
PLAIN = """
name: Plain-v0
env: Plain-v0
max_steps: 8
goal: {plain: Stay at 0., paper: Stay at 0.}
observation:
  - {index: 0, name: place, unit: m, meaning: where it is}
action:
  - {index: 0, name: push, unit: '-', low: -1, high: 1, meaning: the way it goes}
"""
SCRIPT = """
import gymnasium
import numpy as np
import latent_reward as lr

class Plain(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(-9.0, 9.0, (1,), np.float32)
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place = self.np_random.normal(size=1).astype(np.float32)
        return self.place, {}

    def step(self, action):
        self.place = (self.place + 0.1 * action).astype(np.float32)
        return self.place, -float(abs(self.place[0])), False, False, {}

gymnasium.register("Plain-v0", Plain, max_episode_steps=8)
for name in lr.__all__:
    getattr(lr, name)

def credit():
    space = Plain.action_space
    made = lr.Credit(observation_space=1, action_space=space, horizon=8, method="linear")
    made.add(lr.Episode(np.ones((9, 1)), np.ones((8, 1)), 2.0))
    return made
"""


def run(tmp_path, script, **environment):
    """What a process of its own prints."""
    (tmp_path / "plain.yaml").write_text(PLAIN, "utf-8")
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env=os.environ | {"JAX_DISABLE_MOST_OPTIMIZATIONS": "true"} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_the_core_trains_and_assigns_credit_without_any_extra(tmp_path):
    script = textwrap.dedent("""
        made = credit()
        made.fit(1)
        print(made.reward(np.ones((2, 1)), np.ones((2, 1)), np.ones((2, 1))).shape)
        lr.train("plain.yaml", "linear", steps=40, warmup=16, evaluate_every=20, evaluation_episodes=1,
                 batch_size=4, out="run")
        from latent_reward import cli
        for words in (["tasks"], ["methods"]):
            cli.main(words)
        for wrong in (lambda: lr.train("Reacher-v5", "linear", steps=1), lambda: lr.load_run("run").film("a.mp4")):
            try:
                wrong()
            except lr.LareError as error:
                print(error)
    """)
    said = run(tmp_path, BLOCK + SCRIPT + script)
    assert "(2,)" in said
    assert said.count("no learning curve is drawn") == 1
    assert 'Reacher-v5 needs MuJoCo; run `pip install "latent-reward[mujoco]"`' in said
    assert 'imageio_ffmpeg, which is not installed; run `pip install "latent-reward[video]"`' in said
    assert not (tmp_path / "run" / curves.CURVE).exists()


def test_a_missing_package_is_named_with_the_extra_that_has_it():
    told = r'^video: it needs nothing_here, .*pip install "latent-reward\[video\]"'
    with pytest.raises(lr.LareError, match=told), extra_needed("video: it", "video"):
        import nothing_here  # noqa: F401  # pyright: ignore[reportMissingImports]


def test_everything_learns_on_the_device_that_was_chosen(tmp_path):
    script = textwrap.dedent("""
        import jax
        from latent_reward.agents.registry import default_agent, default_kind
        from latent_reward.task.open import open_environment
        from latent_reward.training.config import RunConfig
        from latent_reward.training.plan import make_plan
        from latent_reward.training.run import make_training

        def places(tree):
            return {device.id for leaf in jax.tree.leaves(tree) for device in leaf.devices()}

        def trained(name, **settings):
            task = lr.load_task(name)
            world = open_environment(task)
            kind = default_kind(world.teams[0].actions, alone=world.teams[0].agents == 1)
            plan = make_plan(default_agent(kind, alone=False), settings)
            method = lr.find_method("linear", plan.agent.learns_from)
            training = make_training(RunConfig(task.name, method, (0,), None, plan), world, (None,))
            training.advance(training.steps_per_round)
            return places(training.states)

        with jax.default_device(jax.devices()[1]):
            made = credit()
            print(trained("plain.yaml", steps=20, warmup=8), trained("cn-6", iterations=1, episodes=2))
        made.fit(1)
        print(places((made._state, made._buffer)))
    """)
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=2", "JAX_PLATFORMS": "cpu"}
    assert run(tmp_path, SCRIPT + script, **flags).splitlines() == ["{1} {1}", "{1}"]
