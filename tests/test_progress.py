"""Progress is measured per output, beyond the best constant: no output's unit, noise or rarity decides on another's."""

import warnings
from functools import cache

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import expit, softmax
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import log_loss, r2_score

from skgd import GDClassifier, GDRegressor
from skgd.callbacks import EarlyStopping
from skgd.coordinates import Coordinates
from skgd.losses import AbsoluteError, LogLoss
from skgd.objective import Objective
from skgd.schedules import ReduceOnPlateau

# Some of the cases, not all: docs/defaults.md says what remains.


both_formats = pytest.mark.parametrize("as_format", [np.asarray, sp.csr_array], ids=["dense", "csr"])
units = pytest.mark.parametrize("unit", [1e-3, 1e3, 1e6])
sizes = pytest.mark.parametrize("n_rows", [600, 1200])  # in batches of all rows, and of a few


# -- the best constant -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("n_classes", [2, 4])
def test_loss_of_a_constant_is_the_mean_over_samples_of_all_classes(n_classes, weighted):
    rng = np.random.default_rng(0)
    y, n_outputs = rng.integers(0, n_classes, 500), 1 if n_classes == 2 else n_classes
    weight = rng.uniform(0.0, 2.0, 500) if weighted else None
    loss = LogLoss() if n_classes == 2 else LogLoss().multiclass()
    objective = Objective(loss, 3, n_outputs, True, 0.0, 0.0, Coordinates(), exclusive_classes=n_classes > 2)
    scores = rng.normal(size=n_outputs)
    proba = softmax(scores) if n_classes > 2 else np.array([1.0 - expit(scores[0]), expit(scores[0])])
    found, within = objective.mean_losses_of_constant(scores, y, weight)
    assert_allclose(found.sum(), np.average(-np.log(proba[y]), weights=weight), rtol=1e-12)
    assert_array_equal(found, within)


@pytest.mark.parametrize("weighted", [False, True])
def test_loss_of_a_constant_within_a_distance_is_that_of_targets_no_farther(weighted):
    rng = np.random.default_rng(0)
    y, weight = rng.standard_t(1, (500, 2)) * [1.0, 100.0], rng.uniform(0.0, 2.0, 500) if weighted else None
    objective = Objective(AbsoluteError(), 3, 2, True, 0.0, 0.0, Coordinates())
    found, within = objective.mean_losses_of_constant(np.ones(2), y, weight, within=3.0)
    distances = np.abs(y - 1.0)
    assert_allclose(found, np.average(distances, axis=0, weights=weight), rtol=1e-12)
    assert_allclose(within, np.average(np.minimum(distances, 3.0), axis=0, weights=weight), rtol=1e-12)


# -- several targets --------------------------------------------------------------------------------------------------


@cache
def two_targets(n_rows, seed=0):
    """Draw correlated columns, a noisy target that is learned at once, and one that takes its time and has no noise."""
    rng = np.random.default_rng(seed)
    common = rng.normal(size=(n_rows, 1))
    X = common + 0.3 * rng.normal(size=(n_rows, 10))
    contrast = X @ np.tile([1.0, -1.0], 5)
    return X, np.c_[common + 0.5 * rng.normal(size=(n_rows, 1)), contrast + 0.03 * rng.normal(size=n_rows)]


def scores_of(model, X, Y):
    return r2_score(Y, model.predict(X), multioutput="raw_values")


def assert_same_scores(model, X, Y, unit, as_format):
    """With the first target in any unit, the second is learned as well, and both as well as by least squares."""
    A = as_format(X)
    scores = scores_of(model.fit(A, Y), A, Y)
    scaled = scores_of(model.fit(A, Y * [unit, 1.0]), A, Y * [unit, 1.0])
    assert_allclose(scaled, scores, rtol=0.0, atol=0.001)
    solver_scores = scores_of(LinearRegression().fit(X, Y), X, Y)
    assert_allclose(np.minimum(scaled, solver_scores), solver_scores, rtol=0.0, atol=0.01)


