"""Attributes that other tools look for: scikit-learn's selectors, converters."""

import pickle
import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_selection import RFE, SelectFromModel
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skgd import GDClassifier, GDRegressor
from skgd.losses import CLASSIFIER_LOSSES, REGRESSOR_LOSSES, LogLoss

rng = np.random.default_rng(0)
UNITS = np.array([1.0, 1e-6, 1e4, 30.0, 1.0])
X = rng.normal([0.0, 3.0, 0.0, -2.0, 0.0], size=(200, 5)) * UNITS
X[:, 4] = 7.0  # a constant
Z = (X - X.mean(axis=0)) / np.where(X.std(axis=0) > 1e-9, X.std(axis=0), 1.0)
SCORE = Z @ [1.0, -2.0, 0.5, 0.0, 0.0] + 0.3 * rng.normal(size=200)
LABELS = np.digitize(SCORE, [-1.0, 1.0])
FEW = {"max_iter": 30, "tol": None, "random_state": 0}
both_estimators = pytest.mark.parametrize("estimator", [GDClassifier, GDRegressor])


# -- penalty ----------------------------------------------------------------------------------------------------------


@both_estimators
@pytest.mark.parametrize(
    ("alpha", "l1_ratio", "expected"),
    [
        ("auto", 0.0, "l2"),
        (1e-3, 0.0, "l2"),
        (np.float32(0.1), 1, "l1"),
        (1e-3, np.float64(1.0), "l1"),
        (1e-3, 0.5, "elasticnet"),
        (0.0, 1.0, None),
        (0, 0.0, None),
    ],
)
def test_penalty(estimator, alpha, l1_ratio, expected):
    model = estimator(alpha=alpha, l1_ratio=l1_ratio)
    assert model.penalty == expected
    with pytest.raises(AttributeError):
        model.penalty = "l2"
    assert "penalty" not in model.get_params()
    assert clone(model).penalty == expected


def test_the_penalty_lets_a_selector_keep_what_is_not_zero():
    data = load_breast_cancer()
    columns = StandardScaler().fit_transform(data.data)
    lasso = GDClassifier(alpha=1e-3, l1_ratio=1.0, random_state=0).fit(columns, data.target)
    kept = SelectFromModel(lasso, prefit=True).get_support()
    assert_array_equal(kept, (np.abs(lasso.coef_) > 1e-5).ravel())
    ridge = clone(lasso).set_params(l1_ratio=0.0).fit(columns, data.target)
    assert SelectFromModel(ridge, prefit=True).get_support().sum() < kept.size  # those above the mean


# -- coef_standardized_ -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("precondition", [True, False])
@pytest.mark.parametrize("format", [np.asarray, sp.csr_array])
@pytest.mark.parametrize("n_targets", [1, 2])
def test_standardized_coefficients_are_those_of_standardized_columns(n_targets, format, precondition):
    """By their definition, written down anew, and by least squares of the standardized data."""
    scale = 1.0 if precondition else UNITS  # plain descent does not get anywhere otherwise
    columns, y = X / scale, 1e5 * np.column_stack([SCORE, Z[:, 2] - SCORE])[:, :n_targets].squeeze() + 1e6
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = GDRegressor(alpha=0.0, tol=1e-8, precondition=precondition, random_state=0)
        model.fit(format(columns), y)
    expected = (model.coef_.T / y.std(axis=0)).T * columns.std(axis=0)
    assert model.coef_standardized_.shape == model.coef_.shape
    assert_allclose(model.coef_standardized_, expected, rtol=1e-6, atol=1e-12)
    if precondition:
        target = (y - y.mean(axis=0)) / y.std(axis=0)
        solution = np.linalg.lstsq(Z, target, rcond=None)[0].T
        assert_allclose(model.coef_standardized_[..., :4], solution[..., :4], atol=1e-3)
        assert_array_equal(model.coef_standardized_[..., 4], 0.0)


@pytest.mark.parametrize("y", [LABELS > 0, LABELS, np.column_stack([LABELS > 0, LABELS > 1]).astype(int)])
def test_those_of_a_classifier(y):
    model = GDClassifier(**FEW).fit(X, y)
    assert_allclose(model.coef_standardized_, model.coef_ * np.where(np.arange(5) < 4, X.std(axis=0), 0.0), rtol=1e-9)


def test_those_of_a_log_link_are_not_divided_by_a_scale():
    y = np.exp(SCORE)
    model = GDRegressor("poisson", **FEW).fit(X, y)
    assert_allclose(model.coef_standardized_[:4], (model.coef_ * X.std(axis=0))[:4], rtol=1e-9)


@pytest.mark.parametrize("estimator", [GDClassifier, GDRegressor])
def test_units_do_not_matter(estimator):
    y = SCORE if estimator is GDRegressor else LABELS
    plain = estimator(random_state=0).fit(X, y).coef_standardized_
    scaled = estimator(random_state=0).fit(X * [1e3, 1e8, 1e-9, 1.0, 1.0], y * 1e-12 if y is SCORE else y)
    assert_allclose(scaled.coef_standardized_, plain, rtol=1e-4, atol=1e-9)


