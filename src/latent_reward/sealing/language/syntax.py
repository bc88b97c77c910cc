"""Which parts of Python's syntax the language has, and small questions about a syntax tree."""

import ast
import operator
from collections.abc import Iterator
from dataclasses import dataclass

MAX_TEXT = 60

ALLOWED = (
    ast.Module, ast.FunctionDef, ast.arguments, ast.arg, ast.Return, ast.Pass,
    ast.Assign, ast.AnnAssign, ast.AugAssign, ast.For, ast.If, ast.Expr, ast.ListComp, ast.GeneratorExp,
    ast.comprehension, ast.BoolOp, ast.BinOp, ast.UnaryOp, ast.IfExp, ast.Compare, ast.Call, ast.keyword,
    ast.Attribute, ast.Subscript, ast.Slice, ast.Name, ast.Constant, ast.List, ast.Tuple, ast.Dict,
    ast.expr_context, ast.boolop, ast.unaryop, ast.cmpop, ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv,
    ast.Mod, ast.Pow, ast.MatMult, ast.BitAnd, ast.BitOr, ast.BitXor, ast.Assert, ast.Raise, ast.Lambda,
    ast.JoinedStr, ast.FormattedValue, ast.Starred, ast.DictComp, ast.NamedExpr, ast.Break, ast.Continue,
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


def is_text(node: ast.expr) -> bool:
    """Whether a node is a text or bytes."""
    constant = isinstance(node, ast.Constant) and isinstance(node.value, str | bytes)
    return constant or isinstance(node, ast.JoinedStr)


def is_column_stack(node: ast.Subscript) -> bool:
    """Whether the node is ``np.c_[a, b]``, which means ``np.column_stack((a, b))``."""
    match node.value:
        case ast.Attribute(value=ast.Name(), attr="c_"):
            return not any(isinstance(part, ast.Slice | ast.Constant) for part in elements(node.slice))
    return False


_TYPES = {"list", "tuple", "dict", "float", "int", "bool"} | {
    f"np.{name}" for name in ("ndarray", "generic", "number", "floating", "integer", "float32", "float64")
}


def type_names(node: ast.expr) -> list[str]:
    """The types in the second argument of ``isinstance``; empty if one of them is not in the language."""
    names = [ast.unparse(each) for each in elements(node) if isinstance(each, ast.Name | ast.Attribute)]
    return names if len(names) == len(elements(node)) and set(names) <= _TYPES else []


def elements(node: ast.expr) -> list[ast.expr]:
    """The elements of a tuple; any other node alone."""
    return node.elts if isinstance(node, ast.Tuple) else [node]


def number(node: ast.expr) -> float | None:
    """The value of an expression of constants as a float (infinite if it overflows), or None."""
    try:
        match node:
            case ast.Constant(value=int() | float() as value):
                return float(value)
            case ast.UnaryOp(op=ast.USub() | ast.UAdd() as sign, operand=operand):
                value = number(operand)
                return -value if value is not None and isinstance(sign, ast.USub) else value
            case ast.BinOp(left=left, op=kind, right=right) if type(kind) in _ARITHMETIC:
                first, second = number(left), number(right)
                if first is None or second is None:
                    return None
                value = _ARITHMETIC[type(kind)](first, second)
                return value if isinstance(value, float) else None  # a root of a negative number is complex
    except (OverflowError, ZeroDivisionError):
        return float("inf")
    return None


_ARITHMETIC = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
               ast.FloorDiv: operator.floordiv, ast.Pow: operator.pow}  # fmt: skip


def whole_numbers(node: ast.AST) -> Iterator[float]:
    """The whole numbers in a call, including those that are computed from constants."""
    for child in ast.iter_child_nodes(node):
        value = number(child) if isinstance(child, ast.expr) else None
        if value is None:
            yield from whole_numbers(child)
        elif not isinstance(child, ast.Constant) or isinstance(child.value, int):
            yield value


def trip_count(node: ast.expr) -> int:
    """Steps of a loop over ``range(constants)`` or a written list; 1 where only running it can tell."""
    match node:
        case ast.List(elts=items) | ast.Tuple(elts=items):
            return len(items)
        case ast.Call(func=ast.Name(id="range"), args=[_, *_] as arguments):
            bounds = [number(argument) for argument in arguments]
            if None not in bounds:
                start, stop, step = (0.0, bounds[0], 1.0) if len(bounds) == 1 else (*bounds, 1.0)[:3]
                return int(min(max(0.0, ((stop or 0.0) - (start or 0.0)) / (step or 1.0)), 1e15))
    return 1
