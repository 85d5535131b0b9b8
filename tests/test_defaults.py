"""Nothing to tune: with no argument at all, on data as they come, training ends well and says nothing."""

import warnings
from unittest import mock

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_wine
from sklearn.exceptions import FitFailedWarning
from sklearn.linear_model import LinearRegression, LogisticRegression, RidgeCV, SGDClassifier
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skgd import GDClassifier, GDRegressor
from skgd.engines import vectorized
from skgd.losses import CLASSIFIER_LOSSES, REGRESSOR_LOSSES
from skgd.optimizers import OPTIMIZERS


def split(load, **options):
    X, y = load(return_X_y=True, **options)
    return train_test_split(X, y, test_size=0.2, random_state=0)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("load", [load_breast_cancer, load_digits, load_wine])
def test_raw_classification_is_as_good_as_a_converged_solver(load, seed):
    X, Z, y, z = split(load)
    model = GDClassifier(random_state=seed).fit(X, y)
    solver = make_pipeline(StandardScaler(), LogisticRegression(max_iter=5000)).fit(X, y)
    assert model.score(Z, z) >= solver.score(Z, z) - 0.02
    assert log_loss(z, model.predict_proba(Z)) <= log_loss(z, solver.predict_proba(Z)) + 0.06


@pytest.mark.parametrize("seed", range(3))
def test_raw_regression_is_as_good_as_a_converged_solver(seed):
    X, Z, y, z = split(load_diabetes, scaled=False)
    assert GDRegressor(random_state=seed).fit(X, y).score(Z, z) >= LinearRegression().fit(X, y).score(Z, z) - 0.01


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_learns_raw_data_at_its_own_rate(optimizer):
    X, y = load_breast_cancer(return_X_y=True)
    assert GDClassifier(optimizer=optimizer, random_state=0).fit(X, y).score(X, y) > 0.94
    X, y = load_diabetes(return_X_y=True, scaled=False)
    assert GDRegressor(optimizer=optimizer, random_state=0).fit(X, y).score(X, y) > 0.45


# -- data at the edge of what can be represented ----------------------------------------------------------------------


def awkward(kind):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 3))
    y = (X[:, 0] > 0).astype(int) if kind is GDClassifier else X @ [1.0, -2.0, 0.5] + 1.0
    column = X[:, [0]]
    yield "large", np.hstack([X, column * 1e150]), y
    yield "tiny", np.hstack([X, column * 1e-150]), y
    yield "constant", np.hstack([X, np.full((60, 1), 3e7), np.zeros((60, 1))]), y
    yield "duplicated", np.hstack([X, X, X]), y
    yield "far from zero", X + 1e9, y
    yield "one feature", column, y if kind is GDClassifier else 3.0 * column.ravel() - 1.0
    yield "more features than rows", np.hstack([X, rng.normal(size=(60, 400))]), y
    yield "one outlier", np.vstack([X, [[1e12, 0.0, 0.0]]]), np.append(y, y[0])
    if kind is GDRegressor:
        yield "large target", X, y * 1e9
        yield "huge target", X, y * 1e150
        yield "tiny target", X, y * 1e-150
        yield "constant target", X, np.full(60, 7.0)


CASES = [(kind, name, X, y) for kind in (GDClassifier, GDRegressor) for name, X, y in awkward(kind)]


@pytest.mark.parametrize("as_format", [np.asarray, sp.csr_array])
@pytest.mark.parametrize(("kind", "name", "X", "y"), CASES, ids=[f"{k.__name__}-{n}" for k, n, _, _ in CASES])
def test_awkward_data_train(kind, name, X, y, as_format):
    A = as_format(X)
    first = {"classes": [0, 1]} if kind is GDClassifier else {}
    for model in (kind(random_state=0).fit(A, y), kind(random_state=0).partial_fit(A, y, **first)):
        assert np.all(np.isfinite(model.coef_))
        assert np.all(np.isfinite(model.predict(A)))
    if name == "one outlier" or (sp.issparse(A) and name == "far from zero"):
        return  # the other rows all look alike where a column may be scaled, but not centered
    scores = {"constant target": -np.inf, "more features than rows": 0.9}
    if (kind, name) != (GDRegressor, "more features than rows"):
        assert kind(random_state=0).fit(A, y).score(A, y) > scores.get(name, 0.95)


