"""What scikit-learn tests its `SGD*`, `MLP*` and `LogisticRegression` for, asked of ours: see `docs/yardstick.md`.

The questions are theirs; answers, data and computations are our own. What another file of tests shows already is not
shown again here: the table names it.
"""

import pickle
import re
import warnings
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import logsumexp, softmax
from sklearn.base import clone
from sklearn.datasets import load_digits, load_iris, make_multilabel_classification
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LinearRegression, LogisticRegression, SGDClassifier, SGDRegressor
from sklearn.metrics import balanced_accuracy_score, log_loss, roc_auc_score
from sklearn.model_selection import GridSearchCV, ShuffleSplit, StratifiedShuffleSplit
from sklearn.multiclass import OneVsRestClassifier
from sklearn.utils import compute_class_weight

from skgd import GDClassifier, GDRegressor
from skgd.losses import CLASSIFIER_LOSSES, REGRESSOR_LOSSES, EpsilonInsensitive, Huber
from skgd.optimizers import OPTIMIZERS, SGD
from skgd.schedules import Cosine, Exponential, InverseScaling, ReduceOnPlateau

IRIS_X, IRIS_Y = load_iris(return_X_y=True)
SPECIES = load_iris().target_names[IRIS_Y]
DIGITS_X, DIGITS_Y = load_digits(n_class=3, return_X_y=True)
rng = np.random.default_rng(0)
CORNERS = np.array([[0.0, 2.0], [-2.0, -1.0], [2.0, -1.0]])
CLOUD_Y = np.repeat(["north", "west", "east"], 6)
CLOUD_X = np.repeat(CORNERS, 6, axis=0) + 0.3 * rng.normal(size=(18, 2))
LINE_X = np.linspace(-5.0, 5.0, 100)[:, np.newaxis]
X = rng.normal(size=(80, 4)) * (rng.random((80, 4)) < 0.7)
Y = X @ [1.0, -2.0, 0.5, 0.0] + 1.0 + 0.5 * rng.normal(size=80)
LABELS = np.digitize(Y + rng.normal(size=80), [0.0, 1.5])  # noise enough that no loss can vanish
TARGET = {GDRegressor: Y, GDClassifier: LABELS}

# Gradient descent as in the books: nothing learned about the columns, no average, no stopping before the end.
PLAIN = {"optimizer": "sgd", "precondition": False, "average": False, "shuffle": False, "tol": None}

both_estimators = pytest.mark.parametrize("estimator", [GDRegressor, GDClassifier])
both_formats = pytest.mark.parametrize("as_format", [np.asarray, sp.csr_array], ids=["dense", "sparse"])


def first_call(estimator, y):
    """Return what the first call of ``partial_fit`` needs besides the rows."""
    return {"classes": np.unique(y)} if estimator is GDClassifier else {}


def parameters(model):
    return np.concatenate([np.ravel(model.coef_), np.ravel(model.intercept_)])


# -- the table --------------------------------------------------------------------------------------------------------


def test_tests_in_the_table_exist():
    """Every test that a row of docs/yardstick.md names exists, and every test here has its row."""
    tests = Path(__file__).parent
    rows = re.findall(r"^\|.*\|(.*)\|$", (tests.parent / "docs/yardstick.md").read_text(encoding="utf-8"), re.M)
    named = {name for row in rows for name in re.findall(r"`((?:test_\w+\.py::)?(?:Test\w+::)?test_\w+)`", row)}
    known = {path.name: set(re.findall(r"def (test_\w+)", path.read_text())) for path in tests.glob("test_*.py")}
    here = known[Path(__file__).name]
    assert {name for name in named if "::" not in name} == here - {"test_tests_in_the_table_exist"}
    elsewhere = [name.split("::") for name in named if "::" in name]
    assert len(elsewhere) > 30
    assert [name for name in elsewhere if name[-1] not in known[name[0]]] == []


# -- learning ---------------------------------------------------------------------------------------------------------


@both_formats
@pytest.mark.parametrize("loss", CLASSIFIER_LOSSES)
def test_every_loss_tells_classes_apart(loss, as_format):
    for names in (["west", "east"], ["north", "west", "east"]):
        rows = np.isin(CLOUD_Y, names)
        model = GDClassifier(loss, random_state=0).fit(as_format(CLOUD_X[rows]), CLOUD_Y[rows])
        assert_array_equal(model.predict(as_format(CLOUD_X[rows])), CLOUD_Y[rows])
        assert_array_equal(
            model.predict(CORNERS), [name if name in names else "east" for name in model.predict(CORNERS)]
        )
        n_outputs = 1 if len(names) == 2 else 3
        assert model.coef_.shape == (n_outputs, 2)
        assert model.intercept_.shape == (n_outputs,)
        assert model.decision_function([[0.0, 0.0]]).shape == ((1,) if n_outputs == 1 else (1, 3))
        assert_array_equal(model.classes_, sorted(names))


@both_formats
@pytest.mark.parametrize(
    "loss",
    [
        "squared_error",
        "absolute_error",
        "quantile",
        Huber(0.1),
        EpsilonInsensitive(0.01),
        "squared_epsilon_insensitive",
    ],
    ids=repr,
)
def test_a_line_is_found_through_noise_and_outliers(loss, as_format):
    exact = 0.5 * LINE_X.ravel()
    noisy = exact + np.random.default_rng(1).normal(size=100)
    for fit_intercept in (True, False):
        model = GDRegressor(loss, fit_intercept=fit_intercept, random_state=0)
        assert model.fit(as_format(LINE_X), exact).score(LINE_X, exact) > 0.99
        assert_allclose(model.fit(as_format(LINE_X), noisy).coef_, 0.5, atol=0.1)
    outliers = np.where(np.arange(100) % 10 == 0, exact + 50.0, exact)  # on one side, so that the mean moves up
    prediction = GDRegressor(loss, random_state=0).fit(as_format(LINE_X), outliers).predict(LINE_X)
    robust = not isinstance(loss, str) or loss in ("absolute_error", "quantile")
    assert (np.abs(prediction - exact).max() < 0.5) == robust
    if isinstance(loss, (Huber, EpsilonInsensitive)):
        name = "huber" if isinstance(loss, Huber) else "epsilon_insensitive"
        sgd = SGDRegressor(name, epsilon=loss.epsilon, random_state=0).fit(LINE_X, outliers)
        assert np.abs(sgd.predict(LINE_X) - exact).max() < 0.5


def test_equal_columns_get_equal_coefficients():
    twice = np.column_stack([X[:, 0], X[:, 0]])
    for model in (GDRegressor(**PLAIN, learning_rate=0.01, max_iter=2), GDRegressor(fit_intercept=False)):
        coef = model.fit(twice, Y).coef_
        assert coef[0] == coef[1] != 0.0


@both_estimators
def test_fit_begins_anew_with_other_columns_and_labels(estimator):
    y = TARGET[estimator]
    model = estimator(random_state=0).fit(X, y)
    other = np.array(["ham", "spam"])[(y > 0).astype(int)] if estimator is GDClassifier else -y
    again, fresh = model.fit(X[:, :2], other), estimator(random_state=0).fit(X[:, :2], other)
    assert_array_equal(parameters(again), parameters(fresh))
    assert_array_equal(again.predict(X[:, :2]), fresh.predict(X[:, :2]))


