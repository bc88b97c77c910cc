"""The syntax of the numeric language, as a walk over the tree that notes whatever is not in it."""

import ast
import math
import re

from latent_reward.sealing import vocabulary as words
from latent_reward.sealing.program import number, trip_count
from latent_reward.sealing.rewrite import ROOMS, is_column_stack, modules
from latent_reward.sealing.syntax import (
    ALLOWED,
    INSTEAD,
    LITERALS,
    Problem,
    constants,
    is_constant,
    is_text,
    plain_format,
    text,
)

MAX_NUMBER = 1e9
MAX_LENGTH = 10_000
MAX_NAME = 60
# What a latent may be called; nothing that formats.
_NAME = re.compile(r"[\w .,:/()\[\]^*+<>=|'-]{0,60}")


class Checker(ast.NodeVisitor):
    """Walks the tree and collects what the language does not have. Use it once:
    ``Checker().problems(tree)``.
    """

    def __init__(self):
        """Starts with nothing found and no helper known."""
        self.found: list[Problem] = []
        self.helpers: set[str] = set()
        self.modules = {"np": "np"}
        self.loop_steps = 1
        self.line = 1

    def problems(self, tree: ast.Module) -> list[Problem]:
        """Every problem in the tree."""
        self.modules = modules(tree)
        self.visit(tree)
        return self.found

    def refuse(self, node: ast.AST, found: str, instead: str) -> None:
        """Notes a problem at the node's line."""
        self.found.append(Problem(getattr(node, "lineno", self.line), found, instead))

    def visit(self, node: ast.AST) -> None:
        """Refuses whatever is not on the list; looks closer at what is."""
        self.line = getattr(node, "lineno", self.line)  # operators have no line of their own
        if not isinstance(node, ALLOWED):
            kind = type(node)
            self.refuse(
                node,
                f"`{kind.__name__}` is not in the language",
                INSTEAD.get(kind, "plain array expressions"),
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
            if alias.name not in ROOMS or (alias.name == "jax.numpy" and not alias.asname):
                self.refuse(
                    node, f"`import {alias.name}`", "`import numpy as np`; nothing else can be imported"
                )
            elif alias.asname in ("np", "math") and alias.asname != ROOMS[alias.name]:
                self.refuse(node, f"`{alias.name}` under the name `{alias.asname}`", "`import numpy as np`")

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        """Only what annotations need; it is dropped."""
        if node.module not in ("typing", "__future__", "collections.abc", "numpy.typing") or node.level:
            self.refuse(
                node, f"`from {node.module} import ...`", "`import numpy as np`; nothing else can be imported"
            )

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        """Plain arguments, constant defaults, no recursion."""
        if node.decorator_list or getattr(node, "type_params", None):
            self.refuse(node, "a decorator or a type parameter", "the plain function")
        self.check_arguments(node, node.args)
        for name in [node.name, *(argument.arg for argument in node.args.args)]:
            self.check_name(node, name)
        for statement in node.body:
            self.visit(statement)
        # Known only from here on: a function can call those above it, so none can call itself.
        self.helpers.add(node.name)

    def check_arguments(self, node: ast.AST, arguments: ast.arguments) -> None:
        """Plain ones, whose defaults are constants."""
        if arguments.vararg or arguments.kwarg or arguments.kwonlyargs or arguments.posonlyargs:
            self.refuse(node, "star or keyword-only arguments", "plain arguments")
        for default in arguments.defaults:
            if not is_constant(default) and not isinstance(default, ast.List | ast.Tuple | ast.Name):
                self.refuse(node, "a computed default argument", "a number")
            self.visit(default)

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
        """See ``check_target``. A lambda with a name is a helper."""
        if isinstance(node.value, ast.Lambda) and all(isinstance(name, ast.Name) for name in node.targets):
            self.check_lambda(node.value)
            for target in node.targets:
                self.check_name(target, target.id)  # pyright: ignore[reportAttributeAccessIssue]
                self.helpers.add(target.id)  # pyright: ignore[reportAttributeAccessIssue]
            return
        for target in node.targets:
            self.check_target(target)
        self.visit(node.value)

    def visit_Lambda(self, node: ast.Lambda) -> None:
        """Anywhere else than as the value of a name."""
        self.refuse(node, "a lambda without a name", "a named helper function")

    def check_lambda(self, node: ast.Lambda) -> None:
        """As a function."""
        self.check_arguments(node, node.args)
        for argument in node.args.args:
            self.check_name(node, argument.arg)
        self.visit(node.body)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        """The annotation is dropped unread."""
        self.check_target(node.target)
        if node.value is not None:
            self.visit(node.value)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        """``x += y``."""
        if not isinstance(node.target, ast.Name | ast.Subscript):
            self.refuse_target(node.target)
        self.generic_visit(node)

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        """``(x := y)``."""
        self.check_target(node.target)
        self.visit(node.value)

    def check_target(self, target: ast.expr) -> None:
        """Names, tuples of names and places in arrays, lists and dictionaries can be assigned to."""
        if isinstance(target, ast.Tuple | ast.List):
            for item in target.elts:
                self.check_target(item.value if isinstance(item, ast.Starred) else item)
        elif isinstance(target, ast.Name | ast.Subscript):
            self.visit(target)
        else:
            self.refuse_target(target)

    def refuse_target(self, node: ast.AST) -> None:
        """Attributes are not assigned to."""
        self.refuse(node, f"assignment to `{text(node)}`", "a variable, or x[...] of an array")

    def visit_Assert(self, node: ast.Assert) -> None:
        """The message is dropped unread."""
        self.visit(node.test)

    def visit_Raise(self, node: ast.Raise) -> None:
        """An error by its name; the message is dropped unread."""
        error = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
        if not isinstance(error, ast.Name) or error.id not in words.ERRORS or node.cause:
            self.refuse(node, "a `raise`", "`raise ValueError`, or drop the line")

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        """Text with plain values in it."""
        for part in node.values:
            if isinstance(part, ast.FormattedValue):
                plain = part.format_spec is None or plain_format(part.format_spec)
                if not plain:
                    self.refuse(node, "a computed format", "the value alone")
                self.visit(part.value)

    def visit_Starred(self, node: ast.Starred) -> None:
        """Inside of lists and tuples; ``visit_Call`` looks at the others."""
        self.visit(node.value)

    def visit_Expr(self, node: ast.Expr) -> None:
        """Docstrings, ``list.append`` and its like, and ``print``, which is dropped."""
        if isinstance(node.value, ast.Constant):
            return  # a docstring
        call = node.value
        function = call.func if isinstance(call, ast.Call) else None
        if isinstance(call, ast.Call) and isinstance(function, ast.Name) and function.id == "print":
            for argument in call.args:
                if not isinstance(argument, ast.Constant):
                    self.visit(argument)
        elif isinstance(function, ast.Attribute) and function.attr in words.CHANGING_METHODS:
            self.visit(call)
        else:
            self.refuse(node, f"`{text(node)}` has no effect", "an assignment")

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
            known = words.MATH if self.is_math(owner) else words.CONSTANTS | words.DTYPES
            if name not in known:
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

    def is_math(self, node: ast.expr) -> bool:
        """Whether the node is the module ``math``."""
        return isinstance(node, ast.Name) and self.modules.get(node.id) == "math"

    def refuse_function(self, node: ast.AST, name: str, *, called: bool) -> None:
        """A NumPy function that the language does not have, or one used as a value."""
        if isinstance(node, ast.Attribute) and self.is_math(node.value):
            self.refuse(node, f"`math.{name[:MAX_NAME]}`", "an np function")
        elif name in words.FUNCTIONS and not called:
            self.refuse(node, f"`np.{name}` as a value", f"a call `np.{name}(...)`")
        else:
            known = "an arithmetic or reduction function such as np.sum, np.where, np.clip, np.linalg.norm"
            self.refuse(
                node,
                f"`{text(node)}` is not in the language",
                words.INSTEAD.get(name, words.INSTEAD.get(name.split(".")[0], known)),
            )

    def visit_Call(self, node: ast.Call) -> None:
        """The callee, the keywords, text among the arguments, constant sizes."""
        self.check_callee(node.func)
        free = self.is_helper(node.func) or (isinstance(node.func, ast.Name) and node.func.id == "dict")
        for keyword in node.keywords:
            if free and keyword.arg:
                self.check_name(node, keyword.arg)
            elif keyword.arg not in words.KEYWORDS:
                self.refuse(
                    node,
                    f"the keyword `{keyword.arg}`",
                    "only the common NumPy keywords, such as axis and keepdims",
                )
        einsum = isinstance(node.func, ast.Attribute) and node.func.attr == "einsum"
        for position, argument in enumerate([*node.args, *(keyword.value for keyword in node.keywords)]):
            if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                letters = einsum and position == 0 and re.fullmatch(r"[A-Za-z,.\-> ]{1,60}", argument.value)
                key = isinstance(node.func, ast.Attribute) and node.func.attr in ("get", "pop", "append")
                if not letters and argument.value not in words.STRINGS and not (key and position == 0):
                    self.refuse(node, f"the text {argument.value[:MAX_NAME]!r}", "numbers only")
            elif isinstance(argument, ast.Starred) and not (free or self.is_builtin(node.func)):
                self.refuse(node, "a starred argument", "each item by name")
            else:
                self.visit(argument)
        self.check_size(node)

    def is_builtin(self, function: ast.expr) -> bool:
        """Whether the node names one of Python's own functions."""
        return isinstance(function, ast.Name) and function.id in words.BUILTINS

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
                function, f"a call of `{text(function)}`", "np functions or a helper defined above it"
            )
        elif self.is_math(function.value):
            if function.attr not in words.MATH:
                self.refuse_function(function, function.attr, called=True)
        elif self.is_module(function.value):
            if function.attr not in words.FUNCTIONS and function.attr not in words.DTYPES - {"ndarray"}:
                self.refuse_function(function, function.attr, called=True)
        elif isinstance(function.value, ast.Attribute) and self.is_module(function.value.value):
            reduced = function.value.attr in words.REDUCING and function.attr == "reduce"
            if not reduced and (function.value.attr != "linalg" or function.attr not in words.LINALG):
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
        size = math.prod(max(1.0, abs(value)) for value in constants(node))
        if size > MAX_LENGTH * 100:
            self.refuse(node, f"an array of up to {size:.0f} numbers", "sizes taken from the arguments")

    def visit_Subscript(self, node: ast.Subscript) -> None:
        """``np.c_[a, b]`` is the one thing in brackets that is no array."""
        if is_column_stack(node) and self.modules.get(node.value.value.id) == "np":  # pyright: ignore
            self.visit(node.slice)
        else:
            self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        """Repeated lists and powers of constants are bounded; text is not computed with."""
        if any(is_text(side) for side in (node.left, node.right)):
            self.refuse(node, f"computing with text, `{text(node)}`", "numbers only")
        if isinstance(node.op, ast.Mult) and any(
            isinstance(side, LITERALS[1:]) for side in (node.left, node.right)
        ):
            times = max(number(side) or 0 for side in (node.left, node.right))
            if not 0 < times <= MAX_LENGTH:
                self.refuse(node, f"a list repeated {text(node)}", "np.zeros or np.full")
        value = number(node)
        if value is not None and abs(value) > MAX_NUMBER**2:
            self.refuse(node, f"the number `{text(node)}`", f"numbers up to {MAX_NUMBER:.0e}")
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        """Numbers of ordinary size, None, booleans and short texts, which are names of latents."""
        value = node.value
        if value is None or isinstance(value, bool) or value is Ellipsis:
            return
        if isinstance(value, int | float):
            if abs(value) > MAX_NUMBER and not (isinstance(value, float) and abs(value) < 1e30):
                self.refuse(node, "a huge number", f"numbers up to {MAX_NUMBER:.0e}")
        elif not isinstance(value, str) or not _NAME.fullmatch(value):
            self.refuse(node, f"the text or bytes {str(value)[:MAX_NAME]!r}", "numbers only")

    def visit_Dict(self, node: ast.Dict) -> None:
        """Keys are names."""
        for key in node.keys:
            if key is None or (isinstance(key, ast.Constant) and not isinstance(key.value, str | int)):
                self.refuse(
                    node, "a dictionary key that is no short name", "the name of each factor in quotes"
                )
            else:
                self.visit(key)
        for value in node.values:
            self.visit(value)
