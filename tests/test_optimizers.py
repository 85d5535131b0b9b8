"""Each rule, alone and inside the estimator, against torch.optim and golden trajectories; then what all rules share.

The goldens come from optax, pytorch-optimizer, authors' packages and a paper's algorithm: see
reference/optimizer_goldens.py.
"""

import json
import pickle
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone

import skgd.optimizers
from skgd import GDRegressor
from skgd.optimizers import (
    ADOPT,
    FTRL,
    OPTIMIZERS,
    SGD,
    AdaBelief,
    AdaDelta,
    AdaGrad,
    Adam,
    AdaMax,
    AdamW,
    Adan,
    AdEMAMix,
    Lion,
    NAdam,
    RAdam,
    RMSProp,
    ScheduleFree,
    Yogi,
    idle_slots,
    laziness_of,
)

GOLDENS = json.loads((Path(__file__).parent / "reference" / "optimizer_goldens.json").read_text())
X, Y, START, FREQUENCIES = (np.array(GOLDENS["problem"][key]) for key in ("X", "y", "start", "frequencies"))
FIT_STEPS = (1, 2, 10, 250)
EXACT = {"rtol": 1e-10, "atol": 1e-10}

# The estimator with nothing around the optimizer's rule.
bare = partial(GDRegressor, alpha=0.0, batch_size=None, tol=None, shuffle=False, average=False, precondition=False)


def noisy_gradient(w, t):
    """Return the gradient of badly scaled least squares plus a noise, and zero for some parameters in some steps."""
    g = X.T @ (X @ w - Y) / len(Y) + np.sin(t * FREQUENCIES)
    return np.where((t + np.arange(6)) % 5 == 0, 0.0, g)


def walk(optimizer, gradient, w, n_steps, rate=None):
    """Yield parameters, step and slots after each step of a rule; ``rate`` is a function of the step's number."""
    slots = tuple(np.full_like(w, value) for value in optimizer.initial())
    for t in range(1, n_steps + 1):
        lr = optimizer.learning_rate if rate is None else float(rate(t - 1))
        w, step, slots = optimizer.rule(w, gradient(w, t), lr, t, slots, optimizer.hyper())
        yield w, step, slots


# ---------------------------------------------------------------------------------------------------------------------
# torch.optim
# ---------------------------------------------------------------------------------------------------------------------

