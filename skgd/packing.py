"""The features of sparse samples that matter, closer together, for as long as a training lasts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import scipy.sparse as sp

from skgd.coordinates import Matrix, spread
from skgd.engines import Iterate, renumbered
from skgd.state import State

_ENTRIES = 16  # of samples in a feature, in the mean: with more, nearly all features have some


class Packing:
    """Some features of sparse samples, in any order: no sample has another one, whose coefficients are zero.

    Parameters
    ----------
    n_features : int
        The number of all features.
    kept : ndarray of shape (n_kept,)
        Which of them there are.
    """

    def __init__(self, n_features: int, kept: np.ndarray):
        self._n_features, self._kept = n_features, kept

    @classmethod
    def of_occurring(cls, X: Matrix) -> Packing | None:
        """Return the packing of the features that samples have, where these are at most half, as of hashed text."""
        n_features = X.shape[1]
        if isinstance(X, np.ndarray) or not 0 < X.nnz < _ENTRIES * n_features:
            return None
        occurs = np.zeros(n_features, bool)
        occurs[X.indices] = True
        kept = np.flatnonzero(occurs)
        return cls(n_features, kept) if 2 * len(kept) <= n_features else None

    @classmethod
    def by_frequency(cls, state: State, X: sp.csr_array) -> Packing:
        """Return the packing of features with entries, frequent ones first: together in the processor's cache."""
        stored = state.columns.largest > 0.0
        if np.count_nonzero(X.data) < X.nnz:  # zeros are stored, too
            stored[X.indices] = True
        kept = np.flatnonzero(stored)
        return cls(X.shape[1], kept[np.argsort(-state.columns.filled[kept], kind="stable")])

    def rows(self, X: sp.csr_array) -> sp.csr_array:
        """Return samples with fewer features, of which they have no others."""
        number = np.zeros(self._n_features, dtype=X.indices.dtype)
        number[self._kept] = np.arange(len(self._kept))
        return sp.csr_array((X.data, renumbered(X, number), X.indptr), shape=(X.shape[0], len(self._kept)))

    def rows_of_others(self, X: Matrix) -> Matrix:
        """Return the same of samples that may have others, which count for nothing."""
        return X[:, self._kept]

    def packed(self, state: State) -> State:
        """Return the state for fewer features."""
        before = state.objective
        coordinates = before.coordinates.of_subset(self._kept)
        objective = replace(before, n_features=len(self._kept), coordinates=coordinates)

        def pack(theta: np.ndarray, _: float) -> np.ndarray:
            (coef, intercept), *others = before.layers(theta)
            return objective.join([(coef[self._kept], intercept), *others], theta.dtype)

        columns = state.columns.of_subset(self._kept)
        return replace(state, objective=objective, columns=columns, iterate=_each(pack, state))

    def unpacked(self, state: State) -> State:
        """Return the state for all features."""
        before, n_features = state.objective, self._n_features
        coordinates = before.coordinates.of_superset(self._kept, n_features)
        objective = replace(before, n_features=n_features, coordinates=coordinates)

        def unpack(theta: np.ndarray, value: float) -> np.ndarray:
            (coef, intercept), *others = before.layers(theta)
            full = spread(coef, self._kept, n_features, value)
            return objective.join([(full, intercept), *others], theta.dtype)

        columns = state.columns.of_superset(self._kept, n_features)
        return replace(state, objective=objective, columns=columns, iterate=_each(unpack, state))


class UnpackingObserver:
    """Tells an observer of the states for all features."""

    def __init__(self, observer: Any, packing: Packing):
        self._observer, self._packing = observer, packing

    def begin_epoch(self, state: State, progress: Any) -> None:
        """Be told that an epoch begins."""
        self._observer.begin_epoch(self._packing.unpacked(state), progress)

    def end_epoch(self, state: State, progress: Any) -> bool:
        """Be told that an epoch has ended; return whether to stop."""
        return self._observer.end_epoch(self._packing.unpacked(state), progress)


def _each(change: Callable[[np.ndarray, float], np.ndarray], state: State) -> Iterate:
    """Return the iterate with each of its vectors changed, which is told what features without entries have there."""
    iterate = state.iterate
    slots = tuple(map(change, iterate.slots, state.optimizer.initial()))
    average = None if iterate.average is None else change(iterate.average, 0.0)
    return iterate._replace(theta=change(iterate.theta, 0.0), slots=slots, average=average)
