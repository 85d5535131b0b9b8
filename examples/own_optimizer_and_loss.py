"""
Custom optimizers and losses
============================

An optimizer is an update rule, and a loss is a value and its gradient: small functions of numbers that also work on
arrays. As classes of a few lines they support everything that the built-in ones support: ``fit``, ``partial_fit``,
sample weights, sparse data, several outputs, grid searches over their parameters.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.model_selection import GridSearchCV

from skgd import GDRegressor
from skgd.losses import Loss
from skgd.optimizers import Optimizer

# %%
# The optimizer: Signum (Bernstein et al., ICML 2018), which follows the sign of the gradient's moving average. Its
# state is named in ``slots``, and stored in the estimator. The rule returns the new parameters, the learning rate of
# each, and the new slots. The step size does not depend on the size of the gradient, so that there is no proximal step:
# ``proximal = False`` adds the gradient of the penalty instead.


class Signum(Optimizer):
    """Steps of constant size: the sign of the gradient's moving average."""

    slots = ("mean",)
    proximal = False

    def __init__(self, learning_rate="auto", momentum=0.9):
        self.learning_rate = learning_rate
        self.momentum = momentum

    def hyper(self):
        return (self.momentum,)

    @staticmethod
    def rule(w, g, lr, t, slots, hyper):
        (mean,), (momentum,) = slots, hyper
        mean = momentum * mean + (1 - momentum) * g
        return w - lr * np.sign(mean), lr, (mean,)


# %%
# The loss: the asymmetric squared error, which is minimized by the expectile (Newey and Powell, 1987). Positive
# residuals have the weight ``level``, negative ones ``1 - level``. ``degree`` says that the loss scales with the square
# of the target, which ``precondition=True`` needs; ``curvature`` is a bound of its second derivative.


class Expectile(Loss):
    """The asymmetric squared error."""

    degree = 2.0
    curvature = 2.0

    def __init__(self, level=0.5):
        self.level = level

    def hyper(self):
        return (self.level,)

    @staticmethod
    def value(y, raw, hyper):
        (level,) = hyper
        return (level + (raw > y) * (1 - 2 * level)) * (raw - y) ** 2

    @staticmethod
    def gradient(y, raw, hyper):
        (level,) = hyper
        return 2 * (level + (raw > y) * (1 - 2 * level)) * (raw - y)


figure, axes = plt.subplots(figsize=(6.4, 4), layout="constrained")
residual = np.linspace(-2, 2, 201)
styles = {0.1: "#D55E00", 0.5: "#000000", 0.9: "#0072B2"}
for level, color in styles.items():
    values = Expectile.value(residual, 0.0, (level,))
    axes.plot(residual, values, color=color, label=f"level={level}")
axes.set(xlabel="residual: target - prediction", ylabel="loss")
axes.grid(alpha=0.3)
axes.legend()
plt.show()

# %%
# Both in ``fit``, with a decaying learning rate, because steps of constant size would not converge. At the minimum, the
# weighted positive and negative residuals are equal: with a level of 0.9, positive ones have nine times the weight.

X, y = load_diabetes(return_X_y=True, scaled=False)
settings = {
    "optimizer": Signum(),
    "learning_rate": "inverse_scaling",
    "random_state": 0,
}
model = GDRegressor(loss=Expectile(level=0.9), **settings).fit(X, y)
residual = y - model.predict(X)
above, below = (
    0.9 * np.maximum(residual, 0).mean(),
    0.1 * np.maximum(-residual, 0).mean(),
)
print(
    f"fit:         weighted residuals {above:.2f} above and {below:.2f} "
    f"below, after {model.n_iter_} epochs"
)

# %%
# In ``partial_fit``, batch by batch; the moving average of the gradient continues from call to call.

stream = GDRegressor(loss=Expectile(level=0.9), **settings)
for epoch in range(20):
    for rows in np.array_split(
        np.random.default_rng(epoch).permutation(len(y)), 10
    ):
        stream.partial_fit(X[rows], y[rows])
difference = np.abs(stream.predict(X) - model.predict(X)).mean()
print(
    f"partial_fit: mean difference from fit {difference:.1f}, "
    f"targets up to {y.max():.0f}; {stream.t_} steps"
)

# %%
# A grid search over the parameters of both. R² is highest for the mean, which is the expectile of level 0.5.

search = GridSearchCV(
    GDRegressor(loss=Expectile(), **settings),
    {"loss__level": [0.1, 0.5, 0.9], "optimizer__momentum": [0.5, 0.9]},
).fit(X, y)
print(f"grid search: best {search.best_params_}, R² {search.best_score_:.2f}")
