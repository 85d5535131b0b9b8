"""Callbacks: scikit-learn's own and ours, alone, in pipelines and in searches; stopping, checkpoints, going on."""

import copy
import os
import pickle
import subprocess
import sys
import time
import warnings
from functools import cache

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import config_context
from sklearn.base import clone
from sklearn.callback import ProgressBar, ScoringMonitor
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, make_scorer, mean_absolute_error, roc_auc_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import compute_class_weight

from skgd import GDClassifier, GDRegressor, training
from skgd.callbacks import Checkpoint, EarlyStopping
from skgd.optimizers import SGD
from skgd.schedules import ReduceOnPlateau

N, P = 120, 4
rng = np.random.default_rng(0)
X, X_VAL = rng.normal(size=(N, P)), rng.normal(size=(60, P))
SLOPES = np.array([1.0, -2.0, 0.5, 0.0])
Y, Y_VAL = (x @ SLOPES + 2.0 * rng.normal(size=len(x)) for x in (X, X_VAL))
LABELS, LABELS_VAL = np.digitize(Y, [-1.0, 1.0]), np.digitize(Y_VAL, [-1.0, 1.0])
TARGET = {GDRegressor: Y, GDClassifier: LABELS}
TARGET_VAL = {GDRegressor: Y_VAL, GDClassifier: LABELS_VAL}
WEIGHT = rng.uniform(0.5, 2.0, N)

both_estimators = pytest.mark.parametrize("estimator", [GDRegressor, GDClassifier])


def short(estimator, **params):
    """Return a model whose epochs differ: small batches, plain steps, no stopping of its own."""
    params = {"optimizer": "sgd", "learning_rate": 0.05, "average": False, "batch_size": 16} | params
    return estimator(**{"max_iter": 6, "tol": None, "random_state": 0} | params)


def without_seconds(model):
    return {name: values for name, values in model.history_.items() if name != "seconds"}


def assert_same_training(one, other):
    """Compare all that training leaves, bit for bit."""
    for name in ("coef_", "intercept_", "n_iter_", "t_"):
        assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
    for name, values in without_seconds(one).items():
        assert_array_equal(values, other.history_[name], err_msg=name)
    assert len(one.history_["seconds"]) == len(other.history_["seconds"])
    for ours, theirs in zip(one._state.whole.iterate.slots, other._state.whole.iterate.slots, strict=True):
        assert_array_equal(ours, theirs)


class Recorder:
    """Keeps what it is told."""

    def __init__(self):
        self.calls = []

    def setup(self, estimator, context):
        self.calls.append(("setup", context))

    def teardown(self, estimator, context):
        self.calls.append(("teardown", context))

    def on_fit_task_begin(self, estimator, context, *, X=None, y=None, metadata=None, fitted_estimator=None):
        self.calls.append(("begin", context, X, y, metadata, fitted_estimator))

    def on_fit_task_end(self, estimator, context, *, X=None, y=None, metadata=None, fitted_estimator=None):
        self.calls.append(("end", context, X, y, metadata, fitted_estimator))

    def fitted(self, when, task="epoch"):
        """Return the copies of the estimator that were handed over."""
        return [call[-1] for call in self.calls if call[0] == when and call[1].task_name == task]


class Uninterested:
    """Does nothing, and asks for nothing."""

    def setup(self, estimator, context):
        pass

    def teardown(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context):
        pass

    def on_fit_task_end(self, estimator, context):
        pass


class After(Uninterested):
    """Returns something, or raises it, after some epochs."""

    def __init__(self, epoch, outcome):
        self.epoch, self.outcome = epoch, outcome

    def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
        if context.task_name == "epoch" and fitted_estimator.n_iter_ == self.epoch:
            if isinstance(self.outcome, BaseException):
                raise self.outcome
            return self.outcome
        return None


class Killed(Exception):
    """The end of a process."""


# -- the protocol -----------------------------------------------------------------------------------------------------


@both_estimators
def test_tasks(estimator):
    recorder = Recorder()
    short(estimator).set_callbacks(recorder).fit(X, TARGET[estimator])
    names = [(call[0], call[1].task_name) for call in recorder.calls]
    epoch = [("begin", "epoch"), ("end", "epoch")]
    assert names == [("setup", "fit"), ("begin", "fit"), *epoch * 6, ("end", "fit"), ("teardown", "fit")]
    root = recorder.calls[0][1]
    assert root.max_subtasks == 6
    assert root.estimator_name == estimator.__name__
    epochs = [call[1] for call in recorder.calls if call[1].task_name == "epoch"]
    assert [context.task_id for context in epochs] == [k for k in range(6) for _ in "be"]
    assert all(context.parent is root and context.max_subtasks == 0 for context in epochs)


@both_estimators
def test_data_are_those_passed_to_fit(estimator):
    recorder, frame, y = Recorder(), pd.DataFrame(X), pd.Series(TARGET[estimator])
    short(estimator).set_callbacks(recorder).fit(frame, y, sample_weight=WEIGHT)
    for call in recorder.calls[1:-1]:
        assert call[2] is frame
        assert call[3] is y
        assert list(call[4]) == ["sample_weight"]
        assert call[4]["sample_weight"] is WEIGHT
    recorder = Recorder()
    short(estimator).set_callbacks(recorder).fit(frame, y)
    assert all(call[4] is None for call in recorder.calls[1:-1])


@both_estimators
@pytest.mark.parametrize("params", [{}, {"optimizer": "adagrad", "average": "auto", "learning_rate": None}])
def test_fitted_estimator_is_as_if_training_had_ended_there(estimator, params):
    recorder, y = Recorder(), TARGET[estimator]
    model = short(estimator, **params).set_callbacks(recorder).fit(X, y)
    (root,) = recorder.fitted("end", "fit")
    assert_same_training(root, model)
    for k, (begun, ended) in enumerate(zip(recorder.fitted("begin"), recorder.fitted("end"), strict=True), start=1):
        alone = short(estimator, **params, max_iter=k).fit(X, y)
        assert_same_training(ended, alone)
        assert_array_equal(ended.predict(X_VAL), alone.predict(X_VAL))
        if k > 1:
            assert_same_training(begun, recorder.fitted("end")[k - 2])
        else:
            assert begun.n_iter_ == 0
            assert len(np.unique(begun.predict(X_VAL), axis=0)) == 1
            assert begun.history_["loss"] == []


def test_fitted_estimator_is_that_of_the_epoch_though_fit_keeps_the_best():
    recorder = Recorder()
    model = short(GDRegressor, learning_rate=0.5).set_callbacks(recorder).fit(X, Y, X_val=X_VAL, y_val=Y_VAL)
    losses = [0.5 * np.mean((fitted.predict(X_VAL) - Y_VAL) ** 2) for fitted in recorder.fitted("end")]
    assert_allclose(losses, model.history_["validation_loss"], rtol=1e-10)
    assert np.argmin(losses) != 5
    assert_array_equal(model.coef_, recorder.fitted("end")[np.argmin(losses)].coef_)


