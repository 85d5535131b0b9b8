"""Column statistics against NumPy's weighted ones, however the rows are cut and whoever measures them; and the change
of variables against the predictions that it must not change.
"""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.feature_extraction.text import TfidfTransformer

from skgd import coordinates as module
from skgd import measuring
from skgd.coordinates import ColumnStatistics, Coordinates
from skgd.engines import compiled

many = settings(max_examples=60, deadline=None)
dense_and_sparse = pytest.mark.parametrize("container", [np.asarray, sp.csr_array], ids=["dense", "sparse"])


def of(X, weight=None):
    return ColumnStatistics.empty(X.shape[1]).updated(X, weight)


def assert_statistics(statistics, X, weight=None):
    """Compare with NumPy's on the whole of X, in units of its largest values, so that nothing overflows."""
    largest = np.abs(X).max(axis=0)
    unit = np.where(largest > 0.0, largest, 1.0)
    mean = np.average(X / unit, axis=0, weights=weight)
    variance = np.average((X / unit - mean) ** 2, axis=0, weights=weight)
    assert_array_equal(statistics.largest, largest)
    assert_allclose(statistics.mean / unit, mean, atol=1e-13)
    assert_allclose(
        (statistics.root_mean_square / unit)[largest > 0] ** 2, (variance + mean**2)[largest > 0], rtol=1e-9
    )
    spread = ~statistics.constant
    assert_allclose((statistics.standard_deviation / unit)[spread] ** 2, variance[spread], atol=1e-13)
    assert_allclose(variance[~spread], 0.0, atol=1e-26)


@st.composite
def rows_with_weights_and_cuts(draw):
    n = draw(st.integers(1, 12))
    numbers = st.one_of(st.just(0.0), st.floats(-100.0, 100.0).filter(lambda x: abs(x) > 1e-6))
    X = draw(arrays(np.float64, (n, 3), elements=numbers))
    weight = draw(st.none() | arrays(np.float64, n, elements=st.floats(0.1, 10.0)))
    return X, weight, sorted(draw(st.sets(st.integers(1, max(n - 1, 1)))))


@dense_and_sparse
@many
@given(case=rows_with_weights_and_cuts())
def test_statistics_equal_numpys_however_the_rows_are_cut(container, case):
    X, weight, cuts = case
    statistics = ColumnStatistics.empty(3)
    for rows in filter(len, np.split(np.arange(len(X)), cuts)):
        statistics = statistics.updated(container(X[rows]), None if weight is None else weight[rows])
    assert_statistics(statistics, X, weight)
    assert statistics.rows == len(X)
    assert_allclose(statistics.weight, len(X) if weight is None else weight.sum(), rtol=1e-14)


@pytest.mark.parametrize("chunk", [1, 7, 64, 10**6])
def test_chunks_within_one_call_change_nothing(monkeypatch, chunk):
    rng = np.random.default_rng(0)
    X, weight = rng.standard_normal((100, 4)), rng.uniform(0.1, 2.0, 100)
    monkeypatch.setattr(measuring, "_CHUNK_ELEMENTS", chunk)
    assert_statistics(of(X, weight), X, weight)


@dense_and_sparse
def test_updating_leaves_the_old_statistics_and_the_data_alone(container):
    X = np.random.default_rng(0).standard_normal((10, 3))
    data, before = container(X), of(container(X))
    copies = [value.copy() for value in (before.largest, before.relative_mean, before.relative_variance)]
    before.updated(data * 10.0, np.full(10, 2.0))
    assert_array_equal(data.toarray() if sp.issparse(data) else data, X)
    for value, copy in zip((before.largest, before.relative_mean, before.relative_variance), copies, strict=True):
        assert_array_equal(value, copy)


@dense_and_sparse
@many
@given(
    X=arrays(np.float64, (6, 2), elements=st.integers(-20, 20).map(float)),
    weight=arrays(np.int64, 6, elements=st.integers(1, 4)),
)
def test_weights_are_repeated_rows(container, X, weight):
    weighted, repeated = of(container(X), weight.astype(float)), of(container(np.repeat(X, weight, axis=0)))
    assert weighted.weight == repeated.weight
    assert_array_equal(weighted.largest, repeated.largest)
    assert_allclose(weighted.relative_mean, repeated.relative_mean, atol=1e-14)
    assert_allclose(weighted.relative_variance, repeated.relative_variance, atol=1e-14)