# Settings with which neither trajectory amplifies rounding.
TORCH = {
    "sgd": (SGD(0.3), partial(torch.optim.SGD, lr=0.3)),
    "momentum": (SGD(0.05, momentum=0.9), partial(torch.optim.SGD, lr=0.05, momentum=0.9)),
    "nesterov": (
        SGD(0.05, momentum=0.8, nesterov=True),
        partial(torch.optim.SGD, lr=0.05, momentum=0.8, nesterov=True),
    ),
    "adagrad": (AdaGrad(0.5), partial(torch.optim.Adagrad, lr=0.5)),
    "adagrad_initial": (
        AdaGrad(0.5, initial_accumulator=0.1, epsilon=1e-2),
        partial(torch.optim.Adagrad, lr=0.5, initial_accumulator_value=0.1, eps=1e-2),
    ),
    "adadelta": (AdaDelta(1.0), partial(torch.optim.Adadelta, lr=1.0)),
    "adadelta_other": (AdaDelta(0.5, 0.95, 1e-3), partial(torch.optim.Adadelta, lr=0.5, rho=0.95, eps=1e-3)),
    "rmsprop": (RMSProp(0.01, epsilon=0.05), partial(torch.optim.RMSprop, lr=0.01, alpha=0.9, eps=0.05)),
    "rmsprop_momentum": (
        RMSProp(0.01, rho=0.99, momentum=0.8, epsilon=1e-2),
        partial(torch.optim.RMSprop, lr=0.01, alpha=0.99, momentum=0.8, eps=1e-2),
    ),
    "rmsprop_centered": (
        RMSProp(0.01, rho=0.95, centered=True, epsilon=1e-2),
        partial(torch.optim.RMSprop, lr=0.01, alpha=0.95, centered=True, eps=1e-2),
    ),
    "rmsprop_centered_momentum": (
        RMSProp(0.005, rho=0.95, momentum=0.5, centered=True, epsilon=1e-2),
        partial(torch.optim.RMSprop, lr=0.005, alpha=0.95, momentum=0.5, centered=True, eps=1e-2),
    ),
    "adam": (Adam(0.05), partial(torch.optim.Adam, lr=0.05)),
    "adam_other": (Adam(0.02, 0.7, 0.95, 1e-2), partial(torch.optim.Adam, lr=0.02, betas=(0.7, 0.95), eps=1e-2)),
    "amsgrad": (
        Adam(0.05, beta2=0.95, amsgrad=True),
        partial(torch.optim.Adam, lr=0.05, betas=(0.9, 0.95), amsgrad=True),
    ),
    "adamw": (AdamW(0.05), partial(torch.optim.AdamW, lr=0.05, weight_decay=0.01)),
    "adamw_amsgrad": (
        AdamW(0.05, 0.8, 0.95, 1e-2, amsgrad=True, weight_decay=0.7),
        partial(torch.optim.AdamW, lr=0.05, betas=(0.8, 0.95), eps=1e-2, amsgrad=True, weight_decay=0.7),
    ),
    "adamax": (AdaMax(0.05), partial(torch.optim.Adamax, lr=0.05)),
    "adamax_other": (AdaMax(0.02, 0.7, 0.9, 1e-2), partial(torch.optim.Adamax, lr=0.02, betas=(0.7, 0.9), eps=1e-2)),
    "nadam": (NAdam(0.05), partial(torch.optim.NAdam, lr=0.05)),
    "nadam_other": (
        NAdam(0.02, 0.7, 0.95, 1e-2, momentum_decay=0.5),
        partial(torch.optim.NAdam, lr=0.02, betas=(0.7, 0.95), eps=1e-2, momentum_decay=0.5),
    ),
    "radam": (RAdam(0.05), partial(torch.optim.RAdam, lr=0.05)),
    "radam_other": (RAdam(0.02, 0.7, 0.95, 1e-2), partial(torch.optim.RAdam, lr=0.02, betas=(0.7, 0.95), eps=1e-2)),
    "radam_never_rectified": (RAdam(0.05, beta2=0.5), partial(torch.optim.RAdam, lr=0.05, betas=(0.9, 0.5))),
}


