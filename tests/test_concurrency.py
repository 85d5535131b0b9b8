"""Threads and processes: predictions of whole models, the bits of serial fits, and nothing shared."""

import copy
import pickle
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from unittest import mock

import numpy as np
import pytest
import scipy.sparse as sp
from joblib import Parallel, delayed
from numpy.testing import assert_array_equal
from sklearn.base import clone

import skgd.engines
from skgd import GDClassifier, GDRegressor
from skgd.optimizers import Adam

N_THREADS = 8
rng = np.random.default_rng(0)
X = rng.normal(size=(400, 6)) * (rng.random((400, 6)) < 0.7)
Y = X @ rng.normal(size=6) + 0.3 * rng.normal(size=400)
LABELS = np.digitize(Y, [-1.0, 1.0])


@pytest.fixture(autouse=True)
def _frequent_switches(monkeypatch):
    """Let Python change threads as often as it can, and compile nothing meanwhile, which would take minutes then."""
    monkeypatch.setattr(skgd.engines, "REPAYS_SECONDS", np.inf)
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@contextmanager
def in_the_background(work, n_threads=N_THREADS):
    """Repeat some work in threads until the block ends, and pass on what it raises."""
    done = threading.Event()

    def repeat():
        while not done.wait(1e-4):  # a pause, in which the others come forward
            work()

    with ThreadPoolExecutor(n_threads) as pool:
        futures = [pool.submit(repeat) for _ in range(n_threads)]
        try:
            yield
        finally:
            done.set()
        for future in futures:
            future.result()


# -- prediction while training -----------------------------------------------------------------------------------------


def test_predictions_stay_while_a_copy_trains():
    model = GDClassifier(random_state=0).fit(X, LABELS)
    expected = model.predict_proba(X)

    def check():
        assert_array_equal(model.predict_proba(X), expected)

    for make_copy in (copy.copy, copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))):
        other = make_copy(model).set_params(warm_start=True, max_iter=5, tol=None)
        with in_the_background(check):
            for _ in range(20):
                other.partial_fit(X[:50], LABELS[:50])
            other.fit(X, LABELS)
    assert not np.array_equal(other.predict_proba(X), expected)


@pytest.mark.parametrize("hidden_layer_sizes", [(), (3,)])
@pytest.mark.parametrize("kind", [GDRegressor, GDClassifier])
def test_predictions_are_those_of_a_whole_model(kind, hidden_layer_sizes):
    """While the same estimator learns, a prediction is that before a call or after it, and never of half of each."""
    y, more = (Y, {}) if kind is GDRegressor else (LABELS, {"classes": [0, 1, 2]})
    raw = "predict" if kind is GDRegressor else "decision_function"
    y = 1e3 * y if kind is GDRegressor else y
    model = kind(hidden_layer_sizes=hidden_layer_sizes, random_state=0)
    states, batches = [], [slice(start, start + 5) for start in range(0, 400, 5)]
    other = clone(model)
    for rows in batches:
        states.append(getattr(other.partial_fit(X[rows], y[rows], **more), raw)(X[:3]).tobytes())
    model.partial_fit(X[batches[0]], y[batches[0]], **more)
    seen = set()
    with in_the_background(lambda: seen.add(getattr(model, raw)(X[:3]).tobytes())):
        for rows in batches[1:]:
            model.partial_fit(X[rows], y[rows], **more)
    assert seen <= set(states)
    assert len(seen) > 1


def test_predictions_stay_while_calls_fail():
    model = GDRegressor().partial_fit(X, Y)
    expected = model.predict(X)

    def check():
        assert_array_equal(model.predict(X), expected)

    with in_the_background(check):
        for _ in range(50):
            with pytest.raises(ValueError, match="NaN"):
                model.partial_fit(np.full((3, 6), np.nan), Y[:3])