@dense_and_sparse
@pytest.mark.parametrize("size", [1e150, 1e-150, 1e300, 1e-300])
def test_extreme_sizes(container, size):
    X = np.random.default_rng(0).uniform(-1.0, 1.0, (50, 3))
    huge, plain = of(container(size * X)), of(container(X))
    for name in ("mean", "standard_deviation", "root_mean_square"):
        assert_allclose(getattr(huge, name) / size, getattr(plain, name), rtol=1e-12)
    scaled = huge.mean_squares(huge.mean, huge.standard_deviation)
    assert_allclose(scaled, 1.0, rtol=1e-12)


@dense_and_sparse
def test_a_column_that_grows_by_hundreds_of_magnitudes(container):
    X = np.array([[1e-300], [-1e-300], [1.0], [1e150]])
    statistics = ColumnStatistics.empty(1)
    for row in X:
        statistics = statistics.updated(container(row[np.newaxis]), None)
    assert_statistics(statistics, X)


@pytest.mark.parametrize("offset", [1e9, -1e6, 1e3])
@pytest.mark.parametrize("batches", [1, 10, 1000])
def test_unit_spread_far_from_zero(offset, batches):
    """The digits that the numbers themselves have lost are all that is lost."""
    X = offset + np.random.default_rng(0).standard_normal((1000, 2))
    statistics = ColumnStatistics.empty(2)
    for rows in np.array_split(X, batches):
        statistics = statistics.updated(rows, None)
    shifted = X - offset  # exact
    assert_allclose(statistics.mean - offset, shifted.mean(axis=0), atol=1e-14 * abs(offset))
    assert_allclose(statistics.standard_deviation, shifted.std(axis=0), rtol=1e-15 * abs(offset))


@pytest.mark.parametrize("n_columns", [1, 5, 100, 5000])
@pytest.mark.parametrize("weighted", [False, True])
def test_columns_of_every_kind_beside_each_other(n_columns, weighted):
    """Also where a mean square less the square of the mean is rounding, or overflows."""
    rng = np.random.default_rng(0)
    n_rows = 640 if n_columns > 100 else 20_032  # a multiple of 64, for which there is a shorter way
    normal = rng.standard_normal(n_rows)
    first_is_far = np.where(np.arange(n_rows) == 0, 1e9, 5.0 + rng.random(n_rows))
    kinds = (
        normal,
        1e7 + normal,
        -1e4 + normal,
        np.where(rng.random(n_rows) < 1e-3, 0.0, 1e6 + normal),
        first_is_far,
        (rng.random(n_rows) < 0.1) * 3.0,
        1e160 * normal,
        1e-160 * (5.0 + normal),
        np.exp(5.0 * normal),
        np.sort(normal) * 1e3,
    )
    weight = rng.uniform(0.1, 2.0, n_rows) if weighted else None
    if weighted:
        weight[0] = 1e-20
    for shift in range(len(kinds)) if n_columns < 10 else [0]:
        X = np.column_stack([kinds[(j + shift) % len(kinds)] for j in range(n_columns)])
        statistics, largest = of(X, weight), np.abs(X).max(axis=0)
        relative = X.astype(np.longdouble) / largest
        mean = np.average(relative, axis=0, weights=weight)
        variance = np.average(np.square(relative - mean), axis=0, weights=weight)
        assert_array_equal(statistics.largest, largest)
        assert_allclose(statistics.relative_mean, mean.astype(float), rtol=1e-12, atol=1e-14)
        assert_allclose(statistics.relative_variance, variance.astype(float), rtol=1e-6)
        assert_allclose(statistics.filled, np.average(X != 0.0, axis=0, weights=weight), rtol=1e-13)


