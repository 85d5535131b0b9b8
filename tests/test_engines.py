"""The compiled engine against the vectorized one, which defines the meaning: coefficients agree to 1e-10."""

import os
import subprocess
import sys
import types
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.base import clone

import skgd.engines.compiled.dense
import skgd.engines.compiled.epochs
import skgd.engines.compiled.networks
import skgd.engines.vectorized
import skgd.epochs
from skgd import GDClassifier, GDRegressor
from skgd.activations import Activation
from skgd.engines.compiled.interface import product
from skgd.engines.compiled.specialize import specialized
from skgd.losses import CLASSIFIER_LOSSES, REGRESSOR_LOSSES, Loss, SoftmaxLoss
from skgd.optimizers import ADOPT, OPTIMIZERS, SGD, AdaGrad, Adam, Adan, AdEMAMix, Optimizer
from skgd.schedules import SCHEDULES, Cosine, InverseScaling
from skgd.steps import DivergenceError

FORMATS = {"dense": np.asarray, "csr": sp.csr_array}
ENGINES = {"compiled": 0.0, "vectorized": np.inf}
N_ROWS = 66  # 7 and 64 leave a smaller last batch


def features(n_rows=N_ROWS, seed=0):
    """Rows of many zeros, some rows and columns of nothing else."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_rows, 9)) * rng.uniform(0.5, 2.0, 9) * (rng.random((n_rows, 9)) < 0.4)
    X[::11] = 0.0
    X[:, 4] = 0.0
    return X


def target(kind, X, seed=1):
    """Return an estimator class and a target of one of these kinds."""
    rng = np.random.default_rng(seed)
    signal = X @ rng.normal(size=(9, 3)) + 0.3 * rng.normal(size=(len(X), 3))
    return {
        "number": (GDRegressor, np.exp(0.3 * signal[:, 0])),  # positive, for the losses that want it
        "numbers": (GDRegressor, np.exp(0.3 * signal)),
        "binary": (GDClassifier, signal[:, 0] > 0.0),
        "classes": (GDClassifier, signal.argmax(axis=1)),
        "labels": (GDClassifier, (signal > 0.0).astype(int)),
    }[kind]


def fit_with(engine, estimator, *data, times=1, **more):
    """Return a copy of an estimator, trained with an engine whatever the problem's size."""
    model = clone(estimator)
    with mock.patch.object(skgd.engines, "REPAYS_SECONDS", ENGINES[engine]):
        for _ in range(times):
            model.fit(*data, **more)
    return model


def assert_agree(one, other, tolerance=1e-10):
    largest = max(np.abs(coef).max() for coef in other.coefs_)
    assert largest > 0.0  # something was learned
    for ours, theirs in zip((*one.coefs_, *one.intercepts_), (*other.coefs_, *other.intercepts_), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance * largest)
        assert ours.dtype == theirs.dtype
    assert (one.t_, one.n_iter_) == (other.t_, other.n_iter_)
    for name in one.history_.keys() - {"seconds"}:
        np.testing.assert_allclose(one.history_[name], other.history_[name], rtol=10.0 * tolerance, err_msg=name)
    for slot, slots in zip(one.optimizer_.slots, zip(*both_slots(one, other), strict=True), strict=True):
        atol = 10.0 * tolerance * np.abs(slots[1]).max(initial=1e-6)
        np.testing.assert_allclose(*slots, rtol=0.0, atol=atol, err_msg=slot)


def both_slots(one, other):
    """Return what the optimizers remember, from which training would go on."""
    return one._state.whole.iterate.slots, other._state.whole.iterate.slots


def assert_engines_agree(estimator, *data, tolerance=1e-10, **more):
    compiled, vectorized = (fit_with(engine, estimator, *data, **more) for engine in ENGINES)
    assert (compiled.engine_, vectorized.engine_) == ("compiled", "vectorized")
    assert_agree(compiled, vectorized, tolerance)
    return compiled


# -- the registries ---------------------------------------------------------------------------------------------------


LOSSES = [*CLASSIFIER_LOSSES, *REGRESSOR_LOSSES]
MANY = max(len(OPTIMIZERS), len(LOSSES))


def combinations():
    """Yield each optimizer and each loss with each format, and each kind of target; not their product."""
    for shift, form in enumerate(FORMATS):
        for k in range(MANY):
            optimizer, loss = list(OPTIMIZERS)[k % len(OPTIMIZERS)], LOSSES[(k + 6 * shift) % len(LOSSES)]
            one, many = ("binary", ("classes", "labels")[k % 2]) if loss in CLASSIFIER_LOSSES else ("number", "numbers")
            yield optimizer, loss, many if (k % 3 == 0) == (form == "dense") else one, form
    yield "adagrad", "log_loss", "classes", "csr"


PENALTIES = {"none": (0.0, 0.0), "l2": (0.01, 0.0), "elastic net": (0.01, 0.7)}
AVERAGES = [False, True, 5, "polynomial"]
RATES = ["auto", "cosine", 0.03, "inverse_scaling"]


def check_agreement(optimizer, loss, kind, form, batch_size, penalty):
    X = features()
    estimator, y = target(kind, X)
    alpha, l1_ratio = PENALTIES[penalty]
    shift = [1, 7, 64, None].index(batch_size) + list(PENALTIES).index(penalty)
    for k, average in enumerate(AVERAGES):
        model = estimator(
            loss,
            optimizer=optimizer,
            learning_rate=RATES[(k + shift) % len(RATES)],
            alpha=alpha,
            l1_ratio=l1_ratio if OPTIMIZERS[optimizer].proximal else 0.0,
            batch_size=batch_size,
            average=average,
            max_iter=10 if batch_size is None else 2,
            tol=None,
            random_state=0,
        )
        assert_engines_agree(model, FORMATS[form](X), y)


