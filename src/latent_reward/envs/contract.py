"""What an environment has to give, and a line for everything that it gives otherwise.

The functions here are called when something looks wrong, or by ``lare check`` for every result. They compare one result
of ``reset`` or ``step`` with PettingZoo's parallel interface and say every breach with its remedy.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from latent_reward.errors import ANY_FAILURE, named

MASK, OBSERVATION = "action_mask", "observation"
LARGEST = float(np.finfo(np.float32).max)
_RESET = "return (observations, infos) from reset"
_STEP = "return (observations, rewards, terminations, truncations, infos) from step"
_PARTS = ("observations", "rewards", "terminations", "truncations", "infos")


class Breach(NamedTuple):
    """One breach of the interface: the part of the result, what is wrong with it, and the remedy."""

    part: str
    message: str
    remedy: str


class Refused(Exception):  # noqa: N818
    """A breach that is found where the rest of the result cannot be read."""

    def __init__(self, breach: Breach):
        """Keep the breach."""
        super().__init__(breach.message)
        self.breach = breach


def raised(error: BaseException, call: str) -> Breach:
    """An error that ``reset`` or ``step`` raised."""
    text, remedy = named(error), "fix the environment"
    if "unpack" in text:
        remedy = f"{_RESET}, of Gymnasium (observation, info)"
        if call == "step":
            remedy = f"{_STEP}, of Gymnasium (observation, reward, terminated, truncated, info)"
    elif isinstance(error, TypeError) and "argument 'seed'" in text:
        remedy = "let reset take seed=None and options=None"
    return Breach("env", f"raised {text}" if call == "step" else f"raised {text} in {call}", remedy)


def form_breach(result: Any, call: str, parts: int = 0) -> Breach | None:
    """A result that is no tuple of as many mappings as ``reset`` (2) or ``step`` (5) must give."""
    count, remedy = (2, _RESET) if call == "reset" else (5, _STEP)
    if not isinstance(result, tuple | list) or len(result) != count:
        shown = f"{len(result)} values" if isinstance(result, tuple | list) else f"a {type(result).__name__}"
        return Breach(call, f"gave {shown} where {count} are due", remedy)
    names = ("observations", "infos") if call == "reset" else _PARTS
    for name, each in zip(names, result, strict=True):
        if not isinstance(each, Mapping) and name != "infos":
            message = f"gave a {type(each).__name__} as {name} where a mapping from agents is due"
            return Breach(call, message, remedy)
    return None


def observation_breach(values: Mapping, agent: Any, size: int) -> Breach | None:
    """An observation that is missing or is not a vector of ``size`` finite numbers; a mask may lie beside it."""
    remedy = "correct the environment"
    if agent not in values:
        return Breach(
            OBSERVATION, f"gave None to {agent}", f"{remedy}: every agent that is there needs an observation"
        )
    value = values[agent]
    if isinstance(value, Mapping):
        if OBSERVATION not in value:
            message = f"gave {agent} a mapping with {', '.join(map(str, value)) or 'nothing in it'}"
            return Breach(OBSERVATION, message, f"name its parts {OBSERVATION!r} and {MASK!r}")
        value = value[OBSERVATION]
    try:
        array = np.asarray(value)
        with np.errstate(over="ignore"):
            stored = array.astype(np.float32) if array.dtype.kind in "biuf" else None
    except ANY_FAILURE:  # whatever is no array
        array, stored = np.zeros(0), None
    if stored is None:
        return Breach(
            OBSERVATION, f"gave {shown(value)} to {agent}", f"{remedy}: an observation has finite numbers"
        )
    if array.shape != (size,):
        message = f"gave {agent} an observation of shape {array.shape} where its space says ({size},)"
        return Breach(OBSERVATION, message, "return observations of the shape that the space declares")
    if not np.isfinite(stored).all():
        return Breach(
            OBSERVATION,
            f"gave {shown(value)} to {agent}",
            f"every number that an agent sees must be finite, so {remedy}",
        )
    return None


def reward_breach(values: Mapping, agent: Any) -> Breach | None:
    """A reward that is missing or is not one finite number."""
    value = values.get(agent)
    try:
        number_of(value)
    except (Refused, TypeError, ValueError):
        return Breach(
            "reward",
            f"gave {shown(value)} to {agent}",
            "every reward of an agent that is there must be a finite number, so correct the environment",
        )
    return None


def number_of(value: Any) -> float:
    """A reward as a number; an array of one number is one.

    Raises:
        Refused: it is not one finite number.
    """
    if not isinstance(value, int | float):
        try:
            array = np.asarray(value)
            value = float(array.item()) if array.size == 1 and array.dtype.kind in "biuf" else np.nan
        except ANY_FAILURE:  # whatever cannot be turned into a number
            value = np.nan
    if not -LARGEST <= value <= LARGEST:
        raise Refused(Breach("reward", "", ""))
    return float(value)


def mask_breach(mask: Any, agent: Any, count: int | None) -> Breach | None:
    """An action mask that is not ``count`` zeros and ones, or allows nothing; ``count`` None: masks cannot be used."""
    if count is None:
        message = f"gave {agent} an action mask, and its actions are continuous"
        return Breach(MASK, message, "leave the mask out, or make the actions discrete")
    try:
        array = np.asarray(mask)
        fits = array.shape == (count,) and bool(np.isin(array, (0, 1)).all())
    except ANY_FAILURE:  # whatever is no array
        fits, array = False, np.zeros(1)
    if not fits:
        message = f"gave {agent} the mask {shown(mask)}"
        return Breach(MASK, message, f"a mask has {count} zeros or ones, one for each action")
    if not array.any():
        message = f"gave {agent} a mask that allows no action"
        return Breach(MASK, message, "allow at least one action, such as one that does nothing")
    return None


def end_breach(ends: tuple[Mapping, Mapping], agent: Any, left: bool) -> Breach | None:
    """Flags that are no truth values, or an agent that stays although it terminated or was truncated."""
    words = []
    for word, flags in zip(("terminated", "truncated"), ends, strict=True):
        try:
            words += [word] if bool(flags.get(agent, False)) else []
        except ANY_FAILURE:  # an array of several, or worse
            return Breach(word, f"gave {agent} {shown(flags.get(agent))}", "give one truth value")
    if words and left:
        message = f"lists {agent} in its agents after it {' and '.join(words)}"
        if words[0] == "truncated":
            message = f"lists {agent} in its agents after it was truncated"
        return Breach("agents", message, "remove an agent from `agents` in the step that ends it")
    return None


def absent_breaches(result: tuple, there: list, left: list) -> Iterator[Breach]:
    """Results that are missing for agents that acted, or that go to agents that neither acted nor came."""
    for name, values in zip(_PARTS, result, strict=True):
        if not isinstance(values, Mapping):
            yield Breach("infos", f"gave a {type(values).__name__} as {name}", "give a mapping from agents")
            continue
        missing = [agent for agent in there if agent not in values]
        if missing:
            message = f"left {', '.join(map(str, missing))} out of the {name}"
            yield Breach(name, message, "give every agent that acted all five results")
        gone = [agent for agent in values if agent not in there and agent not in left]
        if gone:
            message = f"gave {name} to {', '.join(map(str, gone))}, which did not act"
            yield Breach(name, message, "give results only to agents that acted or just came")


def shown(value: Any) -> str:
    """A value on one line of at most 80 characters."""
    try:
        text = " ".join(repr(value).split())
    except ANY_FAILURE:  # a stranger's object may fail in any way
        text = f"a {type(value).__name__}"
    return text if len(text) <= 80 else f"{text[:77]}…"