@pytest.mark.parametrize(("unit", "weight"), [(1e80, 1e200), (1e90, 1e250), (1e-80, 1e-200), (1.0, 1e-310)])
def test_weights_of_any_size_beside_values_of_any_size(unit, weight):
    """Their products with squares of values would be infinite, or zero: of values about zero, as if constant."""
    half = np.random.default_rng(0).standard_normal((1024, 20))
    X = np.vstack([half, -half])
    expected = np.square(X / np.abs(X).max(axis=0)).mean(axis=0)
    assert_allclose(of(unit * X, np.full(2048, weight)).relative_variance, expected, rtol=1e-12)


@pytest.mark.parametrize("value", [0.0, 0.1, -7.3, 1e9 + 0.3, 1e150, 1e-300])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("measure", [measuring.measure_columns, compiled.measure_columns], ids=["NumPy", "compiled"])
def test_constant_columns(value, weighted, measure):
    """A constant column has its size for a scale, never rounding errors or 0, also beside weights of many sizes."""
    X = np.full((300_000, 1), value)
    statistics = ColumnStatistics.empty(1)
    for rows in np.array_split(X, 5):
        weight = 10.0 ** np.random.default_rng(0).uniform(-8.0, 8.0, len(rows)) if weighted else None
        statistics = statistics.updated(rows, weight, measure)
    assert statistics.constant.all()
    expected = abs(value) or 1.0
    assert_array_equal(statistics.standard_deviation, [expected])
    assert_allclose(module.rare_scale(statistics.largest, statistics.filled), [expected], rtol=1e-13)
    assert_allclose(statistics.root_mean_square, [expected], rtol=1e-14)
    assert_allclose(statistics.mean, [value], rtol=1e-14)


@pytest.mark.parametrize("measure", [measuring.measure_columns, compiled.measure_columns], ids=["NumPy", "compiled"])
def test_constant_columns_of_sparse_rows(measure):
    for n_rows in range(2, 500):
        X = sp.csr_array(np.full((n_rows, 1), 3.7))
        statistics = ColumnStatistics.empty(1).updated(X, None, measure)
        assert_array_equal(statistics.standard_deviation, [3.7])


@pytest.mark.parametrize("n_rows", [500, 20_032])
@dense_and_sparse
def test_float32_columns_are_measured_in_float64(container, n_rows):
    X = np.random.default_rng(0).standard_normal((n_rows, 3)).astype(np.float32)
    assert_statistics(of(container(X)), X.astype(np.float64))


@dense_and_sparse
def test_mean_squares_are_those_of_the_standardized_rows(container):
    rng = np.random.default_rng(0)
    X, weight = 3.0 + rng.standard_normal((40, 3)), rng.uniform(0.1, 2.0, 40)
    center, scale = np.array([1.0, -2.0, 3.0]), np.array([0.1, 5.0, 1.0])
    expected = np.average(((X - center) / scale) ** 2, axis=0, weights=weight)
    assert_allclose(of(container(X), weight).mean_squares(center, scale), expected, rtol=1e-12)
    expected = np.average(X**2, axis=0, weights=weight)
    assert_allclose(of(container(X), weight).mean_squares(0.0, 1.0), expected, rtol=1e-12)


def test_rows_stay_sparse_where_empty_columns_are_left_out():
    X = np.hstack([half_empty(), np.zeros((90, 30))])
    statistics = of(X)
    assert statistics.sparse
    assert statistics.of_subset(np.array([4, 0, 1, 2, 5])).sparse
    assert not of(half_empty()).sparse


# -- compiled ---------------------------------------------------------------------------------------------------------


def untidy(X):
    """Return a CSR array with the entries of each row in falling order of columns, the zeros of some columns stored."""
    stored = (X != 0.0) | (np.arange(X.shape[1]) % 2 == 0)
    indices = np.concatenate([np.flatnonzero(row)[::-1] for row in stored])
    indptr = np.concatenate([[0], np.cumsum(stored.sum(axis=1))])
    values = X[np.repeat(np.arange(len(X)), np.diff(indptr)), indices]
    return sp.csr_array((values, indices, indptr), shape=X.shape)


def with_int64_indices(X):
    rows = sp.csr_array(X)
    return sp.csr_array((rows.data, rows.indices.astype(np.int64), rows.indptr.astype(np.int64)), shape=X.shape)


