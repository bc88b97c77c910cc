"""The encoders that come with the package, so that every built-in task trains without a language model.

``<task>/<draw>/`` is one sealed encoder: the reply it came from (``reply.json``), the source in it, the
compiled program and the card; it is ``<task>/<draw>/<team>/`` where a world has several teams. Draws are
independent answers to the same prompt; comparing them shows how much a result depends on the encoder rather
than on the seed.
"""

from pathlib import Path

from latent_reward.errors import LareError

_FOLDER = Path(__file__).parent


def bundled_tasks() -> tuple[str, ...]:
    """Names of the tasks that have bundled encoders, sorted."""
    return tuple(sorted({path.relative_to(_FOLDER).parts[0] for path in _FOLDER.rglob("reply.json")}))


def bundled_draws(task_name: str) -> tuple[int, ...]:
    """The draws bundled for a task or a team (``cp-6/prey``), in order; :class:`LareError` if there is none.

    >>> bundled_draws("Reacher-v5")
    (0, 1, 2)
    """
    whole, _, team = task_name.partition("/")
    draws = sorted(
        int(folder.name) for folder in (_FOLDER / whole).glob("*") if (folder / team / "reply.json").exists()
    )
    if not draws:
        raise LareError(
            f"encoder: no encoder is bundled for the task {task_name!r}, only for "
            f"{', '.join(bundled_tasks())}; seal a source of your own (`lare check SOURCE.py --task TASK "
            "--out DIR`) and pass it with --encoder, or use --method rrd-unbiased"
        )
    return tuple(draws)


def bundled_folder(task_name: str, draw: int) -> Path:
    """The folder of one bundled encoder; raises :class:`LareError` if there is no such draw."""
    draws = bundled_draws(task_name)
    if draw not in draws:
        raise LareError(
            f"draw: {task_name} has no bundled draw {draw}, only {', '.join(map(str, draws))}; "
            "choose one of these"
        )
    whole, _, team = task_name.partition("/")
    return _FOLDER / whole / str(draw) / team
