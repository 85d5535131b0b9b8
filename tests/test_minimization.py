"""Optimizers as methods of `scipy.optimize.minimize`: the rule, step by step, on any function."""

import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import Bounds, LinearConstraint, OptimizeResult, basinhopping, minimize, rosen, rosen_der
from sklearn.base import clone

from skgd import GDRegressor
from skgd.optimizers import OPTIMIZERS, SGD, AdaDelta, Adam, AdamW, AdEMAMix, Optimizer, ScheduleFree
from skgd.schedules import Exponential, InverseScaling, OneCycle, ReduceOnPlateau

rng = np.random.default_rng(0)
ROWS = rng.normal(size=(30, 4)) @ (rng.normal(size=(4, 4)) + np.eye(4))
TARGET = ROWS @ [1.0, -2.0, 0.5, 3.0] + rng.normal(size=30)
START = np.zeros(4)
MINIMUM = np.linalg.lstsq(ROWS, TARGET, rcond=None)[0]

every_optimizer = pytest.mark.parametrize("kind", OPTIMIZERS.values())


def loss(w, scale=1.0):
    return 0.5 * scale * np.mean((ROWS @ w - TARGET) ** 2)


def slope(w, scale=1.0):
    return scale * ROWS.T @ (ROWS @ w - TARGET) / len(TARGET)


def points(method, n_steps, start=START, **options):
    """Return the point after each iteration."""
    seen = []
    result = minimize(
        loss, start, jac=slope, method=method, callback=seen.append, options={"maxiter": n_steps} | options
    )
    assert result.nit == len(seen)
    return np.array(seen)


def steps_of_the_rule(optimizer, rates):
    """Return where the rule goes, written down anew."""
    w, slots, found = START, tuple(np.full(4, value) for value in optimizer.initial()), []
    for t, lr in enumerate(rates, start=1):
        shrunk = w - lr * optimizer.weight_decay * w
        w, _, slots = optimizer.rule(shrunk, slope(w), lr, t, slots, optimizer.hyper())
        found.append(optimizer.readout(w, slots, optimizer.hyper()))
    return np.array(found)


@every_optimizer
def test_each_iteration_is_a_step_of_the_rule(kind):
    optimizer = kind(learning_rate=0.02)
    assert_allclose(points(optimizer, 25), steps_of_the_rule(optimizer, [0.02] * 25), rtol=1e-12)


@every_optimizer
def test_the_path_is_that_of_the_estimator(kind):
    """Trained with all rows in each step, and nothing around the rule."""
    optimizer = kind(learning_rate=0.02)
    bare = {"alpha": 0.0, "batch_size": None, "tol": None, "shuffle": False, "average": False, "precondition": False}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # 20 epochs are few
        model = GDRegressor(optimizer=optimizer, fit_intercept=False, max_iter=20, **bare).fit(ROWS, TARGET)
    assert_allclose(points(optimizer, 20)[-1], model.coef_, rtol=1e-9)


@every_optimizer
def test_the_minimum_is_reached(kind):
    rate = {"adagrad": 2.0, "ftrl": 2.0, "adadelta": 100.0, "sgd": 0.1}
    names = {value: name for name, value in OPTIMIZERS.items()}
    schedule = OneCycle(rate.get(names[kind], 0.3), total_steps=3000)
    own = {AdamW: {"weight_decay": 0.0}, AdEMAMix: {"beta3": 0.99}}  # by default, it remembers 10,000 steps
    optimizer = kind(schedule, **own.get(kind, {}))
    result = minimize(loss, START, jac=slope, method=optimizer, options={"maxiter": 3000, "gtol": 1e-3})
    assert isinstance(result, OptimizeResult)
    assert result.success
    assert result.status == 0
    assert "gtol" in result.message
    assert_allclose(result.x, MINIMUM, atol=0.05)
    assert result.fun == loss(result.x)
    assert_array_equal(result.jac, slope(result.x))
    assert np.abs(result.jac).max() <= 1e-3


@pytest.mark.parametrize("schedule", [InverseScaling(0.1), Exponential(0.1, 0.5, 5), lambda step: 0.1 / (1.0 + step)])
def test_schedules(schedule):
    rates = [float(np.asarray(schedule(np.array([step])))[0]) for step in range(15)]
    assert_allclose(points(SGD(schedule), 15), steps_of_the_rule(SGD(), rates), rtol=1e-12)


def test_a_schedule_that_looks_at_the_function():
    schedule = ReduceOnPlateau(3.0, factor=0.1, patience=1)
    found = points(SGD(schedule), 12)
    values = [loss(point) for point in found]
    rates = [3.0 * float(schedule.evaluate([0], values[:done])[0]) for done in range(12)]
    assert rates[0] > rates[-1]
    assert_allclose(found, steps_of_the_rule(SGD(), rates), rtol=1e-12)