@both_estimators
def test_callbacks_change_nothing(estimator):
    y = TARGET[estimator]
    watched = short(estimator).set_callbacks(Recorder(), Uninterested()).fit(X, y)
    alone = short(estimator).fit(X, y)
    assert_same_training(watched, alone)
    assert vars(watched).keys() - vars(alone).keys() == {"_skl_callbacks"}


def test_nothing_is_built_for_callbacks_that_do_not_ask(monkeypatch):
    calls = []
    build = GDRegressor._fitted_attributes
    monkeypatch.setattr(GDRegressor, "_fitted_attributes", lambda *args: calls.append(args) or build(*args))
    short(GDRegressor).set_callbacks(Uninterested()).fit(X, Y)
    assert len(calls) == 1  # of the fit itself
    short(GDRegressor).set_callbacks(Recorder(), Recorder()).fit(X, Y)
    assert len(calls) == 2 + 2 * 6  # once for both callbacks


@both_estimators
@pytest.mark.parametrize("tol", [None, 1e-9])
@pytest.mark.parametrize("epoch", [1, 3, 6])
def test_a_callback_that_returns_true_stops_at_that_epoch(estimator, epoch, tol):
    y, recorder = TARGET[estimator], Recorder()
    model = short(estimator, max_iter=6, tol=tol).set_callbacks(After(epoch, True), recorder).fit(X, y)
    assert_same_training(model, short(estimator, max_iter=epoch).fit(X, y))
    assert len(recorder.fitted("begin")) == len(recorder.fitted("end")) == model.n_iter_ == epoch


def test_callbacks_see_the_passes_of_warm_start_and_none_of_partial_fit():
    recorder = Recorder()
    model = short(GDRegressor, warm_start=True).set_callbacks(recorder).fit(X, Y).fit(X, Y)
    assert [fitted.n_iter_ for fitted in recorder.fitted("end")] == [1, 2, 3, 4, 5, 6] * 2
    assert [len(fitted.history_["loss"]) for fitted in recorder.fitted("end")] == list(range(1, 13))
    recorder.calls.clear()
    model.partial_fit(X, Y)
    assert recorder.calls == []


def test_warnings_point_at_the_call_of_fit():
    with pytest.warns(ConvergenceWarning, match="distance to the minimum is about") as caught:
        short(GDRegressor, max_iter=3, tol=0.01, batch_size=None, learning_rate=0.2).fit(X, X @ SLOPES)
    assert caught[0].filename == __file__
    with pytest.warns(UserWarning, match="interrupted") as caught:
        short(GDRegressor).set_callbacks(After(2, KeyboardInterrupt())).fit(X, Y)
    assert caught[0].filename == __file__


# -- fit is atomic, with callbacks too --------------------------------------------------------------------------------


class Failing(Uninterested):
    def __init__(self, hook):
        self.hook, self.torn_down = hook, 0

    def fail(self, hook):
        if hook == self.hook:
            raise Killed(hook)

    def setup(self, estimator, context):
        self.fail("setup")

    def on_fit_task_begin(self, estimator, context, *, fitted_estimator=None):
        self.fail(f"{context.task_name} begin")

    def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
        self.fail(f"{context.task_name} end")

    def teardown(self, estimator, context):
        self.torn_down += 1
        self.fail("teardown")


@both_estimators
@pytest.mark.parametrize("state", ["unfitted", "fitted", "warm"])
@pytest.mark.parametrize("hook", ["setup", "fit begin", "epoch begin", "epoch end", "fit end", "teardown"])
def test_a_callback_that_raises_leaves_the_estimator_as_it_was(estimator, hook, state):
    y, failing, before = TARGET[estimator], Failing(hook), Failing(None)
    model = short(estimator, warm_start=state == "warm")
    if state != "unfitted":
        model.fit(X, y)
    stopping = EarlyStopping(X_VAL, TARGET_VAL[estimator])
    model.set_callbacks(before, stopping, failing)
    values = dict(vars(model))
    memory = {name: pickle.dumps(value) for name, value in values.items() if "callback" not in name}
    with pytest.raises(Killed, match=hook):
        model.fit(X, y)
    assert vars(model).keys() == values.keys()
    assert all(vars(model)[name] is value for name, value in values.items())
    assert {name: pickle.dumps(vars(model)[name]) for name in memory} == memory
    assert (before.torn_down, failing.torn_down) == (1, 1)
    again = short(estimator, warm_start=state == "warm")
    again = again.fit(X, y) if state != "unfitted" else again
    assert_same_training(model.set_callbacks().fit(X, y), again.fit(X, y))


def test_training_that_raises_ends_the_callbacks():
    callback = Failing(None)
    model = short(GDRegressor, precondition=False, learning_rate=1e6).set_callbacks(callback)
    with pytest.raises(ValueError, match="diverged"):
        model.fit(X, Y)
    assert callback.torn_down == 1
    assert not hasattr(model, "coef_")
    with pytest.raises(ValueError, match="rows"):
        model.fit(X, Y, X_val=X_VAL, y_val=Y_VAL[:3])
    assert callback.torn_down == 1  # it was not set up


# -- scikit-learn's callbacks -----------------------------------------------------------------------------------------


def frame_of(monitor):
    return monitor.get_logs().data_as_pandas


@both_estimators
def test_scoring_monitor_alone(estimator):
    """One row an epoch, and one of the whole fit, as scikit-learn's own estimators have it."""
    scoring = "r2" if estimator is GDRegressor else "accuracy"
    y, monitor = TARGET[estimator], ScoringMonitor(scoring=scoring)
    model = short(estimator).set_callbacks(monitor).fit(pd.DataFrame(X, columns=list("abcd")), y)
    log = frame_of(monitor)
    assert list(log["task_name"]) == ["fit"] + ["epoch"] * 6
    expected = [short(estimator, max_iter=k).fit(X, y).score(X, y) for k in range(1, 7)]
    assert_allclose(log[scoring], [model.score(pd.DataFrame(X, columns=list("abcd")), y), *expected], rtol=1e-12)


def test_scoring_monitor_weighs_the_rows():
    monitor = ScoringMonitor(scoring="neg_mean_squared_error")
    model = short(GDRegressor).set_callbacks(monitor).fit(X, Y, sample_weight=WEIGHT)
    expected = -np.average((model.predict(X) - Y) ** 2, weights=WEIGHT)
    assert_allclose(frame_of(monitor)["neg_mean_squared_error"].iloc[-1], expected, rtol=1e-12)


