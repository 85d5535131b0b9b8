"""The vectorized engine: one epoch in NumPy, step by step. It defines what training means."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from skgd.measuring import Matrix, choose
from skgd.objective import Objective
from skgd.optimizers import Optimizer, is_linear

COMPARED = 256.0  # samples, by which last iterate and average of a stream are compared
_LOOKS = 2**10  # steps, after which subnormal numbers are looked for
_AT_ONCE = 2**15  # entries of X, or of what a hidden layer makes of it: batches of less are standardized together


class Iterate(NamedTuple):
    """Where training stands: replaced as a whole after each step, never changed in place."""

    theta: np.ndarray
    slots: tuple[np.ndarray, ...]
    average: np.ndarray | None
    t: int
    averaged: int
    slopes: tuple[float, float] | None = None  # of the loss, where the average is compared: see `share_of_average`


class Holder(Protocol):
    """Whatever keeps the current iterate; what it holds is complete at any moment, so an interrupt loses nothing."""

    iterate: Iterate


class EpochSummary(NamedTuple):
    """What an epoch says of itself: row-weighted means over its batches, each before its step.

    ``losses`` are those of the steps, by their worth, summed over the rows of each; ``squared_norms`` those of each
    layer's gradient.
    """

    loss: float
    penalty: float
    progress: float  # the objective, its outputs' parts by their worth
    squared_norms: Sequence[float]
    rows: int
    losses: np.ndarray
    decrement: float = math.nan  # how far the objective was above its minimum, by its worth, where that is known
    noise: float = 0.0  # how much of that is expected of training on a sample of the rows


def summarized(record: np.ndarray, penalties: tuple[float, float], n_rows: int) -> EpochSummary:
    """Return the summary of an epoch from what each step has recorded, summed over its rows.

    These are the loss, squared gradients by layer, and the loss by its worth. The penalty comes in both forms, too.
    """
    loss, *squares, progress = (record.sum(axis=0) / n_rows).tolist()
    penalty, of_worth = penalties
    return EpochSummary(loss, penalty, progress + of_worth, squares, n_rows, record[:, -1])


def penalties_of(objective: Objective, theta: np.ndarray) -> tuple[float, float]:
    """Return the penalty in the user's units and by its worth."""
    return objective.penalty(theta), objective.penalty(theta, objective.progress_worth)


@dataclass(frozen=True)
class StepSettings:
    """What stands around the optimizer's rule in each step."""

    max_grad_norm: float | None = None
    averaging: Callable[[np.ndarray], np.ndarray] | None = None
    average_from: int = 0
    average_every: int = 1
    verbose: int = 0  # whether to say that loops are compiled

    def averaging_shares(self, t: int, n_steps: int, averaged: int) -> np.ndarray:
        """Return the share of the iterate in the running average for each of the steps after step t; 0 for none."""
        if self.averaging is None:
            return np.zeros(n_steps)
        steps = np.arange(t + 1, t + 1 + n_steps)
        counts = (steps > self.average_from) & (steps % self.average_every == 0)
        return np.where(counts, self.averaging(np.maximum(averaged + np.cumsum(counts), 1)), 0.0)


def increasing_weights(k: Any) -> Any:
    """Return the share of the k-th iterate in an average where each weighs k (*Lacoste-Julien et al.*, 2012)."""
    return 2.0 / (k + 1.0)


def initial_iterate(theta: np.ndarray, optimizer: Optimizer, averaging: bool) -> Iterate:
    """Return the iterate that starts at ``theta``."""
    slots = tuple(np.full_like(theta, value) for value in optimizer.initial())
    return Iterate(theta, slots, theta if averaging else None, 0, 0)


def is_to_clear(before: int, after: int) -> bool:
    """Say whether subnormal numbers are looked for when the steps from one to another are done.

    What decays without end, such as the momentum of a parameter without a gradient, ends among them: 0.9 times the
    smallest is rounded to itself. The processor takes a hundred times as long for each.
    """
    return before // _LOOKS < after // _LOOKS


def clear_subnormal(numbers: np.ndarray) -> None:
    """Set subnormal numbers to zero."""
    numbers[_are_subnormal(numbers)] = 0.0


