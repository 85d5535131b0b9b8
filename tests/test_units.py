"""Units never matter: not those of columns nor of targets, with any default, loss, format or number of outputs."""

import pickle
from functools import cache
from unittest import mock

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.optimize import minimize
from sklearn.base import clone
from sklearn.datasets import load_diabetes
from sklearn.linear_model import (
    HuberRegressor,
    LinearRegression,
    LogisticRegression,
    PoissonRegressor,
    QuantileRegressor,
)
from sklearn.metrics import log_loss, r2_score

import skgd.engines
from skgd import GDClassifier, GDRegressor, partitions
from skgd.losses import CLASSIFIER_LOSSES, REGRESSOR_LOSSES, EpsilonInsensitive, Huber, Loss, SquaredEpsilonInsensitive
from skgd.optimizers import OPTIMIZERS

both_formats = pytest.mark.parametrize("as_format", [np.asarray, sp.csr_array], ids=["dense", "csr"])
both_methods = pytest.mark.parametrize("method", ["fit", "partial_fit"])

# What fails is printed as found: to look for less takes longer than it helps.
few = settings(max_examples=2, deadline=None, phases=[Phase.reuse, Phase.generate])


@cache
def columns(kind):
    """Return numbers, of which some are zero, or categories beside a number, or words."""
    rng = np.random.default_rng(0)
    if kind == "numbers":
        return rng.normal(size=(150, 4)) * (rng.random((150, 4)) < 0.7)
    if kind == "categories":
        return np.c_[np.eye(20)[rng.integers(0, 20, 160)], rng.normal(3.0, 1.0, 160)]
    return (rng.random((240, 1100)) < 0.01) * rng.lognormal(size=(240, 1100))


@cache
def scores(kind):
    """Return what the columns say of three targets, with noise."""
    X = columns(kind)
    rng = np.random.default_rng(1)
    signal = X @ rng.normal(size=(X.shape[1], 3))
    return (signal - signal.mean(axis=0)) / signal.std(axis=0) + 0.5 * rng.normal(size=signal.shape)


def numbers(kind, n_outputs):
    """Return positive targets, a column each."""
    y = np.exp(0.5 * scores(kind)[:, :n_outputs])
    return y[:, 0] if n_outputs == 1 else y


def labels(kind, target):
    return {
        "two classes": (scores(kind)[:, 0] > 0).astype(int),
        "three classes": scores(kind).argmax(axis=1),
        "labels": (scores(kind) > 0.5).astype(int),
    }[target]


UNITS = st.one_of(
    st.integers(-40, 40).map(lambda power: 2.0**power), st.sampled_from([1e-6, 1e-3, 0.01, 60.0, 1e3, 1e6])
)


def units_of(data, n):
    """Draw a unit for each of some columns: of a few, because that is as good as of many."""
    drawn = data.draw(st.lists(UNITS, min_size=4, max_size=4))
    return np.resize(drawn, n)


def assert_unchanged(scaled, plain):
    """Compare predictions, to one millionth of the spread of each output's."""
    spread = np.ptp(plain, axis=0)
    assert np.all(spread > 0.0)
    difference = np.max(np.abs(scaled - plain) / spread)
    assert difference < 1e-6


def stream_in_calls(model, X, y, size=50):
    for start in range(0, len(y), size):
        model.partial_fit(X[start : start + size], y[start : start + size])
    return model


def learn(model, method, X, y, **first):
    return getattr(clone(model), method)(X, y, **(first if method == "partial_fit" else {}))


# -- every loss and every default -------------------------------------------------------------------------------------


