"""The numeric language: what real replies use passes, everything that reaches out of arithmetic is
refused.
"""

import ast
import subprocess
import sys

import numpy as np
import pytest

from latent_reward.sealing.language import vocabulary
from latent_reward.sealing.language.parse import SourceError, parse
from latent_reward.sealing.trace import toolbox
from latent_reward.sealing.trace.substitutes import numpy_arguments

HEAD = "import numpy as np\ndef evaluation_func(observation, action):\n"


def body(*lines: str) -> str:
    return HEAD + "".join(f"    {line}\n" for line in lines) + "    return [observation[:, :1]]\n"


def refused(source: str) -> str:
    with pytest.raises(SourceError) as caught:
        parse(source)
    return str(caught.value)


def run_unguarded(source: str, folder) -> subprocess.CompletedProcess:
    """What the source does when nothing stops it: plain Python, as the authors' code ran it."""
    call = "\nevaluation_func(np.ones((2, 3)), np.ones((2, 1)))\n"
    return subprocess.run(
        [sys.executable, "-c", source + call],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


# Each writes the secret, which only a file holds, to standard output when nothing guards it.
READS_A_FILE = {
    "open": 'print(open("secret").read())',
    "import": "import os; print(os.popen('cat secret').read())",
    "import in disguise": "print(__import__('os').popen('cat secret').read())",
    "loader": "print(np.fromfile('secret', dtype='S6')[0].decode())",
    "memory map": "print(bytes(np.memmap('secret')).decode())",
    "module of a module": "print(np.f2py.os.popen('cat secret').read())",
    "class chain": (
        "[print(c.__init__.__globals__['__builtins__']['open']('secret').read()) for c in "
        "().__class__.__base__.__subclasses__() if c.__name__ == '_Printer'][:1]"
    ),
    "getattr": "print(getattr(np, 'from' + 'file')('secret', dtype='S6')[0].decode())",
    "eval": "print(eval('open(\"secret\").read()'))",
    "function's globals": "print(evaluation_func.__globals__['__builtins__'].open('secret').read())",
}


@pytest.mark.parametrize("line", READS_A_FILE.values(), ids=READS_A_FILE)
def test_reading_a_file_works_unguarded_and_is_refused(line, tmp_path):
    (tmp_path / "secret").write_text("sesame")
    assert "sesame" in run_unguarded(body(line), tmp_path).stdout
    assert "line 3" in refused(body(line))


def test_format_string_trick_works_unguarded_and_is_refused(tmp_path):
    line = "print('{0.__globals__[password]}'.format(evaluation_func))"
    source = "password = 'sesame'\n" + body(line)
    assert "sesame" in run_unguarded(source, tmp_path).stdout
    refused(source)


def test_writing_a_file_works_unguarded_and_is_refused(tmp_path):
    for line in ("np.save('made', observation)", "observation.tofile('made')"):
        run_unguarded(body(line), tmp_path)
        assert list(tmp_path.glob("made*")), line
        next(tmp_path.glob("made*")).unlink()
        refused(body(line))


def test_decorators_and_defaults_run_unguarded_and_are_refused(tmp_path):
    decorated = "import numpy as np\n@print\ndef evaluation_func(observation): return [observation]\n"
    assert "evaluation_func" in run_unguarded(decorated, tmp_path).stdout
    assert "decorator" in refused(decorated)
    default = "def evaluation_func(observation, action=print('sesame')):\n    return [observation[:, :1]]\n"
    assert "sesame" in run_unguarded(default, tmp_path).stdout
    refused(default)


@pytest.mark.parametrize(
    ("line", "remedy"),
    [
        ("while True: pass", "range"),
        ("x = 10 ** 10 ** 10", "numbers up to"),
        ("x = 9999999999999999999999", "numbers up to"),
        ("x = [0] * 10 ** 9", "np.zeros"),
        ("x = 'a' * 10 ** 9", "numbers only"),
        ("x = np.zeros(1000000000)", "sizes taken from"),
        ("x = np.arange(999999999)", "sizes taken from"),
        ("for i in range(10 ** 6): x = i", "array expressions"),
        ("for i in range(99): x = [0 for j in range(99)]", "array expressions"),
        ("x = [i for i in range(10 ** 8)]", "array expressions"),
        ("x = 1 << 2000", "multiplication"),
        ("x = np.random.rand(3)", "random"),
        ("x = np.load", "no files"),
        ("x = np", "np.function"),
        ("with observation: pass", "plain"),
        ("global x", "argument"),
        ("x = observation.dtype.type", ".shape"),
        ("x = observation.tofile('x')", "np function"),
        ("x = np.sum(observation, out=observation)", "keyword"),
        ("x = np.sum(*observation)", "by name"),
        ("x = np.array([1], dtype='object')", "numbers only"),
        ("import os", "import numpy as np"),
        ("from os import path", "import numpy as np"),
        ("evaluation_func(observation, action)", "assignment"),
        ("x = evaluation_func(observation, action)", "defined above"),
        ("x = (yield)", "array"),
        ("__x = 1", "double underscores"),
        ("x = 1j", "numbers only"),
        ("x = 1e400", "numbers up to"),
    ],
)
def test_refusals_name_the_line_and_a_remedy(line, remedy):
    message = refused(body("y = 1.0", line))
    assert "line 4" in message
    assert remedy in message


def test_all_problems_are_reported_at_once():
    message = refused(body("x = open('a')", "y = 1.0", "z = np.load('b')"))
    assert "line 3" in message
    assert "line 5" in message


@pytest.mark.parametrize(
    "source",
    [
        "",
        "x = 1",
        "def evaluation_func(observation:\n",
        "def evaluation_func(action):\n    return [action]\n",
        "def evaluation_func(state):\n    return [state]\n",
        "def evaluation_func(observation):\n    x = observation\n",
        "def evaluation_func(observation): return [1]\ndef evaluation_func(observation): return [2]\n",
        "def evaluation_func(*observation): return [1]\n",
        "def evaluation_func(observation): return [observation]\nfor i in range(3): x = i\n",
        "x = " + "(" * 5000 + ")" * 5000,
        "x = " + "-" * 20000 + "1",
        "x = [" + "1," * 30000 + "]",
        "x = 1\0",
        "x = '\ud800'",
        "#" * 100_000,
    ],
)
def test_shapeless_sources_are_refused_without_a_crash(source):
    refused(source)


def evaluate(source: str, *arrays: np.ndarray):
    program = parse(source)
    scope = toolbox.plain_names()
    exec(compile(program.plain, "<test>", "exec"), scope)
    return scope["evaluation_func"](*arrays)


REAL = '''
import numpy as np
from typing import List

SCALE = 0.5

def distance(a: np.ndarray, b) -> np.ndarray:
    """Between rows."""
    return np.linalg.norm(a - b, axis=1, keepdims=True)

def evaluation_func(observation: np.ndarray, action: np.ndarray) -> List[np.ndarray]:
    batch: int = observation.shape[0]
    total = np.zeros((batch, 1))
    for i in range(2):
        for j in range(i + 1, 3):
            total += distance(observation[:, i:i + 1], observation[:, j:j + 1]) * SCALE
    near = np.min(np.stack([np.abs(observation[:, k]) for k in range(3)], axis=1), axis=1).reshape(-1, 1)
    effort = -np.sum(action ** 2, axis=1, keepdims=True)
    bonus = np.where((near < 0.1) & (total > 0.0), 1.0, 0.0)
    factors = [total, near]
    factors.append(-effort)
    factors.append(np.exp(bonus))
    return factors
'''


def test_the_usual_idioms_mean_what_they_mean_in_python():
    arrays = np.random.default_rng(0).normal(size=(7, 3)), np.random.default_rng(1).normal(size=(7, 2))
    scope: dict = {}
    exec(REAL, scope)
    for ours, plain in zip(evaluate(REAL, *arrays), scope["evaluation_func"](*arrays), strict=True):
        np.testing.assert_allclose(ours, plain, rtol=1e-6)


def test_names_come_from_variables():
    assert parse(REAL).latent_names == ("total", "near", "effort", None)
    assert parse(REAL).arguments == ("observation", "action")


def test_loops_share_a_budget_that_only_running_can_tell():
    lines = ["n = 2", *(["n = n * n"] * 5), "for i in range(n): x = i"]
    with pytest.raises(ValueError, match="array expressions"):
        evaluate(body(*lines), np.ones((2, 3)), np.ones((2, 1)))


@pytest.mark.parametrize(
    "scope",
    [toolbox.plain_names(), toolbox.jax_names(), toolbox.traced_names()],
    ids=["plain", "jax", "traced"],
)
def test_nothing_but_the_vocabulary_is_in_sight(scope):
    assert set(scope) == {"__builtins__", "np", "math"}
    assert {
        name for name in scope["__builtins__"] if "__" not in name
    } == vocabulary.BUILTINS | vocabulary.ERRORS
    allowed = vocabulary.FUNCTIONS | vocabulary.CONSTANTS | vocabulary.DTYPES | {"linalg"}
    assert set(vars(scope["np"])) <= allowed
    assert set(vars(scope["math"])) == vocabulary.MATH
    modules = [name for name, value in vars(scope["np"]).items() if type(value).__name__ == "module"]
    assert not modules


def test_numpys_own_names_of_arguments_are_known():
    # What is missing says how memory is laid out, or changes the number of results.
    left_out = (
        "casting subok signature device like stable ndmin ndmax returned to_end to_begin f int_type dimensions "
        "sparse assume_unique retstep overwrite_input method mean start_or_stop"
    )
    for name in vocabulary.FUNCTIONS:
        assert set(numpy_arguments(name)) <= vocabulary.KEYWORDS | set(left_out.split()), name


@pytest.mark.parametrize(
    ("head", "line", "meaning"),
    [
        ("from math import sqrt, pi", "x = sqrt(pi)", "math.sqrt(math.pi)"),
        ("from numpy import exp as e", "x = e(observation)", "np.exp(observation)"),
        ("import math as m", "x = m.sin(1)", "math.sin(1)"),
        ("import numpy", "x = numpy.sin(1)", "np.sin(1)"),
        ("import numpy.linalg as la", "x = la.norm(observation)", "np.linalg.norm(observation)"),
        ("from numpy.linalg import norm", "x = norm(observation)", "np.linalg.norm(observation)"),
        ("from numpy import linalg", "x = linalg.det(observation)", "np.linalg.det(observation)"),
        ("from jax import numpy as jnp", "x = jnp.sin(1)", "np.sin(1)"),
    ],
)
def test_imported_names_mean_what_they_stand_for(head, line, meaning):
    plain = ast.unparse(parse(f"{head}\n{body(line)}").plain)
    assert f"x = {meaning}" in plain


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("def f(x): return x\ndef g(f): return f", "also a variable or an argument"),
        ("def f(x): return x\nf = 3", "also a variable or an argument"),
        ("def f(x): return x\nfor f in range(3): pass", "also a variable or an argument"),
        ("f = lambda x: x\nf = lambda x: x + 1", "defined again"),
        ("def f(x): return x\ndef f(x): return x", "defined again"),
        ("def abs(x): return x", "named like Python's"),
        ("def f(x): return g(x)\ndef g(x): return x", "a call of `g`"),
        ("def f(x):\n    h = f\n    return h(x)", "before its definition"),
        ("x = np.ndarray", "annotations"),
        ("x = np.ndarray((3, 1))", "annotations"),
        ("isinstance = 3", "as a variable"),
        ("x = np.add(observation, 1, where=observation > 0)", "`where` without `out`"),
    ],
)
def test_names_of_functions_keep_their_meaning(lines, said):
    assert said in refused(body(*lines.split("\n")))


