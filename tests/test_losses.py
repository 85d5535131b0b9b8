"""Losses against numerical derivatives, scikit-learn's metrics and torch, and the whole objective (data term, penalty,
coordinates) against finite differences and scalar minimization.
"""

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import minimize_scalar
from scipy.special import expit, log_softmax, softmax
from sklearn import metrics

from skgd import GDClassifier, GDRegressor
from skgd.coordinates import Coordinates
from skgd.losses import (
    CLASSIFIER_LOSSES,
    REGRESSOR_LOSSES,
    AbsoluteError,
    EpsilonInsensitive,
    Gamma,
    Hinge,
    Huber,
    LogLoss,
    Loss,
    ModifiedHuber,
    Perceptron,
    Poisson,
    Quantile,
    SoftmaxLoss,
    SquaredEpsilonInsensitive,
    SquaredError,
    SquaredHinge,
    Tweedie,
)
from skgd.objective import Objective

CLASSIFIERS = [kind() for kind in CLASSIFIER_LOSSES.values()]
REGRESSORS = [
    *(kind() for kind in REGRESSOR_LOSSES.values()),
    Quantile(0.1),
    Huber(0.5),
    EpsilonInsensitive(0),
    *(Tweedie(power) for power in (1.0, 1.9, 2.0, 3.0)),
]
LOSSES = CLASSIFIERS + REGRESSORS
SMOOTH = [SquaredError(), Huber(), Huber(0.5), SquaredEpsilonInsensitive(), SquaredHinge(), ModifiedHuber(), LogLoss()]

every_loss = pytest.mark.parametrize("loss", LOSSES, ids=repr)
every_convex_loss = pytest.mark.parametrize(  # with a log link, the Tweedie deviance is not convex beyond the gamma one
    "loss", [loss for loss in LOSSES if not (isinstance(loss, Tweedie) and loss.power > 2.0)], ids=repr
)
every_regressor = pytest.mark.parametrize("loss", REGRESSORS, ids=repr)
many = settings(max_examples=25, deadline=None)


def value(loss, y, raw):
    return loss.value(y, raw, loss.hyper())


def gradient(loss, y, raw):
    return loss.gradient(y, raw, loss.hyper())


def positive_only(loss):
    return loss.log_link and loss.hyper()[0] >= 2.0


def targets(loss, shape):
    """Strategy for targets for which the loss is defined."""
    if loss in CLASSIFIERS:
        return arrays(np.float64, shape, elements=st.sampled_from(loss.label_values))
    if not loss.log_link:
        return arrays(np.float64, shape, elements=st.floats(-5.0, 5.0))
    # Means below exp(-60) lie where the exponential is continued by its tangent.
    positive = st.floats(0.01 if positive_only(loss) else 1e-20, 20.0)
    return arrays(np.float64, shape, elements=positive if positive_only(loss) else st.just(0.0) | positive)


def raws(shape, size=5.0):
    return arrays(np.float64, shape, elements=st.floats(-size, size))


def distance_to_kinks(loss, y, raw):
    """How far ``raw`` is from the nearest point at which the loss has no first or no second derivative."""
    if loss.log_link:
        return np.full(np.shape(raw), np.inf)
    width = loss.hyper()[0] if loss.hyper() else 0.0
    kinks = (-1.0, 0.0, 1.0) if loss in CLASSIFIERS else (y, y - width, y + width)
    return np.min([np.abs(raw - kink) for kink in kinks], axis=0)


def derivative(function, x, h):
    """Five-point central difference, exact for polynomials of degree four."""
    return (8.0 * (function(x + h) - function(x - h)) - (function(x + 2 * h) - function(x - 2 * h))) / (12.0 * h)


def gradient_by_differences(function, theta, h=1e-5):
    return np.array([derivative(lambda s, e=e: function(theta + s * e), 0.0, h) for e in np.eye(len(theta))])


