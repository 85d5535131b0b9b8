"""Schedules against torch.optim.lr_scheduler, step by step; the rates that training records against the schedule."""

import pickle
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from torch.optim import lr_scheduler

from skgd import GDClassifier, GDRegressor
from skgd.schedules import (
    SCHEDULES,
    Constant,
    Cosine,
    Exponential,
    InverseScaling,
    Linear,
    OneCycle,
    Piecewise,
    ReduceOnPlateau,
    Schedule,
    Step,
)

RATE = 0.3
VARIED = [
    *(kind(learning_rate=RATE) for kind in SCHEDULES.values()),
    InverseScaling(learning_rate=RATE, power=1.5, decay_steps=7),
    Exponential(learning_rate=RATE, decay_rate=0.9, decay_steps=1),
    Linear(learning_rate=RATE, decay_steps=9, end_factor=0.2, warmup_steps=4),
    Cosine(learning_rate=RATE, decay_steps=9, end_factor=0.1, warmup_steps=4),
    Cosine(learning_rate=RATE, decay_steps=5, warmup_steps=3, restarts=True),
    Cosine(learning_rate=RATE, decay_steps=5, restarts=True, period_growth=1.5),
    Cosine(learning_rate=RATE, decay_steps=1, restarts=True, period_growth=2.0),
    OneCycle(learning_rate=RATE, total_steps=2),
    OneCycle(learning_rate=RATE, total_steps=11, warmup_fraction=0.9),
]
every_schedule = pytest.mark.parametrize("schedule", VARIED, ids=repr)


# ---------------------------------------------------------------------------------------------------------------------
# Parity with torch
# ---------------------------------------------------------------------------------------------------------------------


def torch_optimizer():
    return torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=RATE)