def test_weight_decay_shrinks_the_parameters():
    optimizer = AdamW(learning_rate=0.1, weight_decay=0.5)
    assert_allclose(points(optimizer, 10), steps_of_the_rule(optimizer, [0.1] * 10), rtol=1e-12)
    with pytest.raises(ValueError, match=r"weight_decay=0.5 at the learning rate 3 "):
        minimize(loss, START, jac=slope, method=AdamW(learning_rate=3.0, weight_decay=0.5))


class SignDescent(Optimizer):
    def __init__(self, learning_rate=0.01):
        self.learning_rate = learning_rate

    @staticmethod
    def rule(w, g, lr, t, slots, hyper):
        return w - lr * np.sign(g), lr, slots


def test_an_optimizer_of_ones_own():
    result = minimize(loss, START, jac=slope, method=SignDescent(OneCycle(0.1, 2000)), options={"maxiter": 2000})
    assert_allclose(result.x, MINIMUM, atol=0.05)


def test_gradients_of_all_kinds():
    expected = points(Adam(0.1), 20)[-1]
    calls = []

    def both(w):
        calls.append(w)
        return loss(w), slope(w)

    at_once = minimize(both, START, jac=True, method=Adam(0.1), options={"maxiter": 20})
    assert_array_equal(at_once.x, expected)
    assert at_once.nfev == at_once.njev == len(calls) == 21
    for none in (None, False):
        by_differences = minimize(loss, START, jac=none, method=Adam(0.1), options={"maxiter": 20})
        assert_allclose(by_differences.x, expected, atol=1e-5)
    assert by_differences.nfev == 21 * (1 + 5)
    with_arguments = minimize(loss, START, args=(3.0,), jac=slope, method=SGD(0.1), options={"maxiter": 20})
    assert_allclose(with_arguments.x, points(SGD(0.3), 20)[-1], rtol=1e-12)


@pytest.mark.parametrize("start", [[3, -4], [3.0, -4.0], np.array([3.0, -4.0], dtype=np.float32)], ids=str)
def test_where_it_begins_stays_as_it_is(start):
    before = np.array(start)

    def fun(w):
        value = float(w @ w)
        w[:] = np.nan  # of no consequence
        return value

    result = minimize(fun, start, jac=lambda w: 2.0 * w, method=SGD(0.3))
    assert result.success
    assert result.x.dtype == np.float64
    assert_allclose(result.x, 0.0, atol=1e-5)
    assert_array_equal(start, before)
    assert minimize(lambda w: (w[0] - 1.0) ** 2, 0.0, jac=lambda w: 2.0 * (w - 1.0), method=SGD(0.3)).success


def test_the_optimizer_stays_as_it_is():
    optimizer = Adam(learning_rate=Exponential(0.1))
    before = clone(optimizer)
    one = points(optimizer, 10)
    assert_array_equal(points(optimizer, 10), one)
    assert repr(optimizer) == repr(before)
    assert vars(optimizer).keys() == vars(before).keys()


def test_callbacks():
    seen = []

    def by_result(intermediate_result):
        seen.append(intermediate_result)
        if len(seen) == 3:
            raise StopIteration

    result = minimize(loss, START, jac=slope, method=ScheduleFree(0.1), callback=by_result)
    assert (result.nit, result.status, result.success) == (3, 99, False)
    assert "StopIteration" in result.message
    assert_array_equal(seen[-1].x, result.x)
    assert [one.fun for one in seen] == [loss(one.x) for one in seen]

    def raising(x):
        raise RuntimeError("of the user's own")

    with pytest.raises(RuntimeError, match="of the user's own"):
        minimize(loss, START, jac=slope, method=Adam(0.1), callback=raising)


def test_when_it_ends(capsys):
    few = minimize(loss, START, jac=slope, method=Adam(0.01), options={"maxiter": 5, "disp": True})
    assert (few.nit, few.status, few.success) == (5, 1, False)
    assert "maxiter" in few.message
    printed = capsys.readouterr().out
    assert few.message in printed
    assert "5 iterations" in printed
    none = minimize(loss, START, jac=slope, method=Adam(0.01), options={"maxiter": 0})
    assert none.nit == 0
    assert_array_equal(none.x, START)
    loose, strict = (minimize(loss, START, jac=slope, method=SGD(0.1), tol=tol) for tol in (1e-1, 1e-4))
    assert loose.success
    assert strict.success
    assert loose.nit < strict.nit
    assert np.abs(loose.jac).max() <= 1e-1
    at_the_minimum = minimize(loss, strict.x, jac=slope, method=SGD(0.1), tol=1e-3)
    assert at_the_minimum.success
    assert at_the_minimum.nit == 0


