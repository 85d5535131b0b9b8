"""Newton's steps, and the penalty that the data choose, against solvers of scikit-learn and SciPy and brute force."""

import warnings
from copy import copy
from functools import cache

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.optimize import minimize
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris, load_wine
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import ElasticNet, LogisticRegression, QuantileRegressor, Ridge, RidgeCV
from sklearn.metrics import log_loss
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, SVR

from skgd import GDClassifier, GDRegressor
from skgd.callbacks import Checkpoint
from skgd.coordinates import Coordinates
from skgd.curvature import Problem
from skgd.losses import (
    EpsilonInsensitive,
    Gamma,
    LogLoss,
    ModifiedHuber,
    Poisson,
    Quantile,
    SoftmaxLoss,
    SquaredError,
    SquaredHinge,
    Tweedie,
)
from skgd.objective import Objective
from skgd.penalty import leave_one_out, minimum

DIABETES, PROGRESSION = load_diabetes(return_X_y=True, scaled=False)
CANCER, MALIGNANT = load_breast_cancer(return_X_y=True)
both_formats = pytest.mark.parametrize("as_format", [np.asarray, sp.csr_array])


def problem(loss, y, n_outputs=1, alpha=0.01, weight=None, X=None):
    X = StandardScaler().fit_transform(DIABETES[: len(y)]) if X is None else X
    softmax = isinstance(loss, SoftmaxLoss)
    objective = Objective(loss, X.shape[1], n_outputs, True, alpha, 0.0, Coordinates(), exclusive_classes=softmax)
    return Problem(objective, X, y, weight)


# -- the minimum ------------------------------------------------------------------------------------------------------


@both_formats
@pytest.mark.parametrize("weighted", [False, True])
def test_default_regression_is_ridge_with_the_strength_it_names(as_format, weighted):
    weight = np.random.default_rng(0).random(len(PROGRESSION)) if weighted else None
    y = np.column_stack([PROGRESSION, -3.0 * PROGRESSION + DIABETES[:, 2] ** 2])
    model = GDRegressor().fit(as_format(DIABETES), y, sample_weight=weight)
    of_columns, of_targets = (StandardScaler().fit(values, sample_weight=weight) for values in (DIABETES, y))
    Z, targets = of_columns.transform(DIABETES), of_targets.transform(y)
    total = len(y) if weight is None else weight.sum()
    ridge = Ridge(alpha=total * model.alpha_).fit(Z, targets, sample_weight=weight)
    np.testing.assert_allclose(of_targets.transform(model.predict(DIABETES)), ridge.predict(Z), atol=1e-8)


@both_formats
@pytest.mark.parametrize("load", [load_breast_cancer, load_wine, load_iris])
def test_default_classification_is_logistic_regression_with_the_strength_it_names(load, as_format):
    X, y = load(return_X_y=True)
    model = GDClassifier().fit(as_format(X), y)
    Z = StandardScaler().fit_transform(X)
    solver = LogisticRegression(C=1.0 / (len(y) * model.alpha_), tol=1e-10, max_iter=10000).fit(Z, y)
    np.testing.assert_allclose(model.predict_proba(X), solver.predict_proba(Z), atol=1e-5)


@pytest.mark.parametrize("alpha", [0.0, 1e-4, 1.0])
def test_a_number_for_alpha_is_a_penalty_on_the_users_coefficients(alpha):
    model = GDRegressor(alpha=alpha).fit(DIABETES, PROGRESSION)
    ridge = Ridge(alpha=len(PROGRESSION) * alpha, solver="svd").fit(DIABETES, PROGRESSION)
    np.testing.assert_allclose(model.coef_, ridge.coef_, rtol=1e-6)
    assert model.alpha_ == alpha


def test_the_strength_on_standardized_data_gives_the_same_model():
    Z = StandardScaler().fit_transform(CANCER)
    model = GDClassifier().fit(CANCER, MALIGNANT)
    named = GDClassifier(alpha=model.alpha_).fit(Z, MALIGNANT)
    np.testing.assert_allclose(named.predict_proba(Z), model.predict_proba(CANCER), atol=1e-6)


