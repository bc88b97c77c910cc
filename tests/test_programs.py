"""Programs from elsewhere: tried in a locked process, refused in one line, and known once they are found to be good."""

import dataclasses
import hashlib
import json
import os
import re
import shutil
import stat

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export
from programs import CARD, edited, program_of, with_module_of

import latent_reward as lr
from latent_reward.encoder import known
from latent_reward.encoder.bundled import bundled_folder
from latent_reward.encoder.encoder import Encoder, load
from latent_reward.encoder.screen import PROGRAM
from latent_reward.errors import LareError
from latent_reward.sealing import admit
from latent_reward.sealing.lock import sandbox

TYPE = "tensor<?x1xf32>"


def first_column(o, a, n):
    return o[:, :1] * 2.0


def calling(*functions):
    """Puts a call of ``@f0`` in place of the product in ``first_column`` and adds functions to the module."""

    def change(text):
        text, count = re.subn(
            rf"stablehlo\.multiply (%\w+), %\w+ : {re.escape(TYPE)}",
            rf"call @f0(\1) : ({TYPE}) -> {TYPE}",
            text,
        )
        assert count == 1
        return text.replace("  func.func private", "\n".join(functions) + "\n  func.func private", 1)

    return change


def function(name, *lines):
    return (
        f"func.func private @{name}(%x: {TYPE}) -> {TYPE} {{\n"
        + "\n".join(lines)
        + f"\nreturn %y : {TYPE}\n}}"
    )


def call(result, callee, argument):
    return f"%{result} = call @{callee}(%{argument}) : ({TYPE}) -> {TYPE}"


SINE = f"%y = stablehlo.sine %x : {TYPE}"
TREE = [function(f"f{i}", call("z", f"f{i + 1}", "x"), call("y", f"f{i + 1}", "z")) for i in range(30)]


def endless(o, a, n):
    return jax.lax.while_loop(lambda x: jnp.any(x < 1e9), lambda x: x * 1.0, o)[:, :1]


def library(o, a, n):
    small = o[:1, :2].T @ o[:1, :2]
    return o[:, :1] + jnp.linalg.svd(small)[1][0]


def drawn(o, a, n):
    return o[:, :1] + jax.lax.rng_uniform(0.0, 1.0, (1, 1))


def many_sorted(o, a, n):
    return o[:, :1] + jnp.sort(jnp.sin(jnp.arange(400_000_000, dtype=jnp.float32)))[7]


def many_summed(o, a, n):
    return o[:, :1] + jnp.sum(jnp.sin(jax.lax.iota(jnp.float32, 1 << 30)))


def every_pair_of_rows(o, a, n):
    return o[:, :1] + 0 * jnp.sort(o[:, :1] - o[:, 0], axis=1)[:, :1]


def equal_numbers(o, a, n):
    return o[:, :1] + jnp.cumsum(jnp.zeros(25_000_000))[-1]


def heavy_elsewhere(o, a, n):
    """Costs nothing on a processor."""
    light, heavy = (lambda x: x[:, :1]), (lambda x: wide(x, x, x))
    return jax.lax.platform_dependent(o, cpu=light, default=heavy)


def other_elsewhere(o, a, n):
    return jax.lax.platform_dependent(o, cpu=lambda x: x[:, :1], default=lambda x: x[:, :1] - x[0, 0])


def wide(o, a, n):
    return jnp.sort(jnp.sin(o[:, :1] * jnp.arange(200_000.0)), axis=1)[:, :1]


def laborious(o, a, n):
    large = jnp.sin(o[:, :1] * jnp.arange(1000.0))
    return (large @ jnp.sin(jnp.outer(jnp.arange(1000.0), jnp.arange(1000.0))))[:, :1]


def wide_rows_mixed(o, a, n):
    return jnp.where(jnp.asarray(o.shape[0]) > 200, jnp.mean(o), o[:, :1])