@both_formats
@both_methods
@pytest.mark.parametrize("kind", ["numbers", "categories"])
@pytest.mark.parametrize("loss", REGRESSOR_LOSSES)
@few
@given(data=st.data())
def test_units_do_not_matter_to_the_regressor(loss, kind, method, as_format, data):
    n_outputs = data.draw(st.sampled_from([1, 3]))
    X, y = columns(kind), numbers(kind, n_outputs)
    scale, unit = units_of(data, X.shape[1]), units_of(data, n_outputs)
    unit = unit[0] if n_outputs == 1 else unit
    model = GDRegressor(loss, random_state=0)
    plain = learn(model, method, as_format(X), y).predict(as_format(X))
    scaled = learn(model, method, as_format(X * scale), y * unit).predict(as_format(X * scale)) / unit
    assert_unchanged(scaled, plain)


@both_formats
@both_methods
@pytest.mark.parametrize(
    ("kind", "loss"),
    [*((kind, loss) for kind in ("numbers", "categories") for loss in CLASSIFIER_LOSSES), ("words", "log_loss")],
)
@few
@given(data=st.data())
def test_units_do_not_matter_to_the_classifier(loss, kind, method, as_format, data):
    X, y = columns(kind), labels(kind, data.draw(st.sampled_from(["two classes", "three classes", "labels"])))
    scale = units_of(data, X.shape[1])
    first = {"classes": range(y.shape[1]) if y.ndim == 2 else np.unique(y)}
    model = GDClassifier(loss, random_state=0)
    plain = learn(model, method, as_format(X), y, **first).decision_function(as_format(X))
    scaled = learn(model, method, as_format(X * scale), y, **first).decision_function(as_format(X * scale))
    assert_unchanged(scaled, plain)


@both_formats
@pytest.mark.parametrize(
    "parameters", [{"early_stopping": True}, {"hidden_layer_sizes": (5,)}, {"average": True}], ids=str
)
@pytest.mark.parametrize("kind", ["numbers", "categories"])
@few
@given(data=st.data())
def test_units_do_not_matter_to_other_ways_to_train(kind, parameters, as_format, data):
    X, y, classes = columns(kind), numbers(kind, 3), labels(kind, "three classes")
    powers = np.array(data.draw(st.lists(st.integers(-40, 40), min_size=8, max_size=8)))
    scale, unit = 2.0 ** powers[:5], 2.0 ** powers[5:]
    A, B = as_format(X), as_format(X * np.resize(scale, X.shape[1]))
    model = GDRegressor(random_state=0, **parameters)
    assert_unchanged(clone(model).fit(B, y * unit).predict(B) / unit, model.fit(A, y).predict(A))
    model = GDClassifier(random_state=0, **parameters)
    assert_unchanged(clone(model).fit(B, classes).decision_function(B), model.fit(A, classes).decision_function(A))


@both_formats
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@few
@given(data=st.data())
def test_units_do_not_matter_to_any_optimizer_with_its_defaults(optimizer, as_format, data):
    X, y = columns("categories"), numbers("categories", 3)
    scale, unit = units_of(data, X.shape[1]), units_of(data, 3)
    model = GDRegressor(optimizer=optimizer, max_iter=10, tol=None, random_state=0)
    plain, scaled = clone(model).fit(as_format(X), y), clone(model).fit(as_format(X * scale), y * unit)
    assert_unchanged(scaled.predict(X * scale) / unit, plain.predict(X))


@both_formats
@both_methods
@pytest.mark.parametrize("kind", [Huber, EpsilonInsensitive, SquaredEpsilonInsensitive])
@pytest.mark.parametrize("unit", [2.0**-40, 1e5])
def test_a_width_of_one_s_own_is_in_units_of_the_target(unit, kind, method, as_format):
    X, y = columns("categories"), numbers("categories", 1)
    plain = learn(GDRegressor(kind(epsilon=0.2), random_state=0), method, as_format(X), y)
    scaled = learn(GDRegressor(kind(epsilon=0.2 * unit), random_state=0), method, as_format(X), y * unit)
    assert_unchanged(scaled.predict(X) / unit, plain.predict(X))


