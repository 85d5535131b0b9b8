"""The loss and the score of rows that training does not learn from: a validation set."""

from __future__ import annotations

import numpy as np

from skgd.engines import readout
from skgd.networks import forward
from skgd.plan import Plan
from skgd.state import Data, State


def evaluated(state: State, plan: Plan, validation: Data) -> tuple[float, float]:
    """Return the loss and the score of a validation set."""
    loss = validation_loss(state, plan, validation)
    score = validation_score(state, validation)
    if not np.isfinite(loss):
        raise ValueError(f"The loss of X_val and y_val is {loss}: their numbers are too large.")
    return loss, score


def validation_loss(state: State, plan: Plan, validation: Data) -> float:
    """Return the mean loss of a validation set, with the class weights that training has learnt."""
    X, y, weight = validation
    weight = plan.row_weights(y, weight, state.class_totals)
    theta = readout(state.iterate, state.optimizer, state.objective)
    return state.objective.mean_loss(theta, X, y, weight)


def validation_score(state: State, validation: Data) -> float:
    """Return the accuracy, or R², of a validation set.

    This is the estimator's ``score`` without its checks of the input, which take longer than a small epoch.
    """
    X, y, weight = validation
    *_, raw = forward(state.readout(), X, state.objective.activation)
    if y.dtype.kind != "f":
        predicted = raw > 0.0
        if y.ndim == 2:  # multilabel: all labels of a row have to be right
            return float(np.average((predicted == y).all(axis=1), weights=weight))
        return float(np.average((predicted[:, 0] if raw.shape[1] == 1 else raw.argmax(axis=1)) == y, weights=weight))
    if len(y) < 2:
        return np.nan
    predicted = np.exp(raw) if state.objective.loss.log_link else raw
    error = np.average((y - predicted) ** 2, axis=0, weights=weight)
    spread = np.average((y - np.average(y, axis=0, weights=weight)) ** 2, axis=0, weights=weight)
    return float(np.mean(np.where(spread > 0.0, 1.0 - error / spread, error == 0.0)))