# ---------------------------------------------------------------------------------------------------------------------
# Value and gradient of a single prediction
# ---------------------------------------------------------------------------------------------------------------------


@every_loss
@many
@given(data=st.data())
def test_gradient_is_the_finite_difference_of_the_value(loss, data):
    y, raw, h = data.draw(targets(loss, 20)), data.draw(raws(20)), 1e-3
    smooth = distance_to_kinks(loss, y, raw) > 3 * h
    y, raw = y[smooth], raw[smooth]
    assert_allclose(gradient(loss, y, raw), derivative(lambda f: value(loss, y, f), raw, h), rtol=1e-8, atol=1e-8)


@every_convex_loss
@many
@given(data=st.data())
def test_gradient_is_a_subgradient_everywhere(loss, data):
    """``g(a) (b - a) <= v(b) - v(a)`` for all a and b, kinks too: the value is convex, and g nothing but its slope."""
    y, a, b = data.draw(targets(loss, 20)), data.draw(raws(20, 100.0)), data.draw(raws(20, 100.0))
    rise, tangent = value(loss, y, b) - value(loss, y, a), gradient(loss, y, a) * (b - a)
    slack = 1e-12 * (1.0 + np.abs(value(loss, y, b)) + np.abs(value(loss, y, a)) + np.abs(tangent))
    assert np.all(tangent <= rise + slack)


@every_convex_loss
@many
@given(data=st.data())
def test_gradient_does_not_decrease_with_the_prediction(loss, data):
    y, raw = data.draw(targets(loss, 1)), np.sort(data.draw(raws(50, 1e3)))
    gradients = gradient(loss, y, raw)
    assert np.all(np.diff(gradients) >= -1e-14 * np.abs(gradients[1:]))


@every_loss
@many
@given(data=st.data())
def test_value_is_never_negative(loss, data):
    assert np.all(value(loss, data.draw(targets(loss, 20)), data.draw(raws(20, 100.0))) >= -1e-12)


@every_regressor
@many
@given(data=st.data())
def test_value_is_zero_where_the_prediction_is_the_target(loss, data):
    y = data.draw(targets(loss, 20))
    y = np.maximum(y, 1e-3) if loss.log_link else y
    raw = np.log(y) if loss.log_link else y
    assert_allclose(value(loss, y, raw), 0.0, atol=1e-12)
    assert_allclose(gradient(loss, y, raw), 0.0, atol=1e-12)


@every_loss
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("target", [0.01, 1.0, 100.0])
def test_finite_for_absurd_predictions(loss, dtype, target):
    y = np.array(loss.label_values if loss in CLASSIFIERS else (target, target), dtype=dtype)[:, np.newaxis]
    raw = np.array([-1e3, 1e3], dtype=dtype)
    for numbers in (value(loss, y, raw), gradient(loss, y, raw)):
        assert np.all(np.isfinite(numbers))
        assert numbers.dtype == dtype
    if dtype is np.float64:
        expected = derivative(lambda f: value(loss, y, f), raw, 1.0)
        assert_allclose(gradient(loss, y, raw) + np.zeros_like(expected), expected, rtol=1e-9, atol=1e-9)


@every_loss
@many
@given(data=st.data())
def test_arrays_are_scalars_element_by_element(loss, data):
    y, raw = data.draw(targets(loss, (4, 3))), data.draw(raws((4, 3)))
    for function in (value, gradient):
        one_by_one = [function(loss, float(a), float(b)) for a, b in zip(y.flat, raw.flat, strict=True)]
        # Powers of arrays and of scalars differ in the last bit, and a deviance is a difference of numbers near 100.
        assert_allclose(function(loss, y, raw).ravel(), one_by_one, rtol=1e-13, atol=1e-13 if loss.log_link else 1e-15)