@pytest.fixture
def torch_in_double():
    """NAdam in torch keeps a product in the default dtype, whatever that of the parameters."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


@pytest.mark.usefixtures("torch_in_double")
@pytest.mark.parametrize("name", [name for name, (ours, _) in TORCH.items() if not ours.weight_decay])
def test_rule_is_torchs_step_by_step(name):
    ours, theirs = TORCH[name]
    w = torch.tensor(START, requires_grad=True)
    rule = theirs([w])
    for t, (point, _, _) in enumerate(walk(ours, noisy_gradient, START, 300), start=1):
        w.grad = torch.from_numpy(noisy_gradient(w.detach().numpy(), t))
        rule.step()
        assert_allclose(point, w.detach().numpy(), err_msg=f"step {t}", **EXACT)


@pytest.mark.usefixtures("torch_in_double")
@pytest.mark.parametrize("fit_intercept", [False, True])
@pytest.mark.parametrize("name", TORCH)
def test_training_is_torchs(name, fit_intercept):
    ours, theirs = TORCH[name]
    features, target = torch.from_numpy(X), torch.from_numpy(Y)
    coef = torch.zeros(6, requires_grad=True)
    intercept = torch.zeros(1, requires_grad=True)
    groups = [{"params": [coef]}]
    if fit_intercept:
        groups.append({"params": [intercept]} | ({"weight_decay": 0.0} if ours.weight_decay else {}))
    rule = theirs(groups)
    for t in range(1, max(FIT_STEPS) + 1):
        rule.zero_grad()
        (0.5 * (features @ coef + intercept - target) ** 2).mean().backward()
        rule.step()
        if t in FIT_STEPS:
            model = bare(optimizer=ours, fit_intercept=fit_intercept, max_iter=t).fit(X, Y)
            assert_allclose(model.coef_.ravel(), coef.detach().numpy(), err_msg=f"step {t}", **EXACT)
            assert_allclose(model.intercept_.item(), intercept.item(), err_msg=f"step {t}", **EXACT)


# ---------------------------------------------------------------------------------------------------------------------
# Golden trajectories
# ---------------------------------------------------------------------------------------------------------------------


def golden(name):
    """Return a golden's case, its optimizer, its rates by step, counted from 0, and what the estimator adds."""
    case = GOLDENS["cases"][name]
    estimator = dict(case["estimator"])
    warmup, halved_after = estimator.pop("warmup_steps", 1), estimator.pop("halved_after", np.inf)
    optimizer = OPTIMIZERS[case["optimizer"]](**case["parameters"])

    def rate(step):
        return optimizer.learning_rate * np.minimum((step + 1) / warmup, 1.0) * np.where(step < halved_after, 1.0, 0.5)

    return case, optimizer, rate, estimator


@pytest.mark.parametrize(
    "name", [name for name, case in GOLDENS["cases"].items() if "noisy" in case and not name.endswith("_decay")]
)
def test_rule_is_its_reference(name):
    case, optimizer, rate, _ = golden(name)
    points = dict(enumerate(walk(optimizer, noisy_gradient, np.array(case["start"]), 300, rate), start=1))
    assert max(map(int, case["noisy"])) >= 200
    for t, expected in case["noisy"].items():
        w, _, slots = points[int(t)]
        shown = optimizer.readout(w, slots, optimizer.hyper())
        assert_allclose(w, expected["w"], err_msg=f"step {t}", **EXACT)
        assert_allclose(shown, expected.get("readout", expected["w"]), err_msg=f"step {t}", **EXACT)


@pytest.mark.parametrize("name", GOLDENS["cases"])
def test_training_is_its_reference(name):
    case, optimizer, rate, estimator = golden(name)
    assert tuple(map(int, case["fit"])) == FIT_STEPS
    for t, expected in case["fit"].items():
        model = bare(optimizer=optimizer, learning_rate=rate, fit_intercept=False, max_iter=int(t), **estimator)
        coef, expected = model.fit(X, Y).coef_.ravel(), np.array(expected.get("readout", expected["w"]))
        assert_allclose(coef, expected, err_msg=f"step {t}", **EXACT)
        assert_array_equal(coef == 0.0, expected == 0.0)


def test_schedule_free_trains_elsewhere_than_it_predicts():
    """Otherwise the goldens could not tell the two apart."""
    for name in ("schedule_free", "schedule_free_other_rates"):
        point = GOLDENS["cases"][name]["noisy"]["20"]
        assert np.all(np.abs(np.subtract(point["w"], point["readout"])) > 1e-6)


# ---------------------------------------------------------------------------------------------------------------------
# The textbook
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch_size", [None, 1, 4])
def test_gradient_descent_on_a_line(batch_size):
    x = np.linspace(-1.0, 2.0, 10)
    y = 2.0 * x + 3.0
    w, b = 0.0, 0.0
    for n_epochs in range(1, 21):
        for start in range(0, 10, batch_size or 10):
            xs, ys = x[start : start + (batch_size or 10)], y[start : start + (batch_size or 10)]
            residual = w * xs + b - ys
            w, b = w - 0.05 * np.mean(residual * xs), b - 0.05 * np.mean(residual)
        model = bare(optimizer=SGD(0.05), batch_size=batch_size, max_iter=n_epochs).fit(x[:, np.newaxis], y)
        assert_allclose([model.coef_.item(), model.intercept_.item()], [w, b], rtol=1e-12, atol=1e-12)


