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
_EXTREME = 100.0  # powers of ten from one: sums of squares may overflow, or underflow
_CHUNK_ELEMENTS = 2**18
_FOLD = 64  # samples, at most
_FOLDED = 2**12  # entries, at most
_MANY = 2**14  # entries


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
    n_columns, fold = X.shape[1], _fold_of(X)
    wide = X.reshape(len(X) // fold, fold * n_columns)
    highest, lowest = _folded(np.maximum, wide.max(axis=0), fold), _folded(np.minimum, wide.min(axis=0), fold)
    largest = np.maximum(largest, np.maximum(highest, -lowest))
    filled = np.ones(n_columns) if wide.all() else _mean_of_folded(wide != 0.0, fold, weight, total)
    if fold > 1 and (moments := _moments_of_folded(wide, fold, weight, total, largest)) is not None:
        return largest, *moments, filled
    unit = _unfolded(nonzero(largest), fold)
    out = None if workspace is None else workspace.array("relative", wide.shape, np.result_type(wide, unit))
    relative = np.divide(wide, unit, out=out)
    first = relative[0, :n_columns].copy()  # from which a constant feature does not differ, however weights are rounded
    relative -= _unfolded(first, fold)
    offset = _mean_of_folded(relative, fold, weight, total)
    relative -= _unfolded(offset, fold)
    variance = _mean_of_folded(np.square(relative, out=relative), fold, weight, total)
    return largest, first + offset, variance, filled


def _moments_of_folded(
    values: np.ndarray, fold: int, weight: np.ndarray | None, total: float, largest: np.ndarray
) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the mean and the variance of each feature from sums of numbers and of squares, or None if inexact."""
    if values.dtype != np.float64 or ((largest > 0.0) & (np.abs(np.log10(nonzero(largest))) > _EXTREME)).any():
        return None
    if weight is None:
        mean = _mean_of_folded(values, fold, weight, total)
        square = _folded(np.add, np.einsum("ij,ij->j", values, values), fold) / total
    else:
        values, share = values.reshape(len(weight), -1), weight / total  # whose products do not overflow
        mean, square = np.einsum("ij,i->j", values, share), np.einsum("ij,ij,i->j", values, values, share)
    variance, unit = variance_of(square, mean), nonzero(largest)
    return None if (variance < _LOST * np.square(mean)).any() else (mean / unit, variance / unit / unit)


def _fold_of(X: np.ndarray) -> int:
    """Return how many rows are side by side, if entries are many: a power of two, the same for most chunks."""
    most = min(_FOLD, _FOLDED // max(X.shape[1], 1))
    return 1 if len(X) % _FOLD or X.size < _MANY or most < 2 else 2 ** (most.bit_length() - 1)


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


def _largest_absolute(X: sp.csr_array) -> np.ndarray:
    if X.nnz < 1000:  # a few samples of a stream, for which the detour by way of features is long
        largest = np.zeros(X.shape[1])
        np.maximum.at(largest, X.indices, np.abs(X.data))
        return largest
    # Not abs(X), which sorts the entries of X itself.
    return sp.csr_array((np.abs(X.data), X.indices, X.indptr), shape=X.shape).max(axis=0).toarray().ravel()
