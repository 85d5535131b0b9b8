"""Adaptive methods: the learning rate of each parameter is divided by a measure of its gradients.

* `AdaGrad`: the sum of squared gradients, so that learning rates decay;
* `RMSProp`: a moving average of them, so that learning rates increase again when gradients decrease;
* `AdaDelta`: a moving average, and another one of the squared steps, so that there is no learning rate to choose.
"""

from __future__ import annotations

import math

import numpy as np

from skgd.optimizers.base import LearningRate, Optimizer


class AdaGrad(Optimizer):
    r"""Learning rates per parameter that decay with the sum of squared gradients.

    Use it as ``GDClassifier(optimizer="adagrad")`` or ``GDClassifier(optimizer=AdaGrad(learning_rate=0.5))``. It suits
    linear models and sparse features: rare features keep a large learning rate. It is the default for linear models
    where ``optimizer="auto"`` takes no Newton steps, and in streams. It needs no schedule, and its cost on sparse data
    does not depend on the number of features.

    .. math:: G \leftarrow G + g^2, \qquad w \leftarrow w - \eta g / (\sqrt{G} + \epsilon)

    Parameters
    ----------
    learning_rate : float, "auto", Schedule or callable, default="auto"
        The learning rate :math:`\eta`. "auto" is 3 (0.5 for sparse data) divided by the root mean square norm of the
        samples.
    initial_accumulator : float, default=0.0
        The initial value of :math:`G`, nonnegative.
    epsilon : float, default=1e-10
        A small positive number that avoids division by zero.

    See Also
    --------
    FTRL : AdaGrad with exact zeros under an L1 penalty.
    RMSProp : A moving average instead of the sum.

    References
    ----------
    J. Duchi, E. Hazan and Y. Singer, "Adaptive subgradient methods for online learning and stochastic optimization",
    JMLR 12, 2011.

    Examples
    --------
    >>> from skgd import GDClassifier
    >>> from skgd.optimizers import AdaGrad
    >>> model = GDClassifier(optimizer=AdaGrad(learning_rate=0.5))

    One step from w = 1 with the gradient 0.5:

    >>> float(AdaGrad.rule(1.0, 0.5, 0.1, 1, (0.0,), (0.0,))[0])
    0.9
    """

    slots = ("sum_of_squares",)
    sizes = slots
    implicit = True
    lazy = "rest"

    def __init__(self, learning_rate: LearningRate = "auto", initial_accumulator: float = 0.0, epsilon: float = 1e-10):
        self.learning_rate = learning_rate
        self.initial_accumulator = initial_accumulator
        self.epsilon = epsilon

    def hyper(self):
        return (float(self.epsilon),)

    def initial(self):
        return (float(self.initial_accumulator),)

    @staticmethod
    def rule(w, g, lr, t, slots, hyper):
        (total,), (epsilon,) = slots, hyper
        total = total + g * g
        step = lr / (np.sqrt(total) + epsilon)
        return w - step * g, step, (total,)

    @staticmethod
    def rescaled(ratio, slots, hyper):
        return (ratio * ratio * slots[0],) + slots[1:]  # noqa: RUF005 (Numba has no starred tuples)

    @staticmethod
    def auto_learning_rate(row_norm, curvature, n_classes, one_hot, hyper):
        # A rare column meets each class only once in n_classes rows: its coefficients have so many fewer steps to make.
        # Categories' columns hardly depend on each other, and need no long steps either: shorter ones are less noisy.
        return 3.0 * 6.0**-one_hot * math.sqrt(n_classes) / row_norm


