r"""
Linear regression by batch, stochastic and mini-batch gradient descent
======================================================================

Gradient descent finds the slope and the intercept of the line y = 2x + 3. ``batch_size`` selects one of three kinds:

- ``batch_size=None``: batch gradient descent, one step per epoch, from the gradient over all samples;
- ``batch_size=1``: stochastic gradient descent, one step per sample;
- ``batch_size=10``: mini-batch gradient descent, one step for every ten samples.

To show the plain update :math:`w \leftarrow w - \eta \nabla J(w)`, this example switches off what makes the defaults
robust: internal standardization (``precondition=False``), averaging (``average=False``) and the automatic learning
rate (a number instead).
"""

import matplotlib.pyplot as plt
import numpy as np

from skgd import GDRegressor
from skgd.optimizers import SGD

# %%
# A hundred samples on the line.

x = np.random.default_rng(0).uniform(0, 2, size=(100, 1))
y = 2 * x.ravel() + 3

# %%
# The three kinds of gradient descent. The loss, half the mean squared error, is the mean over the batches of an epoch,
# each before its step.

EPOCHS, RATE = 200, 0.1
models = {}
for kind, batch_size in [
    ("batch", None),
    ("stochastic", 1),
    ("mini-batch", 10),
]:
    model = GDRegressor(
        optimizer=SGD(learning_rate=RATE),
        alpha=0,
        batch_size=batch_size,
        max_iter=EPOCHS,
        tol=None,  # run all epochs
        precondition=False,
        average=False,
        random_state=0,
    ).fit(x, y)
    models[kind] = model
    print(
        f"{kind} gradient descent (batch_size={batch_size}, {model.t_} steps)"
    )
    for epoch in (1, 2, 5, 10, 50, EPOCHS):
        print(
            f"  epoch {epoch:3d}  loss "
            f"{model.history_['loss'][epoch - 1]:.3e}"
        )
    print(
        f"  solution: y = {model.coef_[0]:.4f} x + {model.intercept_[0]:.4f}"
    )

# %%
# The loss in each epoch, on a logarithmic axis. Convergence is linear, until the loss is as small as rounding errors.

figure, axes = plt.subplots(figsize=(6.4, 4), layout="constrained")
for (kind, model), line in zip(
    models.items(), ("-", "--", "-."), strict=True
):
    loss = model.history_["loss"]
    axes.semilogy(range(1, EPOCHS + 1), loss, linestyle=line, label=kind)
axes.set(xlabel="epoch", ylabel="loss")
axes.grid(alpha=0.3)
axes.legend()
plt.show()

# %%
# With the same number of passes over the data, mini-batch gradient descent takes 10 times and stochastic gradient
# descent 100 times as many steps as batch gradient descent, and so they are closer to the solution. On noisy data both
# would fluctuate around it; a decaying learning rate removes the fluctuations, and so does averaging, which is on by
# default.
#
# Batch gradient descent from scratch gives the same numbers:

slope, intercept = 0.0, 0.0
for _ in range(EPOCHS):
    error = slope * x.ravel() + intercept - y
    slope, intercept = (
        slope - RATE * (error * x.ravel()).mean(),
        intercept - RATE * error.mean(),
    )
print(f"from scratch: y = {slope:.4f} x + {intercept:.4f}")
