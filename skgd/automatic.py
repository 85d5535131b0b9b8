"""What ``"auto"`` decides, from the first look at the data: optimizer, rate, batch size, penalty, averaging interval.

Each rule is stated here, with its reason, and nowhere else; the table in ``docs/defaults.md`` quotes it, and what was
measured follows there. When training ends, `skgd.stopping` says in the same form.

"Mostly zeros" means that less than 15 % of the entries are not zero, whatever the format; rows of mostly zeros are
texts if they have 50 other entries or more. The compiled loops of streams decide by that, too, so that
`skgd.coordinates` says it, and what the penalty then is: ``is_sparse``, ``is_text_like`` and ``auto_alpha``. Each
optimizer's own rate is its ``auto_learning_rate``.

``optimizer="auto"``
    ``fit`` of a linear model with few columns, where ``precondition`` and ``fit``'s other parameters are left alone but
    for ``alpha``, ``l1_ratio``, ``tol``, ``max_iter`` and weights: Newton's steps, over all rows, dense or sparse; of
    losses with kinks, such as hinge, only with a number for ``alpha`` or ``tol``, on means of the loss over intervals
    that become smaller. Columns are few if (rows + columns) · columns² · outputs, times 16 unless the error is
    squared, is at most 2e9, with one output for a squared error and all classes but one as columns of softmax, and X
    has at most 4 million entries. Why: they cost less than epochs in batches, and are at the minimum, whatever
    correlations, outlying rows and rare classes there are; without a penalty, the minimum of a loss with kinks is no
    better than where batches end.

    with dense rows that are 100 times as many as the parameters, and more than that: Newton's steps with the Hessian of
    a sample, 2 √(parameters · rows) of them, at least 20 for each parameter and a quarter of all at most, which count
    in the place of all in the bound of the products; of losses without kinks, where each column varies in 20 of some
    thousand rows or more. Why: gradients over all rows, and a rough Hessian, come as near the minimum as noise allows
    in an epoch or two, of which nothing has to be compiled; what a few rows own, as outliers and rare categories, no
    sample tells.

    else AdaGrad: each parameter's rate falls with the gradients it has seen. Why: the most robust of those tried; rare
    columns keep long steps.

    ``fit`` of a classifier on texts, with ``learning_rate``, ``alpha``, ``batch_size`` and ``tol`` left alone: plain
    SGD. Why: in implicit steps of one row each, it is well regularised without a penalty if it stops early, and is done
    sooner; on rows of fewer entries, as of categories and short texts, AdaGrad is as good or better.

    ``partial_fit`` on sparse rows of 2048 columns and more, where ``batch_size`` is left alone or 1, without hidden
    layers or averaging: AdaGrad that visits the columns of a row only, as plain SGD does there, with sums that begin
    at 1, and one sum for all classes of a column. Why: a row costs its entries, however many columns there are; the
    first steps are not too long; what moves one class of a rare word is known of it for all.

    with hidden layers: Adam. Why: each layer's gradient has a size of its own.

``precondition=True``
    dense columns are centred and divided by their standard deviation, those of sparse matrices divided by the largest
    absolute value, in ``fit`` at most five times the usual one, and multiplied by the root of 1 - log(share of rows
    that have it); the target is centred and scaled, in ``fit`` by median and median absolute deviation where the loss
    grows no faster than linearly and outliers make the standard deviation more than three times as large. Why: units
    don't matter; zeros stay zeros; a rare word says more than a frequent one (inverse document frequency); outliers do
    not hide the other rows.

    dense columns of a stream: values more than ten standard deviations from the mean so far (targets: five) count as if
    they were there, and rows whose norm is more than seven times the usual one weigh less in a step, for classes and
    where the loss grows no faster than linearly; where a window of the latest rows has less than 3 % of the standard
    deviation, it takes the place of all earlier rows. Why: one outlying row is not to hide all others, and a column
    may change its unit.

    each column for itself: columns of a sparse matrix that most rows have, gradually from 40 to 60 % of them, are those
    of dense ones (of texts, only where the square of the mean is nine times the variance), and dense columns with one
    value beside zero that at most 15 % of the rows have are scaled as sparse ones. Why: a year beside categories is
    learnt in any format.

    in streams of 2048 sparse columns and more: the root mean square of a column's entries in the place of their largest
    absolute value, and dense columns are centred after 20 rows. Why: few entries hardly change it.

    with Newton's steps: all columns are centred and divided by their standard deviation, also those of sparse matrices,
    but by at most three times a robust one, of what differs from the median, unless the Hessian is that of a sample.
    Why: no scale helps or hinders these steps, and the penalty means the same for each column, whatever outliers it
    has.

    else, in ``fit`` of a linear model of few dense columns whose second moments have a condition number above 200,
    uncorrelated combinations of the columns take their place, where training is to end at the minimum (see ``tol``) or
    there are 100 rows and more for each parameter, without an L1 penalty: `skgd.decorrelation`. Why: steps that are
    right in one direction are far too short in others, and training would end far from the minimum; with few rows for
    each parameter, that is where the best model is.

    the same in ``partial_fit`` of 2 to 100 dense columns, with optimizers whose steps are implicit (AdaGrad and plain
    SGD), from co-moments of the rows so far: looked at after 20 rows for each column, whenever the rows have doubled
    since, and when the variance of a combination has become four times as large; made anew where combinations have a
    condition number above 10 themselves. Of columns that were not correlated so far, one batch of eight counts. Why: a
    stream comes near the minimum in one pass; estimates from 20 rows for each direction are good to a factor of two,
    and outliers and drift are followed. An implicit step is not too long for a row that lies far out in a combination
    that hardly varied so far; others are: Adam's R² on new rows of the river flows (rf1) fell from 0.55 to -3.5.

``learning_rate="auto"``
    AdaGrad: 3 / root mean square norm of the rows, in these coordinates, and 0.5 in the place of 3 where X is mostly
    zeros (in ``partial_fit`` to the extent to which sparse columns have one value beside zero, as those of categories
    have, but for texts in streams of 2048 columns and more); plain SGD: 1 / (mean squared norm · the loss's curvature);
    times √(number of classes) where X is mostly zeros, the number itself in plain SGD. Why: columns of mostly zeros
    hardly depend on each other; a rare column meets each class once in so many rows.

    intercepts begin at the best constant model (not in ``partial_fit``). Why: an offset is removed at once, and a rare
    class is rare from the first step.

    Adam, which hidden layers get: 0.1 / root mean square norm of the rows / number of hidden layers; neither of the
    next two rules holds with hidden layers. Why: in a deep network, each layer's step adds to the others'.

    no parameter's rate exceeds Newton's, 1 / (its own curvature). Why: otherwise a parameter whose gradient is rounding
    error, as of the intercept of centred data, makes full steps where the rule makes them of the same size from all
    gradients.

    steps are implicit: of the step along the update direction, the part λ with φ'(λ) = λ φ'(0) is taken, φ being the
    batch's loss along it. Why: a step cannot overshoot the batch's own minimum, so that rates ten times larger work
    too.

``batch_size="auto"``
    ``fit``: all rows of a linear regression with up to 1000 rows, unless X is mostly zeros, and of anything up to 64.
    Why: they lead to its minimum soonest; that of separable classes lies at infinity, and mini-batches stop on the way.

    else 32 where X is mostly zeros; else rows/64, between 32 and 256; 1 in plain SGD. ``partial_fit``: 8, and 1 in
    streams of 2048 sparse columns and more. Why: rows of
    mostly zeros share few columns: a mean over many gains little.

``alpha="auto"``
    with Newton's steps: the strength with which rows left out of the training are predicted best, λ = alpha · rows
    being one of 1e-3, ..., 1e3 that is hardly worse than the best and nearest to 1; for a squared error a mean, on a
    logarithmic scale, of the best λ and that of the largest evidence, as far as rows left out do not object; λ = 1 with
    the Hessian of a sample. Why: small tables want a penalty, and tables differ in which; the estimates are noisy, and
    coefficients of about one likely; with many rows, it only keeps separable classes from infinity.

    else, and of a squared error with 100 rows and more for each parameter, 1e-5 / √(number of classes) where X is
    mostly zeros, else 0; 0 in plain SGD, and in streams of 2048 sparse columns and more. It is a penalty on the
    standardised coefficients, relative to the target's unit. Why: units don't matter; few epochs, and many rows,
    regularise by themselves.

``average="auto"``
    ``fit``: the k-th iterate has the weight min(1, 9/(k+8)). A stream of ``partial_fit`` alone: none. Why: averages are
    better, except of a past that no longer holds.

    ``fit``: as many steps lie between one iterate that counts and the next as it takes for each column to occur about
    three times. Why: that costs less than the steps do.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from skgd.coordinates import ColumnStatistics, Matrix, auto_alpha, row_norm_of
from skgd.engines import USUAL_EPOCHS
from skgd.losses import SquaredError
from skgd.objective import Objective
from skgd.optimizers import SGD, AdaGrad, Optimizer, is_linear, laziness_of
from skgd.plan import Plan
from skgd.schedules import Constant
from skgd.state import State

STREAM_BATCH = 8
_WIDE = 2**11
_WIDE_ACCUMULATOR = 1.0
_SMALLEST_BATCH = 32
_LARGEST_BATCH = 256
_FEW_ENTRIES = 2**22
_FEW_PRODUCTS = 2e9
_MANY_ROWS = 100  # for each parameter
_ROWS_AT_ROOT = 4  # times parameters and rows: the square of the size of a sample
_ROWS_OF_SAMPLE = 20  # for each parameter, at least
_ROWS_A_SAMPLED_ONE = 4  # at least
_USUAL_STEPS = 16  # of Newton's, for some strengths of the penalty; of a squared error, all need one matrix

# ---------------------------------------------------------------------------------------------------------------------
# Optimizer and penalty
# ---------------------------------------------------------------------------------------------------------------------


def optimizer_for(state: State, plan: Plan, *, regression: bool) -> Optimizer:
    """Return the optimizer for columns as they turn out to be, before the first step of ``fit``."""
    return SGD() if _is_free(plan) and state.columns.text_like and not regression else state.optimizer


def takes_newton_steps(plan: Plan, objective: Objective, X: Matrix) -> bool:
    """Say whether ``fit`` takes Newton's steps: of few enough columns, with all left to "auto" that it depends on."""
    free = plan.optimizer is None and not plan.hidden_layer_sizes and isinstance(plan.schedule, Constant)
    free = free and plan.schedule.learning_rate == plan.batch_size == plan.n_iter_no_change == "auto"
    free = free and plan.average in ("polynomial", False) and plan.precondition and plan.max_grad_norm is None
    if not free or plan.tol is None:
        return False
    loss, asks_for_minimum = objective.loss, plan.tol != "auto" or plan.alpha != "auto"
    return (loss.smooth or (loss.smoothable and asks_for_minimum)) and rows_of_hessian(objective, X) > 0


