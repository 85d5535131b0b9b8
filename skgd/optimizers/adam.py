"""Adam and its variants: a moving average of the gradient (momentum), divided by a moving measure of its size.

Most variants correct both averages for their initialization with zeros.

* `Adam`: the root mean square; with ``amsgrad`` its maximum so far;
* `AdamW`: the same, with decoupled weight decay;
* `AdaMax`: a decaying maximum of the gradients;
* `NAdam`: the root mean square, with Nesterov momentum;
* `RAdam`: no division while the root mean square has a high variance;
* `AdaBelief`: the deviation of the gradient from its moving average;
* `Yogi`: a root mean square that changes by bounded amounts.
"""

from __future__ import annotations

import math

import numpy as np

from skgd.optimizers.base import LearningRate, Optimizer


class Adam(Optimizer):
    r"""Momentum divided by a moving root mean square, both bias-corrected.

    Use it as ``GDClassifier(optimizer="adam")`` or ``GDClassifier(optimizer=Adam(learning_rate=0.01))``. It is the
    default with hidden layers, and suits streams of strongly correlated features. For linear models, :class:`AdaGrad`
    is usually the better choice.

    .. math:: m \leftarrow \beta_1 m + (1 - \beta_1) g, \quad v \leftarrow \beta_2 v + (1 - \beta_2) g^2, \quad
              w \leftarrow w - \eta \frac{m / (1 - \beta_1^t)}{\sqrt{v / (1 - \beta_2^t)} + \epsilon}

    Parameters
    ----------
    learning_rate : float, "auto", Schedule or callable, default="auto"
        The learning rate :math:`\eta`. "auto" is 0.1 / root mean square norm of the samples (divided by the number of
        hidden layers); the paper's default is 0.001.
    beta1, beta2 : float, default=0.9 and 0.999
        The decays of the moving mean and mean square, in [0, 1).
    epsilon : float, default=1e-8
        A small positive number that avoids division by zero.
    amsgrad : bool, default=False
        Whether to divide by the maximum of :math:`v` so far, which fixes a case in which Adam does not converge.

    See Also
    --------
    AdamW : Adam with decoupled weight decay.
    NAdam : Adam with Nesterov momentum.
    RAdam : Adam without a warm-up.

    References
    ----------
    D. P. Kingma and J. Ba, "Adam: A method for stochastic optimization", ICLR 2015.
    S. J. Reddi, S. Kale and S. Kumar, "On the convergence of Adam and beyond", ICLR 2018.

    Examples
    --------
    >>> from skgd import GDClassifier
    >>> from skgd.optimizers import Adam
    >>> model = GDClassifier(hidden_layer_sizes=(64,), optimizer=Adam(learning_rate=0.01))

    One step from w = 1 with the gradient 0.5:

    >>> point, step, slots = Adam.rule(1.0, 0.5, 0.1, 1, (0.0, 0.0, 0.0), Adam(epsilon=0.0).hyper())
    >>> round(float(point), 12)
    0.9
    """

    slots = ("mean", "square_average", "largest_square_average")

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

    @property
    def lazy(self) -> str:  # type: ignore[override]
        return "drift" if self.beta1**2 < self.beta2 else ""

    @property
    def idle(self) -> tuple[str, ...]:  # type: ignore[override]
        return () if self.amsgrad else ("largest_square_average",)

    @staticmethod
    def rule(w, g, lr, t, slots, hyper):
        (mean, square, largest), (beta1, beta2, epsilon, amsgrad) = slots, hyper
        mean = beta1 * mean + (1.0 - beta1) * g
        square = beta2 * square + (1.0 - beta2) * g * g
        largest = np.maximum(largest, square) if amsgrad else largest
        shown = largest if amsgrad else square
        step = lr / (np.sqrt(shown / (1.0 - beta2**t)) + epsilon)
        return w - step * mean / (1.0 - beta1**t), step, (mean, square, largest)

    @staticmethod
    def skip(steps, slots, hyper):
        (mean, square, largest), (beta1, beta2, _, _) = slots, hyper
        return beta1**steps * mean, beta2**steps * square, largest

    @staticmethod
    def drift(steps, t, hyper):
        beta1, beta2, _, amsgrad = hyper
        decay = 1.0 if amsgrad else beta2**steps
        return beta1**steps / (1.0 - beta1**t), np.sqrt(decay / (1.0 - beta2**t))

    @staticmethod
    def momentum_and_size(slots, hyper):
        (mean, square, largest), (_, _, epsilon, amsgrad) = slots, hyper
        return mean, np.sqrt(largest if amsgrad else square), epsilon


