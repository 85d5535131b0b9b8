"""The loop over steps of several rows: gradient, clipping, rule, implicit share, penalty, average.

It does what `skgd.engines.vectorized.run_epoch` does, with all that a kind of rows does in its own way behind `rows`.
"""

from __future__ import annotations

import numpy as np

from skgd.engines.compiled.interface import (
    Limits,
    Penalty,
    Scales,
    Work,
    adaptive,
    averages,
    bounded,
    compares,
    decays,
    dense,
    has_intercept,
    hidden,
    implicit,
    lazy,
    narrow,
    prefetch,
    proximal,
    rows,
    single,
    slope_along,
    smooth,
    strategies,
)
from skgd.engines.compiled.loss import totals_of
from skgd.engines.vectorized import implicit_share, merged_slope
from skgd.objective import proximal_point

NEAR = 4  # chunks, so early a chunk is fetched
POWERS = 8  # terms of the series of a logarithm, exact to rounding for small numbers: see `catch_up`


def take_steps(
    data, y, weight, order, size, rates, t, parameters, shares, hypers, of_scales, of_penalty, of_limits, arrays, record
):
    """Take a step for each ``size`` rows; return how many were taken before a number was no longer finite.

    A step works on the parameters that its rows touch. They lie in chunks, (n_chunks, width): dense rows touch
    everything, one chunk; sparse ones a chunk for each column that is not zero in some row, and one for the
    intercepts, of which the step makes local copies. Two indices, chunk and place: sums of one index might be negative,
    for all that the compiler knows.
    """
    theta, slots, average, compared = parameters
    work, scales, penalty, limits = Work(*arrays), Scales(*of_scales), Penalty(*of_penalty), Limits(*of_limits)
    raw, moved, slopes, losses, slope_sizes = work.raw, work.moved, work.slopes, work.losses, work.slope_sizes
    grad, point, lengths, chunks, missed = work.grad, work.point, work.lengths, work.chunks, work.missed
    local = work.local if lazy and not hidden else theta
    for step in range(len(rates)):
        begin, end = step * size, min((step + 1) * size, len(order))
        rate, now = rates[step], float(t + step + 1)
        n_chunks = rows.touch(data, order, begin, end, scales, chunks, work.of_rows)
        if lazy:
            rows.catch_up(chunks, n_chunks, step, rates, t, theta, slots, hypers, penalty, missed)
        for u in range(n_chunks):
            chunk = chunks[u] if lazy else u
            for k in range(0 if hidden else 1 if narrow else theta.shape[1]):
                grad[u, k] = 0.0
                if lazy:
                    local[u, k] = theta[chunk, k]
        for k in range(len(losses)):
            losses[k] = 0.0
        for k in range(len(slope_sizes)):
            slope_sizes[k] = 0.0
        written = raw, slopes, losses, slope_sizes, grad
        rows.gradient(data, y, weight, order, begin, end, n_chunks, scales, local, hypers, work.of_rows, written)
        of_step = n_chunks, work.of_rows
        rows.complete_gradient(data, end - begin, of_step, limits, slopes, slope_sizes, grad, record, step)
        square = 0.0
        last = record.shape[1] - 1
        for layer in range(1, last):
            square += record[step, layer]
        loss, record[step, 0], record[step, last] = totals_of(losses, scales.unit, scales.worth)
        if not (np.isfinite(loss) and np.isfinite(square)):
            return step
        norm = np.sqrt(square)
        clip = limits.max_grad_norm / norm if norm > limits.max_grad_norm else 1.0
        clip /= end - begin  # of the sum over the rows, the mean
        at_hand = chunks, grad, point, lengths
        share, start, move = 1.0, 0.0, grad
        for part in range(0 if compares else 1, 2):  # to the average, then as the rule says: compiled once
            if compares and part == 0:
                start, move = turn_to_average(n_chunks, theta, average, grad, point), point
            else:
                around = theta, local, slots, hypers, limits, at_hand
                first = apply_rule(n_chunks, len(scales.center), rate, now, clip, penalty, work.of_rows, around)
                if not np.isfinite(first):
                    return step
                record[step, 1] += first
                if implicit:
                    start, move = take_difference(n_chunks, local, grad, point), grad
            if implicit or (compares and part == 0):
                rows.move(data, order, begin, end, n_chunks, scales, move, work.of_rows, moved)
                state = y, weight, begin, end, hypers, scales, raw, moved
                if compares and part == 0:
                    compare(weight, begin, end, start, slope_along(1.0, state), compared)
                elif implicit:
                    share = implicit_share(start, state, smooth)
                    finish(n_chunks, share, theta, local, penalty, chunks, point, lengths)
        for layer in range(1, last):
            record[step, layer] *= end - begin
        if lazy:
            record_rate(chunks, n_chunks, step, rate * share, missed)
        if averages and shares[step] > 0.0:
            if lazy:
                catch_up_all(work.active, step + 1, rates, t, theta, slots, hypers, penalty, missed)
            add_to_average(shares[step], work.active, theta, slots, average, hypers)
    if lazy:
        catch_up_all(work.everywhere, len(rates), rates, t, theta, slots, hypers, penalty, missed)
    return len(rates)


