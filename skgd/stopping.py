"""When training ends, and what is said about it.

The rules are stated here, in the form of `skgd.automatic`, and quoted by the table in ``docs/defaults.md``.

``tol=1e-2``, ``n_iter_no_change="auto"``
    stop after an epoch (2 where they have fewer than about 500 steps, 3 where fewer than 160 or with a validation set;
    with hidden layers as many as have 300 steps) in which the objective did not fall by 1 % of itself plus 3 % of the
    best constant model's; in epochs of fewer than 300 steps proportionally less. Why: relative to itself, because a
    good objective is small; the second part ends what fits perfectly; networks rest on plateaus, and leave them.

    outputs count relative to what a constant leaves to gain of each, without what rows add that are ten scales of the
    target from it, where the loss grows no faster than linearly. Why: the unit of one target, or the frequency of one
    label, decides nothing of another; outliers own the sum of the losses.

    with ``alpha="auto"`` and more than one batch: 1 + 120 min(parameters / rows, 0.2) times as much (not in plain SGD,
    nor with hidden layers or a validation set). Why: parameters / rows is about the share of the loss by which the
    minimum itself is off the best model: training that gains less fits the rows' noise (*Bottou and Bousquet*, NIPS
    2007); an ``alpha`` of one's own asks for the minimum, and in one batch of all rows, weights have to count as copies
    of rows do.

    with 100 rows and more for each parameter, ``learning_rate="auto"`` and ``shuffle=True``: a first epoch has made
    progress if the loss of rows in its middle (a quarter of all, at most 8192) has fallen by that much since their
    steps (not in plain SGD, with hidden layers or a validation set, nor where epochs have fewer than about 500 steps).
    Why: with many rows, one epoch may be enough, and a mean over all of it, which includes the untrained model's loss,
    does not tell.

    plain SGD: eight steps count as one here, and an epoch whose last quarter's loss is not 12 ``tol`` below its third
    quarter's, or is below 5 ``tol`` of the constant model's, is one without progress, too. Why: where the loss of rows
    not seen before has come to rest, more epochs would learn the rows by heart.
"""

from __future__ import annotations

import math
import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from skgd.automatic import is_brief
from skgd.engines import EpochSummary
from skgd.plan import Plan
from skgd.state import Progress, State
from skgd.steps import Batches

# With learning_rate="auto", or a small enough explicit one, the objective falls. An objective this many times that of
# predicting the mean is on its way to infinity.
_DIVERGED = 1e10
_HOPELESS = 2.0  # times that of the best constant model
_QUADRATIC = 1e-4  # of ``tol``, because Newton's steps converge so fast that one more costs little
_ROUNDING = 1e-12
_HUGE = float(np.finfo(np.float64).max)

_LONG_EPOCH = 1000  # steps; of shorter ones, up to three have to agree that there is no progress
_FULL_EPOCH = 300  # steps; a shorter epoch cannot be asked for as much progress
_MANY_ROWS = 100  # for each parameter: then, one epoch may be enough

# Warnings point to the line that calls ``fit``: below a function of this module, it is that many frames down, under
# `train_epochs`, ``_fit``, scikit-learn's ``with_callbacks`` and ``fit``.
_CALLER = 6


