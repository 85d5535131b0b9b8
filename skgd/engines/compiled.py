"""The compiled engine: the steps of `skgd.engines.vectorized`, fused by Numba into loops over rows and parameters.

The loops below are plain Python. The optimizer's rule, the loss and all else that depends on the strategies stand in
them under placeholder names, for which `_Specialised` puts the very functions that the vectorised engine calls with
arrays. Numba keeps the compiled code on disk, under a fingerprint of all the functions in it.

Sparse rows visit only the columns that are not zero in them. What the others miss is made up for when they are next
touched, if the optimizer says how (`Optimizer.lazy`); otherwise each step visits every parameter.
"""

from __future__ import annotations

import dis
import hashlib
import math
from contextlib import suppress
from functools import cache, lru_cache
from types import BuiltinFunctionType, CodeType, FunctionType
from typing import Any

import numpy as np
from llvmlite import ir
from numba import config, njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from skgd.coordinates import (
    Matrix,
    Measures,
    auto_alpha,
    dense_coordinates,
    is_one_hot,
    is_sparse,
    mean_squares_of,
    merged_measures,
    moved_intercept,
    relearnt,
    row_norm_of,
    sparse_coordinates,
    standardised_coefficient,
    target_coordinates,
    user_coefficient,
    variance_of,
)
from skgd.engines import CannotCompile
from skgd.engines.vectorized import EpochSummary, Holder, StepSettings, implicit_share, summarized, with_zeros

# Memory maps cannot be written to: Numba would compile for each kind of array anew.
from skgd.engines.vectorized import read_only as _read_only
from skgd.objective import Objective, penalty_of, penalty_rates, proximal_point, unit_of
from skgd.optimizers import Optimizer, is_linear, laziness_of

_BLOCK_ENTRIES = 2**12  # dense rows are standardised in blocks that stay in the processor's cache
_PRODUCT_ENTRIES = 2**18  # matrix products want more
_SMALL_PRODUCT = 10**6  # multiplications: up to so many, BLAS does not copy its matrices first
_FEW_ROWS = 16  # fewer are not worth a product of their own
_SLAB_ENTRIES = 2**25  # after so many entries an interrupt is heard
_SLAB_PRODUCTS = 2**29  # or, of networks, after so many products of the forward pass
_PRODUCTS_A_NEURON = 16  # take as long as its activation
_HINT = 2  # fetch into the second-level cache: more requests may be under way than for the first
_AHEAD = 16  # so many rows ahead of its use, a row is fetched
_POWERS = 8  # terms of the series of a logarithm, exact to rounding for numbers up to:
_SMALL = 0.03
_NOTHING = 1e-18  # beside one
_TINY = 1e-3  # five terms of an exponential's series are exact
_MANY = 32  # steps, from which the series is shorter than the product, and exact for an elastic net, too

# ---------------------------------------------------------------------------------------------------------------------
# Placeholders, replaced when the loops are compiled
# ---------------------------------------------------------------------------------------------------------------------

rule: Any = None  # the optimizer's static methods
readout: Any = None
skip: Any = None
value: Any = None  # the loss's
gradient: Any = None
slots_of: Any = None  # reads the slots of one parameter as a tuple
keep_slots: Any = None  # writes them
target: Any = None  # the number that the loss compares with
workspace: Any = None  # what dense and sparse rows do in their own ways
touch: Any = None
touch_all: Any = None
read_row: Any = None
place: Any = None
look_ahead: Any = None
gradient_of: Any = None
move_of: Any = None
complete_gradient: Any = None
activate: Any = None  # the activation's
slope_of_activation: Any = None
catch_up: Any = None
multiply: Any = None  # matrix products for one output or many
accumulate: Any = None
single: Any = None  # whether there is one output
narrow: Any = None  # whether chunks have one parameter
has_intercept: Any = None
proximal: Any = None
hidden: Any = None  # whether there are hidden layers
along_row: Any = None  # of steps of one row: whether they are multiples of it,
bounded: Any = None  # whether some may be too long,
implicit: Any = None  # and whether they are shortened by where they lead
lazy: Any = None
resting: Any = None
normalized: Any = None
regression: Any = None  # of streams: whether y holds numbers
measure_rows: Any = None
coordinates_of: Any = None  # of columns
log_link: Any = None
precondition: Any = None
automatic_rate: Any = None  # whether learning_rate is "auto"
auto_rate: Any = None  # the optimizer's static method
take_batch: Any = None  # `take_steps`

# ---------------------------------------------------------------------------------------------------------------------
# Targets
# ---------------------------------------------------------------------------------------------------------------------


def _target_number(y, row, output, labels):
    return y[row, output]


def _target_label(y, row, output, labels):
    return labels[1] if y[row, output] else labels[0]


def _target_binary(y, row, output, labels):
    return labels[1] if y[row] else labels[0]


def _target_class(y, row, output, labels):
    return labels[1] if y[row] == output else labels[0]


def _target_of(objective: Objective, y: np.ndarray) -> Any:
    """Return the function that reads such targets."""
    if y.ndim > 1:
        return _target_number if y.dtype.kind == "f" else _target_label
    return _target_class if objective.exclusive_classes else _target_binary


@intrinsic
def _prefetch(typing_context, array, index):
    """Ask for the cache line of an entry, without waiting for it."""

    def generate(context, builder, signature, arguments):
        array_type, index_type = signature.args
        view = context.make_array(array_type)(context, builder, arguments[0])
        several = isinstance(index_type, types.BaseTuple)
        indices = cgutils.unpack_tuple(builder, arguments[1]) if several else [arguments[1]]
        kinds = index_type if several else [index_type]
        indices = [context.cast(builder, *pair, types.intp) for pair in zip(indices, kinds, strict=True)]
        shape, strides = (cgutils.unpack_tuple(builder, part, array_type.ndim) for part in (view.shape, view.strides))
        pointer = cgutils.get_item_pointer2(
            context, builder, view.data, shape, strides, array_type.layout, indices, wraparound=False
        )
        byte, flag = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, flag, flag, flag])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
        builder.call(function, [builder.bitcast(pointer, byte), flag(0), flag(_HINT), flag(1)])
        return context.get_dummy_value()

    return types.void(array, index), generate


def _no_prefetch(array, index):
    """Do nothing, where the loops run as plain Python (``NUMBA_DISABLE_JIT=1``)."""


prefetch: Any = _no_prefetch if vars(config)["DISABLE_JIT"] else _prefetch


# ---------------------------------------------------------------------------------------------------------------------
# The loop over steps
# ---------------------------------------------------------------------------------------------------------------------


def take_steps(data, y, weight, order, size, rates, t, parameters, shares, hypers, scales, penalty, bounds, record):
    """Take a step for each ``size`` rows; return how many were taken before a number was no longer finite.

    A step works on local copies of the parameters that its rows touch. They lie in chunks: chunk u of the local ones,
    ``width`` long, is chunk ``chunks[u]`` of all. Dense rows touch everything, one chunk; sparse ones a chunk for each
    column that is not zero in some row, and one for the intercepts.
    """
    n_outputs = 1 if single else len(scales[-1])
    # Two indices, chunk and place: sums of one index might be negative, for all that the compiler knows.
    width = n_outputs if lazy else len(parameters[0])
    theta = parameters[0].reshape(-1, width)
    slots = parameters[1].reshape(len(parameters[1]), len(theta), width)
    average = parameters[2].reshape(-1, width)
    penalty = (penalty[0].reshape(-1, width), penalty[1].reshape(-1, width), penalty[2])
    longest = bounds[0].reshape(-1, width)
    size = min(size, len(order))
    raw = np.empty((size, n_outputs), theta.dtype)
    moved, slopes = np.empty_like(raw), np.empty_like(raw)
    local = np.empty_like(theta) if lazy else theta
    grad, point, lengths = np.empty_like(theta), np.empty_like(theta), np.empty_like(theta)
    losses, slope_sizes, squares = np.empty(n_outputs), np.empty(bounds[6]), record[:, 1:]
    work = workspace(data, size, theta, n_outputs)
    active = _active(data, order, np.count_nonzero(shares), theta, average)
    missed = (np.zeros(len(theta), np.int64), np.zeros(len(rates)), np.zeros((len(rates) + 1, _POWERS)))
    for step in range(len(rates)):
        begin, end = step * size, min((step + 1) * size, len(order))
        batch = (y, weight, begin, end)
        rate, now = rates[step], float(t + step + 1)
        chunks = touch(data, order, begin, end, scales, work)
        if lazy:
            catch_up(chunks, step, rates, t, theta, slots, hypers, penalty, missed)
        n_chunks = len(chunks)
        for u in range(n_chunks):
            for k in range(0 if hidden else 1 if narrow else width):
                grad[u, k] = 0.0
                if lazy:
                    local[u, k] = theta[chunks[u], k]
        losses[:] = 0.0
        slope_sizes[:] = 0.0
        gradient_of(
            data,
            order,
            batch,
            scales,
            local[:n_chunks],
            hypers,
            work,
            raw,
            slopes,
            losses,
            slope_sizes,
            grad[:n_chunks],
        )
        complete_gradient(data, slopes[: end - begin], slope_sizes, grad[:n_chunks].reshape(-1), bounds, squares[step])
        square = squares[step].sum()
        if not (np.isfinite(losses.sum()) and np.isfinite(square)):
            return step
        record[step, 0] = _total(losses, scales[-1])
        for layer in range(squares.shape[1]):
            squares[step, layer] *= end - begin
        clip = bounds[1] / np.sqrt(square) if np.sqrt(square) > bounds[1] else 1.0
        clip /= end - begin  # of the sum over the rows, the mean
        _apply_rule(chunks, rate, now, clip, slots, local, grad, point, lengths, hypers, penalty, bounds, longest)
        share = 1.0
        if bounds[2] and not hidden:  # a network's never is: this leaves it out of what is compiled
            start = _take_difference(point[:n_chunks], local[:n_chunks], grad[:n_chunks])
            move_of(data, order, batch, scales, grad[:n_chunks], work, moved)
            state = (raw[: end - begin], moved[: end - begin], batch, hypers, scales)
            share = implicit_share(start, state)
        if not hidden:
            _finish(chunks, share, theta, local, point, lengths, penalty)
        if lazy:
            _record_rate(chunks, step, rate * share, missed)
        if shares[step] > 0.0:
            if lazy:
                _catch_up_all(active, step + 1, rates, t, theta, slots, hypers, penalty, missed)
            _add_to_average(shares[step], active, theta, slots, average, hypers)
    if lazy:
        _catch_up_all(np.arange(len(theta)), len(rates), rates, t, theta, slots, hypers, penalty, missed)
    return len(rates)


