"""The displays' data, recomputed independently; they draw that data. And what notebooks show of an estimator."""

import builtins
import re
import warnings

import matplotlib.pyplot as plt
import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import minimize
from scipy.special import huber
from sklearn.base import clone
from sklearn.linear_model import QuantileRegressor
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_html_repr

import skgd
from skgd import GDClassifier, GDRegressor, losses, optimizers, schedules
from skgd.display import DescentPathDisplay, LearningRateDisplay, TrainingDisplay
from skgd.losses import Huber, Quantile
from skgd.optimizers import OPTIMIZERS, SGD, Adam, AdamW
from skgd.schedules import Cosine

rng = np.random.default_rng(0)
X = rng.normal(size=(90, 2)) @ [[1.0, 0.8], [0.0, 0.5]] + [0.5, -0.5]
y = X @ [3.0, 1.0] + 0.5 + rng.normal(size=90)
labels = y > np.median(y)
PLAIN = {"precondition": False, "batch_size": None, "alpha": 0.0}


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


def line_data(line):
    return np.array(line.get_data(), dtype=float)


# ---------------------------------------------------------------------------------------------------------------------
# Training curves
# ---------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model():
    return GDRegressor(max_iter=7, tol=None, learning_rate=Cosine(0.1, decay_steps=7)).fit(
        X, y, X_val=X[:30], y_val=y[:30]
    )


def test_training_curves_are_the_history(model):
    display = TrainingDisplay.from_estimator(model)
    assert list(display.lines_) == ["loss", "validation_loss"]
    for quantity, line in display.lines_.items():
        assert_array_equal(line_data(line), [np.arange(1, 8), model.history_[quantity]])
    assert (display.ax_.get_xlabel(), display.ax_.get_ylabel()) == ("epoch", "mean loss (squared error)")
    assert [text.get_text() for text in display.ax_.get_legend().get_texts()] == ["training loss", "validation loss"]
    assert display.figure_ is display.ax_.figure


def test_training_curves_without_a_validation_set():
    display = TrainingDisplay.from_estimator(GDClassifier(max_iter=3, tol=None).fit(X, labels))
    assert list(display.lines_) == ["loss"]
    with pytest.raises(ValueError, match=r"'validation_loss' was not recorded.*X_val and y_val"):
        display.plot(["loss", "validation_loss"])


def test_training_curves_against_time(model):
    display = TrainingDisplay.from_estimator(model, "loss", x="seconds")
    seconds = [sum(model.history_["seconds"][: i + 1]) for i in range(7)]
    assert_allclose(line_data(display.lines_["loss"])[0], seconds)
    assert display.ax_.get_xlabel() == "training time (seconds)"


def test_each_unit_has_a_panel(model):
    quantities = ["objective", "learning_rate", "loss", "gradient_norm"]
    display = TrainingDisplay.from_estimator(model, quantities)
    assert [axes.get_ylabel() for axes in display.axes_] == [
        "mean loss (squared error)",
        "learning rate",
        "gradient norm",
    ]
    for axes, shown in zip(display.axes_, (["objective", "loss"], ["learning_rate"], ["gradient_norm"]), strict=True):
        assert list(axes.lines) == [display.lines_[quantity] for quantity in shown]
    assert display.ax_ is display.axes_[0]
    assert_allclose(line_data(display.lines_["learning_rate"])[1], Cosine(0.1, decay_steps=7)(np.arange(7)))
    with pytest.raises(ValueError, match=r"ax must contain 3 Axes.*got 1"):
        display.plot(quantities, ax=display.ax_)


def test_a_validation_score_has_the_name_of_what_it_is(model):
    history = {**model.history_, "validation_score": [0.5, np.nan, 0.6, 0.6, 0.7, 0.7, 0.7]}
    display = TrainingDisplay(history, score_name="R²").plot(["validation_score", "loss"])
    assert_array_equal(line_data(display.lines_["validation_score"])[1], history["validation_score"])
    assert [axes.get_ylabel() for axes in display.axes_] == ["validation R²", "mean loss"]


def test_several_models_share_axes_and_stay_apart(model):
    display = TrainingDisplay.from_estimator(model, "loss", name="long")
    short = TrainingDisplay.from_estimator(
        clone(model).set_params(max_iter=3).fit(X, y), "loss", name="short", ax=display.ax_
    )
    one, other = display.lines_["loss"], short.lines_["loss"]
    assert list(display.ax_.lines) == [one, other]
    assert (one.get_label(), other.get_label()) == ("long: training loss", "short: training loss")
    for look in ("get_color", "get_marker", "get_linestyle"):
        assert getattr(one, look)() != getattr(other, look)()
    assert TrainingDisplay.from_estimator(model, "loss", color="red").lines_["loss"].get_color() == "red"


