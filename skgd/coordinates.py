r"""Coordinates: the change of variables in which the optimizer works (preconditioning).

Gradient descent crawls when columns have different units. With ``precondition=True`` the optimizer therefore sees

.. math:: z = (x - c) / s, \qquad f(x) = c_y + s_y (z \cdot v + u)

with the centre c and the scale s of each column, and those of the target. This is the same model, for

.. math:: w = s_y v / s, \qquad b = c_y + s_y u - c \cdot w

so that the minimiser stays what it was: only the path to it changes. X is never copied as a whole: each mini-batch is
standardised when it is used.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import scipy.sparse as sp

Matrix: TypeAlias = np.ndarray | sp.csr_array

# A column is constant if it varies less than its own rounding errors.
_ROUNDING = 1e-14
_SPARSE = 0.1
_RARITY = 0.1
_CHUNK_ELEMENTS = 2**17


# Of some rows, column by column: the largest absolute value (of earlier rows, too), and in units of it the mean, the
# variance and the share of entries that are not zero.
Measures: TypeAlias = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def measure_columns(X: Matrix, weight: np.ndarray | None, total: float, largest: np.ndarray) -> Measures:
    """Measure the columns of some rows, with their weights and the sum of these."""
    n_columns = X.shape[1]
    if not isinstance(X, np.ndarray):
        largest = np.maximum(largest, _largest_absolute(X))
        entries = X.data / unit_of(largest)[X.indices]
        shares = None if weight is None else np.repeat(weight, np.diff(X.indptr))
        mean, square, filled = (
            np.bincount(X.indices, values if shares is None else shares * values, n_columns) / total
            for values in (entries, entries * entries, entries != 0.0)
        )
        return largest, mean, np.maximum(square - mean * mean, 0.0), filled
    largest = np.maximum(largest, np.maximum(X.max(axis=0), -X.min(axis=0)))
    relative = X / unit_of(largest)
    filled = _mean(relative != 0.0, weight) if not relative.all() else np.ones(n_columns)
    first = relative[0].copy()  # from which a constant column does not differ, however weights are rounded
    relative -= first
    offset = _mean(relative, weight)
    relative -= offset
    return largest, first + offset, _mean(np.square(relative, out=relative), weight), filled


def unit_of(largest: np.ndarray) -> np.ndarray:
    """Return the unit of columns with these largest absolute values."""
    return np.where(largest > 0.0, largest, 1.0)


def _largest_absolute(X: sp.csr_array) -> np.ndarray:
    if X.nnz < 1000:  # a few rows of a stream, for which the detour by way of columns is long
        largest = np.zeros(X.shape[1])
        np.maximum.at(largest, X.indices, np.abs(X.data))
        return largest
    return abs(X).max(axis=0).toarray().ravel()


def _mean(values: np.ndarray, weight: np.ndarray | None) -> np.ndarray:
    return values.mean(axis=0) if weight is None else np.average(values, axis=0, weights=weight)


@dataclass(frozen=True)
class ColumnStatistics:
    """Weighted mean, variance, share of non-zeros and largest absolute value of each column, of all rows seen so far.

    Mean and variance are kept in units of the largest absolute value, so that no square overflows or underflows.
    """

    rows: int
    weight: float
    largest: np.ndarray
    relative_mean: np.ndarray
    relative_variance: np.ndarray
    filled: np.ndarray
    left_out: int = 0  # columns of nothing but zeros

    @classmethod
    def empty(cls, n_columns: int) -> ColumnStatistics:
        """Return the statistics of no rows."""
        return cls(0, 0.0, *np.zeros((4, n_columns)))

    def updated(
        self, X: Matrix, weight: np.ndarray | None, measure: Callable[..., Measures] = measure_columns
    ) -> ColumnStatistics:
        """Return the statistics with the rows of X, each with its weight, added (in chunks, if there are many)."""
        n_rows, n_columns = X.shape
        chunk = max(1, _CHUNK_ELEMENTS // max(n_columns, 1)) if isinstance(X, np.ndarray) else n_rows
        statistics = self
        for start in range(0, n_rows, chunk):
            rows = slice(start, start + chunk)
            part, share = X[rows] if chunk < n_rows else X, None if weight is None else weight[rows]
            total = float(part.shape[0] if share is None else share.sum())
            statistics = statistics._merged(part.shape[0], total, *measure(part, share, total, statistics.largest))
        return statistics

    def _merged(
        self,
        n_rows: int,
        weight: float,
        largest: np.ndarray,
        mean: np.ndarray,
        variance: np.ndarray,
        filled: np.ndarray,
    ) -> ColumnStatistics:
        unit = unit_of(largest)
        shrunk = self.largest / unit
        old_mean, old_variance = self.relative_mean * shrunk, self.relative_variance * shrunk * shrunk
        total = self.weight + weight
        share = weight / total
        moved = mean - old_mean
        return ColumnStatistics(
            self.rows + n_rows,
            total,
            largest,
            old_mean + share * moved,
            (1.0 - share) * old_variance + share * variance + share * (1.0 - share) * moved * moved,
            (1.0 - share) * self.filled + share * filled,
        )

    def of_subset(self, columns: np.ndarray) -> ColumnStatistics:
        """Return the statistics of some of the columns, where the others are empty."""
        names = ("largest", "relative_mean", "relative_variance", "filled")
        parts = {name: getattr(self, name)[columns] for name in names}
        return replace(self, **parts, left_out=len(self.filled) - len(columns))

    @property
    def mean(self) -> np.ndarray:
        """The mean of each column."""
        return self.relative_mean * self.largest

    @property
    def sparse(self) -> bool:
        """Whether most entries are zero, in whatever format they come."""
        return bool(self.filled.sum() < _SPARSE * (len(self.filled) + self.left_out))

    @property
    def constant(self) -> np.ndarray:
        """Whether each column is constant, but for rounding errors."""
        return np.sqrt(self.relative_variance) <= _ROUNDING * np.abs(self.relative_mean)

    @property
    def standard_deviation(self) -> np.ndarray:
        """The standard deviation of each column; of a constant one its size instead, never 0."""
        spread = np.where(self.constant, 1.0, np.sqrt(self.relative_variance))
        return _nonzero(spread * self.largest)

    @property
    def root_mean_square(self) -> np.ndarray:
        """The root mean square of each column, never 0."""
        return _nonzero(np.sqrt(self.relative_variance + self.relative_mean**2) * self.largest)

    @property
    def sparse_scale(self) -> np.ndarray:
        """The largest absolute value of each column, never 0; smaller for rare columns, which therefore count for more.

        As with the inverse document frequency of text: a word says the more, the fewer documents have it.
        """
        return _nonzero(self.largest * self.filled**_RARITY)

    def mean_squares(self, center: np.ndarray | float, scale: np.ndarray | float) -> np.ndarray:
        """Return the mean square of each column of ``(X - center) / scale``."""
        offset = (self.mean - center) / scale
        spread = np.sqrt(self.relative_variance) * (self.largest / scale)
        return spread * spread + offset * offset


def _nonzero(scale: np.ndarray) -> np.ndarray:
    return np.where(scale > 0.0, scale, 1.0)


@dataclass(frozen=True)
class Coordinates:
    """The change of variables from the optimizer's standardised parameters to the user's, and back.

    ``center`` and ``scale`` (one value a column) are 0 and 1 where that side is left alone; so are ``target_center``
    and ``target_scale`` (one value an output).
    """

    center: np.ndarray | float = 0.0
    scale: np.ndarray | float = 1.0
    target_center: np.ndarray | float = 0.0
    target_scale: np.ndarray | float = 1.0

    @classmethod
    def of_columns(cls, columns: ColumnStatistics, *, sparse: bool, fit_intercept: bool, dtype: type) -> Coordinates:
        """Return the coordinates in which the columns have about unit size.

        Dense columns are centred and divided by their standard deviation. Sparse ones are only divided, by
        about the largest absolute value. Without an intercept, which would take it up, nothing is centred.
        """
        if sparse:
            return cls(scale=_representable(columns.sparse_scale, dtype))
        if not fit_intercept:
            return cls(scale=_representable(columns.root_mean_square, dtype))
        scale = _representable(columns.standard_deviation, dtype)
        return cls(center=columns.mean.astype(dtype), scale=scale)

    def with_target(self, target: ColumnStatistics, *, log_link: bool, fit_intercept: bool) -> Coordinates:
        """Return these coordinates with the prediction centred and scaled like the target."""
        if log_link:  # the link's scale is free already; a multiple of the mean is a shift of the raw prediction
            mean = target.mean
            center = np.log(np.where(mean > 0.0, mean, 1.0))
            return replace(self, target_center=center if fit_intercept else 0.0)
        if not fit_intercept:
            return replace(self, target_scale=target.root_mean_square)
        return replace(self, target_center=target.mean, target_scale=target.standard_deviation)

    def of_subset(self, columns: np.ndarray) -> Coordinates:
        """Return the coordinates of some of the columns."""
        center, scale = (v if isinstance(v, float) else v[columns] for v in (self.center, self.scale))
        return replace(self, center=center, scale=scale)

    @property
    def plain(self) -> bool:
        """Whether these are the user's own coordinates."""
        return isinstance(self.scale, float)

    @property
    def centered(self) -> bool:
        """Whether columns are centred."""
        return not isinstance(self.center, float)

    def standardized(self, X: Matrix) -> Matrix:
        """Return the rows of X in these coordinates: a new array, or X itself where nothing is to be done."""
        if isinstance(self.scale, float):
            return X
        if not isinstance(X, np.ndarray):
            return type(X)((X.data / self.scale[X.indices], X.indices, X.indptr), shape=X.shape)
        if not self.centered:
            return X / self.scale
        standardized = X - self.center
        standardized /= self.scale
        return standardized

    def to_user(self, coef: np.ndarray, intercept: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return coefficients (features, outputs) and intercepts (outputs,) in the units of X and y."""
        coef = self.target_scale * (coef / _column(self.scale))
        intercept = self.target_center + self.target_scale * intercept
        return coef, intercept - self.center @ coef if self.centered else intercept

    def moved_from(self, old: Coordinates, coef: np.ndarray, intercept: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the parameters of the same model that in the ``old`` coordinates has those given.

        Like ``from_user(*old.to_user(...))``, without the cancellation where columns lie far from zero.
        """
        user_coef = old.target_scale * (coef / _column(old.scale))
        shift = (self.center - old.center) @ user_coef if self.centered or old.centered else 0.0
        intercept = old.target_center - self.target_center + old.target_scale * intercept + shift
        return user_coef / self.target_scale * _column(self.scale), intercept / self.target_scale

    def from_user(self, coef: np.ndarray, intercept: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the inverse of :meth:`to_user`."""
        intercept = intercept + self.center @ coef if self.centered else intercept
        return coef / self.target_scale * _column(self.scale), (intercept - self.target_center) / self.target_scale


def _column(values: np.ndarray | float) -> np.ndarray | float:
    return values if isinstance(values, float) else values[:, np.newaxis]


def _representable(scale: np.ndarray, dtype: type) -> np.ndarray:
    """Return the scale in X's own precision, without letting it round to zero."""
    return np.maximum(scale.astype(dtype), np.finfo(dtype).smallest_normal)
