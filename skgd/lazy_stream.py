"""Streams of networks on sparse rows of many columns, at the cost of their entries and of the layers above the first.

A step reads and writes the columns that its rows have. What the others miss meanwhile is made up for when they occur
again, in closed form: see `skgd.column_table`. To rounding, that is what `skgd.stream.Stream` does, which visits all of
them. Tables are changed in place, and remember what the last call has changed, as those of `skgd.wide`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np

from skgd.automatic import stream_batch_size, visits_few_columns
from skgd.column_table import (
    CLOCKS,
    ENTRIES,
    INDICATED,
    LEFT,
    LOG_SQUARES,
    LOGARITHMS,
    N_KNOWN,
    N_WINDOW,
    NORM,
    PENALTIES,
    RATES,
    SQUARES,
    SUMS,
    WEIGHTS,
    WINDOW,
)
from skgd.constant import is_robust
from skgd.coordinates import ColumnStatistics, Coordinates
from skgd.engines import Engine, Iterate, choose_stream, few_columns, stream_loop, unless_beyond_numba
from skgd.engines.vectorized import clear_subnormal
from skgd.measuring import Matrix
from skgd.networks import Layer
from skgd.objective import Objective
from skgd.optimizers import Optimizer, idle_slots
from skgd.plan import Plan
from skgd.running import memory_of
from skgd.schedules import Constant
from skgd.state import Data, Past, State
from skgd.wide_table import Table

_FEWEST = 64  # columns that a loop has room for


@dataclass(eq=False)
class LazyStream:
    """A state between compiled steps, with a table of what is known of each column, and one of its coefficients."""

    engine: ClassVar[Engine] = "compiled"
    is_at_hand: ClassVar[bool] = True
    on_demand: ClassVar[bool] = True
    averaging: ClassVar[bool] = False
    comparing: ClassVar[bool] = False
    objective: Objective  # but for its coordinates
    optimizer: Optimizer
    targets: ColumnStatistics  # of classes
    class_totals: np.ndarray
    precondition: bool
    regression: bool
    t: int
    alpha: float
    past: Past
    idle: dict[int, np.ndarray]  # slots of the optimizer that no step changes
    above: np.ndarray  # parameters and slots of all layers but the first one, and of the intercepts
    of_targets: tuple[np.ndarray, ...]  # measures, center, scale, rows and weight so far, what is remembered
    in_user_units: bool
    sums: Any = None  # over columns that rest, see `skgd.column_table`
    restless: Any = None  # columns that each step visits
    window: Any = None
    begin: int = 0  # the step at which the window begins
    known: Any = None  # tables
    parameters: Any = None
    versions: Any = None
    plan: Plan | None = None
    loops: Any = None  # by the number of columns that they have room for
    few: Any = None
    layers: list[Layer] | None = None  # to predict with, once these are made
    n_read: int = 0  # columns, for predictions

    # -- where it begins ----------------------------------------------------------------------------------------------

    @classmethod
    def of(cls, state: Any, plan: Plan, X: Matrix, y: np.ndarray) -> LazyStream | None:
        """Return the stream that goes on from a state, or None where steps visit all columns."""
        if isinstance(X, np.ndarray) or not state.t:
            return None
        if isinstance(state, cls):
            if state.plan is plan:
                return state if state.loops is not None else state._with_loops(X, y)
            state = state.whole
        regression = y.dtype.kind == "f"
        if not visits_few_columns(state, plan, regression=regression):
            return None
        state = state.whole
        objective, optimizer = state.objective, state.optimizer
        if not choose_stream(optimizer, objective, X, state.t):
            return None
        columns, targets, dtype = state.columns, state.targets, state.dtype
        center, scale, *of_target = objective.coordinates.arrays(objective.n_features, objective.n_outputs)
        width, idle = objective.layer_sizes[1], idle_slots(optimizer)
        slots = state.iterate.slots
        busy = [state.iterate.theta, *(slots[place] for place in range(len(slots)) if place not in idle)]
        in_user_units = not isinstance(plan.alpha, str)
        of_columns = few_columns(objective, optimizer, state.t, in_user_units)
        n_above = -(-objective.n_parameters // width) * width - objective.n_features * width
        few = of_columns.empty(objective.n_features, len(busy), n_above, objective.n_outputs, dtype)
        few.measures[:], few.memory[:], few.center[:], few.scale[:] = (
            columns.measures,
            memory_of(columns),
            center,
            scale,
        )
        of_all = few.parameters.reshape(len(busy), -1)
        of_all[:, : objective.n_parameters], of_all[:, objective.n_parameters :] = busy, 0.0
        totals = np.array([columns.rows, columns.weight, 0.0, 0.0])
        of_targets = np.array(targets.measures), *of_target, totals, memory_of(targets)
        rest = replace(objective, coordinates=Coordinates())
        stream = cls(
            rest,
            optimizer,
            targets,
            state.class_totals,
            plan.precondition,
            regression,
            state.t,
            objective.alpha,
            state.past,
            {place: slots[place] for place in idle},
            few.above,
            of_targets,
            in_user_units=in_user_units,
            plan=plan,
            few=of_columns,
        )
        stream._begin_window(few)
        return stream._with_loops(X, y)

    def _with_loops(self, X: Matrix, y: np.ndarray) -> LazyStream | None:
        """Return the stream with what takes its steps, or None for a rule beyond Numba."""
        loops: dict[int, Any] = {}
        loop = self._loop_for(_FEWEST, loops, X, y)
        return None if loop is None else self._with(loops=loops, few=None)

    def _loop_for(self, room: int, loops: dict[int, Any], X: Matrix, y: np.ndarray) -> Any:
        """Return the loop for so many columns."""
        if room not in loops:
            plan: Any = self.plan
            objective = replace(self.objective, n_features=room)
            alpha = -1.0 if isinstance(plan.alpha, str) else plan.alpha
            of_average = False, False
            settings = plan.settings(1), *of_average, alpha, plan.schedule.learning_rate, plan.precondition
            robust = is_robust(objective, y)
            loops[room] = stream_loop(objective, self.optimizer, X, y, *settings, robust, None, 1, False)
        return loops[room]

    def goes_on_with(self, plan: Plan, l1_ratio: float) -> bool:
        """Say whether a plan changes nothing of what columns have missed so far."""
        optimizer = plan.optimizer or self.optimizer
        same = type(optimizer) is type(self.optimizer) and optimizer.hyper() == self.optimizer.hyper()
        same = same and visits_few_columns(self, plan, regression=self.regression, l1_ratio=l1_ratio)
        same = same and not (plan.optimizer is None and self.optimizer.weight_decay)
        same = same and plan.precondition is self.precondition
        return same and (not self.in_user_units if isinstance(plan.alpha, str) else plan.alpha == self.alpha)

    def with_plan(self, plan: Plan, loss: Any, **changes: Any) -> LazyStream:
        """Return the stream with another plan, and other parameters of the objective."""
        objective = replace(self.objective, loss=loss, activation=plan.activation, **changes)
        optimizer = plan.optimizer or self.optimizer
        return self._with(
            plan=plan, optimizer=optimizer, objective=objective, loops=None, few=None, layers=None, n_read=0
        )

    def _with(self, **changes: Any) -> LazyStream:
        """Return a stream with other attributes, in a tenth of the time of `replace`."""
        other = object.__new__(LazyStream)
        other.__dict__ = self.__dict__ | changes
        return other

    # -- steps --------------------------------------------------------------------------------------------------------

    def rows_to_go(self, n_rows: int, size: int) -> int:
        """Return how many of the next samples come before the stream goes another way: all of them."""
        return n_rows

    def continued(self, data: Data) -> tuple[LazyStream, Sequence[float], float] | None:
        """Return what `after` does for rows that the loop takes at once, or None."""
        X = data[0]
        if isinstance(X, np.ndarray) or self.plan is None or self.loops is None:
            return None
        return self.after(data, stream_batch_size(self.plan, X))

    def after(self, data: Data, size: int) -> tuple[LazyStream, Sequence[float], float] | None:
        """Return the stream after some rows, the sums over them, and the last rate; None if it goes wrong."""
        return unless_beyond_numba(self.objective, self.optimizer, self._after, data, size)

    def _after(self, data: Data, size: int) -> tuple[LazyStream, Sequence[float], float] | None:
        plan: Any = self.plan
        X: Any = data[0]
        n_rows, factors = X.shape[0], None
        if type(plan.schedule) is not Constant:
            steps = np.arange(self.t, self.t - (-n_rows // size))
            factors = plan.schedule.evaluate(steps, memory=self.past.memory.get("objective"))
        with self.known.lock, self.parameters.lock:
            most = min(len(X.indices) + len(self.restless), self.objective.n_features)
            tables = [
                table.begin(version, most)
                for table, version in zip((self.known, self.parameters), self.versions, strict=True)
            ]
            stream = self._with(window=self.window.copy(), layers=None, n_read=0)
            call = _Call(stream, tables)
            for step, start in enumerate(range(0, n_rows, size)):
                rows = slice(start, min(start + size, n_rows))
                if not call.take(data, rows, None if factors is None else factors[step : step + 1]):
                    return None
            stream.known, stream.parameters = (table for table, _, _ in call.tables)
            stream.versions = stream.known.complete(), stream.parameters.complete()
        return stream, call.totals, call.rate

    def _begin_window(self, few: Any) -> None:
        """Begin a window with all columns up to date, in new tables: those so far stay what they are, to be read."""
        clear_subnormal(few.parameters)
        self.above = few.above.copy()
        self.begin, n_features = self.t, self.objective.n_features
        total = self.of_targets[3][1]
        self.window = np.zeros((N_WINDOW, WINDOW + 1))
        self.window[[LEFT, WEIGHTS, LOGARITHMS], 0] = 1.0, total, np.log(total)
        tables = np.empty((n_features, N_KNOWN)), np.empty((n_features, few.n_parameters), self.dtype)
        self.sums = np.zeros(N_KNOWN - SUMS)
        columns = np.arange(n_features)
        self.restless = self.few.write(few, columns, tables, self.t, total, self.precondition, self.sums)
        self.known, self.parameters = Table(tables[0]), Table(tables[1])
        self.versions = self.known.version, self.parameters.version

    # -- reading ------------------------------------------------------------------------------------------------------

    @property
    def dtype(self) -> np.dtype:
        """The type of the parameters."""
        return self.above.dtype

    @property
    def rows(self) -> int:
        """The number of rows so far."""
        return int(self.of_targets[3][0])

    def gathered(self, columns: np.ndarray, room: int, tables: tuple[np.ndarray, np.ndarray], *noting: Any) -> Any:
        """Return columns as they are now, in arrays with room for so many, and the other layers."""
        if self.few is None or self.few.begin != self.begin:
            self.few = few_columns(self.objective, self.optimizer, self.begin, self.in_user_units)
        few = self.few.empty(room, len(self.above), self.above.shape[1], self.objective.n_outputs, self.dtype)
        self.few.gather(few, columns, tables, self.window, self.t - self.begin, *(noting or (np.zeros(0),)))
        few.above[:] = self.above
        for part, values in zip(few.of_targets, self.of_targets, strict=True):
            part[:] = values
        return few

    def _read(self, columns: np.ndarray) -> Any:
        """Return the same, of the tables as this stream has left them."""
        with self._tables() as tables:
            return self.gathered(columns, len(columns), tables)

    @contextmanager
    def _tables(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Give the tables as this stream has left them, to be read."""
        known, parameters = self.versions
        both = self.known.at(known), self.parameters.at(parameters)
        with self.known.lock, self.parameters.lock, both[0] as of_known, both[1] as of_parameters:
            yield of_known, of_parameters

    @property
    def whole(self) -> State:
        """The same as a `State`."""
        return self._state_of(self._read(np.arange(self.objective.n_features)), self.objective)

    def _state_of(self, few: Any, objective: Objective) -> State:
        """Return the state of a network with these columns."""
        n = objective.n_parameters
        measures, center, scale, totals, memory = few.of_targets
        rows, weight = int(totals[0]), float(totals[1])
        columns = ColumnStatistics(rows, weight, few.measures, memory=few.memory)
        targets = ColumnStatistics(rows, weight, measures, memory=memory) if self.regression else self.targets
        coordinates = Coordinates()
        if self.precondition:
            coordinates = Coordinates(few.center, few.scale, center, scale)
        elif objective.loss.standardized:
            coordinates = Coordinates(target_center=center, target_scale=scale)
        slots = dict(self.idle)
        for place in range(len(self.optimizer.slots)):
            if place not in slots:
                slots[place] = few.slots[place - sum(idle < place for idle in self.idle)].ravel()[:n]
        iterate = Iterate(few.theta.ravel()[:n], tuple(slots[place] for place in sorted(slots)), None, self.t, 0)
        objective = replace(
            objective, alpha=self.alpha, coordinates=coordinates, standardized_penalty=not self.in_user_units
        )
        of_model = self.class_totals, self.engine, self.past
        return State(objective, self.optimizer, iterate, columns, targets, *of_model)

    def published(self) -> list[Layer]:
        """Return the layers to predict with."""
        if self.layers is None:
            self.layers = self.whole.published()
        return self.layers

    def shown_for(self, X: Any) -> tuple[list[Layer], Any]:
        """Return layers to predict with, and rows for them: without the columns that few rows do not have.

        Where predictions have asked for as many columns as there are, all are made, and kept.
        """
        if self.layers is not None or isinstance(X, np.ndarray):
            return self.published(), X
        has = np.zeros(self.objective.n_features, bool)
        has[X.indices], has[self.restless] = True, True  # which may be centered
        columns = np.flatnonzero(has)
        self.n_read += len(columns)
        if self.n_read > len(has):
            return self.published(), X
        few, objective = self._read(columns), replace(self.objective, n_features=len(columns))
        state = self._state_of(few, objective)
        number = np.cumsum(has) - 1
        rows = type(X)((X.data, number[X.indices], X.indptr), shape=(X.shape[0], len(columns)))
        return state.published(), rows

    # -- copies -------------------------------------------------------------------------------------------------------

    def copied(self) -> LazyStream:
        """Return a stream with tables of its own."""
        saved = self.saved
        return replace(saved.restored(), plan=self.plan, targets=self.targets)

    @property
    def saved(self) -> SavedLazyStream:
        """The same for a pickle."""
        with self._tables() as (known, parameters):
            tables: dict[str, Any] = {"known": known.copy(), "parameters": parameters.copy()}
        names = {each.name for each in fields(SavedLazyStream)} - tables.keys()
        return SavedLazyStream(**tables, **{name: getattr(self, name) for name in names})

    def __reduce__(self):
        return SavedLazyStream.restored, (self.saved,)


