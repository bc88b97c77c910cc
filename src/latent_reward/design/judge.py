"""Evaluate answers: read, check, run on recorded steps and score them, and write the results to disk.

Every answer gets a folder with ``reply.json`` as the model wrote it, ``source.py`` and ``report.json``.
"""

import dataclasses
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from latent_reward.design.compose import Contribution, compose, explanations
from latent_reward.design.dialogue import Candidate
from latent_reward.design.episodes import Episodes
from latent_reward.design.llm.wire import printable
from latent_reward.design.reply import read_reply
from latent_reward.design.score import DUPLICATE, Score, correlations, score, viewed, warnings
from latent_reward.encoder.card import ARGUMENTS, Orders
from latent_reward.encoder.encoder import Encoder, with_card
from latent_reward.encoder.view import View
from latent_reward.errors import LareError
from latent_reward.files import to_json, write_text
from latent_reward.sealing.language.parse import SourceError
from latent_reward.sealing.lock import sandbox
from latent_reward.sealing.verify import Check, Report, check_all, encoder_of
from latent_reward.task.task import Task

_ROWS = 4096


@dataclass(frozen=True)
class Evaluator:
    """Evaluates answers for one task.

    Attributes:
        task: the task as the environment has it.
        shown: the task as the model sees it, which differs if the fields are shuffled and renamed.
        orders: how the fields are shuffled.
        view: the observations that the encoder will be trained on.
        episodes: returns the recorded episodes, and waits for them if necessary.
        folder: one folder per answer is written here.
        reward: whether exactly one latent is wanted.
        limits: of the locked process.
        on_judged: called with each answer after it was judged.
        all: every answer so far.
    """

    task: Task
    shown: Task
    orders: Orders | None
    view: View
    episodes: Callable[[], Episodes]
    folder: Path
    reward: bool = False
    limits: sandbox.Limits | None = None
    on_judged: Callable[[Candidate], object] = lambda candidate: None
    all: list[Candidate] = field(default_factory=list)

    def judge(self, answers: Sequence[tuple[str, str]]) -> list[Candidate]:
        """Pairs of name and text of an answer to candidates; their sources are checked in parallel."""
        read = [_read(text) for _, text in answers]
        sources = [each for each in read if isinstance(each, str)]
        reports = iter(check_all(sources, self.shown, limits=self.limits))
        candidates = []
        for (name, text), source in zip(answers, read, strict=True):
            if isinstance(source, str):
                candidate = self._tried(Candidate(name, text, source, next(reports), {}))
            else:
                candidate = Candidate(name, text, "", Report((source,)), {})
            self._keep(candidate)
            candidates.append(candidate)
        return candidates

    def compose(self, passing: Sequence[Candidate]) -> Candidate:
        """The candidate with the latents of all ``passing`` ones, without duplicates.

        If that exceeds a limit of the language, the last candidates are left out.
        """
        for count in range(len(passing), 1, -1):
            try:
                source = compose(self._contributions(passing[:count]))
            except SourceError:
                continue
            names = ", ".join(each.name for each in passing[:count])
            reply = {"Understand": "", "Analyze": f"Latents of the candidates {names}.", "Functions": source}
            (union,) = self.judge([("union", to_json(reply))])
            if union.passed:
                return union
        return passing[0]

    def _contributions(self, candidates: Sequence[Candidate]) -> list[Contribution]:
        """The latents of each candidate that no earlier one has, compared on the next observations."""
        rows = self.episodes().sample(_ROWS)
        kept, contributions = np.empty((len(rows[0]), 0)), []
        for candidate in candidates:
            assert candidate.encoder is not None
            names, wanted = candidate.report.latent_names, []
            for name, column in zip(names, viewed(candidate.encoder, "next")(*rows)[:, 0].T, strict=True):
                extended = np.column_stack([kept, column])
                if np.abs(correlations(extended)[-1, :-1]).max(initial=0.0) <= DUPLICATE:
                    kept = extended
                    wanted.append(name)
            if wanted:
                contributions.append(
                    Contribution(candidate.source, names, tuple(wanted), candidate.explanations)
                )
        return contributions

    def _tried(self, candidate: Candidate) -> Candidate:
        """Add what needs the whole encoder and recorded steps: further checks, explanations and the score."""
        report = candidate.report
        if report.passed and self.reward and len(report.latent_names) != 1:
            detail = f"returns {len(report.latent_names)} arrays; return a list with exactly one: [reward]"
            report = _with_check(report, Check("one reward", False, detail))
        if not report.passed:
            return dataclasses.replace(candidate, report=report)
        said = explanations(candidate.source, report.latent_names)
        encoder = with_card(
            encoder_of(report, candidate.source, self.task, explanations=said), orders=self.orders
        )
        episodes = self.episodes()
        live = _live(encoder, self.view, episodes)
        report = _with_check(report, live)
        candidate = dataclasses.replace(candidate, report=report, explanations=said)
        if not live.passed:
            return candidate
        found = score(
            encoder, episodes, self.task, self.view
        )  # before with_card, after which it compiles again
        card_checks = tuple((check.name, check.detail) for check in report.checks)
        return dataclasses.replace(candidate, encoder=with_card(encoder, checks=card_checks), score=found)

    def _keep(self, candidate: Candidate) -> None:
        self.all.append(candidate)
        folder = self.folder / candidate.name
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_text(folder / "reply.json", reply_json(candidate.text))
            write_text(folder / "source.py", candidate.source)
            write_text(folder / "report.json", to_json(summary(candidate), indent=2) + "\n")
        except OSError as error:
            raise LareError(
                f"out: cannot write {folder} ({error.strerror}); choose a writable folder"
            ) from error
        self.on_judged(candidate)


