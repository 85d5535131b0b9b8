"""A saved model goes on with the same bits: from pickle, joblib and skops, in other processes and in other releases."""

import copy
import importlib.util
import io
import json
import pickle
import subprocess
import sys
from functools import partial
from pathlib import Path

import joblib
import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal

from skgd import GDClassifier, GDRegressor, persistence
from skgd.activations import Tanh
from skgd.losses import Quantile
from skgd.optimizers import OPTIMIZERS, SGD, AdaGrad, Adam, Optimizer
from skgd.schedules import SCHEDULES, Cosine, ReduceOnPlateau

PICKLES = Path(__file__).parent / "pickles"
spec = importlib.util.spec_from_file_location("make_pickles", PICKLES / "make.py")
make = importlib.util.module_from_spec(spec)
spec.loader.exec_module(make)

X, Y, LABELS = make.data()


def by_pickle(model):
    return pickle.loads(pickle.dumps(model))


def by_joblib(model):
    file = io.BytesIO()
    joblib.dump(model, file)
    file.seek(0)
    return joblib.load(file)


def by_skops(model, more=()):
    """Round-trip, with nothing trusted but the class of the estimator, and what has to be added to it."""
    skops = pytest.importorskip("skops.io")
    kind = type(model)
    return skops.loads(skops.dumps(model), trusted=[f"{kind.__module__}.{kind.__qualname__}", *more])


WAYS = [by_pickle, by_joblib, by_skops, copy.deepcopy, copy.copy]

MODELS = {
    "default": GDRegressor(),
    **{name: GDClassifier(optimizer=name) for name in OPTIMIZERS},
    **{name: GDRegressor(learning_rate=name, optimizer="sgd") for name in SCHEDULES},
    "objects": GDRegressor(Quantile(0.9), optimizer=SGD(momentum=0.5), learning_rate=Cosine(0.01, 100, restarts=True)),
    "plateau": GDRegressor(learning_rate=ReduceOnPlateau(0.1, patience=0)),
    "network": GDRegressor(hidden_layer_sizes=(3, 2), activation=Tanh()),
    "average": GDClassifier(average=True, class_weight="balanced", max_grad_norm=0.5, random_state=3),
    "weights": GDClassifier(
        optimizer=Adam(0.01), class_weight={"low": 2.0, "middle": 1.0, "high": 0.5}, l1_ratio=0.5, alpha=0.1
    ),
    "several": GDRegressor(alpha=0.1, fit_intercept=False),
    "labels": GDClassifier("modified_huber"),
}


def target(name):
    if name in ("several", "labels"):
        numbers = np.column_stack([Y, X[:, 0]])
        return numbers if name == "several" else (numbers > 0).astype(int)
    return LABELS if isinstance(MODELS[name], GDClassifier) else Y


def continued(model, y, rows):
    """Return a model that has learned from these rows."""
    more = {"classes": np.unique(y)} if isinstance(model, GDClassifier) and y.ndim == 1 else {}
    return model.partial_fit(X[rows], y[rows], **more)


def assert_same_bits(one, other):
    for name in ("coefs_", "intercepts_"):
        for ours, theirs in zip(getattr(one, name), getattr(other, name), strict=True):
            assert_array_equal(ours, theirs)
            assert ours.dtype == theirs.dtype
    for key in one.history_.keys() - {"seconds"}:
        assert_array_equal(one.history_[key], other.history_[key])
    for ours, theirs in zip(one._state.whole.iterate.slots, other._state.whole.iterate.slots, strict=True):
        assert_array_equal(ours, theirs)
    assert (one.t_, one.n_iter_, repr(one.optimizer_)) == (other.t_, other.n_iter_, repr(other.optimizer_))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", MODELS)
