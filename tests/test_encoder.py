"""Encoders: sealing, every check, exactness under jit, scan and vmap, and files that lie."""

import base64
import dataclasses
import hashlib
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from latent_reward.encoder.card import Card, Orders, Space, to_json
from latent_reward.encoder.encoder import Encoder, check_fits, load, save, with_card
from latent_reward.encoder.screen import MAX_PROGRAM
from latent_reward.errors import LareError
from latent_reward.sealing import verify
from latent_reward.sealing.language.explain import explanations
from latent_reward.sealing.lock import sandbox
from latent_reward.sealing.open import open_encoder
from latent_reward.sealing.verify import check, seal

SOURCE = """
import numpy as np

def evaluation_func(observation, action, next_observation):
    speed = next_observation[:, 2:3]  # forward
    effort = -np.sum(action ** 2, axis=1, keepdims=True)
    upright = np.cos(observation[:, 1:2])
    step = np.linalg.norm(next_observation - observation, axis=1, keepdims=True)
    return [speed, effort, upright, step]
"""
SPACE = Space.unbounded(4, 2)


def rows(count: int, seed: int = 0) -> list[np.ndarray]:
    generator = np.random.default_rng(seed)
    return [generator.normal(size=(count, size)).astype(np.float32) for size in (4, 2, 4)]


def by_numpy(observation, action, following) -> np.ndarray:
    scope: dict = {}
    exec(SOURCE, scope)
    return np.concatenate(scope["evaluation_func"](observation, action, following), axis=1)


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return seal(SOURCE, SPACE, provenance="by hand", draw=3, goal="plain")


def source(*lines: str, arguments: str = "observation, action") -> str:
    return f"def evaluation_func({arguments}):\n" + "".join(f"    {line}\n" for line in lines)


# --- computing ---


def test_the_card_tells_where_it_came_from(encoder):
    card = encoder.card
    assert encoder.latent_names == ("speed", "effort", "upright", "step")
    assert card.explanations == ("forward", "", "", "")
    assert (card.provenance, card.draw, card.goal) == ("by hand", 3, "plain")
    assert (card.observation_size, card.action_size) == (4, 2)
    assert card.arguments == ("observation", "action", "next_observation")
    assert set(card.versions) == {"python", "jax", "latent_reward"}
    assert {"finite", "rows independent", "agrees with NumPy"} <= {name for name, _ in card.checks}


@pytest.mark.parametrize("count", [1, 2, 33])
def test_numpy_in_gives_what_numpy_gives(encoder, count):
    np.testing.assert_allclose(encoder.encode(*rows(count)), by_numpy(*rows(count)), rtol=1e-5, atol=1e-6)


def test_float64_is_accepted(encoder):
    doubles = [part.astype(np.float64) for part in rows(5)]
    np.testing.assert_array_equal(encoder.encode(*doubles), encoder.encode(*rows(5)))


def test_jit_and_scan_are_exact(encoder):
    expected = np.asarray(encoder.encode(*rows(8)))
    np.testing.assert_array_equal(jax.jit(encoder.encode)(*rows(8)), expected)

    def step(carry, part):
        return carry, encoder.encode(*(value[None] for value in part))[0]

    _, scanned = jax.lax.scan(step, 0, tuple(map(jnp.asarray, rows(8))))
    np.testing.assert_allclose(scanned, expected, rtol=1e-6, atol=1e-6)


def test_vmap_folds_the_axis_into_the_rows(encoder):
    flat = rows(24)
    expected = np.asarray(encoder.encode(*flat))
    once = [part.reshape(4, 6, -1) for part in flat]
    np.testing.assert_array_equal(jax.vmap(encoder.encode)(*once).reshape(24, -1), expected)
    twice = [part.reshape(2, 3, 4, -1) for part in flat]
    nested = jax.jit(jax.vmap(jax.vmap(encoder.encode)))(*twice)
    np.testing.assert_array_equal(nested.reshape(24, -1), expected)