@both_formats
@pytest.mark.parametrize("loss", REGRESSOR_LOSSES)
def test_units_do_not_matter_in_single_precision(loss, as_format):
    """To the digits that it has."""
    X, y = columns("categories").astype(np.float32), numbers("categories", 1)
    scale = np.resize(np.float32([2.0**-20, 8.0, 2.0**20, 0.25, 1.0]), X.shape[1])
    plain = GDRegressor(loss, random_state=0).fit(as_format(X), y).predict(as_format(X))
    scaled = GDRegressor(loss, random_state=0).fit(as_format(X * scale), y * 2.0**20).predict(as_format(X * scale))
    difference = np.max(np.abs(scaled / 2.0**20 - plain)) / np.ptp(plain)
    assert difference < 1e-3


@both_formats
@pytest.mark.parametrize("layers", [(), (5,)], ids=["linear", "network"])
@pytest.mark.parametrize("n_columns", [20, 5000])
@pytest.mark.parametrize("size", [1, 30])
def test_units_of_what_begins_with_zeros_do_not_matter_in_a_stream(size, n_columns, layers, as_format):
    """Neither columns that only later samples have, nor counts of which the first are zero."""
    if n_columns > 1000 and as_format is np.asarray:
        pytest.skip("dense rows are for few columns")
    rng = np.random.default_rng(0)
    category = rng.integers(0, n_columns, 120) % 40
    X = sp.csr_array((np.ones(120), category, np.arange(121)), shape=(120, n_columns))
    counts = rng.poisson(1.0, 120).astype(float)
    counts[:2] = 0.0
    labels = category % 2
    scale, unit = 2.0 ** np.resize([-30, 7, 0, 20, -5], n_columns), 2.0**-20
    found = []
    for columns, of_target in ((np.ones(n_columns), 1.0), (scale, unit)):
        A = as_format((X * columns).toarray()) if as_format is np.asarray else sp.csr_array(X * columns)
        classifier = GDClassifier(hidden_layer_sizes=layers, random_state=0)
        regressor = GDRegressor("poisson", hidden_layer_sizes=layers, random_state=0)
        for start in range(0, 120, size):
            rows = slice(start, start + size)
            classifier.partial_fit(A[rows], labels[rows], classes=[0, 1])
            regressor.partial_fit(A[rows], counts[rows] * of_target)
        found.append((classifier.decision_function(A), regressor.predict(A) / of_target))
    for scaled, plain in zip(*found[::-1], strict=True):
        assert_unchanged(scaled, plain)


