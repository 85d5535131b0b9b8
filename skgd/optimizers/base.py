"""What all optimizers share: the interface, the ranges of hyper-parameters, and what the training loops ask of a rule.

What a rule is, is said in `skgd.optimizers`. A subclass defines `rule`, and overrides what else does not suit it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, ClassVar

from scipy.optimize import OptimizeResult

from skgd.optimizers.minimization import minimize
from skgd.schedules import Schedule, resolve_schedule
from skgd.strategy import Strategy

LearningRate = float | str | Schedule | Callable[[Any], Any]


class Optimizer(Strategy):
    """Base of all optimizers; a subclass defines :meth:`rule`, and :attr:`slots` if it remembers anything.

    An optimizer is also a method of :func:`scipy.optimize.minimize`, see :meth:`__call__`.

    Attributes
    ----------
    slots : tuple of str
        Names of the state arrays, one value a parameter each.
    sizes : tuple of str
        Names of the slots that hold sizes of gradients, and no directions. Where a stream takes other combinations of
        the columns, as it does with ``implicit`` steps, each of these goes on with its mean; the others begin anew.
    learning_rate : float, "auto", Schedule or callable
        Used where the estimator's own ``learning_rate`` is None.
    weight_decay : float
        Decoupled decay: before each step the coefficients (not the intercept) shrink by ``lr * weight_decay``.
    proximal : bool
        Whether the penalty may act on the result of the rule, with ``step``. Otherwise its gradient is added to the
        data's, and an L1 penalty is refused, for it could not give exact zeros.
    implicit : bool
        Whether a step may be shortened after the fact, because the slots hold gradients only and don't depend on
        where the parameters went. Only then does ``learning_rate="auto"`` take implicit steps.
    bounded : bool
        Whether ``step`` is proportional to the rate, so that ``learning_rate="auto"`` can keep it below Newton's step
        for each parameter. ``lr`` is then an array, one value a parameter.
    lazy : str
        What the rule does to a parameter without a gradient, which rows of mostly zeros need not visit then: "rest"
        leaves it and its slots alone; after "repeat", only the last of several such steps counts, and :meth:`skip`.
        Empty: each step visits every parameter.
    linear : bool
        Whether the rule moves to ``w - step * g``, with a ``step`` in proportion to the rate that is the same for all
        parameters, slots and t: slots need not be kept then, and a step of one row is a multiple of this row. Like
        ``lazy``, it holds for this very rule, not for that of a subclass.
    """

    slots: ClassVar[tuple[str, ...]] = ()
    sizes: ClassVar[tuple[str, ...]] = ()
    learning_rate: LearningRate = "auto"
    weight_decay: float = 0.0
    proximal: ClassVar[bool] = True
    implicit: bool = False
    bounded: ClassVar[bool] = True
    lazy: str = ""
    linear: bool = False

    def initial(self) -> tuple[float, ...]:
        """Return the value with which each slot starts."""
        return (0.0,) * len(self.slots)

    @staticmethod
    def rule(w: Any, g: Any, lr: float, t: int, slots: tuple, hyper: tuple) -> tuple[Any, Any, tuple]:
        """Return the next parameters, the long-run rate of each, and the next slots."""
        raise NotImplementedError

    @staticmethod
    def readout(w: Any, slots: tuple, hyper: tuple) -> Any:
        """Return the parameters to predict with; by default those that are trained."""
        return w

    @staticmethod
    def skip(steps: int, slots: tuple, hyper: tuple) -> tuple:
        """Return the slots after so many steps without a gradient, where ``lazy`` is "repeat"."""
        return slots

    @staticmethod
    def rebase(transform: Callable[[Any], Any], w: Any, slots: tuple, hyper: tuple) -> tuple:
        """Return the slots that go with ``transform(w)``, the parameters expressed in other coordinates.

        Gradients' running averages stay as they are; a slot that holds parameters follows them.
        """
        return slots

    @staticmethod
    def auto_learning_rate(row_norm: float, curvature: float, n_classes: int, one_hot: float, hyper: tuple) -> float:
        """Return the rate of ``learning_rate="auto"``.

        By default that of the adaptive methods, which move each parameter by about the rate, whatever the gradient's
        size: a row's prediction then moves by about one unit in the first ten steps.

        Parameters
        ----------
        row_norm : float
            The root mean square of the rows' norms, in the optimizer's coordinates.
        curvature : float
            The loss's largest second derivative.
        n_classes : int
            For rows of mostly zeros and three or more exclusive classes the number of classes; else 1.
        one_hot : float
            Where the rows are mostly zeros, 1 in ``fit`` and in ``partial_fit`` the share of their entries that are in
            columns with one value beside zero, as those of one-hot categories are; else 0.
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
        """Minimize a smooth function: what SciPy calls where the optimizer is a ``method`` of its ``minimize``.

        Each iteration is a step of :meth:`rule` along the gradient at the point before. ``learning_rate`` is a number,
        a function or a schedule, of which an epoch is an iteration. ``weight_decay`` shrinks all parameters.

        Parameters
        ----------
        fun, x0, args, jac, callback
            See :func:`scipy.optimize.minimize`. Without ``jac``, the gradient is computed by differences.
        hess, hessp
            Not used; a warning says so.
        bounds, constraints
            Refused, because a step does not know them.
        maxiter : int, default=1000
            The largest number of iterations. This and what follows are passed as ``options`` of SciPy's ``minimize``.
        tol : float, default=None
            ``gtol``, by the name of SciPy's parameter.
        gtol : float, default=1e-5
            Iterations end where no component of the gradient is larger.
        disp : bool, default=False
            Whether to print how it ended.

        Returns
        -------
        result : OptimizeResult
            ``x``, ``fun``, ``jac``, ``nit``, ``nfev``, ``njev``, ``success``, ``message`` and ``status``: 0 converged,
            1 out of iterations, 2 diverged (``x`` is the last point that was finite), 3 not finite at ``x0``,
            99 stopped by the callback.

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


# Ranges of the hyper-parameters, which mean the same wherever they appear.
_RANGES: dict[str, tuple[float, float | None, str]] = {
    "momentum": (0.0, 1.0, "left"),
    "momentum_decay": (0.0, None, "left"),
    "rho": (0.0, 1.0, "left"),
    "beta1": (0.0, 1.0, "left"),
    "beta2": (0.0, 1.0, "left"),
    "beta": (0.0, None, "left"),
    "l1": (0.0, None, "left"),
    "l2": (0.0, None, "left"),
    "epsilon": (0.0, None, "neither"),
    "weight_decay": (0.0, None, "left"),
    "initial_accumulator": (0.0, None, "left"),
}


def laziness_of(optimizer: Optimizer) -> str:
    """Return ``optimizer.lazy``, but for a class that took it over and has a rule of its own, or decays."""
    return optimizer.lazy if _is_of_rule(type(optimizer), "lazy") and not optimizer.weight_decay else ""


def is_linear(optimizer: Optimizer) -> bool:
    """Return ``optimizer.linear``, but for a class that took it over and has a rule of its own."""
    return _is_of_rule(type(optimizer), "linear") and bool(optimizer.linear)


@lru_cache(maxsize=256)
def _is_of_rule(kind: type[Optimizer], promise: str) -> bool:
    """Say whether a class promises something of the rule that it has, not of one before that."""
    family = kind.__mro__
    by_rule, by_promise = (next(i for i, each in enumerate(family) if name in vars(each)) for name in ("rule", promise))
    return by_promise <= by_rule
