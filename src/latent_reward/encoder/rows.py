"""Programs whose rows cannot influence one another, however many there are.

:func:`mapped_over_rows` makes one from a function of whole batches: it traces the function for a batch of one row and
maps that over the rows. The batch axis of length one that remains inside costs speed, so :func:`rows_stay_apart` looks
for a proof that the function of whole batches may be compiled as it is: every operation in it computes a row from the
same row of its operands. What it does not recognise it takes for no proof.
"""

from collections.abc import Callable
from typing import Any

import jax
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

# Each number of the result comes from the numbers at the same place of the operands.
_ELEMENTWISE = {
    "abs", "acos", "acosh", "add", "add_any", "and", "asin", "asinh", "atan", "atan2", "atanh", "cbrt", "ceil",
    "clamp", "convert_element_type", "copy", "cos", "cosh", "div", "eq", "erf", "erf_inv", "exp", "exp2", "expm1",
    "floor", "ge", "gt", "integer_pow", "is_finite", "le", "log", "log1p", "logistic", "lt", "max", "min", "mul", "ne",
    "neg", "nextafter", "not", "or", "pow", "real",
    "reduce_precision", "rem", "round", "rsqrt", "select_n", "sign", "sin", "sinh", "sqrt",
    "square", "stop_gradient", "sub", "tan", "tanh", "xor",
}  # fmt: skip
_CALLS = {"jit": "jaxpr", "pjit": "jaxpr", "closed_call": "call_jaxpr", "custom_jvp_call": "call_jaxpr"}


