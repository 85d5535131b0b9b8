"""Memory: what ``fit`` and ``predict`` allocate at most at a time, as a share of X's own memory."""

import tracemalloc
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from benchmarks.common import Row, table_of_numbers
from skgd import GDClassifier

TITLE = "Memory: the peak on top of X"
COLUMNS = ("share of X", "peak", "X")


def rows(shrink: int) -> Iterator[Row]:
    """Measure both precisions."""
    X, y = table_of_numbers(200_000 // shrink, 100)
    for dtype in (np.float64, np.float32):
        X = X.astype(dtype, copy=False)
        model = GDClassifier(tol=None, max_iter=3, random_state=0)
        model.fit(X, y)  # what is imported and compiled stays
        for name, call in {"fit": partial(model.fit, X, y), "predict": partial(model.predict, X)}.items():
            peak = _peak(call)
            case = f"{name}, {len(X):,} x 100 {X.dtype}"
            yield Row(case, peak / X.nbytes, 0.1, _megabytes(peak), _megabytes(X.nbytes))


def _peak(call: Callable[[], object]) -> int:
    """Return the bytes that Python and NumPy have allocated at most during a call."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def _megabytes(n_bytes: int) -> str:
    return f"{n_bytes / 1e6:.3g} MB"
