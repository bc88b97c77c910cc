"""The two readings of a checked source: what NumPy runs, and what is traced.

Both are the source without annotations and messages, in which loops and calls are counted and whatever can grow is
measured, by the functions of :mod:`latent_reward.sealing.trace.bounds`. For tracing, conditions and calls of methods
become calls of :mod:`latent_reward.sealing.trace.choices`, so that a condition on a traced value becomes a
``where``, and arrays need no methods. The names of all these have double underscores, which the language refuses in
a source; everything else in a rewritten tree comes from the tree that was checked.
"""

import ast
import copy

from latent_reward.sealing.language import vocabulary as words
from latent_reward.sealing.language.syntax import elements, is_column_stack, type_names


def plain_form(tree: ast.Module) -> ast.Module:
    """What NumPy runs: the checked tree, changed in place."""
    return ast.fix_missing_locations(_Plain().visit(tree))


def traced_form(plain: ast.Module) -> ast.Module:
    """What is traced: a copy of the plain form without assertions and with conditions rewritten."""
    return ast.fix_missing_locations(_Choices().visit(copy.deepcopy(plain)))


class _Plain(ast.NodeTransformer):
    """Drops annotations, docstrings and messages; counts steps and measures what grows."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        self.generic_visit(node)
        node.body.insert(0, ast.copy_location(ast.Expr(_call("__step__", place=node)), node))
        return node

    def visit_arg(self, node: ast.arg) -> ast.arg:
        return ast.copy_location(ast.arg(node.arg), node)

    def visit_Lambda(self, node: ast.Lambda) -> ast.Lambda:
        self.generic_visit(node)
        return ast.copy_location(ast.Lambda(node.args, _call("__step__", node.body)), node)

    def visit_For(self, node: ast.For) -> ast.For:
        self.generic_visit(node)
        node.iter = _call("__each__", node.iter)
        return node

    def visit_comprehension(self, node: ast.comprehension) -> ast.comprehension:
        self.generic_visit(node)
        node.iter = _call("__each__", node.iter)
        return node

    def visit_BinOp(self, node: ast.BinOp) -> ast.Call:
        self.generic_visit(node)
        name = ast.copy_location(ast.Constant(_OPERATORS[type(node.op)]), node)
        return _call("__binary__", name, node.left, node.right)

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.AugAssign:
        self.generic_visit(node)
        name = ast.copy_location(ast.Constant(_OPERATORS[type(node.op)]), node)
        before = copy.deepcopy(node.target)
        before.ctx = ast.Load()  # pyright: ignore[reportAttributeAccessIssue]
        if isinstance(before, ast.Subscript):  # asked only of lists and dictionaries: arrays do not grow
            before = _call("__entry__", before.value, _later(before))
        node.value = _call("__operand__", name, before, node.value)
        return node

    def visit_Starred(self, node: ast.Starred) -> ast.Starred:
        self.generic_visit(node)
        return node if isinstance(node.ctx, ast.Store) else _starred(node)

    def visit_FormattedValue(self, node: ast.FormattedValue) -> ast.FormattedValue:
        self.generic_visit(node)
        node.value = _call("__text__", node.value)
        return node

    def visit_Call(self, node: ast.Call) -> ast.Call:
        match node.func:
            case ast.Name(id="isinstance"):
                names: list[ast.expr] = [ast.Constant(name) for name in type_names(node.args[1])]
                return _call("__isinstance__", self.visit(node.args[0]), *names)
            case ast.Attribute(attr=name) if name in words.CHANGING_METHODS - {"append", "fill"}:
                self.generic_visit(node)
                node.args[-1:] = [_call("__short__", each) for each in node.args[-1:]]
                return node
        self.generic_visit(node)
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.stmt:
        if node.value is None:
            return ast.copy_location(ast.Pass(), node)
        return ast.copy_location(ast.Assign([self.visit(node.target)], self.visit(node.value)), node)

    def visit_Subscript(self, node: ast.Subscript) -> ast.expr:
        self.generic_visit(node)
        if not is_column_stack(node):
            return node
        stacked = ast.Attribute(node.value.value, "column_stack", ast.Load())  # pyright: ignore
        parts = ast.Tuple(elements(node.slice), ast.Load())
        return ast.copy_location(ast.Call(stacked, [parts], []), node)

    def visit_Expr(self, node: ast.Expr) -> ast.AST:
        match node.value:
            case ast.Constant() | ast.JoinedStr() | ast.Call(func=ast.Name(id="print")):
                return ast.copy_location(ast.Pass(), node)
        return self.generic_visit(node)

    def visit_Assert(self, node: ast.Assert) -> ast.Assert:
        return ast.copy_location(ast.Assert(self.visit(node.test), None), node)

    def visit_Raise(self, node: ast.Raise) -> ast.Raise:
        error = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
        return ast.copy_location(ast.Raise(error, None), node)


class _Choices(ast.NodeTransformer):
    """Conditions and calls of methods as calls of functions.

    What assigns names inside a condition stays as it is, and divides the path.
    """

    def __init__(self):
        self.conditions = 0

    def visit_Assert(self, node: ast.Assert) -> ast.Pass:
        return ast.copy_location(ast.Pass(), node)

    def visit_IfExp(self, node: ast.IfExp) -> ast.expr:
        self.generic_visit(node)
        return (
            node if _binds(node) else _call("__choose__", node.test, _later(node.body), _later(node.orelse))
        )

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.expr:
        self.generic_visit(node)
        if _binds(node):
            return node
        name = "__both__" if isinstance(node.op, ast.And) else "__either__"
        result = node.values[-1]
        for value in reversed(node.values[:-1]):
            result = _call(name, value, _later(result))
        return result

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.expr:
        self.generic_visit(node)
        return _call("__not__", node.operand) if isinstance(node.op, ast.Not) else node

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        if len(node.ops) == 1 or _binds(node):
            return self.generic_visit(node)
        sides = [node.left, *node.comparators]
        pairs: list[ast.expr] = [
            ast.copy_location(ast.Compare(copy.deepcopy(left), [op], [right]), node)
            for left, op, right in zip(sides, node.ops, sides[1:], strict=False)
        ]
        return self.visit(ast.copy_location(ast.BoolOp(ast.And(), pairs), node))

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        match node.func:
            case ast.Attribute(value=owner, attr=name) if not (
                isinstance(owner, ast.Name) and owner.id == "np"
            ):
                called = _call("__method__", owner, ast.Constant(name), *node.args)
                called.keywords = node.keywords
                return called
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.body = _one_return(node.body)
        return self.generic_visit(node)

    def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt]:
        if _binds(node) or not _only_assigns(node):
            return self.generic_visit(node)
        return self.conditional(node, ast.copy_location(ast.Constant(True), node))

    def conditional(self, node: ast.If, outer: ast.expr) -> list[ast.stmt]:
        """Both branches, to take effect where ``outer`` holds. All conditions are asked before any branch, which
        may change what they read.
        """
        self.conditions += 1
        yes, no = (f"__condition_{self.conditions}_{branch}__" for branch in ("yes", "no"))
        branches = [(yes, self.visit(node.test), node.body)]
        if node.orelse:
            branches.append((no, _call("__not__", _name(yes, node)), node.orelse))
        statements = []
        for name, test, _ in branches:
            asked = _call("__both__", outer, _later(test))
            statements.append(ast.copy_location(ast.Assign([_name(name, node, ast.Store())], asked), node))
        for name, _, branch in branches:
            for statement in branch:
                if isinstance(statement, ast.If):
                    statements += self.conditional(statement, _name(name, statement))
                elif not isinstance(statement, ast.Pass | ast.Assert):
                    guarded = self.guarded(statement, _name(name, statement))
                    statements.append(ast.copy_location(guarded, statement))
        return statements

    def guarded(self, statement: ast.stmt, test: ast.expr) -> ast.stmt:
        """``if test: target = value`` as one call."""
        assert isinstance(statement, ast.Assign | ast.AugAssign)
        target = statement.target if isinstance(statement, ast.AugAssign) else statement.targets[0]
        value, before = self.visit(statement.value), copy.deepcopy(target)
        before.ctx = ast.Load()  # pyright: ignore[reportAttributeAccessIssue]
        if isinstance(target, ast.Name) and isinstance(statement, ast.AugAssign):
            name = ast.Constant("i" + _OPERATORS[type(statement.op)])
            return ast.Assign([target], _call("__augment__", test, name, _later(before), _later(value)))
        if isinstance(target, ast.Name):
            kept = _later(_call("__keep__", _later(before)))
            return ast.Assign([target], _call("__choose__", test, _later(value), kept))
        assert isinstance(target, ast.Subscript)
        if isinstance(statement, ast.AugAssign):
            value = _call(
                "__binary__", ast.Constant(_OPERATORS[type(statement.op)]), before, value, place=statement
            )
        return ast.Expr(_call("__assign__", test, target.value, _as_value(target.slice), _later(value)))


_OPERATORS = {
    ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.Div: "truediv", ast.FloorDiv: "floordiv",
    ast.Mod: "mod", ast.Pow: "pow", ast.MatMult: "matmul", ast.BitAnd: "and", ast.BitOr: "or",
    ast.BitXor: "xor",
}  # fmt: skip


def _binds(node: ast.AST) -> bool:
    """Whether an expression inside assigns a name, which a function around it would hide."""
    return any(isinstance(each, ast.NamedExpr) for each in ast.walk(node))


def _only_assigns(node: ast.If) -> bool:
    """Whether both branches do no more than assign to single names and places."""

    def simple(statement: ast.stmt) -> bool:
        match statement:
            case ast.If():
                return _only_assigns(statement)
            case ast.Assign(targets=[ast.Name() | ast.Subscript()]) | ast.Pass() | ast.Assert():
                return True
            case ast.AugAssign(target=ast.Name() | ast.Subscript()):
                return True
        return False

    return all(map(simple, [*node.body, *node.orelse]))


def _one_return(body: list[ast.stmt]) -> list[ast.stmt]:
    """``if a: return x`` and then ``return y`` as ``return x if a else y``, beginning at the end."""
    match body:
        case [*before, ast.If(orelse=[]) as last, ast.Return() as end]:
            rest = [end]
        case [*before, ast.If(orelse=rest) as last]:
            rest = _one_return(rest)
        case _:
            return body
    match last.body, rest:
        case [ast.Return(value=ast.expr() as yes)], [ast.Return(value=ast.expr() as no)]:
            value = ast.copy_location(ast.IfExp(last.test, yes, no), last)
            return _one_return([*before, ast.copy_location(ast.Return(value), last)])
    return body


def _name(name: str, place: ast.AST, context: ast.expr_context | None = None) -> ast.Name:
    return ast.copy_location(ast.Name(name, context or ast.Load()), place)


def _call(name: str, *arguments: ast.expr, place: ast.AST | None = None) -> ast.Call:
    call = ast.Call(ast.Name(name, ast.Load()), list(arguments), [])
    return ast.copy_location(call, place or arguments[0])


def _starred(node: ast.Starred) -> ast.Starred:
    return ast.copy_location(ast.Starred(_call("__short__", node.value), ast.Load()), node)


def _later(value: ast.expr) -> ast.Lambda:
    nothing = ast.arguments(posonlyargs=[], args=[], kwonlyargs=[], kw_defaults=[], defaults=[])
    return ast.copy_location(ast.Lambda(nothing, value), value)


def _as_value(index: ast.expr) -> ast.expr:
    """An index as an expression that can stand outside of brackets."""
    if isinstance(index, ast.Slice):
        nothing = ast.copy_location(ast.Constant(None), index)
        return _call("__slice__", *(end or nothing for end in (index.lower, index.upper, index.step)))
    if isinstance(index, ast.Tuple):
        return ast.copy_location(ast.Tuple([_as_value(part) for part in index.elts], ast.Load()), index)
    return index
