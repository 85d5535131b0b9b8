r"""Newton's steps where samples are many: the Hessian of a subsample of them, the gradient of all.

The minimum of the subsample's objective is where they begin. With m of n samples in the subsample, and p parameters, it
is above the minimum over all samples by about n/m times as much as that is off the best model there is, because of the
samples' noise. A step with the subsample's Hessian leaves about p/m of that distance, so that one is enough where m is
the root of 4pn: what is left is a quarter of what noise adds in any case. The decrement tells whether the distance is
one that the subsample explains (:meth:`~skgd.curvature.Problem.noise`); else, and where the minimum is asked for, more
steps follow. Each takes one pass over X, of which no copy is made.

A subsample says nothing of features that hardly a sample has, or whose variance a few samples own. Where there are any,
these steps are not taken.

References
----------
A. W. van der Vaart, "Asymptotic Statistics", 1998, section 5.7 (one-step estimators).
F. Roosta-Khorasani and M. W. Mahoney, "Sub-sampled Newton methods", Mathematical Programming 174, 2019.
W. Fithian and T. Hastie, "Local case-control sampling: efficient subsampling in imbalanced data sets", Annals of
Statistics 42, 2014.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from skgd.automatic import STREAM_BATCH
from skgd.coordinates import at_regular_distances
from skgd.curvature import Problem, pieces_of
from skgd.engines import EpochSummary, initial_iterate
from skgd.engines.vectorized import penalties_of, summarized
from skgd.losses import SquaredError
from skgd.measuring import nonzero
from skgd.objective import Objective
from skgd.penalty import minimum
from skgd.plan import Plan
from skgd.state import Approach, Data, State
from skgd.steps import Batches, Orders

_SOME_ROWS = 2**12
_FEWEST_ROWS = 20.0  # of these: what a smaller subsample tells about fewer is chance
_ALIKE = 2.0  # times as large as that of all rows, or as small: a mean square in the sample
_CLOSE = 1e-3  # of the loss at the start: how near its minimum the subsample is before the last step
_STEPS = 20
_PIECE = 2**16  # entries of X that are read at once: they stay in the processor's cache meanwhile
_FAR = 1e4  # deviations from zero: of features that lie as far, differences lose too many digits
_HIGH = 2.0  # times the objective at the start: then its minimum is none of all samples
_HALVINGS = 40
_ROUNDING = 1e-12  # of the objective


# ---------------------------------------------------------------------------------------------------------------------
# The subsample
# ---------------------------------------------------------------------------------------------------------------------


class Sample(NamedTuple):
    """The problem of some of the rows, and their own weights."""

    problem: Problem
    given: np.ndarray | float


def sample_of(state: State, data: Data, constant: np.ndarray, size: int) -> Sample | None:
    """Return so many of the rows, or None where they do not represent the others.

    There is one sample of each of so many stretches that weigh the same, at random places in them, which depend on no
    random state. Samples that a constant predicts badly, as those of rare classes, are drawn more often, and weigh less
    in turn.
    """
    X, y, weight = data
    places = (np.arange(size) + np.random.default_rng(0).random(size)) / size
    chances = _chances(state.objective, y, weight, constant)
    drawn = weight if chances is None else chances if weight is None else weight * chances
    if drawn is None:
        rows = (places * len(y)).astype(np.intp)
    else:
        ends = np.cumsum(drawn)
        rows = np.searchsorted(ends, places * ends[-1], side="right")
    rows = np.minimum(rows, len(y) - 1)
    counts = None if chances is None else 1.0 / chances[rows]
    problem = Problem(state.objective, X[rows], y[rows], counts)
    return Sample(problem, 1.0 if weight is None else weight[rows]) if _is_representative(state, problem) else None


def columns_vary_in_many_rows(X: np.ndarray) -> bool:
    """Say whether no feature varies in a few samples only, as those of rare categories do, by some of the samples."""
    some = X[at_regular_distances(len(X), _SOME_ROWS)].astype(np.float64)
    some -= some.mean(axis=0)
    some /= nonzero(np.maximum(some.max(axis=0), -some.min(axis=0)))
    squares = np.square(some, out=some)
    # How many samples that vary alike have that much kurtosis.
    fourth_powers = np.einsum("ij,ij->j", squares, squares)
    return bool((np.square(squares.sum(axis=0)) >= _FEWEST_ROWS * fourth_powers).all())


def _chances(objective: Objective, y: np.ndarray, weight: np.ndarray | None, constant: np.ndarray) -> np.ndarray | None:
    """Return by how much more often each sample is drawn because of its target, where the curvature depends on that.

    In half of the subsample, samples count by how steep the loss of a constant is, for each output alike: so classes
    are about as frequent as each other there.
    """
    if isinstance(objective.loss, SquaredError):
        return None
    raw = objective.normalized(objective.predictor(np.reshape(constant, (1, -1))))
    labels = y if y.ndim == 2 else np.arange(max(2, objective.n_outputs))
    slopes = np.abs(objective.loss_gradients(objective.target(labels), raw))
    if y.ndim == 2:
        mean = np.average(slopes, axis=0, weights=weight)
    else:
        mean = np.bincount(y, weight, len(labels)) @ slopes / (len(y) if weight is None else weight.sum())
    steepness = (slopes / nonzero(mean)).mean(axis=1)
    return 0.5 + 0.5 * (steepness if y.ndim == 2 else steepness[y])


def _is_representative(state: State, problem: Problem) -> bool:
    """Say whether the features' mean squares in a subsample are about those in all samples."""
    coordinates, columns = state.objective.coordinates, state.columns
    of_all = columns.mean_squares(coordinates.center, coordinates.scale)
    rows, share = problem.standardized[:, : len(of_all)], problem.share
    of_sample = sum(share[piece] @ np.square(rows[piece]) for piece in pieces_of(rows))
    alike = (of_sample <= _ALIKE * of_all) & (of_all <= _ALIKE * of_sample)
    return bool((alike | columns.constant).all())


