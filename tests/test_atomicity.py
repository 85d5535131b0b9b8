"""A call that raises changes nothing, wherever it raises: at each line of a call, and at each step of a training."""

import copy
import pickle
import sys
import warnings
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone

import skgd
from skgd import GDClassifier, GDRegressor
from skgd.losses import SquaredError
from skgd.optimizers import OPTIMIZERS, SGD, Optimizer
from skgd.schedules import Schedule
from skgd.steps import DivergenceError

FOLDER = str(Path(skgd.__file__).parent)
N_ROWS, SIZE = 12, 4
rng = np.random.default_rng(0)
X = rng.normal(size=(N_ROWS, 2)) * [1.0, 100.0]
Y = X @ [1.0, 0.01] + rng.normal(size=N_ROWS)
LABELS = np.where(Y > 0, "a", "b")
SETTINGS = {"batch_size": SIZE, "max_iter": 2, "tol": None, "random_state": 0}
STEPS = SETTINGS["max_iter"] * N_ROWS // SIZE  # of a fit


def memory(model):
    """Return the names of all attributes, and the bytes of what would be saved."""
    return set(vars(model)), {name: pickle.dumps(value) for name, value in model.__getstate__().items()}


@contextmanager
def unchanged(model, error, match=""):
    """Expect an error, and the same objects with the same bytes after it."""
    values, before = dict(vars(model)), memory(model)
    with pytest.raises(error, match=match):
        yield
    assert memory(model) == before
    assert all(vars(model)[name] is value for name, value in values.items())


def calls(**params):
    """Yield models, unfitted and fitted, and the call that is to fail; ``params`` are set between the two."""
    for method in ("fit", "partial_fit"):
        yield GDRegressor(**SETTINGS | params), method
        for trained_by in ("fit", "partial_fit"):
            model = getattr(GDRegressor(**SETTINGS), trained_by)(X, Y)
            yield model.set_params(**params), method
    yield GDRegressor(**SETTINGS).fit(X, Y).set_params(warm_start=True, **params), "fit"


# -- at each line -----------------------------------------------------------------------------------------------------


class Injected:
    """Raises an error at a line of this package, the lines of a call being numbered as they come."""

    def __init__(self, error, number):
        self.error, self.number, self.lines = error, number, 0

    def trace(self, frame, event, argument):
        if not frame.f_code.co_filename.startswith(FOLDER):
            return None
        if event == "line":
            if self.lines == self.number:
                raise self.error
            self.lines += 1
        return self.trace

    def __enter__(self):
        sys.settrace(self.trace)
        return self

    def __exit__(self, *exception):
        sys.settrace(None)


def count_lines(call, *arguments):
    with Injected(None, -1) as injected:
        call(*arguments)
    return injected.lines


def streamed(model):
    """Return a model that has seen a batch."""
    more = {"classes": ["a", "b"]} if isinstance(model, GDClassifier) else {}
    return model.partial_fit(X[:SIZE], target_of(model)[:SIZE], **more)


def target_of(model):
    return LABELS if isinstance(model, GDClassifier) else Y


CALLS = {
    "fit": (GDRegressor(**SETTINGS), "fit", 11),
    "fit again": (GDRegressor(**SETTINGS).fit(X, Y), "fit", 11),
    "warm": (GDClassifier(warm_start=True, early_stopping=True, **SETTINGS).fit(X, LABELS), "fit", 11),
    "first": (GDRegressor(**SETTINGS), "partial_fit", 7),
    "stream": (streamed(GDClassifier(optimizer="adam", batch_size=SIZE)), "partial_fit", 4),
    "network": (streamed(GDRegressor(hidden_layer_sizes=(2,), random_state=0)), "partial_fit", 7),
}