class _Call:
    """The steps of a call, on a stream that no one else has yet."""

    def __init__(self, stream: LazyStream, tables: list[Any]):
        self.stream, self.tables = stream, tables
        self.totals: Any = None
        self.rate = np.nan
        n_features = stream.objective.n_features
        self._noted, self._number = np.zeros(n_features, bool), np.empty(n_features, np.int32)

    def take(self, data: Data, rows: slice, factors: np.ndarray | None) -> bool:
        """Take a step; say whether all numbers are finite."""
        stream, (X, y, weight) = self.stream, data
        if stream.t - stream.begin == WINDOW:
            self._begin_window()
        (_, known, _), (_, parameters, _) = self.tables
        tables, changes = (known, parameters), [noted for _, _, noted in self.tables]
        batch, columns = self._numbered(X, rows)
        room, sums = _room_for(len(columns)), stream.sums.copy()
        few = stream.gathered(columns, room, tables, sums, self._noted, changes)
        n_rows = rows.stop - rows.start
        part = y[rows], None if weight is None else weight[rows]
        total = few.of_targets[3][1] + (n_rows if part[1] is None else part[1].sum())
        entries = sums[ENTRIES] / total
        squares = (sums[SQUARES] + np.log(total) * sums[LOG_SQUARES]) / total
        elsewhere = np.array(
            [stream.objective.n_features - room, entries, sums[INDICATED] / total, entries, squares, sums[NORM]]
        )
        loop = stream._loop_for(room, stream.loops, X, y)
        result = loop(few.numbers, few.statistics, batch, *part, n_rows, stream.t, 0, factors, elsewhere)
        finite, _, _, _, strength, rate, added = result
        if not finite:
            return False
        self.totals = added if self.totals is None else [a + b for a, b in zip(self.totals, added, strict=True)]
        self.rate = rate
        total = few.of_targets[3][1]
        stream.restless = stream.few.write(few, columns, tables, stream.t + 1, total, stream.precondition, sums)
        stream.sums, stream.above = sums, few.above.copy()
        stream.of_targets = tuple(part.copy() for part in few.of_targets)
        self._note_step(rate, strength)
        return bool(np.isfinite(sums).all())

    def _numbered(self, X: Any, rows: slice) -> tuple[Any, np.ndarray]:
        """Return some rows, with numbers for their columns, and these columns; among them the restless ones."""
        stream = self.stream
        begin, end = X.indptr[rows.start], X.indptr[rows.stop]
        indices = X.indices[begin:end]
        has = np.zeros(stream.objective.n_features, bool)
        has[indices] = True
        has[stream.restless] = True
        columns = np.flatnonzero(has)
        self._number[columns] = np.arange(len(columns), dtype=np.int32)
        indptr = (X.indptr[rows.start : rows.stop + 1] - begin).astype(np.int32)
        shape = rows.stop - rows.start, len(columns)
        return SimpleNamespace(
            data=X.data[begin:end], indices=self._number[indices], indptr=indptr, shape=shape
        ), columns

    def _note_step(self, rate: float, strength: float) -> None:
        """Note a step in the window."""
        stream = self.stream
        window, stop = stream.window, stream.t - stream.begin
        n_rows, total = stream.of_targets[3][:2]
        penalty = rate * strength * (1.0 - stream.objective.l1_ratio)
        window[RATES, stop], window[PENALTIES, stop] = rate, penalty
        window[LEFT, stop + 1] = window[LEFT, stop] / (1.0 + penalty)
        window[WEIGHTS, stop + 1], window[LOGARITHMS, stop + 1] = total, np.log(total)
        passed = (total - window[WEIGHTS, stop]) / (total / n_rows)
        window[CLOCKS, stop + 1] = window[CLOCKS, stop] + passed
        stream.t, stream.alpha = stream.t + 1, strength

    def _begin_window(self) -> None:
        """Bring all columns up to date."""
        stream, (_, known, _), (_, parameters, _) = self.stream, *self.tables
        n_features = stream.objective.n_features
        stream._begin_window(stream.gathered(np.arange(n_features), n_features, (known, parameters)))
        # In new tables, there is nothing to undo.
        self.tables = [table.begin(table.version, 0) for table in (stream.known, stream.parameters)]
        self._noted[:] = True


def _room_for(n_columns: int) -> int:
    """Return how many columns a loop has room for that takes so many: up to a quarter more."""
    unit = max(1 << max(n_columns.bit_length() - 3, 0), _FEWEST)
    return -(-n_columns // unit) * unit


@dataclass(frozen=True)
class SavedLazyStream:
    """What a pickle holds of such a stream."""

    known: np.ndarray
    parameters: np.ndarray
    objective: Objective
    optimizer: Optimizer
    targets: ColumnStatistics
    class_totals: np.ndarray
    precondition: bool
    regression: bool
    t: int
    alpha: float
    past: Past
    idle: dict[int, np.ndarray]
    above: np.ndarray
    of_targets: tuple[np.ndarray, ...]
    in_user_units: bool
    sums: np.ndarray
    restless: np.ndarray
    window: np.ndarray
    begin: int

    def restored(self) -> LazyStream:
        """Return the stream."""
        rest = {each.name: getattr(self, each.name) for each in fields(self)[2:]}
        known, parameters = Table(self.known), Table(self.parameters)
        versions = known.version, parameters.version
        return LazyStream(**rest, known=known, parameters=parameters, versions=versions)
