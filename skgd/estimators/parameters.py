"""The parameters of the two estimators: constructor, documentation and validation.

Classes declare parameters, as dataclasses do their fields, and document them. An estimator inherits them:
`estimator_class` adds them to its ``__init__`` and to its docstring. `resolve_parameters` turns their values into the
`skgd.plan.Plan` of the training.
"""

from __future__ import annotations

import re
import textwrap
import warnings
from collections.abc import Callable, Mapping
from dataclasses import field, make_dataclass
from functools import cache, partial
from inspect import cleandoc, get_annotations, signature
from numbers import Integral, Real
from operator import is_, itemgetter
from typing import Any, Literal, TypeVar, dataclass_transform

import numpy as np
from sklearn.base import is_classifier
from sklearn.utils import check_scalar

from skgd.activations import ACTIVATIONS, Activation
from skgd.losses import Loss
from skgd.names import advising_init, right_name
from skgd.optimizers import OPTIMIZERS, LearningRate, Optimizer
from skgd.plan import Plan
from skgd.schedules import SCHEDULES, resolve_schedule
from skgd.strategy import Strategy, is_finite, level_of_caller, plain_repr, resolve, snapshot

T = TypeVar("T")

# What may change before `fit` goes on from a checkpoint: when to stop, and what to print.
_MAY_CHANGE = ("max_iter", "tol", "n_iter_no_change", "verbose", "warm_start")

_ENTRY = textwrap.TextWrapper(
    width=116,  # and an indentation in the source
    initial_indent="    ",
    subsequent_indent="    ",
    break_long_words=False,
    break_on_hyphens=False,
)


@dataclass_transform(eq_default=False, kw_only_default=True, field_specifiers=(field,))
def parameter_class(kind: type[T]) -> type[T]:
    """Declare parameters, as the fields of a dataclass, of which an estimator may inherit."""
    declared = {name: (name, annotation, vars(kind)[name]) for name, annotation in get_annotations(kind).items()}
    for name in declared:
        delattr(kind, name)
    kind._declared = declared  # type: ignore[attr-defined]
    return kind


def estimator_class(name: Literal["classifier", "regressor"]) -> Callable[[type[T]], type[T]]:
    """Give an estimator the constructor, and the texts in its docstring, of what it has from its bases.

    Text in brackets is for one of the two estimators only: [classifier: like this].

    The constructor is that of a dataclass. The estimator is none, because others take an object of a dataclass for its
    fields and nothing else: to Dask, two models of the same parameters would be the same, whatever they have learned.
    """

    def complete(kind: type[T]) -> type[T]:
        bases = [base for base in reversed(kind.__mro__[1:]) if base.__module__.startswith(__package__)]
        declared: dict[str, tuple] = {}
        for base in bases:
            declared |= vars(base).get("_declared", {})
        # Annotations are strings, to be read in this module.
        like: Any = make_dataclass(kind.__name__, declared.values(), namespace={"__module__": __name__}, kw_only=True)
        kind.__init__ = advising_init(like.__init__, kind.__name__, "Estimator")  # type: ignore[method-assign]
        if kind.__doc__:  # there is none with ``python -OO``
            kind.__doc__ = cleandoc(kind.__doc__)
            for section in ("Parameters", "Attributes"):
                entries = "".join(_entries(base, section) for base in bases)
                entries = re.sub(r"(?s)\[(\w+):(.*?)\]", lambda found: found[2] if found[1] == name else "", entries)
                entries = re.sub(r"(?m)(^    .*\n)+", _wrapped, entries)
                kind.__doc__ = kind.__doc__.replace(f"{{{section.lower()}}}", entries.rstrip())
        return kind

    return complete


def _entries(kind: type, section: str) -> str:
    """Return the entries of a docstring's last section, if it has this title."""
    _, _, entries = cleandoc(kind.__doc__ or "").partition(f"\n{section}\n{'-' * len(section)}\n")
    return entries and f"{entries}\n"


def _wrapped(lines: re.Match[str]) -> str:
    return _ENTRY.fill(" ".join(lines[0].split())) + "\n"


# ---------------------------------------------------------------------------------------------------------------------
# The parameters, in the order of the constructor (which is that of a dataclass's fields: the last base comes first)
# ---------------------------------------------------------------------------------------------------------------------


