"""scikit-learn's own estimator checks: zero failures expected, zero skipped, for every loss, optimizer and schedule."""

import warnings
from itertools import cycle

import pytest
from sklearn.utils.estimator_checks import check_estimator

from skgd import GDClassifier, GDRegressor
from skgd.activations import LeakyReLU
from skgd.losses import CLASSIFIER_LOSSES, REGRESSOR_LOSSES
from skgd.optimizers import OPTIMIZERS, SGD
from skgd.schedules import SCHEDULES

BOTH = (GDClassifier, GDRegressor)


def over_registries(estimator, losses):
    """Yield estimators that between them have every loss, every optimizer and every schedule."""
    assert len(OPTIMIZERS) >= max(len(losses), len(SCHEDULES))
    for loss, optimizer, schedule in zip(cycle(losses), OPTIMIZERS, cycle(reversed(SCHEDULES.values()))):
        yield estimator(loss, optimizer=optimizer, learning_rate=schedule())


REGISTRIES = [*over_registries(GDClassifier, CLASSIFIER_LOSSES), *over_registries(GDRegressor, REGRESSOR_LOSSES)]
ESTIMATORS = [
    *(GDClassifier(loss=name) for name in CLASSIFIER_LOSSES),
    *(GDRegressor(loss=name) for name in REGRESSOR_LOSSES),
    *(estimator(optimizer=name) for estimator in BOTH for name in ("adamw", "ftrl", "schedule_free")),
    *(estimator(optimizer=SGD(momentum=0.9, nesterov=True)) for estimator in BOTH),
    GDRegressor(precondition=False),
    *(estimator(batch_size=None, average=False, alpha=1e-4, l1_ratio=0.5) for estimator in BOTH),
    *(estimator(average=True, max_grad_norm=1.0) for estimator in BOTH),
    GDClassifier(class_weight="balanced"),
    *(estimator(hidden_layer_sizes=(16,)) for estimator in BOTH),
    GDClassifier(loss="modified_huber", hidden_layer_sizes=(12, 8), activation="tanh", optimizer="rmsprop"),
    GDRegressor(loss="huber", hidden_layer_sizes=(12, 8), activation=LeakyReLU(0.1), optimizer="nadam"),
]
for estimator in (*REGISTRIES, *ESTIMATORS):  # some would go on for all of 1000 epochs
    if isinstance(estimator, GDClassifier) or estimator.hidden_layer_sizes:
        estimator.set_params(max_iter=30)
ESTIMATORS += [GDClassifier(), *(pytest.param(estimator, marks=pytest.mark.registry) for estimator in REGISTRIES)]


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=repr)
def test_check_estimator(estimator):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the checks provoke warnings on purpose, and look for those that matter
        results = check_estimator(estimator, on_fail=None, on_skip=None)
    assert len(results) > 50
    assert [(r["check_name"], r["status"], r["exception"]) for r in results if r["status"] != "passed"] == []
