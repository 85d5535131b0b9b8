"""The base class of all optimizers: the interface, and the ranges of hyperparameters.

`skgd.optimizers` defines what a rule is. A subclass defines `rule`, and overrides other attributes and methods as
needed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
from scipy.optimize import OptimizeResult

from skgd.optimizers.minimization import minimize
from skgd.schedules import Schedule, resolve_schedule
from skgd.strategy import Strategy

LearningRate = float | str | Schedule | Callable[[Any], Any]


class Optimizer(Strategy):
    """Base class of all optimizers; a subclass defines :meth:`rule`, and :attr:`slots` if it has state.

    A custom optimizer is used like a built-in one, ``GDClassifier(optimizer=MyOptimizer())``; see :doc:`/extending`. An
    optimizer is also a method of :func:`scipy.optimize.minimize`, see :meth:`__call__`.

    Attributes
    ----------
    slots : tuple of str
        Names of the state arrays, each with one value per parameter.
    sizes : tuple of str
        Names of the slots that hold sizes of gradients, without directions. When a stream with ``implicit`` steps
        decorrelates its features, these continue with their mean; other slots are reset.
    learning_rate : float, "auto", Schedule or callable
        Used if the ``learning_rate`` of the estimator is None.
    weight_decay : float
        Decoupled weight decay: before each step, ``lr * weight_decay`` of the coefficients (not of the intercept) is
        subtracted.
    proximal : bool
        Whether the penalty takes a proximal step with ``step`` after the rule. Otherwise its gradient is added to that
        of the loss, and an L1 penalty is not supported, because coefficients would not become exactly zero.
    implicit : bool
        Whether a step may be shortened afterwards, because the slots depend on gradients only, not on the new
        parameters. Required for implicit steps with ``learning_rate="auto"``.
    bounded : bool
        Whether ``step`` is proportional to ``lr``, so that ``learning_rate="auto"`` can bound it by the curvature for
        each parameter. ``lr`` is then an array with one value per parameter.
    lazy : str
        The effect of the rule on a parameter with a zero gradient, which sparse samples can then skip: "rest" does not
        change the parameter and its slots; after "repeat", only the last of several such steps counts, and
        :meth:`skip`; by "drift", it follows its momentum, see :meth:`drift`. If empty, each step updates every
        parameter.
    idle : tuple of str
        Names of slots that the rule, with these hyperparameters, neither reads nor changes: steps leave them alone.
    linear : bool
        Whether the rule returns ``w - step * g`` with a ``step`` that is proportional to ``lr`` and the same for all
        parameters, slots and t: slots need not be kept then, and a step of one sample is a multiple of this sample.
        Like ``lazy`` and ``idle``, it holds for this rule only, not for that of a subclass.
    """

    slots: ClassVar[tuple[str, ...]] = ()
    sizes: ClassVar[tuple[str, ...]] = ()
    learning_rate: LearningRate = "auto"
    weight_decay: float = 0.0
    proximal: ClassVar[bool] = True
    implicit: bool = False
    bounded: ClassVar[bool] = True
    lazy: str = ""
    idle: tuple[str, ...] = ()
    linear: bool = False

    def initial(self) -> tuple[float, ...]:
        """Return the initial value of each slot."""
        return (0.0,) * len(self.slots)

    @staticmethod
    def rule(w: Any, g: Any, lr: float, t: int, slots: tuple, hyper: tuple) -> tuple[Any, Any, tuple]:
        """Return the new parameters, the long-run learning rate of each, and the new slots."""
        raise NotImplementedError

    @staticmethod
    def readout(w: Any, slots: tuple, hyper: tuple) -> Any:
        """Return the parameters for prediction; by default those that are trained."""
        return w

    @staticmethod
    def skip(steps: int, slots: tuple, hyper: tuple) -> tuple:
        """Return the slots after this number of steps with zero gradients, if ``lazy`` is "repeat" or "drift"."""
        return slots

    @staticmethod
    def drift(steps: Any, t: Any, hyper: tuple) -> tuple[Any, Any]:
        r"""Return by what momentum and size are multiplied, if ``lazy`` is "drift".

        In step ``t``, the last of a number of ``steps`` with zero gradients, the rule moves a parameter by
        :math:`-\eta \, a m / (b s + \epsilon)`: a and b are what this returns, both of them a function of ``steps``
        times one of ``t``, also at infinity, and m, s and :math:`\epsilon` what :meth:`momentum_and_size` makes of the
        slots after the last gradient.
        """
        raise NotImplementedError

    @staticmethod
    def momentum_and_size(slots: tuple, hyper: tuple) -> tuple[Any, Any, Any]:
        """Return what :meth:`drift` refers to."""
        raise NotImplementedError

    @staticmethod
    def rebase(transform: Callable[[Any], Any], w: Any, slots: tuple, hyper: tuple) -> tuple:
        """Return the slots for ``transform(w)``, the parameters in other coordinates.

        Moving averages of gradients do not change; slots that hold parameters are transformed.
        """
        return slots

    @staticmethod
    def rescaled(ratio: Any, slots: tuple, hyper: tuple) -> tuple:
        """Return the slots of a coefficient whose feature, and with it its gradients, is multiplied by a ratio.

        It concerns streams, which standardize features by what is known so far.
        """
        return slots

    @staticmethod
    def detached(w: Any, slots: tuple, hyper: tuple) -> tuple:
        """Return what the slots hold that is the same in all coordinates of ``w``; :meth:`attached` is the inverse."""
        return slots

    @staticmethod
    def attached(w: Any, detached: tuple, hyper: tuple) -> tuple:
        """Return the slots at ``w`` from what :meth:`detached` returned, in other coordinates perhaps."""
        return detached

    @staticmethod
    def auto_learning_rate(row_norm: float, curvature: float, n_classes: int, one_hot: float, hyper: tuple) -> float:
        """Return the learning rate for ``learning_rate="auto"``.

        The default is suitable for adaptive methods, whose step for each parameter is about the learning rate, whatever
        the size of the gradient: the prediction of a sample then changes by about one unit in the first ten steps.

        Parameters
        ----------
        row_norm : float
            The root mean square norm of the samples, on standardized features.
        curvature : float
            The maximum second derivative of the loss.
        n_classes : int
            For sparse data and three or more exclusive classes the number of classes; else 1.
        one_hot : float
            For sparse data, 1 in ``fit`` and in ``partial_fit`` the share of their nonzero entries that are in
            features with a single nonzero value, such as one-hot categories; else 0.
        hyper : tuple
            What :meth:`hyper` returns.
        """
        return 0.1 / row_norm

    def __call__(
        self,
        fun: Callable,
        x0: Any,
        args: tuple = (),
        *,
        jac: Any = None,
        hess: Any = None,
        hessp: Any = None,
        bounds: Any = None,
        constraints: Any = None,
        callback: Callable | None = None,
        maxiter: int = 1000,
        tol: float | None = None,
        gtol: float = 1e-5,
        disp: bool = False,
        **unknown_options: Any,
    ) -> OptimizeResult:
        """Minimize a smooth function, as a ``method`` of SciPy's ``minimize``.

        Each iteration is a step of :meth:`rule` with the gradient at the last point. ``learning_rate`` is a number, a
        function or a schedule, for which an iteration counts as an epoch. ``weight_decay`` applies to all parameters.

        Parameters
        ----------
        fun, x0, args, jac, callback
            See :func:`scipy.optimize.minimize`. Without ``jac``, the gradient is computed by finite differences.
        hess, hessp
            Not used; a warning says so.
        bounds, constraints
            Not supported; a ValueError says so.
        maxiter : int, default=1000
            The maximum number of iterations. This and the following parameters are passed as ``options`` of
            ``minimize``.
        tol : float, default=None
            The same as ``gtol``, by the name of SciPy's parameter.
        gtol : float, default=1e-5
            Converged if no component of the gradient is larger.
        disp : bool, default=False
            Whether to print a message at the end.

        Returns
        -------
        result : OptimizeResult
            ``x``, ``fun``, ``jac``, ``nit``, ``nfev``, ``njev``, ``success``, ``message`` and ``status``: 0 converged,
            1 ``maxiter`` reached, 2 diverged (``x`` is the last finite point), 3 not finite at ``x0``, 99 stopped by
            the callback.

        Examples
        --------
        >>> from scipy.optimize import minimize, rosen, rosen_der
        >>> from skgd.optimizers import Adam
        >>> adam = Adam(learning_rate=1.0)
        >>> result = minimize(rosen, [-1.0, 2.0], jac=rosen_der, method=adam, options={"maxiter": 2000})
        >>> result.x.round(3)
        array([1., 1.])
        """
        if unknown_options:
            raise TypeError(
                f"{type(self).__name__} as a method of minimize has no option {', '.join(map(repr, unknown_options))}. "
                "Its options are 'maxiter', 'gtol' and 'disp'."
            )
        return minimize(
            self,
            fun,
            x0,
            args,
            jac=jac,
            hess=hess,
            hessp=hessp,
            bounds=bounds,
            constraints=constraints,
            callback=callback,
            maxiter=maxiter,
            gtol=gtol if tol is None else tol,
            disp=disp,
        )

    def check(self) -> None:
        resolve_schedule(self.learning_rate, f"{type(self).__name__}(learning_rate)")
        for name in self.get_params(deep=False):
            if name in _RANGES:
                self._check_real(name, *_RANGES[name])


# Ranges of the hyperparameters, which have the same meaning for all optimizers.
_RANGES: dict[str, tuple[float, float | None, str]] = {
    "momentum": (0.0, 1.0, "left"),
    "momentum_decay": (0.0, None, "left"),
    "rho": (0.0, 1.0, "left"),
    "beta1": (0.0, 1.0, "left"),
    "beta2": (0.0, 1.0, "left"),
    "beta3": (0.0, 1.0, "left"),
    "alpha": (0.0, None, "left"),
    "beta": (0.0, None, "left"),
    "l1": (0.0, None, "left"),
    "l2": (0.0, None, "left"),
    "epsilon": (0.0, None, "neither"),
    "weight_decay": (0.0, None, "left"),
    "initial_accumulator": (0.0, None, "left"),
}


def laziness_of(optimizer: Optimizer) -> str:
    """Return ``optimizer.lazy``, but for a class that took it over and has a rule of its own, or decays."""
    return optimizer.lazy if _is_of_rule(type(optimizer).__mro__, "lazy") and not optimizer.weight_decay else ""


def idle_slots(optimizer: Optimizer) -> tuple[int, ...]:
    """Return the places of ``optimizer.idle``, but for a class that took it over and has a rule of its own."""
    idle = optimizer.idle if _is_of_rule(type(optimizer).__mro__, "idle") else ()
    return tuple(place for place, name in enumerate(optimizer.slots) if name in idle)


def is_linear(optimizer: Optimizer) -> bool:
    """Return ``optimizer.linear``, but for a class that took it over and has a rule of its own."""
    return _is_of_rule(type(optimizer).__mro__, "linear") and bool(optimizer.linear)


def is_adaptive(optimizer: Optimizer) -> bool:
    """Say whether the rule returns a long-run learning rate for each parameter, not one number for all of them."""
    numbers, slots = np.zeros(1), tuple(np.full(1, value) for value in optimizer.initial())
    return isinstance(optimizer.rule(numbers, numbers, 1.0, 1, slots, optimizer.hyper())[1], np.ndarray)


@lru_cache(maxsize=256)
def _is_of_rule(family: tuple[type, ...], promise: str) -> bool:
    """Say whether a class, by its bases, promises something of the rule that it has, not of one before that."""
    by_rule, by_promise = (next(i for i, each in enumerate(family) if name in vars(each)) for name in ("rule", promise))
    return by_promise <= by_rule
