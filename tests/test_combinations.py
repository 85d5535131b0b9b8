"""Combinations of correlated columns in streams: near the minimum after one pass, whichever way the rows come."""

import itertools
import pickle
from dataclasses import replace
from unittest import mock

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.base import clone
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.metrics import log_loss

import skgd.engines
from skgd import GDClassifier, GDRegressor
from skgd.combinations import Combinations, CoMoments
from skgd.coordinates import Coordinates
from skgd.optimizers import SGD
from skgd.steps import DivergenceError

ROWS, COLUMNS = 1200, 5
FOLLOWS = ["adagrad", "sgd"]  # whose steps are implicit


@pytest.fixture(autouse=True)
def in_numpy(monkeypatch):
    """Compile nothing, where a test does not ask for it."""
    monkeypatch.setattr(skgd.engines, "REPAYS_SECONDS", np.inf)


def correlated(condition=1e5, seed=0, rows=ROWS):
    rng = np.random.default_rng(seed)
    directions = np.linalg.qr(rng.normal(size=(COLUMNS, COLUMNS)))[0]
    components = rng.normal(size=(rows, COLUMNS))
    y = components @ [1.0, -1.0, 0.5, 1.0, -1.0] + 0.5 * rng.normal(size=rows)
    return components * np.geomspace(1.0, condition**-0.5, COLUMNS) @ directions + 3.0, y


X, Y = correlated()
TARGETS = {
    "number": Y,
    "numbers": np.column_stack([Y, 100.0 * X[:, 0] - Y]),
    "binary": Y > 0.0,
    "classes": np.digitize(Y, [-1.0, 1.0]),
}


def streamed(model, X, y, cuts, weight=None, compiles_after=np.inf, reload=False):
    model = clone(model)
    more = {"classes": np.unique(y)} if isinstance(model, GDClassifier) else {}
    seconds = compiles_after * skgd.engines._SECONDS_A_STREAM_STEP
    with mock.patch.object(skgd.engines, "REPAYS_SECONDS", seconds):
        for begin, end in itertools.pairwise(cuts):
            part = None if weight is None else weight[begin:end]
            model.partial_fit(X[begin:end], y[begin:end], sample_weight=part, **more)
            if reload:
                model = pickle.loads(pickle.dumps(model))
    return model


def combinations_of(model):
    return model._state.whole.objective.coordinates.combinations


def assert_same(model, other):
    for name in ("coef_", "intercept_"):
        np.testing.assert_array_equal(getattr(model, name), getattr(other, name))


# ---------------------------------------------------------------------------------------------------------------------
# The minimum
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", FOLLOWS)
def test_a_few_passes_lead_near_least_squares(optimizer):
    model = GDRegressor(optimizer=optimizer)
    best = LinearRegression().fit(X, Y).score(X, Y)
    for _ in range(3):
        model.partial_fit(X, Y)
    assert combinations_of(model) is not None
    assert model.score(X, Y) > best - 0.08
    with mock.patch("skgd.decorrelation._FEW_COLUMNS", 0):
        columns = clone(model)
        for _ in range(3):
            columns.partial_fit(X, Y)
    assert columns.score(X, Y) < best - 0.15


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("units", [1.0, 1e12, 1e-12])
def test_neither_units_nor_intercepts_matter(units, fit_intercept):
    A = X * np.geomspace(1.0, units, COLUMNS)
    model = GDRegressor(fit_intercept=fit_intercept)
    for _ in range(3):
        model.partial_fit(A, Y)
    assert combinations_of(model) is not None
    best = LinearRegression(fit_intercept=fit_intercept).fit(A, Y)
    assert model.score(A, Y) > best.score(A, Y) - 0.08


@pytest.mark.parametrize("alpha", [1e-6, 1e-4, 1e-2, 1.0])
def test_a_penalty_is_that_of_ridge(alpha):
    model, ridge = GDRegressor(alpha=alpha), Ridge(alpha=ROWS * alpha, solver="svd").fit(X, Y)
    for _ in range(4):
        model.partial_fit(X, Y)
    assert combinations_of(model) is not None

    def objective(coef, predictions):
        return 0.5 * np.mean((Y - predictions) ** 2) + 0.5 * alpha * np.square(coef).sum()

    lowest, start = objective(ridge.coef_, ridge.predict(X)), objective(0.0, Y.mean())
    assert objective(model.coef_, model.predict(X)) < lowest + 0.05 * (start - lowest) + 0.01 * lowest


