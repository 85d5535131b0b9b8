"""Adan: Nesterov momentum by differences of gradients."""

from __future__ import annotations

import numpy as np

from skgd.optimizers.base import LearningRate, Optimizer


class Adan(Optimizer):
    r"""Adam with Nesterov momentum from the differences between successive gradients.

    Use it as ``GDClassifier(optimizer="adan")`` or ``GDClassifier(optimizer=Adan(learning_rate=0.001))``. A moving
    average of the differences predicts how the gradient goes on, which Nesterov momentum otherwise evaluates ahead of
    the parameters. It was designed for large networks with large batches.

    .. math:: d = g_t - g_{t-1}, \quad m \leftarrow \beta_1 m + (1 - \beta_1) g_t, \quad
              v \leftarrow \beta_2 v + (1 - \beta_2) d, \quad
              n \leftarrow \beta_3 n + (1 - \beta_3) (g_t + \beta_2 d)^2

    .. math:: w \leftarrow w - \eta \frac{m / (1 - \beta_1^t) + \beta_2 v / (1 - \beta_2^t)}
              {\sqrt{n / (1 - \beta_3^t)} + \epsilon}

    Parameters
    ----------
    learning_rate : float, "auto", Schedule or callable, default="auto"
        The learning rate :math:`\eta`. "auto" is 0.1 / root mean square norm of the samples (divided by the number of
        hidden layers); the paper's default is 0.001.
    beta1, beta2, beta3 : float, default=0.98, 0.92 and 0.99
        The decays of the moving means of gradients, differences and squares, in [0, 1). The paper calls
        :math:`1 - \beta` what is :math:`\beta` here, and in the authors' code.
    epsilon : float, default=1e-8
        A small positive number that avoids division by zero.
    weight_decay : float, default=0.0
        Decoupled weight decay, as in :class:`AdamW`; nonnegative. It is that of the authors' code with
        ``no_prox=True``.

    See Also
    --------
    NAdam : Nesterov momentum from the latest gradient.
    Adam : Without Nesterov momentum.

    References
    ----------
    X. Xie et al., "Adan: Adaptive Nesterov momentum algorithm for faster optimizing deep models", IEEE TPAMI 46, 2024.

    Examples
    --------
    >>> from skgd import GDClassifier
    >>> from skgd.optimizers import Adan
    >>> model = GDClassifier(hidden_layer_sizes=(64,), optimizer=Adan(learning_rate=0.01))

    One step from w = 1 with the gradient 0.5:

    >>> point, step, slots = Adan.rule(1.0, 0.5, 0.1, 1, (0.0, 0.0, 0.0, 0.0), Adan(epsilon=1e-12).hyper())
    >>> round(float(point), 9)
    0.9
    """

    slots = ("mean", "mean_difference", "square_average", "last_gradient")

    def __init__(
        self,
        learning_rate: LearningRate = "auto",
        beta1: float = 0.98,
        beta2: float = 0.92,
        beta3: float = 0.99,
        epsilon: float = 1e-8,
        weight_decay: float = 0.0,
    ):
        self.learning_rate = learning_rate
        self.beta1 = beta1
        self.beta2 = beta2
        self.beta3 = beta3
        self.epsilon = epsilon
        self.weight_decay = weight_decay

    def hyper(self):
        return (float(self.beta1), float(self.beta2), float(self.beta3), float(self.epsilon))

    @staticmethod
    def rule(w, g, lr, t, slots, hyper):
        (mean, mean_difference, square, last), (beta1, beta2, beta3, epsilon) = slots, hyper
        difference = g - last if t > 1 else 0.0 * g
        mean = beta1 * mean + (1.0 - beta1) * g
        mean_difference = beta2 * mean_difference + (1.0 - beta2) * difference
        ahead = g + beta2 * difference
        square = beta3 * square + (1.0 - beta3) * ahead * ahead
        step = lr / (np.sqrt(square / (1.0 - beta3**t)) + epsilon)
        direction = mean / (1.0 - beta1**t) + beta2 * mean_difference / (1.0 - beta2**t)
        return w - step * direction, step, (mean, mean_difference, square, g)