@pytest.mark.parametrize("loss", SMOOTH, ids=repr)
def test_curvature_is_the_largest_second_derivative(loss):
    y = np.array(loss.label_values)[:, np.newaxis]
    raw, h = np.linspace(-6.0, 6.0, 2401), 1e-4
    second = (gradient(loss, y, raw + h) - gradient(loss, y, raw - h)) / (2.0 * h)
    assert_allclose(second.max(), loss.curvature, rtol=1e-6)


@many
@given(raw=raws(4, 20.0))
def test_curvature_bounds_the_softmax_hessian(raw):
    def row_gradient(f):
        return SoftmaxLoss.gradient(np.eye(4)[0], log_softmax(f), ())

    hessian = np.array([derivative(lambda s, e=e: row_gradient(raw + s * e), 0.0, 1e-3) for e in np.eye(4)])
    assert np.linalg.eigvalsh(hessian).max() <= SoftmaxLoss.curvature + 1e-9


@many
@given(data=st.data(), factor=st.floats(0.01, 100.0))
@pytest.mark.parametrize("loss", [SquaredError(), AbsoluteError(), Quantile(0.1)], ids=repr)
def test_degree_of_losses_of_the_residual(loss, data, factor):
    y, raw = data.draw(targets(loss, 20)), data.draw(raws(20))
    scaled = value(loss, factor * y, factor * raw)
    assert_allclose(scaled, factor**loss.degree * value(loss, y, raw), rtol=1e-12, atol=1e-12)


@many
@given(data=st.data(), factor=st.floats(0.01, 100.0))
@pytest.mark.parametrize("loss", [loss for loss in REGRESSORS if loss.log_link], ids=repr)
def test_degree_of_log_linked_losses(loss, data, factor):
    y, raw = np.maximum(data.draw(targets(loss, 20)), 1e-3), data.draw(raws(20))
    scaled = value(loss, factor * y, raw + np.log(factor))
    expected = factor**loss.degree * value(loss, y, raw)
    assert_allclose(scaled, expected, rtol=1e-10, atol=1e-11 * factor**loss.degree)


# ---------------------------------------------------------------------------------------------------------------------
# Values known from elsewhere
# ---------------------------------------------------------------------------------------------------------------------


def _tweedie_deviance(power):
    return lambda y, raw: metrics.mean_tweedie_deviance(y, np.exp(raw), power=power) / 2


def _torch(function, **options):
    return lambda y, raw: function(torch.tensor(raw), torch.tensor(y), **options).item()


def _hinge(y, raw):
    return metrics.hinge_loss(y, raw, labels=[-1.0, 1.0])


def _tube(epsilon, power):
    return lambda y, raw: np.mean(
        ((raw > y + epsilon) * (raw - y - epsilon) + (raw < y - epsilon) * (y - epsilon - raw)) ** power
    )


INDEPENDENT = [
    (SquaredError(), lambda y, raw: metrics.mean_squared_error(y, raw) / 2),
    (AbsoluteError(), metrics.mean_absolute_error),
    (Quantile(), lambda y, raw: metrics.mean_pinball_loss(y, raw, alpha=0.5)),
    (Quantile(0.1), lambda y, raw: metrics.mean_pinball_loss(y, raw, alpha=0.1)),
    (Huber(), _torch(torch.nn.functional.huber_loss, delta=1.35)),
    (Huber(0.5), _torch(torch.nn.functional.huber_loss, delta=0.5)),
    (EpsilonInsensitive(), _tube(0.1, 1)),
    (EpsilonInsensitive(0), metrics.mean_absolute_error),
    (SquaredEpsilonInsensitive(), _tube(0.1, 2)),
    (SquaredEpsilonInsensitive(1.0), _tube(1.0, 2)),
    (Poisson(), lambda y, raw: metrics.mean_poisson_deviance(y, np.exp(raw)) / 2),
    (Gamma(), lambda y, raw: metrics.mean_gamma_deviance(y, np.exp(raw)) / 2),
    *((Tweedie(power), _tweedie_deviance(power)) for power in (1.0, 1.2, 1.5, 1.9, 2.0, 2.5, 3.0)),
    (LogLoss(), lambda y, raw: metrics.log_loss(y, expit(raw), labels=[0.0, 1.0])),
    (LogLoss(), _torch(torch.nn.functional.binary_cross_entropy_with_logits)),
    (Hinge(), _hinge),
    (Perceptron(), lambda y, raw: np.mean(np.where(np.sign(raw) == y, 0.0, np.abs(raw)))),
    (SquaredHinge(), lambda y, raw: np.mean((y * raw < 1) * (1 - y * raw) ** 2)),
    (ModifiedHuber(), lambda y, raw: np.mean(np.where(y * raw < -1, -4 * y * raw, (y * raw < 1) * (1 - y * raw) ** 2))),
]