def _read(text: str) -> str | Check:
    """The source in an answer, or the check that it fails."""
    try:
        return read_reply(text)["Functions"]
    except LareError as error:
        return Check("reply", False, str(error))


def _with_check(report: Report, check: Check) -> Report:
    return dataclasses.replace(report, checks=(*report.checks, check))


def _live(encoder: Encoder, view: View, episodes: Episodes) -> Check:
    """Whether the latents are finite on steps of the live environment, with the offending values."""
    rows = episodes.sample(_ROWS)
    values = viewed(encoder, view)(*rows)
    problems = []
    for place, name in enumerate(encoder.latent_names):
        bad = np.argwhere(~np.isfinite(values[..., place]))
        if len(bad):
            step, look = bad[0]
            inputs = ", ".join(
                f"{argument} {np.array2string(part[step][:8], precision=3)}"
                for argument, part in zip(ARGUMENTS, rows, strict=True)
            )
            count = len(np.unique(bad[:, 0]))
            problems.append(f"{name} is {values[step, look, place]} in {count} rows, as at {inputs}")
    detail = "; ".join(problems) or f"finite on {len(values)} steps of the environment"
    return Check("live steps", not problems, detail)


def summary(candidate: Candidate) -> dict[str, Any]:
    """The content of a candidate's ``report.json``."""
    return {
        "name": candidate.name,
        "passed": candidate.passed,
        "checks": candidate.report.checks,
        "latent_names": candidate.report.latent_names,
        "explanations": candidate.explanations,
        "score": None if candidate.score is None else figures(candidate.score),
    }


def figures(found: Score) -> dict[str, Any]:
    """A score and its warnings as plain JSON data, for reports and cards; null stands for NaN."""
    return json.loads(to_json(dataclasses.asdict(found) | {"warnings": warnings(found)}))


def reply_json(text: str) -> str:
    """The content of ``reply.json``: an answer that is a JSON object as it is, any other in an object."""
    try:
        if isinstance(json.loads(text), dict):
            return printable(text).rstrip("\n") + "\n"
    except (ValueError, RecursionError):
        pass
    return to_json({"text": printable(text)}, indent=2) + "\n"
