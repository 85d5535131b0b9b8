"""Arithmetic of compiled code in Python: the functions of NumPy that loops call, for single numbers, to the same bits.

NumPy has functions of its own for arrays, such as its exponential, of which the last bit differs from that of the C
library, which compiled code calls, and Python's `math`.
"""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np


def _sqrt(x):
    return math.sqrt(x) if x >= 0.0 else math.nan


def _log(x):
    return math.log(x) if x > 0.0 else -math.inf if x == 0.0 else math.nan


def _log1p(x):
    return math.log1p(x) if x > -1.0 else -math.inf if x == -1.0 else math.nan


def _exp(x):
    try:
        return math.exp(x)
    except OverflowError:
        return math.inf


def _expm1(x):
    try:
        return math.expm1(x)
    except OverflowError:
        return math.inf


def _sign(x):
    return 1.0 if x > 0.0 else -1.0 if x < 0.0 else x if math.isnan(x) else 0.0


def _maximum(a, b):
    return a if a >= b or math.isnan(a) else b


def _minimum(a, b):
    return a if a <= b or math.isnan(a) else b


def _fmin(a, b):
    return a if a <= b or math.isnan(b) else b


NUMPY = SimpleNamespace(
    inf=math.inf,
    float64=float,
    int64=int,
    abs=abs,
    exp=_exp,
    expm1=_expm1,
    fmin=_fmin,
    isfinite=math.isfinite,
    log=_log,
    log1p=_log1p,
    maximum=_maximum,
    minimum=_minimum,
    sign=_sign,
    sqrt=_sqrt,
    tanh=math.tanh,
)


def part_as_python(numbers: np.ndarray, begin: int, shape: tuple[int, ...]) -> Any:
    """Return what holds as many numbers for as long as a loop runs: of lists, indexing takes a third of the time."""
    part: Any = numbers[begin : begin + math.prod(shape)].reshape(shape)
    return [0.0] * shape[0] if len(shape) == 1 else memoryview(part)


def no_prefetch(array: Any, index: Any) -> None:
    """Do nothing: Python does not reach for memory ahead."""
