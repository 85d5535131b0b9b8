"""Streams of networks that visit the columns of their rows alone, against batches in NumPy, which visit all of them."""

import copy
import itertools
import pickle
from contextlib import ExitStack
from unittest import mock

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone

import skgd.engines
from skgd import GDClassifier, GDRegressor
from skgd.column_table import LEARNED, LEFT, LOGARITHMS, MOVED, N_KNOWN, N_WINDOW, PENALTIES, RARITY, RATES, SCALE
from skgd.column_table import WEIGHTS as OF_ROWS
from skgd.coordinates import Coordinates
from skgd.engines.compiled import few_columns
from skgd.lazy_stream import LazyStream
from skgd.losses import LogLoss
from skgd.objective import Objective, proximal_point
from skgd.optimizers import SGD, Adam
from skgd.stream import Stream
from skgd.wide_table import OutdatedError

pytest.importorskip("numba")

N_ROWS, N_COLUMNS = 72, 40
CUTS = [0, 8, 20, 23, 40, 66, N_ROWS]  # not all of them between batches of four
AT_BATCHES = [0, 8, 20, 24, 40, 64, N_ROWS]


def rows(seed=0, dtype=np.float64):
    """Return rows of columns of which a few are frequent, one is far from zero, and many are rare."""
    rng = np.random.default_rng(seed)
    has = rng.random((N_ROWS, N_COLUMNS)) < np.minimum(1.0, 1.1 / np.arange(1, N_COLUMNS + 1))
    X = has * rng.gamma(2.0, 1.0, has.shape)
    X[:, 0] += 5.0
    X[40:, 3] *= 30.0  # another unit
    X[rng.random(N_ROWS) < 0.15, 5] = 60.0  # a code
    X[:, 7] = has[:, 7]  # an indicator
    return sp.csr_array(X.astype(dtype))


def targets(X, kind):
    score = X[:, [1, 2, 4, 6]] @ np.array([1.0, -2.0, 1.5, 0.5]) - 1.0
    return {"number": score, "binary": (score > 0.0).astype(int), "classes": np.digitize(score, [-2.0, 0.5])}[kind]


@pytest.fixture(autouse=True)
def narrow():
    """Let few columns count as many, and windows be short."""
    with ExitStack() as patches:
        patches.enter_context(mock.patch("skgd.automatic._WIDE_OF_NETWORK", 10))
        patches.enter_context(mock.patch("skgd.lazy_stream._FEWEST", 8))
        patches.enter_context(mock.patch("skgd.lazy_stream.WINDOW", 7))
        yield


def streamed(model, X, y, weight=None, cuts=CUTS, compiled=True, reload=False):
    """Return a copy of a model that has learned from rows in calls between the cuts, after two steps in loops."""
    model = clone(model)
    more = {"classes": np.unique(y)} if isinstance(model, GDClassifier) else {}
    seconds = 2.5 * skgd.engines._SECONDS_A_STREAM_STEP if compiled else np.inf
    with mock.patch.object(skgd.engines, "REPAYS_SECONDS", seconds):
        for begin, end in itertools.pairwise(cuts):
            part = slice(begin, end)
            model.partial_fit(X[part], y[part], sample_weight=None if weight is None else weight[part], **more)
            if reload:
                model = pickle.loads(pickle.dumps(model))
    return model


def network(kind=GDClassifier, **params):
    return kind(**{"hidden_layer_sizes": (3,), "batch_size": 4, "random_state": 0} | params)


MODELS = {
    "defaults": (network(), "binary"),
    "layers": (network(hidden_layer_sizes=(4, 2), max_grad_norm=0.5), "classes"),
    "amsgrad": (network(optimizer=Adam(amsgrad=True)), "binary"),
    "momentum": (network(optimizer=SGD(momentum=0.9), learning_rate=0.05, alpha=0.1), "binary"),
    "penalty": (network(alpha=0.1), "classes"),
    "large penalty": (network(alpha=3.0, learning_rate=0.05), "binary"),
    "large gradients": (network(alpha=0.1, precondition=False, learning_rate=1e-3), "classes"),
    "no penalty": (network(alpha=0.0, fit_intercept=False), "binary"),
    "schedule": (network(learning_rate="inverse_scaling"), "binary"),
    "plain": (network(precondition=False, learning_rate=1e-3), "binary"),
    "numbers": (network(GDRegressor), "number"),
    "robust": (network(GDRegressor, loss="huber"), "number"),
}


