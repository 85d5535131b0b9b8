"""Running statistics of streams: outlying rows do not own them, and a change of unit renews them."""

import pickle
from functools import cache

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import log_loss, r2_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skgd import GDClassifier, GDRegressor
from skgd.coordinates import ColumnStatistics
from skgd.running import CODE, REACH, VOTES, learned

both_types = pytest.mark.parametrize("dtype", [np.float64, np.float32])


def streamed(model, X, y, size=100, passes=1):
    first = {"classes": np.unique(y)} if isinstance(model, GDClassifier) else {}
    for start in np.tile(np.arange(0, len(y), size), passes):
        model.partial_fit(X[start : start + size], y[start : start + size], **first)
    return model


def statistics_of(X, weight=None, size=8):
    columns = ColumnStatistics.empty(X.shape[1])
    for start in range(0, X.shape[0], size):
        rows = slice(start, start + size)
        columns, _ = learned(columns, X[rows], None if weight is None else weight[rows], REACH)
    return columns


# -- statistics -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 8, 100])
def test_without_outliers_they_are_mean_and_standard_deviation(size):
    X = np.random.default_rng(0).normal(size=(1000, 4)) * [1.0, 1e-9, 1e9, 3.0] + [0.0, 1e-9, 1e12, 5.0]
    columns = statistics_of(X, size=size)
    assert_allclose(columns.mean, X.mean(axis=0), rtol=1e-9, atol=1e-9)
    assert_allclose(columns.standard_deviation, X.std(axis=0), rtol=1e-6)


@pytest.mark.parametrize("at", [0, 3, 500])
@pytest.mark.parametrize("times", [1e3, 1e6, 1e12])
def test_one_outlier_does_not_own_them(times, at):
    X = np.random.default_rng(0).normal(size=(1000, 2)) + 1.0
    clean = X.copy()
    X[at] *= times
    columns = statistics_of(X)
    assert_allclose(columns.mean, clean.mean(axis=0), atol=0.3)
    assert_allclose(columns.standard_deviation, clean.std(axis=0), rtol=0.3)


@pytest.mark.parametrize("exponent", [-12, -6, -3, 3, 6, 12])
def test_another_unit_renews_them(exponent):
    X = np.random.default_rng(0).normal(size=(2000, 2)) + 1.0
    X[1000:] *= 10.0**exponent
    columns = statistics_of(X)
    assert_allclose(columns.standard_deviation, X[1000:].std(axis=0), rtol=0.5)


def test_a_rare_column_keeps_its_size():
    X = np.zeros((20_000, 1))
    X[::250] = 3.0 + np.arange(80)[:, np.newaxis] % 5
    columns = statistics_of(X)
    assert_allclose(columns.mean, X.mean(axis=0), rtol=1e-9)
    assert_allclose(columns.standard_deviation, X.std(axis=0), rtol=1e-6)


@pytest.mark.parametrize("as_format", [np.asarray, sp.csr_array], ids=["dense", "csr"])
def test_windows_are_counted_in_rows_that_have_a_column(as_format):
    """So that some rows in which a rare column is small are no change of unit; many of them are."""
    rng = np.random.default_rng(0)
    X = rng.uniform(1.0, 2.0, (4000, 2)) * (rng.random((4000, 2)) < 0.1)
    X[2000:2250] *= 0.01
    usual = statistics_of(as_format(X[:2000])).standard_deviation
    assert_allclose(statistics_of(as_format(X[:2250])).standard_deviation, usual, rtol=0.1)
    X[2250:] *= 0.01
    assert (statistics_of(as_format(X)).standard_deviation < 0.1 * usual).all()


