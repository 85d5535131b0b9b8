r"""How far the objective of a linear model is above its minimum: an estimate from all samples.

It is the fall that a quadratic model of the objective promises, with the gradient :math:`g` over all rows, penalty
included, and the Hessian :math:`H`. Without an L1 penalty it is Newton's decrement, :math:`\frac12 g^\top H^{-1} g`.
With one, it is the fall of the quadratic model plus the L1 norm; its minimum is found by feature-sign search. Where
samples are sparse or features many, conjugate gradients take the place of the factorization, until the fall that they
find grows no more. There, with an L1 penalty, signs are held, so that the estimate may be several times too high.

Losses with kinks have no Hessian. Theirs is that of the loss averaged over an interval around each prediction, which is
above the loss by at most what the estimate adds for it; of several intervals, the one with the lowest sum counts.

References
----------
S. Boyd and L. Vandenberghe, "Convex Optimization", 2004, section 9.5.
H. Lee, A. Battle, R. Raina and A. Y. Ng, "Efficient sparse coding algorithms", NIPS 2006 (feature-sign search).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from skgd.curvature import WIDTHS, Point, Problem
from skgd.measuring import Matrix
from skgd.objective import Objective
from skgd.quadratic import fall_by_products, least_subgradient
from skgd.state import Data

_PIECE = 2**20  # entries of samples that are standardized at once
_FAR = 30.0  # times what is enough: then it does not matter how far exactly


class Estimate(NamedTuple):
    """The objective at some parameters, by its worth, and how far that is above the minimum."""

    value: float
    distance: float


class Certificate:
    """Estimates, for one data set, how far parameters are from the minimum.

    With ``exact``, by factorizations of the Hessian, which take time for each pair of columns; else by products with
    it.
    """

    def __init__(self, objective: Objective, data: Data, *, exact: bool):
        self._problem = (Problem if exact else _LazyProblem)(objective, *data)
        self._worth = self._problem.worth

    def __call__(self, theta: np.ndarray, enough: float) -> Estimate:
        """Return the estimate for a flat parameter vector; at many times ``enough``, it may be too low."""
        problem = self._problem
        problem.width = 0.0
        point = problem.at(problem.parameters(theta))
        losses = problem.share @ problem.losses(point.raw)
        penalties = (0.5 * problem.l2 * point.parameters**2 + problem.l1 * np.abs(point.parameters)).sum(axis=0)
        value = float(losses.sum() * self._worth[0] if problem.coupled else losses @ self._worth)
        value += float(penalties @ self._worth)
        if problem.objective.loss.smooth or problem.coupled:
            return Estimate(value, self._fall(point, enough))
        best = np.inf
        for width in WIDTHS[WIDTHS <= 1.0]:
            problem.width = width
            added = float((problem.share @ problem.smoothing(point.raw)) @ self._worth)
            distance = added + self._fall(point, enough)
            if distance > best:
                break
            best = distance
            if best <= enough < np.inf:
                break
        return Estimate(value, best)

    def _fall(self, point: Point, enough: float) -> float:
        problem = self._problem
        gradient = problem.gradient(point)
        if isinstance(problem, _LazyProblem):
            return self._fall_by_products(problem, point, gradient, enough)
        return float(problem.newton_step(point, gradient)[1] @ self._worth)

    def _fall_by_products(self, problem: _LazyProblem, point: Point, gradient: np.ndarray, enough: float) -> float:
        slope = least_subgradient(gradient, point.parameters, problem.l1)
        moves = (point.parameters != 0.0) | (slope != 0.0)  # of coefficients with an L1 penalty, others stay zero
        product, diagonal = problem.product(point)

        def weighed(step: np.ndarray) -> np.ndarray:
            return product(step) * self._worth * moves

        return fall_by_products(weighed, slope * self._worth, diagonal * self._worth, _FAR * enough)


class _LazyProblem(Problem):
    """The problem for samples that are sparse or many: standardized in pieces, each time they are read."""

    def _standardized(self, X: Matrix) -> Any:
        return _Rows(self.objective, X)

    def product(self, point: Point) -> tuple[Callable[[np.ndarray], np.ndarray], np.ndarray]:
        """Return what multiplies by the Hessian, and about its diagonal."""
        raw, share, curvatures = point.raw, self.share[:, np.newaxis], None
        if not self.coupled:
            curvatures = self.curvatures(raw)
        size = np.maximum(1.0, np.abs(raw).max(axis=1, keepdims=True))

        def product(step: np.ndarray) -> np.ndarray:
            along = self.rows @ step @ self.basis.T
            if curvatures is not None:
                bent = curvatures * along
            else:
                length = np.abs(along).max(axis=1, keepdims=True)
                length[length == 0.0] = 1.0
                bent = length * self._differences(raw, size, along / length)
            return self.rows.T @ (share * bent) + self.l2 * step

        mean = 0.25 if curvatures is None else float((share * curvatures).sum(axis=0).mean())
        diagonal = mean * self.rows.mean_squares(self.share)[:, np.newaxis] + self.l2
        return product, np.maximum(diagonal, 1e-12 * diagonal.max() + 1e-300)


class _Rows:
    """Standardized rows, with a one for the intercept, that are multiplied with and never all there at once."""

    def __init__(self, objective: Objective, X: Matrix):
        self._objective, self._X = objective, X
        entries = X.shape[1] if isinstance(X, np.ndarray) else X.nnz / max(X.shape[0], 1)
        size = max(1, int(_PIECE / max(entries, 1)))
        self._pieces = [slice(start, start + size) for start in range(0, X.shape[0], size)]
        self._kept: Any = None

    def __len__(self) -> int:
        return self._X.shape[0]

    def _read(self) -> Any:
        if len(self._pieces) > 1:
            return ((rows, self._piece(rows)) for rows in self._pieces)
        if self._kept is None:
            self._kept = [(rows, self._piece(rows)) for rows in self._pieces]
        return self._kept

    def _piece(self, rows: slice) -> Matrix:
        return self._objective.coordinates.standardized(self._X[rows]).astype(np.float64)

    @property
    def T(self) -> _TransposedRows:
        """The transpose."""
        return _TransposedRows(self)

    def __matmul__(self, parameters: np.ndarray) -> np.ndarray:
        coef, intercept = self._parts(parameters)
        return np.concatenate([Z @ coef + intercept for _, Z in self._read()])

    def _parts(self, parameters: np.ndarray) -> tuple[np.ndarray, Any]:
        return (parameters[:-1], parameters[-1]) if self._objective.fit_intercept else (parameters, 0.0)

    def gathered(self, values: np.ndarray, change: Callable[[Any], Any] = lambda Z: Z) -> np.ndarray:
        """Return the sum of changed rows, each times its values."""
        total = sum(change(Z).T @ values[rows] for rows, Z in self._read())
        return np.vstack([total, values.sum(axis=0)]) if self._objective.fit_intercept else np.asarray(total)

    def mean_squares(self, share: np.ndarray) -> np.ndarray:
        """Return the mean square of each feature."""
        return self.gathered(share[:, np.newaxis], lambda Z: Z**2)[:, 0]


class _TransposedRows:
    def __init__(self, rows: _Rows):
        self._rows = rows

    def __matmul__(self, values: np.ndarray) -> np.ndarray:
        return self._rows.gathered(values)
