"""Reading X, y and weights: fast where they are right already, with scikit-learn's checks and messages where not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from numbers import Real
from typing import Any, Literal

import numpy as np
import scipy.sparse as sp
from sklearn.utils import check_array
from sklearn.utils.validation import column_or_1d, validate_data

from skgd.engines import has_duplicates
from skgd.strategy import plain_repr

_CHUNK_ELEMENTS = 2**16
_SUMS = 64  # entries in each sum
_UNSIGNED = {size: np.dtype(f"u{size}") for size in (1, 2, 4, 8)}


@contextmanager
def naming(name: str) -> Iterator[None]:
    """Put an input's name before messages of scikit-learn's checks that do not say which input they mean.

    They show NumPy's strings and numbers as such, np.str_('a'): then as Python's.
    """
    try:
        with np.errstate(all="ignore"):  # they add up what they look for infinity in
            yield
    except (TypeError, ValueError) as error:
        message = re.sub(r"\bnp\.\w+\(([^()]*)\)", r"\1", str(error))
        named = re.search(rf"(?<!\w){re.escape(name)}(?!\w)", message)
        if named and message == str(error):
            raise
        kind = ValueError if isinstance(error, ValueError) else TypeError
        raise kind(message if named else f"{name}: {message}") from error


def as_numpy(values: Any, name: str) -> Any:
    """Return an array of another library, such as PyTorch or CuPy, as NumPy's, on the CPU; anything else as it is.

    What is trained with, and what is predicted, is NumPy's, whether scikit-learn dispatches other arrays or not.
    """
    if isinstance(values, (np.ndarray, np.generic)) or not hasattr(values, "__dlpack__"):
        return values
    try:
        if hasattr(values, "detach"):  # PyTorch's, which may be part of a computation of gradients
            return values.detach().cpu().numpy()
        if hasattr(values, "get"):  # CuPy's
            return values.get()
        try:
            return np.asarray(values)
        except (TypeError, ValueError, RuntimeError):
            return np.from_dlpack(values)
    except Exception as error:  # of any library, with errors of its own
        raise TypeError(
            f"{name} is an array of the type {type(values).__module__}.{type(values).__qualname__}, and could not be "
            f"made one of NumPy's on the CPU ({error}). Convert it yourself, to a type of numbers that NumPy has."
        ) from error


def read_features(
    estimator: Any,
    X: Any,
    dtypes: tuple[type, ...],
    name: str = "X",
    reset: bool = False,
    order: Literal["C"] | None = None,
) -> Any:
    """Return X checked: an ndarray or a CSR array, finite, of one of the dtypes.

    It has the features that the estimator knows, or, with ``reset``, becomes the one that tells them. Scikit-learn's
    checks take a tenth of a millisecond, and ten the first time. What they would return as it is, is returned at once.
    With ``order="C"``, dense X is in this order, which the compiled loops of streams read: data frames are often not.
    """
    X = as_numpy(X, name)
    if is_plain(X, dtypes) if reset else is_ready(estimator, X, dtypes):
        if reset:
            estimator.n_features_in_ = X.shape[1]
            vars(estimator).pop("feature_names_in_", None)
        return X if type(X) is not sp.csr_matrix else sp.csr_array(X)
    check_indices(X, name)
    try:
        with naming(name):
            checked = validate_data(
                estimator, X, "no_validation", reset=reset, accept_sparse="csr", dtype=dtypes, order=order
            )
    except (TypeError, ValueError) as error:
        _explain_text(X, name, error)
        raise
    return canonical(checked)


def _explain_text(X: Any, name: str, error: Exception) -> None:
    """Raise an error that names a column of text or dates, and the remedy, if X has one."""
    if hasattr(X, "columns"):
        columns = {column: np.asarray(X[column], dtype=object) for column in X.columns}
    else:
        try:
            table = np.asarray(X, dtype=object)
        except ValueError:  # samples of several lengths
            return
        if table.ndim == 1 and any(isinstance(value, str) for value in table):
            raise ValueError(f"{name}: could not convert text to numbers. TfidfVectorizer does so.") from error
        columns = dict(enumerate(table.T)) if table.ndim == 2 else {}
    for column, values in columns.items():
        for value in values.ravel():
            if isinstance(value, (date, timedelta, np.datetime64, np.timedelta64)):
                remedy = "Convert it to numbers, such as the days since a reference date."
            elif isinstance(value, str) and not _is_number(value):
                remedy = (
                    f"A Pipeline that begins with make_column_transformer((OneHotEncoder(handle_unknown='ignore'), "
                    f"[{plain_repr(column)}]), remainder='passthrough') encodes it."
                )
            else:
                continue
            raise ValueError(
                f"{name}: could not convert the column {plain_repr(column)} to numbers, which has {plain_repr(value)}. "
                f"{remedy}"
            ) from error


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def read_target(estimator: Any, y: Any, n_rows: int, dtype: Any, name: str = "y") -> np.ndarray:
    """Return y checked: an ndarray of one or two dimensions, finite, with as many samples as X."""
    y = as_numpy(y, name)
    if not (is_whole(y) if dtype is None else is_plain_target(y, dtype)):
        check_indices(y, name)
        with naming(name):
            y = check_array(y, accept_sparse="csr", dtype=dtype, ensure_2d=False, estimator=estimator, input_name=name)
        y = y.toarray() if sp.issparse(y) else y
    if len(y) != n_rows:
        rows_of = name.replace("y", "X")
        raise ValueError(f"{rows_of} has {n_rows} rows, but {name} has {len(y)}: they are inconsistent.")
    return y


def single_column_raveled(y: np.ndarray, warn: bool = True) -> np.ndarray:
    """Return y in one dimension where it is one column."""
    return column_or_1d(y, warn=warn) if y.ndim == 2 and y.shape[1] == 1 else y


def is_ready(estimator: Any, X: Any, dtypes: tuple[type, ...], entries: bool = True) -> bool:
    """Say whether X is plainly what an estimator that knows its features takes; where it is unusual at all, say no."""
    if not is_plain(X, dtypes, entries) or X.shape[1] != estimator.n_features_in_:
        return False
    return "feature_names_in_" not in estimator.__dict__


def is_plain(X: Any, dtypes: tuple[type, ...], entries: bool = True) -> bool:
    """Say whether X is plainly what training and prediction take; where it is unusual in any way, say no.

    Without ``entries``, who reads those of a CSR matrix next is to validate them, see `has_valid_entries`, and to look
    for several in one place.
    """
    kind = type(X)
    if kind is np.ndarray:
        values, right = X, X.ndim == 2 and X.flags.c_contiguous
    elif kind is sp.csr_array or kind is sp.csr_matrix:
        # The row pointers come first: scipy's look for duplicates follows them, wherever they point.
        values = X.data
        right = _points_inside(X.shape, values, X.indices, X.indptr) and (not entries or X.has_canonical_format)
    else:
        return False
    dtype = values.dtype
    if not (right and values.size > 0 and dtype.type in dtypes and dtype.isnative):
        return False
    return all_finite(values) if kind is np.ndarray else not entries or has_valid_entries(X)


def has_valid_entries(X: Any) -> bool:
    """Say whether the entries of a CSR matrix are finite, and in columns that it has."""
    indices = X.indices  # as unsigned numbers, negative ones are large
    inside = not len(indices) or np.maximum.reduce(indices.view(_UNSIGNED[indices.itemsize])) < X.shape[1]
    return bool(inside) and all_finite(X.data)


def is_plain_target(y: Any, dtype: Any) -> bool:
    """Say whether y is plainly an array of finite numbers in one dimension."""
    return type(y) is np.ndarray and y.ndim == 1 and y.dtype == dtype and len(y) > 0 and all_finite(y)


def is_whole(y: Any) -> bool:
    """Say whether y is plainly an array of integers or booleans in one dimension."""
    return type(y) is np.ndarray and y.ndim == 1 and y.dtype.kind in "iub" and len(y) > 0


def all_finite(values: np.ndarray) -> bool:
    """Say whether there is neither NaN nor infinity, with little memory."""
    if values.size < _CHUNK_ELEMENTS:
        return np.count_nonzero(np.isfinite(values)) == values.size
    flat = values.ravel(order="K")  # without a copy of contiguous ones, also of the columns of data frames
    n_chunks = flat.size // _CHUNK_ELEMENTS
    chunks = flat[: n_chunks * _CHUNK_ELEMENTS].reshape(n_chunks, _SUMS, -1)
    with np.errstate(all="ignore"):  # sums take less time; those of finite numbers may overflow
        finite = all(np.isfinite(chunk.sum(axis=0)).all() or np.isfinite(chunk).all() for chunk in chunks)
    return finite and all_finite(flat[chunks.size :])


def _points_inside(shape: tuple[int, ...], data: np.ndarray, indices: np.ndarray, indptr: np.ndarray) -> bool:
    """Say whether the row pointers of a CSR matrix with two dimensions are of its indices' type, and point to them."""
    n_pointers = len(indptr)
    if len(shape) != 2 or n_pointers != shape[0] + 1 or indices.dtype != indptr.dtype:
        return False
    if indptr.item(0) != 0 or not indptr.item(-1) == len(indices) == len(data):
        return False
    return n_pointers == 2 or bool((indptr[1:] >= indptr[:-1]).all())


