"""Activations against numerical derivatives and torch, in both precisions, and far from zero."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from torch.nn import functional

from skgd import GDClassifier, GDRegressor
from skgd.activations import ACTIVATIONS, ELU, Activation, LeakyReLU

TORCH = {
    "Identity": lambda z: z,
    "ReLU": functional.relu,
    "LeakyReLU": functional.leaky_relu,
    "ELU": functional.elu,
    "Tanh": functional.tanh,
    "Logistic": functional.sigmoid,
    "SiLU": functional.silu,
    "GELU": functional.gelu,
}
EVERY = [
    *(kind() for kind in ACTIVATIONS.values()),
    *(LeakyReLU(slope) for slope in (0.0, 0.3, 1.0)),
    *(ELU(alpha) for alpha in (0.1, 3.0)),
]
every_activation = pytest.mark.parametrize("activation", EVERY, ids=repr)
FAR = np.array([-1e3, -40.0, -1.0, 0.0, 1.0, 40.0, 1e3])


def value_and_derivative(activation, z):
    hyper = activation.hyper()
    a = activation.value(z, hyper)
    return a, activation.derivative(z, a, hyper)


def by_torch(activation, z):
    """Return value and derivative by torch and its automatic differentiation, of the same hyperparameters."""
    z = torch.tensor(z, requires_grad=True)
    value = TORCH[type(activation).__name__](z, *activation.hyper())
    (derivative,) = torch.autograd.grad(value.sum(), z)
    return value.detach().numpy(), derivative.numpy()


@every_activation
@settings(max_examples=100, deadline=None)
@given(z=st.floats(-8.0, 8.0))
def test_derivative_is_the_slope_of_the_value(activation, z):
    h = 1e-5
    if abs(z) < 2 * h:  # the kink of rectifiers
        return
    lower, upper = (activation.value(np.array([z + shift]), activation.hyper()) for shift in (-h, h))
    assert_allclose(value_and_derivative(activation, np.array([z]))[1], (upper - lower) / (2 * h), rtol=1e-6, atol=1e-8)


@every_activation
def test_equals_torch(activation):
    for z in (np.linspace(-12.0, 12.0, 1000), FAR):
        for ours, theirs in zip(value_and_derivative(activation, z), by_torch(activation, z), strict=True):
            assert_allclose(ours, theirs, rtol=1e-12, atol=1e-14)


@every_activation
def test_is_finite_far_from_zero(activation):
    with np.errstate(all="raise", under="ignore"):
        for part in value_and_derivative(activation, FAR):
            assert np.isfinite(part).all()
        for part in value_and_derivative(activation, FAR.astype(np.float32)):
            assert np.isfinite(part).all()


@every_activation
def test_float32_stays_float32(activation):
    z = np.linspace(-5.0, 5.0, 31, dtype=np.float32)
    value, derivative = value_and_derivative(activation, z)
    assert value.dtype == np.float32
    assert (z * derivative).dtype == np.float32  # as backpropagation multiplies; a rectifier's derivative is a bool
    assert derivative.dtype in (np.float32, np.bool_)
    for single, double in zip((value, derivative), value_and_derivative(activation, z.astype(float)), strict=True):
        assert_allclose(single, double, rtol=1e-5, atol=1e-6)


@every_activation
def test_numbers_and_arrays_alike(activation):
    z = np.linspace(-3.0, 3.0, 13)
    values, derivatives = value_and_derivative(activation, z)
    for number, value, derivative in zip(z.tolist(), values, derivatives, strict=True):
        assert_allclose(value_and_derivative(activation, number), (value, derivative), rtol=1e-15)
    for part, table in zip((values, derivatives), value_and_derivative(activation, z[:12].reshape(3, 4)), strict=True):
        assert_allclose(table, part[:12].reshape(3, 4), rtol=1e-15)


@every_activation
def test_what_it_is_given_stays_as_it_is(activation):
    z = np.linspace(-3.0, 3.0, 13)
    z.flags.writeable = False
    a = np.array(activation.value(z, activation.hyper()))
    a.flags.writeable = False
    activation.derivative(z, a, activation.hyper())


@pytest.mark.parametrize("estimator", [GDClassifier, GDRegressor])
@pytest.mark.parametrize("value", [-0.5, np.nan, np.inf, "x", None, True], ids=repr)
@pytest.mark.parametrize(("activation", "name"), [(LeakyReLU, "slope"), (ELU, "alpha")])
def test_bad_hyper_parameters_are_named(activation, name, value, estimator):
    model = estimator(hidden_layer_sizes=(3,), activation=activation(**{name: value}))
    error = ValueError if isinstance(value, float) else TypeError
    with pytest.raises(error, match=rf"{activation.__name__}\({name}\).*{value!r}"):
        model.fit([[0.0], [1.0]], [0, 1])


@pytest.mark.parametrize("activation", [LeakyReLU(1.5), ELU(0.0), ELU(0)], ids=repr)
def test_numbers_outside_of_the_range(activation):
    with pytest.raises(ValueError, match=type(activation).__name__):
        activation.check()


@pytest.mark.parametrize("activation", [LeakyReLU(0), LeakyReLU(1), LeakyReLU(np.float32(0.5)), ELU(2)], ids=repr)
def test_numbers_at_the_ends_of_the_range(activation):
    activation.check()


def test_an_unfinished_one_says_so():
    with pytest.raises(NotImplementedError):
        Activation.value(0.0, ())
    with pytest.raises(NotImplementedError):
        Activation.derivative(0.0, 0.0, ())