@pytest.mark.parametrize("bounded", [False, True])
@pytest.mark.parametrize("exponent", [-12, -6, -3, 3, 6, 12])
def test_dense_and_sparse_rows_have_the_same_statistics(exponent, bounded):
    X = np.random.default_rng(0).normal(size=(2000, 2)) + 3.0
    X[1000:] *= 10.0**exponent
    X[[500, 501]] *= 1e6
    dense, sparse = (ColumnStatistics.empty(2) for _ in range(2))
    for start in range(0, 2000, 8):
        dense, rows = learned(dense, X[start : start + 8], None, REACH, bounded=bounded)
        sparse, sparse_rows = learned(sparse, sp.csr_array(X[start : start + 8]), None, REACH, bounded=bounded)
        assert_allclose(sparse_rows.toarray(), rows, rtol=1e-6)
    assert_allclose(sparse.standard_deviation, dense.standard_deviation, rtol=1e-6)
    assert_allclose(dense.standard_deviation, X[1000:].std(axis=0), rtol=0.5)


def test_a_weight_is_as_many_rows():
    """But for which rows share a batch."""
    rng = np.random.default_rng(0)
    X, weight = rng.standard_t(2, size=(400, 3)), rng.integers(1, 4, 400).astype(float)
    scaled = statistics_of(X, 1e6 * weight)
    assert_allclose(scaled.measures, statistics_of(X, weight).measures, rtol=1e-9)


# -- what is learned ---------------------------------------------------------------------------------------------------


@cache
def cancer(seed):
    return train_test_split(*load_breast_cancer(return_X_y=True), test_size=0.5, random_state=seed)


@both_types
@pytest.mark.parametrize("loss", ["log_loss", "hinge", "modified_huber"])
@pytest.mark.parametrize(("times", "at"), [(30, 150), (1e3, 0), (1e3, 150), (1e6, 0), (1e6, 150)])
@pytest.mark.parametrize("seed", range(2))
def test_one_large_row_of_a_stream_does_not_hide_the_others(seed, times, at, loss, dtype):
    """To within one row in forty of what is reached without it."""
    X, Z, y, z = cancer(seed)
    reference = streamed(GDClassifier(loss), X, y, passes=5).score(Z, z)
    large = X.astype(dtype)
    large[at] *= times
    assert streamed(GDClassifier(loss), large, y, passes=5).score(Z, z) >= reference - 0.025


@both_types
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("exponent", [-12, -6, -3, -2, 3, 6, 12])
def test_a_stream_recovers_within_a_thousand_rows_of_another_unit(exponent, seed, dtype):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(2500, 5)) + 1.0
    y = X @ [1.0, -2.0, 0.5, 0.0, 1.0] + 0.1 * rng.normal(size=2500)
    X[1000:] *= 10.0**exponent
    X = X.astype(dtype)
    model = streamed(GDRegressor(), X[:2000], y[:2000], size=50)
    assert model.score(X[2000:], y[2000:]) >= 0.98


@pytest.mark.parametrize("as_format", [np.asarray, sp.csr_array], ids=["dense", "csr"])
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("what", ["columns", "column", "target", "all"])
@pytest.mark.parametrize(("before", "after"), [(1e12, 1e-12), (1e-12, 1e12), (1.0, 1e-6), (1e-12, 1.0), (1.0, 0.01)])
def test_a_stream_recovers_whatever_changes_its_unit(before, after, what, seed, as_format):
    """Within a thousand rows of the new one."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(3000, 5)) + 1.0
    y = X @ [1.0, -2.0, 0.5, 0.0, 1.0] + 0.1 * rng.normal(size=3000)
    unit = np.where(np.arange(3000) < 1500, before, after)
    if what != "target":
        X[:, : 1 if what == "column" else 5] *= unit[:, np.newaxis]
    if what in ("target", "all"):
        y *= unit
    model = streamed(GDRegressor(), as_format(X[:2500]), y[:2500], size=50)
    assert model.score(X[2500:], y[2500:]) >= 0.99


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("times", [30.0, 300.0, 1e5])
def test_a_stream_of_single_samples_recovers_from_larger_features(times, seed):
    """Gradients of the samples in between, which are a thousand times as large, hold it up no longer than these do."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(2000, 5)) + 1.0
    y = X @ [1.0, -2.0, 0.5, 0.0, 1.0] + 0.1 * rng.normal(size=2000)
    X[500:] *= times
    model = streamed(GDRegressor(), X[:1500], y[:1500], size=1)
    assert model.score(X[1500:], y[1500:]) >= 0.95