@both_estimators
def test_a_clone_is_an_untrained_estimator_of_its_own(estimator):
    model = estimator(alpha=0.01, l1_ratio=1.0, random_state=0).fit(X, TARGET[estimator])
    before = parameters(model).copy()
    copy = clone(model)
    assert not hasattr(copy, "coef_")
    copy.set_params(l1_ratio=0.0).fit(X, TARGET[estimator])
    assert_array_equal(
        parameters(copy), parameters(estimator(alpha=0.01, l1_ratio=0.0, random_state=0).fit(X, TARGET[estimator]))
    )
    assert_array_equal(parameters(model), before)


def test_parameters_are_kept_as_they_are_set_and_checked_in_fit():
    model = GDRegressor(alpha=1, learning_rate=1e-2).set_params(alpha=-1.0, max_iter=7)
    assert (model.alpha, model.learning_rate, model.max_iter) == (-1.0, 1e-2, 7)
    with pytest.raises(ValueError, match="alpha == -1"):
        model.fit(X, Y)
    with pytest.raises(ValueError, match="Invalid parameter 'eta0'"):
        model.set_params(eta0=0.1)


def test_several_columns_of_y():
    """Numbers are several targets, zeros and ones several labels; a classifier takes nothing else of two columns."""
    both = np.column_stack([LABELS, LABELS])
    with pytest.raises(ValueError, match="multiclass-multioutput"):
        GDClassifier().fit(X, both)
    with pytest.raises(ValueError, match="multilabel, zeros and ones"):
        GDClassifier().fit(X, np.where(both == 0, 3, 5))
    assert GDClassifier().fit(X, both == 0).predict(X).shape == GDRegressor().fit(X, both).predict(X).shape == (80, 2)


@both_formats
def test_several_labels_a_row(as_format):
    A, labels = make_multilabel_classification(n_samples=200, n_features=20, random_state=0)
    A = as_format(A)
    base = (np.vstack([1 - labels.mean(axis=0), labels.mean(axis=0)]).max(axis=0)).mean()
    stream = GDClassifier(batch_size=25)
    for _ in range(30):
        stream.partial_fit(A, labels, classes=range(5))
    for model in (GDClassifier(random_state=0), GDClassifier(early_stopping=True, random_state=0), stream):
        if model is not stream:
            model.fit(A, labels)
        assert (model.predict(A) == labels).mean() > base + 0.1
        probability = model.predict_proba(A)
        assert probability.shape == labels.shape
        assert_array_equal(probability > 0.5, model.predict(A))
        assert np.abs(probability.sum(axis=1) - 1.0).max() > 0.5  # one for each label, not one for all of them
        assert_allclose(model.predict_log_proba(A), np.log(probability))


# -- streams ----------------------------------------------------------------------------------------------------------


@both_formats
def test_shapes_do_not_depend_on_what_a_stream_has_seen(as_format):
    for names, shape in ((["east", "west"], (1, 2)), (["east", "north", "west"], (3, 2))):
        rows = CLOUD_Y == "east"
        model = GDClassifier(average=12)
        model.partial_fit(as_format(CLOUD_X[rows]), CLOUD_Y[rows], classes=names)  # one class only
        for _ in range(2):
            assert model.coef_.shape == shape
            assert model.intercept_.shape == shape[:1]
            assert model.decision_function(CORNERS).shape == ((3,) if shape[0] == 1 else (3, 3))
            assert model.predict_proba(CORNERS).shape == (3, len(names))
            rows = np.isin(CLOUD_Y, names)
            model.partial_fit(as_format(CLOUD_X[rows]), CLOUD_Y[rows])
        assert_array_equal(model.predict(CLOUD_X[rows]), CLOUD_Y[rows])
    model = GDRegressor().partial_fit(as_format(X[:2]), Y[:2])
    assert (model.coef_.shape, model.intercept_.shape, model.predict(X[:1]).shape) == ((4,), (1,), (1,))


def test_a_class_that_comes_late():
    model = GDClassifier().partial_fit([[1.0], [2.0], [3.0]], ["a", "b", "c"], classes=["a", "b", "c", "d"])
    assert "d" not in model.predict([[1.0], [4.0]])
    for _ in range(20):
        model.partial_fit([[4.0]], ["d"])
    assert model.predict([[4.0]]) == "d"


RULES = [
    ("sgd", 0.02),
    ("adagrad", InverseScaling(0.05, power=0.25)),
    ("adam", Exponential(0.05)),
    ("ftrl", Cosine(0.05, decay_steps=15)),
    (SGD(momentum=0.9), ReduceOnPlateau(0.02)),
]


@both_formats
@both_estimators
@pytest.mark.parametrize(("optimizer", "schedule"), RULES, ids=repr)
def test_calls_of_partial_fit_are_epochs_of_fit(estimator, optimizer, schedule, as_format):
    """In plain coordinates, to rounding: a stream learns standardized ones on the way, and fit beforehand."""
    for y in (TARGET[estimator], (TARGET[estimator] > 0).astype(int)):
        params = PLAIN | {"optimizer": optimizer, "learning_rate": schedule, "alpha": 0.01, "batch_size": 8}
        fitted = estimator(**params, max_iter=4).fit(as_format(X), y)
        stream = estimator(**params)
        for _ in range(4):
            stream.partial_fit(as_format(X), y, **first_call(estimator, y))
        assert stream.t_ == fitted.t_ == 40
        assert_allclose(parameters(stream), parameters(fitted), rtol=1e-9, atol=1e-12)
        assert_allclose(stream.history_["loss"], fitted.history_["loss"], rtol=1e-9)


def test_a_loaded_model_learns_a_new_target(tmp_path):
    joblib.dump(GDRegressor(random_state=0).fit([[2.0]], [4.0]), tmp_path / "model.joblib")
    model = joblib.load(tmp_path / "model.joblib")
    assert_allclose(model.predict([[2.0]]), 4.0)
    for _ in range(200):
        model.partial_fit([[2.0]], [1.0])
    assert_allclose(model.predict([[2.0]]), 1.0, rtol=1e-3)


# -- going on: warm start -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("as_format", "average"), [(np.asarray, True), (sp.csr_array, False)], ids=["dense", "sparse"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@both_estimators
def test_two_warm_fits_are_one_long_fit(estimator, optimizer, average, as_format):
    params = {
        "optimizer": optimizer,
        "average": average,
        "shuffle": False,
        "tol": None,
        "batch_size": 16,
        "alpha": 1e-3,
    }
    whole = estimator(**params, max_iter=6).fit(as_format(X), TARGET[estimator])
    parts = estimator(**params, max_iter=2, warm_start=True)
    for _ in range(3):
        parts.fit(as_format(X), TARGET[estimator])
        assert parts.n_iter_ == 2  # that of the call
    assert parts.t_ == whole.t_ == 30
    assert_allclose(parameters(parts), parameters(whole), rtol=1e-9, atol=1e-12)


