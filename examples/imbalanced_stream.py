"""
Imbalanced classes in a stream
==============================

About two percent of the payments of a web shop are fraud. A classifier that minimizes the mean loss misses most of
them. ``class_weight="balanced"`` gives both classes the same total weight: a payment of class c has the weight
``n_payments / (2 * n_payments_of_c)``. In a stream these counts are not known beforehand; ``partial_fit`` counts the
samples seen so far.

The data are **synthetic**: amounts, minutes since the last payment, and the age of the account in days.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.metrics import (
    balanced_accuracy_score,
    precision_score,
    recall_score,
)
from sklearn.utils import compute_sample_weight

from skgd import GDClassifier

# %%
# The stream: raw features of each payment, and whether it was fraud.

BATCHES, BATCH_SIZE = 60, 200


def payments(n_rows, rng):
    """Return payments, about 2 % of which are fraud.

    Those are larger, in quicker succession, and from younger accounts.
    """
    fraud = rng.random(n_rows) < 0.02
    amount = rng.lognormal(np.where(fraud, 4.5, 3.5), 0.7)
    minutes = rng.lognormal(np.where(fraud, 3.0, 5.0), 1.2)
    age = rng.gamma(2.0, np.where(fraud, 100.0, 400.0))
    return np.column_stack([np.log(amount), np.log(minutes), age]), fraud


# %%
# Progressive validation: test on each batch, then train on it, with and without class weights. The first batch is used
# for training only.

rng = np.random.default_rng(0)
models = {
    "plain": GDClassifier(),
    "balanced": GDClassifier(class_weight="balanced"),
}
predicted = {name: [] for name in models}
actual = []
for batch in range(BATCHES):
    X, fraud = payments(BATCH_SIZE, rng)
    for name, model in models.items():
        if batch > 0:
            predicted[name].extend(model.predict(X))
        model.partial_fit(X, fraud, classes=[False, True])
    if batch > 0:
        actual.extend(fraud)

print(f"{np.mean(actual):.1%} of {len(actual)} payments were fraud")
print(f"{'':10s}{'recall':>8s}{'precision':>14s}{'balanced accuracy':>19s}")
for name, answers in predicted.items():
    scores = [
        score(actual, answers)
        for score in (recall_score, precision_score, balanced_accuracy_score)
    ]
    print(f"{name:10s}{scores[0]:8.2f}{scores[1]:14.2f}{scores[2]:19.2f}")

# %%
# Without class weights, hardly any fraud is found at the beginning. The price of the weights is a lower precision.

figure, axes = plt.subplots(figsize=(6.4, 4), layout="constrained")
axes.plot(np.cumsum(actual), color="black", linestyle=":", label="all")
for (name, answers), color in zip(
    predicted.items(), ("#D55E00", "#0072B2"), strict=True
):
    found = np.logical_and(actual, answers)
    axes.plot(np.cumsum(found), color=color, label=f"found, {name}")
axes.set(xlabel="payments", ylabel="frauds")
axes.grid(alpha=0.3)
axes.legend()
plt.show()

# %%
# The weights equal those of ``compute_sample_weight`` for all samples seen so far. If one call contains all samples in
# one batch, they are the weights of the whole data set, and ``partial_fit`` is equivalent to one epoch of ``fit`` with
# these sample weights.

X, fraud = payments(5000, rng)
streamed = GDClassifier(class_weight="balanced", batch_size=None).partial_fit(
    X, fraud, classes=[False, True]
)
fitted = GDClassifier(batch_size=None, max_iter=1, tol=None)
fitted.fit(X, fraud, sample_weight=compute_sample_weight("balanced", fraud))
print(
    "\ncoefficients after one partial_fit, balanced: "
    f"      {np.round(streamed.coef_[0], 6)}"
)
print(
    "coefficients after one epoch of fit, with weights: "
    f" {np.round(fitted.coef_[0], 6)}"
)
print(f"the same: {np.allclose(streamed.coef_, fitted.coef_, rtol=1e-10)}")
