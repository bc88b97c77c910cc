"""``lare task init``: the first of the four commands from an environment to a trained agent."""

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from latent_reward.cli.common import screen


def init(
    env: Positional[Annotated[str, arg(metavar="ENV_ID")]],
    *,
    module: Annotated[str | None, arg(name="import", metavar="MODULE")] = None,
    out: Annotated[Path | None, arg(metavar="FILE")] = None,
) -> None:
    """Write a task file for a Gymnasium environment, with everything filled in that the environment knows.

    The goal, and the name and meaning of each number, are left to you: they are all that a model will read.

    Args:
        env: the id under which the environment is registered.
        module: the Python module whose import registers it, looked for in this folder too.
        out: the file; the environment's id with .yaml by default. An existing file is never replaced.
    """
    from latent_reward.task_draft import draft_task, task_name, write_draft

    text = draft_task(env, module)
    path = out or Path(f"{task_name(env)}.yaml")
    write_draft(text, path)
    screen.print(
        f"written: {path}; fill in the goal and the fields, then run `lare check {path}`", markup=False
    )