def test_vmap_with_some_arguments_shared_and_other_axes(encoder):
    observation, action, following = rows(6)
    actions = np.stack([action, -action, 2 * action])
    mapped = jax.vmap(encoder.encode, in_axes=(None, 0, None))(observation, actions, following)
    for one, each in zip(mapped, actions, strict=True):
        np.testing.assert_array_equal(one, encoder.encode(observation, each, following))
    last = jax.vmap(encoder.encode, in_axes=(None, 2, None), out_axes=2)(
        observation, np.moveaxis(actions, 0, 2), following
    )
    np.testing.assert_array_equal(last, np.moveaxis(np.asarray(mapped), 0, 2))


def test_an_encoder_can_be_an_argument(encoder):
    apply = jax.jit(lambda given, *arrays: given.encode(*arrays))
    np.testing.assert_array_equal(apply(encoder, *rows(3)), encoder.encode(*rows(3)))
    assert jax.tree_util.tree_leaves(encoder) == []


def test_wrong_shapes_are_named(encoder):
    observation, action, following = rows(3)
    with pytest.raises(LareError, match="action has shape"):
        encoder.encode(observation, action[:, :1], following)
    with pytest.raises(LareError, match="next_observation"):
        encoder.encode(observation, action)
    with pytest.raises(LareError, match="action has shape"):
        encoder.encode(observation, action[:2], following)
    with pytest.raises(LareError, match="observation has shape"):
        encoder.encode(observation[0], action, following)
    with pytest.raises(LareError, match="observation has shape"):
        encoder.encode(observation[:0], action[:0], following[:0])


def test_a_source_of_the_observation_alone_takes_the_same_arguments():
    only = seal(source("return [observation[:, :1]]", arguments="observation"), SPACE)
    observation, action, _ = rows(3)
    np.testing.assert_array_equal(only.encode(observation, action), observation[:, :1])
    assert not only.needs_next_observation


# --- checks ---


@pytest.mark.parametrize(
    ("failing", "lines", "detail"),
    [
        ("runs", ["return [observation]"], "shape (batch, 4)"),
        ("runs", ["return observation[0]"], "list of arrays"),
        ("runs", ["return 1.0"], "list of arrays"),
        ("runs", ["return [observation[:, 7:8] @ observation]"], "line 2"),
        ("runs", ["if observation[:, 0] > 0: return [observation[:, :1]]", "return [action]"], "np.where"),
        (
            "traces",
            ["return [observation[observation[:, 0] > 0, :1].sum() + observation[:, :1]]"],
            "np.where",
        ),
        (
            "rows independent",
            ["return [np.full((len(observation), 1), float(np.sum(observation[0])))]"],
            "axis=0",
        ),
        ("finite", ["x = 1.0 / observation[:, :1]", "return [x]"], "x is inf"),
        ("finite", ["x = np.exp(observation[:, :1])", "return [x]"], "np.clip"),
        ("varies", ["x = observation[:, :1] * 0 + 2", "return [x, action[:, :1]]"], "x is always 2"),
        (
            "distinct",
            ["x = observation[:, :1]", "y = 3 - 2 * x", "return [x, y]"],
            "y is minus a multiple of x",
        ),
        ("rows independent", ["x = observation[:, :1] - np.mean(observation)", "return [x]"], "axis=0"),
        ("rows independent", ["x = np.roll(observation[:, :1], 1, axis=0)", "return [x]"], "axis=0"),
        ("rows independent", ["x = np.sort(observation, axis=0)[:, :1]", "return [x]"], "axis=0"),
    ],
)
def test_each_check_fails_where_it_should(failing, lines, detail):
    report = check(source(*lines), SPACE)
    assert not report.passed
    assert report.program == b""
    details = {each.name: each.detail for each in report.failures}
    assert detail in details[failing]


def test_all_failing_checks_are_reported():
    lines = [
        "x = 1.0 / observation[:, :1]",
        "y = action[:, :1] * 0",
        "z = np.cumsum(observation, axis=0)[:, 1:2]",
    ]
    report = check(source(*lines, "return [x, y, z]"), SPACE)
    assert {"finite", "varies", "rows independent"} <= {each.name for each in report.failures}
    with pytest.raises(LareError, match=r"(?s)finite.*rows independent.*varies"):
        verify.encoder_of(report, "", SPACE)