@pytest.mark.parametrize("n_rows", [40, 1200], ids=["vectorized", "compiled"])
def test_sizes_of_gradients_follow_the_scale_of_their_feature(n_rows):
    """As if it had been known from the first sample on, unless it falls to less than half at once."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n_rows, 3))
    model = streamed(GDRegressor(average=False), X, X @ [1.0, -2.0, 0.5] + rng.normal(size=n_rows), size=1)

    def known():
        state = model._state.whole
        [(coef, intercept)] = state.objective.layers(state.iterate.slots[0])
        return state.objective.coordinates.scale, coef.ravel(), intercept

    assert model.engine_ == ("compiled" if n_rows > 500 else "vectorized")
    scale, coef, intercept = known()
    larger = X[:40] * [2.0, 1.0, 1.5]
    model.partial_fit(larger, model.predict(larger))  # where gradients are zero
    grown, of_grown, of_intercept = known()
    assert grown[0] > 1.03 * scale[0]
    assert_allclose(of_grown, coef * np.square(scale / grown), rtol=1e-6)
    assert_allclose(of_intercept, intercept, rtol=1e-6)


def test_a_stream_learns_beside_a_column_of_subnormal_numbers():
    rng = np.random.default_rng(0)
    X = np.c_[rng.normal(size=(400, 3)), 1e-310 * np.arange(400)]
    y = X[:, :3] @ [1.0, -2.0, 0.5]
    assert streamed(GDRegressor(), X, y).score(X, y) > 0.99


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("first", [False, True], ids=["somewhere", "in the first row"])
@pytest.mark.parametrize(
    ("loss", "least"),
    [("absolute_error", 0.98), ("quantile", 0.98), ("epsilon_insensitive", 0.97), ("huber", 0.9)],
)
@pytest.mark.parametrize("value", [1e6, -1e9])
def test_robust_losses_do_not_see_outlying_targets_of_a_stream(value, loss, least, first, seed):
    """Of one row in a hundred; one pass is not converged, so that Huber's loss still feels them a little."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(1500, 5)) + 2.0
    y = X @ rng.normal(size=5) + 5.0
    outliers = np.arange(0 if first else 60, 1500, 100)
    clean = np.isin(np.arange(1500), outliers, invert=True)
    targets = np.where(clean, y, value)
    model = streamed(GDRegressor(loss), X, targets)
    assert r2_score(y[clean], model.predict(X[clean])) >= least


@pytest.mark.parametrize("as_format", [np.asarray, sp.csr_array], ids=["dense", "csr"])
def test_engines_agree_on_outliers_and_other_units(as_format, monkeypatch):
    rng = np.random.default_rng(0)
    X, y = rng.standard_t(1.5, size=(6000, 4)) + 1.0, rng.normal(size=6000)
    X[4600:] *= [1e-9, 1e9, 1.0, 1e3]
    X[[4400, 5000]] *= 1e6
    y[::100] = 1e6
    labels = (X[:, 2] + y > 1.0).astype(int)
    X = as_format(X)
    for model, target in ((GDClassifier(), labels), (GDRegressor("absolute_error"), y), (GDRegressor(), labels * 1.0)):
        compiled = streamed(model, X, target)
        assert compiled.engine_ == "compiled"
        with monkeypatch.context() as patched:
            patched.setattr("skgd.stream.choose_stream", lambda *_: False)
            vectorized = streamed(type(model)(**model.get_params(deep=False)), X, target)
        assert vectorized.engine_ == "vectorized"
        assert_allclose(compiled.coef_, vectorized.coef_, rtol=1e-6)
        one, other = compiled._state.whole, vectorized._state.whole
        assert_allclose(one.columns.measures, np.array(other.columns.measures), rtol=1e-9)
        assert_allclose(one.columns.memory, other.columns.memory, rtol=1e-9, atol=1e-300)