def has_few_columns(objective: Objective, X: Matrix) -> bool:
    """Say whether columns are so few that a linear model's Hessian can be factorized some times."""
    return X.shape[0] * X.shape[1] <= _FEW_ENTRIES and _has_few_products(objective, *X.shape)


def rows_of_hessian(objective: Objective, X: Matrix) -> int:
    """Return how many rows Newton's steps take the Hessian of: all, or a sample of many dense ones, or 0 for none."""
    (n_rows, n_columns), loss = X.shape, objective.loss
    if has_few_columns(objective, X):
        return n_rows
    n_parameters = (n_columns + objective.fit_intercept) * (objective.n_outputs - 1 if loss.normalized else 1)
    size = int(max((_ROWS_AT_ROOT * n_parameters * n_rows) ** 0.5, _ROWS_OF_SAMPLE * n_parameters))
    least = max(_MANY_ROWS * n_parameters, _ROWS_A_SAMPLED_ONE * size)
    many = isinstance(X, np.ndarray) and loss.smooth and n_rows >= least
    return size if many and _has_few_products(objective, size, n_columns) else 0


def _has_few_products(objective: Objective, n_rows: int, n_columns: int) -> bool:
    n_hessians = 1 if isinstance(objective.loss, SquaredError) else _USUAL_STEPS
    return products_of_columns(objective, n_rows, n_columns) * n_hessians <= _FEW_PRODUCTS


