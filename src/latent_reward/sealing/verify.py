"""Turn a source into an encoder: check it, compile it in the locked child, seal the result.

``check`` reports everything that is wrong at once, because the report goes back to the model that wrote
the source; ``seal`` returns the encoder or raises.
"""

import base64
import datetime
import hashlib
import platform
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import jax

from latent_reward.encoder.card import Card, Space
from latent_reward.encoder.encoder import Encoder
from latent_reward.errors import LareError
from latent_reward.sealing.admit import problems_of
from latent_reward.sealing.language.explain import explanations
from latent_reward.sealing.language.parse import SourceError, digest, parse
from latent_reward.sealing.lock import sandbox

_WORKER = "latent_reward.sealing.examine:examine"
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
        source: Python text with one function ``evaluation_func``.
        task: anything with ``observation_size`` and ``action_size``, and perhaps ``observation_low`` and so on.
        limits: time and memory of the locked child.
    """
    return check_all([source], task, limits=limits)[0]


def check_all(
    sources: Sequence[str], task: Any, *, limits: sandbox.Limits | None = None, workers: int = 2
) -> list[Report]:
    """Checks several sources, as :func:`check` does one, at most ``workers`` at the same time.

    Each has a locked process of its own, so that none fails because of another.
    """
    space = Space.of(task)
    reports = [_parsed(source) for source in sources]
    left = [place for place, report in enumerate(reports) if not report.failures]

    def run(place: int) -> sandbox.Outcome | Check:
        return _examined(payload_of(sources[place], space), limits)

    # Only the wait for the child is done in threads: the rest changes Python's filter of warnings.
    with ThreadPoolExecutor(max_workers=workers) as pool:
        for place, outcome in zip(left, pool.map(run, left), strict=True):
            reports[place] = _trusted(outcome, reports[place].arguments)
    return _screened(reports, space)


def _parsed(source: str) -> Report:
    """The report of a source that has not run: it has no check yet, or one for each problem of its text."""
    try:
        return Report((), arguments=parse(source).arguments)
    except SourceError as error:
        return Report(tuple(Check("language", False, str(problem)) for problem in error.problems))


def _examined(payload: dict, limits: sandbox.Limits | None) -> sandbox.Outcome | Check:
    """What a locked child says of a source; or, in its place, how the child failed."""
    try:
        return sandbox.run(_WORKER, payload, limits)
    except LareError as error:
        return Check("sandbox", False, str(error))


def _trusted(outcome: sandbox.Outcome | Check, arguments: tuple[str, ...]) -> Report:
    """Reads the child's answer as if the child were hostile; its program is not read."""
    if isinstance(outcome, Check):
        return Report((outcome,), arguments=arguments)
    checks, names, program = (), (), b""
    try:
        result = outcome.result
        checks = tuple(
            Check(str(name)[:60], passed is True, str(detail)[:2000])
            for name, passed, detail in result["checks"][:40]
        )
        names = tuple(str(name) for name in result.get("latent_names", ()))
        program = base64.b64decode(result.get("program", ""), validate=True)
        if program and checks and all(check.passed for check in checks):
            named = len(names) <= _MAX_LATENTS and all(map(_NAME.fullmatch, names))
            if not named or len(set(names)) != len(names):
                raise ValueError("names that are not names of latents")
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        problem = f"the locked process gave no usable answer ({type(error).__name__})"
        checks, names = (Check("sandbox", False, problem),), ()
    passed = checks and all(check.passed for check in checks)
    return Report(checks, names, arguments, program if passed else b"", outcome.warnings)


def _screened(reports: list[Report], space: Space) -> list[Report]:
    """The reports with one more check: whether the program, which a hostile child may have made, can be let in.

    That is found out in another locked process, which has seen no source.
    """
    found = [place for place, report in enumerate(reports) if report.program]
    programs = [
        (reports[place].program, Card("", "", space, reports[place].latent_names, (), (), "", ""))
        for place in found
    ]
    screened = list(reports)
    for place, problem in zip(found, problems_of(programs), strict=True):
        check = Check("screened", not problem, problem or "arithmetic only, and little of it for each row")
        program = b"" if problem else reports[place].program
        screened[place] = replace(reports[place], checks=(*reports[place].checks, check), program=program)
    return screened


def payload_of(source: str, space: Space) -> dict:
    """What the locked child is told of a source. Both ends are Python's JSON, which has infinity."""
    return {"source": source, **asdict(space)}


def seal(source: str, task: Any, *, limits: sandbox.Limits | None = None, **origin: Any) -> Encoder:
    """Checks and compiles a source and returns the encoder. ``origin`` is for its card: see :func:`encoder_of`.

    Raises:
        LareError: with every check that failed.
    """
    return encoder_of(check(source, task, limits=limits), source, task, **origin)


def encoder_of(
    report: Report,
    source: str,
    task: Any,
    *,
    provenance: str = "",
    draw: int | None = None,
    goal: str = "",
) -> Encoder:
    """Makes the encoder of a source whose report is at hand; its comments explain the latents.

    Raises:
        LareError: with every check that failed.
    """
    if not report.passed:
        raise LareError(f"the source cannot be sealed:\n{report}")
    said = explanations(source, report.latent_names)
    card = Card(
        task=str(getattr(task, "name", "")),
        env_id=str(getattr(task, "env_id", "")),
        space=Space.of(task),
        latent_names=report.latent_names,
        explanations=tuple(said.get(name, "") for name in report.latent_names),
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


def _versions() -> dict[str, str]:
    try:
        own = version("latent-reward")
    except PackageNotFoundError:
        own = "unknown"
    return {"python": platform.python_version(), "jax": jax.__version__, "latent_reward": own}
