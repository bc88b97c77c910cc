"""The cache of compiled programs: only the first start on a machine waits for the compiler."""

import os
import stat
import warnings
from pathlib import Path
from typing import Any

import jax
from platformdirs import user_cache_path

SWITCH = "LARE_COMPILATION_CACHE"
_MOST_BYTES = 1 << 30


def use_compilation_cache() -> Path | None:
    """Let JAX keep compiled programs in the user's cache folder; returns the folder, or None if it is off.

    A folder chosen for JAX itself (``JAX_COMPILATION_CACHE_DIR``) is left as it is. ``LARE_COMPILATION_CACHE=off``
    turns the cache off, and any other value is the folder. Programs in it are run when they are found again. The folder
    is therefore readable by its owner alone, and one that others can write to is not used.
    """
    chosen = os.environ.get(SWITCH, "")
    config: Any = jax.config  # its options have no stubs
    if config.jax_compilation_cache_dir is not None or chosen == "off":
        return None
    folder = Path(chosen) if chosen else user_cache_path("latent-reward") / "compiled"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        found = folder.stat()
    except OSError:
        return None  # a home that cannot be written to only costs time
    if hasattr(os, "getuid") and (
        found.st_uid != os.getuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    ):
        return None
    config.update("jax_compilation_cache_dir", str(folder))
    config.update("jax_compilation_cache_max_size", _MOST_BYTES)
    config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    # Where many processes wait for the cache's lock, one that gives up compiles for itself.
    warnings.filterwarnings("ignore", r"Error (reading|writing) persistent compilation cache entry")
    return folder
