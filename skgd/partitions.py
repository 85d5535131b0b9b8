r"""Training on partitions of the data that do not fit into memory together.

:func:`fit` trains a `GDClassifier` or `GDRegressor` on a list of partitions: tuples of arrays or memory maps, or
functions that read a file. It needs the memory of one partition. :mod:`skgd.dask` does the same on a cluster.

Training takes passes over all partitions. The first one collects statistics. Each later one adds up the losses and the
gradient of all samples at the current parameters, and then the parameters take one step:

- with few features (the square of their number, times that of the outputs, is at most a million, and for softmax, the
  number of features times that of the classes at most 500), a Newton step. A squared error needs one;
- otherwise L-BFGS steps, for smooth losses.

The sums are exact. So the result does not depend on how the samples are partitioned, or on their order, up to rounding,
and the same partitions give the same bits, wherever they are processed. Losses with kinks, such as the hinge loss, are
trained with few features only, on means over intervals that become smaller.

What the defaults are: the same standardization, penalty (`alpha_`) and stopping criterion as ``fit`` with Newton steps.
Medians, and with fewer than 100 samples per parameter the strength of the penalty, are those of a random sample of at
least 4096 samples, if there are more. With 100 samples per parameter or more, ``alpha="auto"`` is 1 / n_samples, for
Newton steps on losses other than the squared error. With L-BFGS steps, it is that of ``fit`` without Newton steps, but
at least 1 / (n_samples √n_classes).

With L-BFGS steps and ``tol="auto"`` and ``alpha="auto"``, the minimum would fit noise. 5 % of the samples are held out
(at least 1000 and at most 4096 of them, but no more than 10 %), until their loss does not decrease by a tenth of a
percent in any of three passes. As this loss may jump from point to point, that of the average of the points counts if
it is lower; the n-th point has the weight 3 / (n + 2) in the average so far. From the best point, training continues on
all samples, until the objective is as low as it was there on the samples that were not held out, for at most half as
many passes again (*Goodfellow, Bengio and Courville*, "Deep Learning", 2016, algorithm 7.3).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike

from skgd.automatic import STREAM_BATCH, chooses_penalty, has_many_rows
from skgd.constant import begun_at_constant, best_constant, value_of_zero, yardstick
from skgd.coordinates import ColumnStatistics
from skgd.curvature import Problem
from skgd.descent import LBFGS, Descent, Evaluation, NewtonDescent
from skgd.engines import EpochSummary, initial_iterate
from skgd.engines.vectorized import penalties_of, summarized, with_zeros
from skgd.evaluation import evaluated
from skgd.history import append, drop_unfinished, entry_of, history_keys, print_ending, print_entry
from skgd.losses import SquaredError
from skgd.newton import copies_of, with_chosen_penalty
from skgd.objective import Objective
from skgd.optimizers import AdaGrad
from skgd.outliers import without_outliers, without_outlying_values
from skgd.partition_sums import (
    HeldOut,
    HeldOutSums,
    Known,
    Partition,
    Request,
    Sums,
    Survey,
    in_tree,
    merge,
    sums,
    survey,
    weighted_columns,
)
from skgd.penalty import minimum
from skgd.plan import Plan
from skgd.run import Beginning, Run, with_callbacks
from skgd.schedules import Constant
from skgd.state import Data, Progress, State
from skgd.steps import check_total, with_coordinates, with_penalty
from skgd.stopping import Ending, Stopping, goal_of, warn_interrupted
from skgd.strategy import plain_repr

__all__ = ["fit"]

_FEW_COLUMNS = 500
_FEW_PRODUCTS = 1e6  # for each row
_CLOSE = 1e-3  # of the loss at the start: how near its minimum the sample is where training begins
_STEPS = 20
_EPOCH = 30  # steps, which a pass of L-BFGS is worth, so that three without 0.1 % of progress are the last ones
_LATEST = 3.0  # points: the n-th one has this weight in their average, divided by n + 2
_POWER_ITERATIONS = 10
_FEWEST_HELD_OUT, _MOST_HELD_OUT = 1000, 2**12  # rows, for the end of training
_SHARE_HELD_OUT, _LARGEST_SHARE_HELD_OUT = 0.05, 0.1
_NO_CHECKSUM = -1  # of the data, which is that of none: ``fit`` does not continue from these checkpoints
_SEED = 0  # of these rows, which depend on no random state


class Engine(Protocol):
    """What runs a task for each partition, and merges what it returns in the tree."""

    def run(self, task: Callable[..., Any], *arguments: Any) -> Any:
        """Return ``task(partition, number, *arguments)`` of all partitions, merged; None where all are empty."""


class Loop:
    """An engine that takes one partition after the other."""

    def __init__(self, partitions: Iterable[Partition]):
        self._partitions: Sequence[Partition] = list(partitions)

    def run(self, task: Callable[..., Any], *arguments: Any) -> Any:
        """Run a task, see `Engine`."""
        leaves = (task(partition, number, *arguments) for number, partition in enumerate(self._partitions))
        return in_tree(leaves, merge)


def fit(
    estimator: Any,
    partitions: Iterable[Partition],
    *,
    X_val: ArrayLike | None = None,
    y_val: ArrayLike | None = None,
    sample_weight_val: ArrayLike | None = None,
) -> Any:
    """Fit an estimator to partitions of the data, of which one at a time is in memory.

    The estimator ends as after its ``fit``: it predicts, pickles, and continues with ``partial_fit``. ``n_iter_`` is
    the number of passes after that which collects statistics, and ``history_`` has an entry for each: objective, loss,
    gradient norm and validation loss at the parameters before its step. With ``warm_start``, and for an estimator from
    a :class:`~skgd.callbacks.Checkpoint`, training continues from the parameters.

    Parameters
    ----------
    estimator : GDClassifier or GDRegressor
        The estimator to fit, a linear model. All its parameters mean what they mean in ``fit``. Those that are about
        mini-batches, ``optimizer``, ``learning_rate``, ``batch_size`` (which may be None, too), ``average`` and
        ``max_grad_norm``, must have their defaults. With ``early_stopping``, each sample is held out with the
        probability ``validation_fraction``, by a random number that depends on ``random_state`` and on its place.
    partitions : iterable
        The partitions: tuples ``(X, y)`` or ``(X, y, sample_weight)`` of what ``fit`` accepts, such as slices of memory
        maps, or functions without parameters that return such a tuple, such as ``functools.partial(read, path)``. A
        function is called in each pass, and must return the same each time. Empty partitions are allowed.
    X_val, y_val, sample_weight_val : default=None
        A validation set that fits into memory, as in ``fit``.

    Returns
    -------
    estimator : object
        The same estimator, fitted.

    Raises
    ------
    ValueError, TypeError
        For invalid parameters or data, named by partition. The estimator is then unchanged.

    Examples
    --------
    >>> import numpy as np
    >>> from skgd import GDRegressor, partitions
    >>> rng = np.random.default_rng(0)
    >>> def read(seed):
    ...     X = np.random.default_rng(seed).normal(size=(1000, 3))
    ...     return X, X @ [1.0, 2.0, 3.0] + 4.0
    >>> from functools import partial
    >>> model = partitions.fit(GDRegressor(), [partial(read, seed) for seed in range(4)])
    >>> model.coef_.round(3), model.intercept_.round(3)
    (array([1., 2., 3.]), array([4.]))
    """
    if isinstance(estimator, type) or not hasattr(estimator, "_labels_in"):
        got = f"the class {estimator.__name__}" if isinstance(estimator, type) else type(estimator).__name__
        raise TypeError(f"estimator must be an instance of GDClassifier or GDRegressor, got {got}.")
    with estimator._atomic():
        fit_with(estimator, Loop(partitions), X_val, y_val, sample_weight_val)
    return estimator


@with_callbacks
def fit_with(estimator: Any, engine: Engine, X_val: Any, y_val: Any, sample_weight_val: Any) -> None:
    """Fit an estimator to the partitions of an engine."""
    plan, loss = estimator._plan(stream=False)
    _refuse(estimator, plan)
    resumed = hasattr(estimator, "_state") and (estimator.warm_start or hasattr(estimator, "_unfinished"))
    random_state, held_out = estimator._random_state(), None
    if estimator.early_stopping and X_val is None:
        held_out = HeldOut(estimator.validation_fraction, int(random_state.randint(2**31)))
    reader = type(estimator)(**estimator.get_params(deep=False))
    found: Survey | None = engine.run(survey, reader, loss, held_out)
    if found is None:
        raise ValueError("There is no sample to train on: all partitions are empty, or all sample weights are zero.")
    if held_out is not None and not found.n_held_out:
        raise ValueError(
            f"early_stopping=True held out no sample with validation_fraction={plain_repr(held_out.fraction)} of "
            f"{found.columns.rows}. Change validation_fraction, or pass X_val and y_val."
        )
    state = _state_of(estimator, found, plan, loss, resumed, random_state)
    if estimator.class_weight is not None:
        plan = replace(plan, class_weight=estimator._class_weight())
    for name in ("n_features_in_", "feature_names_in_", "classes_", "_multilabel", "_output_shape"):
        if hasattr(estimator, name):
            setattr(reader, name, getattr(estimator, name))
    dtype, class_totals = state.dtype, _class_totals(estimator, state, found)
    known = Known(reader, plan, dtype, class_totals, state.objective, 0.0, held_out)
    columns = found.columns
    if plan.class_weight is not None:
        columns = engine.run(weighted_columns, known).columns
    check_total(columns.weight, 0.0)
    state = replace(state, columns=columns)
    if len(state.class_totals):
        state = replace(state, class_totals=class_totals)
    if found.targets is not None:
        state = replace(state, targets=found.targets)
    validation = estimator._read_validation(X_val, y_val, sample_weight_val, dtype, loss)
    history = estimator.history_ if resumed else {key: [] for key in history_keys(1)}
    history = {key: list(values) for key, values in history.items()}

    def attributes(state: State, progress: Progress) -> dict[str, Any]:
        so_far = {key: list(values) for key, values in history.items()}
        ending = Ending(suboptimality=progress.approach.suboptimality, kept=progress.epoch)
        return estimator._fitted_attributes(replace(state), progress.epoch, ending) | {"history_": so_far}

    run = None
    if hasattr(estimator, "_skl_callbacks"):
        beginning = Beginning(estimator._lasting_parameters(), _NO_CHECKSUM, None)
        run = Run(estimator, None, None, None, plan.max_iter, lambda: beginning, attributes)
    state, n_iter, ending = _train(state, plan, engine, known, found, validation, history, run)
    estimator._publish(state, n_iter, history, ending)
    if run is not None:
        run.end()


def _refuse(estimator: Any, plan: Plan) -> None:
    """Refuse parameters that mean something else than passes over all partitions."""
    automatic = isinstance(plan.schedule, Constant) and plan.schedule.learning_rate == "auto"
    refused = {
        "hidden_layer_sizes": bool(plan.hidden_layer_sizes),
        "optimizer": plan.optimizer is not None,
        "learning_rate": not automatic,
        "batch_size": plan.batch_size not in ("auto", None),
        "average": plan.average not in ("polynomial", False),
        "max_grad_norm": plan.max_grad_norm is not None,
    }
    for name, wrong in refused.items():
        if wrong:
            raise ValueError(
                f"{name}={plain_repr(getattr(estimator, name))} is not available for training on partitions, which "
                "takes Newton or L-BFGS steps over all samples of a linear model. Reset it, or call partial_fit for "
                "one partition after the other."
            )


def _state_of(estimator: Any, found: Survey, plan: Plan, loss: Any, resumed: bool, random_state: Any) -> State:
    """Return the state before the first step, and set what the estimator knows of the columns and the classes."""
    sample, names = found.sample, found.names
    n_features = sample.X.shape[1]
    if resumed:
        known = getattr(estimator, "feature_names_in_", None)
        if estimator.n_features_in_ != n_features or (names and known is not None and tuple(known) != names):
            raise ValueError(
                f"The partitions have {n_features} features, but warm_start=True continues with those of the last fit: "
                f"{estimator.n_features_in_} features. Train a new model: clone(estimator)."
            )
        if found.labels is not None:
            estimator._encode(found.labels, "y")
        state = estimator._resume(plan, loss).whole
    else:
        estimator.n_features_in_ = n_features
        vars(estimator).pop("feature_names_in_", None)
        if names is not None:
            estimator.feature_names_in_ = np.array(names, dtype=object)
        y = sample.y if found.labels is None else np.repeat(found.labels, 3)
        state = estimator._begin(sample.X, y, y, plan, loss, None, random_state)
    return replace(
        state,
        columns=ColumnStatistics.empty(n_features),
        targets=ColumnStatistics.empty(state.objective.n_outputs),
        together=None,
        combined=None,
    )


def _class_totals(estimator: Any, state: State, found: Survey) -> np.ndarray:
    """Return the weight of each class, without class weights."""
    if found.labels is None:
        return state.class_totals
    return np.bincount(estimator._encode(found.labels, "y"), found.totals, len(estimator.classes_))


def _targets_of(known: Known, found: Survey) -> tuple[np.ndarray, np.ndarray | None]:
    """Return a y and weights that stand for those of all rows: for labels exactly, else the sample's."""
    y = known.reader._encode(found.sample.y, "y")
    if y.dtype.kind == "f":
        return y, found.sample.weight
    if y.ndim == 1:
        classes = np.arange(len(known.class_totals))
        return classes, known.plan.row_weights(classes, known.class_totals, known.class_totals)
    # Rows of which each label has its share.
    shares = found.totals / found.columns.weight
    edges = np.unique(np.concatenate([shares, [1.0]]))
    return shares >= edges[:, np.newaxis], np.diff(edges, prepend=0.0)


