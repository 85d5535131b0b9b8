"""The arrays that a loop works with: allocated here, because Numba takes long to compile what allocates."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from skgd.engines.compiled import dense, networks, sparse
from skgd.engines.compiled.interface import Work
from skgd.engines.compiled.kinds import Kind
from skgd.engines.compiled.steps import POWERS


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
    of_steps = np.dtype(np.float64) if kind.row_by_row else dtype
    if kind.row_by_row:
        entries, columns = np.empty(n_chunks, dtype), np.empty(n_chunks, np.uintp)
        of_rows: tuple = entries, columns, sparse.centered_workspace(n_chunks if kind.centered else 0)
    elif kind.sparse:
        of_rows = sparse.workspace(size, shape.n_entries, n_chunks, dtype)
    elif kind.activation is None:
        of_rows = dense.workspace(size, shape.layer_sizes[0], shape.n_outputs, dtype)
    if kind.activation is not None:
        of_rows = networks.workspace(size, np.array(shape.layer_sizes), of_rows if kind.sparse else None, dtype)

    def parameters(wanted: bool) -> np.ndarray:
        return np.empty((n_chunks if wanted else 0, width), dtype)

    n_steps = shape.n_steps if kind.lazy else 0
    return Work(
        raw=np.empty((size, shape.n_outputs), of_steps),
        moved=np.empty((size, shape.n_outputs), of_steps),
        slopes=np.empty((size, shape.n_outputs), of_steps),
        losses=np.empty(shape.n_outputs),
        slope_sizes=np.empty(sum(shape.layer_sizes[1:])),
        local=parameters(kind.lazy and not kind.row_by_row),
        grad=parameters(not kind.row_by_row),
        point=parameters(kind.implicit),
        lengths=parameters(kind.implicit),
        chunks=np.zeros(n_chunks + 1, np.uintp) if kind.lazy else everywhere,
        active=everywhere,
        everywhere=everywhere,
        missed=(
            np.zeros(n_chunks if kind.lazy else 0, np.int64),
            np.zeros(n_steps),
            np.zeros((n_steps + 1, POWERS)),
        ),
        of_rows=of_rows,
    )
