"""Which parts of Python's syntax the language has, and what to write instead of the others."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

from latent_reward.sealing.program import number

MAX_TEXT = 60

LITERALS = (ast.Constant, ast.List, ast.Tuple, ast.Dict)
ALLOWED = (
    ast.Module, ast.Import, ast.ImportFrom, ast.FunctionDef, ast.arguments, ast.arg, ast.Return, ast.Pass,
    ast.Assign, ast.AnnAssign, ast.AugAssign, ast.For, ast.If, ast.Expr, ast.ListComp, ast.GeneratorExp,
    ast.comprehension, ast.BoolOp, ast.BinOp, ast.UnaryOp, ast.IfExp, ast.Compare, ast.Call, ast.keyword,
    ast.Attribute, ast.Subscript, ast.Slice, ast.Name, *LITERALS, ast.expr_context, ast.boolop, ast.unaryop,
    ast.cmpop, ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.Pow, ast.MatMult, ast.BitAnd,
    ast.BitOr, ast.BitXor, ast.Assert, ast.Raise, ast.Lambda, ast.JoinedStr, ast.FormattedValue, ast.Starred,
    ast.DictComp, ast.NamedExpr, ast.Break, ast.Continue,
)  # fmt: skip
INSTEAD = {
    ast.While: "a `for` over range(constant), or array expressions",
    ast.ClassDef: "plain functions",
    ast.Try: "np.where to avoid invalid values, instead of catching errors",
    ast.With: "plain assignments",
    ast.Delete: "nothing: drop the line",
    ast.Global: "an argument of the function",
    ast.Nonlocal: "an argument of the function",
    ast.LShift: "a multiplication",
    ast.RShift: "a division",
}


@dataclass(frozen=True)
class Problem:
    """One thing that the language does not have: its line, what it is, and what to write instead."""

    line: int
    found: str
    instead: str

    def __str__(self) -> str:
        """The problem as a sentence."""
        return f"line {self.line}: {self.found}; write {self.instead}"


def text(node: ast.AST) -> str:
    """The source of a node, cut short."""
    try:
        text = ast.unparse(node)
    except (RecursionError, ValueError):
        return type(node).__name__
    return text if len(text) <= MAX_TEXT else text[:MAX_TEXT] + "…"


def constants(node: ast.AST) -> Iterator[float]:
    """The whole numbers in a call, those that are computed from constants among them."""
    for child in ast.iter_child_nodes(node):
        value = number(child) if isinstance(child, ast.expr) else None
        if value is None:
            yield from constants(child)
        elif not isinstance(child, ast.Constant) or isinstance(child.value, int):
            yield value


def is_text(node: ast.expr) -> bool:
    """Whether a node is a text or bytes."""
    return isinstance(node, ast.JoinedStr) or (
        isinstance(node, ast.Constant) and isinstance(node.value, str | bytes)
    )


def is_constant(node: ast.expr) -> bool:
    """Whether a node is a constant, or an expression of constants."""
    return isinstance(node, ast.Constant) or number(node) is not None


def plain_format(spec: ast.expr) -> bool:
    """Whether a format is a constant such as ``.2f``, too short to make a long text."""
    parts = spec.values if isinstance(spec, ast.JoinedStr) else []
    return all(
        isinstance(part, ast.Constant) and re.fullmatch(r"[.0-9]{0,3}[a-z%]?", str(part.value))
        for part in parts
    )
