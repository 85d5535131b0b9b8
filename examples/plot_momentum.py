r"""
Momentum in a narrow valley
===========================

Where columns are correlated, the valley is long and narrow. The rate has to suit its steep walls, so that along its
floor the steps are tiny. Momentum adds up what successive gradients agree on, and cancels what they don't:

.. math:: m \leftarrow \mu m + g, \qquad w \leftarrow w - \eta m

Nesterov's variant takes the gradient where the momentum is about to lead, which brakes in time.
"""

import matplotlib.pyplot as plt
import numpy as np

from skgd import GDRegressor
from skgd.optimizers import SGD

# %%
# Two columns with a correlation of 0.99, and the objective that they give.

rng = np.random.default_rng(0)
X = rng.multivariate_normal([0, 0], [[1, 0.99], [0.99, 1]], size=300)
y = X @ [2.0, -0.5] + rng.normal(0, 0.3, size=300)
hessian = X.T @ X / len(y)
best = np.linalg.solve(hessian, X.T @ y / len(y))
curvatures = np.linalg.eigvalsh(hessian)
print(f"The valley is {curvatures[1] / curvatures[0]:.0f} times as steep across as along.")


def gap(w):
    """Return how far J(w) lies above its minimum."""
    return 0.5 * np.einsum("...i,ij,...j", w - best, hessian, w - best)


# %%
# Three walks at the same rate, one over the largest curvature. One call of ``partial_fit`` is one step.

rate = 1 / curvatures[1]
optimizers = {
    "plain": SGD(rate),
    "momentum 0.8": SGD(rate, momentum=0.8),
    "Nesterov 0.8": SGD(rate, momentum=0.8, nesterov=True),
}
paths = {}
for name, optimizer in optimizers.items():
    model = GDRegressor(optimizer=optimizer, batch_size=None, fit_intercept=False, precondition=False)
    path = [np.zeros(2)]
    for _ in range(120):
        path.append(model.partial_fit(X, y).coef_)
    paths[name] = np.array(path)
    print(f"{name:14s}cost above the minimum after 120 steps: {gap(path[-1]):.1e}")

# %%
# The pictures: the first 40 steps, and how near the bottom all 120 lead.

colors = dict(zip(paths, ("#0072B2", "#D55E00", "#009E73"), strict=True))
figure, (left, right) = plt.subplots(1, 2, figsize=(6.4, 3.4), layout="constrained")
first, second = np.meshgrid(np.linspace(-0.2, 2.4, 100), np.linspace(-0.9, 1.6, 100))
levels = np.geomspace(0.001, 2, 9)
left.contour(first, second, gap(np.stack([first, second], axis=-1)), levels=levels, colors="0.75", linewidths=0.8)
for name, path in paths.items():
    left.plot(*path[:41].T, color=colors[name], marker=".", markersize=9 if name == "plain" else 5, linewidth=1)
    right.semilogy(gap(path), color=colors[name], label=name)
left.plot(*best, color="black", marker="*", markersize=12)
left.set(title="40 steps, seen from above", xlabel="coefficient 1", ylabel="coefficient 2")
right.set(title="height above the minimum", xlabel="steps", ylabel="cost above the minimum (y²)")
right.legend()
plt.show()
