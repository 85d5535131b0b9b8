"""Callbacks: what ``fit`` pays for them, set or not.

The comparison is ``fit`` without scikit-learn's decorator, which finds and ends the callbacks. What is left of them in
it are two questions an epoch whether somebody is looking on: some nanoseconds.
"""

from collections.abc import Callable, Iterator
from functools import partial

from sklearn.base import BaseEstimator

from benchmarks.common import Row, medians, seconds, table_of_numbers
from skgd import GDClassifier
from skgd.callbacks import EarlyStopping

TITLE = "Callbacks: fit of ten epochs"
COLUMNS = ("fit / fit that knows no callbacks", "fit", "fit that knows no callbacks")


class _OnLooker:
    """A callback that does nothing and asks for nothing."""

    def setup(self, estimator: BaseEstimator, context: object) -> None: ...

    def teardown(self, estimator: BaseEstimator, context: object) -> None: ...

    def on_fit_task_begin(self, estimator: BaseEstimator, context: object) -> None: ...

    def on_fit_task_end(self, estimator: BaseEstimator, context: object) -> None: ...


def rows(shrink: int) -> Iterator[Row]:
    """Measure small and large problems, with and without callbacks."""
    for n_rows, n_columns, turns in ((150, 4, 500), (20_000, 50, 50)):
        X, y = table_of_numbers(n_rows, n_columns)
        for name, callbacks, target in (
            ("none set", (), 1.02),
            ("one that does nothing", (_OnLooker(),), None),
            ("`EarlyStopping` by the loss", (EarlyStopping(X, y, patience=100),), None),
        ):
            model = GDClassifier(max_iter=10, tol=None, random_state=0)
            if callbacks:
                model.set_callbacks(*callbacks)
            plain = GDClassifier(max_iter=10, tol=None, random_state=0)
            calls = partial(model.fit, X, y), partial(_fit_without_callbacks, plain, X, y)
            ours, theirs = medians(*(partial(_once, call) for call in calls), turns=max(1, turns // shrink))
            yield Row.of_times(f"{name}, {n_rows:,} samples of {n_columns}", target, ours, theirs)


def _fit_without_callbacks(model: GDClassifier, X, y) -> None:
    with model._atomic():
        type(model)._fit.__wrapped__(model, X, y, None, None, None, None)


def _once(call: Callable[[], object]) -> list[float]:
    return [seconds(call)]
