r"""How far the objective of a linear model is above its minimum: an estimate from all rows.

It is the fall that a quadratic model of the objective promises, with the gradient :math:`g` over all rows, penalty
included, and the Hessian :math:`H`. Without an L1 penalty it is Newton's decrement, :math:`\frac12 g^\top H^{-1} g`.
With one, it is the fall of the quadratic model plus the L1 norm; its minimum is found by feature-sign search. Where
rows are sparse or columns many, conjugate gradients take the place of the factorization: what they find is the fall so
far, a lower bound that they stop to improve when it grows no more.

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

from skgd.coordinates import Matrix
from skgd.curvature import Point, Problem, inverse
from skgd.objective import Objective
from skgd.state import Data

_PIECE = 2**20  # entries of rows that are standardized at once
_WIDTHS = 0.25 ** np.arange(1, 10)  # of intervals, in units of the standardized prediction
_PRODUCTS = 60  # with the Hessian, at most
_RECENT = 5  # products; where they add less than a tenth, it is enough
_FAR = 30.0  # times what is enough: then it does not matter how far exactly
_SIGN_CHANGES = 60
_TURNS = 30


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
        self._problem = (_Problem if exact else _LazyProblem)(objective, *data)
        self._exact = exact
        worth = np.broadcast_to(objective.unit * objective.worth, objective.n_outputs)
        self._worth = worth[: self._problem.basis.shape[1]]
        self._l1 = self._problem.matrix(objective.penalty_by_parameter()[0])[:, : len(self._worth)]

    def __call__(self, theta: np.ndarray, enough: float) -> Estimate:
        """Return the estimate for a flat parameter vector; at many times ``enough``, it may be too low."""
        problem = self._problem
        problem.width = 0.0
        point = problem.at(problem.parameters(theta))
        losses = problem.share @ problem.losses(point.raw)
        penalties = (0.5 * problem.l2 * point.parameters**2 + self._l1 * np.abs(point.parameters)).sum(axis=0)
        value = float(losses.sum() * self._worth[0] if problem.coupled else losses @ self._worth)
        value += float(penalties @ self._worth)
        if problem.objective.loss.smooth or problem.coupled:
            return Estimate(value, self._fall(point, enough))
        best = np.inf
        for width in _WIDTHS:
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
        gradient = self._problem.gradient(point)
        if not self._exact:
            return self._fall_by_products(point, gradient, enough)
        if self._l1.any():
            return self._fall_to_zeros(point, gradient)
        step = self._problem.newton_step(point, gradient)
        return float(-0.5 * (gradient * step).sum(axis=0) @ self._worth)

    def _fall_to_zeros(self, point: Point, gradient: np.ndarray) -> float:
        hessians, n_rows = self._problem.hessians(point), len(point.raw)
        parameters, gradient, l1 = (part.T for part in (point.parameters, gradient, self._l1))
        if self._problem.coupled:
            return float(self._worth[0]) * _fall_in_turns(hessians[0], parameters, gradient, l1, n_rows)
        of_outputs = zip(hessians, parameters, gradient, l1, strict=True)
        return float(np.dot([fall_to_zeros(*each, n_rows)[0] for each in of_outputs], self._worth))

    def _fall_by_products(self, point: Point, gradient: np.ndarray, enough: float) -> float:
        slope = least_subgradient(gradient, point.parameters, self._l1)
        moves = (point.parameters != 0.0) | (slope != 0.0)  # of coefficients with an L1 penalty, others stay zero
        product, diagonal = self._problem.product(point)

        def weighed(step: np.ndarray) -> np.ndarray:
            return product(step) * self._worth * moves

        return fall_by_products(weighed, slope * self._worth, diagonal * self._worth, _FAR * enough)


def least_subgradient(gradient: np.ndarray, parameters: np.ndarray, l1: np.ndarray) -> np.ndarray:
    """Return the subgradient of the smallest norm, of a function with this gradient plus the L1 norm."""
    at_zero = np.sign(gradient) * np.maximum(np.abs(gradient) - l1, 0.0)
    return np.where(parameters == 0.0, at_zero, gradient + l1 * np.sign(parameters))


def fall_to_zeros(
    hessian: np.ndarray, parameters: np.ndarray, gradient: np.ndarray, l1: np.ndarray, n_rows: int
) -> tuple[float, np.ndarray]:
    """Return how far a quadratic function plus the L1 norm is above its minimum, and where that is.

    Signs are held until a coefficient reaches zero; then the best point of the way is taken, and signs are chosen anew.
    """
    start, now = parameters, parameters.copy()

    def value(points: np.ndarray) -> np.ndarray:
        moves = points - start
        return points.__abs__() @ l1 + moves @ gradient + 0.5 * np.einsum("ij,ij->i", moves @ hessian, moves)

    lowest = first = float(value(now[np.newaxis])[0])
    rounding, upper = 1e-12 * (np.abs(gradient).max() + 1e-300), 0.0
    for _ in range(_SIGN_CHANGES):
        slope = least_subgradient(gradient + hessian @ (now - start), now, l1)
        active = now != 0.0
        if not (np.abs(slope[active]) > rounding).any():
            entering = int(np.argmax(np.abs(slope)))
            if not np.abs(slope[entering]) > rounding:
                return first - lowest, now
            active[entering] = True
        among = np.flatnonzero(active)
        step = np.zeros_like(now)
        step[among] = -inverse(hessian[np.ix_(among, among)], n_rows)(slope[among])
        upper = max(upper, -0.5 * float(slope @ step))
        with np.errstate(divide="ignore", invalid="ignore"):
            crossings = np.where(step != 0.0, -now / step, np.inf)
        shares = np.append(crossings[(crossings > 0.0) & (crossings < 1.0) & (l1 > 0.0)], 1.0)
        points = now + shares[:, np.newaxis] * step
        points[:-1][np.abs(points[:-1]) <= 1e-14 * np.abs(now)] = 0.0
        values = value(points)
        best = int(np.argmin(values))
        if not values[best] < lowest:
            break
        now, lowest = points[best], float(values[best])
    return max(first - lowest, upper), now


def _fall_in_turns(
    hessian: np.ndarray, parameters: np.ndarray, gradient: np.ndarray, l1: np.ndarray, n_rows: int
) -> float:
    """Return the fall of the same in the parameters of one class after the other: the minimum of all is not unique."""
    n_classes, n_inputs = parameters.shape
    blocks = hessian.reshape(n_classes, n_inputs, n_classes, n_inputs)
    now, total = parameters, 0.0
    for _ in range(_TURNS):
        before = total
        for k in range(n_classes):
            slope = gradient[k] + np.einsum("ijk,jk->i", blocks[k], now - parameters)
            fall, point = fall_to_zeros(blocks[k, :, k], now[k], slope, l1[k], n_rows)
            now, total = np.vstack([now[:k], point, now[k + 1 :]]), total + fall
        if total - before <= 0.05 * total:
            break
    return total


def fall_by_products(
    product: Callable[[np.ndarray], np.ndarray], gradient: np.ndarray, diagonal: np.ndarray, far: float
) -> float:
    """Return by how much conjugate gradients lower a quadratic function, until they add little, or to ``far``."""
    falls = [0.0]
    residual = -gradient
    direction = residual / diagonal
    square = float((residual * direction).sum())
    while square > 0.0 and len(falls) <= _PRODUCTS and falls[-1] <= far:
        image = product(direction)
        curvature = float((direction * image).sum())
        if not curvature > 0.0:
            break
        share = square / curvature
        falls.append(falls[-1] + 0.5 * share * square)
        if len(falls) > _RECENT and falls[-1] - falls[-1 - _RECENT] < 0.1 * falls[-1]:
            break
        residual = residual - share * image
        scaled = residual / diagonal
        square, before = float((residual * scaled).sum()), square
        direction = scaled + square / before * direction
    return falls[-1]


class _Problem(Problem):
    """The problem, with slopes and curvatures that are means over an interval of ``width`` around each prediction."""

    width = 0.0

    def product(self, point: Point) -> tuple[Callable[[np.ndarray], np.ndarray], np.ndarray]:
        raise NotImplementedError

    def slopes(self, raw: np.ndarray) -> np.ndarray:
        if not self.width:
            return super().slopes(raw)
        return (self.losses(raw + self.width) - self.losses(raw - self.width)) / (2.0 * self.width)

    def curvatures(self, raw: np.ndarray) -> np.ndarray:
        if not self.width:
            return super().curvatures(raw)
        slopes = (super(_Problem, self).slopes(raw + side) for side in (self.width, -self.width))
        return np.maximum(np.subtract(*slopes), 0.0) / (2.0 * self.width)

    def smoothing(self, raw: np.ndarray) -> np.ndarray:
        """Return about by how much the mean over the interval is above each loss: half of what the chord is."""
        ends = 0.5 * (self.losses(raw + self.width) + self.losses(raw - self.width))
        return 0.5 * np.maximum(ends - self.losses(raw), 0.0)

    def hessians(self, point: Point) -> list[np.ndarray]:
        """Return the Hessian of each output, or of all together where they share a loss."""
        curvatures = self.curvatures(point.raw)
        if self.coupled:
            return [self._coupled_hessian(curvatures)]
        return [self._products(curvatures[:, k]) + np.diag(self.l2[:, k]) for k in range(curvatures.shape[1])]


class _LazyProblem(_Problem):
    """The problem for rows that are sparse or many: standardized in pieces, each time they are read."""

    def _standardized(self, objective: Objective, X: Matrix) -> Any:
        return _Rows(objective, X)

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
        """Return the mean square of each column."""
        return self.gathered(share[:, np.newaxis], lambda Z: Z**2)[:, 0]


class _TransposedRows:
    def __init__(self, rows: _Rows):
        self._rows = rows

    def __matmul__(self, values: np.ndarray) -> np.ndarray:
        return self._rows.gathered(values)
