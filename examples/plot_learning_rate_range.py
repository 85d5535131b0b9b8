"""
How to choose the learning rate: the range test
===============================================

Too low a learning rate learns nothing, too high a one explodes. The range test (L. N. Smith, 2017) finds out in a
hundred steps: it trains with a rate that rises exponentially from step to step, and looks at the loss. A good rate to
begin with is where the loss falls most steeply.

``learning_rate="auto"``, the default, needs no such test. It is for those who want a rate of their own: for another
schedule, in the textbook's plain coordinates (``precondition=False``), or to see how an optimizer behaves.
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
# The test works on a clone; ``suggestion_`` is the rate that it suggests. Each optimizer has its own scale of rates.

figure, axes = plt.subplots(3, 1, figsize=(6.4, 10), layout="constrained")
rates = {}
for optimizer, ax in zip([SGD(), SGD(momentum=0.9), Adam()], axes, strict=True):
    estimator = GDClassifier(optimizer=optimizer, random_state=0)
    display = LearningRateDisplay.from_estimator(estimator, X, y, ax=ax)
    ax.set_title(repr(optimizer))
    rates[repr(optimizer)] = estimator, display.suggestion_
    print(f"{optimizer!r}: {display.suggestion_:.2g} is suggested")

# %%
# Is it a good rate?
# ------------------
#
# Accuracy after five epochs, for the suggestion, a hundredth and a hundred times of it.

for name, (estimator, rate) in rates.items():
    scores = []
    for factor in (0.01, 1, 100):
        estimator.set_params(learning_rate=factor * rate, max_iter=5, tol=None, average=False)
        scores.append(cross_val_score(estimator, X, y, cv=3, error_score=0.0).mean())
    too_low, suggested, too_high = scores
    print(f"{name}: too low {too_low:.2f}, suggested {suggested:.2f}, too high {too_high:.2f}")

plt.show()
