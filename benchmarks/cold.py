"""Cold starts: what the first use costs in a new process."""

import statistics
from collections.abc import Iterator
from tempfile import TemporaryDirectory

from benchmarks.common import Row, duration, printed

TITLE = "Cold starts: seconds in a new process"
COLUMNS = ("seconds, or number", "skgd", "compared with")
_PROCESSES = 5

_FIRST_FIT = """
from benchmarks.common import seconds, table_of_numbers
from skgd import GDClassifier
X, y = table_of_numbers({n_rows}, 50)
print([seconds(lambda: GDClassifier(random_state=0).fit(X, y)) for _ in range(2)])
"""
_IRIS = """
import sys, time
from sklearn.datasets import load_iris
from skgd import GDClassifier
X, y = load_iris(return_X_y=True)
started = time.perf_counter()
GDClassifier(random_state=0).fit(X, y)
print([time.perf_counter() - started, int("numba" in sys.modules)])
"""
_IMPORT = """
import time
started = time.perf_counter()
import {module}
print([time.perf_counter() - started])
"""


def rows(shrink: int) -> Iterator[Row]:
    """Measure the first fit, on a machine and in a process, a small fit and the import."""
    n_rows = 100_000 // shrink
    first, second = _medians(_FIRST_FIT.format(n_rows=n_rows))[0]
    case = f"first fit, {n_rows:,} x 50, compiled code on disk, minus the second"
    yield Row(case, first - second, 0.5, duration(first), duration(second))
    compiling = statistics.median(_first_on_a_machine(_FIRST_FIT.format(n_rows=n_rows)) for _ in range(3))
    case = f"first fit on a machine, {n_rows:,} x 50, minus that with compiled code on disk"
    yield Row(case, compiling - first, 4.0, duration(compiling), duration(first))
    fit, numba = _medians(_IRIS)[0]
    yield Row("fit of iris", fit, 0.05, duration(fit), "")
    yield Row("Numba imported by then", numba, 0.0, "", "")
    (ours,), (theirs,) = _medians(*(_IMPORT.format(module=module) for module in ("skgd", "sklearn.linear_model")))
    yield Row(
        "`import skgd` minus `import sklearn.linear_model`", ours - theirs, 0.15, duration(ours), duration(theirs)
    )


def _first_on_a_machine(script: str) -> float:
    """Return the first number that a script prints where nothing compiled is on the disk."""
    with TemporaryDirectory() as empty:
        return printed("-c", script, NUMBA_CACHE_DIR=empty)[0]


def _medians(*scripts: str) -> list[list[float]]:
    """Run scripts in turns, each time in a new process; return the medians of what each prints.

    The first turn, which writes compiled code to the disk, does not count.
    """
    samples: list[list[list[float]]] = [[] for _ in scripts]
    for turn in range(_PROCESSES + 1):
        for script, values in zip(scripts, samples, strict=True):
            numbers = printed("-c", script)
            if turn:
                values.append(numbers)
    return [[statistics.median(column) for column in zip(*values, strict=True)] for values in samples]