def test_cuts_leave_the_bits_as_they_are():
    rng = np.random.default_rng(0)
    X, y = rng.standard_t(1.5, size=(1600, 3)), rng.integers(0, 2, 1600)
    X[800:] *= 1e-6
    whole = streamed(GDClassifier(), X, y, size=1600)
    assert_array_equal(streamed(GDClassifier(), X, y, size=40).coef_, whole.coef_)


def test_constant_columns_stay_constant():
    """Rounding errors of hundreds of merged rows are no variance, which compiled code would divide by."""
    generator = np.random.default_rng(0)
    A = np.column_stack([generator.normal(size=1500), np.tile([0.003467, 0.1, 1.0 / 3.0, 7.7, -1e-5], (1500, 1))])
    model = GDClassifier()
    for i in range(len(A)):
        model.partial_fit(A[i : i + 1], A[i : i + 1, 0] > 0.0, classes=[False, True])
    assert model.coef_[0, 0] > 0.0
    assert_array_equal(model.coef_[0, 1:], 0.0)


# -- codes for missing values ------------------------------------------------------------------------------------------


def with_codes(n_rows, share, seed, code, n_coded=3):
    """Return rows whose first features have a code for missing values, the mean without it, and what y depends on."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_rows + 2000, 8)) * np.exp(rng.normal(size=8)) + rng.normal(size=8)
    signal = ((X - X.mean(axis=0)) / X.std(axis=0)) @ rng.normal(size=8)
    X[:, :n_coded][rng.random((len(X), n_coded)) < share] = code
    return X[:n_rows], signal[:n_rows], X[n_rows:], signal[n_rows:], rng


@pytest.mark.parametrize("as_format", [np.asarray, sp.csr_array], ids=["dense", "csr"])
@pytest.mark.parametrize("size", [1, 8])
@pytest.mark.parametrize(
    ("n_rows", "share", "code"), [(2000, 0.05, -9999.0), (2000, 0.1, -99.0), (4000, 0.02, 1e6), (8000, 0.01, -1e9)]
)
@pytest.mark.parametrize("seed", range(2))
def test_codes_count_in_a_stream(seed, n_rows, share, code, size, as_format):
    """Probabilities are those of logistic regression on standardized features."""
    X, signal, Z, of_new, rng = with_codes(n_rows, share, seed, code)
    y, z = (part + rng.logistic(size=len(part)) > 0.0 for part in (signal, of_new))
    reference = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)
    model = streamed(GDClassifier(), as_format(X), y, size=size)
    loss, expected = (log_loss(z, each.predict_proba(Z)) for each in (model, reference))
    assert loss < expected + 0.01 * np.log(2.0)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("loss", ["hinge", "log_loss"])
def test_codes_count_in_a_stream_of_another_optimizer(loss, optimizer):
    X, signal, Z, of_new, rng = with_codes(4000, 0.05, 0, -9999.0)
    y, z = (part + rng.logistic(size=len(part)) > 0.0 for part in (signal, of_new))
    reference = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)
    model = streamed(GDClassifier(loss, optimizer=optimizer), X.astype(np.float32), y)
    assert model.score(Z.astype(np.float32), z) > reference.score(Z, z) - 0.02


@pytest.mark.parametrize("size", [1, 8])
@pytest.mark.parametrize("loss", ["squared_error", "huber"])
@pytest.mark.parametrize(("share", "code"), [(0.01, -9999.0), (0.004, 1e6)])
@pytest.mark.parametrize("seed", range(2))
def test_codes_count_in_a_stream_of_numbers(seed, share, code, loss, size):
    """They are no change of unit that ends with the next hundred rows."""
    X, signal, Z, of_new, rng = with_codes(8000, share, seed, code)
    y = signal + 0.5 * rng.normal(size=len(signal))
    expected = r2_score(of_new, LinearRegression().fit(X, y).predict(Z))
    assert r2_score(of_new, streamed(GDRegressor(loss), X, y, size=size).predict(Z)) > expected - 0.01


def test_codes_count_beside_correlated_columns():
    X, signal, Z, of_new, rng = with_codes(8000, 0.01, 0, -9999.0)
    A, B = (np.c_[part, part[:, 5:] + 0.001 * rng.normal(size=(len(part), 3))] for part in (X, Z))
    y, z = (part + rng.logistic(size=len(part)) > 0.0 for part in (signal, of_new))
    reference = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)
    model = streamed(GDClassifier(), A, y)
    assert model._state.whole.objective.coordinates.combinations is not None
    loss, expected = (log_loss(z, each) for each in (model.predict_proba(B), reference.predict_proba(Z)))
    assert loss < expected + 0.02 * np.log(2.0)


def correlated(seed, n_rows=3000):
    """Return features that three factors determine but for a twentieth, their signal, and new ones."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_rows + 1000, 3)) @ rng.normal(size=(3, 6)) + 0.05 * rng.normal(size=(n_rows + 1000, 6))
    X = X * 10.0 ** rng.integers(-3, 3, 6) + rng.normal(size=6)
    signal = 3.0 * (StandardScaler().fit_transform(X) @ rng.normal(size=6))
    return X[:n_rows], signal[:n_rows], X[n_rows:], signal[n_rows:], rng