def test_histories_of_pipelines_and_searches():
    pipeline = make_pipeline(StandardScaler(), GDRegressor(max_iter=4, tol=None)).fit(X, y)
    assert TrainingDisplay.from_estimator(pipeline).history is pipeline[-1].history_
    search = GridSearchCV(pipeline, {"gdregressor__alpha": [0.0, 0.1]}, cv=2).fit(X, y)
    assert TrainingDisplay.from_estimator(search).history is search.best_estimator_[-1].history_
    with pytest.raises(TypeError, match=r"must be a GDClassifier or a GDRegressor.*StandardScaler"):
        TrainingDisplay.from_estimator(StandardScaler().fit(X))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"quantities": "nonsense"}, "'nonsense' is not known.*objective, loss"),
        ({"quantities": []}, "quantities is empty"),
        ({"quantities": "seconds"}, "'seconds' is not known"),
        ({"x": "years"}, "x='years' is not known"),
    ],
)
def test_wrong_choices_of_curves(model, wrong, message):
    with pytest.raises(ValueError, match=message):
        TrainingDisplay.from_estimator(model, **wrong)


# ---------------------------------------------------------------------------------------------------------------------
# The learning-rate range test
# ---------------------------------------------------------------------------------------------------------------------


def test_range_test_is_gradient_descent_with_rising_rates():
    estimator = GDRegressor(optimizer="sgd", **PLAIN)
    display = LearningRateDisplay.from_estimator(estimator, X, y, lowest=1e-4, highest=0.5, n_steps=40)
    assert_allclose(display.learning_rates, 1e-4 * 5000 ** (np.arange(40) / 39))
    A, w, expected = np.column_stack([X, np.ones(90)]), np.zeros(3), []
    for rate in display.learning_rates:
        w = w - rate * A.T @ (A @ w - y) / 90
        expected.append(np.mean((A @ w - y) ** 2) / 2)
    assert_allclose(display.losses, expected)
    assert_array_equal(line_data(display.line_), [display.learning_rates, display.losses])
    assert display.ax_.get_xscale() == "log"
    assert not hasattr(estimator, "coef_")


def test_range_test_ends_where_training_diverges():
    for n_steps in (60, 200):
        display = LearningRateDisplay.from_estimator(GDRegressor(optimizer="sgd", **PLAIN), X, y, n_steps=n_steps)
        assert 2 < len(display.losses) == len(display.learning_rates) < n_steps
        assert np.isfinite(display.losses).all()
    explosive = GDRegressor(loss="poisson", optimizer="sgd", **PLAIN)
    display = LearningRateDisplay.from_estimator(explosive, 50 * X, np.exp(y), lowest=1e-8, highest=1e8, n_steps=9)
    assert np.isfinite(display.losses).all()


@pytest.mark.parametrize("optimizer", [*OPTIMIZERS, SGD(momentum=0.9), AdamW(weight_decay=0.5)], ids=str)
@pytest.mark.parametrize("make", [GDRegressor, GDClassifier])
def test_suggestion_lies_where_the_loss_falls(make, optimizer):
    """And to train with it leads below the untrained loss."""
    estimator = make(optimizer=optimizer, batch_size=30, random_state=0)
    target = y if make is GDRegressor else labels
    display = LearningRateDisplay.from_estimator(estimator, X, target)
    before, after = (
        display.losses[display.learning_rates < display.suggestion_ / factor][-3:] for factor in (3, 1 / 3)
    )
    best = display.learning_rates[np.argmin(display.losses)]
    assert display.suggestion_ < 2 * best
    assert np.mean(after) < np.mean(before) < 1.1 * display.losses[0]
    fit = clone(estimator).set_params(learning_rate=display.suggestion_, max_iter=30, tol=None).fit(X, target)
    assert fit.history_["loss"][-1] < 0.8 * display.losses[0]


