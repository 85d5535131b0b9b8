r"""
Matrix factorization with missing ratings
=========================================

People rate a few of many films. A rating is modeled as the sum of a base rating, an offset of the person, an offset of
the film, and the inner product of latent factors of the person and the film:

.. math:: r_{ij} \approx m + p_i + f_j + u_i \cdot v_j

If all ratings are known, a singular value decomposition finds the factors. With missing ratings, gradient descent
minimizes the squared error over the known ratings, which is a smooth function of all parameters. This is a common
method for recommender systems.
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy.optimize import minimize

from skgd.optimizers import Adam
from skgd.schedules import Cosine

PEOPLE, FILMS, FACTORS = 120, 60, 3

rng = np.random.default_rng(0)
true = 3 + rng.normal(0, 0.4, (PEOPLE, 1)) + rng.normal(0, 0.4, FILMS)
true += rng.normal(size=(PEOPLE, FACTORS)) @ rng.normal(
    0, 0.5, (FACTORS, FILMS)
)
ratings = true + rng.normal(0, 0.3, true.shape)
rated = rng.random(true.shape) < 0.3
held_out = rated & (rng.random(true.shape) < 0.2)
known = rated & ~held_out
print(
    f"{known.sum()} ratings to learn from, {held_out.sum()} held out, "
    f"{(~rated).sum()} missing"
)

# %%
# The function and its gradient. The parameters are one vector, which is split into the parts of the formula. The
# penalty keeps the factors of people with few ratings close to zero, as ``alpha`` does with coefficients.

SHAPES = (
    (1, 1),
    (PEOPLE, 1),
    (1, FILMS),
    (PEOPLE, FACTORS),
    (FILMS, FACTORS),
)
ENDS = np.cumsum([np.prod(shape) for shape in SHAPES])


def parts(theta):
    """Return base rate, offsets and factors of people and of films."""
    return [
        part.reshape(shape)
        for part, shape in zip(
            np.split(theta, ENDS[:-1]), SHAPES, strict=True
        )
    ]


def predicted(theta):
    """Return the ratings of all films by all people."""
    base, people, films, u, v = parts(theta)
    return base + people + films + u @ v.T


def error_and_gradient(theta, penalty=2.0):
    """Return half the squared errors, with a penalty, and the derivatives."""
    *_, u, v = parts(theta)
    error = np.where(known, predicted(theta) - ratings, 0.0)
    penalized = np.r_[0.0, theta[1:]]  # all but the base rating
    gradient = [
        error.sum(),
        error.sum(axis=1),
        error.sum(axis=0),
        error @ v,
        error.T @ u,
    ]
    gradient = (
        np.concatenate([np.ravel(part) for part in gradient])
        + penalty * penalized
    )
    return 0.5 * np.sum(error**2) + 0.5 * penalty * np.sum(
        penalized**2
    ), gradient


# %%
# The factors are initialized with small random numbers, because their gradients are zero at zero: a saddle point. With
# a decaying learning rate, Adam converges.


def error_of(which, theta):
    """Return the root mean square error of some of the ratings."""
    return np.sqrt(np.mean((predicted(theta) - ratings)[which] ** 2))


start = rng.normal(0, 0.1, ENDS[-1])
curves = {"known": [], "held out": []}


def record(theta):
    """Record the errors on the known and on the held-out ratings."""
    curves["known"].append(error_of(known, theta))
    curves["held out"].append(error_of(held_out, theta))


adam = Adam(learning_rate=Cosine(0.1, decay_steps=300))
result = minimize(
    error_and_gradient,
    start,
    jac=True,
    method=adam,
    callback=record,
    options={"maxiter": 300},
)
mean = np.sqrt(np.mean((ratings[known].mean() - ratings)[held_out] ** 2))
print(
    f"error on held-out ratings: {mean:.2f} by the mean, "
    f"{curves['held out'][-1]:.2f} by the factors"
)
on_missing = np.sqrt(np.mean((predicted(result.x) - true)[~rated] ** 2))
print(f"error on missing ratings, without noise: {on_missing:.2f}")

# %%
# The plots: known, predicted and true ratings, and the errors during training.

layout = [["known", "predicted", "true"], ["errors"] * 3]
figure, axes = plt.subplot_mosaic(
    layout, figsize=(7, 7), height_ratios=(2, 1), layout="constrained"
)
shown = {
    "known": np.where(known, ratings, np.nan),
    "predicted": predicted(result.x),
    "true": true,
}
for name, values in shown.items():
    image = axes[name].imshow(
        values, vmin=0.5, vmax=5.5, aspect="auto", interpolation="nearest"
    )
    axes[name].set(title=name, xlabel="film")
axes["known"].set(ylabel="person")
figure.colorbar(image, ax=axes["true"], label="rating")
for (name, curve), line in zip(curves.items(), ("-", "--"), strict=True):
    axes["errors"].plot(curve, linestyle=line, label=name)
axes["errors"].set(
    xlabel="steps", ylabel="root mean square error", ylim=(0, None)
)
axes["errors"].legend()
plt.show()