def test_scoring_monitor_in_a_pipeline():
    monitor = ScoringMonitor(scoring="accuracy")
    pipeline = make_pipeline(StandardScaler(), short(GDClassifier).set_callbacks(monitor)).fit(X, LABELS)
    log = frame_of(monitor)
    epochs = log[log["task_name"] == "epoch"]
    assert len(epochs) == pipeline[-1].n_iter_ == 6
    assert_allclose(epochs["accuracy"].iloc[-1], pipeline.score(X, LABELS), rtol=1e-12)
    assert set(log["estimator_name"]) == {"GDClassifier"}


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_scoring_monitor_in_a_grid_search(n_jobs):
    monitor = ScoringMonitor(scoring="accuracy")
    pipeline = make_pipeline(StandardScaler(), short(GDClassifier).set_callbacks(monitor))
    search = GridSearchCV(pipeline, {"gdclassifier__alpha": [1e-3, 1.0]}, cv=3, n_jobs=n_jobs).fit(X, LABELS)
    log = frame_of(monitor)
    epochs = log[log["task_name"] == "epoch"]
    assert (epochs.groupby("parent_task_id_path").size() == 6).all()
    assert len(epochs) == 6 * (2 * 3 + 1)
    last = epochs[epochs["task_id_path"].map(len) == epochs["task_id_path"].map(len).min()]
    assert_allclose(last["accuracy"].iloc[-1], search.score(X, LABELS), rtol=1e-12)


@pytest.fixture
def wide(monkeypatch):
    """A terminal that is wide enough for all names."""
    monkeypatch.setenv("COLUMNS", "250")


def lines_of(printed):
    """Return the last state of each progress bar: what it is of, and how full it is."""
    bars = {}
    for line in printed.splitlines():
        if "%" in line:
            name, _, rest = line.partition("━")
            bars[name.strip()] = rest.split("%")[0].split()[-1]
    return bars


def test_progress_bar_alone(wide, capsys):
    short(GDClassifier).set_callbacks(ProgressBar()).fit(X, LABELS)
    assert lines_of(capsys.readouterr().out) == {"GDClassifier - fit": "100"}


def test_progress_bar_in_a_pipeline(wide, capsys):
    make_pipeline(StandardScaler(), short(GDClassifier)).set_callbacks(ProgressBar()).fit(X, LABELS)
    bars = lines_of(capsys.readouterr().out)
    assert set(bars.values()) == {"100"}
    assert [name.rpartition("| ")[2] for name in bars] == [
        "Pipeline - fit",
        "StandardScaler - fit #0",
        "GDClassifier - fit #1",
    ]


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_progress_bar_in_a_grid_search(n_jobs, wide, capsys):
    pipeline = make_pipeline(StandardScaler(), short(GDClassifier))
    search = GridSearchCV(pipeline, {"gdclassifier__alpha": [1e-3, 1.0]}, cv=2, n_jobs=n_jobs)
    search.set_callbacks(ProgressBar(max_propagation_depth=None)).fit(X, LABELS)
    bars = lines_of(capsys.readouterr().out)
    assert set(bars.values()) == {"100"}
    assert sum("GDClassifier - fit" in name for name in bars) >= 1
    assert not hasattr(search.best_estimator_[-1], "_skl_callbacks")


def test_callbacks_are_cloned_by_reference_and_removed_by_an_empty_call():
    recorder = Recorder()
    copied = clone(short(GDRegressor).set_callbacks(recorder))
    copied.fit(X, Y)
    assert len(recorder.fitted("end")) == 6
    recorder.calls.clear()
    copied.set_callbacks().fit(X, Y)
    assert recorder.calls == []
    with pytest.raises(TypeError, match="protocol"):
        copied.set_callbacks("progress")


OLDER = """
import sys
import sklearn.linear_model, sklearn.model_selection  # which need the module themselves
from sklearn.datasets import load_iris
sys.modules["sklearn.callback"] = None  # as with scikit-learn 1.8
import skgd, skgd.callbacks
X, y = load_iris(return_X_y=True)
model = skgd.GDClassifier(random_state=0)
try:
    model.set_callbacks(skgd.callbacks.EarlyStopping(X, y))
except ImportError as error:
    print(error)
print(model.fit(X, y).score(X, y) > 0.9)
"""


