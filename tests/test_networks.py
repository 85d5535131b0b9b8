"""Hidden layers: gradients and whole trainings against torch; errors, history, callbacks, displays and defaults."""

import pickle
import re
from itertools import pairwise, product
from unittest import mock

import matplotlib.pyplot as plt
import numpy as np
import pytest
import scipy.sparse as sp
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.datasets import load_digits, make_moons
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from torch.nn import functional

import skgd.engines
from skgd import GDClassifier, GDRegressor
from skgd.activations import ACTIVATIONS, ELU, LeakyReLU
from skgd.callbacks import Checkpoint, EarlyStopping
from skgd.coordinates import Coordinates
from skgd.display import DescentPathDisplay, LearningRateDisplay, TrainingDisplay
from skgd.losses import CLASSIFIER_LOSSES, REGRESSOR_LOSSES, SquaredError
from skgd.objective import Objective
from skgd.optimizers import OPTIMIZERS, SGD, Adam, RMSProp

N, P = 80, 4
rng = np.random.default_rng(0)
X = rng.normal(size=(N, P))
Y = np.sin(2.0 * X[:, 0]) + X[:, 1] * X[:, 2] + 0.1 * rng.normal(size=N)
LABELS = np.digitize(Y, [-0.5, 0.5])
TARGET = {GDRegressor: Y, GDClassifier: LABELS}
FEW = {"max_iter": 4, "tol": None, "random_state": 0}

both_estimators = pytest.mark.parametrize("estimator", [GDRegressor, GDClassifier])


def network(estimator, layers=(5, 3), activation="tanh", **params):
    return estimator(hidden_layer_sizes=layers, activation=activation, **FEW | params)


def stream(model, A=X, y=None):
    y = TARGET[type(model)] if y is None else y
    first = {"classes": [0, 1, 2]} if isinstance(model, GDClassifier) else {}
    return model.partial_fit(A, y, **first)


def parameters(model):
    """Return all coefficients and intercepts, layer by layer."""
    return [*model.coefs_, *model.intercepts_]


def assert_same(one, other, **tolerance):
    """Compare all parameters: bit for bit, unless there is a tolerance."""
    for ours, theirs in zip(parameters(one), parameters(other), strict=True):
        if tolerance:
            assert_allclose(ours, theirs, **tolerance)
        else:
            assert_array_equal(ours, theirs)


# -- gradients --------------------------------------------------------------------------------------------------------

ACTIVATION_BY_TORCH = {
    "identity": lambda z: z,
    "relu": torch.relu,
    "leaky_relu": functional.leaky_relu,
    "elu": functional.elu,
    "tanh": torch.tanh,
    "logistic": torch.sigmoid,
    "silu": functional.silu,
    "gelu": functional.gelu,
}
LOSS_BY_TORCH = {  # of the raw prediction f, and the target, which for classes is -1 or 1
    "log_loss": lambda f, y: functional.softplus(-y * f),
    "hinge": lambda f, y: torch.relu(1.0 - y * f),
    "squared_hinge": lambda f, y: torch.relu(1.0 - y * f) ** 2,
    "modified_huber": lambda f, y: torch.where(y * f >= -1.0, torch.relu(1.0 - y * f) ** 2, -4.0 * y * f),
    "perceptron": lambda f, y: torch.relu(-y * f),
    "squared_error": lambda f, y: 0.5 * (f - y) ** 2,
    "huber": lambda f, y: functional.huber_loss(f, y, delta=1.35, reduction="none"),
    "absolute_error": lambda f, y: (f - y).abs(),
    "epsilon_insensitive": lambda f, y: torch.relu((f - y).abs() - 0.1),
    "squared_epsilon_insensitive": lambda f, y: torch.relu((f - y).abs() - 0.1) ** 2,
    "quantile": lambda f, y: 0.5 * (f - y).abs(),
    "poisson": lambda f, y: f.exp() - y - y * (f - y.log()),
    "gamma": lambda f, y: f - y.log() + y / f.exp() - 1.0,
    "tweedie": lambda f, y: 2.0 * (0.5 * f).exp() + 2.0 * y * (-0.5 * f).exp() - 4.0 * y.sqrt(),
}
ROWS = 12


def kinds_of(loss):
    """Yield each kind of target: as training reads it, as torch's loss does, outputs and whether they exclude."""
    generator = np.random.default_rng(1)
    if loss in REGRESSOR_LOSSES:
        for n_outputs in (1, 2):
            y = generator.uniform(0.5, 3.0, (ROWS, n_outputs))
            yield y, y, False
        return
    classes, labels = generator.integers(0, 3, ROWS), generator.random((ROWS, 2)) < 0.5
    yield np.minimum(classes, 1), np.where(classes > 0, 1.0, -1.0)[:, np.newaxis], False
    yield classes, np.where(classes[:, np.newaxis] == np.arange(3), 1.0, -1.0), True
    yield labels, np.where(labels, 1.0, -1.0), False


