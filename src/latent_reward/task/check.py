"""Compare a task with its live environment, and say for each mistake where it is and how to mend it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import gymnasium
import numpy as np

from latent_reward.errors import LareError, TaskError
from latent_reward.task.document import Location, Problem, field_name, read_document
from latent_reward.task.fields import Field, Part
from latent_reward.task.task import AnyTask, Task, TeamTask, make_env, open_world, parse_task, task_path

__all__ = ["Problem", "check_task"]

Finding = tuple[Location, str, str]
"""Where in the task, what is wrong, how to mend it."""


def check_task(task: AnyTask | str | Path) -> list[Problem]:
    """Every mistake in a task, found by reading its file and by creating its environment or finding its world.

    A task given by name or path is reported with line numbers. The list is empty for a task without mistakes.
    A file that does not hold a task is reported as such, and only then compared with the environment.
    """
    if isinstance(task, Task | TeamTask):
        return _problems(task, task.name, lambda location: None)
    document = read_document(task_path(task))
    parsed, problems = parse_task(document)
    if parsed is None:
        return problems
    return _problems(parsed, document.file, document.line)


def _problems(task: AnyTask, file: str, line: Callable[[Location], int | None]) -> list[Problem]:
    problems = [
        Problem(file, line(location), field_name(location), message, remedy)
        for location, message, remedy in (
            _findings(task) if isinstance(task, Task) else _world_findings(task)
        )
    ]
    return sorted(problems, key=lambda problem: problem.line or 0)


def _world_findings(task: TeamTask) -> Iterator[Finding]:
    try:
        world = open_world(task)
    except TaskError as error:
        yield (error.field,), error.message, error.remedy
        return
    except LareError as error:
        message, _, remedy = str(error).removeprefix("world: ").partition("; ")
        yield ("world",), message, remedy or "correct the name"
        return
    where = world.name
    if task.max_steps != world.horizon:
        message = f"{task.max_steps} steps, but an episode of {where} has {world.horizon}"
        yield ("max_steps",), message, f"write {world.horizon}"
    if [team.name for team in task.teams] != [team.name for team in world.teams]:
        names = ", ".join(team.name for team in world.teams)
        yield ("teams",), f"the teams of {where} are {names}", "describe these, in this order"
        return
    for index, (team, real) in enumerate(zip(task.teams, world.teams, strict=True)):
        here: Location = ("teams", index)
        if team.agents != real.agents:
            message = f"{team.agents}, but {where} has {real.agents} {real.name}"
            yield (*here, "agents"), message, f"write {real.agents}"
        yield from _index_findings((*here, "observation"), team.observation, real.observation_size)
        yield from _index_findings((*here, "action"), team.action, world.actions)


def _findings(task: Task) -> Iterator[Finding]:
    try:
        env = make_env(task)
    except TaskError as error:
        yield (error.field,), error.message, error.remedy
        return
    observation, action = env.observation_space, env.action_space
    limit = gymnasium.spec(env.spec.id).max_episode_steps if env.spec else None
    env.close()
    if limit is not None and task.max_steps != limit:
        message = f"{task.max_steps} steps, but {task.env_id} is registered with {limit}"
        yield ("max_steps",), message, f"write {limit}"
    assert isinstance(observation, gymnasium.spaces.Box)
    assert isinstance(action, gymnasium.spaces.Box)
    yield from _index_findings(("observation",), task.observation, observation.shape[0])
    yield from _index_findings(("action",), task.action, action.shape[0])
    yield from _range_findings("observation", task.observation, observation)
    yield from _range_findings("action", task.action, action)


def _index_findings(part: Location, fields: tuple[Field, ...], size: int) -> Iterator[Finding]:
    """Indices out of the space, described twice, or not at all; ``part`` is where the fields stand."""
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
    for gap in _runs(gaps):
        message = f"nothing describes {_span(gap)} of {space}"
        yield (
            part,
            message,
            f"add `- {{index: {gap[0]}, name: …, meaning: …}}`"
            + (f" and so on, or one field with `count: {len(gap)}`" if len(gap) > 1 else ""),
        )


def _range_findings(part: Part, fields: tuple[Field, ...], space: gymnasium.spaces.Box) -> Iterator[Finding]:
    """Ranges that the space contradicts.

    The bounds of an action are the bounds of the space. An observation may well have a narrower range than
    its space, which is often unbounded for want of better knowledge, but not a wider one.
    """
    for position, each in enumerate(fields):
        block = slice(each.index, min(each.indices.stop, space.shape[0]))
        low, high = space.low[block], space.high[block]
        for key, value, bounds, wider in (
            ("low", each.low, low, np.less),
            ("high", each.high, high, np.greater),
        ):
            if value is None or not bounds.size:
                continue
            same = np.isclose(value, bounds, rtol=1e-5)
            wrong = ~same if part == "action" else wider(value, bounds) & ~same
            if wrong.any():
                bound = bounds[wrong.argmax()]
                message = f"{value:g} contradicts the {part} space, whose {key} bound is {bound:g}"
                yield (part, position, key), message, f"write {bound:g}"


def _span(indices: range | list[int]) -> str:
    return f"index {indices[0]}" if len(indices) == 1 else f"indices {indices[0]} to {indices[-1]}"


def _runs(indices: list[int]) -> list[list[int]]:
    """Split ascending indices where they are interrupted."""
    runs: list[list[int]] = []
    for index in indices:
        if runs and runs[-1][-1] == index - 1:
            runs[-1].append(index)
        else:
            runs.append([index])
    return runs
