"""Estimators for Dask: training and prediction on dask arrays and data frames, on one machine or a cluster.

They are :class:`skgd.GDClassifier` and :class:`skgd.GDRegressor`, with the same parameters and attributes. ``fit`` on a
dask collection trains on its partitions, as :mod:`skgd.partitions` documents: each pass over the data is one graph of
tasks, whose results Dask merges in a fixed tree. So the result is the same, bit for bit, on each scheduler, with any
number of workers, and also if workers are lost. On NumPy arrays and all that is not from Dask, the estimators do what
those of skgd do.

Predictions on dask collections are lazy dask arrays. A fitted estimator contains NumPy arrays only; to load it from a
pickle without Dask, convert it with :func:`skgd.dask.to_skgd`.

Install it with ``pip install skgd[dask]``.

Examples
--------
>>> import dask.array as da
>>> import numpy as np
>>> from skgd.dask import GDRegressor
>>> X = da.random.default_rng(0).normal(size=(10_000, 3), chunks=(2_500, 3))
>>> y = X @ np.array([1.0, 2.0, 3.0]) + 4.0
>>> model = GDRegressor().fit(X, y)
>>> model.coef_.round(3), model.intercept_.round(3)
(array([1., 2., 3.]), array([4.]))
>>> model.predict(X).compute().shape
(10000,)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial, reduce
from typing import Any, TypeVar

import dask
import numpy as np
from dask.base import is_dask_collection
from dask.delayed import Delayed, delayed
from dask.optimization import cull
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from skgd import estimators
from skgd.estimators.classifier import has_probabilities
from skgd.partition_sums import in_tree, merge
from skgd.partitions import N_LANES, check_solver, fit_with

__all__ = ["GDClassifier", "GDRegressor", "to_skgd"]

F = TypeVar("F", bound=Callable[..., Any])


class _Rows:
    """The rows of one partition, which are loaded in the task that uses them: a plain function to Dask.

    Dask would run tasks that load apart from those that use what was loaded, and keep several partitions in memory.
    """

    def __init__(self, parts: list[Delayed]):
        self._parts = parts

    def __call__(self) -> tuple[Any, ...]:
        return dask.compute(*self._parts, scheduler="synchronous")


class _Graphs:
    """An engine that runs the tasks of a pass as one graph, see `skgd.partitions.Engine`."""

    def __init__(self, parts: list[list[Delayed]]):
        lasting = [_is_on_cluster(part) for part in parts]
        # What is in the memory of workers already is an input of the task.
        self._partitions = [
            delayed(tuple)(part) if on_cluster else _Rows(part) for part, on_cluster in zip(parts, lasting, strict=True)
        ]

    @property
    def n_partitions(self) -> int:
        return len(self._partitions)

    def run(self, task: Callable[..., Any], *arguments: Any) -> Any:
        call, shared = self._call(partial(_call, task), arguments)
        return self._merged(call(partition, number, shared) for number, partition in enumerate(self._partitions))

    def run_in_lanes(self, task: Callable[..., Any], lanes: Sequence[Sequence[int]], *arguments: Any) -> Any:
        call, shared = self._call(partial(_call_after, task), arguments)

        def after(before: Any, number: int) -> Any:
            return call(before, self._partitions[number], number, shared)

        return self._merged(reduce(after, lane, None) for lane in lanes)

    @staticmethod
    def _call(function: Callable[..., Any], arguments: tuple) -> tuple[Any, Any]:
        """Return a function as one of graphs, and its arguments.

        These are one node of the graph, which Dask sends to each worker once, and computes again where one is lost.
        """
        return delayed(function, pure=False, traverse=False), delayed(_Arguments(arguments), traverse=False)

    @staticmethod
    def _merged(leaves: Iterable[Any]) -> Any:
        total = in_tree(leaves, delayed(merge, pure=False, traverse=False))
        return None if total is None else dask.compute(total)[0]


class _Arguments:
    """The arguments of a task, which Dask does not look into."""

    def __init__(self, values: tuple):
        self.values = values


def _call(task: Callable[..., Any], partition: Any, number: int, arguments: _Arguments) -> Any:
    return task(partition, number, *arguments.values)


def _call_after(task: Callable[..., Any], before: Any, partition: Any, number: int, arguments: _Arguments) -> Any:
    return task(before, partition, number, *arguments.values)


def _is_on_cluster(parts: list[Delayed]) -> bool:
    """Say whether a partition is computed already, by a cluster: its graph has futures."""
    return any(type(value).__name__ == "Future" for part in parts for value in dict(part.dask).values())


def _partitions_of(X: Any, y: Any, weight: Any) -> list[list[Delayed]]:
    """Return the partitions of collections, each with those of X, of y and perhaps of the weights."""
    if not is_dask_collection(X):
        raise TypeError(
            f"X must be a dask array or data frame where y or sample_weight is one, got {type(X).__name__}."
        )
    if hasattr(X, "to_dask_array") and getattr(X, "ndim", 2) != 2:
        raise ValueError("X must have two dimensions: X is a dask Series. Select columns: frame[['a', 'b']].")
    if _is_array(X):
        if X.ndim != 2:
            raise ValueError(f"X must have two dimensions, got the shape {X.shape}.")
        if X.numblocks[1] > 1:
            X = X.rechunk({1: -1})
    columns = [_delayed(X)]
    for name, values in (("y", y), ("sample_weight", weight)):
        if values is not None:
            columns.append(_delayed(_alike(X, values, name)))
    lengths = {len(column) for column in columns}
    if len(lengths) > 1:
        raise ValueError(
            f"X, y and sample_weight must have the same partitions, got {', '.join(map(str, map(len, columns)))} of "
            "them. Call repartition, rechunk or compute_chunk_sizes first."
        )
    return [[_culled(part) for part in parts] for parts in zip(*columns, strict=True)]


def _computed(values: Any) -> Any:
    return dask.compute(values)[0] if is_dask_collection(values) else values


def _is_array(collection: Any) -> bool:
    return hasattr(collection, "chunks") and hasattr(collection, "to_delayed")


def _alike(X: Any, values: Any, name: str) -> Any:
    """Return y or weights with the partitions of X."""
    if not is_dask_collection(values):
        values = np.asarray(values)
        if not (_is_array(X) and len(values) == X.shape[0]):
            what = "whose number of rows is known" if not _is_array(X) or X.shape[0] != X.shape[0] else "of its length"
            raise ValueError(
                f"{name} has {len(values)} rows and is not from Dask, so that X must be a dask array {what}. Convert "
                f"{name} to a dask collection with the partitions of X."
            )
        import dask.array as da

        return da.from_array(values, chunks=(X.chunks[0], *((size,) for size in values.shape[1:])))
    if _is_array(values) and _is_array(X):
        if values.ndim == 2 and values.numblocks[1] > 1:
            values = values.rechunk({1: -1})
        known = not np.isnan([*X.chunks[0], *values.chunks[0]]).any()
        if known and sum(values.chunks[0]) != sum(X.chunks[0]):
            raise ValueError(
                f"X has {sum(X.chunks[0])} rows, but {name} has {sum(values.chunks[0])}: they are inconsistent."
            )
        return values.rechunk({0: X.chunks[0]}) if known and values.chunks[0] != X.chunks[0] else values
    return values


def _delayed(collection: Any) -> list[Delayed]:
    # Not optimized one by one: each would read files of its own columns again.
    return list(np.ravel(np.array(collection.to_delayed(optimize_graph=False), dtype=object)))


def _culled(part: Delayed) -> Delayed:
    """Return a partition with that part of the graph which it needs."""
    graph, _ = cull(dict(part.dask), [part.key])
    return Delayed(part.key, graph)


def _predicted(X: Any, predict: Callable[[Any], np.ndarray], columns: tuple[int, ...], dtype: Any) -> Any:
    """Return the lazy predictions of a collection, a dask array."""
    import dask.array as da

    if _is_array(X):
        if X.numblocks[1] > 1:
            X = X.rechunk({1: -1})
        meta = np.empty((0, *columns), dtype)
        if columns:
            return X.map_blocks(predict, chunks=(X.chunks[0], columns), meta=meta)
        return X.map_blocks(predict, drop_axis=1, meta=meta)
    parts = [
        da.from_delayed(delayed(predict, pure=True)(part), (np.nan, *columns), meta=np.empty((0, *columns), dtype))
        for part in X.to_delayed()
    ]
    return da.concatenate(parts, allow_unknown_chunksizes=True)


class _Method:
    """One method of an estimator as a function of X: of a plain copy, which is sent to workers."""

    def __init__(self, estimator: Any, name: str):
        self._estimator, self._name = to_skgd(estimator), name

    def __call__(self, X: Any) -> np.ndarray:
        if not X.shape[0]:
            one = np.zeros((1, self._estimator.n_features_in_))
            names = getattr(self._estimator, "feature_names_in_", None)
            if names is not None:
                import pandas as pd

                one = pd.DataFrame(one, columns=names)
            return getattr(self._estimator, self._name)(one)[:0]
        return getattr(self._estimator, self._name)(X)


def to_skgd(estimator: Any) -> Any:
    """Return an estimator of `skgd` with the parameters and what was learned, which does not need Dask.

    Parameters
    ----------
    estimator : GDClassifier or GDRegressor
        An estimator of this module.

    Returns
    -------
    estimator : skgd.GDClassifier or skgd.GDRegressor
        It shares the arrays of the given one.

    Raises
    ------
    TypeError
        For anything else.

    Examples
    --------
    >>> import numpy as np
    >>> from skgd.dask import GDRegressor, to_skgd
    >>> X = np.arange(20.0).reshape(-1, 1)
    >>> type(to_skgd(GDRegressor().fit(X, X.ravel()))).__module__
    'skgd.estimators'
    """
    kind = next((kind for kind in type(estimator).__mro__ if kind.__module__.startswith("skgd.estimators")), None)
    if kind is None:
        raise TypeError(f"estimator must be a GDClassifier or GDRegressor, got {type(estimator).__name__}.")
    plain: Any = object.__new__(kind)
    plain.__dict__.update({name: value for name, value in vars(estimator).items() if name != "_skl_callbacks"})
    return plain


class _DaskMixin:
    """What both estimators do with dask collections."""

    def fit(
        self: Any,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight_val: Any = None,
        solver: str = "auto",
        n_lanes: int = N_LANES,
    ) -> Any:
        """Fit the model to training data, also dask collections.

        Parameters
        ----------
        X : dask array, dask data frame, or array-like of shape (n_samples, n_features)
            The features. Partitions of a collection are trained on as :func:`skgd.partitions.fit` does.
        y : dask array, dask Series, or array-like of shape (n_samples,) or (n_samples, n_outputs)
            The targets, in the same partitions.
        sample_weight : dask array, dask Series, or array-like of shape (n_samples,), default=None
            Nonnegative sample weights.
        X_val, y_val, sample_weight_val : default=None
            A validation set that fits into memory; dask collections are computed.
        solver : "auto" or "sgd", default="auto"
            How partitions are trained on, see :func:`skgd.partitions.fit`.
        n_lanes : int, default=4
            With ``solver="sgd"``, the number of lanes, of which each is trained on one worker at a time.

        Returns
        -------
        self : object
        """
        validation = _computed(X_val), _computed(y_val), _computed(sample_weight_val)
        if not any(map(is_dask_collection, (X, y, sample_weight))):
            check_solver(solver, n_lanes)
            for name, value, default in (("solver", solver, "auto"), ("n_lanes", n_lanes, N_LANES)):
                if value != default:
                    raise ValueError(
                        f"{name}={value!r} is for dask collections. On other data, fit takes the steps that the "
                        f"parameters of the estimator ask for: leave {name} out, or convert X to a dask array."
                    )
            return super().fit(X, y, sample_weight, *validation)  # type: ignore[misc]
        with self._atomic():
            fit_with(self, _Graphs(_partitions_of(X, y, sample_weight)), validation, solver, n_lanes)
        return self

    def _stream(self: Any, X: Any, y: Any, sample_weight: Any, **kwargs: Any) -> None:
        """Call ``partial_fit`` of the base class for one partition after the other, in their order."""
        update = super().partial_fit  # type: ignore[misc]
        with self._atomic():
            for part in _partitions_of(X, y, sample_weight):
                X_part, y_part, *weight = dask.compute(*part)
                if len(y_part):
                    update(X_part, y_part, sample_weight=weight[0] if weight else None, **kwargs)

    def predict(self: Any, X: Any) -> Any:
        """Predict; lazily for a dask collection, which gives a dask array."""
        if not is_dask_collection(X):
            return super().predict(X)  # type: ignore[misc]
        return self._lazily(X, "predict")

    def score(self: Any, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the accuracy, or R², also on dask collections, of which predictions and targets are computed."""
        if any(map(is_dask_collection, (X, y, sample_weight))):
            X, y, sample_weight = map(_computed, (self.predict(X), y, sample_weight))
            from sklearn.metrics import accuracy_score, r2_score

            metric = r2_score if self._target_dtype is not None else accuracy_score
            return float(metric(y, X, sample_weight=sample_weight))
        return super().score(X, y, sample_weight)  # type: ignore[misc]

    def _lazily(self: Any, X: Any, name: str) -> Any:
        """Return what a method predicts of each partition."""
        check_is_fitted(self)
        method = _Method(self, name)
        n_features = self.n_features_in_
        columns = X.shape[1] if _is_array(X) else len(X.columns)
        if columns != n_features:
            raise ValueError(f"X has {columns} features, but {type(self).__name__} is expecting {n_features} features.")
        empty = method(np.empty((0, n_features)))
        return _predicted(X, method, empty.shape[1:], empty.dtype)


