"""Combinations of the columns in streams, and the co-moments that they are made from; see `skgd.combinations`."""

from __future__ import annotations

from typing import Any

import numpy as np

from skgd.combinations import CoMoments, have_grown
from skgd.engines.compiled.interface import part_of
from skgd.running import CODE, N_MEMORIES, VOTES, memory_of

# ---------------------------------------------------------------------------------------------------------------------
# Loops
# ---------------------------------------------------------------------------------------------------------------------


def gather(X, begin, end, weight, stride, together, scratch):
    """Add a batch to the co-moments, row by row: what `CoMoments.updated` does (Welford).

    Values count up to the bounds of their columns, which `learn_robustly` leaves in the scratch.
    """
    unit, mean, products, total, _ = together
    difference, low, high = scratch[0][0], scratch[2][0], scratch[2][1]
    for i in range(begin, end):
        s = stride * weight[i - begin]
        total[0] += s
        share = s / total[0]
        kept = s * (1.0 - share)
        for j in range(len(unit)):
            difference[j] = min(max(1.0 * X[i, j], low[j]), high[j]) / unit[j] - mean[j]
        for j in range(len(unit)):
            mean[j] += share * difference[j]
            times = kept * difference[j]
            for k in range(j + 1):
                products[j, k] += times * difference[k]


def combine(X, begin, end, combinations, combined, scratch):
    """Write the combinations of some rows."""
    center, matrix, row = combinations[0], combinations[1], scratch[0]
    for i in range(begin, end):
        for k in range(len(center)):
            row[k] = 0.0
        for j in range(len(center)):
            difference = X[i, j] - center[j]
            for k in range(len(center)):
                row[k] += difference * matrix[j, k]
        for k in range(len(center)):
            combined[i - begin, k] = row[k]


def mark_coded(memory, kept):
    """Let combinations of columns of which some have a code count as they are: what `skgd.running.learned` does."""
    coded = False
    for j in range(memory.shape[1]):
        coded |= memory[VOTES, j] == np.inf
    for j in range(memory.shape[1] if coded else 0):
        kept[CODE, j], kept[VOTES, j] = np.inf, np.inf


def are_outgrown(measures, variances):
    """Say whether the variance of some combination has grown."""
    grown = False
    for j in range(len(variances)):
        largest = measures[0, j]
        grown |= have_grown(measures[2, j] * (largest * largest), variances[j])
    return grown


def write_of_columns(coef, intercept, combinations, scratch):
    """Write coefficients and intercepts of the columns over those of their combinations."""
    center, matrix, of_combinations = combinations[0], combinations[1], scratch[0]
    for k in range(len(intercept)):
        shift = 0.0
        for m in range(len(center)):
            of_combinations[m] = coef[m, k]
        for j in range(len(center)):
            w = 0.0
            for m in range(len(center)):
                w += matrix[j, m] * of_combinations[m]
            coef[j, k] = w
            shift += center[j] * w
        intercept[k] -= shift


def parts_of_moments(statistics, sizes):
    """Return views of the co-moments, of the combinations, of their measures, and of what is remembered of these.

    They are the last of a stream's statistics. The first are unit, mean, products, weight and earlier variances of the
    combinations, the second center and matrix; all are empty where there are none.
    """
    n, rows = sizes[0] * sizes[5], sizes[0] * sizes[6]
    a = 4 * sizes[0] + 6 * sizes[1] + 4 + N_MEMORIES * (sizes[0] + sizes[1])
    c = a + 2 * n
    d = c + n * n
    v, e = d + sizes[5], d + sizes[5] + n
    f = e + rows
    g = f + rows * rows
    unit, mean, products = (
        part_of(statistics, a, (n,)),
        part_of(statistics, a + n, (n,)),
        part_of(statistics, c, (n, n)),
    )
    together = unit, mean, products, part_of(statistics, d, (sizes[5],)), part_of(statistics, v, (n,))
    combinations = part_of(statistics, e, (rows,)), part_of(statistics, f, (rows, rows))
    measures, memory = part_of(statistics, g, (4, rows)), part_of(statistics, g + 4 * rows, (N_MEMORIES, rows))
    return together, combinations, measures, memory


# ---------------------------------------------------------------------------------------------------------------------
# What calls them
# ---------------------------------------------------------------------------------------------------------------------


def moments_in(state: Any, together: CoMoments | None) -> list[np.ndarray]:
    """Return what `parts_of_moments` returns views of."""
    parts: list[Any] = []
    if together is not None:
        parts += [together.unit, together.mean, together.products.ravel(), [together.weight], together.variances]
    combinations = state.objective.coordinates.combinations
    if combinations is not None:
        parts += [combinations.center, combinations.matrix.ravel(), *state.combined.measures]
        parts += [*memory_of(state.combined)]
    return parts


def moments_from(statistics: np.ndarray, sizes: tuple, rows: int, due: int) -> tuple[Any, Any]:
    """Return co-moments of so many rows, and what is known and remembered of the combinations; None for none."""
    (unit, mean, products, total, variances), _, measures, memory = parts_of_moments(statistics, sizes)
    together = CoMoments(rows, due, float(total[0]), unit, mean, products, variances) if sizes[5] else None
    return together, (measures, memory) if sizes[6] else None
