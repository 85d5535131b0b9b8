r"""
Batch, stochastic and mini-batch gradient descent
=================================================

The gradient is a mean over samples, which can be estimated from a few of them. All samples give the exact gradient, at
the cost of one pass over the data per step. A single sample gives a noisy gradient at a fraction of the cost.
"""

import matplotlib.pyplot as plt
import numpy as np

from skgd import GDRegressor
from skgd.optimizers import SGD

# %%
# A noisy line, y = 2x + 3.

rng = np.random.default_rng(0)
X = rng.normal(size=(200, 1))
y = 2 * X.ravel() + 3 + rng.normal(0, 1.5, size=200)
design = np.column_stack([X, np.ones(len(y))])
best = np.linalg.lstsq(design, y)[0]


def cost(slope, intercept):
    """Return half the mean squared error of slopes and intercepts."""
    residual = (
        np.multiply.outer(slope, X.ravel())
        + np.asarray(intercept)[..., np.newaxis]
        - y
    )
    return 0.5 * np.mean(residual**2, axis=-1)


# %%
# Three runs with the same learning rate, eight epochs each.

EPOCHS = 8
paths = {}
for name, batch_size in {
    "batch": len(y),
    "mini-batch": 20,
    "stochastic": 1,
}.items():
    model = GDRegressor(
        optimizer=SGD(learning_rate=0.1),
        batch_size=batch_size,
        precondition=False,
    )
    path = [(0.0, 0.0)]
    for epoch in range(EPOCHS):
        order = np.random.default_rng(epoch).permutation(len(y))
        for rows in np.split(order, len(y) // batch_size):
            model.partial_fit(X[rows], y[rows])
            path.append((model.coef_[0], model.intercept_[0]))
    paths[name] = np.array(path)
    gap = cost(*paths[name].T) - cost(*best)
    print(
        f"{name:11s}{model.t_:5d} steps, cost above the minimum: "
        f"{gap[-1]:.4f}"
    )

# %%
# The plots. Stochastic gradient descent is close to the minimum within the first epoch, and then fluctuates around it,
# because the gradient of a single sample is not zero there. A decaying learning rate or averaging removes the noise;
# see :ref:`sphx_glr_gallery_understand_plot_schedules.py`.

slopes, intercepts = np.meshgrid(
    np.linspace(-0.5, 3.5, 80), np.linspace(-0.5, 4.5, 80)
)
levels = cost(*best) + np.array([0.05, 0.2, 0.5, 1, 2, 3.5, 5.5])
colors = {
    "batch": "#0072B2",
    "mini-batch": "#009E73",
    "stochastic": "#D55E00",
}
figure, axes = plt.subplots(2, 2, figsize=(6.2, 6), layout="constrained")
for ax, (name, path) in zip(axes.flat, paths.items(), strict=False):
    ax.contour(
        slopes,
        intercepts,
        cost(slopes, intercepts),
        levels=levels,
        colors="0.75",
        linewidths=0.8,
    )
    marker = {"marker": ".", "markersize": 4 if name == "stochastic" else 7}
    ax.plot(*path.T, color=colors[name], linewidth=0.8, **marker)
    ax.plot(*best, color="black", marker="*", markersize=12)
    ax.set(
        title=f"{name}: {len(path) - 1} steps",
        xlabel="slope (y per x)",
        ylabel="intercept (y)",
    )
for name, path in paths.items():
    epochs = np.linspace(0, EPOCHS, len(path))
    gap = cost(*path.T) - cost(*best)
    axes[1, 1].semilogy(
        epochs,
        gap,
        color=colors[name],
        label=name,
        linewidth=0.6 if name == "stochastic" else 1.8,
    )
axes[1, 1].set(
    title="cost against epochs",
    xlabel="epochs",
    ylabel="cost above the minimum (y²)",
)
axes[1, 1].legend()
plt.show()
