"""An encoder's card: where it came from, what it takes and gives, and which checks it passed."""

import dataclasses
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pydantic

from latent_reward import files
from latent_reward.errors import LareError, one_line

CARD = "card.json"
FORMAT = 1
ARGUMENTS = ("observation", "action", "next_observation")  # which a source may take


@pydantic.with_config(pydantic.ConfigDict(extra="forbid"))
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
        """Reads the space of a task, or of anything with the same attribute names; LareError if bounds are missing."""
        sizes, bounds = (int(task.observation_size), int(task.action_size)), {}
        for kind, size in zip(("observation", "action"), sizes, strict=True):
            for name, missing in ((f"{kind}_low", -math.inf), (f"{kind}_high", math.inf)):
                given = getattr(task, name, None)
                bounds[name] = (missing,) * size if given is None else tuple(map(float, given))
                if len(bounds[name]) != size:
                    count = len(bounds[name])
                    raise LareError(f"{name} has {count} values for {size} fields; give one per field")
        return Space(*sizes, **bounds)

    @staticmethod
    def unbounded(observation_size: int, action_size: int) -> "Space":
        """A space of which only the sizes are known."""
        every = [
            (bound,) * size for size in (observation_size, action_size) for bound in (-math.inf, math.inf)
        ]
        return Space(observation_size, action_size, *every)


@pydantic.with_config(pydantic.ConfigDict(extra="forbid"))
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
        bounds = {
            f"{kind}_{side}": tuple(getattr(space, f"{kind}_{side}")[index] for index in order)
            for kind, order in (("observation", self.observation), ("action", self.action))
            for side in ("low", "high")
        }
        return dataclasses.replace(space, **bounds)


@pydantic.with_config(pydantic.ConfigDict(extra="forbid"))
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
    """The card as text. JSON has no infinity: an infinite bound is null, and so are bounds of nothing else."""
    fields = dataclasses.asdict(card)
    for name, value in fields["space"].items():
        if isinstance(value, tuple) and not any(map(math.isfinite, value)):
            fields["space"][name] = None
    return files.to_json({"format": FORMAT, **fields}, indent=2) + "\n"


def from_json(text: bytes, path: Path) -> Card:
    """Reads a card; ``path`` is only named in errors: LareError if the text is not a card, or of a newer format."""
    try:
        fields = json.loads(text)
        if fields.pop("format") != FORMAT:
            raise LareError(f"{path} has a format that this version does not know; update latent-reward")
        space = fields["space"]
        for kind in ("observation", "action"):
            for name, missing in ((f"{kind}_low", -math.inf), (f"{kind}_high", math.inf)):
                values = [None] * space[f"{kind}_size"] if space[name] is None else space[name]
                space[name] = [missing if value is None else value for value in values]
        return pydantic.TypeAdapter(Card).validate_python(fields)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        reason = f"{type(error).__name__}: {one_line(error)}"
        raise LareError(f"{path} is not the card of an encoder ({reason}); restore it") from None
