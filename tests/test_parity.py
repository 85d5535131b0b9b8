"""The minima found by gradient descent equal those of independent solvers: scikit-learn's, libsvm's and scipy's.

All rows make one batch, averaging and stopping are off, so that nothing but the objective decides where training ends.
"""

import numpy as np
import pytest
import sklearn
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import linprog, minimize
from sklearn.linear_model import (
    ElasticNet,
    GammaRegressor,
    HuberRegressor,
    Lasso,
    LogisticRegression,
    PoissonRegressor,
    QuantileRegressor,
    Ridge,
    TweedieRegressor,
)
from sklearn.multiclass import OneVsRestClassifier
from sklearn.svm import SVC, SVR, LinearSVC
from sklearn.utils.fixes import parse_version

from skgd import GDClassifier, GDRegressor
from skgd.losses import (
    CLASSIFIER_LOSSES,
    REGRESSOR_LOSSES,
    EpsilonInsensitive,
    Huber,
    Quantile,
    SquaredEpsilonInsensitive,
    Tweedie,
)
from skgd.optimizers import OPTIMIZERS, SGD
from skgd.schedules import Exponential

N, P, ALPHA = 60, 4, 0.05
rng = np.random.default_rng(0)
X = rng.normal(size=(N, P)) * [0.7, 1.0, 1.3, 1.0] + [0.4, 0.0, -0.5, 0.0]
WEIGHT = rng.uniform(0.2, 3.0, size=N)
LINEAR = X[:, :2] @ [2.0, -1.0] + 3.0  # two of the four columns don't matter, so that L1 penalties make zeros
Y = LINEAR + rng.normal(size=N)
Y2 = np.column_stack([Y, X[:, 2] - 1.0 + 0.5 * rng.normal(size=N)])
Y_BINARY = np.where(LINEAR + 2.0 * rng.normal(size=N) > 2.5, "yes", "no")
Y_SIGN = np.where(Y_BINARY == "yes", 1.0, -1.0)
Y_CLASS = np.digitize(LINEAR + 2.0 * rng.normal(size=N), [2.0, 4.0])
MEAN = np.exp(0.4 * X[:, 0] - 0.3 * X[:, 1] + 0.5)
Y_COUNT = rng.poisson(MEAN).astype(float)
Y_AMOUNT = rng.gamma(3.0, MEAN / 3.0)
BATCH = {"batch_size": None, "average": False, "tol": None}  # gradient descent, and nothing else

both_paths = pytest.mark.parametrize("precondition", [True, False])


def regressor(loss="squared_error", *, max_iter=500, optimizer=None, **params):
    optimizer = optimizer or SGD(momentum=0.9, nesterov=True)
    return GDRegressor(loss, **{"alpha": ALPHA, "optimizer": optimizer, "max_iter": max_iter} | BATCH | params)


def classifier(loss="log_loss", *, max_iter=500, optimizer=None, **params):
    optimizer = optimizer or SGD(momentum=0.9, nesterov=True)
    return GDClassifier(loss, **{"alpha": ALPHA, "optimizer": optimizer, "max_iter": max_iter} | BATCH | params)


def assert_same_minimum(ours, theirs, tol=1e-6):
    """Compare coefficients, relative to the largest, and intercepts."""
    scale = np.abs(theirs.coef_).max()
    assert np.shape(ours.coef_) == np.shape(theirs.coef_)
    assert_allclose(ours.coef_, theirs.coef_, rtol=0, atol=tol * scale)
    intercept = np.broadcast_to(theirs.intercept_, ours.intercept_.shape)  # scikit-learn's is a scalar where it is 0
    assert_allclose(ours.intercept_, intercept, rtol=0, atol=tol * max(scale, 1.0))


# -- squared error ----------------------------------------------------------------------------------------------------


@both_paths
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("y", [Y, Y2], ids=["one target", "two targets"])
def test_ridge(y, weight, fit_intercept, precondition):
    total = N if weight is None else weight.sum()
    theirs = Ridge(alpha=total * ALPHA, fit_intercept=fit_intercept, solver="cholesky").fit(X, y, weight)
    ours = regressor(fit_intercept=fit_intercept, precondition=precondition).fit(X, y, weight)
    assert_same_minimum(ours, theirs)


