"""
Training curves: is it done, and does it overfit?
=================================================

Every model records its training in ``history_``. `TrainingDisplay` draws it: the loss of the rows that it learns from,
and that of rows which it does not see, if a validation set is passed to ``fit``.

Here are 40 noisy rows with 30 columns, of which only three matter. Without a penalty, the training loss falls on and
on, while the validation loss turns: what is learnt from there on is noise.
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
# ``tol=None`` keeps on training for all epochs. Otherwise training would stop where the validation loss no longer
# falls.

settings = {
    "optimizer": "sgd",
    "learning_rate": 0.1,
    "batch_size": None,
    "average": False,
    "max_iter": 300,
    "tol": None,
}
model = GDRegressor(alpha=0.0, **settings).fit(X_train, y_train, X_val=X_val, y_val=y_val)
display = TrainingDisplay.from_estimator(model)
display.ax_.set_title("No penalty: overfitting")
losses, best = model.history_["validation_loss"], model.best_iter_
print(f"validation loss: {losses[best - 1]:.2f} in epoch {best}, {losses[-1]:.2f} in the last epoch")

# %%
# Whichever epoch is the last: the model keeps the coefficients of the best one.

kept = np.mean((y_val - model.predict(X_val)) ** 2) / 2
print(f"validation loss of the model: {kept:.2f}")

# %%
# Several models, several quantities
# ----------------------------------
#
# Quantities of one unit share a panel. A second model is drawn into the panels of the first; ``name`` tells them apart.
# The gradient is that of the loss: with a penalty it stays above zero, where the penalty pulls the other way.

penalised = GDRegressor(alpha=0.3, **settings).fit(X_train, y_train, X_val=X_val, y_val=y_val)
quantities = ["validation_loss", "gradient_norm"]
display = TrainingDisplay.from_estimator(model, quantities, name="alpha=0")
TrainingDisplay.from_estimator(penalised, quantities, name="alpha=0.3", ax=display.axes_)
display.axes_[1].set_yscale("log")
print(f"with a penalty: {penalised.history_['validation_loss'][-1]:.2f} in the last epoch")

# %%
# The records are plain lists, one entry an epoch: ``pandas.DataFrame(model.history_)`` makes a table of them.

plt.show()