@pytest.mark.parametrize(
    "lines",
    [
        "k = 10 ** 9\nx = k ** k",
        "k = 9\nfor i in range(99): k = k * k",
        "k = 9\nfor i in range(99): k *= k",
        "k = [9]\nfor i in range(99): k[0] **= 9",
        "x = pow(10 ** 9, 10 ** 9)",
        "x = [1]\nfor i in range(99): x = x + x",
        "x = [1]\nfor i in range(99): x += x",
        "x = [1]\nfor i in range(99): x.extend(x)",
        "x = [1]\nfor i in range(99): x = [*x, *x]",
        "n = 10 ** 6\nx = [1] * n",
        "n = 10 ** 6\nx = n * (1,)",
        "x = [1]\nfor i in x: x.append(i)",
        "x = list(range(99))\nfor i in x:\n    for j in x: y = i",
        "x = [i for i in [0] * 40 for j in [0] * 40]",
        "f = lambda x: x\ng = lambda x: sum([f(x) for i in range(40)])\nx = [g(1) for i in range(40)]",
        "n = 9000\nx = np.ones((n, n))",
    ],
)
@pytest.mark.parametrize("scope", [toolbox.plain_names, toolbox.traced_names], ids=["plain", "traced"])
def test_what_grows_or_takes_long_is_stopped_where_it_happens(lines, scope):
    names = scope()
    exec(compile(parse(body(*lines.split("\n"))).plain, "<test>", "exec"), names)
    with pytest.raises(ValueError, match=r"beyond|more than"):
        names["evaluation_func"](np.ones((2, 3)), np.ones((2, 1)))
