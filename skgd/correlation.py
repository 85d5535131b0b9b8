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
    directions as with uncorrelated features. The variance of products of two samples estimates it, even where features
    outnumber samples by far.
    """
    some = some - some.mean(axis=0)
    some /= nonzero(some.std(axis=0))
    products = (some @ some.T)[np.triu_indices(len(some), 1)]
    return float(products.var() / max(np.count_nonzero(some.any(axis=0)), 1)) if len(products) else 0.0