def complete_gradient(data, n_rows, of_step, limits, slopes, slope_sizes, grad, record, step):
    """Put in the intercepts' gradient, zero where it is nothing but rounding; write the square of the mean gradient."""
    n_chunks, width = of_step[0], 1 if narrow else grad.shape[1]
    if has_intercept:
        n_outputs = 1 if single else slopes.shape[1]
        for k in range(n_outputs):
            total = 0.0
            for i in range(n_rows):
                total += slopes[i, k]
            grad[n_chunks - 1, width - n_outputs + k] = total if abs(total) > limits.rounding * slope_sizes[k] else 0.0
    square = 0.0
    for u in range(n_chunks):
        for k in range(width):
            mean = grad.dtype.type(grad[u, k] / n_rows)  # whose square is to overflow where NumPy's does
            square += mean * mean
    record[step, 1] = square


def apply_rule(n_chunks, n_features, rate, now, clip, penalty, of_rows, around):
    """Move each local parameter; if steps are implicit, write where to, and how long its step is in the long run.

    In networks of sparse rows, a feature's gradient is made here, when it is needed. Return the sum of these
    gradients' squares, unless the norm of all has a limit, so that it is known already.
    """
    theta, _, slots, _, limits, (chunks, grad, _, _) = around
    width, square = 1 if narrow else theta.shape[1], 0.0
    for place in range(n_chunks):
        u = n_chunks - 1 - place if lazy and hidden else place  # the last ones are still in the processor's cache
        chunk = chunks[u] if lazy else u
        if lazy and hidden:
            fetch_all(chunks, u - NEAR, n_chunks, theta, slots, penalty)
        if dense or not hidden:
            for k in range(width):
                l1 = penalty.l1[chunk, k] if penalty.penalized else 0.0
                l2 = penalty.l2[chunk, k] if penalty.penalized else 0.0
                move_parameter(u, chunk, k, rate, now, clip, penalty.penalized, l1, l2, around)
        elif chunk < n_features:
            write_gradient_of_feature(u, of_rows, grad)
            if limits.max_grad_norm == np.inf:
                square += square_of_first(grad, clip)
            l1 = penalty.l1[chunk, 0] if penalty.penalized else 0.0
            l2 = penalty.l2[chunk, 0] if penalty.penalized else 0.0
            for k in range(width):
                move_parameter(0, chunk, k, rate, now, clip, penalty.penalized, l1, l2, around)
        else:
            first = n_features + (chunk - n_features) * width
            for k in range(width):
                l1 = penalty.l1[first + k, 0] if penalty.penalized else 0.0
                l2 = penalty.l2[first + k, 0] if penalty.penalized else 0.0
                move_parameter(chunk, chunk, k, rate, now, clip, penalty.penalized, l1, l2, around)
    return square


def write_gradient_of_feature(u, of_rows, grad):
    """Write the gradient of a feature's coefficients, in a network of sparse rows, to the first row."""
    rows_of, values, _, begins, delta = of_rows[1]
    for k in range(grad.shape[1]):
        grad[0, k] = 0.0
    for q in range(begins[u], begins[u + 1]):
        i, value = rows_of[q], values[q]
        for k in range(grad.shape[1]):
            grad[0, k] += value * delta[i, k]


def square_of_first(grad, factor):
    """Return the sum of squares in the first row, each times the factor."""
    square = 0.0
    for k in range(grad.shape[1]):
        mean = grad.dtype.type(factor * grad[0, k])  # whose square is to overflow where NumPy's does
        square += mean * mean
    return square


