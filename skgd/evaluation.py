"""The loss and the score of samples that training does not learn from: a validation set."""

from __future__ import annotations

import numpy as np

from skgd.engines import readout
from skgd.networks import forward
from skgd.plan import Plan
from skgd.state import Data, State


def evaluated(state: State, plan: Plan, validation: Data) -> tuple[np.ndarray, float]:
    """Return the loss by output and the score of a validation set."""
    losses = validation_losses(state, plan, validation)
    score = validation_score(state, validation)
    if not np.isfinite(losses).all():
        raise ValueError(f"The loss of X_val and y_val is {losses.sum()}: their values are too large.")
    return losses, score


def validation_losses(state: State, plan: Plan, validation: Data) -> np.ndarray:
    """Return the mean loss of a validation set by output, with the class weights that training has learned."""
    X, y, weight = validation
    weight = plan.row_weights(y, weight, state.class_totals)
    theta = readout(state.iterate, state.optimizer, state.objective)
    return state.objective.mean_losses(theta, X, y, weight)


def validation_score(state: State, validation: Data) -> float:
    """Return the accuracy, or R², of a validation set.

    This is the estimator's ``score`` without its checks of the input, which take longer than a small epoch.
    """
    X, y, weight = validation
    *_, raw = forward(state.readout(), X, state.objective.activation)
    if y.dtype.kind != "f":
        predicted = raw > 0.0
        if y.ndim == 2:  # multilabel: all labels of a sample have to be right
            return float(np.average((predicted == y).all(axis=1), weights=weight))
        return float(np.average((predicted[:, 0] if raw.shape[1] == 1 else raw.argmax(axis=1)) == y, weights=weight))
    if len(y) < 2:
        return np.nan
    predicted = np.exp(raw) if state.objective.loss.log_link else raw
    error = np.average((y - predicted) ** 2, axis=0, weights=weight)
    spread = np.average((y - np.average(y, axis=0, weights=weight)) ** 2, axis=0, weights=weight)
    return float(np.mean(np.where(spread > 0.0, 1.0 - error / spread, error == 0.0)))
