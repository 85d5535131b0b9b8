"""Streams: the columns are learned from each batch before the step is taken with them."""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from skgd.combinations import CoMoments
from skgd.coordinates import (
    auto_alpha,
    begun_scale,
    in_few,
    indicated,
    is_sparse,
    is_text_like,
    kept_target,
    mean_squares_of,
    normal_scale,
    row_norm_of,
    target_coordinates,
)
from skgd.engines.compiled.columns import measure_dense_rows, read_only_rows
from skgd.engines.compiled.combinations import (
    are_outgrown,
    combine,
    gather,
    mark_coded,
    moments_from,
    moments_in,
    parts_of_moments,
    write_of_columns,
)
from skgd.engines.compiled.interface import (
    alike,
    automatic_rate,
    averages,
    centered,
    combines,
    compares,
    decays,
    gathers,
    has_intercept,
    hidden,
    log_link,
    part_of,
    precondition,
    regression,
    rescales,
    robust,
    rows,
    shows,
    single,
    standardized,
    strategies,
    take_batch,
)
from skgd.engines.compiled.kinds import Kind
from skgd.engines.compiled.layers import (
    change_coordinates,
    rescale_slots,
    write_layers,
    write_norms,
    write_penalties,
)
from skgd.engines.compiled.loss import target_of
from skgd.engines.compiled.sparse import most_entries, note_centered
from skgd.engines.compiled.specialize import Loop, announced, specialized
from skgd.engines.compiled.steps import take_steps
from skgd.engines.compiled.stream_parts import measures_of, parts_of_numbers, parts_of_statistics
from skgd.engines.compiled.workspace import Former, Shape, work_for
from skgd.engines.vectorized import StepSettings, increasing_weights, read_only, share_of_average
from skgd.measuring import Matrix
from skgd.networks import Layer
from skgd.objective import Objective, unit_of
from skgd.optimizers import Optimizer, idle_slots, is_adaptive, is_linear
from skgd.outliers import limit_of, weight_of_row
from skgd.running import CODE, REACH, REACH_OF_TARGETS, VOTES, WEIGHT, bounds_of, memory_of, remembered

_NONE, _NOTHING_ELSE = np.empty(0), np.zeros(6)
_KEPT = 2**18  # numbers, for the next call: more would be a burden where batches are large


def have_units(of_units, degree, known_worth, hypers):
    """Write what predictors are relative to, and the units and worths of the targets; say whether all are above 0."""
    target_center, target_scale, predictor_center, predictor_scale, divisor, unit, worth = of_units
    n_outputs, usable = len(unit), True
    for k in range(n_outputs):
        predictor_center[k], predictor_scale[k], divisor[k] = 0.0, 1.0, 1.0
        if not standardized:
            predictor_center[k], predictor_scale[k] = target_center[k], target_scale[k]
        if regression and (precondition or standardized):
            c, s = predictor_center[k], predictor_scale[k]
            slopes = strategies.gradient(c, c + s, hypers[1]), strategies.gradient(c, c - s, hypers[1])
            divisor[k] = unit_of(slopes, c, s, log_link, degree)
        unit[k] = divisor[k] * target_scale[k] ** degree if standardized else divisor[k]
        worth[k] = unit[k] * known_worth[k] if len(known_worth) > 0 else 1.0 / n_outputs
        usable = usable and np.isfinite(unit[k]) and unit[k] > 0.0
    return usable


