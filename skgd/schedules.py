r"""Schedules: the learning rate of each step.

A schedule is a vectorized function of the step number ``0, 1, 2, ...`` (one step is one update of the parameters, with
one mini-batch): ``learning_rate * factor(step)``. It has no state, so that resumed training continues with the right
learning rate. With ``learning_rate="auto"``, the default, the factor multiplies the learning rate that the optimizer
derives from the data.

Any function from step numbers to learning rates can be used as a schedule: ``GDClassifier(learning_rate=lambda step:
0.1 / (1 + step) ** 0.5)``.

Examples
--------
>>> import numpy as np
>>> from skgd.schedules import Step
>>> Step(learning_rate=0.1, step_size=2, factor=0.5)(np.arange(5))
array([0.1  , 0.1  , 0.05 , 0.05 , 0.025])

A custom schedule defines ``factor_at``:

>>> from skgd.schedules import Schedule
>>> class SquareRoot(Schedule):
...     def factor_at(self, step):
...         return 1 / np.sqrt(1 + step)
>>> SquareRoot(learning_rate=0.1)(np.array([0, 3, 99]))
array([0.1 , 0.05, 0.01])
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any

import numpy as np

from skgd.strategy import Strategy, is_finite, plain_repr, resolve

__all__ = [
    "Constant",
    "Cosine",
    "Exponential",
    "InverseScaling",
    "Linear",
    "OneCycle",
    "Piecewise",
    "ReduceOnPlateau",
    "Schedule",
    "Step",
]


class Schedule(Strategy):
    """Base class of all schedules; a subclass defines :meth:`factor_at`.

    Parameters
    ----------
    learning_rate : float or "auto", default="auto"
        The learning rate that the factor multiplies: a positive number, or "auto", derived from the data.
    """

    def __init__(self, learning_rate: float | str = "auto"):
        self.learning_rate = learning_rate

    def factor_at(self, step: np.ndarray) -> np.ndarray:
        """Return the factor on the learning rate at each step number (floats, counted from 0)."""
        raise NotImplementedError

    def observe(self, objective: float, memory: Any = None) -> Any:
        """Return the memory of all epochs up to one that ended with ``objective``; by default None.

        ``memory`` is the return value after the previous epoch.
        """
        return None

    def evaluate(self, step: Any, objectives: Sequence[float] = (), memory: Any = None) -> np.ndarray:
        """Return the factors at some steps of the epoch that follows those that ended with ``objectives``.

        ``memory`` stands for the epochs before these, see :meth:`observe`.
        """
        return self.factor_at(np.asarray(step, dtype=np.float64))

    def __call__(self, step: Any) -> np.ndarray:
        """Return the learning rate at each step number; of the factor alone where ``learning_rate="auto"``."""
        base = 1.0 if isinstance(self.learning_rate, str) else self.learning_rate
        return base * self.evaluate(step)

    def check(self) -> None:
        if self.learning_rate != "auto":
            self._check_real("learning_rate", 0.0, ends="neither")


class Constant(Schedule):
    r"""A constant learning rate, :math:`\eta_t = \eta`.

    Parameters
    ----------
    learning_rate : float or "auto", default="auto"
        The learning rate :math:`\eta`.

    Examples
    --------
    >>> from skgd.schedules import Constant
    >>> Constant(learning_rate=0.1)([0, 1000])
    array([0.1, 0.1])
    """

    def factor_at(self, step):
        return np.ones(step.shape)


class InverseScaling(Schedule):
    r"""A power of the step number, :math:`\eta_t = \eta / (1 + t / T)^p`.

    Parameters
    ----------
    learning_rate : float or "auto", default="auto"
        The learning rate :math:`\eta` of the first step.
    power : float, default=0.5
        The exponent p, positive: 0.5 for convex, 1 for strongly convex objectives.
    decay_steps : int, default=1
        The number of steps T after which the decay becomes effective.

    References
    ----------
    H. Robbins and S. Monro, "A stochastic approximation method", Annals of Mathematical Statistics 22, 1951.

    Examples
    --------
    >>> from skgd.schedules import InverseScaling
    >>> InverseScaling(learning_rate=0.1, power=0.5)([0, 3, 99])
    array([0.1 , 0.05, 0.01])
    """

    def __init__(self, learning_rate: float | str = "auto", power: float = 0.5, decay_steps: int = 1):
        super().__init__(learning_rate)
        self.power = power
        self.decay_steps = decay_steps

    def check(self):
        super().check()
        self._check_real("power", 0.0, ends="neither")
        self._check_steps("decay_steps")

    def factor_at(self, step):
        return (1.0 + step / self.decay_steps) ** -self.power


class Exponential(Schedule):
    r"""Exponential decay, :math:`\eta_t = \eta \gamma^{t / T}`.

    Parameters
    ----------
    learning_rate : float or "auto", default="auto"
        The learning rate :math:`\eta` of the first step.
    decay_rate : float, default=0.96
        The factor :math:`\gamma` for every T steps, in (0, 1].
    decay_steps : int, default=1000
        The number of steps T.

    Examples
    --------
    >>> from skgd.schedules import Exponential
    >>> schedule = Exponential(learning_rate=0.1, decay_rate=0.5, decay_steps=10)
    >>> schedule([0, 10, 20])
    array([0.1  , 0.05 , 0.025])
    """

    def __init__(self, learning_rate: float | str = "auto", decay_rate: float = 0.96, decay_steps: int = 1000):
        super().__init__(learning_rate)
        self.decay_rate = decay_rate
        self.decay_steps = decay_steps

    def check(self):
        super().check()
        self._check_real("decay_rate", 0.0, 1.0, ends="right")
        self._check_steps("decay_steps")

    def factor_at(self, step):
        return self.decay_rate ** (step / self.decay_steps)


class Step(Schedule):
    r"""Step decay: the learning rate is multiplied by a factor every ``step_size`` steps.

    Parameters
    ----------
    learning_rate : float or "auto", default="auto"
        The initial learning rate.
    step_size : int, default=1000
        The number of steps between two reductions.
    factor : float, default=0.5
        The factor of each reduction, in (0, 1].

    Examples
    --------
    >>> from skgd.schedules import Step
    >>> Step(learning_rate=0.1, step_size=10, factor=0.5)([9, 10, 20])
    array([0.1  , 0.05 , 0.025])
    """

    def __init__(self, learning_rate: float | str = "auto", step_size: int = 1000, factor: float = 0.5):
        super().__init__(learning_rate)
        self.step_size = step_size
        self.factor = factor

    def check(self):
        super().check()
        self._check_steps("step_size")
        self._check_real("factor", 0.0, 1.0, ends="right")

    def factor_at(self, step):
        return self.factor ** (step // self.step_size)


class Piecewise(Schedule):
    r"""A piecewise constant learning rate.

    Parameters
    ----------
    learning_rate : float or "auto", default="auto"
        The learning rate that the factors multiply; with 1.0, the factors are the learning rates.
    boundaries : tuple of int, default=(1000, 10000)
        The steps at which the next factor applies, increasing.
    factors : tuple of float, default=(1.0, 0.1, 0.01)
        The factors, one more than boundaries, each positive.

    Examples
    --------
    >>> from skgd.schedules import Piecewise
    >>> schedule = Piecewise(1.0, boundaries=(10, 20), factors=(0.3, 0.2, 0.1))
    >>> schedule([0, 10, 20])
    array([0.3, 0.2, 0.1])
    """

    def __init__(
        self,
        learning_rate: float | str = "auto",
        boundaries: Sequence[int] = (1000, 10000),
        factors: Sequence[float] = (1.0, 0.1, 0.01),
    ):
        super().__init__(learning_rate)
        self.boundaries = boundaries
        self.factors = factors

    def check(self):
        super().check()
        for name in ("boundaries", "factors"):
            values = getattr(self, name)
            vector = isinstance(values, Sequence) or (isinstance(values, np.ndarray) and values.ndim == 1)
            if not (vector and all(isinstance(value, Real) for value in values)):
                raise TypeError(f"Piecewise({name}) must be a tuple of numbers, got {plain_repr(values)}.")
            if not all(map(is_finite, values)):
                raise ValueError(f"Piecewise({name}) must be finite, got {plain_repr(values)}.")
        if len(self.factors) != len(self.boundaries) + 1:
            raise ValueError(
                f"Piecewise needs one factor more than boundaries, got {len(self.factors)} factors and "
                f"{len(self.boundaries)} boundaries."
            )
        if np.any(np.diff(self.boundaries) <= 0):
            raise ValueError(f"Piecewise(boundaries) must increase, got {plain_repr(self.boundaries)}.")
        if not np.all(np.asarray(self.factors) > 0):
            raise ValueError(f"Piecewise(factors) must be above 0, got {plain_repr(self.factors)}.")

    def factor_at(self, step):
        boundaries, factors = (np.asarray(values, dtype=np.float64) for values in (self.boundaries, self.factors))
        return factors[np.searchsorted(boundaries, step, side="right")]


class _Warmup(Schedule):
    """Base of the schedules that can start with a linear warm-up: a subclass defines :meth:`decay_at`."""

    warmup_steps: int

    def decay_at(self, step: np.ndarray) -> np.ndarray:
        """Return the factor ``step`` steps after the warm-up."""
        raise NotImplementedError

    def factor_at(self, step):
        rising = (step + 1.0) / (self.warmup_steps + 1.0)
        return np.where(step < self.warmup_steps, rising, self.decay_at(np.maximum(step - self.warmup_steps, 0.0)))


class Linear(_Warmup):
    r"""Linear decay, after an optional warm-up; constant after ``decay_steps``.

    Parameters
    ----------
    learning_rate : float or "auto", default="auto"
        The learning rate at the end of the warm-up.
    decay_steps : int, default=10000
        The number of steps of the decay.
    end_factor : float, default=0.0
        The factor at the end of the decay, in [0, 1].
    warmup_steps : int, default=0
        The number of steps in which the learning rate increases from near zero, before the decay.

    Examples
    --------
    >>> from skgd.schedules import Linear
    >>> Linear(learning_rate=0.1, decay_steps=4, warmup_steps=1)([0, 1, 3, 5, 9])
    array([0.05, 0.1 , 0.05, 0.  , 0.  ])
    """

    def __init__(
        self,
        learning_rate: float | str = "auto",
        decay_steps: int = 10000,
        end_factor: float = 0.0,
        warmup_steps: int = 0,
    ):
        super().__init__(learning_rate)
        self.decay_steps = decay_steps
        self.end_factor = end_factor
        self.warmup_steps = warmup_steps

    def check(self):
        super().check()
        self._check_steps("decay_steps")
        self._check_steps("warmup_steps", low=0)
        self._check_real("end_factor", 0.0, 1.0)

    def decay_at(self, step):
        return 1.0 - (1.0 - self.end_factor) * np.minimum(step / self.decay_steps, 1.0)


class Cosine(_Warmup):
    r"""Cosine decay, after an optional warm-up, once or with warm restarts.

    .. math:: \eta_t = \eta \left( m + (1 - m) \tfrac12 (1 + \cos(\pi t / T)) \right)

    Parameters
    ----------
    learning_rate : float or "auto", default="auto"
        The learning rate :math:`\eta` at the end of the warm-up.
    decay_steps : int, default=10000
        The number of steps T of the (first) half cosine.
    end_factor : float, default=0.0
        The factor m at the end of the decay, in [0, 1].
    warmup_steps : int, default=0
        The number of steps in which the learning rate increases from near zero, before the decay.
    restarts : bool, default=False
        Whether the schedule restarts at the end of each period; otherwise the learning rate is constant after it.
    period_growth : float, default=1.0
        The ratio of the lengths of successive periods, at least 1.

    References
    ----------
    I. Loshchilov and F. Hutter, "SGDR: Stochastic gradient descent with warm restarts", ICLR 2017.

    Examples
    --------
    >>> from skgd.schedules import Cosine
    >>> Cosine(learning_rate=0.1, decay_steps=4)([0, 2, 4, 9]).round(3)
    array([0.1 , 0.05, 0.  , 0.  ])
    >>> schedule = Cosine(learning_rate=0.1, decay_steps=4, restarts=True)
    >>> schedule([0, 2, 4, 6]).round(3)
    array([0.1 , 0.05, 0.1 , 0.05])
    """

    def __init__(
        self,
        learning_rate: float | str = "auto",
        decay_steps: int = 10000,
        end_factor: float = 0.0,
        warmup_steps: int = 0,
        restarts: bool = False,
        period_growth: float = 1.0,
    ):
        super().__init__(learning_rate)
        self.decay_steps = decay_steps
        self.end_factor = end_factor
        self.warmup_steps = warmup_steps
        self.restarts = restarts
        self.period_growth = period_growth

    def check(self):
        super().check()
        self._check_steps("decay_steps")
        self._check_steps("warmup_steps", low=0)
        self._check_real("end_factor", 0.0, 1.0)
        self._check_real("period_growth", 1.0, ends="left")

    def decay_at(self, step):
        progress = step / self.decay_steps  # in units of the first period
        if not self.restarts:
            progress = np.minimum(progress, 1.0)
        elif self.period_growth == 1:
            progress = progress % 1.0
        else:  # the k-th period starts at (growth**k - 1) / (growth - 1) and lasts growth**k
            growth = self.period_growth
            period = np.floor(np.log1p(progress * (growth - 1.0)) / np.log(growth) + 1e-12)
            progress = (progress - (growth**period - 1.0) / (growth - 1.0)) / growth**period
        return self.end_factor + (1.0 - self.end_factor) * 0.5 * (1.0 + np.cos(np.pi * progress))


class OneCycle(Schedule):
    r"""Up to a high learning rate and down to almost zero, in two half cosines, for a known number of steps.

    Parameters
    ----------
    learning_rate : float or "auto", default="auto"
        The maximum learning rate.
    total_steps : int, default=10000
        The number of steps of the cycle, at least 2; the learning rate is constant after it.
    warmup_fraction : float, default=0.3
        The fraction of the cycle in which the learning rate increases, in (0, 1).
    start_divisor : float, default=25.0
        The ratio of the maximum to the first learning rate, at least 1.
    end_divisor : float, default=1e4
        The ratio of the first to the last learning rate, at least 1.

    References
    ----------
    L. N. Smith and N. Topin, "Super-convergence: Very fast training of neural networks using large learning rates",
    2019.

    Examples
    --------
    >>> from skgd.schedules import OneCycle
    >>> schedule = OneCycle(0.25, total_steps=12, warmup_fraction=0.5)
    >>> schedule([0, 5, 11]).round(3)
    array([0.01, 0.25, 0.  ])
    """

    def __init__(
        self,
        learning_rate: float | str = "auto",
        total_steps: int = 10000,
        warmup_fraction: float = 0.3,
        start_divisor: float = 25.0,
        end_divisor: float = 1e4,
    ):
        super().__init__(learning_rate)
        self.total_steps = total_steps
        self.warmup_fraction = warmup_fraction
        self.start_divisor = start_divisor
        self.end_divisor = end_divisor

    def check(self):
        super().check()
        self._check_steps("total_steps", low=2)
        self._check_real("warmup_fraction", 0.0, 1.0, ends="neither")
        self._check_real("start_divisor", 1.0, ends="left")
        self._check_real("end_divisor", 1.0, ends="left")

    def factor_at(self, step):
        first, last = 1.0 / self.start_divisor, 1.0 / (self.start_divisor * self.end_divisor)
        peak = max(self.warmup_fraction * self.total_steps - 1.0, 0.0)
        end = self.total_steps - 1.0
        up = step / peak if peak > 0.0 else np.ones_like(step)
        down = np.minimum((step - peak) / max(end - peak, 1.0), 1.0)
        rising = 1.0 + (first - 1.0) * 0.5 * (1.0 + np.cos(np.pi * np.minimum(up, 1.0)))
        falling = last + (1.0 - last) * 0.5 * (1.0 + np.cos(np.pi * np.maximum(down, 0.0)))
        return np.where(step <= peak, rising, falling)


class ReduceOnPlateau(Schedule):
    r"""The learning rate is multiplied by a factor when the objective plateaus.

    It monitors the objective of all epochs so far (the validation loss if there is a validation set; each call of
    ``partial_fit`` counts as an epoch). With several targets or labels, the objective of each is divided by that of its
    best constant model (in a stream, by its unit), and the contribution of outliers is removed.

    Parameters
    ----------
    learning_rate : float or "auto", default="auto"
        The initial learning rate.
    factor : float, default=0.1
        The factor of each reduction, in (0, 1).
    patience : int, default=2
        The number of epochs without improvement before the learning rate is reduced, nonnegative.
    threshold : float, default=1e-4
        The minimum relative improvement over the best objective, nonnegative.
    lowest_factor : float, default=1e-6
        The minimum factor, in [0, 1].

    Examples
    --------
    >>> from skgd.schedules import ReduceOnPlateau
    >>> schedule = ReduceOnPlateau(learning_rate=0.1, factor=0.5, patience=1)
    >>> schedule.evaluate([7], objectives=[3.0, 2.0, 2.0])
    array([1.])
    >>> schedule.evaluate([7], objectives=[3.0, 2.0, 2.0, 2.0])
    array([0.5])
    """

    def __init__(
        self,
        learning_rate: float | str = "auto",
        factor: float = 0.1,
        patience: int = 2,
        threshold: float = 1e-4,
        lowest_factor: float = 1e-6,
    ):
        super().__init__(learning_rate)
        self.factor = factor
        self.patience = patience
        self.threshold = threshold
        self.lowest_factor = lowest_factor

    def check(self):
        super().check()
        self._check_real("factor", 0.0, 1.0, ends="neither")
        self._check_steps("patience", low=0)
        self._check_real("threshold", 0.0, ends="left")
        self._check_real("lowest_factor", 0.0, 1.0)

    def observe(self, objective, memory=None):
        factor, best, waited = memory or (1.0, math.inf, 0)
        if objective < best - self.threshold * abs(best) or best == math.inf:
            return factor, objective, 0
        if waited < self.patience:
            return factor, best, waited + 1
        return max(factor * self.factor, self.lowest_factor), best, 0

    def evaluate(self, step, objectives=(), memory=None):
        for objective in objectives:
            memory = self.observe(objective, memory)
        return np.full(np.shape(step), 1.0 if memory is None else memory[0])


SCHEDULES: dict[str, type[Schedule]] = {
    "constant": Constant,
    "inverse_scaling": InverseScaling,
    "exponential": Exponential,
    "step": Step,
    "piecewise": Piecewise,
    "linear": Linear,
    "cosine": Cosine,
    "one_cycle": OneCycle,
    "reduce_on_plateau": ReduceOnPlateau,
}


class _Function(Schedule):
    """A user's own function from step numbers to rates."""

    def __init__(self, function: Callable[[np.ndarray], Any]):
        super().__init__(learning_rate=1.0)
        self.function = function

    def factor_at(self, step):
        returned = self.function(step)
        try:
            rates = np.broadcast_to(np.asarray(returned, dtype=np.float64), step.shape)
        except (TypeError, ValueError):
            raise ValueError(
                f"learning_rate={plain_repr(self.function)} returned {plain_repr(returned)} for the steps {step}. It "
                "must return one learning rate, or one for each step."
            ) from None
        if not np.all(rates >= 0.0) or not np.all(np.isfinite(rates)):
            raise ValueError(
                f"learning_rate={plain_repr(self.function)} returned a learning rate that is negative or not finite "
                f"for the steps {step}. It must return finite, nonnegative learning rates."
            )
        return rates


def resolve_schedule(learning_rate: Any, parameter: str) -> Schedule:
    """Return the schedule that ``learning_rate`` stands for: a number, "auto", a name, a schedule or a function."""
    if isinstance(learning_rate, Schedule) or (isinstance(learning_rate, str) and learning_rate != "auto"):
        return resolve(learning_rate, SCHEDULES, Schedule, parameter, others=("auto",))
    if isinstance(learning_rate, str):
        return Constant()
    if isinstance(learning_rate, Real) and not isinstance(learning_rate, bool):
        if not (is_finite(learning_rate) and float(learning_rate) > 0.0):
            raise ValueError(
                f"{parameter}={plain_repr(learning_rate)} must be a finite number above 0. 'auto' chooses one."
            )
        return Constant(learning_rate=float(learning_rate))
    if callable(learning_rate) and not isinstance(learning_rate, (type, Strategy)):  # an optimizer can be called, too
        return _Function(learning_rate)
    raise TypeError(
        f"{parameter} must be a number, 'auto', the name of a schedule, a Schedule or a function of the step number, "
        f"got {plain_repr(learning_rate)}."
    )