def test_bounds_decide_what_must_be_finite():
    bounded = dataclasses.replace(SPACE, observation_low=(0.5,) * 4, observation_high=(2.0,) * 4)
    lines = ["return [np.log(observation[:, :1]), np.exp(observation[:, 1:2])]"]
    assert check(source(*lines), bounded).passed
    assert not check(source(*lines), SPACE).passed


def test_a_dictionary_names_its_latents_and_other_shapes_are_converted():
    lines = ["near = np.abs(observation[:, 0]) < 0.5", "return {'is near': near, 'push': action[:, 0]}"]
    report = check(source(*lines), SPACE)
    assert report.passed, str(report)
    assert report.latent_names == ("is near", "push")
    assert "made float" in next(each.detail for each in report.checks if each.name == "runs")


def test_repeated_names_become_unique():
    lines = ["x = observation", "return [x[:, :1], x[:, 1:2], observation[:, 2:3]]"]
    assert check(source(*lines), SPACE).latent_names == ("x", "x_2", "latent_2")


def test_the_same_source_gives_the_same_program_also_after_others(encoder):
    other = source("return [observation[:, 0:1]]")
    broken = source("return [1 / observation[:, 0:1]]")
    one, two, three, none = verify.check_all([broken, other, SOURCE, "import os"], SPACE)
    assert three.program == encoder.program
    assert three.checks == tuple(verify.Check(name, True, detail) for name, detail in encoder.card.checks)
    assert (one.passed, two.passed, none.passed) == (False, True, False)
    assert b"/" + b"src/" not in encoder.program


def test_a_source_that_takes_too_long_is_a_failed_check():
    lines = [
        "n = 6000",
        "x = np.ones((n, n))",
        *["x = x @ x * 0.5"] * 50,
        "return [observation[:, :1] * x[0, 0]]",
    ]
    report = check(source(*lines), SPACE, limits=sandbox.Limits(wall_s=4))
    assert str(report).startswith("sandbox: the locked process was stopped after 4 s")


def answer(encoder: Encoder, **changes) -> sandbox.Outcome:
    result = {
        "checks": [["finite", True, ""]],
        "latent_names": list(encoder.latent_names),
        "program": base64.b64encode(encoder.program).decode(),
    }
    return sandbox.Outcome(result | changes, ())


def test_no_source_fails_because_of_another(encoder, monkeypatch):
    def run(worker, payload, limits):
        if payload["source"] == bad:
            raise LareError("the locked process was stopped")
        return sandbox.Outcome(None, ()) if payload["source"] == mute else answer(encoder)

    sources = [source(f"return [observation[:, 0:1] * {number}.5]") for number in range(9)]
    bad, mute = sources[4], sources[2]
    monkeypatch.setattr(sandbox, "run", run)
    reports = verify.check_all(sources, SPACE)
    assert [report.passed for report in reports] == [each not in (bad, mute) for each in sources]
    assert str(reports[4]) == "sandbox: the locked process was stopped"


def test_the_childs_answer_is_treated_as_hostile(encoder):
    def trusted(outcome) -> bool:
        return verify._screened([verify._trusted(outcome, ("observation",))], SPACE)[0].passed

    assert trusted(answer(encoder))
    assert not trusted(sandbox.Outcome(None, ()))
    assert not trusted(sandbox.Outcome([1, 2], ()))
    for changes in (
        {"checks": []},
        {"checks": "all good"},
        {"checks": [["finite", 1, ""]]},
        {"latent_names": ["a", "b", "c"]},
        {"latent_names": ["a", "a", "b", "c"]},
        {"latent_names": ["a", "b", "c", "<script>"]},
        {"latent_names": 3},
        {"program": "not base64"},
        {"program": "AAAA"},
        {"program": ["x"]},
        {"program": "A" * (MAX_PROGRAM * 2)},
    ):
        assert not trusted(answer(encoder, **changes)), changes


