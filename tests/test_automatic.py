"""What "auto" decides: the rates, and that the documentation quotes the rules as the code states them."""

import inspect
import re
import runpy
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.datasets import load_diabetes

from skgd import GDRegressor, automatic, stopping

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
