"""What ``fit`` and ``partial_fit`` do alike: learn coordinates from rows, and take steps at the schedule's rates."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from skgd.automatic import alpha_for, base_rate, batch_size, least_work, optimizer_for, penalizes_standardized
from skgd.combinations import Combinations
from skgd.constant import begun_at_constant, best_constant, has_linear_tails, is_robust, without_outlying_targets
from skgd.coordinates import (
    ColumnStatistics,
    Coordinates,
    begun_scale,
    kept_target,
    newton_coordinates,
    relearned,
    rescaling,
)
from skgd.decorrelation import combined
from skgd.engines import Engine, EpochSummary, choose_measure, choose_squares, initial_iterate, run_epoch
from skgd.measuring import Matrix, measure_columns
from skgd.networks import Layer
from skgd.objective import Objective, in_coordinates
from skgd.optimizers import Optimizer
from skgd.outliers import (
    may_be_outlying,
    squares_of_rows,
    weights_of_rows,
    without_outliers,
    without_outlying_values,
)
from skgd.plan import Plan
from skgd.running import REACH, REACH_OF_TARGETS, learned, memory_of
from skgd.schedules import Constant
from skgd.state import Data, State
from skgd.strategy import plain_repr

# ---------------------------------------------------------------------------------------------------------------------
# Coordinates
# ---------------------------------------------------------------------------------------------------------------------


def learn(
    state: State,
    plan: Plan,
    data: Data,
    *,
    stream: bool,
    newton: int = 0,
    scale: np.ndarray | None = None,
    measured: ColumnStatistics | None = None,
) -> tuple[State, Data]:
    """Learn class totals, statistics and coordinates from new samples.

    Return the state whose model is the same in the new coordinates, and the samples with weights, their running mean
    one. For Newton's steps, which no scale hinders or helps, all features are standardized alike, but for indicators
    (`newton_coordinates`); ``newton`` is the number of samples whose Hessian they take. ``scale``, where it is given,
    takes the place of the features' own, and ``measured`` of their statistics.
    """
    X, y, weight = data
    before, regression = state, y.dtype.kind == "f"
    class_totals = state.class_totals
    if plan.class_weight is not None:
        class_totals = class_totals + np.bincount(y, weight, len(class_totals))
        weight = plan.row_weights(y, weight, class_totals)
    if weight is not None:
        check_total(weight.sum(), state.columns.weight)
    columns, targets, robust, counted = measured, state.targets, is_robust(state.objective, y), X
    if columns is None and stream:
        columns, counted = learned(state.columns, X, weight, REACH, bounded=robust)
    elif columns is None:
        measure = measure_columns if newton else choose_measure(**least_work(plan, X))
        columns = state.columns.updated(X, weight, measure, exact=True)
    if not stream and not newton:
        columns = usual_in_steps(columns, plan, X, weight, robust=robust)
    if regression and stream:
        targets, _ = learned(targets, y, weight, REACH_OF_TARGETS, bounded=robust)
    elif regression:
        targets = targets.updated(y, weight)
    given_weight = weight
    if weight is not None or columns.weight != columns.rows:  # samples without weights weigh one
        weight = (np.ones(len(y)) if weight is None else weight) / (columns.weight / columns.rows)
    state = replace(state, columns=columns, targets=targets, class_totals=class_totals)
    if not (stream or state.t):
        state = with_optimizer(state, optimizer_for(state, plan, regression=regression))
    state, combinations = with_penalty(state, plan), None
    if newton == X.shape[0] and penalizes_standardized(state, plan, regression=regression):
        usual = without_outlying_values(X, given_weight, columns.measures)
        state = replace(state, columns=replace(columns, usual=usual))
    if stream:
        state, combinations = combined(state, plan, X, counted, given_weight, bounded=robust)
    state = with_coordinates(
        state,
        plan,
        (y, weight),
        stream=stream,
        newton=newton > 0,
        sparse=sp.issparse(X),
        scale=scale,
        combinations=combinations,
        before=before,
    )
    if robust and not newton:
        weight = without_outlying_rows(state, plan, (X, y, weight), stream=stream, measured=not stream)
    return state, (X, y, weight)


def usual_in_steps(
    columns: ColumnStatistics, plan: Plan, X: Matrix, weight: np.ndarray | None, *, robust: bool
) -> ColumnStatistics:
    """Return the statistics with what they are without outliers, by the samples of mini-batches, or some of them."""
    closer = robust and discounts_outliers(plan)
    if sp.issparse(X):
        return replace(columns, usual=without_outliers(X, weight, columns.measures, closer=closer))
    if not robust:
        return columns
    usual = without_outlying_values(X, weight, columns.measures, sampled=True, closer=closer)
    return replace(columns, usual=usual)


def without_outlying_rows(state: State, plan: Plan, data: Data, *, stream: bool, measured: bool) -> np.ndarray | None:
    """Return the weights of rows in steps where outliers have no say: less for those far from all others.

    Where all of them are ``measured`` in the statistics, the largest values may say that there are none.
    """
    X, _, weight = data
    if not (discounts_outliers(plan) or (stream and plan.precondition)):
        return weight
    inputs, coordinates = state.combined or state.columns, state.objective.coordinates
    fit_intercept = state.objective.fit_intercept
    if measured and not may_be_outlying(inputs, coordinates, fit_intercept):  # which saves to look at each sample
        return weight
    rows, square = (X.astype(np.float64), squares_of_rows) if stream else (X, choose_squares(**least_work(plan, X)))
    counts = weights_of_rows(square(rows, coordinates), inputs, coordinates, fit_intercept)
    if counts is None:
        return weight
    return counts if weight is None else counts * weight


def discounts_outliers(plan: Plan) -> bool:
    """Say whether outlying samples count less in steps of ``fit``: where training does not look for the minimum."""
    return plan.precondition and plan.tol == plan.alpha == "auto"


def with_penalty(state: State, plan: Plan) -> State:
    """Return the state with the strength of the penalty, given or by the rule for ``alpha="auto"``."""
    alpha, automatic = alpha_for(state, plan), isinstance(plan.alpha, str)
    return replace(state, objective=replace(state.objective, alpha=alpha, standardized_penalty=automatic))


def with_coordinates(
    state: State,
    plan: Plan,
    targets: tuple[np.ndarray, np.ndarray | None],
    *,
    stream: bool,
    newton: bool,
    sparse: bool,
    scale: np.ndarray | None = None,
    combinations: Combinations | None = None,
    before: State | None = None,
) -> State:
    """Return the state of the same model in the coordinates that follow from its statistics.

    ``targets`` are y and the weights of its rows, whose median takes the place of the mean where outliers own that. The
    state ``before`` has the statistics without these rows.
    """
    objective, fit_intercept, dtype = state.objective, state.objective.fit_intercept, state.dtype.type
    coordinates, (y, weight) = Coordinates(), targets
    if plan.precondition:
        inputs = state.combined or state.columns
        of_data: dict[str, Any] = {"sparse": sparse, "fit_intercept": fit_intercept, "dtype": dtype}
        coordinates_of = newton_coordinates if newton else None
        coordinates = Coordinates.of_columns(inputs, **of_data, coordinates_of=coordinates_of)
        coordinates = replace(coordinates, combinations=combinations)
    if scale is not None:
        center = np.zeros_like(scale, dtype=dtype) if coordinates.centered else 0.0
        coordinates = replace(coordinates, center=center, scale=scale.astype(dtype))
    if y.dtype.kind == "f" and (plan.precondition or objective.loss.standardized):
        coordinates = coordinates.with_target(
            state.targets, log_link=objective.loss.log_link, fit_intercept=fit_intercept
        )
        if not stream and fit_intercept and has_linear_tails(objective):
            coordinates = without_outlying_targets(coordinates, y, weight)
    state = _expressed_in(state, coordinates, stream, before or state)
    unit = state.objective.unit
    if not (np.all(np.isfinite(unit)) and np.all(unit > 0.0)):
        raise without_unit(state.objective)
    return state


def without_unit(objective: Objective) -> ValueError:
    """Return the error that says that numbers do not reach as far as the targets."""
    return ValueError(
        f"y is too large or too small for loss={plain_repr(objective.loss)}: its unit, {plain_repr(objective.unit)}, "
        "cannot be represented. Rescale y."
    )


def check_total(new: float, before: float) -> None:
    """Refuse weights whose sum is no number above 0; in a stream, earlier samples' are part of it."""
    if not (new > 0.0 and before + new < np.inf):
        what = "small" if new == 0.0 else "large"
        raise ValueError(
            f"sample_weight is too {what}, or the class weights that multiply it: their sum is {new:g} over these "
            f"samples, and {before:g} over earlier ones. Only the ratios of weights matter: divide all of them by the "
            "same number."
        )


