"""Fitted parameters: where they come from if an estimator does not hold them, and whether training left them so.

Streams of many parameters make them when they are asked for, and so need not look at them in each call. These are wide
streams, and those of networks.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from skgd.lazy_stream import LazyStream
from skgd.measuring import Matrix
from skgd.networks import Layer
from skgd.strategy import plain_repr
from skgd.stream import Stream
from skgd.wide import WideStream

_PARAMETERS = "coef_", "intercept_", "coefs_", "intercepts_"
ON_DEMAND = *_PARAMETERS, "_fingerprint"


class Absent:
    """What a fitted attribute is where an estimator does not hold it: a descriptor that its own attributes hide."""

    def __init__(self, read: Callable[[Any, str], Any]):
        self._read = read

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, estimator: Any, owner: type) -> Any:
        if estimator is None:
            return self
        if not hasattr(estimator, "_state"):
            raise AttributeError(f"{owner.__name__!r} object has no attribute {self._name!r}")
        return self._read(estimator, self._name)


def is_untouched(attributes: Mapping[str, Any]) -> bool:
    """Say whether the fitted parameters are those that training has published, or would publish if asked."""
    if attributes["_state"].on_demand and attributes.keys().isdisjoint(_PARAMETERS):
        return True
    fingerprint = attributes.get("_fingerprint")
    return fingerprint is not None and fingerprint == fingerprint_of(*parameters_in(attributes))


def _made(estimator: Any, name: str) -> Any:
    """Return an attribute of a stream, and keep it and the others."""
    attributes = vars(estimator)  # of this moment: what another thread trains meanwhile comes with others
    with np.errstate(all="ignore"):
        state, layers = estimator._read_state(lambda state: state.published())
    parameters = estimator._parameter_attributes(layers)
    if attributes["_state"] is state:
        for key, value in with_fingerprint(parameters).items():
            attributes.setdefault(key, value)  # another one may have been set from outside
    return parameters[name]


def coefficients(estimator: Any, name: str) -> np.ndarray:
    """Return an attribute of the linear model, which a wide stream makes when it is asked for."""
    if isinstance(estimator._state, WideStream):
        return _made(estimator, name)
    raise AttributeError(
        f"{name} is for linear models. With hidden_layer_sizes={plain_repr(estimator.hidden_layer_sizes)}, coefs_ "
        "and intercepts_ list the coefficients and intercepts of each layer."
    )


def of_all_layers(estimator: Any, name: str) -> list[np.ndarray]:
    """Return what layers consist of: in linear models a list of one array, in the stream of a network one made now."""
    if estimator._state.objective.hidden_layer_sizes and estimator._state.on_demand:
        return _made(estimator, name)
    return [layer[name == "intercepts_"] for layer in estimator._layers()]


def layers_shown(estimator: Any, fitted: Mapping[str, Any], X: Matrix) -> tuple[list[Layer], Matrix]:
    """Return the layers to predict with, from a copy of an estimator's attributes, and rows for them, X or the same."""
    coefs, intercepts = fitted.get("coefs_"), fitted.get("intercepts_")
    if coefs is None and intercepts is None and fitted["_state"].on_demand:
        if isinstance(fitted["_state"], LazyStream):
            return estimator._read_state(lambda state: state.shown_for(X))[1]
        return fitted["_state"].published(), X
    coefs = estimator.coefs_ if coefs is None else coefs
    return list(zip(coefs, estimator.intercepts_ if intercepts is None else intercepts, strict=True)), X


def to_be_saved(estimator: Any, attributes: dict[str, Any]) -> dict[str, Any]:
    """Return the attributes of a pickle: a wide stream is loaded as one, and that of a network as another state."""
    state = attributes.get("_state")
    if isinstance(state, WideStream) and is_untouched(attributes):
        return {name: value for name, value in attributes.items() if name not in ON_DEMAND}
    if isinstance(state, (Stream, LazyStream)) and state.on_demand:
        return with_fingerprint(estimator._parameter_attributes(state.published())) | attributes
    return attributes


def with_fingerprint(parameters: dict[str, Any]) -> dict[str, Any]:
    """Return attributes with that by which a change is noticed."""
    return parameters | {"_fingerprint": fingerprint_of(*parameters_in(parameters))}


def parameters_in(attributes: Mapping[str, Any]) -> list[Any]:
    """Return the fitted parameters among the attributes of an estimator."""
    if "coef_" in attributes:
        return [attributes["coef_"], attributes["intercept_"]]
    return [*attributes["coefs_"], *attributes["intercepts_"]]


def fingerprint_of(*arrays: Any) -> int | None:
    """Return a number that changes with arrays, or None where they are not plain ones."""
    fingerprint = 0
    for array in arrays:
        if type(array) is not np.ndarray or not array.flags.c_contiguous:
            return None
        fingerprint = zlib.crc32(array.data, fingerprint)
    return fingerprint
