"""What the columns of sparse rows miss in the steps of rows that do not have them, made up for in closed form."""

from __future__ import annotations

import numpy as np

from skgd.engines.compiled.interface import adaptive, hidden, narrow, prefetch, strategies
from skgd.engines.compiled.steps import NEAR, POWERS, fetch_all
from skgd.objective import proximal_point

_SMALL = 0.03  # up to which the series of a logarithm is exact
_NOTHING = 1e-18  # beside one
_TINY = 1e-3  # five terms of an exponential's series are exact
_NEAR = 0.03  # up to which eight terms of a geometric series are exact
_MANY = 32  # steps, from which the series is shorter than the product, and exact for an elastic net, too


def shrink(chunks, n_chunks, stop, rates, t, theta, slots, hypers, penalty, missed):
    """Make up for steps in which the rule left parameters alone: the proximal steps of their penalty."""
    done, taken, powers, _ = missed
    l1, l2 = penalty.l1, penalty.l2
    if not penalty.penalized:
        return
    for u in range(n_chunks):
        chunk = chunks[u]
        start = done[chunk]
        if start == stop or l1[chunk, 0] + l2[chunk, 0] == 0.0:
            continue
        last, factor = 0.0, 1.0
        for k in range(1 if narrow else theta.shape[1]):
            w, before = 1.0 * theta[chunk, k], strategies.slots_of(slots, chunk, k)
            length = strategies.rule(w, 0.0, 1.0, float(t + stop), before, hypers[0])[1]  # at a rate of one
            length = min(length, 1.0) if adaptive else length
            at = 0 if hidden else k
            first, second = length * l1[chunk, at], length * l2[chunk, at]
            series = has_series(second, powers, start, stop)
            if second != last:  # with many rules, it is the same for all outputs
                last = second
                if series:
                    factor = exp_minus(sum_of_logarithms(second, powers, start, stop))
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
                size = size * factor + first / second * np.expm1(-sum_of_logarithms(second, powers, start, stop))
            else:
                for step in range(start, stop):
                    size = (size - taken[step] * first) / (1.0 + taken[step] * second)
            theta[chunk, k] = np.sign(w) * max(size, 0.0)


def has_series(factor, powers, start, stop):
    """Say whether the series is shorter than the product, and exact."""
    return stop - start > _MANY and (powers[stop, 1] - powers[start, 1]) * factor * factor < _SMALL * _SMALL


def sum_of_logarithms(factor, powers, start, stop):
    """Return the sum of ``log(1 + rate * factor)`` over the steps, from the sums of the rates' powers."""
    total, power = 0.0, -1.0
    for k in range(POWERS):
        power *= -factor
        term = power * (powers[stop, k] - powers[start, k]) / (k + 1)
        total += term
        if abs(term) < _NOTHING:
            break
    return total


def exp_minus(x):
    """Return exp(-x)."""
    if x > _TINY:
        return np.exp(-x)
    return 1.0 - x * (1.0 - x / 2.0 * (1.0 - x / 3.0 * (1.0 - x / 4.0 * (1.0 - x / 5.0))))


def repeat_steps(chunks, n_chunks, stop, rates, t, theta, slots, hypers, penalty, missed):
    """Make up for steps of which only the last one counts, once the slots know how many there were."""
    l1, l2 = penalty.l1, penalty.l2
    for u in range(n_chunks):
        chunk = chunks[u]
        steps = stop - missed[0][chunk]
        if steps > 0:
            for k in range(1 if narrow else theta.shape[1]):
                w, before = 1.0 * theta[chunk, k], strategies.slots_of(slots, chunk, k)
                w, length, after = after_repeats(w, before, steps, rates[stop - 1], float(t + stop), hypers[0])
                strategies.keep_slots(slots, chunk, k, after)
                length = min(length, rates[stop - 1]) if adaptive else length
                at = 0 if hidden else k
                theta[chunk, k] = proximal_point(w, length, l1[chunk, at], l2[chunk, at]) if penalty.penalized else w


def after_repeats(w, before, steps, rate, now, hyper):
    """Return the parameter after so many steps without a gradient, its long-run learning rate, and the slots."""
    return strategies.rule(w, 0.0, rate, now, strategies.skip(steps - 1, before, hyper), hyper)