OF_NUMBERS = [SquaredError(), Poisson(), Gamma(), Tweedie(1.5)]


@pytest.mark.parametrize("loss", [*OF_NUMBERS, LogLoss(), SquaredHinge(), ModifiedHuber()], ids=repr)
@pytest.mark.parametrize("with_outliers", [False, True])
def test_smooth_losses_reach_the_minimum_that_scipy_finds(loss, with_outliers):
    X = StandardScaler().fit_transform(DIABETES)
    if with_outliers:
        X[:3] *= 30.0
    y = PROGRESSION / 50.0 if loss in OF_NUMBERS else np.where(PROGRESSION > 140.0, *loss.label_values[::-1])
    model = (GDRegressor if loss in OF_NUMBERS else GDClassifier)(loss, alpha=0.1).fit(X, y)

    def objective(parameters):
        coef, intercept = parameters[:-1], parameters[-1]
        return np.mean(loss.value(y, X @ coef + intercept, loss.hyper())) + 0.05 * coef @ coef

    found = minimize(objective, np.zeros(X.shape[1] + 1), method="BFGS", options={"gtol": 1e-9, "maxiter": 5000})
    assert objective(np.append(model.coef_.ravel(), model.intercept_)) <= found.fun * (1.0 + 1e-7)


# -- how far away the minimum is --------------------------------------------------------------------------------------


@both_formats
@pytest.mark.parametrize("l1_ratio", [0.3, 1.0])
@pytest.mark.parametrize("alpha", [1e-3, 0.1, 2.0])
def test_the_elastic_net_is_that_of_coordinate_descent(l1_ratio, alpha, as_format):
    Z = StandardScaler().fit_transform(DIABETES)
    model = GDRegressor(alpha=alpha, l1_ratio=l1_ratio, tol=1e-12).fit(as_format(Z), PROGRESSION)
    solver = ElasticNet(alpha=alpha, l1_ratio=l1_ratio, tol=1e-12, max_iter=100_000).fit(Z, PROGRESSION)
    np.testing.assert_allclose(model.coef_, solver.coef_, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(model.coef_ != 0.0, solver.coef_ != 0.0)
    assert model.stop_reason_ == "converged"


@pytest.mark.parametrize("alpha", [1e-3, 0.01, 0.1, 10.0])
def test_the_lasso_of_more_columns_than_rows_is_that_of_coordinate_descent(alpha):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 150))
    y = X[:, :8] @ rng.normal(size=8) + 0.3 * rng.normal(size=60)
    model = GDRegressor(alpha=alpha, l1_ratio=1.0, tol=1e-10).fit(X, y)
    solver = ElasticNet(alpha=alpha, l1_ratio=1.0, tol=1e-12, max_iter=1_000_000).fit(X, y)
    assert_same_objective(model, solver, lambda model: elastic_net(model, X, y, alpha), 1e-9)
    assert np.count_nonzero(model.coef_) == np.count_nonzero(solver.coef_)
    assert (np.count_nonzero(model.coef_) == 0) == (alpha == 10.0)


@pytest.mark.parametrize("load", [load_breast_cancer, load_wine, load_iris])
@pytest.mark.parametrize("l1_ratio", [0.5, 1.0])
def test_elastic_net_of_classes_is_that_of_saga(load, l1_ratio):
    X, y = load(return_X_y=True)
    Z, alpha = StandardScaler().fit_transform(X), 0.02
    model = GDClassifier(alpha=alpha, l1_ratio=l1_ratio, tol=1e-10).fit(Z, y)
    C = 1.0 / (alpha * len(y))
    solver = LogisticRegression(C=C, l1_ratio=l1_ratio, solver="saga", tol=1e-10, max_iter=100_000, random_state=0)
    solver.fit(Z, y)
    np.testing.assert_allclose(model.coef_, solver.coef_, atol=1e-4)
    np.testing.assert_array_equal(model.coef_ != 0.0, solver.coef_ != 0.0)


