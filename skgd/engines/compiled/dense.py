"""Dense rows: standardized in blocks that stay in the processor's cache, then multiplied."""

from __future__ import annotations

from typing import Any

import numpy as np

from skgd.coordinates import dense_coordinates
from skgd.engines.compiled.aligned import empty
from skgd.engines.compiled.columns import measure_dense_rows, square_of_dense_row
from skgd.engines.compiled.interface import (
    AHEAD,
    Rows,
    has_intercept,
    part_of,
    prefetch,
    product,
    rows,
    shuffled,
    single,
)
from skgd.engines.compiled.loss import slopes_of_loss
from skgd.engines.compiled.steps import complete_gradient

BLOCK_ENTRIES = 2**12  # of one output: these stay in the cache
PRODUCT_ENTRIES = 2**18  # matrix products want more
SMALL_PRODUCT = 10**6  # multiplications: up to so many, BLAS does not copy its matrices first
_FEW_ROWS = 16  # fewer are not worth a product of their own


def workspace(size: int, n_features: int, n_outputs: int, dtype: np.dtype) -> tuple[np.ndarray, ...]:
    """Return a block of standardized rows, and scratch for matrix products."""
    entries = BLOCK_ENTRIES if n_outputs == 1 else PRODUCT_ENTRIES
    block = max(1, min(size, entries // n_features))
    return empty((block, n_features), dtype), np.empty((n_features, n_outputs), dtype)


def touch(data, order, begin, end, scales, chunks, of_rows):
    """Return how many chunks some rows touch: the only one."""
    return 1


def gather(X, order, start, stop, scales, Z):
    """Write the standardized rows of X to Z, asking for the next ones meanwhile: shuffled, they lie anywhere."""
    center, inverse_scale = scales.center, scales.inverse_scale
    n_features = X.shape[1]
    line = 64 // X.itemsize
    for i in range(start, stop):
        if shuffled and i + AHEAD < len(order):
            for j in range(0, n_features, line):
                prefetch(X, (order[i + AHEAD], j))
            prefetch(X, (order[i + AHEAD], n_features - 1))
        row = order[i]
        for j in range(n_features):
            Z[i - start, j] = (X[row, j] - center[j]) * inverse_scale[j]


def gradient(data, y, weight, order, begin, end, n_chunks, scales, local, hypers, of_rows, written):
    """Write predictions and slopes of the rows' losses, and the sum of their gradients but for the intercepts'."""
    Z, scratch = of_rows
    raw, slopes, losses, slope_sizes, grad = written
    for start in range(begin, end, len(Z)):
        stop = min(start + len(Z), end)
        gather(data[0], order, start, stop, scales, Z)
        predict(Z, stop - start, local, raw, start - begin)
        at, n_rows = start - begin, stop - start
        slopes_of_loss(y, weight, start, at, n_rows, hypers, scales, raw, slopes, losses, slope_sizes)
        rows.accumulate(Z, n_rows, slopes, at, grad, scratch)


def move(data, order, begin, end, n_chunks, scales, parameters, of_rows, moved):
    """Write what the rows' predictions are with other parameters."""
    Z, _ = of_rows
    for start in range(begin, end, len(Z)):
        stop = min(start + len(Z), end)
        if end - begin > len(Z):  # else Z still holds them
            gather(data[0], order, start, stop, scales, Z)
        predict(Z, stop - start, parameters, moved, start - begin)


def predict(Z, n_rows, theta, out, at):
    """Write predictions, from row ``at`` of the output on."""
    rows.multiply(Z, n_rows, theta, out, at)
    if has_intercept:
        n_outputs = 1 if single else out.shape[1]
        for i in range(at, at + n_rows):
            for k in range(n_outputs):
                out[i, k] += theta[0, Z.shape[1] * n_outputs + k]


def multiply_one(Z, n_rows, theta, out, at):
    """Multiply rows with coefficients: by hand, because BLAS wants threads for it, which take turns and change bits."""
    n_features = Z.shape[1]
    for i in range(n_rows):
        total = theta.dtype.type(0.0)
        for j in range(n_features):
            total += Z[i, j] * theta[0, j]
        out[at + i, 0] = total


def multiply_many(Z, n_rows, theta, out, at):
    """Multiply rows with a matrix of coefficients, in pieces that BLAS does not copy."""
    shape = (Z.shape[1], out.shape[1])
    coef = part_of(theta, 0, shape)
    piece = rows_at_once(n_rows, coef.size)
    for start in range(0, n_rows, piece):
        stop = min(start + piece, n_rows)
        product(Z[start:stop], coef, out[at + start : at + stop])


def rows_at_once(n_rows, n_coefficients):
    """Return of how many rows to multiply at once: BLAS takes small products by shorter ways, with no copies."""
    few = SMALL_PRODUCT // n_coefficients
    return min(few, n_rows) if few >= _FEW_ROWS else n_rows


def accumulate_one(Z, n_rows, slopes, at, grad, scratch):
    """Add up the rows times their slopes."""
    n_features = Z.shape[1]
    for i in range(n_rows):
        slope = slopes[at + i, 0]
        if slope != 0.0:
            for j in range(n_features):
                grad[0, j] += slope * Z[i, j]


def accumulate_many(Z, n_rows, slopes, at, grad, scratch):
    """Add up the outer products of the rows and their slopes."""
    piece = rows_at_once(n_rows, scratch.size)
    for start in range(0, n_rows, piece):
        stop = min(start + piece, n_rows)
        product(Z[start:stop].T, slopes[at + start : at + stop], scratch)
        for j in range(scratch.shape[0]):
            for k in range(scratch.shape[1]):
                grad[0, j * scratch.shape[1] + k] += scratch[j, k]


def read_row(data, order, step, scales, entries, columns, of_centered):
    """Write the standardized entries of a row; return how many there are."""
    X, center, inverse_scale = data[0], scales.center, scales.inverse_scale
    row = order[step]
    if step + 1 < len(order):
        for j in range(0, len(center), 64 // X.itemsize):
            prefetch(X, (order[step + 1], j))
    for j in range(len(center)):
        entries[j] = (X[row, j] - center[j]) * inverse_scale[j]
    return len(center)


def place(columns, u):
    """Return the column of a row's entry."""
    return u


def look_ahead(data, order, step, theta):
    """Do nothing: dense rows have the same columns."""


def no_catch_up(chunks, n_chunks, stop, rates, t, theta, slots, hypers, penalty, missed):
    """Do nothing: dense rows miss no step."""


def dense_rows(one_output: bool) -> Rows:
    """Return what dense rows do."""
    more: Any = {"multiply": multiply_one if one_output else multiply_many}
    more["accumulate"] = accumulate_one if one_output else accumulate_many
    return Rows(
        touch=touch,
        gradient=gradient,
        complete_gradient=complete_gradient,
        move=move,
        read_row=read_row,
        place=place,
        look_ahead=look_ahead,
        catch_up=no_catch_up,
        measure=measure_dense_rows,
        square=square_of_dense_row,
        coordinates_of=dense_coordinates,
        **more,
    )
