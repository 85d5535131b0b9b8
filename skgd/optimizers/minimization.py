"""An optimizer as a method of `scipy.optimize.minimize`, for any smooth function instead of a model's objective.

SciPy passes the function, the start and the constraints to a custom method, and expects an `OptimizeResult`.
Constraints raise an error, because update rules use the gradient only.
"""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Callable
from numbers import Integral, Real
from typing import Any

import numpy as np
from scipy.optimize import OptimizeResult, approx_fprime
from sklearn.utils import check_scalar

from skgd.schedules import Schedule, resolve_schedule
from skgd.strategy import plain_repr

_CONVERGED, _OUT_OF_ITERATIONS, _DIVERGED, _UNDEFINED, _STOPPED = 0, 1, 2, 3, 99  # as for SciPy's own methods
_MESSAGES = {
    _CONVERGED: "Converged: no component of the gradient is larger than gtol.",
    _OUT_OF_ITERATIONS: "The maximum number of iterations is reached. If the function still decreases, "
    "increase maxiter or learning_rate; if it fluctuates, use a schedule that decreases learning_rate.",
    _DIVERGED: "Diverged: the function is above its value at x0, or not finite. Decrease learning_rate.",
    _UNDEFINED: "The function or its gradient is not finite at x0.",
    _STOPPED: "callback raised StopIteration.",
}


class _Function:
    """The function and its gradient, and how often each was computed."""

    def __init__(self, fun: Callable, jac: Callable | None, args: tuple):
        self._fun, self._jac, self._args = fun, jac, args
        self.nfev = self.njev = 0

    def value(self, x: np.ndarray) -> float:
        self.nfev += 1
        value = np.asarray(self._fun(np.copy(x), *self._args))
        if value.size != 1:
            raise ValueError(f"fun must return one number, got the shape {value.shape}.")
        return float(value.item())

    def gradient(self, x: np.ndarray) -> np.ndarray:
        self.njev += 1
        if self._jac is None:
            return np.reshape(approx_fprime(x, self.value), x.shape)
        gradient = np.array(self._jac(np.copy(x), *self._args), dtype=np.float64)
        if gradient.size != x.size:
            raise ValueError(f"jac must return as many numbers as x0 has, {x.size}, got the shape {gradient.shape}.")
        return gradient.reshape(x.shape)

    def at(self, x: np.ndarray) -> tuple[float, np.ndarray]:
        """Return value and gradient, in this order, in which a function that returns both computes them once."""
        return self.value(x), self.gradient(x)