def loss_by_torch(loss, raw, signs, exclusive):
    """Return the sum of each row's losses."""
    if loss == "log_loss" and exclusive:
        return -(torch.log_softmax(raw, dim=1) * (signs > 0.0)).sum(dim=1)
    return LOSS_BY_TORCH[loss](raw, signs)


def coordinates_of(plain, sparse, n_outputs, loss):
    """Return coordinates that are not the user's own, unless `plain`."""
    if plain:
        return Coordinates()
    generator = np.random.default_rng(2)
    center = 0.0 if sparse else generator.normal(size=P)
    coordinates = Coordinates(center, generator.uniform(0.5, 2.0, P))
    if loss in CLASSIFIER_LOSSES:
        return coordinates
    scale = np.ones(n_outputs) if loss in ("poisson", "gamma", "tweedie") else generator.uniform(0.5, 2.0, n_outputs)
    return Coordinates(center, coordinates.scale, generator.normal(size=n_outputs), scale)


def value_and_gradient_by_torch(theta, objective, loss, activation, A, signs, weight):
    """Return the mean loss by output and its gradient: a network in the user's units, by automatic differentiation."""
    sizes, coordinates = objective.layer_sizes, objective.coordinates
    parts = [size * after for size, after in pairwise(sizes)] + list(sizes[1:])
    theta = torch.tensor(theta, requires_grad=True)
    pieces = torch.split(theta, parts)
    weights = [piece.reshape(shape) for piece, shape in zip(pieces, pairwise(sizes), strict=False)]
    biases = list(pieces[len(weights) :])
    center, scale, target_center, target_scale = map(torch.as_tensor, coordinates.arrays(P, sizes[-1]))
    weights[0] = weights[0] / scale[:, None]
    biases[0] = biases[0] - center @ weights[0]
    weights[-1], biases[-1] = weights[-1] * target_scale, target_center + target_scale * biases[-1]
    hidden = torch.as_tensor(A)
    for coef, bias in zip(weights[:-1], biases[:-1], strict=True):
        hidden = ACTIVATION_BY_TORCH[activation](hidden @ coef + bias)
    raw = hidden @ weights[-1] + biases[-1]
    unit = torch.as_tensor(objective.divisor)  # a convention; that of squared errors is the square of the scale
    values = loss_by_torch(loss, raw, torch.as_tensor(signs), objective.exclusive_classes)
    values = values / (unit if values.ndim == 2 else 1.0)
    rows = values if weight is None else torch.as_tensor(weight).reshape(-1, *[1] * (values.ndim - 1)) * values
    value = rows.sum() / len(A)
    value.backward()
    return value.item(), theta.grad.numpy()


@pytest.mark.parametrize("hidden", [(), (3, 2)])
def test_an_intercept_s_gradient_that_is_rounding_is_zero(hidden):
    """A rule that divides by its size would follow it."""
    objective = Objective(SquaredError(), P, 2, True, 0.0, 0.0, Coordinates(), hidden_layer_sizes=hidden)
    y = np.array([[0.1, 1.0], [0.2, 2.0], [-0.3, 4.0]])
    assert y[:, 0].sum() != 0.0
    theta = np.zeros(objective.n_parameters)
    batch = objective.chunks(np.ones((3, P)), y, None, slice(None))
    *_, (_, intercepts) = objective.layers(objective.value_and_gradient(theta, batch)[1])
    assert intercepts[0] == 0.0 > intercepts[1]


@pytest.mark.parametrize("loss", [*CLASSIFIER_LOSSES, *REGRESSOR_LOSSES])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_gradient_is_torch_s_and_the_slope_of_the_value(activation, loss):
    generator = np.random.default_rng(3)
    kind = (CLASSIFIER_LOSSES | REGRESSOR_LOSSES)[loss]()
    epsilon = {"huber": {"epsilon": 1.35}}.get(loss, {"epsilon": 0.1}) if hasattr(kind, "epsilon") else {}
    kind = kind.set_params(**epsilon)
    A = generator.normal(size=(ROWS, P)) * (generator.random((ROWS, P)) < 0.7)
    weights = (None, generator.uniform(0.1, 3.0, ROWS))
    depths = ((), (3,), (3, 2), (4, 3, 2))
    for (y, signs, exclusive), layers in product(kinds_of(loss), depths):
        for sparse, weight, plain in product((False, True), weights, (False, True)):
            objective = Objective(
                loss=kind.multiclass() if exclusive else kind,
                n_features=P,
                n_outputs=signs.shape[1],
                fit_intercept=True,
                alpha=0.0,
                l1_ratio=0.0,
                coordinates=coordinates_of(plain, sparse, signs.shape[1], loss),
                exclusive_classes=exclusive,
                hidden_layer_sizes=layers,
                activation=ACTIVATIONS[activation](),
            )
            theta = 0.7 * generator.normal(size=objective.n_parameters)
            batch = objective.chunks(sp.csr_array(A) if sparse else A, y, weight, slice(None))
            value, gradient, _ = objective.value_and_gradient(theta, batch)
            expected = value_and_gradient_by_torch(theta, objective, loss, activation, A, signs, weight)
            assert_allclose(value.sum(), expected[0], rtol=1e-10)
            assert_allclose(gradient, expected[1], rtol=1e-8, atol=1e-10)
            if sparse != plain:
                continue  # half of them are enough for differences
            direction, h = generator.normal(size=theta.size), 1e-7
            ahead, behind = (objective.value_and_gradient(theta + s * direction, batch)[0].sum() for s in (h, -h))
            assert_allclose(gradient @ direction, (ahead - behind) / (2.0 * h), rtol=1e-5, atol=1e-6)


