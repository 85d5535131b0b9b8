"""Strategy objects as estimators see them: names, classes, clones, grids, and one object that serves many."""

import copy
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

import skgd.engines
from skgd import GDClassifier, GDRegressor
from skgd.losses import CLASSIFIER_LOSSES, REGRESSOR_LOSSES, Huber, Loss, Quantile
from skgd.optimizers import OPTIMIZERS, SGD, AdaGrad, Adam, Optimizer
from skgd.schedules import SCHEDULES, Constant, Cosine, Schedule, Step
from skgd.strategy import resolve

X = np.random.default_rng(0).standard_normal((80, 3))
y = X @ [1.0, -2.0, 0.5] + 0.3

REGISTRIES = {
    "classifier loss": (CLASSIFIER_LOSSES, Loss),
    "regressor loss": (REGRESSOR_LOSSES, Loss),
    "optimizer": (OPTIMIZERS, Optimizer),
    "schedule": (SCHEDULES, Schedule),
}
EVERY = [pytest.param(kind, id=name) for known, _ in REGISTRIES.values() for name, kind in known.items()]
every_registry = pytest.mark.parametrize(("known", "base"), REGISTRIES.values(), ids=REGISTRIES)


def regressor(**parameters):
    return GDRegressor(**{"max_iter": 3, "tol": None, "random_state": 0, **parameters})


def state_of(strategy):
    return copy.deepcopy(vars(strategy))


# ---------------------------------------------------------------------------------------------------------------------
# resolve
# ---------------------------------------------------------------------------------------------------------------------


@every_registry
def test_names_stand_for_default_instances(known, base):
    for name, kind in known.items():
        strategy = resolve(name, known, base, "parameter")
        assert type(strategy) is kind
        assert strategy.get_params() == kind().get_params()


@every_registry
def test_unknown_names_list_the_known_ones(known, base):
    with pytest.raises(ValueError, match=f"parameter='nonsense' is not known.*{base.__name__} object") as error:
        resolve("nonsense", known, base, "parameter")
    assert all(repr(name) in str(error.value) for name in known)


@every_registry
def test_a_class_instead_of_an_instance_is_hinted_at(known, base):
    for kind in known.values():
        with pytest.raises(TypeError, match=rf"Did you mean {kind.__name__}\(\)\?"):
            resolve(kind, known, base, "parameter")


@every_registry
@pytest.mark.parametrize("wrong", [None, 3, dict, object(), Constant()], ids=["None", "3", "dict", "object", "other"])
def test_anything_else_is_refused_without_a_hint(known, base, wrong):
    wrong = SGD() if isinstance(wrong, Constant) and base is Schedule else wrong
    with pytest.raises(TypeError, match=rf"parameter must be a name or an? {base.__name__} object") as error:
        resolve(wrong, known, base, "parameter")
    assert "Did you mean" not in str(error.value)


@pytest.mark.parametrize("kind", EVERY)
def test_the_users_object_is_cloned(kind):
    mine = kind()
    base = next(base for base in (Loss, Optimizer, Schedule) if issubclass(kind, base))
    resolved = resolve(mine, {}, base, "parameter")
    assert resolved is not mine
    assert type(resolved) is kind
    assert resolved.get_params() == mine.get_params()


@pytest.mark.parametrize("kind", EVERY)
def test_strategies_keep_their_arguments_untouched(kind):
    """``__init__`` stores what it is given, and nothing else, so that ``clone`` and ``set_params`` work."""
    marks = {name: object() for name in kind().get_params()}
    assert vars(kind(**marks)) == marks


@pytest.mark.parametrize("parameter", ["loss", "optimizer"])
def test_estimators_name_the_parameter(parameter):
    with pytest.raises(ValueError, match=f"{parameter}='nonsense' is not known"):
        regressor(**{parameter: "nonsense"}).fit(X, y)
    with pytest.raises(TypeError, match=f"{parameter} must be a name"):
        regressor(**{parameter: None}).fit(X, y)