@pytest.mark.parametrize("tol", ["auto", 1e-4, 1e-6])
@pytest.mark.parametrize("quantile", [0.5, 0.1, 0.95])
def test_quantiles_are_those_of_linear_programming(quantile, tol):
    model = GDRegressor(Quantile(quantile), alpha=0.0, tol=tol).fit(DIABETES, PROGRESSION)
    solver = QuantileRegressor(quantile=quantile, alpha=0.0).fit(DIABETES, PROGRESSION)

    def pinball(prediction):
        residuals = PROGRESSION - prediction
        return np.maximum(quantile * residuals, (quantile - 1.0) * residuals).mean()

    lowest, constant = pinball(solver.predict(DIABETES)), pinball(np.quantile(PROGRESSION, quantile))
    distance = (pinball(model.predict(DIABETES)) - lowest) / (constant - lowest)
    assert distance <= {"auto": 0.01, 1e-4: 2e-3, 1e-6: 1e-4}[tol]
    assert model.stop_reason_ == "converged"


@pytest.mark.parametrize("C", [0.01, 1.0])
def test_hinge_is_that_of_libsvm(C):
    Z, signs = StandardScaler().fit_transform(CANCER), np.where(MALIGNANT == 1, 1.0, -1.0)
    alpha = 1.0 / (C * len(signs))
    model = GDClassifier("hinge", alpha=alpha, tol=1e-4).fit(Z, MALIGNANT)
    solver = SVC(kernel="linear", C=C, tol=1e-8).fit(Z, MALIGNANT)

    def objective(model):
        losses = np.maximum(1.0 - signs * model.decision_function(Z), 0.0)
        return losses.mean() + 0.5 * alpha * np.square(model.coef_).sum()

    constant, lowest = 2.0 * np.mean(MALIGNANT == 0), objective(solver)
    assert objective(model) - lowest <= 2e-4 * (constant - lowest)  # the estimate is not as sharp with kinks


def test_hinge_of_separable_classes_without_a_penalty_comes_to_rest():
    X, y = load_iris(return_X_y=True)
    model = GDClassifier("hinge", alpha=0.0).fit(X, y == 0)
    assert model.score(X, y == 0) == 1.0
    assert model.stop_reason_ == "converged"
    assert np.maximum(1.0 - np.where(y == 0, 1.0, -1.0) * model.decision_function(X), 0.0).mean() < 0.01


def test_support_vector_regression_is_that_of_libsvm():
    Z, alpha, epsilon = StandardScaler().fit_transform(DIABETES), 1e-3, 20.0
    model = GDRegressor(EpsilonInsensitive(epsilon), alpha=alpha, tol=1e-4).fit(Z, PROGRESSION)
    solver = SVR(kernel="linear", C=1.0 / (alpha * len(PROGRESSION)), epsilon=epsilon, tol=1e-6).fit(Z, PROGRESSION)

    def objective(model):
        losses = np.maximum(np.abs(model.predict(Z) - PROGRESSION) - epsilon, 0.0)
        return losses.mean() + 0.5 * alpha * np.square(model.coef_).sum()

    assert_same_objective(model, solver, objective, 1e-3)


def elastic_net(model, X, y, alpha):
    return 0.5 * np.square(model.predict(X) - y).mean() + alpha * np.abs(model.coef_).sum()


def assert_same_objective(model, solver, objective, rel):
    assert objective(model) <= objective(solver) * (1.0 + rel)


@pytest.mark.parametrize("loss", [SquaredError(), LogLoss(), SoftmaxLoss()], ids=repr)
def test_the_decrement_is_the_distance_to_the_minimum(loss):
    rng = np.random.default_rng(0)
    n_outputs = 3 if isinstance(loss, SoftmaxLoss) else 1
    y = np.digitize(PROGRESSION, [100.0, 180.0]) if n_outputs == 3 else (PROGRESSION > 140.0).astype(int)
    y = PROGRESSION[:, np.newaxis] / 77.0 if isinstance(loss, SquaredError) else y
    at_hand = problem(loss, y, n_outputs)
    start = at_hand.at(np.zeros((DIABETES.shape[1] + 1, at_hand.basis.shape[1])))
    lowest = minimum(at_hand, start, 1e-14)
    near = at_hand.at(lowest.parameters + 0.05 * rng.normal(size=lowest.parameters.shape))
    gradient = at_hand.gradient(near)
    decrement = at_hand.newton_step(near, gradient)[1].sum()
    exact = isinstance(loss, SquaredError)
    assert decrement == pytest.approx(near.value - lowest.value, rel=1e-6 if exact else 0.1)


