"""Action spaces: one of several choices, or a vector inside a box."""

from dataclasses import dataclass

import jax
import numpy as np
from jaxtyping import Array, Float, Num


@dataclass(frozen=True)
class Discrete:
    """One of ``size`` choices, numbered from 0. As numbers, an action is 1 for the chosen one and 0 elsewhere."""

    size: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Axes of one stored action."""
        return ()

    @property
    def dtype(self) -> type:
        """In what one action is stored."""
        return np.int32

    def as_numbers(self, action: Num[Array, "*batch"]) -> Float[Array, "*batch action"]:
        """The action as an encoder reads it."""
        return jax.nn.one_hot(action, self.size)


@dataclass(frozen=True)
class Continuous:
    """A vector with ``low[i] <= action[i] <= high[i]``; every bound is finite."""

    low: tuple[float, ...]
    high: tuple[float, ...]

    @property
    def size(self) -> int:
        """Numbers per action."""
        return len(self.low)

    @property
    def shape(self) -> tuple[int, ...]:
        """Axes of one stored action."""
        return (self.size,)

    @property
    def dtype(self) -> type:
        """In what one action is stored."""
        return np.float32

    def as_numbers(self, action: Float[Array, "*batch action"]) -> Float[Array, "*batch action"]:
        """The action as an encoder reads it: itself."""
        return action


ActionSpace = Discrete | Continuous
