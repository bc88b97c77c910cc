"""Which modules the name of an environment may lead to, and which functions: what a person named, and nothing else.

A task file or a run folder may come from anywhere, and importing a module or calling a function runs code. So a name in
a file leads to an environment that an installed package has registered with Gymnasium, to a ``parallel_env`` of a
package in :data:`FAMILIES`, or to a module that the person in front of the screen named: with ``--import`` or as an
argument of this very command; in Python by importing it or by :func:`allow_import`. Whatever a name leads to is looked
at before it is called.
"""

import functools
import importlib
import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from latent_reward.errors import ANY_FAILURE, LareError, TaskError, one_line, shown

FAMILIES = ("jaxmarl", "magent2", "mpe2", "pettingzoo")
"""Packages whose environments are made by a function of this name in one of their modules."""
_MAKERS = ("parallel_env", "env", "raw_env")
_INSTALLED = {"site-packages", "dist-packages"}
_OWN = __name__.partition(".")[0]

_named: set[str] = set()
_only_named = (
    False  # on the command line a module counts only if it is named, in Python also if it is imported
)


@contextmanager
def command_line() -> Iterator[None]:
    """In this block a module may be imported only if it is named in it, as in one command of the command line."""
    global _named, _only_named
    before = _named, _only_named
    _named, _only_named = set(), True
    try:
        yield
    finally:
        _named, _only_named = before


def named_modules() -> frozenset[str]:
    """The modules that were named so far."""
    return frozenset(_named)


def import_options() -> str:
    """The options that name the same modules for another command: `` --import env``, or nothing."""
    needed = sorted(each for each in _named if each.partition(".")[0] not in FAMILIES)
    return "".join(f" --import {each}" for each in needed)


def name_module(name: str) -> None:
    """Count the module of a name that a person wrote, such as ``module:Id-v0`` or ``package.module``, as named."""
    module = name.partition(":")[0]
    if _is_module(module):
        _named.add(module)


def allow_import(module: str) -> None:
    """Import a module, and let task files and run folders name what is in it.

    It is what ``--import`` does on the command line. In Python, a module of your own that you have imported needs
    nothing; this is for a function in an installed package that is no ``parallel_env``.

    Raises:
        LareError: there is no such module, or it fails.
    """
    if not isinstance(module, str) or not _is_module(module):
        raise LareError(f"import: {shown(module)} is not the name of a module; write it as in `import NAME`")
    name_module(module)
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise LareError(
            f"import: {module} needs the module {error.name!r}, which cannot be found; install it, or run the command "
            "in the folder that holds it"
        ) from error
    except ANY_FAILURE as error:  # a stranger's code may fail in any way
        raise LareError(
            f"import: {module} fails with {type(error).__name__} ({one_line(error)}); fix the module"
        ) from error


def require_named(field: str, name: str) -> str:
    """The module of an environment's ``name``; raise unless it may be imported.

    Raises:
        TaskError: for the field of the task that has the name, with the option that is to be added.
    """
    module = name.partition(":")[0]
    if not _is_module(module):
        raise TaskError(field, f"{shown(name)} does not begin with the name of a module", "correct the name")
    top = module.partition(".")[0]
    if top in sys.stdlib_module_names or top in (_OWN, "__main__"):
        raise TaskError(field, f"{shown(name)} is no environment", "name the module of an environment")
    if not (top in FAMILIES or _is_named(module) or (not _only_named and module in sys.modules)):
        raise TaskError(
            field,
            f"{shown(name)} would import the module {module}, which you did not name",
            f"if you trust it, add `--import {module}` (in Python: import it first)",
        )
    return module


def require_maker(field: str, name: str, target: Any) -> Callable[..., Any]:
    """``target``, which ``name`` leads to, if it makes an environment as far as can be seen without calling it.

    It is a class with the methods of an environment, or a function that was written in the package that was named.

    Raises:
        TaskError: it is neither.
    """
    module, _, function = name.partition(":")
    function = function or _MAKERS[0]
    top = module.partition(".")[0]
    inner = inspect.unwrap(target.func if isinstance(target, functools.partial) else target)
    home = (getattr(inner, "__module__", None) or "").partition(".")[0]
    if isinstance(inner, type):
        fits = all(callable(getattr(inner, each, None)) for each in ("reset", "step"))
        remedy = "name a class with reset and step, or a function that makes an environment"
    else:
        fits = callable(inner) and home in (top, *FAMILIES)
        remedy = f"name a function that is written in {top}"
    if not fits:
        raise TaskError(
            field, f"{shown(name)} leads to {_described(inner)}, which makes no environment", remedy
        )
    free = top in FAMILIES and function in _MAKERS
    if not (
        free or isinstance(inner, type) or _is_named(module) or _is_own(module) or function == _MAKERS[0]
    ):
        raise TaskError(
            field,
            f"{shown(name)} would call a function of the package {top}, which you did not name",
            f"if you trust it, add `--import {module}` (in Python: lr.allow_import({module!r}))",
        )
    return target


def _is_module(name: str) -> bool:
    return len(name) <= 200 and all(part.isidentifier() for part in name.split("."))


def _is_named(module: str) -> bool:
    return any(module == each or module.startswith(f"{each}.") for each in _named)


def _is_own(module: str) -> bool:
    """Whether a module was imported and belongs to no installed package: the program itself uses it."""
    place = getattr(sys.modules.get(module), "__file__", None)
    return not _only_named and bool(place) and not _INSTALLED & set(Path(str(place)).parts)


def _described(target: Any) -> str:
    kind = "the class" if isinstance(target, type) else f"a {type(target).__name__},"
    return f"{kind} {getattr(target, '__qualname__', shown(target))}"