def test_suggestion_is_robust_to_noise_and_outliers():
    rng = np.random.default_rng(1)
    rates = np.geomspace(1e-6, 1e2, 100)
    curve = 1 / (1 + rates / 1e-2) + (rates / 10) ** 2  # falls most steeply, on the logarithmic axis, at 0.01
    noisy = curve * (1 + 0.05 * rng.normal(size=100))
    noisy[[20, 47]] = 1e3, 1e-3
    noisy[-5:] = 1e200
    assert 1e-3 < LearningRateDisplay(rates, noisy).suggestion_ < 1e-1


def test_no_descent_no_suggestion():
    display = LearningRateDisplay(np.geomspace(1e-3, 1, 30), np.linspace(1, 2, 30)).plot()
    assert np.isnan(display.suggestion_)
    assert not any("steepest" in text.get_text() for text in display.ax_.get_legend().get_texts())


def test_suggestion_is_marked_on_the_curve():
    display = LearningRateDisplay.from_estimator(GDRegressor(optimizer="adam"), X, y)
    (mark,) = [line for line in display.ax_.lines if "suggestion" in str(line.get_label())]
    assert_allclose(line_data(mark)[0], display.suggestion_)
    low, high = display.ax_.get_ylim()
    assert low < line_data(mark)[1] < high
    fitted = GDRegressor(optimizer="adam", max_iter=1, tol=None).fit(X, y)
    assert_allclose(display.auto, fitted.history_["learning_rate"][0])