@both_estimators
def test_one_warm_epoch_changes_little_and_a_cold_one_much(estimator):
    model = estimator(random_state=0, alpha=1e-3).fit(X, TARGET[estimator])
    far = np.abs(parameters(model)).sum()
    for warm_start in (True, False):
        again = pickle.loads(pickle.dumps(model)).set_params(max_iter=1, tol=None, warm_start=warm_start)
        moved = np.abs(parameters(again.fit(X, TARGET[estimator])) - parameters(model)).sum()
        assert (moved < 0.05 * far) == warm_start


def test_warm_fits_converge_where_a_cold_one_does():
    exact = LogisticRegression(C=1 / (80 * 0.01), tol=1e-8, max_iter=1000).fit(X, LABELS)
    warm = GDClassifier(optimizer=SGD(momentum=0.9), batch_size=None, alpha=0.01, tol=1e-4, warm_start=True)
    for _ in range(6):
        warm.fit(X, LABELS)
    assert_allclose(log_loss(LABELS, warm.predict_proba(X)), log_loss(LABELS, exact.predict_proba(X)), rtol=1e-3)


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@both_estimators
def test_training_goes_on_from_coefficients_set_by_hand(estimator, method):
    """An initial point of one's own: set it on a model that knows the shapes."""
    y = TARGET[estimator]
    known = estimator(**PLAIN, learning_rate=0.05, alpha=0.01, max_iter=3).fit(X, y)
    model = estimator(**PLAIN, learning_rate=0.05, alpha=0.1, max_iter=2, warm_start=True)
    model.partial_fit(X[:1], y[:1], **first_call(estimator, y))
    model.coef_, model.intercept_ = known.coef_.copy(), known.intercept_.copy()
    getattr(model, method)(X, y)
    implicit = known.set_params(alpha=0.1, max_iter=2, warm_start=True)
    assert_allclose(parameters(model), parameters(getattr(implicit, method)(X, y)), rtol=1e-12)


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@both_estimators
def test_coefficients_set_by_hand_must_fit(estimator, method):
    n_outputs = 1 if estimator is GDRegressor else 3
    model = estimator(warm_start=True, max_iter=2, tol=None).fit(X, TARGET[estimator])
    before = parameters(model).copy()
    for name, value, words in [
        ("coef_", np.zeros((n_outputs, 3)), rf"coef_ was set to the shape \({n_outputs}, 3\).*\({n_outputs}, 4\)"),
        ("coef_", np.zeros((2, 4)), rf"coef_ was set to the shape \(2, 4\).*\({n_outputs}, 4\)"),
        ("intercept_", np.zeros(n_outputs + 1), r"intercept_ was set to the shape"),
        ("coef_", np.full_like(model.coef_, np.nan), "coef_ was set to numbers that are not finite"),
    ]:
        learned = getattr(model, name)
        setattr(model, name, value)
        with pytest.raises(ValueError, match=words):
            getattr(model, method)(X, TARGET[estimator])
        setattr(model, name, learned)
    assert_array_equal(parameters(model), before)
    if estimator is GDClassifier:
        model.intercept_ = np.zeros(1)  # which numpy would repeat for all of them
        with pytest.raises(ValueError, match=r"intercept_ was set to the shape \(1,\).*\(3,\)"):
            getattr(model, method)(X, LABELS)


def test_a_warm_fit_may_miss_a_class_but_not_add_one():
    model = GDClassifier(warm_start=True, random_state=0).fit(IRIS_X, IRIS_Y)
    assert_array_equal(model.fit(IRIS_X[:100], IRIS_Y[:100]).classes_, [0, 1, 2])
    for stranger in (np.repeat([0, 1, 3], 50), np.repeat(range(5), 30)):
        with pytest.raises(ValueError, match=r"not among the classes \[0, 1, 2\]"):
            model.fit(IRIS_X, stranger)


@both_estimators
def test_a_warm_fit_with_early_stopping_goes_on(estimator):
    model = estimator(max_iter=5, tol=None, warm_start=True, early_stopping=True, random_state=0)
    model.fit(X, TARGET[estimator]).set_params(max_iter=8).fit(X, TARGET[estimator])
    assert model.n_iter_ == 8
    assert len(model.history_["validation_score"]) == 13
    assert np.isfinite(model.history_["validation_score"]).all()


def test_coefficients_may_be_written_to():
    model = GDClassifier(random_state=0).fit(X, LABELS)
    model.coef_[:], model.intercept_[:] = 0.0, [0.0, 2.0, 1.0]
    assert_array_equal(model.decision_function(X), np.tile([0.0, 2.0, 1.0], (80, 1)))
    assert_array_equal(model.predict(X), 1)


# -- stopping ---------------------------------------------------------------------------------------------------------


@both_formats
@pytest.mark.parametrize("early_stopping", [False, True])
@both_estimators
def test_training_ends_before_max_iter(estimator, early_stopping, as_format):
    model = estimator(early_stopping=early_stopping, random_state=0).fit(as_format(X), TARGET[estimator])
    assert model.n_iter_ < model.max_iter == 1000
    assert type(model.n_iter_) is int


@pytest.mark.parametrize("patience", [1, 2, 5, 20])
def test_training_ends_after_that_many_epochs_without_progress(patience):
    """Recomputed from the record, as the docstring has it."""
    y, tol, n_steps = (LABELS > 0).astype(int), 0.02, 5
    model = GDClassifier(
        optimizer=SGD(0.05), batch_size=16, tol=tol, n_iter_no_change=patience, alpha=0.01, random_state=0
    ).fit(X, y, X_val=X, y_val=y)
    best, waited, ended = np.inf, 0, None
    for epoch, loss in enumerate(model.history_["validation_loss"], start=1):
        enough = 0.0 if best == np.inf else tol * n_steps / 300 * (best + 0.03 * np.log(2.0))
        waited = 0 if loss < best - enough else waited + 1
        best = min(best, loss)
        if waited == patience:
            ended = epoch
            break
    assert model.n_iter_ == ended


@pytest.mark.parametrize("early_stopping", [False, True])
@both_estimators
def test_more_patience_never_means_fewer_epochs(estimator, early_stopping):
    epochs = [
        estimator(n_iter_no_change=patience, early_stopping=early_stopping, random_state=0)
        .fit(X, TARGET[estimator])
        .n_iter_
        for patience in (1, 2, 3, 10)
    ]
    assert epochs == sorted(epochs)
    assert epochs[-1] > epochs[0]


def test_a_larger_tol_means_fewer_epochs():
    model = GDClassifier(batch_size=None)
    n_iter = {tol: clone(model).set_params(tol=tol).fit(X, LABELS).n_iter_ for tol in (0.0, 1e-2, 1.0)}
    assert 3 <= n_iter[1.0] < n_iter[1e-2] < n_iter[0.0] < 1000
    assert model.set_params(tol=None, max_iter=42).fit(X, LABELS).n_iter_ == 42
    assert GDClassifier(tol=0.5, max_iter=3000).fit([[3.0, 2.0], [1.0, 6.0]], [1, 0]).n_iter_ < 3000


@pytest.mark.parametrize("max_iter", [1, 2, 3])
def test_a_limit_that_comes_too_early_is_warned_of(max_iter):
    model = GDClassifier(optimizer=SGD(0.2), average=False, max_iter=max_iter, tol=1e-6, random_state=0)
    with pytest.warns(ConvergenceWarning, match=f"max_iter={max_iter} epochs.*Increase max_iter"):
        model.fit(IRIS_X, IRIS_Y)
    assert model.n_iter_ == max_iter


