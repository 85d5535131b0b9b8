"""Schedule-free learning: train at one point and predict with an average, instead of a decaying learning rate."""

from __future__ import annotations

import numpy as np

from skgd.optimizers.base import LearningRate, Optimizer


class ScheduleFree(Optimizer):
    r"""Schedule-free AdamW: averaging instead of a decaying learning rate.

    Use it as ``GDClassifier(optimizer="schedule_free", average=False)``. It suits training with an unknown number of
    steps: the gradient is evaluated at a point :math:`y` between the iterate :math:`z` and its average :math:`x`, and
    predictions use :math:`x`, so that it needs neither a schedule (except for a warm-up) nor ``average``. It has no
    proximal step: the gradient of the penalty ``alpha`` is added instead, and ``l1_ratio > 0`` is not supported.

    .. math:: y = (1 - \beta_1) z + \beta_1 x, \quad v \leftarrow \beta_2 v + (1 - \beta_2) g(y)^2, \quad
              z \leftarrow z - \eta \frac{g(y)}{\sqrt{v / (1 - \beta_2^t)} + \epsilon}, \quad
              x \leftarrow (1 - c) x + c z, \quad c = \frac{\eta_{\max}^2}{\sum \eta_{\max}^2}

    Parameters
    ----------
    learning_rate : float, "auto", Schedule or callable, default="auto"
        The learning rate :math:`\eta`, one to ten times that of Adam. "auto" is derived from the data.
    beta1, beta2 : float, default=0.9 and 0.999
        The weight of the average in :math:`y`, in (0, 1), and the decay of the moving mean square, in [0, 1).
    epsilon : float, default=1e-8
        A small positive number that avoids division by zero.

    See Also
    --------
    Adam : With a schedule or ``average``.
    AdamW : With weight decay.

    References
    ----------
    A. Defazio et al., "The road less scheduled", NeurIPS 2024.

    Examples
    --------
    >>> from skgd import GDClassifier
    >>> from skgd.optimizers import ScheduleFree
    >>> model = GDClassifier(optimizer=ScheduleFree(learning_rate=0.01), average=False)
    """

    # y is what is trained (w); z is kept as its distance from y, because slots start at 0.
    slots = ("z_minus_y", "square_average", "weight_sum", "largest_rate")
    proximal = False

    def __init__(
        self,
        learning_rate: LearningRate = "auto",
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
    ):
        self.learning_rate = learning_rate
        self.beta1 = beta1
        self.beta2 = beta2
        self.epsilon = epsilon

    def hyper(self):
        return (float(self.beta1), float(self.beta2), float(self.epsilon))

    def check(self):
        super().check()
        self._check_real("beta1", 0.0, 1.0, ends="neither")

    @staticmethod
    def rule(w, g, lr, t, slots, hyper):
        (distance, square, weight_sum, largest), (beta1, beta2, epsilon) = slots, hyper
        square = beta2 * square + (1.0 - beta2) * g * g
        step = lr / (np.sqrt(square / (1.0 - beta2**t)) + epsilon)
        largest = np.maximum(largest, lr)
        weight_sum = weight_sum + largest * largest
        c = largest * largest / np.maximum(weight_sum, 1e-30)  # no rate yet, in a warm-up from zero
        point = w + c * distance + (beta1 * (1.0 - c) - 1.0) * step * g
        distance = (1.0 - c) * (distance - beta1 * step * g)
        return point, step, (distance, square, weight_sum, largest)

    @staticmethod
    def readout(w, slots, hyper):
        return w + (1.0 - 1.0 / hyper[0]) * slots[0]

    @staticmethod
    def rebase(transform, w, slots, hyper):
        return (transform(w + slots[0]) - transform(w), *slots[1:])
