"""Promises that hold for every loss and every optimizer: weights are copies, streams may be cut, units don't matter."""

import pickle

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone

from skgd import GDClassifier, GDRegressor
from skgd.activations import ACTIVATIONS, LeakyReLU
from skgd.losses import CLASSIFIER_LOSSES, REGRESSOR_LOSSES
from skgd.optimizers import OPTIMIZERS, SGD

LOSSES = [(GDClassifier, name) for name in CLASSIFIER_LOSSES] + [(GDRegressor, name) for name in REGRESSOR_LOSSES]
PAIRS = [(kind, loss, optimizer) for kind, loss in LOSSES for optimizer in OPTIMIZERS]
FORMATS = [np.asarray, sp.csr_array]


def problem(kind, n_rows=48, n_outputs=1, seed=0):
    """Rows, some entries zero, and positive targets or class labels with signal and noise."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_rows, 4)) * (rng.random((n_rows, 4)) < 0.7)
    signal = X @ rng.normal(size=(4, n_outputs)) + 0.5 * rng.normal(size=(n_rows, n_outputs))
    if kind is GDClassifier:
        return X, (np.digitize(signal[:, 0], [-0.5, 0.5]) if n_outputs > 1 else (signal[:, 0] > 0).astype(int))
    y = np.exp(0.5 * signal) + 0.1
    return X, y if n_outputs > 1 else y[:, 0]


def make(kind, loss, optimizer, **parameters):
    rate = None if optimizer == "adadelta" else 0.01
    return kind(loss=loss, optimizer=optimizer, learning_rate=rate, random_state=0, **parameters)


def assert_same_bits(one, other):
    assert one.t_ == other.t_
    assert_parameters(one, other, np.testing.assert_array_equal)


def assert_parameters(one, other, assertion, **options):
    """Compare the coefficients and intercepts of all layers."""
    for ours, theirs in zip((*one.coefs_, *one.intercepts_), (*other.coefs_, *other.intercepts_), strict=True):
        assertion(ours, theirs, **options)


# -- invariant 2: weights ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "loss", "optimizer"), PAIRS)
def test_weight_is_copies_with_full_batches(kind, loss, optimizer):
    X, y = problem(kind)
    weight = np.random.default_rng(1).integers(0, 4, len(y))
    model = make(kind, loss, optimizer, batch_size=None, max_iter=20, tol=None, alpha=1e-3)
    weighted = clone(model).fit(X, y, sample_weight=weight)
    copied = clone(model).fit(X.repeat(weight, axis=0), y.repeat(weight))
    np.testing.assert_allclose(weighted.coef_, copied.coef_, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(weighted.intercept_, copied.intercept_, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("as_format", FORMATS)
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize(("kind", "loss"), LOSSES)
def test_weight_zero_is_no_row(kind, loss, method, as_format):
    X, y = problem(kind, n_rows=200)
    weight = np.random.default_rng(1).integers(0, 3, len(y)).astype(float)
    keep = weight > 0
    first = {"classes": [0, 1]} if kind is GDClassifier and method == "partial_fit" else {}
    model = kind(loss=loss, batch_size=16, max_iter=5, tol=None, random_state=0)
    zeros = getattr(clone(model), method)(as_format(X), y, sample_weight=weight, **first)
    without = getattr(clone(model), method)(as_format(X[keep]), y[keep], sample_weight=weight[keep], **first)
    assert_same_bits(zeros, without)


@pytest.mark.parametrize("kind", [GDClassifier, GDRegressor])
def test_weight_is_copies_in_the_limit_with_mini_batches(kind):
    X, y = problem(kind, n_rows=300)
    weight = np.random.default_rng(1).integers(1, 4, len(y))
    model = kind(batch_size=16, max_iter=300, tol=None, alpha=1e-2, random_state=0)
    weighted = clone(model).fit(X, y, sample_weight=weight)
    copied = clone(model).fit(X.repeat(weight, axis=0), y.repeat(weight))
    np.testing.assert_allclose(weighted.coef_, copied.coef_, atol=0.02 * np.abs(copied.coef_).max())


@pytest.mark.parametrize("weight", [1e-6, 7.0, 1e6])
def test_only_relative_weights_count(weight):
    X, y = problem(GDRegressor)
    model = GDRegressor(batch_size=8, max_iter=10, tol=None, random_state=0)
    plain, weighted = clone(model).fit(X, y), clone(model).fit(X, y, sample_weight=np.full(len(y), weight))
    np.testing.assert_allclose(plain.coef_, weighted.coef_, rtol=1e-9)


@pytest.mark.parametrize("size", [1e300, 5e307, 1e-300, 1e-310])
@pytest.mark.parametrize(
    ("kind", "more"),
    [
        *((kind, more) for kind in (GDClassifier, GDRegressor) for more in ({}, {"early_stopping": True})),
        *((GDClassifier, {"class_weight": weights}) for weights in ("balanced", {0: 1.0, 1: 2.0, 2: 1.0})),
    ],
)
def test_only_relative_weights_count_however_large_and_small_they_are(kind, more, size):
    """Also where their sum, or their product with class weights, is beyond all numbers."""
    X, y = problem(kind, n_rows=90, n_outputs=3)
    weight = np.random.default_rng(2).uniform(0.5, 2.0, 90)

    def fitted(size):
        model = kind(max_iter=10, tol=None, random_state=0, **more)
        if isinstance(more.get("class_weight"), dict):
            model.set_params(class_weight={label: size * each for label, each in model.class_weight.items()})
        validation = {"X_val": X[:30], "y_val": y[:30], "sample_weight_val": size * weight[:30]}
        return model.fit(X, y, size * weight, **({} if "early_stopping" in more else validation))

    one, other = fitted(1.0), fitted(size)
    assert_parameters(one, other, np.testing.assert_allclose, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(one.history_["validation_loss"], other.history_["validation_loss"], rtol=1e-9)


# -- invariant 5: streams ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("as_format", FORMATS)
@pytest.mark.parametrize("learning_rate", ["auto", 0.01, "cosine"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("kind", [GDClassifier, GDRegressor])
def test_stream_may_be_cut_at_batch_boundaries(kind, optimizer, learning_rate, as_format):
    X, y = problem(kind, n_rows=90, n_outputs=3)
    X, weight = as_format(X), np.random.default_rng(2).random(90) + 0.5
    model = kind(optimizer=optimizer, learning_rate=learning_rate, batch_size=7, alpha=1e-3)
    first = {"classes": [0, 1, 2]} if kind is GDClassifier else {}
    whole = clone(model).partial_fit(X, y, sample_weight=weight, **first)
    cut = clone(model)
    for start, stop in [(0, 7), (7, 28), (28, 35), (35, 90)]:
        cut.partial_fit(X[start:stop], y[start:stop], sample_weight=weight[start:stop], **first)
        cut = pickle.loads(pickle.dumps(cut))
    assert_same_bits(whole, cut)
    np.testing.assert_array_equal(whole.predict(X), cut.predict(X))


@pytest.mark.parametrize(("kind", "loss"), LOSSES)
def test_stream_may_be_cut_for_every_loss(kind, loss):
    X, y = problem(kind, n_rows=40)
    model = kind(loss=loss, batch_size=1)
    first = {"classes": [0, 1]} if kind is GDClassifier else {}
    whole = clone(model).partial_fit(X, y, **first)
    for row in range(40):
        model.partial_fit(X[[row]], y[[row]], **first)
    assert_same_bits(whole, model)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_stream_goes_on_after_fit(optimizer):
    """After ``fit``, more rows change the model a little, not from scratch."""
    X, y = problem(GDRegressor, n_rows=400)
    model = GDRegressor(optimizer=optimizer, random_state=0).fit(X[:300], y[:300])
    before, steps = model.score(X, y), model.t_
    model.partial_fit(X[300:], y[300:])
    assert model.t_ == steps + 13  # 100 rows, 8 at a time
    assert model.score(X, y) > before - 0.1


# -- invariant 6: random_state ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [GDClassifier, GDRegressor])
def test_random_state_determines_the_bits(kind):
    X, y = problem(kind, n_rows=300)
    model = kind(random_state=3, max_iter=5, tol=None, early_stopping=True)
    one, other, another = clone(model).fit(X, y), clone(model).fit(X, y), clone(model).set_params(random_state=4)
    assert_same_bits(one, other)
    assert not np.array_equal(one.coef_, another.fit(X, y).coef_)


# -- invariant 7: units -----------------------------------------------------------------------------------------------

EXPONENTS = st.lists(st.floats(-6.0, 6.0), min_size=4, max_size=4)
SCALE_FREE = ["squared_error", "absolute_error", "quantile", "poisson", "gamma", "tweedie"]


@pytest.mark.parametrize("as_format", FORMATS)
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@settings(max_examples=15, deadline=None)
@given(exponents=EXPONENTS)
def test_units_of_columns_do_not_matter_to_the_classifier(as_format, method, exponents):
    X, y = problem(GDClassifier, n_rows=120, n_outputs=3)
    scale = 10.0 ** np.array(exponents)
    model = GDClassifier(alpha=0, max_iter=10, tol=None, random_state=0)
    first = {"classes": [0, 1, 2]} if method == "partial_fit" else {}
    plain = getattr(clone(model), method)(as_format(X), y, **first)
    scaled = getattr(clone(model), method)(as_format(X * scale), y, **first)
    np.testing.assert_allclose(
        plain.decision_function(X),
        scaled.decision_function(X * scale),
        rtol=1e-6,
        atol=1e-6 * np.abs(plain.coef_).max(),
    )


@pytest.mark.parametrize("as_format", FORMATS)
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize("loss", SCALE_FREE)
@settings(max_examples=10, deadline=None)
@given(exponents=EXPONENTS, target=st.floats(-6.0, 6.0))
def test_units_do_not_matter_to_the_regressor(as_format, method, loss, exponents, target):
    X, y = problem(GDRegressor, n_rows=120)
    scale, unit = 10.0 ** np.array(exponents), 10.0**target
    model = GDRegressor(loss=loss, alpha=0, max_iter=10, tol=None, random_state=0)
    plain = getattr(clone(model), method)(as_format(X), y)
    scaled = getattr(clone(model), method)(as_format(X * scale), y * unit)
    np.testing.assert_allclose(scaled.predict(X * scale) / unit, plain.predict(X), rtol=1e-6, atol=1e-6 * y.std())


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_units_do_not_matter_to_any_optimizer(optimizer):
    X, y = problem(GDRegressor, n_rows=120)
    scale = np.array([1e-6, 1e6, 1.0, 1e3])
    model = GDRegressor(optimizer=optimizer, alpha=0, max_iter=10, tol=None, random_state=0)
    plain, scaled = clone(model).fit(X, y), clone(model).fit(X * scale, y * 1e-6)
    np.testing.assert_allclose(scaled.predict(X * scale) * 1e6, plain.predict(X), rtol=1e-6, atol=1e-6 * y.std())


# -- invariant 10: what belongs to the user ---------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", OPTIMIZERS.values())
def test_strategies_hold_no_state(optimizer):
    X, y = problem(GDRegressor)
    strategy = optimizer()
    before = pickle.dumps(strategy)
    model = GDRegressor(optimizer=strategy, max_iter=3, tol=None).fit(X, y).partial_fit(X, y)
    assert pickle.dumps(strategy) == before
    assert model.optimizer is strategy
    assert model.optimizer_ is not strategy


# -- class weights ----------------------------------------------------------------------------------------------------


def test_class_weight_is_sample_weight():
    X, y = problem(GDClassifier, n_rows=150, n_outputs=3)
    weights = {0: 0.5, 1: 2.0, 2: 3.0}
    model = GDClassifier(random_state=0)
    by_class = clone(model).set_params(class_weight=weights).fit(X, y)
    by_row = clone(model).fit(X, y, sample_weight=np.array([weights[label] for label in y]))
    np.testing.assert_allclose(by_class.coef_, by_row.coef_, rtol=1e-10)


def test_balanced_class_weight_follows_the_stream():
    """After one call with all rows in one batch, running counts are the counts that ``fit`` sees."""
    X, y = problem(GDClassifier, n_rows=60, n_outputs=3)
    model = GDClassifier(class_weight="balanced", batch_size=None, max_iter=1, tol=None)
    streamed, fitted = clone(model).partial_fit(X, y, classes=[0, 1, 2]), clone(model).fit(X, y)
    np.testing.assert_allclose(streamed.coef_, fitted.coef_, rtol=1e-10)


# -- going on, stopping, recording -------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_stream_may_be_cut_without_preconditioning(optimizer):
    X, y = problem(GDRegressor, n_rows=48)
    model = GDRegressor(optimizer=optimizer, learning_rate=0.01, precondition=False, average=True)
    whole, cut = clone(model).partial_fit(X, y), clone(model)
    for start in range(0, 48, 8):
        cut.partial_fit(X[start : start + 8], y[start : start + 8])
    assert_same_bits(whole, cut)


@pytest.mark.parametrize("optimizer", ["adagrad", "adam"])
@pytest.mark.parametrize("spread", [1e-2, 1e-4, 1e-6])
def test_stream_survives_a_column_that_starts_nearly_constant(optimizer, spread):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(3000, 4))
    X[:8, 0] = 1.0 + spread * rng.normal(size=8)
    y = X[:, 1:] @ [1.0, 2.0, 3.0] + 0.1 * rng.normal(size=3000)
    model = GDRegressor(optimizer=optimizer)
    for start in range(0, 3000, 100):
        model.partial_fit(X[start : start + 100], y[start : start + 100])
    assert model.score(X, y) > 0.9


def test_rows_without_weights_weigh_one_after_weighted_rows():
    X, y = problem(GDRegressor, n_rows=80)
    weighted = GDRegressor().partial_fit(X[:40], y[:40], sample_weight=np.full(40, 10.0))
    implied, told = pickle.loads(pickle.dumps(weighted)), weighted
    assert_same_bits(implied.partial_fit(X[40:], y[40:]), told.partial_fit(X[40:], y[40:], sample_weight=np.ones(40)))


def test_targets_statistics_of_a_stream_are_weighted():
    """The first prediction of a zero model is the weighted mean of the targets so far."""
    X, y = np.zeros((2, 1)), np.array([0.0, 10.0])
    model = GDRegressor(batch_size=1).partial_fit(X, y, sample_weight=[1.0, 3.0])
    np.testing.assert_allclose(model._state.whole.targets.mean, [7.5])


def test_recorded_objective_holds_the_penalty_of_each_batch():
    """A penalized fit goes on until it is done: the first epoch's objective is not measured without its penalty."""
    X, y = problem(GDRegressor, n_rows=1200)
    model = GDRegressor(alpha=0.5, tol=1e-6, n_iter_no_change=3, batch_size=16, random_state=0).fit(X, y)
    assert model.n_iter_ > 5
    first = model.history_["objective"][0] - model.history_["loss"][0]
    assert first > 0.5 * (model.history_["objective"][-1] - model.history_["loss"][-1])


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_end_of_averaging_keeps_the_model(optimizer):
    """What was predicted with the average goes on being predicted, also by rules whose slots hold parameters."""
    X, y = problem(GDRegressor, n_rows=200)
    model = GDRegressor(optimizer=optimizer, average=True, batch_size=8, random_state=0, max_iter=5, tol=None).fit(X, y)
    before = model.predict(X)
    model.set_params(average=False, learning_rate=1e-12).partial_fit(X[:8], y[:8])
    if optimizer != "ftrl":  # whose rate is also the strength with which it stays
        np.testing.assert_allclose(model.predict(X), before, atol=1e-3 * np.abs(before).max())


