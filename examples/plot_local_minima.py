r"""
Local minima and saddle points
==============================

The losses that come with skgd are convex: a linear model with one of them has no valley but the deepest. A loss of
one's own need not be, and deep networks never are. Then the start decides where the walk ends, and it may rest for a
long time where the ground is flat without being low: on a saddle.
"""

import matplotlib.pyplot as plt
import numpy as np

from skgd import GDRegressor
from skgd.losses import Loss
from skgd.optimizers import SGD, Adam

# %%
# The Welsch loss ignores outliers altogether, for it is flat far from zero. Where a third of the rows follow another
# line, this line has a valley of its own.


class Welsch(Loss):
    """One minus a bell curve of the residual: large residuals all cost the same."""

    @staticmethod
    def value(y, raw, hyper):
        return 1 - np.exp(-0.5 * (raw - y) ** 2)

    @staticmethod
    def gradient(y, raw, hyper):
        return (raw - y) * np.exp(-0.5 * (raw - y) ** 2)


rng = np.random.default_rng(0)
x = rng.uniform(1, 3, size=(150, 1))
y = np.where(np.arange(150) < 100, 2, -2) * x.ravel() + rng.normal(0, 0.5, size=150)
grid = np.linspace(-4, 4, 300)
cost = Welsch.value(y, np.multiply.outer(grid, x.ravel()), ()).mean(axis=1)

ends = {}
for start in (-3.0, -0.8, 0.8, 3.0):
    model = GDRegressor(loss=Welsch(), optimizer=SGD(0.1), batch_size=None, fit_intercept=False, precondition=False)
    model.partial_fit(x, y).coef_ = np.array([start])
    for _ in range(200):
        model.partial_fit(x, y)
    ends[start] = model.coef_[0]
    print(f"from {start:4.1f} to {ends[start]:5.2f}")

# %%
# A saddle falls in one direction and rises in the other, :math:`h(u, v) = u^2 - v^2 + v^4 / 2`. An optimizer is a
# function of a point and a gradient, so that its rule can walk on any surface, without an estimator. All start on the
# ridge, but for a hair's breadth. Adam divides by the size of the gradient, and so a tiny one does not delay it.


def height(u, v):
    """Return the height of the saddle."""
    return u**2 - v**2 + v**4 / 2


walks = {}
for name, optimizer in {"SGD": SGD(), "momentum": SGD(momentum=0.9), "Adam": Adam()}.items():
    w, slots, walk = np.array([1.0, 1e-6]), tuple(np.zeros(2) for _ in optimizer.slots), []
    for t in range(1, 151):
        walk.append(w)
        gradient = np.array([2 * w[0], -2 * w[1] + 2 * w[1] ** 3])
        w, _, slots = optimizer.rule(w, gradient, 0.05, t, slots, optimizer.hyper())
    walks[name] = np.array(walk)
    left = np.flatnonzero(np.abs(walks[name][:, 1]) > 0.5)[0]
    print(f"{name} leaves the saddle after {left} steps")

# %%
# The pictures.

figure, (first, second) = plt.subplots(2, 1, figsize=(6, 6), layout="constrained")
first.plot(grid, cost, color="black", linewidth=1)
for start, end in ends.items():
    ys = np.interp([start, end], grid, cost)
    first.annotate(
        "", (end, ys[1]), (start, ys[0]), arrowprops={"arrowstyle": "->", "color": "#D55E00", "linewidth": 1.5}
    )
    first.plot(start, ys[0], color="#0072B2", marker="s", linestyle="none")
first.set(title="two valleys: the start decides", xlabel="slope (y per x)", ylabel="mean Welsch loss")
for (name, walk), color, line in zip(walks.items(), ("#0072B2", "#D55E00", "#009E73"), ("-", "--", "-."), strict=True):
    second.plot(height(*walk.T), color=color, linestyle=line, label=name)
second.set(title="a saddle at height 0", xlabel="steps", ylabel="height h")
second.legend()
plt.show()