@both_paths
@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("l1_ratio", [1.0, 0.6])
def test_lasso_and_elastic_net(l1_ratio, weight, precondition):
    solver = Lasso if l1_ratio == 1.0 else ElasticNet
    theirs = solver(alpha=0.3, tol=1e-12, **({} if l1_ratio == 1.0 else {"l1_ratio": l1_ratio})).fit(X, Y, weight)
    ours = regressor(alpha=0.3, l1_ratio=l1_ratio, precondition=precondition).fit(X, Y, weight)
    assert np.any(theirs.coef_ == 0.0)
    assert np.any(theirs.coef_ != 0.0)
    assert_array_equal(ours.coef_ == 0.0, theirs.coef_ == 0.0)
    assert_same_minimum(ours, theirs)


# -- log loss ---------------------------------------------------------------------------------------------------------

PURE_L1 = {"l1_ratio": 1.0} if parse_version(sklearn.__version__) >= parse_version("1.8") else {"penalty": "l1"}


@both_paths
@pytest.mark.parametrize(
    ("class_weight", "weight"),
    [(None, None), (None, WEIGHT), ("balanced", WEIGHT), ("dict", WEIGHT), ("balanced", None)],
    ids=["unweighted", "weighted", "balanced, weighted", "class weights, weighted", "balanced"],
)
@pytest.mark.parametrize("y", [Y_BINARY, Y_CLASS], ids=["binary", "multinomial"])
def test_logistic_regression(y, class_weight, weight, precondition):
    if class_weight == "dict":
        class_weight = dict(zip(np.unique(y), (0.5, 2.0, 1.0), strict=False))
    # the mean is over the weights of rows and classes together, the penalty stays what it is
    sample_weight = np.ones(N) if weight is None else weight
    codes = np.unique(y, return_inverse=True)[1]
    if class_weight == "balanced":
        of_class = sample_weight.sum() / (codes.max() + 1) / np.bincount(codes, sample_weight)
    else:
        of_class = np.ones(3) if class_weight is None else np.array([0.5, 2.0, 1.0])
    total_weight = sample_weight * of_class[codes]
    theirs = LogisticRegression(C=1.0 / (total_weight.sum() * ALPHA), tol=1e-10, solver="lbfgs", max_iter=10000)
    theirs.fit(X, y, total_weight)
    ours = classifier(class_weight=class_weight, precondition=precondition, max_iter=1000).fit(X, y, weight)
    assert_array_equal(ours.classes_, theirs.classes_)
    assert_same_minimum(ours, theirs, tol=1e-5)
    assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), rtol=0, atol=1e-5)


@both_paths
@pytest.mark.parametrize("y", [Y_BINARY, Y_CLASS], ids=["binary", "multinomial"])
def test_l1_logistic_regression(y, precondition):
    theirs = LogisticRegression(C=1.0 / (N * 0.08), solver="saga", tol=1e-10, max_iter=20000, random_state=0, **PURE_L1)
    theirs.fit(X, y)
    ours = classifier(alpha=0.08, l1_ratio=1.0, max_iter=1000, precondition=precondition).fit(X, y)
    assert np.any(theirs.coef_ == 0.0)
    assert_array_equal(ours.coef_ == 0.0, theirs.coef_ == 0.0)
    if ours.coef_.shape[0] > 1:  # adding the same number to all intercepts changes nothing
        ours.intercept_ = ours.intercept_ - ours.intercept_.mean() + theirs.intercept_.mean()
    assert_same_minimum(ours, theirs, tol=1e-5)


@both_paths
def test_multilabel_log_loss_is_a_logistic_regression_for_each_column(precondition):
    labels = np.column_stack([Y_BINARY == "yes", Y_CLASS == 0, Y_CLASS == 2]).astype(int)
    ours = classifier(precondition=precondition).fit(X, labels)
    for column, label in enumerate(labels.T):
        theirs = LogisticRegression(C=1.0 / (N * ALPHA), tol=1e-10, max_iter=10000).fit(X, label)
        assert_allclose(ours.coef_[column], theirs.coef_[0], rtol=0, atol=1e-5)
        assert_allclose(ours.intercept_[column], theirs.intercept_[0], rtol=0, atol=1e-5)
        assert_allclose(ours.predict_proba(X)[:, column], theirs.predict_proba(X)[:, 1], rtol=0, atol=1e-5)


