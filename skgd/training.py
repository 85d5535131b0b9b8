"""The training loop: epochs of mini-batches, learning rates, stopping, history.

``train_epochs`` is what ``fit`` does: several passes over one data set, in coordinates learnt from all of it.
``train_stream`` is what ``partial_fit`` does: one pass in the given order, in coordinates learnt on the fly.
Both change a :class:`State`, which holds everything that training resumes from.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cache
from operator import add
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
import scipy.sparse as sp
from sklearn.exceptions import ConvergenceWarning

from skgd.activations import Activation
from skgd.coordinates import ColumnStatistics, Coordinates, Matrix, auto_alpha, measure_columns, relearnt, row_norm_of
from skgd.engines import (
    USUAL_EPOCHS,
    Engine,
    EpochSummary,
    Iterate,
    StepSettings,
    choose,
    choose_measure,
    choose_stream,
    initial_iterate,
    readout,
    renumbered,
    run_epoch,
    run_stream,
    stream_loop,
)
from skgd.networks import Layer, forward, initial_layers
from skgd.objective import Objective, in_coordinates
from skgd.optimizers import SGD, Optimizer, laziness_of
from skgd.schedules import Constant, Schedule

# With learning_rate="auto", or a small enough explicit one, the objective falls. An objective this many times that of
# predicting the mean is on its way to infinity.
_DIVERGED = 1e10
_HUGE = float(np.finfo(np.float64).max)

Data: TypeAlias = tuple[Matrix, np.ndarray, np.ndarray | None]


@dataclass(frozen=True)
class Plan:
    """How to train: the estimator's parameters, resolved."""

    optimizer: Optimizer | None  # for "auto"
    schedule: Schedule
    alpha: float | str
    batch_size: int | Literal["auto"] | None
    max_iter: int
    tol: float | None
    n_iter_no_change: int | Literal["auto"]
    shuffle: bool
    average: bool | int | str
    precondition: bool
    max_grad_norm: float | None
    verbose: int
    hidden_layer_sizes: tuple[int, ...]
    activation: Activation
    class_weight: np.ndarray | str | None = None

    def settings(self, average_every: int) -> StepSettings:
        """Return what stands around the optimizer's rule."""
        return StepSettings(
            max_grad_norm=self.max_grad_norm,
            averaging=self.averaging,
            average_from=int(self.average) if not isinstance(self.average, (bool, str)) else 0,
            average_every=average_every,
        )

    @property
    def automatic(self) -> bool:
        """Whether ``optimizer="auto"`` is free to decide on all that goes with it."""
        free = self.optimizer is None and not self.hidden_layer_sizes
        free = free and self.schedule.learning_rate == self.alpha == self.batch_size == "auto"
        return free and isinstance(self.schedule, Constant)

    @property
    def averaging(self) -> Callable[[np.ndarray], np.ndarray] | None:
        """The weight of the k-th iterate in the running average, k = 1, 2, ..., or None."""
        if self.average is False:
            return None
        return _polynomial_decay if self.average == "polynomial" else _uniform


def _uniform(k: np.ndarray) -> np.ndarray:
    """Polyak-Ruppert averaging: all iterates weigh the same."""
    return 1.0 / k


def _polynomial_decay(k: np.ndarray) -> np.ndarray:
    """Shamir and Zhang's averaging (ICML 2013), which forgets the first iterates: about the last tenth counts."""
    return np.minimum(1.0, 9.0 / (k + 8.0))


_HISTORY_KEYS = (
    "objective",
    "loss",
    "gradient_norm",
    "learning_rate",
    "validation_loss",
    "validation_score",
    "seconds",
)


@cache
def history_keys(n_layers: int) -> tuple[str, ...]:
    """Return what the history holds of a model with so many layers."""
    by_layer = (f"gradient_norm_layer_{number}" for number in range(1, n_layers + 1))
    return _HISTORY_KEYS if n_layers < 2 else (*_HISTORY_KEYS, *by_layer)


STREAM_HISTORY = 1000  # calls of ``partial_fit``: without a bound, months of a stream would fill the memory


def bounded(history: dict[str, list[float]]) -> dict[str, list[float]]:
    """Return the history itself or, where it has come to twice the length that a stream keeps, its latest entries."""
    if len(history["objective"]) < 2 * STREAM_HISTORY:
        return history
    return {key: values[-STREAM_HISTORY:] for key, values in history.items()}


@dataclass(frozen=True)
class Past:
    """What the next epoch has to know of all earlier ones, of which the history may hold the latest only."""

    epochs: int = 0  # calls of ``partial_fit`` among them
    memory: Mapping[str, Any] = field(default_factory=dict)  # the schedule's, of what may be watched

    def followed_by(self, entry: dict[str, float], schedule: Schedule) -> Past:
        """Return the past after one more epoch."""
        seen = [key for key in ("objective", "validation_loss") if entry[key] == entry[key]]
        memory = {key: schedule.observe(entry[key], self.memory.get(key)) for key in seen}
        return Past(self.epochs + 1, {**self.memory, **memory})


