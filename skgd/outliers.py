r"""Outlying values and samples: what scales of features are without them, and what such a sample counts.

A value is compared with the usual size of its feature, the power mean :math:`(\text{mean} \sqrt{|x|})^2`, which a few
outliers hardly change. It is taken repeatedly, of values up to a hundred times what it was: enormous ones do not
change it either. Features of sparse samples may have few entries, of which an outlier is one. There, samples are
compared, by the norm of their entries in units of the usual ones: those more than seven times as long as usual count as
shorter ones.

In steps, a sample more than seven times as long as usual has a smaller weight, as in Mallows' estimators: it depends on
x alone, so that what is estimated stays the same. It holds for labels, and for numbers whose loss grows no faster than
linearly, in streams, and in ``fit`` with mini-batches and the defaults of ``tol`` and ``alpha``, where training does
not look for the minimum, nor do L-BFGS steps on partitions then. Newton steps do: there, such samples have a smaller
weight only where the loss on left-out samples chooses the penalty, and, on partitions, for the hinge loss, of which
``fit`` takes mini-batches.

References
----------
H. R. Künsch, L. A. Stefanski and R. J. Carroll, "Conditionally unbiased bounded-influence estimation in general
regression models", Journal of the American Statistical Association 84, 1989.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

from skgd.coordinates import ColumnStatistics, Coordinates, at_regular_distances, copies_of, is_frequent, row_norm_of
from skgd.measuring import Matrix, Measures, choose, nonzero

OWNED = 3.0  # robust scales: a standard deviation larger than that is one of outliers
_NORMAL_POWER_MEAN = 1.4793375595943201  # standard deviations in the power mean of a normal variable's distances
_LARGE = 5.0  # usual sizes of entries: more than those of nearly all words in texts
_ENORMOUS = 100.0  # usual sizes of values
_OUTLYING = 49.0  # mean squares of the samples' norms: a sample whose norm is larger counts as much less
_FAR = 10.0  # usual sizes of distances: more than those of nearly all values
_SHARE_OF_CODES, _FEWEST_CODES = 0.003, 4  # of the samples
_SHARE_OF_CODE = 0.4  # of the values that are far from the others
_PASSES = 10  # at most: after these, not even values of 1e12 count
_SOME_ROWS, _FEWEST_ROWS = 2**12, 2**8
_MANY_ROWS, _SOME_FOR_MEDIAN = 2**13, 2**10
_NEAR_MEDIAN = 2**6  # of these: four times the standard deviation of the median's rank
HALF = 0.5 * (1.0 - 1e-12)  # of the weights, however they are rounded
_FOR_SCALES, _FOR_CODES, _OF_SPARSE = 2**16, 2**19, 2**18  # values of some samples
_CHUNK_ELEMENTS = 2**17


# ---------------------------------------------------------------------------------------------------------------------
# Scales
# ---------------------------------------------------------------------------------------------------------------------


def _some(n_rows: int, n_values: int, most: int) -> slice:
    """Return where some thousand of the rows are, from everywhere; fewer of long ones, for at most so many values."""
    return at_regular_distances(n_rows, min(_SOME_ROWS, max(most * n_rows // max(n_values, 1), _FEWEST_ROWS)))


def without_outliers(
    X: sp.csr_array, weight: np.ndarray | None, measures: Measures, *, closer: bool = False
) -> Measures:
    """Return the measures of sparse features in units of at most five times the usual size of their entries.

    It is estimated from some of the samples. Features that most samples have are measured like dense ones, if they have
    outliers.
    """
    largest, mean, variance, filled = measures
    some = _some(X.shape[0], X.nnz, _OF_SPARSE)
    X, weight = X[some], None if weight is None else weight[some]
    usual, most = _sizes_of_entries(X, weight, largest)
    unit = choose(usual > 0.0, np.minimum(_LARGE * usual, most), 1.0)
    # No entry is larger than one then, nor a mean or a mean square than their share.
    mean, variance = np.clip(mean / unit, -filled, filled), np.minimum(variance / np.square(unit), filled)
    frequent = np.flatnonzero(is_frequent(filled) & (unit < 1.0))
    if len(frequent):
        of_frequent = [part[frequent] for part in measures]
        _, *moments, _ = without_outlying_values(X[:, frequent].toarray(), weight, of_frequent, closer=closer)
        mean[frequent], variance[frequent] = moments[0] / unit[frequent], moments[1] / np.square(unit[frequent])
    return unit * largest, mean, variance, filled


def _sizes_of_entries(X: sp.csr_array, weight: np.ndarray | None, largest: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the usual and the largest size of each feature's entries, relative to its largest absolute value.

    Entries of outlying samples count as those of usual ones; as larger ones if they are a little too long only.
    """
    n_columns = X.shape[1]
    row, columns = np.repeat(np.arange(X.shape[0]), np.diff(X.indptr)), X.indices.astype(np.intp)  # once for all passes
    has = (X.data != 0.0) * (1.0 if weight is None else weight[row])
    counts, given = nonzero(np.bincount(columns, has, n_columns)), np.abs(X.data) / nonzero(largest)[columns]
    sizes = given
    for _ in range(_PASSES):
        usual = np.square(np.bincount(columns, has * np.sqrt(sizes), n_columns) / counts)
        relative = np.square(sizes / nonzero(usual)[columns])
        squares = sp.csr_array((relative, X.indices, X.indptr), shape=X.shape).sum(axis=1)
        typical = medians(squares[:, np.newaxis], weight)
        ratio = typical / np.maximum(squares, typical)
        shorter = np.minimum(np.maximum(_OUTLYING * ratio, np.sqrt(ratio)), 1.0)
        if (shorter == 1.0).all():
            break
        sizes = sizes * shorter[row]
    most, shortened = np.ones(n_columns), sizes < given
    if shortened.any():  # of others, the largest entries may be in samples that are not among these
        largest_sizes = np.zeros(n_columns)
        np.maximum.at(largest_sizes, columns, sizes)
        most[columns[shortened]] = largest_sizes[columns[shortened]]
    return usual, most


