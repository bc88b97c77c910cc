"""Encoders from functions of your own: compiled, hashable, trained with, saved with a run, and kept to arithmetic."""

import hashlib

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import recorded_episodes

import latent_reward as lr
from latent_reward.encoder.card import Space
from latent_reward.sealing import open as opening

pytestmark = pytest.mark.usefixtures("compile_fast")

SPACE = Space.unbounded(3, 2)
ROWS = tuple(np.random.default_rng(0).normal(size=(4, size)).astype(np.float32) for size in (3, 2, 3))


def speed(observation, action, after):
    """Two latents of a step."""
    return jnp.stack([after[:, 0] - observation[:, 0], (action**2).sum(axis=-1)], axis=-1)


def test_it_is_an_encoder():
    made = lr.encoder_from_function(speed, ["speed", "cost"])
    encoder = made.bind(SPACE)
    assert encoder.latent_names == ("speed", "cost")
    expected = np.stack([ROWS[2][:, 0] - ROWS[0][:, 0], (ROWS[1] ** 2).sum(axis=1)], axis=1)
    np.testing.assert_allclose(encoder.encode(*ROWS), expected, rtol=1e-6)
    np.testing.assert_allclose(jax.jit(encoder.encode)(*ROWS), expected, rtol=1e-6)
    stacked = [np.stack([each, 2 * each]) for each in ROWS]
    np.testing.assert_allclose(jax.vmap(encoder.encode)(*stacked)[0], expected, rtol=1e-6)
    assert "Two latents of a step" in encoder.source


def test_equal_functions_are_equal_encoders():
    first, second = (lr.encoder_from_function(speed, ["speed", "cost"]) for _ in range(2))
    assert first == second
    assert hash(first) == hash(second)
    assert first.bind(SPACE) is second.bind(SPACE)
    assert first != lr.encoder_from_function(speed, ["speed", "effort"])


def test_a_function_of_two_arguments_reads_no_next_observation():
    two = lr.encoder_from_function(lambda observation, action: observation[:, :1], ["x"]).bind(SPACE)
    three = lr.encoder_from_function(lambda observation, action, after: after[:, :1], ["x"]).bind(SPACE)
    assert not two.needs_next_observation
    assert three.needs_next_observation


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda o, a, after: after, "one column per name"),
        (lambda o, a, after: after.mean(), "one column per name"),
        (lambda o, a, after: np.asarray(after), "cannot be compiled"),
        (lambda o, a, after: o[:, :1] @ a[0], "cannot be compiled"),
        (lambda o, a, after: after[:, :1] - after[:, :1].mean(axis=0), "depends on the other rows"),
        (
            lambda o, a, after: jax.pure_callback(
                lambda x: x, jax.ShapeDtypeStruct((o.shape[0], 1), "float32"), o
            ),
            r"cannot be compiled|only arithmetic",
        ),
        (
            lambda o, a, after: jax.lax.while_loop(lambda x: x.sum() < 1, lambda x: x + 1, o[:, :1]),
            "arithmetic",
        ),
    ],
)
def test_what_no_encoder_may_do_is_refused(function, message):
    with pytest.raises(lr.LareError, match=message) as caught:
        lr.encoder_from_function(function, ["x"]).bind(SPACE)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("function", "names", "message"),
    [
        (lambda o: o, ["x"], "must take"),
        (speed, [], "names"),
        (speed, ["x", ""], "names"),
        (speed, ["x", "x"], "twice"),
    ],
)
def test_arguments_that_make_no_encoder(function, names, message):
    with pytest.raises(lr.LareError, match=message):
        lr.encoder_from_function(function, names)


def test_it_is_saved_with_a_credit_and_read_without_the_function(tmp_path, monkeypatch):
    box = gymnasium.spaces.Box(-1, 1, (2,))
    encoder = lr.encoder_from_function(speed, ["speed", "cost"])
    credit = lr.Credit(observation_space=3, action_space=box, horizon=30, encoder=encoder)
    credit.add(*recorded_episodes.episodes(5))
    again = lr.Credit.load(credit.save(tmp_path))
    np.testing.assert_array_equal(again.reward(*ROWS), credit.reward(*ROWS))
    assert lr.load_encoder(tmp_path / "encoder").latent_names == ("speed", "cost")

    # Another JAX that cannot read the program says what to do, since there is no source to seal again.
    monkeypatch.setattr(opening.jax, "__version__", "99.0")

    def unreadable(program, card):
        raise lr.LareError("unreadable")

    monkeypatch.setattr(opening, "admit", unreadable)
    with pytest.raises(lr.LareError, match="encoder_from_function"):
        lr.load_encoder(tmp_path / "encoder")