@pytest.mark.usefixtures("plain_python")
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_it_is_what_visiting_all_columns_is(name, weighted):
    model, kind = MODELS[name]
    X = rows()
    weight = np.random.default_rng(0).uniform(0.5, 2.0, N_ROWS) if weighted else None
    lazy, vectorized = (streamed(model, X, targets(X, kind), weight, compiled=compiled) for compiled in (True, False))
    assert (type(lazy._state), lazy.engine_, vectorized.engine_) == (LazyStream, "compiled", "vectorized")
    assert lazy.t_ == vectorized.t_ > 18
    for ours, expected in zip(lazy.coefs_ + lazy.intercepts_, vectorized.coefs_ + vectorized.intercepts_, strict=True):
        assert_allclose(ours, expected, rtol=1e-10, atol=1e-10 * np.abs(expected).max())
        assert (ours.dtype, ours.shape) == (expected.dtype, expected.shape)
    ours, expected = lazy._state.whole, vectorized._state.whole
    for one, other in zip(ours.iterate.slots, expected.iterate.slots, strict=True):
        assert_allclose(one, other, rtol=1e-8, atol=1e-10 * max(np.abs(other).max(), 1e-300))
    for field in ("largest", "relative_mean", "relative_variance", "filled", "weight", "rows"):
        assert_allclose(getattr(ours.columns, field), getattr(expected.columns, field), rtol=1e-12, atol=1e-15)
    assert_allclose(ours.columns.memory, expected.columns.memory, rtol=1e-9, atol=1e-9)
    assert_allclose(lazy.history_["learning_rate"], vectorized.history_["learning_rate"], rtol=1e-12)
    # The penalty counts each column as it was when it was last seen.
    assert_allclose(
        lazy.history_["objective"], vectorized.history_["objective"], rtol=0.3 if model.alpha == 3.0 else 0.05
    )


@pytest.mark.usefixtures("plain_python")
def test_single_precision_stays_single():
    X = rows(dtype=np.float32)
    y = targets(X, "binary")
    lazy, vectorized = (streamed(network(), X, y, compiled=compiled) for compiled in (True, False))
    assert type(lazy._state) is LazyStream
    assert lazy.coefs_[0].dtype == lazy._state.parameters._array.dtype == np.float32
    assert_allclose(lazy.coefs_[0], vectorized.coefs_[0], rtol=1e-3, atol=1e-4 * np.abs(vectorized.coefs_[0]).max())


@pytest.mark.parametrize("kind", [GDClassifier, GDRegressor])
def test_cuts_and_pickles_leave_the_bits_as_they_are(kind):
    X = rows()
    y = targets(X, "number" if kind is GDRegressor else "binary")
    whole = streamed(network(kind), X, y, cuts=[0, N_ROWS])
    for cuts, reload in ((AT_BATCHES, False), (AT_BATCHES, True), ([0, 40, N_ROWS], True)):
        parts = streamed(network(kind), X, y, cuts=cuts, reload=reload)
        assert type(parts._state) is LazyStream
        for ours, theirs in zip(whole.coefs_ + whole.intercepts_, parts.coefs_ + parts.intercepts_, strict=True):
            assert_array_equal(ours, theirs)


