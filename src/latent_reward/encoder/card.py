"""An encoder's card: where it came from, what it takes and gives, and which checks it passed."""

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic

from latent_reward import files
from latent_reward.encoder.selection import ALL_LATENTS, MOST_JUNK, Selection
from latent_reward.errors import LareError
from latent_reward.reading import Count, NoControls, PathName, Printable, parse_json, validated

CARD = "card.json"
FORMAT = 1
ARGUMENTS = ("observation", "action", "next_observation")  # which a source may take


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


@dataclass(frozen=True)
class Card:
    """Where an encoder came from, what it takes and gives, and which checks it passed.

    ``latent_names`` are those of the source; ``selection`` says which of them are used.
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
    selection: Selection = ALL_LATENTS

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
    """The card as text. JSON has no infinity: an infinite bound is null, and so are bounds of nothing else.

    Characters of texts that cannot be printed, such as a model may write, are replaced.
    """
    fields = dataclasses.asdict(card)
    for name, value in fields["space"].items():
        if isinstance(value, tuple) and not any(map(math.isfinite, value)):
            fields["space"][name] = None
    return files.to_json(_printable({"format": FORMAT, **fields}), indent=2) + "\n"


def from_json(text: bytes, path: Path) -> Card:
    """Reads a card; ``path`` is only named in errors.

    Raises:
        LareError: the text is not a card, something in it is missing, not known or not possible, or it is of a newer
            format.
    """
    what, remedy = f"{path} is not the card of an encoder", "restore it"
    data = parse_json(text, what, remedy)
    if isinstance(data, dict) and type(data.get("format")) is int and data["format"] != FORMAT:
        raise LareError(f"{path} has a format that this version does not know; update latent-reward")
    stored = validated(_Stored, data, what, remedy)
    if problem := next(_problems(stored), None):
        raise LareError(f"{what}: {problem}; {remedy}")
    space = stored.space
    sizes, bounds = (space.observation_size, space.action_size), {}
    for kind, size in zip(("observation", "action"), sizes, strict=True):
        for name, missing in ((f"{kind}_low", -math.inf), (f"{kind}_high", math.inf)):
            values = getattr(space, name) or (None,) * size
            bounds[name] = tuple(missing if value is None else value for value in values)
    fields = {name: getattr(stored, name) for name in type(stored).model_fields}
    del fields["format"]
    orders = None if stored.orders is None else Orders(stored.orders.observation, stored.orders.action)
    score = stored.score.model_dump(exclude_unset=True)
    chosen = Selection(**stored.selection.model_dump())
    return Card(
        **fields | {"space": Space(*sizes, **bounds), "orders": orders, "score": score, "selection": chosen}
    )


# ---------------------------------------------------------------- the schema of the file

_Size = Annotated[int, pydantic.Field(ge=0, le=1 << 20)]
_Bounds = tuple[pydantic.FiniteFloat | None, ...] | None
_Hash = Annotated[str, pydantic.StringConstraints(pattern=r"^[0-9a-f]{64}$")]
_Line = Annotated[str, pydantic.StringConstraints(max_length=200), NoControls]
_Data = dict[Printable, pydantic.JsonValue]


class _Model(pydantic.BaseModel, extra="forbid", strict=True):
    """Nothing is converted, and nothing else may be there."""


class _StoredSpace(_Model):
    observation_size: Annotated[_Size, pydantic.Field(ge=1)]
    action_size: _Size
    observation_low: _Bounds
    observation_high: _Bounds
    action_low: _Bounds
    action_high: _Bounds


class _StoredOrders(_Model):
    observation: tuple[_Size, ...]
    action: tuple[_Size, ...]


class _StoredSelection(_Model):
    only: tuple[_Line, ...] = ()
    without: tuple[_Line, ...] = ()
    junk: Annotated[int, pydantic.Field(ge=0, le=MOST_JUNK)] = 0


class _StoredScore(pydantic.BaseModel, extra="allow", strict=True):
    """Figures for the reader, of which two are shown one by one."""

    __pydantic_extra__: dict[Printable, pydantic.JsonValue] = pydantic.Field(init=False)  # pyright: ignore
    latents: list[_Data] = []
    warnings: list[Printable] = []


class _Stored(_Model):
    format: int
    task: PathName | Literal[""]
    env_id: _Line
    space: _StoredSpace
    latent_names: Annotated[tuple[_Line, ...], pydantic.Field(min_length=1, max_length=1 << 12)]
    explanations: tuple[Printable, ...]
    arguments: Annotated[
        tuple[Literal["observation", "action", "next_observation"], ...], pydantic.Field(max_length=3)
    ]
    source_sha256: _Hash
    program_sha256: _Hash
    provenance: Printable = ""
    draw: Count | None = None
    goal: _Line = ""
    created: _Line = ""
    versions: dict[_Line, _Line] = {}
    checks: tuple[tuple[Printable, Printable], ...] = ()
    warnings: tuple[Printable, ...] = ()
    model: _Line = ""
    protocol: _Data = {}
    usage: _Data = {}
    score: _StoredScore = _StoredScore()
    hygiene: tuple[Printable, ...] = ()
    orders: _StoredOrders | None = None
    selection: _StoredSelection = _StoredSelection()


def _problems(stored: _Stored) -> Iterator[str]:
    """What fits the schema and is wrong all the same."""
    names = stored.latent_names
    if len(set(names)) < len(names):
        yield f"two latents are called {max(names, key=names.count)!r}"
    yield from (f"a latent is called {each!r}" for each in names if not each.strip() or "\n" in each)
    chosen = Selection(**stored.selection.model_dump())
    used = chosen.names(names)
    if not {*chosen.only, *chosen.without} <= set(names) or not used or len(set(used)) < len(used):
        yield "its selection does not fit its latents"
    if len(stored.explanations) != len(names):
        yield f"it has {len(stored.explanations)} explanations of {len(names)} latents"
    if any(not isinstance(each.get("name"), str) for each in stored.score.latents):
        yield "score.latents has one without a name"
    if len(set(stored.arguments)) < len(stored.arguments):
        yield "an argument is there twice"
    for kind in ("observation", "action"):
        size = getattr(stored.space, f"{kind}_size")
        low, high = (getattr(stored.space, f"{kind}_{side}") for side in ("low", "high"))
        for side, bound in (("low", low), ("high", high)):
            if bound is not None and len(bound) != size:
                yield f"space.{kind}_{side} has {len(bound)} values for {size} fields"
        pairs = zip(low or (), high or (), strict=False)
        if any(None not in pair and pair[0] > pair[1] for pair in pairs):
            yield f"space.{kind}_low is above space.{kind}_high"
        if stored.orders and sorted(getattr(stored.orders, kind)) != list(range(size)):
            yield f"orders.{kind} is not a permutation of its columns"


def _printable(value: Any) -> Any:
    """Plain data whose texts hold nothing but what can be printed, line breaks and tabs."""
    if isinstance(value, str):
        return files.printable(value)
    if isinstance(value, dict):
        return {_printable(key): _printable(each) for key, each in value.items()}
    return [_printable(each) for each in value] if isinstance(value, list | tuple) else value
