"""Where credit is assigned: what an agent sees and does, from a task or from spaces, without its environment."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from latent_reward.credit.base import CreditSpec
from latent_reward.credit.methods import Experience, Recipe
from latent_reward.data.spaces import ActionSpace, Continuous, Discrete
from latent_reward.encoder.card import Space
from latent_reward.encoder.encoder import Encoder, check_fits, select_latents
from latent_reward.encoder.from_function import FunctionEncoder
from latent_reward.encoder.selection import ALL_LATENTS, Selection
from latent_reward.errors import LareError, require_paths, require_positive, shown
from latent_reward.sealing.open import load_encoder
from latent_reward.task.load import find_description
from latent_reward.task.task import AnyTask, Task, TeamTask

AnyEncoder = Encoder | FunctionEncoder | str | Path
"""What can be given as an encoder: the thing itself, a function of your own, a folder, or the name of a task."""


@dataclass(frozen=True)
class Where:
    """What one agent of a team sees and does.

    Attributes:
        name: what it is called in messages.
        observation_size: numbers per observation.
        actions: what an agent can do.
        agents: agents of the team.
        horizon: longest episode.
        task: the description of the agent in words, if there is one.
    """

    name: str
    observation_size: int
    actions: ActionSpace
    agents: int
    horizon: int
    task: Task | None = None

    @property
    def experience(self) -> Experience:
        """Which of a method's settings fit: those for teams have been tuned on whole episodes of discrete actions."""
        return "episodes" if self.agents > 1 else "replay"


def find_where(
    task: AnyTask | str | Path | None,
    observation_space: Any,
    action_space: Any,
    horizon: int | None,
    agents: int,
) -> Where:
    """What an agent sees and does, from a task (a name, a file or an object) or from the spaces of one agent.

    Spaces are Gymnasium's; for observations a whole number of fields will do, too. A horizon given in words of its own
    takes the place of the task's.

    Raises:
        LareError: neither is given, both are given, or a space cannot be used.
    """
    if task is not None:
        if observation_space is not None or action_space is not None:
            raise LareError("task: it has the observations and actions already; leave the spaces out")
        whole, described = find_description(str(task) if isinstance(task, Path) else task)
        return _of_task(whole, described, horizon, agents)
    if observation_space is None or action_space is None:
        raise LareError("task: give a task, or observation_space and action_space")
    if horizon is None:
        raise LareError(
            "horizon: without a task it has to be given; it is the number of steps of the longest episode"
        )
    if isinstance(observation_space, gymnasium.spaces.Box) and len(observation_space.shape) == 1:
        size = observation_space.shape[0]
    elif isinstance(observation_space, int | np.integer) and not isinstance(observation_space, bool):
        size = int(observation_space)
    else:
        raise LareError(
            f"observation_space: {observation_space} cannot be used; give a Box with one axis, or how many numbers"
        )
    require_positive(observation_space=size)
    return Where("these spaces", size, _actions(action_space), agents, horizon)


def _of_task(whole: AnyTask, described: Task, horizon: int | None, agents: int) -> Where:
    steps = described.max_steps if horizon is None else horizon
    if isinstance(whole, TeamTask):
        team = whole.teams[whole.descriptions.index(described)]
        if agents not in (1, team.agents):
            raise LareError(f"agents: {described.name} has {team.agents}, not {agents}; leave it out")
        actions = Discrete(described.action_size)
        return Where(described.name, described.observation_size, actions, team.agents, steps, described)
    actions = _box(described.action_low, described.action_high)
    return Where(described.name, described.observation_size, actions, agents, steps, described)


def _actions(space: Any) -> ActionSpace:
    if isinstance(space, gymnasium.spaces.Discrete) and space.start == 0:
        return Discrete(int(space.n))
    if isinstance(space, gymnasium.spaces.Box) and len(space.shape) == 1 and space.shape[0]:
        return _box(space.low, space.high)
    raise LareError(f"action_space: {space} cannot be used; give a Discrete from 0, or a Box with one axis")


def _box(low: np.ndarray, high: np.ndarray) -> Continuous:
    """Bounds in single precision; one that is missing is a very large number, since credit does not need it."""
    most = np.finfo(np.float32).max
    return Continuous(*(tuple(np.clip(bound, -most, most).tolist()) for bound in (low, high)))