def test_a_stream_goes_on_with_the_same_bits(name, way):
    y = target(name)
    stopped = continued(copy.deepcopy(MODELS[name]), y, slice(20))
    loaded = way(stopped)
    assert vars(loaded).keys() - set(vars(MODELS[name])) >= {"t_", "history_", "n_features_in_"}
    assert_array_equal(loaded.predict(X), stopped.predict(X))
    assert repr(loaded) == repr(stopped)
    for rows in (slice(20, 37), slice(37, 60)):
        continued(stopped, y, rows)
        loaded = way(continued(loaded, y, rows))
    assert_same_bits(loaded, stopped)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "model", [GDRegressor(max_iter=3, tol=None), GDRegressor(early_stopping=True, optimizer="nadam")]
)
def test_warm_starts_go_on_with_the_same_bits(model, way):
    model = copy.deepcopy(model).set_params(warm_start=True, random_state=0).fit(X[:40], Y[:40])
    loaded = way(model)
    assert_same_bits(loaded.fit(X, Y), model.fit(X, Y))


def test_coefficients_set_from_outside_are_heeded_after_loading():
    model = GDRegressor(optimizer="adam").partial_fit(X, Y)
    model.coef_ = model.coef_ + 1.0
    loaded = by_pickle(model)
    assert_same_bits(loaded.partial_fit(X, Y), model.partial_fit(X, Y))


def test_sparsified_models_go_on():
    model = GDClassifier(alpha=0.1, l1_ratio=1.0).partial_fit(X, LABELS, classes=np.unique(LABELS)).sparsify()
    for way in (by_pickle, partial(by_skops, more=["scipy.sparse._csr.csr_array"])):
        loaded = way(model)
        assert sp.issparse(loaded.coef_)
        assert_same_bits(loaded.partial_fit(X, LABELS), copy.deepcopy(model).partial_fit(X, LABELS))


CONTINUE = """
import pickle, sys
from pathlib import Path
import joblib
way, source, result = sys.argv[1:]
if way == "skops":
    import skops.io
    model, X, y = skops.io.load(source, trusted=["skgd.estimators.GDClassifier"])
else:
    model, X, y = joblib.load(source) if way == "joblib" else pickle.loads(Path(source).read_bytes())
Path(result).write_bytes(pickle.dumps(model.partial_fit(X, y)))
"""


@pytest.mark.parametrize("way", ["pickle", "joblib", "skops"])
def test_another_process_goes_on(way, tmp_path):
    model = continued(GDClassifier(optimizer="adam", class_weight="balanced"), LABELS, slice(30))
    task = (model, X[30:], LABELS[30:])
    if way == "pickle":
        (tmp_path / "task").write_bytes(pickle.dumps(task))
    elif way == "joblib":
        joblib.dump(task, tmp_path / "task")
    else:
        pytest.importorskip("skops.io").dump(task, tmp_path / "task")
    subprocess.run([sys.executable, "-c", CONTINUE, way, tmp_path / "task", tmp_path / "result"], check=True)
    assert_same_bits(pickle.loads((tmp_path / "result").read_bytes()), continued(model, LABELS, slice(30, 60)))


# -- other releases ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted(PICKLES.glob("*.pickle")), ids=lambda path: path.stem)
def test_models_of_earlier_releases_go_on(path, monkeypatch):
    """Loaded with these libraries, and continued with them, to the numbers that the release itself arrived at.

    There, sums of squared gradients did not follow the scales of their features, and streams began no average.
    """
    monkeypatch.setattr(AdaGrad, "rescaled", staticmethod(Optimizer.rescaled))
    models = pickle.loads(path.read_bytes())
    golden = json.loads(path.with_suffix(".json").read_text())
    assert models.keys() == golden.keys()
    for name, model in models.items():
        if not model._state.averaging:
            model.set_params(average=False)
        make.trained(name, model, 30, 60)
        assert model.t_ == golden[name]["t"]
        # Huber's steps have had another unit since; and an implicit step, which was half of the way where a straight
        # line said so, ends since where the gradient says.
        tolerance = {"fitted": 0.25, "float32": 0.15}.get(name, 1e-10)
        for ours, expected in (("coefs_", "coefs"), ("intercepts_", "intercepts")):
            for one, other in zip(getattr(model, ours), golden[name][expected], strict=True):
                assert_allclose(one, other, rtol=tolerance, atol=tolerance)