@both_formats
@pytest.mark.parametrize("fraction", [0.1, 0.37])
@both_estimators
def test_held_out_rows_do_not_train(estimator, fraction, as_format):
    y = TARGET[estimator]
    split = StratifiedShuffleSplit if estimator is GDClassifier else ShuffleSplit
    kept, held_out = next(split(1, test_size=fraction, random_state=7).split(X, y))
    params = {"max_iter": 6, "tol": None, "shuffle": False, "batch_size": 1}
    model = estimator(early_stopping=True, validation_fraction=fraction, random_state=7, **params).fit(as_format(X), y)
    by_hand = estimator(**params).fit(as_format(X[kept]), y[kept], X_val=as_format(X[held_out]), y_val=y[held_out])
    assert_array_equal(parameters(model), parameters(by_hand))
    assert len(held_out) == np.ceil(fraction * 80)
    without = estimator(**params, average=False).fit(as_format(X[kept]), y[kept])
    assert without.t_ == 6 * (80 - len(held_out))


def test_a_class_of_one_row_cannot_be_held_out():
    with pytest.raises(ValueError, match=r"early_stopping=True.*only 1 member"):
        GDClassifier(early_stopping=True).fit(X[:4], [0, 0, 0, 1])


@both_estimators
def test_the_best_epoch_is_kept(estimator):
    model = estimator(
        optimizer=SGD(0.1), average=False, batch_size=1, early_stopping=True, max_iter=15, tol=None, random_state=1
    ).fit(X, TARGET[estimator])
    losses = model.history_["validation_loss"]
    best = int(np.argmin(losses))
    assert best < 14
    until = clone(model).set_params(max_iter=best + 1).fit(X, TARGET[estimator])
    assert_array_equal(parameters(model), parameters(until))


@both_estimators
def test_too_few_rows_to_hold_some_out(estimator):
    y = np.arange(8) % 2
    with pytest.raises(
        ValueError, match=r"early_stopping=True.*validation_fraction=0.99 of 8 samples.*pass X_val and y_val"
    ):
        estimator(early_stopping=True, validation_fraction=0.99).fit(np.eye(8), y)
    two = GDRegressor(early_stopping=True, max_iter=1, tol=None).fit([[0.0], [1.0]], [0.0, 1.0])
    assert two.t_ == 1  # one row to train on, one to validate with


def test_rows_that_weigh_nothing_are_not_held_out():
    """They are no rows: what is held out has a weight, whatever the seed."""
    weight = np.where(np.arange(150) % 5 == 0, 1.0, 0.0)
    for seed in range(10):
        model = GDClassifier(early_stopping=True, random_state=seed, max_iter=3, tol=None)
        model.fit(IRIS_X, IRIS_Y, sample_weight=weight)
        alone = clone(model).fit(IRIS_X[weight > 0], IRIS_Y[weight > 0])
        assert_array_equal(parameters(model), parameters(alone))
    with pytest.raises(ValueError, match="sample_weight is zero for every sample"):
        GDClassifier(early_stopping=True).fit(IRIS_X, IRIS_Y, np.zeros(150))


@both_estimators
def test_unit_weights_are_no_weights_with_early_stopping(estimator):
    model = estimator(early_stopping=True, batch_size=10, random_state=42)
    weighted, plain = clone(model).fit(X, TARGET[estimator], np.ones(80)), clone(model).fit(X, TARGET[estimator])
    assert_allclose(parameters(weighted), parameters(plain), rtol=1e-12)


def test_early_stopping_with_names_of_classes_and_columns():
    """No warning, of columns without names say: warnings are errors here."""
    frame = pd.DataFrame(IRIS_X, columns=["a", "b", "c", "d"])
    model = GDClassifier(early_stopping=True, random_state=0).fit(frame, pd.Series(SPECIES, dtype=object))
    numbers = GDClassifier(early_stopping=True, random_state=0).fit(IRIS_X, IRIS_Y)
    assert_array_equal(parameters(model), parameters(numbers))
    assert model.score(frame, SPECIES) > 0.9
    constant = GDRegressor(early_stopping=True).fit(frame[:10], pd.Series(np.ones(10), name="y"))
    assert_allclose(constant.predict(frame[:10]), 1.0)


def test_a_falling_rate_trains_longer_than_a_constant_one():
    params = {"optimizer": "sgd", "average": False, "batch_size": 1, "n_iter_no_change": 5, "random_state": 0}
    constant = GDRegressor(**params, learning_rate=0.05).fit(X, Y)
    falling = GDRegressor(**params, learning_rate=ReduceOnPlateau(0.05, factor=0.2, patience=2)).fit(X, Y)
    assert falling.n_iter_ > constant.n_iter_
    assert falling.history_["learning_rate"][-1] < 0.05
    exact = LinearRegression().fit(X, Y)
    distance = [np.abs(model.coef_ - exact.coef_).max() for model in (constant, falling)]
    assert distance[1] < distance[0]


def test_early_stopping_in_the_threads_of_a_search():
    model = GDClassifier(early_stopping=True, max_iter=30, tol=None, random_state=0)
    search = GridSearchCV(model, {"alpha": [1e-4, 1e4], "validation_fraction": [0.1, 0.3]}, cv=3)
    with joblib.parallel_config(backend="threading", n_jobs=2):
        search.fit(IRIS_X, IRIS_Y)
    assert search.best_score_ > 0.9
    assert search.best_params_["alpha"] == 1e-4
    alone = clone(search.best_estimator_).fit(IRIS_X, IRIS_Y)
    assert_array_equal(parameters(search.best_estimator_), parameters(alone))


# -- weights ----------------------------------------------------------------------------------------------------------

TILTED_X = np.array([[-1.0, -1.0], [-1.0, 0.0], [-0.7, -1.0], [1.0, 1.0], [1.0, 0.0]])
TILTED_Y = np.array([1, 1, 1, -1, -1])


@pytest.mark.parametrize(("loss", "border"), [("log_loss", 0.4), ("hinge", 0.2), ("modified_huber", 0.2)])
def test_a_light_class_gives_way(loss, border):
    """A point near the border changes sides, by weights of classes as by weights of rows."""
    model = GDClassifier(loss, alpha=0.1, fit_intercept=False)
    near = [[border, -1.0]]
    assert clone(model).fit(TILTED_X, TILTED_Y).predict(near) == 1
    assert clone(model).set_params(class_weight={1: 1e-3}).fit(TILTED_X, TILTED_Y).predict(near) == -1
    assert clone(model).fit(TILTED_X, TILTED_Y, np.where(TILTED_Y == 1, 1e-3, 1.0)).predict(near) == -1


def test_equal_class_weights_are_none():
    plain = GDClassifier(batch_size=8, random_state=0).fit(X, LABELS)
    for share in (1.0, 0.5, 100.0):
        weighted = clone(plain).set_params(class_weight=dict.fromkeys(range(3), share)).fit(X, LABELS)
        assert_allclose(parameters(weighted), parameters(plain), rtol=1e-9)
    balanced = np.tile([0, 1], 40)
    by_name = GDClassifier(class_weight="balanced", random_state=0).fit(X, balanced)
    assert_allclose(parameters(by_name), parameters(GDClassifier(random_state=0).fit(X, balanced)), rtol=1e-9)


