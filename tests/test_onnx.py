"""Models converted to ONNX predict in onnxruntime what they predict here."""

import subprocess
import sys

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.ensemble import BaggingClassifier, StackingRegressor, VotingClassifier
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import MultiOutputRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, PolynomialFeatures, StandardScaler

from skgd import GDClassifier, GDRegressor
from skgd.activations import ACTIVATIONS, Activation
from skgd.losses import CLASSIFIER_LOSSES, REGRESSOR_LOSSES, LogLoss, Loss, ModifiedHuber

to_onnx = pytest.importorskip("skl2onnx", reason="skl2onnx is not installed").to_onnx
onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
skgd_onnx = pytest.importorskip("skgd.onnx")

rng = np.random.default_rng(0)
X = rng.normal(size=(120, 4)) * [1.0, 0.1, 5.0, 1.0] + [0.0, 0.0, 10.0, 0.0]
SCORE = (X - X.mean(axis=0)) @ [1.0, -9.0, 0.3, 0.0] + 0.5 * rng.normal(size=120)
LABELS = {
    "binary": (SCORE > 0.2).astype(int),
    "multiclass": np.digitize(SCORE, [-1.0, 0.0, 1.0]),
    "multilabel": np.column_stack([SCORE > 0.0, X[:, 3] > 0.3, SCORE < -1.0]).astype(int),
}
TARGETS = {"one": np.exp(0.4 * SCORE), "several": np.exp(0.3 * np.column_stack([SCORE, X[:, 3]]))}
FEW = {"max_iter": 20, "tol": None, "alpha": 1e-3, "random_state": 0}
TOLERANCE = {np.float32: 1e-5, np.float64: 1e-12}

dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def converted(model, X, **options):
    """Return what onnxruntime makes of X, one array an output."""
    onnx_model = to_onnx(model, X[:1], options=options or None)
    session = onnxruntime.InferenceSession(onnx_model.SerializeToString(), providers=["CPUExecutionProvider"])
    assert len(session.get_inputs()) == 1
    return session.run(None, {session.get_inputs()[0].name: X})


def expected_scores(model, X):
    """Return the scores, one column a class."""
    scores = model.decision_function(X)
    return np.column_stack([-scores, scores]) if scores.ndim == 1 else scores


def check_classifier(model, X, tolerance=1e-5, **options):
    label, second = converted(model, X, zipmap=False, **options)
    assert_array_equal(label, model.predict(X))
    estimates = hasattr(model, "predict_proba") and not options.get("raw_scores")
    expected = model.predict_proba(X) if estimates else expected_scores(model, X)
    assert second.dtype == X.dtype
    assert second.shape == expected.shape
    assert_allclose(second, expected, rtol=tolerance, atol=tolerance)


def check_regressor(model, X, tolerance=1e-5):
    (prediction,) = converted(model, X)
    expected = model.predict(X)
    assert prediction.dtype == X.dtype
    assert prediction.shape == (len(X), 1 if expected.ndim == 1 else expected.shape[1])
    assert_allclose(prediction.reshape(expected.shape), expected, rtol=tolerance, atol=tolerance)


@dtypes
@pytest.mark.registry
@pytest.mark.parametrize("raw_scores", [False, True])
@pytest.mark.parametrize("kind", LABELS)
@pytest.mark.parametrize("loss", CLASSIFIER_LOSSES)
def test_classifier_losses(loss, kind, raw_scores, dtype):
    data = X.astype(dtype)
    model = GDClassifier(loss, **FEW).fit(data, LABELS[kind])
    check_classifier(model, data, TOLERANCE[dtype], raw_scores=raw_scores)


@dtypes
@pytest.mark.registry
@pytest.mark.parametrize("kind", TARGETS)
@pytest.mark.parametrize("loss", REGRESSOR_LOSSES)
def test_regressor_losses(loss, kind, dtype):
    data = X.astype(dtype)
    check_regressor(GDRegressor(loss, **FEW).fit(data, TARGETS[kind]), data, TOLERANCE[dtype])


@dtypes
@pytest.mark.registry
@pytest.mark.parametrize("activation", [*ACTIVATIONS.values(), ACTIVATIONS["leaky_relu"], ACTIVATIONS["elu"]])
def test_networks(activation, dtype):
    activation = activation(0.3) if activation().get_params() else activation()
    data, network = X.astype(dtype), FEW | {"hidden_layer_sizes": (7, 5), "activation": activation}
    tolerance = 1e-5 if type(activation) is ACTIVATIONS["gelu"] else TOLERANCE[dtype]
    for y in LABELS.values():
        check_classifier(GDClassifier(**network).fit(data, y), data, tolerance)
    for y in TARGETS.values():
        check_regressor(GDRegressor("poisson", **network).fit(data, y), data, tolerance)


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("kind", LABELS)
def test_sparsified(kind, fit_intercept):
    data = X.astype(np.float32)
    parameters = FEW | {"alpha": 0.05, "l1_ratio": 1.0, "optimizer": "adam", "fit_intercept": fit_intercept}
    check_classifier(GDClassifier(**parameters).fit(data, LABELS[kind]).sparsify(), data)
    check_regressor(GDRegressor(**parameters).fit(data, SCORE).sparsify(), data)