def require_encoder(encoder: Any) -> None:
    """Raise if ``encoder`` is nothing that can be opened as one; None is allowed."""
    if encoder is None or isinstance(encoder, Encoder | FunctionEncoder):
        return
    if callable(encoder):
        name = getattr(encoder, "__name__", "FUNCTION")
        raise LareError(
            f"encoder: {shown(encoder)} is a function; give lr.encoder_from_function({name}, NAMES), with a name for "
            "each latent"
        )
    require_paths(encoder=encoder)


def choose_encoder(where: Where, method: Recipe, encoder: AnyEncoder | None) -> Encoder | None:
    """The encoder that a method needs, checked against what an agent sees and does; None if it reads no latents.

    ``encoder`` may be an encoder, its folder, the name of a task with bundled ones, or a function of your own; None
    takes the bundled one of the task.

    Raises:
        LareError: the method cannot work there, there is no encoder, one is given to a method that reads no latents, or
            it does not fit.
    """
    require_encoder(encoder)
    spec = CreditSpec(where.observation_size, where.actions.size, where.agents, where.horizon)
    if refusal := method.credit.refusal(spec):
        raise LareError(f"method: {method.name} {refusal}")
    if method.credit.latents == "none":
        if encoder is not None:
            raise LareError(f"encoder: the method {method.name} reads no latents; leave the encoder out")
        return None
    if encoder is None and where.task is None:
        raise LareError(
            f"encoder: {method.name} reads latents, and without a task no bundled encoder is known; give an encoder, "
            "or choose a method without latents, such as rrd-unbiased"
        )
    if isinstance(encoder, FunctionEncoder):
        if where.task is None:
            encoder = encoder.bind(Space.unbounded(where.observation_size, where.actions.size))
        else:
            encoder = encoder.bind(Space.of(where.task), where.task.name, where.task.env_id)
    if not isinstance(encoder, Encoder):
        encoder = load_encoder(where.task if encoder is None and where.task else str(encoder))
    if where.task is not None:
        check_fits(encoder, where.task)
    require_reads(encoder, where)
    return encoder


def selected(
    encoders: tuple[Encoder | None, ...], selection: Selection, method: Recipe
) -> tuple[Encoder | None, ...]:
    """The encoders of all teams with the latents that are selected, as many as the method needs.

    Without a selection the encoders are as they were given: one that was saved with a selection keeps it.

    Raises:
        LareError: the method reads no latents, or needs another number of them, or no latent has such a name.
    """
    found = tuple(each for each in encoders if each is not None)
    if selection == ALL_LATENTS:
        chosen = found
    elif not found:
        raise LareError(f"latents: the method {method.name} reads none; leave the selection out")
    else:
        chosen = select_latents(found, selection)
    for each in chosen:
        require_count_of_latents(each, method)
    return chosen or encoders


def require_fit(encoder: Encoder, where: Where, method: Recipe) -> None:
    """Raise unless an encoder reads what there is to read, and gives as many latents as the method needs.

    Raises:
        LareError: naming both sides.
    """
    require_reads(encoder, where)
    require_count_of_latents(encoder, method)


def require_reads(encoder: Encoder, where: Where) -> None:
    """Raise unless an encoder reads what there is to read.

    Raises:
        LareError: naming both sides.
    """
    have = (encoder.card.observation_size, encoder.card.action_size)
    need = (where.observation_size, where.actions.size)
    if have != need:
        raise LareError(
            f"encoder: it reads {have[0]} observation fields and {have[1]} action fields, and {where.name} has "
            f"{need[0]} and {need[1]}; choose another encoder"
        )


def require_count_of_latents(encoder: Encoder, method: Recipe) -> None:
    """Raise unless an encoder gives as many latents as the method needs.

    Raises:
        LareError: naming both sides.
    """
    if method.credit.latents == "one" and len(encoder.latent_names) != 1:
        raise LareError(
            f"encoder: {method.name} needs an encoder with one latent, this has {len(encoder.latent_names)}; design "
            "one with `lare design TASK --reward`"
        )