def test_class_weights_and_sample_weights_multiply():
    names = np.array(["bar", "baz", "foo"])[LABELS]
    of_class, of_row = {"bar": 0.6, "baz": 2.0, "foo": 0.3}, np.random.default_rng(3).random(80)
    product = of_row * [of_class[name] for name in names]
    model = GDClassifier(batch_size=8, random_state=0)
    apart = clone(model).set_params(class_weight=of_class).fit(X, names, of_row)
    assert_allclose(parameters(apart), parameters(clone(model).fit(X, names, product)), rtol=1e-9)


@both_formats
@pytest.mark.parametrize("classes", [[0, 1, 2], [0, 1]], ids=["three classes", "two classes"])
def test_balanced_weights_are_those_of_the_counts(classes, as_format):
    A, y = IRIS_X[45:], IRIS_Y[45:]  # five of the first class, fifty of the others
    A, y = as_format(A[np.isin(y, classes)]), y[np.isin(y, classes)]
    by_hand = dict(zip(classes, compute_class_weight("balanced", classes=np.array(classes), y=y), strict=True))
    model = GDClassifier(batch_size=8, max_iter=20, tol=None, random_state=0)
    balanced, by_dict = (clone(model).set_params(class_weight=w).fit(A, y) for w in ("balanced", by_hand))
    by_row = clone(model).fit(A, y, np.array([by_hand[label] for label in y]))
    assert_allclose(parameters(balanced), parameters(by_dict), rtol=1e-9)
    assert_allclose(parameters(balanced), parameters(by_row), rtol=1e-9)


def test_balanced_weights_find_rare_classes():
    """Overlapping classes, one of which has a twentieth of the rows."""
    generator = np.random.default_rng(4)
    y = (np.arange(1000) % 20 == 0).astype(int)
    A = generator.normal(size=(1000, 2)) + 1.5 * y[:, np.newaxis]
    score = {
        weight: balanced_accuracy_score(y, GDClassifier(class_weight=weight, random_state=0).fit(A, y).predict(A))
        for weight in (None, "balanced")
    }
    assert score["balanced"] > score[None] + 0.1


def test_class_weights_of_classes_that_do_not_occur():
    with pytest.raises(ValueError, match="class_weight"):
        GDClassifier(class_weight={7: 0.5}).fit(X, LABELS)
    with pytest.raises(ValueError, match="class_weight must be finite and above 0"):  # leave out its rows instead
        GDClassifier(class_weight={0: 0.0}).fit(X, LABELS)


# -- averages ---------------------------------------------------------------------------------------------------------


def averaged_by_hand(A, y, gradient, rate, alpha, size, begin, every):
    """Gradient descent on each column of y with a penalty's implicit step, and the mean of its iterates."""
    w, b = np.zeros((A.shape[1], y.shape[1])), np.zeros(y.shape[1])
    total_w, total_b, count, t = np.zeros_like(w), np.zeros_like(b), 0, 0
    for start in range(0, len(A), size):
        rows, t = slice(start, start + size), t + 1
        slope = gradient(A[rows] @ w + b, y[rows])
        w = (w - rate * A[rows].T @ slope / len(slope)) / (1.0 + rate * alpha)
        b = b - rate * slope.mean(axis=0)
        if t > begin and t % every == 0:
            total_w, total_b, count = total_w + w, total_b + b, count + 1
    return np.concatenate([np.ravel(total_w.T / count), total_b / count])


def squared_error_slope(raw, y):
    return raw - y


def squared_hinge_slope(raw, y):
    return -2.0 * y * np.maximum(1.0 - y * raw, 0.0)


@both_formats
@pytest.mark.parametrize(("begin", "average"), [(0, True), (7, 7)])
@pytest.mark.parametrize("kind", ["regression", "binary", "multiclass"])
def test_averages_are_those_of_our_own_computation(kind, begin, average, as_format):
    rate, alpha = 0.05, 0.3
    params = {**PLAIN, "learning_rate": rate, "alpha": alpha, "average": average}
    if kind == "regression":
        model, y, by_hand = GDRegressor(**params), Y, (Y[:, np.newaxis], squared_error_slope)
    else:
        y = LABELS if kind == "multiclass" else (LABELS > 0).astype(int)
        sides = np.where(y[:, np.newaxis] == (range(3) if kind == "multiclass" else [1]), 1.0, -1.0)
        model, by_hand = GDClassifier("squared_hinge", **params), (sides, squared_hinge_slope)
    for size in (1, 5):
        stream = clone(model).set_params(batch_size=size)
        for rows in (slice(0, 30), slice(30, 80)):
            stream.partial_fit(as_format(X[rows]), y[rows], **first_call(type(model), y))
        expected = averaged_by_hand(X, *by_hand, rate, alpha, size, begin, every=1)
        assert_allclose(parameters(stream), expected, rtol=1e-10, atol=1e-13)
        # fit averages each iterate, or every few where batches are so small that columns occur less than three times
        every = max(1, int(3.0 / (size * np.mean(X != 0.0))))
        fitted = clone(model).set_params(batch_size=size, max_iter=1).fit(as_format(X), y)
        expected = averaged_by_hand(X, *by_hand, rate, alpha, size, begin, every)
        assert_allclose(parameters(fitted), expected, rtol=1e-10, atol=1e-13)


def test_an_average_that_has_not_begun_changes_nothing_in_a_stream():
    waiting, plain = GDRegressor(average=600), GDRegressor(average=False)
    for _ in range(40):
        waiting.partial_fit(X, Y)
        plain.partial_fit(X, Y)
    assert_array_equal(parameters(waiting), parameters(plain))


# -- penalties --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("l1_ratio", [0.0, 0.5, 1.0])
@both_estimators
def test_a_larger_alpha_means_smaller_coefficients(estimator, l1_ratio):
    sizes = [
        np.abs(estimator(alpha=alpha, l1_ratio=l1_ratio, random_state=0).fit(X, TARGET[estimator]).coef_).sum()
        for alpha in (0.0, 0.01, 0.1, 1.0)
    ]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] < 0.6 * sizes[0]


@pytest.mark.parametrize("precondition", [True, False])
@pytest.mark.parametrize("l1_ratio", [0.0, 0.5, 1.0])
@both_estimators
def test_a_huge_alpha_leaves_the_intercept_only(estimator, l1_ratio, precondition):
    model = estimator(
        optimizer=SGD(0.1),
        alpha=1e5,
        l1_ratio=l1_ratio,
        precondition=precondition,
        average=False,
        max_iter=50,
        tol=None,
    )
    with np.errstate(all="raise"):
        model.fit(IRIS_X, IRIS_Y)
    assert np.abs(model.coef_).max() < 1e-3
    assert np.all(model.coef_ == 0.0) == (l1_ratio > 0.0)
    if estimator is GDRegressor:
        assert_allclose(model.intercept_, IRIS_Y.mean(), atol=0.05)
    else:
        sgd = SGDClassifier(penalty="elasticnet", l1_ratio=l1_ratio, alpha=1e5, random_state=0).fit(IRIS_X, IRIS_Y)
        assert np.all(sgd.coef_ == 0.0) or l1_ratio == 0.0