class Stopping:
    """When one call of ``fit`` ends: told of each epoch, it counts those without progress.

    ``done`` says whether to stop, and may be set, too.
    """

    def __init__(self, state: State, plan: Plan, of_outliers: float, n_steps: int, *, shuffled: bool, validates: bool):
        self.best, self.waited, self.done = _HUGE, 0, False
        self.watched: list[float] = []
        self._plan, self._of_outliers = plan, of_outliers
        self._has_intercept = state.objective.fit_intercept
        self._tolerance = _tolerance(state, plan, n_steps, validates)
        self._patience = _patience(state, plan, n_steps, validates)
        self._looks_inside = is_brief(state, plan) and not validates
        may_be_enough = shuffled and not validates and _may_be_enough(state, plan, n_steps, self._patience)
        self._looks_back = may_be_enough  # in the first epoch
        unit, worth = state.objective.unit, state.objective.worth
        self._ceiling = _DIVERGED * (1.0 + of_outliers + float(np.sum(unit * worth)))

    def resume(self, progress: Progress) -> None:
        """Go on from where an earlier call has ended."""
        self.best, self.waited, self.watched = progress.best, progress.waited, list(progress.watched)
        self.done = progress.stopped or self._has_waited

    @property
    def _has_waited(self) -> bool:
        return self._plan.tol is not None and self.waited >= self._patience

    def exploded(self, summary: EpochSummary) -> bool:
        """Say whether the loss is on its way to infinity."""
        return summary.progress > self._ceiling

    def observe(self, value: float, state: State, batches: Batches, summary: EpochSummary) -> bool:
        """Be told of an epoch, and of the value that is to fall; return whether it is the lowest so far."""
        value -= self._of_outliers
        self.watched.append(value)
        lowest = value < self.best
        fall = fall_since_middle(state, batches, summary) if self._looks_back else self.best - value
        falling = fall > self._tolerance * _scale_of(min(self.best, value))
        if self._looks_inside:
            falling = falling and _falls_within(summary.losses, self._plan.tol or 0.0)
        self._looks_back = False
        if not math.isnan(summary.decrement):
            return self._observe_decrement(value, summary.decrement)
        self.best = min(self.best, value)
        self.waited = 0 if falling else self.waited + 1
        self.done = self._has_waited
        return lowest

    def _observe_decrement(self, value: float, decrement: float) -> bool:
        """Be told of one of Newton's steps, after which there is little left to gain if there was little before."""
        lowest, self.best = value < self.best, min(self.best, value)
        gain = max(1.0 - value, 0.0)
        self.waited = 0 if lowest else self.waited + 1
        self.done = decrement <= _QUADRATIC * (self._plan.tol or 0.0) * gain + _ROUNDING or self.waited >= 3
        return lowest

    def warn_unless_converged(self) -> None:
        """Warn where the objective was still falling fast in the last tenth of the epochs, when they were all taken.

        Warn, too, where a model that could do as well as a constant one does not come near it.
        """
        if self._plan.tol is None or not self.watched:
            return
        if self.best > _HOPELESS and (self._plan.hidden_layer_sizes or self._has_intercept):
            warnings.warn(
                f"Training ended where the objective is {self.best:.3g} times that of the best constant model. Set "
                "fit_intercept=True and precondition=True, or center y.",
                ConvergenceWarning,
                stacklevel=_CALLER,
            )
            return
        if self.done or self.waited > 0:
            return
        max_iter, last = self._plan.max_iter, self.watched[-1]
        before = len(self.watched) - 1 - max(max_iter // 10, 1)
        fall = (1.0 if before < 0 else self.watched[before]) - last
        if fall > 0.1 * _scale_of(last):
            warnings.warn(
                f"The objective was still falling fast after max_iter={max_iter} epochs: by {fall:.3g} to {last:.3g} "
                "times that of the best constant model in the last tenth of them. Increase max_iter, raise "
                "learning_rate, or set tol=None if this number of epochs is what you want.",
                ConvergenceWarning,
                stacklevel=_CALLER,
            )


def warn_interrupted(epoch: int) -> None:
    """Warn that Ctrl-C has ended the training."""
    message = f"Training was interrupted in epoch {epoch}; the model keeps what it has learnt so far."
    warnings.warn(message, UserWarning, stacklevel=_CALLER)


# ---------------------------------------------------------------------------------------------------------------------
# How much progress is asked for, and how often
# ---------------------------------------------------------------------------------------------------------------------


def _tolerance(state: State, plan: Plan, n_steps: int, validates: bool) -> float:
    """Return by which fraction of itself the objective has to fall in an epoch of so many steps."""
    tol = (plan.tol or 0.0) * min(1.0, n_steps / _FULL_EPOCH)
    exact = plan.alpha != "auto" or validates or n_steps == 1
    if exact or plan.hidden_layer_sizes or is_brief(state, plan):
        return tol
    return tol * (1.0 + 120.0 * min(_parameters_a_row(state), 0.2))


def _patience(state: State, plan: Plan, n_steps: float, validates: bool) -> int:
    """Return how many epochs without progress end the training; short ones, and other rows' losses, say less."""
    if plan.n_iter_no_change != "auto":
        return plan.n_iter_no_change
    if plan.hidden_layer_sizes:
        return max(round(_FULL_EPOCH / n_steps), 3 if validates else 1)
    if is_brief(state, plan):
        n_steps = n_steps / 8
    return 3 if validates else min(max(round((_LONG_EPOCH / n_steps) ** 0.5), 1), 3)


def _may_be_enough(state: State, plan: Plan, n_steps: int, patience: int) -> bool:
    """Say whether the first epoch can be the only one: a long one, of many rows, at automatic rates."""
    automatic = isinstance(plan.schedule.learning_rate, str) and not (plan.hidden_layer_sizes or is_brief(state, plan))
    long = n_steps >= _FULL_EPOCH and patience == 1 and _MANY_ROWS * _parameters_a_row(state) <= 1.0
    return automatic and long and plan.tol is not None and state.iterate.t == 0


def _parameters_a_row(state: State) -> float:
    """Return the number of parameters for each row."""
    objective, columns = state.objective, state.columns
    n_parameters = np.count_nonzero(columns.filled) + objective.fit_intercept
    return float(n_parameters * (objective.n_outputs if objective.exclusive_classes else 1) / columns.rows)


# ---------------------------------------------------------------------------------------------------------------------
# Whether an epoch has made progress
# ---------------------------------------------------------------------------------------------------------------------


def _scale_of(objective: float) -> float:
    """Return what a fall of the objective is relative to: itself, and a little of the constant model's, which is one.

    Without the latter, a model that fits perfectly would never be done.
    """
    return abs(objective) + 0.03


def fall_since_middle(state: State, batches: Batches, summary: EpochSummary) -> float:
    """Return by how much the loss of some rows in the middle of an epoch has fallen since their steps.

    The next epoch will gain less. What the whole epoch gained does not tell, for it began with an untrained model.
    """
    X, y, weight, order, size = batches
    n_steps = len(summary.losses)
    count = max(min(-(-(2**13) // size), n_steps // 4), 1)
    first = (n_steps - count) // 2
    rows = order[first * size : (first + count) * size]
    total = len(rows) if weight is None else weight[rows].sum()
    if not total > 0.0:  # classes may weigh nothing
        return math.inf
    then = summary.losses[first : first + count].sum() / total
    now = state.objective.mean_losses(state.iterate.theta, X, y, weight, rows)
    return float(then - (state.objective.worth * now).sum())


def _falls_within(losses: np.ndarray, tol: float) -> bool:
    """Say whether the loss still falls from the third quarter of an epoch to the last one, and is not all but gone.

    In a first epoch, that is the loss of rows not seen before: where it has come to rest, more epochs would learn the
    rows by heart (progressive validation: Blum, Kalai and Langford, COLT 1999). No row counts for more than one.
    """
    quarter, losses = max(len(losses) // 4, 1), np.minimum(losses, 1.0)
    last, third = losses[-quarter:].mean(), losses[-2 * quarter : -quarter].mean()
    return last < (1.0 - 12.0 * tol) * third and last > 5.0 * tol