@parameter_class
class TrainingParameters:
    """How to minimize the loss, which each estimator documents itself.

    Parameters
    ----------
    hidden_layer_sizes : int or tuple of int, default=()
        The number of neurons in each hidden layer: ``(64, 32)`` is a multilayer perceptron with two hidden layers. The
        default is a linear model.
    activation : str or Activation, default="relu"
        The activation of the hidden layers: "relu", "leaky_relu", "elu", "gelu", "silu", "tanh", "logistic",
        "identity", or an :class:`~skgd.activations.Activation` object.
    optimizer : str or Optimizer, default="auto"
        "sgd", "adagrad", "rmsprop", "adadelta", "adam", "adamw", "adamax", "nadam", "radam", "adabelief", "yogi",
        "adopt", "adan", "ademamix", "lion", "ftrl", "schedule_free", or an :class:`~skgd.optimizers.Optimizer` object,
        such as ``SGD(momentum=0.9)``. "auto" is Adam with hidden layers (AdamW in ``fit`` with many dense features);
        for linear models it is Newton steps in ``fit`` on problems with few features,[classifier: plain SGD in ``fit``
        on text and on sparse data with three classes or more,] and AdaGrad otherwise. See :doc:`/how_to/optimizer`, and
        :doc:`/defaults` for the rules of "auto".
    learning_rate : float, str, Schedule or callable, default=None
        The learning rate: a positive number, "auto" (derived from the data; steps of linear models are then implicit,
        and cannot overshoot), the name of a schedule, a :class:`~skgd.schedules.Schedule` or a function from step
        numbers to learning rates. None uses the learning rate of the optimizer. See :doc:`/how_to/learning_rate`.
    alpha : float or "auto", default="auto"
        The strength of the penalty, nonnegative. With "auto" it is chosen by the loss on left-out samples if ``fit``
        takes Newton steps, is at most 2 / n_samples and 1e-3 for networks that start at the linear model,
        1e-5[classifier: (divided by the square root of the number of classes, if there are three or more)] for sparse
        data (streams of 2048 features or more have a rule of their own), and else 0; it then applies to the
        coefficients of standardized features. See ``alpha_``, :doc:`/guide/regularisation` and :doc:`/defaults`.
    l1_ratio : float, default=0.0
        The share of the L1 norm in the penalty, between 0 (ridge) and 1 (lasso).
    fit_intercept : bool, default=True
        Whether to fit intercepts, in every layer. They are never penalized.
    batch_size : int, "auto" or None, default="auto"
        The number of samples per step: 1 is stochastic, None (all samples) batch gradient descent. "auto" is all
        samples up to[regressor: 1000 of them (with hidden layers 64)][classifier: 64 of them], else 32 to 256, and 8 in
        ``partial_fit``. See :doc:`/guide/batches`, and :doc:`/defaults` for the exceptions.
    max_iter : int, default=1000
        The maximum number of epochs (passes over the data) of ``fit``. If a network starts at the linear model, the
        first one only evaluates it.
    tol : float, "auto" or None, default="auto"
        The stopping tolerance. A nonnegative number trains a linear model until the objective is estimated to be above
        its minimum by at most ``tol`` times the gain of the minimum over the best constant model
        (``suboptimality_``), "auto" until more epochs would not improve the model (for networks, cross-validation says
        when), or, with a number for ``alpha``, like 1e-3; None runs ``max_iter`` epochs. Training that ends before it
        has converged raises a ``ConvergenceWarning``. See :doc:`/how_to/convergence`, and :doc:`/defaults` for all
        rules.
    n_iter_no_change : int or "auto", default="auto"
        The number of epochs without progress (see ``tol``) after which training stops. "auto" is 1 to 3, depending on
        the number of steps per epoch, 3 with a validation set, and with hidden layers as many epochs as have about 300
        steps. With a number, cross-validation does not choose the epochs of a network. See :doc:`/defaults`.
    early_stopping : bool, default=False
        Whether to hold out a validation set, to stop when the validation loss no longer improves, and to keep the best
        epoch. Not needed if ``X_val`` and ``y_val`` are passed to ``fit``, which does the same.
    validation_fraction : float, default=0.1
        The fraction of samples that ``early_stopping`` holds out, between 0 and 1, both excluded.
    shuffle : bool, default=True
        Whether ``fit`` shuffles the samples before each epoch. ``partial_fit`` never does.
    average : bool, int, "polynomial" or "auto", default="auto"
        Whether the coefficients are an average of the iterates: True is their mean (Polyak and Ruppert), an integer
        the mean from this step on; "polynomial" gives less weight to earlier iterates (Shamir and Zhang). "auto" is
        "polynomial" in ``fit``; a linear model in ``partial_fit``, if steps are implicit, is between average and last
        iterate, where the latest samples have the lowest loss, because a stream may drift; others do not begin an
        average there. See :doc:`/guide/schedules`.
    precondition : bool, default=True
        Whether the optimizer works on standardized features, and on decorrelated ones if that helps. It changes the
        path, never the minimum. False is the plain textbook update. See :doc:`/guide/robustness`.
    max_grad_norm : float or None, default=None
        Gradients with a larger Euclidean norm (with respect to the standardized features) are scaled down to it.
    """

    loss: str | Loss = field(kw_only=False)
    hidden_layer_sizes: tuple[int, ...] | int = ()
    activation: str | Activation = "relu"
    optimizer: str | Optimizer = "auto"
    learning_rate: LearningRate | None = None
    alpha: float | str = "auto"
    l1_ratio: float = 0.0
    fit_intercept: bool = True
    batch_size: int | Literal["auto"] | None = "auto"
    max_iter: int = 1000
    tol: float | Literal["auto"] | None = "auto"
    n_iter_no_change: int | Literal["auto"] = "auto"
    early_stopping: bool = False
    validation_fraction: float = 0.1
    shuffle: bool = True
    average: bool | int | str = "auto"
    precondition: bool = True
    max_grad_norm: float | None = None


