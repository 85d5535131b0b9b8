"""ONNX: models that predict where there is no Python.

To import this module is to tell skl2onnx how `GDClassifier` and `GDRegressor` are converted, alone and inside of
pipelines, grid searches and other estimators that skl2onnx knows. The graph has the model's layers, and the link of its
loss: what ``predict`` and ``predict_proba`` return, in the precision of the input that the conversion declares.

The options are those of scikit-learn's classifiers in skl2onnx: ``zipmap``, ``nocl``, ``output_class_labels`` and
``raw_scores``, with which the second output is that of ``decision_function`` instead of probabilities. It is so, too,
where the loss estimates none, such as hinge. With two classes, it has a column for each: the score and its negative.

Examples
--------
>>> from skl2onnx import to_onnx
>>> from sklearn.datasets import load_iris
>>> from sklearn.pipeline import make_pipeline
>>> from sklearn.preprocessing import PolynomialFeatures
>>> import skgd.onnx
>>> from skgd import GDClassifier
>>> X, y = load_iris(return_X_y=True)
>>> X = X.astype("float32")
>>> model = make_pipeline(PolynomialFeatures(), GDClassifier(random_state=0))
>>> model = model.fit(X, y)
>>> onnx_model = to_onnx(model, X[:1], options={"zipmap": False})
>>> [output.name for output in onnx_model.graph.output]
['label', 'probabilities']
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.special import expit
from sklearn.utils.validation import check_is_fitted

from skgd import activations
from skgd.estimators import GDClassifier, GDRegressor
from skgd.losses import ModifiedHuber
from skgd.strategy import plain_repr

try:
    from skl2onnx import update_registered_converter
    from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType, Int64TensorType, StringTensorType
    from skl2onnx.common.utils_classifier import get_label_classes
    from skl2onnx.proto import onnx_proto
except ImportError as error:
    raise ImportError("skgd.onnx needs skl2onnx, which is not installed: pip install skgd[onnx]") from error

__all__ = ["register"]

_TENSOR: dict[type, Any] = {
    np.float32: onnx_proto.TensorProto.FLOAT,
    np.float64: onnx_proto.TensorProto.DOUBLE,
    np.int64: onnx_proto.TensorProto.INT64,
    np.str_: onnx_proto.TensorProto.STRING,
}


class _Graph:
    """What a converter adds to: ``graph("MatMul", x, coef)`` adds a node and returns the name of its output."""

    def __init__(self, scope: Any, operator: Any, container: Any):
        self._scope, self._container = scope, container
        self.dtype: type = np.float64 if _float_type(operator) is DoubleTensorType else np.float32

    def __call__(self, kind: str, *inputs: Any, output: str | None = None, **attributes: Any) -> str:
        """Add a node; inputs are names, or numbers and arrays, which become constants."""
        names = [value if isinstance(value, str) else self.constant(value) for value in inputs]
        output = output or self._scope.get_unique_variable_name(kind.lower())
        name = self._scope.get_unique_operator_name(kind)
        self._container.add_node(kind, names, [output], name=name, **attributes)
        return output

    def constant(self, value: Any) -> str:
        """Add a constant: labels or positions as they are, any other number in the precision of the graph."""
        array = np.asarray(value)
        array = array.astype(self.dtype) if array.dtype.kind == "f" else array
        name = self._scope.get_unique_variable_name("constant")
        content = [label.encode() for label in array.tolist()] if array.dtype.kind == "U" else array.ravel()
        self._container.add_initializer(name, _TENSOR[array.dtype.type], array.shape, content)
        return name

    def cast(self, name: str, dtype: type, output: str | None = None) -> str:
        return self("Cast", name, to=_TENSOR[dtype], output=output)


# ---------------------------------------------------------------------------------------------------------------------
# Activations, and links of losses, by the function that each stands for: a custom class may have the same one
# ---------------------------------------------------------------------------------------------------------------------


def _leaky_relu(graph: _Graph, z: str, slope: float) -> str:
    return graph("Max", z, graph("Mul", z, slope))


def _elu(graph: _Graph, z: str, alpha: float) -> str:
    below = graph("Sub", graph("Exp", graph("Min", z, 0.0)), 1.0)
    return graph("Add", graph("Max", z, 0.0), graph("Mul", below, alpha))


def _gelu(graph: _Graph, z: str) -> str:
    # onnxruntime has no error function of doubles.
    error_function = graph.cast(graph("Erf", graph.cast(graph("Mul", z, math.sqrt(0.5)), np.float32)), graph.dtype)
    return graph("Mul", graph("Mul", z, 0.5), graph("Add", error_function, 1.0))


def _silu(graph: _Graph, z: str) -> str:
    # Not by the operator Sigmoid: onnxruntime 1.20 fuses the two into one that it has not for doubles.
    sigmoid = graph("Add", graph("Mul", graph("Tanh", graph("Mul", z, 0.5)), 0.5), 0.5)
    return graph("Mul", z, sigmoid)


_ACTIVATIONS: dict[Callable, Callable[..., str]] = {
    activations.Identity.value: lambda graph, z: z,
    activations.ReLU.value: lambda graph, z: graph("Relu", z),
    activations.LeakyReLU.value: _leaky_relu,
    activations.ELU.value: _elu,
    activations.Tanh.value: lambda graph, z: graph("Tanh", z),
    activations.Logistic.value: lambda graph, z: graph("Sigmoid", z),
    activations.SiLU.value: _silu,
    activations.GELU.value: _gelu,
}


def _clipped(graph: _Graph, scores: str) -> str:
    smallest = float(np.finfo(graph.dtype).eps)
    return graph("Clip", graph("Mul", graph("Add", scores, 1.0), 0.5), smallest, 1.0 - smallest)


_PROBABILITIES: dict[Callable, Callable[[_Graph, str], str]] = {
    expit: lambda graph, scores: graph("Sigmoid", scores),
    ModifiedHuber.probability: _clipped,
}


# ---------------------------------------------------------------------------------------------------------------------
# The converters
# ---------------------------------------------------------------------------------------------------------------------


def _raw(graph: _Graph, model: Any, operator: Any) -> str:
    """Add the layers; return the name of the raw prediction, (rows, outputs)."""
    inputs = [
        variable.full_name
        if isinstance(variable.type, _float_type(operator))
        else graph.cast(variable.full_name, graph.dtype)
        for variable in operator.inputs
    ]
    signal = inputs[0] if len(inputs) == 1 else graph("Concat", *inputs, axis=1)
    *hidden, last = model._layers()
    activation = model._state.objective.activation
    if hidden and activation.value not in _ACTIVATIONS:
        raise ValueError(
            f"ONNX has no operator for activation={plain_repr(activation)}. Only the activations of skgd.activations "
            "can be converted."
        )
    for coef, intercept in hidden:
        signal = graph("Gemm", signal, coef, intercept)
        signal = _ACTIVATIONS[activation.value](graph, signal, *activation.hyper())
    return graph("Gemm", signal, *last)


def _convert_regressor(scope: Any, operator: Any, container: Any) -> None:
    model, graph = operator.raw_operator, _Graph(scope, operator, container)
    link = "Exp" if model.loss_.log_link else "Identity"
    graph(link, _raw(graph, model, operator), output=operator.outputs[0].full_name)


def _convert_classifier(scope: Any, operator: Any, container: Any) -> None:
    model, graph = operator.raw_operator, _Graph(scope, operator, container)
    label, second = (variable.full_name for variable in operator.outputs[:2])
    scores = _raw(graph, model, operator)
    binary = len(model.classes_) == 2 and not model._multilabel
    both = graph("Concat", graph("Neg", scores), scores, axis=1) if binary else scores
    if model._multilabel:
        graph.cast(graph("Greater", scores, 0.0), np.int64, output=label)
    else:  # of scores: probabilities may be so close to one that they are equal
        graph("Gather", _labels(scope, model), graph("ArgMax", both, axis=1, keepdims=0), output=label)
    kind = type(model.loss_)
    if container.get_options(model, {"raw_scores": False})["raw_scores"]:
        graph("Identity", both, output=second)
    elif kind.normalized:
        graph("Softmax", scores, axis=1, output=second)
    elif kind.probability is None:
        graph("Identity", both, output=second)
    elif kind.probability in _PROBABILITIES:
        positive = _PROBABILITIES[kind.probability](graph, scores)
        if binary:
            graph("Concat", graph("Sub", 1.0, positive), positive, axis=1, output=second)
        elif model._multilabel:
            graph("Identity", positive, output=second)
        else:  # one-vs-rest
            graph("LpNormalization", positive, axis=1, p=1, output=second)
    else:
        raise ValueError(
            f"ONNX has no operator for the probabilities of loss={plain_repr(model.loss_)}. "
            "Pass options={'raw_scores': True} to convert its scores."
        )


def _labels(scope: Any, model: Any) -> np.ndarray:
    """Return the classes as ONNX knows labels: integers or strings."""
    classes = get_label_classes(scope, model)
    if all(isinstance(label, str) for label in classes):
        return np.asarray(classes, dtype=str)
    try:
        labels = np.asarray(classes).astype(np.int64)
        whole = bool((labels == classes).all())
    except (TypeError, ValueError):
        whole = False
    if not whole:
        raise ValueError(
            f"ONNX has 64-bit integers and strings for labels, but the classes are {plain_repr(model.classes_)}. Train "
            "with such labels (sklearn.preprocessing.LabelEncoder makes them), or pass options={'nocl': True} for "
            "their positions in classes_."
        )
    return labels


def _set_regressor_shapes(operator: Any) -> None:
    check_is_fitted(operator.raw_operator)
    n_rows, n_outputs = operator.inputs[0].get_first_dimension(), len(operator.raw_operator._layers()[-1][1])
    operator.outputs[0].set_type(_float_type(operator)([n_rows, n_outputs]))


def _set_classifier_shapes(operator: Any) -> None:
    model = operator.raw_operator
    check_is_fitted(model)
    n_rows, n_classes = operator.inputs[0].get_first_dimension(), len(model.classes_)
    if model._multilabel:
        label: Any = Int64TensorType([n_rows, n_classes])
    else:
        text = _labels(operator.scope_inst, model).dtype.kind == "U"
        label = (StringTensorType if text else Int64TensorType)([n_rows])
    operator.outputs[0].set_type(label)
    operator.outputs[1].set_type(_float_type(operator)([n_rows, n_classes]))


def _float_type(operator: Any) -> type:
    """Return the type that the graph computes in: doubles, if any input has them."""
    double = any(isinstance(variable.type, DoubleTensorType) for variable in operator.inputs)
    return DoubleTensorType if double else FloatTensorType


def register() -> None:
    """Tell skl2onnx how to convert the estimators; done once when this module is imported.

    Examples
    --------
    >>> import skgd.onnx
    >>> skgd.onnx.register()
    """
    options = {
        "zipmap": [True, False, "columns"],
        "nocl": [True, False],
        "output_class_labels": [False, True],
        "raw_scores": [True, False],
    }
    update_registered_converter(
        GDClassifier, "SkgdGDClassifier", _set_classifier_shapes, _convert_classifier, options=options
    )
    update_registered_converter(GDRegressor, "SkgdGDRegressor", _set_regressor_shapes, _convert_regressor)


register()