# ---------------------------------------------------------------------------------------------------------------------
# What all rules share
# ---------------------------------------------------------------------------------------------------------------------

VARIANTS = [
    *(kind(learning_rate=0.05) for kind in OPTIMIZERS.values()),
    SGD(0.05, momentum=0.9),
    SGD(0.05, momentum=0.9, nesterov=True),
    RMSProp(0.05, momentum=0.9, centered=True, epsilon=1e-2),
    Adam(0.05, amsgrad=True),
    RAdam(0.05, beta2=0.9),
    AdEMAMix(0.05, warmup_steps=30),
    FTRL(0.05, beta=0.0, l1=0.5, l2=0.5, initial_accumulator=0.1),
]
each_variant = pytest.mark.parametrize("optimizer", VARIANTS, ids=repr)


def test_every_optimizer_is_registered():
    public = {name for name in skgd.optimizers.__all__ if name != "Optimizer"}
    assert {kind.__name__ for kind in OPTIMIZERS.values()} == public


@each_variant
def test_rule_is_elementwise(optimizer):
    together = list(walk(optimizer, lambda w, t: w + np.sin(t * FREQUENCIES), START, 50))
    for i, (start, frequency) in enumerate(zip(START, FREQUENCIES, strict=True)):
        alone = walk(optimizer, lambda w, t, f=frequency: w + np.sin(t * f), start, 50)
        for (w, step, slots), (point, rate, state) in zip(together, alone, strict=True):
            assert_allclose(point, w[i], rtol=1e-12, atol=1e-12)
            assert_allclose(rate, np.broadcast_to(step, w.shape)[i], rtol=1e-12)
            assert_allclose(state, [slot[i] for slot in slots], rtol=1e-12, atol=1e-12)


@each_variant
def test_rule_changes_none_of_its_inputs(optimizer):
    (*_, (w, _, slots)) = walk(optimizer, noisy_gradient, START, 10)
    g = noisy_gradient(w, 11)
    inputs = [w, g, *slots]
    before = [array.copy() for array in inputs]
    point, step, after = optimizer.rule(w, g, 0.05, 11, slots, optimizer.hyper())
    outputs = [point, step, *after]
    optimizer.readout(point, after, optimizer.hyper())
    for array, copy in zip(inputs, before, strict=True):
        assert_array_equal(array, copy)
    assert len(after) == len(optimizer.slots) == len(optimizer.initial())
    assert not np.shares_memory(point, w)
    assert all(np.isfinite(array).all() for array in outputs)


@each_variant
def test_zero_gradient_from_the_start_moves_nothing(optimizer):
    start = np.zeros(3)
    for w, step, slots in walk(optimizer, lambda w, t: 0.0 * w, start, 20):
        shown = optimizer.readout(w, slots, optimizer.hyper())
        # Yogi's mean starts above zero.
        assert_allclose(shown, start, atol=1e-2 if isinstance(optimizer, Yogi) else 0.0)
        assert np.isfinite(step).all()