def torch_rates(make, n_steps):
    """The learning rate of each step under a scheduler of torch's."""
    optimizer = torch_optimizer()
    scheduler, rates = make(optimizer), []
    for _ in range(n_steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # SequentialLR calls its parts in a way that torch deprecates
            scheduler.step()
    return rates


def warmed_up(steps, then):
    """A linear warm-up of ``steps`` steps, put together from torch's own parts."""

    def make(optimizer):
        rising = lr_scheduler.LinearLR(optimizer, start_factor=1.0 / (steps + 1), total_iters=steps)
        return lr_scheduler.SequentialLR(optimizer, [rising, then(optimizer)], milestones=[steps])

    return make


def linear(optimizer):
    return lr_scheduler.LinearLR(optimizer, start_factor=1.0, end_factor=0.2, total_iters=9)


def cosine(optimizer):
    return lr_scheduler.CosineAnnealingLR(optimizer, T_max=9, eta_min=0.1 * RATE)


def restarts(growth, low=0.0):
    return lambda optimizer: lr_scheduler.CosineAnnealingWarmRestarts(optimizer, T_0=5, T_mult=growth, eta_min=low)


def one_cycle(total, **options):
    return lambda optimizer: lr_scheduler.OneCycleLR(
        optimizer, max_lr=RATE, total_steps=total, anneal_strategy="cos", cycle_momentum=False, **options
    )


PARITY = {
    "constant": (Constant(), lambda o: lr_scheduler.ConstantLR(o, factor=1.0), 5),
    "exponential": (Exponential(decay_rate=0.9, decay_steps=1), lambda o: lr_scheduler.ExponentialLR(o, 0.9), 50),
    "slow exponential": (
        Exponential(decay_rate=0.5, decay_steps=10),
        lambda o: lr_scheduler.ExponentialLR(o, 0.5**0.1),
        50,
    ),
    "step": (Step(step_size=7, factor=0.4), lambda o: lr_scheduler.StepLR(o, step_size=7, gamma=0.4), 50),
    "piecewise": (
        Piecewise(boundaries=(3, 4, 20), factors=(1.0, 0.5, 0.25, 0.125)),
        lambda o: lr_scheduler.MultiStepLR(o, milestones=[3, 4, 20], gamma=0.5),
        30,
    ),
    "linear": (Linear(decay_steps=9, end_factor=0.2), linear, 20),
    "linear, warm-up": (Linear(decay_steps=9, end_factor=0.2, warmup_steps=4), warmed_up(4, linear), 20),
    "cosine": (Cosine(decay_steps=9, end_factor=0.1), cosine, 10),
    "cosine, warm-up": (Cosine(decay_steps=9, end_factor=0.1, warmup_steps=4), warmed_up(4, cosine), 14),
    "restarts": (Cosine(decay_steps=5, restarts=True), restarts(1), 40),
    "restarts, end": (Cosine(decay_steps=5, end_factor=0.5, restarts=True), restarts(1, low=0.5 * RATE), 40),
    "restarts, doubling": (Cosine(decay_steps=5, restarts=True, period_growth=2), restarts(2), 400),
    "restarts, tripling": (Cosine(decay_steps=5, restarts=True, period_growth=3.0), restarts(3), 400),
    "one cycle": (OneCycle(total_steps=100), one_cycle(100), 100),
    "one cycle, options": (
        OneCycle(total_steps=37, warmup_fraction=0.45, start_divisor=3.0, end_divisor=50.0),
        one_cycle(37, pct_start=0.45, div_factor=3.0, final_div_factor=50.0),
        37,
    ),
    "one cycle, short": (OneCycle(total_steps=5, warmup_fraction=0.5), one_cycle(5, pct_start=0.5), 5),
}


@pytest.mark.parametrize("case", PARITY)
def test_parity_with_torch(case):
    schedule, make, n_steps = PARITY[case]
    ours = schedule.set_params(learning_rate=RATE)(np.arange(n_steps))
    assert_allclose(ours, torch_rates(make, n_steps), rtol=1e-10, atol=1e-12)


@settings(deadline=None, max_examples=100)
@given(
    objectives=st.lists(st.sampled_from([0.5, 0.99, 0.99999, 1.0, 1.00001, 2.0, 3.0]), max_size=40),
    factor=st.sampled_from([0.1, 0.5, 0.9]),
    patience=st.integers(0, 4),
    threshold=st.sampled_from([0.0, 1e-4, 0.1]),
    lowest=st.sampled_from([0.0, 1e-6, 0.2]),
)
def test_parity_with_torch_reduce_on_plateau(objectives, factor, patience, threshold, lowest):
    schedule = ReduceOnPlateau(RATE, factor=factor, patience=patience, threshold=threshold, lowest_factor=lowest)
    optimizer = torch_optimizer()
    scheduler = lr_scheduler.ReduceLROnPlateau(
        optimizer, "min", factor, patience, threshold, "rel", cooldown=0, min_lr=RATE * lowest, eps=0.0
    )
    for epoch, objective in enumerate(objectives, start=1):
        scheduler.step(objective)
        ours = schedule.learning_rate * schedule.evaluate([3, 4], objectives[:epoch])
        assert_allclose(ours, [optimizer.param_groups[0]["lr"]] * 2, rtol=1e-12)


def test_plateau_is_the_same_for_objectives_below_zero():
    """A fall by less than the threshold is none, whatever the objective's sign."""
    schedule = ReduceOnPlateau(factor=0.5, patience=0, threshold=0.1)
    assert schedule.evaluate(0, [-1.0, -1.05]) == 0.5
    assert schedule.evaluate(0, [-1.0, -1.2]) == 1.0


def test_inverse_scaling_is_its_formula():
    assert_allclose(InverseScaling(2.0, power=0.25)([0, 15, 80]), [2.0, 1.0, 2.0 / 3.0], rtol=1e-15)
    assert_allclose(InverseScaling(2.0, power=1.0, decay_steps=10)([0, 10, 30]), [2.0, 1.0, 0.5], rtol=1e-15)


def test_piecewise_factors_need_not_be_a_power():
    schedule = Piecewise(1.0, boundaries=[2, 3], factors=[0.1, 0.7, 0.3])
    assert_array_equal(schedule(np.arange(5)), [0.1, 0.1, 0.7, 0.3, 0.3])


@pytest.mark.parametrize("kind", [Linear, Cosine, OneCycle])
def test_rates_stay_at_their_lowest_after_the_end(kind):
    options = {"total_steps": 10} if kind is OneCycle else {"decay_steps": 9, "end_factor": 0.25}
    lowest = 1.0 / (25.0 * 1e4) if kind is OneCycle else 0.25
    assert_allclose(kind(RATE, **options)([9, 10, 11, 1000]), RATE * lowest, rtol=1e-10)


# ---------------------------------------------------------------------------------------------------------------------
# What holds for every schedule
# ---------------------------------------------------------------------------------------------------------------------

FAR = np.unique(np.concatenate([np.arange(300), *(2**k + np.arange(-3, 4) for k in range(9, 34))]))


@every_schedule
def test_vectorized_is_one_step_at_a_time(schedule):
    one_by_one = [float(schedule(int(step))) for step in FAR]
    assert_allclose(schedule(FAR), one_by_one, rtol=1e-15, atol=1e-300)  # NumPy's vectorized power rounds differently
    assert schedule(np.arange(6).reshape(2, 3)).shape == (2, 3)


@every_schedule
def test_rates_are_finite_and_between_zero_and_the_base_rate(schedule):
    rates = schedule(FAR)
    assert rates.dtype == np.float64
    assert np.all(np.isfinite(rates))
    assert np.all((rates >= 0.0) & (rates <= RATE))


@settings(deadline=None, max_examples=100)
@given(growth=st.floats(1.0, 4.0), period=st.integers(1, 100), step=st.integers(0, 2**33))
def test_restarts_with_any_growth(growth, period, step):
    """Rates are in [0, base], and the k-th period lasts ``growth**k`` times the first."""
    schedule = Cosine(RATE, decay_steps=period, restarts=True, period_growth=growth)
    assert 0.0 <= schedule(step) <= RATE
    starts = period * np.cumsum([0.0, *growth ** np.arange(8.0)])
    assert_allclose(schedule(starts[:-1] + 1e-9), RATE, rtol=1e-6)
    assert_allclose(schedule((starts[1:] + starts[:-1]) / 2.0), RATE / 2.0, rtol=1e-6)


@pytest.mark.parametrize("kind", [Linear, Cosine])
@pytest.mark.parametrize("n", [1, 2, 10])
def test_warm_up_rises_linearly_to_the_base_rate(kind, n):
    rates = kind(RATE, warmup_steps=n)(np.arange(n + 1))
    assert_allclose(rates, RATE * np.arange(1, n + 2) / (n + 1), rtol=1e-12)
    assert rates[-1] == RATE


@every_schedule
def test_auto_leaves_the_factors(schedule):
    auto = clone(schedule).set_params(learning_rate="auto")
    assert_allclose(RATE * auto(np.arange(50)), schedule(np.arange(50)), rtol=1e-15)


@every_schedule
def test_clone_pickle_and_repr_make_the_same_schedule(schedule):
    steps = np.arange(50)
    copies = [clone(schedule), pickle.loads(pickle.dumps(schedule)), eval(repr(schedule), dict(vars_by_name()))]
    for copy in copies:
        assert type(copy) is type(schedule)
        assert copy.get_params() == schedule.get_params()
        assert_array_equal(copy(steps), schedule(steps))


def vars_by_name():
    return {kind.__name__: kind for kind in SCHEDULES.values()}


def test_evaluating_changes_nothing():
    for schedule in VARIED:
        before = dict(vars(schedule))
        schedule(np.arange(5))
        schedule.evaluate([5], objectives=[1.0, 1.0, 1.0, 1.0])
        assert vars(schedule) == before


# ---------------------------------------------------------------------------------------------------------------------
# Errors
# ---------------------------------------------------------------------------------------------------------------------

X = np.random.default_rng(0).standard_normal((32, 3))
y = X @ [1.0, -2.0, 0.5] + 0.3


def fit(learning_rate, estimator=GDRegressor, target=y):
    return estimator(learning_rate=learning_rate, max_iter=2, tol=None, random_state=0).fit(X, target)


BAD = [
    *((kind, "learning_rate", bad) for kind in SCHEDULES.values() for bad in (0.0, -1.0, np.nan, np.inf)),
    *((InverseScaling, "power", bad) for bad in (0.0, -1.0, np.nan)),
    *((kind, "decay_steps", 0) for kind in (InverseScaling, Exponential, Linear, Cosine)),
    *((Exponential, "decay_rate", bad) for bad in (0.0, -1.0, 1.1)),
    (Step, "step_size", 0),
    *((Step, "factor", bad) for bad in (0.0, 1.1)),
    *((Piecewise, "boundaries", bad) for bad in ((5, 5), (5, 3), (1,))),
    *(
        (Piecewise, "factors", bad)
        for bad in ((1.0, 0.0, 0.1), (1.0,), (1.0, -1.0, 0.1), (1.0, np.nan, 1.0), (1.0, np.inf, 1.0))
    ),
    *((kind, "end_factor", bad) for kind in (Linear, Cosine) for bad in (-0.1, 1.1)),
    *((kind, "warmup_steps", bad) for kind in (Linear, Cosine) for bad in (-1, 10**400)),
    *((Cosine, "period_growth", bad) for bad in (0.9, np.nan)),
    *((OneCycle, "total_steps", bad) for bad in (0, 1)),
    *((OneCycle, "warmup_fraction", bad) for bad in (0.0, 1.0)),
    *((OneCycle, name, 0.9) for name in ("start_divisor", "end_divisor")),
    *((ReduceOnPlateau, "factor", bad) for bad in (0.0, 1.0)),
    (ReduceOnPlateau, "patience", -1),
    *((ReduceOnPlateau, "threshold", bad) for bad in (-1e-4, np.nan)),
    *((ReduceOnPlateau, "lowest_factor", bad) for bad in (-0.1, 1.1)),
]
NUMBERS = [
    (kind, name) for kind in SCHEDULES.values() for name in kind().get_params() if name not in ("boundaries", "factors")
]


@pytest.mark.parametrize(("kind", "name", "bad"), BAD)
def test_parameters_out_of_range_are_named(kind, name, bad):
    with pytest.raises(ValueError, match=f"{kind.__name__}.*{name}"):
        fit(kind(**{name: bad}))


@pytest.mark.parametrize("bad", ["much", None, (1,)], ids=repr)
@pytest.mark.parametrize(("kind", "name"), [pair for pair in NUMBERS if pair[1] != "restarts"])
def test_parameters_of_the_wrong_type_are_named(kind, name, bad):
    with pytest.raises(TypeError, match=rf"{kind.__name__}\({name}\)"):
        fit(kind(**{name: bad}))


@pytest.mark.parametrize("bad", [1, "much", None, np.array(1.0), ((1,), (2,)), ("a", "b")], ids=repr)
@pytest.mark.parametrize("name", ["boundaries", "factors"])
def test_tables_of_the_wrong_type_are_named(name, bad):
    with pytest.raises(TypeError, match=rf"Piecewise\({name}\)"):
        fit(Piecewise(**{name: bad}))


@pytest.mark.parametrize("steps", [0, np.int64(3), 1.5], ids=repr)
def test_step_counts_are_integers(steps):
    schedule = Linear(RATE, decay_steps=10, warmup_steps=steps)
    if isinstance(steps, float):
        with pytest.raises(TypeError, match="warmup_steps"):
            fit(schedule)
    else:
        fit(schedule)


@pytest.mark.parametrize("bad", [-0.1, 0, 0.0, np.inf, np.nan], ids=repr)
def test_numbers_out_of_range_are_refused(bad):
    with pytest.raises(ValueError, match="learning_rate="):
        fit(bad)


@pytest.mark.parametrize("bad", [True, (0.1,), Constant, b"auto"], ids=repr)
def test_what_is_not_a_schedule_is_refused(bad):
    with pytest.raises(TypeError, match="learning_rate"):
        fit(bad)


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(ValueError, match="learning_rate='optimal' is not known") as error:
        fit("optimal")
    assert all(repr(name) in str(error.value) for name in SCHEDULES)


# ---------------------------------------------------------------------------------------------------------------------
# In training
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("estimator", "target"), [(GDRegressor, y), (GDClassifier, y > 0.0)])
@pytest.mark.parametrize("name", SCHEDULES)
def test_names_stand_for_the_default_schedules(name, estimator, target):
    by_name, by_object = fit(name, estimator, target), fit(SCHEDULES[name](), estimator, target)
    assert_array_equal(by_name.coef_, by_object.coef_)
    assert by_name.learning_rate == name


