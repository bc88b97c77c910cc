"""The syntax of the numeric language, as a walk over the tree that notes whatever is not in it."""

import ast
import re
from dataclasses import dataclass

from latent_reward.design import vocabulary as words
from latent_reward.design.program import number, trip_count

MAX_NUMBER = 1e9
MAX_LENGTH = 10_000
MAX_NAME = 60

_LITERALS = (ast.Constant, ast.List, ast.Tuple, ast.Dict)
_ALLOWED = (
    ast.Module, ast.Import, ast.ImportFrom, ast.FunctionDef, ast.arguments, ast.arg, ast.Return, ast.Pass,
    ast.Assign, ast.AnnAssign, ast.AugAssign, ast.For, ast.If, ast.Expr, ast.ListComp, ast.GeneratorExp,
    ast.comprehension, ast.BoolOp, ast.BinOp, ast.UnaryOp, ast.IfExp, ast.Compare, ast.Call, ast.keyword,
    ast.Attribute, ast.Subscript, ast.Slice, ast.Name, *_LITERALS, ast.expr_context, ast.boolop, ast.unaryop,
    ast.cmpop, ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.Pow, ast.MatMult, ast.BitAnd,
    ast.BitOr, ast.BitXor,
)  # fmt: skip
_INSTEAD = {
    ast.While: "a `for` over range(constant), or array expressions",
    ast.Lambda: "a named helper function",
    ast.JoinedStr: "no text: return numbers only",
    ast.ClassDef: "plain functions",
    ast.Try: "np.where to avoid invalid values, instead of catching errors",
    ast.With: "plain assignments",
    ast.Raise: "nothing: drop the line",
    ast.Assert: "nothing: drop the line",
    ast.Delete: "nothing: drop the line",
    ast.Global: "an argument of the function",
    ast.Nonlocal: "an argument of the function",
    ast.Starred: "each item by name",
    ast.DictComp: "a dict literal with the name of each factor",
    ast.LShift: "a multiplication",
    ast.RShift: "a division",
    ast.NamedExpr: "an assignment on its own line",
    ast.Break: "np.where",
    ast.Continue: "np.where",
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


class Checker(ast.NodeVisitor):
    """Walks the tree and collects what the language does not have. Use it once:
    ``Checker().problems(tree)``.
    """

    def __init__(self):
        """Starts with nothing found and no helper known."""
        self.found: list[Problem] = []
        self.helpers: set[str] = set()
        self.modules = {"np"}
        self.loop_steps = 1
        self.line = 1

    def problems(self, tree: ast.Module) -> list[Problem]:
        """Every problem in the tree."""
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                self.modules |= {alias.asname or alias.name.split(".")[0] for alias in node.names}
        self.visit(tree)
        return self.found

    def refuse(self, node: ast.AST, found: str, instead: str) -> None:
        """Notes a problem at the node's line."""
        self.found.append(Problem(getattr(node, "lineno", self.line), found, instead))

    def visit(self, node: ast.AST) -> None:
        """Refuses whatever is not on the list; looks closer at what is."""
        self.line = getattr(node, "lineno", self.line)  # operators have no line of their own
        if not isinstance(node, _ALLOWED):
            kind = type(node)
            self.refuse(
                node,
                f"`{kind.__name__}` is not in the language",
                _INSTEAD.get(kind, "plain array expressions"),
            )
            return
        super().visit(node)

    def visit_Module(self, node: ast.Module) -> None:
        """Outside functions: imports, constants, docstrings."""
        for statement in node.body:
            if isinstance(statement, ast.For | ast.If | ast.AugAssign):
                self.refuse(statement, "a statement outside the function", f"it inside {words.ENTRY}")
        self.generic_visit(node)

    def visit_Import(self, node: ast.Import) -> None:
        """NumPy, under any name."""
        for alias in node.names:
            if alias.name not in ("numpy", "jax.numpy") or (alias.name == "jax.numpy" and not alias.asname):
                self.refuse(
                    node, f"`import {alias.name}`", "`import numpy as np`; nothing else can be imported"
                )

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        """Only what annotations need; it is dropped."""
        if node.module not in ("typing", "__future__") or node.level:
            self.refuse(
                node, f"`from {node.module} import ...`", "`import numpy as np`; nothing else can be imported"
            )

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        """Plain arguments, constant defaults, no recursion."""
        arguments = node.args
        if node.decorator_list or getattr(node, "type_params", None):
            self.refuse(node, "a decorator or a type parameter", "the plain function")
        if arguments.vararg or arguments.kwarg or arguments.kwonlyargs or arguments.posonlyargs:
            self.refuse(node, "star or keyword-only arguments", "plain arguments")
        for default in arguments.defaults:
            if not _is_constant(default):
                self.refuse(node, "a computed default argument", "a number")
        for name in [node.name, *(argument.arg for argument in arguments.args)]:
            self.check_name(node, name)
        for default in arguments.defaults:
            self.visit(default)
        for statement in node.body:
            self.visit(statement)
        # Known only from here on: a function can call those above it, so none can call itself.
        self.helpers.add(node.name)

    def check_name(self, node: ast.AST, name: str) -> None:
        """A name that is bound: short, not double-underscored, not one the language needs."""
        if "__" in name or len(name) > MAX_NAME:
            self.refuse(node, f"the name `{name[:MAX_NAME]}`", "a short name without double underscores")
        if name in self.modules:
            self.refuse(node, f"`{name}` as a variable", "another name")

    def visit_Name(self, node: ast.Name) -> None:
        """A module is not a value; a bound name is checked."""
        if isinstance(node.ctx, ast.Load) and node.id in self.modules:
            self.refuse(node, f"`{node.id}` on its own", f"`{node.id}.function(...)`")
        elif isinstance(node.ctx, ast.Store) and node.id in self.helpers:
            self.refuse(node, f"the function `{node.id}` as a variable", "another name")
        else:
            self.check_name(node, node.id)

    def visit_Assign(self, node: ast.Assign) -> None:
        """See ``check_target``."""
        for target in node.targets:
            self.check_target(target)
        self.visit(node.value)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        """The annotation is dropped unread."""
        self.check_target(node.target)
        if node.value is None:
            self.refuse(node, "a variable without a value", "an assignment")
        else:
            self.visit(node.value)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        """``x += y`` for a name."""
        if not isinstance(node.target, ast.Name):
            self.refuse_in_place(node.target)
        self.generic_visit(node)

    def check_target(self, target: ast.expr) -> None:
        """Names, tuples of names and a dictionary's key can be assigned to; arrays are values."""
        if isinstance(target, ast.Tuple | ast.List):
            for item in target.elts:
                self.check_target(item)
        elif isinstance(target, ast.Name):
            self.visit(target)
        elif isinstance(target, ast.Subscript) and _is_key(target):
            self.visit(target.value)
        else:
            self.refuse_in_place(target)

    def refuse_in_place(self, node: ast.AST) -> None:
        """Arrays are values."""
        self.refuse(node, f"assignment into `{_text(node)}`",
                    "a new array: np.where(condition, a, b) or np.concatenate([...], axis=1)")  # fmt: skip

    def visit_Expr(self, node: ast.Expr) -> None:
        """Docstrings and ``list.append`` alone stand as statements."""
        if isinstance(node.value, ast.Constant):
            return  # a docstring
        call = node.value
        if (
            isinstance(call, ast.Call)
            and isinstance(call.func, ast.Attribute)
            and call.func.attr in ("append", "extend")
        ):
            self.visit(call)
        else:
            self.refuse(node, f"`{_text(node)}` has no effect", "an assignment")

    def visit_For(self, node: ast.For) -> None:
        """Nested loops of constant length have a bounded product."""
        if node.orelse:
            self.refuse(node, "`else` after a loop", "the statements after it")
        self.check_target(node.target)
        self.visit(node.iter)
        outer, self.loop_steps = self.loop_steps, self.loop_steps * max(1, trip_count(node.iter))
        if self.loop_steps > words.LOOP_BUDGET:
            self.refuse(
                node,
                f"loops of {self.loop_steps} steps",
                f"array expressions, or at most {words.LOOP_BUDGET} steps",
            )
        for statement in node.body:
            self.visit(statement)
        self.loop_steps = outer

    def visit_comprehension(self, node: ast.comprehension) -> None:
        """As a loop."""
        steps = trip_count(node.iter) * self.loop_steps
        if node.is_async or steps > words.LOOP_BUDGET:
            self.refuse(node.iter, f"a comprehension of {steps} steps", "array expressions")
        self.check_target(node.target)
        for part in [node.iter, *node.ifs]:
            self.visit(part)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        """Reached for attributes that are not called (see ``visit_Call``)."""
        owner, name = node.value, node.attr
        if self.is_module(owner):
            if name not in words.CONSTANTS | words.DTYPES:
                self.refuse_function(node, name, called=False)
        elif name not in words.ATTRIBUTES or not isinstance(node.ctx, ast.Load):
            self.refuse(
                node, f"the attribute `.{name[:MAX_NAME]}`", "array functions such as np.sum, or .shape"
            )
        else:
            self.visit(owner)

    def is_module(self, node: ast.expr) -> bool:
        """Whether the node is ``np`` or ``jnp`` itself."""
        return isinstance(node, ast.Name) and node.id in self.modules

    def refuse_function(self, node: ast.AST, name: str, *, called: bool) -> None:
        """A NumPy function that the language does not have, or one used as a value."""
        if name in words.FUNCTIONS and not called:
            self.refuse(node, f"`np.{name}` as a value", f"a call `np.{name}(...)`")
        else:
            known = "an arithmetic or reduction function such as np.sum, np.where, np.clip, np.linalg.norm"
            self.refuse(
                node, f"`np.{name[:MAX_NAME]}` is not in the language", words.INSTEAD.get(name, known)
            )

    def visit_Call(self, node: ast.Call) -> None:
        """The callee, the keywords, text among the arguments, constant sizes."""
        self.check_callee(node.func)
        for keyword in node.keywords:
            if keyword.arg is None or (keyword.arg not in words.KEYWORDS and not self.is_helper(node.func)):
                self.refuse(
                    node,
                    f"the keyword `{keyword.arg}`",
                    "only the common NumPy keywords, such as axis and keepdims",
                )
        einsum = isinstance(node.func, ast.Attribute) and node.func.attr == "einsum"
        for position, argument in enumerate([*node.args, *(keyword.value for keyword in node.keywords)]):
            if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                letters = einsum and position == 0 and re.fullmatch(r"[A-Za-z,.\-> ]{1,60}", argument.value)
                if not letters and argument.value not in words.STRINGS:
                    self.refuse(node, f"the text {argument.value[:MAX_NAME]!r}", "numbers only")
            else:
                self.visit(argument)
        self.check_size(node)

    def is_helper(self, function: ast.expr) -> bool:
        """Whether the node names a function defined above."""
        return isinstance(function, ast.Name) and function.id in self.helpers

    def check_callee(self, function: ast.expr) -> None:
        """What may be called: builtins, helpers above, ``np.f``, ``np.linalg.norm``, methods."""
        if isinstance(function, ast.Name):
            if not self.is_helper(function) and function.id not in words.BUILTINS:
                self.refuse(
                    function,
                    f"a call of `{function.id[:MAX_NAME]}`",
                    "np functions or a helper defined above it",
                )
        elif not isinstance(function, ast.Attribute):
            self.refuse(
                function, f"a call of `{_text(function)}`", "np functions or a helper defined above it"
            )
        elif self.is_module(function.value):
            if function.attr not in words.FUNCTIONS and function.attr not in words.DTYPES - {"ndarray"}:
                self.refuse_function(function, function.attr, called=True)
        elif isinstance(function.value, ast.Attribute) and self.is_module(function.value.value):
            if function.value.attr != "linalg" or function.attr not in words.LINALG:
                self.refuse_function(function, f"{function.value.attr}.{function.attr}", called=True)
        elif function.attr not in words.METHODS:
            self.refuse(
                function,
                f"the method `.{function.attr[:MAX_NAME]}()`",
                "an np function, such as np.sum(x, axis=1)",
            )
        else:
            self.visit(function.value)

    def check_size(self, node: ast.Call) -> None:
        """A constant size in a call that creates an array."""
        name = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        if name not in words.CREATORS:
            return
        size = 1.0
        for constant in ast.walk(node):
            if isinstance(constant, ast.Constant) and isinstance(constant.value, int):
                size *= max(1, abs(constant.value))
        if size > MAX_LENGTH * 100:
            self.refuse(node, f"an array of up to {size:.0f} numbers", "sizes taken from the arguments")

    def visit_BinOp(self, node: ast.BinOp) -> None:
        """Repeated lists and powers of constants are bounded."""
        if isinstance(node.op, ast.Mult) and any(
            isinstance(side, _LITERALS[1:]) for side in (node.left, node.right)
        ):
            times = max(number(side) or 0 for side in (node.left, node.right))
            if not 0 < times <= MAX_LENGTH:
                self.refuse(node, f"a list repeated {_text(node)}", "np.zeros or np.full")
        value = number(node)
        if value is not None and abs(value) > MAX_NUMBER**2:
            self.refuse(node, f"the number `{_text(node)}`", f"numbers up to {MAX_NUMBER:.0e}")
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        """Numbers of ordinary size, None and booleans."""
        value = node.value
        if value is None or isinstance(value, bool) or value is Ellipsis:
            return
        if isinstance(value, int | float):
            if abs(value) > MAX_NUMBER and not (isinstance(value, float) and abs(value) < 1e30):
                self.refuse(node, "a huge number", f"numbers up to {MAX_NUMBER:.0e}")
        else:
            self.refuse(node, f"the text or bytes {str(value)[:MAX_NAME]!r}", "numbers only")

    def visit_Dict(self, node: ast.Dict) -> None:
        """Keys are names."""
        for key in node.keys:
            if not (
                isinstance(key, ast.Constant) and isinstance(key.value, str) and len(key.value) <= MAX_NAME
            ):
                self.refuse(
                    node, "a dictionary key that is no short name", "the name of each factor in quotes"
                )
        for value in node.values:
            self.visit(value)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        """Slices and indices, not conditions."""
        self.visit(node.value)
        if isinstance(node.slice, ast.Compare | ast.BoolOp):
            self.refuse(node, f"selecting rows by a condition, `{_text(node)}`", "np.where(condition, a, b)")
        elif not _is_key(node):
            self.visit(node.slice)

    def visit_Compare(self, node: ast.Compare) -> None:
        """Arithmetic comparisons."""
        for operator in node.ops:
            if isinstance(operator, ast.In | ast.NotIn):
                self.refuse(node, "`in`", "a comparison with ==")
        self.generic_visit(node)


def _text(node: ast.AST) -> str:
    try:
        text = ast.unparse(node)
    except (RecursionError, ValueError):
        return type(node).__name__
    return text if len(text) <= MAX_NAME else text[:MAX_NAME] + "…"


def _is_constant(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) or number(node) is not None


def _is_key(node: ast.expr) -> bool:
    """Whether the node is ``name["key"]``."""
    return (
        isinstance(node, ast.Subscript)
        and isinstance(node.value, ast.Name)
        and isinstance(node.slice, ast.Constant)
        and isinstance(node.slice.value, str)
        and len(node.slice.value) <= MAX_NAME
    )