def with_optimizer(state: State, optimizer: Optimizer) -> State:
    """Return a state before its first step with an optimizer, perhaps another."""
    if optimizer is state.optimizer:
        return state
    iterate = initial_iterate(state.iterate.theta, optimizer, state.averaging)
    return replace(state, optimizer=optimizer, iterate=iterate)


def _expressed_in(state: State, coordinates: Coordinates, stream: bool, before: State) -> State:
    """Return the state of the same model in other coordinates; an untrained one stays what it is in all of them.

    Coefficients of features that had no value but zero ``before``, and so no unit, are taken to be in that of the
    largest value now.
    """
    optimizer, old, new = state.optimizer, state.objective, replace(state.objective, coordinates=coordinates)
    theta, slots, average, *_ = state.iterate
    if state.t == 0:
        state = replace(state, objective=new)
        return state if stream or not new.hidden_layer_sizes else state.without(state.columns.largest == 0.0)

    if stream and not isinstance(coordinates.target_scale, float):
        of_old, of_new = ((part.target_center, part.target_scale) for part in (old.coordinates, coordinates))
        center, scale = kept_target(of_old, of_new, before.targets.largest, state.targets.largest)
        old = replace(old, coordinates=replace(old.coordinates, target_center=center, target_scale=scale))
    recombined = coordinates.combinations is not old.coordinates.combinations
    if stream and not (recombined or isinstance(coordinates.scale, float)):
        largest = ((part.combined or part.columns).largest for part in (before, state))
        scale = begun_scale(old.coordinates.scale, *largest)
        old = replace(old, coordinates=replace(old.coordinates, scale=scale))
    old_scale, scale = (np.broadcast_to(part.coordinates.scale, new.n_features) for part in (old, new))
    kept: Any = 1.0
    if stream and not recombined:
        coded = memory_of(state.combined or state.columns)[8] == np.inf
        kept = relearned(old_scale, scale, True, coded)[:, np.newaxis]
    if recombined:
        slots = _slots_anew(slots, optimizer, new)

    def transform(theta: np.ndarray) -> np.ndarray:
        (coef, intercept), *others = old.layers(theta)
        layers = [(kept * coef, intercept), *others]
        return new.join(in_coordinates(Coordinates.moved_from, layers, coordinates, old.coordinates), theta.dtype)

    slots = optimizer.rebase(transform, theta, slots, optimizer.hyper())
    if stream and not recombined and type(optimizer).rescaled is not Optimizer.rescaled:
        ratio = np.ones(new.n_parameters)
        new.layers(ratio)[0][0][:] = rescaling(old_scale, scale)[:, np.newaxis]
        slots = tuple(slot.astype(theta.dtype) for slot in optimizer.rescaled(ratio, slots, optimizer.hyper()))
    average = None if average is None else transform(average)
    return replace(
        state, objective=new, iterate=state.iterate._replace(theta=transform(theta), slots=slots, average=average)
    )