def test_the_gradient_is_the_finite_difference():
    y = np.digitize(PROGRESSION, [100.0, 180.0])
    at_hand = problem(SoftmaxLoss(), y, 3)
    rng = np.random.default_rng(0)
    there, direction = 0.3 * rng.normal(size=(2, DIABETES.shape[1] + 1, 2))
    slope = (at_hand.at(there + 1e-6 * direction).value - at_hand.at(there - 1e-6 * direction).value) / 2e-6
    assert (at_hand.gradient(at_hand.at(there)) * direction).sum() == pytest.approx(slope, rel=1e-7)


@pytest.mark.parametrize("loss", [SquaredError(), LogLoss(), SoftmaxLoss()], ids=repr)
@pytest.mark.parametrize("piece", [2**17, 200])
def test_the_hessian_is_the_finite_difference_of_the_gradient(loss, piece, monkeypatch):
    monkeypatch.setattr("skgd.curvature._PIECE", piece)
    n_outputs = 3 if isinstance(loss, SoftmaxLoss) else 1
    y = np.digitize(PROGRESSION, [100.0, 180.0]) if n_outputs == 3 else (PROGRESSION > 140.0).astype(int)
    y = PROGRESSION[:, np.newaxis] / 77.0 if isinstance(loss, SquaredError) else y
    weight = np.random.default_rng(1).uniform(0.5, 2.0, len(y))
    at_hand = problem(loss, y, n_outputs, weight=weight)
    there, direction = 0.3 * np.random.default_rng(0).normal(size=(2, DIABETES.shape[1] + 1, at_hand.basis.shape[1]))
    before, after = (at_hand.gradient(at_hand.at(there + h * direction)) for h in (-1e-6, 1e-6))
    [hessian] = at_hand.hessians(at_hand.curvatures(at_hand.at(there).raw))
    product = (hessian @ direction.T.ravel()).reshape(direction.shape[::-1]).T
    np.testing.assert_allclose(product, (after - before) / 2e-6, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("y", [PROGRESSION, PROGRESSION > 140.0], ids=["regression", "classification"])
def test_pieces_make_no_difference(y, monkeypatch):
    model = GDRegressor() if y.dtype == float else GDClassifier()
    whole = clone(model).fit(DIABETES, y)
    monkeypatch.setattr("skgd.curvature._PIECE", 200)
    in_pieces = clone(model).fit(DIABETES, y)
    np.testing.assert_allclose(in_pieces.coef_, whole.coef_, rtol=1e-9)
    np.testing.assert_allclose(in_pieces._state.iterate.slots[0], whole._state.iterate.slots[0], rtol=1e-9)


@pytest.mark.parametrize("weighted", [False, True])
def test_many_rows_have_least_squares_whatever_outliers_do_to_scales(weighted):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(3000, 6)) @ rng.normal(size=(6, 6)) + 5.0
    X[0] *= 1e4
    X[1, 2] = 1e6
    Y = X @ rng.normal(size=(6, 2)) + rng.normal(size=(3000, 2))
    weight = rng.uniform(0.1, 3.0, 3000) if weighted else None
    root = np.sqrt(np.ones(3000) if weight is None else weight)[:, np.newaxis]
    solver = np.linalg.lstsq(root * np.column_stack([X, np.ones(3000)]), root * Y, rcond=None)[0]
    model = GDRegressor().fit(X, Y, sample_weight=weight)
    np.testing.assert_allclose(model.coef_, solver[:-1].T, rtol=1e-6)
    np.testing.assert_allclose(model.intercept_, solver[-1], rtol=1e-6)