@both_types
@pytest.mark.parametrize("loss", ["squared_error", "huber", "absolute_error"])
@pytest.mark.parametrize(("first", "times"), [(1, 1e6), (20, 1e4), (20, 1e-6)])
@pytest.mark.parametrize("seed", range(2))
def test_first_samples_far_away_do_not_hide_how_others_are_correlated(seed, first, times, loss, dtype):
    """Their co-moments would leave the others with features that are correlated."""
    X, signal, Z, of_new, rng = correlated(seed)
    y, begin = signal + 0.3 * rng.normal(size=len(X)), 2 if first == 1 else 0
    expected = r2_score(of_new, LinearRegression().fit(X, y).predict(Z))
    X[begin : begin + first] *= times
    model = streamed(GDRegressor(loss), X.astype(dtype), y, 8)
    assert r2_score(of_new, model.predict(Z.astype(dtype))) > expected - 0.01


@pytest.mark.parametrize("size", [1, 8])
@pytest.mark.parametrize(("share", "code"), [(0.01, -9999.0), (0.01, 1e6), (0.03, -99.0)])
@pytest.mark.parametrize("seed", range(2))
def test_codes_count_beside_twins_with_the_same(seed, share, code, size):
    """Also where the first samples have it, when nothing is known that it would be far from."""
    X, signal, Z, of_new, rng = with_codes(6000, share, seed, code)
    X[3, 0] = code
    y, z = signal + rng.logistic(size=len(X)) > 0.0, of_new + rng.logistic(size=len(Z)) > 0.0
    X, Z = (np.c_[A, np.where(code == A, code, A + 0.01 * rng.normal(size=A.shape))[:, :3]] for A in (X, Z))
    reference = make_pipeline(StandardScaler(), LogisticRegression(C=1e6, max_iter=5000)).fit(X, y)
    model = streamed(GDClassifier(), X, y, size)
    assert log_loss(z, model.predict_proba(Z)) < log_loss(z, reference.predict_proba(Z)) + 0.01


@pytest.mark.parametrize("as_format", [np.asarray, sp.csr_array], ids=["dense", "csr"])
@pytest.mark.parametrize("share", [0.05, 0.01])
def test_a_feature_with_a_code_has_the_standard_deviation_of_all_values(share, as_format):
    X, *_ = with_codes(6000, share, 0, -9999.0)
    columns = statistics_of(as_format(X))
    assert_allclose(columns.standard_deviation, X.std(axis=0), rtol=0.2)
    assert_array_equal(columns.memory[CODE, :3], -9999.0)
    assert_array_equal(np.isinf(columns.memory[VOTES]), np.arange(8) < 3)