def saved_as(model, **changes):
    """Return the pickle of a model that another release saved in its own way."""

    class Other(type(model)):
        def __getstate__(self):
            state = super().__getstate__()
            for name, value in changes.items():
                if value is None:
                    del state[name]
                else:
                    state[name] = value(state[name]) if name in state else value(None)
            return state

    other = object.__new__(Other)
    other.__dict__.update(vars(model))
    state = other.__getstate__()
    return lambda: object.__new__(type(model)).__setstate__(state)


def with_field(name, value):
    return lambda state: {**state, name: value}


def without(name):
    return lambda state: {key: value for key, value in state.items() if key != name}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"skgd_format": lambda _: 99}, "format 99"),
        ({"_state": with_field("momentum_of_tomorrow", 1)}, "momentum_of_tomorrow"),
        ({"_state": with_field("skgd kind", "Estate")}, "Estate"),
        ({"_state": without("iterate")}, "iterate"),
    ],
)
def test_a_model_that_cannot_be_read_says_who_saved_it(changes, words):
    model = GDRegressor().partial_fit(X, Y)
    with pytest.raises(ValueError, match=rf"saved by skgd 7\.0\.0.*{words}.*pip install 'skgd==7\.0\.0'"):
        saved_as(model, skgd_release=lambda _: "7.0.0", **changes)()


def test_a_model_from_before_the_first_release_is_refused():
    with pytest.raises(ValueError, match=r"before skgd 0\.1\.0.*train a new model"):
        saved_as(GDRegressor().partial_fit(X, Y), skgd_format=None, skgd_release=None)()


def test_what_an_older_release_did_not_save_has_its_default():
    """A parameter of the estimator, a hyperparameter of a strategy, a part of the state."""
    model = GDRegressor(optimizer=Adam(0.01)).partial_fit(X, Y)
    state = {name: value for name, value in model.__getstate__().items() if name != "hidden_layer_sizes"}
    state["optimizer"] = without("amsgrad")(state["optimizer"])
    objective = without("activation")(without("hidden_layer_sizes")(state["_state"]["objective"]))
    state["_state"] = without("past")(state["_state"]) | {"objective": objective}
    older = object.__new__(GDRegressor)
    older.__setstate__(state)
    assert older.hidden_layer_sizes == ()
    assert older.get_params().keys() == model.get_params().keys()
    older.partial_fit(X, Y)
    model.partial_fit(X, Y)
    assert_array_equal(older.coef_, model.coef_)


def plain(value):
    """Say whether a value is made of nothing but what every format knows."""
    if isinstance(value, dict):
        return all(type(key) is str and plain(inner) for key, inner in value.items())
    if type(value) in (list, tuple):
        return all(map(plain, value))
    return type(value) in (str, int, float, bool, type(None), np.ndarray)


@pytest.mark.parametrize("name", MODELS)
def test_what_is_saved_is_plain(name):
    model = continued(copy.deepcopy(MODELS[name]), target(name), slice(60))
    assert plain(model.__getstate__())


def test_each_kind_has_a_name_of_its_own():
    kinds = [*persistence._PARTS, *(kind for registry in persistence._REGISTRIES for kind in set(registry.values()))]
    assert len({kind.__name__ for kind in kinds}) == len(kinds)


class Mine(SGD):
    """An optimizer of one's own."""


def test_strategies_of_ones_own_are_saved_as_objects():
    model = GDRegressor(optimizer=Mine(0.01)).partial_fit(X, Y)
    assert type(by_pickle(model).optimizer_) is Mine
    skops = pytest.importorskip("skops.io")
    untrusted = skops.get_untrusted_types(data=skops.dumps(model))
    assert sorted(untrusted) == sorted(["skgd.estimators.GDRegressor", f"{__name__}.Mine"])
