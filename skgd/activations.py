r"""Activations of hidden layers.

An activation is a pair of pure elementwise functions of the pre-activation :math:`z = a_{in} \cdot w + b`:

* ``value(z, hyper)``, the neuron's output :math:`a = \varphi(z)`, and
* ``derivative(z, a, hyper)``, :math:`\varphi'(z)`, which may use the value ``a``.

The classes are in order of complexity.

Examples
--------
A custom activation only needs these two functions:

>>> import numpy as np
>>> from skgd import GDClassifier
>>> from skgd.activations import Activation
>>> class Sine(Activation):
...     @staticmethod
...     def value(z, hyper):
...         return np.sin(z)
...
...     @staticmethod
...     def derivative(z, a, hyper):
...         return np.cos(z)
>>> X, y = [[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0]
>>> model = GDClassifier(hidden_layer_sizes=(8,), activation=Sine())
>>> model = model.set_params(tol=None, max_iter=200, random_state=0)
>>> model.fit(X, y).predict(X)
array([0, 1, 1, 0])
"""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal

import numpy as np
from scipy.special import erf

from skgd.strategy import Strategy

__all__ = ["ELU", "GELU", "Activation", "Identity", "LeakyReLU", "Logistic", "ReLU", "SiLU", "Tanh"]


class Activation(Strategy):
    r"""Base class of all activations; a subclass defines :meth:`value` and :meth:`derivative`.

    Attributes
    ----------
    initialization : {"glorot", "he"}
        The weight initialization of the layer in front: uniform around zero, with a variance of 2 / (number of inputs
        and outputs of the layer) for Glorot, and of 2 / (number of inputs) for He, because rectifiers zero half of
        their inputs.

    References
    ----------
    X. Glorot and Y. Bengio, "Understanding the difficulty of training deep feedforward neural networks", AISTATS 2010.
    K. He, X. Zhang, S. Ren and J. Sun, "Delving deep into rectifiers", ICCV 2015.
    """

    initialization: ClassVar[Literal["glorot", "he"]] = "glorot"

    @staticmethod
    def value(z: Any, hyper: tuple) -> Any:
        """Return the output of neurons that receive ``z``, elementwise."""
        raise NotImplementedError

    @staticmethod
    def derivative(z: Any, a: Any, hyper: tuple) -> Any:
        """Return the derivative of :meth:`value` at ``z``, where its value is ``a``, elementwise."""
        raise NotImplementedError


def _sigmoid(z):
    """1 / (1 + exp(-z)), without overflow."""
    return 0.5 + 0.5 * np.tanh(0.5 * z)


class Identity(Activation):
    r""":math:`\varphi(z) = z`: the composition of linear layers is a linear model of low rank.

    Examples
    --------
    >>> from skgd.activations import Identity
    >>> Identity.value(2.0, ()), float(Identity.derivative(2.0, 2.0, ()))
    (2.0, 1.0)
    """

    @staticmethod
    def value(z, hyper):
        return z

    @staticmethod
    def derivative(z, a, hyper):
        return 1.0 + 0.0 * z


class ReLU(Activation):
    r"""The rectifier :math:`\max(0, z)`: cheap, and its gradient does not vanish where it is active.

    References
    ----------
    V. Nair and G. E. Hinton, "Rectified linear units improve restricted Boltzmann machines", ICML 2010.

    Examples
    --------
    >>> import numpy as np
    >>> from skgd.activations import ReLU
    >>> ReLU.value(np.array([-1.0, 2.0]), ())
    array([0., 2.])
    """

    initialization = "he"

    @staticmethod
    def value(z, hyper):
        return np.maximum(z, 0.0)

    @staticmethod
    def derivative(z, a, hyper):
        return z > 0.0


class LeakyReLU(Activation):
    r"""The leaky rectifier :math:`\max(z, s z)`: its gradient never vanishes, so that neurons do not die.

    Parameters
    ----------
    slope : float, default=0.01
        The slope :math:`s` of the negative side, in [0, 1].

    References
    ----------
    A. L. Maas, A. Y. Hannun and A. Y. Ng, "Rectifier nonlinearities improve neural network acoustic models", ICML 2013.

    Examples
    --------
    >>> import numpy as np
    >>> from skgd.activations import LeakyReLU
    >>> LeakyReLU.value(np.array([-1.0, 2.0]), LeakyReLU(slope=0.1).hyper())
    array([-0.1,  2. ])
    """

    initialization = "he"

    def __init__(self, slope: float = 0.01):
        self.slope = slope

    def hyper(self):
        return (float(self.slope),)

    def check(self):
        self._check_real("slope", 0.0, 1.0)

    @staticmethod
    def value(z, hyper):
        (slope,) = hyper
        return np.maximum(z, slope * z)

    @staticmethod
    def derivative(z, a, hyper):
        (slope,) = hyper
        return np.maximum(np.sign(z), slope)


