"""The two readings of a checked source: what NumPy runs, and what is traced.

Both are the source without imports, annotations and texts, every module under one name. For tracing,
conditions become calls of :mod:`latent_reward.sealing.choices`, so that one on a traced value becomes a
``where``. The names of these calls have double underscores, which the language refuses in a source; everything
else in a rewritten tree comes from the tree that was checked.
"""

import ast
import copy

# The names under which a source sees its modules.
ROOMS = {"numpy": "np", "jax.numpy": "np", "math": "math"}


def plain_form(tree: ast.Module) -> ast.Module:
    """What NumPy runs: the checked tree, changed in place."""
    return ast.fix_missing_locations(_Plain().visit(tree))


def traced_form(plain: ast.Module) -> ast.Module:
    """What is traced: a copy of the plain form without assertions and with conditions rewritten."""
    return ast.fix_missing_locations(_Choices().visit(copy.deepcopy(plain)))


def is_column_stack(node: ast.Subscript) -> bool:
    """Whether the node is ``np.c_[a, b]``, which means ``np.column_stack((a, b))``."""
    parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
    return (
        isinstance(node.value, ast.Attribute)
        and node.value.attr == "c_"
        and isinstance(node.value.value, ast.Name)
        and not any(isinstance(part, ast.Slice | ast.Constant) for part in parts)
    )


def modules(tree: ast.Module) -> dict[str, str]:
    """The names of modules in a source, each with the name of what it means."""
    names = {"np": "np"}
    for node in ast.walk(tree):
        for alias in node.names if isinstance(node, ast.Import) else ():
            names[alias.asname or alias.name] = ROOMS.get(alias.name, "np")
    return names


