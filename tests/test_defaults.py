"""Nothing to tune: with no argument at all, on data as they come, training ends well and says nothing."""

import warnings
from unittest import mock

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.special import expit
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_wine
from sklearn.exceptions import ConvergenceWarning, FitFailedWarning
from sklearn.linear_model import LinearRegression, LogisticRegression, SGDClassifier
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skgd import GDClassifier, GDRegressor, training
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
        return  # the other rows all look alike where a column may be scaled, but not centred
    scores = {"constant target": -np.inf, "more features than rows": 0.9}
    assert kind(random_state=0).fit(A, y).score(A, y) > scores.get(name, 0.95)


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
        ValueError, match=r"diverged in epoch \d+ at step \d+ \(learning rate 100\).*Lower learning_rate"
    ):
        clone(search.estimator).set_params(learning_rate=100.0).fit(X, y)


def test_automatic_rates_do_not_diverge_whatever_their_factor():
    """Steps at an automatic rate are implicit: even a thousand times the rate only adds noise."""
    X, y = load_diabetes(return_X_y=True, scaled=False)
    model = GDRegressor(learning_rate="constant", random_state=0).fit(X, y)

    class Reckless(type(model.optimizer_)):
        @staticmethod
        def auto_learning_rate(*data):
            return 1000.0 * type(model.optimizer_).auto_learning_rate(*data)

    reckless = GDRegressor(optimizer=Reckless(), batch_size=1, max_iter=5, tol=None, random_state=0).fit(X, y)
    assert reckless.score(X, y) > 0.3


@settings(deadline=None)
@given(
    start=st.floats(1e-6, 1e6),
    rise=st.floats(0.01, 50.0),
    shape=st.sampled_from([np.tanh, np.expm1, np.sqrt, np.square, lambda x: x, lambda x: np.minimum(x, 0.3)]),
    stretch=st.floats(0.1, 5.0),
)
def test_implicit_share_is_the_root(start, rise, shape, stretch):
    """Of a convex loss, whose derivative rises along the move, however it bends; of the chord, if the way is short."""
    evaluations = []

    def derivative(share, _):
        evaluations.append(share)
        return start * (rise * shape(stretch * share) / shape(stretch) - 1.0)

    with mock.patch.object(vectorized, "slope_along", derivative):
        share = vectorized.implicit_share(-start, None)
    assert len(evaluations) <= 9
    root = brentq(lambda share: derivative(share, None) + share * start, 0.0, 1.0)
    chord = 1.0 / (1.0 + rise)
    assert share == pytest.approx(root, rel=0.011) or (chord >= 0.5 and share == pytest.approx(chord))


def test_convergence_warning_only_where_it_is_deserved():
    X, y = load_diabetes(return_X_y=True, scaled=False)
    slow = GDRegressor(optimizer="sgd", learning_rate=0.1, average=False, max_iter=2, random_state=0)
    with pytest.warns(ConvergenceWarning, match="max_iter=2"):
        clone(slow).fit(X, y)
    slow.set_params(tol=None).fit(X, y)  # asked for two epochs, and got them
    GDRegressor(random_state=0).fit(X, y)


# -- stopping ---------------------------------------------------------------------------------------------------------


def noisy_labels(n_rows, n_columns, seed=0):
    rng = np.random.default_rng(seed)
    X, w = rng.normal(size=(n_rows, n_columns)), rng.normal(size=n_columns) / n_columns**0.5
    return X, (X @ w + rng.logistic(size=n_rows) > 0).astype(int)


def test_one_epoch_is_enough_where_rows_are_many():
    """A converged solver gains less than 1 % over it."""
    X, y = noisy_labels(60_000, 10)
    X, Z, y, z = train_test_split(X, y, random_state=0)
    model = GDClassifier(batch_size=64, random_state=0).fit(X, y)
    solver = LogisticRegression(C=np.inf).fit(X, y)
    assert model.n_iter_ == 1
    assert log_loss(z, model.predict_proba(Z)) < 1.01 * log_loss(z, solver.predict_proba(Z))


def test_one_epoch_is_not_enough_where_the_loss_still_falls():
    """Columns that almost agree need more, however many rows there are."""
    X, y = noisy_labels(60_000, 10)
    X = np.hstack([X, X + 0.05 * np.random.default_rng(1).normal(size=X.shape)])
    y = (X[:, :10] - X[:, 10:]).sum(axis=1) > 0
    model = GDClassifier(batch_size=64, random_state=0).fit(X, y)
    assert model.n_iter_ > 1
    assert model.score(X, y) > GDClassifier(batch_size=64, max_iter=1, tol=None, random_state=0).fit(X, y).score(X, y)