LAPACK = [export.DisabledSafetyCheck.custom_call("lapack_sgesdd_ffi")]
# What is wrong, the program, and what is said of it.
REFUSED = {
    "an endless loop": (program_of, (endless,), {}, "while, which no encoder needs"),
    "a library": (program_of, (library,), {"disabled": LAPACK}, "safety checks"),
    "random numbers": (program_of, (drawn,), {}, "rng, which no encoder needs"),
    "two columns": (program_of, (lambda o, a, n: o[:, :2],), {}, "signature"),
    "no columns": (program_of, (lambda o, a, n: o[:, 0],), {}, "signature"),
    "two results": (program_of, (lambda o, a, n: (o[:, :1], a[:, :1]),), {}, "signature"),
    "a list": (program_of, (lambda o, a, n: [o[:, :1]],), {}, "signature"),
    "another platform": (program_of, (first_column,), {"platforms": ("tpu",)}, "compiled for tpu"),
    "one platform": (program_of, (first_column,), {"platforms": ("cpu",)}, "compiled for cpu"),
    "unchecked platforms": (
        program_of,
        (first_column,),
        {"disabled": [export.DisabledSafetyCheck.platform()]},
        "safety checks",
    ),
    "even numbers of rows": (program_of, (first_column,), {"dimensions": ("2*b",) * 3}, "signature"),
    "rows of their own": (
        program_of,
        (lambda o, a, n: o[:, :1],),
        {"dimensions": ("b", "c", "b")},
        "signature",
    ),
    "many rows": (program_of, (first_column,), {"constraints": ("b >= 100",)}, "numbers of rows"),
    "few rows": (program_of, (first_column,), {"constraints": ("b <= 100000",)}, "numbers of rows"),
    "rows in pairs": (program_of, (first_column,), {"constraints": ("mod(b, 2) == 0",)}, "numbers of rows"),
    "another module": (with_module_of, (first_column, lambda o, a, n: a), {}, "cannot be loaded safely"),
    "a module of fewer arguments": (
        with_module_of,
        (first_column, lambda o, a, n: jnp.concatenate([o, n], axis=1)[:, :3]),
        {},
        "cannot be loaded safely",
    ),
    "recursion": (edited, (first_column, calling(function("f0", call("y", "f0", "x")))), {}, "calls itself"),
    "recursion of two": (
        edited,
        (first_column, calling(function("f0", call("y", "f1", "x")), function("f1", call("y", "f0", "x")))),
        {},
        "calls itself",
    ),
    "a tree of calls": (
        edited,
        (first_column, calling(*TREE, function("f30", SINE))),
        {},
        "100000 operations",
    ),
    "a large sort": (program_of, (many_sorted,), {}, "an array of 400,000,000 numbers"),
    "a large sum": (program_of, (many_summed,), {}, "an array of 1,073,741,824 numbers"),
    "equal numbers": (program_of, (equal_numbers,), {}, "an array of 25,000,000 numbers"),
    "wide rows on other platforms": (program_of, (heavy_elsewhere,), {}, "bytes"),
    "rows mixed on other platforms": (program_of, (other_elsewhere,), {}, "must not influence"),
    "pairs of rows": (program_of, (every_pair_of_rows,), {}, "bytes"),
    "wide rows": (program_of, (wide,), {}, "bytes"),
    "laborious rows": (program_of, (laborious,), {}, "operations for each of"),
    "rows that are mixed": (program_of, (lambda o, a, n: o[:, :1] - jnp.mean(o),), {}, "must not influence"),
    "rows in another order": (
        program_of,
        (lambda o, a, n: jnp.sort(o, axis=0)[:, :1],),
        {},
        "must not influence",
    ),
    "rows that are mixed in large batches": (program_of, (wide_rows_mixed,), {}, "must not influence"),
}


