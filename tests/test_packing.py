"""Features that no sample has, as of hashed text, change nothing in `fit`, and cost nothing."""

from unittest import mock

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone

from skgd import GDClassifier, GDRegressor, training
from skgd.callbacks import Checkpoint
from skgd.losses import CLASSIFIER_LOSSES, REGRESSOR_LOSSES
from skgd.optimizers import OPTIMIZERS
from skgd.packing import Packing

N, P, WIDE = 200, 60, 500
rng = np.random.default_rng(0)
X = sp.random_array((N, P), density=0.1, format="csr", rng=rng)
X.data[:] = 1.0 + rng.random(X.nnz)
Z = sp.random_array((N, P), density=0.1, format="csr", rng=rng)
NUMBERS = X @ rng.normal(size=P) + 0.1 * rng.normal(size=N)
TARGETS = {
    "numbers": NUMBERS,
    "positive": np.exp(0.3 * NUMBERS),
    "labels": NUMBERS > 0.0,
    "classes": np.digitize(NUMBERS, [-1.0, 1.0]),
    "several": np.column_stack([NUMBERS, -2.0 * NUMBERS + 1.0]),
}
PLACES = np.sort(rng.permutation(WIDE)[:P])
OTHERS = np.setdiff1d(np.arange(WIDE), PLACES)


def hashed(A):
    """Return samples whose features are among many others, of which these are some."""
    return sp.csr_array((A.data, PLACES[A.indices].astype(A.indices.dtype), A.indptr), shape=(A.shape[0], WIDE))


def compare(one, other):
    """Compare numbers to within the rounding of sums in which there are more zeros."""
    assert_allclose(one, other, rtol=1e-9, atol=1e-12)


def assert_same(wide, narrow):
    """Compare models of the same samples, in the features that these have, and those that none has with zero."""
    coef = np.atleast_2d(wide.coef_)
    assert coef.shape[1] == WIDE
    compare(coef[:, PLACES], np.atleast_2d(narrow.coef_))
    compare(wide.intercept_, narrow.intercept_)
    assert not coef[:, OTHERS].any()
    assert (wide.n_iter_, wide.t_) == (narrow.n_iter_, narrow.t_)
    compare(wide.alpha_, narrow.alpha_)
    for name in narrow.history_.keys() - {"seconds"}:
        compare(wide.history_[name], narrow.history_[name])


CASES = [
    *((GDClassifier(optimizer=name), "classes") for name in OPTIMIZERS if name != "yogi"),  # it begins with momentum
    *((GDClassifier(name, optimizer="adagrad"), "labels") for name in CLASSIFIER_LOSSES),
    *((GDRegressor(name), "positive") for name in REGRESSOR_LOSSES),
    (GDClassifier(), "labels"),
    (GDRegressor(), "numbers"),
    (GDRegressor(optimizer="adam", alpha=0.01, l1_ratio=0.5), "several"),
    (GDClassifier(optimizer="adagrad", early_stopping=True), "classes"),
    (GDClassifier(optimizer="sgd", precondition=False, fit_intercept=False), "labels"),
]


@pytest.mark.parametrize(("model", "target"), CASES, ids=str)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_features_that_no_sample_has_change_nothing(model, target):
    model.set_params(random_state=0, max_iter=20)
    narrow = vars(model.fit(X, TARGETS[target])).copy()
    kept = type(model)()
    vars(kept).update(narrow)
    assert_same(model.fit(hashed(X), TARGETS[target]), kept)


def unpacked(model, *data, **more):
    """Return a model trained with all features."""
    with mock.patch.object(training.Packing, "of_occurring", return_value=None):
        return clone(model).fit(*data, **more)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("average", [False, "auto"])
@pytest.mark.parametrize("goes_on", [GDClassifier.partial_fit, GDClassifier.fit])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_training_goes_on_with_features_that_come_later(goes_on, average, optimizer):
    """As if they had been there all the time: some rules count steps for each coefficient."""
    params = {"max_iter": 20, "tol": None, "warm_start": True, "average": average, "random_state": 0}
    model, y = GDClassifier(optimizer=optimizer, **params), TARGETS["classes"]
    of_all, model = unpacked(model, hashed(X), y), model.fit(hashed(X), y)
    for slot, expected in zip(model._state.iterate.slots, of_all._state.iterate.slots, strict=True):
        compare(slot, expected)
    later = sp.csr_array((Z.data, OTHERS[Z.indices].astype(Z.indices.dtype), Z.indptr), shape=(N, WIDE))
    for each in model, of_all:
        each.set_params(max_iter=2)
        goes_on(each, hashed(Z) + later, y)
    assert model.coef_[:, OTHERS].any()
    compare(model.coef_, of_all.coef_)
    compare(model.intercept_, of_all.intercept_)


