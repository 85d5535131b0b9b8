r"""
The cost, the gradient, the step
================================

The rent of a flat is predicted from its area, at :math:`w` euros per square meter. The cost :math:`J(w)`, half the mean
squared error, is a parabola. Gradient descent takes steps against the gradient:

.. math:: w \leftarrow w - \eta \, J'(w)

The learning rate :math:`\eta` decides. If it is too small, convergence is slow. If it is too large, the steps diverge.
"""

import matplotlib.pyplot as plt
import numpy as np

from skgd import GDRegressor
from skgd.optimizers import SGD

# %%
# Fifty synthetic flats, at about 12 euros per square meter.

rng = np.random.default_rng(0)
area = rng.uniform(20, 120, size=(50, 1))
rent = 12 * area.ravel() + rng.normal(0, 60, size=50)


def cost(w):
    """Return J(w), for a number or an array."""
    return 0.5 * np.mean(
        (np.multiply.outer(w, area.ravel()) - rent) ** 2, axis=-1
    )


# %%
# The curvature of the cost is the mean of the squared areas. The reciprocal of the curvature is the learning rate that
# reaches the minimum in one step; above twice that learning rate, the steps diverge. One call of ``partial_fit`` with
# all samples is one step, and a coefficient that is set between two calls is the start of the next step.

curvature = np.mean(area**2)
paths = {}
for name, share in {
    "too small": 0.05,
    "about right": 0.5,
    "too large": 2.05,
}.items():
    model = GDRegressor(
        optimizer=SGD(learning_rate=share / curvature),
        batch_size=None,
        fit_intercept=False,
        precondition=False,  # the plain update
    )
    path = [0.0 if name != "too large" else 8.0]
    model.partial_fit(area, rent).coef_ = np.array(path)
    for _ in range(12):
        path.append(model.partial_fit(area, rent).coef_[0])
    paths[name] = share / curvature, np.array(path)
    print(
        f"{name:12s} learning rate {share / curvature:.1e}: "
        f"{path[-1]:5.2f} €/m² after 12 steps"
    )

# %%
# The plots.

grid = np.linspace(-1, 25, 200)
figure, axes = plt.subplots(
    1, 3, figsize=(6.4, 3.2), sharey=True, layout="constrained"
)
for ax, (name, (rate, path)) in zip(axes, paths.items(), strict=True):
    ax.plot(grid, cost(grid) / 1e3, color="black", linewidth=1)
    ax.plot(
        path,
        cost(path) / 1e3,
        color="#D55E00",
        marker="o",
        markersize=5,
        linewidth=1,
        alpha=0.8,
    )
    ax.plot(
        path[0],
        cost(path[0]) / 1e3,
        color="#0072B2",
        marker="s",
        markersize=8,
        linestyle="none",
        label="start",
    )
    ax.set(title=f"{name}\n$\\eta$ = {rate:.1e}", xlabel="w (€/m²)")
axes[0].set_ylabel("cost J(w) (1000 €²)")
axes[0].legend()
plt.show()
