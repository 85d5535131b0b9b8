r"""Running statistics of a stream: outlying samples do not own them, and another unit renews them.

Samples are merged batch by batch, each value no farther from the mean so far than ten standard deviations; of a feature
that few samples have, as if it were of these alone. So a few outliers, and the far end of a heavy tail, count as if
they were there (Winsor's mean). Two things end such a memory:

- most of the latest samples are that far away: what was known counts as one sample from then on;
- a window of the latest samples, up to 128 of those that have the feature, has less than 3 % of the standard deviation:
  it takes the place of all earlier ones.

A value far away that recurs is a code, as of missing values, and counts as it is: four more batches have it than have
other such values. A window is then complete if eight samples with it are expected. Targets have no codes: what robust
losses are for are also outliers that recur.

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

from skgd.coordinates import ColumnStatistics, merged_measures, varies
from skgd.measuring import Matrix, Measures, choose, measure_columns, nonzero

REACH = 10.0  # standard deviations from the mean: what is farther counts as if it were there
REACH_OF_TARGETS = 5.0
_ENOUGH = 8.0  # rows, from which on it does
_LATEST, _FEWER = 16.0, 12.0  # rows, of which most are outlying where the unit has changed
_FEWEST, _MOST = 16.0, 128.0  # samples of a window
FALLEN = 0.03  # of the standard deviation
_ROUNDING = 1e-9
_CODE, _OTHER, SHARE_OF_CODES = 4.0, 2.0 / 3.0, 0.001  # votes, of batches with values far away; of the rows
_RARE = 0.2  # of the values: more that are far away may be another unit
_EXPECTED, _FARTHEST = 8.0, 1e6  # samples with a code in a window; standard deviations

# What is remembered of each feature besides the measures of the samples that count: their weight, the measures of the
# latest ones and their weight, the share of outliers, and what may be a code, with its votes, which are infinite where
# it is one. A sample of a stream weighs ``row`` in the mean.
N_MEMORIES = 9
WEIGHT, CODE, VOTES = 0, 7, 8  # places


def memory_of(columns: ColumnStatistics) -> np.ndarray:
    """Return what is remembered; where nothing is, all samples so far count, and none is among the latest."""
    memory = np.zeros((N_MEMORIES, len(columns.filled)))
    memory[WEIGHT], memory[CODE] = columns.weight, np.inf if columns.rows else -np.inf  # see `is_unknown`
    if columns.memory is not None:
        memory[: len(columns.memory)] = columns.memory  # earlier versions knew no codes
    return memory


def is_unknown(largest: Any, code: Any) -> Any:
    """Say whether a stream began without a feature, and has had nothing but zeros in it; elementwise.

    Its coefficients in a network are random, and have no unit yet. They are not shown until they have one. Those that
    are known, for they are from an earlier ``fit`` or from the user, have a ``code`` that is not minus infinity.
    """
    return (largest == 0.0) & (code == -np.inf)


def bounds_of(measures: Measures, weight: Any, code: Any, votes: Any, row: float, reach: float) -> tuple[Any, Any]:
    """Return between which values those of a feature count as they are; of a rare feature, by what is not zero."""
    largest, mean, variance, filled = measures
    known = (weight >= _ENOUGH * row) & varies(mean, variance)
    distance = choose(known, reach * np.sqrt(variance / nonzero(filled)) * largest, np.inf)
    to_code = np.abs(code - mean * largest) * (1.0 + _ROUNDING)
    distance = choose(votes == np.inf, np.maximum(distance, to_code), distance)
    return mean * largest - distance, mean * largest + distance


def remembered(
    measures: Measures,
    memory: Sequence[Any] | np.ndarray,
    new: Measures,
    outlying: Any,
    far: Any,
    total: float,
    row: float,
    reach: float,
    bounded: bool,
) -> tuple[tuple, tuple]:
    """Return the measures of a feature and what is remembered besides, after new samples; elementwise.

    ``outlying`` is the share of these that were too far away, ``far`` the latest of them, ``total`` their weight. Where
    values are ``bounded``, the new ones do not say yet how far away.
    """
    weight, largest, mean, variance, filled, of_latest, before, code, votes = memory
    # Outliers that count as they are soon hide others: they are heeded as soon as a batch consists of them.
    latest_rows, present = (_LATEST if bounded else _FEWER), np.maximum(new[3], outlying)
    before = before + np.minimum(present * total / (latest_rows * row), 1.0) * (outlying / nonzero(present) - before)
    grown = before > 0.5
    votes = np.maximum(votes - SHARE_OF_CODES * (total / row), 0.0)
    votes = choose(outlying > 0.0, choose(far == code, votes + 1.0, votes - _OTHER), votes)
    code, votes = choose(votes < 0.0, far, code), choose(votes < 0.0, 1.0, votes)
    votes = choose((votes >= _CODE) & (before < _RARE) & (reach == REACH), np.inf, votes)
    weight = choose(grown & (not bounded), row, weight)
    measures, weight = merged_measures(measures, new, total / (weight + total)), weight + total
    latest = merged_measures((largest, mean, variance, filled), new, total / (of_latest + total))
    of_latest = of_latest + total
    entries = latest[3] * of_latest
    enough = np.minimum(np.maximum(0.25 * measures[3] * weight, _FEWEST * row), _MOST * row)
    # A code has most of the variance, so that this says how rare it is.
    away = np.minimum(np.abs(code / nonzero(measures[0]) - measures[1]) / nonzero(np.sqrt(measures[2])), _FARTHEST)
    coded = choose(votes == np.inf, _EXPECTED * row * away * away, 0.0)
    complete = (entries >= (1.0 - _ROUNDING) * enough) & (of_latest >= coded)  # of whole numbers, however rounded
    smaller = np.sqrt(latest[2]) * latest[0] < FALLEN * np.sqrt(measures[2]) * measures[0]
    fallen = complete & smaller & varies(latest[1], latest[2]) & (latest[3] >= 0.5 * measures[3])
    measures = (
        choose(fallen, latest[0], measures[0]),
        choose(fallen, latest[1], measures[1]),
        choose(fallen, latest[2], measures[2]),
        choose(fallen, latest[3], measures[3]),
    )
    weight = choose(grown & bounded, row, choose(fallen, of_latest, weight))
    of_latest, before = choose(complete | grown, 0.0, of_latest), choose(grown, 0.0, before)
    votes = choose((votes == np.inf) & (fallen | (grown & bounded)), 0.0, votes)
    return measures, (weight, latest[0], latest[1], latest[2], latest[3], of_latest, before, code, votes)


def learned(
    columns: ColumnStatistics,
    X: Matrix,
    weight: np.ndarray | None,
    reach: float,
    *,
    bounded: bool = True,
    coded: bool = False,
) -> tuple[ColumnStatistics, Matrix]:
    """Return the statistics of a stream with the next rows, and these rows as they count.

    Combinations of features of which some are ``coded`` count as they are, and nothing ends their memory.
    """
    n_rows, n_columns = X.shape
    total = float(n_rows if weight is None else weight.sum())
    rows, weight_so_far = columns.rows + n_rows, columns.weight + total
    row = weight_so_far / rows
    memory = memory_of(columns)
    if coded:
        memory[CODE], memory[VOTES] = np.inf, np.inf
    bounds = bounds_of(columns.measures, memory[WEIGHT], memory[CODE], memory[VOTES], row, reach)
    outlying, far, counted = _bounded(X, weight, total, bounds)
    X = counted if bounded else X
    new = measure_columns(X, weight, total, np.zeros(n_columns))
    measures, kept = remembered(columns.measures, memory, new, outlying, far, total, row, reach, bounded)
    memory = np.array(kept)
    return replace(columns, rows=rows, weight=weight_so_far, measures=measures, memory=memory, usual=None), X


def _bounded(
    X: Matrix, weight: np.ndarray | None, total: float, bounds: tuple[Any, Any]
) -> tuple[Any, np.ndarray, Matrix]:
    """Return of each feature the share of values out of bounds and the latest of them, and rows with all within."""
    n_rows, n_columns = X.shape
    weights = np.ones(n_rows) if weight is None else weight
    if isinstance(X, np.ndarray):
        counted = np.clip(X, *bounds)
        outliers = counted != X
        if not outliers.any():
            return np.zeros(n_columns), np.zeros(n_columns), X
        rows, columns = np.nonzero(outliers & (weights > 0.0)[:, np.newaxis])
        values = X[rows, columns]
        share = outliers.mean(axis=0) if weight is None else weight @ outliers / total
        return share, _latest_of(columns, values, n_columns), counted
    low, high = bounds
    data = np.clip(X.data, low[X.indices], high[X.indices])
    outliers = data != X.data
    if not outliers.any():
        return np.zeros(n_columns), np.zeros(n_columns), X
    of_entries = np.repeat(weights, np.diff(X.indptr))
    shares = np.bincount(X.indices, outliers if weight is None else outliers * of_entries, n_columns) / total
    counts = outliers & (of_entries > 0.0)
    counted = sp.csr_array((data, X.indices, X.indptr), shape=X.shape)
    return shares, _latest_of(X.indices[counts], X.data[counts], n_columns), counted


def _latest_of(columns: np.ndarray, values: np.ndarray, n_columns: int) -> np.ndarray:
    """Return the last of some values of each feature, in the order of samples; 0 of none."""
    latest = np.zeros(n_columns)
    latest[columns] = values  # of several, NumPy assigns the last
    return latest