def minimize(
    optimizer: Any,
    fun: Callable,
    x0: Any,
    args: tuple,
    *,
    jac: Any,
    hess: Any,
    hessp: Any,
    bounds: Any,
    constraints: Any,
    callback: Callable | None,
    maxiter: int,
    gtol: float,
    disp: bool,
) -> OptimizeResult:
    """Minimize a function, see `Optimizer.__call__`."""
    name = type(optimizer).__name__
    _refuse_limits(name, bounds=bounds, constraints=constraints)
    if hess is not None or hessp is not None:
        warnings.warn(f"{name} does not use second derivatives (hess, hessp).", RuntimeWarning, stacklevel=4)
    if not (callable(jac) or jac is None or jac is False):
        raise ValueError(f"jac must be a function, True or None where {name} is the method, got {plain_repr(jac)}.")
    check_scalar(maxiter, "maxiter", Integral, min_val=0)
    check_scalar(gtol, "gtol", Real, min_val=0.0)
    if math.isnan(gtol):
        raise ValueError("gtol must be a number of at least 0, got nan.")
    optimizer.check()
    schedule = resolve_schedule(optimizer.learning_rate, f"{name}(learning_rate)")
    hyper, base = optimizer.hyper(), _base_rate(optimizer, schedule)
    x = np.array(x0, dtype=np.float64)
    if x.ndim != 1:
        raise ValueError(f"x0 must have one dimension, got the shape {x.shape}.")
    function = _Function(fun, jac or None, args if isinstance(args, tuple) else (args,))
    tell = _told(callback)

    w, slots, memory, nit = x, tuple(np.full_like(x, value) for value in optimizer.initial()), None, 0
    value, gradient = function.at(w)
    at_start = value
    status = None if _finite(value, gradient) else _UNDEFINED
    while status is None:
        if _largest(gradient) <= gtol and (x is w or _largest(function.gradient(x)) <= gtol):
            status = _CONVERGED
        elif nit == maxiter:
            status = _OUT_OF_ITERATIONS if value <= at_start else _DIVERGED
        else:
            lr = float(base * schedule.evaluate(np.array([nit]), (), memory)[0])
            next_w, next_slots = _step(optimizer, w, gradient, lr, nit + 1, slots, hyper)
            next_value, next_gradient = function.at(next_w)
            if not _finite(next_value, next_gradient, next_w):
                status = _DIVERGED
                break
            w, slots, value, gradient, nit = next_w, next_slots, next_value, next_gradient, nit + 1
            memory = schedule.observe(value, memory)
            x = optimizer.readout(w, slots, hyper)
            if tell is not None:
                try:
                    tell(OptimizeResult(x=np.copy(x), fun=value if x is w else function.value(x)))
                except StopIteration:
                    status = _STOPPED
    if x is not w:
        value, gradient = function.at(x)
    if disp:
        print(f"{_MESSAGES[status]}\n  {nit} iterations, {function.nfev} evaluations, function value {value:.6g}")
    return OptimizeResult(
        x=x,
        fun=value,
        jac=gradient,
        nit=nit,
        nfev=function.nfev,
        njev=function.njev,
        status=status,
        success=status == _CONVERGED,
        message=_MESSAGES[status],
    )


def _step(optimizer: Any, w: np.ndarray, gradient: np.ndarray, lr: float, t: int, slots: tuple, hyper: tuple) -> tuple:
    """Return the parameters and slots after a step."""
    decay = lr * optimizer.weight_decay
    if decay >= 1.0:
        raise ValueError(
            f"weight_decay={plain_repr(optimizer.weight_decay)} at the learning rate {lr:.3g} would change the sign "
            "of the parameters. Decrease one of them."
        )
    with np.errstate(all="ignore"):
        point, _, slots = optimizer.rule(w * (1.0 - decay) if decay else w, gradient, lr, t, slots, hyper)
    return point, slots


def _base_rate(optimizer: Any, schedule: Schedule) -> float:
    """Return the rate that the schedule's factors multiply."""
    if not isinstance(schedule.learning_rate, str):
        return schedule.learning_rate
    # nan is what only data can tell: how large rows are, how curved the loss.
    rate = optimizer.auto_learning_rate(math.nan, math.nan, 1, 0.0, optimizer.hyper())
    if math.isnan(rate):
        name = type(optimizer).__name__
        raise ValueError(
            f"learning_rate='auto' of {name} is derived from training data, which a function does not have. "
            f"Pass a number, such as {name}(learning_rate=0.01), or a schedule with one."
        )
    return rate


def _refuse_limits(name: str, **limits: Any) -> None:
    for what, value in limits.items():
        if value is not None and (isinstance(value, dict) or np.size(value)):
            raise ValueError(
                f"{name} does not support {what}. Use a method of SciPy that does ('trust-constr', 'SLSQP', for bounds "
                "also 'L-BFGS-B'), or reparametrize, such as by the logarithm of a positive variable."
            )


def _told(callback: Callable | None) -> Callable[[OptimizeResult], Any] | None:
    """Return how to call a callback in SciPy's way: with the result so far by its name, or with x."""
    if callback is None:
        return None
    try:
        names = set(inspect.signature(callback).parameters)
    except ValueError:  # of some functions that are not Python's
        names = set()
    if names == {"intermediate_result"}:
        return lambda result: callback(intermediate_result=result)
    return lambda result: callback(result.x)


def _finite(*values: Any) -> bool:
    return all(np.isfinite(value).all() for value in values)


def _largest(gradient: np.ndarray) -> float:
    return np.abs(gradient).max(initial=0.0)
