"""Latents by name, and junk: a selection is what picking columns by hand gives, and junk is found out."""

import json
from dataclasses import replace

import jax
import numpy as np
import pytest

import latent_reward as lr
from latent_reward.credit.methods import Recipe
from latent_reward.credit.solved import Solved
from latent_reward.encoder.card import CARD, Space
from latent_reward.encoder.encoder import load, save, select_latents
from latent_reward.encoder.selection import ALL_LATENTS, Selection, as_selection, junk_latents
from latent_reward.errors import LareError
from latent_reward.library import assign
from latent_reward.training.prepare import prepare

pytestmark = pytest.mark.usefixtures("compile_fast")

NAMES = ("speed", "height", "effort")


def given(observation, action, next_observation):
    jnp = jax.numpy
    return jnp.stack(
        [next_observation[:, 0] - observation[:, 0], observation[:, 1], -(action[:, 0] ** 2)], axis=1
    )


@pytest.fixture(scope="module")
def encoder():
    return lr.encoder_from_function(given, NAMES).bind(Space.unbounded(2, 1))


def rows(count=64, seed=0):
    random = np.random.default_rng(seed)
    return [random.normal(size=(count, size)).astype(np.float32) for size in (2, 1, 2)]


@pytest.mark.parametrize(
    ("selection", "columns"),
    [
        (Selection(only=("effort", "speed")), [0, 2]),  # in the encoder's order
        (Selection(without=("height",)), [0, 2]),
        (Selection(only=("speed", "height"), without=("speed",)), [1]),
        (ALL_LATENTS, [0, 1, 2]),
    ],
)
def test_selecting_latents_is_selecting_columns(encoder, selection, columns):
    (chosen,) = select_latents([encoder], selection)
    np.testing.assert_array_equal(chosen.encode(*rows()), np.asarray(encoder.encode(*rows()))[:, columns])
    assert chosen.latent_names == tuple(NAMES[place] for place in columns)
    several = jax.vmap(chosen.encode)(*(np.stack([each, 2 * each]) for each in rows()))
    np.testing.assert_array_equal(several[0], chosen.encode(*rows()))


def test_a_selection_is_saved_and_takes_the_place_of_an_earlier_one(encoder, tmp_path):
    (chosen,) = select_latents([encoder], Selection(without=("speed",), junk=2))
    assert chosen.latent_names == ("height", "effort", "junk_1", "junk_2")
    again = load(save(chosen, tmp_path))
    assert again == chosen
    np.testing.assert_array_equal(again.encode(*rows()), chosen.encode(*rows()))
    assert select_latents([chosen], Selection(without=("speed",), junk=2)) == (chosen,)
    assert select_latents([chosen], ALL_LATENTS) == (encoder,)
    card = json.loads((tmp_path / CARD).read_text())
    for wrong in ({"only": ["sped"]}, {"without": list(NAMES)}, {"junk": -1}, {"junk": 1 << 20}, {"x": 1}):
        (tmp_path / CARD).write_text(json.dumps(card | {"selection": wrong}))
        with pytest.raises(LareError, match=r"card\.json is not the card of an encoder: .*selection"):
            load(tmp_path)


def mix(bits):
    """MurmurHash3's finaliser in NumPy."""
    bits = (bits ^ (bits >> np.uint32(16))) * np.uint32(0x85EBCA6B)
    bits = (bits ^ (bits >> np.uint32(13))) * np.uint32(0xC2B2AE35)
    return bits ^ (bits >> np.uint32(16))


def test_junk_is_a_hash_of_the_row():
    count = 20_000
    here = rows(count)[:2]

    @jax.jit
    def junk_of(*rows):
        return junk_latents(*rows, count=3)

    junk = np.asarray(junk_of(*here))
    bits = np.concatenate(here, axis=1).view(np.uint32)
    with np.errstate(over="ignore"):
        place = np.arange(1, 4, dtype=np.uint32) * np.uint32(0x9E3779B9)
        for seed in range(3):
            mixed = mix(bits ^ mix(place + mix(np.full(1, seed, np.uint32))))
            value = mix(mixed.sum(axis=1, dtype=np.uint32)) >> np.uint32(8)
            np.testing.assert_allclose(junk[:, seed], (value / 2**24 - 0.5) * 12**0.5, rtol=1e-5, atol=1e-6)
    error = 5 / np.sqrt(count)
    assert np.abs(junk.mean(axis=0)).max() < error
    np.testing.assert_allclose(junk.var(axis=0), 1.0, atol=0.05)
    everything = np.corrcoef(np.concatenate([*here, junk], axis=1).T)
    assert np.abs(everything[3:] - np.eye(6)[3:]).max() < error
    # the same row gives the same, wherever it is; the smallest difference gives something else
    np.testing.assert_array_equal(junk_of(*(each[7:9] for each in here)), junk[7:9])
    near = np.nextafter(here[0], np.float32(np.inf))
    assert abs(np.corrcoef(junk_of(near, here[1])[:, 0], junk[:, 0])[0, 1]) < error