def take_row_steps(data, y, weight, order, size, rates, t, parameters, shares, hypers, scales, penalty, bounds, record):
    """Take a step for each row: as `take_steps` for ``size`` 1, in place, and with the gradient never written down.

    That of one row is the outer product of its entries, the intercept's being 1, and the slopes of its loss.
    """
    n_outputs = 1 if single else len(scales[-1])
    theta = parameters[0].reshape(-1, n_outputs)
    slots = parameters[1].reshape(len(parameters[1]), len(theta), n_outputs)
    average = parameters[2].reshape(-1, n_outputs)
    l1, l2, penalised = penalty[0].reshape(-1, n_outputs), penalty[1].reshape(-1, n_outputs), penalty[2]
    longest = bounds[0][::n_outputs]  # the same for all outputs
    raw, moved, slopes = np.empty((1, n_outputs)), np.empty((1, n_outputs)), np.empty((1, n_outputs))
    losses, slope_sizes = np.empty(n_outputs), np.empty(n_outputs)
    point, lengths = np.empty_like(theta), np.empty_like(theta)
    entries, columns = np.empty(len(theta), theta.dtype), np.empty(len(theta), np.uintp)
    active = _active(data, order, np.count_nonzero(shares), theta, average)
    missed = (np.zeros(len(theta), np.int64), np.zeros(len(rates)), np.zeros((len(rates) + 1, _POWERS)))
    behind = lazy and (penalised or not resting)  # what columns miss has to be caught up
    for step in range(len(rates)):
        rate, now = rates[step], float(t + step + 1)
        n = read_row(data, order, step, scales, entries, columns)
        if has_intercept:
            entries[n], columns[n] = 1.0, len(theta) - 1
            n += 1
        if behind:
            catch_up(columns[:n], step, rates, t, theta, slots, hypers, (l1, l2, penalised), missed)
        square = 0.0
        if single:
            total = 0.0
            for u in range(n):
                total += entries[u] * theta[place(columns, u), 0]
                square += entries[u] * entries[u]
            raw[0, 0] = total
        else:
            raw[:] = 0.0
            for u in range(n):
                c, z = place(columns, u), entries[u]
                square += z * z
                for k in range(n_outputs):
                    raw[0, k] += z * theta[c, k]
            look_ahead(data, order, step, theta)
        losses[:] = 0.0
        _slopes_of_loss(raw, y, weight, step, hypers, scales, slopes, losses, slope_sizes)
        steepness = 0.0
        for k in range(n_outputs):
            steepness += slopes[0, k] * slopes[0, k]
        size_of_row = square
        square *= steepness
        if not (np.isfinite(losses.sum()) and np.isfinite(square)):
            return step
        record[step, 0] = _total(losses, scales[-1])
        record[step, 1] = square
        clip = bounds[1] / np.sqrt(square) if np.sqrt(square) > bounds[1] else 1.0
        row = (entries[:n], columns[:n], slopes, clip)
        length, share = rate, 1.0
        if along_row:
            length = rule(0.0, 0.0, rate, now, slots_of(slots, 0, 0), hypers[0])[1]
            for k in range(n_outputs):
                moved[0, k] = -length * clip * slopes[0, k] * size_of_row
        else:
            results = (theta, slots, point, lengths, moved)
            _apply_rule_to_row(row, rate, now, results, hypers[0], (l1, l2, penalised), longest, bounds)
        if implicit:
            start = 0.0
            for k in range(n_outputs):
                start += slopes[0, k] * moved[0, k]
            share = implicit_share(start, (raw, moved, (y, weight, step, step + 1), hypers, scales))
        if along_row:
            length *= share
            slopes *= clip * length
        for u in range(n if along_row or implicit else 0):
            c = place(columns, u)
            for k in range(n_outputs):
                if along_row:
                    w = theta[c, k] - entries[u] * slopes[0, k]
                    if penalised:
                        w = proximal_point(w, length, l1[c, k], l2[c, k])
                else:
                    w = point[u, k] if share == 1.0 else theta[c, k] + share * (point[u, k] - theta[c, k])
                    if penalised and proximal:
                        w = proximal_point(w, share * lengths[u, k], l1[c, k], l2[c, k])
                theta[c, k] = w
        if behind:
            _record_rate(columns[:n], step, rate * share, missed)
        if shares[step] > 0.0:
            if behind:
                _catch_up_all(active, step + 1, rates, t, theta, slots, hypers, (l1, l2, penalised), missed)
            _add_to_average(shares[step], active, theta, slots, average, hypers)
    if behind:
        everywhere = np.arange(len(theta))
        _catch_up_all(everywhere, len(rates), rates, t, theta, slots, hypers, (l1, l2, penalised), missed)
    return len(rates)


def _apply_rule_to_row(row, rate, now, results, hyper, penalty, longest, bounds):
    """Move each parameter; if steps are implicit, write where to, its step in the long run, and what it moves."""
    entries, columns, slopes, clip = row
    theta, slots, point, lengths, moved = results
    l1, l2, penalised = penalty
    weight_decay, n_outputs = bounds[3], 1 if single else slopes.shape[1]
    n_penalised = bounds[5] // n_outputs
    total = 0.0
    moved[:] = 0.0
    for u in range(len(entries)):
        c, z = place(columns, u), clip * entries[u]
        most = longest[c] if bounded else np.inf
        for k in range(n_outputs):
            w, g, before = 1.0 * theta[c, k], z * slopes[0, k], slots_of(slots, c, k)
            if not proximal and penalised:
                g += l2[c, k] * w
            if weight_decay > 0.0 and c < n_penalised:
                w *= 1.0 - rate * weight_decay
                theta[c, k] = w
            to, length, after = rule(w, g, rate, now, before, hyper)
            if bounded and length > most and g != 0.0:
                to, length, after = rule(w, g, rate * (most / length), now, before, hyper)
            keep_slots(slots, c, k, after)
            if not implicit:
                theta[c, k] = proximal_point(to, length, l1[c, k], l2[c, k]) if penalised and proximal else to
                continue
            point[u, k] = to
            lengths[u, k] = length
            if single:
                total += entries[u] * (to - w)
            else:
                moved[0, k] += entries[u] * (to - w)
    if single:
        moved[0, 0] = total


def _active(data, order, n_averages, theta, average):
    """Return the chunks that are touched, or not zero, in the average too; the others stay zero."""
    result = np.full(len(theta), not lazy)
    if lazy:
        touch_all(data, order, n_averages, result)
        for c in range(len(theta)):
            for k in range(1 if narrow else theta.shape[1]):
                result[c] |= theta[c, k] != 0.0 or (len(average) > 0 and average[c, k] != 0.0)
    return np.flatnonzero(result)


def _catch_up_all(chunks, stop, rates, t, theta, slots, hypers, penalty, missed):
    catch_up(chunks, stop, rates, t, theta, slots, hypers, penalty, missed)
    for u in range(len(chunks)):
        missed[0][chunks[u]] = stop


def _complete_gradient(data, slopes, slope_sizes, grad, bounds, squares):
    """Put in the intercepts' gradient, zero where it is nothing but rounding; write the square of the mean gradient."""
    n_rows, n_outputs = slopes.shape
    if bounds[4]:
        for k in range(n_outputs):
            total = 0.0
            for i in range(n_rows):
                total += slopes[i, k]
            rounding = np.finfo(grad.dtype).eps ** (2.0 / 3.0) * slope_sizes[k]
            grad[len(grad) - n_outputs + k] = total if abs(total) > rounding else 0.0
    squares[0] = _square_of_mean(grad, n_rows)


def _square_of_mean(total, count):
    square = 0.0
    for i in range(len(total)):
        mean = total.dtype.type(total[i] / count)  # whose square is to overflow where NumPy's does
        square += mean * mean
    return square


def _total(losses, unit):
    total = 0.0
    for k in range(len(losses)):
        total += losses[k] * unit[k]
    return total