def test_older_scikit_learn_says_which_version_is_needed():
    """All else works there; most of the tests run with the oldest version in CI."""
    done = subprocess.run([sys.executable, "-c", OLDER], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    message, works = done.stdout.splitlines()
    assert "scikit-learn 1.9 or newer" in message
    assert works == "True"


# -- EarlyStopping ----------------------------------------------------------------------------------------------------


@cache
def trained(estimator, rate, n_epochs):
    """Return models after 1, 2, ... epochs, each trained from the beginning."""
    models = [short(estimator, learning_rate=rate, max_iter=k) for k in range(1, n_epochs + 1)]
    return [model.fit(X, TARGET[estimator]) for model in models]


def squared_error(model, y_val, weight):
    return 0.5 * np.average((model.predict(X_VAL) - y_val) ** 2, weights=weight)


def minus_r2(model, y_val, weight):
    return -model.score(X_VAL, y_val, weight)


def absolute_error(model, y_val, weight):
    return mean_absolute_error(y_val, model.predict(X_VAL), sample_weight=weight)


def cross_entropy(model, y_val, weight):
    return log_loss(y_val, model.predict_proba(X_VAL), sample_weight=weight)


def minus_auc(model, y_val, weight):
    return -roc_auc_score(y_val, model.predict_proba(X_VAL), multi_class="ovr", sample_weight=weight)


WATCHED = [
    (GDRegressor, "loss", squared_error),
    (GDRegressor, None, minus_r2),
    (GDRegressor, "neg_mean_absolute_error", absolute_error),
    (GDRegressor, make_scorer(mean_absolute_error, greater_is_better=False), absolute_error),
    (GDClassifier, "loss", cross_entropy),
    (GDClassifier, "roc_auc_ovr", minus_auc),
]


@pytest.mark.parametrize("weight", [None, rng.uniform(0.5, 2.0, 60)], ids=["", "weighted"])
@pytest.mark.parametrize(("estimator", "monitor", "by_hand"), WATCHED)
@pytest.mark.parametrize(("patience", "min_delta"), [(1, 0.0), (3, 0.0), (4, 0.02)])
def test_early_stopping(estimator, monitor, by_hand, patience, min_delta, weight):
    """It stops where the rule says, and restores the best epoch's coefficients bit for bit."""
    y, y_val, rate = TARGET[estimator], TARGET_VAL[estimator], 0.3
    values = [by_hand(model, y_val, weight) for model in trained(estimator, rate, 25)]
    best, waited, expected = np.inf, 0, 25
    for k, value in enumerate(values, start=1):
        waited = waited + 1 if value >= best - min_delta else 0
        best = min(best, value)
        if waited == patience:
            expected = k
            break
    callback = EarlyStopping(X_VAL, y_val, weight, monitor=monitor, patience=patience, min_delta=min_delta)
    model = short(estimator, max_iter=25, learning_rate=rate).set_callbacks(callback).fit(X, y)
    assert model.n_iter_ == len(model.history_["loss"]) == expected < 25
    best_epoch = trained(estimator, rate, 25)[int(np.argmin(values[:expected]))]
    assert_array_equal(model.coef_, best_epoch.coef_)
    assert_array_equal(model.intercept_, best_epoch.intercept_)
    assert model.t_ == best_epoch.t_
    assert_array_equal(model.predict(X_VAL), best_epoch.predict(X_VAL))
    assert not hasattr(model, "_early_stopping")
    model.partial_fit(X, y)  # goes on from the best epoch
    assert_array_equal(model.coef_, copy.deepcopy(best_epoch).partial_fit(X, y).coef_)


def test_early_stopping_restores_the_first_of_equal_epochs():
    models = trained(GDClassifier, 0.3, 25)
    few, labels = X_VAL[:15], LABELS_VAL[:15]
    scores = [model.score(few, labels) for model in models]
    assert scores.count(max(scores)) > 1
    callback = EarlyStopping(few, labels, monitor="accuracy", patience=100)
    model = short(GDClassifier, learning_rate=0.3, max_iter=25).set_callbacks(callback).fit(X, LABELS)
    assert model.t_ == models[int(np.argmax(scores))].t_


@pytest.mark.parametrize("end", ["max_iter", "tol", "callback", "interrupt"])
def test_early_stopping_restores_the_best_whatever_ends_the_training(end):
    params = {"learning_rate": 0.5, "max_iter": 8}
    models = trained(GDRegressor, 0.5, 8)
    values = [squared_error(model, Y_VAL, None) for model in models]
    assert np.argmin(values) < 7
    others = {"callback": [After(8, True)], "interrupt": [After(8, KeyboardInterrupt())]}.get(end, [])
    model = short(GDRegressor, **params).set_callbacks(EarlyStopping(X_VAL, Y_VAL, patience=100), *others)
    if end == "tol":
        model.set_params(tol=0.5, n_iter_no_change=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore" if end == "interrupt" else "error")
        model.fit(X, Y)
    best = models[int(np.argmin(values[: model.n_iter_]))]
    assert (model.n_iter_ < 8) == (end == "tol")
    assert_array_equal(model.coef_, best.coef_)
    assert model.best_iter_ == best.n_iter_
    assert np.isnan(model.best_score_)


def test_other_callbacks_see_the_restored_estimator_at_the_end():
    for order in (1, -1):
        recorder = Recorder()
        callbacks = [EarlyStopping(X_VAL, Y_VAL, patience=2), recorder][::order]
        model = short(GDRegressor, learning_rate=0.5).set_callbacks(*callbacks).fit(X, Y)
        assert_array_equal(recorder.fitted("end", "fit")[0].coef_, model.coef_)
        assert not np.array_equal(recorder.fitted("end")[-1].coef_, model.coef_)


def test_early_stopping_counts_class_weights_in_the_loss():
    weights = {0: 1.0, 1: 10.0, 2: 1.0}
    callback = EarlyStopping(X_VAL, LABELS_VAL, patience=100)
    own = short(GDClassifier, class_weight=weights, learning_rate=0.5)
    own.fit(X, LABELS, X_val=X_VAL, y_val=LABELS_VAL)
    by_callback = short(GDClassifier, class_weight=weights, learning_rate=0.5).set_callbacks(callback).fit(X, LABELS)
    assert_array_equal(by_callback.coef_, own.coef_)
    balanced = compute_class_weight("balanced", classes=np.arange(3), y=LABELS)
    one = short(GDClassifier, class_weight="balanced", learning_rate=0.5).set_callbacks(callback).fit(X, LABELS)
    two = short(GDClassifier, class_weight=dict(enumerate(balanced)), learning_rate=0.5).set_callbacks(callback)
    assert_allclose(one.coef_, two.fit(X, LABELS).coef_, rtol=1e-9)


@pytest.mark.parametrize("as_format", [sp.csr_array, sp.csc_matrix, pd.DataFrame, np.float32], ids=lambda f: f.__name__)
def test_early_stopping_takes_what_the_estimator_takes(as_format):
    x, x_val = as_format(X), as_format(X_VAL)
    if as_format is pd.DataFrame:
        x, x_val = x.set_axis(list("abcd"), axis=1), x_val.set_axis(list("abcd"), axis=1)
    model = short(GDRegressor, learning_rate=0.5)
    by_callback = clone(model).set_callbacks(EarlyStopping(x_val, Y_VAL, patience=100)).fit(x, Y)
    assert_array_equal(by_callback.coef_, clone(model).fit(x, Y, X_val=x_val, y_val=Y_VAL).coef_)


def test_early_stopping_in_a_pipeline():
    scaler = StandardScaler().fit(X)
    callback = EarlyStopping(scaler.transform(X_VAL), Y_VAL, patience=2)
    model = short(GDRegressor, learning_rate=0.5, max_iter=25).set_callbacks(callback)
    pipeline = make_pipeline(StandardScaler(), model).fit(X, Y)
    by_hand = clone(model).fit(scaler.transform(X), Y)
    assert pipeline[-1].n_iter_ < 25
    assert_same_training(pipeline[-1], by_hand)


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_one_early_stopping_serves_the_models_of_a_search(n_jobs):
    callback = EarlyStopping(X_VAL, Y_VAL, patience=2)
    model = short(GDRegressor, max_iter=20).set_callbacks(callback)
    grid = {"learning_rate": [0.01, 0.5]}
    search = GridSearchCV(model, grid, cv=3, n_jobs=n_jobs).fit(X, Y)
    alone = clone(model).set_params(**search.best_params_).fit(X, Y)
    assert_same_training(search.best_estimator_, alone)
    each = [clone(model).set_params(learning_rate=rate) for rate in (0.01, 0.5)]
    scores = [m.fit(X[40:], Y[40:]).score(X[:40], Y[:40]) for m in each]
    assert_allclose(search.cv_results_["split0_test_score"], scores, rtol=1e-12)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"patience": 0}, ValueError, "patience"),
        ({"patience": 1.5}, TypeError, "patience.*integer.*1.5"),
        ({"patience": True}, TypeError, "patience"),
        ({"min_delta": -0.1}, ValueError, "min_delta"),
        ({"min_delta": np.nan}, ValueError, "min_delta.*finite"),
        ({"min_delta": "small"}, TypeError, "min_delta.*number.*'small'"),
        ({"y_val": None}, ValueError, "X_val and y_val"),
        ({"X_val": None}, ValueError, "X_val and y_val"),
    ],
)
def test_early_stopping_refuses_bad_arguments(arguments, error, words):
    with pytest.raises(error, match=words):
        EarlyStopping(**{"X_val": X_VAL, "y_val": Y_VAL} | arguments)