@both_formats
@pytest.mark.parametrize("loss", ["poisson", "tweedie"])
def test_a_stream_of_counts_that_begins_with_zeros_learns_the_others(loss, as_format):
    """Its first mean is no unit: predictions begin at the mean when there is one, however many zeros came before."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(3000, 4))
    mean = np.exp(X @ [0.4, -0.3, 0.2, 0.1])
    y = np.append(np.zeros(1000), rng.poisson(mean[1000:]).astype(float))
    for unit in (1e-6, 1.0, 1e6):
        model = stream_in_calls(GDRegressor(loss), as_format(X), y * unit)
        predicted = model.predict(as_format(X)) / unit
        assert np.mean(np.square(np.log(predicted / mean))) < 0.1


@both_formats
@pytest.mark.parametrize("layers", [(), (5,)])
def test_counts_that_have_all_been_zero_are_expected_to_be(layers, as_format):
    X = as_format(np.random.default_rng(0).normal(size=(100, 4)))
    model = GDRegressor("poisson", hidden_layer_sizes=layers, random_state=0)
    for _ in range(30):
        model.partial_fit(X, np.zeros(100))
    assert model.predict(X).mean() < 0.05


# -- features without a value ------------------------------------------------------------------------------------------


@cache
def with_unknown(n_columns, dtype=np.float64):
    """Return a number and categories, a score, and of which of these features only the second half has values."""
    rng = np.random.default_rng(0)
    category = np.append(rng.integers(1, 2 * n_columns // 3, 60), rng.integers(1, n_columns, 60))
    X = np.eye(n_columns, dtype=dtype)[category]
    X[:, 0] = rng.normal(size=120)
    return X, X[:, 0] + np.sin(category) + 0.1 * rng.normal(size=120), ~X[:60].any(axis=0)


def model_for(loss, **parameters):
    return (GDRegressor if loss in REGRESSOR_LOSSES else GDClassifier)(loss, random_state=0, **parameters)


def targets_for(loss, score):
    return np.exp(0.5 * score) if loss in REGRESSOR_LOSSES else (score > np.median(score)).astype(int)


def raw_of(model, X):
    return model.predict(X) if isinstance(model, GDRegressor) else model.decision_function(X)


def first_layer(model):
    return model.coefs_[0] if model.hidden_layer_sizes else np.atleast_2d(model.coef_).T


def assert_silent(model, X, unknown, as_format):
    """Check that predictions depend on no value of some features, in whatever unit, but on others."""
    assert not first_layer(model)[unknown].any()
    assert first_layer(model)[~unknown].any()
    plain, others = (raw_of(model, as_format(X * ~unknown + value * unknown)) for value in (0.0, 1e6))
    assert_allclose(others, plain, rtol=0.0, atol=1e-5 * np.ptp(plain))


@both_formats
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("layers", [(), (6,), (5, 4)], ids=str)
@pytest.mark.parametrize("loss", [*REGRESSOR_LOSSES, *CLASSIFIER_LOSSES])
@pytest.mark.filterwarnings("ignore:Training ended at max_iter")
def test_a_feature_without_a_value_says_nothing_after_fit(loss, layers, dtype, as_format):
    """Nor does one that only samples of weight zero have: random numbers and rounding errors would be in its unit."""
    for n_columns in (12, 90):
        X, score, unknown = with_unknown(n_columns, dtype)
        model = model_for(loss, hidden_layer_sizes=layers, max_iter=5)
        model.fit(as_format(X), targets_for(loss, score), sample_weight=np.repeat([1.0, 0.0], 60))
        assert_silent(model, X, unknown, as_format)


@pytest.mark.parametrize(
    "parameters",
    [
        {"early_stopping": True},
        {"precondition": False, "learning_rate": 0.01},
        {"optimizer": "ftrl"},
        {"average": True},
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore:Training ended at max_iter")
def test_a_network_says_nothing_of_a_feature_without_a_value_whatever_its_parameters(parameters):
    X, score, unknown = with_unknown(12)
    model = model_for("log_loss", hidden_layer_sizes=(6,), max_iter=5, **parameters)
    y = targets_for("log_loss", score)
    assert_silent(clone(model).fit(X[:60], y[:60]), X, unknown, np.asarray)
    if "early_stopping" not in parameters:
        assert_silent(clone(model).partial_fit(X[:60], y[:60], classes=[0, 1]), X, unknown, np.asarray)


@both_formats
def test_units_of_features_that_a_fold_lacks_do_not_matter_to_a_network(as_format):
    """A tenth of the samples, held out or left out by cross-validation, has some that the others have not."""
    X, score, _ = with_unknown(90)
    scale = 2.0 ** np.resize([-30, 7, 0, 20, -5], 90)
    for early_stopping in (False, True):
        for loss in ("squared_error", "log_loss"):
            y = targets_for(loss, score)
            model = model_for(loss, hidden_layer_sizes=(8,), early_stopping=early_stopping)
            plain, scaled = clone(model).fit(as_format(X), y), clone(model).fit(as_format(X * scale), y)
            assert plain.n_iter_ == scaled.n_iter_
            assert_unchanged(raw_of(scaled, as_format(X * scale)), raw_of(plain, as_format(X)))


def test_the_ridge_that_evidence_chooses_leaves_features_without_a_value_alone():
    rng = np.random.default_rng(0)
    X, unknown = rng.normal(size=(300, 20)), np.isin(np.arange(20), [1, 4, 7])
    y = X.sum(axis=1) + rng.normal(size=300)
    X[:, unknown] = 0.0
    for targets in (y, np.c_[y, -2.0 * y]):
        assert_silent(GDRegressor().fit(X, targets), X, unknown, np.asarray)


@pytest.mark.filterwarnings("ignore:Training ended at max_iter")
@pytest.mark.parametrize("parameters", [{"alpha": 1e-3}, {"tol": 1e-6}], ids=str)
@pytest.mark.parametrize("loss", ["squared_error", "poisson", "log_loss", "hinge"])
def test_combinations_of_correlated_features_leave_those_without_a_value_alone(loss, parameters):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(80, 3)) @ rng.normal(size=(3, 100)) + 0.01 * rng.normal(size=(80, 100))
    unknown = np.isin(np.arange(100), [1, 4, 7])
    X[:, unknown], y = 0.0, targets_for(loss, X[:, 0] - X[:, 2])
    model = model_for(loss, max_iter=20, **parameters)
    model = partitions.fit(model, [(X[::2], y[::2]), (X[1::2], y[1::2])], solver="sgd")
    assert_silent(model, X, unknown, np.asarray)


@cache
def stream_with_unknown(loss, n_columns):
    """Return samples, targets, and which features only the second half of the samples has, or none at all."""
    X, score, unknown = with_unknown(min(n_columns, 90))
    rest = n_columns - X.shape[1]
    return np.pad(X, ((0, 0), (0, rest))), targets_for(loss, score), np.pad(unknown, (0, rest), constant_values=True)


def learn_stream(model, X, y, size, weight=None):
    first = {"classes": [0, 1]} if isinstance(model, GDClassifier) else {}
    for start in range(0, len(y), size):
        part = slice(start, start + size)
        model.partial_fit(X[part], y[part], sample_weight=None if weight is None else weight[part], **first)
    return model


@both_formats
@pytest.mark.parametrize("seconds", [0.0, np.inf], ids=["compiled", "vectorized"])
@pytest.mark.parametrize("n_columns", [12, 5000])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("loss", ["squared_error", "poisson", "log_loss"])
def test_a_feature_without_a_value_says_nothing_in_a_stream(loss, dtype, n_columns, seconds, as_format):
    """When it has one, it begins like others, with random coefficients in a network."""
    if n_columns > 1000 and as_format is np.asarray:
        pytest.skip("dense rows are for few columns")
    X, y, unknown = stream_with_unknown(loss, n_columns)
    A, model = as_format(X.astype(dtype)), model_for(loss, hidden_layer_sizes=(5, 4))
    by_turns = np.arange(120).reshape(2, 60).T.ravel()
    with mock.patch.object(skgd.engines, "REPAYS_SECONDS", seconds):
        of_weight_zero = learn_stream(clone(model), A[by_turns], y[by_turns], 6, np.resize([1.0, 0.0], 120))
        assert_silent(of_weight_zero, X.astype(dtype), unknown, as_format)
        model = learn_stream(model, A[:60], y[:60], 6)
        assert_silent(model, X.astype(dtype), unknown, as_format)
        reloaded = learn_stream(pickle.loads(pickle.dumps(model)), A[60:], y[60:], 6)
        model = learn_stream(model, A[60:], y[60:], 6)
    for mine, expected in zip(reloaded.coefs_, model.coefs_, strict=True):
        np.testing.assert_array_equal(mine, expected)
    occurs = X.any(axis=0)
    assert np.all(np.abs(model.coefs_[0][occurs]).max(axis=1) > 1e-3)
    assert not model.coefs_[0][~occurs].any()


def half_learned(**parameters):
    X, y, unknown = stream_with_unknown("log_loss", 12)
    model = learn_stream(model_for("log_loss", hidden_layer_sizes=(6,), max_iter=5, **parameters), X[:60], y[:60], 6)
    return model, X, y, unknown


def test_coefficients_of_one_s_own_are_shown_before_their_features_have_a_value():
    model, X, y, unknown = half_learned()
    one, *others = np.flatnonzero(unknown)
    coefs = [coef.copy() for coef in model.coefs_]
    coefs[0][one] = np.linspace(1.0, 2.0, 6)
    model.coefs_ = coefs
    model.partial_fit(X[:6], y[:6])
    assert_allclose(model.coefs_[0][one], coefs[0][one], rtol=0.1)
    assert not model.coefs_[0][others].any()
    learn_stream(model, X[60:], y[60:], 6)
    assert np.all(np.abs(model.coefs_[0][others]).max(axis=1) > 1e-3)  # still random when they begin


@pytest.mark.parametrize("change", [{"optimizer": "sgd"}, {"precondition": False}, {"average": True}], ids=str)
def test_features_without_a_value_stay_silent_where_parameters_change(change):
    model, X, y, unknown = half_learned()
    model.set_params(learning_rate=1e-8, **change).partial_fit(X[:6], y[:6])
    assert_silent(model, X, unknown, np.asarray)
    learn_stream(model, X[60:], y[60:], 6)
    assert np.all(np.abs(model.coefs_[0][unknown]).max(axis=1) > 1e-3)


@pytest.mark.parametrize("optimizer", ["adam", "ftrl", "schedule_free"])
@pytest.mark.filterwarnings("ignore:Training ended at max_iter")
def test_features_without_a_value_stay_silent_where_fit_goes_on(optimizer):
    model, X, y, unknown = half_learned(warm_start=True, optimizer=optimizer)
    model.fit(X[:60], y[:60])
    assert_silent(model, X, unknown, np.asarray)
    before = first_layer(model)[~unknown].copy()
    model.fit(X[60:], y[60:]).fit(X[:60], y[:60])  # what is known stays so
    assert first_layer(model)[unknown].any()
    assert np.abs(first_layer(model)[~unknown] - before).max() < 1.0


@pytest.mark.parametrize("factor", [1e5, 1e6])
@pytest.mark.parametrize("loss", ["log_loss", "squared_hinge", "squared_epsilon_insensitive", "poisson", "tweedie"])
def test_units_do_not_choose_the_penalty_where_samples_are_far_away(loss, factor):
    """Left out, such a sample is predicted by differences that are rounding: it has no say in the choice."""
    for seed in range(6):
        rng = np.random.default_rng(seed)
        X = rng.normal(size=(60, 5)) * [1.0, 10.0, 0.1, 3.0, 1.0] + 2.0
        score = X @ (rng.normal(size=5) / X.std(axis=0)) + rng.normal(size=60)
        X[rng.integers(0, 60, 3)] *= factor
        y, unit = targets_for(loss, score - score.mean()), rng.choice([1e-6, 1e-3, 0.01, 60.0, 1e3, 1e6], 5)
        plain, scaled = model_for(loss).fit(X, y), model_for(loss).fit(X * unit, y)
        assert_allclose(scaled.alpha_, plain.alpha_)


# -- prices of goods --------------------------------------------------------------------------------------------------


@cache
def prices(seed, with_number=False):
    """Return forty kinds of goods, one a row, perhaps an amount, and prices, whose noise is symmetric."""
    rng = np.random.default_rng(seed)
    kind, amount = rng.integers(0, 40, 4000), rng.normal(5.0, 1.0, 4000)
    price = 10 + rng.normal(size=40)[kind] + 0.5 * rng.normal(size=4000) + with_number * amount
    return (np.c_[np.eye(40)[kind], amount] if with_number else np.eye(40)[kind]), price


@both_formats
@pytest.mark.parametrize("unit", [1e-6, 1.0, 1e3, 1e6])
@pytest.mark.parametrize("loss", REGRESSOR_LOSSES)
def test_prices_are_learned_in_any_unit(loss, unit, as_format):
    """The mean, the median and what lies between are about the same for noise that is symmetric."""
    X, price = prices(0)
    score = GDRegressor(loss, random_state=0).fit(as_format(X), price * unit).score(X, price * unit)
    solver_score = LinearRegression().fit(X, price).score(X, price)
    assert score >= solver_score - 0.01


@both_formats
@pytest.mark.parametrize("loss", ["squared_error", "absolute_error", "huber"])
@pytest.mark.parametrize("unit", [1e-3, 1.0, 1e6])
def test_amounts_beside_goods_are_learned_in_any_unit(unit, loss, as_format):
    X, price = prices(1, with_number=True)
    X = X * np.append(np.ones(40), unit)
    score = GDRegressor(loss, random_state=0).fit(as_format(X), price).score(X, price)
    solver_score = LinearRegression().fit(X, price).score(X, price)
    assert score >= solver_score - 0.01


@pytest.mark.xfail(raises=AssertionError, reason="Poisson streams of tiny targets learn slowly", strict=False)
@both_formats
@pytest.mark.parametrize(("loss", "unit"), [("squared_error", 1e6), ("absolute_error", 1e6), ("poisson", 1e-6)])
def test_prices_are_learned_from_a_stream_in_any_unit(unit, loss, as_format):
    X, price = prices(0)
    A, y, model = as_format(X), price * unit, GDRegressor(loss)
    for _ in range(3):
        for start in range(0, len(y), 100):
            model.partial_fit(A[start : start + 100], y[start : start + 100])
    score, solver_score = model.score(A, y), LinearRegression().fit(X, price).score(X, price)
    assert score >= solver_score - 0.02


@both_formats
@pytest.mark.parametrize(("loss", "unit"), [("squared_error", 1e6), ("absolute_error", 1e6), ("poisson", 1e-6)])
def test_prices_are_learned_by_networks_in_any_unit(unit, loss, as_format):
    X, price = prices(0)
    model = GDRegressor(loss, hidden_layer_sizes=(20,), random_state=0).fit(as_format(X), price * unit)
    score, solver_score = model.score(X, price * unit), LinearRegression().fit(X, price).score(X, price)
    assert score >= solver_score - 0.02


@both_formats
@pytest.mark.parametrize("unit", [1e-3, 1.0, 1e4])
def test_classes_of_amounts_beside_goods_are_learned_in_any_unit(unit, as_format):
    X, price = prices(1, with_number=True)
    y = (price + np.random.default_rng(0).logistic(size=len(price)) > np.median(price)).astype(int)
    solver_loss = log_loss(y, LogisticRegression(max_iter=1000).fit(X, y).predict_proba(X))
    scaled = as_format(X * np.append(np.ones(40), unit))
    loss = log_loss(y, GDClassifier(random_state=0).fit(scaled, y).predict_proba(scaled))
    assert loss <= solver_loss + 0.01 * np.log(2)


@pytest.mark.parametrize("unit", [1e-6, 1.0, 1e6])
def test_rates_of_events_are_learned_in_any_unit(unit):
    rng = np.random.default_rng(0)
    X = np.eye(30)[rng.integers(0, 30, 3000)]
    y = rng.poisson(np.exp(1.0 + 0.7 * X @ rng.normal(size=30))).astype(float)
    reference = PoissonRegressor(alpha=0.0, max_iter=1000).fit(X, y).score(X, y)
    predicted = GDRegressor("poisson", random_state=0).fit(sp.csr_array(X), y * unit).predict(X) / unit
    mean = np.full(len(y), y.mean())
    deviance = [np.sum(p - y + np.where(y > 0, y * np.log(np.maximum(y, 1e-9) / p), 0)) for p in (predicted, mean)]
    explained = 1 - deviance[0] / deviance[1]
    assert explained >= reference - 0.01


# -- losses with linear tails, of large targets -----------------------------------------------------------------------


class LogCosh(Loss):
    """A loss of one's own: quadratic near zero, and linear beyond one unit of the target."""

    @staticmethod
    def value(y, raw, hyper):
        return np.logaddexp(raw - y, y - raw) - np.log(2.0)

    @staticmethod
    def gradient(y, raw, hyper):
        return np.tanh(raw - y)


