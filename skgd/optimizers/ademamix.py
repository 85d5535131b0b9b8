"""AdEMAMix: a mixture of two momentums, of recent and of old gradients."""

from __future__ import annotations

import math

import numpy as np

from skgd.optimizers.base import LearningRate, Optimizer
from skgd.strategy import plain_repr


class AdEMAMix(Optimizer):
    r"""Adam with a second, slow moving average of the gradients.

    Use it as ``GDClassifier(optimizer="ademamix")`` or ``GDClassifier(optimizer=AdEMAMix(learning_rate=0.001))``. The
    slow average remembers gradients of thousands of steps. It suits long training; with few steps it has hardly begun,
    and the steps are nearly those of :class:`Adam`.

    .. math:: m_1 \leftarrow \beta_1 m_1 + (1 - \beta_1) g, \quad m_2 \leftarrow \beta_3 m_2 + (1 - \beta_3) g, \quad
              v \leftarrow \beta_2 v + (1 - \beta_2) g^2, \quad
              w \leftarrow w - \eta \frac{m_1 / (1 - \beta_1^t) + \alpha m_2}{\sqrt{v / (1 - \beta_2^t)} + \epsilon}

    In the first :math:`T` steps, :math:`\alpha` and the memory of :math:`m_2` grow linearly:

    .. math:: \alpha_t = \tfrac{t}{T} \alpha, \qquad
              \frac{1}{\ln \beta_{3,t}} = \frac{1 - t/T}{\ln \beta_1} + \frac{t/T}{\ln \beta_3}, \qquad t < T

    Parameters
    ----------
    learning_rate : float, "auto", Schedule or callable, default="auto"
        The learning rate :math:`\eta`. "auto" is 0.1 / root mean square norm of the samples (divided by the number of
        hidden layers).
    beta1, beta2 : float, default=0.9 and 0.999
        The decays of the fast moving mean and of the mean square, in [0, 1).
    beta3 : float, default=0.9999
        The decay of the slow moving mean, in [0, 1): it forgets half of a gradient in 6931 steps.
    alpha : float, default=5.0
        The weight :math:`\alpha` of the slow moving mean, nonnegative.
    epsilon : float, default=1e-8
        A small positive number that avoids division by zero.
    weight_decay : float, default=0.0
        Decoupled weight decay, as in :class:`AdamW`; nonnegative.
    warmup_steps : int, default=0
        The number of steps :math:`T` in which ``alpha`` grows from 0, and the decay of the slow mean from ``beta1``.
        The paper uses the number of all steps. Needs ``beta1 > 0`` and ``beta3 > 0``.

    See Also
    --------
    Adam : With the fast moving mean only.

    References
    ----------
    M. Pagliardini, P. Ablin and D. Grangier, "The AdEMAMix optimizer: Better, faster, older", ICLR 2025.

    Examples
    --------
    >>> from skgd import GDClassifier
    >>> from skgd.optimizers import AdEMAMix
    >>> model = GDClassifier(hidden_layer_sizes=(64,), optimizer=AdEMAMix(beta3=0.999, warmup_steps=1000))

    One step from w = 1 with the gradient 0.5:

    >>> hyper = AdEMAMix(beta3=0.9, alpha=2.0, epsilon=1e-12).hyper()
    >>> point, step, slots = AdEMAMix.rule(1.0, 0.5, 0.1, 1, (0.0, 0.0, 0.0), hyper)
    >>> round(float(point), 9)
    0.88
    """

    slots = ("mean", "slow_mean", "square_average")

    def __init__(
        self,
        learning_rate: LearningRate = "auto",
        beta1: float = 0.9,
        beta2: float = 0.999,
        beta3: float = 0.9999,
        alpha: float = 5.0,
        epsilon: float = 1e-8,
        weight_decay: float = 0.0,
        warmup_steps: int = 0,
    ):
        self.learning_rate = learning_rate
        self.beta1 = beta1
        self.beta2 = beta2
        self.beta3 = beta3
        self.alpha = alpha
        self.epsilon = epsilon
        self.weight_decay = weight_decay
        self.warmup_steps = warmup_steps

    def hyper(self):
        decays = float(self.beta1), float(self.beta2), float(self.beta3)
        return (*decays, float(self.alpha), float(self.epsilon), float(self.warmup_steps))

    def check(self):
        super().check()
        self._check_steps("warmup_steps", low=0)
        if self.warmup_steps and not (self.beta1 and self.beta3):
            raise ValueError(
                f"AdEMAMix(warmup_steps={plain_repr(self.warmup_steps)}) needs beta1 > 0 and beta3 > 0, got "
                f"beta1={plain_repr(self.beta1)} and beta3={plain_repr(self.beta3)}."
            )

    @staticmethod
    def rule(w, g, lr, t, slots, hyper):
        (mean, slow, square), (beta1, beta2, beta3, alpha, epsilon, warmup_steps) = slots, hyper
        if t < warmup_steps:
            share = t / warmup_steps
            alpha = share * alpha
            beta3 = min(beta3, math.exp(1.0 / ((1.0 - share) / math.log(beta1) + share / math.log(beta3))))
        mean = beta1 * mean + (1.0 - beta1) * g
        slow = beta3 * slow + (1.0 - beta3) * g
        square = beta2 * square + (1.0 - beta2) * g * g
        step = lr / (np.sqrt(square / (1.0 - beta2**t)) + epsilon)
        # The slow mean has a share of 1 - beta3**t of a constant gradient, for it is not corrected for its start at 0.
        of_constant = 1.0 + alpha * (1.0 - beta3**t)
        return w - step * (mean / (1.0 - beta1**t) + alpha * slow), of_constant * step, (mean, slow, square)
