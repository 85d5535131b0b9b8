r"""
Adaptive learning rates
=======================

One word occurs in every message, another in one of fifty. Plain SGD updates the coefficient of the second word only
when the word occurs, with the same learning rate as for the first. Adaptive methods divide the step of each parameter
by the size of its gradients, so that rare features get longer steps:

.. math:: w \leftarrow w - \frac{\eta}{\sqrt{G} + \epsilon} \, g

AdaGrad's :math:`G` is the sum of all squared gradients, so that its steps become shorter. RMSProp uses an exponential
moving average; Adam adds momentum.
"""

import matplotlib.pyplot as plt
import numpy as np

from skgd import GDRegressor
from skgd.optimizers import SGD, AdaGrad, Adam, RMSProp

# %%
# A stream of 1500 messages with these two words; each word adds one minute to the time of an answer.

rng = np.random.default_rng(0)
X = np.column_stack([np.ones(1500), rng.random(1500) < 0.02]).astype(float)
y = X @ [1.0, 1.0] + rng.normal(0, 0.3, size=1500)
print(f"The rare word is in {X[:, 1].sum():.0f} messages.")

# %%
# The coefficients after every three messages, which make one step, with typical learning rates for each method.

optimizers = {
    "SGD": SGD(0.05),
    "AdaGrad": AdaGrad(0.5),
    "RMSProp": RMSProp(0.015),
    "Adam": Adam(0.015),
}
seen, paths = range(3, len(y) + 1, 3), {}
for name, optimizer in optimizers.items():
    model = GDRegressor(
        optimizer=optimizer,
        batch_size=3,
        fit_intercept=False,
        precondition=False,
    )
    path = [model.partial_fit(X[i - 3 : i], y[i - 3 : i]).coef_ for i in seen]
    paths[name] = np.array(path)
    frequent, rare = paths[name][-1]
    print(f"{name:8s} frequent word {frequent:.2f}, rare word {rare:.2f}")

# %%
# The plots.

figure, axes = plt.subplots(
    1, 2, figsize=(6.4, 3.4), sharey=True, layout="constrained"
)
styles = zip(
    ("#0072B2", "#D55E00", "#009E73", "#CC79A7"),
    ("-", "-", "--", "-."),
    strict=True,
)
for (name, path), (color, line) in zip(paths.items(), styles, strict=True):
    for ax, column in zip(axes, path.T, strict=True):
        ax.plot(
            seen,
            column,
            color=color,
            linestyle=line,
            linewidth=1.4,
            label=name,
        )
for ax, title in zip(
    axes,
    ("the word in every message", "the word in one of fifty"),
    strict=True,
):
    ax.axhline(1, color="black", linewidth=0.8, linestyle=":")
    ax.set(title=title, xlabel="messages seen")
axes[0].set(ylabel="coefficient (minutes)", ylim=(-0.05, 1.4))
axes[0].legend(loc="lower right")
plt.show()
