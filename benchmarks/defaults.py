"""Defaults: the time of a whole fit, and the test score that it reaches, with nothing tuned on either side."""

from collections.abc import Iterator
from functools import partial

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.datasets import make_classification, make_regression
from sklearn.linear_model import LogisticRegression, Ridge, SGDClassifier, SGDRegressor
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.common import Row, duration, medians, seconds
from skgd import GDClassifier, GDRegressor

TITLE = "Defaults: time of a fit and test score (accuracy, R²)"
COLUMNS = ("skgd / other", "skgd", "other")


def rows(shrink: int) -> Iterator[Row]:
    """Measure two classifications and a regression; the columns have different units."""
    linear_mlp = MLPClassifier(hidden_layer_sizes=(), random_state=0)  # the same model as the others
    classifiers = (LogisticRegression(), SGDClassifier(loss="log_loss", random_state=0), linear_mlp)
    regressors = (Ridge(), SGDRegressor(random_state=0))
    two = {"n_informative": 20, "n_clusters_per_class": 1}
    ten = {"n_informative": 50, "n_clusters_per_class": 1, "n_classes": 10, "class_sep": 2.0}
    for name, make, model, rivals in (
        ("2 classes", partial(make_classification, 200_000 // shrink, 40, **two), GDClassifier, classifiers),
        ("10 classes", partial(make_classification, 30_000 // shrink, 200, **ten), GDClassifier, classifiers),
        ("regression", partial(make_regression, 250_000 // shrink, 130, noise=50.0), GDRegressor, regressors),
    ):
        X, y = make(random_state=0)
        X *= 10.0 ** np.random.default_rng(0).uniform(-3.0, 3.0, X.shape[1])
        yield from compare(f"{name}, {X.shape[0]:,} x {X.shape[1]}", model(random_state=0), rivals, X, y)


def compare(
    case: str, model: BaseEstimator, rivals: tuple[BaseEstimator, ...], X: np.ndarray, y: np.ndarray
) -> Iterator[Row]:
    """Compare with rivals behind a scaler, which they need and which is part of their time."""
    X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
    models = [model, *(make_pipeline(StandardScaler(), rival) for rival in rivals)]

    def fit(estimator: BaseEstimator) -> list[float]:
        return [seconds(lambda: estimator.fit(X_train, y_train))]

    times = medians(*(partial(fit, estimator) for estimator in models))
    ours, *theirs = (
        f"{duration(time)}, {estimator.score(X_test, y_test):.3f}"
        for estimator, time in zip(models, times, strict=True)
    )
    for rival, time, result in zip(rivals, times[1:], theirs, strict=True):
        yield Row(f"{case} / `{type(rival).__name__}`", times[0] / time, None, ours, result)
