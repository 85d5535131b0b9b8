"""Latency: one call of ``partial_fit`` or ``predict`` with a few rows, as a stream or a web service makes it."""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import cycle

import numpy as np
import scipy.sparse as sp
from sklearn.linear_model import SGDClassifier
from sklearn.neural_network import MLPClassifier

from benchmarks.common import Row, medians, seconds, table_of_numbers, text
from skgd import GDClassifier

TITLE = "Latency: one call, warm"
COLUMNS = ("skgd / other", "skgd", "`SGDClassifier` or, if hidden, `MLPClassifier`")
_CALLS, _WARM_UP = 3_000, 2_000
_CHUNK = 100


def rows(shrink: int) -> Iterator[Row]:
    """Measure each method of both estimators."""
    X, y = table_of_numbers(4_000, 20)
    words, labels = text(1_000, 45_000)
    kinds = {"20 features": (X, y), "text, 45,000 features": (sp.csr_array(words), labels)}
    for method, size, kind, hidden, target in (
        ("partial_fit", 1, "20 features", (), 0.12),
        ("partial_fit", 32, "20 features", (), 0.15),
        ("predict", 1, "20 features", (), 0.2),
        ("predict_proba", 1, "20 features", (), None),
        ("partial_fit", 1, "text, 45,000 features", (), None),
        ("predict", 1, "text, 45,000 features", (), None),
        ("partial_fit", 1, "20 features", (100,), None),
        ("partial_fit", 32, "20 features", (100,), None),
        ("partial_fit", 256, "20 features", (100,), None),
    ):
        other = MLPClassifier(hidden, random_state=0) if hidden else SGDClassifier(loss="log_loss", random_state=0)
        models = [GDClassifier(hidden_layer_sizes=hidden, random_state=0), other]
        calls = [_calls(model, method, size, *kinds[kind]) for model in models]
        for call in calls:
            for _ in range(_WARM_UP // shrink):
                call()
        ours, theirs = _alternating(calls, _CALLS // shrink)
        layers = f", hidden layer of {hidden[0]}" if hidden else ""
        yield Row.of_times(f"`{method}`, {size} sample{'s' * (size > 1)} of {kind}{layers}", target, ours, theirs)


def _calls(model, method: str, size: int, X, y: np.ndarray) -> Callable[[], object]:
    """Return a function that calls the method with the next rows, over and over."""
    starts = range(0, X.shape[0] - size + 1, size)
    batches = cycle([(X[start : start + size], y[start : start + size]) for start in starts])
    model.partial_fit(X[:100], y[:100], classes=[False, True])
    call = getattr(model, method)
    return (lambda: call(*next(batches))) if method == "partial_fit" else (lambda: call(next(batches)[0]))


def _alternating(calls: list[Callable[[], object]], n_calls: int) -> list[float]:
    """Return the median seconds of each call, made in alternating chunks."""

    def chunk(call: Callable[[], object]) -> list[float]:
        return [seconds(call) for _ in range(_CHUNK)]

    return medians(*(partial(chunk, call) for call in calls), turns=max(1, n_calls // _CHUNK))