def _slots_anew(slots: tuple[np.ndarray, ...], optimizer: Optimizer, objective: Objective) -> tuple[np.ndarray, ...]:
    """Return the slots for other combinations of the columns, all of about the same curvature.

    Sizes of gradients are about the same in all of them then. Directions are reset.
    """

    def anew(name: str, slot: np.ndarray, start: float) -> np.ndarray:
        [(coef, intercept)] = objective.layers(slot)
        if name in optimizer.sizes:
            seen = np.count_nonzero(coef, axis=0)
            start = coef.sum(axis=0) / np.maximum(seen, 1)
        return objective.join([(np.full_like(coef, start), intercept)], slot.dtype)

    return tuple(map(anew, optimizer.slots, slots, optimizer.initial()))


# ---------------------------------------------------------------------------------------------------------------------
# Steps
# ---------------------------------------------------------------------------------------------------------------------


class DivergenceError(ValueError):
    """Training left the realm of finite numbers; the message says where, and what to do."""


class Batches(NamedTuple):
    """Samples with their weights, the order they are taken in, and the number of samples in a batch."""

    X: Matrix
    y: np.ndarray
    weight: np.ndarray | None
    order: np.ndarray
    size: int


def rates_of(base: float, state: State, plan: Plan, n_steps: int, memory: Any) -> np.ndarray:
    """Return the rates of the next steps; ``memory`` is what the schedule remembers of the epochs so far."""
    steps = np.arange(state.iterate.t, state.iterate.t + n_steps)
    return base * plan.schedule.evaluate(steps, memory=memory)