def test_the_rates_of_a_range_test_are_nobodys_mistake():
    """Nobody has set two learning rates, of which one is not used."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        LearningRateDisplay.from_estimator(GDRegressor(optimizer=SGD(0.03)), X, y, n_steps=10)


@pytest.mark.parametrize("container", [sp.csr_array, sp.csc_matrix, sp.coo_array])
def test_range_test_of_sparse_columns(container):
    rng = np.random.default_rng(1)
    S = np.where(rng.random((80, 5)) < 0.5, 0.0, rng.normal(size=(80, 5)))
    target = np.array(list("abc"))[np.argmax(S[:, :3], axis=1)]
    estimator = GDClassifier(optimizer="sgd", precondition=False, alpha=0.0, batch_size=None, class_weight="balanced")
    sparse, dense = (LearningRateDisplay.from_estimator(estimator, A, target) for A in (container(S), S))
    n = min(len(sparse.losses), len(dense.losses), 60)
    assert_allclose(sparse.losses[:n], dense.losses[:n])
    assert sparse.suggestion_ == pytest.approx(dense.suggestion_)


def test_columns_that_are_empty_or_constant_warn_of_nothing():
    data = np.column_stack([X, np.zeros(90), np.ones(90)])
    assert LearningRateDisplay.from_estimator(GDRegressor(), data, y).suggestion_ > 0.0
    display = DescentPathDisplay.from_estimator(GDRegressor(), data, y, n_steps=3)
    assert np.isfinite(display.paths["auto"]).all()
    assert display.ax_.get_legend().get_texts()[0].get_text() == "auto: AdaGrad()"


def test_range_test_weight_zero_is_no_row():
    weight = np.where(np.arange(90) < 60, 2.0, 0.0)
    estimator = GDRegressor(optimizer="sgd", batch_size=None)
    weighted = LearningRateDisplay.from_estimator(estimator, X, y, sample_weight=weight)
    fewer = LearningRateDisplay.from_estimator(estimator, X[:60], y[:60])
    assert_allclose(weighted.losses, fewer.losses)


@pytest.mark.parametrize(
    "wrong", [{"lowest": 0.0}, {"lowest": 2.0, "highest": 1.0}, {"highest": np.inf}, {"n_steps": 1}]
)
def test_rates_must_rise(wrong):
    with pytest.raises(ValueError, match=r"lowest=.* highest=.* n_steps=.* no increasing learning rates"):
        LearningRateDisplay.from_estimator(GDRegressor(), X, y, **wrong)


# ---------------------------------------------------------------------------------------------------------------------
# The path of the descent
# ---------------------------------------------------------------------------------------------------------------------


def test_path_is_that_of_plain_gradient_descent():
    estimator = GDRegressor(optimizer=SGD(0.2), fit_intercept=False, **PLAIN)
    display = DescentPathDisplay.from_estimator(estimator, X, y, start=(-1.0, 4.0), n_steps=15)
    w = np.array([-1.0, 4.0])
    expected = [w]
    for _ in range(15):
        w = w - 0.2 * X.T @ (X @ w - y) / 90
        expected.append(w)
    ((name, path),) = display.paths.items()
    assert name == "SGD(learning_rate=0.2)"
    assert_allclose(path, expected)
    assert_array_equal(line_data(display.lines_[name]), path.T)
    assert_allclose(display.minimum, np.linalg.lstsq(X, y, rcond=None)[0], rtol=1e-6)


def test_path_of_adam_over_slope_and_intercept():
    """Bias corrections count from the start of the path."""
    estimator = GDRegressor(optimizer=Adam(0.1), **PLAIN)
    display = DescentPathDisplay.from_estimator(
        {"adam": estimator}, X[:, :1], y, coefficients=("intercept", 0), start=(1.0, -1.0), n_steps=12
    )
    A, w, m, v = np.column_stack([np.ones(90), X[:, 0]]), np.array([1.0, -1.0]), 0.0, 0.0
    expected = [w]
    for t in range(1, 13):
        g = A.T @ (A @ w - y) / 90
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        w = w - 0.1 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
        expected.append(w)
    assert_allclose(display.paths["adam"], expected, rtol=1e-6)
    assert (display.ax_.get_xlabel(), display.ax_.get_ylabel()) == ("intercept", "coefficient of feature 0")


def test_path_takes_batches_in_turn():
    estimator = GDRegressor(optimizer=SGD(0.1), fit_intercept=False, **PLAIN | {"batch_size": 40, "shuffle": False})
    display = DescentPathDisplay.from_estimator({"sgd": estimator}, X, y, n_steps=5)
    w = np.zeros(2)
    expected = [w]
    for rows in (slice(0, 40), slice(40, 80), slice(80, 90), slice(0, 40), slice(40, 80)):
        w = w - 0.1 * X[rows].T @ (X[rows] @ w - y[rows]) / len(y[rows])
        expected.append(w)
    assert_allclose(display.paths["sgd"], expected)


def test_batches_are_shuffled_alike_each_time():
    random_state = np.random.RandomState(0)
    estimator = GDRegressor(optimizer=SGD(0.1), **PLAIN | {"batch_size": 10, "random_state": random_state})
    one, other = (DescentPathDisplay.from_estimator({"sgd": estimator}, X, y, n_steps=5).paths["sgd"] for _ in range(2))
    assert_array_equal(one, other)
    assert random_state.randint(10**6) == np.random.RandomState(0).randint(10**6)  # the user's was not drawn from
    in_order = clone(estimator).set_params(shuffle=False)
    assert not np.allclose(one, DescentPathDisplay.from_estimator({"sgd": in_order}, X, y, n_steps=5).paths["sgd"])


@pytest.mark.parametrize("batch_size", ["auto", 30])
@pytest.mark.parametrize("optimizer", ["auto", "adam"])
@pytest.mark.parametrize("estimator", [GDRegressor, GDClassifier, "mostly zeros"])
def test_the_path_of_an_epoch_ends_where_fit_does(monkeypatch, estimator, optimizer, batch_size):
    """Its coordinates, batches and rates are those of fit, and "auto" is what it is there."""
    rng = np.random.default_rng(1)
    data, target = (X, y) if estimator is GDRegressor else (X, labels)
    if estimator == "mostly zeros":  # of which classes are learned by plain SGD, one row a step, if nothing is set
        estimator, data = GDClassifier, np.where(rng.random((200, 2)) < 0.5, rng.normal(size=(200, 2)), 0.0)
        target = data @ [3.0, 1.0] + rng.normal(size=200) > 0.0
        data = np.column_stack([data, np.zeros((200, 20))])
        monkeypatch.setattr(skgd.coordinates, "_MANY_ENTRIES", 0)
    params = {"optimizer": optimizer, "batch_size": batch_size, "fit_intercept": False, "random_state": 0}
    fitted = estimator(**params, max_iter=1, tol=None, average=False).fit(data, target)
    display = DescentPathDisplay.from_estimator({"it": estimator(**params)}, data, target, n_steps=fitted.t_)
    assert_allclose(display.paths["it"][-1], fitted.coef_.ravel()[:2], rtol=1e-9)
    rates = LearningRateDisplay.from_estimator(estimator(**params), data, target)
    fitted.set_params(alpha=0.0)  # as with a rate, "auto" is AdaGrad then
    assert_allclose(rates.auto, fitted.fit(data, target).history_["learning_rate"][0])


def test_penalties_that_auto_makes_different_are_refused():
    sparse = np.kron(np.eye(100), np.ones((1, 50)))  # rows of so many entries are texts
    both = [GDClassifier(optimizer="auto"), GDClassifier(optimizer="adam")]
    with pytest.raises(ValueError, match=r"alpha='auto' is different.*same alpha"):
        DescentPathDisplay.from_estimator(both, sparse, np.arange(100) % 2)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_starts_at_the_start_and_descends(name):
    estimator = GDClassifier(optimizer=name, alpha=0.01, random_state=0)
    display = DescentPathDisplay.from_estimator(estimator, X, labels, start=(-1.0, 2.0), n_steps=80, resolution=3)
    (path,) = display.paths.values()
    assert_allclose(path[0], [-1.0, 2.0])
    assert len(path) == 81
    distance = np.linalg.norm(path - display.minimum, axis=1)
    assert distance[-1] < distance[0]


def full_objective(loss, alpha, l1_ratio, weight, columns, target):
    def value(w):
        data = np.average(loss(target, columns @ w[:-1] + w[-1]), weights=weight)
        return data + alpha * ((1 - l1_ratio) / 2 * np.sum(w[:-1] ** 2) + l1_ratio * np.sum(np.abs(w[:-1])))

    return value


@pytest.mark.parametrize(
    ("make", "parameters", "loss"),
    [
        (GDRegressor, {"alpha": 0.3, "l1_ratio": 0.5, "optimizer": SGD(0.1)}, lambda y, f: (f - y) ** 2 / 2),
        (GDRegressor, {"loss": Huber(0.7), "alpha": 0.01}, lambda y, f: huber(0.7, y - f)),
        (GDClassifier, {"alpha": 0.05}, lambda y, f: np.logaddexp(0, -np.where(y, f, -f))),
        (
            GDClassifier,
            {"alpha": 0.05, "class_weight": {False: 1, True: 3}},
            lambda y, f: np.logaddexp(0, -np.where(y, f, -f)),
        ),
        (GDClassifier, {"alpha": 0.05, "class_weight": "balanced"}, lambda y, f: np.logaddexp(0, -np.where(y, f, -f))),
    ],
    ids=["elastic net", "huber", "logistic", "class weight", "balanced"],
)
@pytest.mark.parametrize("container", [np.asarray, sp.csr_array])
def test_contours_are_the_objective(make, parameters, loss, container):
    rng = np.random.default_rng(1)
    columns = np.column_stack([X, X[:, 0] - rng.normal(size=90)])
    target = y if make is GDRegressor else y > np.quantile(y, 0.3)
    given = rng.uniform(0.5, 2.0, size=90)
    display = DescentPathDisplay.from_estimator(
        make(**parameters, random_state=0),
        container(columns),
        target,
        sample_weight=given,
        coefficients=(2, 0),
        resolution=12,
    )
    weight = given.copy()
    if parameters.get("class_weight") == "balanced":
        weight *= np.where(target, given.sum() / (2 * given[target].sum()), given.sum() / (2 * given[~target].sum()))
    elif "class_weight" in parameters:
        weight *= np.where(target, 3, 1)
    value = full_objective(loss, parameters["alpha"], parameters.get("l1_ratio", 0.0), weight, columns, target)
    lowest = np.zeros(4)
    for method in 2 * ("Powell", "Nelder-Mead"):  # either alone gets stuck where there are kinks
        lowest = minimize(value, lowest, method=method, options={"maxfev": 10**5}, tol=1e-11).x
    assert_allclose(display.minimum, lowest[[2, 0]], atol=0.01)
    expected = np.empty((12, 12))
    for row, column in np.ndindex(12, 12):
        point = lowest.copy()
        point[[2, 0]] = display.first[column], display.second[row]
        expected[row, column] = value(point)
    assert_allclose(display.objective, expected, rtol=5e-3)
    assert display.objective.min() >= value(lowest) - 1e-9
    assert_allclose(display.contours_.zmin, display.objective.min())
    assert_allclose(display.contours_.zmax, display.objective.max())


def test_minimum_of_a_loss_with_kinks():
    estimator = GDRegressor(loss=Quantile(0.8), alpha=0.0)
    display = DescentPathDisplay.from_estimator(estimator, X, y, coefficients=(0, "intercept"))
    exact = QuantileRegressor(quantile=0.8, alpha=0.0).fit(X, y)
    assert_allclose(display.minimum, [exact.coef_[0], exact.intercept_], atol=0.02)


def test_several_optimizers_share_the_surface_and_look_different():
    chosen = [SGD(0.1), SGD(0.1, momentum=0.9), Adam(0.3), "adagrad"]
    several = [GDRegressor(optimizer=optimizer, **PLAIN) for optimizer in chosen]
    display = DescentPathDisplay.from_estimator(several, X, y, n_steps=5, linewidth=3)
    names = ["SGD(learning_rate=0.1)", "SGD(learning_rate=0.1, momentum=0.9)", "Adam(learning_rate=0.3)", "adagrad"]
    assert list(display.paths) == list(display.lines_) == names
    looks = {(line.get_color(), line.get_marker()) for line in display.lines_.values()}
    assert len({color for color, _ in looks}) == len({marker for _, marker in looks}) == 4
    assert {line.get_linewidth() for line in display.lines_.values()} == {3}
    for name, estimator in zip(names, several, strict=True):
        alone = DescentPathDisplay.from_estimator(estimator, X, y, n_steps=5)
        assert_array_equal(display.paths[name], alone.paths[name])
    marks = {line.get_label(): line_data(line).ravel() for line in display.ax_.lines[-2:]}
    assert_array_equal(marks["start"], [0, 0])
    assert_array_equal(marks["minimum"], display.minimum)


def test_a_diverging_path_ends_and_the_rest_stays_in_sight():
    several = {f"{rate}": GDRegressor(optimizer=SGD(rate), **PLAIN) for rate in (0.1, 1e100)}
    display = DescentPathDisplay.from_estimator(several, X, y, n_steps=60)
    assert len(display.paths["0.1"]) == 61
    assert len(display.paths["1e+100"]) < 61
    assert np.ptp(display.first) < 5 * abs(display.minimum[0])
    assert display.first[0] < display.minimum[0] < display.first[-1]


def test_columns_by_name():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(X, columns=["age", "weight"])
    display = DescentPathDisplay.from_estimator(GDRegressor(**PLAIN), frame, y, coefficients=("weight", "age"))
    assert display.labels == ("coefficient of weight", "coefficient of age")
    turned = DescentPathDisplay.from_estimator(GDRegressor(**PLAIN), X, y, coefficients=(0, 1))
    assert_allclose(display.minimum, turned.minimum[::-1])
    with pytest.raises(ValueError, match=r"'height' is not known.*\['age', 'weight'\]"):
        DescentPathDisplay.from_estimator(GDRegressor(), frame, y, coefficients=("age", "height"))


@pytest.mark.parametrize(
    ("estimator", "wrong", "message"),
    [
        (GDRegressor(), {"coefficients": (0, 2)}, "2 is not known.*number below 2.*'intercept'"),
        (GDRegressor(), {"coefficients": (1, 1)}, "two different coefficients"),
        (GDRegressor(fit_intercept=False), {"coefficients": (0, "intercept")}, "there is no intercept"),
        (GDRegressor(), {"n_steps": 0}, "n_steps must be at least 1"),
        (GDRegressor(), {"y": np.column_stack([y, y])}, "one target or two classes"),
        ([GDRegressor(), GDRegressor(batch_size=1)], {}, "equal optimizers. Name them"),
        ([GDRegressor(), GDRegressor(optimizer="adam", alpha=1.0)], {}, "different objectives"),
        ([], {}, "estimator is empty"),
    ],
)
def test_wrong_arguments_of_the_path(estimator, wrong, message):
    with pytest.raises(ValueError, match=message):
        DescentPathDisplay.from_estimator(estimator, X, wrong.pop("y", y), **wrong)


# ---------------------------------------------------------------------------------------------------------------------
# All displays
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("display", [LearningRateDisplay, DescentPathDisplay])
def test_foreign_estimators_are_refused(display):
    with pytest.raises(TypeError, match=r"must be a GDClassifier or a GDRegressor.*Of a Pipeline, pass the last step"):
        display.from_estimator(StandardScaler(), X, y)


DRAWN = [
    TrainingDisplay({"loss": [2.0, 1.0], "seconds": [0.1, 0.1]}),
    LearningRateDisplay([0.01, 0.1, 1.0], [2.0, 1.0, 3.0]),
    DescentPathDisplay(
        np.arange(3.0), np.arange(4.0), np.arange(12.0).reshape(4, 3), {"a": np.ones((2, 2))}, np.zeros(2)
    ),
]


@pytest.mark.parametrize("display", DRAWN, ids=lambda display: type(display).__name__)
def test_plot_draws_where_it_is_told(display):
    figure, ax = plt.subplots()
    assert display.plot(ax=ax) is display
    assert display.ax_ is ax
    assert display.figure_ is figure
    assert display.plot().ax_ is not ax


@pytest.mark.parametrize("display", DRAWN, ids=lambda display: type(display).__name__)
def test_without_matplotlib_the_error_says_what_to_install(display, monkeypatch):
    real = builtins.__import__

    def without(name, *arguments, **keywords):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=rf"{type(display).__name__}.*pip install skgd\[plot\]"):
        display.plot()


# ---------------------------------------------------------------------------------------------------------------------
# Notebooks
# ---------------------------------------------------------------------------------------------------------------------

PUBLIC = [(skgd, "GDClassifier"), (skgd, "GDRegressor")]
PUBLIC += [(module, name) for module in (losses, optimizers, schedules) for name in module.__all__]


@pytest.mark.parametrize(("module", "name"), PUBLIC, ids=lambda value: getattr(value, "__name__", value))
def test_no_link_leads_nowhere(module, name):
    """The documentation is not published yet: then no link is better than a dead one."""
    html = estimator_html_repr(getattr(module, name)())
    assert not re.findall(r'href="([^"]*)"', html)


def boxes(html):
    """Return the texts of the labels, without tags."""
    return [re.sub(r"<[^>]*>", " ", label).split("?")[0].strip() for label in re.findall(r"<label.*?</label>", html)]


def test_strategy_objects_have_boxes_of_their_own():
    estimator = GDRegressor(loss=Huber(), optimizer=Adam(learning_rate=0.01), learning_rate=Cosine())
    shown = boxes(estimator_html_repr(estimator))
    assert shown[1::2] == ["learning_rate: Cosine()", "loss: Huber()", "optimizer: Adam(learning_rate=0.01)"]
    assert [label.split()[0] for label in shown[::2]] == ["GDRegressor", "Cosine", "Huber", "Adam"]
    fitted = estimator_html_repr(clone(estimator).set_params(max_iter=2, tol=None).fit(X, y))
    assert boxes(fitted)[1::2] == shown[1::2]
    inside = boxes(estimator_html_repr(make_pipeline(StandardScaler(), GridSearchCV(estimator, {}))))
    assert set(shown[1::2]) < set(inside)


def test_strategies_by_name_have_none():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        html = estimator_html_repr(GDClassifier(optimizer="adam"))
    assert len(boxes(html)) == 1


def test_the_kept_epoch_is_marked():
    early = GDRegressor(max_iter=30, tol=None, optimizer="sgd", learning_rate=0.3, batch_size=None, warm_start=True)
    rng = np.random.default_rng(0)
    A, B = rng.normal(size=(2, 40, 30))
    a, b = (part[:, 0] + rng.normal(size=40) for part in (A, B))
    model = early.fit(A, a, X_val=B, y_val=b)
    assert 1 < model.best_iter_ == np.argmin(model.history_["validation_loss"]) + 1 < model.n_iter_
    for n_before in (0, 30):  # the second time, the record goes on
        marks = marked_epochs(TrainingDisplay.from_estimator(model))
        assert marks == [n_before + model.best_iter_] or model.best_iter_ == 30
        model.fit(A, a, X_val=B, y_val=b)
    assert marked_epochs(TrainingDisplay.from_estimator(GDRegressor().fit(A, a))) == []


def marked_epochs(display):
    return [line.get_xdata()[0] for line in display.ax_.lines if line.get_label().startswith("kept epoch")]


def test_every_epoch_is_marked_and_losses_have_a_logarithmic_axis_on_demand(model):
    display = TrainingDisplay.from_estimator(model, ["loss", "validation_score"], log_scale=True)
    assert [axes.get_yscale() for axes in display.axes_] == ["log", "linear"]
    assert display.lines_["loss"].get_markevery() == 1
    assert TrainingDisplay.from_estimator(model).ax_.get_yscale() == "linear"


def test_contours_are_labeled():
    display = DescentPathDisplay.from_estimator(GDRegressor(batch_size=None), X, y, n_steps=3)
    labels = [float(text.get_text()) for text in display.contours_.labelTexts]
    assert labels
    assert_allclose([np.abs(display.contours_.levels / label - 1.0).min() for label in labels], 0.0, atol=1e-4)
