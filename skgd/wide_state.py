"""What is known in a wide stream, and what follows of it: the parts of its numbers and of its table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from skgd.coordinates import (
    ColumnStatistics,
    Coordinates,
    is_frequent,
    is_sparse,
    is_text_like,
    normal_scale,
    row_norm_of,
    standardized_coefficient,
    user_coefficient,
)
from skgd.engines import Engine
from skgd.measuring import nonzero
from skgd.objective import Objective, penalty_rates, proximal_point
from skgd.optimizers import Optimizer, is_linear, laziness_of
from skgd.plan import Plan
from skgd.state import Past
from skgd.wide_table import (
    CLOCK,
    COUNT,
    ENTRIES,
    FEW,
    INDICATED,
    LARGEST,
    LEFT,
    N_NUMBERS,
    N_STATISTICS,
    NORMS,
    RATE,
    ROWS,
    SEEN,
    SOON,
    SQUARES,
    SUM,
    TIME,
    WEIGHT,
    Table,
    coordinates_in,
    measures_in,
    rare_scale_in,
    scale_in_largest,
    share_after,
    shrunk,
)

_NO_TARGETS = np.zeros((4, 0))


@dataclass(eq=False)
class WideState:
    """The state of a wide stream, to be read; its steps are in `skgd.wide`."""

    objective: Objective  # but for its coordinates
    optimizer: Optimizer
    class_totals: np.ndarray
    past: Past
    t: int
    precondition: bool
    regression: bool
    shared: bool  # whether the outputs of a feature share its slots
    dtype: np.dtype
    numbers: np.ndarray  # see `skgd.wide_table`
    centered: np.ndarray  # how many features are centered, and which
    table: Table
    version: object
    engine: Engine = "vectorized"
    plan: Plan | None = None
    loop: Any = None
    decay: float = 0.0  # the default penalty, divided by the mean squared norm of the samples

    averaging: bool = False
    comparing: ClassVar[bool] = False
    on_demand: ClassVar[bool] = True
    averaged: int = 0  # how many iterates count in the average

    # -- the parts of numbers and table -------------------------------------------------------------------------------

    @property
    def _n_slots(self) -> int:
        return 0 if is_linear(self.optimizer) else len(self.optimizer.slots)

    @property
    def _repeats(self) -> bool:
        return laziness_of(self.optimizer) == "repeat"

    @property
    def _intercept(self) -> np.ndarray:
        return self.numbers[N_NUMBERS : N_NUMBERS + self.objective.n_outputs]

    @property
    def _slot_width(self) -> int:
        return 1 if self.shared else self.objective.n_outputs

    @property
    def _intercept_slots(self) -> np.ndarray:
        first = N_NUMBERS + self.objective.n_outputs
        return self.numbers[first : first + self._n_slots * self._slot_width].reshape(-1, self._slot_width)

    @property
    def target_measures(self) -> np.ndarray:
        if not self.regression:
            return _NO_TARGETS
        first = N_NUMBERS + self.objective.n_outputs + self._n_slots * self._slot_width
        return self.numbers[first : first + 4 * self.objective.n_outputs].reshape(4, -1)

    def _coef(self, rows: np.ndarray) -> np.ndarray:
        return rows[:, N_STATISTICS : N_STATISTICS + self.objective.n_outputs]

    def _slot(self, rows: np.ndarray, number: int) -> np.ndarray:
        first = N_STATISTICS + self.objective.n_outputs + number * self._slot_width
        return rows[:, first : first + self._slot_width]

    def _gaps(self, rows: np.ndarray) -> np.ndarray:
        """Return by how much coefficients, or intercepts, differ from their averages, divided by LEFT."""
        return rows[..., rows.shape[-1] - self.averaging * self.objective.n_outputs :]

    def _unit_of_slots(self, rows: np.ndarray, scale: np.ndarray) -> np.ndarray:
        """Return by what slots are multiplied for the table: there, sizes of gradients are in units of values.

        Elsewhere, they follow each change of the scale: `skgd.coordinates.rescaling`.
        """
        ratio = np.ones_like(scale) if self._repeats else scale_in_largest(scale, rows[:, LARGEST])
        return np.square(ratio)[:, np.newaxis]

    def _joined_slots(
        self, objective: Objective, of_coef: Sequence[np.ndarray], intercept: np.ndarray, dtype: Any
    ) -> tuple[np.ndarray, ...]:
        """Return all slots of the optimizer as flat vectors, with a value for each parameter."""
        shape, optimizer = (objective.n_features, objective.n_outputs), self.optimizer
        of_intercept = optimizer.attached(intercept, tuple(self._intercept_slots), optimizer.hyper())
        joined = [
            objective.join([(np.broadcast_to(slot, shape), np.broadcast_to(last, objective.n_outputs))], dtype)
            for slot, last in zip(of_coef, of_intercept, strict=True)
        ]
        return *joined, *(np.zeros(objective.n_parameters, dtype) for _ in optimizer.slots[self._n_slots :])

    @property
    def _filled(self) -> float:
        return float(self.numbers[ENTRIES] / (self.numbers[WEIGHT] * self.objective.n_features))

    @property
    def _text_like(self) -> bool:
        return bool(is_text_like(self._filled, self.objective.n_features))

    def _targets(self) -> ColumnStatistics:
        numbers = self.numbers
        return ColumnStatistics(int(numbers[ROWS]), float(numbers[WEIGHT]), self.target_measures.copy())

    @property
    def _mean_square(self) -> float:
        weight = self.numbers.item(WEIGHT)
        return self.numbers.item(NORMS) / weight if weight else 0.0

    @property
    def alpha(self) -> float:
        """The strength of the penalty: if it is the default one, of that on standardized coefficients."""
        return self.objective.alpha or self.decay * self._mean_square

    def _measures(self, rows: np.ndarray) -> Any:
        return measures_in(known_of(rows), self.numbers[WEIGHT])

    def _coordinates(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the center and the scale of the columns of which these are rows of the table."""
        if not self.precondition:
            return np.zeros(len(rows)), np.ones(len(rows))
        return self._coordinates_in(known_of(rows), rows[:, SEEN] > 0.0, self.numbers[WEIGHT])

    def _coordinates_in(self, known: tuple, is_centered: np.ndarray, weight: float) -> tuple[np.ndarray, np.ndarray]:
        center, scale = np.zeros(len(is_centered)), rare_scale_in(known, weight)
        if is_centered.any():
            found = coordinates_in(known, weight, self.objective.fit_intercept, self._text_like)
            center, scale = (np.where(is_centered, *each) for each in zip(found, (center, scale), strict=True))
        return center, normal_scale(scale, np.finfo(self.dtype).smallest_normal)

    def _are_far(self, rows: np.ndarray) -> np.ndarray:
        """Say which features are to be centered."""
        known, weight = known_of(rows), self.numbers[WEIGHT]
        frequent = is_frequent(known[0] / weight) & self.precondition & (self.numbers[ROWS] >= SOON)
        if not frequent.any():
            return frequent
        center, _ = coordinates_in(known, weight, self.objective.fit_intercept, self._text_like)
        return frequent & (center != 0.0)

    def _expressed(self) -> Objective:
        """Return the objective with the coordinates of the target."""
        objective, loss = self.objective, self.objective.loss
        if not (self.regression and (self.precondition or loss.standardized)):
            return objective
        around = {"log_link": loss.log_link, "fit_intercept": objective.fit_intercept}
        return replace(objective, coordinates=Coordinates().with_target(self._targets(), **around))

    def _penalty_rates(self, objective: Objective, scale: np.ndarray) -> tuple[Any, Any]:
        target_scale = objective.coordinates.target_scale
        return penalty_rates(objective.alpha, objective.l1_ratio, scale[:, np.newaxis], target_scale, objective.unit)

    def _share_left(self, rows: np.ndarray) -> np.ndarray:
        """Return the share that the default decay has left of coefficients, (columns, 1)."""
        in_samples = self.numbers[ROWS] / nonzero(self.numbers[WEIGHT])
        return share_after(self.numbers[CLOCK] - rows[:, TIME], rows[:, COUNT] * in_samples)[:, np.newaxis]

    def _caught_up(
        self, rows: np.ndarray, objective: Objective, scale: np.ndarray
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
        """Return standardized coefficients and slots after what was missed since the features were last seen."""
        optimizer, hyper, seen = self.optimizer, self.optimizer.hyper(), rows[:, [COUNT]] > 0.0
        v = standardized_coefficient(self._coef(rows), scale[:, np.newaxis], objective.coordinates.target_scale)
        in_table = [self._slot(rows, number) / self._unit_of_slots(rows, scale) for number in range(self._n_slots)]
        initial = optimizer.initial()[: self._n_slots]
        slots = tuple(np.where(seen, *each) for each in zip(in_table, initial, strict=True))
        passed = (self.numbers[CLOCK] - rows[:, TIME])[:, np.newaxis]
        zero, rates = np.zeros_like(v), self._penalty_rates(objective, scale) if objective.alpha else None
        if self._repeats:
            behind, before = passed > 0.0, optimizer.attached(v, slots, hyper)
            repeated = optimizer.skip(passed - 1.0, before, hyper)
            w, length, after = optimizer.rule(v, zero, self.numbers[RATE], self.t, repeated, hyper)
            v = np.where(behind, w if rates is None else proximal_point(w, length, *rates), v)
            slots = tuple(np.where(behind, *each) for each in zip(after, before, strict=True))
        elif rates is not None:
            all_slots = (*slots, *(zero for _ in optimizer.slots[self._n_slots :]))
            _, one, _ = optimizer.rule(zero, zero, 1.0, self.t + 1, all_slots, hyper)
            v = shrunk(v, one * passed, *rates)
        elif self.decay:
            v = v * self._share_left(rows)
        return v, slots

    def _automatic_rate(self) -> float:
        numbers, objective, optimizer = self.numbers, self.objective, self.optimizer
        norm = float(row_norm_of(self._mean_square, objective.fit_intercept))
        indicators = 0.0 if self._text_like or numbers[FEW] <= 0.0 else numbers[INDICATED] / numbers[FEW]
        n_classes = objective.n_outputs if objective.exclusive_classes and is_sparse(self._filled) else 1
        of_data = norm, objective.loss.curvature, n_classes, indicators
        return float(optimizer.auto_learning_rate(*of_data, optimizer.hyper()))

    def _user_coef(self, rows: np.ndarray) -> np.ndarray:
        """Return the coefficients of columns, in the user's units, (columns, outputs)."""
        objective, coef = self._expressed(), self._coef(rows)
        if self.decay:
            return coef * self._share_left(rows)
        if not (objective.alpha or self._repeats):
            return coef
        _, scale = self._coordinates(rows)
        v, _ = self._caught_up(rows, objective, scale)
        return user_coefficient(v, scale[:, np.newaxis], objective.coordinates.target_scale)

    def _shown_coef(self, rows: np.ndarray) -> np.ndarray:
        """Return the same on average, if an average is kept."""
        coef = self._user_coef(rows)
        return coef - self._gaps(rows) * self.numbers[LEFT] if self.averaging else coef

    @property
    def _shown_intercept(self) -> np.ndarray:
        return self._intercept - self._gaps(self.numbers) * self.numbers[LEFT] if self.averaging else self._intercept


def known_of(rows: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return count, largest value, sum and sum of squares of the columns of which these are rows of the table."""
    return rows[:, COUNT], rows[:, LARGEST], rows[:, SUM], rows[:, SQUARES]
