"""Worlds and methods by name: those of the package, and ``FILE.py:NAME``, which the user wrote and named."""

import importlib.util
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any, cast

from latent_reward.bench.fit import small
from latent_reward.bench.world import World
from latent_reward.bench.worlds import WORLDS
from latent_reward.credit.base import Method
from latent_reward.credit.methods import METHODS, Credit, Entry, Recipe
from latent_reward.errors import ANY_FAILURE, LareError, did_you_mean, one_line, shown

_SLOW = ("stas-ml", "lare-stas", "lare-arel", "lare-tar2", "lare-diaster")
DEFAULT = tuple(name for name in METHODS if name not in _SLOW)
"""All methods but variants of attention and recurrence, whose updates take many times as long as others."""


@cache
def find_world(name: str) -> World:
    """A world of the package, or what NAME is in a file: a :class:`World`, or a function that makes one.

    Raises:
        LareError: there is no such world.
    """
    if name in WORLDS:
        return WORLDS[name]()
    found = _in_file("worlds", name, WORLDS)
    try:
        world = found() if callable(found) else found
    except LareError:
        raise
    except ANY_FAILURE as error:  # a stranger's code may fail in any way
        raise LareError(f"worlds: {name} fails with {type(error).__name__} ({one_line(error)})") from error
    if not isinstance(world, World):
        raise LareError(f"worlds: {name} is {shown(world)}; it must be a World, such as `tabulate` makes")
    return world


def find_entry(name: str, *, shipped: bool) -> Entry:
    """A method of the package, small unless it is wanted as ``shipped``, or what NAME is in a file, as it is there.

    Raises:
        LareError: there is no such method.
    """
    if name in METHODS:
        entry = METHODS[name]
        found = [each if each is None or shipped else small(each) for each in (entry.replay, entry.episodes)]
        return Entry(entry.summary, *found)
    given = _in_file("methods", name, METHODS)
    method: Any = given.credit if isinstance(given, Recipe) else given
    if not isinstance(method, Method):
        raise LareError(f"methods: {name} is {shown(given)}; it must be an instance of a method")
    settings = cast(Credit, method)  # whatever it is, it has the protocol's members
    return Entry(short_name(name), settings, settings)


def short_name(name: str) -> str:
    """NAME of ``FILE.py:NAME``; other names as they are."""
    return name.rpartition(":")[2]


def _in_file(field: str, name: str, known: Iterable[str]) -> Any:
    path, _, attribute = name.rpartition(":")
    if not path.endswith(".py") or not attribute.isidentifier():
        raise LareError(
            f"{field}: {shown(name)} does not exist{did_you_mean(name, known)}; choose from {', '.join(known)}, or "
            "give FILE.py:NAME"
        )
    module = _module(field, Path(path).absolute())
    if not hasattr(module, attribute):
        raise LareError(f"{field}: {path} has no {attribute}; correct the name after the colon")
    return getattr(module, attribute)


@cache
def _module(field: str, path: Path) -> Any:
    """The module that a file is, run once."""
    if not path.is_file():
        raise LareError(f"{field}: there is no file {path}; correct the path")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except ANY_FAILURE as error:  # a stranger's code may fail in any way
        raise LareError(
            f"{field}: {path} fails with {type(error).__name__} ({one_line(error)}); fix the file"
        ) from error
    return module
