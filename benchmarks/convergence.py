"""Convergence: how many of some random runs end far from the minimum without a warning.

``python -m benchmarks.convergence`` prints what every run came to, too.
"""

import sys
import time
import warnings
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
from scipy.special import expit, log_expit, log_softmax
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler

from benchmarks.common import Row
from skgd import GDClassifier, GDRegressor
from skgd.optimizers import OPTIMIZERS

TITLE = "Convergence: runs that end far from the minimum and say nothing"
COLUMNS = ("% silent", "runs", "warned, median distance")

TOLERANCES: dict[str, Any] = {"default": {}, "1e-4": {"tol": 1e-4}, "1e-8": {"tol": 1e-8}}
RUNS = 960


def rows(shrink: int) -> Iterator[Row]:
    """Summarize random runs by what was asked for, with the shares that may not be exceeded."""
    results = [run(number) for number in range(RUNS // shrink)]
    for tolerance in TOLERANCES:
        of_one = [result for result in results if result["tol"] == tolerance]
        for limit, target in ((0.01, 1.0), (0.1, 0.0)):
            yield _summary(f"tol {tolerance}, over {limit:.0%} of the gain", of_one, limit, target)
    yield _summary("all, over 1% of the gain", results, 0.01, 1.0)


def _summary(case: str, results: list[dict[str, Any]], limit: float, target: float) -> Row:
    silent = [result for result in results if not result["warned"] and not result["distance"] <= limit]
    warned = sum(result["warned"] for result in results)
    median = np.median([result["distance"] for result in results])
    share = 100.0 * len(silent) / max(len(results), 1)
    return Row(case, share, target, str(len(results)), f"{100 * warned / max(len(results), 1):.0f} %, {median:.1e}")


def run(number: int) -> dict[str, Any]:
    """Fit a random model to random data, and return how far it is from the minimum, relative to the gain."""
    rng = np.random.default_rng(number)
    optimizer = str(rng.choice([*OPTIMIZERS, "auto"]))
    tolerance, batch_size = str(rng.choice([*TOLERANCES])), [None, 32][rng.integers(2)]
    data, alpha = str(rng.choice([*DATA])), float(10.0 ** rng.uniform(-5.0, -1.0))
    X, y = data_set(data)
    kind = GDRegressor if y.dtype.kind == "f" else GDClassifier
    model = kind(optimizer=optimizer, batch_size=batch_size, alpha=alpha, random_state=0, **TOLERANCES[tolerance])
    started = time.perf_counter()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(X, y)
    seconds = time.perf_counter() - started
    warned = any(issubclass(warning.category, ConvergenceWarning) for warning in caught)
    minimum = objective(X, y, alpha, *minimizer(data, alpha))
    gain = objective(X, y, alpha, *constant(y, X.shape[1])) - minimum
    distance = (objective(X, y, alpha, model.coef_, model.intercept_) - minimum) / gain
    return {
        "optimizer": optimizer,
        "tol": tolerance,
        "batch_size": batch_size,
        "data": data,
        "alpha": alpha,
        "distance": max(float(distance), 0.0),
        "warned": warned,
        "n_iter": model.n_iter_,
        "reason": getattr(model, "stop_reason_", ""),
        "certified": getattr(model, "suboptimality_", np.nan),
        "seconds": seconds,
    }


# ---------------------------------------------------------------------------------------------------------------------
# Data, of growing condition
# ---------------------------------------------------------------------------------------------------------------------


def _columns(n_rows: int, n_columns: int, condition: float) -> np.ndarray:
    """Return columns of unit variance whose second moments have this condition number, nearly."""
    rng = np.random.default_rng(0)
    directions = np.linalg.qr(rng.normal(size=(n_columns, n_columns)))[0]
    X = rng.normal(size=(n_rows, n_columns)) * np.geomspace(1.0, condition**-0.5, n_columns) @ directions
    return StandardScaler().fit_transform(X)


def _numbers(X: np.ndarray, noise: float) -> np.ndarray:
    """Return targets to which each principal component of the columns contributes alike, and noise."""
    rng = np.random.default_rng(1)
    components = np.linalg.svd(X - X.mean(axis=0), full_matrices=False)[0] * len(X) ** 0.5
    return components @ rng.normal(size=components.shape[1]) / components.shape[1] ** 0.5 + noise * rng.normal(
        size=len(X)
    )


def _labels(X: np.ndarray) -> np.ndarray:
    score = 2.0 * _numbers(X, 0.0)
    return (np.random.default_rng(2).random(len(X)) < expit(score)).astype(int)


DATA = {
    "diabetes": lambda: load_diabetes(return_X_y=True),
    "independent": lambda: (X := _columns(1000, 20, 1.0), _numbers(X, 0.5)),
    "condition 1e3": lambda: (X := _columns(1000, 20, 1e3), _numbers(X, 0.5)),
    "condition 1e6": lambda: (X := _columns(1000, 20, 1e6), _numbers(X, 0.5)),
    "powers": lambda: (X := np.linspace(0.0, 1.0, 300)[:, np.newaxis] ** np.arange(1, 8), np.sin(6.0 * X[:, 0])),
    "breast cancer": lambda: load_breast_cancer(return_X_y=True),
    "iris": lambda: load_iris(return_X_y=True),
    "labels, condition 1e6": lambda: (X := _columns(1000, 15, 1e6), _labels(X)),
}


@cache
def data_set(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of one name, standardized, and targets or labels."""
    X, y = DATA[name]()
    return StandardScaler().fit_transform(X), y.astype(float) if name == "diabetes" else y


# ---------------------------------------------------------------------------------------------------------------------
# The minimum, by other solvers
# ---------------------------------------------------------------------------------------------------------------------


def objective(X: np.ndarray, y: np.ndarray, alpha: float, coef: np.ndarray, intercept: np.ndarray) -> float:
    """Return the mean loss and the L2 penalty."""
    raw = X @ np.atleast_2d(coef).T + intercept
    penalty = 0.5 * alpha * float(np.square(coef).sum())
    if y.dtype.kind == "f":
        return 0.5 * float(np.square(raw[:, 0] - y).mean()) + penalty
    if raw.shape[1] == 1:
        return float(-log_expit(np.where(y == 1, raw[:, 0], -raw[:, 0])).mean()) + penalty
    return float(-log_softmax(raw, axis=1)[np.arange(len(y)), y].mean()) + penalty


@cache
def minimizer(name: str, alpha: float) -> tuple[np.ndarray, np.ndarray]:
    """Return coefficients and intercepts at the minimum, by direct and by Newton's methods."""
    X, y = data_set(name)
    if y.dtype.kind == "f":
        model = Ridge(alpha * len(y), solver="svd").fit(X, y)
    else:
        model = LogisticRegression(C=1.0 / (alpha * len(y)), solver="newton-cholesky", tol=1e-10, max_iter=1000)
        model.fit(X, y)
    return model.coef_, model.intercept_


def constant(y: np.ndarray, n_columns: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the best model without a coefficient."""
    if y.dtype.kind == "f":
        return np.zeros((1, n_columns)), np.array([y.mean()])
    shares = np.bincount(y) / len(y)
    intercept = np.log(shares) if len(shares) > 2 else np.log(shares[1:] / shares[0])
    return np.zeros((len(intercept), n_columns)), intercept


if __name__ == "__main__":
    for each in range(*map(int, sys.argv[1:] or [RUNS])):
        print(" ".join(f"{value:.3g}" if isinstance(value, float) else str(value) for value in run(each).values()))
