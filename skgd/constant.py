r"""The best constant model: where training begins, and the yardstick of its progress.

Of each output, progress is measured by what a constant prediction leaves to gain, so that neither the unit of a target
nor the rarity of a class decides how well another output is fitted. What outliers cost whatever is predicted, where the
loss grows linearly, is no part of that.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from skgd.coordinates import Coordinates, target_coordinates
from skgd.objective import Objective
from skgd.outliers import HALF, OWNED, medians
from skgd.plan import Plan
from skgd.state import Data, State

_NOTHING = 1e-15  # of a unit of the loss: rounding
_WITHIN = 10.0  # scales of the target from the constant: what is farther is an outlier
_LARGEST_SCORE = 50.0  # whose exponential is as good as infinite
_POINTS, _ROUNDS = 2**7 - 1, 10  # within an interval, which becomes 2**-70 of what it was: to the last bit
_NORMAL = 1.482602218505602  # standard deviations of a normal variable in its median absolute deviation


def best_constant(state: State, y: np.ndarray, weight: np.ndarray | None) -> np.ndarray:
    """Return the standardized prediction, (n_outputs,), of the best constant model, nearly.

    For numbers it is the center of the target; for labels it minimizes the loss.
    """
    objective = state.objective
    if y.dtype.kind == "f":
        coordinates, loss = objective.coordinates, objective.loss
        if objective.fit_intercept and not isinstance(coordinates.target_scale, float):
            return np.zeros(objective.n_outputs)  # which is where the coordinates are centered already
        center, scale = target_coordinates(state.targets.measures, loss.log_link, True)
        if has_linear_tails(objective):
            known = Coordinates(target_center=center, target_scale=scale)
            center = np.asarray(without_outlying_targets(known, y, weight).target_center)
        return (center - coordinates.target_center) / coordinates.target_scale
    share = _shares(objective, y, weight)
    n_rows = state.columns.rows
    share = np.clip(share, 0.5 / n_rows, 1.0 - 0.5 / n_rows)
    if objective.loss.normalized:
        return np.log(share) - np.log(share).mean()
    return _root_of_slopes(objective, share)


def _shares(objective: Objective, y: np.ndarray, weight: np.ndarray | None) -> np.ndarray:
    """Return the share of the positive label in each output."""
    if y.ndim == 2:
        return np.average(y, axis=0, weights=weight)
    counts = np.bincount(y, weight, 2 if objective.n_outputs == 1 else objective.n_outputs)
    shares = counts / counts.sum()
    return shares[1:] if objective.n_outputs == 1 else shares


def _root_of_slopes(objective: Objective, share: np.ndarray) -> np.ndarray:
    """Return the score of each output at which the loss of these shares of positive labels is lowest."""
    negative, positive = objective.loss.label_values
    low, high = np.full((2, len(share)), [[-_LARGEST_SCORE], [_LARGEST_SCORE]])
    outputs = np.arange(len(share))

    def mean(rule: Any, scores: np.ndarray) -> np.ndarray:
        of_positive, of_negative = (rule(label, scores, objective.hyper) for label in (positive, negative))
        return share * of_positive + (1.0 - share) * of_negative

    for already in range(_ROUNDS):
        scores = np.linspace(low, high, _POINTS + 2)
        slopes = mean(objective.loss.gradient, scores)
        slopes[0], slopes[-1] = -np.inf, np.inf
        minima = (slopes[:-1] < 0.0) & (slopes[1:] >= 0.0)
        place = minima.argmax(axis=0)
        if not already and (minima.sum(axis=0) > 1).any():  # of a loss that is not convex, the lowest
            losses = mean(objective.loss.value, scores)
            place = np.where(minima, np.minimum(losses[:-1], losses[1:]), np.inf).argmin(axis=0)
        low, high = scores[place, outputs], scores[place + 1, outputs]
    return 0.5 * (low + high)


def begun_at_constant(state: State, plan: Plan, constant: np.ndarray) -> State:
    """Return an untrained state whose intercepts are the best constant, with ``learning_rate="auto"``."""
    objective, optimizer, iterate = state.objective, state.optimizer, state.iterate
    if state.t or not objective.fit_intercept or not isinstance(plan.schedule.learning_rate, str):
        return state

    def begun(theta: np.ndarray) -> np.ndarray:
        *layers, (coef, _) = objective.layers(theta)
        return objective.join([*layers, (coef, constant)], np.float64).astype(theta.dtype)

    slots = optimizer.rebase(begun, iterate.theta, iterate.slots, optimizer.hyper())
    average = None if iterate.average is None else begun(iterate.average)
    return replace(state, iterate=iterate._replace(theta=begun(iterate.theta), slots=slots, average=average))


def yardstick(state: State, constant: np.ndarray, data: Data) -> tuple[np.ndarray, float]:
    """Return the worth of a unit of each output's loss, so that the constant model's is one, and what outliers add."""
    _, y, weight = data
    objective = state.objective
    within = _WITHIN if y.dtype.kind == "f" and has_linear_tails(objective) else np.inf
    losses, removable = objective.mean_losses_of_constant(constant, y, weight, within)
    if objective.exclusive_classes:  # which are one problem
        removable = losses = np.full(len(losses), losses.mean())
    # Without anything to gain, as of a constant target or by the perceptron's loss, the unit is the yardstick.
    yard = np.where(removable > _NOTHING * objective.unit, removable, objective.unit)
    worth = 1.0 / (len(losses) * yard)
    return worth, float((worth * (losses - removable)).sum())


def value_of_zero(state: State, data: Data) -> float:
    """Return the objective, by its worth, where all parameters are zero."""
    _, y, weight = data
    losses, _ = state.objective.mean_losses_of_constant(np.zeros(state.objective.n_outputs), y, weight)
    return float(np.sum(state.objective.worth * losses))


def has_linear_tails(objective: Objective) -> bool:
    """Say whether a loss of numbers grows no faster than linearly, so that outliers do not own it."""
    distances, target = np.array([1e150, 1e300]), np.zeros(2)
    near, far = np.abs(objective.loss.gradient(target, distances, objective.hyper))
    return bool(not objective.loss.log_link and far <= 2.0 * near)


def is_robust(objective: Objective, y: np.ndarray) -> bool:
    """Say whether outliers have no say in a stream: samples of labels, or of numbers whose loss grows linearly."""
    return y.dtype.kind != "f" or has_linear_tails(objective)


def without_outlying_targets(coordinates: Coordinates, y: np.ndarray, weight: np.ndarray | None) -> Coordinates:
    """Return the coordinates with median and robust scale of the targets whose outliers own mean and deviation.

    The robust scale is the standard deviation of a normal variable with the same quartiles. Where most targets are
    equal, it is the mean absolute deviation; 1 for a constant target.
    """
    center = medians(y, weight)
    deviations = np.abs(y - center)
    within = deviations < coordinates.target_scale / (OWNED * _NORMAL)
    if not (np.average(within, axis=0, weights=weight) >= HALF).any():  # their median deviation is larger
        return coordinates
    scale = _NORMAL * medians(deviations, weight)
    if not (scale > 0.0).all():
        scale = np.where(scale > 0.0, scale, np.average(deviations, axis=0, weights=weight))
    scale = np.where(scale > 0.0, scale, np.where(center != 0.0, np.abs(center), 1.0))
    owned = coordinates.target_scale > OWNED * scale
    return replace(
        coordinates,
        target_center=np.where(owned, center, coordinates.target_center),
        target_scale=np.where(owned, scale, coordinates.target_scale),
    )