def without_outlying_values(
    X: np.ndarray, weight: np.ndarray | None, measures: Measures, *, sampled: bool = False, closer: bool = False
) -> Measures:
    """Return the measures of dense features whose outliers do not own mean and variance.

    The standard deviation s is at most three times a robust one, u: the usual size of the distances from the median
    that are not zero, in units of that of a normal variable. Where it would be larger, the median takes the place of
    the mean, too. With ``closer``, it is 9 u² / s there, or u if that is larger: features that seem to be a third of
    their usual size are learned nine times as slowly at a rate that all share. ``sampled`` estimates u from some rows.
    """
    largest, mean, variance, filled = measures
    all_rows, all_weights, unit = X, weight, nonzero(largest)
    if sampled:
        some = _some(len(X), X.size, _FOR_SCALES)
        X, weight = X[some], None if weight is None else weight[some]
    center = medians(X, weight)
    distance = np.abs(X - center) / unit
    share = nonzero(_mean(distance > 0.0, weight))
    usual = np.full(X.shape[1], np.inf)
    for _ in range(_PASSES):
        distance = np.minimum(distance, _ENORMOUS * usual)
        usual = np.square(_mean(np.sqrt(distance), weight) / share) * _NORMAL_POWER_MEAN
        if (distance <= _ENORMOUS * usual).all():
            break
    owned = (usual > 0.0) & (np.sqrt(variance) > OWNED * usual)
    if owned.any():
        n_rows = len(all_rows)
        some = _some(n_rows, n_rows * int(owned.sum()), _FOR_CODES) if sampled else slice(None)
        X, weight = all_rows[some][:, owned], None if all_weights is None else all_weights[some]
        owned[owned] = ~_recur(X, np.abs(X - center[owned]) > _FAR * (usual * unit)[owned], weight)
    robust = OWNED * usual
    if closer:
        robust = np.maximum(usual, np.square(robust) / np.sqrt(nonzero(variance)))
    return largest, choose(owned, center / unit, mean), choose(owned, np.square(robust), variance), filled


def _recur(X: np.ndarray, far: np.ndarray, weight: np.ndarray | None) -> np.ndarray:
    """Say for each feature whether values far from the others recur: codes, as of missing values, not outliers.

    Samples with a code are many, and predictions for them must not be what others say of a value as large.
    """
    copies = np.ones(len(X)) if weight is None else weight
    counts = (copies_of(X, weight)[:, np.newaxis] * (far & (copies > 0.0)[:, np.newaxis])).sum(axis=0)
    recur = (_mean(far, weight) >= _SHARE_OF_CODES) & (counts >= _FEWEST_CODES)
    for j in np.flatnonzero(recur):
        rows = far[:, j]
        _, value = np.unique(X[rows, j], return_inverse=True)
        of_values = np.bincount(value, copies[rows])
        recur[j] = of_values.max() >= _SHARE_OF_CODE * of_values.sum()
    return recur