@pytest.mark.parametrize(("loss", "expected"), INDEPENDENT, ids=lambda value: "" if callable(value) else repr(value))
def test_mean_value_equals_the_independent_one(loss, expected):
    rng = np.random.default_rng(0)
    raw = rng.uniform(-3.0, 3.0, 200)
    if type(loss) in CLASSIFIER_LOSSES.values():
        y = rng.choice(loss.label_values, 200)
    elif loss.log_link:  # zeros, where they are allowed: they are what Poisson and Tweedie are for
        y = rng.gamma(2.0, size=200) * (1.0 if positive_only(loss) else rng.random(200) < 0.7)
    else:
        y = rng.uniform(-3.0, 3.0, 200)
    assert_allclose(value(loss, y, raw).mean(), expected(y, raw), rtol=1e-12)


def test_every_loss_has_an_independent_value():
    compared = {type(loss) for loss, _ in INDEPENDENT}
    assert compared == {*CLASSIFIER_LOSSES.values(), *REGRESSOR_LOSSES.values()}


def test_softmax_equals_the_independent_cross_entropies():
    rng = np.random.default_rng(0)
    raw, y = 3.0 * rng.standard_normal((50, 4)), rng.integers(4, size=50)
    ours = SoftmaxLoss.value(np.eye(4)[y], log_softmax(raw, axis=1), ()).sum(axis=1).mean()
    assert_allclose(ours, metrics.log_loss(y, softmax(raw, axis=1), labels=range(4)), rtol=1e-12)
    logits = torch.tensor(raw, requires_grad=True)
    cross_entropy = torch.nn.functional.cross_entropy(logits, torch.tensor(y), reduction="sum")
    cross_entropy.backward()
    assert_allclose(50 * ours, cross_entropy.item(), rtol=1e-12)
    assert_allclose(SoftmaxLoss.gradient(np.eye(4)[y], log_softmax(raw, axis=1), ()), logits.grad.numpy(), atol=1e-14)


# ---------------------------------------------------------------------------------------------------------------------
# Errors
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("loss", "lowest", "message"),
    [
        ("poisson", -1.0, "-1.*Poisson.*zero or positive"),
        ("gamma", 0.0, "0.*Gamma.*positive"),
        ("tweedie", -0.5, "-0.5.*Tweedie.*zero or positive"),
        (Tweedie(power=2.0), 0.0, "0.*Tweedie.*positive"),
        (Tweedie(power=3.0), -2.0, "-2.*Tweedie.*positive"),
    ],
    ids=repr,
)
def test_targets_outside_the_range_are_refused(loss, lowest, message):
    y = np.array([1.0, 2.0, lowest, 3.0])
    X = np.arange(4.0)[:, np.newaxis]
    with pytest.raises(ValueError, match=message):
        GDRegressor(loss=loss).fit(X, y)
    with pytest.raises(ValueError, match=message):
        GDRegressor(loss=loss).partial_fit(X, y)
    with pytest.raises(ValueError, match=message):
        GDRegressor(loss=loss).fit(X, np.abs(y) + 1.0, X_val=X, y_val=y)


