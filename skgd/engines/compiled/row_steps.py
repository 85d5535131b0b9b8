"""The loop over steps of one row each, whose gradient is never written down: stochastic gradient descent proper."""

from __future__ import annotations

import numpy as np

from skgd.engines.compiled.interface import (
    Limits,
    Penalty,
    Scales,
    Work,
    along_row,
    bounded,
    decays,
    has_intercept,
    implicit,
    lazy,
    proximal,
    resting,
    rows,
    shared,
    single,
    smooth,
    strategies,
)
from skgd.engines.compiled.loss import slopes_of_loss, totals_of
from skgd.engines.compiled.steps import add_to_average, catch_up_all, record_rate
from skgd.engines.vectorized import implicit_share
from skgd.objective import proximal_point


def take_row_steps(
    data, y, weight, order, size, rates, t, parameters, shares, hypers, of_scales, of_penalty, of_limits, arrays, record
):
    """Take a step for each row, in place: as `take_steps` for ``size`` 1.

    The gradient of one row is the outer product of its entries, the intercept's being 1, and the slopes of its loss.
    """
    theta, slots, average, _ = parameters
    work, scales, penalty, limits = Work(*arrays), Scales(*of_scales), Penalty(*of_penalty), Limits(*of_limits)
    entries, columns, of_centered = work.of_rows
    missed = work.missed
    scratch = work.raw, work.moved, work.slopes, work.losses, work.slope_sizes, work.point, work.lengths
    behind = lazy and (penalty.penalized or not resting)  # what columns miss has to be caught up
    for step in range(len(rates)):
        rate, now = rates[step], float(t + step + 1)
        n = rows.read_row(data, order, step, scales, entries, columns, of_centered)
        if has_intercept:
            entries[n], columns[n] = 1.0, len(theta) - 1
            n += 1
        if behind:
            rows.catch_up(columns, n, step, rates, t, theta, slots, hypers, penalty, missed)
        if not single:
            rows.look_ahead(data, order, step, theta)
        of_row = n, entries, columns, y, weight, step
        share, sums = take_row_step(of_row, rate, now, theta, slots, hypers, scales, penalty, limits, scratch)
        record[step, 0], record[step, 1], record[step, 2] = sums
        if share < 0.0:
            return step
        if behind:
            record_rate(columns, n, step, rate * share, missed)
        if shares[step] > 0.0:
            if behind:
                catch_up_all(work.active, step + 1, rates, t, theta, slots, hypers, penalty, missed)
            add_to_average(shares[step], work.active, theta, slots, average, hypers)
    if behind:
        catch_up_all(work.everywhere, len(rates), rates, t, theta, slots, hypers, penalty, missed)
    return len(rates)


