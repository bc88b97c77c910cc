"""Anonymous tasks: shuffled and renamed to the reader, the same task to the encoder."""

import dataclasses
import re

import numpy as np
import pytest

from latent_reward.design.anonymous import HIDDEN, anonymous
from latent_reward.encoder.encoder import check_fits, load, save, with_card
from latent_reward.errors import LareError
from latent_reward.sealing.verify import check, encoder_of, seal
from latent_reward.task.load import load_task, task_names

TASKS = {each.name: each for name in task_names() for each in load_task(name).descriptions}
SOURCE = """
def evaluation_func(observation, action, next_observation):
    reach = -np.sqrt(observation[:, {dx}:{dx}+1] ** 2 + observation[:, {dy}:{dy}+1] ** 2)
    turning = next_observation[:, {turn}:{turn}+1] - observation[:, {turn}:{turn}+1]
    first = action[:, {first}:{first}+1] ** 2
    return [reach, turning, first]
"""


def texts(task):
    return "\n".join([*task.goal.values(), task.describe("observation"), task.describe("action")])


def written_for(task):
    """The source, with each column found by the meaning of its field, as a reader would."""

    def find(fields, meaning):
        return next(each.index for each in fields if meaning in each.meaning)

    return SOURCE.format(
        dx=find(task.observation, "x component of the vector"),
        dy=find(task.observation, "y component of the vector"),
        turn=find(task.observation, "angular velocity of the first joint"),
        first=find(task.action, "torque at the first joint"),
    )


def test_an_encoder_designed_on_the_anonymous_task_computes_the_same_on_the_true_one(tmp_path):
    task = load_task("Reacher-v5")
    hidden, orders = anonymous(task, seed=4)
    source = written_for(hidden)
    assert source != written_for(task)
    report = check(source, hidden)
    assert report.passed, str(report)
    designed = with_card(encoder_of(report, source, task), orders=orders)
    check_fits(designed, task)
    plain = seal(written_for(task), task)
    random = np.random.default_rng(0)
    rows = [random.normal(size=(50, size)).astype(np.float32) for size in (10, 2, 10)]
    np.testing.assert_array_equal(designed.encode(*rows), plain.encode(*rows))
    np.testing.assert_array_equal(load(save(designed, tmp_path)).encode(*rows), plain.encode(*rows))


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("seed", [0, 1])
def test_every_column_keeps_its_meaning_unit_and_bounds(name, seed):
    task = TASKS[name]
    hidden, orders = anonymous(task, seed)
    assert orders == anonymous(task, seed)[1]
    for part in ("observation", "action"):
        order = list(getattr(orders, part))
        assert sorted(order) == list(range(getattr(task, f"{part}_size")))
        assert part == "action" or order != sorted(order)  # two motors may well stay where they are
        for side in ("low", "high"):
            true = getattr(task, f"{part}_{side}")
            np.testing.assert_array_equal(getattr(hidden, f"{part}_{side}"), true[order])
        true = {each.index: each for each in getattr(task, part)}
        for each in getattr(hidden, part):
            original = true[order[each.index]]
            assert (each.unit, each.count) == (original.unit, original.count)
            if not re.search(r"[_\d(]", original.meaning) and HIDDEN not in each.meaning:
                assert each.meaning == original.meaning


@pytest.mark.parametrize("name", TASKS)
def test_no_text_tells_the_benchmark(name):
    task = TASKS[name]
    hidden, _ = anonymous(task, 0)
    text = texts(hidden)
    assert not re.search(r"cheetah|walker|reacher|humanoid|standup|-v\d", text, re.IGNORECASE)
    assert (hidden.name, hidden.env_id) == ("anonymous-0", "anonymous")
    own = [each.name for each in (*task.observation, *task.action)]
    for each in own:
        if re.search(r"[_\d(]", each):
            assert not re.search(rf"(?<!\w){re.escape(each)}(?!\w)", text), each


def test_a_text_that_names_a_field_names_its_neutral_name():
    task = load_task("HumanoidStandup-v5")
    hidden, orders = anonymous(task, 2)
    (true_joint,) = [each for each in task.observation if each.name == "abdomen_z"]
    (motor,) = [each for each in hidden.action if orders.action[each.index] == 1]
    assert f"value {orders.observation.index(true_joint.index)};" in motor.meaning
    assert HIDDEN in hidden.goal["plain"]


def test_units_can_be_left_out():
    hidden, _ = anonymous(load_task("HalfCheetah-v5"), 0, units=False)
    assert {each.unit for each in (*hidden.observation, *hidden.action)} == {"-"}


def test_a_task_with_a_gap_cannot_be_shuffled():
    task = load_task("Reacher-v5")
    with pytest.raises(LareError, match="observation: the fields do not describe every index once"):
        anonymous(dataclasses.replace(task, observation=task.observation[1:]), 0)