@both_estimators
def test_the_ends_of_l1_ratio_are_no_jumps(estimator):
    params = {"alpha": 0.01, "max_iter": 6, "tol": None, "random_state": 0}
    for end, near in ((0.0, 1e-10), (1.0, 1.0 - 1e-10)):
        one, other = (estimator(**params, l1_ratio=ratio).fit(X, TARGET[estimator]) for ratio in (end, near))
        assert_allclose(parameters(one), parameters(other), atol=1e-8)
    middle = parameters(estimator(**params, l1_ratio=0.5).fit(X, TARGET[estimator]))
    assert np.abs(middle - parameters(one)).max() > 1e-4


def test_l1_leaves_out_columns_and_sparse_coefficients_survive_a_pickle():
    """Two groups of three columns that say the same, one of them loudest: L1 keeps that one."""
    generator = np.random.default_rng(5)
    y = np.repeat([1, 2], 20)
    A = np.kron(np.eye(2), np.tile([0.4, 1.0, 0.3], (20, 1))) * generator.uniform(0.8, 1.0, size=(40, 6))
    model = GDClassifier("hinge", alpha=0.2, l1_ratio=1.0, fit_intercept=False).fit(A, y)
    assert_array_equal(model.coef_[0] != 0.0, [False, True, False] * 2)
    sgd = SGDClassifier(penalty="l1", alpha=0.2, fit_intercept=False, random_state=0).fit(A, y)
    assert_array_equal(sgd.coef_[0] != 0.0, model.coef_[0] != 0.0)
    for stage in (model, model.sparsify(), pickle.loads(pickle.dumps(model))):
        assert_array_equal(stage.predict(A), y)
    assert sp.issparse(stage.coef_)
    assert_array_equal(stage.densify().predict(A), y)


@pytest.mark.parametrize("fit_intercept", [True, False])
def test_without_a_penalty_the_gradient_of_every_class_vanishes(fit_intercept):
    """The minimum of the cross-entropy, by its own condition; with plain steps from zero, classes sum to zero."""
    model = GDClassifier(
        optimizer=SGD(momentum=0.9), alpha=0.0, fit_intercept=fit_intercept, batch_size=None, average=False
    ).set_params(max_iter=3000, tol=None)
    model.fit(X, LABELS)
    error = softmax(X @ model.coef_.T + model.intercept_, axis=1) - np.eye(3)[LABELS]
    assert_allclose(error.T @ X / 80, 0.0, atol=1e-8)
    assert_allclose(model.coef_.sum(axis=0), 0.0, atol=1e-10 * np.abs(model.coef_).max())
    if fit_intercept:
        assert_allclose(error.mean(axis=0), 0.0, atol=1e-8)
        assert_allclose(model.intercept_.sum(), 0.0, atol=1e-8)
    else:
        assert_array_equal(model.intercept_, np.zeros(3))


def test_l1_ends_without_a_warning_near_the_smallest_useful_penalty():
    y = (IRIS_Y[:100] == 1).astype(int)
    centered = IRIS_X[:100] - IRIS_X[:100].mean(axis=0)
    smallest = np.abs(centered.T @ (y - y.mean())).max() / 100  # from here on all coefficients are zero
    for share, nonzero in ((1.01, False), (0.5, True)):
        model = GDClassifier(alpha=share * smallest, l1_ratio=1.0, tol=1e-4, random_state=0).fit(IRIS_X[:100], y)
        assert np.any(model.coef_) == nonzero


# -- probabilities ----------------------------------------------------------------------------------------------------


@both_formats
@pytest.mark.parametrize("loss", ["log_loss", "modified_huber"])
def test_probabilities_follow_the_scores(loss, as_format):
    two = CLOUD_Y != "north"
    model = GDClassifier(loss, alpha=0.01, random_state=0).fit(as_format(CLOUD_X[two]), CLOUD_Y[two])
    far_west, far_east = model.predict_proba([[-9.0, 0.0], [9.0, 0.0]])[:, 1]
    assert far_east < 0.05 < 0.95 < far_west  # the classes are sorted: the second is west
    model.fit(as_format(CLOUD_X), CLOUD_Y)
    points = np.random.default_rng(6).normal(size=(50, 2))
    scores, probability = model.decision_function(points), model.predict_proba(points)
    assert_allclose(probability.sum(axis=1), 1.0)
    assert np.all(np.diff(np.take_along_axis(probability, scores.argsort(axis=1), axis=1), axis=1) >= 0.0)
    assert_allclose(model.predict_log_proba(points), np.log(probability))
    unclear = (probability > 1e-9).sum(axis=1) > 1
    assert unclear.any()
    assert_array_equal(model.classes_[probability.argmax(axis=1)], model.predict(points))


def test_a_row_that_no_class_wants_has_equal_probabilities():
    model = GDClassifier("modified_huber", random_state=0).fit(CLOUD_X, CLOUD_Y)
    model.coef_[:], model.intercept_[:] = 0.0, -2.0
    assert_allclose(model.predict_proba(CORNERS), 1.0 / 3.0)


def test_softmax_fits_better_than_one_against_the_rest():
    together = GDClassifier(tol=1e-5, random_state=0).fit(X, LABELS)
    apart = OneVsRestClassifier(GDClassifier(tol=1e-5, random_state=0)).fit(X, LABELS)
    own = log_loss(LABELS, together.predict_proba(X))
    assert own < log_loss(LABELS, apart.predict_proba(X))
    logistic = 1.0 / (1.0 + np.exp(-together.decision_function(X)))
    assert own < log_loss(LABELS, logistic / logistic.sum(axis=1, keepdims=True))


def test_digits_are_ranked_by_their_probabilities():
    two = DIGITS_Y < 2
    model = GDClassifier(random_state=0).fit(DIGITS_X[two][:100], DIGITS_Y[two][:100])
    assert roc_auc_score(DIGITS_Y[two][100:], model.predict_proba(DIGITS_X[two][100:])[:, 1]) > 0.99


def test_a_score_of_zero_is_the_first_class():
    model = GDClassifier(fit_intercept=False, random_state=0).fit(X, np.where(LABELS > 0, "b", "a"))
    assert_array_equal(model.intercept_, [0.0])
    assert_array_equal(model.predict(np.zeros((3, 4))), ["a"] * 3)


# -- numbers ----------------------------------------------------------------------------------------------------------


