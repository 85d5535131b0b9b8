r"""
Clustering by gradient descent: soft k-means
============================================

The k-means algorithm assigns each point to its nearest center, moves each center to the mean of its points, and
repeats. The distance to the *nearest* center is not differentiable everywhere. Its soft version is:

.. math:: J(c) = -\frac{T}{n} \sum_i \log \sum_k e^{-\|x_i - c_k\|^2 / T}

With a small temperature T this is the mean squared distance to the nearest center. With a larger one, points between
centers partially belong to several of them. It is a smooth function of the centers, which gradient descent minimizes.
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy.optimize import minimize
from scipy.special import logsumexp, softmax
from sklearn.cluster import KMeans
from sklearn.datasets import make_blobs
from sklearn.metrics import adjusted_rand_score

from skgd.optimizers import Adam
from skgd.schedules import Cosine

POINTS, TRUE_CLUSTER = make_blobs(
    400,
    centers=[(0, 0), (3, 1), (1, 4), (5, 4)],
    cluster_std=0.7,
    random_state=0,
)


def squared_distances(centers):
    """Return the squared distances, (points, centers)."""
    return ((POINTS[:, None] - centers.reshape(-1, 2)) ** 2).sum(axis=2)


def cost(centers, temperature):
    """Return the soft mean squared distance to the nearest center."""
    return (
        -temperature
        * logsumexp(-squared_distances(centers) / temperature, axis=1).mean()
    )


def gradient(centers, temperature):
    """Return the gradient: points pull on centers, by responsibility."""
    share = softmax(-squared_distances(centers) / temperature, axis=1)
    pull = 2 * (
        share.sum(axis=0)[:, None] * centers.reshape(-1, 2) - share.T @ POINTS
    )
    return pull.ravel() / len(POINTS)


# %%
# The centers are initialized close to the mean of all points. Each of them moves towards the points that are closer to
# it than to the others.

start = POINTS.mean(axis=0) + np.random.default_rng(0).normal(0, 0.1, (4, 2))
path = [start.ravel()]
adam = Adam(learning_rate=Cosine(0.1, decay_steps=300))
result = minimize(
    cost,
    start.ravel(),
    args=(1.0,),
    jac=gradient,
    method=adam,
    callback=path.append,
    options={"maxiter": 300},
)
centers, path = result.x.reshape(-1, 2), np.array(path).reshape(-1, 4, 2)
cluster = squared_distances(centers).argmin(axis=1)
k_means = KMeans(4, init=start, n_init=1).fit(POINTS)
print(
    "agreement with the true clusters: "
    f"{adjusted_rand_score(TRUE_CLUSTER, cluster):.2f}"
)
print(
    "mean squared distance to the nearest center: "
    f"{squared_distances(centers).min(axis=1).mean():.3f}"
)
print(
    "k-means from the same initialization: "
    f"{k_means.inertia_ / len(POINTS):.3f}"
)

# %%
# The plot: the path of each center, and the responsibility of the nearest center for each point of the plane.

u, v = np.meshgrid(np.linspace(-2.5, 7.5, 200), np.linspace(-2.5, 6.5, 200))
places = np.stack([u, v], axis=-1)[:, :, None]
sure = softmax(-((places - centers) ** 2).sum(axis=-1), axis=-1).max(axis=-1)
figure, axes = plt.subplots(figsize=(6, 5), layout="constrained")
shades = axes.contourf(
    u, v, sure, levels=np.linspace(0.25, 1, 11), cmap="Greys_r", alpha=0.5
)
figure.colorbar(shades, label="responsibility of the nearest center")
for k, (color, marker) in enumerate(
    zip(("#0072B2", "#D55E00", "#009E73", "#CC79A7"), "os^D", strict=True)
):
    axes.plot(
        *POINTS[cluster == k].T,
        color=color,
        marker=marker,
        markersize=3,
        linestyle="none",
    )
    axes.plot(*path[:, k].T, color="black", linewidth=1.5)
    axes.plot(
        *centers[k],
        color=color,
        marker=marker,
        markersize=11,
        markeredgecolor="black",
    )
axes.plot(*start.T, color="black", marker=".", linestyle="none")
axes.set(
    title="paths of the cluster centers",
    xlabel="feature 1",
    ylabel="feature 2",
)
plt.show()
