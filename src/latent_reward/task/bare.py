"""Environments without words: enough for methods that read no latents, and for encoders that are given."""

import dataclasses
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import Any, Literal

import gymnasium
from pydantic.dataclasses import dataclass

from latent_reward.data.spaces import Discrete
from latent_reward.envs.base import HostWorld, close
from latent_reward.envs.given import is_environment, is_parallel, maker_of, name_of
from latent_reward.envs.gym import open_env, step_limit
from latent_reward.envs.named import name_module
from latent_reward.envs.pettingzoo import Make, find_kinds, find_maker, opened, time_limit, world_of
from latent_reward.envs.single import single_world
from latent_reward.errors import LareError, did_you_mean, require_positive
from latent_reward.reading import FileName, FormatError, Positive, compose_yaml, exactly, plain, read_text
from latent_reward.task.draft import is_pettingzoo, task_name
from latent_reward.task.fields import STRICT
from latent_reward.task.load import load_task, task_names
from latent_reward.task.task import AnyTask, Task, TeamTask


@dataclass(frozen=True, config=STRICT)
class BareTask:
    """An environment that nobody has described: what is needed to open it again.

    Attributes:
        name: what it is called, also in the default run folder.
        env: a Gymnasium id, or the name of a PettingZoo environment; empty if it was given as an object or a function,
            and so has to be given again.
        max_steps: steps after which an episode is cut.
        spaces: what each team sees and does, in words.
        teams: of a PettingZoo environment the names of each team's agents, or patterns; else empty.
        kind: how files tell it from a task.
    """

    name: FileName
    env: str
    max_steps: Positive
    spaces: tuple[str, ...] = ()
    teams: dict[FileName, tuple[str, ...]] = field(default_factory=dict)
    kind: Literal["bare"] = "bare"

    def open(self, given: Any = None) -> HostWorld:
        """The environment; ``given`` is the object or the function again, if it has no id.

        Raises:
            LareError: it has to be given and is not, or the other way round, or its spaces cannot be used.
        """
        if given is None and not self.env:
            raise LareError(
                f"env: {self.name} was given from Python, so the run folder cannot make it; give it again with env= "
                "to lr.load_run or lr.resume"
            )
        if given is not None and self.env:
            raise LareError(f"env: this run opens {self.env} by its id; leave env out")
        world = self.world(_maker(self.env, self.max_steps) if self.env else maker_of(given))
        if self.spaces and self.spaces != _spaces(world):
            raise LareError(
                f"env: the run was trained with {'; '.join(self.spaces)}, and this environment has "
                f"{'; '.join(_spaces(world))}; give the same one"
            )
        return world

    def world(self, make: Make) -> HostWorld:
        """The world of the environment that ``make`` makes."""
        if self.teams:
            return world_of(self.name, make, self.teams, self.max_steps)
        return single_world(self.name, make, self.max_steps)


def find_task(task: Any, max_steps: int | None = None) -> tuple[AnyTask | BareTask, Any]:
    """What to train on, from all that may name it, and the environment if it was given as an object or a function.

    Args:
        task: a task, the name of a built-in one, the path of a task file, the id of an environment, an environment, or
            a function that makes one.
        max_steps: steps after which an episode is cut; None takes those of the task or of the environment.

    Raises:
        LareError: nothing has that name, it cannot be used, or it has no time limit.
    """
    if max_steps is not None:
        require_positive(max_steps=max_steps)
    if isinstance(task, str | Path):
        text = str(task)
        if text not in task_names() and not Path(text).is_file() and not text.endswith((".yaml", ".yml")):
            name_module(text)
            return _bare(_require_id(text), _maker(text, max_steps), max_steps), None
        found = read_any_task(text)
    elif isinstance(task, Task | TeamTask | BareTask):
        found = task
    else:
        return _bare("", maker_of(task), max_steps), task
    if max_steps is None or max_steps == found.max_steps:
        return found, None
    return dataclasses.replace(found, max_steps=max_steps), None


def read_any_task(name_or_path: str | Path) -> AnyTask | BareTask:
    """A task by its name or the path of its file, which may also be the ``task.yaml`` of a run without words.

    Raises:
        LareError: there is no such task, or the first mistake in its file.
    """
    path = Path(name_or_path)
    try:
        root = compose_yaml(read_text(path)) if path.is_file() else None
        data = None if root is None else plain(root)
    except (LareError, FormatError):
        data = None  # `load_task` says what is wrong
    if not isinstance(data, Mapping) or data.get("kind") != "bare":
        return load_task(name_or_path)
    return exactly(BareTask, data, str(path), "restore the file")


def team_names(task: AnyTask | BareTask) -> tuple[str, ...]:
    """The names of the teams of a task; of one agent a single empty name."""
    if isinstance(task, TeamTask):
        return tuple(team.name for team in task.teams)
    return ("",) if isinstance(task, Task) else tuple(task.teams) or ("",)


def _require_id(name: str) -> str:
    """``name`` if it could be the id of an environment; else raise with near misses."""
    if name in gymnasium.registry or ":" in name or is_pettingzoo(name):
        return name
    known = [*task_names(), *gymnasium.registry]
    raise LareError(
        f"task: no task and no installed environment is called {name!r}{did_you_mean(name, known)}; run `lare tasks` "
        "for the built-in tasks, or give a task file that ends in .yaml, a Gymnasium id, or module:Id to import its "
        "module first"
    )


def _maker(env_id: str, max_steps: int | None) -> Make:
    if is_pettingzoo(env_id):
        return find_maker(env_id, {})
    return lambda mode: open_env(env_id, max_episode_steps=max_steps, render_mode=mode, discrete=True)


def _bare(env_id: str, make: Make, max_steps: int | None) -> BareTask:
    """The task of the environment that ``make`` makes."""
    env = make(None)
    assert is_environment(env)
    name = task_name(env_id) if env_id else name_of(env)
    teams: dict[str, tuple[str, ...]] = {}
    if is_parallel(env):
        close(env)
        with opened(name, make) as env:
            teams = {kind.name: kind.members for kind in find_kinds(name, env)}
            limit = time_limit(env)
    else:
        limit = step_limit(env)
        close(env)
    if max_steps is None and limit is None:
        raise LareError(
            f"max_steps: {name} has no time limit; give max_steps (--max-steps N), after which an episode is cut"
        )
    found = BareTask(name, env_id, max_steps or limit or 0, teams=teams)
    return dataclasses.replace(found, spaces=_spaces(found.world(make)))


def _spaces(world: HostWorld) -> tuple[str, ...]:
    """What the agents of each team see and do, in words."""
    return tuple(
        f"{team.agents} {team.name}: {team.observation_size} observations, {team.actions.size} "
        f"{'choices' if isinstance(team.actions, Discrete) else 'continuous actions'}"
        for team in world.teams
    )
