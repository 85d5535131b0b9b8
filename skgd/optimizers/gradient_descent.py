"""SGD: one learning rate for all parameters, with or without momentum."""

from __future__ import annotations

from skgd.optimizers.base import LearningRate, Optimizer
from skgd.strategy import plain_repr


class SGD(Optimizer):
    r"""Stochastic gradient descent, with momentum or Nesterov momentum.

    Use it as ``GDClassifier(optimizer="sgd")`` or ``GDClassifier(optimizer=SGD(momentum=0.9, nesterov=True))``. Plain
    SGD suits text with many sparse features, where ``optimizer="auto"`` uses it for classifiers, and teaching. Momentum
    suits full batches of correlated features. With the defaults and without momentum, steps are implicit and cannot
    overshoot.

    .. math:: m \leftarrow \mu m + g, \qquad w \leftarrow w - \eta m \quad\text{or, with Nesterov momentum,}\quad
              w \leftarrow w - \eta (g + \mu m)

    Parameters
    ----------
    learning_rate : float, "auto", Schedule or callable, default="auto"
        The learning rate :math:`\eta`. "auto" is the reciprocal of a bound of the objective's curvature, times
        :math:`1 - \mu`.
    momentum : float, default=0.0
        The momentum :math:`\mu`, in [0, 1); 0.9 is common.
    nesterov : bool, default=False
        Whether to use Nesterov momentum. Needs ``momentum > 0``.

    See Also
    --------
    AdaGrad : One learning rate per parameter; the default for linear models.
    Adam : Momentum and one learning rate per parameter; the default with hidden layers.

    References
    ----------
    B. T. Polyak, "Some methods of speeding up the convergence of iteration methods", 1964.
    I. Sutskever et al., "On the importance of initialization and momentum in deep learning", ICML 2013.

    Examples
    --------
    >>> from skgd import GDClassifier
    >>> from skgd.optimizers import SGD
    >>> model = GDClassifier(optimizer=SGD(learning_rate=0.1, momentum=0.9))

    One step from w = 1 with the gradient 0.5:

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
        return "rest" if self.linear else "drift"

    @property
    def linear(self) -> bool:  # type: ignore[override]
        return self.hyper()[0] == 0.0

    def hyper(self):
        return (float(self.momentum), bool(self.nesterov))

    def check(self):
        super().check()
        if self.nesterov and self.momentum == 0:
            raise ValueError(f"SGD(nesterov=True) needs momentum > 0, got momentum={plain_repr(self.momentum)}.")

    @staticmethod
    def rule(w, g, lr, t, slots, hyper):
        (buffer,), (momentum, nesterov) = slots, hyper
        buffer = momentum * buffer + g
        direction = g + momentum * buffer if nesterov else buffer
        return w - lr * direction, lr / (1.0 - momentum), (buffer,)

    @staticmethod
    def skip(steps, slots, hyper):
        return (hyper[0] ** steps * slots[0],)

    @staticmethod
    def drift(steps, t, hyper):
        return hyper[0] ** steps, 1.0

    @staticmethod
    def momentum_and_size(slots, hyper):
        momentum, nesterov = hyper
        return (momentum * slots[0] if nesterov else slots[0]), 1.0, 0.0

    @staticmethod
    def auto_learning_rate(row_norm, curvature, n_classes, one_hot, hyper):
        momentum, _ = hyper
        # Of many classes, each has its turn seldom, and an implicit step cannot be too long.
        classes = n_classes if momentum == 0.0 else 1.0
        return classes * (1.0 - momentum) / (curvature * row_norm * row_norm)
