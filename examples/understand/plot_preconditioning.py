r"""
Standardized features and implicit steps
========================================

Features in different units make a problem ill-conditioned: a coefficient per square meter and one per room differ by
orders of magnitude, and no learning rate suits both. With ``precondition=True`` the optimizer works on standardized
features, for which the condition number is smaller. The minimum is the same.

An implicit step evaluates the gradient at its *end*, not at its start, so that it cannot overshoot. With
``learning_rate="auto"`` steps are implicit, so that a learning rate that is much too large does no harm.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_diabetes

from skgd import GDRegressor
from skgd.optimizers import SGD
from skgd.schedules import Piecewise

# %%
# Synthetic rents, from the area in square meters and the number of rooms, both centered.

rng = np.random.default_rng(0)
rooms = rng.integers(1, 6, size=200)
area = 22 * rooms + rng.normal(0, 30, size=200)
X = np.column_stack([area - area.mean(), rooms - rooms.mean()])
y = X @ [10.0, 80.0] + rng.normal(0, 40, size=200)
best = np.linalg.lstsq(X, y)[0]


def gap(w):
    """Return how far J(w) lies above its minimum."""
    return 0.5 * np.mean(((w - best) @ X.T) ** 2, axis=-1)


# %%
# Thirty steps without and with preconditioning, at a suitable learning rate.

paths = {}
for precondition in (False, True):
    Z = (X - X.mean(axis=0)) / X.std(axis=0) if precondition else X
    rate = 1 / np.linalg.eigvalsh(Z.T @ Z / len(Z))[1]
    model = GDRegressor(
        optimizer=SGD(rate),
        batch_size=None,
        precondition=precondition,
        average=False,
    )
    path = [np.zeros(2)] + [model.partial_fit(X, y).coef_ for _ in range(30)]
    paths[precondition] = np.array(path)
    print(
        f"precondition={precondition!s:6s} €/m² {path[-1][0]:5.2f}, "
        f"€ per room {path[-1][1]:6.2f}"
    )
print(f"minimum:             €/m² {best[0]:5.2f}, € per room {best[1]:6.2f}")

figure, axes = plt.subplots(1, 2, figsize=(6.4, 3.4), layout="constrained")
for ax, (precondition, path) in zip(axes, paths.items(), strict=True):
    unit = X.std(axis=0) if precondition else np.ones(2)
    low, high = np.array([-1, -15]), np.array([14, 195])
    first, second = np.meshgrid(*np.linspace(low, high, 100).T)
    heights = gap(np.stack([first, second], axis=-1))
    levels = np.geomspace(heights.min() + 50, heights.max(), 9)
    ax.contour(
        first * unit[0],
        second * unit[1],
        heights,
        levels=levels,
        colors="0.75",
        linewidths=0.8,
    )
    ax.plot(
        *(path * unit).T,
        color="#D55E00" if precondition else "#0072B2",
        marker=".",
        linewidth=1,
    )
    ax.plot(*(best * unit), color="black", marker="*", markersize=12)
    if precondition:
        ax.set(
            title="precondition=True",
            xlabel="€ per std of the area",
            ylabel="€ per std of the number of rooms",
        )
    else:
        ax.set(
            title="precondition=False", xlabel="€ per m²", ylabel="€ per room"
        )

# %%
# The learning rate: the diabetes data in their original units, ten epochs, and multiples of the learning rate that
# ``"auto"`` derives. A number as the learning rate means explicit steps. The same multiple of ``"auto"``, by a
# schedule, means implicit ones.

X, y = load_diabetes(return_X_y=True, scaled=False)
settings = {
    "optimizer": "sgd",
    "batch_size": 32,
    "max_iter": 10,
    "tol": None,
    "random_state": 0,
}
auto = GDRegressor(**settings).fit(X, y).history_["learning_rate"][0]


def score_unless_diverged(model):
    """Return R², and minus infinity where training diverges."""
    try:
        return model.fit(X, y).score(X, y)
    except ValueError:
        return -np.inf


multiples = np.geomspace(0.01, 1000, 16)
kinds = {
    "explicit, raw features": lambda m: {
        "learning_rate": m * auto,
        "precondition": False,
    },
    "explicit": lambda m: {"learning_rate": m * auto},
    "implicit": lambda m: {
        "learning_rate": Piecewise("auto", boundaries=(), factors=(m,))
    },
}
scores = {}
for kind, parameters in kinds.items():
    models = [
        GDRegressor(**settings, **parameters(multiple))
        for multiple in multiples
    ]
    scores[kind] = np.array(
        [score_unless_diverged(model) for model in models]
    )
    works = multiples[scores[kind] > 0.4]
    print(
        f"{kind:23s}R² above 0.4 at "
        + (
            f"{works[0]:.2g} to {works[-1]:.2g} times auto"
            if works.size
            else "no learning rate"
        )
    )

figure, ax = plt.subplots(figsize=(6, 3.6), layout="constrained")
styles = zip(("#0072B2", "#D55E00", "#009E73"), "s^o", strict=True)
for (kind, score), (color, marker) in zip(
    scores.items(), styles, strict=True
):
    ax.semilogx(
        multiples, score.clip(-0.1), color=color, marker=marker, label=kind
    )
ax.set(
    ylim=(-0.12, 0.6),
    xlabel="learning rate (multiples of auto)",
    ylabel="R² after ten epochs (cut off at -0.1)",
)
ax.legend(loc="center left")
plt.show()
