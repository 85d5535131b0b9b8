"""Throughput: one shuffled epoch, against one product of the same data with a vector, and against SGDClassifier."""

from collections.abc import Iterator

import numpy as np
from sklearn.linear_model import SGDClassifier

from benchmarks.common import Row, medians, seconds, table_of_numbers, text
from skgd import GDClassifier
from skgd.optimizers import SGD, Adam

TITLE = "Throughput: seconds of one epoch"
COLUMNS = ("ratio", "skgd", "other")
_RIVAL = "`SGDClassifier(max_iter=1)`"


def rows(shrink: int) -> Iterator[Row]:
    """Measure dense rows, then text."""
    yield from _dense(400_000 // shrink)
    yield from _text(25_000 // shrink)


def _epochs(model: GDClassifier, X, y) -> list[float]:
    """Return the seconds of each epoch but the first."""
    return model.fit(X, y).history_["seconds"][1:]


def _products(X) -> list[float]:
    w = np.ones(X.shape[1], X.dtype)
    return [seconds(lambda: X @ w) for _ in range(5)]


def _rival(X, y) -> list[float]:
    model = SGDClassifier(loss="log_loss", max_iter=1, tol=None, random_state=0)
    return [seconds(lambda: model.fit(X, y))]


def _dense(n_rows: int) -> Iterator[Row]:
    X, y = table_of_numbers(n_rows, 100)
    X32 = X.astype(np.float32)
    size = f"{n_rows:,} x 100 float64"
    settings = {"average": False, "tol": None, "max_iter": 4, "random_state": 0}
    model = GDClassifier(optimizer=Adam(learning_rate=0.01), batch_size=256, **settings)
    double, single, product = medians(
        lambda: _epochs(model, X, y), lambda: _epochs(model, X32, y), lambda: _products(X)
    )
    yield Row.of_times(f"{size}, Adam, batches of 256, {model.engine_} / one `X @ w`", 2.5, double, product)
    yield Row.of_times(f"{n_rows:,} x 100, the same, float32 / float64", 0.6, single, double)
    sgd, adam = (GDClassifier(optimizer=kind(learning_rate=0.01), batch_size=1, **settings) for kind in (SGD, Adam))
    with_sgd, with_adam, rival = medians(lambda: _epochs(sgd, X, y), lambda: _epochs(adam, X, y), lambda: _rival(X, y))
    for name, model, ours in (("SGD", sgd, with_sgd), ("Adam", adam, with_adam)):
        yield Row.of_times(f"{size}, {name}, batches of 1, {model.engine_} / {_RIVAL}", 1.0, ours, rival)


def _text(n_rows: int) -> Iterator[Row]:
    X, y = text(n_rows, 45_000)
    model = GDClassifier(tol=None, max_iter=4, random_state=0)
    ours, product, rival = medians(lambda: _epochs(model, X, y), lambda: _products(X), lambda: _rival(X, y))
    case = f"text, {n_rows:,} x 45,000, {X.nnz / n_rows:.0f} words per sample, defaults, {model.engine_}"
    yield Row.of_times(f"{case} / one `X @ w`", 3.0, ours, product)
    yield Row.of_times(f"{case} / {_RIVAL}", None, ours, rival)
