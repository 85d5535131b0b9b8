"""
Down the valley: the path of gradient descent
=============================================

The picture of every textbook, from real trainings. The contour lines are those of the objective, as a function of two
coefficients: a valley, whose lowest point is the least-squares solution. Each optimizer starts at the same point, and
every marker is on its way down.
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
# Two columns, the first of which varies three times as much as the second: the valley is long and narrow. A low rate
# creeps along its floor, a higher one goes faster, and one near the limit jumps from side to side. The limit, beyond
# which descent explodes, is 2 divided by the curvature across the valley.

rng = np.random.default_rng(0)
X = rng.normal(size=(200, 2)) * [3.0, 1.0]
y = X @ [2.0, 1.0] + rng.normal(size=200)
plain = {"batch_size": None, "precondition": False, "fit_intercept": False, "alpha": 0.0}
curvature = np.linalg.eigvalsh(X.T @ X / len(X)).max()
print(f"plain descent explodes at rates above {2 / curvature:.3f}")

rates = {f"rate {rate}": GDRegressor(optimizer=SGD(rate), **plain) for rate in (0.01, 0.1, 0.2)}
display = DescentPathDisplay.from_estimator(rates, X, y, start=(-2.0, 5.0), n_steps=40)
display.ax_.set_title("Gradient descent with three rates")
for name, path in display.paths.items():
    print(f"{name}: {np.linalg.norm(path[-1] - display.minimum):.3f} from the minimum after {len(path) - 1} steps")

# %%
# Momentum and adaptive rates
# ---------------------------
#
# Momentum remembers where it was going, and swings out. RMSProp and Adam divide each coefficient's step by the size of
# its gradients, and so go about as fast along the valley as across it.

optimizers = [SGD(0.05), SGD(0.05, momentum=0.8), RMSProp(0.3), Adam(0.6)]
display = DescentPathDisplay.from_estimator(
    [GDRegressor(optimizer=optimizer, **plain) for optimizer in optimizers], X, y, start=(-2.0, 5.0), n_steps=40
)
display.ax_.set_title("Four optimizers, 40 steps each")

# %%
# Batch, mini-batch, stochastic
# -----------------------------
#
# The line y = 2x + 3, with noise: now the two axes are the intercept and the slope. Batch descent takes the gradient of
# all rows. Mini-batches of ten rows, and single rows, give noisy gradients, for a fraction of the work.

x = rng.uniform(0, 2, size=(100, 1))
noisy_line = 2 * x.ravel() + 3 + rng.normal(scale=0.5, size=100)
plain |= {"fit_intercept": True, "optimizer": SGD(0.2), "random_state": 0}
kinds = {"batch": None, "mini-batch of 10": 10, "stochastic": 1}
models = {kind: GDRegressor(**plain | {"batch_size": size}) for kind, size in kinds.items()}
display = DescentPathDisplay.from_estimator(models, x, noisy_line, coefficients=("intercept", 0), n_steps=60)
display.ax_.set_title("60 steps of three kinds of descent")
print(f"the minimum: y = {display.minimum[1]:.2f} x + {display.minimum[0]:.2f}")

# %%
# Standardised coordinates
# ------------------------
#
# The valley is narrow because the columns have different units. With ``precondition=True``, the default, the optimizer
# works in standardised coordinates, in which it is round; seen from the user's coordinates, the way is almost straight.

both = {
    "precondition=False": GDRegressor(**plain | {"optimizer": SGD(0.1), "batch_size": None}),
    "precondition=True": GDRegressor(**plain | {"optimizer": SGD(0.5), "batch_size": None, "precondition": True}),
}
display = DescentPathDisplay.from_estimator(both, X, y, start=(-2.0, 5.0), n_steps=15)
display.ax_.set_title("The same descent in other coordinates")

plt.show()
