"""Random parameters, inputs and calls: each call ends in a valid, finite model or in an error that says what is wrong.

A few hundred examples, always the same ones, run with the other tests; new ones, and as many as one likes, with
``SKGD_FUZZ_EXAMPLES=20000 pytest tests/test_fuzzing.py``.
"""

import itertools
import os
import pickle
import re
import subprocess
import sys
import tempfile
import warnings
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.exceptions import ConvergenceWarning, DataConversionWarning

import skgd.engines
from skgd import GDClassifier, GDRegressor
from skgd.activations import ACTIVATIONS
from skgd.losses import CLASSIFIER_LOSSES, REGRESSOR_LOSSES
from skgd.optimizers import OPTIMIZERS
from skgd.schedules import SCHEDULES

N_EXAMPLES = os.environ.get("SKGD_FUZZ_EXAMPLES")


def fuzzing(share, deadline=timedelta(minutes=1)):
    """Return the settings of a test that takes a share of the examples; what takes until the deadline hangs."""
    return settings(
        max_examples=max(1, round(share * int(N_EXAMPLES or 400))),
        derandomize=N_EXAMPLES is None,
        database=None,
        deadline=deadline,
        suppress_health_check=list(HealthCheck),
    )


def one_of(values):
    return st.sampled_from(list(values))


# -- parameters -------------------------------------------------------------------------------------------------------


def one_rate(step):
    return 0.1


def seven_rates(step):
    return [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]


nan, inf = np.nan, np.inf
RATES = [None, "auto", 1, 0.1, 1e-300, 1e3, 1e300, np.float32(0.01), *SCHEDULES, np.sqrt, one_rate]
SWITCH = [True, False, np.True_], ["True", 1, None, [True]]
WEIGHTS_OF_CLASSES = [None, "balanced", {}, {0: 2.0, 1: 0.5}, {"a": 1e300, "b": 5e-324}, {2: 1}, {0: np.float32(2)}]

# Of each parameter, values that are allowed, and values that are not, whatever the others are.
PARAMETERS = {
    "hidden_layer_sizes": (
        [(), (), 3, (4, 2), [1], np.array([2, 3])],
        [0, (2, 0), -1, 1.5, "5", None, (2.0,), True, {}],
    ),
    "activation": (list(ACTIVATIONS), ["relo", None, ACTIVATIONS["relu"], 1]),
    "optimizer": (["auto", *OPTIMIZERS], ["sdg", OPTIMIZERS["sgd"], None, 0.1, {}]),
    "learning_rate": (RATES, [0, -1.0, nan, inf, 10**400, True, [0.1], np.array([0.1]), 1j, "warm", {}, seven_rates]),
    "alpha": (["auto", 0, 0.0, 5e-324, 1e-4, 1, 1e300, np.float32(0.1)], [-1e-9, nan, inf, 10**400, "1", None, True]),
    "l1_ratio": ([0.0, 0, 0.5, 1, 5e-324], [2, -0.1, nan, None, "0.5"]),
    "fit_intercept": SWITCH,
    "batch_size": (["auto", None, 1, 2, 5, 10**30, np.int64(3)], [0, -1, 1.5, "big", True, nan]),
    "max_iter": ([1, 2, 4, np.int32(3)], [0, -5, 2.5, None, True, inf]),
    "tol": ([None, 0, 1e-2, 1e300], [-1, nan, "small", True, inf]),
    "n_iter_no_change": (["auto", 1, 3, 10**30], [0, -1, 1.5, None]),
    "early_stopping": SWITCH,
    "validation_fraction": ([0.1, 0.5, 0.999, 5e-324], [0, 1, 1.0, -0.1, "half", None, nan]),
    "shuffle": SWITCH,
    "average": (["auto", "polynomial", True, False, 1, 5, 10**30], [0, -1, 1.5, "x", None, nan]),
    "precondition": SWITCH,
    "max_grad_norm": ([None, 1, 1e-300, 5e-324, 1e300], [0, -1.0, nan, inf, "1", True]),
    "warm_start": SWITCH,
    "random_state": ([None, 0, 2**32 - 1], ["x", -1, 2**32, 1.5]),
    "verbose": ([0, False], ["loud", None, -1, 0.5]),
}
PARAMETERS_OF = {
    GDRegressor: PARAMETERS | {"loss": (REGRESSOR_LOSSES, ["mse", "hinge", None, 3.0, object])},
    GDClassifier: PARAMETERS
    | {
        "loss": (CLASSIFIER_LOSSES, ["mse", "poisson", None, 3.0, object]),
        "class_weight": (WEIGHTS_OF_CLASSES, ["heavy", [1.0], 3.0, *({0: w, 1: w} for w in (-1.0, 0.0, nan, "x"))]),
    },
}
NUMBERS_OF_OBJECTS = [
    0,
    1e-300,
    1e-8,
    0.1,
    0.5,
    0.9,
    0.999999,
    1,
    1.5,
    2.0,
    3,
    1e8,
    1e300,
    10**400,
    -1,
    nan,
    inf,
    "x",
    (1,),
    (0.5, 0.1),
]


