"""The dialogue: ask for several candidates, merge them, and send a failed answer back until it passes its checks.

This module is the control flow only. The texts are in ``prompt``, asking is in ``llm``, and checking and scoring the
answers is in ``judge``.
"""

from dataclasses import dataclass
from typing import Literal

from latent_reward.design.judge import Candidate, Evaluator
from latent_reward.design.llm.ask import Ask, Message, ModelError, Request, ask_all
from latent_reward.design.prompt import Protocol, merging, repairing
from latent_reward.errors import LareError

Select = Literal["merge", "best", "union"]
# Failures of a single answer, after which the design goes on with the other candidates.
_LOST = ("refused", "truncated", "empty", "malformed", "unbounded")


@dataclass(frozen=True)
class Dialogue:
    """The question ``start``, who answers it and who judges the answers; ``draw`` tells independent ones apart."""

    start: tuple[Message, ...]
    protocol: Protocol
    ask: Ask
    evaluator: Evaluator
    draw: int

    def converse(self, select: str) -> Candidate | None:
        """Ask until an answer passes its checks, and return it; None if none does, LareError without any answer."""
        protocol, judge = self.protocol, self.evaluator.judge
        texts = self._candidates()
        check_first = protocol.verify_candidates or select != "merge"
        judged = judge(texts) if check_first else []
        passing = sorted((each for each in judged if each.passed), key=lambda each: each.rank, reverse=True)
        if check_first and not passing:
            return self._repair(self.start, max(judged, key=lambda each: each.rank))
        if select == "union" and len(passing) > 1:
            return self.evaluator.compose(passing)
        if select == "best" or (check_first and len(passing) == 1):
            return passing[0]
        mergeable = (
            [each.text for each in judged if each.passed] if check_first else [text for _, text in texts]
        )
        if len(mergeable) == 1:
            return self._repair(self.start, *judge([("1", mergeable[0])]))
        question = merging(self.start, mergeable, protocol, reward=self.evaluator.reward)
        try:
            answer = self.ask(Request(question, protocol.merge_temperature, self.draw, 0, "merge"))
            final = self._repair(question, *judge([("merge", answer.text)]))
        except ModelError as error:
            if not (passing and protocol.fall_back and error.kind in _LOST):
                raise
            final = None
        return passing[0] if final is None and protocol.fall_back and passing else final

    def _candidates(self) -> list[tuple[str, str]]:
        """The numbers and texts of the candidates, without those that the model refused or that were cut off.

        All questions are asked in parallel, and the answers are recorded before a failure is raised.
        """
        requests = [
            Request(self.start, self.protocol.temperature, self.draw, index, "candidate")
            for index in range(self.protocol.candidates)
        ]
        replies = ask_all(self.ask, requests, workers=min(8, len(requests)))
        failures = [reply for reply in replies if isinstance(reply, LareError)]
        grave = [each for each in failures if not (isinstance(each, ModelError) and each.kind in _LOST)]
        if grave or len(failures) == len(replies):
            raise (grave or failures)[0]
        answers = enumerate(replies, start=1)
        return [(str(number), reply.text) for number, reply in answers if not isinstance(reply, LareError)]

    def _repair(self, question: tuple[Message, ...], candidate: Candidate) -> Candidate | None:
        """Send a failed answer back until it passes; the answer to the last request is checked as well."""
        attempts: list[tuple[str, list[str]]] = []
        for number in range(1, self.protocol.repairs + 1):
            if candidate.passed:
                break
            attempts.append((candidate.text, candidate.problems))
            messages = repairing(question, attempts, self.protocol)
            reply = self.ask(Request(messages, self.protocol.merge_temperature, self.draw, number, "repair"))
            (candidate,) = self.evaluator.judge([(f"repair-{number}", reply.text)])
        return candidate if candidate.passed else None
