"""Statistics of columns: the largest values, means, variances and shares of zeros of some rows, in few passes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import scipy.sparse as sp

from skgd.workspace import Workspace

Matrix: TypeAlias = np.ndarray | sp.csr_array

_UNSURE = 4.0 * float(np.finfo(np.float64).eps)  # the share of a mean of squares that may be rounding
_LOST = 1e-5  # of the square of a mean: a smaller variance is rounding, or much of it is, as a difference of squares
_TINY = 1e-100  # a size: squares of smaller ones underflow, and those of the reciprocal overflow
_CHUNK_ELEMENTS = 2**18
_FOLD = 64  # samples, at most
_FOLDED = 2**12  # entries, at most


def choose(condition: Any, then: Any, otherwise: Any) -> Any:
    """Return one or the other, elementwise; compiled loops put a conditional expression in its place."""
    return np.where(condition, then, otherwise)


# Of some rows, column by column: the largest absolute value (of earlier rows, too), and in units of it the mean, the
# variance and the share of entries that are not zero. The functions below are elementwise: they take a number of each,
# or arrays with one for each feature, and serve the compiled loops as well.
Measures: TypeAlias = Sequence[np.ndarray] | np.ndarray


def nonzero(scale: Any) -> Any:
    """Return the scale, or 1 in the place of 0."""
    return choose(scale > 0.0, scale, 1.0)


def variance_of(square: Any, mean: Any) -> Any:
    """Return the variance from the mean of the squares: 0 for a constant feature, however these two are rounded."""
    return np.maximum((1.0 - _UNSURE) * square - mean * mean, 0.0)


def measure_columns(
    X: Matrix, weight: np.ndarray | None, total: float, largest: np.ndarray, workspace: Workspace | None = None
) -> Measures:
    """Measure the columns of some rows, with their weights and the sum of these."""
    if isinstance(X, np.ndarray):
        return _measure_dense(X, weight, total, largest, workspace)
    largest = np.maximum(largest, _largest_absolute(X))
    entries = X.data / nonzero(largest)[X.indices]
    shares = None if weight is None else np.repeat(weight, np.diff(X.indptr))
    mean, square, filled = (
        np.bincount(X.indices, values if shares is None else shares * values, X.shape[1]) / total
        for values in (entries, entries * entries, entries != 0.0)
    )
    return largest, mean, variance_of(square, mean), filled


def rows_at_once(n_columns: int) -> int:
    """Return how many dense rows with so many columns are measured at once: they stay in the processor's cache."""
    n_rows = max(1, _CHUNK_ELEMENTS // max(n_columns, 1))
    return n_rows if n_rows < _FOLD else n_rows // _FOLD * _FOLD


def _measure_dense(
    X: np.ndarray, weight: np.ndarray | None, total: float, largest: np.ndarray, workspace: Workspace | None
) -> Measures:
    # The order of sums must not depend on that of X. Several rows side by side count as one: short ones take long.
    X, weight = np.ascontiguousarray(X), None if weight is None else np.ascontiguousarray(weight)
    fold = _fold_of(X)
    wide = X.reshape(len(X) // fold, fold * X.shape[1])
    highest, lowest = _folded(np.maximum, wide.max(axis=0), fold), _folded(np.minimum, wide.min(axis=0), fold)
    largest = np.maximum(largest, np.maximum(highest, -lowest))
    filled = np.ones(X.shape[1])
    if not wide.all():
        filled = _mean_of_folded(wide != 0.0, fold, weight, total)
    unit = choose((largest > _TINY) & (largest < 1.0 / _TINY), 1.0, nonzero(largest))
    if (unit != 1.0).any() or X.dtype != np.float64:
        out = None if workspace is None else workspace.array("relative", wide.shape)
        wide = np.divide(wide, _unfolded(unit, fold), out=out)
    mean, square = _moments_of_folded(wide, fold, weight, total)
    variance = variance_of(square, mean)
    if (variance < _LOST * np.square(mean)).any():
        out = None if workspace is None else workspace.array("centered", wide.shape)
        centered = np.subtract(wide, _unfolded(mean, fold), out=out)
        moved, square = _moments_of_folded(centered, fold, weight, total)
        mean, variance = mean + moved, variance_of(square, moved)
    relative = unit / nonzero(largest)
    return largest, mean * relative, variance * relative * relative, filled


def _fold_of(X: np.ndarray) -> int:
    """Return how many rows are side by side: a power of two, the same for most chunks."""
    most = min(_FOLD, _FOLDED // max(X.shape[1], 1))
    return 1 if len(X) % _FOLD or most < 2 else 2 ** (most.bit_length() - 1)


def _folded(operation: np.ufunc, values: np.ndarray, fold: int) -> np.ndarray:
    return values if fold == 1 else operation.reduce(values.reshape(fold, -1), axis=0)


def _unfolded(values: np.ndarray, fold: int) -> np.ndarray:
    return values if fold == 1 else np.tile(values, fold)


def _mean_of_folded(values: np.ndarray, fold: int, weight: np.ndarray | None, total: float) -> np.ndarray:
    """Return the mean of each feature; not by BLAS, whose threads would have a say in the bits."""
    if weight is None:
        return _folded(np.add, values.sum(axis=0), fold) / total
    if fold == 1:  # as in a stream, where weights of one give the bits of none
        return (values * weight[:, np.newaxis]).sum(axis=0) / total
    return np.einsum("ij,i->j", values.reshape(len(weight), -1), weight) / total


def _moments_of_folded(
    values: np.ndarray, fold: int, weight: np.ndarray | None, total: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean and the mean square of each feature."""
    mean = _mean_of_folded(values, fold, weight, total)
    if weight is None:
        return mean, _folded(np.add, np.einsum("ij,ij->j", values, values), fold) / total
    if fold == 1:
        return mean, np.einsum("ij,ij->j", values * weight[:, np.newaxis], values) / total
    values = values.reshape(len(weight), -1)
    return mean, np.einsum("ij,ij,i->j", values, values, weight) / total


def _largest_absolute(X: sp.csr_array) -> np.ndarray:
    if X.nnz < 1000:  # a few samples of a stream, for which the detour by way of features is long
        largest = np.zeros(X.shape[1])
        np.maximum.at(largest, X.indices, np.abs(X.data))
        return largest
    # Not abs(X), which sorts the entries of X itself.
    return sp.csr_array((np.abs(X.data), X.indices, X.indptr), shape=X.shape).max(axis=0).toarray().ravel()
