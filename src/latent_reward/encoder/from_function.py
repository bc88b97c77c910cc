"""An encoder from a function of your own, for people who trust their code: no source is checked, no process locked.

The function is compiled as a sealed encoder is, by :mod:`jax.export`. So it is saved with a run and read back without
the function, and it keeps to what a sealed program may do.
"""

import functools
import hashlib
import inspect
import textwrap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import export

from latent_reward.encoder import known
from latent_reward.encoder.card import ARGUMENTS, Card, Space
from latent_reward.encoder.encoder import Encoder
from latent_reward.encoder.rows import mapped_over_rows, rows_stay_apart
from latent_reward.encoder.screen import PLATFORMS
from latent_reward.errors import ANY_FAILURE, LareError
from latent_reward.files import printable

PROVENANCE = "a Python function"
_MAX_SOURCE = 1 << 16


@dataclass(frozen=True)
class FunctionEncoder:
    """A function and the names of its latents, before it is known how long observations and actions are.

    Give it as ``encoder=`` to :func:`latent_reward.train`, :class:`latent_reward.Credit` or
    :func:`latent_reward.assign`; they ``bind`` it.
    """

    function: Callable[..., Any]
    names: tuple[str, ...]

    def bind(self, space: Space, task: str = "", env_id: str = "") -> Encoder:
        """The encoder for observations and actions of these sizes; the same one whenever it is asked for.

        Raises:
            LareError: the function fails, gives another shape than ``(batch, len(names))``, mixes rows, or does what
                no sealed program may do.
        """
        return _bound(self.function, self.names, space, task, env_id)


def encoder_from_function(function: Callable[..., Any], names: Sequence[str]) -> FunctionEncoder:
    """An encoder from a JAX function, without a language model and without checks of its source.

    ``function(observation, action, next_observation)`` gets float32 arrays ``(batch, size)`` and returns
    ``(batch, len(names))``. Discrete actions come one-hot. A function of two arguments gets no next observation, and
    methods may then apply it before and after a step. Rows must not influence each other.

    >>> encoder_from_function(lambda o, a, after: after[:, :1] - o[:, :1], ["progress"]).names
    ('progress',)

    The function is compiled when it is first used with a task or with spaces, into the kind of program that sealed
    encoders are. Runs and credits that use it are saved with that program. It may close over arrays (up to 1 MiB). It
    can do arithmetic and nothing else: callbacks, random numbers, loops of JAX (`fori_loop`, `scan`, `while_loop`) and
    linear algebra by LAPACK are refused.

    Raises:
        LareError: it is not a function of two or three arguments, or a name is empty or given twice.
    """
    if not isinstance(names, Iterable):
        raise LareError(f"names: {names!r} must be texts, one for each latent")
    names = (names,) if isinstance(names, str) else tuple(names)
    if not callable(function):
        raise LareError(f"function: {function!r} cannot be called; give a JAX function")
    _arguments(function)
    if not names or not all(_is_name(name) for name in names):
        raise LareError(f"names: {names!r} must be texts, one for each latent")
    if len(set(names)) < len(names):
        raise LareError(f"names: {', '.join(names)} has a name twice; give each latent its own")
    return FunctionEncoder(function, names)


def _is_name(name: object) -> bool:
    """Whether a text can name a latent on a card."""
    return (
        isinstance(name, str)
        and 0 < len(name.strip()) <= 200
        and printable(name) == name
        and "\n" not in name
    )


def _arguments(function: Callable[..., Any]) -> tuple[str, ...]:
    """Which arguments the function takes: the first two or all three."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return ARGUMENTS
    kinds = [each.kind for each in parameters]
    needed = [each for each in parameters if each.default is each.empty and each.kind in (0, 1)]
    if inspect.Parameter.VAR_POSITIONAL in kinds or sum(kind in (0, 1) for kind in kinds) >= 3 >= len(needed):
        return ARGUMENTS
    if sum(kind in (0, 1) for kind in kinds) == 2:
        return ARGUMENTS[:2]
    raise LareError(
        "function: it must take (observation, action, next_observation), or (observation, action); change its arguments"
    )


@functools.lru_cache(maxsize=64)
def _bound(
    function: Callable[..., Any], names: tuple[str, ...], space: Space, task: str, env_id: str
) -> Encoder:
    arguments = _arguments(function)

    def latents(*rows):
        values = jnp.asarray(function(*rows[: len(arguments)]), jnp.float32)
        if values.shape != (rows[0].shape[0], len(names)):
            raise LareError(
                f"function: it returns the shape {values.shape}; ({rows[0].shape[0]}, {len(names)}) is expected, one "
                "row per step and one column per name"
            )
        return values

    sizes = (space.observation_size, space.action_size, space.observation_size)
    (batch,) = export.symbolic_shape("batch")
    shapes = [jax.ShapeDtypeStruct((batch, size), jnp.float32) for size in sizes]
    try:
        whole = jax.jit(latents)
        proved = rows_stay_apart(whole.trace(*shapes).jaxpr)
        by_row = whole if proved else jax.jit(mapped_over_rows(latents))
        exported = export.export(by_row, platforms=PLATFORMS)(*shapes)
    except LareError:
        raise
    except ANY_FAILURE as error:  # the user's own code may fail in any way
        reason = str(error).partition("\n")[0][:200]
        raise LareError(
            f"function: it cannot be compiled for any number of rows ({type(error).__name__}: {reason}); write it "
            f"with jax.numpy for arrays (batch, {sizes[0]}), (batch, {sizes[1]}) and (batch, {sizes[2]})"
        ) from error
    program, source = bytes(exported.serialize()), _source(function)
    known.remember(program)
    card = Card(
        task=task,
        env_id=env_id,
        space=space,
        latent_names=names,
        explanations=("",) * len(names),
        arguments=arguments,
        source_sha256=hashlib.sha256(source.encode()).hexdigest(),
        program_sha256=hashlib.sha256(program).hexdigest(),
        provenance=PROVENANCE,
        versions={"jax": jax.__version__},
    )
    try:
        encoder = Encoder(card, source, program)
    except LareError as error:
        reason = str(error).partition(";")[0]
        raise LareError(
            f"function: {reason}; only arithmetic can be saved with a run, so write it without"
        ) from None
    if not proved:
        _require_independent_rows(whole, encoder, sizes)
    return encoder


def _require_independent_rows(
    whole: Callable[..., jax.Array], encoder: Encoder, sizes: Sequence[int]
) -> None:
    """The encoder computes each row by itself, and must give what the function gives for the batch."""
    random = np.random.default_rng(0)
    rows = [random.normal(size=(4, size)).astype(np.float32) for size in sizes]
    if not np.allclose(whole(*rows), encoder.encode(*rows), rtol=1e-3, atol=1e-4, equal_nan=True):
        raise LareError(
            "function: what it gives for a row depends on the other rows; compute each row by itself (axis=-1)"
        )


def _source(function: Callable[..., Any]) -> str:
    try:
        text = textwrap.dedent(inspect.getsource(function))
    except (OSError, TypeError):
        text = ""
    return text if 0 < len(text) < _MAX_SOURCE else "# The source of this function is not available.\n"