def test_a_feature_whose_code_no_longer_occurs_is_measured_without_it():
    X, *_ = with_codes(8000, 0.0, 0, 0.0)
    later = X[4000:].std(axis=0)
    X[:4000, :3][np.random.default_rng(1).random((4000, 3)) < 0.05] = -9999.0
    assert_allclose(statistics_of(X).standard_deviation, later, rtol=0.2)


def test_values_far_away_that_differ_are_no_code():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(6000, 2))
    X[rng.random(6000) < 0.005, 0] = 1e6
    X[rng.random(6000) < 0.005, 1] *= 1e6
    assert_array_equal(np.isinf(statistics_of(X).memory[VOTES]), [True, False])


def test_samples_without_weight_are_no_codes():
    rng = np.random.default_rng(0)
    X, weight = rng.normal(size=(2000, 2)), np.ones(2000)
    X[50::20], weight[50::20] = -9999.0, 0.0
    assert_array_equal(np.abs(statistics_of(X, weight).memory[[CODE, VOTES]]), [[np.inf] * 2, [0.0] * 2])


@pytest.mark.parametrize("as_format", [np.asarray, sp.csr_array], ids=["dense", "csr"])
@pytest.mark.parametrize("share", [0.05, 0.01])
def test_engines_agree_on_codes(share, as_format, monkeypatch):
    X, signal, *_, rng = with_codes(4000, share, 0, -9999.0)
    X[:, 7] = X[:, 6] + 0.001 * rng.normal(size=len(X))  # so that dense ones are combined
    for model, y in ((GDClassifier(), signal > 0.0), (GDRegressor(), signal), (GDRegressor("huber"), signal)):
        compiled = streamed(model, as_format(X), y)
        with monkeypatch.context() as patched:
            patched.setattr("skgd.stream.choose_stream", lambda *_: False)
            vectorized = streamed(type(model)(**model.get_params(deep=False)), as_format(X), y)
        assert (compiled.engine_, vectorized.engine_) == ("compiled", "vectorized")
        assert_allclose(compiled.predict(X), vectorized.predict(X), rtol=1e-5, atol=1e-8)
        one, other = (each._state.whole.columns.memory for each in (compiled, vectorized))
        assert_allclose(one, other, rtol=1e-8, atol=1e-300)
        if share == 0.01 or isinstance(model, GDClassifier):  # else they are never far away
            assert np.isinf(one[8, :3]).all()


def test_cuts_within_a_stream_with_codes_leave_the_bits_as_they_are():
    X, signal, *_ = with_codes(4000, 0.05, 0, -9999.0)
    whole = streamed(GDClassifier(), X, signal > 0.0, size=4000)
    other = GDClassifier()
    for start in range(0, 4000, 40):
        other.partial_fit(X[start : start + 40], signal[start : start + 40] > 0.0, classes=[False, True])
        other = pickle.loads(pickle.dumps(other)) if start % 800 == 0 else other
    assert_array_equal(other.coef_, whole.coef_)


# -- scales that grow --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("as_format", [np.asarray, sp.csr_array], ids=["dense", "csr"])
@pytest.mark.parametrize("seed", range(2))
def test_classes_that_come_in_runs_are_learned(seed, as_format):
    """What is learned of features that hardly vary within a class is no knowledge of how they differ between them."""
    rng = np.random.default_rng(seed)
    classes = np.concatenate([np.repeat(rng.permutation(20), 10) for _ in range(8)])
    means, units = 3.0 * rng.normal(size=(20, 12)), np.exp(3.0 * rng.normal(size=12))
    X = as_format((means[classes] + 20.0 + rng.normal(size=(len(classes), 12))) * units)
    model, right = GDClassifier(), 0
    for i in range(len(classes)):
        right += i > 0 and model.predict(X[i : i + 1])[0] == classes[i]
        model.partial_fit(X[i : i + 1], classes[i : i + 1], classes=np.arange(20))
    assert right > 0.8 * len(classes)
