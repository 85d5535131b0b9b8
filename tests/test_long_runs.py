"""Streams that never end: memory stays flat, calls stay as short as they were, and step numbers may be huge."""

import gc
import math
import tracemalloc
from dataclasses import replace
from unittest import mock

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal

import skgd.engines
from skgd import GDClassifier, GDRegressor, history, stream
from skgd.optimizers import ADOPT, OPTIMIZERS, AdaMax, Yogi, idle_slots
from skgd.schedules import SCHEDULES, Exponential, ReduceOnPlateau

rng = np.random.default_rng(0)
N_ROWS, SIZE = 24, 8
X = rng.normal(size=(N_ROWS, 3)) * [1.0, 10.0, 0.1]
Y = X @ [1.0, 0.1, -10.0] + rng.normal(size=N_ROWS)


@pytest.fixture(autouse=True)
def _vectorized(monkeypatch):
    """Streams beyond some hundred steps would be compiled, which takes seconds for each optimizer."""
    monkeypatch.setattr(skgd.engines, "REPAYS_SECONDS", np.inf)


# -- memory and history -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [GDRegressor, lambda: GDRegressor(learning_rate="reduce_on_plateau")])
def test_memory_is_flat(make, monkeypatch):
    monkeypatch.setattr(history, "STREAM_HISTORY", 50)
    model = make()

    def allocated_after(n_calls):
        for _ in range(n_calls):
            model.partial_fit(X, Y)
        gc.collect()  # which empties Python's lists of free tuples, too
        return tracemalloc.get_traced_memory()[0]

    allocated_after(200)  # what is imported on the way stays
    tracemalloc.start()
    try:
        allocated = [allocated_after(200) for _ in range(7)]
        growth = min(np.diff(allocated))  # what leaks grows each time; caches and the test runner only sometimes
    finally:
        tracemalloc.stop()
    assert growth < 200 * 16, growth  # an unbounded history takes 14 times as much


def test_a_stream_keeps_its_latest_entries(monkeypatch):
    whole, model = GDRegressor(), GDRegressor()
    numbers = []
    for call in range(35):
        whole.partial_fit(X[call % 16 :], Y[call % 16 :])
        with monkeypatch.context() as context:
            context.setattr(history, "STREAM_HISTORY", 10)
            context.setattr(stream, "print_entry", lambda number, entry, header: numbers.append((number, header)))
            model.set_params(verbose=1).partial_fit(X[call % 16 :], Y[call % 16 :])
        assert min(call + 1, 10) <= len(model.history_["loss"]) <= 20
        for key, values in model.history_.items():
            if key != "seconds":
                assert_array_equal(values, whole.history_[key][-len(values) :])
    assert numbers == [(number, number == 1) for number in range(1, 36)]
    assert_array_equal(model.coef_, whole.coef_)
    n_kept = len(model.history_["loss"])
    model.set_params(warm_start=True, max_iter=30, tol=None, verbose=0).fit(X, Y)
    assert len(model.history_["loss"]) == n_kept + 30  # fit keeps all


def test_plateaus_are_remembered_beyond_the_history(monkeypatch):
    """The rate of a stream is a function of all its objectives, whether the history still has them or not."""
    monkeypatch.setattr(history, "STREAM_HISTORY", 3)
    schedule = ReduceOnPlateau(learning_rate=0.1, factor=0.5, patience=1, lowest_factor=0.0)
    model, objectives = GDRegressor(learning_rate=schedule, optimizer="sgd"), []
    for call in range(40):
        model.partial_fit(X, Y + rng.normal(size=N_ROWS))
        assert model.history_["learning_rate"][-1] == 0.1 * schedule.evaluate(0, objectives)
        objectives.append(model.history_["objective"][-1])
        if call == 20:
            model.set_params(warm_start=True, max_iter=5, tol=None).fit(X, Y)
            for epoch in range(-5, 0):
                assert model.history_["learning_rate"][epoch] == 0.1 * schedule.evaluate(0, objectives)
                objectives.append(model.history_["objective"][epoch])
    assert model.history_["learning_rate"][-1] < 1e-3
    assert len(model.history_["objective"]) < 20


# -- step numbers -----------------------------------------------------------------------------------------------------

