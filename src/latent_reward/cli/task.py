"""``lare task init``: draft a task file for an environment."""

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from latent_reward.cli.common import Imports, import_named, screen
from latent_reward.errors import LareError


def init(
    env: Positional[Annotated[str, arg(metavar="ENV")]],
    *,
    imports: Imports = (),
    env_kwargs: Annotated[str, arg(metavar="YAML")] = "{}",
    out: Annotated[Path | None, arg(metavar="FILE")] = None,
) -> None:
    """Write a task file for an environment of Gymnasium or PettingZoo, with its sizes, bounds and time limit.

    Fill in the goal, and the name and meaning of each number: a language model reads nothing else. Agents of
    PettingZoo are put into teams by their spaces and names; regroup them as you like.

    Args:
        env: a Gymnasium id, or a parallel environment of PettingZoo: package.module (with a parallel_env) or
            module:function.
        imports: the Python module that registers the environment or has the function, also one of this folder; may be
            given several times.
        env_kwargs: arguments of the environment, such as "{N: 5}"; they are written into the file.
        out: the file; the last part of ENV with .yaml by default. An existing file is never replaced.
    """
    from latent_reward.envs.named import import_options
    from latent_reward.reading import parse_yaml
    from latent_reward.task.draft import draft_task, task_name, write_draft

    kwargs = parse_yaml(env_kwargs, "env-kwargs")
    if not isinstance(kwargs, dict):
        raise LareError(f"env-kwargs: {env_kwargs!r} is not a mapping; write it as in '{{N: 5}}'")
    import_named(imports)
    module = imports[0] if imports and ":" not in env and env not in imports else None
    text = draft_task(env, module, kwargs)
    path = out or Path(f"{task_name(env)}.yaml")
    write_draft(text, path)
    command = f"lare check {path}{import_options()}"
    screen.print(f"written: {path}; fill in the goal and the fields, then run `{command}`")