# -- other smooth losses ----------------------------------------------------------------------------------------------


@both_paths
def test_squared_hinge_is_linear_svc(precondition):
    # LinearSVC penalizes the intercept, so that only the model without one is the same
    theirs = LinearSVC(C=1.0 / (N * ALPHA), fit_intercept=False, tol=1e-10, max_iter=100000, dual=False)
    theirs.fit(X, Y_BINARY)
    ours = classifier("squared_hinge", fit_intercept=False, precondition=precondition).fit(X, Y_BINARY)
    assert_same_minimum(ours, theirs, tol=1e-5)


@both_paths
@pytest.mark.parametrize("loss", sorted(set(CLASSIFIER_LOSSES) - {"log_loss", "hinge", "perceptron"}))
def test_three_classes_are_one_against_the_rest(loss, precondition):
    params = {"precondition": precondition, "max_iter": 50}  # not only the minimum, the path is the same too
    ours = classifier(loss, **params).fit(X, Y_CLASS)
    theirs = OneVsRestClassifier(classifier(loss, **params)).fit(X, Y_CLASS)
    assert_allclose(ours.coef_, np.vstack([model.coef_ for model in theirs.estimators_]), rtol=0, atol=1e-10)
    assert_array_equal(ours.predict(X), theirs.predict(X))


@both_paths
def test_squared_hinge_against_the_rest_is_linear_svc(precondition):
    theirs = LinearSVC(C=1.0 / (N * ALPHA), fit_intercept=False, tol=1e-10, max_iter=100000, dual=False)
    theirs.fit(X, Y_CLASS)
    ours = classifier("squared_hinge", fit_intercept=False, precondition=precondition).fit(X, Y_CLASS)
    assert_allclose(ours.coef_, theirs.coef_, rtol=0, atol=1e-5)
    assert_array_equal(ours.predict(X), theirs.predict(X))


@both_paths
@pytest.mark.parametrize(
    ("fit_intercept", "weight"),
    [(True, WEIGHT), (False, None)],
    ids=["intercept, weighted", "no intercept, unweighted"],
)
@pytest.mark.parametrize(
    ("loss", "solver", "y"),
    [
        ("poisson", PoissonRegressor(), Y_COUNT),
        ("gamma", GammaRegressor(), Y_AMOUNT),
        ("tweedie", TweedieRegressor(power=1.5, link="log"), Y_COUNT),
        (Tweedie(power=3.0), TweedieRegressor(power=3.0, link="log"), Y_AMOUNT),
    ],
    ids=["poisson", "gamma", "tweedie", "inverse gaussian"],
)
def test_generalized_linear_models(loss, solver, y, weight, fit_intercept, precondition):
    theirs = sklearn.clone(solver).set_params(alpha=ALPHA, fit_intercept=fit_intercept, solver="newton-cholesky")
    theirs.set_params(tol=1e-10).fit(X, y, weight)
    ours = regressor(loss, fit_intercept=fit_intercept, precondition=precondition).fit(X, y, weight)
    assert_same_minimum(ours, theirs, tol=1e-5)
    assert_allclose(ours.predict(X), theirs.predict(X), rtol=1e-4)


@both_paths
def test_huber(precondition):
    """HuberRegressor learns the scale sigma too; with it known, its problem is ours: epsilon * sigma is our epsilon."""
    y = np.where(np.arange(N) % 10 == 0, 15.0, Y)
    theirs = HuberRegressor(alpha=1.0, epsilon=1.35, tol=1e-9, max_iter=10000).fit(X, y)
    assert np.count_nonzero(theirs.outliers_) > 5
    ours = regressor(Huber(epsilon=1.35 * theirs.scale_), alpha=theirs.scale_ / N, precondition=precondition).fit(X, y)
    assert_same_minimum(ours, theirs, tol=1e-4)


