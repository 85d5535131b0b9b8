r"""
Learning-rate schedules
=======================

Long steps reach the neighborhood of the minimum quickly, short ones stay close to it. A schedule is the learning rate
as a function of the step number. The second plot shows the effect of a schedule on the objective.
"""

import matplotlib.pyplot as plt
import numpy as np

from skgd import GDRegressor
from skgd.optimizers import SGD
from skgd.schedules import (
    Constant,
    Cosine,
    Exponential,
    InverseScaling,
    Linear,
    OneCycle,
    Piecewise,
    Step,
)

# %%
# The schedules over a thousand steps. (``ReduceOnPlateau`` is not a fixed function of the step: it reduces the learning
# rate when the objective plateaus.)

schedules = [
    Constant(0.1),
    InverseScaling(0.1, decay_steps=50),
    Exponential(0.1, decay_rate=0.5, decay_steps=200),
    Step(0.1, step_size=250),
    Piecewise(0.1, boundaries=(300, 600), factors=(1.0, 0.2, 0.05)),
    Linear(0.1, decay_steps=900, warmup_steps=100),
    Cosine(0.1, decay_steps=250, restarts=True),
    OneCycle(0.1, total_steps=1000),
]
steps = np.arange(1000)
figure, axes = plt.subplots(
    4, 2, figsize=(6, 7), sharex=True, sharey=True, layout="constrained"
)
for ax, schedule in zip(axes.flat, schedules, strict=True):
    ax.plot(steps, schedule(steps), color="#0072B2")
    ax.set_title(type(schedule).__name__)
    ax.grid(alpha=0.3)
for ax in axes[-1]:
    ax.set_xlabel("step")
for ax in axes[:, 0]:
    ax.set_ylabel("learning rate")

# %%
# Stochastic gradient descent on noisy data, one sample per step. With a constant learning rate it fluctuates around the
# minimum, with an excess cost proportional to the learning rate. With a decaying learning rate it converges; so does
# the average of the iterates with a constant learning rate.

rng = np.random.default_rng(0)
X = rng.normal(size=(400, 5))
y = X @ np.arange(1.0, 6.0) + rng.normal(0, 3, size=400)
coef, residual, *_ = np.linalg.lstsq(X, y)
ways = {
    "constant 0.05": (Constant(0.05), False),
    "constant 0.005": (Constant(0.005), False),
    "inverse scaling": (
        InverseScaling(0.05, power=1.0, decay_steps=100),
        False,
    ),
    "constant 0.05, averaged": (Constant(0.05), "polynomial"),
}
gaps = {}
for name, (schedule, average) in ways.items():
    model = GDRegressor(
        optimizer=SGD(),
        learning_rate=schedule,
        batch_size=1,
        average=average,
        fit_intercept=False,
        precondition=False,
        max_iter=1,
        tol=None,
        warm_start=True,  # each call of fit continues for one more epoch
        random_state=np.random.RandomState(0),
    )
    costs = [
        np.mean((X @ model.fit(X, y).coef_ - y) ** 2) / 2 for _ in range(30)
    ]
    gaps[name] = np.array(costs) - residual[0] / len(y) / 2
    print(f"{name:25s}{gaps[name][-5:].mean():.5f} above the minimum")

# %%
# The plot.

figure, ax = plt.subplots(figsize=(6, 3.6), layout="constrained")
styles = zip(
    ("#D55E00", "#0072B2", "#009E73", "#CC79A7"),
    ("-", "--", "-.", "-"),
    strict=True,
)
for (name, gap), (color, line) in zip(gaps.items(), styles, strict=True):
    ax.semilogy(
        np.arange(1, 31), gap, color=color, linestyle=line, label=name
    )
ax.set(xlabel="epochs of 400 steps", ylabel="cost above the minimum (y²)")
ax.legend()
plt.show()
