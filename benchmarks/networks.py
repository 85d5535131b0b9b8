"""Networks: the time of a whole fit, and the test score that it reaches, against scikit-learn's perceptrons."""

from collections.abc import Iterator

import numpy as np
from sklearn.datasets import load_digits, make_classification, make_friedman1
from sklearn.neural_network import MLPClassifier, MLPRegressor

from benchmarks.common import Row, medians, seconds, text
from benchmarks.defaults import compare
from skgd import GDClassifier, GDRegressor

TITLE = "Networks: time of a fit and test score (accuracy, R²)"
COLUMNS = ("skgd / other", "skgd", "other")


def rows(shrink: int) -> Iterator[Row]:
    """Measure defaults on digits and on columns of different units, and as many epochs of equal batches."""
    X, y = load_digits(return_X_y=True)
    ours, theirs = GDClassifier(hidden_layer_sizes=(100,), random_state=0), MLPClassifier(random_state=0)
    yield from compare("digits, (100,), defaults", ours, (theirs,), X, y)
    X, y = make_friedman1(20_000 // shrink, noise=1.0, random_state=0)
    X *= 10.0 ** np.random.default_rng(0).uniform(-3.0, 3.0, X.shape[1])
    ours = GDRegressor(hidden_layer_sizes=(64, 64), random_state=0)
    theirs = MLPRegressor(hidden_layer_sizes=(64, 64), random_state=0)
    yield from compare(f"regression, {X.shape[0]:,} x {X.shape[1]}, (64, 64), defaults", ours, (theirs,), X, y)
    ten = {"n_informative": 50, "n_clusters_per_class": 4, "n_classes": 10, "class_sep": 2.0, "random_state": 0}
    X, y = make_classification(80_000 // shrink, 784, **ten)
    ours = GDClassifier(hidden_layer_sizes=(100,), batch_size=200, max_iter=10, tol=None, random_state=0)
    theirs = MLPClassifier(batch_size=200, max_iter=10, tol=0.0, random_state=0)
    case = f"10 classes, {X.shape[0]:,} x {X.shape[1]} float32, (100,), 10 epochs of batches of 200"
    yield from compare(case, ours, (theirs,), X.astype(np.float32), y)
    X, y = text(25_000 // shrink, 45_000)
    common = {"hidden_layer_sizes": (64,), "random_state": 0}
    for more in ({}, {"batch_size": 200}):
        ours = GDClassifier(max_iter=4, tol=None, **common, **more)
        one, three = (MLPClassifier(max_iter=n_epochs, tol=0.0, **common) for n_epochs in (1, 3))
        times = medians(
            lambda ours=ours: ours.fit(X, y).history_["seconds"][1:],
            lambda one=one, three=three: [(seconds(lambda: three.fit(X, y)) - seconds(lambda: one.fit(X, y))) / 2.0],
        )
        batches = "batches of 200" if more else "defaults"
        yield Row.of_times(f"an epoch of text, {X.shape[0]:,} x {X.shape[1]:,}, (64,), {batches}", 0.2, *times)