# -- rows left out ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", [SquaredError(), LogLoss(), SoftmaxLoss()], ids=repr)
@pytest.mark.parametrize("weighted", [False, True])
def test_losses_of_rows_left_out_are_those_of_brute_force(loss, weighted):
    n_rows, n_outputs = 40, 3 if isinstance(loss, SoftmaxLoss) else 1
    t = PROGRESSION[:n_rows]
    y = np.digitize(t, [90.0, 150.0]) if n_outputs == 3 else (t > 120.0).astype(int)
    y = t[:, np.newaxis] / 77.0 if isinstance(loss, SquaredError) else y
    copies = np.resize([1.0, 2.0, 3.0], n_rows) if weighted else np.ones(n_rows)
    X = StandardScaler().fit_transform(DIABETES[:n_rows, :4])
    whole = problem(loss, y, n_outputs, alpha=0.05, weight=copies, X=X)
    start = whole.at(np.zeros((5, whole.basis.shape[1])))
    approximate, _ = leave_one_out(whole, minimum(whole, start, 1e-14), copies)
    exact = []
    for row in range(n_rows):
        fewer = copies.copy()
        fewer[row] -= 1.0
        # The penalty stays what it was, while the sum of the weights falls by one.
        part = problem(loss, y, n_outputs, alpha=0.05 * copies.sum() / fewer.sum(), weight=fewer, X=X)
        point = minimum(part, part.at(start.parameters), 1e-14)
        exact.append(part.losses(point.raw)[row].sum())
    np.testing.assert_allclose(approximate, exact, rtol=1e-8 if isinstance(loss, SquaredError) else 0.1, atol=1e-3)
    # The choice depends on the sum.
    assert approximate.sum() == pytest.approx(np.sum(exact), rel=0.015 if n_outputs == 3 else 5e-3)


@cache
def rare_in_categories(seed, n_rows, rarity, n_classes=2):
    """Draw two categorical features, in one-hot columns, and classes, of which the last is rare."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, [50, 10], (n_rows + 20_000, 2))
    X = np.hstack([np.eye(50)[codes[:, 0]], np.eye(10)[codes[:, 1]]])
    score = X @ rng.normal(0.0, 0.5, (60, n_classes)) + np.append(np.zeros(n_classes - 1), np.log(rarity))
    y = (score + rng.gumbel(size=score.shape)).argmax(axis=1)
    return X[:n_rows], X[n_rows:], y[:n_rows], y[n_rows:]


@pytest.mark.parametrize("n_classes", [2, 3])
def test_losses_of_rows_left_out_are_those_of_brute_force_where_they_move_far(n_classes):
    """Without the only rare row of a category, the class becomes ever less likely there."""
    X, _, y, _ = rare_in_categories(0, 2000, 0.01, n_classes)
    X, n_outputs = StandardScaler().fit_transform(X), 1 if n_classes == 2 else 3
    whole = problem(LogLoss() if n_outputs == 1 else SoftmaxLoss(), y, n_outputs, alpha=1 / 2000, X=X)
    point = minimum(whole, whole.at(np.zeros((61, whole.basis.shape[1]))), 1e-14)
    by_step, on_lines = leave_one_out(whole, point, np.ones(2000))
    rare, exact = np.flatnonzero(y == n_classes - 1), []
    for row in rare:
        others = copy(whole)
        others.share = np.where(np.arange(2000) == row, 0.0, whole.share)
        there = minimum(others, others.at(point.parameters), 1e-14)
        exact.append(others.losses(there.raw)[row].sum())
    assert by_step[rare].sum() < 0.74 * np.sum(exact)
    assert on_lines[rare].sum() == pytest.approx(np.sum(exact), rel=0.22)


def test_which_class_is_called_positive_does_not_matter_to_rows_left_out():
    """Also where they move farther than a line's few steps go: these begin where Newton's step ends."""
    rng = np.random.default_rng(0)
    X, y = StandardScaler().fit_transform(rng.standard_t(1.5, (600, 3))), (rng.random(600) < 0.03).astype(int)
    losses = []
    for labels in (y, 1 - y):
        whole = problem(LogLoss(), labels, 1, alpha=1e-4, X=X)
        losses.append(leave_one_out(whole, minimum(whole, whole.at(np.zeros((4, 1))), 1e-14), np.ones(600))[1])
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-6, atol=1e-9)


def test_weak_signs_of_classes_do_not_choose_a_weak_penalty():
    """Where a kink makes the others steeper, lines are no shorter than Newton's step."""
    rng = np.random.default_rng(4)
    X = rng.normal(size=(200, 150))
    score = X[:, :15].sum(axis=1) / 3.0 + 0.5 * rng.normal(size=200)
    alphas = [GDClassifier("squared_hinge").fit(X, y).alpha_ for y in (score > 0.0, np.digitize(score, [-0.5, 0.5]))]
    np.testing.assert_allclose(alphas, [0.5, 5.0])


