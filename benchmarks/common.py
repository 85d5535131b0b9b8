"""What the tables share: measuring in turns, synthetic data, Markdown."""

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.feature_extraction.text import TfidfTransformer
from threadpoolctl import threadpool_info

_VERSIONS = ("numpy", "scipy", "scikit-learn", "numba", "skgd")
_TOKENS = 165  # in a document; about 136 distinct words of a vocabulary of 45,000

# ---------------------------------------------------------------------------------------------------------------------
# Measuring
# ---------------------------------------------------------------------------------------------------------------------


def seconds(call: Callable[[], object]) -> float:
    """Return how long a call takes."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def cpu_seconds(call: Callable[[], object]) -> float:
    """Return the CPU time of a call, in seconds."""
    started = time.process_time()
    call()
    return time.process_time() - started


def printed(*arguments: str, **variables: str) -> Any:
    """Return the JSON that a new Python process prints, on one thread, with these environment variables."""
    one_thread = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    environment = os.environ | one_thread | variables
    process = subprocess.run([sys.executable, *arguments], env=environment, check=True, capture_output=True, text=True)
    return json.loads(process.stdout)


def medians(*measurements: Callable[[], Iterable[float]], turns: int = 3) -> list[float]:
    """Return the median of each measurement, taken in turns, so that a slower spell of the machine slows down all.

    The first turn, which compiles and fills caches, does not count.
    """
    samples: list[list[float]] = [[] for _ in measurements]
    for turn in range(turns + 1):
        for sample, measure in zip(samples, measurements, strict=True):
            values = measure()
            if turn:
                sample.extend(values)
    return [statistics.median(sample) for sample in samples]


# ---------------------------------------------------------------------------------------------------------------------
# Data
# ---------------------------------------------------------------------------------------------------------------------


def table_of_numbers(n_rows: int, n_columns: int) -> tuple[np.ndarray, np.ndarray]:
    """Return dense columns of unit variance, and labels that a linear model predicts, but for noise."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n_rows, n_columns))
    return X, X @ rng.standard_normal(n_columns) > rng.normal(scale=0.5 * n_columns**0.5, size=n_rows)


def text(n_rows: int, vocabulary: int, hashed_to: int | None = None) -> tuple[sp.csr_array, np.ndarray]:
    """Return tf-idf of documents whose words follow Zipf's law, and labels that depend on the words.

    Each word has a column of its own, or one of ``hashed_to`` (a power of two) as ``HashingVectorizer`` gives it. The
    documents are the same for any ``hashed_to``.
    """
    rng = np.random.default_rng(0)
    share = np.cumsum(1.0 / (np.arange(vocabulary) + 2.7))
    words = np.searchsorted(share, share[-1] * rng.random(n_rows * _TOKENS))
    if hashed_to is None:
        columns, n_columns = rng.permutation(vocabulary), vocabulary
    else:
        columns, n_columns = rng.integers(2**32, size=vocabulary) % hashed_to, hashed_to
    places = np.repeat(np.arange(n_rows), _TOKENS), columns[words]
    places = tuple(part.astype(np.int32) for part in places)  # SGDClassifier refuses larger ones
    counts = sp.csr_array((np.ones(len(words)), places), shape=(n_rows, n_columns))
    X = TfidfTransformer(sublinear_tf=True).fit_transform(counts)
    score = X @ rng.standard_normal(n_columns)
    return X, score > np.median(score) + rng.normal(scale=0.5 * score.std(), size=n_rows)


# ---------------------------------------------------------------------------------------------------------------------
# Markdown
# ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """What was measured: a number that should not exceed the target (where there is one), and where it comes from."""

    case: str
    value: float
    target: float | None
    ours: str
    theirs: str

    @classmethod
    def of_times(cls, case: str, target: float | None, ours: float, theirs: float) -> "Row":
        """Return the row of the ratio of two times in seconds."""
        return cls(case, ours / theirs, target, duration(ours), duration(theirs))

    def __str__(self) -> str:
        met = "" if self.target is None else "yes" if self.value <= self.target else "**no**"
        target = "" if self.target is None else f"≤ {self.target:g}"
        return f"| {self.case} | {self.value:.3g} | {target} | {met} | {self.ours} | {self.theirs} |"


def print_table(title: str, rows: Iterable[Row], columns: tuple[str, str, str]) -> None:
    """Print a table, row by row as they come. ``columns`` names the value and the two numbers it comes from."""
    value, ours, theirs = columns
    print(f"\n## {title}\n\n| case | {value} | target | met | {ours} | {theirs} |\n|---|---|---|---|---|---|")
    for row in rows:
        print(row, flush=True)


def duration(value: float) -> str:
    """Return a time in seconds with three digits and a fitting unit."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if abs(value) >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value / 1e-9:.3g} ns"


def print_header() -> None:
    """Print what the numbers depend on: the machine, the threads and the versions."""
    threads = ", ".join(f"{pool['internal_api']} {pool['num_threads']}" for pool in threadpool_info())
    versions = ", ".join(f"{package} {version(package)}" for package in _VERSIONS)
    print(f"- Machine: {_processor()}, {os.cpu_count()} cores, {platform.system()}; threads: {threads}")
    print(f"- Python {platform.python_version()}, {versions}")


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()