@dataclass
class State:
    """All that training resumes from, and nothing else. Its parts are replaced, never changed in place."""

    objective: Objective
    optimizer: Optimizer
    iterate: Iterate
    columns: ColumnStatistics
    targets: ColumnStatistics
    class_totals: np.ndarray
    engine: Engine = "vectorized"
    past: Past = Past()

    @property
    def whole(self) -> State:
        """The state itself; see `Stream.whole`."""
        return self

    @property
    def t(self) -> int:
        """The number of steps taken."""
        return self.iterate.t

    @property
    def dtype(self) -> np.dtype:
        """The type of the parameters."""
        return self.iterate.theta.dtype

    @property
    def averaging(self) -> bool:
        """Whether an average of the iterates is kept."""
        return self.iterate.average is not None

    def readout(self) -> list[Layer]:
        """Return the layers to predict with, in the user's units."""
        return self.objective.to_user(readout(self.iterate, self.optimizer, self.objective))

    def published(self) -> list[Layer]:
        """Return the layers to predict with, if they are finite numbers."""
        layers = self.readout()
        if not all(np.isfinite(part).all() for layer in layers for part in layer):
            raise ValueError(
                f"The coefficients cannot be represented in {self.dtype}: the units of X and y lie too far apart. "
                "Rescale y or columns of X."
            )
        return layers