def objects(kinds):
    """Objects of some classes, with hyperparameters of all kinds: some valid, some not."""

    def of(kind):
        defaults = kind().get_params(deep=False)
        values = {name: [True, False] if isinstance(v, bool) else NUMBERS_OF_OBJECTS for name, v in defaults.items()}
        return st.fixed_dictionaries({}, optional={name: one_of(v) for name, v in values.items()}).map(
            lambda chosen: kind(**chosen)
        )

    return one_of(kinds.values()).flatmap(of)


OBJECTS = {"optimizer": objects(OPTIMIZERS), "learning_rate": objects(SCHEDULES)}
OBJECTS_OF = {
    GDRegressor: OBJECTS | {"loss": objects(REGRESSOR_LOSSES)},
    GDClassifier: OBJECTS | {"loss": objects(CLASSIFIER_LOSSES)},
}


@st.composite
def parameters(draw, estimator, names=None, odd_objects=False):
    """A few parameters with allowed values or, where they may be objects, with odd ones."""
    table = PARAMETERS_OF[estimator]
    chosen = draw(st.sets(one_of(sorted(names or table)), max_size=6)) | {"max_iter"}
    strategies = {name: one_of(table[name][0]) for name in sorted(chosen)}
    if odd_objects:
        strategies |= {name: values for name, values in OBJECTS_OF[estimator].items() if name in chosen}
    return {name: draw(values) for name, values in strategies.items()}


# -- containers of X --------------------------------------------------------------------------------------------------


def as_type(dtype):
    return lambda A: np.asarray(A).astype(dtype)


def read_only(A):
    A = A.copy()
    A.flags.writeable = False
    return A


def memory_map(A):
    with tempfile.TemporaryFile() as file:
        mapped = np.memmap(file, dtype=A.dtype, shape=A.shape)
    mapped[...] = A
    return mapped


def frame(A):
    return pd.DataFrame(A, columns=[f"x{j}" for j in range(A.shape[1])])


def polars_frame(A):
    return pl.DataFrame(A, schema=[f"x{j}" for j in range(A.shape[1])])


DTYPES = ["f2", "f4", ">f8", ">f4", "g", "i1", "i8", ">i4", "u1", "u8", "?", "O", "F", "U", "S"]
DENSE = {
    "array": np.asarray,
    **{dtype: as_type(dtype) for dtype in DTYPES},
    "dates": lambda A: as_type("i8")(A).astype("M8[s]"),
    "Fortran": np.asfortranarray,
    "reversed": lambda A: A[::-1, ::-1],
    "strided": lambda A: np.repeat(np.repeat(A, 2, axis=0), 3, axis=1)[::2, ::3],
    "one row, repeated": lambda A: np.broadcast_to(A[:1], A.shape),
    "read-only": read_only,
    "memory map": memory_map,
    "masked": lambda A: np.ma.masked_array(A, mask=np.isnan(A)),
    "matrix": np.asmatrix,
    "list": np.ndarray.tolist,
    "tuple of arrays": tuple,
    "ragged": lambda A: [*A.tolist(), [0.0] * 99],
    "pandas": frame,
    "pandas, object": lambda A: frame(A.astype(object)),
    "pandas, nullable": lambda A: frame(A).convert_dtypes(),
    "pandas, categories": lambda A: frame(A).astype("category"),
    "pandas, duplicate names": lambda A: pd.DataFrame(A, columns=["x"] * A.shape[1]),
    "pandas, sparse": lambda A: frame(A).astype(pd.SparseDtype(float, 0.0)),
    "polars": polars_frame,
    "polars, null": lambda A: polars_frame(A).fill_nan(None),
    "one dimension": np.ravel,
    "three dimensions": lambda A: A[:, :, np.newaxis],
    "a number": lambda A: 3.0,
    "None": lambda A: None,
    "text": lambda A: "text",
    "set": lambda A: set(A.ravel().tolist()),
    "dictionary": lambda A: dict(enumerate(A)),
    "generator": iter,
}
FORMATS = {
    f"{form}_{kind}": getattr(sp, f"{form}_{kind}")
    for form in ("csr", "csc", "coo", "dok", "lil", "bsr", "dia")
    for kind in ("array", "matrix")
}


