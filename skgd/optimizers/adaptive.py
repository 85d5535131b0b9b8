"""Adaptive methods: a rate for each parameter, divided by a running measure of its gradients.

They differ in what they remember of the squared gradients:

* `AdaGrad`: their sum, so that the rate falls by itself;
* `RMSProp`: a running mean, so that the rate rises again where gradients become smaller;
* `AdaDelta`: a running mean, too, and one of the squared steps, so that there is no rate to choose.
"""

from __future__ import annotations

import math

import numpy as np

from skgd.optimizers.base import LearningRate, Optimizer


class AdaGrad(Optimizer):
    r"""A rate for each parameter, falling with the gradients it has seen: the rarer a feature, the longer its steps.

    .. math:: G \leftarrow G + g^2, \qquad w \leftarrow w - \eta g / (\sqrt{G} + \epsilon)

    Parameters
    ----------
    learning_rate : float, "auto", Schedule or callable, default="auto"
        The rate :math:`\eta`, before the division. "auto" divides by the rows' root mean square norm.
    initial_accumulator : float, default=0.0
        The value with which :math:`G` starts, at least 0.
    epsilon : float, default=1e-10
        Keeps the division finite, above 0.

    References
    ----------
    J. Duchi, E. Hazan and Y. Singer, "Adaptive subgradient methods for online learning and stochastic optimization",
    JMLR 12, 2011.

    Examples
    --------
    >>> from skgd.optimizers import AdaGrad
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
    def auto_learning_rate(row_norm, curvature, n_classes, one_hot, hyper):
        # A rare column meets each class only once in n_classes rows: its coefficients have so many fewer steps to make.
        # Categories' columns hardly depend on each other, and need no long steps either: shorter ones are less noisy.
        return 3.0 * 6.0**-one_hot * math.sqrt(n_classes) / row_norm


class RMSProp(Optimizer):
    r"""AdaGrad with a forgetting memory: the gradient over a running root mean square of itself.

    .. math:: v \leftarrow \rho v + (1 - \rho) g^2, \qquad m \leftarrow \mu m + g / (\sqrt{v} + \epsilon), \qquad
              w \leftarrow w - \eta m

    Parameters
    ----------
    learning_rate : float, "auto", Schedule or callable, default="auto"
        The rate :math:`\eta`; torch's default is 0.01, Keras' 0.001.
    rho : float, default=0.9
        How much of the running mean square is kept, in [0, 1); torch calls it ``alpha``.
    momentum : float, default=0.0
        The share :math:`\mu` of the last step kept in this one, in [0, 1).
    centered : bool, default=False
        Divide by the running standard deviation instead: subtract the square of the running mean from :math:`v`.
    epsilon : float, default=1e-8
        Keeps the division finite, above 0.

    References
    ----------
    T. Tieleman and G. Hinton, "Lecture 6.5: RMSProp", COURSERA: Neural Networks for Machine Learning, 2012.

    Examples
    --------
    >>> from skgd.optimizers import RMSProp
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
    r"""RMSProp whose rate has the unit of a parameter: the running size of the steps themselves.

    .. math:: v \leftarrow \rho v + (1 - \rho) g^2, \qquad \Delta = \frac{\sqrt{u + \epsilon}}{\sqrt{v + \epsilon}} g,
              \qquad u \leftarrow \rho u + (1 - \rho) \Delta^2, \qquad w \leftarrow w - \eta \Delta

    Parameters
    ----------
    learning_rate : float, "auto", Schedule or callable, default="auto"
        The rate :math:`\eta`; "auto" is 1, the paper's.
    rho : float, default=0.9
        How much of the running mean squares is kept, in [0, 1).
    epsilon : float, default=1e-6
        Sets the size of the first steps, about its square root; above 0.

    References
    ----------
    M. D. Zeiler, "ADADELTA: An adaptive learning rate method", arXiv:1212.5701, 2012.

    Examples
    --------
    >>> from skgd.optimizers import AdaDelta
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
