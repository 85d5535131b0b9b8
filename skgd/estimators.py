"""The two estimators: parameters, validation, labels and fitted attributes. Training itself is in `skgd.training`."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import cache, partial
from itertools import pairwise
from numbers import Integral, Real
from operator import is_
from types import SimpleNamespace
from typing import Any, ClassVar, Literal, Self

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.model_selection import train_test_split
from sklearn.utils import check_array, check_random_state, check_scalar, compute_class_weight
from sklearn.utils.extmath import safe_sparse_dot
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.validation import check_is_fitted, column_or_1d

from skgd.activations import ACTIVATIONS, Activation
from skgd.coordinates import ColumnStatistics, Coordinates
from skgd.engines import Engine, initial_iterate, readout
from skgd.losses import CLASSIFIER_LOSSES, REGRESSOR_LOSSES, Loss, SoftmaxLoss
from skgd.networks import Layer, forward
from skgd.objective import Objective
from skgd.optimizers import OPTIMIZERS, AdaGrad, Adam, LearningRate, Optimizer
from skgd.persistence import loaded, saved
from skgd.run import Beginning, CallbackSupportMixin, Run, Unfinished, with_callbacks
from skgd.schedules import resolve_schedule
from skgd.strategy import API_REFERENCE, Strategy, is_finite, resolve, snapshot, strategies_of
from skgd.training import (
    Data,
    Plan,
    Progress,
    State,
    Stream,
    Walk,
    append,
    bounded,
    history_keys,
    start_state,
    train_epochs,
    train_stream,
    validation_loss,
)
from skgd.validation import (
    all_finite,
    canonical,
    check_indices,
    is_plain_target,
    is_ready,
    is_whole,
    naming,
    read_features,
    read_target,
    read_weight,
)

__all__ = ["GDClassifier", "GDRegressor"]


# What may change before `fit` goes on from a checkpoint: when to stop, and what to print.
_MAY_CHANGE = ("max_iter", "tol", "n_iter_no_change", "verbose", "warm_start")

# Attributes that hold nothing but parameters, checked and resolved.
_MADE_ANEW = ("_given", "_resolved", "_trained_with", "_values")


def _is_linear(estimator: _GDEstimator) -> bool:
    """Say whether there is a ``coef_``; raise the AttributeError that `hasattr` looks for, otherwise."""
    if np.size(estimator.hidden_layer_sizes):
        raise AttributeError(
            f"Only the linear model has coef_, but hidden_layer_sizes={estimator.hidden_layer_sizes!r}."
        )
    return True


class _Absent:
    """What a fitted attribute is where an estimator does not hold it: a descriptor that its own attributes hide."""

    def __init__(self, read: Callable[[_GDEstimator, str], Any]):
        self._read = read

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, estimator: _GDEstimator | None, owner: type) -> Any:
        if estimator is None:
            return self
        if not hasattr(estimator, "_state"):
            raise AttributeError(f"{owner.__name__!r} object has no attribute {self._name!r}")
        return self._read(estimator, self._name)


def _no_coefficients(estimator: _GDEstimator, name: str) -> None:
    raise AttributeError(
        f"{name} is of the linear model. With hidden_layer_sizes={estimator.hidden_layer_sizes!r}, coefs_ and "
        "intercepts_ list the coefficients and intercepts of each layer."
    )


class _GDEstimator(CallbackSupportMixin, BaseEstimator):
    """What the classifier and the regressor share. A subclass says how it reads y and what it predicts."""

    _doc_link_module = "skgd"
    _doc_link_template = f"{API_REFERENCE}/skgd.{{estimator_name}}.html"
    _known_losses: ClassVar[dict[str, type[Loss]]]
    _foreign_losses: ClassVar[tuple[type[Loss], ...]]
    _target_dtype: ClassVar[type | None]
    class_weight: Any = None
    hidden_layer_sizes: Any
    _values: list | None = None
    _trained_with: Plan | None = None
    _fingerprint: int | None = None
    coef_: Any = _Absent(_no_coefficients)
    intercept_: Any = _Absent(_no_coefficients)
    coefs_: Any = _Absent(lambda estimator, name: [coef for coef, _ in estimator._layers()])
    intercepts_: Any = _Absent(lambda estimator, name: [intercept for _, intercept in estimator._layers()])
    n_iter_: int
    t_: int
    engine_: Engine
    optimizer_: Optimizer
    loss_: Loss
    history_: dict[str, list[float]]
    _state: State | Stream

    # -- saving -------------------------------------------------------------------------------------------------------

    def __getstate__(self):
        attributes = super().__getstate__()
        return saved({name: value for name, value in attributes.items() if name not in _MADE_ANEW})

    def __setstate__(self, state):
        super().__setstate__(vars(type(self)()) | loaded(state))  # a parameter that is newer has its default

    def __copy__(self):
        """Return a copy that shares everything but the history, which grows in place."""
        copy = object.__new__(type(self))
        copy.__dict__.update(self.__dict__)
        if "history_" in copy.__dict__:
            copy.history_ = {key: list(values) for key, values in self.history_.items()}
        return copy

    # -- what a subclass defines --------------------------------------------------------------------------------------

    def _learn_outputs(self, y: np.ndarray, loss: Loss, classes: ArrayLike | None) -> tuple[Loss, int, int]:
        """Learn from the first y; return the loss for it, the number of outputs and that of exclusive classes."""
        raise NotImplementedError

    def _is_ready_target(self, y: Any, n_rows: int) -> bool:
        """Say whether y is plainly an array that `_encode` takes; where it is unusual in any way, say no."""
        raise NotImplementedError

    def _encode(self, y: np.ndarray, name: str) -> np.ndarray:
        """Return y as training reads it: floats (rows, outputs), class numbers (rows,), or booleans (rows, labels)."""
        raise NotImplementedError

    # -- training -----------------------------------------------------------------------------------------------------

    def _prepare(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        random_state: np.random.RandomState | None,
        *,
        stream: bool,
        resumed: bool,
        classes: ArrayLike | None = None,
    ) -> tuple[State | Stream, Plan, Loss, Data]:
        """Return what training begins with: the state, new or that of the last call, parameters, loss and data."""
        plan, loss = self._plan(stream=stream)
        X, y, weight = self._read(X, y, sample_weight, resumed)
        if resumed:
            state: State | Stream = self._resume(plan, loss)
        else:
            state = self._begin(X, y, plan, loss, classes, random_state or self._random_state())
        if self.class_weight is not None:
            plan = replace(plan, class_weight=self._class_weight())
        loss.check_target(y)
        return state, plan, loss, (X, self._encode(y, "y"), weight)

    def _walk(self, X: Any, y: Any, sample_weight: Any) -> Walk:
        """Return the steps of ``fit``, of a clone, for `skgd.display`; "auto" does not average what is looked at."""
        random_state = self._random_state()
        state, plan, _, data = self._prepare(X, y, sample_weight, random_state, stream=True, resumed=False)
        return Walk(state.whole, plan, data, random_state)

    @with_callbacks  # here, inside of `_atomic`, which would take away what ends the callbacks
    def _fit(self, X: Any, y: Any, sample_weight: Any, X_val: Any, y_val: Any, sample_weight_val: Any) -> None:
        unfinished: Unfinished | None = getattr(self, "_unfinished", None)  # of a checkpoint
        progress = None if unfinished is None else unfinished.progress
        resumed = hasattr(self, "_state") and (self.warm_start or unfinished is not None)
        random_state = self._random_state()
        start, plan, loss, data = self._prepare(X, y, sample_weight, random_state, stream=False, resumed=resumed)
        state = start.whole
        validation = self._read_validation(X_val, y_val, sample_weight_val, state.dtype, loss)
        if unfinished is not None:
            unfinished.beginning.check(self._lasting_parameters(), data, validation)
            random_state = unfinished.beginning.random_state()
        entries = None if progress is None else progress.entries
        past = self.history_ if resumed else _empty_history(state)
        history = {key: values[:entries] for key, values in past.items()}

        def attributes(state: State, progress: Progress) -> dict[str, Any]:
            so_far = {key: list(values) for key, values in history.items()}
            return self._fitted_attributes(replace(state), progress.epoch) | {"history_": so_far}

        run = None
        if hasattr(self, "_skl_callbacks"):  # LogisticRegression asks so, too: nobody pays for callbacks not there
            states = random_state.get_state(legacy=False)
            beginning = cache(partial(Beginning.of, self._lasting_parameters(), data, validation, states))
            n_epochs = plan.max_iter - (0 if progress is None else progress.epoch)
            run = Run(self, X, y, sample_weight, max(n_epochs, 0), beginning, attributes)
        self.__dict__.pop("_unfinished", None)
        if validation is None and self.early_stopping:
            data, validation = self._hold_out(data, random_state)
        state = replace(
            state,
            columns=ColumnStatistics.empty(state.objective.n_features),
            targets=ColumnStatistics.empty(state.objective.n_outputs),
            class_totals=np.zeros_like(state.class_totals),
        )
        with np.errstate(all="ignore"):
            state, n_iter = train_epochs(state, plan, data, validation, history, random_state, progress, run)
        self._publish(state, n_iter, history)
        if run is not None:
            run.end()

    def _partial_fit(self, X: Any, y: Any, sample_weight: Any, classes: ArrayLike | None) -> None:
        resumed = hasattr(self, "_state")
        state, plan, _, data = self._prepare(X, y, sample_weight, None, stream=True, resumed=resumed, classes=classes)
        if self.early_stopping:
            raise ValueError(
                "partial_fit does not support early_stopping=True, for it sees one batch at a time. Set "
                "early_stopping=False, and score on rows of your own between calls."
            )
        history = bounded(self.history_) if resumed else _empty_history(state)
        with np.errstate(all="ignore"):
            state, entry = train_stream(state, plan, data)
        self._publish(state, 1, history)
        self._trained_with = self._resolved[0]
        append(history, entry)

    def _begin(
        self,
        X: Any,
        y: np.ndarray,
        plan: Plan,
        loss: Loss,
        classes: ArrayLike | None,
        random_state: np.random.RandomState,
    ) -> State:
        """Return the state before training, from the first data seen."""
        loss, n_outputs, n_classes = self._learn_outputs(y, loss, classes)
        of_the_other_kind = ("coef_", "intercept_") if plan.hidden_layer_sizes else ("coefs_", "intercepts_")
        for name in of_the_other_kind:  # than the model that an earlier fit has trained
            self.__dict__.pop(name, None)
        objective = Objective(
            loss=loss,
            n_features=X.shape[1],
            n_outputs=n_outputs,
            fit_intercept=bool(self.fit_intercept),
            alpha=0.0,
            l1_ratio=float(self.l1_ratio),
            coordinates=Coordinates(),
            exclusive_classes=n_classes > 2,
            hidden_layer_sizes=plan.hidden_layer_sizes,
            activation=plan.activation,
        )
        optimizer = plan.optimizer or (Adam() if plan.hidden_layer_sizes else AdaGrad())
        averaging = plan.averaging is not None
        return start_state(objective, optimizer, X.dtype.type, n_classes, averaging, random_state)

    def _resume(self, plan: Plan, loss: Loss) -> State | Stream:
        """Return the state to go on from: the last one, with the parameters, perhaps set anew, of this call."""
        untouched = self._fingerprint is not None and self._fingerprint == self._fingerprint_of_layers()
        if untouched and self._trained_with is plan:
            return self._state
        state = self._state.whole
        coordinates = state.objective.coordinates
        same_coordinates = coordinates.plain is not bool(self.precondition)
        objective = replace(
            state.objective,
            loss=loss.multiclass() if state.objective.exclusive_classes else loss,
            l1_ratio=float(self.l1_ratio),
            coordinates=coordinates if same_coordinates else Coordinates(),
            activation=plan.activation,
        )
        lasting = {"fit_intercept": bool(self.fit_intercept), "hidden_layer_sizes": plan.hidden_layer_sizes}
        for name, value in lasting.items():
            if value != getattr(objective, name):
                raise ValueError(
                    f"{name}={value!r} was set after training began with {name}={getattr(objective, name)!r}. "
                    "Train a new model: clone(estimator).fit(...)."
                )
        layers = self._checked_layers()
        with np.errstate(over="ignore"):
            as_published = partial(np.ascontiguousarray, dtype=state.dtype)
            same = [(as_published(coef), as_published(intercept)) for coef, intercept in layers]
        fingerprint = _fingerprint_of(*_parameters_in(self._parameter_attributes(same)))
        known = untouched or (fingerprint is not None and fingerprint == self._fingerprint)
        optimizer = plan.optimizer or state.optimizer
        same_rule = type(optimizer) is type(state.optimizer)
        if known and same_rule and same_coordinates:
            iterate = state.iterate
        else:  # coefficients set from outside, another optimizer or other coordinates: start there, with empty slots
            theta = objective.from_user(layers, state.iterate.theta.dtype)
            iterate = initial_iterate(theta, optimizer, False)._replace(t=state.iterate.t)
        if plan.averaging is None and iterate.average is not None:  # the average ends: what it predicted goes on
            shown = readout(iterate, optimizer, objective)
            slots = optimizer.rebase(lambda _: shown, iterate.theta, iterate.slots, optimizer.hyper())
            iterate = iterate._replace(theta=shown, slots=slots, average=None, averaged=0)
        elif plan.averaging is not None and iterate.average is None:
            iterate = iterate._replace(average=iterate.theta, averaged=0)
        return replace(state, objective=objective, optimizer=optimizer, iterate=iterate)

    def _layers(self) -> list[Layer]:
        """Return the model's layers, each (n_inputs, n_outputs) and (n_outputs,), from the fitted attributes."""
        if "coef_" not in vars(self):
            if len(self.coefs_) != len(self.intercepts_):
                raise ValueError(
                    f"coefs_ was set to {len(self.coefs_)} layers, but intercepts_ to {len(self.intercepts_)}. Set as "
                    "many of both."
                )
            return list(zip(map(np.asarray, self.coefs_), map(np.asarray, self.intercepts_), strict=True))
        coef = self.coef_.toarray() if sp.issparse(self.coef_) else np.asarray(self.coef_)
        return [(np.atleast_2d(coef).T, np.atleast_1d(self.intercept_))]

    def _fingerprint_of_layers(self) -> int | None:
        """Return a number that changes with the fitted parameters, or None where they are not plain arrays."""
        return _fingerprint_of(*_parameters_in(vars(self)))

    def _checked_layers(self) -> list[Layer]:
        """Return the layers, perhaps set anew from outside, if training can go on from them."""
        layers, sizes = self._layers(), self._state.objective.layer_sizes
        linear = "coef_" in vars(self)
        if len(layers) != len(sizes) - 1:
            raise ValueError(f"coefs_ was set to {len(layers)} layers. Training goes on from {len(sizes) - 1} only.")
        for i, ((coef, intercept), (n_inputs, n_outputs)) in enumerate(zip(layers, pairwise(sizes), strict=True)):
            if linear:
                parts = ("coef_", coef.T, (n_outputs, n_inputs)), ("intercept_", intercept, (n_outputs,))
            else:
                parts = (f"coefs_[{i}]", coef, (n_inputs, n_outputs)), (f"intercepts_[{i}]", intercept, (n_outputs,))
            for name, values, shape in parts:
                if values.shape != shape:
                    raise ValueError(f"{name} was set to the shape {values.shape}. Training goes on from {shape} only.")
                if not np.isfinite(values).all():
                    raise ValueError(f"{name} was set to numbers that are not finite. Training cannot go on from them.")
        return layers

    def _publish(self, state: State | Stream, n_iter: int, history: dict[str, list[float]]) -> None:
        """Set the fitted attributes, all at once, so that another thread that predicts never sees half of them."""
        self.__dict__.pop("_unfinished", None)
        self.__dict__.update(self._fitted_attributes(state, n_iter) | {"history_": history})

    def _fitted_attributes(self, state: State | Stream, n_iter: int) -> dict[str, Any]:
        """Return the attributes of an estimator that has learnt until ``state``."""
        parameters = self._parameter_attributes(state.published())
        return {
            **parameters,
            "_fingerprint": _fingerprint_of(*_parameters_in(parameters)),
            "n_iter_": n_iter,
            "t_": state.t,
            "engine_": state.engine,
            "optimizer_": state.optimizer,
            "loss_": state.objective.loss,
            "_state": state,
        }

    def _parameter_attributes(self, layers: list[Layer]) -> dict[str, Any]:
        """Return the attributes that hold the parameters."""
        if len(layers) == 1:
            [(coef, intercept)] = layers
            # Without negative zeros, which a sparse matrix does not keep.
            return {"coef_": np.ascontiguousarray(coef.T) + 0.0, "intercept_": intercept}
        coefs, intercepts = ([part.copy() for part in parts] for parts in zip(*layers, strict=True))
        return {"coefs_": coefs, "intercepts_": intercepts}

    @contextmanager
    def _atomic(self) -> Iterator[None]:
        """Leave the estimator exactly as it was if anything raises: training replaces attributes, never edits them.

        One thing grows in place: the history of a stream, because copying it would take longer than a step.
        """
        attributes = self.__dict__
        before = attributes.copy()
        history = before.get("history_", {})
        n_entries = len(history.get("objective", ()))
        try:
            yield
        except BaseException:
            attributes.update(before)  # all at once, as in `_publish`
            for name in attributes.keys() - before.keys():
                del attributes[name]
            for values in history.values():
                del values[n_entries:]
            raise

    def _loss_kind(self) -> Loss | type[Loss]:
        """Return the loss, or its class, without checking it."""
        if isinstance(self.loss, Loss):
            return self.loss
        return self._known_losses.get(self.loss, Loss) if isinstance(self.loss, str) else Loss

    # -- reading parameters and data ----------------------------------------------------------------------------------

    def _plan(self, *, stream: bool) -> tuple[Plan, Loss]:
        """Return the parameters, checked and resolved, for ``partial_fit`` or ``fit``; the last ones if still equal."""
        averaged = hasattr(self, "_state") and self._state.averaging
        values = [stream, averaged, *map(vars(self).get, self._parameter_names())]
        if self._values is None or not all(map(is_, values, self._values)):
            given = [snapshot(value) for value in values]
            if getattr(self, "_given", None) != given:
                self._resolved: tuple[Plan, Loss] = self._resolve(stream=stream, averaged=averaged)
                self._given: list = given
            # What may change inside is looked into each time.
            self._values = None if any(isinstance(value, (Strategy, list, np.ndarray)) for value in values) else values
        return self._resolved

    @classmethod
    @cache
    def _parameter_names(cls) -> tuple[str, ...]:
        return tuple(cls().get_params(deep=False))  # which reads the signature anew each time

    def _lasting_parameters(self) -> dict[str, Any]:
        """Return snapshots of the parameters that may not change before `fit` goes on from a checkpoint."""
        return {name: snapshot(getattr(self, name)) for name in self._parameter_names() if name not in _MAY_CHANGE}

    def _resolve(self, *, stream: bool, averaged: bool) -> tuple[Plan, Loss]:
        """Check every parameter and return them resolved."""
        for name in ("fit_intercept", "early_stopping", "shuffle", "precondition", "warm_start"):
            if not isinstance(getattr(self, name), (bool, np.bool_)):
                raise TypeError(f"{name} must be True or False, got {getattr(self, name)!r}.")
        if not (isinstance(self.alpha, str) and self.alpha == "auto"):
            self._check_number("alpha", Real, 0.0, None, "left", " It may also be 'auto'.")
        self._check_number("l1_ratio", Real, 0.0, 1.0, "both")
        self._check_number("max_iter", Integral, 1, None, "left")
        if not (isinstance(self.n_iter_no_change, str) and self.n_iter_no_change == "auto"):
            self._check_number("n_iter_no_change", Integral, 1, None, "left", " It may also be 'auto'.")
        self._check_number("validation_fraction", Real, 0.0, 1.0, "neither")
        if self.tol is not None:
            self._check_number("tol", Real, 0.0, None, "left")
        if not isinstance(self.verbose, (bool, np.bool_)):
            self._check_number("verbose", Integral, 0, None, "left")
        if self.max_grad_norm is not None:
            self._check_number("max_grad_norm", Real, 0.0, None, "neither")
        if not (self.batch_size is None or (isinstance(self.batch_size, str) and self.batch_size == "auto")):
            self._check_number("batch_size", Integral, 1, None, "left", " It may also be 'auto', or None for all rows.")
        named = isinstance(self.average, str) and self.average in ("polynomial", "auto")
        if not (named or isinstance(self.average, (bool, np.bool_))):
            otherwise = " It may also be True, False, 'polynomial' or 'auto'."
            self._check_number("average", Integral, 1, None, "left", otherwise)
        loss = resolve(self.loss, self._known_losses, Loss, "loss")
        if type(loss) in self._foreign_losses:
            known = ", ".join(map(repr, self._known_losses))
            raise ValueError(f"loss={self.loss!r} is not for {type(self).__name__}. Use one of {known}, or your own.")
        activation = resolve(self.activation, ACTIVATIONS, Activation, "activation")
        automatic = isinstance(self.optimizer, str) and self.optimizer == "auto"
        optimizer = None if automatic else resolve(self.optimizer, OPTIMIZERS, Optimizer, "optimizer")
        if self.l1_ratio and isinstance(self.alpha, str):
            raise ValueError(
                f"l1_ratio={self.l1_ratio!r} needs a number for alpha, the strength of the penalty, got "
                f"alpha={self.alpha!r}."
            )
        if self.alpha and self.l1_ratio and optimizer is not None and not optimizer.proximal:
            raise ValueError(
                f"l1_ratio={self.l1_ratio!r} needs a proximal step, which optimizer={self.optimizer!r} does not have. "
                "Use l1_ratio=0, or another optimizer: 'adagrad', 'ftrl', 'adam', ..."
            )
        own = self.learning_rate is None
        its = "auto" if optimizer is None else optimizer.learning_rate
        schedule = resolve_schedule(its if own else self.learning_rate, "learning_rate")
        average = bool(self.average) if isinstance(self.average, np.bool_) else self.average
        if average == "auto":  # a stream goes on with the average that ``fit`` began, but does not begin one
            average = "polynomial" if averaged or not stream else False
        plan = Plan(
            optimizer=optimizer,
            schedule=schedule,
            alpha=self.alpha if self.alpha == "auto" else float(self.alpha),
            batch_size=self.batch_size,
            max_iter=int(self.max_iter),
            tol=self.tol,
            n_iter_no_change="auto" if self.n_iter_no_change == "auto" else int(self.n_iter_no_change),
            shuffle=bool(self.shuffle),
            average=average,
            precondition=bool(self.precondition),
            max_grad_norm=self.max_grad_norm,
            verbose=int(self.verbose),
            hidden_layer_sizes=self._checked_layer_sizes(),
            activation=activation,
        )
        return plan, loss

    def _checked_layer_sizes(self) -> tuple[int, ...]:
        """Return the numbers of neurons of the hidden layers."""
        sizes = self.hidden_layer_sizes
        sizes = sizes.tolist() if isinstance(sizes, np.ndarray) else sizes
        sizes = (sizes,) if isinstance(sizes, Integral) else sizes
        if not isinstance(sizes, (tuple, list)) or not all(
            isinstance(size, Integral) and not isinstance(size, (bool, np.bool_)) for size in sizes
        ):
            raise TypeError(
                "hidden_layer_sizes must be a tuple of integers, the numbers of neurons of hidden layers, or () for "
                f"the linear model, got {self.hidden_layer_sizes!r}."
            )
        if any(size < 1 for size in sizes):
            raise ValueError(f"hidden_layer_sizes must be at least 1 each, got {self.hidden_layer_sizes!r}.")
        return tuple(map(int, sizes))

    def _check_number(
        self, name: str, kind: type, low: float, high: float | None, ends: str, otherwise: str = ""
    ) -> None:
        value = getattr(self, name)
        number = isinstance(value, kind) and not isinstance(value, (bool, np.bool_))
        if not number:
            what = "an integer" if kind is Integral else "a number"
            raise TypeError(f"{name} must be {what}, got {value!r}.{otherwise}")
        if not is_finite(value):
            raise ValueError(f"{name} must be finite, got {value!r}.{otherwise}")
        try:
            check_scalar(value, name, kind, min_val=low, max_val=high, include_boundaries=ends)
        except ValueError as error:
            raise ValueError(f"{error}{otherwise}") from None

    def _read(self, X: Any, y: Any, sample_weight: Any, resumed: bool) -> tuple[Any, np.ndarray, np.ndarray | None]:
        """Return checked X, y and weights, without the rows of weight zero."""
        if y is None:
            raise ValueError(f"{type(self).__name__} requires y to be passed, but the target y is None.")
        dtypes = (self._state.dtype.type,) if resumed else (np.float64, np.float32)
        if resumed and is_ready(self, X, dtypes) and self._is_ready_target(y, X.shape[0]):
            X = canonical(X)
        else:
            X = read_features(self, X, dtypes, reset=not resumed)
            y = _single_column_raveled(read_target(self, y, X.shape[0], self._target_dtype))
        weight = read_weight(sample_weight, X.shape[0], "sample_weight")
        if weight is not None and not weight.all():
            keep = np.flatnonzero(weight)
            X, y, weight = X[keep], y[keep], weight[keep]
        return X, y, weight

    def _read_validation(self, X: Any, y: Any, sample_weight: Any, dtype: np.dtype, loss: Loss) -> Data | None:
        """Return the checked validation set, if there is one."""
        if X is None:
            if y is not None or sample_weight is not None:
                raise ValueError("y_val and sample_weight_val need X_val, which is None.")
            return None
        if y is None:
            raise ValueError("X_val needs y_val, which is None.")
        X = read_features(self, X, (dtype.type,), "X_val")
        y = read_target(self, y, X.shape[0], self._target_dtype, "y_val")
        try:
            loss.check_target(y)
        except ValueError as error:
            raise ValueError(f"y_val: {error}") from None
        return X, self._encode(y, "y_val"), read_weight(sample_weight, X.shape[0], "sample_weight_val")

    def _validation_loss(self, X: Any, y: Any, sample_weight: Any) -> float:
        """Return the loss of a validation set, as ``history_`` has it."""
        state, plan = self._state.whole, replace(self._resolved[0], class_weight=self._class_weight())
        validation: Any = self._read_validation(X, y, sample_weight, state.dtype, self.loss_)
        return validation_loss(state, plan, validation)

    def _hold_out(self, data: Data, random_state: np.random.RandomState) -> tuple[Data, Data]:
        """Split the data into a part to train on and a part to validate with, with all classes in both."""
        X, y, weight = data
        classes = y if y.ndim == 1 else None
        try:
            parts = train_test_split(
                np.arange(X.shape[0]),
                test_size=self.validation_fraction,
                stratify=classes,
                random_state=random_state,
            )
        except ValueError as error:
            raise ValueError(
                f"early_stopping=True could not hold out validation_fraction={self.validation_fraction!r} of "
                f"{X.shape[0]} rows: {error} Change validation_fraction, or pass X_val and y_val to fit."
            ) from None
        train, validation = ((X[i], y[i], None if weight is None else weight[i]) for i in parts)
        return train, validation

    def _random_state(self) -> np.random.RandomState:
        try:
            return check_random_state(self.random_state)
        except ValueError as error:
            raise ValueError(f"random_state={self.random_state!r}: {error}") from None

    def _class_weight(self) -> np.ndarray | str | None:
        """Return the weights of the classes, or "balanced", or None for weights of one."""
        return None

    # -- prediction ---------------------------------------------------------------------------------------------------

    def _raw(self, X: Any) -> np.ndarray:
        """Return the raw prediction, (rows,) for one output, else (rows, outputs)."""
        fitted = vars(self).copy()  # of one moment: another thread may train this estimator meanwhile
        if "_state" not in fitted:
            check_is_fitted(self)
        X = read_features(self, X, (np.float64, np.float32))
        with np.errstate(over="ignore", invalid="ignore"):
            if "coef_" in fitted:
                raw = safe_sparse_dot(X, fitted["coef_"].T, dense_output=True) + fitted["intercept_"]
            else:
                layers = list(zip(fitted["coefs_"], fitted["intercepts_"], strict=True))
                *_, raw = forward(layers, X, fitted["_state"].objective.activation)
            return _representable(raw)

    @available_if(_is_linear)
    def sparsify(self) -> Self:
        """Turn ``coef_`` into a sparse matrix, which saves memory where an L1 penalty has made most of it zero.

        Returns
        -------
        self : object
        """
        check_is_fitted(self)
        if not sp.issparse(self.coef_):
            self.coef_ = sp.csr_array(np.atleast_2d(self.coef_))
        return self

    @available_if(_is_linear)
    def densify(self) -> Self:
        """Turn ``coef_`` back into an array, the inverse of :meth:`sparsify`.

        Returns
        -------
        self : object
        """
        check_is_fitted(self)
        if sp.issparse(self.coef_):
            self.coef_ = self.coef_.toarray()
        return self

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    @available_if(strategies_of)
    def _sk_visual_block_(self) -> SimpleNamespace:
        """Show strategy objects in a notebook as scikit-learn shows a meta-estimator's parts: a box for each."""
        parts = strategies_of(self)
        names = [f"{name}: {' '.join(repr(part).split())}" for name, part in parts.items()]
        estimators, untitled = list(parts.values()), [None] * len(parts)
        return SimpleNamespace(
            kind="parallel", estimators=estimators, names=names, name_details=untitled, dash_wrapped=True
        )