# -- whole trainings --------------------------------------------------------------------------------------------------

OPTIMIZER_BY_TORCH = {
    "sgd": (SGD(0.05, momentum=0.9), lambda theta: torch.optim.SGD(theta, lr=0.05, momentum=0.9)),
    "adam": (Adam(0.01), lambda theta: torch.optim.Adam(theta, lr=0.01)),
    "rmsprop": (RMSProp(0.003), lambda theta: torch.optim.RMSprop(theta, lr=0.003, alpha=0.9)),
}
LAYER_BY_TORCH = {"relu": torch.nn.ReLU, "tanh": torch.nn.Tanh}
TRAININGS = [
    *(("vectorized", *rest) for rest in product(OPTIMIZER_BY_TORCH, LAYER_BY_TORCH, [GDClassifier, GDRegressor])),
    ("compiled", "sgd", "relu", GDClassifier),
    ("compiled", "adam", "tanh", GDRegressor),
]


def train_by_torch(coefs, intercepts, activation, make_optimizer, criterion, y, epochs, size):
    """Train from these parameters, batch after batch; return the network, and each epoch's mean loss."""
    layers = []
    for coef, intercept in zip(coefs, intercepts, strict=True):
        linear = torch.nn.Linear(*coef.shape, dtype=torch.float64)
        linear.weight.data, linear.bias.data = torch.tensor(coef.T.copy()), torch.tensor(intercept)
        layers += [linear, LAYER_BY_TORCH[activation]()]
    model = torch.nn.Sequential(*layers[:-1])
    optimizer, losses = make_optimizer(model.parameters()), []
    for _ in range(epochs):
        total = 0.0
        for start in range(0, N, size):
            rows = slice(start, start + size)
            loss = criterion(model(torch.tensor(X[rows])), torch.tensor(y[rows]))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(y[rows])
        losses.append(total / N)
    return model, losses


@pytest.mark.parametrize(("engine", "optimizer", "activation", "estimator"), TRAININGS)
def test_training_is_torch_s_step_by_step(engine, optimizer, activation, estimator):
    """210 steps of 12 rows, the last batch of each epoch smaller."""
    epochs, size = 30, 12
    rule, make_optimizer = OPTIMIZER_BY_TORCH[optimizer]
    textbook = {"precondition": False, "average": False, "shuffle": False, "alpha": 0.0, "batch_size": size}
    model = network(estimator, (8, 6), activation, optimizer=rule, max_iter=epochs, **textbook)
    start = clone(model).set_params(optimizer__learning_rate=1e-300, max_iter=1).fit(X, TARGET[estimator])
    assert min(np.abs(coef).max() for coef in start.coefs_) > 0.1
    with mock.patch.object(skgd.engines, "REPAYS_SECONDS", 0.0 if engine == "compiled" else np.inf):
        model.fit(X, TARGET[estimator])
    assert (model.engine_, model.t_) == (engine, 210)
    if estimator is GDClassifier:
        criterion, y = torch.nn.CrossEntropyLoss(), LABELS
    else:
        criterion, y = lambda f, t: 0.5 * functional.mse_loss(f, t), Y[:, np.newaxis]
    trained, losses = train_by_torch(
        start.coefs_, start.intercepts_, activation, make_optimizer, criterion, y, epochs, size
    )
    linears = [layer for layer in trained if isinstance(layer, torch.nn.Linear)]
    for coef, intercept, layer in zip(model.coefs_, model.intercepts_, linears, strict=True):
        assert_allclose(coef.T, layer.weight.detach(), rtol=1e-8, atol=1e-10)
        assert_allclose(intercept, layer.bias.detach(), rtol=1e-8, atol=1e-10)
    assert_allclose(model.history_["loss"], losses, rtol=1e-8)
    raw = trained(torch.tensor(X)).detach().numpy()
    predicted = model.decision_function(X) if estimator is GDClassifier else model.predict(X)[:, np.newaxis]
    assert_allclose(predicted, raw, rtol=1e-8, atol=1e-10)
    assert losses[-1] < 0.9 * losses[0]


