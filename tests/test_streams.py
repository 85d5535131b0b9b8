"""Streams in compiled loops against batches taken one by one, which define the meaning, and however they are cut."""

import copy
import itertools
import os
import pickle
import subprocess
import sys
from dataclasses import fields, is_dataclass
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.base import clone
from sklearn.metrics import log_loss

import skgd.engines
from skgd import GDClassifier, GDRegressor
from skgd.activations import ACTIVATIONS
from skgd.engines.compiled.workspace import Former
from skgd.losses import CLASSIFIER_LOSSES, REGRESSOR_LOSSES
from skgd.optimizers import FTRL, OPTIMIZERS, SGD, Adam, AdamW
from skgd.schedules import Piecewise
from skgd.steps import DivergenceError
from skgd.stream import Stream

pytest.importorskip("numba")

N_ROWS = 90
CUTS = [0, 1, 2, 10, 40, 41, N_ROWS]


def features(seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(N_ROWS, 4)) * [1.0, 10.0, 0.1, 3.0] + [0.0, 5.0, 1.0, -3.0]


def target(kind, X):
    rng = np.random.default_rng(1)
    signal = (X - X.mean(axis=0)) / X.std(axis=0) @ rng.normal(size=(4, 3)) + 0.3 * rng.normal(size=(len(X), 3))
    return {
        "number": np.exp(0.3 * signal[:, 0]),
        "numbers": np.exp(0.3 * signal),
        "binary": signal[:, 0] > 0.0,
        "classes": signal.argmax(axis=1),
        "labels": (signal > 0.0).astype(int),
    }[kind]


def streamed(model, X, y, weight=None, cuts=CUTS, compiles_after=0, reload=False):
    """Return a copy of a model that has learned from rows in calls between the cuts."""
    model = clone(model)
    more = {"classes": range(3) if y.ndim == 2 else np.unique(y)} if isinstance(model, GDClassifier) else {}
    seconds = compiles_after * skgd.engines._SECONDS_A_STREAM_STEP
    with mock.patch.object(skgd.engines, "REPAYS_SECONDS", seconds):
        for begin, end in itertools.pairwise(cuts):
            rows = slice(begin, end)
            model.partial_fit(X[rows], y[rows], sample_weight=None if weight is None else weight[rows], **more)
            if reload:
                model = pickle.loads(pickle.dumps(model))
    return model


def assert_agree(model, X, y, weight=None, tolerance=1e-10, cuts=CUTS):
    compiled, vectorized = (streamed(model, X, y, weight, cuts, compiles_after=steps) for steps in (0, np.inf))
    assert (compiled.engine_, vectorized.engine_) == ("compiled", "vectorized")
    largest = max(np.abs(coef).max() for coef in vectorized.coefs_)
    for name in ("coefs_", "intercepts_"):
        for ours, expected in zip(getattr(compiled, name), getattr(vectorized, name), strict=True):
            np.testing.assert_allclose(ours, expected, rtol=tolerance, atol=tolerance * largest)
            assert (ours.dtype, ours.shape) == (expected.dtype, expected.shape)
    assert compiled.t_ == vectorized.t_
    for name in compiled.history_.keys() - {"seconds"}:
        np.testing.assert_allclose(compiled.history_[name], vectorized.history_[name], rtol=10 * tolerance)
    for name in ("largest", "relative_mean", "relative_variance", "filled", "weight", "rows"):
        ours, expected = (getattr(one._state.whole.columns, name) for one in (compiled, vectorized))
        np.testing.assert_allclose(ours, expected, rtol=1e-12, atol=1e-15)