@both_formats
@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize(("n_rows", "rarity"), [(2000, 0.01), (20_000, 0.001)])
@pytest.mark.parametrize("seed", range(3))
def test_a_rare_class_of_categories_gets_the_penalty_it_needs(seed, n_rows, rarity, n_classes, as_format):
    X, Z, y, z = rare_in_categories(seed, n_rows, rarity, n_classes)
    labels = range(n_classes)
    prior = log_loss(z, np.tile(np.bincount(y) / n_rows, (len(z), 1)), labels=labels)
    best = min(log_loss(z, LogisticRegression(C=C).fit(X, y).predict_proba(Z), labels=labels) for C in (0.1, 1.0))
    loss = log_loss(z, GDClassifier(random_state=seed).fit(as_format(X), y).predict_proba(Z), labels=labels)
    assert loss <= best + 0.04 * prior


@pytest.mark.parametrize(("model", "y"), [(GDRegressor(), PROGRESSION), (GDClassifier(), PROGRESSION > 140.0)])
@pytest.mark.parametrize("seed", range(3))
def test_whole_number_weights_are_copies(model, y, seed):
    rng = np.random.default_rng(seed)
    copies = rng.integers(0, 4, len(y))
    weighted = clone(model).fit(DIABETES, y, sample_weight=copies)
    copied = clone(model).fit(np.repeat(DIABETES, copies, axis=0), np.repeat(y, copies))
    assert weighted.alpha_ == pytest.approx(copied.alpha_, rel=1e-9)
    np.testing.assert_allclose(weighted.coef_, copied.coef_, rtol=1e-6)


@pytest.mark.parametrize("n_rows", [30, 60, 200])
@pytest.mark.parametrize("noise", [0.1, 3.0])
def test_new_rows_are_predicted_as_well_as_with_cross_validated_penalties(n_rows, noise):
    rng = np.random.default_rng(n_rows)
    X = rng.normal(size=(n_rows + 2000, 20)) * np.geomspace(1e-3, 1e3, 20)
    y = (X / np.geomspace(1e-3, 1e3, 20)) @ rng.normal(size=20) + noise * rng.normal(size=len(X))
    scaler = StandardScaler().fit(X[:n_rows])
    rival = RidgeCV(np.logspace(-4, 4, 33)).fit(scaler.transform(X[:n_rows]), y[:n_rows])
    model = GDRegressor().fit(X[:n_rows], y[:n_rows])
    score = rival.score(scaler.transform(X[n_rows:]), y[n_rows:])
    assert model.score(X[n_rows:], y[n_rows:]) > score - 0.03


# -- what lasts -------------------------------------------------------------------------------------------------------


def test_a_stream_goes_on_from_the_minimum():
    """AdaGrad's memory is that of the rows that were fitted: its first steps are no longer than its later ones."""
    model = GDClassifier().fit(CANCER[:400], MALIGNANT[:400])
    fitted = model.score(CANCER[400:], MALIGNANT[400:])
    for start in range(0, 400, 50):
        model.partial_fit(CANCER[start : start + 50], MALIGNANT[start : start + 50])
        assert model.score(CANCER[400:], MALIGNANT[400:]) > fitted - 0.03


