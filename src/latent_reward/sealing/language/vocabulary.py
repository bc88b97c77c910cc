"""The words of the numeric language: which functions, methods and attributes an encoder's source may use.

The tables are plain data, read by :mod:`latent_reward.sealing.grammar` when it checks a source and by
:mod:`latent_reward.sealing.toolbox` when it builds the only names that a source can see.
"""

# ruff: noqa: SIM905  (a table of words is easiest to read and to extend as words)

ENTRY = "evaluation_func"

CONSTANTS = frozenset("pi e inf nan newaxis".split())
DTYPES = frozenset(
    """
    float32 float64 float16 single double int8 int16 int32 int64 int_ intp uint8 uint16 uint32 bool bool_ ndarray
    """.split()
)

# Take arrays element by element.
ELEMENTWISE = frozenset(
    """
    abs absolute add subtract multiply divide true_divide floor_divide mod remainder fmod power
    float_power negative positive sign sqrt square cbrt reciprocal exp exp2 expm1 log log2 log10 log1p
    logaddexp sin cos tan arcsin arccos arctan arctan2 sinh cosh tanh arcsinh arccosh arctanh hypot
    deg2rad rad2deg degrees radians floor ceil round around rint trunc fix fabs maximum minimum fmax fmin
    clip heaviside sinc greater greater_equal less less_equal equal not_equal logical_and logical_or
    logical_not logical_xor bitwise_and bitwise_or bitwise_not invert isfinite isinf isnan isclose
    nan_to_num copysign signbit logaddexp2 isneginf isposinf
    """.split()
)
# Take arrays element by element or reduce them; a list of arrays is accepted and stacked, as NumPy does.
NUMERIC = ELEMENTWISE | frozenset(
    """
    sum prod mean median average std var
    min max amin amax ptp any all argmin argmax count_nonzero nansum nanmean nanmin nanmax cumsum cumprod
    diff percentile quantile sort argsort dot matmul inner outer cross tensordot vdot trace triu tril
    diagonal array asarray asanyarray ascontiguousarray atleast_1d atleast_2d atleast_3d zeros_like ones_like
    full_like empty_like copy ravel nanstd nanvar nanmedian nanprod nancumsum trapezoid gradient kron
    nanpercentile nanquantile nanargmax nanargmin polyval ediff1d unwrap vecdot
    """.split()
)
# Take shapes, several arrays, or something that must not be stacked.
STRUCTURAL = frozenset(
    """
    where select concatenate stack hstack vstack dstack column_stack split array_split squeeze expand_dims
    reshape transpose moveaxis swapaxes flip fliplr flipud roll repeat tile broadcast_to take
    take_along_axis einsum zeros ones empty full arange linspace eye identity triu_indices tril_indices
    meshgrid diag pad shape ndim size hsplit vsplit append insert delete rot90 partition interp digitize
    searchsorted piecewise broadcast_arrays block concat permute_dims rollaxis logspace geomspace tri indices
    isin finfo iinfo
    """.split()
)
FUNCTIONS = NUMERIC | STRUCTURAL
# What is left undefined is zero, so that an encoder gives the same answer each time.
EMPTY = {"empty": "zeros", "empty_like": "zeros_like"}
# np.maximum.reduce([a, b, c])
REDUCING = frozenset("add multiply maximum minimum logical_and logical_or".split())
# Of one number; on a traced one they mean NumPy's function.
MATH = frozenset(
    """
    pi e inf tau nan sqrt exp log log2 log10 log1p expm1 sin cos tan asin acos atan atan2 sinh cosh tanh
    asinh acosh atanh hypot fabs floor ceil pow radians degrees copysign isfinite isnan
    """.split()
)
# Create arrays of a size that may be written as a constant.
CREATORS = frozenset(
    """
    zeros ones empty full arange linspace logspace geomspace eye identity tri indices tile repeat pad broadcast_to
    triu_indices tril_indices
    """.split()
)
LINALG = frozenset("norm det inv solve cross vecdot".split())
# Of np.finfo(...) and np.iinfo(...)
LIMITS = frozenset("eps max min tiny smallest_normal resolution bits".split())

ARRAY_METHODS = frozenset(
    """
    sum mean min max std var prod any all argmin argmax reshape astype copy flatten ravel squeeze
    transpose clip dot cumsum cumprod round repeat swapaxes take diagonal trace item fill argsort ptp
    """.split()
)
# These stand as statements.
CHANGING_METHODS = frozenset("append extend insert update fill".split())
METHODS = ARRAY_METHODS | CHANGING_METHODS | frozenset("items values keys get pop index count".split())
ATTRIBUTES = frozenset("shape ndim T size dtype eps tiny resolution smallest_normal".split())
BUILTINS = frozenset(
    """
    range len abs min max sum float int bool enumerate zip list tuple dict reversed round any all pow sorted map
    """.split()
)
# What `raise` may name; the text goes unread.
ERRORS = frozenset("ValueError TypeError IndexError RuntimeError AssertionError Exception".split())
# NumPy's own names of arguments.
KEYWORDS = frozenset(
    """
    axis keepdims dtype ord a_min a_max min max where initial x1 x2 x y shape fill_value axes decimals
    ddof n k num start stop step endpoint indices_or_sections repeats shift offset source destination
    posinf neginf nan copy newshape rtol atol q indexing pad_width mode constant_values weights condlist
    choicelist default size a v strict base prepend append arr values xp fp left right side kth out
    A M N arrays axis1 axis2 axisa axisb axisc b bins correction dx element equal_nan funclist indices invert kind
    m object obj p prototype reps tup xi array test_elements discont period sorter optimize order reshape
    ary array1 condition fweights edge_order include_initial i j varargs
    """.split()
)
# What functions take of text: these words and the letters of an einsum. Other text is only a key.
STRINGS = frozenset(
    """
    float16 float32 float64 int32 int64 float int bool ij xy fro constant edge reflect wrap clip left right linear
    """.split()
)

# A function that many sources reach for, and what to write instead.
INSTEAD = {
    "random": "no random numbers: an encoder must give the same answer each time",
    "vectorize": "array expressions, which are already vectorised",
    "apply_along_axis": "a function with an axis argument, such as np.sum(x, axis=1, keepdims=True)",
    "ndarray": "np.array(...); np.ndarray is for annotations",
    "linalg.svd": "np.linalg.norm, det, inv or solve",
    "linalg.eig": "np.linalg.norm, det, inv or solve",
    "nonzero": "np.where(condition, a, b)",
    "unique": "np.sort",
    "argwhere": "np.where(condition, a, b)",
    "flatnonzero": "np.where(condition, a, b)",
    "put_along_axis": "np.where(condition, a, b)",
    "copyto": "np.where(condition, a, b)",
    "c_": "np.column_stack",
    "r_": "np.concatenate",
    "load": "no files: use only the arguments of the function",
    "fromfile": "no files: use only the arguments of the function",
    "memmap": "no files: use only the arguments of the function",
    "save": "no files: return the value instead",
}

LOOP_BUDGET = (
    1024  # iterations of loops and calls of helpers, all together: each is unrolled into the program
)
MAX_LENGTH = 10_000  # of lists
MAX_SIZE = 1 << 26  # numbers in an array that NumPy computes