def test_a_stream_and_a_model_whose_parameters_were_set_anew():
    data = X.astype(np.float32)
    model = GDClassifier().partial_fit(data, LABELS["multiclass"], classes=[0, 1, 2, 3])
    check_classifier(model, data)
    model.set_params(loss="hinge", activation="tanh")  # for the next call of fit
    check_classifier(model, data)


@pytest.mark.parametrize(
    "names",
    [
        ["no", "yes"],
        [False, True],
        [-1, 1],
        [-1.0, 1.0],
        [3, 2**40],
        np.array(["a", "b"], dtype=object),
        np.array([3, 7], dtype=np.uint8),
        ["é", "ß", "x", "yy"],
        [10, 20, 30, -40],
    ],
    ids=str,
)
def test_labels(names):
    data, names = X.astype(np.float32), np.asarray(names)
    y = names[LABELS["binary" if len(names) == 2 else "multiclass"]]
    check_classifier(GDClassifier(**FEW).fit(data, y), data)


def test_labels_of_rows_whose_probabilities_are_all_the_same_number():
    """Of scores far above zero, the probabilities of two classes are both one in float32."""
    model = GDClassifier("modified_huber", **FEW).fit(X.astype(np.float32), LABELS["multiclass"])
    model.coef_ = 1000.0 * model.coef_
    check_classifier(model, 10.0 * X.astype(np.float32))


def test_labels_that_onnx_does_not_have():
    data = X.astype(np.float32)
    model = GDClassifier(**FEW).fit(data, np.array([1, 2**63], dtype=np.uint64)[LABELS["binary"]])
    with pytest.raises(ValueError, match=r"integers and strings.*\[1, 9223372036854775808\].*'nocl': True"):
        to_onnx(model, data[:1], options={"zipmap": False})
    label, _ = converted(model, data, zipmap=False, nocl=True)
    assert_array_equal(model.classes_[label], model.predict(data))


@pytest.mark.parametrize("kind", LABELS)
def test_options(kind):
    data = X.astype(np.float32)
    model = GDClassifier(**FEW).fit(data, LABELS[kind])
    expected = model.predict_proba(data)
    label, rows = converted(model, data)
    assert_array_equal(label, model.predict(data))
    assert_allclose([[row[name] for name in model.classes_] for row in rows], expected, rtol=1e-5, atol=1e-6)
    _, *columns = converted(model, data, zipmap="columns")
    assert_allclose(np.column_stack(columns), expected, rtol=1e-5, atol=1e-6)
    *_, labels = converted(model, data, zipmap=False, output_class_labels=True)
    assert_array_equal(labels, model.classes_)
    named = GDClassifier(**FEW).fit(data, np.array(list("abcd"))[LABELS["multiclass"]])
    label, _ = converted(named, data, zipmap=False, nocl=True)
    assert_array_equal(label, named.classes_.searchsorted(named.predict(data)))


def test_inside_other_estimators():
    data, y = X.astype(np.float32), LABELS["multiclass"]
    network = GDClassifier(hidden_layer_sizes=5, **FEW)
    search = GridSearchCV(make_pipeline(StandardScaler(), network), {"gdclassifier__alpha": [1e-4, 1e-2]}, cv=2)
    models = [
        make_pipeline(StandardScaler(), PolynomialFeatures(), GDClassifier(**FEW)),
        GridSearchCV(GDClassifier(**FEW), {"alpha": [1e-4, 1e-2]}, cv=2),
        search,
        CalibratedClassifierCV(GDClassifier("hinge", **FEW), cv=2, method="sigmoid"),
        VotingClassifier([("a", GDClassifier(**FEW)), ("b", network)], voting="soft", flatten_transform=False),
        BaggingClassifier(GDClassifier(**FEW), n_estimators=2, random_state=0),
        OneVsRestClassifier(GDClassifier(**FEW)),
    ]
    for model in models:
        check_classifier(model.fit(data, y), data)
    targets = TARGETS["several"]
    check_regressor(MultiOutputRegressor(GDRegressor(**FEW)).fit(data, targets), data)
    stacked = StackingRegressor([("a", GDRegressor(**FEW)), ("b", LinearRegression())], GDRegressor(**FEW), cv=2)
    check_regressor(stacked.fit(data, SCORE), data)