def mapped_over_rows(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of batches that applies ``function``, which takes batches too, to each row by itself."""

    def one(*row: jax.Array) -> jax.Array:
        return function(*(part[None] for part in row))[0]

    return jax.vmap(one)


def rows_stay_apart(traced: ClosedJaxpr) -> bool:
    """Whether it is proved that row i of each result depends on row i of the arguments alone.

    All arguments and results are arrays whose first axis has the same symbolic size, the number of rows.
    """
    batch = traced.in_avals[0].shape[0]
    tags = _tags(traced.jaxpr, [True] * len(traced.in_avals), batch)
    return tags is not None and all(tags)


def _tags(jaxpr: Jaxpr, given: list[bool], batch: Any) -> list[bool] | None:
    """For each result: True if it has a row for each row of the arguments, False if it knows nothing of them.

    None if it is not proved that every value is one or the other.
    """
    known = dict(zip(jaxpr.invars, given, strict=True)) | dict.fromkeys(jaxpr.constvars, False)

    def tag(variable: Any) -> bool:
        return False if isinstance(variable, Literal) else known[variable]

    equation: Any
    for equation in jaxpr.eqns:
        inside = _CALLS.get(equation.primitive.name)
        operands = [tag(variable) for variable in equation.invars]
        if inside is None:
            tags = [_result(equation, operands, batch)] * len(equation.outvars)
        else:
            called = equation.params[inside]
            tags = _tags(called.jaxpr if isinstance(called, ClosedJaxpr) else called, operands, batch)
        if tags is None:
            return None
        for variable, each in zip(equation.outvars, tags, strict=True):
            if each is None or not _has_shape(variable.aval.shape, each, batch):
                return None
            known[variable] = each
    return [tag(variable) for variable in jaxpr.outvars]


def _has_shape(shape: tuple, rows: bool, batch: Any) -> bool:
    """Whether a shape is that of rows, or knows nothing of their number."""
    fixed = shape[1:] if rows else shape
    return all(isinstance(size, int) for size in fixed) and (
        not rows or (len(shape) > 0 and shape[0] == batch)
    )


def _result(equation: Any, rows: list[bool], batch: Any) -> bool | None:
    """What the result of one operation is; ``rows`` says it of its operands. None if that is not known."""
    name, params = equation.primitive.name, equation.params
    shapes = [variable.aval.shape for variable in equation.invars]
    if not any(rows):
        if not any(map(jax.export.is_symbolic_dim, jax.tree.leaves(list(params.values())))):
            return False
        same = name == "broadcast_in_dim" and (
            0 not in params["broadcast_dimensions"] or shapes[0][:1] == (1,)
        )
        return same or None  # the same constant in every row
    if name in _ELEMENTWISE:
        return all(each or shape[:1] in ((), (1,)) for each, shape in zip(rows, shapes, strict=True)) or None
    if name.startswith(("reduce_", "arg")) and "axes" in params:
        return 0 not in params["axes"] or None
    rule = _RULES.get(name)
    return (rule(params, rows, shapes, batch) or None) if rule else None


def _gather(params: dict, rows: list[bool], shapes: list, batch: Any) -> bool:
    """Whole columns of an array of rows; or for each row its own places, in itself or in a constant."""
    numbers = params["dimension_numbers"]
    paired = numbers.operand_batching_dims, numbers.start_indices_batching_dims
    if rows == [True, False]:
        whole = params["slice_sizes"][0] == batch and 0 not in numbers.collapsed_slice_dims
        return (
            whole
            and 0 not in numbers.start_index_map
            and numbers.offset_dims[:1] == (0,)
            and paired == ((), ())
        )
    its_own = (paired[0][:1], paired[1][:1]) == ((0,), (0,)) if rows[0] else paired == ((), ())
    return its_own and 0 not in numbers.offset_dims


def _scatter(params: dict, rows: list[bool], shapes: list, batch: Any) -> bool:
    """Whole columns are put into an array of rows, at places that are the same for all rows."""
    numbers = params["dimension_numbers"]
    whole = 0 not in (*numbers.inserted_window_dims, *numbers.scatter_dims_to_operand_dims)
    return (
        rows == [True, False, True]
        and whole
        and numbers.update_window_dims[:1] == (0,)
        and not numbers.operand_batching_dims
    )


def _dot(params: dict, rows: list[bool], shapes: list, batch: Any) -> bool:
    """Rows times a constant matrix, or each row times the same row of the other operand."""
    (contracted, _), (left, right) = params["dimension_numbers"]
    if rows == [True, True]:
        return left[:1] == right[:1] == (0,)
    return rows == [True, False] and not left and 0 not in contracted


def _slice(params: dict, rows: list[bool], shapes: list, batch: Any) -> bool:
    strides = params["strides"]
    return (
        params["start_indices"][0] == 0
        and params["limit_indices"][0] == batch
        and (not strides or strides[0] == 1)
    )


_RULES: dict[str, Callable[[dict, list[bool], list, Any], bool]] = {
    "broadcast_in_dim": lambda params, rows, *_: params["broadcast_dimensions"][:1] == (0,),
    "concatenate": lambda params, rows, *_: all(rows) and params["dimension"] != 0,
    "cumsum": lambda params, *_: params["axis"] != 0,
    "cumprod": lambda params, *_: params["axis"] != 0,
    "cummax": lambda params, *_: params["axis"] != 0,
    "cummin": lambda params, *_: params["axis"] != 0,
    "dot_general": _dot,
    "gather": _gather,
    "pad": lambda params, rows, *_: rows == [True, False] and params["padding_config"][0] == (0, 0, 0),
    "reshape": lambda params, rows, shapes, batch: (
        params["new_sizes"][0] == batch and not params["dimensions"]
    ),
    "rev": lambda params, *_: 0 not in params["dimensions"],
    "scatter": _scatter,
    "scatter-add": _scatter,
    "scatter_add": _scatter,
    "slice": _slice,
    "sort": lambda params, rows, *_: all(rows) and params["dimension"] != 0,
    "split": lambda params, *_: params["axis"] != 0,
    "stack": lambda params, rows, *_: all(rows) and params["axis"] != 0,
    "squeeze": lambda params, *_: 0 not in params["dimensions"],
    "transpose": lambda params, *_: params["permutation"][0] == 0,
}