def test_an_interrupt_before_the_first_step_leaves_nothing_to_remember(monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("skgd.newton.NewtonEpochs.take", interrupt)
    model = GDRegressor(alpha=0.1)
    with pytest.warns(UserWarning, match="interrupted"):
        model.fit(DIABETES, PROGRESSION)
    assert not model._state.iterate.slots[0].any()


def test_correlated_columns_do_not_hinder():
    x = np.linspace(-2.0, 3.0, 500)[:, np.newaxis]
    X = x ** np.arange(1, 8)
    y = np.sin(2.0 * x.ravel()) + 0.1 * np.random.default_rng(0).normal(size=500)
    solver = np.linalg.lstsq(np.column_stack([X, np.ones(500)]), y, rcond=None)[0]
    least = np.mean((np.column_stack([X, np.ones(500)]) @ solver - y) ** 2)
    model = GDRegressor(alpha=0.0).fit(X, y)
    assert np.mean((model.predict(X) - y) ** 2) == pytest.approx(least, rel=1e-4)


def test_expected_counts_of_rare_classes_are_the_observed_ones():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(20000, 5))
    y = np.where(rng.random(20000) < 0.001 * np.exp(X[:, 0]), 2, (X[:, 1] > 0.0).astype(int))
    model = GDClassifier().fit(X, y)
    np.testing.assert_allclose(model.predict_proba(X).sum(axis=0), np.bincount(y), rtol=1e-5)
    labels = np.column_stack([y == 2, X[:, 1] > 0.0])
    model = GDClassifier().fit(X, labels)
    np.testing.assert_allclose(model.predict_proba(X).sum(axis=0), labels.sum(axis=0), rtol=1e-3)


@pytest.mark.parametrize("loss", ["hinge", "absolute_error", "quantile", "epsilon_insensitive"])
@pytest.mark.parametrize("shape", [(20, 20), (60, 70), (2, 2)])
def test_rows_that_can_be_fitted_exactly_are(loss, shape):
    """Without a penalty, no row is near a kink at the start, and the minimum is not unique."""
    rng = np.random.default_rng(0)
    A = rng.normal(size=shape)
    y = np.arange(len(A)) % 2 if loss == "hinge" else rng.normal(size=len(A))
    model = (GDClassifier if loss == "hinge" else GDRegressor)(loss, alpha=0.0).fit(A, y)
    assert model.score(A, y) > 0.98
    assert model.stop_reason_ == "converged"


@pytest.mark.parametrize(
    "model",
    [GDClassifier("hinge", alpha=1.0), GDClassifier("hinge", alpha=1e3, l1_ratio=1.0), GDClassifier(alpha=1e3)],
    ids=repr,
)
def test_where_a_constant_is_the_minimum_training_ends_there(model):
    rng = np.random.default_rng(0)
    A, y = rng.normal(size=(200, 3)), (rng.random(200) > 0.8).astype(int)
    assert model.fit(A, y).converged_
    assert np.abs(model.coef_).max() < 0.05


@pytest.mark.parametrize("loss", ["hinge", "absolute_error", "log_loss"])
def test_steps_go_on_from_a_checkpoint_where_they_were(loss, tmp_path):
    y = MALIGNANT if loss != "absolute_error" else CANCER[:, 0] ** 2
    model = (GDRegressor if loss == "absolute_error" else GDClassifier)(loss, alpha=1e-4, tol=1e-4)
    whole = clone(model).fit(CANCER, y)
    part = clone(model).set_params(max_iter=3).set_callbacks(Checkpoint(tmp_path / "file"))
    with pytest.warns(ConvergenceWarning):
        part.fit(CANCER, y)
    resumed = Checkpoint.load(tmp_path / "file").set_params(max_iter=1000).fit(CANCER, y)
    assert 3 < resumed.n_iter_ == whole.n_iter_
    np.testing.assert_allclose(resumed.coef_, whole.coef_, rtol=1e-6)
    assert clone(model).fit(CANCER, y).stop_reason_ == resumed.stop_reason_


def test_a_validation_set_ends_training_whatever_the_loss():
    labels = MALIGNANT == 1
    for held_out in (labels[400:], ~labels[400:]):
        model = GDClassifier("hinge", tol=1e-3)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # those of labels that say the opposite
            model.fit(CANCER[:400], labels[:400], X_val=CANCER[400:], y_val=held_out)
        assert model.stop_reason_ == "validation"
        assert model.best_iter_ == np.argmin(model.history_["validation_loss"]) + 1
