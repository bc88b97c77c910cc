"""Settings of training from a file and from ``--set``, with the names that ``config.json`` has for them.

Both are trees of plain data. ``arguments`` turns a tree into arguments of :func:`latent_reward.train`, ``combine`` lays
the arguments of several sources over each other. Whether a setting exists and fits is checked where it is used.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from latent_reward.errors import LareError, require_count, shown
from latent_reward.reading import parse_yaml, read_text

_SECTIONS = ("agent", "method", "latents", "feedback")  # whose settings are changed one by one
MOST_SEEDS = 1_000
_UNITS = {"replay": "steps", "episodes": "iterations"}


def read_config(path: Path) -> dict[str, Any]:
    """The arguments in a YAML or JSON file; of a run's own ``config.json``, those that repeat the run.

    A run is repeated with the task and, unless it is a bundled one, the encoder in its folder.

    Raises:
        LareError: the file cannot be read, or is no mapping.
    """
    try:
        tree = parse_yaml(read_text(path), str(path))
    except LareError as error:
        raise LareError(f"config: {error}") from error
    if not isinstance(tree, dict):
        raise LareError(f"config: {path} is not a mapping; write settings such as `steps: 5000`")
    if isinstance(tree.get("config"), dict) and "format" in tree:
        return _of_run(tree, path.parent)
    found = arguments(_mapping("config", tree.get("config", tree)))
    _require_inside(found, path)
    return found


def read_assignments(assignments: Sequence[str]) -> dict[str, Any]:
    """The arguments in texts such as ``agent.learning_rate=1e-3``, whose values are YAML or JSON.

    Raises:
        LareError: a text is no assignment, or its value no YAML.
    """
    tree: dict[str, Any] = {}
    for text in assignments:
        name, equals, value = text.partition("=")
        *path, last = name.strip().split(".")
        if not equals or not all((*path, last)):
            raise LareError(f"set: {text!r} is no assignment; write it as in --set agent.learning_rate=1e-3")
        inside = tree
        for part in path:
            inside = inside.setdefault(part, {})
            if not isinstance(inside, dict):
                raise LareError(
                    f"set: {part} is given a value and settings of its own; leave one of them out"
                )
        inside[last] = parse_yaml(value, f"set: {shown(text)}")
    return arguments(tree)


def arguments(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of :func:`latent_reward.train` from a tree of settings.

    The tree is that of ``config.json``. ``plan``, ``plan.experience`` and ``method.credit`` may be left out, so that
    ``plan.agent.hidden`` is also ``agent.hidden``, and ``method.credit.loss`` also ``method.loss``.

    Raises:
        LareError: a section is no mapping, or a value is of the wrong type.
    """
    found: dict[str, Any] = {section: {} for section in _SECTIONS}
    rounds, kind = None, None
    for name, value in _settings(tree):
        if name == "agent":
            found[name] |= {"kind": value} if isinstance(value, str) else _mapping(name, value)
        elif name == "method":
            given = {"name": value} if isinstance(value, str) else dict(_mapping(name, value))
            found[name] |= {**_mapping("method.credit", given.pop("credit", {})), **given}
        elif name == "latents":
            found[name] |= value if isinstance(value, Mapping) else {"only": value}
        elif name == "feedback":
            found[name] |= _mapping(name, value)
        elif name in ("seed", "seeds"):
            found["seed"] = _seeds(value)
        elif name == "rounds":
            rounds = value
        elif name == "experience.kind":
            kind = value
        elif name == "encoder":
            found |= _encoder(value)
        elif name in ("task", "out") and not isinstance(value, str):
            raise LareError(f"{name}: {value!r} is no text; write a name or a path")
        else:
            if name in ("draw", "max_steps"):
                require_count(0, **{name: value})
            found[name] = value
    if rounds is not None:
        kind = kind or _experience(found["agent"].get("kind"))
        if kind not in _UNITS:
            raise LareError(
                f"rounds: {rounds!r} of what is not known; write steps, or iterations of whole episodes"
            )
        found[_UNITS[kind]] = rounds
    return {name: value for name, value in found.items() if value != {} or name not in _SECTIONS}


def combine(*sources: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments from several sources, of which a later one goes before an earlier one.

    Settings of an agent or a method are combined one by one, except that those of another one than is trained are left
    out: ``--method rrd`` beside a file for ``lare`` takes the defaults of ``rrd``.
    """
    found: dict[str, Any] = {}
    for source in sources:
        found |= source
    for section, named in zip(_SECTIONS, ("kind", "name", None, None), strict=True):
        given = [source[section] for source in sources if section in source]
        chosen = next((each[named] for each in reversed(given) if named in each), None)
        if given:
            found[section] = {}
        for each in given:
            if each.get(named, chosen) == chosen:
                found[section] |= each
    return found


def parse_seeds(text: str) -> tuple[int, ...]:
    """Seeds in words: ``3``, ``0..4`` (both ends included) or ``0,2,5``; LareError for anything else.

    >>> parse_seeds("0..2")
    (0, 1, 2)
    """
    first, dots, last = text.partition("..")
    try:
        seeds = range(int(first), int(last) + 1) if dots else tuple(map(int, text.split(",")))
        seeds = tuple(seeds[: MOST_SEEDS + 1])
    except (ValueError, OverflowError):
        seeds = ()
    if not seeds:
        raise LareError(
            f"seeds: {text!r} is not understood; write one seed (3), a range (0..4) or a list (0,2,5)"
        )
    return seeds


def _settings(tree: Mapping[str, Any], inside: str = "") -> Iterator[tuple[str, Any]]:
    """Every setting with its name, those of the plan and of its experience among the others."""
    for name, value in tree.items():
        if name in ("plan", "experience"):
            yield from _settings(_mapping(name, value), name)
        else:
            yield "experience.kind" if (inside, name) == ("experience", "kind") else str(name), value


def _of_run(stored: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The arguments that repeat a run with this ``config.json``, from the copies beside it."""
    found = arguments(stored["config"])
    if (folder / "task.yaml").is_file():
        found["task"] = str(folder / "task.yaml")
    if found.get("encoder") and (folder / "encoder").is_dir():
        found["encoder"] = str(folder / "encoder")
    return found


def _experience(agent: Any) -> str | None:
    """From what an agent of this kind learns; None of one that does not exist."""
    from latent_reward.agents.registry import AGENTS

    return AGENTS[agent]().learns_from if agent in AGENTS else None


def _require_inside(found: Mapping[str, Any], path: Path) -> None:
    """Raise if a file of settings asks for a run folder outside the current folder."""
    out = Path(found.get("out", "."))
    if out.is_absolute() or ".." in out.parts:
        raise LareError(
            f"out: {path} asks for the run folder {shown(str(out))}, outside the current one; give --out yourself"
        )


def _encoder(value: Any) -> dict[str, Any]:
    """The argument for an encoder: a folder, or a bundled draw as ``config.json`` spells it; null is none."""
    if value is not None and not isinstance(value, str):
        raise LareError(f"encoder: {value!r} is no text; write the path of a folder")
    bundled = re.fullmatch(r"bundled draw (\d+)", value or "")
    return {"draw": int(bundled[1])} if bundled else {"encoder": value}


def _seeds(value: Any) -> tuple[int, ...]:
    if isinstance(value, list) and all(type(each) is int for each in value):
        return tuple(value)
    return parse_seeds(str(value))


def _mapping(name: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise LareError(f"{name}: {value!r} is no mapping; write settings of it, such as {name}.NAME=VALUE")
    return value
