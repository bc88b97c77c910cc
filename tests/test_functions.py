"""Each function of the language: NumPy's values, and a program that is arithmetic to whoever screens it."""

# ruff: noqa: SIM905  (a table of words is easiest to read as words)

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

from latent_reward.encoder.card import Card, Space
from latent_reward.encoder.screen import read_program, screen
from latent_reward.sealing.language import vocabulary
from latent_reward.sealing.trace import toolbox
from latent_reward.sealing.trace.arrays import unwrap, wrap
from latent_reward.sealing.trace.execute import symbolic_shapes

SIZE = 4
ELEMENTWISE = sorted(vocabulary.ELEMENTWISE)
LOGICAL = {"bitwise_and", "bitwise_or", "bitwise_not", "invert"}
REDUCING = """
    sum prod mean median std var min max ptp any all argmin argmax count_nonzero nansum nanmean nanmin nanmax
    cumsum cumprod diff sort argsort nanstd nanvar nanmedian nanprod nancumsum trapezoid gradient nanargmax
    nanargmin unwrap
""".split()
OTHERS = {
    "interp": lambda np, o, a: np.interp(o[:, 0], [-1.0, 0.0, 2.0], [1.0, 2.0, -3.0]),
    "interp beyond": lambda np, o, a: np.interp(o[:, 0], [-0.1, 0.1], [1.0, 2.0], left=-5.0, right=7.0),
    "digitize": lambda np, o, a: np.digitize(o[:, 0], [-1.0, 0.0, 1.0]),
    "digitize down": lambda np, o, a: np.digitize(o[:, 0], [1.0, 0.0, -1.0], right=True),
    "searchsorted": lambda np, o, a: np.searchsorted([-1.0, 0.0, 1.0], o[:, 0], side="right"),
    "det": lambda np, o, a: np.linalg.det(np.reshape(o, (-1, 2, 2))),
    "inv": lambda np, o, a: np.linalg.inv(np.eye(4) * 3 + o[:, :, None] * 0.1)[:, 0, 1],
    "inv of three": lambda np, o, a: np.linalg.inv(np.eye(3) * 3 + o[:, :3, None] * a[:, None, :3] * 0.1)[
        :, 2, 0
    ],
    "solve": lambda np, o, a: np.linalg.solve(np.eye(4) * 3 + np.ones((4, 4)), np.transpose(o))[0],
    "cross": lambda np, o, a: np.cross(o[:, :3], a[:, :3])[:, 1],
    "polyval": lambda np, o, a: np.polyval([1.0, 2.0, -1.0], o)[:, 0],
    "partition": lambda np, o, a: np.partition(o, 1, axis=1)[:, 1],
    "percentile": lambda np, o, a: np.percentile(o, 30, axis=1),
    "select": lambda np, o, a: np.select([o > 1, o > 0], [o, a], default=0.5)[:, 0],
    "piecewise": lambda np, o, a: np.piecewise(o, [o > 0, o > 1], [lambda v: v * 2, 2.0, -1.0])[:, 0],
    "norm": lambda np, o, a: np.linalg.norm(o, ord=1, axis=1),
    "average": lambda np, o, a: np.average(o, axis=1, weights=[1.0, 2.0, 3.0, 4.0]),
    "take along": lambda np, o, a: np.take_along_axis(o, np.argsort(a, axis=1), axis=1)[:, 0],
    "clip": lambda np, o, a: np.clip(a=o, a_min=-0.5, a_max=0.5)[:, 0],
    "add with dtype": lambda np, o, a: np.add(o, a, dtype=np.float32)[:, 0],
}


def calls(name, numpy, o, a):
    """One column of the function's result."""
    if name in OTHERS:
        return OTHERS[name](numpy, o, a)
    function = getattr(numpy, name)
    if name in REDUCING:
        result = function(o, axis=1)
        return result[:, 0] if len(result.shape) > 1 else result
    o, a = (o > 0, a > 0) if name in LOGICAL else (o, a)
    if name == "arccosh":
        o = o + 9.0
    universal = getattr(np, name)
    two = name == "isclose" or getattr(universal, "nin", 1) == 2
    return (function(o, a) if two else function(o))[:, 0]


ALL = [*ELEMENTWISE, *REDUCING, *OTHERS]


def table(o, a, n):
    numpy = toolbox.traced_names()["np"]
    columns = [unwrap(calls(name, numpy, wrap(o), wrap(a))) for name in ALL]
    return jnp.stack([jnp.asarray(column, jnp.float32) for column in columns], axis=1)


@pytest.fixture(scope="module")
def rows():
    generator = np.random.default_rng(5)
    return tuple(np.float32(generator.uniform(-0.95, 0.95, size=(50, SIZE))) for _ in range(3))


def test_all_functions_have_numpys_values(rows):
    ours = np.asarray(jax.jit(table)(*rows))
    with np.errstate(all="ignore"):
        wide = [part.astype(np.float64) for part in rows]
        plain = np.stack([np.asarray(calls(name, np, *wide[:2]), np.float64) for name in ALL], axis=1)
    for column, name in enumerate(ALL):
        np.testing.assert_allclose(ours[:, column], plain[:, column], rtol=2e-4, atol=2e-5, err_msg=name)


def test_programs_of_all_functions_pass_the_screen():
    shapes = symbolic_shapes({"observation_size": SIZE, "action_size": SIZE})
    exported = export.export(jax.jit(table), platforms=("cpu", "cuda", "rocm", "tpu"))(*shapes)
    names = tuple(f"x{number}" for number in range(len(ALL)))
    card = Card("", "", Space.unbounded(SIZE, SIZE), names, names, ("observation", "action"), "", "")
    screen(read_program(bytes(exported.serialize())), card)


@pytest.mark.parametrize("name", ["sinh", "cosh", "arcsinh", "arccosh", "arctanh", "arcsin", "arccos"])
def test_functions_written_here_hold_at_the_ends(name):
    x = np.float32(
        [
            0.0,
            1e-30,
            1e-6,
            -1e-3,
            0.5,
            -1.0,
            1.0,
            1.000001,
            5.0,
            -9.99,
            10.01,
            50.0,
            -80.0,
            88.9,
            1e6,
            -3e15,
            3e38,
        ]
    )
    ours = np.asarray(unwrap(getattr(toolbox.traced_names()["np"], name)(wrap(jnp.asarray(x)))))
    with np.errstate(all="ignore"):
        plain = getattr(np, name)(x)
    np.testing.assert_allclose(ours, plain, rtol=1e-5, atol=1e-6 if name in ("arccosh", "arccos") else 0.0)
