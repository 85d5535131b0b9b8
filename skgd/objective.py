r"""The objective: what training minimizes, as a function of one flat parameter vector.

.. math:: J(w, b) = \frac{\sum_i s_i \, \ell(y_i, x_i \cdot w + b)}{\sum_i s_i}
          + \alpha \left( \frac{1 - \rho}{2} \|w\|_2^2 + \rho \|w\|_1 \right)

with sample weights :math:`s_i` and :math:`\rho` = ``l1_ratio``. The intercept is never penalized; several outputs add
up. The optimizer sees this in the coordinates of :mod:`skgd.coordinates`, divided by the target's scale to the power of
the loss's degree, so that its numbers are near one. The penalty stays one on the user's coefficients.

With hidden layers, the prediction is that of :mod:`skgd.networks`, and w are the coefficients of all layers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from operator import add
from typing import Any

import numpy as np

from skgd.activations import Activation, Identity
from skgd.coordinates import Coordinates
from skgd.losses import Loss
from skgd.measuring import Matrix, choose
from skgd.networks import Layer, backward, forward

# Batches with more entries than this are taken in pieces, so that no temporary array outgrows the data.
# What is kept of each sample is the predictor alone.
_COMFORTABLE_ENTRIES = 2**20
_CACHED_ENTRIES = 2**15
_LARGEST = float(np.finfo(np.float64).max)


@dataclass(frozen=True)
class Objective:
    """Data term, penalty, intercept and coordinates of one training; holds no parameters and no data.

    The flat parameter vector holds the coefficients, layer by layer and input by input, (n_inputs, n_outputs), then the
    intercepts of the layers, if there are any. The linear model is one layer.
    """

    loss: Loss
    n_features: int
    n_outputs: int
    fit_intercept: bool
    alpha: float
    l1_ratio: float
    coordinates: Coordinates
    exclusive_classes: bool = False
    hidden_layer_sizes: tuple[int, ...] = ()
    activation: Activation = field(default_factory=Identity)
    standardized_penalty: bool = False  # whether the penalty is one on the optimizer's coefficients, not the user's
    worth: np.ndarray | float = 1.0  # of a unit of each output's loss, where progress is measured

    # -- outputs, where they are added up ------------------------------------------------------------------------------

    @property
    def one_problem(self) -> bool:
        """Whether the outputs are one problem: a single target or label, or classes that exclude each other."""
        return self.n_outputs == 1 or self.exclusive_classes

    @cached_property
    def progress_worth(self) -> np.ndarray | float:
        """The worth of a unit of each output's loss; in a stream, where no constant model is known, by its unit."""
        return self.worth if isinstance(self.worth, np.ndarray) else 1.0 / (self.n_outputs * self.unit)

    # -- the layout of the parameters ---------------------------------------------------------------------------------

    @cached_property
    def layer_sizes(self) -> tuple[int, ...]:
        """The number of features, those of the hidden layers' neurons, and that of outputs."""
        return self.n_features, *self.hidden_layer_sizes, self.n_outputs

    @cached_property
    def n_coefficients(self) -> int:
        """The number of parameters that are penalized: they come first."""
        return sum(n_inputs * n_outputs for n_inputs, n_outputs in pairwise(self.layer_sizes))

    @property
    def n_parameters(self) -> int:
        """The length of the parameter vector."""
        return self.n_coefficients + (sum(self.layer_sizes[1:]) if self.fit_intercept else 0)

    @cached_property
    def _begins(self) -> np.ndarray:
        """Where the coefficients and the intercepts of each layer begin."""
        sizes = self.layer_sizes
        of_intercepts = sizes[1:] if self.fit_intercept else ()
        return np.cumsum([0, *(n_inputs * n_outputs for n_inputs, n_outputs in pairwise(sizes)), *of_intercepts][:-1])

    def layers(self, theta: np.ndarray) -> list[Layer]:
        """Return views of each layer's coefficients, (n_inputs, n_outputs), and intercepts, (n_outputs,)."""
        sizes = self.layer_sizes
        layers, begin, middle = [], 0, len(theta) - sum(sizes[1:])
        for n_inputs, n_outputs in pairwise(sizes):
            end = begin + n_inputs * n_outputs
            coef, begin = theta[begin:end].reshape(n_inputs, n_outputs), end
            intercept = theta[middle : middle + n_outputs] if self.fit_intercept else np.zeros(n_outputs, theta.dtype)
            layers.append((coef, intercept))
            middle += n_outputs
        return layers

    def join(self, layers: Iterable[tuple[np.ndarray, np.ndarray]], dtype: np.dtype | type) -> np.ndarray:
        """Return the parameter vector, the inverse of :meth:`layers`."""
        coefs, intercepts = zip(*layers, strict=True)
        parts = [*map(np.ravel, coefs), *(intercepts if self.fit_intercept else ())]
        return np.concatenate(parts, dtype=dtype, casting="same_kind")

    def to_user(self, theta: np.ndarray) -> list[Layer]:
        """Return the layers in the units of X and y."""
        layers = in_coordinates(Coordinates.to_user, self.layers(theta), self.coordinates)
        return [(coef.astype(theta.dtype, copy=False), b.astype(theta.dtype, copy=False)) for coef, b in layers]

    def from_user(self, layers: Sequence[Layer], dtype: np.dtype | type) -> np.ndarray:
        """Return the parameter vector of layers in the units of X and y, the inverse of :meth:`to_user`."""
        return self.join(in_coordinates(Coordinates.from_user, layers, self.coordinates), dtype)

    # -- the data term ------------------------------------------------------------------------------------------------

    @cached_property
    def hyper(self) -> tuple:
        """The loss's hyperparameters."""
        return self.loss.hyper()

    @property
    def predictor_coordinates(self) -> tuple[Any, Any]:
        """Center and scale of what the loss's rule is handed: those of the target, unless its unit does not matter."""
        return (0.0, 1.0) if self.loss.standardized else (self.coordinates.target_center, self.coordinates.target_scale)

    @cached_property
    def divisor(self) -> np.ndarray | float:
        """What the loss's rule is divided by in the optimizer's objective, for each output."""
        center, scale = self.predictor_coordinates
        if isinstance(self.coordinates.target_scale, float):
            return 1.0
        slopes = tuple(self.loss.gradient(center, center + side, self.hyper) for side in (scale, -scale))
        return unit_of(slopes, center, scale, self.loss.log_link, self.loss.degree)

    @cached_property
    def unit(self) -> np.ndarray | float:
        """What one unit of the optimizer's objective is in the user's, for each output."""
        standardized = self.loss.standardized
        return self.divisor * self.coordinates.target_scale**self.loss.degree if standardized else self.divisor

    def target(self, y: np.ndarray) -> np.ndarray:
        """Return the numbers that the loss compares with: those of y, or the numbers that stand for its labels."""
        if y.dtype.kind == "f":
            coordinates = self.coordinates
            return (y - coordinates.target_center) / coordinates.target_scale if self.loss.standardized else y
        low, high = self.loss.label_values
        if y.ndim == 1:  # class numbers: one column for two classes, one for each of more
            y = (y[:, np.newaxis] == np.arange(self.n_outputs)) if self.exclusive_classes else y[:, np.newaxis]
        return np.where(y, high, low)

    def raw(self, theta: np.ndarray, Z: Matrix) -> np.ndarray:
        """Return the predictor, (rows, n_outputs), that the loss is a function of."""
        *_, prediction = forward(self.layers(theta), Z, self.activation)
        return self.predictor(prediction)

    def predictor(self, raw: np.ndarray) -> np.ndarray:
        """Return what the loss is a function of, from the standardized prediction."""
        center, scale = self.predictor_coordinates
        return raw if isinstance(scale, float) and isinstance(center, float) else center + scale * raw

    def normalized(self, raw: np.ndarray) -> np.ndarray:
        """Return what the loss's rule is handed: log-probabilities for softmax, the raw predictor otherwise."""
        if not self.loss.normalized:
            return raw
        by_output = np.ascontiguousarray(raw.T)  # sums of short rows take long
        by_output = by_output - by_output.max(axis=0)
        return (by_output - np.log(np.exp(by_output).sum(axis=0))).T

    def loss_values(self, y: np.ndarray, normalized: np.ndarray) -> np.ndarray:
        """Return each row's loss for each output, (rows, n_outputs), in the optimizer's unit."""
        return self.loss.value(y, normalized, self.hyper) / self.divisor

    def loss_gradients(self, y: np.ndarray, normalized: np.ndarray) -> np.ndarray:
        """Return the derivative of each row's loss with respect to the standardized predictor, (rows, n_outputs)."""
        return self.loss.gradient(y, normalized, self.hyper) * (self.predictor_coordinates[1] / self.divisor)

    def chunks(self, X: Matrix, y: np.ndarray, weight: np.ndarray | None, rows: slice | np.ndarray) -> Iterable[tuple]:
        """Return standardized rows, their targets and their weights (a column, or None), in comfortable pieces."""
        n_rows = count_rows(rows, X)
        entries = X.shape[1] if isinstance(X, np.ndarray) else X.nnz / max(X.shape[0], 1)
        size = max(1, int(_COMFORTABLE_ENTRIES / max(entries, *self.layer_sizes[1:], 1)))
        pieces = [rows]
        if n_rows > size:
            order = np.arange(X.shape[0])[rows] if isinstance(rows, slice) else rows
            pieces = [order[start : start + size] for start in range(0, n_rows, size)]
        chunks = _Chunks(self, X, y, weight, pieces)
        return list(chunks) if len(pieces) == 1 else chunks

    def value_and_gradient(
        self, theta: np.ndarray, batch: Iterable[tuple]
    ) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
        """Return a batch's mean weighted loss for each output, without the penalty, its gradient, and the predictors.

        The gradient is flat; of the predictors, which the loss is a function of, there are as many arrays as chunks.
        """
        layers, value, predictors = self.layers(theta), np.zeros(self.n_outputs), []
        sums: list = []
        for Z, y, weight in batch:
            inputs, received, prediction = forward(layers, Z, self.activation)
            predictors.append(self.predictor(prediction))
            raw = self.normalized(predictors[-1])
            values, slopes = self.loss_values(y, raw), self.loss_gradients(y, raw)
            if weight is not None:
                values, slopes = weight * values, weight * slopes
            value += values.sum(axis=0)
            deltas = backward(layers, inputs, received, slopes.astype(theta.dtype, copy=False), self.activation)
            together = np.concatenate(deltas, axis=1) if len(deltas) > 1 else deltas[0]
            parts = [a.T @ delta for a, delta in zip(inputs, deltas, strict=True)]
            parts += [together.sum(axis=0), np.abs(together).sum(axis=0)]
            sums = list(map(add, sums, parts)) if sums else parts
        # Where features and target are centered, the intercept's gradient cancels. What is left is rounding, and a rule
        # that divides by the gradient's size would follow it.
        eps, rows = np.finfo(theta.dtype).eps ** (2 / 3), sum(map(len, predictors))
        *coefs, intercepts, sizes = sums
        intercepts *= np.abs(intercepts) > eps * sizes
        parts = [*(coef.reshape(-1) for coef in coefs), *((intercepts,) if self.fit_intercept else ())]
        gradient = np.concatenate(parts, dtype=theta.dtype, casting="same_kind")
        gradient /= rows
        return value / rows, gradient, predictors

    def squared_norms(self, gradient: np.ndarray) -> list[float]:
        """Return the squared Euclidean norm of each layer's gradient."""
        # Not by BLAS, whose threads would have a say in the bits.
        if not self.hidden_layer_sizes:
            return [float(np.square(gradient).sum())]
        sums = np.add.reduceat(np.square(gradient), self._begins).tolist()
        n_layers = len(self.layer_sizes) - 1
        return list(map(add, sums, sums[n_layers:])) if self.fit_intercept else sums

    def mean_losses(
        self,
        theta: np.ndarray,
        X: Matrix,
        y: np.ndarray,
        weight: np.ndarray | None,
        rows: slice | np.ndarray = slice(None),
    ) -> np.ndarray:
        """Return the weighted mean loss of some rows, by output, in the user's units, without the penalty."""
        total, total_weight = np.zeros(self.n_outputs), 0.0
        for Z, target, column in self.chunks(X, y, weight, rows):
            values = self.loss_values(target, self.normalized(self.raw(theta, Z)))
            total = total + (values if column is None else column * values).sum(axis=0)
            total_weight += len(target) if column is None else column.sum()
        return total * self.unit / total_weight

    def losses_by_sample(self, theta: np.ndarray, X: Matrix, y: np.ndarray) -> np.ndarray:
        """Return the loss of each sample, its outputs' by their worth, without the penalty."""
        worth = self.unit * self.progress_worth
        parts = [
            (self.loss_values(target, self.normalized(self.raw(theta, Z))) * worth).sum(axis=1)
            for Z, target, _ in self.chunks(X, y, None, slice(None))
        ]
        return np.concatenate(parts)

    def mean_losses_of_constant(
        self, constant: np.ndarray, y: np.ndarray, weight: np.ndarray | None, within: float = np.inf
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the mean loss by output of a constant standardized prediction, in the user's units.

        Return also what it is if targets further from it than ``within`` count as ones at that distance.
        """
        raw = self.normalized(self.predictor(np.reshape(constant, (1, -1))))
        _, scale = self.predictor_coordinates
        if y.ndim == 1 and y.dtype.kind != "f":  # all samples of a class have the same loss
            totals = np.bincount(y, weight)
            y = np.flatnonzero(totals)
            weight = totals[y]
        total: Any = 0.0
        total_within: Any = 0.0
        for start in range(0, len(y), _COMFORTABLE_ENTRIES // self.n_outputs + 1):
            rows = slice(start, start + _COMFORTABLE_ENTRIES // self.n_outputs + 1)
            target = self.target(y[rows])
            share: Any = 1.0 if weight is None else weight[rows, np.newaxis]
            values = share * self.loss_values(target, raw)
            total = total + values.sum(axis=0)
            if within < np.inf:
                far = np.flatnonzero((np.abs(target - raw) > within * scale).any(axis=1))
                near = np.clip(target[far], raw - within * scale, raw + within * scale)
                values[far] = (share if weight is None else share[far]) * self.loss_values(near, raw)
            total_within = total_within + values.sum(axis=0)
        unit = self.unit / (len(y) if weight is None else float(weight.sum()))
        return total * unit, total_within * unit

    # -- the penalty --------------------------------------------------------------------------------------------------

    @cached_property
    def _penalties(self) -> list[tuple[Any, Any, Any]]:
        r"""The factors of \|v\| and of v**2 / 2 in the optimizer's objective, and the unit, for each layer's coefs."""
        scale, target_scale, unit = self.coordinates.scale, self.coordinates.target_scale, self.unit
        column = scale if isinstance(scale, float) else scale[:, np.newaxis]
        units = [np.mean(unit)] * len(self.hidden_layer_sizes) + [unit]
        if self.standardized_penalty:
            l1, l2 = penalty_rates(self.alpha, self.l1_ratio, 1.0, 1.0, 1.0)
            return [(l1, l2, unit) for unit in units]
        of_inputs = [column, *[1.0] * len(self.hidden_layer_sizes)]
        of_outputs = [*[1.0] * len(self.hidden_layer_sizes), target_scale]
        return [
            (*penalty_rates(self.alpha, self.l1_ratio, of_input, of_output, unit), unit)
            for of_input, of_output, unit in zip(of_inputs, of_outputs, units, strict=True)
        ]

    def penalty_by_parameter(self, *, by_feature: bool = False) -> tuple[np.ndarray, np.ndarray]:
        r"""Return the factors of \|v\| and of v**2 / 2 in the optimizer's objective, flat: zero for intercepts.

        With ``by_feature``, there is one for all neurons of the first hidden layer.
        """
        shapes, intercepts = list(pairwise(self.layer_sizes)), np.zeros(self.n_parameters - self.n_coefficients)
        if by_feature:
            shapes[0] = self.n_features, 1
        penalties = list(zip(self._penalties, shapes, strict=True))
        l1 = [np.broadcast_to(rate, shape).ravel() for (rate, _, _), shape in penalties]
        l2 = [np.broadcast_to(rate, shape).ravel() for (_, rate, _), shape in penalties]
        return np.concatenate([*l1, intercepts]), np.concatenate([*l2, intercepts])

    def penalty(self, theta: np.ndarray, worth: np.ndarray | float = 1.0) -> float:
        """Return the penalty, in the user's units, or with a worth of each output's."""
        if not self.alpha:
            return 0.0
        *hidden, last = zip(self.layers(theta), self._penalties, strict=True)
        total: Any = sum(_sum_of_penalty(coef, *penalty) for (coef, _), penalty in hidden)
        total = total * np.mean(self.unit * worth) / np.mean(self.unit)
        (coef, _), penalty = last
        return float(total + (penalty_of(coef, *penalty) * worth).sum())

    def penalty_gradient(self, theta: np.ndarray) -> np.ndarray:
        """Return the gradient of the L2 penalty, flat, in the optimizer's coordinates."""
        layers = zip(self.layers(theta), self._penalties, strict=True)
        return self.join(((l2 * coef, np.zeros_like(b)) for (coef, b), (_, l2, _) in layers), theta.dtype)

    def proximal(self, theta: np.ndarray, step: np.ndarray | float) -> np.ndarray:
        """Return the v that minimizes ``(v - theta)**2 / (2 * step) + penalty(v)``: the penalty's implicit step."""
        if not self.alpha:
            return theta
        steps = self.layers(np.broadcast_to(step, theta.shape))
        layers = zip(self.layers(theta), steps, self._penalties, strict=True)
        return self.join(
            ((proximal_point(coef, rate, l1, l2), b) for (coef, b), (rate, _), (l1, l2, _) in layers), theta.dtype
        )


def in_coordinates(change: Callable, layers: Sequence[Layer], *coordinates: Coordinates) -> list[Layer]:
    """Apply a change of coordinates: that of the features to the first layer, that of the target to the last one."""
    if len(layers) == 1:
        return [change(*coordinates, *layers[0])]
    first = change(*(part.of_input for part in coordinates), *layers[0])
    last = change(*(part.of_target for part in coordinates), *layers[-1])
    return [first, *layers[1:-1], last]


def unit_of(slopes: tuple, center: Any, scale: Any, log_link: bool, degree: float) -> Any:
    """Return what one unit of the optimizer's objective is in the user's, for each output.

    It is the scale times the steeper of the loss's ``slopes`` that far from the target, on both sides, so that the
    optimizer sees slopes of about one. With a log link, or where the loss does not rise there, it is the scale to the
    power of the loss's degree.
    """
    if log_link:
        return np.exp(center) ** degree
    steepest = np.maximum(np.abs(slopes[0]), np.abs(slopes[1]))
    return choose((steepest > 0.0) & (steepest < _LARGEST), steepest * scale, scale**degree)


def penalty_rates(alpha: float, l1_ratio: float, scale: Any, target_scale: Any, unit: Any) -> tuple[Any, Any]:
    """Return the factors of |v| and of v**2 / 2 in the optimizer's objective; ``scale`` is a column."""
    slope = target_scale / np.float64(scale)  # of a user's coefficient in the optimizer's; its square may be large
    l1, l2 = alpha * l1_ratio * slope / unit, alpha * (1.0 - l1_ratio) * slope * (slope / unit)
    return np.minimum(l1, _LARGEST), np.minimum(l2, _LARGEST)  # infinity times a coefficient of zero is no number


def penalty_of(w: Any, l1: Any, l2: Any, unit: Any) -> Any:
    """Return the penalty of each coefficient, in the user's units."""
    return (l1 * np.abs(w) + 0.5 * l2 * w * w) * unit


def _sum_of_penalty(w: np.ndarray, l1: Any, l2: Any, unit: Any) -> float:
    """Return the sum of the penalty of a layer, in pieces that stay in the processor's cache."""
    total, size = 0.0, max(1, _CACHED_ENTRIES // w.shape[1])
    for start in range(0, len(w), size):
        rows = slice(start, start + size)
        first, second = (part[rows] if np.ndim(part) == 2 else part for part in (l1, l2))
        total += float(penalty_of(w[rows], first, second, unit).sum())
    return total


def proximal_point(w: Any, rate: Any, l1: Any, l2: Any) -> Any:
    """Return the v that minimizes ``(v - w)**2 / (2 * rate) + l1 * |v| + l2 * v**2 / 2``, elementwise."""
    return np.sign(w) * np.maximum(np.abs(w) - rate * l1, 0.0) / (1.0 + rate * l2)


def count_rows(rows: slice | np.ndarray, X: Matrix) -> int:
    """Return how many samples of X are meant."""
    return len(range(*rows.indices(X.shape[0]))) if isinstance(rows, slice) else len(rows)


@dataclass(frozen=True)
class _Chunks:
    """A batch that is made afresh, chunk by chunk, each time it is read: too large to be kept."""

    objective: Objective
    X: Matrix
    y: np.ndarray
    weight: np.ndarray | None
    pieces: list

    def __iter__(self) -> Iterator[tuple]:
        for piece in self.pieces:
            column = None if self.weight is None else self.weight[piece, np.newaxis]
            Z = self.objective.coordinates.standardized(self.X[piece])
            yield Z, self.objective.target(self.y[piece]), column
