"""Newton's steps with the Hessian of a sample, on tables that count as long here, against other solvers."""

import subprocess
import sys
import warnings

import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import ElasticNet, LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler

from skgd import GDClassifier, GDRegressor
from skgd.callbacks import Checkpoint
from skgd.losses import Gamma, Huber, LogLoss, ModifiedHuber, Poisson, SquaredHinge
from skgd.subsampling import SubsampledEpochs, columns_vary_in_many_rows

N_ROWS, N_COLUMNS = 8000, 6


@pytest.fixture(autouse=True)
def taken(monkeypatch):
    """Let tables of a few thousand rows count as long ones, read in pieces; count the epochs that are taken so."""
    monkeypatch.setattr("skgd.automatic._FEW_ENTRIES", 2**10)
    monkeypatch.setattr("skgd.subsampling._PIECE", 1000 * N_COLUMNS)
    epochs, take = [], SubsampledEpochs.take

    def counted(self, *args):
        epochs.append(self)
        return take(self, *args)

    monkeypatch.setattr(SubsampledEpochs, "take", counted)
    return epochs


def table(seed=0, n_rows=N_ROWS, n_columns=N_COLUMNS):
    """Return correlated columns of different units, and scores that depend on them, with noise."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_rows, n_columns)) @ (np.eye(n_columns) + 0.5 * rng.normal(size=(n_columns, n_columns)))
    scores = X @ rng.normal(size=n_columns) / n_columns**0.5 + rng.logistic(size=n_rows)
    return X * np.geomspace(1e-3, 1e3, n_columns) + np.geomspace(1.0, 1e3, n_columns), scores


X, SCORES = table()
LABELS = {2: SCORES > 0.3, 3: np.digitize(SCORES, [-0.5, 1.0])}


def logistic_objective(model, Z, y, alpha):
    losses = -np.log(model.predict_proba(Z)[np.arange(len(y)), y])
    return losses.mean() + 0.5 * alpha * np.square(model.coef_).sum()


# -- the minimum ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_default_classifier_is_nearer_the_minimum_than_noise_is(n_classes, dtype, taken):
    y = LABELS[n_classes].astype(int)
    Z = StandardScaler().fit_transform(X).astype(dtype)
    model = GDClassifier().fit(Z, y)
    assert 1 <= len(taken) == model.n_iter_ <= 3
    assert model.engine_ == "vectorized"
    assert model.alpha_ == pytest.approx(1.0 / N_ROWS)
    assert model.coef_.dtype == dtype
    solver = LogisticRegression(C=1.0, tol=1e-10, max_iter=10000).fit(Z.astype(np.float64), y)
    alpha, n_parameters = model.alpha_, (N_COLUMNS + 1) * (n_classes - 1)
    distance = logistic_objective(model, Z, y, alpha) - logistic_objective(solver, Z, y, alpha)
    assert -1e-6 < distance < n_parameters / (2 * N_ROWS)
    assert model.stop_reason_ == "converged"


@pytest.mark.parametrize("alpha", ["auto", 1e-3])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_a_tolerance_leads_to_the_minimum(n_classes, alpha, taken):
    y = LABELS[n_classes]
    Z = StandardScaler().fit_transform(X)
    model = GDClassifier(alpha=alpha, tol=1e-12).fit(Z, y)
    solver = LogisticRegression(C=1.0 / (N_ROWS * model.alpha_), tol=1e-12, max_iter=10000).fit(Z, y)
    np.testing.assert_allclose(model.predict_proba(Z), solver.predict_proba(Z), atol=2e-6)
    assert taken
    assert model.suboptimality_ <= 1e-12


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_regression_of_several_targets_is_least_squares(dtype, weighted, fit_intercept, taken):
    weight = np.random.default_rng(1).exponential(size=N_ROWS) if weighted else None
    y = np.column_stack([SCORES, 1e3 * np.square(SCORES) - 7.0]).astype(dtype)
    A = X.astype(dtype)
    model = GDRegressor(tol=1e-12, fit_intercept=fit_intercept).fit(A, y, sample_weight=weight)
    Z = A / A.std(axis=0, dtype=np.float64)
    Z = np.column_stack([Z - Z.mean(axis=0), np.ones(N_ROWS)]) if fit_intercept else Z
    root = np.ones((N_ROWS, 1)) if weight is None else np.sqrt(weight)[:, np.newaxis]
    expected = Z @ np.linalg.lstsq(root * Z, root * y, rcond=None)[0]
    atol = 1e-4 if dtype is np.float32 else 2e-6
    np.testing.assert_allclose((model.predict(A) - expected) / y.std(axis=0), 0.0, atol=atol)
    assert taken


def test_a_number_for_alpha_is_a_penalty_on_the_users_coefficients():
    Z = 3.0 * StandardScaler().fit_transform(X)
    model = GDRegressor(alpha=0.1, tol=1e-10).fit(Z, SCORES)
    np.testing.assert_allclose(model.coef_.ravel(), Ridge(alpha=0.1 * N_ROWS).fit(Z, SCORES).coef_, atol=1e-5)


@pytest.mark.parametrize("loss", [Poisson(), Gamma(), Huber(), LogLoss(), SquaredHinge(), ModifiedHuber()], ids=repr)
def test_smooth_losses_reach_the_minimum_that_scipy_finds(loss, taken):
    Z, of_numbers = StandardScaler().fit_transform(X), not isinstance(loss, (LogLoss, SquaredHinge, ModifiedHuber))
    y = np.exp(0.3 * SCORES) if of_numbers else np.where(SCORES > 0.3, *loss.label_values[::-1])
    model = (GDRegressor if of_numbers else GDClassifier)(loss, alpha=0.01, tol=1e-9).fit(Z, y)
    center, scale = 0.0, 1.0
    if isinstance(loss, Huber):  # whose threshold is one of the standardized target
        coordinates = model._state.objective.coordinates
        center, scale = coordinates.target_center[0], coordinates.target_scale[0]

    def objective(parameters):
        coef, intercept = parameters[:-1], parameters[-1]
        losses = loss.value((y - center) / scale, (Z @ coef + intercept - center) / scale, loss.hyper())
        return scale**loss.degree * losses.mean() + 0.005 * coef @ coef

    found = minimize(objective, np.zeros(N_COLUMNS + 1), method="BFGS", options={"gtol": 1e-8})
    assert objective(np.append(model.coef_.ravel(), model.intercept_)) <= found.fun * (1.0 + 1e-7)
    assert taken


@pytest.mark.parametrize("l1_ratio", [0.5, 1.0])
def test_the_elastic_net_is_that_of_coordinate_descent(l1_ratio, taken):
    Z = StandardScaler().fit_transform(X)
    model = GDRegressor(alpha=0.1, l1_ratio=l1_ratio, tol=1e-12).fit(Z, SCORES)
    solver = ElasticNet(alpha=0.1, l1_ratio=l1_ratio, tol=1e-12, max_iter=100_000).fit(Z, SCORES)
    np.testing.assert_allclose(model.coef_.ravel(), solver.coef_, atol=1e-5)
    np.testing.assert_array_equal(model.coef_.ravel() != 0.0, solver.coef_ != 0.0)
    assert taken


def test_the_estimate_is_the_distance_before_the_last_step():
    Z, y = StandardScaler().fit_transform(X), LABELS[2].astype(int)
    model = GDClassifier().fit(Z, y)
    best = GDClassifier(tol=1e-12).fit(Z, y)
    lowest, constant = best.history_["objective"][-1], -np.log(np.bincount(y) / len(y))[y].mean()
    expected = (model.history_["objective"][-1] - lowest) / (constant - lowest)
    assert model.suboptimality_ == pytest.approx(expected, rel=0.3)


# -- whatever the rows ------------------------------------------------------------------------------------------------


def test_sorted_rows_with_a_rare_class_are_fitted_as_well_as_shuffled_ones(taken):
    rng = np.random.default_rng(0)
    y = np.where(rng.random(N_ROWS) < 0.005 * np.exp(0.5 * StandardScaler().fit_transform(X)[:, 0]), 2, LABELS[2])
    order = np.argsort(y, kind="stable")
    as_is, of_sorted = GDClassifier().fit(X, y), GDClassifier().fit(X[order], y[order])
    lowest = GDClassifier(tol=1e-12).fit(X, y)
    assert taken
    for model in (as_is, of_sorted):
        losses = [-np.log(each.predict_proba(X)[np.arange(N_ROWS), y]).mean() for each in (model, lowest)]
        assert losses[0] - losses[1] < 2 * (N_COLUMNS + 1) / (2 * N_ROWS)
        np.testing.assert_allclose(
            model.predict_proba(X).sum(axis=0), np.bincount(y), rtol=2.0 / np.bincount(y)[2] ** 0.5
        )


@pytest.mark.parametrize("n_classes", [0, 2, 3])
def test_whole_number_weights_are_copies(n_classes, taken):
    copies = np.random.default_rng(0).integers(0, 4, N_ROWS)
    y = LABELS[n_classes] if n_classes else SCORES
    model = (GDClassifier if n_classes else GDRegressor)(tol=1e-12)
    weighted = clone(model).fit(X, y, sample_weight=copies)
    copied = clone(model).fit(np.repeat(X, copies, axis=0), np.repeat(y, copies))
    assert weighted.alpha_ == pytest.approx(copied.alpha_, rel=1e-9)
    predictions = (getattr(each, "decision_function", each.predict)(X) for each in (weighted, copied))
    np.testing.assert_allclose(*predictions, atol=2e-5)
    assert taken


def test_weights_of_classes_are_weights_of_their_rows(taken):
    y = (SCORES > 3.0).astype(int)
    weight = np.where(y == 1, len(y) / (2 * y.sum()), len(y) / (2 * (len(y) - y.sum())))
    by_class = GDClassifier(alpha=0.0, tol=1e-12, class_weight="balanced").fit(X, y)
    by_row = GDClassifier(alpha=0.0, tol=1e-12).fit(X, y, sample_weight=weight)
    np.testing.assert_allclose(by_class.coef_, by_row.coef_, rtol=1e-5)
    assert taken


def test_labels_that_do_not_exclude_each_other(taken):
    Y = np.column_stack([SCORES > 0.3, SCORES < -1.0, SCORES > 4.0])
    model = GDClassifier(tol=1e-12).fit(X, Y)
    for k in range(3):
        alone = GDClassifier(tol=1e-12).fit(X, Y[:, k])
        np.testing.assert_allclose(model.coef_[k], alone.coef_.ravel(), rtol=1e-4)
    assert taken


@pytest.mark.parametrize(
    "model", [GDRegressor(), GDClassifier(), GDRegressor("huber"), GDRegressor("poisson")], ids=repr
)
def test_units_do_not_matter(model, taken):
    y = SCORES > 0.3 if isinstance(model, GDClassifier) else np.exp(0.3 * SCORES)
    unit = 10.0 ** np.random.default_rng(0).integers(-6, 6, N_COLUMNS)
    of_units = (clone(model).fit(A, y) for A in (X, unit * X, X + 1e6 * X.std(axis=0)))
    first, scaled, moved = of_units
    raw = StandardScaler().fit_transform(X) @ (first.coef_.ravel() * X.std(axis=0))
    for other, factor, atol in ((scaled, unit, 1e-8), (moved, 1.0, 1e-6)):  # far from zero, digits are lost
        np.testing.assert_allclose(
            StandardScaler().fit_transform(X) @ (other.coef_.ravel() * factor * X.std(axis=0)), raw, atol=atol
        )
    assert taken


def test_separable_classes_have_a_minimum(taken):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = GDClassifier().fit(X, X[:, 0] > X[:, 0].mean())
    assert model.score(X, X[:, 0] > X[:, 0].mean()) > 0.99
    assert taken


def test_targets_that_depend_on_nothing_are_no_trouble(taken):
    y = np.random.default_rng(5).normal(size=N_ROWS)
    for model, target in ((GDRegressor(), y), (GDClassifier(), y > 0.0), (GDRegressor("poisson"), np.exp(y))):
        assert clone(model).fit(X, target).n_iter_ <= 3
    assert taken


def test_columns_that_vary_in_a_few_rows_are_left_to_other_steps(taken):
    rng = np.random.default_rng(0)
    rare, outlying = X.copy(), X.copy()
    rare[:, 2] = np.arange(N_ROWS) % 4000 == 0
    outlying[rng.integers(N_ROWS, size=3), 2] = 1e9
    for A in (rare, outlying):
        assert not columns_vary_in_many_rows(A)
        assert GDClassifier(max_iter=50).fit(A, LABELS[2]).t_ > 50
    assert columns_vary_in_many_rows(X)
    assert not taken


def test_outliers_that_no_sample_has_are_left_to_other_steps(taken, monkeypatch):
    monkeypatch.setattr("skgd.training.columns_vary_in_many_rows", lambda X: True)
    outlying = X.copy()
    outlying[4711, 2] = 1e9
    model = GDClassifier().fit(outlying, LABELS[2])
    assert not taken
    assert model.score(X, LABELS[2]) > 0.6


# -- what lasts -------------------------------------------------------------------------------------------------------


def test_no_random_state_has_a_say():
    first, second = (GDClassifier(random_state=seed).fit(X, LABELS[3]) for seed in (0, None))
    np.testing.assert_array_equal(first.coef_, second.coef_)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_steps_go_on_from_a_checkpoint_where_they_were(dtype, tmp_path, taken):
    A, y = X.astype(dtype), LABELS[3]
    model = GDClassifier(tol=1e-12)
    whole = clone(model).fit(A, y)
    part = clone(model).set_params(max_iter=2).set_callbacks(Checkpoint(tmp_path / "file"))
    with pytest.warns(ConvergenceWarning):
        part.fit(A, y)
    resumed = Checkpoint.load(tmp_path / "file").set_params(max_iter=1000).fit(A, y)
    assert 2 < resumed.n_iter_ == whole.n_iter_
    np.testing.assert_array_equal(resumed.coef_, whole.coef_)
    assert resumed.history_["objective"] == whole.history_["objective"]


def test_a_stream_goes_on_from_the_minimum():
    model = GDClassifier().fit(X, LABELS[2])
    fitted = model.score(X, LABELS[2])
    for start in range(0, 400, 50):
        model.partial_fit(X[start : start + 50], LABELS[2][start : start + 50])
        assert model.score(X, LABELS[2]) > fitted - 0.02


def test_the_memory_of_gradients_is_that_of_all_rows(monkeypatch):
    sampled = GDClassifier().fit(X, LABELS[2])._state.iterate.slots[0]
    monkeypatch.setattr("skgd.automatic._FEW_ENTRIES", 2**22)
    exact = GDClassifier(alpha=1.0 / N_ROWS).fit(StandardScaler().fit_transform(X), LABELS[2])
    np.testing.assert_allclose(sampled, exact._state.iterate.slots[0], rtol=0.2)


def test_a_validation_set_ends_training(taken):
    model = GDClassifier(early_stopping=True).fit(X, LABELS[2])
    assert model.stop_reason_ == "validation"
    assert taken


def test_training_on_top_of_an_earlier_fit_goes_on_from_there(taken):
    model = GDClassifier(warm_start=True, tol=1e-12).fit(X, LABELS[2])
    first, coef = model.n_iter_, model.coef_
    model.fit(X, LABELS[2])
    assert model.n_iter_ < first
    np.testing.assert_allclose(model.coef_, coef, rtol=1e-5)
    assert taken


def test_the_first_default_fit_of_many_rows_does_not_wait_for_a_compiler():
    code = """
import sys
import numpy as np
from skgd import GDClassifier, GDRegressor
rng = np.random.default_rng(0)
X = rng.normal(size=(100_000, 50))
y = X @ rng.normal(size=50) + 3.0 * rng.normal(size=100_000)
assert GDRegressor().fit(X, y).score(X, y) > 0.8
assert GDClassifier().fit(X, y > 0.0).score(X, y > 0.0) > 0.8
assert "numba" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)
