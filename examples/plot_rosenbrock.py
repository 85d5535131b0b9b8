r"""
Rosenbrock's valley
===================

An optimizer of skgd is also a method of :func:`scipy.optimize.minimize`, for any smooth function. The classic one to
try is Rosenbrock's, :math:`f(u, v) = (1 - u)^2 + 100 (v - u^2)^2`: a steep valley, bent like a banana, whose floor
falls so gently towards the minimum at (1, 1) that the gradient points almost across it.
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
walks = {}
for name, method in methods.items():
    walk = [START]
    result = minimize(
        rosen, START, jac=rosen_der, method=method, callback=walk.append, options={"maxiter": 2000, "gtol": 1e-4}
    )
    walks[name] = np.array(walk)
    print(f"{name:8}  ends at ({result.x[0]:.3f}, {result.x[1]:.3f}) after {result.nit} steps, f = {result.fun:.1e}")

# %%
# Plain descent needs a rate so small that it does not jump from wall to wall, and then crawls along the floor. Momentum
# adds up the small steps that go the same way. RMSProp divides by the size of the gradient, so that its steps on the
# flat floor are as long as on the walls, but most of their length goes to and fro across the valley. Adam does both,
# and the swings cancel in its running mean. SciPy's own BFGS estimates second derivatives, and needs far fewer steps
# here; but it is not made for noisy gradients and millions of parameters.

bfgs = minimize(rosen, START, jac=rosen_der, method="BFGS")
print(f"{'BFGS':8}  ends at ({bfgs.x[0]:.3f}, {bfgs.x[1]:.3f}) after {bfgs.nit} steps, f = {bfgs.fun:.1e}")

# %%
# The pictures. The contour lines are at powers of ten, for the walls are steep.

u, v = np.meshgrid(np.linspace(-1.7, 1.6, 300), np.linspace(-0.9, 2.2, 300))
colors = dict(zip(walks, ("#0072B2", "#D55E00", "#009E73", "#CC79A7"), strict=True))
lines = dict(zip(walks, ("-", "--", "-.", ":"), strict=True))
layout = [["SGD", "momentum"], ["RMSProp", "Adam"], ["values", "values"]]
figure, axes = plt.subplot_mosaic(layout, figsize=(7, 8), layout="constrained")
for name, walk in walks.items():
    axes[name].contour(u, v, rosen([u, v]), levels=10.0 ** np.arange(-2, 4, 0.5), colors="0.75", linewidths=0.8)
    axes[name].plot(*walk.T, color=colors[name], marker=".", markersize=3, linewidth=0.8)
    axes[name].plot(*START, marker="s", color="black")
    axes[name].plot(1, 1, marker="*", markersize=12, color="black")
    axes[name].set(title=name, xlabel="u", ylabel="v", xlim=(-1.7, 1.6), ylim=(-0.9, 2.2))
    values = [rosen(point) for point in walk]
    axes["values"].semilogy(values, color=colors[name], linestyle=lines[name], label=name)
axes["values"].set(xlabel="steps", ylabel="f (logarithmic)")
axes["values"].legend()
plt.show()
