"""Trainings logged to MLflow, in a local store."""

import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import skgd
from skgd import GDClassifier, GDRegressor
from skgd.callbacks import Checkpoint, EarlyStopping, MLflowLogger
from skgd.optimizers import SGD, Adam, Optimizer

pytest.importorskip("sklearn", "1.9", reason="scikit-learn has no callbacks before")
mlflow = pytest.importorskip("mlflow", reason="MLflow is not installed")
# Of MLflow's own code, and of what it needs.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

rng = np.random.default_rng(0)
X = rng.normal(size=(80, 3))
TARGET = X @ [1.0, -2.0, 0.5] + 0.1 * rng.normal(size=80)
FEW = {"max_iter": 4, "tol": None, "random_state": 0}


@pytest.fixture(autouse=True)
def store(tmp_path, monkeypatch):
    """Return a client of a store in a folder, which is what MLflow logs to."""
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri((tmp_path / "store").as_uri())
    yield mlflow.MlflowClient()
    while mlflow.active_run() is not None:
        mlflow.end_run()
    mlflow.set_tracking_uri(before)


def runs(store):
    return store.search_runs([each.experiment_id for each in store.search_experiments()])


def logged(store, run, key):
    """Return the values of a metric by their steps."""
    return {each.step: each.value for each in store.get_metric_history(run.info.run_id, key)}


def check_history(store, run, history, first=0):
    """Check that the run has all entries of a history that are numbers, and no others."""
    for key, values in history.items():
        expected = {step: value for step, value in enumerate(values, start=1) if np.isfinite(value) and step > first}
        assert logged(store, run, key) == expected


@pytest.mark.parametrize("hidden_layer_sizes", [(), (4,)])
@pytest.mark.parametrize("estimator", [GDClassifier, GDRegressor])
def test_what_is_logged(estimator, hidden_layer_sizes, store):
    y = TARGET if estimator is GDRegressor else np.digitize(TARGET, [-1.0, 1.0])
    model = estimator(optimizer=Adam(beta1=np.float64(0.8)), hidden_layer_sizes=hidden_layer_sizes, **FEW)
    plain = clone(model).fit(X, y, X_val=X[:20], y_val=y[:20])
    model.set_callbacks(MLflowLogger()).fit(X, y, X_val=X[:20], y_val=y[:20])
    (run,) = runs(store)
    assert run.info.status == "FINISHED"
    assert mlflow.active_run() is None
    assert run.data.params.keys() == model.get_params().keys()
    shown = {name: run.data.params[name] for name in ("optimizer", "optimizer__beta1", "alpha", "max_iter", "tol")}
    assert shown == {
        "optimizer": "Adam(beta1=0.8)",
        "optimizer__beta1": "0.8",
        "alpha": "auto",
        "max_iter": "4",
        "tol": "None",
    }
    check_history(store, run, model.history_)
    assert {len(values) for values in model.history_.values()} == {4}
    assert run.data.metrics["n_iter_"] == 4.0
    assert run.data.metrics["best_iter_"] == model.best_iter_
    assert run.data.metrics["best_score_"] == pytest.approx(model.best_score_)
    assert "suboptimality_" not in run.data.metrics or np.isfinite(model.suboptimality_)
    tags = {name: run.data.tags[name] for name in ("converged_", "stop_reason_", "engine_")}
    assert tags == {"converged_": str(model.converged_), "stop_reason_": "max_iter", "engine_": model.engine_}
    assert vars(model).keys() - vars(plain).keys() == {"_skl_callbacks"}
    for loaded in load(store, run):
        assert_array_equal(loaded.predict(X), plain.predict(X))


def load(store, run):
    """Return the model that a run has logged, as both flavors load it."""
    (model,) = mlflow.search_logged_models(
        [run.info.experiment_id], filter_string=f"source_run_id='{run.info.run_id}'", output_format="list"
    )
    return mlflow.sklearn.load_model(model.model_uri), mlflow.pyfunc.load_model(model.model_uri)