# ---------------------------------------------------------------------------------------------------------------------
# All samples
# ---------------------------------------------------------------------------------------------------------------------


class _Rows:
    """All rows, read in pieces, as they are: parameters are expressed in their units, and gradients in standard ones.

    Where features lie so far from zero that this would cost digits, the pieces are standardized.
    """

    def __init__(self, objective: Objective, data: Data):
        self._objective, (self._X, self._y, self._weight) = objective, data
        coordinates, n_columns = objective.coordinates, self._X.shape[1]
        center, scale = (np.broadcast_to(v, n_columns) for v in (coordinates.center, coordinates.scale))
        self._far = bool((np.abs(center) > _FAR * scale).any())
        self._center = np.zeros(n_columns) if self._far else center.astype(np.float64)
        self._scale = np.ones(n_columns) if self._far else scale.astype(np.float64)

    def losses_and_gradient(self, by_output: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return each output's mean loss, and the gradient, of a matrix of parameters as `Problem.matrix` returns."""
        objective, fit_intercept = self._objective, self._objective.fit_intercept
        coef = (by_output[:-1] if fit_intercept else by_output) / self._scale[:, np.newaxis]
        intercept = (by_output[-1] if fit_intercept else 0.0) - self._center @ coef
        losses, slope, gradient = np.zeros(coef.shape[1]), np.zeros(coef.shape[1]), np.zeros_like(coef)
        size = max(1, _PIECE // len(coef))
        for rows in (slice(start, start + size) for start in range(0, len(self._y), size)):
            Z = objective.coordinates.standardized(self._X[rows]) if self._far else self._X[rows]
            Z = Z.astype(np.float64, copy=False)
            raw = objective.normalized(objective.predictor(Z @ coef + intercept))
            target = objective.target(self._y[rows])
            values, slopes = objective.loss_values(target, raw), objective.loss_gradients(target, raw)
            if self._weight is not None:
                values, slopes = (self._weight[rows, np.newaxis] * part for part in (values, slopes))
            losses += values.sum(axis=0)
            slope += slopes.sum(axis=0)
            gradient += Z.T @ slopes
        gradient = (gradient - np.outer(self._center, slope)) / self._scale[:, np.newaxis]
        total = len(self._y) if self._weight is None else self._weight.sum()
        return losses / total, (np.vstack([gradient, slope]) if fit_intercept else gradient) / total


# ---------------------------------------------------------------------------------------------------------------------
# Steps
# ---------------------------------------------------------------------------------------------------------------------


class SubsampledEpochs:
    """How the epochs of one ``fit`` are taken that are Newton's steps with the Hessian of a subsample.

    They have the interface of `skgd.newton.NewtonEpochs`. A step that turns out, in the next epoch, to have led up is
    halved there.
    """

    n_steps = 1
    width = 0.0

    def __init__(self, plan: Plan, data: Data, random_state: np.random.RandomState, sample: Sample):
        self.data, self._sample, n_rows = data, sample, len(data[1])
        self.orders = Orders(plan, n_rows, n_rows, random_state)

    def begin(self, state: State, *, from_zero: bool, width: float) -> State:
        """Return the state as these epochs change it; an untrained one begins at the subsample's minimum."""
        self._rows = _Rows(state.objective, self.data)
        self._problem = problem = self._sample.problem.of_objective(state.objective)
        self._before = self._parameters = problem.parameters(state.iterate.theta)
        self._highest = np.inf  # the objective before the last step
        if not state.t:
            start = problem.at(self._before)
            n_steps = 1 if isinstance(state.objective.loss, SquaredError) else _STEPS
            point = minimum(problem, start, _CLOSE * start.value, n_steps)
            self._parameters, self._highest = point.parameters, _HIGH * start.value
        state.engine = "vectorized"
        return state

    def whole(self, state: State) -> State:
        """Return the state for all features."""
        return state

    def take(self, state: State, number: int, approach: Approach, memory: Any) -> tuple[Batches, float, EpochSummary]:
        """Take an epoch; return its batch, its rate and its summary."""
        problem, n_rows = self._problem, len(self.data[1])
        losses, value, gradient = self._descended()
        point = problem.at(self._parameters)
        solves = None if problem.l1.any() else problem.inverses_at(point)
        step, falls = problem.newton_step(point, gradient, solves)
        noise = 0.0 if solves is None else float(problem.noise(point, solves) @ problem.worth)
        summary = self._summary(losses, gradient)._replace(decrement=float(falls @ problem.worth), noise=noise)
        theta = problem.flat(self._parameters + step).astype(state.dtype)
        self._before, self._highest, self._parameters = self._parameters, value, problem.parameters(theta)
        slots = self._slots(state)
        state.iterate = initial_iterate(theta, state.optimizer, state.averaging)._replace(t=state.t + 1, slots=slots)
        return Batches(*self.data, np.arange(n_rows), n_rows), 1.0, summary

    def _descended(self) -> tuple[np.ndarray, float, np.ndarray]:
        """Return the outputs' losses, the objective and its gradient, after a step halved until it leads down."""
        problem = self._problem
        for _ in range(_HALVINGS):
            losses, gradient = self._rows.losses_and_gradient(self._parameters @ problem.basis.T)
            penalty = (problem.l1 * np.abs(self._parameters) + 0.5 * problem.l2 * self._parameters**2).sum()
            value = float(losses.sum() + penalty)
            if value <= self._highest + _ROUNDING * abs(self._highest):
                break
            self._parameters = 0.5 * (self._parameters + self._before)
        return losses, value, gradient @ problem.basis + problem.l2 * self._parameters

    def _summary(self, losses: np.ndarray, gradient: np.ndarray) -> EpochSummary:
        objective, n_rows = self._problem.objective, len(self.data[1])
        losses = losses * objective.unit
        record = np.array([[losses.sum(), np.square(gradient).sum(), (losses * objective.worth).sum()]])
        penalties = penalties_of(objective, self._problem.flat(self._parameters))
        return summarized(n_rows * record, penalties, n_rows)

    def _slots(self, state: State) -> tuple[np.ndarray, ...]:
        """Return what AdaGrad, with which a stream goes on, would remember of one pass over the rows, by the sample."""
        problem, n_rows = self._problem, len(self.data[1])
        counts = n_rows * problem.share * self._sample.given
        total = problem.squared_gradients(problem.at(self._parameters), counts)
        return ((total / STREAM_BATCH**2).astype(state.dtype),)
