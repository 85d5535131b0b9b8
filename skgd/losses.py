r"""Losses: the cost of a prediction and its derivative.

A loss is a pair of pure functions of one target ``y`` and one raw prediction ``raw`` (the linear predictor
:math:`f(x) = x \cdot w + b`):

* ``value(y, raw, hyper)``, never negative, and
* ``gradient(y, raw, hyper)``, its derivative with respect to ``raw``.

Both are elementwise functions in plain arithmetic, for scalars and whole arrays. Softmax depends on all outputs of a
sample: a loss with ``normalized = True`` receives log-probabilities (``raw`` minus the log-sum-exp of the outputs), and
is elementwise again.

Examples
--------
A custom loss only needs a value and a gradient:

>>> import numpy as np
>>> from skgd import GDRegressor
>>> from skgd.losses import Loss
>>> class LogCosh(Loss):
...     @staticmethod
...     def value(y, raw, hyper):
...         return np.logaddexp(raw - y, y - raw) - np.log(2.0)
...
...     @staticmethod
...     def gradient(y, raw, hyper):
...         return np.tanh(raw - y)
>>> X = np.arange(20.0).reshape(-1, 1)
>>> GDRegressor(loss=LogCosh()).fit(X, 2 * X.ravel() + 3).predict([[5.0]]).round(1)
array([13.])
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
from scipy.special import expit

from skgd.strategy import Strategy, plain_repr

__all__ = [
    "AbsoluteError",
    "EpsilonInsensitive",
    "Gamma",
    "Hinge",
    "Huber",
    "LogLoss",
    "Loss",
    "ModifiedHuber",
    "Perceptron",
    "Poisson",
    "Quantile",
    "SoftmaxLoss",
    "SquaredEpsilonInsensitive",
    "SquaredError",
    "SquaredHinge",
    "Tweedie",
]


class Loss(Strategy):
    """Base class of all losses; a subclass defines :meth:`value` and :meth:`gradient`.

    Attributes
    ----------
    label_values : tuple of float
        The values of ``y`` that encode the negative and the positive class of a classifier.
    normalized : bool
        Whether ``raw`` are log-probabilities (softmax) instead of independent scores.
    curvature : float
        An upper bound of the second derivative, or a typical value if there is none (kinks, exponentials). It
        determines ``learning_rate="auto"`` of plain SGD.
    degree : float
        The power of the target's scale with which the loss scales. With ``precondition=True``, the loss is divided by
        ``scale**degree``, so that learning rates do not depend on the unit of the target.
    smooth, smoothable : bool
        Whether the loss is convex with a continuous :meth:`gradient`, or convex with kinks: then ``fit`` may take
        Newton steps, on the loss or on its means over intervals.
    log_link : bool
        Whether the prediction is ``exp(raw)`` rather than ``raw``.
    standardized : bool
        Whether the loss receives the standardized target and prediction, so that its constants do not depend on the
        unit of the target.
    probability : callable or None
        Maps raw scores to the probability of the positive class, if the loss estimates one.
    """

    label_values: ClassVar[tuple[float, float]] = (-1.0, 1.0)
    normalized: ClassVar[bool] = False
    curvature: ClassVar[float] = 1.0
    degree: float = 1.0
    smooth: bool = False
    smoothable: bool = False
    log_link: ClassVar[bool] = False
    standardized: bool = False
    probability: ClassVar[Any] = None

    @staticmethod
    def value(y: Any, raw: Any, hyper: tuple) -> Any:
        """Return the cost of the prediction ``raw`` for the target ``y``, elementwise and nonnegative."""
        raise NotImplementedError

    @staticmethod
    def gradient(y: Any, raw: Any, hyper: tuple) -> Any:
        """Return the derivative of :meth:`value` with respect to ``raw``, elementwise."""
        raise NotImplementedError

    def multiclass(self) -> Loss:
        """Return the loss to use for three or more exclusive classes; by default the same one, one-vs-rest."""
        return self

    def check_target(self, y: np.ndarray) -> None:
        """Raise a ValueError where the loss is not defined for some value of ``y``."""


# ---------------------------------------------------------------------------------------------------------------------
# Regression: the prediction is raw itself
# ---------------------------------------------------------------------------------------------------------------------


class SquaredError(Loss):
    r"""Half the squared residual, :math:`\frac12 (f - y)^2`: least squares, minimized by the conditional mean.

    Examples
    --------
    >>> from skgd.losses import SquaredError
    >>> SquaredError.value(1.0, 3.0, ()), SquaredError.gradient(1.0, 3.0, ())
    (2.0, 2.0)
    """

    degree = 2.0
    smooth = True

    @staticmethod
    def value(y, raw, hyper):
        residual = raw - y
        return 0.5 * residual * residual

    @staticmethod
    def gradient(y, raw, hyper):
        return raw - y


class AbsoluteError(Loss):
    r"""The absolute residual :math:`|f - y|`, minimized by the conditional median, which is robust to outliers.

    Examples
    --------
    >>> from skgd.losses import AbsoluteError
    >>> float(AbsoluteError.value(1.0, 3.0, ())), float(AbsoluteError.gradient(1.0, 3.0, ()))
    (2.0, 1.0)
    """

    smoothable = True

    @staticmethod
    def value(y, raw, hyper):
        return np.abs(raw - y)

    @staticmethod
    def gradient(y, raw, hyper):
        return np.sign(raw - y)


class Quantile(Loss):
    r"""The pinball loss :math:`\max(q (y - f), (q - 1)(y - f))`: minimized by the conditional q-quantile.

    Parameters
    ----------
    quantile : float, default=0.5
        The quantile to predict, between 0 and 1, both excluded.

    References
    ----------
    R. Koenker and G. Bassett, "Regression quantiles", Econometrica 46, 1978.

    Examples
    --------
    >>> from skgd.losses import Quantile
    >>> loss = Quantile(quantile=0.9)
    >>> round(float(loss.value(1.0, 3.0, loss.hyper())), 3), round(float(loss.value(3.0, 1.0, loss.hyper())), 3)
    (0.2, 1.8)
    """

    smoothable = True

    def __init__(self, quantile: float = 0.5):
        self.quantile = quantile

    def hyper(self):
        return (float(self.quantile),)

    def check(self):
        self._check_real("quantile", 0.0, 1.0, ends="neither")

    @staticmethod
    def value(y, raw, hyper):
        (q,) = hyper
        return np.maximum(q * (y - raw), (q - 1.0) * (y - raw))

    @staticmethod
    def gradient(y, raw, hyper):
        (q,) = hyper
        side = np.sign(raw - y)
        return 0.5 * side + (0.5 - q) * np.abs(side)


class Huber(Loss):
    r"""Quadratic near zero, linear beyond ``epsilon``: least squares that is robust to outliers.

    .. math:: \ell(y, f) = \tfrac12 r^2 \text{ if } |r| \le \epsilon, \text{ else } \epsilon |r| - \tfrac12\epsilon^2,
              \quad r = f - y

    Parameters
    ----------
    epsilon : float or "auto", default="auto"
        The residual, in units of the target, beyond which the loss is linear; positive. "auto" is 1.35 times the scale
        of the target: its standard deviation, or in ``fit``, 1.48 times the median absolute deviation if that is less
        than a third.

    References
    ----------
    P. J. Huber, "Robust estimation of a location parameter", Annals of Statistics 35, 1964.

    Examples
    --------
    >>> from skgd.losses import Huber
    >>> loss = Huber(epsilon=1.0)
    >>> float(loss.value(0.0, 0.5, loss.hyper())), float(loss.value(0.0, 3.0, loss.hyper()))
    (0.125, 2.5)
    """

    degree = 2.0
    smoothable = True

    def __init__(self, epsilon: float | Literal["auto"] = "auto"):
        self.epsilon = epsilon

    @property
    def standardized(self) -> bool:  # type: ignore[override]
        return isinstance(self.epsilon, str)

    @property
    def smooth(self) -> bool:  # type: ignore[override]
        return self.standardized  # a small epsilon leaves hardly a sample whose loss is curved

    def hyper(self):
        return (1.35 if self.standardized else float(self.epsilon),)

    def check(self):
        if self.epsilon != "auto":
            self._check_real("epsilon", 0.0, ends="neither")

    @staticmethod
    def value(y, raw, hyper):
        (epsilon,) = hyper
        size = np.abs(raw - y)
        near = np.minimum(size, epsilon)
        return near * (size - 0.5 * near)

    @staticmethod
    def gradient(y, raw, hyper):
        (epsilon,) = hyper
        return np.minimum(np.maximum(raw - y, -epsilon), epsilon)


class EpsilonInsensitive(Loss):
    r"""Zero within a tube, linear outside, :math:`\max(0, |f - y| - \epsilon)`: linear support vector regression.

    Parameters
    ----------
    epsilon : float or "auto", default="auto"
        Half the width of the tube, in units of the target; nonnegative. "auto" is a tenth of the scale of the target,
        as for :class:`Huber`.

    References
    ----------
    V. Vapnik, "The Nature of Statistical Learning Theory", Springer, 1995.

    Examples
    --------
    >>> from skgd.losses import EpsilonInsensitive
    >>> loss = EpsilonInsensitive(epsilon=0.5)
    >>> float(loss.value(0.0, 0.25, loss.hyper())), float(loss.value(0.0, 2.0, loss.hyper()))
    (0.0, 1.5)
    """

    smoothable = True

    def __init__(self, epsilon: float | Literal["auto"] = "auto"):
        self.epsilon = epsilon

    @property
    def standardized(self) -> bool:  # type: ignore[override]
        return isinstance(self.epsilon, str)

    def hyper(self):
        return (0.1 if self.standardized else float(self.epsilon),)

    def check(self):
        if self.epsilon != "auto":
            self._check_real("epsilon", 0.0, ends="left")

    @staticmethod
    def value(y, raw, hyper):
        (epsilon,) = hyper
        return np.maximum(np.abs(raw - y) - epsilon, 0.0)

    @staticmethod
    def gradient(y, raw, hyper):
        (epsilon,) = hyper
        return np.sign(raw - y) * (np.abs(raw - y) > epsilon)


class SquaredEpsilonInsensitive(EpsilonInsensitive):
    r"""Zero within a tube, quadratic outside, :math:`\max(0, |f - y| - \epsilon)^2`.

    Parameters
    ----------
    epsilon : float or "auto", default="auto"
        Half the width of the tube, in units of the target; nonnegative. "auto" is a tenth of the scale of the target,
        as for :class:`Huber`, but always the standard deviation.

    References
    ----------
    V. Vapnik, "The Nature of Statistical Learning Theory", Springer, 1995.

    Examples
    --------
    >>> from skgd.losses import SquaredEpsilonInsensitive
    >>> loss = SquaredEpsilonInsensitive(epsilon=0.5)
    >>> float(loss.value(0.0, 2.0, loss.hyper())), float(loss.gradient(0.0, 2.0, loss.hyper()))
    (2.25, 3.0)
    """

    degree = 2.0
    smooth = True
    curvature = 2.0

    @staticmethod
    def value(y, raw, hyper):
        (epsilon,) = hyper
        excess = np.maximum(np.abs(raw - y) - epsilon, 0.0)
        return excess * excess

    @staticmethod
    def gradient(y, raw, hyper):
        (epsilon,) = hyper
        return 2.0 * np.sign(raw - y) * np.maximum(np.abs(raw - y) - epsilon, 0.0)


# ---------------------------------------------------------------------------------------------------------------------
# Regression of positive targets: the prediction is the mean exp(raw)
# ---------------------------------------------------------------------------------------------------------------------

# Beyond exp(60) the exponential goes on as its tangent: finite in float32 too, and no data set has such a mean.
_LARGEST_EXPONENT = 60.0


def _exp(x):
    """exp(x), continued by its tangent beyond exp(60)."""
    bounded = np.minimum(x, _LARGEST_EXPONENT)
    return np.exp(bounded) * (1.0 + (x - bounded))


def _exp_slope(x):
    """Return the derivative of `_exp`."""
    return np.exp(np.minimum(x, _LARGEST_EXPONENT))


def _power_integral(raw, q):
    """Return the antiderivative of exp(q * raw): exp(q * raw) / q, or raw where q is 0."""
    return _exp(q * raw) / q if q != 0.0 else raw


def _deviance_slope(y, raw, power):
    return _exp_slope((2.0 - power) * raw) - y * _exp_slope((1.0 - power) * raw)


def _bounded(raw, power):
    """Beyond power 2 both exponentials grow with -raw; to keep their balance, they end at the same place."""
    return np.maximum(raw, _LARGEST_EXPONENT / (1.0 - power)) if power > 2.0 else raw


class _Deviance(Loss):
    r"""Half the unit deviance of a distribution with mean :math:`\mu = e^f` and variance :math:`\propto \mu^p`.

    .. math:: \ell(y, f) = \frac{\mu^{2-p}}{2-p} - y \frac{\mu^{1-p}}{1-p} - \min_f(\ldots), \qquad
              \frac{\partial \ell}{\partial f} = \mu^{2-p} - y \mu^{1-p}

    with the logarithm instead of a power with exponent 0. A subclass has the power as its only hyperparameter.
    """

    log_link = True
    smooth = True

    @staticmethod
    def value(y, raw, hyper):
        (power,) = hyper
        if power == 1.0:
            smallest = y - y * np.log(np.maximum(y, 1e-37))
        elif power == 2.0:
            smallest = np.log(y) + 1.0
        else:
            smallest = y ** (2.0 - power) * (1.0 / (2.0 - power) - 1.0 / (1.0 - power))
        bounded = _bounded(raw, power)
        value = _power_integral(bounded, 2.0 - power) - y * _power_integral(bounded, 1.0 - power) - smallest
        return value + _deviance_slope(y, bounded, power) * (raw - bounded)

    @staticmethod
    def gradient(y, raw, hyper):
        (power,) = hyper
        return _deviance_slope(y, _bounded(raw, power), power)

    def check_target(self, y):
        (power,) = self.hyper()
        lowest, what = (0.0, "zero or positive") if power < 2.0 else (np.nextafter(0.0, 1.0), "positive")
        if np.min(y) < lowest:
            raise ValueError(f"y has the value {np.min(y):g}, but loss={plain_repr(self)} needs {what} targets.")


class Poisson(_Deviance):
    r"""Half the Poisson deviance, for counts: :math:`\ell = e^f - y f - y + y \log y`; ``predict`` gives the mean.

    Raises ValueError in ``fit`` for negative targets.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.metrics import mean_poisson_deviance
    >>> from skgd.losses import Poisson
    >>> loss = Poisson()
    >>> bool(np.isclose(loss.value(3.0, np.log(2.0), loss.hyper()), mean_poisson_deviance([3.0], [2.0]) / 2))
    True
    """

    def hyper(self):
        return (1.0,)


class Gamma(_Deviance):
    r"""Half the gamma deviance, for positive amounts: :math:`\ell = f + y e^{-f} - \log y - 1`.

    Raises ValueError in ``fit`` for targets that are not positive.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.metrics import mean_gamma_deviance
    >>> from skgd.losses import Gamma
    >>> loss = Gamma()
    >>> bool(np.isclose(loss.value(3.0, np.log(2.0), loss.hyper()), mean_gamma_deviance([3.0], [2.0]) / 2))
    True
    """

    degree = 0.0

    def hyper(self):
        return (2.0,)


class Tweedie(_Deviance):
    r"""Half the Tweedie deviance, with a log link, for nonnegative amounts with many zeros (insurance claims).

    Parameters
    ----------
    power : float, default=1.5
        The variance is proportional to ``mean**power``; at least 1. 1 is Poisson, 2 is gamma, 3 inverse Gaussian. Above
        2 the loss is not convex for predictions that are far too large.

    References
    ----------
    B. Jørgensen, "The Theory of Dispersion Models", Chapman & Hall, 1997.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.metrics import mean_tweedie_deviance
    >>> from skgd.losses import Tweedie
    >>> loss = Tweedie(power=1.5)
    >>> ours = loss.value(3.0, np.log(2.0), loss.hyper())
    >>> bool(np.isclose(ours, mean_tweedie_deviance([3.0], [2.0], power=1.5) / 2))
    True
    """

    def __init__(self, power: float = 1.5):
        self.power = power

    @property
    def degree(self) -> float:  # type: ignore[override]
        return 2.0 - self.power

    def hyper(self):
        return (float(self.power),)

    def check(self):
        self._check_real("power", 1.0, ends="left")


# ---------------------------------------------------------------------------------------------------------------------
# Classification: y is one of label_values, raw the score of one class
# ---------------------------------------------------------------------------------------------------------------------


class Perceptron(Loss):
    r"""Rosenblatt's perceptron, :math:`\max(0, -y f)`: only misclassified samples have a gradient.

    References
    ----------
    F. Rosenblatt, "The perceptron", Psychological Review 65, 1958.

    Examples
    --------
    >>> from skgd.losses import Perceptron
    >>> float(Perceptron.value(1.0, -2.0, ())), float(Perceptron.value(1.0, 2.0, ()))
    (2.0, 0.0)
    """

    @staticmethod
    def value(y, raw, hyper):
        return np.maximum(-y * raw, 0.0)

    @staticmethod
    def gradient(y, raw, hyper):
        return -y * (y * raw <= 0.0)


class Hinge(Loss):
    r"""The linear support vector machine's loss, :math:`\max(0, 1 - y f)`.

    References
    ----------
    C. Cortes and V. Vapnik, "Support-vector networks", Machine Learning 20, 1995.

    Examples
    --------
    >>> from skgd.losses import Hinge
    >>> float(Hinge.value(1.0, -2.0, ())), float(Hinge.value(1.0, 2.0, ()))
    (3.0, 0.0)
    """

    smoothable = True

    @staticmethod
    def value(y, raw, hyper):
        return np.maximum(1.0 - y * raw, 0.0)

    @staticmethod
    def gradient(y, raw, hyper):
        return -y * (y * raw < 1.0)


class SquaredHinge(Loss):
    r"""The squared hinge :math:`\max(0, 1 - y f)^2`, the default loss of ``LinearSVC``.

    Examples
    --------
    >>> from skgd.losses import SquaredHinge
    >>> float(SquaredHinge.value(1.0, -2.0, ())), float(SquaredHinge.gradient(1.0, -2.0, ()))
    (9.0, -6.0)
    """

    curvature = 2.0
    smooth = True

    @staticmethod
    def value(y, raw, hyper):
        shortfall = np.maximum(1.0 - y * raw, 0.0)
        return shortfall * shortfall

    @staticmethod
    def gradient(y, raw, hyper):
        return -2.0 * y * np.maximum(1.0 - y * raw, 0.0)


class ModifiedHuber(Loss):
    r"""A squared hinge that turns linear at margin -1: smooth, robust to mislabeled samples, with probabilities.

    .. math:: \ell(y, f) = \max(0, 1 - y f)^2 \text{ if } y f \ge -1, \text{ else } -4 y f

    It is minimized by :math:`2 P(y=1|x) - 1`, so that :math:`(\min(\max(f, -1), 1) + 1) / 2` estimates a probability.

    References
    ----------
    T. Zhang, "Statistical behavior and consistency of classification methods based on convex risk minimization",
    Annals of Statistics 32, 2004.

    Examples
    --------
    >>> from skgd.losses import ModifiedHuber
    >>> float(ModifiedHuber.value(1.0, 0.0, ())), float(ModifiedHuber.value(1.0, -2.0, ()))
    (1.0, 8.0)
    """

    curvature = 2.0
    smooth = True

    @staticmethod
    def value(y, raw, hyper):
        shortfall = np.maximum(1.0 - y * raw, 0.0)
        near = np.minimum(shortfall, 2.0)
        return near * (2.0 * shortfall - near)

    @staticmethod
    def gradient(y, raw, hyper):
        return -2.0 * y * np.minimum(np.maximum(1.0 - y * raw, 0.0), 2.0)

    @staticmethod
    def probability(raw):
        smallest = np.finfo(raw.dtype).eps  # never quite 0 or 1, whose logarithm would be infinite
        return np.clip((raw + 1.0) / 2.0, smallest, 1.0 - smallest)


class LogLoss(Loss):
    r"""Logistic regression: :math:`\log(1 + e^f) - y f` with y in {0, 1}, the negative log-likelihood.

    For two classes, and for each label of a multilabel target, it is the binary logistic loss; for three or more
    exclusive classes, classifiers use its multinomial form, :class:`SoftmaxLoss`.

    References
    ----------
    D. R. Cox, "The regression analysis of binary sequences", JRSS B 20, 1958.

    Examples
    --------
    >>> from skgd.losses import LogLoss
    >>> round(float(LogLoss.value(1.0, 0.0, ())), 4), float(LogLoss.gradient(1.0, 0.0, ()))
    (0.6931, -0.5)
    """

    label_values = (0.0, 1.0)
    smooth = True
    curvature = 0.25
    probability = staticmethod(expit)

    @staticmethod
    def value(y, raw, hyper):
        return np.maximum(raw, 0.0) - y * raw + np.log1p(np.exp(-np.abs(raw)))

    @staticmethod
    def gradient(y, raw, hyper):
        small = np.exp(-np.abs(raw))
        return (small + (raw > 0.0) * (1.0 - small)) / (1.0 + small) - y

    def multiclass(self):
        return SoftmaxLoss()


class SoftmaxLoss(Loss):
    r"""Multinomial logistic regression: :math:`-\log p_y` with :math:`p_k = e^{f_k} / \sum_j e^{f_j}`.

    For log-probabilities and a one-hot target, value and gradient are elementwise: :math:`-y_k \log p_k` (summed over
    the classes) and :math:`p_k - y_k`.

    References
    ----------
    C. M. Bishop, "Pattern Recognition and Machine Learning", Springer, 2006, section 4.3.4.

    Examples
    --------
    >>> import numpy as np
    >>> from skgd.losses import SoftmaxLoss
    >>> SoftmaxLoss.gradient(np.array([0.0, 1.0]), np.log([0.25, 0.75]), ())
    array([ 0.25, -0.25])
    """

    label_values = (0.0, 1.0)
    smooth = True
    normalized = True
    curvature = 0.5

    @staticmethod
    def value(y, raw, hyper):
        return -y * raw

    @staticmethod
    def gradient(y, raw, hyper):
        return np.exp(raw) - y


CLASSIFIER_LOSSES: dict[str, type[Loss]] = {
    "log_loss": LogLoss,
    "hinge": Hinge,
    "squared_hinge": SquaredHinge,
    "modified_huber": ModifiedHuber,
    "perceptron": Perceptron,
}
REGRESSOR_LOSSES: dict[str, type[Loss]] = {
    "squared_error": SquaredError,
    "huber": Huber,
    "absolute_error": AbsoluteError,
    "epsilon_insensitive": EpsilonInsensitive,
    "squared_epsilon_insensitive": SquaredEpsilonInsensitive,
    "quantile": Quantile,
    "poisson": Poisson,
    "gamma": Gamma,
    "tweedie": Tweedie,
}