def combinations():
    """Yield models with every optimizer and every loss, and with every parameter that a step heeds."""
    compilable = [name for name in OPTIMIZERS if name not in ("ftrl", "schedule_free")]
    for k, optimizer in enumerate(compilable):
        rate = (None, 0.01)[k % 2]
        yield GDClassifier(optimizer=optimizer, learning_rate=rate), ("binary", "classes", "labels")[k % 3]
        yield GDRegressor(optimizer=optimizer, learning_rate=rate), ("number", "numbers")[k % 2]
    for k, loss in enumerate(REGRESSOR_LOSSES):
        yield GDRegressor(loss, fit_intercept=k % 3 > 0), ("number", "numbers")[k % 2]
    for k, loss in enumerate(CLASSIFIER_LOSSES):
        yield GDClassifier(loss, fit_intercept=k % 3 > 0, batch_size=7), ("binary", "classes", "labels")[k % 3]
    yield GDRegressor(alpha=0.01, l1_ratio=0.5, batch_size=1), "numbers"
    yield GDRegressor(alpha=0.1, fit_intercept=False, batch_size=None), "number"
    yield GDRegressor("huber", optimizer="sgd", precondition=False, learning_rate=1e-3, alpha=0.1), "number"
    yield GDClassifier(average=True, max_grad_norm=0.1), "classes"
    yield GDClassifier(average=5, learning_rate="inverse_scaling"), "binary"
    layers = (5,), (4, 3), (2, 3, 4)
    for k, optimizer in enumerate(compilable):
        network = {"optimizer": optimizer, "hidden_layer_sizes": layers[k % 3], "random_state": k}
        yield GDClassifier(**network, alpha=("auto", 0.01)[k % 2]), ("binary", "classes", "labels")[k % 3]
        yield GDRegressor(**network, learning_rate=(None, 0.01)[k % 2]), ("number", "numbers")[k % 2]
    for k, activation in enumerate(ACTIVATIONS):
        network = {"activation": activation, "hidden_layer_sizes": layers[k % 3], "random_state": k}
        yield GDRegressor(**network, fit_intercept=k % 2 > 0, alpha=0.01, l1_ratio=0.5), ("number", "numbers")[k % 2]
    for k, loss in enumerate(REGRESSOR_LOSSES):
        yield GDRegressor(loss, hidden_layer_sizes=layers[k % 3], random_state=k), ("number", "numbers")[k % 2]
    for k, loss in enumerate(CLASSIFIER_LOSSES):
        network = {"hidden_layer_sizes": layers[k % 3], "random_state": k, "average": k % 2 > 0}
        yield GDClassifier(loss, **network), ("binary", "classes", "labels")[k % 3]
    network = {"hidden_layer_sizes": (5,), "random_state": 0}
    yield GDRegressor("huber", precondition=False, learning_rate=1e-3, alpha=0.1, **network), "numbers"
    yield GDClassifier(average=5, max_grad_norm=0.1, learning_rate="inverse_scaling", **network), "classes"
    yield GDRegressor(optimizer=AdamW(weight_decay=0.1), average=True, alpha=0.1, **network), "number"
    yield GDClassifier(optimizer=SGD(momentum=0.9), learning_rate=0.01, batch_size=None, **network), "classes"


COMPILED = [
    (GDClassifier(), "binary", np.float64, False, False),
    (GDClassifier(), "binary", np.float64, False, True),
    (GDClassifier(average=True, alpha=0.01, batch_size=3), "classes", np.float32, True, False),
    (GDRegressor(optimizer="adam", learning_rate=0.05), "numbers", np.float64, True, True),
    (GDClassifier(hidden_layer_sizes=(6, 4), random_state=0), "binary", np.float64, True, False),
    (GDClassifier(hidden_layer_sizes=(6, 4), random_state=0), "binary", np.float64, False, True),
]


def thinned(X):
    """Return CSR rows with about half of the entries, one of them a stored zero."""
    X = sp.csr_array(np.where(np.random.default_rng(3).random(X.shape) < 0.5, X, 0.0))
    X.data[5] = 0.0
    return X


@pytest.mark.parametrize(("model", "kind", "dtype", "weighted", "sparse"), COMPILED)
def test_agree(model, kind, dtype, weighted, sparse):
    X = features()
    weight = np.random.default_rng(2).uniform(0.5, 2.0, N_ROWS) if weighted else None
    rows = (thinned(X) if sparse else X).astype(dtype)
    assert_agree(model, rows, target(kind, X), weight, 1e-10 if dtype == np.float64 else 1e-4)


@pytest.mark.usefixtures("plain_python")
@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("kind", ["numbers", "classes"])
def test_networks_agree_in_float32(kind, sparse):
    X = features()
    network = {"hidden_layer_sizes": (5, 3), "random_state": 0, "average": True, "alpha": 0.01}
    model = GDRegressor(**network) if kind == "numbers" else GDClassifier(**network)
    assert_agree(model, (thinned(X) if sparse else X).astype(np.float32), target(kind, X), tolerance=1e-4)


@pytest.mark.usefixtures("plain_python")
@pytest.mark.parametrize("kind", ["number", "classes"])
@pytest.mark.parametrize("n_columns", [999, 1000])
def test_agree_on_rows_of_mostly_zeros(n_columns, kind):
    """Those in few columns have shorter steps."""
    X = sp.random_array((30, n_columns), density=0.02, rng=np.random.default_rng(0), format="csr")
    model = GDRegressor() if kind == "number" else GDClassifier()
    assert_agree(model, X, target(kind, features())[:30], cuts=[0, 1, 20, 30])


@pytest.mark.usefixtures("plain_python")
@pytest.mark.parametrize("kind", ["number", "classes"])
def test_agree_on_dense_categories_beside_numbers(kind):
    """Each of twelve is rare: some from the first batch on, some later."""
    rng = np.random.default_rng(0)
    X = np.c_[np.eye(12)[rng.integers(0, 12, N_ROWS)], features()]
    assert_agree(GDRegressor() if kind == "number" else GDClassifier(), X, target(kind, features()))