def take_stream(
    data,
    y,
    weight,
    order,
    size,
    t,
    averaged,
    numbers,
    statistics,
    rates,
    shares,
    hypers,
    given,
    elsewhere,
    arrays,
    work,
    sums,
):
    """Learn the columns from each ``size`` rows, then take a step with them: what `skgd.stream.train_stream` does.

    ``numbers`` and ``statistics``, see `skgd.engines.compiled.stream_parts`, are changed in place. Of a step of
    a `skgd.lazy_stream`, they hold few of the columns, and ``elsewhere`` has sums over the others: their number, their
    filled shares, those of indicators and those in few rows, the mean squares, and the squares of coefficients. Return
    whether all numbers are finite, how many steps were taken, and whether they end early, for combinations of columns
    have outgrown what they were made from; then, how many iterates the average holds, the strength of the penalty and
    the rate of the last step. ``sums``, zeros at first, become those over the rows: loss, squares of the layers'
    gradients, penalty, and both by their worth.
    """
    shapes, alpha, l1_ratio, curvature, degree, n_classes, of_limits, zeros, tiny, known_worth, stride = given
    sizes, layer_sizes, as_chunks, as_bounds, as_penalty = shapes
    n_coefficients = of_limits[3]
    theta, slots, average, center, scale, shown = parts_of_numbers(numbers, sizes)
    columns, targets, target_center, target_scale, totals, memory, of_targets = parts_of_statistics(statistics, sizes)
    (
        by_column,
        by_parameter,
        longest,
        by_target,
        scratch,
        for_targets,
        weights,
        goals,
        rate,
        share,
        record,
        rewritten,
        shift,
        norms,
    ) = arrays
    inverse, old_scale, change, largest = by_column[0], by_column[1], by_column[2], by_column[3]
    l1, l2 = by_parameter[0], by_parameter[1]
    unit, old_target_center, old_target_scale, worth = by_target[0], by_target[1], by_target[2], by_target[3]
    divisor, predictor_center, predictor_scale = by_target[4], by_target[5], by_target[6]
    largest_target = by_target[7]
    by_place = part_of(slots, 0, (len(slots), 1, len(theta)))
    parameters = (
        part_of(theta, 0, as_chunks),
        part_of(slots, 0, (len(slots), as_chunks[0], as_chunks[1])),
        part_of(average, 0, (sizes[4] * as_chunks[0], as_chunks[1])),
        part_of(totals, 2, (2,)),
    )
    n_rows, n_features, n_outputs = len(y), len(center), 1 if single else len(target_center)
    strength, last = max(alpha, 0.0), len(sums) - 1
    done, outgrown = 0, False
    inputs, measures, kept_of_measures = data, columns, memory
    if gathers:
        together, combinations, of_combinations, kept_of_combinations = parts_of_moments(statistics, sizes)
    if combines:
        inputs, measures, kept_of_measures = rewritten[1], of_combinations, kept_of_combinations
    for step in range(len(rates)):
        begin, end = step * size, min((step + 1) * size, n_rows)
        for j in range(n_features):
            largest[j] = measures[0, j]
        for k in range(n_outputs if regression else 0):
            largest_target[k] = targets[0, k]
        given_weights = weight[begin:end]
        total = 0.0
        for i in range(end - begin):
            total += given_weights[i]
        totals[0] += end - begin
        totals[1] += total
        first, taken_rows = begin, order[begin:end]
        if regression and not alike:
            reach = REACH_OF_TARGETS
            learn_dense(targets, of_targets, (y,), begin, end, given_weights, total, totals, reach, for_targets)
        for part in range(0 if alike else 1, 3 if combines else 2):  # a loop, so that it is compiled once
            learned, kept, seen, reach, space = columns, memory, data, REACH, scratch
            if alike and part == 0:
                learned, kept, seen, reach, space = targets, of_targets, (y,), REACH_OF_TARGETS, for_targets
            if combines and part == 2:
                combine(data[0], begin, end, combinations, rewritten[0], scratch[0])
                first, taken_rows = 0, order[: end - begin]
                learned, kept, seen = measures, kept_of_combinations, inputs
                mark_coded(memory, kept)
            learn_columns(learned, kept, seen, first, first + end - begin, given_weights, total, totals, reach, space)
            if gathers and part == 1 and (t + step) % stride == 0:
                gather(data[0], begin, end, given_weights, stride, together, scratch)
        w = weights[: end - begin]
        for i in range(end - begin):
            w[i] = given_weights[i] / (totals[1] / totals[0])
        filled, one_hot, entries = elsewhere[1], elsewhere[2], elsewhere[3]
        for j in range(n_features):
            filled += columns[3, j]
            one_hot += indicated(measures_of(columns, j))
            entries += in_few(measures_of(columns, j))
        filled = 1.0 if combines else filled / (n_features + elsewhere[0])  # what is combined is not sparse
        text_like = is_text_like(filled, n_features + elsewhere[0])
        if alpha < 0.0:
            strength = 0.0 if alpha < -1.0 and text_like else auto_alpha(filled, n_classes)
        if precondition or standardized:
            for j in range(n_features):
                old_scale[j], change[j] = scale[j], center[j]
                if precondition:
                    c, s = rows.coordinates_of(measures_of(measures, j), has_intercept, text_like)
                    center[j] = c
                    scale[j] = normal_scale(theta.dtype.type(s), tiny)
                    old_scale[j] = begun_scale(old_scale[j], largest[j], measures[0, j])
                change[j] = center[j] - change[j]
            for k in range(n_outputs):
                old_target_center[k], old_target_scale[k] = target_center[k], target_scale[k]
                if regression:
                    found = target_coordinates(measures_of(targets, k), log_link, has_intercept)
                    target_center[k], target_scale[k] = found
                    before, after = (old_target_center[k], old_target_scale[k]), (target_center[k], target_scale[k])
                    kept_center, kept_scale = kept_target(before, after, largest_target[k], targets[0, k])
                    old_target_center[k], old_target_scale[k] = kept_center, kept_scale
            if t + step > 0:
                old, new = (old_target_center, old_target_scale), (target_center, target_scale)
                for part in range(0 if averages else 1, 2):  # the norms that stay are those of the last one
                    iterate = average if part == 0 else theta
                    of_columns = old_scale, scale, change, kept_of_measures
                    change_coordinates(iterate, layer_sizes, n_coefficients, of_columns, old, new, shift, norms)
                if rescales:
                    rescale_slots(by_place, layer_sizes, old_scale, scale, hypers[0])
        of_units = target_center, target_scale, predictor_center, predictor_scale, divisor, unit, worth
        if not have_units(of_units, degree, known_worth, hypers):
            return False, done, outgrown, averaged, strength, rate[0]
        squares: Any = elsewhere[4]
        if centered:
            if hidden:
                note_centered(work[-1][0][-1], center)
            else:
                note_centered(work[-1][-1], center)
        for j in range(n_features):
            inverse[j] = 1.0 / scale[j]
            square = mean_squares_of(measures_of(measures, j), center[j], scale[j])
            squares += square
            for k in range(0 if hidden else n_outputs):
                longest[j * n_outputs + k] = 1.0 / (curvature * square)
        for i in range(n_coefficients, len(longest)):
            longest[i] = 1.0 / curvature
        if strength > 0.0:
            around = scale, target_scale, unit, worth
            if hidden and not ((precondition or standardized) and t + step > 0):
                write_norms(theta, layer_sizes, norms)
            of_penalty = strength, l1_ratio, alpha >= 0.0, around, norms, elsewhere[5]
            penalty, of_worth = write_penalties(theta, layer_sizes, l1, l2, *of_penalty)
            sums[last - 1] += (end - begin) * penalty
            sums[last] += (end - begin) * of_worth
        rate[0] = rates[step]
        if automatic_rate:
            many = n_classes if is_sparse(filled) else 1
            one_hot = one_hot / entries if is_sparse(filled) and entries > 0.0 else 0.0
            norm = row_norm_of(squares, has_intercept)
            rate[0] *= strategies.auto_learning_rate(norm, curvature, many, one_hot, hypers[0])
        if decays and rate[0] * of_limits[1] >= 1.0:
            return False, done, outgrown, averaged, strength, rate[0]
        if robust and precondition:
            weigh_outlying_rows(inputs, first, end - begin, center, inverse, limit_of(squares, has_intercept), w)
        if standardized:
            standardize(y, begin, end, target_center, target_scale, goals)
            of_batch = goals[: end - begin]
        else:
            of_batch = y[begin:end]
        share[0] = increasing_weights(averaged + 1.0) if compares else shares[step]
        taken = take_batch(
            (inputs, layer_sizes) if hidden else inputs,
            of_batch,
            w,
            taken_rows,
            size,
            rate,
            t + step,
            parameters,
            share,
            hypers,
            (center, inverse, predictor_center, predictor_scale, divisor, unit, worth),
            (part_of(l1, 0, as_penalty), part_of(l2, 0, as_penalty), strength > 0.0),
            (part_of(longest, 0, as_bounds), of_limits[0], of_limits[1], of_limits[2], n_coefficients),
            work,
            record,
        )
        if taken == 0:
            return False, done, outgrown, averaged, strength, rate[0]
        for part in range(last - 1):
            sums[part] += record[0, part]
        sums[last] += record[0, last - 1]
        averaged += share[0] > 0.0
        done += 1
        if combines and are_outgrown(measures, together[4]):
            outgrown = True
            break
    finite = np.isfinite(totals[1]) and all_finite(theta)
    if shows:
        of_average = theta.dtype.type(share_of_average(totals[2], totals[3])) if compares else theta.dtype.type(1.0)
        iterates = (theta, by_place, average[: len(theta) if averaged > 0 else 0], of_average)
        coordinates, known = (center, scale, target_center, target_scale), (columns, memory)
        with_zeros = zeros or strength * l1_ratio > 0.0
        write_layers(iterates, layer_sizes, n_coefficients, coordinates, known, with_zeros, shown, shift, hypers[0])
        if combines:
            coef = part_of(shown, 0, (n_features, n_outputs))
            write_of_columns(coef, part_of(shown, n_coefficients, (n_outputs,)), combinations, scratch[0])
        finite = finite and all_finite(shown)
    return finite, done, outgrown, averaged, strength, rate[0]