SMOOTH = {
    "squared_error": (GDRegressor, Y, lambda y, f: (y - f) ** 2 / 2),
    "huber": (
        GDRegressor,
        Y,
        lambda y, f: np.where(abs(y - f) < 1.35, (y - f) ** 2 / 2, 1.35 * abs(y - f) - 1.35**2 / 2),
    ),
    "squared_epsilon_insensitive": (GDRegressor, Y, lambda y, f: np.clip(abs(y - f) - 0.1, 0, None) ** 2),
    "poisson": (GDRegressor, Y_COUNT, lambda y, f: np.exp(f) - y * f),
    "gamma": (GDRegressor, Y_AMOUNT, lambda y, f: f + y * np.exp(-f)),
    "tweedie": (GDRegressor, Y_COUNT, lambda y, f: 2 * np.exp(f / 2) + 2 * y * np.exp(-f / 2)),
    "log_loss": (GDClassifier, Y_SIGN, lambda y, f: np.log1p(np.exp(-y * f))),
    "squared_hinge": (GDClassifier, Y_SIGN, lambda y, f: np.clip(1 - y * f, 0, None) ** 2),
    "modified_huber": (
        GDClassifier,
        Y_SIGN,
        lambda y, f: np.where(y * f >= -1, np.clip(1 - y * f, 0, None) ** 2, -4 * y * f),
    ),
}


# In the units of y, as the other solvers have it; "auto" is a multiple of its scale.
WITH_EPSILON = {
    "huber": Huber(epsilon=1.35),
    "epsilon_insensitive": EpsilonInsensitive(epsilon=0.1),
    "squared_epsilon_insensitive": SquaredEpsilonInsensitive(epsilon=0.1),
}


@both_paths
@pytest.mark.parametrize("l1_ratio", [0.0, 0.7])
@pytest.mark.parametrize("loss", SMOOTH)
def test_smooth_losses_against_scipy(loss, l1_ratio, precondition):
    """Scipy's bounded quasi-Newton method, with coefficients split into two parts of at least zero."""
    estimator, y, values = SMOOTH[loss]
    alpha = 0.15

    def objective(theta):
        plus, minus, intercept = theta[:P], theta[P : 2 * P], theta[-1]
        coef = plus - minus
        penalty = (1 - l1_ratio) / 2 * coef @ coef + l1_ratio * np.sum(plus + minus)
        return np.average(values(y, X @ coef + intercept), weights=WEIGHT) + alpha * penalty

    bounds = [(0, None)] * (2 * P) + [(None, None)]
    options = {"ftol": 1e-15, "gtol": 1e-9, "maxiter": 5000, "maxfun": 100000}
    best = minimize(
        objective, np.full(2 * P + 1, 0.1), method="L-BFGS-B", bounds=bounds, jac="3-point", options=options
    )
    coef = best.x[:P] - best.x[P : 2 * P]
    make = classifier if estimator is GDClassifier else regressor
    named = WITH_EPSILON.get(loss, loss)
    ours = make(named, alpha=alpha, l1_ratio=l1_ratio, precondition=precondition).fit(X, y, WEIGHT)
    assert_allclose(np.ravel(ours.coef_), coef, rtol=0, atol=1e-4 * np.abs(coef).max())
    assert_allclose(ours.intercept_, best.x[-1], rtol=0, atol=1e-4)
    if l1_ratio:
        assert_array_equal(np.ravel(ours.coef_) == 0.0, coef == 0.0)


# -- losses with kinks: the rate has to decay --------------------------------------------------------------------------

KINKED = {"max_iter": 2000, "learning_rate": Exponential(0.2, decay_rate=1e-4, decay_steps=2000)}

