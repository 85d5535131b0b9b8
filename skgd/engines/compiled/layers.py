"""Layers in streams: in other coordinates, in the units of X and y, and their penalty; a linear model has one.

The features have a say in the first layer, the target in the last one. Where nothing is ``hidden``, there is nothing
to ask, and less to compile.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from skgd.coordinates import moved_intercept, relearned, rescaling, standardized_coefficient, user_coefficient
from skgd.engines.compiled.interface import (
    averages,
    compares,
    dense,
    has_intercept,
    hidden,
    part_of,
    regression,
    strategies,
)
from skgd.engines.vectorized import between, with_zeros
from skgd.objective import penalty_of, penalty_rates
from skgd.running import CODE, VOTES, is_unknown


def change_coordinates(theta, layer_sizes, n_coefficients, of_columns, old, new, shift, norms):
    """Express parameters in new coordinates, and write what `write_norms` does, for it would read them all again."""
    old_scale, scale, change, memory = of_columns
    last, begin, after = len(layer_sizes) - 2, 0, n_coefficients
    for layer in range(last + 1):
        n_inputs, n_neurons = layer_sizes[layer], layer_sizes[layer + 1]
        if not hidden or layer == 0 or (regression and layer == last):
            for k in range(n_neurons):
                shift[k] = 0.0
            for j in range(n_inputs):
                before, now, moved = 1.0, 1.0, 0.0
                kept: Any = 1.0
                if not hidden or layer == 0:
                    before, now, moved = 1.0 * old_scale[j], 1.0 * scale[j], 1.0 * change[j]
                    kept = relearned(before, now, True, memory[VOTES, j] == np.inf)
                if hidden and layer == 0 and moved == 0.0:  # as of sparse rows, whose coefficients are many
                    kept *= now / before
                    coef = part_of(theta, begin + j * n_neurons, (n_neurons,))
                    for k in range(n_neurons):
                        coef[k] = kept * coef[k]
                    norms[0, j], norms[1, j] = norms_of(coef)
                    continue
                for k in range(n_neurons):
                    i = begin + j * n_neurons + k
                    w = user_coefficient(kept * theta[i], before, 1.0 if hidden and layer < last else old[1][k])
                    shift[k] += moved * w
                    theta[i] = standardized_coefficient(w, now, 1.0 if hidden and layer < last else new[1][k])
                if hidden and layer == 0:
                    norms[0, j], norms[1, j] = norms_of(part_of(theta, begin + j * n_neurons, (n_neurons,)))
            for k in range(n_neurons if has_intercept else 0):
                i = after + k
                of_old, of_new = (0.0, 1.0), (0.0, 1.0)
                if not hidden or layer == last:
                    of_old, of_new = (old[0][k], old[1][k]), (new[0][k], new[1][k])
                theta[i] = moved_intercept(1.0 * theta[i], shift[k], of_old, of_new)
        begin, after = begin + n_inputs * n_neurons, after + n_neurons


def write_norms(theta, layer_sizes, norms):
    """Write, of each feature's coefficients in a network, the sum of the sizes, and the Euclidean norm."""
    for j in range(layer_sizes[0]):
        norms[0, j], norms[1, j] = norms_of(part_of(theta, j * layer_sizes[1], (layer_sizes[1],)))


def norms_of(coef):
    """Return the sum of the sizes of numbers, and their Euclidean norm."""
    sizes, squares = 0.0, 0.0
    for k in range(len(coef)):
        w = 1.0 * coef[k]
        sizes += abs(w)
        squares += w * w
    return sizes, np.sqrt(squares)


def rescale_slots(slots, layer_sizes, old_scale, scale, hyper):
    """Express what is kept of gradients in new coordinates."""
    n_neurons = layer_sizes[1]
    for j in range(len(scale)):
        ratio = rescaling(1.0 * old_scale[j], 1.0 * scale[j])
        for k in range(n_neurons):
            i = j * n_neurons + k
            strategies.keep_slots(slots, 0, i, strategies.rescaled(ratio, strategies.slots_of(slots, 0, i), hyper))