@pytest.mark.parametrize(
    ("callbacks", "words"),
    [
        ([EarlyStopping(X_VAL[:, :2], Y_VAL)], "features"),
        ([EarlyStopping(X_VAL, Y_VAL[:5])], "60 rows, but y_val has 5"),
        ([EarlyStopping(X_VAL, Y_VAL, np.ones(3))], "sample_weight_val"),
        ([EarlyStopping(X_VAL, Y_VAL, monitor="lossy")], "lossy"),
        ([EarlyStopping(X_VAL, Y_VAL), EarlyStopping(X_VAL, Y_VAL)], "only one"),
    ],
)
def test_early_stopping_refuses_in_fit(callbacks, words):
    model = short(GDRegressor).set_callbacks(*callbacks)
    with pytest.raises(ValueError, match=f"(?i){words}"):
        model.fit(X, Y)
    assert not hasattr(model, "coef_")


@pytest.mark.parametrize("callback", [EarlyStopping(X_VAL, Y_VAL), Checkpoint("file")], ids=lambda c: type(c).__name__)
@pytest.mark.parametrize("other", [LogisticRegression(), make_pipeline(GDClassifier())], ids=["other", "pipeline"])
def test_our_callbacks_are_for_our_estimators(callback, other):
    with pytest.raises(TypeError, match=r"GDRegressor and GDClassifier, got .*pipeline\[-1\]"):
        other.set_callbacks(callback).fit(X, LABELS)


# -- Checkpoint -------------------------------------------------------------------------------------------------------


class Rereads(Uninterested):
    """Reads a checkpoint in the middle of training, as another process might."""

    def __init__(self, path):
        self.path, self.epochs = path, []

    def on_fit_task_end(self, estimator, context):
        self.epochs.append(Checkpoint.load(self.path).n_iter_ if self.path.exists() else None)


def killed_after(model, epoch, path, *callbacks, data=(X, Y), every=1, **more):
    """Train until the process "dies" right after an epoch, and return what is left: a checkpoint."""
    model.set_callbacks(*callbacks, Checkpoint(path, every_n_epochs=every), After(epoch, Killed()))
    with pytest.raises(Killed):
        model.fit(*data, **more)
    return Checkpoint.load(path)


TRAININGS = {
    "sgd": (GDRegressor, {}, {}),
    "default": (GDRegressor, {"optimizer": "adagrad", "average": "auto", "learning_rate": None}, {}),
    "classes": (GDClassifier, {"optimizer": "adam", "class_weight": "balanced"}, {}),
    "schedule_free": (GDRegressor, {"optimizer": "schedule_free"}, {}),
    "momentum": (GDClassifier, {"optimizer": "nadam", "average": True, "precondition": False}, {}),
    "plateau": (GDRegressor, {"learning_rate": ReduceOnPlateau(learning_rate=0.5, patience=0, factor=0.5)}, {}),
    "tol": (GDRegressor, {"tol": 0.1, "n_iter_no_change": 3, "learning_rate": 0.3, "max_iter": 50}, {}),
    "weights": (GDRegressor, {}, {"sample_weight": np.where(np.arange(N) % 5, WEIGHT, 0.0)}),
    "validation": (GDRegressor, {"learning_rate": 0.3}, {"X_val": X_VAL, "y_val": Y_VAL}),
    "validation tol": (
        GDRegressor,
        {"learning_rate": 0.3, "tol": 1e-3, "max_iter": 50},
        {"X_val": X_VAL, "y_val": Y_VAL},
    ),
    "held out": (GDClassifier, {"early_stopping": True, "learning_rate": 0.3}, {}),
    "l1": (GDRegressor, {"alpha": 0.1, "l1_ratio": 1.0, "optimizer": "ftrl"}, {}),
}


@pytest.mark.parametrize("epoch", [2, 3, 5])
@pytest.mark.parametrize("name", TRAININGS)
def test_resumed_training_ends_with_the_same_bits(name, epoch, tmp_path):
    estimator, params, more = TRAININGS[name]
    y = TARGET[estimator]
    whole = short(estimator, **params).fit(X, y, **more)
    assert whole.n_iter_ >= epoch
    resumed = killed_after(short(estimator, **params), epoch, tmp_path / "file", data=(X, y), **more)
    assert resumed.n_iter_ == epoch - 1  # written before the next epoch begins, and that one began
    assert_same_training(resumed.fit(X, y, **more), whole)
    assert vars(resumed).keys() == vars(whole).keys()


@pytest.mark.parametrize("as_format", [sp.csr_array, sp.csc_array, np.float32, pd.DataFrame], ids=lambda f: f.__name__)
def test_resumed_training_of_other_formats(as_format, tmp_path):
    data = as_format(np.where(X > 0, X, 0)), LABELS
    whole = short(GDClassifier, early_stopping=True).fit(*data)
    resumed = killed_after(short(GDClassifier, early_stopping=True), 4, tmp_path / "file", data=data)
    assert_same_training(resumed.fit(*data), whole)
    assert resumed.coef_.dtype == whole.coef_.dtype


@pytest.mark.parametrize("random_state", [None, 0, np.random.RandomState(7)], ids=["None", "0", "RandomState"])
@pytest.mark.parametrize("early_stopping", [False, True])
def test_resumed_training_shuffles_as_the_whole_one(early_stopping, random_state, tmp_path):
    """The rows held out, and the order in each epoch, come from a random state that nobody can seed again."""
    before = np.random.get_state()  # noqa: NPY002
    model = short(GDClassifier, early_stopping=early_stopping, random_state=copy.deepcopy(random_state))
    whole = model.fit(X, LABELS)
    np.random.set_state(before)  # noqa: NPY002
    model = short(GDClassifier, early_stopping=early_stopping, random_state=copy.deepcopy(random_state))
    resumed = killed_after(model, 4, tmp_path / "file", data=(X, LABELS))
    np.random.seed(99)  # noqa: NPY002
    assert_same_training(resumed.fit(X, LABELS), whole)


def test_resumed_training_after_warm_starts(tmp_path):
    """The history holds the earlier passes; they are not repeated."""
    whole = short(GDRegressor, warm_start=True).fit(X[:60], Y[:60]).partial_fit(X[:8], Y[:8]).fit(X, Y)
    other = short(GDRegressor, warm_start=True).fit(X[:60], Y[:60]).partial_fit(X[:8], Y[:8])
    resumed = killed_after(other, 3, tmp_path / "file")
    assert_same_training(resumed.fit(X, Y), whole)
    assert len(resumed.history_["loss"]) == 6 + 1 + 6


