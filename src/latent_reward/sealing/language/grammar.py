"""The syntax of the numeric language, as a walk over the tree that notes whatever is not in it."""

import ast
import math
import re

from latent_reward.sealing.language import vocabulary as words
from latent_reward.sealing.language.bindings import bound_names, function_names, problems_of_functions
from latent_reward.sealing.language.syntax import (
    ALLOWED,
    INSTEAD,
    Problem,
    is_column_stack,
    is_text,
    number,
    text,
    trip_count,
    type_names,
    whole_numbers,
)

MAX_NUMBER = 1e9
MAX_NAME = 60
# What a latent may be called; nothing that formats.
_LATENT_NAME = re.compile(r"[\w .,:/()\[\]^*+<>=|'-]{0,60}")
# A constant format such as `.2f`, too short to make a long text.
_FORMAT = re.compile(r"[.0-9]{0,3}[a-z%]?")
_EINSUM = re.compile(r"[A-Za-z,.\-> ]{1,60}")
_KNOWN = "what is computed from the arguments of the function"
_HELPER = "np functions or a helper defined above it"


_NUMPY = words.FUNCTIONS | (words.DTYPES - {"ndarray"})


def _is_limits(node: ast.expr) -> bool:
    """``np.finfo(...)`` or ``np.iinfo(...)``."""
    match node:
        case ast.Call(func=ast.Attribute(value=ast.Name(id="np"), attr="finfo" | "iinfo")):
            return True
    return False