def test_validation_keeps_the_best_epoch():
    X, y = problem(GDRegressor, n_rows=200)
    model = GDRegressor(learning_rate=0.5, optimizer="sgd", average=False, batch_size=8, max_iter=6, tol=None)
    model.set_params(random_state=0).fit(X[:150], y[:150], X_val=X[150:], y_val=y[150:])
    assert model.n_iter_ == len(model.history_["loss"]) == 6
    residual = model.predict(X[150:]) - y[150:]
    np.testing.assert_allclose(0.5 * np.mean(residual**2), min(model.history_["validation_loss"]), rtol=1e-9)


# -- networks: the same promises --------------------------------------------------------------------------------------

KINDS = [GDClassifier, GDRegressor]
over_layers = pytest.mark.parametrize(("layers", "activation"), [((8,), "relu"), ((5, 4), "tanh"), ((4, 3, 3), "silu")])


def network(kind, layers=(5, 4), activation="tanh", **parameters):
    defaults = {"batch_size": 16, "max_iter": 5, "tol": None, "random_state": 0}
    return kind(hidden_layer_sizes=layers, activation=activation, **defaults | parameters)


def first_call(kind, y):
    return {"classes": np.unique(y)} if kind is GDClassifier else {}


@over_layers
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("kind", KINDS)
def test_weight_is_copies_for_networks(kind, optimizer, layers, activation):
    X, y = problem(kind, n_outputs=3)
    weight = np.random.default_rng(1).integers(0, 4, len(y))
    rate = None if optimizer == "adadelta" else 0.003
    model = network(kind, layers, activation, optimizer=optimizer, learning_rate=rate, batch_size=None, alpha=1e-3)
    weighted = clone(model).fit(X, y, sample_weight=weight)
    copied = clone(model).fit(X.repeat(weight, axis=0), y.repeat(weight, axis=0))
    assert_parameters(weighted, copied, np.testing.assert_allclose, rtol=1e-6, atol=1e-8)


