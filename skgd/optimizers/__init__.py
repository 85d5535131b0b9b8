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

# By growing complexity, as in the API reference, which takes its order from here.
# isort: off
from skgd.optimizers.base import Optimizer
from skgd.optimizers.gradient_descent import SGD
from skgd.optimizers.adaptive import AdaGrad, RMSProp, AdaDelta
from skgd.optimizers.adam import Adam, AdamW, AdaMax, NAdam, RAdam, AdaBelief, Yogi
from skgd.optimizers.lion import Lion
from skgd.optimizers.ftrl import FTRL
from skgd.optimizers.schedule_free import ScheduleFree

# For the rest of skgd, not public.
from skgd.optimizers.base import LearningRate as LearningRate, is_linear as is_linear, laziness_of as laziness_of
# isort: on

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
