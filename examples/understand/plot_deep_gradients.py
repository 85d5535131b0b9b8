r"""
Vanishing and exploding gradients in deep networks
==================================================

Backpropagation propagates the derivative :math:`\delta` of the loss from the last layer to the first. Each layer
multiplies it by its coefficients and by the derivative of its activation,

.. math:: \delta_{in} = (\delta W^T) \odot \varphi'(z_{in})

A product of many factors vanishes if they are below one, and explodes if they are above. ``history_`` records the
gradient norm of each layer. (Both can happen in a linear model, too: see
:ref:`sphx_glr_gallery_understand_plot_exploding_vanishing.py`.)
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_diabetes, make_moons

from skgd import GDClassifier, GDRegressor
from skgd.optimizers import SGD

# %%
# Vanishing gradients: six hidden layers, trained on the two moons by plain SGD. The derivative of the logistic function
# is at most 1/4. From each layer to the previous one, the gradient decreases by about this factor, so that the gradient
# of the first layer is a thousandth of that of the last, and the network does not learn. ReLU has the derivative 1
# where it is active, and He initialization makes up for the half that it zeroes. Or use fewer layers: a single logistic
# layer learns, too.

X, y = make_moons(300, noise=0.15, random_state=0)
networks = {
    "logistic, 6": {
        "hidden_layer_sizes": (16,) * 6,
        "activation": "logistic",
    },
    "relu, 6": {"hidden_layer_sizes": (16,) * 6, "activation": "relu"},
    "logistic, 1": {"hidden_layer_sizes": (16,), "activation": "logistic"},
}
figure, (left, right) = plt.subplots(
    1, 2, figsize=(6.4, 3.4), layout="constrained"
)
styles = [
    ("#D55E00", "--", "s"),
    ("#0072B2", "-", "o"),
    ("#009E73", "-.", "^"),
]
for (name, network), (color, line, marker) in zip(
    networks.items(), styles, strict=True
):
    model = GDClassifier(
        **network,
        optimizer=SGD(0.1),
        batch_size=32,
        max_iter=60,
        tol=None,
        random_state=0,
    ).fit(X, y)
    numbers = np.arange(1, len(model.coefs_) + 1)
    norms = [
        model.history_[f"gradient_norm_layer_{number}"][0]
        for number in numbers
    ]
    print(
        f"{name:12s} accuracy {model.score(X, y):.2f}, "
        f"first gradients {norms[0]:.4f} ... {norms[-1]:.4f}"
    )
    left.semilogy(
        numbers, norms, color=color, linestyle=line, marker=marker, label=name
    )
    right.plot(
        model.history_["loss"], color=color, linestyle=line, label=name
    )
left.set(
    title="first epoch",
    xlabel="layer",
    ylabel="gradient norm",
    xticks=range(1, 8),
)
right.set(title="training", xlabel="epochs", ylabel="log loss", ylim=(0, 0.8))
right.legend(
    title="hidden layers", loc="upper right", bbox_to_anchor=(1, 0.85)
)

# %%
# Exploding gradients: blood pressure and cholesterol in their original units, around a hundred, and a target of the
# same order. The first step changes the coefficients of all layers drastically, and the next gradient contains the
# product of all of them. With ``max_grad_norm``, no step is longer than the learning rate times this norm. Internal
# standardization (``precondition=True``, the default) keeps the numbers small from the start.

X, y = load_diabetes(return_X_y=True, scaled=False)
remedies = {
    "neither": {},
    "max_grad_norm=1": {"max_grad_norm": 1.0},
    "precondition=True": {"precondition": True},
}
figure, ax = plt.subplots(figsize=(6.4, 3.4), layout="constrained")
for (name, remedy), (color, line, marker) in zip(
    remedies.items(), styles, strict=True
):
    settings = {
        "optimizer": SGD(0.01),
        "batch_size": None,
        "precondition": False,
    } | remedy
    model = GDRegressor(
        hidden_layer_sizes=(16,) * 6, random_state=1, **settings
    )
    try:
        for step in range(260):
            rows = slice(step % 13 * 34, step % 13 * 34 + 34)
            model.partial_fit(X[rows], y[rows])
        print(f"{name:18s} R² {model.score(X, y):.2f}")
    except ValueError as error:
        print(f"{name:18s} {str(error).split(' (')[0]}")
    norms = model.history_["gradient_norm"]
    ax.plot(
        range(1, len(norms) + 1),
        norms,
        color=color,
        linestyle=line,
        marker=marker,
        markersize=3,
        label=name,
    )
ax.set(
    xscale="log",
    yscale="log",
    xlabel="steps",
    ylabel="gradient norm before clipping",
)
ax.legend()
plt.show()
