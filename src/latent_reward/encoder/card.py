"""An encoder's card: where it came from, what it takes and gives, and which checks it passed."""

import dataclasses
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from latent_reward.errors import LareError

FORMAT = 1


@dataclass(frozen=True)
class Space:
    """Sizes and bounds of a task's observations and actions; a bound may be infinite."""

    observation_size: int
    action_size: int
    observation_low: tuple[float, ...]
    observation_high: tuple[float, ...]
    action_low: tuple[float, ...]
    action_high: tuple[float, ...]

    @staticmethod
    def of(task: Any) -> "Space":
        """Reads the space of a task, or of anything with the same attribute names."""

        def bounds(name: str, size: int, missing: float) -> tuple[float, ...]:
            given = getattr(task, name, None)
            return (missing,) * size if given is None else tuple(float(value) for value in given)

        observation_size, action_size = int(task.observation_size), int(task.action_size)
        space = Space(
            observation_size,
            action_size,
            bounds("observation_low", observation_size, -math.inf),
            bounds("observation_high", observation_size, math.inf),
            bounds("action_low", action_size, -math.inf),
            bounds("action_high", action_size, math.inf),
        )
        for name, size in (("observation", observation_size), ("action", action_size)):
            for side in ("low", "high"):
                count = len(getattr(space, f"{name}_{side}"))
                if count != size:
                    raise LareError(f"{name}_{side} has {count} values for {size} fields; give one per field")
        return space

    @staticmethod
    def unbounded(observation_size: int, action_size: int) -> "Space":
        """A space of which only the sizes are known."""
        low, high = -math.inf, math.inf
        return Space(observation_size, action_size, (low,) * observation_size, (high,) * observation_size,
                     (low,) * action_size, (high,) * action_size)  # fmt: skip


@dataclass(frozen=True)
class Orders:
    """Where a source finds its columns: its column k is column ``observation[k]`` of the task's observation.

    The same for ``action``. An encoder that was designed on shuffled fields has them; for every other one
    the columns are the task's own.
    """

    observation: tuple[int, ...]
    action: tuple[int, ...]

    def shuffle(self, space: Space) -> Space:
        """The space that the source was written for, from the space of the task."""
        return Space(
            space.observation_size,
            space.action_size,
            tuple(space.observation_low[index] for index in self.observation),
            tuple(space.observation_high[index] for index in self.observation),
            tuple(space.action_low[index] for index in self.action),
            tuple(space.action_high[index] for index in self.action),
        )


@dataclass(frozen=True)
class Card:
    """Where an encoder came from, what it takes and gives, and which checks it passed.

    ``explanations`` has one text per latent, which may be empty. ``arguments`` are the parameters of the
    source's function. ``draw`` numbers the reply of a language model, if one wrote it; ``goal`` names the
    wording of the task that it read. ``checks`` are pairs of name and detail. ``versions`` are those of
    Python, JAX and this package.

    Of an encoder that was designed in a dialogue: ``model`` is the language model's name, ``protocol`` the
    settings of the dialogue, ``usage`` what it cost (tokens, money), ``score`` the figures by which it was
    chosen, ``hygiene`` the warnings about a text that gives the reward away, ``orders`` the shuffle of an
    anonymous task. What the dictionaries hold is for the reader; it must be JSON.
    """

    task: str
    env_id: str
    space: Space
    latent_names: tuple[str, ...]
    explanations: tuple[str, ...]
    arguments: tuple[str, ...]
    source_sha256: str
    program_sha256: str
    provenance: str = ""
    draw: int | None = None
    goal: str = ""
    created: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    checks: tuple[tuple[str, str], ...] = ()
    warnings: tuple[str, ...] = ()
    model: str = ""
    protocol: dict[str, Any] = field(default_factory=dict)
    usage: dict[str, Any] = field(default_factory=dict)
    score: dict[str, Any] = field(default_factory=dict)
    hygiene: tuple[str, ...] = ()
    orders: Orders | None = None

    @property
    def anonymous(self) -> bool:
        """Whether the source was written for shuffled fields under neutral names."""
        return self.orders is not None

    @property
    def observation_size(self) -> int:
        """Fields of one observation."""
        return self.space.observation_size

    @property
    def action_size(self) -> int:
        """Fields of one action."""
        return self.space.action_size


def to_json(card: Card) -> str:
    """The card as text. JSON has no infinity: an infinite bound is null, and so is a list of nothing else."""
    fields = dataclasses.asdict(card)
    fields["space"] = {name: _finite(value) for name, value in fields["space"].items()}
    return json.dumps({"format": FORMAT, **fields}, indent=2) + "\n"


def _finite(value: int | tuple[float, ...]) -> int | list[float | None] | None:
    if isinstance(value, int):
        return value
    finite = [bound if math.isfinite(bound) else None for bound in value]
    return finite if any(bound is not None for bound in finite) else None


def from_json(text: bytes, path: Path) -> Card:
    """Reads a card; ``path`` is only named in errors.

    Raises:
        LareError: the text is no card, or of a newer format.
    """
    try:
        fields = json.loads(text)
        if fields.pop("format") != FORMAT:
            raise LareError(f"{path} has a format that this version does not know; update latent-reward")
        space = fields["space"]
        for name in ("observation_low", "observation_high", "action_low", "action_high"):
            missing = -math.inf if name.endswith("low") else math.inf
            size = int(space["observation_size" if name.startswith("observation") else "action_size"])
            values = [None] * size if space[name] is None else space[name]
            space[name] = tuple(missing if value is None else float(value) for value in values)
        fields["space"] = Space(**space)
        for name in ("latent_names", "explanations", "arguments", "warnings", "hygiene"):
            fields[name] = tuple(map(str, fields.get(name, ())))
        for name in ("protocol", "usage", "score"):
            fields[name] = dict(fields.get(name, {}))
        if fields.get("orders") is not None:
            shuffled = {name: tuple(map(int, order)) for name, order in fields["orders"].items()}
            fields["orders"] = Orders(**shuffled)
        fields["checks"] = tuple((str(name), str(detail)) for name, detail in fields["checks"])
        return Card(**fields)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise LareError(
            f"{path} is no encoder's card ({type(error).__name__}: {error}); restore it"
        ) from None
