r"""
Ridge, lasso and early stopping
===============================

Three kinds of regularization. The L2 penalty shrinks all coefficients, the L1 penalty sets some of them to exactly
zero, and early stopping stops before the model overfits.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from skgd import GDRegressor

# %%
# Ten features of 442 patients. The effect of a penalty depends on the units of the features, so that they are
# standardized here.

data = load_diabetes(scaled=False)
X, y = StandardScaler().fit_transform(data.data), data.target
alphas = np.geomspace(1e-2, 1e2, 15)
coefficients = {}
for name, l1_ratio in {"L2 (ridge)": 0.0, "L1 (lasso)": 1.0}.items():
    model = GDRegressor(l1_ratio=l1_ratio, tol=1e-4, max_iter=3000)
    coefficients[name] = np.array(
        [model.set_params(alpha=alpha).fit(X, y).coef_ for alpha in alphas]
    )
    zeros = (coefficients[name] == 0).sum(axis=1)
    print(
        f"{name}: exact zeros from alpha = {alphas[0]:.2g} to "
        f"{alphas[-1]:.2g}: {', '.join(map(str, zeros))}"
    )

figure, axes = plt.subplots(
    1, 2, figsize=(6.4, 3.8), sharey=True, layout="constrained"
)
for ax, (name, paths) in zip(axes, coefficients.items(), strict=True):
    colors = plt.colormaps["cividis"](
        np.linspace(0, 0.95, len(data.feature_names))
    )
    for number, (path, feature) in enumerate(
        zip(paths.T, data.feature_names, strict=True)
    ):
        ax.semilogx(
            alphas,
            path,
            color=colors[number],
            linestyle=("-", "--", ":")[number % 3],
            label=feature,
        )
    ax.axhline(0, color="black", linewidth=0.8)
    ax.set(title=name, xlabel="alpha (penalty strength)")
axes[0].set_ylabel("coefficient (target per standard deviation)")
axes[1].legend(fontsize=8, ncols=2)

# %%
# With all products of two and three features there are 285 features: too many for 150 training samples. The training
# loss keeps decreasing; the validation loss increases after some epochs, and with ``X_val`` and ``y_val`` the best
# epoch is kept.

wide = make_pipeline(
    PolynomialFeatures(3, include_bias=False), StandardScaler()
).fit_transform(X)
X_train, X_val, y_train, y_val = train_test_split(
    wide, y, train_size=150, random_state=0
)
model = GDRegressor(n_iter_no_change=60, max_iter=300, random_state=0)
model.fit(X_train, y_train, X_val=X_val, y_val=y_val)
losses, validation = (
    model.history_["loss"],
    np.array(model.history_["validation_loss"]),
)
best = validation.argmin()
kept = np.mean((model.predict(X_val) - y_val) ** 2) / 2
print(
    f"best epoch {best + 1} of {model.n_iter_}, "
    f"validation loss {validation[best]:.0f}, of the model {kept:.0f}"
)

figure, ax = plt.subplots(figsize=(6, 3.6), layout="constrained")
epochs = np.arange(1, model.n_iter_ + 1)
ax.loglog(epochs, losses, color="#0072B2", label="training set")
ax.loglog(
    epochs,
    validation,
    color="#D55E00",
    linestyle="--",
    label="validation set",
)
ax.plot(
    best + 1,
    validation[best],
    color="#D55E00",
    marker="*",
    markersize=14,
    linestyle="none",
    label="kept",
)
ax.set(xlabel="epoch", ylabel="half the mean squared error (target²)")
ax.legend()
plt.show()