@pytest.mark.parametrize("kind", ["binary", "classes"])
def test_classes(kind):
    y = TARGETS[kind]
    model, solver = GDClassifier(), LogisticRegression(C=1e6, max_iter=10_000, tol=1e-8).fit((X - 3.0) * 10.0, y)
    for _ in range(3):
        model.partial_fit(X, y, classes=np.unique(y))
    assert combinations_of(model) is not None
    assert log_loss(y, model.predict_proba(X)) < log_loss(y, solver.predict_proba((X - 3.0) * 10.0)) + 0.04


def test_rounding_is_not_amplified():
    A = np.column_stack([X, X[:, :2], np.full(ROWS, 7.0)])
    model = GDRegressor()
    for _ in range(3):
        model.partial_fit(A, Y)
    assert model.score(A, Y) > LinearRegression().fit(A, Y).score(A, Y) - 0.02
    coef = np.ravel(model.coef_)
    np.testing.assert_allclose(coef[:2], coef[COLUMNS : COLUMNS + 2], atol=1e-6 * np.abs(coef).max())
    assert coef[-1] == 0.0


# ---------------------------------------------------------------------------------------------------------------------
# However rows come
# ---------------------------------------------------------------------------------------------------------------------

AGREE = [
    (GDRegressor(), "number", np.float64, False),
    (GDRegressor(fit_intercept=False, alpha=1e-3), "numbers", np.float64, True),
    (GDRegressor("huber", optimizer="sgd", average=True), "number", np.float64, True),
    (GDClassifier(optimizer="adagrad", batch_size=3), "classes", np.float64, True),
    (GDClassifier(), "binary", np.float32, False),
]


@pytest.mark.usefixtures("plain_python")
@pytest.mark.parametrize(("model", "kind", "dtype", "weighted"), AGREE)
def test_engines_agree(model, kind, dtype, weighted):
    rows, y = X[:400].astype(dtype), TARGETS[kind][:400]
    weight = np.random.default_rng(0).uniform(0.5, 2.0, 400) if weighted else None
    cuts = [0, 1, 30, 120, 121, 400]
    compiled, vectorized = (streamed(model, rows, y, cuts, weight, after) for after in (0, np.inf))
    assert (compiled.engine_, vectorized.engine_) == ("compiled", "vectorized")
    assert combinations_of(compiled) is not None
    assert combinations_of(vectorized) is not None
    tolerance = 1e-7 if dtype == np.float64 else 1e-2
    scale = np.abs(vectorized.coef_).max()
    np.testing.assert_allclose(compiled.coef_, vectorized.coef_, atol=tolerance * scale)
    np.testing.assert_allclose(compiled.predict(rows), vectorized.predict(rows), atol=tolerance * 10.0)
    ours, expected = (one._state.whole.together for one in (compiled, vectorized))
    assert (ours.rows, ours.due) == (expected.rows, expected.due) == (400, expected.due)
    np.testing.assert_allclose(ours.moments(centered=True), expected.moments(centered=True), rtol=1e-9, atol=1e-15)


def with_outliers(rows):
    """Rows of which some are so far away, from 200 on, that they count less."""
    outliers = rows.copy()
    outliers[200::50] *= 1e3
    return outliers


@pytest.mark.usefixtures("plain_python")
@pytest.mark.parametrize(("model", "kind"), [(GDRegressor("huber"), "number"), (GDClassifier(), "classes")])
@pytest.mark.parametrize("weighted", [False, True])
def test_engines_agree_on_outliers(model, kind, weighted):
    rows, y = with_outliers(X[:400]), TARGETS[kind][:400]
    weight = np.random.default_rng(0).uniform(0.5, 2.0, 400) if weighted else None
    cuts = [0, 120, 203, 205, 400]
    compiled, vectorized = (streamed(model, rows, y, cuts, weight, after) for after in (0, np.inf))
    assert combinations_of(compiled) is not None
    scale = np.abs(vectorized.coef_).max()
    np.testing.assert_allclose(compiled.coef_, vectorized.coef_, atol=1e-7 * scale)
    ours, expected = (one._state.whole for one in (compiled, vectorized))
    moments = ours.together.moments(centered=True)
    np.testing.assert_allclose(moments, expected.together.moments(centered=True), rtol=1e-9, atol=1e-15)
    for part in ("measures", "memory"):
        np.testing.assert_allclose(getattr(ours.columns, part), getattr(expected.columns, part), rtol=1e-9, atol=1e-12)
    for part in ("measures", "memory"):  # signs of combinations are not determined
        measures = (np.abs(getattr(one.combined, part)) for one in (ours, expected))
        np.testing.assert_allclose(*measures, rtol=1e-6, atol=1e-9)
    usual = np.cov(X[:400] / ours.together.unit, rowvar=False)
    assert np.all(np.diag(moments) < 10.0 * np.diag(usual))  # they count up to ten standard deviations