@over_layers
@pytest.mark.parametrize("as_format", FORMATS)
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize("kind", KINDS)
def test_weight_zero_is_no_row_for_networks(kind, method, as_format, layers, activation):
    X, y = problem(kind, n_rows=100, n_outputs=3)
    weight = np.random.default_rng(1).integers(0, 3, len(y)).astype(float)
    keep = weight > 0
    first = first_call(kind, y) if method == "partial_fit" else {}
    model = network(kind, layers, activation)
    zeros = getattr(clone(model), method)(as_format(X), y, sample_weight=weight, **first)
    without = getattr(clone(model), method)(as_format(X[keep]), y[keep], sample_weight=weight[keep], **first)
    assert_same_bits(zeros, without)


@over_layers
@pytest.mark.parametrize("loss", [*CLASSIFIER_LOSSES, *REGRESSOR_LOSSES])
def test_dense_is_sparse_for_networks(loss, layers, activation):
    kind = GDClassifier if loss in CLASSIFIER_LOSSES else GDRegressor
    X, y = problem(kind, n_outputs=3)
    model = network(kind, layers, activation, loss=loss, precondition=False, learning_rate=0.01, optimizer="adam")
    dense = clone(model).fit(X, y)
    for as_format in (sp.csr_array, sp.csc_array, sp.csr_matrix):
        sparse = clone(model).fit(as_format(X), y)
        assert_parameters(dense, sparse, np.testing.assert_allclose, rtol=1e-9, atol=1e-11)
        np.testing.assert_allclose(sparse.predict(as_format(X)), dense.predict(X), rtol=1e-9)


