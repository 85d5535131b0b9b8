"""Wide streams: rows of few entries among very many columns. A step visits the columns of its row alone.

What is known of a column lies side by side in a row of a table, see `skgd.wide`. For each row of the stream, the
columns that it has are gathered in short arrays, a step is taken with them as with a dense row, and they are written
back.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from skgd.coordinates import (
    is_frequent,
    is_sparse,
    is_text_like,
    mean_squares_of,
    merged_measures,
    normal_scale,
    rarity,
    relearned,
    row_norm_of,
    standardized_coefficient,
    target_coordinates,
)
from skgd.engines.compiled.catch_up import after_repeats
from skgd.engines.compiled.interface import (
    Limits,
    Penalty,
    Scales,
    automatic_rate,
    averages,
    has_intercept,
    log_link,
    n_slots,
    part_of,
    precondition,
    prefetch,
    regression,
    repeating,
    shared,
    single,
    standardized,
    strategies,
)
from skgd.engines.compiled.kinds import Kind
from skgd.engines.compiled.loss import target_of
from skgd.engines.compiled.row_steps import take_row_step
from skgd.engines.compiled.specialize import CannotCompile, Loop, announced, are_ours, interpreted, specialized
from skgd.engines.compiled.stream_parts import measures_of
from skgd.engines.compiled.streams import have_units, standardize
from skgd.engines.vectorized import StepSettings
from skgd.measuring import nonzero
from skgd.objective import Objective, penalty_of, penalty_rates, proximal_point
from skgd.optimizers import Optimizer, is_linear, laziness_of
from skgd.wide_table import (
    CLOCK,
    COUNT,
    ENTRIES,
    FEW,
    INDICATED,
    LARGEST,
    LEFT,
    MOST_LARGEST,
    N_NUMBERS,
    N_STATISTICS,
    NORMS,
    OF_WORTH,
    PENALTY,
    RATE,
    ROWS,
    SEEN,
    SOON,
    SQUARES,
    SUM,
    TIME,
    WEIGHT,
    Changes,
    coordinates_in,
    entries_in,
    measures_in,
    rare_scale_in,
    relative_scale_of,
    scale_in_largest,
    share_after,
    shrunk,
    with_entry,
)

_NONE, _ONE = np.empty(0), np.ones(1)
_FLOAT, _INTEGER, _SHORT = map(np.dtype, (np.float64, np.int64, np.int32))
_OF_TARGETS = {"f": _FLOAT, "i": _INTEGER}
_BY_ENTRY, _BY_PARAMETER, _BY_OUTPUT = 13, 6, 9  # arrays, see `parts_of`
# Entries, times outputs: as Python they take about as long as importing Numba, after which it is known whether the disk
# has the loop; and so long that compiling it repays, which takes some seconds.
_SOME_ENTRIES, _MANY_ENTRIES = 2 * 10**4, 10**5
_READ, _SCRATCH = (0, 1, 2, 11, 13, 14, 15, 16, 17), 12  # arguments of `take_wide`: arrays that are not to be changed
_NO_SPARE = np.empty(0, np.uint64), _NONE
_UNKNOWN = -1.0  # the scale of a column that no row has had


def take_wide(
    values,
    indices,
    indptr,
    y,
    t,
    table,
    numbers,
    targets,
    centered_columns,
    changed_columns,
    changed_rows,
    columns,
    scratch,
    weight,
    rates,
    shares,
    known_worth,
    initial,
    hypers,
    given,
):
    """Learn the columns from each row, then take a step with it: what `skgd.wide` does.

    ``table``, ``numbers``, ``targets`` and ``centered_columns``, whose first number is that of the others, are changed
    in place; ``changed_columns``, which has such a number, too, and ``changed_rows`` note what the table held before.
    Of ``weight``, ``rates`` and ``shares``, the last number is that of all further rows. Return how many steps were
    taken, fewer than rows if one is not valid or came to numbers that are not finite, the rate of the last step, and
    the sums over the rows: loss, square of the gradient, penalty, and both by their worth.
    """
    n_features, many_outputs, alpha, l1_ratio, decay = given[:5]
    curvature, degree, n_classes, max_grad_norm, tiny, largest_number = given[5:]
    n_outputs = 1 if single else many_outputs
    parts = parts_of(scratch, len(columns), n_outputs, n_slots)
    of_entries, of_parameters, slots, of_outputs, of_step = parts
    entries, x, center, inverse, scale, relative, old_scale, count, unit_of_column, squares = of_entries[:10]
    share_of_rows, passed, share_left = of_entries[10:]
    theta, l1, l2, longest, point, lengths = of_parameters
    target_center, target_scale, predictor_center, predictor_scale, divisor, unit, worth, losses, sizes = of_outputs
    raw, moved, slopes, goals, one_weight = of_step
    width = 1 if shared else n_outputs  # of each slot
    first = N_NUMBERS + n_outputs
    of_slots = N_STATISTICS + n_outputs
    of_gaps = of_slots + n_slots * width
    n_numbers = of_gaps + (n_outputs if averages else 0)  # of each column
    penalized = alpha > 0.0
    scales = Scales(center, inverse, predictor_center, predictor_scale, divisor, unit, worth)
    penalty_of_step = Penalty(l1, l2, penalized)
    of_step = raw, moved, slopes, losses, sizes, point, lengths
    loss, square_of_gradient, penalty, progress, rate = 0.0, 0.0, 0.0, 0.0, 0.0
    for q in range(indptr[0], indptr[1]):
        prefetch(table, (indices[q], 0))
    n_rows = len(y)
    for step in range(n_rows):
        s = weight[min(step, len(weight) - 1)]
        before = numbers[WEIGHT]
        if decay > 0.0 and before > 0.0:
            numbers[CLOCK] += decay * (numbers[NORMS] / before) * numbers[RATE]
        numbers[ROWS] += 1.0
        numbers[WEIGHT] += s
        total, now = numbers[WEIGHT], t + step + 1.0
        inverse_total = 1.0 / total
        one_weight[0] = s / (total / numbers[ROWS])
        for k in range(n_outputs):
            target_center[k], target_scale[k], known = 0.0, 1.0, targets[0, k] > 0.0 if regression else True
            if regression:
                learn_target(targets, k, y[step, k], s / total)
            if regression and (precondition or standardized):
                found = target_coordinates(measures_of(targets, k), log_link, has_intercept)
                target_center[k], target_scale[k] = found
                if targets[0, k] > 0.0 and not known:  # after zeros, which have no unit, the model begins at the mean
                    numbers[N_NUMBERS + k] = target_center[k]
        of_units = target_center, target_scale, predictor_center, predictor_scale, divisor, unit, worth
        if not have_units(of_units, degree, known_worth, hypers):
            return step, rate, (loss, square_of_gradient, penalty, progress)
        # The columns of the row, and those that are centered, of which it has a value far from the center.
        n, weight_of_entries = 0, numbers[ENTRIES]
        for q in range(indptr[step], indptr[step + 1]):
            column, value = indices[q], values[q]
            if not (0 <= column < n_features and abs(value) < np.inf):  # which is left to who reads them
                return step, rate, (loss, square_of_gradient, penalty, progress)
            columns[n], x[n] = column, value
            j = columns[n]  # unsigned: it does not count from the end
            n += 1
            note(table, j, n_numbers, t, changed_columns, changed_rows)
            seen = table[j, SEEN]
            if abs(seen) == now:  # several entries in one place: left to them, too
                return step, rate, (loss, square_of_gradient, penalty, progress)
            table[j, SEEN] = now if seen > 0.0 else -now
            weight_of_entries += s if value != 0.0 else 0.0
        numbers[ENTRIES] = weight_of_entries
        n_centered, centered_columns[0] = centered_columns[0], 0
        for q in range(n_centered):
            j = centered_columns[1 + q]
            if table[j, SEEN] != now:
                note(table, j, n_numbers, t, changed_columns, changed_rows)
                if is_frequent(table[j, COUNT] / total):
                    columns[n], x[n] = j, 0.0
                    n += 1
                    table[j, SEEN] = now
                else:
                    table[j, SEEN] = -now
            if table[j, SEEN] > 0.0:
                centered_columns[0] += 1
                centered_columns[centered_columns[0]] = j
        for q in range(indptr[step + 1], indptr[min(step + 2, n_rows)]):
            prefetch(table, (indices[q], 0))
        filled = numbers[ENTRIES] / (total * n_features)
        text_like = is_text_like(filled, n_features)
        soon = numbers[ROWS] < SOON
        # Some short loops one after the other, of which the processor does more at a time than of a long one.
        norm, few, indicated = 0.0, 0.0, 0.0
        for u in range(n):
            j, value = columns[u], x[u]
            known = (table[j, COUNT], table[j, LARGEST], table[j, SUM], table[j, SQUARES])
            largest = known[1]
            entries_before = entries_in(known, before)
            old_scale[u] = 0.0 if known[0] > 0.0 else _UNKNOWN
            if precondition and 0.0 < largest < abs(value):
                old = rare_scale_in(known, before)
                if table[j, SEEN] > 0.0:
                    old = coordinates_in(known, before, has_intercept, text_like)[1]
                old_scale[u] = normal_scale(old, tiny)
            known = with_entry(known, value, s)
            if known[1] > largest and not repeating:
                shrink = largest / known[1]
                for q in range(of_slots, of_gaps):
                    table[j, q] *= shrink * shrink
            table[j, COUNT], table[j, LARGEST], table[j, SUM], table[j, SQUARES] = known
            entries_after = entries_in(known, total)
            few += entries_after[0] - entries_before[0]
            indicated += entries_after[1] - entries_before[1]
            count[u], unit_of_column[u], squares[u] = known[0], known[1], known[3]
            passed[u] = numbers[CLOCK] - table[j, TIME]
        for u in range(n):
            share_of_rows[u] = count[u] / total
        for u in range(n):
            relative[u] = rarity(share_of_rows[u]) if precondition else 1.0
        for u in range(n):
            relative[u] = relative_scale_of((count[u], 0.0, 0.0, squares[u]), relative[u])
        for u in range(n):
            center[u] = 0.0
            r = nonzero(unit_of_column[u] * relative[u])
            known_in_largest = precondition and unit_of_column[u] > 0.0 and r >= tiny
            r = normal_scale(r, tiny) if precondition else 1.0
            scale[u] = r
            relative[u] = relative[u] if known_in_largest else scale_in_largest(r, unit_of_column[u])
        for u in range(n if precondition and not soon else 0):
            if is_frequent(share_of_rows[u]):
                j = columns[u]
                known = (table[j, COUNT], table[j, LARGEST], table[j, SUM], table[j, SQUARES])
                far, deviation = coordinates_in(known, total, has_intercept, text_like)
                if table[j, SEEN] <= 0.0 and far != 0.0:
                    centered_columns[0] += 1
                    centered_columns[centered_columns[0]] = j
                    table[j, SEEN] = now
                if table[j, SEEN] > 0.0:
                    center[u], scale[u] = far, normal_scale(deviation, tiny)
                    relative[u] = scale_in_largest(scale[u], unit_of_column[u])
        in_rows = numbers[ROWS] * inverse_total
        for u in range(n):
            inverse[u] = 1.0 / scale[u]
        for u in range(n if decay > 0.0 else 0):
            share_left[u] = share_after(passed[u], count[u] * in_rows)
        for u in range(n):
            in_slots = np.maximum(nonzero(unit_of_column[u]) * inverse[u], 1.0 / MOST_LARGEST)
            in_slots *= in_slots
            square = squares[u] * in_slots * inverse_total
            if center[u] != 0.0:
                j = columns[u]
                known = (table[j, COUNT], table[j, LARGEST], table[j, SUM], table[j, SQUARES])
                square = mean_squares_of(measures_in(known, total), center[u], scale[u])
            z = (x[u] - center[u]) * inverse[u]
            norm += z * z
            entries[u], x[u], longest[u, 0] = z, in_slots, curvature * square
        for u in range(n):
            longest[u, 0] = 1.0 / longest[u, 0] if longest[u, 0] > 0.0 else np.inf
        for u in range(n):
            j = columns[u]
            for k in range(n_outputs):
                w = table[j, N_STATISTICS + k]
                if old_scale[u] > 0.0:
                    w *= relearned(old_scale[u], scale[u], False)
                for m in range(n_slots):
                    in_table = table[j, of_slots + m * width + (0 if shared else k)]
                    in_table *= 1.0 if repeating else x[u]
                    slots[m, u, k] = initial[m] if old_scale[u] == _UNKNOWN else in_table
                v = standardized_coefficient(w, scale[u], target_scale[k] if regression else 1.0)
                v = share_left[u] * v if decay > 0.0 else v
                if penalized:
                    l1[u, k], l2[u, k] = penalty_rates(alpha, l1_ratio, scale[u], target_scale[k], unit[k])
                    numbers[PENALTY] -= penalty_of(v, l1[u, k], l2[u, k], unit[k])
                    numbers[OF_WORTH] -= penalty_of(v, l1[u, k], l2[u, k], worth[k])
                if repeating:
                    before = strategies.attached(v, strategies.slots_of(slots, u, k), hypers[0])
                    if passed[u] > 0.0:
                        v, length, before = after_repeats(v, before, passed[u], numbers[RATE], now - 1.0, hypers[0])
                        v = proximal_point(v, length, l1[u, k], l2[u, k]) if penalized else v
                    strategies.keep_slots(slots, u, k, before)
                elif penalized and passed[u] > 0.0 and v != 0.0:
                    one = strategies.rule(0.0, 0.0, 1.0, now, strategies.slots_of(slots, u, k), hypers[0])[1]
                    v = shrunk(v, one * passed[u], l1[u, k], l2[u, k])
                theta[u, k] = v
        numbers[FEW] += few
        numbers[INDICATED] += indicated
        numbers[NORMS] += s * norm
        rate = rates[min(step, len(rates) - 1)]
        if automatic_rate:
            one_hot = 0.0 if text_like or numbers[FEW] <= 0.0 else numbers[INDICATED] / numbers[FEW]
            of_rows = row_norm_of(numbers[NORMS] / total, has_intercept)
            many = n_classes if is_sparse(filled) else 1.0
            rate *= strategies.auto_learning_rate(of_rows, curvature, many, one_hot, hypers[0])
        n_parameters = n
        if has_intercept:
            n_parameters, entries[n], longest[n, 0] = n + 1, 1.0, 1.0 / curvature
            for k in range(n_outputs):
                shift = 0.0
                for u in range(n):
                    if center[u] != 0.0:
                        shift += center[u] * (target_scale[k] * (theta[u, k] * inverse[u]))
                intercept = numbers[N_NUMBERS + k] + shift - target_center[k]
                theta[n, k] = intercept / target_scale[k] if now > 1.0 else 0.0
                l1[n, k], l2[n, k] = 0.0, 0.0
                for m in range(n_slots):
                    slots[m, n, k] = numbers[first + m * width + (0 if shared else k)]
                if repeating:
                    before = strategies.attached(theta[n, k], strategies.slots_of(slots, n, k), hypers[0])
                    strategies.keep_slots(slots, n, k, before)
        numbers[PENALTY], numbers[OF_WORTH] = max(numbers[PENALTY], 0.0), max(numbers[OF_WORTH], 0.0)
        of_row = y[step : step + 1]
        if standardized:
            standardize(y, step, step + 1, target_center, target_scale, goals)
            of_row = goals
        of_row = n_parameters, entries, columns, of_row, one_weight, 0
        limits = Limits(longest, max_grad_norm, 0.0, 0.0, n * n_outputs)
        share, sums = take_row_step(of_row, rate, now, theta, slots, hypers, scales, penalty_of_step, limits, of_step)
        if share < 0.0:
            return step, rate, (loss, square_of_gradient, penalty, progress)
        loss += sums[0]
        square_of_gradient += sums[1]
        if decay == 0.0:
            numbers[CLOCK] += 1.0 if repeating else rate
        numbers[RATE] = rate
        if repeating:
            for u in range(n_parameters):
                for k in range(n_outputs):
                    after = strategies.detached(theta[u, k], strategies.slots_of(slots, u, k), hypers[0])
                    strategies.keep_slots(slots, u, k, after)
        finite = True
        of_gap = 1.0 / numbers[LEFT] if numbers[LEFT] > 0.0 else 0.0
        for k in range(n_outputs):
            shift = 0.0
            for u in range(n):
                j = columns[u]
                w = theta[u, k] * inverse[u]
                if regression:
                    w *= target_scale[k]
                finite = finite and abs(w) <= largest_number
                if center[u] != 0.0:
                    shift += center[u] * w
                if averages:
                    table[j, of_gaps + k] += (w - table[j, N_STATISTICS + k]) * of_gap
                table[j, N_STATISTICS + k] = w
                table[j, TIME] = numbers[CLOCK]
                for m in range(n_slots):
                    in_table = slots[m, u, k] * (1.0 if repeating else relative[u] * relative[u])
                    table[j, of_slots + m * width + (0 if shared else k)] = in_table
                if penalized:
                    numbers[PENALTY] += penalty_of(theta[u, k], l1[u, k], l2[u, k], unit[k])
                    numbers[OF_WORTH] += penalty_of(theta[u, k], l1[u, k], l2[u, k], worth[k])
            intercept = target_center[k]
            if has_intercept:
                intercept += target_scale[k] * theta[n, k] - shift
                finite = finite and abs(intercept) <= largest_number
                for m in range(n_slots):
                    numbers[first + m * width + (0 if shared else k)] = slots[m, n, k]
            if averages:
                numbers[len(numbers) - n_outputs + k] += (intercept - numbers[N_NUMBERS + k]) * of_gap
            numbers[N_NUMBERS + k] = intercept
        if averages:
            newest = shares[min(step, len(shares) - 1)]
            numbers[LEFT] = 1.0 if newest == 1.0 else numbers[LEFT] * (1.0 - newest)
        penalty += numbers[PENALTY]
        progress += sums[2] + numbers[OF_WORTH]
        if not finite:
            return step, rate, (loss, square_of_gradient, penalty, progress)
    return n_rows, rate, (loss, square_of_gradient, penalty, progress)


def note(table, j, n_numbers, t, changed_columns, changed_rows):
    """Note what the table holds of a column that has not been seen since a step: before it is changed.

    Of others, too, but these do not count: the next note takes their place. A branch would be one that no processor
    foresees, on memory that it waits for.
    """
    n = changed_columns[0]
    changed_columns[1 + n] = j
    for q in range(n_numbers):
        changed_rows[n, q] = table[j, q]
    changed_columns[0] = n + (1 if abs(table[j, SEEN]) <= t else 0)


def learn_target(measures, k, value, share):
    """Merge one more target of an output into the measures of earlier ones."""
    largest = max(measures[0, k], abs(value))
    of_value: Any = largest, value / nonzero(largest), 0.0, 1.0 if value != 0.0 else 0.0
    measures[0, k], measures[1, k], measures[2, k], measures[3, k] = merged_measures(
        measures_of(measures, k), of_value, share
    )


def size_of_scratch(room, n_outputs, n_slots):
    """Return how many numbers `parts_of` divides."""
    n = room + 1
    return n * (_BY_ENTRY + (_BY_PARAMETER + n_slots) * n_outputs) + (_BY_OUTPUT + 4) * n_outputs + 1


def parts_of(scratch, room, n_outputs, n_slots):
    """Return the arrays of a step: by entry, by parameter, of slots, by output, and of the row."""
    n = room + 1
    a, b = n * n_outputs, n * _BY_ENTRY
    c = b + _BY_PARAMETER * a
    d = c + n_slots * a
    e = d + _BY_OUTPUT * n_outputs
    many, one = (n, n_outputs), (1, n_outputs)
    by_entry = (
        part_of(scratch, 0, (n,)),
        part_of(scratch, n, (n,)),
        part_of(scratch, 2 * n, (n,)),
        part_of(scratch, 3 * n, (n,)),
        part_of(scratch, 4 * n, (n,)),
        part_of(scratch, 5 * n, (n,)),
        part_of(scratch, 6 * n, (n,)),
        part_of(scratch, 7 * n, (n,)),
        part_of(scratch, 8 * n, (n,)),
        part_of(scratch, 9 * n, (n,)),
        part_of(scratch, 10 * n, (n,)),
        part_of(scratch, 11 * n, (n,)),
        part_of(scratch, 12 * n, (n,)),
    )
    by_parameter = (
        part_of(scratch, b, many),
        part_of(scratch, b + a, many),
        part_of(scratch, b + 2 * a, many),
        part_of(scratch, b + 3 * a, many),
        part_of(scratch, b + 4 * a, many),
        part_of(scratch, b + 5 * a, many),
    )
    k = n_outputs
    by_output = (
        part_of(scratch, d, (k,)),
        part_of(scratch, d + k, (k,)),
        part_of(scratch, d + 2 * k, (k,)),
        part_of(scratch, d + 3 * k, (k,)),
        part_of(scratch, d + 4 * k, (k,)),
        part_of(scratch, d + 5 * k, (k,)),
        part_of(scratch, d + 6 * k, (k,)),
        part_of(scratch, d + 7 * k, (k,)),
        part_of(scratch, d + 8 * k, (k,)),
    )
    of_row = (
        part_of(scratch, e, one),
        part_of(scratch, e + k, one),
        part_of(scratch, e + 2 * k, one),
        part_of(scratch, e + 3 * k, one),
        part_of(scratch, e + 4 * k, (1,)),
    )
    return by_entry, by_parameter, part_of(scratch, c, (n_slots, n, n_outputs)), by_output, of_row


@lru_cache(maxsize=256)
def wide_loop(kind: Kind, flags: tuple[bool, ...], log_link: bool, indices: str) -> Loop:
    """Return the compiled `take_wide` for the classes of an optimizer and a loss, a kind of stream, and of indices."""
    exact = are_ours(kind.optimizer, kind.loss)
    return specialized(take_wide, _filled_in(kind, flags, log_link), exact, variant=f"_{indices}")


@lru_cache(maxsize=256)
def wide_loop_as_python(kind: Kind, flags: tuple[bool, ...], log_link: bool) -> Callable | None:
    """Return the same as Python, or None if that may give other bits: a user's functions may do anything."""
    replacements = _filled_in(kind, flags, log_link)
    return interpreted(take_wide, replacements) if are_ours(kind.optimizer, kind.loss) else None


