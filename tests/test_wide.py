"""Wide streams: ``partial_fit`` on sparse rows of very many columns, in a table that is changed in place."""

import copy
import itertools
import pickle
import threading
from contextlib import contextmanager
from unittest import mock

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import log_loss

from skgd import GDClassifier, GDRegressor
from skgd.losses import CLASSIFIER_LOSSES, REGRESSOR_LOSSES, Hinge
from skgd.optimizers import FTRL
from skgd.steps import DivergenceError
from skgd.wide import WideStream
from skgd.wide_table import NORMS, WEIGHT

exact = pytest.importorskip("skgd.engines.compiled.exact")
specialize = pytest.importorskip("skgd.engines.compiled.specialize")

N_ROWS, N_COLUMNS = 80, 2500
CUTS = [0, 1, 2, 10, 40, 41, N_ROWS]


def rows(seed=0, n_rows=N_ROWS, n_columns=N_COLUMNS, dtype=np.float64):
    """Return rows with columns of all kinds: rare ones, one far from zero in all rows, one that most rows have."""
    rng = np.random.default_rng(seed)
    X = sp.random_array((n_rows, n_columns), density=0.006, format="lil", rng=rng)
    X[:, [3]] = rng.integers(1995, 2025, (n_rows, 1))
    X[: n_rows * 3 // 4, [7]] = 1.0
    return sp.csr_array(X).astype(dtype)


def target(kind, X, seed=1):
    rng = np.random.default_rng(seed)
    Z = X.toarray().astype(np.float64)
    Z[:, 3] = (Z[:, 3] - 2010.0) / 10.0
    signal = Z @ rng.normal(size=(X.shape[1], 3))
    signal = (signal - signal.mean(axis=0)) / signal.std(axis=0)
    return {
        "number": np.exp(0.3 * signal[:, 0]),
        "numbers": np.exp(0.3 * signal),
        "binary": signal[:, 0] > np.median(signal[:, 0]),
        "classes": signal.argmax(axis=1),
        "labels": (signal > 0.0).astype(int),
    }[kind]


@contextmanager
def loop_after(n_steps, compiled=True):
    """Take the first steps of streams in NumPy, then those of the loop, compiled or as Python."""
    n_entries = 0 if compiled else np.inf
    with (
        mock.patch("skgd.wide.choose_wide", lambda optimizer, objective, X, t: t >= n_steps),
        mock.patch.multiple("skgd.engines.compiled.wide", _SOME_ENTRIES=n_entries, _MANY_ENTRIES=n_entries),
    ):
        yield


def streamed(model, X, y, weight=None, cuts=CUTS, compiles_after=np.inf, reload=False):
    """Return a copy of a model that has learned from rows in calls between the cuts."""
    model = clone(model)
    more = {"classes": range(3) if y.ndim == 2 else np.unique(y)} if isinstance(model, GDClassifier) else {}
    with loop_after(compiles_after):
        for begin, end in itertools.pairwise(cuts):
            part = slice(begin, end)
            model.partial_fit(X[part], y[part], sample_weight=None if weight is None else weight[part], **more)
            if reload:
                model = pickle.loads(pickle.dumps(model))
    assert isinstance(model._state, WideStream)
    return model


def combinations():
    """Yield models with every loss, and with every parameter that a step heeds."""
    kinds = {GDRegressor: ("number", "numbers"), GDClassifier: ("binary", "classes", "labels")}
    for estimator, losses in ((GDRegressor, REGRESSOR_LOSSES), (GDClassifier, CLASSIFIER_LOSSES)):
        for number, loss in enumerate(losses):
            kind = kinds[estimator][number % len(kinds[estimator])]
            yield estimator(loss, fit_intercept=number % 3 > 0), kind
    yield GDRegressor(optimizer="sgd", alpha=0.01), "numbers"
    yield GDRegressor("huber", optimizer="sgd", precondition=False, learning_rate=1e-8, alpha=0.1), "number"
    yield GDClassifier(alpha=0.01, l1_ratio=0.5), "classes"
    yield GDClassifier(optimizer="adagrad", learning_rate=0.1, max_grad_norm=0.1), "classes"
    yield GDClassifier(learning_rate="inverse_scaling"), "binary"
    yield GDClassifier(optimizer="ftrl", alpha=1e-3, l1_ratio=1.0), "classes"
    yield (
        GDRegressor(optimizer=FTRL(l1=0.1, l2=0.5, initial_accumulator=0.1), learning_rate=0.1),
        "number",
    )
    yield GDRegressor("huber", optimizer="ftrl", alpha=1e-3, l1_ratio=0.5, fit_intercept=False), "numbers"
    yield GDClassifier(average=True), "classes"
    yield GDRegressor("huber", average=20, fit_intercept=False), "numbers"
    yield GDClassifier(average="polynomial", optimizer="sgd", learning_rate=0.1), "binary"
    yield GDClassifier(class_weight="balanced"), "classes"
    yield GDClassifier(class_weight={0: 2.0, 1: 1.0}), "binary"


def assert_agree(compiled, vectorized, tolerance):
    assert (compiled.engine_, vectorized.engine_) == ("compiled", "vectorized")
    for name in ("coef_", "intercept_"):
        ours, expected = getattr(compiled, name), getattr(vectorized, name)
        assert_allclose(ours, expected, rtol=tolerance, atol=tolerance * np.abs(expected).max())
        assert ours.dtype == expected.dtype
    for name in compiled.history_.keys() - {"seconds"}:
        assert_allclose(compiled.history_[name], vectorized.history_[name], rtol=10 * tolerance, atol=1e-300)


@pytest.mark.usefixtures("plain_python")
@pytest.mark.parametrize(("model", "kind"), [*combinations()])
@pytest.mark.parametrize("weighted", [False, True])
def test_both_engines_agree(model, kind, weighted):
    X = rows()
    weight = np.random.default_rng(2).uniform(0.5, 2.0, N_ROWS) if weighted else None
    args = model, X, target(kind, X), weight
    assert_agree(streamed(*args, compiles_after=0), streamed(*args), 1e-8)


def test_compiled_code_agrees():
    pytest.importorskip("numba")
    X = rows(dtype=np.float32)
    for kind in ("classes", "number"):
        model = GDRegressor() if kind == "number" else GDClassifier()
        args = model, X, target(kind, X)
        assert_agree(streamed(*args, compiles_after=0), streamed(*args), 1e-5)


@pytest.fixture
def in_python():
    """Have nothing on the disk, nor compiled before."""
    with mock.patch.object(specialize.Loop, "is_at_hand", False):
        yield


def test_the_loop_gives_the_same_bits_in_python(in_python):
    """Whatever is compiled by now, results are the same."""
    rng = np.random.default_rng(0)
    for model, kind in (
        (GDClassifier(), "binary"),
        (GDClassifier(alpha=1e-3, l1_ratio=0.5), "classes"),
        (GDRegressor("poisson", alpha=1e-3), "numbers"),
        (GDClassifier(optimizer="ftrl", alpha=1e-3, l1_ratio=0.5), "classes"),
        (GDRegressor("tweedie", optimizer="sgd", fit_intercept=False), "number"),
    ):
        for seed in range(5):
            X = rows(seed, dtype=rng.choice([np.float32, np.float64]))
            X.data[rng.random(X.nnz) < 0.01] = 0.0
            X.data *= 2.0 ** rng.integers(-30, 30)
            weight = rng.exponential(size=N_ROWS) if seed % 2 else None
            y, models = target(kind, X, seed), []
            for compiled in (False, True):
                more = {"classes": np.unique(y)} if isinstance(model, GDClassifier) else {}
                with loop_after(0, compiled):
                    models.append(clone(model).partial_fit(X, y, sample_weight=weight, **more))
                assert models[-1]._state.loop.is_at_hand is compiled
            in_python, compiled = (each._state for each in models)
            with in_python.table.at(in_python.version) as ours, compiled.table.at(compiled.version) as others:
                assert_array_equal(ours, others)
            assert_array_equal(in_python.numbers, compiled.numbers)


@pytest.mark.usefixtures("plain_python")
@pytest.mark.parametrize(("model", "kind"), [*combinations()])
def test_every_loss_runs_as_python(model, kind, in_python):
    """With memoryviews and Python's functions in the place of NumPy's, to the same numbers but for rounding."""
    X = rows()
    y = target(kind, X)
    more = {"classes": range(3) if y.ndim == 2 else np.unique(y)} if isinstance(model, GDClassifier) else {}
    models = []
    for compiled in (False, True):
        with loop_after(0, compiled):
            models.append(clone(model).partial_fit(X, y, **more))
        assert models[-1]._state.loop.is_at_hand is compiled
    assert_allclose(models[0].coef_, models[1].coef_, rtol=1e-9, atol=1e-9 * np.abs(models[1].coef_).max())


def test_a_rule_of_ones_own_is_interpreted_by_numpy():
    """Nothing says that it gives the same bits as Python: whether it is compiled depends on the stream alone."""

    class Mine(Hinge):
        @staticmethod
        def value(y, raw, hyper):
            return np.maximum(1.0 - y * raw, 0.0)

    X = rows()
    model = GDClassifier(Mine()).partial_fit(X, target("binary", X), classes=[False, True])
    assert model.engine_ == "vectorized"
    assert GDClassifier("hinge").partial_fit(X, target("binary", X), classes=[False, True]).engine_ == "compiled"


def test_a_short_stream_waits_for_nothing(in_python):
    X = rows(n_rows=300)
    y = target("binary", X)
    model = GDClassifier("squared_hinge", max_grad_norm=10.0, fit_intercept=False)
    with mock.patch.object(specialize.Loop, "__call__", side_effect=AssertionError("compiles")):
        for i in range(0, 300, 10):
            model.partial_fit(X[i : i + 10], y[i : i + 10], classes=[False, True])
        with pytest.raises(AssertionError, match="compiles"):
            model.partial_fit(sp.vstack([X] * 30, format="csr"), np.tile(y, 30))


@pytest.mark.usefixtures("plain_python")
@pytest.mark.parametrize("compiles_after", [0, 30, np.inf])
@pytest.mark.parametrize("reload", [False, True])
@pytest.mark.parametrize(
    "model",
    [
        GDClassifier(),
        GDClassifier(alpha=1e-3),
        GDRegressor(optimizer="sgd"),
        GDClassifier(optimizer="ftrl", alpha=1e-3, l1_ratio=1.0),
        GDRegressor(average=True),
    ],
)
def test_cuts_and_pickles_change_no_bit(model, compiles_after, reload):
    X = rows()
    y = target("number" if isinstance(model, GDRegressor) else "classes", X)
    whole = streamed(model, X, y, cuts=[0, N_ROWS], compiles_after=compiles_after)
    other = streamed(model, X, y, compiles_after=compiles_after, reload=reload)
    assert_array_equal(whole.coef_, other.coef_)
    assert_array_equal(whole.intercept_, other.intercept_)
    assert_array_equal(whole.predict(X), other.predict(X))


@pytest.mark.usefixtures("plain_python")
@pytest.mark.parametrize(
    "model",
    [
        GDClassifier(),
        GDClassifier(alpha=1e-3),
        GDRegressor(optimizer="sgd"),
        GDClassifier(optimizer="ftrl", alpha=1e-3),
        GDClassifier(average=True),
    ],
)
def test_rows_are_predicted_alike_one_by_one_and_together(model):
    X = rows()
    fitted = streamed(model, X, target("number" if isinstance(model, GDRegressor) else "classes", X))
    X = sp.vstack([X, sp.csr_array((1, X.shape[1])), X[:1]], format="csr")
    raw = fitted._raw
    one_by_one = np.concatenate([raw(X[i : i + 1]) for i in range(X.shape[0])])
    assert_allclose(one_by_one, raw(X), rtol=1e-12, atol=1e-12)
    assert_allclose(one_by_one, raw(X.toarray()), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("model", [GDRegressor(), GDRegressor(optimizer="ftrl")])
@pytest.mark.parametrize("compiles_after", [0, np.inf])
def test_units_do_not_matter(compiles_after, model, request):
    request.getfixturevalue("plain_python")
    X = rows()
    y = target("number", X)
    unit = 2.0 ** np.random.default_rng(3).integers(-40, 40, N_COLUMNS)
    scaled = streamed(model, sp.csr_array(X * unit), 2.0**30 * y, compiles_after=compiles_after)
    model = streamed(model, X, y, compiles_after=compiles_after)
    assert_allclose(scaled.predict(X * unit), 2.0**30 * model.predict(X), rtol=1e-6)


@pytest.mark.parametrize("compiles_after", [0, np.inf])
@pytest.mark.parametrize("kind", ["number", "binary", "classes"])
def test_the_default_penalty_is_a_proximal_step_for_the_time_that_has_passed(compiles_after, kind, request):
    request.getfixturevalue("plain_python")
    X = rows()
    y = target(kind, X)
    model = GDRegressor() if kind == "number" else GDClassifier()
    model = streamed(model, X, y, compiles_after=compiles_after)
    before, alpha, rate = model.coef_.copy(), model.alpha_, model.history_["learning_rate"][-1]
    assert alpha == pytest.approx(6e-6 / (3 if kind == "classes" else 2) * mean_square_of_rows(model, X), rel=1e-9)
    with loop_after(compiles_after):
        model.partial_fit(X[:1], y[:1])
    rare = np.setdiff1d(X[[N_ROWS - 1]].indices, [3, 7, *X[[0]].indices])
    n_samples = np.bincount(X.indices, minlength=N_COLUMNS)[rare]
    divisor = 1.0 + alpha * rate / np.sqrt(1.0 + n_samples)
    assert_allclose(model.coef_[..., rare], before[..., rare] / divisor, rtol=1e-9)


def mean_square_of_rows(model, X):
    """Return the mean squared norm of standardized rows, each as it was when the stream saw it."""
    return model._state.numbers[NORMS] / model._state.numbers[WEIGHT]


@pytest.mark.usefixtures("plain_python")
def test_the_default_penalty_depends_on_no_unit_of_weights_and_can_be_switched_off():
    X = rows()
    y = target("binary", X)
    model = streamed(GDClassifier(), X, y, np.full(N_ROWS, 1.0))
    assert_allclose(streamed(GDClassifier(), X, y, np.full(N_ROWS, 1024.0)).coef_, model.coef_, rtol=1e-9)
    elsewhere = np.setdiff1d(np.arange(N_COLUMNS), [3, 7, *X[[0]].indices])
    shown = model.coef_[0, elsewhere].copy()
    model.set_params(alpha=0.0)
    for _ in range(3):
        model.partial_fit(X[:1], y[:1])
    assert model.alpha_ == 0.0
    assert_allclose(model.coef_[0, elsewhere], shown, rtol=1e-12)


def test_the_default_penalty_helps_where_rare_words_are_noise():
    rng = np.random.default_rng(0)
    n_rows, n_words, n_columns = 6000, 60, 2**17
    frequent, rare = rng.integers(0, 300, (n_rows, n_words)), rng.integers(300, n_columns, (n_rows, n_words))
    indices, places = np.hstack([frequent, rare]).ravel(), np.arange(0, 2 * n_rows * n_words + 1, 2 * n_words)
    X = sp.csr_array((np.ones(len(indices)), indices, places), shape=(n_rows, n_columns))
    raw = 0.2 * rng.normal(size=300)[frequent].sum(axis=1)
    y = rng.random(n_rows) < 1.0 / (1.0 + np.exp(-raw))
    losses = [
        log_loss(y[5000:], GDClassifier(alpha=alpha).partial_fit(X[:5000], y[:5000], [0, 1]).predict_proba(X[5000:]))
        for alpha in ("auto", 0.0)
    ]
    assert losses[0] < losses[1] - 0.005


@pytest.mark.usefixtures("plain_python")
@pytest.mark.parametrize("compiles_after", [0, 30, np.inf])
@pytest.mark.parametrize(
    ("model", "kind"),
    [
        (GDClassifier(average=True), "binary"),
        (GDClassifier(average=20), "classes"),
        (GDRegressor(average="polynomial"), "number"),
        (GDRegressor(average=True, optimizer="sgd", precondition=False, learning_rate=1e-9), "numbers"),
    ],
)
def test_the_average_is_that_of_all_iterates(compiles_after, model, kind):
    X = rows()
    y = target(kind, X)
    averaged = streamed(model, X, y, compiles_after=compiles_after)
    last = clone(model).set_params(average=False, alpha=0.0)
    classes = {"classes": np.unique(y)} if isinstance(model, GDClassifier) else {}
    n_before = 20 if model.average == 20 else 0
    expected = 0.0
    with loop_after(compiles_after):
        for row in range(N_ROWS):
            iterate = last.partial_fit(X[row : row + 1], y[row : row + 1], **classes)
            k = row + 1 - n_before
            share = min(1.0, 9.0 / (k + 8.0)) if model.average == "polynomial" else 1.0 / max(k, 1)
            parameters = np.append(iterate.coef_.ravel(), iterate.intercept_)
            expected = expected + share * (parameters - expected) if k > 0 else parameters
    assert_allclose(np.append(averaged.coef_.ravel(), averaged.intercept_), expected, rtol=1e-9, atol=1e-12)
    assert np.abs(expected - parameters).max() > 1e-3 * np.abs(parameters).max()


def test_an_average_goes_on_from_other_states_and_ends():
    X = rows()
    y = target("binary", X)
    fitted = GDClassifier(random_state=0, tol=1e-2).fit(X, y)
    before = fitted.coef_.copy()
    fitted.partial_fit(X[:1], y[:1])
    assert isinstance(fitted._state, WideStream)
    assert fitted._state.averaging
    assert_allclose(fitted.coef_, before, atol=0.1 * np.abs(before).max())
    shown = fitted.coef_.copy()
    fitted.set_params(average=False, alpha=0.0, learning_rate=1e-12).partial_fit(X[:1], y[:1])
    assert_allclose(fitted.coef_, shown, rtol=1e-6, atol=1e-9)
    fitted.set_params(average=True, alpha=0.1).partial_fit(X[:1], y[:1])
    assert not isinstance(fitted._state, WideStream)


def test_learns_what_a_converged_solver_learns():
    """Ids beside a column far from zero, over some passes: their zeros stay zeros, the year is centered."""
    rng = np.random.default_rng(0)
    number, year = rng.integers(0, 3000, 6000), rng.integers(1995, 2025, 6000).astype(float)
    ids = sp.csr_array((np.ones(6000), (np.arange(6000), number)), shape=(6000, 3000))
    X = sp.csr_array(sp.hstack([ids, year[:, np.newaxis]]))
    y = 0.1 * (year - 2010) + rng.normal(size=3000)[number] + 0.1 * rng.normal(size=6000)
    model = GDRegressor()
    for _ in range(10):
        model.partial_fit(X, y)
    assert isinstance(model._state, WideStream)
    assert model.score(X, y) > LinearRegression().fit(X, y).score(X, y) - 0.01
    label, standardized = (y > 0.0).astype(int), sp.hstack([ids, (year[:, np.newaxis] - 2010.0) / 10.0], format="csr")
    expected = LogisticRegression().fit(standardized, label).score(standardized, label)
    classifier = GDClassifier()
    for _ in range(10):
        classifier.partial_fit(X, label, classes=[0, 1])
    assert classifier.score(X, label) > expected - 0.01


@pytest.mark.usefixtures("plain_python")
@pytest.mark.parametrize("compiles_after", [0, 30, np.inf])
@pytest.mark.parametrize(("l1", "l2"), [(0.0, 0.0), (0.3, 0.1)])
def test_ftrl_is_the_algorithm_of_the_paper(compiles_after, l1, l2):
    """McMahan et al. (2013), algorithm 1, one coordinate at a time."""
    X, rate, beta = rows(), 0.1, 1.0
    X[:, [3]] = 0.0
    y = target("binary", X)
    z, n = np.zeros(N_COLUMNS), np.zeros(N_COLUMNS)

    def weights(columns):
        shrunk = np.where(np.abs(z[columns]) <= l1, 0.0, z[columns] - np.sign(z[columns]) * l1)
        return -shrunk / ((beta + np.sqrt(n[columns])) / rate + l2)

    for i in range(N_ROWS):
        columns, x = X[[i]].indices, X[[i]].data
        w = weights(columns)
        g = (1.0 / (1.0 + np.exp(-w @ x)) - y[i]) * x
        z[columns] += g - (np.sqrt(n[columns] + g * g) - np.sqrt(n[columns])) / rate * w
        n[columns] += g * g
    given = {"optimizer": FTRL(rate, beta, l1, l2), "fit_intercept": False, "precondition": False}
    model = streamed(GDClassifier(**given), X, y, compiles_after=compiles_after)
    assert_allclose(model.coef_[0], weights(slice(None)), rtol=1e-9, atol=1e-12)


def test_ftrl_at_falling_rates_takes_all_steps():
    """Of those that a feature misses, the last one does not tell what the others did."""
    X = rows()
    model = GDClassifier(optimizer="ftrl", learning_rate="inverse_scaling", alpha=1e-3, l1_ratio=1.0)
    model.partial_fit(X, target("binary", X), classes=[False, True])
    assert not isinstance(model._state, WideStream)


@pytest.mark.usefixtures("plain_python")
@pytest.mark.parametrize("reload", [False, True])
@pytest.mark.parametrize(
    ("optimizer", "before", "after"),
    [
        ("ftrl", {"learning_rate": 0.5}, {"learning_rate": 0.005}),
        ("ftrl", {"learning_rate": 0.005}, {"learning_rate": 0.5}),
        ("ftrl", {"alpha": 0.0}, {"alpha": 0.01}),
        ("sgd", {"alpha": 0.0}, {"alpha": 0.01}),
        ("adagrad", {"alpha": 0.0}, {"alpha": 0.01}),
        ("adagrad", {"alpha": 0.01}, {"alpha": 0.0}),
        ("adagrad", {"l1_ratio": 0.0}, {"l1_ratio": 1.0}),
    ],
)
def test_other_parameters_do_not_hold_for_steps_that_features_missed_before(optimizer, before, after, reload):
    X = rows(n_rows=200)
    X[:, [3]] = 0.0
    y = target("binary", X)
    given = {"alpha": 1e-2, "l1_ratio": 1.0, "learning_rate": 0.05, "precondition": False, "batch_size": 1}
    n_zeros = []
    for wide in (1000, N_COLUMNS + 1):
        with mock.patch("skgd.automatic._WIDE", wide):
            model = GDClassifier(optimizer=optimizer, **given | before).partial_fit(X[:150], y[:150], classes=[0, 1])
            if reload:
                model = pickle.loads(pickle.dumps(model))
            model.set_params(**after).partial_fit(X[150:152], y[150:152])
            n_zeros.append(np.count_nonzero(model.coef_ == 0.0))
            assert isinstance(model._state, WideStream) == (wide == 1000)
    assert n_zeros[0] == pytest.approx(n_zeros[1], abs=3)


@pytest.mark.usefixtures("plain_python")
def test_classes_share_what_the_default_optimizer_holds_only():
    X = rows()
    y = target("classes", X)
    model = streamed(GDClassifier(optimizer="ftrl"), X, y)
    score = model.score(X, y)
    assert model.set_params(optimizer="auto").partial_fit(X, y).score(X, y) >= score
    assert not model._state.shared


@pytest.mark.usefixtures("plain_python")
def test_ftrl_goes_on_from_coefficients_set_from_outside():
    X = rows()
    y = target("number", X)
    given = {"learning_rate": 0.02, "batch_size": 1, "precondition": False, "alpha": 1e-3, "l1_ratio": 1.0}
    coefs = []
    for wide in (1000, N_COLUMNS + 1):
        with mock.patch("skgd.automatic._WIDE", wide):
            model = GDRegressor(optimizer="ftrl", **given).partial_fit(X[:40], y[:40])
            model.coef_ = np.random.default_rng(0).normal(size=N_COLUMNS)
            coefs.append(model.partial_fit(X[40:], y[40:]).coef_)
    assert_allclose(*coefs, rtol=1e-6, atol=1e-9)


@pytest.mark.usefixtures("plain_python")
@pytest.mark.parametrize("kind", ["classes", "number"])
def test_ftrl_learns_many_features_like_few(kind):
    """Also if a stream begins with those: in the summed penalty, all steps count."""
    X = rows()
    X[:, [3]] = 0.0
    y = target(kind, X)
    given = {"optimizer": "ftrl", "learning_rate": 0.02, "batch_size": 1, "precondition": False, "alpha": 1e-3}
    model = GDRegressor(**given) if kind == "number" else GDClassifier(l1_ratio=1.0, **given)
    expected = streamed(model, X, y)
    with mock.patch("skgd.automatic._WIDE", N_COLUMNS + 1):
        few = clone(model)
        more = {} if kind == "number" else {"classes": np.unique(y)}
        few.partial_fit(X[:40], y[:40], **more)
        assert not isinstance(few._state, WideStream)
        first = copy.deepcopy(few)
        few.partial_fit(X[40:], y[40:])
    first.partial_fit(X[40:], y[40:])
    assert isinstance(first._state, WideStream)
    for each in (few, first):
        assert_allclose(each.coef_, expected.coef_, rtol=1e-5, atol=1e-9)
        assert_allclose(each.intercept_, expected.intercept_, rtol=1e-6)
        [(coef, _)] = each._state.whole.readout()
        assert_allclose(coef, np.atleast_2d(each.coef_).T, rtol=1e-9, atol=1e-12)


@pytest.mark.usefixtures("plain_python")
@pytest.mark.parametrize("compiles_after", [0, np.inf])
@pytest.mark.parametrize("failing", [1, 7, 30])
@pytest.mark.parametrize("average", [False, True])
def test_a_failing_step_leaves_the_same_bits(compiles_after, failing, average):
    X = rows()
    y = target("number", X)
    model = GDRegressor(average=average)
    model = streamed(model, X[:40], y[:40], cuts=[0, 20, 40], compiles_after=compiles_after)
    before = copy.deepcopy(model)
    huge = y[40:].copy()
    huge[failing] = 1e308
    with loop_after(compiles_after):
        for _ in range(2):
            with pytest.raises(ValueError, match=r"too large|diverged"):
                model.partial_fit(X[40:], huge)
        assert_array_equal(model.coef_, before.coef_)
        assert model.t_ == before.t_
        for each in (model, before):
            each.partial_fit(X[40:], y[40:])
    assert_array_equal(model.coef_, before.coef_)
    assert model.history_["objective"] == before.history_["objective"]


@pytest.mark.parametrize("number", range(1, 12))
def test_an_interrupt_leaves_the_same_bits(number):
    """It comes in the middle of a step, which has written some of what it knows."""
    X = rows()
    y = target("classes", X)
    model = streamed(GDClassifier(), X[:20], y[:20], cuts=[0, 20])
    before, calls = copy.deepcopy(model), itertools.count(1)

    def interrupted(self, *args):
        if next(calls) == number:
            raise KeyboardInterrupt
        return original(self, *args)

    original = WideStream._coef
    with loop_after(np.inf):
        with mock.patch.object(WideStream, "_coef", interrupted), pytest.raises(KeyboardInterrupt):
            model.partial_fit(X[20:], y[20:])
        assert_array_equal(model.coef_, before.coef_)
        for each in (model, before):
            each.partial_fit(X[20:], y[20:])
    assert_array_equal(model.coef_, before.coef_)


@pytest.mark.parametrize("number", [1, 2, 50, 500, 2000])
def test_an_interrupt_of_the_loop_as_python_leaves_the_same_bits(number, in_python):
    X = rows()
    y = target("classes", X)
    model = GDClassifier().partial_fit(X[:20], y[:20], classes=range(3))
    before, calls = copy.deepcopy(model), itertools.count(1)

    def interrupted(x):
        if next(calls) == number:
            raise KeyboardInterrupt
        return original(x)

    original = exact.NUMPY.sqrt
    with mock.patch.object(exact.NUMPY, "sqrt", interrupted), pytest.raises(KeyboardInterrupt):
        model.partial_fit(X[20:], y[20:])
    assert_array_equal(model.coef_, before.coef_)
    for each in (model, before):
        each.partial_fit(X[20:], y[20:])
    assert_array_equal(model.coef_, before.coef_)


def test_coefficients_are_made_when_asked_for_and_once():
    X = rows()
    model = streamed(GDClassifier(), X, target("classes", X))
    assert "coef_" not in vars(model)
    coef = model.coef_
    assert model.coef_ is coef
    assert model.intercept_ is model.intercept_
    assert_allclose(model.decision_function(X), X @ coef.T + model.intercept_, rtol=1e-12, atol=1e-12)
    assert_allclose(model.decision_function(X[:3].toarray()), model.decision_function(X[:3]), rtol=1e-12, atol=1e-12)
    model.partial_fit(X[:1], target("classes", X)[:1])
    assert model.coef_ is not coef


@pytest.mark.usefixtures("plain_python")
@pytest.mark.parametrize("reload", [False, True])
@pytest.mark.parametrize("compiled", [False, True])
def test_short_samples_center_what_long_ones_have_made_frequent(compiled, reload):
    """The first samples center nothing; later ones center many features at once, each a few of them."""
    rng = np.random.default_rng(0)
    y, columns = np.arange(20) % 2, np.arange(600)
    values, long, short = rng.normal(5.0, 0.1, 18 * 600), np.tile(columns, 18), columns.reshape(20, 30)
    X = sp.csr_array((values, long, np.arange(0, 18 * 600 + 1, 600)), shape=(18, N_COLUMNS))
    later = sp.csr_array((values[:600], short.ravel(), np.arange(0, 601, 30)), shape=(20, N_COLUMNS))
    with loop_after(0, compiled):
        model = GDClassifier().partial_fit(X, y[:18], classes=[0, 1])
        model = pickle.loads(pickle.dumps(model)) if reload else model
        model.partial_fit(later, y)
    other = GDClassifier().partial_fit(X, y[:18], classes=[0, 1]).partial_fit(later, y)
    assert_allclose(model.coef_, other.coef_, rtol=1e-9, atol=1e-12)
    assert model._state.centered[0] == 300


@pytest.mark.parametrize("compiles_after", [0, 30, np.inf])
@pytest.mark.parametrize("place", ["data", "indices"])
@pytest.mark.parametrize("row", [0, 39])
def test_invalid_entries_change_nothing(compiles_after, place, row):
    X = rows()
    y = target("classes", X)
    model, other = (streamed(GDClassifier(), X, y, compiles_after=compiles_after) for _ in range(2))
    for value in {"data": [np.nan, np.inf, -np.inf], "indices": [N_COLUMNS, -1, np.iinfo(np.int32).min]}[place]:
        broken = X[:40]
        assert broken.has_canonical_format
        getattr(broken, place)[broken.indptr[row + 1] - 1] = value
        for weight in (None, np.ones(40)):
            with loop_after(compiles_after), pytest.raises(ValueError, match=r"X.*(NaN|infinity|malformed)"):
                model.partial_fit(broken, y[:40], sample_weight=weight)
            assert_array_equal(model.coef_, other.coef_)
    with loop_after(compiles_after):
        assert_array_equal(model.partial_fit(X, y).coef_, other.partial_fit(X, y).coef_)


@pytest.mark.usefixtures("plain_python")
@pytest.mark.parametrize("compiles_after", [0, 30, np.inf])
@pytest.mark.parametrize("n_rows", [1, 40])
@pytest.mark.parametrize("flag", [None, True])
def test_entries_in_one_place_are_added_up(compiles_after, n_rows, flag):
    """The loop, which is handed them as they are, leaves them to the usual way."""
    X = rows()
    y = target("classes", X)
    model, other = (streamed(GDClassifier(), X, y, compiles_after=compiles_after) for _ in range(2))
    some = X[:n_rows]
    twice = np.repeat(some.data, 2) / 2.0, np.repeat(some.indices, 2), some.indptr * 2
    twice = sp.csr_array(twice, shape=some.shape)
    if flag:
        twice.sort_indices()
    with loop_after(compiles_after):
        for each in (twice, twice[:, ::-1][:, ::-1]):  # in two orders
            assert not each.has_canonical_format
            model.partial_fit(each, y[:n_rows])
            other.partial_fit(some, y[:n_rows])
    assert_array_equal(model.coef_, other.coef_)
    assert model.t_ == other.t_


@pytest.mark.usefixtures("plain_python")
@pytest.mark.parametrize("compiles_after", [0, 30, np.inf])
def test_entries_in_one_place_are_named_where_the_matrix_says_there_are_none(compiles_after):
    """SciPy goes on saying so if someone changes the indices."""
    X = rows()
    y = target("binary", X)
    model = streamed(GDClassifier(), X, y, compiles_after=compiles_after)
    before = model.coef_.copy(), model.t_
    row = X[:1].copy()
    assert row.has_canonical_format
    assert row.nnz > 1
    row.indices[1] = row.indices[0]
    with loop_after(compiles_after), pytest.raises(ValueError, match="several in one place"):
        model.partial_fit(row, y[:1])
    assert_array_equal(model.coef_, before[0])
    assert model.t_ == before[1]


@pytest.mark.usefixtures("plain_python")
@pytest.mark.parametrize("compiles_after", [0, np.inf])
@pytest.mark.parametrize(
    ("model", "kind"),
    [
        (GDClassifier(), "binary"),
        (GDClassifier(average=True), "classes"),
        (GDClassifier(learning_rate="inverse_scaling"), "binary"),
        (GDRegressor("gamma"), "number"),
        (GDRegressor(optimizer="ftrl", alpha=1e-3, l1_ratio=0.5), "numbers"),
    ],
)
def test_the_caller_s_errstate_never_matters(model, kind, compiles_after):
    X = rows()
    y = target(kind, X)
    X = X @ sp.diags_array(10.0 ** np.random.default_rng(0).integers(-300, 150, N_COLUMNS))
    streams = [streamed(model, X, y, compiles_after=compiles_after)]
    with np.errstate(all="raise"):
        streams.append(streamed(model, X, y, compiles_after=compiles_after))
        if kind == "number":
            with loop_after(compiles_after), pytest.raises(ValueError, match=r"diverged|too large"):
                streams[-1].partial_fit(X, 1e308 * (y / y.max()))
    assert_array_equal(streams[0].coef_, streams[1].coef_)
    assert_array_equal(streams[0].intercept_, streams[1].intercept_)


@pytest.mark.usefixtures("plain_python")
@pytest.mark.parametrize(
    ("precondition", "tiny"), [(True, 1e-320), (True, 1e-310), (True, 2e-308), (True, 1e-307), (False, 1e-200)]
)
@pytest.mark.parametrize("model", [GDRegressor(), GDClassifier(), GDClassifier(average=True)], ids=repr)
def test_columns_too_small_for_a_scale_are_as_good_as_zeros(model, precondition, tiny):
    """Their slots are neither infinite nor nan, in units of values whose squares are zero."""
    X = rows()
    y = target("number" if isinstance(model, GDRegressor) else "classes", X)
    units = np.ones(N_COLUMNS)
    units[8::3] = tiny
    X = X @ sp.diags_array(units)
    model = clone(model).set_params(precondition=precondition, learning_rate="auto" if precondition else 1e-8)
    args = model, X, y
    with np.errstate(all="raise"):
        streams = streamed(*args, compiles_after=0), streamed(*args)
    assert_agree(*streams, 1e-8)
    if precondition and tiny < 1e-307:
        assert np.abs(np.atleast_2d(streams[0].coef_)[:, 8::3]).max() < 1e-290


def test_coefficients_set_from_outside_are_where_training_goes_on():
    X = rows()
    y = target("binary", X)
    model = streamed(GDClassifier(alpha=0.0), X, y)
    model.coef_ = np.where(np.arange(N_COLUMNS) == 3, 0.0, 2.0)[np.newaxis]
    assert_allclose(model.decision_function(X), X @ model.coef_[0] + model.intercept_, rtol=1e-12)
    model.partial_fit(X[:1], y[:1])
    elsewhere = np.setdiff1d(np.arange(N_COLUMNS), [3, *X[:1].indices])
    assert_allclose(model.coef_[0, elsewhere], 2.0, rtol=1e-12)
    model.coef_[0, elsewhere[0]] = 100.0  # in place
    model.partial_fit(X[:1], y[:1])
    assert model.coef_[0, elsewhere[0]] == pytest.approx(100.0)
    assert model.sparsify().coef_.shape == (1, N_COLUMNS)
    model.partial_fit(X[:1], y[:1])


def test_goes_on_from_other_states_and_to_them():
    X = rows()
    y = target("binary", X)
    model = streamed(GDClassifier(average=False), X, y)
    other = copy.deepcopy(model).set_params(optimizer="adam").partial_fit(X, y)
    assert not isinstance(other._state, WideStream)
    assert other.score(X, y) > 0.7
    dense = copy.deepcopy(model).partial_fit(X.toarray(), y)
    assert not isinstance(dense._state, WideStream)
    assert isinstance(dense.partial_fit(X, y)._state, WideStream)
    fitted = GDClassifier(average=False, random_state=0).fit(X, y).partial_fit(X, y)
    assert isinstance(fitted._state, WideStream)
    assert fitted.score(X, y) > 0.9
    [(coef, intercept)] = model._state.whole.readout()
    assert_allclose(coef.T, model.coef_, rtol=1e-9, atol=1e-12)
    assert_allclose(intercept, model.intercept_, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("optimizer", "average"), [("auto", "auto"), ("sgd", "auto"), ("sgd", True)])
def test_what_fit_has_averaged_goes_on_in_one_table(optimizer, average):
    X = rows(n_rows=200)
    y = target("binary", X)
    model = GDClassifier(optimizer=optimizer, average=average, tol=None, max_iter=5, random_state=0)
    model.fit(X, y).partial_fit(X[:1], y[:1])
    table = model._state.table
    for max_iter in range(50, 53):  # another plan, which changes nothing of what the table holds
        model.set_params(max_iter=max_iter).partial_fit(X[:2], y[:2])
    assert model._state.table is table
    assert model._state.averaging
    assert model._state.decay == 0.0


def test_a_stream_that_compares_its_average_goes_on_wide_from_what_it_predicts_and_back():
    X = rows(n_rows=200)
    y = target("binary", X)
    model = GDClassifier().partial_fit(X[:150].toarray(), y[:150], classes=[0, 1])
    assert model._state.comparing
    before = model.decision_function(X)
    for alpha in (1e-6, "auto"):
        wide = copy.deepcopy(model).set_params(alpha=alpha, learning_rate=1e-9).partial_fit(X[:1], y[:1])
        assert isinstance(wide._state, WideStream)
        assert not wide._state.averaging
        assert_allclose(wide.decision_function(X), before, rtol=1e-3, atol=1e-3 * np.abs(before).max())
    wide.set_params(learning_rate=None).partial_fit(X.toarray(), y)
    assert wide._state.comparing


def test_copies_are_independent():
    X = rows()
    y = target("binary", X)
    model = streamed(GDClassifier(), X, y)
    expected = model.decision_function(X)
    for make in (copy.copy, copy.deepcopy, lambda each: pickle.loads(pickle.dumps(each))):
        other = make(model)
        other.partial_fit(X, ~y)
        assert_array_equal(model.decision_function(X), expected)
        assert not np.array_equal(other.decision_function(X), expected)


def test_a_pickle_holds_the_used_columns_only():
    X = rows(n_columns=2**20)
    model = GDClassifier().partial_fit(X, np.arange(N_ROWS) % 2, classes=[0, 1])
    data = pickle.dumps(model)
    assert len(data) < 72 * len(np.unique(X.indices)) + 50_000
    assert_array_equal(pickle.loads(data).predict_proba(X), model.predict_proba(X))


def test_a_saved_model_is_plain_data():
    """For skops, nothing but the estimator itself has to be trusted."""
    skops = pytest.importorskip("skops.io")
    X = rows()
    model = streamed(GDClassifier(), X, target("classes", X))
    data = skops.dumps(model)
    assert skops.get_untrusted_types(data=data) == ["skgd.estimators.GDClassifier"]
    loaded = skops.loads(data, trusted=["skgd.estimators.GDClassifier"])
    assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))
    y = target("classes", X)
    assert_array_equal(loaded.partial_fit(X, y).coef_, model.partial_fit(X, y).coef_)


