r"""
Local minima and saddle points
==============================

The built-in losses are convex: with a linear model, every local minimum is a global one. Custom losses may not be
convex, and the objective of a network never is. Then the result depends on the initialization, and training may slow
down near saddle points, where the gradient is small.
"""

import matplotlib.pyplot as plt
import numpy as np

from skgd import GDRegressor
from skgd.losses import Loss
from skgd.optimizers import SGD, Adam

# %%
# The Welsch loss is robust to outliers, because it is flat for large residuals. If a third of the samples follow
# another line, the objective has a local minimum for this line.


class Welsch(Loss):
    """Bounded loss: one minus a Gaussian function of the residual."""

    @staticmethod
    def value(y, raw, hyper):
        return 1 - np.exp(-0.5 * (raw - y) ** 2)

    @staticmethod
    def gradient(y, raw, hyper):
        return (raw - y) * np.exp(-0.5 * (raw - y) ** 2)


rng = np.random.default_rng(0)
x = rng.uniform(1, 3, size=(150, 1))
y = np.where(np.arange(150) < 100, 2, -2) * x.ravel() + rng.normal(
    0, 0.5, size=150
)
grid = np.linspace(-4, 4, 300)
cost = Welsch.value(y, np.multiply.outer(grid, x.ravel()), ()).mean(axis=1)

ends = {}
for start in (-3.0, -0.8, 0.8, 3.0):
    model = GDRegressor(
        loss=Welsch(),
        optimizer=SGD(0.1),
        batch_size=None,
        fit_intercept=False,
        precondition=False,
    )
    model.partial_fit(x, y).coef_ = np.array([start])
    for _ in range(200):
        model.partial_fit(x, y)
    ends[start] = model.coef_[0]
    print(f"from {start:4.1f} to {ends[start]:5.2f}")

# %%
# A saddle point is a minimum in one direction and a maximum in another, :math:`h(u, v) = u^2 - v^2 + v^4 / 2`. The rule
# of an optimizer is a function of parameters and gradient, so that it can be applied to any function, without an
# estimator. All runs start close to the direction in which the gradient leads to the saddle point. Adam divides by the
# size of the gradient, so that a small gradient does not slow it down.


def height(u, v):
    """Return the value of the function."""
    return u**2 - v**2 + v**4 / 2


paths = {}
for name, optimizer in {
    "SGD": SGD(),
    "momentum": SGD(momentum=0.9),
    "Adam": Adam(),
}.items():
    w, slots, path = (
        np.array([1.0, 1e-6]),
        tuple(np.zeros(2) for _ in optimizer.slots),
        [],
    )
    for t in range(1, 151):
        path.append(w)
        gradient = np.array([2 * w[0], -2 * w[1] + 2 * w[1] ** 3])
        w, _, slots = optimizer.rule(
            w, gradient, 0.05, t, slots, optimizer.hyper()
        )
    paths[name] = np.array(path)
    left = np.flatnonzero(np.abs(paths[name][:, 1]) > 0.5)[0]
    print(f"{name} leaves the saddle point after {left} steps")

# %%
# The plots.

figure, (first, second) = plt.subplots(
    2, 1, figsize=(6, 6), layout="constrained"
)
first.plot(grid, cost, color="black", linewidth=1)
for start, end in ends.items():
    ys = np.interp([start, end], grid, cost)
    first.annotate(
        "",
        (end, ys[1]),
        (start, ys[0]),
        arrowprops={"arrowstyle": "->", "color": "#D55E00", "linewidth": 1.5},
    )
    first.plot(start, ys[0], color="#0072B2", marker="s", linestyle="none")
first.set(
    title="two local minima: the result depends on the start",
    xlabel="slope (y per x)",
    ylabel="mean Welsch loss",
)
for (name, path), color, line in zip(
    paths.items(),
    ("#0072B2", "#D55E00", "#009E73"),
    ("-", "--", "-."),
    strict=True,
):
    second.plot(height(*path.T), color=color, linestyle=line, label=name)
second.set(
    title="a saddle point with the value 0", xlabel="steps", ylabel="h"
)
second.legend()
plt.show()