def test_a_function_is_the_schedule_of_the_same_formula():
    by_function = fit(lambda step: 0.05 / np.sqrt(1.0 + step))
    by_schedule = fit(InverseScaling(learning_rate=0.05, power=0.5))
    assert_allclose(by_function.coef_, by_schedule.coef_, rtol=1e-12)
    assert_array_equal(fit(lambda step: 0.05).coef_, fit(0.05).coef_)


def one(step):
    return 1.0


def test_a_model_trained_with_a_function_can_be_pickled():
    X, y = np.arange(12.0).reshape(6, 2), np.arange(6.0)
    model = GDRegressor(learning_rate=one, max_iter=2, tol=None)
    model.fit(X, y).partial_fit(X, y)
    assert_array_equal(pickle.loads(pickle.dumps(model)).partial_fit(X, y).coef_, model.partial_fit(X, y).coef_)


def test_a_schedule_of_ones_own():
    class Halves(Schedule):
        def factor_at(self, step):
            return 0.5**step

    assert_array_equal(fit(Halves(learning_rate=0.1)).history_["learning_rate"], [0.1, 0.05])


@pytest.mark.parametrize(
    "function",
    [
        lambda step: -0.1,
        lambda step: np.nan,
        lambda step: 0.1 - step,
        lambda step: np.where(step > 0, np.inf, 0.1),
    ],
    ids=["negative", "nan", "negative later", "infinite later"],
)
def test_a_function_with_impossible_rates_is_refused(function):
    with pytest.raises(ValueError, match=r"learning_rate=.*negative or not finite"):
        fit(function)


