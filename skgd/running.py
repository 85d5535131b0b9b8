r"""Running statistics of dense features in a stream: outlying samples do not own them, and another unit renews them.

Samples are merged batch by batch, each value no farther from the mean so far than ten standard deviations. So a few
outliers, and the far end of a heavy tail, count as if they were there (Winsor's mean). Two things end such a memory:

- most of the latest samples are that far away: what was known counts as one sample from then on;
- a window of the latest rows, up to 128, has less than 3 % of the standard deviation: it takes the
  place of all earlier ones.

So statistics recover where the first sample was an outlier, and where a feature changes its unit. Combinations that
take the place of correlated features have such statistics, too, and their co-moments are those of values as they count.

Samples more than seven times as far away as usual have a smaller weight in the step, too, as in Mallows' estimators: it
depends on x alone, so that what is estimated stays the same.

All this holds where a sample's say is meant to be bounded: for classes, and for numbers whose loss grows no faster than
linearly. Least squares are owned by what is far away, by definition: there, features have plain means and variances,
and windows alone renew them.

References
----------
H. R. Künsch, L. A. Stefanski and R. J. Carroll, "Conditionally unbiased bounded-influence estimation in general
regression models", Journal of the American Statistical Association 84, 1989.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from skgd.coordinates import (
    ColumnStatistics,
    Coordinates,
    Measures,
    choose,
    measure_columns,
    merged_measures,
    nonzero,
    row_norm_of,
    varies,
)

REACH = 10.0  # standard deviations from the mean: what is farther counts as if it were there
REACH_OF_TARGETS = 5.0
UNBOUNDED = np.inf
_ENOUGH = 8.0  # rows, from which on it does
_LATEST = 16.0  # rows, of which most are outlying where the unit has changed
_FEWEST, _MOST = 16.0, 128.0  # samples of a window
_FALLEN = 0.03  # of the standard deviation
_OUTLYING = 49.0  # mean squares of the samples' norms: a sample whose norm is larger counts as much less

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
) -> tuple[tuple, tuple]:
    """Return the measures of a feature and what is remembered besides, after new samples; elementwise.

    ``outlying`` is the share of these that were too far away, ``total`` their weight.
    """
    weight, largest, mean, variance, filled, of_latest, before = memory
    measures, weight = merged_measures(measures, new, total / (weight + total)), weight + total
    latest = merged_measures((largest, mean, variance, filled), new, total / (of_latest + total))
    of_latest, share = of_latest + total, np.minimum(total / (_LATEST * row), 1.0)
    before = before + share * (outlying - before)
    grown = before > 0.5
    complete = of_latest >= np.minimum(np.maximum(0.25 * weight, _FEWEST * row), _MOST * row)
    smaller = np.sqrt(latest[2]) * latest[0] < _FALLEN * np.sqrt(measures[2]) * measures[0]
    fallen = complete & smaller & varies(latest[1], latest[2]) & (latest[3] >= 0.5 * measures[3])
    measures = (
        choose(fallen, latest[0], measures[0]),
        choose(fallen, latest[1], measures[1]),
        choose(fallen, latest[2], measures[2]),
        choose(fallen, latest[3], measures[3]),
    )
    weight = choose(grown, row, choose(fallen, of_latest, weight))
    of_latest, before = choose(complete | grown, 0.0, of_latest), choose(grown, 0.0, before)
    return measures, (weight, latest[0], latest[1], latest[2], latest[3], of_latest, before)


def learned(
    columns: ColumnStatistics, X: np.ndarray, weight: np.ndarray | None, reach: float
) -> tuple[ColumnStatistics, np.ndarray]:
    """Return the statistics of a stream with the next rows, and these rows as they count."""
    total = float(len(X) if weight is None else weight.sum())
    rows, weight_so_far = columns.rows + len(X), columns.weight + total
    row = weight_so_far / rows
    memory = memory_of(columns)
    low, high = bounds_of(columns.measures, memory[0], row, reach)
    bounded = np.clip(X, low, high)
    outliers = bounded != X
    outlying: Any = 0.0
    if outliers.any():
        X = bounded
        outlying = outliers.mean(axis=0) if weight is None else weight @ outliers / total
    new = measure_columns(X, weight, total, np.zeros(X.shape[1]))
    measures, kept = remembered(columns.measures, memory, new, outlying, total, row)
    memory = np.array(kept)
    return replace(columns, rows=rows, weight=weight_so_far, measures=measures, memory=memory, usual=None), X


def limit_of(squares: float, fit_intercept: bool) -> float:
    """Return the square of the standardized norm up to which a sample has its whole weight in a step."""
    return _OUTLYING * row_norm_of(squares, fit_intercept) ** 2


def weight_of_row(square: Any, limit: float) -> Any:
    """Return the weight of a sample in a step, from the square of its norm."""
    return np.sqrt(np.minimum(limit / np.maximum(square, limit), 1.0))


def without_outlying_rows(
    X: np.ndarray, weight: np.ndarray | None, columns: ColumnStatistics, coordinates: Coordinates, fit_intercept: bool
) -> np.ndarray | None:
    """Return the weights in a step, smaller for samples far from all others."""
    limit = limit_of(columns.mean_squares(coordinates.center, coordinates.scale).sum(), fit_intercept)
    counts = weight_of_row(np.square(coordinates.standardized(X.astype(np.float64))).sum(axis=1), limit)
    if (counts == 1.0).all():
        return weight
    return counts if weight is None else counts * weight