def test_every_optimizer_begins_at_the_initial_coefficients():
    """Also those whose slots hold parameters: after steps of no size, the network is the same for all."""
    still = {"learning_rate": 1e-300, "average": False, "max_iter": 1, "batch_size": 8}
    models = [network(GDRegressor, optimizer=name, **still).fit(X, Y) for name in OPTIMIZERS]
    for model in models[1:]:
        assert_same(model, models[0], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_learns_what_no_linear_model_can(optimizer):
    A, y = make_moons(300, noise=0.1, random_state=0)
    model = GDClassifier(hidden_layer_sizes=(16,), optimizer=optimizer, max_iter=300, tol=None, random_state=0)
    linear = GDClassifier(random_state=0).fit(A, y)
    assert linear.score(A, y) < 0.92
    assert model.fit(A, y).score(A, y) > 0.95


# -- parameters and attributes ----------------------------------------------------------------------------------------


@both_estimators
@pytest.mark.parametrize(
    ("sizes", "error"),
    [
        *((sizes, TypeError) for sizes in (None, "64", 2.0, (2.5,), (True,), True, {3}, ((2, 3),), [None], np.ones(2))),
        *((sizes, ValueError) for sizes in (0, -3, (0,), (4, -1), [5, 0], np.array([0]))),
    ],
    ids=repr,
)
def test_bad_layer_sizes(estimator, sizes, error):
    model = estimator(hidden_layer_sizes=sizes)
    for call in (model.fit, stream):
        written = repr(sizes.tolist() if isinstance(sizes, np.ndarray) else sizes)
        with pytest.raises(error, match=rf"hidden_layer_sizes.*got {re.escape(written)}"):
            call(model) if call is stream else call(X, TARGET[estimator])
    assert not hasattr(model, "_state")


@pytest.mark.parametrize("sizes", [7, np.int64(7), (7,), [7], np.array([7]), np.array(7)], ids=repr)
def test_ways_to_say_one_layer(sizes):
    assert_same(network(GDRegressor, sizes).fit(X, Y), network(GDRegressor, (7,)).fit(X, Y))


def test_a_list_of_sizes_is_read_anew_by_each_fit():
    sizes = [5]
    model = network(GDRegressor, sizes).fit(X, Y)
    sizes.append(3)
    assert [len(coef) for coef in model.fit(X, Y).coefs_] == [P, 5, 3]
    assert [len(coef) for coef in model.set_params(hidden_layer_sizes=np.array([2, 4, 6])).fit(X, Y).coefs_] == [
        P,
        2,
        4,
        6,
    ]
    assert len(stream(model.set_params(hidden_layer_sizes=np.array([2, 4, 6]))).coefs_) == 4


@both_estimators
def test_unknown_activations(estimator):
    with pytest.raises(ValueError, match="activation='rleu' is not known") as caught:
        network(estimator, activation="rleu").fit(X, TARGET[estimator])
    assert all(repr(name) in str(caught.value) for name in ACTIVATIONS)
    with pytest.raises(TypeError, match=r"activation must be.*Did you mean ELU\(\)"):
        network(estimator, activation=ELU).fit(X, TARGET[estimator])
    with pytest.raises(TypeError, match="activation must be"):
        network(estimator, activation=None).fit(X, TARGET[estimator])


@both_estimators
@pytest.mark.parametrize(("before", "after"), [((), (5,)), ((5,), ()), ((5,), (6,)), ((5, 3), (5,))], ids=str)
def test_other_layers_after_training_began(estimator, before, after):
    y = TARGET[estimator]
    for begin in (lambda model: model.fit(X, y), stream):
        model = begin(network(estimator, before, warm_start=True)).set_params(hidden_layer_sizes=after)
        predicted = model.predict(X)
        for go_on in (lambda model: model.fit(X, y), stream):
            with pytest.raises(ValueError, match="set after training began") as caught:
                go_on(model)
            assert f"hidden_layer_sizes={after}" in str(caught.value)
            assert f"hidden_layer_sizes={before}" in str(caught.value)
        assert_array_equal(model.predict(X), predicted)
        assert len(model.set_params(warm_start=False).fit(X, y).coefs_) == len(after) + 1


def test_training_goes_on_with_another_activation():
    """The coefficients stay, and what is learned from then on is learned with the new one."""
    plain = {"optimizer": SGD(0.1), "precondition": False, "average": False, "batch_size": None, "alpha": 0.0}
    model = stream(network(GDRegressor, (5,), "tanh", **plain))
    (first, last), (b, c) = [coef.copy() for coef in model.coefs_], [part.copy() for part in model.intercepts_]
    assert_allclose(model.set_params(activation="relu").predict(X), np.tanh(X @ first + b) @ last[:, 0] + c, rtol=1e-12)
    z = X @ first + b
    residual = np.maximum(z, 0.0) @ last[:, 0] + c - Y
    delta = residual[:, np.newaxis] * last.T * (z > 0.0)
    assert_allclose(stream(model).coefs_[0], first - 0.1 * X.T @ delta / N, rtol=1e-10)
    assert_allclose(
        model.predict(X),
        np.maximum(X @ model.coefs_[0] + model.intercepts_[0], 0.0) @ model.coefs_[1][:, 0] + model.intercepts_[1],
        rtol=1e-10,
    )


@both_estimators
def test_networks_have_no_coef(estimator):
    model = network(estimator).fit(X, TARGET[estimator])
    for name in ("coef_", "intercept_"):
        assert not hasattr(model, name)
        with pytest.raises(AttributeError, match=rf"{name} is for linear models.*\(5, 3\).*coefs_ and intercepts_"):
            getattr(model, name)
    for method in ("sparsify", "densify"):
        assert not hasattr(model, method)
        with pytest.raises(AttributeError, match=method) as caught:
            getattr(model, method)
        assert "hidden_layer_sizes=(5, 3)" in str(caught.value.__cause__)


@both_estimators
def test_a_linear_model_is_one_layer(estimator):
    model = estimator(random_state=0).fit(X, TARGET[estimator])
    (coef,), (intercept,) = model.coefs_, model.intercepts_
    assert_array_equal(coef, np.atleast_2d(model.coef_).T)
    assert_array_equal(intercept, np.atleast_1d(model.intercept_))
    expected = coef.copy()
    assert_array_equal(model.sparsify().coefs_[0], expected)


@both_estimators
def test_before_fit_there_is_neither(estimator):
    for model in (estimator(), network(estimator)):
        for name in ("coef_", "intercept_", "coefs_", "intercepts_"):
            assert not hasattr(model, name)
        with pytest.raises(NotFittedError):
            model.predict(X)


@both_estimators
def test_fit_forgets_a_model_of_the_other_kind(estimator):
    y = TARGET[estimator]
    for layers, others in (((), (5,)), ((5,), ())):
        model = network(estimator, others).fit(X, y).set_params(hidden_layer_sizes=layers).fit(X, y)
        fresh = network(estimator, layers).fit(X, y)
        assert {name for name in vars(model) if name.endswith("_")} == {
            name for name in vars(fresh) if name.endswith("_")
        }
        assert_same(model, fresh)
        assert_array_equal(model.predict(X), fresh.predict(X))
        assert_array_equal(pickle.loads(pickle.dumps(model)).predict(X), fresh.predict(X))


@both_estimators
def test_coefficients_may_be_set_from_outside(estimator):
    y = TARGET[estimator]
    model, other = network(estimator).fit(X, y), network(estimator, random_state=1).fit(X, y)
    model.coefs_, model.intercepts_ = [coef.copy() for coef in other.coefs_], [b.copy() for b in other.intercepts_]
    assert_array_equal(model.predict(X), other.predict(X))
    assert_same(stream(model.set_params(**STILL)), other, rtol=1e-12, atol=1e-14)
    model.coefs_[1][0] += 1.0  # in place
    other.coefs_[1] = other.coefs_[1] + np.eye(5, 3)[:, :1] @ np.ones((1, 3))
    assert_same(stream(model), other, rtol=1e-12, atol=1e-14)


ON_DEMAND = {"coefs_", "intercepts_", "_fingerprint"}
STILL = {"learning_rate": 1e-300, "average": False}


@pytest.fixture
def compiled_streams(plain_python, monkeypatch):
    """Let streams take compiled loops, in plain Python, from the first batch on."""
    monkeypatch.setattr("skgd.stream.choose_stream", lambda *_: True)


@pytest.mark.usefixtures("compiled_streams")
@pytest.mark.parametrize("form", [np.asarray, sp.csr_array])
@both_estimators
def test_streams_make_coefficients_when_asked(estimator, form):
    """So a call neither copies nor looks at them; a pickle has them all the same."""
    A = form(X)
    model, never_asked = (stream(stream(network(estimator), A), A) for _ in range(2))
    assert model.engine_ == "compiled"
    predicted, saved = model.predict(A), pickle.dumps(model)
    assert not ON_DEMAND & vars(model).keys()
    held = parameters(model)
    kept = [part.copy() for part in held]
    assert vars(model).keys() >= ON_DEMAND
    assert_array_equal(model.predict(A), predicted)
    loaded = pickle.loads(saved)
    assert vars(loaded).keys() >= ON_DEMAND
    assert_same(loaded, model)
    assert_array_equal(loaded.predict(A), predicted)
    for one in (model, loaded, never_asked):
        stream(one, A)
        assert not ON_DEMAND & vars(one).keys()  # those from before are gone
        assert_same(one, model)
    for now, before in zip(held, kept, strict=True):
        assert_array_equal(now, before)


@pytest.mark.usefixtures("compiled_streams")
@pytest.mark.parametrize("how", ["coefs_", "intercepts_", "in place"])
@both_estimators
def test_what_is_set_in_a_stream_is_noticed(estimator, how):
    model = stream(stream(network(estimator), sp.csr_array(X)), sp.csr_array(X))
    expected, original = (pickle.loads(pickle.dumps(model)) for _ in range(2))
    for other in (model, expected):
        if how == "in place":
            other.coefs_[0][1] += 1.0
        else:  # one of two that were never asked for
            setattr(other, how, [part + 1.0 for part in getattr(original, how)])
    assert_array_equal(model.predict(X), expected.predict(X))
    moved = pickle.loads(pickle.dumps(model))
    assert_same(moved, expected)
    for other in (model, moved):
        assert_same(stream(other.set_params(**STILL), sp.csr_array(X)), expected, rtol=1e-12, atol=1e-14)


@both_estimators
@pytest.mark.parametrize("go_on", ["partial_fit", "warm_start"])
def test_coefficients_of_another_shape_are_refused(estimator, go_on):
    y = TARGET[estimator]
    good = network(estimator, warm_start=True).fit(X, y)
    n_outputs = good.coefs_[-1].shape[1]
    bad = [
        ("coefs_", 0, np.zeros((P + 1, 5)), r"coefs_\[0\].*\(5, 5\).*\(4, 5\)"),
        ("coefs_", 1, np.zeros((3, 5)), r"coefs_\[1\].*\(3, 5\).*\(5, 3\)"),
        ("coefs_", 2, np.zeros(3), rf"coefs_\[2\].*\(3,\).*\(3, {n_outputs}\)"),
        ("intercepts_", 0, np.zeros((5, 1)), r"intercepts_\[0\].*\(5, 1\).*\(5,\)"),
        ("intercepts_", 1, np.full(3, np.nan), r"intercepts_\[1\].*not finite"),
        ("coefs_", 1, np.full((5, 3), np.inf), r"coefs_\[1\].*not finite"),
    ]
    for name, layer, value, message in bad:
        model = pickle.loads(pickle.dumps(good))
        getattr(model, name)[layer] = value
        with pytest.raises(ValueError, match=message):
            stream(model) if go_on == "partial_fit" else model.fit(X, y)
    for names in (["coefs_"], ["intercepts_"], ["coefs_", "intercepts_"]):
        model = pickle.loads(pickle.dumps(good))
        for name in names:
            getattr(model, name).pop()
        with pytest.raises(ValueError, match=f"{names[0]} .*2"):
            stream(model) if go_on == "partial_fit" else model.fit(X, y)


# -- history ----------------------------------------------------------------------------------------------------------


@both_estimators
@pytest.mark.parametrize("params", [{}, {"max_grad_norm": 1e-3, "batch_size": 16}, {"precondition": False}], ids=str)
def test_norms_of_layers_add_up(estimator, params):
    model = stream(network(estimator, (6, 5, 4), **params).fit(X, TARGET[estimator]))
    by_layer = np.array([model.history_[f"gradient_norm_layer_{k}"] for k in (1, 2, 3, 4)])
    assert by_layer.shape == (4, 5)
    assert (by_layer > 0.0).all()
    assert_allclose(np.square(by_layer).sum(axis=0), np.square(model.history_["gradient_norm"]), rtol=1e-12)
    assert "gradient_norm_layer_5" not in model.history_


def test_norm_of_a_layer_by_hand():
    plain = {"precondition": False, "average": False, "batch_size": None, "alpha": 0.0, "optimizer": SGD(0.1)}
    before, after = (network(GDRegressor, max_iter=k, **plain).fit(X, Y) for k in (2, 3))
    for layer in range(3):
        steps = [(a - b) / 0.1 for a, b in zip(parameters(before)[layer::3], parameters(after)[layer::3], strict=True)]
        norm = np.sqrt(sum(np.square(step).sum() for step in steps))
        assert_allclose(after.history_[f"gradient_norm_layer_{layer + 1}"][-1], norm, rtol=1e-8)


def test_linear_models_have_no_norms_of_layers():
    assert not [key for key in GDRegressor(**FEW).fit(X, Y).history_ if "layer" in key]


def test_verbose_prints_the_norms_of_layers(capsys):
    model = network(GDClassifier, verbose=1).fit(X, LABELS)
    header, *lines, ending = capsys.readouterr().out.splitlines()
    assert header.split()[-3:] == [f"gradient_norm_layer_{k}" for k in (1, 2, 3)]
    assert ending == "ended: max_iter"
    assert len(lines) == 4
    for k, line in enumerate(lines):
        printed = float(line.split()[-1])
        assert_allclose(printed, model.history_["gradient_norm_layer_3"][k], rtol=1e-3)
        assert len(line) == len(header)


@both_estimators
def test_warm_start_goes_on(estimator):
    plain = {"precondition": False, "learning_rate": 0.01, "shuffle": False}
    model = network(estimator, warm_start=True, **plain).fit(X, TARGET[estimator]).fit(X, TARGET[estimator])
    whole = network(estimator, max_iter=8, **plain).fit(X, TARGET[estimator])
    assert_same(model, whole, rtol=1e-10, atol=1e-12)
    for name in model.history_.keys() - {"seconds"}:
        assert_allclose(model.history_[name], whole.history_[name], rtol=1e-9)


# -- in scikit-learn's company ----------------------------------------------------------------------------------------


def test_grid_search():
    grid = [
        {"activation": [LeakyReLU()], "activation__slope": [0.0, 0.5], "hidden_layer_sizes": [(4,), (4, 3)]},
        {"hidden_layer_sizes": [(), 5]},
    ]
    slope = grid[0]["activation"][0]
    search = GridSearchCV(GDClassifier(**FEW), grid, cv=2, error_score="raise").fit(X, LABELS)
    assert len(search.cv_results_["params"]) == 6
    assert slope.slope == 0.01
    chosen = clone(GDClassifier(**FEW)).set_params(**search.best_params_).fit(X, LABELS)
    assert_same(search.best_estimator_, chosen)
    scores = search.cv_results_["mean_test_score"]
    assert len(set(scores)) > 1


@both_estimators
def test_clone_and_pipelines(estimator):
    y = TARGET[estimator]
    model = network(estimator, activation=LeakyReLU(0.2))
    copied = clone(model.fit(X, y))
    assert not hasattr(copied, "coefs_")
    assert copied.activation is not model.activation
    assert_same(copied.fit(X, y), model)
    piped = make_pipeline(FunctionTransformer(np.tanh), StandardScaler(), clone(model)).fit(X, y)
    transformed = StandardScaler().fit_transform(np.tanh(X))
    assert_same(piped[-1], clone(model).fit(transformed, y))
    piped.set_params(**{f"gd{estimator.__name__[2:].lower()}__activation__slope": 0.3}).fit(X, y)
    assert piped[-1].activation.slope == 0.3


@both_estimators
def test_a_pickle_predicts_and_goes_on(estimator):
    model = network(estimator, activation="gelu").fit(X, TARGET[estimator])
    other = pickle.loads(pickle.dumps(model))
    assert_array_equal(other.predict(X), model.predict(X))
    assert_same(stream(other), stream(model))


def test_class_weights_are_weights_of_rows():
    weights = {0: 0.5, 1: 2.0, 2: 3.0}
    by_class = network(GDClassifier, class_weight=weights).fit(X, LABELS)
    by_row = network(GDClassifier).fit(X, LABELS, sample_weight=np.array([weights[label] for label in LABELS]))
    assert_same(by_class, by_row, rtol=1e-8, atol=1e-10)
    counts = np.bincount(LABELS)
    balanced = network(GDClassifier, class_weight="balanced").fit(X, LABELS)
    by_row = network(GDClassifier).fit(X, LABELS, sample_weight=(N / (3 * counts))[LABELS])
    assert_same(balanced, by_row, rtol=1e-8, atol=1e-10)


FAST = {"optimizer": "adam", "learning_rate": 0.1, "average": False, "batch_size": 8, "max_iter": 30}


@both_estimators
def test_a_validation_set_keeps_the_best_epoch(estimator):
    y = TARGET[estimator]
    model = network(estimator, **FAST).fit(X[:50], y[:50], X_val=X[50:], y_val=y[50:])
    losses = model.history_["validation_loss"]
    best = int(np.argmin(losses))
    assert best < len(losses) - 1
    assert_same(model, network(estimator, **FAST | {"max_iter": best + 1}).fit(X[:50], y[:50]))
    assert_allclose(model.score(X[50:], y[50:]), model.history_["validation_score"][best], rtol=1e-9)
    held_out = network(estimator, early_stopping=True, **FAST | {"tol": 1e-2, "n_iter_no_change": 3}).fit(X, y)
    assert np.isfinite(held_out.history_["validation_loss"]).all()
    assert held_out.n_iter_ < 30


@both_estimators
def test_early_stopping_as_a_callback_restores_the_layers(estimator):
    y = TARGET[estimator]
    model = network(estimator, **FAST).set_callbacks(EarlyStopping(X[50:], y[50:], patience=5)).fit(X[:50], y[:50])
    whole = network(estimator, **FAST).fit(X[:50], y[:50], X_val=X[50:], y_val=y[50:])
    losses = whole.history_["validation_loss"][: model.n_iter_]
    best = int(np.argmin(losses))
    assert best < model.n_iter_ - 1
    assert_same(model, network(estimator, **FAST | {"max_iter": best + 1}).fit(X[:50], y[:50]))
    assert not hasattr(model, "coef_")
    linear_before = estimator(**FEW).fit(X, y).set_params(**network(estimator, **FAST).get_params())
    again = linear_before.set_callbacks(EarlyStopping(X[50:], y[50:], patience=5)).fit(X[:50], y[:50])
    assert_same(again, model)
    assert_array_equal(again.predict(X), model.predict(X))


@both_estimators
@pytest.mark.parametrize("more", [{}, {"early_stopping": True}], ids=["", "early stopping"])
def test_a_checkpoint_goes_on_to_the_same_bits(estimator, more, tmp_path):
    y, path = TARGET[estimator], tmp_path / "network.checkpoint"
    params = {"batch_size": 8, "average": "polynomial", **more}
    whole = network(estimator, max_iter=9, **params).fit(X, y)
    network(estimator, max_iter=4, **params).set_callbacks(Checkpoint(path)).fit(X, y)
    loaded = Checkpoint.load(path)
    assert loaded.predict(X).shape == (N,)
    assert_same(loaded.set_params(max_iter=9).fit(X, y), whole)
    assert loaded.n_iter_ == 9


# -- displays ---------------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


def test_training_display_of_a_network():
    model = network(GDRegressor).fit(X, Y, X_val=X[:20], y_val=Y[:20])
    assert list(TrainingDisplay.from_estimator(model).lines_) == ["loss", "validation_loss"]
    layers = [f"gradient_norm_layer_{k}" for k in (1, 2, 3)]
    display = TrainingDisplay.from_estimator(model, ["gradient_norm", *layers])
    assert len(display.axes_) == 1
    assert display.ax_.get_ylabel() == "gradient norm"
    for k, name in enumerate(layers):
        assert_array_equal(display.lines_[name].get_ydata(), model.history_[name])
        assert display.lines_[name].get_label() == f"gradient norm, layer {k + 1}"
    with pytest.raises(ValueError, match=r"'gradient_norm_layer_4' is not known.*gradient_norm_layer_3"):
        TrainingDisplay.from_estimator(model, "gradient_norm_layer_4")


@both_estimators
def test_learning_rate_display_of_a_network(estimator):
    model = network(estimator, (16,), "relu")
    display = LearningRateDisplay.from_estimator(model, X, TARGET[estimator])
    assert display.learning_rates[0] < display.suggestion_ < display.learning_rates[-1]
    assert display.losses.min() < 0.8 * display.losses[0]
    assert not hasattr(model, "coefs_")


def test_descent_path_display_is_for_linear_models():
    models = {"linear": GDRegressor(alpha=0.0), "deep": network(GDRegressor, alpha=0.0)}
    for model in (models, models["deep"]):
        with pytest.raises(ValueError, match=r"hidden_layer_sizes=\(5, 3\).*hidden_layer_sizes=\(\).*TrainingDisplay"):
            DescentPathDisplay.from_estimator(model, X, Y)


# -- nothing to tune --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_digits_are_told_apart_as_well_as_by_scikit_learn(seed):
    digits = load_digits(return_X_y=True)
    A, B, a, b = train_test_split(*digits, test_size=0.2, stratify=digits[1], random_state=0)
    ours = GDClassifier(hidden_layer_sizes=(100,), random_state=seed).fit(A, a)
    theirs = MLPClassifier(random_state=seed).fit(A, a)
    assert ours.score(B, b) >= theirs.score(B, b)


@pytest.mark.parametrize("activation", sorted(set(ACTIVATIONS) - {"identity"}))
def test_exclusive_or_is_learned(activation):
    A, y = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]), np.array([0, 1, 1, 0])
    for seed in range(3):
        model = GDClassifier(hidden_layer_sizes=(16,), activation=activation, max_iter=300, tol=None)
        assert_array_equal(model.set_params(random_state=seed).fit(A, y).predict(A), y)


