"""What is drawn for each kind of input: bytes, valid ones with a few things changed, so that they get far."""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path

from hypothesis import strategies as st

import latent_reward

PACKAGE = Path(latent_reward.__file__).parent
BUNDLED = PACKAGE / "encoder" / "bundled"
CORPUS = Path(__file__).parents[2] / "tests" / "corpus"

# What readers of all kinds stumble over.
_WORDS = (
    "__class__", "__import__", "import os", "os:system", "../../x", "np.random", "lambda", "yield", "while True:",
    "global x", "NaN", "Infinity", "-1", "1e999", "9" * 400, "0x7fffffffffffffff", "\x00", "\x1b[31m", "\u202e",
    "&a", "*a", "!!python/name:os.system", "<<: *a", "[" * 200, "{" * 200, '"', "'''", "\\", "\n", "\t", "null", "[]",
    "{}", "true", "inf", "nan", "def f(): return f()", "10**10**8", "[0] * 10**9", "é", "\ud7ff", "%s" * 50,
)  # fmt: skip


@st.composite
def changed_bytes(draw, originals: Callable[[], list[bytes]]) -> bytes:
    """Bytes of a valid file with bits flipped, and parts cut out, doubled or overwritten."""
    data = bytearray(draw(st.sampled_from(originals())))
    for _ in range(draw(st.integers(1, 4))):
        if not data:
            break
        place = draw(st.integers(0, len(data) - 1))
        change = draw(st.sampled_from(("bit", "bit", "byte", "cut", "double", "truncate")))
        size = draw(st.integers(1, 64))
        if change == "bit":
            data[place] ^= 1 << draw(st.integers(0, 7))
        elif change == "byte":
            data[place] = draw(st.sampled_from((0, 1, 127, 128, 255)))
        elif change == "cut":
            del data[place : place + size]
        elif change == "double":
            data[place:place] = data[place : place + size]
        else:
            del data[place:]
    return bytes(data)


@st.composite
def changed_text(draw, originals: Callable[[], list[bytes]]) -> bytes:
    """Text with lines of another valid one spliced in, words of ``_WORDS``, and lines gone, doubled or swapped."""
    texts = [each.decode() for each in originals()]
    lines = draw(st.sampled_from(texts)).splitlines(keepends=True)
    for _ in range(draw(st.integers(1, 5))):
        place = draw(st.integers(0, max(len(lines) - 1, 0)))
        change = draw(
            st.sampled_from(("word", "word", "replace", "splice", "delete", "double", "swap", "bytes"))
        )
        if not lines or change == "splice":
            other = draw(st.sampled_from(texts)).splitlines(keepends=True) or [""]
            lines.insert(place, draw(st.sampled_from(other)))
        elif change in ("word", "replace"):
            word = draw(st.one_of(st.sampled_from(_WORDS), st.text(max_size=8)))
            start = draw(st.integers(0, len(lines[place])))
            end = min(len(lines[place]), start + (draw(st.integers(1, 12)) if change == "replace" else 0))
            lines[place] = lines[place][:start] + word + lines[place][end:]
        elif change == "delete":
            del lines[place]
        elif change == "double":
            lines.insert(place, lines[place])
        elif change == "swap":
            other = draw(st.integers(0, len(lines) - 1))
            lines[place], lines[other] = lines[other], lines[place]
        else:
            return "".join(lines).encode("utf-8", "surrogatepass") + draw(st.binary(max_size=4))
    return "".join(lines).encode("utf-8", "surrogatepass")


_VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.sampled_from(_WORDS), st.text(max_size=12),
    st.lists(st.integers(-2, 2), max_size=3), st.dictionaries(st.text(max_size=5), st.integers(), max_size=2),
)  # fmt: skip


@st.composite
def changed_json(draw, originals: Callable[[], list[bytes]]) -> bytes:
    """A JSON document with values of other types, and keys gone, added or renamed; at times with broken text."""
    document = json.loads(draw(st.sampled_from(originals())))
    for _ in range(draw(st.integers(1, 3))):
        holder = document
        for _ in range(draw(st.integers(0, 3))):
            inner = holder.values() if isinstance(holder, dict) else holder
            containers = [each for each in inner if isinstance(each, dict | list) and each]
            if not containers:
                break
            holder = containers[draw(st.integers(0, len(containers) - 1))]
        keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
        if not keys:
            continue
        key = keys[draw(st.integers(0, len(keys) - 1))]
        change = draw(st.sampled_from(("value", "value", "value", "delete", "add", "rename")))
        if change == "value":
            holder[key] = draw(_VALUES)
        elif change == "delete":
            del holder[key]
        elif isinstance(holder, list):
            holder.append(draw(_VALUES))
        elif change == "add":
            holder[draw(st.text(max_size=8))] = draw(_VALUES)
        else:
            holder[draw(st.text(max_size=8))] = holder.pop(key)
    text = json.dumps(document).encode("utf-8", "surrogatepass")
    if draw(st.integers(0, 9)) == 0:
        return draw(changed_bytes(lambda: [text]))
    return text


