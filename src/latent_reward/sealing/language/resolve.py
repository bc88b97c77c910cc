"""What a source says in several ways, said in one: imported names, and blocks that change no value.

After this, NumPy is ``np`` and ``math`` is ``math`` whatever the source calls them, ``from math import sqrt`` and
``sqrt(x)`` have become ``math.sqrt(x)``, and two things are gone that have no part in a function's value: the
block under ``if __name__ == "__main__":``, and ``with np.errstate(...)`` around other lines.
"""

import ast

from latent_reward.sealing.language import vocabulary as words
from latent_reward.sealing.language.syntax import Problem

Path = tuple[str, ...]  # ("np", "linalg", "norm"); empty for what only annotations use

_MODULES: dict[str, Path] = {
    "numpy": ("np",),
    "jax.numpy": ("np",),
    "math": ("math",),
    "numpy.linalg": ("np", "linalg"),
}
_ANNOTATIONS = {"typing", "typing_extensions", "__future__", "collections.abc", "numpy.typing"}
_ONLY_NUMPY = "`import numpy as np`; nothing else can be imported"


def resolved(tree: ast.Module) -> tuple[ast.Module, set[str], list[Problem]]:
    """The tree, changed in place; the names that stand for modules and what is in them; what cannot be imported."""
    tree.body = [statement for statement in tree.body if not _is_main_block(statement)]
    names, problems = _imported(tree)
    return _Resolved(names).visit(tree), {"np", "math", *names}, problems


def _imported(tree: ast.Module) -> tuple[dict[str, Path], list[Problem]]:
    """What each imported name stands for."""
    names: dict[str, Path] = {"np": ("np",)}
    problems = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Import | ast.ImportFrom):
            continue
        for alias in node.names:
            name, path = _meaning(node, alias)
            remedy = _remedy(path, alias.name) if path is not None else _ONLY_NUMPY
            if remedy:
                problems.append(Problem(node.lineno, f"`{_said(node, alias)}`", remedy))
            elif path is not None and names.setdefault(name, path) != path:
                problems.append(
                    Problem(node.lineno, f"two meanings of `{name}`", "another name for one of them")
                )
    return names, problems


def _meaning(node: ast.Import | ast.ImportFrom, alias: ast.alias) -> tuple[str, Path | None]:
    """The name that an import binds, and what it stands for; None for what cannot be imported."""
    name = alias.asname or alias.name.split(".")[0]
    if isinstance(node, ast.ImportFrom):
        if node.level or alias.name == "*":
            return name, None
        if node.module in _ANNOTATIONS or (node.module, alias.name) == ("numpy", "typing"):
            return name, ()
        if (node.module, alias.name) == ("jax", "numpy"):
            return name, ("np",)
        module = _MODULES.get(node.module or "")
        return name, module and (*module, alias.name)
    if alias.name in _ANNOTATIONS:
        return name, ("np",) if name == "numpy" else ()
    module = _MODULES.get(alias.name)
    if alias.asname or module is None:
        return name, module
    return name, _MODULES.get(name)


def _remedy(path: Path, name: str) -> str:
    """What to write instead of importing something that the language does not have, or nothing."""
    known = {
        ("np",): words.FUNCTIONS | words.CONSTANTS | words.DTYPES | {"linalg"},
        ("np", "linalg"): words.LINALG,
        ("math",): words.MATH,
    }
    if len(path) < 2 or path == ("np", "linalg") or name in known[path[:-1]]:
        return ""
    return words.INSTEAD.get(
        ".".join(path[1:]), words.INSTEAD.get(path[1], "functions that the language has")
    )


def _said(node: ast.Import | ast.ImportFrom, alias: ast.alias) -> str:
    return f"from {node.module} import ..." if isinstance(node, ast.ImportFrom) else f"import {alias.name}"


def _is_main_block(node: ast.stmt) -> bool:
    """``if __name__ == "__main__":``, which is not run where a source is imported."""
    match node:
        case ast.If(test=ast.Compare(left=left, ops=[ast.Eq()], comparators=[right]), orelse=[]):
            sides = {ast.dump(left), ast.dump(right)}
            return sides == {ast.dump(ast.Name("__name__", ast.Load())), ast.dump(ast.Constant("__main__"))}
    return False


class _Resolved(ast.NodeTransformer):
    """Puts what imported names stand for in their place."""

    def __init__(self, names: dict[str, Path]):
        self.names = names

    def visit_Import(self, node: ast.Import | ast.ImportFrom) -> ast.Pass:
        return ast.copy_location(ast.Pass(), node)

    visit_ImportFrom = visit_Import  # noqa: N815

    def visit_Name(self, node: ast.Name) -> ast.expr:
        path = self.names.get(node.id)
        if not path or not isinstance(node.ctx, ast.Load):
            return node
        result: ast.expr = ast.copy_location(ast.Name(path[0], ast.Load()), node)
        for name in path[1:]:
            result = ast.copy_location(ast.Attribute(result, name, ast.Load()), node)
        return result

    def visit_With(self, node: ast.With) -> ast.AST | list[ast.stmt]:
        self.generic_visit(node)
        quiet = all(item.optional_vars is None and _is_errstate(item.context_expr) for item in node.items)
        return node.body if quiet else node


def _is_errstate(node: ast.expr) -> bool:
    match node:
        case ast.Call(
            func=ast.Attribute(value=ast.Name(id="np"), attr="errstate"), args=[], keywords=keywords
        ):
            said = [keyword.value.value for keyword in keywords if isinstance(keyword.value, ast.Constant)]
            return len(said) == len(keywords) and set(said) <= {"ignore", "warn"}
    return False
