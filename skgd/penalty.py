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
_PRIOR_SD = 1.0  # decades
_CLOSE = 1e-5  # of the constant model's loss: how near the minimum is enough to choose
_STEPS = 50


def chosen(problem: Problem, start: np.ndarray, copies: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the strength of the penalty, and the parameters of its minimum, nearly."""
    if isinstance(problem.objective.loss, SquaredError):
        return chosen_for_squares(problem, start, copies)
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


def chosen_for_squares(problem: Problem, start: np.ndarray, copies: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the same for the squared error, of which one eigendecomposition has the minima for all strengths."""
    objective, share, n_rows = problem.objective, problem.share, copies.sum()
    slopes = problem.slopes(problem.at(np.zeros_like(start)).raw)  # the negative targets
    rows, columns = problem.rows, slice(None)
    if objective.fit_intercept:
        columns = slice(-1)
        rows = rows[:, columns] - share @ rows[:, columns]
        slopes = slopes - share @ slopes
    weighted = rows * share[:, np.newaxis]
    curvatures, directions = np.linalg.eigh(rows.T @ weighted)
    kept = curvatures > max(rows.shape) * np.finfo(np.float64).eps * curvatures[-1]
    curvatures, directions = curvatures[kept], directions[:, kept]
    rotated = rows @ directions
    squares, gradients = np.square(rotated), directions.T @ (weighted.T @ slopes)
    strengths = 10.0 ** np.arange(-4.0, np.log10(n_rows) + 2.0, 1.0 / _A_DECADE) / n_rows

    def left_out(alpha: float) -> float:
        divisors = curvatures + alpha
        influence = squares @ (1.0 / divisors) + bool(objective.fit_intercept)
        errors = slopes - rotated @ (gradients / divisors[:, np.newaxis])
        errors /= np.maximum(1.0 - share / copies * influence, 1e-12)[:, np.newaxis]
        return float((share @ np.square(errors) * worth).sum())

    worth = objective.worth * objective.unit
    alpha = min(map(float, strengths), key=left_out)
    parameters = problem.at(start).parameters.copy()
    parameters[columns] = -directions @ (gradients / (curvatures + alpha)[:, np.newaxis])
    if objective.fit_intercept:
        parameters[-1] = 0.0
        parameters[-1] = -share @ problem.slopes(problem.at(parameters).raw)
    return alpha, parameters


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
