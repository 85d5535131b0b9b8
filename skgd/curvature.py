r"""The objective of a linear model with its curvature: Newton's steps, and how far away the minimum is.

Gradient descent at the rate one, in coordinates in which the objective's curvature is one in all directions, is
Newton's method: its steps are :math:`-H^{-1} g`, with :math:`g` the gradient over all samples and :math:`H` the
Hessian. It depends neither on units nor on correlations of the features. Half of :math:`g^\top H^{-1} g`, the Newton
decrement, estimates how far the objective is above its minimum.

With an L1 penalty, the step is to the minimum of the quadratic model plus the L1 norm. Losses with kinks have no
Hessian: slopes and curvatures are those of the loss averaged over an interval around each prediction.

A step costs one product for each pair of entries of each sample, so that it pays where features are few.

References
----------
S. Boyd and L. Vandenberghe, "Convex Optimization", 2004, section 9.5.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from skgd.losses import SquaredError
from skgd.measuring import Matrix
from skgd.objective import Objective
from skgd.quadratic import Solve, inverse, minimum_in_turns, minimum_with_l1
from skgd.workspace import Workspace

_EPS = float(np.finfo(np.float64).eps)
_DIFFERENCE = _EPS ** (1 / 3)  # the step of central differences, for the least error
_PIECE = 2**17  # entries of the rows that are multiplied at once: they stay in the processor's cache meanwhile
_HALVINGS = 40
WIDTHS = 0.25 ** np.arange(-4.0, 10.0)  # of intervals around kinks, in units of the standardized prediction
_ENOUGH = 1e-4  # of the fall that the slope promises (Armijo)
_LITTLE = 0.1  # of the curvature over wider intervals, where in none of few samples lies a kink
_FLAT = 0.01  # of the slope at the start


class Point(NamedTuple):
    """Parameters, (inputs, scores), the predictions, (rows, outputs), and the objective there."""

    parameters: np.ndarray
    raw: np.ndarray
    value: float


class Problem:
    """The objective on standardized rows, as a function of one matrix of parameters, intercepts in its last row.

    It has a column for each output. Where the outputs share one loss, as the classes of softmax do, only differences of
    their predictions matter: then there is one column less, and ``basis`` makes the outputs' parameters from them.
    ``standardized`` are the samples, and ``rows`` what the parameters are for.
    ``share`` is each sample's share of the weight, which is ``total`` where there are other samples, ``l1`` and ``l2``
    are the factors of the norm and of half the squared parameters, and ``width`` is half that of the interval over
    which slopes and curvatures are means. Large arrays are those of ``workspace``, if one is given: of one problem at a
    time.
    """

    width = 0.0

    def __init__(
        self,
        objective: Objective,
        X: Matrix,
        y: np.ndarray,
        weight: np.ndarray | None,
        total: float | None = None,
        workspace: Workspace | None = None,
    ):
        self.objective, self._workspace = objective, workspace
        self.coupled = objective.loss.normalized and objective.n_outputs > 1
        together = self.coupled and not objective.l1_ratio  # whose penalty is one on each output's own parameters
        self.basis = _differences(objective.n_outputs) if together else np.eye(objective.n_outputs)
        self._take(X, y, weight, total)
        self.l1, self.l2 = self._penalties()

    def _take(self, X: Matrix, y: np.ndarray, weight: np.ndarray | None, total: float | None) -> None:
        self._solves: list[Solve] | None = None
        self.rows = self.standardized = self._standardized(X)
        self.target = self.objective.target(y)
        weight = np.ones(len(y)) if weight is None else weight
        self.share = weight / (weight.sum() if total is None else total)

    def of_rows(self, X: Matrix, y: np.ndarray, weight: np.ndarray | None, total: float) -> Problem:
        """Return the same problem of other rows, which takes the workspace over."""
        other = copy(self)
        other._take(X, y, weight, total)
        return other

    def _standardized(self, X: Matrix) -> Any:
        objective, n_features = self.objective, self.objective.n_features
        workspace = self._workspace or Workspace()
        rows = workspace.array("rows", (len(X), n_features + objective.fit_intercept))
        for piece in pieces_of(rows):
            rows[piece, :n_features] = objective.coordinates.standardized(X[piece], workspace)
        rows[:, n_features:] = 1.0
        return rows

    def _weighted(self, rows: np.ndarray, by_row: np.ndarray) -> np.ndarray:
        """Return rows, each times a number: with a workspace, until the next call."""
        out = None if self._workspace is None else self._workspace.array("weighted", rows.shape)
        return np.multiply(by_row[:, np.newaxis], rows, out=out)

    def penalized(self, alpha: float) -> Problem:
        """Return the problem with another strength of the penalty."""
        return self.of_objective(replace(self.objective, alpha=alpha))

    def of_objective(self, objective: Objective) -> Problem:
        """Return the same problem with another penalty, or other units in which progress is measured."""
        other = copy(self)
        other._solves, other.objective = None, objective
        other.l1, other.l2 = other._penalties()
        return other

    def _penalties(self) -> list[np.ndarray]:
        n_columns = self.basis.shape[1]  # outputs that share a loss have the same
        return [self.matrix(factors)[:, :n_columns] for factors in self.objective.penalty_by_parameter()]

    @property
    def worth(self) -> np.ndarray:
        """What a unit of the objective counts for, in each column, where progress is measured."""
        by_output = np.broadcast_to(self.objective.unit * self.objective.worth, self.objective.n_outputs)
        return by_output[: self.basis.shape[1]]

    def parameters(self, theta: np.ndarray) -> np.ndarray:
        """Return the matrix of a flat parameter vector."""
        return self.matrix(theta) @ self.basis

    def matrix(self, theta: np.ndarray) -> np.ndarray:
        """Return a flat vector as a matrix with a column for each output."""
        [(coef, intercept)] = self.objective.layers(np.asarray(theta, dtype=np.float64))
        return np.vstack([coef, intercept]) if self.objective.fit_intercept else coef

    def flat(self, parameters: np.ndarray) -> np.ndarray:
        """Return the inverse of :meth:`parameters`."""
        return self.joined(parameters @ self.basis.T)

    def joined(self, by_output: np.ndarray) -> np.ndarray:
        """Return the flat vector of a matrix with a column for each output."""
        layer = (by_output[:-1], by_output[-1]) if self.objective.fit_intercept else (by_output, np.zeros(0))
        return self.objective.join([layer], np.float64)

    # -- the data term ------------------------------------------------------------------------------------------------

    def losses(self, raw: np.ndarray) -> np.ndarray:
        """Return the loss of each sample and output for these predictions."""
        predictor = self.objective.predictor(raw)
        return self.objective.loss_values(self.target, self.objective.normalized(predictor))

    def slopes(self, raw: np.ndarray) -> np.ndarray:
        """Return the derivatives of the losses of each row by the columns of the prediction."""
        if not self.width:
            return self._slopes(raw)
        return (self.losses(raw + self.width) - self.losses(raw - self.width)) / (2.0 * self.width)

    def _slopes(self, raw: np.ndarray) -> np.ndarray:
        predictor = self.objective.predictor(raw)
        slopes = self.objective.loss_gradients(self.target, self.objective.normalized(predictor))
        return slopes @ self.basis if self.coupled else slopes

    def curvatures(self, raw: np.ndarray) -> np.ndarray:
        """Return the second derivatives, (rows, outputs), or (rows, columns, columns) where outputs share a loss."""
        if self._is_quadratic:
            _, scale = self.objective.predictor_coordinates
            return np.broadcast_to(SquaredError.curvature * scale**2 / self.objective.divisor, raw.shape)
        if self.width:
            wider = [self._curvatures_of_means(raw, width) for width in WIDTHS[self.width < WIDTHS]]
            return np.maximum(self._curvatures_of_means(raw, self.width), _LITTLE * np.max([*wider, 0.0 * raw], axis=0))
        if not self.coupled:
            return np.maximum(self._differences(raw, np.maximum(1.0, np.abs(raw))), 0.0)
        size = np.maximum(1.0, np.abs(raw).max(axis=1, keepdims=True))
        by_column = [self._differences(raw, size, direction) for direction in self.basis.T]
        return np.stack(by_column, axis=2)

    @property
    def _is_quadratic(self) -> bool:
        return type(self.objective.loss).gradient is SquaredError.gradient

    def _curvatures_of_means(self, raw: np.ndarray, width: float) -> np.ndarray:
        return np.maximum(self._slopes(raw + width) - self._slopes(raw - width), 0.0) / (2.0 * width)

    def smoothing(self, raw: np.ndarray) -> np.ndarray:
        """Return about by how much the mean over the interval is above each loss: half of what the chord is."""
        ends = 0.5 * (self.losses(raw + self.width) + self.losses(raw - self.width))
        return 0.5 * np.maximum(ends - self.losses(raw), 0.0)

    def _differences(self, raw: np.ndarray, size: np.ndarray, direction: np.ndarray | float = 1.0) -> np.ndarray:
        step = _DIFFERENCE * size
        return (self.slopes(raw + step * direction) - self.slopes(raw - step * direction)) / (2.0 * step)

    # -- points and steps ---------------------------------------------------------------------------------------------

    def at(self, parameters: np.ndarray) -> Point:
        """Return the point with these parameters."""
        return self._point(parameters, self.rows @ parameters @ self.basis.T)

    def _point(self, parameters: np.ndarray, raw: np.ndarray) -> Point:
        penalty = float((self.l1 * np.abs(parameters) + 0.5 * self.l2 * parameters**2).sum())
        return Point(parameters, raw, float((self.share @ self.losses(raw)).sum()) + penalty)

    def gradient(self, point: Point) -> np.ndarray:
        """Return the gradient of all but the L1 norm, a matrix like the parameters."""
        return self.rows.T @ (self.share[:, np.newaxis] * self.slopes(point.raw)) + self.l2 * point.parameters

    def newton_step(
        self, point: Point, gradient: np.ndarray, solves: list[Solve] | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return Newton's step from a point, a matrix like the parameters, and how far each column's model falls.

        ``solves`` are the :meth:`inverses_at` the point, where they are known.
        """
        if self.l1.any():
            return self._step_with_l1(point, gradient, self.hessians(self.curvatures(point.raw)), len(self.rows))
        return self._step_without_l1(gradient, solves or self.inverses_at(point))

    def step_by_hessians(
        self, point: Point, gradient: np.ndarray, hessians: list[np.ndarray], n_rows: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the same where the Hessians are known: sums over so many rows, which need not be these."""
        if self.l1.any():
            return self._step_with_l1(point, gradient, hessians, n_rows)
        return self._step_without_l1(gradient, [inverse(each, n_rows) for each in hessians])

    def _step_without_l1(self, gradient: np.ndarray, solves: list[Solve]) -> tuple[np.ndarray, np.ndarray]:
        if self.coupled:
            step = -solves[0](gradient.T.ravel()).reshape(gradient.shape[::-1]).T
        else:
            step = -np.column_stack([solve(column) for solve, column in zip(solves, gradient.T, strict=True)])
        return step, -0.5 * (gradient * step).sum(axis=0)

    def noise(self, point: Point, solves: list[Solve]) -> np.ndarray:
        r"""Return how far, for each column, the objective of all rows is above its minimum at that of this sample.

        With the :meth:`inverses_at` the point, and the covariance :math:`V` of the gradient over such samples, it is
        :math:`\frac12 \mathrm{tr}(H^{-1} V)`, about.
        """
        slopes = self.share[:, np.newaxis] * self.slopes(point.raw)
        if self.coupled:
            slopes = (slopes[:, :, np.newaxis] * self.rows[:, np.newaxis]).reshape(len(slopes), -1)
            return np.full(self.basis.shape[1], 0.5 * np.trace(solves[0](slopes.T @ slopes)) / self.basis.shape[1])
        moments = (self._summed(self._moments, column) for column in slopes.T)
        return np.array([0.5 * np.trace(solve(moment)) for solve, moment in zip(solves, moments, strict=True)])

    def _step_with_l1(
        self, point: Point, gradient: np.ndarray, hessians: list[np.ndarray], n_rows: int
    ) -> tuple[np.ndarray, np.ndarray]:
        parameters, gradient, l1 = point.parameters.T, gradient.T, self.l1.T
        if self.coupled:
            there, fall = minimum_in_turns(hessians[0], parameters, gradient, l1, n_rows)
            return (there - parameters).T, np.full(len(l1), fall / len(l1))
        of_outputs = zip(hessians, parameters, gradient, l1, strict=True)
        minima, falls = zip(*(minimum_with_l1(*each, n_rows) for each in of_outputs), strict=True)
        return (np.array(minima) - parameters).T, np.array(falls)

    def squared_gradients(self, point: Point, counts: np.ndarray) -> np.ndarray:
        """Return the flat vector of the sum of the samples' squared gradients, each counted so many times."""
        squares = counts[:, np.newaxis] * np.square(self.slopes(point.raw) @ self.basis.T)
        rows = self.standardized
        return self.joined(sum(np.square(rows[piece]).T @ squares[piece] for piece in pieces_of(rows)))

    def inverses_at(self, point: Point) -> list[Solve]:
        """Return the :meth:`inverses` at a point: of a squared error, the same at all points."""
        if self._solves is None or not self._is_quadratic:
            self._solves = self.inverses(self.curvatures(point.raw))
        return self._solves

    def inverses(self, curvatures: np.ndarray) -> list[Solve]:
        """Return what multiplies by the inverse Hessian: of each output, or of all columns together, one by one."""
        if self.coupled:
            return [inverse(self._coupled_hessian(curvatures), len(self.rows))]
        n_outputs = curvatures.shape[1]
        alike = (curvatures == curvatures[:, :1]).all() and (self.l2 == self.l2[:, :1]).all()
        made = [inverse(each, len(self.rows)) for each in self.hessians(curvatures[:, :1] if alike else curvatures)]
        return made * n_outputs if alike else made

    def hessians(self, curvatures: np.ndarray) -> list[np.ndarray]:
        """Return the Hessian of each output, or of all together where they share a loss."""
        if self.coupled:
            return [self._coupled_hessian(curvatures)]
        roots, l2 = np.sqrt(self.share[:, np.newaxis] * curvatures), self.l2[:, : curvatures.shape[1]]
        return [self._summed(self._moments, root) + np.diag(column) for root, column in zip(roots.T, l2.T, strict=True)]

    def _coupled_hessian(self, curvatures: np.ndarray) -> np.ndarray:
        n_columns, n_inputs = curvatures.shape[1], self.rows.shape[1]
        hessian = np.empty((n_columns, n_inputs, n_columns, n_inputs))
        for j in range(n_columns):
            for k in range(j + 1):
                hessian[j, :, k] = hessian[k, :, j] = self._summed(self._products, self.share * curvatures[:, j, k])
        return hessian.reshape(n_columns * n_inputs, -1) + np.diag(self.l2.T.ravel())

    def _summed(self, product: Callable[[np.ndarray, np.ndarray], np.ndarray], by_row: np.ndarray) -> Any:
        """Return the sum of a product over all rows, with a number for each."""
        if self.rows.size <= _PIECE:
            return product(self.rows, by_row)
        return sum(product(self.rows[piece], by_row[piece]) for piece in pieces_of(self.rows))

    def _products(self, rows: np.ndarray, by_row: np.ndarray) -> np.ndarray:
        return rows.T @ self._weighted(rows, by_row)

    def _moments(self, rows: np.ndarray, root: np.ndarray) -> np.ndarray:
        if (root == root[0]).all():
            return root[0] ** 2 * (rows.T @ rows)  # of which BLAS computes one half
        half = self._weighted(rows, root)
        return half.T @ half

    def moved(self, point: Point, step: np.ndarray, gradient: np.ndarray) -> Point:
        """Return the point after a step, halved until the objective falls as its slope promises, or the same point.

        Of losses that are means over an interval, only slopes are at hand: there, it may rise half as fast at the end.
        """
        scores, share = self.rows @ step, 1.0
        along = scores @ self.basis.T
        descent = -float((gradient * step).sum() + (self.l1 * _slopes_of_norm(point.parameters, step)).sum())
        for _ in range(_HALVINGS):
            there = self._point(point.parameters + share * step, point.raw + share * along)
            if self.width:
                enough = self._slope(there, step, scores) <= _FLAT * descent
            else:
                enough = there.value <= point.value - _ENOUGH * share * descent
            if enough:
                return there
            share *= 0.5
        return point

    def _slope(self, point: Point, step: np.ndarray, scores: np.ndarray) -> float:
        """Return how fast the objective grows along a step, which changes predictions by ``scores``, that ends here."""
        of_losses = (self.share @ (self.slopes(point.raw) * scores)).sum()
        of_norm = -(self.l1 * _slopes_of_norm(point.parameters, -step)).sum()
        return float(of_losses + of_norm + (self.l2 * point.parameters * step).sum())


def pieces_of(rows: np.ndarray) -> Iterator[slice]:
    """Return the pieces in which rows are read."""
    n_rows, n_columns = rows.shape
    size = max(1, _PIECE // max(n_columns, 1))
    return (slice(start, start + size) for start in range(0, n_rows, size))


def _slopes_of_norm(parameters: np.ndarray, step: np.ndarray) -> np.ndarray:
    """Return how fast absolute values grow at the beginning of a step."""
    return np.where(parameters == 0.0, np.abs(step), np.sign(parameters) * step)


def _differences(n_outputs: int) -> np.ndarray:
    """Return an orthonormal basis, (outputs, outputs - 1), of all predictions whose sum over the outputs is zero."""
    return np.linalg.svd(np.eye(n_outputs) - 1.0 / n_outputs)[0][:, :-1]
