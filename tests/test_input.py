"""One model, whatever container the data comes in, wherever it is trained, and whichever tool it is trained by."""

import io
from concurrent.futures import ThreadPoolExecutor

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import clone, config_context
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import dump_svmlight_file, load_breast_cancer, load_diabetes, load_iris, load_svmlight_file
from sklearn.ensemble import StackingRegressor, VotingClassifier
from sklearn.exceptions import DataConversionWarning
from sklearn.linear_model import Ridge
from sklearn.metrics import brier_score_loss
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split
from sklearn.multiclass import OneVsRestClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import skgd.objective
from skgd import GDClassifier, GDRegressor
from skgd.losses import CLASSIFIER_LOSSES, REGRESSOR_LOSSES
from skgd.optimizers import OPTIMIZERS, SGD

rng = np.random.default_rng(0)
N, P = 90, 6
X = np.round(rng.normal(size=(N, P)) * (rng.uniform(size=(N, P)) < 0.5), 3)  # half of it zeros; short in text files
Y = X @ rng.normal(size=P) + 0.5 * rng.normal(size=N) + 1.0
Y_BINARY = (Y > 1.0).astype(int)
Y_CLASS = np.digitize(Y, [0.5, 1.5])
Y_MULTILABEL = np.column_stack([Y > 1.0, X[:, 0] > 0.0, Y < 0.0]).astype(int)
WEIGHT = rng.uniform(0.5, 2.0, size=N)

FEW = {"max_iter": 5, "tol": None, "random_state": 0, "batch_size": 16}


def parameters(model):
    return np.concatenate([np.ravel(model.coef_), np.ravel(model.intercept_)])


def assert_same_bits(one, other):
    assert_array_equal(parameters(one), parameters(other), strict=True)


# -- X ----------------------------------------------------------------------------------------------------------------


def read_only(A):
    A = A.copy()
    A.flags.writeable = False
    return A


def memory_map(A, folder):
    joblib.dump(A, folder / "X.joblib")
    return joblib.load(folder / "X.joblib", mmap_mode="r")


DENSE = {
    "F order": np.asfortranarray,
    "read-only": read_only,
    "list of lists": np.ndarray.tolist,
    "rows of a larger array": lambda A: np.repeat(A, 2, axis=0)[::2],
    "columns of a larger array": lambda A: np.repeat(A, 3, axis=1)[:, ::3],
    "reversed view": lambda A: A[::-1].copy()[::-1],
    "pandas": lambda A: pd.DataFrame(A, columns=list("abcdef")),
    "polars": lambda A: pl.DataFrame(A, schema=list("abcdef")),
    "object dtype": lambda A: A.astype(object),
}


@pytest.mark.parametrize("precondition", [True, False])
@pytest.mark.parametrize("container", DENSE)
def test_dense_containers(container, precondition):
    made = DENSE[container](X)
    model = GDRegressor(precondition=precondition, **FEW)
    reference, other = clone(model).fit(X, Y), clone(model).fit(made, Y)
    assert_allclose(parameters(other), parameters(reference), rtol=1e-12, atol=1e-14)
    if container in ("pandas", "polars"):
        assert_array_equal(other.feature_names_in_, list("abcdef"))
    else:
        assert not hasattr(other, "feature_names_in_")
    assert_allclose(other.predict(made), reference.predict(X), rtol=1e-12)


def test_memory_map(tmp_path):
    mapped = memory_map(X, tmp_path)
    assert isinstance(mapped, np.memmap)
    assert_same_bits(GDRegressor(**FEW).fit(mapped, Y), GDRegressor(**FEW).fit(X, Y))


@pytest.mark.parametrize("dtype", [np.int8, np.int32, np.int64, np.uint8, bool])
@pytest.mark.parametrize("container", [np.asarray, sp.csr_array], ids=["dense", "sparse"])
def test_integers_are_taken_as_float64(dtype, container):
    counts = (rng.poisson(1.0, size=(N, P)) if dtype is not bool else X > 0).astype(dtype)
    assert_same_bits(
        GDRegressor(**FEW).fit(container(counts), Y), GDRegressor(**FEW).fit(container(counts.astype(float)), Y)
    )


