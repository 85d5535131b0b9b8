"""What the loops ask of a strategy and of a kind of rows: declared here, filled in when a loop is specialized.

A loop calls ``strategies.rule(...)`` or ``rows.gradient(...)`` as it would call functions of a module, and branches on
flags such as ``single``. `skgd.engines.compiled.specialize` puts one filled table, and the values of the flags, in
their place. So Numba sees nothing but functions and constants, and leaves out the branches that are not taken. The
place is the global name: in all of skgd that a loop calls, a name that is declared here means the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np


class Strategies(NamedTuple):
    """The static functions of an optimizer, a loss and an activation, and how slots and targets are read."""

    rule: Callable
    readout: Callable
    skip: Callable
    rescaled: Callable  # of streams
    detached: Callable  # of wide streams
    attached: Callable
    momentum_and_size: Callable
    auto_learning_rate: Callable
    value: Callable
    gradient: Callable
    slots_of: Callable  # (slots, chunk, k) -> the slots of one parameter as a tuple
    keep_slots: Callable  # (slots, chunk, k, after)
    fetch_slots: Callable  # (slots, chunk, k): ask for them
    target: Callable  # (y, row, output, labels) -> the number that the loss compares with
    activate: Callable | None = None  # of networks
    slope_of_activation: Callable | None = None


class Rows(NamedTuple):
    """What dense rows, sparse rows and networks do in their own ways; see `skgd.engines.compiled.dense` for each."""

    touch: Callable
    gradient: Callable
    complete_gradient: Callable
    move: Callable
    read_row: Callable  # of steps of one row
    place: Callable
    look_ahead: Callable
    catch_up: Callable  # of sparse rows: what their other columns have missed
    measure: Callable  # of streams
    square: Callable
    coordinates_of: Callable
    multiply: Callable | None = None  # of dense rows and networks: products with the coefficients of the first layer
    accumulate: Callable | None = None


AHEAD = 16  # so many rows ahead of its use, a row is fetched
HINT = 2  # fetch into the second-level cache: more requests may be under way than for the first

strategies: Any = None
rows: Any = None
take_batch: Any = None  # `take_steps`, for streams
choose: Any = None  # a conditional expression, in the place of `skgd.measuring.choose`
prefetch: Any = None
slope_along: Any = None  # in the place of that of `skgd.engines.vectorized`

single = False  # whether there is one output
narrow = False  # whether chunks have one parameter
hidden = False  # whether there are hidden layers
adaptive = False  # of networks: whether parameters have long-run rates of their own
dense = False  # whether the rows are
shuffled = True  # whether rows lie anywhere, and not one after the other
has_intercept = True
centered = False  # whether columns of sparse rows are centered
lazy = False  # whether steps leave out the columns that their rows do not have
resting = False  # whether these columns, without a penalty, miss nothing
proximal = True  # whether the penalty is a proximal step
normalized = False  # whether predictions are normalized over the outputs
softmax = False  # whether the slope of the loss is the probability less the target, so that one exponential is enough
decays = False  # whether the optimizer has a weight decay
bounded = False  # whether steps may be too long
implicit = False  # whether steps are shortened by where they lead
smooth = False  # whether the loss has no kinks
along_row = False  # whether steps of one row are multiples of it
n_slots = 0  # of wide streams: how many there are of a parameter
shared = False  # whether the outputs of a column share its slots
repeating = False  # of wide streams: whether columns miss steps of which the last one counts
regression = False  # of streams: whether y holds numbers
alike = False  # whether dense rows and targets are arrays of one type
log_link = False
standardized = False  # whether the loss is handed standardized targets
robust = False  # whether outliers are to have no say
precondition = True
rescales = False  # whether slots hold sizes of gradients that follow the scale of their column
gathers = False  # of streams: whether co-moments of the columns are kept
combines = False  # whether combinations of the columns take their place
averages = True  # whether an average of the iterates may be kept
compares = False  # of streams: whether the average is compared with the last iterate
shows = True  # of streams: whether the parameters to predict with are written
automatic_rate = True  # whether learning_rate is "auto"


def part_of(numbers: np.ndarray, begin: int, shape: tuple[int, ...]) -> Any:
    """Return some of an array's numbers, in their order, in another shape; compiled code has `intrinsics` for it."""
    return numbers.reshape(-1)[begin : begin + math.prod(shape)].reshape(shape)


def product(left: np.ndarray, right: np.ndarray, out: np.ndarray) -> None:
    """Write the product of two matrices; compiled code has `intrinsics` for it."""
    np.dot(left, right, out)


class Work(NamedTuple):
    """The arrays that each step writes over, made once for many steps.

    A loop hands on those that a function needs, not all: compiled code counts the references to each.

    ``local``, ``grad``, ``point`` and ``lengths`` hold one value for each parameter that a step touches, ``raw``,
    ``moved`` and ``slopes`` one for each row and output.
    """

    raw: np.ndarray
    moved: np.ndarray
    slopes: np.ndarray
    losses: np.ndarray  # by output
    slope_sizes: np.ndarray  # by neuron
    local: np.ndarray
    grad: np.ndarray
    point: np.ndarray
    lengths: np.ndarray
    chunks: np.ndarray  # that the step touches
    active: np.ndarray  # chunks that are averaged
    everywhere: np.ndarray  # all chunks
    missed: tuple  # see `missed_by`
    of_rows: tuple  # what the kind of rows wants beside


class Scales(NamedTuple):
    """The coordinates of the columns (the reciprocal of the scale), and those of the predictor that the loss is handed.

    Of each output, ``divisor`` is what its loss is divided by, ``unit`` the optimizer's unit in the user's, and
    ``worth`` that unit's where progress is measured.
    """

    center: np.ndarray
    inverse_scale: np.ndarray
    predictor_center: np.ndarray
    predictor_scale: np.ndarray
    divisor: np.ndarray
    unit: np.ndarray
    worth: np.ndarray


class Penalty(NamedTuple):
    """The strengths of the penalty for each parameter, and whether there is one.

    In networks of sparse rows, these are (n, 1): one for each feature, then one for each parameter above its
    layer.
    """

    l1: np.ndarray
    l2: np.ndarray
    penalized: bool


class Limits(NamedTuple):
    """What stands around the rule; ``longest`` are the largest sensible steps."""

    longest: np.ndarray
    max_grad_norm: float
    weight_decay: float
    rounding: float  # the share of a sum's terms that may be nothing but rounding
    n_coefficients: int