@pytest.mark.parametrize("as_format", FORMATS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("kind", KINDS)
def test_stream_of_networks_may_be_cut_and_pickled(kind, optimizer, as_format):
    X, y = problem(kind, n_rows=90, n_outputs=3)
    X, weight = as_format(X), np.random.default_rng(2).random(90) + 0.5
    for precondition, average, rate in ((True, "polynomial", "cosine"), (True, "auto", "auto"), (False, True, 0.01)):
        model = network(kind, optimizer=optimizer, learning_rate=rate, batch_size=7, alpha=1e-3)
        model.set_params(precondition=precondition, average=average)
        whole = clone(model).partial_fit(X, y, sample_weight=weight, **first_call(kind, y))
        cut = clone(model)
        for start, stop in [(0, 7), (7, 28), (28, 35), (35, 90)]:
            part = slice(start, stop)
            cut.partial_fit(X[part], y[part], sample_weight=weight[part], **first_call(kind, np.arange(3)))
            cut = pickle.loads(pickle.dumps(cut))
        assert_same_bits(whole, cut)
        np.testing.assert_array_equal(whole.predict(X), cut.predict(X))


@over_layers
@pytest.mark.parametrize("kind", KINDS)
def test_random_state_determines_the_bits_of_networks(kind, layers, activation):
    X, y = problem(kind, n_rows=100, n_outputs=3)
    model = network(kind, layers, activation, early_stopping=True)
    one, other = clone(model).fit(X, y), clone(model).fit(X, y)
    assert_same_bits(one, other)
    drawn = clone(model).set_params(random_state=np.random.RandomState(0)).fit(X, y)
    assert_same_bits(one, drawn)
    another = clone(model).set_params(random_state=1).fit(X, y)
    assert not np.array_equal(one.coefs_[0], another.coefs_[0])
    streams = [network(kind, layers, activation).partial_fit(X, y, **first_call(kind, y)) for _ in range(2)]
    assert_same_bits(*streams)


@over_layers
@pytest.mark.parametrize("as_format", FORMATS)
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=5, deadline=None)
@given(exponents=EXPONENTS, units=st.lists(st.floats(-6.0, 6.0), min_size=3, max_size=3))
def test_units_do_not_matter_to_networks(kind, method, as_format, layers, activation, exponents, units):
    """Neither those of the columns, nor that of each of several targets."""
    X, y = problem(kind, n_rows=100, n_outputs=3)
    scale, unit = 10.0 ** np.array(exponents), 10.0 ** np.array(units)
    model = network(kind, layers, activation, alpha=0.0)
    first = first_call(kind, y) if method == "partial_fit" else {}
    plain = getattr(clone(model), method)(as_format(X), y, **first)
    target = y if kind is GDClassifier else y * unit
    scaled = getattr(clone(model), method)(as_format(X * scale), target, **first)
    if kind is GDClassifier:
        ours, theirs = plain.decision_function(X), scaled.decision_function(X * scale)
    else:
        ours, theirs = plain.predict(X), scaled.predict(X * scale) / unit
    np.testing.assert_allclose(theirs, ours, rtol=1e-6, atol=1e-6 * np.abs(ours).max())