@pytest.mark.usefixtures("plain_python")
@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize(("dtype", "tiny"), [(np.float64, 1e-310), (np.float32, 1e-42)])
def test_agree_on_columns_that_are_subnormal_at_first(dtype, tiny, sparse):
    X = features()
    y = target("number", X)
    X[:, 0] *= tiny
    X[: N_ROWS // 2, 1] *= tiny
    rows = (sp.csr_array(X) if sparse else X).astype(dtype)
    assert_agree(GDRegressor(), rows, y, tolerance=1e-10 if dtype == np.float64 else 1e-4)


@pytest.mark.usefixtures("plain_python")
@pytest.mark.parametrize("compiles_after", [0, np.inf], ids=["compiled", "vectorized"])
@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "sparse"])
@pytest.mark.parametrize("what", ["column", "columns", "target"])
@pytest.mark.parametrize(("before", "after"), [(1e-12, 1.0), (1e-6, 1.0), (1.0, 1e6), (1.0, 1e12), (1e-12, 1e12)])
def test_a_stream_learns_anew_where_a_unit_becomes_smaller(before, after, what, sparse, compiles_after):
    """Numbers grow then; where they shrink, the largest of the past still own the scale of a column."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(1000, 3)) * (rng.random((1000, 3)) < 0.5)
    y = X @ [1.0, -2.0, 0.5] + 0.05 * rng.normal(size=1000)
    unit = np.where(np.arange(1000) < 400, before, after)
    if what == "target":
        y = y * unit
    else:
        X[:, : 1 if what == "column" else 3] *= unit[:, np.newaxis]
    rows = sp.csr_array(X) if sparse else X
    model = streamed(GDRegressor(), rows, y, cuts=[0, 200, 400, 1000], compiles_after=compiles_after)
    assert model.score(rows[700:], y[700:]) > 0.99


def weak_signal(kind, seed, n_columns, share=0.05):
    """Return samples of a stream, of which the best linear model explains a small share, and new ones."""
    rng = np.random.default_rng(seed)
    X, w = rng.normal(size=(6000, n_columns)), rng.normal(size=n_columns)
    y = np.sqrt(share) * (X @ w) / np.linalg.norm(w) + np.sqrt(1.0 - share) * rng.normal(size=len(X))
    if kind == "binary":
        y = (y > 0.0).astype(int)
    elif kind == "classes":
        y = np.digitize(y, [-0.5, 0.5])
    return (X[:3000], y[:3000]), (X[3000:], y[3000:])


def gain(model, X, y):
    """Return R², or the share of the prior's log-loss that a model saves."""
    if isinstance(model, GDRegressor):
        return model.score(X, y)
    frequencies = np.bincount(y) / len(y)
    return 1.0 - log_loss(y, model.predict_proba(X)) / -(frequencies @ np.log(frequencies))


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("n_columns", [10, 20])
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", ["number", "binary", "classes"])
def test_weak_signals_are_better_than_a_constant(kind, seed, n_columns, sparse):
    """Nearly as good as the mean of the iterates; the last iterate is worse than a constant."""
    (X, y), new = weak_signal(kind, seed, n_columns)
    estimator, rows = GDRegressor if kind == "number" else GDClassifier, sp.csr_array(X) if sparse else X
    model, mean, last = (
        streamed(estimator(average=each), rows, y, None, [0, 500, 3000], 10**6) for each in ("auto", True, False)
    )
    assert gain(model, *new) > max(0.0, gain(mean, *new) - 0.03)
    assert gain(model, *new) > gain(last, *new)


@pytest.mark.parametrize("unit", [1e-4, 1e5])
def test_weak_signals_have_any_unit(unit):
    (X, y), (Z, z) = weak_signal("number", 5, 10)
    scores = [
        streamed(GDRegressor(), c * X, u * y, None, [0, 3000], 10**6).score(c * Z, u * z)
        for c, u in ((1.0, 1.0), (unit, 1.0), (1.0, unit))
    ]
    assert np.ptp(scores) < 1e-6
    assert scores[0] > 0.02


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("kind", ["number", "binary"])
def test_the_last_iterate_is_heeded_where_the_data_change(kind, seed):
    """The opposite is true of the last samples: what was learned before has no say any more."""
    (X, y), (Z, z) = weak_signal(kind, seed, 5, share=0.9)
    opposite, expected = (-y, -z) if kind == "number" else (1 - y, 1 - z)
    rows, labels = np.concatenate([X, X[::-1][:1000]]), np.concatenate([y, opposite[::-1][:1000]])
    estimator = GDRegressor if kind == "number" else GDClassifier
    model, last = (streamed(estimator(average=each), rows, labels, None, [0, 4000], 10**6) for each in ("auto", False))
    assert gain(model, Z, expected) > gain(last, Z, expected) - 0.01


