"""Arrays of other libraries: converted on the CPU, dispatched or not, or refused in a sentence."""

import warnings

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from sklearn import config_context
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skgd import GDClassifier, GDRegressor

rng = np.random.default_rng(0)
X = rng.normal(size=(60, 3))
TARGET = X @ [1.0, -2.0, 0.5] + 0.1 * rng.normal(size=60)
LABELS = np.digitize(TARGET, [-1.0, 1.0])
WEIGHT = rng.uniform(0.5, 2.0, size=60)
Y = {GDClassifier: LABELS, GDRegressor: TARGET}


class OnDevice:
    """As CuPy's arrays: no conversion that is not asked for, by ``get``."""

    def __init__(self, values):
        self._values = np.asarray(values)
        self.shape, self.dtype, self.ndim = self._values.shape, self._values.dtype, self._values.ndim

    def __array__(self, *args, **kwargs):
        raise TypeError("Implicit conversion to a NumPy array is not allowed.")

    def __dlpack__(self, **kwargs):
        raise BufferError("not on the CPU")

    def __len__(self):
        return len(self._values)

    def get(self):
        return self._values.copy()


class Standard:
    """An array of some library that knows the exchange format and nothing else of NumPy."""

    def __init__(self, values):
        self._values = np.asarray(values)

    def __array__(self, *args, **kwargs):
        raise RuntimeError("not by this way")

    def __dlpack__(self, **kwargs):
        return self._values.__dlpack__(**kwargs)

    def __dlpack_device__(self):
        return self._values.__dlpack_device__()


def strict(values):
    xp = pytest.importorskip("array_api_strict", reason="array-api-strict is not installed")
    return xp.asarray(values)


LIBRARIES = {
    "PyTorch": torch.asarray,
    "PyTorch, with gradients": lambda values: (
        torch.asarray(values).requires_grad_() if np.asarray(values).dtype.kind == "f" else torch.asarray(values)
    ),
    "array_api_strict": strict,
    "as CuPy": OnDevice,
    "any": Standard,
}
libraries = pytest.mark.parametrize("library", LIBRARIES)
both_estimators = pytest.mark.parametrize("estimator", [GDClassifier, GDRegressor])
dispatches = pytest.mark.parametrize("dispatch", [False, True])


@libraries
@both_estimators
@dispatches
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_arrays_of_other_libraries(library, estimator, dispatch, dtype):
    of = LIBRARIES[library]
    A, y, few = X.astype(dtype), Y[estimator], {"max_iter": 5, "tol": None, "random_state": 0}
    expected = estimator(**few).fit(A, y, WEIGHT, A[:20], y[:20], WEIGHT[:20])
    classes = {} if estimator is GDRegressor else {"classes": np.unique(y)}
    stream = estimator(**few).partial_fit(A, y, sample_weight=WEIGHT, **classes)
    with config_context(array_api_dispatch=dispatch), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*__array__ implementation doesn't accept a copy keyword")
        model = estimator(**few).fit(of(A), of(y), of(WEIGHT), of(A[:20]), of(y[:20]), of(WEIGHT[:20]))
        predicted = model.predict(of(A))
        ours = {name: of(values) for name, values in classes.items()}
        streamed = estimator(**few).partial_fit(of(A), of(y), sample_weight=of(WEIGHT), **ours)
        if estimator is GDClassifier:
            assert_array_equal(model.predict_proba(of(A)), expected.predict_proba(A))
    assert type(predicted) is np.ndarray
    assert model.coef_.dtype == dtype
    assert_array_equal(predicted, expected.predict(A))
    for one, other in ((model, expected), (streamed, stream)):
        assert_array_equal(one.coef_, other.coef_)
        assert_array_equal(one.intercept_, other.intercept_)


@dispatches
def test_integers_and_one_of_numpy_beside_one_that_is_not(dispatch):
    whole = np.round(4.0 * X).astype(np.int64)
    expected = GDClassifier(random_state=0).fit(whole, LABELS)
    with config_context(array_api_dispatch=dispatch):
        for A, y in (
            (torch.asarray(whole), LABELS),
            (whole, torch.asarray(LABELS)),
            (whole.tolist(), torch.asarray(LABELS)),
        ):
            assert_array_equal(GDClassifier(random_state=0).fit(A, y).coef_, expected.coef_)
        multilabel = torch.asarray(np.column_stack([LABELS > 0, LABELS > 1]))
        assert GDClassifier().partial_fit(torch.asarray(X), multilabel).predict(X).shape == (60, 2)


def test_inside_of_scikit_learn_s_tools():
    """Metrics take targets of one library and predictions of another from scikit-learn 1.9 on."""
    pytest.importorskip("sklearn", "1.9")
    A, labels, target = torch.asarray(X), torch.asarray(LABELS), torch.asarray(TARGET)
    with config_context(array_api_dispatch=True):
        model = make_pipeline(StandardScaler(), GDRegressor(random_state=0)).fit(A, target)
        assert model.score(A, target) == pytest.approx(r2_score(TARGET, model.predict(A)))
        scores = cross_val_score(GDClassifier(random_state=0), A, labels, cv=3)
        search = GridSearchCV(GDClassifier(random_state=0), {"alpha": [1e-3, 1e-2]}, cv=3, scoring="accuracy")
        search.fit(A, labels)
        assert accuracy_score(LABELS, search.predict(A)) > 0.8
    assert scores == pytest.approx(cross_val_score(GDClassifier(random_state=0), X, LABELS, cv=3))


@both_estimators
def test_what_cannot_be_converted_is_refused_in_a_sentence(estimator):
    model = estimator(random_state=0)
    tensor, y = torch.asarray(X), torch.asarray(Y[estimator])
    before = dict(vars(model))
    for wrong, why in (
        (torch.empty(60, 3, device="meta"), "no data"),
        (tensor.to_sparse(), "to_dense"),
        (tensor.to(torch.bfloat16), "BFloat16"),
    ):
        for dispatch in (False, True):
            with (
                config_context(array_api_dispatch=dispatch),
                pytest.raises(
                    TypeError, match=rf"X is an array of the type torch\.Tensor, .*{why}.*Convert it yourself"
                ),
            ):
                model.fit(wrong, y)
    for name, arguments in (
        ("y", {"y": y.to("meta")}),
        ("sample_weight", {"sample_weight": torch.ones(60, device="meta")}),
        ("X_val", {"X_val": tensor.to("meta"), "y_val": y}),
    ):
        with pytest.raises(TypeError, match=f"^{name} is an array of the type"):
            model.fit(**{"X": tensor, "y": y} | arguments)
    assert vars(model) == before


def test_arrays_are_never_changed():
    A, y = torch.asarray(X), torch.asarray(TARGET)
    before = A.clone(), y.clone()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        clone(GDRegressor(max_iter=3)).fit(A, y)
    assert torch.equal(A, before[0])
    assert torch.equal(y, before[1])