@both_formats
@sizes
@units
def test_the_unit_of_one_target_does_not_matter_to_another(unit, n_rows, as_format):
    assert_same_scores(GDRegressor(random_state=0), *two_targets(n_rows), unit, as_format)


@sizes
@units
@pytest.mark.parametrize("parameters", [{"early_stopping": True}, {"optimizer": "adam"}, {"average": False}], ids=str)
def test_the_unit_of_one_target_does_not_matter_to_another_in_other_ways_to_train(parameters, unit, n_rows):
    """Nor to the best epoch, nor to its rows held out."""
    X, Y = two_targets(n_rows)
    model = GDRegressor(random_state=0, **parameters)
    scores = scores_of(model.fit(X, Y), X, Y)
    scaled = scores_of(model.fit(X, Y * [unit, 1.0]), X, Y * [unit, 1.0])
    assert_allclose(scaled, scores, rtol=0.0, atol=0.001)


@both_formats
@units
@pytest.mark.parametrize("loss", ["absolute_error", "huber", "quantile", "epsilon_insensitive"])
def test_the_unit_of_one_target_does_not_matter_to_another_with_other_losses(loss, unit, as_format):
    X, Y = two_targets(1500)
    assert_same_scores(GDRegressor(loss, random_state=0), X, Y, unit, as_format)


@both_formats
@units
def test_the_unit_of_one_target_does_not_matter_to_another_among_categories(unit, as_format):
    rng = np.random.default_rng(0)
    category = rng.integers(0, 30, 3000)
    Y = rng.normal(size=(30, 2))[category] + rng.normal(size=(3000, 2)) * [3.0, 0.05]
    assert_same_scores(GDRegressor(random_state=0), np.eye(30)[category], Y, unit, as_format)


@sizes
@units
def test_the_unit_of_one_target_does_not_matter_to_another_in_networks(unit, n_rows):
    X, Y = two_targets(n_rows)
    model = GDRegressor(hidden_layer_sizes=(20,), random_state=0)
    scores = scores_of(model.fit(X, Y), X, Y)
    scaled = scores_of(model.fit(X, Y * [unit, 1.0]), X, Y * [unit, 1.0])
    assert_allclose(scaled, scores, rtol=0.0, atol=0.001)


@sizes
@units
def test_the_unit_of_one_target_does_not_matter_to_another_with_rows_to_validate(unit, n_rows):
    X, Y = two_targets(n_rows)
    X_val, Y_val = two_targets(300, seed=1)
    model = GDRegressor(random_state=0)
    scores = scores_of(model.fit(X, Y, X_val=X_val, y_val=Y_val), X, Y)
    scaled = scores_of(model.fit(X, Y * [unit, 1.0], X_val=X_val, y_val=Y_val * [unit, 1.0]), X, Y * [unit, 1.0])
    assert_allclose(scaled, scores, rtol=0.0, atol=0.001)


@both_formats
def test_targets_of_noise_do_not_end_the_training_of_another(as_format):
    X, Y = two_targets(2000)
    noise = 1e3 * np.random.default_rng(5).normal(size=(2000, 9))
    score = scores_of(GDRegressor(random_state=0).fit(as_format(X), np.c_[noise, Y]), as_format(X), np.c_[noise, Y])[-1]
    solver_score = scores_of(LinearRegression().fit(X, Y), X, Y)[-1]
    assert score >= solver_score - 0.01


# -- what watches the progress ----------------------------------------------------------------------------------------


other_units = pytest.mark.parametrize("unit", [2.0**-20, 2.0**20])  # of which no rounding depends


