"""Compare a task with its live environment, and play that; every mistake comes with its place and a remedy."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import gymnasium
import numpy as np

from latent_reward.envs.contract import Breach
from latent_reward.envs.gym import inspect_env
from latent_reward.envs.hosted import on_host
from latent_reward.envs.trial import EPISODES, Trial, try_out
from latent_reward.errors import LareError, TaskError
from latent_reward.task.fields import Field, Part
from latent_reward.task.load import Finding, Location, read_task
from latent_reward.task.open import make_env, open_environment, open_world, team_mismatches
from latent_reward.task.task import AnyTask, Task, TeamTask

Mismatch = tuple[Location, str, str]
"""Where in the task, what is wrong, and the remedy."""


def check_task(task: AnyTask | str | Path) -> list[Finding]:
    """Every mistake in a task, found by reading its file and by creating its environment.

    A task given by name or path is reported with line numbers. A file with mistakes in itself is not compared with
    the environment. The list is empty for a task without mistakes.
    """
    parsed, findings, document = read_task(task)
    if parsed is None:
        return findings
    try:
        mismatches = list(_env_mismatches(parsed) if isinstance(parsed, Task) else _world_mismatches(parsed))
    except TaskError as error:  # there is nothing to compare with
        mismatches = [((error.field,), error.message, error.remedy)]
    return sorted((document.finding(*each) for each in mismatches), key=lambda each: each.line or 0)


@dataclass(frozen=True)
class Played:
    """What playing the environment of a task has shown: breaches, and what training can live with."""

    problems: tuple[Finding, ...]
    warnings: tuple[Finding, ...]
    episodes: int
    steps: int


def play_task(task: AnyTask | str | Path, episodes: int = EPISODES) -> Played:
    """Play random episodes of the environment of a task without mistakes, and name every breach of its interface.

    Raises:
        LareError: the task has mistakes; :func:`check_task` finds them.
    """
    parsed, findings, document = read_task(task)
    if parsed is None:
        raise LareError(str(findings[0]))
    key = "env" if isinstance(parsed, Task) else "pettingzoo" if parsed.pettingzoo else "world"
    try:
        trial = try_out(on_host(open_environment(parsed)), episodes)
    except LareError as error:  # it could be made a moment ago
        found = document.finding((key,), str(error), "let every copy be made as the first was")
        return Played((found,), (), 0, 0)

    def findings_of(trial: Trial, warning: bool) -> tuple[Finding, ...]:
        return tuple(
            document.finding((key,), _words(each.breach), each.breach.remedy)
            for each in trial.found
            if each.warning == warning
        )

    return Played(findings_of(trial, False), findings_of(trial, True), trial.episodes, trial.steps)


def _words(breach: Breach) -> str:
    return breach.message if breach.part == "env" else f"{breach.part}: {breach.message}"


def _world_mismatches(task: TeamTask) -> Iterator[Mismatch]:
    world = open_world(task)
    yield from team_mismatches(task, world)
    if [team.name for team in task.teams] != [team.name for team in world.teams]:
        return
    for index, (team, real) in enumerate(zip(task.teams, world.teams, strict=True)):
        here: Location = ("teams", index)
        yield from _index_mismatches((*here, "observation"), team.observation, real.observation_size)
        yield from _index_mismatches((*here, "action"), team.action, real.actions.size)


def _env_mismatches(task: Task) -> Iterator[Mismatch]:
    observation, action, limit = inspect_env(make_env(task))
    if limit is not None and task.max_steps != limit:
        message = f"{task.max_steps} steps, but {task.env_id} is registered with {limit}"
        yield ("max_steps",), message, f"write {limit}"
    yield from _index_mismatches(("observation",), task.observation, observation.shape[0])
    yield from _index_mismatches(("action",), task.action, action.shape[0])
    yield from _range_mismatches("observation", task.observation, observation)
    yield from _range_mismatches("action", task.action, action)


def _index_mismatches(part: Location, fields: tuple[Field, ...], size: int) -> Iterator[Mismatch]:
    """Indices outside the space, described twice, or not described; ``part`` is the location of the fields."""
    space = f"the {size}-dimensional {part[-1]}"
    owner: dict[int, str] = {}
    for position, each in enumerate(fields):
        here: Location = (*part, position)
        if each.index >= size:
            yield here, f"index {each.index} is outside {space}", "remove it or correct the index"
            continue
        if each.indices.stop > size:
            message = f"the block reaches index {each.indices.stop - 1}, beyond {space}"
            yield (*here, "count"), message, f"write a count of at most {size - each.index}"
        twice = [index for index in each.indices if index in owner]
        if twice:
            message = f"{owner[twice[0]]!r} already describes {_span(twice)}"
            yield here, message, "describe every index once"
        owner.update(dict.fromkeys(each.indices, each.name))
    gaps = [index for index in range(size) if index not in owner]
    for gap in np.split(gaps, np.flatnonzero(np.diff(gaps) > 1) + 1) if gaps else ():
        more = f" and so on, or one field with `count: {len(gap)}`" if len(gap) > 1 else ""
        remedy = f"add `- {{index: {gap[0]}, name: …, meaning: …}}`{more}"
        yield part, f"nothing describes {_span(gap)} of {space}", remedy


def _range_mismatches(
    part: Part, fields: tuple[Field, ...], space: gymnasium.spaces.Box
) -> Iterator[Mismatch]:
    """Ranges that contradict the space.

    The bounds of an action are those of its space. An observation may have a narrower range than its space, which is
    often unbounded for lack of better knowledge, but not a wider one.
    """
    for position, each in enumerate(fields):
        block = slice(each.index, min(each.indices.stop, space.shape[0]))
        low, high = space.low[block], space.high[block]
        sides = (("low", each.low, low, np.less), ("high", each.high, high, np.greater))
        for key, value, bounds, wider in sides:
            if value is None or not bounds.size:
                continue
            same = np.isclose(value, bounds, rtol=1e-5)
            wrong = ~same if part == "action" else wider(value, bounds) & ~same
            if wrong.any():
                bound = bounds[wrong.argmax()]
                message = f"{value:g} contradicts the {part} space, whose {key} bound is {bound:g}"
                yield (part, position, key), message, f"write {bound:g}"


def _span(indices: Sequence[int] | np.ndarray) -> str:
    return f"index {indices[0]}" if len(indices) == 1 else f"indices {indices[0]} to {indices[-1]}"
