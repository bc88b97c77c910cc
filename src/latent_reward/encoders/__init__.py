"""The encoders that come with the package, so that every built-in task trains without a language model.

``<task>/<draw>/`` is one sealed encoder: the reply it came from (``reply.json``), the source in it, the
compiled program and the card. Draws are independent answers to the same prompt; comparing them shows how
much a result depends on the encoder rather than on the seed.
"""

from pathlib import Path

from latent_reward.encoder import Encoder, load
from latent_reward.task import Task
from latent_reward.types import LareError

_FOLDER = Path(__file__).parent


def bundled_tasks() -> tuple[str, ...]:
    """Names of the tasks that have bundled encoders, sorted."""
    return tuple(sorted({path.parent.parent.name for path in _FOLDER.glob("*/*/reply.json")}))


def bundled_draws(task_name: str) -> tuple[int, ...]:
    """The draws bundled for a task, in order; raises :class:`LareError` for a task that has none.

    >>> bundled_draws("Reacher-v5")
    (0, 1, 2)
    """
    if task_name not in bundled_tasks():
        raise LareError(
            f"encoder: no encoder is bundled for the task {task_name!r}, only for "
            f"{', '.join(bundled_tasks())}; seal a source of your own (`lare check SOURCE.py --task TASK "
            "--out DIR`) and pass it with --encoder, or use --method rrd-unbiased"
        )
    return tuple(sorted(int(path.parent.name) for path in (_FOLDER / task_name).glob("*/reply.json")))


def bundled_folder(task_name: str, draw: int) -> Path:
    """The folder of one bundled encoder; raises :class:`LareError` if there is no such draw."""
    draws = bundled_draws(task_name)
    if draw not in draws:
        raise LareError(
            f"draw: {task_name} has no bundled draw {draw}, only {', '.join(map(str, draws))}; "
            "choose one of these"
        )
    return _FOLDER / task_name / str(draw)


def load_encoder(task: Task, draw: int = 0) -> Encoder:
    """The encoder bundled for a built-in task; ``draw`` picks one of several independent ones.

    Raises:
        LareError: nothing is bundled for the task, or it has no such draw.
    """
    return load(bundled_folder(task.name, draw))
