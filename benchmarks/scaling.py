"""Scaling: the time of a row in an epoch does not depend on how many rows there are, and little on empty columns."""

from collections.abc import Iterator
from functools import partial
from itertools import repeat

from benchmarks.common import Row, medians, seconds, table_of_numbers, text
from skgd import GDClassifier

TITLE = "Scaling: the same work in a larger problem"
COLUMNS = ("ratio", "larger", "smaller")


def rows(shrink: int) -> Iterator[Row]:
    """Measure growing numbers of rows, then of columns."""
    yield from _rows(shrink)
    yield from _columns(25_000 // shrink)


def _rows(shrink: int) -> Iterator[Row]:
    X, y = table_of_numbers(1_000_000 // shrink, 20)
    sizes = [n_rows // shrink for n_rows in (10_000, 100_000, 1_000_000)]
    # In batches of 16, even the smallest of these problems is worth the compiled loops.
    settings = {"batch_size": 16, "tol": None, "random_state": 0}
    models = [GDClassifier(max_iter=max(4, 40 * sizes[0] // n_rows), **settings) for n_rows in sizes]

    def seconds_a_row(model: GDClassifier, n_rows: int) -> list[float]:
        return [epoch / n_rows for epoch in model.fit(X[:n_rows], y[:n_rows]).history_["seconds"][1:]]

    smallest, *larger = medians(*map(partial, repeat(seconds_a_row), models, sizes))
    for n_rows, model, value in zip(sizes[1:], models[1:], larger, strict=True):
        case = f"a sample of 20 features, {n_rows:,} samples, {model.engine_} / {sizes[0]:,}, {models[0].engine_}"
        yield Row.of_times(case, 1.15, value, smallest)


def _columns(n_rows: int) -> Iterator[Row]:
    problems = [text(n_rows, 300_000, hashed_to=n_columns) for n_columns in (2**20, 2**16)]
    model = GDClassifier(tol=None, max_iter=5, random_state=0)
    many, few = medians(*(lambda Xy=Xy: [seconds(lambda: model.fit(*Xy))] for Xy in problems))
    yield Row.of_times(
        f"fit of {n_rows:,} hashed texts, 5 epochs, {model.engine_}, 2^20 / 2^16 features", 1.5, many, few
    )