@pytest.mark.parametrize("loss", ["poisson", Tweedie(power=1.9)], ids=repr)
def test_zero_targets_are_allowed_below_power_two(loss):
    X = np.arange(8.0)[:, np.newaxis]
    assert np.all(GDRegressor(loss=loss).fit(X, np.arange(8.0)).predict(X) > 0.0)


@pytest.mark.parametrize(
    ("kind", "name", "bad"),
    [
        *((Quantile, "quantile", bad) for bad in (0.0, 1.0, -0.1, 2.0, np.nan)),
        *((Huber, "epsilon", bad) for bad in (0.0, -1.0, np.nan)),
        *((EpsilonInsensitive, "epsilon", bad) for bad in (-0.1, np.nan)),
        *((SquaredEpsilonInsensitive, "epsilon", bad) for bad in (-0.1, np.nan)),
        *((Tweedie, "power", bad) for bad in (0.5, -1.0, np.nan, np.inf)),
    ],
)
def test_hyper_parameters_out_of_range_are_named(kind, name, bad):
    with pytest.raises(ValueError, match=name):
        GDRegressor(loss=kind(**{name: bad})).fit([[0.0], [1.0]], [1.0, 2.0])


@pytest.mark.parametrize("bad", ["0.5", None, True, (0.5,)], ids=repr)
@pytest.mark.parametrize(
    ("kind", "name"), [(Quantile, "quantile"), (Huber, "epsilon"), (EpsilonInsensitive, "epsilon"), (Tweedie, "power")]
)
def test_hyper_parameters_of_the_wrong_type_are_named(kind, name, bad):
    with pytest.raises(TypeError, match=name):
        GDRegressor(loss=kind(**{name: bad})).fit([[0.0], [1.0]], [1.0, 2.0])


@pytest.mark.parametrize(("estimator", "other"), [(GDRegressor, "hinge"), (GDClassifier, "poisson")])
def test_the_other_estimators_losses_are_refused(estimator, other):
    with pytest.raises(ValueError, match=f"loss='{other}' is not for {estimator.__name__}"):
        estimator(loss=other).fit([[0.0], [1.0]], [1, 2])


# ---------------------------------------------------------------------------------------------------------------------
# The whole objective
# ---------------------------------------------------------------------------------------------------------------------

FEATURES, ROWS = 4, 13
ALL_KINDS = {**CLASSIFIER_LOSSES, **REGRESSOR_LOSSES, "softmax": SoftmaxLoss}


def _coordinates(loss, n_outputs, *, sparse, fit_intercept):
    """Coordinates with numbers unlike one another, of the kind that training makes."""
    free = fit_intercept and not sparse
    regressor = type(loss) in REGRESSOR_LOSSES.values()
    return Coordinates(
        center=np.array([1e3, -2.0, 0.5, 0.0]) if free else 0.0,
        scale=np.array([30.0, 0.1, 2.0, 1.0]),
        target_center=np.array([0.7, -0.2, 1.5])[:n_outputs] if regressor and fit_intercept else 0.0,
        target_scale=np.array([3.0, 0.4, 20.0])[:n_outputs] if regressor and not loss.log_link else 1.0,
    )


