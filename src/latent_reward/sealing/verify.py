"""Turn a source into an encoder: check it, compile it in the locked child, seal what comes back.

``check`` reports everything that is wrong at once, because the report goes back to the model that wrote
the source; ``seal`` returns the encoder or raises.
"""

import base64
import datetime
import hashlib
import platform
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import jax

from latent_reward.encoder.card import Card, Space
from latent_reward.encoder.encoder import Encoder
from latent_reward.encoder.screen import read_program, screen
from latent_reward.errors import LareError
from latent_reward.sealing.language.parse import Program, SourceError, digest, parse
from latent_reward.sealing.lock import sandbox

_WORKER = "latent_reward.sealing.examine:examine_each"
_TOGETHER = 4  # sources in one child at most: their programs must fit into its reply
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_ ./%-]{0,63}")
_MAX_LATENTS = 256


@dataclass(frozen=True)
class Check:
    """One thing that was verified: passed or not, and the figures or the offending values."""

    name: str
    passed: bool
    detail: str

    def __str__(self) -> str:
        """The check as one line."""
        return f"{self.name}: {self.detail}"


@dataclass(frozen=True)
class Report:
    """All checks of one source, and its program if every one passed.

    ``warnings`` says which locks this system could not give the child.
    """

    checks: tuple[Check, ...]
    latent_names: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    program: bytes = b""
    warnings: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether the source can be sealed."""
        return bool(self.program) and all(check.passed for check in self.checks)

    @property
    def failures(self) -> tuple[Check, ...]:
        """The checks that failed."""
        return tuple(check for check in self.checks if not check.passed)

    def __str__(self) -> str:
        """The failures, one a line; or that there are none."""
        return "\n".join(map(str, self.failures)) or "all checks passed"


def check(source: str, task: Any, *, limits: sandbox.Limits | None = None) -> Report:
    """Checks a source for a task and compiles it.

    Nothing of the source runs in this process. Reports every failing check with the offending values;
    never raises because of the source.

    Args:
        source: Python text with one function ``evaluation_func`` task: anything with ``observation_size``
        and ``action_size``, and perhaps ``observation_low`` and so on limits: time and memory of the
        locked child
    """
    return check_all([source], task, limits=limits)[0]


def check_all(
    sources: Sequence[str], task: Any, *, limits: sandbox.Limits | None = None, workers: int = 2
) -> list[Report]:
    """Checks several sources, as :func:`check` does one, in ``workers`` locked processes side by side.

    Sources share a process, whose start takes longer than a check. If one does not end as it should, each of
    its sources gets a process of its own, so that none fails because of another.
    """
    space = Space.of(task)
    programs = [_parsed(source) for source in sources]

    def run(places: list[int]) -> dict[int, sandbox.Outcome | Check]:
        found = _examined([payload_of(sources[place], space) for place in places], limits)
        if isinstance(found, list):
            return dict(zip(places, found, strict=True))
        if len(places) == 1:
            return {places[0]: found}
        return {place: outcome for each in places for place, outcome in run([each]).items()}

    left = [place for place, program in enumerate(programs) if isinstance(program, Program)]
    count = min(len(left), max(workers, -(-len(left) // _TOGETHER)))
    # Only the wait for the child is done in threads: the rest changes Python's filter of warnings.
    with ThreadPoolExecutor(max_workers=workers) as pool:
        found = pool.map(run, [left[first::count] for first in range(count)])
        outcomes = {place: outcome for group in found for place, outcome in group.items()}
    return [_report(program, outcomes.get(place), space) for place, program in enumerate(programs)]


def _examined(payloads: list[dict], limits: sandbox.Limits | None) -> list[sandbox.Outcome] | Check:
    """What a locked child says of each source; or, in its place, how the child failed."""
    try:
        outcome = sandbox.run(_WORKER, payloads, limits)
    except LareError as error:
        return Check("sandbox", False, str(error))
    if not isinstance(outcome.result, list) or len(outcome.result) != len(payloads):
        return Check("sandbox", False, "the locked process gave no usable answer (not one for each source)")
    return [sandbox.Outcome(each, outcome.warnings) for each in outcome.result]


def _parsed(source: str) -> Program | Report:
    try:
        return parse(source)
    except SourceError as error:
        return Report(tuple(Check("language", False, str(problem)) for problem in error.problems))


def _report(program: Program | Report, outcome: sandbox.Outcome | Check | None, space: Space) -> Report:
    if isinstance(program, Report):
        return program
    if isinstance(outcome, Check):
        return Report((outcome,), arguments=program.arguments)
    assert outcome is not None
    return _trusted(outcome, program.arguments, space)


def seal(
    source: str,
    task: Any,
    *,
    explanations: Mapping[str, str] | None = None,
    provenance: str = "",
    draw: int | None = None,
    goal: str = "",
    limits: sandbox.Limits | None = None,
) -> Encoder:
    """Checks and compiles a source and returns the encoder. The arguments after ``task`` go on its card.

    Raises:
        LareError: with every check that failed.
    """
    report = check(source, task, limits=limits)
    return encoder_of(
        report, source, task, explanations=explanations, provenance=provenance, draw=draw, goal=goal
    )  # fmt: skip


def encoder_of(
    report: Report,
    source: str,
    task: Any,
    *,
    explanations: Mapping[str, str] | None = None,
    provenance: str = "",
    draw: int | None = None,
    goal: str = "",
) -> Encoder:
    """Makes the encoder of a source whose report is at hand.

    Raises:
        LareError: with every check that failed.
    """
    if not report.passed:
        raise LareError(f"the source cannot be sealed:\n{report}")
    explanations = explanations or {}
    card = Card(
        task=str(getattr(task, "name", "")),
        env_id=str(getattr(task, "env_id", "")),
        space=Space.of(task),
        latent_names=report.latent_names,
        explanations=tuple(str(explanations.get(name, "")) for name in report.latent_names),
        arguments=report.arguments,
        source_sha256=digest(source),
        program_sha256=hashlib.sha256(report.program).hexdigest(),
        provenance=provenance,
        draw=draw,
        goal=goal,
        created=datetime.datetime.now(datetime.UTC).date().isoformat(),
        versions=_versions(),
        checks=tuple((check.name, check.detail) for check in report.checks),
        warnings=report.warnings,
    )
    return Encoder(card, source, report.program)


def _trusted(outcome: sandbox.Outcome, arguments: tuple[str, ...], space: Space) -> Report:
    """Reads the child's answer as if the child were hostile; screens the program."""
    try:
        result = outcome.result
        checks = tuple(
            Check(str(n)[:60], passed is True, str(detail)[:2000])
            for n, passed, detail in result["checks"][:40]
        )
        names = tuple(str(name) for name in result.get("latent_names", ()))
        program = base64.b64decode(result.get("program", ""), validate=True)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        answer = Check("sandbox", False, f"the locked process gave no usable answer ({type(error).__name__})")
        return Report((answer,), arguments=arguments, warnings=outcome.warnings)
    if not program or not all(check.passed for check in checks):
        return Report(checks, names, arguments, b"", outcome.warnings)
    if (
        not checks
        or len(set(names)) != len(names)
        or len(names) > _MAX_LATENTS
        or not all(map(_NAME.fullmatch, names))
    ):
        failure = Check("sandbox", False, "the locked process gave names that are no names")
        return Report((*checks, failure), (), arguments, b"", outcome.warnings)
    draft = Card("", "", space, names, ("",) * len(names), arguments, "", "")
    try:
        screen(read_program(program), draft)
    except LareError as error:
        return Report(
            (*checks, Check("screened", False, str(error))), names, arguments, b"", outcome.warnings
        )
    return Report(
        (*checks, Check("screened", True, "no call leaves the program")),
        names,
        arguments,
        program,
        outcome.warnings,
    )


def payload_of(source: str, space: Space) -> dict:
    """What the locked child is told; in JSON, which has no infinity, an infinite bound is null."""
    return {"source": source} | {
        name: [None if abs(value) == float("inf") else value for value in bound]
        if isinstance(bound, tuple)
        else bound
        for name, bound in asdict(space).items()
    }


def _versions() -> dict[str, str]:
    try:
        own = version("latent-reward")
    except PackageNotFoundError:
        own = "unknown"
    return {"python": platform.python_version(), "jax": jax.__version__, "latent_reward": own}