class ELU(Activation):
    r"""Linear above zero, :math:`\alpha (e^z - 1)` below: a smooth rectifier, whose outputs have a mean near zero.

    Parameters
    ----------
    alpha : float, default=1.0
        The limit for negative inputs is :math:`-\alpha`; positive.

    References
    ----------
    D.-A. Clevert, T. Unterthiner and S. Hochreiter, "Fast and accurate deep network learning by exponential linear
    units", ICLR 2016.

    Examples
    --------
    >>> import numpy as np
    >>> from skgd.activations import ELU
    >>> ELU.value(np.array([-50.0, 2.0]), ELU().hyper())
    array([-1.,  2.])
    """

    initialization = "he"

    def __init__(self, alpha: float = 1.0):
        self.alpha = alpha

    def hyper(self):
        return (float(self.alpha),)

    def check(self):
        self._check_real("alpha", 0.0, ends="neither")

    @staticmethod
    def value(z, hyper):
        (alpha,) = hyper
        return np.maximum(z, 0.0) + alpha * np.expm1(np.minimum(z, 0.0))

    @staticmethod
    def derivative(z, a, hyper):
        (alpha,) = hyper
        return (z > 0.0) + (z <= 0.0) * (a + alpha)


class Tanh(Activation):
    r"""The hyperbolic tangent: zero-centered, but its gradient vanishes for large inputs.

    Examples
    --------
    >>> from skgd.activations import Tanh
    >>> float(Tanh.value(0.0, ())), float(Tanh.derivative(0.0, 0.0, ()))
    (0.0, 1.0)
    """

    @staticmethod
    def value(z, hyper):
        return np.tanh(z)

    @staticmethod
    def derivative(z, a, hyper):
        return 1.0 - a * a


class Logistic(Activation):
    r"""The sigmoid :math:`\sigma(z) = 1 / (1 + e^{-z})`: its derivative is at most 1/4.

    Examples
    --------
    >>> from skgd.activations import Logistic
    >>> float(Logistic.value(0.0, ())), float(Logistic.derivative(0.0, 0.5, ()))
    (0.5, 0.25)
    """

    @staticmethod
    def value(z, hyper):
        return _sigmoid(z)

    @staticmethod
    def derivative(z, a, hyper):
        return a * (1.0 - a)


class SiLU(Activation):
    r"""The sigmoid linear unit :math:`z \sigma(z)`, also called swish: a smooth rectifier.

    References
    ----------
    S. Elfwing, E. Uchibe and K. Doya, "Sigmoid-weighted linear units for neural network function approximation in
    reinforcement learning", Neural Networks 107, 2018.

    Examples
    --------
    >>> from skgd.activations import SiLU
    >>> float(SiLU.value(0.0, ())), float(SiLU.derivative(0.0, 0.0, ()))
    (0.0, 0.5)
    """

    initialization = "he"

    @staticmethod
    def value(z, hyper):
        return z * _sigmoid(z)

    @staticmethod
    def derivative(z, a, hyper):
        return a + _sigmoid(z) * (1.0 - a)


class GELU(Activation):
    r"""The Gaussian error linear unit :math:`z \Phi(z)`, with the standard normal distribution :math:`\Phi`.

    References
    ----------
    D. Hendrycks and K. Gimpel, "Gaussian error linear units (GELUs)", arXiv:1606.08415, 2016.

    Examples
    --------
    >>> from skgd.activations import GELU
    >>> float(GELU.value(0.0, ())), float(GELU.derivative(0.0, 0.0, ()))
    (0.0, 0.5)
    """

    initialization = "he"

    @staticmethod
    def value(z, hyper):
        return 0.5 * z * (1.0 + erf(z * math.sqrt(0.5)))

    @staticmethod
    def derivative(z, a, hyper):
        density = np.exp(-0.5 * z * z) / math.sqrt(2.0 * math.pi)
        return 0.5 * (1.0 + erf(z * math.sqrt(0.5))) + z * density


ACTIVATIONS: dict[str, type[Activation]] = {
    "identity": Identity,
    "relu": ReLU,
    "leaky_relu": LeakyReLU,
    "elu": ELU,
    "tanh": Tanh,
    "logistic": Logistic,
    "silu": SiLU,
    "gelu": GELU,
}