def test_training_may_be_interrupted_again_and_again(tmp_path):
    whole = short(GDRegressor).fit(X, Y)
    model = short(GDRegressor)
    for epoch in range(2, 7):
        model = killed_after(model, epoch, tmp_path / "file")
    assert_same_training(model.fit(X, Y), whole)


RESUME = """
import sys, pickle
from skgd.callbacks import Checkpoint
X, y, path, result = pickle.load(open(sys.argv[1], "rb"))
model = Checkpoint.load(path).fit(X, y)
pickle.dump(model, open(result, "wb"))
"""


def test_another_process_goes_on(tmp_path):
    whole = short(GDClassifier, optimizer="adam").fit(X, LABELS)
    killed_after(short(GDClassifier, optimizer="adam"), 4, tmp_path / "file", data=(X, LABELS))
    task = tmp_path / "task"
    task.write_bytes(pickle.dumps((X, LABELS, tmp_path / "file", tmp_path / "result")))
    subprocess.run([sys.executable, "-c", RESUME, task], check=True)
    assert_same_training(pickle.loads((tmp_path / "result").read_bytes()), whole)


class Interrupted(SGD):
    """SGD, and somebody who presses Ctrl-C in a certain step."""

    at = -1

    @staticmethod
    def rule(w, g, lr, t, slots, hyper):
        if t == Interrupted.at:
            raise KeyboardInterrupt
        return SGD.rule(w, g, lr, t, slots, hyper)


def test_an_interrupt_in_the_middle_of_an_epoch_loses_only_that_epoch(monkeypatch, tmp_path):
    """Ctrl-C ends fit with a warning; the file then holds the last complete epoch to go on from."""
    model = short(GDRegressor, optimizer=Interrupted(0.05), learning_rate=None)
    whole = clone(model).fit(X, Y)
    monkeypatch.setattr(Interrupted, "at", 20)  # the third epoch has the steps 17 to 24
    interrupted = clone(model).set_callbacks(Checkpoint(tmp_path / "file", every_n_epochs=100))
    with pytest.warns(UserWarning, match="interrupted in epoch 3"):
        interrupted.fit(X, Y)
    monkeypatch.undo()
    resumed = Checkpoint.load(tmp_path / "file")
    assert_array_equal(resumed.coef_, interrupted.coef_)  # predicts with all that was learned
    assert resumed.t_ == 19
    assert_same_training(resumed.fit(X, Y), whole)


def test_an_interrupt_after_the_epochs_entry_was_recorded(monkeypatch, tmp_path):
    """The entry of the epoch that is trained again is not recorded twice."""

    def interrupted(epoch, entry, header):
        if epoch == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(training, "print_entry", interrupted)
    with pytest.warns(UserWarning, match="interrupted in epoch 3"):
        short(GDRegressor, verbose=1).set_callbacks(Checkpoint(tmp_path / "file")).fit(X, Y)
    resumed = Checkpoint.load(tmp_path / "file")
    assert_same_training(resumed.set_params(verbose=0).fit(X, Y), short(GDRegressor).fit(X, Y))


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("epoch", range(2, 9))
def test_early_stopping_goes_on_counting(epoch, order, tmp_path):
    params = {"learning_rate": 0.3, "max_iter": 50}

    def stopping():
        return EarlyStopping(X_VAL, Y_VAL, patience=6)

    whole = short(GDRegressor, **params).set_callbacks(stopping()).fit(X, Y)
    assert 8 < whole.n_iter_ < 50
    assert whole.t_ < 8 * 8  # the best epoch comes before the last interruption
    model = short(GDRegressor, **params)
    path = tmp_path / "file"
    callbacks = [stopping(), Checkpoint(path), After(epoch, Killed())]
    with pytest.raises(Killed):
        model.set_callbacks(*callbacks[::order]).fit(X, Y)
    resumed = Checkpoint.load(path).set_callbacks(*[stopping(), Checkpoint(path)][::order]).fit(X, Y)
    assert_same_training(resumed, whole)
    finished = Checkpoint.load(path)
    assert_array_equal(finished.coef_, whole.coef_)
    assert_same_training(finished.set_callbacks(stopping()).fit(X, Y), whole)  # nothing was left to do


def test_an_early_stopping_of_the_past_does_not_count(tmp_path):
    """Going on without it trains to the end; a new one in a new training begins anew."""
    path, params = tmp_path / "file", {"learning_rate": 0.3}
    model = killed_after(short(GDRegressor, **params), 4, path, EarlyStopping(X_VAL, Y_VAL)).fit(X, Y)
    assert_same_training(model, short(GDRegressor, **params).fit(X, Y))
    model = killed_after(short(GDRegressor, **params), 4, path, EarlyStopping(X_VAL, Y_VAL))
    model.partial_fit(X, Y).set_callbacks(EarlyStopping(X_VAL, Y_VAL, patience=2)).fit(X, Y)
    anew = short(GDRegressor, **params).set_callbacks(EarlyStopping(X_VAL, Y_VAL, patience=2)).fit(X, Y)
    assert_same_training(model, anew)


def test_a_finished_training_has_nothing_left_to_do_until_max_iter_is_raised(tmp_path):
    path = tmp_path / "file"
    whole = short(GDRegressor).set_callbacks(Checkpoint(path)).fit(X, Y)
    assert_same_training(Checkpoint.load(path).fit(X, Y), whole)
    again = Checkpoint.load(path).set_callbacks(Checkpoint(path)).fit(X, Y)  # and its file stays what it was
    assert_same_training(again, whole)
    longer = Checkpoint.load(path).set_params(max_iter=9).fit(X, Y)
    assert_same_training(longer, short(GDRegressor, max_iter=9).fit(X, Y))


def test_training_that_tol_stopped_stays_stopped(tmp_path):
    estimator, params, _ = TRAININGS["tol"]
    stopped = short(estimator, **params).set_callbacks(Checkpoint(tmp_path / "file")).fit(X, Y)
    assert stopped.n_iter_ < 50
    assert_same_training(Checkpoint.load(tmp_path / "file").fit(X, Y), stopped)


def test_training_that_a_callback_stopped_stays_stopped(tmp_path):
    path = tmp_path / "file"
    stopped = short(GDRegressor).set_callbacks(Checkpoint(path), After(3, True)).fit(X, Y)
    assert_same_training(Checkpoint.load(path).fit(X, Y), stopped)


def test_a_loaded_estimator_predicts_and_learns_like_any_other(tmp_path):
    resumed = killed_after(short(GDRegressor), 4, tmp_path / "file")
    fitted = short(GDRegressor, max_iter=3).fit(X, Y)
    assert_array_equal(resumed.predict(X_VAL), fitted.predict(X_VAL))
    assert not hasattr(clone(resumed), "coef_")
    assert_same_training(clone(resumed).fit(X[:50], Y[:50]), short(GDRegressor).fit(X[:50], Y[:50]))
    resumed.partial_fit(X, Y)
    assert_array_equal(resumed.coef_, fitted.partial_fit(X, Y).coef_)
    resumed.fit(X[:50], Y[:50])  # after which there is nothing to go on with
    assert_same_training(resumed, short(GDRegressor).fit(X[:50], Y[:50]))