def test_a_run_is_trained_with_it_and_gives_its_credit(tmp_path):
    encoder = lr.encoder_from_function(lambda o, a, after: -jnp.abs(after[:, 8:10]), ["x", "y"])
    settings = {"steps": 150, "warmup": 60, "batch_size": 8, "evaluate_every": 150, "evaluation_episodes": 1}
    run = lr.train("Reacher-v5", encoder=encoder, out=tmp_path / "run", quiet=True, **settings)
    random = np.random.default_rng(0)
    batch = tuple(random.normal(size=(5, size)) for size in (10, 2, 10))
    np.testing.assert_array_equal(run.credit.reward(*batch), run.proxy_reward(*batch))
    assert run.credit.worth == run.latent_weights()
    assert set(run.credit.latents(*batch)) == {"x", "y"}
    credit = run.credit
    assert credit.episodes == 0
    with pytest.raises(lr.LareError, match="no episodes yet"):
        credit.fit()
    rewards = [-1.0] * 50
    credit.add(lr.Episode(random.normal(size=(51, 10)), random.normal(size=(50, 2)), -50.0, False, rewards))
    credit.fit(3)
    assert (credit.reward(*batch) != run.proxy_reward(*batch)).any()
    np.testing.assert_array_equal(
        run.credit.reward(*batch), run.proxy_reward(*batch)
    )  # it is not the run's own
    with pytest.raises(lr.LareError, match="no seed 7"):
        run.credit_of(seed=7)
    digest = hashlib.sha256((run.folder / "encoder" / "program.stablehlo").read_bytes()).hexdigest()
    assert run.credit.encoder.card.program_sha256 == digest


def test_a_team_gives_its_credit(tmp_path):
    settings = {
        "iterations": 1,
        "episodes": 3,
        "first_updates": 2,
        "evaluate_every": 1,
        "evaluation_episodes": 2,
    }
    run = lr.train("cn-6", out=tmp_path / "run", quiet=True, seed=(0, 1), **settings)
    credit = run.credit_of(seed=1)
    random, size = np.random.default_rng(0), credit.where.observation_size
    before, after = random.normal(size=(2, 4, 6, size)).astype(np.float32)
    action = random.integers(5, size=(4, 6))
    flat = run.proxy_reward(before.reshape(24, -1), action.ravel(), after.reshape(24, -1), seed=1)
    np.testing.assert_allclose(credit.reward(before, action, after).ravel(), flat, rtol=1e-4, atol=1e-6)


def test_encoders_are_found_by_task_name_and_folder(tmp_path):
    by_name = lr.load_encoder("Reacher-v5", draw=1)
    assert by_name == lr.load_encoder(lr.load_task("Reacher-v5"), draw=1)
    assert lr.load_encoder("competitive-pp/prey").card.task == "competitive-pp/prey"
    from latent_reward.encoder.encoder import save

    folder = save(by_name, tmp_path / "encoder")
    assert lr.load_encoder(folder) == lr.load_encoder(str(folder)) == by_name
    for wrong, message in (
        ("Reacher-v6", "did you mean Reacher-v5"),
        (tmp_path, "holds no encoder"),
        ("competitive-pp", "competitive-pp/prey"),
    ):
        with pytest.raises(lr.LareError, match=message):
            lr.load_encoder(wrong)
    with pytest.raises(lr.LareError, match="no draws"):
        lr.load_encoder(folder, draw=1)
    with pytest.raises(lr.LareError, match="no bundled draw 9"):
        lr.load_encoder("Reacher-v5", 9)


def test_it_may_call_an_encoder_that_comes_with_the_package():
    bundled = lr.load_encoder("Reacher-v5")

    def fewer(observation, action):
        return bundled.encode(observation, action)[:, :2]

    credit = lr.Credit("Reacher-v5", encoder=lr.encoder_from_function(fewer, bundled.latent_names[:2]))
    random = np.random.default_rng(0)
    rows = random.normal(size=(5, 10)).astype(np.float32), random.normal(size=(5, 2)).astype(np.float32)
    found = credit.latents(*rows, rows[0])
    expected = np.asarray(bundled.encode(*rows))[:, :2]
    np.testing.assert_allclose(np.stack(list(found.values()), axis=1), expected, rtol=1e-6)