@pytest.fixture(scope="module")
def said():
    """What is said of each program; they share locked processes, and none may end one."""
    calls, run = [], sandbox.run

    def counted(*arguments):
        calls.append(arguments)
        return run(*arguments)

    programs = [make(*given, **options) for make, given, options, _ in REFUSED.values()]
    good = [
        program_of(lambda o, a, n: jnp.cumsum(o, axis=1)[:, 2:3]),
        edited(first_column, calling(function("f0", SINE))),
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sandbox, "run", counted)
        problems = admit.problems_of([(program, CARD) for program in [*programs, *good]])
    assert len(calls) == -(-len(problems) // 4)
    assert problems[-len(good) :] == ["", ""]
    assert [known.is_known(program) for program in [*programs, *good]] == [False] * len(programs) + [True] * 2
    return dict(zip(REFUSED, problems, strict=False))


@pytest.mark.parametrize("case", REFUSED)
def test_a_program_that_no_encoder_needs_is_refused_in_one_line(said, case):
    assert re.search(re.escape(REFUSED[case][-1]), said[case]), said[case]
    assert ";" in said[case]
    assert "\n" not in said[case]


# --- known programs ---


@pytest.fixture
def stranger(monkeypatch, tmp_path):
    """A folder with a bundled encoder in an installation that does not know it, and its own folder of marks."""
    monkeypatch.setattr(known, "_of_this_process", set())
    monkeypatch.setattr(known, "bundled_digests", frozenset)
    monkeypatch.setenv(known.SWITCH, str(tmp_path / "known"))
    return shutil.copytree(bundled_folder("HalfCheetah-v5", 0), tmp_path / "encoder")


@pytest.fixture
def trials(monkeypatch):
    """The programs that a locked process was asked to try; it finds nothing wrong."""
    asked = []

    def run(worker, payloads):
        asked.extend(payloads)
        return sandbox.Outcome([""] * len(payloads), ())

    monkeypatch.setattr(sandbox, "run", run)
    return asked


def forget(monkeypatch):
    monkeypatch.setattr(known, "_of_this_process", set())


def replace_program(folder, program):
    (folder / PROGRAM).write_bytes(program)
    card = json.loads((folder / "card.json").read_text())
    card["program_sha256"] = hashlib.sha256(program).hexdigest()
    (folder / "card.json").write_text(json.dumps(card))


def test_the_list_of_bundled_programs_is_that_of_the_files():
    listed = dict(line.split("  ")[::-1] for line in known.SUMS.read_text().splitlines())
    files = {
        path.relative_to(known.SUMS.parent).as_posix(): path for path in known.SUMS.parent.rglob(PROGRAM)
    }
    assert listed == {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()}
    assert len(listed) > 50


def test_bundled_programs_are_not_tried(trials, monkeypatch):
    forget(monkeypatch)
    monkeypatch.setenv(known.SWITCH, "off")
    lr.load_encoder("HalfCheetah-v5")
    assert not trials


def test_a_program_from_elsewhere_is_read_in_no_other_way(stranger):
    with pytest.raises(LareError, match=r"not sealed or checked here; open its folder with load_encoder"):
        load(stranger)


def test_it_is_tried_once_and_known_by_a_mark(stranger, trials, monkeypatch, tmp_path):
    lr.load_encoder(stranger)
    lr.load_encoder(stranger)
    assert len(trials) == 1
    forget(monkeypatch)  # as in another process
    lr.load_encoder(stranger)
    assert len(trials) == 1
    key = tmp_path / "known" / "seal.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert len(key.read_bytes()) == 32
    (mark,) = (tmp_path / "known" / "programs").iterdir()

    for forged in (
        "0" * 64,
        "",
        hashlib.sha256((stranger / PROGRAM).read_bytes()).hexdigest(),
        "x" * 100_000,
    ):
        mark.write_text(forged)
        forget(monkeypatch)
        assert not known.is_known((stranger / PROGRAM).read_bytes())
    lr.load_encoder(stranger)
    assert len(trials) == 2
    forget(monkeypatch)
    key.write_bytes(bytes(32))  # another key: every mark counts for nothing
    lr.load_encoder(stranger)
    assert len(trials) == 3


def test_a_key_that_others_can_read_is_replaced(stranger, trials, monkeypatch, tmp_path):
    lr.load_encoder(stranger)
    key = tmp_path / "known" / "seal.key"
    old = key.read_bytes()
    key.chmod(0o644)
    forget(monkeypatch)
    lr.load_encoder(stranger)
    assert len(trials) == 2
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert key.read_bytes() != old


def test_a_mark_is_for_the_version_of_jax_that_read_the_program(stranger, trials, monkeypatch):
    lr.load_encoder(stranger)
    forget(monkeypatch)
    monkeypatch.setattr(jax, "__version__", "99.0")
    lr.load_encoder(stranger)
    assert len(trials) == 2


@pytest.mark.parametrize("folder", ["off", "file"])
def test_without_a_folder_for_marks_it_is_tried_each_time(stranger, trials, monkeypatch, tmp_path, folder):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(known.SWITCH, folder if folder == "off" else str(tmp_path / "file"))
    for count in (1, 2):
        forget(monkeypatch)
        assert lr.load_encoder(stranger) == lr.load_encoder("HalfCheetah-v5")
        assert len(trials) >= count


def test_what_was_sealed_here_is_known(stranger, monkeypatch):
    encoder = lr.encoder_from_function(lambda o, a, after: o[:, :1] * 3.5, ["x"]).bind(CARD.space)
    forget(monkeypatch)
    assert Encoder(encoder.card, encoder.source, encoder.program) == encoder


# --- programs that end the process that reads them ---


def test_a_flipped_bit_that_ends_the_reader_is_an_error(stranger):
    program = bytearray((stranger / PROGRAM).read_bytes())
    program[803] ^= 1 << 4
    replace_program(stranger, bytes(program))
    with pytest.raises(
        LareError, match=r"program\.stablehlo cannot be loaded safely \(.*\); seal it again"
    ) as caught:
        lr.load_encoder(stranger)
    assert str(stranger) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_one_that_ends_the_process_does_not_condemn_the_others(monkeypatch):
    bad, good = b"bad" * 9, b"good" * 9
    asked = []

    def run(worker, payloads):
        asked.append(len(payloads))
        if any(payload["program"] == admit._payload(bad, CARD)["program"] for payload in payloads):
            raise LareError("the locked process ended with status -11 and no reply; do something else")
        return sandbox.Outcome([""] * len(payloads), ())

    monkeypatch.setattr(sandbox, "run", run)
    monkeypatch.setenv(known.SWITCH, "off")
    problems = admit.problems_of([(good, CARD), (bad, CARD)])
    assert problems[0] == ""
    assert "status -11 and no reply); seal it again" in problems[1]
    assert asked == [2, 1, 1]


@pytest.mark.parametrize("answer", [None, [], ["", ""], {"a": 1}, "x"])
def test_an_answer_of_another_form_is_a_refusal(monkeypatch, answer):
    monkeypatch.setattr(sandbox, "run", lambda *_: sandbox.Outcome(answer, ()))
    assert "no usable answer" in admit.problems_of([(b"some program", CARD)])[0]


def test_a_program_that_is_too_large_is_not_tried(trials):
    assert "are read" in admit.problems_of([(bytes(2 << 20), CARD)])[0]
    assert not trials


def test_latents_of_a_program_from_elsewhere_are_those_of_its_source(stranger):
    rows = [np.random.default_rng(0).normal(size=(5, size)).astype(np.float32) for size in (17, 6, 17)]
    ours = lr.load_encoder("HalfCheetah-v5")
    assert dataclasses.asdict(lr.load_encoder(stranger).card) == dataclasses.asdict(ours.card)
    np.testing.assert_array_equal(lr.load_encoder(stranger).encode(*rows), ours.encode(*rows))
    assert os.listdir(os.environ[known.SWITCH])