def run(
    state: State, plan: Plan, batches: Batches, rates: np.ndarray, longest: np.ndarray | None, every: int, where: str
) -> EpochSummary:
    """Take the steps of an epoch, turning numbers that are no longer finite into a `DivergenceError`."""
    if state.optimizer.weight_decay * rates.max() >= 1.0:
        raise ValueError(
            f"weight_decay={plain_repr(state.optimizer.weight_decay)} at the learning rate {rates.max():.3g} would "
            "change the sign of the coefficients. Decrease one of them, so that their product is below 1."
        )
    apart = state.combined is not None or state.iterate.slopes is not None
    engine: Engine = "vectorized" if apart else state.engine
    try:
        arguments = (
            state.objective,
            state.optimizer,
            plan.settings(every, comparing=state.comparing),
            state,
            *batches,
            rates,
            longest,
        )
        summary, state.engine = run_epoch(engine, *arguments)
        return summary
    except FloatingPointError as error:
        raise divergence(plan, f"{where} {error}", "is not finite") from None


def divergence(plan: Plan, where: str, what: str) -> DivergenceError:
    """Return the error that says where training diverged, and what to do."""
    remedies = ["Decrease learning_rate"]
    if plan.schedule.learning_rate != "auto":
        remedies.append("use learning_rate='auto'")
    if not plan.precondition:
        remedies.append("use precondition=True")
    advice = ", or ".join(remedies)
    return DivergenceError(f"Training diverged in {where}: the objective {what}. {advice}. The estimator is unchanged.")


# ---------------------------------------------------------------------------------------------------------------------
# Orders of samples
# ---------------------------------------------------------------------------------------------------------------------


class Orders:
    """The order of the samples in each epoch: shuffled where it makes a difference and is wanted, else as they come."""

    def __init__(self, plan: Plan, n_rows: int, size: int, random_state: np.random.RandomState):
        self._n_rows = n_rows
        self._shuffler: np.random.Generator | None = None
        if plan.shuffle and size < n_rows:  # in half the time of a RandomState, where samples are many
            seed = random_state.randint(2**32, size=4, dtype=np.uint32)
            self._shuffler = np.random.Generator(np.random.PCG64(seed))

    def draw(self) -> np.ndarray:
        """Return the order of the next epoch."""
        return np.arange(self._n_rows) if self._shuffler is None else self._shuffler.permutation(self._n_rows)

    @property
    def shuffled(self) -> bool:
        """Whether each epoch has an order of its own."""
        return self._shuffler is not None

    @property
    def state(self) -> Any:
        """What the next orders depend on, for another call to go on from."""
        return None if self._shuffler is None else self._shuffler.bit_generator.state

    @state.setter
    def state(self, state: Any) -> None:
        if self._shuffler is not None:
            self._shuffler.bit_generator.state = state


def _batches(orders: Orders, size: int) -> Iterator[np.ndarray]:
    while True:
        order = orders.draw()
        yield from (order[start : start + size] for start in range(0, len(order), size))


class Walk:
    """The steps of ``fit``, one by one, for those who look at each: its coordinates, its batches and its rates.

    ``data`` are X, y, and the weights of the samples with those of their classes.
    """

    @np.errstate(all="ignore")
    def __init__(self, state: State, plan: Plan, data: Data, random_state: np.random.RandomState):
        state, self.data = learn(state, plan, data, stream=False)
        _, y, weight = self.data
        self.state, self._plan = begun_at_constant(state, plan, best_constant(state, y, weight)), plan
        size = batch_size(self.state, plan, regression=y.dtype.kind == "f")
        self._batches = _batches(Orders(plan, len(y), size, random_state), size)

    @property
    @np.errstate(all="ignore")
    def automatic_rate(self) -> float:
        """The rate that ``learning_rate="auto"`` begins with."""
        return float(base_rate(self.state, replace(self._plan, schedule=Constant()))[0])

    def move_to(self, layers: list[Layer]) -> None:
        """Go on from these layers, in the user's units."""
        theta = self.state.objective.from_user(layers, self.state.iterate.theta.dtype)
        self.state.iterate = initial_iterate(theta, self.state.optimizer, self.state.averaging)

    @np.errstate(all="ignore")
    def step(self, rate: float | None = None) -> State:
        """Take the next step, at the plan's rate or another, and return the state after it."""
        rates, longest = np.array([rate]), None
        if rate is None:
            base, longest = base_rate(self.state, self._plan)
            rates = rates_of(base, self.state, self._plan, 1, None)
        rows = next(self._batches)
        where = f"step {self.state.iterate.t + 1}"
        run(self.state, self._plan, Batches(*self.data, rows, len(rows)), rates, longest, 1, where)
        return self.state
