"""Sparse rows: only columns that are not zero in them are visited, if the optimizer allows it (`Optimizer.lazy`)."""

from __future__ import annotations

from typing import Any

import numpy as np

from skgd.coordinates import sparse_coordinates
from skgd.engines.compiled.catch_up import drift, repeat_steps, shrink
from skgd.engines.compiled.columns import measure_sparse_rows, square_of_sparse_row
from skgd.engines.compiled.interface import (
    AHEAD,
    Rows,
    centered,
    has_intercept,
    hidden,
    lazy,
    prefetch,
    shuffled,
    single,
)
from skgd.engines.compiled.loss import slopes_of_loss
from skgd.engines.compiled.steps import complete_gradient


def most_entries(X: Any, order: np.ndarray | None, size: int) -> int:
    """Return the number of entries in the largest batch of rows."""
    counts = np.diff(X.indptr)
    ends = np.concatenate([[0], np.cumsum(counts if order is None else counts[order])])
    cuts = np.append(np.arange(0, len(ends) - 1, size), len(ends) - 1)
    return int(np.diff(ends[cuts]).max())


def workspace(size: int, entries: int, n_chunks: int, dtype: np.dtype) -> tuple[np.ndarray, ...]:
    """Return the rows of a batch: columns, entries and where rows start; and what columns were last known as.

    Numbers from ``known[-1]`` on belong to the batch at hand. The last array is that of `centered_workspace`.
    """
    columns, starts, known = np.empty(entries, np.int32), np.empty(size + 1, np.int64), np.zeros(n_chunks + 1, np.int64)
    return columns, np.empty(entries, dtype), starts, known, centered_workspace(n_chunks)


def centered_workspace(n_chunks: int) -> np.ndarray:
    """Return the centered columns, and by which row each column was last seen; at the end, how many there are of both.

    A centered column is an entry of each row: one that a row does not store is zero, and far from the center.
    """
    return np.zeros((2, n_chunks + 1), np.int64)


def note_centered(columns, center):
    """Note which columns are centered."""
    n_centered = 0
    for j in range(len(center)):
        if center[j] != 0.0:
            columns[0, n_centered] = j
            n_centered += 1
    columns[0, len(center)] = n_centered


def note_all_centered(columns: np.ndarray, center: np.ndarray) -> None:
    """Do the same outside of a loop."""
    far = np.flatnonzero(center)
    columns[0, : len(far)], columns[0, len(center)] = far, len(far)


def touch(data, order, begin, end, scales, chunks, of_rows):
    """Copy the rows, with local numbers for their columns; return how many chunks these are."""
    values, indices, indptr = data
    columns, entries, starts, known, of_centered = of_rows
    center, scale = scales.center, scales.inverse_scale
    n_entries, touched, base = 0, 0, known[-1] + len(scale)
    known[-1] = base
    if centered:
        n_centered, bound, row = centered_columns(of_centered, len(scale))
    for i in range(begin, end):
        starts[i - begin] = n_entries
        if shuffled and i + AHEAD < len(order):
            for q in range(indptr[order[i + AHEAD]], indptr[order[i + AHEAD] + 1], 8):
                prefetch(values, q)
                prefetch(indices, q)
        for q in range(indptr[order[i]], indptr[order[i] + 1]):
            j = indices[q]
            entries[n_entries] = values[q] * scale[j]
            if centered and j < bound and center[j] != 0.0:
                entries[n_entries] = (values[q] - center[j]) * scale[j]
                of_centered[1, j] = row
            columns[n_entries], touched = number_of(j, touched, base, known, chunks)
            n_entries += 1
        if centered:
            for c in range(n_centered):
                j = np.uint64(of_centered[0, c])
                if of_centered[1, j] != row:  # not stored, so zero
                    entries[n_entries] = -center[j] * scale[j]
                    columns[n_entries], touched = number_of(j, touched, base, known, chunks)
                    n_entries += 1
            row += 1
    if centered:
        of_centered[1, len(scale)] = row
    starts[end - begin] = n_entries
    if not lazy:
        return len(chunks)
    if hidden:
        for chunk in range(len(scale), len(chunks) - 1):
            chunks[touched] = chunk
            touched += 1
    elif has_intercept:
        chunks[touched] = len(scale)
        touched += 1
    return touched