def test_weights_count():
    weight = rng.integers(0, 3, size=200)
    weighted = GDRegressor(alpha=0.0, tol=1e-8).fit(X, SCORE, sample_weight=weight)
    rows = np.repeat(np.arange(200), weight)
    repeated = GDRegressor(alpha=0.0, tol=1e-8).fit(X[rows], SCORE[rows])
    assert_allclose(weighted.coef_standardized_, repeated.coef_standardized_, rtol=1e-6)


def test_those_of_streams_sparse_and_saved_models():
    model = GDClassifier()
    for start in range(0, 200, 20):
        model.partial_fit(X[start : start + 20], LABELS[start : start + 20], classes=[0, 1, 2])
    expected = model.coef_ * np.where(np.arange(5) < 4, X.std(axis=0), 0.0)
    assert_allclose(model.coef_standardized_, expected, rtol=1e-9)
    assert_array_equal(pickle.loads(pickle.dumps(model)).coef_standardized_, model.coef_standardized_)
    dense = model.coef_standardized_
    model.sparsify()
    assert sp.issparse(model.coef_standardized_)
    assert_array_equal(model.coef_standardized_.toarray(), dense)
    single = GDRegressor(**FEW).fit(X.astype(np.float32), SCORE)
    assert single.coef_standardized_.dtype == np.float32


def test_selection_by_standardized_coefficients_is_that_of_standardized_columns():
    data = load_diabetes(scaled=False)
    y = data.target
    by_units = RFE(GDRegressor(random_state=0), n_features_to_select=4).fit(data.data, y)
    standardized = RFE(GDRegressor(random_state=0), n_features_to_select=4, importance_getter="coef_standardized_").fit(
        data.data, y
    )
    scaled = make_pipeline(StandardScaler(), RFE(GDRegressor(random_state=0), n_features_to_select=4)).fit(data.data, y)
    assert_array_equal(standardized.support_, scaled[-1].support_)
    assert not np.array_equal(standardized.support_, by_units.support_)  # or there would be no need for it
    lasso = GDRegressor(alpha=1.0, l1_ratio=1.0, random_state=0)
    chosen = SelectFromModel(lasso, importance_getter="coef_standardized_").fit(data.data * 1e6, y)
    assert_array_equal(chosen.get_support(), chosen.estimator_.coef_ != 0)


# -- layers -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hidden", [(), 4, (5, 3)])
@pytest.mark.parametrize("kind", ["binary", "multiclass", "multilabel", "one target", "two targets"])
def test_layers_are_described_as_scikit_learn_does(kind, hidden):
    y = {
        "binary": LABELS > 0,
        "multiclass": LABELS,
        "multilabel": np.column_stack([LABELS > 0, LABELS > 1]).astype(int),
        "one target": SCORE,
        "two targets": np.column_stack([SCORE, -SCORE]),
    }[kind]
    ours, theirs = (GDRegressor, MLPRegressor) if "target" in kind else (GDClassifier, MLPClassifier)
    model = ours(hidden_layer_sizes=hidden, **FEW).fit(Z, y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        reference = theirs(hidden_layer_sizes=hidden, max_iter=1).fit(Z, y)
    for name in ("n_layers_", "n_outputs_", "out_activation_"):
        assert getattr(model, name) == getattr(reference, name)
        assert getattr(pickle.loads(pickle.dumps(model)), name) == getattr(reference, name)


@pytest.mark.parametrize("loss", [*CLASSIFIER_LOSSES, *REGRESSOR_LOSSES])
def test_what_the_output_goes_through(loss):
    classifier = loss in CLASSIFIER_LOSSES
    model = (GDClassifier if classifier else GDRegressor)(loss, **FEW)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(Z, LABELS > 0 if classifier else np.exp(SCORE))
    through = {"exp": np.exp, "logistic": lambda raw: 1.0 / (1.0 + np.exp(-raw)), "identity": lambda raw: raw}
    raw = Z @ model.coef_.ravel() + model.intercept_
    if loss == "log_loss":
        shown = model.predict_proba(Z)[:, 1]
    else:
        shown = model.decision_function(Z) if classifier else model.predict(Z)
    assert_allclose(through[model.out_activation_](raw), shown, rtol=1e-9)


def test_a_loss_of_ones_own_with_a_known_link():
    class Same(LogLoss):
        pass

    assert GDClassifier(Same(), **FEW).fit(Z, LABELS > 0).out_activation_ == "logistic"


@both_estimators
def test_what_is_not_learned_is_no_attribute(estimator):
    model = estimator(hidden_layer_sizes=2, **FEW)
    for name in ("n_layers_", "n_outputs_", "out_activation_", "coef_standardized_"):
        assert not hasattr(model, name)
        with pytest.raises(AttributeError, match=f"no attribute '{name}'"):
            getattr(model, name)
    model.fit(Z, LABELS)
    assert not hasattr(model, "coef_standardized_")
    with pytest.raises(AttributeError, match="coef_ is for linear models"):
        _ = model.coef_standardized_