@pytest.mark.parametrize("precondition", [True, False])
@pytest.mark.parametrize("container", [np.asarray, sp.csr_array], ids=["dense", "sparse"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_float32_stays_float32(optimizer, container, precondition):
    params = FEW | {"optimizer": optimizer, "learning_rate": 0.05, "precondition": precondition}
    single = GDRegressor(**params).fit(container(X.astype(np.float32)), Y)
    double = GDRegressor(**params).fit(container(X), Y)
    assert single.coef_.dtype == single.intercept_.dtype == np.float32
    assert double.coef_.dtype == double.intercept_.dtype == np.float64
    assert single.predict(container(X.astype(np.float32))).dtype == np.float32
    assert_allclose(single.coef_, double.coef_, rtol=0, atol=1e-4)
    assert_allclose(single.intercept_, double.intercept_, rtol=0, atol=1e-4)


@pytest.mark.parametrize("loss", sorted(CLASSIFIER_LOSSES | REGRESSOR_LOSSES))
def test_float32_stays_float32_with_every_loss(loss):
    estimator, y = (GDClassifier, Y_CLASS) if loss in CLASSIFIER_LOSSES else (GDRegressor, np.abs(Y) + 0.1)
    model = estimator(loss, **FEW).fit(X.astype(np.float32), y)
    scores = model.decision_function if estimator is GDClassifier else model.predict
    assert model.coef_.dtype == scores(X.astype(np.float32)).dtype == np.float32
    reference = estimator(loss, **FEW).fit(X, y)
    assert_allclose(model.coef_, reference.coef_, rtol=0, atol=2e-3)


def unsorted(A):
    """Return a CSR array with the entries of each row in falling order of columns."""
    A = sp.csr_array(A)
    order = np.concatenate([np.arange(*A.indptr[row : row + 2])[::-1] for row in range(A.shape[0])])
    return sp.csr_array((A.data[order], A.indices[order], A.indptr), shape=A.shape)


def with_duplicates(A):
    """Return a CSR array with each entry stored as two halves."""
    A = sp.csr_array(A)
    return sp.csr_array((np.repeat(A.data / 2, 2), np.repeat(A.indices, 2), 2 * A.indptr), shape=A.shape)


def long_indices(A):
    A = sp.csr_array(A)
    A.indices, A.indptr = A.indices.astype(np.int64), A.indptr.astype(np.int64)
    return A


def spare_room(A):
    """Return a CSR array whose arrays are longer than its entries, as after deleting some."""
    A = sp.csr_array(A)
    A.data, A.indices = np.append(A.data, [9.0, 9.0]), np.append(A.indices, [0, 0]).astype(A.indices.dtype)
    return A


def mixed_indices(A):
    A = sp.csr_array(A)
    A.indices = A.indices.astype(np.int64)
    return A


def svmlight(A):
    file = io.BytesIO()
    dump_svmlight_file(A, np.zeros(len(A)), file)
    file.seek(0)
    return load_svmlight_file(file, n_features=A.shape[1])[0]


SPARSE = {
    "csr_matrix": sp.csr_matrix,
    "csc_array": sp.csc_array,
    "csc_matrix": sp.csc_matrix,
    "coo_array": sp.coo_array,
    "lil_array": sp.lil_array,
    "unsorted indices": unsorted,
    "duplicate entries": with_duplicates,
    "int64 indices": long_indices,
    "int64 and int32 indices": mixed_indices,
    "spare room": spare_room,
    "svmlight file": svmlight,
    "stored zeros": lambda A: sp.csr_array((A.ravel(), np.tile(np.arange(P), N), np.arange(N + 1) * P), shape=A.shape),
    "rows of a larger array": lambda A: sp.csr_array(np.repeat(A, 2, axis=0))[::2],
}


@pytest.mark.parametrize("precondition", [True, False])
@pytest.mark.parametrize("container", SPARSE)
def test_sparse_containers(container, precondition):
    made = SPARSE[container](X)
    if container == "unsorted indices":
        assert not made.has_sorted_indices
    elif container == "duplicate entries":
        assert not made.has_canonical_format
    elif container == "int64 indices":  # as the svmlight reader makes them, in some versions
        assert made.indices.dtype == np.int64
    model = GDRegressor(precondition=precondition, **FEW)
    reference, other = clone(model).fit(sp.csr_array(X), Y), clone(model).fit(made, Y)
    assert_allclose(parameters(other), parameters(reference), rtol=1e-12, atol=1e-14)
    assert_allclose(other.predict(made), reference.predict(X), rtol=1e-12)
    streamed, stream = clone(model).partial_fit(sp.csr_array(X), Y), clone(model).partial_fit(made, Y)
    assert_allclose(parameters(stream), parameters(streamed), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("container", [sp.csr_array, sp.csc_array, sp.csr_matrix, sp.csc_matrix])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_dense_and_sparse_take_the_same_path(optimizer, container):
    proximal = OPTIMIZERS[optimizer].proximal
    params = FEW | {
        "optimizer": optimizer,
        "learning_rate": 0.02,
        "precondition": False,
        "alpha": 0.01,
        "l1_ratio": 0.5 if proximal else 0.0,
    }
    dense, sparse = GDRegressor(**params).fit(X, Y, WEIGHT), GDRegressor(**params).fit(container(X), Y, WEIGHT)
    assert_allclose(parameters(sparse), parameters(dense), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("y", [Y_BINARY, Y_CLASS, Y_MULTILABEL], ids=["binary", "multiclass", "multilabel"])
@pytest.mark.parametrize("loss", CLASSIFIER_LOSSES)
def test_dense_and_sparse_classifiers_take_the_same_path(loss, y):
    params = FEW | {"learning_rate": 0.1, "precondition": False}
    dense = GDClassifier(loss, **params).fit(X, y)
    for container in (sp.csr_array, sp.csc_array):
        sparse = GDClassifier(loss, **params).fit(container(X), y)
        assert_allclose(parameters(sparse), parameters(dense), rtol=1e-9, atol=1e-12)


def test_dense_and_sparse_reach_the_same_minimum_by_other_paths():
    model = GDRegressor(
        optimizer=SGD(momentum=0.9), alpha=0.05, batch_size=None, average=False, tol=None, max_iter=1500
    )
    theirs = Ridge(alpha=N * 0.05, solver="cholesky").fit(X, Y)
    for container in (np.asarray, sp.csr_array, sp.csc_array):
        assert_allclose(clone(model).fit(container(X), Y).coef_, theirs.coef_, rtol=0, atol=1e-6)
    model.set_params(max_iter=2)
    dense, sparse = clone(model).fit(X, Y), clone(model).fit(sp.csr_array(X), Y)
    assert np.abs(dense.coef_ - sparse.coef_).max() > 1e-3


def test_sparse_validation_set():
    dense, sparse = (
        GDRegressor(precondition=False, **FEW).fit(X[:60], Y[:60], X_val=container(X[60:]), y_val=Y[60:])
        for container in (np.asarray, sp.csr_array)
    )
    assert_allclose(sparse.history_["validation_loss"], dense.history_["validation_loss"], rtol=1e-9)


# -- numbers below the smallest normal one ----------------------------------------------------------------------------


@pytest.mark.parametrize("estimator", [GDRegressor, GDClassifier])
@pytest.mark.parametrize("as_format", [np.asarray, sp.csr_array], ids=["dense", "sparse"])
@pytest.mark.parametrize(("dtype", "tiny"), [(np.float64, 1e-310), (np.float32, 1e-42)])
@pytest.mark.parametrize("constant", [True, False])
def test_a_column_of_subnormal_numbers_does_no_harm(estimator, as_format, dtype, tiny, constant):
    """It is as good as zeros: nothing raises or warns, whatever NumPy is told, and the other columns are learned."""
    rng = np.random.default_rng(0)
    A = rng.normal(size=(120, 3)).astype(dtype)
    target = A[:, 0] - 2.0 * A[:, 2]
    A[:, 1] = tiny if constant else tiny * rng.integers(1, 3, 120)
    y, more = (target > 0.0, {"classes": [False, True]}) if estimator is GDClassifier else (target, {})
    rows = as_format(A)
    with np.errstate(all="raise"):
        fitted = estimator(random_state=0).fit(rows, y)
        stream = estimator(batch_size=1)
        for start in (0, 40, 80):
            stream.partial_fit(rows[start : start + 40], y[start : start + 40], **more)
        without = estimator(random_state=0).fit(as_format(A * np.array([1, 0, 1], dtype)), y)
        for model in (fitted, stream):
            assert model.score(rows, y) > 0.95
            assert np.isfinite(model.coef_).all()
        names = [name for name in ("predict", "predict_proba") if hasattr(fitted, name)]
        predicted = [[getattr(model, name)(rows) for name in names] for model in (fitted, without)]
    for one, other in zip(*predicted, strict=True):  # NumPy's own comparison may underflow
        assert_allclose(one, other, rtol=1e-4, atol=1e-4)


# -- y and sample_weight ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("container", [list, read_only, pd.Series, pl.Series, lambda y: np.repeat(y, 2)[::2]])
def test_targets_and_weights_in_other_containers(container):
    reference = GDRegressor(**FEW).fit(X, Y, WEIGHT)
    assert_same_bits(GDRegressor(**FEW).fit(X, container(Y), container(WEIGHT)), reference)
    reference = GDClassifier(**FEW).fit(X, Y_CLASS, WEIGHT)
    assert_same_bits(GDClassifier(**FEW).fit(X, container(Y_CLASS), container(WEIGHT)), reference)


@pytest.mark.parametrize("rare", [1e-30, 1e-300, 5e-324])
def test_a_column_that_only_rows_of_tiny_weight_have(rare):
    A, weight = np.zeros((12, 1)), np.ones(12)
    A[5], weight[5] = 1.0, rare
    model = GDRegressor(**FEW).fit(A, np.arange(12.0), weight)
    assert_allclose(model.intercept_, np.delete(np.arange(12.0), 5).mean(), rtol=0.5)
    assert np.isfinite(model.coef_).all()


def test_one_number_is_the_weight_of_every_row():
    assert_allclose(parameters(GDRegressor(**FEW).fit(X, Y, 3.0)), parameters(GDRegressor(**FEW).fit(X, Y)), rtol=1e-12)


@pytest.mark.parametrize(("estimator", "y"), [(GDRegressor, Y), (GDClassifier, Y_CLASS)])
def test_column_vector(estimator, y):
    with pytest.warns(DataConversionWarning, match="column-vector"):
        column = estimator(**FEW).fit(X, y[:, np.newaxis])
    assert_same_bits(column, estimator(**FEW).fit(X, y))
    assert column.predict(X).shape == (N,)


@pytest.mark.parametrize("y", [Y_BINARY, Y_CLASS], ids=["binary", "multiclass"])
@pytest.mark.parametrize(
    "names",
    [np.array(["a", "b", "c"]), np.array(["c", "b", "a"], dtype=object), np.array([-7, 3, 12]), np.array([0.0, 1, 2])],
    ids=["strings", "objects, reversed", "numbers", "floats"],
)
def test_class_names(names, y):
    """Names are given back as they came, and their order alone decides the columns."""
    model = GDClassifier(**FEW).fit(X, names[y])
    assert_array_equal(model.classes_, np.unique(names[y]))
    assert model.predict(X).dtype == names.dtype
    codes = np.searchsorted(model.classes_, names[y])
    reference = GDClassifier(**FEW).fit(X, codes)
    assert_same_bits(model, reference)
    assert_array_equal(model.predict(X), model.classes_[reference.predict(X)])


def test_boolean_classes():
    model = GDClassifier(**FEW).fit(X, Y_BINARY.astype(bool))
    assert model.predict(X).dtype == bool
    assert_same_bits(model, GDClassifier(**FEW).fit(X, Y_BINARY))


def test_boolean_and_integer_targets_of_a_regressor():
    reference = GDRegressor(**FEW).fit(X, Y_BINARY.astype(float))
    for dtype in (bool, np.int8):
        assert_same_bits(GDRegressor(**FEW).fit(X, Y_BINARY.astype(dtype)), reference)


@pytest.mark.parametrize("container", [np.asarray, np.ndarray.tolist, sp.csr_array, sp.csc_matrix])
def test_multilabel(container):
    model = GDClassifier(**FEW).fit(X, container(Y_MULTILABEL))
    assert_array_equal(model.classes_, [0, 1, 2])
    assert model.coef_.shape == (3, P)
    assert model.predict(X).shape == model.predict_proba(X).shape == Y_MULTILABEL.shape
    assert (model.predict(X) == Y_MULTILABEL).mean() > 0.8
    assert_array_equal(model.predict(X), model.predict_proba(X) > 0.5)
    for column, label in enumerate(Y_MULTILABEL.T):  # with an optimizer that works on each parameter for itself
        params = FEW | {"optimizer": "adam", "learning_rate": 0.1}
        together = GDClassifier(**params).fit(X, container(Y_MULTILABEL))
        alone = GDClassifier(**params).fit(X, label)
        assert_allclose(together.coef_[column], alone.coef_[0], rtol=1e-9)


def test_several_targets():
    targets = np.column_stack([Y, 1000.0 * Y[::-1], -Y])
    params = FEW | {"optimizer": "adam", "learning_rate": 0.1}
    together = GDRegressor(**params).fit(X, targets)
    assert together.coef_.shape == (3, P)
    assert together.intercept_.shape == (3,)
    for column, target in enumerate(targets.T):
        alone = GDRegressor(**params).fit(X, target)
        assert_allclose(together.coef_[column], alone.coef_, rtol=1e-9)
        assert_allclose(together.predict(X)[:, column], alone.predict(X), rtol=1e-9)


# -- nothing of the user's is changed ---------------------------------------------------------------------------------


def content(value):
    """Return everything that could change in an array, a sparse matrix or a data frame."""
    if sp.issparse(value):
        arrays = (value.data, value.indices, value.indptr)
        return type(value), value.has_sorted_indices, [(array.dtype, array.tobytes()) for array in arrays]
    return type(value), np.asarray(value).dtype, np.asarray(value).tobytes()


@pytest.mark.parametrize("precondition", [True, False])
@pytest.mark.parametrize(
    "container",
    [
        np.array,
        sp.csr_array,
        sp.csc_array,
        unsorted,
        with_duplicates,
        long_indices,
        mixed_indices,
        spare_room,
        pd.DataFrame,
    ],
)
def test_data_is_never_changed(container, precondition):
    parts = [X[:60], Y_CLASS[:60], WEIGHT[:60], X[60:], Y_CLASS[60:], WEIGHT[60:]]
    data = [container(part) if part.ndim == 2 else part.copy() for part in parts]
    before = [content(part) for part in data]
    estimators = [
        GDClassifier(precondition=precondition, class_weight="balanced", max_grad_norm=0.1, **FEW),
        GDRegressor(precondition=precondition, max_grad_norm=0.1, **FEW),
    ]
    for model in estimators:
        more = {"classes": [0, 1, 2]} if isinstance(model, GDClassifier) else {}
        model.fit(data[0], data[1], data[2], X_val=data[3], y_val=data[4], sample_weight_val=data[5])
        clone(model).partial_fit(data[0], data[1], sample_weight=data[2], **more)
        model.predict(data[0])
        model.score(data[3], data[4], data[5])
        assert [content(part) for part in data] == before


def product(kind=sp.csr_array):
    """A product of sparse matrices, whose rows have many entries in no order: scipy would tidy them where they are."""
    rng = np.random.default_rng(1)
    first, second = (
        sp.csr_array(rng.normal(size=shape) * (rng.random(shape) < share))
        for shape, share in (((300, 60), 0.2), ((60, 800), 0.05))
    )
    A = kind(first @ second)
    assert not sp.csr_array((A.data, A.indices, A.indptr), shape=A.shape).has_sorted_indices
    assert A.nnz > 2000
    return A


ESTIMATORS_OF_SPARSE_ROWS = {
    "regressor": GDRegressor(**FEW),
    "robust": GDRegressor("huber", precondition=False, **FEW),
    "classifier": GDClassifier(early_stopping=True, **FEW),
    "text": GDClassifier(random_state=0),
    "network": GDRegressor(hidden_layer_sizes=(3,), **FEW),
}


@pytest.mark.parametrize("model", ESTIMATORS_OF_SPARSE_ROWS.values(), ids=ESTIMATORS_OF_SPARSE_ROWS)
@pytest.mark.parametrize("kind", [sp.csr_array, sp.csr_matrix])
def test_rows_in_no_order_are_left_as_they_are(kind, model):
    """Also where they could not be changed: scipy would raise an error."""
    A = product(kind)
    y = np.random.default_rng(2).normal(size=A.shape[0])
    y = y > 0.0 if isinstance(model, GDClassifier) else y
    before = content(A)
    for part in (A.data, A.indices, A.indptr):
        part.flags.writeable = False
    B = kind((A.data, A.indices, A.indptr), shape=A.shape)
    fitted = clone(model).fit(B, y)
    fitted.predict(B)
    fitted.score(B, y)
    if not model.early_stopping:
        clone(model).partial_fit(B, y, **({"classes": [False, True]} if y.dtype == bool else {}))
    assert content(A) == before
    sorted_rows = A.copy()
    sorted_rows.sort_indices()
    assert_allclose(fitted.predict(B), clone(model).fit(sorted_rows, y).predict(sorted_rows), rtol=1e-6, atol=1e-9)


def test_two_threads_may_train_on_the_same_rows():
    A = product()
    y, total = np.random.default_rng(2).normal(size=A.shape[0]), A @ np.arange(A.shape[1])
    expected = GDRegressor(**FEW).fit(A.copy(), y)
    with ThreadPoolExecutor(2) as pool:
        models = list(pool.map(lambda _: GDRegressor(**FEW).fit(A, y), range(8)))
    assert_array_equal(A @ np.arange(A.shape[1]), total)
    for model in models:
        assert_same_bits(model, expected)


def test_data_is_not_kept():
    """The model must not change when the user's arrays do, later."""
    A, y, weight = X.copy(), Y.copy(), WEIGHT.copy()
    model = GDRegressor(warm_start=True, **FEW).fit(A, y, weight)
    known = parameters(model).copy()
    A[:], y[:], weight[:] = np.nan, np.nan, np.nan
    assert_array_equal(parameters(model), known)
    resumed = model.fit(X, Y, WEIGHT)
    assert_same_bits(resumed, GDRegressor(warm_start=True, **FEW).fit(X, Y, WEIGHT).fit(X, Y, WEIGHT))


# -- pieces of batches ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch_size", [None, 20])
@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("container", [np.asarray, sp.csr_array], ids=["dense", "sparse"])
@pytest.mark.parametrize("precondition", [True, False])
@pytest.mark.parametrize(
    ("estimator", "y"),
    [(GDRegressor, Y), (GDClassifier, Y_BINARY), (GDClassifier, Y_CLASS), (GDClassifier, Y_MULTILABEL)],
    ids=["regression", "binary", "multiclass", "multilabel"],
)
def test_large_batches_are_taken_in_pieces(estimator, y, precondition, container, weight, batch_size, monkeypatch):
    model = estimator(optimizer="sgd", precondition=precondition, **FEW | {"batch_size": batch_size})
    data = {"sample_weight": weight, "X_val": container(X[:40]), "y_val": y[:40]}
    whole = clone(model).fit(container(X), y, **data)
    pieces_seen = []
    original = skgd.objective.Objective.chunks

    def counting(self, *args):
        pieces = list(original(self, *args))
        pieces_seen.append(len(pieces))
        return pieces

    monkeypatch.setattr(skgd.objective, "_COMFORTABLE_ENTRIES", 7 * P)
    monkeypatch.setattr(skgd.objective.Objective, "chunks", counting)
    pieces = clone(model).fit(container(X), y, **data)
    assert max(pieces_seen) > 1
    assert_allclose(parameters(pieces), parameters(whole), rtol=1e-10, atol=1e-12)
    assert_allclose(pieces.history_["validation_loss"], whole.history_["validation_loss"], rtol=1e-10)
    assert_allclose(pieces.history_["gradient_norm"], whole.history_["gradient_norm"], rtol=1e-8)


# -- inside scikit-learn's tools --------------------------------------------------------------------------------------

SHORT = {"max_iter": 20, "tol": None, "batch_size": 32, "random_state": 0}
IRIS = load_iris(return_X_y=True)
CANCER = load_breast_cancer(return_X_y=True)


@pytest.mark.parametrize("container", [np.asarray, sp.csr_array])
def test_numbers_whose_squares_overflow_are_fine(container):
    model = GDRegressor(**FEW).fit(container(1e200 * X), Y)
    model.partial_fit(container(1e200 * X), Y)
    assert_allclose(model.predict(container(1e200 * X)), model.predict(1e200 * X), rtol=1e-12)


def test_pipeline_and_grid_search():
    model = make_pipeline(StandardScaler(), GDClassifier(**SHORT))
    grid = {"gdclassifier__optimizer": ["sgd", "adam"], "gdclassifier__alpha": [1e-4, 10.0]}
    search = GridSearchCV(model, grid, cv=3).fit(*IRIS)
    assert search.best_params_["gdclassifier__alpha"] == 1e-4
    assert search.best_score_ > 0.9
    nested = GridSearchCV(GDClassifier(optimizer=SGD(), **SHORT), {"optimizer__momentum": [0.0, 0.9]}, cv=3).fit(*IRIS)
    assert nested.best_score_ > 0.9
    assert nested.best_estimator_.optimizer_.momentum == nested.best_params_["optimizer__momentum"]


def test_sample_weight_is_routed_through_a_pipeline():
    model = GDRegressor(**SHORT)
    with config_context(enable_metadata_routing=True):
        pipeline = make_pipeline(StandardScaler(), clone(model).set_fit_request(sample_weight=True))
        pipeline[0].set_fit_request(sample_weight=False)
        pipeline.fit(X, Y, sample_weight=WEIGHT)
        requested = GDRegressor().set_fit_request(X_val=True, y_val=True, sample_weight_val=True)
        assert {"X_val", "y_val", "sample_weight_val"} <= set(requested.get_metadata_routing().fit.requests)
    by_hand = clone(model).fit(StandardScaler().fit_transform(X), Y, WEIGHT)
    assert_same_bits(pipeline[-1], by_hand)
    assert not np.array_equal(by_hand.coef_, clone(model).fit(StandardScaler().fit_transform(X), Y).coef_)


def test_validation_set_goes_through_a_pipelines_transformers():
    with config_context(enable_metadata_routing=True):
        model = GDRegressor(**SHORT).set_fit_request(X_val=True, y_val=True)
        pipeline = make_pipeline(StandardScaler(), model, transform_input=["X_val"])
        pipeline.fit(X[:60], Y[:60], X_val=X[60:], y_val=Y[60:])
    scaler = StandardScaler().fit(X[:60])
    by_hand = GDRegressor(**SHORT).fit(scaler.transform(X[:60]), Y[:60], X_val=scaler.transform(X[60:]), y_val=Y[60:])
    assert_array_equal(pipeline[-1].history_["validation_loss"], by_hand.history_["validation_loss"])
    assert_same_bits(pipeline[-1], by_hand)


def test_cross_validation_with_sample_weight():
    """Rows of weight zero with wrong targets do no harm where the weights arrive."""
    wrong = rng.uniform(size=N) < 0.3
    y = np.where(wrong, 50.0, Y)
    with config_context(enable_metadata_routing=True):
        model = GDRegressor(**SHORT).set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        scores = cross_val_score(model, X, y, cv=3, params={"sample_weight": (~wrong).astype(float)})
        unweighted = cross_val_score(GDRegressor(**SHORT), X, y, cv=3, params={})
    assert scores.min() > 0.7
    assert unweighted.max() < 0.5


@pytest.mark.parametrize("backend", ["threading", "loky"])
def test_parallel_training_gives_the_same_bits(backend):
    models = [GDClassifier(optimizer=name, **FEW) for name in OPTIMIZERS]
    serial = [clone(model).fit(X, Y_CLASS) for model in models]
    with joblib.parallel_config(backend=backend, n_jobs=2):
        parallel = joblib.Parallel()(joblib.delayed(clone(model).fit)(X, Y_CLASS) for model in models)
    for one, other in zip(serial, parallel, strict=True):
        assert_same_bits(one, other)


def test_calibration():
    train, test, y_train, y_test = train_test_split(*CANCER, random_state=0)
    hinge = GDClassifier("hinge", **SHORT)
    calibrated = CalibratedClassifierCV(hinge, cv=3).fit(train, y_train)
    assert brier_score_loss(y_test, calibrated.predict_proba(test)[:, 1]) < 0.05


def test_one_vs_rest_voting_and_stacking():
    assert OneVsRestClassifier(GDClassifier(**SHORT)).fit(*IRIS).score(*IRIS) > 0.9
    voting = VotingClassifier([("gd", GDClassifier(**SHORT)), ("bayes", GaussianNB())], voting="soft").fit(*IRIS)
    assert voting.score(*IRIS) > 0.93
    diabetes = load_diabetes(return_X_y=True)
    stack = StackingRegressor(
        [("gd", GDRegressor(**SHORT)), ("huber", GDRegressor("huber", **SHORT))], final_estimator=Ridge()
    )
    assert stack.fit(*diabetes).score(*diabetes) > 0.48


# -- predictions ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("estimator", "y"),
    [(GDRegressor, Y), (GDRegressor, np.column_stack([Y, -Y])), (GDClassifier, Y_BINARY), (GDClassifier, Y_CLASS)],
    ids=["one target", "two targets", "binary", "multiclass"],
)
def test_sparsify_and_densify(estimator, y):
    model = estimator(alpha=0.05, l1_ratio=1.0, **FEW | {"max_iter": 50}).fit(X, y)
    coef, predicted = model.coef_.copy(), model.predict(X)
    assert np.any(coef == 0.0)
    assert model.sparsify() is model
    assert sp.issparse(model.coef_)
    assert model.coef_.nnz == np.count_nonzero(coef)
    for container in (np.asarray, sp.csr_array):
        assert_allclose(np.asarray(model.predict(container(X)), dtype=float), predicted, rtol=1e-12)
    assert model.sparsify() is model  # twice does no harm
    assert model.densify() is model
    assert_array_equal(model.densify().coef_, coef, strict=True)


def test_training_goes_on_from_sparse_coefficients():
    dense, sparse = (GDRegressor(alpha=0.05, l1_ratio=1.0, **FEW).fit(X, Y) for _ in range(2))
    sparse.sparsify().partial_fit(X, Y)
    assert_same_bits(sparse, dense.partial_fit(X, Y))


@pytest.mark.parametrize("y", [Y_BINARY, Y_CLASS], ids=["binary", "multiclass"])
@pytest.mark.parametrize("loss", CLASSIFIER_LOSSES)
def test_probabilities_exist_where_the_loss_estimates_them(loss, y):
    model = GDClassifier(loss, **FEW)
    estimates = loss in ("log_loss", "modified_huber")
    for candidate in (model, GDClassifier(CLASSIFIER_LOSSES[loss]()), clone(model).fit(X, y)):
        assert hasattr(candidate, "predict_proba") == hasattr(candidate, "predict_log_proba") == estimates
    model.fit(X, y)
    if not estimates:
        with pytest.raises(AttributeError) as information:
            model.predict_proba(X)
        assert loss in str(information.value.__cause__)
        return
    far = np.vstack([X, 100.0 * X, -100.0 * X])
    probability = model.predict_proba(far)
    assert probability.shape == (3 * N, len(model.classes_))
    assert_allclose(probability.sum(axis=1), 1.0, rtol=1e-12)
    assert probability.min() >= 0.0
    assert_allclose(np.exp(model.predict_log_proba(X)), model.predict_proba(X), rtol=1e-12)
    if loss == "log_loss":
        assert_array_equal(model.classes_[model.predict_proba(X).argmax(axis=1)], model.predict(X))


@pytest.mark.parametrize("y", [Y_BINARY, Y_CLASS], ids=["binary", "multiclass"])
@pytest.mark.parametrize("loss", ["log_loss", "modified_huber"])
def test_probabilities_of_scores_as_far_apart_as_numbers_can_be(loss, y):
    model = GDClassifier(loss, **FEW).fit(X, y)
    model.coef_ = np.sign(model.coef_) * 1.7e308
    probability = model.predict_proba(np.eye(P))
    assert_allclose(probability.sum(axis=1), 1.0)
    assert probability.min() >= 0.0


def test_probabilities_are_those_of_the_loss_that_was_learned():
    logistic, hinge = GDClassifier(**FEW).fit(X, Y_BINARY), GDClassifier("hinge", **FEW).fit(X, Y_BINARY)
    expected = logistic.predict_proba(X)
    assert_array_equal(logistic.set_params(loss="hinge").predict_proba(X), expected)
    assert not hasattr(hinge.set_params(loss="log_loss"), "predict_proba")
    assert hasattr(hinge.partial_fit(X, Y_BINARY), "predict_proba")


def test_regressors_have_no_probabilities():
    assert not hasattr(GDRegressor(), "predict_proba")
    assert not hasattr(GDRegressor(), "decision_function")
