r"""Minimization by sums over all rows, which a pass over the data computes: Newton steps, and L-BFGS.

A descent says where to evaluate the objective next, and is told the sums there: losses, gradient and, for Newton steps,
the Hessian. It keeps the best point so far. A step is shortened where the objective does not decrease enough, so that
each pass computes at a single point all that the next step needs.

The decrement, half of :math:`g^\top H^{-1} g`, estimates how far the objective is above its minimum. L-BFGS has an
approximate inverse of the Hessian, from the changes of the gradient along the last steps, so that its decrement is an
estimate, too. With an L1 penalty, its steps stay in one orthant, and the gradient is the subgradient of smallest norm.

References
----------
J. Nocedal and S. J. Wright, "Numerical Optimization", 2006, chapters 3 and 7.
G. Andrew and J. Gao, "Scalable training of L1-regularized log-linear models", ICML 2007.
"""

from __future__ import annotations

from collections import deque
from copy import copy
from typing import NamedTuple, Protocol

import numpy as np

from skgd.curvature import WIDTHS, Point, Problem
from skgd.losses import SquaredError
from skgd.newton import is_narrowed, narrower
from skgd.objective import Objective
from skgd.partition_sums import Request, Sums
from skgd.quadratic import least_subgradient

_ENOUGH = 1e-4  # of the decrease that the slope promises (Armijo)
_FLAT = 0.01  # of the slope at the start, around kinks
_SHORTEST, _LONGEST = 0.1, 0.5  # of a step that was too long
_PAIRS = 30  # of steps and changes of the gradient, at most
_ENTRIES_OF_PAIRS = 2**24
_FIRST_DAMPING = 0.03  # of the largest curvature
_LESS_DAMPING = 0.5  # times that of the step before
_MOST_PASSES = 8  # of a damped step
_ENDED = 0.9  # of the gradient, which what is left of it falls short of where a damped step ends
# In units of the loss's curvature, that of standardized features; the large ones where all others lead up.
_DAMPINGS = np.array([0.0, 1e-4, 1e-3, 1e-2, 1e-1, 1.0])
_LARGE_DAMPINGS = np.array([1e1, 1e2, 1e3, 1e4])
_WIDEST = 4.0  # interval around kinks, in units of the standardized prediction: half of its width
_ROUNDING = 1e-12  # of the objective


class Evaluation(NamedTuple):
    """What a pass says of the point where it was: losses by output, the squared gradient, and the decrement.

    ``step`` is the proximal step that ends there, if one does.
    """

    theta: np.ndarray
    losses: np.ndarray
    squared_gradient: float
    decrement: float
    accepted: bool
    step: ProximalStep | None = None


class ProximalStep(NamedTuple):
    """A proximal step: where it begins, and the weight of half the squared distance from there.

    ``pairs`` is what L-BFGS knew of the Hessian when it began.
    """

    center: np.ndarray
    damping: float
    pairs: tuple[tuple[np.ndarray, np.ndarray], ...] = ()


class Descent(Protocol):
    """Steps by sums: where to evaluate next, what was found there, and the parameters so far."""

    width: float

    @property
    def theta(self) -> np.ndarray:
        """The parameters so far."""

    @property
    def request(self) -> Request:
        """Where to evaluate next, and what."""

    def take(self, sums: Sums) -> Evaluation:
        """Take a step, or a shorter one, from the sums at the requested point."""