def take_row_step(of_row, rate, now, theta, slots, hypers, scales, penalty, limits, scratch):
    """Take a step with a standardized row, in place.

    Return which share of it, -1 where numbers are no longer finite, and what is recorded: the loss before it, the
    squared norm of the gradient, and the loss by its worth.
    """
    n, entries, columns, y, weight, row = of_row
    raw, moved, slopes, losses, slope_sizes, point, lengths = scratch
    n_outputs = 1 if single else theta.shape[1]
    square = 0.0
    if single:
        total = 0.0
        for u in range(n):
            total += entries[u] * theta[rows.place(columns, u), 0]
            square += entries[u] * entries[u]
        raw[0, 0] = total
    else:
        for k in range(n_outputs):
            raw[0, k] = 0.0
        for u in range(n):
            c, z = rows.place(columns, u), entries[u]
            square += z * z
            for k in range(n_outputs):
                raw[0, k] += z * theta[c, k]
    for k in range(n_outputs):
        losses[k] = 0.0
    slopes_of_loss(y, weight, row, 0, 1, hypers, scales, raw, slopes, losses, slope_sizes)
    steepness = 0.0
    for k in range(n_outputs):
        steepness += slopes[0, k] * slopes[0, k]
    size_of_row = square
    square *= steepness
    loss, in_user_units, of_worth = totals_of(losses, scales.unit, scales.worth)
    sums = in_user_units, square, of_worth
    if not (np.isfinite(loss) and np.isfinite(square)):
        return -1.0, sums
    norm = np.sqrt(square)
    clip = limits.max_grad_norm / norm if norm > limits.max_grad_norm else 1.0
    length, share = rate, 1.0
    if along_row:
        length = strategies.rule(0.0, 0.0, rate, now, strategies.slots_of(slots, 0, 0), hypers[0])[1]
        for k in range(n_outputs):
            moved[0, k] = -length * clip * slopes[0, k] * size_of_row
    else:
        at_hand = entries, columns, slopes, moved, point, lengths
        apply_rule_to_row(n, rate, now, clip, theta, slots, hypers, penalty, limits, at_hand)
    if implicit:
        start = 0.0
        for k in range(n_outputs):
            start += slopes[0, k] * moved[0, k]
        share = implicit_share(start, (y, weight, row, row + 1, hypers, scales, raw, moved), smooth)
    if along_row:
        length *= share
        for k in range(n_outputs):
            slopes[0, k] *= clip * length
    for u in range(n if along_row or implicit else 0):
        c = rows.place(columns, u)
        for k in range(n_outputs):
            if along_row:
                w = theta[c, k] - entries[u] * slopes[0, k]
                if penalty.penalized:
                    w = proximal_point(w, length, penalty.l1[c, k], penalty.l2[c, k])
            else:
                w, to = theta[c, k], point[u, k]
                w = to if share == 1.0 else w + share * (to - w)
                if penalty.penalized and proximal:
                    w = proximal_point(w, share * lengths[u, k], penalty.l1[c, k], penalty.l2[c, k])
            theta[c, k] = w
    return share, sums


def apply_rule_to_row(n, rate, now, clip, theta, slots, hypers, penalty, limits, at_hand):
    """Move each parameter; if steps are implicit, write where to, its step in the long run, and what it moves."""
    entries, columns, slopes, moved, point, lengths = at_hand
    n_outputs = 1 if single else slopes.shape[1]
    n_penalized = limits.n_coefficients // n_outputs
    total, steepness = 0.0, 0.0
    if not single:
        for k in range(n_outputs):
            moved[0, k] = 0.0
            steepness += slopes[0, k] * slopes[0, k]
        steepness = np.sqrt(steepness)
    for u in range(n):
        c, z = rows.place(columns, u), clip * entries[u]
        most = limits.longest[c, 0] if bounded else np.inf  # the same for all outputs
        if shared:
            size, of_column = abs(z) * steepness, strategies.slots_of(slots, c, 0)
            _, common, kept = strategies.rule(0.0, size, rate, now, of_column, hypers[0])
            if bounded and common > most and size != 0.0:
                _, common, kept = strategies.rule(0.0, size, rate * (most / common), now, of_column, hypers[0])
        for k in range(n_outputs):
            w, g, before = 1.0 * theta[c, k], z * slopes[0, k], strategies.slots_of(slots, c, k)
            if not proximal and penalty.penalized:
                g += penalty.l2[c, k] * w
            if decays and c < n_penalized:
                w *= 1.0 - rate * limits.weight_decay
                theta[c, k] = w
            if shared:
                to, length, after = w - common * g, common, kept
            else:
                to, length, after = strategies.rule(w, g, rate, now, before, hypers[0])
                if bounded and length > most and g != 0.0:
                    to, length, after = strategies.rule(w, g, rate * (most / length), now, before, hypers[0])
            strategies.keep_slots(slots, c, k, after)
            if implicit:
                point[u, k] = to
                lengths[u, k] = length
                if not single:
                    moved[0, k] += entries[u] * (to - w)
            elif penalty.penalized and proximal:
                theta[c, k] = proximal_point(to, length, penalty.l1[c, k], penalty.l2[c, k])
            else:
                theta[c, k] = to
    if single:
        for u in range(n if implicit else 0):  # apart, so that the processor does several of the above at a time
            total += entries[u] * (point[u, 0] - theta[rows.place(columns, u), 0])
        moved[0, 0] = total
