r"""Optimizers: from a gradient to the next parameters.

An optimizer is one pure function, written once and elementwise, so that it serves a single parameter and a whole array:

    ``rule(w, g, lr, t, slots, hyper) -> point, step, slots``

``w`` are the parameters, ``g`` the gradient, ``lr`` the learning rate of this step, ``t = 1, 2, ...`` its number,
``slots`` what the optimizer remembers (one value a parameter for each name in ``Optimizer.slots``; kept by the
estimator, never by the optimizer), and ``hyper`` the numbers from :meth:`Optimizer.hyper`.

``point`` is where the rule would move without a penalty. ``step`` is the rate that it gives each parameter in the long
run: how far ``w`` moves for each unit of a constant gradient. It is the metric of everything that stands around the
rule, first of all the proximal step of the penalty, which makes the coefficients of an L1 penalty exactly zero:

.. math:: w_{t+1} = \arg\min_w \; \tfrac{1}{2\,\mathrm{step}} (w - \mathrm{point})^2 + \mathrm{penalty}(w)

The classes stand in order of growing complexity.

Examples
--------
An optimizer of one's own needs a rule, nothing else:

>>> import numpy as np
>>> from skgd import GDRegressor
>>> from skgd.optimizers import Optimizer
>>> class SignDescent(Optimizer):
...     def __init__(self, learning_rate=0.01):
...         self.learning_rate = learning_rate
...
...     @staticmethod
...     def rule(w, g, lr, t, slots, hyper):
...         return w - lr * np.sign(g), lr, slots
>>> X = np.arange(20.0).reshape(-1, 1)
>>> model = GDRegressor(optimizer=SignDescent(), learning_rate="inverse_scaling").fit(X, 2 * X.ravel() + 3)
>>> model.predict([[5.0]]).round(0)
array([13.])
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from skgd.schedules import Schedule, resolve_schedule
from skgd.strategy import Strategy

__all__ = [
    "FTRL",
    "SGD",
    "AdaBelief",
    "AdaDelta",
    "AdaGrad",
    "AdaMax",
    "Adam",
    "AdamW",
    "Lion",
    "NAdam",
    "Optimizer",
    "RAdam",
    "RMSProp",
    "ScheduleFree",
    "Yogi",
]

LearningRate = float | str | Schedule | Callable[[Any], Any]


class Optimizer(Strategy):
    """Base of all optimizers; a subclass defines :meth:`rule`, and :attr:`slots` if it remembers anything.

    Attributes
    ----------
    slots : tuple of str
        Names of the state arrays, one value a parameter each.
    learning_rate : float, "auto", Schedule or callable
        Used where the estimator's own ``learning_rate`` is None.
    weight_decay : float
        Decoupled decay: before each step the coefficients (not the intercept) shrink by ``lr * weight_decay``.
    proximal : bool
        Whether the penalty may act on the result of the rule, with ``step``. Otherwise its gradient is added to the
        data's, and an L1 penalty is refused, for it could not give exact zeros.
    implicit : bool
        Whether a step may be shortened after the fact, because the slots hold gradients only and don't depend on
        where the parameters went. Only then does ``learning_rate="auto"`` take implicit steps.
    bounded : bool
        Whether ``step`` is proportional to the rate, so that ``learning_rate="auto"`` can keep it below Newton's step
        for each parameter. ``lr`` is then an array, one value a parameter.
    lazy : str
        What the rule does to a parameter without a gradient, which rows of mostly zeros need not visit then: "rest"
        leaves it and its slots alone; after "repeat", only the last of several such steps counts, and :meth:`skip`.
        Empty: each step visits every parameter.
    linear : bool
        Whether the rule moves to ``w - step * g``, with a ``step`` in proportion to the rate that is the same for all
        parameters, slots and t: slots need not be kept then, and a step of one row is a multiple of this row. Like
        ``lazy``, it holds for this very rule, not for that of a subclass.
    """

    slots: ClassVar[tuple[str, ...]] = ()
    learning_rate: LearningRate = "auto"
    weight_decay: float = 0.0
    proximal: ClassVar[bool] = True
    implicit: bool = False
    bounded: ClassVar[bool] = True
    lazy: str = ""
    linear: bool = False

    def initial(self) -> tuple[float, ...]:
        """Return the value with which each slot starts."""
        return (0.0,) * len(self.slots)

    @staticmethod
    def rule(w: Any, g: Any, lr: float, t: int, slots: tuple, hyper: tuple) -> tuple[Any, Any, tuple]:
        """Return the next parameters, the long-run rate of each, and the next slots."""
        raise NotImplementedError

    @staticmethod
    def readout(w: Any, slots: tuple, hyper: tuple) -> Any:
        """Return the parameters to predict with; by default those that are trained."""
        return w

    @staticmethod
    def skip(steps: int, slots: tuple, hyper: tuple) -> tuple:
        """Return the slots after so many steps without a gradient, where ``lazy`` is "repeat"."""
        return slots

    @staticmethod
    def rebase(transform: Callable[[Any], Any], w: Any, slots: tuple, hyper: tuple) -> tuple:
        """Return the slots that go with ``transform(w)``, the parameters expressed in other coordinates.

        Gradients' running averages stay as they are; a slot that holds parameters follows them.
        """
        return slots

    @staticmethod
    def auto_learning_rate(row_norm: float, curvature: float, n_classes: int, one_hot: bool, hyper: tuple) -> float:
        """Return the rate of ``learning_rate="auto"``.

        By default that of the adaptive methods, which move each parameter by about the rate, whatever the gradient's
        size: a row's prediction then moves by about one unit in the first ten steps.

        Parameters
        ----------
        row_norm : float
            The root mean square of the rows' norms, in the optimizer's coordinates.
        curvature : float
            The loss's largest second derivative.
        n_classes : int
            For rows of mostly zeros and three or more exclusive classes the number of classes; else 1.
        one_hot : bool
            Whether the rows are mostly zeros in fewer than 1000 columns, as one-hot categories are.
        hyper : tuple
            What :meth:`hyper` returns.
        """
        return 0.1 / row_norm

    def check(self) -> None:
        resolve_schedule(self.learning_rate, f"{type(self).__name__}(learning_rate)")
        for name in self.get_params(deep=False):
            if name in _RANGES:
                self._check_real(name, *_RANGES[name])


# Ranges of the hyper-parameters, which mean the same wherever they appear.
_RANGES: dict[str, tuple[float, float | None, str]] = {
    "momentum": (0.0, 1.0, "left"),
    "momentum_decay": (0.0, None, "left"),
    "rho": (0.0, 1.0, "left"),
    "beta1": (0.0, 1.0, "left"),
    "beta2": (0.0, 1.0, "left"),
    "beta": (0.0, None, "left"),
    "l1": (0.0, None, "left"),
    "l2": (0.0, None, "left"),
    "epsilon": (0.0, None, "neither"),
    "weight_decay": (0.0, None, "left"),
    "initial_accumulator": (0.0, None, "left"),
}


class SGD(Optimizer):
    r"""Gradient descent, with momentum or Nesterov's.

    .. math:: m \leftarrow \mu m + g, \qquad w \leftarrow w - \eta m \quad\text{or, Nesterov's,}\quad
              w \leftarrow w - \eta (g + \mu m)

    Parameters
    ----------
    learning_rate : float, "auto", Schedule or callable, default="auto"
        The rate :math:`\eta`. "auto" takes the reciprocal of a bound of the objective's curvature.
    momentum : float, default=0.0
        The share :math:`\mu` of the last step kept in this one, in [0, 1); 0.9 is usual.
    nesterov : bool, default=False
        Look ahead: use the gradient at the place to which the momentum leads. Needs ``momentum > 0``.

    References
    ----------
    B. T. Polyak, "Some methods of speeding up the convergence of iteration methods", 1964.
    I. Sutskever et al., "On the importance of initialization and momentum in deep learning", ICML 2013.

    Examples
    --------
    >>> from skgd.optimizers import SGD
    >>> SGD.rule(1.0, 0.5, 0.1, 1, (0.0,), (0.0, False))[0]
    0.95
    """

    slots = ("momentum_buffer",)

    def __init__(self, learning_rate: LearningRate = "auto", momentum: float = 0.0, nesterov: bool = False):
        self.learning_rate = learning_rate
        self.momentum = momentum
        self.nesterov = nesterov

    @property
    def implicit(self) -> bool:  # type: ignore[override]
        return self.momentum == 0

    @property
    def lazy(self) -> str:  # type: ignore[override]
        return "rest" if self.linear else ""

    @property
    def linear(self) -> bool:  # type: ignore[override]
        return self.hyper()[0] == 0.0

    def hyper(self):
        return (float(self.momentum), bool(self.nesterov))

    def check(self):
        super().check()
        if self.nesterov and self.momentum == 0:
            raise ValueError(f"SGD(nesterov=True) needs momentum > 0, got momentum={self.momentum!r}.")

    @staticmethod
    def rule(w, g, lr, t, slots, hyper):
        (buffer,), (momentum, nesterov) = slots, hyper
        buffer = momentum * buffer + g
        direction = g + momentum * buffer if nesterov else buffer
        return w - lr * direction, lr / (1.0 - momentum), (buffer,)

    @staticmethod
    def auto_learning_rate(row_norm, curvature, n_classes, one_hot, hyper):
        momentum, _ = hyper
        # Of many classes, each has its turn seldom, and an implicit step cannot be too long.
        classes = math.sqrt(n_classes) if momentum == 0.0 else 1.0
        return classes * (1.0 - momentum) / (curvature * row_norm**2)


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
        return (0.5 if one_hot else 3.0) * math.sqrt(n_classes) / row_norm


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


_MOST_PRECISE = 2.0**126  # float32 can still tell it: at the far end of a schedule, 1 / rate is beyond all numbers


class FTRL(Optimizer):
    r"""Follow the proximally regularised leader: AdaGrad's rates, and zeros that stay zero under an L1 penalty.

    .. math:: n' = n + g^2, \quad z \leftarrow z + g - \frac{\sqrt{n'} - \sqrt{n}}{\eta} w, \quad
              w \leftarrow \arg\min_w z w + \frac{\beta + \sqrt{n'}}{2 \eta} w^2 + \frac{\lambda_2}{2} w^2
              + \lambda_1 |w|

    ``l1`` and ``l2`` are the paper's, which fade as rows are seen; the estimator's ``alpha`` and ``l1_ratio`` act here
    too, summed over the steps, so that the minimiser is that of every other optimizer.

    Parameters
    ----------
    learning_rate : float, "auto", Schedule or callable, default="auto"
        The rate :math:`\eta`; "auto" divides by the rows' root mean square norm.
    beta : float, default=1.0
        Shortens the first steps, at least 0.
    l1, l2 : float, default=0.0
        The paper's own penalties :math:`\lambda_1, \lambda_2`, at least 0.
    initial_accumulator : float, default=0.0
        The value with which :math:`n` starts, at least 0; Keras uses 0.1.

    References
    ----------
    H. B. McMahan et al., "Ad click prediction: a view from the trenches", KDD 2013, algorithm 1.
    H. B. McMahan, "Follow-the-regularized-leader and mirror descent", AISTATS 2011 (the summed penalty).

    Examples
    --------
    >>> from skgd import GDClassifier
    >>> model = GDClassifier(optimizer="ftrl", alpha=1e-4, l1_ratio=1.0)
    """

    slots = ("z", "sum_of_squares", "precision", "steps")
    bounded = False  # its step grows with the number of rows, for the penalty is summed
    lazy = "repeat"

    def __init__(
        self,
        learning_rate: LearningRate = "auto",
        beta: float = 1.0,
        l1: float = 0.0,
        l2: float = 0.0,
        initial_accumulator: float = 0.0,
    ):
        self.learning_rate = learning_rate
        self.beta = beta
        self.l1 = l1
        self.l2 = l2
        self.initial_accumulator = initial_accumulator

    def hyper(self):
        return (float(self.beta), float(self.l1), float(self.l2))

    def initial(self):
        return (0.0, float(self.initial_accumulator), 0.0, 0.0)

    @staticmethod
    def rule(w, g, lr, t, slots, hyper):
        (z, total, precision, steps), (beta, l1, l2) = slots, hyper
        if lr == 0.0:  # the end of a schedule: nothing moves
            return w, 0.0, slots
        total = total + g * g
        new_precision = np.fmin((beta + np.sqrt(total)) / lr, _MOST_PRECISE)
        z = z + g - (new_precision - precision) * w
        divisor = np.maximum(new_precision + l2, 1e-30)  # beta = 0 and no gradient yet
        point = -np.sign(z) * np.maximum(np.abs(z) - l1, 0.0) / divisor
        return point, (steps + 1.0) / divisor, (z, total, new_precision, steps + 1.0)

    @staticmethod
    def skip(steps, slots, hyper):
        z, total, precision, before = slots
        return z, total, precision, before + steps

    @staticmethod
    def rebase(transform, w, slots, hyper):
        z, total, precision, steps = slots
        return z + precision * (w - transform(w)), total, precision, steps

    @staticmethod
    def auto_learning_rate(row_norm, curvature, n_classes, one_hot, hyper):
        return 1.0 / row_norm


class ScheduleFree(Optimizer):
    r"""Averaging in place of a falling rate: AdamW whose gradient is taken between the iterate and its average.

    .. math:: y = (1 - \beta_1) z + \beta_1 x, \quad v \leftarrow \beta_2 v + (1 - \beta_2) g(y)^2, \quad
              z \leftarrow z - \eta \frac{g(y)}{\sqrt{v / (1 - \beta_2^t)} + \epsilon}, \quad
              x \leftarrow (1 - c) x + c z, \quad c = \frac{\eta_{\max}^2}{\sum \eta_{\max}^2}

    Trained at :math:`y`, it predicts with :math:`x`, so that it needs no schedule (but for a warm-up) and no
    ``average``. ``alpha`` enters by its gradient; ``l1_ratio > 0`` is refused, for an average of zeros is rarely zero.

    Parameters
    ----------
    learning_rate : float, "auto", Schedule or callable, default="auto"
        The rate :math:`\eta`, one to ten times that of Adam.
    beta1, beta2 : float, default=0.9 and 0.999
        The share of the average in :math:`y`, in (0, 1), and how much of the running mean square is kept, in [0, 1).
    epsilon : float, default=1e-8
        Keeps the division finite, above 0.

    References
    ----------
    A. Defazio et al., "The road less scheduled", NeurIPS 2024.

    Examples
    --------
    >>> from skgd import GDClassifier
    >>> model = GDClassifier(optimizer="schedule_free", average=False)
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


def laziness_of(optimizer: Optimizer) -> str:
    """Return ``optimizer.lazy``, but for a class that took it over and has a rule of its own, or decays."""
    return optimizer.lazy if _is_of_rule(optimizer, "lazy") and not optimizer.weight_decay else ""


def is_linear(optimizer: Optimizer) -> bool:
    """Return ``optimizer.linear``, but for a class that took it over and has a rule of its own."""
    return _is_of_rule(optimizer, "linear") and bool(optimizer.linear)


def _is_of_rule(optimizer: Optimizer, promise: str) -> bool:
    """Say whether a class promises something of the rule that it has, not of one before that."""
    family = type(optimizer).__mro__
    by_rule, by_promise = (next(i for i, kind in enumerate(family) if name in vars(kind)) for name in ("rule", promise))
    return by_promise <= by_rule


OPTIMIZERS: dict[str, type[Optimizer]] = {
    "sgd": SGD,
    "adagrad": AdaGrad,
    "rmsprop": RMSProp,
    "adadelta": AdaDelta,
    "adam": Adam,
    "adamw": AdamW,
    "adamax": AdaMax,
    "nadam": NAdam,
    "radam": RAdam,
    "adabelief": AdaBelief,
    "yogi": Yogi,
    "lion": Lion,
    "ftrl": FTRL,
    "schedule_free": ScheduleFree,
}
