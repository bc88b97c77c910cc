"""The dialogue: ask for several candidates, merge them, and send a failed answer back until it passes its checks.

This module is the control flow only. The texts are in ``prompt``, asking is in ``llm``, and checking and scoring the
answers is in ``judge``.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from latent_reward.design.llm.ask import Ask, Message, ModelError, Request, ask_all
from latent_reward.design.prompt import Protocol, merging, repairing
from latent_reward.design.score import Score
from latent_reward.encoder.encoder import Encoder
from latent_reward.errors import LareError
from latent_reward.sealing.verify import Report

Select = Literal["merge", "best", "union"]
SELECTIONS: tuple[Select, ...] = ("merge", "best", "union")
# Failures of a single answer, after which the design goes on with the other candidates.
_LOST = ("refused", "truncated", "empty", "malformed")


@dataclass(frozen=True)
class Candidate:
    """One answer, its checks and, if all of them passed, its encoder and score.

    ``name`` is that of its folder: a number, ``merge``, ``union``, ``repair-1`` and so on.
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
        """The order of candidates: first by checks passed, then by the return explained, then by fewer latents that
        repeat another or never change, then by fewer latents.

        R² is rounded to 0.01, since smaller differences depend on the recorded episodes.
        """
        r2 = self.score.r2 if self.score else math.nan
        idle = len(self.score.duplicates) + len(self.score.constant) if self.score else 0
        passed = float(sum(check.passed for check in self.report.checks))
        quality = (-math.inf if math.isnan(r2) else round(r2, 2)) if self.passed else passed
        return self.passed, quality, -idle, -len(self.report.latent_names)


Judge = Callable[[Sequence[tuple[str, str]]], list[Candidate]]
"""Pairs of name and text of an answer to candidates, in the same order."""

Compose = Callable[[Sequence[Candidate]], Candidate]
"""Passing candidates, best first, to one candidate with the latents of all."""


@dataclass(frozen=True)
class Roles:
    """The functions that answer, judge and compose, and the settings that all questions share."""

    ask: Ask
    judge: Judge
    compose: Compose
    draw: int = 0
    reward: bool = False


def converse(
    start: tuple[Message, ...], protocol: Protocol, select: Select, roles: Roles
) -> Candidate | None:
    """Ask the question ``start`` until an answer passes its checks, and return it; None if none does.

    Raises:
        LareError: the model gave no answer.
    """
    texts = _candidates(start, protocol, roles)
    check_first = protocol.verify_candidates or select != "merge"
    judged = roles.judge([(str(number), text) for number, text in texts]) if check_first else []
    passing = sorted((each for each in judged if each.passed), key=lambda each: each.rank, reverse=True)
    if check_first and not passing:
        return _repair(start, max(judged, key=lambda each: each.rank), protocol, roles)
    if select == "union" and len(passing) > 1:
        return roles.compose(passing)
    if select == "best" or (check_first and len(passing) == 1):
        return passing[0]
    mergeable = [each.text for each in judged if each.passed] if check_first else [text for _, text in texts]
    if len(mergeable) == 1:
        (only,) = roles.judge([("1", mergeable[0])])
        return _repair(start, only, protocol, roles)
    question = merging(start, mergeable, protocol, reward=roles.reward)
    answer = roles.ask(Request(question, protocol.merge_temperature, roles.draw, 0, "merge"))
    (merged,) = roles.judge([("merge", answer.text)])
    final = _repair(question, merged, protocol, roles)
    if final is None and protocol.fall_back and passing:
        return passing[0]
    return final


def _candidates(start: tuple[Message, ...], protocol: Protocol, roles: Roles) -> list[tuple[int, str]]:
    """The numbers and texts of the candidates, without those that the model refused or that were cut off.

    All questions are asked in parallel, and the answers are recorded before a failure is raised.
    """
    requests = [
        Request(start, protocol.temperature, roles.draw, index, "candidate")
        for index in range(protocol.candidates)
    ]
    replies = ask_all(roles.ask, requests, workers=min(8, len(requests)))
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
    start: tuple[Message, ...], candidate: Candidate, protocol: Protocol, roles: Roles
) -> Candidate | None:
    """Send a failed answer back until it passes; the answer to the last request is checked as well."""
    attempts: list[tuple[str, list[str]]] = []
    for number in range(1, protocol.repairs + 1):
        if candidate.passed:
            break
        attempts.append((candidate.text, candidate.problems))
        question = repairing(start, attempts, protocol)
        reply = roles.ask(Request(question, protocol.merge_temperature, roles.draw, number, "repair"))
        (candidate,) = roles.judge([(f"repair-{number}", reply.text)])
    return candidate if candidate.passed else None