def _parameters_in(attributes: Mapping[str, Any]) -> list[Any]:
    """Return the fitted parameters among the attributes of an estimator."""
    if "coef_" in attributes:
        return [attributes["coef_"], attributes["intercept_"]]
    return [*attributes["coefs_"], *attributes["intercepts_"]]


def _fingerprint_of(*arrays: Any) -> int | None:
    """Return a number that changes with arrays, or None where they are not plain ones."""
    fingerprint = 0
    for array in arrays:
        if type(array) is not np.ndarray or not array.flags.c_contiguous:
            return None
        fingerprint = zlib.crc32(array.data, fingerprint)
    return fingerprint


def _empty_history(state: State | Stream) -> dict[str, list[float]]:
    """Return a history without an epoch."""
    return {key: [] for key in history_keys(len(state.objective.layer_sizes) - 1)}


def _representable(predictions: np.ndarray) -> np.ndarray:
    """Return the predictions, if they are finite numbers."""
    if not all_finite(predictions):
        row, *_ = np.argwhere(~np.isfinite(predictions))[0]
        raise ValueError(
            f"The prediction for row {row} of X, {predictions[row]}, cannot be represented in {predictions.dtype}: "
            "the row is too far from those that the model was trained with."
        )
    return predictions


class GDRegressor(RegressorMixin, _GDEstimator):
    r"""Regression by gradient descent, linear or by a network, with any loss, optimizer and learning-rate schedule.

    Minimises

    .. math:: \frac{\sum_i s_i \ell(y_i, x_i \cdot w + b)}{\sum_i s_i}
              + \alpha \left( \frac{1 - \rho}{2} \|w\|_2^2 + \rho \|w\|_1 \right)

    over the coefficients w and the intercept b, with the sample weights s and :math:`\rho` = ``l1_ratio``. With the
    squared error this is ``Ridge(alpha=n_samples * alpha)``.

    Parameters
    ----------
    loss : str or Loss, default="squared_error"
        "squared_error", "huber", "absolute_error", "epsilon_insensitive", "squared_epsilon_insensitive", "quantile",
        "poisson", "gamma", "tweedie", or a :class:`~skgd.losses.Loss` object, such as ``Quantile(0.9)``. The last three
        named have a log link: ``predict`` returns the mean ``exp(x @ coef_ + intercept_)``.
    hidden_layer_sizes : int or tuple of int, default=()
        The numbers of neurons of the hidden layers, from the input on: ``(64, 32)`` is a multilayer perceptron with
        two. The default is the linear model.
    activation : str or Activation, default="relu"
        What hidden neurons make of what they receive: "relu", "leaky_relu", "elu", "gelu", "silu", "tanh", "logistic",
        "identity", or an :class:`~skgd.activations.Activation` object.
    optimizer : str or Optimizer, default="auto"
        "sgd", "adagrad", "rmsprop", "adadelta", "adam", "adamw", "adamax", "nadam", "radam", "adabelief", "yogi",
        "lion", "ftrl", "schedule_free", or an :class:`~skgd.optimizers.Optimizer` object, such as
        ``SGD(momentum=0.9)``. "auto" is AdaGrad, or Adam with hidden layers.
    learning_rate : float, str, Schedule or callable, default=None
        The rate of each step: a number above 0, "auto" (derived from the data; the linear model's steps are then
        implicit, and cannot overshoot), the name of a schedule, a :class:`~skgd.schedules.Schedule` or a function from
        step numbers to rates. None takes the optimizer's own.
    alpha : float or "auto", default="auto"
        The strength of the penalty, at least 0. "auto" is 1e-5 where less than 15 % of X is not zero, as in text,
        and else 0, because a penalty on coefficients in the units of the columns would depend on these.
    l1_ratio : float, default=0.0
        The share of the L1 norm in the penalty, between 0 (ridge) and 1 (lasso).
    fit_intercept : bool, default=True
        Whether to learn intercepts, in every layer. They are never penalised.
    batch_size : int, "auto" or None, default="auto"
        The number of rows in one step: 1 is stochastic, None (all rows) batch gradient descent. "auto" takes all rows
        up to 1000 of them (with hidden layers 64), 32 of those that are mostly zeros, else 32 to 256; in
        ``partial_fit`` 8.
    max_iter : int, default=1000
        The largest number of epochs (passes over the rows) of ``fit``.
    tol : float or None, default=1e-2
        Training stops when the objective (with a validation set: its loss) has not fallen below its best so far for
        ``n_iter_no_change`` epochs, by this fraction of itself (plus 3 % of the untrained model's loss, so that what
        fits perfectly ends, too). In epochs of fewer than 300 steps, proportionally less is asked for; with
        ``alpha="auto"`` and more than one batch, ``1 + 120 * min(parameters / rows, 0.2)`` times as much, because more
        training would fit the rows' noise. Where there are 100 rows and more for each parameter, a first epoch of
        shuffled rows at automatic rates is compared with its own middle: the loss of rows from there, before their step
        and at the end. Neither holds with hidden layers or a validation set. None trains for ``max_iter`` epochs.
    n_iter_no_change : int or "auto", default="auto"
        See ``tol``. "auto" is 1 in epochs of about 500 steps or more, 2 from about 160, and 3 in shorter ones; 3 with a
        validation set, whose loss is noisier. With hidden layers it is as many epochs as have about 300 steps.
    early_stopping : bool, default=False
        Whether to hold out rows of ``fit``, to stop when their loss no longer falls, and to keep the best epoch's
        parameters. Not needed where ``X_val`` and ``y_val`` are passed to ``fit``, which does the same.
    validation_fraction : float, default=0.1
        The fraction of rows that ``early_stopping`` holds out, between 0 and 1, both excluded.
    shuffle : bool, default=True
        Whether ``fit`` shuffles the rows before each epoch. ``partial_fit`` never does.
    average : bool, int, "polynomial" or "auto", default="auto"
        Whether the coefficients are an average of the iterates: True weighs all of them alike (Polyak and Ruppert), an
        integer those after so many steps; "polynomial" forgets the first ones (Shamir and Zhang). Where batches of
        ``fit`` have one or two rows, or columns are rare, only every few iterates count: as often as a column occurs
        about three times. "auto" is "polynomial" in ``fit`` and after it, and False in a stream of ``partial_fit``
        alone, because it may drift.
    precondition : bool, default=True
        Whether the optimizer works in standardised coordinates. It changes the path, never the minimiser. False is the
        plain textbook update.
    max_grad_norm : float or None, default=None
        Gradients with a larger Euclidean norm (in the optimizer's coordinates) are scaled down to it.
    warm_start : bool, default=False
        Whether ``fit`` goes on from where the last call ended.
    random_state : int, RandomState or None, default=None
        Determines the shuffling, the rows that ``early_stopping`` holds out, and where networks begin.
    verbose : int, default=0
        Whether to print ``history_`` as a table, a line an epoch.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,) or (n_targets, n_features)
        The coefficients, in the units of X and y.
    intercept_ : ndarray of shape (1,) or (n_targets,)
        The intercept.
    coefs_ : list of ndarray of shape (n_inputs, n_outputs)
        The coefficients of each layer, the first one's in the units of X. With hidden layers, there is no ``coef_``.
    intercepts_ : list of ndarray of shape (n_outputs,)
        The intercepts of each layer.
    n_iter_ : int
        The number of epochs of the last call.
    t_ : int
        The number of steps behind the coefficients.
    history_ : dict of lists
        One entry an epoch: objective, loss, gradient_norm, learning_rate, validation_loss and validation_score (that of
        ``score``; both nan without a validation set), seconds. Loss and gradient norm are means over the epoch's
        batches, each before its step; the objective adds the penalty before the last step (in ``partial_fit``, its
        mean); the learning rate is that of the last step; the validation set is looked at after it. With hidden layers,
        gradient_norm_layer_1 is of ``coefs_[0]`` and ``intercepts_[0]``, and so on. A call of ``partial_fit`` is an
        entry, of which the latest 1000 to 2000 are kept; ``warm_start`` goes on with the list.
        ``pandas.DataFrame(model.history_)`` is a table of it, :class:`~skgd.display.TrainingDisplay` a picture.
    engine_ : str
        What ran the last call: "compiled" (by Numba) or "vectorized" (NumPy: for small problems, and where Numba is
        missing or cannot compile a rule of your own). Their results agree but for rounding.
    optimizer_ : Optimizer
        The optimizer used; with ``optimizer="auto"``, the one chosen.
    loss_ : Loss
        The loss used.
    n_features_in_ : int
        The number of features seen during fit.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        The names of the features, where X has string column names.

    See Also
    --------
    skgd.callbacks : Callbacks of ``fit``: early stopping, checkpoints, and those of scikit-learn.
    sklearn.linear_model.SGDRegressor : Stochastic gradient descent, one row at a time.
    sklearn.linear_model.Ridge : The same minimiser for the squared error, by linear algebra.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from skgd import GDRegressor
    >>> X, y = load_diabetes(return_X_y=True, scaled=False)
    >>> GDRegressor(random_state=0).fit(X, y).score(X, y) > 0.5
    True
    """

    _known_losses = REGRESSOR_LOSSES
    _target_dtype = np.float64
    _foreign_losses = (*CLASSIFIER_LOSSES.values(), SoftmaxLoss)

    def __init__(
        self,
        loss: str | Loss = "squared_error",
        *,
        hidden_layer_sizes: tuple[int, ...] | int = (),
        activation: str | Activation = "relu",
        optimizer: str | Optimizer = "auto",
        learning_rate: LearningRate | None = None,
        alpha: float | str = "auto",
        l1_ratio: float = 0.0,
        fit_intercept: bool = True,
        batch_size: int | Literal["auto"] | None = "auto",
        max_iter: int = 1000,
        tol: float | None = 1e-2,
        n_iter_no_change: int | Literal["auto"] = "auto",
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        shuffle: bool = True,
        average: bool | int | str = "auto",
        precondition: bool = True,
        max_grad_norm: float | None = None,
        warm_start: bool = False,
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ):
        self.loss = loss
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.alpha = alpha
        self.l1_ratio = l1_ratio
        self.fit_intercept = fit_intercept
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.tol = tol
        self.n_iter_no_change = n_iter_no_change
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.shuffle = shuffle
        self.average = average
        self.precondition = precondition
        self.max_grad_norm = max_grad_norm
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        X_val: ArrayLike | None = None,
        y_val: ArrayLike | None = None,
        sample_weight_val: ArrayLike | None = None,
    ) -> GDRegressor:
        """Train on the rows of X until the objective stops falling.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The features; float32 is kept, everything else becomes float64.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            The targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of at least 0: a weight of 2 is the row twice, of 0 no row.
        X_val, y_val : default=None
            A validation set, to stop by and to choose the best epoch with. With metadata routing, a pipeline passes it
            on, ``set_fit_request(X_val=True, y_val=True)``, and transforms it like X,
            ``Pipeline(..., transform_input=["X_val"])``.
        sample_weight_val : default=None
            Weights of the validation set's rows.

        Returns
        -------
        self : GDRegressor

        Raises
        ------
        ValueError, TypeError
            For bad parameters or data, and where training diverges. The estimator is then as it was before.
        """
        with self._atomic():
            self._fit(X, y, sample_weight, X_val, y_val, sample_weight_val)
        return self

    def partial_fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> GDRegressor:
        """Learn from some more rows: one pass, in the order given.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The features.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            The targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of at least 0.

        Returns
        -------
        self : GDRegressor

        Raises
        ------
        ValueError, TypeError
            For bad parameters or data, and where training diverges. The estimator is then as it was before.
        """
        with self._atomic():
            self._partial_fit(X, y, sample_weight, None)
        return self

    def predict(self, X: ArrayLike) -> np.ndarray:
        """Predict the target: its mean, median or quantile, whichever the loss is about.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The features.

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_targets)
        """
        raw = self._raw(X)
        raw = raw.ravel() if not self._output_shape else raw
        if not self.loss_.log_link:
            return raw
        with np.errstate(over="ignore"):
            return _representable(np.exp(raw))

    @available_if(_is_linear)
    def densify(self) -> Self:
        """Turn ``coef_`` back into an array, the inverse of :meth:`sparsify`.

        Returns
        -------
        self : object
        """
        super().densify()
        if not self._output_shape:
            self.coef_ = self.coef_.ravel()
        return self

    def _learn_outputs(self, y, loss, classes):
        self._output_shape = y.shape[1:]
        return loss, int(np.prod(self._output_shape)), 0

    def _is_ready_target(self, y, n_rows):
        return is_plain_target(y, np.float64) and len(y) == n_rows

    def _encode(self, y, name):
        y = _single_column_raveled(y, warn=False)
        if y.shape[1:] != self._output_shape:
            raise ValueError(
                f"{name} has the shape {y.shape}, but training needs one of the shape "
                f"(n_samples, *{self._output_shape})."
            )
        return y.astype(np.float64, copy=False).reshape(len(y), -1)

    def _parameter_attributes(self, layers):
        attributes = super()._parameter_attributes(layers)
        if "coef_" in attributes and not self._output_shape:
            attributes["coef_"] = attributes["coef_"].ravel()
        return attributes

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        log_link = self._loss_kind().log_link
        tags.target_tags.positive_only = log_link
        # scikit-learn's multi-output check has negative targets. (Positive ones work with several outputs too.)
        tags.target_tags.multi_output = not log_link
        return tags


