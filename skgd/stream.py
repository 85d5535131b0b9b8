"""The loop of ``partial_fit``: one pass over samples in the given order, in coordinates learned on the way."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from operator import add
from typing import Any, ClassVar, TypeAlias

import numpy as np

from skgd.automatic import (
    base_rate,
    compares_average,
    has_chosen_sgd,
    is_wide,
    stream_batch_size,
    without_weight_decay,
)
from skgd.constant import is_robust
from skgd.coordinates import ColumnStatistics, Coordinates
from skgd.decorrelation import follows_correlations, no_moments, stride_of
from skgd.engines import Engine, Iterate, choose_stream, stream_loop, unless_beyond_numba
from skgd.engines.vectorized import clear_subnormal, is_to_clear
from skgd.history import entry_from, print_entry
from skgd.lazy_stream import LazyStream
from skgd.measuring import Matrix
from skgd.networks import Layer
from skgd.objective import Objective
from skgd.optimizers import Optimizer
from skgd.plan import Plan
from skgd.schedules import Constant
from skgd.state import Data, Past, State
from skgd.steps import Batches, learn, rates_of, run
from skgd.validation import canonical
from skgd.wide import WideStream

# What training goes on from: what ``fit`` leaves, or a stream.
AnyState: TypeAlias = "State | Stream | LazyStream | WideStream"


def train_stream(state: AnyState, plan: Plan, data: Data) -> tuple[AnyState, dict[str, float]]:
    """Take one step for each batch of rows, in the given order, learning the coordinates on the way.

    Return the state and this call's entry of the history. An interrupt is passed on, unlike that of ``fit``: a loop
    over a stream is to end by Ctrl-C, and knows which of its batches were learned.
    """
    X, y, _ = data
    started = time.perf_counter()
    if plan.optimizer is None and state.optimizer.weight_decay:  # by default, that of an earlier fit
        state = replace(state.whole, optimizer=without_weight_decay(state.optimizer))
    sums: Sequence[float]
    goes_on = type(state) is WideStream and state.plan is plan and type(X) is not np.ndarray
    if goes_on or is_wide(state, plan, X):
        state, sums, rate = WideStream.of(state, plan, y.dtype.kind == "f").after(data)
    else:
        state, sums, rate = _in_batches(state, plan, data)
    return state, _entry_of_call(state, plan, sums, len(y), rate, started)


def go_on(
    stream: Stream | LazyStream | WideStream, plan: Plan, data: Data
) -> tuple[Stream | LazyStream | WideStream, dict[str, float]] | None:
    """Return the same for samples with which a stream goes on as before, or None where `train_stream` is to do it."""
    started = time.perf_counter()
    taken = stream.continued(data)
    if taken is None:
        return None
    stream, sums, rate = taken
    return stream, _entry_of_call(stream, plan, sums, len(data[1]), rate, started)


def _entry_of_call(
    state: AnyState,
    plan: Plan,
    sums: Sequence[float],
    n_rows: int,
    rate: float,
    started: float,
) -> dict[str, float]:
    """Return the entry of a call in the history, after the state that the call has come to has taken note of it."""
    loss, *squares, penalty, progress = sums if n_rows == 1 else [total / n_rows for total in sums]
    entry = entry_from(loss, penalty, squares, rate, started)
    watched, past = entry["objective"] if state.objective.one_problem else progress, state.past
    state.past = past.followed_by({"objective": watched}, plan.schedule)
    if plan.verbose:
        print_entry(state.past.epochs, entry, header=not past.epochs)
    return entry


def _in_batches(state: AnyState, plan: Plan, data: Data) -> tuple[State | Stream | LazyStream, Sequence[float], float]:
    """Return the state after some rows, the sums over them, and the last rate.

    The sums are those of the loss, the squares of the layers' gradients, the penalty, and both by their worth.
    """
    X, y, weight = data = canonical(data[0]), *data[1:]
    n_rows = X.shape[0]
    size = stream_batch_size(plan, X)
    if not (isinstance(state, (Stream, LazyStream)) and state.plan is plan):
        state = _compared(state.whole, plan)
    sums: Any = None
    rate, start, failed = np.nan, 0, False
    now: Any = state

    def rows(stop: int) -> Data:
        if stop - start == n_rows:
            return data
        return X[start:stop], y[start:stop], None if weight is None else weight[start:stop]

    while start < n_rows:
        stream: Any = None if failed else LazyStream.of(now, plan, X, y) or Stream.of(now, plan, X, y)
        stop = start if stream is None else start + stream.rows_to_go(n_rows - start, size)
        taken: Any = None if stream is None or stop == start else stream.after(rows(stop), size)
        if stream is not None and taken is not None:
            stop = start + taken[0].rows - stream.rows
        else:
            failed = stop > start  # a single batch says why
            stop = min(start + size, n_rows)
            whole = now.whole
            if stream is not None or whole is not now:  # another compiled loop, for one batch, is not worth it
                whole = replace(whole, engine="vectorized")
            taken = _take_batch(whole, plan, rows(stop))
            if stream is not None and not failed:  # which looked at correlations: the stream goes on as it was
                taken[0].engine = stream.engine
        now, part, rate = taken
        sums = part if sums is None else [*map(add, sums, part)]
        start = stop
    return now, sums, rate


def _compared(state: State, plan: Plan) -> State:
    """Return the state that compares an average with the last iterate from now on, where this is the rule."""
    if state.iterate.slopes is not None or not compares_average(plan, state.optimizer, state.objective):
        return state
    average = state.iterate.theta if state.iterate.average is None else state.iterate.average
    return replace(state, iterate=state.iterate._replace(average=average, slopes=(0.0, 0.0)))


def _take_batch(state: State, plan: Plan, data: Data) -> tuple[State, Any, float]:
    """Learn from a batch and take a step; return the state, the sums over the rows, and the learning rate."""
    state, data = learn(state, plan, data, stream=True)
    base, longest = base_rate(state, plan, stream=True)
    rates = rates_of(base, state, plan, 1, state.past.memory.get("objective"))
    order = np.arange(len(data[1]))
    summary = run(state, plan, Batches(*data, order, len(order)), rates, longest, 1, "partial_fit")
    means = (summary.loss, *summary.squared_norms, summary.penalty, summary.progress)
    return state, [summary.rows * mean for mean in means], float(rates[0])


@dataclass(eq=False)
class Stream:
    """A state between compiled steps: two arrays hold what they change, so that a call has little else to copy."""

    engine: ClassVar[Engine] = "compiled"
    is_at_hand: ClassVar[bool] = True  # what samples like the last ones need
    objective: Objective  # but for what is below: its coordinates and its automatic penalty
    optimizer: Optimizer
    targets: ColumnStatistics  # but for what is below, in a regression
    class_totals: np.ndarray
    plan: Plan
    loop: Any
    averaging: bool
    comparing: bool
    numbers: np.ndarray
    statistics: np.ndarray
    t: int
    averaged: int
    alpha: float
    past: Past
    idle: dict[int, np.ndarray]  # slots of the optimizer that the loop leaves alone
    rows: int = 0  # in the co-moments, if there are any
    due: int = 0  # how many are in them when correlations are looked at next

    @property
    def on_demand(self) -> bool:
        """Whether fitted parameters are made when they are asked for."""
        return bool(self.objective.hidden_layer_sizes)

    @classmethod
    def of(cls, state: AnyState, plan: Plan, X: Matrix, y: np.ndarray) -> Stream | None:
        """Return the stream that goes on from a state, or None where compiled loops are not for it."""
        if isinstance(state, cls) and state.plan is plan and state.loop.takes(X):
            return state
        state = state.whole
        objective, optimizer, alpha = state.objective, state.optimizer, plan.alpha
        if plan.class_weight is not None or not choose_stream(optimizer, objective, X, state.t):
            return None
        if isinstance(alpha, str):
            alpha = -2.0 if has_chosen_sgd(state, plan) else -1.0
        together, stride = None, 1
        if follows_correlations(objective, optimizer, plan, X):
            together = state.together or no_moments(state.columns)
            stride = stride_of(together, objective.coordinates.combinations)
        elif state.combined is not None:  # from now on, features are what they are: a single batch sees to it
            return None
        comparing = state.iterate.slopes is not None
        settings = (
            plan.settings(1, comparing=comparing),
            state.averaging,
            comparing,
            alpha,
            plan.schedule.learning_rate,
            plan.precondition,
        )
        loop = stream_loop(objective, optimizer, X, y, *settings, is_robust(objective, y), together, stride)
        if loop is None:
            return None
        numbers, statistics = loop.arrays_of(state)
        averaged = state.iterate.averaged
        combinations = objective.coordinates.combinations
        if plan.precondition:
            rest = replace(objective, coordinates=Coordinates(combinations=combinations))
        else:
            rest = objective
        same = rest, optimizer, state.targets, state.class_totals, plan, loop, state.averaging, comparing
        looked = (0, 0) if together is None else (together.rows, together.due)
        rest_of_it = state.past, loop.idle_of(state.iterate.slots)
        return cls(*same, numbers, statistics, state.t, averaged, objective.alpha, *rest_of_it, *looked)

    def rows_to_go(self, n_rows: int, size: int) -> int:
        """Return how many of the next samples come, in whole batches, before correlations are to be looked at."""
        return n_rows if self.due == 0 else min(n_rows, size * max((self.due - self.rows - 1) // size, 0))

    def after(self, data: Data, size: int) -> tuple[Stream, Sequence[float], float] | None:
        """Return the stream after some rows, the sums over them, and the last learning rate; None if it goes wrong.

        It ends early where correlations are to be looked at at once. The sums are those of the loss, the squares of the
        gradient, the penalty, and both by their worth.
        """
        n_rows, schedule, factors = data[0].shape[0], self.plan.schedule, None
        if type(schedule) is not Constant:
            steps = np.arange(self.t, self.t - (-n_rows // size))
            factors = schedule.evaluate(steps, memory=self.past.memory.get("objective"))
        numbers, statistics = self.loop.copies_of(self.numbers, self.statistics)
        arguments = numbers, statistics, *data, size, self.t, self.averaged, factors
        result = unless_beyond_numba(self.objective, self.optimizer, self.loop, *arguments)
        if result is None:
            return None
        finite, n_steps, outgrown, averaged, alpha, rate, sums = result
        if not finite:
            return None
        self.loop.former.keep(self.numbers, self.statistics)
        if is_to_clear(self.t, self.t + n_steps):
            clear_subnormal(self.loop.trained_in(numbers))
        rows = self.rows + min(n_steps * size, n_rows)
        stream = self._with(
            numbers=numbers,
            statistics=statistics,
            t=self.t + n_steps,
            averaged=averaged,
            alpha=alpha,
            rows=rows,
            due=rows if outgrown else self.due,
        )
        return stream, sums, rate

    def _with(self, **changes: Any) -> Stream:
        """Return a stream with other attributes, in a tenth of the time of `replace`."""
        other = object.__new__(Stream)
        other.__dict__ = self.__dict__ | changes
        return other

    def continued(self, data: Data) -> tuple[Stream, Sequence[float], float] | None:
        """Return the same for rows that the loop takes at once, or None."""
        X, n_rows, size = data[0], len(data[1]), stream_batch_size(self.plan, data[0])
        if not self.loop.takes(X) or self.rows_to_go(n_rows, size) < n_rows:
            return None
        taken = self.after(data, size)
        return taken if taken is not None and taken[0].rows - self.rows == n_rows else None

    @property
    def whole(self) -> State:
        """The same as a `State`."""
        of_numbers, of_statistics = self.loop.parts_of(self.numbers, self.statistics)
        theta, slots, average, center, scale, *_ = of_numbers
        columns, targets, *of_target, totals, _, _ = of_statistics
        of_columns, of_targets = self.loop.memories_of(self.statistics)
        rows, weight, *at_ends = totals.tolist()
        rows, slopes = int(rows), tuple(at_ends) if self.comparing else None
        together, of_combinations = self.loop.moments_from(self.statistics, self.rows, self.due)
        combined = None
        if of_combinations is not None:
            combined = ColumnStatistics(rows, weight, of_combinations[0], memory=of_combinations[1])
        coordinates = self.objective.coordinates
        if self.plan.precondition:
            coordinates = replace(Coordinates(center, scale, *of_target), combinations=coordinates.combinations)
        if self.objective.loss.standardized:
            coordinates = replace(coordinates, target_center=of_target[0], target_scale=of_target[1])
        return State(
            objective=replace(self.objective, alpha=self.alpha, coordinates=coordinates),
            optimizer=self.optimizer,
            iterate=Iterate(
                theta,
                self.loop.all_slots(slots, self.idle),
                average if self.averaging else None,
                self.t,
                self.averaged,
                slopes,
            ),
            columns=ColumnStatistics(rows, weight, columns, memory=of_columns),
            targets=ColumnStatistics(rows, weight, targets, memory=of_targets)
            if self.loop.regression
            else self.targets,
            class_totals=self.class_totals,
            engine=self.engine,
            past=self.past,
            together=together,
            combined=combined,
        )

    def __reduce__(self):
        whole = self.whole  # for a compiled loop has no pickle
        return State, tuple(getattr(whole, each.name) for each in fields(whole))

    @property
    def dtype(self) -> np.dtype:
        """The type of the parameters."""
        return self.numbers.dtype

    def published(self) -> list[Layer]:
        """Return the layers to predict with, which the loop has looked at."""
        return [(coef, intercept.copy()) for coef, intercept in self.loop.shown_in(self.numbers)]