# ---------------------------------------------------------------------------------------------------------------------
# Training
# ---------------------------------------------------------------------------------------------------------------------


def _train(
    state: State,
    plan: Plan,
    engine: Engine,
    known: Known,
    found: Survey,
    validation: Data | None,
    history: dict[str, list[float]],
    observer: Run | None,
) -> tuple[State, int, Ending]:
    """Take passes until the criterion of `skgd.stopping` is met; return the state, their number, and why they ended."""
    newton = _has_few_columns(state.objective)
    _check_loss(state.objective, newton=newton)
    sample, targets = _sample_of(known, found, dense=newton), _targets_of(known, found)
    state = _standardized(with_penalty(state, plan), plan, sample, newton=newton)
    constant = best_constant(state, *targets)
    worth, of_outliers = yardstick(state, constant, (sample[0], *targets))
    begun = begun_at_constant(state, plan, constant)
    begun.objective = replace(begun.objective, worth=worth)
    state, start, in_sample = begun, begun.iterate.theta, False
    if not newton and plan.alpha == "auto":
        n_classes = state.objective.n_outputs if state.objective.exclusive_classes else 1
        alpha = max(state.objective.alpha, 1.0 / (_copies(found) * n_classes**0.5))
        state.objective = replace(state.objective, alpha=alpha)
    if newton:
        state, start = _begun_in_sample(begun, plan, sample, found)
        in_sample = start is not begun.iterate.theta
    objective, columns = state.objective, state.columns
    path: _Path | None = None
    target, last = None, 0  # the objective at which more passes would fit noise, and the last of these passes
    if not newton and known.held_out is None and validation is None and _stops_by_new_rows(objective, plan):
        n_held_out = min(max(_FEWEST_HELD_OUT, _SHARE_HELD_OUT * columns.rows), _MOST_HELD_OUT)
        fraction = min(_LARGEST_SHARE_HELD_OUT, n_held_out / columns.rows)
        known, path = replace(known, held_out=HeldOut(fraction, _SEED)), _Path(objective)
    known = replace(known, objective=objective, weight=columns.weight)
    validates = validation is not None or known.held_out is not None
    descent: Descent = LBFGS(objective, start.astype(np.float64), _largest_curvature(state, sample))
    if newton:
        problem = Problem(objective, *sample)
        descent = NewtonDescent(problem, start.astype(np.float64), columns.rows)
    goal = goal_of(objective, plan, validates)
    stopping = Stopping(
        state,
        plan,
        (sample[0], *targets),
        of_outliers,
        1 if path is None else _EPOCH,
        shuffled=False,
        validates=validates,
        newton=True,
        accuracy=None if newton else goal,
    )
    epoch, best_epoch, best_score, best_theta = 0, 0, np.nan, None
    before, began = state.t, len(history["objective"])

    def now() -> tuple[State, Progress]:
        so_far = state.iterate, stopping.best, None, stopping.waited, None
        return state, Progress(
            epoch,
            len(history["objective"]),
            *so_far,
            past=state.past,
            watched=tuple(stopping.watched),
            approach=stopping.approach,
            steps=epoch,
            best_epoch=best_epoch,
            best_score=best_score,
            width=descent.width,
        )

    try:
        while epoch < plan.max_iter and (not stopping.done or target is not None):
            if observer is not None:
                observer.begin_epoch(*now())
            epoch += 1
            started = time.perf_counter()
            request = descent.request if path is None else path.asked(descent.request)
            total: Sums = engine.run(sums, known, request)
            evaluation = descent.take(total if known.held_out is None else total.means())
            summary = _summary_of(state, evaluation)
            if in_sample and epoch == 1 and summary.progress > _highest(state, targets, of_outliers):
                descent = NewtonDescent(problem, begun.iterate.theta.astype(np.float64), columns.rows)
            value, validated = summary.progress, (np.nan, np.nan)
            if validates:
                shown = _with_theta(state, evaluation.theta, total, before + epoch)
                losses, score = _validated(shown, plan, validation, total.held_out)
                if path is not None and request.average is not None and path.is_better(total, worth):
                    shown = _with_theta(state, request.average, total, before + epoch)
                    losses, score = _validated(shown, plan, validation, total.of_average)
                validated, value = (float(losses.sum()), score), float((worth * losses).sum())
            if target is not None:
                target = target if summary.progress > target and epoch < last else None
            elif evaluation.accepted or validates:
                if stopping.observe(value, state, None, summary) and validates:
                    best_theta, best_epoch, best_score = shown, epoch, score
                    if path is not None:
                        path.mark(evaluation.theta, summary.progress, total, worth)
            else:
                stopping.reject()
            if path is not None and evaluation.accepted:
                path.add(evaluation.theta)
            if path is not None and validates and stopping.ending.reason == "validation":
                # All rows, from there on, until they are fitted as well as those were that were not held out.
                assert isinstance(descent, LBFGS)
                theta, target = path.back()
                last = epoch + max(best_epoch // 2, 1)
                descent, known = descent.begun_at(theta), replace(known, held_out=None)
                validates, best_theta, best_epoch = False, None, 0
            entry = entry_of(summary, 1.0, started, validated, stopping.approach.suboptimality)
            append(history, entry)
            state.past = state.past.followed_by({"objective": summary.progress}, plan.schedule)
            if plan.verbose:
                print_entry(state.past.epochs, entry, header=epoch == 1)
            theta = descent.theta if path is None else path.model(descent.theta)
            state.iterate = _with_theta(state, theta, total, before + epoch).iterate
            if observer is not None and observer.end_epoch(*now()):
                stopping.end("callback")
                target = None
        ending = stopping.conclude(state, (sample[0], *targets))
    except KeyboardInterrupt:
        drop_unfinished(history)
        warn_interrupted(epoch)
        stopping.end("interrupted")
        ending = stopping.ending
    if plan.verbose:
        print_ending(ending.reason, ending.suboptimality)
    if best_theta is not None:
        state.iterate = best_theta.iterate
    n_passes = len(history["objective"]) - began
    return state, n_passes, ending._replace(kept=best_epoch or n_passes, score=best_score)


class _Path:
    """The points of a descent and their average, with larger weights of later ones: the better one is the model.

    The loss of other rows may jump from one point of L-BFGS to the next; that of an average of points hardly does.
    Where it does not jump, an average is behind.
    """

    def __init__(self, objective: Objective):
        self._l1, _ = objective.penalty_by_parameter()
        self._average, self._number = np.zeros_like(self._l1), 0
        self._averages = True
        self._best: tuple[np.ndarray, int, bool, np.ndarray, float] | None = None

    def asked(self, request: Request) -> Request:
        """Return a request that asks rows which are held out about the average, too."""
        return request._replace(average=self.model(request.theta)) if self._number else request

    def is_better(self, total: Sums, worth: np.ndarray) -> bool:
        """Say whether the average is better than the point, on rows that are held out."""
        if total.of_average is None or total.held_out is None:
            return False
        return bool(worth @ total.of_average.mean_losses < worth @ total.held_out.mean_losses)

    def model(self, last: np.ndarray) -> np.ndarray:
        """Return the average of the points so far, with the zeros of the last one where the penalty makes them."""
        return with_zeros(self._average, last, self._l1 > 0.0) if self._averages and self._number else last

    def add(self, theta: np.ndarray) -> None:
        """Add a point to the average."""
        self._number += 1
        share = _LATEST / (self._number + _LATEST - 1.0)
        self._average = self._average + share * (theta - self._average)

    def mark(self, theta: np.ndarray, objective: float, total: Sums, worth: np.ndarray) -> None:
        """Remember a point and the average before it as the best ones so far."""
        self._best = self._average, self._number, self.is_better(total, worth), theta, objective

    def back(self) -> tuple[np.ndarray, float]:
        """Go back to where the better one was best, and return that point, and the objective there."""
        assert self._best is not None
        self._average, self._number, self._averages, theta, objective = self._best
        return theta, objective


def _stops_by_new_rows(objective: Objective, plan: Plan) -> bool:
    """Say whether more passes would fit noise, so that training ends when the loss of other rows is lowest."""
    return plan.tol is not None and goal_of(objective, plan, validates=False) is None


def _has_few_columns(objective: Objective) -> bool:
    """Say whether a pass can afford the products of all pairs of columns."""
    width, n_hessians = objective.n_features + objective.fit_intercept, objective.n_outputs
    if objective.loss.normalized:
        width, n_hessians = width * max(objective.n_outputs - 1, 1), 1
    elif isinstance(objective.loss, SquaredError):
        n_hessians = 1
    return width <= _FEW_COLUMNS + 1 and width**2 * n_hessians <= _FEW_PRODUCTS


def _check_loss(objective: Objective, *, newton: bool) -> None:
    """Refuse losses that the steps cannot minimize."""
    loss = objective.loss
    if loss.smooth or (newton and loss.smoothable):
        return
    name = plain_repr(loss)
    if loss.smoothable:
        raise ValueError(
            f"loss={name} has kinks, and is available for training on partitions with few features only (at most "
            f"{_FEW_COLUMNS}, and fewer with several outputs), got {objective.n_features} features and "
            f"{objective.n_outputs} outputs. Use a smooth loss: 'squared_hinge' or 'log_loss' instead of "
            "'hinge', and 'huber' or 'squared_epsilon_insensitive' in regression."
        )
    raise ValueError(
        f"loss={name} is not available for training on partitions, which needs a convex loss. Use another one, or, for "
        "a custom loss that is convex with a continuous gradient, set its attribute smooth = True."
    )


def _sample_of(known: Known, found: Survey, *, dense: bool) -> Data:
    """Return the sample of rows, with the weights of their classes."""
    X: Any = found.sample.X
    y = known.reader._encode(found.sample.y, "y")
    X = X.toarray() if dense and found.sparse else X
    return X.astype(known.dtype, copy=False), y, known.plan.row_weights(y, found.sample.weight, known.class_totals)


def _standardized(state: State, plan: Plan, sample: Data, *, newton: bool) -> State:
    """Return the state in the coordinates of the statistics; what outliers would change, by the sample."""
    X, y, weight = sample
    columns, sparse = state.columns, not isinstance(X, np.ndarray)
    if newton and not has_many_rows(state):
        columns = replace(columns, usual=without_outlying_values(X, weight, columns.measures))
    elif sparse and not newton:
        columns = replace(columns, usual=without_outliers(X, weight, columns.measures))
    state = replace(state, columns=columns)
    return with_coordinates(state, plan, (y, weight), stream=False, newton=newton, sparse=sparse)


def _begun_in_sample(state: State, plan: Plan, sample: Data, found: Survey) -> tuple[State, np.ndarray]:
    """Return the state with the strength of the penalty, and parameters to begin with: the minimum of the sample."""
    objective, theta = state.objective, state.iterate.theta
    chooses, exact = (
        chooses_penalty(state, plan, regression=found.targets is not None),
        isinstance(objective.loss, SquaredError),
    )
    in_sample, copies = state, copies_of(found.sample.y, found.sample.weight if found.whole else None).sum()
    if chooses and not has_many_rows(state):
        given = copies_of(found.sample.y, found.sample.weight if found.whole else None)
        in_sample, _ = with_chosen_penalty(state, Problem(objective, *sample), given)
        theta = in_sample.iterate.theta
        strength = in_sample.objective.alpha * copies
    else:
        strength = 1.0
    if chooses:
        state = replace(state, objective=replace(objective, alpha=float(strength / _copies(found))))
    if state.t or exact or not objective.loss.smooth:
        return state, state.iterate.theta
    alpha = objective.alpha if not chooses else float(strength / copies)
    problem = Problem(replace(objective, alpha=alpha), *sample)
    start = problem.at(problem.parameters(theta))
    return state, problem.flat(minimum(problem, start, _CLOSE * start.value, _STEPS).parameters)


def _copies(found: Survey) -> float:
    """Return the number of rows, of which weights that are whole numbers are copies."""
    return float(found.columns.weight if found.whole else found.columns.rows)


def _largest_curvature(state: State, sample: Data) -> float:
    """Return about the largest curvature of the data term, by some power iterations on the sample."""
    objective, (X, _, weight) = state.objective, sample
    Z = objective.coordinates.standardized(X).astype(np.float64)
    share = np.full(X.shape[0], 1.0 / X.shape[0]) if weight is None else weight / weight.sum()
    direction: Any = np.random.default_rng(0).normal(size=Z.shape[1])
    size = 0.0
    for _ in range(_POWER_ITERATIONS):
        direction = Z.T @ (share * (Z @ direction))
        size = float(np.sqrt(direction @ direction))
        direction /= size or 1.0
    return objective.loss.curvature * max(size, float(objective.fit_intercept), 1e-100)


def _summary_of(state: State, evaluation: Evaluation) -> EpochSummary:
    """Return what an epoch says of itself."""
    objective, n_rows = state.objective, state.columns.rows
    losses = evaluation.losses * objective.unit
    record = np.array([[losses.sum(), evaluation.squared_gradient, (losses * objective.worth).sum()]])
    summary = summarized(n_rows * record, penalties_of(objective, evaluation.theta), n_rows)
    return summary._replace(decrement=evaluation.decrement)


def _highest(state: State, targets: tuple[np.ndarray, np.ndarray | None], of_outliers: float) -> float:
    """Return the objective, by its worth, of a constant model, or without intercepts of one that predicts zero."""
    if state.objective.fit_intercept:
        return 1.0 + of_outliers + 1e-9
    return value_of_zero(state, (np.zeros((0, 0)), *targets))


def _with_theta(state: State, theta: np.ndarray, total: Sums, t: int) -> State:
    """Return the state with other parameters, and what AdaGrad, with which a stream continues, would remember."""
    iterate = initial_iterate(theta.astype(state.dtype), state.optimizer, state.averaging)._replace(t=t)
    if isinstance(state.optimizer, AdaGrad):
        factor = state.columns.rows / state.columns.weight / STREAM_BATCH
        iterate = iterate._replace(slots=((factor**2 * total.squares).astype(state.dtype),))
    return replace(state, iterate=iterate)


def _validated(
    state: State, plan: Plan, validation: Data | None, held_out: HeldOutSums | None
) -> tuple[np.ndarray, float]:
    """Return the losses and the score of the validation set, or of the rows that are held out."""
    if validation is not None:
        return evaluated(state, plan, validation)
    if held_out is None:
        raise ValueError("The sample weights of all samples that early_stopping=True held out are zero.")
    return held_out.mean_losses, held_out.mean_score