class RMSProp(Optimizer):
    r"""Gradients divided by a moving root mean square.

    Use it as ``GDClassifier(optimizer="rmsprop")`` or ``GDClassifier(optimizer=RMSProp(learning_rate=0.01))``. It suits
    streams with concept drift and hidden layers: unlike those of :class:`AdaGrad`, its learning rates do not decay to
    zero.

    .. math:: v \leftarrow \rho v + (1 - \rho) g^2, \qquad m \leftarrow \mu m + g / (\sqrt{v} + \epsilon), \qquad
              w \leftarrow w - \eta m

    Parameters
    ----------
    learning_rate : float, "auto", Schedule or callable, default="auto"
        The learning rate :math:`\eta`. "auto" is derived from the data; PyTorch's default is 0.01, Keras' 0.001.
    rho : float, default=0.9
        The decay of the moving mean square, in [0, 1); PyTorch calls it ``alpha``.
    momentum : float, default=0.0
        The momentum :math:`\mu`, in [0, 1).
    centered : bool, default=False
        Whether to divide by the moving standard deviation: subtract the square of the moving mean from :math:`v`.
    epsilon : float, default=1e-8
        A small positive number that avoids division by zero.

    See Also
    --------
    Adam : RMSProp with bias-corrected momentum.
    AdaGrad : The sum of all squared gradients instead of a moving average.

    References
    ----------
    T. Tieleman and G. Hinton, "Lecture 6.5: RMSProp", COURSERA: Neural Networks for Machine Learning, 2012.

    Examples
    --------
    >>> from skgd import GDClassifier
    >>> from skgd.optimizers import RMSProp
    >>> model = GDClassifier(optimizer=RMSProp(learning_rate=0.01, momentum=0.9))

    One step from w = 1 with the gradient 0.5:

    >>> point, step, slots = RMSProp.rule(1.0, 0.5, 0.1, 1, (0.0, 0.0, 0.0), (0.75, 0.0, False, 0.0))
    >>> float(point)
    0.8
    """

    slots = ("square_average", "gradient_average", "momentum_buffer")

    def __init__(
        self,
        learning_rate: LearningRate = "auto",
        rho: float = 0.9,
        momentum: float = 0.0,
        centered: bool = False,
        epsilon: float = 1e-8,
    ):
        self.learning_rate = learning_rate
        self.rho = rho
        self.momentum = momentum
        self.centered = centered
        self.epsilon = epsilon

    def hyper(self):
        return (float(self.rho), float(self.momentum), bool(self.centered), float(self.epsilon))

    @staticmethod
    def rule(w, g, lr, t, slots, hyper):
        (square, mean, buffer), (rho, momentum, centered, epsilon) = slots, hyper
        square = rho * square + (1.0 - rho) * g * g
        mean = rho * mean + (1.0 - rho) * g
        variance = np.maximum(square - mean * mean, 0.0) if centered else square
        scale = np.sqrt(variance) + epsilon
        buffer = momentum * buffer + g / scale
        return w - lr * buffer, lr / (scale * (1.0 - momentum)), (square, mean, buffer)


class AdaDelta(Optimizer):
    r"""RMSProp whose learning rate is the moving size of its own steps.

    Use it as ``GDClassifier(optimizer="adadelta")`` or ``GDClassifier(optimizer=AdaDelta(rho=0.95))``. It has no
    learning rate to tune, but its first steps are short, so that it needs more epochs than :class:`Adam`.

    .. math:: v \leftarrow \rho v + (1 - \rho) g^2, \qquad \Delta = \frac{\sqrt{u + \epsilon}}{\sqrt{v + \epsilon}} g,
              \qquad u \leftarrow \rho u + (1 - \rho) \Delta^2, \qquad w \leftarrow w - \eta \Delta

    Parameters
    ----------
    learning_rate : float, "auto", Schedule or callable, default="auto"
        The learning rate :math:`\eta`; "auto" is 1, as in the paper.
    rho : float, default=0.9
        The decay of the moving mean squares, in [0, 1).
    epsilon : float, default=1e-6
        The square of the size of the first steps, approximately; positive.

    See Also
    --------
    RMSProp : The same without the moving size of the steps.
    Adam : The default with hidden layers.

    References
    ----------
    M. D. Zeiler, "ADADELTA: An adaptive learning rate method", arXiv:1212.5701, 2012.

    Examples
    --------
    >>> from skgd import GDClassifier
    >>> from skgd.optimizers import AdaDelta
    >>> model = GDClassifier(optimizer=AdaDelta(rho=0.95))

    One step from w = 1 with the gradient 0.5:

    >>> point, step, slots = AdaDelta.rule(1.0, 0.5, 1.0, 1, (0.0, 0.0), (0.75, 1e-6))
    >>> round(float(point), 5)
    0.998
    """

    slots = ("square_average", "step_average")

    def __init__(self, learning_rate: LearningRate = "auto", rho: float = 0.9, epsilon: float = 1e-6):
        self.learning_rate = learning_rate
        self.rho = rho
        self.epsilon = epsilon

    def hyper(self):
        return (float(self.rho), float(self.epsilon))

    @staticmethod
    def rule(w, g, lr, t, slots, hyper):
        (square, moved), (rho, epsilon) = slots, hyper
        square = rho * square + (1.0 - rho) * g * g
        rate = np.sqrt(moved + epsilon) / np.sqrt(square + epsilon)
        delta = rate * g
        moved = rho * moved + (1.0 - rho) * delta * delta
        return w - lr * delta, lr * rate, (square, moved)

    @staticmethod
    def auto_learning_rate(row_norm, curvature, n_classes, one_hot, hyper):
        return 1.0
