"""Lion: steps of constant size, in the direction of the sign of a momentum."""

from __future__ import annotations

import numpy as np

from skgd.optimizers.base import LearningRate, Optimizer


class Lion(Optimizer):
    r"""The sign of a momentum: steps of the same size for every parameter.

    Use it as ``GDClassifier(optimizer="lion")`` or ``GDClassifier(optimizer=Lion(learning_rate=0.001))``. It suits
    networks with large batches, needs a learning rate three to ten times smaller than :class:`Adam`, and a decaying
    schedule to converge. It has no proximal step, because the step size does not depend on the size of the gradient:
    the gradient of the penalty ``alpha`` is added instead, and ``l1_ratio > 0`` is not supported.

    .. math:: w \leftarrow w - \eta \, \mathrm{sign}(\beta_1 m + (1 - \beta_1) g), \qquad
              m \leftarrow \beta_2 m + (1 - \beta_2) g

    Parameters
    ----------
    learning_rate : float, "auto", Schedule or callable, default="auto"
        The learning rate :math:`\eta`. "auto" is 0.03 / root mean square norm of the samples (divided by the number of
        hidden layers).
    beta1, beta2 : float, default=0.9 and 0.99
        The weight of the momentum in the step, and its decay, in [0, 1).
    weight_decay : float, default=0.0
        Decoupled weight decay, as in :class:`AdamW`; nonnegative.

    See Also
    --------
    Adam : Steps that depend on the size of the gradient.
    AdamW : Adam with decoupled weight decay.

    References
    ----------
    X. Chen et al., "Symbolic discovery of optimization algorithms", NeurIPS 2023.

    Examples
    --------
    >>> from skgd import GDClassifier
    >>> from skgd.optimizers import Lion
    >>> model = GDClassifier(hidden_layer_sizes=(64,), optimizer=Lion(learning_rate=0.001))

    One step from w = 1 with the gradient 0.5:

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