def standardize(y, begin, end, center, scale, goals):
    """Write the targets of some rows as a loss reads them that wants no units."""
    for i in range(end - begin):
        for k in range(len(center)):
            goals[i, k] = (y[begin + i, k] - center[k]) / scale[k]


def learn_columns(measures, memory, data, begin, end, weight, total, totals, reach, scratch):
    """Merge some rows' columns into what is known and remembered of earlier rows: what `skgd.running.learned` does."""
    new, relative, bounds = scratch
    begin_measures(measures, memory, totals, reach, new, bounds)
    rows.measure(data, begin, end, weight, total, bounds, robust, new, relative)
    merge_measures(measures, memory, total, totals, reach, new, bounds)


def learn_dense(measures, memory, data, begin, end, weight, total, totals, reach, scratch):
    """Do the same with dense columns, whatever the rows of X are."""
    new, relative, bounds = scratch
    begin_measures(measures, memory, totals, reach, new, bounds)
    measure_dense_rows(data, begin, end, weight, total, bounds, robust, new, relative)
    merge_measures(measures, memory, total, totals, reach, new, bounds)


def begin_measures(measures, memory, totals, reach, new, bounds):
    """Write between which values those of a column count, and zeros."""
    row = totals[1] / totals[0]
    for j in range(measures.shape[1]):
        low, high = bounds_of(
            measures_of(measures, j), memory[WEIGHT, j], memory[CODE, j], memory[VOTES, j], row, reach
        )
        bounds[0, j], bounds[1, j], bounds[2, j], bounds[3, j] = low, high, 0.0, 0.0
        new[0, j], new[1, j], new[2, j], new[3, j] = 0.0, 0.0, 0.0, 0.0


