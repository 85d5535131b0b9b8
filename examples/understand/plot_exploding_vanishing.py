r"""
Exploding and vanishing gradients
=================================

A gradient can be too large for a step, or too small to learn from. Gradient clipping fixes the first: a gradient whose
norm is larger than ``max_grad_norm`` is scaled down to it, in the same direction. The second depends on the loss: if it
is flat where predictions are most wrong, the model does not learn there.
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy.special import expit

from skgd import GDClassifier, GDRegressor
from skgd.losses import Loss
from skgd.optimizers import SGD

# %%
# Exploding gradients: a stream in which three samples are in the wrong unit, a hundred times too large. Each of them
# moves the coefficient far away without clipping, and hardly with clipping.

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
    paths[max_grad_norm] = [
        model.partial_fit(X[i : i + 1], y[i : i + 1]).coef_[0]
        for i in range(len(y))
    ]
    norms[max_grad_norm] = model.history_["gradient_norm"]
    farthest = max(np.abs(paths[max_grad_norm]))
    print(
        f"max_grad_norm={max_grad_norm}: "
        f"the coefficient was off by up to {farthest - 2:.3g}"
    )

figure, (top, bottom) = plt.subplots(
    2, 1, figsize=(6, 5.2), sharex=True, layout="constrained"
)
labels = {
    None: ("max_grad_norm=None", "#D55E00", "--"),
    1.0: ("max_grad_norm=1", "#0072B2", "-"),
}
for max_grad_norm, (label, color, line) in labels.items():
    top.semilogy(
        norms[max_grad_norm],
        color=color,
        linestyle=line,
        linewidth=1,
        label=label,
    )
    bottom.plot(
        paths[max_grad_norm], color=color, linestyle=line, label=label
    )
top.set_ylabel("gradient norm (y²)")
bottom.set(
    yscale="symlog", xlabel="samples", ylabel="coefficient (true value: 2)"
)
bottom.legend(loc="lower right")

# %%
# Vanishing gradients: the squared error of a probability. Its gradient contains the factor p(1 - p), the derivative of
# the sigmoid, which vanishes for confident predictions, even if they are wrong. In the gradient of the log loss this
# factor cancels. (In a deep network there is one such factor per layer: see
# :ref:`sphx_glr_gallery_understand_plot_deep_gradients.py`.)


class SquaredProbabilityError(Loss):
    """Half the squared error of the probability of the label, 0 or 1.

    The Brier score, halved.
    """

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
# Both start from a model with confident wrong predictions, and take the same number of steps.

X = rng.normal(size=(300, 1)) + 2 * np.repeat([[-1], [1]], 150, axis=0)
y = np.repeat([0, 1], 150)
accuracies = {}
for name, loss in {
    "log loss": "log_loss",
    "squared error": SquaredProbabilityError(),
}.items():
    model = GDClassifier(
        loss=loss, optimizer=SGD(0.5), batch_size=None, precondition=False
    )
    model.partial_fit(X, y, classes=[0, 1]).coef_ = np.array([[-10.0]])
    accuracies[name] = [
        model.partial_fit(X, y).score(X, y) for _ in range(100)
    ]
    print(
        f"{name:14s}accuracy after 100 steps from wrong predictions: "
        f"{accuracies[name][-1]:.2f}"
    )

raw = np.linspace(-8, 8, 200)
figure, (left, right) = plt.subplots(
    1, 2, figsize=(6.4, 3.4), layout="constrained"
)
left.plot(raw, expit(raw) - 1, color="#0072B2", label="log loss")
left.plot(
    raw,
    SquaredProbabilityError.gradient(1.0, raw, ()),
    color="#D55E00",
    linestyle="--",
    label="squared error",
)
left.set(
    title="gradient for the label 1",
    xlabel="raw prediction (log-odds)",
    ylabel="gradient",
)
for (name, accuracy), color, line in zip(
    accuracies.items(), ("#0072B2", "#D55E00"), ("-", "--"), strict=True
):
    right.plot(accuracy, color=color, linestyle=line, label=name)
right.set(
    title="training from wrong predictions",
    xlabel="steps",
    ylabel="accuracy",
    ylim=(-0.05, 1.05),
)
right.legend(loc="center right")
plt.show()
