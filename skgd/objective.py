r"""The objective: what training minimises, as a function of one flat parameter vector.

.. math:: J(w, b) = \frac{\sum_i s_i \, \ell(y_i, x_i \cdot w + b)}{\sum_i s_i}
          + \alpha \left( \frac{1 - \rho}{2} \|w\|_2^2 + \rho \|w\|_1 \right)

with sample weights :math:`s_i` and :math:`\rho` = ``l1_ratio``. The intercept is never penalised; several outputs add
up. The optimizer sees this in the coordinates of :mod:`skgd.coordinates`, divided by the target's scale to the power of
the loss's degree, so that its numbers are near one. The penalty stays one on the user's coefficients.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from skgd.coordinates import Coordinates, Matrix
from skgd.losses import Loss

# Batches with more entries than this are taken in pieces, so that no temporary array outgrows the data.
_COMFORTABLE_ENTRIES = 2**20
_LARGEST = float(np.finfo(np.float64).max)


@dataclass(frozen=True)
class Objective:
    """Data term, penalty, intercept and coordinates of one training; holds no parameters and no data.

    The flat parameter vector holds the coefficients, feature by feature, (n_features, n_outputs), then the intercepts,
    (n_outputs,), if there are any.
    """

    loss: Loss
    n_features: int
    n_outputs: int
    fit_intercept: bool
    alpha: float
    l1_ratio: float
    coordinates: Coordinates
    exclusive_classes: bool = False

    # -- the layout of the parameters ---------------------------------------------------------------------------------

    @property
    def n_coefficients(self) -> int:
        """The number of parameters that are penalised: they come first."""
        return self.n_features * self.n_outputs

    @property
    def n_parameters(self) -> int:
        """The length of the parameter vector."""
        return self.n_coefficients + (self.n_outputs if self.fit_intercept else 0)

    def split(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return views of the coefficients, (n_features, n_outputs), and the intercepts, (n_outputs,)."""
        coef = theta[: self.n_coefficients].reshape(self.n_features, self.n_outputs)
        intercept = theta[self.n_coefficients :] if self.fit_intercept else np.zeros(self.n_outputs, theta.dtype)
        return coef, intercept

    def join(self, coef: np.ndarray, intercept: np.ndarray, dtype: np.dtype | type) -> np.ndarray:
        """Return the parameter vector, the inverse of :meth:`split`."""
        parts = [np.ravel(coef), intercept] if self.fit_intercept else [np.ravel(coef)]
        return np.concatenate(parts, dtype=dtype, casting="same_kind")

    def to_user(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return coefficients (n_features, n_outputs) and intercepts (n_outputs,) in the units of X and y."""
        coef, intercept = self.coordinates.to_user(*self.split(theta))
        return coef.astype(theta.dtype, copy=False), np.asarray(intercept, dtype=theta.dtype)

    # -- the data term ------------------------------------------------------------------------------------------------

    @cached_property
    def hyper(self) -> tuple:
        """The loss's hyper-parameters."""
        return self.loss.hyper()

    @cached_property
    def unit(self) -> np.ndarray | float:
        """What one unit of the optimizer's objective is in the user's, for each output."""
        coordinates = self.coordinates
        return unit_of(coordinates.target_center, coordinates.target_scale, self.loss.log_link, self.loss.degree)

    def target(self, y: np.ndarray) -> np.ndarray:
        """Return the numbers that the loss compares with: y itself, or the numbers that stand for its labels."""
        if y.dtype.kind == "f":
            return y
        low, high = self.loss.label_values
        if y.ndim == 1:  # class numbers: one column for two classes, one for each of more
            y = (y[:, np.newaxis] == np.arange(self.n_outputs)) if self.exclusive_classes else y[:, np.newaxis]
        return np.where(y, high, low)

    def raw(self, theta: np.ndarray, Z: Matrix) -> np.ndarray:
        """Return the predictor, (rows, n_outputs), that the loss is a function of."""
        coef, intercept = self.split(theta)
        return self._in_target_units(Z @ coef + intercept)

    def _in_target_units(self, raw: np.ndarray) -> np.ndarray:
        scale, center = self.coordinates.target_scale, self.coordinates.target_center
        return raw if isinstance(scale, float) and isinstance(center, float) else center + scale * raw

    def normalized(self, raw: np.ndarray) -> np.ndarray:
        """Return what the loss's rule is handed: log-probabilities for softmax, the raw predictor otherwise."""
        if not self.loss.normalized:
            return raw
        raw = raw - raw.max(axis=1, keepdims=True)
        return raw - np.log(np.exp(raw).sum(axis=1, keepdims=True))

    def loss_values(self, y: np.ndarray, normalized: np.ndarray) -> np.ndarray:
        """Return each row's loss for each output, (rows, n_outputs), in the optimizer's unit."""
        return self.loss.value(y, normalized, self.hyper) / self.unit

    def loss_gradients(self, y: np.ndarray, normalized: np.ndarray) -> np.ndarray:
        """Return the derivative of each row's loss with respect to the standardised predictor, (rows, n_outputs)."""
        return self.loss.gradient(y, normalized, self.hyper) * (self.coordinates.target_scale / self.unit)

    def chunks(self, X: Matrix, y: np.ndarray, weight: np.ndarray | None, rows: slice | np.ndarray) -> Iterable[tuple]:
        """Return standardised rows, their targets and their weights (a column, or None), in comfortable pieces."""
        n_rows = count_rows(rows, X)
        entries = X.shape[1] if isinstance(X, np.ndarray) else X.nnz / max(X.shape[0], 1)
        size = max(1, int(_COMFORTABLE_ENTRIES / max(entries, self.n_outputs, 1)))
        pieces = [rows]
        if n_rows > size:
            order = np.arange(X.shape[0])[rows] if isinstance(rows, slice) else rows
            pieces = [order[start : start + size] for start in range(0, n_rows, size)]
        chunks = _Chunks(self, X, y, weight, pieces)
        return list(chunks) if len(pieces) == 1 else chunks

    def value_and_gradient(self, theta: np.ndarray, batch: Iterable[tuple]) -> tuple[np.ndarray, np.ndarray]:
        """Return the mean weighted loss of a batch for each output, and its gradient (flat), without the penalty."""
        zero: Any = 0.0  # of any shape and precision
        value, coef_gradient, intercept_gradient, intercept_size, rows = zero, zero, zero, zero, 0
        for Z, y, weight in batch:
            raw = self.normalized(self.raw(theta, Z))
            values, gradients = self.loss_values(y, raw), self.loss_gradients(y, raw)
            if weight is not None:
                values, gradients = weight * values, weight * gradients
            gradients = gradients.astype(theta.dtype, copy=False)
            value = value + values.sum(axis=0)
            coef_gradient = coef_gradient + Z.T @ gradients
            intercept_gradient = intercept_gradient + gradients.sum(axis=0)
            intercept_size = intercept_size + np.abs(gradients).sum(axis=0)
            rows += len(y)
        # Where columns and target are centred, the intercept's gradient cancels. What is left is rounding, and a rule
        # that divides by the gradient's size would follow it.
        rounding = np.finfo(theta.dtype).eps ** (2 / 3) * intercept_size
        intercept_gradient = np.where(np.abs(intercept_gradient) > rounding, intercept_gradient, 0.0)
        gradient = self.join(coef_gradient, intercept_gradient, theta.dtype)
        return value / rows, gradient / rows

    def mean_loss(self, theta: np.ndarray, X: Matrix, y: np.ndarray, weight: np.ndarray | None) -> float:
        """Return the weighted mean loss of a data set, in the user's units, without the penalty."""
        total, total_weight = 0.0, 0.0
        for Z, target, column in self.chunks(X, y, weight, slice(None)):
            values = self.loss_values(target, self.normalized(self.raw(theta, Z)))
            total = total + (values if column is None else column * values).sum(axis=0)
            total_weight += len(target) if column is None else column.sum()
        return float(np.sum(total * self.unit) / total_weight)

    def baseline(self, y: np.ndarray, weight: np.ndarray | None) -> float:
        """Return the mean loss of an untrained model, whose parameters are zero: the yardstick of progress."""
        raw = self.normalized(self._in_target_units(np.zeros((1, self.n_outputs))))
        total = 0.0
        for start in range(0, len(y), _COMFORTABLE_ENTRIES // self.n_outputs + 1):
            rows = slice(start, start + _COMFORTABLE_ENTRIES // self.n_outputs + 1)
            values = self.loss_values(self.target(y[rows]), raw) * self.unit
            total += float((values if weight is None else weight[rows, np.newaxis] * values).sum())
        return total / (len(y) if weight is None else float(weight.sum()))

    # -- the penalty --------------------------------------------------------------------------------------------------

    @cached_property
    def penalty_rates(self) -> tuple[np.ndarray | float, np.ndarray | float]:
        """The factors of |v| and of v**2 / 2 in the optimizer's objective, per coefficient, (features, outputs)."""
        scale = self.coordinates.scale
        scale = scale if isinstance(scale, float) else scale[:, np.newaxis]
        return penalty_rates(self.alpha, self.l1_ratio, scale, self.coordinates.target_scale, self.unit)

    def penalty_by_parameter(self) -> tuple[np.ndarray, np.ndarray]:
        """Return :attr:`penalty_rates` for each parameter, flat: zero for intercepts."""
        shape, intercept = (self.n_features, self.n_outputs), np.zeros(self.n_outputs)
        l1, l2 = (self.join(np.broadcast_to(rate, shape), intercept, np.float64) for rate in self.penalty_rates)
        return l1, l2

    def penalty(self, theta: np.ndarray) -> float:
        """Return the penalty, in the user's units."""
        if not self.alpha:
            return 0.0
        return float(penalty_of(self.split(theta)[0], *self.penalty_rates, self.unit).sum())

    def penalty_gradient(self, theta: np.ndarray) -> np.ndarray:
        """Return the gradient of the L2 penalty, flat, in the optimizer's coordinates."""
        coef, intercept = self.split(theta)
        return self.join(self.penalty_rates[1] * coef, np.zeros_like(intercept), theta.dtype)

    def proximal(self, theta: np.ndarray, step: np.ndarray | float) -> np.ndarray:
        """Return the minimiser of ``(v - theta)**2 / (2 * step) + penalty(v)``: the penalty's implicit step."""
        if not self.alpha:
            return theta
        l1, l2 = self.penalty_rates
        coef, intercept = self.split(theta)
        rate = step[: self.n_coefficients].reshape(coef.shape) if isinstance(step, np.ndarray) and step.ndim else step
        return self.join(proximal_point(coef, rate, l1, l2), intercept, theta.dtype)


def unit_of(center: Any, scale: Any, log_link: bool, degree: float) -> Any:
    """Return what one unit of the optimizer's objective is in the user's, for each output."""
    return (np.exp(center) if log_link else scale) ** degree


def penalty_rates(alpha: float, l1_ratio: float, scale: Any, target_scale: Any, unit: Any) -> tuple[Any, Any]:
    """Return the factors of |v| and of v**2 / 2 in the optimizer's objective; ``scale`` is a column."""
    slope = target_scale / np.float64(scale)  # of a user's coefficient in the optimizer's; its square may be large
    l1, l2 = alpha * l1_ratio * slope / unit, alpha * (1.0 - l1_ratio) * slope * (slope / unit)
    return np.minimum(l1, _LARGEST), np.minimum(l2, _LARGEST)  # infinity times a coefficient of zero is no number


def penalty_of(w: Any, l1: Any, l2: Any, unit: Any) -> Any:
    """Return the penalty of each coefficient, in the user's units."""
    return (l1 * np.abs(w) + 0.5 * l2 * w * w) * unit


def proximal_point(w: Any, rate: Any, l1: Any, l2: Any) -> Any:
    """Return the minimiser of ``(v - w)**2 / (2 * rate) + l1 * |v| + l2 * v**2 / 2``, elementwise."""
    return np.sign(w) * np.maximum(np.abs(w) - rate * l1, 0.0) / (1.0 + rate * l2)


def count_rows(rows: slice | np.ndarray, X: Matrix) -> int:
    """Return how many rows of X are meant."""
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
