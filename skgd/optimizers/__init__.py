r"""Optimizers: update rules for ``GDClassifier(optimizer=...)``, and methods of `scipy.optimize.minimize`.

Pass a name, ``optimizer="adam"``, or an object, ``optimizer=Adam(learning_rate=0.01)``. :doc:`/guide/adaptive` explains
which one to use. The classes are in order of complexity.

An optimizer is one pure elementwise function, for single parameters and whole arrays:

    ``rule(w, g, lr, t, slots, hyper) -> point, step, slots``

``w`` are the parameters, ``g`` the gradient, ``lr`` the learning rate of this step, ``t = 1, 2, ...`` its number,
``slots`` the state of the optimizer (one value per parameter for each name in ``Optimizer.slots``; stored in the
estimator, not in the optimizer), and ``hyper`` the numbers from :meth:`Optimizer.hyper`.

``point`` are the new parameters without a penalty. ``step`` is the learning rate of each parameter in the long run: the
change of ``w`` per unit of a constant gradient. It is the step size of the penalty's proximal step, which makes
coefficients exactly zero under an L1 penalty:

.. math:: w_{t+1} = \arg\min_w \; \tfrac{1}{2\,\mathrm{step}} (w - \mathrm{point})^2 + \mathrm{penalty}(w)

Examples
--------
A custom optimizer only needs a rule:

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

# In order of complexity, which is also the order of the API reference.
# isort: off
from skgd.optimizers.base import Optimizer
from skgd.optimizers.gradient_descent import SGD
from skgd.optimizers.adaptive import AdaGrad, RMSProp, AdaDelta
from skgd.optimizers.adam import Adam, AdamW, AdaMax, NAdam, RAdam, AdaBelief, Yogi
from skgd.optimizers.adopt import ADOPT
from skgd.optimizers.adan import Adan
from skgd.optimizers.ademamix import AdEMAMix
from skgd.optimizers.lion import Lion
from skgd.optimizers.ftrl import FTRL
from skgd.optimizers.schedule_free import ScheduleFree

# For the rest of skgd, not public.
from skgd.optimizers.base import (
    LearningRate as LearningRate,
    idle_slots as idle_slots,
    is_adaptive as is_adaptive,
    is_linear as is_linear,
    laziness_of as laziness_of,
)
# isort: on

__all__ = [
    "ADOPT",
    "FTRL",
    "SGD",
    "AdEMAMix",
    "AdaBelief",
    "AdaDelta",
    "AdaGrad",
    "AdaMax",
    "Adam",
    "AdamW",
    "Adan",
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
    "adopt": ADOPT,
    "adan": Adan,
    "ademamix": AdEMAMix,
    "lion": Lion,
    "ftrl": FTRL,
    "schedule_free": ScheduleFree,
}
