r"""Coordinates: the change of variables in which the optimizer works (preconditioning).

Gradient descent crawls when features have different units. With ``precondition=True`` the optimizer therefore sees

.. math:: z = (x - c) / s, \qquad f(x) = c_y + s_y (z \cdot v + u)

with the center c and the scale s of each feature, and those of the target. This is the same model, for

.. math:: w = s_y v / s, \qquad b = c_y + s_y u - c \cdot w

so that the minimum does not change: only the path to it does. X is never copied as a whole: each mini-batch is
standardized when it is used.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.sparse as sp

from skgd.combinations import Combinations
from skgd.measuring import Matrix, Measures, choose, measure_columns, nonzero, rows_at_once
from skgd.workspace import Workspace

# A feature is constant if it varies less than its own rounding errors.
_ROUNDING = 1e-14
_SPARSE = 0.15  # of one-hot categories; the pixels of handwritten digits are more
_FAR = 9.0  # variances: the square of a mean that is far from zero
_FEWEST = 0.4  # of the samples have a feature that is a little like a dense one
_LITTLE = 1e-3  # of the square of a feature's mean: a smaller variance is lost in rounding, as a difference of squares
_MOST = 0.5  # of the samples have a feature that is not sparse, whatever the format
_GROWN, _GROWN_IN_WIDE = 0.7, 0.1  # of a feature's scale in a stream
_SHRUNK = 2.0  # times a feature's scale in a stream
_FALLEN = 10.0  # times the scale of the target
_LEAST_INDICATOR = 0.25  # of its value: the standard deviation of one that 7 % of the samples have
_MANY_ENTRIES = 50 * (1.0 - 1e-9)  # a sample, however the mean is rounded: as of texts
_SPARSE_ALPHA = 1e-5


def at_regular_distances(n_rows: int, most: int) -> slice:
    """Return where about so many rows at most are, from everywhere: all of few."""
    return slice(None, None, -(-n_rows // most))


def merged_measures(before: Measures, new: Measures, share: float) -> Measures:
    """Return the measures of all rows, from those of earlier ones and those of new ones with a share of the weight."""
    largest, mean, variance, filled = new
    unit = np.maximum(before[0], largest)
    # Compiled code may multiply by the reciprocal, and a number in units of itself is exactly 1: rounding adds up.
    shrunk = choose(before[0] < unit, before[0] / nonzero(unit), 1.0)
    grown = choose(largest < unit, largest / nonzero(unit), 1.0)
    old_mean, old_variance = before[1] * shrunk, before[2] * shrunk * shrunk
    mean, variance = mean * grown, variance * grown * grown
    moved = mean - old_mean
    return (
        unit,
        old_mean + share * moved,
        (1.0 - share) * old_variance + share * variance + share * (1.0 - share) * moved * moved,
        (1.0 - share) * before[3] + share * filled,
    )


def varies(mean: Any, variance: Any) -> Any:
    """Say whether a feature is not constant, but for rounding errors."""
    return np.sqrt(variance) > _ROUNDING * np.abs(mean)


def deviation_of(measures: Measures) -> np.ndarray:
    """Return the standard deviation of each feature; of a constant one its size instead, never 0."""
    largest, mean, variance, _ = measures
    return nonzero(choose(varies(mean, variance), np.sqrt(variance), 1.0) * largest)


def size_of(measures: Measures) -> np.ndarray:
    """Return the root mean square of each feature, never 0."""
    largest, mean, variance, _ = measures
    return nonzero(np.sqrt(variance + mean * mean) * largest)


def mean_squares_of(measures: Measures, center: Any, scale: Any) -> np.ndarray:
    """Return the mean square of each standardized feature."""
    largest, mean, variance, _ = measures
    offset = (mean * largest - center) / scale
    spread = np.sqrt(variance) * (largest / scale)
    return spread * spread + offset * offset


def is_sparse(filled: Any) -> Any:
    """Say whether most entries are zero, from the share of those that are not."""
    return filled < _SPARSE


def is_text_like(filled: float, n_columns: int) -> bool:
    """Say whether most entries are zero, from the share of those that are not, and yet a sample has many others."""
    return is_sparse(filled) and filled * n_columns >= _MANY_ENTRIES


def indicated(measures: Measures) -> Any:
    """Return the share of samples that have a feature, if it is an indicator: if all that have it have one value."""
    _, mean, _, filled = measures
    return choose((mean >= (1.0 - 1e-9) * filled) & (filled <= _MOST), filled, 0.0)


def in_few(measures: Measures) -> Any:
    """Return the share of samples that have a feature, if most do not."""
    return choose(measures[3] <= _MOST, measures[3], 0.0)


def is_frequent(filled: Any) -> Any:
    """Say whether so many samples have a feature that it is a little like a dense one."""
    return filled > _FEWEST


def most_frequent(n_entries: float) -> int:
    """Return how many features can be so frequent, at most, of samples with so many entries on average."""
    return int(n_entries / _FEWEST) + 1


def auto_alpha(filled: float, n_classes: int) -> float:
    """Return the strength of the penalty for ``alpha="auto"``; ``n_classes`` is 1 unless there are three or more."""
    return _SPARSE_ALPHA / n_classes**0.5 if is_sparse(filled) else 0.0


def copies_of(X: Any, weight: np.ndarray | None) -> np.ndarray:
    """Return of how many samples each is a copy: its weight, if weights are whole numbers, else one."""
    if weight is None or not (weight == np.rint(weight)).all():
        return np.ones(len(X))
    return weight


def row_norm_of(squares: float, fit_intercept: bool) -> float:
    """Return the root mean square of the standardized samples' norms, from the sum of their features' mean squares."""
    return min(max(np.sqrt(squares + fit_intercept), 1e-100), 1e100)


def standard_coordinates(measures: Measures, centered: bool, text_like: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean and the standard deviation of each feature or, where nothing is centered, 0 and the size."""
    largest, mean, _, _ = measures
    return (mean if centered else 0.0) * largest, deviation_of(measures) if centered else size_of(measures)