# value = max over pieces of (a * y + b) * f + c * y + d, an independent definition that a linear program understands
PIECES = {
    "absolute_error": (GDRegressor, Y, [(0, 1, -1, 0), (0, -1, 1, 0)]),
    "epsilon_insensitive": (GDRegressor, Y, [(0, 0, 0, 0), (0, 1, -1, -0.1), (0, -1, 1, -0.1)]),
    "quantile": (GDRegressor, Y, [(0, 0.5, -0.5, 0), (0, -0.5, 0.5, 0)]),
    "hinge": (GDClassifier, Y_SIGN, [(0, 0, 0, 0), (-1, 0, 0, 1)]),
    "perceptron": (GDClassifier, Y_SIGN, [(0, 0, 0, 0), (-1, 0, 0, 0)]),
}


def kinked_value(loss, coef, intercept, alpha, l1_ratio, weight=None):
    _, y, pieces = PIECES[loss]
    raw = X @ np.ravel(coef) + intercept
    value = np.average(np.max([(a * y + b) * raw + c * y + d for a, b, c, d in pieces], axis=0), weights=weight)
    return value + alpha * ((1 - l1_ratio) / 2 * np.sum(coef**2) + l1_ratio * np.sum(np.abs(coef)))


def test_every_loss_is_compared():
    assert set(SMOOTH) | set(PIECES) == set(REGRESSOR_LOSSES) | set(CLASSIFIER_LOSSES)


@both_paths
@pytest.mark.parametrize("loss", PIECES)
def test_kinked_losses_with_l1_against_a_linear_program(loss, precondition):
    estimator, y, pieces = PIECES[loss]
    alpha, ones = 0.02, np.ones((N, 1))
    rows, bounds = [], []
    for a, b, c, d in pieces:  # slope * (X coef + intercept) + offset <= value of the row
        slope = (a * y + b)[:, np.newaxis]
        rows.append(np.hstack([slope * X, -slope * X, slope * ones, -np.eye(N)]))
        bounds.append(-(c * y + d))
    cost = np.concatenate([np.full(2 * P, alpha), [0.0], WEIGHT / WEIGHT.sum()])
    limits = [(0, None)] * (2 * P) + [(None, None)] * (N + 1)
    best = linprog(cost, np.vstack(rows), np.concatenate(bounds), bounds=limits, method="highs")
    make = classifier if estimator is GDClassifier else regressor
    named = WITH_EPSILON.get(loss, loss)
    ours = make(named, alpha=alpha, l1_ratio=1.0, precondition=precondition, **KINKED).fit(X, y, WEIGHT)
    value = kinked_value(loss, ours.coef_, ours.intercept_, alpha, 1.0, WEIGHT)
    assert best.fun - 1e-9 <= value <= best.fun + 1e-4


@both_paths
@pytest.mark.parametrize("loss", ["hinge", "absolute_error", "epsilon_insensitive"])
def test_kinked_losses_with_l2_against_libsvm(loss, precondition):
    estimator, y, _ = PIECES[loss]
    C = 1.0 / (N * ALPHA)
    if estimator is GDClassifier:
        theirs = SVC(kernel="linear", C=C, tol=1e-6).fit(X, y)
        ours = classifier(loss, precondition=precondition, **KINKED).fit(X, y)
    else:
        theirs = SVR(kernel="linear", C=C, tol=1e-6, epsilon=0.1 if loss == "epsilon_insensitive" else 0.0).fit(X, y)
        ours = regressor(WITH_EPSILON.get(loss, loss), precondition=precondition, **KINKED).fit(X, y)
    best, value = (kinked_value(loss, model.coef_, model.intercept_, ALPHA, 0.0) for model in (theirs, ours))
    assert abs(value - best) <= 1e-4
    assert_allclose(np.ravel(ours.coef_), np.ravel(theirs.coef_), rtol=0, atol=1e-2)


@both_paths
@pytest.mark.parametrize("quantile", [0.23, 0.77])  # times 60 rows it is no integer, so that the minimum is unique
def test_quantile_regressor(quantile, precondition):
    theirs = QuantileRegressor(quantile=quantile, alpha=0.02, solver="highs").fit(X, Y)
    ours = regressor(Quantile(quantile), alpha=0.02, l1_ratio=1.0, precondition=precondition, **KINKED).fit(X, Y)
    assert_same_minimum(ours, theirs, tol=1e-4)


# -- every optimizer, the same minimum ----------------------------------------------------------------------------