def products_of_columns(objective: Objective, n_rows: int, width: int) -> float:
    """Return how many products it takes to make and to factorize the Hessian of a linear model of so many columns."""
    number = objective.n_outputs
    if isinstance(objective.loss, SquaredError):  # outputs share one
        number = 1
    elif objective.loss.normalized:
        width, number = width * max(number - 1, 1), 1
    return float((n_rows + width) * width**2 * number)


def parameters_a_row(state: State) -> float:
    """Return the number of parameters for each row."""
    objective, columns = state.objective, state.columns
    n_parameters = np.count_nonzero(columns.filled) + objective.fit_intercept
    return float(n_parameters * (objective.n_outputs if objective.exclusive_classes else 1) / columns.rows)


def has_many_rows(state: State) -> bool:
    """Say whether rows are so many for each parameter that what is learnt from them is hardly noise."""
    return _MANY_ROWS * parameters_a_row(state) <= 1.0


def is_brief(state: State, plan: Plan) -> bool:
    """Say whether training is stochastic gradient descent by ``optimizer="auto"``: its few epochs regularise."""
    return _is_free(plan) and isinstance(state.optimizer, SGD)


def _is_free(plan: Plan) -> bool:
    """Say whether ``optimizer="auto"`` may decide on all that goes with it."""
    free = plan.optimizer is None and not plan.hidden_layer_sizes
    free = free and plan.schedule.learning_rate == plan.alpha == plan.batch_size == "auto"
    return free and plan.tol in ("auto", None) and isinstance(plan.schedule, Constant)