@pytest.mark.parametrize("model", [GDRegressor("huber"), GDClassifier()])
def test_a_stream_of_combinations_recovers_from_a_row_far_from_all_others(model):
    y = TARGETS["binary" if isinstance(model, GDClassifier) else "number"]
    before, rows = streamed(model, X, y, [0, 800]), X.copy()
    rows[803] *= 1e4
    assert combinations_of(before) is not None
    after = pickle.loads(pickle.dumps(before)).partial_fit(rows[800:], y[800:])
    assert after.score(X, y) > before.score(X, y) - 0.05


@pytest.mark.usefixtures("plain_python")
@pytest.mark.parametrize("compiles_after", [0, 20, np.inf])
@pytest.mark.parametrize("loss", ["squared_error", "huber"])
def test_cuts_and_pickles_leave_the_bits_as_they_are(loss, compiles_after):
    rows = X.copy()
    rows[300:310, 0] += 5.0  # which breaks the correlations
    whole = streamed(GDRegressor(loss), rows, Y, [0, 640], compiles_after=compiles_after)
    cuts = [0, 8, 96, 104, 112, 200, 208, 304, 312, 320, 640]
    parts = streamed(GDRegressor(loss), rows, Y, cuts, compiles_after=compiles_after, reload=True)
    assert combinations_of(whole) is not None
    assert_same(whole, parts)


@pytest.mark.parametrize("compiles_after", [0, np.inf])
@pytest.mark.usefixtures("plain_python")
def test_a_call_that_fails_changes_nothing(compiles_after):
    model = streamed(GDRegressor(), X, Y, [0, 90, 320], compiles_after=compiles_after)
    before = pickle.dumps(model)
    broken = Y[320:].copy()
    broken[400] = 1e308
    with pytest.raises((ValueError, DivergenceError)):
        streamed_on(model, np.where(np.arange(880)[:, None] == 600, 1e308, X[320:]), broken, compiles_after)
    assert pickle.dumps(model) == before


def streamed_on(model, X, y, compiles_after):
    with mock.patch.object(skgd.engines, "REPAYS_SECONDS", compiles_after * skgd.engines._SECONDS_A_STREAM_STEP):
        model.partial_fit(X, y)


def test_outliers_have_correlations_looked_at_again():
    rows = X.copy()
    rows[800:808, 0] += 1.0
    model = streamed(GDRegressor(), rows, Y, [0, 800])
    first, due = combinations_of(model), model._state.together.due
    assert due > 816
    model.partial_fit(rows[800:816], Y[800:816])
    assert combinations_of(model) is not first
    assert model.partial_fit(rows[816:], Y[816:]).score(rows[816:], Y[816:]) > 0.5


def test_a_column_that_begins_to_vary_is_learned():
    late = np.where(np.arange(ROWS) < 400, 1.0, 1.0 + np.random.default_rng(0).normal(size=ROWS))
    A, y = np.column_stack([X, late]), Y + 3.0 * (late - 1.0)
    model = GDRegressor().partial_fit(A[:400], y[:400])
    assert combinations_of(model) is not None
    assert model.partial_fit(A[400:], y[400:]).score(A[1000:], y[1000:]) > 0.9


# ---------------------------------------------------------------------------------------------------------------------
# Where columns are what they are
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "combined"),
    [
        ({}, True),
        ({"alpha": 1e-3}, True),
        ({"alpha": 0.0, "l1_ratio": 0.5}, True),  # of a penalty that is none
        ({"alpha": 1e-3, "l1_ratio": 0.5}, False),
        ({"optimizer": "sgd"}, True),
        ({"optimizer": SGD(momentum=0.9)}, False),
        ({"optimizer": "adam"}, False),
        ({"optimizer": "rmsprop"}, False),
        ({"optimizer": "adamw"}, False),
        ({"optimizer": "ftrl"}, False),
        ({"optimizer": "schedule_free"}, False),
        ({"precondition": False, "learning_rate": 1e-3}, False),
        ({"hidden_layer_sizes": (3,)}, False),
    ],
    ids=str,
)
def test_where_columns_are_combined(parameters, combined):
    model = GDRegressor(**parameters).partial_fit(X, Y)
    assert (combinations_of(model) is not None) == combined


def test_columns_that_are_not_correlated_stay_what_they_are():
    A = np.random.default_rng(0).normal(size=(ROWS, COLUMNS))
    model = GDRegressor().partial_fit(A, Y)
    with mock.patch("skgd.decorrelation._FEW_COLUMNS", 0):
        assert_same(model, GDRegressor().partial_fit(A, Y))


