"""Few of many sparse columns: what they have missed since a step of a stream last had them, made up for when read.

See `skgd.column_table`. A step gathers the columns of its rows, is taken by the loop of streams as if there were no
others, but for sums over these, and is written back. So it costs the entries of its rows, not the number of columns.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from typing import Any, NamedTuple

import numpy as np

from skgd.column_table import (
    CENTER,
    CLOCKS,
    ENTRIES,
    INDICATED,
    LEARNED,
    LEFT,
    LOG_SQUARES,
    LOGARITHMS,
    MEMORY,
    MOVED,
    N_MEASURES,
    NORM,
    PENALTIES,
    RARITY,
    RATES,
    SCALE,
    SQUARES,
    SUMS,
    WEIGHTS,
    WINDOW,
)
from skgd.coordinates import indicated, is_frequent, mean_squares_of, rarity
from skgd.engines.compiled.interface import adaptive, part_of, prefetch, strategies
from skgd.engines.compiled.kinds import Kind
from skgd.engines.compiled.specialize import Loop, interpreted, specialized
from skgd.engines.compiled.steps import NEAR
from skgd.engines.compiled.stream_parts import measures_of, parts_of_numbers, parts_of_statistics
from skgd.engines.compiled.workspace import drifts
from skgd.objective import Objective
from skgd.optimizers import Optimizer, idle_slots, is_adaptive
from skgd.running import CODE, N_MEMORIES, SHARE_OF_CODES, VOTES, WEIGHT
from skgd.wide_table import Changes

_NEAR = 0.03  # up to which eight terms of a geometric series are exact
_NOTHING, _FAINT = 1e-22, 1e-14  # beside one
_ROUNDING, _NEARLY = 1e-9, 1e-3
_NONE = np.empty(0, bool)


def gather_columns(
    columns,
    known,
    parameters,
    window,
    of_drift,
    begin,
    stop,
    in_user_units,
    hyper,
    of_columns,
    of_parameters,
    sums,
    noted,
    changed,
    sizes,
):
    """Write what is known of columns, and their parameters, after the steps of the window up to ``stop``.

    ``begin`` is the step at which the window begins. ``of_columns`` are arrays for measures, memories, centers and
    scales, ``of_parameters`` those for coefficients and slots. From ``sums``, the columns' parts are subtracted. What
    the tables hold of columns that are not ``noted`` yet is copied to what is ``changed``.
    """
    measures, memory, center, scale = of_columns
    theta, slots = of_parameters
    fading, of_steps = of_drift
    width, n_slots = theta.shape[1], len(slots)
    changed_columns, changed_known, changed_parameters = changed
    for u in range(len(columns)):
        j = columns[u]
        fetch(known, parameters, columns, u + NEAR)
        if len(noted) > 0 and not noted[j]:
            noted[j] = True
            row = changed_columns[0]
            changed_columns[0] = row + 1
            changed_columns[1 + row] = j
            for part in range(known.shape[1]):
                changed_known[row, part] = known[j, part]
            for k in range(parameters.shape[1]):
                changed_parameters[row, k] = parameters[j, k]
        for k in range(width):
            theta[u, k] = parameters[j, k]
        for part in range(n_slots):
            for k in range(width):
                slots[part, u, k] = parameters[j, (1 + part) * width + k]
        for part in range(len(sums)):
            sums[part] -= known[j, SUMS + part]
        learned, start = np.int64(known[j, LEARNED]) - begin, np.int64(known[j, MOVED]) - begin
        passed = window[WEIGHTS, stop] - window[WEIGHTS, learned]
        for part in range(N_MEMORIES):
            memory[part, u] = known[j, MEMORY + part]
        measures[0, u] = known[j, 0]
        kept = share_of(memory[WEIGHT, u], passed)
        mean = known[j, 1]
        measures[1, u], measures[2, u] = kept * mean, kept * (known[j, 2] + (1.0 - kept) * mean * mean)
        measures[3, u] = kept * known[j, 3]
        kept, mean = share_of(memory[5, u], passed), memory[2, u]
        memory[2, u], memory[3, u] = kept * mean, kept * (memory[3, u] + (1.0 - kept) * mean * mean)
        memory[4, u] *= kept
        memory[WEIGHT, u] += passed
        memory[5, u] += passed
        fallen = SHARE_OF_CODES * (window[CLOCKS, stop] - window[CLOCKS, learned])
        memory[VOTES, u] = max(memory[VOTES, u] - fallen, 0.0)
        rare, before = known[j, RARITY], window[LOGARITHMS, learned]
        center[u] = known[j, CENTER]
        shrunk = 1.0
        if rare > 0.0:
            shrunk = np.sqrt(rare / (rare + (window[LOGARITHMS, stop] - before)))
        scale[u] = known[j, SCALE] * shrunk
        # Coefficients, in the scale that they have had when steps last read them.
        if start == stop:
            for k in range(width):
                theta[u, k] *= shrunk
            continue
        of_penalty, n_large, n_moving = 1.0, 0, 0
        if in_user_units:
            of_penalty = 1.0 / (known[j, SCALE] * known[j, SCALE])
        nearest = fading[1, 1] * of_steps[1, start]
        for k in range(width):
            momentum, size, epsilon = strategies.momentum_and_size(strategies.slots_of(slots, u, k), hyper)
            sizes[k] = size
            n_large += size * nearest + epsilon > 1.0
            n_moving += abs(momentum) > _NOTHING * abs(1.0 * theta[u, k]) * (size * nearest + epsilon)
        if not adaptive:
            of_penalty *= strategies.rule(0.0, 0.0, 1.0, float(begin + stop), strategies.slots_of(slots, u, 0), hyper)[
                1
            ]
        if adaptive and n_large > 0 and window[PENALTIES, stop - 1] > 0.0:
            for k in range(width):
                w, after = 1.0 * theta[u, k], strategies.slots_of(slots, u, k)
                for step in range(start, stop):
                    grown = growth(rare, window[LOGARITHMS, step + 1] - before)
                    rate, now = window[RATES, step], float(begin + step + 1)
                    move, length, after = strategies.rule(0.0, 0.0, rate, now, after, hyper)
                    taken = window[PENALTIES, step] * of_penalty * (grown * grown if in_user_units else 1.0)
                    w = (w + move * grown) / (1.0 + taken * (min(length / rate, 1.0) if rate > 0.0 else 1.0))
                theta[u, k] = w * shrunk
                strategies.keep_slots(slots, u, k, after)
            continue
        step, end = start, min(stop, start + fading.shape[1] - 1)
        if n_moving == 0:
            end = start
        while step < end:
            first, factor = step, 1.0
            middle = fading[1, step + 1 - start] * of_steps[1, step]
            inverse = 1.0 / middle
            m0, m1, m2, m3, m4, m5, m6, m7 = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
            while step < end:
                since = step + 1 - start
                beside = 1.0 - fading[1, since] * of_steps[1, step] * inverse
                if abs(beside) > _NEAR and step > first:
                    break
                grown = growth(rare, window[LOGARITHMS, step + 1] - before)
                kept = 1.0 / (1.0 + window[PENALTIES, step] * of_penalty * (grown * grown if in_user_units else 1.0))
                move = kept * window[RATES, step] * fading[0, since] * of_steps[0, step] * grown
                m0, move = kept * m0 + move, move * beside
                m1, move = kept * m1 + move, move * beside
                m2, move = kept * m2 + move, move * beside
                m3, move = kept * m3 + move, move * beside
                m4, move = kept * m4 + move, move * beside
                m5, move = kept * m5 + move, move * beside
                m6, move = kept * m6 + move, move * beside
                m7 = kept * m7 + move
                factor *= kept
                step += 1
            for k in range(width):
                momentum, _, epsilon = strategies.momentum_and_size(strategies.slots_of(slots, u, k), hyper)
                reach = 1.0 / (middle * sizes[k] + epsilon)
                x = middle * sizes[k] * reach
                total = m0 + x * (m1 + x * (m2 + x * (m3 + x * (m4 + x * (m5 + x * (m6 + x * m7))))))
                theta[u, k] = factor * theta[u, k] - momentum * reach * total
        factor = shrunk
        if of_penalty == 1.0:
            factor *= window[LEFT, stop] / window[LEFT, step]
        else:
            for later in range(step, stop):
                grown = growth(rare, window[LOGARITHMS, later + 1] - before)
                factor /= 1.0 + window[PENALTIES, later] * of_penalty * (grown * grown if in_user_units else 1.0)
        passed = float(stop - start)
        for k in range(width):
            theta[u, k] *= factor
            strategies.keep_slots(slots, u, k, strategies.skip(passed, strategies.slots_of(slots, u, k), hyper))


def fetch(known, parameters, columns, u):
    """Ask for all that is known of a column."""
    if u < len(columns):
        for part in range(0, known.shape[1], 8):  # numbers of 8 bytes in lines of 64
            prefetch(known, (columns[u], part))
        for k in range(0, parameters.shape[1], 64 // parameters.itemsize):
            prefetch(parameters, (columns[u], k))


def share_of(weight, passed):
    """Return the share of a weight after more has passed."""
    return weight / (weight + passed) if passed > 0.0 else 1.0


def growth(rare, passed):
    """Return the scale of a rare column relative to a later one."""
    return np.sqrt(1.0 + passed / rare) if rare > 0.0 else 1.0


def write_columns(
    columns, of_columns, of_parameters, known, parameters, step, total, standardizes, in_user_units, sums, restless
):
    """Write columns to the tables after a step, the ``total`` being the weight of all rows, and add to the sums.

    Return how many columns are restless, which are written, too: frequent ones, those with a code, and those whose
    memory was reset. Others change as `gather_columns` says until they occur again.
    """
    measures, memory, center, scale = of_columns
    theta, slots = of_parameters
    width, n_restless = theta.shape[1], 0
    for u in range(len(columns)):
        j = columns[u]
        square = 0.0
        fetch(known, parameters, columns, u + NEAR)
        for k in range(width):
            v = theta[u, k]
            parameters[j, k] = v
            square += 1.0 * v * v
        for part in range(len(slots)):
            for k in range(width):
                parameters[j, (1 + part) * width + k] = slots[part, u, k]
        measured = measures_of(measures, u)
        largest, filled = measured[0], measured[3]
        for part in range(N_MEASURES):
            known[j, part] = measures[part, u]
        for part in range(N_MEMORIES):
            known[j, MEMORY + part] = memory[part, u]
        known[j, CENTER], known[j, SCALE] = center[u], scale[u]
        known[j, LEARNED], known[j, MOVED], known[j, RARITY] = step, step, 0.0
        for part in range(len(sums)):
            known[j, SUMS + part] = 0.0
        rests = abs(memory[WEIGHT, u] - total) <= _ROUNDING * total and memory[VOTES, u] < np.inf
        if rests and not is_frequent(filled):
            squares, rare = mean_squares_of(measured, 1.0 * center[u], 1.0 * scale[u]) * total, rarity(filled)
            known[j, SUMS + ENTRIES], known[j, SUMS + INDICATED] = filled * total, indicated(measured) * total
            # A column below the smallest normal number has a scale of one, whatever becomes of it.
            if standardizes and filled > 0.0 and abs(scale[u] * np.sqrt(rare) - largest) <= _NEARLY * largest:
                known[j, RARITY], known[j, SUMS + LOG_SQUARES] = rare, squares / rare
                known[j, SUMS + SQUARES] = squares - np.log(total) * (squares / rare)
            else:
                known[j, SUMS + SQUARES] = squares
        else:
            restless[n_restless] = j
            n_restless += 1
        known[j, SUMS + NORM] = square / (1.0 * scale[u] * scale[u]) if in_user_units else square
        for part in range(len(sums)):
            sums[part] += known[j, SUMS + part]
    return n_restless


# ---------------------------------------------------------------------------------------------------------------------
# What calls them
# ---------------------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=64)
def gather_loop(kind: Kind) -> Loop | Callable:
    """Return `gather_columns` for the rule of an optimizer, compiled; without Numba, which has trained, as Python."""
    try:
        return specialized(gather_columns, kind.filled_in(), compact=True)
    except ImportError:
        return interpreted(gather_columns, kind.filled_in())


@cache
def write_loop() -> Loop:
    """Return the compiled `write_columns`, for whatever rule."""
    return specialized(write_columns, {}, compact=True)


class Few(NamedTuple):
    """Few columns as the loop of streams knows all of them: its two arrays, and views of their parts."""

    numbers: np.ndarray
    statistics: np.ndarray
    theta: np.ndarray  # by column, and then the parameters of the other layers
    slots: np.ndarray
    center: np.ndarray
    scale: np.ndarray
    measures: np.ndarray
    memory: np.ndarray
    of_targets: tuple[np.ndarray, ...]  # and of all rows
    above: np.ndarray  # parameters and slots of the other layers

    def clear(self, first: int) -> None:
        """Let columns from the first one on be such as no row has had."""
        self.measures[:, first:], self.memory[:, first:], self.memory[CODE, first:] = 0.0, 0.0, np.inf
        self.center[first:], self.scale[first:] = 0.0, 1.0
        self.theta[first : len(self.scale)], self.slots[:, first : len(self.scale)] = 0.0, 0.0

    @property
    def parameters(self) -> np.ndarray:
        """The parameters and slots of all layers, as a view."""
        return self.numbers[: self.theta.size * len(self.above)]

    @property
    def n_parameters(self) -> int:
        """The number of coefficients and slots of a column."""
        return len(self.above) * self.theta.shape[1]

    @classmethod
    def empty(cls, n_columns: int, width: int, n_above: int, n_slots: int, n_outputs: int, dtype: Any) -> Few:
        """Return arrays for so many columns with so many coefficients each, and parameters of other layers."""
        n_parameters = n_columns * width + n_above
        sizes = n_columns, n_outputs, n_parameters, n_slots, 0, 0, 0
        numbers = np.empty((1 + n_slots) * n_parameters + 2 * n_columns, dtype)  # none to predict with
        statistics = np.empty((4 + N_MEMORIES) * (n_columns + n_outputs) + 2 * n_outputs + 4)
        _, _, _, center, scale, _ = parts_of_numbers(numbers, sizes)
        measures, *of_targets, memory, last = parts_of_statistics(statistics, sizes)
        all_parameters = part_of(numbers, 0, (1 + n_slots, n_parameters))
        by_column = all_parameters.reshape(1 + n_slots, -1, width)
        parts = by_column[0], by_column[1:], center, scale, measures, memory
        return cls(numbers, statistics, *parts, (*of_targets, last), all_parameters[:, n_columns * width :])


class FewColumns:
    """What gathers columns, of one rule and for one beginning of the window."""

    def __init__(self, objective: Objective, optimizer: Optimizer, begin: int, in_user_units: bool):
        kind = Kind(
            optimizer=type(optimizer),
            loss=type(objective.loss),
            target=None,
            activation=type(objective.activation),
            adaptive=is_adaptive(optimizer),
            sparse=True,
            idle=idle_slots(optimizer),
        )
        width = objective.layer_sizes[1]
        self._loop, self.begin, self._in_user_units = gather_loop(kind), begin, in_user_units
        self._hyper = optimizer.hyper()
        fading, of_steps, *_ = drifts(optimizer, begin, WINDOW + 1, width)
        ends = max(int(np.count_nonzero(fading[0] > _FAINT * fading[1])), 2)  # what is left moves nothing
        self._of_drift = fading[:, :ends].copy(), of_steps
        self._width = width

    def empty(self, n_columns: int, n_parts: int, n_above: int, n_outputs: int, dtype: Any) -> Few:
        """Return arrays for so many columns, of whose coefficients there are so many parts, with their slots."""
        return Few.empty(n_columns, self._width, n_above, n_parts - 1, n_outputs, dtype)

    def gather(
        self,
        few: Few,
        columns: np.ndarray,
        tables: tuple[np.ndarray, np.ndarray],
        window: np.ndarray,
        stop: int,
        sums: np.ndarray,
        noted: np.ndarray = _NONE,
        changes: Sequence[Changes] = (),
    ) -> None:
        """Write what columns are after the steps of the window up to ``stop``, from their tables.

        Note in ``changes`` what these hold of columns that are not ``noted`` yet.
        """
        known, parameters = tables
        few.clear(len(columns))
        changed: Any = np.zeros(1, np.int64), known[:0], parameters[:0]
        if changes:
            changed = changes[0].columns, changes[0].rows, changes[1].rows
        self._loop(
            columns.view(np.uint64),
            known,
            parameters,
            window,
            self._of_drift,
            self.begin,
            stop,
            self._in_user_units,
            self._hyper,
            (few.measures, few.memory, few.center, few.scale),
            (few.theta, few.slots),
            sums,
            noted,
            changed,
            np.empty(self._width),
        )
        if changes:
            changes[1].columns[: 1 + changed[0][0]] = changed[0][: 1 + changed[0][0]]

    def write(
        self,
        few: Few,
        columns: np.ndarray,
        tables: tuple[np.ndarray, np.ndarray],
        step: int,
        total: float,
        standardizes: bool,
        sums: np.ndarray,
    ) -> np.ndarray:
        """Write columns to their tables after a step; return those that are restless."""
        known, parameters = tables
        restless = np.empty(len(columns), np.int64)
        n_restless = write_loop()(
            columns.view(np.uint64),
            (few.measures, few.memory, few.center, few.scale),
            (few.theta, few.slots),
            known,
            parameters,
            float(step),
            float(total),
            standardizes,
            self._in_user_units,
            sums,
            restless,
        )
        return restless[:n_restless]
