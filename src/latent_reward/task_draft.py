"""A task file to be completed: what the environment itself knows is filled in, the words are left to the user."""

import re
from collections.abc import Iterator
from pathlib import Path

import gymnasium
import numpy as np

from latent_reward._yaml import FILL_IN
from latent_reward.task import open_env
from latent_reward.types import LareError

LONGEST = (
    64  # indices that get a line each; a longer vector starts as one block, to be split where it makes sense
)
_UNKNOWN = 1e6  # a bound beyond is none


def draft_task(env_id: str, module: str | None = None) -> str:
    """The text of a task file for a live environment: sizes, bounds and time limit filled in.

    What only a person knows begins with ``FILL IN``, and the file is refused until that is gone.

    Args:
        env_id: a Gymnasium id, perhaps ``module:Id-v0``.
        module: the module whose import registers it.

    Raises:
        LareError: there is no such environment, or its observation or action is no flat vector.
    """
    if module and ":" in env_id:
        raise LareError(f"env: {env_id} names its module already; leave --import out")
    full = f"{module}:{env_id}" if module else env_id
    env = open_env(full)
    observation, action = env.observation_space, env.action_space
    limit = gymnasium.spec(env.spec.id).max_episode_steps if env.spec else None
    env.close()
    assert isinstance(observation, gymnasium.spaces.Box)
    assert isinstance(action, gymnasium.spaces.Box)
    if not (np.isfinite(action.low).all() and np.isfinite(action.high).all()):
        raise LareError(
            f"env: the action space of {full} has no bounds; give its Box a low and a high, "
            "so that it is known how far an action can go"
        )
    lines = [
        f"# A draft of `lare task init {env_id}`. Fill in every {FILL_IN}; then `lare check` compares it with the",
        "# environment. Say what the sign of a number means and where zero is: whoever writes an encoder has",
        "# nothing but these words.",
        f"name: {task_name(env_id)}",
        f"env: {full}",
        f"max_steps: {limit or repr(f'{FILL_IN}: after how many steps an episode is cut')}",
        "goal:",
        f"  plain: &plain '{FILL_IN}: what is wanted, without saying what is paid for it'",
        "  paper: *plain  # or a second wording, which tells more about what counts",
        *_fields("observation", observation),
        *_fields("action", action),
    ]
    return "\n".join(lines) + "\n"


def task_name(env_id: str) -> str:
    """The name of a task for an environment: its id without module, fit for a file."""
    return re.sub(r"[^\w.-]", "-", env_id.rpartition(":")[2])


def write_draft(text: str, path: Path) -> None:
    """Write a new file; raises :class:`LareError` if there is one already, or it cannot be written."""
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise LareError(
            f"out: {path} exists already and is not replaced; give another name with --out"
        ) from None
    except OSError as error:
        raise LareError(
            f"out: cannot write {path} ({error.strerror}); choose another place with --out"
        ) from None


def _fields(part: str, space: gymnasium.spaces.Box) -> Iterator[str]:
    yield f"{part}:"
    if space.shape[0] > LONGEST:
        yield (
            f"  - {{index: 0, count: {space.shape[0]}, name: {FILL_IN}, unit: '-', "
            f"meaning: '{FILL_IN}: what these numbers are; split the block into fields'}}"
        )
        return
    for index, (low, high) in enumerate(zip(space.low, space.high, strict=True)):
        bounds = "".join(
            f", {name}: {_number(bound)}"
            for name, bound in (("low", low), ("high", high))
            if abs(bound) < _UNKNOWN
        )
        yield (
            f"  - {{index: {index}, name: {FILL_IN}, unit: '-'{bounds}, "
            f"meaning: '{FILL_IN}: what the number is, its sign, and where zero is'}}"
        )


def _number(value: np.floating) -> str:
    return np.format_float_positional(value, trim="-")