@pytest.mark.usefixtures("plain_python")
def test_a_call_leaves_columns_alone_that_its_rows_do_not_have():
    X = rows()
    model = streamed(network(), X[:64], targets(X, "binary")[:64], cuts=[0, 40, 44])
    before = model._state
    tables = [table._array for table in (before.known, before.parameters)]
    copies = [array.copy() for array in tables]
    model.partial_fit(X[44:48], targets(X, "binary")[44:48])
    after = model._state
    assert [table._array is array for table, array in zip((after.known, after.parameters), tables, strict=True)] == [
        True,
        True,
    ]
    changed = np.zeros(N_COLUMNS, bool)
    changed[X[44:48].indices] = changed[before.restless] = True
    assert 5 < changed.sum() < N_COLUMNS - 5
    for array, copied in zip(tables, copies, strict=True):
        assert_array_equal((array != copied).any(axis=1), changed)
    assert before.known._changes.columns[0] == changed.sum()  # as many rows are noted, to undo the call
    assert after.above is not before.above


@pytest.mark.usefixtures("plain_python")
@pytest.mark.parametrize("begins_window", [False, True])
def test_a_call_that_fails_leaves_the_bits_as_they_are(monkeypatch, begins_window):
    X = rows()
    y = targets(X, "binary")
    cuts = [0, 8, 36] if begins_window else [0, 8, 24]
    model, other = (streamed(network(), X, y, cuts=cuts) for _ in range(2))
    coefs = [coef.copy() for coef in other.coefs_]
    original, calls = few_columns.FewColumns.write, []

    def failing(self, *arguments):
        result = original(self, *arguments)
        calls.append(arguments)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return result

    end = cuts[-1]
    with monkeypatch.context() as patch:
        patch.setattr(few_columns.FewColumns, "write", failing)
        with pytest.raises(KeyboardInterrupt):
            model.partial_fit(X[end : end + 20], y[end : end + 20])
    for ours, expected in zip(model.coefs_, coefs, strict=True):
        assert_array_equal(ours, expected)
    for one in (model, other):
        one.partial_fit(X[end : end + 20], y[end : end + 20])
    for ours, expected in zip(model.coefs_, other.coefs_, strict=True):
        assert_array_equal(ours, expected)
    assert len(model.history_["objective"]) == len(other.history_["objective"])


@pytest.mark.usefixtures("plain_python")
def test_divergence_is_said_and_changes_nothing():
    X = rows()
    y = targets(X, "number")
    model = streamed(network(GDRegressor), X, y, cuts=[0, 8, 24])
    before = [coef.copy() for coef in model.coefs_]
    with pytest.raises(ValueError, match="too large"):
        model.partial_fit(X[24:40], np.full(16, 1e300))
    for ours, expected in zip(model.coefs_, before, strict=True):
        assert_array_equal(ours, expected)


@pytest.mark.usefixtures("plain_python")
def test_a_state_before_the_last_call_can_still_be_read():
    X = rows()
    y = targets(X, "binary")
    model = streamed(network(), X, y, cuts=[0, 8, 24])
    earlier, coef = model._state, model._state.whole.published()[0][0].copy()
    model.partial_fit(X[24:32], y[24:32])
    assert_array_equal(earlier.whole.published()[0][0], coef)
    assert (model.coefs_[0] != coef).any()
    model.partial_fit(X[32:40], y[32:40])
    with pytest.raises(OutdatedError):
        earlier.published()


@pytest.mark.usefixtures("plain_python")
@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_a_copy_learns_on_its_own(copied):
    X = rows()
    y = targets(X, "binary")
    model = streamed(network(), X, y, cuts=[0, 8, 24])
    other, expected = copied(model), copied(model)
    for begin in (24, 32, 40):
        other.partial_fit(X[begin : begin + 8], y[begin : begin + 8])
    assert_array_equal(model.coefs_[0], expected.coefs_[0])
    for begin in (24, 32, 40):
        model.partial_fit(X[begin : begin + 8], y[begin : begin + 8])
    assert_array_equal(model.coefs_[0], other.coefs_[0])