# --- files ---


def test_an_encoder_survives_its_folder(encoder, tmp_path):
    folder = save(encoder, tmp_path / "deep" / "encoder")
    (folder / "reply.json").write_text("{}")
    again = load(save(encoder, folder))
    assert again == encoder
    assert hash(again) == hash(encoder)
    assert sorted(path.name for path in folder.iterdir()) == [
        "card.json",
        "program.stablehlo",
        "reply.json",
        "source.py",
    ]
    np.testing.assert_array_equal(again.encode(*rows(3)), encoder.encode(*rows(3)))


def test_a_folder_that_cannot_be_written_is_named(encoder, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(LareError, match="choose a writable folder"):
        save(encoder, tmp_path / "file" / "encoder")


@pytest.mark.parametrize("name", ["source.py", "program.stablehlo", "card.json"])
def test_missing_changed_and_empty_files_are_named(encoder, tmp_path, name):
    for harm in ("missing", "empty", "changed", "huge"):
        folder = save(encoder, tmp_path / harm)
        path = folder / name
        content = path.read_bytes()
        changed = {"empty": b"", "changed": content[:40] + b"?" + content[41:], "huge": b" " * (2 << 20)}
        path.unlink() if harm == "missing" else path.write_bytes(changed[harm])
        with pytest.raises(LareError, match=name) as caught:
            load(folder)
        assert ";" in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        {"format": 99},
        {"latent_names": 3},
        {"space": {}},
        {"space": None},
        {"checks": [1]},
        {"surprise": 1},
        {"score": 3},
        {"orders": [1]},
        {"orders": {"observation": [0]}},
    ],
)
def test_a_card_that_lies_is_refused(encoder, tmp_path, change):
    folder = save(encoder, tmp_path / "encoder")
    card = json.loads((folder / "card.json").read_text())
    (folder / "card.json").write_text(json.dumps(card | change))
    with pytest.raises(LareError, match=r"card\.json"):
        load(folder)


def test_a_program_that_this_jax_cannot_read_is_sealed_again(encoder, tmp_path):
    future = b"a format of a later JAX"
    sha256 = hashlib.sha256(future).hexdigest()
    card = dataclasses.replace(encoder.card, program_sha256=sha256, versions={"jax": "99.0"})
    folder = save(encoder, tmp_path / "encoder")
    (folder / "program.stablehlo").write_bytes(future)
    (folder / "card.json").write_text(to_json(card))
    with pytest.raises(LareError, match="not sealed or checked here"):
        load(folder)
    again = open_encoder(folder)
    assert again.program == encoder.program
    assert (again.card.provenance, again.card.draw, again.card.explanations) == (
        "by hand",
        3,
        encoder.card.explanations,
    )
    assert dataclasses.replace(again.card, created=card.created) == encoder.card
    here = dataclasses.replace(card, versions=encoder.card.versions)  # this JAX wrote it: then it is damaged
    (folder / "card.json").write_text(to_json(here))
    with pytest.raises(LareError, match="cannot read program"):
        open_encoder(folder)
    (folder / "source.py").write_text("")
    with pytest.raises(LareError, match=r"source\.py was changed"):
        open_encoder(folder)


def test_comments_explain_the_latents_wherever_they_are_named():
    source = (
        "def evaluation_func(observation, action):\n"
        "    # Not this one,\n    a = observation[:, :1]\n"
        "    # Over\n    # two lines.\n    a = a + 1\n"
        "    b: object = a  # At the end.\n"
        "    text = '# no comment'\n    c = a\n"
        "    d = {}\n    # Of a key.\n    d['e f'] = a\n"
        "    return {\n        'b': b,\n        'g': a,  # In the result.\n        **d}\n"
    )
    expected = {"a": "Over two lines.", "b": "At the end.", "e f": "Of a key.", "g": "In the result."}
    assert explanations(source, ("a", "b", "c", "e f", "g", "text")) == expected