@pytest.mark.parametrize(("parameter", "kind"), [("loss", Huber), ("optimizer", Adam)])
def test_estimators_hint_at_the_instance(parameter, kind):
    with pytest.raises(TypeError, match=rf"{parameter} must be a name.*Did you mean {kind.__name__}\(\)\?"):
        regressor(**{parameter: kind}).fit(X, y)


# ---------------------------------------------------------------------------------------------------------------------
# In estimators
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", EVERY)
def test_fitting_leaves_the_strategy_as_it_was(kind):
    mine = kind()
    before = state_of(mine)
    classifies = kind in CLASSIFIER_LOSSES.values()
    parameter = "loss" if issubclass(kind, Loss) else "optimizer" if issubclass(kind, Optimizer) else "learning_rate"
    estimator = GDClassifier if classifies else GDRegressor
    target = y > 0.0 if classifies else np.exp(y) if parameter == "loss" else y
    model = estimator(**{parameter: mine}, max_iter=2, tol=None).fit(X, target)
    model.partial_fit(X, target)
    assert vars(mine) == before
    assert getattr(model, parameter) is mine
    fitted = {"loss": "loss_", "optimizer": "optimizer_"}.get(parameter)
    assert fitted is None or getattr(model, fitted) is not mine


def test_a_nested_schedule_is_left_as_it_was():
    schedule = Step(learning_rate=0.01, step_size=2)
    optimizer = SGD(learning_rate=schedule)
    regressor(optimizer=optimizer).fit(X, y)
    assert optimizer.learning_rate is schedule
    assert vars(schedule) == vars(Step(learning_rate=0.01, step_size=2))


def test_changing_the_object_after_fit_does_not_reach_the_model():
    mine = Adam(learning_rate=0.01)
    model = regressor(optimizer=mine).fit(X, y)
    mine.set_params(learning_rate=0.5, beta1=0.1)
    assert model.optimizer_.get_params() == Adam(learning_rate=0.01).get_params()
    assert model.get_params()["optimizer__beta1"] == 0.1


def test_one_object_serves_many_estimators_at_once():
    optimizer, loss, schedule = Adam(beta1=0.8), Huber(0.7), Cosine(learning_rate=0.01, decay_steps=9)
    models = [regressor(optimizer=optimizer, loss=loss, learning_rate=schedule, max_iter=20) for _ in range(8)]
    scales = np.arange(1.0, 9.0)
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda model, scale: model.fit(X, scale * y), models, scales))
    for model, scale in zip(together, scales, strict=True):
        alone = clone(model).fit(X, scale * y)
        assert_array_equal(model.coef_, alone.coef_)
        assert_array_equal(model.intercept_, alone.intercept_)


def test_one_object_serves_interleaved_streams():
    shared, own = SGD(momentum=0.9), [SGD(momentum=0.9), SGD(momentum=0.9)]
    together = [regressor(optimizer=shared), regressor(optimizer=shared)]
    apart = [regressor(optimizer=optimizer) for optimizer in own]
    for rows in np.array_split(np.arange(80), 5):
        for model, sign in zip(together, (1.0, -3.0), strict=True):
            model.partial_fit(X[rows], sign * y[rows])
    for model, sign in zip(apart, (1.0, -3.0), strict=True):
        for rows in np.array_split(np.arange(80), 5):
            model.partial_fit(X[rows], sign * y[rows])
    for one, other in zip(together, apart, strict=True):
        assert_array_equal(one.coef_, other.coef_)


def test_set_params_reaches_into_strategies():
    model = regressor(optimizer=SGD(), loss=Quantile(), learning_rate=None)
    model.set_params(optimizer__learning_rate=0.01, optimizer__momentum=0.5, loss__quantile=0.8)
    expected = regressor(optimizer=SGD(learning_rate=0.01, momentum=0.5), loss=Quantile(0.8))
    assert_array_equal(model.fit(X, y).coef_, expected.fit(X, y).coef_)
    assert model.history_["learning_rate"] == [0.01] * 3


def test_set_params_reaches_into_nested_schedules():
    model = regressor(optimizer=SGD(learning_rate=Step(learning_rate=0.01)))
    model.set_params(optimizer__learning_rate__learning_rate=0.02)
    assert model.fit(X, y).history_["learning_rate"] == [0.02] * 3