@pytest.mark.usefixtures("plain_python")
@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("batch_size", [1, 7, 64, None])
@pytest.mark.parametrize(("optimizer", "loss", "kind", "form"), list(combinations()))
def test_loops_agree(optimizer, loss, kind, form, batch_size, penalty):
    check_agreement(optimizer, loss, kind, form, batch_size, penalty)


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize(
    ("optimizer", "loss", "kind", "form", "batch_size"),
    # Each optimizer and each loss in one of the four loops. `BASES` go through all of them.
    [(*combination, (1, 7)[k // 2 % 2]) for k, combination in enumerate(combinations()) if k % MANY % 2 == k // MANY],
)
def test_compiled_rules_agree(optimizer, loss, kind, form, batch_size, penalty):
    check_agreement(optimizer, loss, kind, form, batch_size, penalty)


# -- rows and columns -------------------------------------------------------------------------------------------------

# One for each format, and for each way in which columns that a sparse row leaves alone are made up for.
BASES = [
    ("adagrad", "hinge", "binary", "dense"),
    ("adamw", "squared_error", "number", "dense"),
    ("sgd", "squared_error", "number", "csr"),
    ("adagrad", "log_loss", "classes", "csr"),
    ("ftrl", "modified_huber", "binary", "csr"),
]
over_bases = pytest.mark.parametrize(("optimizer", "loss", "kind", "form"), BASES)
over_sizes = pytest.mark.parametrize("batch_size", [1, 7])  # steps of one row have a loop of their own


def problem(optimizer, loss, kind, form, **parameters):
    """Return an estimator and its data."""
    X = features()
    estimator, y = target(kind, X)
    defaults = {"alpha": 0.01, "l1_ratio": 0.3, "batch_size": 7, "max_iter": 3, "tol": None, "random_state": 0}
    return estimator(loss, optimizer=optimizer, **{**defaults, **parameters}), FORMATS[form](X), y


@over_bases
@over_sizes
@pytest.mark.parametrize(
    "parameters",
    [
        {"precondition": False, "learning_rate": 0.03},
        {"precondition": False, "average": "polynomial"},
        {"max_grad_norm": 0.1},
        {"shuffle": False},
        {"tol": 1e-2, "max_iter": 1000},
        {"early_stopping": True, "max_iter": 20},
    ],
    ids=str,
)
def test_parameters(optimizer, loss, kind, form, parameters, batch_size):
    assert_engines_agree(*problem(optimizer, loss, kind, form, batch_size=batch_size, **parameters))


@pytest.mark.parametrize("base", BASES[1:3])
@over_sizes
@pytest.mark.parametrize("precondition", [False, True])
def test_without_intercept(base, precondition, batch_size):
    parameters = {"learning_rate": "inverse_scaling", "fit_intercept": False, "precondition": precondition}
    assert_engines_agree(*problem(*base, batch_size=batch_size, **parameters))


@over_bases
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_schedules(optimizer, loss, kind, form, schedule):
    assert_engines_agree(*problem(optimizer, loss, kind, form, learning_rate=schedule))


@over_bases
@over_sizes
def test_weights_validation_and_warm_start(optimizer, loss, kind, form, batch_size):
    model, X, y = problem(optimizer, loss, kind, form, batch_size=batch_size)
    weight = np.random.default_rng(2).integers(0, 4, len(y)).astype(float)
    assert_engines_agree(model, X, y, weight)
    assert_engines_agree(model, X, y, weight, X[::2], y[::2], weight[::2])
    assert_engines_agree(model.set_params(warm_start=True), X, y, times=2)
    if isinstance(model, GDClassifier):
        for class_weight in ("balanced", dict.fromkeys(np.unique(y), 0.5) | {y[0]: 3.0}):
            assert_engines_agree(clone(model).set_params(class_weight=class_weight), X, y, weight)


@over_bases
@pytest.mark.parametrize("average", [False, True])
@pytest.mark.parametrize("alpha", [1e-3, 10.0])
@pytest.mark.parametrize("l1_ratio", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("learning_rate", ["auto", "cosine", "reduce_on_plateau"])
def test_rare_columns(optimizer, loss, kind, form, learning_rate, l1_ratio, alpha, average):
    parameters = {"learning_rate": learning_rate, "alpha": alpha, "l1_ratio": l1_ratio, "average": average}
    model, _, y = problem(optimizer, loss, kind, form, batch_size=1, **parameters)
    X = np.eye(N_ROWS, 40) + np.pad(features(), ((0, 0), (5, 26)))  # most columns have one entry
    compiled, vectorized = (fit_with(engine, model, FORMATS[form](X), y) for engine in ENGINES)
    assert compiled.engine_ == "compiled"
    np.testing.assert_allclose(compiled.coef_, vectorized.coef_, rtol=1e-10, atol=1e-12)
    np.testing.assert_array_equal(compiled.coef_ == 0.0, vectorized.coef_ == 0.0)
    np.testing.assert_allclose(compiled.intercept_, vectorized.intercept_, rtol=1e-10, atol=1e-12)


LAYOUTS = {
    "columns first": np.asfortranarray,
    "every other column": lambda X: np.repeat(X, 2, axis=1)[:, ::2],
    "backwards": lambda X: X[::-1, ::-1],
    "big-endian": lambda X: X.astype(">f8"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_memory_layouts(layout):
    model, X, y = problem(*BASES[0])
    assert_engines_agree(model, LAYOUTS[layout](X), y)


@over_sizes
def test_int64_indices(batch_size):
    model, X, y = problem(*BASES[2], batch_size=batch_size)
    X.indices, X.indptr = X.indices.astype(np.int64), X.indptr.astype(np.int64)
    assert_engines_agree(model, X, y)


def test_unsorted_indices_duplicates_and_explicit_zeros():
    model, X, y = problem(*BASES[2], precondition=False, learning_rate=0.03)
    pieces = sp.coo_array(X)
    rows, columns = (np.concatenate([i, i[::-1], i % 9]) for i in (pieces.row, pieces.col))
    values = np.concatenate([0.25 * pieces.data, 0.75 * pieces.data[::-1], np.zeros(X.nnz)])
    by_row = np.argsort(rows, kind="stable")
    indptr = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=N_ROWS))])
    untidy = usual_indices(sp.csr_array((values[by_row], columns[by_row], indptr), X.shape))
    np.testing.assert_allclose(untidy.toarray(), X.toarray())
    assert not untidy.has_canonical_format
    assert_agree(assert_engines_agree(model, untidy, y), fit_with("vectorized", model, X, y))


def test_unsorted_rows_are_neither_sorted_nor_copied():
    model, X, y = problem(*BASES[2])
    backwards = np.concatenate([np.arange(*X.indptr[i : i + 2])[::-1] for i in range(N_ROWS)])
    unsorted = sp.csr_array((X.data[backwards], X.indices[backwards], X.indptr), X.shape)
    parts = unsorted.data, unsorted.indices, unsorted.indptr
    for part in parts:
        part.flags.writeable = False
    assert_agree(assert_engines_agree(model, unsorted, y), fit_with("vectorized", model, X, y))
    assert all(
        now is before for now, before in zip((unsorted.data, unsorted.indices, unsorted.indptr), parts, strict=True)
    )
    assert not unsorted.has_sorted_indices


# -- gaps -------------------------------------------------------------------------------------------------------------

GAPS = [1, 2, 3, 31, 32, 33, 34, 100, 1000, 2400]


@pytest.mark.parametrize("rate", ["constant", "inverse_scaling"])
@pytest.mark.parametrize("l1_ratio", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("base", BASES[2:])
def test_penalties_of_steps_without_an_entry(base, l1_ratio, rate):
    """Columns are touched every so many rows; meanwhile only their penalty changes them."""
    model, *_ = problem(*base, batch_size=1, max_iter=1, shuffle=False, average=False, learning_rate=rate)
    model.set_params(alpha=1e-3, l1_ratio=l1_ratio)
    rows = np.arange(2500)[:, np.newaxis]
    X = np.where(rows % np.array(GAPS) == 0, 1.0 + 0.1 * np.cos(rows + np.arange(len(GAPS))), 0.0)
    y = target(base[2], np.random.default_rng(0).normal(size=(2500, 9)))[1]
    assert_engines_agree(model, sp.csr_array(X), y)


# -- packing ----------------------------------------------------------------------------------------------------------


class Unpacked:
    """Leaves rows and state as they are, in place of `skgd.packing.Packing`."""

    @classmethod
    def by_frequency(cls, state, X):
        return cls()

    def rows(self, X):
        return X

    def packed(self, state):
        return state

    unpacked = packed


def usual_indices(X):
    """Return a CSR matrix with indices of 32 bits, for which loops are compiled already."""
    X.indices, X.indptr = X.indices.astype(np.int32), X.indptr.astype(np.int32)
    return X


def with_empty_columns():
    """Rows of columns in no order of frequency, of nothing and of stored zeros."""
    X = np.zeros((N_ROWS, 40))
    X[:, [3, 30, 11, 8, 25, 39, 0, 17, 22]] = features()
    X = sp.coo_array(X)
    rows, columns = (np.concatenate(pair) for pair in ((X.row, np.arange(N_ROWS)), (X.col, np.full(N_ROWS, 5))))
    by_row = np.argsort(rows, kind="stable")
    indptr = np.searchsorted(rows[by_row], np.arange(N_ROWS + 1))
    return usual_indices(sp.csr_array((np.append(X.data, np.zeros(N_ROWS))[by_row], columns[by_row], indptr), X.shape))


@over_sizes
@pytest.mark.parametrize("base", BASES[2:4])
@pytest.mark.parametrize("average", [False, "polynomial"])
def test_packed_columns_change_nothing(base, average, batch_size):
    model, _, y = problem(*base, average=average, batch_size=batch_size)
    if base[0] == "adagrad":
        model.set_params(optimizer=AdaGrad(initial_accumulator=0.25))
    X = with_empty_columns()
    validation = {"X_val": X[::2], "y_val": y[::2]}
    packed = fit_with("compiled", model, X, y, **validation)
    with mock.patch.object(skgd.epochs, "Packing", Unpacked):
        unpacked = fit_with("compiled", model, X, y, **validation)
    for _ in range(2):
        assert_agree(packed, unpacked, 1e-12)
        empty = abs(X).sum(axis=0) == 0.0
        assert empty.sum() == 32  # one of the nine columns is empty, too
        assert not np.atleast_2d(packed.coef_)[:, empty].any()
        assert packed.coef_.shape[-1] == packed._state.columns.filled.size == 40
        packed.partial_fit(X, y)
        unpacked.partial_fit(X, y)


def test_warm_start_after_packing():
    model, _, y = problem(*BASES[2], warm_start=True)
    compiled = assert_engines_agree(model, with_empty_columns(), y, times=2)
    assert len(compiled.history_["loss"]) == 6


@pytest.mark.parametrize("fit_intercept", [False, True])
@over_sizes
def test_rows_of_nothing(batch_size, fit_intercept):
    model, _, y = problem(*BASES[2], batch_size=batch_size, fit_intercept=fit_intercept)
    nothing, zeros = (
        sp.csr_array((N_ROWS, 3)),
        sp.csr_array((np.zeros(N_ROWS), (np.arange(N_ROWS), np.arange(N_ROWS) % 3))),
    )
    for X in map(usual_indices, (nothing, zeros)):
        compiled, vectorized = (fit_with(engine, model, X, y) for engine in ENGINES)
        np.testing.assert_array_equal(compiled.coef_, 0.0)
        np.testing.assert_allclose(compiled.intercept_, vectorized.intercept_, rtol=1e-10)


@pytest.mark.parametrize("base", BASES[1:3])
@over_sizes
def test_float32(base, batch_size):
    model, X, y = problem(*base, batch_size=batch_size)
    assert_engines_agree(model, X.astype(np.float32), y.astype(np.float32), tolerance=1e-4)


def assert_diverge_in_the_same_way(model, X, y):
    messages = []
    for engine in ENGINES:
        with pytest.raises(DivergenceError, match=r"epoch \d+ at step \d+") as caught:
            fit_with(engine, model, X, y)
        messages.append(str(caught.value))
    assert messages[0] == messages[1]


@pytest.mark.parametrize("base", BASES[1:3])
@over_sizes
def test_divergence_is_the_same(base, batch_size):
    rate = 1e6 if base[0] == "sgd" else 1e160
    model, X, y = problem(*base, learning_rate=rate, max_iter=100, batch_size=batch_size)
    if base[0] == "adamw":
        model.set_params(optimizer=OPTIMIZERS["adamw"](weight_decay=0.0))
    assert_diverge_in_the_same_way(model, X, y)


@pytest.mark.parametrize("hidden_layer_sizes", [(), (6, 4)])
def test_gradients_too_large_for_float32_are_the_same(hidden_layer_sizes):
    rate = {"precondition": False, "learning_rate": 1e-3, "hidden_layer_sizes": hidden_layer_sizes, "l1_ratio": 0.0}
    model, X, y = problem("sgd", "log_loss", "classes", "dense", **rate)
    assert_diverge_in_the_same_way(model, (1e21 * X).astype(np.float32), y)


# -- custom rules ----------------------------------------------------------------------------------------------------

STEEPNESS = 0.5
NAMES = {"share": 0.5}


def bounded(g):
    return np.tanh(g / STEEPNESS)


def hypot(x):
    return np.hypot(x, 0.0)


def power(x, n):
    return 1.0 if n == 0 else x * power(x, n - 1)


class Mine(Optimizer):
    slots = ("momentum",)

    def __init__(self, learning_rate=0.02):
        self.learning_rate = learning_rate

    @staticmethod
    def rule(w, g, lr, t, slots, hyper):
        momentum = 0.5 * slots[0] + bounded(g)
        return w - lr * momentum, 2.0 * lr, (momentum,)


class LogCosh(Loss):
    @staticmethod
    def value(y, raw, hyper):
        return np.logaddexp(raw - y, y - raw) - np.log(2.0)

    @staticmethod
    def gradient(y, raw, hyper):
        return np.tanh(raw - y)


@pytest.mark.parametrize(("form", "batch_size"), [("dense", 1), ("csr", 7)])
def test_user_rule_and_loss_compile(form, batch_size):
    model, X, y = problem(Mine(), LogCosh(), "number", form, learning_rate=None, batch_size=batch_size)
    assert_engines_agree(model, X, y)


rule_of_adam = Adam.rule


class Smoothed(SoftmaxLoss):
    """Softmax with a tenth of the labels spread over all classes: another slope than that of its base."""

    @staticmethod
    def value(y, raw, hyper):
        return -(0.9 * y + 0.1 / 3.0) * raw

    @staticmethod
    def gradient(y, raw, hyper):
        return np.exp(raw) - (0.9 * y + 0.1 / 3.0)


@pytest.mark.parametrize("batch_size", [1, 8])
def test_a_loss_derived_from_softmax(batch_size):
    X = features()
    _, y = target("classes", X)
    model = GDClassifier(Smoothed(), batch_size=batch_size, alpha=1e-3, max_iter=4, tol=None, random_state=0)
    smoothed = assert_engines_agree(model, X, y)
    assert np.abs(smoothed.coef_).max() < 0.95 * np.abs(model.set_params(loss=SoftmaxLoss()).fit(X, y).coef_).max()


class Apart(SoftmaxLoss):
    """The same of raw scores, which are no log-probabilities."""

    normalized = False


def test_a_loss_derived_from_softmax_that_is_not_normalized():
    X = features()
    _, y = target("classes", X)
    assert_engines_agree(GDClassifier(Apart(), max_iter=3, tol=None, batch_size=8, random_state=0), X, y)


class Halved(Adam):
    @staticmethod
    def rule(w, g, lr, t, slots, hyper):
        return rule_of_adam(w, g, 0.5 * lr, t, slots, hyper)


def test_a_users_rule_may_call_one_of_ours():
    model, X, y = problem(Halved(), "squared_error", "number", "dense", batch_size=7)
    assert_engines_agree(model, X, y)


def shrinking(outer, entry, attribute):
    """Return an optimizer whose rule reads a closure, an entry of a global array and an attribute of a module."""
    config = types.ModuleType("config")
    config.share = attribute
    namespace = {"__name__": __name__, "Mine": Mine, "shares": np.array([entry]), "config": config}
    exec(SHRINKING, namespace)
    return namespace["with_share"](outer)()


SHRINKING = """
def with_share(outer):
    class Shrinking(Mine):
        @staticmethod
        def rule(w, g, lr, t, slots, hyper):
            rate = lr * outer * shares[0] * config.share
            return w - rate * g, rate, slots
    return Shrinking
"""


def test_rules_that_differ_in_what_they_read_are_told_apart():
    for shares in 1.0 - 0.5 * np.eye(4, 3, -1):
        model, X, y = problem(shrinking(*shares.tolist()), "squared_error", "number", "dense", batch_size=1)
        model.set_params(learning_rate=0.02)
        compiled, vectorized = (fit_with(engine, model, X, y) for engine in ENGINES)
        assert_agree(compiled, vectorized)


class Forgets(AdaGrad):  # moves without a gradient, as its base does not
    slots = ("momentum", "square")

    def initial(self):
        return 0.0, 0.0

    @staticmethod
    def rule(w, g, lr, t, slots, hyper):
        momentum, square = 0.9 * slots[0] + g, 0.9 * slots[1] + g * g
        step = lr / (np.sqrt(square) + 0.1)
        return w - step * momentum, step, (momentum, square)


class Decays(AdaGrad):
    weight_decay = 0.1


class Remembers(SGD):  # without momentum, its base does not
    @staticmethod
    def rule(w, g, lr, t, slots, hyper):
        momentum = 0.9 * slots[0] + g
        return w - lr * momentum, 10.0 * lr, (momentum,)


class Pulls(Optimizer):
    """As SGD, in other words."""

    linear, lazy, implicit = True, "rest", True

    @staticmethod
    def rule(w, g, lr, t, slots, hyper):
        return w - 2.0 * lr * g, 2.0 * lr, ()


class Signs(Pulls):
    """No longer linear."""

    @staticmethod
    def rule(w, g, lr, t, slots, hyper):
        return w - lr * np.sign(g), 5.0 * lr, ()


class Heavy(SGD):
    def hyper(self):
        return 0.9, False


@pytest.mark.usefixtures("plain_python")
@pytest.mark.parametrize("form", ["dense", "csr"])
@pytest.mark.parametrize("learning_rate", ["auto", 0.02])
@pytest.mark.parametrize("optimizer", [Pulls, Signs, Heavy])
def test_linear_rules_of_ones_own(optimizer, learning_rate, form):
    parameters = {"learning_rate": learning_rate, "batch_size": 1, "alpha": 0.01, "l1_ratio": 0.5}
    model, X, y = problem(optimizer(), "squared_error", "number", form, **parameters)
    assert_engines_agree(model, X, y)


def test_rules_derived_from_one_without_memory():
    model, X, y = problem(Remembers(), "squared_error", "number", "dense", alpha=0.0, learning_rate=0.02, batch_size=1)
    expected = clone(model).set_params(optimizer=SGD(momentum=0.9))
    assert_agree(assert_engines_agree(model, X, y), fit_with("vectorized", expected, X, y))


@pytest.mark.parametrize("optimizer", [Forgets, Decays])
def test_rules_derived_from_a_lazy_one(optimizer):
    model, X, y = problem(optimizer(), "squared_error", "number", "csr", learning_rate=0.02, batch_size=1)
    assert_engines_agree(model, X, y)


@pytest.mark.usefixtures("plain_python")
@over_sizes
def test_the_automatic_rate_of_many_classes_is_too_long_for_the_intercept(batch_size):
    """Steps are then no multiples of their row."""
    X = usual_indices(sp.random_array((N_ROWS, 12), density=0.1, rng=np.random.default_rng(0), format="csr"))
    model = GDClassifier(optimizer="sgd", batch_size=batch_size, max_iter=3, tol=None, random_state=0)
    compiled = assert_engines_agree(model, X, np.arange(N_ROWS) % 9)
    assert compiled.history_["learning_rate"][0] > 1.0 / compiled.loss_.curvature


@pytest.mark.usefixtures("plain_python")
@over_sizes
def test_implicit_steps_with_weight_decay(batch_size):
    model, X, y = problem(Decays(), "squared_error", "number", "dense", learning_rate="auto", batch_size=batch_size)
    assert_engines_agree(model, X, y)


@pytest.mark.usefixtures("plain_python")
@pytest.mark.parametrize("batch_size", [50, None])
def test_products_in_pieces(batch_size):
    """Of batches that are no multiple of what BLAS multiplies at once."""
    model, X, y = problem("adagrad", "log_loss", "classes", "dense", learning_rate="auto", batch_size=batch_size)
    with mock.patch.object(skgd.engines.compiled.dense, "SMALL_PRODUCT", 20 * 9 * 3):
        assert_engines_agree(model, X, y)


@pytest.mark.parametrize("layers", [(), (5,)])
def test_batches_that_are_standardized_together_are_what_they_are_on_their_own(monkeypatch, layers):
    X = features()
    estimator, y = target("classes", X)
    model = estimator(optimizer="adam", hidden_layer_sizes=layers, batch_size=7, max_iter=3, tol=None, random_state=0)
    models = []
    for entries in (0, 3 * 7 * X.shape[1], 2**20):  # a batch, three of the ten of which the last is smaller, and all
        monkeypatch.setattr(skgd.engines.vectorized, "_AT_ONCE", entries)
        models.append(fit_with("vectorized", model, X, y, sample_weight=1.0 + np.arange(len(y))))
    for other in models[1:]:
        assert all(map(np.array_equal, other.coefs_, models[0].coefs_))
        assert other.history_["objective"] == models[0].history_["objective"]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("transposed", [False, True])
def test_products_are_those_of_numpy(transposed, dtype):
    """Of matrices, rows and columns, for which there are different functions of BLAS."""
    rng = np.random.default_rng(0)
    multiply = specialized(product_with_transposed if transposed else product_of, {})
    for n, m, k in [(5, 3, 4), (1, 3, 4), (5, 1, 4), (5, 3, 1), (1, 1, 4), (1, 1, 1)]:
        left, right = rng.normal(size=(n, m)).astype(dtype), rng.normal(size=(n, k) if transposed else (m, k))
        out = np.empty((m if transposed else n, k), dtype)
        multiply(left, right.astype(dtype), out)
        expected = (left.T if transposed else left) @ right
        np.testing.assert_allclose(out, expected, rtol=1e-5 if dtype is np.float32 else 1e-12, atol=1e-6)


def product_of(left, right, out):
    product(left, right, out)


def product_with_transposed(left, right, out):
    product(left.T, right, out)


for function in (product_of, product_with_transposed):
    function.__module__ = "skgd.of_this_test"  # where names stand for what compiled code has for them


class LooksUp(Mine):
    @staticmethod
    def rule(w, g, lr, t, slots, hyper):
        return w - lr * NAMES["share"] * g, lr * NAMES["share"], slots


class Formats(Mine):
    @staticmethod
    def rule(w, g, lr, t, slots, hyper):
        rate = float(f"{lr:.3g}")
        return w - rate * g, rate, slots


class CallsNamesake(Mine):
    @staticmethod
    def rule(w, g, lr, t, slots, hyper):
        return w - lr * hypot(0.5) * g, lr * hypot(0.5), slots


class Recurses(Mine):
    @staticmethod
    def rule(w, g, lr, t, slots, hyper):
        return w - lr * power(0.5, 2) * g, lr * power(0.5, 2), slots


class Unpacks(Mine):
    @staticmethod
    def rule(w, g, lr, t, slots, hyper):
        return [w - lr * g, lr, [*slots]]


class DictLoss(LogCosh):
    @staticmethod
    def gradient(y, raw, hyper):
        return NAMES["share"] * np.tanh(raw - y)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(
    ("optimizer", "loss"),
    [(rule(), "squared_error") for rule in (LooksUp, Formats, Unpacks)] + [("adagrad", DictLoss())],
    ids=str,
)
def test_what_cannot_be_compiled_falls_back(optimizer, loss, form):
    model, X, y = problem(optimizer, loss, "number", form, learning_rate=0.02)
    tried, vectorized, again = (fit_with(engine, model, X, y) for engine in ("compiled", "vectorized", "compiled"))
    assert tried.engine_ == again.engine_ == "vectorized"
    for name in ("coef_", "intercept_"):
        np.testing.assert_array_equal(getattr(tried, name), getattr(vectorized, name))
        np.testing.assert_array_equal(getattr(again, name), getattr(vectorized, name))


@pytest.mark.parametrize("optimizer", [CallsNamesake, Recurses])
def test_helpers_that_name_themselves(optimizer):
    model, X, y = problem(optimizer(), "squared_error", "number", "dense", learning_rate=0.02, batch_size=1)
    assert_agree(fit_with("compiled", model, X, y), fit_with("vectorized", model, X, y))


def test_falls_back_where_numba_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "skgd.engines.compiled", None)
    monkeypatch.delattr(skgd.engines, "compiled", raising=False)
    monkeypatch.setattr(skgd.engines, "_broken", False)
    model, X, y = problem(*BASES[0])
    tried, vectorized = (fit_with(engine, model, X, y) for engine in ENGINES)
    assert tried.engine_ == "vectorized"
    np.testing.assert_array_equal(tried.coef_, vectorized.coef_)


# -- networks ---------------------------------------------------------------------------------------------------------

NETWORKS = [
    ("sgd", "log_loss", "classes", "relu", (6, 4)),
    ("adam", "squared_error", "number", "tanh", (5,)),
    ("adam", "log_loss", "labels", "elu", (4, 3, 2)),
    ("rmsprop", "poisson", "numbers", "silu", (6,)),
    ("adamw", "hinge", "binary", "logistic", (5, 4)),
    ("ftrl", "huber", "number", "leaky_relu", (6, 4)),
    ("adagrad", "log_loss", "binary", "identity", (3,)),
]
over_networks = pytest.mark.parametrize(("optimizer", "loss", "kind", "activation", "layers"), NETWORKS)


def network(optimizer, loss, kind, activation, layers, form="dense", **parameters):
    """Return a network and its data."""
    hidden = {"hidden_layer_sizes": layers, "activation": activation}
    return problem(optimizer, loss, kind, form, **{"l1_ratio": 0.0, **hidden, **parameters})


@over_networks
@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("batch_size", [1, 7, 64, None])
def test_networks_agree(optimizer, loss, kind, activation, layers, batch_size, penalty):
    check_networks(optimizer, loss, kind, activation, layers, "dense", batch_size, penalty)


def check_networks(optimizer, loss, kind, activation, layers, form, batch_size, penalty, rates=RATES):
    alpha, l1_ratio = PENALTIES[penalty]
    shift = [1, 7, 64, None].index(batch_size) + list(PENALTIES).index(penalty)
    # A small penalty: hidden layers whose coefficients are all zero have no gradient, and stay at zero.
    parameters = {"alpha": 0.1 * alpha, "l1_ratio": l1_ratio, "batch_size": batch_size, "max_iter": 2}
    for k, average in enumerate(AVERAGES):
        for clip, precondition in ((None, True), (0.1, True), (0.1, False)):
            rate = rates[(k + shift) % len(rates)] if precondition else 0.01
            more = {"average": average, "max_grad_norm": clip, "precondition": precondition, "learning_rate": rate}
            assert_engines_agree(*network(optimizer, loss, kind, activation, layers, form, **parameters, **more))


# The ways in which a network's rules leave alone the columns that sparse rows do not have, or do not.
SPARSE_NETWORKS = [
    *NETWORKS[:2],
    ("rmsprop", "poisson", "numbers", "silu", (1,)),
    NETWORKS[5],
    (SGD(momentum=0.9), "squared_error", "number", "gelu", (5, 2)),
]


@pytest.mark.usefixtures("plain_python")
@pytest.mark.parametrize("optimizer", [*OPTIMIZERS, SGD(momentum=0.9, nesterov=True), Adam(amsgrad=True)], ids=str)
@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("batch_size", [1, 7, None])
def test_networks_of_sparse_rows_agree_for_each_optimizer(optimizer, batch_size, penalty):
    _, loss, kind, activation, layers = NETWORKS[len(str(optimizer)) % len(NETWORKS)]
    if penalty == "elastic net" and not OPTIMIZERS.get(optimizer, Adam).proximal:
        return
    # Not "auto": AdaGrad would follow gradients that cancel but for rounding.
    base = optimizer, loss, kind, activation, layers
    check_networks(*base, "csr", batch_size, penalty, rates=[0.03, 0.01, Cosine(0.02), InverseScaling(0.03)])


@pytest.mark.parametrize(("optimizer", "loss", "kind", "activation", "layers"), SPARSE_NETWORKS)
@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("batch_size", [7, 64])
def test_networks_of_sparse_rows_agree(optimizer, loss, kind, activation, layers, batch_size, penalty):
    check_networks(optimizer, loss, kind, activation, layers, "csr", batch_size, penalty)


@pytest.mark.parametrize("optimizer", ["adam", "adagrad", SGD(momentum=0.9)], ids=str)
@pytest.mark.parametrize("alpha", [0.0, 1e-3])
@pytest.mark.parametrize("rate", ["constant", "inverse_scaling"])
@pytest.mark.parametrize("size", [1.0, 1e-4, 30.0])  # of gradients: beside epsilon, beside one
def test_networks_make_up_for_steps_without_an_entry(optimizer, alpha, rate, size):
    schedule = {"constant": 1e-4, "inverse_scaling": "inverse_scaling"}[rate]
    model, *_ = network(optimizer, "log_loss", "binary", "identity", (3,), batch_size=1, max_iter=1, shuffle=False)
    model.set_params(alpha=alpha, learning_rate=schedule, precondition=False)
    rows = np.arange(2500)[:, np.newaxis]
    X = np.where(rows % np.array(GAPS) == 0, 1.0 + 0.1 * np.cos(rows + np.arange(len(GAPS))), 0.0)
    y = target("binary", np.random.default_rng(0).normal(size=(2500, 9)))[1]
    if optimizer == "adam":
        X = size * X
    assert_engines_agree(model, sp.csr_array(X), y)


@pytest.mark.usefixtures("plain_python")
def test_networks_of_sparse_rows_in_slabs():
    """After each, an interrupt is heard, and what is missed is made up for."""
    for base in SPARSE_NETWORKS:
        with mock.patch.object(skgd.engines.compiled.epochs, "_SLAB_PRODUCTS", 7 * 100):
            assert_engines_agree(*network(*base, form="csr", learning_rate=0.01, average="polynomial"))


@pytest.mark.parametrize("base", SPARSE_NETWORKS[:2])
@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("precondition", [False, True])
def test_networks_without_intercepts(base, form, precondition):
    parameters = {"learning_rate": 0.02, "fit_intercept": False, "precondition": precondition}
    compiled = assert_engines_agree(*network(*base, form=form, **parameters))
    if not precondition or base[2] == "classes":
        assert not any(intercept.any() for intercept in compiled.intercepts_)


def test_networks_with_weight_decay():
    base = (OPTIMIZERS["adamw"](weight_decay=0.5), *NETWORKS[4][1:])
    decayed = assert_engines_agree(*network(*base, learning_rate=0.02))
    plain = assert_engines_agree(*network(*NETWORKS[4], learning_rate=0.02))
    assert np.abs(decayed.coefs_[1]).sum() < np.abs(plain.coefs_[1]).sum()


@over_sizes
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("optimizer", [ADOPT(weight_decay=0.1), Adan(), AdEMAMix(warmup_steps=9)], ids=str)
def test_networks_with_rules_that_count_their_steps(optimizer, dtype, batch_size):
    model, X, y = network(optimizer, *NETWORKS[1][1:], learning_rate=0.02, batch_size=batch_size)
    assert_engines_agree(model, X.astype(dtype), y, tolerance=1e-10 if dtype is np.float64 else 2e-4)


@over_sizes
@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("base", NETWORKS[:2])
def test_networks_with_weights_validation_and_warm_start(base, form, batch_size):
    model, X, y = network(*base, form=form, learning_rate=0.02, batch_size=batch_size)
    weight = np.random.default_rng(2).integers(0, 4, len(y)).astype(float)
    assert_engines_agree(model, X, y, weight)
    assert_engines_agree(model, X, y, weight, X[::2], y[::2], weight[::2])
    assert_engines_agree(clone(model).set_params(warm_start=True), X, y, times=2)
    assert_engines_agree(clone(model).set_params(tol=1e-2, max_iter=1000, n_iter_no_change=2), X, y)
    if isinstance(model, GDClassifier):
        assert_engines_agree(clone(model).set_params(class_weight="balanced"), X, y, weight)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("base", NETWORKS[:2])
def test_networks_in_float32(base, form):
    model, X, y = network(*base, form=form, learning_rate=0.01)
    compiled = assert_engines_agree(model, X.astype(np.float32), y.astype(np.float32), tolerance=2e-4)
    assert {part.dtype for part in (*compiled.coefs_, *compiled.intercepts_)} == {np.dtype(np.float32)}


@pytest.mark.usefixtures("plain_python")  # what gathers the rows is compiled for each layout in `test_memory_layouts`
@pytest.mark.parametrize("layout", LAYOUTS)
def test_networks_from_other_memory_layouts(layout):
    model, X, y = network(*NETWORKS[0], learning_rate=0.02)
    assert_engines_agree(model, LAYOUTS[layout](X), y)


@pytest.mark.parametrize("form", FORMATS)
def test_networks_on_batches_larger_than_a_block(form):
    n_rows = skgd.engines.compiled.dense.PRODUCT_ENTRIES // 64 + 5
    X = features(n_rows)
    model = network(*NETWORKS[1][:-1], (64,), batch_size=None, learning_rate=0.02)[0]
    assert_engines_agree(model, FORMATS[form](X), target("number", X)[1])


def test_networks_diverge_in_the_same_way():
    for form in FORMATS:
        assert_diverge_in_the_same_way(*network(*NETWORKS[0], form=form, learning_rate=1e200, max_iter=100))


class Sine(Activation):
    """An activation of one's own, with a hyperparameter."""

    def __init__(self, frequency=1.0):
        self.frequency = frequency

    def hyper(self):
        return (float(self.frequency),)

    @staticmethod
    def value(z, hyper):
        return np.sin(hyper[0] * z)

    @staticmethod
    def derivative(z, a, hyper):
        return hyper[0] * np.cos(hyper[0] * z)


class SineByName(Sine):
    @staticmethod
    def value(z, hyper):
        return np.sin(2.0 * NAMES["share"] * hyper[0] * z)


def test_activation_of_ones_own_compiles():
    optimizer, loss, kind, _, layers = NETWORKS[1]
    models = []
    for frequency in (1.0, 2.0):
        model, X, y = network(optimizer, loss, kind, Sine(frequency), layers, learning_rate=0.02)
        models.append(assert_engines_agree(model, X, y))
    assert not np.allclose(models[0].coefs_[0], models[1].coefs_[0])


def test_gelu_compiles():
    """Its error function is another one in compiled loops than in NumPy."""
    optimizer, loss, kind, _, layers = NETWORKS[1]
    assert_engines_agree(*network(optimizer, loss, kind, "gelu", layers, learning_rate=0.02))


def test_activations_that_cannot_be_compiled_fall_back():
    optimizer, loss, kind, _, layers = NETWORKS[1]
    model, X, y = network(optimizer, loss, kind, SineByName(), layers, learning_rate=0.02)
    tried, vectorized, again = (fit_with(engine, model, X, y) for engine in ("compiled", "vectorized", "compiled"))
    assert tried.engine_ == again.engine_ == vectorized.engine_ == "vectorized"
    for other in (tried, again):
        for ours, theirs in zip(other.coefs_, vectorized.coefs_, strict=True):
            np.testing.assert_array_equal(ours, theirs)
    linear = clone(model).set_params(hidden_layer_sizes=())  # for which an activation means nothing
    assert fit_with("compiled", linear, X, y).engine_ == "compiled"


def test_networks_of_sparse_and_of_dense_rows_are_the_same():
    for base in SPARSE_NETWORKS[:2]:
        dense, csr, csc = (
            fit_with("compiled", model, form(X), y)
            for form in (np.asarray, sp.csr_array, sp.csc_array)
            for model, X, y in [network(*base, learning_rate=0.02, precondition=False)]
        )
        assert dense.engine_ == csr.engine_ == csc.engine_ == "compiled"
        assert_agree(csr, dense)
        assert_agree(csc, dense)


def test_a_compiled_network_goes_on_with_sparse_rows():
    model, X, y = network(*NETWORKS[0], learning_rate=0.02)
    expected = fit_with("vectorized", model, X, y).partial_fit(sp.csr_array(X), y)
    assert_agree(fit_with("compiled", model, X, y).partial_fit(sp.csr_array(X), y), expected)


# -- processes --------------------------------------------------------------------------------------------------------


def run(*arguments, **environment):
    """Run Python in a process of its own; return what it printed."""
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        env={**os.environ, **{name: str(value) for name, value in environment.items()}},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_small_problems_do_not_import_numba():
    run(
        "-c",
        """
import sys
from sklearn.datasets import load_iris
from skgd import GDClassifier
assert "numba" not in sys.modules
model = GDClassifier(random_state=0).fit(*load_iris(return_X_y=True))
assert model.engine_ == "vectorized" and "numba" not in sys.modules
""",
    )


RULE = """
from skgd.optimizers import Optimizer
SHARE = {share}
def shortened(lr):
    return SHARE * lr
class Mine(Optimizer):
    @staticmethod
    def rule(w, g, lr, t, slots, hyper):
        return w - shortened(lr) * g, shortened(lr), slots
"""

FIT = """
import numpy as np
import skgd.engines
from skgd import GDRegressor
from mine import Mine
skgd.engines.REPAYS_SECONDS = 0.0
model = GDRegressor(
    optimizer=Mine(), learning_rate=1.0, precondition=False, batch_size=1, average=False, max_iter=1, tol=None
).fit(np.array([[1.0]]), [1.0])
print(model.engine_, model.coef_[0])
"""


def test_disk_cache_is_used_and_never_stale(tmp_path):
    def fit(share):
        (tmp_path / "mine.py").write_text(RULE.format(share=share))
        environment = {"PYTHONPATH": tmp_path, "NUMBA_CACHE_DIR": tmp_path / "cache", "PYTHONDONTWRITEBYTECODE": "1"}
        engine, coef = run("-c", FIT, **environment).split()
        return engine, float(coef), set((tmp_path / "cache").rglob("*.nbc"))

    first, second, edited = fit(0.25), fit(0.25), fit(0.75)
    assert first == second == ("compiled", 0.25, first[2])  # one step from zero along the gradient, -1
    assert edited[:2] == ("compiled", 0.75)
    assert first[2] < edited[2]  # one more


def test_stays_within_bounds(tmp_path):
    bases = " or ".join("-".join(base) for base in (BASES[0], BASES[4]))
    chosen = (
        f"test_weights_validation_and_warm_start and ({bases}) or test_networks_with_weights or larger_than_a_block"
    )
    printed = run(
        *("-m", "pytest", Path(__file__), "-q", "-p", "no:cacheprovider"),
        *("-W", "ignore::numba.core.errors.NumbaWarning"),  # such code is not cached
        *("-k", chosen),
        NUMBA_BOUNDSCHECK=1,
        NUMBA_OPT=0,
        NUMBA_CACHE_DIR=tmp_path,
    )
    assert "14 passed" in printed