def check_indices(X: Any, name: str = "X") -> None:
    """Refuse a sparse matrix whose indices point outside it, before a compiled loop, of scipy or skgd, uses them."""
    if not sp.issparse(X) or X.ndim != 2:
        return
    try:
        if X.format in ("csr", "csc", "bsr"):
            # Of a second matrix with the same arrays, because scipy's check tidies up what it checks.
            type(X)((X.data, X.indices, X.indptr), shape=X.shape).check_format(full_check=True)
        elif X.format == "coo":
            type(X)((X.data, (X.row, X.col)), shape=X.shape)  # checks them
        elif X.format == "lil":
            for columns, values in zip(X.rows, X.data, strict=True):
                if len(columns) != len(values) or (columns and not 0 <= min(columns) <= max(columns) < X.shape[1]):
                    raise ValueError(f"a row has the columns {plain_repr(columns)} and the values {plain_repr(values)}")
    except (ValueError, IndexError) as error:
        raise ValueError(f"{name} is a malformed {X.format.upper()} matrix: {error}.") from None


def canonical(X: Any) -> Any:
    """Return a CSR array without duplicate entries, whose indices have one type; what is one already as it is."""
    if isinstance(X, np.ndarray):
        return X
    full = len(X.data) == len(X.indices) == X.indptr[-1]  # SciPy cuts off what is more
    if type(X) is sp.csr_array and full and X.indices.dtype == X.indptr.dtype and X.has_canonical_format:
        return X
    if has_duplicates(X):
        X = X.copy()
        X.sum_duplicates()
    return sp.csr_array((X.data, X.indices, X.indptr), shape=X.shape)