@both_formats
def test_columns_of_the_largest_numbers_train(as_format):
    """`SGDClassifier` raises here and asks for a scaler. Neither errors nor warnings, though NumPy is told to raise."""
    A = np.random.default_rng(7).normal(size=(100, 5))
    y = (A @ [1.0, -1.0, 2.0, 0.0, 1.0] > 0).astype(int)
    plain = GDClassifier("squared_hinge", alpha=0.0, random_state=0).fit(as_format(A), y)
    huge = A * [1e300, 1e300, 1.0, 1e-300, 1.0]
    with np.errstate(all="raise", under="ignore"):
        model = clone(plain).fit(as_format(huge), y)
        model.partial_fit(as_format(huge), y)
        predicted = model.predict(as_format(huge))
    assert (predicted == y).mean() > 0.95
    largest = np.finfo(np.float64).max * np.random.default_rng(8).uniform(size=(10, 2))
    regressor = GDRegressor(random_state=0).fit(as_format(largest), np.arange(10.0))
    assert np.isfinite(regressor.coef_).all()
    assert np.isfinite(regressor.partial_fit(as_format(largest), np.arange(10.0)).predict(as_format(largest))).all()
    with pytest.raises(ValueError, match="Training diverged"):
        plain.set_params(precondition=False).fit(as_format(huge), y)


def test_one_enormous_number():
    both = [[0.0], [1e100]]
    assert_array_equal(GDClassifier().fit(both, [0, 1]).predict(both), [0, 1])
    with pytest.raises(ValueError, match="1e30"):
        LogisticRegression(solver="liblinear").fit(both, [0, 1])


@pytest.mark.parametrize("loss", ["squared_hinge", "modified_huber", "log_loss"])
def test_large_gradients_stay_finite(loss):
    model = GDClassifier(loss, alpha=0.01, l1_ratio=0.3, max_iter=10, tol=None, random_state=0)
    with np.errstate(all="raise"):
        model.fit(1e6 * IRIS_X - 1e7, IRIS_Y)
    assert model.score(1e6 * IRIS_X - 1e7, IRIS_Y) > 0.8
    model.set_params(optimizer="sgd", precondition=False, learning_rate=0.1)
    with pytest.raises(ValueError, match="Training diverged"):
        model.fit(1e6 * IRIS_X - 1e7, IRIS_Y)


def test_clipped_steps_are_no_longer_than_told():
    params = PLAIN | {"batch_size": 4, "learning_rate": 0.5, "alpha": 0.0}
    clipped, free = GDRegressor(**params, max_grad_norm=0.1), GDRegressor(**params)
    past = np.zeros(5)
    for start in range(0, 80, 4):
        clipped.partial_fit(1e3 * X[start : start + 4], Y[start : start + 4])
        step, past = np.linalg.norm(parameters(clipped) - past), parameters(clipped).copy()
        assert step <= 0.5 * 0.1 * (1.0 + 1e-12)
    first = parameters(GDRegressor(**params, max_grad_norm=0.1).partial_fit(X[:4], Y[:4]))
    free.partial_fit(X[:4], Y[:4])
    assert_allclose(first, parameters(free) * 0.05 / np.linalg.norm(parameters(free)), rtol=1e-10)


@pytest.mark.parametrize("early_stopping", [False, True])
def test_divergence_is_an_error_that_leaves_the_model_alone(early_stopping):
    model = GDRegressor(random_state=0).fit(X, Y)
    before = parameters(model).copy()
    model.set_params(**PLAIN, learning_rate=1.0, batch_size=1, max_iter=100, early_stopping=early_stopping)
    with pytest.raises(ValueError, match=r"Training diverged in epoch.*Decrease learning_rate"):
        model.fit(100.0 * X, Y)
    assert_array_equal(parameters(model), before)


# -- order and size of batches ----------------------------------------------------------------------------------------


@both_estimators
def test_shuffling_changes_the_path_and_only_shuffling_asks_for_the_seed(estimator):
    params = PLAIN | {"learning_rate": 0.05, "batch_size": 1, "max_iter": 1}
    by_seed = [
        [
            parameters(estimator(**params | {"shuffle": shuffle}, random_state=seed).fit(X, TARGET[estimator]))
            for seed in (0, 1)
        ]
        for shuffle in (False, True)
    ]
    assert_array_equal(*by_seed[0])
    assert np.abs(by_seed[1][0] - by_seed[1][1]).max() > 1e-3
    assert np.abs(by_seed[1][0] - by_seed[0][0]).max() > 1e-3


@both_estimators
def test_a_batch_larger_than_the_set_is_the_set(estimator):
    params = {"max_iter": 5, "tol": None, "random_state": 0}
    whole, larger = (estimator(batch_size=size, **params).fit(X, TARGET[estimator]) for size in (None, 1000))
    assert_array_equal(parameters(whole), parameters(larger))
    assert larger.t_ == 5


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@both_estimators
def test_batches_of_one_row_learn(estimator, optimizer):
    y = Y if estimator is GDRegressor else Y > 1.0
    model = estimator(optimizer=optimizer, batch_size=1, max_iter=20, tol=None, random_state=0).fit(X, y)
    assert model.t_ == 1600
    assert model.score(X, y) > 0.8


