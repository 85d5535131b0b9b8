"""Bad parameters and data get an error that names them, and an estimator that raises stays bit for bit as it was."""

import pickle
import re
from contextlib import contextmanager
from functools import partial
from unittest import mock

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from numpy.testing import assert_array_equal
from sklearn import clone
from sklearn.exceptions import NotFittedError

import skgd.engines
from skgd import GDClassifier, GDRegressor, losses
from skgd.activations import ACTIVATIONS
from skgd.callbacks import Checkpoint
from skgd.losses import CLASSIFIER_LOSSES, REGRESSOR_LOSSES
from skgd.optimizers import OPTIMIZERS, SGD, Optimizer
from skgd.schedules import SCHEDULES

N, P = 40, 3
rng = np.random.default_rng(0)
X = rng.normal(size=(N, P))
TARGET = X @ [1.0, -2.0, 0.5] + 0.1 * rng.normal(size=N)
LABELS = np.digitize(TARGET, [-0.5, 0.5])
Y = {GDRegressor: TARGET, GDClassifier: LABELS}
FEW = {"max_iter": 3, "tol": None, "random_state": 0}

both_estimators = pytest.mark.parametrize("estimator", [GDRegressor, GDClassifier])


def memory(estimator):
    """Return all that an estimator knows, its training state included, as comparable bytes."""
    return {name: pickle.dumps(value) for name, value in vars(estimator).items()}


def call(model, method, X, y, **more):
    if method == "partial_fit" and isinstance(model, GDClassifier) and not hasattr(model, "classes_"):
        more = {"classes": [0, 1, 2]} | more
    return getattr(model, method)(X, y, **more)


@contextmanager
def refused(model, *words, error=(ValueError, TypeError)):
    """Expect an error that contains all the words, and nothing changed in the model: same bytes, same objects."""
    before, values = memory(model), dict(vars(model))
    with pytest.raises(error) as information:
        yield
    assert memory(model) == before
    assert all(vars(model)[name] is value for name, value in values.items())
    message = str(information.value)
    for word in words:
        assert re.search(word, message, re.IGNORECASE), f"{word!r} is not in: {message}"


def models(estimator, **params):
    """Yield an unfitted, a fitted and a streamed model, each with the method that is to fail."""
    for method in ("fit", "partial_fit"):
        yield estimator(**FEW | params), method
        for trained_by in ("fit", "partial_fit"):
            model = call(estimator(**FEW), trained_by, X, Y[estimator])
            yield model.set_params(**params), method
        yield call(estimator(**FEW), "fit", X, Y[estimator]).set_params(**{"warm_start": True} | params), method


# -- parameters -------------------------------------------------------------------------------------------------------

BAD_PARAMETERS = [
    *[("learning_rate", value) for value in (0, 0.0, -1.0, np.nan, np.inf, 10**400, True, [0.1], (0.1,), "warm", {})],
    *[("batch_size", value) for value in (0, -1, 1.5, "big", True, np.nan)],
    *[("alpha", value) for value in (-1e-9, np.nan, np.inf, 10**400, "1", None, True)],
    *[("l1_ratio", value) for value in (2, -0.1, np.nan, None, "0.5")],
    *[("max_iter", value) for value in (0, -5, 2.5, None, True)],
    *[("tol", value) for value in (-1, np.nan, "small", True)],
    *[("validation_fraction", value) for value in (0, 1, 0.0, 1.0, -0.1, "half", None)],
    *[("n_iter_no_change", value) for value in (0, -1, 1.5, None)],
    *[("average", value) for value in (0, -1, 1.5, "x", None)],
    *[("max_grad_norm", value) for value in (0, -1.0, np.nan, "1", True)],
    *[("random_state", value) for value in ("x", -1)],
    *[("verbose", value) for value in ("loud", None)],
    *[
        (name, value)
        for name in ("fit_intercept", "early_stopping", "shuffle", "precondition", "warm_start")
        for value in ("True", 1, None)
    ],
    *[("optimizer", value) for value in ("sdg", SGD, None, 0.1, object)],
    *[("loss", value) for value in ("mse", OPTIMIZERS["sgd"](), None, object)],
    *[("optimizer", optimizer) for optimizer in (SGD(learning_rate=-1), SGD(momentum=1.0), SGD(nesterov=True))],
]


NUMPY_VALUES = [
    *[np.float64(-1.0), np.float64(0.0), np.float64(np.nan), np.float32(1.5), np.longdouble(-1.0), np.int64(-1)],
    *[np.int64(0), np.bool_(True), np.str_("a"), np.array([0, 1]), np.array([0.5, np.nan]), np.array(["a", "b"])],
    *[np.array(-1.0), np.array("a"), [np.float64(-0.5)], (np.int64(0), np.str_("a")), {np.int64(2)}],
    *[{np.int64(0): np.float64(-1.0)}, np.array([np.int64(-1), "a"], dtype=object), np.zeros(1000)],
]


def assert_plain(message):
    assert not re.search(r"\bnp\.|numpy\.|array\(|dtype|\[-?\d+\.[\s\]]", message), message
    assert len(message) < 2000


