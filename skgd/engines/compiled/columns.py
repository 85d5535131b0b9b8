"""Statistics of columns, and other passes over X that depend on no strategy: compiled once for all loops."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from skgd.coordinates import Coordinates
from skgd.engines.compiled.interface import part_of
from skgd.engines.compiled.specialize import Loop, specialized
from skgd.engines.vectorized import read_only
from skgd.measuring import Matrix, Measures, variance_of

_ROUNDING = 2.0**-50


@cache
def kernel(function: Any) -> Loop:
    """Return a function compiled that needs no strategy."""
    return specialized(function, {})


def read_only_rows(X: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a CSR matrix's values, indices and row pointers; the indices unsigned: they never count from the end."""
    indices = X.indices.view(np.uint32 if X.indices.itemsize == 4 else np.uint64)
    return read_only(X.data), read_only(indices), read_only(X.indptr)


# ---------------------------------------------------------------------------------------------------------------------
# Loops
# ---------------------------------------------------------------------------------------------------------------------


def measure_dense(X, begin, end, weight, total, measures, first, relative):
    """Measure the columns of some rows.

    ``measures[0]`` holds their largest values so far; the others are zero. In units of the largest value, these become
    the sum of what rows differ from the ``first``, that of the squares of what they differ from the mean, and the
    weight of the rows that are not zero. ``relative`` is scratch.
    """
    n_columns = X.shape[1]
    # Rows of their own, for a loop over parts of one array is not vectorized.
    largest, offset, square, filled = measures[0], measures[1], measures[2], measures[3]
    for i in range(begin, end):
        for j in range(n_columns):
            largest[j] = max(largest[j], abs(X[i, j]))
    for j in range(n_columns):
        first[j] = X[begin, j] / (largest[j] if largest[j] > 0.0 else 1.0)
    for i in range(begin, end):
        s = weight[i - begin]
        for j in range(n_columns):
            z = X[i, j] / (largest[j] if largest[j] > 0.0 else 1.0)
            filled[j] += s if z != 0.0 else 0.0
            relative[i - begin, j] = z - first[j]
            offset[j] += s * relative[i - begin, j]
    for i in range(begin, end):
        s = weight[i - begin]
        for j in range(n_columns):
            z = relative[i - begin, j] - offset[j] / total
            square[j] += s * z * z


def measure_sparse(values, indices, indptr, begin, end, weight, total, bounds, bounded, table, measures):
    """Measure the columns of some rows; ``table`` holds, side by side, a column's largest value so far and zeros.

    In units of the largest value, these become the sum, the sum of squares and the weight of the rows that have it.
    ``bounds`` are those of `measure_dense_rows`, or empty.
    """
    for i in range(begin, end):
        s = weight[i - begin]
        row_values, row_indices = values[indptr[i] : indptr[i + 1]], indices[indptr[i] : indptr[i + 1]]
        for q in range(len(row_values)):
            j, value = row_indices[q], 1.0 * row_values[q]
            if len(bounds) > 0:
                low, high = bounds[0, j], bounds[1, j]
                if s > 0.0 and (value < low or value > high):
                    bounds[2, j] += s
                    bounds[3, j] = value
                value = min(max(value, low), high) if bounded else value
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


def measure_dense_rows(data, begin, end, weight, total, bounds, bounded, measures, scratch):
    """Measure the columns of some dense rows of a stream.

    ``bounds[2]`` becomes the weight of values beyond bounds, ``bounds[3]`` the latest of these.
    """
    X, counted = data[0], scratch[1:]
    for i in range(begin, end):
        s = weight[i - begin]
        for j in range(measures.shape[1]):
            x = 1.0 * X[i, j]
            low, high = bounds[0, j], bounds[1, j]
            if s > 0.0 and (x < low or x > high):
                bounds[2, j] += s
                bounds[3, j] = x
            counted[i - begin, j] = min(max(x, low), high) if bounded else x
    measure_dense(counted, 0, end - begin, weight, total, measures, scratch[0], counted)
    for j in range(measures.shape[1]):
        measures[1, j] = scratch[0, j] + measures[1, j] / total
        measures[2, j] /= total
        measures[3, j] /= total


def measure_sparse_rows(data, begin, end, weight, total, bounds, bounded, measures, scratch):
    """Do the same with sparse rows."""
    table = part_of(scratch, 0, (measures.shape[1], 4))
    for j in range(len(table)):
        table[j, 0], table[j, 1], table[j, 2], table[j, 3] = measures[0, j], 0.0, 0.0, 0.0
    measure_sparse(data[0], data[1], data[2], begin, end, weight, total, bounds, bounded, table, measures)


