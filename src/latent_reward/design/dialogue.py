"""The dialogue: several answers, one of them made of all, sent back until its checks pass.

Here is only who is asked what, in which order. Asking (:mod:`latent_reward.design.ask`), judging
(:mod:`latent_reward.design.judge`) and the words (:mod:`latent_reward.design.prompt`) are elsewhere.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from latent_reward.design.ask import Ask, Message, ModelError, Request, ask_all
from latent_reward.design.prompt import Protocol, merging, repairing
from latent_reward.design.score import Score
from latent_reward.encoder.encoder import Encoder
from latent_reward.errors import LareError
from latent_reward.sealing.verify import Report

Select = Literal["merge", "best", "union"]
SELECTIONS: tuple[Select, ...] = ("merge", "best", "union")
# Failures of one answer, after which the other candidates are still worth having.
_LOST = ("refused", "truncated", "empty", "malformed")


@dataclass(frozen=True)
class Candidate:
    """One answer and what became of it: its texts, its checks and, if all passed, its encoder and score.

    ``name`` is the folder it is kept in: a number, ``merge``, ``union`` or ``repair-1`` and so on.
    """

    name: str
    text: str
    source: str
    report: Report
    explanations: dict[str, str]
    encoder: Encoder | None = None
    score: Score | None = None

    @property
    def passed(self) -> bool:
        """Whether all checks passed."""
        return self.encoder is not None

    @property
    def problems(self) -> list[str]:
        """The failed checks, one line each."""
        return [str(check) for check in self.report.failures]

    @property
    def rank(self) -> tuple[bool, float, int, int]:
        """What the best candidate has most of: checks passed, then return explained, then few latents that
        repeat another or never change, then few latents.

        A difference in R² of less than 0.01 is luck of the recorded episodes.
        """
        r2 = self.score.r2 if self.score else math.nan
        idle = len(self.score.duplicates) + len(self.score.constant) if self.score else 0
        passed = float(sum(check.passed for check in self.report.checks))
        quality = (-math.inf if math.isnan(r2) else round(r2, 2)) if self.passed else passed
        return self.passed, quality, -idle, -len(self.report.latent_names)


Judge = Callable[[Sequence[tuple[str, str]]], list[Candidate]]
"""From pairs of name and text of an answer to candidates, in the same order."""

Compose = Callable[[Sequence[Candidate]], Candidate]
"""From passing candidates, best first, to one that has the latents of all."""


@dataclass(frozen=True)
class Table:
    """Those who take part: who answers, who judges, who composes; and which draw this is."""

    ask: Ask
    judge: Judge
    compose: Compose
    draw: int = 0
    reward: bool = False


def converse(
    start: tuple[Message, ...], protocol: Protocol, select: Select, table: Table
) -> Candidate | None:
    """Asks until one answer passes its checks, and returns it; None if none does.

    ``start`` is the question. What is judged on the way is kept by the judge.

    Raises:
        LareError: the model gives no answer.
    """
    texts = _candidates(start, protocol, table)
    check_first = protocol.verify_candidates or select != "merge"
    judged = table.judge([(str(number), text) for number, text in texts]) if check_first else []
    passing = sorted((each for each in judged if each.passed), key=lambda each: each.rank, reverse=True)
    if check_first and not passing:
        return _repair(start, max(judged, key=lambda each: each.rank), protocol, table)
    if select == "union" and len(passing) > 1:
        return table.compose(passing)
    if select == "best" or (check_first and len(passing) == 1):
        return passing[0]
    mergeable = [each.text for each in judged if each.passed] if check_first else [text for _, text in texts]
    if len(mergeable) == 1:
        (only,) = table.judge([("1", mergeable[0])])
        return _repair(start, only, protocol, table)
    question = merging(start, mergeable, protocol, reward=table.reward)
    answer = table.ask(Request(question, protocol.merge_temperature, table.draw, 0, "merge"))
    (merged,) = table.judge([("merge", answer.text)])
    final = _repair(question, merged, protocol, table)
    if final is None and protocol.fall_back and passing:
        return passing[0]
    return final


def _candidates(start: tuple[Message, ...], protocol: Protocol, table: Table) -> list[tuple[int, str]]:
    """The numbers and texts of the candidates; one that the model refused or broke off is left out.

    All questions are asked at once, and what was answered is recorded before a failure is raised.
    """
    requests = [
        Request(start, protocol.temperature, table.draw, index, "candidate")
        for index in range(protocol.candidates)
    ]
    replies = ask_all(table.ask, requests, workers=min(8, len(requests)))
    failures = [reply for reply in replies if isinstance(reply, LareError)]
    grave = [each for each in failures if not (isinstance(each, ModelError) and each.kind in _LOST)]
    if grave or len(failures) == len(replies):
        raise (grave or failures)[0]
    return [
        (number, reply.text)
        for number, reply in enumerate(replies, start=1)
        if not isinstance(reply, LareError)
    ]


def _repair(
    start: tuple[Message, ...], candidate: Candidate, protocol: Protocol, table: Table
) -> Candidate | None:
    """Sends a failed answer back until it passes; the answer to the last request is judged as well."""
    attempts: list[tuple[str, list[str]]] = []
    for number in range(1, protocol.repairs + 1):
        if candidate.passed:
            break
        attempts.append((candidate.text, candidate.problems))
        question = repairing(start, attempts, protocol)
        reply = table.ask(Request(question, protocol.merge_temperature, table.draw, number, "repair"))
        (candidate,) = table.judge([(f"repair-{number}", reply.text)])
    return candidate if candidate.passed else None
