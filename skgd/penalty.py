r"""The strength of the penalty, chosen by the data: that with the lowest loss of rows left out.

Without row i, Newton's step from the minimum over all rows moves the prediction of that row by
:math:`(I - A_i C_i)^{-1} A_i g_i`, where :math:`g_i` and :math:`C_i` are slope and curvature of its loss, and
:math:`A_i = x_i^\top H^{-1} x_i / n`. For the squared error, that is exact. A whole-number weight counts as copies of
the row, of which one is left out.

The strength times the number of rows, :math:`\lambda = n \alpha`, is looked for from 1, where standardized coefficients
are about one if they come from the prior that the penalty stands for, decade by decade, while the loss falls. Among
those that are hardly worse, the nearest to 1 is taken: leave-one-out losses are noisy, the more so the weaker the penalty
where classes can be separated.

References
----------
D. M. Allen, "The relationship between variable selection and data augmentation and a method for prediction",
Technometrics 16, 1974.
K. Rahnama Rad and A. Maleki, "A scalable estimate of the out-of-sample prediction error via approximate leave-one-out
cross-validation", JRSS B 82, 2020.
"""

from __future__ import annotations

import numpy as np

from skgd.curvature import Point, Problem
from skgd.losses import SquaredError

_A_DECADE = 4  # strengths that are tried, of a squared error
_DECADES = 3  # at most so many, up and down
_PRIOR_SD = 2.0**0.5  # decades
_ERRORS = 0.5  # standard errors over which the doubts of leave-one-out fade
_EPS = float(np.finfo(np.float64).eps)
_CLOSE = 1e-5  # of the constant model's loss: how near the minimum is enough to choose
_STEPS = 50


