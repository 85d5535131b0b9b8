"""Throughput: one shuffled epoch, against one product of the same data with a vector, and against SGDClassifier."""

from collections.abc import Iterator

import numpy as np
from sklearn.linear_model import SGDClassifier

from benchmarks.common import Row, medians, seconds, table_of_numbers, text
from skgd import GDClassifier
from skgd.optimizers import SGD, Adam

TITLE = "Throughput: seconds of one epoch"
COLUMNS = ("ratio", "skgd", "rival")


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
    adam = GDClassifier(optimizer=Adam(learning_rate=0.01), batch_size=256, **settings)
    double, single, product = medians(lambda: _epochs(adam, X, y), lambda: _epochs(adam, X32, y), lambda: _products(X))
    yield Row.of_times(f"{size}, Adam, batches of 256 / one `X @ w`", 2.5, double, product)
    yield Row.of_times(f"{n_rows:,} x 100, the same, float32 / float64", 0.6, single, double)
    models = [
        GDClassifier(optimizer=optimizer(learning_rate=0.01), batch_size=1, **settings) for optimizer in (Adam, SGD)
    ]
    with_adam, with_sgd, rival = medians(
        lambda: _epochs(models[0], X, y), lambda: _epochs(models[1], X, y), lambda: _rival(X, y)
    )
    yield Row.of_times(f"{size}, SGD, batches of 1 / `SGDClassifier(max_iter=1)`", 1.0, with_sgd, rival)
    yield Row.of_times(f"{size}, Adam, batches of 1 / `SGDClassifier(max_iter=1)`", 1.0, with_adam, rival)


def _text(n_rows: int) -> Iterator[Row]:
    X, y = text(n_rows, 45_000)
    size = f"text, {n_rows:,} x 45,000, {X.nnz / n_rows:.0f} words a row"
    model = GDClassifier(tol=None, max_iter=4, random_state=0)
    ours, product, rival = medians(lambda: _epochs(model, X, y), lambda: _products(X), lambda: _rival(X, y))
    yield Row.of_times(f"{size}, defaults / one `X @ w`", 3.0, ours, product)
    yield Row.of_times(f"{size}, defaults / `SGDClassifier(max_iter=1)`", None, ours, rival)