def _single_column_raveled(y: np.ndarray, warn: bool = True) -> np.ndarray:
    return column_or_1d(y, warn=warn) if y.ndim == 2 and y.shape[1] == 1 else y


def _estimates_probabilities(loss: Loss | type[Loss]) -> bool:
    return loss.normalized or loss.probability is not None


def _probability_means_something(estimator: GDClassifier) -> bool:
    """Say whether the loss estimates probabilities; raise the AttributeError that `hasattr` looks for, otherwise."""
    kind = estimator._loss_kind()
    learnt = getattr(estimator, "loss_", kind)  # with which the model was trained, whatever the parameter is now
    if not _estimates_probabilities(learnt):
        loss = learnt if _estimates_probabilities(kind) else estimator.loss
        raise AttributeError(
            f"loss={loss!r} does not estimate probabilities. Use loss='log_loss' or 'modified_huber', or put the "
            "classifier into a CalibratedClassifierCV."
        )
    return True


class GDClassifier(ClassifierMixin, _GDEstimator):
    r"""Classification by gradient descent, linear or by a network, with any loss, optimizer and schedule.

    Minimises

    .. math:: \frac{\sum_i s_i \ell(y_i, x_i \cdot w + b)}{\sum_i s_i}
              + \alpha \left( \frac{1 - \rho}{2} \|w\|_2^2 + \rho \|w\|_1 \right)

    over the coefficients w and the intercepts b, with the sample weights s and :math:`\rho` = ``l1_ratio``. With the
    log loss this is ``LogisticRegression(C=1 / (n_samples * alpha))``, multinomial for three or more classes. The other
    losses train one classifier a class against the rest. A y of zeros and ones with several columns is multilabel: one
    binary classifier a column.

    Parameters
    ----------
    loss : str or Loss, default="log_loss"
        "log_loss" (logistic regression), "hinge" (linear support vector machine), "squared_hinge", "modified_huber",
        "perceptron", or a :class:`~skgd.losses.Loss` object.
    hidden_layer_sizes : int or tuple of int, default=()
        The numbers of neurons of the hidden layers, from the input on: ``(64, 32)`` is a multilayer perceptron with
        two. The default is the linear model.
    activation : str or Activation, default="relu"
        What hidden neurons make of what they receive: "relu", "leaky_relu", "elu", "gelu", "silu", "tanh", "logistic",
        "identity", or an :class:`~skgd.activations.Activation` object.
    optimizer : str or Optimizer, default="auto"
        "sgd", "adagrad", "rmsprop", "adadelta", "adam", "adamw", "adamax", "nadam", "radam", "adabelief", "yogi",
        "lion", "ftrl", "schedule_free", or an :class:`~skgd.optimizers.Optimizer` object, such as
        ``SGD(momentum=0.9)``. "auto" is Adam with hidden layers. For the linear model it is AdaGrad, but plain SGD in
        ``fit`` on rows of mostly zeros in 1000 columns or more, as in text, with ``learning_rate``, ``alpha`` and
        ``batch_size`` left alone: implicit steps of one row each, without a penalty, for one epoch or a few, which
        regularise. Later calls go on with what the first one chose, ``optimizer_``.
    learning_rate : float, str, Schedule or callable, default=None
        The rate of each step: a number above 0, "auto" (derived from the data; the linear model's steps are then
        implicit, and cannot overshoot), the name of a schedule, a :class:`~skgd.schedules.Schedule` or a function from
        step numbers to rates. None takes the optimizer's own.
    alpha : float or "auto", default="auto"
        The strength of the penalty, at least 0. "auto" is 1e-5 where less than 15 % of X is not zero, as in text
        (divided by the square root of the number of classes, if there are three or more), and else 0, because a penalty
        on coefficients in the units of the columns would depend on these. It is 0, too, where ``optimizer="auto"`` is
        plain SGD.
    l1_ratio : float, default=0.0
        The share of the L1 norm in the penalty, between 0 (ridge) and 1 (lasso).
    fit_intercept : bool, default=True
        Whether to learn intercepts, in every layer. They are never penalised.
    batch_size : int, "auto" or None, default="auto"
        The number of rows in one step: 1 is stochastic, None (all rows) batch gradient descent. "auto" takes all rows
        up to 64 of them, 32 of those that are mostly zeros, else 32 to 256; in ``partial_fit`` 8. It is 1 in ``fit``
        where ``optimizer="auto"`` is plain SGD.
    max_iter : int, default=1000
        The largest number of epochs (passes over the rows) of ``fit``.
    tol : float or None, default=1e-2
        Training stops when the objective (with a validation set: its loss) has not fallen below its best so far for
        ``n_iter_no_change`` epochs, by this fraction of itself (plus 3 % of the untrained model's loss, so that what
        fits perfectly ends, too). In epochs of fewer than 300 steps, proportionally less is asked for; with
        ``alpha="auto"`` and more than one batch, ``1 + 120 * min(parameters / rows, 0.2)`` times as much, because more
        training would fit the rows' noise. Where there are 100 rows and more for each parameter, a first epoch of
        shuffled rows at automatic rates is compared with its own middle: the loss of rows from there, before their step
        and at the end. Neither holds with hidden layers or a validation set, nor where ``optimizer="auto"`` is plain
        SGD. There, without a validation set, an epoch has to make progress within itself, too: the loss of its last
        quarter has to be below that of the third by the fraction ``12 * tol``, and above the fraction ``5 * tol`` of
        the untrained model's. None trains for ``max_iter`` epochs.
    n_iter_no_change : int or "auto", default="auto"
        See ``tol``. "auto" is 1 in epochs of about 500 steps or more, 2 from about 160, and 3 in shorter ones, where
        eight steps count as one if ``optimizer="auto"`` is plain SGD; 3 with a validation set, whose loss is noisier.
        With hidden layers it is as many epochs as have about 300 steps.
    early_stopping : bool, default=False
        Whether to hold out rows of ``fit``, to stop when their loss no longer falls, and to keep the best epoch's
        parameters. Not needed where ``X_val`` and ``y_val`` are passed to ``fit``, which does the same.
    validation_fraction : float, default=0.1
        The fraction of rows that ``early_stopping`` holds out, between 0 and 1, both excluded.
    shuffle : bool, default=True
        Whether ``fit`` shuffles the rows before each epoch. ``partial_fit`` never does.
    average : bool, int, "polynomial" or "auto", default="auto"
        Whether the coefficients are an average of the iterates: True weighs all of them alike (Polyak and Ruppert), an
        integer those after so many steps; "polynomial" forgets the first ones (Shamir and Zhang). Where batches of
        ``fit`` have one or two rows, or columns are rare, only every few iterates count: as often as a column occurs
        about three times. "auto" is "polynomial" in ``fit`` and after it, and False in a stream of ``partial_fit``
        alone, because it may drift.
    precondition : bool, default=True
        Whether the optimizer works in standardised coordinates. It changes the path, never the minimiser. False is the
        plain textbook update.
    max_grad_norm : float or None, default=None
        Gradients with a larger Euclidean norm (in the optimizer's coordinates) are scaled down to it.
    class_weight : dict, "balanced" or None, default=None
        Weights above 0 of the classes, which multiply the sample weights. "balanced" gives every class the same total
        weight; in ``partial_fit``, of the rows seen so far. Not for multilabel targets.
    warm_start : bool, default=False
        Whether ``fit`` goes on from where the last call ended.
    random_state : int, RandomState or None, default=None
        Determines the shuffling, the rows that ``early_stopping`` holds out, and where networks begin.
    verbose : int, default=0
        Whether to print ``history_`` as a table, a line an epoch.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The classes; the numbers of the columns, for a multilabel y.
    coef_ : ndarray of shape (1, n_features) or (n_classes, n_features)
        The coefficients, in the units of X; one row for two classes.
    intercept_ : ndarray of shape (1,) or (n_classes,)
        The intercepts.
    coefs_ : list of ndarray of shape (n_inputs, n_outputs)
        The coefficients of each layer, the first one's in the units of X. With hidden layers, there is no ``coef_``.
    intercepts_ : list of ndarray of shape (n_outputs,)
        The intercepts of each layer.
    n_iter_ : int
        The number of epochs of the last call.
    t_ : int
        The number of steps behind the coefficients.
    history_ : dict of lists
        One entry an epoch: objective, loss, gradient_norm, learning_rate, validation_loss and validation_score (that of
        ``score``; both nan without a validation set), seconds. Loss and gradient norm are means over the epoch's
        batches, each before its step; the objective adds the penalty before the last step (in ``partial_fit``, its
        mean); the learning rate is that of the last step; the validation set is looked at after it. With hidden layers,
        gradient_norm_layer_1 is of ``coefs_[0]`` and ``intercepts_[0]``, and so on. A call of ``partial_fit`` is an
        entry, of which the latest 1000 to 2000 are kept; ``warm_start`` goes on with the list.
        ``pandas.DataFrame(model.history_)`` is a table of it, :class:`~skgd.display.TrainingDisplay` a picture.
    engine_ : str
        What ran the last call: "compiled" (by Numba) or "vectorized" (NumPy: for small problems, and where Numba is
        missing or cannot compile a rule of your own). Their results agree but for rounding.
    optimizer_ : Optimizer
        The optimizer used; with ``optimizer="auto"``, the one chosen.
    loss_ : Loss
        The loss used.
    n_features_in_ : int
        The number of features seen during fit.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        The names of the features, where X has string column names.

    See Also
    --------
    skgd.callbacks : Callbacks of ``fit``: early stopping, checkpoints, and those of scikit-learn.
    sklearn.linear_model.SGDClassifier : Stochastic gradient descent, one row and one class at a time.
    sklearn.linear_model.LogisticRegression : The same minimiser for the log loss, by second-order solvers.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from skgd import GDClassifier
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> GDClassifier(random_state=0).fit(X, y).score(X, y) > 0.95
    True
    """

    _known_losses = CLASSIFIER_LOSSES
    _target_dtype = None  # labels of any kind
    _foreign_losses = tuple(REGRESSOR_LOSSES.values())

    def __init__(
        self,
        loss: str | Loss = "log_loss",
        *,
        hidden_layer_sizes: tuple[int, ...] | int = (),
        activation: str | Activation = "relu",
        optimizer: str | Optimizer = "auto",
        learning_rate: LearningRate | None = None,
        alpha: float | str = "auto",
        l1_ratio: float = 0.0,
        fit_intercept: bool = True,
        batch_size: int | Literal["auto"] | None = "auto",
        max_iter: int = 1000,
        tol: float | None = 1e-2,
        n_iter_no_change: int | Literal["auto"] = "auto",
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        shuffle: bool = True,
        average: bool | int | str = "auto",
        precondition: bool = True,
        max_grad_norm: float | None = None,
        class_weight: Mapping | str | None = None,
        warm_start: bool = False,
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ):
        self.loss = loss
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.alpha = alpha
        self.l1_ratio = l1_ratio
        self.fit_intercept = fit_intercept
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.tol = tol
        self.n_iter_no_change = n_iter_no_change
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.shuffle = shuffle
        self.average = average
        self.precondition = precondition
        self.max_grad_norm = max_grad_norm
        self.class_weight = class_weight
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        X_val: ArrayLike | None = None,
        y_val: ArrayLike | None = None,
        sample_weight_val: ArrayLike | None = None,
    ) -> GDClassifier:
        """Train on the rows of X until the objective stops falling.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The features; float32 is kept, everything else becomes float64.
        y : array-like of shape (n_samples,) or (n_samples, n_labels)
            The class of each row, or zeros and ones for several labels a row.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of at least 0: a weight of 2 is the row twice, of 0 no row.
        X_val, y_val : default=None
            A validation set, to stop by and to choose the best epoch with. With metadata routing, a pipeline passes it
            on, ``set_fit_request(X_val=True, y_val=True)``, and transforms it like X,
            ``Pipeline(..., transform_input=["X_val"])``.
        sample_weight_val : default=None
            Weights of the validation set's rows.

        Returns
        -------
        self : GDClassifier

        Raises
        ------
        ValueError, TypeError
            For bad parameters or data, and where training diverges. The estimator is then as it was before.
        """
        with self._atomic():
            self._fit(X, y, sample_weight, X_val, y_val, sample_weight_val)
        return self

    def partial_fit(
        self, X: ArrayLike, y: ArrayLike, classes: ArrayLike | None = None, sample_weight: ArrayLike | None = None
    ) -> GDClassifier:
        """Learn from some more rows: one pass, in the order given.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The features.
        y : array-like of shape (n_samples,) or (n_samples, n_labels)
            The class of each row, or zeros and ones for several labels a row.
        classes : array-like of shape (n_classes,), default=None
            All classes that will ever come; needed in the first call, unless y is multilabel.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of at least 0.

        Returns
        -------
        self : GDClassifier

        Raises
        ------
        ValueError, TypeError
            For bad parameters or data, and where training diverges. The estimator is then as it was before.
        """
        with self._atomic():
            known = self.classes_ if hasattr(self, "_state") else None
            if classes is None:
                if known is None and not _is_multilabel(y):
                    raise ValueError(
                        "classes must be passed on the first call to partial_fit: all that will ever come."
                    )
            elif known is None or not np.array_equal(known, classes):
                classes = _read_classes(classes)
                if known is not None and not np.array_equal(np.unique(known), np.unique(classes)):
                    raise ValueError(f"classes={classes!r} differ from those of the first call, {known!r}.")
            self._partial_fit(X, y, sample_weight, classes)
        return self

    def decision_function(self, X: ArrayLike) -> np.ndarray:
        """Return the scores: how far each row is on a class's side.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The features.

        Returns
        -------
        scores : ndarray of shape (n_samples,) or (n_samples, n_classes)
            One column for two classes, positive where ``classes_[1]`` is predicted.
        """
        raw = self._raw(X)
        return raw.ravel() if raw.shape[1] == 1 and not self._multilabel else raw

    def predict(self, X: ArrayLike) -> np.ndarray:
        """Predict the class of each row, or its labels.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The features.

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_labels)
        """
        scores = self.decision_function(X)
        if self._multilabel:
            return (scores > 0.0).astype(np.int64)
        return self.classes_[(scores > 0.0).astype(np.intp) if scores.ndim == 1 else scores.argmax(axis=1)]

    @available_if(_probability_means_something)
    def predict_proba(self, X: ArrayLike) -> np.ndarray:
        """Return the probability of each class, where the loss estimates it.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The features.

        Returns
        -------
        probabilities : ndarray of shape (n_samples, n_classes)
            Rows sum to 1; for a multilabel y each label has a probability of its own.
        """
        scores = self.decision_function(X)
        if self.loss_.normalized:
            with np.errstate(over="ignore"):  # of differences, whose exponential is zero
                return softmax(scores, axis=1)
        positive = self.loss_.probability(scores)
        if scores.ndim == 1:
            return np.column_stack([1.0 - positive, positive])
        if self._multilabel:
            return positive
        return positive / positive.sum(axis=1, keepdims=True)  # one-vs-rest

    @available_if(_probability_means_something)
    def predict_log_proba(self, X: ArrayLike) -> np.ndarray:
        """Return the logarithm of :meth:`predict_proba`.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The features.

        Returns
        -------
        log_probabilities : ndarray of shape (n_samples, n_classes)
        """
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X))

    def _learn_outputs(self, y, loss, classes):
        self._multilabel = _is_multilabel(y)
        if loss.normalized and (self._multilabel or len(np.unique(y if classes is None else classes)) < 3):
            raise ValueError(
                f"loss={loss!r} is for three or more exclusive classes. Use loss='log_loss', which is what fits y: "
                "binary, multinomial or one logistic loss a label."
            )
        if self._multilabel:
            self.classes_ = np.arange(y.shape[1]) if classes is None else classes
            if len(self.classes_) != y.shape[1]:
                raise ValueError(f"classes has {len(self.classes_)} labels, but y has {y.shape[1]} columns.")
            return loss, y.shape[1], 0
        self.classes_ = np.unique(y if classes is None else classes)
        n_classes = len(self.classes_)
        if n_classes < 2:
            raise ValueError(
                f"{type(self).__name__} needs at least 2 classes, but y has one class only: {self.classes_[0]!r}."
            )
        return (loss, 1, 2) if n_classes == 2 else (loss.multiclass(), n_classes, n_classes)

    def _is_ready_target(self, y, n_rows):
        return is_whole(y) and y.dtype == self.classes_.dtype and len(y) == n_rows and not self._multilabel

    def _encode(self, y, name):
        if self._multilabel:
            if y.ndim != 2 or y.shape[1] != len(self.classes_) or not np.isin(y, (0, 1)).all():
                raise ValueError(
                    f"{name} must be multilabel, zeros and ones of the shape (n_samples, {len(self.classes_)}), as in "
                    "the first call."
                )
            return y != 0
        if y.ndim != 1:
            with naming(name):
                y = column_or_1d(y)
        try:
            codes = self.classes_.searchsorted(y)
            unknown = self.classes_.take(codes, mode="clip") != y
        except TypeError:  # labels that cannot be compared, such as strings with numbers
            unknown = np.ones(len(y), dtype=bool)
        if np.count_nonzero(unknown):
            raise ValueError(
                f"{name} contains labels that are not among the classes {self.classes_!r}: "
                f"{set(y[unknown].tolist())!r}."
            )
        return codes

    def _class_weight(self):
        if self.class_weight is None:
            return None
        if self._multilabel:
            raise ValueError(f"class_weight={self.class_weight!r} is not for multilabel y. Pass sample_weight instead.")
        if self.class_weight == "balanced":
            return "balanced"
        if not isinstance(self.class_weight, Mapping):
            raise ValueError(f"class_weight must be a dict, 'balanced' or None, got {self.class_weight!r}.")
        with naming(f"class_weight={self.class_weight!r}"):
            weights = compute_class_weight(self.class_weight, classes=self.classes_, y=self.classes_)
        if not (np.isfinite(weights).all() and (weights > 0.0).all()):
            raise ValueError(f"class_weight must be finite and above 0, got {self.class_weight!r}.")
        return weights

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        # scikit-learn's multilabel checks want predict_proba. (Multilabel works with the other losses too.)
        tags.classifier_tags.multi_label = _estimates_probabilities(self._loss_kind()) and self.class_weight is None
        return tags


