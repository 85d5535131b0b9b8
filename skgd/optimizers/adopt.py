"""ADOPT: gradients divided by the root mean square of those before, then averaged."""

from __future__ import annotations

import numpy as np

from skgd.optimizers.base import LearningRate, Optimizer


class ADOPT(Optimizer):
    r"""Adam that divides each gradient by the root mean square of the gradients before it.

    Use it as ``GDClassifier(optimizer="adopt")`` or ``GDClassifier(optimizer=ADOPT(learning_rate=0.001))``. A gradient
    and its divisor are then nearly independent, so that ADOPT converges with any ``beta2``, unlike :class:`Adam`. It is
    for hidden layers; for linear models, :class:`Adam` and :class:`AdaGrad` are better. The first step only initializes
    :math:`v` with the squared gradient, without a change of :math:`w`.

    .. math:: m \leftarrow \beta_1 m + (1 - \beta_1)
              \,\mathrm{clip}\!\left(\frac{g}{\max(\sqrt{v}, \epsilon)}, \pm (t - 1)^{1/4}\right), \quad
              w \leftarrow w - \eta m, \quad v \leftarrow \beta_2 v + (1 - \beta_2) g^2

    Parameters
    ----------
    learning_rate : float, "auto", Schedule or callable, default="auto"
        The learning rate :math:`\eta`. "auto" is 0.1 / root mean square norm of the samples (divided by the number of
        hidden layers); the paper's default is 0.001.
    beta1, beta2 : float, default=0.9 and 0.9999
        The decays of the moving mean and mean square, in [0, 1).
    epsilon : float, default=1e-6
        The minimum divisor, positive.
    weight_decay : float, default=0.0
        Decoupled weight decay, as in :class:`AdamW`; nonnegative.

    See Also
    --------
    Adam : Averages before it divides, and divides by a mean square that includes the latest gradient.

    References
    ----------
    S. Taniguchi et al., "ADOPT: Modified Adam can converge with any :math:`\beta_2` with the optimal rate", NeurIPS
    2024; with the clipping of arXiv:2411.02853v3.

    Examples
    --------
    >>> from skgd import GDClassifier
    >>> from skgd.optimizers import ADOPT
    >>> model = GDClassifier(hidden_layer_sizes=(64,), optimizer=ADOPT(learning_rate=0.01))

    Two steps from w = 1 with the gradient 0.5, of which the first changes nothing:

    >>> hyper = ADOPT(beta1=0.0).hyper()
    >>> point, step, slots = ADOPT.rule(1.0, 0.5, 0.1, 1, (0.0, 0.0), hyper)
    >>> point
    1.0
    >>> round(float(ADOPT.rule(point, 0.5, 0.1, 2, slots, hyper)[0]), 12)
    0.9
    """

    slots = ("mean", "square_average")

    def __init__(
        self,
        learning_rate: LearningRate = "auto",
        beta1: float = 0.9,
        beta2: float = 0.9999,
        epsilon: float = 1e-6,
        weight_decay: float = 0.0,
    ):
        self.learning_rate = learning_rate
        self.beta1 = beta1
        self.beta2 = beta2
        self.epsilon = epsilon
        self.weight_decay = weight_decay

    def hyper(self):
        return (float(self.beta1), float(self.beta2), float(self.epsilon))

    @staticmethod
    def rule(w, g, lr, t, slots, hyper):
        (mean, square), (beta1, beta2, epsilon) = slots, hyper
        if t == 1:
            return w - lr * mean, 0.0 * square, (mean, g * g)
        # To divide by at least |g| / bound is to clip, and gives the penalty a step that is clipped, too.
        size = np.maximum(np.maximum(np.sqrt(square), epsilon), np.abs(g) / (t - 1.0) ** 0.25)
        mean = beta1 * mean + (1.0 - beta1) * g / size
        return w - lr * mean, lr / size, (mean, beta2 * square + (1.0 - beta2) * g * g)
