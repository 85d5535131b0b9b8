"""Adam and its family: a running mean of the gradient (momentum), divided by a running measure of its size.

They differ in the measure, and in what else becomes of the mean. Most correct both for the bias of their start at zero.

* `Adam`: the root mean square; with ``amsgrad`` the largest one so far;
* `AdamW`: the same, and coefficients that decay beside it;
* `AdaMax`: the largest recent gradient;
* `NAdam`: Adam's measure, and a mean that looks ahead, as Nesterov's momentum does;
* `RAdam`: none, until the root mean square can be trusted;
* `AdaBelief`: the root mean square of what the running mean did not foresee;
* `Yogi`: a root mean square that forgets a large gradient only slowly.
"""

from __future__ import annotations

import math

import numpy as np

from skgd.optimizers.base import LearningRate, Optimizer


class Adam(Optimizer):
    r"""Momentum over a running root mean square, both freed of the bias of their start at zero.

    .. math:: m \leftarrow \beta_1 m + (1 - \beta_1) g, \quad v \leftarrow \beta_2 v + (1 - \beta_2) g^2, \quad
              w \leftarrow w - \eta \frac{m / (1 - \beta_1^t)}{\sqrt{v / (1 - \beta_2^t)} + \epsilon}

    Parameters
    ----------
    learning_rate : float, "auto", Schedule or callable, default="auto"
        The rate :math:`\eta`; the paper's default is 0.001.
    beta1, beta2 : float, default=0.9 and 0.999
        How much of the running mean and mean square is kept, in [0, 1).
    epsilon : float, default=1e-8
        Keeps the division finite, above 0.
    amsgrad : bool, default=False
        Divide by the largest :math:`v` so far, which mends a case where Adam does not converge.

    References
    ----------
    D. P. Kingma and J. Ba, "Adam: A method for stochastic optimization", ICLR 2015.
    S. J. Reddi, S. Kale and S. Kumar, "On the convergence of Adam and beyond", ICLR 2018.

    Examples
    --------
    >>> from skgd.optimizers import Adam
    >>> point, step, slots = Adam.rule(1.0, 0.5, 0.1, 1, (0.0, 0.0, 0.0), Adam(epsilon=0.0).hyper())
    >>> round(float(point), 12)
    0.9
    """

    slots = ("mean", "square_average", "largest_square_average")
    sizes = ("square_average", "largest_square_average")

    def __init__(
        self,
        learning_rate: LearningRate = "auto",
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        amsgrad: bool = False,
    ):
        self.learning_rate = learning_rate
        self.beta1 = beta1
        self.beta2 = beta2
        self.epsilon = epsilon
        self.amsgrad = amsgrad

    def hyper(self):
        return (float(self.beta1), float(self.beta2), float(self.epsilon), bool(self.amsgrad))

    @staticmethod
    def rule(w, g, lr, t, slots, hyper):
        (mean, square, largest), (beta1, beta2, epsilon, amsgrad) = slots, hyper
        mean = beta1 * mean + (1.0 - beta1) * g
        square = beta2 * square + (1.0 - beta2) * g * g
        largest = np.maximum(largest, square) if amsgrad else largest
        shown = largest if amsgrad else square
        step = lr / (np.sqrt(shown / (1.0 - beta2**t)) + epsilon)
        return w - step * mean / (1.0 - beta1**t), step, (mean, square, largest)