def test_half_a_character_in_an_explanation_is_replaced_on_the_card(encoder, tmp_path):
    odd = with_card(encoder, explanations=("speed \ud83d", "é", "", ""))
    again = load(save(odd, tmp_path / "encoder"))
    assert again.card.explanations == ("speed \N{REPLACEMENT CHARACTER}", "é", "", "")


def test_shuffled_columns_are_put_back(encoder, tmp_path):
    """A source that was written for shuffled columns takes the task's own, under jit and vmap and from disk."""
    orders = Orders((2, 0, 3, 1), (1, 0))
    shuffled = with_card(encoder, orders=orders)
    observation, action, following = rows(7)
    as_written = (observation[:, [2, 0, 3, 1]], action[:, [1, 0]], following[:, [2, 0, 3, 1]])
    expected = np.asarray(encoder.encode(*as_written))
    np.testing.assert_array_equal(shuffled.encode(observation, action, following), expected)
    mapped = jax.vmap(shuffled.encode)(*(part[None] for part in (observation, action, following)))
    np.testing.assert_array_equal(mapped[0], expected)
    again = load(save(shuffled, tmp_path / "encoder"))
    assert again == shuffled
    assert again.card.anonymous
    assert not encoder.card.anonymous
    np.testing.assert_array_equal(again.encode(observation, action, following), expected)


@pytest.mark.parametrize("orders", [Orders((0, 1, 2, 2), (0, 1)), Orders((0, 1, 2, 3), (0,))])
def test_an_order_that_is_not_a_permutation_is_refused(encoder, orders):
    with pytest.raises(LareError, match="not a permutation"):
        with_card(encoder, orders=orders)


def test_the_space_of_a_shuffled_source_has_its_bounds_shuffled():
    space = Space(2, 2, (0.0, -1.0), (2.0, 3.0), (-5.0, -6.0), (5.0, 6.0))
    shuffled = Orders((1, 0), (1, 0)).shuffle(space)
    assert shuffled == Space(2, 2, (-1.0, 0.0), (3.0, 2.0), (-6.0, -5.0), (6.0, 5.0))


def test_what_a_dialogue_notes_survives_the_card(encoder, tmp_path):
    noted = with_card(
        encoder,
        model="some-model",
        protocol={"candidates": 3, "temperature": 0.5},
        usage={"tokens": 1200},
        score={"explained": 0.75},
        hygiene=("goal.plain: names a weight",),
    )
    assert load(save(noted, tmp_path / "encoder")) == noted


def test_a_card_from_before_dialogues_is_read(encoder, tmp_path):
    folder = save(encoder, tmp_path / "encoder")
    fields = json.loads((folder / "card.json").read_text())
    for name in ("model", "protocol", "usage", "score", "hygiene", "orders"):
        del fields[name]
    (folder / "card.json").write_text(json.dumps(fields))
    assert load(folder) == encoder


def test_bounds_survive_the_card(tmp_path):
    space = dataclasses.replace(SPACE, observation_low=(0.0, -1.0, -np.inf, 0.0))
    sealed = seal(source("return [observation[:, :1]]"), space)
    assert load(save(sealed, tmp_path / "encoder")).card.space == space


def test_an_encoder_of_another_task_is_refused(encoder):
    @dataclasses.dataclass
    class Task:
        name: str = "mine"
        env_id: str = ""
        observation_size: int = 4
        action_size: int = 2

    check_fits(encoder, Task())
    for change in ({"observation_size": 5}, {"action_size": 1}, {"env_id": "Other-v5"}):
        with pytest.raises(LareError, match="mine"):
            check_fits(encoder, dataclasses.replace(Task(), **change))


def test_a_task_with_too_few_bounds_is_refused():
    with pytest.raises(LareError, match="one per field"):
        Space.of(dataclasses.replace(SPACE, action_low=(0.0,)))


def test_a_card_is_a_value(encoder):
    assert isinstance(encoder.card, Card)
    with pytest.raises(dataclasses.FrozenInstanceError):
        encoder.card.task = "other"
