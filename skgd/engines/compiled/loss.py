"""The loss of a batch: targets as the loss reads them, values, derivatives, and the slope along a move."""

from __future__ import annotations

from typing import Any

import numpy as np

from skgd.engines.compiled.interface import normalized, single, softmax, strategies
from skgd.objective import Objective


def _target_number(y, row, output, labels):
    return y[row, output]


def _target_label(y, row, output, labels):
    return labels[1] if y[row, output] else labels[0]


def _target_binary(y, row, output, labels):
    return labels[1] if y[row] else labels[0]


def _target_class(y, row, output, labels):
    return labels[1] if y[row] == output else labels[0]


def target_of(objective: Objective, y: np.ndarray) -> Any:
    """Return the function that reads such targets."""
    if y.ndim > 1:
        return _target_number if y.dtype.kind == "f" else _target_label
    return _target_class if objective.exclusive_classes else _target_binary


def largest_of(raw, moved, share, i):
    """Return the largest of a row's outputs, after a share of a move."""
    largest = -np.inf
    for k in range(raw.shape[1]):
        largest = max(largest, raw[i, k] + share * moved[i, k])
    return largest


def log_sum_exp(raw, moved, share, i):
    """Return the logarithm of the sum over the outputs, after a share of a move."""
    largest, total = largest_of(raw, moved, share, i), 0.0
    for k in range(raw.shape[1]):
        total += np.exp(raw[i, k] + share * moved[i, k] - largest)
    return largest + np.log(total)


def write_exponentials(raw, i, out):
    """Write the exponentials of a row's outputs, less the largest; return the largest and the sum."""
    largest, total = largest_of(raw, raw, 0.0, i), 0.0
    for k in range(raw.shape[1]):
        exponential = np.exp(raw[i, k] - largest)
        out[i, k] = exponential
        total += exponential
    return largest, total


def slopes_of_loss(y, weight, first, at, n_rows, hypers, scales, raw, slopes, losses, slope_sizes):
    """Write the loss's derivative for rows ``first``, ... of y, from ``at`` on; add up losses and slopes' sizes."""
    center, scale, divisor = scales.predictor_center, scales.predictor_scale, scales.divisor
    for i in range(n_rows):
        s, shift, total = weight[first + i], 0.0, 1.0
        if softmax:
            largest, total = write_exponentials(raw, at + i, slopes)
            shift = largest + np.log(total)
        elif normalized:
            shift = log_sum_exp(raw, raw, 0.0, at + i)
        for k in range(1 if single else raw.shape[1]):
            goal = strategies.target(y, first + i, k, hypers[2])
            predictor = center[k] + scale[k] * (raw[at + i, k] - shift)
            losses[k] += s * strategies.value(goal, predictor, hypers[1]) / divisor[k]
            slope = slopes[at + i, k] / total - goal if softmax else strategies.gradient(goal, predictor, hypers[1])
            slope = s * slope * (scale[k] / divisor[k])
            slopes[at + i, k] = slope
            slope_sizes[len(slope_sizes) - raw.shape[1] + k] += abs(slope)


def slope_of_loss_along(share, state):
    """Return the derivative of the batch's loss along its move, after a share of it."""
    y, weight, begin, end, hypers, scales, raw, moved = state
    center, scale, divisor = scales.predictor_center, scales.predictor_scale, scales.divisor
    total = 0.0
    for i in range(end - begin):
        s = weight[begin + i]
        if softmax:
            total += s * slope_of_softmax_along(share, i, begin + i, y, hypers, scales, raw, moved)
        else:
            shift = log_sum_exp(raw, moved, share, i) if normalized else 0.0
            for k in range(1 if single else raw.shape[1]):
                predictor = center[k] + scale[k] * (raw[i, k] + share * moved[i, k] - shift)
                goal = strategies.target(y, begin + i, k, hypers[2])
                total += s * strategies.gradient(goal, predictor, hypers[1]) * (scale[k] / divisor[k]) * moved[i, k]
    return total


def slope_of_softmax_along(share, i, row, y, hypers, scales, raw, moved):
    """Return the same of a row: its probabilities are the exponentials of its outputs, divided by their sum."""
    largest, total, along, of_goals = largest_of(raw, moved, share, i), 0.0, 0.0, 0.0
    for k in range(raw.shape[1]):
        exponential = np.exp(raw[i, k] + share * moved[i, k] - largest)
        move = (scales.predictor_scale[k] / scales.divisor[k]) * moved[i, k]
        total += exponential
        along += exponential * move
        of_goals += strategies.target(y, row, k, hypers[2]) * move
    return along / total - of_goals


def totals_of(losses, unit, worth):
    """Return the sums of the outputs' losses: in the optimizer's units, in the user's, and by their worth."""
    total, in_user_units, progress = 0.0, 0.0, 0.0
    for k in range(1 if single else len(losses)):
        total += losses[k]
        in_user_units += losses[k] * unit[k]
        progress += losses[k] * worth[k]
    return total, in_user_units, progress
