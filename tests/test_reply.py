"""Reading what a model wrote: objects, fences, prose, and texts that hold nothing."""

import json

import pytest

from latent_reward.design.reply import read_reply
from latent_reward.errors import LareError

SOURCE = "def evaluation_func(observation, action):\n    return [observation[:, 0:1]]\n"
OBJECT = {"Understand": "u", "Analyze": "a {curly} brace", "Functions": SOURCE}
PLAIN = json.dumps(OBJECT)
DRAFT = json.dumps({**OBJECT, "Functions": "def draft(): pass"})


@pytest.mark.parametrize(
    "text",
    [
        PLAIN,
        f"Sure! Here it is: {PLAIN} I hope {{this}} helps.",
        f"```json\n{json.dumps(OBJECT, indent=2)}\n```",
        f"First a draft:\n```json\n{DRAFT}\n```\nBetter:\n```\n{PLAIN}\n```",
        PLAIN.replace("\\n", "\n"),
        f"<think>{DRAFT} hm</think>{PLAIN}",
        json.dumps({"understand": "u", "ANALYZE": "a {curly} brace", "functions": SOURCE.splitlines()}),
        json.dumps({**OBJECT, "Functions": f"```python\n{SOURCE}```"}),
        json.dumps({"Understand": "u", "Analyze": "a {curly} brace"})[:-1] + f', "Functions": """{SOURCE}"""}}',
        f"\ufeff{PLAIN}",
        json.dumps({"reply": OBJECT}),
        json.dumps([OBJECT]),
        json.dumps({**OBJECT, "Functions": {"evaluation_func": SOURCE}}),
        f"Dictionaries look like {{'a': 1}}, sets like {{1}}.\n{PLAIN}",
    ],
    ids=[
        "plain", "prose", "fence", "draft", "newlines", "think", "cases and lines", "fence inside", "triple quotes",
        "byte order mark", "wrapped", "listed", "named source", "braces in prose",
    ],
)  # fmt: skip
def test_reads_a_reply_in_every_dress(text):
    found = read_reply(text)
    assert {**found, "Functions": found["Functions"].strip()} == {**OBJECT, "Functions": SOURCE.strip()}


@pytest.mark.parametrize(
    "fence", ["```python\n{}```", "```\n{}```", "Explained.\n\n```py\n{}\n```\nDone.", "```python\n{}"]
)
def test_reads_a_source_without_an_object(fence):
    found = read_reply(fence.format(SOURCE))
    assert found["Functions"].strip() == SOURCE.strip()
    assert found["Understand"] == found["Analyze"] == ""


@pytest.mark.parametrize(
    "text",
    [
        "", "no code here", '{"Understand": "u"}', '{"Functions": ""}', '{"Functions": null}', '{"Functions": []}',
        PLAIN[:-20], "[1, 2]", "```python\nprint(1)\n```", "{" * 50_000, '{"a":' * 50_000, "[" * 50_000 + "{",
        "x" * 500_000,
        '{"a":' * 900 + "[" + "1," * 190_000,
        "```\n" + "\n" * 390_000,
        '"""' * 130_000 + '{"' * 3,
    ],
    ids=range(16),
)  # fmt: skip
def test_a_reply_without_a_source_is_an_error_in_one_line(text):
    with pytest.raises(LareError, match=r"^reply: ") as caught:
        read_reply(text)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400
