"""How dense features are, and how correlated, by some samples: whether Newton's steps are worth more time."""

from __future__ import annotations

import numpy as np

from skgd.coordinates import Matrix, is_sparse, nonzero

_SOME_ROWS = 2**8


def some_rows(X: Matrix) -> np.ndarray:
    """Return some samples, at regular distances."""
    some = X[:: -(-X.shape[0] // _SOME_ROWS)]
    return (some if isinstance(some, np.ndarray) else some.toarray()).astype(np.float64)


def is_dense(some: np.ndarray) -> bool:
    """Say whether samples are dense, in whatever format they are stored."""
    return not is_sparse(np.count_nonzero(some) / some.size)


def squared_correlations(some: np.ndarray) -> float:
    """Return the sum of the squared correlations of a feature with all features, itself included, in the mean.

    It is the mean of the squared eigenvalues of the correlation matrix, whose mean eigenvalue is one. Learning rates
    suit the largest eigenvalues, so that gradient descent takes at least so many times as many steps in other
    directions as with uncorrelated features. Products of different samples estimate it without bias, even where
    features outnumber them by far.
    """
    some = some - some.mean(axis=0)
    some /= nonzero(some.std(axis=0))
    products = np.square(some @ some.T)
    n_pairs, n_features = max(len(some) * (len(some) - 1), 1), max(np.count_nonzero(some.any(axis=0)), 1)
    return float((products.sum() - np.trace(products)) / n_pairs / n_features)
