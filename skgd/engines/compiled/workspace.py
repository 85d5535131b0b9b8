"""The arrays that a loop works with: allocated here, because Numba takes long to compile what allocates."""

from __future__ import annotations

import sys
from typing import NamedTuple

import numpy as np

from skgd.engines.compiled import dense, networks, sparse
from skgd.engines.compiled.aligned import empty
from skgd.engines.compiled.interface import Work
from skgd.engines.compiled.kinds import Kind
from skgd.engines.compiled.steps import POWERS
from skgd.optimizers import Optimizer

_FAINT = 1e-20  # beside one
_LEAST = 1e-280  # a normal number
_LARGE, _TOO_LARGE = 2**20, 2**26  # bytes: of less, memory is at hand; more would be a burden


class Shape(NamedTuple):
    """The sizes of a problem, as a loop sees it: parameters lie in chunks, see `take_steps`."""

    n_rows: int  # of a step
    n_steps: int
    n_entries: int  # of a step's rows, where they are sparse
    n_outputs: int
    n_chunks: int
    width: int
    layer_sizes: tuple[int, ...]
    dtype: np.dtype


def work_for(shape: Shape, kind: Kind) -> Work:
    """Return the arrays for steps of a kind; all chunks are active."""
    size, n_chunks, width, dtype = shape.n_rows, shape.n_chunks, shape.width, shape.dtype
    everywhere = np.arange(n_chunks, dtype=np.uintp)
    chunks = np.zeros(n_chunks + 1, np.uintp) if kind.lazy else everywhere
    of_steps = np.dtype(np.float64) if kind.row_by_row else dtype
    if kind.row_by_row:
        entries, columns = empty(n_chunks, dtype), np.empty(n_chunks, np.uintp)
        of_rows: tuple = entries, columns, sparse.centered_workspace(n_chunks if kind.centered else 0)
    elif kind.sparse:
        of_rows = sparse.workspace(size, shape.n_entries, n_chunks, dtype)
    elif kind.activation is None:
        of_rows = dense.workspace(size, shape.layer_sizes[0], shape.n_outputs, dtype)
    if kind.activation is not None:
        of_rows = networks.workspace(size, np.array(shape.layer_sizes), of_rows if kind.sparse else None, chunks, dtype)

    def parameters(wanted: bool) -> np.ndarray:
        return empty((n_chunks, width), dtype) if wanted else np.empty((0, width), dtype)

    n_steps = shape.n_steps if kind.lazy else 0
    return Work(
        raw=np.empty((size, shape.n_outputs), of_steps),
        moved=np.empty((size, shape.n_outputs), of_steps),
        slopes=np.empty((size, shape.n_outputs), of_steps),
        losses=np.empty(shape.n_outputs),
        slope_sizes=np.empty(sum(shape.layer_sizes[1:])),
        local=parameters(kind.lazy and not kind.row_by_row and kind.activation is None),
        grad=parameters(not kind.row_by_row),
        point=parameters(kind.implicit),
        lengths=parameters(kind.implicit),
        chunks=chunks,
        active=everywhere,
        everywhere=everywhere,
        missed=missed_by(n_chunks if kind.lazy else 0, n_steps) if kind.lazy or kind.row_by_row else (),
        of_rows=of_rows,
    )


def missed_by(n_chunks: int, n_steps: int) -> tuple:
    """Return up to which step each chunk has caught up, the rate of each step, and sums of the powers of these rates.

    Where rules follow their momentum meanwhile, `drifts` takes the place of the last arrays.
    """
    of_drifts = np.ones((2, 1)), np.ones((2, 0)), np.zeros(POWERS), np.zeros(1)
    return np.zeros(n_chunks, np.int64), np.zeros(n_steps), np.zeros((n_steps + 1, POWERS)), of_drifts


def drifts(optimizer: Optimizer, t: int, n_steps: int, width: int) -> tuple[np.ndarray, ...]:
    """Return what `Optimizer.drift` says of steps since the last gradient, and of the steps after t; and scratch."""
    hyper, steps = optimizer.hyper(), np.arange(n_steps + 1.0)
    fading = np.array([np.broadcast_to(part, len(steps)) for part in optimizer.drift(steps, np.inf, hyper)])
    faint = (fading[0] < _FAINT * fading[1]) | (fading[0] < _LEAST)
    fading = fading[:, : max(2, np.argmax(faint) if faint.any() else len(steps))].copy()  # of one type, cut or not
    of_steps = np.array([np.broadcast_to(part, n_steps) for part in optimizer.drift(0.0, t + 1.0 + steps[:-1], hyper)])
    return fading, of_steps, np.zeros(POWERS), np.zeros(width)


class Former:
    """Large arrays that calls have copied, for later calls to copy to: fresh memory takes longer than the copy."""

    def __init__(self) -> None:
        self._kept: dict[tuple[np.dtype, int], np.ndarray] = {}

    def keep(self, *arrays: np.ndarray) -> None:
        """Keep arrays that the caller is about to give up, in the place of those before."""
        for array in arrays:
            if _LARGE <= array.nbytes <= _TOO_LARGE:
                self._kept[array.dtype, array.size] = array

    def room_for(self, array: np.ndarray) -> np.ndarray:
        """Return an array for a copy: one that was kept, if no one else has it or a view of it."""
        new = np.empty_like(array)
        former = self._kept.pop((array.dtype, array.size), None) if array.nbytes >= _LARGE else None
        return new if former is None or sys.getrefcount(former) > sys.getrefcount(new) else former
