"""Attributes that other libraries read, derived from parameters and fitted attributes."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import scipy.sparse as sp
from scipy.special import expit

from skgd.coordinates import ColumnStatistics


class DerivedAttributes:
    """Attributes for other tools, read-only.

    Attributes
    ----------
    coef_standardized_ : ndarray of the shape of ``coef_``
        The coefficients of standardized features: ``coef_`` times the standard deviation of each feature, in regression
        without a log link divided by that of the target (in a stream of dense features, of the values without
        outliers). They do not depend on units; use them as the ``importance_getter`` of ``RFE`` and
        ``SelectFromModel``. Sparse after ``sparsify``.
    penalty : "l1", "l2", "elasticnet" or None
        The penalty of ``alpha`` and ``l1_ratio``, in the terms of ``LogisticRegression``; ``SelectFromModel`` reads
        "l1" to keep all features with nonzero coefficients.
    n_layers_ : int
        The number of layers, including the input and the output layer.
    n_outputs_ : int
        The number of outputs of the last layer: 1 for two classes, else one for each class, label or target.
    out_activation_ : str
        The activation of the output layer: "softmax", "logistic", "exp" (for losses with a log link) or "identity".
    """

    alpha: Any
    l1_ratio: Any
    coef_: Any

    @property
    def penalty(self) -> Literal["l1", "l2", "elasticnet"] | None:
        if self.alpha == 0:
            return None
        if self.l1_ratio == 0:
            return "l2"
        return "l1" if self.l1_ratio == 1 else "elasticnet"

    @property
    def coef_standardized_(self) -> Any:
        state, coef = self._learned("coef_standardized_").whole, self.coef_
        factors = _deviation(state.columns)[None, :]
        if state.targets.rows and not state.objective.loss.log_link:  # a regression
            factors = factors / state.targets.standard_deviation[:, None]
        if sp.issparse(coef):
            return sp.csr_array(coef.multiply(factors), dtype=coef.dtype)
        return (np.atleast_2d(coef) * factors).reshape(coef.shape).astype(coef.dtype)

    @property
    def n_layers_(self) -> int:
        return len(self._learned("n_layers_").objective.layer_sizes)

    @property
    def n_outputs_(self) -> int:
        return self._learned("n_outputs_").objective.n_outputs

    @property
    def out_activation_(self) -> str:
        loss = self._learned("out_activation_").objective.loss
        if loss.normalized:
            return "softmax"
        if loss.log_link:
            return "exp"
        return "logistic" if loss.probability is expit else "identity"

    def _learned(self, name: str) -> Any:
        """Return the state; raise the AttributeError that `hasattr` looks for where nothing was learned."""
        if "_state" not in vars(self):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r} before fit.")
        return vars(self)["_state"]


def _deviation(columns: ColumnStatistics) -> np.ndarray:
    """Return the standard deviation of each feature, also zero."""
    return np.where(columns.constant, 0.0, columns.standard_deviation)