@pytest.mark.parametrize("returned", [[0.1, 0.2, 0.3], "fast", {}], ids=repr)
def test_a_function_that_returns_no_rates_is_refused(returned):
    with pytest.raises(ValueError, match=r"learning_rate=.*one learning rate"):
        fit(lambda step: returned)


TRAINED = [
    Constant(0.02),
    InverseScaling(0.02),
    Exponential(0.02, decay_steps=5),
    Step(0.02, step_size=3),
    Piecewise(0.02, boundaries=(3, 9)),
    Linear(0.02, decay_steps=20, end_factor=0.1, warmup_steps=5),
    Cosine(0.02, decay_steps=5, end_factor=0.1, restarts=True),
    OneCycle(0.02, total_steps=20),
]
STEPS_A_PASS = 4


def model(learning_rate, **parameters):
    defaults = {"optimizer": "sgd", "batch_size": 8, "max_iter": 3, "tol": None, "random_state": 0}
    return GDRegressor(learning_rate=learning_rate, **{**defaults, **parameters})


@pytest.mark.parametrize("schedule", TRAINED, ids=repr)
class TestRecordedRates:
    """One entry an epoch: the rate of its last step; the count of steps goes on from call to call."""

    def expected(self, schedule, passes):
        return schedule(STEPS_A_PASS * np.arange(1, passes + 1) - 1)

    def test_fit(self, schedule):
        rates = model(schedule).fit(X, y).history_["learning_rate"]
        assert_allclose(rates, self.expected(schedule, 3), rtol=1e-15)

    def test_warm_start_goes_on(self, schedule):
        warm = model(schedule, warm_start=True).fit(X, y).fit(X, y)
        assert_allclose(warm.history_["learning_rate"], self.expected(schedule, 6), rtol=1e-15)

    def test_fit_begins_anew(self, schedule):
        cold = model(schedule).fit(X, y).fit(X, y)
        assert_allclose(cold.history_["learning_rate"], self.expected(schedule, 3), rtol=1e-15)

    def test_partial_fit_goes_on(self, schedule):
        stream = model(schedule)
        for _ in range(5):
            stream.partial_fit(X, y)
        assert_allclose(stream.history_["learning_rate"], self.expected(schedule, 5), rtol=1e-15)

    def test_partial_fit_goes_on_after_fit(self, schedule):
        both = model(schedule).fit(X, y).partial_fit(X, y)
        assert_allclose(both.history_["learning_rate"], self.expected(schedule, 4), rtol=1e-15)


