"""Wide streams: ``partial_fit`` on sparse rows of very many columns, as of hashed text, at the cost of their entries.

Each row is a step. What is known of a column, its coefficient in the user's units among it, lies in a table, of which a
step reads and writes the rows of the features that it has: their scale is evaluated when they are seen, and what the
penalty did meanwhile is made up for then. Nothing is done with the many others. `skgd.automatic` says where this is the
way of a stream.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import scipy.sparse as sp

from skgd.automatic import has_chosen_sgd, is_brief, wide_decay, wide_optimizer
from skgd.coordinates import (
    ColumnStatistics,
    Coordinates,
    in_few,
    indicated,
    is_frequent,
    mean_squares_of,
    most_frequent,
    relearned,
    standardized_coefficient,
    user_coefficient,
)
from skgd.engines import (
    Engine,
    Iterate,
    choose_wide,
    has_duplicates,
    initial_iterate,
    unless_beyond_numba,
    wide_loop,
)
from skgd.losses import Loss
from skgd.measuring import nonzero
from skgd.networks import Layer
from skgd.objective import Objective, penalty_of
from skgd.optimizers import AdaGrad, Optimizer, is_linear, laziness_of
from skgd.plan import Plan
from skgd.schedules import Constant
from skgd.state import Data, Past, State
from skgd.steps import Batches, divergence, run, without_unit
from skgd.validation import has_valid_entries
from skgd.wide_state import WideState, known_of
from skgd.wide_table import (
    CLOCK,
    COUNT,
    ENTRIES,
    FEW,
    INDICATED,
    LARGEST,
    LEFT,
    N_NUMBERS,
    N_STATISTICS,
    NORMS,
    OF_WORTH,
    PENALTY,
    RATE,
    ROWS,
    SEEN,
    SQUARES,
    SUM,
    TIME,
    WEIGHT,
    Changes,
    Table,
    empty_rows,
    entries_in,
    with_entry,
)

_NONE = np.empty(0)
_FEW_ENTRIES = 2**16  # of a call: more are looked through for features that occur again


class InvalidEntriesError(ValueError):
    """X has entries that are not finite, in columns that it does not have, or several in one place."""


class WideStream(WideState):
    """The state of a wide stream, and its steps. A call of ``partial_fit`` makes another, which shares the table."""

    @classmethod
    def of(cls, state: Any, plan: Plan, regression: bool) -> WideStream:
        """Return the stream that goes on from a state."""
        if isinstance(state, cls):
            return state if state.plan is plan else state.with_plan(plan, state.objective.loss)
        state = state.whole.without_average() if state.comparing else state.whole
        optimizer = state.optimizer
        if (plan.optimizer is None and not state.t) or (has_chosen_sgd(state, plan) and not is_brief(state, plan)):
            optimizer = wide_optimizer()  # whose sums of squares start at their first value, also after a fit
            slots = initial_iterate(state.iterate.theta, optimizer, averaging=False).slots
            state = replace(state, iterate=state.iterate._replace(slots=slots))
        objective = replace(state.objective, alpha=_alpha(plan), standardized_penalty=False, coordinates=Coordinates())
        n_features, n_outputs = objective.n_features, objective.n_outputs
        n_slots = 0 if is_linear(optimizer) else len(optimizer.slots)
        shared = _shares(plan, optimizer, objective)
        width = n_slots * (1 if shared else n_outputs)
        gaps = state.averaging * n_outputs
        n_numbers = N_NUMBERS + (1 + 4 * regression) * n_outputs + width + gaps
        array = empty_rows(n_features, N_STATISTICS + n_outputs + width + gaps)
        same = state.class_totals, state.past, state.t, plan.precondition, regression, shared, state.dtype
        table, centered = Table(array), np.zeros(1, np.int64)
        stream = cls(objective, optimizer, *same, np.zeros(n_numbers), centered, table, table.version, plan=plan)
        stream.averaging = state.averaging
        stream.decay = _decay(plan, optimizer, objective, state.averaging)
        stream._intercept_slots[:] = np.reshape(optimizer.initial()[:n_slots], (-1, 1))
        if state.t:
            stream._take_over(state, array)
        return stream

    @property
    def is_at_hand(self) -> bool:
        """Whether samples like the last ones need nothing but its loop, which validates entries when it reads them."""
        return self.loop is not None and self.loop.is_at_hand

    def goes_on_with(self, plan: Plan, l1_ratio: float) -> bool:
        """Say whether a plan changes nothing of what the table holds, nor of what features have missed so far."""
        optimizer = plan.optimizer or self.optimizer
        same = type(optimizer) is type(self.optimizer) and _shares(plan, optimizer, self.objective) == self.shared
        before = self.objective.alpha, self.objective.l1_ratio
        same = same and (before == (_alpha(plan), l1_ratio) or not (before[0] or _alpha(plan)))
        averages = plan.averages_on(self.averaging)
        same = same and self.decay == _decay(plan, optimizer, self.objective, averages)
        same = same and not (self._repeats and self._has_other_rate(plan))
        return same and (plan.precondition, averages) == (self.precondition, self.averaging)

    def _has_other_rate(self, plan: Plan) -> bool:
        rate = plan.schedule.learning_rate
        if self.plan is not None:
            return rate != self.plan.schedule.learning_rate
        return not isinstance(rate, str) and self.t > 0 and rate != self.numbers[RATE]

    def with_plan(self, plan: Plan, loss: Loss, **changes: Any) -> WideStream:
        """Return the stream with another plan, and other parameters of the objective."""
        objective = replace(self.objective, loss=loss, alpha=_alpha(plan), **changes)
        return replace(self, plan=plan, optimizer=plan.optimizer or self.optimizer, objective=objective, loop=None)

    def _take_over(self, state: State, array: np.ndarray) -> None:
        """Write what a state knows into numbers and table."""
        numbers, columns, weight = self.numbers, state.columns, state.columns.weight
        largest, mean, variance, filled = columns.measures
        [(coef, intercept)] = state.objective.to_user(state.iterate.theta.astype(np.float64))
        array[:, COUNT], array[:, LARGEST] = filled * weight, largest
        array[:, SUM], array[:, SQUARES] = mean * weight, (variance + mean**2) * weight
        numbers[ROWS], numbers[WEIGHT] = columns.rows, weight
        numbers[ENTRIES], numbers[FEW] = weight * filled.sum(), weight * in_few(columns.measures).sum()
        numbers[INDICATED] = weight * indicated(columns.measures).sum()
        far = np.flatnonzero(self._are_far(array))
        array[far, SEEN], self.centered = self.t, np.append(len(far), far)
        center, scale = self._coordinates(array)
        numbers[NORMS] = weight * mean_squares_of(columns.measures, center, scale).sum()
        self._coef(array)[:], self._intercept[:] = coef, intercept
        theta, slots = state.iterate.theta.astype(np.float64), state.iterate.slots[: self._n_slots]
        if self._repeats:
            numbers[CLOCK] = self.t
            numbers[RATE] = 1.0  # by any, features that no sample has had repeat their steps: their coefficients are 0
            are_new = all(
                (slot == initial).all() for slot, initial in zip(slots, self.optimizer.initial(), strict=True)
            )
            array[(array[:, COUNT] > 0.0) | are_new, TIME] = self.t
        for number, slot in enumerate(self.optimizer.detached(theta, slots, self.optimizer.hyper())):
            [(of_coef, of_intercept)] = state.objective.layers(slot)
            if self.shared:
                of_coef, of_intercept = of_coef.mean(axis=1, keepdims=True), of_intercept.mean()
            self._slot(array, number)[:] = of_coef * self._unit_of_slots(array, scale)
            self._intercept_slots[number] = of_intercept
        if self.regression:
            self.target_measures[:] = state.targets.measures
        if self.averaging and state.iterate.average is not None and state.iterate.averaged:
            [(average, of_intercept)] = state.objective.to_user(state.iterate.average.astype(np.float64))
            self._gaps(array)[:], self._gaps(numbers)[:] = coef - average, intercept - of_intercept
            numbers[LEFT], self.averaged = 1.0, state.iterate.averaged

    # -- training -----------------------------------------------------------------------------------------------------

    def after(self, data: Data) -> tuple[WideStream, list[float], float]:
        """Return the stream after some rows, sums over them, and the last rate.

        Usually, no one but the loop calculates, for which NumPy need not be told what to ignore.
        """
        X: Any
        plan: Any = self.plan
        X, y, weight = data
        class_totals = self.class_totals
        if plan.class_weight is not None:
            class_totals, weight = self._with_class_weights(y, weight)
        numbers, centered, n_entries = self.numbers.copy(), self.centered, len(X.indices)
        begin = 1 + centered.item(0)
        n_more = n_entries  # features that may be centered, besides those that are, and entries of a row
        if len(y) > 1:
            most, before = int(np.diff(X.indptr).max()), numbers.item(ENTRIES) / (numbers.item(WEIGHT) or 1.0)
            n_more = most_frequent(max(before, most)) + most + 1
            n_entries = min(n_entries, max(self.objective.n_features, _FEW_ENTRIES))
        room = np.empty(begin + n_more, np.int64)
        room[:begin] = centered[:begin]
        stream = self._with(numbers=numbers, centered=room, class_totals=class_totals)
        n_changes = 2 * (n_entries + begin)  # in NumPy, then perhaps in a loop
        with self.table.lock:
            table, array, changes = self.table.begin(self.version, n_changes)
            taken = stream._take_compiled(changes, array, (X, y, weight))
            if taken is None:
                with np.errstate(all="ignore"):
                    taken = stream._take_one_by_one(changes, array, (X, y, weight))
            stream.table, stream.version = table, table.complete()
        return stream, *taken

    def _take_one_by_one(self, changes: Changes, array: np.ndarray, data: Data) -> tuple[list[float], float]:
        """Take the steps in NumPy, those after the first in a loop as soon as there is one; return the same."""
        X: Any
        X, y, weight = data
        self._check(X)
        columns = X.indices if len(X.indices) <= _FEW_ENTRIES else np.unique(X.indices)
        changes.add(array, np.concatenate([columns, self.centered[1 : 1 + self.centered[0]]]))
        sums: Any = None
        rate, row, n_rows = np.nan, 0, len(y)
        while row < n_rows:
            stop = n_rows
            taken = self._take_compiled(changes, array, _cut(X, y, weight, row, stop)) if row else None
            if taken is None:
                stop = row + 1
                taken = self._take_row(array, _cut(X, y, weight, row, stop))
            added, rate = taken
            sums = added if row == 0 else [total + each for total, each in zip(sums, added, strict=True)]
            row = stop
        return sums, rate

    def continued(self, data: Data) -> tuple[WideStream, list[float], float] | None:
        """Return the same for sparse rows, whose entries no one has looked at; None where these are not valid."""
        if type(data[0]) is np.ndarray:
            return None
        try:
            return self.after(data)
        except InvalidEntriesError:
            return None

    def _with(self, **changes: Any) -> WideStream:
        """Return a stream with other attributes, in a tenth of the time of `replace`."""
        other = object.__new__(WideStream)
        other.__dict__ = self.__dict__ | changes
        return other

    def _with_class_weights(self, y: np.ndarray, weight: np.ndarray | None) -> tuple[np.ndarray, np.ndarray | None]:
        """Return the weights of the classes so far, and those of the rows, times those of their classes until then."""
        plan, totals = self._plan, self.class_totals
        each = (y[:, np.newaxis] == np.arange(len(totals))) * (1.0 if weight is None else weight[:, np.newaxis])
        so_far = totals + np.cumsum(each, axis=0)
        by_row = [
            plan.row_weights(y[i : i + 1], None if weight is None else weight[i : i + 1], so_far[i])
            for i in range(len(y))
        ]
        return so_far[-1], np.concatenate([each for each in by_row if each is not None])

    @property
    def _plan(self) -> Plan:
        assert self.plan is not None
        return self.plan

    def _factors(self, n_steps: int) -> np.ndarray:
        """Return by what the schedule multiplies the learning rate in each of the next steps."""
        steps, memory = np.arange(self.t, self.t + n_steps), self.past.memory.get("objective")
        return self._plan.schedule.evaluate(steps, memory=memory)

    def _take_compiled(self, changes: Changes, array: np.ndarray, data: Data) -> tuple[list[float], float] | None:
        """Take a step for each sample in a compiled loop; return the sums and the last rate, or None if it cannot."""
        plan: Any = self.plan
        X, y, _ = data
        loop, n_rows, steps = self.loop, len(y), None
        if loop is None or not loop.takes(X):
            loop = self.loop = self._loop_for(X, y)
            if loop is None:
                return None
        if self.averaging or type(plan.schedule) is not Constant:  # steps differ
            with np.errstate(all="ignore"):
                steps = self._factors(n_rows), self._shares_of_average(n_rows) if self.averaging else _NONE
        result = unless_beyond_numba(self.objective, self.optimizer, loop, self, changes, array, data, steps)
        if result is None:
            self.loop = None
            return None
        taken, rate, sums = result
        if taken < n_rows:
            self._check(X)
            with np.errstate(all="ignore"):
                raise self._failure(self.t + taken + 1, rate)
        self.t += n_rows
        self.engine = "compiled"
        if self.averaging and steps is not None:
            self.averaged += int(np.count_nonzero(steps[1]))
        return sums, rate

    def _loop_for(self, X: Any, y: np.ndarray) -> Any:
        """Return the loop for samples such as these, or None if there is none."""
        objective, optimizer, plan = self.objective, self.optimizer, self._plan
        if not choose_wide(optimizer, objective, X, self.t):
            return None
        of_plan = plan.settings(1), plan.schedule.learning_rate
        of_table = self.precondition, self.shared, self.averaging, self.decay
        with np.errstate(all="ignore"):
            return wide_loop(objective, optimizer, self.dtype, X, y, *of_plan, *of_table)

    def _check(self, X: Any) -> None:
        """Look at the entries, which no one has before where a loop is at hand that does."""
        looked_at = sp.csr_array((X.data, X.indices, X.indptr), shape=X.shape)  # X may have been canonical once
        if not has_valid_entries(X) or has_duplicates(looked_at):
            raise InvalidEntriesError(
                "X contains NaN, infinity, entries in columns that it does not have, or several in one place. Replace "
                "missing values, for example with sklearn.impute.SimpleImputer. The estimator is unchanged."
            )

    def _shares_of_average(self, n_steps: int) -> np.ndarray:
        """Return the share of the iterate after each of some steps in the average; 0 for none."""
        return self._plan.settings(1).averaging_shares(self.t, n_steps, self.averaged)

    def _failure(self, step: int, rate: float) -> ValueError:
        """Return the error that says why a step could not be taken."""
        unit = self._expressed().unit
        if not (np.all(np.isfinite(unit)) and np.all(unit > 0.0)):
            return without_unit(self.objective)
        where = f"partial_fit at step {step} (learning rate {rate:.3g})"
        return divergence(self._plan, where, "is no longer finite")

    def _take_row(self, array: np.ndarray, data: Data) -> tuple[list[float], float]:
        """Take the step of one sample: this defines what a step is. Return the sums and the rate."""
        X, y, weight = data
        numbers, s = self.numbers, 1.0 if weight is None else float(weight[0])
        known = self.target_measures[0] > 0.0
        if self.regression:
            self.target_measures[:] = self._targets().updated(y, weight).measures
        numbers[CLOCK] += self.alpha * numbers[RATE] if self.decay else 0.0
        numbers[ROWS] += 1.0
        numbers[WEIGHT] += s
        objective = self._expressed()
        unit, worth = objective.unit, objective.unit * objective.progress_worth
        if not (np.all(np.isfinite(unit)) and np.all(unit > 0.0)):
            raise without_unit(objective)
        if self.regression and not isinstance(objective.coordinates.target_center, float):
            begins = (self.target_measures[0] > 0.0) & ~known  # after zeros, which have no unit: the model at the mean
            self._intercept[begins] = objective.coordinates.target_center[begins]
        columns, x = self._with_centered(X, array)
        rows = array.take(columns, axis=0)
        before, [share] = (self._coef(rows).copy(), self._intercept.copy()), self._shares_of_average(1)
        center, scale = self._learn(rows, columns, x, s)
        if objective.alpha:
            v = standardized_coefficient(self._coef(rows), scale[:, np.newaxis], objective.coordinates.target_scale)
            l1, l2 = self._penalty_rates(objective, scale)
            numbers[PENALTY] -= penalty_of(v, l1, l2, unit).sum()
            numbers[OF_WORTH] -= penalty_of(v, l1, l2, worth).sum()
        state = self._of_few_columns(objective, *self._caught_up(rows, objective, scale), center, scale)
        base, longest = self._rates(rows, center, scale, state.objective)
        rate = base * float(self._factors(1)[0])
        is_one = weight is None and numbers[WEIGHT] == numbers[ROWS]
        weights = None if is_one else np.array([s / (numbers[WEIGHT] / numbers[ROWS])])
        batch, plan = Batches(x[np.newaxis], y, weights, np.zeros(1, np.int64), 1), replace(self._plan, average=False)
        summary = run(state, plan, batch, np.array([rate]), longest, 1, "partial_fit")
        if not self.decay:
            numbers[CLOCK] += 1.0 if self._repeats else rate
        numbers[RATE] = rate
        self._write(rows, state, scale, rate)
        if objective.alpha:
            [(v, _)] = state.objective.layers(state.iterate.theta)
            numbers[PENALTY] = max(numbers[PENALTY] + penalty_of(v, l1, l2, unit).sum(), 0.0)
            numbers[OF_WORTH] = max(numbers[OF_WORTH] + penalty_of(v, l1, l2, worth).sum(), 0.0)
        if self.averaging:
            self._gaps(rows)[:] += (self._coef(rows) - before[0]) / (numbers[LEFT] or np.inf)
            self._gaps(numbers)[:] += (self._intercept - before[1]) / (numbers[LEFT] or np.inf)
            numbers[LEFT] = 1.0 if share == 1.0 else numbers[LEFT] * (1.0 - share)
            self.averaged += int(share > 0.0)
        array[columns] = rows
        self.t, self.engine = self.t + 1, "vectorized"
        progress = float(summary.losses[0] + numbers[OF_WORTH])
        return [summary.loss, *summary.squared_norms, float(numbers[PENALTY]), progress], rate

    def _learn(self, rows: np.ndarray, columns: np.ndarray, x: np.ndarray, s: float) -> tuple[np.ndarray, np.ndarray]:
        """Learn the features from the values of a sample of some weight; return their center and scale."""
        numbers, known = self.numbers, known_of(rows)
        total, before = numbers[WEIGHT], numbers[WEIGHT] - s
        numbers[ENTRIES] += s * np.count_nonzero(x)
        seen, largest = known[0] > 0.0, known[1].copy()
        entries, indicators = entries_in(known, before)
        _, old_scale = self._coordinates_in(known, rows[:, SEEN] > 0.0, before or 1.0)
        known = with_entry(known, x, s)
        if not self._repeats:
            for number in range(self._n_slots):
                self._slot(rows, number)[:] *= np.square(largest / nonzero(known[1]))[:, np.newaxis]
        for place, values in zip((COUNT, LARGEST, SUM, SQUARES), known, strict=True):
            rows[:, place] = values
        numbers[FEW] += (entries_in(known, total)[0] - entries).sum()
        numbers[INDICATED] += (entries_in(known, total)[1] - indicators).sum()
        new = self._are_far(rows) & (rows[:, SEEN] <= 0.0)
        rows[new, SEEN] = self.t + 1
        count, more = self.centered[0], np.count_nonzero(new)
        self.centered[count + 1 : count + 1 + more] = columns[new]
        self.centered[0] += more
        center, scale = self._coordinates(rows)
        if self.precondition:
            grown = seen & (np.abs(x) > largest)
            self._coef(rows)[:] *= np.where(grown, relearned(old_scale, scale, False), 1.0)[:, np.newaxis]
        for number, initial in enumerate(self.optimizer.initial()[: self._n_slots]):
            self._slot(rows, number)[~seen] = initial * self._unit_of_slots(rows, scale)[~seen]
        numbers[NORMS] += s * np.square((x - center) / scale).sum()
        return center, scale

    def _of_few_columns(
        self, objective: Objective, v: np.ndarray, slots: Any, center: np.ndarray, scale: np.ndarray
    ) -> State:
        """Return the state of the model of a dense sample with these features only."""
        coordinates, shift = objective.coordinates, 0.0
        if self.precondition:
            coordinates = replace(coordinates, center=center, scale=scale)
            shift = center @ user_coefficient(v, scale[:, np.newaxis], coordinates.target_scale)
        objective = replace(objective, n_features=len(v), coordinates=coordinates)
        u = (self._intercept + shift - coordinates.target_center) / coordinates.target_scale
        u = u if self.t else np.zeros_like(u)
        theta, slots = objective.join([(v, u)], np.float64), self._joined_slots(objective, slots, u, np.float64)
        rule = _OfColumns(self.optimizer, objective.n_outputs) if self.shared else self.optimizer
        iterate, none = Iterate(theta, slots, None, self.t, 0), ColumnStatistics.empty(0)
        return State(objective, rule, iterate, none, none, self.class_totals)

    def _rates(
        self, rows: np.ndarray, center: np.ndarray, scale: np.ndarray, objective: Objective
    ) -> tuple[float, np.ndarray | None]:
        """Return the rate that the schedule multiplies and, for "auto", the largest sensible one of each parameter."""
        base, curvature = self._plan.schedule.learning_rate, objective.loss.curvature
        if not isinstance(base, str):
            return base, None
        squares = mean_squares_of(self._measures(rows), center, scale)
        by_feature = np.repeat(1.0 / (curvature * squares), objective.n_outputs)
        of_intercepts = np.full(objective.n_outputs, 1.0 / curvature)
        return self._automatic_rate(), objective.join([(by_feature, of_intercepts)], np.float64)

    def _write(self, rows: np.ndarray, state: State, scale: np.ndarray, rate: float) -> None:
        """Write what a step has made of the features of a sample."""
        [(coef, intercept)] = state.objective.to_user(state.iterate.theta)
        if not (np.abs(coef) <= np.finfo(self.dtype).max).all() or not np.isfinite(intercept).all():
            raise self._failure(self.t + 1, rate)
        self._coef(rows)[:], self._intercept[:] = coef, intercept
        theta, slots, *_ = state.iterate
        detached = self.optimizer.detached(theta, slots[: self._n_slots], self.optimizer.hyper())
        for number, slot in enumerate(detached):
            [(of_coef, of_intercept)] = state.objective.layers(slot)
            self._slot(rows, number)[:] = of_coef[:, : self._slot_width] * self._unit_of_slots(rows, scale)
            self._intercept_slots[number] = of_intercept[: self._slot_width]
        rows[:, TIME] = self.numbers[CLOCK]

    def _with_centered(self, X: Any, array: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the features of a sample and its values in them, with centered features that it does not store.

        Features that few samples have by now are not centered any longer.
        """
        columns, x, now = X.indices, X.data.astype(np.float64), self.t + 1
        mine = columns[array[columns, SEEN] > 0.0]
        array[mine, SEEN] = now
        all_centered = self.centered[1 : 1 + self.centered[0]]
        missing = all_centered[array[all_centered, SEEN] != now]
        rare = ~is_frequent(array[missing, COUNT] / self.numbers[WEIGHT])
        array[missing[rare], SEEN] = 0.0
        left = all_centered[array[all_centered, SEEN] > 0.0]
        self.centered[1 : 1 + len(left)] = left
        self.centered[0] = len(left)
        missing = missing[~rare]
        return np.concatenate([columns, missing]), np.concatenate([x, np.zeros(len(missing))])

    # -- what was learned ----------------------------------------------------------------------------------------------

    def raw(self, X: Any) -> np.ndarray:
        """Return the raw predictions for some samples."""
        few = sp.issparse(X) and len(X.indices) < X.shape[1]
        with self.table.at(self.version) as array:
            coef = self._shown_coef(array.take(X.indices, axis=0) if few else array).astype(self.dtype)
        if not few:
            sums = X @ coef
        elif X.shape[0] == 1:  # in the order in which SciPy adds up, in a tenth of the time of making another matrix
            products = X.data[:, np.newaxis] * coef
            sums = np.add.accumulate(products)[-1:] if len(products) else np.zeros((1, coef.shape[1]), products.dtype)
        else:
            entries = np.arange(len(X.indices), dtype=X.indices.dtype)  # each has a coefficient of its own
            sums = sp.csr_array((X.data, entries, X.indptr), shape=(X.shape[0], len(entries))) @ coef
        return (sums + self._shown_intercept.astype(self.dtype)).astype(X.dtype, copy=False)

    def published(self) -> list[Layer]:
        """Return the layer to predict with."""
        with self.table.at(self.version) as array:
            return [(self._shown_coef(array).astype(self.dtype), self._shown_intercept.astype(self.dtype))]

    @property
    def whole(self) -> State:
        """The same as a `State`."""
        with self.table.at(self.version) as array:
            objective, optimizer = self._expressed(), self.optimizer
            n_rows, weight = int(self.numbers[ROWS]), float(self.numbers[WEIGHT])
            columns = ColumnStatistics(n_rows, weight, np.array(self._measures(array)))
            center, scale = self._coordinates(array)
            coordinates = objective.coordinates
            if self.precondition:
                shown = center.astype(self.dtype) if center.any() else 0.0
                coordinates = replace(coordinates, center=shown, scale=scale.astype(self.dtype))
            objective = replace(objective, coordinates=coordinates)
            theta = objective.from_user([(self._user_coef(array), self._intercept)], np.float64)
            _, of_coef = self._caught_up(array, objective, scale)
            [(_, u)] = objective.layers(theta)
            slots = self._joined_slots(objective, of_coef, u, self.dtype)
            shown = objective.from_user([(self._shown_coef(array), self._shown_intercept)], self.dtype)
        average = shown if self.averaging else None
        iterate = Iterate(theta.astype(self.dtype), slots, average, self.t, self.averaged)
        targets = self._targets() if self.regression else ColumnStatistics.empty(objective.n_outputs)
        return State(objective, optimizer, iterate, columns, targets, self.class_totals, self.engine, self.past)

    def copied(self) -> WideStream:
        """Return a stream with a table of its own."""
        with self.table.at(self.version) as array:
            table = Table(array.copy())
        return replace(self, table=table, version=table.version, loop=None)

    @property
    def saved(self) -> SavedWideStream:
        """The same without features that no sample has had, for a pickle."""
        with self.table.at(self.version) as array:
            used = np.flatnonzero(array.any(axis=1))
            of_stream = {each.name: getattr(self, each.name) for each in fields(SavedWideStream)[2:]}
            of_stream["centered"], of_stream["dtype"] = self.centered[: 1 + self.centered[0]], self.dtype.str
            return SavedWideStream(**of_stream, used=used, rows=array.take(used, axis=0))

    def __reduce__(self):
        return SavedWideStream.restored, (self.saved,)