@both_formats
@other_units
@pytest.mark.parametrize("way", ["fit", "fit with rows to validate", "stream", "fit, then a stream"])
@pytest.mark.parametrize("loss", ["squared_error", "absolute_error", "huber"])
def test_the_unit_of_one_target_does_not_decide_when_a_rate_is_reduced(loss, way, unit, as_format):
    X, Y = two_targets(600)
    A = as_format(X)
    schedule = ReduceOnPlateau(0.3, factor=0.5, patience=0, threshold=0.1)

    def rates(Y):
        model = GDRegressor(loss, optimizer="adam", learning_rate=schedule, max_iter=12, tol=None, random_state=0)
        if way.startswith("fit"):
            model.fit(A, Y, **({"X_val": A[:99], "y_val": Y[:99]} if "validate" in way else {}))
        for start in range(0, 600 if "stream" in way else 0, 50):
            model.partial_fit(A[start : start + 50], Y[start : start + 50])
        return model.history_["learning_rate"]

    expected = rates(Y)
    assert len(set(expected)) > 2
    assert_allclose(rates(Y * [unit, 1.0]), expected, rtol=1e-9)


@other_units
def test_the_unit_of_one_target_does_not_decide_where_a_stream_compiled_reduces_its_rate(unit):
    X, Y = two_targets(600)
    model = GDRegressor(learning_rate=ReduceOnPlateau(1.0, factor=0.99, patience=0, threshold=0.01))
    scaled = GDRegressor(**model.get_params(deep=False))
    for start in np.tile(np.arange(0, 600, 50), 10):
        rows = slice(start, start + 50)
        model.partial_fit(X[rows], Y[rows])
        scaled.partial_fit(X[rows], Y[rows] * [unit, 1.0])
    assert model.engine_ == "compiled"
    assert len(set(model.history_["learning_rate"][-20:])) > 2
    assert_allclose(scaled.history_["learning_rate"], model.history_["learning_rate"], rtol=1e-9)


@other_units
@pytest.mark.parametrize("min_delta", [0.0, 0.01])
@pytest.mark.parametrize("loss", ["squared_error", "absolute_error"])
def test_the_unit_of_one_target_does_not_decide_when_early_stopping_ends(loss, min_delta, unit):
    X, Y = two_targets(600)
    X_val, Y_val = two_targets(300, seed=1)

    def stopped(of_target):
        model = GDRegressor(loss, optimizer="adam", learning_rate=0.1, max_iter=200, tol=None, random_state=0)
        callback = EarlyStopping(X_val, Y_val * of_target, patience=2, min_delta=min_delta)
        model.set_callbacks(callback).fit(X, Y * of_target)
        return model.n_iter_, model.best_iter_

    assert stopped(np.array([unit, 1.0])) == stopped(np.ones(2))
    assert stopped(np.ones(2))[0] < 200


# -- rare classes -----------------------------------------------------------------------------------------------------


def measurements(n_rows, rng):
    """Draw dense columns of different units."""
    return rng.normal(size=(n_rows, 5)) * [1.0, 10.0, 0.1, 3.0, 1.0] + [0.0, 5.0, 1.0, -3.0, 0.0]


def categories(n_rows, rng):
    """Draw the indicators of two features, of ten categories each."""
    return np.hstack([np.eye(10)[rng.integers(0, 10, n_rows)] for _ in range(2)])


def words(n_rows, rng):
    """Draw the presence of a thousand words and some more, mostly rare."""
    return (rng.random((n_rows, 1200)) < 0.2 / np.arange(4, 1204)).astype(float)


kinds = pytest.mark.parametrize("kind", [measurements, categories], ids=lambda kind: kind.__name__)


def rarest(scores, n_rare):
    """Label so many rows, those of the highest scores after noise."""
    return (np.argsort(np.argsort(-scores)) < n_rare).astype(int)


