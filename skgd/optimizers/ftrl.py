"""Follow the regularized leader: each iterate minimizes the sum of all gradients and penalties so far."""

from __future__ import annotations

import numpy as np

from skgd.optimizers.base import LearningRate, Optimizer

_MOST_PRECISE = 2.0**126  # float32 can still tell it: at the far end of a schedule, 1 / rate is beyond all numbers


class FTRL(Optimizer):
    r"""Follow the regularized leader: AdaGrad's learning rates, with exact zeros under an L1 penalty.

    Use it as ``GDClassifier(optimizer="ftrl", alpha=1e-5, l1_ratio=1.0)`` or with an object, ``FTRL(beta=0.1)``. It
    suits streams of sparse features with an L1 penalty: coefficients become and stay exactly zero. ``l1`` and ``l2``
    are the penalties of the paper, whose effect decreases with the number of samples; the estimator's ``alpha`` and
    ``l1_ratio`` are summed over the steps, so that the minimum is the same as with every other optimizer.

    .. math:: n' = n + g^2, \quad z \leftarrow z + g - \frac{\sqrt{n'} - \sqrt{n}}{\eta} w, \quad
              w \leftarrow \arg\min_w z w + \frac{\beta + \sqrt{n'}}{2 \eta} w^2 + \frac{\lambda_2}{2} w^2
              + \lambda_1 |w|

    Parameters
    ----------
    learning_rate : float, "auto", Schedule or callable, default="auto"
        The learning rate :math:`\eta`. "auto" is 1 / root mean square norm of the samples.
    beta : float, default=1.0
        Shortens the first steps; nonnegative.
    l1, l2 : float, default=0.0
        The penalties of the paper, :math:`\lambda_1` and :math:`\lambda_2`; nonnegative.
    initial_accumulator : float, default=0.0
        The initial value of :math:`n`, nonnegative; Keras uses 0.1.

    See Also
    --------
    AdaGrad : The same learning rates; exact zeros by proximal steps.

    References
    ----------
    H. B. McMahan et al., "Ad click prediction: a view from the trenches", KDD 2013, algorithm 1.
    H. B. McMahan, "Follow-the-regularized-leader and mirror descent", AISTATS 2011 (the summed penalty).

    Examples
    --------
    >>> from skgd import GDClassifier
    >>> from skgd.optimizers import FTRL
    >>> model = GDClassifier(optimizer=FTRL(beta=0.1), alpha=1e-4, l1_ratio=1.0)
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
    def detached(w, slots, hyper):
        z, total, precision, steps = slots
        return z + precision * w, total, precision, steps

    @staticmethod
    def attached(w, detached, hyper):
        sum_of_subgradients, total, precision, steps = detached
        return sum_of_subgradients - precision * w, total, precision, steps

    @staticmethod
    def rebase(transform, w, slots, hyper):
        return FTRL.attached(transform(w), FTRL.detached(w, slots, hyper), hyper)

    @staticmethod
    def rescaled(ratio, slots, hyper):
        (z, total, precision, steps), (beta, l1, l2) = slots, hyper
        root = np.sqrt(total)
        new_precision = precision * ((beta + ratio * root) / np.maximum(beta + root, 1e-30))
        beyond = np.maximum(np.abs(z) - l1, 0.0) * ((new_precision + l2) / np.maximum(precision + l2, 1e-30))
        z = np.where(beyond > 0.0, np.sign(z) * (l1 + beyond), z)  # of the same coefficient
        return z, ratio * ratio * total, new_precision, steps

    @staticmethod
    def auto_learning_rate(row_norm, curvature, n_classes, one_hot, hyper):
        return 1.0 / row_norm
