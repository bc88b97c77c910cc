"""Replies with slips in their JSON: the whole source is read, or the place of the slip is named; never a part of it."""

import ast
import contextlib
import json
import time

import pytest

from latent_reward.design.reply import read_reply
from latent_reward.errors import LareError

SIMPLE = """import numpy as np

def evaluation_func(observation, action):
    x = observation[:, 0:1]  # the x, in m
    return [-x, np.abs(x)]
"""
QUOTES = '''import numpy as np

def evaluation_func(observation, action):
    """The "near" one: don't {brace}."""
    x = observation[:, 0:1]  # the 'x', in "m"
    parts = {"near": -x, 'far': x}
    return {"near": parts["near"], "far": parts["far"]}
'''


def slips(source):
    """The same reply with one slip each."""
    texts = {"Understand": "It's a point.", "Analyze": 'good, "bad"', "Functions": source}
    plain, wide = json.dumps(texts), json.dumps(texts, indent=2)
    code, raw = json.dumps(source), source.replace("\n", "\\n")
    head = '{"Understand": "p", "Analyze": "f", "Functions": '
    lines = [json.dumps(line) for line in source.splitlines()]
    return {
        "comma before the brace": plain[:-1] + ",}",
        "comma on its own line": wide[:-2] + ",\n}",
        "no closing brace": plain[:-1],
        "no closing brace in a fence": f"```json\n{wide[:-2]}\n```",
        "no opening brace": plain[1:],
        "no comma between": wide.replace('",\n  "Functions"', '"\n  "Functions"'),
        "// comment": wide.replace('  "Functions"', '  // the "source":\n  "Functions"'),
        "# comment": wide.replace('  "Functions"', "  # the source\n  Functions"),
        "/* comment */": wide.replace('  "Functions"', '  /* the "source": */\n  "Functions"'),
        "comment at the end": wide[:-2] + " // done\n}",
        "Python's dictionary": repr(texts),
        "single quotes": "{'Understand': 'p', 'Functions': '" + raw.replace("'", "\\'") + "',}",
        "keys without quotes": "{Understand: 'p', Analyze: 'f', Functions: " + code + "}",
        "typographic quotes": "{“Understand”: “p”, “Analyze”: “f”, “Functions”: " + code + "}",
        "line breaks": plain[:-1].replace("\\n", "\n") + ",}",
        "quotes in the source": f'{head}"{raw}"}}',
        "quotes and line breaks": f'Sure:\n{head}"{source}"\n}}\nThis "works" {{well}}.',
        "quotes and line breaks in a fence": f'```json\n{head}"{source}"\n}}\n```\nThis "works".',
        "Windows line breaks": (head + '"' + source + '",}').replace("\n", "\r\n"),
        "quotes in another text": f'{{"Understand": "the "x" one", "Analyze": "so "good", bad", "Functions": {code}}}',
        "the source first": f'{{"Functions": "{source}", "Understand": "u", "Analyze": "a"}}',
        "an unknown escape": plain.replace("It's", "It\\'s \\mu \\_"),
        "triple single quotes": f"{head}'''{source}'''}}",
        "raw triple quotes": f"{head}r'''{source}''',\n}}",
        "backticks": f"{head}`{source}`}}",
        "a fence as value": f"{head}```python\n{source}```}}",
        "a fence in quotes": f'{head}"```python\n{source}```",}}',
        "added strings": head + "\n + ".join(json.dumps(line + "\n") for line in source.splitlines()) + "}",
        "strings side by side": head
        + "("
        + "\n".join(json.dumps(f"{x}\n") for x in source.splitlines())
        + ")}",
        "a list with a comma too much": head + "[" + ",\n".join(lines) + ",],}",
        "joined lines": head + '"\\n".join([' + ", ".join(lines) + "])}",
        "wrapped": f'{{"reply": {plain[:-1]},}}}}',
        "quoted as a whole": json.dumps(plain),
        "after thoughts": f"<think>{head}'def draft(): pass',}}</think>{plain[:-1]},}}",
        "after a draft": f"{json.dumps({'Functions': 'def draft(): pass'})}\nBetter:\n{plain[:-1]},}}",
        "Python alone": source,
        "fenced with tildes": f"~~~python\n{source}~~~",
        "the source in a block of its own": f'```json\n{{"Understand": "u",}}\n```\n```python\n{source}```',
    }


