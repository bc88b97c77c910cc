"""Modules of the current folder: those that were named in this command, and those that these import by name."""

import ast
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

from latent_reward.envs.named import named_modules

_MOST_FILES = 500  # of a package, that are searched for imports


@contextmanager
def named_modules_of(folder: Path) -> Iterator[None]:
    """Let Python find named modules in ``folder`` within this block, and nothing else that lies there.

    A module that is installed goes before one of the same name in the folder.
    """
    finder = _Finder(folder)
    sys.meta_path.append(finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


class _Finder:
    """Asked last of all, by Python, where a module is."""

    def __init__(self, folder: Path):
        """Nothing is read yet."""
        self.folder, self._found = folder, set[str]()

    def find_spec(self, name: str, path: Any = None, target: ModuleType | None = None) -> ModuleSpec | None:
        """The module in the folder, if it is a named one or one of these imports it."""
        named = {each.partition(".")[0] for each in named_modules()}
        if path is not None or name not in named | self._found:
            return None
        spec = PathFinder.find_spec(name, [str(self.folder)])
        if spec is not None:
            self._found |= {name, *_imports_of(self.folder, name)}
        return spec


def _imports_of(folder: Path, name: str) -> Iterator[str]:
    """The modules whose names stand in import statements of a module or a package."""
    package = folder / name
    files = sorted(package.rglob("*.py"))[:_MOST_FILES] if package.is_dir() else [folder / f"{name}.py"]
    for file in files:
        try:
            tree = ast.parse(file.read_bytes())
        except (OSError, ValueError, SyntaxError, RecursionError, MemoryError):
            continue  # Python says what is wrong when it imports the module
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                yield from (each.name.partition(".")[0] for each in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                yield node.module.partition(".")[0]