def test_divergence():
    result = minimize(lambda w: float(w @ w), [1.0], jac=lambda w: 2.0 * w, method=SGD(1.1), options={"maxiter": 50})
    assert (result.status, result.success) == (2, False)
    assert "Decrease learning_rate" in result.message

    def undefined(w):
        return float(w[0]) if w[0] > 0.5 else np.nan

    result = minimize(undefined, [1.0], jac=lambda w: np.ones(1), method=SGD(0.2))
    assert result.status == 2
    assert result.x == pytest.approx(0.6)  # the last point that was finite
    assert result.fun == pytest.approx(0.6)
    result = minimize(undefined, [0.0], jac=lambda w: np.ones(1), method=SGD(0.2))
    assert (result.status, result.nit, result.success) == (3, 0, False)
    assert result.message.endswith("is not finite at x0.")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"bounds": [(0, 1)] * 4}, "bounds.*L-BFGS-B"),
        ({"bounds": Bounds(0, 1)}, "bounds"),
        ({"constraints": LinearConstraint(np.ones(4), 0, 1)}, "constraints.*SLSQP"),
        ({"constraints": {"type": "eq", "fun": np.sum}}, "constraints"),
        ({"constraints": [{"type": "eq", "fun": np.sum}]}, "constraints"),
        ({"options": {"xtol": 1e-3}}, "no option 'xtol'.*'maxiter', 'gtol'"),
        ({"options": {"maxiter": -1}}, "maxiter"),
        ({"options": {"gtol": -1.0}}, "gtol"),
        ({"options": {"gtol": float("nan")}}, "gtol must be a number of at least 0, got nan"),
        ({"method": Adam}, r"Use an object, such as method=Adam\(learning_rate=0.01\)"),
        ({"method": Adam()}, r"'auto' of Adam.*a function.*Adam\(learning_rate=0.01\)"),
        ({"method": Adam("cosine")}, r"'auto' of Adam"),
        ({"method": Adam("cosy")}, r"Adam\(learning_rate\)='cosy' is not known"),
        ({"method": Adam(0.1, beta1=2.0)}, "beta1"),
        ({"fun": lambda w: w}, r"fun must return one number.*\(4,\)"),
        ({"jac": lambda w: w[:2]}, r"jac must return as many numbers as x0 has, 4, .*\(2,\)"),
    ],
)
def test_what_cannot_be_respected_is_refused(arguments, words):
    with pytest.raises((ValueError, TypeError), match=words):
        minimize(**{"fun": loss, "x0": START, "jac": slope, "method": Adam(0.1)} | arguments)


def test_called_without_scipy():
    assert_array_equal(Adam(0.1)(loss, START, jac=slope, maxiter=20).x, points(Adam(0.1), 20)[-1])
    with pytest.raises(ValueError, match="x0 must have one dimension"):
        Adam(0.1)(loss, np.zeros((2, 2)), jac=slope)
    with pytest.raises(ValueError, match="jac must be a function, True or None"):
        Adam(0.1)(loss, START, jac="exact")


def test_second_derivatives_are_not_used():
    with pytest.warns(RuntimeWarning, match="Adam does not use second derivatives") as record:
        minimize(loss, START, jac=slope, hess=lambda w: np.eye(4), method=Adam(0.1), options={"maxiter": 1})
    assert record[0].filename == __file__


def test_no_bounds_are_no_bounds():
    result = minimize(loss, START, jac=slope, bounds=None, constraints=(), method=SGD(0.1))
    assert result.success
    assert minimize(loss, START, jac=slope, constraints=[], method=SGD(0.1)).success


def test_the_rate_of_adadelta_needs_no_data():
    assert_array_equal(points(AdaDelta(), 10), points(AdaDelta(learning_rate=1.0), 10))


def test_inside_a_global_search():
    def hilly(w):
        return float(np.sum(w**2 + 3.0 * np.cos(3.0 * w)))

    def its_slope(w):
        return 2.0 * w - 9.0 * np.sin(3.0 * w)

    local = {"method": Adam(0.05), "jac": its_slope}
    found = basinhopping(hilly, [3.0, -3.0], niter=20, stepsize=2.0, minimizer_kwargs=local, seed=0)
    assert found.fun == pytest.approx(2.0 * min(hilly(np.array([w])) for w in np.linspace(0.0, 2.0, 2001)), abs=1e-4)


def test_a_valley_that_is_not_convex():
    result = minimize(rosen, np.full(5, -1.0), jac=rosen_der, method=Adam(0.1), options={"maxiter": 5000})
    assert result.success
    assert_allclose(result.x, 1.0, atol=1e-3)


def test_an_optimizer_is_no_learning_rate():
    """Although it can be called, as functions from steps to rates can."""
    with pytest.raises(TypeError, match="learning_rate must be a number"):
        GDRegressor(learning_rate=Adam()).fit(ROWS, TARGET)