def chooses_penalty(state: State, plan: Plan) -> bool:
    """Say whether rows left out choose the strength of the penalty, where Newton's steps are taken."""
    loss = state.objective.loss
    return plan.alpha == "auto" and loss.smooth and not (isinstance(loss, SquaredError) and has_many_rows(state))


def alpha_for(state: State, plan: Plan) -> float:
    """Return the strength of the penalty."""
    if not isinstance(plan.alpha, str):
        return plan.alpha
    n_classes = state.objective.n_outputs if state.objective.exclusive_classes else 1
    if is_brief(state, plan) or state.combined is not None:
        return 0.0
    return auto_alpha(float(state.columns.filled.mean()), n_classes)


# ---------------------------------------------------------------------------------------------------------------------
# Rate
# ---------------------------------------------------------------------------------------------------------------------


def base_rate(state: State, plan: Plan, *, stream: bool = False) -> tuple[float, np.ndarray | None]:
    """Return the rate that the schedule multiplies and, for "auto", the largest sensible one of each parameter."""
    base, longest = plan.schedule.learning_rate, None
    if isinstance(base, str):  # "auto"
        objective, curvature = state.objective, state.objective.loss.curvature
        inputs = state.columns if state.combined is None else state.combined
        sparse = state.columns.sparse and state.combined is None
        squares = inputs.mean_squares(objective.coordinates.center, objective.coordinates.scale)
        row_norm = float(row_norm_of(squares.sum(), objective.fit_intercept))
        n_classes = objective.n_outputs if objective.exclusive_classes and sparse else 1
        one_hot = sparse * (state.columns.one_hot if stream else 1.0)
        of_data = row_norm, curvature, n_classes, one_hot
        base = state.optimizer.auto_learning_rate(*of_data, state.optimizer.hyper())
        base /= max(len(objective.hidden_layer_sizes), 1)
        if not objective.hidden_layer_sizes:
            by_feature = np.repeat(1.0 / (curvature * squares), objective.n_outputs)
            intercepts = np.full(objective.n_outputs, 1.0 / curvature)
            longest = objective.join([(by_feature, intercepts)], state.iterate.theta.dtype)
    return base, longest


# ---------------------------------------------------------------------------------------------------------------------
# Batches
# ---------------------------------------------------------------------------------------------------------------------


def batch_size(state: State, plan: Plan, *, regression: bool) -> int:
    """Return the number of rows in a batch of ``fit``: all of them for None, and on small sets for "auto"."""
    columns, n_rows = state.columns, state.columns.rows
    if plan.batch_size != "auto":
        return n_rows if plan.batch_size is None else min(int(plan.batch_size), n_rows)
    if is_brief(state, plan):
        return 1
    linear = not plan.hidden_layer_sizes
    if n_rows <= (1000 if linear and regression and not columns.sparse else 64):
        return n_rows
    return _SMALLEST_BATCH if columns.sparse else min(_LARGEST_BATCH, max(_SMALLEST_BATCH, n_rows // 64))


def is_wide(state: Any, plan: Plan, X: Matrix) -> bool:
    """Say whether a stream visits but the columns that a row has, among so many."""
    optimizer = state.optimizer
    keeps = is_linear(optimizer) or optimizer.slots == AdaGrad.slots  # which `skgd.wide` can express in any unit
    one_by_one = plan.batch_size in ("auto", 1) and not (plan.hidden_layer_sizes or state.averaging)
    return (
        not isinstance(X, np.ndarray)
        and X.shape[1] >= _WIDE
        and one_by_one
        and keeps
        and laziness_of(optimizer) == "rest"
    )


def wide_optimizer() -> Optimizer:
    """Return the optimizer of a wide stream."""
    return AdaGrad(initial_accumulator=_WIDE_ACCUMULATOR)


def stream_batch_size(plan: Plan, n_rows: int) -> int:
    """Return the number of rows in a batch of ``partial_fit``."""
    if plan.batch_size is None:
        return n_rows
    return STREAM_BATCH if plan.batch_size == "auto" else plan.batch_size


def least_work(plan: Plan, X: Matrix) -> dict[str, int]:
    """Return what is known of the work ahead before the columns are: at least so many epochs, steps and entries."""
    n_rows = X.shape[0]
    size = plan.batch_size or n_rows
    n_steps = n_rows // (_LARGEST_BATCH if isinstance(size, str) else size)
    return {"n_epochs": min(plan.max_iter, USUAL_EPOCHS), "n_steps": n_steps, "n_entries": X.size}


def average_every(size: int, columns: ColumnStatistics) -> int:
    """Return how many steps of so many rows lie between one iterate that counts in the average and the next."""
    if not columns.filled.any():
        return 1
    steps = 3.0 / (size * columns.filled[columns.filled > 0.0].mean())
    return int(min(max(steps, 1.0), 2.0**31))  # weights may make a column as rare as one likes