def _problem(kind, n_outputs=3, *, sparse=False, weighted=True, precondition=True, fit_intercept=True, **penalty):
    """An objective, data of the sizes that its coordinates expect, and a parameter vector."""
    rng, loss = np.random.default_rng(7), kind()
    coordinates = (
        _coordinates(loss, n_outputs, sparse=sparse, fit_intercept=fit_intercept) if precondition else Coordinates()
    )
    Z = rng.standard_normal((ROWS, FEATURES)) * (rng.random((ROWS, FEATURES)) < (0.5 if sparse else 1.0))
    X = coordinates.center + coordinates.scale * Z
    if kind is SoftmaxLoss:
        y = rng.integers(n_outputs, size=ROWS)
    elif kind in CLASSIFIER_LOSSES.values():
        y = rng.integers(2, size=ROWS) if n_outputs == 1 else rng.random((ROWS, n_outputs)) < 0.5
    elif loss.log_link:
        y = rng.gamma(2.0, size=(ROWS, n_outputs))
    else:
        y = coordinates.target_center + coordinates.target_scale * rng.standard_normal((ROWS, n_outputs))
    objective = Objective(
        loss=loss,
        n_features=FEATURES,
        n_outputs=n_outputs,
        fit_intercept=fit_intercept,
        **{"alpha": 0.0, "l1_ratio": 0.0, **penalty},
        coordinates=coordinates,
        exclusive_classes=kind is SoftmaxLoss,
    )
    weight = rng.uniform(0.2, 3.0, ROWS) if weighted else None
    theta = 0.7 * rng.standard_normal(objective.n_parameters)
    return objective, sp.csr_array(X) if sparse else X, y, weight, theta


each = pytest.mark.parametrize


@each("fit_intercept", [True, False], ids=["intercept", "origin"])
@each("precondition", [True, False], ids=["standardized", "plain"])
@each("weighted", [True, False], ids=["weighted", "unweighted"])
@each("sparse", [False, True], ids=["dense", "sparse"])
@each(("name", "n_outputs"), [(name, n) for name in ALL_KINDS for n in (1, 3) if (name, n) != ("softmax", 1)])
def test_objective(name, n_outputs, sparse, weighted, precondition, fit_intercept):
    """The gradient is the finite difference of the value, which is the mean loss of the user's own coefficients."""
    objective, X, y, weight, theta = _problem(
        ALL_KINDS[name],
        n_outputs,
        sparse=sparse,
        weighted=weighted,
        precondition=precondition,
        fit_intercept=fit_intercept,
    )

    def values_and_gradient(theta):
        return objective.value_and_gradient(theta, objective.chunks(X, y, weight, slice(None)))[:2]

    values, flat = values_and_gradient(theta)
    expected = gradient_by_differences(lambda theta: values_and_gradient(theta)[0].sum(), theta)
    assert_allclose(flat, expected, rtol=1e-8, atol=1e-8)

    [(coef, intercept)] = objective.to_user(theta)
    raw = X @ coef + intercept
    raw = log_softmax(raw, axis=1) if name == "softmax" else raw
    labels = objective.loss.label_values
    if name == "softmax":
        y_numbers = np.eye(n_outputs)[y]
    else:
        y_numbers = np.choose(y.reshape(ROWS, n_outputs), labels) if name in CLASSIFIER_LOSSES else y
    unit = 1.0
    if objective.loss.standardized:
        center, unit = objective.coordinates.target_center, objective.coordinates.target_scale
        y_numbers, raw = (y - center) / unit, (raw - center) / unit
    by_hand = unit**objective.loss.degree * np.average(value(objective.loss, y_numbers, raw), axis=0, weights=weight)
    total_weight = 1.0 if weight is None else weight.mean()
    assert_allclose(values * objective.unit, total_weight * by_hand, rtol=1e-9)
    assert_allclose(objective.mean_losses(theta, X, y, weight).sum(), by_hand.sum(), rtol=1e-9)


