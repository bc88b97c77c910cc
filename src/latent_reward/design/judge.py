"""Judge answers: read, check, try on live steps, score; and write down what was found.

Every answer leaves a folder: ``reply.json`` as the model wrote it, ``source.py`` and ``report.json``.
"""

import dataclasses
import json
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from latent_reward.design.compose import Part, compose, explanations
from latent_reward.design.dialogue import Candidate
from latent_reward.design.episodes import Episodes
from latent_reward.design.reply import read_reply
from latent_reward.design.score import DUPLICATE, Score, apply, correlations, score, warnings
from latent_reward.encoder.card import ARGUMENTS, Orders
from latent_reward.encoder.encoder import Encoder, with_card
from latent_reward.errors import LareError
from latent_reward.sealing.language.parse import SourceError
from latent_reward.sealing.lock import sandbox
from latent_reward.sealing.verify import Check, Report, check_all, encoder_of
from latent_reward.task.task import Task

_ROWS = 4096


@dataclass(frozen=True)
class Bench:
    """What answers are judged with.

    Attributes:
        task: the task as the environment has it.
        shown: the task as the model saw it; another one if the fields were shuffled and renamed.
        orders: how they were shuffled.
        episodes: gives the recorded episodes; may wait for them.
        folder: one folder per answer is written here.
        reward: whether exactly one latent is wanted.
        limits: of the locked process.
        tell: is told of each answer that was judged.
        all: every answer so far.
    """

    task: Task
    shown: Task
    orders: Orders | None
    episodes: Callable[[], Episodes]
    folder: Path
    reward: bool = False
    limits: sandbox.Limits | None = None
    tell: Callable[[Candidate], object] = lambda candidate: None
    all: list[Candidate] = field(default_factory=list)

    def judge(self, answers: Sequence[tuple[str, str]]) -> list[Candidate]:
        """From (name, text of an answer) to candidates; they are checked side by side."""
        read = [_read(text) for _, text in answers]
        sources = [each if isinstance(each, str) else "" for each in read]
        readable = [place for place, each in enumerate(read) if isinstance(each, str)]
        found = check_all([sources[place] for place in readable], self.shown, limits=self.limits)
        reports = dict(zip(readable, found, strict=True))
        candidates = []
        for place, (name, text) in enumerate(answers):
            failure = read[place]
            report = reports[place] if isinstance(failure, str) else Report((failure,))
            candidate = self._tried(Candidate(name, text, sources[place], report, {}))
            self._keep(candidate)
            candidates.append(candidate)
        return candidates

    def compose(self, passing: Sequence[Candidate]) -> Candidate:
        """The candidate that has all latents which do not repeat another; without the last ones if together
        they break a limit of the language.
        """
        for count in range(len(passing), 1, -1):
            try:
                source = compose(self._parts(passing[:count]))
            except SourceError:
                continue
            names = ", ".join(each.name for each in passing[:count])
            reply = {
                "Understand": "",
                "Analyze": f"Latents of the candidates {names}.",
                "Functions": source,
            }
            (union,) = self.judge([("union", json.dumps(reply, ensure_ascii=False))])
            if union.passed:
                return union
        return passing[0]

    def _parts(self, candidates: Sequence[Candidate]) -> list[Part]:
        """What each candidate adds: the latents that no earlier one has, judged by the recorded steps."""
        rows = self.episodes().sample(_ROWS)
        kept, parts = np.empty((len(rows[0]), 0)), []
        for candidate in candidates:
            assert candidate.encoder is not None
            values, wanted = apply(candidate.encoder)(*rows), []
            for place, name in enumerate(candidate.report.latent_names):
                column = values[:, place : place + 1]
                matrix = np.abs(correlations(np.concatenate([kept, column], axis=1))[-1, :-1])
                if matrix.max(initial=0.0) <= DUPLICATE:
                    kept = np.concatenate([kept, column], axis=1)
                    wanted.append(name)
            if wanted:
                parts.append(
                    Part(
                        candidate.source, candidate.report.latent_names, tuple(wanted), candidate.explanations
                    )
                )
        return parts

    def _tried(self, candidate: Candidate) -> Candidate:
        """Adds what only live steps and the whole encoder can tell: further checks, explanations, score."""
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
        live = _live(encoder, episodes)
        report = _with_check(report, live)
        candidate = dataclasses.replace(candidate, report=report, explanations=said)
        if not live.passed:
            return candidate
        found = score(encoder, episodes, self.task)  # on the encoder that is compiled already
        card_checks = tuple((check.name, check.detail) for check in report.checks)
        return dataclasses.replace(candidate, encoder=with_card(encoder, checks=card_checks), score=found)

    def _keep(self, candidate: Candidate) -> None:
        self.all.append(candidate)
        folder = self.folder / candidate.name
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write(folder / "reply.json", as_json(candidate.text))
            write(folder / "source.py", candidate.source)
            write(folder / "report.json", as_json(summary(candidate)))
        except OSError as error:
            raise LareError(
                f"out: cannot write {folder} ({error.strerror}); choose a writable folder"
            ) from error
        self.tell(candidate)


def _read(text: str) -> str | Check:
    """The source in an answer, or the check that it fails."""
    try:
        return read_reply(text)["Functions"]
    except LareError as error:
        return Check("reply", False, str(error))


def _with_check(report: Report, check: Check) -> Report:
    return dataclasses.replace(report, checks=(*report.checks, check))


def _live(encoder: Encoder, episodes: Episodes) -> Check:
    """Whether the latents are finite on steps of the live environment, with the offending values."""
    rows = episodes.sample(_ROWS)
    values = apply(encoder)(*rows)
    problems = []
    for place, name in enumerate(encoder.latent_names):
        bad = np.flatnonzero(~np.isfinite(values[:, place]))
        if len(bad):
            inputs = ", ".join(
                f"{argument} {np.array2string(part[bad[0]][:8], precision=3)}"
                for argument, part in zip(ARGUMENTS, rows, strict=True)
            )
            problems.append(f"{name} is {values[bad[0], place]} in {len(bad)} rows, as at {inputs}")
    detail = "; ".join(problems) or f"finite on {len(values)} steps of the environment"
    return Check("live steps", not problems, detail)


def summary(candidate: Candidate) -> dict[str, Any]:
    """What ``report.json`` says of a candidate."""
    return {
        "name": candidate.name,
        "passed": candidate.passed,
        "checks": [dataclasses.asdict(check) for check in candidate.report.checks],
        "latent_names": candidate.report.latent_names,
        "explanations": candidate.explanations,
        "score": None if candidate.score is None else figures(candidate.score),
    }


def figures(found: Score) -> dict[str, Any]:
    """A score and its warnings, as reports and cards keep them."""
    return dataclasses.asdict(found) | {"warnings": warnings(found)}


def as_json(value: Any) -> str:
    """JSON with null for what is not a number. A text that is a JSON object already is kept as it is."""
    if isinstance(value, str):
        try:
            if isinstance(json.loads(value), dict):
                return value.rstrip("\n") + "\n"
        except (ValueError, RecursionError):
            pass
        value = {"text": value}
    return json.dumps(finite(value), indent=2, ensure_ascii=False) + "\n"


def finite(value: Any) -> Any:
    """The value with None for every number that is not finite, and lists for tuples."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: finite(each) for key, each in value.items()}
    return [finite(each) for each in value] if isinstance(value, list | tuple) else value


def write(path: Path, text: str) -> None:
    """Writes the whole file or nothing."""
    draft = path.with_name(f".{path.name}.part")
    draft.write_text(text, encoding="utf-8", errors="replace")
    os.replace(draft, path)
