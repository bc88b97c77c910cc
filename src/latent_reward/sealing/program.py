"""What a checked source means: its two readings, the names of its latents, the values of its constants."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Program:
    """A checked source, its arguments and the names of its latents.

    ``plain`` is what NumPy runs, ``tree`` what is traced: see :mod:`latent_reward.sealing.rewrite`.
    ``latent_names`` has None where the source does not name a latent, and is empty where only running it
    can tell (a dictionary).
    """

    source: str
    plain: ast.Module
    tree: ast.Module
    arguments: tuple[str, ...]
    latent_names: tuple[str | None, ...]


def number(node: ast.expr) -> float | None:
    """The value of an expression of constants as a float (infinite if it overflows), or None."""
    if isinstance(node, ast.Constant):
        try:
            return float(node.value) if isinstance(node.value, int | float) else None
        except OverflowError:
            return float("inf")
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        value = number(node.operand)
        return None if value is None else (-value if isinstance(node.op, ast.USub) else value)
    if not isinstance(node, ast.BinOp):
        return None
    left, right = number(node.left), number(node.right)
    if left is None or right is None:
        return None
    try:
        return _ARITHMETIC[type(node.op)](left, right)
    except KeyError:
        return None
    except (OverflowError, ZeroDivisionError):
        return float("inf")


def _power(left: float, right: float) -> float | None:
    value = left**right
    return value if isinstance(value, float) else None


_ARITHMETIC = {
    ast.Add: lambda left, right: left + right,
    ast.Sub: lambda left, right: left - right,
    ast.Mult: lambda left, right: left * right,
    ast.Div: lambda left, right: left / right,
    ast.FloorDiv: lambda left, right: left // right,
    ast.Pow: _power,
}


def trip_count(node: ast.expr) -> int:
    """Steps of a loop over ``range(constants)``; 1 where only running it can tell."""
    if isinstance(node, ast.List | ast.Tuple):
        return len(node.elts)
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "range"):
        return 1
    bounds = [number(argument) for argument in node.args]
    if not bounds or any(bound is None for bound in bounds):
        return 1
    start, stop = (0.0, bounds[0]) if len(bounds) == 1 else bounds[:2]
    step = bounds[2] if len(bounds) > 2 and bounds[2] else 1.0
    return int(min(max(0.0, ((stop or 0.0) - (start or 0.0)) / step), 1e15))


def returned_names(entry: ast.FunctionDef, arguments: tuple[str, ...]) -> tuple[str | None, ...]:
    """The names of the latents as far as the text tells: the variables in the list that is returned, or the
    keys of the dictionary whose values are.
    """
    nodes = list(_own_nodes(entry))
    value = [node.value for node in nodes if isinstance(node, ast.Return) and node.value is not None][-1:]
    match value:
        case [ast.List(elts=items) | ast.Tuple(elts=items)]:
            return tuple(_base_name(item, arguments) for item in items)
        case [
            ast.Call(func=ast.Attribute(attr=joined), args=[ast.List(elts=items) | ast.Tuple(elts=items), *_])
        ]:
            return tuple(_base_name(item, arguments) for item in items) if joined in _JOINING else ()
        case [
            ast.ListComp(
                elt=_, generators=[ast.comprehension(iter=ast.List(elts=items) | ast.Tuple(elts=items))]
            )
        ]:
            return tuple(_base_name(item, arguments) for item in items)
        case [
            ast.Call(func=ast.Name(id="list"), args=[ast.Call(func=ast.Attribute(ast.Name(name), "values"))])
        ]:
            return _keys(name, nodes)
        case [
            ast.ListComp(
                generators=[ast.comprehension(iter=ast.Call(func=ast.Attribute(ast.Name(name), "values")))]
            )
        ]:
            return _keys(name, nodes)
        case [ast.Name(id=name)]:
            return tuple(_base_name(item, arguments) for item in _items(name, nodes))
    return ()


_JOINING = ("concatenate", "hstack", "column_stack")


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
    while True:
        if isinstance(node, ast.Name):
            return None if node.id in arguments else node.id
        if isinstance(node, ast.UnaryOp):
            node = node.operand
        elif isinstance(node, ast.Subscript):
            node = node.value
        elif (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in ("reshape", "astype", "expand_dims")
        ):
            of_module = isinstance(node.func.value, ast.Name) and node.func.value.id in ("np", "numpy")
            if of_module and not node.args:
                return None
            node = node.args[0] if of_module else node.func.value
        else:
            return None
