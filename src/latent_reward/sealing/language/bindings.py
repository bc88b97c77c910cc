"""Which names a source binds, and whether each name of a function keeps its meaning."""

import ast
from collections import Counter
from collections.abc import Iterator

from latent_reward.sealing.language import vocabulary as words
from latent_reward.sealing.language.syntax import Problem


def bound_names(tree: ast.Module) -> set[str]:
    """Every name that the source gives a value to, anywhere."""
    return {name for name, _, _ in _bindings(tree)}


def function_names(tree: ast.Module) -> set[str]:
    """The names of functions and of lambdas."""
    return {name for name, _, function in _bindings(tree) if function}


def problems_of_functions(tree: ast.Module) -> list[Problem]:
    """A name of a function is bound once in the whole source, so a call always means the same function.

    Then a function can call only those above it, and none can call itself.
    """
    found = list(_bindings(tree))
    functions = {name for name, _, function in found if function}
    times = Counter(name for name, _, _ in found)
    seen: set[str] = set()
    problems = []
    for name, node, function in found:
        if name in functions and times[name] > 1 and not (function and name not in seen):
            what = "defined again" if function else "also a variable or an argument"
            problems.append(Problem(node.lineno, f"the function `{name}` is {what}", "another name"))
        elif function and name in words.BUILTINS:
            problems.append(Problem(node.lineno, f"a function named like Python's `{name}`", "another name"))
        seen |= {name} if function else set()
    return problems


def _bindings(tree: ast.AST) -> Iterator[tuple[str, ast.stmt | ast.expr | ast.arg, bool]]:
    """Each name that is bound, where, and whether to a function that is written down."""
    functions = {
        id(target)
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Lambda)
        for target in node.targets
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            yield node.name, node, True
        elif isinstance(node, ast.arg):
            yield node.arg, node, False
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id, node, id(node) in functions
