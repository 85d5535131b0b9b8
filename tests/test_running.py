"""Running statistics of streams: outlying rows do not own them, and a change of unit renews them."""

from functools import cache

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import load_breast_cancer
from sklearn.metrics import r2_score
from sklearn.model_selection import train_test_split

from skgd import GDClassifier, GDRegressor
from skgd.coordinates import ColumnStatistics
from skgd.running import REACH, learned

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
    larger = X[:40] * [3.0, 1.0, 2.0]
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
