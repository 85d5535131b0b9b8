"""The features of sparse samples that matter, closer together, for as long as a training lasts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import scipy.sparse as sp

from skgd.coordinates import spread
from skgd.engines import Iterate, initial_iterate, renumbered
from skgd.measuring import Matrix
from skgd.state import State

_ENTRIES = 16  # of samples in a feature, in the mean: with more, nearly all features have some


class Packing:
    """Some features of sparse samples, in any order, and one that no sample has, if there is one: it stands for others.

    Parameters
    ----------
    features : ndarray of shape (n_kept,)
        All features that samples have.
    n_features : int
        The number of all features.
    """

    def __init__(self, features: np.ndarray, n_features: int):
        others = np.ones(n_features, bool)
        others[features] = False
        self._kept, self._n_features = np.append(features, np.flatnonzero(others)[:1]), n_features

    @classmethod
    def of_occurring(cls, X: Matrix) -> Packing | None:
        """Return the packing of the features that samples have, where these are at most half, as of hashed text."""
        n_features = X.shape[1]
        if isinstance(X, np.ndarray) or not 0 < X.nnz < _ENTRIES * n_features:
            return None
        occurs = np.zeros(n_features, bool)
        occurs[X.indices] = True
        features = np.flatnonzero(occurs)
        return cls(features, n_features) if 2 * len(features) <= n_features else None

    @classmethod
    def by_frequency(cls, state: State, X: sp.csr_array) -> Packing:
        """Return the packing of features with entries, frequent ones first: together in the processor's cache."""
        stored = state.columns.largest > 0.0
        if np.count_nonzero(X.data) < X.nnz:  # zeros are stored, too
            stored[X.indices] = True
        features = np.flatnonzero(stored)
        return cls(features[np.argsort(-state.columns.filled[features], kind="stable")], X.shape[1])

    def rows(self, X: sp.csr_array) -> sp.csr_array:
        """Return samples with fewer features, of which they have no others."""
        number = np.zeros(self._n_features, dtype=X.indices.dtype)
        number[self._kept] = np.arange(len(self._kept))
        return sp.csr_array((X.data, renumbered(X, number), X.indptr), shape=(X.shape[0], len(self._kept)))

    def rows_of_others(self, X: Matrix) -> Matrix:
        """Return the same of samples that may have others, which count for nothing."""
        return X[:, self._kept]

    def begun(self, state: State) -> State:
        """Return the state for fewer features before training, in which others have coefficients of zero."""
        packed = self.packed(state)
        theta = packed.iterate.theta.copy()
        packed.objective.layers(theta)[0][0][-1] = 0.0  # of a network
        iterate = initial_iterate(theta, packed.optimizer, packed.averaging)
        return replace(packed, iterate=iterate._replace(t=state.t))

    def packed(self, state: State) -> State:
        """Return the state for fewer features."""
        before = state.objective
        coordinates = before.coordinates.of_subset(self._kept)
        objective = replace(before, n_features=len(self._kept), coordinates=coordinates)

        def pack(theta: np.ndarray) -> np.ndarray:
            (coef, intercept), *others = before.layers(theta)
            return objective.join([(coef[self._kept], intercept), *others], theta.dtype)

        columns = state.columns.of_subset(self._kept)
        return replace(state, objective=objective, columns=columns, iterate=_each(pack, state.iterate))

    def unpacked(self, state: State) -> State:
        """Return the state for all features."""
        before, n_features = state.objective, self._n_features
        coordinates = before.coordinates.of_superset(self._kept, n_features)
        objective = replace(before, n_features=n_features, coordinates=coordinates)

        def unpack(theta: np.ndarray) -> np.ndarray:
            (coef, intercept), *others = before.layers(theta)
            return objective.join([(spread(coef, self._kept, n_features), intercept), *others], theta.dtype)

        columns = state.columns.of_superset(self._kept, n_features)
        return replace(state, objective=objective, columns=columns, iterate=_each(unpack, state.iterate))


def _each(change: Callable[[np.ndarray], np.ndarray], iterate: Iterate) -> Iterate:
    """Return the iterate with each of its vectors changed."""
    average = None if iterate.average is None else change(iterate.average)
    return iterate._replace(theta=change(iterate.theta), slots=tuple(map(change, iterate.slots)), average=average)
