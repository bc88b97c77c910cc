"""One file from which training goes on to the same numbers: safetensors, no pickle, replaced atomically.

Arrays are named by their path in the state; counters and the configuration they belong to stand in the
file's metadata. Only rows of the replay that were ever written are stored.
"""

import json
import os
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from latent_reward.training.off_policy import OffPolicy, Track
from latent_reward.training.replay import Replay
from latent_reward.types import LareError

FORMAT = 1
_ROWS = ("observation", "action", "features", "reward", "terminal")


def save(path: Path, training: OffPolicy, config: str) -> None:
    """Write everything that ``training`` needs to go on, tagged with its configuration as JSON.

    The file appears whole or not at all: it is written beside ``path``, flushed to disk and renamed.

    Raises:
        LareError: the disk is full or the folder cannot be written; an older checkpoint stays intact.
    """
    arrays = {f"state{name}": np.asarray(leaf) for name, leaf in _named(training.state)}
    for name, rows in _written(training.state.replay).items():
        arrays[name] = arrays[name][:, :rows]
    for index, track in enumerate(training.tracks):
        arrays[f"track{index}.observation"] = track.observation[: track.steps + 1]
        arrays[f"track{index}.action"] = track.action[: track.steps]
        arrays[f"track{index}.monitor"] = track.monitor
    tracks = [[t.seed, t.episodes, t.training_return] for t in training.tracks]
    header = {"format": FORMAT, "step": training.step, "tracks": tracks}
    temporary = path.with_suffix(".partial")
    try:
        arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        save_file(arrays, temporary, metadata={"header": json.dumps(header), "config": config})
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except (OSError, SafetensorError) as error:
        temporary.unlink(missing_ok=True)
        raise LareError(
            f"checkpoint: cannot write {path}: {error}; free space or make the folder writable, "
            "then resume from the last checkpoint"
        ) from error


def restore(path: Path, training: OffPolicy, config: str) -> None:
    """Bring a fresh ``training`` to where the checkpoint left off, unfinished episodes included.

    Raises:
        LareError: the file is missing, damaged, or belongs to another configuration.
    """
    with _open(path) as file:
        header = json.loads(file.metadata()["header"])
        if header["format"] != FORMAT:
            raise LareError(f"checkpoint: {path} has format {header['format']}, this version reads {FORMAT}")
        _same_config(file.metadata()["config"], config)
        leaves = [_fill(leaf, file.get_tensor(f"state{name}")) for name, leaf in _named(training.state)]
        training.state = jax.tree.unflatten(jax.tree.structure(training.state), leaves)
        training.step = header["step"]
        for index, (track, (_, episodes, last)) in enumerate(
            zip(training.tracks, header["tracks"], strict=True)
        ):
            _restore_track(file, f"track{index}", track, episodes, last)
    training.restored()


def restore_part(path: Path, shapes: tuple):
    """Actor and decomposer of a checkpoint: what using a trained run needs, without its replay.

    Args:
        path: the checkpoint.
        shapes: (actor, decomposer) as arrays or shapes; the decomposer may be None.
    """
    names = ("state.agent.actor", "state.decomposer")
    with _open(path) as file:
        return tuple(
            jax.tree.unflatten(
                jax.tree.structure(tree),
                [jnp.asarray(file.get_tensor(f"{prefix}{name}")) for name, _ in _named(tree)],
            )
            for prefix, tree in zip(names, shapes, strict=True)
        )


def _open(path: Path):
    try:
        return safe_open(path, framework="numpy")
    except FileNotFoundError as error:
        raise LareError(
            f"checkpoint: {path} does not exist; the run was stopped before its first checkpoint, so start it anew"
        ) from error
    except (SafetensorError, OSError) as error:
        raise LareError(f"checkpoint: {path} is damaged ({error}); start a new run") from error


def _named(tree):
    return [(jax.tree_util.keystr(path), leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(tree)]


def _written(replay: Replay) -> dict[str, int]:
    """Which replay arrays have rows that no seed has ever written, and how many rows have been."""
    rows = {"state.replay.row_of": int(np.max(replay.newest_transition))}
    if int(np.max(replay.oldest_episode)) == 0:
        rows |= {f"state.replay.{name}": int(np.max(replay.head)) for name in _ROWS}
    return rows


def _fill(leaf: jax.Array, saved: np.ndarray) -> jax.Array:
    whole = saved if leaf.shape == saved.shape else leaf.at[:, : saved.shape[1]].set(saved)
    return jax.device_put(whole, leaf.sharding)


def _restore_track(file, name: str, track: Track, episodes: int, last: float) -> None:
    actions = file.get_tensor(f"{name}.action")
    track.observation[: len(actions) + 1] = file.get_tensor(f"{name}.observation")
    track.monitor = file.get_tensor(f"{name}.monitor")
    track.episodes, track.training_return = episodes, last
    track.replay(actions)


def _same_config(saved: str, wanted: str) -> None:
    """Raise a LareError that names the first field in which two configurations (JSON) differ."""
    before, now = json.loads(saved), json.loads(wanted)
    for name in {**before, **now}:
        if before.get(name) != now.get(name):
            raise LareError(
                f"{name}: the run was trained with {before.get(name)!r}, and {now.get(name)!r} is asked for now; "
                "a resumed run keeps its configuration, so leave it as it was or start a new run with --out"
            )
