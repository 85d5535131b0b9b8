"""The two arrays of a stream: what its steps change, all in one piece each, and views of their parts."""

from __future__ import annotations

from skgd.engines.compiled.interface import part_of
from skgd.running import N_MEMORIES


def parts_of_numbers(numbers, sizes):
    """Return views of what is stored in X's own precision.

    These are parameters, slots, average, center and scale of the columns, and the parameters to predict with, in the
    units of X and y: the coefficients of the layers, then the intercepts, zeros if there are none.
    """
    n_features, _, n_parameters, n_slots, n_averages = sizes[:5]
    a = n_parameters
    b = a + n_slots * n_parameters
    c = b + n_averages * n_parameters
    d, e = c + n_features, c + 2 * n_features
    theta, slots = part_of(numbers, 0, (a,)), part_of(numbers, a, (n_slots, n_parameters))
    average, center = part_of(numbers, b, (c - b,)), part_of(numbers, c, (n_features,))
    scale, shown = part_of(numbers, d, (n_features,)), part_of(numbers, e, (len(numbers) - e,))
    return theta, slots, average, center, scale, shown


def parts_of_statistics(statistics, sizes):
    """Return views of the measures of columns and targets, center and scale of the targets, and rows and weight.

    The slopes of the loss from the last iterate to the average are behind the weight. What is remembered of columns and
    targets follows, see `skgd.running`, and then what `parts_of_moments` returns.
    """
    n_features, n_outputs = sizes[:2]
    a = 4 * n_features
    b = a + 4 * n_outputs
    c, d = b + n_outputs, b + 2 * n_outputs
    e = d + 4
    f = e + N_MEMORIES * n_features
    columns, targets = part_of(statistics, 0, (4, n_features)), part_of(statistics, a, (4, n_outputs))
    target_center, target_scale = part_of(statistics, b, (n_outputs,)), part_of(statistics, c, (n_outputs,))
    memory = part_of(statistics, e, (N_MEMORIES, n_features))
    of_targets = part_of(statistics, f, (N_MEMORIES, n_outputs))
    return columns, targets, target_center, target_scale, part_of(statistics, d, (4,)), memory, of_targets


def measures_of(measures, j):
    """Return the measures of one column."""
    return measures[0, j], measures[1, j], measures[2, j], measures[3, j]
