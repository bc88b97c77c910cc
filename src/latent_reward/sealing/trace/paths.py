"""Follow a source along every path that its conditions allow, for one row.

A program that asks ``if x[i] > 0`` takes one of two ways, and which one depends on a row. Traced with a single
row, it is run once for each way: a question is answered from a list of answers, and after each run the last
answer that was yes becomes no. ``where`` then joins the results.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from latent_reward.sealing.trace.arrays import decide

MAX_PATHS = 64


def every_path(run: Callable[[], Any]) -> Any:
    """The value of ``run()``, an array, whichever way its questions are answered.

    Raises:
        ValueError: there are more than ``MAX_PATHS`` ways.
    """
    results: list[tuple[list[bool], list[Any], Any]] = []
    given: list[bool] = []
    while True:
        asked: list[Any] = []

        def answer(condition: Any, asked: list = asked, given: list = given) -> bool:
            if len(asked) == MAX_PATHS:
                raise ValueError(_TOO_MANY)
            if len(asked) == len(given):
                given.append(True)
            asked.append(condition)
            return given[len(asked) - 1]

        token = decide.set(answer)
        try:
            results.append((given, asked, run()))
        finally:
            decide.reset(token)
        if len(results) > MAX_PATHS:
            raise ValueError(_TOO_MANY)
        if True not in given:
            return _joined(results, 0)
        last_yes = max(place for place, yes in enumerate(given) if yes)
        given = [*given[:last_yes], False]


_TOO_MANY = (
    f"conditions on the arrays allow more than {MAX_PATHS} ways through the program; "
    "write np.where(condition, a, b)"
)


def _joined(results: list, level: int) -> jax.Array:
    """One value out of those of all paths that agree in their first ``level`` answers."""
    given, asked, value = results[0]
    if len(given) == level:
        return value
    yes = [each for each in results if each[0][level]]
    no = [each for each in results if not each[0][level]]
    return jnp.where(asked[level], _joined(yes, level + 1), _joined(no, level + 1))
