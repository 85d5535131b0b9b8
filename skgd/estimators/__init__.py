"""The two estimators, `GDRegressor` and `GDClassifier`."""

from skgd.estimators.classifier import GDClassifier
from skgd.estimators.regressor import GDRegressor

__all__ = ["GDClassifier", "GDRegressor"]

# Saved models name a class by its module, and who loads them says which names to trust: not to depend on our files.
for _estimator in (GDClassifier, GDRegressor):
    _estimator.__module__ = __name__
