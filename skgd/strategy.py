"""What losses, optimizers and schedules have in common: they hold hyperparameters only.

A strategy is a :class:`sklearn.base.BaseEstimator`, so that ``get_params``, ``set_params``, ``clone``, ``repr`` and
``optimizer__beta1`` in a grid search work. It never holds training state: one object may serve many estimators.
"""

from __future__ import annotations

import copy
import math
import sys
from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any, Self, TypeVar

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.utils import check_scalar

from skgd.names import advice_on_name, advising_init, with_advice

__all__ = ["Strategy"]

S = TypeVar("S", bound="Strategy")

_BETWEEN = ("skgd", "sklearn", "contextlib")  # what warns and the call of ``fit``

_LONGEST = 500  # characters of a value in a message


class Strategy(BaseEstimator):
    """Base of :class:`~skgd.losses.Loss`, :class:`~skgd.optimizers.Optimizer` and :class:`~skgd.schedules.Schedule`."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "__init__" in vars(cls) and cls.__module__.startswith(f"{__package__}."):  # the user's own are left alone
            cls.__init__ = advising_init(cls.__init__, cls.__name__, "Strategy")  # type: ignore[method-assign]

    def set_params(self, **params: Any) -> Self:
        """Set hyperparameters.

        Parameters
        ----------
        **params : dict
            The hyperparameters, by name.

        Returns
        -------
        self : object
        """
        try:
            return super().set_params(**params)
        except ValueError as error:
            raise with_advice(error, params, self.get_params(deep=False), "Strategy") from None

    def hyper(self) -> tuple[float, ...]:
        """Return the numbers that the rule reads, in the order in which it unpacks them."""
        return ()

    def check(self) -> None:
        """Raise TypeError or ValueError for a hyperparameter outside its range; called by ``fit``."""

    def _check_real(self, name: str, low: float | None = None, high: float | None = None, ends: str = "both") -> None:
        """Check one real hyperparameter; ``ends`` says which ends of the range belong to it, as in `check_scalar`."""
        full_name = f"{type(self).__name__}({name})"
        value = getattr(self, name)
        if isinstance(value, bool) or not isinstance(value, Real):  # a bool is never a meant rate or decay
            raise TypeError(f"{full_name} must be a real number, got {plain_repr(value)}.")
        if not is_finite(value):
            raise ValueError(f"{full_name} must be finite, got {value}.")
        check_scalar(value, full_name, Real, min_val=low, max_val=high, include_boundaries=ends)

    def _check_steps(self, name: str, low: int = 1) -> None:
        """Check a hyperparameter that is a number of steps."""
        value = getattr(self, name)
        if isinstance(value, bool) or not isinstance(value, Integral):
            raise TypeError(f"{type(self).__name__}({name}) must be an integer, got {plain_repr(value)}.")
        if not is_finite(value):
            raise ValueError(f"{type(self).__name__}({name}) must be finite as a float, got {value}.")
        check_scalar(value, f"{type(self).__name__}({name})", Integral, min_val=low)


def is_finite(value: Any) -> bool:
    """Say whether a number is finite as a float, which an integer of hundreds of digits is not."""
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def level_of_caller() -> int:
    """Return the ``stacklevel`` of a warning that points at the call of ``fit``, beyond scikit-learn's frames."""
    level, frame = 0, sys._getframe()
    while frame.f_back is not None and frame.f_globals["__name__"].partition(".")[0] in _BETWEEN:
        level, frame = level + 1, frame.f_back
    return level


def plain_repr(value: Any) -> str:
    """Return a value as a message shows it: NumPy's numbers and arrays as Python's, and the beginning of a long one."""
    text = repr(_plain(value))
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _plain(value: Any) -> Any:
    """Return Python's own numbers, strings and lists in place of NumPy's, inside of other things, too."""
    if isinstance(value, np.longdouble):  # for which Python has no type of its own
        return float(value)
    if isinstance(value, (np.ndarray, np.generic)):
        plain = value.tolist()
        return plain if isinstance(plain, np.generic) else _plain(plain)
    if type(value) in (list, tuple, set, frozenset):
        return type(value)(map(_plain, value))
    if isinstance(value, dict):
        return {_plain(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, BaseEstimator):
        plain = copy.copy(value)
        plain.__dict__.update({name: _plain(inner) for name, inner in value.get_params(deep=False).items()})
        return plain
    return value


def strategies_of(estimator: BaseEstimator) -> dict[str, Strategy]:
    """Return the parameters of an estimator that are strategy objects."""
    return {name: value for name, value in estimator.get_params(deep=False).items() if isinstance(value, Strategy)}


def snapshot(value: Any) -> Any:
    """Return something equal to a parameter's snapshot for as long as it, or what it holds, does not change."""
    value = value.tolist() if isinstance(value, np.ndarray) else value
    if isinstance(value, list):
        return list, [snapshot(inner) for inner in value]
    if isinstance(value, Strategy):  # which is what is in it: one that was saved and loaded is another object
        return type(value).__qualname__, {name: snapshot(inner) for name, inner in vars(value).items()}
    return type(value).__name__, value  # the type's name, too: 1 equals True; and a function's has no pickle


def resolve(
    spec: Any, registry: Mapping[str, type[S]], base: type[S], parameter: str, others: tuple[str, ...] = ()
) -> S:
    """Return a strategy, checked, from a registered name or an object of the user's.

    ``others`` are names that the parameter may have besides, for the message.

    Raises
    ------
    ValueError
        For a name that is not registered (the known ones are listed, the one that may be meant first).
    TypeError
        For anything that is neither a name nor an instance of ``base``.
    """
    an_object = f"{'an' if base.__name__[0] in 'AEIOU' else 'a'} {base.__name__} object"
    if isinstance(spec, str):
        if spec not in registry:
            known = (*others, *sorted(registry))
            advice = advice_on_name(spec, known, base.__name__)
            names = ", ".join(map(repr, known))
            raise ValueError(
                f"{parameter}={plain_repr(spec)} is not known.{advice} Use one of {names}, or {an_object}."
            )
        strategy = registry[spec]()
    elif isinstance(spec, base):
        strategy = clone(spec)  # set_params on the user's object must not reach into a running or finished training
    else:
        hint = f" Did you mean {spec.__name__}()?" if isinstance(spec, type) and issubclass(spec, base) else ""
        raise TypeError(f"{parameter} must be a name or {an_object}, got {plain_repr(spec)}.{hint}")
    strategy.check()
    return strategy