@both_estimators
@pytest.mark.parametrize("value", NUMPY_VALUES, ids=lambda value: repr(value)[:30].replace("\n", " "))
def test_messages_show_values_as_python_writes_them(estimator, value):
    """Whichever parameter it is that is wrong, of the estimator or of its strategies."""
    few = {"max_iter": 1, "tol": None}
    models = [estimator(**few | {name: value}) for name in estimator().get_params(deep=False)]
    strategies = [("optimizer", OPTIMIZERS), ("learning_rate", SCHEDULES), ("activation", ACTIVATIONS)]
    strategies.append(("loss", REGRESSOR_LOSSES if estimator is GDRegressor else CLASSIFIER_LOSSES))
    for where, registry in strategies:
        kinds = {name: kind for kind in registry.values() for name in kind().get_params(deep=False)}
        models += [estimator(**few, **{where: kind(**{name: value})}) for name, kind in kinds.items()]
    raised = 0
    for model in models:
        try:
            model.fit(X, Y[estimator])
        except (TypeError, ValueError) as error:
            assert_plain(str(error))
            raised += 1
    assert raised > len(models) / 4


def test_messages_show_data_as_python_writes_them():
    labels = np.array(["a", "b", "c"], dtype=object)
    labels[:] = [np.str_(label) for label in labels]
    y = labels[LABELS]
    model = GDClassifier(**FEW).fit(X, y)
    stream = GDClassifier().partial_fit(X, y, labels)
    calls = [
        lambda: GDClassifier().fit(X, y, sample_weight=1.0 * (y == "a")),
        lambda: GDClassifier(class_weight={"a": np.float64(0.0), "b": 1.0, "c": 1.0}).fit(X, y),
        lambda: GDClassifier(class_weight={np.int64(7): 1.0}).fit(X, LABELS),
        lambda: GDClassifier(random_state=np.float64(0.5)).fit(X, y),
        lambda: stream.partial_fit(X, y, labels[:2]),
        lambda: stream.partial_fit(X[:1], np.array([np.str_("z")], dtype=object)),
        lambda: clone(model).fit(X, y, X_val=X[:1], y_val=np.array([np.str_("z")], dtype=object)),
        lambda: clone(model).set_params(early_stopping=True, validation_fraction=np.float64(1e-9)).fit(X, y),
        lambda: clone(model).fit(X, np.array([np.int64(0), np.str_("a")] * (N // 2), dtype=object)),
        lambda: GDRegressor("gamma").fit(X, TARGET),
        lambda: GDRegressor(losses.Huber(epsilon=np.float64(1.0))).fit(X, 1e-200 * TARGET),
        lambda: Checkpoint("file", every_n_epochs=np.float64(1.0)),
        lambda: Checkpoint("file", every_n_seconds=np.float64(-1.0)),
        lambda: GDRegressor(**FEW, fit_intercept=np.bool_(True)).fit(X, TARGET).set_params(
            fit_intercept=np.bool_(False)
        ).partial_fit(X, TARGET),
    ]  # fmt: skip
    for each in calls:
        with pytest.raises((TypeError, ValueError)) as information:
            each()
        assert_plain(str(information.value))


@both_estimators
@pytest.mark.parametrize(("name", "value"), BAD_PARAMETERS, ids=lambda value: repr(value)[:40])
def test_bad_parameters(estimator, name, value):
    for model, method in models(estimator, **{name: value}):
        if method == "partial_fit" and name == "random_state":
            continue  # draws nothing
        words = [name if not isinstance(value, Optimizer) or name == "loss" else "SGD"]
        if value is None or isinstance(value, (bool, int, float, str, list, tuple)):
            words.append(re.escape(repr(value)))
        with refused(model, *words):
            call(model, method, X, Y[estimator])


@pytest.mark.parametrize("value", [-0.5, np.nan, 10**400, "x", None, True], ids=lambda value: repr(value)[:9])
@pytest.mark.parametrize("optimizer", OPTIMIZERS.values())
def test_bad_numbers_in_optimizers(optimizer, value):
    switches = {name for name, default in optimizer().get_params().items() if isinstance(default, bool)}
    for name in sorted(set(optimizer().get_params()) - switches):
        model = GDRegressor(optimizer=optimizer(**{name: value}))
        with refused(model, name, re.escape(repr(value))):
            model.fit(X, TARGET)


@both_estimators
@pytest.mark.parametrize(
    ("name", "known"),
    [("optimizer", OPTIMIZERS), ("learning_rate", SCHEDULES), ("loss", None)],
    ids=lambda x: str(x)[:9],
)
def test_unknown_names_list_the_known_ones(estimator, name, known):
    known = known or (REGRESSOR_LOSSES if estimator is GDRegressor else CLASSIFIER_LOSSES)
    with refused(estimator(**{name: "nonesuch"}), name, "nonesuch", *known, error=ValueError):
        estimator(**{name: "nonesuch"}).fit(X, Y[estimator])


def test_a_class_in_place_of_an_object_is_told_apart():
    with pytest.raises(TypeError, match=r"Did you mean SGD\(\)"):
        GDRegressor(optimizer=SGD).fit(X, TARGET)


@pytest.mark.parametrize(
    "class_weight",
    ["heavy", {0: "heavy", 1: 1.0, 2: 1.0}, {0: -1.0}, {0: 0.0}, {1: np.nan}, {2: np.inf}, [1.0, 1.0, 1.0], 3.0],
    ids=str,
)
def test_bad_class_weights(class_weight):
    for model, method in models(GDClassifier, class_weight=class_weight):
        with refused(model, "class_weight", re.escape(repr(class_weight))):
            call(model, method, X, LABELS)


@pytest.mark.parametrize("weight", [0, -1.5, np.inf])
def test_a_bad_class_weight_is_named_with_its_class(weight):
    names = np.array(["a", "b", "c"])[LABELS]
    with pytest.raises(ValueError, match=rf"got {weight:g} for the class 'b'"):
        GDClassifier(class_weight={"a": 1, "b": weight, "c": 1}).fit(X, names)


@pytest.mark.parametrize(
    ("names", "kept", "lost"),
    [(["a", "b", "b"], "'a'", "'b'"), ([0, 1, 2], "0", "1, 2"), ([True, False, False], "True", "False")],
)
def test_classes_whose_rows_all_weigh_nothing_are_named(names, kept, lost):
    y = np.array(names)[LABELS]
    for parameters in ({}, {"early_stopping": True}, {"class_weight": "balanced"}):
        with pytest.raises(ValueError, match=rf"one class only: {kept}\. All sample weights of {lost} are zero\.$"):
            GDClassifier(**parameters).fit(X, y, sample_weight=1.0 * (LABELS == 0))


def test_a_class_whose_rows_all_weigh_nothing_is_no_class_beside_two_others():
    model = GDClassifier(**FEW).fit(X, LABELS, sample_weight=1.0 * (LABELS != 1))
    assert_array_equal(model.classes_, [0, 2])
    assert_array_equal(model.coef_, GDClassifier(**FEW).fit(X[LABELS != 1], LABELS[LABELS != 1]).coef_)


def test_a_class_too_rare_to_be_held_out_is_not_named_by_a_number():
    y = np.where(np.arange(N) == 0, "rare", "usual")
    with pytest.raises(ValueError, match="early_stopping=True could not hold out") as information:
        GDClassifier(early_stopping=True).fit(X, y)
    assert "[0]" not in str(information.value)  # newer versions of scikit-learn have a list of such classes there


def test_an_array_of_class_weights():
    with pytest.raises(ValueError, match=r"class_weight must be a dict, .* got \[1\.0, 2\.0, 3\.0\]\."):
        GDClassifier(class_weight=np.array([1.0, 2.0, 3.0])).fit(X, LABELS)


def test_one_class_is_not_enough_where_classes_says_so():
    with pytest.raises(ValueError, match=r"2 classes, but classes have one class only: 0\.$"):
        GDClassifier().partial_fit(X, LABELS, classes=[0])


def test_class_weights_are_not_for_multilabel_targets():
    model = GDClassifier(class_weight="balanced")
    with refused(model, "class_weight='balanced'", "multilabel"):
        model.fit(X, X > 0.0)


def nonsense(value, step):
    return np.full_like(step, value)


@pytest.mark.parametrize("value", [np.nan, np.inf, -1.0])
def test_a_users_schedule_that_returns_nonsense(value):
    model = GDRegressor(learning_rate=partial(nonsense, value))
    with refused(model, "learning_rate", "finite"):
        model.fit(X, TARGET)


# -- data -------------------------------------------------------------------------------------------------------------


def spoiled(array, value):
    array = np.array(array, dtype=float)
    array[(3, *[1] * (array.ndim - 1))] = value
    return array


BAD_DATA = {
    "nan in X": ({"X": spoiled(X, np.nan)}, ["X", "nan"]),
    "inf in X": ({"X": spoiled(X, np.inf)}, ["X", "inf"]),
    "nan in sparse X": ({"X": sp.csr_array(spoiled(X, np.nan))}, ["X", "nan"]),
    "both infinities in X": ({"X": np.where(X > 0.0, np.inf, -np.inf).astype(np.float32)}, ["X", "inf"]),
    "both infinities in y": ({"y": np.where(TARGET > 0.0, np.inf, -np.inf)}, ["y", "inf"]),
    "one dimension": ({"X": X[:, 0]}, ["X", "2D array"]),
    "ragged rows": ({"X": [*X.tolist(), [0.0]]}, ["X", "inhomogeneous"]),
    "dictionary": ({"X": dict(enumerate(X))}, ["X", "dict"]),
    "generator": ({"X": iter(X)}, ["X", "iterator"]),
    "no rows": ({"X": X[:0], "y": []}, ["0 sample"]),
    "no columns": ({"X": X[:, :0]}, ["0 feature"]),
    "complex X": ({"X": X + 1j}, ["X", "complex"]),
    "strings in X": ({"X": np.full((N, P), "a")}, ["X", "could not convert|string"]),
    "no y": ({"y": None}, ["requires y", "None"]),
    "short y": ({"y": np.zeros(N - 1)}, ["inconsistent", f"{N}", f"{N - 1}"]),
    "nan in y": ({"y": spoiled(LABELS, np.nan)}, ["y", "nan"]),
    "inf in y": ({"y": spoiled(LABELS, np.inf)}, ["y", "inf"]),
    "complex y": ({"y": LABELS + 1j}, ["y", "complex"]),
    "cube y": ({"y": np.zeros((N, 2, 2))}, ["y", "dim"]),
    "one number as y": ({"y": 1.0}, ["y", "dimension"]),
    "nan in weights": ({"sample_weight": spoiled(np.ones(N), np.nan)}, ["sample_weight", "nan"]),
    "inf in weights": ({"sample_weight": spoiled(np.ones(N), np.inf)}, ["sample_weight", "inf"]),
    "negative weight": ({"sample_weight": spoiled(np.ones(N), -2.5)}, ["sample_weight", "negative", "-2.5", "row 3"]),
    "zero weights": ({"sample_weight": np.zeros(N)}, ["weight", "zero"]),
    "zero weight": ({"sample_weight": 0.0}, ["weight", "zero"]),
    "short weights": ({"sample_weight": np.ones(N - 1)}, ["sample_weight", f"{N}", f"{N - 1}"]),
    "weights of two dimensions": ({"sample_weight": np.ones((N, 1))}, ["sample_weight", rf"{N}, 1"]),
    "strings as weights": ({"sample_weight": ["heavy"] * N}, ["sample_weight", "heavy"]),
}


@both_estimators
@pytest.mark.parametrize("case", BAD_DATA)
def test_bad_data(estimator, case):
    data, words = BAD_DATA[case]
    for model, method in models(estimator):
        with refused(model, *words):
            call(model, method, **{"X": X, "y": Y[estimator]} | data)


@pytest.mark.parametrize(
    "y", [["a", "b"] * (N // 2), np.array(["a", 1.0] * (N // 2), dtype=object)], ids=["str", "object"]
)
def test_strings_are_no_targets_of_a_regressor(y):
    for model, method in models(GDRegressor):
        with refused(model, "y", "could not convert|string|numeric"):
            call(model, method, X, y)


def test_labels_that_cannot_be_compared():
    for model, method in models(GDClassifier):
        if not model.warm_start and method == "fit":
            with refused(model, "y must contain labels", "compared"):
                model.fit(X, np.array(["a", 1] * (N // 2), dtype=object))


def test_numbers_in_between_are_no_classes():
    for model, method in models(GDClassifier):
        with refused(model, "continuous|not among the classes"):
            call(model, method, X, TARGET)


@pytest.mark.parametrize(
    ("loss", "lowest", "value"),
    [("poisson", -1.0, "-1"), ("gamma", 0.0, "0"), ("tweedie", -0.5, "-0.5")],
)
def test_targets_outside_a_losss_domain(loss, lowest, value):
    y = np.abs(TARGET) + 0.1
    model = GDRegressor(loss, **FEW).fit(X, y)
    for method in ("fit", "partial_fit"):
        with refused(model, "y has the value", value, loss):
            getattr(model, method)(X, spoiled(y, lowest))
    with refused(model, value, loss):
        model.fit(X, y, X_val=X, y_val=spoiled(y, lowest))


@both_estimators
def test_number_and_names_of_features(estimator):
    frame = pd.DataFrame(X, columns=list("abc"))
    model = estimator(warm_start=True, **FEW).fit(frame, Y[estimator])
    for method in ("fit", "partial_fit"):
        with refused(model, "feature names"):
            getattr(model, method)(frame[["c", "b", "a"]], Y[estimator])
        with refused(model, "feature"):
            getattr(model, method)(frame[["a", "b"]], Y[estimator])
    with refused(model, "feature names"):
        model.predict(frame[["c", "b", "a"]])
    model = estimator(warm_start=True, **FEW).fit(X, Y[estimator])
    for A in (X[:, :2], sp.csr_array(X[:, :2])):
        for method in ("fit", "partial_fit"):
            with refused(model, "2 features", "3 features"):
                getattr(model, method)(A, Y[estimator])
        with refused(model, "2 features", "3 features"):
            model.predict(A)


def test_number_of_targets():
    two = np.column_stack([TARGET, TARGET])
    for first, later in ((TARGET, two), (two, TARGET), (two, np.column_stack([two, TARGET]))):
        model = GDRegressor(warm_start=True, **FEW).fit(X, first)
        for method in ("fit", "partial_fit"):
            with refused(model, "y has the shape", re.escape(str(later.shape))):
                getattr(model, method)(X, later)


@both_estimators
@pytest.mark.parametrize("method", ["predict", "decision_function", "predict_proba", "score", "sparsify", "densify"])
def test_not_fitted(estimator, method):
    if not hasattr(estimator(), method):
        assert (estimator, method) in [(GDRegressor, "decision_function"), (GDRegressor, "predict_proba")]
        return
    arguments = {"score": (X, Y[estimator]), "sparsify": (), "densify": ()}.get(method, (X,))
    model = estimator()
    with refused(model, estimator.__name__, "not fitted", error=NotFittedError):
        getattr(model, method)(*arguments)


def malformed(what, format="csr"):
    """Return a matrix that passes scipy's own quick check, but would be read out of bounds."""
    A = (sp.csr_array if format == "csr" else sp.csc_array)(X)
    A.data, A.indices, A.indptr = A.data.copy(), A.indices.copy(), A.indptr.copy()
    if what == "index too large":
        A.indices[5] = max(A.shape) + 1000
    elif what == "negative index":
        A.indices[5] = -1
    elif what == "falling indptr":
        A.indptr[1] = A.indptr[2] + 2
    elif what == "indptr beyond the data":
        A.indptr[-1] += 1000
    else:
        A.indptr[0] = 1
    return A


@both_estimators
@pytest.mark.parametrize("format", ["csr", "csc"])
@pytest.mark.parametrize(
    "what", ["index too large", "negative index", "falling indptr", "indptr beyond the data", "indptr not from zero"]
)
def test_malformed_sparse_matrices(what, format, estimator):
    for model, method in models(estimator):
        with refused(model, "X", "malformed", format, error=ValueError):
            call(model, method, malformed(what, format), Y[estimator])
    model = estimator(**FEW).fit(X, Y[estimator])
    with refused(model, "X", "malformed", format, error=ValueError):
        model.predict(malformed(what, format))


def with_a_column_outside(form):
    """Return a matrix of another format, edited after scipy had checked it."""
    A = form(X)
    if A.format == "lil":
        A.rows[0][0] = 10**9
    else:
        A.col[0] = 10**9
    return A


@both_estimators
@pytest.mark.parametrize("form", [sp.coo_array, sp.lil_array])
def test_malformed_matrices_of_other_formats(form, estimator):
    """Scipy's conversion to CSR would write, or let us read, outside of its arrays."""
    for model, method in models(estimator):
        with refused(model, "X", "malformed", form(X).format, error=ValueError):
            call(model, method, with_a_column_outside(form), Y[estimator])
    model = estimator(**FEW).fit(X, Y[estimator])
    with refused(model, "X", "malformed", form(X).format, error=ValueError):
        model.predict(with_a_column_outside(form))


def test_a_lil_matrix_with_more_values_than_columns():
    A = sp.lil_array(X)
    A.data[0].append(1.0)
    model = GDRegressor()
    with refused(model, "X", "malformed", "lil", error=ValueError):
        model.fit(A, TARGET)


def test_nothing_of_a_malformed_matrix_is_read_before_the_check(monkeypatch):
    """Scipy's look for duplicates follows the row pointers, wherever they point."""
    model = GDRegressor(**FEW).fit(X, TARGET)
    monkeypatch.setattr(sp.csr_array, "has_canonical_format", property(lambda self: pytest.fail("followed")))
    with refused(model, "X", "malformed", "csr", error=ValueError):
        model.predict(malformed("falling indptr"))


def test_malformed_targets():
    labels = sp.csr_array((TARGET > 0.0).astype(int)[:, np.newaxis] * [[1, 1]])
    good, bad = labels.copy(), labels.copy()
    bad.indices[0] = 10**9
    model = GDClassifier(**FEW)
    with refused(model, "y is a malformed CSR", error=ValueError):
        model.fit(X, bad)
    model.fit(X, good)
    with refused(model, "y_val is a malformed CSR", error=ValueError):
        model.fit(X, good, X_val=X, y_val=bad)


@both_estimators
def test_a_malformed_validation_set(estimator):
    model = estimator(**FEW).fit(X, Y[estimator])
    with refused(model, "X_val", "malformed", "csr", error=ValueError):
        model.fit(X, Y[estimator], X_val=malformed("index too large"), y_val=Y[estimator])


@pytest.mark.parametrize("format", ["csr", "csc"])
def test_malformed_sparse_targets(format):
    for model, method in models(GDRegressor):
        with refused(model, "y", "malformed", format, error=ValueError):
            call(model, method, X, malformed("index too large", format))


@both_estimators
def test_predictions_that_no_number_can_represent(estimator):
    model = estimator(**FEW).fit(X, Y[estimator])
    assert np.isfinite(
        model.decision_function(1e200 * X) if estimator is GDClassifier else model.predict(1e200 * X)
    ).all()
    model.coef_ = 1e200 * model.coef_
    with refused(model, "X", "sample 0", "float64", error=ValueError):
        model.predict(1e200 * X)
    if estimator is GDRegressor:
        log_link = GDRegressor("poisson", **FEW).fit(X, np.exp(TARGET))
        with refused(log_link, "X", "sample", "inf", error=ValueError):
            log_link.predict(1e4 * X)


@both_estimators
@pytest.mark.parametrize("engine", ["vectorized", "compiled"])
def test_weights_of_a_stream_that_add_up_to_more_than_there_is(estimator, engine, request):
    """Those of a call count in relation to earlier ones, so that they cannot be divided by a number."""
    if engine == "compiled":
        request.getfixturevalue("plain_python")
    y = LABELS > 1 if estimator is GDClassifier else TARGET
    more = {"classes": [False, True]} if estimator is GDClassifier else {}
    with mock.patch.object(skgd.engines, "REPAYS_SECONDS", 0.0 if engine == "compiled" else np.inf):
        model = estimator().partial_fit(X, y, **more).partial_fit(X, y, sample_weight=np.full(N, 1e300))
        assert model.engine_ == engine
        with refused(model, "sample_weight", "too large", error=ValueError):
            model.partial_fit(X, y, sample_weight=np.full(N, 1e308))
        if estimator is GDClassifier:
            model.set_params(class_weight={False: 1e-200, True: 1.0})
            with refused(model, "sample_weight", "class weights", "too small", error=ValueError):
                model.partial_fit(X[:1], [False], sample_weight=[1e-200])


# -- classes ----------------------------------------------------------------------------------------------------------


def test_the_first_call_of_partial_fit_needs_the_classes():
    model = GDClassifier()
    with refused(model, "classes", "first call"):
        model.partial_fit(X, LABELS)


@pytest.mark.parametrize(
    "classes", [3, "ab", [[0, 1]], [0, np.nan], [0, None], [0.5, 1.5], np.array([0, "a"], dtype=object)]
)
def test_bad_classes(classes):
    for model in (GDClassifier(**FEW), GDClassifier(**FEW).fit(X, LABELS)):
        with refused(model, "classes"):
            model.partial_fit(X, LABELS, classes=classes)


@pytest.mark.parametrize("classes", [[0, 1], [0, 1, 2, 3], [5, 6, 7], ["a", "b", "c"]], ids=str)
def test_other_classes_in_a_later_call(classes):
    model = GDClassifier(**FEW).partial_fit(X, LABELS, classes=[2, 0, 1])
    with refused(model, "classes", re.escape(repr(classes[-1]))):
        model.partial_fit(X, LABELS, classes=classes)
    model.partial_fit(X, LABELS, classes=[1, 2, 0, 0])  # the same, in another order


@pytest.mark.parametrize("stranger", [-1, 3, 99])
def test_a_label_that_is_not_among_the_classes(stranger):
    y = np.where(np.arange(N) == 7, stranger, LABELS)
    fresh = GDClassifier()
    with refused(fresh, "classes", str(stranger)):
        fresh.partial_fit(X, y, classes=[0, 1, 2])
    model = GDClassifier(warm_start=True, **FEW).fit(X, LABELS)
    for method in ("fit", "partial_fit"):
        with refused(model, "classes", str(stranger)):
            getattr(model, method)(X, y)
    for candidate in (model, GDClassifier(**FEW)):
        with refused(candidate, "y_val", "classes", str(stranger)):
            candidate.fit(X, LABELS, X_val=X, y_val=y)


def test_labels_of_another_kind():
    model = GDClassifier(**FEW).fit(X, LABELS)
    for y, word in ((LABELS.astype(str), "classes"), (np.eye(3, dtype=int)[LABELS], "column|1d|multilabel|shape")):
        with refused(model, word):
            model.partial_fit(X, y)
    with pytest.warns(UserWarning, match="exactly one 1 in each row"):
        multilabel = GDClassifier(**FEW).fit(X, np.eye(3, dtype=int)[LABELS])
    for y in (LABELS, np.eye(2, dtype=int)[LABELS % 2]):
        with refused(multilabel, "multilabel", r"\(n_samples, 3\)"):
            multilabel.partial_fit(X, y)


def test_one_class_only():
    for model, method in models(GDClassifier):
        if method == "fit" and not model.warm_start:
            with refused(model, "class", "4"):
                model.fit(X, np.full(N, 4))
    fresh = GDClassifier()
    with refused(fresh, "class", "4"):
        fresh.partial_fit(X, np.full(N, 4), classes=[4])
    weight = (LABELS == 1).astype(float)  # where the weights leave one class only
    with refused(fresh, "class", "1"):
        fresh.fit(X, LABELS, weight)


# -- validation sets --------------------------------------------------------------------------------------------------


@both_estimators
def test_bad_validation_sets(estimator):
    y = Y[estimator]
    for model in (estimator(**FEW), estimator(**FEW).fit(X, y), estimator(warm_start=True, **FEW).fit(X, y)):
        with refused(model, "X_val", "y_val"):
            model.fit(X, y, X_val=X)
        with refused(model, "X_val", "y_val"):
            model.fit(X, y, y_val=y)
        with refused(model, "X_val", "sample_weight_val"):
            model.fit(X, y, sample_weight_val=np.ones(N))
        with refused(model, "y_val", "nan"):
            model.fit(X, y, X_val=X, y_val=spoiled(y, np.nan))
        with refused(model, "X_val", "y_val", f"{N}", f"{N - 3}"):
            model.fit(X, y, X_val=X, y_val=y[3:])
        with refused(model, "sample_weight_val", "zero"):
            model.fit(X, y, X_val=X, y_val=y, sample_weight_val=np.zeros(N))
        with refused(model, "sample_weight_val", "negative", "-1", "row 3"):
            model.fit(X, y, X_val=X, y_val=y, sample_weight_val=spoiled(np.ones(N), -1.0))
        with refused(model, "sample_weight_val", f"{N - 1}"):
            model.fit(X, y, X_val=X, y_val=y, sample_weight_val=np.ones(N - 1))


@both_estimators
def test_a_validation_set_that_is_no_match_or_not_finite(estimator):
    model = estimator(**FEW).fit(X, Y[estimator])
    with refused(model, "X_val", "nan"):
        model.fit(X, Y[estimator], X_val=spoiled(X, np.nan), y_val=Y[estimator])
    with refused(model, "X_val", "2 features", "3 features"):
        model.fit(X, Y[estimator], X_val=X[:, :2], y_val=Y[estimator])


def test_strings_are_no_validation_targets_of_a_regressor():
    model = GDRegressor(**FEW).fit(X, TARGET)
    with refused(model, "y_val|could not convert"):
        model.fit(X, TARGET, X_val=X, y_val=["a"] * N)


@both_estimators
def test_early_stopping_that_cannot_be(estimator):
    for model, method in models(estimator, early_stopping=True):
        if method == "partial_fit":
            with refused(model, "early_stopping=True", "partial_fit"):
                call(model, method, X, Y[estimator])
    n_rows = 1 if estimator is GDRegressor else 2  # one row, or one of each class, cannot be divided
    for model in (estimator(early_stopping=True), estimator(**FEW).fit(X, Y[estimator])):
        model.set_params(early_stopping=True)
        with refused(model, "early_stopping=True", "validation_fraction=0.1", f"{n_rows} samples"):
            model.fit(X[:n_rows], np.arange(n_rows))


# -- parameters that no longer fit what was learned --------------------------------------------------------------------


@both_estimators
def test_fit_intercept_cannot_change_in_the_middle(estimator):
    for before in (True, False):
        model = estimator(fit_intercept=before, warm_start=True, **FEW).fit(X, Y[estimator])
        model.set_params(fit_intercept=not before)
        for method in ("fit", "partial_fit"):
            with refused(model, f"fit_intercept={before}", f"fit_intercept={not before}"):
                getattr(model, method)(X, Y[estimator])
        model.set_params(warm_start=False).fit(X, Y[estimator])  # a new training may


# -- training that fails ----------------------------------------------------------------------------------------------


class Failing(Optimizer):
    """Plain gradient descent that raises in a given step."""

    def __init__(self, error=None, step=5):
        self.error = error
        self.step = step

    def hyper(self):
        return (self.error, self.step)

    @staticmethod
    def rule(w, g, lr, t, slots, hyper):
        error, step = hyper
        if t == step:
            raise error("of the user's own")
        return w - lr * g, lr, slots


BREAKING = {"learning_rate": 0.1, "batch_size": 4, "tol": None, "max_iter": 3, "random_state": 0, "average": False}


@both_estimators
@pytest.mark.parametrize("epochs", [1, 3])
@pytest.mark.parametrize("rate", [1e6, 1e200])
def test_divergence(estimator, epochs, rate):
    wide = 1e4 * X
    fitted = estimator(**FEW).fit(wide, Y[estimator])
    regression = estimator is GDRegressor
    diverging = {
        "loss": "squared_error" if regression else "squared_hinge",
        "optimizer": SGD(),
        "learning_rate": rate,
        "precondition": False,
        "max_iter": epochs + 100,
    }
    for model in (estimator(**diverging), fitted.set_params(**diverging)):
        with refused(
            model, "diverged", "epoch", "step [0-9]+", "learning rate 1e", "decrease learning_rate", error=ValueError
        ):
            model.fit(wide, Y[estimator])
    assert fitted.predict(wide).shape == (N,)


@both_estimators
def test_divergence_in_partial_fit(estimator):
    loss = "squared_error" if estimator is GDRegressor else "squared_hinge"
    model = estimator(loss, optimizer="sgd", learning_rate=1e-3, precondition=False, batch_size=2)
    call(model, "partial_fit", X, Y[estimator])
    model.set_params(learning_rate=1e200)
    with refused(model, "diverged", "partial_fit", "step [0-9]+", "learning rate 1e", "decrease learning_rate"):
        for _ in range(3):
            model.partial_fit(1e4 * X, Y[estimator])


@both_estimators
def test_an_exception_in_the_middle(estimator):
    y = Y[estimator]
    for model, method in models(estimator, **BREAKING | {"optimizer": Failing(RuntimeError)}):
        if method == "partial_fit" or model.warm_start:  # the step number goes on where the model stands
            model.set_params(optimizer=Failing(RuntimeError, step=getattr(model, "t_", 0) + 5))
        with refused(model, "of the user's own", error=RuntimeError):
            call(model, method, X, y)
        if hasattr(model, "coef_"):
            assert_array_equal(model.predict(X), pickle.loads(pickle.dumps(model)).predict(X))


@both_estimators
@pytest.mark.parametrize("precondition", [True, False])
@pytest.mark.parametrize("step", [1, 5, 13, 24])
def test_an_interrupt_keeps_what_was_learned(estimator, precondition, step):
    model = estimator(optimizer=Failing(KeyboardInterrupt, step), precondition=precondition, **BREAKING)
    with pytest.warns(UserWarning, match="interrupted in epoch"):
        model.fit(X, Y[estimator])
    assert model.t_ == step - 1
    assert model.predict(X).shape == (N,)
    # the steps until there, one by one: the same rows, since the first epochs are shuffled alike
    batches_of_an_epoch = N // BREAKING["batch_size"]
    if (step - 1) % batches_of_an_epoch == 0 and step > 1:
        epochs = (step - 1) // batches_of_an_epoch
        other = clone(model).set_params(optimizer=Failing(KeyboardInterrupt, -1), max_iter=epochs)
        assert_array_equal(model.coef_, other.fit(X, Y[estimator]).coef_)
    resumed = model.set_params(optimizer=Failing(KeyboardInterrupt, -1)).partial_fit(X, Y[estimator])
    assert resumed.t_ == step - 1 + batches_of_an_epoch


@both_estimators
@pytest.mark.parametrize("precondition", [True, False])
@pytest.mark.parametrize("step", [1, 6])
def test_an_interrupt_of_partial_fit_ends_the_loop_around_it(estimator, precondition, step):
    model = estimator(optimizer=Failing(KeyboardInterrupt, step), precondition=precondition, **BREAKING)
    with refused(model, "of the user's own", error=KeyboardInterrupt):
        call(model, "partial_fit", X, Y[estimator])


@pytest.mark.parametrize(
    ("estimator", "loss"),
    [(GDClassifier, losses.Poisson()), (GDRegressor, losses.Hinge()), (GDRegressor, losses.SoftmaxLoss())],
)
def test_losses_of_the_other_estimator(estimator, loss):
    with pytest.raises(
        ValueError, match=rf"loss={type(loss).__name__}\(\) is not for {estimator.__name__}.*Use one of"
    ):
        estimator(loss=loss).fit([[0.0], [1.0]], [0, 1])


def test_targets_of_the_validation_set_are_named():
    with pytest.raises(ValueError, match=r"y_val: y has the value -1"):
        GDRegressor(loss="poisson").fit([[0.0], [1.0]], [1.0, 2.0], X_val=[[1.0]], y_val=[-1.0])


# -- what the caller has NumPy do about overflow and the like ---------------------------------------------------------


@pytest.mark.parametrize("loss", [*CLASSIFIER_LOSSES, *REGRESSOR_LOSSES])
def test_the_caller_s_errstate_never_matters(loss):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(80, 3)) * [1.0, 1e-250, 1e150]
    y = np.exp(rng.normal(size=80) * 20.0)
    estimator, y = (GDClassifier, y > 1.0) if loss in CLASSIFIER_LOSSES else (GDRegressor, y)
    methods = ("predict", "decision_function", "predict_proba", "predict_log_proba")

    def results():
        model = estimator(loss, max_iter=3, tol=None, random_state=0).fit(X, y)
        stream = estimator(loss, random_state=0)
        stream.partial_fit(X, y, **({"classes": [False, True]} if estimator is GDClassifier else {})).partial_fit(X, y)
        found = [getattr(each, name)(X) for each in (model, stream) for name in methods if hasattr(each, name)]
        return [model.coef_, model.intercept_, stream.coef_, stream.intercept_, *found]

    with np.errstate(all="raise"):
        raising = results()
    for one, other in zip(raising, results(), strict=True):
        assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("estimator", "unit", "weight"), [(GDRegressor, 1e-200, 1.0), (GDRegressor, 1.0, 1e-310), (GDClassifier, 1, 1e-310)]
)
def test_the_caller_s_errstate_does_not_matter_to_scores(estimator, unit, weight):
    target, weight = unit * Y[estimator], weight * np.arange(1, N + 1)
    model = estimator(**({} if unit == 1 else {"loss": "absolute_error"}), random_state=0).fit(X, target, weight)
    expected = model.score(X, target, weight)
    with np.errstate(all="raise"):
        assert model.score(X, target, weight) == expected


@pytest.mark.parametrize("parameters", [{"optimizer": 3}, {"optimizer": "adamant"}, {"activation": 3}])
def test_articles(parameters):
    with pytest.raises((TypeError, ValueError), match=r"an (Optimizer|Activation) object"):
        GDRegressor(**parameters).fit(X, Y)


def test_messages_name_labels_as_they_are():
    labels = np.array([0, 1] * 10)
    model = GDClassifier().fit(X[:20], labels)
    with pytest.raises(ValueError, match=r"not among the classes \[0, 1\]: 2, 3\.$"):
        model.partial_fit(X[:20], np.r_[labels[2:], 2, 3])
    with pytest.raises(ValueError, match=r"one class only: 0\.$"):
        GDClassifier().fit(X[:20], 0 * labels)