def test_a_model_can_be_saved_while_it_learns():
    """Each file holds a whole model: what it predicts is what its state says."""
    model, files = GDRegressor().partial_fit(X[:8], Y[:8]), []
    with in_the_background(lambda: files.append(pickle.dumps(model)), n_threads=2):
        for start in range(8, 400, 8):
            model.partial_fit(X[start : start + 8], Y[start : start + 8])
    for file in files[:: max(len(files) // 50, 1)]:
        loaded = pickle.loads(file)
        [(coef, intercept)] = loaded._state.whole.readout()
        assert_array_equal(loaded.coef_, coef.ravel())
        assert_array_equal(loaded.intercept_, intercept)
        assert loaded.t_ == loaded._state.whole.iterate.t


# -- the bits of serial fits ------------------------------------------------------------------------------------------

MODELS = [
    (GDRegressor(random_state=0, optimizer="adagrad"), Y),
    (GDRegressor(random_state=0, optimizer=Adam(0.01), average=True, early_stopping=True, max_iter=99, tol=None), Y),
    (GDRegressor(random_state=0), Y),
    (GDClassifier(random_state=0, class_weight="balanced", max_iter=10, tol=None), LABELS),
    (GDClassifier(random_state=0, hidden_layer_sizes=(4,), max_iter=5, tol=None), LABELS),
]


def trained(model, X, y, seconds):
    """Return the bytes of a copy's parameters after a fit and some more rows, with either engine."""
    with mock.patch.object(skgd.engines, "REPAYS_SECONDS", seconds):
        model = clone(model).fit(X, y)
        if seconds > 0.0:  # compiling another loop takes long
            model.set_params(early_stopping=False).partial_fit(X[:50], y[:50])
        return [part.tobytes() for part in (*model.coefs_, *model.intercepts_)], model.engine_


@pytest.mark.parametrize("backend", ["threading", "loky"])
@pytest.mark.parametrize("seconds", [np.inf, 0.0], ids=["vectorized", "compiled"])
def test_fits_elsewhere_have_the_bits_of_serial_ones(backend, seconds):
    if seconds == 0.0:
        pytest.importorskip("numba")
    models = MODELS[:1] if seconds == 0.0 else MODELS
    tasks = [(model, form(X), y, seconds) for model, y in models for form in (np.asarray, sp.csr_array)] * 2
    expected = [trained(*task) for task in tasks]
    # A thread that is done would put back the constant that tells engines apart while others still train.
    with mock.patch.object(skgd.engines, "REPAYS_SECONDS", seconds):
        results = Parallel(n_jobs=2 if backend == "loky" else N_THREADS, backend=backend)(
            delayed(trained)(*task) for task in tasks
        )
    if (backend, seconds) == ("loky", 0.0):
        # What this process compiled itself and what another one left on the disk meanwhile, where the workers read it,
        # are two compilations: the last bits may differ. All that read it have the same bits.
        assert results[: len(tasks) // 2] == results[len(tasks) // 2 :]
        for (ours, engine), (theirs, _) in zip(results, expected, strict=True):
            assert engine == "compiled"
            for one, other in zip(ours, theirs, strict=True):
                np.testing.assert_allclose(np.frombuffer(one), np.frombuffer(other), rtol=1e-12)
    else:
        assert results == expected
    assert "compiled" in {engine for _, engine in results} or seconds > 0.0


# -- nothing shared ---------------------------------------------------------------------------------------------------


def test_strategies_serve_many_threads_at_once():
    optimizer = Adam(0.01)
    model = GDRegressor(optimizer=optimizer, max_iter=5, tol=None, random_state=0)
    expected = clone(model).fit(X, Y).coef_
    with ThreadPoolExecutor(N_THREADS) as pool:
        fits = [pool.submit(GDRegressor(**model.get_params(deep=False)).fit, X, Y) for _ in range(N_THREADS)]
        for fit in fits:
            assert_array_equal(fit.result().coef_, expected)
    assert vars(optimizer) == vars(Adam(0.01))


def test_numpy_goes_on_complaining_in_other_threads():
    """``fit`` silences NumPy's warnings in its own thread alone, and leaves the settings as they were."""
    settings, heard = np.geterr(), []
    with ThreadPoolExecutor(1) as pool:
        of_new_threads = pool.submit(np.geterr).result()

    with in_the_background(lambda: heard.append(np.geterr()), n_threads=2):
        for _ in range(20):
            GDRegressor(max_iter=3, tol=None).fit(X, Y).partial_fit(X, Y)
    assert heard
    assert all(each == of_new_threads for each in heard)
    assert np.geterr() == settings


def test_the_filters_of_warnings_are_left_alone(monkeypatch):
    """`warnings.catch_warnings` changes them for all threads: nothing of ours may use it."""
    users, original = [], warnings.catch_warnings.__enter__

    def noted(self):
        users.append(sys._getframe(1).f_globals["__name__"])
        return original(self)

    monkeypatch.setattr(warnings.catch_warnings, "__enter__", noted)
    model = GDClassifier(max_iter=3, tol=None, early_stopping=True, random_state=0).fit(X, LABELS)
    model.set_params(early_stopping=False).partial_fit(X, LABELS)
    model.predict_proba(sp.csr_array(X))
    assert not [name for name in users if name.startswith("skgd")]


def test_the_global_random_state_is_left_alone():
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    GDClassifier(random_state=0, max_iter=3, tol=None).fit(X, LABELS)
    assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002
