r"""Combinations of the columns in the place of the columns, and the second moments that they are made from.

With the second moments :math:`R` of the columns and the diagonal matrix :math:`D` of the penalty, combinations
:math:`W` are taken for which :math:`W^\top (R + D) W` is the identity and :math:`W^\top D W` diagonal: there, the
objective's curvature is about one in all directions, and the L2 penalty is still a sum over coefficients. Directions in
which features differ by rounding only, as duplicated ones do, are left out.

`skgd.decorrelation` says where combinations take the place of features.

References
----------
G. H. Golub and C. F. Van Loan, "Matrix Computations", 2013, section 8.7 (simultaneous diagonalization).
T. F. Chan, G. H. Golub and R. J. LeVeque, "Algorithms for computing the sample variance", The American Statistician 37,
1983.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.linalg import eigh

_EPS = float(np.finfo(np.float64).eps)
_GROWN = 4.0
_ROUNDING = 1e-14  # of the mean: a feature that varies less is constant


@dataclass(frozen=True)
class CoMoments:
    """Weighted means and co-moments of dense columns, of the rows of a stream.

    ``products`` holds, in its lower triangle, the sums over the samples of weight times the product of what two
    features differ from their means. ``unit`` is that of each feature, fixed, so that no product of usual numbers
    overflows. ``variances`` are those of the combinations, if there are any, when they were looked at last.
    """

    rows: int
    due: int  # samples: when to look at the correlations next
    weight: float
    unit: np.ndarray
    mean: np.ndarray
    products: np.ndarray
    variances: np.ndarray

    @classmethod
    def begin(cls, largest: np.ndarray, due: int) -> CoMoments:
        """Return the moments of no samples of features with such absolute values."""
        n_columns = len(largest)
        unit = np.where(largest < np.finfo(np.float64).tiny, 1.0, largest)  # whose reciprocal would be infinite
        return cls(0, due, 0.0, unit, np.zeros(n_columns), np.zeros((n_columns, n_columns)), np.zeros(n_columns))

    def updated(self, X: np.ndarray, weight: np.ndarray | None, stride: int, t: int) -> CoMoments:
        """Return the moments with those of a batch merged in, each sample with its weight.

        Where ``stride`` is not one, they are merged after each so many steps ``t`` only, with as many times the weight.
        """
        if t % stride:
            return replace(self, rows=self.rows + len(X))
        if stride > 1:
            weight = float(stride) * (np.ones(len(X)) if weight is None else weight)
        rows = X / self.unit - self.mean
        added = float(len(rows) if weight is None else weight.sum())
        total = self.weight + added
        offset = (rows.sum(axis=0) if weight is None else weight @ rows) / added
        rows -= offset
        products = rows.T @ (rows if weight is None else weight[:, np.newaxis] * rows)
        products += self.weight * (added / total) * np.outer(offset, offset)
        mean, products = self.mean + added / total * offset, self.products + np.tril(products)
        return replace(self, rows=self.rows + len(X), weight=total, mean=mean, products=products)

    def moments(self, *, centered: bool) -> np.ndarray:
        """Return the mean products of the columns, in their units, about their means (0 if constant) or about zero."""
        moments = (self.products + np.tril(self.products, -1).T) / self.weight
        if not centered:
            return moments + np.outer(self.mean, self.mean)
        constant = np.sqrt(np.diag(moments)) <= _ROUNDING * np.abs(self.mean)
        moments[constant] = moments[:, constant] = 0.0
        return moments


@dataclass(frozen=True)
class Combinations:
    """Combinations ``(X - center) @ matrix`` that take the place of the columns, as many as these.

    Combinations that are left out are zero. ``inverse`` leads from coefficients of the features to those of the
    combinations.
    """

    center: np.ndarray
    matrix: np.ndarray
    inverse: np.ndarray

    def rows(self, X: Any) -> np.ndarray:
        """Return the combinations of the features of X."""
        rows = (X - self.center) @ self.matrix if isinstance(X, np.ndarray) else X @ self.matrix - self._shift
        return rows.astype(X.dtype, copy=False)

    @property
    def _shift(self) -> np.ndarray:
        return self.center @ self.matrix

    @classmethod
    def of_moments(
        cls, together: CoMoments, penalty: np.ndarray, *, centered: bool, condition: float
    ) -> Combinations | None:
        """Return combinations that are not correlated, or None where the features are not, or hardly.

        With a ``penalty``, the factor of half the squared coefficient of each feature in its unit, combinations are
        such that it is the same penalty on their coefficients. A constant feature stays what it is.
        """
        moments, unit = together.moments(centered=centered), together.unit
        if not np.isfinite(moments).all():
            return None
        varying = np.flatnonzero(np.diag(moments))
        total = moments[np.ix_(varying, varying)]
        size = max(together.rows, len(unit))
        found = diagonalizing(total, penalty[varying], size, condition)
        if found is None:
            return None
        inverse = (found.T @ (total + np.diag(penalty[varying]))) * unit[varying]
        found = found / unit[varying, np.newaxis]
        if penalty.any():
            lengths = np.sqrt(np.square(found).sum(axis=0))
            found, inverse = found / lengths, inverse * lengths[:, np.newaxis]
        if not (np.isfinite(found).all() and np.isfinite(inverse).all()):
            return None
        matrix, kept = np.eye(len(unit)), varying[: found.shape[1]]
        back = matrix.copy()
        matrix[:, varying] = back[varying] = 0.0
        matrix[np.ix_(varying, kept)], back[np.ix_(kept, varying)] = found, inverse
        return cls(unit * together.mean * centered, matrix, back)

    def means_and_variances(self, together: CoMoments) -> tuple[np.ndarray, np.ndarray]:
        """Return those of the combinations."""
        matrix = together.unit[:, np.newaxis] * self.matrix
        means = (together.mean - self.center / together.unit) @ matrix
        return means, np.maximum((matrix * (together.moments(centered=True) @ matrix)).sum(axis=0), 0.0)

    def are_apt(self, together: CoMoments, condition: float, *, centered: bool) -> bool:
        """Say whether these combinations are hardly correlated, and none is left out that varies by now."""
        moments, size = together.moments(centered=centered), max(together.rows, len(together.unit))
        if not np.isfinite(moments).all():
            return False
        matrix = together.unit[:, np.newaxis] * self.matrix
        variances = variances_of(matrix.T @ moments @ matrix, size)
        n_varying = len(variances_of(moments, size))
        return len(variances) == n_varying and (n_varying == 0 or variances[-1] <= condition * variances[0])


def have_grown(variances: Any, before: Any) -> Any:
    """Say whether variances are so large by now that combinations may be correlated, as outliers make them."""
    return variances > _GROWN * before


def variances_of(moments: np.ndarray, size: int) -> np.ndarray:
    """Return the variances of standardized features along their principal directions, ascending, but for rounding."""
    deviations = np.sqrt(np.diag(moments))
    deviations[deviations == 0.0] = 1.0
    variances = eigh(moments / deviations / deviations[:, np.newaxis], eigvals_only=True)
    return variances[variances > size * _EPS * variances.max(initial=0.0)]


def diagonalizing(moments: np.ndarray, penalty: np.ndarray, size: int, condition: float) -> np.ndarray | None:
    """Return combinations in which moments and penalty are diagonal and add up to one, or None where moments are.

    ``size`` is the number of rows or columns, and ``condition`` that of the moments of standardized columns, from which
    they count as correlated.
    """
    rounding = size * _EPS
    variances = variances_of(moments, size)
    if not (len(variances) and variances[-1] > condition * variances[0]):
        return None
    scales = np.sqrt(np.diag(moments) + penalty)
    scales[scales == 0.0] = 1.0
    total = (moments + np.diag(penalty)) / scales / scales[:, np.newaxis]
    sums, directions = eigh(total)
    kept = sums > rounding * sums[-1]
    whitened = directions[:, kept] / np.sqrt(sums[kept]) / scales[:, np.newaxis]
    shares, directions = eigh(whitened.T @ (penalty[:, np.newaxis] * whitened))
    combinations = whitened @ directions[:, shares < 1.0 - rounding]
    combinations[np.diag(moments) == 0.0] = 0.0  # rounding, which the user's unit may turn into predictions
    return combinations
