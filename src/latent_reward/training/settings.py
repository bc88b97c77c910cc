"""Settings by name: an agent or a method with some of its hyper-parameters changed."""

import math
from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass
from numbers import Real
from sys import float_info
from typing import Any, TypeVar, cast

import pydantic

from latent_reward.agents.base import EpisodeAgent, ReplayAgent
from latent_reward.agents.registry import AGENTS, Agent, default_agent
from latent_reward.credit.methods import METHODS, Credit, Experience, Recipe, find_method
from latent_reward.data.feedback import EPISODE_RETURNS, Feedback
from latent_reward.errors import LareError, did_you_mean, shown

T = TypeVar("T")

_MOST = 1 << 20  # units of a layer, steps of an update: no setting of an agent or a method is larger

_CREDITS: Any = pydantic.TypeAdapter(Credit)


def choose_agent(agent: Any, default: Agent, *, alone: bool = False) -> Agent:
    """An agent, from itself, its kind (such as ``sac``), or what is different in it.

    A mapping changes the default agent, or with ``kind`` the agent of that kind with the settings that it has by
    default, ``alone`` or in a team.

    Raises:
        LareError: it is no agent, there is no such kind or hyper-parameter, or a value is of the wrong type.
    """
    if isinstance(agent, str):
        agent = {"kind": agent}
    if isinstance(agent, type) or not isinstance(agent, Mapping | ReplayAgent | EpisodeAgent):
        raise LareError(f"agent: {shown(agent)} is no agent; give one, its kind, or a mapping of settings")
    if not isinstance(agent, Mapping):
        require_sensible(agent, "agent")
        return cast(Agent, agent)
    kind = agent.get("kind", default.kind)
    if not isinstance(kind, str) or kind not in AGENTS:
        near = did_you_mean(str(kind), AGENTS)
        raise LareError(f"agent.kind: there is no {kind!r}{near}; choose from {', '.join(AGENTS)}")
    chosen = default if kind == default.kind else default_agent(kind, alone=alone)
    return changed(chosen, agent, "agent")


def choose_method(method: Recipe | str | Mapping[str, Any], experience: Experience) -> Recipe:
    """A method, from itself, its name, or its name with what is different in it.

    A mapping has the ``name`` (``lare`` by default) beside the changed settings. A name that is in no table is that of
    a method of your own; all of its settings are given then, with their ``kind``.

    Raises:
        LareError: there is no such method or setting, or a value is of the wrong type.
    """
    if not isinstance(method, Mapping):
        return find_method(method, experience)
    given = dict(method)
    name = given.pop("name", "lare")
    if not isinstance(name, str):
        raise LareError(f"method.name: {name!r} is no name; choose from {', '.join(METHODS)}")
    if name not in METHODS and "kind" in given:
        return Recipe(name, _validated(_CREDITS, given, "method"))
    found = find_method(name, experience)
    if given.get("kind", found.credit.kind) != found.credit.kind:
        return Recipe(name, _validated(_CREDITS, given, "method"))
    return Recipe(name, changed(found.credit, given, "method"))


def choose_feedback(feedback: Feedback | Mapping[str, Any] | None) -> Feedback:
    """What learners are told, from itself or from a mapping of what is different; None: the return of each episode.

    Raises:
        LareError: it is neither, there is no such setting, or a value is not possible.
    """
    if feedback is None or isinstance(feedback, Feedback):
        return feedback or EPISODE_RETURNS
    if not isinstance(feedback, Mapping):
        raise LareError(f"feedback: {shown(feedback)} is no mapping; give settings such as {{'every': 50}}")
    known = [each.name for each in fields(Feedback)]
    for name, value in feedback.items():
        if name not in known:
            near = did_you_mean(str(name), known)
            raise LareError(
                f"feedback.{name}: there is no such setting{near}; choose from {', '.join(known)}"
            )
        if isinstance(value, bool):
            raise LareError(f"feedback.{name}: {value} is not possible; give a number")
    return _validated(pydantic.TypeAdapter(Feedback), feedback, "feedback")


def changed(default: T, given: Mapping[str, Any], place: str) -> T:
    """``default``, a frozen dataclass, with other values for some of its fields.

    Args:
        default: what is changed.
        given: the new values by name; a list will do for a tuple.
        place: what is before the names in messages.

    Raises:
        LareError: a name does not exist, or a value is of the wrong type or not possible.
    """
    values = {each.name: getattr(default, each.name) for each in fields(cast(Any, default))}
    for name, value in given.items():
        if name not in values:
            known = [each for each in values if each != "kind"]
            raise LareError(
                f"{place}.{name}: there is no such setting{did_you_mean(str(name), known)}; choose from "
                f"{', '.join(known)}"
            )
        if isinstance(value, bool) and not isinstance(values[name], bool):
            raise LareError(
                f"{place}.{name}: {value} is not possible; give a value like {_shown(values[name])}"
            )
    found = _validated(pydantic.TypeAdapter(type(default)), {**asdict(cast(Any, default)), **given}, place)
    for name in given:
        if not _sensible(getattr(found, name), values[name]):
            shown = _shown(getattr(found, name))
            raise LareError(
                f"{place}.{name}: {shown} is not possible; give a value like {_shown(values[name])}"
            )
    return found


def require_sensible(settings: Any, place: str) -> None:
    """Raise if a number of a method or an agent is not finite, is negative, or is a count of nothing or of too much.

    Raises:
        LareError: naming the setting and its value.
    """
    if not is_dataclass(settings) or isinstance(settings, type):
        raise LareError(
            f"{place}: {shown(settings)} is no {place}; give one, its name, or a mapping of settings"
        )
    for each in fields(settings):
        value = getattr(settings, each.name)
        least, most = (1, _MOST) if each.type in (int, tuple[int, ...]) else (0, float_info.max)
        for number in value if isinstance(value, tuple) else (value,):
            if isinstance(number, Real) and not least <= float(number) <= most:
                raise LareError(
                    f"{place}.{each.name}: {shown(value)} is not possible; give a value like {_shown(each.default)}"
                )


def _sensible(value: Any, default: Any) -> bool:
    """Whether the numbers in a value are finite and not negative, and counts are at least 1."""
    numbers = [
        each
        for each in (value if isinstance(value, tuple) else (value,))
        if isinstance(each, int | float) and not isinstance(each, bool)
    ]
    return all(math.isfinite(each) and each >= (1 if _counts(default) else 0) for each in numbers)


def _counts(default: Any) -> bool:
    """Whether a default is a whole number, or whole numbers."""
    first = default[0] if isinstance(default, tuple) and default else default
    return isinstance(first, int) and not isinstance(first, bool)


def _validated(schema: Any, values: Mapping[str, Any], place: str) -> Any:
    try:
        return schema.validate_python(dict(values))
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        where = ".".join(
            (place, *(str(part) for part in first["loc"] if part in values or isinstance(part, int)))
        )
        message = first["msg"][0].lower() + first["msg"][1:]
        raise LareError(f"{where}: {first['input']!r} does not fit: {message}") from None
    except LareError as error:
        raise LareError(f"{place}.{error}") from None


def _shown(value: Any) -> str:
    return str(list(value)) if isinstance(value, tuple) else str(value)