def test_no_warning_in_ordinary_use():
    """Neither of one column, nor of no penalty, nor of few rows: warnings are errors here, and none are caught."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for model in (GDClassifier(alpha=0.0), GDClassifier(), GDClassifier("hinge", alpha=1e-4)):
            model.fit(X[:, :1], LABELS > 0).predict(X[:, :1])
        for loss in REGRESSOR_LOSSES:
            GDRegressor(loss).fit(X[:8, :1], np.abs(Y[:8]) + 0.1).predict(X[:, :1])


# -- hidden layers ----------------------------------------------------------------------------------------------------

ACTIVATIONS = {
    "identity": lambda z: z,
    "logistic": lambda z: 1.0 / (1.0 + np.exp(-z)),
    "tanh": np.tanh,
    "relu": lambda z: np.maximum(z, 0.0),
}
every_activation = pytest.mark.parametrize("activation", ACTIVATIONS)


def network(estimator, activation="tanh", layers=(5, 3), **params):
    return estimator(hidden_layer_sizes=layers, activation=activation, **{"random_state": 0} | params)


def weights_of(model):
    """Return copies of all weights and intercepts, layer by layer."""
    return [np.array(values) for values in (*model.coefs_, *model.intercepts_)]


def forward(weights, A, activation):
    """Return the raw outputs of a network, by our own computation."""
    half = len(weights) // 2
    for depth, (coef, intercept) in enumerate(zip(weights[:half], weights[half:], strict=True)):
        A = A @ coef + intercept
        A = ACTIVATIONS[activation](A) if depth < half - 1 else A
    return A


def network_loss(weights, estimator, y, activation, alpha):
    raw = forward(weights, X, activation)
    penalty = 0.5 * alpha * sum(np.sum(coef**2) for coef in weights[: len(weights) // 2])
    if estimator is GDRegressor:
        return 0.5 * np.mean((raw[:, 0] - y) ** 2) + penalty
    return np.mean(logsumexp(raw, axis=1) - raw[np.arange(len(y)), y]) + penalty  # from scipy.special


@every_activation
@both_estimators
def test_a_step_of_a_network_is_its_gradient(estimator, activation):
    """From where one call of partial_fit ends, the next, a tiny step, goes down the slope found by differences."""
    y, rate, alpha, h = TARGET[estimator], 1e-4, 0.1, 1e-6
    plain = {"optimizer": SGD(rate), "precondition": False, "average": False, "batch_size": None, "alpha": alpha}
    model = network(estimator, activation, **plain).partial_fit(X, y, **first_call(estimator, y))
    before = weights_of(model)
    after = weights_of(model.partial_fit(X, y))
    for part, (start, end) in enumerate(zip(before, after, strict=True)):
        for place in np.ndindex(start.shape):
            values = []
            for shift in (h, -h):
                moved = [array.copy() for array in before]
                moved[part][place] += shift
                values.append(network_loss(moved, estimator, y, activation, alpha))
            slope = (values[0] - values[1]) / (2 * h)
            assert_allclose((start[place] - end[place]) / rate, slope, rtol=1e-3, atol=1e-4)  # the penalty is implicit


@every_activation
def test_predictions_are_those_of_the_layers(activation):
    classifier = network(GDClassifier, activation, max_iter=5, tol=None).fit(X, LABELS)
    assert_allclose(
        classifier.decision_function(X), forward(weights_of(classifier), X, activation), rtol=1e-8, atol=1e-10
    )
    regressor = network(GDRegressor, activation, max_iter=5, tol=None).fit(X, Y)
    assert_allclose(regressor.predict(X), forward(weights_of(regressor), X, activation)[:, 0], rtol=1e-8, atol=1e-10)


@every_activation
def test_networks_learn_digits(activation):
    model = network(GDClassifier, activation, (50,)).fit(DIGITS_X[:300], DIGITS_Y[:300])
    assert model.score(DIGITS_X[:300], DIGITS_Y[:300]) > 0.95
    assert model.score(DIGITS_X[300:], DIGITS_Y[300:]) > 0.9
    probability = model.predict_proba(DIGITS_X)
    assert_allclose(probability.sum(axis=1), 1.0)
    assert_array_equal(model.classes_[probability.argmax(axis=1)], model.predict(DIGITS_X))


@every_activation
def test_networks_learn_a_curve(activation):
    y = np.sin(LINE_X.ravel())
    model = network(GDRegressor, activation, (30,), batch_size=10, max_iter=300, tol=None).fit(LINE_X, y)
    assert (model.score(LINE_X, y) > 0.95) == (activation != "identity")


@both_estimators
def test_a_larger_alpha_makes_all_layers_smaller(estimator):
    y = TARGET[estimator]
    sizes = [
        [np.abs(coef).sum() for coef in network(estimator, alpha=alpha, max_iter=200, tol=None).fit(X, y).coefs_]
        for alpha in (0.0, 0.1, 1.0)
    ]
    assert np.all(np.diff(sizes, axis=0) < 0.0)


def test_identity_layers_are_the_linear_model():
    counts = np.random.default_rng(9).poisson(np.exp(0.3 * X[:, 0] + 0.5))
    params = {"loss": "poisson", "alpha": 0.0, "batch_size": None, "tol": None}
    linear = GDRegressor(**params, max_iter=2000).fit(X, counts)
    deep = network(GDRegressor, "identity", (4,), **params, max_iter=5000).fit(X, counts)
    assert_allclose(deep.predict(X), linear.predict(X), rtol=1e-2)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@both_estimators
def test_shapes_and_dtypes_of_layers(estimator, dtype):
    model = network(estimator, layers=(7, 5), max_iter=3, tol=None).fit(X.astype(dtype), TARGET[estimator])
    n_outputs = 1 if estimator is GDRegressor else 3
    assert [coef.shape for coef in model.coefs_] == [(4, 7), (7, 5), (5, n_outputs)]
    assert [intercept.shape for intercept in model.intercepts_] == [(7,), (5,), (n_outputs,)]
    assert {values.dtype for values in (*model.coefs_, *model.intercepts_)} == {np.dtype(dtype)}
    if estimator is GDRegressor:
        assert model.predict(X.astype(dtype)).dtype == dtype


@pytest.mark.parametrize("optimizer", ["sgd", "adam", SGD(momentum=0.9)], ids=repr)
@both_estimators
def test_networks_go_on(estimator, optimizer):
    y = TARGET[estimator]
    params = PLAIN | {"optimizer": optimizer, "learning_rate": 0.01, "batch_size": 8, "alpha": 0.01}
    whole = weights_of(network(estimator, **params, max_iter=4).fit(X, y))
    stream, warm = network(estimator, **params), network(estimator, **params, max_iter=2, warm_start=True)
    for _ in range(4):
        stream.partial_fit(X, y, **first_call(estimator, y))
    for model in (stream, warm.fit(X, y).fit(X, y)):
        for one, other in zip(weights_of(model), whole, strict=True):
            assert_allclose(one, other, rtol=1e-8, atol=1e-10)


def test_networks_of_several_outputs():
    A, labels = make_multilabel_classification(n_samples=100, random_state=0)
    models = [
        network(GDClassifier, "logistic", (30,), max_iter=2000, **params).fit(A, labels)
        for params in ({}, {"early_stopping": True}, {"tol": None})
    ]
    for model in models:
        assert model.predict_proba(A).shape == labels.shape
        assert_array_equal(model.predict(A), model.predict_proba(A) > 0.5)
    assert (models[-1].predict(A) == labels).mean() > 0.9  # the default does not memorize the samples
    targets = np.column_stack([Y, np.abs(Y), -Y])
    assert network(GDRegressor, "relu", (50,)).fit(X, targets).score(X, targets) > 0.8


@both_estimators
def test_dense_and_sparse_rows_give_the_same_network(estimator):
    params = {"precondition": False, "max_iter": 5, "tol": None, "learning_rate": 0.01, "optimizer": "adam"}
    dense, sparse = (network(estimator, **params).fit(A, TARGET[estimator]) for A in (X, sp.csr_array(X)))
    for one, other in zip(weights_of(dense), weights_of(sparse), strict=True):
        assert_allclose(one, other, rtol=1e-8, atol=1e-10)
    assert_allclose(dense.predict(X), dense.predict(sp.csr_array(X)))


@both_estimators
def test_the_seed_decides_on_the_initial_weights(estimator):
    params = {"max_iter": 1, "tol": None, "shuffle": False}
    one, same, other = (
        weights_of(network(estimator, **params, random_state=seed).fit(X, TARGET[estimator])) for seed in (0, 0, 1)
    )
    assert all(map(np.array_equal, one, same))
    assert not any(map(np.array_equal, one[:3], other[:3]))


@both_estimators
def test_no_hidden_layers_are_the_linear_model(estimator):
    linear, empty = (
        estimator(random_state=0, **more).fit(X, TARGET[estimator]) for more in ({}, {"hidden_layer_sizes": ()})
    )
    assert_array_equal(parameters(linear), parameters(empty))


def test_a_stored_network_learns_a_new_target(tmp_path):
    joblib.dump(network(GDRegressor, "relu", (42,)).fit([[2.0], [1.0]], [4.0, 3.0]), tmp_path / "network.joblib")
    model = joblib.load(tmp_path / "network.joblib")
    for _ in range(500):
        model.partial_fit([[2.0]], [1.0])
    assert_allclose(model.predict([[2.0]]), 1.0, atol=0.05)


def test_a_warm_network_may_not_get_new_classes():
    model = network(GDClassifier, max_iter=3, tol=None, warm_start=True).fit(IRIS_X, IRIS_Y)
    with pytest.raises(ValueError, match="not among the classes"):
        model.fit(IRIS_X, IRIS_Y + 1)