@pytest.mark.parametrize("error", [MemoryError, KeyboardInterrupt])
@pytest.mark.parametrize("name", CALLS)
def test_an_error_at_any_line(name, error):
    original, method, stride = CALLS[name]
    values = memory(original)
    stored, y = pickle.dumps(original), target_of(original)
    # Caches are filled, and what is imported late is imported, before lines are counted.
    getattr(pickle.loads(stored), method)(X, y)
    n_lines = count_lines(getattr(pickle.loads(stored), method), X, y)
    assert n_lines > 200
    n_returned = 0
    for number in range(0, n_lines - 1, stride):  # not at the last one, "return self"
        model = pickle.loads(stored)
        before = memory(model)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of an interrupted fit
            try:
                with Injected(error, number):
                    getattr(model, method)(X, y)
            except error:
                assert memory(model) == before, number
            else:  # interrupted, and what was learned until then kept
                n_returned += 1
                assert model.score(X, y) <= 1.0
                assert len(set(map(len, model.history_.values()))) == 1
                assert memory(pickle.loads(pickle.dumps(model)))
                assert model.set_params(early_stopping=False).partial_fit(X, y).t_ > 0
    assert n_returned == 0 if error is not KeyboardInterrupt or method == "partial_fit" else n_returned > 0
    assert memory(original) == values


# -- at each step -----------------------------------------------------------------------------------------------------


class Failing(SquaredError):
    """A loss that does something else when it has been asked so many times."""

    asked, at, outcome = 0, -1, None

    @staticmethod
    def value(y, raw, hyper):
        Failing.asked += 1
        if Failing.asked == Failing.at:
            if Failing.outcome is None:
                return np.full_like(raw, np.nan)  # what divergence looks like
            raise Failing.outcome("of the user's own")
        return SquaredError.value(y, raw, hyper)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("outcome", [RuntimeError, MemoryError, None])
def test_a_loss_that_fails_at_any_step(optimizer, outcome):
    for step in range(1, STEPS + 1):
        for model, method in calls(loss=Failing(), optimizer=optimizer, learning_rate=1e-3):
            calls_before = 1 if method == "fit" else 0  # for the objective of an untrained model
            if method == "partial_fit" and step > N_ROWS // SIZE:
                continue
            attributes = {"asked": 0, "at": step + calls_before, "outcome": outcome}
            error, match = (outcome, "of the user's own") if outcome else (DivergenceError, "diverged")
            with mock.patch.multiple(Failing, **attributes), unchanged(model, error, match):
                getattr(model, method)(X, Y)


class Ending(Schedule):
    """A schedule that fails from a step on."""

    def __init__(self, learning_rate=0.01, end=0):
        super().__init__(learning_rate)
        self.end = end

    def factor_at(self, step):
        if np.max(step) >= self.end:
            raise RuntimeError("of the user's own")
        return np.ones_like(step)