def without_subnormal(iterate: Iterate) -> Iterate:
    """Return an iterate with zeros for subnormal numbers."""
    theta, average = iterate.theta, iterate.average
    slots = tuple(map(_cleared, iterate.slots))
    return iterate._replace(theta=_cleared(theta), slots=slots, average=None if average is None else _cleared(average))


def _cleared(numbers: np.ndarray) -> np.ndarray:
    small = _are_subnormal(numbers)
    return np.where(small, numbers.dtype.type(0.0), numbers) if small.any() else numbers


def _are_subnormal(numbers: np.ndarray) -> np.ndarray:
    return (np.abs(numbers) < np.finfo(numbers.dtype).tiny) & (numbers != 0.0)


def readout(iterate: Iterate, optimizer: Optimizer, objective: Objective) -> np.ndarray:
    """Return the parameters to predict with: the average, where there is one, else the optimizer's readout.

    Where the average is compared with the last iterate, they are between the two.
    """
    last = optimizer.readout(iterate.theta, iterate.slots, optimizer.hyper())
    if iterate.average is None or iterate.averaged == 0:
        return last
    average = iterate.average
    if iterate.slopes is not None:
        average = between(last, average, last.dtype.type(share_of_average(*iterate.slopes)))
    if not (objective.l1_ratio * objective.alpha or getattr(optimizer, "l1", 0.0)):
        return average
    coefficients = np.arange(len(last)) < objective.n_coefficients
    return with_zeros(average, last, coefficients)


def share_of_average(at_last: float, at_average: float) -> float:
    r"""Return how far from the last iterate to the average a stream's loss is lowest, in [0, 1].

    Let :math:`\varphi(s)` be the mean loss of samples, before the steps with them, with the parameters
    :math:`w + s \, (\bar w - w)`: w is the last iterate, :math:`\bar w` the average. With the slopes
    :math:`\varphi'(0)` and :math:`\varphi'(1)`, the minimum is where the line between them is zero. It is at the
    average if the loss still falls there, or if nothing is known yet.
    """
    if at_average <= 0.0:
        return 1.0
    return at_last / (at_last - at_average) if at_last < 0.0 else 0.0


def between(last: Any, average: Any, share: Any) -> Any:
    """Return what is at a share of the way from the last iterate to the average."""
    return choose(share == 1.0, average, last + share * (average - last))


def merged_slope(known: float, total: float, weight: float) -> float:
    """Return the slope for the latest samples, after new ones of some weight, from the sum of their slopes."""
    share = min(weight / COMPARED, 1.0)
    return (1.0 - share) * known + share * (total / weight)


def with_zeros(average: Any, last: Any, sparse: Any) -> Any:
    """Return averages with, where ``sparse``, the zeros of the last iterate: an average of zeros is rarely zero."""
    return choose(sparse & (last == 0.0), 0.0, average)


def run_epoch(
    objective: Objective,
    optimizer: Optimizer,
    settings: StepSettings,
    holder: Holder,
    X: Matrix,
    y: np.ndarray,
    weight: np.ndarray | None,
    order: np.ndarray,
    size: int,
    rates: np.ndarray,
    longest_step: np.ndarray | None = None,
) -> EpochSummary:
    """Take one step for each ``size`` rows, in the given order and at the given learning rates.

    With ``longest_step``, the largest sensible rate of each parameter, steps are bounded by it and implicit.

    Raises
    ------
    FloatingPointError
        Where the loss or the parameters are no longer finite; the message names the step and the rate.
    """
    hyper, linear = optimizer.hyper(), is_linear(optimizer)
    all_values: list[np.ndarray] = []
    all_others: list[tuple[float, ...]] = []
    penalties = 0.0, 0.0
    shares = settings.averaging_shares(holder.iterate.t, len(rates), holder.iterate.averaged).tolist()
    batches = _batches(objective, X, y, weight, order, size)
    for step, (rate, share, batch) in enumerate(zip(rates.tolist(), shares, batches, strict=True)):
        now = holder.iterate
        value, gradient, predictors = objective.value_and_gradient(now.theta, batch)
        squares = objective.squared_norms(gradient)
        norm = math.sqrt(sum(squares))
        t = now.t + 1
        if not (math.isfinite(value.sum()) and math.isfinite(norm)):
            raise FloatingPointError(f"at step {t} (learning rate {rate:.3g})")
        at_hand = now, batch, predictors, gradient, norm
        theta, slots = _step(objective, optimizer, settings, *at_hand, rate, hyper, linear, longest_step)
        average, averaged, slopes = now.average, now.averaged, now.slopes
        if slopes is not None:
            slopes = _compared(objective, now, batch, predictors, gradient)
        if average is not None and share > 0.0:
            averaged += 1
            average = average + share * (optimizer.readout(theta, slots, hyper) - average)
        holder.iterate = Iterate(theta, slots, average, t, averaged, slopes)
        all_values.append(value)
        all_others.append((sum(map(len, predictors)), *squares))
        if step == len(rates) - 1:
            penalties = penalties_of(objective, now.theta)
    if not np.isfinite(holder.iterate.theta).all():
        raise FloatingPointError(f"at step {holder.iterate.t} (learning rate {rates[-1]:.3g})")
    losses, others = np.array(all_values) * objective.unit, np.array(all_others)
    parts = losses.sum(axis=1), *others.T[1:], (losses * objective.progress_worth).sum(axis=1)
    return summarized(others[:, :1] * np.column_stack(parts), penalties, len(order))


