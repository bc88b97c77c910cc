"""Checkpoints, from which training continues with the same numbers: safetensors, no pickle, replaced atomically.

Arrays are named by their path in a tree, such as the learner's state. Counters and the configuration are in the
metadata of the file. Whoever saves decides which arrays and counters.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from latent_reward.errors import LareError, shown
from latent_reward.files import replacing, to_json
from latent_reward.reading import parse_json, validated

FORMAT = 3


class Stored(NamedTuple):
    """An open checkpoint: counters, arrays by name, configuration as JSON, path, and what to do if it is damaged."""

    header: dict[str, Any]
    array: Callable[[str], np.ndarray]
    config: str
    path: Path
    remedy: str

    def value(self, name: str, schema: Any) -> Any:
        """One of the counters, as a value of ``schema``; LareError if it is missing or does not fit."""
        if name not in self.header:
            raise LareError(f"checkpoint: {self.path} is damaged ({name} is missing); {self.remedy}")
        return validated(
            schema, self.header[name], f"checkpoint: {self.path} is damaged: {name}", self.remedy
        )


def write(path: Path, arrays: Mapping[str, np.ndarray], header: Mapping[str, Any], config: str) -> None:
    """Write arrays and counters, tagged with the configuration as JSON.

    Raises:
        LareError: the disk is full or the folder cannot be written; an older checkpoint stays intact.
    """
    metadata = {"header": to_json({"format": FORMAT, **header}), "config": config}
    try:
        with replacing(path) as draft:
            save_file({name: np.asarray(each, order="C") for name, each in arrays.items()}, draft, metadata)
    except (OSError, SafetensorError) as error:
        raise LareError(
            f"checkpoint: cannot write {path}: {error}; free space or make the folder writable, "
            "then resume from the last checkpoint"
        ) from error


def read(path: Path, config: str | None = None, remedy: str = "start a new run") -> Stored:
    """Open a checkpoint; arrays are read on demand.

    Raises:
        LareError: the file is missing, damaged, of another format, or belongs to another configuration.
    """
    try:
        if path.exists() and not path.is_file():
            raise OSError("it is no file")
        file = safe_open(path, framework="numpy")
        metadata = file.metadata() or {}
    except FileNotFoundError as error:
        raise LareError(
            f"checkpoint: {path} does not exist; the run stopped before its first checkpoint, so remove its folder and "
            "start it again"
        ) from error
    except (SafetensorError, OSError, ValueError) as error:
        raise LareError(f"checkpoint: {path} is damaged ({error}); {remedy}") from error
    what, stored_config = f"checkpoint: {path} is damaged", metadata.get("config", "")
    header = parse_json(metadata.get("header", "null"), f"{what}: counters", remedy)
    if not isinstance(header, dict) or "format" not in header:
        raise LareError(f"{what} (it has no counters of a checkpoint); {remedy}")
    version = header["format"]
    if version != FORMAT:
        raise LareError(
            f"checkpoint: {path} was written by another version of latent-reward (format {shown(version)}, this one "
            f"reads {FORMAT}); {remedy}"
        )
    if config is not None:
        _same_config(parse_json(stored_config, f"{what}: configuration", remedy), json.loads(config))

    def array(name: str) -> np.ndarray:
        try:
            return file.get_tensor(name)
        except Exception as error:  # of a type that NumPy has not, for instance
            raise LareError(f"checkpoint: {path} is damaged ({name}: {error}); {remedy}") from error

    return Stored(header, array, stored_config, path, remedy)


def named(tree: Any, prefix: str) -> dict[str, np.ndarray]:
    """The leaves of a tree by their path in it."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {prefix + jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves}


def arrays(tree: Any, prefix: str, stored: Stored) -> Any:
    """A tree of the same structure, whose leaves are the arrays of a checkpoint as they were saved."""
    paths = jax.tree_util.tree_leaves_with_path(tree)
    found = [stored.array(prefix + jax.tree_util.keystr(path)) for path, _ in paths]
    return jax.tree.unflatten(jax.tree.structure(tree), found)


def restored(tree: Any, prefix: str, stored: Stored) -> Any:
    """``tree`` (arrays or shapes) with the leaves of a checkpoint; rows that were not saved keep their values.

    Raises:
        LareError: an array is missing, its shape or type is not that of the leaf, or a number in it is not finite.
    """
    leaves, structure = jax.tree_util.tree_flatten_with_path(tree)
    found = []
    for path, leaf in leaves:
        name = prefix + jax.tree_util.keystr(path)
        saved = stored.array(name)
        if not _fits(leaf, saved):
            raise LareError(
                f"checkpoint: {stored.path} is damaged ({name} is {saved.dtype} {saved.shape}, not {leaf.dtype} "
                f"{leaf.shape}); {stored.remedy}"
            )
        if np.issubdtype(saved.dtype, np.floating) and not np.isfinite(saved).all():
            raise LareError(
                f"checkpoint: {stored.path} is damaged ({name} has a number that is not finite); {stored.remedy}"
            )
        found.append(_fill(leaf, saved))
    return jax.tree.unflatten(structure, found)


def _fits(leaf: jax.Array | jax.ShapeDtypeStruct, saved: np.ndarray) -> bool:
    """Whether the saved array is of the leaf's type and shape; of an array it may be fewer rows (axis 1)."""
    if saved.dtype != leaf.dtype or saved.ndim != leaf.ndim:
        return False
    if saved.shape == leaf.shape:
        return True
    rows = isinstance(leaf, jax.Array) and leaf.ndim > 1 and saved.shape[1] <= leaf.shape[1]
    return rows and (saved.shape[0], *saved.shape[2:]) == (leaf.shape[0], *leaf.shape[2:])


def _fill(leaf: jax.Array | jax.ShapeDtypeStruct, saved: np.ndarray) -> jax.Array:
    if not isinstance(leaf, jax.Array):
        return jnp.asarray(saved)
    whole = saved if leaf.shape == saved.shape else leaf.at[:, : saved.shape[1]].set(saved)
    return jax.device_put(whole, leaf.sharding)


def _same_config(saved: Any, wanted: Any, name: str = "") -> None:
    """Raise a LareError that names the first field in which two configurations differ."""
    if isinstance(saved, dict) and isinstance(wanted, dict):
        for key in {**saved, **wanted}:
            _same_config(saved.get(key), wanted.get(key), f"{name}.{key}" if name else key)
    elif saved != wanted:
        raise LareError(
            f"{name}: the run was trained with {saved!r}, not with {wanted!r}; "
            "a resumed run keeps its configuration, so leave it as it was or start a new run with --out"
        )