class AdamW(Adam):
    r"""Adam with decoupled weight decay: the coefficients shrink by :math:`\eta \lambda` before each Adam step.

    The decay is not divided by the running root mean square, as the gradient of the penalty ``alpha`` is.

    Parameters
    ----------
    learning_rate : float, "auto", Schedule or callable, default="auto"
        The rate :math:`\eta`; torch's default is 0.001.
    beta1, beta2 : float, default=0.9 and 0.999
        How much of the running mean and mean square is kept, in [0, 1).
    epsilon : float, default=1e-8
        Keeps the division finite, above 0.
    amsgrad : bool, default=False
        Divide by the largest running mean square so far.
    weight_decay : float, default=0.01
        The decay :math:`\lambda`, at least 0. The intercept does not decay.

    References
    ----------
    I. Loshchilov and F. Hutter, "Decoupled weight decay regularization", ICLR 2019.

    Examples
    --------
    >>> from skgd import GDRegressor
    >>> from skgd.optimizers import AdamW
    >>> model = GDRegressor(optimizer=AdamW(learning_rate=0.1, weight_decay=0.5))
    """

    def __init__(
        self,
        learning_rate: LearningRate = "auto",
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        amsgrad: bool = False,
        weight_decay: float = 0.01,
    ):
        super().__init__(learning_rate, beta1, beta2, epsilon, amsgrad)
        self.weight_decay = weight_decay


class AdaMax(Optimizer):
    r"""Adam with the largest recent gradient instead of the root mean square.

    .. math:: m \leftarrow \beta_1 m + (1 - \beta_1) g, \quad u \leftarrow \max(\beta_2 u, |g| + \epsilon), \quad
              w \leftarrow w - \frac{\eta}{1 - \beta_1^t} \frac{m}{u}

    Parameters
    ----------
    learning_rate : float, "auto", Schedule or callable, default="auto"
        The rate :math:`\eta`; the paper's default is 0.002.
    beta1, beta2 : float, default=0.9 and 0.999
        How much of the running mean and maximum is kept, in [0, 1).
    epsilon : float, default=1e-8
        Keeps the division finite, above 0.

    References
    ----------
    D. P. Kingma and J. Ba, "Adam: A method for stochastic optimization", ICLR 2015, section 7.1.

    Examples
    --------
    >>> from skgd.optimizers import AdaMax
    >>> point, step, slots = AdaMax.rule(1.0, 0.5, 0.1, 1, (0.0, 0.0), AdaMax(epsilon=1e-12).hyper())
    >>> round(float(point), 6)
    0.9
    """

    slots = ("mean", "largest")
    sizes = ("largest",)

    def __init__(
        self, learning_rate: LearningRate = "auto", beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-8
    ):
        self.learning_rate = learning_rate
        self.beta1 = beta1
        self.beta2 = beta2
        self.epsilon = epsilon

    def hyper(self):
        return (float(self.beta1), float(self.beta2), float(self.epsilon))

    @staticmethod
    def rule(w, g, lr, t, slots, hyper):
        (mean, largest), (beta1, beta2, epsilon) = slots, hyper
        mean = beta1 * mean + (1.0 - beta1) * g
        largest = np.maximum(beta2 * largest, np.abs(g) + epsilon)
        step = lr / largest
        return w - step * mean / (1.0 - beta1**t), step, (mean, largest)