def test_junk_reads_the_next_observation_only_if_the_source_does(encoder):
    short = lr.encoder_from_function(lambda o, a: o[:, :1], ["place"]).bind(Space.unbounded(2, 1))
    o, a, after = rows()
    for one, same in ((short, True), (encoder, False)):
        (chosen,) = select_latents([one], Selection(junk=1))
        junk = [np.asarray(chosen.encode(o, a, each))[:, -1] for each in (after, after + 1)]
        assert np.array_equal(*junk) == same


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        (
            {"only": "sped"},
            r"latents\.only: .*'sped' \(did you mean speed\?\); choose from speed, height, effort",
        ),
        ("speed,sped", r"latents\.only: there is no latent 'sped'"),
        ({"without": ["x"]}, r"latents\.without: there is no latent 'x'; choose from"),
        ({"without": "speed,height,effort"}, r"latents: without .* leaves none of .*; keep at least one"),
        ({"only": "speed,speed"}, r"latents\.only: 'speed,speed' has a name that is empty or there twice"),
        ({"only": 3}, r"latents\.only: 3 is no list of names"),
        ({"junk": -1}, r"latents\.junk: -1 is not possible"),
        ({"junk": 1001}, r"latents\.junk: 1001 is too large"),
        ({"junks": 1}, r"latents\.junks: there is no such setting \(did you mean junk\?\)"),
    ],
)
def test_a_wrong_selection_is_refused_on_one_line(encoder, selection, message):
    with pytest.raises(LareError, match=f"^{message}") as caught:
        lr.Credit(observation_space=2, action_space=_box(), horizon=5, encoder=encoder, latents=selection)
    assert "\n" not in str(caught.value)


def _box():
    import gymnasium

    return gymnasium.spaces.Box(-1.0, 1.0, (1,))


def test_it_is_refused_where_no_latents_are_read_and_in_training():
    with pytest.raises(LareError, match=r"^latents: the method linear reads none; leave the selection out"):
        lr.Credit(observation_space=2, action_space=_box(), horizon=5, method="linear", latents=["a"])
    with pytest.raises(
        LareError, match=r"^latents\.only: there is no latent 'nearnes' \(did you mean nearness"
    ):
        prepare("Reacher-v5", latents="nearnes")
    config = prepare("Reacher-v5", latents={"only": "nearness", "junk": 1}).config
    assert config.latents == Selection(only=("nearness",), junk=1)
    assert config.ablations == "latents only nearness; 1 junk"


def test_all_forms_of_a_selection():
    both = Selection(only=("a", "b"))
    assert as_selection("a, b") == as_selection(["a", "b"]) == as_selection({"only": ("a", "b")}) == both
    assert as_selection(None) == as_selection({"only": [], "without": [], "junk": 0}) == ALL_LATENTS
    assert as_selection(both) is both
    assert str(replace(both, without=("c",), junk=3)) == "only a, b; without c; 3 junk"


def episodes(count=40, steps=12, seed=1):
    """Returns are 2·speed + effort, summed over the steps."""
    random, found = np.random.default_rng(seed), []
    for _ in range(count):
        o = random.normal(size=2) + np.cumsum(random.normal(size=(steps + 1, 2)), axis=0)
        a = random.uniform(-1, 1, (steps, 1))
        rewards = 2 * np.diff(o[:, 0]) - a[:, 0] ** 2
        found.append(lr.Episode(o, a, rewards.sum()))
    return found


def test_junk_earns_nothing(encoder):
    setup = assign.prepare(
        episodes(),
        observation_space=2,
        action_space=_box(),
        method=Recipe("latents", Solved(("latent",), view="next")),
        encoder=encoder,
        latents={"without": "height", "junk": 3},
    )
    state = assign.fitted(setup, range(len(setup.episodes)), 0, 0)
    worth = setup.method.credit.latent_weights(setup.core.spec, state)
    assert sorted(worth) == ["effort", "junk_1", "junk_2", "junk_3", "speed"]
    speeds = np.concatenate([np.diff(each.observations[:, 0]) for each in episodes()])
    assert worth["speed"] == pytest.approx(2 * np.std(speeds), rel=0.02)
    assert max(abs(worth[f"junk_{number}"]) for number in (1, 2, 3)) < 0.02 * worth["speed"]