def drift(chunks, n_chunks, stop, rates, t, theta, slots, hypers, penalty, missed):
    """Make up for steps in which the rule followed its momentum, and the proximal steps of an L2 penalty.

    The sum over the steps of ``momentum * a / (size * b + epsilon)``, where a and b are the same for all parameters of
    a chunk, is a series in the share of ``size`` in the divisor, as long as b hardly changes.
    """
    done, taken, powers, (fading, of_steps, moments, sizes) = missed
    width = theta.shape[1]
    for u in range(n_chunks):
        chunk = chunks[u]
        start = done[chunk]
        fetch_all(chunks, u + NEAR, n_chunks, theta, slots, penalty)
        if u + 4 * NEAR < n_chunks:
            prefetch(done, chunks[u + 4 * NEAR])
        if start == stop:
            continue
        of_penalty = penalty.l2[chunk, 0] if penalty.penalized else 0.0
        n_large, nearest = 0, fading[1, 1] * of_steps[1, start]
        for k in range(width):
            _, size, epsilon = strategies.momentum_and_size(strategies.slots_of(slots, chunk, k), hypers[0])
            n_large += size * nearest + epsilon > 1.0
            sizes[k] = size
        if of_penalty > 0.0:
            if not adaptive:
                before = strategies.slots_of(slots, chunk, 0)
                of_penalty *= strategies.rule(0.0, 0.0, 1.0, float(t + stop), before, hypers[0])[1]
            elif n_large > 0:
                replay(chunk, start, stop, rates, t, theta, slots, hypers, of_penalty)
                continue
        step, end = start, min(stop, start + fading.shape[1] - 1)
        while step < end:
            first, factor = step, 1.0
            center = fading[1, step + 1 - start] * of_steps[1, step]
            for power in range(POWERS):
                moments[power] = 0.0
            while step < end:
                since = step + 1 - start
                beside = 1.0 - fading[1, since] * of_steps[1, step] / center
                if abs(beside) > _NEAR and step > first:
                    break
                kept = 1.0 / (1.0 + taken[step] * of_penalty)
                move = taken[step] * fading[0, since] * of_steps[0, step]
                for power in range(POWERS):
                    moments[power] = kept * (moments[power] + move)
                    move *= beside
                factor *= kept
                step += 1
            m0, m1, m2, m3 = moments[0], moments[1], moments[2], moments[3]
            m4, m5, m6, m7 = moments[4], moments[5], moments[6], moments[7]
            for k in range(width):
                before = strategies.slots_of(slots, chunk, k)
                momentum, _, epsilon = strategies.momentum_and_size(before, hypers[0])
                reach = 1.0 / (center * sizes[k] + epsilon)
                x = center * sizes[k] * reach
                total = m0 + x * (m1 + x * (m2 + x * (m3 + x * (m4 + x * (m5 + x * (m6 + x * m7))))))
                theta[chunk, k] = factor * theta[chunk, k] - momentum * reach * total
        if of_penalty > 0.0 and step < stop:
            factor = 1.0
            if has_series(of_penalty, powers, step, stop):
                factor = exp_minus(sum_of_logarithms(of_penalty, powers, step, stop))
            else:
                for later in range(step, stop):
                    factor /= 1.0 + taken[later] * of_penalty
            for k in range(width):
                theta[chunk, k] *= factor
        for k in range(width):
            before = strategies.slots_of(slots, chunk, k)
            strategies.keep_slots(slots, chunk, k, strategies.skip(float(stop - start), before, hypers[0]))


def replay(chunk, start, stop, rates, t, theta, slots, hypers, of_penalty):
    """Make up for steps one by one."""
    for k in range(theta.shape[1]):
        w, held = 1.0 * theta[chunk, k], strategies.slots_of(slots, chunk, k)
        for step in range(start, stop):
            w, length, held = strategies.rule(w, 0.0, rates[step], float(t + step + 1), held, hypers[0])
            w = proximal_point(w, min(length, rates[step]), 0.0, of_penalty)
        theta[chunk, k] = w
        strategies.keep_slots(slots, chunk, k, held)
