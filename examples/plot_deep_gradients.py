r"""
Vanishing and exploding gradients in deep networks
==================================================

Backpropagation carries the derivative :math:`\delta` of the loss from the last layer to the first. On its way through
each layer it is multiplied by the layer's coefficients and by the slope of the activation,

.. math:: \delta_{in} = (\delta W^T) \odot \varphi'(z_{in})

A product of many factors vanishes if they are below one, and explodes if they are above. ``history_`` has the norm of
each layer's gradient, so that both are seen. (A linear model can meet them, too: see
:ref:`sphx_glr_gallery_plot_exploding_vanishing.py`.)
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_diabetes, make_moons

from skgd import GDClassifier, GDRegressor
from skgd.optimizers import SGD

# %%
# Vanishing: six hidden layers learn the two moons by plain gradient descent. The slope of the logistic function is a
# quarter at most. From each layer to the one before, its gradient loses about that factor, and the first layer gets a
# thousandth of what the last one gets. Nothing is learnt. The rectifier has the slope 1 wherever it is active, and He's
# initialisation makes the coefficients large enough for the half that is cut off. Or take fewer layers: with one, the
# logistic function learns, too.

X, y = make_moons(300, noise=0.15, random_state=0)
networks = {
    "logistic, 6": {"hidden_layer_sizes": (16,) * 6, "activation": "logistic"},
    "relu, 6": {"hidden_layer_sizes": (16,) * 6, "activation": "relu"},
    "logistic, 1": {"hidden_layer_sizes": (16,), "activation": "logistic"},
}
figure, (left, right) = plt.subplots(1, 2, figsize=(6.4, 3.4), layout="constrained")
styles = [("#D55E00", "--", "s"), ("#0072B2", "-", "o"), ("#009E73", "-.", "^")]
for (name, network), (color, line, marker) in zip(networks.items(), styles, strict=True):
    model = GDClassifier(**network, optimizer=SGD(0.1), batch_size=32, max_iter=60, tol=None, random_state=0).fit(X, y)
    numbers = np.arange(1, len(model.coefs_) + 1)
    norms = [model.history_[f"gradient_norm_layer_{number}"][0] for number in numbers]
    print(f"{name:12s} accuracy {model.score(X, y):.2f}, first gradients {norms[0]:.4f} ... {norms[-1]:.4f}")
    left.semilogy(numbers, norms, color=color, linestyle=line, marker=marker, label=name)
    right.plot(model.history_["loss"], color=color, linestyle=line, label=name)
left.set(title="first epoch", xlabel="layer", ylabel="norm of the gradient", xticks=range(1, 8))
right.set(title="training", xlabel="epochs", ylabel="log loss", ylim=(0, 0.8))
right.legend(title="hidden layers", loc="upper right", bbox_to_anchor=(1, 0.85))

# %%
# Exploding: blood pressure and cholesterol in their own units, around a hundred, and a target that is as large. The
# first step is so long that it changes the coefficients of all layers beyond recognition, and the next gradient has the
# product of them all in it. With ``max_grad_norm``, no step is longer than the rate times this norm. Standardised
# coordinates (``precondition=True``, the default) keep the numbers small from the start.

X, y = load_diabetes(return_X_y=True, scaled=False)
remedies = {"neither": {}, "max_grad_norm=1": {"max_grad_norm": 1.0}, "precondition=True": {"precondition": True}}
figure, ax = plt.subplots(figsize=(6.4, 3.4), layout="constrained")
for (name, remedy), (color, line, marker) in zip(remedies.items(), styles, strict=True):
    settings = {"optimizer": SGD(0.01), "batch_size": None, "precondition": False} | remedy
    model = GDRegressor(hidden_layer_sizes=(16,) * 6, random_state=1, **settings)
    try:
        for step in range(260):
            rows = slice(step % 13 * 34, step % 13 * 34 + 34)
            model.partial_fit(X[rows], y[rows])
        print(f"{name:18s} R² {model.score(X, y):.2f}")
    except ValueError as error:
        print(f"{name:18s} {str(error).split(' (')[0]}")
    norms = model.history_["gradient_norm"]
    ax.plot(range(1, len(norms) + 1), norms, color=color, linestyle=line, marker=marker, markersize=3, label=name)
ax.set(xscale="log", yscale="log", xlabel="steps", ylabel="norm of the gradient, before clipping")
ax.legend()
plt.show()
