"""The device that everything learns on: JAX's default, which is chosen with JAX's own settings."""

from typing import Any

import jax
import jax.numpy as jnp


def commit(arrays: Any) -> Any:
    """``arrays`` bound to the default device, so that every later state is there and nothing compiles twice.

    The default is that of ``JAX_PLATFORMS``, ``JAX_DEFAULT_DEVICE`` and ``jax.default_device`` when this is called.
    """
    with jax.ensure_compile_time_eval():  # also where a state is traced for its shapes only
        (device,) = jnp.zeros(()).devices()
    return jax.device_put(arrays, device)
