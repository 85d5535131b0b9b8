r"""
Hidden layers: XOR, two moons, a sine curve
===========================================

The decision boundary of a linear model is a hyperplane, which cannot separate some data sets. With
``hidden_layer_sizes``, the same estimators train a multilayer network with nonlinear decision boundaries.
"""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import ListedColormap
from sklearn.datasets import make_moons
from sklearn.inspection import DecisionBoundaryDisplay

from skgd import GDClassifier, GDRegressor

# %%
# XOR, exclusive or: one of the two inputs is 1, but not both. Minsky and Papert showed in 1969 that a perceptron cannot
# learn it. Here each of its four corners is a cloud of points. The second data set are two interleaving half circles.

rng = np.random.default_rng(0)
corners = rng.integers(0, 2, size=(300, 2))
data = {
    "XOR": (
        corners + rng.normal(0, 0.15, size=corners.shape),
        corners[:, 0] ^ corners[:, 1],
    ),
    "two moons": make_moons(300, noise=0.15, random_state=0),
}
layers = {"linear": (), "16 hidden neurons": (16,)}

figure, axes = plt.subplots(2, 2, figsize=(6.4, 6), layout="constrained")
for row, (name, (X, y)) in zip(axes, data.items(), strict=True):
    for ax, (kind, sizes) in zip(row, layers.items(), strict=True):
        model = GDClassifier(hidden_layer_sizes=sizes, random_state=0).fit(
            X, y
        )
        print(
            f"{name}, {kind}: "
            f"accuracy {model.score(X, y):.3f} after {model.n_iter_} epochs"
        )
        surface = {
            "response_method": "predict_proba",
            "levels": np.linspace(0, 1, 11),
            "cmap": "RdBu",
            "alpha": 0.7,
        }
        DecisionBoundaryDisplay.from_estimator(
            model, X, ax=ax, eps=0.3, **surface
        )
        ax.scatter(
            *X.T,
            c=y,
            cmap=ListedColormap(["#B2182B", "#2166AC"]),
            edgecolors="white",
            linewidths=0.4,
            s=18,
        )
        ax.set(title=f"{name}: {kind}", xticks=[], yticks=[])

# %%
# In regression with the rectifier (``"relu"``, the default), the function is piecewise linear; with the hyperbolic
# tangent it is smooth.

x = rng.uniform(-np.pi, np.pi, size=(400, 1))
y = np.sin(x.ravel()) + rng.normal(0, 0.1, size=400)
grid = np.linspace(-np.pi, np.pi, 400)[:, np.newaxis]

figure, ax = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
ax.plot(x, y, ".", color="0.75", label="data")
models = {
    "linear": GDRegressor(),
    "relu": GDRegressor(hidden_layer_sizes=(10,), random_state=0),
    "tanh": GDRegressor(
        hidden_layer_sizes=(10,), activation="tanh", random_state=0
    ),
}
styles = [("#009E73", "-."), ("#D55E00", "--"), ("#0072B2", "-")]
for (name, model), (color, line) in zip(models.items(), styles, strict=True):
    model.fit(x, y)
    farthest = np.abs(model.predict(grid) - np.sin(grid.ravel())).max()
    print(
        f"sine, {name}: R² {model.score(x, y):.3f}, "
        f"largest error {farthest:.2f}"
    )
    ax.plot(
        grid, model.predict(grid), color=color, linestyle=line, label=name
    )
ax.set(xlabel="x (radians)", ylabel="y", title="ten hidden neurons")
ax.legend()
plt.show()
