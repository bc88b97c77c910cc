"""Evaluate answers: read, check, run on recorded steps and score them, and write the results to disk.

Every answer gets a folder with ``reply.json`` as the model wrote it, ``source.py`` and ``report.json``.
"""

import dataclasses
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from latent_reward.design.compose import Contribution, compose
from latent_reward.design.llm.wire import printable
from latent_reward.design.play import Recorded
from latent_reward.design.reply import read_reply
from latent_reward.design.score import DUPLICATE, Score, correlations, score, viewed, warnings
from latent_reward.encoder.card import ARGUMENTS, Orders
from latent_reward.encoder.encoder import Encoder, with_card
from latent_reward.encoder.view import View
from latent_reward.errors import LareError, disk_errors
from latent_reward.files import to_json, write_text
from latent_reward.sealing.language.explain import explanations
from latent_reward.sealing.language.parse import SourceError
from latent_reward.sealing.lock import sandbox
from latent_reward.sealing.verify import Check, Report, check_all, encoder_of
from latent_reward.task.task import Task

_ROWS = 4096


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


@dataclass(frozen=True)
class Evaluator:
    """Evaluates answers for one task."""

    task: Task  # as the environment has it
    shown: Task  # as the model sees it, which differs if the fields are shuffled and renamed
    orders: Orders | None  # how the fields are shuffled
    view: View  # the observations that the encoder will be trained on
    episodes: Callable[[], Recorded]  # the recorded episodes, which it waits for if necessary
    folder: Path  # where each answer gets a folder
    reward: bool  # whether exactly one latent is wanted
    limits: sandbox.Limits | None  # of the locked process
    on_judged: Callable[[Candidate], object]  # called with each answer after it was judged
    all: list[Candidate] = field(default_factory=list)  # every answer so far

    def judge(self, answers: Sequence[tuple[str, str]]) -> list[Candidate]:
        """Pairs of name and text of an answer to candidates; their sources are checked in parallel."""
        found: list[str | LareError] = []
        for _, text in answers:
            try:
                found.append(read_reply(text)["Functions"])
            except LareError as error:
                found.append(error)
        sources = [each for each in found if isinstance(each, str)]
        reports = iter(check_all(sources, self.shown, limits=self.limits))
        candidates = []
        for (name, text), source in zip(answers, found, strict=True):
            if isinstance(source, str):
                candidate = self._tried(Candidate(name, text, source, next(reports), {}))
            else:
                candidate = Candidate(
                    name, text, "", Report((Check("reply", False, f"{source}".removeprefix("reply: ")),)), {}
                )
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
                part = Contribution(candidate.source, names, tuple(wanted), candidate.explanations)
                contributions.append(part)
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
        encoder = encoder_of(report, candidate.source, self.task)
        encoder, episodes = with_card(encoder, orders=self.orders), self.episodes()
        report = _with_check(report, _live(encoder, self.view, episodes))
        candidate = dataclasses.replace(candidate, report=report, explanations=said)
        if not report.passed:
            return candidate
        # Before with_card, after which the encoder compiles again.
        found = score(encoder, episodes, self.task, self.view)
        checks = tuple((check.name, check.detail) for check in report.checks)
        return dataclasses.replace(candidate, encoder=with_card(encoder, checks=checks), score=found)

    def _keep(self, candidate: Candidate) -> None:
        self.all.append(candidate)
        folder, found = self.folder / candidate.name, candidate.score
        summary = {
            "name": candidate.name,
            "passed": candidate.passed,
            "checks": candidate.report.checks,
            "latent_names": candidate.report.latent_names,
            "explanations": candidate.explanations,
            "score": found and figures(found),
        }
        with disk_errors(f"out: cannot write {folder}", "choose a writable folder"):
            folder.mkdir(parents=True, exist_ok=True)
            write_text(folder / "reply.json", reply_json(candidate.text))
            write_text(folder / "source.py", candidate.source)
            write_text(folder / "report.json", to_json(summary, indent=2) + "\n")
        self.on_judged(candidate)


def _with_check(report: Report, check: Check) -> Report:
    return dataclasses.replace(report, checks=(*report.checks, check))


def _live(encoder: Encoder, view: View, episodes: Recorded) -> Check:
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