class Checker(ast.NodeVisitor):
    """Walks a resolved tree and collects what the language does not have. Use it once: ``problems(tree)``."""

    def __init__(self, imported: set[str]):
        """``imported``: names that stand for modules and for what is in them."""
        self.found: list[Problem] = []
        self.imported = imported | {"isinstance", "print"}  # which are not values either
        self.bound: set[str] = set()
        self.functions: set[str] = set()
        self.helpers: set[str] = set()  # those functions that are defined by now
        self.loop_steps = 1
        self.line = 1

    def problems(self, tree: ast.Module) -> list[Problem]:
        """Every problem in the tree."""
        self.bound, self.functions = bound_names(tree), function_names(tree)
        self.found = problems_of_functions(tree)
        self.visit(tree)
        return self.found

    def refuse(self, node: ast.AST, found: str, instead: str) -> None:
        """Notes a problem at the node's line."""
        self.found.append(Problem(getattr(node, "lineno", self.line), found, instead))

    def visit(self, node: ast.AST) -> None:
        """Refuses whatever is not on the list; checks what is more closely."""
        self.line = getattr(node, "lineno", self.line)  # operators have no line of their own
        if isinstance(node, ALLOWED):
            super().visit(node)
        else:
            kind = type(node)
            instead = INSTEAD.get(kind, "plain array expressions")
            self.refuse(node, f"`{kind.__name__}` is not in the language", instead)

    # --- modules, functions and names ---

    def visit_Module(self, node: ast.Module) -> None:
        """Outside functions: imports, constants, docstrings."""
        for statement in node.body:
            if isinstance(statement, ast.For | ast.If | ast.AugAssign):
                self.refuse(statement, "a statement outside the function", f"it inside {words.ENTRY}")
        self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        """Plain arguments, constant defaults, no recursion."""
        if node.decorator_list or getattr(node, "type_params", None):
            self.refuse(node, "a decorator or a type parameter", "the plain function")
        self.check_name(node, node.name)
        self.check_arguments(node, node.args)
        for statement in node.body:
            self.visit(statement)
        # Known only from here on: a function can call those above it, so none can call itself.
        self.helpers.add(node.name)

    def check_arguments(self, node: ast.AST, arguments: ast.arguments) -> None:
        """Plain ones, whose defaults are constants."""
        if arguments.vararg or arguments.kwarg or arguments.posonlyargs:
            self.refuse(node, "star or positional-only arguments", "plain arguments")
        for default in [*arguments.defaults, *filter(None, arguments.kw_defaults)]:
            if number(default) is None and not isinstance(
                default, ast.Constant | ast.List | ast.Tuple | ast.Name | ast.Attribute
            ):
                self.refuse(node, "a computed default argument", "a number")
            self.visit(default)
        for argument in [*arguments.args, *arguments.kwonlyargs]:
            self.check_name(node, argument.arg)

    def check_name(self, node: ast.AST, name: str) -> None:
        """A name that is bound: short, not double-underscored, not one that was imported."""
        if "__" in name or len(name) > MAX_NAME:
            self.refuse(node, f"the name `{name[:MAX_NAME]}`", "a short name without double underscores")
        if name in self.imported:
            self.refuse(node, f"`{name}` as a variable", "another name")

    def visit_Name(self, node: ast.Name) -> None:
        """A name that is read was bound, by the source or by the language; a module is not a value."""
        name = node.id
        if not isinstance(node.ctx, ast.Load):
            self.check_name(node, name)
        elif name in self.imported:
            self.refuse(node, f"`{name}` on its own", f"`{name}.function(...)`")
        elif name in self.functions and name not in self.helpers:
            self.refuse(node, f"`{name}` before its definition", "helpers above the functions that use them")
        elif name not in self.bound | words.BUILTINS:
            self.refuse(node, f"the unknown name `{name[:MAX_NAME]}`", _KNOWN)
        else:
            self.check_name(node, name)

    # --- statements ---

    def visit_Assign(self, node: ast.Assign) -> None:
        """See ``check_target``. A lambda with a name is a helper."""
        names = [target for target in node.targets if isinstance(target, ast.Name)]
        if isinstance(node.value, ast.Lambda) and len(names) == len(node.targets):
            self.check_arguments(node.value, node.value.args)
            self.visit(node.value.body)
            for target in names:
                self.check_name(target, target.id)
                self.helpers.add(target.id)
            return
        for target in node.targets:
            self.check_target(target)
        self.visit(node.value)

    def visit_Lambda(self, node: ast.Lambda) -> None:
        """A function as a value, for a list of functions or as an argument."""
        self.check_arguments(node, node.args)
        self.visit(node.body)

    def visit_AnnAssign(self, node: ast.AnnAssign | ast.NamedExpr) -> None:
        """``x: T = y``, whose annotation is dropped unread, and ``(x := y)``."""
        self.check_target(node.target)
        if node.value is not None:
            self.visit(node.value)

    visit_NamedExpr = visit_AnnAssign  # noqa: N815

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        """``x += y``."""
        self.check_target(node.target)
        self.visit(node.op)
        self.visit(node.value)

    def check_target(self, target: ast.expr) -> None:
        """Names, tuples of names and places in arrays, lists and dictionaries can be assigned to."""
        if isinstance(target, ast.Tuple | ast.List):
            for item in target.elts:
                self.check_target(item.value if isinstance(item, ast.Starred) else item)
        elif isinstance(target, ast.Name | ast.Subscript):
            self.visit(target)
        else:
            self.refuse(target, f"assignment to `{text(target)}`", "a variable, or x[...] of an array")

    def visit_Assert(self, node: ast.Assert) -> None:
        """The message is dropped unread."""
        self.visit(node.test)

    def visit_Raise(self, node: ast.Raise) -> None:
        """An error by its name; the message is dropped unread."""
        error = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
        if not isinstance(error, ast.Name) or error.id not in words.ERRORS or node.cause:
            self.refuse(node, "a `raise`", "`raise ValueError`, or drop the line")

    def visit_Expr(self, node: ast.Expr) -> None:
        """Docstrings, ``list.append`` and its like, and ``print``, which is dropped."""
        match node.value:
            case ast.Constant() | ast.JoinedStr():
                pass  # a docstring
            case ast.Call(func=ast.Name(id="print"), args=arguments):
                for argument in arguments:
                    if not isinstance(argument, ast.Constant):
                        self.visit(argument)
            case ast.Call(func=ast.Attribute(attr=name)) if name in words.CHANGING_METHODS:
                self.visit(node.value)
            case ast.Call(keywords=keywords) if any(keyword.arg == "out" for keyword in keywords):
                self.visit(node.value)
            case _:
                self.refuse(node, f"`{text(node)}` has no effect", "an assignment")

    def visit_For(self, node: ast.For) -> None:
        """Nested loops of constant length have a bounded product."""
        if node.orelse:
            self.refuse(node, "`else` after a loop", "the statements after it")
        self.check_target(node.target)
        self.visit(node.iter)
        outer, self.loop_steps = self.loop_steps, self.loop_steps * max(1, trip_count(node.iter))
        if self.loop_steps > words.LOOP_BUDGET:
            remedy = f"array expressions, or at most {words.LOOP_BUDGET} steps"
            self.refuse(node, f"loops of {self.loop_steps} steps", remedy)
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

    # --- attributes and calls ---

    def module(self, node: ast.expr) -> str | None:
        """``np`` or ``math`` if the node is that module."""
        return node.id if isinstance(node, ast.Name) and node.id in ("np", "math") else None

    def visit_Attribute(self, node: ast.Attribute) -> None:
        """Reached for attributes that are not called (see ``check_callee``)."""
        module, name = self.module(node.value), node.attr
        if module:
            if name not in (words.MATH if module == "math" else _NUMPY | words.CONSTANTS):
                self.refuse_function(node)
        elif name in words.LIMITS and _is_limits(node.value):
            self.visit(node.value)
        elif name not in words.ATTRIBUTES or not isinstance(node.ctx, ast.Load):
            remedy = "array functions such as np.sum, or .shape"
            self.refuse(node, f"the attribute `.{name[:MAX_NAME]}`", remedy)
        else:
            self.visit(node.value)

    def refuse_function(self, node: ast.Attribute) -> None:
        """A function of a module that the language does not have."""
        name = node.attr
        if isinstance(node.value, ast.Attribute):  # np.linalg.svd
            name = f"{node.value.attr}.{name}"
        if self.module(node.value) == "math":
            self.refuse(node, f"`math.{name[:MAX_NAME]}`", "an np function")
        else:
            known = "an arithmetic or reduction function such as np.sum, np.where, np.clip, np.linalg.norm"
            instead = words.INSTEAD.get(name, words.INSTEAD.get(name.split(".")[0], known))
            self.refuse(node, f"`{text(node)}` is not in the language", instead)

    def is_variable(self, name: str) -> bool:
        """Whether a name stands for a value that the source computes, which may be a function."""
        return name in self.bound - self.functions

    def visit_Call(self, node: ast.Call) -> None:
        """The callee, the keywords, text among the arguments, constant sizes."""
        function = node.func.id if isinstance(node.func, ast.Name) else ""
        method = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        if function == "isinstance":
            self.check_isinstance(node)
            return
        self.check_callee(node.func)
        free = function == "dict" or function in self.helpers or self.is_variable(function)
        for keyword in node.keywords:
            if free and keyword.arg:
                self.check_name(node, keyword.arg)
            else:
                self.check_keyword(node, keyword.arg or "**", method)
        for position, argument in enumerate([*node.args, *(keyword.value for keyword in node.keywords)]):
            if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                known = argument.value in words.STRINGS
                if position == 0 and method == "einsum":
                    known = known or _EINSUM.fullmatch(argument.value)
                if not known and not (position == 0 and method in ("get", "pop", "append")):
                    self.refuse(node, f"the text {argument.value[:MAX_NAME]!r}", "numbers only")
            elif isinstance(argument, ast.Starred) and not (free or function in words.BUILTINS):
                self.refuse(node, "a starred argument", "each item by name")
            else:
                self.visit(argument)
        if method in words.CREATORS:
            size = math.prod(max(1.0, abs(value)) for value in whole_numbers(node))
            if size > words.MAX_LENGTH * 100:
                self.refuse(node, f"an array of up to {size:.0f} numbers", "sizes taken from the arguments")

    def check_keyword(self, node: ast.Call, keyword: str, method: str) -> None:
        """NumPy's own names. What ``where`` leaves out is undefined, unless ``out`` says what is there."""
        by_element = method in words.ELEMENTWISE and isinstance(node.func, ast.Attribute)
        by_element = by_element and self.module(node.func.value) == "np"  # pyright: ignore
        if keyword not in words.KEYWORDS or (keyword == "out" and not by_element):
            remedy = "only the common NumPy keywords, such as axis and keepdims"
            self.refuse(node, f"the keyword `{keyword[:MAX_NAME]}`", remedy)
        elif keyword == "where" and by_element and all(each.arg != "out" for each in node.keywords):
            self.refuse(node, "`where` without `out`", "out=np.zeros_like(...) beside it, or np.where")

    def check_isinstance(self, node: ast.Call) -> None:
        """Of a value and of types that are written down; see ``rewrite``."""
        if len(node.args) != 2 or node.keywords or not type_names(node.args[1]):
            self.refuse(node, f"`{text(node)}`", "isinstance(x, np.ndarray), or no question")
        else:
            self.visit(node.args[0])

    def check_callee(self, function: ast.expr) -> None:
        """What may be called: builtins, helpers above, ``np.f``, ``np.linalg.norm``, methods, variables."""
        match function:
            case ast.Name(id=name):
                if name not in self.helpers | words.BUILTINS and not self.is_variable(name):
                    self.refuse(function, f"a call of `{name[:MAX_NAME]}`", _HELPER)
                self.check_name(function, name)
            case ast.Attribute(value=owner, attr=name) if self.module(owner):
                if name not in (words.MATH if self.module(owner) == "math" else _NUMPY):
                    self.refuse_function(function)
            case ast.Attribute(value=ast.Attribute(value=owner, attr=inner), attr=name) if self.module(owner):
                reduced = inner in words.REDUCING and name == "reduce"
                if not reduced and (inner != "linalg" or name not in words.LINALG):
                    self.refuse_function(function)
            case ast.Attribute(value=owner, attr=name) if name in words.METHODS:
                self.visit(owner)
            case ast.Attribute(attr=name):
                remedy = "an np function, such as np.sum(x, axis=1)"
                self.refuse(function, f"the method `.{name[:MAX_NAME]}()`", remedy)
            case _:
                self.refuse(function, f"a call of `{text(function)}`", _HELPER)

    # --- other expressions ---

    def visit_Subscript(self, node: ast.Subscript) -> None:
        """``np.c_[a, b]`` is the one thing in brackets that is no array."""
        if is_column_stack(node) and self.module(node.value.value) == "np":  # pyright: ignore
            self.visit(node.slice)
        else:
            self.generic_visit(node)

    def visit_Starred(self, node: ast.Starred) -> None:
        """Inside of lists and tuples; ``visit_Call`` checks the others."""
        self.visit(node.value)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        """Text with plain values in it."""
        for part in node.values:
            if isinstance(part, ast.FormattedValue):
                specified = part.format_spec.values if isinstance(part.format_spec, ast.JoinedStr) else []
                if not all(isinstance(each, ast.Constant) and _FORMAT.fullmatch(str(each.value))
                           for each in specified):  # fmt: skip
                    self.refuse(node, "a computed format", "the value alone")
                self.visit(part.value)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        """Repeated lists and powers of constants are bounded; text is not computed with."""
        sides = (node.left, node.right)
        if any(map(is_text, sides)):
            self.refuse(node, f"computing with text, `{text(node)}`", "numbers only")
        repeated = any(isinstance(side, ast.List | ast.Tuple | ast.Dict) for side in sides)
        times = max(number(side) or 0 for side in sides)
        if isinstance(node.op, ast.Mult) and repeated and times > words.MAX_LENGTH:
            self.refuse(node, f"a list repeated {text(node)}", "np.zeros or np.full")
        value = number(node)
        if value is not None and abs(value) > MAX_NUMBER**2:
            self.refuse(node, f"the number `{text(node)}`", f"numbers up to {MAX_NUMBER:.0e}")
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        """Numbers of ordinary size, None, booleans and short texts, which are names of latents."""
        match node.value:
            case None | bool():
                pass
            case int() | float() as value:
                if abs(value) > MAX_NUMBER and not (isinstance(value, float) and abs(value) < 1e30):
                    self.refuse(node, "a huge number", f"numbers up to {MAX_NUMBER:.0e}")
            case str() as value if _LATENT_NAME.fullmatch(value):
                pass
            case value if value is not Ellipsis:
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