def _batches(
    objective: Objective, X: Matrix, y: np.ndarray, weight: np.ndarray | None, order: np.ndarray, size: int
) -> Iterator[Iterable[tuple]]:
    """Yield the chunks of each batch; small batches are standardized several at once."""
    dense = isinstance(X, np.ndarray)
    block = size * (max(1, _AT_ONCE // (size * max(objective.layer_sizes))) if dense else 1)
    for first in range(0, len(order), block):
        rows = order[first : first + block]
        parts = [slice(start, start + size) for start in range(0, len(rows), size)]
        chunks = list(objective.chunks(X, y, weight, rows)) if block > size else []
        if len(chunks) == 1:
            [(Z, targets, column)] = chunks
            yield from ([(Z[part], targets[part], None if column is None else column[part])] for part in parts)
        else:
            yield from (objective.chunks(X, y, weight, rows[part]) for part in parts)


def read_only(array: np.ndarray) -> np.ndarray:
    """Return a view that cannot be written to."""
    view = array.view()
    view.flags.writeable = False
    return view


def _step(
    objective: Objective,
    optimizer: Optimizer,
    settings: StepSettings,
    now: Iterate,
    batch: Iterable[tuple],
    predictors: list[np.ndarray],
    gradient: np.ndarray,
    norm: float,
    rate: float,
    hyper: tuple,
    linear: bool,
    longest_step: np.ndarray | None,
) -> tuple[np.ndarray, tuple]:
    """Return parameters and slots after one step: clip, decay, rule, implicit shortening, proximal penalty."""
    theta, of_data = now.theta, gradient
    if settings.max_grad_norm is not None and norm > settings.max_grad_norm:
        gradient = gradient * (settings.max_grad_norm / norm)
    if not optimizer.proximal and objective.alpha:
        gradient = gradient + objective.penalty_gradient(theta)
    if optimizer.weight_decay:
        theta = theta.copy()
        theta[: objective.n_coefficients] *= 1.0 - rate * optimizer.weight_decay
    # The rule must not edit what a step that fails has to leave as it was.
    given, before = (read_only(theta), read_only(gradient)), tuple(map(read_only, now.slots))
    point, step, slots = optimizer.rule(*given, rate, now.t + 1, before, hyper)
    if longest_step is not None:
        too_long = (step > longest_step) & (gradient != 0.0) if optimizer.bounded else np.False_
        if too_long.any():  # there, repeat the rule with a smaller rate, to which the step is proportional
            rates: Any = np.where(too_long, rate * (longest_step / step), rate)
            point, step, slots = optimizer.rule(*given, rates, now.t + 1, before, hyper)
        if optimizer.implicit:  # along the move from where the gradient was taken, before any weight decay
            move = point - theta
            parts = _moved_parts(objective, batch, predictors, move)  # hidden layers have no longest step
            start = sum(len(raw) for raw, *_ in parts) * float((of_data * move).sum())
            share = implicit_share(start, (objective, parts), objective.loss.smooth)
            point, step = theta + share * move, share * step
    if objective.hidden_layer_sizes and objective.alpha and isinstance(step, np.ndarray):  # as `is_adaptive` says
        # A neuron at rest has no gradient, and rules that divide by its size would have the penalty wipe it out.
        step = np.where(of_data == 0.0, np.minimum(step, rate), step)
    kept = now.slots if linear else slots
    return objective.proximal(point, step) if optimizer.proximal else point, kept


def _compared(
    objective: Objective, now: Iterate, batch: Iterable[tuple], predictors: list[np.ndarray], gradient: np.ndarray
) -> tuple[float, float] | None:
    """Return the slopes of a stream's loss from the last iterate to the average, after another batch."""
    move = now.average - now.theta
    parts = _moved_parts(objective, batch, predictors, move)
    total = sum(float(len(raw) if weight is None else weight.sum()) for raw, _, _, weight in parts)
    if now.slopes is None or not total > 0.0:
        return now.slopes
    at_last = sum(len(raw) for raw, *_ in parts) * float((gradient * move).sum())
    at_average = slope_along(1.0, (objective, parts))
    return merged_slope(now.slopes[0], at_last, total), merged_slope(now.slopes[1], at_average, total)


def _moved_parts(objective: Objective, batch: Iterable[tuple], predictors: list[np.ndarray], move: Any) -> list[tuple]:
    """Return what `slope_along` reads of a batch and of a move of a linear model's parameters."""
    [(coef, intercept)] = objective.layers(move)
    return [(raw, Z @ coef + intercept, y, weight) for raw, (Z, y, weight) in zip(predictors, batch, strict=True)]


def slope_along(share: float, state: tuple) -> float:
    """Return the derivative of a batch's loss along a move, after a share of it."""
    objective, parts = state
    _, scale = objective.predictor_coordinates
    total = 0.0
    for raw, moved, y, weight in parts:
        predictor = objective.normalized(raw + share * scale * moved)
        along = objective.loss_gradients(y, predictor) * moved
        total += float((along if weight is None else weight * along).sum())
    return total


def implicit_share(start: float, state: tuple, smooth: bool) -> float:
    r"""Return the part of a move to make, so that it follows the gradient where it ends, not where it starts.

    With :math:`\varphi(\lambda)` the batch's loss after the part :math:`\lambda` of the move, whose derivative is
    :func:`slope_along` (``start`` at 0), it is the root of :math:`\varphi'(\lambda) = \lambda \varphi'(0)`: for a
    convex loss it lies in (0, 1], whatever the learning rate, and the step cannot overshoot the batch's own minimum.
    One percent of the derivative may be left. Of losses with kinks, where there may be no such point, half of the move
    is made where a straight line says so.

    References
    ----------
    N. Karampatziakis and J. Langford, "Online importance weight aware updates", UAI 2011.
    N. Anderson and Å. Björck, "A new high order method of regula falsi type", BIT 13, 1973.
    P. Toulis and E. M. Airoldi, "Asymptotic and finite-sample properties of estimators based on stochastic gradients",
    Annals of Statistics 45, 2017.
    """
    if not start < 0.0:  # not a descent direction (momentum), or no gradient at all: nothing to shorten
        return 1.0
    low, high, low_value, high_value, share, last = 0.0, 1.0, start, 0.0, 1.0, 0.0
    # False position; one round is exact for a quadratic loss, a few are usual. The slope has one place: it is compiled
    # wherever it is called.
    for attempt in range(41 if smooth else 9):
        if attempt > 0:
            share = low - low_value * (high - low) / (high_value - low_value)
            if not smooth and low == 0.0 and high == 1.0 and share >= 0.5:
                break
        value = slope_along(share, state) - share * start
        if abs(value) <= -1e-2 * start * share if attempt > 0 else value <= -1e-3 * start:
            break
        if attempt == 0:
            high_value = value
            continue
        if value > 0.0:
            if last > 0.0:  # a second time on this side: the other end counts less
                low_value *= 1.0 - value / high_value if value < high_value else 0.5
            high, high_value = share, value
        else:
            if last < 0.0:
                high_value *= 1.0 - value / low_value if value > low_value else 0.5
            low, low_value = share, value
        last = value
    return share
