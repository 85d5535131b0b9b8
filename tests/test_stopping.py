"""When training ends: after enough epochs, and with a warning only where it is deserved."""

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.special import expit
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from skgd import GDClassifier, GDRegressor, stopping


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
    compute = stopping.fall_since_middle
    monkeypatch.setattr(
        stopping, "fall_since_middle", lambda *given: seen.append((given, compute(*given))) or seen[-1][1]
    )
    GDClassifier(batch_size=10, random_state=0).fit(as_format(X), y, weight)
    [((state, (X, y, weight, order, size), summary), fall)] = seen
    n_steps = len(summary.losses)
    assert size == 10
    assert abs(len(y) - 7500) < 200  # without those that weigh nothing
    middle = slice((n_steps - n_steps // 4) // 2, (n_steps - n_steps // 4) // 2 + n_steps // 4)
    rows = order[middle.start * 10 : middle.stop * 10]
    [(coef, intercept)] = state.objective.to_user(state.iterate.theta)
    now = log_loss(y[rows], expit(X[rows] @ coef + intercept).ravel(), sample_weight=weight[rows])
    then = summary.losses[middle].sum() / weight[rows].sum()
    np.testing.assert_allclose(fall, then - now * state.objective.worth, rtol=1e-8)


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


@pytest.mark.parametrize("as_format", [np.asarray, sp.csr_array])
def test_training_ends_before_it_fits_noise(as_format):
    """With a parameter for every other row, the minimum is worse than a model that stopped on the way to it."""
    X, y = noisy_labels(2_000, 500)
    X, Z, y, z = train_test_split(X, y, test_size=0.5, random_state=0)
    X, Z = as_format(X), as_format(Z)
    ended = GDClassifier(optimizer="adagrad", random_state=0).fit(X, y)
    with pytest.warns(ConvergenceWarning, match="distance to the minimum"):  # nearly separable: nearly at infinity
        further = GDClassifier(optimizer="adagrad", alpha=0.0, random_state=0).fit(X, y)
    assert ended.n_iter_ < further.n_iter_
    default = GDClassifier(random_state=0).fit(X, y)  # with a penalty
    of_minimum = log_loss(z, further.predict_proba(Z))
    assert max(log_loss(z, model.predict_proba(Z)) for model in (ended, default)) < 0.9 * of_minimum


def test_the_error_of_estimation_is_no_matter_where_rows_are_one_batch():
    """There, weights count as copies of rows, to the last epoch."""
    X, y = noisy_labels(80, 5)
    y = y + 0.5 * X[:, 0]
    weight = np.random.default_rng(0).integers(1, 4, size=80)
    weighted = GDRegressor().fit(X, y, weight)
    copied = GDRegressor().fit(X.repeat(weight, axis=0), y.repeat(weight))
    assert weighted.n_iter_ == copied.n_iter_
    np.testing.assert_allclose(weighted.coef_, copied.coef_, rtol=1e-7)


# -- the minimum, where it is asked for -------------------------------------------------------------------------------


def standardized(load):
    X, y = load(return_X_y=True)
    return StandardScaler().fit_transform(X), y


def log_loss_with_l1(model, X, y, alpha):
    raw = X @ model.coef_.ravel() + model.intercept_[0]
    return np.logaddexp(0.0, np.where(y == 1, -raw, raw)).mean() + alpha * np.abs(model.coef_).sum()


def test_momentum_that_overshoots_is_no_end():
    X, y = standardized(load_diabetes)
    parameters = {"optimizer": "adam", "learning_rate": 0.05, "batch_size": None, "tol": 1e-14}
    model = GDRegressor(**parameters, random_state=0).fit(X, y)
    solver = LinearRegression().fit(X, y)
    np.testing.assert_allclose(model.coef_, solver.coef_, atol=1e-4 * np.abs(solver.coef_).max())
    assert (model.converged_, model.stop_reason_) == (True, "converged")


@pytest.mark.parametrize("optimizer", ["auto", "sgd", "rmsprop", "adam", "yogi"])
def test_noise_of_batches_is_no_end(optimizer):
    """The coefficients that an L1 penalty leaves are those of another solver."""
    X, y = standardized(load_breast_cancer)
    model = GDClassifier(optimizer=optimizer, alpha=0.02, l1_ratio=1.0, tol=1e-8, max_iter=20_000, random_state=0)
    model.fit(X, y)
    solver = LogisticRegression(
        C=1.0 / (0.02 * len(y)), l1_ratio=1.0, solver="saga", tol=1e-8, max_iter=100_000, random_state=0
    )
    solver.fit(X, y)
    np.testing.assert_array_equal(model.coef_ != 0.0, solver.coef_ != 0.0)
    assert log_loss_with_l1(model, X, y, 0.02) < log_loss_with_l1(solver, X, y, 0.02) + 1e-6


@pytest.mark.parametrize("as_format", [np.asarray, sp.csr_array])
@pytest.mark.parametrize("n_epochs", [3, 10, 100])
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_the_certificate_is_the_distance_to_the_minimum(optimizer, n_epochs, as_format):
    """Half of it, or more, far from the minimum, and all of it nearby."""
    X, y = standardized(load_diabetes)
    alpha, constant = 0.01, 0.5 * np.var(y)
    settings = {"optimizer": optimizer, "batch_size": None, "alpha": alpha, "tol": 1e-12, "max_iter": n_epochs}
    with pytest.warns(ConvergenceWarning, match=f"max_iter={n_epochs}.*distance to the minimum"):
        model = GDRegressor(**settings).fit(as_format(X), y)
    solver = Ridge(alpha * len(y)).fit(X, y)

    def objective(model):
        return 0.5 * np.mean((X @ model.coef_.ravel() + model.intercept_ - y) ** 2) + 0.5 * alpha * np.sum(
            model.coef_**2
        )

    distance = (objective(model) - objective(solver)) / (constant - objective(solver))
    assert 0.5 * distance <= model.suboptimality_ <= 1.1 * distance + 1e-12
    assert not model.converged_
    assert model.history_["suboptimality"][-1] == model.suboptimality_


@pytest.mark.parametrize("loss", ["hinge", "absolute_error", "epsilon_insensitive"])
def test_losses_with_kinks_end_near_their_minimum(loss):
    """A much longer training gains hardly more."""
    X, y = standardized(load_breast_cancer if loss == "hinge" else load_diabetes)
    kind = GDClassifier if loss == "hinge" else GDRegressor
    model = kind(loss, alpha=0.01, random_state=0).fit(X, y)
    assert model.stop_reason_ == "converged"
    settings = {"batch_size": None, "learning_rate": "inverse_scaling", "tol": None, "max_iter": 20_000}
    longer = kind(loss, alpha=0.01, optimizer="adam", random_state=0, **settings).fit(X, y)

    def objective(model):
        losses = model.loss_.value(
            np.where(y == 1, 1.0, -1.0) if loss == "hinge" else y, raw(model), model.loss_.hyper()
        )
        return np.mean(losses) + 0.005 * np.sum(model.coef_**2)

    def raw(model):
        return X @ model.coef_.ravel() + model.intercept_

    constant = 1.0 if loss == "hinge" else np.mean(np.abs(y - np.median(y)))
    assert objective(model) - objective(longer) < 0.02 * constant


def test_correlated_columns_are_named_where_training_ends_far_from_the_minimum():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(500, 1)) + 1e-3 * rng.normal(size=(500, 10))
    y = (X - X.mean(axis=1, keepdims=True)) @ rng.normal(size=10) * 1e3
    with pytest.warns(ConvergenceWarning, match="strongly correlated"):
        model = GDRegressor(optimizer="sgd", alpha=1e-9, l1_ratio=1.0, batch_size=None).fit(X, y)
    assert model.suboptimality_ > 0.01
    assert not model.converged_


def test_why_training_ended():
    X, y = standardized(load_diabetes)
    assert GDRegressor(tol=None, max_iter=3).fit(X, y).stop_reason_ == "max_iter"
    assert GDRegressor(optimizer="adam", early_stopping=True, random_state=0).fit(X, y).stop_reason_ == "validation"
    model = GDRegressor(optimizer="adam", random_state=0).fit(X, y)
    assert (model.stop_reason_, model.converged_) == ("no progress", True)
    assert np.isnan(model.suboptimality_)
    assert model.partial_fit(X, y).stop_reason_ == "stream"


# -- what is said about it --------------------------------------------------------------------------------------------


def test_convergence_warning_only_where_it_is_deserved():
    X, y = load_diabetes(return_X_y=True, scaled=False)
    slow = GDRegressor(optimizer="sgd", learning_rate=0.1, average=False, max_iter=2, random_state=0)
    with pytest.warns(ConvergenceWarning, match="max_iter=2"):
        clone(slow).fit(X, y)
    slow.set_params(tol=None).fit(X, y)  # asked for two epochs, and got them
    GDRegressor(random_state=0).fit(X, y)


@pytest.mark.parametrize(
    ("optimizer", "learning_rate"), [("sgd", 1.0), ("adam", 1.0), ("lion", 100.0), ("ftrl", 100.0), ("adam", 100.0)]
)
def test_a_model_that_is_far_worse_than_a_constant_has_not_converged(optimizer, learning_rate):
    X, y = load_diabetes(return_X_y=True)
    model = GDRegressor(optimizer=optimizer, learning_rate=learning_rate, random_state=0)
    with pytest.warns(ConvergenceWarning, match="times that of the best constant model.*decrease learning_rate"):
        model.fit(X, y)
    assert not model.converged_
    assert model.score(X, y) < -1.0


def test_a_classifier_with_too_high_a_learning_rate_says_so():
    X, y = load_breast_cancer(return_X_y=True)
    with pytest.warns(ConvergenceWarning, match="decrease learning_rate"):
        assert not GDClassifier(optimizer="adam", learning_rate=100.0, random_state=0).fit(X, y).converged_


def test_a_validation_set_that_differs_is_no_fault_of_the_learning_rate():
    X, y = load_diabetes(return_X_y=True)
    model = GDRegressor(random_state=0)
    with pytest.warns(ConvergenceWarning, match="validation set seems to differ"):
        model.fit(X[:300], y[:300], X_val=X[300:], y_val=y[300:] + 1000.0)
    assert model.converged_


def signal(kind, as_format=np.asarray, seed=3):
    """Return an estimator's class, samples whose best model is known, and the score of that."""
    rng = np.random.default_rng(seed)
    X, w = rng.normal(size=(1500, 8)), rng.normal(size=8)
    predicted = X @ w
    if kind == "regression":
        y = predicted + 0.5 * rng.normal(size=len(X))
        return GDRegressor, as_format(X), y, LinearRegression().fit(X, y).score(X, y)
    y = (predicted + rng.logistic(size=len(X)) > 0).astype(int)
    return GDClassifier, as_format(X), y, LogisticRegression(C=np.inf).fit(X, y).score(X, y)


@pytest.mark.parametrize("as_format", [np.asarray, sp.csr_array])
@pytest.mark.parametrize("kind", ["regression", "classification"])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_small_learning_rate_takes_its_time(optimizer, kind, as_format):
    estimator, X, y, best = signal(kind, as_format)
    model = estimator(optimizer=optimizer, learning_rate=5e-4, random_state=0).fit(X, y)
    assert model.converged_
    assert model.score(X, y) > best - 0.02
    if kind == "classification":
        least = log_loss(y, LogisticRegression(C=np.inf).fit(X, y).predict_proba(X))
        assert log_loss(y, model.predict_proba(X)) < least + 0.05 * np.log(2.0)


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("kind", ["regression", "classification"])
@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adagrad", "rmsprop", "lion"])
def test_a_learning_rate_that_is_far_too_small_is_named(optimizer, kind, early_stopping):
    """The same in any unit of the target: the rate is one on standardized data."""
    estimator, X, y, _ = signal(kind)
    model = estimator(optimizer=optimizer, learning_rate=1e-7, early_stopping=early_stopping, random_state=0)
    with pytest.warns(ConvergenceWarning, match="learning rate is too small: increase learning_rate, which is 1e-07"):
        model.fit(X, 1e6 * y if kind == "regression" else y)
    assert not model.converged_
    assert model.n_iter_ < 10  # it does not go on for nothing


def test_a_small_learning_rate_is_named_at_max_iter():
    estimator, X, y, _ = signal("regression")
    model = estimator(optimizer="sgd", learning_rate=2e-5, max_iter=700, random_state=0)
    with pytest.warns(ConvergenceWarning, match="2e-05, may be too small. Increase max_iter"):
        model.fit(X, y)
    assert not model.converged_


@pytest.mark.parametrize("estimator", [GDRegressor, GDClassifier])
@pytest.mark.parametrize(("n_rows", "n_columns"), [(2000, 20), (200, 100)])
def test_a_rate_is_not_blamed_where_there_is_nothing_to_learn(estimator, n_rows, n_columns):
    rng = np.random.default_rng(4)
    X, y = rng.normal(size=(n_rows, n_columns)), rng.integers(0, 2, size=n_rows)
    model = estimator(optimizer="sgd", learning_rate=0.01, batch_size=32, random_state=0).fit(X, y)
    assert model.converged_
    assert model.n_iter_ < 50


@pytest.mark.parametrize(
    ("model", "n_steps"),
    [
        (GDClassifier(hidden_layer_sizes=(3,)), 200),  # too few neurons to start at the linear model
        (GDClassifier(hidden_layer_sizes=(3,), activation="logistic"), 300),
        (GDClassifier(hidden_layer_sizes=(3,), tol=1e-2), 300),
        (GDRegressor(hidden_layer_sizes=(1,)), 300),
    ],
)
def test_for_how_many_steps_networks_wait(model, n_steps):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(640, 3)), rng.integers(0, 3, 640)
    model.set_params(learning_rate=1e-12, random_state=0).fit(X, y.astype(float) if model.loss != "log_loss" else y)
    assert (model.n_iter_, model.stop_reason_) == (1 + n_steps // 20, "no progress")