@pytest.mark.parametrize("source", [SIMPLE, QUOTES], ids=["plain source", "source with quotes"])
@pytest.mark.parametrize("slip", slips(SIMPLE))
def test_a_reply_with_a_slip_gives_the_whole_source(slip, source):
    found = read_reply(slips(source)[slip])
    assert list(found) == ["Understand", "Analyze", "Functions"]
    assert found["Functions"].strip() == source.strip()


def test_the_other_texts_are_read_too():
    found = read_reply(slips(SIMPLE)["comma on its own line"])
    assert (found["Understand"], found["Analyze"]) == ("It's a point.", 'good, "bad"')


@pytest.mark.parametrize("slip", ["comma before the brace", "quotes in the source", "quotes and line breaks"])
def test_a_source_that_was_cut_off_anywhere_is_never_taken_for_whole(slip):
    """Every prefix of a reply: either nothing is read, or all of the source."""
    text = slips(QUOTES)[slip]
    accepted = []
    for end in range(len(text)):
        try:
            accepted.append(read_reply(text[:end])["Functions"].strip())
        except LareError:
            continue
    assert set(accepted) == {QUOTES.strip()}


def test_a_sound_string_with_bad_python_is_for_the_checks_to_refuse():
    broken = "def evaluation_func(observation, action):\n    return [observation[:, 0:1]\n"
    assert read_reply(json.dumps({"Functions": broken})[:-1] + ",}")["Functions"] == broken
    with pytest.raises(SyntaxError):
        ast.parse(broken)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            '{\n"Understand": "u"\n"Functions": "def f(:", x}',
            r"line 3, column 1 \(Expecting ',' delimiter, near",
        ),
        (
            '{"Understand": "u", "Functions": "def f():\n  x = "a',
            r"line 2, column 8 \(Expecting ',' delimiter",
        ),
        ('Here: {"Functions": def f(): pass', r"line 1, column 21 \(Expecting value"),
        ("{'Functions': 'x', 3", r"line 1, column 2 \(Expecting property name"),
    ],
)
def test_a_slip_that_cannot_be_read_is_named_with_its_place(text, words):
    place = rf"^reply: its JSON breaks at {words}.*; escape line breaks and quotes"
    with pytest.raises(LareError, match=place) as caught:
        read_reply(text)
    assert "answer with one JSON object with the texts Understand, Analyze, Functions" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


DEEP = {
    "signs": "-" * 50_000 + "1", "brackets": "(" * 50_000, "not": "not " * 10_000 + "1", "lambda": "lambda:" * 7000,
    "index": "a" + "[0]" * 15_000, "names": "a" + ".b" * 25_000, "sum": "1+" * 25_000 + "1",
}  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        *(f'{{"Functions": "def f(): return {deep}",}}' for deep in DEEP.values()),
        'Functions: "def ' * 20_000,
        '{"Functions": "def f(): pass",' * 10_000,
        '{"Functions": "def f():' + '"}' * 180_000,
        '{"Functions": "def f(): x="a",\n"}' * 9000,
        '{"Functions": "def f(): pass"' + "/**/" * 90_000 + "x",
        '{"Functions": "def f(): pass"' + " " * 300_000 + "x",
        '{"Functions": "def ' + "\\" * 300_000,
        '{"Functions": ["def"' + '"a",' * 90_000,
        "```\n def " * 30_000,
        '{"a": ' + "1" * 300_000 + "}",
        "</think>" * 40_000,
    ],
    ids=range(18),
)
def test_no_text_takes_long(text):
    begun = time.process_time()
    with contextlib.suppress(LareError):
        read_reply(text)
    assert time.process_time() - begun < 5
