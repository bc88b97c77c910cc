"""Hostile and broken sources are refused, each by a line of its own, soon, and by the layer that should."""

import contextlib
import re
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from latent_reward.errors import LareError
from latent_reward.sealing.lock import sandbox
from latent_reward.sealing.lock.sandbox import Limits
from latent_reward.sealing.verify import check

TEXT = (Path(__file__).parent / "corpus" / "hostile.sources").read_text(encoding="utf-8")
HEAD = "import numpy as np\ndef evaluation_func(observation, action):"
WRITTEN = {
    name: source.replace("BODY", HEAD)
    for name, source in (part.split("\n", 1) for part in TEXT.split("\n=== ")[1:])
}
RETURN = "\n    return [observation[:, :1]]\n"
GENERATED = {
    "text / nothing": "",
    "text / a NUL byte": HEAD + "\n    x = 1\0" + RETURN,
    "text / a lone surrogate": HEAD + "\n    x = '\ud800'" + RETURN,
    "text / a byte order mark inside": HEAD + "\n    x = \ufeff1" + RETURN,
    "text / right-to-left marks": HEAD + "\n    x\u202e = 1" + RETURN,
    "text / only a comment": "#" * 30_000,
    "text / too long": HEAD + "\n    x = 1" * 20_000 + RETURN,
    "nesting / brackets": HEAD + "\n    x = " + "(" * 5_000 + ")" * 5_000 + RETURN,
    "nesting / lists": HEAD + "\n    x = " + "[" * 90 + "]" * 90 + RETURN,
    "nesting / minus signs": HEAD + "\n    x = " + "-" * 30_000 + "1" + RETURN,
    "nesting / a chain of attributes": HEAD + "\n    x = observation" + ".T" * 9_000 + RETURN,
    "nesting / a chain of sums": HEAD + "\n    x = 1" + "+1" * 15_000 + RETURN,
    "nesting / functions": HEAD + "".join(f"\n{' ' * n}def f{n}(x):" for n in range(4, 95)) + RETURN,
    "nesting / loops": HEAD + "".join(f"\n{' ' * n}for x{n} in range(2):" for n in range(4, 20))
    + f"\n{' ' * 20}y = 1" + RETURN,
    "nesting / not": HEAD + "\n    x = " + "not " * 9_000 + "1" + RETURN,
    "nesting / lambdas": HEAD + "\n    x = " + "lambda: " * 4_000 + "1" + RETURN,
    "nesting / f-strings": HEAD + "\n    x = " + "f'{" * 200 + "1" + "}'" * 200 + RETURN,
    "literals / many digits": HEAD + "\n    x = " + "9" * 30_000 + RETURN,
    "literals / many hexadecimal digits": HEAD + "\n    x = 0x" + "f" * 30_000 + RETURN,
    "literals / a long list": HEAD + "\n    x = [" + "1," * 15_000 + "]" + RETURN,
    "literals / a long text": HEAD + "\n    x = '" + "a" * 30_000 + "'" + RETURN,
    "literals / a long name": HEAD + "\n    " + "a" * 5_000 + " = 1" + RETURN,
    "time / large matrices often": HEAD + "\n    n = 5000\n    x = np.ones((n, n))"
    + "\n    x = x @ x * 0.5" * 200 + "\n    return [observation[:, :1] * x[0, 0]]\n",
    "time / a body of many lines": HEAD + "\n    y = observation\n    for i in range(1000):"
    + "\n        y = np.tanh(y + 1)" * 500 + "\n    return [y[:, :1]]\n",
}  # fmt: skip
SOURCES = WRITTEN | GENERATED
TASK = SimpleNamespace(observation_size=17, action_size=6)
# Refused before anything runs, whatever the names, texts and syntax say.
BY_LANGUAGE = {
    "attributes", "files", "network", "processes", "imports", "literals", "nesting", "confusables", "text",
}  # fmt: skip
CLEAN = re.compile(r"(language|sandbox|runs|traces|size|finite|deterministic|rows independent|agrees with NumPy|"
                   r"varies|distinct|screened|cost): \S")  # fmt: skip
# What reaches outside; the lock has to stop that by itself, should the language ever fail to.
BY_LOCK = {"attributes", "names", "formats", "files", "network", "processes", "imports"}
STOPPED = "rror: .*(not permitted|denied|not found|Errno)"
# Nothing but the clock ends these: each step is allowed, and long.
BY_CLOCK = {
    "time / large products of matrices", "time / large matrices often", "time / sorting in a loop",
    "time / nested lists compared", "time / nested lists as an array", "time / hash of nested tuples",
    "time / a body of many lines",
}  # fmt: skip
SHORT = Limits(wall_s=5, cpu_s=2)
AT_MOST_S = 20.0


def test_there_are_many():
    assert len(SOURCES) >= 180


@pytest.mark.parametrize("name", SOURCES)
def test_hostile_sources_are_refused_cleanly_and_soon(name):
    start = time.monotonic()
    report = check(SOURCES[name], TASK, limits=SHORT if name in BY_CLOCK else None)
    took = time.monotonic() - start
    assert not report.passed
    for line in str(report).splitlines():
        assert CLEAN.match(line), line
        assert "Traceback" not in line
    assert took < AT_MOST_S, f"{took:.1f} s: {report}"
    if name.split(" / ")[0] in BY_LANGUAGE:
        assert {failure.name for failure in report.failures} == {"language"}


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel locks exist on Linux only")
@pytest.mark.parametrize("name", [name for name in SOURCES if name.split(" / ")[0] in BY_LOCK])
def test_the_lock_alone_keeps_a_hostile_source_from_reaching_outside(name):
    call = "\nimport numpy\nevaluation_func(numpy.zeros((3, 17)), numpy.zeros((3, 6)))\n"
    reaches = name.split(" / ")[0] in ("files", "network") or name == "processes / subprocess"
    with pytest.raises(LareError, match=STOPPED) if reaches else contextlib.suppress(LareError):
        sandbox.run("builtins:exec", f"exec({SOURCES[name] + call!r}, {{'__name__': 'encoder'}})", SHORT)
    (server,) = sandbox._servers
    assert list(Path(server.folder.name).iterdir()) == []  # where the source would write
