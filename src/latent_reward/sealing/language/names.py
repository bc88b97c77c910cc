"""What a source calls its latents, as far as its text tells."""

import ast
from collections.abc import Iterator, Sequence

_JOINING = ("concatenate", "hstack", "column_stack")


def returned_names(entry: ast.FunctionDef, arguments: tuple[str, ...]) -> tuple[str | None, ...]:
    """The names of the latents: the variables in the returned list, or the keys of the returned dictionary.

    None stands for a latent without a name. The result is empty if only running the source can tell.
    """
    nodes = list(_own_nodes(entry))
    returned = [node.value for node in nodes if isinstance(node, ast.Return) and node.value is not None]
    items: Sequence[ast.expr] = ()
    match returned[-1] if returned else None:
        case ast.List(elts=found) | ast.Tuple(elts=found):
            items = found
        case ast.Call(
            func=ast.Attribute(attr=joined), args=[ast.List(elts=found) | ast.Tuple(elts=found), *_]
        ):
            items = found if joined in _JOINING else ()
        case ast.ListComp(generators=[ast.comprehension(iter=ast.List(elts=found) | ast.Tuple(elts=found))]):
            items = found
        case (
            ast.Call(func=ast.Name(id="list"), args=[ast.Call(func=ast.Attribute(ast.Name(name), "values"))])
            | ast.ListComp(
                generators=[ast.comprehension(iter=ast.Call(func=ast.Attribute(ast.Name(name), "values")))]
            )
        ):
            return _keys(name, nodes)
        case ast.Name(id=name):
            items = _items(name, nodes)
    return tuple(_base_name(item, arguments) for item in items)


def _items(variable: str, nodes: list[ast.AST]) -> list[ast.expr]:
    """What a list is made of, as far as it is written down."""
    items: list[ast.expr] = []
    for node in nodes:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.List(elts=first) | ast.Tuple(elts=first)):
                items = list(first) if name == variable else items
            case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr="append"), args=[item]):
                items += [item] if name == variable else []
    return items


def _keys(variable: str, nodes: list[ast.AST]) -> tuple[str | None, ...]:
    """The keys of a dictionary, as far as they are written down."""
    keys: list[ast.expr | None] = []
    for node in nodes:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Dict(keys=first)) if name == variable:
                keys = list(first)
            case ast.Assign(targets=[ast.Subscript(value=ast.Name(id=name), slice=key)]) if name == variable:
                keys.append(key)
    return tuple(str(key.value) if isinstance(key, ast.Constant) else None for key in keys)


def _own_nodes(entry: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a function in the order of the text, without those of functions inside it."""
    for child in ast.iter_child_nodes(entry):
        if not isinstance(child, ast.FunctionDef):
            yield child
            yield from _own_nodes(child)


def _base_name(node: ast.expr, arguments: tuple[str, ...]) -> str | None:
    """The variable behind ``x``, ``-x``, ``x.reshape(-1, 1)`` or ``x[:, None]``; None for anything richer."""
    match node:
        case ast.Name(id=name):
            return None if name in arguments else name
        case ast.UnaryOp(operand=inner) | ast.Subscript(value=inner):
            return _base_name(inner, arguments)
        case ast.Call(func=ast.Attribute(value=owner, attr="reshape" | "astype" | "expand_dims"), args=given):
            if isinstance(owner, ast.Name) and owner.id in ("np", "numpy"):
                return _base_name(given[0], arguments) if given else None
            return _base_name(owner, arguments)
    return None
