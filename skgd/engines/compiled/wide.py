"""Wide streams: rows of few entries among very many columns. A step visits the columns of its row alone.

What is known of a column lies side by side in a row of a table, see `skgd.wide`. For each row of the stream, the
columns that it has are gathered in short arrays, a step is taken with them as with a dense row, and they are written
back.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from skgd.coordinates import (
    Matrix,
    is_frequent,
    is_sparse,
    is_text_like,
    mean_squares_of,
    normal_scale,
    relearned,
    row_norm_of,
    standardized_coefficient,
    target_coordinates,
    user_coefficient,
)
from skgd.engines.compiled.columns import read_only_rows
from skgd.engines.compiled.interface import (
    automatic_rate,
    has_intercept,
    log_link,
    precondition,
    regression,
    shared,
    standardized,
    strategies,
    take_batch,
)
from skgd.engines.compiled.kinds import Kind
from skgd.engines.compiled.loss import target_of
from skgd.engines.compiled.row_steps import take_row_steps
from skgd.engines.compiled.specialize import Loop, announced, specialized
from skgd.engines.compiled.streams import have_units, learn_targets, measures_of, standardize
from skgd.engines.compiled.workspace import Shape, work_for
from skgd.engines.vectorized import StepSettings, read_only
from skgd.objective import Objective, penalty_of, penalty_rates
from skgd.optimizers import Optimizer, is_linear
from skgd.wide_table import (
    CENTERED,
    CLOCK,
    COUNT,
    ENTRIES,
    FEW,
    INDICATED,
    LARGEST,
    N_NUMBERS,
    N_STATISTICS,
    NORMS,
    OF_WORTH,
    PENALTY,
    ROWS,
    SOON,
    SQUARES,
    SUM,
    TIME,
    WEIGHT,
    coordinates_in,
    entries_in,
    measures_in,
    rare_scale_in,
    shrunk,
    with_entry,
)

_NONE = np.empty(0)


def take_wide(data, y, weight, t, table, numbers, centered_columns, rates, hypers, given, arrays, work):
    """Learn the columns from each row, then take a step with it: what `skgd.wide` does.

    ``table``, ``numbers`` and ``centered_columns``, whose first number is that of the others, are changed in place.
    Return how many steps were taken, fewer than rows if one came to numbers that are not finite, the rate of the last
    step, and the sums over the rows: loss, square of the gradient, penalty, and both by their worth.
    """
    values, indices, indptr = data
    (
        n_features,
        n_slots,
        alpha,
        l1_ratio,
        curvature,
        degree,
        n_classes,
        of_limits,
        initial,
        tiny,
        largest_number,
        known_worth,
    ) = given
    (
        entry,
        columns,
        x,
        center,
        inverse,
        scale,
        relative,
        theta,
        slots,
        longest,
        l1,
        l2,
        by_target,
        of_targets,
        goals,
        record,
        singles,
    ) = arrays
    unit, divisor, predictor_center, predictor_scale = by_target[0], by_target[1], by_target[2], by_target[3]
    target_center, target_scale, worth = by_target[4], by_target[5], by_target[6]
    n_outputs = theta.shape[1]
    width = 1 if shared else n_outputs  # of each slot
    first = N_NUMBERS + n_outputs
    intercept, of_intercept = numbers[N_NUMBERS:first], numbers[first : first + n_slots * width]
    targets = numbers[first + n_slots * width :].reshape((4, -1))
    loss, square_of_gradient, penalty, progress = 0.0, 0.0, 0.0, 0.0
    rate, one_weight, no_share = singles
    for step in range(len(y)):
        s = weight[step] if len(weight) > 0 else 1.0
        before = numbers[WEIGHT]
        numbers[ROWS] += 1.0
        numbers[WEIGHT] += s
        total, now = numbers[WEIGHT], t + step + 1.0
        inverse_total = 1.0 / total
        one_weight[0] = s / (total / numbers[ROWS])
        if regression:
            learn_targets(targets, y, step, step + 1, one_weight, one_weight[0], total / s * one_weight[0], of_targets)
        for k in range(n_outputs):
            target_center[k], target_scale[k] = 0.0, 1.0
            if regression and (precondition or standardized):
                found = target_coordinates(measures_of(targets, k), log_link, has_intercept)
                target_center[k], target_scale[k] = found
        of_units = target_center, target_scale, predictor_center, predictor_scale, divisor, unit, worth
        if not have_units(of_units, degree, known_worth, hypers):
            return step, rate[0], (loss, square_of_gradient, penalty, progress)
        # The columns of the row, and those that are centered, of which it has a value far from the center.
        n = 0
        for q in range(indptr[step], indptr[step + 1]):
            columns[n], x[0, n] = indices[q], values[q]
            if table[columns[n], CENTERED] > 0.0:
                table[columns[n], CENTERED] = now
            numbers[ENTRIES] += s if x[0, n] != 0.0 else 0.0
            n += 1
        n_centered, centered_columns[0] = centered_columns[0], 0
        for q in range(n_centered):
            j = centered_columns[1 + q]
            if table[j, CENTERED] != now:
                if is_frequent(table[j, COUNT] / total):
                    columns[n], x[0, n] = j, 0.0
                    n += 1
                else:
                    table[j, CENTERED] = 0.0
            if table[j, CENTERED] > 0.0:
                centered_columns[0] += 1
                centered_columns[centered_columns[0]] = j
        filled = numbers[ENTRIES] / (total * n_features)
        text_like = is_text_like(filled, n_features)
        norm = 0.0
        for u in range(n):
            j = columns[u]
            known = (table[j, COUNT], table[j, LARGEST], table[j, SUM], table[j, SQUARES])
            few, indicators = entries_in(known, before)
            old_scale: Any = 0.0
            largest = known[1]
            if precondition and 0.0 < largest < abs(x[0, u]):
                old_scale = rare_scale_in(known, before)
                if table[j, CENTERED] > 0.0:
                    old_scale = coordinates_in(known, before, has_intercept, text_like)[1]
                old_scale = normal_scale(old_scale, tiny)
            known = with_entry(known, x[0, u], s)
            if known[1] > largest:
                shrink = largest / known[1]
                for q in range(N_STATISTICS + n_outputs, table.shape[1]):
                    table[j, q] *= shrink * shrink
            after = entries_in(known, total)
            numbers[FEW] += after[0] - few
            numbers[INDICATED] += after[1] - indicators
            center[u], scale[u] = 0.0, 1.0
            if precondition:
                r = rare_scale_in(known, total)
                if is_frequent(known[0] / total) and numbers[ROWS] >= SOON:
                    c, deviation = coordinates_in(known, total, has_intercept, text_like)
                    if table[j, CENTERED] == 0.0 and c != 0.0:
                        centered_columns[0] += 1
                        centered_columns[centered_columns[0]] = j
                        table[j, CENTERED] = now
                    if table[j, CENTERED] > 0.0:
                        center[u], r = c, deviation
                scale[u] = normal_scale(r, tiny)
            inverse[u], relative[u], in_slots = 1.0 / scale[u], 1.0, 1.0
            if known[1] > 0.0:
                relative[u], in_slots = scale[u] / known[1], known[1] * inverse[u]
            in_slots *= in_slots
            square = known[3] * in_slots * inverse_total
            if center[u] != 0.0:
                square = mean_squares_of(measures_in(known, total), center[u], scale[u])
            z = (x[0, u] - center[u]) * inverse[u]
            norm += z * z
            for k in range(n_outputs):
                w = table[j, N_STATISTICS + k]
                if old_scale > 0.0:
                    w *= relearned(old_scale, scale[u], False)
                for m in range(n_slots):
                    at = N_STATISTICS + n_outputs + m * width + (0 if shared else k)
                    slots[m, u, k] = table[j, at] * in_slots if table[j, COUNT] > 0.0 else initial[m]
                longest[u, k] = 1.0 / (curvature * square)
                v = standardized_coefficient(w, scale[u], target_scale[k])
                if alpha > 0.0:
                    l1[u, k], l2[u, k] = penalty_rates(alpha, l1_ratio, scale[u], target_scale[k], unit[k])
                    numbers[PENALTY] -= penalty_of(v, l1[u, k], l2[u, k], unit[k])
                    numbers[OF_WORTH] -= penalty_of(v, l1[u, k], l2[u, k], worth[k])
                    passed = numbers[CLOCK] - table[j, TIME]
                    if passed > 0.0 and v != 0.0:
                        one = strategies.rule(0.0, 0.0, 1.0, now, strategies.slots_of(slots, u, k), hypers[0])[1]
                        v = shrunk(v, one * passed, l1[u, k], l2[u, k])
                theta[u, k] = v
            table[j, COUNT], table[j, LARGEST], table[j, SUM], table[j, SQUARES] = known
        numbers[NORMS] += s * norm
        rate[0] = rates[step]
        if automatic_rate:
            entries = numbers[FEW]
            one_hot = 0.0 if text_like or entries <= 0.0 else numbers[INDICATED] / entries
            of_rows = row_norm_of(numbers[NORMS] / total, has_intercept)
            many = n_classes if is_sparse(filled) else 1
            rate[0] *= strategies.auto_learning_rate(of_rows, curvature, many, one_hot, hypers[0])
        if has_intercept:
            for k in range(n_outputs):
                shift = 0.0
                for u in range(n):
                    if center[u] != 0.0:
                        shift += center[u] * user_coefficient(theta[u, k], scale[u], target_scale[k])
                theta[n, k] = (intercept[k] + shift - target_center[k]) / target_scale[k] if now > 1.0 else 0.0
                l1[n, k], l2[n, k], longest[n, k] = 0.0, 0.0, 1.0 / curvature
                for m in range(n_slots):
                    slots[m, n, k] = of_intercept[m * width + (0 if shared else k)]
        if standardized:
            standardize(y, step, step + 1, target_center, target_scale, goals)
            of_row = goals
        else:
            of_row = y[step : step + 1]
        n_parameters = n + 1 if has_intercept else n
        numbers[PENALTY], numbers[OF_WORTH] = max(numbers[PENALTY], 0.0), max(numbers[OF_WORTH], 0.0)
        taken = take_batch(
            (x,),
            of_row,
            one_weight,
            entry,
            1,
            rate,
            t + step,
            (theta[:n_parameters], slots, theta[:0]),
            no_share,
            hypers,
            (center[:n], inverse, predictor_center, predictor_scale, divisor, unit, worth),
            (l1, l2, alpha > 0.0),
            (longest, of_limits[0], of_limits[1], of_limits[2], n * n_outputs),
            work,
            record,
        )
        if taken == 0:
            return step, rate[0], (loss, square_of_gradient, penalty, progress)
        loss += record[0, 0]
        square_of_gradient += record[0, 1]
        numbers[CLOCK] += rate[0]
        finite = True
        for k in range(n_outputs):
            shift = 0.0
            for u in range(n):
                j = columns[u]
                w = user_coefficient(theta[u, k], scale[u], target_scale[k])
                finite = finite and abs(w) <= largest_number
                shift += center[u] * w
                table[j, N_STATISTICS + k] = w
                for m in range(n_slots):
                    at = N_STATISTICS + n_outputs + m * width + (0 if shared else k)
                    table[j, at] = slots[m, u, k] * (relative[u] * relative[u])
                if alpha > 0.0:
                    numbers[PENALTY] += penalty_of(theta[u, k], l1[u, k], l2[u, k], unit[k])
                    numbers[OF_WORTH] += penalty_of(theta[u, k], l1[u, k], l2[u, k], worth[k])
            if has_intercept:
                intercept[k] = target_center[k] + target_scale[k] * theta[n, k] - shift
                finite = finite and abs(intercept[k]) <= largest_number
                for m in range(n_slots):
                    of_intercept[m * width + (0 if shared else k)] = slots[m, n, k]
            else:
                intercept[k] = target_center[k]
        for u in range(n):
            table[columns[u], TIME] = numbers[CLOCK]
        penalty += numbers[PENALTY]
        progress += record[0, 2] + numbers[OF_WORTH]
        if not finite:
            return step, rate[0], (loss, square_of_gradient, penalty, progress)
    return len(y), rate[0], (loss, square_of_gradient, penalty, progress)


@lru_cache(maxsize=256)
def wide_loop(kind: Kind, flags: tuple[bool, ...], log_link: bool) -> Loop:
    """Return the compiled `take_wide` for the classes of an optimizer and a loss, and a kind of stream."""
    of_stream = dict(zip(("regression", "precondition", "standardized", "automatic_rate"), flags, strict=True))
    return specialized(take_wide, {**kind.filled_in(), **of_stream, "log_link": log_link, "take_batch": take_row_steps})


class WideLoop:
    """The compiled loop of a wide stream, with all that stays the same from call to call."""

    def __init__(
        self,
        objective: Objective,
        optimizer: Optimizer,
        dtype: np.dtype,
        y: np.ndarray,
        settings: StepSettings,
        learning_rate: float | str,
        precondition: bool,
        shared: bool,
    ):
        loss, automatic = objective.loss, isinstance(learning_rate, str)
        n_slots, info = 0 if is_linear(optimizer) else len(optimizer.slots), np.finfo(dtype)
        self._kind = Kind(
            optimizer=type(optimizer),
            loss=type(loss),
            target=target_of(objective, y),
            single=objective.n_outputs == 1,
            has_intercept=objective.fit_intercept,
            linear=is_linear(optimizer),
            bounded=automatic and bool(optimizer.bounded),
            implicit=automatic and bool(optimizer.implicit),
            smooth=bool(loss.smooth),
            row_by_row=True,
            shared=shared,
        )
        flags = y.dtype.kind == "f", precondition, loss.standardized, automatic
        self._loop = wide_loop(self._kind, flags, loss.log_link)
        self._settings, self._n_outputs, self._n_slots = settings, objective.n_outputs, len(optimizer.slots)
        self._base = 1.0 if isinstance(learning_rate, str) else learning_rate
        self._hypers = (optimizer.hyper(), loss.hyper(), tuple(map(float, loss.label_values)))
        max_grad_norm = np.inf if settings.max_grad_norm is None else float(settings.max_grad_norm)
        self._given = (
            objective.n_features,
            n_slots,
            float(objective.alpha),
            float(objective.l1_ratio),
            float(loss.curvature),
            float(loss.degree),
            objective.n_outputs if objective.exclusive_classes else 1,
            (max_grad_norm, 0.0, float(np.finfo(np.float64).eps ** (2 / 3))),
            np.array(optimizer.initial()[:n_slots], np.float64),
            float(info.smallest_normal),
            float(info.max),
            np.array(objective.worth) if isinstance(objective.worth, np.ndarray) else _NONE,
        )
        self._spare: list[tuple[int, tuple, tuple]] = []

    def __call__(
        self,
        array: np.ndarray,
        numbers: np.ndarray,
        centered_columns: np.ndarray,
        X: Matrix,
        y: np.ndarray,
        weight: np.ndarray | None,
        t: int,
        factors: np.ndarray,
    ) -> tuple[int, float, tuple[float, ...]]:
        """Take the steps of a call of ``partial_fit``, in place; return what `take_wide` does."""
        try:
            room, arrays, work = self._spare.pop()  # not one that another thread uses
        except IndexError:
            room = -1
        if room < len(centered_columns):  # which there is room for, and for the entries of a row
            room = 2 * len(centered_columns)
            arrays, work = self._allocated(room)
        with announced(self._settings.verbose):
            result = self._loop(
                read_only_rows(X),
                read_only(y),
                _NONE if weight is None else weight,
                t,
                array,
                numbers,
                centered_columns,
                self._base * factors,
                self._hypers,
                self._given,
                arrays,
                work,
            )
        self._spare.append((room, arrays, work))
        return result

    def _allocated(self, room: int) -> tuple[tuple, tuple]:
        """Return arrays for rows of so many columns."""
        n_outputs = self._n_outputs
        by_target = np.zeros((7, n_outputs))
        arrays = (
            np.zeros(1, np.int64),
            np.empty(room, np.int64),
            np.empty((1, room)),
            *np.empty((4, room)),
            np.empty((room + 1, n_outputs)),
            np.zeros((self._n_slots, room + 1, n_outputs)),
            np.empty((room + 1, n_outputs)),
            np.zeros((room + 1, n_outputs)),
            np.zeros((room + 1, n_outputs)),
            by_target,
            (np.empty((4, n_outputs)), np.empty((2, n_outputs)), _NONE),
            np.empty((1, n_outputs)),
            np.zeros((1, 3)),
            (np.empty(1), np.empty(1), np.zeros(1)),
        )
        shape = Shape(
            n_rows=1,
            n_steps=1,
            n_entries=room,
            n_outputs=n_outputs,
            n_chunks=room + 1,
            width=n_outputs,
            layer_sizes=(room, n_outputs),
            dtype=np.dtype(np.float64),
        )
        return arrays, tuple(work_for(shape, self._kind)._replace(active=np.empty(0, np.uintp)))
