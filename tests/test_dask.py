"""Estimators for Dask: the bits of a plain loop on each scheduler, also where workers are killed; lazy predictions."""

import os
import pickle
import signal
import subprocess
import sys
import threading

import joblib
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV

import skgd
from skgd import partitions

dask = pytest.importorskip("dask")
da = pytest.importorskip("dask.array")
dd = pytest.importorskip("dask.dataframe")
skgd_dask = pytest.importorskip("skgd.dask")

N_ROWS, N_CHUNKS = 1200, 6
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N_ROWS, 5)) * [1.0, 10.0, 0.1, 1.0, 5.0] + 3.0
    return X, (X[:, 0] + X[:, 3] > 6.0 + rng.normal(size=N_ROWS)).astype(int)


@pytest.fixture(scope="module")
def loop(data):
    X, y = data
    return partitions.fit(skgd.GDClassifier(), list(zip(np.split(X, N_CHUNKS), np.split(y, N_CHUNKS), strict=True)))


@pytest.fixture(scope="module")
def frame(data):
    X, y = data
    return pd.DataFrame(X, columns=list("abcde")).assign(y=y)


def arrays(X, y):
    return da.from_array(X, chunks=(N_ROWS // N_CHUNKS, X.shape[1])), da.from_array(y, chunks=N_ROWS // N_CHUNKS)


@pytest.mark.parametrize("scheduler", ["synchronous", "threads"])
def test_bits_of_the_loop(data, loop, scheduler):
    with dask.config.set(scheduler=scheduler):
        model = skgd_dask.GDClassifier().fit(*arrays(*data))
    assert np.array_equal(model.coef_, loop.coef_)
    assert np.array_equal(model.intercept_, loop.intercept_)
    assert type(model.coef_) is np.ndarray
    assert model.n_iter_ == loop.n_iter_


def test_kinds_of_collections(data, loop, frame):
    X, y = data
    X_dask, y_dask = arrays(X, y)
    columns = list("abcde")
    table = dd.from_pandas(frame, npartitions=N_CHUNKS)
    kinds = {
        "chunks of columns": (da.from_array(X, chunks=(N_ROWS // N_CHUNKS, 2)), y_dask),
        "NumPy y": (X_dask, y),
        "other chunks of y": (X_dask, da.from_array(y, chunks=500)),
        "frame": (table[columns], table["y"]),
        "array and series": (X_dask, table["y"]),
    }
    for kind, (X_kind, y_kind) in kinds.items():
        model = skgd_dask.GDClassifier().fit(X_kind, y_kind)
        assert np.array_equal(model.coef_, loop.coef_), kind
    assert list(skgd_dask.GDClassifier().fit(table[columns], table["y"]).feature_names_in_) == columns
    sparse = X_dask.map_blocks(sp.csr_array)
    np.testing.assert_allclose(skgd_dask.GDClassifier().fit(sparse, y_dask).coef_, loop.coef_, rtol=1e-6)
    weight = da.ones(N_ROWS, chunks=N_ROWS // N_CHUNKS)
    assert np.array_equal(skgd_dask.GDClassifier().fit(X_dask, y_dask, weight).coef_, loop.coef_)


def test_unknown_and_empty_chunks(data):
    X, y = data
    X_dask, y_dask = arrays(np.sort(X, axis=0), y)
    some = X_dask[:, 0] > 3.0  # some chunks have no rows
    model = skgd_dask.GDClassifier().fit(X_dask[some], y_dask[some])
    rows = some.compute()
    expected = partitions.fit(skgd.GDClassifier(), [(np.sort(X, axis=0)[rows], y[rows])])
    np.testing.assert_allclose(model.coef_, expected.coef_, rtol=1e-5)
    assert len(model.predict(X_dask[some]).compute()) == rows.sum()
    assert model.predict_proba(X_dask[some]).compute().shape == (rows.sum(), 2)


def test_parquet(data, loop, frame, tmp_path):
    pytest.importorskip("pyarrow")
    dd.from_pandas(frame, npartitions=N_CHUNKS).to_parquet(tmp_path)
    table = dd.read_parquet(tmp_path)
    model = skgd_dask.GDClassifier().fit(table[list("abcde")], table["y"])
    assert np.array_equal(model.coef_, loop.coef_)


def test_lazy_predictions(data, frame):
    X, y = data
    X_dask, _ = arrays(X, y)
    table = dd.from_pandas(frame, npartitions=3)[list("abcde")]
    labels = np.array(["no", "yes"])[y]
    model = skgd_dask.GDClassifier().fit(X_dask, da.from_array(labels, chunks=N_ROWS // N_CHUNKS))
    named = skgd_dask.GDClassifier().fit(frame[list("abcde")], labels)
    for name in ("predict", "predict_proba", "predict_log_proba", "decision_function"):
        lazy = getattr(model, name)(X_dask)
        assert isinstance(lazy, da.Array)
        assert np.array_equal(lazy.compute(), getattr(model, name)(X)), name
        assert lazy.shape == getattr(model, name)(X).shape
        assert lazy.dtype == getattr(model, name)(X).dtype
        assert np.array_equal(getattr(named, name)(table).compute(), getattr(named, name)(frame[list("abcde")]))
    assert model.score(X_dask, da.from_array(labels, chunks=300)) == model.score(X, labels)
    assert not hasattr(skgd_dask.GDClassifier(loss="hinge"), "predict_proba")
    with pytest.raises(ValueError, match="features"):
        model.predict(X_dask[:, :2])
    targets = X[:, :2] @ [[1.0, 2.0], [3.0, 4.0]]
    regressor = skgd_dask.GDRegressor().fit(X_dask, da.from_array(targets, chunks=(300, 1)))
    assert regressor.predict(X_dask).compute().shape == (N_ROWS, 2)
    assert regressor.score(X_dask, targets) > 0.999


def test_numpy_as_usual(data):
    X, y = data
    for name in ("GDClassifier", "GDRegressor"):
        model, plain = getattr(skgd_dask, name)(), getattr(skgd, name)()
        assert np.array_equal(model.fit(X, y).coef_, plain.fit(X, y).coef_)
        assert np.array_equal(model.partial_fit(X, y).coef_, plain.partial_fit(X, y).coef_)
        assert np.array_equal(model.predict(X), plain.predict(X))
        assert model.score(X, y) == plain.score(X, y)
        assert clone(model).get_params() == plain.get_params()


def test_partial_fit_is_one_ordered_pass(data):
    X, y = data
    model = skgd_dask.GDClassifier().partial_fit(*arrays(X, y), classes=[0, 1])
    plain = skgd.GDClassifier()
    for start in range(0, N_ROWS, N_ROWS // N_CHUNKS):
        rows = slice(start, start + N_ROWS // N_CHUNKS)
        plain.partial_fit(X[rows], y[rows], classes=[0, 1])
    assert np.array_equal(model.coef_, plain.coef_)
    regressor = skgd_dask.GDRegressor().partial_fit(*arrays(X, y.astype(float)))
    assert regressor.t_ == plain.t_


def test_a_model_without_dask(data, tmp_path):
    X, y = data
    model = skgd_dask.GDClassifier().fit(*arrays(X, y))
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps(skgd_dask.to_skgd(model)))
    code = (
        f"import pickle, sys; sys.modules['dask'] = None; model = pickle.load(open({str(path)!r}, 'rb')); "
        f"print(type(model).__module__, model.coef_.shape)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "skgd.estimators (1, 5)"
    copy = pickle.loads(pickle.dumps(model))
    assert np.array_equal(copy.predict(X), model.predict(X))


def test_validation_and_errors(data, frame):
    X, y = data
    X_dask, y_dask = arrays(X, y)
    model = skgd_dask.GDClassifier(alpha=1e-6).fit(X_dask, y_dask, X_val=X_dask[:200], y_val=y_dask[:200])
    assert model.best_score_ > 0.7
    with pytest.raises(ValueError, match="inconsistent"):
        skgd_dask.GDClassifier().fit(X_dask, y_dask[:-5])
    with pytest.raises(TypeError, match="X must be a dask"):
        skgd_dask.GDClassifier().fit(X, y_dask)
    table = dd.from_pandas(frame, npartitions=2)
    with pytest.raises(ValueError, match="same partitions"):
        skgd_dask.GDClassifier().fit(table[["a"]], y_dask)
    with pytest.raises(ValueError, match="not from Dask"):
        skgd_dask.GDClassifier().fit(table[["a"]], y)
    bad = X.copy()
    bad[-1, 0] = np.nan
    with pytest.raises(ValueError, match=rf"Partition {N_CHUNKS - 1}: .*NaN"):
        skgd_dask.GDClassifier().fit(da.from_array(bad, chunks=(N_ROWS // N_CHUNKS, 5)), y_dask)


def slowly(block):
    import time

    time.sleep(0.05)
    return block


def parts_of(X, y):
    return list(zip(np.split(X, N_CHUNKS), np.split(y, N_CHUNKS), strict=True))


# A training for each kind of pass, with rows that are held out, and evaluated in the same pass or in one of their own.
STAGES = {
    "statistics and Hessians": ({}, {}),
    "gradients": ({"early_stopping": True, "max_iter": 2, "random_state": 0}, {}),
    "lanes": ({"early_stopping": True, "max_iter": 2, "random_state": 0}, {"solver": "sgd", "n_lanes": 2}),
    "lanes of networks": (
        {"hidden_layer_sizes": (4,), "activation": "tanh", "max_iter": 2, "random_state": 0},
        {"solver": "sgd", "n_lanes": 3},
    ),
}


def training(stage, data):
    """Return an estimator, X and y, and arguments of ``fit``: those with many features have products of them, too."""
    X, y = data
    if stage == "gradients":
        X = np.hstack([X, np.random.default_rng(0).normal(size=(N_ROWS, 600))])
    return (*STAGES[stage][:1], X, y, STAGES[stage][1])


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("scheduler", ["synchronous", "threads"])
@pytest.mark.parametrize("stage", ["lanes", "lanes of networks"])
def test_bits_of_lanes(data, stage, scheduler):
    parameters, X, y, arguments = training(stage, data)
    expected = partitions.fit(skgd.GDClassifier(**parameters), parts_of(X, y), **arguments)
    with dask.config.set(scheduler=scheduler):
        model = skgd_dask.GDClassifier(**parameters).fit(*arrays(X, y), **arguments)
    for one, other in zip([*model.coefs_, *model.intercepts_], [*expected.coefs_, *expected.intercepts_], strict=True):
        assert np.array_equal(one, other)
    assert model.history_["validation_loss"] == expected.history_["validation_loss"]


def test_lanes_are_for_dask_collections(data):
    with pytest.raises(ValueError, match="solver='sgd' is for dask collections"):
        skgd_dask.GDClassifier().fit(*data, solver="sgd")
    with pytest.raises(ValueError, match="n_lanes=2 is for dask collections"):
        skgd_dask.GDClassifier().fit(*data, n_lanes=2)
    with pytest.raises(ValueError, match="n_lanes must be at least 1, got 0"):
        skgd_dask.GDClassifier().fit(*data, n_lanes=0)
    with pytest.raises(ValueError, match="solver must be 'auto' or 'sgd', got 'adam'"):
        skgd_dask.GDClassifier().fit(*data, solver="adam")


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("stage", STAGES)
def test_cluster_of_processes_of_which_one_is_killed(data, stage, monkeypatch):
    """A worker is killed in each pass, the first one and its replacements or the other one in those after it."""
    distributed = pytest.importorskip("distributed")
    parameters, X, y, arguments = training(stage, data)
    expected = partitions.fit(skgd.GDClassifier(**parameters), parts_of(X, y), **arguments)
    X_dask, y_dask = arrays(X, y)
    slow = X_dask.map_blocks(slowly)
    passes, killed, merged = [], [], skgd_dask._Graphs._merged

    def merge_and_kill(leaves):
        passes.append(None)
        pid = next(iter(client.run(os.getpid).values()))
        timer = threading.Timer(0.1, lambda: (os.kill(pid, signal.SIGKILL), killed.append(pid)))
        timer.start()
        result = merged(leaves)
        timer.join()
        return result

    with (
        dask.config.set({"logging": {"distributed": "critical"}}),
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster,
        distributed.Client(cluster) as client,
    ):
        persisted = skgd_dask.GDClassifier(**parameters).fit(*dask.persist(X_dask, y_dask), **arguments)
        monkeypatch.setattr(skgd_dask._Graphs, "_merged", staticmethod(merge_and_kill))
        model = skgd_dask.GDClassifier(**parameters).fit(slow, y_dask, **arguments)
    assert len(killed) == len(passes) >= 2
    for fitted in (persisted, model):
        assert fitted.history_["loss"] == expected.history_["loss"]
        for one, other in zip(fitted.coefs_, expected.coefs_, strict=True):
            assert np.array_equal(one, other)


def test_predictions_before_fit_are_refused(data):
    X, _ = data
    with pytest.raises(NotFittedError):
        skgd_dask.GDClassifier().predict(da.from_array(X, chunks=(100, -1)))


def test_search_on_the_workers(data):
    distributed = pytest.importorskip("distributed")
    X, y = data
    search = GridSearchCV(skgd.GDClassifier(random_state=0), {"alpha": [1e-3, 1.0]}, cv=3)
    expected = clone(search).fit(X, y)
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster,
        distributed.Client(cluster),
        joblib.parallel_config(backend="dask"),
    ):
        search.fit(X, y)
    assert np.array_equal(search.cv_results_["mean_test_score"], expected.cv_results_["mean_test_score"])
    assert search.best_params_ == expected.best_params_


def test_only_estimators_become_skgd():
    with pytest.raises(TypeError, match="must be a GDClassifier or GDRegressor, got object"):
        skgd_dask.to_skgd(object())