def test_the_estimators_rate_comes_before_the_optimizers():
    with pytest.warns(UserWarning, match="learning_rate=0.01 of the estimator is used, not 0.03") as record:
        model = regressor(optimizer=SGD(0.03), learning_rate=0.01).fit(X, y)
    assert record[0].filename == __file__
    assert model.history_["learning_rate"] == [0.01] * 3
    assert regressor(optimizer=SGD(0.03), learning_rate=None).fit(X, y).history_["learning_rate"] == [0.03] * 3


@pytest.mark.parametrize(
    ("estimator", "parameter"),
    [
        (regressor(optimizer="sgd"), "learning_rate"),
        (regressor(optimizer=SGD()), "optimizer__learning_rate"),
        (GDClassifier(optimizer="sgd", max_iter=3, tol=None, random_state=0), "learning_rate"),
        (GDClassifier(optimizer=SGD(), max_iter=3, tol=None, random_state=0), "optimizer__learning_rate"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_grid_search_over_the_learning_rate(estimator, parameter):
    target, scoring = (y > 0.0, "neg_log_loss") if isinstance(estimator, GDClassifier) else (y, "r2")
    rates = [1e-5, 0.1, Cosine(learning_rate=0.1, decay_steps=20)]
    search = GridSearchCV(estimator, {parameter: rates}, scoring=scoring, cv=3, error_score="raise").fit(X, target)
    scores = search.cv_results_["mean_test_score"]
    assert search.best_params_[parameter] != 1e-5
    assert search.best_score_ == max(scores) > scores[0]
    assert search.best_estimator_.history_["learning_rate"][0] > 0.01


def test_grid_search_over_strategies_as_a_whole():
    grid = {"optimizer": ["adam", SGD(momentum=0.9)], "loss": ["squared_error", Huber(0.5)]}
    search = GridSearchCV(regressor(), grid, cv=3, error_score="raise").fit(X, y)
    assert len(search.cv_results_["params"]) == 4


def test_parameters_changed_between_calls_are_seen():
    """The resolved parameters are kept between calls, until one of them, or something inside one, changes."""
    optimizer = SGD(learning_rate=0.25)
    model = GDRegressor(optimizer=optimizer, batch_size=None)

    def next_rate():
        return model.partial_fit(X, y).history_["learning_rate"][-1]

    assert [next_rate(), next_rate()] == [0.25, 0.25]
    optimizer.learning_rate = 0.125
    assert next_rate() == 0.125
    model.set_params(optimizer__learning_rate=0.0625)
    assert next_rate() == 0.0625
    model.learning_rate = 0.5
    with pytest.warns(UserWarning, match="0.5 of the estimator is used, not 0.0625"):
        assert next_rate() == 0.5
    model.fit_intercept = 1  # equals True, but is none
    with pytest.raises(TypeError, match="fit_intercept"):
        next_rate()


# -- optimizer="auto" -------------------------------------------------------------------------------------------------


def mostly_zeros(n_rows=400, n_columns=1000):
    """Rows of mostly zeros, but of many entries, as of texts, and classes that they tell apart but for some noise."""
    rng = np.random.default_rng(0)
    X = rng.random((n_rows, n_columns)) * (rng.random((n_rows, n_columns)) < 0.07)
    return X, (X @ rng.normal(size=n_columns) + 0.1 * rng.normal(size=n_rows) > 0.0).astype(int)


Z, LABELS = mostly_zeros()


def classifier(**parameters):
    return GDClassifier(**{"max_iter": 4, "tol": None, "random_state": 0, **parameters})


@pytest.mark.parametrize("container", [np.asarray, sp.csr_array, sp.csc_matrix])
@pytest.mark.parametrize("parameters", [{}, {"learning_rate": "auto"}, {"precondition": False}], ids=str)
def test_classifiers_of_mostly_zeros_take_stochastic_steps_without_a_penalty(container, parameters):
    model = classifier(**parameters).fit(container(Z), LABELS)
    assert model.optimizer_.get_params() == SGD().get_params()
    assert model.t_ == 4 * len(Z)  # a row a step
    by_hand = classifier(optimizer="sgd", alpha=0.0, batch_size=1, **parameters).fit(container(Z), LABELS)
    assert_allclose(model.coef_, by_hand.coef_, rtol=1e-10)  # the other engine may have measured the columns
    assert_array_equal(model.history_["objective"], model.history_["loss"])


@pytest.mark.parametrize(
    "parameters",
    [
        {"alpha": 0.0},
        {"alpha": 1e-5},
        {"learning_rate": 0.1},
        {"learning_rate": "cosine"},
        {"batch_size": 1},
        {"batch_size": None},
    ],
    ids=str,
)
def test_what_is_given_leaves_nothing_to_decide(parameters):
    given = classifier(**parameters).fit(sp.csr_array(Z), LABELS)
    assert_array_equal(given.coef_, clone(given).set_params(optimizer="adagrad").fit(sp.csr_array(Z), LABELS).coef_)
    assert type(given.optimizer_) is AdaGrad


@pytest.mark.parametrize(
    "model",
    [
        classifier().fit(X, y > 0.0),
        classifier().partial_fit(sp.csr_array(Z), LABELS, classes=[0, 1]),
        classifier(warm_start=True).partial_fit(Z, LABELS, classes=[0, 1]).fit(Z, LABELS),
        classifier(warm_start=True).fit(np.where(Z, Z, 1.0), LABELS).fit(Z, LABELS),
        classifier().fit(*mostly_zeros(n_columns=600)),
        regressor().fit(X, y),
        regressor().fit(sp.csr_array(Z), Z.sum(axis=1)),
        regressor().partial_fit(Z, Z.sum(axis=1)),
    ],
    ids=[
        "dense",
        "stream",
        "after a stream",
        "after dense rows",
        "fewer entries",
        "regressor",
        "sparse regressor",
        "regressor's stream",
    ],
)
def test_adagrad_is_for_all_else(model):
    assert type(model.optimizer_) is AdaGrad
    assert model.optimizer == "auto"


def test_training_goes_on_with_what_was_decided(monkeypatch):
    monkeypatch.setattr(skgd.engines, "REPAYS_SECONDS", np.inf)  # compiling a stream takes long
    model = classifier(warm_start=True).fit(Z, LABELS)
    before = model.t_
    model.partial_fit(Z[:80], LABELS[:80])
    assert type(model.optimizer_) is SGD
    assert model.t_ == before + 10  # a stream's batches of eight
    assert type(model.fit(np.where(Z, Z, 1.0), LABELS).optimizer_) is SGD
    assert type(clone(model).fit(X, y > 0.0).optimizer_) is AdaGrad


def test_mostly_zeros_are_the_same_in_any_format():
    dense, sparse = (
        classifier(precondition=False).fit(as_format(Z), LABELS) for as_format in (np.asarray, sp.csr_array)
    )
    assert_allclose(dense.coef_, sparse.coef_, rtol=1e-9, atol=1e-12)


def test_training_ends_where_the_loss_comes_to_rest_within_an_epoch():
    model = classifier(max_iter=100, tol="auto").fit(*mostly_zeros(4000))
    assert model.n_iter_ < 10
    assert model.stop_reason_ == "no progress"


def test_a_number_for_tol_asks_for_the_minimum_which_plain_sgd_does_not_reach():
    model = classifier(max_iter=100, tol=0.09).fit(*mostly_zeros(4000))
    assert type(model.optimizer_) is AdaGrad
    assert model.stop_reason_ == "converged"


@pytest.mark.parametrize("n_rows", range(2, 10))
def test_few_rows_of_mostly_zeros(n_rows):
    model = GDClassifier(random_state=0).fit(sp.csr_array(Z[:n_rows]), np.arange(n_rows) % 2)
    assert type(model.optimizer_) is SGD


def test_grid_search_over_auto():
    search = GridSearchCV(
        classifier(), {"optimizer": ["auto", "adagrad", SGD(momentum=0.9)]}, cv=2, error_score="raise"
    )
    search.fit(sp.csr_array(Z), LABELS)
    assert len(search.cv_results_["params"]) == 3
    assert clone(classifier(optimizer="auto")).get_params()["optimizer"] == "auto"