def test_what_is_loaded_goes_on_learning(store):
    model = GDRegressor(**FEW).set_callbacks(MLflowLogger()).fit(X, TARGET)
    (run,) = runs(store)
    loaded, _ = load(store, run)
    assert type(loaded) is GDRegressor
    assert not hasattr(loaded, "_skl_callbacks")
    assert_array_equal(loaded.partial_fit(X, TARGET).coef_, model.partial_fit(X, TARGET).coef_)


def test_the_active_run_is_used_and_left_open(store):
    with mlflow.start_run() as active:
        GDRegressor(**FEW).set_callbacks(MLflowLogger(log_model=False)).fit(X, TARGET)
        assert mlflow.active_run().info.run_id == active.info.run_id
        mlflow.log_metric("mine", 1.0)
    (run,) = runs(store)
    assert run.data.metrics["mine"] == 1.0
    assert len(logged(store, run, "loss")) == 4
    assert not mlflow.search_logged_models([run.info.experiment_id], output_format="list")


def test_options_are_passed_on(store):
    logger = MLflowLogger(name="churn", input_example=X[:2], tags={"team": "us"})
    GDRegressor(**FEW).set_callbacks(logger).fit(X, TARGET)
    (logged_model,) = mlflow.search_logged_models([runs(store)[0].info.experiment_id], output_format="list")
    assert logged_model.name == "churn"
    assert logged_model.tags["team"] == "us"
    folder = Path(mlflow.artifacts.download_artifacts(logged_model.model_uri))
    requirements = (folder / "requirements.txt").read_text().split()
    assert {f"skgd=={skgd.__version__}", f"numpy=={np.__version__}"} <= set(requirements)
    assert not [each for each in requirements if each.startswith("pytest")]
    assert mlflow.models.get_model_info(logged_model.model_uri).signature.inputs.inputs[0].shape == (-1, 3)


def test_a_search_has_a_run_for_each_training(store):
    logger = MLflowLogger(log_model=False)
    search = GridSearchCV(GDRegressor(**FEW).set_callbacks(logger), {"alpha": [1e-3, 1e-1]}, cv=2)
    with mlflow.start_run() as active:
        search.fit(X, TARGET)
    nested = [run for run in runs(store) if run.info.run_id != active.info.run_id]
    assert {run.data.tags["mlflow.parentRunId"] for run in nested} == {active.info.run_id}
    assert sorted(run.data.params["alpha"] for run in nested) == ["0.001", "0.001", "0.1", "0.1"]
    assert all(len(logged(store, run, "loss")) == 4 for run in nested)
    check_history(store, store.get_run(active.info.run_id), search.best_estimator_.history_)  # the training on all rows
    clone(search).fit(X, TARGET)
    assert len(runs(store)) == 5 + 5


def test_a_pipeline(store):
    pipeline = make_pipeline(StandardScaler(), GDRegressor(**FEW).set_callbacks(MLflowLogger()))
    pipeline.fit(X, TARGET)
    (run,) = runs(store)
    check_history(store, run, pipeline[-1].history_)


def test_beside_the_log_of_a_pipeline(store):
    """Which has parameters of the same names, such as ``verbose``, and other values."""
    pipeline = make_pipeline(StandardScaler(), GDRegressor(**FEW).set_callbacks(MLflowLogger(log_model=False)))
    with mlflow.start_run() as active:
        mlflow.log_params({"verbose": False, "memory": None, "gdregressor__max_iter": 4})
        pipeline.fit(X, TARGET)
    (run,) = runs(store)
    assert run.info.run_id == active.info.run_id
    assert (run.data.params["verbose"], run.data.params["optimizer"]) == ("False", "auto")
    check_history(store, run, pipeline[-1].history_)


def test_a_warm_start_goes_on_with_the_steps(store):
    model = (
        GDRegressor(warm_start=True, **FEW).set_callbacks(MLflowLogger(log_model=False)).fit(X, TARGET).fit(X, TARGET)
    )
    first, second = sorted(runs(store), key=lambda run: run.info.start_time)
    assert list(logged(store, first, "loss")) == [1, 2, 3, 4]
    check_history(store, second, model.history_, first=4)