@dataclass(eq=False)
class Stream:
    """A state between compiled steps: two arrays hold what they change, so that a call has little else to copy."""

    frame: State  # what is not below, with nothing in the place of what is
    plan: Plan
    loop: Any
    averaging: bool
    numbers: np.ndarray
    statistics: np.ndarray
    t: int
    averaged: int
    alpha: float
    past: Past

    @classmethod
    def of(cls, state: State | Stream, plan: Plan, X: Matrix, y: np.ndarray) -> Stream | None:
        """Return the stream that goes on from a state, or None where compiled loops are not for it."""
        if isinstance(state, cls) and state.plan is plan and state.loop.takes(X):
            return state
        state = state.whole
        objective, optimizer, alpha = state.objective, state.optimizer, plan.alpha
        if plan.class_weight is not None or not choose_stream(optimizer, objective, X, state.t):
            return None
        if isinstance(alpha, str):
            alpha = 0.0 if _is_brief(state, plan) else -1.0
        settings = plan.settings(1), state.averaging, alpha, plan.schedule.learning_rate, plan.precondition
        loop = stream_loop(objective, optimizer, X, y, *settings)
        if loop is None:
            return None
        numbers, statistics = loop.arrays_of(state)
        averaged = state.iterate.averaged
        rest = objective if not plan.precondition else replace(objective, coordinates=Coordinates())
        nothing = Iterate(np.empty(0, state.dtype), (), None, 0, 0)
        frame = replace(state, objective=rest, iterate=nothing, columns=ColumnStatistics.empty(0))
        same = frame, plan, loop, state.averaging
        return cls(*same, numbers, statistics, state.t, averaged, objective.alpha, state.past)

    def after(self, data: Data, size: int) -> tuple[Stream, Sequence[float], float] | None:
        """Return the stream after some rows, the sums over them, and the last learning rate; None if it goes wrong.

        The sums are those of the loss, the squares of the gradient and the penalty.
        """
        n_steps = -(-data[0].shape[0] // size)
        steps, memory = np.arange(self.t, self.t + n_steps), self.past.memory.get("objective")
        factors = self.plan.schedule.evaluate(steps, memory=memory)
        numbers, statistics = self.numbers.copy(), self.statistics.copy()
        arguments = numbers, statistics, *data, size, self.t, self.averaged, factors
        result = run_stream(self.loop, self.frame.objective, self.frame.optimizer, *arguments)
        if result is None:
            return None
        finite, averaged, alpha, rate, sums = result
        if not finite:
            return None
        same = self.frame, self.plan, self.loop, self.averaging
        stream = Stream(*same, numbers, statistics, self.t + n_steps, averaged, alpha, self.past)
        return stream, sums, rate

    @property
    def whole(self) -> State:
        """The same as a `State`."""
        of_numbers, of_statistics = self.loop.parts_of(self.numbers, self.statistics)
        (theta, slots, average, center, scale, *_), (columns, targets, *of_target, totals) = of_numbers, of_statistics
        rows, weight = int(totals[0]), float(totals[1])
        frame = self.frame
        coordinates = Coordinates(center, scale, *of_target) if self.plan.precondition else frame.objective.coordinates
        return replace(
            frame,
            objective=replace(frame.objective, alpha=self.alpha, coordinates=coordinates),
            iterate=Iterate(theta, tuple(slots), average if self.averaging else None, self.t, self.averaged),
            columns=ColumnStatistics(rows, weight, columns),
            targets=ColumnStatistics(rows, weight, targets) if self.loop.regression else frame.targets,
            engine=self.engine,
            past=self.past,
        )

    def __reduce__(self):
        whole = self.whole  # for a compiled loop has no pickle
        return State, tuple(getattr(whole, each.name) for each in fields(whole))

    @property
    def engine(self) -> Engine:
        """What runs the steps."""
        return "compiled"

    @property
    def optimizer(self) -> Optimizer:
        """The optimizer."""
        return self.frame.optimizer

    @property
    def objective(self) -> Objective:
        """The objective, but for its coordinates and its automatic penalty."""
        return self.frame.objective

    @property
    def dtype(self) -> np.dtype:
        """The type of the parameters."""
        return self.numbers.dtype

    def published(self) -> list[Layer]:
        """Return the layer to predict with, which the loop has looked at."""
        (*_, coef, intercept), _ = self.loop.parts_of(self.numbers, self.statistics)
        return [(coef.T, intercept.copy())]


@dataclass(frozen=True)
class Progress:
    """Where `train_epochs` stands between two epochs: from here, with the same data, it goes on to the same bits."""

    epoch: int  # of this fit
    entries: int  # of the history, which earlier calls may have begun
    iterate: Iterate
    best: float
    best_iterate: Iterate | None
    waited: int
    shuffler: Any  # the state of what draws the orders of rows
    stopped: bool = False
    past: Past = Past()


class Observer(Protocol):
    """Who is told when an epoch begins and ends, and may ask to stop."""

    def begin_epoch(self, state: State, progress: Progress) -> None:
        """Be told that an epoch begins."""

    def end_epoch(self, state: State, progress: Progress) -> bool:
        """Be told that an epoch has ended; return whether to stop."""


class DivergenceError(ValueError):
    """Training left the realm of finite numbers; the message says where, and what to do."""


# ---------------------------------------------------------------------------------------------------------------------
# Coordinates and rates
# ---------------------------------------------------------------------------------------------------------------------


def start_state(
    objective: Objective,
    optimizer: Optimizer,
    dtype: type,
    n_classes: int,
    averaging: bool,
    random_state: np.random.RandomState,
) -> State:
    """Return the state before the first row: all parameters of a linear model zero, those of a network random."""
    theta: np.ndarray = np.zeros(objective.n_parameters, dtype=dtype)
    if objective.hidden_layer_sizes:
        layers = initial_layers(objective.layer_sizes, objective.activation, random_state)
        theta = objective.join(layers, np.float64).astype(dtype)
    return State(
        objective,
        optimizer,
        initial_iterate(theta, optimizer, averaging),
        ColumnStatistics.empty(objective.n_features),
        ColumnStatistics.empty(objective.n_outputs),
        np.zeros(n_classes),
    )


def _learn(
    state: State, plan: Plan, X: Matrix, y: np.ndarray, weight: np.ndarray | None, *, stream: bool
) -> tuple[State, np.ndarray | None]:
    """Learn class totals, statistics and coordinates from new rows.

    Return the state whose model is the same in the new coordinates, and the rows' weights, their running mean one.
    """
    class_totals = state.class_totals
    if plan.class_weight is not None:
        class_totals = class_totals + np.bincount(y, weight, len(class_totals))
        weight = _with_class_weight(plan.class_weight, class_totals, y, weight)
    measure = measure_columns if stream else choose_measure(**_least_work(plan, X))
    columns, targets = state.columns.updated(X, weight, measure), state.targets
    regression = y.dtype.kind == "f"
    if regression:
        targets = targets.updated(y, weight)
    if weight is not None or columns.weight != columns.rows:  # rows without weights weigh one
        weight = (np.ones(len(y)) if weight is None else weight) / (columns.weight / columns.rows)
    state = replace(state, columns=columns, targets=targets, class_totals=class_totals)
    if plan.automatic and columns.text_like and not (regression or stream or state.iterate.t):
        optimizer = SGD()
        iterate = initial_iterate(state.iterate.theta, optimizer, plan.averaging is not None)
        state = replace(state, optimizer=optimizer, iterate=iterate)
    state = replace(state, objective=replace(state.objective, alpha=_alpha(state, plan)))
    if plan.precondition:
        fit_intercept, dtype = state.objective.fit_intercept, state.iterate.theta.dtype.type
        coordinates = Coordinates.of_columns(columns, sparse=sp.issparse(X), fit_intercept=fit_intercept, dtype=dtype)
        if regression:
            log_link = state.objective.loss.log_link
            coordinates = coordinates.with_target(targets, log_link=log_link, fit_intercept=fit_intercept)
        state = _expressed_in(state, coordinates, stream)
    unit = state.objective.unit
    if not (np.all(np.isfinite(unit)) and np.all(unit > 0.0)):
        raise ValueError(
            f"y is too large or too small for loss={state.objective.loss!r}: its unit, {unit}, cannot be represented. "
            "Rescale y."
        )
    return state, weight


def _with_class_weight(
    class_weight: np.ndarray | str, class_totals: np.ndarray, y: np.ndarray, weight: np.ndarray | None
) -> np.ndarray:
    """Return the rows' weights times those of their classes."""
    if isinstance(class_weight, str):  # "balanced"
        seen = np.where(class_totals > 0.0, class_totals, np.inf)
        by_row = (class_totals.sum() / (len(class_totals) * seen))[y]
    else:
        by_row = class_weight[y]
    return by_row if weight is None else by_row * weight


def _is_brief(state: State, plan: Plan) -> bool:
    """Say whether training is stochastic gradient descent by ``optimizer="auto"``: its few epochs regularise."""
    return plan.automatic and isinstance(state.optimizer, SGD)


def _alpha(state: State, plan: Plan) -> float:
    if not isinstance(plan.alpha, str):
        return plan.alpha
    n_classes = state.objective.n_outputs if state.objective.exclusive_classes else 1
    return 0.0 if _is_brief(state, plan) else auto_alpha(float(state.columns.filled.mean()), n_classes)


def _expressed_in(state: State, coordinates: Coordinates, stream: bool) -> State:
    """Return the state of the same model in other coordinates; an untrained one stays what it is in all of them."""
    optimizer, old, new = state.optimizer, state.objective, replace(state.objective, coordinates=coordinates)
    theta, slots, average, t, averaged = state.iterate
    if t == 0:
        return replace(state, objective=new)

    scales = (np.broadcast_to(part.coordinates.scale, new.n_features) for part in (old, new))
    kept = relearnt(*scales)[:, np.newaxis] if stream else 1.0

    def transform(theta: np.ndarray) -> np.ndarray:
        (coef, intercept), *others = old.layers(theta)
        layers = [(kept * coef, intercept), *others]
        return new.join(in_coordinates(Coordinates.moved_from, layers, coordinates, old.coordinates), theta.dtype)

    slots = optimizer.rebase(transform, theta, slots, optimizer.hyper())
    average = None if average is None else transform(average)
    return replace(state, objective=new, iterate=Iterate(transform(theta), slots, average, t, averaged))


def _base_rate(state: State, plan: Plan) -> tuple[float, np.ndarray | None]:
    """Return the rate that the schedule multiplies and, for "auto", the largest sensible one of each parameter.

    That is the reciprocal of the parameter's own curvature, Newton's step: beyond it, a parameter whose gradient is
    tiny (an intercept of centred data) would be thrown about by rules that make steps of the same size from all
    gradients.
    """
    base, longest = plan.schedule.learning_rate, None
    if isinstance(base, str):  # "auto"
        objective, curvature = state.objective, state.objective.loss.curvature
        squares = state.columns.mean_squares(objective.coordinates.center, objective.coordinates.scale)
        row_norm = float(row_norm_of(squares.sum(), objective.fit_intercept))
        n_classes = objective.n_outputs if objective.exclusive_classes and state.columns.sparse else 1
        of_data = row_norm, curvature, n_classes, state.columns.one_hot
        base = state.optimizer.auto_learning_rate(*of_data, state.optimizer.hyper())
        base /= max(len(objective.hidden_layer_sizes), 1)  # each layer's step adds to the others'
        if not objective.hidden_layer_sizes:
            by_feature = np.repeat(1.0 / (curvature * squares), objective.n_outputs)
            intercepts = np.full(objective.n_outputs, 1.0 / curvature)
            longest = objective.join([(by_feature, intercepts)], state.iterate.theta.dtype)
    return base, longest


def _rates(base: float, state: State, plan: Plan, n_steps: int, memory: Any) -> np.ndarray:
    """Return the rates of the next steps; ``memory`` is what the schedule remembers of the epochs so far."""
    steps = np.arange(state.iterate.t, state.iterate.t + n_steps)
    return base * plan.schedule.evaluate(steps, memory=memory)


# ---------------------------------------------------------------------------------------------------------------------
# Batches
# ---------------------------------------------------------------------------------------------------------------------

STREAM_BATCH_SIZE = 8
LARGEST_BATCH = 256  # that "auto" chooses, but for a few rows
LONG_EPOCH = 1000  # steps; of shorter ones, up to three have to agree that there is no progress
FULL_EPOCH = 300  # steps; a shorter epoch cannot be asked for as much progress
MANY_ROWS = 100  # for each parameter: then, one epoch may be enough


def _batch_size(state: State, plan: Plan, regression: bool) -> int:
    """Return the number of rows in a batch: all of them for None, and on small sets for "auto"."""
    columns, n_rows = state.columns, state.columns.rows
    if plan.batch_size != "auto":
        return n_rows if plan.batch_size is None else min(int(plan.batch_size), n_rows)
    if _is_brief(state, plan):
        return 1
    # All rows of a small linear regression lead to its minimum soonest. That of separable classes lies at infinity, and
    # mini-batches stop on the way. Rows of mostly zeros share few columns: averaging over many gains little.
    linear = not plan.hidden_layer_sizes
    if n_rows <= (1000 if linear and regression and not columns.sparse else 64):
        return n_rows
    return 32 if columns.sparse else min(LARGEST_BATCH, max(32, n_rows // 64))


def _least_work(plan: Plan, X: Matrix) -> dict[str, int]:
    """Return what is known of the work ahead before the columns are: at least so many epochs, steps and entries."""
    n_rows = X.shape[0]
    size = plan.batch_size or n_rows
    n_steps = n_rows // (LARGEST_BATCH if isinstance(size, str) else size)
    return {"n_epochs": min(plan.max_iter, USUAL_EPOCHS), "n_steps": n_steps, "n_entries": X.size}


def _parameters_a_row(state: State) -> float:
    """Return the number of parameters for each row: about the share of the loss by which the minimum is off the best.

    Training that gains less fits the rows' noise (Bottou and Bousquet, NIPS 2007).
    """
    objective, columns = state.objective, state.columns
    n_parameters = np.count_nonzero(columns.filled) + objective.fit_intercept
    return float(n_parameters * (objective.n_outputs if objective.exclusive_classes else 1) / columns.rows)


def _tolerance(state: State, plan: Plan, n_steps: int, validates: bool) -> float:
    """Return by which fraction of itself the objective has to fall in an epoch of so many steps."""
    tol = (plan.tol or 0.0) * min(1.0, n_steps / FULL_EPOCH)
    # An alpha of one's own asks for the minimum; in one batch of all rows, weights have to count as copies of rows do.
    exact = plan.alpha != "auto" or validates or n_steps == 1
    if exact or plan.hidden_layer_sizes or _is_brief(state, plan):
        return tol
    return tol * (1.0 + 120.0 * min(_parameters_a_row(state), 0.2))


def _may_be_enough(state: State, plan: Plan, n_steps: int, patience: int) -> bool:
    """Say whether the first epoch can be the only one: a long one, of many rows, at automatic rates."""
    automatic = isinstance(plan.schedule.learning_rate, str) and not (plan.hidden_layer_sizes or _is_brief(state, plan))
    long = n_steps >= FULL_EPOCH and patience == 1 and MANY_ROWS * _parameters_a_row(state) <= 1.0
    return automatic and long and plan.tol is not None and state.iterate.t == 0


def _patience(plan: Plan, n_steps: float, validates: bool) -> int:
    """Return how many epochs without progress end the training; short ones, and other rows' losses, say less."""
    if plan.n_iter_no_change != "auto":
        return plan.n_iter_no_change
    if plan.hidden_layer_sizes:  # networks rest on plateaus for some hundred steps
        return max(round(FULL_EPOCH / n_steps), 3 if validates else 1)
    return 3 if validates else min(max(round((LONG_EPOCH / n_steps) ** 0.5), 1), 3)


def _average_every(size: int, columns: ColumnStatistics) -> int:
    """Return how often to average: as often as each column occurs about three times; that costs less than steps."""
    if not columns.filled.any():
        return 1
    steps = 3.0 / (size * columns.filled[columns.filled > 0.0].mean())
    return int(min(max(steps, 1.0), 2.0**31))  # weights may make a column as rare as one likes


# ---------------------------------------------------------------------------------------------------------------------
# Columns that matter
# ---------------------------------------------------------------------------------------------------------------------


class _Packing:
    """The frequent columns of sparse rows first, and none without an entry, for parameters that begin at zero.

    Frequent columns then lie close together in the processor's cache, and empty ones, of hashed text, cost nothing.
    """

    def __init__(self, state: State, X: sp.csr_array):
        stored = state.columns.largest > 0.0
        if np.count_nonzero(X.data) < X.nnz:  # zeros are stored, too
            stored[X.indices] = True
        kept = np.flatnonzero(stored)
        self._kept = kept[np.argsort(-state.columns.filled[kept], kind="stable")]
        self._objective, self._columns, self._initial = state.objective, state.columns, state.optimizer.initial()
        coordinates = state.objective.coordinates.of_subset(self._kept)
        self._fewer = replace(state.objective, n_features=len(self._kept), coordinates=coordinates)

    def rows(self, X: sp.csr_array) -> sp.csr_array:
        """Return rows with fewer columns."""
        number = np.zeros(X.shape[1], dtype=X.indices.dtype)
        number[self._kept] = np.arange(len(self._kept))
        return sp.csr_array((X.data, renumbered(X, number), X.indptr), shape=(X.shape[0], len(self._kept)))

    def packed(self, state: State) -> State:
        """Return the state for fewer columns."""

        def pack(theta: np.ndarray, _: float) -> np.ndarray:
            [(coef, intercept)] = self._objective.layers(theta)
            return self._fewer.join([(coef[self._kept], intercept)], theta.dtype)

        iterate = self._each(pack, state.iterate)
        return replace(state, objective=self._fewer, columns=self._columns.of_subset(self._kept), iterate=iterate)

    def unpacked(self, state: State) -> State:
        """Return the state for all columns."""

        def unpack(theta: np.ndarray, value: float) -> np.ndarray:
            [(coef, intercept)] = self._fewer.layers(theta)
            full = np.full((self._objective.n_features, self._objective.n_outputs), value, dtype=theta.dtype)
            full[self._kept] = coef
            return self._objective.join([(full, intercept)], theta.dtype)

        iterate = self._each(unpack, state.iterate)
        return replace(state, objective=self._objective, columns=self._columns, iterate=iterate)

    def _each(self, change: Callable[[np.ndarray, float], np.ndarray], iterate: Iterate) -> Iterate:
        slots = tuple(map(change, iterate.slots, self._initial))
        average = None if iterate.average is None else change(iterate.average, 0.0)
        return iterate._replace(theta=change(iterate.theta, 0.0), slots=slots, average=average)


# ---------------------------------------------------------------------------------------------------------------------
# The loops
# ---------------------------------------------------------------------------------------------------------------------


def train_epochs(
    state: State,
    plan: Plan,
    data: Data,
    validation: Data | None,
    history: dict[str, list[float]],
    random_state: np.random.RandomState,
    resumed: Progress | None = None,
    observer: Observer | None = None,
) -> tuple[State, int]:
    """Train until the objective stops improving, at most ``plan.max_iter`` epochs; append to ``history``.

    With validation data, its loss is watched instead, and the parameters of the best epoch are kept. With ``resumed``,
    go on from there, where an earlier call with the same data ended. Return the state and the number of epochs.
    """
    X, y, weight = data
    state, weight = _learn(state, plan, X, y, weight, stream=False)
    n_rows = X.shape[0]
    brief, size = _is_brief(state, plan), _batch_size(state, plan, y.dtype.kind == "f")
    n_steps = -(-n_rows // size)
    every = _average_every(size, state.columns)
    shuffled = plan.shuffle and size < n_rows
    shuffler = _shuffler(random_state) if shuffled else None
    state.engine = choose(
        state.optimizer,
        state.objective,
        n_epochs=min(plan.max_iter, USUAL_EPOCHS),
        n_steps=n_steps,
        n_entries=X.size,
        sparse=sp.issparse(X),
    )
    patience = _patience(plan, n_steps / 8 if brief else n_steps, validation is not None)
    tol = _tolerance(state, plan, n_steps, validation is not None)
    may_be_enough = shuffled and validation is None and _may_be_enough(state, plan, n_steps, patience)
    watched_key = "objective" if validation is None else "validation_loss"
    watched = history[watched_key]
    baseline = state.objective.baseline(y, weight)
    largest = _DIVERGED * max(baseline, float(np.sum(state.objective.unit)))
    best, best_iterate, waited = _HUGE, None, 0
    epoch, done, began, t = 0, False, len(watched), state.iterate.t
    if resumed is not None:
        best, best_iterate, waited = resumed.best, resumed.best_iterate, resumed.waited
        epoch, done, began, t = resumed.epoch, resumed.stopped, began - resumed.epoch, t - resumed.epoch * n_steps
        state.iterate, state.past = resumed.iterate, resumed.past
        if shuffler is not None:
            shuffler.bit_generator.state = resumed.shuffler
        done = done or (plan.tol is not None and waited >= patience)
    packing = None
    sparse = not isinstance(X, np.ndarray) and X.nnz > 0
    if state.engine == "compiled" and sparse and laziness_of(state.optimizer) == "rest" and t == 0:
        packing = _Packing(state, X)
        state, X = packing.packed(state), packing.rows(X)
    base, longest = _base_rate(state, plan)

    def whole(state: State) -> State:
        return state if packing is None else packing.unpacked(state)

    def progress() -> Progress:
        now = None if shuffler is None else shuffler.bit_generator.state
        return Progress(epoch, len(watched), whole(state).iterate, best, best_iterate, waited, now, past=state.past)

    try:
        while epoch < plan.max_iter and not done:
            if observer is not None:
                observer.begin_epoch(whole(state), progress())
            epoch += 1
            started = time.perf_counter()
            order = np.arange(n_rows) if shuffler is None else shuffler.permutation(n_rows)
            rates = _rates(base, state, plan, n_steps, state.past.memory.get(watched_key))
            summary = _run(state, plan, (X, y, weight), order, size, rates, longest, every, f"epoch {epoch}")
            if summary.loss > largest:
                where = f"epoch {epoch} at step {state.iterate.t} (learning rate {rates[-1]:.3g})"
                raise _divergence(plan, where, "exploded")
            validated = (np.nan, np.nan)
            if validation is not None:
                shown = whole(state)
                validated = validation_loss(shown, plan, validation), validation_score(shown, validation)
                if not np.isfinite(validated[0]):
                    raise ValueError(f"The loss of X_val and y_val is {validated[0]}: their numbers are too large.")
            entry = _entry(summary, rates[-1], validated, started)
            append(history, entry)
            state.past = state.past.followed_by(entry, plan.schedule)
            if plan.verbose:
                _print(state.past.epochs, entry, header=epoch == 1 or len(watched) == began + 1)
            fall = best - watched[-1]
            if epoch == 1 and may_be_enough:
                fall = _fall_since_middle(state, (X, y, weight), order, size, summary)
            falling = fall > tol * _scale_of(min(best, watched[-1]), baseline)
            if brief and validation is None:
                falling = falling and _falls_within(summary.losses, baseline, plan.tol or 0.0)
            waited = 0 if falling else waited + 1
            if watched[-1] < best:
                best, best_iterate = watched[-1], None if validation is None else whole(state).iterate
            done = plan.tol is not None and waited >= patience
            if observer is not None and observer.end_epoch(whole(state), progress()):
                done = True
        if not done and plan.tol is not None and waited == 0:
            _warn_unless_converged(watched, baseline, plan.max_iter)
    except KeyboardInterrupt:
        shortest = min(map(len, history.values()))
        for values in history.values():
            del values[shortest:]
        _warn_interrupted(f"epoch {epoch}", stacklevel=6)
    state = whole(state)
    if best_iterate is not None:
        state.iterate = best_iterate
    return state, len(watched) - began


def _fall_since_middle(state: State, data: Data, order: np.ndarray, size: int, summary: EpochSummary) -> float:
    """Return by how much the loss of some rows in the middle of an epoch has fallen since their steps.

    The next epoch will gain less. What the whole epoch gained does not tell, for it began with an untrained model.
    """
    X, y, weight = data
    n_steps = len(summary.losses)
    count = max(min(-(-(2**13) // size), n_steps // 4), 1)
    first = (n_steps - count) // 2
    rows = order[first * size : (first + count) * size]
    total = len(rows) if weight is None else weight[rows].sum()
    if not total > 0.0:  # classes may weigh nothing
        return math.inf
    then = summary.losses[first : first + count].sum() / total
    return float(then - state.objective.mean_loss(state.iterate.theta, X, y, weight, rows))


def _falls_within(losses: np.ndarray, baseline: float, tol: float) -> bool:
    """Say whether the loss still falls from the third quarter of an epoch to the last one, and is not all but gone.

    In a first epoch, that is the loss of rows not seen before: where it has come to rest, more epochs would learn the
    rows by heart (progressive validation: Blum, Kalai and Langford, COLT 1999). No row counts for more than untrained.
    """
    quarter, losses = max(len(losses) // 4, 1), np.minimum(losses, baseline)
    last, third = losses[-quarter:].mean(), losses[-2 * quarter : -quarter].mean()
    return last < (1.0 - 12.0 * tol) * third and last > 5.0 * tol * baseline


def validation_loss(state: State, plan: Plan, validation: Data) -> float:
    """Return the mean loss of a validation set, with the class weights that training has learnt."""
    X, y, weight = validation
    if plan.class_weight is not None:
        weight = _with_class_weight(plan.class_weight, state.class_totals, y, weight)
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


def _warn_unless_converged(watched: Sequence[float], baseline: float, max_iter: int) -> None:
    """Warn where the objective was still falling fast in the last tenth of the epochs."""
    before = len(watched) - 1 - max(max_iter // 10, 1)
    fall = (watched[before] if before >= 0 and watched[before] == watched[before] else baseline) - watched[-1]
    if fall > 0.1 * _scale_of(watched[-1], baseline):
        warnings.warn(
            f"The objective was still falling fast after max_iter={max_iter} epochs: by {fall:.3g} to "
            f"{watched[-1]:.3g} in the last tenth of them. Increase max_iter, raise learning_rate, or set tol=None if "
            "this number of epochs is what you want.",
            ConvergenceWarning,
            stacklevel=6,
        )


def _scale_of(objective: float, baseline: float) -> float:
    """Return what a fall of the objective is relative to: itself, and a little of the untrained model's loss.

    Without the latter, a model that fits perfectly would never be done.
    """
    return abs(objective) + 0.03 * baseline


def train_stream(state: State | Stream, plan: Plan, data: Data) -> tuple[State | Stream, dict[str, float]]:
    """Take one step for each batch of rows, in the given order, learning the coordinates on the way.

    Return the state and this call's entry of the history. An interrupt is passed on, unlike that of ``fit``: a loop
    over a stream is to end by Ctrl-C, and knows which of its batches were learnt.
    """
    X, y, weight = data
    n_rows = X.shape[0]
    size = n_rows if plan.batch_size is None else STREAM_BATCH_SIZE if plan.batch_size == "auto" else plan.batch_size
    started = time.perf_counter()
    sums: Any = None  # over the rows: loss, squares of the layers' gradients, penalty
    rate, start, failed = np.nan, 0, False
    past = state.past

    def rows(stop: int) -> Data:
        if stop - start == n_rows:
            return data
        return X[start:stop], y[start:stop], None if weight is None else weight[start:stop]

    while start < n_rows:
        stream = None if failed else Stream.of(state, plan, X, y)
        taken: Any = None if stream is None else stream.after(rows(n_rows), size)
        stop = n_rows
        if taken is None:
            failed = stream is not None  # a single batch says why
            stop = min(start + size, n_rows)
            taken = _take_batch(state.whole, plan, rows(stop))
        state, part, rate = taken
        sums = part if sums is None else [*map(add, sums, part)]
        start = stop
    loss, *squares, penalty = (total / n_rows for total in sums)
    summary = EpochSummary(loss, penalty, squares, n_rows, np.empty(0))
    entry = _entry(summary, rate, (np.nan, np.nan), started)
    state.past = past.followed_by(entry, plan.schedule)
    if plan.verbose:
        _print(state.past.epochs, entry, header=not past.epochs)
    return state, entry


class Walk:
    """The steps of ``fit``, one by one, for those who look at each: its coordinates, its batches and its rates.

    ``data`` are X, y, and the weights of the rows with those of their classes.
    """

    @np.errstate(all="ignore")
    def __init__(self, state: State, plan: Plan, data: Data, random_state: np.random.RandomState):
        X, y, weight = data
        self.state, weight = _learn(state, plan, X, y, weight, stream=False)
        self.data: Data = (X, y, weight)
        self._plan = plan
        size = _batch_size(self.state, plan, y.dtype.kind == "f")
        shuffler = _shuffler(random_state) if plan.shuffle and size < len(y) else None
        self._batches = _batches(len(y), size, shuffler)

    @property
    @np.errstate(all="ignore")
    def automatic_rate(self) -> float:
        """The rate that ``learning_rate="auto"`` begins with."""
        return float(_base_rate(self.state, replace(self._plan, schedule=Constant()))[0])

    def move_to(self, layers: list[Layer]) -> None:
        """Go on from these layers, in the user's units."""
        theta = self.state.objective.from_user(layers, self.state.iterate.theta.dtype)
        self.state.iterate = initial_iterate(theta, self.state.optimizer, self._plan.averaging is not None)

    @np.errstate(all="ignore")
    def step(self, rate: float | None = None) -> State:
        """Take the next step, at the plan's rate or another, and return the state after it."""
        rates, longest = np.array([rate]), None
        if rate is None:
            base, longest = _base_rate(self.state, self._plan)
            rates = _rates(base, self.state, self._plan, 1, None)
        rows = next(self._batches)
        where = f"step {self.state.iterate.t + 1}"
        _run(self.state, self._plan, self.data, rows, len(rows), rates, longest, 1, where)
        return self.state


def _shuffler(random_state: np.random.RandomState) -> np.random.Generator:
    """Return what draws the orders of rows: in half the time, where there are many."""
    return np.random.Generator(np.random.PCG64(random_state.randint(2**32, size=4, dtype=np.uint32)))


def _batches(n_rows: int, size: int, shuffler: np.random.Generator | None) -> Iterator[np.ndarray]:
    while True:
        order = np.arange(n_rows) if shuffler is None else shuffler.permutation(n_rows)
        yield from (order[start : start + size] for start in range(0, n_rows, size))


def _take_batch(state: State, plan: Plan, data: Data) -> tuple[State, Any, float]:
    """Learn from a batch and take a step; return the state, the sums over the rows, and the learning rate."""
    X, y, weight = data
    state, weight = _learn(state, plan, X, y, weight, stream=True)
    base, longest = _base_rate(state, plan)
    rates = _rates(base, state, plan, 1, state.past.memory.get("objective"))
    order = np.arange(X.shape[0])
    summary = _run(state, plan, (X, y, weight), order, len(order), rates, longest, 1, "partial_fit")
    means = (summary.loss, *summary.squared_norms, summary.penalty)
    return state, [summary.rows * mean for mean in means], float(rates[0])


def _run(
    state: State,
    plan: Plan,
    data: Data,
    order: np.ndarray,
    size: int,
    rates: np.ndarray,
    longest: np.ndarray | None,
    every: int,
    where: str,
) -> EpochSummary:
    """Run one epoch, turning numbers that are no longer finite into a `DivergenceError`."""
    if state.optimizer.weight_decay * rates.max() >= 1.0:
        raise ValueError(
            f"weight_decay={state.optimizer.weight_decay!r} at the learning rate {rates.max():.3g} would turn "
            "coefficients round. Lower one of them, so that their product is below 1."
        )
    try:
        arguments = (state.objective, state.optimizer, plan.settings(every), state, *data, order, size, rates, longest)
        summary, state.engine = run_epoch(state.engine, *arguments)
        return summary
    except FloatingPointError as error:
        raise _divergence(plan, f"{where} {error}", "is no longer finite") from None


def _divergence(plan: Plan, where: str, what: str) -> DivergenceError:
    remedies = ["Lower learning_rate"]
    if plan.schedule.learning_rate != "auto":
        remedies.append("use learning_rate='auto'")
    if not plan.precondition:
        remedies.append("use precondition=True")
    advice = ", or ".join(remedies)
    return DivergenceError(
        f"Training diverged in {where}: the objective {what}. {advice}. The estimator is as it was before."
    )


def _warn_interrupted(where: str, stacklevel: int) -> None:
    message = f"Training was interrupted in {where}; the model keeps what it has learnt so far."
    warnings.warn(message, UserWarning, stacklevel=stacklevel)


def _entry(summary: EpochSummary, rate: float, validated: tuple[float, float], started: float) -> dict[str, float]:
    """Return one epoch's entry of the history; ``validated`` are the loss and the score of the validation set."""
    values = (
        summary.loss + summary.penalty,
        summary.loss,
        math.sqrt(sum(summary.squared_norms)),
        float(rate),
        *validated,
        time.perf_counter() - started,
    )
    by_layer = [math.sqrt(square) for square in summary.squared_norms] if len(summary.squared_norms) > 1 else []
    return dict(zip(history_keys(len(by_layer)), (*values, *by_layer), strict=True))


def append(history: dict[str, list[float]], entry: dict[str, float]) -> None:
    """Add one epoch's entry to the history."""
    for key, value in entry.items():
        history[key].append(value)


def _print(epoch: int, entry: dict[str, float], header: bool) -> None:
    """Print an epoch's entry as a line of a table, without the columns of a validation set where there is none."""
    shown = {key: value for key, value in entry.items() if value == value}
    if header:
        print("epoch" + "".join(f"  {key:>{_width(key)}}" for key in shown))
    print(f"{epoch:>5d}" + "".join(f"  {value:>{_width(key)}.4g}" for key, value in shown.items()))


def _width(key: str) -> int:
    """Return the width of a column: that of its title, or of the longest number with four digits, -1.234e-100."""
    return max(len(key), 11)
