r"""
Ratings with holes: factorizing a matrix
========================================

People rate a few of many films. Suppose that a rating is a base rate, plus how much a person likes everything, plus how
much everybody likes the film, plus how well a few traits of the person suit those of the film:

.. math:: r_{ij} \approx m + p_i + f_j + u_i \cdot v_j

Where all ratings are known, linear algebra finds the traits (a singular value decomposition). It cannot do with holes.
Gradient descent can: the error is a smooth function of all the numbers on the right, summed over the ratings that there
are. So recommender systems are trained.
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy.optimize import minimize

from skgd.optimizers import Adam
from skgd.schedules import Cosine

PEOPLE, FILMS, TRAITS = 120, 60, 3

rng = np.random.default_rng(0)
true = 3 + rng.normal(0, 0.4, (PEOPLE, 1)) + rng.normal(0, 0.4, FILMS)
true += rng.normal(size=(PEOPLE, TRAITS)) @ rng.normal(0, 0.5, (TRAITS, FILMS))
ratings = true + rng.normal(0, 0.3, true.shape)
rated = rng.random(true.shape) < 0.3
held_out = rated & (rng.random(true.shape) < 0.2)
known = rated & ~held_out
print(f"{known.sum()} ratings to learn from, {held_out.sum()} held out, {(~rated).sum()} holes")

# %%
# The function and its gradient. The parameters are one vector, cut into the parts of the formula. The penalty keeps the
# traits of people who rated little near zero, as ``alpha`` does with coefficients.

SHAPES = ((1, 1), (PEOPLE, 1), (1, FILMS), (PEOPLE, TRAITS), (FILMS, TRAITS))
ENDS = np.cumsum([np.prod(shape) for shape in SHAPES])


def parts(theta):
    """Return base rate, offsets of people and films, and the traits of both."""
    return [part.reshape(shape) for part, shape in zip(np.split(theta, ENDS[:-1]), SHAPES, strict=True)]


def predicted(theta):
    """Return the ratings of all films by all people."""
    base, people, films, u, v = parts(theta)
    return base + people + films + u @ v.T


def error_and_gradient(theta, penalty=2.0):
    """Return half the squared errors of the known ratings, with a penalty, and the derivatives."""
    *_, u, v = parts(theta)
    error = np.where(known, predicted(theta) - ratings, 0.0)
    penalized = np.r_[0.0, theta[1:]]  # all but the base rate
    gradient = [error.sum(), error.sum(axis=1), error.sum(axis=0), error @ v, error.T @ u]
    gradient = np.concatenate([np.ravel(part) for part in gradient]) + penalty * penalized
    return 0.5 * np.sum(error**2) + 0.5 * penalty * np.sum(penalized**2), gradient


# %%
# The traits begin at small random numbers, because at zero their gradients are zero: a saddle. A falling rate lets Adam
# come to rest.


def error_of(which, theta):
    """Return the root mean square error of some of the ratings."""
    return np.sqrt(np.mean((predicted(theta) - ratings)[which] ** 2))


start = rng.normal(0, 0.1, ENDS[-1])
curves = {"known": [], "held out": []}


def watch(theta):
    """Remember the errors of the ratings that are learnt from, and of those that are not."""
    curves["known"].append(error_of(known, theta))
    curves["held out"].append(error_of(held_out, theta))


adam = Adam(learning_rate=Cosine(0.1, decay_steps=300))
result = minimize(error_and_gradient, start, jac=True, method=adam, callback=watch, options={"maxiter": 300})
mean = np.sqrt(np.mean((ratings[known].mean() - ratings)[held_out] ** 2))
print(f"error of held-out ratings: {mean:.2f} by the mean, {curves['held out'][-1]:.2f} by the factors")
in_holes = np.sqrt(np.mean((predicted(result.x) - true)[~rated] ** 2))
print(f"error in the holes, of ratings without their noise: {in_holes:.2f}")

# %%
# The pictures: what is known, what was learnt from it, what there is to learn, and the errors on the way there.

layout = [["known", "predicted", "true"], ["errors"] * 3]
figure, axes = plt.subplot_mosaic(layout, figsize=(7, 7), height_ratios=(2, 1), layout="constrained")
shown = {"known": np.where(known, ratings, np.nan), "predicted": predicted(result.x), "true": true}
for name, values in shown.items():
    image = axes[name].imshow(values, vmin=0.5, vmax=5.5, aspect="auto", interpolation="nearest")
    axes[name].set(title=name, xlabel="film")
axes["known"].set(ylabel="person")
figure.colorbar(image, ax=axes["true"], label="rating")
for (name, curve), line in zip(curves.items(), ("-", "--"), strict=True):
    axes["errors"].plot(curve, linestyle=line, label=name)
axes["errors"].set(xlabel="steps", ylabel="root mean square error", ylim=(0, None))
axes["errors"].legend()
plt.show()
