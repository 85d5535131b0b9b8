"""Make the files of this folder: models in the middle of their training, as a release saves them.

Run it once for each release, in a clone: ``python tests/pickles/make.py``. It writes ``RELEASE.pickle``,
and ``RELEASE.json`` with the parameters after a continuation, which `tests/test_resume.py` compares with. Never make a
file of a release anew.
"""

import json
import pickle
from importlib.metadata import version
from pathlib import Path

import numpy as np

from skgd import GDClassifier, GDRegressor
from skgd.optimizers import SGD, Adam
from skgd.schedules import ReduceOnPlateau


def data():
    """Return X, numbers, and three classes."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 4)) * [1.0, 10.0, 0.1, 5.0]
    y = X @ [1.0, -0.2, 10.0, 0.0] + rng.normal(size=60)
    return X, y, np.array(["low", "middle", "high"])[np.digitize(y, [-1.0, 1.0])]


def models():
    """Return untrained models that between them have something in each part of what is saved."""
    return {
        "stream": GDRegressor(batch_size=4),
        "plateau": GDRegressor(learning_rate=ReduceOnPlateau(patience=0, factor=0.5), optimizer=SGD(momentum=0.9)),
        "classes": GDClassifier(optimizer=Adam(amsgrad=True), class_weight={"low": 2.0, "middle": 1.0, "high": 1.0}),
        "fitted": GDRegressor(
            "huber", optimizer="ftrl", alpha=0.01, l1_ratio=0.5, max_iter=3, tol=None, random_state=0
        ),
        "float32": GDClassifier(average=True, class_weight="balanced"),
        "network": GDRegressor(hidden_layer_sizes=(3,), activation="tanh", random_state=0),
    }


def trained(name, model, first, last):
    """Return a model after more rows."""
    X, y, labels = data()
    X = X.astype(np.float32) if name == "float32" else X
    y = labels if isinstance(model, GDClassifier) else y
    if name == "fitted" and not hasattr(model, "coef_"):
        return model.fit(X[first:last], y[first:last])
    more = {"classes": np.unique(labels)} if isinstance(model, GDClassifier) else {}
    for start in range(first, last, 10):
        model.partial_fit(X[start : start + 10], y[start : start + 10], **more)
    return model


if __name__ == "__main__":
    path = Path(__file__).with_name(version("skgd"))
    halfway = {name: trained(name, model, 0, 30) for name, model in models().items()}
    path.with_name(f"{path.name}.pickle").write_bytes(pickle.dumps(halfway, protocol=4))
    golden = {}
    for name, model in halfway.items():
        trained(name, model, 30, 60)
        golden[name] = {
            "coefs": [coef.tolist() for coef in model.coefs_],
            "intercepts": [intercept.tolist() for intercept in model.intercepts_],
            "t": model.t_,
        }
    path.with_name(f"{path.name}.json").write_text(json.dumps(golden, indent=1) + "\n")