def _apply_rule(chunks, rate, now, clip, slots, local, grad, point, lengths, hypers, penalty, bounds, longest):
    """Write where the rule would move each local parameter and how long its step is in the long run; move networks'."""
    l1, l2, penalised = penalty
    hyper = hypers[0]
    width = 1 if narrow else local.shape[1]
    weight_decay, n_coefficients = bounds[3], bounds[5]
    for u in range(len(chunks)):
        chunk = chunks[u]
        for k in range(width):
            w, g, before = 1.0 * local[u, k], clip * grad[u, k], slots_of(slots, chunk, k)
            if not proximal and penalised:
                g += l2[chunk, k] * w
            if weight_decay > 0.0 and chunk * width + k < n_coefficients:
                w *= 1.0 - rate * weight_decay
                local[u, k] = w
            to, length, after = rule(w, g, rate, now, before, hyper)
            if not hidden and len(longest) > 0 and length > longest[chunk, k] and g != 0.0:
                to, length, after = rule(w, g, rate * (longest[chunk, k] / length), now, before, hyper)
            keep_slots(slots, chunk, k, after)
            if not hidden:
                point[u, k] = to
                lengths[u, k] = length
            elif penalised and proximal:  # no step of a network is implicit
                length = min(length, rate) if grad[u, k] == 0.0 else length
                local[u, k] = proximal_point(to, length, l1[chunk, k], l2[chunk, k])
            else:
                local[u, k] = to


def _take_difference(point, local, grad):
    """Write the move over the gradient; return their product."""
    slope = 0.0
    for u in range(point.shape[0]):
        for k in range(1 if narrow else point.shape[1]):
            move = point[u, k] - local[u, k]
            slope += grad[u, k] * move
            grad[u, k] = move
    return slope


def _finish(chunks, share, theta, local, point, lengths, penalty):
    """Move parameters by a share of their step, and take the penalty's proximal step."""
    l1, l2, penalised = penalty
    for u in range(len(chunks)):
        chunk = chunks[u]
        for k in range(1 if narrow else local.shape[1]):
            w = point[u, k] if share == 1.0 else local[u, k] + share * (point[u, k] - local[u, k])
            if penalised and proximal:
                w = proximal_point(w, share * lengths[u, k], l1[chunk, k], l2[chunk, k])
            theta[chunk, k] = w


def _add_to_average(share, chunks, theta, slots, average, hypers):
    for u in range(len(chunks)):
        c = chunks[u]
        for k in range(1 if narrow else theta.shape[1]):
            average[c, k] += share * (readout(1.0 * theta[c, k], slots_of(slots, c, k), hypers[0]) - average[c, k])


# ---------------------------------------------------------------------------------------------------------------------
# The loss
# ---------------------------------------------------------------------------------------------------------------------


def _log_sum_exp(raw, moved, share, i):
    largest = -np.inf
    for k in range(raw.shape[1]):
        largest = max(largest, raw[i, k] + share * moved[i, k])
    total = 0.0
    for k in range(raw.shape[1]):
        total += np.exp(raw[i, k] + share * moved[i, k] - largest)
    return largest + np.log(total)


def _slopes_of_loss(raw, y, weight, first, hypers, scales, slopes, losses, slope_sizes):
    """Write the loss's derivative for each row and output; add up losses and sizes of derivatives."""
    hyper, labels = hypers[1], hypers[2]
    target_center, target_scale, unit = scales[2], scales[3], scales[4]
    for i in range(len(raw)):
        s = weight[first + i] if len(weight) > 0 else 1.0
        shift = _log_sum_exp(raw, raw, 0.0, i) if normalized else 0.0
        for k in range(raw.shape[1]):
            goal = target(y, first + i, k, labels)
            predictor = target_center[k] + target_scale[k] * (raw[i, k] - shift)
            losses[k] += s * value(goal, predictor, hyper) / unit[k]
            slope = s * gradient(goal, predictor, hyper) * (target_scale[k] / unit[k])
            slopes[i, k] = slope
            slope_sizes[k] += abs(slope)


def _slope_along(share, state):
    """Return the derivative of the batch's loss along its move, after a share of it."""
    raw, moved, batch, hypers, scales = state
    y, weight, first, _ = batch
    hyper, labels = hypers[1], hypers[2]
    target_center, target_scale, unit = scales[2], scales[3], scales[4]
    total = 0.0
    for i in range(len(raw)):
        s = weight[first + i] if len(weight) > 0 else 1.0
        shift = _log_sum_exp(raw, moved, share, i) if normalized else 0.0
        for k in range(raw.shape[1]):
            predictor = target_center[k] + target_scale[k] * (raw[i, k] + share * moved[i, k] - shift)
            slope = gradient(target(y, first + i, k, labels), predictor, hyper) * (target_scale[k] / unit[k])
            total += s * slope * moved[i, k]
    return total


# ---------------------------------------------------------------------------------------------------------------------
# Dense rows
# ---------------------------------------------------------------------------------------------------------------------


