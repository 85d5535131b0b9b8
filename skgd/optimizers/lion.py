"""Lion: steps of one size, in the direction of the sign of a momentum."""

from __future__ import annotations

import numpy as np

from skgd.optimizers.base import LearningRate, Optimizer


class Lion(Optimizer):
    r"""The sign of a momentum: every parameter moves by the same amount in each step.

    .. math:: w \leftarrow w - \eta \, \mathrm{sign}(\beta_1 m + (1 - \beta_1) g), \qquad
              m \leftarrow \beta_2 m + (1 - \beta_2) g

    The size of a step does not depend on the gradient's, so that a penalty cannot act as a proximal step: ``alpha``
    enters by its gradient, and ``l1_ratio > 0`` is refused.

    Parameters
    ----------
    learning_rate : float, "auto", Schedule or callable, default="auto"
        The rate :math:`\eta`, three to ten times smaller than one would give Adam.
    beta1, beta2 : float, default=0.9 and 0.99
        The share of the momentum in the step, and how much of it is kept, in [0, 1).
    weight_decay : float, default=0.0
        Decoupled decay, as in :class:`AdamW`; at least 0.

    References
    ----------
    X. Chen et al., "Symbolic discovery of optimization algorithms", NeurIPS 2023.

    Examples
    --------
    >>> from skgd.optimizers import Lion
    >>> round(float(Lion.rule(1.0, 0.5, 0.1, 1, (0.0,), (0.9, 0.99))[0]), 12)
    0.9
    """

    slots = ("mean",)
    proximal = False

    def __init__(
        self, learning_rate: LearningRate = "auto", beta1: float = 0.9, beta2: float = 0.99, weight_decay: float = 0.0
    ):
        self.learning_rate = learning_rate
        self.beta1 = beta1
        self.beta2 = beta2
        self.weight_decay = weight_decay

    def hyper(self):
        return (float(self.beta1), float(self.beta2))

    @staticmethod
    def rule(w, g, lr, t, slots, hyper):
        (mean,), (beta1, beta2) = slots, hyper
        direction = np.sign(beta1 * mean + (1.0 - beta1) * g)
        return w - lr * direction, lr, (beta2 * mean + (1.0 - beta2) * g,)

    @staticmethod
    def auto_learning_rate(row_norm, curvature, n_classes, one_hot, hyper):
        return 0.03 / row_norm
