"""Epochs of one step each, over all rows: Newton's, of a linear model of few columns.

`skgd.curvature` makes the steps, `skgd.penalty` chooses the strength of the penalty first.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from skgd.curvature import Problem
from skgd.engines import EpochSummary, initial_iterate
from skgd.penalty import chosen
from skgd.plan import Plan
from skgd.state import Data, State

_STREAM_BATCH = 8


def with_chosen_penalty(state: State, plan: Plan, data: Data, copies: np.ndarray) -> State:
    """Return the state with the strength of the penalty that the data choose, near the minimum."""
    problem = Problem(state.objective, *data)
    alpha, parameters = chosen(problem, problem.parameters(state.iterate.theta), copies)
    theta = problem.flat(parameters).astype(state.dtype)
    iterate = initial_iterate(theta, state.optimizer, state.averaging)._replace(t=state.t)
    return replace(state, objective=replace(state.objective, alpha=alpha), iterate=iterate)


def copies_of(weight: np.ndarray | None, n_rows: int) -> np.ndarray:
    """Return of how many rows each is a copy: its weight, if weights are whole numbers, else one."""
    if weight is None or not (weight == np.rint(weight)).all():
        return np.ones(n_rows)
    return weight


class NewtonEpochs:
    """Newton's steps on one data set."""

    def __init__(self, state: State, data: Data):
        self._problem = Problem(state.objective, *data)
        self._point = self._problem.at(self._problem.parameters(state.iterate.theta))

    def take(self, state: State) -> EpochSummary:
        """Take a step, and set the state's iterate."""
        problem, before, objective = self._problem, self._point, self._problem.objective
        gradient = problem.gradient(before)
        step = problem.newton_step(before, gradient)
        self._point = point = problem.moved(before, step, gradient)
        worth = np.broadcast_to(objective.unit * objective.worth, objective.n_outputs)
        theta = problem.flat(point.parameters).astype(state.dtype)
        iterate = initial_iterate(theta, state.optimizer, state.averaging)
        state.iterate = iterate._replace(t=state.t + 1, slots=self._slots(state))
        penalty, of_worth = objective.penalty(problem.flat(before.parameters)), objective.penalty(
            problem.flat(before.parameters), objective.worth
        )
        n_rows = len(problem.rows)
        losses = (problem.share @ problem.losses(before.raw)) * objective.unit
        return EpochSummary(
            float(losses.sum()),
            penalty,
            float((losses * objective.worth).sum()) + of_worth,
            [float(np.square(gradient).sum())],
            n_rows,
            np.array([float((losses * objective.worth).sum()) * n_rows]),
            float(-0.5 * ((gradient * step).sum(axis=0) * worth[: gradient.shape[1]]).sum()),
        )

    def _slots(self, state: State) -> tuple[np.ndarray, ...]:
        """Return what the optimizer of a stream that goes on would remember of one pass over the rows."""
        problem, n_rows = self._problem, len(self._problem.rows)
        slopes = problem.slopes(self._point.raw) * (problem.share * n_rows)[:, np.newaxis]
        total = np.square(problem.rows).T @ np.square(slopes @ problem.basis.T) / _STREAM_BATCH**2
        return (problem.joined(total).astype(state.dtype),)
