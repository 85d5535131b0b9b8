r"""
Momentum
========

If features are correlated, the objective has directions of high and of low curvature. The learning rate is limited by
the high curvature, so that steps in the flat directions are too short. Momentum accumulates gradients: they add up in
the flat directions, and cancel in the steep ones:

.. math:: m \leftarrow \mu m + g, \qquad w \leftarrow w - \eta m

Nesterov momentum evaluates the gradient at the point to which the momentum is about to lead, which damps oscillations.
"""

import matplotlib.pyplot as plt
import numpy as np

from skgd import GDRegressor
from skgd.optimizers import SGD

# %%
# Two features with a correlation of 0.99, and the resulting objective.

rng = np.random.default_rng(0)
X = rng.multivariate_normal([0, 0], [[1, 0.99], [0.99, 1]], size=300)
y = X @ [2.0, -0.5] + rng.normal(0, 0.3, size=300)
hessian = X.T @ X / len(y)
best = np.linalg.solve(hessian, X.T @ y / len(y))
curvatures = np.linalg.eigvalsh(hessian)
print(f"The condition number is {curvatures[1] / curvatures[0]:.0f}.")


def gap(w):
    """Return how far J(w) lies above its minimum."""
    return 0.5 * np.einsum("...i,ij,...j", w - best, hessian, w - best)


# %%
# Three runs with the same learning rate, one over the largest curvature. One call of ``partial_fit`` is one step.

rate = 1 / curvatures[1]
optimizers = {
    "plain": SGD(rate),
    "momentum 0.8": SGD(rate, momentum=0.8),
    "Nesterov 0.8": SGD(rate, momentum=0.8, nesterov=True),
}
paths = {}
for name, optimizer in optimizers.items():
    model = GDRegressor(
        optimizer=optimizer,
        batch_size=None,
        fit_intercept=False,
        precondition=False,
    )
    path = [np.zeros(2)]
    for _ in range(120):
        path.append(model.partial_fit(X, y).coef_)
    paths[name] = np.array(path)
    print(
        f"{name:14s}cost above the minimum after 120 steps: "
        f"{gap(path[-1]):.1e}"
    )

# %%
# The plots: the first 40 steps, and the cost over all 120 steps.

colors = dict(zip(paths, ("#0072B2", "#D55E00", "#009E73"), strict=True))
figure, (left, right) = plt.subplots(
    1, 2, figsize=(6.4, 3.4), layout="constrained"
)
first, second = np.meshgrid(
    np.linspace(-0.2, 2.4, 100), np.linspace(-0.9, 1.6, 100)
)
levels = np.geomspace(0.001, 2, 9)
left.contour(
    first,
    second,
    gap(np.stack([first, second], axis=-1)),
    levels=levels,
    colors="0.75",
    linewidths=0.8,
)
for name, path in paths.items():
    left.plot(
        *path[:41].T,
        color=colors[name],
        marker=".",
        markersize=9 if name == "plain" else 5,
        linewidth=1,
    )
    right.semilogy(gap(path), color=colors[name], label=name)
left.plot(*best, color="black", marker="*", markersize=12)
left.set(
    title="first 40 steps", xlabel="coefficient 1", ylabel="coefficient 2"
)
right.set(
    title="cost against steps",
    xlabel="steps",
    ylabel="cost above the minimum (y²)",
)
right.legend()
plt.show()
