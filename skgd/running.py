r"""Running statistics of a stream: outlying samples do not own them, and another unit renews them.

Samples are merged batch by batch, each value no farther from the mean so far than ten standard deviations; of a feature
that few samples have, as if it were of these alone. So a few outliers, and the far end of a heavy tail, count as if
they were there (Winsor's mean). Two things end such a memory:

- most of the latest samples are that far away: what was known counts as one sample from then on;
- a window of the latest samples, up to 128 of those that have the feature, has less than 3 % of the standard deviation:
  it takes the place of all earlier ones.

So statistics recover where the first sample was an outlier, and where a feature changes its unit. Combinations that
take the place of correlated features have such statistics, too, and their co-moments are those of values as they count.
Streams of very many sparse features have plain ones.

Samples more than seven times as far away as usual have a smaller weight in the step, too: `skgd.outliers`.

Values are bounded where a sample's say is meant to be: for classes, and for numbers whose loss grows no faster than
linearly. Least squares are owned by what is far away, by definition: there, values count as they are, also targets, but
the same two things end a memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import scipy.sparse as sp

from skgd.coordinates import (
    ColumnStatistics,
    Matrix,
    Measures,
    choose,
    measure_columns,
    merged_measures,
    nonzero,
    varies,
)

REACH = 10.0  # standard deviations from the mean: what is farther counts as if it were there
REACH_OF_TARGETS = 5.0
_ENOUGH = 8.0  # rows, from which on it does
_LATEST, _FEWER = 16.0, 12.0  # rows, of which most are outlying where the unit has changed
_FEWEST, _MOST = 16.0, 128.0  # samples of a window
_FALLEN = 0.03  # of the standard deviation

# What is remembered of each feature besides the measures of the samples that count: their weight, the measures of the
# latest ones and their weight, and the share of outliers. A sample of a stream weighs ``row`` in the mean.
N_MEMORIES = 7


def memory_of(columns: ColumnStatistics) -> np.ndarray:
    """Return what is remembered; where nothing is, all samples so far count, and none is among the latest."""
    if columns.memory is not None:
        return columns.memory
    memory = np.zeros((N_MEMORIES, len(columns.filled)))
    memory[0] = columns.weight
    return memory


def bounds_of(measures: Measures, weight: Any, row: float, reach: float) -> tuple[Any, Any]:
    """Return between which values those of a feature count as they are; of a rare feature, by what is not zero."""
    largest, mean, variance, filled = measures
    known = (weight >= _ENOUGH * row) & varies(mean, variance)
    distance = choose(known, reach * np.sqrt(variance / nonzero(filled)) * largest, np.inf)
    return mean * largest - distance, mean * largest + distance


def remembered(
    measures: Measures,
    memory: Sequence[Any] | np.ndarray,
    new: Measures,
    outlying: Any,
    total: float,
    row: float,
    bounded: bool,
) -> tuple[tuple, tuple]:
    """Return the measures of a feature and what is remembered besides, after new samples; elementwise.

    ``outlying`` is the share of these that were too far away, ``total`` their weight. Where values are ``bounded``, the
    new ones do not say yet how far away.
    """
    weight, largest, mean, variance, filled, of_latest, before = memory
    # Outliers that count as they are soon hide others: they are heeded as soon as a batch consists of them.
    latest_rows, present = (_LATEST if bounded else _FEWER), np.maximum(new[3], outlying)
    before = before + np.minimum(present * total / (latest_rows * row), 1.0) * (outlying / nonzero(present) - before)
    grown = before > 0.5
    weight = choose(grown & (not bounded), row, weight)
    measures, weight = merged_measures(measures, new, total / (weight + total)), weight + total
    latest = merged_measures((largest, mean, variance, filled), new, total / (of_latest + total))
    of_latest = of_latest + total
    entries = latest[3] * of_latest
    complete = entries >= np.minimum(np.maximum(0.25 * measures[3] * weight, _FEWEST * row), _MOST * row)
    smaller = np.sqrt(latest[2]) * latest[0] < _FALLEN * np.sqrt(measures[2]) * measures[0]
    fallen = complete & smaller & varies(latest[1], latest[2]) & (latest[3] >= 0.5 * measures[3])
    measures = (
        choose(fallen, latest[0], measures[0]),
        choose(fallen, latest[1], measures[1]),
        choose(fallen, latest[2], measures[2]),
        choose(fallen, latest[3], measures[3]),
    )
    weight = choose(grown & bounded, row, choose(fallen, of_latest, weight))
    of_latest, before = choose(complete | grown, 0.0, of_latest), choose(grown, 0.0, before)
    return measures, (weight, latest[0], latest[1], latest[2], latest[3], of_latest, before)


def learned(
    columns: ColumnStatistics, X: Matrix, weight: np.ndarray | None, reach: float, *, bounded: bool = True
) -> tuple[ColumnStatistics, Matrix]:
    """Return the statistics of a stream with the next rows, and these rows as they count."""
    n_rows, n_columns = X.shape
    total = float(n_rows if weight is None else weight.sum())
    rows, weight_so_far = columns.rows + n_rows, columns.weight + total
    row = weight_so_far / rows
    memory = memory_of(columns)
    bounds = bounds_of(columns.measures, memory[0], row, reach)
    outlying, counted = _bounded(X, weight, total, bounds)
    X = counted if bounded else X
    new = measure_columns(X, weight, total, np.zeros(n_columns))
    measures, kept = remembered(columns.measures, memory, new, outlying, total, row, bounded)
    memory = np.array(kept)
    return replace(columns, rows=rows, weight=weight_so_far, measures=measures, memory=memory, usual=None), X


def _bounded(X: Matrix, weight: np.ndarray | None, total: float, bounds: tuple[Any, Any]) -> tuple[Any, Matrix]:
    """Return the share of each feature's values that are out of bounds, and the rows with all of them within."""
    if isinstance(X, np.ndarray):
        counted = np.clip(X, *bounds)
        outliers = counted != X
        if not outliers.any():
            return np.zeros(X.shape[1]), X
        return (outliers.mean(axis=0) if weight is None else weight @ outliers / total), counted
    low, high = bounds
    data = np.clip(X.data, low[X.indices], high[X.indices])
    outliers = data != X.data
    if not outliers.any():
        return np.zeros(X.shape[1]), X
    shares = outliers if weight is None else outliers * np.repeat(weight, np.diff(X.indptr))
    counted = sp.csr_array((data, X.indices, X.indptr), shape=X.shape)
    return np.bincount(X.indices, shares, X.shape[1]) / total, counted
