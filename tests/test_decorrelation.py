"""Combinations of correlated columns: any optimizer comes to the minimum, of a model of the user's columns."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.preprocessing import OneHotEncoder

from skgd import GDClassifier, GDRegressor, decorrelation, training
from skgd.callbacks import Checkpoint
from skgd.combinations import diagonalizing
from skgd.optimizers import ADOPT, OPTIMIZERS, AdEMAMix

ROWS, COLUMNS = 300, 8
FORGETFUL = {"adopt": ADOPT(beta2=0.99), "ademamix": AdEMAMix(beta3=0.99)}  # by default, they remember 10,000 steps
FOLLOWS = [FORGETFUL.get(name, name) for name in OPTIMIZERS if name not in ("adamw", "ftrl", "schedule_free")]


def correlated(seed=0, condition=1e6):
    rng = np.random.default_rng(seed)
    directions = np.linalg.qr(rng.normal(size=(COLUMNS, COLUMNS)))[0]
    components = rng.normal(size=(ROWS, COLUMNS))
    y = components @ rng.normal(size=COLUMNS) + rng.normal(size=ROWS)
    return components * np.geomspace(1.0, condition**-0.5, COLUMNS) @ directions + 3.0, y


X, Y = correlated()
LABELS = np.digitize(Y, np.quantile(Y, [0.4, 0.7]))


@pytest.fixture
def taken(monkeypatch):
    """Note for each training whether it takes combinations."""
    answers = []

    def noted(*args):
        answers.append(decorrelation.decorrelation_of(*args))
        return answers[-1]

    monkeypatch.setattr(training, "decorrelation_of", noted)
    return answers


def assert_is_ridge(model, A, y, weight=None, rtol=1e-3):
    total = len(y) if weight is None else weight.sum()
    ridge = Ridge(alpha=total * model.alpha, solver="svd") if model.alpha else LinearRegression()
    ridge.set_params(fit_intercept=model.fit_intercept).fit(A, y, weight)
    difference = model.predict(A) - ridge.predict(A)
    assert np.sqrt(np.average(difference**2, weights=weight, axis=0)).max() <= rtol * y.std()


@pytest.mark.parametrize("alpha", [0.0, 1e-6, 1e-2, 10.0])
@pytest.mark.parametrize("optimizer", FOLLOWS, ids=str)
def test_any_optimizer_finds_ridge_of_correlated_columns(optimizer, alpha, taken):
    model = GDRegressor(optimizer=optimizer, alpha=alpha, batch_size=None, tol=1e-8, max_iter=3000).fit(X, Y)
    assert_is_ridge(model, X, Y)
    assert taken[0] is not None
    assert model.stop_reason_ == "converged"


@pytest.mark.parametrize("units", [1.0, 1e6, 1e-6])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_neither_units_nor_types_nor_intercepts_matter(units, dtype, fit_intercept):
    A = (X * np.geomspace(1.0, units, COLUMNS)).astype(dtype)
    y = (Y - Y.mean()).astype(dtype)
    model = GDRegressor(optimizer="adam", alpha=1e-3, batch_size=None, tol=1e-8, max_iter=3000)
    model.set_params(fit_intercept=fit_intercept).fit(A, y)
    assert model.coef_.dtype == dtype
    assert_is_ridge(model, A.astype(float), y, rtol=1e-3 if dtype == np.float64 else 1e-2)


def test_several_targets_and_weights():
    weight = np.random.default_rng(0).random(ROWS)
    targets = np.column_stack([Y, 1e3 * X[:, 0] - Y, Y**2])
    model = GDRegressor(optimizer="adam", alpha=1e-4, batch_size=None, tol=1e-9, max_iter=3000)
    ridge = Ridge(alpha=weight.sum() * 1e-4, solver="svd").fit(X, targets, weight)
    difference = model.fit(X, targets, sample_weight=weight).predict(X) - ridge.predict(X)
    assert (np.sqrt(np.average(difference**2, weights=weight, axis=0)) <= 1e-3 * targets.std(axis=0)).all()


@pytest.mark.parametrize("alpha", [1e-4, 1e-2])
def test_classes(alpha, taken):
    model = GDClassifier(optimizer="adagrad", alpha=alpha, tol=1e-6, random_state=0).fit(X, LABELS)
    solver = LogisticRegression(C=1.0 / (alpha * ROWS), tol=1e-10, max_iter=10_000).fit(X, LABELS)
    np.testing.assert_allclose(model.predict_proba(X), solver.predict_proba(X), atol=0.02)
    assert taken[0] is not None


@pytest.mark.parametrize("penalty", [0.0, 1e-3, 1.0])
def test_moments_and_penalty_become_diagonal(penalty):
    rng = np.random.default_rng(0)
    moments = np.cov(X, rowvar=False)
    factors = penalty * rng.random(COLUMNS)
    W = diagonalizing(moments, factors, ROWS, 200.0)
    of_penalty = W.T @ np.diag(factors) @ W
    np.testing.assert_allclose(W.T @ moments @ W + of_penalty, np.eye(COLUMNS), atol=1e-8)
    np.testing.assert_allclose(of_penalty, np.diag(np.diag(of_penalty)), atol=1e-8)


def test_rounding_is_not_amplified():
    """Duplicated columns share a coefficient, and those of a complete set of dummies sum to zero."""
    category = np.random.default_rng(0).integers(0, 4, ROWS)
    dummies = OneHotEncoder(sparse_output=False).fit_transform(category[:, np.newaxis])
    A = np.column_stack([X, X[:, :2], dummies])
    y = Y + category
    for alpha in (0.0, 1e-3):
        model = GDRegressor(optimizer="adam", alpha=alpha, batch_size=None, tol=1e-8, max_iter=3000).fit(A, y)
        assert_is_ridge(model, A, y)
        if alpha:
            np.testing.assert_allclose(model.coef_[:2], model.coef_[COLUMNS : COLUMNS + 2], rtol=1e-6)
            assert abs(model.coef_[-4:].sum()) < 1e-6 * np.abs(model.coef_[-4:]).max()


@pytest.mark.parametrize(
    ("parameters", "as_combinations"),
    [
        ({}, True),
        ({"alpha": "auto", "tol": 1e-4}, True),
        ({"alpha": "auto", "batch_size": 32}, False),  # ends where rows tell, not at the minimum
        ({"tol": None, "max_iter": 3}, False),
        ({"l1_ratio": 0.5}, False),
        ({"precondition": False, "learning_rate": 0.1, "tol": 0.9}, False),
        ({"hidden_layer_sizes": (3,), "max_iter": 3, "tol": None}, False),
        ({"optimizer": "auto", "batch_size": "auto"}, False),  # takes Newton's steps
    ],
    ids=str,
)
def test_where_columns_are_combined(parameters, as_combinations, taken):
    rows = X if "precondition" not in parameters else X - X.mean(axis=0)
    GDRegressor(**{"optimizer": "adam", "alpha": 1e-2, "batch_size": None} | parameters).fit(rows, Y)
    assert (taken != [] and taken[0] is not None) == as_combinations


def test_columns_that_are_not_correlated_stay_what_they_are(taken):
    independent = np.random.default_rng(0).normal(size=(ROWS, COLUMNS))
    GDRegressor(optimizer="adam", alpha=1e-2).fit(independent, Y)
    assert taken == [None]


@pytest.mark.parametrize("n_rows", [1, 300])
def test_constant_columns_stay_what_they_are(n_rows):
    model = GDRegressor(optimizer="adam", alpha=1e-3).fit(np.ones((n_rows, 2)), Y[:n_rows])
    np.testing.assert_array_equal(model.coef_, 0.0)
    assert model.intercept_[0] == pytest.approx(Y[:n_rows].mean())


def test_a_coefficient_that_a_lasso_leaves_out_is_zero():
    model = GDRegressor(optimizer="adagrad", alpha=0.05, l1_ratio=1.0, batch_size=None, max_iter=5000).fit(X, Y)
    assert 0 < np.count_nonzero(model.coef_) < COLUMNS


@pytest.mark.parametrize("optimizer", ["adagrad", "adam", "sgd", "rmsprop"])
def test_a_stream_goes_on_from_the_minimum(optimizer):
    iris, species = load_iris(return_X_y=True)
    model = GDClassifier(optimizer=optimizer, alpha=1e-2, random_state=0).fit(iris, species)
    before = model.score(iris, species)
    for _ in range(3):
        model.partial_fit(iris, species)
        assert model.score(iris, species) >= before - 0.05


def test_training_goes_on_from_a_checkpoint_to_the_same_bits(tmp_path):
    model = GDRegressor(optimizer="adam", alpha=1e-3, batch_size=32, tol=1e-6, random_state=0)
    whole = clone(model).fit(X, Y)
    assert whole.n_iter_ > 5

    class Killed(Exception):
        pass

    class After:
        def setup(self, estimator, context): ...
        def on_fit_task_begin(self, estimator, context): ...
        def teardown(self, estimator, context): ...

        def on_fit_task_end(self, estimator, context, **kwargs):
            if context.task_name == "epoch" and context.task_id == 4:
                raise Killed

    with pytest.raises(Killed):
        clone(model).set_callbacks(Checkpoint(tmp_path / "file", every_n_epochs=1), After()).fit(X, Y)
    resumed = Checkpoint.load(tmp_path / "file")
    assert 0 < resumed.n_iter_ < whole.n_iter_
    np.testing.assert_array_equal(resumed.fit(X, Y).coef_, whole.coef_)
    assert resumed.n_iter_ == whole.n_iter_


def test_warm_start_goes_on_where_training_ended():
    cancer, malignant = load_breast_cancer(return_X_y=True)
    parameters = {"optimizer": "adam", "alpha": 1e-2, "random_state": 0, "warm_start": True}
    model = GDClassifier(**parameters).fit(cancer, malignant)
    untrained, *_, trained = model.history_["objective"]
    again = model.fit(cancer, malignant)
    assert again.history_["objective"][-again.n_iter_] - trained < 0.1 * (untrained - trained)
    assert again.converged_
