"""The plan of a training: the estimator's parameters, resolved. What "auto" stands for, `skgd.automatic` decides."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from skgd.activations import Activation
from skgd.engines import StepSettings, increasing_weights
from skgd.optimizers import Optimizer
from skgd.schedules import Schedule


@dataclass(frozen=True)
class Plan:
    """How to train: the estimator's parameters, resolved."""

    optimizer: Optimizer | None  # for "auto"
    schedule: Schedule
    alpha: float | str
    batch_size: int | Literal["auto"] | None
    max_iter: int
    tol: float | Literal["auto"] | None
    n_iter_no_change: int | Literal["auto"]
    shuffle: bool
    average: bool | int | str  # "compared" in a stream: see `skgd.automatic.compares_average`
    precondition: bool
    max_grad_norm: float | None
    verbose: int
    hidden_layer_sizes: tuple[int, ...]
    activation: Activation
    class_weight: np.ndarray | str | None = None
    reports: bool = True  # whether to warn, and to keep what there is at Ctrl-C

    def settings(self, average_every: int, *, comparing: bool = False) -> StepSettings:
        """Return what stands around the optimizer's rule."""
        return StepSettings(
            max_grad_norm=self.max_grad_norm,
            averaging=increasing_weights if comparing else self._going_on,
            average_from=int(self.average) if not isinstance(self.average, (bool, str)) else 0,
            average_every=average_every,
            verbose=self.verbose,
        )

    @property
    def _going_on(self) -> Callable[[np.ndarray], np.ndarray] | None:
        return _polynomial_decay if self.average == "compared" else self.averaging  # of an average that fit has begun

    @property
    def averaging(self) -> Callable[[np.ndarray], np.ndarray] | None:
        """The weight of the k-th iterate in the running average that training begins, k = 1, 2, ..., or None."""
        if self.average is False or self.average == "compared":
            return None
        return _polynomial_decay if self.average == "polynomial" else _uniform

    def averages_on(self, averaging: bool) -> bool:
        """Say whether training that goes on keeps an average, given whether one was kept so far."""
        return self.averaging is not None or (averaging and self.average == "compared")

    def row_weights(self, y: np.ndarray, weight: np.ndarray | None, class_totals: np.ndarray) -> np.ndarray | None:
        """Return the samples' weights times those of their classes; ``class_totals`` are the weights seen of each."""
        if self.class_weight is None:
            return weight
        if isinstance(self.class_weight, str):  # "balanced"
            seen = np.where(class_totals > 0.0, class_totals, np.inf)
            by_row = (class_totals.sum() / (len(class_totals) * seen))[y]
        else:
            by_row = self.class_weight[y]
        return by_row if weight is None else by_row * weight


def _uniform(k: np.ndarray) -> np.ndarray:
    """Polyak-Ruppert averaging: all iterates weigh the same."""
    return 1.0 / k


def _polynomial_decay(k: np.ndarray) -> np.ndarray:
    """Shamir and Zhang's averaging (ICML 2013), which forgets the first iterates: about the last tenth counts."""
    return np.minimum(1.0, 9.0 / (k + 8.0))
