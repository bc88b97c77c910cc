"""Find texts of a task that give its reward away: in the goal and in the meaning of every field.

A language model that is told the terms of the reward, or their weights, copies them, and then a good result says
nothing about its understanding of the task. What is found here is a warning and not an error: words have innocent
uses, and a user may reveal the reward on purpose. The wording ``paper`` is as informative as the published task
texts and is expected to cause warnings.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from latent_reward.task.fields import VARIANTS, Field, Variant
from latent_reward.task.load import Finding, Location, read_task
from latent_reward.task.task import AnyTask, TeamTask

Clue = tuple[str, re.Pattern[str]]
"""What a text does, and the pattern that recognises it."""


def _clue(what: str, *patterns: str) -> Clue:
    return what, re.compile("|".join(f"(?:{pattern})" for pattern in patterns), re.IGNORECASE)


_TERM = r"(?:cost|rewards?|bonus|penalty)"
_EVERYWHERE = (
    _clue("names a term of a reward", rf"\b\w+_{_TERM}(?:_\w+)?\b", r"\breward_\w+"),
    _clue(
        "speaks of a reward", r"\breward\w*", r"\bpenal(?:ty|ties|is|iz)\w*", r"\bbonus\w*", r"\bpunish\w*"
    ),
    _clue("speaks of a cost", r"\bcosts?\b"),
    _clue(
        "gives a weight",
        r"\bweight(?:ed|ing|ings)\b",
        r"\bweights?\s+(?:of\s+)?-?\d[\d.]*(?![\d.]*\s*(?:kg|g|N|lb)\b)",
        r"(?<!friction )(?<!drag )(?<!damping )\bcoefficients?\b(?! of (?:friction|drag|restitution))",
    ),
)
_IN_A_GOAL = (
    _clue(
        "writes a formula",
        r"\bsquared\b|\bsquares?\s+of\b|\bsum\s+of\s+squares\b",
        r"\bminus\b|\bsubtract\w*",
        r"[\w)]\s*(?:\*\*|\^)\s*\d|[\w)]²",
        r"\d\s*[*×·]\s*[a-z|(]|[a-z|)]\s*[*×·]\s*\d",
        r"\b(?:exp|sqrt|log|norm|abs)\s*\(",
        r"\br\s*=",
    ),
    _clue(
        "counts points",
        r"\bpoints?\s+(?:for|per|if|when)\b",
        r"[+-]\s?\d+(?:\.\d+)?\s+(?:for|per|if|when|each)\b",
    ),
)
_EXTREME = re.compile(
    r"\b(?:maxim|minim)i[sz]\w*|\bas\s+\w+\s+as\s+possible\b|\blargest\s+possible\b", re.IGNORECASE
)
_EFFORT = re.compile(r"\b(?:torques?|forces?|controls?|actions?|energy|effort|actuation)\b", re.IGNORECASE)
_SMALL = re.compile(
    r"\b(?:small|smaller|low|little|less|excessive|minimal|sav\w+|safe\w*|spar\w+|econom\w+)\b", re.IGNORECASE
)
_SENTENCE = re.compile(r"(?<=[.;!?])\s+")


def leaks(task: AnyTask | str | Path, variants: tuple[Variant, ...] = VARIANTS) -> list[Finding]:
    """The places where the texts of a task give its reward away, as far as single words can show it.

    A task given by name or path is reported with line numbers; a file with mistakes has no findings here.

    Args:
        task: a task, the name of a built-in one, or the path of a task file.
        variants: the wordings of the goal to look at; meanings are always looked at.
    """
    parsed, _, document = read_task(task)
    return [document.finding(*each) for each in (_leaks(parsed, variants) if parsed else ())]


def _leaks(task: AnyTask, variants: tuple[Variant, ...]) -> Iterator[tuple[Location, str, str]]:
    for number, each in enumerate(task.descriptions):
        here: Location = ("teams", number) if isinstance(task, TeamTask) else ()
        for variant in variants:
            remedy = "say what is wanted, not what is rewarded"
            if variant == "paper":
                remedy = "this wording may; design with the plain one to see what a model finds by itself"
            for what in _in_goal(each.goal[variant], each.observation):
                yield (*here, "goal", variant), what, remedy
        for part in ("observation", "action"):
            for position, field in enumerate(getattr(each, part)):
                for what in _matches(f"{field.name}: {field.meaning}", _EVERYWHERE):
                    place: Location = (*here, part, position, "meaning")
                    yield place, what, "say what the number is, not how it is rewarded"


def _matches(text: str, clues: tuple[Clue, ...]) -> Iterator[str]:
    """What the text does, with the words that do it; words that two clues recognise count once."""
    seen: set[int] = set()
    for what, pattern in clues:
        for found in pattern.finditer(text):
            if found.start() not in seen:
                seen.update(range(found.start(), found.end()))
                yield f"{what} ({' '.join(found[0].split())!r})"


def _in_goal(text: str, observation: tuple[Field, ...]) -> Iterator[str]:
    yield from _matches(text, (*_EVERYWHERE, *_IN_A_GOAL))
    for sentence in _SENTENCE.split(" ".join(text.split())):
        extreme = _EXTREME.search(sentence)
        pattern = "|".join(rf"(?<!\w){re.escape(field.name)}(?!\w)" for field in observation)
        named = re.search(pattern, sentence, re.IGNORECASE)
        if extreme and named:
            yield f"asks for an extreme of a field ({extreme[0]!r} with {named[0]!r})"
        effort, small = _EFFORT.search(sentence), _SMALL.search(sentence)
        if effort and small:
            yield f"asks to act little ({effort[0]!r} with {small[0]!r})"
