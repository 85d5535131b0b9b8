"""The compiled engine against the vectorised one, which defines the meaning: coefficients agree to 1e-10."""

import itertools
import os
import subprocess
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.base import clone

import skgd.engines
from skgd import GDClassifier, GDRegressor
from skgd.losses import CLASSIFIER_LOSSES, REGRESSOR_LOSSES, Loss
from skgd.optimizers import FTRL, OPTIMIZERS, SGD, AdaGrad, Adam, Optimizer, RMSProp
from skgd.schedules import SCHEDULES
from skgd.training import DivergenceError

FORMATS = {"dense": np.asarray, "csr": sp.csr_array}
ENGINES = {"compiled": 0.0, "vectorized": np.inf}
N_ROWS = 66  # 7 and 64 leave a smaller last batch


def features(n_rows=N_ROWS, seed=0):
    """Rows of many zeros, some rows and columns of nothing else."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_rows, 9)) * rng.uniform(0.5, 2.0, 9) * (rng.random((n_rows, 9)) < 0.4)
    X[::11] = 0.0
    X[:, 4] = 0.0
    return X


def target(kind, X, seed=1):
    """Return an estimator class and a target of one of these kinds."""
    rng = np.random.default_rng(seed)
    signal = X @ rng.normal(size=(9, 3)) + 0.3 * rng.normal(size=(len(X), 3))
    return {
        "number": (GDRegressor, np.exp(0.3 * signal[:, 0])),  # positive, for the losses that want it
        "numbers": (GDRegressor, np.exp(0.3 * signal)),
        "binary": (GDClassifier, signal[:, 0] > 0.0),
        "classes": (GDClassifier, signal.argmax(axis=1)),
        "labels": (GDClassifier, (signal > 0.0).astype(int)),
    }[kind]


def fit_with(engine, estimator, *data, **more):
    """Return a copy of an estimator, trained with an engine whatever the problem's size."""
    with mock.patch.object(skgd.engines, "REPAYS_SECONDS", ENGINES[engine]):
        return clone(estimator).fit(*data, **more)


def assert_agree(one, other, tolerance=1e-10):
    for name in ("coef_", "intercept_"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=tolerance, atol=tolerance)
    assert (one.t_, one.n_iter_) == (other.t_, other.n_iter_)
    assert one.coef_.dtype == other.coef_.dtype
    for name in one.history_.keys() - {"seconds"}:
        np.testing.assert_allclose(one.history_[name], other.history_[name], rtol=10.0 * tolerance, err_msg=name)


def assert_engines_agree(estimator, *data, tolerance=1e-10, **more):
    compiled, vectorized = (fit_with(engine, estimator, *data, **more) for engine in ENGINES)
    assert (compiled.engine_, vectorized.engine_) == ("compiled", "vectorized")
    assert np.abs(vectorized.coef_).max() > 1e-3  # something was learnt
    assert_agree(compiled, vectorized, tolerance)
    return compiled


# -- the registries ---------------------------------------------------------------------------------------------------


def combinations():
    """Yield each optimizer and each loss with each format, and each kind of target; not their product."""
    losses = [*CLASSIFIER_LOSSES, *REGRESSOR_LOSSES]
    for shift, form in enumerate(FORMATS):
        for k in range(max(len(OPTIMIZERS), len(losses))):
            optimizer, loss = list(OPTIMIZERS)[k % len(OPTIMIZERS)], losses[(k + 5 * shift) % len(losses)]
            one, many = ("binary", ("classes", "labels")[k % 2]) if loss in CLASSIFIER_LOSSES else ("number", "numbers")
            yield optimizer, loss, many if (k % 3 == 0) == (form == "dense") else one, form
    yield "adagrad", "log_loss", "classes", "csr"


PENALTIES = {"none": (0.0, 0.0), "l2": (0.01, 0.0), "elastic net": (0.01, 0.7)}
AVERAGES = [False, True, 5, "polynomial"]
RATES = ["auto", "cosine", 0.03, "inverse_scaling"]


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("batch_size", [1, 7, 64, None])
@pytest.mark.parametrize(("optimizer", "loss", "kind", "form"), list(combinations()))
def test_agree(optimizer, loss, kind, form, batch_size, penalty):
    X = features()
    estimator, y = target(kind, X)
    alpha, l1_ratio = PENALTIES[penalty]
    shift = [1, 7, 64, None].index(batch_size) + list(PENALTIES).index(penalty)
    for k, average in enumerate(AVERAGES):
        model = estimator(
            loss,
            optimizer=optimizer,
            learning_rate=RATES[(k + shift) % len(RATES)],
            alpha=alpha,
            l1_ratio=l1_ratio if OPTIMIZERS[optimizer].proximal else 0.0,
            batch_size=batch_size,
            average=average,
            max_iter=10 if batch_size is None else 2,
            tol=None,
            random_state=0,
        )
        assert_engines_agree(model, FORMATS[form](X), y)
