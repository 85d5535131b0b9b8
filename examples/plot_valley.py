r"""
A valley, the gradient, the step
================================

The rent of a flat is about so many euros for each square metre. How many? Every guess :math:`w` has a cost,
:math:`J(w)`, half the mean squared error; drawn over all guesses, it is a valley. Gradient descent walks down:

.. math:: w \leftarrow w - \eta \, J'(w)

All depends on the learning rate :math:`\eta`. Too small, and the walk takes for ever. Too large, and each step lands
on the other slope, higher up.
"""

import matplotlib.pyplot as plt
import numpy as np

from skgd import GDRegressor
from skgd.optimizers import SGD

# %%
# Fifty made-up flats, at about 12 euros for each square metre.

rng = np.random.default_rng(0)
area = rng.uniform(20, 120, size=(50, 1))
rent = 12 * area.ravel() + rng.normal(0, 60, size=50)


def cost(w):
    """Return J(w), for one guess or many."""
    return 0.5 * np.mean((np.multiply.outer(w, area.ravel()) - rent) ** 2, axis=-1)


# %%
# The valley's curvature is the mean of the squared areas. Its reciprocal is the rate that leads to the bottom in one
# step; at twice that rate, the walk no longer comes down. One call of ``partial_fit`` with all rows is one step, and a
# coefficient set between two calls is where the walk goes on.

curvature = np.mean(area**2)
paths = {}
for name, share in {"too small": 0.05, "about right": 0.5, "too large": 2.05}.items():
    model = GDRegressor(
        optimizer=SGD(learning_rate=share / curvature),
        batch_size=None,
        fit_intercept=False,
        precondition=False,  # the update of the textbooks, and nothing else
    )
    path = [0.0 if name != "too large" else 8.0]
    model.partial_fit(area, rent).coef_ = np.array(path)
    for _ in range(12):
        path.append(model.partial_fit(area, rent).coef_[0])
    paths[name] = share / curvature, np.array(path)
    print(f"{name:12s} rate {share / curvature:.1e}: {path[-1]:5.2f} €/m² after 12 steps")

# %%
# The pictures.

grid = np.linspace(-1, 25, 200)
figure, axes = plt.subplots(1, 3, figsize=(6.4, 3.2), sharey=True, layout="constrained")
for ax, (name, (rate, path)) in zip(axes, paths.items(), strict=True):
    ax.plot(grid, cost(grid) / 1e3, color="black", linewidth=1)
    ax.plot(path, cost(path) / 1e3, color="#D55E00", marker="o", markersize=5, linewidth=1, alpha=0.8)
    ax.plot(path[0], cost(path[0]) / 1e3, color="#0072B2", marker="s", markersize=8, linestyle="none", label="start")
    ax.set(title=f"{name}\n$\\eta$ = {rate:.1e}", xlabel="guess w (€/m²)")
axes[0].set_ylabel("cost J(w) (1000 €²)")
axes[0].legend()
plt.show()