@pytest.mark.usefixtures("plain_python")
@pytest.mark.parametrize(
    "params",
    [{"alpha": 0.01}, {"learning_rate": 0.01}, {"optimizer": Adam(beta1=0.5)}, {"alpha": 0.01, "l1_ratio": 0.5}],
)
def test_parameters_that_change_apply_to_what_follows(params):
    X = rows()
    y = targets(X, "binary")
    lazy, vectorized = (streamed(network(), X, y, cuts=[0, 8, 40], compiled=compiled) for compiled in (True, False))
    for model, seconds in ((lazy, 0.0), (vectorized, np.inf)):
        with mock.patch.object(skgd.engines, "REPAYS_SECONDS", seconds):
            model.set_params(**params).partial_fit(X[40:], y[40:])
    assert isinstance(lazy._state, Stream if "l1_ratio" in params else LazyStream)
    for ours, expected in zip(lazy.coefs_, vectorized.coefs_, strict=True):
        assert_allclose(ours, expected, rtol=1e-9, atol=1e-10 * np.abs(expected).max())


@pytest.mark.usefixtures("plain_python")
def test_fit_and_dense_rows_go_on_from_it():
    X = rows()
    y = targets(X, "binary")
    lazy, vectorized = (streamed(network(), X, y, cuts=[0, 8, 40], compiled=compiled) for compiled in (True, False))
    for model in (lazy, vectorized):
        with mock.patch.object(skgd.engines, "REPAYS_SECONDS", np.inf):
            model.partial_fit(X[40:44].toarray(), y[40:44])
            model.set_params(warm_start=True, max_iter=2, tol=None).fit(X, y)
    assert_allclose(lazy.coefs_[0], vectorized.coefs_[0], rtol=1e-8, atol=1e-10)


@pytest.mark.usefixtures("plain_python")
def test_predictions_for_few_rows_read_their_columns_alone(monkeypatch):
    X = rows()
    y = targets(X, "binary")
    model, other = (streamed(network(), X, y, cuts=[0, 8, 40]) for _ in range(2))
    few = X[50:51]
    expected = other.set_params().decision_function(few.toarray())
    with monkeypatch.context() as patch:
        patch.setattr(LazyStream, "whole", property(lambda self: pytest.fail("all columns are read")))
        assert_allclose(model.decision_function(few), expected, rtol=1e-12)
    assert_allclose(model.decision_function(X)[50:51], expected, rtol=1e-12)
    model.coefs_[0][:] = 0.0
    assert_allclose(model.decision_function(few), model.decision_function(X[:1]))


def by_rule(theta, slots, gaps, window, begin, stop, known, optimizer, in_user_units):
    """Return coefficients and slots after steps without a gradient, one by one, and the scales."""
    theta, slots, scale = theta.copy(), [slot.copy() for slot in slots], known[:, SCALE].copy()
    for j, gap in enumerate(gaps):
        learned = stop - gap
        for step in range(stop - gap, stop):
            passed = window[LOGARITHMS, step + 1] - window[LOGARITHMS, learned]
            rare = known[j, RARITY]
            now = known[j, SCALE] * (np.sqrt(rare / (rare + passed)) if rare else 1.0)
            theta[j] *= now / scale[j]
            scale[j] = now
            of_column = tuple(slot[j] for slot in slots)
            rate = window[RATES, step]
            theta[j], length, after = optimizer.rule(
                theta[j], np.zeros_like(theta[j]), rate, begin + step + 1, of_column, optimizer.hyper()
            )
            for slot, values in zip(slots, after, strict=True):
                slot[j] = values
            strength = window[PENALTIES, step] / rate / (now * now if in_user_units else 1.0)
            length = np.minimum(length, rate) if isinstance(optimizer, Adam) else length
            theta[j] = proximal_point(theta[j], length, 0.0, strength)
    return theta, slots, scale