def in_range(weights: np.ndarray, lowest: float, highest: float) -> np.ndarray:
    """Return weights of which only the ratios matter, the largest of them between these bounds.

    A power of two takes them there, which leaves all digits alone.
    """
    largest = weights.max()
    return weights if lowest <= largest <= highest else np.ldexp(weights, -int(np.frexp(largest)[1]))


def read_weight(weight: Any, n_rows: int, name: str, *, relative: bool = True) -> np.ndarray | None:
    """Return checked weights, one per sample, or None; if ``relative``, to each other only, their sum is finite."""
    if weight is None:
        return None
    if isinstance(weight, Real):
        weight = np.full(n_rows, weight, dtype=np.float64)
    weight = as_numpy(weight, name)
    with naming(name):
        weight = check_array(weight, ensure_2d=False, dtype=np.float64, input_name=name)
    if weight.shape != (n_rows,):
        raise ValueError(f"{name} must have the shape ({n_rows},), one weight per sample, got {weight.shape}.")
    if weight.min() < 0.0:
        raise ValueError(f"{name} must not be negative, got {weight.min():g} at row {weight.argmin()}.")
    if not weight.any():
        raise ValueError(f"{name} is zero for every sample: there is nothing to train on.")
    return in_range(weight, 1e-300, 1e300 / n_rows) if relative else weight