CONTAINERS = {
    "rows first": np.ascontiguousarray,
    "columns first": np.asfortranarray,
    "every other column": lambda X: np.repeat(X, 2, axis=1)[:, ::2],
    "sparse": sp.csr_array,
    "untidy": untidy,
    "int64 indices": with_int64_indices,
}


def half_empty(seed=0):
    """Rows and columns of ordinary numbers, zeros and nothing but zeros."""
    rng = np.random.default_rng(seed)
    X = (rng.standard_normal((90, 6)) + rng.integers(-3, 4, 6)) * (rng.random((90, 6)) < 0.4)
    X[::7], X[:, 3] = 0.0, 0.0
    return X


def assert_same_statistics(one, other, rounding=1e-13):
    """Whoever measures: means and variances lie in units of the largest values, so that rounding is absolute."""
    assert (one.rows, one.weight) == (other.rows, other.weight)
    assert_array_equal(one.largest, other.largest, strict=True)
    assert_array_equal(one.filled == 0.0, other.filled == 0.0)
    for name in ("relative_mean", "relative_variance", "filled"):
        assert_allclose(getattr(one, name), getattr(other, name), rtol=0.0, atol=rounding, err_msg=name)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("container", CONTAINERS)
def test_compiled_statistics(container, dtype, monkeypatch):
    X = CONTAINERS[container](half_empty().astype(dtype))
    more = CONTAINERS[container](half_empty(seed=1).astype(dtype) * [1e3, 1e-3, 1.0, 1.0, 1e150**0.2, 1.0])
    more = more.astype(dtype)
    weight = np.random.default_rng(2).uniform(0.1, 5.0, 90)
    for elements in (2**17, 7 * 6):  # at once, and in chunks of seven rows
        monkeypatch.setattr(measuring, "_CHUNK_ELEMENTS", elements)
        for shares in (None, weight):
            first = of(X, shares), ColumnStatistics.empty(6).updated(X, shares, compiled.measure_columns)
            assert_same_statistics(*first)
            second = first[0].updated(more, shares), first[1].updated(more, shares, compiled.measure_columns)
            assert_same_statistics(*second)


@pytest.mark.parametrize("container", ["rows first", "sparse", "untidy"])
@pytest.mark.parametrize("size", [1e150, 1e-150, 1e300, 1e-300, 5e-324])
def test_compiled_statistics_of_extreme_sizes(container, size):
    X = np.random.default_rng(0).uniform(-1.0, 1.0, (50, 4)) * [1.0, size, 1.0, size]
    X[::3, :2] = 0.0
    if size == 5e-324:  # the smallest number there is
        X[:, 1::2] = size * (X[:, 1::2] > 0.5 * size)
    X = CONTAINERS[container](X)
    assert_same_statistics(ColumnStatistics.empty(4).updated(X, None, compiled.measure_columns), of(X))


def test_compiled_statistics_leave_the_data_alone():
    for container in ("rows first", "untidy"):
        X, before = CONTAINERS[container](half_empty()), CONTAINERS[container](half_empty())
        if sp.issparse(X):
            X.data.flags.writeable = X.indices.flags.writeable = X.indptr.flags.writeable = False
        else:
            X.flags.writeable = False  # a memory map
        largest = np.full(6, 0.5)
        compiled.measure_columns(X, None, 90.0, largest)
        assert_array_equal(largest, 0.5)
        assert_array_equal((X - before).sum(), 0.0)


@st.composite
def rows_of_columns(draw):
    """Draw the columns of the entries of each row, in any order, some of them several times."""
    n_columns = draw(st.integers(1, 6))
    return n_columns, draw(st.lists(st.lists(st.integers(0, n_columns - 1), max_size=5), min_size=1, max_size=5))


@many
@given(case=rows_of_columns(), dtype=st.sampled_from([np.int32, np.int64]))
def test_duplicates_are_found(case, dtype):
    n_columns, rows = case
    indices, indptr = (
        np.array([j for row in rows for j in row], dtype=dtype),
        np.cumsum([0, *map(len, rows)], dtype=dtype),
    )
    X = sp.csr_array((np.ones(len(indices)), indices, indptr), shape=(len(rows), n_columns))
    summed = X.copy()
    summed.sum_duplicates()
    assert compiled.has_duplicates(X) == (summed.nnz < X.nnz)
    assert_array_equal(X.indices, indices)


