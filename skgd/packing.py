"""The features of sparse samples that matter, closer together, for as long as a training lasts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import scipy.sparse as sp

from skgd.engines import Iterate, renumbered
from skgd.state import State


class Packing:
    """The frequent features of sparse samples first, and none without an entry, for parameters that begin at zero.

    Frequent features then lie close together in the processor's cache, and empty ones, of hashed text, cost nothing.
    """

    def __init__(self, state: State, X: sp.csr_array):
        stored = state.columns.largest > 0.0
        if np.count_nonzero(X.data) < X.nnz:  # zeros are stored, too
            stored[X.indices] = True
        kept = np.flatnonzero(stored)
        self._kept = kept[np.argsort(-state.columns.filled[kept], kind="stable")]
        self._objective, self._columns, self._initial = state.objective, state.columns, state.optimizer.initial()
        coordinates = state.objective.coordinates.of_subset(self._kept)
        self._fewer = replace(state.objective, n_features=len(self._kept), coordinates=coordinates)

    def rows(self, X: sp.csr_array) -> sp.csr_array:
        """Return samples with fewer features."""
        number = np.zeros(X.shape[1], dtype=X.indices.dtype)
        number[self._kept] = np.arange(len(self._kept))
        return sp.csr_array((X.data, renumbered(X, number), X.indptr), shape=(X.shape[0], len(self._kept)))

    def packed(self, state: State) -> State:
        """Return the state for fewer features."""

        def pack(theta: np.ndarray, _: float) -> np.ndarray:
            [(coef, intercept)] = self._objective.layers(theta)
            return self._fewer.join([(coef[self._kept], intercept)], theta.dtype)

        iterate = self._each(pack, state.iterate)
        return replace(state, objective=self._fewer, columns=self._columns.of_subset(self._kept), iterate=iterate)

    def unpacked(self, state: State) -> State:
        """Return the state for all features."""

        def unpack(theta: np.ndarray, value: float) -> np.ndarray:
            [(coef, intercept)] = self._fewer.layers(theta)
            full = np.full((self._objective.n_features, self._objective.n_outputs), value, dtype=theta.dtype)
            full[self._kept] = coef
            return self._objective.join([(full, intercept)], theta.dtype)

        iterate = self._each(unpack, state.iterate)
        return replace(state, objective=self._objective, columns=self._columns, iterate=iterate)

    def _each(self, change: Callable[[np.ndarray, float], np.ndarray], iterate: Iterate) -> Iterate:
        slots = tuple(map(change, iterate.slots, self._initial))
        average = None if iterate.average is None else change(iterate.average, 0.0)
        return iterate._replace(theta=change(iterate.theta, 0.0), slots=slots, average=average)