def test_features_of_the_validation_set_alone_count_for_nothing():
    y = TARGETS["labels"]
    more = hashed(Z) + sp.csr_array((np.ones(N), (np.arange(N), OTHERS[:N])), shape=(N, WIDE))
    model = GDClassifier(optimizer="adam", random_state=0)
    for A in (more, more.toarray()):
        wide = GDClassifier(**model.get_params()).fit(hashed(X), y, X_val=A, y_val=y)
        assert_same(wide, model.fit(X, y, X_val=Z, y_val=y))


class Seen:
    """Keeps the coefficients at the end of each epoch."""

    def __init__(self):
        self.coefs = []

    def setup(self, estimator, context):
        pass

    def teardown(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context, *, fitted_estimator=None):
        pass

    def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
        if context.task_name == "epoch":
            self.coefs.append(fitted_estimator._layers()[0][0].T)


@pytest.fixture
def model():
    pytest.importorskip("sklearn.callback")
    return GDClassifier(optimizer="adam", max_iter=6, tol=None, random_state=0)


def test_callbacks_see_all_features(model):
    seen, y = Seen(), TARGETS["labels"]
    model.set_callbacks(seen).fit(hashed(X), y)
    assert [coef.shape for coef in seen.coefs] == [(1, WIDE)] * 6
    assert_array_equal(seen.coefs[-1], model.coef_)
    assert not np.array_equal(seen.coefs[0], model.coef_)


class Stop(Exception):
    """Ends training."""


class After(Seen):
    """Raises an error after some epochs."""

    def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
        super().on_fit_task_end(estimator, context, fitted_estimator=fitted_estimator)
        if len(self.coefs) == 3:
            raise Stop


@pytest.mark.parametrize("packed", [True, False], ids=["now", "of an earlier release"])
@pytest.mark.parametrize("hidden_layer_sizes", [(), (5,)])
def test_checkpoints_go_on_with_the_same_bits(model, hidden_layer_sizes, packed, tmp_path):
    y = TARGETS["classes"]
    data = {"X": hashed(X), "y": y, "X_val": hashed(Z), "y_val": y}
    model.set_params(hidden_layer_sizes=hidden_layer_sizes)
    how = {"wraps": Packing.of_occurring} if packed else {"return_value": None}
    with mock.patch.object(training.Packing, "of_occurring", **how):
        whole = GDClassifier(**model.get_params()).fit(**data)
        with pytest.raises(Stop):
            model.set_callbacks(Checkpoint(tmp_path / "file"), After()).fit(**data)
    resumed = Checkpoint.load(tmp_path / "file").fit(**data)
    assert resumed.n_iter_ == 6
    for one, other in zip(resumed._layers(), whole._layers(), strict=True):
        assert_array_equal(one[0], other[0])
        assert_array_equal(one[1], other[1])


@pytest.mark.parametrize("params", [{}, {"optimizer": "rmsprop"}, {"activation": "tanh", "alpha": 0.01}])
def test_networks_predict_from_features_that_were_seen(params):
    y = TARGETS["classes"]
    model = GDClassifier(hidden_layer_sizes=(5, 4), max_iter=5, tol=None, random_state=0, **params).fit(hashed(X), y)
    assert model.coefs_[0].shape == (WIDE, 5)
    assert not model.coefs_[0][OTHERS].any()
    assert model.coefs_[0][PLACES].any(axis=1).all()
    probabilities = model.predict_proba(hashed(X))
    unseen = hashed(X) + sp.csr_array((np.ones(N), (np.arange(N), OTHERS[:N])), shape=(N, WIDE))
    assert_allclose(model.predict_proba(unseen), probabilities, rtol=1e-12)
    assert model.partial_fit(unseen, y).coefs_[0][OTHERS[:N]].any()


@pytest.mark.parametrize(
    "model", [GDClassifier(), GDClassifier(optimizer="adam"), GDClassifier(hidden_layer_sizes=(3,))]
)
def test_features_that_no_sample_has_cost_nothing(model):
    """Training is handed the others only, and one that stands for all that no sample has."""
    with mock.patch.object(training, "learn", wraps=training.learn) as learn:
        model.set_params(max_iter=3, tol=None).fit(hashed(X), TARGETS["labels"])
    assert learn.call_args_list
    for call in learn.call_args_list:
        state, _, (samples, *_) = call.args
        assert samples.shape[1] == state.objective.n_features == P + 1


def test_only_what_may_be_left_out_is():
    """Dense samples, and features of which most occur, or which have many entries, are taken as they are."""
    assert Packing.of_occurring(hashed(X)) is not None
    assert Packing.of_occurring(hashed(X).toarray()) is None
    assert Packing.of_occurring(X) is None
    assert Packing.of_occurring(sp.csr_array((N, WIDE))) is None
    assert Packing.of_occurring(sp.vstack([hashed(X)] * 10, format="csr")) is None
