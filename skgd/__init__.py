"""skgd: gradient descent for scikit-learn.

`GDRegressor` and `GDClassifier` are linear models and multilayer networks, trained by gradient descent, with pluggable
optimizers (:mod:`skgd.optimizers`), learning-rate schedules (:mod:`skgd.schedules`) and losses (:mod:`skgd.losses`).
Callbacks are in :mod:`skgd.callbacks`, plots in :mod:`skgd.display`.
"""

from importlib.metadata import version

from skgd import callbacks, losses, optimizers, schedules
from skgd.estimators import GDClassifier, GDRegressor

__version__ = version("skgd")

__all__ = ["GDClassifier", "GDRegressor", "__version__", "callbacks", "losses", "optimizers", "schedules"]
