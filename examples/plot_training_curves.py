"""
Training curves: convergence and overfitting
============================================

``history_`` records the training of every model. ``TrainingDisplay`` plots it: the training loss, and the validation
loss if a validation set is passed to ``fit``.

The data are 40 noisy samples with 30 features, three of which are informative. Without a penalty, the training loss
keeps decreasing, while the validation loss increases after some epochs: the model overfits.
"""

import matplotlib.pyplot as plt
import numpy as np

from skgd import GDRegressor
from skgd.display import TrainingDisplay

rng = np.random.default_rng(0)
X = rng.normal(size=(1040, 30))
y = X[:, :3] @ [3.0, -2.0, 1.0] + rng.normal(scale=2.0, size=1040)
X_train, y_train, X_val, y_val = X[:40], y[:40], X[40:], y[40:]

# %%
# Training and validation loss
# ----------------------------
#
# ``tol=None`` runs all epochs. Otherwise training would stop when the validation loss no longer decreases.

settings = {
    "optimizer": "sgd",
    "learning_rate": 0.1,
    "batch_size": None,
    "average": False,
    "max_iter": 300,
    "tol": None,
}
model = GDRegressor(alpha=0.0, **settings).fit(
    X_train, y_train, X_val=X_val, y_val=y_val
)
display = TrainingDisplay.from_estimator(model)
display.ax_.set_title("No penalty: overfitting")
losses, best = model.history_["validation_loss"], model.best_iter_
print(
    f"validation loss: {losses[best - 1]:.2f} in epoch {best}, "
    f"{losses[-1]:.2f} in the last epoch"
)

# %%
# The model keeps the coefficients of the best epoch.

kept = np.mean((y_val - model.predict(X_val)) ** 2) / 2
print(f"validation loss of the model: {kept:.2f}")

# %%
# Several models, several quantities
# ----------------------------------
#
# Quantities with the same unit share a panel. A second model can be plotted into the panels of the first; ``name``
# labels the curves. The gradient is that of the loss: with a penalty it does not converge to zero, because the gradient
# of the penalty balances it.

penalized = GDRegressor(alpha=0.3, **settings).fit(
    X_train, y_train, X_val=X_val, y_val=y_val
)
quantities = ["validation_loss", "gradient_norm"]
display = TrainingDisplay.from_estimator(model, quantities, name="alpha=0")
TrainingDisplay.from_estimator(
    penalized, quantities, name="alpha=0.3", ax=display.axes_
)
display.axes_[1].set_yscale("log")
print(
    "with a penalty: "
    f"{penalized.history_['validation_loss'][-1]:.2f} in the last epoch"
)

# %%
# ``history_`` contains lists with one entry per epoch: ``pandas.DataFrame(model.history_)`` makes a table of them.

plt.show()
