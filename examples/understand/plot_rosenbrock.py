r"""
The Rosenbrock function
=======================

An optimizer of skgd is also a method of :func:`scipy.optimize.minimize`, for any smooth function. A classic test
function is Rosenbrock's, :math:`f(u, v) = (1 - u)^2 + 100 (v - u^2)^2`: a curved, narrow valley, whose floor decreases
so slowly towards the minimum at (1, 1) that the gradient is almost orthogonal to it.
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy.optimize import minimize, rosen, rosen_der

from skgd.optimizers import SGD, Adam, RMSProp
from skgd.schedules import Cosine

START = np.array([-1.2, 1.5])

methods = {
    "SGD": SGD(learning_rate=0.001),
    "momentum": SGD(learning_rate=0.001, momentum=0.9),
    "RMSProp": RMSProp(learning_rate=Cosine(0.03, decay_steps=2000)),
    "Adam": Adam(learning_rate=0.2),
}
paths = {}
for name, method in methods.items():
    path = [START]
    result = minimize(
        rosen,
        START,
        jac=rosen_der,
        method=method,
        callback=path.append,
        options={"maxiter": 2000, "gtol": 1e-4},
    )
    paths[name] = np.array(path)
    print(
        f"{name:8}  ends at ({result.x[0]:.3f}, "
        f"{result.x[1]:.3f}) after {result.nit} steps, f = {result.fun:.1e}"
    )

# %%
# Plain SGD needs a learning rate so small that it does not oscillate, and then makes slow progress. Momentum
# accumulates small steps in the same direction. RMSProp divides by the size of the gradient, so that its steps are
# equally long in the flat direction, but most of them oscillate in the steep one. Adam does both, and the oscillations
# cancel in its moving average. SciPy's own BFGS approximates second derivatives, and needs far fewer steps here; but it
# is not suitable for noisy gradients and millions of parameters.

bfgs = minimize(rosen, START, jac=rosen_der, method="BFGS")
print(
    f"{'BFGS':8}  ends at ({bfgs.x[0]:.3f}, "
    f"{bfgs.x[1]:.3f}) after {bfgs.nit} steps, f = {bfgs.fun:.1e}"
)

# %%
# The plots. Contour lines are at powers of ten.

u, v = np.meshgrid(np.linspace(-1.7, 1.6, 300), np.linspace(-0.9, 2.2, 300))
colors = dict(
    zip(paths, ("#0072B2", "#D55E00", "#009E73", "#CC79A7"), strict=True)
)
lines = dict(zip(paths, ("-", "--", "-.", ":"), strict=True))
layout = [["SGD", "momentum"], ["RMSProp", "Adam"], ["values", "values"]]
figure, axes = plt.subplot_mosaic(
    layout, figsize=(7, 8), layout="constrained"
)
for name, path in paths.items():
    axes[name].contour(
        u,
        v,
        rosen([u, v]),
        levels=10.0 ** np.arange(-2, 4, 0.5),
        colors="0.75",
        linewidths=0.8,
    )
    axes[name].plot(
        *path.T, color=colors[name], marker=".", markersize=3, linewidth=0.8
    )
    axes[name].plot(*START, marker="s", color="black")
    axes[name].plot(1, 1, marker="*", markersize=12, color="black")
    axes[name].set(
        title=name, xlabel="u", ylabel="v", xlim=(-1.7, 1.6), ylim=(-0.9, 2.2)
    )
    values = [rosen(point) for point in path]
    axes["values"].semilogy(
        values, color=colors[name], linestyle=lines[name], label=name
    )
axes["values"].set(xlabel="steps", ylabel="f (log scale)")
axes["values"].legend()
plt.show()