class QuadraticLogCosh(LogCosh):
    """The same, but said to grow like a square."""

    degree = 2.0


DIABETES, PROGRESSION = load_diabetes(return_X_y=True, scaled=False)


@cache
def median_of_progression():
    return QuantileRegressor(alpha=0.0).fit(DIABETES, PROGRESSION).score(DIABETES, PROGRESSION)


@both_formats
@pytest.mark.parametrize("unit", [1e-3, 1.0, 100.0, 1e3, 1e5])
@pytest.mark.parametrize("loss", ["huber", "epsilon_insensitive", "squared_epsilon_insensitive"])
def test_robust_losses_learn_large_targets(loss, unit, as_format):
    """As well as scikit-learn's Huber regression, which scales the target, too."""
    y = PROGRESSION * unit
    score = GDRegressor(loss, random_state=0).fit(as_format(DIABETES), y).score(DIABETES, y)
    scaled = (DIABETES - DIABETES.mean(axis=0)) / DIABETES.std(axis=0)
    solver = HuberRegressor(alpha=0.0, max_iter=1000).fit(scaled, PROGRESSION)
    solver_score = solver.score(scaled, PROGRESSION)
    assert score >= min(solver_score, median_of_progression()) - 0.01


def least_objective(loss, X, y):
    """Return the smallest mean loss of any linear model, and that of the best constant."""
    A = np.c_[np.ones(len(X)), (X - X.mean(axis=0)) / X.std(axis=0)]
    hyper, unit = loss.hyper(), np.std(y)

    def objective(w):
        raw = A @ w * unit
        return np.mean(loss.value(y, raw, hyper)) / unit, A.T @ loss.gradient(y, raw, hyper) / len(y)

    start = QuantileRegressor(alpha=0.0).fit(A[:, 1:], y / unit)
    start = np.append(start.intercept_, start.coef_)
    return min(minimize(objective, start, jac=True, method="BFGS").fun, objective(start)[0]) * unit