@pytest.mark.parametrize("factor", [0.01, 10.0])
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("l1", [0.0, 1e-3])
def test_sums_of_ftrl_follow_the_scales_of_features(l1, seed, factor):
    """All features change their unit at one time: in sums of the old one, steps would be far too long."""
    rng = np.random.default_rng(seed)
    X, w = rng.normal(size=(3000, 5)), rng.normal(size=5)
    y = X @ w + 0.1 * rng.normal(size=len(X))
    X[1000:] *= factor
    model = streamed(GDRegressor(optimizer=FTRL(l1=l1)), X[:2000], y[:2000], None, [0, 1000, 2000], 10**6)
    assert model.score(X[2000:], y[2000:]) > 0.97


def test_ftrl_keeps_its_coefficients_in_other_units():
    rng, hyper = np.random.default_rng(0), FTRL(l1=0.1, l2=0.2).hyper()
    w, slots = np.zeros(50), tuple(np.full(50, start) for start in FTRL().initial())
    for t in range(5):
        w, _, slots = FTRL.rule(w, rng.normal(size=50), 0.3, t + 1, slots, hyper)
    ratio = rng.uniform(0.1, 1.0, size=50)
    z, total, *_ = rescaled = FTRL.rescaled(ratio, slots, hyper)
    kept, _, _ = FTRL.rule(w, 0.0, 0.3, 6, rescaled, hyper)
    np.testing.assert_allclose(kept, w, rtol=1e-10)
    np.testing.assert_allclose(total, ratio**2 * slots[1])
    assert 0 < np.count_nonzero(w) < 50
    np.testing.assert_array_equal(z[w == 0.0], slots[0][w == 0.0])


