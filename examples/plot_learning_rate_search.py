"""
Grid search over the learning rate
==================================

The learning rate can be set, and searched, in two places:

- ``learning_rate`` of the estimator, which takes precedence over that of the optimizer;
- ``optimizer__learning_rate`` if the optimizer is an object; a grid can contain several optimizers.

The plot shows the score against the learning rate, for training runs of ten epochs. Pass ``--output rates.png`` to save
it.
"""

import argparse

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import (
    GridSearchCV,
    StratifiedKFold,
    cross_val_score,
)

from skgd import GDClassifier
from skgd.optimizers import SGD, Adam

parser = argparse.ArgumentParser(
    description="Search for the learning rate, and plot the score against it."
)
parser.add_argument(
    "--output",
    help="the file to save the plot to; without it, the plot is shown",
)
arguments = parser.parse_args()

# %%
# First, the optimizer by its name, and the learning rate as a parameter of the estimator.

X, y = load_digits(return_X_y=True)
X, y = X[:800], y[:800]
settings = {"batch_size": 64, "max_iter": 10, "tol": None, "random_state": 0}
rates = np.logspace(-4, 0, 9)
folds = StratifiedKFold(3, shuffle=True, random_state=0)

by_estimator = GridSearchCV(
    GDClassifier(optimizer="adam", **settings),
    {"learning_rate": rates},
    cv=folds,
).fit(X, y)
best = by_estimator.best_params_["learning_rate"]
print(
    f"learning_rate:            best {best:.3g}, "
    f"accuracy {by_estimator.best_score_:.3f} (Adam)"
)

# %%
# Second, one or several optimizer objects, and the learning rate as their parameter.

grid = {
    "optimizer": [Adam(), SGD(momentum=0.9)],
    "optimizer__learning_rate": rates,
}
by_optimizer = GridSearchCV(GDClassifier(**settings), grid, cv=folds).fit(
    X, y
)
results = by_optimizer.cv_results_
curves = {}
for optimizer in grid["optimizer"]:
    name = type(optimizer).__name__
    chosen = np.array(
        [
            isinstance(tried, type(optimizer))
            for tried in results["param_optimizer"]
        ]
    )
    curves[name] = (
        results["mean_test_score"][chosen],
        results["std_test_score"][chosen],
    )
    mean = curves[name][0]
    print(
        f"optimizer__learning_rate: best {rates[mean.argmax()]:.3g}, "
        f"accuracy {mean.max():.3f} ({name})"
    )

same = np.array_equal(
    curves["Adam"][0], by_estimator.cv_results_["mean_test_score"]
)
print(f"Both ways give Adam the same scores: {same}")

# %%
# Without a search: the learning rate that the optimizer derives from the data.

auto = cross_val_score(
    GDClassifier(optimizer="adam", **settings), X, y, cv=folds
).mean()
print(f"learning_rate='auto':     accuracy {auto:.3f} (Adam)")

# %%
# The plot. Bands are one standard deviation over the folds.

figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
for (name, (mean, deviation)), color, marker in zip(
    curves.items(), ("#0072B2", "#D55E00"), "os", strict=True
):
    best = mean.argmax()
    star = {
        "marker": "*",
        "markersize": 16,
        "markeredgecolor": "black",
        "linestyle": "none",
    }
    axes.plot(
        rates, mean, color=color, marker=marker, markersize=4, label=name
    )
    axes.fill_between(
        rates,
        mean - deviation,
        mean + deviation,
        color=color,
        alpha=0.2,
        linewidth=0,
    )
    axes.plot(
        rates[best],
        mean[best],
        color=color,
        label=f"best of {name}: {rates[best]:.2g}",
        **star,
    )
axes.axhline(
    auto, color="#009E73", linestyle="--", label="Adam, learning_rate='auto'"
)
axes.set(
    xscale="log",
    xlabel="learning rate",
    ylabel="accuracy (mean of 3 folds)",
    title="Handwritten digits: accuracy after 10 epochs",
)
axes.grid(alpha=0.3)
axes.legend(loc="lower right")

if arguments.output:
    figure.savefig(arguments.output, dpi=150)
    print(f"The plot is in {arguments.output}.")
elif figure.canvas.required_interactive_framework:  # there is a display
    plt.show()
else:
    print(
        "There is no display to show the plot on: "
        "pass --output rates.png to save it."
    )