T = 2**31 - 1  # the last step that 32 bits can count
FACTORS = {
    "constant": lambda t: 1.0,
    "inverse_scaling": lambda t: 1.0 / math.sqrt(1 + t),
    "exponential": lambda t: math.exp(math.log(0.96) * t / 1000),
    "step": lambda t: 0.5 ** (t // 1000),
    "piecewise": lambda t: 0.01,
    "linear": lambda t: 0.0,
    "cosine": lambda t: 0.0,
    "one_cycle": lambda t: 1 / 25 / 1e4,
    "reduce_on_plateau": lambda t: 1.0,
}


def moved_to(model, t):
    """Return a model that has taken some steps, as if they had been many more."""
    model._state = replace(model._state.whole, iterate=model._state.whole.iterate._replace(t=t))
    return model


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_far_out(name):
    steps = [T + k for k in (-1, 0, 1, 2, 1000, T)]
    assert_allclose(SCHEDULES[name](0.3)(steps), [0.3 * FACTORS[name](t) for t in steps], rtol=1e-12, atol=1e-300)
    model = GDRegressor(optimizer="sgd", learning_rate=SCHEDULES[name](0.03), batch_size=SIZE, warm_start=True)
    model.set_params(max_iter=2, tol=None).partial_fit(X, Y)
    for method, n_steps in (("partial_fit", 3), ("fit", 6)):
        getattr(moved_to(model, T - 1), method)(X, Y)
        assert model.t_ == T - 1 + n_steps
        expected = 0.03 * FACTORS[name](T - 1 + n_steps - 1)
        assert_allclose(model.history_["learning_rate"][-1], expected, rtol=1e-12, atol=1e-300)


def test_restarts_far_out():
    """Step T + k of a periodic schedule is step (T + k) modulo the period."""
    schedule = SCHEDULES["cosine"](1.0, decay_steps=1000, restarts=True)
    steps = T + np.arange(0, 3000, 7)
    assert_allclose(schedule(steps), 0.5 * (1 + np.cos(np.pi * (steps % 1000) / 1000)), atol=1e-8)


def test_a_function_of_the_step_gets_all_its_digits():
    seen = []

    def rate(step):
        seen.extend(step.tolist())
        return np.full_like(step, 1e-3)

    model = GDRegressor(learning_rate=rate, batch_size=SIZE).partial_fit(X, Y)
    seen.clear()
    moved_to(model, T).partial_fit(X, Y)
    assert seen == [T, T + 1, T + 2]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("optimizer", [ADOPT(epsilon=1.0) if name == "adopt" else name for name in OPTIMIZERS], ids=str)
def test_bias_corrections_far_out(optimizer, dtype):
    """From some step on, the powers of the betas are zero, and the step number has no influence any more.

    ADOPT clips at the fourth root of the step number, but nothing that is divided by 1 or more here.
    """
    data = X.astype(dtype), Y
    rate = 1e-3
    near, far = (
        moved_to(GDRegressor(optimizer=optimizer, learning_rate=rate, batch_size=SIZE).partial_fit(*data), t)
        for t in (10**6, T - 1)
    )
    near.partial_fit(*data)
    far.partial_fit(*data)
    assert (near.t_, far.t_) == (10**6 + 3, T + 2)
    assert_array_equal(near.coef_, far.coef_)
    for ours, theirs in zip(near._state.whole.iterate.slots, far._state.whole.iterate.slots, strict=True):
        assert_array_equal(ours, theirs)
        assert np.isfinite(ours).all()


def test_a_step_far_out_by_hand():
    """One step of AdaMax, whose bias correction is 1 there, with the numbers written down."""
    model = GDRegressor(optimizer=AdaMax(0.1), precondition=False, fit_intercept=False, batch_size=1, average=False)
    model.partial_fit([[1.0]], [3.0])
    [w], (mean, largest) = model.coef_, (slot[0] for slot in model._state.whole.iterate.slots)
    moved_to(model, T).partial_fit([[2.0]], [5.0])
    gradient = (2.0 * w - 5.0) * 2.0
    mean, largest = 0.9 * mean + 0.1 * gradient, max(0.999 * largest, abs(gradient) + 1e-8)
    assert_allclose(model.coef_, [w - 0.1 * mean / largest], rtol=1e-14)


@pytest.mark.parametrize("as_format", [np.asarray, sp.csr_array])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_rates_that_vanish_make_no_nan(optimizer, dtype, as_format):
    """Whatever is divided by a rate, or multiplied with it, stays finite on its way to zero."""
    data = as_format(X.astype(dtype)), Y
    schedule = Exponential(0.1, decay_rate=1e-3, decay_steps=1)
    model = GDRegressor(optimizer=optimizer, learning_rate=schedule, batch_size=1, alpha=1e-3)
    for _ in range(6):
        model.partial_fit(*data)
    assert 0.0 in model.history_["learning_rate"]
    assert np.isfinite(model.history_["learning_rate"]).all()
    assert np.isfinite(model.coef_).all()
    assert all(np.isfinite(slot).all() for slot in model._state.whole.iterate.slots)


def test_compiled_loops_count_as_far():
    pytest.importorskip("numba")
    results = []
    for seconds in (0.0, np.inf):
        with mock.patch.object(skgd.engines, "REPAYS_SECONDS", seconds):
            model = GDClassifier(optimizer="adam", learning_rate="inverse_scaling", batch_size=SIZE, warm_start=True)
            model.set_params(max_iter=2, tol=None, random_state=0).partial_fit(X, Y > 0, classes=[False, True])
            moved_to(model, T - 1).partial_fit(X, Y > 0)
            moved_to(model, 2**40).fit(X, Y > 0)
        results.append(model)
    assert [model.engine_ for model in results] == ["compiled", "vectorized"]
    assert [model.t_ for model in results] == [2**40 + 6] * 2
    assert_allclose(results[0].coef_, results[1].coef_, rtol=1e-10)
    assert_allclose(results[0].history_["learning_rate"], results[1].history_["learning_rate"], rtol=1e-12)


# -- numbers that decay without end -----------------------------------------------------------------------------------


def subnormal_in(state):
    """Return how many numbers of a state are below the smallest normal one, but not zero."""
    iterate = state.whole.iterate
    numbers = np.concatenate([iterate.theta, *iterate.slots, *([] if iterate.average is None else [iterate.average])])
    return np.count_nonzero((numbers != 0.0) & (np.abs(numbers) < np.finfo(numbers.dtype).tiny))


def decayed(model, t):
    """Return a model after t steps, of which the last thousands had nothing in the last feature."""
    state = model._state.whole
    iterate = state.iterate._replace(t=t)

    def small(numbers):
        numbers = numbers.copy()
        if numbers[2] == 0.0:  # and not the number of steps, say
            numbers[2] = np.finfo(numbers.dtype).tiny / 8
        return numbers

    idle = idle_slots(state.optimizer)  # which no step changes
    slots = tuple(slot if place in idle else small(slot) for place, slot in enumerate(iterate.slots))
    average = None if iterate.average is None else small(iterate.average)
    model._state = replace(state, iterate=iterate._replace(theta=small(iterate.theta), slots=slots, average=average))
    return model


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("method", ["partial_fit", "fit"])
@pytest.mark.parametrize("engine", ["vectorized", "compiled"])
@pytest.mark.parametrize(
    "optimizer", [Yogi(initial_accumulator=0.0) if name == "yogi" else name for name in OPTIMIZERS], ids=str
)
def test_no_number_stays_subnormal(optimizer, engine, method, dtype, request, monkeypatch):
    """Processors are slow with them, and 0.9 times the smallest one is rounded to itself, so that it never ends."""
    if engine == "compiled":
        request.getfixturevalue("plain_python")
        monkeypatch.setattr(skgd.engines, "REPAYS_SECONDS", 0.0)
    data = (X * [1.0, 1.0, 0.0]).astype(dtype), Y
    model = GDRegressor(optimizer=optimizer, precondition=False, learning_rate=1e-3, batch_size=SIZE, random_state=0)
    model.set_params(warm_start=True, max_iter=1, tol=None).partial_fit(*data)
    getattr(decayed(model, 1000), method)(*data)
    assert subnormal_in(model._state)
    getattr(decayed(model, 1022), method)(*data)
    assert model.t_ == 1025
    assert not subnormal_in(model._state)
    assert model.engine_ == engine or (method == "partial_fit" and optimizer in ("ftrl", "schedule_free"))
