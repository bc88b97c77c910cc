"""What is done with an input of each kind: what a user does who was given such a file.

A trial ends well, or with the ``LareError`` that a user sees as one line; everything else is a failure.
"""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np

import latent_reward as lr
from latent_reward.design.reply import read_reply
from latent_reward.sealing.verify import seal
from latent_reward.task.load import load_task

Trial = Callable[[bytes, Path], None]

_ROWS = 64
_TOLERANCE = 1e-3  # of a column's usual size: programs compute in single precision


class DisagreementError(Exception):
    """A sealed program and NumPy compute different numbers."""


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _source(data: bytes, folder: Path) -> None:
    seal(_text(data), load_task("HalfCheetah-v5"))


def _arithmetic(data: bytes, folder: Path) -> None:
    """Seal what Hypothesis wrote, and compare with NumPy. It is ours, so it may run here."""
    encoder = seal(data.decode(), load_task("HalfCheetah-v5"))
    generator = np.random.default_rng(0)
    observation, action = generator.normal(size=(_ROWS, 17)), generator.uniform(-1, 1, (_ROWS, 6))
    observation, action = np.float32(observation), np.float32(action)
    scope: dict = {"np": np}
    exec(data.decode(), scope)
    with np.errstate(all="ignore"):
        wanted = scope["evaluation_func"](observation.astype(float), action.astype(float))
    wanted = np.concatenate(wanted, axis=1)
    found = np.asarray(encoder.encode(observation, action, observation))
    size = np.abs(wanted) + np.median(np.abs(wanted), axis=0) + 1e-6
    # where an intermediate result is about to overflow or to cancel, single precision cannot follow
    odd = np.abs(found - wanted) > _TOLERANCE * size
    if odd.mean() > 0.02:
        row, column = np.argwhere(odd)[0]
        raise DisagreementError(
            f"row {row}, column {column}: {found[row, column]}, and NumPy {wanted[row, column]}"
        )


def _encoder(folder: Path, program: bytes | None = None, card: bytes | None = None) -> None:
    """Use a bundled encoder with another program, the digest on its card recomputed, or another card."""
    copy = _copy(
        Path(lr.__file__).parent / "encoder" / "bundled" / "HalfCheetah-v5" / "0", folder / "encoder"
    )
    if program is not None:
        (copy / "program.stablehlo").write_bytes(program)
        entries = json.loads((copy / "card.json").read_bytes())
        entries["program_sha256"] = hashlib.sha256(program).hexdigest()
        card = json.dumps(entries).encode()
    if card is not None:
        (copy / "card.json").write_bytes(card)
    observation, action = np.ones((3, 17), np.float32), np.ones((3, 6), np.float32)
    np.asarray(lr.load_encoder(copy).encode(observation, action, observation))


def _program(data: bytes, folder: Path) -> None:
    _encoder(folder, program=data)


def _card(data: bytes, folder: Path) -> None:
    _encoder(folder, card=data)


def _task(data: bytes, folder: Path) -> None:
    path = folder / "task.yaml"
    path.write_bytes(data)
    load_task(path)


def _reply(data: bytes, folder: Path) -> None:
    read_reply(_text(data))


def _part_of_run(name: str) -> Trial:
    def trial(data: bytes, folder: Path) -> None:
        copy = _copy(folder / "run", folder / "copy")
        (copy / name).write_bytes(data)
        run = lr.load_run(copy)
        len(run.metrics)
        run.act(np.zeros((1, 10), np.float32))

    return trial


def train_small_run(folder: Path) -> Path:
    """A finished run of a few dozen steps in ``folder``, which trials of its files need."""
    settings = {"steps": 60, "warmup": 10, "evaluate_every": 60, "evaluation_episodes": 1, "quiet": True}
    lr.train("Reacher-v5", "lare", out=folder / "run", **settings)
    return folder / "run"


def _copy(source: Path, target: Path) -> Path:
    shutil.rmtree(target, ignore_errors=True)
    return Path(shutil.copytree(source, target))


TRIALS: dict[str, Trial] = {
    "source": _source,
    "arithmetic": _arithmetic,
    "program": _program,
    "card": _card,
    "task": _task,
    "reply": _reply,
    "config": _part_of_run("config.json"),
    "metrics": _part_of_run("metrics.jsonl"),
    "checkpoint": _part_of_run("checkpoint.safetensors"),
}
"""What is done with each kind, in a folder of its own."""