def chosen(problem: Problem, start: np.ndarray, copies: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the strength of the penalty, and the parameters of its minimum, nearly."""
    if isinstance(problem.objective.loss, SquaredError):
        ridge = _Ridge(problem, copies)
        alpha = ridge.chosen(np.broadcast_to(problem.objective.worth * problem.objective.unit, problem.target.shape[1]))
        return alpha, ridge.parameters(alpha)
    n_rows = copies.sum()
    share = problem.share * n_rows
    enough = _CLOSE * problem.at(start).value
    fits: dict[int, np.ndarray] = {}
    losses: dict[int, np.ndarray] = {}
    scores: dict[int, float] = {}

    def visit(decade: int, start: np.ndarray) -> None:
        penalized = problem.penalized(10.0**decade / n_rows)
        point = minimum(penalized, penalized.at(start), enough)
        fits[decade] = point.parameters
        losses[decade] = leave_one_out(penalized, point, copies)
        scores[decade] = float(share @ losses[decade]) + 0.5 * (decade / _PRIOR_SD) ** 2

    visit(0, start)
    for direction in (1, -1):
        decade = 0
        while abs(decade) < _DECADES:
            visit(decade + direction, fits[decade])
            decade += direction
            if not scores[decade] <= scores[decade - direction]:
                break
        if decade > 1:
            break
    best = min(scores, key=lambda decade: scores[decade])

    def is_hardly_worse(decade: int) -> bool:
        difference = losses[decade] - losses[best]
        mean = share @ difference / n_rows
        error = np.sqrt(max(share @ difference**2 / n_rows - mean**2, 0.0) * n_rows)
        return bool(scores[decade] - scores[best] <= error)

    decade = min((decade for decade in scores if is_hardly_worse(decade)), key=abs)
    return float(10.0**decade / n_rows), fits[decade]


class _Ridge:
    """A least squares problem, whose minima for all strengths one eigendecomposition has."""

    def __init__(self, problem: Problem, copies: np.ndarray):
        self.problem, self.has_intercept = problem, problem.objective.fit_intercept
        self.n_rows, self.share, self.copied = copies.sum(), problem.share, problem.share / copies
        rows = problem.rows[:, :-1] if self.has_intercept else problem.rows
        targets = -problem.slopes(np.zeros_like(problem.target))
        if self.has_intercept:
            rows, targets = rows - self.share @ rows, targets - self.share @ targets
        weighted = rows * self.share[:, np.newaxis]
        curvatures, directions = np.linalg.eigh(rows.T @ weighted)
        kept = curvatures > max(rows.shape) * _EPS * curvatures[-1]
        self.targets, self.curvatures, self.directions = targets, curvatures[kept], directions[:, kept]
        self.rotated = rows @ self.directions
        self.squares, self.products = np.square(self.rotated), self.directions.T @ (weighted.T @ targets)

    def parameters(self, alpha: float) -> np.ndarray:
        """Return the parameters of the minimum."""
        coef = self.directions @ (self.products / (self.curvatures + alpha)[:, np.newaxis])
        if not self.has_intercept:
            return coef
        raw = self.problem.rows[:, :-1] @ coef
        return np.vstack([coef, -self.share @ self.problem.slopes(raw)])

    def scores(self, alpha: float) -> tuple[np.ndarray, float]:
        """Return each row's squared error without it, and the negative logarithm of the evidence."""
        divisors = self.curvatures + alpha
        weights = self.products / divisors[:, np.newaxis]
        errors = self.targets - self.rotated @ weights
        influence = self.copied * (self.squares @ (1.0 / divisors) + self.has_intercept)
        left_out = np.square(errors / np.maximum(1.0 - influence, 1e-10)[:, np.newaxis])
        penalized = self.share @ np.square(errors) + alpha * np.square(weights).sum(axis=0)
        n_free = self.n_rows - self.has_intercept
        evidence = n_free * np.log(np.maximum(penalized, 1e-300)).sum()
        evidence += len(weights.T) * (np.log(divisors).sum() - len(divisors) * np.log(alpha))
        return left_out, 0.5 * float(evidence)

    def chosen(self, worth: np.ndarray) -> float:
        """Return the strength between those of the lowest leave-one-out loss and of the largest evidence."""
        n_decades = np.ceil(np.log10(self.n_rows) + 1.5)
        decades = np.arange(-4 * _A_DECADE, n_decades * _A_DECADE + 1) / _A_DECADE
        strengths = 10.0**decades / self.n_rows
        left_out, evidence = zip(*map(self.scores, map(float, strengths)), strict=True)
        by_row = [losses @ worth for losses in left_out]
        losses = np.array([self.share @ losses for losses in by_row])
        best, likely = int(losses.argmin()), int(np.argmin(evidence))
        between = np.arange(min(best, likely), max(best, likely) + 1)
        differences = np.array([by_row[index] - by_row[best] for index in between])
        rise = losses[between] - losses[best]
        error = np.sqrt(np.maximum(np.square(differences) @ self.share - rise**2, 0.0) / self.n_rows)
        doubt = np.where(rise > 0.0, rise / np.maximum(error, 1e-300), 0.0) / _ERRORS
        support = np.exp(-0.5 * np.minimum(doubt, 1e3) ** 2)
        return float(10.0 ** (support @ decades[between] / support.sum()) / self.n_rows)


def minimum(problem: Problem, point: Point, enough: float) -> Point:
    """Return the minimum, but for a Newton decrement below ``enough`` before the last step."""
    for _ in range(_STEPS):
        gradient = problem.gradient(point)
        step = problem.newton_step(point, gradient)
        point = problem.moved(point, step, gradient)
        if -0.5 * (gradient * step).sum() <= enough:
            break
    return point


def leave_one_out(problem: Problem, point: Point, copies: np.ndarray) -> np.ndarray:
    """Return the loss of each row, summed over outputs, predicted by the model of all others, nearly."""
    rows, slopes, curvatures = problem.rows, problem.slopes(point.raw), problem.curvatures(point.raw)
    share = problem.share / copies
    solves, n_columns = problem.inverses(curvatures), slopes.shape[1]
    if problem.coupled:
        n_inputs = rows.shape[1]
        hessian = solves[0](np.eye(n_columns * n_inputs)).reshape(n_columns, n_inputs, n_columns, n_inputs)
        influence = np.empty((len(slopes), n_columns, n_columns))
        for j in range(n_columns):
            for k in range(j + 1):
                influence[:, j, k] = influence[:, k, j] = share * _quadratic_forms(rows, hessian[j, :, k])
        left = (1.0 + 1e-12) * np.eye(n_columns) - curvatures @ influence
        moved = (influence @ np.linalg.solve(left, slopes[:, :, np.newaxis]))[:, :, 0]
    else:
        eye = np.eye(rows.shape[1])
        forms = [_quadratic_forms(rows, solve(eye)) for solve in dict.fromkeys(solves)]
        influence = np.column_stack(forms) * share[:, np.newaxis]
        moved = influence * slopes / np.maximum(1.0 - influence * curvatures, 1e-12)
    losses = problem.losses(point.raw + moved @ problem.basis.T).sum(axis=1)
    return losses


def _quadratic_forms(rows: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    return np.einsum("ij,ij->i", rows @ matrix, rows)