def test_a_schedule_that_fails_at_any_step():
    for model, method in calls():
        resumed = method == "partial_fit" or model.warm_start
        for step in range(N_ROWS // SIZE if method == "partial_fit" else STEPS):
            model.set_params(learning_rate=Ending(end=step + (getattr(model, "t_", 0) if resumed else 0)))
            with unchanged(model, RuntimeError, "of the user's own"):
                getattr(model, method)(X, Y)


class InPlace(Optimizer):
    """A rule that edits what it is given, and fails later."""

    slots = ("mean",)

    def __init__(self, edits):
        self.edits = edits

    def hyper(self):
        return (self.edits,)

    @staticmethod
    def rule(w, g, lr, t, slots, hyper):
        edited = {"w": w, "g": g, "slots": slots[0]}[hyper[0]]
        edited += 1.0
        raise AssertionError("it was allowed to")


@pytest.mark.parametrize("edits", ["w", "g", "slots"])
def test_a_rule_cannot_edit_what_it_is_given(edits):
    for model, method in calls(optimizer=InPlace(edits), learning_rate=0.1):
        with unchanged(model, ValueError, "read-only"):
            getattr(model, method)(X, Y)


class Picky(SGD):
    """Raises in a step, in compiled loops too."""

    def __init__(self, learning_rate=0.01, at=-1, momentum=0.5, nesterov=False):
        super().__init__(learning_rate, momentum, nesterov)
        self.at = at

    def hyper(self):
        return (float(self.at), float(self.momentum))

    @staticmethod
    def rule(w, g, lr, t, slots, hyper):
        if t == hyper[0]:
            raise RuntimeError("of the user's own")
        buffer = hyper[1] * slots[0] + g
        return w - lr * buffer, lr, (buffer,)


@pytest.mark.parametrize("hidden", [(), (2,)])
def test_a_rule_that_fails_at_any_step_of_compiled_loops(hidden):
    pytest.importorskip("numba")
    settings = SETTINGS | {"hidden_layer_sizes": hidden}
    with mock.patch.object(skgd.engines, "REPAYS_SECONDS", 0.0):
        for step in range(1, STEPS + 1):
            model = GDRegressor(optimizer=Picky(at=step), **settings)
            with unchanged(model, RuntimeError, "of the user's own"):
                model.fit(X, Y)
            model.set_params(optimizer=Picky(), warm_start=True).fit(X, Y)
            assert model.engine_ == "compiled"
            for method, n_steps in (("fit", STEPS), ("partial_fit", N_ROWS // SIZE)):
                if step <= n_steps:
                    model.set_params(optimizer=Picky(at=STEPS + step))
                    with unchanged(model, RuntimeError, "of the user's own"):
                        getattr(model, method)(X, Y)
            model.set_params(optimizer=Picky()).fit(X, Y)  # a rule that failed once is still compiled
            assert model.engine_ == "compiled"


@pytest.mark.parametrize("slab", range(1, 6))
def test_an_interrupt_of_compiled_loops_keeps_whole_steps(slab):
    """Python hears of Ctrl-C when a compiled loop returns, before its result is noted."""
    epochs = pytest.importorskip("skgd.engines.compiled.epochs")
    model = GDRegressor(optimizer=Picky(), average=True, **SETTINGS)
    n_called, original = 0, epochs.loop_for

    def loop(*kind):
        def interrupted(*arguments):
            nonlocal n_called
            n_called += 1
            taken = original(*kind)(*arguments)
            if n_called == slab:
                raise KeyboardInterrupt
            return taken

        return interrupted

    patched = mock.patch.multiple(epochs, loop_for=loop, _SLAB_ENTRIES=1)  # a slab is one step
    with (
        mock.patch.object(skgd.engines, "REPAYS_SECONDS", 0.0),
        patched,
        pytest.warns(UserWarning, match="interrupted"),
    ):
        model.fit(X, Y)
    assert model.t_ == slab - 1
    expected = clone(model).set_params(optimizer=Interrupted(at=slab))
    with pytest.warns(UserWarning, match="interrupted"):
        expected.fit(X, Y)
    assert (expected.t_, expected.engine_) == (model.t_, "vectorized")
    assert_allclose(model.coef_, expected.coef_, rtol=1e-10)
    for ours, theirs in zip(model._state.whole.iterate.slots, expected._state.whole.iterate.slots, strict=True):
        assert_allclose(ours, theirs, rtol=1e-10)
    assert model._state.whole.iterate.averaged == expected._state.whole.iterate.averaged


class Interrupted(Picky):
    """Ctrl-C in a step, in NumPy."""

    @staticmethod
    def rule(w, g, lr, t, slots, hyper):
        if t == hyper[0]:
            raise KeyboardInterrupt
        return Picky.rule(w, g, lr, t, slots, (-1.0, hyper[1]))


# -- streams ----------------------------------------------------------------------------------------------------------


def test_a_bad_batch_can_be_skipped():
    """The stream goes on as if the bad batches had never come."""
    stream, clean = GDRegressor(), GDRegressor()
    bad = {
        "NaN": (np.full((3, 2), np.nan), np.zeros(3)),
        "features": (np.zeros((3, 3)), np.zeros(3)),
        "inconsistent": (np.zeros((3, 2)), np.zeros(2)),
        "infinity": (np.zeros((3, 2)), np.full(3, np.inf)),
    }
    for start in range(0, N_ROWS, SIZE):
        rows = slice(start, start + SIZE)
        stream.partial_fit(X[rows], Y[rows])
        clean.partial_fit(X[rows], Y[rows])
        for words, batch in bad.items():
            with unchanged(stream, ValueError, words):
                stream.partial_fit(*batch)
    for name in ("coef_", "intercept_", "t_"):
        assert_array_equal(getattr(stream, name), getattr(clean, name))


def test_a_copy_learns_alone():
    """What a stream appends to in place, the history, is no part that copies share."""
    model = GDRegressor().partial_fit(X, Y)
    other, before = copy.copy(model), memory(model)
    other.partial_fit(X, Y)
    assert memory(model) == before
    assert len(other.history_["loss"]) == 2
