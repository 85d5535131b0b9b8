"""How dense features are, and how correlated, by some samples: whether Newton's steps are worth more time."""

from __future__ import annotations

import numpy as np

from skgd.coordinates import at_regular_distances, is_sparse, is_text_like
from skgd.measuring import Matrix, nonzero

_SOME_ROWS = 2**8
_FEW_SAMPLES = 20  # that have a feature


def some_rows(X: Matrix) -> Matrix:
    """Return some samples, at regular distances."""
    return X[at_regular_distances(X.shape[0], _SOME_ROWS)]


def is_dense(some: Matrix) -> bool:
    """Say whether samples are dense, in whatever format they are stored."""
    return not is_sparse(_filled(some))


def are_rare(some: Matrix, n_rows: int) -> bool:
    """Say whether features are in few of all samples each, as categories are, unless these are texts."""
    filled = _filled(some)
    return n_rows * filled < _FEW_SAMPLES and not is_text_like(filled, some.shape[1])


def _filled(some: Matrix) -> float:
    values = some if isinstance(some, np.ndarray) else some.data
    return np.count_nonzero(values) / (some.shape[0] * some.shape[1])


def squared_correlations(some: Matrix) -> float:
    """Return the sum of the squared correlations of a feature with all features, itself included, in the mean.

    It is the mean of the squared eigenvalues of the correlation matrix, whose mean eigenvalue is one. Learning rates
    suit the largest eigenvalues, so that gradient descent takes at least so many times as many steps in other
    directions as with uncorrelated features. The variance of products of two samples estimates it, even where features
    outnumber samples by far.
    """
    some = (some if isinstance(some, np.ndarray) else some.toarray()).astype(np.float64)
    n_rows, n_columns = some.shape
    some -= some.mean(axis=0)
    some /= nonzero(some.std(axis=0))
    products = some.T @ some if n_columns < n_rows else some @ some.T  # the squares of both have the same sum
    squares, n_pairs = np.square(some).sum(axis=1), max(n_rows * (n_rows - 1), 1)
    # Centered samples add up to zero: products of two of them add up to what their squares do, with the other sign.
    mean = -squares.sum() / n_pairs
    variance = (np.square(products).sum() - np.square(squares).sum()) / n_pairs - mean * mean
    return float(variance / max(np.count_nonzero(some.any(axis=0)), 1))
