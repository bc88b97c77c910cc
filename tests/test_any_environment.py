"""Training in environments without a task: an id, an object, a function; what a run folder keeps of them."""

import gymnasium
import jax.numpy as jnp
import numpy as np
import parallel_envs
import pytest

import latent_reward as lr
from latent_reward.envs.gym import step_limit
from latent_reward.task.bare import find_task, read_any_task
from latent_reward.task.open import open_environment

pytestmark = pytest.mark.usefixtures("compile_fast")

STEPS = 6
QUICK = {
    "steps": 26, "warmup": 12, "evaluate_every": 13, "evaluation_episodes": 2, "checkpoint_every": 13,
    "batch_size": 8, "agent": {"hidden": (4,)}, "quiet": True,
}  # fmt: skip
TEAMS = {
    "iterations": 2, "episodes": 3, "first_updates": 2, "updates": 1, "evaluate_every": 1, "evaluation_episodes": 2,
    "checkpoint_every": 1, "agent": {"hidden": (4,), "epochs": 1, "minibatch": 8}, "quiet": True,
}  # fmt: skip


class Slide(gymnasium.Env):
    """A point that an action moves; the reward is its distance from 1. It has no time limit of its own."""

    observation_space = gymnasium.spaces.Box(-10.0, 10.0, (2,), np.float32)

    def __init__(self, choices=0, render_mode=None, speed=1.0, space=None):
        self.render_mode, self.speed = render_mode, speed
        self.metadata = {"render_fps": 5}
        box = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)
        self.action_space = gymnasium.spaces.Discrete(choices, start=1) if choices else box
        if space is not None:
            self.observation_space = space

    def see(self):
        return np.array([self.place, self.t], np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place, self.t = self.np_random.uniform(-0.5, 0.5), 0
        return self.see(), {}

    def step(self, action):
        self.t += 1
        discrete = isinstance(self.action_space, gymnasium.spaces.Discrete)
        assert self.action_space.contains(action)
        self.place += self.speed * (0.1 * (action - 2) if discrete else 0.1 * float(action[0]))
        return self.see(), -abs(self.place - 1.0), False, False, {}

    def render(self):
        return np.full((16, 16, 3), self.t, np.uint8)


def limited(**settings):
    return gymnasium.wrappers.TimeLimit(Slide(**settings), STEPS)


@pytest.fixture
def slide_id():
    gymnasium.register("any/Slide-v0", Slide, max_episode_steps=STEPS)
    yield "any/Slide-v0"
    del gymnasium.registry["any/Slide-v0"]


def numbers(run):
    return [{key: each for key, each in row.items() if key != "steps_per_second"} for row in run.metrics]


def test_an_id_is_kept_in_the_folder_and_opened_again(slide_id, tmp_path):
    run = lr.train(slide_id, "linear", out=tmp_path / "run", **QUICK)
    task = read_any_task(tmp_path / "run" / "task.yaml")
    assert task == run.task
    assert (task.name, task.env, task.max_steps, task.teams) == ("any-Slide-v0", slide_id, STEPS, {})
    again = lr.load_run(run.folder)
    np.testing.assert_array_equal(again.evaluate(2)["agent"], run.evaluate(2)["agent"])
    assert again.credit.where.task is None
    assert again.proxy_reward(np.zeros((3, 2)), np.zeros((3, 1)), np.ones((3, 2))).shape == (3,)
    assert lr.resume(run.folder, quiet=True).metrics == run.metrics
    with pytest.raises(lr.LareError, match=r"^env: this run opens any/Slide-v0 by its id; leave env out$"):
        lr.load_run(run.folder, env=Slide()).evaluate(1)


def test_an_object_a_function_and_an_id_train_alike(slide_id, tmp_path):
    given = limited()
    runs = [
        lr.train(each, "linear", out=tmp_path / str(number), **QUICK)
        for number, each in enumerate((slide_id, given, limited))
    ]
    assert [numbers(run) for run in runs] == [numbers(runs[0])] * 3
    assert not hasattr(given.unwrapped, "place")  # the object itself was never reset
    assert [run.task.name for run in runs] == ["any-Slide-v0", "Slide", "Slide"]


def test_a_changed_object_is_what_is_trained_in(tmp_path):
    slow, fast = (lr.train(limited(speed=s), "linear", out=tmp_path / str(s), **QUICK) for s in (0.0, 5.0))
    assert slow.metrics[-1]["return_mean"] != fast.metrics[-1]["return_mean"]


def test_a_run_in_a_given_environment_needs_it_again(tmp_path):
    run = lr.train(limited, "linear", out=tmp_path / "run", **QUICK)
    assert run.evaluate(1)["agent"].shape == (1, 1)
    assert lr.load_run(run.folder).metrics == run.metrics  # which need no environment
    for use in (lambda: lr.load_run(run.folder).evaluate(1), lambda: lr.resume(run.folder)):
        with pytest.raises(lr.LareError, match=r"^env: Slide was given from Python.*give it again with env="):
            use()
    again = lr.load_run(run.folder, env=limited())
    np.testing.assert_array_equal(again.evaluate(2)["agent"], run.evaluate(2)["agent"])
    assert lr.resume(run.folder, env=limited, quiet=True).metrics == run.metrics
    with pytest.raises(
        lr.LareError, match=r"trained with 1 agent: 2 observations, 1 continuous actions, and .*3 choices"
    ):
        lr.load_run(run.folder, env=limited(choices=3)).evaluate(1)
    with pytest.raises(lr.LareError, match="the task Reacher-v5 opens its own environment; leave env out"):
        open_environment(lr.load_task("Reacher-v5"), limited)


def test_discrete_actions_train_with_ppo(tmp_path):
    run = lr.train(lambda: limited(choices=3), "uniform", out=tmp_path / "run", **TEAMS)
    assert run.config.plan.agent.kind == "ppo"
    assert run.metrics[-1]["step"] == 2 * 3 * STEPS
    assert run.act(np.zeros((5, 2))).shape == (5,)


def test_teams_of_a_given_parallel_environment(tmp_path):
    run = lr.train(parallel_envs.Countdown(), "uniform", out=tmp_path / "run", max_steps=5, **TEAMS)
    assert run.task.teams == {"agent": ("agent_*",)}
    assert run.metrics[-1]["step"] == 2 * 3 * 5
    again = lr.load_run(run.folder, env=parallel_envs.Countdown)
    assert again.evaluate(2)["agent"].shape == (1, 2)
    with pytest.raises(lr.LareError, match="AEC environment, whose agents take turns"):
        lr.train(parallel_envs.takes_turns, "rd", max_steps=5, out=tmp_path / "turns")


def test_a_parallel_environment_is_also_known_by_its_module(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(__file__.rpartition("/")[0])
    task, given = find_task("parallel_envs:countdown", 4)
    assert (task.env, task.max_steps, given) == ("parallel_envs:countdown", 4, None)
    assert task.open().horizon == 4


def test_an_encoder_that_is_given_works_without_words(slide_id, tmp_path):
    encoder = lr.encoder_from_function(lambda o, a: jnp.concatenate([o[:, :1], a], 1), ["place", "push"])
    run = lr.train(slide_id, encoder=encoder, out=tmp_path / "run", **QUICK)
    assert set(run.latent_weights()) == {"place", "push"}
    again = lr.train(slide_id, encoder=run.folder / "encoder", out=tmp_path / "again", **QUICK)
    assert numbers(again) == numbers(run)
    wide = lr.encoder_from_function(lambda o, a: o[:, 1:], ["b"]).bind(run.encoders[0].card.space)
    with pytest.raises(lr.LareError, match="encoder: it reads 2 observation fields and 1 action fields, and"):
        lr.train(lambda: limited(choices=3), encoder=wide, out=tmp_path / "wide", **TEAMS)


def test_latents_without_an_encoder_are_refused_with_all_ways_out(slide_id, tmp_path):
    out = tmp_path / "run"
    with pytest.raises(
        lr.LareError, match=r"--method linear, gp or rrd-unbiased\), describe it with `lare task init any/S"
    ):
        lr.train(slide_id, out=out)
    with pytest.raises(
        lr.LareError, match=r"rrd-unbiased\), or give an encoder$"
    ):  # which has no id to be described
        lr.train(limited, out=out)
    assert not out.exists()


def test_the_time_limit_is_that_of_the_environment_or_given(slide_id):
    assert step_limit(limited()) == step_limit(gymnasium.make(slide_id)) == STEPS
    assert find_task(Slide, 9)[0].max_steps == 9
    assert find_task(slide_id, 9)[0].open().make(None).env.spec.max_episode_steps == 9
    assert find_task("Reacher-v5", 9)[0].max_steps == 9
    with pytest.raises(lr.LareError, match=r"^max_steps: Slide has no time limit; give max_steps"):
        find_task(Slide)
    with pytest.raises(lr.LareError, match=r"^max_steps: 0 is not possible"):
        find_task(Slide, 0)
    with pytest.raises(lr.LareError, match=r"max_steps: 3 steps, but an episode of cn-6 has 25"):
        lr.train("cn-6", "rd", max_steps=3)


class Locked(Slide):
    def __deepcopy__(self, memo):
        raise TypeError("cannot pickle 'socket'")


ONE = limited()


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (3, r"^task: 3 cannot be trained in; give a task, a Gymnasium id"),
        ("Pendulom-v1", r"^task: no task and no installed environment is called .*did you mean Pendulum-v1"),
        ("HalfCheeta-v5", r"did you mean HalfCheetah-v5"),
        ("no_such_module:Any-v0", r"needs the module 'no_such_module', which cannot be imported"),
        ("FrozenLake-v1", r"observation space of FrozenLake-v1 is a Discrete; .*FlattenObservation.*a function that"),
        (lambda: 3, r"^env: <lambda> returns int, which is no environment"),
        (lambda x: 3, r"^env: <lambda> fails with TypeError"),
        (lambda: ONE, r"^env: <lambda> gives the same environment every time"),
        (lambda: gymnasium.make("no/Such-v0"), r"^env: <lambda> fails with NamespaceNotFound"),
        (Locked(), r"^env: this Locked cannot be copied \(cannot pickle 'socket'\).*give a function that makes it"),
        (limited(space=gymnasium.spaces.Dict()), r"observation space of Slide is a Dict of nothing; only a Box"),
        (limited(space=gymnasium.spaces.Box(0, 1, (2, 2))), r"is a Box of shape \(2, 2\)"),
        (gymnasium.make_vec("CartPole-v1"), r"cannot be trained in"),
    ],
)  # fmt: skip
def test_what_cannot_be_trained_in_is_refused_in_one_line(task, message, tmp_path):
    with pytest.raises(lr.LareError, match=message) as error:
        lr.train(task, "gp", out=tmp_path / "run")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()


def test_video_needs_an_environment_that_draws(tmp_path):
    pytest.importorskip("imageio_ffmpeg")
    run = lr.train(
        lambda render_mode=None: limited(render_mode=render_mode), "linear", out=tmp_path / "run", **QUICK
    )
    assert run.film(tmp_path / "video.mp4").stat().st_size > 0
    drawn = lr.load_run(run.folder, env=limited(render_mode="rgb_array"))
    assert drawn.film(tmp_path / "other.mp4").stat().st_size > 0
    for blind in (limited(), lambda: limited()):
        with pytest.raises(
            lr.LareError, match=r"^video: this Slide draws no pictures; make it with render_mode"
        ):
            lr.load_run(run.folder, env=blind).film(tmp_path / "none.mp4")


def test_a_damaged_file_of_a_bare_task_is_named(tmp_path):
    path = tmp_path / "task.yaml"
    path.write_text("kind: bare\nname: x\nenv: ''\nmax_steps: many\n")
    with pytest.raises(lr.LareError, match=r"task\.yaml: max_steps is 'many' .*; restore the file"):
        read_any_task(path)