@pytest.mark.parametrize("read", [lambda model: model, lambda model: pickle.loads(pickle.dumps(model))])
def test_predictions_are_those_of_whole_models_while_training(read):
    """Each call of ``partial_fit`` turns one model into the next: what is read in between, or saved, is one of them."""
    X = rows()
    y = target("binary", X)
    model, reference = GDClassifier(), GDClassifier()
    model.partial_fit(X[:10], y[:10], classes=[False, True])
    reference.partial_fit(X[:10], y[:10], classes=[False, True])
    known = {reference.decision_function(X).tobytes()}
    for start in range(10, N_ROWS, 10):
        known.add(reference.partial_fit(X[start : start + 10], y[start : start + 10]).decision_function(X).tobytes())
    done, strange = threading.Event(), []

    def predict():
        while not done.is_set():
            try:
                if read(model).decision_function(X).tobytes() not in known:
                    strange.append("other numbers")
            except Exception as error:
                strange.append(error)

    thread = threading.Thread(target=predict)
    thread.start()
    try:
        for start in range(10, N_ROWS, 10):
            model.partial_fit(X[start : start + 10], y[start : start + 10])
    finally:
        done.set()
        thread.join()
    assert not strange


def test_divergence_is_told():
    X = rows()
    y = target("number", X)
    model = GDRegressor(optimizer="sgd", learning_rate=1e6, precondition=False)
    with pytest.raises(DivergenceError, match=r"partial_fit at step \d+ \(learning rate"):
        model.partial_fit(X, y)
    assert not hasattr(model, "coef_")


@pytest.mark.usefixtures("plain_python")
@pytest.mark.parametrize("loss", ["poisson", "squared_error"])
def test_both_engines_begin_at_the_mean_after_zeros(loss):
    X = rows()
    y = np.abs(target("number", X)) * (np.arange(N_ROWS) >= 20)
    args = GDRegressor(loss), X, y
    assert_agree(streamed(*args, compiles_after=0), streamed(*args), 1e-8)