# ---------------------------------------------------------------------------------------------------------------------
# Coordinates
# ---------------------------------------------------------------------------------------------------------------------

FEATURES, OUTPUTS = 4, 2
SIZES = np.array([1e4, 1.0, 1e-3, 50.0])


def data(seed=0, sparse=False):
    rng = np.random.default_rng(seed)
    X = SIZES * (rng.standard_normal((30, FEATURES)) + np.array([3.0, 0.0, -1.0, seed]))
    if sparse:
        X = X * (rng.random(X.shape) < 0.5)
    return X, np.array([10.0, 0.1]) * rng.standard_normal((30, OUTPUTS)) + [100.0, seed]


def learned(*, sparse=False, fit_intercept=True, log_link=False, seed=0, dtype=np.float64):
    """The coordinates that training would learn from some data."""
    X, y = data(seed, sparse)
    X = sp.csr_array(X) if sparse else X
    columns = Coordinates.of_columns(of(X), sparse=sparse, fit_intercept=fit_intercept, dtype=dtype)
    return columns.with_target(of(np.abs(y)), log_link=log_link, fit_intercept=fit_intercept)


def parameters(seed=1):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((FEATURES, OUTPUTS)), rng.standard_normal(OUTPUTS)


def predict(coordinates, X, coef, intercept):
    """Predict with the optimizer's parameters, as the module's formula has it."""
    Z = coordinates.standardized(X)
    return coordinates.target_center + coordinates.target_scale * (Z @ coef + intercept)


KINDS = {
    "plain": Coordinates(),
    "dense": learned(),
    "sparse": learned(sparse=True),
    "origin": learned(fit_intercept=False),
    "log link": learned(log_link=True),
    "classifier": Coordinates.of_columns(of(data()[0]), sparse=False, fit_intercept=True, dtype=np.float64),
    "other data": learned(seed=5),
}
every_kind = pytest.mark.parametrize("coordinates", KINDS.values(), ids=KINDS)


@every_kind
def test_round_trip(coordinates):
    coef, intercept = parameters()
    there_and_back = coordinates.from_user(*coordinates.to_user(coef, intercept))
    back_and_there = coordinates.to_user(*coordinates.from_user(coef, intercept))
    for result in (there_and_back, back_and_there):
        assert_allclose(result[0], coef, rtol=1e-12)
        assert_allclose(result[1], intercept, rtol=1e-9)


@every_kind
def test_the_users_parameters_predict_the_same(coordinates):
    X = data(seed=3, sparse=not coordinates.centered)[0]
    coef, intercept = parameters()
    user_coef, user_intercept = coordinates.to_user(coef, intercept)
    expected = X @ user_coef + user_intercept
    assert_allclose(predict(coordinates, X, coef, intercept), expected, rtol=1e-10, atol=1e-10)
    if not coordinates.centered:
        result = predict(coordinates, sp.csr_array(X), coef, intercept)
        assert_allclose(result, expected, rtol=1e-10, atol=1e-10)


@every_kind
@pytest.mark.parametrize("old", KINDS.values(), ids=KINDS)
def test_moving_is_going_by_way_of_the_user(coordinates, old):
    coef, intercept = parameters()
    moved = coordinates.moved_from(old, coef, intercept)
    by_way = coordinates.from_user(*old.to_user(coef, intercept))
    assert_allclose(moved[0], by_way[0], rtol=1e-12)
    assert_allclose(moved[1], by_way[1], rtol=1e-9)
    X = data(seed=3)[0]
    assert_allclose(predict(coordinates, X, *moved), predict(old, X, coef, intercept), rtol=1e-9)