@pytest.mark.parametrize("as_format", [np.asarray, sp.csr_array])
@pytest.mark.parametrize("seed", range(3))
def test_more_features_than_rows_get_the_penalty_they_need(seed, as_format):
    """New rows are predicted as by a ridge regression that chooses its penalty by leave-one-out."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(260, 403))
    y = X[:, :3] @ [1.0, -2.0, 0.5] + 1.0
    rival = RidgeCV(np.logspace(-4, 4, 33)).fit(X[:60], y[:60])
    model = GDRegressor(random_state=0).fit(as_format(X[:60]), y[:60])
    assert model.score(as_format(X[60:]), y[60:]) > rival.score(X[60:], y[60:]) - 0.02


@pytest.mark.parametrize(
    ("kind", "loss"),
    [*((GDClassifier, name) for name in CLASSIFIER_LOSSES), *((GDRegressor, name) for name in REGRESSOR_LOSSES)],
)
def test_one_row_at_a_time(kind, loss):
    X = np.array([[1.0, 2.0], [1e6, -1.0], [0.0, 0.0], [5.0, 1e-6]])
    y = np.array([0, 1, 0, 1]) if kind is GDClassifier else np.array([1.0, 1e9, 3.0, 0.5])
    model = kind(loss=loss)
    for row in range(4):
        first = {"classes": [0, 1]} if kind is GDClassifier else {}
        model.partial_fit(X[[row]], y[[row]], **first)
        assert np.all(np.isfinite(model.predict(X)))


def test_one_sample():
    model = GDRegressor().fit([[3.0, 4.0]], [5.0])
    np.testing.assert_allclose(model.predict([[3.0, 4.0]]), [5.0])


# -- rates ------------------------------------------------------------------------------------------------------------


def test_grid_search_over_rates_survives_those_that_diverge():
    """The scores of the diverged candidates are scikit-learn's `error_score`; a good rate wins."""
    X, y = load_diabetes(return_X_y=True, scaled=False)
    rates = np.logspace(-4, 2, 7)
    search = GridSearchCV(GDRegressor(optimizer="sgd", max_iter=200, tol=None, average=False), {"learning_rate": rates})
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        search.fit(X, y)
    assert any(issubclass(w.category, FitFailedWarning) and "diverged" in str(w.message) for w in caught)
    scores = search.cv_results_["mean_test_score"]
    assert np.isnan(scores[-1])
    assert search.best_score_ > 0.45
    with pytest.raises(
        ValueError, match=r"diverged in epoch \d+ at step \d+ \(learning rate 100\).*Decrease learning_rate"
    ):
        clone(search.estimator).set_params(learning_rate=100.0).fit(X, y)


@settings(deadline=None)
@given(
    start=st.floats(1e-6, 1e6),
    rise=st.floats(0.01, 50.0),
    shape=st.sampled_from([np.tanh, np.expm1, np.sqrt, np.square, lambda x: x, lambda x: np.minimum(x, 0.3)]),
    stretch=st.floats(0.1, 5.0),
    smooth=st.booleans(),
)
def test_implicit_share_is_the_root(start, rise, shape, stretch, smooth):
    """Of a convex loss, whose derivative rises along the move, however it bends; of the chord, if the way is short and
    there may be kinks.
    """
    evaluations = []

    def derivative(share, _):
        evaluations.append(share)
        return start * (rise * shape(stretch * share) / shape(stretch) - 1.0)

    with mock.patch.object(vectorized, "slope_along", derivative):
        share = vectorized.implicit_share(-start, None, smooth)
    assert len(evaluations) <= 15
    root = brentq(lambda share: derivative(share, None) + share * start, 0.0, 1.0)
    chord = 1.0 / (1.0 + rise)
    by_chord = chord >= 0.5 and not smooth
    assert share == pytest.approx(chord if by_chord else root, rel=0.011)


def test_nobody_draws_from_a_random_state_where_nothing_is_shuffled():
    X, y = load_breast_cancer(return_X_y=True)
    random_state = np.random.RandomState(0)
    GDClassifier(shuffle=False, random_state=random_state).fit(X, y)
    assert random_state.randint(10**6) == np.random.RandomState(0).randint(10**6)


# -- streams ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("drift", [False, True])
def test_progressive_accuracy_of_a_raw_stream(drift):
    """At least that of `SGDClassifier` behind a running scaler, on columns of different units."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(6000, 8))
    w = rng.normal(size=(2, 8))
    turned = (np.arange(6000) >= 3000).astype(int) * drift
    y = (np.einsum("ij,ij->i", X, w[turned]) + rng.logistic(size=6000) > 0).astype(int)
    X = X * np.logspace(-3, 3, 8) + 5.0
    ours, theirs, scaler = GDClassifier(), SGDClassifier(loss="log_loss", random_state=0), StandardScaler()
    hits = np.zeros(2)
    for start in range(0, 6000, 100):
        A, b = X[start : start + 100], y[start : start + 100]
        if start:
            hits += (ours.predict(A) == b).sum(), (theirs.predict(scaler.transform(A)) == b).sum()
        ours.partial_fit(A, b, classes=[0, 1])
        theirs.partial_fit(scaler.partial_fit(A).transform(A), b, classes=[0, 1])
    assert hits[0] >= hits[1]
