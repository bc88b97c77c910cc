"""The words of the numeric language: which functions, methods and attributes an encoder's source may use.

The tables are plain data, read by :mod:`latent_reward.design.language` when it checks a source and by
:mod:`latent_reward.design.examine` when it builds the only names that a source can see.
"""

# ruff: noqa: SIM905  (a table of words is easiest to read and to extend as words)

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

ENTRY = "evaluation_func"
ARGUMENTS = ("observation", "action", "next_observation")

CONSTANTS = frozenset("pi e inf nan newaxis".split())
DTYPES = frozenset("float32 float64 float16 int32 int64 int8 uint8 bool_ ndarray".split())

# Take arrays element by element or reduce them; a list of arrays is accepted and stacked, as NumPy does.
NUMERIC = frozenset(
    """
    abs absolute add subtract multiply divide true_divide floor_divide mod remainder fmod power
    float_power negative positive sign sqrt square cbrt reciprocal exp exp2 expm1 log log2 log10 log1p
    logaddexp sin cos tan arcsin arccos arctan arctan2 sinh cosh tanh arcsinh arccosh arctanh hypot
    deg2rad rad2deg degrees radians floor ceil round around rint trunc fix fabs maximum minimum fmax fmin
    clip heaviside sinc greater greater_equal less less_equal equal not_equal logical_and logical_or
    logical_not logical_xor isfinite isinf isnan isclose nan_to_num sum prod mean median average std var
    min max amin amax ptp any all argmin argmax count_nonzero nansum nanmean nanmin nanmax cumsum cumprod
    diff percentile quantile sort argsort dot matmul inner outer cross tensordot vdot trace triu tril
    diagonal array asarray ascontiguousarray atleast_1d atleast_2d atleast_3d zeros_like ones_like
    full_like copy ravel
    """.split()
)
# Take shapes, several arrays, or something that must not be stacked.
STRUCTURAL = frozenset(
    """
    where select concatenate stack hstack vstack dstack column_stack split array_split squeeze expand_dims
    reshape transpose moveaxis swapaxes flip fliplr flipud roll repeat tile broadcast_to take
    take_along_axis einsum zeros ones full arange linspace eye identity triu_indices tril_indices meshgrid
    diag pad shape ndim size
    """.split()
)
FUNCTIONS = NUMERIC | STRUCTURAL
# Create arrays of a size that may be written as a constant.
CREATORS = frozenset(
    """
    zeros ones full arange linspace eye identity tile repeat pad broadcast_to triu_indices tril_indices
    """.split()
)
LINALG = frozenset({"norm"})

METHODS = frozenset(
    """
    sum mean min max std var prod any all argmin argmax reshape astype copy flatten ravel squeeze
    transpose clip dot cumsum round repeat swapaxes items values keys append extend
    """.split()
)
ATTRIBUTES = frozenset("shape ndim T size dtype".split())
BUILTINS = frozenset(
    "range len abs min max sum float int bool enumerate zip list tuple reversed round".split()
)
KEYWORDS = frozenset(
    """
    axis keepdims dtype ord a_min a_max min max where initial x1 x2 x y shape fill_value axes decimals
    ddof n k num start stop step endpoint indices_or_sections repeats shift offset source destination
    posinf neginf nan copy newshape rtol atol q indexing pad_width mode constant_values weights condlist
    choicelist default size a v
    """.split()
)
# Strings are data only as one of these words, a dictionary key, or the letters of an einsum.
STRINGS = frozenset("float32 float64 int32 int64 float int bool ij xy fro constant edge".split())

# A function that many sources reach for, and what to write instead.
INSTEAD = {
    "empty": "np.zeros",
    "empty_like": "np.zeros_like",
    "random": "no random numbers: an encoder must give the same answer each time",
    "vectorize": "array expressions, which are already vectorised",
    "apply_along_axis": "a function with an axis argument, such as np.sum(x, axis=1, keepdims=True)",
    "piecewise": "np.where or np.select",
    "nonzero": "np.where(condition, a, b)",
    "unique": "np.sort",
    "interp": "np.clip and arithmetic, or np.select",
    "load": "no files: use only the arguments of the function",
    "fromfile": "no files: use only the arguments of the function",
    "memmap": "no files: use only the arguments of the function",
    "save": "no files: return the value instead",
}

LOOP_BUDGET = 1024  # iterations of all loops together: each is unrolled into the program


class _Range:
    """``range`` with a budget over the whole evaluation, so that no loop can run long."""

    def __init__(self, budget: int = LOOP_BUDGET):
        self.left = budget

    def __call__(self, *bounds: Any) -> range:
        if any(not isinstance(bound, int) for bound in bounds):
            raise TypeError("a loop needs a constant bound; compute all rows at once with array expressions")
        steps = range(*bounds)
        self.left -= len(steps) if abs(steps.stop - steps.start) < 1 << 40 else self.left + 1
        if self.left < 0:
            raise ValueError(f"the loops take more than {LOOP_BUDGET} steps in all; use array expressions")
        return steps


def _length(value: Any) -> Any:
    """``len`` that also works where the number of rows is a symbol."""
    return value.shape[0] if hasattr(value, "shape") else len(value)


def _clip(module: Any) -> Callable:
    def clip(x, a_min=None, a_max=None, *, min=None, max=None):
        low, high = (a_min if min is None else min), (a_max if max is None else max)
        return module.clip(module.asarray(x), low, high)

    return clip


def _stacking(function: Callable, asarray: Callable) -> Callable:
    """NumPy turns a list of arrays into one array; JAX must be asked to."""

    def call(*arguments, **keywords):
        return function(*(asarray(x) if isinstance(x, list | tuple) else x for x in arguments), **keywords)

    return call


def _toolbox(module: Any) -> SimpleNamespace:
    """The allowed part of ``numpy`` or ``jax.numpy``, and nothing that leads out of it."""
    tools: dict[str, Any] = {name: getattr(module, name) for name in CONSTANTS if hasattr(module, name)}
    for name in STRUCTURAL | NUMERIC:
        function = getattr(module, name, None)
        if function is not None:
            tools[name] = _stacking(function, module.asarray) if name in NUMERIC else function
    aliases = {
        "amin": "min",
        "amax": "max",
        "around": "round",
        "absolute": "abs",
        "fix": "trunc",
        "newaxis": None,
    }
    for name, other in aliases.items():
        tools[name] = tools[other] if other else None
    tools["clip"] = _clip(module)
    # One precision for both, so that the same source means the same thing.
    tools |= {"float32": module.float32, "float64": module.float32, "float16": module.float32}
    tools |= {"int32": module.int32, "int64": module.int32, "int8": module.int32, "uint8": module.int32}
    tools["bool_"] = module.bool_
    for name in ("tensordot", "average", "percentile", "quantile", "array", "asarray"):
        tools[name] = getattr(module, name)
    tools["linalg"] = SimpleNamespace(norm=_stacking(module.linalg.norm, module.asarray))
    return SimpleNamespace(**tools)


def names(module: Any) -> dict[str, Any]:
    """Everything a source can see when it runs on ``module`` (``numpy`` or ``jax.numpy``)."""
    tools = _toolbox(module)
    plain = (abs, min, max, sum, float, int, bool, enumerate, zip, list, tuple, reversed, round)
    builtins = {function.__name__: function for function in plain} | {"range": _Range(), "len": _length}
    return {"__builtins__": builtins, "np": tools}