@parameter_class
class ClassWeightParameter:
    """The weights of the classes.

    Parameters
    ----------
    class_weight : dict, "balanced" or None, default=None
        Positive weights of the classes, which multiply the sample weights. "balanced" gives every class the same total
        weight; in ``partial_fit``, according to the samples seen so far. Not for multilabel targets.
    """

    class_weight: Mapping | str | None = None


@parameter_class
class RunParameters:
    """Parameters of a call of ``fit``, not of the model.

    Parameters
    ----------
    warm_start : bool, default=False
        Whether ``fit`` continues from the result of the last call. A network then trains until the objective converges:
        pass a validation set, or a number for ``max_iter`` and ``tol=None``.
    random_state : int, RandomState or None, default=None
        Determines the shuffling, the samples that ``early_stopping`` holds out, the weight initialization, and the
        folds that choose the number of epochs of a network.
    verbose : int, default=0
        Whether to print one line of ``history_`` per epoch, and at the end why training has stopped.
    """

    warm_start: bool = False
    random_state: int | np.random.RandomState | None = None
    verbose: int = 0


@parameter_class
class RegressorParameters(RunParameters, TrainingParameters):
    """All parameters of the regressor."""

    loss: str | Loss = field(default="squared_error", kw_only=False)


@parameter_class
class ClassifierParameters(RunParameters, ClassWeightParameter, TrainingParameters):
    """All parameters of the classifier."""

    loss: str | Loss = field(default="log_loss", kw_only=False)


# ---------------------------------------------------------------------------------------------------------------------
# Their check
# ---------------------------------------------------------------------------------------------------------------------


class ResolvedParameters:
    """Parameters, checked and resolved where they have changed."""

    _values: tuple | None = None

    def _plan(self, *, stream: bool) -> tuple[Plan, Loss]:
        """Return the parameters, checked and resolved, for ``partial_fit`` or ``fit``; the last ones if still equal."""
        if not self._is_resolved(stream):
            values = [getattr(self, name) for name in self._parameter_names()]
            given = [snapshot(value) for value in (stream, *values)]
            if getattr(self, "_given", None) != given:
                self._resolved: tuple[Plan, Loss] = resolve_parameters(self, stream=stream)
                self._given: list = given
            # What may change inside, or is no attribute of its own, is looked into each time.
            lasts = not any(isinstance(value, (Strategy, list, np.ndarray)) for value in values)
            lasts = lasts and vars(self).keys() >= {*self._parameter_names()}
            self._values = (stream, itemgetter(*self._parameter_names()), values) if lasts else None
        return self._resolved

    def _is_resolved(self, stream: bool) -> bool:
        """Say whether all parameters are the very objects that have been resolved last, for streams or not."""
        if self._values is None:
            return False
        for_stream, read, values = self._values
        try:
            return for_stream is stream and all(map(is_, read(vars(self)), values))
        except KeyError:  # one was deleted
            return False

    @classmethod
    @cache
    def _parameter_names(cls: Any) -> tuple[str, ...]:
        return tuple(cls().get_params(deep=False))  # which reads the signature each time

    def _lasting_parameters(self) -> dict[str, Any]:
        """Return snapshots of the parameters that may not change before `fit` goes on from a checkpoint."""
        return {name: snapshot(getattr(self, name)) for name in self._parameter_names() if name not in _MAY_CHANGE}