class AdamW(Adam):
    r"""Adam with decoupled weight decay.

    Use it as ``GDClassifier(optimizer=AdamW(weight_decay=0.01))``, to reproduce a recipe with weight decay. Before each
    Adam step, the coefficients are multiplied by :math:`1 - \eta \lambda`. Unlike the gradient of the penalty
    ``alpha``, the decay is not divided by the moving root mean square. To minimize a defined objective, use ``alpha``
    with :class:`Adam`.

    Parameters
    ----------
    learning_rate : float, "auto", Schedule or callable, default="auto"
        The learning rate :math:`\eta`. "auto" is 0.1 / root mean square norm of the samples (divided by the number of
        hidden layers); PyTorch's default is 0.001.
    beta1, beta2 : float, default=0.9 and 0.999
        The decays of the moving mean and mean square, in [0, 1).
    epsilon : float, default=1e-8
        A small positive number that avoids division by zero.
    amsgrad : bool, default=False
        Whether to divide by the maximum of the moving mean square so far.
    weight_decay : float, default=0.01
        The weight decay :math:`\lambda`, nonnegative. It does not apply to the intercept.

    See Also
    --------
    Adam : Without weight decay.
    Lion : Sign-based steps with weight decay.

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
    r"""Adam with a decaying maximum of the gradients instead of the root mean square.

    Use it as ``GDClassifier(optimizer="adamax")`` or ``GDClassifier(optimizer=AdaMax(learning_rate=0.002))``. It is
    less sensitive to the history of the gradients than :class:`Adam`, which suits sparse gradients, such as those of
    embeddings.

    .. math:: m \leftarrow \beta_1 m + (1 - \beta_1) g, \quad u \leftarrow \max(\beta_2 u, |g| + \epsilon), \quad
              w \leftarrow w - \frac{\eta}{1 - \beta_1^t} \frac{m}{u}

    Parameters
    ----------
    learning_rate : float, "auto", Schedule or callable, default="auto"
        The learning rate :math:`\eta`. "auto" is 0.1 / root mean square norm of the samples (divided by the number of
        hidden layers); the paper's default is 0.002.
    beta1, beta2 : float, default=0.9 and 0.999
        The decays of the moving mean and of the maximum, in [0, 1).
    epsilon : float, default=1e-8
        A small positive number that avoids division by zero.

    See Also
    --------
    Adam : The root mean square instead of the maximum.

    References
    ----------
    D. P. Kingma and J. Ba, "Adam: A method for stochastic optimization", ICLR 2015, section 7.1.

    Examples
    --------
    >>> from skgd import GDClassifier
    >>> from skgd.optimizers import AdaMax
    >>> model = GDClassifier(optimizer=AdaMax(learning_rate=0.002))

    One step from w = 1 with the gradient 0.5:

    >>> point, step, slots = AdaMax.rule(1.0, 0.5, 0.1, 1, (0.0, 0.0), AdaMax(epsilon=1e-12).hyper())
    >>> round(float(point), 6)
    0.9
    """

    slots = ("mean", "largest")

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
    r"""Adam with Nesterov momentum.

    Use it as ``GDClassifier(optimizer="nadam")`` or ``GDClassifier(optimizer=NAdam(learning_rate=0.002))``. It often
    needs a few epochs less than :class:`Adam`, and suits the same problems.

    .. math:: \mu_t = \beta_1 (1 - \tfrac12 0.96^{t \psi}), \quad
              \hat m = \frac{\mu_{t+1} m}{1 - \prod_{i \le t+1} \mu_i}
              + \frac{(1 - \mu_t) g}{1 - \prod_{i \le t} \mu_i},
              \quad w \leftarrow w - \eta \frac{\hat m}{\sqrt{v / (1 - \beta_2^t)} + \epsilon}

    Parameters
    ----------
    learning_rate : float, "auto", Schedule or callable, default="auto"
        The learning rate :math:`\eta`. "auto" is 0.1 / root mean square norm of the samples (divided by the number of
        hidden layers); PyTorch's default is 0.002.
    beta1, beta2 : float, default=0.9 and 0.999
        The decays of the moving mean and mean square, in [0, 1).
    epsilon : float, default=1e-8
        A small positive number that avoids division by zero.
    momentum_decay : float, default=0.004
        The speed :math:`\psi` at which :math:`\mu_t` increases towards ``beta1``; nonnegative.

    See Also
    --------
    Adam : Without Nesterov momentum.
    SGD : Nesterov momentum without adaptive learning rates.

    References
    ----------
    T. Dozat, "Incorporating Nesterov momentum into Adam", ICLR workshop 2016.

    Examples
    --------
    >>> from skgd import GDClassifier
    >>> from skgd.optimizers import NAdam
    >>> model = GDClassifier(optimizer=NAdam(learning_rate=0.002))
    """

    slots = ("mean", "square_average", "log_momentum_product")

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
    r"""Rectified Adam: momentum without division while the moving mean square has a high variance, then Adam.

    Use it as ``GDClassifier(optimizer="radam")`` or ``GDClassifier(optimizer=RAdam(learning_rate=0.001))``. It replaces
    a warm-up of the learning rate: the first steps do not divide by an estimate from few gradients.

    .. math:: \rho_t = \rho_\infty - \frac{2 t \beta_2^t}{1 - \beta_2^t}, \quad
              \rho_\infty = \frac{2}{1-\beta_2} - 1, \quad
              r_t = \sqrt{\frac{(\rho_t - 4)(\rho_t - 2)\rho_\infty}{(\rho_\infty - 4)(\rho_\infty - 2)\rho_t}}

    The step is that of Adam times :math:`r_t` if :math:`\rho_t > 5`, else :math:`\eta m / (1 - \beta_1^t)`.

    Parameters
    ----------
    learning_rate : float, "auto", Schedule or callable, default="auto"
        The learning rate :math:`\eta`. "auto" is 0.1 / root mean square norm of the samples (divided by the number of
        hidden layers); PyTorch's default is 0.001.
    beta1, beta2 : float, default=0.9 and 0.999
        The decays of the moving mean and mean square, in [0, 1).
    epsilon : float, default=1e-8
        A small positive number that avoids division by zero.

    See Also
    --------
    Adam : Without the rectification.
    skgd.schedules.Linear : A schedule with warm-up.

    References
    ----------
    L. Liu et al., "On the variance of the adaptive learning rate and beyond", ICLR 2020.

    Examples
    --------
    >>> from skgd import GDClassifier
    >>> from skgd.optimizers import RAdam
    >>> model = GDClassifier(optimizer=RAdam(learning_rate=0.001))
    """

    slots = ("mean", "square_average")

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
    r"""Adam that divides by the deviation of the gradient from its moving mean.

    Use it as ``GDClassifier(optimizer="adabelief")`` or ``GDClassifier(optimizer=AdaBelief(learning_rate=0.001))``.
    Steps are long while gradients agree with their moving mean, and short while they deviate from it.

    .. math:: m \leftarrow \beta_1 m + (1 - \beta_1) g, \quad
              s \leftarrow \beta_2 s + (1 - \beta_2)(g - m)^2 + \epsilon,
              \quad w \leftarrow w - \eta \frac{m / (1 - \beta_1^t)}{\sqrt{s / (1 - \beta_2^t)} + \epsilon}

    Parameters
    ----------
    learning_rate : float, "auto", Schedule or callable, default="auto"
        The learning rate :math:`\eta`. "auto" is 0.1 / root mean square norm of the samples (divided by the number of
        hidden layers); the paper's default is 0.001.
    beta1, beta2 : float, default=0.9 and 0.999
        The decays of the moving mean and variance, in [0, 1).
    epsilon : float, default=1e-16
        The minimum variance, positive.

    See Also
    --------
    Adam : Divides by the size of the gradient.
    Yogi : Adam whose mean square changes slowly.

    References
    ----------
    J. Zhuang et al., "AdaBelief optimizer: Adapting stepsizes by the belief in observed gradients", NeurIPS 2020.

    Examples
    --------
    >>> from skgd import GDClassifier
    >>> from skgd.optimizers import AdaBelief
    >>> model = GDClassifier(optimizer=AdaBelief(learning_rate=0.001))
    """

    slots = ("mean", "variance")

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
    r"""Adam whose moving mean square changes by a bounded amount.

    Use it as ``GDClassifier(optimizer="yogi")`` or ``GDClassifier(optimizer=Yogi(learning_rate=0.01))``. It suits
    gradients that are rarely large: :class:`Adam` forgets a large gradient faster, and then takes steps that are too
    long.

    .. math:: v \leftarrow v - (1 - \beta_2) \, \mathrm{sign}(v - g^2) \, g^2

    The step is that of Adam, with both bias corrections.

    Parameters
    ----------
    learning_rate : float, "auto", Schedule or callable, default="auto"
        The learning rate :math:`\eta`. "auto" is 0.1 / root mean square norm of the samples (divided by the number of
        hidden layers); the paper uses 0.01.
    beta1, beta2 : float, default=0.9 and 0.999
        The decays of the moving mean and mean square, in [0, 1).
    epsilon : float, default=1e-3
        A positive number that bounds the step size.
    initial_accumulator : float, default=1e-6
        The initial value of mean and mean square, nonnegative.

    See Also
    --------
    Adam : An exponential moving average of the squares.

    References
    ----------
    M. Zaheer et al., "Adaptive methods for nonconvex optimization", NeurIPS 2018.

    Examples
    --------
    >>> from skgd import GDClassifier
    >>> from skgd.optimizers import Yogi
    >>> model = GDClassifier(optimizer=Yogi(learning_rate=0.01))
    """

    slots = ("mean", "square_average")

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