@each_variant
def test_rate_of_zero_moves_nothing(optimizer):
    """Schedules start or end there."""
    rates = np.array([0.0, 0.05, 0.05, 0.05, 0.0, 0.0])
    points = [START * (not isinstance(optimizer, FTRL))]  # FTRL starts at 0 by definition
    with np.errstate(all="ignore"):
        for w, _, slots in walk(optimizer, noisy_gradient, points[0], 6, rates.__getitem__):
            assert np.isfinite([w, *slots]).all()
            points.append(w)
    moves = np.abs(np.diff(points, axis=0)).max(axis=1)
    assert np.all(moves[rates > 0.0] > 1e-6)
    if not isinstance(optimizer, ScheduleFree):  # its average moves on
        assert_allclose(moves[rates == 0.0], 0.0, atol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@each_variant
def test_rule_keeps_the_dtype(optimizer, dtype):
    for w, step, slots in walk(
        optimizer, lambda w, t: (w + np.sin(t * FREQUENCIES)).astype(dtype), START.astype(dtype), 8
    ):
        shown = optimizer.readout(w, slots, optimizer.hyper())
        arrays = [w, shown, *slots, *([step] if isinstance(step, (np.ndarray, np.generic)) else [])]
        assert {array.dtype for array in arrays} == {np.dtype(dtype)}


QUADRATIC = np.array([[2.0, 0.6], [0.6, 0.5]])
RATES = {"sgd": 0.3, "adagrad": 0.5, "adadelta": 1.0, "ftrl": 0.5, "lion": 0.01, "rmsprop": 0.01}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_rule_minimizes_a_quadratic(name):
    optimizer = OPTIMIZERS[name](learning_rate=RATES.get(name, 0.05))
    minimum = np.array([0.7, -0.9])
    start = np.zeros(2)
    (*_, (w, _, slots)) = walk(optimizer, lambda w, t: QUADRATIC @ (w - minimum), start, 400)
    shown = optimizer.readout(w, slots, optimizer.hyper())
    before, after = ((v - minimum) @ QUADRATIC @ (v - minimum) / 2.0 for v in (start, shown))
    assert 0.0 <= after < 0.1 * before


STATIONARY = {  # forgetting fast enough to be stationary after 2000 steps
    "sgd": SGD(0.01),
    "momentum": SGD(0.01, momentum=0.9),
    "nesterov": SGD(0.01, momentum=0.9, nesterov=True),
    "adagrad": AdaGrad(0.1),
    "rmsprop": RMSProp(0.01),
    "rmsprop_momentum": RMSProp(0.01, momentum=0.9),
    "rmsprop_centered": RMSProp(0.01, momentum=0.5, centered=True, epsilon=1e-2),
    "adadelta": AdaDelta(1.0),
    "adam": Adam(0.01, beta2=0.9),
    "amsgrad": Adam(0.01, beta2=0.9, amsgrad=True),
    "adamw": AdamW(0.01, beta2=0.9),
    "adamax": AdaMax(0.01, beta2=0.9),
    "nadam": NAdam(0.01, beta2=0.9, momentum_decay=1.0),
    "radam": RAdam(0.01, beta2=0.9),
    "radam_never_rectified": RAdam(0.01, beta2=0.5),
    "adabelief": AdaBelief(0.01, beta2=0.9, epsilon=1e-4),
    "yogi": Yogi(0.01, beta2=0.9),
    "adopt": ADOPT(0.01, beta2=0.9),
    "adan": Adan(0.01),
    "ademamix": AdEMAMix(0.01, beta2=0.9),
    "ademamix_warmup": AdEMAMix(0.01, beta2=0.9, beta3=0.97, warmup_steps=500),
}


@each_variant
@pytest.mark.parametrize("t", [1, 30, 5000])
def test_rules_drift_as_they_say(optimizer, t):
    """Where they do: in steps with no gradient after some with one."""
    if laziness_of(optimizer) != "drift":
        return
    hyper, slots = optimizer.hyper(), tuple(np.full(5, value) for value in optimizer.initial())
    w = np.linspace(-1.0, 1.0, 5)
    for step, g in enumerate(np.random.default_rng(0).normal(size=(3, 5)) * 10.0 ** -np.arange(0, 10, 2), start=t):
        w, _, slots = optimizer.rule(w, g, 0.1, step, slots, hyper)
    momentum, size, epsilon = optimizer.momentum_and_size(slots, hyper)
    before = slots
    for steps in range(1, 50):
        at = t + 2 + steps
        a, b = optimizer.drift(steps, at, hyper)
        factors = zip(optimizer.drift(steps, np.inf, hyper), optimizer.drift(0.0, at, hyper), strict=True)
        assert_allclose([one * other for one, other in factors], [a, b], **EXACT)
        last, (w, _, slots) = w, optimizer.rule(w, 0.0, 0.2, at, slots, hyper)
        assert_allclose(w - last, -0.2 * a * momentum / (b * size + epsilon), rtol=1e-8, atol=1e-14)
        for one, other in zip(optimizer.skip(steps, before, hyper), slots, strict=True):
            assert_allclose(one, other, rtol=1e-12)


@each_variant
def test_rules_leave_idle_slots_alone(optimizer):
    idle = idle_slots(optimizer)
    slots = tuple(np.full(5, np.nan if i in idle else value) for i, value in enumerate(optimizer.initial()))
    w, step, after = optimizer.rule(np.ones(5), np.arange(5.0), 0.1, 3, slots, optimizer.hyper())
    assert np.isfinite(w).all()
    assert np.isfinite(step).all()
    for i, (one, other) in enumerate(zip(after, slots, strict=True)):
        assert one is other if i in idle else np.isfinite(one).all()


def test_a_rule_of_its_own_inherits_no_idle_slots():
    class Own(Adam):
        @staticmethod
        def rule(w, g, lr, t, slots, hyper):
            return w - lr * g, lr, slots

    assert (idle_slots(Adam()), idle_slots(Adam(amsgrad=True)), idle_slots(Own())) == ((2,), (), ())


@pytest.mark.parametrize("name", STATIONARY)
def test_step_is_the_move_for_each_unit_of_a_constant_gradient(name):
    g = np.array([1.0, -0.02, 7.0])
    (*_, (before, _, _), (w, step, _)) = walk(STATIONARY[name], lambda w, t: g, np.zeros(3), 2000)
    assert_allclose(before - w, step * g, rtol=1e-9)


def test_all_rules_with_a_proximal_step_keep_its_contract():
    """FTRL's step is that of the sum of all penalties so far, which a golden trajectory checks."""
    proximal = {kind for kind in OPTIMIZERS.values() if kind.proximal}
    assert {type(optimizer) for optimizer in STATIONARY.values()} == proximal - {FTRL}
    assert set(OPTIMIZERS.values()) - proximal == {Lion, ScheduleFree}


# ---------------------------------------------------------------------------------------------------------------------
# Hyperparameters
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", OPTIMIZERS.values())
def test_parameters_survive_clone_repr_and_pickle(kind):
    changed = {
        name: not value if isinstance(value, bool) else 0.125 if isinstance(value, str) else value / 2.0 + 0.25
        for name, value in kind().get_params().items()
    }
    optimizer = kind(**changed)
    assert optimizer.get_params() == changed
    again = eval(repr(optimizer), vars(skgd.optimizers))
    for other in (clone(optimizer), pickle.loads(pickle.dumps(optimizer)), kind().set_params(**changed), again):
        assert type(other) is kind
        assert other.get_params() == changed
        assert other.hyper() == optimizer.hyper()
        assert other.initial() == optimizer.initial()


def test_hyper_parameters_reach_the_rule():
    """Changing any hyperparameter changes the trajectory."""
    optimizers = [kind(learning_rate=0.05) for kind in OPTIMIZERS.values()] + [SGD(0.05, momentum=0.9)]
    for optimizer in optimizers:
        model = bare(optimizer=optimizer, max_iter=20)
        reference = model.fit(X, Y).coef_
        for name, value in optimizer.get_params().items():
            if name == "nesterov" and not optimizer.momentum:
                continue
            change = (
                not value if isinstance(value, bool) else value + 9 if name == "warmup_steps" else value * 0.9 + 0.01
            )
            other = clone(model).set_params(**{f"optimizer__{name}": change}).fit(X, Y).coef_
            assert not np.array_equal(reference, other), (optimizer, name)


BAD = [
    (Adam(beta1=1.0), ValueError, "Adam.beta1"),
    (Adam(beta2=-0.1), ValueError, "Adam.beta2"),
    (NAdam(beta1=0.0), ValueError, "NAdam.beta1"),
    (NAdam(momentum_decay=-1.0), ValueError, "NAdam.momentum_decay"),
    (ScheduleFree(beta1=0.0), ValueError, "ScheduleFree.beta1"),
    (RMSProp(rho=-1), ValueError, "RMSProp.rho"),
    (AdaDelta(rho=1.0), ValueError, "AdaDelta.rho"),
    (AdaDelta(epsilon=0.0), ValueError, "AdaDelta.epsilon"),
    (AdaMax(epsilon=0.0), ValueError, "AdaMax.epsilon"),
    (SGD(momentum=1.5), ValueError, "SGD.momentum"),
    (SGD(momentum=float("nan")), ValueError, "SGD.momentum"),
    (SGD(momentum="0.9"), TypeError, "SGD.momentum"),
    (SGD(momentum=True), TypeError, "SGD.momentum"),
    (SGD(nesterov=True), ValueError, "nesterov.*needs momentum > 0"),
    (AdaGrad(epsilon=-1), ValueError, "AdaGrad.epsilon"),
    (AdaGrad(initial_accumulator=-1.0), ValueError, "AdaGrad.initial_accumulator"),
    (AdaGrad(epsilon=None), TypeError, "AdaGrad.epsilon"),
    (AdamW(weight_decay=-0.1), ValueError, "AdamW.weight_decay"),
    (Adan(beta3=1.0), ValueError, "Adan.beta3"),
    (ADOPT(epsilon=0.0), ValueError, "ADOPT.epsilon"),
    (AdEMAMix(alpha=-1.0), ValueError, "AdEMAMix.alpha"),
    (AdEMAMix(warmup_steps=2.5), TypeError, "AdEMAMix.warmup_steps.*integer"),
    (AdEMAMix(beta1=0.0, warmup_steps=2), ValueError, "warmup_steps=2.* needs beta1 > 0 and beta3 > 0"),
    (FTRL(beta=-1.0), ValueError, "FTRL.beta"),
    (FTRL(l1=-1.0), ValueError, "FTRL.l1"),
    (FTRL(l2=-1.0), ValueError, "FTRL.l2"),
    (SGD(learning_rate=0), ValueError, "learning_rate"),
    (SGD(learning_rate=-1.0), ValueError, "learning_rate"),
    (SGD(learning_rate=float("inf")), ValueError, "learning_rate"),
    (SGD(learning_rate=None), TypeError, "learning_rate"),
    (SGD(learning_rate="bogus"), ValueError, "learning_rate.*='bogus'.*'cosine'.*'inverse_scaling'"),
    ("bogus", ValueError, "optimizer='bogus'.*'adagrad'.*'sgd'"),
    (Adam, TypeError, r"optimizer .*Did you mean Adam\(\)\?"),
    (None, TypeError, "optimizer"),
    (0.1, TypeError, "optimizer"),
]


@pytest.mark.parametrize(("optimizer", "error", "message"), BAD, ids=lambda value: str(value)[:60])
def test_bad_hyper_parameters_are_refused_by_name(optimizer, error, message):
    model = GDRegressor(optimizer=optimizer)
    with pytest.raises(error, match=message):
        model.fit(X, Y)
    assert not hasattr(model, "coef_")


@pytest.mark.parametrize("kind", OPTIMIZERS.values())
def test_every_hyper_parameter_is_checked(kind):
    for name, value in kind().get_params().items():
        if not isinstance(value, bool):
            with pytest.raises((TypeError, ValueError), match=name):
                GDRegressor(optimizer=kind(**{name: -1.0})).fit(X, Y)
            with pytest.raises((TypeError, ValueError), match=name):
                GDRegressor(optimizer=kind(**{name: [0.5]})).fit(X, Y)