class NAdam(Optimizer):
    r"""Adam with Nesterov's momentum, whose share grows along the way.

    .. math:: \mu_t = \beta_1 (1 - \tfrac12 0.96^{t \psi}), \quad
              \hat m = \frac{\mu_{t+1} m}{1 - \prod_{i \le t+1} \mu_i}
              + \frac{(1 - \mu_t) g}{1 - \prod_{i \le t} \mu_i},
              \quad w \leftarrow w - \eta \frac{\hat m}{\sqrt{v / (1 - \beta_2^t)} + \epsilon}

    Parameters
    ----------
    learning_rate : float, "auto", Schedule or callable, default="auto"
        The rate :math:`\eta`; torch's default is 0.002.
    beta1, beta2 : float, default=0.9 and 0.999
        How much of the running mean and mean square is kept, in [0, 1).
    epsilon : float, default=1e-8
        Keeps the division finite, above 0.
    momentum_decay : float, default=0.004
        How fast :math:`\mu_t` grows towards ``beta1``, :math:`\psi`; at least 0.

    References
    ----------
    T. Dozat, "Incorporating Nesterov momentum into Adam", ICLR workshop 2016.

    Examples
    --------
    >>> from skgd import GDClassifier
    >>> model = GDClassifier(optimizer="nadam")
    """

    slots = ("mean", "square_average", "log_momentum_product")
    sizes = ("square_average", "log_momentum_product")

    def __init__(
        self,
        learning_rate: LearningRate = "auto",
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        momentum_decay: float = 0.004,
    ):
        self.learning_rate = learning_rate
        self.beta1 = beta1
        self.beta2 = beta2
        self.epsilon = epsilon
        self.momentum_decay = momentum_decay

    def hyper(self):
        return (float(self.beta1), float(self.beta2), float(self.epsilon), float(self.momentum_decay))

    def check(self):
        super().check()
        self._check_real("beta1", 0.0, 1.0, ends="neither")

    @staticmethod
    def rule(w, g, lr, t, slots, hyper):
        (mean, square, log_product), (beta1, beta2, epsilon, decay) = slots, hyper
        momentum = beta1 * (1.0 - 0.5 * 0.96 ** (t * decay))
        next_momentum = beta1 * (1.0 - 0.5 * 0.96 ** ((t + 1) * decay))
        log_product = log_product + math.log(momentum)  # a logarithm, because a slot starts at 0 and a product at 1
        product = np.exp(log_product)
        mean = beta1 * mean + (1.0 - beta1) * g
        square = beta2 * square + (1.0 - beta2) * g * g
        step = lr / (np.sqrt(square / (1.0 - beta2**t)) + epsilon)
        ahead = (1.0 - momentum) / (1.0 - product) * g + next_momentum / (1.0 - product * next_momentum) * mean
        return w - step * ahead, step, (mean, square, log_product)


class RAdam(Optimizer):
    r"""Adam that waits: plain momentum until the running mean square can be trusted, then Adam, rectified.

    .. math:: \rho_t = \rho_\infty - \frac{2 t \beta_2^t}{1 - \beta_2^t}, \quad
              \rho_\infty = \frac{2}{1-\beta_2} - 1, \quad
              r_t = \sqrt{\frac{(\rho_t - 4)(\rho_t - 2)\rho_\infty}{(\rho_\infty - 4)(\rho_\infty - 2)\rho_t}}

    and Adam's step times :math:`r_t` where :math:`\rho_t > 5`, else :math:`\eta m / (1 - \beta_1^t)`.

    Parameters
    ----------
    learning_rate : float, "auto", Schedule or callable, default="auto"
        The rate :math:`\eta`; torch's default is 0.001.
    beta1, beta2 : float, default=0.9 and 0.999
        How much of the running mean and mean square is kept, in [0, 1).
    epsilon : float, default=1e-8
        Keeps the division finite, above 0.

    References
    ----------
    L. Liu et al., "On the variance of the adaptive learning rate and beyond", ICLR 2020.

    Examples
    --------
    >>> from skgd import GDClassifier
    >>> model = GDClassifier(optimizer="radam")
    """

    slots = ("mean", "square_average")
    sizes = ("square_average",)

    def __init__(
        self, learning_rate: LearningRate = "auto", beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-8
    ):
        self.learning_rate = learning_rate
        self.beta1 = beta1
        self.beta2 = beta2
        self.epsilon = epsilon

    def hyper(self):
        return (float(self.beta1), float(self.beta2), float(self.epsilon))

    @staticmethod
    def rule(w, g, lr, t, slots, hyper):
        (mean, square), (beta1, beta2, epsilon) = slots, hyper
        mean = beta1 * mean + (1.0 - beta1) * g
        square = beta2 * square + (1.0 - beta2) * g * g
        longest = 2.0 / (1.0 - beta2) - 1.0
        length = longest - 2.0 * t * beta2**t / (1.0 - beta2**t)
        if length > 5.0:
            trust = ((length - 4.0) * (length - 2.0) * longest) / ((longest - 4.0) * (longest - 2.0) * length)
            step = lr * (trust * (1.0 - beta2**t)) ** 0.5 / (np.sqrt(square) + epsilon)
        else:
            step = lr + 0.0 * square
        return w - step * mean / (1.0 - beta1**t), step, (mean, square)


