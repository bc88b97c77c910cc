"""Combine several sources into one: each keeps its own helpers, and one outer function returns the chosen latents.

The result is an ordinary source, which is checked and sealed like any other.
"""

import ast
import json
from collections.abc import Sequence
from dataclasses import dataclass

from latent_reward.encoder.card import ARGUMENTS
from latent_reward.sealing.language.grammar import MAX_NAME
from latent_reward.sealing.language.parse import parse
from latent_reward.sealing.language.vocabulary import ENTRY


@dataclass(frozen=True)
class Contribution:
    """A source that passed its checks, the latents to take from it, and what they mean.

    ``names`` are all its latents in the order in which it returns them.
    """

    source: str
    names: tuple[str, ...]
    wanted: tuple[str, ...]
    explanations: dict[str, str]


def compose(parts: Sequence[Contribution]) -> str:
    """One source that returns the wanted latents of all parts under their names, numbered where they clash.

    SourceError if a part is not in the language.
    """
    programs = [parse(part.source) for part in parts]
    arguments = [name for name in ARGUMENTS if any(name in program.arguments for program in programs)]
    both = "next_observation" in arguments
    calls, entries, bodies = [], [], []
    taken: set[str] = set()
    for number, (part, program) in enumerate(zip(parts, programs, strict=True), start=1):
        entry, body = _renamed(part.source, f"c{number}_")
        # If one part reads both observations, the others get the next one as their observation.
        later = both and "next_observation" not in program.arguments
        passed = ["next_" * (later and name == "observation") + name for name in program.arguments]
        call = f"{entry}({', '.join(passed)})"
        call = f"list({call}.values())" if _is_dictionary(part.source) else call
        calls.append(f"    part_{number} = {call}")
        bodies.append(body)
        for index, name in enumerate(part.names):
            if name in part.wanted:
                text = " ".join(part.explanations.get(name, "").split())
                entries += [f"        # {text}"] if text else []
                entries.append(f"        {json.dumps(_unique(name, taken))}: part_{number}[{index}],")
    outer = [f"def {ENTRY}({', '.join(arguments)}):", *calls, "    return {", *entries, "    }"]
    return "\n\n\n".join(["import numpy as np", *bodies, "\n".join(outer)]) + "\n"


def _renamed(source: str, prefix: str) -> tuple[str, str]:
    """The new name of the entry function, and the source with a prefix before all its global names.

    The source is in the language, in which a name is a variable, an argument or a function.
    """
    tree = ast.parse(source)
    tree.body = [node for node in tree.body if not isinstance(node, ast.Import | ast.ImportFrom)]
    bound = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    for statement in tree.body:
        if not isinstance(statement, ast.FunctionDef):
            bound |= {node.id for node in ast.walk(statement)
                      if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}  # fmt: skip
    names = {}
    for place, name in enumerate(sorted(bound)):
        fits = len(prefix + name) <= MAX_NAME
        names[name] = prefix + (name if fits else f"{name[: MAX_NAME - 12]}_{place}")
    imports = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Import)]
    names |= {alias.asname or alias.name: "np" for node in imports for alias in node.names}
    for node in ast.walk(tree):  # a call comes before the name of its function
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in bound:
            for keyword in node.keywords:
                keyword.arg = names.get(keyword.arg or "", keyword.arg)
        elif isinstance(node, ast.Name):
            node.id = names.get(node.id, node.id)
        elif isinstance(node, ast.FunctionDef):
            node.name, node.returns = names.get(node.name, node.name), None
        elif isinstance(node, ast.arg):
            node.arg, node.annotation = names.get(node.arg, node.arg), None
    return names[ENTRY], ast.unparse(tree)


def _is_dictionary(source: str) -> bool:
    """Whether the entry function returns a dictionary, as far as its text shows."""
    functions = [node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)]
    nodes = [node for each in functions if each.name == ENTRY for node in ast.walk(each)]
    dictionaries = {
        target.id
        for node in nodes
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    returned = [node.value for node in nodes if isinstance(node, ast.Return)]
    return any(
        isinstance(each, ast.Dict) or (isinstance(each, ast.Name) and each.id in dictionaries)
        for each in returned
    )


def _unique(name: str, taken: set[str]) -> str:
    unique, copies = name, 2
    while unique in taken:
        unique, copies = f"{name}_{copies}", copies + 1
    taken.add(unique)
    return unique