def square_of_dense_row(data, i, center, inverse, of_zeros):
    """Return the square of the norm of a standardized row."""
    square = 0.0
    for j in range(len(center)):
        z = (1.0 * data[0][i, j] - 1.0 * center[j]) * inverse[j]
        square += z * z
    return square


def square_of_sparse_row(data, i, center, inverse, of_zeros):
    """Do the same where columns without an entry have the squares ``of_zeros`` together."""
    values, indices, indptr = data
    square = 0.0
    for q in range(indptr[i], indptr[i + 1]):
        j = indices[q]
        z, c = values[q] * inverse[j], center[j] * inverse[j]
        square += (z - c) * (z - c) - c * c
    # Squares that cancel each other leave their rounding errors.
    return max(of_zeros + square - _ROUNDING * of_zeros, 0.0)


def square_sparse(values, indices, indptr, center, inverse, squares):
    """Write the square of the norm of each standardized row."""
    of_zeros = 0.0
    for j in range(len(center)):
        of_zeros += (center[j] * inverse[j]) ** 2
    for i in range(len(squares)):
        squares[i] = square_of_sparse_row((values, indices, indptr), i, center, inverse, of_zeros)


def square_dense(X, center, inverse, squares):
    """Do the same with dense rows."""
    for i in range(len(squares)):
        squares[i] = square_of_dense_row((X,), i, center, inverse, 0.0)


def find_duplicate(indices, indptr, last_row):
    """Say whether some row has an index twice."""
    for i in range(len(indptr) - 1):
        for j in indices[indptr[i] : indptr[i + 1]]:
            if last_row[j] == i:
                return True
            last_row[j] = i
    return False


def renumber(indices, number, renumbered):
    """Write the new numbers of columns."""
    for q in range(len(indices)):
        renumbered[q] = number[indices[q]]


def mark_columns(indices, indptr, order, touched):
    """Mark the columns of some rows."""
    for i in range(len(order)):
        for j in indices[indptr[order[i]] : indptr[order[i] + 1]]:
            touched[j] = True


# ---------------------------------------------------------------------------------------------------------------------
# What calls them
# ---------------------------------------------------------------------------------------------------------------------


def measure_columns(X: Matrix, weight: np.ndarray | None, total: float, largest: np.ndarray) -> Measures:
    """Do what `skgd.measuring.measure_columns` does, faster."""
    n_rows, n_columns = X.shape
    weights = read_only(np.ones(n_rows) if weight is None else weight)
    if isinstance(X, np.ndarray):
        measures = np.zeros((4, n_columns))
        measures[0] = largest
        first = np.empty(n_columns)
        kernel(measure_dense)(read_only(X), 0, n_rows, weights, float(total), measures, first, np.empty(X.shape))
        largest, offset, square, filled = measures
        return largest, first + offset / total, square / total, filled / total
    table, measures = np.zeros((n_columns, 4)), np.empty((4, n_columns))
    table[:, 0] = largest
    kernel(measure_sparse)(
        *read_only_rows(X), 0, n_rows, weights, float(total), np.empty((0, 0)), False, table, measures
    )
    return measures


def squares_of_rows(X: Matrix, coordinates: Coordinates) -> np.ndarray:
    """Do what `skgd.outliers.squares_of_rows` does, faster."""
    squares = np.empty(X.shape[0])
    center, scale = (
        np.broadcast_to(part, X.shape[1]).astype(np.float64) for part in (coordinates.center, coordinates.scale)
    )
    if isinstance(X, np.ndarray):
        kernel(square_dense)(read_only(X), center, 1.0 / scale, squares)
    else:
        kernel(square_sparse)(*read_only_rows(X), center, 1.0 / scale, squares)
    return squares


def has_duplicates(X: Any) -> bool:
    """Say whether a CSR matrix has several entries in one place."""
    return bool(kernel(find_duplicate)(*read_only_rows(X)[1:], np.full(X.shape[1], -1)))


def renumbered(X: Any, number: np.ndarray) -> np.ndarray:
    """Return the indices of a CSR matrix whose columns have new numbers."""
    _, indices, _ = read_only_rows(X)
    result = np.empty(len(indices), number.dtype)
    kernel(renumber)(indices, number, result)
    return result


def touched_columns(X: Any, order: np.ndarray, n_columns: int) -> np.ndarray:
    """Return which of so many columns, the intercept's among them perhaps, some rows of a CSR matrix have."""
    touched = np.zeros(n_columns, bool)
    kernel(mark_columns)(*read_only_rows(X)[1:], order, touched)
    return touched