def _filled_in(kind: Kind, flags: tuple[bool, ...], log_link: bool) -> dict[str, Any]:
    names = "regression", "precondition", "standardized", "automatic_rate", "averages"
    of_stream = dict(zip(names, flags, strict=True))
    n_slots = 0 if kind.linear else len(kind.optimizer.slots)
    return {**kind.filled_in(), **of_stream, "log_link": log_link, "n_slots": n_slots}


class WideLoop:
    """The loop of a wide stream, with all that stays the same from call to call.

    It is compiled, but for the first rows: these are taken as Python, to the same bits, where it would take longer to
    compile it, or to import Numba and read it from the disk. ``compiles`` says whether there is Numba, and imports it.
    """

    def __init__(
        self,
        compiles: Callable[[], bool],
        objective: Objective,
        optimizer: Optimizer,
        dtype: np.dtype,
        X: Any,
        y: np.ndarray,
        settings: StepSettings,
        learning_rate: float | str,
        precondition: bool,
        shared: bool,
        averages: bool,
        decay: float,
    ):
        loss, automatic = objective.loss, isinstance(learning_rate, str)
        n_slots, info = 0 if is_linear(optimizer) else len(optimizer.slots), np.finfo(dtype)
        self._n_outputs, self._n_slots = objective.n_outputs, n_slots
        kind = Kind(
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
            repeating=laziness_of(optimizer) == "repeat",
        )
        self._kind = kind, (y.dtype.kind == "f", precondition, loss.standardized, automatic, averages), loss.log_link
        self._of_indices = _index_type(X)
        self._of_targets = _OF_TARGETS.get(y.dtype.kind, y.dtype)
        self._compiles = compiles
        self._compiled: Loop | None = None
        self.is_at_hand = False  # without compiling
        self._verbose = settings.verbose
        self._rates = np.array([1.0 if automatic else learning_rate])
        self._usual = self._rates, _NONE
        worth = np.array(objective.worth) if isinstance(objective.worth, np.ndarray) else _NONE
        self._given = (
            worth,
            np.array(optimizer.initial()[:n_slots], np.float64),
            (optimizer.hyper(), loss.hyper(), tuple(map(float, loss.label_values))),
            (
                objective.n_features,
                objective.n_outputs,
                float(objective.alpha),
                float(objective.l1_ratio),
                decay,
                float(loss.curvature),
                float(loss.degree),
                float(objective.n_outputs if objective.exclusive_classes else 1),
                np.inf if settings.max_grad_norm is None else float(settings.max_grad_norm),
                float(info.smallest_normal),
                float(info.max),
            ),
        )
        self._spare: list[tuple[np.ndarray, np.ndarray]] = []

    def takes(self, X: Any) -> bool:
        """Say whether this is the loop for sparse rows with such indices."""
        return _index_type(X) is self._of_indices

    def __call__(
        self,
        stream: Any,
        changes: Changes,
        array: np.ndarray,
        data: tuple[Any, np.ndarray, np.ndarray | None],
        steps: tuple[np.ndarray, np.ndarray] | None,
    ) -> tuple[int, float, tuple[float, ...]]:
        """Take the steps of a call of ``partial_fit``, in place; return what `take_wide` does.

        ``steps`` are factors on the learning rate and shares of the iterates in their average, where steps differ.
        """
        (X, y, weight), centered_columns = data, stream.centered
        try:
            spare = self._spare.pop()  # not one that another thread uses
        except IndexError:
            spare = _NO_SPARE
        if len(spare[0]) < len(centered_columns):  # which there is room for, and for the entries of a row
            room = 2 * len(centered_columns)
            spare = np.empty(room, np.uint64), np.zeros(size_of_scratch(room, self._n_outputs, self._n_slots))
        arguments = (
            _plain(X.data, _FLOAT),
            _plain(X.indices, self._of_indices),
            _plain(X.indptr, self._of_indices),
            _plain(y, self._of_targets),
            stream.t,
            array,
            stream.numbers,
            stream.target_measures,
            centered_columns,
            changes.columns,
            changes.rows,
            *spare,
            _ONE if weight is None else _plain(weight, _FLOAT),
            *(self._usual if steps is None else (self._rates * steps[0], steps[1])),
            *self._given,
        )
        loop: Any = self._compiled
        result = loop(*arguments) if self.is_at_hand else self._taken(arguments, changes)
        self._spare.append(spare)
        return result

    def _taken(self, arguments: tuple, changes: Changes) -> Any:
        """Take the steps as Python or, where compiling repays, compiled."""
        values, array, numbers, centered_columns = (arguments[place] for place in (0, 5, 6, 8))
        n_entries = self._n_outputs * (len(values) + numbers[ENTRIES] * (numbers[ROWS] / nonzero(numbers[WEIGHT])))
        as_python = wide_loop_as_python(*self._kind)
        if self._compiled is None and (as_python is None or n_entries > _SOME_ENTRIES or "numba" in sys.modules):
            self._compiled = wide_loop(*self._kind, self._of_indices.name) if self._compiles() else None
            self.is_at_hand = self._compiled is not None and self._compiled.is_at_hand
        repays = self._compiled is not None and (self.is_at_hand or n_entries > _MANY_ENTRIES)
        if as_python is not None and not repays:
            n_before, before = int(changes.columns[0]), (numbers.copy(), centered_columns.copy())
            try:
                return as_python(*map(_as_python, arguments, range(len(arguments))))
            except ArithmeticError:  # where compiled code goes on with infinity
                changes.undo(array, n_before)
                changes.columns[0] = n_before
                numbers[:], centered_columns[:] = before
        if not self._compiles():
            raise CannotCompile
        self._compiled = wide_loop(*self._kind, self._of_indices.name)
        with announced(self._verbose):
            result = self._compiled(*arguments)
        self.is_at_hand = True
        return result


def _index_type(X: Any) -> np.dtype:
    return _SHORT if X.indices.dtype == _SHORT else _INTEGER  # SciPy takes 32 bits where they suffice


def _plain(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Return an array as the loop takes it: of one type, whatever the user's is, so that it is compiled once."""
    return array if array.dtype == dtype and array.flags.carray else np.array(array, dtype, order="C")


def _as_python(argument: Any, place: int) -> Any:
    """Return what holds the numbers of an array as Python's, which calculates with them sooner than with NumPy's."""
    if place in _READ:
        return argument.tolist()
    is_array = isinstance(argument, np.ndarray) and place != _SCRATCH
    return memoryview(argument) if is_array else argument