def newton_coordinates(measures: Measures, centered: bool, text_like: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return the same for Newton steps, where scales only matter to the penalty; indicators are never much smaller."""
    center, scale = standard_coordinates(measures, centered, text_like)
    return center, choose(indicated(measures) > 0.0, np.maximum(scale, _LEAST_INDICATOR * measures[0]), scale)


def dense_coordinates(measures: Measures, centered: bool, text_like: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return the center and the scale of dense features; one-hot categories have those of sparse features.

    If they were centered, only the intercept would say how frequent classes are, in the short steps of categories.
    """
    largest, _, _, filled = measures
    center, scale = standard_coordinates(measures, centered, text_like)
    rare = is_sparse(filled) & (indicated(measures) > 0.0)
    return choose(rare, 0.0, center), choose(rare, rare_scale(largest, filled), scale)


def rare_scale(unit: Any, filled: Any) -> Any:
    r"""Return the unit of a feature, smaller for rare ones.

    It is divided by the root of the inverse document frequency, :math:`1 - \log(\text{filled})`: as with words, a
    feature says the more, the fewer samples have it (Spärck Jones, 1972).
    """
    return nonzero(unit / np.sqrt(rarity(filled)))


def rarity(filled: Any) -> Any:
    """Return the inverse document frequency of a feature, 1 if all samples have it."""
    return 1.0 - np.log(choose(filled > 0.0, filled, 1.0))


def sparse_coordinates(measures: Measures, centered: bool, text_like: bool) -> tuple[np.ndarray, np.ndarray]:
    r"""Return the center and the scale of sparse features.

    Of features that most samples have, these are those of dense ones, but of texts only where the mean is far from
    zero: the most frequent words say little. Others stay where they are, so that zeros do.
    """
    return _partly_centered(measures, measures[0], centered, text_like)


def wide_coordinates(measures: Measures, centered: bool, text_like: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return the same in units of the root mean square of each feature's entries, which few of them hardly change."""
    largest, mean, variance, filled = measures
    return _partly_centered(
        measures, largest * np.sqrt((variance + mean * mean) / nonzero(filled)), centered, text_like
    )


def _partly_centered(measures: Measures, unit: Any, centered: bool, text_like: bool) -> tuple[Any, Any]:
    largest, mean, variance, filled = measures
    far = mean * mean > _FAR * variance
    # From 40 to 60 % of the samples from one kind to the other, so that nothing jumps where a share crosses a line.
    share = np.minimum(np.maximum(5.0 * (filled - _FEWEST), 0.0), 1.0) * centered
    share = choose((not text_like) | far, share, 0.0)
    deviation = deviation_of(measures)
    # Compiled code may put the terms together in another way, in which an enormous unit would leave rounding errors.
    scale = choose(share == 1.0, deviation, share * deviation + (1.0 - share) * rare_scale(unit, filled))
    return share * mean * largest, scale


def target_coordinates(measures: Measures, log_link: bool, centered: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return the center and the scale of the target; with a log link, of the raw prediction."""
    mean = measures[1] * measures[0]
    if log_link:  # the link's scale is free already; a multiple of the mean is a shift of the raw prediction
        center = np.log(choose(mean > 0.0, mean, 1.0))
        return (center if centered else 0.0 * mean), 1.0 + 0.0 * mean
    if centered:
        return mean, deviation_of(measures)
    return 0.0 * mean, size_of(measures)


def normal_scale(scale: Any, smallest: Any) -> Any:
    """Return the scale, or 1 where it is below the smallest normal number.

    Such a feature is left as it is, for it is as good as zeros: its coefficient, in its own units, would overflow.
    """
    return choose(scale < smallest, 1.0, scale)


def user_coefficient(v: Any, scale: Any, target_scale: Any) -> Any:
    """Return a coefficient in the units of X and y from the optimizer's."""
    return target_scale * (v / scale)


def standardized_coefficient(w: Any, scale: Any, target_scale: Any) -> Any:
    """Return the inverse of :func:`user_coefficient`."""
    return w / target_scale * scale


def moved_intercept(intercept: Any, shift: Any, old_target: tuple, target: tuple) -> Any:
    """Return the intercept for another center and scale of the target; ``shift`` is what centers of features add."""
    return (old_target[0] - target[0] + old_target[1] * intercept + shift) / target[1]


def begun_scale(old_scale: Any, before: Any, largest: Any) -> Any:
    """Return the scale that coefficients are taken to be in: of features of zeros before, the largest value now."""
    return choose(before > 0.0, old_scale, nonzero(largest))


def kept_target(old: tuple, target: tuple, before: Any, largest: Any) -> tuple[Any, Any]:
    """Return the center and the scale of a stream's target that its parameters are taken to be in.

    Where the scale falls more than tenfold at once, another was learned, and standardized predictions stay. Where all
    values were zero before, which have no unit, predictions begin at the mean.
    """
    fallen, begins = old[1] > _FALLEN * target[1], (before == 0.0) & (largest > 0.0)
    scale = choose(begins, 0.0 * target[1], choose(fallen, target[1], old[1]))
    return choose(fallen | begins, target[0], old[0]), scale


def relearned(old_scale: Any, scale: Any, narrow: bool, coded: Any = False) -> Any:
    """Return the factor on each coefficient of a stream.

    Where a column's scale grows by two fifths at once, or tenfold in one of very many, its standardized coefficient is
    kept: what was learned of a feature that hardly varied is no knowledge of one that does (Ross et al., UAI 2013).
    Where that is because a code is ``coded`` in it from now on, it begins at zero: nothing is known of the code.
    """
    ratio = old_scale / scale
    return choose(ratio < (_GROWN if narrow else _GROWN_IN_WIDE), choose(coded, 0.0, ratio), 1.0)


def rescaling(old_scale: Any, scale: Any) -> Any:
    """Return by what a column of a stream is multiplied in other coordinates, for what is kept of its gradients.

    Where its scale falls to less than half at once, another unit was learned: they stay what they are.
    """
    ratio = old_scale / scale
    return choose(ratio < _SHRUNK, ratio, 1.0)


def _with_dense_columns(
    X: sp.csr_array, weight: np.ndarray | None, total: float, largest: np.ndarray, measures: Measures
) -> Measures:
    """Return measures of sparse samples with those of features that hardly vary as dense ones have them.

    There, the mean of squares less the square of the mean is no variance. Most samples have such features.
    """
    _, mean, variance, filled = measures
    dense = np.flatnonzero(is_frequent(filled) & (variance < _LITTLE * np.square(mean)))
    if not len(dense):
        return measures
    measures = np.array(measures)
    measures[:, dense] = measure_columns(X[:, dense].toarray(), weight, total, largest[dense])
    return measures


@dataclass(frozen=True)
class ColumnStatistics:
    """Weighted mean, variance, share of non-zeros and largest absolute value of each feature, of all samples so far.

    Mean and variance are kept in units of the largest absolute value, so that no square overflows or underflows.
    ``usual`` are the measures without outliers, where these are known. In a stream, the measures themselves are those.
    """

    rows: int
    weight: float
    measures: Measures
    left_out: int = 0  # features of nothing but zeros
    usual: Measures | None = None
    memory: np.ndarray | None = None  # what a stream knows besides, see `skgd.running`

    @classmethod
    def empty(cls, n_columns: int) -> ColumnStatistics:
        """Return the statistics of no samples."""
        return cls(0, 0.0, np.zeros((4, n_columns)))

    @classmethod
    def of_moments(cls, others: ColumnStatistics, mean: np.ndarray, variance: np.ndarray) -> ColumnStatistics:
        """Return the statistics of features with such moments in the samples of others, in units of their sizes."""
        size = np.sqrt(mean**2 + variance)
        measures = size, mean / nonzero(size), variance / nonzero(size) ** 2, np.where(size > 0.0, 1.0, 0.0)
        return cls(others.rows, others.weight, np.array(measures))

    def updated(
        self,
        X: Matrix,
        weight: np.ndarray | None,
        measure: Callable[..., Measures] = measure_columns,
        *,
        exact: bool = False,
    ) -> ColumnStatistics:
        """Return the statistics with the samples of X, each with its weight, added, dense ones in chunks.

        If they are to be exact, features of sparse samples that hardly vary are measured as dense ones are.
        """
        n_rows, n_columns = X.shape
        chunk = rows_at_once(n_columns) if isinstance(X, np.ndarray) else n_rows
        statistics = self
        for start in range(0, n_rows, chunk):
            rows = slice(start, start + chunk)
            part, share = X[rows] if chunk < n_rows else X, None if weight is None else weight[rows]
            total = float(part.shape[0] if share is None else share.sum())
            measures = measure(part, share, total, statistics.largest)
            if exact and not isinstance(part, np.ndarray):
                measures = _with_dense_columns(part, share, total, statistics.largest, measures)
            statistics = statistics._merged(part.shape[0], total, measures)
        return statistics

    def _merged(self, n_rows: int, weight: float, measures: Measures) -> ColumnStatistics:
        total = self.weight + weight
        if self.rows:
            measures = merged_measures(self.measures, measures, weight / total)
        return ColumnStatistics(self.rows + n_rows, total, measures, self.left_out)

    def merged(self, other: ColumnStatistics) -> ColumnStatistics:
        """Return the statistics of the rows of both."""
        return self._merged(other.rows, other.weight, other.measures) if other.rows else self

    def of_subset(self, columns: np.ndarray) -> ColumnStatistics:
        """Return the statistics of some of the columns, where the others are empty."""
        subset = tuple(measure[columns] for measure in self.measures)
        usual = None if self.usual is None else tuple(measure[columns] for measure in self.usual)
        return ColumnStatistics(self.rows, self.weight, subset, self.n_columns - len(columns), usual)

    def of_superset(self, columns: np.ndarray, n_columns: int) -> ColumnStatistics:
        """Return the statistics of so many columns, of which these are some, and the others like the last of them."""
        measures = tuple(spread(measure, columns, n_columns) for measure in self.measures)
        usual = None if self.usual is None else tuple(spread(measure, columns, n_columns) for measure in self.usual)
        return ColumnStatistics(self.rows, self.weight, measures, self.n_columns - n_columns, usual)

    @property
    def largest(self) -> np.ndarray:
        """The largest absolute value of each feature."""
        return self.measures[0]

    @property
    def relative_mean(self) -> np.ndarray:
        """The mean of each feature in units of its largest absolute value."""
        return self.measures[1]

    @property
    def relative_variance(self) -> np.ndarray:
        """The variance of each feature in units of the square of its largest absolute value."""
        return self.measures[2]

    @property
    def filled(self) -> np.ndarray:
        """The share of each feature's entries that are not zero."""
        return self.measures[3]

    @property
    def mean(self) -> np.ndarray:
        """The mean of each feature."""
        return self.relative_mean * self.largest

    @property
    def variance(self) -> np.ndarray:
        """The variance of each feature."""
        return self.relative_variance * np.square(self.largest)

    @property
    def sparse(self) -> bool:
        """Whether most entries are zero, in whatever format they come."""
        return bool(is_sparse(self.share_filled))

    @property
    def one_hot(self) -> float:
        """The share of indicators among the entries of features that most samples lack, where most entries are zero.

        Those of one-hot categories are indicators.
        """
        entries = in_few(self.measures).sum()
        return float(indicated(self.measures).sum() / entries) if self.sparse and entries > 0.0 else 0.0

    @property
    def text_like(self) -> bool:
        """Whether most entries are zero, and yet a sample has many."""
        return bool(is_text_like(self.share_filled, self.n_columns))

    @property
    def n_columns(self) -> int:
        """The number of columns, with those of nothing but zeros."""
        return len(self.filled) + self.left_out

    @property
    def share_filled(self) -> float:
        """The share of all entries that are not zero."""
        return self.filled.sum() / self.n_columns

    @property
    def constant(self) -> np.ndarray:
        """Whether each feature is constant, but for rounding errors."""
        return ~varies(self.relative_mean, self.relative_variance)

    @property
    def standard_deviation(self) -> np.ndarray:
        """The standard deviation of each feature; of a constant one its size instead, never 0."""
        return deviation_of(self.measures)

    @property
    def root_mean_square(self) -> np.ndarray:
        """The root mean square of each feature, never 0."""
        return size_of(self.measures)

    def mean_squares(self, center: np.ndarray | float, scale: np.ndarray | float) -> np.ndarray:
        """Return the mean square of each feature of ``(X - center) / scale``."""
        return mean_squares_of(self.measures if self.usual is None else self.usual, center, scale)


@dataclass(frozen=True)
class Coordinates:
    """The change of variables from the optimizer's standardized parameters to the user's, and back.

    ``center`` and ``scale`` (one value a feature) are 0 and 1 where that side is left alone; so are ``target_center``
    and ``target_scale`` (one value an output). Where ``combinations`` take the place of the columns, it is these that
    are centered and scaled.
    """

    center: np.ndarray | float = 0.0
    scale: np.ndarray | float = 1.0
    target_center: np.ndarray | float = 0.0
    target_scale: np.ndarray | float = 1.0
    combinations: Combinations | None = None

    @classmethod
    def of_columns(
        cls,
        columns: ColumnStatistics,
        *,
        sparse: bool,
        fit_intercept: bool,
        dtype: type,
        coordinates_of: Callable[[Measures, bool, bool], tuple[np.ndarray, np.ndarray]] | None = None,
    ) -> Coordinates:
        """Return the coordinates in which the features have about unit size.

        Dense features are centered and divided by their standard deviation, and so are features of sparse samples that
        most of these have. Others, and one-hot categories in any format, are only divided, and rare ones by less.
        Without an intercept, which would take it up, nothing is centered.
        """
        coordinates_of = coordinates_of or (sparse_coordinates if sparse else dense_coordinates)
        measures = columns.measures if columns.usual is None else columns.usual
        center, scale = coordinates_of(measures, fit_intercept, columns.text_like)
        centered = fit_intercept and not (sparse and not center.any())
        return cls(center=center.astype(dtype) if centered else 0.0, scale=_representable(scale, dtype))

    def with_target(self, target: ColumnStatistics, *, log_link: bool, fit_intercept: bool) -> Coordinates:
        """Return these coordinates with the prediction centered and scaled like the target."""
        center, scale = target_coordinates(target.measures, log_link, fit_intercept)
        return replace(self, target_center=center, target_scale=scale)

    def of_subset(self, columns: np.ndarray) -> Coordinates:
        """Return the coordinates of some of the features."""
        center, scale = (v if isinstance(v, float) else v[columns] for v in (self.center, self.scale))
        return replace(self, center=center, scale=scale)

    def of_superset(self, columns: np.ndarray, n_features: int) -> Coordinates:
        """Return the coordinates of so many features, of which these are some, and the others like the last of them."""
        parts = self.center, self.scale
        center, scale = (v if isinstance(v, float) else spread(v, columns, n_features) for v in parts)
        return replace(self, center=center, scale=scale)

    @property
    def of_input(self) -> Coordinates:
        """These coordinates' part for the features: that of a network's first layer."""
        return Coordinates(self.center, self.scale)

    @property
    def of_target(self) -> Coordinates:
        """These coordinates' part for the target: that of a network's last layer."""
        return Coordinates(target_center=self.target_center, target_scale=self.target_scale)

    @property
    def plain(self) -> bool:
        """Whether these are the user's own coordinates."""
        return isinstance(self.scale, float)

    @property
    def centered(self) -> bool:
        """Whether features are centered."""
        return not isinstance(self.center, float)

    def standardized(self, X: Matrix, workspace: Workspace | None = None) -> Matrix:
        """Return the samples of X in these coordinates: X itself where nothing is to be done, otherwise a new array.

        Of dense samples, the array is the workspace's, if one is given.
        """
        if isinstance(self.scale, float):
            return X
        if self.combinations is not None:
            X = self.combinations.rows(X)
        if not isinstance(X, np.ndarray):
            center = np.asarray(self.center)[X.indices] if self.centered else 0.0
            stored = type(X)(((X.data - center) / self.scale[X.indices], X.indices, X.indptr), shape=X.shape)
            return stored + self._of_zeros(X) if self.centered else stored
        out = None if workspace is None else workspace.array("standardized", X.shape, X.dtype)
        if not self.centered:
            return np.divide(X, self.scale, out=out)
        standardized = np.subtract(X, self.center, out=out)
        standardized /= self.scale
        return standardized

    def _of_zeros(self, X: sp.csr_array) -> sp.csr_array:
        """Return what the zeros of centered features become that sparse samples do not store."""
        center, scale = np.asarray(self.center), np.asarray(self.scale)
        columns = np.flatnonzero(center)
        number = np.full(X.shape[1], -1)
        number[columns] = np.arange(len(columns))
        rows, among = np.repeat(np.arange(X.shape[0]), np.diff(X.indptr)), number[X.indices]
        missing = np.ones((X.shape[0], len(columns)), bool)
        missing[rows[among >= 0], among[among >= 0]] = False
        rows, among = np.nonzero(missing)
        values = (-center[columns] / scale[columns])[among]
        return sp.csr_array((values, (rows, columns[among])), shape=X.shape)

    def to_user(self, coef: np.ndarray, intercept: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return coefficients (features, outputs) and intercepts (outputs,) in the units of X and y."""
        coef = user_coefficient(coef, _column(self.scale), self.target_scale)
        intercept = self.target_center + self.target_scale * intercept
        intercept = intercept - self.center @ coef if self.centered else intercept
        if self.combinations is not None:
            coef = self.combinations.matrix @ coef
            intercept = intercept - self.combinations.center @ coef
        return coef, intercept

    def moved_from(self, old: Coordinates, coef: np.ndarray, intercept: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the parameters of the same model that in the ``old`` coordinates has those given.

        Like ``from_user(*old.to_user(...))``, without the cancellation where features lie far from zero.
        """
        user_coef = user_coefficient(coef, _column(old.scale), old.target_scale)
        shift: Any = 0.0
        if self.combinations is not old.combinations:
            user_coef, shift = self._combined_from(old, user_coef)
        elif self.centered or old.centered:
            shift = (self.center - old.center) @ user_coef
        targets = ((part.target_center, part.target_scale) for part in (old, self))
        intercept = moved_intercept(intercept, shift, *targets)
        return standardized_coefficient(user_coef, _column(self.scale), self.target_scale), intercept

    def _combined_from(self, old: Coordinates, coef: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return coefficients before they are scaled, from those in ``old`` ones, and the shift of the intercept."""
        start: Any = old.center
        shift: Any = 0.0
        if old.combinations is not None:
            start, shift = old.combinations.center, -(old.center * np.ones(len(coef))) @ coef
            coef = old.combinations.matrix @ coef
        if self.combinations is None:
            return coef, shift + (self.center - start) * np.ones(len(coef)) @ coef
        shift = shift + (self.combinations.center - start) @ coef
        coef = self.combinations.inverse @ coef
        return coef, shift + self.center * np.ones(len(coef)) @ coef

    def arrays(self, n_features: int, n_outputs: int) -> tuple[np.ndarray, ...]:
        """Return center and scale of the features and the target as new arrays."""
        sizes = (n_features, n_features, n_outputs, n_outputs)
        parts = (self.center, self.scale, self.target_center, self.target_scale)
        return tuple([np.full(n, v) if isinstance(v, float) else v.copy() for n, v in zip(sizes, parts, strict=True)])

    def from_user(self, coef: np.ndarray, intercept: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the inverse of :meth:`to_user`."""
        if self.combinations is not None:
            intercept = intercept + self.combinations.center @ coef
            coef = self.combinations.inverse @ coef
        intercept = intercept + self.center @ coef if self.centered else intercept
        standardized = standardized_coefficient(coef, _column(self.scale), self.target_scale)
        return standardized, (intercept - self.target_center) / self.target_scale


def spread(values: np.ndarray, places: np.ndarray, size: int) -> np.ndarray:
    """Return an array of so many values, or rows: these in some places, and in all others the last of them."""
    full = np.full((size, *values.shape[1:]), values[-1], values.dtype)
    full[places] = values
    return full


def _column(values: np.ndarray | float) -> np.ndarray | float:
    return values if isinstance(values, float) else values[:, np.newaxis]


def _representable(scale: np.ndarray, dtype: type) -> np.ndarray:
    """Return the scale in X's own precision, and 1 where that holds no normal number of its size."""
    return normal_scale(scale.astype(dtype), np.finfo(dtype).smallest_normal).astype(dtype, copy=False)