def test_a_copy_that_a_resumed_training_hands_out_is_an_ordinary_estimator(tmp_path):
    recorder = Recorder()
    killed_after(short(GDRegressor), 4, tmp_path / "file").set_callbacks(recorder).fit(X, Y)
    handed_out = recorder.fitted("end")[0].set_callbacks().fit(X[:50], Y[:50])
    assert_same_training(handed_out, short(GDRegressor).fit(X[:50], Y[:50]))


OTHER_DATA = {
    "X": ({"X": np.where(np.arange(N * P).reshape(N, P) == 7, 0.0, X)}, {}),
    "fewer rows": ({"X": X[:-1], "y": Y[:-1], "sample_weight": WEIGHT[:-1]}, {}),
    "order": ({"X": X[::-1], "y": Y[::-1], "sample_weight": WEIGHT[::-1]}, {}),
    "y": ({"y": np.roll(Y, 1)}, {}),
    "weight": ({"sample_weight": None}, {}),
    "X_val": ({"X_val": X_VAL + 1e-9}, {}),
    "no validation": ({"X_val": None, "y_val": None}, {}),
    "learning_rate": ({}, {"learning_rate": 0.051}),
    "optimizer": ({}, {"optimizer": "adam"}),
    "random_state": ({}, {"random_state": 1}),
}


@pytest.mark.parametrize("name", OTHER_DATA)
def test_other_data_and_parameters_are_refused(name, tmp_path):
    data = {"X": X, "y": Y, "sample_weight": WEIGHT, "X_val": X_VAL, "y_val": Y_VAL}
    whole = short(GDRegressor).fit(**data)
    resumed = killed_after(short(GDRegressor), 4, tmp_path / "file", data=(), **data)
    changed, params = OTHER_DATA[name]
    kept = resumed.get_params()
    with pytest.raises(ValueError, match=f"(?s){name} was changed.*clone" if params else "(?s)not those.*clone"):
        resumed.set_params(**params).fit(**data | changed)
    assert_same_training(resumed.set_params(**kept).fit(**data), whole)


def test_what_may_change(tmp_path):
    params = {"tol": 1e-3, "n_iter_no_change": 5, "max_iter": 9, "verbose": 0, "warm_start": True}
    resumed = killed_after(short(GDRegressor), 4, tmp_path / "file").set_params(**params)
    with pytest.warns(ConvergenceWarning, match="max_iter=9"):
        resumed.fit(X, Y)
    with pytest.warns(ConvergenceWarning, match="max_iter=9"):
        whole = short(GDRegressor, **params | {"warm_start": False}).fit(X, Y)
    assert_same_training(resumed, whole)


def written_epochs(monkeypatch, callback, **params):
    """Return after which epochs of a training the file was replaced."""
    epochs, replaced = [], os.replace

    def replacing(source, target):
        replaced(source, target)
        epochs.append(Checkpoint.load(target).n_iter_)

    monkeypatch.setattr(os, "replace", replacing)
    short(GDRegressor, **params).set_callbacks(callback).fit(X, Y)
    return epochs


@pytest.mark.parametrize(
    ("every", "expected"), [(None, [1, 2, 3, 4, 5, 6, 7]), (1, [1, 2, 3, 4, 5, 6, 7]), (3, [3, 6, 7])]
)
def test_every_n_epochs(every, expected, monkeypatch, tmp_path):
    assert written_epochs(monkeypatch, Checkpoint(tmp_path / "file", every_n_epochs=every), max_iter=7) == expected


@pytest.mark.parametrize(("n_epochs", "expected"), [(None, [2, 4, 6, 8]), (3, [2, 3, 5, 6, 8])])
def test_every_n_seconds(n_epochs, expected, monkeypatch, tmp_path):
    """By a clock that moves on by four seconds an epoch."""
    epochs = []
    monkeypatch.setattr(time, "monotonic", lambda: 4.0 * len(epochs))

    class Clock(Uninterested):
        def on_fit_task_end(self, estimator, context):
            epochs.append(context)

    callback = Checkpoint(tmp_path / "file", every_n_epochs=n_epochs, every_n_seconds=7.0)
    written, replaced = [], os.replace

    def replacing(source, target):
        replaced(source, target)
        written.append(Checkpoint.load(target).n_iter_)

    monkeypatch.setattr(os, "replace", replacing)
    short(GDRegressor, max_iter=8).set_callbacks(callback, Clock()).fit(X, Y)
    assert written == expected


@pytest.mark.parametrize("order", [1, -1])
def test_the_file_is_complete_at_any_moment(order, tmp_path):
    path = tmp_path / "file"
    reader = Rereads(path)
    short(GDRegressor).set_callbacks(*[Checkpoint(path), reader][::order]).fit(X, Y)
    assert reader.epochs == [None, 1, 2, 3, 4, 5, 6 if order == 1 else 5]


def half_written(failure):
    def failing(estimator, file, **options):
        file.write(b"half of it")
        raise failure

    return failing


def test_an_interrupted_writing_leaves_the_old_file(monkeypatch, tmp_path):
    path = tmp_path / "file"
    short(GDRegressor, max_iter=2).set_callbacks(Checkpoint(path)).fit(X, Y)
    before = path.read_bytes()
    monkeypatch.setattr(pickle, "dump", half_written(KeyboardInterrupt()))
    warnings.simplefilter("ignore")  # that training was interrupted; pytest resets this after each test
    with pytest.raises(KeyboardInterrupt):
        short(GDRegressor).set_callbacks(Checkpoint(path)).fit(X, Y)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("of", ["dump", "fsync", "replace"])
def test_a_full_disk_does_not_end_the_training(of, monkeypatch, tmp_path):
    path = tmp_path / "file"
    short(GDRegressor, max_iter=2).set_callbacks(Checkpoint(path)).fit(X, Y)
    before, failure = path.read_bytes(), OSError(28, "No space left on device")

    def failing(*arguments, **options):
        raise failure

    where = pickle if of == "dump" else os
    monkeypatch.setattr(where, of, half_written(failure) if of == "dump" else failing)
    with pytest.warns(RuntimeWarning) as caught:
        model = short(GDRegressor).set_callbacks(Checkpoint(path)).fit(X, Y)
    assert_same_training(model, short(GDRegressor).fit(X, Y))
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["file"]
    first, last = (str(warning.message) for warning in caught)  # of the first epoch, and at the end
    for message in (first, last):
        assert repr(str(path)) in message
        assert "No space left on device" in message
        assert "The previous file is unchanged" in message
    assert "Training continues" in first
    assert "Training has ended" in last
    assert {warning.filename for warning in caught} == {__file__}