def test_raw_units_need_no_scaler():
    """Columns as of houses: incomes, years, persons, degrees; a price that depends on them in a curved way."""
    generator = np.random.default_rng(0)
    size = 2000
    income, age = generator.lognormal(1.2, 0.4, size), generator.uniform(1.0, 52.0, size)
    people, latitude = generator.lognormal(7.0, 0.7, size), generator.uniform(32.5, 42.0, size)
    price = 1e5 * income * (1.0 + 0.5 * np.sin(latitude)) + 2e3 * np.abs(age - 25.0) + 1e4 * generator.normal(size=size)
    raw = np.column_stack([income, age, people, latitude])
    A, B, a, b = train_test_split(raw, price, random_state=0)
    linear = GDRegressor(random_state=0).fit(A, a)
    assert linear.score(B, b) < 0.7
    for seed in range(2):
        model = GDRegressor(hidden_layer_sizes=(32, 32), random_state=seed).fit(A, a)
        assert model.score(B, b) > 0.95


def test_the_penalty_leaves_neurons_at_rest_alone():
    """A neuron without a gradient has no step of its own; 1 / epsilon of Adam is not one to shrink it by."""
    A, a = load_digits(return_X_y=True)
    settings = {"optimizer": "adam", "learning_rate": 1e-3, "batch_size": 1, "average": False, "precondition": False}
    free, penalized = (
        GDClassifier(hidden_layer_sizes=(100,), alpha=alpha, random_state=0, **settings)
        .partial_fit(A[:1], a[:1], classes=range(10))
        .coefs_[0]
        for alpha in (0.0, 1e-4)
    )
    assert_allclose(penalized[A[0] == 0.0], free[A[0] == 0.0], rtol=1e-6)