def test_moving_does_not_cancel_far_from_zero():
    old = Coordinates(center=np.full(FEATURES, 1e12), scale=np.ones(FEATURES), target_center=np.zeros(OUTPUTS))
    new = Coordinates(center=np.full(FEATURES, 1e12 + 1.0), scale=np.ones(FEATURES), target_center=np.ones(OUTPUTS))
    coef, intercept = parameters()
    moved = new.moved_from(old, coef, intercept)
    assert_allclose(moved[1], intercept + coef.sum(axis=0) - 1.0, rtol=1e-14)
    X = 1e12 + data()[0].round()  # exact
    assert_allclose(predict(new, X, *moved), predict(old, X, coef, intercept), rtol=1e-12)


def test_dense_columns_and_targets_become_standard():
    X, y = data()
    Z, coordinates = learned().standardized(X), learned()
    assert_allclose(Z.mean(axis=0), 0.0, atol=1e-13)
    assert_allclose(Z.std(axis=0), 1.0, rtol=1e-13)
    assert_allclose(coordinates.target_center, np.abs(y).mean(axis=0), rtol=1e-13)
    assert_allclose(coordinates.target_scale, np.abs(y).std(axis=0), rtol=1e-12)


def test_without_intercept_only_the_scale_changes():
    X, y = data()
    coordinates = learned(fit_intercept=False)
    assert not coordinates.centered
    assert np.all(coordinates.target_center == 0.0)
    assert_allclose(np.square(coordinates.standardized(X)).mean(axis=0), 1.0, rtol=1e-13)
    assert_allclose(np.square(y / coordinates.target_scale).mean(axis=0), 1.0, rtol=1e-13)
    coef, _ = parameters()
    assert_array_equal(coordinates.to_user(coef, np.zeros(OUTPUTS))[1], 0.0)


def test_sparse_columns_stay_sparse():
    X = sp.csr_array(data(sparse=True)[0])
    Z = Coordinates.of_columns(of(X), sparse=True, fit_intercept=False, dtype=np.float64).standardized(X)
    assert_array_equal(Z.indices, X.indices)
    assert_array_equal(Z.indptr, X.indptr)
    idf = TfidfTransformer(smooth_idf=False).fit(X).idf_  # 1 + log(rows / filled rows)
    assert_allclose(np.abs(Z.toarray()).max(axis=0), np.sqrt(idf), rtol=1e-14)
    assert_array_equal(X.toarray(), data(sparse=True)[0])


def test_with_a_log_link_the_untrained_model_predicts_the_mean():
    y = np.abs(data()[1])
    coordinates = learned(log_link=True)
    assert_allclose(np.exp(coordinates.target_center), y.mean(axis=0), rtol=1e-13)
    assert np.all(coordinates.target_scale == 1.0)
    assert np.all(learned(log_link=True, fit_intercept=False).target_center == 0.0)
    zeros = Coordinates().with_target(of(np.zeros((5, 1))), log_link=True, fit_intercept=True)
    assert_array_equal(zeros.target_center, 0.0)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "sparse"])
@pytest.mark.parametrize("fit_intercept", [False, True])
def test_standardized_rows_keep_their_dtype(dtype, sparse, fit_intercept):
    X = data(sparse=sparse)[0].astype(dtype)
    X = sp.csr_array(X) if sparse else X
    before = X.copy()
    Z = learned(sparse=sparse, fit_intercept=fit_intercept, dtype=dtype).standardized(X)
    assert Z.dtype == dtype
    assert_array_equal((X - before).sum(), 0.0)


def test_plain_coordinates_do_not_copy():
    X = data()[0]
    assert Coordinates().standardized(X) is X


@dense_and_sparse
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_columns_too_small_for_their_dtype_stay_finite(container, dtype):
    tiny = np.finfo(dtype).smallest_subnormal
    X = np.array([[tiny, 1.0], [-tiny, 2.0], [0.0, 3.0]], dtype=dtype)
    for fit_intercept in (False, True):
        sparse = container is not np.asarray
        coordinates = Coordinates.of_columns(of(container(X)), sparse=sparse, fit_intercept=fit_intercept, dtype=dtype)
        Z = coordinates.standardized(container(X))
        assert np.all(np.isfinite(Z.toarray() if sparse else Z))
        assert np.all(np.isfinite(coordinates.to_user(np.ones((2, 1)), np.ones(1))[0]))