@pytest.mark.parametrize("as_format", [np.asarray, sp.csr_array])
def test_what_rows_in_the_middle_of_an_epoch_have_gained(monkeypatch, as_format):
    """The weighted loss of a quarter of the rows, before their steps and after the last one."""
    X, y = noisy_labels(10_000, 5)
    X[np.random.default_rng(1).random(X.shape) < 0.3] = 0.0
    weight = np.random.default_rng(2).integers(0, 4, size=10_000).astype(float)
    seen = []
    compute = training._fall_since_middle
    monkeypatch.setattr(
        training, "_fall_since_middle", lambda *given: seen.append((given, compute(*given))) or seen[-1][1]
    )
    GDClassifier(batch_size=10, random_state=0).fit(as_format(X), y, weight)
    [((state, (X, y, weight), order, size, summary), fall)] = seen
    n_steps = len(summary.losses)
    assert size == 10
    assert abs(len(y) - 7500) < 200  # without those that weigh nothing
    middle = slice((n_steps - n_steps // 4) // 2, (n_steps - n_steps // 4) // 2 + n_steps // 4)
    rows = order[middle.start * 10 : middle.stop * 10]
    [(coef, intercept)] = state.objective.to_user(state.iterate.theta)
    now = log_loss(y[rows], expit(X[rows] @ coef + intercept).ravel(), sample_weight=weight[rows])
    then = summary.losses[middle].sum() / weight[rows].sum()
    np.testing.assert_allclose(fall, then - now, rtol=1e-8)


def test_rows_in_order_tell_nothing_of_those_to_come():
    """All of one class first: the loss then rises in the middle of the epoch, and training goes on."""
    X, y = noisy_labels(30_000, 8)
    order = np.argsort(y, kind="stable")
    assert GDClassifier(batch_size=64, shuffle=False).fit(X[order], y[order]).n_iter_ > 1


@pytest.mark.parametrize("parameters", [{"warm_start": True}, {"learning_rate": 0.01}, {"n_iter_no_change": 2}])
def test_one_epoch_is_not_enough_for_who_asks_for_more(parameters):
    X, y = noisy_labels(60_000, 10)
    model = GDClassifier(batch_size=64, random_state=0, **parameters)
    if "warm_start" in parameters:
        model.fit(X, y)
    assert model.fit(X, y).n_iter_ > 1


def test_nobody_draws_from_a_random_state_where_nothing_is_shuffled():
    X, y = noisy_labels(100, 3)
    random_state = np.random.RandomState(0)
    GDClassifier(shuffle=False, random_state=random_state).fit(X, y)
    assert random_state.randint(10**6) == np.random.RandomState(0).randint(10**6)


@pytest.mark.parametrize("as_format", [np.asarray, sp.csr_array])
def test_training_ends_before_it_fits_noise(as_format):
    """With a parameter for every other row, the minimum is worse than a model that stopped on the way to it."""
    X, y = noisy_labels(2_000, 500)
    X, Z, y, z = train_test_split(X, y, test_size=0.5, random_state=0)
    X, Z = as_format(X), as_format(Z)
    default = GDClassifier(random_state=0).fit(X, y)
    further = GDClassifier(alpha=0.0, random_state=0).fit(X, y)  # asks for the minimum
    assert default.n_iter_ < further.n_iter_
    assert log_loss(z, default.predict_proba(Z)) < 0.9 * log_loss(z, further.predict_proba(Z))


def test_the_error_of_estimation_is_no_matter_where_rows_are_one_batch():
    """There, weights count as copies of rows, to the last epoch."""
    X, y = noisy_labels(80, 5)
    y = y + 0.5 * X[:, 0]
    weight = np.random.default_rng(0).integers(1, 4, size=80)
    weighted = GDRegressor().fit(X, y, weight)
    copied = GDRegressor().fit(X.repeat(weight, axis=0), y.repeat(weight))
    assert weighted.n_iter_ == copied.n_iter_
    np.testing.assert_allclose(weighted.coef_, copied.coef_, rtol=1e-7)


@pytest.mark.parametrize("as_format", [np.asarray, sp.csr_array])
@pytest.mark.parametrize(("n_columns", "rate"), [(999, 0.5), (1000, 3.0)])
def test_rates_of_categories(n_columns, rate, as_format):
    """Of columns of mostly zeros, the rate depends on whether there are a thousand, in `fit` and in a stream."""
    X = as_format(np.eye(200, n_columns))
    y = np.arange(200.0)
    model = GDRegressor(precondition=False, fit_intercept=False, max_iter=1, tol=None).fit(X, y)
    assert model.history_["learning_rate"][-1] == pytest.approx(rate)
    model = GDRegressor(precondition=False, fit_intercept=False, batch_size=None).partial_fit(X, y)
    assert model.history_["learning_rate"][-1] == pytest.approx(rate)


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
