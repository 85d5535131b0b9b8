r"""Training on partitions of the data that do not fit into memory together.

:func:`fit` trains a `GDClassifier` or `GDRegressor` on a list of partitions: tuples of arrays or memory maps, or
functions that read a file. It needs the memory of one partition. :func:`cached` keeps what functions return, on disk
or in memory, so that they are called once. :mod:`skgd.dask` does the same as :func:`fit` on a cluster.

Training takes passes over all partitions. The first one collects statistics. Each later one adds up the losses and the
gradient of all samples at the current parameters, and then the parameters take one step:

- with few features (the square of their number, times that of the outputs, is at most a million, and for softmax, the
  number of features times that of the classes at most 500), a Newton step. A squared error needs one;
- otherwise L-BFGS steps, for smooth losses.

The sums are exact. So the result does not depend on how the samples are partitioned, or on their order, up to rounding,
and the same partitions give the same bits, wherever they are processed. Losses with kinks, such as the hinge loss, are
trained with few features only, on means over intervals that become smaller.

With ``solver="sgd"``, training is in mini-batches instead, for any loss and optimizer, and for networks: stochastic
gradient descent in ``n_lanes`` lanes, which are averaged after each pass, see `skgd.lanes`. Use it for networks, for
losses that the passes above cannot minimize, and for data too large for many passes. It is not better otherwise: the
more lanes and the fewer samples in each, the more passes it takes, and where partitions are few and sorted, by class or
date, the result is worse than that of ``fit``: shuffle such data, or use many small partitions and one lane.

What the defaults are: the same standardization, penalty (`alpha_`) and stopping criterion as ``fit`` with Newton steps.
Medians, and with fewer than 100 samples per parameter the strength of the penalty, are those of a random sample of at
least 4096 samples, if there are more. With 100 samples per parameter or more, ``alpha="auto"`` is 1 / n_samples, for
Newton steps on losses other than the squared error. With L-BFGS steps, it is that of ``fit`` without Newton steps, but
at least 1 / (n_samples √n_classes) unless ``tol="auto"``.

With L-BFGS steps and ``tol="auto"`` and ``alpha="auto"``, the minimum would fit noise. Training follows the path of
gradient descent with small steps, from large eigenvalues to small ones, by proximal steps of one to eight passes, each
to about the minimum of

.. math:: J(\theta) + \tfrac{\delta}{2} \lVert D (\theta - \theta_0) \rVert^2

where :math:`\theta_0` is where the step begins, and the damping :math:`\delta` halves after each (*Rockafellar*,
"Monotone operators and the proximal point algorithm", 1976). The diagonal matrix :math:`D` has the sixteenth roots of
the mean squares of the standardized features, relative to the largest: rare features, of which the gradients are small,
are learned sooner, as by AdaGrad, with which ``fit`` trains. 5 % of the samples are held out (at least 1000 and at most
4096 of them, but no more than 10 %), until two steps have not decreased their loss by two percent (plus 0.06 % of that
of the best constant model), unless each decreased it, and the objective, by more than the one before. A step is better
than the best one before if their loss is one percent lower. Then the last three steps up to the best one, which are
seven eighths of the way, and one more are taken again on all samples, from where the first of them began and with what
was known of the Hessian there, so that they lead as far as they did. The ends of the last three are averaged: how far
is best is not known better than to a factor of two. Samples far from all others count less, as in the mini-batches of
``fit``, see `skgd.outliers`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import reduce
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from skgd.coordinates import ColumnStatistics
from skgd.disk_cache import cached
from skgd.history import history_keys
from skgd.lanes import MORE_ROWS, train_in_lanes
from skgd.partition_sums import HeldOut, Known, Partition, Survey, in_tree, merge, survey, weighted_columns
from skgd.passes import Engine, train_by_sums
from skgd.plan import Plan
from skgd.run import Beginning, Run, with_callbacks
from skgd.schedules import Constant
from skgd.state import Progress, State
from skgd.steps import check_total
from skgd.stopping import Ending
from skgd.strategy import plain_repr

__all__ = ["cached", "fit"]

N_LANES = 4  # where none are given: never the number of workers, which would decide the result
_NO_CHECKSUM = -1  # of the data, which is that of none: ``fit`` does not continue from these checkpoints


class Loop:
    """An engine that takes one partition after the other."""

    def __init__(self, partitions: Iterable[Partition]):
        self._partitions: Sequence[Partition] = list(partitions)

    @property
    def n_partitions(self) -> int:
        """The number of partitions."""
        return len(self._partitions)

    def run(self, task: Callable[..., Any], *arguments: Any) -> Any:
        """Run a task, see `Engine`."""
        leaves = (task(partition, number, *arguments) for number, partition in enumerate(self._partitions))
        return in_tree(leaves, merge)

    def run_in_lanes(self, task: Callable[..., Any], lanes: Sequence[Sequence[int]], *arguments: Any) -> Any:
        """Run tasks one after the other in each lane, see `skgd.passes.Engine`."""

        def run(before: Any, number: int) -> Any:
            return task(before, self._partitions[number], number, *arguments)

        return in_tree((reduce(run, lane, None) for lane in lanes), merge)


def fit(
    estimator: Any,
    partitions: Iterable[Partition],
    *,
    X_val: ArrayLike | None = None,
    y_val: ArrayLike | None = None,
    sample_weight_val: ArrayLike | None = None,
    solver: str = "auto",
    n_lanes: int = N_LANES,
) -> Any:
    """Fit an estimator to partitions of the data, of which one at a time is in memory.

    The estimator ends as after its ``fit``: it predicts, pickles, and continues with ``partial_fit``. ``n_iter_`` is
    the number of passes after that which collects statistics, and ``history_`` has an entry for each: objective, loss,
    gradient norm and validation loss at the parameters before its step (with ``solver="sgd"``, as in ``fit``: means
    over the batches of the pass, each before its step, and the validation loss after it). With ``warm_start``, and for
    an estimator from a :class:`~skgd.callbacks.Checkpoint`, training continues from the parameters.

    Parameters
    ----------
    estimator : GDClassifier or GDRegressor
        The estimator to fit. All its parameters mean what they mean in ``fit``. With ``solver="auto"``, it is a linear
        model, and those that are about mini-batches, ``optimizer``, ``learning_rate``, ``batch_size`` (which may be
        None, too), ``average`` and ``max_grad_norm``, must have their defaults. With ``early_stopping``, each sample is
        held out with the probability ``validation_fraction``, by a random number that depends on ``random_state`` and
        on its place.
    partitions : iterable
        The partitions: tuples ``(X, y)`` or ``(X, y, sample_weight)`` of what ``fit`` accepts, such as slices of memory
        maps, or functions without parameters that return such a tuple, such as ``functools.partial(read, path)``. A
        function is called in each pass, and must return the same each time; :func:`cached` calls it once. Empty
        partitions are allowed.
    X_val, y_val, sample_weight_val : default=None
        A validation set that fits into memory, as in ``fit``.
    solver : {"auto", "sgd"}, default="auto"
        "auto" takes one Newton or L-BFGS step per pass, of the exact sums. "sgd" takes mini-batches.
    n_lanes : int, default=4
        With ``solver="sgd"``, the number of lanes, each of which goes through its share of the partitions, one after
        the other. It is the number of workers that can be busy at once, and changes the result: with more lanes,
        training takes more passes, and coefficients with an L1 penalty are zero only if they are zero in all lanes. One
        lane is best if a plain loop trains.

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
    >>> network = GDRegressor(hidden_layer_sizes=(8,), max_iter=5, tol=None, random_state=0)
    >>> network = partitions.fit(network, [partial(read, seed) for seed in range(4)], solver="sgd")
    >>> network.coefs_[0].shape
    (3, 8)
    """
    if isinstance(estimator, type) or not hasattr(estimator, "_labels_in"):
        got = f"the class {estimator.__name__}" if isinstance(estimator, type) else type(estimator).__name__
        raise TypeError(f"estimator must be an instance of GDClassifier or GDRegressor, got {got}.")
    with estimator._atomic():
        fit_with(estimator, Loop(partitions), (X_val, y_val, sample_weight_val), solver, n_lanes)
    return estimator


@with_callbacks
def fit_with(estimator: Any, engine: Engine, given_validation: tuple[Any, Any, Any], solver: str, n_lanes: int) -> None:
    """Fit an estimator to the partitions of an engine; the validation set is X, y and weights, or None each."""
    plan, loss = estimator._plan(stream=False)
    in_lanes = check_solver(solver, n_lanes)
    _refuse(estimator, plan, in_lanes)
    resumed = hasattr(estimator, "_state") and (estimator.warm_start or hasattr(estimator, "_unfinished"))
    random_state, held_out = estimator._random_state(), None
    if estimator.early_stopping and given_validation[0] is None:
        held_out = HeldOut(estimator.validation_fraction, int(random_state.randint(2**31)))
    reader = type(estimator)(**estimator.get_params(deep=False))
    n_more = MORE_ROWS if in_lanes else 0
    found: Survey | None = engine.run(survey, reader, loss, held_out, n_more)
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
    validation = estimator._read_validation(*given_validation, dtype, loss)
    n_layers = len(state.objective.layer_sizes) - 1
    history = estimator.history_ if resumed else {key: [] for key in history_keys(n_layers)}
    history = {key: list(values) for key, values in history.items()}

    def attributes(state: State, progress: Progress) -> dict[str, Any]:
        so_far = {key: list(values) for key, values in history.items()}
        ending = Ending(suboptimality=progress.approach.suboptimality, kept=progress.epoch)
        return estimator._fitted_attributes(replace(state), progress.epoch, ending) | {"history_": so_far}

    run = None
    if hasattr(estimator, "_skl_callbacks"):
        beginning = Beginning(estimator._lasting_parameters(), _NO_CHECKSUM, None)
        run = Run(estimator, None, None, None, plan.max_iter, lambda: beginning, attributes)
    arguments = state, plan, engine, known, found, validation, history, run
    if in_lanes:
        state, n_iter, ending = train_in_lanes(*arguments, n_lanes, random_state)
    else:
        state, n_iter, ending = train_by_sums(*arguments)
    estimator._publish(state, n_iter, history, ending)
    if run is not None:
        run.end()


def check_solver(solver: Any, n_lanes: Any) -> bool:
    """Say whether training is in lanes, with parameters that are checked."""
    if not isinstance(solver, str) or solver not in ("auto", "sgd"):
        raise ValueError(f"solver must be 'auto' or 'sgd', got {plain_repr(solver)}.")
    if not isinstance(n_lanes, Integral) or isinstance(n_lanes, bool):
        raise TypeError(f"n_lanes must be an integer, got {plain_repr(n_lanes)}.")
    if n_lanes < 1:
        raise ValueError(f"n_lanes must be at least 1, got {n_lanes}.")
    return solver == "sgd"


def _refuse(estimator: Any, plan: Plan, in_lanes: bool) -> None:
    """Refuse parameters that do not go with the solver."""
    if in_lanes:
        if plan.batch_size is None:
            raise ValueError(
                "batch_size=None, all samples in one batch, is not available for training on partitions with "
                "solver='sgd'. Use a number, or solver='auto', which takes steps over all samples."
            )
        return
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
                f"{name}={plain_repr(getattr(estimator, name))} is not available for training on partitions with "
                "solver='auto', which takes Newton or L-BFGS steps over all samples of a linear model. Use "
                "solver='sgd', or reset it."
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