def merge_measures(measures, memory, total, totals, reach, new, bounds):
    """Merge what was measured; leave the bounds up to which values counted."""
    row = totals[1] / totals[0]
    for j in range(measures.shape[1]):
        m = memory
        known = m[0, j], m[1, j], m[2, j], m[3, j], m[4, j], m[5, j], m[6, j], m[7, j], m[8, j]
        had, has, outlying, far = measures_of(measures, j), measures_of(new, j), bounds[2, j] / total, bounds[3, j]
        learned, kept = remembered(had, known, has, outlying, far, total, row, reach, robust)
        measures[0, j], measures[1, j], measures[2, j], measures[3, j] = learned
        m[0, j], m[1, j], m[2, j], m[3, j], m[4, j], m[5, j], m[6, j], m[7, j], m[8, j] = kept
        if not robust:
            bounds[0, j], bounds[1, j] = -np.inf, np.inf


def weigh_outlying_rows(data, begin, n_rows, center, inverse, limit, weights):
    """Write smaller weights for rows far from all others."""
    of_zeros = 0.0
    for j in range(len(center)):
        z = 1.0 * center[j] * inverse[j]
        of_zeros += z * z
    for i in range(n_rows):
        square = rows.square(data, begin + i, center, inverse, of_zeros)
        if square > limit:
            weights[i] *= weight_of_row(square, limit)


