"""
Choosing the learning rate: the range test
==========================================

If the learning rate is too low, the model does not learn; if it is too high, training diverges. The range test (L. N.
Smith, 2017) increases the learning rate exponentially over a hundred training steps, and records the loss. A good
learning rate to start with is where the loss decreases most steeply.

``learning_rate="auto"``, the default, needs no such test. Use it to choose a learning rate for a schedule, to train
without preconditioning (``precondition=False``), or to study an optimizer.
"""

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits
from sklearn.model_selection import cross_val_score

from skgd import GDClassifier
from skgd.display import LearningRateDisplay
from skgd.optimizers import SGD, Adam

X, y = load_digits(return_X_y=True)

# %%
# Three optimizers
# ----------------
#
# The test trains a clone of the estimator; ``suggestion_`` is the suggested learning rate. The range of useful learning
# rates depends on the optimizer.

figure, axes = plt.subplots(3, 1, figsize=(6.4, 10), layout="constrained")
rates = {}
for optimizer, ax in zip(
    [SGD(), SGD(momentum=0.9), Adam()], axes, strict=True
):
    estimator = GDClassifier(optimizer=optimizer, random_state=0)
    display = LearningRateDisplay.from_estimator(estimator, X, y, ax=ax)
    ax.set_title(repr(optimizer))
    rates[repr(optimizer)] = estimator, display.suggestion_
    print(f"{optimizer!r}: suggested learning rate {display.suggestion_:.2g}")

# %%
# Is it a good learning rate?
# ---------------------------
#
# Accuracy after five epochs, for the suggested learning rate, a hundredth of it, and a hundred times as much.

for name, (estimator, rate) in rates.items():
    scores = []
    for factor in (0.01, 1, 100):
        estimator.set_params(
            learning_rate=factor * rate, max_iter=5, tol=None, average=False
        )
        scores.append(
            cross_val_score(estimator, X, y, cv=3, error_score=0.0).mean()
        )
    too_low, suggested, too_high = scores
    print(
        f"{name}: too low {too_low:.3f}, suggested {suggested:.3f}, "
        f"too high {too_high:.3f}"
    )

plt.show()