def twice(S):
    S.data, S.indices, S.indptr = np.repeat(S.data / 2, 2), np.repeat(S.indices, 2), 2 * S.indptr


def backwards(S):
    S.data, S.indices, S.indptr = S.data[::-1], S.indices[::-1], (S.indptr[-1] - S.indptr)[::-1]


def long_indices(S):
    S.indices, S.indptr = S.indices.astype(np.int64), S.indptr.astype(np.int64)


def explicit_zeros(S):
    S.data[::2] = 0.0


def spare_room(S):
    S.data, S.indices = np.append(S.data, nan), np.append(S.indices, 2**30).astype(S.indices.dtype)


def index_too_large(S):
    S.indices[-1] = max(S.shape)


def index_negative(S):
    S.indices[0] = -1


def index_far_away(S):
    long_indices(S)
    S.indices[0] = 2**62


def indptr_falling(S):
    S.indptr[len(S.indptr) // 2] += S.nnz + 1


def indptr_too_long(S):
    S.indptr = np.append(S.indptr, S.indptr[-1])


def indptr_too_short(S):
    S.indptr = S.indptr[:-1]


def indptr_beyond(S):
    S.indptr[-1] += 1000


def indptr_from_one(S):
    S.indptr[0] = 1


def data_too_short(S):
    S.data = S.data[:-1]


def indices_too_short(S):
    S.indices = S.indices[:-1]


WELL_FORMED = [twice, backwards, long_indices, explicit_zeros, spare_room]
MALFORMED = [
    *(index_too_large, index_negative, index_far_away, indptr_falling, indptr_too_long, indptr_too_short),
    *(indptr_beyond, indptr_from_one, data_too_short, indices_too_short),
]


def stored(A, change, make=sp.csr_array):
    """Return a compressed array whose three arrays a function has changed, unchecked."""
    S = make(A)
    S.data, S.indices, S.indptr = S.data.copy(), S.indices.copy(), S.indptr.copy()
    change(S)
    return S


CONTAINERS = {
    **DENSE,
    **FORMATS,
    **{
        f"{make.__name__}, {change.__name__}": lambda A, change=change, make=make: stored(A, change, make)
        for change, make in itertools.product(WELL_FORMED + MALFORMED, [sp.csr_array, sp.csc_array])
    },
}
PLAIN = ["array", "f4", "csr_array"]


def put_into(container, A):
    """Return what a container makes of an array, or the array where it cannot hold it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return container(A)
        except Exception:
            return A


# -- targets, weights, classes ----------------------------------------------------------------------------------------

LABELS = [(0, 1), (0, 1, 2), (-1, 1), ("a", "b"), ("a", "b", "c"), (False, True), (0.0, 2.0), (0, 10**18)]
ODD_LABELS = [
    *(*LABELS, (5,), (1, 2, 3, -1e3), (0, "a"), (0, None), (0.0, nan), (0.5, 1.0)),
    *((1j, 2j), (b"a", b"b"), ((0,), (1,)), (None,), ("", "a")),
]
ODD_CLASSES = [*LABELS, (5,), np.array([0, 1]), (1, 0, 1), None, [], 3, "ab", [[0, 1]], [0, nan], [0, "a"], [0, None]]
WEIGHTS = [[0, 1, 2], [0.5, 1.0, 2.0], [0.0, 1.0], [1e-300, 5e-324, 1e-3], [1.0, 1e300], [1.0, -1.0], [1.0, nan, inf]]
ODD_WEIGHTS = [0, 1, 2.5, -1.0, nan, "1", True]


def series(y):
    return pd.Series(y) if y.ndim == 1 else pd.DataFrame(y)


TARGET_CONTAINERS = {
    "array": np.asarray,
    **{dtype: as_type(dtype) for dtype in DTYPES},
    "strided": lambda y: np.repeat(y, 2, axis=0)[::2],
    "reversed": lambda y: y[::-1],
    "read-only": read_only,
    "list": np.ndarray.tolist,
    "pandas": series,
    "pandas, nullable": lambda y: series(y).convert_dtypes(),
    "pandas, categories": lambda y: series(y).astype("category"),
    "polars": lambda y: pl.Series(y.tolist(), strict=False) if y.ndim == 1 else pl.DataFrame(y.tolist(), strict=False),
    "column": lambda y: y.reshape(-1, 1),
    "row": lambda y: y.reshape(1, -1),
    "cube": lambda y: y.reshape(-1, 1, 1),
    "one short": lambda y: y[1:],
    "one": lambda y: y[0],
    "sparse": lambda y: sp.csr_array(as_type(float)(y).reshape(len(y), -1)),
    "malformed": lambda y: stored(as_type(float)(y).reshape(len(y), -1) + 1.0, index_far_away),
    "None": lambda y: None,
}

# -- calls ------------------------------------------------------------------------------------------------------------

rng = np.random.default_rng(0)
any_bits = np.frombuffer(rng.bytes(8000))
NUMBERS = {
    "tame": np.round(rng.normal(size=100) * rng.choice([1, 3, 10], size=100), 1),
    "counts": [0.0, 1.0, 2.0, 3.0],
    "large": [0.0, 1.0, -1e16, 1e19, 1e38, 1e39, 1e150],
    "huge": [0.0, 1.0, 1e150, -1e300, 1e300, sys.float_info.max],
    "tiny": [0.0, -0.0, 1e-30, 1e-150, -1e-300, 1e-300, 2e-308, 5e-324],
    "any": any_bits[np.isfinite(any_bits)],
    "not finite": [0.0, 1.0, nan, inf, -inf],
}
# What may be unusual in an example. Were more than two things, nearly all examples would end in errors.
ASPECTS = ["shape", "numbers", "container", "target", "target's container", "weight", "objects", "classes", "columns"]
KINDS = list(itertools.product([GDRegressor, GDClassifier], LABELS, [PLAIN]))


@dataclass
class Call:
    """A call of ``fit`` or ``partial_fit``, and rows to predict after it."""

    method: str
    parameters: dict[str, Any]  # set before
    data: dict[str, Any]
    X_new: Any


@st.composite
def sequences(draw, kinds=KINDS, aspects=ASPECTS, names=None):
    """Kinds of estimators, and calls to make one after the other."""
    unusual = draw(st.sets(one_of(aspects), max_size=2))
    estimator, labels, _ = kind = draw(one_of(kinds))
    n_columns = draw(one_of([0, 1] if "shape" in unusual else [1, 2, 3, 5]))

    def call():
        method = draw(one_of(["fit", "partial_fit"]))
        n = n_columns + draw(one_of([0, 1])) if "columns" in unusual else n_columns
        data = draw(rows(unusual, kind, n, 12))
        if method == "fit" and draw(one_of([False, False, True])):
            data |= {f"{name}_val": value for name, value in draw(rows(unusual, kind, n, 4)).items()}
        if method == "partial_fit" and estimator is GDClassifier:
            data["classes"] = draw(one_of(ODD_CLASSES)) if "classes" in unusual else list(labels)
        return Call(
            method, draw(parameters(estimator, names, "objects" in unusual)), data, draw(rows(unusual, kind, n, 3))["X"]
        )

    return estimator, [call() for _ in range(draw(st.integers(1, 3)))]


@st.composite
def rows(draw, unusual, kind, n_columns, n_rows):
    """X, y and weights."""
    estimator, labels, containers = kind
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))  # faster than to draw each number

    def some(values, *shape):
        plain = len(set(map(type, values))) == 1 and not isinstance(values[0], tuple)
        pool = np.array(values) if plain else np.fromiter(values, dtype=object)
        return pool[rng.integers(len(pool), size=shape)]

    n_rows = draw(one_of([0, 1, 2])) if "shape" in unusual else n_rows
    numbers = NUMBERS[draw(one_of(NUMBERS)) if "numbers" in unusual else "tame"]
    X = some(numbers, n_rows, n_columns)
    y = np.abs(some(numbers, n_rows)) if estimator is GDRegressor else some(labels, n_rows)
    weight = None
    if "target" in unusual:
        several = NUMBERS["tame"] if estimator is GDRegressor else [0, 1]
        y = draw(one_of([some(several, n_rows, draw(st.integers(0, 3))), some(draw(one_of(ODD_LABELS)), n_rows)]))
    if "target's container" in unusual:
        y = put_into(TARGET_CONTAINERS[draw(one_of(TARGET_CONTAINERS))], y)
    if "weight" in unusual:
        weight = some(draw(one_of(WEIGHTS)), n_rows)
        odd_container = put_into(TARGET_CONTAINERS[draw(one_of(TARGET_CONTAINERS))], weight)
        weight = draw(one_of([weight, weight, weight, weight, odd_container, *ODD_WEIGHTS]))
    container = CONTAINERS[draw(one_of(CONTAINERS if "container" in unusual else containers))]
    return {"X": put_into(container, X), "y": y, "sample_weight": weight}


# -- the outcome ------------------------------------------------------------------------------------------------------

# What NumPy and Python say of their own troubles, which is no help to those who made the call.
UNHELPFUL = re.compile(
    "broadcast|out of bounds|zero-size|truth value|operand|has no attribute|object is not|not supported between|"
    "must be real number, not|only length-1|math domain|division|unhashable|ufunc|casting|shape mismatch|overflow|"
    "NoneType|dimension mismatch",
    re.IGNORECASE,
)
STRATEGIES = [*OPTIMIZERS.values(), *SCHEDULES.values(), *REGRESSOR_LOSSES.values(), *CLASSIFIER_LOSSES.values()]
NAMES = {"X", "y", "sample_weight", "classes", "X_val", "y_val", "sample_weight_val", *PARAMETERS_OF[GDClassifier]}
for kind in STRATEGIES:
    NAMES |= {kind.__name__, *kind().get_params(deep=False)}
NAMED = re.compile(rf"\b({'|'.join(sorted(NAMES))})\b|0 (sample|feature)\(s\)")


def content(value):
    """Return bytes that tell whether a value has changed."""
    if sp.issparse(value):
        names = ("data", "indices", "indptr", "coords", "offsets", "rows", "shape", "_dict")
        value = [getattr(value, name, None) for name in names]
    if isinstance(value, (pd.Series, pd.DataFrame)):  # whose pickles hold caches, in earlier versions
        value = value.to_csv(), str(value.dtypes)
    return pickle.dumps(value) if not hasattr(value, "__next__") else b"a generator"


def contents(values):
    return {name: content(value) for name, value in values.items()}


def attempt(model, method, **inputs):
    """Call a method and return its result, or None where it raised an error that helps.

    The inputs stay as they were; after an error, the model, too.
    """
    before, inputs_before = contents(vars(model)), contents(inputs)
    result = None
    try:
        result = getattr(model, method)(**inputs)
    except (ValueError, TypeError) as error:
        message = str(error)
        assert NAMED.search(message), message
        assert not UNHELPFUL.search(message), message
        assert contents(vars(model)) == before
    assert contents(inputs) == inputs_before
    return result


def check_learned(model, n_columns):
    sizes = [n_columns, *(len(intercept) for intercept in model.intercepts_)]
    assert [coef.shape for coef in model.coefs_] == list(itertools.pairwise(sizes))
    assert all(np.isfinite(part).all() for part in (*model.coefs_, *model.intercepts_))
    for name in ("objective", "loss", "gradient_norm", "learning_rate"):
        assert not np.isnan(model.history_[name]).any(), name


def check_predicted(model, X):
    predicted = attempt(model, "predict", X=X)
    if predicted is None:
        return
    n_rows, n_outputs = len(predicted), len(model.intercepts_[-1])
    if isinstance(model, GDRegressor):
        assert predicted.shape in {(n_rows,), (n_rows, n_outputs)}
        assert np.isfinite(predicted).all()
        return
    labels = np.isin(predicted, model.classes_ if predicted.ndim == 1 else [0, 1])
    assert labels.all()
    assert np.isfinite(model.decision_function(X)).all()
    if hasattr(model, "predict_proba"):
        probability = model.predict_proba(X)
        assert probability.shape == (n_rows, len(model.classes_))
        assert (probability >= 0.0).all()
        assert (probability <= 1.0).all()
        if predicted.ndim == 1:
            np.testing.assert_allclose(probability.sum(axis=1), 1.0, rtol=1e-5)
        assert not np.isnan(model.predict_log_proba(X)).any()


def check_score(model, X, y):
    """Check what scikit-learn makes of predictions: it may well be overcharged by numbers as large as ours."""
    with warnings.catch_warnings(), suppress(ValueError, TypeError):
        warnings.simplefilter("ignore")
        score = model.score(X, y)
        assert np.isnan(score) or score <= 1.0


def judge(estimator, calls):
    """Make the calls, one after the other, with one model, and check what each ends in."""
    model = estimator()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*feature names")  # scikit-learn's: other ones than before
        warnings.filterwarnings("ignore", message="Support for labels represented as bytes")  # scikit-learn 1.6's
        warnings.filterwarnings("ignore", message="y has .* columns with exactly one 1 in each row")
        warnings.filterwarnings("ignore", message="learning_rate=.* of the estimator is used, not")
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.simplefilter("ignore", DataConversionWarning)
        for call in calls:
            model.set_params(**call.parameters)
            if attempt(model, call.method, **call.data) is not None:
                check_learned(model, model.n_features_in_)
                check_predicted(model, call.data["X"])
                check_score(model, call.data["X"], call.data["y"])
            if hasattr(model, "coefs_"):
                check_predicted(model, call.X_new)


@fuzzing(0.7)
@given(sequences())
def test_each_call_ends_in_a_valid_model_or_an_error_that_helps(sequence):
    judge(*sequence)


@fuzzing(0.1)
@given(st.data())
def test_a_value_that_is_not_allowed_is_named(data):
    estimator = data.draw(one_of(PARAMETERS_OF))
    name = data.draw(one_of(PARAMETERS_OF[estimator]))
    value = data.draw(one_of(PARAMETERS_OF[estimator][name][1]))
    others = set(PARAMETERS) - {"l1_ratio", "early_stopping"}  # which need data, or other parameters, of their own
    model = estimator(**data.draw(parameters(estimator, others)) | {name: value})
    with pytest.raises((ValueError, TypeError), match=rf"\b{name}\b") as information:
        model.fit([[0.0], [1.0], [3.0]], [1, 2, 1])
    assert not UNHELPFUL.search(str(information.value))


# -- compiled loops ---------------------------------------------------------------------------------------------------

# Sparse rows tell the loops where to read and write. Dense ones and streams, the other precision and numbers of outputs
# take half a minute to compile: only where there are more examples.
SPARSE_ROWS = [(GDClassifier, (0, 1, 2), ["csr_array", "csr_array, twice", "csr_array, backwards"])]
OTHER_ROWS = [
    (GDRegressor, LABELS[0], ["array", "csr_array, long_indices"]),
    (GDClassifier, ("a", "b", "c"), ["f4"]),
]
IN_LOOPS = {
    "kinds": SPARSE_ROWS + OTHER_ROWS if N_EXAMPLES else SPARSE_ROWS,
    "aspects": ["numbers", "weight", "columns", *(["shape"] if N_EXAMPLES else [])],
    "names": ["alpha", "l1_ratio", "max_grad_norm", "average", "max_iter", "tol", "shuffle", "warm_start"],
}


@pytest.mark.parametrize("mode", ["NUMBA_DISABLE_JIT", "NUMBA_BOUNDSCHECK"])
def test_compiled_loops_stay_within_bounds(mode, tmp_path):
    """As plain Python, where NumPy checks the bounds, with all strategies; and compiled, with bounds checked."""
    pytest.importorskip("numba")
    environment = {
        **os.environ,
        mode: "1",
        "NUMBA_CACHE_DIR": str(tmp_path),
        "PYTHONPATH": str(Path(__file__).parents[1]),
    }
    result = subprocess.run([sys.executable, __file__, mode], env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


def judge_compiled(estimator, calls):
    """Judge loops that are compiled however small the problem; an index out of bounds would make them be left."""
    with mock.patch.object(skgd.engines, "REPAYS_SECONDS", 0.0):
        judge(estimator, calls)
    assert not skgd.engines._cannot_compile


if __name__ == "__main__":
    strategy = sequences() if sys.argv[1] == "NUMBA_DISABLE_JIT" else sequences(**IN_LOOPS)
    fuzzing(0.1, deadline=None)(given(strategy)(lambda sequence: judge_compiled(*sequence)))()