RATES = dict.fromkeys(OPTIMIZERS, 0.5) | {"adagrad": 3.0, "adadelta": 3.0, "ftrl": 4.0, "rmsprop": 0.1, "lion": 0.1}
OWN_PARAMS = {
    "adamw": {"weight_decay": 0.0},  # decoupled decay is another objective
    "adadelta": {"epsilon": 1e-3},  # longer first steps
    "ademamix": {"beta3": 0.99},  # by default, it remembers 10,000 steps
}


def optimized(name, precondition, **params):
    decay = 1.0 if name == "schedule_free" else 1e-3
    schedule = Exponential(RATES[name], decay_rate=decay, decay_steps=800)
    optimizer = OPTIMIZERS[name](learning_rate=schedule, **OWN_PARAMS.get(name, {}))
    return regressor(optimizer=optimizer, max_iter=800, precondition=precondition, **params).fit(X, Y)


@both_paths
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_reaches_ridge(name, precondition):
    theirs = Ridge(alpha=N * ALPHA, solver="cholesky").fit(X, Y)
    assert_same_minimum(optimized(name, precondition), theirs, tol=1e-3)


@both_paths
@pytest.mark.parametrize("name", [name for name, optimizer in OPTIMIZERS.items() if optimizer.proximal])
def test_every_proximal_optimizer_reaches_the_zeros_of_lasso(name, precondition):
    theirs = Lasso(alpha=0.3, tol=1e-12).fit(X, Y)
    ours = optimized(name, precondition, alpha=0.3, l1_ratio=1.0)
    assert np.any(theirs.coef_ == 0.0)
    assert_array_equal(ours.coef_ == 0.0, theirs.coef_ == 0.0)
    assert_same_minimum(ours, theirs, tol=1e-3)


def test_lion_and_schedule_free_refuse_an_l1_penalty():
    assert {name for name, optimizer in OPTIMIZERS.items() if not optimizer.proximal} == {"lion", "schedule_free"}
    for name in ("lion", "schedule_free"):
        with pytest.raises(ValueError, match=rf"l1_ratio=0.5 .*{name}"):
            GDRegressor(optimizer=name, alpha=0.1, l1_ratio=0.5).fit(X, Y)


# -- averages of iterates ---------------------------------------------------------------------------------------------


def iterates(steps, **params):
    """Coefficients and intercept after 1, 2, ... steps, each by a training of its own."""
    models = [regressor(max_iter=k, **params).fit(X, Y) for k in range(1, steps + 1)]
    return np.array([[*model.coef_, *model.intercept_] for model in models])


@both_paths
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_averages_of_iterates(name, precondition):
    params = {"optimizer": name, "learning_rate": 0.1, "precondition": precondition}
    path = iterates(10, **params)
    polynomial = np.zeros(P + 1)
    for k, point in enumerate(path, start=1):
        polynomial += (point - polynomial) * min(1.0, 9.0 / (k + 8.0))
    for average, expected in ((True, path.mean(axis=0)), (4, path[4:].mean(axis=0)), ("polynomial", polynomial)):
        averaged = regressor(max_iter=10, **params | {"average": average}).fit(X, Y)
        assert_allclose([*averaged.coef_, *averaged.intercept_], expected, rtol=0, atol=1e-12)
        assert np.abs(expected - path[-1]).max() > 1e-4


def test_averaging_that_has_not_begun_is_the_last_iterate():
    plain, waiting = (regressor(max_iter=5, average=average).fit(X, Y) for average in (False, 5))
    assert_array_equal(plain.coef_, waiting.coef_)


def test_averages_keep_the_zeros_of_the_last_iterate():
    params = {"alpha": 0.3, "l1_ratio": 1.0, "optimizer": SGD(0.3), "precondition": False}
    path = iterates(40, **params)
    averaged = regressor(max_iter=40, **params | {"average": True}).fit(X, Y)
    assert np.any(path[-1] == 0.0)
    assert np.any(path.mean(axis=0)[path[-1] == 0.0] != 0.0)
    assert_allclose([*averaged.coef_, *averaged.intercept_], np.where(path[-1] == 0, 0, path.mean(axis=0)), atol=1e-12)