@pytest.mark.parametrize("size", [1e-4, 1.0, 30.0])
@pytest.mark.parametrize("in_user_units", [False, True])
@pytest.mark.parametrize("optimizer", [Adam(amsgrad=True), SGD(momentum=0.9), SGD(momentum=0.9, nesterov=True)])
def test_what_columns_miss_has_a_closed_form(optimizer, in_user_units, size):
    rng = np.random.default_rng(0)
    n, width, begin, stop, most = 12, 3, 30, 400, 2**9
    gaps = np.array([0, 1, 2, 3, 7, 20, 50, 65, 100, 200, 399, 400])
    window = np.zeros((N_WINDOW, most + 1))
    window[RATES, :stop] = 0.01 / np.sqrt(1.0 + np.arange(stop))
    window[PENALTIES, :stop] = window[RATES, :stop] * 0.05
    window[OF_ROWS] = 1000.0 + 32.0 * np.arange(most + 1)
    window[LOGARITHMS] = np.log(window[OF_ROWS])
    window[LEFT] = np.cumprod(np.append(1.0, 1.0 / (1.0 + window[PENALTIES, :-1])))
    known = np.zeros((n, N_KNOWN))
    known[:, SCALE], known[:, RARITY] = (
        rng.uniform(0.5, 2.0, n),
        np.where(np.arange(n) % 4, rng.uniform(2.0, 9.0, n), 0),
    )
    known[:, LEARNED] = known[:, MOVED] = begin + stop - gaps
    n_slots = len(optimizer.slots)
    parameters = rng.normal(size=(n, (1 + n_slots) * width))
    parameters[:, width:] *= size
    if n_slots > 1:
        parameters[:, 2 * width :] = np.square(parameters[:, 2 * width :]) + size * size
        parameters[:, 3 * width :] += parameters[:, 2 * width : 3 * width]
    objective = Objective(LogLoss(), n, 1, True, 0.0, 0.0, Coordinates(), hidden_layer_sizes=(width,))
    columns = few_columns.FewColumns(objective, optimizer, begin, in_user_units)
    few = columns.empty(n + 4, 1 + n_slots, width, 1, np.float64)
    columns.gather(few, np.arange(n), (known, parameters), window, stop, np.zeros(0))
    slots = [parameters[:, (1 + part) * width : (2 + part) * width] for part in range(n_slots)]
    theta, slots, scale = by_rule(
        parameters[:, :width], slots, gaps, window, begin, stop, known, optimizer, in_user_units
    )
    assert_allclose(few.theta[:n], theta, rtol=1e-10, atol=1e-10)
    assert_allclose(few.scale[:n], scale, rtol=1e-12)
    for ours, expected in zip(few.slots, slots, strict=True):
        assert_allclose(ours[:n], expected, rtol=1e-9, atol=1e-300)
    assert not few.theta[n : n + 4].any()


def test_without_numba_a_saved_stream_can_be_read():
    X = rows()
    model = streamed(network(), X, targets(X, "binary"), cuts=[0, 8, 40])
    expected = model._state.whole
    few_columns.gather_loop.cache_clear()
    try:
        with mock.patch.object(few_columns, "specialized", side_effect=ImportError):
            ours = pickle.loads(pickle.dumps(model))._state.whole
    finally:
        few_columns.gather_loop.cache_clear()
    assert_allclose(ours.iterate.theta, expected.iterate.theta, rtol=1e-12)
    assert_allclose(ours.columns.measures, expected.columns.measures, rtol=1e-12)


@pytest.mark.usefixtures("plain_python")
@pytest.mark.parametrize("name", ["amsgrad", "momentum"])
def test_no_number_stays_subnormal(name, monkeypatch):
    """What has decayed for long is zero once all columns are brought up to date."""
    monkeypatch.setattr(skgd.lazy_stream, "WINDOW", 8)
    model, kind = MODELS[name]
    X, tiny = rows(), np.finfo(float).tiny
    y = targets(X, kind)
    model = streamed(model, X, y)
    before = model._state
    for numbers in (before.parameters._array, before.above):
        numbers[np.abs(numbers) < 1e-3] = tiny / 8

    def subnormal():
        stream = model._state
        numbers = np.concatenate([stream.parameters._array.ravel(), stream.above.ravel()])
        return np.count_nonzero((numbers != 0.0) & (np.abs(numbers) < tiny))

    model.partial_fit(X[:4], y[:4])
    assert subnormal()
    while model._state.begin == before.begin:
        model.partial_fit(X[:4], y[:4])
    assert not subnormal()
