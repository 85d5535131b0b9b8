"""Networks that start at the linear model, and the number of epochs that cross-validation chooses."""

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris, load_wine, make_friedman1, make_moons
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import log_loss
from sklearn.model_selection import KFold, StratifiedKFold

from skgd import GDClassifier, GDRegressor
from skgd.activations import ACTIVATIONS
from skgd.cross_validation import _folds
from skgd.networks import at_linear_model, forward, initial_layers, is_linear_in_pairs, represents_linear_model

RNG = np.random.RandomState


LINEAR_IN_PAIRS = {"identity", "relu", "leaky_relu", "silu", "gelu"}
NEARLY_LINEAR_IN_PAIRS = {"tanh"}


@pytest.mark.parametrize("hidden", [(6,), (9,), (8, 6), (7, 7, 7)])
@pytest.mark.parametrize("name", sorted(LINEAR_IN_PAIRS))
def test_network_predicts_what_the_linear_model_does(name, hidden):
    activation = ACTIVATIONS[name]()
    coef, intercept = RNG(0).standard_normal((4, 3)), RNG(1).standard_normal(3)
    X = RNG(3).standard_normal((50, 4)) * 100.0
    layers = at_linear_model(initial_layers((4, *hidden, 3), activation, RNG(2)), (coef, intercept), activation, X)
    *_, prediction = forward(layers, X, activation)
    assert_allclose(prediction, X @ coef + intercept, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("hidden", [(6,), (9,), (8, 6), (7, 7, 7)])
@pytest.mark.parametrize("name", sorted(NEARLY_LINEAR_IN_PAIRS))
def test_network_predicts_nearly_what_the_linear_model_does(name, hidden):
    activation = ACTIVATIONS[name]()
    coef, intercept = RNG(0).standard_normal((4, 3)), RNG(1).standard_normal(3)
    X = RNG(3).standard_normal((500, 4))
    layers = at_linear_model(initial_layers((4, *hidden, 3), activation, RNG(2)), (coef, intercept), activation, X)
    *_, prediction = forward(layers, X, activation)
    expected = X @ coef + intercept
    assert np.square(prediction - expected).mean() < 3e-3 * expected.var()
    assert_allclose(forward(layers, 1e-3 * X, activation)[-1], 1e-3 * X @ coef + intercept, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_only_pairs_that_are_linear_or_nearly_so_represent_the_linear_model(name):
    activation = ACTIVATIONS[name]()
    layers = initial_layers((4, 6, 3), activation, RNG(0))
    assert represents_linear_model(layers, activation) == (name in LINEAR_IN_PAIRS | NEARLY_LINEAR_IN_PAIRS)
    assert is_linear_in_pairs(activation) == (name in LINEAR_IN_PAIRS)


@pytest.mark.parametrize("name", sorted(set(ACTIVATIONS) - {"identity"}))
def test_every_activation_learns_a_sine(name):
    X = RNG(0).uniform(-3.0, 3.0, (300, 1))
    y = np.sin(2.0 * X[:, 0]) + 0.1 * RNG(1).standard_normal(300)
    model = GDRegressor(hidden_layer_sizes=(50,), activation=name, random_state=0).fit(X, y)
    assert model.score(X, y) > 0.7


def test_linear_model_needs_two_neurons_per_output_and_an_activation_that_is_not_even():
    relu = ACTIVATIONS["relu"]()
    assert represents_linear_model(initial_layers((4, 6, 3), relu, RNG(0)), relu)
    assert not represents_linear_model(initial_layers((4, 8, 5, 3), relu, RNG(0)), relu)

    class Square(type(relu)):
        @staticmethod
        def value(z, hyper):
            return z * z

    assert not represents_linear_model(initial_layers((4, 6, 3), relu, RNG(0)), Square())


def test_outputs_with_zero_coefficients_leave_their_neurons_random():
    relu = ACTIVATIONS["relu"]()
    random = initial_layers((2, 8, 3), relu, RNG(0))
    coef = np.array([[1.0, 0.0, -2.0], [3.0, 0.0, 0.5]])
    layers = at_linear_model(random, (coef, np.zeros(3)), relu, np.eye(2))
    assert_array_equal(layers[0][0][:, 4:], random[0][0][:, 4:])
    *_, prediction = forward(layers, np.eye(2), relu)
    assert_allclose(prediction, coef, atol=1e-12)


@pytest.mark.parametrize("n_features", [10, 200])
def test_networks_nearly_start_at_the_linear_model_of_correlated_features(n_features):
    """Neurons receive sums of features: with one factor behind all, they are large, though coefficients are small."""
    rng = np.random.default_rng(0)
    factor = rng.normal(size=1200)
    X = factor[:, np.newaxis] + 0.1 * rng.normal(size=(1200, n_features))
    y = factor + 0.05 * rng.normal(size=1200)
    linear = GDRegressor(random_state=0).fit(X[:400], y[:400]).score(X[400:], y[400:])
    network = GDRegressor(hidden_layer_sizes=(20,), activation="tanh", random_state=0).fit(X[:400], y[:400])
    assert network.score(X[400:], y[400:]) >= linear - 0.005


def losses_of(model, X, y):
    """Return the cross-validated log loss, or the mean squared error over the variance."""
    classes = isinstance(model, GDClassifier)
    splitter = StratifiedKFold if classes else KFold
    losses = []
    for train, test in splitter(3, shuffle=True, random_state=0).split(X, y):
        model.fit(X[train], y[train])
        if classes:
            losses.append(log_loss(y[test], model.predict_proba(X[test])))
        else:
            losses.append(np.mean((y[test] - model.predict(X[test])) ** 2) / y[test].var())
    return np.mean(losses)


@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("load", [load_breast_cancer, load_diabetes, load_iris, load_wine])
def test_networks_are_not_worse_than_the_linear_model_on_small_tables(load, activation):
    X, y = load(return_X_y=True)
    make = GDRegressor if load is load_diabetes else GDClassifier
    linear = losses_of(make(random_state=0), X, y)
    network = make(hidden_layer_sizes=(100,), activation=activation, random_state=0)
    assert losses_of(network, X, y) <= linear + 0.02


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_networks_do_not_memorize_noise(activation):
    X = RNG(0).standard_normal((1200, 10))
    y = X[:, 0] + 3.0 * RNG(1).standard_normal(1200)
    rows, others = slice(0, 200), slice(200, None)
    linear = GDRegressor(random_state=0).fit(X[rows], y[rows]).score(X[others], y[others])
    network = GDRegressor(hidden_layer_sizes=(100,), activation=activation, random_state=0).fit(X[rows], y[rows])
    assert network.score(X[others], y[others]) > linear - 0.05


@pytest.mark.parametrize(("n_samples", "n_features"), [(60, 500), (300, 1000), (400, 400), (1500, 300)])
def test_networks_are_not_worse_than_the_linear_model_with_fewer_than_20_samples_per_feature(n_samples, n_features):
    X = RNG(0).standard_normal((n_samples + 1000, n_features))
    y = X[:, :5] @ [1.0, -1.0, 0.5, 0.5, 2.0] + X[:, 5] * X[:, 6] + RNG(1).logistic(size=len(X)) > 0.0
    loss = {
        hidden: log_loss(y[n_samples:], model.predict_proba(X[n_samples:]))
        for hidden in ((), (64,))
        for model in [GDClassifier(hidden_layer_sizes=hidden, random_state=0).fit(X[:n_samples], y[:n_samples])]
    }
    assert loss[64,] <= loss[()] + 0.01


def test_nonlinear_functions_are_learned():
    X, y = make_moons(400, noise=0.2, random_state=0)
    network = losses_of(GDClassifier(hidden_layer_sizes=(50,), random_state=0), X, y)
    assert network < 0.6 * losses_of(GDClassifier(random_state=0), X, y)
    X, y = make_friedman1(600, noise=1.0, random_state=0)
    linear = losses_of(GDRegressor(random_state=0), X, y)
    for parameters in ({"hidden_layer_sizes": (50, 20)}, {"hidden_layer_sizes": (100,), "activation": "tanh"}):
        assert losses_of(GDRegressor(**parameters, random_state=0), X, y) < 0.6 * linear


def linear_data(n_samples=500, n_features=3):
    X = RNG(0).standard_normal((n_samples, n_features))
    return X, X @ np.arange(1.0, n_features + 1.0) + RNG(1).standard_normal(n_samples)


def test_network_of_a_linear_function_is_the_linear_model():
    X, y = linear_data()
    network, linear = GDRegressor(hidden_layer_sizes=(20,), random_state=0), GDRegressor(random_state=0)
    assert_allclose(network.fit(X, y).predict(X), linear.fit(X, y).predict(X), rtol=1e-6, atol=1e-6)
    assert network.stop_reason_ == "cross-validation"
    assert network.converged_
    assert network.n_iter_ == network.t_ == len(network.history_["objective"]) == 1
    assert_allclose(network.history_["loss"][0], np.mean((y - linear.predict(X)) ** 2) / 2, rtol=1e-6)


def test_network_that_is_the_linear_model_learns_on_in_a_stream():
    X, y = linear_data()
    network = GDRegressor(hidden_layer_sizes=(20,), random_state=0).fit(X, y)
    before = network.score(X, y)
    for start in range(0, 400, 8):
        network.partial_fit(X[start : start + 8], y[start : start + 8])
    assert network.score(X, y) > before - 0.02
    assert network.t_ == 51


def curved_data(n_samples=300):
    X = RNG(0).uniform(-2.0, 2.0, (n_samples, 2))
    return X, np.abs(X[:, 0]) * X[:, 1] + 0.1 * RNG(1).standard_normal(n_samples)


@pytest.mark.parametrize("n_samples", [40, 300])
def test_units_do_not_matter(n_samples):
    X, y = curved_data(n_samples)
    one, other = (GDRegressor(hidden_layer_sizes=(20,), random_state=0) for _ in range(2))
    one.fit(X, y)
    other.fit(X * [1024.0, 2.0**-10], 512.0 * y)
    assert one.n_iter_ == other.n_iter_ > 1
    assert_allclose(512.0 * one.predict(X), other.predict(X * [1024.0, 2.0**-10]), rtol=1e-6, atol=1e-6)


def test_weights_are_copies_on_few_samples():
    X, y = curved_data(40)
    weight = RNG(2).randint(0, 3, 40)
    copies = RNG(3).permutation(np.repeat(np.arange(40), weight))
    weighted = GDRegressor(hidden_layer_sizes=(20,), random_state=0).fit(X, y, sample_weight=weight)
    repeated = GDRegressor(hidden_layer_sizes=(20,), random_state=0).fit(X[copies], y[copies])
    assert weighted.n_iter_ == repeated.n_iter_
    assert_allclose(weighted.predict(X), repeated.predict(X), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("n_samples", [50, 500, 3000])
def test_copies_are_in_the_same_fold(sparse, n_samples):
    X = RNG(0).randint(0, 3, (n_samples // 2, 6)).astype(float)
    X = np.concatenate([X, X])
    y = RNG(1).randint(0, 2, n_samples)
    left_out = np.array(_folds(sp.csr_array(X) if sparse else X, y, RNG(0)))
    same = np.unique(X, axis=0, return_inverse=True)[1].ravel()
    for group in range(same.max() + 1):
        folds = left_out[:, same == group]
        assert_array_equal(folds, np.repeat(folds[:, :1], folds.shape[1], axis=1))
    assert (left_out.sum(axis=0) <= 1).all()


def test_rare_classes_are_in_each_fold():
    X, y = RNG(0).standard_normal((200, 3)), np.arange(200) < 10
    left_out = _folds(X, y.astype(int), RNG(0))
    assert [y[rows].sum() for rows in left_out] == [2] * 5


def moons(n_samples):
    return make_moons(n_samples, noise=0.3, random_state=0)


def test_the_unit_of_weights_does_not_matter():
    X, y = moons(600)
    weight = RNG(0).uniform(0.5, 2.0, 600)
    network = GDClassifier(hidden_layer_sizes=(20,), random_state=0)
    expected = network.fit(X, y, weight)
    n_iter, probability = expected.n_iter_, expected.predict_proba(X)
    assert n_iter > 1
    for unit in (1e-4, 1e4):
        assert network.fit(X, y, unit * weight).n_iter_ == n_iter
        assert_allclose(network.predict_proba(X), probability, atol=1e-6)
    for of_class in (1.0, 1e-3, 1e3):
        network.set_params(class_weight={0: of_class, 1: 2.0 * of_class}).fit(X, y)
        assert network.n_iter_ > 1


def test_balanced_classes_that_a_fold_lacks_count_as_in_all_samples():
    X = RNG(0).standard_normal((200, 3))
    y = (np.arange(200) == 7).astype(int)
    weights = {"balanced": "balanced", "numbers": {0: 200 / (2 * 199), 1: 100.0}}
    epochs = {
        name: GDClassifier(hidden_layer_sizes=(20,), class_weight=weight, random_state=0).fit(X, y).n_iter_
        for name, weight in weights.items()
    }
    assert epochs["balanced"] == epochs["numbers"]


def test_more_epochs_after_a_checkpoint_that_had_too_few(tmp_path):
    from skgd.callbacks import Checkpoint

    X, y = moons(300)
    network = GDClassifier(hidden_layer_sizes=(20,), max_iter=5, random_state=0)
    path = tmp_path / "network"
    with pytest.warns(ConvergenceWarning, match="max_iter=5"):
        network.set_callbacks(Checkpoint(path)).fit(X, y)
    assert network.n_iter_ == 5
    model = Checkpoint.load(path).set_params(max_iter=1000).fit(X, y)
    assert model.n_iter_ > 5
    assert model.converged_


def test_another_tolerance_after_a_checkpoint_ends_by_its_own_criterion(tmp_path):
    from skgd.callbacks import Checkpoint

    X, y = moons(300)
    network = GDClassifier(hidden_layer_sizes=(20,), random_state=0)
    chosen = network.set_callbacks(Checkpoint(tmp_path / "network")).fit(X, y)
    assert chosen.stop_reason_ == "cross-validation"
    model = Checkpoint.load(tmp_path / "network").set_params(tol=None, max_iter=chosen.n_iter_ + 7).fit(X, y)
    assert model.n_iter_ == chosen.n_iter_ + 7


def test_an_interrupt_while_epochs_are_chosen_keeps_the_linear_model(monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    X, y = moons(300)
    linear = GDClassifier(random_state=0).fit(X, y)
    monkeypatch.setattr("skgd.training.chosen_epochs", interrupt)
    with pytest.warns(UserWarning, match="interrupted in epoch 0"):
        network = GDClassifier(hidden_layer_sizes=(20,), random_state=0).fit(X, y)
    assert network.stop_reason_ == "interrupted"
    assert_allclose(network.predict_proba(X), linear.predict_proba(X), atol=1e-9)


def test_too_few_epochs_are_told():
    X, y = curved_data()
    network = GDRegressor(hidden_layer_sizes=(20,), max_iter=3, random_state=0)
    with pytest.warns(ConvergenceWarning, match="max_iter=3 epochs, before the objective converged"):
        network.fit(X, y)
    assert network.stop_reason_ == "max_iter"


def test_a_validation_set_keeps_the_linear_model_if_that_is_best():
    X, y = linear_data(200)
    network = GDRegressor(hidden_layer_sizes=(50,), random_state=0).fit(X[:100], y[:100], X_val=X[100:], y_val=y[100:])
    linear = GDRegressor(random_state=0).fit(X[:100], y[:100])
    assert network.score(X[100:], y[100:]) >= linear.score(X[100:], y[100:]) - 1e-9


@pytest.mark.parametrize("loss", ["log_loss", "hinge", "squared_hinge"])
def test_losses_of_classes_and_sparse_samples(loss):
    X, y = make_moons(300, noise=0.2, random_state=0)
    network = GDClassifier(loss=loss, hidden_layer_sizes=(30,), random_state=0)
    dense = network.fit(X, y).score(X, y)
    assert network.stop_reason_ == "cross-validation"
    assert dense > 0.94
    assert network.fit(sp.csr_array(X), y).score(X, y) > 0.94


def test_a_class_that_one_fold_has_not_seen():
    X, y = RNG(0).standard_normal((100, 3)), np.arange(100) % 2
    X[7], y[7] = 5.0, 2
    network = GDClassifier(hidden_layer_sizes=(20,), random_state=0).fit(X, y)
    assert np.isfinite(network.predict_proba(X)).all()
