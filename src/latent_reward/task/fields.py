"""Fields: what each index of an observation or action means, in words and numbers."""

from typing import Annotated, Literal

import numpy as np
import pydantic
from pydantic.dataclasses import dataclass

from latent_reward.reading import NoControls

Text = Annotated[str, pydantic.StringConstraints(min_length=1, strip_whitespace=True), NoControls]
Variant = Literal["plain", "paper"]
Part = Literal["observation", "action"]
VARIANTS: tuple[Variant, ...] = ("plain", "paper")
MOST = 1 << 20  # numbers in an observation
STRICT = pydantic.ConfigDict(strict=True, extra="forbid")


@dataclass(frozen=True, config=STRICT)
class Field:
    """The meaning of one index of an observation or action, or of a block of ``count`` indices from ``index`` on.

    ``low`` and ``high`` bound the values; they are ``None`` where no bound is known.
    """

    index: Annotated[int, pydantic.Field(ge=0, lt=MOST)]
    name: Text
    meaning: Text
    unit: Text = "-"
    low: pydantic.FiniteFloat | None = None
    high: pydantic.FiniteFloat | None = None
    count: Annotated[int, pydantic.Field(ge=1, le=MOST)] = 1

    @pydantic.model_validator(mode="after")
    def _ordered(self) -> "Field":
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"low {self.low:g} is above high {self.high:g}")
        return self

    @property
    def indices(self) -> range:
        """The indices this field describes."""
        return range(self.index, self.index + self.count)


def size(fields: tuple[Field, ...]) -> int:
    """Number of indices the fields describe."""
    return max((each.indices.stop for each in fields), default=0)


def bounds(fields: tuple[Field, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper bound of each index, float32, infinite where unknown."""
    low = np.full(size(fields), -np.inf, np.float32)
    high = np.full(size(fields), np.inf, np.float32)
    for each in fields:
        block = slice(each.indices.start, each.indices.stop)
        low[block] = -np.inf if each.low is None else each.low
        high[block] = np.inf if each.high is None else each.high
    return low, high