def _mean(values: np.ndarray, weight: np.ndarray | None) -> np.ndarray:
    return values.mean(axis=0) if weight is None else (values * weight[:, np.newaxis]).sum(axis=0) / weight.sum()


def medians(values: np.ndarray, weight: np.ndarray | None) -> np.ndarray:
    """Return the lower weighted median of each feature."""
    if len(values) > _MANY_ROWS:
        return np.array([_median_of_many(feature, weight) for feature in values.T])
    if weight is None:
        return np.partition(values, (len(values) - 1) // 2, axis=0)[(len(values) - 1) // 2]
    order = np.argsort(values, axis=0)
    shares = np.cumsum(weight[order], axis=0)
    middle = (shares < HALF * shares[-1]).sum(axis=0)
    return np.take_along_axis(values, np.take_along_axis(order, middle[np.newaxis], axis=0), axis=0)[0]


def _median_of_many(values: np.ndarray, weight: np.ndarray | None) -> Any:
    """Return the same of one feature: of the values near the median of some only, if it is among them."""
    some = at_regular_distances(len(values), _SOME_FOR_MEDIAN)
    order = np.argsort(values[some])
    shares = np.cumsum(np.ones(len(order)) if weight is None else weight[some][order])
    middle = int((shares < HALF * shares[-1]).sum())
    lowest, highest = max(middle - _NEAR_MEDIAN, 0), min(middle + _NEAR_MEDIAN, len(order) - 1)
    low, high = values[some][order[[lowest, highest]]]
    below, near = values < low, (values >= low) & (values <= high)
    if weight is None:
        n_below = int(np.count_nonzero(below))
        place = (len(values) - 1) // 2 - n_below
        if not 0 <= place < np.count_nonzero(near):
            near, place = np.ones(len(values), bool), place + n_below
        return np.partition(values[near], place)[place]
    before, half = float((weight * below).sum()), HALF * weight.sum()
    rows = np.flatnonzero(near)
    if not before < half <= before + weight[rows].sum():
        rows, before = np.arange(len(values)), 0.0
    values, weight = values[rows], weight[rows]
    order = np.argsort(values)
    place = np.searchsorted(before + np.cumsum(weight[order]), half)
    return values[order[min(place, len(order) - 1)]]  # a sum in another order may be less by its rounding


# ---------------------------------------------------------------------------------------------------------------------
# Weights
# ---------------------------------------------------------------------------------------------------------------------


def limit_of(squares: float, fit_intercept: bool) -> float:
    """Return the square of the standardized norm up to which a sample has its whole weight in a step."""
    norm = row_norm_of(squares, fit_intercept)
    return _OUTLYING * (norm * norm)


def limit_in(columns: ColumnStatistics, coordinates: Coordinates, fit_intercept: bool) -> float:
    """Return the same for samples of features with such statistics."""
    return limit_of(columns.mean_squares(coordinates.center, coordinates.scale).sum(), fit_intercept)


def weight_of_row(square: Any, limit: float) -> Any:
    """Return the weight of a sample in a step, from the square of its norm."""
    return np.sqrt(np.minimum(limit / np.maximum(square, limit), 1.0))


def may_be_outlying(columns: ColumnStatistics, coordinates: Coordinates, fit_intercept: bool) -> bool:
    """Say whether a sample of the largest entries of all features would not have its whole weight in a step."""
    farthest = (columns.largest + np.abs(coordinates.center)) / coordinates.scale
    return bool(np.square(farthest).sum() > limit_in(columns, coordinates, fit_intercept))


def weights_of_rows(
    squares: np.ndarray, columns: ColumnStatistics, coordinates: Coordinates, fit_intercept: bool
) -> np.ndarray | None:
    """Return what each sample counts in a step, from the squares of their norms; None if all count alike.

    It is less than one for samples far from all others.
    """
    counts = weight_of_row(squares, limit_in(columns, coordinates, fit_intercept))
    return None if (counts == 1.0).all() else counts


def squares_of_rows(X: Matrix, coordinates: Coordinates) -> np.ndarray:
    """Return the square of the norm of each standardized sample."""
    n_rows, n_columns = X.shape
    chunk, squares = max(1, _CHUNK_ELEMENTS // n_columns) if isinstance(X, np.ndarray) else _SOME_ROWS, np.empty(n_rows)
    for start in range(0, n_rows, chunk):
        rows = slice(start, start + chunk)
        Z: Any = coordinates.standardized(X[rows])
        if isinstance(Z, np.ndarray):
            squares[rows] = np.square(Z, out=Z).sum(axis=1)
        else:
            squares[rows] = Z.multiply(Z).sum(axis=1)
    return squares