def fetch_all(chunks, u, n_chunks, theta, slots, penalty):
    """Ask for all that a step with a chunk needs."""
    if 0 <= u < n_chunks:
        chunk = chunks[u]
        if penalty.penalized:
            prefetch(penalty.l1, (chunk, 0))
            prefetch(penalty.l2, (chunk, 0))
        for k in range(0, theta.shape[1], 64 // theta.itemsize):
            prefetch(theta, (chunk, k))
            strategies.fetch_slots(slots, chunk, k)


def move_parameter(u, chunk, k, rate, now, clip, penalized, l1, l2, around):
    """Move one of them, with the gradient in row u."""
    theta, local, slots, hypers, limits, (_, grad, point, lengths) = around
    at = chunk if hidden else u
    w, g, before = 1.0 * local[at, k], clip * grad[u, k], strategies.slots_of(slots, chunk, k)
    if not proximal and penalized:
        g += l2 * w
    if decays and chunk * (1 if narrow else theta.shape[1]) + k < limits.n_coefficients:
        w *= 1.0 - rate * limits.weight_decay
        local[at, k] = w
    to, length, after = strategies.rule(w, g, rate, now, before, hypers[0])
    if bounded and length > limits.longest[chunk, k] and g != 0.0:
        shorter = rate * (limits.longest[chunk, k] / length)
        to, length, after = strategies.rule(w, g, shorter, now, before, hypers[0])
    strategies.keep_slots(slots, chunk, k, after)
    if implicit:
        point[u, k] = to
        lengths[u, k] = length
    elif penalized and proximal:
        if adaptive and grad[u, k] == 0.0:
            length = min(length, rate)
        theta[chunk, k] = proximal_point(to, length, l1, l2)
    else:
        theta[chunk, k] = to


def turn_to_average(n_chunks, theta, average, grad, point):
    """Write the move to the average; return its product with the gradient."""
    for u in range(n_chunks):
        for k in range(1 if narrow else theta.shape[1]):
            point[u, k] = average[u, k] - theta[u, k]
    slope = 0.0  # in a loop that writes nothing: where arrays lie must not decide in which order it adds up
    for u in range(n_chunks):
        for k in range(1 if narrow else theta.shape[1]):
            slope += grad[u, k] * point[u, k]
    return slope


def compare(weight, begin, end, at_last, at_average, compared):
    """Note the slopes of a batch's loss from the last iterate to the average."""
    total = 0.0
    for i in range(begin, end):
        total += weight[i]
    if total > 0.0:
        compared[0] = merged_slope(compared[0], at_last, total)
        compared[1] = merged_slope(compared[1], at_average, total)


def take_difference(n_chunks, local, grad, point):
    """Write the move over the gradient; return their product."""
    slope = 0.0
    for u in range(n_chunks):
        for k in range(1 if narrow else grad.shape[1]):
            move = point[u, k] - local[u, k]
            slope += grad[u, k] * move
            grad[u, k] = move
    return slope


def finish(n_chunks, share, theta, local, penalty, chunks, point, lengths):
    """Move parameters by a share of their step, and take the penalty's proximal step."""
    for u in range(n_chunks):
        chunk = chunks[u] if lazy else u
        for k in range(1 if narrow else theta.shape[1]):
            w = point[u, k] if share == 1.0 else local[u, k] + share * (point[u, k] - local[u, k])
            if penalty.penalized and proximal:
                w = proximal_point(w, share * lengths[u, k], penalty.l1[chunk, k], penalty.l2[chunk, k])
            theta[chunk, k] = w


def add_to_average(share, active, theta, slots, average, hypers):
    """Average the active chunks."""
    for u in range(len(active)):
        c = active[u]
        for k in range(1 if narrow else theta.shape[1]):
            shown = strategies.readout(1.0 * theta[c, k], strategies.slots_of(slots, c, k), hypers[0])
            average[c, k] += share * (shown - average[c, k])


def record_rate(chunks, n_chunks, step, rate, missed):
    """Note that the chunks are done with this step, and the rate of the step for those that are not."""
    done, taken, powers, _ = missed
    for u in range(n_chunks):
        done[chunks[u]] = step + 1
    taken[step] = rate
    power = 1.0
    for k in range(POWERS):
        power *= rate
        powers[step + 1, k] = powers[step, k] + power


def catch_up_all(chunks, stop, rates, t, theta, slots, hypers, penalty, missed):
    """Make up for all that chunks have missed, and note it."""
    rows.catch_up(chunks, len(chunks), stop, rates, t, theta, slots, hypers, penalty, missed)
    for u in range(len(chunks)):
        missed[0][chunks[u]] = stop