def centered_columns(of_centered, last):
    """Return how many there are, beyond which number there are none, and the number of the next row."""
    n_centered = of_centered[0, last]
    return n_centered, of_centered[0, n_centered - 1] + 1 if n_centered > 0 else 0, of_centered[1, last] + 1


def number_of(j, touched, base, known, chunks):
    """Return the number of an entry's column in its batch, and how many columns the batch has touched by then."""
    if not lazy:
        return np.int64(j), touched
    u = known[j] - base  # below 0 for a new column; without a branch, which could not be foreseen
    new = u < 0
    u = touched if new else u
    known[j] = base + u
    chunks[touched] = j
    return u, touched + new


def gradient(data, y, weight, order, begin, end, n_chunks, scales, local, hypers, of_rows, written):
    """Write predictions and slopes of the rows' losses, and the sum of their gradients but for the intercepts'."""
    columns, entries, starts, _, _ = of_rows
    raw, slopes, losses, slope_sizes, grad = written
    n_rows, n_outputs = end - begin, 1 if single else slopes.shape[1]
    move(data, order, begin, end, n_chunks, scales, local, of_rows, raw)
    slopes_of_loss(y, weight, begin, 0, n_rows, hypers, scales, raw, slopes, losses, slope_sizes)
    for i in range(n_rows):
        for q in range(starts[i], starts[i + 1]):
            j, z = columns[q], entries[q]
            for k in range(n_outputs):
                grad[j, k] += z * slopes[i, k]


def move(data, order, begin, end, n_chunks, scales, parameters, of_rows, moved):
    """Write what the rows' predictions are with other parameters."""
    columns, entries, starts, _, _ = of_rows
    n_outputs = 1 if single else moved.shape[1]
    for i in range(end - begin):
        for k in range(n_outputs):
            moved[i, k] = parameters[n_chunks - 1, k] if has_intercept else 0.0
        for q in range(starts[i], starts[i + 1]):
            j, z = columns[q], entries[q]
            for k in range(n_outputs):
                moved[i, k] += z * parameters[j, k]


def read_row(data, order, step, scales, entries, columns, of_centered):
    """Write the standardized entries of a row and their columns; return how many there are."""
    values, indices, indptr = data
    center, scale = scales.center, scales.inverse_scale
    if step + AHEAD < len(order):
        for q in range(indptr[order[step + AHEAD]], indptr[order[step + AHEAD] + 1], 8):
            prefetch(values, q)
            prefetch(indices, q)
    start, stop = indptr[order[step]], indptr[order[step] + 1]
    row_values, row_indices = values[start:stop], indices[start:stop]
    n = len(row_values)
    if centered:
        n_centered, bound, row = centered_columns(of_centered, len(scale))
    for u in range(n):
        j = row_indices[u]
        columns[u] = j
        entries[u] = row_values[u] * scale[j]
        if centered and j < bound and center[j] != 0.0:
            entries[u] = (row_values[u] - center[j]) * scale[j]
            of_centered[1, j] = row
    if centered:
        for c in range(n_centered):
            j = np.uint64(of_centered[0, c])
            if of_centered[1, j] != row:  # not stored, so zero
                columns[n], entries[n] = j, -center[j] * scale[j]
                n += 1
        of_centered[1, len(scale)] = row + 1
    return n


def place(columns, u):
    """Return the column of a row's entry."""
    return columns[u]


def look_ahead(data, order, step, theta):
    """Ask for the parameters of the next row's columns."""
    _, indices, indptr = data
    if step + 1 < len(order):
        for j in indices[indptr[order[step + 1]] : indptr[order[step + 1] + 1]]:
            for k in range(0, theta.shape[1], 64 // theta.itemsize):
                prefetch(theta, (j, k))


def sparse_rows(laziness: str) -> Rows:
    """Return what sparse rows do, with an optimizer of this laziness."""
    return Rows(
        touch=touch,
        gradient=gradient,
        complete_gradient=complete_gradient,
        move=move,
        read_row=read_row,
        place=place,
        look_ahead=look_ahead,
        catch_up={"repeat": repeat_steps, "drift": drift}.get(laziness, shrink),
        measure=measure_sparse_rows,
        square=square_of_sparse_row,
        coordinates_of=sparse_coordinates,
    )
