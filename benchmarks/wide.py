"""Wide streams: ``partial_fit`` on hashed text, whose rows cost their words, not the columns that there might be."""

import statistics
from collections.abc import Callable, Iterator
from functools import partial
from itertools import cycle

import numpy as np
import scipy.sparse as sp
from sklearn.linear_model import SGDClassifier

from benchmarks.common import Row, medians, seconds, text
from skgd import GDClassifier

TITLE = "Wide streams: hashed text of 136 words per sample, warm"
COLUMNS = ("ratio", "skgd", "compared with")
_CALLS, _WARM_UP, _ROWS = 100, 1_000, 2_000


def rows(shrink: int) -> Iterator[Row]:
    """Compare widths with each other and with SGDClassifier, then the beginning of a stream."""
    narrow, middle, usual, widest = (_stream(2**power, 1, shrink) for power in (12, 16, 20, 22))
    few = max(1, 30 // shrink)
    for name, target, wide in (("2^20", 1.5, usual), ("2^22", 2.0, widest)):
        ours, theirs = medians(wide, narrow, turns=few)
        yield Row.of_times(f"1 sample of {name} features / of 2^12", target, ours, theirs)
    for name, size, target, call in (
        ("2^16", 1, 0.1, middle),
        ("2^20", 1, 0.03, usual),
        ("2^20", 100, 0.5, _stream(2**20, 100, shrink)),
    ):
        columns = 2 ** int(name[2:])
        rival = _stream(columns, size, shrink, SGDClassifier(loss="log_loss", random_state=0), n_calls=10)
        ours, theirs = medians(call, rival, turns=few)
        yield Row.of_times(f"{size} sample{'s' * (size > 1)} of {name} features / SGDClassifier", target, ours, theirs)
    of_ftrl = GDClassifier(optimizer="ftrl", alpha=1e-5, l1_ratio=1.0, random_state=0)
    of_sgd = SGDClassifier(loss="log_loss", penalty="l1", alpha=1e-5, random_state=0)
    by_model = (_stream(2**20, 100, shrink, model, n_calls=10) for model in (of_ftrl, of_sgd))
    ours, theirs = medians(*by_model, turns=few)
    yield Row.of_times("the same, FTRL with an L1 penalty / SGDClassifier with one", None, ours, theirs)
    yield from _rows_of_vowpal_wabbit(usual, shrink, few)
    n_calls = 500 // shrink
    models = GDClassifier, partial(SGDClassifier, loss="log_loss")
    ours, theirs = (statistics.median(_beginning(2**18, make, n_calls) for _ in range(3)) for make in models)
    yield Row.of_times(f"the first {n_calls} calls of one sample of 2^18 features / SGDClassifier", 0.5, ours, theirs)


def _rows_of_vowpal_wabbit(usual: Callable[[], list[float]], shrink: int, few: int) -> Iterator[Row]:
    """Compare with Vowpal Wabbit's Python package, where it is installed: ``pip install vowpalwabbit``."""
    try:
        from vowpalwabbit import Workspace
    except ImportError:
        print("(Vowpal Wabbit is not installed: its rows are left out.)")
        return
    X, y = _hashed(2**20)
    lines = [
        f"{1 if label else -1} | "
        + " ".join(f"{column}:{value:.6g}" for column, value in zip(row.indices, row.data, strict=True))
        for row, label in zip((X[[i]] for i in range(_ROWS)), y, strict=True)
    ]
    learner = Workspace("--bit_precision 20 --loss_function logistic --link logistic --quiet")
    texts, parsed = cycle(lines), cycle([learner.parse(line) for line in lines[:1_000]])

    def learn_texts() -> list[float]:
        return [seconds(lambda: learner.learn(next(texts))) for _ in range(_CALLS)]

    def learn_parsed() -> list[float]:
        return [seconds(lambda: [learner.learn(next(parsed)) for _ in range(100)]) for _ in range(10)]

    ours, theirs = medians(usual, learn_texts, turns=few)
    yield Row.of_times("1 sample of 2^20 features / Vowpal Wabbit, from text", 1.5, ours, theirs)
    ours, theirs = medians(_stream(2**20, 100, shrink, n_calls=10), learn_parsed, turns=few)
    yield Row.of_times("100 samples of 2^20 features / Vowpal Wabbit, parsed", 3.0, ours, theirs)


def _hashed(columns: int) -> tuple[sp.csr_array, np.ndarray]:
    return text(_ROWS, 45_000, hashed_to=columns)


def _stream(columns: int, size: int, shrink: int, model=None, n_calls: int = _CALLS) -> Callable[[], list[float]]:
    """Return a function that makes some calls of ``partial_fit`` and returns the seconds of each."""
    model = GDClassifier(random_state=0) if model is None else model
    X, y = _hashed(columns)
    batches = cycle([(X[start : start + size], y[start : start + size]) for start in range(0, _ROWS, size)])
    model.partial_fit(X[:1], y[:1], classes=[False, True])
    for _ in range(_WARM_UP // size // shrink if isinstance(model, GDClassifier) else 1):
        model.partial_fit(*next(batches))
    return lambda: [seconds(lambda: model.partial_fit(*next(batches))) for _ in range(n_calls)]


def _beginning(columns: int, make: Callable, n_calls: int) -> float:
    """Return the seconds of the first calls of a new stream."""
    X, y = _hashed(columns)
    batches, model = [(X[i : i + 1], y[i : i + 1]) for i in range(n_calls)], make(random_state=0)

    def learn() -> None:
        for each in batches:
            model.partial_fit(*each, classes=[False, True])

    return seconds(learn)