def all_finite(values):
    """Say whether all numbers are finite."""
    finite = True
    for i in range(len(values)):
        finite &= np.isfinite(values[i])
    return finite


@lru_cache(maxsize=256)
def stream_loop(kind: Kind, flags: tuple[bool, ...], log_link: bool) -> Loop:
    """Return the compiled `take_stream` for the classes of an optimizer and a loss, and a kind of stream."""
    names = "regression", "precondition", "standardized", "automatic_rate", "dense", "robust"
    of_stream = dict(zip((*names, "gathers", "combines", "averages", "compares", "alike", "shows"), flags, strict=True))
    rescales = kind.optimizer.rescaled is not Optimizer.rescaled
    rest = {"rescales": rescales, "log_link": log_link, "take_batch": take_steps, "shuffled": False}
    return specialized(take_stream, {**kind.filled_in(), **of_stream, **rest}, compact=True)


def _of_outputs(n_outputs: int) -> np.ndarray:
    """Return arrays of a number for each output; two of them are a center of 0 and a scale of 1."""
    arrays = np.zeros((8, n_outputs))
    arrays[6] = 1.0
    return arrays


def _rewritten(size: int, n_features: int, dtype: np.dtype) -> tuple:
    """Return where the combinations of a batch's rows are written to, and the same as the loop reads rows."""
    combined = np.empty((size, n_features), dtype)
    return combined, (read_only(combined),)


class _Scratch(NamedTuple):
    """Arrays that a call writes over, for batches of up to so many rows and entries."""

    size: int
    entries: int
    arrays: tuple
    work: tuple


