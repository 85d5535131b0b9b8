"""What "auto" decides: the rates, and that the documentation quotes the rules as the code states them."""

import copy
import inspect
import re
import runpy
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose
from sklearn.base import clone
from sklearn.datasets import load_diabetes, make_friedman1

from skgd import GDClassifier, GDRegressor, automatic, stopping
from skgd.optimizers import SGD, Adam, AdamW

DOCS = Path(__file__).parents[1] / "docs"
RULES = runpy.run_path(str(DOCS / "_extensions" / "rules.py"))


@pytest.mark.parametrize("module", [automatic, stopping])
def test_the_documentation_quotes_the_rules(module):
    """The page quotes each module, and what it makes of the docstring has all words of the rules, in their order."""
    assert f"% rules of {module.__name__}\n" in (DOCS / "defaults.md").read_text(encoding="utf-8")
    _, begin, rules = inspect.getdoc(module).partition("\n\n``")
    quoted = RULES["as_sections"](begin + rules)
    assert re.findall(r"\w+", quoted.lower()) == re.findall(r"\w+", rules.lower())


@pytest.mark.parametrize("module", [automatic, stopping])
def test_each_rule_has_its_reason(module):
    rules = [rule for _, rules in RULES["rules_of"](inspect.getdoc(module)) for rule in rules]
    assert len(rules) > 5
    assert all(len(rule) == 2 and all(part.endswith(".") for part in rule) for rule in rules)


@pytest.mark.parametrize("n_rows", [90, 100, 110, 120, 130, 140])
def test_rounding_does_not_decide_what_is_text(n_rows):
    """Samples of fifty entries are; their mean may be a little less."""
    X = np.kron(np.eye(n_rows), np.ones((1, 50)))
    models = [GDClassifier(max_iter=1, tol=None).fit(each, np.arange(n_rows) % 2) for each in (X, sp.csr_array(X))]
    assert [type(model.optimizer_) for model in models] == [SGD, SGD]
    assert [model.alpha_ for model in models] == [0.0, 0.0]


# -- rates ------------------------------------------------------------------------------------------------------------


def test_automatic_rates_do_not_diverge_whatever_their_factor():
    """Steps at an automatic rate are implicit: even a thousand times the rate only adds noise."""
    X, y = load_diabetes(return_X_y=True, scaled=False)
    model = GDRegressor(learning_rate="constant", random_state=0).fit(X, y)

    class Reckless(type(model.optimizer_)):
        @staticmethod
        def auto_learning_rate(*data):
            return 1000.0 * type(model.optimizer_).auto_learning_rate(*data)

    reckless = GDRegressor(optimizer=Reckless(), batch_size=1, max_iter=5, tol=None, random_state=0).fit(X, y)
    assert reckless.score(X, y) > 0.3


@pytest.mark.parametrize("as_format", [np.asarray, sp.csr_array])
@pytest.mark.parametrize("n_columns", [20, 999, 1000, 5000])
def test_rates_of_categories(n_columns, as_format):
    """The rate does not depend on the number of columns, in `fit` and in a stream."""
    X, rate = as_format(np.resize(np.eye(n_columns), (200, n_columns))), 0.5
    y = np.arange(200.0)
    model = GDRegressor(precondition=False, fit_intercept=False, max_iter=1, tol=None).fit(X, y)
    assert model.history_["learning_rate"][-1] == pytest.approx(rate)
    model = GDRegressor(precondition=False, fit_intercept=False, batch_size=None).partial_fit(X, y)
    assert model.history_["learning_rate"][-1] == pytest.approx(rate)


# -- networks ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n_columns", "as_format", "hidden", "n_steps"),
    [
        (2048, sp.csr_array, (3,), 3),
        (2048, np.asarray, (3,), 9),
        (2047, sp.csr_array, (3,), 9),
        (2048, sp.csr_array, (), 72),
    ],
)
def test_batches_of_streams(n_columns, as_format, hidden, n_steps):
    X, y = as_format(np.resize(np.eye(n_columns), (72, n_columns))), np.arange(72.0)
    assert GDRegressor(hidden_layer_sizes=hidden).partial_fit(X, y).t_ == n_steps


@pytest.fixture
def few_products(monkeypatch):
    """Let 400 features be too many for a linear model."""
    monkeypatch.setattr("skgd.automatic._FEW_PRODUCTS", 1e6)
    monkeypatch.setattr("skgd.automatic._MORE_PRODUCTS", 1e6)


def of_many_features(n_samples=400):
    X, y = make_friedman1(1000, 400, noise=1.0, random_state=0)
    return X[:n_samples], y[:n_samples], X[n_samples:], y[n_samples:]


@pytest.mark.usefixtures("few_products")
def test_weights_of_networks_with_many_dense_features_decay_by_a_share_of_each_epoch():
    X, y, X_new, y_new = of_many_features()
    model = GDRegressor(hidden_layer_sizes=(20,), random_state=0).fit(X, y)
    for size in (32, 100):
        other = clone(model).set_params(batch_size=size, max_iter=2, tol=None).fit(X, y)
        assert type(other.optimizer_) is AdamW
        assert_allclose(other.optimizer_.weight_decay * other.history_["learning_rate"][0] * -(-400 // size), 0.125)
    plain = clone(model).set_params(optimizer="adam").fit(X, y)
    assert model.score(X_new, y_new) > plain.score(X_new, y_new) + 0.05


@pytest.mark.usefixtures("few_products")
@pytest.mark.parametrize(
    "settings", [{"alpha": 1e-4}, {"learning_rate": "cosine"}, {"optimizer": "adam"}, {"hidden_layer_sizes": ()}, {}]
)
def test_what_is_chosen_replaces_the_weight_decay_of_networks(settings):
    X, y, *_ = of_many_features()
    X = X if settings else sp.csr_array(X)  # with sparse X, the network starts at the linear model
    model = GDRegressor(hidden_layer_sizes=(4,), max_iter=2, tol=None, random_state=0)
    assert model.set_params(**settings).fit(X, y).optimizer_.weight_decay == 0.0


@pytest.mark.usefixtures("few_products")
def test_weight_decay_of_an_earlier_fit_ends_where_the_default_does():
    X, y, *_ = of_many_features()
    model = GDRegressor(hidden_layer_sizes=(4,), max_iter=2, tol=None, warm_start=True, random_state=0).fit(X, y)
    decay = model.optimizer_.weight_decay
    assert decay > 0.0
    assert clone(model).fit(X, y).fit(X, y).optimizer_.weight_decay == decay
    assert model.fit(X[:100], y[:100]).optimizer_.weight_decay > decay  # as much in an epoch of fewer steps
    assert copy.deepcopy(model).set_params(alpha=1e-2).fit(X, y).optimizer_.weight_decay == 0.0
    assert model.set_params(learning_rate=0.5).partial_fit(X, y).optimizer_.weight_decay == 0.0


def test_weights_of_networks_with_few_features_do_not_decay():
    X, y, *_ = of_many_features()
    model = GDRegressor(hidden_layer_sizes=(4,), activation="tanh", max_iter=2, tol=None, random_state=0)
    assert type(model.fit(X[:, :5], y).optimizer_) is Adam
