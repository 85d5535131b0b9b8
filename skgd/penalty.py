r"""The strength of the penalty, chosen by the data: by how well each sample is predicted from all others.

Without sample i, the prediction of that sample moves from the minimum over all samples by about :math:`(I - A_i
C_i)^{-1} A_i g_i`, by one step of Newton's, where :math:`g_i` and :math:`C_i` are slope and curvature of its loss, and
:math:`A_i = x_i^\top H^{-1} x_i / n`. For the squared error, that is exact. A weight that is a whole number counts as
so many copies of the sample, of which one is left out.

Where predictions move far, as that of the only sample of a class in a category, the losses of the others are no
quadratic functions, and one step is too short: predictions of samples left out seem too good, the more the weaker the
penalty. There, the parameters go on along the same line, to the minimum of the others on it. That decides whether the
strength is larger than expected. Of smaller ones, the losses of one step decide: where classes can be separated, minima
on lines are too near. Where features are as many as samples, they cost time and decide nothing.

The strength times the number of rows, :math:`\lambda = n \alpha`, is sought from the expected one, decade by decade,
while the loss falls. Expected is one: standardized coefficients of about one. Where features are nearly as many as
samples, or more, it is a tenth of their number: each coefficient is small then, since together they make predictions of
the usual size. Of strengths hardly worse than the best, that closest to the expected one is taken, because the losses
of samples left out are noisy, most of all where classes can be separated. For the squared error, all strengths cost
little more than one, and the strength is a compromise between the lowest loss and the largest evidence, to the extent
to which the loss does not object. Losses with kinks are means over intervals in the steps, but not where samples left
out are predicted.

References
----------
D. M. Allen, "The relationship between variable selection and data augmentation and a method for prediction",
Technometrics 16, 1974.
D. J. C. MacKay, "Bayesian interpolation", Neural Computation 4, 1992.
K. Rahnama Rad and A. Maleki, "A scalable estimate of the out-of-sample prediction error via approximate leave-one-out
cross-validation", JRSS B 82, 2020.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from skgd.curvature import Point, Problem, Solve
from skgd.losses import SquaredError
from skgd.measuring import nonzero

_DECADES = 3  # from the expected lambda, up and down
_USUAL_FEATURES = 10.0  # for which it is one
_PRIOR_SD = 2.0**0.5  # decades, of lambda a priori
_WIDTH = 0.25  # half that of the intervals over which losses with kinks are means meanwhile
_CLOSE = 1e-5  # of the loss at the start, and of the best constant's: how near the minimum is enough to choose
_STEPS = 50
_A_DECADE = 4  # strengths that are tried for the squared error
_DOUBT = 0.5  # standard errors over which the objection of leave-one-out grows
_EPS = float(np.finfo(np.float64).eps)
_ROUNDING = 1e-12
_FAR = 0.5  # by which predictions move: farther, losses are hardly quadratic functions
_LINE_VALUES = 5e5  # predictions of all samples, each time one is left out that moves far
_LINE_STEPS = 8
_LONGEST = 2.0  # step on a line, by how much the prediction of the sample left out moves
_AHEAD, _NEAR = 1e-4, 0.05  # shares of it: where the curvature is measured, and a step that is the last one
_FARTHEST = 0.01  # what a sample counts: of one farther away, all that its leverage leaves to the others is rounding


def chosen(
    problem: Problem, start: np.ndarray, copies: np.ndarray, counts: np.ndarray | None = None
) -> tuple[float, np.ndarray]:
    """Return the strength of the penalty, and the parameters of its minimum, nearly.

    ``counts`` are weights of the samples, smaller for those far from all others. Left out, such a sample has a loss
    that grows with its distance: its square is divided by that of the distance, so that it does not decide. Those a
    hundred times as far away as others count for nothing there.
    """
    if isinstance(problem.objective.loss, SquaredError):
        ridge = _Ridge(problem, copies)
        alpha = ridge.chosen()
        return alpha, ridge.parameters(alpha)
    shares = np.ones(len(copies)) if counts is None else np.where(counts < _FARTHEST, 0.0, counts**2)
    return _Search(problem, start, copies, shares).chosen()


# ---------------------------------------------------------------------------------------------------------------------
# Smooth losses
# ---------------------------------------------------------------------------------------------------------------------


class _Estimates(NamedTuple):
    """The losses of samples left out for each decade of the strength, and their sums with what is expected of it."""

    losses: dict[int, np.ndarray]
    scores: dict[int, float]


class _Search:
    """The strengths that are tried, by their decade, with the minimum of each and the losses of samples left out."""

    def __init__(self, problem: Problem, start: np.ndarray, copies: np.ndarray, counts: np.ndarray):
        self._problem, self._copies, self._counts, self._n_rows = problem, copies, counts, copies.sum()
        if not problem.objective.loss.smooth:
            problem.width = _WIDTH
        # What outliers cost whatever is predicted is no part of what a constant model leaves to gain, in its worth.
        self._enough = _CLOSE * min(problem.at(start).value, float((1.0 / problem.worth).mean()))
        self._parameters: dict[int, np.ndarray] = {}
        # Which decide on stronger penalties than expected, and on weaker ones.
        self._on_lines, self._by_step = _Estimates({}, {}), _Estimates({}, {})
        n_features = int(problem.standardized.any(axis=0).sum()) - problem.objective.fit_intercept
        self._expected = _expected_decade(self._n_rows, n_features)
        self._has_lines = n_features < self._n_rows
        self._try(self._expected, start)

    def _try(self, decade: int, start: np.ndarray) -> None:
        problem = self._problem.penalized(float(10.0**decade / self._n_rows))
        point = minimum(problem, problem.at(start), self._enough)
        lines = self._has_lines and decade >= self._expected
        by_step, on_lines = leave_one_out(problem, point, self._copies, lines)
        prior = 0.5 * ((decade - self._expected) / _PRIOR_SD) ** 2
        self._parameters[decade] = point.parameters
        for estimates, losses in ((self._on_lines, on_lines), (self._by_step, by_step)):
            losses = self._counts * np.where(self._counts > 0.0, losses, 0.0)
            estimates.losses[decade] = losses
            estimates.scores[decade] = float(self._n_rows * problem.share @ losses) + prior

    def chosen(self) -> tuple[float, np.ndarray]:
        for direction, estimates in ((1, self._on_lines), (-1, self._by_step)):
            decade, scores = self._expected, estimates.scores
            while abs(decade - self._expected) < _DECADES:
                decade += direction
                self._try(decade, self._parameters[decade - direction])
                if not scores[decade] <= scores[decade - direction]:
                    break
            best = min(scores, key=scores.__getitem__)
            if best > self._expected:  # no minimum lies in the other direction
                break
        if not np.isfinite(scores[best]):
            raise ValueError(
                "The losses of samples left out, by which alpha='auto' chooses the penalty, are not finite. The units "
                "of X or y are too large or too small: rescale them, or set alpha to a number."
            )
        good = (each for each in scores if self._is_hardly_worse(estimates, each, best))
        decade = min(good, key=lambda decade: abs(decade - self._expected))
        return float(10.0**decade / self._n_rows), self._parameters[decade]

    def _is_hardly_worse(self, estimates: _Estimates, decade: int, best: int) -> bool:
        """Say whether a strength is within one standard error, of the differences row by row, of the best one."""
        losses, scores = estimates
        error = standard_error(losses[decade] - losses[best], self._problem.share, self._n_rows)
        return scores[decade] - scores[best] <= self._n_rows * error


def _expected_decade(n_rows: float, n_features: int) -> int:
    """Return the decade of lambda that is tried first: of many features that vary, coefficients are small."""
    return max(0, round(np.log10(max(n_features, 1) / _USUAL_FEATURES * min(n_features / n_rows, 1.0) + 1e-300)))


def standard_error(values: np.ndarray, share: np.ndarray, n_rows: float) -> float:
    """Return the standard error of a weighted mean."""
    return float(np.sqrt(max(share @ values**2 - (share @ values) ** 2, 0.0) / n_rows))


def minimum(problem: Problem, point: Point, enough: float, n_steps: int = _STEPS) -> Point:
    """Return the minimum, but for a Newton decrement below ``enough`` before the last step, if that takes no more."""
    for _ in range(n_steps):
        gradient = problem.gradient(point)
        step, falls = problem.newton_step(point, gradient)
        point = problem.moved(point, step, gradient)
        if falls.sum() <= enough:
            break
    return point


def leave_one_out(
    problem: Problem, point: Point, copies: np.ndarray, lines: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """Return the loss of each sample, summed over outputs, where one copy of it is left out of the training, nearly.

    That is by one step of Newton's, and the same with minima on ``lines`` of samples whose predictions move far.
    """
    slopes, curvatures = problem.slopes(point.raw), problem.curvatures(point.raw)
    share, solves = problem.share / copies, problem.inverses(curvatures)
    move = _moves_together if problem.coupled else _moves_apart
    moved = move(problem, solves, share, slopes, curvatures)
    by_step = problem.losses(point.raw + moved @ problem.basis.T).sum(axis=1)
    distance = np.abs(moved).max(axis=1)
    if not (lines and (distance > _FAR).any()):
        return by_step, by_step
    farthest = np.argsort(-distance, kind="stable")[: max(1, int(_LINE_VALUES / len(moved)))]
    far = farthest[distance[farthest] > _FAR]
    moved[far] = _moves_along_lines(problem, point, solves, far, share[far], slopes[far], moved[far])
    return by_step, problem.losses(point.raw + moved @ problem.basis.T).sum(axis=1)


def _moves_apart(
    problem: Problem, solves: list[Solve], share: np.ndarray, slopes: np.ndarray, curvatures: np.ndarray
) -> np.ndarray:
    """Return by how much the prediction of each sample moves without it, output by output."""
    identity = np.eye(problem.rows.shape[1])
    forms = {solve: share * _quadratic_forms(problem.rows, solve(identity)) for solve in dict.fromkeys(solves)}
    influence = np.column_stack([forms[solve] for solve in solves])
    return influence * slopes / np.maximum(1.0 - influence * curvatures, _ROUNDING)


def _moves_together(
    problem: Problem, solves: list[Solve], share: np.ndarray, slopes: np.ndarray, curvatures: np.ndarray
) -> np.ndarray:
    """Return the same where the outputs share one loss."""
    rows, n_columns = problem.rows, slopes.shape[1]
    inverse = solves[0](np.eye(n_columns * rows.shape[1])).reshape(n_columns, rows.shape[1], n_columns, rows.shape[1])
    influence = np.empty_like(curvatures)
    for j in range(n_columns):
        for k in range(j + 1):
            influence[:, j, k] = influence[:, k, j] = share * _quadratic_forms(rows, inverse[j, :, k])
    left = (1.0 + _ROUNDING) * np.eye(n_columns) - curvatures @ influence
    return (influence @ np.linalg.solve(left, slopes[:, :, np.newaxis]))[:, :, 0]


def _moves_along_lines(
    problem: Problem,
    point: Point,
    solves: list[Solve],
    far: np.ndarray,
    share: np.ndarray,
    slopes: np.ndarray,
    moved: np.ndarray,
) -> np.ndarray:
    """Return by how much the predictions of some samples move, each to the minimum of the others on a line.

    That is the line on which its own slope moves the parameters. They only go on from where Newton's step ends: to stop
    earlier, where the others are steeper on the line than around it, would make predictions too good. Outputs that
    share a loss move together.
    """
    rows, own_row = problem.rows, (np.arange(len(far)), far)
    directions = _directions(problem, solves, rows[far], share[:, np.newaxis] * slopes)
    scores, others = rows @ directions, np.tile(problem.share, (len(far), 1))
    others[own_row] -= share
    own = scores[own_row]
    if problem.coupled:
        length = np.sqrt(np.square(own).sum(axis=1, keepdims=True))
        time = np.sqrt(np.square(moved).sum(axis=1, keepdims=True)) / nonzero(length)
    else:
        length, time = np.abs(own), moved / np.where(own == 0.0, 1.0, own)  # both have the sign of the slope

    def rise(time: np.ndarray) -> np.ndarray:
        """Return how fast the objective of the others grows there."""
        slopes = problem.slopes(point.raw + (time[:, np.newaxis] * scores) @ problem.basis.T)
        by_column = np.einsum("in,ink->ik", others, slopes * scores)
        parameters = point.parameters + time[:, np.newaxis] * directions
        by_column += (problem.l2 * parameters * directions).sum(axis=1)
        return by_column.sum(axis=1, keepdims=True) if problem.coupled else by_column

    earliest, longest, moving = time, _LONGEST / nonzero(length), np.ones((len(far), 1), bool)
    for _ in range(_LINE_STEPS):
        here = rise(time)
        moving &= ((here < 0.0) | (time > earliest)).any(axis=1, keepdims=True)
        if not moving.any():
            break
        curvature = nonzero(np.maximum(rise(time + _AHEAD * longest) - here, 0.0) / (_AHEAD * longest))
        before, there = time, np.maximum(time + np.clip(-here / curvature, -longest, longest), earliest)
        time = np.where(moving, there, time)
        moving &= (np.abs(time - before) > _NEAR * longest).any(axis=1, keepdims=True)
    return time * own


def _directions(problem: Problem, solves: list[Solve], rows: np.ndarray, slopes: np.ndarray) -> np.ndarray:
    """Return the inverse Hessian times the gradient of each row, (rows, inputs, columns), which has such slopes."""
    if problem.coupled:
        gradients = slopes[:, :, np.newaxis] * rows[:, np.newaxis]
        return solves[0](gradients.reshape(len(rows), -1).T).T.reshape(gradients.shape).transpose(0, 2, 1)
    return np.stack(
        [column[:, np.newaxis] * solve(rows.T).T for solve, column in zip(solves, slopes.T, strict=True)], 2
    )


def _quadratic_forms(rows: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    return np.einsum("ij,ij->i", rows @ matrix, rows)


# ---------------------------------------------------------------------------------------------------------------------
# The squared error
# ---------------------------------------------------------------------------------------------------------------------


class _Ridge:
    """A least squares problem, of which one eigendecomposition has the minima for all strengths."""

    def __init__(self, problem: Problem, copies: np.ndarray):
        objective = problem.objective
        self._problem, self._has_intercept = problem, objective.fit_intercept
        self._n_rows, self._share, self._copied = copies.sum(), problem.share, problem.share / copies
        self._worth = problem.worth
        self._rows = problem.rows[:, :-1] if self._has_intercept else problem.rows
        root, targets = np.sqrt(self._share)[:, np.newaxis], -problem.slopes(np.zeros_like(problem.target))
        halves = self._rows.copy()
        if self._has_intercept:
            halves -= self._share @ halves
            targets = targets - self._share @ targets
        halves *= root
        products = halves.T @ halves
        variances, directions = np.linalg.eigh(products)
        directions[np.diag(products) == 0.0] = 0.0  # rounding, which the user's unit may turn into predictions
        kept = variances > max(halves.shape) * _EPS * variances[-1]
        self._targets, self._variances, self._directions = targets, variances[kept], directions[:, kept]
        self._scores = halves @ self._directions
        self._products = self._scores.T @ (root * targets)
        self._scores /= nonzero(root)

    def parameters(self, alpha: float) -> np.ndarray:
        """Return the parameters of the minimum."""
        coef = self._directions @ (self._products / (self._variances + alpha)[:, np.newaxis])
        if not self._has_intercept:
            return coef
        return np.vstack([coef, -self._share @ self._problem.slopes(self._rows @ coef)])

    def _left_out_and_evidence(self, alpha: float, influence: np.ndarray) -> tuple[np.ndarray, float]:
        """Return the squared error of each sample without it, and the logarithm of the evidence, times two."""
        divisors = self._variances + alpha
        weights = self._products / divisors[:, np.newaxis]
        errors = self._targets - self._scores @ weights
        influence = self._copied * (influence + self._has_intercept)
        left_out = np.square(errors / np.maximum(1.0 - influence, _ROUNDING)[:, np.newaxis]) @ self._worth
        objective = self._share @ np.square(errors) + alpha * np.square(weights).sum(axis=0)
        fit = (self._n_rows - self._has_intercept) * np.log(np.maximum(objective, 1e-300)).sum()
        volume = len(objective) * (np.log(divisors).sum() - len(divisors) * np.log(alpha))
        return left_out, -float(fit + volume)

    def chosen(self) -> float:
        """Return the strength."""
        decades = np.arange(-4.0, np.ceil(np.log10(self._n_rows) + 1.5) + 0.5 / _A_DECADE, 1.0 / _A_DECADE)
        strengths = 10.0**decades / self._n_rows
        influences = np.square(self._scores) @ (1.0 / (self._variances[:, np.newaxis] + strengths))
        left_out, evidence = zip(*map(self._left_out_and_evidence, strengths.tolist(), influences.T), strict=True)
        losses = [float(self._share @ by_row) for by_row in left_out]
        best, likely = int(np.argmin(losses)), int(np.argmax(evidence))
        between = range(min(best, likely), max(best, likely) + 1)
        support = np.array([self._support(left_out[index] - left_out[best]) for index in between])
        return float(10.0 ** (support @ decades[between] / support.sum()) / self._n_rows)

    def _support(self, rise: np.ndarray) -> float:
        """Return how little a rise of the losses of samples left out, from the lowest, objects to a strength."""
        mean, error = float(self._share @ rise), standard_error(rise, self._share, self._n_rows)
        doubt = max(mean, 0.0) / max(_DOUBT * error, 1e-300)
        return float(np.exp(-0.5 * min(doubt, 100.0) ** 2))
