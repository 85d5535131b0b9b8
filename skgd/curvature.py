r"""The objective of a linear model with its curvature: Newton's steps, and how far away the minimum is.

Gradient descent at the rate one, in coordinates in which the objective's curvature is one in all directions, is
Newton's method: its steps are :math:`-H^{-1} g`, with :math:`g` the gradient over all rows and :math:`H` the Hessian.
It depends neither on units nor on correlations of the columns. Half of :math:`g^\top H^{-1} g`, the Newton decrement,
estimates how far the objective is above its minimum.

A step costs one product for each pair of entries of each row, so that it pays where columns are few.

References
----------
S. Boyd and L. Vandenberghe, "Convex Optimization", 2004, section 9.5.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import replace
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from skgd.coordinates import Matrix
from skgd.objective import Objective

Solve: TypeAlias = Callable[[np.ndarray], np.ndarray]

_EPS = float(np.finfo(np.float64).eps)
_DIFFERENCE = _EPS ** (1 / 3)  # the step of central differences, for the least error
_HALVINGS = 40
_ENOUGH = 1e-4  # of the fall that the slope promises (Armijo)


class Point(NamedTuple):
    """Parameters, (inputs, scores), the predictions, (rows, outputs), and the objective there."""

    parameters: np.ndarray
    raw: np.ndarray
    value: float


class Problem:
    """The objective on standardized rows, as a function of one matrix of parameters, intercepts in its last row.

    It has a column for each output. Where the outputs share one loss, as the classes of softmax do, only differences of
    their predictions matter: then there is one column less, and ``basis`` makes the outputs' parameters from them.
    ``share`` is each row's share of the weight, and ``l2`` the factor of half the squared parameters.
    """

    def __init__(self, objective: Objective, X: np.ndarray, y: np.ndarray, weight: np.ndarray | None):
        self.objective = objective
        self.rows = self._standardized(objective, X)
        self.target = objective.target(y)
        self.share = np.full(len(y), 1.0 / len(y)) if weight is None else weight / weight.sum()
        self.coupled = objective.loss.normalized and objective.n_outputs > 1
        together = self.coupled and not objective.l1_ratio  # whose penalty is one on each output's own parameters
        self.basis = _differences(objective.n_outputs) if together else np.eye(objective.n_outputs)
        self.l2 = self._l2()

    def _standardized(self, objective: Objective, X: Matrix) -> Any:
        Z = objective.coordinates.standardized(X).astype(np.float64, copy=False)
        return np.column_stack([Z, np.ones(len(Z))]) if objective.fit_intercept else Z

    def penalized(self, alpha: float) -> Problem:
        """Return the problem with another strength of the penalty."""
        other = copy(self)
        other.objective = replace(self.objective, alpha=alpha)
        other.l2 = other._l2()
        return other

    def _l2(self) -> np.ndarray:
        by_output = self.matrix(self.objective.penalty_by_parameter()[1])
        return by_output[:, : self.basis.shape[1]]  # outputs that share a loss have the same

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
        """Return the loss of each row and output for these predictions."""
        predictor = self.objective.predictor(raw)
        return self.objective.loss_values(self.target, self.objective.normalized(predictor))

    def slopes(self, raw: np.ndarray) -> np.ndarray:
        """Return the derivatives of the losses of each row by the columns of the prediction."""
        predictor = self.objective.predictor(raw)
        slopes = self.objective.loss_gradients(self.target, self.objective.normalized(predictor))
        return slopes @ self.basis if self.coupled else slopes

    def curvatures(self, raw: np.ndarray) -> np.ndarray:
        """Return the second derivatives, (rows, outputs), or (rows, columns, columns) where outputs share a loss."""
        if not self.coupled:
            return np.maximum(self._differences(raw, np.maximum(1.0, np.abs(raw))), 0.0)
        size = np.maximum(1.0, np.abs(raw).max(axis=1, keepdims=True))
        by_column = [self._differences(raw, size, direction) for direction in self.basis.T]
        return np.stack(by_column, axis=2)

    def _differences(self, raw: np.ndarray, size: np.ndarray, direction: np.ndarray | float = 1.0) -> np.ndarray:
        step = _DIFFERENCE * size
        return (self.slopes(raw + step * direction) - self.slopes(raw - step * direction)) / (2.0 * step)

    # -- points and steps ---------------------------------------------------------------------------------------------

    def at(self, parameters: np.ndarray) -> Point:
        """Return the point with these parameters."""
        return self._point(parameters, self.rows @ parameters @ self.basis.T)

    def _point(self, parameters: np.ndarray, raw: np.ndarray) -> Point:
        penalty = 0.5 * float((self.l2 * parameters**2).sum())
        return Point(parameters, raw, float((self.share @ self.losses(raw)).sum()) + penalty)

    def gradient(self, point: Point) -> np.ndarray:
        """Return the gradient, a matrix like the parameters."""
        return self.rows.T @ (self.share[:, np.newaxis] * self.slopes(point.raw)) + self.l2 * point.parameters

    def newton_step(self, point: Point, gradient: np.ndarray) -> np.ndarray:
        """Return Newton's step from a point, a matrix like the parameters."""
        solves = self.inverses(self.curvatures(point.raw))
        if self.coupled:
            return -solves[0](gradient.T.ravel()).reshape(gradient.shape[::-1]).T
        return -np.column_stack([solve(column) for solve, column in zip(solves, gradient.T, strict=True)])

    def inverses(self, curvatures: np.ndarray) -> list[Solve]:
        """Return what multiplies by the inverse Hessian: of each output, or of all columns together, one by one."""
        if self.coupled:
            return [inverse(self._coupled_hessian(curvatures), len(self.rows))]
        alike = (curvatures == curvatures[:, :1]).all() and (self.l2 == self.l2[:, :1]).all()
        n_outputs = curvatures.shape[1]
        made = [
            inverse(self._products(curvatures[:, k]) + np.diag(self.l2[:, k]), len(self.rows))
            for k in range(1 if alike else n_outputs)
        ]
        return made * n_outputs if alike else made

    def _coupled_hessian(self, curvatures: np.ndarray) -> np.ndarray:
        n_columns, n_inputs = curvatures.shape[1], self.rows.shape[1]
        hessian = np.empty((n_columns, n_inputs, n_columns, n_inputs))
        for j in range(n_columns):
            for k in range(j + 1):
                hessian[j, :, k] = hessian[k, :, j] = self._products(curvatures[:, j, k])
        return hessian.reshape(n_columns * n_inputs, -1) + np.diag(self.l2.T.ravel())

    def _products(self, curvature: np.ndarray) -> np.ndarray:
        return self.rows.T @ ((self.share * curvature)[:, np.newaxis] * self.rows)

    def moved(self, point: Point, step: np.ndarray, gradient: np.ndarray) -> Point:
        """Return the point after a step, halved until the objective falls as its slope promises, or the same point."""
        slope, along, share = float((gradient * step).sum()), self.rows @ step @ self.basis.T, 1.0
        for _ in range(_HALVINGS):
            there = self._point(point.parameters + share * step, point.raw + share * along)
            if there.value <= point.value + _ENOUGH * share * slope:
                return there
            share *= 0.5
        return point


def inverse(hessian: np.ndarray, n_rows: int) -> Solve:
    """Return what multiplies by the inverse of a positive semidefinite matrix, made of products of so many rows.

    Directions whose curvature is rounding are hardly moved along.
    """
    size = np.sqrt(np.diag(hessian))
    size[size == 0.0] = 1.0
    scaled, rounding = hessian / size / size[:, np.newaxis], max(n_rows, len(size)) * _EPS
    while True:
        try:
            factor = cho_factor(scaled + rounding * np.eye(len(size)), check_finite=False)
            break
        except LinAlgError:
            rounding *= 10.0

    def solve(values: np.ndarray) -> np.ndarray:
        units = size if values.ndim == 1 else size[:, np.newaxis]
        return cho_solve(factor, values / units, check_finite=False) / units

    return solve


def _differences(n_outputs: int) -> np.ndarray:
    """Return an orthonormal basis, (outputs, outputs - 1), of all predictions whose sum over the outputs is zero."""
    return np.linalg.svd(np.eye(n_outputs) - 1.0 / n_outputs)[0][:, :-1]
