r"""
Second-order methods
====================

Newton's method uses the curvature of the objective, not only its gradient, and moves to the minimum of a quadratic
approximation. L-BFGS approximates the curvature from the last gradients. Both need few steps, but expensive ones: the
Hessian of d coefficients has d² entries, and each step uses all samples.
"""

import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from skgd import GDClassifier

# %%
# Logistic regression with a small penalty, on standardized features, some of which are strongly correlated.

X, y = load_breast_cancer(return_X_y=True)
X = StandardScaler().fit_transform(X)
ALPHA = 1e-3


def objective(model):
    """Return the objective of all methods."""
    raw = (X @ model.coef_.T + model.intercept_).ravel()
    return np.mean(np.logaddexp(0, raw) - y * raw) + ALPHA / 2 * np.sum(
        model.coef_**2
    )


# %%
# The objective against the number of passes over the data. (L-BFGS sometimes needs two for an iteration, which is
# ignored here.)

C = 1 / (len(y) * ALPHA)
lowest = objective(
    LogisticRegression(C=C, solver="newton-cholesky", tol=1e-12).fit(X, y)
)
passes = np.unique(np.geomspace(1, 200, 20).astype(int))
gaps = {}
with warnings.catch_warnings():
    # Training is stopped early on purpose.
    warnings.simplefilter("ignore", ConvergenceWarning)
    for name, solver in {
        "Newton": "newton-cholesky",
        "L-BFGS": "lbfgs",
    }.items():
        models = (
            LogisticRegression(C=C, solver=solver, tol=1e-10, max_iter=n).fit(
                X, y
            )
            for n in passes
        )
        gaps[name] = np.array([objective(model) for model in models]) - lowest

descents = {
    "batch": {"optimizer": "sgd", "batch_size": None, "average": False},
    "mini-batch (defaults)": {},
}
for name, settings in descents.items():
    model = GDClassifier(
        alpha=ALPHA,
        max_iter=1,
        tol=None,
        warm_start=True,
        random_state=np.random.RandomState(0),
        **settings,
    )
    gaps[name] = (
        np.array([objective(model.fit(X, y)) for _ in range(200)])[passes - 1]
        - lowest
    )
for name, gap in gaps.items():
    reached = passes[gap < 0.01]
    print(
        f"{name:22s}within 0.01 of the minimum after "
        f"{reached[0] if reached.size else 'more than 200'} passes"
    )

# %%
# The plot. Mini-batches reduce the objective fastest at first if there are many samples; Newton's method is best for
# the last digits, which rarely matter for predictions.

figure, ax = plt.subplots(figsize=(6, 4), layout="constrained")
styles = zip(
    ("#CC79A7", "#009E73", "#0072B2", "#D55E00"),
    ("-", "-.", "--", "-"),
    strict=True,
)
for (name, gap), (color, line) in zip(gaps.items(), styles, strict=True):
    ax.loglog(
        passes,
        np.maximum(gap, 1e-10),
        color=color,
        linestyle=line,
        label=name,
    )
ax.set(
    ylim=(1e-8, 1),
    xlabel="passes over the data",
    ylabel="objective above the minimum (nats)",
)
ax.legend()
plt.show()