class NewtonDescent:
    """Newton steps; of losses with kinks, on means over intervals, which become smaller.

    A step goes to the minimum of the quadratic model plus a damping times the squared length of the step, in standard
    deviations of the features. Where the model holds, as near the minimum, no damping is best. Each pass also computes
    the losses at the ends of steps with other dampings, so that a step that is too long costs one more pass.
    """

    def __init__(self, problem: Problem, theta: np.ndarray, n_rows: int):
        loss = problem.objective.loss
        self._problem, self._n_rows = problem, n_rows
        self._exact = isinstance(loss, SquaredError) and not problem.l1.any()
        self.width = 0.0 if loss.smooth else float(WIDTHS[WIDTHS <= _WIDEST][0])
        self._dampings = loss.curvature * _DAMPINGS if loss.smooth and not self._exact else np.zeros(1)
        self._next = problem.parameters(theta)
        self._tried, self._damping = [self._next], 0  # the ends of the steps, and which of them is next
        self._best: tuple[float, np.ndarray] = (np.inf, self._next)
        self._model: _Model | None = None
        self._first: int | None = 0  # the index of the first one's damping, or None if they are shares of a step
        self._accepted, self._narrowed = True, False

    @property
    def request(self) -> Request:
        """Where to evaluate next, and what."""
        others = tuple(self._problem.flat(each) for each in self._tried if each is not self._next)
        return Request(self._problem.flat(self._next), True, self.width, others)

    @property
    def theta(self) -> np.ndarray:
        """The parameters so far: after the last step or, with kinks or a step too long, the best ones."""
        follows = self._problem.objective.loss.smooth and self._accepted
        return self._problem.flat(self._next if follows else self._best[1])

    def take(self, sums: Sums) -> Evaluation:
        """Take a step, or a shorter one, from the sums at the requested point."""
        problem, here = self._problem, self._next
        value = self._value(float(sums.losses.sum()), here)
        gradient = sums.gradient + problem.l2 * here
        of_all = problem.flat(here), sums.losses, float(np.square(gradient).sum())
        others = (each for each in self._tried if each is not here)
        values = {id(each): self._value(loss, each) for each, loss in zip(others, sums.others, strict=True)}
        values[id(here)] = value
        lowest = min(range(len(self._tried)), key=lambda index: values[id(self._tried[index])])
        if self._narrowed and value > self._best[0]:  # the interval was too wide: begin where the loss was lowest
            self._next, self._narrowed = self._best[1], False
            self._tried = [self._next]
            return Evaluation(*of_all, np.inf, False)
        self._narrowed = False
        if value < self._best[0]:
            self._best = value, here
        self._accepted = self._model is None or self._is_enough(value, gradient)
        if not self._accepted:
            self._shorten(gradient, lowest, values[id(self._tried[lowest])])
            return Evaluation(*of_all, np.inf, False)
        model = self._model = self._model_at(here, value, gradient, sums)
        undamped, falls = self._step(model, 0.0)
        fall = float(falls @ problem.worth)
        if self._first is not None and len(self._tried) > 1:
            self._damping = self._first + lowest
        self._first, self._tried = 0, [here + undamped, *self._ends(self._dampings[1:])]
        self._next = self._tried[self._damping]
        if self._exact:  # the quadratic function is known: its gradient, and so the decrement, at the next point, too
            columns = [h @ column for h, column in zip(model.hessians, undamped.T, strict=True)]
            left = model._replace(gradient=gradient + np.column_stack(columns))
            fall = float(self._step(left, 0.0)[1] @ problem.worth)
        added = float(np.sum(sums.smoothing * problem.worth)) if self.width else 0.0
        if self.width and is_narrowed(fall, added) and narrower(self.width) < self.width:
            self.width, self._model, self._narrowed = narrower(self.width), None, True
        return Evaluation(*of_all, fall + 2.0 * added, True)

    def _value(self, loss: float, parameters: np.ndarray) -> float:
        penalty = self._problem.l1 * np.abs(parameters) + 0.5 * self._problem.l2 * parameters**2
        return loss + float(penalty.sum())

    def _model_at(self, here: np.ndarray, value: float, gradient: np.ndarray, sums: Sums) -> _Model:
        problem = self._problem
        if problem.coupled:
            return _Model(here, value, gradient, [sums.hessians[0] + np.diag(problem.l2.T.ravel())])
        shared = sums.hessians * (problem.basis.shape[1] // len(sums.hessians))
        return _Model(here, value, gradient, [h + np.diag(l2) for h, l2 in zip(shared, problem.l2.T, strict=True)])

    def _step(self, model: _Model, damping: float) -> tuple[np.ndarray, np.ndarray]:
        point = Point(model.parameters, np.zeros((0, 0)), model.value)
        hessians = [hessian + damping * np.eye(len(hessian)) for hessian in model.hessians]
        return self._problem.step_by_hessians(point, model.gradient, hessians, self._n_rows)

    def _ends(self, dampings: np.ndarray) -> list[np.ndarray]:
        """Return where steps with these dampings end."""
        model = self._model
        assert model is not None
        return [model.parameters + self._step(model, damping)[0] for damping in dampings]

    def _is_enough(self, value: float, gradient: np.ndarray) -> bool:
        """Say whether the objective has decreased enough since the last accepted point."""
        model = self._model
        assert model is not None
        if not np.isfinite(value):
            return False
        step = self._next - model.parameters
        slope = self._slope(model.parameters, model.gradient, step)
        if self.width:
            return -self._slope(self._next, gradient, -step) <= _FLAT * -slope
        return value <= model.value + _ENOUGH * slope + _ROUNDING * abs(model.value)

    def _slope(self, parameters: np.ndarray, gradient: np.ndarray, step: np.ndarray) -> float:
        of_norm = np.where(parameters == 0.0, np.abs(step), np.sign(parameters) * step)
        return float((gradient * step).sum() + (self._problem.l1 * of_norm).sum())

    def _shorten(self, gradient: np.ndarray, lowest: int, value: float) -> None:
        """Try the step with the lowest objective, or larger dampings or, with all, shares of the shortest step."""
        model = self._model
        assert model is not None
        if value < model.value and self._tried[lowest] is not self._next:
            if self._first is not None:
                self._damping = self._first + lowest
            self._tried = [self._tried[lowest]]
        elif self._first is not None and len(self._dampings) == len(_DAMPINGS):
            self._first, more = len(self._dampings), self._problem.objective.loss.curvature * _LARGE_DAMPINGS
            self._dampings, self._tried = np.append(self._dampings, more), self._ends(more)
        else:
            share, step = _SHORTEST, self._tried[-1] - model.parameters
            if len(self._tried) == 1:
                before = self._slope(model.parameters, model.gradient, step)
                share = shorter(before, self._slope(self._next, gradient, step))
            shares = share * _SHORTEST ** np.arange(len(self._dampings))
            self._first, self._tried = None, [model.parameters + share * step for share in shares]
        self._next = self._tried[0]


class _Model(NamedTuple):
    """The quadratic model of the objective at some parameters."""

    parameters: np.ndarray
    value: float
    gradient: np.ndarray
    hessians: list[np.ndarray]


def shorter(before: float, after: float) -> float:
    """Return the share of a step that was too long, from the slopes at its beginning (negative) and its end."""
    share = before / (before - after) if np.isfinite(after) and after > before else _LONGEST
    return float(min(max(share, _SHORTEST), _LONGEST))


class LBFGS:
    """Limited-memory quasi-Newton steps, of which the first one is a gradient step for the largest ``curvature``.

    With ``lengths``, they follow the path of gradient descent from there, which regularizes, in few passes. A proximal
    step goes about to the minimum of the objective plus half a damping times the squared distance from where the step
    begins: an implicit step of Euler's method along the path, which halves the damping from one to the next. It ends
    where what is left of the gradient of this sum is less than nine tenths of the objective's, or after eight passes.
    ``lengths`` is how long one unit of each parameter is in this distance: all steps are in units of these.
    """

    width = 0.0

    def __init__(self, objective: Objective, theta: np.ndarray, curvature: float, lengths: np.ndarray | None = None):
        self._objective = objective
        self._lengths: np.ndarray | float = 1.0 if lengths is None else lengths
        l1, l2 = objective.penalty_by_parameter()
        self._l1, self._l2 = l1 / self._lengths, l2 / self._lengths**2
        worth = np.broadcast_to(objective.unit * objective.worth, objective.n_outputs)
        self._worth = objective.join([(np.tile(worth, (objective.n_features, 1)), worth)], np.float64)
        self._curvature = curvature + self._l2.max()
        self._pairs: deque = deque(maxlen=min(_PAIRS, max(_ENTRIES_OF_PAIRS // len(theta), 3)))
        self._next = self._here = theta * self._lengths
        self._step = ProximalStep(self._here, 0.0 if lengths is None else _FIRST_DAMPING * self._curvature)
        self._value = np.inf
        self._gradient: np.ndarray | None = None
        self._subgradient = self._direction = np.zeros_like(theta)
        self._share, self._n_passes = 1.0, 0

    def begun_at(self, step: ProximalStep) -> LBFGS:
        """Return a descent that begins with a step again, on other rows."""
        begun = copy(self)
        begun._pairs = deque(step.pairs, self._pairs.maxlen)
        begun._next = begun._here = step.center
        begun._step, begun._value, begun._gradient, begun._n_passes = step, np.inf, None, 0
        return begun

    @property
    def theta(self) -> np.ndarray:
        """The parameters so far."""
        return self._here / self._lengths

    @property
    def request(self) -> Request:
        """Where to evaluate next, and what."""
        return Request(self._next / self._lengths, False)

    def take(self, sums: Sums) -> Evaluation:
        """Take a step, or a shorter one, from the sums at the requested point."""
        here, taken = self._next, self._step
        center, damping, _ = taken
        gradient = sums.gradient / self._lengths + self._l2 * here
        of_all = here / self._lengths, sums.losses, float(np.square(gradient * self._lengths).sum())
        from_center = here - center
        damped = gradient + damping * from_center
        value = float(sums.losses.sum() + (self._l1 * np.abs(here) + 0.5 * self._l2 * here**2).sum())
        damped_value, ends = value + 0.5 * damping * float(from_center @ from_center), False
        if self._gradient is not None:
            moved = here - self._here
            slope = float(self._subgradient @ moved)
            enough = self._value + _ENOUGH * slope + _ROUNDING * abs(self._value)
            if not damped_value <= enough:
                after = float(least_subgradient(damped, here, self._l1) @ self._direction)
                self._share *= shorter(float(self._subgradient @ self._direction), after)
                self._next = self._moved()
                return Evaluation(*of_all, np.inf, False)
            change = gradient - self._gradient
            if moved @ change > 1e-10 * np.sqrt((moved @ moved) * (change @ change)):
                self._pairs.append((moved, change))
            left, whole = (least_subgradient(each, here, self._l1) for each in (damped, gradient))
            self._n_passes += 1
            ends = damping > 0.0 and (
                float(left @ left) <= _ENDED**2 * float(whole @ whole) or self._n_passes >= _MOST_PASSES
            )
        if ends:
            self._step, self._n_passes = ProximalStep(here, _LESS_DAMPING * damping, tuple(self._pairs)), 0
            damped, damped_value = gradient, value
        self._here, self._value, self._gradient = here, damped_value, gradient
        self._subgradient = least_subgradient(damped, here, self._l1)
        self._direction = -self._product(self._subgradient)
        if self._l1.any():  # a coefficient moves only where the subgradient leads
            self._direction[(self._l1 > 0.0) & (self._direction * self._subgradient >= 0.0)] = 0.0
        self._share = 1.0
        self._next = self._moved()
        decrement = -0.5 * float((self._subgradient * (self._next - here)) @ self._worth)
        return Evaluation(*of_all, decrement, True, taken if ends else None)

    def _moved(self) -> np.ndarray:
        """Return where the step leads, in the orthant of the point, or of the descent from zero."""
        there = self._here + self._share * self._direction
        if not self._l1.any():
            return there
        orthant = np.where(self._here != 0.0, np.sign(self._here), -np.sign(self._subgradient))
        return np.where((self._l1 > 0.0) & (there * orthant < 0.0), 0.0, there)

    def _product(self, gradient: np.ndarray) -> np.ndarray:
        """Return about the product of the inverse of the damped Hessian with a gradient (two-loop recursion)."""
        result, weights, damping = gradient.copy(), [], self._step.damping
        pairs = [(step, change + damping * step if damping else change) for step, change in self._pairs]
        for step, change in reversed(pairs):
            weight = (step @ result) / (step @ change)
            weights.append(weight)
            result -= weight * change
        if pairs:
            step, change = pairs[-1]
            result *= (step @ change) / (change @ change)
        else:
            result /= self._curvature + damping
        for (step, change), weight in zip(pairs, reversed(weights), strict=True):
            result += (weight - (change @ result) / (step @ change)) * step
        return result