def resolve_parameters(estimator: Any, *, stream: bool) -> tuple[Plan, Loss]:
    """Check every parameter and return them resolved.

    Raises
    ------
    ValueError, TypeError
        For one that is not in its range, or does not go with another.
    """
    _check_numbers(estimator)
    loss = _checked_loss(estimator)
    activation = resolve(estimator.activation, ACTIVATIONS, Activation, "activation")
    automatic = isinstance(estimator.optimizer, str) and estimator.optimizer == "auto"
    optimizer = None if automatic else resolve(estimator.optimizer, OPTIMIZERS, Optimizer, "optimizer", ("auto",))
    if estimator.l1_ratio and isinstance(estimator.alpha, str):
        raise ValueError(
            f"l1_ratio={plain_repr(estimator.l1_ratio)} needs a number for alpha, the strength of the penalty, got "
            f"alpha={plain_repr(estimator.alpha)}."
        )
    if estimator.alpha and estimator.l1_ratio and optimizer is not None and not optimizer.proximal:
        raise ValueError(
            f"l1_ratio={plain_repr(estimator.l1_ratio)} needs a proximal step, which "
            f"optimizer={plain_repr(estimator.optimizer)} does not "
            "have. Use l1_ratio=0, or another optimizer: 'adagrad', 'ftrl', 'adam', ..."
        )
    own = estimator.learning_rate is None
    if optimizer is not None and not own:
        _warn_of_two_rates(estimator.learning_rate, optimizer)
    its = "auto" if optimizer is None else optimizer.learning_rate
    schedule = resolve_schedule(its if own else estimator.learning_rate, "learning_rate")
    average = bool(estimator.average) if isinstance(estimator.average, np.bool_) else estimator.average
    if average == "auto":
        average = "compared" if stream else "polynomial"
    plan = Plan(
        optimizer=optimizer,
        schedule=schedule,
        alpha=estimator.alpha if estimator.alpha == "auto" else float(estimator.alpha),
        batch_size=estimator.batch_size,
        max_iter=int(estimator.max_iter),
        tol=estimator.tol,
        n_iter_no_change="auto" if estimator.n_iter_no_change == "auto" else int(estimator.n_iter_no_change),
        shuffle=bool(estimator.shuffle),
        average=average,
        precondition=bool(estimator.precondition),
        max_grad_norm=estimator.max_grad_norm,
        verbose=int(estimator.verbose),
        hidden_layer_sizes=_checked_layer_sizes(estimator.hidden_layer_sizes),
        activation=activation,
    )
    return plan, loss


def check_parts(estimator: Any, params: Mapping[str, Any]) -> None:
    """Raise ValueError for parameters, such as ``optimizer__beta1``, of what is a name, a number or nothing."""
    registries: dict[str, tuple[str, Mapping[str, type]]] = {
        "loss": ("losses", estimator._known_losses),
        "optimizer": ("optimizers", OPTIMIZERS),
        "learning_rate": ("schedules", SCHEDULES),
        "activation": ("activations", ACTIVATIONS),
    }
    for name in params:
        part, _, inner = name.partition("__")
        value = params.get(part, getattr(estimator, part, None))
        if inner and part in estimator._parameter_names() and not hasattr(value, "set_params"):
            remedy = ""
            if part in registries:
                module, registry = registries[part]
                kind = registry.get(value) if isinstance(value, str) else None
                example = f", {part}={kind.__name__}()" if kind else ""
                remedy = f" Use an object of skgd.{module} in its place{example}."
            raise ValueError(f"Invalid parameter {name!r}: {part}={plain_repr(value)} has no parameters.{remedy}")


def _checked_loss(estimator: Any) -> Loss:
    """Return the loss, if it is one for this estimator."""
    given, known, foreign = estimator.loss, estimator._known_losses, estimator._foreign_losses
    if isinstance(given, str) and given not in known:
        meant = right_name(given, (*known, *foreign), "Loss")
        is_foreign = meant is not None and meant[0] in foreign
    else:
        is_foreign = type(given) in foreign.values()
    if not is_foreign:
        return resolve(given, known, Loss, "loss")
    kind, other = ("regression", "GDRegressor") if is_classifier(estimator) else ("classification", "GDClassifier")
    raise ValueError(
        f"loss={plain_repr(given)} is not for {type(estimator).__name__}: it is a {kind} loss; use {other} for it. "
        f"Use one of {', '.join(map(repr, known))}, or a custom Loss object."
    )


