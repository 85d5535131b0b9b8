"""
The path of gradient descent
============================

``DescentPathDisplay`` plots the path of an optimizer over the contour lines of the objective, as a function of two
coefficients. The minimum is the least-squares solution. All optimizers start at the same point, and every marker is one
step.
"""

import matplotlib.pyplot as plt
import numpy as np

from skgd import GDRegressor
from skgd.display import DescentPathDisplay
from skgd.optimizers import SGD, Adam, RMSProp

# %%
# The learning rate
# -----------------
#
# Two features, the first of which has three times the standard deviation of the second: the contour lines are elongated
# ellipses. A low learning rate is slow in the flat direction, a higher one is faster, and one near the limit oscillates
# in the steep direction. The limit, beyond which gradient descent diverges, is 2 divided by the largest curvature.

rng = np.random.default_rng(0)
X = rng.normal(size=(200, 2)) * [3.0, 1.0]
y = X @ [2.0, 1.0] + rng.normal(size=200)
plain = {
    "batch_size": None,
    "precondition": False,
    "fit_intercept": False,
    "alpha": 0.0,
}
curvature = np.linalg.eigvalsh(X.T @ X / len(X)).max()
print(
    f"gradient descent diverges at learning rates above {2 / curvature:.3f}"
)

rates = {
    f"learning rate {rate}": GDRegressor(optimizer=SGD(rate), **plain)
    for rate in (0.01, 0.1, 0.2)
}
display = DescentPathDisplay.from_estimator(
    rates, X, y, start=(-2.0, 5.0), n_steps=40
)
display.ax_.set_title("Gradient descent with three learning rates")
for name, path in display.paths.items():
    print(
        f"{name}: {np.linalg.norm(path[-1] - display.minimum):.3f} from the "
        f"minimum after {len(path) - 1} steps"
    )

# %%
# Momentum and adaptive learning rates
# ------------------------------------
#
# Momentum accumulates past gradients, and overshoots. RMSProp and Adam divide the step of each coefficient by the size
# of its gradients, so that they make progress at about the same speed in both directions.

optimizers = [SGD(0.05), SGD(0.05, momentum=0.8), RMSProp(0.3), Adam(0.6)]
display = DescentPathDisplay.from_estimator(
    [GDRegressor(optimizer=optimizer, **plain) for optimizer in optimizers],
    X,
    y,
    start=(-2.0, 5.0),
    n_steps=40,
)
display.ax_.set_title("Four optimizers, 40 steps each")

# %%
# Batch, mini-batch, stochastic
# -----------------------------
#
# The line y = 2x + 3, with noise: here the axes are the intercept and the slope. Batch gradient descent uses all
# samples. Mini-batches of ten samples, and single samples, give noisy gradients at a fraction of the cost.

x = rng.uniform(0, 2, size=(100, 1))
noisy_line = 2 * x.ravel() + 3 + rng.normal(scale=0.5, size=100)
plain |= {"fit_intercept": True, "optimizer": SGD(0.2), "random_state": 0}
kinds = {"batch": None, "mini-batch of 10": 10, "stochastic": 1}
models = {
    kind: GDRegressor(**plain | {"batch_size": size})
    for kind, size in kinds.items()
}
display = DescentPathDisplay.from_estimator(
    models, x, noisy_line, coefficients=("intercept", 0), n_steps=60
)
display.ax_.set_title(
    "Batch, mini-batch and stochastic gradient descent, 60 steps each"
)
print(
    f"the minimum: y = {display.minimum[1]:.2f} x + {display.minimum[0]:.2f}"
)

# %%
# Standardized features
# ---------------------
#
# The contour lines are elongated because the features have different scales. With ``precondition=True``, the default,
# the optimizer works on standardized features, for which they are nearly circles; in the original coordinates, the path
# is almost straight.

both = {
    "precondition=False": GDRegressor(
        **plain | {"optimizer": SGD(0.1), "batch_size": None}
    ),
    "precondition=True": GDRegressor(
        **plain
        | {"optimizer": SGD(0.5), "batch_size": None, "precondition": True}
    ),
}
display = DescentPathDisplay.from_estimator(
    both, X, y, start=(-2.0, 5.0), n_steps=15
)
display.ax_.set_title(
    "Gradient descent without and with standardized features"
)

plt.show()