def write_penalties(theta, layer_sizes, l1, l2, strength, l1_ratio, in_user_units, around, norms, elsewhere):
    """Write the penalty of each parameter, as `Penalty` holds it; return the penalty in the user's units, and by worth.

    Without ``in_user_units``, it is one on the optimizer's coefficients. ``elsewhere`` are the squares of those of the
    first layer that are not at hand.
    """
    scale, target_scale, unit, worth = around
    penalty, progress, mean_unit, mean_worth = 0.0, 0.0, 0.0, 0.0
    for k in range(len(unit)):
        mean_unit += unit[k] / len(unit)
        mean_worth += worth[k] / len(unit)
    if hidden:
        second = penalty_rates(strength, l1_ratio, 1.0, 1.0, mean_unit if in_user_units else 1.0)[1]
        penalty, progress = 0.5 * second * elsewhere * mean_unit, 0.5 * second * elsewhere * mean_worth
    last, begin, at = len(layer_sizes) - 2, 0, 0
    for layer in range(last + 1):
        n_inputs, n_neurons = layer_sizes[layer], layer_sizes[layer + 1]
        for j in range(n_inputs):
            of_input = 1.0 * scale[j] if layer == 0 and in_user_units else 1.0
            if hidden and layer < last:
                first, second = penalty_rates(strength, l1_ratio, of_input, 1.0, mean_unit if in_user_units else 1.0)
                total = 0.0
                if layer == 0:
                    total = penalty_of(norms[0, j], first, 0.0, 1.0) + penalty_of(norms[1, j], 0.0, second, 1.0)
                for k in range(0 if layer == 0 else n_neurons):
                    total += penalty_of(1.0 * theta[begin + k], first, second, 1.0)
                penalty += total * mean_unit
                progress += total * mean_worth
                n_places = n_neurons if dense or layer > 0 else 1
                for k in range(n_places):
                    l1[at + k], l2[at + k] = first, second
                at += n_places
            else:
                for k in range(n_neurons):
                    of_output, of_unit = (target_scale[k], unit[k]) if in_user_units else (1.0, 1.0)
                    l1[at], l2[at] = penalty_rates(strength, l1_ratio, of_input, of_output, of_unit)
                    w = 1.0 * theta[begin + k]
                    penalty += penalty_of(w, l1[at], l2[at], unit[k])
                    progress += penalty_of(w, l1[at], l2[at], worth[k])
                    at += 1
            begin += n_neurons
    return penalty, progress


def write_layers(iterates, layer_sizes, n_coefficients, coordinates, known, zeros, shown, shift, hyper):
    """Write the parameters to predict with: what `skgd.state.State.readout` does."""
    theta, slots, average, share = iterates
    measures, memory = known
    center, scale, target_center, target_scale = coordinates
    last, begin, after = len(layer_sizes) - 2, 0, n_coefficients
    n_sparse = n_coefficients if zeros else 0
    for layer in range(last + 1):
        n_inputs, n_neurons = layer_sizes[layer], layer_sizes[layer + 1]
        for k in range(n_neurons):
            shift[k] = 0.0
        for j in range(n_inputs):
            c, s = (0.0, 1.0) if hidden and layer > 0 else (1.0 * center[j], 1.0 * scale[j])
            if hidden and layer == 0 and is_unknown(measures[0, j], memory[CODE, j]):
                for k in range(n_neurons):
                    shown[begin + j * n_neurons + k] = 0.0
                continue
            for k in range(n_neurons):
                i = begin + j * n_neurons + k
                w = shown_parameter(theta, slots, average, share, i, n_sparse, hyper)
                w = user_coefficient(w, s, 1.0 if hidden and layer < last else target_scale[k])
                shown[i] = w
                shift[k] += c * w
        for k in range(n_neurons):
            b = shown_parameter(theta, slots, average, share, after + k, n_sparse, hyper) if has_intercept else 0.0
            if not hidden or layer == last:
                b = target_center[k] + target_scale[k] * b
            shown[after + k] = b - shift[k]
        begin, after = begin + n_inputs * n_neurons, after + n_neurons


def shown_parameter(theta, slots, average, share, i, n_sparse, hyper):
    """Return a parameter to predict with, in the optimizer's coordinates; the first ones keep their zeros."""
    w = strategies.readout(1.0 * theta[i], strategies.slots_of(slots, 0, i), hyper)
    if averages and len(average) > 0:
        mean = 1.0 * average[i]
        if compares:
            mean = between(w, mean, share)
        w = with_zeros(mean, w, i < n_sparse)
    return w
