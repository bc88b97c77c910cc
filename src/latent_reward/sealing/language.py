"""Check that a source is a small numeric program and nothing else.

The text that a language model writes is parsed, never trusted: each node of the syntax tree must be on
the list below, each name must come from :mod:`latent_reward.sealing.vocabulary`, and sizes are bounded.
What passes can do arithmetic on its arguments; it cannot import, open, connect, reach an object's
internals, or run without end. Every refusal says the line, what was found, and what to write instead,
because a model reads it next.
"""

import ast
import hashlib
import warnings

from latent_reward.errors import LareError
from latent_reward.sealing.grammar import Checker
from latent_reward.sealing.program import Program, returned_names
from latent_reward.sealing.rewrite import plain_form, traced_form
from latent_reward.sealing.syntax import Problem
from latent_reward.sealing.vocabulary import ARGUMENTS, ENTRY

MAX_SOURCE = 40_000
MAX_NODES = 8_000
MAX_DEPTH = 60


class SourceError(LareError):
    """The source is not in the language; ``problems`` lists every reason."""

    def __init__(self, problems: list[Problem]):
        """Keeps the problems and joins them into the message."""
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in problems))


def digest(source: str) -> str:
    """The SHA-256 of a source's text, which names it on its card."""
    return hashlib.sha256(source.encode()).hexdigest()


def parse(source: str) -> Program:
    """Checks ``source`` and returns what it means.

    Raises:
        SourceError: with every problem found.
    """
    tree = _tree(source)
    problems = Checker().problems(tree)
    problems += _problems_of_entry(tree)
    if problems:
        raise SourceError(sorted(set(problems), key=lambda problem: problem.line)[:20])
    entry = _functions(tree)[ENTRY]
    arguments = tuple(argument.arg for argument in entry.args.args)
    latent_names = returned_names(entry, arguments)
    plain = plain_form(tree)
    return Program(source, plain, traced_form(plain), arguments, latent_names)


def _tree(source: str) -> ast.Module:
    if len(source) > MAX_SOURCE:
        raise SourceError([Problem(1, f"the source has {len(source)} characters", f"at most {MAX_SOURCE}")])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(source)
        depth = _depth(tree)
    except SyntaxError as error:
        raise SourceError(
            [Problem(error.lineno or 1, f"not valid Python ({error.msg})", "valid Python")]
        ) from None
    except (ValueError, RecursionError, MemoryError) as error:
        raise SourceError(
            [Problem(1, f"cannot be parsed ({error})", "shorter, plainer expressions")]
        ) from None
    count = sum(1 for _ in ast.walk(tree))
    if count > MAX_NODES or depth > MAX_DEPTH:
        raise SourceError([Problem(1, f"the program is too large ({count} parts, {depth} deep)",
                                   f"at most {MAX_NODES} parts and {MAX_DEPTH} levels")])  # fmt: skip
    return tree


def _depth(tree: ast.AST) -> int:
    """Levels of nesting, counted without recursion because the tree may be hostile."""
    deepest, stack = 0, [(tree, 1)]
    while stack:
        node, level = stack.pop()
        deepest = max(deepest, level)
        stack += [(child, level + 1) for child in ast.iter_child_nodes(node)]
    return deepest


def _functions(tree: ast.Module) -> dict[str, ast.FunctionDef]:
    return {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}


def _problems_of_entry(tree: ast.Module) -> list[Problem]:
    entries = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == ENTRY]
    if len(entries) != 1:
        found = f"{len(entries)} functions named {ENTRY}"
        return [Problem(1, found, f"exactly one `def {ENTRY}(observation, action)`")]
    entry = entries[0]
    arguments = [argument.arg for argument in entry.args.args]
    problems = []
    unknown = [name for name in arguments if name not in ARGUMENTS]
    if unknown:
        problems.append(
            Problem(entry.lineno, f"{ENTRY} takes {', '.join(unknown)}", f"only {', '.join(ARGUMENTS)}")
        )
    elif not {"observation", "next_observation"} & set(arguments):
        problems.append(
            Problem(entry.lineno, f"{ENTRY} takes no observation", f"`def {ENTRY}(observation, action)`")
        )
    if not any(isinstance(node, ast.Return) and node.value is not None for node in ast.walk(entry)):
        problems.append(Problem(entry.lineno, f"{ENTRY} returns nothing", "`return [factor_1, factor_2]`"))
    return problems