def _dense_workspace(data, size, theta, n_outputs):
    n_features = data[0].shape[1]
    block = max(1, min(size, (_BLOCK_ENTRIES if single else _PRODUCT_ENTRIES) // n_features))
    whole = np.zeros(1, np.int64)
    return np.empty((block, n_features), theta.dtype), np.empty((n_features, n_outputs), theta.dtype), whole


def _dense_touch(data, order, begin, end, scales, work):
    return work[2]


def _dense_place(columns, u):
    return u


def _dense_row(data, order, step, scales, entries, columns):
    """Write the standardised entries of a row; return how many there are."""
    X, center, scale = data[0], scales[0], scales[1]
    row = order[step]
    if step + 1 < len(order):
        for j in range(0, len(center), 64 // X.itemsize):
            prefetch(X, (order[step + 1], j))
    for j in range(len(center)):
        entries[j] = (X[row, j] - center[j]) * scale[j]
    return len(center)


def _dense_look_ahead(data, order, step, theta):
    """Do nothing: dense rows have the same columns."""


def _dense_touch_all(data, order, n_averages, touched):
    touched[:] = True


def _gather(X, order, start, stop, center, scale, Z):
    """Write the standardised rows of X to Z, asking for the next ones meanwhile: shuffled, they lie anywhere."""
    n_features = X.shape[1]
    line = 64 // X.itemsize
    for i in range(start, stop):
        if i + _AHEAD < len(order):
            for j in range(0, n_features, line):
                prefetch(X, (order[i + _AHEAD], j))
            prefetch(X, (order[i + _AHEAD], n_features - 1))
        row = order[i]
        for j in range(n_features):
            Z[i - start, j] = (X[row, j] - center[j]) * scale[j]


def _dense_gradient(data, order, batch, scales, local, hypers, work, raw, slopes, losses, slope_sizes, grad):
    y, weight, begin, end = batch
    Z, scratch, _ = work
    for start in range(begin, end, len(Z)):
        stop = min(start + len(Z), end)
        _gather(data[0], order, start, stop, scales[0], scales[1], Z)
        out, slope = raw[start - begin : stop - begin], slopes[start - begin : stop - begin]
        _predict(Z, local[0], out)
        _slopes_of_loss(out, y, weight, start, hypers, scales, slope, losses, slope_sizes)
        accumulate(Z, slope, grad[0], scratch)


def _dense_move(data, order, batch, scales, move, work, moved):
    begin, end = batch[2], batch[3]
    Z = work[0]
    for start in range(begin, end, len(Z)):
        stop = min(start + len(Z), end)
        if end - begin > len(Z):
            _gather(data[0], order, start, stop, scales[0], scales[1], Z)
        _predict(Z, move[0], moved[start - begin : stop - begin])


def _predict(Z, theta, out):
    multiply(Z, theta, out)
    first = Z.shape[1] * out.shape[1]
    if len(theta) > first:
        for i in range(out.shape[0]):
            for k in range(out.shape[1]):
                out[i, k] += theta[first + k]


def _multiply_one(Z, theta, out):
    """Multiply rows with coefficients: by hand, because BLAS wants threads for it, which take turns and change bits."""
    n_features = Z.shape[1]
    for i in range(len(out)):
        total = theta.dtype.type(0.0)
        for j in range(n_features):
            total += Z[i, j] * theta[j]
        out[i, 0] = total


def _multiply_many(Z, theta, out):
    shape = (Z.shape[1], out.shape[1])
    coef = theta[: shape[0] * shape[1]].reshape(shape)
    rows = _rows_at_once(len(out), coef.size)
    for start in range(0, len(out), rows):
        stop = min(start + rows, len(out))
        np.dot(Z[start:stop], coef, out[start:stop])


def _rows_at_once(n_rows, n_coefficients):
    """Return of how many rows to multiply at once: BLAS takes small products by shorter ways, with no copies."""
    few = _SMALL_PRODUCT // n_coefficients
    return min(few, n_rows) if few >= _FEW_ROWS else n_rows


def _accumulate_one(Z, slopes, grad, scratch):
    n_features = Z.shape[1]
    for i in range(len(slopes)):
        slope = slopes[i, 0]
        if slope != 0.0:
            for j in range(n_features):
                grad[j] += slope * Z[i, j]


def _accumulate_many(Z, slopes, grad, scratch):
    rows = _rows_at_once(len(slopes), scratch.size)
    for start in range(0, len(slopes), rows):
        stop = min(start + rows, len(slopes))
        np.dot(Z[start:stop].T, slopes[start:stop], scratch)
        grad[: scratch.size] += scratch.ravel()


# ---------------------------------------------------------------------------------------------------------------------
# Networks: dense rows, and hidden layers
# ---------------------------------------------------------------------------------------------------------------------


def _network_workspace(data, size, theta, n_outputs):
    X, sizes = data
    block = max(1, min(size, _PRODUCT_ENTRIES // max(sizes)))
    received = np.empty(block * sizes[1:-1].sum(), theta.dtype)
    scratch = np.empty((sizes[:-1] * sizes[1:]).max(), theta.dtype)
    deltas = np.empty((2, block * max(sizes[1:])), theta.dtype)
    return np.empty((block, X.shape[1]), theta.dtype), scratch, np.zeros(1, np.int64), received, received.copy(), deltas


def _network_gradient(data, order, batch, scales, local, hypers, work, raw, slopes, losses, slope_sizes, grad):
    """Do what `skgd.networks.forward` and `skgd.networks.backward` do."""
    y, weight, begin, end = batch
    X, sizes = data
    Z, scratch, _, received, handed_on, deltas = work
    last = len(sizes) - 2
    theta, grad = local[0], grad[0]
    n_coefficients = (sizes[:-1] * sizes[1:]).sum()
    has_intercepts = len(theta) > n_coefficients
    grad[n_coefficients:] = 0.0
    for start in range(begin, end, len(Z)):
        n = min(start + len(Z), end) - start
        _gather(X, order, start, start + n, scales[0], scales[1], Z)
        out = raw[start - begin : start - begin + n]
        inputs, place, at, after = Z[:n], 0, 0, n_coefficients
        for layer in range(last + 1):
            shape = (sizes[layer], sizes[layer + 1])
            coef = theta[place : place + shape[0] * shape[1]].reshape(shape)
            z = out if layer == last else received[at * n : (at + shape[1]) * n].reshape(n, shape[1])
            np.dot(inputs, coef, z)
            if has_intercepts:
                for i in range(n):
                    for k in range(shape[1]):
                        z[i, k] += theta[after + k]
            if layer < last:
                inputs = handed_on[at * n : (at + shape[1]) * n].reshape(n, shape[1])
                for i in range(n):
                    for k in range(shape[1]):
                        inputs[i, k] = activate(z[i, k], hypers[3])
            place, at, after = place + shape[0] * shape[1], at + shape[1], after + shape[1]
        delta = slopes[start - begin : start - begin + n]
        _slopes_of_loss(out, y, weight, start, hypers, scales, delta, losses, slope_sizes[at - sizes[-1] :])
        at, after = at - sizes[-1], after - sizes[-1]
        for layer in range(last, -1, -1):
            shape = (sizes[layer], sizes[layer + 1])
            place -= shape[0] * shape[1]
            if layer > 0:
                at -= shape[0]
                inputs = handed_on[at * n : (at + shape[0]) * n].reshape(n, shape[0])
            else:
                inputs = Z[:n]
            section = grad[place : place + shape[0] * shape[1]]
            if start == begin:
                np.dot(inputs.T, delta, section.reshape(shape))
            else:
                np.dot(inputs.T, delta, scratch[: section.size].reshape(shape))
                section += scratch[: section.size]
            if has_intercepts:
                for i in range(n):
                    for k in range(shape[1]):
                        grad[after + k] += delta[i, k]
                        if layer < last:
                            slope_sizes[after - n_coefficients + k] += abs(delta[i, k])
            if layer > 0:
                after -= shape[0]
                coef = theta[place : place + shape[0] * shape[1]].reshape(shape)
                before = deltas[layer % 2, : n * shape[0]].reshape(n, shape[0])
                np.dot(delta, coef.T, before)
                for i in range(n):
                    for k in range(shape[0]):
                        z = received[at * n + i * shape[0] + k]
                        before[i, k] *= slope_of_activation(z, inputs[i, k], hypers[3])
                delta = before


def _complete_network_gradient(data, slopes, slope_sizes, grad, bounds, squares):
    """Do what `_complete_gradient` does, with the intercepts' gradients, of all layers, in their place already."""
    sizes = data[1]
    begin, n_coefficients = 0, bounds[5]
    for k in range(len(grad) - n_coefficients):
        if not abs(grad[n_coefficients + k]) > np.finfo(grad.dtype).eps ** (2.0 / 3.0) * slope_sizes[k]:
            grad[n_coefficients + k] = 0.0
    after = n_coefficients
    for layer in range(len(sizes) - 1):
        end = begin + sizes[layer] * sizes[layer + 1]
        squares[layer] = _square_of_mean(grad[begin:end], len(slopes))
        if len(grad) > n_coefficients:
            squares[layer] += _square_of_mean(grad[after : after + sizes[layer + 1]], len(slopes))
        begin, after = end, after + sizes[layer + 1]


# ---------------------------------------------------------------------------------------------------------------------
# Sparse rows
# ---------------------------------------------------------------------------------------------------------------------


def _sparse_workspace(data, size, theta, n_outputs):
    entries, n_chunks = data[3], len(theta)
    # What a column was known as when it was last met: numbers from known[-1] on belong to the batch at hand.
    known = np.zeros(n_chunks + 1, np.int64)
    chunks = np.zeros(n_chunks + 1, np.int64)
    return np.empty(entries, np.int32), np.empty(entries, theta.dtype), np.empty(size + 1, np.int64), chunks, known


def _sparse_touch(data, order, begin, end, scales, work):
    """Copy the rows, with local numbers for their columns; return which columns these are."""
    values, indices, indptr, _ = data
    columns, entries, starts, chunks, known = work
    scale = scales[1]
    n_entries, touched, base = 0, 0, known[-1] + len(scale)
    known[-1] = base
    for i in range(begin, end):
        starts[i - begin] = n_entries
        if i + _AHEAD < len(order):
            for q in range(indptr[order[i + _AHEAD]], indptr[order[i + _AHEAD] + 1], 8):
                prefetch(values, q)
                prefetch(indices, q)
        for q in range(indptr[order[i]], indptr[order[i] + 1]):
            j = indices[q]
            if lazy:
                u = known[j] - base  # below 0 for a new column; without a branch, which could not be foreseen
                new = u < 0
                u = touched if new else u
                known[j] = base + u
                chunks[touched] = j
                touched += new
                columns[n_entries] = u
            else:
                columns[n_entries] = j
            entries[n_entries] = values[q] * scale[j]
            n_entries += 1
    starts[end - begin] = n_entries
    if not lazy:
        return chunks[:1]
    if has_intercept:
        chunks[touched] = len(scale)
        touched += 1
    return chunks[:touched]


def _sparse_place(columns, u):
    return columns[u]


def _sparse_row(data, order, step, scales, entries, columns):
    """Write the standardised entries of a row and their columns; return how many there are."""
    values, indices, indptr, _ = data
    scale = scales[1]
    if step + _AHEAD < len(order):
        for q in range(indptr[order[step + _AHEAD]], indptr[order[step + _AHEAD] + 1], 8):
            prefetch(values, q)
            prefetch(indices, q)
    row = slice(indptr[order[step]], indptr[order[step] + 1])
    row_values, row_indices = values[row], indices[row]
    for u in range(len(row_values)):
        j = row_indices[u]
        columns[u] = j
        entries[u] = row_values[u] * scale[j]
    return len(row_values)


def _sparse_look_ahead(data, order, step, theta):
    """Ask for the parameters of the next row's columns."""
    _, indices, indptr, _ = data
    if step + 1 < len(order):
        for j in indices[indptr[order[step + 1]] : indptr[order[step + 1] + 1]]:
            for k in range(0, theta.shape[1], 64 // theta.itemsize):
                prefetch(theta, (j, k))


def _sparse_touch_all(data, order, n_averages, touched):
    _, indices, indptr, _ = data
    n_entries = 0
    for i in range(len(order)):
        n_entries += indptr[order[i] + 1] - indptr[order[i]]
    if n_entries >= n_averages * len(touched):  # to go through the entries would take longer than to average everything
        touched[:] = True
        return
    for i in range(len(order)):
        for j in indices[indptr[order[i]] : indptr[order[i] + 1]]:
            touched[j] = True
    touched[-1] |= has_intercept


def _sparse_gradient(data, order, batch, scales, local, hypers, work, raw, slopes, losses, slope_sizes, grad):
    y, weight, begin, end = batch
    columns, entries, starts, _, _ = work
    n_rows, n_outputs = end - begin, 1 if single else raw.shape[1]
    _sparse_move(data, order, batch, scales, local, work, raw)
    _slopes_of_loss(raw[:n_rows], y, weight, begin, hypers, scales, slopes[:n_rows], losses, slope_sizes)
    by_column = grad.reshape(-1, n_outputs)
    for i in range(n_rows):
        for q in range(starts[i], starts[i + 1]):
            j, z = columns[q], entries[q]
            for k in range(n_outputs):
                by_column[j, k] += z * slopes[i, k]


def _sparse_move(data, order, batch, scales, local, work, out):
    columns, entries, starts, _, _ = work
    n_rows, n_outputs = batch[3] - batch[2], 1 if single else out.shape[1]
    by_column = local.reshape(-1, n_outputs)
    for i in range(n_rows):
        for k in range(n_outputs):
            out[i, k] = by_column[len(by_column) - 1, k] if has_intercept else 0.0
        for q in range(starts[i], starts[i + 1]):
            j, z = columns[q], entries[q]
            for k in range(n_outputs):
                out[i, k] += z * by_column[j, k]


def _record_rate(chunks, step, rate, missed):
    """Note that the chunks are done with this step, and the rate of the step for those that are not."""
    done, taken, powers = missed
    for u in range(len(chunks)):
        done[chunks[u]] = step + 1
    taken[step] = rate
    power = 1.0
    for k in range(_POWERS):
        power *= rate
        powers[step + 1, k] = powers[step, k] + power


def _catch_up_rest(chunks, stop, rates, t, theta, slots, hypers, penalty, missed):
    """Make up for steps in which the rule left parameters alone: the proximal steps of their penalty."""
    l1, l2, penalised = penalty
    done, taken, powers = missed
    if not penalised:
        return
    for u in range(len(chunks)):
        chunk = chunks[u]
        start = done[chunk]
        if start == stop or l1[chunk, 0] + l2[chunk, 0] == 0.0:
            continue
        last, factor = 0.0, 1.0
        for k in range(1 if narrow else theta.shape[1]):
            w = 1.0 * theta[chunk, k]
            length = rule(w, 0.0, 1.0, float(t + stop), slots_of(slots, chunk, k), hypers[0])[1]  # at a rate of one
            first, second = length * l1[chunk, k], length * l2[chunk, k]
            series = _has_series(second, powers, start, stop)
            if second != last:  # with many rules, it is the same for all outputs
                last = second
                if series:
                    factor = _exp_minus(_series(second, powers, start, stop))
                else:
                    factor = 1.0
                    for step in range(start, stop):
                        factor *= 1.0 + taken[step] * second
                    factor = 1.0 / factor
            if first == 0.0:
                theta[chunk, k] = w * factor
                continue
            size = abs(w)
            if second == 0.0:
                size -= (powers[stop, 0] - powers[start, 0]) * first
            elif series:
                size = size * factor + first / second * np.expm1(-_series(second, powers, start, stop))
            else:
                for step in range(start, stop):
                    size = (size - taken[step] * first) / (1.0 + taken[step] * second)
            theta[chunk, k] = np.sign(w) * max(size, 0.0)


def _has_series(factor, powers, start, stop):
    """Say whether the series is shorter than the product, and exact."""
    return stop - start > _MANY and (powers[stop, 1] - powers[start, 1]) * factor * factor < _SMALL * _SMALL


def _series(factor, powers, start, stop):
    """Return the sum of ``log(1 + rate * factor)`` over the steps, from the sums of the rates' powers."""
    total, power = 0.0, -1.0
    for k in range(_POWERS):
        power *= -factor
        term = power * (powers[stop, k] - powers[start, k]) / (k + 1)
        total += term
        if abs(term) < _NOTHING:
            break
    return total


def _exp_minus(x):
    if x > _TINY:
        return np.exp(-x)
    return 1.0 - x * (1.0 - x / 2.0 * (1.0 - x / 3.0 * (1.0 - x / 4.0 * (1.0 - x / 5.0))))


def _catch_up_repeat(chunks, stop, rates, t, theta, slots, hypers, penalty, missed):
    """Make up for steps of which only the last one counts, once the slots know how many there were."""
    l1, l2, penalised = penalty
    for u in range(len(chunks)):
        chunk = chunks[u]
        steps = stop - missed[0][chunk]
        if steps > 0:
            for k in range(1 if narrow else theta.shape[1]):
                before = skip(steps - 1, slots_of(slots, chunk, k), hypers[0])
                w, length, after = rule(1.0 * theta[chunk, k], 0.0, rates[stop - 1], float(t + stop), before, hypers[0])
                keep_slots(slots, chunk, k, after)
                theta[chunk, k] = proximal_point(w, length, l1[chunk, k], l2[chunk, k]) if penalised else w


# ---------------------------------------------------------------------------------------------------------------------
# Streams
# ---------------------------------------------------------------------------------------------------------------------


def take_stream(data, y, weight, size, t, averaged, numbers, statistics, rates, shares, hypers, given):
    """Learn the columns from each ``size`` rows, then take a step with them: what `skgd.stream.train_stream` does.

    ``numbers`` and ``statistics``, see `_parts_of_numbers` and `_parts_of_statistics`, are changed in place. Return
    whether all numbers are finite, how many iterates the average holds, the strength of the penalty and the rate of the
    last step, and the sums over the rows: loss, square of the gradient and penalty.
    """
    sizes, alpha, l1_ratio, curvature, degree, n_classes, max_grad_norm, bounded, implicit, zeros = given
    theta, slots, average, center, scale, coef, intercept = _parts_of_numbers(numbers, sizes)
    columns, targets, target_center, target_scale, totals = _parts_of_statistics(statistics, sizes)
    n_rows, n_features, n_outputs = len(y), len(center), len(target_center)
    n_coefficients = n_features * n_outputs
    unit, l1, l2, longest = np.empty(n_outputs), np.zeros(len(theta)), np.zeros(len(theta)), np.empty_like(theta)
    scratch, goals, inverse = np.empty((5, n_features)), np.empty((5, n_outputs)), np.empty_like(scale)
    old_scale, change, shift = np.empty_like(scale), np.empty_like(center), np.empty(n_outputs)
    rate, strength, sums, record = rates[:1].copy(), max(alpha, 0.0), np.zeros(3), np.zeros((1, 2))
    for step in range(len(rates)):
        begin, end = step * size, min((step + 1) * size, n_rows)
        w = weight[begin:end] if len(weight) > 0 else weight
        total = w.sum() if len(weight) > 0 else float(end - begin)
        totals[0] += end - begin
        totals[1] += total
        scratch[0] = columns[0]
        scratch[1:] = 0.0
        measure_rows(data, begin, end, w, total, scratch)
        _merge(columns, scratch, total / totals[1])
        if regression:
            goals[0] = targets[0]
            goals[1:] = 0.0
            _measure_dense_rows((y,), begin, end, w, total, goals)
            _merge(targets, goals, total / totals[1])
        if len(weight) > 0 or totals[0] != totals[1]:
            w = (w if len(weight) > 0 else np.ones(end - begin)) / (totals[1] / totals[0])
        filled = columns[3].mean()
        if alpha < 0.0:
            strength = auto_alpha(filled, n_classes)
        if precondition:
            for j in range(n_features):
                old_scale[j], change[j] = scale[j], center[j]
                c, s = coordinates_of(_measures_of(columns, j), has_intercept)
                center[j] = c
                scale[j] = max(theta.dtype.type(s), np.finfo(theta.dtype).tiny)
                change[j] = center[j] - change[j]
            old = (target_center.copy(), target_scale.copy())
            if regression:
                for k in range(n_outputs):
                    measures = _measures_of(targets, k)
                    target_center[k], target_scale[k] = target_coordinates(measures, log_link, has_intercept)
            if t + step > 0:
                _move(theta, old_scale, scale, change, old, (target_center, target_scale), shift)
                if len(average) > 0:
                    _move(average, old_scale, scale, change, old, (target_center, target_scale), shift)
        for k in range(n_outputs):
            unit[k] = unit_of(target_center[k], target_scale[k], log_link, degree)
            if not (np.isfinite(unit[k]) and unit[k] > 0.0):
                return False, averaged, strength, rate[0], (sums[0], sums[1], sums[2])
        squares: Any = 0.0
        for j in range(n_features):
            inverse[j] = 1.0 / scale[j]
            square = mean_squares_of(_measures_of(columns, j), center[j], scale[j])
            squares += square
            for k in range(n_outputs):
                i = j * n_outputs + k
                longest[i] = 1.0 / (curvature * square)
                if strength > 0.0:
                    l1[i], l2[i] = penalty_rates(strength, l1_ratio, scale[j], target_scale[k], unit[k])
                    sums[2] += (end - begin) * penalty_of(1.0 * theta[i], l1[i], l2[i], unit[k])
        longest[n_coefficients:] = 1.0 / curvature
        rate[0] = rates[step]
        if automatic_rate:
            many = n_classes if is_sparse(filled) else 1
            one_hot = is_one_hot(filled, n_features)
            rate[0] *= auto_rate(row_norm_of(squares, has_intercept), curvature, many, one_hot, hypers[0])
        limits = (longest if bounded else longest[:0], max_grad_norm, implicit)
        taken = take_batch(
            data,
            y[begin:end],
            w,
            np.arange(begin, end),
            size,
            rate,
            t + step,
            (theta, slots, average),
            shares[step : step + 1],
            hypers,
            (center, inverse, target_center, target_scale, unit),
            (l1, l2, strength > 0.0),
            (*limits, 0.0, has_intercept, n_coefficients, n_outputs),
            record,
        )
        if taken == 0:
            return False, averaged, strength, rate[0], (sums[0], sums[1], sums[2])
        sums[:2] += record[0]
        averaged += shares[step] > 0.0
    coordinates = (center, scale, target_center, target_scale)
    iterates = (theta, slots, average[: len(theta) if averaged > 0 else 0])
    _read_out(iterates, coordinates, zeros or strength * l1_ratio > 0.0, coef, intercept, hypers[0])
    finite = np.isfinite(theta).all() and np.isfinite(coef).all() and np.isfinite(intercept).all()
    return finite, averaged, strength, rate[0], (sums[0], sums[1], sums[2])


def _parts_of_numbers(numbers, sizes):
    """Return views of what is stored in X's own precision.

    These are parameters, slots, average, centre and scale of the columns, and the coefficients, (n_outputs,
    n_features), and intercepts to predict with, in the units of X and y.
    """
    n_features, n_outputs, n_parameters, n_slots, n_averages = sizes
    a = n_parameters
    b = a + n_slots * n_parameters
    c = b + n_averages * n_parameters
    d, e = c + n_features, c + 2 * n_features
    f = e + n_outputs * n_features
    slots, coef = numbers[a:b].reshape(n_slots, n_parameters), numbers[e:f].reshape(n_outputs, n_features)
    return numbers[:a], slots, numbers[b:c], numbers[c:d], numbers[d:e], coef, numbers[f:]


def _parts_of_statistics(statistics, sizes):
    """Return views of the measures of columns and targets, centre and scale of the targets, and rows and weight."""
    a = 4 * sizes[0]
    b, c, d = a + 4 * sizes[1], a + 5 * sizes[1], a + 6 * sizes[1]
    columns, targets = statistics[:a].reshape(4, sizes[0]), statistics[a:b].reshape(4, sizes[1])
    return columns, targets, statistics[b:c], statistics[c:d], statistics[d:]


def _read_out(iterates, coordinates, zeros, coef, intercept, hyper):
    """Write the parameters to predict with: `skgd.state.State.readout`."""
    n_outputs, n_features = coef.shape
    theta, average = iterates[0].reshape(-1, n_outputs), iterates[2].reshape(-1, n_outputs)
    slots = iterates[1].reshape(len(iterates[1]), len(theta), n_outputs)
    center, scale, target_center, target_scale = coordinates
    for k in range(n_outputs):
        total = 0.0
        for j in range(len(theta)):
            w = readout(1.0 * theta[j, k], slots_of(slots, j, k), hyper)
            if len(average) > 0:
                w = with_zeros(1.0 * average[j, k], w, zeros and j < n_features)
            if j < n_features:
                w = user_coefficient(w, scale[j], target_scale[k])
                coef[k, j] = w
                total += center[j] * w
            else:
                total -= target_scale[k] * w
        intercept[k] = target_center[k] - total


def _choose(condition, then, otherwise):
    return then if condition else otherwise


def _measures_of(measures, j):
    return measures[0, j], measures[1, j], measures[2, j], measures[3, j]


def _measure_dense_rows(data, begin, end, weight, total, measures):
    """Write the measures of some rows over the largest values so far and zeros; the fifth row is scratch."""
    _measure_dense(data[0][begin:end], weight, measures[0], measures[1], measures[4], measures[2], measures[3])
    for j in range(measures.shape[1]):
        measures[1, j] += measures[4, j] / total
        measures[2, j] /= total
        measures[3, j] /= total


def _measure_sparse_rows(data, begin, end, weight, total, measures):
    values, indices, indptr, _ = data
    _measure_sparse(values, indices, indptr[begin : end + 1], weight, total, measures[:4].T, measures)


def _merge(measures, new, share):
    """Merge the measures of some rows into those of earlier ones."""
    for j in range(measures.shape[1]):
        merged = merged_measures(_measures_of(measures, j), _measures_of(new, j), share)
        measures[0, j], measures[1, j], measures[2, j], measures[3, j] = merged


def _move(theta, old_scale, scale, change, old, new, shift):
    """Express parameters in new coordinates."""
    n_outputs = len(shift)
    shift[:] = 0.0
    for j in range(len(scale)):
        kept = relearnt(1.0 * old_scale[j], 1.0 * scale[j])
        for k in range(n_outputs):
            w = user_coefficient(kept * theta[j * n_outputs + k], old_scale[j], old[1][k])
            shift[k] += change[j] * w
            theta[j * n_outputs + k] = standardised_coefficient(w, scale[j], new[1][k])
    if has_intercept:
        for k in range(n_outputs):
            i = len(theta) - n_outputs + k
            theta[i] = moved_intercept(1.0 * theta[i], shift[k], (old[0][k], old[1][k]), (new[0][k], new[1][k]))


@lru_cache(maxsize=256)
def _stream_loop(
    optimizer: Any, loss: Any, target: Any, sparse: bool, single: bool, flags: tuple[bool, ...], linear: bool
) -> Any:
    """Return the compiled `take_stream` for the classes of an optimizer and a loss, and a kind of stream."""
    kind = dict(zip(("has_intercept", "regression", "precondition", "automatic_rate"), flags, strict=True))
    steps = _placeholders(optimizer, loss, target, "", sparse, single, kind["has_intercept"], linear)
    auto_rate = optimizer.auto_learning_rate
    if not isinstance(auto_rate, FunctionType):
        raise CannotCompile("auto_learning_rate is not a static method written in Python.")
    replacements = {
        **steps,
        **kind,
        "log_link": loss.log_link,
        "auto_rate": auto_rate,
        "measure_rows": _measure_sparse_rows if sparse else _measure_dense_rows,
        "coordinates_of": sparse_coordinates if sparse else dense_coordinates,
        "take_batch": take_steps,
        "choose": _choose,
    }
    return _Specialised(replacements)(take_stream)


class StreamLoop:
    """The compiled loop of a stream, with all that stays the same from call to call.

    What changes lies in two arrays, see `_parts_of_numbers` and `_parts_of_statistics`: much of the time of a call with
    one row would go into handing over more of them. Negative ``alpha`` stands for "auto".
    """

    def __init__(
        self,
        objective: Objective,
        optimizer: Optimizer,
        X: Matrix,
        y: np.ndarray,
        settings: StepSettings,
        averaging: bool,
        alpha: float,
        learning_rate: float | str,
        precondition: bool,
    ):
        loss, automatic, sparse = objective.loss, isinstance(learning_rate, str), not isinstance(X, np.ndarray)
        self.regression = y.dtype.kind == "f"
        flags = (objective.fit_intercept, self.regression, precondition, automatic)
        strategies: tuple[Any, ...] = type(optimizer), type(loss), _target_of(objective, y)
        self._loop = _stream_loop(*strategies, sparse, objective.n_outputs == 1, flags, is_linear(optimizer))
        self._settings, self._sparse = settings, sparse
        n_parameters, n_slots = objective.n_parameters, len(optimizer.slots)
        self._sizes = (objective.n_features, objective.n_outputs, n_parameters, n_slots, int(averaging))
        self._base = 1.0 if isinstance(learning_rate, str) else learning_rate
        self._hypers = (optimizer.hyper(), loss.hyper(), tuple(map(float, loss.label_values)))
        self._given = (
            self._sizes,
            float(alpha),
            float(objective.l1_ratio),
            float(loss.curvature),
            float(loss.degree),
            objective.n_outputs if objective.exclusive_classes else 1,
            np.inf if settings.max_grad_norm is None else float(settings.max_grad_norm),
            automatic and bool(optimizer.bounded),
            automatic and bool(optimizer.implicit),
            bool(getattr(optimizer, "l1", 0.0)),
        )

    def takes(self, X: Matrix) -> bool:
        """Say whether this is the loop for such rows."""
        return not self._sparse and X.flags.c_contiguous if isinstance(X, np.ndarray) else self._sparse

    def __call__(
        self,
        numbers: np.ndarray,
        statistics: np.ndarray,
        X: Matrix,
        y: np.ndarray,
        weight: np.ndarray | None,
        size: int,
        t: int,
        averaged: int,
        factors: np.ndarray,
    ) -> tuple[bool, int, float, float, tuple[float, float, float]]:
        """Take the steps of a call of ``partial_fit``, in place; return what `take_stream` does."""
        try:
            return self._loop(
                (*_read_only_rows(X), _most_entries(X, size)) if self._sparse else (_read_only(X),),
                _read_only(y),
                _NONE if weight is None else weight,
                size,
                t,
                averaged,
                numbers,
                statistics,
                self._base * factors,
                self._settings.averaging_shares(t, len(factors), averaged),
                self._hypers,
                self._given,
            )
        except Exception as error:
            if _ran(self._loop, error):
                raise
            raise CannotCompile(str(error)) from error

    def arrays_of(self, state: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return what a state holds, in the two arrays; the parameters to predict with come with the first step."""
        objective, iterate, (n_features, n_outputs, *_) = state.objective, state.iterate, self._sizes
        center, scale, *of_target = objective.coordinates.arrays(n_features, n_outputs)
        average = [] if iterate.average is None else [iterate.average]
        shown = np.zeros((n_features + 1) * n_outputs)
        numbers = [iterate.theta, *iterate.slots, *average, center, scale, shown]
        totals = [state.columns.rows, state.columns.weight]
        statistics = [*state.columns.measures, *state.targets.measures, *of_target, totals]
        return np.concatenate(numbers, dtype=iterate.theta.dtype, casting="same_kind"), np.concatenate(statistics)

    def parts_of(self, numbers: np.ndarray, statistics: np.ndarray) -> tuple[tuple, tuple]:
        """Return views of what the two arrays hold."""
        return _parts_of_numbers(numbers, self._sizes), _parts_of_statistics(statistics, self._sizes)


def _most_entries(X: Any, size: int) -> int:
    """Return the number of entries in the largest batch of rows of a CSR matrix."""
    ends = X.indptr[[*range(0, X.shape[0], size), X.shape[0]]]
    return int(np.diff(ends).max())


_NONE = np.empty(0)


# ---------------------------------------------------------------------------------------------------------------------
# Statistics of columns
# ---------------------------------------------------------------------------------------------------------------------


def _measure_dense(X, weight, largest, first, offset, square, filled):
    n_columns = X.shape[1]
    for i in range(len(X)):
        for j in range(n_columns):
            largest[j] = max(largest[j], abs(X[i, j]))
    for j in range(n_columns):
        first[j] = X[0, j] / (largest[j] if largest[j] > 0.0 else 1.0)
    relative = np.empty(X.shape)
    for i in range(len(X)):
        s = weight[i] if len(weight) > 0 else 1.0
        for j in range(n_columns):
            z = X[i, j] / (largest[j] if largest[j] > 0.0 else 1.0)
            filled[j] += s if z != 0.0 else 0.0
            relative[i, j] = z - first[j]
            offset[j] += s * relative[i, j]
    total = weight.sum() if len(weight) > 0 else float(len(X))
    for i in range(len(X)):
        s = weight[i] if len(weight) > 0 else 1.0
        for j in range(n_columns):
            z = relative[i, j] - offset[j] / total
            square[j] += s * z * z


def _measure_sparse(values, indices, indptr, weight, total, table, measures):
    """Write the measures of some rows; ``table`` holds, side by side, a column's largest value so far and zeros.

    In units of the largest value, these become the sum, the sum of squares and the weight of the rows that have it.
    """
    for i in range(len(indptr) - 1):
        s = weight[i] if len(weight) > 0 else 1.0
        row = slice(indptr[i], indptr[i + 1])
        row_values, row_indices = values[row], indices[row]
        for q in range(len(row_values)):
            j, value = row_indices[q], 1.0 * row_values[q]
            if abs(value) > table[j, 0]:
                shrunk = table[j, 0] / abs(value)
                table[j, 0] = abs(value)
                table[j, 1] *= shrunk
                table[j, 2] *= shrunk * shrunk
            if value != 0.0:
                z = value / table[j, 0]
                table[j, 1] += s * z
                table[j, 2] += s * z * z
                table[j, 3] += s
    for j in range(len(table)):
        largest, mean, square, filled = table[j, 0], table[j, 1] / total, table[j, 2] / total, table[j, 3] / total
        measures[0, j], measures[1, j] = largest, mean
        measures[2, j], measures[3, j] = variance_of(square, mean), filled


def _find_duplicate(indices, indptr, last_row):
    for i in range(len(indptr) - 1):
        for j in indices[indptr[i] : indptr[i + 1]]:
            if last_row[j] == i:
                return True
            last_row[j] = i
    return False


def has_duplicates(X: Any) -> bool:
    """Say whether a CSR matrix has several entries in one place."""
    return bool(_kernel(_find_duplicate)(*_read_only_rows(X)[1:], np.full(X.shape[1], -1)))


def measure_columns(X: Matrix, weight: np.ndarray | None, total: float, largest: np.ndarray) -> Measures:
    """Do what `skgd.coordinates.measure_columns` does, faster."""
    weights = np.empty(0) if weight is None else _read_only(weight)
    if isinstance(X, np.ndarray):
        largest = largest.copy()
        first, offset, square, filled = np.zeros((4, X.shape[1]))
        _kernel(_measure_dense)(_read_only(X), weights, largest, first, offset, square, filled)
        return largest, first + offset / total, square / total, filled / total
    table, measures = np.zeros((X.shape[1], 4)), np.empty((4, X.shape[1]))
    table[:, 0] = largest
    _kernel(_measure_sparse)(*_read_only_rows(X), weights, total, table, measures)
    return measures


def _renumber(indices, number, renumbered):
    for q in range(len(indices)):
        renumbered[q] = number[indices[q]]


def renumbered(X: Any, number: np.ndarray) -> np.ndarray:
    """Return the indices of a CSR matrix whose columns have new numbers."""
    _, indices, _ = _read_only_rows(X)
    result = np.empty(len(indices), number.dtype)
    _kernel(_renumber)(indices, number, result)
    return result


def _read_only_rows(X: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a CSR matrix's values, indices and row pointers; the indices unsigned: they never count from the end."""
    indices = X.indices.view(np.uint32 if X.indices.itemsize == 4 else np.uint64)
    return _read_only(X.data), _read_only(indices), _read_only(X.indptr)


# ---------------------------------------------------------------------------------------------------------------------
# Compiling
# ---------------------------------------------------------------------------------------------------------------------

# Numba's tuples have a length, so that this has to be written out for each number of slots.
_SLOT_ACCESS = """
def slots_of(slots, c, k):
    return ({reads})

def keep_slots(slots, c, k, after):
    {writes}
"""

_NO_MEMORY = """
def slots_of(slots, c, k):
    return ({zeros})

def keep_slots(slots, c, k, after):
    pass
"""


def _slot_access(n_slots: int) -> dict[str, Any]:
    reads = "".join(f"1.0 * slots[{s}, c, k], " for s in range(n_slots))
    writes = "; ".join(f"slots[{s}, c, k] = after[{s}]" for s in range(n_slots)) or "pass"
    namespace: dict[str, Any] = {}
    exec(_SLOT_ACCESS.format(reads=reads, writes=writes), namespace)
    return {name: namespace[name] for name in ("slots_of", "keep_slots")}


def _no_memory(n_slots: int) -> dict[str, Any]:
    namespace: dict[str, Any] = {}
    exec(_NO_MEMORY.format(zeros="0.0, " * n_slots), namespace)
    return {name: namespace[name] for name in ("slots_of", "keep_slots")}


def _global_names(code: CodeType) -> set[str]:
    """Return the global names that a function and the functions inside it look up."""
    names = {instruction.argval for instruction in dis.get_instructions(code) if instruction.opname == "LOAD_GLOBAL"}
    inner = (_global_names(constant) for constant in code.co_consts if isinstance(constant, CodeType))
    return names.union(*inner)


def _ran(loop: Any, error: Exception) -> bool:
    """Say whether an error was raised by a compiled loop, that is by a rule or a loss in it, and not by compiling."""
    of_numba = type(error).__module__.startswith(("numba", "llvmlite"))
    return isinstance(error, MemoryError) or (bool(getattr(loop, "signatures", ())) and not of_numba)


class _Specialised:
    """Copies of functions that Numba compiles, and those they call, with other functions in place of placeholders."""

    def __init__(self, replacements: dict[str, Any]):
        self._replacements = replacements
        self._digest = hashlib.sha256()
        self._lasting = True  # whether the digest tells all that the compiled code depends on
        self._done: dict[FunctionType, Any] = {}

    def __call__(self, function: Any) -> Any:
        """Return the compiled copy of a function: compiled when it is first called, or read from the disk."""
        copy = self._copied(function)
        if self._lasting:
            copy.__qualname__ = f"{function.__name__}_{self._digest.hexdigest()[:20]}"
            with suppress(RuntimeError):  # no folder can be written to
                return njit(cache=True, **_OPTIONS)(copy)
        return njit(**_OPTIONS)(copy)

    def _inlined(self, function: FunctionType) -> Any:
        if function not in self._done:
            self._done[function] = None
            self._done[function] = njit(**_INLINED, **_OPTIONS)(self._copied(function))
        if self._done[function] is None:
            raise CannotCompile(f"{function.__name__} calls itself.")
        return self._done[function]

    def _copied(self, function: FunctionType) -> FunctionType:
        code = function.__code__
        self._note(code)
        self._note(function.__defaults__)
        for cell in function.__closure__ or ():
            self._note(cell.cell_contents)
        namespace = dict(function.__globals__)
        ours = (function.__module__ or "").startswith("skgd.")
        for name in sorted(_global_names(code) & namespace.keys()):
            thing = self._replacements.get(name, namespace[name]) if ours else namespace[name]
            if isinstance(thing, FunctionType):
                thing = self._inlined(thing)
            elif not ours or name in self._replacements:
                self._note((name, thing))
            namespace[name] = thing
        return FunctionType(code, namespace, function.__name__, function.__defaults__, function.__closure__)

    def _note(self, thing: Any) -> None:
        """Add something that the compiled code depends on to the digest."""
        if isinstance(thing, CodeType):
            self._note((thing.co_code, thing.co_names, thing.co_varnames, thing.co_consts))
        elif isinstance(thing, (tuple, frozenset)):
            for item in thing if isinstance(thing, tuple) else sorted(thing, key=repr):
                self._note(item)
        elif isinstance(thing, (np.ndarray, np.generic)):
            self._digest.update(repr((thing.dtype.str, thing.shape)).encode() + thing.tobytes())
        elif isinstance(thing, (bool, int, float, str, bytes, type(None), type(...))):
            self._digest.update(f"{type(thing).__name__} {thing!r};".encode())
        elif isinstance(thing, (BuiltinFunctionType, np.ufunc)):
            self._digest.update(f"function {thing.__name__};".encode())
        elif thing is not np and thing is not math:
            self._lasting = False


_OPTIONS: dict[str, Any] = {
    "error_model": "numpy",
    "fastmath": {"reassoc", "contract", "arcp", "nsz"},  # sums in any order; NaN and infinity stay what they are
    "nogil": True,
}
# Called from compiled code only: without the entrances for others, compiling takes two thirds of the time.
_INLINED: dict[str, Any] = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}


@cache
def _kernel(function: Any) -> Any:
    """Return a function compiled, without placeholders."""
    return _Specialised({})(function)


def _placeholders(
    optimizer: Any,
    loss: Any,
    target: Any,
    lazy: str,
    sparse: bool,
    single: bool,
    has_intercept: bool,
    linear: bool,
    activation: Any = None,
) -> dict[str, Any]:
    """Return what stands for the placeholders of `take_steps`."""
    strategies = {
        "rule": optimizer.rule,
        "readout": optimizer.readout,
        "skip": optimizer.skip,
        "value": loss.value,
        "gradient": loss.gradient,
    }
    if activation is not None:
        strategies |= {"activate": activation.value, "slope_of_activation": activation.derivative}
    for name, function in strategies.items():
        if not isinstance(function, FunctionType):
            raise CannotCompile(f"{name} is not a static method written in Python.")
    network = {
        "workspace": _network_workspace,
        "gradient_of": _network_gradient,
        "complete_gradient": _complete_network_gradient,
    }
    return {
        **strategies,
        **(_no_memory(len(optimizer.slots)) if linear else _slot_access(len(optimizer.slots))),
        "target": target,
        "workspace": _sparse_workspace if sparse else _dense_workspace,
        "touch": _sparse_touch if sparse else _dense_touch,
        "read_row": _sparse_row if sparse else _dense_row,
        "look_ahead": _sparse_look_ahead if sparse else _dense_look_ahead,
        "place": _sparse_place if sparse else _dense_place,
        "touch_all": _sparse_touch_all if sparse else _dense_touch_all,
        "gradient_of": _sparse_gradient if sparse else _dense_gradient,
        "complete_gradient": _complete_gradient,
        "move_of": _sparse_move if sparse else _dense_move,
        "catch_up": _catch_up_repeat if lazy == "repeat" else _catch_up_rest,
        "multiply": _multiply_one if single else _multiply_many,
        "accumulate": _accumulate_one if single else _accumulate_many,
        "slope_along": _slope_along,
        "single": single,
        "narrow": single and lazy != "",
        "has_intercept": has_intercept,
        "proximal": optimizer.proximal,
        "lazy": lazy != "",
        "resting": lazy == "rest",
        "normalized": loss.normalized,
        "hidden": activation is not None,
        **({} if activation is None else network),
    }


@lru_cache(maxsize=256)
def _loop(
    optimizer: Any,
    loss: Any,
    target: Any,
    lazy: str,
    sparse: bool,
    single: bool,
    has_intercept: bool,
    linear: bool,
    activation: Any,
    of_rows: tuple[bool, bool, bool] | None,
) -> Any:
    """Return the compiled `take_steps` for the classes of the strategies, and a kind of data."""
    kind = (target, lazy, sparse, single, has_intercept, linear, activation)
    replacements = _placeholders(optimizer, loss, *kind)
    if of_rows is None:
        return _Specialised(replacements)(take_steps)
    names = "along_row", "bounded", "implicit"
    replacements |= {"narrow": single, **dict(zip(names, of_rows, strict=True))}
    return _Specialised(replacements)(take_row_steps)


def run_epoch(
    objective: Objective,
    optimizer: Optimizer,
    settings: StepSettings,
    holder: Holder,
    X: Matrix,
    y: np.ndarray,
    weight: np.ndarray | None,
    order: np.ndarray,
    size: int,
    rates: np.ndarray,
    longest_step: np.ndarray | None = None,
) -> EpochSummary:
    """Do what `skgd.engines.vectorized.run_epoch` does, faster.

    Raises
    ------
    FloatingPointError
        As the vectorised engine.
    CannotCompile
        Where the optimizer's rule or the loss is beyond Numba; nothing has happened then.
    """
    theta, _, average, t, averaged = holder.iterate
    dtype, n_features, n_outputs = theta.dtype, objective.n_features, objective.n_outputs
    rows: Any = X
    sparse = not isinstance(X, np.ndarray)
    lazy = laziness_of(optimizer) if sparse else ""
    if lazy == "repeat" and (rates.min() != rates.max() or rates[0] == 0.0):
        lazy = ""
    network = bool(objective.hidden_layer_sizes)
    row_by_row = min(size, len(order)) == 1 and (not sparse or lazy != "") and not network
    implicit = longest_step is not None and bool(optimizer.implicit)
    longest = longest_step if longest_step is not None and optimizer.bounded else np.empty(0, theta.dtype)
    of_rows = None
    if row_by_row:
        along_row = is_linear(optimizer) and optimizer.proximal and not optimizer.weight_decay
        if along_row and len(longest) > 0:
            _, length, _ = optimizer.rule(0.0, 0.0, rates.max(), 1, optimizer.initial(), optimizer.hyper())
            along_row = bool(length <= longest.min())
            longest = longest[:0] if along_row else longest
        of_rows = along_row, len(longest) > 0, implicit
    strategies: tuple[Any, ...] = type(optimizer), type(objective.loss)
    activation: Any = type(objective.activation) if network else None
    loop = _loop(
        *strategies,
        _target_of(objective, y),
        lazy,
        sparse,
        n_outputs == 1,
        objective.fit_intercept,
        is_linear(optimizer),
        activation,
        of_rows,
    )

    coordinates = objective.coordinates
    theta = theta.copy()
    slots = np.array(holder.iterate.slots, dtype=dtype).reshape(-1, len(theta))
    shown = np.empty(0, dtype) if average is None else average.copy()
    shares = settings.averaging_shares(t, len(rates), averaged) if average is not None else np.zeros(len(rates))
    averaged_after = averaged + np.cumsum(shares > 0.0)
    scales = (
        np.broadcast_to(coordinates.center, (n_features,)).astype(dtype),
        (1.0 / np.broadcast_to(coordinates.scale, (n_features,))).astype(dtype),
        *(
            np.broadcast_to(np.asarray(values, np.float64), (n_outputs,)).copy()
            for values in (coordinates.target_center, coordinates.target_scale, objective.unit)
        ),
    )
    penalised = objective.alpha > 0.0
    l1, l2 = objective.penalty_by_parameter() if penalised else (np.empty(0), np.empty(0))
    penalty = (l1, l2, penalised)
    bounds = (
        longest,
        np.inf if settings.max_grad_norm is None else float(settings.max_grad_norm),
        implicit,
        float(optimizer.weight_decay),
        objective.fit_intercept,
        objective.n_coefficients,
        sum(objective.layer_sizes[1:]),
    )
    hypers: tuple = (optimizer.hyper(), objective.hyper, tuple(map(float, objective.loss.label_values)))
    if network:
        hypers = (*hypers, objective.activation.hyper())
    y, weights = y[order], np.empty(0) if weight is None else weight[order]
    data: tuple = ()
    if network:
        data = (_read_only(rows), np.array(objective.layer_sizes))
    elif not sparse:
        data = (_read_only(rows),)
    else:  # with the entries of the largest batch
        ends = np.concatenate([[0], np.cumsum(np.diff(rows.indptr)[order])])
        cuts = np.append(np.arange(0, len(order), size), len(order))
        data = (*_read_only_rows(rows), int(np.diff(ends[cuts]).max()))
    # Of each step, the loss and the squares of the layers' gradients, summed over its rows.
    record = np.zeros((len(rates), len(objective.layer_sizes)))

    if network:
        neurons = sum(objective.hidden_layer_sizes)
        slab = max(1, int(_SLAB_PRODUCTS / (size * (objective.n_coefficients + _PRODUCTS_A_NEURON * neurons))))
    else:
        entries = (rows.nnz / len(rows.indptr) if sparse else n_features) * size * n_outputs
        slab = max(1, int(_SLAB_ENTRIES / max(entries, 1)))
    last = len(rates) - 1
    begins = [*range(0, last, slab), last]
    penalty_before = 0.0
    for begin, end in zip(begins, [*begins[1:], len(rates)], strict=True):
        if begin == last:
            penalty_before = objective.penalty(theta)
        if begin:  # an interrupt is heard when the loop has ended: the holder's iterate is to be whole then
            theta, slots, shown = theta.copy(), slots.copy(), shown.copy()
        part, section = slice(begin, end), slice(begin * size, end * size)
        try:
            taken = loop(
                data,
                y[section],
                weights[section],
                order[section],
                size,
                rates[part],
                t + begin,
                (theta, slots, shown),
                shares[part],
                hypers,
                scales,
                penalty,
                bounds,
                record[part],
            )
        except Exception as error:  # a rule that Numba cannot read makes it raise all kinds of errors
            if _ran(loop, error):
                raise
            raise CannotCompile(str(error)) from error
        if taken < end - begin:
            failed = begin + taken
            raise FloatingPointError(f"at step {t + failed + 1} (learning rate {rates[failed]:.3g})")
        holder.iterate = holder.iterate._replace(
            theta=theta,
            slots=tuple(slots),
            average=None if average is None else shown,
            t=t + end,
            averaged=int(averaged_after[end - 1]),
        )
    if not np.isfinite(theta).all():
        raise FloatingPointError(f"at step {t + len(rates)} (learning rate {rates[-1]:.3g})")
    return summarized(record, penalty_before, len(order))
