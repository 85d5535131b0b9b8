"""Streams: what it costs that calls are atomic, and whether memory and time stay what they are in a long one."""

import copy
from collections.abc import Iterator
from functools import partial
from itertools import cycle
from pathlib import Path

import numpy as np

from benchmarks.common import Row, medians, seconds, table_of_numbers
from skgd import GDClassifier

TITLE = "Streams: what atomic calls cost, and what does not grow"
COLUMNS = ("ratio, or MB", "skgd", "compared with")
_ROWS, _BATCH = 10_000_000, 1_000
_CALLS, _WARM_UP = 100_000, 2_000


def rows(shrink: int) -> Iterator[Row]:
    """Measure a call, then many calls of one row, then many rows."""
    X, y = table_of_numbers(20_000, 20)
    one = cycle([(X[i : i + 1], y[i : i + 1]) for i in range(1_000)])
    model = _started(X, y)
    for _ in range(_WARM_UP):
        model.partial_fit(*next(one))
    bookkeeping, call = medians(
        lambda: [seconds(partial(_nothing, model)) for _ in range(100)],
        lambda: [seconds(lambda: model.partial_fit(*next(one))) for _ in range(100)],
        turns=max(1, 30 // shrink),
    )
    yield Row.of_times("saving the state to restore / all of `partial_fit`, 1 sample", 0.05, bookkeeping, call)

    old, young = model, copy.deepcopy(model)  # in turns, because the machine's spells last longer than the calls
    for _ in range(_CALLS // shrink):
        old.partial_fit(*next(one))
    late, early = medians(
        *(
            lambda model=each: [seconds(lambda: model.partial_fit(*next(one))) for _ in range(100)]
            for each in (old, young)
        ),
        turns=max(1, 100 // shrink),
    )
    case = f"`partial_fit`, 1 sample, after {_CALLS // shrink:,} calls / after {_WARM_UP:,}"
    yield Row.of_times(case, 1.05, late, early)

    batches = cycle([slice(start, start + _BATCH) for start in range(0, len(X), _BATCH)])
    model = _started(X, y)
    for _ in range(_WARM_UP):
        model.partial_fit(X[(part := next(batches))], y[part])
    before = _resident()
    for _ in range(_ROWS // shrink // _BATCH):
        model.partial_fit(X[(part := next(batches))], y[part])
    growth = _resident() - before
    case = f"growth of the process over {_ROWS // shrink:,} samples, {_BATCH} per call"
    yield Row(case, growth / 1e6, 5.0, f"{growth / 1e6:.3g} MB", f"{before / 1e6:.3g} MB")


def _started(X: np.ndarray, y: np.ndarray) -> GDClassifier:
    return GDClassifier(random_state=0).partial_fit(X[:100], y[:100], classes=[False, True])


def _nothing(model: GDClassifier) -> None:
    """Do what makes a call atomic, without a call."""
    with model._atomic():
        pass


def _resident() -> int:
    """Return the bytes that this process has in memory."""
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * 4096