def _alpha(plan: Plan) -> float:
    return 0.0 if isinstance(plan.alpha, str) else plan.alpha


def _decay(plan: Plan, optimizer: Optimizer, objective: Objective, averages: bool) -> float:
    rests = laziness_of(optimizer) == "rest" and not averages
    return wide_decay(plan, objective.n_outputs if objective.exclusive_classes else 2) if rests else 0.0


def _shares(plan: Plan, optimizer: Optimizer, objective: Objective) -> bool:
    """Say whether the classes of a feature share its slots."""
    return plan.optimizer is None and optimizer.slots == AdaGrad.slots and objective.exclusive_classes


def _cut(X: Any, y: np.ndarray, weight: np.ndarray | None, start: int, stop: int) -> Data:
    if stop - start == len(y):
        return X, y, weight
    return X[start:stop], y[start:stop], None if weight is None else weight[start:stop]


class _OfColumns(AdaGrad):
    """AdaGrad with one sum of squares for all outputs of a feature, which is then known sooner."""

    def __init__(self, optimizer: Optimizer, n_outputs: int):
        super().__init__(**optimizer.get_params())
        self._n_outputs = n_outputs

    def hyper(self):
        return *super().hyper(), self._n_outputs

    @staticmethod
    def rule(w, g, lr, t, slots, hyper):
        *hyper, n_outputs = hyper
        sizes = np.sqrt(np.square(g).reshape(-1, n_outputs).sum(axis=1))
        _, step, slots = AdaGrad.rule(w, np.repeat(sizes, n_outputs), lr, t, slots, hyper)
        return w - step * g, step, slots


@dataclass(frozen=True)
class SavedWideStream:
    """What a pickle holds of a wide stream: the rows of the table that are used, with their columns."""

    used: np.ndarray
    rows: np.ndarray
    objective: Objective
    optimizer: Optimizer
    class_totals: np.ndarray
    past: Past
    t: int
    precondition: bool
    regression: bool
    shared: bool
    dtype: str
    numbers: np.ndarray
    centered: np.ndarray
    engine: Engine
    decay: float = 0.0
    averaging: bool = False
    averaged: int = 0

    def restored(self) -> WideStream:
        """Return the stream."""
        array = empty_rows(self.objective.n_features, self.rows.shape[1])
        array[self.used] = self.rows
        of_stream = {each.name: getattr(self, each.name) for each in fields(self)[2:]}
        of_stream["dtype"], table = np.dtype(self.dtype), Table(array)
        return WideStream(**of_stream, table=table, version=table.version)
