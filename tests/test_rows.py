"""Rows of a program do not influence one another: by proof or by construction, never by trial."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from programs import SIZES, exported

from latent_reward.encoder.bundled import bundled_draws, bundled_folder, bundled_tasks
from latent_reward.encoder.card import Space
from latent_reward.encoder.encoder import read_files
from latent_reward.encoder.rows import mapped_over_rows, rows_stay_apart
from latent_reward.sealing.language.parse import parse
from latent_reward.sealing.trace import execute
from latent_reward.sealing.verify import check_all, seal
from latent_reward.task.load import load_task

SPACE = Space.unbounded(*SIZES[:2])
MATRIX = jnp.arange(12.0).reshape(4, 3)

APART = {
    "columns": lambda o, a, n: o[:, 1:3] * a - n[:, :2],
    "negative columns": lambda o, a, n: o[:, -1:] + o[:, ::-1][:, :1],
    "some columns": lambda o, a, n: o[:, jnp.array([0, 2])],
    "a norm": lambda o, a, n: jnp.linalg.norm(o - n, axis=1, keepdims=True),
    "a matrix": lambda o, a, n: o @ MATRIX,
    "a product": lambda o, a, n: jnp.einsum("bi,bi->b", o, n)[:, None],
    "a sorted row": lambda o, a, n: jnp.sort(o, axis=1),
    "a running sum": lambda o, a, n: jnp.cumsum(o, axis=1),
    "its own column": lambda o, a, n: jnp.take_along_axis(o, jnp.argmax(n, axis=1)[:, None], axis=1),
    "a table": lambda o, a, n: MATRIX[jnp.argmax(n, axis=1)],
    "a constant": lambda o, a, n: jnp.where(o[:, :1] > 0, 1.0, jnp.array([[2.0]])),
    "pairs of fields": lambda o, a, n: (o[:, :, None] - o[:, None, :]).reshape(o.shape[0], 16),
    "an assignment": lambda o, a, n: o.at[:, 1].set(a[:, 0]),
    "numbers of its own shape": lambda o, a, n: o + jnp.ones_like(o) * jnp.zeros((o.shape[0], 1)),
    "other columns": lambda o, a, n: jnp.hstack([o, a, n])[:, 3:8],
    "a median": lambda o, a, n: jnp.median(o, axis=1, keepdims=True),
}
MIXED = {
    "a mean": lambda o, a, n: o - jnp.mean(o, axis=0),
    "a mean of all": lambda o, a, n: o - jnp.mean(o),
    "the first row": lambda o, a, n: o - o[0],
    "the first row as a slice": lambda o, a, n: o - o[:1],
    "the last row": lambda o, a, n: o - o[-1:],
    "rows in reverse": lambda o, a, n: o[::-1],
    "rows one on": lambda o, a, n: jnp.roll(o, 1, axis=0),
    "sorted rows": lambda o, a, n: jnp.sort(o, axis=0),
    "a running sum of rows": lambda o, a, n: jnp.cumsum(o, axis=0),
    "the best row": lambda o, a, n: o[jnp.argmax(o[:, 0])] + 0 * o,
    "rows of a row's choice": lambda o, a, n: o[jnp.argmax(o, axis=1)],
    "pairs of rows": lambda o, a, n: (o @ n.T).sum(axis=1, keepdims=True),
    "products of rows": lambda o, a, n: o @ (o.T @ n),
    "rows behind one another": lambda o, a, n: jnp.concatenate([o, n])[1 : o.shape[0] + 1],
    "an assigned row": lambda o, a, n: o.at[0].set(1.0),
    "assigned from other rows": lambda o, a, n: o.at[:, 0].set(o[::-1, 1]),
    "another order of the numbers": lambda o, a, n: o.reshape(4, -1).T,
    "the number of rows": lambda o, a, n: o * jnp.asarray(o.shape[0], jnp.float32),
    "the number of each row": lambda o, a, n: o * jnp.arange(o.shape[0])[:, None],
    "a helper": lambda o, a, n: jax.jit(lambda x: x - x.mean(axis=0))(o),
    "a padded row": lambda o, a, n: jnp.pad(o, ((1, 0), (0, 0)))[:-1],
    "a matrix of its size": lambda o, a, n: jnp.ones((o.shape[0], o.shape[0])) @ o,
}


def traced(function):
    shapes = execute.symbolic_shapes({"observation_size": SIZES[0], "action_size": SIZES[1]})
    return jax.jit(function).trace(*shapes).jaxpr


def batch(count):
    generator = np.random.default_rng(count)
    return [jnp.asarray(generator.normal(size=(count, size)), jnp.float32) for size in SIZES]


@pytest.mark.parametrize("case", APART)
def test_everyday_operations_are_proved_to_keep_rows_apart(case):
    assert rows_stay_apart(traced(APART[case]))


@pytest.mark.parametrize("case", MIXED)
def test_nothing_is_proved_of_a_function_that_mixes_rows(case):
    function = MIXED[case]
    assert not rows_stay_apart(traced(function))
    # It is indeed one: a row alone, or in another batch, gives something else.
    rows = batch(6)
    alone = np.concatenate([function(*(part[i : i + 1] for part in rows)) for i in range(6)])
    assert not np.allclose(function(*rows), alone)


@pytest.mark.parametrize("case", MIXED)
def test_mapped_over_rows_nothing_mixes(case):
    mapped = jax.jit(exported(mapped_over_rows(MIXED[case])).call)
    rows = batch(6)
    alone = np.concatenate([MIXED[case](*(part[i : i + 1] for part in rows)) for i in range(6)])
    np.testing.assert_allclose(mapped(*rows), alone, rtol=1e-5, atol=1e-6)


def test_bundled_sources_are_sealed_as_fast_programs_of_whole_batches():
    """Each is proved to keep rows apart, so that none pays for the map."""
    for task in bundled_tasks():
        for description in load_task(task).descriptions:
            for draw in bundled_draws(description.name):
                card, source, _ = read_files(bundled_folder(description.name, draw))
                sizes = {"observation_size": card.observation_size, "action_size": card.action_size}
                whole = jax.jit(execute.directly(parse(source))).trace(*execute.symbolic_shapes(sizes))
                assert rows_stay_apart(whole.jaxpr), f"{description.name} {draw}"


def source(*lines):
    return "def evaluation_func(observation, action, next_observation):\n" + "".join(
        f"    {each}\n" for each in lines
    )


MIXING = [
    ("return [observation[:, :1] - observation[0, 0]]",),
    ("return [observation[:, :1] * len(observation)]",),
    ("return [observation[:, :1] - np.mean(observation[:, :1], axis=0)]",),
    ("return [np.where(np.arange(len(observation))[:, None] > 20, 1.0, observation[:, :1])]",),
    ("x = observation[:, :1]", "return [x - x[::-1]]"),
    ("x = observation[:, :1]", "if len(x) > 100:", "    x = x - np.mean(x)", "return [x]"),
]


def test_sources_whose_rows_depend_on_the_batch_are_refused_for_that_reason():
    for lines, report in zip(MIXING, check_all([source(*lines) for lines in MIXING], SPACE), strict=True):
        failures = {check.name: check.detail for check in report.failures}
        assert "rows influence one another" in failures.get("rows independent", ""), (lines, str(report))


def test_a_special_number_of_rows_changes_nothing():
    """What a source does for one size that nobody tries cannot be in the program."""
    lines = ["x = observation[:, :1]", "if len(x) == 777:", "    x = x - np.mean(x)", "return [x]"]
    encoder = seal(source(*lines), SPACE)
    for count in (1, 5, 777):
        np.testing.assert_allclose(encoder.encode(*batch(count)), batch(count)[0][:, :1])


def test_a_function_is_mapped_over_rows_where_it_proves_nothing():
    """For example because it is written for columns."""
    transposed = lambda o, a, n: jnp.stack([o[:, 0] * 2, a[:, 1]]).T  # noqa: E731
    assert not rows_stay_apart(traced(transposed))
    mapped = jax.jit(exported(mapped_over_rows(transposed)).call)
    np.testing.assert_allclose(mapped(*batch(5)), transposed(*batch(5)))