def test_the_first_update_is_made_with_the_first_rate():
    """The recorded rates are those used: one plain step from zero is the rate times the gradient."""
    schedule = Linear(0.02, warmup_steps=3)
    one = model(schedule, batch_size=None, max_iter=1, average=False, precondition=False, alpha=0.0).fit(X, y)
    assert_allclose(one.coef_.ravel(), 0.02 / 4.0 * X.T @ y / len(y), rtol=1e-12)
    assert_allclose(one.intercept_, 0.02 / 4.0 * y.mean(), rtol=1e-12)


@pytest.mark.parametrize("stream", [False, True], ids=["fit", "partial_fit"])
def test_plateau_follows_the_recorded_objectives(stream):
    schedule = ReduceOnPlateau(0.02, factor=0.5, patience=1, threshold=0.3)
    trained = model(schedule, max_iter=20)
    for _ in range(20 if stream else 1):
        (trained.partial_fit if stream else trained.fit)(X, y)
    objectives = trained.history_["objective"]
    expected = [0.02 * float(schedule.evaluate(0, objectives[:epoch])) for epoch in range(20)]
    assert_allclose(trained.history_["learning_rate"], expected, rtol=1e-15)
    assert len(set(expected)) > 2


def test_plateau_watches_the_validation_set():
    schedule = ReduceOnPlateau(0.02, factor=0.5, patience=0)
    trained = model(schedule, max_iter=10, n_iter_no_change=10).fit(X, y, X_val=X, y_val=y - 3.0 * X[:, 0])
    losses = trained.history_["validation_loss"]
    expected = [0.02 * float(schedule.evaluate(0, losses[:epoch])) for epoch in range(len(losses))]
    assert_allclose(trained.history_["learning_rate"], expected, rtol=1e-15)
    assert len(set(expected)) > 2