def _warn_of_two_rates(learning_rate: Any, optimizer: Optimizer) -> None:
    """Warn where the estimator and its optimizer were given different numbers for the learning rate."""
    its, parameter = optimizer.learning_rate, signature(type(optimizer)).parameters.get("learning_rate")
    if parameter is not None and its == parameter.default:
        return
    if isinstance(learning_rate, Real) and isinstance(its, Real) and learning_rate != its:
        warnings.warn(
            f"learning_rate={plain_repr(learning_rate)} of the estimator is used, not {plain_repr(its)} of its "
            f"optimizer={plain_repr(optimizer)}. Set only one of them.",
            UserWarning,
            stacklevel=level_of_caller(),
        )


def _check_numbers(estimator: Any) -> None:
    """Check what is a number, a truth value or nothing at all."""
    check = partial(_check_number, estimator)
    for name in ("fit_intercept", "early_stopping", "shuffle", "precondition", "warm_start"):
        if not isinstance(getattr(estimator, name), (bool, np.bool_)):
            raise TypeError(f"{name} must be True or False, got {plain_repr(getattr(estimator, name))}.")
    if not (isinstance(estimator.alpha, str) and estimator.alpha == "auto"):
        check("alpha", Real, 0.0, None, "left", " It may also be 'auto'.")
    check("l1_ratio", Real, 0.0, 1.0, "both")
    check("max_iter", Integral, 1, None, "left")
    if not (isinstance(estimator.n_iter_no_change, str) and estimator.n_iter_no_change == "auto"):
        check("n_iter_no_change", Integral, 1, None, "left", " It may also be 'auto'.")
    check("validation_fraction", Real, 0.0, 1.0, "neither")
    if not (estimator.tol is None or (isinstance(estimator.tol, str) and estimator.tol == "auto")):
        check("tol", Real, 0.0, None, "left", " It may also be 'auto', or None for all max_iter epochs.")
    if not isinstance(estimator.verbose, (bool, np.bool_)):
        check("verbose", Integral, 0, None, "left")
    if estimator.max_grad_norm is not None:
        check("max_grad_norm", Real, 0.0, None, "neither")
    if not (estimator.batch_size is None or (isinstance(estimator.batch_size, str) and estimator.batch_size == "auto")):
        check("batch_size", Integral, 1, None, "left", " It may also be 'auto', or None for all samples.")
    named = isinstance(estimator.average, str) and estimator.average in ("polynomial", "auto")
    if not (named or isinstance(estimator.average, (bool, np.bool_))):
        otherwise = " It may also be True, False, 'polynomial' or 'auto'."
        check("average", Integral, 1, None, "left", otherwise)


def _checked_layer_sizes(hidden_layer_sizes: Any) -> tuple[int, ...]:
    """Return the numbers of neurons of the hidden layers."""
    sizes = hidden_layer_sizes
    sizes = sizes.tolist() if isinstance(sizes, np.ndarray) else sizes
    sizes = (sizes,) if isinstance(sizes, Integral) else sizes
    if not isinstance(sizes, (tuple, list)) or not all(
        isinstance(size, Integral) and not isinstance(size, (bool, np.bool_)) for size in sizes
    ):
        raise TypeError(
            "hidden_layer_sizes must be a tuple of integers, the numbers of neurons of the hidden layers, or () for "
            f"a linear model, got {plain_repr(hidden_layer_sizes)}."
        )
    if any(size < 1 for size in sizes):
        raise ValueError(f"hidden_layer_sizes must be at least 1 each, got {plain_repr(hidden_layer_sizes)}.")
    return tuple(map(int, sizes))


def _check_number(
    estimator: Any, name: str, kind: type, low: float, high: float | None, ends: str, otherwise: str = ""
) -> None:
    value = getattr(estimator, name)
    number = isinstance(value, kind) and not isinstance(value, (bool, np.bool_))
    if not number:
        what = "an integer" if kind is Integral else "a number"
        raise TypeError(f"{name} must be {what}, got {plain_repr(value)}.{otherwise}")
    if not is_finite(value):
        raise ValueError(f"{name} must be finite, got {value}.{otherwise}")
    try:
        check_scalar(value, name, kind, min_val=low, max_val=high, include_boundaries=ends)
    except ValueError as error:
        raise ValueError(f"{error}{otherwise}") from None
