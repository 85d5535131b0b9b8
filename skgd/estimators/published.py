"""Fitted parameters: where they come from if an estimator does not hold them, and whether training left them so."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from skgd.strategy import plain_repr
from skgd.wide import WideStream


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


def coefficients(estimator: Any, name: str) -> np.ndarray:
    """Return an attribute of the linear model, which a wide stream makes when it is asked for."""
    if isinstance(estimator._state, WideStream):
        state, layers = estimator._read_state(WideStream.published)
        parameters = estimator._parameter_attributes(layers)
        if estimator._state is state:
            made = parameters | {"_fingerprint": fingerprint_of(*parameters_in(parameters))}
            for key, value in made.items():
                estimator.__dict__.setdefault(key, value)  # the other one may have been set from outside
        return parameters[name]
    raise AttributeError(
        f"{name} is for linear models. With hidden_layer_sizes={plain_repr(estimator.hidden_layer_sizes)}, coefs_ "
        "and intercepts_ list the coefficients and intercepts of each layer."
    )


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