@both_formats
@pytest.mark.parametrize("unit", [1.0, 100.0, 1000.0, 1e5])
@pytest.mark.parametrize("loss", [Huber(epsilon=1.35), LogCosh(), QuadraticLogCosh()], ids=repr)
def test_losses_with_linear_tails_reach_their_minimum(loss, unit, as_format):
    """To within 1 % of the smallest objective, however long their tails are in units of the target."""
    y = PROGRESSION * unit
    model = GDRegressor(loss, random_state=0).fit(as_format(DIABETES), y)
    objective = np.mean(loss.value(y, model.predict(DIABETES), loss.hyper()))
    smallest = least_objective(loss, DIABETES, y)
    assert objective <= 1.01 * smallest


@both_formats
@pytest.mark.parametrize("unit", [1.0, 1e5])
@pytest.mark.parametrize("loss", [Huber(epsilon=1.35), QuadraticLogCosh()], ids=repr)
def test_losses_with_linear_tails_reach_their_minimum_in_small_batches(loss, unit, as_format):
    X, price = prices(1, with_number=True)
    y = price * unit
    model = GDRegressor(loss, random_state=0).fit(as_format(X), y)
    streamed = GDRegressor(loss)
    for _ in range(3):
        streamed.partial_fit(as_format(X), y)
    solver_score = LinearRegression().fit(X, y).score(X, y)
    score, streamed_score = r2_score(y, model.predict(X)), r2_score(y, streamed.predict(X))
    assert score >= solver_score - 0.01
    assert streamed_score >= solver_score - 0.02


@pytest.mark.parametrize("loss", ["squared_error", "poisson"])
def test_targets_too_large_for_their_loss_are_named(loss):
    X, y = load_diabetes(return_X_y=True)
    with pytest.raises(ValueError, match=r"(?i)rescale"):
        GDRegressor(loss).fit(X, 1e300 * y)


@pytest.mark.parametrize("size", [1e-308, 1e-310])
def test_a_stream_of_subnormal_columns_learns_the_intercept(size):
    X, y = load_diabetes(return_X_y=True)
    assert abs(GDRegressor().partial_fit(size * X, y).score(size * X, y)) < 0.1