def test_beside_other_callbacks(store, tmp_path):
    path = tmp_path / "checkpoint"
    callbacks = (MLflowLogger(), Checkpoint(path), EarlyStopping(X[:20], TARGET[:20], patience=1))
    model = GDRegressor(optimizer=SGD(0.3), max_iter=50, tol=None, random_state=0)
    model.set_callbacks(*callbacks).fit(X, TARGET)
    (run,) = runs(store)
    check_history(store, run, model.history_)
    assert run.data.metrics["best_iter_"] == model.best_iter_
    loaded, _ = load(store, run)
    assert_array_equal(loaded.coef_, model.coef_)
    checkpoint = Checkpoint.load(path)
    assert not any("mlflow" in name for name in vars(checkpoint))


class Failing(Optimizer):
    def __init__(self, learning_rate=0.1, step=9):
        self.learning_rate = learning_rate
        self.step = step

    def hyper(self):
        return (self.step,)

    @staticmethod
    def rule(w, g, lr, t, slots, hyper):
        if t == hyper[0]:
            raise RuntimeError("of the user's own")
        return w - lr * g, lr, slots


def test_a_training_that_fails(store):
    model = GDRegressor(optimizer=Failing(), batch_size=20, precondition=False, **FEW).set_callbacks(MLflowLogger())
    with pytest.raises(RuntimeError, match="of the user's own"):
        model.fit(X, TARGET)
    (run,) = runs(store)
    assert run.info.status == "FAILED"
    assert mlflow.active_run() is None
    assert not hasattr(model, "_mlflow_run")


def test_a_store_that_fails_does_not_end_the_training(store, monkeypatch):
    def gone(*args, **kwargs):
        raise OSError("the server is gone")

    model = GDRegressor(**FEW).set_callbacks(MLflowLogger())
    monkeypatch.setattr(mlflow.MlflowClient, "log_batch", gone)
    with pytest.warns(
        RuntimeWarning, match=r"could not log to MLflow \(the server is gone\)\. Training continues"
    ) as record:
        model.fit(X, TARGET)
    assert [record[0].filename, len(record)] == [__file__, 1]
    assert_allclose(model.coef_, GDRegressor(**FEW).fit(X, TARGET).coef_)


def test_a_type_of_ones_own_has_to_be_trusted(store):
    if "skops_trusted_types" not in mlflow.sklearn.log_model.__doc__:
        pytest.skip("this version of MLflow does not save by skops")
    model = GDRegressor(optimizer=Failing(step=-1), **FEW)
    with pytest.warns(RuntimeWarning, match=r"could not log.*untrusted types"):
        clone(model).set_callbacks(MLflowLogger()).fit(X, TARGET)
    trusted = ["skgd.estimators.GDRegressor", f"{__name__}.Failing"]
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        model.set_callbacks(MLflowLogger(skops_trusted_types=trusted)).fit(X, TARGET)


def test_entries_are_sent_together(store, monkeypatch):
    calls = []
    send = mlflow.MlflowClient.log_batch

    def counted(self, run_id, metrics=(), *args, **kwargs):
        calls.append(len(metrics))
        return send(self, run_id, metrics, *args, **kwargs)

    monkeypatch.setattr(mlflow.MlflowClient, "log_batch", counted)
    model = GDRegressor(max_iter=300, tol=None, random_state=0).set_callbacks(MLflowLogger(log_model=False))
    model.fit(X, TARGET)
    assert max(calls) <= 1000
    assert len(calls) < 100
    check_history(store, runs(store)[0], model.history_)


def test_bad_parameters():
    with pytest.raises(TypeError, match=r"MLflowLogger\(log_model\) must be True or False, got 'yes'"):
        MLflowLogger(log_model="yes")


def test_the_package_itself_does_not_import_it():
    code = "import sys, skgd; assert 'mlflow' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_what_to_install_is_said():
    code = (
        "import sys; sys.modules['mlflow'] = None\n"
        "from skgd import GDRegressor\n"
        "from skgd.callbacks import MLflowLogger\n"
        "GDRegressor().set_callbacks(MLflowLogger()).fit([[1.0], [2.0]], [1.0, 2.0])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "ImportError: MLflowLogger needs MLflow, which is not installed: pip install skgd[mlflow]" in done.stderr