def test_a_disk_that_is_full_now_and_then_is_told_once_each_time(monkeypatch, tmp_path):
    """The next writing that succeeds holds all until then, and a streak of failures is one warning."""
    path, epochs, dump = tmp_path / "file", [], pickle.dump

    def now_and_then(estimator, file, **options):
        epochs.append(estimator.n_iter_)
        if estimator.n_iter_ in (1, 2, 4):
            raise OSError("No space left on device")
        dump(estimator, file, **options)

    monkeypatch.setattr(pickle, "dump", now_and_then)
    model = short(GDRegressor).set_callbacks(Checkpoint(path))
    with pytest.warns(RuntimeWarning, match="There is no file|The previous file is unchanged") as caught:
        model.fit(X, Y)
    assert epochs == [1, 2, 3, 4, 5, 6]
    assert len(caught) == 2
    assert vars(model).keys().isdisjoint(["_checkpoints_failed", "_checkpoint_due"])
    assert_same_training(Checkpoint.load(path), short(GDRegressor).fit(X, Y))


WRITER = """
import os, pickle, signal, sys
from skgd import GDRegressor
from skgd.callbacks import Checkpoint
def dump(estimator, file, **options):
    file.write(b"half of it")
    file.flush()
    print("writes", flush=True)
    sys.stdin.readline()
pickle.dump = dump
GDRegressor(max_iter=3, tol=None).set_callbacks(Checkpoint(sys.argv[1])).fit([[0.0], [1.0]], [0.0, 1.0])
"""


def test_the_next_fit_removes_what_a_killed_process_left_and_nothing_else(tmp_path):
    path = tmp_path / "file"
    others = [f"file.{'0' * 31}.tmp", f"other.{'0' * 32}.tmp", "file.tmp"]
    for name in others:
        (tmp_path / name).write_bytes(b"")
    command = [sys.executable, "-c", WRITER, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout.readline() == "writes\n"
        [half] = {*os.listdir(tmp_path)} - {*others}
        short(GDRegressor).set_callbacks(Checkpoint(path)).fit(X, Y)
        assert sorted(os.listdir(tmp_path)) == sorted([*others, half, "file"])  # it is being written
        writer.kill()
        writer.wait()
    assert half in os.listdir(tmp_path)
    short(GDRegressor).set_callbacks(Checkpoint(path)).fit(X, Y)
    assert sorted(os.listdir(tmp_path)) == sorted([*others, "file"])


def test_checkpoint_refuses_what_could_never_be_written(monkeypatch, tmp_path):
    with pytest.raises(IsADirectoryError, match="is a directory"):
        short(GDRegressor).set_callbacks(Checkpoint(tmp_path)).fit(X, Y)
    monkeypatch.setattr(os, "access", lambda *arguments: False)
    with pytest.raises(PermissionError, match="is not writable"):
        short(GDRegressor).set_callbacks(Checkpoint(tmp_path / "file")).fit(X, Y)


def test_checkpoint_holds_no_callbacks(tmp_path):
    class Unpicklable(Uninterested):
        def __reduce__(self):
            raise TypeError("not to be pickled")

    path = tmp_path / "file"
    model = short(GDRegressor).set_callbacks(Unpicklable(), Checkpoint(path), EarlyStopping(X_VAL, Y_VAL)).fit(X, Y)
    not_saved = {"_skl_callbacks", "_given", "_resolved", "_values"}
    assert vars(Checkpoint.load(path)).keys() == vars(model).keys() - not_saved | {"_unfinished"}


def test_checkpoint_in_a_pipeline(tmp_path):
    path = tmp_path / "file"
    model = short(GDRegressor).set_callbacks(Checkpoint(path), After(4, Killed()))
    scaled = StandardScaler().fit_transform(X)
    with pytest.raises(Killed):
        make_pipeline(StandardScaler(), model).fit(X, Y)
    pipeline = make_pipeline(StandardScaler(), Checkpoint.load(path)).fit(X, Y)
    assert_same_training(pipeline[-1], short(GDRegressor).fit(scaled, Y))


def test_checkpoint_refuses_a_search(tmp_path):
    model = short(GDRegressor).set_callbacks(Checkpoint(tmp_path / "file"))
    with pytest.raises(ValueError, match="GridSearchCV trains several estimators"):
        GridSearchCV(model, {"alpha": [0.0, 1.0]}, cv=2, error_score="raise").fit(X, Y)
    assert os.listdir(tmp_path) == []


def test_checkpoint_refuses_a_folder_that_does_not_exist(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"directory.*missing"):
        short(GDRegressor).set_callbacks(Checkpoint(tmp_path / "missing" / "file")).fit(X, Y)


@pytest.mark.parametrize("value", [0, -1, 1.5, True, "1"])
def test_checkpoint_refuses_bad_arguments(value):
    with pytest.raises((TypeError, ValueError), match="every_n_epochs"):
        Checkpoint("file", every_n_epochs=value)
    if value != 1.5:
        with pytest.raises((TypeError, ValueError), match="every_n_seconds"):
            Checkpoint("file", every_n_seconds=value)


@pytest.mark.parametrize("content", [b"", b"not a pickle", pickle.dumps(GDRegressor()), pickle.dumps([1])])
def test_load_says_where_a_file_is_no_checkpoint(content, tmp_path):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(ValueError, match="file' is not a checkpoint"):
        Checkpoint.load(tmp_path / "file")


# -- a validation set through a pipeline ------------------------------------------------------------------------------


def test_validation_set_through_a_pipeline_with_callbacks():
    """Metadata routing, transform_input and callbacks at once: the validation set is scaled, too."""
    monitor = ScoringMonitor(scoring="r2")
    with config_context(enable_metadata_routing=True):
        model = short(GDRegressor, learning_rate=0.5).set_fit_request(X_val=True, y_val=True)
        pipeline = make_pipeline(StandardScaler(), model.set_callbacks(monitor), transform_input=["X_val"])
        pipeline.fit(X, Y, X_val=X_VAL, y_val=Y_VAL)
    scaler = StandardScaler().fit(X)
    by_hand = short(GDRegressor, learning_rate=0.5)
    by_hand.fit(scaler.transform(X), Y, X_val=scaler.transform(X_VAL), y_val=Y_VAL)
    assert_same_training(pipeline[-1], by_hand)
    assert_allclose(max(pipeline[-1].history_["validation_score"]), pipeline.score(X_VAL, Y_VAL), atol=0.05)
    assert np.isfinite(pipeline[-1].history_["validation_score"]).all()
    assert list(frame_of(monitor)["task_name"]) == ["fit"] + ["epoch"] * 6
