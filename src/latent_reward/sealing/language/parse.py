"""Check that a source is a small numeric program and nothing else.

The text that a language model writes is parsed, never trusted: each node of the syntax tree must be on the list
in :mod:`latent_reward.sealing.language.syntax`, each name must come from
:mod:`latent_reward.sealing.language.vocabulary`, and sizes are bounded. A source that passes can do arithmetic on
its arguments; it cannot import, open, connect, reach an object's internals, or run without end. Every refusal
says the line, what was found, and what to write instead, because a model reads it next.
"""

import ast
import hashlib
import warnings
from dataclasses import dataclass

from latent_reward.encoder.card import ARGUMENTS
from latent_reward.errors import LareError
from latent_reward.sealing.language.grammar import Checker
from latent_reward.sealing.language.names import returned_names
from latent_reward.sealing.language.resolve import resolved
from latent_reward.sealing.language.rewrite import plain_form, traced_form
from latent_reward.sealing.language.syntax import Problem
from latent_reward.sealing.language.vocabulary import ENTRY

MAX_SOURCE = 40_000
MAX_NODES = 8_000
MAX_DEPTH = 60


@dataclass(frozen=True)
class Program:
    """A checked source, its arguments and the names of its latents.

    ``plain`` is what NumPy runs, ``tree`` what is traced: see :mod:`latent_reward.sealing.language.rewrite`.
    ``latent_names`` has None where the source does not name a latent, and is empty where only running it
    can tell (a dictionary).
    """

    source: str
    plain: ast.Module
    tree: ast.Module
    arguments: tuple[str, ...]
    latent_names: tuple[str | None, ...]


class SourceError(LareError):
    """The source is not in the language; ``problems`` lists every reason."""

    def __init__(self, *problems: Problem):
        """Keeps the problems and joins them into the message."""
        self.problems = problems
        super().__init__("\n".join(map(str, problems)))


def digest(source: str) -> str:
    """The SHA-256 of a source's text, which names it on its card."""
    return hashlib.sha256(source.encode()).hexdigest()


def parse(source: str) -> Program:
    """Checks ``source`` and returns what it means.

    Raises:
        SourceError: with every problem found.
    """
    tree, imported, problems = resolved(_tree(source))
    entries = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == ENTRY]
    problems += [*Checker(imported).problems(tree), *_problems_of_entry(entries)]
    if problems:
        raise SourceError(*sorted(dict.fromkeys(problems), key=lambda problem: problem.line)[:20])
    arguments = tuple(argument.arg for argument in entries[0].args.args)
    latent_names = returned_names(entries[0], arguments)
    plain = plain_form(tree)
    return Program(source, plain, traced_form(plain), arguments, latent_names)


def _tree(source: str) -> ast.Module:
    def refusal(found: str, instead: str, line: int = 1) -> SourceError:
        return SourceError(Problem(line, found, instead))

    if len(source) > MAX_SOURCE:
        raise refusal(f"the source has {len(source)} characters", f"at most {MAX_SOURCE}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(source)
    except SyntaxError as error:
        raise refusal(f"not valid Python ({error.msg})", "valid Python", error.lineno or 1) from None
    except (ValueError, RecursionError, MemoryError) as error:
        raise refusal(f"cannot be parsed ({error})", "shorter, plainer expressions") from None
    count, depth = _size(tree)
    if count > MAX_NODES or depth > MAX_DEPTH:
        raise refusal(f"the program is too large ({count} parts, {depth} deep)",
                      f"at most {MAX_NODES} parts and {MAX_DEPTH} levels")  # fmt: skip
    return tree


def _size(tree: ast.AST) -> tuple[int, int]:
    """Nodes and levels of a tree, counted without recursion because the tree may be hostile."""
    count, depth, level = 0, 0, [tree]
    while level:
        count, depth = count + len(level), depth + 1
        level = [child for node in level for child in ast.iter_child_nodes(node)]
    return count, depth


def _problems_of_entry(entries: list[ast.FunctionDef]) -> list[Problem]:
    """What is wrong with the function that is called, of which there must be one."""
    if len(entries) != 1:
        found = f"{len(entries)} functions named {ENTRY}"
        return [Problem(1, found, f"exactly one `def {ENTRY}(observation, action)`")]
    (entry,) = entries
    line, arguments = entry.lineno, [argument.arg for argument in entry.args.args]
    problems = []
    unknown = [name for name in arguments if name not in ARGUMENTS]
    if unknown:
        problems.append(Problem(line, f"{ENTRY} takes {', '.join(unknown)}", f"only {', '.join(ARGUMENTS)}"))
    elif not {"observation", "next_observation"} & set(arguments):
        problems.append(Problem(line, f"{ENTRY} takes no observation", f"`def {ENTRY}(observation, action)`"))
    if not any(isinstance(node, ast.Return) and node.value is not None for node in ast.walk(entry)):
        problems.append(Problem(line, f"{ENTRY} returns nothing", "`return [factor_1, factor_2]`"))
    return problems
