"""Compiling: what the first use of each kind of loop costs on a machine."""

import json
import sys
from collections.abc import Iterator
from tempfile import TemporaryDirectory

import numpy as np
import scipy.sparse as sp

from benchmarks.common import Row, cpu_seconds, duration, printed
from skgd import GDClassifier, GDRegressor
from skgd.losses import CLASSIFIER_LOSSES, REGRESSOR_LOSSES
from skgd.optimizers import OPTIMIZERS

TITLE = "Compiling: CPU seconds of a first use on a machine, minus those with compiled code on disk"
COLUMNS = ("seconds", "nothing compiled", "compiled code on disk")
_TARGET = 6.0
_ROWS = 20_000
_STREAM_OPTIMIZERS = ("sgd", "adam", "rmsprop", "ftrl", "schedule_free")
_REGRESSION = ("squared_error", "huber", "absolute_error", "poisson")
_STREAM_LOSSES = {"log_loss": ("labels", "classes", "multilabel"), "hinge": ("labels",)} | dict.fromkeys(
    _REGRESSION, ("positive",)
)


def rows(shrink: int) -> Iterator[Row]:
    """Measure `fit`, then `partial_fit`, of each kind of data."""
    for number, case in enumerate(_cases()):
        if number % shrink:
            continue
        with TemporaryDirectory() as empty:
            of_case = "-m", "benchmarks.compiling", json.dumps(case)
            first, second = (printed(*of_case, NUMBA_CACHE_DIR=empty) for _ in range(2))
        yield Row(_title(case), first - second, _TARGET, duration(first), duration(second))


def _cases() -> Iterator[dict]:
    """Yield what `_measure` wants."""
    yield from (_case("fit", "dense", target="labels", optimizer=name, batch_size=32) for name in OPTIMIZERS)
    yield from (_case("fit", "dense", target="labels", optimizer=name, batch_size=1) for name in ("sgd", "adam"))
    for losses, target in ((CLASSIFIER_LOSSES, "classes"), (REGRESSOR_LOSSES, "positive")):
        yield from (_case("fit", "dense", target, loss, optimizer="adam", batch_size=32) for loss in losses)
    for data in ("sparse", "text"):
        yield from (
            _case("fit", data, target) for target in ("labels", "classes", "multilabel", "positive", "positives")
        )
        yield from (_case("fit", data, "labels", optimizer=name) for name in _STREAM_OPTIMIZERS)
    for data in ("dense", "text"):
        yield from (
            _case("fit", data, target, hidden_layer_sizes=(20,), batch_size=8)
            for target in ("labels", "classes", "positive")
        )
    for data in ("dense", "sparse", "text"):
        for loss, targets in _STREAM_LOSSES.items():
            yield from (_case("partial_fit", data, target, loss) for target in targets)
        yield _case("partial_fit", data, "positives")
        yield from (_case("partial_fit", data, "labels", optimizer=name) for name in _STREAM_OPTIMIZERS)
        yield from (_case("partial_fit", data, target, hidden_layer_sizes=(20,)) for target in ("labels", "positive"))


def _case(method: str, data: str, target: str, loss: str | None = None, **parameters) -> dict:
    loss = loss or ("squared_error" if target.startswith("positive") else "log_loss")
    return {"method": method, "data": data, "target": target, "parameters": {"loss": loss, **parameters}}


def _title(case: dict) -> str:
    parameters = ", ".join(f"{name}={value!r}" for name, value in case["parameters"].items())
    return f"`{case['method']}`, {case['data']}, {case['target']}: `{parameters}`"


def _measure(method: str, data: str, target: str, parameters: dict) -> float:
    """Return the CPU seconds of a call."""
    rng = np.random.default_rng(0)
    n_features = {"dense": 30, "sparse": 300, "text": 2**16}[data]
    if data == "dense":
        X = rng.standard_normal((_ROWS, n_features))
    else:
        X = sp.random_array((_ROWS, n_features), density=20 / n_features, format="csr", rng=rng)
    raw = X @ rng.standard_normal((n_features, 3)) + 0.1 * rng.standard_normal((_ROWS, 3))
    y = {
        "labels": raw[:, 0] > 0.0,
        "classes": raw.argmax(axis=1),
        "multilabel": (raw > 0.0).astype(int),
        "positive": np.exp(raw[:, 0] / raw.std()),
        "positives": np.exp(raw / raw.std()),
    }[target]
    kind = GDRegressor if target.startswith("positive") else GDClassifier
    model = kind(random_state=0, **parameters)
    if method == "fit":
        model.set_params(max_iter=3, tol=None)
        return cpu_seconds(lambda: model.fit(X, y))
    known = {} if kind is GDRegressor else {"classes": np.arange(3) if y.ndim == 2 else np.unique(y)}
    return cpu_seconds(lambda: model.partial_fit(X, y, **known))


if __name__ == "__main__":
    print(_measure(**json.loads(sys.argv[1])))
