"""What "auto" decides: the rates, and that the documentation quotes the rules as the code states them."""

import inspect
import re
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.datasets import load_diabetes

from skgd import GDRegressor, automatic, stopping


def rules_of(module):
    """Yield the rows of a table, from the docstring of a module: what is set, the rule, and why it is so."""
    for what, rules in re.findall(r"^(``.*)\n(    .*\n(?:    .*\n|\n)*)", inspect.getdoc(module) + "\n", re.MULTILINE):
        for rule in rules.strip().split("\n\n"):
            rule, why = " ".join(rule.split()).removesuffix(".").split(". Why: ")
            yield f"| {what} | {rule} | {why} |".replace("``", "`").replace("|  |", "| |")
            what = ""


def test_the_documentation_quotes_the_rules():
    page = (Path(__file__).parents[1] / "docs" / "defaults.md").read_text()
    table = re.search(r"^\| What \| The rule \| Why \|\n\|---\|---\|---\|\n((?:\|.*\n)+)", page, re.MULTILINE)[1]
    assert table.splitlines() == [*rules_of(automatic), *rules_of(stopping)]


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
