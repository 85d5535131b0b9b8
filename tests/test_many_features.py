"""Tables of many dense features: more than samples, or correlated, against solvers of scikit-learn and SciPy."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression, QuantileRegressor, Ridge, RidgeCV
from sklearn.metrics import d2_pinball_score, log_loss
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skgd import GDClassifier, GDRegressor
from skgd.coordinates import Coordinates
from skgd.correlation import squared_correlations
from skgd.curvature import Problem
from skgd.losses import (
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
from skgd.newton import NewtonEpochs
from skgd.objective import Objective
from skgd.penalty import minimum
from skgd.spanned import SpannedProblem

both_formats = pytest.mark.parametrize("as_format", [np.asarray, sp.csr_array])


@pytest.fixture
def newton(monkeypatch):
    """Count the epochs that are Newton steps over all samples."""
    epochs, take = [], NewtonEpochs.take

    def counted(self, *args):
        epochs.append(self)
        return take(self, *args)

    monkeypatch.setattr(NewtonEpochs, "take", counted)
    return epochs


def wide_table(n_rows=60, n_columns=500, seed=0):
    """Return groups of correlated features in different units, more than samples, and scores that depend on some."""
    rng = np.random.default_rng(seed)
    hidden = rng.normal(size=(n_rows, n_columns // 10))
    X = np.repeat(hidden, 10, axis=1) + rng.normal(size=(n_rows, n_columns))
    scores = hidden[:, :5] @ rng.normal(size=5)
    return X * rng.gamma(1.0, size=n_columns) + rng.normal(size=n_columns), scores / scores.std()


X, SCORES = wide_table()
LABELS = {2: (SCORES > 0.3).astype(int), 3: np.digitize(SCORES, [-0.5, 0.7])}


# -- more features than samples ---------------------------------------------------------------------------------------


@both_formats
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("fit_intercept", [False, True])
def test_default_regression_is_ridge_with_the_strength_it_names(as_format, weighted, fit_intercept, newton):
    weight = np.random.default_rng(0).random(len(X)) if weighted else None
    y = np.column_stack([SCORES, X[:, 3] - SCORES])
    model = GDRegressor(fit_intercept=fit_intercept).fit(as_format(X), y, sample_weight=weight)
    assert newton
    inputs, targets = (StandardScaler(with_mean=fit_intercept).fit(values, sample_weight=weight) for values in (X, y))
    if not fit_intercept:
        inputs.scale_, targets.scale_ = (np.sqrt(np.average(values**2, axis=0, weights=weight)) for values in (X, y))
    total = len(y) if weight is None else weight.sum()
    ridge = Ridge(alpha=total * model.alpha_, fit_intercept=fit_intercept)
    ridge.fit(inputs.transform(X), targets.transform(y), sample_weight=weight)
    expected = ridge.predict(inputs.transform(X))
    np.testing.assert_allclose(targets.transform(model.predict(X)), expected, atol=1e-8)


@both_formats
@pytest.mark.parametrize("n_classes", [2, 3])
def test_default_classification_is_logistic_regression_with_the_strength_it_names(n_classes, as_format, newton):
    y = LABELS[n_classes]
    model = GDClassifier().fit(as_format(X), y)
    assert newton
    assert model.stop_reason_ == "converged"
    Z = StandardScaler().fit_transform(X)
    solver = LogisticRegression(C=1.0 / (len(y) * model.alpha_), tol=1e-10, max_iter=10000).fit(Z, y)
    np.testing.assert_allclose(model.predict_proba(X), solver.predict_proba(Z), atol=1e-5)


@pytest.mark.parametrize("loss", [LogLoss(), SquaredHinge(), ModifiedHuber()], ids=repr)
def test_smooth_losses_reach_the_minimum_that_scipy_finds(loss):
    inputs, scores = wide_table(30, 60)
    Z, y = StandardScaler().fit_transform(inputs), np.where(scores > 0.0, *loss.label_values[::-1])
    model = GDClassifier(loss).fit(Z, y)

    def objective(parameters):
        coef, intercept = parameters[:-1], parameters[-1]
        return np.mean(loss.value(y, Z @ coef + intercept, loss.hyper())) + 0.5 * model.alpha_ * coef @ coef

    found = minimize(objective, np.zeros(Z.shape[1] + 1), method="BFGS", options={"gtol": 1e-9, "maxiter": 5000})
    assert objective(np.append(model.coef_.ravel(), model.intercept_)) <= found.fun * (1.0 + 1e-6)


@pytest.mark.parametrize("loss", [SquaredError(), Poisson(), Gamma(), Tweedie(1.5), LogLoss()], ids=repr)
def test_minima_among_combinations_of_samples_are_minima(loss):
    y = LABELS[2] if isinstance(loss, LogLoss) else np.exp(SCORES)[:, np.newaxis]
    scale = StandardScaler().fit(X)
    coordinates = Coordinates(center=scale.mean_, scale=scale.scale_)
    objective = Objective(loss, X.shape[1], 1, True, 0.05, 0.0, coordinates, standardized_penalty=True)
    found = []
    for kind in (Problem, SpannedProblem):
        problem = kind(objective, X, y, None)
        point = minimum(problem, problem.at(problem.parameters(np.zeros(X.shape[1] + 1))), 1e-20)
        found.append(problem.flat(point.parameters))
    np.testing.assert_allclose(found[1], found[0], atol=1e-7 * np.abs(found[0]).max())


@pytest.mark.parametrize("loss", [LogLoss(), SoftmaxLoss()], ids=repr)
def test_combinations_of_samples_have_the_same_objective(loss):
    coupled = isinstance(loss, SoftmaxLoss)
    y, n_outputs = (LABELS[3], 3) if coupled else (np.where(LABELS[2], 1.0, -1.0), 1)
    objective = Objective(loss, X.shape[1], n_outputs, True, 0.1, 0.0, Coordinates(), exclusive_classes=coupled)
    whole, spanned = (kind(objective, X, y, None) for kind in (Problem, SpannedProblem))
    rng = np.random.default_rng(1)
    theta = objective.join([(X.T @ rng.normal(size=(len(X), n_outputs)) / 1e3, rng.normal(size=n_outputs))], float)
    points = [problem.at(problem.parameters(theta)) for problem in (whole, spanned)]
    assert points[1].value == pytest.approx(points[0].value, rel=1e-10)
    np.testing.assert_allclose(points[1].raw, points[0].raw, atol=1e-10)
    flat = [problem.flat(point.parameters) for problem, point in zip((whole, spanned), points, strict=True)]
    np.testing.assert_allclose(flat[1], flat[0], atol=1e-10)
    assert spanned.rows.shape == (len(X), len(X) + 1)


def test_predictions_are_as_good_as_those_of_the_best_penalty():
    inputs, scores = wide_table(1100, 600, seed=3)
    train, new = slice(100), slice(100, None)
    rng = np.random.default_rng(0)
    y = scores + 0.5 * rng.normal(size=len(scores))
    ridge = make_pipeline(StandardScaler(), RidgeCV(np.logspace(-3, 5, 33))).fit(inputs[train], y[train])
    model = GDRegressor().fit(inputs[train], y[train])
    assert model.score(inputs[new], y[new]) > ridge.score(inputs[new], y[new]) - 0.01
    labels = y > 0.3
    classifier = GDClassifier().fit(inputs[train], labels[train])
    solvers = [
        make_pipeline(StandardScaler(), LogisticRegression(C=C, max_iter=5000)) for C in 10.0 ** np.arange(-5, 1)
    ]
    losses = [log_loss(labels[new], s.fit(inputs[train], labels[train]).predict_proba(inputs[new])) for s in solvers]
    assert log_loss(labels[new], classifier.predict_proba(inputs[new])) < min(losses) + 0.02


@pytest.mark.parametrize("loss", ["log_loss", "squared_hinge"])
def test_weights_are_copies(loss):
    inputs, scores = wide_table(400, 500)
    y = scores + 0.8 * np.random.default_rng(0).normal(size=400) > 0.0
    weighted = GDClassifier(loss).fit(inputs, y, sample_weight=np.full(400, 3.0))
    copied = GDClassifier(loss).fit(np.repeat(inputs, 3, axis=0), np.repeat(y, 3))
    assert weighted.alpha_ == pytest.approx(copied.alpha_)
    np.testing.assert_allclose(weighted.decision_function(inputs), copied.decision_function(inputs), atol=1e-6)


@pytest.mark.parametrize("loss", ["log_loss", "squared_hinge"])
def test_constant_features_change_nothing(loss):
    model, other = GDClassifier(loss).fit(X, LABELS[2]), GDClassifier(loss)
    more = np.hstack([X, np.full((len(X), 600), 0.1), np.zeros((len(X), 20))])
    np.testing.assert_allclose(
        other.fit(more, LABELS[2]).decision_function(more), model.decision_function(X), atol=1e-6
    )


def test_an_interrupt_while_the_penalty_is_chosen_keeps_a_model(monkeypatch):
    def interrupted(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr("skgd.training.with_chosen_penalty", interrupted)
    with pytest.warns(UserWarning, match="interrupted"):
        model = GDClassifier().fit(X, LABELS[2])
    assert model.stop_reason_ == "interrupted"
    np.testing.assert_allclose(model.predict_proba(X).mean(axis=0), [1.0 - LABELS[2].mean(), LABELS[2].mean()])


@pytest.mark.parametrize("n_classes", [2, 3])
def test_units_do_not_matter(n_classes):
    y, units = LABELS[n_classes], np.geomspace(1e-6, 1e6, X.shape[1])
    first, second = GDClassifier().fit(X, y), GDClassifier().fit(X * units + 3.0 * units, y)
    np.testing.assert_allclose(second.predict_proba(X * units + 3.0 * units), first.predict_proba(X), atol=1e-6)


def test_float32_gives_the_same_model():
    y = LABELS[2]
    model = GDClassifier().fit(X.astype(np.float32), y)
    assert model.coef_.dtype == np.float32
    np.testing.assert_allclose(model.predict_proba(X), GDClassifier().fit(X, y).predict_proba(X), atol=1e-3)


def test_a_stream_that_goes_on_learns_more():
    inputs, scores = wide_table(1300, 600, seed=3)
    y = scores + 0.3 * np.random.default_rng(0).normal(size=len(scores)) > 0.3
    new, losses = slice(600, None), []
    model = GDClassifier(random_state=0).fit(inputs[:100], y[:100])
    for start in range(100, 600, 100):
        losses.append(log_loss(y[new], model.predict_proba(inputs[new])))
        model.partial_fit(inputs[start : start + 100], y[start : start + 100])
    assert losses[1] < losses[0]
    assert losses[-1] < losses[0] - 0.05


def test_a_second_fit_from_the_first_is_the_same():
    model = GDRegressor(warm_start=True).fit(X, SCORES)
    first = model.coef_.copy()
    np.testing.assert_allclose(model.fit(X, SCORES).coef_, first, atol=1e-10)


def test_l1_keeps_the_features(newton):
    assert np.isfinite(GDRegressor(alpha=0.1, l1_ratio=1.0).fit(X, SCORES).coef_).all()
    assert all(type(epochs._problem) is Problem for epochs in newton)


# -- correlated features ----------------------------------------------------------------------------------------------


def factors(n_rows=1500, n_columns=40, correlated=True, seed=0):
    """Return features and a target that depends on what three factors, which most of their variance is, do not say."""
    rng = np.random.default_rng(seed)
    own = rng.normal(size=(n_rows, n_columns))
    inputs = 0.1 * own + rng.normal(size=(n_rows, 3)) @ rng.normal(size=(3, n_columns)) if correlated else own
    y = own @ rng.normal(size=n_columns) / n_columns**0.5 + 0.3 * rng.normal(size=n_rows)
    return inputs, y


@pytest.fixture
def few_products(monkeypatch):
    """Let tables of some dozen features count as large ones."""
    monkeypatch.setattr("skgd.automatic._FEW_PRODUCTS", 1e3)


@both_formats
def test_correlated_features_are_learned(as_format, few_products, newton):
    inputs, y = factors()
    Z = StandardScaler().fit(inputs)
    solver = Ridge(1e-3).fit(Z.transform(inputs), y)
    assert (
        GDRegressor(random_state=0).fit(as_format(inputs), y).score(inputs, y)
        > solver.score(Z.transform(inputs), y) - 1e-3
    )
    labels = y > 0.0
    model = GDClassifier(random_state=0).fit(as_format(inputs), labels)
    logistic = LogisticRegression(C=1.0, max_iter=10000).fit(Z.transform(inputs), labels)
    assert len(newton) == 2
    loss_of_solver = log_loss(labels, logistic.predict_proba(Z.transform(inputs)))
    assert log_loss(labels, model.predict_proba(inputs)) < loss_of_solver + 0.01


@both_formats
@pytest.mark.parametrize("loss", ["absolute_error", "epsilon_insensitive", Quantile(0.8)], ids=repr)
@pytest.mark.parametrize("many", [False, True])
def test_losses_with_kinks_learn_correlated_features(loss, many, as_format, monkeypatch, newton):
    if many:
        monkeypatch.setattr("skgd.automatic._FEW_PRODUCTS", 1e3)
    inputs, y = factors(3000)
    train, new = slice(1500), slice(1500, None)
    level = 0.8 if isinstance(loss, Quantile) else 0.5
    solver = make_pipeline(StandardScaler(), QuantileRegressor(quantile=level, alpha=0.0)).fit(inputs[train], y[train])
    model = GDRegressor(loss, random_state=0).fit(as_format(inputs[train]), y[train])
    assert newton
    assert model.stop_reason_ == "converged"
    ours, theirs = (d2_pinball_score(y[new], m.predict(inputs[new]), alpha=level) for m in (model, solver))
    assert ours > theirs - 0.01


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("max_iter", [1, 5])
def test_few_epochs_of_a_loss_with_kinks_are_better_than_a_constant(max_iter):
    inputs, y = factors(2000, 10)
    model = GDRegressor(Quantile(0.9), max_iter=max_iter).fit(inputs[:500], y[:500])
    assert d2_pinball_score(y[500:], model.predict(inputs[500:]), alpha=0.9) > 0.2


def test_a_validation_set_ends_the_training_of_a_loss_with_kinks_near_its_best():
    inputs, y = factors(2000, 10)
    plain, watched = (GDRegressor(Quantile(0.9), early_stopping=early, random_state=0) for early in (False, True))
    scores = [
        d2_pinball_score(y[500:], model.fit(inputs[:500], y[:500]).predict(inputs[500:]), alpha=0.9)
        for model in (plain, watched)
    ]
    assert scores[1] > scores[0] - 0.03


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_any_optimizer_comes_to_the_minimum_of_correlated_features(optimizer, few_products):
    inputs, y = factors()
    ridge = Ridge(1e-4 * len(y)).fit(inputs, y)
    model = GDRegressor(optimizer=optimizer, alpha=1e-4, random_state=0).fit(inputs, y)
    assert model.stop_reason_ == "converged"
    assert model.n_iter_ < 200
    assert model.score(inputs, y) == pytest.approx(ridge.score(inputs, y), abs=2e-3)


@both_formats
def test_independent_features_take_mini_batches(as_format, few_products, newton):
    inputs, y = factors(correlated=False)
    model = GDRegressor(random_state=0).fit(as_format(inputs), y)
    assert not newton
    assert model.score(inputs, y) > 0.85


def test_few_samples_for_each_feature_are_worth_a_penalty(few_products, newton):
    inputs, y = factors(n_rows=300, correlated=False)
    model = GDClassifier(random_state=0).fit(inputs, y > 0.0)
    assert newton
    assert model.alpha_ > 0.0


@both_formats
@pytest.mark.parametrize(("filled", "takes_newton_steps"), [(0.13, False), (0.05, True)])
def test_sparse_features_take_newton_steps_where_few_samples_have_them(
    filled, takes_newton_steps, as_format, few_products, newton
):
    inputs, y = factors(n_rows=200)
    inputs[np.random.default_rng(0).random(inputs.shape) >= filled] = 0.0
    GDRegressor(random_state=0).fit(as_format(inputs), y)
    assert bool(newton) == takes_newton_steps


@given(st.integers(0, 100), st.sampled_from([0.0, 0.3, 0.9]))
def test_squared_correlations_are_those_of_the_population(seed, correlation):
    rng, n_columns = np.random.default_rng(seed), 30
    common = rng.normal(size=(256, 1))
    some = np.sqrt(correlation) * common + np.sqrt(1.0 - correlation) * rng.normal(size=(256, n_columns))
    expected = 1.0 + (n_columns - 1) * correlation**2
    assert squared_correlations(some) == pytest.approx(expected, rel=0.35)
    units = np.geomspace(1e-3, 1e3, n_columns)
    assert squared_correlations(some * units - units) == pytest.approx(squared_correlations(some), rel=1e-6)


@pytest.mark.parametrize("shape", [(40, 7), (40, 39), (30, 200), (2, 3)])
def test_squared_correlations_are_the_variance_of_products_of_two_samples(shape):
    some = np.random.default_rng(0).exponential(size=shape) @ np.diag(np.geomspace(1.0, 1e3, shape[1]))
    standardized = (some - some.mean(axis=0)) / some.std(axis=0)
    products = [a @ b for i, a in enumerate(standardized) for b in standardized[:i]]
    assert squared_correlations(some) == pytest.approx(np.var(products) / shape[1], rel=1e-9, abs=1e-9)


def test_squared_correlations_where_features_outnumber_samples():
    some = np.random.default_rng(0).normal(size=(200, 5000))
    assert squared_correlations(some) == pytest.approx(1.0, rel=0.1)
    assert squared_correlations(np.ones((5, 3))) == 0.0