def _documented(kind: str, more: str = "") -> Callable[[F], F]:
    """Document ``partial_fit`` of an estimator, which may have ``more`` parameters."""

    def documented(partial_fit: F) -> F:
        partial_fit.__doc__ = f"""Update the model in one pass in the given order, of partitions one after the other.

        Partitions of a dask collection are loaded one by one in the process that calls.

        Parameters
        ----------
        X : dask array, dask data frame, or array-like of shape (n_samples, n_features)
            The features.
        y : dask array, dask Series, or array-like of shape (n_samples,) or (n_samples, n_outputs)
            The targets, in the same partitions.{more}
        sample_weight : dask array, dask Series, or array-like of shape (n_samples,), default=None
            Nonnegative sample weights.

        Returns
        -------
        self : {kind}
        """
        return partial_fit

    return documented


_CLASSES = """
        classes : array-like of shape (n_classes,), default=None
            All classes of the stream; required in the first call, unless y is multilabel."""


class GDClassifier(_DaskMixin, estimators.GDClassifier):
    """:class:`skgd.GDClassifier`, classification, also on dask arrays and data frames.

    Parameters and attributes are those of :class:`skgd.GDClassifier`. On dask collections, parameters of mini-batches
    and hidden layers need ``solver="sgd"``, as :func:`skgd.partitions.fit` documents.

    Examples
    --------
    >>> import dask.array as da
    >>> from skgd.dask import GDClassifier
    >>> X = da.random.default_rng(0).normal(size=(1000, 3), chunks=(250, 3))
    >>> y = (X[:, 0] > 0.0).astype(int)
    >>> GDClassifier().fit(X, y).score(X, y) > 0.9
    True
    """

    @_documented("GDClassifier", _CLASSES)
    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> GDClassifier:
        if any(map(is_dask_collection, (X, y, sample_weight))):
            self._stream(X, y, sample_weight, classes=classes)
            return self
        super().partial_fit(X, y, classes=classes, sample_weight=sample_weight)
        return self

    def decision_function(self, X: Any) -> Any:
        """Return the scores of the samples for each class; lazily for a dask collection."""
        return self._lazily(X, "decision_function") if is_dask_collection(X) else super().decision_function(X)

    @available_if(has_probabilities)
    def predict_proba(self, X: Any) -> Any:
        """Return the probability of each class; lazily for a dask collection."""
        return self._lazily(X, "predict_proba") if is_dask_collection(X) else super().predict_proba(X)

    @available_if(has_probabilities)
    def predict_log_proba(self, X: Any) -> Any:
        """Return the logarithm of the probability of each class; lazily for a dask collection."""
        return self._lazily(X, "predict_log_proba") if is_dask_collection(X) else super().predict_log_proba(X)


class GDRegressor(_DaskMixin, estimators.GDRegressor):
    """:class:`skgd.GDRegressor`, regression, also on dask arrays and data frames.

    Parameters and attributes are those of :class:`skgd.GDRegressor`. On dask collections, parameters of mini-batches
    and hidden layers need ``solver="sgd"``, as :func:`skgd.partitions.fit` documents.

    Examples
    --------
    >>> import dask.array as da
    >>> from skgd.dask import GDRegressor
    >>> X = da.random.default_rng(0).normal(size=(1000, 3), chunks=(250, 3))
    >>> y = X[:, 0] + 1.0
    >>> GDRegressor().fit(X, y).score(X, y) > 0.9
    True
    """

    @_documented("GDRegressor")
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> GDRegressor:
        if any(map(is_dask_collection, (X, y, sample_weight))):
            self._stream(X, y, sample_weight)
            return self
        super().partial_fit(X, y, sample_weight=sample_weight)
        return self