def _read_classes(classes: Any) -> np.ndarray:
    """Return the classes checked: labels in one dimension, that can be compared."""
    with naming("classes"):
        classes = check_array(classes, ensure_2d=False, dtype=None, input_name="classes")
        if classes.ndim != 1:
            raise ValueError(f"classes must have one dimension, got the shape {classes.shape}.")
    _type_of_labels(classes, "classes")
    return classes


def _is_multilabel(y: Any) -> bool:
    return _type_of_labels(y, "y") == "multilabel-indicator"


def _type_of_labels(labels: Any, name: str) -> str:
    """Return the type of labels, in scikit-learn's words, if a classifier can learn them."""
    if is_whole(labels) and 2 * len(values := np.unique(labels)) <= len(labels):  # else scikit-learn has its doubts
        return "binary" if len(values) < 3 else "multiclass"
    check_indices(labels, name)
    with naming(name):
        try:
            kind = type_of_target(labels, input_name=name)
        except TypeError:
            raise TypeError(f"{name} must hold labels that can be compared: all of them numbers, or strings.") from None
    if kind not in ("binary", "multiclass", "multilabel-indicator"):
        raise ValueError(
            f"Unknown label type: {name} is {kind}. A classifier needs one class a row (integers, strings, booleans), "
            "or zeros and ones in several columns."
        )
    return kind
