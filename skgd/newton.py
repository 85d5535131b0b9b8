"""Epochs of one step each, over all samples: Newton's, for a linear model.

`skgd.automatic` says where ``fit`` takes them, `skgd.curvature` makes them, and `skgd.penalty` chooses the strength of
the penalty first, which leads close to the minimum already: one epoch or two are left.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from skgd.automatic import STREAM_BATCH, spans
from skgd.curvature import WIDTHS, Point, Problem
from skgd.engines import EpochSummary, initial_iterate
from skgd.engines.vectorized import penalties_of, summarized
from skgd.outliers import weights_of_rows
from skgd.penalty import chosen
from skgd.plan import Plan
from skgd.spanned import SpannedProblem
from skgd.state import Approach, Data, State
from skgd.steps import Batches, Orders

_NARROWER = 0.25
_SMALL = 0.5  # of what smoothing adds: a fall that the next, smaller interval is worth more than


def problem_of(state: State, plan: Plan, data: Data) -> Problem:
    """Return the objective as a function of as few parameters as there may be."""
    (n_rows, n_columns), objective = data[0].shape, state.objective
    return (SpannedProblem if n_rows < n_columns and spans(plan, objective) else Problem)(objective, *data)


def with_chosen_penalty(state: State, problem: Problem, copies: np.ndarray) -> tuple[State, Problem]:
    """Return state and problem with the strength of the penalty that the data choose, close to the minimum."""
    coordinates, fit_intercept = state.objective.coordinates, state.objective.fit_intercept
    squares = np.einsum("ij,ij->i", problem.standardized, problem.standardized) - fit_intercept
    counts = weights_of_rows(squares, state.columns, coordinates, fit_intercept)
    alpha, parameters = chosen(problem, problem.parameters(state.iterate.theta), copies, counts)
    theta = problem.flat(parameters).astype(state.dtype)
    iterate = initial_iterate(theta, state.optimizer, state.averaging)._replace(t=state.t)
    problem = problem.penalized(alpha)
    return replace(state, objective=problem.objective, iterate=iterate), problem


def is_narrowed(fall: float, added: float) -> bool:
    """Say whether the next interval around kinks is smaller: a step gains less than the interval adds to the loss."""
    return fall <= _SMALL * added


def narrower(width: float) -> float:
    """Return half the width of the next smaller interval around kinks."""
    return max(_NARROWER * width, float(WIDTHS[-1]))


class NewtonEpochs:
    """How the epochs of one ``fit`` are taken that are Newton's steps, with the interface of those in batches."""

    n_steps = 1

    def __init__(self, problem: Problem, plan: Plan, data: Data, random_state: np.random.RandomState):
        self._problem, self.data, n_rows = problem, data, len(data[1])
        self.orders = Orders(plan, n_rows, n_rows, random_state)
        self._is_moved = False  # since the slots were made

    def begin(self, state: State, *, from_zero: bool, width: float) -> State:
        """Return the state as these epochs change it."""
        if not state.objective.loss.smooth:
            self._problem.width = width or self._problem.width or float(WIDTHS[0])
        self._point = self._problem.at(self._problem.parameters(state.iterate.theta))
        state.engine = "vectorized"
        return state

    @property
    def width(self) -> float:
        """Half that of the intervals over which losses with kinks are means now."""
        return self._problem.width

    def whole(self, state: State) -> State:
        """Return the state for all features, with what a stream goes on with."""
        if self._is_moved:
            state.iterate, self._is_moved = state.iterate._replace(slots=self._slots(state)), False
        return state

    def take(self, state: State, number: int, approach: Approach, memory: Any) -> tuple[Batches, float, EpochSummary]:
        """Take an epoch; return its batch, its rate and its summary."""
        problem, before = self._problem, self._point
        gradient = problem.gradient(before)
        step, falls = problem.newton_step(before, gradient)
        self._point, self._is_moved = problem.moved(before, step, gradient), True
        fall = float(falls @ problem.worth)
        added = float(problem.share @ problem.smoothing(before.raw) @ problem.worth) if problem.width else 0.0
        if problem.width and is_narrowed(fall, added):
            self._point = min(before, self._point, key=lambda point: point.value)
            problem.width = narrower(problem.width)
        theta = problem.flat(self._point.parameters).astype(state.dtype)
        state.iterate = initial_iterate(theta, state.optimizer, state.averaging)._replace(t=state.t + 1)
        decrement = fall + 2.0 * added  # at the minimum, more samples are at kinks than here
        summary = self._summary(before, gradient)._replace(decrement=decrement)
        n_rows = len(problem.rows)
        return Batches(*self.data, np.arange(n_rows), n_rows), 1.0, summary

    def _summary(self, point: Point, gradient: np.ndarray) -> EpochSummary:
        objective, n_rows = self._problem.objective, len(self._problem.rows)
        losses = (self._problem.share @ self._problem.losses(point.raw)) * objective.unit
        record = np.array([[losses.sum(), np.square(gradient).sum(), (losses * objective.worth).sum()]])
        return summarized(n_rows * record, penalties_of(objective, self._problem.flat(point.parameters)), n_rows)

    def _slots(self, state: State) -> tuple[np.ndarray, ...]:
        """Return what AdaGrad, with which a stream goes on, would remember of one pass over the samples."""
        problem, n_rows = self._problem, len(self._problem.rows)
        total = problem.squared_gradients(self._point, np.square(n_rows * problem.share))
        return ((total / STREAM_BATCH**2).astype(state.dtype),)