class AdaBelief(Optimizer):
    r"""Adam that divides by how much the gradient surprises, not by its size: long steps where it is steady.

    .. math:: m \leftarrow \beta_1 m + (1 - \beta_1) g, \quad
              s \leftarrow \beta_2 s + (1 - \beta_2)(g - m)^2 + \epsilon,
              \quad w \leftarrow w - \eta \frac{m / (1 - \beta_1^t)}{\sqrt{s / (1 - \beta_2^t)} + \epsilon}

    Parameters
    ----------
    learning_rate : float, "auto", Schedule or callable, default="auto"
        The rate :math:`\eta`; the paper's default is 0.001.
    beta1, beta2 : float, default=0.9 and 0.999
        How much of the running mean and variance is kept, in [0, 1).
    epsilon : float, default=1e-16
        The smallest surprise, above 0.

    References
    ----------
    J. Zhuang et al., "AdaBelief optimizer: Adapting stepsizes by the belief in observed gradients", NeurIPS 2020.

    Examples
    --------
    >>> from skgd import GDClassifier
    >>> model = GDClassifier(optimizer="adabelief")
    """

    slots = ("mean", "variance")
    sizes = ("variance",)

    def __init__(
        self, learning_rate: LearningRate = "auto", beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-16
    ):
        self.learning_rate = learning_rate
        self.beta1 = beta1
        self.beta2 = beta2
        self.epsilon = epsilon

    def hyper(self):
        return (float(self.beta1), float(self.beta2), float(self.epsilon))

    @staticmethod
    def rule(w, g, lr, t, slots, hyper):
        (mean, variance), (beta1, beta2, epsilon) = slots, hyper
        mean = beta1 * mean + (1.0 - beta1) * g
        variance = beta2 * variance + (1.0 - beta2) * (g - mean) * (g - mean) + epsilon
        step = lr / (np.sqrt(variance / (1.0 - beta2**t)) + epsilon)
        return w - step * mean / (1.0 - beta1**t), step, (mean, variance)


class Yogi(Optimizer):
    r"""Adam whose mean square moves by a bounded amount, so that rare large gradients are not forgotten at once.

    .. math:: v \leftarrow v - (1 - \beta_2) \, \mathrm{sign}(v - g^2) \, g^2

    and Adam's step, with both bias corrections.

    Parameters
    ----------
    learning_rate : float, "auto", Schedule or callable, default="auto"
        The rate :math:`\eta`; the paper uses 0.01.
    beta1, beta2 : float, default=0.9 and 0.999
        How much of the running mean and mean square is kept, in [0, 1).
    epsilon : float, default=1e-3
        Bounds the longest step, above 0.
    initial_accumulator : float, default=1e-6
        The value with which mean and mean square start, at least 0.

    References
    ----------
    M. Zaheer et al., "Adaptive methods for nonconvex optimization", NeurIPS 2018.

    Examples
    --------
    >>> from skgd import GDClassifier
    >>> model = GDClassifier(optimizer="yogi")
    """

    slots = ("mean", "square_average")
    sizes = ("square_average",)

    def __init__(
        self,
        learning_rate: LearningRate = "auto",
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-3,
        initial_accumulator: float = 1e-6,
    ):
        self.learning_rate = learning_rate
        self.beta1 = beta1
        self.beta2 = beta2
        self.epsilon = epsilon
        self.initial_accumulator = initial_accumulator

    def hyper(self):
        return (float(self.beta1), float(self.beta2), float(self.epsilon))

    def initial(self):
        return (float(self.initial_accumulator), float(self.initial_accumulator))

    @staticmethod
    def rule(w, g, lr, t, slots, hyper):
        (mean, square), (beta1, beta2, epsilon) = slots, hyper
        mean = beta1 * mean + (1.0 - beta1) * g
        square = square - (1.0 - beta2) * np.sign(square - g * g) * g * g
        step = lr / (np.sqrt(square / (1.0 - beta2**t)) + epsilon)
        return w - step * mean / (1.0 - beta1**t), step, (mean, square)
