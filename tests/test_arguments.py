"""Arguments are checked before anything is done: whatever is wrong with one is a single line."""

import gymnasium
import numpy as np
import pytest
from hostile import everything

import latent_reward as lr
from latent_reward.task.check import check_task

SPACE = gymnasium.spaces.Box(-1, 1, (1,))
WRONG_COUNTS = ("many", 100.5, -1, True, None, float("nan"), float("inf"), 1 << 40, [3], "3", np.float32(3))
EPISODE = lr.Episode(np.zeros((4, 2)), np.zeros((3, 1)), 1.0)
SPACES = {"observation_space": 2, "action_space": SPACE}


@pytest.mark.parametrize("wrong", WRONG_COUNTS, ids=repr)
@pytest.mark.parametrize(
    "name", ["steps", "warmup", "batch_size", "evaluate_every", "draw", "max_steps", "seed"]
)
def test_a_wrong_number_stops_a_training_before_it_begins(name, wrong, tmp_path, monkeypatch):
    if (name, wrong) in (("seed", 1 << 40), ("max_steps", None)) or (name == "seed" and wrong == [3]):
        pytest.skip("possible" if name != "seed" or wrong == [3] else "tested below")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(lr.LareError, match=rf"^{name}: ") as caught:
        lr.train("Pendulum-v1", method="linear", **{name: wrong})
    assert "\n" not in str(caught.value)
    assert everything(tmp_path) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"seed": 1 << 40}, "seed"), ({"seed": [0, "1"]}, "seed"), ({"seed": []}, "seeds"),
        ({"seed": [1, 1]}, "seeds"),
        ({"seed": "0..3"}, "seed"), ({"seed": range(5000)}, "seeds"), ({"quiet": "yes"}, "quiet"),
        ({"on_episode": 3}, "on_episode"), ({"on_evaluation": "x"}, "on_evaluation"), ({"loggers": [3]}, "loggers"),
        ({"loggers": 3}, "loggers"), ({"out": 3}, "out"), ({"out": "a\0b"}, "out"), ({"out": ""}, "out"),
        ({"method": 3}, "method"), ({"method": None}, "method"), ({"method": "lair"}, "method"),
        ({"method": {"name": "linear", "groups": 3}}, "method"), ({"agent": 3}, "agent"), ({"agent": "sac"}, "agent"),
        ({"agent": lr.TD3(learning_rate="fast")}, "settings"),
        ({"agent": lr.TD3(learning_rate=float("nan"))}, "agent"),
        ({"agent": lr.TD3(hidden=(8, 0))}, "agent"), ({"agent": lr.TD3}, "agent"), ({"agent": {"kind": 3}}, "agent"),
        ({"method": "lare", "encoder": lambda o, a: o}, "encoder"), ({"method": "lare", "encoder": 3}, "encoder"),
        ({"method": "lare", "encoder": "no/such"}, "encoder"), ({"encoder": "HalfCheetah-v5"}, "encoder"),
        ({"no_such": 3}, "no_such"), ({"iterations": 3}, "iterations"),
    ],
    ids=str,
)  # fmt: skip
def test_a_wrong_argument_stops_a_training_before_it_begins(arguments, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(lr.LareError, match=rf"^{said}\b") as caught:
        lr.train("Pendulum-v1", **{"method": "linear", **arguments})
    assert "\n" not in str(caught.value)
    assert everything(tmp_path) == []


CALLS = {
    "load_task": [lambda: lr.load_task(3), lambda: lr.load_task(None), lambda: lr.load_task("a\0.yaml")],
    "check_task": [lambda: check_task(3), lambda: check_task("no.yaml")],
    "make_env": [lambda: lr.make_env("Reacher-v5"), lambda: lr.make_env(lr.load_task("cn-6"))],
    "load_encoder": [
        lambda: lr.load_encoder(3), lambda: lr.load_encoder(None), lambda: lr.load_encoder(len),
        lambda: lr.load_encoder("HalfCheetah-v5", draw="0"), lambda: lr.load_encoder("HalfCheetah-v5", draw=-1),
        lambda: lr.load_encoder("HalfCheetah-v5", draw=99), lambda: lr.load_encoder("a\0"),
    ],
    "load_run": [lambda: lr.load_run(3), lambda: lr.load_run(None), lambda: lr.load_run(""),
    lambda: lr.load_run("a\0")],
    "resume": [lambda: lr.resume(3), lambda: lr.resume("x", quiet=3), lambda: lr.resume("x", loggers=[3])],
    "assign": [
        lambda: lr.assign(3, **SPACES), lambda: lr.assign([3], **SPACES), lambda: lr.assign(EPISODE, **SPACES),
        lambda: lr.assign([EPISODE], method=3, **SPACES), lambda: lr.assign([EPISODE],
        method="linear", seed=-1, **SPACES),
        lambda: lr.assign([EPISODE], method="linear", seed=1.5, **SPACES),
        lambda: lr.assign([EPISODE], method="linear", updates="many", **SPACES),
        lambda: lr.assign([EPISODE], method="rrd", updates=True, **SPACES),
        lambda: lr.assign([EPISODE], task=3), lambda: lr.assign([EPISODE], encoder=len, **SPACES),
    ],
    "Credit": [
        *(lambda wrong=wrong: lr.Credit(horizon=5, method="linear", **SPACES, seed=wrong)
          for wrong in (-1, 1.5, "x", True)),
        *(lambda wrong=wrong: lr.Credit(horizon=wrong, method="linear", **SPACES)
          for wrong in (0, 1.5, "x", True, 1 << 40)),
        *(lambda wrong=wrong: lr.Credit(horizon=5, capacity=wrong, method="linear", **SPACES)
          for wrong in (0, 1.5, None)),
        *(lambda wrong=wrong: lr.Credit(horizon=5, agents=wrong, method="linear", **SPACES)
          for wrong in (0, 1.5, True)),
        lambda: lr.Credit(3), lambda: lr.Credit("no-such"), lambda: lr.Credit("Reacher-v5", encoder=len),
        lambda: lr.Credit("Reacher-v5", method=3),
        lambda: lr.Credit(horizon=5, observation_space=True, action_space=SPACE),
        lambda: lr.Credit(horizon=5, observation_space=2, action_space="x"), lambda: lr.Credit.load(3),
        lambda: lr.Credit(horizon=5, method="linear", **SPACES).fit("x"),
        lambda: lr.Credit(horizon=5, method="linear", **SPACES).add(3),
        lambda: lr.Credit(horizon=5, method="linear", **SPACES).save(3),
    ],
    "encoder_from_function": [
        lambda: lr.encoder_from_function(3, ["a"]), lambda: lr.encoder_from_function(lambda o, a: o, 3),
        lambda: lr.encoder_from_function(lambda o, a: o, ["a", "a"]),
        lambda: lr.encoder_from_function(lambda o, a: o, ["a\n"]),
        lambda: lr.encoder_from_function(lambda o, a: o, [""]),
        lambda: lr.encoder_from_function(lambda o, a: o, ["\x1b"]),
    ],
    "find_method": [lambda: lr.find_method(3, "replay"), lambda: lr.find_method("x", "replay")],
    "allow_import": [lambda: lr.allow_import(3), lambda: lr.allow_import("a b"),
    lambda: lr.allow_import("no_such_module")],
}  # fmt: skip


@pytest.mark.parametrize("call", [each for calls in CALLS.values() for each in calls])
def test_a_wrong_argument_is_one_line(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(lr.LareError) as caught:
        call()
    assert "\n" not in str(caught.value)
    assert everything(tmp_path) == []


def test_wrong_arguments_of_a_run_are_one_line(trained):
    run = lr.load_run(trained)
    for call in (
        *(lambda wrong=wrong: run.evaluate(wrong) for wrong in WRONG_COUNTS),
        *(lambda wrong=wrong: run.play(wrong) for wrong in (0, 1.5, "x", 1)),
        *(
            lambda wrong=wrong: run.act(wrong)
            for wrong in (np.zeros(2), np.zeros((2, 2)), "x", [np.nan] * 3, None)
        ),
        *(lambda wrong=wrong: run.latent_weights(seed=wrong) for wrong in (0, "3", True, [3])),
        lambda: run.latent_weights(team="x"),
        lambda: run.film(3),
        lambda: run.proxy_reward(np.zeros(2), np.zeros(2), np.zeros(2)),
    ):
        with pytest.raises(lr.LareError) as caught:
            call()
        assert "\n" not in str(caught.value)


def test_a_name_loads_a_bundled_encoder():
    assert lr.load_encoder("HalfCheetah-v5") == lr.load_encoder(
        lr.load_task("HalfCheetah-v5"), draw=np.int64(0)
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory, compile_fast):
    """A run of a few steps; tests damage copies of it."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    settings = {"steps": np.int64(60), "warmup": 40, "evaluate_every": 30, "evaluation_episodes": 1}
    small = lr.TD3(hidden=(8,))
    lr.train(
        "Pendulum-v1", method="linear", out=folder, seed=np.int64(3), agent=small, quiet=True, **settings
    )
    return folder