def test_agree_over_the_registries():
    """As plain Python, because compiling so many loops takes minutes."""
    result = subprocess.run(
        [sys.executable, "-W", "error::RuntimeWarning", __file__],
        env={**os.environ, "NUMBA_DISABLE_JIT": "1", "PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    assert int(result.stdout) > 340


@pytest.mark.parametrize("hidden", [(), (6, 4)])
@pytest.mark.parametrize("sparse", [False, True])
def test_cuts_and_pickles_leave_the_bits_as_they_are(sparse, hidden):
    X = features()
    y = target("binary", X)
    X, model = thinned(X) if sparse else X, GDClassifier(hidden_layer_sizes=hidden, random_state=0)
    whole = streamed(model, X, y, cuts=[0, 88], compiles_after=4 - len(hidden))
    cuts = [0, 8, 24, 32, 40, 64, 88]
    parts = streamed(model, X, y, cuts=cuts, compiles_after=4 - len(hidden), reload=True)
    assert (whole.engine_, whole.t_) == ("compiled", 11)
    assert_same_bits(whole, parts)


@pytest.mark.usefixtures("plain_python")
def test_slots_that_the_optimizer_does_not_use_stay_what_they_are():
    X = features()
    y = target("binary", X)
    model = GDClassifier(hidden_layer_sizes=(5,), optimizer=Adam(amsgrad=True), random_state=0)
    model.set_params(max_iter=5, tol=None).fit(X, y).set_params(optimizer=Adam())
    _, before, largest = model._state.whole.iterate.slots
    with mock.patch.object(skgd.engines, "REPAYS_SECONDS", 0.0):
        model.partial_fit(X, y)
    assert model.engine_ == "compiled"
    _, after, kept = pickle.loads(pickle.dumps(model))._state.whole.iterate.slots
    np.testing.assert_array_equal(kept, largest)
    assert (after != before).any()


def assert_same_bits(model, other):
    for ours, theirs in zip(model.coefs_ + model.intercepts_, other.coefs_ + other.intercepts_, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.usefixtures("plain_python")
@pytest.mark.parametrize("sparse", [False, True])
def test_batches_may_be_larger_than_integers_are(sparse):
    X = features()
    rows = thinned(X) if sparse else X
    large, whole = (streamed(GDRegressor(batch_size=size), rows, target("number", X)) for size in (10**30, None))
    assert large.engine_ == whole.engine_ == "compiled"
    np.testing.assert_allclose(large.coef_, whole.coef_, rtol=1e-12)


@pytest.mark.usefixtures("plain_python")
@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("precondition", [False, True])
@pytest.mark.parametrize("average", [False, True])
def test_networks_go_on_from_what_a_cut_leaves(average, precondition, sparse):
    """Of several targets, with weights, where the last batch of each call but the last is full."""
    X = features()
    y = target("numbers", X)
    X, weight = thinned(X) if sparse else X, np.random.default_rng(2).uniform(0.5, 2.0, N_ROWS)
    rate = {} if precondition else {"learning_rate": 1e-3}
    more = {"average": average, "precondition": precondition, "alpha": 0.01, "batch_size": 4, **rate}
    model = GDRegressor(hidden_layer_sizes=(3, 2), random_state=0, **more)
    whole = streamed(model, X, y, weight, cuts=[0, N_ROWS], compiles_after=3)
    parts = streamed(model, X, y, weight, cuts=[0, 4, 20, 24, 60, N_ROWS], compiles_after=3, reload=True)
    assert whole.engine_ == "compiled"
    assert_same_bits(whole, parts)
    for ours, theirs in zip(arrays_in(whole._state.whole), arrays_in(parts._state.whole), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("compiles_after", [0, 1000], ids=["compiled", "NumPy"])
def test_the_order_of_memory_does_not_matter(compiles_after):
    """Neither for the bits nor for the engine: the columns of a data frame often are in Fortran order."""
    X = features()
    y = target("binary", X)
    models = [
        streamed(GDClassifier(), order(X), y, cuts=[0, 40, N_ROWS], compiles_after=compiles_after)
        for order in (np.ascontiguousarray, np.asfortranarray)
    ]
    assert models[0].engine_ == models[1].engine_ == ("vectorized" if compiles_after else "compiled")
    assert np.array_equal(models[0].coef_, models[1].coef_)


def test_the_order_of_targets_in_memory_does_not_matter():
    X = features()
    y = target("numbers", X)
    models = [streamed(GDRegressor(), X, order(y)) for order in (np.ascontiguousarray, np.asfortranarray)]
    assert models[0].engine_ == models[1].engine_ == "compiled"
    assert np.array_equal(models[0].coef_, models[1].coef_)


@pytest.mark.usefixtures("plain_python")
@pytest.mark.parametrize("average", [False, True])
def test_sparsified_coefficients_are_those_that_training_left(average):
    """An L1 penalty makes negative coefficients to negative zeros, which a sparse matrix does not keep."""
    X = features()
    y = target("binary", X)
    model = GDClassifier(alpha=0.5, l1_ratio=1.0, batch_size=1, average=average)
    dense, sparse = (streamed(model, X, y, cuts=[0, 40]) for _ in range(2))
    assert 0 < np.count_nonzero(dense.coef_) < 4
    with mock.patch.object(skgd.engines, "REPAYS_SECONDS", 0.0):
        for start in range(40, 80, 2):
            rows = slice(start, start + 2)
            dense.partial_fit(X[rows], y[rows])
            sparse.sparsify().partial_fit(X[rows], y[rows])
    assert sparse.engine_ == "compiled"
    np.testing.assert_array_equal(dense.coef_, sparse.coef_)
    for ours, expected in zip(sparse._state.whole.iterate.slots, dense._state.whole.iterate.slots, strict=True):
        np.testing.assert_array_equal(ours, expected)


def test_dense_and_sparse_rows_may_take_turns():
    X, model = features(), GDClassifier(alpha=0.1)
    y = target("binary", X)
    models = {after: clone(model) for after in (0.0, np.inf)}
    for after, each in models.items():
        with mock.patch.object(skgd.engines, "REPAYS_SECONDS", after):
            for k, begin in enumerate(range(0, N_ROWS, 10)):
                rows = slice(begin, begin + 10)
                each.partial_fit(thinned(X[rows]) if k % 2 else X[rows], y[rows], classes=[False, True])
    assert models[0.0].engine_ == "compiled"
    np.testing.assert_allclose(models[0.0].coef_, models[np.inf].coef_, rtol=1e-10)


def test_what_goes_wrong_is_said_as_ever_and_changes_nothing():
    X = features()
    y = target("binary", X)
    model = streamed(GDClassifier(optimizer="sgd", learning_rate=1e300, precondition=False), X[:8], y[:8], cuts=[0, 1])
    before = model.coef_.copy(), model.t_
    with (
        mock.patch.object(skgd.engines, "REPAYS_SECONDS", 0.0),
        pytest.raises(DivergenceError, match=r"partial_fit at step \d+ \(learning rate 1e\+300\)"),
    ):
        model.set_params(loss="squared_hinge").partial_fit(X * 1e100, y)
    assert model.t_ == before[1]
    np.testing.assert_array_equal(model.coef_, before[0])


@pytest.mark.usefixtures("plain_python")
@pytest.mark.parametrize("hidden", [(), (3,)])
def test_weight_decay_too_large_for_the_rate_is_said_and_changes_nothing(hidden):
    X = features()
    y = target("number", X)
    schedule = Piecewise(1.0, boundaries=(10,), factors=(0.01, 20.0))
    model = GDRegressor(hidden_layer_sizes=hidden, random_state=0, learning_rate=schedule)
    model.set_params(optimizer=AdamW(weight_decay=0.1))
    model = streamed(model, X, y, cuts=[0, 8, 40])
    before = pickle.dumps(model)
    with mock.patch.object(skgd.engines, "REPAYS_SECONDS", 0.0):
        with pytest.raises(ValueError, match=r"weight_decay=0\.1 at the learning rate"):
            model.partial_fit(X[40:], y[40:])
        assert pickle.dumps(model) == before
        model.partial_fit(X[40:80], y[40:80])
    assert model.engine_ == "compiled"


@pytest.mark.usefixtures("plain_python")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "change",
    [
        lambda model: model.set_params(verbose=False),
        lambda model: setattr(model, "coef_", model.coef_.tolist()),
        lambda model: setattr(model, "coef_", np.asfortranarray(model.coef_, dtype=np.float64)),
        lambda model: setattr(model, "intercept_", np.repeat(model.intercept_, 2)[::2]),
    ],
    ids=["nothing", "a list", "another layout", "strided"],
)
def test_equal_coefficients_are_gone_on_from_in_any_form(change, dtype):
    X = features().astype(dtype)
    y = target("classes", X)
    model, other = (streamed(GDClassifier(), X, y, cuts=[0, 40, 80]) for _ in range(2))
    change(other)
    for each in (model, other):
        with mock.patch.object(skgd.engines, "REPAYS_SECONDS", 0.0):
            each.partial_fit(X[80:], y[80:])
    np.testing.assert_array_equal(model.coef_, other.coef_)


@pytest.mark.usefixtures("plain_python")
@pytest.mark.parametrize("hidden", [(), (3, 2)])
def test_a_copy_learns_on_its_own(hidden):
    X = features()
    y = target("number", X)
    model = streamed(GDRegressor(hidden_layer_sizes=hidden, random_state=0), X, y, cuts=[0, 40, 80])
    before, other = pickle.dumps(model), copy.copy(model)
    with mock.patch.object(skgd.engines, "REPAYS_SECONDS", 0.0):
        other.partial_fit(X[80:], y[80:])
    assert (model.engine_, other.engine_) == ("compiled", "compiled")
    other.coefs_[0][...] += 1.0
    assert pickle.dumps(model) == before


@pytest.mark.usefixtures("plain_python")
def test_a_stream_that_becomes_one_of_text_loses_its_penalty_at_once():
    """The one after a fit by SGD, also if it is pickled, and in NumPy."""
    rng = np.random.default_rng(0)
    few, many = (sp.random_array((60, 400), density=each, rng=rng, format="csr") for each in (0.1, 0.2))
    y = rng.integers(0, 3, 60)
    model = GDClassifier(max_iter=2, tol=None, random_state=0).fit(few, y)
    assert type(model.optimizer_) is SGD
    assert model.alpha_ > 0.0
    models = [copy.deepcopy(model) for _ in range(3)]
    strengths = []
    for begin in range(0, 60, 4):
        rows = slice(begin, begin + 4)
        models[1] = pickle.loads(pickle.dumps(models[1]))
        for each, seconds in zip(models, (0.0, 0.0, np.inf), strict=True):
            with mock.patch.object(skgd.engines, "REPAYS_SECONDS", seconds):
                each.partial_fit(many[rows], y[rows])
        strengths.append([each.alpha_ for each in models])
    assert [each.engine_ for each in models] == ["compiled", "compiled", "vectorized"]
    assert strengths[0][0] > 0.0 == strengths[-1][0]
    for compiled, pickled, vectorized in strengths:
        assert compiled == pickled == pytest.approx(vectorized)


@pytest.mark.usefixtures("plain_python")
@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("hidden", [(), (3, 2)])
def test_calls_write_over_nothing_that_someone_has(monkeypatch, hidden, sparse):
    X, cuts, held = features(), [0, 10, 40, 41, 60, 70, N_ROWS], []
    y = target("number", X)
    X, model = thinned(X) if sparse else X, GDRegressor(hidden_layer_sizes=hidden, alpha=1e-3, random_state=0)
    usual = streamed(model, X, y, cuts=cuts)
    monkeypatch.setattr("skgd.engines.compiled.workspace._LARGE", 0)
    with mock.patch.object(skgd.engines, "REPAYS_SECONDS", 0.0):
        for begin, end in itertools.pairwise(cuts):
            model.partial_fit(X[begin:end], y[begin:end])
            copied = copy.copy(model)
            held.append((copied, pickle.dumps(copied), model.coefs_, [coef.copy() for coef in model.coefs_]))
    assert model.engine_ == "compiled"
    assert_same_bits(model, usual)
    for copied, pickled, coefs, expected in held:
        assert pickle.dumps(copied) == pickled
        assert all(map(np.array_equal, coefs, expected))


def test_large_copies_take_the_place_of_what_no_one_has(monkeypatch):
    monkeypatch.setattr("skgd.engines.compiled.workspace._LARGE", 0)
    former, numbers, like = Former(), np.zeros(5), np.ones(5)
    address, view = numbers.ctypes.data, numbers[1:]
    former.keep(numbers)
    del numbers
    assert former.room_for(like).ctypes.data != address
    former.keep(view.base)
    del view
    room = former.room_for(like)
    assert room.ctypes.data == address
    assert former.room_for(like).ctypes.data != address  # it is not given to two


def test_a_stream_keeps_its_numbers_once():
    """Parameters, slot, average, and what is known of the columns."""
    X = sp.random_array((40, 2**16), density=1e-4, rng=np.random.default_rng(0), format="csr")
    model, y = GDRegressor(average=True, alpha=1e-3), np.arange(20.0)
    with mock.patch.object(skgd.engines, "REPAYS_SECONDS", 0.0):
        for _ in range(3):
            model.partial_fit(X[:20], y)
    held = sum(array.nbytes for array in arrays_in(model._state))
    assert isinstance(model._state, Stream)
    assert held < 1.1 * sum(array.nbytes for array in arrays_in(model._state.whole)) + 2 * model.coef_.nbytes


def arrays_in(value):
    """Yield the arrays that something holds."""
    if isinstance(value, np.ndarray):
        yield value
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from arrays_in(each)
    elif is_dataclass(value):
        for each in fields(value):
            yield from arrays_in(getattr(value, each.name))


@pytest.mark.usefixtures("plain_python")
@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("layer", [0, 1])
@pytest.mark.parametrize("name", ["coefs_", "intercepts_"])
def test_layers_set_from_outside_are_heeded(name, layer, sparse):
    X = features()
    y = target("number", X)
    rows = thinned(X) if sparse else X
    network = GDRegressor(hidden_layer_sizes=(4,), random_state=0)
    model, other, vectorized = (
        streamed(network, rows, y, cuts=[0, 40, 80], compiles_after=steps) for steps in (0, 0, np.inf)
    )
    for each in (other, vectorized):
        getattr(each, name)[layer][...] += 3.0
    for each, after in ((model, 0.0), (other, 0.0), (vectorized, np.inf)):
        with mock.patch.object(skgd.engines, "REPAYS_SECONDS", after):
            each.partial_fit(rows[80:], y[80:])
    assert (other.engine_, vectorized.engine_) == ("compiled", "vectorized")
    assert np.abs(other.predict(rows) - model.predict(rows)).max() > 0.1
    np.testing.assert_allclose(other.predict(rows), vectorized.predict(rows), rtol=1e-9)


@pytest.mark.usefixtures("plain_python")
def test_networks_whose_parameters_change_between_calls_agree():
    X = features()
    y = target("classes", X)
    changes = [
        {"alpha": 0.1},
        {"activation": "tanh"},
        {"average": True},
        {"class_weight": "balanced"},
        {"class_weight": None, "average": False},
        {"precondition": False, "learning_rate": 0.01},
        {"optimizer": AdamW(weight_decay=0.1)},
        {"batch_size": 3},
        {"loss": "hinge"},
    ]
    models = {}
    for after in (0.0, np.inf):
        network = GDClassifier(hidden_layer_sizes=(4,), random_state=0)
        model = models[after] = streamed(network, X, y, cuts=[0, 40], compiles_after=after)
        engines = []
        with mock.patch.object(skgd.engines, "REPAYS_SECONDS", after):
            for change in changes:
                model.set_params(**change).partial_fit(X, y)
                engines.append(model.engine_)
        assert set(engines) == {"compiled" if after == 0.0 else "vectorized"}
    for ours, expected in zip(models[0.0].coefs_, models[np.inf].coefs_, strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("change", ["coef_", "in place", "intercept_"])
def test_coefficients_set_from_outside_are_heeded(change):
    X = features()
    model, other = (streamed(GDRegressor(), X, target("number", X), cuts=[0, 40, 80]) for _ in range(2))
    if change == "in place":
        other.coef_[1] += 1.0
    else:
        setattr(other, change, getattr(other, change) + 1.0)
    for each in (model, other):
        each.partial_fit(X[80:], target("number", X)[80:])
    assert np.abs(other.predict(X) - model.predict(X)).max() > 0.5


def test_parameters_changed_between_calls_are_heeded():
    X = features()
    y = target("number", X)
    model = streamed(GDRegressor(), X, y, cuts=[0, 40, 41])
    model.alpha = 1e3
    model.partial_fit(X, y)
    assert np.abs(model.coef_).max() < 0.01
    model.set_params(loss="nonsense")
    with pytest.raises(ValueError, match="nonsense"):
        model.partial_fit(X, y)


if __name__ == "__main__":
    count = 0
    for model, kind in combinations():
        for sparse, weighted in itertools.product((False, True), repeat=2):
            X = features()
            weight = np.random.default_rng(2).uniform(0.5, 2.0, N_ROWS) if weighted else None
            assert_agree(model, thinned(X) if sparse else X, target(kind, X), weight)
            count += 1
    print(count)


@pytest.mark.parametrize("settings", [{"optimizer": "adam"}, {"optimizer": "adagrad", "learning_rate": 0.5}])
def test_what_follows_a_fit_is_learned_soon(settings):
    """The average of ``fit`` goes on, and forgets."""
    rng = np.random.default_rng(0)
    X, w = rng.normal(size=(6000, 10)), rng.normal(size=(2, 10))
    y = np.where(np.arange(6000) < 3000, X @ w[0], X @ w[1]) + 0.1 * rng.normal(size=6000)
    model = GDRegressor(tol=1e-3, random_state=0, **settings).fit(X[:3000], y[:3000])
    for start in range(3000, 5000, 10):
        model.partial_fit(X[start : start + 10], y[start : start + 10])
    assert model.score(X[5000:], y[5000:]) > 0.97


def calls_after(model, X, y, change, *, shortcut):
    """Return whether calls of a stream, the middle ones after a change, took the shortcut, and the model."""
    taken = []
    kind = type(model)
    goes_on = kind._goes_on

    def watched(self, X, y):
        taken.append(shortcut and goes_on(self, X, y))
        return taken[-1]

    more = {"classes": [False, True]} if kind is GDClassifier else {}
    with mock.patch.object(kind, "_goes_on", watched), mock.patch.object(skgd.engines, "REPAYS_SECONDS", 0.0):
        for begin in range(0, 70, 10):
            if begin == 40:
                change(model)
            model.partial_fit(X[begin : begin + 10], y[begin : begin + 10], **more)
    return taken, model


def edit_coef(model):
    model.coef_[..., 1] = 0.5


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("kind", ["number", "binary"])
@pytest.mark.parametrize(
    "change",
    [
        None,
        lambda model: model.coef_,
        edit_coef,
        lambda model: setattr(model, "intercept_", model.intercept_ + 1.0),
        lambda model: setattr(model, "alpha", 1e-3),
        lambda model: model.set_params(optimizer=SGD(learning_rate=0.01)),
        lambda model: setattr(model, "learning_rate", 0.01),
        lambda model: setattr(model, "fit_intercept", True),
        lambda model: vars(model).update(pickle.loads(pickle.dumps(model)).__dict__),
    ],
)
def test_a_stream_whose_samples_alone_are_new_goes_on_as_any_other(kind, wide, change):
    X = features()
    y = target(kind, X)
    if wide:
        X = sp.csr_array(np.where(np.abs(X) > 1.0, X, 0.0))
        X = sp.csr_array((X.data, X.indices * 700, X.indptr), shape=(N_ROWS, 2**12))
    model = GDRegressor() if kind == "number" else GDClassifier()
    edit = change or (lambda model: None)
    taken, fast = calls_after(clone(model), X, y, edit, shortcut=True)
    _, usual = calls_after(clone(model), X, y, edit, shortcut=False)
    assert change is not None or any(taken) or wide  # a wide stream's loop may have to be compiled first
    assert fast.t_ == usual.t_
    for name in ("coef_", "intercept_", "alpha_"):
        np.testing.assert_array_equal(getattr(fast, name), getattr(usual, name))
    for name in fast.history_.keys() - {"seconds"}:
        np.testing.assert_array_equal(fast.history_[name], usual.history_[name])
    assert vars(fast).keys() == vars(usual).keys()


def test_an_interrupt_at_the_end_of_a_call_changes_nothing(monkeypatch):
    X = features()
    y = target("binary", X)
    with mock.patch.object(skgd.engines, "REPAYS_SECONDS", 0.0):
        model = streamed(GDClassifier(), X, y)
        before, entries = pickle.dumps(model), len(model.history_["loss"])

        def interrupted(history, entry):
            history["objective"].append(entry["objective"])
            raise KeyboardInterrupt

        monkeypatch.setattr("skgd.estimators.base.append", interrupted)
        with pytest.raises(KeyboardInterrupt):
            model.partial_fit(X[:8], y[:8])
    assert pickle.dumps(model) == before
    assert {len(values) for values in model.history_.values()} == {entries}