@pytest.mark.parametrize("loss", SCALE_FREE)
@pytest.mark.parametrize("n_outputs", [1, 3])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_units_do_not_matter_to_networks_with_any_loss_and_optimizer(optimizer, n_outputs, loss):
    X, y = problem(GDRegressor, n_rows=100, n_outputs=n_outputs)
    scale, unit = np.array([1e-6, 1e6, 1.0, 1e3]), np.array([1e-6, 1e6, 1e2])[:n_outputs]
    model = network(GDRegressor, loss=loss, optimizer=optimizer, alpha=0.0, max_iter=3)
    plain, scaled = clone(model).fit(X, y), clone(model).fit(X * scale, y * (unit if n_outputs > 1 else unit[0]))
    ours, theirs = plain.predict(X), scaled.predict(X * scale) / (unit if n_outputs > 1 else unit[0])
    np.testing.assert_allclose(theirs, ours, rtol=1e-6, atol=1e-6 * y.std())


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("as_format", FORMATS)
@pytest.mark.parametrize("kind", KINDS)
def test_networks_stay_float32(kind, as_format, activation):
    X, y = problem(kind, n_outputs=3)
    single = as_format(X.astype(np.float32))
    for precondition in (True, False):
        model = network(kind, (5, 4), activation, precondition=precondition, learning_rate=0.01).fit(single, y)
        for _ in range(2):
            state = model._state.whole.iterate
            parts = [*model.coefs_, *model.intercepts_, state.theta, state.average, *state.slots]
            assert {part.dtype for part in parts} == {np.dtype(np.float32)}
            assert model._raw(single).dtype == np.float32
            model.partial_fit(single, y)
        double = network(kind, (5, 4), activation, precondition=precondition, learning_rate=0.01).fit(as_format(X), y)
        double.partial_fit(as_format(X), y).partial_fit(as_format(X), y)
        np.testing.assert_allclose(model._raw(single), double._raw(as_format(X)), rtol=1e-2, atol=1e-2)


