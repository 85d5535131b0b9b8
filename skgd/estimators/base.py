"""The base class of the classifier and the regressor: fitting, resuming, setting attributes, saving."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from itertools import pairwise
from types import SimpleNamespace
from typing import Any, ClassVar, Literal, Self

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils.extmath import safe_sparse_dot
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from skgd.automatic import compares_average
from skgd.coordinates import ColumnStatistics, Coordinates
from skgd.engines import Engine
from skgd.estimators.atomic import atomic, restore
from skgd.estimators.derived import DerivedAttributes
from skgd.estimators.parameters import ResolvedParameters, check_parts
from skgd.estimators.published import (
    ON_DEMAND,
    Absent,
    coefficients,
    fingerprint_of,
    is_untouched,
    layers_shown,
    of_all_layers,
    parameters_in,
    to_be_saved,
    with_fingerprint,
)
from skgd.evaluation import validation_losses
from skgd.history import append, bounded, history_keys
from skgd.lazy_stream import LazyStream
from skgd.losses import Loss
from skgd.names import with_advice
from skgd.networks import Layer, forward
from skgd.objective import Objective
from skgd.optimizers import AdaGrad, Adam, Optimizer
from skgd.persistence import loaded, saved
from skgd.plan import Plan
from skgd.run import Beginning, CallbackSupportMixin, Run, Unfinished, with_callbacks
from skgd.state import Data, Progress, State, part_of, start_state
from skgd.steps import Walk
from skgd.stopping import Ending
from skgd.strategy import plain_repr, strategies_of
from skgd.stream import AnyState, Stream, go_on, train_stream
from skgd.training import train_epochs
from skgd.validation import (
    all_finite,
    canonical,
    is_ready,
    read_features,
    read_target,
    read_weight,
    single_column_raveled,
)
from skgd.wide import WideStream
from skgd.wide_table import OutdatedError

_END_OF_CALL = Ending("stream", kept=1)  # of ``partial_fit``

_NOT_LASTING = "_unfinished", *ON_DEMAND  # attributes that none remain of from before
# Attributes that hold nothing but parameters, checked and resolved.
_MADE_ANEW = ("_given", "_resolved", "_trained_with", "_values")


def is_linear(estimator: GDEstimator) -> bool:
    """Say whether there is a ``coef_``; raise the AttributeError that `hasattr` looks for, otherwise."""
    if np.size(estimator.hidden_layer_sizes):
        raise AttributeError(
            f"Only linear models have coef_, but hidden_layer_sizes={plain_repr(estimator.hidden_layer_sizes)}."
        )
    return True


class GDEstimator(ResolvedParameters, DerivedAttributes, CallbackSupportMixin, BaseEstimator):
    """Base class of the classifier and the regressor. A subclass encodes y and predicts.

    Attributes
    ----------
    coefs_ : list of ndarray of shape (n_inputs, n_outputs)
        The coefficients of each layer, those of the first layer in the units of X. With hidden layers, there is no
        ``coef_``.
    intercepts_ : list of ndarray of shape (n_outputs,)
        The intercepts of each layer.
    alpha_ : float
        The strength of the penalty. If ``alpha="auto"`` chose it, it applies to the coefficients of standardized
        features, and in regression of a standardized target (with outliers, the scale is at most three times a robust
        one): on such data, ``alpha=alpha_`` gives the same model. In streams of 2048 sparse features or more, it
        changes from call to call, and applies the less the more samples have a feature: see :doc:`/defaults`.
    n_iter_ : int
        The number of epochs of the last call.
    converged_ : bool
        Whether the stopping criterion of ``fit`` was met (see ``tol``): a certified minimum, or no more progress if
        that is the criterion.
    stop_reason_ : str
        Why ``fit`` stopped: "converged" (the certificate is at most ``tol``), "no progress" or "validation" (the
        objective, or the validation loss, no longer improved), "cross-validation" (after as many epochs as it chose for
        a network), "stalled" (no progress towards the minimum), "max_iter", "callback", "interrupted"; "stream" after
        ``partial_fit``, and "unfinished" in a callback.
    suboptimality_ : float
        The last estimate of the distance of the objective to its minimum, relative to the gain of the minimum over the
        best constant model; nan if it was not computed.
    best_iter_ : int
        The epoch of the last call that is kept: with a validation set, that with the lowest validation loss, else the
        last one.
    best_score_ : float
        The ``score`` on the validation set after that epoch; nan without one.
    t_ : int
        The number of steps so far.
    history_ : dict of lists
        One entry per epoch: objective, loss, gradient_norm, learning_rate, validation_loss and validation_score (that
        of ``score``; both nan without a validation set), suboptimality (nan if it was not estimated), seconds. Loss and
        gradient norm are means over the batches of the epoch, each before its step; the objective adds the penalty
        before the last step (in ``partial_fit``, its mean); the learning rate is that of the last step; the validation
        set is evaluated after it. With hidden layers, gradient_norm_layer_1 is that of ``coefs_[0]`` and
        ``intercepts_[0]``, and so on. Each call of ``partial_fit`` adds an entry, of which the latest 1000 to 2000 are
        kept; ``warm_start`` appends to the lists. ``pandas.DataFrame(model.history_)`` makes a table of it,
        :class:`~skgd.display.TrainingDisplay` a plot.
    engine_ : str
        The engine of the last call: "compiled" (by Numba) or "vectorized" (NumPy: for small problems, and if Numba is
        missing or cannot compile a custom rule). Their results agree up to rounding. In streams of sparse data with
        many features, "compiled" is also what Python does with the loop before it is compiled, to the same bits.
    optimizer_ : Optimizer
        The optimizer used; with ``optimizer="auto"``, the one chosen.
    loss_ : Loss
        The loss used.
    n_features_in_ : int
        The number of features seen during fit.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        The names of the features, if X has string feature names.
    """

    _known_losses: ClassVar[dict[str, type[Loss]]]
    _foreign_losses: ClassVar[dict[str, type[Loss]]]
    _target_dtype: ClassVar[type | None]
    class_weight: Any = None
    _trained_with: Plan | None = None
    _fingerprint: int | None = None
    coef_: Any = Absent(coefficients)
    intercept_: Any = Absent(coefficients)
    coefs_: Any = Absent(of_all_layers)
    intercepts_: Any = Absent(of_all_layers)
    n_iter_: int
    converged_: bool
    stop_reason_: str
    suboptimality_: float
    best_iter_: int
    best_score_: float
    t_: int
    engine_: Engine
    optimizer_: Optimizer
    loss_: Loss
    history_: dict[str, list[float]]
    classes_: np.ndarray
    _state: AnyState

    def set_params(self, **params: Any) -> Self:
        """Set parameters, also nested ones such as ``optimizer__beta1``.

        Parameters
        ----------
        **params : dict
            The parameters, by name.

        Returns
        -------
        self : object
        """
        check_parts(self, params)
        try:
            return super().set_params(**params)
        except ValueError as error:
            raise with_advice(error, params, self._parameter_names(), "Estimator") from None

    # -- saving -------------------------------------------------------------------------------------------------------

    def __getstate__(self):
        while True:
            attributes = dict(super().__getstate__())  # of one moment: another thread may train meanwhile
            state = attributes.get("_state")
            try:
                attributes = to_be_saved(self, attributes)
                return saved({name: value for name, value in attributes.items() if name not in _MADE_ANEW})
            except OutdatedError:  # for more than one call
                if self._state is state:
                    raise

    def __setstate__(self, state):
        super().__setstate__(vars(type(self)()) | loaded(state))  # a parameter that is newer has its default

    def __copy__(self):
        """Return a copy that shares everything but the history, which grows in place."""
        copy = object.__new__(type(self))
        copy.__dict__.update(self.__dict__)
        if "history_" in copy.__dict__:
            copy.history_ = {key: list(values) for key, values in self.history_.items()}
        state = copy.__dict__.get("_state")
        if isinstance(state, (LazyStream, WideStream)):
            copy._state = state.copied()
        return copy

    # -- what a subclass defines --------------------------------------------------------------------------------------

    def _learn_outputs(
        self, y: np.ndarray, given: np.ndarray, loss: Loss, classes: ArrayLike | None
    ) -> tuple[Loss, int, int]:
        """Learn from the first y; return the loss for it, the number of outputs and that of exclusive classes.

        ``given`` has the samples of weight zero, too.
        """
        raise NotImplementedError

    def _labels_in(self, y: np.ndarray) -> np.ndarray | None:
        """Return the labels in some of the rows, if y is one column of labels: a classifier's, but not multilabel."""
        return None

    def _is_ready_target(self, y: Any, n_rows: int) -> bool:
        """Say whether y is plainly an array that `_encode` takes; where it is unusual in any way, say no."""
        raise NotImplementedError

    def _encode(self, y: np.ndarray, name: str) -> np.ndarray:
        """Return y as training reads it: floats (rows, outputs), class numbers (rows,), or booleans (rows, labels)."""
        raise NotImplementedError

    # -- training -----------------------------------------------------------------------------------------------------

    _atomic = atomic

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
    ) -> tuple[AnyState, Plan, Loss, Data]:
        """Return what training begins with: the state, new or that of the last call, parameters, loss and data."""
        plan, loss = self._plan(stream=stream)
        state = self._resume(plan, loss) if resumed else None
        X, y, weight = self._read(X, y, sample_weight, resumed, stream, "C" if stream else None)
        given = y
        if weight is not None and not weight.all():  # a sample of weight zero is no sample
            keep = np.flatnonzero(weight)
            X, y, weight = X[keep], y[keep], weight[keep]
        if state is None:
            state = self._begin(X, y, given, plan, loss, classes, random_state or self._random_state())
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
        state = start.whole.as_shown
        validation = self._read_validation(X_val, y_val, sample_weight_val, state.dtype, loss)
        if unfinished is not None:
            unfinished.beginning.check(self._lasting_parameters(), data, validation)
            random_state = unfinished.beginning.random_state()
        entries = None if progress is None else progress.entries
        past = self.history_ if resumed else _empty_history(state)
        history = {key: values[:entries] for key, values in past.items()}

        def attributes(state: State, progress: Progress) -> dict[str, Any]:
            so_far = {key: list(values) for key, values in history.items()}
            ending = Ending(suboptimality=progress.approach.suboptimality, kept=progress.epoch)
            return self._fitted_attributes(replace(state), progress.epoch, ending) | {"history_": so_far}

        run = None
        if hasattr(self, "_skl_callbacks"):  # LogisticRegression does so, too: without callbacks, there is no overhead
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
            together=None,
            combined=None,
        )
        state, n_iter, ending = train_epochs(state, plan, data, validation, history, random_state, progress, run)
        self._publish(state, n_iter, history, ending)
        if run is not None:
            run.end()

    def _goes_on(self, X: Any, y: Any) -> bool:
        """Learn from some samples if only they are new since the last call of ``partial_fit``; say whether it did.

        That is what `_partial_fit` does, too, but it asks all that the last call has answered. It also does whatever
        is unusual: here, samples are plainly valid, without weights, and a compiled loop is at hand.
        """
        attributes = self.__dict__
        state: Any = attributes.get("_state")
        if type(state) not in (Stream, LazyStream, WideStream) or not state.is_at_hand or not self._is_resolved(True):
            return False
        plan, loss = self._resolved
        if not state.plan is plan is self._trained_with or not is_untouched(attributes):
            return False
        wide = type(state) is WideStream  # whose loop reads the entries, and is all that calculates
        if not is_ready(self, X, (state.dtype.type,), not wide) or not self._is_ready_target(y, X.shape[0]):
            return False
        if wide and type(loss).check_target is Loss.check_target:
            taken = go_on(state, plan, (X, self._encode(y, "y"), None))
        else:
            with np.errstate(all="ignore"):
                loss.check_target(y)
                taken = go_on(state, plan, (X, self._encode(y, "y"), None))
        if taken is None:
            return False
        state, entry = taken
        history = attributes["history_"]
        n_entries, history = len(history["objective"]), bounded(history)
        try:
            append(history, entry)
            self._publish(state, 1, history, _END_OF_CALL)
        except BaseException:  # an interrupt
            restore(self, attributes, n_entries)
            raise
        return True

    def _partial_fit(self, X: Any, y: Any, sample_weight: Any, classes: ArrayLike | None) -> None:
        resumed = hasattr(self, "_state")
        state, plan, _, data = self._prepare(X, y, sample_weight, None, stream=True, resumed=resumed, classes=classes)
        if self.early_stopping:
            raise ValueError(
                "partial_fit does not support early_stopping=True, for it sees one batch at a time. Set "
                "early_stopping=False, and score on a validation set between calls."
            )
        history = bounded(self.history_) if resumed else _empty_history(state)
        state, entry = train_stream(state, plan, data)
        self._publish(state, 1, history, _END_OF_CALL)
        self._trained_with = self._resolved[0]
        append(history, entry)

    def _begin(
        self,
        X: Any,
        y: np.ndarray,
        given: np.ndarray,
        plan: Plan,
        loss: Loss,
        classes: ArrayLike | None,
        random_state: np.random.RandomState,
    ) -> State:
        """Return the state before training, from the first data seen."""
        loss, n_outputs, n_classes = self._learn_outputs(y, given, loss, classes)
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

    def _resume(self, plan: Plan, loss: Loss) -> AnyState:
        """Return the state to go on from: the last one, with the parameters of this call."""
        untouched = is_untouched(vars(self))
        if untouched and self._trained_with is plan:
            return self._state
        before = self._state.objective
        loss = loss.multiclass() if before.exclusive_classes else loss
        # A name goes on meaning what it did when training began, perhaps in an earlier release.
        loss = before.loss if isinstance(self.loss, str) and type(loss) is type(before.loss) else loss
        lasting = {"fit_intercept": bool(self.fit_intercept), "hidden_layer_sizes": plan.hidden_layer_sizes}
        for name, value in lasting.items():
            if value != getattr(before, name):
                raise ValueError(
                    f"{name}={plain_repr(value)} was set after training began with "
                    f"{name}={plain_repr(getattr(before, name))}. "
                    "Train a new model: clone(estimator).fit(...)."
                )
        l1_ratio = float(self.l1_ratio)
        if isinstance(self._state, (LazyStream, WideStream)) and untouched and self._state.goes_on_with(plan, l1_ratio):
            return self._state.with_plan(plan, loss, l1_ratio=l1_ratio)
        state = self._state.whole
        coordinates = state.objective.coordinates
        same_coordinates = coordinates.plain is not bool(self.precondition)
        objective = replace(
            state.objective,
            loss=loss,
            l1_ratio=l1_ratio,
            coordinates=coordinates if same_coordinates else Coordinates(),
            activation=plan.activation,
        )
        layers = self._checked_layers()
        with np.errstate(over="ignore"):
            as_published = partial(np.ascontiguousarray, dtype=state.dtype)
            same = [(as_published(coef), as_published(intercept)) for coef, intercept in layers]
        fingerprint = fingerprint_of(*parameters_in(self._parameter_attributes(same)))
        known = untouched or (fingerprint is not None and fingerprint == self._fingerprint)
        optimizer = plan.optimizer or state.optimizer
        same_rule = type(optimizer) is type(state.optimizer)
        if not (known and same_rule and same_coordinates):
            # Coefficients set from outside, another optimizer or other coordinates: start there, with empty slots.
            state = state.begun_at(layers, objective, optimizer)
        iterate = state.iterate
        goes_on = plan.averages_on(state.averaging)
        if iterate.slopes is not None and plan.averaging is not None:
            iterate = iterate._replace(slopes=None)
        elif iterate.slopes is not None:  # an average of iterates that had another minimum ends
            same_problem = type(loss) is type(before.loss) and l1_ratio == before.l1_ratio
            same_problem = same_problem and plan.alpha in (state.objective.alpha, "auto")
            goes_on = same_problem and compares_average(plan, optimizer, objective)
        state = replace(state, objective=objective, optimizer=optimizer, iterate=iterate)
        if state.averaging and not goes_on:
            state = state.without_average()
        if plan.averaging is not None and not state.averaging:
            state = replace(state, iterate=state.iterate._replace(average=state.iterate.theta, averaged=0))
        return state

    def _read_state(self, read: Callable[[Any], Any]) -> tuple[Any, Any]:
        """Return the state and what is read of it: of the next one where another thread trains meanwhile."""
        while True:
            state = self._state
            try:
                return state, read(state)
            except OutdatedError:
                if self._state is state:
                    raise

    def _layers(self) -> list[Layer]:
        """Return the model's layers, each (n_inputs, n_outputs) and (n_outputs,), from the fitted attributes."""
        if self._state.objective.hidden_layer_sizes:
            if len(self.coefs_) != len(self.intercepts_):
                raise ValueError(
                    f"coefs_ was set to {len(self.coefs_)} layers, but intercepts_ to {len(self.intercepts_)}. Set as "
                    "many of both."
                )
            return list(zip(map(np.asarray, self.coefs_), map(np.asarray, self.intercepts_), strict=True))
        coef = self.coef_.toarray() if sp.issparse(self.coef_) else np.asarray(self.coef_)
        return [(np.atleast_2d(coef).T, np.atleast_1d(self.intercept_))]

    def _checked_layers(self) -> list[Layer]:
        """Return the layers, which the user may have set, if training can continue from them."""
        layers, sizes = self._layers(), self._state.objective.layer_sizes
        linear = not self._state.objective.hidden_layer_sizes
        if len(layers) != len(sizes) - 1:
            raise ValueError(
                f"coefs_ was set to {len(layers)} layers. Training can only continue with {len(sizes) - 1}."
            )
        for i, ((coef, intercept), (n_inputs, n_outputs)) in enumerate(zip(layers, pairwise(sizes), strict=True)):
            if linear:
                parts = ("coef_", coef.T, (n_outputs, n_inputs)), ("intercept_", intercept, (n_outputs,))
            else:
                parts = (f"coefs_[{i}]", coef, (n_inputs, n_outputs)), (f"intercepts_[{i}]", intercept, (n_outputs,))
            for name, values, shape in parts:
                if values.shape != shape:
                    raise ValueError(
                        f"{name} was set to the shape {values.shape}. Training can only continue with {shape}."
                    )
                if not np.isfinite(values).all():
                    raise ValueError(
                        f"{name} was set to numbers that are not finite. Training cannot continue with them."
                    )
        return layers

    def _publish(
        self,
        state: AnyState,
        n_iter: int,
        history: dict[str, list[float]],
        ending: Ending,
    ) -> None:
        """Set the fitted attributes, all at once, so that another thread that predicts never sees half of them."""
        attributes = self.__dict__ | self._fitted_attributes(state, n_iter, ending)
        attributes["history_"] = history
        for name in attributes.keys() & (_NOT_LASTING if state.on_demand else _NOT_LASTING[:1]):
            del attributes[name]
        self.__dict__ = attributes

    def _fitted_attributes(self, state: AnyState, n_iter: int, ending: Ending) -> dict[str, Any]:
        """Return the attributes of an estimator that has learned until ``state``."""
        fitted = {
            "n_iter_": n_iter,
            "converged_": ending.converged,
            "stop_reason_": ending.reason,
            "suboptimality_": ending.suboptimality,
            "best_iter_": ending.kept,
            "best_score_": ending.score,
            "alpha_": state.objective.alpha if isinstance(state, State) else state.alpha,
            "t_": state.t,
            "engine_": state.engine,
            "optimizer_": state.optimizer,
            "loss_": state.objective.loss,
            "_state": state,
        }
        if not state.on_demand:
            fitted |= with_fingerprint(self._parameter_attributes(state.published()))
        return fitted

    def _parameter_attributes(self, layers: list[Layer]) -> dict[str, Any]:
        """Return the attributes that hold the parameters."""
        if len(layers) == 1:
            [(coef, intercept)] = layers
            # Without negative zeros, which a sparse matrix does not keep.
            return {"coef_": np.ascontiguousarray(coef.T) + 0.0, "intercept_": intercept}
        coefs, intercepts = ([part.copy() for part in parts] for parts in zip(*layers, strict=True))
        return {"coefs_": coefs, "intercepts_": intercepts}

    def _loss_kind(self) -> Loss | type[Loss]:
        """Return the loss, or its class, without checking it."""
        if isinstance(self.loss, Loss):
            return self.loss
        return self._known_losses.get(self.loss, Loss) if isinstance(self.loss, str) else Loss

    # -- reading parameters and data ----------------------------------------------------------------------------------

    def _read(
        self, X: Any, y: Any, sample_weight: Any, resumed: bool, stream: bool, order: Literal["C"] | None
    ) -> tuple[Any, np.ndarray, np.ndarray | None]:
        """Return checked X, y and weights; those of a stream go with earlier ones."""
        if y is None:
            raise ValueError(f"{type(self).__name__} requires y to be passed, but the target y is None.")
        dtypes = (self._state.dtype.type,) if resumed else (np.float64, np.float32)
        if resumed and is_ready(self, X, dtypes) and self._is_ready_target(y, X.shape[0]):
            X = X if stream else canonical(X)  # a wide stream need not wait for SciPy to make another matrix
        else:
            X = read_features(self, X, dtypes, reset=not resumed, order=order)
            y = single_column_raveled(read_target(self, y, X.shape[0], self._target_dtype))
        return X, y, read_weight(sample_weight, X.shape[0], "sample_weight", relative=not stream)

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
        """Return the loss of a validation set, of several problems the mean relative to their constant models."""
        state, plan = self._state.whole, replace(self._resolved[0], class_weight=self._class_weight())
        validation: Any = self._read_validation(X, y, sample_weight, state.dtype, self.loss_)
        losses, objective = validation_losses(state, plan, validation), state.objective
        return float(losses.sum() if objective.one_problem else (objective.progress_worth * losses).sum())

    def _hold_out(self, data: Data, random_state: np.random.RandomState) -> tuple[Data, Data]:
        """Split the data into a part to train on and a part to validate with, with all classes in both."""
        X, y, weight = data
        classes = self.classes_[y] if y.ndim == 1 else None  # labels, which the message may name
        try:
            parts = train_test_split(
                np.arange(X.shape[0]),
                test_size=self.validation_fraction,
                stratify=classes,
                random_state=random_state,
            )
        except ValueError as error:
            raise ValueError(
                f"early_stopping=True could not hold out validation_fraction={plain_repr(self.validation_fraction)} of "
                f"{X.shape[0]} samples: {str(error).rstrip('.')}. Change validation_fraction, or pass X_val and y_val "
                "to fit."
            ) from None
        train, validation = (part_of((X, y, weight), rows) for rows in parts)
        return train, validation

    def _random_state(self) -> np.random.RandomState:
        try:
            return check_random_state(self.random_state)
        except ValueError:
            raise ValueError(
                f"random_state={plain_repr(self.random_state)} must be None, a RandomState or an integer from 0 to "
                "2**32 - 1."
            ) from None

    def _class_weight(self) -> np.ndarray | str | None:
        """Return the weights of the classes, or "balanced", or None for weights of one."""
        return None

    # -- prediction ---------------------------------------------------------------------------------------------------

    def _raw(self, X: Any) -> np.ndarray:
        """Return the raw prediction, (rows,) for one output, else (rows, outputs)."""
        fitted = vars(self).copy()  # of one moment: another thread may train this estimator meanwhile
        if "_state" not in fitted:
            check_is_fitted(self)
        with np.errstate(all="ignore"):
            X = read_features(self, X, (np.float64, np.float32))
            coef, intercept = fitted.get("coef_"), fitted.get("intercept_")
            if coef is None and intercept is None and isinstance(fitted["_state"], WideStream):
                _, raw = self._read_state(lambda state: state.raw(X))
            elif not fitted["_state"].objective.hidden_layer_sizes:
                coef = self.coef_ if coef is None else coef
                intercept = self.intercept_ if intercept is None else intercept
                # For arrays, it is what `safe_sparse_dot` comes to, after questions that take longer than the product.
                product = X @ coef.T if type(coef) is np.ndarray else safe_sparse_dot(X, coef.T, dense_output=True)
                raw = product + intercept
            else:
                *_, raw = forward(*layers_shown(self, fitted, X), fitted["_state"].objective.activation)
            return representable(raw)

    @available_if(is_linear)
    def sparsify(self) -> Self:
        """Convert ``coef_`` to a sparse matrix, which saves memory if an L1 penalty made most coefficients zero.

        Returns
        -------
        self : object
        """
        check_is_fitted(self)
        if not sp.issparse(self.coef_):
            self.coef_ = sp.csr_array(np.atleast_2d(self.coef_))
        return self

    @available_if(is_linear)
    def densify(self) -> Self:
        """Convert ``coef_`` to an array, the inverse of :meth:`sparsify`.

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


def _empty_history(state: AnyState) -> dict[str, list[float]]:
    """Return a history without an epoch."""
    return {key: [] for key in history_keys(len(state.objective.layer_sizes) - 1)}


def representable(predictions: np.ndarray) -> np.ndarray:
    """Return the predictions, if they are finite numbers."""
    if not all_finite(predictions):
        row, *_ = np.argwhere(~np.isfinite(predictions))[0]
        raise ValueError(
            f"The prediction for sample {row} of X, {predictions[row]}, cannot be represented in {predictions.dtype}: "
            "the sample is too far from the training data."
        )
    return predictions