# ---------------------------------------------------------------- sources of arithmetic, correct by construction

_UNARY = ("np.abs", "np.tanh", "np.cos", "np.sin", "np.square", "np.sign", "np.arctan", "np.negative")
_BINARY = ("+", "-", "*", "/")
_PAIRS = ("np.maximum", "np.minimum", "np.hypot", "np.arctan2", "np.where", "np.add")


@st.composite
def expression(draw, depth: int) -> str:
    """An expression whose value is one column, ``(rows, 1)``."""
    if depth == 0:
        array, size = draw(st.sampled_from((("observation", 17), ("action", 6))))
        start = draw(st.integers(0, size - 1))
        end = draw(st.integers(start + 1, size))
        leaf = f"{array}[:, {start}:{end}]"
        if end - start == 1:
            return leaf
        reduction = draw(
            st.sampled_from(("np.sum", "np.mean", "np.max", "np.linalg.norm", "np.prod", "np.std"))
        )
        return f"{reduction}({leaf}, axis=1, keepdims=True)"
    kind = draw(st.sampled_from(("unary", "binary", "pair", "constant", "power", "clip")))
    inner = draw(expression(depth - 1))
    number = draw(st.sampled_from(("0.5", "2.0", "-1.5", "3", "1e-3", "10.0")))
    if kind == "unary":
        return f"{draw(st.sampled_from(_UNARY))}({inner})"
    if kind == "constant":
        return f"({inner} {draw(st.sampled_from(_BINARY))} {number})"
    if kind == "power":
        return f"({inner} ** {draw(st.integers(1, 3))})"
    if kind == "clip":
        return f"np.clip({inner}, -{number.lstrip('-')}, {number.lstrip('-')})"
    other = draw(expression(draw(st.integers(0, depth - 1))))
    if kind == "binary":
        operator = draw(st.sampled_from(_BINARY))
        return f"({inner} / (1.0 + np.abs({other})))" if operator == "/" else f"({inner} {operator} {other})"
    name = draw(st.sampled_from(_PAIRS))
    return (
        f"np.where({inner} > {other}, {inner}, {number})"
        if name == "np.where"
        else f"{name}({inner}, {other})"
    )


@st.composite
def arithmetic(draw) -> bytes:
    """A source that computes a few columns in the ways in which models write them."""
    lines, names = ["def evaluation_func(observation, action):"], []
    for number in range(draw(st.integers(1, 4))):
        names.append(f"latent_{number}")
        lines.append(f"    {names[-1]} = {draw(expression(draw(st.integers(0, 3))))}")
    lines.append(f"    return [{', '.join(names)}]")
    return "\n".join([*lines, ""]).encode()


# ---------------------------------------------------------------- valid originals


def _files(root: Path, pattern: str) -> Callable[[], list[bytes]]:
    return cache(lambda: [path.read_bytes() for path in sorted(root.rglob(pattern))])


def strategies(run: Path) -> dict[str, st.SearchStrategy[bytes]]:
    """How inputs of each kind are drawn; ``run`` is the folder of a finished run."""
    return {
        "source": changed_text(_files(BUNDLED, "source.py")),
        "arithmetic": arithmetic(),
        "program": changed_bytes(_files(BUNDLED / "HalfCheetah-v5", "program.stablehlo")),
        "card": changed_json(_files(BUNDLED / "HalfCheetah-v5", "card.json")),
        "task": changed_text(_files(PACKAGE / "task", "*.yaml")),
        "reply": changed_text(_files(CORPUS, "*.txt")),
        "config": changed_json(_files(run, "config.json")),
        "metrics": changed_text(_files(run, "metrics.jsonl")),
        "checkpoint": changed_bytes(_files(run, "checkpoint.safetensors")),
    }