def test_columns_of_several_kinds():
    pd = pytest.importorskip("pandas")
    from skl2onnx.common.data_types import FloatTensorType, StringTensorType

    table = pd.DataFrame({"size": X[:, 0].astype(np.float32), "color": np.array(["red", "blue"])[LABELS["binary"]]})
    encoder = make_column_transformer((StandardScaler(), ["size"]), (OneHotEncoder(sparse_output=False), ["color"]))
    model = make_pipeline(encoder, GDClassifier(**FEW)).fit(table, LABELS["multiclass"])
    types = [("size", FloatTensorType([None, 1])), ("color", StringTensorType([None, 1]))]
    onnx_model = to_onnx(model, initial_types=types, options={"zipmap": False})
    session = onnxruntime.InferenceSession(onnx_model.SerializeToString(), providers=["CPUExecutionProvider"])
    label, probabilities = session.run(None, {name: table[[name]].to_numpy() for name in table})
    assert_array_equal(label, model.predict(table))
    assert_allclose(probabilities, model.predict_proba(table), atol=1e-5)


def test_integers_and_several_inputs():
    data = np.round(X).astype(np.int64)
    model = GDRegressor(**FEW).fit(data, SCORE)
    (prediction,) = converted(model, data)
    assert prediction.dtype == np.float32
    assert_allclose(prediction.ravel(), model.predict(data), atol=1e-5)
    from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType, Int64TensorType

    types = {np.int64: Int64TensorType, np.float32: FloatTensorType, np.float64: DoubleTensorType}
    for left in types:
        whole = np.round(X[:, :1]).astype(left)
        declared = [("left", types[left]([None, 1])), ("right", DoubleTensorType([None, 3]))]
        onnx_model = to_onnx(model, initial_types=declared)
        session = onnxruntime.InferenceSession(onnx_model.SerializeToString(), providers=["CPUExecutionProvider"])
        (prediction,) = session.run(None, {"left": whole, "right": X[:, 1:]})
        assert prediction.dtype == np.float64
        assert_allclose(prediction.ravel(), model.predict(np.hstack([whole, X[:, 1:]])), atol=1e-12)


@pytest.mark.parametrize("opset", [11, 13, 18])
def test_older_runtimes(opset):
    data = X.astype(np.float32)
    for loss in CLASSIFIER_LOSSES:
        model = GDClassifier(loss, hidden_layer_sizes=3, activation="elu", **FEW).fit(data, LABELS["multiclass"])
        onnx_model = to_onnx(model, data[:1], options={"zipmap": False}, target_opset=opset)
        session = onnxruntime.InferenceSession(onnx_model.SerializeToString(), providers=["CPUExecutionProvider"])
        label, second = session.run(None, {"X": data})
        expected = model.predict_proba(data) if hasattr(model, "predict_proba") else expected_scores(model, data)
        assert_array_equal(label, model.predict(data))
        assert_allclose(second, expected, atol=1e-5)


class Cauchy(Loss):
    @staticmethod
    def value(y, raw, hyper):
        return np.log1p((raw - y) ** 2)

    @staticmethod
    def gradient(y, raw, hyper):
        return 2.0 * (raw - y) / (1.0 + (raw - y) ** 2)


class Focused(LogLoss):
    """A loss of one's own whose probability is a function that is known."""

    def multiclass(self):
        return self


class Odd(ModifiedHuber):
    @staticmethod
    def probability(raw):
        return 0.5 + np.arctan(raw) / np.pi


class Sine(Activation):
    @staticmethod
    def value(z, hyper):
        return np.sin(z)

    @staticmethod
    def derivative(z, a, hyper):
        return np.cos(z)


def test_losses_and_activations_of_ones_own():
    data = X.astype(np.float32)
    check_regressor(GDRegressor(Cauchy(), **FEW).fit(data, SCORE), data)
    for y in LABELS.values():
        check_classifier(GDClassifier(Focused(), **FEW).fit(data, y), data)
    model = GDClassifier(Odd(), **FEW).fit(data, LABELS["binary"])
    with pytest.raises(ValueError, match=r"probabilities of loss=Odd\(\).*raw_scores"):
        to_onnx(model, data[:1])
    check_classifier(model, data, raw_scores=True)
    model = GDRegressor(hidden_layer_sizes=3, activation=Sine(), **FEW).fit(data, SCORE)
    with pytest.raises(ValueError, match=r"no operator for activation=Sine\(\)"):
        to_onnx(model, data[:1])


def test_what_is_not_fitted_cannot_be_converted():
    for model, options in ((GDClassifier(), {"zipmap": False}), (GDRegressor(), None)):
        with pytest.raises(NotFittedError):
            to_onnx(model, X[:1].astype(np.float32), options=options)


def test_what_to_install_is_said():
    code = "import sys; sys.modules['skl2onnx'] = None; import skgd; import skgd.onnx"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "ImportError: skgd.onnx needs skl2onnx, which is not installed: pip install skgd[onnx]" in done.stderr


def test_the_package_itself_does_not_import_it():
    code = "import sys, skgd; assert not {'skl2onnx', 'onnx', 'onnxruntime'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], check=True)
