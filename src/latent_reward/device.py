"""The device that everything learns on: JAX's default, which is chosen with JAX's own settings."""

import os
from typing import Any

import jax
import jax.numpy as jnp

from latent_reward.errors import LareError


def commit(arrays: Any) -> Any:
    """``arrays`` bound to the default device, so that every later state is there and nothing compiles twice.

    The default is that of ``JAX_PLATFORMS``, ``JAX_DEFAULT_DEVICE`` and ``jax.default_device`` when this is called.
    """
    with jax.ensure_compile_time_eval():  # also where a state is traced for its shapes only
        (device,) = jnp.zeros(()).devices()
    return jax.device_put(arrays, device)


def bytes_of(shapes: Any) -> int:
    """What the arrays of a tree take, of which only shapes and types need be known."""
    return sum(leaf.size * getattr(leaf.dtype, "itemsize", 8) for leaf in jax.tree.leaves(shapes))


def require_memory(wanted: int, setting: str, remedy: str) -> None:
    """Raise if this machine has not so many bytes of memory: the system would end the program without a word.

    Raises:
        LareError: ``setting`` with both numbers and the remedy.
    """
    have = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 1 << 40
    if wanted > min(have, 1 << 44):
        raise LareError(
            f"{setting}: storing the steps would take {wanted / 2**30:,.0f} GiB, and this machine has "
            f"{have / 2**30:,.0f}; {remedy}"
        )