class _Plain(ast.NodeTransformer):
    """Drops imports, annotations, docstrings and messages; gives modules their names."""

    def visit_Module(self, node: ast.Module) -> ast.Module:
        self.modules = modules(node)
        self.generic_visit(node)
        return node

    def visit_Import(self, node: ast.Import) -> ast.Pass:
        return ast.copy_location(ast.Pass(), node)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.Pass:
        return ast.copy_location(ast.Pass(), node)

    def visit_Name(self, node: ast.Name) -> ast.Name:
        return ast.copy_location(ast.Name(self.modules.get(node.id, node.id), node.ctx), node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        node.returns = None
        for argument in node.args.args:
            argument.annotation = None
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
        parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        stacked = ast.Attribute(node.value.value, "column_stack", ast.Load())  # pyright: ignore
        return ast.copy_location(ast.Call(stacked, [ast.Tuple(parts, ast.Load())], []), node)

    def visit_Expr(self, node: ast.Expr) -> ast.stmt:
        call = node.value
        printed = isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "print"
        if printed or isinstance(call, ast.Constant):
            return ast.copy_location(ast.Pass(), node)
        self.generic_visit(node)
        return node

    def visit_Assert(self, node: ast.Assert) -> ast.Assert:
        return ast.copy_location(ast.Assert(self.visit(node.test), None), node)

    def visit_Raise(self, node: ast.Raise) -> ast.Raise:
        error = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
        return ast.copy_location(ast.Raise(error, None), node)


class _Choices(ast.NodeTransformer):
    """Conditions as calls. What assigns names inside a condition stays as it is, and divides the path."""

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

    def visit_Compare(self, node: ast.Compare) -> ast.expr:
        if len(node.ops) == 1 or _binds(node):
            self.generic_visit(node)
            return node
        sides = [node.left, *node.comparators]
        pairs: list[ast.expr] = [
            ast.copy_location(ast.Compare(copy.deepcopy(sides[i]), [node.ops[i]], [sides[i + 1]]), node)
            for i in range(len(node.ops))
        ]
        return self.visit(ast.copy_location(ast.BoolOp(ast.And(), pairs), node))

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        node.body = _one_return(node.body)
        self.generic_visit(node)
        return node

    def visit_If(self, node: ast.If) -> list[ast.stmt]:
        if _binds(node) or not _only_assigns(node):
            self.generic_visit(node)
            return [node]
        self.conditions += 1
        condition = f"__condition_{self.conditions}__"
        known = ast.copy_location(ast.Assign([ast.Name(condition, ast.Store())], self.visit(node.test)), node)
        statements: list[ast.stmt] = [known]
        for branch, test in (
            (node.body, ast.Name(condition, ast.Load())),
            (node.orelse, _call("__not__", ast.Name(condition, ast.Load()))),
        ):
            for statement in branch:
                statements += self.guarded(statement, test)
        return statements

    def guarded(self, statement: ast.stmt, test: ast.expr) -> list[ast.stmt]:
        """A statement of a branch, to take effect where ``test`` holds."""
        if isinstance(statement, ast.Pass | ast.Assert):
            return []
        if isinstance(statement, ast.If):
            inner = _call("__both__", copy.deepcopy(test), _later(statement.test))
            other = _call(
                "__both__", copy.deepcopy(test), _later(_call("__not__", copy.deepcopy(statement.test)))
            )
            first = ast.copy_location(ast.If(inner, statement.body, []), statement)
            # The first branch may change what the test reads, so both are asked before.
            self.conditions += 1
            name = f"__condition_{self.conditions}__"
            asked = ast.Assign([ast.Name(name, ast.Store())], self.visit(other))
            rest = [
                part for each in statement.orelse for part in self.guarded(each, ast.Name(name, ast.Load()))
            ]
            return [ast.copy_location(asked, statement), *self.visit_If(first), *rest]
        return [ast.copy_location(self.guarded_assignment(statement, test), statement)]

    def guarded_assignment(self, statement: ast.stmt, test: ast.expr) -> ast.stmt:
        """``if test: target = value`` as one call."""
        test = copy.deepcopy(test)
        if isinstance(statement, ast.AugAssign):
            target, value = statement.target, self.visit(statement.value)
            if isinstance(target, ast.Name):
                name = ast.Constant("i" + _OPERATORS[type(statement.op)])
                kept = _later(ast.Name(target.id, ast.Load()))
                return ast.Assign([target], _call("__augment__", test, name, kept, _later(value)))
            current = copy.deepcopy(target)
            current.ctx = ast.Load()
            value = ast.BinOp(current, statement.op, value)
        else:
            assert isinstance(statement, ast.Assign)
            target, value = statement.targets[0], self.visit(statement.value)
            if isinstance(target, ast.Name):
                kept = _later(_call("__keep__", _later(ast.Name(target.id, ast.Load()))))
                return ast.Assign([target], _call("__choose__", test, _later(value), kept))
        assert isinstance(target, ast.Subscript)
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
    for statement in [*node.body, *node.orelse]:
        match statement:
            case ast.If():
                simple = _only_assigns(statement)
            case ast.Assign(targets=[ast.Name() | ast.Subscript()]):
                simple = True
            case ast.AugAssign(target=ast.Name() | ast.Subscript()) | ast.Pass() | ast.Assert():
                simple = True
            case _:
                simple = False
        if not simple:
            return False
    return True


def _one_return(body: list[ast.stmt]) -> list[ast.stmt]:
    """``if a: return x`` and then ``return y`` as ``return x if a else y``, from the end on."""
    match body:
        case [*before, ast.If(test=test, body=[ast.Return(value=yes)], orelse=rest) as last] if rest:
            match _one_return(rest):
                case [ast.Return(value=no)] if yes and no:
                    value = ast.copy_location(ast.IfExp(test, yes, no), last)
                    return _one_return([*before, ast.copy_location(ast.Return(value), last)])
        case [
            *before,
            ast.If(test=test, body=[ast.Return(value=yes)], orelse=[]) as last,
            ast.Return(value=no),
        ]:
            if yes and no:
                value = ast.copy_location(ast.IfExp(test, yes, no), last)
                return _one_return([*before, ast.copy_location(ast.Return(value), last)])
    return body


def _call(name: str, *arguments: ast.expr) -> ast.Call:
    call = ast.Call(ast.Name(name, ast.Load()), list(arguments), [])
    return ast.copy_location(call, arguments[0])


def _later(value: ast.expr) -> ast.Lambda:
    nothing = ast.arguments(posonlyargs=[], args=[], kwonlyargs=[], kw_defaults=[], defaults=[])
    return ast.copy_location(ast.Lambda(nothing, value), value)


def _as_value(index: ast.expr) -> ast.expr:
    """An index as an expression that can stand outside of brackets."""
    if isinstance(index, ast.Slice):
        ends = [
            end or ast.copy_location(ast.Constant(None), index)
            for end in (index.lower, index.upper, index.step)
        ]
        return _call("__slice__", *ends)
    if isinstance(index, ast.Tuple):
        return ast.copy_location(ast.Tuple([_as_value(part) for part in index.elts], ast.Load()), index)
    return index