@pytest.mark.usefixtures("plain_python")
@pytest.mark.parametrize("compiles_after", [0, np.inf])
@pytest.mark.parametrize(
    "parameters",
    [
        {"alpha": 1e-9, "l1_ratio": 0.5},
        {"optimizer": "adam", "learning_rate": 1e-6},
        {"optimizer": "ftrl"},
        {"optimizer": "schedule_free", "learning_rate": 1e-6},
        {"precondition": False, "learning_rate": 1e-9},
        None,  # sparse rows
    ],
    ids=str,
)
def test_from_combinations_back_to_columns(parameters, compiles_after):
    model = streamed(GDRegressor(), X, Y, [0, 400, 800], compiles_after=compiles_after)
    before = model.score(X, Y)
    rows = sp.csr_array(X[800:816]) if parameters is None else X[800:816]
    streamed_on(model.set_params(**(parameters or {})), rows, Y[800:816], compiles_after)
    assert combinations_of(model) is None
    assert model.score(X, Y) > before - 0.15


@pytest.mark.parametrize("warm_start", [False, True])
@pytest.mark.parametrize("optimizer", ["auto", "sgd", "adam"])
def test_fit_and_streams_take_turns(optimizer, warm_start):
    model = GDRegressor(optimizer=optimizer, alpha=1e-6, warm_start=warm_start, random_state=0)
    model.partial_fit(X, Y).fit(X, Y)
    assert combinations_of(model) is None
    best = LinearRegression().fit(X, Y).score(X, Y)
    assert model.score(X, Y) > best - 0.01
    assert model.partial_fit(X, Y).score(X, Y) > best - 0.1


def test_coefficients_set_from_outside_are_heeded():
    model = GDRegressor().partial_fit(X, Y)
    linear = LinearRegression().fit(X, Y)
    model.coef_, model.intercept_ = linear.coef_[np.newaxis], np.atleast_1d(linear.intercept_)
    model.set_params(learning_rate=1e-12, optimizer="sgd").partial_fit(X[:8], Y[:8])
    np.testing.assert_allclose(model.predict(X), linear.predict(X), atol=1e-6)


# ---------------------------------------------------------------------------------------------------------------------
# The parts
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weighted", [False, True])
def test_co_moments_are_those_of_all_rows(weighted):
    rng = np.random.default_rng(0)
    A = X * [1.0, 1e150, 1e-150, 1.0, 1.0] + [0.0, 0.0, 0.0, 1e7, 0.0]
    weight = rng.uniform(0.1, 3.0, ROWS) if weighted else None
    together = CoMoments.begin(np.abs(A[:8]).max(axis=0), 100)
    for begin in range(0, ROWS, 40):
        rows = slice(begin, begin + 40)
        together = together.updated(A[rows], None if weight is None else weight[rows], 1, 0)
    scaled = A / together.unit
    expected = np.cov(scaled, rowvar=False, aweights=weight, ddof=0)
    deviations = np.sqrt(np.diag(expected))
    difference = (together.moments(centered=True) - expected) / np.outer(deviations, deviations)
    assert np.abs(difference).max() < 1e-7
    np.testing.assert_allclose(together.mean, np.average(scaled, axis=0, weights=weight), rtol=1e-12)


@pytest.mark.parametrize("centered", [True, False])
@pytest.mark.parametrize("factor", [0.0, 1e-6, 1.0])
def test_predictions_stay_what_they_are(factor, centered):
    """From columns to combinations, to others, and back."""
    rng = np.random.default_rng(0)
    coordinates = [Coordinates(rng.normal(size=COLUMNS), rng.uniform(0.5, 2.0, COLUMNS), np.ones(1), np.full(1, 2.0))]
    for n_rows in (100, 300):
        together = CoMoments.begin(np.abs(X).max(axis=0), 1).updated(X[:n_rows], None, 1, 0)
        found = Combinations.of_moments(together, np.full(COLUMNS, factor), centered=centered, condition=10.0)
        coordinates.append(replace(coordinates[0], combinations=found, center=rng.normal(size=COLUMNS)))
    parameters = rng.normal(size=(COLUMNS, 1)), rng.normal(size=1)
    for old, new in itertools.permutations(coordinates, 2):
        moved = new.moved_from(old, *parameters)
        coef, intercept = old.to_user(*parameters)
        again, shifted = new.to_user(*moved)
        np.testing.assert_allclose(X @ again + shifted, X @ coef + intercept, atol=1e-6)
        standardized = new.standardized(X) @ moved[0] + moved[1]
        np.testing.assert_allclose(standardized, (X @ coef + intercept - 1.0) / 2.0, atol=1e-6)
        for ours, expected in zip(moved, new.from_user(coef, intercept), strict=True):
            np.testing.assert_allclose(ours, expected, atol=1e-4 * np.abs(expected).max())
