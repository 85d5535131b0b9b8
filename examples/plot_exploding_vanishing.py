r"""
Exploding and vanishing gradients
=================================

A gradient can be too large for the step that it asks for, or too small to learn from. Clipping mends the first: a
gradient longer than ``max_grad_norm`` is scaled down to it, in its direction. The second is a matter of the loss: one
that goes flat where the prediction is most wrong teaches nothing there.
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy.special import expit

from skgd import GDClassifier, GDRegressor
from skgd.losses import Loss
from skgd.optimizers import SGD

# %%
# Exploding: a stream in which three rows came in with the wrong unit, a hundred times too large. Plain steps are thrown
# off by each; clipped ones hardly notice.

rng = np.random.default_rng(0)
X = rng.normal(size=(600, 1))
y = 2 * X.ravel() + rng.normal(0, 0.5, size=600)
X[[150, 300, 450]] *= 100
paths, norms = {}, {}
for max_grad_norm in (None, 1.0):
    model = GDRegressor(
        optimizer=SGD(0.05),
        max_grad_norm=max_grad_norm,
        batch_size=1,
        fit_intercept=False,
        precondition=False,
    )
    paths[max_grad_norm] = [model.partial_fit(X[i : i + 1], y[i : i + 1]).coef_[0] for i in range(len(y))]
    norms[max_grad_norm] = model.history_["gradient_norm"]
    farthest = max(np.abs(paths[max_grad_norm]))
    print(f"max_grad_norm={max_grad_norm}: the coefficient was off by up to {farthest - 2:.3g}")

figure, (top, bottom) = plt.subplots(2, 1, figsize=(6, 5.2), sharex=True, layout="constrained")
labels = {None: ("max_grad_norm=None", "#D55E00", "--"), 1.0: ("max_grad_norm=1", "#0072B2", "-")}
for max_grad_norm, (label, color, line) in labels.items():
    top.semilogy(norms[max_grad_norm], color=color, linestyle=line, linewidth=1, label=label)
    bottom.plot(paths[max_grad_norm], color=color, linestyle=line, label=label)
top.set_ylabel("norm of the gradient (y²)")
bottom.set(yscale="symlog", xlabel="rows seen", ylabel="coefficient (2 is right)")
bottom.legend(loc="lower right")

# %%
# Vanishing: the squared error of a probability. It looks reasonable, but its gradient has the factor p(1 - p), the
# slope of the sigmoid, which is nothing where the model is sure, even if it is sure of the wrong. The log loss cancels
# that factor. (In a deep network there is one such factor for each layer: see
# :ref:`sphx_glr_gallery_plot_deep_gradients.py`.)


class SquaredProbabilityError(Loss):
    """Half the squared difference between the label, 0 or 1, and its probability: the Brier score, halved."""

    label_values = (0.0, 1.0)
    curvature = 0.1
    probability = staticmethod(expit)

    @staticmethod
    def value(y, raw, hyper):
        return 0.5 * (1 / (1 + np.exp(-raw)) - y) ** 2

    @staticmethod
    def gradient(y, raw, hyper):
        p = 1 / (1 + np.exp(-raw))
        return (p - y) * p * (1 - p)


# %%
# Both start from a model that is sure of the wrong class, and take the same number of steps.

X = rng.normal(size=(300, 1)) + 2 * np.repeat([[-1], [1]], 150, axis=0)
y = np.repeat([0, 1], 150)
accuracies = {}
for name, loss in {"log loss": "log_loss", "squared error": SquaredProbabilityError()}.items():
    model = GDClassifier(loss=loss, optimizer=SGD(0.5), batch_size=None, precondition=False)
    model.partial_fit(X, y, classes=[0, 1]).coef_ = np.array([[-10.0]])
    accuracies[name] = [model.partial_fit(X, y).score(X, y) for _ in range(100)]
    print(f"{name:14s}accuracy after 100 steps from the wrong side: {accuracies[name][-1]:.2f}")

raw = np.linspace(-8, 8, 200)
figure, (left, right) = plt.subplots(1, 2, figsize=(6.4, 3.4), layout="constrained")
left.plot(raw, expit(raw) - 1, color="#0072B2", label="log loss")
left.plot(raw, SquaredProbabilityError.gradient(1.0, raw, ()), color="#D55E00", linestyle="--", label="squared error")
left.set(title="gradient where the label is 1", xlabel="raw prediction (log-odds)", ylabel="gradient")
for (name, accuracy), color, line in zip(accuracies.items(), ("#0072B2", "#D55E00"), ("-", "--"), strict=True):
    right.plot(accuracy, color=color, linestyle=line, label=name)
right.set(title="from a wrong start", xlabel="steps", ylabel="accuracy", ylim=(-0.05, 1.05))
right.legend(loc="center right")
plt.show()