class StreamLoop:
    """The compiled loop of a stream, with all that stays the same from call to call.

    What changes lies in two arrays, see `skgd.engines.compiled.stream_parts`: much of the time of a call with
    one row would go into handing over more of them. ``alpha`` is -1 for "auto", and -2 for that of SGD: 0 on text.
    """

    def __init__(
        self,
        objective: Objective,
        optimizer: Optimizer,
        X: Matrix,
        y: np.ndarray,
        settings: StepSettings,
        averaging: bool,
        comparing: bool,
        alpha: float,
        learning_rate: float | str,
        precondition: bool,
        robust: bool,
        together: CoMoments | None,
        stride: int,
        shown: bool = True,
    ):
        loss, automatic, sparse = objective.loss, isinstance(learning_rate, str), not isinstance(X, np.ndarray)
        network = bool(objective.hidden_layer_sizes)
        self.regression = y.dtype.kind == "f"
        kind = Kind(
            optimizer=type(optimizer),
            loss=type(loss),
            target=target_of(objective, y),
            activation=type(objective.activation) if network else None,
            adaptive=network and is_adaptive(optimizer),
            sparse=sparse,
            centered=sparse and precondition and objective.fit_intercept,
            single=objective.n_outputs == 1,
            has_intercept=objective.fit_intercept,
            idle=idle_slots(optimizer),
            linear=is_linear(optimizer),
            decays=bool(optimizer.weight_decay),
            bounded=automatic and bool(optimizer.bounded) and not network,
            implicit=automatic and bool(optimizer.implicit) and not network,
            smooth=bool(loss.smooth),
        )
        flags = self.regression, precondition, loss.standardized, automatic, not sparse, robust
        alike = self.regression and not sparse and X.dtype == y.dtype
        self._together, self._combines = together, objective.coordinates.combinations is not None
        of_average = averaging, comparing
        self._loop = stream_loop(
            kind, (*flags, together is not None, self._combines, *of_average, alike, shown), loss.log_link
        )
        self._settings, self._kind = settings, kind
        self._averages = averaging and not comparing  # by shares that are known beforehand
        self._n_parameters, self._n_coefficients = objective.n_parameters, objective.n_coefficients
        self._layer_sizes = objective.layer_sizes
        width = objective.layer_sizes[1] if sparse else objective.n_parameters
        self._as_chunks = -(-objective.n_parameters // width), width  # the last of them may not be full
        n_padded, n_features = math.prod(self._as_chunks), objective.n_features
        kept = int(averaging), int(together is not None), int(self._combines)
        self._busy = [place for place in range(len(optimizer.slots)) if place not in kind.idle]
        self._sizes = (n_features, objective.n_outputs, n_padded, len(self._busy), *kept)
        as_penalty = (n_features + n_padded - n_features * width, 1) if network and sparse else self._as_chunks
        as_bounds = (0, width) if network else self._as_chunks  # of networks, no one knows how long a step may be
        self._base = 1.0 / max(len(objective.hidden_layer_sizes), 1) if automatic else learning_rate
        self._hypers: tuple = (optimizer.hyper(), loss.hyper(), tuple(map(float, loss.label_values)))
        if network:
            self._hypers = (*self._hypers, objective.activation.hyper())
        info = np.finfo(X.dtype)
        max_grad_norm = np.inf if settings.max_grad_norm is None else float(settings.max_grad_norm)
        self._given = (
            (self._sizes, np.array(objective.layer_sizes), self._as_chunks, as_bounds, as_penalty),
            float(alpha),
            float(objective.l1_ratio),
            float(loss.curvature),
            float(loss.degree),
            objective.n_outputs if objective.exclusive_classes else 1,
            (max_grad_norm, float(optimizer.weight_decay), float(info.eps ** (2 / 3)), objective.n_coefficients),
            bool(getattr(optimizer, "l1", 0.0)),
            info.tiny,
            np.array(objective.worth) if isinstance(objective.worth, np.ndarray) else _NONE,
            stride,
        )
        self._spare: list[_Scratch] = []
        self._usual: tuple = (0, 0), _NONE, _NONE, _NONE, _NONE  # see `_of_steps`
        self.former = Former()

    def takes(self, X: Matrix) -> bool:
        """Say whether this is the loop for such rows."""
        return not self._kind.sparse and X.flags.c_contiguous if isinstance(X, np.ndarray) else self._kind.sparse

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
        factors: np.ndarray | None,
        elsewhere: np.ndarray = _NOTHING_ELSE,
    ) -> tuple[bool, int, bool, int, float, float, list[float]]:
        """Take the steps of a call of ``partial_fit``, in place; return what `take_stream` does, and the sums.

        ``factors`` on the learning rate are None where all of them are one.
        """
        n_rows = len(y)
        size = min(size, n_rows)  # which may be a number beyond 64 bits
        order, rates, shares, ones = self._of_steps(n_rows, size, t, averaged, factors)
        sums = np.zeros(2 + len(self._layer_sizes))
        entries = self._most_entries(X, size, statistics) if self._kind.sparse else 0
        try:
            scratch = self._spare.pop()  # not one that another thread uses
        except IndexError:
            scratch = None
        if scratch is None or scratch.size < size or scratch.entries < entries:
            had = (0, 0) if scratch is None else scratch[:2]
            scratch = self._allocated(max(size, had[0]), max(entries, had[1]), numbers.dtype)
        arguments = (
            read_only_rows(X) if self._kind.sparse else (read_only(X),),
            read_only(np.ascontiguousarray(y)),
            ones if weight is None else weight,
            order,
            size,
            t,
            averaged,
            numbers,
            statistics,
            rates,
            shares,
            self._hypers,
            self._given,
            elsewhere,
            scratch.arrays,
            scratch.work,
            sums,
        )
        if self._settings.verbose:
            with announced(self._settings.verbose):
                result = self._loop(*arguments)
        else:
            result = self._loop(*arguments)
        if scratch.size * self._sizes[0] <= _KEPT:
            self._spare.append(scratch)
        return *result, sums.tolist()

    def _of_steps(self, n_rows: int, size: int, t: int, averaged: int, factors: np.ndarray | None) -> tuple:
        """Return the order of the rows, rates of the steps, shares of their iterates in the average, and ones for rows.

        They are kept for the next call, where it has as many rows, as long as no step differs from another.
        """
        usual = self._usual
        if factors is None and not self._averages and usual[0] == (n_rows, size):
            return usual[1:]
        n_steps = -(-n_rows // size)
        rates = self._base * (np.ones(n_steps) if factors is None else factors)
        shares = self._settings.averaging_shares(t, n_steps, averaged) if self._averages else np.zeros(n_steps)
        of_steps = np.arange(n_rows), rates, shares, np.ones(n_rows)
        if factors is None and not self._averages:
            self._usual = (n_rows, size), *of_steps
        return of_steps

    def _most_entries(self, X: Any, size: int, statistics: np.ndarray) -> int:
        """Return how many entries a batch has at most, with those of centered columns, which 40 % of the rows have."""
        entries = most_entries(X, None, size)
        if not self._kind.centered:
            return entries
        columns, *_ = parts_of_statistics(statistics, self._sizes)
        a_row = max(columns[3].sum(), np.diff(X.indptr).max(initial=0))
        return entries + size * min(int(2.5 * a_row) + 1, X.shape[1])

    def _allocated(self, size: int, entries: int, dtype: np.dtype) -> _Scratch:
        """Return arrays for batches of this size."""
        n_features, n_outputs, *_ = self._sizes
        _, _, _, as_bounds, as_penalty = self._given[0]
        relative = np.empty((1, 4 * n_features) if self._kind.sparse else (1 + size, n_features))
        arrays = (
            np.empty((4, n_features), dtype),
            np.zeros((2, math.prod(as_penalty))),
            np.empty(math.prod(as_bounds), dtype),
            _of_outputs(n_outputs),
            (np.empty((4, n_features)), relative, np.empty((4, n_features))),
            (np.empty((4, n_outputs)), np.empty((1 + size, n_outputs)), np.empty((4, n_outputs))),
            np.empty(size),
            np.empty((size, n_outputs)),
            np.empty(1),
            np.empty(1),
            np.zeros((1, 1 + len(self._layer_sizes))),
            _rewritten(size, n_features, dtype) if self._combines else (),
            np.empty(max(self._layer_sizes[1:])),
            np.empty((2, n_features if self._kind.activation is not None else 0)),
        )
        shape = Shape(
            n_rows=size,
            n_steps=1,
            n_entries=entries,
            n_outputs=n_outputs,
            n_chunks=self._as_chunks[0],
            width=self._as_chunks[1],
            layer_sizes=self._layer_sizes,
            dtype=dtype,
        )
        return _Scratch(size, entries, arrays, tuple(work_for(shape, self._kind)))

    def arrays_of(self, state: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return what a state holds, in the two arrays; the parameters to predict with come with the first step."""
        iterate, (n_features, n_outputs, *_) = state.iterate, self._sizes
        center, scale, *of_target = state.objective.coordinates.arrays(n_features, n_outputs)
        average = [] if iterate.average is None else [iterate.average]
        rest = math.prod(self._as_chunks) - len(iterate.theta)
        slots, starts = [iterate.slots[place] for place in self._busy], state.optimizer.initial()
        starts = [0.0, *[starts[place] for place in self._busy], *[0.0] * len(average)]
        numbers = [
            part
            for parameters, start in zip([iterate.theta, *slots, *average], starts, strict=True)
            for part in (parameters, np.full(rest, start))
        ]
        numbers += [center, scale, np.zeros(self._n_coefficients + sum(self._layer_sizes[1:]))]
        totals = [state.columns.rows, state.columns.weight, *(iterate.slopes or (0.0, 0.0))]
        memories = [*memory_of(state.columns), *memory_of(state.targets)]
        statistics = [*state.columns.measures, *state.targets.measures, *of_target, totals, *memories]
        statistics += moments_in(state, self._together)
        return np.concatenate(numbers, dtype=iterate.theta.dtype, casting="same_kind"), np.concatenate(statistics)

    def memories_of(self, statistics: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return what is remembered of the columns and of the targets."""
        *_, columns, targets = parts_of_statistics(statistics, self._sizes)
        return columns, targets

    def copies_of(self, numbers: np.ndarray, statistics: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return copies but for the parameters to predict with, which a call writes."""
        copy, n_shown = self.former.room_for(numbers), self._n_coefficients + sum(self._layer_sizes[1:])
        copy[:-n_shown] = numbers[:-n_shown]
        of_statistics = self.former.room_for(statistics)
        of_statistics[:] = statistics
        return copy, of_statistics

    def idle_of(self, slots: tuple[np.ndarray, ...]) -> dict[int, np.ndarray]:
        """Return those of all slots, by their places, that the loop leaves alone."""
        return {place: slots[place] for place in self._kind.idle}

    def all_slots(self, slots: np.ndarray, idle: dict[int, np.ndarray]) -> tuple[np.ndarray, ...]:
        """Return all slots in their order, from those that the loop changes and the others."""
        by_place = {**dict(zip(self._busy, slots, strict=True)), **idle}
        return tuple(by_place[place] for place in sorted(by_place))

    def moments_from(self, statistics: np.ndarray, rows: int, due: int) -> tuple[Any, Any]:
        """Return co-moments, and what is known and remembered of the combinations, None for none, from `arrays_of`."""
        return moments_from(statistics, self._sizes, rows, due)

    def trained_in(self, numbers: np.ndarray) -> np.ndarray:
        """Return a view of parameters, slots and average."""
        _, _, n_parameters, n_slots, n_averages, *_ = self._sizes
        return numbers[: (1 + n_slots + n_averages) * n_parameters]

    def shown_in(self, numbers: np.ndarray) -> list[Layer]:
        """Return views of the layers to predict with."""
        layers, begin = [], len(numbers) - self._n_coefficients - sum(self._layer_sizes[1:])
        after = begin + self._n_coefficients
        for n_inputs, n_outputs in pairwise(self._layer_sizes):
            end = begin + n_inputs * n_outputs
            layers.append((numbers[begin:end].reshape(n_inputs, n_outputs), numbers[after : after + n_outputs]))
            begin, after = end, after + n_outputs
        return layers

    def parts_of(self, numbers: np.ndarray, statistics: np.ndarray) -> tuple[tuple, tuple]:
        """Return views of what the two arrays hold."""
        theta, slots, average, *others = parts_of_numbers(numbers, self._sizes)
        n = self._n_parameters
        return (theta[:n], slots[:, :n], average[:n], *others), parts_of_statistics(statistics, self._sizes)