@cache
def rare(kind, n_rare=20, n_rows=20_000, seed=0):
    """Return columns, and noisy scores of three labels that depend on them."""
    rng = np.random.default_rng(seed)
    X = kind(n_rows, rng)
    scores = X / np.maximum(X.std(axis=0), 1e-9) @ rng.normal(size=(X.shape[1], 3)) / np.sqrt(X.shape[1])
    scores = scores + rng.logistic(size=scores.shape)
    return X, np.stack([rarest(scores[:, k], n) for k, n in enumerate((n_rare, n_rows // 10, n_rows // 2))], axis=1)


def assert_expected_counts(probability, y, tolerance=0.1):
    """As many rows as there are, to within a tenth, are to be expected in each class; logistic regression is exact."""
    expected, counted = np.sum(probability, axis=0), np.sum(y, axis=0)
    assert_allclose(expected, counted, rtol=tolerance)


@both_formats
@kinds
@pytest.mark.parametrize("n_rare", [20, 200])
def test_as_many_rows_are_expected_of_a_rare_class_as_there_are(n_rare, kind, as_format):
    X, labels = rare(kind, n_rare)
    y = labels[:, 0]
    probability = GDClassifier(random_state=0).fit(as_format(X), y).predict_proba(as_format(X))
    assert_expected_counts(probability, np.c_[1 - y, y])


@both_formats
@kinds
@pytest.mark.parametrize("seed", range(2))
def test_as_many_rows_are_expected_of_a_rare_label_as_there_are(seed, kind, as_format):
    X, labels = rare(kind, seed=seed)
    model = GDClassifier(random_state=0).fit(as_format(X), labels)
    assert_expected_counts(model.predict_proba(as_format(X)), labels)


@both_formats
@kinds
@pytest.mark.parametrize("n_rare", [21, 100])
def test_as_many_rows_are_expected_of_a_rare_one_of_several_classes_as_there_are(n_rare, kind, as_format):
    X, labels = rare(kind, n_rare, 10_000)
    y = np.where(labels[:, 0] == 1, 3, labels[:, 1] + labels[:, 2])
    model = GDClassifier(random_state=0).fit(as_format(X), y)
    assert_expected_counts(model.predict_proba(as_format(X)), np.eye(4)[y])


@pytest.mark.parametrize("n_rare", [20, 100])
def test_as_many_rows_are_expected_of_a_rare_class_of_texts_as_there_are(n_rare):
    X, labels = rare(words, n_rare, 4000)
    y, X = labels[:, 0], sp.csr_array(X)
    probability = GDClassifier(random_state=0).fit(X, y).predict_proba(X)
    assert_expected_counts(probability, np.c_[1 - y, y])


@both_formats
@kinds
def test_a_rare_class_is_learned_as_well_as_by_a_converged_solver(kind, as_format):
    X, labels = rare(kind, 200)
    y = labels[:, 0]
    scaled = X / X.std(axis=0)
    reference = log_loss(y, LogisticRegression(max_iter=10_000).fit(scaled, y).predict_proba(scaled))
    loss = log_loss(y, GDClassifier(random_state=0).fit(as_format(X), y).predict_proba(as_format(X)))
    prior = log_loss(y, np.full(len(y), y.mean()))
    assert loss <= reference + 0.01 * prior


@both_formats
@kinds
def test_about_as_many_rows_are_expected_of_a_rare_class_in_a_stream_as_there_are(kind, as_format):
    """After three passes, to within a fifth, because the last rows count for more."""
    X, labels = rare(kind, 200)
    A, model = as_format(X), GDClassifier()
    for _ in range(3):
        model.partial_fit(A, labels[:, 0], classes=[0, 1])
    assert_expected_counts(model.predict_proba(A)[:, [1]], labels[:, [0]], tolerance=0.2)


@kinds
def test_about_as_many_rows_are_expected_of_a_rare_class_by_a_network_as_there_are(kind):
    X, labels = rare(kind, 200)
    model = GDClassifier(hidden_layer_sizes=(20,), random_state=0).fit(X, labels[:, 0])
    assert_expected_counts(model.predict_proba(X)[:, [1]], labels[:, [0]], tolerance=0.2)


@both_formats
def test_a_label_of_one_row_in_each_thousand_is_learned_beside_a_common_one(as_format):
    """By its log-loss, to within 1 % of that of its share."""
    rng = np.random.default_rng(0)
    X = measurements(20_000, rng)
    standard = (X - X.mean(axis=0)) / X.std(axis=0)
    scores = standard @ [[2.0, 0.0], [-1.0, 0.3], [0.5, 0.0], [0.0, 0.3], [1.0, 0.0]] + [-9.0, 0.0]
    labels = (rng.random(scores.shape) < expit(scores)).astype(int)
    y = labels[:, 0]
    reference = log_loss(y, LogisticRegression(max_iter=1000).fit(standard, y).predict_proba(standard))
    probability = GDClassifier(random_state=0).fit(as_format(X), labels).predict_proba(as_format(X))
    loss, prior = log_loss(y, probability[:, 0]), log_loss(y, np.full(len(y), y.mean()))
    assert loss <= reference + 0.01 * prior


def test_classes_of_very_different_sizes_are_learned():
    rng = np.random.default_rng(0)
    X = measurements(15_000, rng)
    standard = (X - X.mean(axis=0)) / X.std(axis=0)
    probability = softmax(standard @ rng.normal(size=(5, 4)) + [0.0, -1.0, -3.0, -7.0], axis=1)
    y = (rng.random((15_000, 1)) > np.cumsum(probability, axis=1)).sum(axis=1).clip(max=3)
    reference = log_loss(y, LogisticRegression(max_iter=1000).fit(standard, y).predict_proba(standard))
    loss = log_loss(y, GDClassifier(random_state=0).fit(X, y).predict_proba(X))
    prior = log_loss(y, np.tile(np.bincount(y) / len(y), (len(y), 1)))
    assert loss <= reference + 0.01 * prior


# -- offsets that a constant removes ----------------------------------------------------------------------------------


def fits_or_warns(model, X, y, reference):
    """Return whether R² is within 0.01 of a reference or a warning says that it is not; and R²."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        score = model.fit(X, y).score(X, y)
    warned = any(issubclass(warning.category, ConvergenceWarning) for warning in caught)
    return score >= reference - 0.01 or warned, score


@both_formats
@pytest.mark.parametrize("mean", [10.0, 1000.0, 1e6])
@pytest.mark.parametrize("n_rows", [300, 3000])
def test_a_target_far_from_zero_is_fitted_without_preconditioning(n_rows, mean, as_format):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n_rows, 5))
    y = X @ rng.normal(size=5) + 0.3 * rng.normal(size=n_rows) + mean
    reference = LinearRegression().fit(X, y).score(X, y)
    fine, score = fits_or_warns(GDRegressor(precondition=False, random_state=0), as_format(X), y, reference)
    assert fine, f"R² is {score:.4g}, that of least squares {reference:.4g}, and nothing is said"


@pytest.mark.parametrize("mean", [100.0, 1e4])
@pytest.mark.parametrize("n_rows", [300, 3000])
def test_a_target_far_from_zero_is_fitted_by_networks_without_intercepts(n_rows, mean):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n_rows, 5))
    y = X @ rng.normal(size=5) + 0.3 * rng.normal(size=n_rows) + mean
    reference = LinearRegression().fit(X, y).score(X, y)
    model = GDRegressor(hidden_layer_sizes=(20,), fit_intercept=False, random_state=0)
    fine, score = fits_or_warns(model, X, y, reference)
    assert fine, f"R² is {score:.4g}, that of least squares {reference:.4g}, and nothing is said"


@both_formats
@pytest.mark.parametrize("loss", ["squared_error", "absolute_error", "huber"])
def test_targets_far_from_zero_are_learned_to_their_digits(loss, as_format):
    """What is learned is the same with any mean, which the model begins at."""
    X, Y = two_targets(1500)
    near = scores_of(GDRegressor(loss, random_state=0).fit(as_format(X), Y), as_format(X), Y)
    far = scores_of(GDRegressor(loss, random_state=0).fit(as_format(X), Y + 1e6), as_format(X), Y + 1e6)
    assert_allclose(far, near, rtol=0.0, atol=0.001)