@each("l1_ratio", [0.0, 0.3, 1.0])
@each("fit_intercept", [True, False], ids=["intercept", "origin"])
@each("precondition", [True, False], ids=["standardized", "plain"])
@each("name", ["squared_error", "absolute_error", "gamma", "log_loss", "softmax"])
class TestPenalty:
    ALPHA = 0.8

    def problem(self, name, precondition, fit_intercept, l1_ratio):
        """The objective, parameters, and the penalty as the optimizer sees it: each output in its own unit."""
        objective, *_, theta = _problem(
            ALL_KINDS[name], precondition=precondition, fit_intercept=fit_intercept, alpha=self.ALPHA, l1_ratio=l1_ratio
        )
        unit = np.ones(objective.n_parameters)
        unit[: objective.n_coefficients] = np.broadcast_to(objective.unit, (FEATURES, 3)).ravel()
        return objective, theta, unit

    def test_penalty_is_that_of_the_users_coefficients(self, name, precondition, fit_intercept, l1_ratio):
        objective, theta, _ = self.problem(name, precondition, fit_intercept, l1_ratio)
        coef = objective.to_user(theta)[0][0].ravel()
        norms = (1.0 - l1_ratio) / 2.0 * np.linalg.norm(coef) ** 2 + l1_ratio * np.linalg.norm(coef, 1)
        assert_allclose(objective.penalty(theta), self.ALPHA * norms, rtol=1e-12)

    def test_gradient_is_the_finite_difference(self, name, precondition, fit_intercept, l1_ratio):
        """Of the L2 part, for the L1 part belongs to the proximal step."""
        objective, theta, unit = self.problem(name, precondition, fit_intercept, l1_ratio)
        smooth, *_ = _problem(
            ALL_KINDS[name],
            precondition=precondition,
            fit_intercept=fit_intercept,
            alpha=self.ALPHA * (1.0 - l1_ratio),
        )
        expected = gradient_by_differences(smooth.penalty, theta, h=1e-3) / unit
        assert_allclose(objective.penalty_gradient(theta), expected, rtol=1e-8, atol=1e-8)

    @each("each_parameter", [False, True], ids=["scalar", "array"])
    def test_proximal_step_solves_its_minimization(self, name, precondition, fit_intercept, l1_ratio, each_parameter):
        objective, theta, unit = self.problem(name, precondition, fit_intercept, l1_ratio)
        rng = np.random.default_rng(0)
        step = np.exp(rng.uniform(-4.0, 1.0, len(theta))) if each_parameter else 0.05
        result = objective.proximal(theta, step)
        steps = np.broadcast_to(step, theta.shape)
        for i, direction in enumerate(np.eye(len(theta))):

            def cost(v, i=i, direction=direction):
                return (v - theta[i]) ** 2 / (2.0 * steps[i]) + objective.penalty(v * direction) / unit[i]

            best = minimize_scalar(cost, bounds=(-3.0, 3.0), method="bounded", options={"xatol": 1e-10})
            assert_allclose(result[i], best.x, atol=1e-6)
            assert cost(result[i]) <= best.fun + 1e-14 * abs(best.fun)

    def test_intercepts_are_left_alone(self, name, precondition, fit_intercept, l1_ratio):
        objective, theta, _ = self.problem(name, precondition, fit_intercept, l1_ratio)
        intercepts = slice(objective.n_coefficients, None)
        assert_array_equal(objective.proximal(theta, 0.1)[intercepts], theta[intercepts])
        assert_array_equal(objective.penalty_gradient(theta)[intercepts], 0.0)


class Savage(Loss):
    """A loss that is not convex: the derivative changes its sign twice (Masnadi-Shirazi and Vasconcelos, 2008)."""

    @staticmethod
    def value(y, raw, hyper):
        return expit(-2.0 * y * raw) ** 2

    @staticmethod
    def gradient(y, raw, hyper):
        share = expit(-2.0 * y * raw)
        return -4.0 * y * share**2 * (1.0 - share)


@pytest.mark.parametrize("positive", [0.25, 0.75])
def test_losses_that_are_not_convex_begin_at_their_lowest_constant(positive):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2000, 5))
    score = X[:, 0] + X[:, 1] + 0.5 * rng.normal(size=2000)
    model = GDClassifier(Savage(), random_state=0).fit(X, score > np.quantile(score, 1.0 - positive))
    assert model.score(X, score > np.quantile(score, 1.0 - positive)) > 0.9