class Failing(SGD):
    """Raises in every seventh step."""

    @staticmethod
    def rule(w, g, lr, t, slots, hyper):
        if t % 7 == 0:
            raise RuntimeError("of the user's own")
        return SGD.rule(w, g, lr, t, slots, hyper)


def bytes_of(model):
    return {name: pickle.dumps(value) for name, value in vars(model).items()}


@pytest.mark.parametrize("before", ["network", "linear", "nothing"])
@pytest.mark.parametrize("method", ["fit", "warm fit", "partial_fit"])
@pytest.mark.parametrize("kind", KINDS)
def test_networks_that_fail_are_as_they_were(kind, method, before):
    X, y = problem(kind, n_outputs=3)
    model = network(kind, () if before == "linear" else (5, 4), batch_size=4, warm_start=method == "warm fit")
    if before != "nothing":
        model.fit(X, y)
    if before == "linear" and method == "fit":  # a network in its place
        model.set_params(hidden_layer_sizes=(5, 4))
    diverging = {"loss": "squared_hinge" if kind is GDClassifier else "squared_error", "learning_rate": 1e200}
    arguments = (X, y, first_call(kind, y)["classes"]) if method == "partial_fit" and kind is GDClassifier else (X, y)
    train = type(model).partial_fit if method == "partial_fit" else type(model).fit
    failing, wild = {"optimizer": Failing(0.1)}, {"optimizer": "sgd", "precondition": False, **diverging}
    for parameters, error, words in ((failing, RuntimeError, "of the user's own"), (wild, ValueError, "diverged")):
        model.set_params(**parameters)
        expected = bytes_of(model)
        with pytest.raises(error, match=words):
            train(model, *arguments)
        assert bytes_of(model) == expected
    if before != "nothing":
        assert model.predict(X).shape == y.shape


@pytest.mark.parametrize("as_format", FORMATS)
@pytest.mark.parametrize("kind", KINDS)
def test_networks_leave_alone_what_is_the_user_s(kind, as_format):
    X, y = problem(kind, n_outputs=3)
    A, weight, sizes = as_format(X.copy()), np.linspace(0.0, 2.0, len(y)), [4, 3]
    protected = [y, weight, *([A] if isinstance(A, np.ndarray) else [A.data, A.indices, A.indptr])]
    copies = [part.copy() for part in protected]
    for part in protected:
        part.flags.writeable = False
    strategy = LeakyReLU(0.1)
    before = pickle.dumps(strategy)
    model = network(kind, sizes, strategy).fit(A, y, weight, X_val=A, y_val=y).partial_fit(A, y)
    model.predict(A)
    for part, copied in zip(protected, copies, strict=True):
        np.testing.assert_array_equal(part, copied)
    assert pickle.dumps(strategy) == before
    assert model.activation is strategy
    assert model.hidden_layer_sizes is sizes
    assert sizes == [4, 3]
    strategy.slope = 0.9  # which reaches the next training, and nothing before
    assert model._state.objective.activation.slope == 0.1
